/*
 * threads.c - proves that one thread's change or wake-up ends another's wait, and what a fork's
 * child may do.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A thread that waits in sel_select() without a limit. */
struct waiter {
    pthread_t thread;
    sel_selector *selector;
    atomic_int id;
    sel_event event;
    int result;
    atomic_bool is_back;
    bool is_joined;
};

/* The waiters of the running fact. They are not on its stack: a fact that fails returns first. */
static struct waiter started[4];
static int started_count;

static void *wait_for_ever(void *argument) {
    struct waiter *waiter = argument;
    atomic_store(&waiter->id, (int)syscall(SYS_gettid));
    waiter->result = sel_select(waiter->selector, &waiter->event, 1, SEL_FOREVER);
    atomic_store(&waiter->is_back, true);
    return NULL;
}

/* Whether a thread sleeps, in the kernel or for a lock. */
static bool is_asleep(int id) {
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

/* Waits until the waiter sleeps or has come back, and tells whether it sleeps. One look is not
 * enough: a thread also runs for a moment when it resumes its wait, after a stop of the process for
 * example. */
static bool still_waits(struct waiter *waiter) {
    while (!atomic_load(&waiter->is_back)) {
        if (atomic_load(&waiter->id) != 0 && is_asleep(atomic_load(&waiter->id)))
            return true;
        sched_yield();
    }
    return false;
}

/* What its sel_select() returned, once it has. */
static int result_of(struct waiter *waiter) {
    waiter->is_joined = pthread_join(waiter->thread, NULL) == 0;
    return waiter->is_joined ? waiter->result : -1;
}

static bool is_open(const sel_selector *selector) {
    for (int i = 0; i < MOST_SELECTORS; i++)
        if (test.selectors[i] == selector)
            return true;
    return false;
}

/* Ends the waiters that a fact leaves behind. Where the selector is closed, the close ends them. */
static void end_waiters(void) {
    static const struct timespec tick = {0, MS};
    for (int i = 0; i < started_count; i++) {
        struct waiter *waiter = &started[i];
        while (!waiter->is_joined && !atomic_load(&waiter->is_back) && is_open(waiter->selector)) {
            sel_wakeup(waiter->selector);
            nanosleep(&tick, NULL);
        }
        if (!waiter->is_joined)
            result_of(waiter);
    }
    started_count = 0;
}

/* Starts a waiter and returns when it is blocked. */
static bool start_waiter(struct waiter **waiter, sel_selector *selector) {
    int index = 0;
    while (index < started_count && !started[index].is_joined)
        index++;
    if (index == LENGTH(started))
        return false;
    *waiter = &started[index];
    (*waiter)->selector = selector;
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

static sel_selector *to_be_woken;

static void wake(int number) {
    (void)number;
    sel_wakeup(to_be_woken);
}

static void blocked_select_sees_changes(sel_selector *selector) {
    int event = make_ready_event(), file = make_file();
    struct waiter *waiter;
    CHECK(start_waiter(&waiter, selector));
    OK(sel_register(selector, event, SEL_READ, NULL));
    EQUAL(result_of(waiter), 1);
    EQUAL(waiter->event.key.fd, event);
    CHECK(take(event));
    CHECK(start_waiter(&waiter, selector));
    OK(sel_modify(selector, event, BOTH, &test));
    EQUAL(result_of(waiter), 1);
    CHECK(waiter->event.key.data == &test);
    OK(sel_unregister(selector, event, NULL));
    CHECK(start_waiter(&waiter, selector));
    OK(sel_register(selector, file, SEL_WRITE, NULL));
    EQUAL(result_of(waiter), 1);
    EQUAL(waiter->event.key.fd, file);
}

/* The best of several, since other programs may take the processor for a while. */
static void change_is_seen_soon(sel_selector *selector) {
    int64_t best = INT64_MAX;
    int event = make_ready_event();
    for (int i = 0; i < 5 && best >= 100 * MS; i++) {
        struct waiter *waiter;
        int64_t start;
        CHECK(start_waiter(&waiter, selector));
        start = now();
        OK(sel_register(selector, event, SEL_READ, NULL));
        EQUAL(result_of(waiter), 1);
        if (now() - start < best)
            best = now() - start;
        OK(sel_unregister(selector, event, NULL));
    }
    CHECK(best < 100 * MS);
}

static void wakeup_ends_one_wait(sel_selector *selector) {
    struct waiter *waiter;
    sel_event event;
    for (int i = 0; i < 3; i++) {
        CHECK(start_waiter(&waiter, selector));
        OK(sel_wakeup(selector));
        EQUAL(result_of(waiter), 0);
    }
    for (int i = 0; i < 3; i++)
        OK(sel_wakeup(selector));
    EQUAL(sel_select(selector, &event, 1, SEL_FOREVER), 0);
    CHECK(rests(selector, 20 * MS));
    EQUAL(sel_wakeup(NULL), -EINVAL);
}

static void signal_handler_may_wake(sel_selector *selector) {
    struct sigaction action = {.sa_handler = wake}, before;
    struct waiter *waiter;
    to_be_woken = selector;
    CHECK(sigaction(SIGUSR2, &action, &before) == 0);
    CHECK(start_waiter(&waiter, selector));
    CHECK(pthread_kill(waiter->thread, SIGUSR2) == 0);
    EQUAL(result_of(waiter), 0);
    CHECK(sigaction(SIGUSR2, &before, NULL) == 0);
}

static void close_ends_a_blocked_select(sel_selector *selector) {
    struct waiter *waiter;
    CHECK(start_waiter(&waiter, selector));
    OK(close_selector(selector));
    EQUAL(result_of(waiter), -ECANCELED);
}

static void two_may_wait(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ);
    struct waiter *waiters[2];
    CHECK(start_waiter(&waiters[0], selector));
    CHECK(rests(selector, 20 * MS));
    CHECK(start_waiter(&waiters[1], selector));
    CHECK(put(fd));
    for (int i = 0; i < LENGTH(waiters); i++) {
        EQUAL(result_of(waiters[i]), 1);
        EQUAL(waiters[i]->event.key.fd, fd);
    }
}

/* At once, and by a thread that has not waited for it, where the other one is no more. */
static void each_thread_sees_what_is_ready(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ);
    for (int i = 0; i < 20; i++) {
        struct waiter *waiter;
        CHECK(start_waiter(&waiter, selector));
        OK(sel_wakeup(selector));
        EQUAL(result_of(waiter), 0);
        CHECK(put(fd));
        EQUAL(look(selector), 1);
        CHECK(take(fd));
        CHECK(quiet(selector));
    }
}

