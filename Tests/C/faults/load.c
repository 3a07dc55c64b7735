/*
 * load.c - proves that every call fails if the library could not create its global state.
 *
 * The library creates it when it is loaded, before the program starts. So the program runs itself
 * again, with the fault in the environment.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../conformance/helpers.h"
#include "faults.h"

#include <selectors_plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_CALLS 100
#define NO_SUCH_CALL 3

/* The fault that the environment plans for the time before main(); NULL: none. */
struct plan *plan_at_load(void) {
    static struct plan the_plan;
    const char *text = getenv(AT_LOAD);
    int function;
    if (text == NULL || sscanf(text, "%d %d %d", &function, &the_plan.error, &the_plan.first) != 3)
        return NULL;
    the_plan.function = (enum function)function;
    the_plan.is_of_fact = true;
    return &the_plan;
}

/* Whether the library works without it. */
static bool is_needless(enum function function) {
    return function == MADVISE || function == KEY_CREATE;
}

static void every_call_tells(int error) {
    sel_selector *selector = NULL;
    for (int i = 0; i < 2; i++) {
        EQUAL(sel_open(&selector, NULL), -error);
        CHECK(selector == NULL && strcmp(sel_last_error(), sel_strerror(error)) == 0);
        EQUAL(sel_open(&selector, "poll"), -error);
        EQUAL(sel_backends(NULL, 0), -error);
        EQUAL(sel_add_backend(NULL), -error);
        EQUAL(sel_load_plugin("./none.so"), -error);
    }
}

static void every_call_works(void) {
    sel_selector *selector = open_selector(NULL);
    int fd = make_ready_event();
    CHECK(selector != NULL);
    OK(sel_register(selector, fd, SEL_READ, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
    EQUAL(sel_register(selector, fd, SEL_READ, NULL), -EEXIST);
    EQUAL(sel_add_backend(NULL), -EINVAL);
    CHECK(sel_last_error() != NULL);
    CHECK(sel_backends(NULL, 0) > 0);
}

static void look_at_library(void) {
    if (is_needless(plan->function))
        every_call_works();
    else
        every_call_tells(plan->error);
    EQUAL(sel_close(NULL), 0);
    EQUAL(sel_wakeup(NULL), -EINVAL);
    EQUAL(sel_select(NULL, NULL, 0, 0), -EINVAL);
    CHECK(strcmp(sel_version(), SEL_VERSION_STRING) == 0);
}

static void the_library_tells_what_it_lacks(void) {
    int status;
    pid_t child;
    look_at_library();
    child = fork();
    if (child == 0) {
        look_at_library();
        _exit(*test.failure != '\0');
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    EQUAL(status, 0);
}

/* Called by main() in the program's second run. */
int check_load(void) {
    static const struct fact fact = FACT_ALONE("", the_library_tells_what_it_lacks);
    if (plan->failures == 0)
        return NO_SUCH_CALL;
    start_harness();
    run("load", &fact);
    if (*plan->complaint)
        printf("# %s\n", plan->complaint);
    return *plan->complaint || tally.failed > 0;
}

/* Runs the program again with a fault; returns its exit status. */
static int run_again(enum function function, int error, int call) {
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        char text[64];
        snprintf(text, sizeof text, "%d %d %d", function, error, call);
        setenv(AT_LOAD, text, 1);
        execl("/proc/self/exe", "faults", NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

static void the_load_may_fail(void) {
    static const struct {
        enum function function;
        int error, calls; /* at least */
    } faults[] = {
        {CALLOC, ENOMEM, 1},     {MMAP, ENOMEM, 1},       {MADVISE, EINVAL, 1},
        {KEY_CREATE, EAGAIN, 2}, {KEY_CREATE, ENOMEM, 2}, {ATFORK, ENOMEM, 1},
    };
    for (int i = 0; i < LENGTH(faults); i++) {
        const char *name = function_names[faults[i].function];
        int call, status = 0;
        for (call = 1; call < MOST_CALLS && status == 0; call++)
            status = run_again(faults[i].function, faults[i].error, call);
        if (status != NO_SUCH_CALL || call < faults[i].calls + 2)
            note("%s: call %d: %s: exit status %d", name, call - 1,
                 strerrorname_np(faults[i].error), status);
    }
}

const struct fact load_facts[] = {
    FACT_ALONE("what fails while the library is loaded is told later", the_load_may_fail),
    END_OF_FACTS,
};
