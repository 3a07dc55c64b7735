/*
 * threads.c - proves that a change or a wake-up by one thread affects the wait of another, what
 * several waiting threads receive, and that no thread starves or is cancelled within a call.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "waiters.h"

#include <sched.h>
#include <unistd.h>

static sel_selector *to_be_woken;

static void wake(int number) {
    (void)number;
    sel_wakeup(to_be_woken);
}

static void blocked_select_sees_changes(sel_selector *selector) {
    int event = make_ready_event(), file = make_file();
    struct waiter *waiter;
    CHECK(start_waiter(&waiter, selector));
    OK(sel_register(selector, event, SEL_READ, NULL));
    EQUAL(result_of(waiter), 1);
    EQUAL(waiter->event.key.fd, event);
    CHECK(take(event));
    CHECK(start_waiter(&waiter, selector));
    OK(sel_modify(selector, event, BOTH, &test));
    EQUAL(result_of(waiter), 1);
    CHECK(waiter->event.key.data == &test);
    OK(sel_unregister(selector, event, NULL));
    CHECK(start_waiter(&waiter, selector));
    OK(sel_register(selector, file, SEL_WRITE, NULL));
    EQUAL(result_of(waiter), 1);
    EQUAL(waiter->event.key.fd, file);
}

/* The best of several attempts, because other programs may use the processor. */
static void change_is_seen_soon(sel_selector *selector) {
    int64_t best = INT64_MAX;
    int event = make_ready_event();
    for (int i = 0; i < 5 && best >= 100 * MS; i++) {
        struct waiter *waiter;
        int64_t start;
        CHECK(start_waiter(&waiter, selector));
        start = now();
        OK(sel_register(selector, event, SEL_READ, NULL));
        EQUAL(result_of(waiter), 1);
        if (now() - start < best)
            best = now() - start;
        OK(sel_unregister(selector, event, NULL));
    }
    CHECK(best < 100 * MS);
}

static void wakeup_ends_one_wait(sel_selector *selector) {
    struct waiter *waiter;
    sel_event event;
    for (int i = 0; i < 3; i++) {
        CHECK(start_waiter(&waiter, selector));
        OK(sel_wakeup(selector));
        EQUAL(result_of(waiter), 0);
    }
    for (int i = 0; i < 3; i++)
        OK(sel_wakeup(selector));
    EQUAL(sel_select(selector, &event, 1, SEL_FOREVER), 0);
    CHECK(rests(selector, 20 * MS));
    EQUAL(sel_wakeup(NULL), -EINVAL);
}

static void signal_handler_may_wake(sel_selector *selector) {
    struct sigaction action = {.sa_handler = wake}, before;
    struct waiter *waiter;
    to_be_woken = selector;
    CHECK(sigaction(SIGUSR2, &action, &before) == 0);
    CHECK(start_waiter(&waiter, selector));
    CHECK(pthread_kill(waiter->thread, SIGUSR2) == 0);
    EQUAL(result_of(waiter), 0);
    CHECK(sigaction(SIGUSR2, &before, NULL) == 0);
}

static void close_ends_a_blocked_select(sel_selector *selector) {
    struct waiter *waiter;
    CHECK(start_waiter(&waiter, selector));
    OK(close_selector(selector));
    EQUAL(result_of(waiter), -ECANCELED);
}

static void two_may_wait(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ);
    struct waiter *waiters[2];
    CHECK(start_waiter(&waiters[0], selector));
    CHECK(rests(selector, 20 * MS));
    CHECK(start_waiter(&waiters[1], selector));
    CHECK(put(fd));
    for (int i = 0; i < LENGTH(waiters); i++) {
        EQUAL(result_of(waiters[i]), 1);
        EQUAL(waiters[i]->event.key.fd, fd);
    }
}

/* A thread sees an event at once, after the thread that waited for it has ended. */
static void each_thread_sees_what_is_ready(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ);
    for (int i = 0; i < 20; i++) {
        struct waiter *waiter;
        CHECK(start_waiter(&waiter, selector));
        OK(sel_wakeup(selector));
        EQUAL(result_of(waiter), 0);
        CHECK(put(fd));
        EQUAL(look(selector), 1);
        CHECK(take(fd));
        CHECK(quiet(selector));
    }
}

