/*
 * This library, on the backend that the argument names.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
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

int main(int argc, char **argv) {
    static const struct contestant selectors = {open_set,  close_set,       add_fd, modify_fd,
                                                remove_fd, wait_for_events, wake_up};
    return compete(&selectors, argc, argv);
}
