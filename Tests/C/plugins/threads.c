/*
 * threads.c - proves that a backend's functions may fork, call the library, and be interrupted by a
 * fork or a cancellation, and that an instance is neither replaced nor closed while in use.
 *
 * The backend is defined here, so that a test controls what its functions do. A test that may hang
 * runs in a child.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../conformance/waiters.h"
#include "plugins.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The functions in which a test may act. */
enum function { NO_FUNCTION, PROBE, OPEN, ADD, MODIFY, REMOVE, WAIT, RETURN, LOOK, RESET, CLOSE };

static enum function busy;  /* the one in which `act` is called, once */
static void (*act)(void);   /* what happens there */
static atomic_int inside;   /* threads in the wait of the instance that is in use */
static atomic_int breaches; /* instances that were replaced or closed under one of them */
static sel_selector *mine;  /* the selector over the instance */
static int seen[2];         /* what a callback has returned */

/* Threads that are in a function of theirs at the same time, and fork there. */
static bool is_meeting;
static pthread_barrier_t meeting;
static _Thread_local pid_t own_child;

static void fork_together(void) {
    pthread_barrier_wait(&meeting);
    own_child = fork();
    if (own_child == 0)
        become_child();
}

static void enter(enum function function) {
    if (is_meeting && function == ADD)
        fork_together();
    if (busy != function || act == NULL)
        return;
    busy = NO_FUNCTION;
    act();
}

/* An instance knows the process that made it. */
struct instance {
    int epfd;
    pid_t process;
};

static atomic_int instances; /* that are open */

static int probe(const char **reason) {
    (void)reason;
    enter(PROBE);
    return 0;
}

static int open_instance(void **made) {
    struct instance *instance = malloc(sizeof *instance);
    if (instance == NULL)
        return -ENOMEM;
    *instance = (struct instance){epoll_create1(EPOLL_CLOEXEC), getpid()};
    *made = instance;
    instances++;
    enter(OPEN);
    return 0;
}

/* In a fork's child the parent's set is left alone. */
static bool is_of_parent(const struct instance *instance) {
    if (instance->process == getpid())
        return false;
    breaches++;
    return true;
}

static int control(struct instance *instance, int operation, int fd, uint32_t mask,
                   uint64_t token) {
    struct epoll_event event = {mask, {.u64 = token}};
    if (is_of_parent(instance))
        return -EIO;
    return epoll_ctl(instance->epfd, operation, fd, &event) < 0 ? -errno : 0;
}

static int add(void *instance, int fd, uint32_t mask, uint64_t token) {
    if (mine != NULL || is_meeting)
        enter(ADD);
    return control(instance, EPOLL_CTL_ADD, fd, mask, token);
}

static int modify(void *instance, int fd, uint32_t mask, uint64_t token) {
    enter(MODIFY);
    return control(instance, EPOLL_CTL_MOD, fd, mask, token);
}

static int remove_fd(void *instance, int fd) {
    enter(REMOVE);
    return control(instance, EPOLL_CTL_DEL, fd, 0, 0);
}

static int wait_for_events(void *made, sel_backend_event *events, int max, int64_t timeout_ns,
                           const sigset_t *signals) {
    struct instance *instance = made;
    int milliseconds = timeout_ns < 0 ? -1 : (int)((timeout_ns + MS - 1) / MS), count;
    enter(timeout_ns == 0 ? LOOK : WAIT);
    if (is_of_parent(instance))
        return -EIO;
    inside++;
    count = epoll_pwait(instance->epfd, (struct epoll_event *)events, max, milliseconds, signals);
    count = count < 0 ? -errno : count;
    inside--;
    if (timeout_ns != 0)
        enter(RETURN);
    return count;
}

static void close_instance(void *made) {
    struct instance *instance = made;
    enter(CLOSE);
    breaches += inside > 0;
    close(instance->epfd);
    free(instance);
    instances--;
}

static int reset(void *made, int after_fork) {
    struct instance *instance = made;
    (void)after_fork;
    enter(RESET);
    breaches += inside > 0;
    close(instance->epfd);
    *instance = (struct instance){epoll_create1(EPOLL_CLOEXEC), getpid()};
    return 0;
}

