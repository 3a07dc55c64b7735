/*
 * nesting.c - proves that several selectors can coexist, and that one can watch another.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#define NEEDS_FILENO                               \
    do {                                           \
        if (!(test.capabilities & SEL_CAN_FILENO)) \
            SKIP("the backend has no descriptor"); \
    } while (0)

static void two_selectors_are_independent(sel_selector *selector) {
    int a, b, fd = make_event();
    sel_selector *other = open_selector(test.backend);
    CHECK(other != NULL && fd >= 0);
    OK(sel_register(selector, fd, SEL_READ, &a));
    OK(sel_register(other, fd, SEL_WRITE, &b));
    CHECK(quiet(selector));
    CHECK(sees(other, fd, SEL_WRITE, 0));
    CHECK(put(fd));
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(key_is(selector, fd, SEL_READ, &a) && key_is(other, fd, SEL_WRITE, &b));
    OK(sel_unregister(other, fd, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(quiet(other));
    OK(close_selector(other));
    CHECK(sees(selector, fd, SEL_READ, 0));
}

struct worker {
    pthread_t thread;
    const char *backend;
    int ends[2];
};

static void *work(void *argument) {
    const struct worker *worker = argument;
    sel_selector *selector;
    sel_event event;
    bool good = sel_open(&selector, worker->backend) == 0;
    good = good && sel_register(selector, worker->ends[0], SEL_READ, argument) == 0;
    for (int i = 0; good && i < 1000; i++)
        good = put(worker->ends[1]) && sel_select(selector, &event, 1, ENOUGH) == 1 &&
               event.key.data == argument && take(worker->ends[0]) &&
               sel_select(selector, &event, 1, 0) == 0;
    sel_close(selector);
    return good ? argument : NULL;
}

static void each_thread_may_have_its_selector(void) {
    struct worker workers[4];
    int started = 0, good = 0;
    for (int i = 0; i < 4; i++) {
        workers[i].backend = test.backend;
        CHECK(make_pair(workers[i].ends));
    }
    while (started < 4 &&
           pthread_create(&workers[started].thread, NULL, work, &workers[started]) == 0)
        started++;
    for (int i = 0; i < started; i++) {
        void *result;
        good += pthread_join(workers[i].thread, &result) == 0 && result != NULL;
    }
    EQUAL(good, 4);
}

static void backend_name_is_told(sel_selector *selector) {
    CHECK(strcmp(sel_backend_name(selector), test.backend) == 0);
}

static void fileno_is_told_or_refused(sel_selector *selector) {
    int fd;
    if (!(test.capabilities & SEL_CAN_FILENO)) {
        REFUSED(sel_fileno(selector), -ENOTSUP);
        return;
    }
    fd = sel_fileno(selector);
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    EQUAL(sel_fileno(selector), fd);
}

static void nested_selector_is_seen(sel_selector *selector) {
    const char *names[MOST_BACKENDS];
    int fd = watch(selector, make_event(), SEL_READ), inner;
    NEEDS_FILENO;
    inner = sel_fileno(selector);
    for (int i = 0, count = usable_backends(names); i < count; i++) {
        sel_selector *outer = open_selector(names[i]);
        OK(sel_register(outer, inner, SEL_READ, NULL));
        CHECK(quiet(outer));
        CHECK(put(fd));
        CHECK(sees(outer, inner, SEL_READ, 0));
        CHECK(sees(selector, fd, SEL_READ, 0));
        CHECK(take(fd));
        CHECK(quiet(selector));
        CHECK(quiet(outer));
        OK(close_selector(outer));
    }
}

static void nested_modify_is_seen_at_once(sel_selector *selector) {
    int inner, fd = watch(selector, make_event(), SEL_READ);
    sel_selector *outer = open_selector(test.backend);
    NEEDS_FILENO;
    inner = watch(outer, sel_fileno(selector), SEL_READ);
    CHECK(quiet(outer));
    OK(sel_modify(selector, fd, BOTH, NULL));
    CHECK(sees(outer, inner, SEL_READ, 0));
    OK(sel_modify(selector, fd, SEL_READ, NULL));
    CHECK(quiet(outer));
}

static void modify_before_fileno_counts(sel_selector *selector) {
    int inner, fd = watch(selector, make_event(), SEL_READ);
    sel_selector *outer = open_selector(test.backend);
    NEEDS_FILENO;
    OK(sel_modify(selector, fd, BOTH, NULL));
    inner = watch(outer, sel_fileno(selector), SEL_READ);
    CHECK(sees(outer, inner, SEL_READ, 0));
}

static void nested_ghost_is_silent(sel_selector *selector) {
    int inner, fd;
    sel_selector *outer = open_selector(test.backend);
    NEEDS_FILENO;
    inner = watch(outer, sel_fileno(selector), SEL_READ);
    fd = leave_a_ghost(selector, false);
    OK(sel_register(selector, fd, SEL_READ, NULL));
    for (int i = 0; i < 3; i++)
        CHECK(quiet(selector)); /* the selector may discard the stale registration here */
    EQUAL(sel_fileno(selector), inner);
    CHECK(fcntl(inner, F_GETFD) & FD_CLOEXEC);
    CHECK(rests(outer, 50 * MS));
    CHECK(put(fd));
    CHECK(sees(outer, inner, SEL_READ, 0));
}