static void one_shot_is_armed_by_another_thread(sel_selector *selector) {
    int fds[] = {watch(selector, make_ready_event(), SEL_READ | SEL_ONESHOT),
                 watch(selector, make_file(), SEL_READ | SEL_ONESHOT)};
    struct waiter *waiter;
    for (int i = 0; i < LENGTH(fds); i++)
        CHECK(look(selector) >= 0);
    for (int i = 0; i < LENGTH(fds); i++) {
        CHECK(quiet(selector));
        CHECK(start_waiter(&waiter, selector));
        OK(sel_modify(selector, fds[i], SEL_READ | SEL_ONESHOT, NULL));
        EQUAL(result_of(waiter), 1);
        EQUAL(waiter->event.key.fd, fds[i]);
    }
    CHECK(rests(selector, 20 * MS));
}

/* How many are back; waits until the first one is. */
static int count_back(struct waiter *const *waiters, int count) {
    int back = 0;
    while (back == 0) {
        sched_yield();
        for (int i = 0; i < count; i++)
            back += atomic_load(&waiters[i]->is_back);
    }
    return back;
}

static void exclusive_does_not_wake_all(sel_selector *selector) {
    enum { WAITERS = 4 };
    struct waiter *waiters[WAITERS];
    sel_selector *selectors[WAITERS] = {selector};
    int fd = make_event();
    NEEDS(SEL_CAN_EXCLUSIVE);
    for (int i = 0; i < WAITERS; i++) {
        if (i > 0)
            selectors[i] = open_selector(test.backend);
        OK(sel_register(selectors[i], fd, SEL_READ | SEL_EXCLUSIVE, NULL));
        CHECK(start_waiter(&waiters[i], selectors[i]));
    }
    CHECK(put(fd));
    CHECK(count_back(waiters, WAITERS) < WAITERS);
    usleep(20000); /* in which the others would wake if they did */
    CHECK(count_back(waiters, WAITERS) < WAITERS);
    for (int i = 0; i < WAITERS; i++) {
        OK(sel_wakeup(selectors[i]));
        CHECK(result_of(waiters[i]) >= 0);
    }
}

