/*
 * This library, on the backend that the argument names.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "selectors.h"
#include "workloads/contestant.h"

_Static_assert(BENCH_READ == SEL_READ && BENCH_WRITE == SEL_WRITE, "the same values");

static sel_selector *selector;

static void check(int result) {
    if (result < 0)
        die(sel_last_error());
}

static void open_set(const char *argument, bool threads) {
    (void)threads;
    check(sel_open(&selector, argument));
}

static void close_set(void) {
    check(sel_close(selector));
}

static void add_fd(int fd, unsigned events, void *data) {
    check(sel_register(selector, fd, events, data));
}

static void modify_fd(int fd, unsigned events, void *data) {
    check(sel_modify(selector, fd, events, data));
}

static void remove_fd(int fd) {
    check(sel_unregister(selector, fd, NULL));
}

static void wait_for_events(void) {
    static sel_event events[MOST_EVENTS];
    int count = sel_select(selector, events, MOST_EVENTS, SEL_FOREVER);
    check(count);
    for (int i = 0; i < count; i++)
        on_event(events[i].key.data, events[i].events);
}

static void wake_up(void) {
    check(sel_wakeup(selector));
}

/* The pool: selectors with one-shot registrations. */

static sel_selector **pool_sets;
static int pool_set_count;

static void open_pool(const char *argument, int sets) {
    if ((pool_sets = calloc((size_t)sets, sizeof *pool_sets)) == NULL)
        die_errno("memory");
    for (; pool_set_count < sets; pool_set_count++)
        check(sel_open(&pool_sets[pool_set_count], argument));
}

static void close_pool(void) {
    for (int set = 0; set < pool_set_count; set++)
        check(sel_close(pool_sets[set]));
    free(pool_sets);
}

static void add_to_pool(int set, int fd, bool once, void *data) {
    check(sel_register(pool_sets[set], fd, once ? SEL_READ | SEL_ONESHOT : SEL_READ, data));
}

static void arm_in_pool(int set, int fd, void *data) {
    check(sel_modify(pool_sets[set], fd, SEL_READ | SEL_ONESHOT, data));
}

static void *wait_in_pool(int set) {
    sel_event event;
    int count = sel_select(pool_sets[set], &event, 1, SEL_FOREVER);
    check(count);
    if (count == 0)
        die("a wait without end has ended");
    return event.key.data;
}

int main(int argc, char **argv) {
    static const struct pool pool = {open_pool, close_pool, add_to_pool, arm_in_pool, wait_in_pool};
    static const struct contestant selectors = {open_set,  close_set,       add_fd,  modify_fd,
                                                remove_fd, wait_for_events, wake_up, &pool};
    return compete(&selectors, argc, argv);
}
