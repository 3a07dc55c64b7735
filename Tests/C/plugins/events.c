/*
 * events.c - proves that events which were not requested are dropped.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "plugins.h"

#include <stdlib.h>

static void more_events_than_fit_are_an_error(void) {
    sel_selector *selector = open_wrong();
    int fd = watch(selector, make_ready_event(), SEL_READ);
    sel_event events[4];
    break_rule("wait-reports-one-too-many", NULL);
    for (int max = 1; max <= 4; max++)
        REFUSES(sel_select(selector, events, max, SEL_FOREVER), -EPROTO, AGAINST_THE_RULES);
    keep_rules();
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void tokens_that_were_never_given_are_dropped(void) {
    static const char *const tokens[] = {
        "5",
        "63",
        "0x7fffffff",
        "0x80000000",
        "0xffffffff",
        "0x1ffffffff",
        "0xffffffff00000005",
        "0x8000000000000000",
        "0xfffffffffffffffe",
        "0xffffffffffffffff", /* the library's own */
    };
    sel_selector *selector = open_wrong();
    int fd = watch(selector, make_event(), SEL_READ);
    for (int i = 0; i < LENGTH(tokens); i++) {
        break_rule("wait-reports-a-token", tokens[i]);
        CHECK(fd != (int)strtoul(tokens[i], NULL, 0) && waits_out(selector, 5 * MS));
    }
    keep_rules();
    CHECK(put(fd) && sees(selector, fd, SEL_READ, 0));
}

static void tokens_of_old_registrations_are_dropped(void) {
    sel_selector *selector = open_wrong();
    int fd = watch(selector, make_event(), SEL_READ);
    OK(sel_unregister(selector, fd, NULL));
    break_rule("wait-reports-the-first-token", NULL);
    CHECK(waits_out(selector, 5 * MS));
    watch(selector, fd, SEL_READ);
    CHECK(waits_out(selector, 5 * MS));
    keep_rules();
    CHECK(put(fd) && sees(selector, fd, SEL_READ, 0));
}

static void masks_that_were_not_asked_for_are_dropped(void) {
    /* The last one is all bits except those for reading. */
    static const char *const masks[] = {"0",          "0x2",       "0x4",    "0x6",
                                        "0x40",       "0x100",     "0x8000", "0x10000000",
                                        "0x80000000", "0xffffdfc6"};
    sel_selector *selector = open_wrong();
    int fd = watch(selector, make_event(), SEL_READ);
    for (int i = 0; i < LENGTH(masks); i++) {
        break_rule("wait-reports-a-mask", masks[i]);
        CHECK(waits_out(selector, 5 * MS));
    }
    break_rule("wait-reports-a-mask", "0xffffdfc7");
    CHECK(sees(selector, fd, SEL_READ, 0));
    break_rule("wait-reports-a-mask", "0xffffffff");
    CHECK(sees(selector, fd, SEL_READ, SEL_HANGUP | SEL_READ_HANGUP | SEL_ERROR | SEL_INVALID));
}

static void a_one_shot_that_is_reported_twice_is_delivered_once(void) {
    sel_selector *selector = open_wrong();
    int fds[3];
    sel_event events[16];
    for (int i = 0; i < 3; i++)
        fds[i] = watch(selector, make_ready_event(), i < 2 ? SEL_READ : SEL_READ | SEL_ONESHOT);
    break_rule("wait-reports-twice", NULL);
    EQUAL(sel_select(selector, events, 16, SEL_FOREVER), 5);
    for (int i = 0; i < 3; i++)
        CHECK(find(events, 5, fds[i]) != NULL);
    EQUAL(sel_select(selector, events, 16, SEL_FOREVER), 4);
    keep_rules();
    EQUAL(sel_select(selector, events, 16, SEL_FOREVER), 2);
}

/* All calls, with a plug-in that always changes errno. */
static void errno_is_left_alone(void) {
    sel_event events[4];
    sel_selector *selector;
    sel_key key;
    int fd = make_ready_event();
    setenv("WRONG_BEHIND", "epoll", 1);
    break_rule("errno", NULL);
    OK(sel_load_plugin(PLUGIN));
    errno = UNTOUCHED;
    CHECK(listed("wrong") != NULL);
    EQUAL(errno, UNTOUCHED);
    OK(sel_open(&selector, "wrong"));
    OK(sel_register(selector, fd, SEL_READ, NULL));
    OK(sel_modify(selector, fd, BOTH, NULL));
    errno = UNTOUCHED;
    EQUAL(sel_select(selector, events, 4, SEL_FOREVER), 1);
    CHECK(sel_fileno(selector) >= 0);
    EQUAL(errno, UNTOUCHED);
    OK(sel_unregister(selector, fd, NULL));
    REFUSED(sel_get_key(selector, fd, &key), -ENOENT);
    OK(sel_close(selector));
}

static const struct fact facts[] = {
    FACT_ALONE("more events than fit are an error", more_events_than_fit_are_an_error),
    FACT_ALONE("tokens that were never given are dropped",
               tokens_that_were_never_given_are_dropped),
    FACT_ALONE("tokens of old registrations are dropped", tokens_of_old_registrations_are_dropped),
    FACT_ALONE("masks that were not asked for are dropped",
               masks_that_were_not_asked_for_are_dropped),
    FACT_ALONE("a one-shot that is reported twice is delivered once",
               a_one_shot_that_is_reported_twice_is_delivered_once),
    FACT_ALONE("errno is left alone", errno_is_left_alone),
    END_OF_FACTS,
};

void prove_events(void) {
    prove("events", facts);
}
