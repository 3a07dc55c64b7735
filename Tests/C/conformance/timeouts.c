/*
 * timeouts.c - proves the duration of waits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <poll.h>
#include <unistd.h>

static const int64_t waits[] = {1, 999, 100 * US, MS - 1, MS, MS + 1, 50 * MS};

static void wait_is_never_too_short(sel_selector *selector) {
    watch(selector, make_event(), SEL_READ);
    for (int i = 0; i < LENGTH(waits); i++)
        for (int again = 0; again < 5; again++)
            CHECK(waits_out(selector, waits[i]));
}

static void empty_selector_waits_the_timeout_out(sel_selector *selector) {
    for (int i = 0; i < LENGTH(waits); i++)
        CHECK(waits_out(selector, waits[i]));
    CHECK(rests(selector, 100 * MS));
}

static void timeout_of_zero_only_looks(sel_selector *selector) {
    int64_t start = now();
    CHECK(quiet(selector));
    watch(selector, make_event(), SEL_READ);
    CHECK(quiet(selector));
    CHECK(now() - start < ENOUGH);
}

static void ready_ends_any_wait(sel_selector *selector) {
    const int64_t timeouts[] = {0,         1,  10 * SECOND, INT64_MAX - 1,
                                INT64_MAX, -1, -ENOUGH,     INT64_MIN};
    int64_t start = now();
    sel_event event;
    watch(selector, make_ready_event(), SEL_READ);
    for (int i = 0; i < LENGTH(timeouts); i++)
        EQUAL(sel_select(selector, &event, 1, timeouts[i]), 1);
    CHECK(now() - start < ENOUGH);
}

static void becoming_ready_ends_any_wait(sel_selector *selector) {
    const int64_t timeouts[] = {10 * SECOND, INT64_MAX, INT64_MAX - 1, SEL_FOREVER, INT64_MIN};
    sel_event event;
    for (int i = 0; i < LENGTH(timeouts); i++) {
        int64_t start = now();
        int fd = watch(selector, make_timer(20 * MS), SEL_READ);
        EQUAL(sel_select(selector, &event, 1, timeouts[i]), 1);
        CHECK(event.key.fd == fd && event.events == SEL_READ && event.detail == 0);
        CHECK(now() - start >= 20 * MS && now() - start < ENOUGH);
        OK(sel_unregister(selector, fd, NULL));
    }
}

static void empty_selector_blocks_for_ever(void) {
    int ends[2];
    struct pollfd done;
    CHECK(make_pipe(ends));
    test.child = fork();
    CHECK(test.child >= 0);
    if (test.child == 0) {
        sel_selector *selector;
        sel_event event;
        signal(SIGALRM, SIG_DFL);
        alarm(HANG_SECONDS);
        if (sel_open(&selector, test.backend) == 0 && put(ends[1]))
            sel_select(selector, &event, 1, SEL_FOREVER);
        _exit(1); /* closes the pipe, which the parent notices */
    }
    CHECK(drop(ends[1]));
    done = (struct pollfd){ends[0], POLLIN, 0};
    EQUAL(poll(&done, 1, 10000), 1);
    CHECK(take(ends[0]));
    EQUAL(poll(&done, 1, 100), 0);
}

const struct fact timeouts_facts[] = {
    FACT("a wait is never too short", wait_is_never_too_short),
    FACT("an empty selector waits the timeout out", empty_selector_waits_the_timeout_out),
    FACT("a timeout of 0 only looks", timeout_of_zero_only_looks),
    FACT("a ready descriptor ends any wait", ready_ends_any_wait),
    FACT("a descriptor that becomes ready ends any wait", becoming_ready_ends_any_wait),
    FACT_ALONE("an empty selector without a limit blocks", empty_selector_blocks_for_ever),
    END_OF_FACTS,
};
