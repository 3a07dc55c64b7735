/*
 * main.c - proves that a backend keeps the contract of selectors.h.
 *
 *     conformance              every backend that can be used here
 *     conformance poll mine    these, by name
 *     SELECTORS_PLUGINS=./mine.so conformance mine
 *
 * It is installed as selectors-conformance, for authors of backends; selectors_plugin.h is their
 * manual. Tests of capabilities that a backend lacks are skipped.
 *
 * The output is TAP: one line per test, and after a failed test its position and the reason. The
 * exit status is 0 if all tests passed. Each test gets a new selector, and fails if the number of
 * open descriptors has changed at its end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <stdio.h>
#include <string.h>

static int count_facts(const struct fact *const *themes) {
    int count = 0;
    for (; *themes != NULL; themes++)
        for (const struct fact *fact = *themes; fact->name != NULL; fact++)
            count++;
    return count;
}

static void run_facts(const char *group, const struct fact *const *themes) {
    for (; *themes != NULL; themes++)
        for (const struct fact *fact = *themes; fact->name != NULL; fact++)
            run(group, fact);
}

/* Selects the backend of the next tests; prints why it cannot be used. */
static bool choose(const char *name) {
    sel_backend_info infos[MOST_BACKENDS];
    sel_selector *selector;
    if (sel_open(&selector, name) != 0) {
        note("%s", sel_last_error());
        return false;
    }
    sel_close(selector);
    for (int i = 0, count = backends(infos); i < count; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            test.backend = infos[i].name;
            test.capabilities = infos[i].capabilities;
            test.is_plugin = infos[i].origin != NULL;
            return true;
        }
    }
    note("\"%s\" is not the name of one backend", name);
    return false;
}

int main(int argc, char **argv) {
    const char *names[MOST_BACKENDS];
    int count = 0, plan = count_facts(facts_of_the_library);
    for (int i = 1; i < argc; i++) {
        if (*argv[i] == '-' || count == MOST_BACKENDS) {
            fprintf(stderr, "usage: %s [BACKEND...]\n", argv[0]);
            return 2;
        }
        names[count++] = argv[i];
    }
    start_harness();
    if (argc <= 1)
        count = usable_backends(names);
    for (int i = 0; i < count; i++)
        plan += choose(names[i]) ? count_facts(facts_of_a_backend) : 1;
    test.backend = NULL;
    test.failure[0] = '\0';

    printf("1..%d\n", plan);
    run_facts("library", facts_of_the_library);
    for (int i = 0; i < count; i++) {
        if (choose(names[i]))
            run_facts(names[i], facts_of_a_backend);
        else
            report(names[i], "can be used");
    }
    printf("# %d tests: %d passed, %d failed, %d skipped\n", tally.all,
           tally.all - tally.failed - tally.skipped, tally.failed, tally.skipped);
    return tally.failed != 0 || count == 0;
}
