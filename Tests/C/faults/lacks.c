/*
 * lacks.c - proves that a resource shortage is reported, affects no other descriptor, and passes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../conformance/helpers.h"
#include "faults.h"

#include <pthread.h>
#include <selectors_plugin.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The change of one descriptor fails. */

static const int lacks[] = {ENOSPC, ENOMEM};

/* Makes a change that adds the descriptor to the kernel's set, or modifies it there. */
static bool make_change(sel_selector *selector, int fd, enum function function) {
    if (function == EPOLL_CTL_ADD_ && !(drop(fd) && make_event() == fd))
        return false;
    return sel_modify(selector, fd, SEL_WRITE, NULL) == 0;
}

/* Registers another descriptor, which is not ready; then makes a change fail. */
static int refuse_change(sel_selector *selector, enum function function, int error) {
    int changed = watch(selector, make_event(), SEL_READ);
    if (!quiet(selector))
        return -1;
    plan_fault(function, error, FOR_EVER);
    return make_change(selector, changed, function) ? changed : -1;
}

static void prove_that_others_are_served(sel_selector *selector, enum function function,
                                         int error) {
    int other = watch(selector, make_event(), SEL_READ), changed;
    sel_event event;
    changed = refuse_change(selector, function, error);
    CHECK(changed >= 0);
    for (int i = 0; i < 3; i++) {
        CHECK(put(other) && sees(selector, other, SEL_READ, 0));
        EQUAL(sel_select(selector, &event, 1, ENOUGH), 1);
        CHECK(take(other));
        REFUSED(sel_select(selector, &event, 1, SEL_FOREVER), -error);
        REFUSED(sel_select(selector, &event, 1, 0), -error);
    }
    CHECK(key_is(selector, changed, SEL_WRITE, NULL));
    plan->is_over = true;
    CHECK(sees(selector, changed, SEL_WRITE, 0));
    OK(sel_unregister(selector, changed, NULL));
    OK(sel_unregister(selector, other, NULL));
}

static void one_change_keeps_no_other(sel_selector *selector) {
    if (plan->calls[EPOLL_CTL_ADD_] == 0)
        SKIP("its changes need nothing");
    for (int i = 0; i < LENGTH(lacks) && !*test.failure; i++) {
        prove_that_others_are_served(selector, EPOLL_CTL_ADD_, lacks[i]);
        prove_that_others_are_served(selector, EPOLL_CTL_MOD_, lacks[i]);
    }
}

static void unregister_ends_the_lack(sel_selector *selector) {
    if (plan->calls[EPOLL_CTL_ADD_] == 0)
        SKIP("its changes need nothing");
    for (int i = 0; i < LENGTH(lacks); i++) {
        int changed = refuse_change(selector, EPOLL_CTL_ADD_, lacks[i]);
        CHECK(changed >= 0);
        EQUAL(look(selector), -lacks[i]);
        OK(sel_unregister(selector, changed, NULL));
        CHECK(rests(selector, 20 * MS));
        plan->is_over = true;
    }
}

static void *select_for_ever(void *selector) {
    static int result;
    sel_event event;
    result = sel_select(selector, &event, 1, SEL_FOREVER);
    return &result;
}

/* The waiting thread gets the error, because the thread that makes the change cannot. */
static void a_blocked_wait_tells_of_it(sel_selector *selector) {
    int changed = watch(selector, make_event(), SEL_READ);
    void *result;
    pthread_t thread;
    if (plan->calls[EPOLL_CTL_ADD_] == 0)
        SKIP("its changes need nothing");
    CHECK(pthread_create(&thread, NULL, select_for_ever, selector) == 0);
    nanosleep(&(struct timespec){0, 20 * MS}, NULL);
    plan_fault(EPOLL_CTL_MOD_, ENOMEM, FOR_EVER);
    EQUAL(sel_modify(selector, changed, SEL_WRITE, NULL), 0);
    CHECK(pthread_join(thread, &result) == 0);
    EQUAL(*(int *)result, -ENOMEM);
    plan->is_over = true;
    CHECK(sees(selector, changed, SEL_WRITE, 0));
}

const struct fact lack_facts[] = {
    FACT("a change that cannot be made keeps no other from being served",
         one_change_keeps_no_other),
    FACT("a change that cannot be made is forgotten with its descriptor", unregister_ends_the_lack),
    FACT("a blocked wait tells of a change that cannot be made", a_blocked_wait_tells_of_it),
    END_OF_FACTS,
};

/* No memory is left, for any purpose. */

#define MOST_PIECES 100000

static void *pieces[MOST_PIECES];
static int piece_count;

