/*
 * operations.c - random operations, on a selector and its model.
 *
 * A sequence consists of lives. Each life has a new selector, and random probabilities of the
 * operations and of the kinds of descriptors, so that each life stresses something else.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "operations.h"

#include "play.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LIFE = 2000,     /* operations */
    OF_A_CHILD = 40, /* operations, at most */
};

static void perform_one(void);

/* The child continues with its copy, which must not affect the parent. */
static bool do_fork(void) {
    int status;
    pid_t child;
    if (life.is_child)
        return false;
    say(" fork");
    fflush(NULL);
    child = fork();
    if (child < 0)
        fail("fork: %s", strerror(errno));
    if (child == 0) {
        begin_child();
        life.is_child = true;
        model_inherit();
        for (int i = 1 + (int)pick(OF_A_CHILD); i > 0; i--) {
            begin_operation();
            perform_one();
        }
        look();
        expect(CALL(sel_close(selector)), 0);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
        fail("its child has failed");
    look();
    return true;
}

enum { OPERATIONS = 18 };

static const struct operation {
    bool (*perform)(void);
    unsigned weight;
} table[OPERATIONS] = {
    {do_register, 120}, {do_modify, 120},     {do_unregister, 50}, {do_get_key, 20},
    {do_get_map, 20},   {do_nonsense, 10},    {do_make, 100},      {do_close, 40},
    {do_duplicate, 60}, {do_reuse, 60},       {do_write, 150},     {do_read, 120},
    {do_shutdown, 20},  {do_wakeup, 15},      {do_select, 300},    {do_sweep, 5},
    {do_fork, 1},       {do_inner_select, 3},
};

/* The weight of each operation in this life. */
static unsigned weights[OPERATIONS];

static void begin_life(const sel_backend_info *backend) {
    bool is_nested = backend->capabilities & SEL_CAN_FILENO && once_in(3);
    say(" open %s%s", backend->name, is_nested ? ", ask for its descriptor" : "");
    selector = world_open_selector(backend->name, is_nested);
    model_begin(backend, is_nested);
    life = (struct life){.own = is_nested ? sel_fileno(selector) : NONE};
    life.modes = once_in(2) ? 0 : 1 + pick(6);
    life.priority = once_in(2) ? 0 : 2 + pick(8);
    life.is_tidy = once_in(4);
    for (int i = 0; i < OPERATIONS; i++)
        weights[i] = table[i].weight * (table[i].perform == do_select ? 1 : pick(4)) / 2;
}

static void end_life(void) {
    say(" close all");
    expect(CALL(sel_close(selector)), 0);
    for (int i = 0, ended; i < NUMBERS; i++) {
        while (world_let_go(i, &ended))
            continue;
        if (is_open(i))
            world_close(i);
    }
}

static void perform_one(void) {
    unsigned sum = 0, choice;
    int i;
    for (i = 0; i < OPERATIONS; i++)
        sum += weights[i];
    do {
        choice = pick(sum);
        for (i = 0; choice >= weights[i]; i++)
            choice -= weights[i];
    } while (!table[i].perform());
    model_observe();
    world_check();
    check_own();
}

void perform(const sel_backend_info *backend, uint64_t operations) {
    int before = 0;
    for (uint64_t i = 1; i <= operations; i++) {
        begin_operation();
        if (i % LIFE == 1) {
            before = world_descriptors();
            begin_life(backend);
        }
        perform_one();
        if (i % LIFE == 0 || i == operations) {
            end_life();
            if (world_descriptors() != before)
                fail("%d descriptors were open before, %d are now", before, world_descriptors());
        }
    }
}