static void one_shot_is_armed_by_another_thread(sel_selector *selector) {
    int fds[] = {watch(selector, make_ready_event(), SEL_READ | SEL_ONESHOT),
                 watch(selector, make_file(), SEL_READ | SEL_ONESHOT)};
    struct waiter *waiter;
    for (int i = 0; i < LENGTH(fds); i++)
        CHECK(look(selector) >= 0);
    for (int i = 0; i < LENGTH(fds); i++) {
        CHECK(quiet(selector));
        CHECK(start_waiter(&waiter, selector));
        OK(sel_modify(selector, fds[i], SEL_READ | SEL_ONESHOT, NULL));
        EQUAL(result_of(waiter), 1);
        EQUAL(waiter->event.key.fd, fds[i]);
    }
    CHECK(rests(selector, 20 * MS));
}

static void exclusive_does_not_wake_all(sel_selector *selector) {
    enum { WAITERS = 4 };
    struct waiter *waiters[WAITERS];
    sel_selector *selectors[WAITERS] = {selector};
    int fd = make_event();
    NEEDS(SEL_CAN_EXCLUSIVE);
    for (int i = 0; i < WAITERS; i++) {
        if (i > 0)
            selectors[i] = open_selector(test.backend);
        OK(sel_register(selectors[i], fd, SEL_READ | SEL_EXCLUSIVE, NULL));
        CHECK(start_waiter(&waiters[i], selectors[i]));
    }
    CHECK(put(fd));
    CHECK(are_back(waiters, WAITERS, 1));
    CHECK(count_back(waiters, WAITERS) < WAITERS);
    usleep(20000); /* enough time for the others to wake up */
    CHECK(count_back(waiters, WAITERS) < WAITERS);
    for (int i = 0; i < WAITERS; i++) {
        OK(sel_wakeup(selectors[i]));
        CHECK(result_of(waiters[i]) >= 0);
    }
}

/* Many that wait. */

enum { MANY = MOST_WAITERS };

static void many_waiters_rest(sel_selector *selector) {
    struct waiter *waiters[MANY];
    watch(selector, make_event(), SEL_READ);
    CHECK(start_waiters(waiters, MANY, selector));
    CHECK(rests(selector, 100 * MS));
    CHECK(count_back(waiters, MANY) == 0);
    OK(close_selector(selector));
    for (int i = 0; i < MANY; i++)
        EQUAL(result_of(waiters[i]), -ECANCELED);
}

/* Each wake-up ends the next wait; none is lost, and none is pending at the end. */
static void one_shot_goes_to_one_of_many(sel_selector *selector) {
    struct waiter *waiters[MANY];
    int events = 0, fd = watch(selector, make_event(), SEL_READ | SEL_ONESHOT);
    CHECK(start_waiters(waiters, MANY, selector));
    CHECK(put(fd));
    CHECK(are_back(waiters, MANY, 1));
    for (int back = 2; back <= MANY; back++) {
        OK(sel_wakeup(selector));
        CHECK(are_back(waiters, MANY, back));
    }
    for (int i = 0; i < MANY; i++)
        events += result_of(waiters[i]);
    EQUAL(events, 1);
    CHECK(rests(selector, 20 * MS));
}

/* Whether one of two waiters gets an event, whether or not the other one has returned. */
static bool one_has_event(struct waiter *const waiters[2]) {
    for (int64_t end = now() + ENOUGH; now() < end; usleep(100))
        for (int i = 0; i < 2; i++)
            if (atomic_load(&waiters[i]->is_back) && waiters[i]->result == 1)
                return true;
    note("%d waits have ended, none with the event", count_back(waiters, 2));
    return false;
}

/* The woken thread may return only for the wake-up: then the other must poll. */
static void wakeup_hides_nothing_from_others(sel_selector *selector) {
    const uint32_t events[] = {SEL_READ, BOTH};
    int fds[] = {make_file(), make_ready_event()};
    for (int i = 0; i < 40; i++) {
        struct waiter *waiters[2];
        bool is_seen;
        CHECK(start_waiters(waiters, 2, selector));
        OK(sel_wakeup(selector));
        OK(sel_register(selector, fds[i % 2], events[i % 2], NULL));
        is_seen = one_has_event(waiters);
        OK(sel_unregister(selector, fds[i % 2], NULL));
        for (int back = 1; back <= 2; back++)
            if (count_back(waiters, 2) < back)
                CHECK(sel_wakeup(selector) == 0 && are_back(waiters, 2, back));
        for (int j = 0; j < 2; j++)
            CHECK(result_of(waiters[j]) >= 0);
        CHECK(is_seen);
        CHECK(look(selector) == 0 && quiet(selector)); /* consumes a late wake-up */
    }
}

