/*
 * signals.c - proves how signals affect a wait, and that sel_pselect() unblocks them atomically.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* These facts pass on purpose what the compiler warns of. */
#if defined __GNUC__ && !defined __clang__
#pragma GCC diagnostic ignored "-Wnonnull"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif

/*
 * Ends a test of select under valgrind: if a signal arrives just before pselect6, valgrind 3.19
 * restarts it with an invalid pointer, and the call fails with EFAULT.
 */
#define SKIP_SELECT_UNDER_VALGRIND()                                                       \
    do {                                                                                   \
        const char *preloaded = getenv("LD_PRELOAD");                                      \
        if (!strcmp(test.backend, "select") && preloaded && strstr(preloaded, "valgrind")) \
            SKIP("valgrind restarts pselect6 wrongly after a signal");                     \
    } while (0)

static void signals_do_not_end_a_wait(sel_selector *selector) {
    SKIP_SELECT_UNDER_VALGRIND();
    for (int registered = 0; registered < 2; registered++) {
        if (registered)
            watch(selector, make_event(), SEL_READ);
        CHECK(start_storm(MS, MS));
        errno = UNTOUCHED;
        CHECK(waits_out(selector, 200 * MS));
        EQUAL(errno, UNTOUCHED);
        stop_storm();
        CHECK(signals >= 2);
    }
}

/* The best of several attempts, because other programs may use the processor. */
static void storm_stretches_no_wait(sel_selector *selector) {
    int64_t best = INT64_MAX;
    SKIP_SELECT_UNDER_VALGRIND();
    for (int i = 0; i < 5 && best >= 210 * MS; i++) {
        int64_t start;
        CHECK(start_storm(MS, MS));
        start = now();
        CHECK(waits_out(selector, 200 * MS));
        if (now() - start < best)
            best = now() - start;
        stop_storm();
    }
    CHECK(best < 210 * MS);
}

/* The best of several attempts again. A wait that restarts its timeout takes 2900 ms. */
static void late_signal_does_not_begin_the_wait_anew(sel_selector *selector) {
    int64_t best = INT64_MAX;
    SKIP_SELECT_UNDER_VALGRIND();
    for (int i = 0; i < 3 && best >= 2800 * MS; i++) {
        int64_t start = now(), taken;
        sel_event event;
        CHECK(start_storm(1400 * MS, 0));
        EQUAL(sel_select(selector, &event, 1, 1500 * MS), 0);
        taken = now() - start;
        stop_storm();
        CHECK(taken >= 1500 * MS);
        EQUAL(signals, 1);
        if (taken < best)
            best = taken;
    }
    CHECK(best < 2800 * MS);
}

static void signals_do_not_end_an_endless_wait(sel_selector *selector) {
    const int64_t timeouts[] = {SEL_FOREVER, INT64_MAX};
    sel_event event;
    SKIP_SELECT_UNDER_VALGRIND();
    for (int i = 0; i < LENGTH(timeouts); i++) {
        int fd = watch(selector, make_timer(100 * MS), SEL_READ);
        CHECK(start_storm(MS, MS));
        EQUAL(sel_select(selector, &event, 1, timeouts[i]), 1);
        CHECK(event.key.fd == fd);
        stop_storm();
        CHECK(signals >= 1);
        OK(sel_unregister(selector, fd, NULL));
    }
}

/* Interruptible. */

static void signal_ends_an_interruptible_wait(sel_selector *selector) {
    const int64_t timeouts[] = {SEL_FOREVER, INT64_MAX};
    sel_event event;
    SKIP_SELECT_UNDER_VALGRIND();
    OK(sel_set_interruptible(selector, 1));
    for (int i = 0; i < LENGTH(timeouts); i++) {
        CHECK(start_storm(20 * MS, 20 * MS));
        REFUSED(sel_select(selector, &event, 1, timeouts[i]), -EINTR);
        stop_storm();
        CHECK(signals >= 1);
    }
    CHECK(waits_out(selector, 20 * MS));
    OK(sel_set_interruptible(selector, 0));
    CHECK(start_storm(MS, MS));
    CHECK(waits_out(selector, 100 * MS));
    stop_storm();
    REFUSED(sel_set_interruptible(NULL, 1), -EINVAL);
}

/* Ready descriptors take precedence, even if a stale registration is in the way. */
static void ready_comes_before_a_signal(sel_selector *selector) {
    sigset_t nothing, all;
    sigemptyset(&nothing);
    sigfillset(&all);
    OK(sel_set_interruptible(selector, 1));
    CHECK(start_storm(INT64_C(3600) * SECOND, 0));
    CHECK(sigprocmask(SIG_BLOCK, &all, NULL) == 0 && raise(SIGUSR1) == 0);
    for (int has_ghost = 0; has_ghost < 2; has_ghost++) {
        for (int64_t timeout = SEL_FOREVER; timeout <= 1; timeout++) {
            sel_event event;
            int fd;
            if (has_ghost)
                CHECK(leave_a_ghost(selector, false) >= 0);
            fd = watch(selector, make_ready_event(), SEL_READ);
            EQUAL(sel_pselect(selector, &event, 1, timeout, &nothing), 1);
            EQUAL(event.key.fd, fd);
            EQUAL(signals, 0);
            OK(sel_unregister(selector, fd, NULL));
        }
    }
    CHECK(sigprocmask(SIG_SETMASK, &nothing, NULL) == 0);
    EQUAL(signals, 1);
}

