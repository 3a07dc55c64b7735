/*
 * wakes.c - proves that a signal handler may call sel_wakeup(), whether or not it fails.
 *
 * inject.c checks at each call that sel_wakeup() calls only async-signal-safe functions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../conformance/helpers.h"
#include "faults.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static sel_selector *woken;
static volatile sig_atomic_t result_of_handler;

static void handler(int number) {
    (void)number;
    result_of_handler = sel_wakeup(woken);
}

/* In a handler: the result of sel_wakeup(), which preserves errno and the last message. */
static int wake_in_handler(sel_selector *selector) {
    char words[256];
    snprintf(words, sizeof words, "%s", sel_last_error());
    woken = selector;
    signal(SIGUSR1, handler);
    result_of_handler = 1;
    errno = UNTOUCHED;
    raise(SIGUSR1);
    if (errno != UNTOUCHED)
        note("sel_wakeup() has set errno to %d", errno);
    if (strcmp(words, sel_last_error()) != 0)
        note("sel_wakeup() has changed the last words to \"%s\"", sel_last_error());
    return result_of_handler;
}

static void it_fails_as_write_does(sel_selector *selector) {
    for (int i = 0; i < 3; i++) {
        plan_fault(WRITE, EBADF, FOR_EVER);
        EQUAL(wake_in_handler(selector), -EBADF);
        EQUAL(plan->failures, 1);
        plan->is_over = true;
        /* It does not count as pending. */
        EQUAL(wake_in_handler(selector), 0);
        EQUAL(sel_select(selector, &(sel_event){.events = 0}, 1, ENOUGH), 0);
        CHECK(rests(selector, 10 * MS));
    }
}

static void it_goes_on_after_a_signal(sel_selector *selector) {
    plan_fault(WRITE, EINTR, ONCE);
    EQUAL(wake_in_handler(selector), 0);
    EQUAL(plan->failures, 1);
    EQUAL(wake_in_handler(selector), 0); /* it is pending */
    EQUAL(sel_select(selector, &(sel_event){.events = 0}, 1, ENOUGH), 0);
    EQUAL(wake_in_handler(NULL), -EINVAL);
}

static void it_works_in_a_child(sel_selector *selector) {
    int status;
    pid_t child = fork();
    plan->is_of_fact = true;
    if (child == 0) {
        if (wake_in_handler(selector) != 0 ||
            sel_select(selector, &(sel_event){.events = 0}, 1, ENOUGH) != 0 ||
            wake_in_handler(selector) != 0)
            _exit(1);
        _exit(*test.failure != '\0');
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    EQUAL(status, 0);
}

static void it_tells_of_a_closed_descriptor(void) {
    sel_selector *selector = open_selector(test.backend);
    int fd = 3;
    CHECK(selector != NULL);
    plan->is_of_fact = true;
    while (fd < 1000 && !is_eventfd(fd))
        fd++;
    CHECK(close(fd) == 0);
    for (int i = 0; i < 2; i++)
        EQUAL(wake_in_handler(selector), -EBADF);
    OK(close_selector(selector));
}

const struct fact wake_facts[] = {
    FACT("a wake-up that fails is told to a signal handler", it_fails_as_write_does),
    FACT("a wake-up is not interrupted", it_goes_on_after_a_signal),
    FACT("a signal handler wakes in a fork's child", it_works_in_a_child),
    FACT_ALONE("a wake-up without its descriptor fails", it_tells_of_a_closed_descriptor),
    END_OF_FACTS,
};
