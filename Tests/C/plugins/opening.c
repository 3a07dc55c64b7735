/*
 * opening.c - proves what happens if a backend cannot be opened, or calls the library meanwhile.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "plugins.h"

#include <stdlib.h>
#include <string.h>

static const struct bad_answer {
    const char *rule;
    int error;         /* what sel_open() returns once the backend has been found usable */
    const char *words; /* why it is found not usable; NULL: that is not settled */
} bad_answers[] = {
    {"open=-5", -EIO, "Input/output error"},
    {"open=-4095", -4095, "Unknown error 4095"},
    {"open=-4096", -EPROTO, AGAINST_THE_RULES ": wrong, open() = -4096"},
    {"open=-99999", -EPROTO, AGAINST_THE_RULES ": wrong, open() = -99999"},
    {"open=-2147483648", -EPROTO, AGAINST_THE_RULES ": wrong, open() = -2147483648"},
    {"open=1", -EPROTO, AGAINST_THE_RULES ": wrong, open() = 1"},
    {"open=2147483647", -EPROTO, AGAINST_THE_RULES ": wrong, open() = 2147483647"},
    {"open=-24", -EMFILE, NULL},
    {"open-itself", -ELOOP, "not supported"},
    {"wait=-5", 0, "Input/output error"},
    {"wait=2", 0, AGAINST_THE_RULES ": wrong, wait() = 2"},
    {"wait=-2147483648", 0, AGAINST_THE_RULES ": wrong, wait() = -2147483648"},
    {"wait=-4", 0, NULL},
    {"probe=-5", 0, "Input/output error"},
    {"probe=-99999", 0, AGAINST_THE_RULES ": wrong, probe() = -99999"},
    {"probe=-2147483648", 0, AGAINST_THE_RULES ": wrong, probe() = -2147483648"},
    {"probe=1", 0, AGAINST_THE_RULES ": wrong, probe() = 1"},
    {"probe=2147483647", 0, AGAINST_THE_RULES ": wrong, probe() = 2147483647"},
    {"probe=-12", 0, NULL},
    {"probe-with-reason=-5", 0, "there is?a ?reason"},
    {"probe-with-reason=-99999", 0, AGAINST_THE_RULES},
    {"probe-with-empty-reason=-5", 0, "Input/output error"},
};

static const struct bad_answer *bad_answer;

static void a_backend_that_cannot_be_used_is_listed(void) {
    sel_selector *selector;
    break_rule(bad_answer->rule, NULL);
    OK(sel_load_plugin(PLUGIN));
    const sel_backend_info *info = listed("wrong");
    CHECK(info != NULL && strcmp(info->origin, PLUGIN) == 0);
    if (bad_answer->words == NULL) {
        CHECK(info->reason == NULL);
        keep_rules();
        CHECK(works("wrong"));
    } else {
        CHECK(info->reason != NULL && is_printable_line(info->reason));
        REFUSES(sel_open(&selector, "wrong"), -ENOTSUP, "\"wrong\"", "wrong (", bad_answer->words);
        CHECK(selector == NULL);
        CHECK(works("wrong,poll"));
        keep_rules();
        REFUSES(sel_open(&selector, "wrong"), -ENOTSUP, "\"wrong\"", "wrong (", bad_answer->words);
    }
    CHECK(built_ins_work());
}

static void a_backend_that_cannot_be_opened_is_an_error(void) {
    sel_selector *selector;
    OK(sel_load_plugin(PLUGIN));
    CHECK(works("wrong"));
    break_rule(bad_answer->rule, NULL);
    if (bad_answer->error == 0) {
        OK(sel_open(&selector, "wrong"));
        CHECK(sel_close(selector) == 0);
    } else {
        REFUSES(sel_open(&selector, "wrong"), bad_answer->error, words_of(bad_answer->error));
        CHECK(selector == NULL);
    }
    keep_rules();
    CHECK(works("wrong"));
    CHECK(built_ins_work());
}

/* Calls to the library from a function that it has called. */

static const char *asking;

static void a_plugin_may_ask_the_library(void) {
    break_rule(asking, NULL);
    setenv("SELECTORS_PLUGINS", PLUGIN, 1);
    CHECK(built_ins_work());
    CHECK(listed("wrong") != NULL && listed("wrong")->reason == NULL);
    CHECK(listed(PLUGIN) == NULL);
    EQUAL(sel_backends(NULL, 0), BUILT_IN + 1);
    keep_rules();
    CHECK(works("wrong"));
    OK(sel_load_plugin(PLUGIN));
    EQUAL(sel_backends(NULL, 0), BUILT_IN + 1);
}

static const struct fact bad_answer_facts[] = {
    FACT_ALONE("at first", a_backend_that_cannot_be_used_is_listed),
    FACT_ALONE("later", a_backend_that_cannot_be_opened_is_an_error),
    END_OF_FACTS,
};

static const struct fact asking_facts[] = {
    FACT_ALONE("the library answers", a_plugin_may_ask_the_library),
    END_OF_FACTS,
};

void prove_opening(void) {
    static const char *const rules[] = {"constructor-asks", "entry-asks", "entry-loads-itself",
                                        "probe-asks", "open-asks"};
    for (int i = 0; i < LENGTH(bad_answers); i++) {
        bad_answer = &bad_answers[i];
        prove_rule("a backend with", bad_answer->rule, bad_answer_facts);
    }
    for (int i = 0; i < LENGTH(rules); i++) {
        asking = rules[i];
        prove_rule("a plug-in where", asking, asking_facts);
    }
}