static const sel_backend_ops serial = {
    .abi = SEL_PLUGIN_ABI,
    .size = sizeof serial,
    .name = "serial",
    .probe = probe,
    .open = open_instance,
    .add = add,
    .modify = modify,
    .remove = remove_fd,
    .wait = wait_for_events,
    .reset = reset,
    .close = close_instance,
};

/* The backend under test: concurrent or not, with or without a reset function. */
static const char *backend;

static sel_selector *open_own(void) {
    sel_backend_ops ops = serial;
    for (int i = 0; i < 4; i++) {
        static const char *const names[] = {"serial", "serial-bare", "shared", "shared-bare"};
        ops.name = names[i];
        ops.capabilities = i < 2 ? 0 : SEL_CAN_CONCURRENT | SEL_CAN_EDGE;
        ops.reset = i % 2 == 0 ? reset : NULL;
        if (sel_add_backend(&ops) != 0)
            note("%s", sel_last_error());
    }
    mine = open_selector(backend);
    return mine;
}

/* Makes calls that use each function of the backend; `act` runs in one of them. */
static void use_own(enum function function) {
    int fd = make_ready_event();
    sel_event event;
    busy = function;
    OK(sel_register(mine, fd, SEL_READ, NULL));
    EQUAL(sel_select(mine, &event, 1, 0), 1);
    EQUAL(sel_select(mine, &event, 1, SEL_FOREVER), 1);
    OK(sel_modify(mine, fd, BOTH, NULL));
    EQUAL(sel_select(mine, &event, 1, SEL_FOREVER), 1);
    OK(sel_unregister(mine, fd, NULL));
    CHECK(rests(mine, 20 * MS));
    OK(close_selector(mine));
    EQUAL(busy, NO_FUNCTION);
}

static const enum function functions[] = {ADD, MODIFY, REMOVE, WAIT, LOOK, CLOSE};

/* Forks. */

static pid_t forked;

static void fork_here(void) {
    forked = fork();
    if (forked == 0)
        become_child();
}

/* In the child the call continues; its selector may be unusable. */
static void prove_fork_in(sel_selector *unused) {
    (void)unused;
    for (int i = 0; i < LENGTH(functions); i++) {
        if (open_selector(backend) == NULL)
            return;
        mine = test.selectors[0];
        forked = -1;
        act = fork_here;
        use_own(functions[i]);
        if (forked == 0) {
            sel_selector *other = open_selector("epoll");
            test.failure[0] = '\0';
            CHECK(other != NULL && quiet(other));
            if (test.selectors[0] == mine)
                OK(close_selector(mine));
            EQUAL(instances, 0);
            end_child();
        }
        CHECK(is_content(forked));
    }
}

static void a_function_may_fork(void) {
    CHECK(open_own() != NULL && close_selector(mine) == 0);
    CHECK(holds_in_child(prove_fork_in, NULL));
}

struct meeter {
    pthread_t thread;
    sel_selector *selector;
    int fd, result;
    bool is_good;
};

static void prove_child_of_meeter(sel_selector *selector) {
    is_meeting = false;
    OK(sel_close(selector));
    CHECK(works("epoll"));
}

static void *register_and_fork(void *argument) {
    struct meeter *meeter = argument;
    meeter->result = sel_register(meeter->selector, meeter->fd, SEL_READ, NULL);
    if (own_child == 0) {
        prove_child_of_meeter(meeter->selector);
        end_child();
    }
    meeter->is_good = is_content(own_child);
    return NULL;
}

/* Each of them holds a lock that the other's fork wants. */
static void prove_forks_in_two_functions(sel_selector *unused) {
    struct meeter meeters[2];
    (void)unused;
    pthread_barrier_init(&meeting, NULL, LENGTH(meeters));
    for (int i = 0; i < LENGTH(meeters); i++)
        meeters[i] = (struct meeter){.selector = open_selector(backend), .fd = make_event()};
    is_meeting = true;
    for (int i = 0; i < LENGTH(meeters); i++)
        CHECK(pthread_create(&meeters[i].thread, NULL, register_and_fork, &meeters[i]) == 0);
    for (int i = 0; i < LENGTH(meeters); i++)
        CHECK(pthread_join(meeters[i].thread, NULL) == 0);
    is_meeting = false;
    for (int i = 0; i < LENGTH(meeters); i++) {
        CHECK(meeters[i].is_good);
        EQUAL(meeters[i].result, 0);
        CHECK(put(meeters[i].fd) && sees(meeters[i].selector, meeters[i].fd, SEL_READ, 0));
    }
}

