/*
 * forking.c - two threads that fork repeatedly while others change, wait, open, close and fail.
 *
 * Each child uses the shared selector and one of its own, and exits; its alarm kills it if it
 * hangs. The watchdog finds a thread of the parent that makes no progress.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "stress.h"

#include "selectors_plugin.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FORKERS = 2, ACTORS = 7, PATIENCE = 20 /* seconds */ };

static struct {
    atomic_int left;            /* forks that are still to be made */
    atomic_ulong steps[ACTORS]; /* of each thread */
    atomic_bool has_left[ACTORS];
    char plugin[64]; /* a path that cannot be loaded */
} forking;

static int make_event(unsigned count) {
    int fd = eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

/* Reports a failure in a child, and exits it. */
#define CHILD_CHECK(condition)                                                              \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            dprintf(STDOUT_FILENO, "# in a child: %s: %s\n", #condition, sel_last_error()); \
            _exit(1);                                                                       \
        }                                                                                   \
    } while (0)

/* The others' descriptors are registered in the child, too: any of them may be ready. */
static void use_in_child(sel_selector *selector) {
    int ready = make_event(1);
    sel_event event;
    CHILD_CHECK(sel_register(selector, ready, SEL_READ, NULL) == 0);
    do
        CHILD_CHECK(sel_select(selector, &event, 1, -1) >= 0);
    while (event.key.fd != ready);
    CHILD_CHECK(sel_modify(selector, ready, BOTH, NULL) == 0);
    CHILD_CHECK(sel_unregister(selector, ready, NULL) == 0);
    CHILD_CHECK(sel_wakeup(selector) == 0);
    CHILD_CHECK(sel_select(selector, &event, 1, -1) >= 0);
    CHILD_CHECK(sel_close(selector) == 0);
    close(ready);
}

static void be_a_child(void) {
    sel_selector *other;
    signal(SIGALRM, SIG_DFL);
    alarm(PATIENCE / 2);
    use_in_child(stage.selector);
    CHILD_CHECK(sel_open(&other, "nonsense") == -ENOENT);
    CHILD_CHECK(sel_open(&other, stage.backend) == 0);
    use_in_child(other);
    _exit(0);
}

static void fork_once(void) {
    int status;
    pid_t child = fork();
    if (child == 0)
        be_a_child();
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status))
        fail("a child was killed by signal %d%s", WTERMSIG(status),
             WTERMSIG(status) == SIGALRM ? ": it hung" : "");
    CHECK(status == 0);
}

/* The threads' actions, repeated, each with its own descriptor. */

static void fork_and_wait(int fd) {
    (void)fd;
    if (atomic_fetch_sub(&forking.left, 1) > 0)
        fork_once();
}

static void change_it(int fd) {
    sel_key key;
    OK(sel_register(stage.selector, fd, SEL_READ, NULL));
    OK(sel_modify(stage.selector, fd, BOTH, NULL));
    OK(sel_get_key(stage.selector, fd, &key));
    OK(sel_modify(stage.selector, fd, SEL_READ | SEL_ONESHOT, NULL));
    OK(sel_unregister(stage.selector, fd, NULL));
}

static void wait_for_it(int fd) {
    sel_event event;
    (void)fd;
    OK(sel_wakeup(stage.selector));
    CHECK(sel_select(stage.selector, &event, 1, SECOND / 1000) >= 0);
}

static void open_and_close_it(int fd) {
    sel_selector *selector;
    sel_event event;
    OK(sel_open(&selector, stage.backend));
    OK(sel_register(selector, fd, SEL_WRITE, NULL));
    CHECK(sel_select(selector, &event, 1, -1) == 1);
    OK(sel_close(selector));
}

static void fail_at_it(int fd) {
    sel_selector *selector;
    sel_backend_info infos[32];
    int result = sel_load_plugin(forking.plugin);
    CHECK(result == -ELIBACC || result == -ENOSYS);
    CHECK(sel_open(&selector, "nonsense") == -ENOENT && *sel_last_error() != '\0');
    CHECK(sel_unregister(stage.selector, fd, NULL) == -ENOENT);
    CHECK(sel_backends(infos, 32) > 0);
}

static void (*const acts[ACTORS])(int fd) = {
    fork_and_wait, fork_and_wait, change_it, change_it, wait_for_it, open_and_close_it, fail_at_it,
};

static void *act(void *number) {
    int index = *(int *)number, fd = make_event(0);
    while (atomic_load(&forking.left) > 0) {
        acts[index](fd);
        forking.steps[index]++;
    }
    close(fd);
    forking.has_left[index] = true;
    return NULL;
}

/* Returns when all threads have ended; fails if one makes no progress for long. */
static void keep_watch(void) {
    static const struct timespec tick = {0, SECOND / 100};
    unsigned long steps[ACTORS] = {0};
    int idle[ACTORS] = {0};
    for (int left = 0; left < ACTORS; nanosleep(&tick, NULL)) {
        left = 0;
        for (int i = 0; i < ACTORS; i++) {
            left += forking.has_left[i];
            idle[i] = forking.has_left[i] || forking.steps[i] != steps[i] ? 0 : idle[i] + 1;
            steps[i] = forking.steps[i];
            if (idle[i] > PATIENCE * 100)
                fail("thread %d has got nowhere for %d seconds, %d forks were to come", i, PATIENCE,
                     atomic_load(&forking.left));
        }
    }
}

void play_forks(const char *backend, int count) {
    pthread_t threads[ACTORS];
    int numbers[ACTORS];
    memset(&stage, 0, sizeof stage);
    memset(&forking, 0, sizeof forking);
    stage.backend = backend;
    forking.left = count;
    snprintf(forking.plugin, sizeof forking.plugin, "/dev/null/%d.so", (int)getpid());
    OK(sel_open(&stage.selector, backend));
    for (int i = 0; i < ACTORS; i++) {
        numbers[i] = i;
        OK(pthread_create(&threads[i], NULL, act, &numbers[i]));
    }
    keep_watch();
    for (int i = 0; i < ACTORS; i++)
        OK(pthread_join(threads[i], NULL));
    OK(sel_close(stage.selector));
    printf("# %d forks beside %lu changes, %lu waits, %lu selectors, %lu failures\n", count,
           forking.steps[2] + forking.steps[3], forking.steps[4], forking.steps[5],
           forking.steps[6]);
}