/* Waits for a child and tells whether it was content. */
static bool is_content(pid_t child) {
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

/* What a child does with the selector of its parent. */
static bool use_in_child(sel_selector *selector, int idle, int ready) {
    sel_event event;
    return sel_register(selector, ready, SEL_READ, NULL) == 0 &&
           sel_modify(selector, idle, BOTH, NULL) == 0 &&
           sel_unregister(selector, idle, NULL) == 0 &&
           sel_select(selector, &event, 1, ENOUGH) == 1 && event.key.fd == ready &&
           sel_unregister(selector, ready, NULL) == 0 && sel_wakeup(selector) == 0 &&
           sel_select(selector, &event, 1, SEL_FOREVER) == 0 && sel_close(selector) == 0;
}

static void child_has_a_set_of_its_own(sel_selector *selector) {
    int idle = watch(selector, make_event(), SEL_READ), ready = make_ready_event();
    struct waiter *waiter;
    pid_t child;
    CHECK(start_waiter(&waiter, selector));
    child = fork();
    if (child == 0)
        _exit(!use_in_child(selector, idle, ready));
    CHECK(is_content(child));
    CHECK(still_waits(waiter));
    CHECK(put(idle));
    EQUAL(result_of(waiter), 1);
    CHECK(take(idle));
    CHECK(rests(selector, 100 * MS));
    CHECK(put(idle));
    CHECK(sees(selector, idle, SEL_READ, 0));
}

static void child_may_wake_and_close_at_once(sel_selector *selector) {
    int idle = watch(selector, make_event(), SEL_READ);
    pid_t child = fork();
    if (child == 0)
        _exit(sel_wakeup(selector) != 0 || sel_wakeup(selector) != 0 || sel_close(selector) != 0);
    CHECK(is_content(child));
    CHECK(rests(selector, 50 * MS));
    CHECK(put(idle));
    CHECK(sees(selector, idle, SEL_READ, 0));
}

static void wakeup_in_a_child_is_kept(sel_selector *selector) {
    pid_t child = fork();
    if (child == 0) {
        sel_event event;
        _exit(sel_wakeup(selector) != 0 || sel_select(selector, &event, 1, SEL_FOREVER) != 0);
    }
    CHECK(is_content(child));
    CHECK(rests(selector, 20 * MS));
}

static void wakeups_in_a_child_are_one(sel_selector *selector) {
    pid_t child = fork();
    if (child == 0)
        _exit(!(sel_wakeup(selector) == 0 && watch(selector, make_event(), SEL_READ) >= 0 &&
                sel_wakeup(selector) == 0 && quiet(selector) && waits_out(selector, 20 * MS)));
    CHECK(is_content(child));
}

static void child_keeps_spent_one_shots(sel_selector *selector) {
    int spent = watch(selector, make_ready_event(), SEL_READ | SEL_ONESHOT);
    int armed = watch(selector, make_event(), SEL_READ | SEL_ONESHOT);
    pid_t child;
    CHECK(sees(selector, spent, SEL_READ, 0));
    child = fork();
    if (child == 0)
        _exit(!(put(armed) && sees(selector, armed, SEL_READ, 0) && quiet(selector) &&
                sel_modify(selector, spent, SEL_READ | SEL_ONESHOT, NULL) == 0 &&
                sees(selector, spent, SEL_READ, 0) && quiet(selector)));
    CHECK(is_content(child));
    CHECK(sees(selector, armed, SEL_READ, 0));
    CHECK(rests(selector, 20 * MS));
}

static void child_keeps_files_and_closed_ones(sel_selector *selector) {
    int closed = watch(selector, make_event(), SEL_READ);
    int file = watch(selector, make_file(), SEL_READ);
    pid_t child = fork();
    if (child == 0) {
        sel_event got[4];
        close(closed);
        _exit(sel_select(selector, got, 4, ENOUGH) != 2 ||
              find(got, 2, closed)->detail != SEL_INVALID ||
              find(got, 2, file)->events != SEL_READ);
    }
    CHECK(is_content(child));
    CHECK(sees(selector, file, SEL_READ, 0));
}

static void child_may_nest(sel_selector *selector) {
    int inner, idle = watch(selector, make_event(), SEL_READ);
    sel_selector *outer = open_selector(test.backend);
    pid_t child;
    NEEDS(SEL_CAN_FILENO);
    inner = watch(outer, sel_fileno(selector), SEL_READ);
    child = fork();
    if (child == 0)
        _exit(!(quiet(selector) && quiet(outer) && put(idle) && sees(outer, inner, SEL_READ, 0) &&
                sees(selector, idle, SEL_READ, 0) && sel_fileno(selector) == inner));
    CHECK(is_content(child));
    CHECK(sees(outer, inner, SEL_READ, 0));
    CHECK(sees(selector, idle, SEL_READ, 0));
}

/* How many open descriptors an exec would leave open. */
static int count_inherited(void) {
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        count += flags >= 0 && (flags & FD_CLOEXEC) == 0;
    }
    return count;
}