/* An edge of an unregistered file makes the selector rebuild its kernel set. */
static void no_set_is_replaced_under_a_waiter(sel_selector *selector) {
    int left[2], closed[2], idle[2], ready = make_ready_event();
    struct waiter *waiter;
    NEEDS(SEL_CAN_EDGE);
    CHECK(make_pipe(left) && make_pipe(closed) && make_pipe(idle));
    watch(selector, left[0], SEL_READ | SEL_EDGE);
    CHECK(duplicate(left[0]) >= 0 && drop(left[0]));
    OK(sel_unregister(selector, left[0], NULL));
    watch(selector, closed[0], SEL_READ);
    CHECK(drop(closed[0]));
    OK(sel_modify(selector, closed[0], SEL_READ | SEL_PRIORITY, NULL));
    CHECK(sees(selector, closed[0], SEL_READ | SEL_PRIORITY, SEL_INVALID));
    CHECK(own(dup2(idle[0], closed[0])) == closed[0]);
    CHECK(quiet(selector));
    CHECK(put(left[1]));
    CHECK(start_waiter(&waiter, selector));
    OK(sel_register(selector, ready, SEL_READ, NULL));
    EQUAL(result_of(waiter), 1);
    EQUAL(waiter->event.key.fd, ready);
}

/* A stale event seen by one waiter makes all of them leave the kernel and wait again. */
static void waiters_outlive_a_new_set(sel_selector *selector) {
    enum { WAITERS = 4 };
    struct waiter *waiters[WAITERS];
    int live = watch(selector, make_event(), SEL_READ | SEL_ONESHOT), events = 0;
    int left = watch(selector, make_event(), SEL_READ), twin = duplicate(left);
    CHECK(twin >= 0 && drop(left));
    OK(sel_unregister(selector, left, NULL));
    CHECK(start_waiters(waiters, WAITERS, selector));
    CHECK(put(twin));
    for (int i = 0; i < 3; i++) { /* some backends see it only after a change */
        int fd = watch(selector, make_event(), SEL_READ);
        OK(sel_unregister(selector, fd, NULL));
    }
    EQUAL(count_back(waiters, WAITERS), 0);
    CHECK(put(live));
    CHECK(are_back(waiters, WAITERS, 1));
    for (int back = 2; back <= WAITERS; back++) {
        OK(sel_wakeup(selector));
        CHECK(are_back(waiters, WAITERS, back));
    }
    for (int i = 0; i < WAITERS; i++)
        events += result_of(waiters[i]);
    EQUAL(events, 1);
    CHECK(rests(selector, 20 * MS));
}

/* Threads that never pause. */

static atomic_bool is_over;

static void *wait_again_and_again(void *selector) {
    sel_event event;
    while (!atomic_load(&is_over))
        if (sel_select(selector, &event, 1, SEL_FOREVER) < 0)
            return selector;
    return NULL;
}

static void nobody_starves_beside_many(sel_selector *selector) {
    pthread_t threads[MANY];
    int ready = watch(selector, make_ready_event(), SEL_READ), other = make_event(), i = 0;
    int64_t end = now() + 3 * ENOUGH;
    int started = 0, ended = 0;
    sel_event event;
    atomic_store(&is_over, false);
    while (started < MANY &&
           pthread_create(&threads[started], NULL, wait_again_and_again, selector) == 0)
        started++;
    for (; i < 50 && now() < end; i++) {
        if (sel_register(selector, other, SEL_READ, NULL) != 0 ||
            sel_modify(selector, other, BOTH, NULL) != 0 ||
            sel_unregister(selector, other, NULL) != 0 ||
            sel_select(selector, &event, 1, SEL_FOREVER) != 1)
            break;
    }
    atomic_store(&is_over, true);
    for (int j = 0; j < started; j++) {
        void *failed;
        ended += pthread_join(threads[j], &failed) == 0 && failed == NULL;
    }
    EQUAL(ended, MANY);
    EQUAL(i, 50);
    CHECK(sees(selector, ready, SEL_READ, 0));
}

/* Cancellation. */

