/*
 * arguments.c - proves that invalid arguments are rejected and change nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* These facts pass on purpose what the compiler warns of. */
#if defined __GNUC__ && !defined __clang__
#pragma GCC diagnostic ignored "-Wnonnull"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif

/* The bits that are valid in a registration. */
#define KNOWN (SEL_READ_HANGUP | BOTH | SEL_PRIORITY | SEL_EDGE | SEL_ONESHOT | SEL_EXCLUSIVE)

static void null_selector_is_refused(void) {
    sel_event event;
    sel_key key;
    REFUSED(sel_register(NULL, 0, SEL_READ, NULL), -EINVAL);
    REFUSED(sel_modify(NULL, 0, SEL_READ, NULL), -EINVAL);
    REFUSED(sel_unregister(NULL, 0, &key), -EINVAL);
    REFUSED(sel_select(NULL, &event, 1, 0), -EINVAL);
    REFUSED(sel_get_key(NULL, 0, &key), -EINVAL);
    REFUSED(sel_get_map(NULL, &key, 1), -EINVAL);
    REFUSED(sel_fileno(NULL), -EINVAL);
    CHECK(sel_backend_name(NULL) == NULL);
    OK(sel_close(NULL));
}

static void negative_descriptors_are_refused(sel_selector *selector) {
    const int fds[] = {-1, -2, INT_MIN};
    sel_key key;
    for (int i = 0; i < LENGTH(fds); i++) {
        REFUSED(sel_register(selector, fds[i], SEL_READ, NULL), -EINVAL);
        REFUSED(sel_modify(selector, fds[i], SEL_READ, NULL), -EINVAL);
        REFUSED(sel_unregister(selector, fds[i], NULL), -EINVAL);
        REFUSED(sel_get_key(selector, fds[i], &key), -EINVAL);
    }
    EQUAL(sel_get_map(selector, NULL, 0), 0);
}

static void register_refuses_no_events_and_unknown_ones(sel_selector *selector) {
    int fd = make_event();
    sel_key key;
    CHECK(fd >= 0);
    REFUSED(sel_register(selector, fd, 0, NULL), -EINVAL);
    for (int bit = 0; bit < 32; bit++) {
        uint32_t unknown = UINT32_C(1) << bit & ~KNOWN;
        if (unknown == 0)
            continue;
        REFUSED(sel_register(selector, fd, unknown, NULL), -EINVAL);
        REFUSED(sel_register(selector, fd, unknown | SEL_READ, NULL), -EINVAL);
    }
    REFUSED(sel_get_key(selector, fd, &key), -ENOENT);
    EQUAL(sel_get_map(selector, NULL, 0), 0);
    OK(sel_register(selector, fd, SEL_WRITE, NULL));
}

static void modify_refuses_no_events_and_unknown_ones(sel_selector *selector) {
    int data, other, fd = make_ready_event();
    OK(sel_register(selector, fd, SEL_READ, &data));
    REFUSED(sel_modify(selector, fd, 0, &other), -EINVAL);
    for (int bit = 0; bit < 32; bit++)
        if ((UINT32_C(1) << bit & KNOWN) == 0)
            REFUSED(sel_modify(selector, fd, UINT32_C(1) << bit | SEL_WRITE, &other), -EINVAL);
    CHECK(key_is(selector, fd, SEL_READ, &data));
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void select_refuses_no_room(sel_selector *selector) {
    sel_event event;
    int fd = watch(selector, make_ready_event(), SEL_READ);
    REFUSED(sel_select(selector, &event, 0, 0), -EINVAL);
    REFUSED(sel_select(selector, &event, -1, 0), -EINVAL);
    REFUSED(sel_select(selector, &event, INT_MIN, SEL_FOREVER), -EINVAL);
    REFUSED(sel_select(selector, NULL, 1, 0), -EINVAL);
    REFUSED(sel_select(selector, NULL, 0, SEL_FOREVER), -EINVAL);
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void get_refuses_no_room(sel_selector *selector) {
    sel_key key;
    int fd = watch(selector, make_event(), SEL_READ);
    REFUSED(sel_get_key(selector, fd, NULL), -EINVAL);
    REFUSED(sel_get_map(selector, &key, -1), -EINVAL);
    REFUSED(sel_get_map(selector, NULL, -1), -EINVAL);
    REFUSED(sel_get_map(selector, NULL, 1), -EINVAL);
    EQUAL(sel_get_map(selector, NULL, 0), 1);
}

/* The call fails, with a message. */
#define TELLS(call, wanted, words)                        \
    do {                                                  \
        REFUSED(call, wanted);                            \
        CHECK(strstr(sel_last_error(), (words)) != NULL); \
    } while (0)

/* The message names the descriptor or the argument, and what is wrong with it. */
static void words_tell_the_mistake(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ), other = make_event(), closed = make_event();
    char about_fd[64], about_other[64], about_closed[64];
    sel_event event;
    snprintf(about_fd, sizeof about_fd, "descriptor %d is registered already", fd);
    snprintf(about_other, sizeof about_other, "descriptor %d is not registered", other);
    snprintf(about_closed, sizeof about_closed, "descriptor %d is not open", closed);
    CHECK(drop(closed));
    TELLS(sel_register(selector, fd, SEL_READ, NULL), -EEXIST, about_fd);
    TELLS(sel_register(selector, closed, SEL_READ, NULL), -EBADF, about_closed);
    TELLS(sel_register(selector, other, 0, NULL), -EINVAL, "events has no readiness bit");
    TELLS(sel_register(selector, -3, SEL_READ, NULL), -EINVAL, "descriptor -3 is negative");
    TELLS(sel_modify(selector, other, SEL_READ, NULL), -ENOENT, about_other);
    TELLS(sel_unregister(selector, other, NULL), -ENOENT, about_other);
    TELLS(sel_get_key(selector, other, &(sel_key){0}), -ENOENT, about_other);
    TELLS(sel_get_key(selector, fd, NULL), -EINVAL, "key is NULL");
    TELLS(sel_get_map(selector, NULL, 1), -EINVAL, "keys is NULL");
    TELLS(sel_select(selector, NULL, 1, 0), -EINVAL, "events is NULL");
    TELLS(sel_select(selector, &event, 0, 0), -EINVAL, "max is less than 1");
    TELLS(sel_select(NULL, &event, 1, 0), -EINVAL, "selector is NULL");
    TELLS(sel_open(NULL, NULL), -EINVAL, "out is NULL");
    if (!(test.capabilities & SEL_CAN_EDGE))
        TELLS(sel_register(selector, other, SEL_READ | SEL_EDGE, NULL), -ENOTSUP, "backend");
    if (!(test.capabilities & SEL_CAN_FILENO))
        TELLS(sel_fileno(selector), -ENOTSUP, "backend has no descriptor");
}

const struct fact arguments_facts[] = {
    FACT_ALONE("a NULL selector is refused", null_selector_is_refused),
    FACT("words tell the mistake", words_tell_the_mistake),
    FACT("negative descriptors are refused", negative_descriptors_are_refused),
    FACT("register refuses no events and unknown ones",
         register_refuses_no_events_and_unknown_ones),
    FACT("modify refuses no events and unknown ones, changes nothing",
         modify_refuses_no_events_and_unknown_ones),
    FACT("select refuses no room for events", select_refuses_no_room),
    FACT("get_key and get_map refuse no room for keys", get_refuses_no_room),
    END_OF_FACTS,
};