/* Uses up all memory except `left` of the smallest pieces. */
static void use_up_memory(int left) {
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    setrlimit(RLIMIT_AS, &(struct rlimit){1, limit.rlim_max});
    for (size_t size = 1 << 20; size >= 16; size /= 2)
        while (piece_count < MOST_PIECES && (pieces[piece_count] = malloc(size)) != NULL)
            piece_count++;
    while (left-- > 0 && piece_count > 0)
        free(pieces[--piece_count]);
}

static void give_memory_back(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    setrlimit(RLIMIT_AS, &(struct rlimit){limit.rlim_max, limit.rlim_max});
    while (piece_count > 0)
        free(pieces[--piece_count]);
}

enum outcome { GOOD, LACKED, BAD };

/* The outcome of a call: it works, or reports ENOMEM. */
static enum outcome outcome_of(int result) {
    return result >= 0 ? GOOD : result == -ENOMEM ? LACKED : BAD;
}

static enum outcome worst(enum outcome left, enum outcome right) {
    return left > right ? left : right;
}

/* Opens a selector and uses it, in the child of a fork, too. */
static enum outcome use_library(const char *backend, sel_selector *inherited, const int fds[2]) {
    sel_event events[2];
    sel_selector *selector;
    enum outcome outcome = outcome_of(sel_open(&selector, backend));
    if (outcome == GOOD) {
        for (int i = 0; i < 2; i++)
            outcome = worst(outcome, outcome_of(sel_register(selector, fds[i], SEL_WRITE, NULL)));
        outcome = worst(outcome, outcome_of(sel_select(selector, events, 2, 0)));
        outcome = worst(outcome,
                        sel_fileno(selector) == -ENOTSUP ? GOOD : outcome_of(sel_fileno(selector)));
        outcome = worst(outcome, outcome_of(sel_close(selector)));
    }
    outcome = worst(outcome, outcome_of(sel_select(inherited, events, 2, 0)));
    if (sel_load_plugin("/none/none.so") >= 0 || sel_last_error() == NULL)
        outcome = BAD;
    return outcome;
}

/* The outcome of the calls in the child of a fork without memory. */
static enum outcome lack_memory(const char *backend, int left, const int fds[2],
                                sel_selector *inherited) {
    enum outcome outcome;
    use_up_memory(left);
    outcome = use_library(backend, inherited, fds);
    give_memory_back();
    if (use_library(backend, inherited, fds) != GOOD)
        outcome = BAD;
    return outcome;
}

/* The stack cannot grow later: use this much in advance. */
static void deepen_stack(void) {
    volatile char room[1 << 16];
    for (size_t i = 0; i < sizeof room; i += 1024)
        room[i] = 0;
}

static void prove_without_memory(const char *backend) {
    int fds[2] = {make_event(), make_event()}, lacked = 0;
    sel_selector *inherited = NULL;
    const int most_left = 400;
    for (int left = 0; left <= most_left; left += left < 40 ? 1 : 20) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            /* The parent has not used the library yet. */
            pid_t grandchild;
            deepen_stack();
            if (sel_open(&inherited, backend) < 0 ||
                sel_register(inherited, fds[0], SEL_WRITE, NULL) < 0)
                _exit(BAD);
            grandchild = fork();
            if (grandchild == 0)
                _exit(lack_memory(backend, left, fds, inherited));
            if (grandchild < 0 || waitpid(grandchild, &status, 0) != grandchild)
                _exit(BAD);
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status));
        }
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        status = WEXITSTATUS(status);
        if (status != GOOD && status != LACKED)
            note("%s, %d pieces left: %s %d", backend, left,
                 status > 100 ? "killed by signal" : "exit status",
                 status > 100 ? status - 100 : status);
        lacked += status == LACKED;
    }
    CHECK(lacked > 0);
}

static void no_memory_is_told(void) {
    const char *const names[] = {"epoll", "poll", "select"};
    plan->is_of_fact = true;
    for (int i = 0; i < LENGTH(names) && !*test.failure; i++)
        prove_without_memory(names[i]);
}

static void open_fails(const char *backend, const char *words) {
    sel_selector *selector;
    CHECK(sel_open(&selector, backend) < 0);
    CHECK(strstr(sel_last_error(), words) != NULL);
}

static void refused_call_is_named(void) {
    plan_fault(EPOLL_CREATE1, EPERM, FOR_EVER);
    open_fails("epoll", "epoll_create1");
    plan_no_fault(true);
    plan->is_of_fact = true;
    plan_fault(PIPE2, EPERM, FOR_EVER);
    open_fails("poll", "pipe2");
    plan_no_fault(true);
    CHECK(open_selector("poll") != NULL);
}

const struct fact memory_facts[] = {
    FACT_ALONE("a call that is refused for ever is named", refused_call_is_named),
    FACT_ALONE("no memory left", no_memory_is_told),
    END_OF_FACTS,
};