static void be_cancelled(struct waiter *waiter) {
    (void)waiter;
    pthread_testcancel();
}

static void cancelled_wait_ends_first(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ);
    struct waiter *waiters[2]; /* one may be queued behind the other */
    for (int i = 0; i < LENGTH(waiters); i++)
        CHECK(start_waiter_then(&waiters[i], selector, be_cancelled));
    for (int i = 0; i < LENGTH(waiters); i++)
        CHECK(pthread_cancel(waiters[i]->thread) == 0);
    CHECK(put(fd));
    for (int i = 0; i < LENGTH(waiters); i++) {
        int result = result_of(waiters[i]);
        CHECK(atomic_load(&waiters[i]->is_back) && waiters[i]->end == PTHREAD_CANCELED);
        EQUAL(result, 1);
    }
    CHECK(sees(selector, fd, SEL_READ, 0));
}

/* Runs in a thread with a pending cancellation. */
static void call_all(sel_selector *selector) {
    int fd = make_ready_event();
    sel_backend_info infos[MOST_BACKENDS];
    sel_selector *other;
    sel_event event;
    sel_key key;
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    CHECK(pthread_cancel(pthread_self()) == 0);
    OK(sel_open(&other, test.backend));
    OK(sel_register(selector, fd, SEL_READ, NULL));
    EQUAL(sel_select(selector, &event, 1, 0), 1);
    EQUAL(sel_select(selector, &event, 1, SECOND), 1);
    EQUAL(sel_select(selector, &event, 1, SEL_FOREVER), 1);
    EQUAL(sel_pselect(selector, &event, 1, SEL_FOREVER, &mask), 1);
    OK(sel_modify(selector, fd, BOTH, NULL));
    EQUAL(sel_select(selector, &event, 1, SEL_FOREVER), 1);
    OK(sel_wakeup(selector));
    OK(sel_get_key(selector, fd, &key));
    EQUAL(sel_get_map(selector, &key, 1), 1);
    sel_fileno(selector);
    OK(sel_unregister(selector, fd, NULL));
    EQUAL(sel_select(selector, &event, 1, SEL_FOREVER), 0);
    CHECK(sel_backends(infos, MOST_BACKENDS) > 0);
    CHECK(sel_open(&selector, "nonsense") == -ENOENT);
    OK(sel_close(other));
}

static atomic_bool has_called_all;

static void *call_all_in_a_thread(void *selector) {
    call_all(selector);
    atomic_store(&has_called_all, true);
    pthread_testcancel();
    return NULL;
}

static void calls_are_no_cancellation_points(sel_selector *selector) {
    pthread_t thread;
    void *end;
    atomic_store(&has_called_all, false);
    CHECK(pthread_create(&thread, NULL, call_all_in_a_thread, selector) == 0);
    CHECK(pthread_join(thread, &end) == 0);
    CHECK(atomic_load(&has_called_all) && end == PTHREAD_CANCELED);
    CHECK(quiet(selector));
}

const struct fact threads_facts[] = {
    FACT("what a thread changes ends another's wait", blocked_select_sees_changes),
    FACT("it is seen within 100 ms", change_is_seen_soon),
    FACT("a wake-up ends one wait", wakeup_ends_one_wait),
    FACT("a signal handler may wake", signal_handler_may_wake),
    FACT("close ends another thread's wait", close_ends_a_blocked_select),
    FACT("of two waits one waits for the other", two_may_wait),
    FACT("each thread sees what is ready", each_thread_sees_what_is_ready),
    FACT("another thread arms a one-shot", one_shot_is_armed_by_another_thread),
    FACT("an exclusive one does not wake all", exclusive_does_not_wake_all),
    FACT("many waiters rest, and a close ends them all", many_waiters_rest),
    FACT("a one-shot goes to one of many, a wake-up to another", one_shot_goes_to_one_of_many),
    FACT("a wake-up hides nothing from other waiters", wakeup_hides_nothing_from_others),
    FACT("no kernel set is replaced under a waiter", no_set_is_replaced_under_a_waiter),
    FACT("waiters outlive a new kernel set", waiters_outlive_a_new_set),
    FACT("nobody starves beside many waiters", nobody_starves_beside_many),
    FACT("a cancelled thread ends its wait first", cancelled_wait_ends_first),
    FACT("calls are no cancellation points", calls_are_no_cancellation_points),
    END_OF_FACTS,
};
