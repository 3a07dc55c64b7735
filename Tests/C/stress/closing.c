/*
 * closing.c - threads that open and close selectors in which another thread waits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "stress.h"

#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct waiter {
    pthread_t thread;
    sel_selector *selector;
    atomic_int id;
    int result;
};

static void *wait_for_ever(void *argument) {
    struct waiter *waiter = argument;
    sel_event event;
    waiter->id = (int)syscall(SYS_gettid);
    waiter->result = sel_select(waiter->selector, &event, 1, SEL_FOREVER);
    return NULL;
}

static bool is_asleep(int id) {
    char path[64], line[256] = "", *state;
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", id);
    file = fopen(path, "re");
    CHECK(file != NULL);
    state = fgets(line, sizeof line, file) == NULL ? NULL : strrchr(line, ')');
    fclose(file);
    return state != NULL && state[2] == 'S';
}

void *open_and_close(void *argument) {
    const int *number = argument;
    static const struct timespec tick = {0, 1000000};
    while (!stage.is_over) {
        struct waiter waiter = {.id = 0};
        int in, out;
        open_ends(SOCKET, &in, &out);
        OK(sel_open(&waiter.selector, stage.backend));
        OK(sel_register(waiter.selector, in, SEL_READ, NULL));
        OK(pthread_create(&waiter.thread, NULL, wait_for_ever, &waiter));
        while (waiter.id == 0 || !is_asleep(waiter.id))
            nanosleep(&tick, NULL);
        OK(sel_close(waiter.selector));
        OK(pthread_join(waiter.thread, NULL));
        CHECK(waiter.result == -ECANCELED);
        stage.steps[*number]++;
        close(in);
        close(out);
    }
    stage.has_left[*number] = true;
    return NULL;
}
