/*
 * waiters.c - starts threads that wait, and runs tests in children.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "waiters.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_SECONDS 25 /* less than the harness's timeout */

bool is_asleep(int id) {
    char path[64], line[256] = "", *state;
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", id);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    state = fgets(line, sizeof line, file) == NULL ? NULL : strrchr(line, ')');
    fclose(file);
    return state != NULL && state[2] == 'S';
}

bool still_waits(struct waiter *waiter) {
    while (!atomic_load(&waiter->is_back)) {
        if (atomic_load(&waiter->id) != 0 && is_asleep(atomic_load(&waiter->id)))
            return true;
        sched_yield();
    }
    return false;
}

/* The waiters of the current test. */
static struct waiter started[MOST_WAITERS];
static int started_count;

static void *wait_for_ever(void *argument) {
    struct waiter *waiter = argument;
    atomic_store(&waiter->id, (int)syscall(SYS_gettid));
    waiter->result = sel_select(waiter->selector, &waiter->event, 1, SEL_FOREVER);
    atomic_store(&waiter->is_back, true);
    if (waiter->then != NULL)
        waiter->then(waiter);
    return NULL;
}

static bool is_open(const sel_selector *selector) {
    for (int i = 0; i < MOST_SELECTORS; i++)
        if (test.selectors[i] == selector)
            return true;
    return false;
}

/* Ends the waiters that a test leaves behind. If the selector is closed, this has ended them. */
static void end_waiters(void) {
    for (int i = 0; i < started_count; i++) {
        struct waiter *waiter = &started[i];
        while (!waiter->is_joined && pthread_tryjoin_np(waiter->thread, NULL) != 0) {
            if (!atomic_load(&waiter->is_back) && is_open(waiter->selector))
                sel_wakeup(waiter->selector);
            usleep(1000);
        }
    }
    started_count = 0;
}

bool start_waiter_then(struct waiter **waiter, sel_selector *selector,
                       void (*then)(struct waiter *waiter)) {
    int index = 0;
    while (index < started_count && !started[index].is_joined)
        index++;
    if (index == LENGTH(started))
        return false;
    *waiter = &started[index];
    (*waiter)->selector = selector;
    (*waiter)->then = then;
    atomic_init(&(*waiter)->id, 0);
    atomic_init(&(*waiter)->is_back, false);
    if (pthread_create(&(*waiter)->thread, NULL, wait_for_ever, *waiter) != 0)
        return false;
    (*waiter)->is_joined = false;
    if (index == started_count)
        started_count++;
    test.end_threads = end_waiters;
    return still_waits(*waiter);
}

bool start_waiter(struct waiter **waiter, sel_selector *selector) {
    return start_waiter_then(waiter, selector, NULL);
}

bool start_waiters(struct waiter **waiters, int count, sel_selector *selector) {
    for (int i = 0; i < count; i++)
        if (!start_waiter(&waiters[i], selector))
            return false;
    return true;
}

int result_of(struct waiter *waiter) {
    waiter->is_joined = pthread_join(waiter->thread, &waiter->end) == 0;
    return waiter->is_joined ? waiter->result : -1;
}

int count_back(struct waiter *const *waiters, int count) {
    int back = 0;
    for (int i = 0; i < count; i++)
        back += atomic_load(&waiters[i]->is_back);
    return back;
}

bool are_back(struct waiter *const *waiters, int count, int wanted) {
    int64_t end = now() + ENOUGH;
    while (count_back(waiters, count) < wanted && now() < end)
        usleep(100);
    if (count_back(waiters, count) >= wanted)
        return true;
    note("of %d waits %d have ended, not %d", count, count_back(waiters, count), wanted);
    return false;
}

void become_child(void) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGALRM, SIG_DFL);
    alarm(CHILD_SECONDS);
}

pid_t start_child(void) {
    pid_t child = fork();
    if (child == 0)
        become_child();
    return child;
}

void end_child(void) {
    for (const char *line = test.failure; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        fprintf(stderr, "# in a child: %.*s\n", (int)length, line);
        line += length + (line[length] != '\0');
    }
    _exit(*test.failure == '\0' ? CONTENT : 1);
}

bool is_content(pid_t child) {
    int status = 0;
    if (child <= 0)
        return false;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == CONTENT)
        return true;
    if (WIFSIGNALED(status))
        note("a child was killed by signal %d%s", WTERMSIG(status),
             WTERMSIG(status) == SIGALRM ? ": it hung" : "");
    else
        note("a child has ended with status %d", WEXITSTATUS(status));
    return false;
}

bool holds_in_child(void (*prove)(sel_selector *selector), sel_selector *selector) {
    pid_t child = start_child();
    if (child == 0) {
        prove(selector);
        end_child();
    }
    return is_content(child);
}