static void functions_of_two_selectors_may_fork_at_once(void) {
    SKIP_UNDER_CHECKERS();
    CHECK(open_own() != NULL && close_selector(mine) == 0);
    CHECK(holds_in_child(prove_forks_in_two_functions, NULL));
}

/* The child has an instance of its own, or no selector. */
static void prove_fork_in_open(sel_selector *selector) {
    int ready = make_ready_event(), result;
    busy = OPEN;
    act = fork_here;
    result = sel_open(&selector, backend);
    if (forked == 0) {
        CHECK(result == 0 || result == -ECANCELED);
        if (result == 0 && sel_register(selector, ready, SEL_READ, NULL) == 0)
            CHECK(sees(selector, ready, SEL_READ, 0));
        OK(sel_close(selector));
        EQUAL(breaches, 0);
        return;
    }
    CHECK(is_content(forked));
    EQUAL(result, 0);
    watch(selector, ready, SEL_READ);
    CHECK(sees(selector, ready, SEL_READ, 0));
    OK(sel_close(selector));
}

static void open_may_fork(void) {
    SKIP_UNDER_CHECKERS();
    CHECK(open_own() != NULL && close_selector(mine) == 0);
    CHECK(holds_in_child(prove_fork_in_open, NULL));
}

/* Another thread's fork must wait for the function, which takes a lock that a fork takes, too. */
static atomic_int forker;
static atomic_bool may_fork;

static void use_built_in(sel_selector *selector) {
    selector = open_selector("poll");
    CHECK(selector != NULL && quiet(selector));
}

static void *fork_when_told(void *is_good) {
    while (!atomic_load(&may_fork))
        sched_yield();
    atomic_store(&forker, (int)syscall(SYS_gettid));
    *(bool *)is_good = holds_in_child(use_built_in, NULL);
    return NULL;
}

static void open_while_another_forks(void) {
    sel_selector *other;
    atomic_store(&may_fork, true);
    while (atomic_load(&forker) == 0 || !is_asleep(atomic_load(&forker)))
        sched_yield();
    usleep(20000); /* it naps: it is about to look for the lock that this thread has */
    seen[0] = sel_open(&other, "poll");
    if (seen[0] == 0)
        sel_close(other);
}