static void nothing_is_left_to_an_exec(sel_selector *selector) {
    int before, ghost;
    pid_t child;
    close_selector(selector);
    before = count_inherited();
    selector = open_selector(test.backend);
    CHECK(selector != NULL);
    sel_fileno(selector);
    EQUAL(count_inherited(), before);
    ghost = leave_a_ghost(selector, false);
    CHECK(ghost >= 0 && quiet(selector)); /* which rebuilds the kernel set */
    EQUAL(count_inherited(), before);
    child = fork();
    if (child == 0)
        _exit(sel_register(selector, ghost, SEL_READ, NULL) != 0 || !quiet(selector) ||
              count_inherited() != before);
    CHECK(is_content(child));
}

/* What a worker of a server does: waits for the socket, and serves what it gets. */
static void work(sel_selector *selector, int listener, int served) {
    sel_event event;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (sel_select(selector, &event, 1, SEL_FOREVER) == 1) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0)
            put(served);
        if (client >= 0)
            close(client);
    }
    _exit(1);
}

/* Connects clients, one after another, and waits until each is served. */
static void connect_clients(const struct sockaddr_in *address, int count, int served) {
    for (int i = 0; i < count; i++) {
        struct pollfd one = {served, POLLIN, 0};
        int client = make_socket();
        CHECK(connect(client, (const struct sockaddr *)address, sizeof *address) == 0 ||
              errno == EINPROGRESS);
        EQUAL(poll(&one, 1, 5000), 1);
        CHECK(take(served) && drop(client));
    }
}

/* A server that forks its workers first. They end before the fact does, whatever fails. */
static void prefork_server_serves_all(sel_selector *selector) {
    enum { WORKERS = 3, CLIENTS = 12 };
    struct sockaddr_in address;
    int listener = make_bound(&address), served[2], forked = 0, ended = 0;
    pid_t workers[WORKERS];
    CHECK(listener >= 0 && listen(listener, CLIENTS) == 0 && make_pipe(served));
    OK(sel_register(selector, listener, SEL_READ, NULL));
    while (forked < WORKERS && (workers[forked] = fork()) >= 0) {
        if (workers[forked] == 0)
            work(selector, listener, served[1]);
        forked++;
    }
    if (forked == WORKERS)
        connect_clients(&address, CLIENTS, served[0]);
    for (int i = 0; i < forked; i++)
        ended += kill(workers[i], SIGKILL) == 0 && waitpid(workers[i], NULL, 0) == workers[i];
    EQUAL(ended, WORKERS);
    CHECK(rests(selector, 20 * MS));
}

const struct fact threads_facts[] = {
    FACT("what a thread changes ends another's wait", blocked_select_sees_changes),
    FACT("it is seen within 100 ms", change_is_seen_soon),
    FACT("a wake-up ends one wait", wakeup_ends_one_wait),
    FACT("a signal handler may wake", signal_handler_may_wake),
    FACT("close ends another thread's wait", close_ends_a_blocked_select),
    FACT("of two waits one waits for the other", two_may_wait),
    FACT("each thread sees what is ready", each_thread_sees_what_is_ready),
    FACT("another thread arms a one-shot", one_shot_is_armed_by_another_thread),
    FACT("an exclusive one does not wake all", exclusive_does_not_wake_all),
    FACT("a fork's child has a set of its own", child_has_a_set_of_its_own),
    FACT("a fork's child may wake and close at once", child_may_wake_and_close_at_once),
    FACT("a wake-up in a fork's child is kept", wakeup_in_a_child_is_kept),
    FACT("wake-ups in a fork's child are one", wakeups_in_a_child_are_one),
    FACT("a fork's child has files and closed ones", child_keeps_files_and_closed_ones),
    FACT("a fork's child keeps spent one-shots", child_keeps_spent_one_shots),
    FACT("a fork's child has a selector in another", child_may_nest),
    FACT("nothing is left to an exec", nothing_is_left_to_an_exec),
    FACT("a prefork server serves all", prefork_server_serves_all),
    END_OF_FACTS,
};