static void closed_then_modified_is_invalid_after_fileno(sel_selector *selector) {
    int closed, ready;
    NEEDS_FILENO;
    CHECK(sel_fileno(selector) >= 0);
    closed = watch(selector, make_event(), SEL_READ);
    ready = watch(selector, make_ready_event(), SEL_READ);
    CHECK(drop(closed));
    OK(sel_modify(selector, closed, BOTH, NULL));
    CHECK(sees_invalid_beside(selector, closed, BOTH, ready));
}

static void file_is_seen_whatever_fileno_says(sel_selector *selector) {
    int file = watch(selector, make_file(), SEL_READ);
    struct pollfd set = {.events = POLLIN};
    NEEDS_FILENO;
    set.fd = sel_fileno(selector);
    if (strcmp(test.backend, "epoll") == 0)
        EQUAL(poll(&set, 1, 0), 0); /* the backend watches descriptors, not files */
    CHECK(sees(selector, file, SEL_READ, 0));
    OK(sel_unregister(selector, file, NULL));
    EQUAL(poll(&set, 1, 0), 0);
}

static void circle_is_refused(sel_selector *selector) {
    sel_selector *outer = open_selector(test.backend);
    NEEDS_FILENO;
    OK(sel_register(outer, sel_fileno(selector), SEL_READ, NULL));
    REFUSED(sel_register(selector, sel_fileno(outer), SEL_READ, NULL), -ELOOP);
    REFUSED(sel_register(selector, sel_fileno(selector), SEL_READ, NULL), -ELOOP);
    EQUAL(sel_get_map(selector, NULL, 0), 0);
    CHECK(quiet(selector));
}

const struct fact nesting_facts[] = {
    FACT("two selectors are independent", two_selectors_are_independent),
    FACT_ALONE("each thread may have its selector", each_thread_may_have_its_selector),
    FACT("the backend's name is told", backend_name_is_told),
    FACT("a descriptor of its own, or a refusal", fileno_is_told_or_refused),
    FACT("a selector in another", nested_selector_is_seen),
    FACT("a selector in another: modify is seen at once", nested_modify_is_seen_at_once),
    FACT("a selector in another: an earlier modify counts", modify_before_fileno_counts),
    FACT("a selector in another: a duplicate that lives on", nested_ghost_is_silent),
    FACT("modify of a closed descriptor after sel_fileno",
         closed_then_modified_is_invalid_after_fileno),
    FACT("a file is seen, whatever sel_fileno says", file_is_seen_whatever_fileno_says),
    FACT("a circle of selectors is refused", circle_is_refused),
    END_OF_FACTS,
};