static void prove_fork_beside_open(sel_selector *selector) {
    bool is_good = false;
    pthread_t thread;
    (void)selector;
    CHECK(open_selector(backend) != NULL);
    mine = test.selectors[0];
    CHECK(pthread_create(&thread, NULL, fork_when_told, &is_good) == 0);
    act = open_while_another_forks;
    use_own(ADD);
    EQUAL(seen[0], 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(is_good);
}

static void a_function_opens_while_another_thread_forks(void) {
    SKIP_UNDER_CHECKERS();
    CHECK(open_own() != NULL && close_selector(mine) == 0);
    CHECK(holds_in_child(prove_fork_beside_open, NULL));
}

/* Calls back. */

static void call_back(void) {
    sel_event event;
    seen[0] = sel_register(mine, STDIN_FILENO, SEL_READ, NULL);
    seen[1] = sel_select(mine, &event, 1, SEL_FOREVER);
}

static void call_back_by_close(void) {
    seen[0] = seen[1] = sel_close(mine);
}

static void prove_calls_back(sel_selector *selector) {
    (void)selector;
    for (int i = 0; i < 2 * LENGTH(functions); i++) {
        enum function function = functions[i / 2];
        if (open_selector(backend) == NULL)
            return;
        mine = test.selectors[0];
        act = i % 2 == 0 ? call_back : call_back_by_close;
        seen[0] = seen[1] = 0;
        if (function == CLOSE)
            continue; /* the selector is no more */
        use_own(function);
        EQUAL(seen[0], -EDEADLK);
        EQUAL(seen[1], -EDEADLK);
    }
}

static void calls_back_are_refused(void) {
    CHECK(open_own() != NULL && close_selector(mine) == 0);
    CHECK(holds_in_child(prove_calls_back, NULL));
}

/* Cancellation. */

static atomic_bool has_opened;

static void be_cancelled(void) {
    struct pollfd nothing = {-1, 0, 0};
    pthread_cancel(pthread_self());
    poll(&nothing, 1, 0); /* a cancellation point */
}

static void *open_and_be_cancelled(void *unused) {
    (void)unused;
    atomic_store(&has_opened, open_selector(backend) != NULL);
    mine = test.selectors[0];
    pthread_testcancel();
    return NULL;
}

static void prove_cancellation_in(enum function function) {
    pthread_t thread;
    busy = function;
    act = be_cancelled;
    atomic_store(&has_opened, false);
    CHECK(pthread_create(&thread, NULL, open_and_be_cancelled, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(atomic_load(&has_opened));
    use_own(NO_FUNCTION);
    CHECK(works("poll"));
}

static void prove_cancellation_in_probe(sel_selector *unused) {
    (void)unused;
    prove_cancellation_in(PROBE);
}

static void prove_cancellation_in_open(sel_selector *unused) {
    (void)unused;
    prove_cancellation_in(OPEN);
}

static void no_function_is_cancelled(void) {
    sel_backend_ops ops = serial;
    backend = ops.name;
    CHECK(sel_add_backend(&ops) == 0);
    CHECK(holds_in_child(prove_cancellation_in_open, NULL));
    CHECK(holds_in_child(prove_cancellation_in_probe, NULL));
}

/* The instance. */

/* Opens `mine`, whose set still has a file that was closed; another number of that file, or -1. */
static int open_with_a_leftover(void) {
    int left, twin;
    if (open_selector(backend) == NULL)
        return -1;
    mine = test.selectors[0];
    left = watch(mine, make_event(), SEL_READ);
    twin = duplicate(left);
    return twin >= 0 && drop(left) && sel_unregister(mine, left, NULL) == 0 ? twin : -1;
}

/* An event of a stale registration makes the selector rebuild its set. */
static void prove_no_reset_under_a_waiter(sel_selector *selector) {
    struct waiter *waiters[3];
    int twin, live = make_event();
    (void)selector;
    twin = open_with_a_leftover();
    CHECK(twin >= 0);
    watch(mine, live, SEL_READ);
    CHECK(start_waiters(waiters, LENGTH(waiters), mine));
    CHECK(put(twin));
    for (int i = 0; i < 20; i++) {
        int fd = watch(mine, make_event(), SEL_READ);
        OK(sel_unregister(mine, fd, NULL));
        usleep(200);
    }
    CHECK(put(live));
    CHECK(are_back(waiters, LENGTH(waiters), 1));
    OK(close_selector(mine));
    for (int i = 0; i < LENGTH(waiters); i++) {
        int result = result_of(waiters[i]);
        CHECK(result == 1 || result == -ECANCELED);
    }
    EQUAL(breaches, 0);
}

static void no_instance_is_replaced_under_a_waiter(void) {
    CHECK(open_own() != NULL && close_selector(mine) == 0);
    CHECK(holds_in_child(prove_no_reset_under_a_waiter, NULL));
}

/* A thread holds a report while another is given the event, which is served and armed again. */
static atomic_bool is_held;

static void hold(void) {
    atomic_store(&is_held, true);
    while (atomic_load(&is_held))
        usleep(100);
}

/* Something left behind is reported after the event, so the change of a one-shot waits for a rebuild. */
static void prove_one_shot_goes_to_one(sel_selector *selector) {
    struct waiter *waiter;
    sel_event events[4];
    int shot = make_event(), twin;
    (void)selector;
    twin = open_with_a_leftover();
    CHECK(twin >= 0);
    watch(mine, shot, SEL_READ | SEL_ONESHOT);
    act = hold;
    busy = RETURN;
    CHECK(start_waiter(&waiter, mine));
    CHECK(put(shot));
    while (!atomic_load(&is_held))
        usleep(100);
    CHECK(put(twin));
    EQUAL(sel_select(mine, events, LENGTH(events), ENOUGH), 1);
    CHECK(events[0].key.fd == shot && take(shot));
    OK(sel_modify(mine, shot, SEL_READ | SEL_ONESHOT, NULL));
    atomic_store(&is_held, false);
    while (inside == 0 && count_back(&waiter, 1) == 0)
        usleep(100);
    EQUAL(count_back(&waiter, 1), 0);
    CHECK(put(shot));
    EQUAL(result_of(waiter), 1);
    EQUAL(waiter->event.key.fd, shot);
}

static void a_one_shot_that_is_armed_again_goes_to_one_thread(void) {
    CHECK(open_own() != NULL);
    if ((sel_capabilities(mine) & SEL_CAN_CONCURRENT) == 0)
        SKIP("one thread waits at a time");
    CHECK(close_selector(mine) == 0);
    CHECK(holds_in_child(prove_one_shot_goes_to_one, NULL));
}

/* A call that is queued for the lock has begun, so close must wait for it. */
static atomic_int adder;

static void be_slow(void) {
    atomic_store(&adder, 1);
    while (atomic_load(&adder) == 1)
        usleep(100);
}

static void *register_one(void *result) {
    *(int *)result = sel_register(mine, STDIN_FILENO, SEL_READ, NULL);
    return NULL;
}

static void *close_own(void *unused) {
    (void)unused;
    close_selector(mine);
    return NULL;
}

static void close_waits_for_those_who_wait_for_the_lock(void) {
    struct waiter *waiters[3];
    pthread_t registering, closing;
    int result = 1, back = 0;
    bool is_closing;
    CHECK(open_own() != NULL);
    atomic_store(&adder, 0);
    busy = ADD;
    act = be_slow;
    CHECK(pthread_create(&registering, NULL, register_one, &result) == 0);
    while (atomic_load(&adder) == 0)
        usleep(100);
    is_closing = start_waiters(waiters, LENGTH(waiters), mine) &&
                 pthread_create(&closing, NULL, close_own, NULL) == 0;
    if (is_closing) {
        usleep(20000); /* enough time for a close that does not wait */
        back = count_back(waiters, LENGTH(waiters));
    }
    atomic_store(&adder, 2);
    CHECK(pthread_join(registering, NULL) == 0);
    CHECK(is_closing && pthread_join(closing, NULL) == 0);
    EQUAL(back, 0);
    CHECK(result == 0 || result == -ECANCELED || result == -EPERM);
    for (int i = 0; i < LENGTH(waiters); i++)
        CHECK(result_of(waiters[i]) >= 0 || waiters[i]->result == -ECANCELED);
}

static const struct fact instance_facts[] = {
    FACT_ALONE("a function may fork", a_function_may_fork),
    FACT_ALONE("functions of two selectors may fork at once",
               functions_of_two_selectors_may_fork_at_once),
    FACT_ALONE("open may fork", open_may_fork),
    FACT_ALONE("a function opens a selector while another thread forks",
               a_function_opens_while_another_thread_forks),
    FACT_ALONE("calls back to the own selector are refused", calls_back_are_refused),
    FACT_ALONE("no instance is replaced under a waiter", no_instance_is_replaced_under_a_waiter),
    FACT_ALONE("a one-shot that is armed again goes to one thread",
               a_one_shot_that_is_armed_again_goes_to_one_thread),
    FACT_ALONE("close waits for those who wait for the lock",
               close_waits_for_those_who_wait_for_the_lock),
    END_OF_FACTS,
};

static const struct fact facts[] = {
    FACT_ALONE("no function is cancelled", no_function_is_cancelled),
    END_OF_FACTS,
};

void prove_threads(void) {
    const char *const names[] = {"serial", "serial-bare", "shared", "shared-bare"};
    for (int i = 0; i < LENGTH(names); i++) {
        backend = names[i];
        prove(backend, instance_facts);
    }
    prove("threads", facts);
}
