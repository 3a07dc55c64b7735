/*
 * calls.c - proves that the functions of an instance may fail in any way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "plugins.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct bad_result {
    const char *value;
    int error;
} bad_results[] = {
    {"-5", -EIO},        {"-4095", -4095},         {"-4096", -EPROTO},
    {"-99999", -EPROTO}, {"-2147483648", -EPROTO}, {"2147483647", -EPROTO},
};

static const struct bad_result *bad_result;

#define FAILS(call) REFUSES(call, bad_result->error, words_of(bad_result->error))

static void add_may_fail(void) {
    sel_selector *selector = open_wrong(), *other;
    int fd = make_ready_event();
    sel_key key;
    break_rule("add", bad_result->value);
    FAILS(sel_register(selector, fd, SEL_READ, NULL));
    REFUSED(sel_get_key(selector, fd, &key), -ENOENT);
    FAILS(sel_open(&other, "wrong"));
    CHECK(quiet(selector));
    CHECK(built_ins_work());
    keep_rules();
    OK(sel_register(selector, fd, SEL_READ, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void modify_may_fail(void) {
    sel_selector *selector = open_wrong();
    int fd = watch(selector, make_ready_event(), SEL_READ);
    break_rule("modify", bad_result->value);
    OK(sel_modify(selector, fd, SEL_WRITE, NULL));
    CHECK(sees(selector, fd, SEL_WRITE, 0));
    OK(sel_modify(selector, fd, BOTH, NULL));
    CHECK(sees(selector, fd, BOTH, 0));
    keep_rules();
    OK(sel_modify(selector, fd, SEL_READ, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
    OK(sel_unregister(selector, fd, NULL));
    CHECK(quiet(selector));
}

static void remove_may_fail(void) {
    sel_selector *selector = open_wrong();
    int fd = watch(selector, make_ready_event(), SEL_READ);
    break_rule("remove", bad_result->value);
    OK(sel_unregister(selector, fd, NULL));
    CHECK(waits_out(selector, 20 * MS));
    OK(sel_register(selector, fd, SEL_WRITE, NULL));
    CHECK(sees(selector, fd, SEL_WRITE, 0));
    OK(sel_unregister(selector, fd, NULL));
    keep_rules();
    CHECK(waits_out(selector, 20 * MS));
    OK(sel_register(selector, fd, SEL_READ, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void wait_may_fail(void) {
    sel_selector *selector = open_wrong();
    int fd = watch(selector, make_ready_event(), SEL_READ);
    sel_event events[4];
    break_rule("wait", bad_result->value);
    FAILS(sel_select(selector, events, 4, 0));
    FAILS(sel_select(selector, events, 4, 20 * MS));
    FAILS(sel_select(selector, events, 4, SEL_FOREVER));
    CHECK(built_ins_work());
    keep_rules();
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void fileno_may_fail(void) {
    sel_selector *selector;
    setenv("WRONG_BEHIND", "epoll", 1);
    selector = open_wrong();
    CHECK(listed("wrong")->capabilities == SEL_CAN_FILENO);
    if (strcmp(bad_result->value, "2147483647") == 0)
        SKIP("any number may be a descriptor");
    break_rule("fileno", bad_result->value);
    FAILS(sel_fileno(selector));
    keep_rules();
    CHECK(sel_fileno(selector) >= 0);
}

static void reset_may_fail(void) {
    sel_selector *selector = open_wrong();
    int fd = watch(selector, make_ready_event(), SEL_READ), status;
    sel_event events[4];
    CHECK((test.child = fork()) >= 0);
    if (test.child == 0) {
        break_rule("reset", bad_result->value);
        errno = UNTOUCHED;
        bool good = sel_select(selector, events, 4, 0) == bad_result->error && errno == UNTOUCHED &&
                    sel_register(selector, fd + 1, SEL_READ, NULL) == bad_result->error;
        keep_rules();
        _exit(good && sees(selector, fd, SEL_READ, 0) ? 0 : 1);
    }
    CHECK(waitpid(test.child, &status, 0) == test.child);
    test.child = 0;
    EQUAL(status, 0);
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void add_may_not_speak_of_registrations(void) {
    sel_selector *selector = open_wrong();
    int fd = make_ready_event();
    break_rule("add", "-17");
    REFUSES(sel_register(selector, fd, SEL_READ, NULL), -EPROTO, AGAINST_THE_RULES,
            "wrong, add() = -17");
    break_rule("add", "-2");
    REFUSES(sel_register(selector, fd, SEL_READ, NULL), -EPROTO, AGAINST_THE_RULES,
            "wrong, add() = -2");
    break_rule("add", "1");
    REFUSES(sel_register(selector, fd, SEL_READ, NULL), -EPROTO, AGAINST_THE_RULES,
            "wrong, add() = 1");
    break_rule("add", "-1");
    OK(sel_register(selector, fd, SEL_READ, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void a_wait_that_ends_at_once_does_not_end_select(void) {
    sel_selector *selector = open_wrong();
    break_rule("wait", "-4");
    CHECK(waits_out(selector, 20 * MS));
    break_rule("wait", "0");
    CHECK(waits_out(selector, 20 * MS));
}

static const struct fact bad_result_facts[] = {
    FACT_ALONE("of add", add_may_fail),
    FACT_ALONE("of modify", modify_may_fail),
    FACT_ALONE("of remove", remove_may_fail),
    FACT_ALONE("of wait", wait_may_fail),
    FACT_ALONE("of fileno", fileno_may_fail),
    FACT_ALONE("of reset", reset_may_fail),
    END_OF_FACTS,
};

static const struct fact facts[] = {
    FACT_ALONE("add may not speak of registrations", add_may_not_speak_of_registrations),
    FACT_ALONE("a wait that ends at once does not end select",
               a_wait_that_ends_at_once_does_not_end_select),
    END_OF_FACTS,
};

void prove_calls(void) {
    for (int i = 0; i < LENGTH(bad_results); i++) {
        bad_result = &bad_results[i];
        prove_rule("the result", bad_result->value, bad_result_facts);
    }
    prove("calls", facts);
}