/* Signal masks. The signal is blocked except in sel_pselect(). */

static bool block(sigset_t *outside, sigset_t *inside) {
    sigemptyset(outside);
    sigaddset(outside, SIGUSR1);
    return sigprocmask(SIG_BLOCK, outside, inside) == 0;
}

static bool is_blocked(void) {
    sigset_t now_blocked;
    return sigprocmask(SIG_BLOCK, NULL, &now_blocked) == 0 && sigismember(&now_blocked, SIGUSR1);
}

static void pending_signal_is_let_in(sel_selector *selector) {
    const int64_t timeouts[] = {0, 50 * MS, INT64_MAX, SEL_FOREVER};
    sigset_t outside, inside;
    sel_event event;
    SKIP_SELECT_UNDER_VALGRIND();
    OK(sel_set_interruptible(selector, 1));
    CHECK(start_storm(INT64_C(3600) * SECOND, 0));
    CHECK(block(&outside, &inside));
    for (int i = 0; i < LENGTH(timeouts); i++) {
        for (int registered = 0; registered < 2; registered++) {
            int fd = registered ? watch(selector, make_event(), SEL_READ) : -1;
            signals = 0;
            CHECK(raise(SIGUSR1) == 0);
            CHECK(signals == 0);
            REFUSED(sel_pselect(selector, &event, 1, timeouts[i], &inside), -EINTR);
            EQUAL(signals, 1);
            CHECK(is_blocked());
            if (registered)
                OK(sel_unregister(selector, fd, NULL));
        }
    }
    CHECK(sigprocmask(SIG_SETMASK, &inside, NULL) == 0);
}

static void signal_of_the_mask_stays_out(sel_selector *selector) {
    sigset_t outside, inside;
    sel_event event;
    OK(sel_set_interruptible(selector, 1));
    CHECK(start_storm(MS, MS));
    CHECK(block(&outside, &inside));
    signals = 0;
    EQUAL(sel_pselect(selector, &event, 1, 50 * MS, &outside), 0);
    EQUAL(sel_pselect(selector, &event, 1, 50 * MS, NULL), 0);
    EQUAL(sel_select(selector, &event, 1, 50 * MS), 0);
    EQUAL(signals, 0);
    stop_storm();
    CHECK(sigprocmask(SIG_SETMASK, &inside, NULL) == 0);
}

static void masked_wait_goes_on_unless_interruptible(sel_selector *selector) {
    sigset_t outside, inside;
    sel_event event;
    int64_t start;
    SKIP_SELECT_UNDER_VALGRIND();
    CHECK(start_storm(MS, MS));
    CHECK(block(&outside, &inside));
    signals = 0;
    start = now();
    EQUAL(sel_pselect(selector, &event, 1, 100 * MS, &inside), 0);
    CHECK(now() - start >= 100 * MS);
    CHECK(signals >= 1);
    signals = 0;
    while (signals == 0)
        EQUAL(sel_pselect(selector, &event, 1, 0, &inside), 0);
    stop_storm();
    CHECK(sigprocmask(SIG_SETMASK, &inside, NULL) == 0);
}

static void masked_wait_sees_what_comes(sel_selector *selector) {
    sigset_t outside, inside;
    sel_event event;
    int timer = watch(selector, make_timer(30 * MS), SEL_READ), file;
    CHECK(block(&outside, &inside));
    EQUAL(sel_pselect(selector, &event, 1, SEL_FOREVER, &inside), 1);
    EQUAL(event.key.fd, timer);
    OK(sel_unregister(selector, timer, NULL));
    file = watch(selector, make_file(), SEL_READ);
    EQUAL(sel_pselect(selector, &event, 1, SECOND, &inside), 1);
    EQUAL(event.key.fd, file);
    REFUSED(sel_pselect(selector, NULL, 1, 0, &inside), -EINVAL);
    REFUSED(sel_pselect(selector, &event, 0, 0, &inside), -EINVAL);
    REFUSED(sel_pselect(NULL, &event, 1, 0, &inside), -EINVAL);
    CHECK(sigprocmask(SIG_SETMASK, &inside, NULL) == 0);
}

const struct fact signals_facts[] = {
    FACT("signals do not end a wait", signals_do_not_end_a_wait),
    FACT("signals do not stretch a wait", storm_stretches_no_wait),
    FACT("a late signal does not begin the wait anew", late_signal_does_not_begin_the_wait_anew),
    FACT("signals do not end an endless wait", signals_do_not_end_an_endless_wait),
    FACT("a signal ends an interruptible wait", signal_ends_an_interruptible_wait),
    FACT("what is ready comes before a signal", ready_comes_before_a_signal),
    FACT("a pending signal is let in with the wait", pending_signal_is_let_in),
    FACT("a signal of the mask stays out", signal_of_the_mask_stays_out),
    FACT("a wait with a mask goes on unless interruptible",
         masked_wait_goes_on_unless_interruptible),
    FACT("a wait with a mask sees what comes", masked_wait_sees_what_comes),
    END_OF_FACTS,
};
