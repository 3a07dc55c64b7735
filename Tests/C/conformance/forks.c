/*
 * forks.c - proves what the child of a fork may do, whatever the parent's threads are doing, and
 * that this does not affect the parent.
 *
 * A test that may hang runs in a child, so that it fails instead.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "waiters.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_OWN 64 /* descriptors that a test inspects by number */

/* Exits a child, with success or failure. */
static void leave(bool is_wrong) {
    if (is_wrong)
        note("what the child has tried went wrong");
    end_child();
}

/* Uses the parent's selector in a child. */
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
    child = start_child();
    if (child == 0)
        leave(!use_in_child(selector, idle, ready));
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
    pid_t child = start_child();
    if (child == 0)
        leave(sel_wakeup(selector) != 0 || sel_wakeup(selector) != 0 || sel_close(selector) != 0);
    CHECK(is_content(child));
    CHECK(rests(selector, 50 * MS));
    CHECK(put(idle));
    CHECK(sees(selector, idle, SEL_READ, 0));
}

static void wakeup_in_a_child_is_kept(sel_selector *selector) {
    pid_t child = start_child();
    if (child == 0) {
        sel_event event;
        leave(sel_wakeup(selector) != 0 || sel_select(selector, &event, 1, SEL_FOREVER) != 0);
    }
    CHECK(is_content(child));
    CHECK(rests(selector, 20 * MS));
}

static void wakeups_in_a_child_are_one(sel_selector *selector) {
    pid_t child = start_child();
    if (child == 0)
        leave(!(sel_wakeup(selector) == 0 && watch(selector, make_event(), SEL_READ) >= 0 &&
                sel_wakeup(selector) == 0 && quiet(selector) && waits_out(selector, 20 * MS)));
    CHECK(is_content(child));
}

static void child_keeps_spent_one_shots(sel_selector *selector) {
    int spent = watch(selector, make_ready_event(), SEL_READ | SEL_ONESHOT);
    int armed = watch(selector, make_event(), SEL_READ | SEL_ONESHOT);
    pid_t child;
    CHECK(sees(selector, spent, SEL_READ, 0));
    child = start_child();
    if (child == 0)
        leave(!(put(armed) && sees(selector, armed, SEL_READ, 0) && quiet(selector) &&
                sel_modify(selector, spent, SEL_READ | SEL_ONESHOT, NULL) == 0 &&
                sees(selector, spent, SEL_READ, 0) && quiet(selector)));
    CHECK(is_content(child));
    CHECK(sees(selector, armed, SEL_READ, 0));
    CHECK(rests(selector, 20 * MS));
}

static void child_keeps_files_and_closed_ones(sel_selector *selector) {
    int closed = watch(selector, make_event(), SEL_READ);
    int file = watch(selector, make_file(), SEL_READ);
    pid_t child = start_child();
    if (child == 0) {
        sel_event got[4];
        close(closed);
        leave(sel_select(selector, got, 4, ENOUGH) != 2 ||
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
    child = start_child();
    if (child == 0)
        leave(!(quiet(selector) && quiet(outer) && put(idle) && sees(outer, inner, SEL_READ, 0) &&
                sees(selector, idle, SEL_READ, 0) && sel_fileno(selector) == inner));
    CHECK(is_content(child));
    CHECK(sees(outer, inner, SEL_READ, 0));
    CHECK(sees(selector, idle, SEL_READ, 0));
}

/* The number of descriptors that would stay open in an exec. */
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
    child = start_child();
    if (child == 0)
        leave(sel_register(selector, ghost, SEL_READ, NULL) != 0 || !quiet(selector) ||
              count_inherited() != before);
    CHECK(is_content(child));
}

/* Runs a worker of a server: waits for the socket, and serves its clients. */
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

/* A server that forks its workers in advance. They exit before the test ends, even if it fails. */
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

/* A wake-up before the fork counts once in each process. */
static void prove_one_wakeup(sel_selector *selector) {
    sel_event event;
    EQUAL(sel_select(selector, &event, 1, SEL_FOREVER), 0);
    CHECK(rests(selector, 20 * MS));
}

static void pending_wakeup_is_kept_by_both(sel_selector *selector) {
    OK(sel_wakeup(selector));
    CHECK(holds_in_child(prove_one_wakeup, selector));
    prove_one_wakeup(selector);
}

static sel_selector *shared; /* by the tests' threads and signal handlers */
static pid_t first_process;  /* handlers act only in its children */
static volatile sig_atomic_t in_child;

static void wake_in_child(int number) {
    (void)number;
    if (getpid() == first_process)
        return;
    in_child = 1;
    sel_wakeup(shared);
}

/* Signals arrive at a process group while a member forks, and so at a child in its first moment. */
static void prove_early_wakeups(sel_selector *selector) {
    struct sigaction action = {.sa_handler = wake_in_child, .sa_flags = SA_RESTART};
    sigset_t all;
    pid_t storm;
    CHECK(setpgid(0, 0) == 0);
    shared = selector;
    first_process = getpid();
    in_child = 0;
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    storm = start_child();
    while (storm == 0) {
        signal(SIGUSR2, SIG_IGN);
        kill(0, SIGUSR2);
        usleep(20);
    }
    CHECK(storm > 0);
    sigfillset(&all);
    for (int i = 0; i < 60; i++) {
        pid_t child = start_child();
        if (child == 0) {
            sel_event event;
            sigprocmask(SIG_BLOCK, &all, NULL);
            leave(in_child && sel_select(selector, &event, 1, SEL_FOREVER) != 0);
        }
        CHECK(is_content(child));
    }
    CHECK(kill(storm, SIGKILL) == 0);
    while (waitpid(storm, NULL, 0) < 0)
        CHECK(errno == EINTR);
}

static void early_wakeup_is_kept(sel_selector *selector) {
    if (is_under_qemu())
        SKIP("qemu-user 7.2 hangs in a storm of signals to forks");
    CHECK(holds_in_child(prove_early_wakeups, selector));
    CHECK(rests(selector, 20 * MS));
}

/* Threads. */

static void *fork_again_and_again(void *argument) {
    bool *is_good = argument;
    for (int i = 0; i < 25 && *is_good; i++) {
        pid_t child = start_child();
        if (child == 0)
            leave(look(shared) != 0);
        *is_good = is_content(child);
    }
    return NULL;
}

static void prove_forks_at_once(sel_selector *selector) {
    enum { FORKERS = 4 };
    pthread_t threads[FORKERS];
    bool are_good[FORKERS] = {true, true, true, true};
    shared = selector;
    for (int i = 0; i < FORKERS; i++)
        CHECK(pthread_create(&threads[i], NULL, fork_again_and_again, &are_good[i]) == 0);
    for (int i = 0; i < FORKERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(are_good[i]);
    }
}

static void several_threads_may_fork_at_once(sel_selector *selector) {
    SKIP_UNDER_CHECKERS();
    CHECK(holds_in_child(prove_forks_at_once, selector));
}

static atomic_bool is_over;

static void *change_again_and_again(void *result) {
    int fd = make_event(), *failure = result;
    while (!atomic_load(&is_over) && *failure == 0) {
        if ((*failure = sel_register(shared, fd, SEL_READ, NULL)) == 0 &&
            (*failure = sel_modify(shared, fd, BOTH, NULL)) == 0)
            *failure = sel_unregister(shared, fd, NULL);
    }
    return NULL;
}

static void use_beside_nobody(sel_selector *selector) {
    int ready = make_ready_event();
    sel_event event;
    OK(sel_register(selector, ready, SEL_READ, NULL));
    do
        EQUAL(sel_select(selector, &event, 1, ENOUGH), 1); /* the thread's own may be writable */
    while (event.key.fd != ready);
    OK(sel_unregister(selector, ready, NULL));
    OK(sel_close(selector));
}

static void prove_forks_beside_changes(sel_selector *selector) {
    enum { CHANGERS = 2 };
    pthread_t threads[CHANGERS];
    int failures[CHANGERS] = {0};
    shared = selector;
    atomic_store(&is_over, false);
    for (int i = 0; i < CHANGERS; i++)
        CHECK(pthread_create(&threads[i], NULL, change_again_and_again, &failures[i]) == 0);
    for (int i = 0; i < 50; i++)
        CHECK(holds_in_child(use_beside_nobody, selector));
    atomic_store(&is_over, true);
    for (int i = 0; i < CHANGERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        EQUAL(failures[i], 0);
    }
}

static void child_of_a_fork_beside_changes_works(sel_selector *selector) {
    SKIP_UNDER_CHECKERS();
    CHECK(holds_in_child(prove_forks_beside_changes, selector));
}

/* Forks in a signal handler, which returns in the child, too. */
static atomic_int forked;

static void fork_in_handler(int number) {
    int saved = errno;
    pid_t child = fork();
    (void)number;
    if (child == 0) {
        in_child = 1;
        become_child();
        sel_wakeup(shared);
    }
    atomic_store(&forked, child);
    errno = saved;
}

/* Threads that overwrite the stacks of the parent's threads, until the selector is closed. */
static pthread_barrier_t is_soiled, is_closed;

static void *soil_a_stack(void *argument) {
    volatile char block[60000];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = 'x';
    pthread_barrier_wait(&is_soiled);
    pthread_barrier_wait(&is_closed);
    return argument;
}

/* Runs in the child of a thread that forked in its wait, after that wait. */
static void go_on_in_child(sel_selector *selector, int result) {
    pthread_t threads[4];
    int ready;
    EQUAL(result, 0);
    pthread_barrier_init(&is_soiled, NULL, LENGTH(threads) + 1);
    pthread_barrier_init(&is_closed, NULL, LENGTH(threads) + 1);
    for (int i = 0; i < LENGTH(threads); i++)
        CHECK(pthread_create(&threads[i], NULL, soil_a_stack, NULL) == 0);
    pthread_barrier_wait(&is_soiled);
    ready = make_ready_event();
    OK(sel_register(selector, ready, SEL_READ, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
    OK(sel_close(selector));
    pthread_barrier_wait(&is_closed);
    for (int i = 0; i < LENGTH(threads); i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void go_on_if_child(struct waiter *waiter) {
    if (!in_child)
        return;
    go_on_in_child(waiter->selector, waiter->result);
    end_child();
}

/* A thread is queued behind another's wait, or blocked beside it; one of them forks. */
static void prove_fork_in_wait(sel_selector *selector, int which) {
    struct sigaction action = {.sa_handler = fork_in_handler};
    struct waiter *waiters[2];
    int fd = watch(selector, make_event(), SEL_READ);
    shared = selector;
    in_child = 0;
    atomic_store(&forked, 0);
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    for (int i = 0; i < LENGTH(waiters); i++)
        CHECK(start_waiter_then(&waiters[i], selector, go_on_if_child));
    CHECK(pthread_kill(waiters[which]->thread, SIGUSR2) == 0);
    while (atomic_load(&forked) == 0)
        sched_yield();
    CHECK(is_content(atomic_load(&forked)));
    CHECK(count_back(waiters, LENGTH(waiters)) == 0);
    CHECK(put(fd));
    for (int i = 0; i < LENGTH(waiters); i++) {
        EQUAL(result_of(waiters[i]), 1);
        EQUAL(waiters[i]->event.key.fd, fd);
    }
}

static void prove_fork_in_first_wait(sel_selector *selector) {
    prove_fork_in_wait(selector, 0);
}

static void prove_fork_in_second_wait(sel_selector *selector) {
    prove_fork_in_wait(selector, 1);
}

static void handler_may_fork_in_a_wait(sel_selector *selector) {
    SKIP_UNDER_CHECKERS();
    CHECK(holds_in_child(prove_fork_in_first_wait, selector));
    CHECK(holds_in_child(prove_fork_in_second_wait, selector));
}

static atomic_flag one_forks = ATOMIC_FLAG_INIT;
static atomic_int forks, bad_children;

static void fork_one_at_a_time(int number) {
    int saved = errno, status = 0;
    pid_t child;
    (void)number;
    if (atomic_flag_test_and_set(&one_forks))
        return;
    child = fork();
    if (child == 0) {
        in_child = 1;
        become_child();
        return;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    bad_children += !WIFEXITED(status) || WEXITSTATUS(status) != CONTENT;
    forks++;
    atomic_flag_clear(&one_forks);
    errno = saved;
}

static bool is_refused_or_works(int result) {
    return result >= 0 || result == -ECANCELED;
}

/* In the child of a fork within a call, the call works, or the selector is unusable afterwards. */
static void prove_call_in_child(const char *call, int result) {
    if (!is_refused_or_works(result))
        note("%s is not refused, and does not work: %d", call, result);
    OK(sel_close(shared));
}

static void leave_if_child(const char *call, int result) {
    if (!in_child)
        return;
    prove_call_in_child(call, result);
    end_child();
}

static atomic_int ready_to_be_forked;

/* fork(2) would hang if it interrupted malloc(3), so one-time allocations are made before. */
static void *call_and_be_forked(void *argument) {
    int fd = make_event();
    sel_event event;
    (void)argument;
    for (int i = 0; i < 2; i++) {
        sel_register(shared, fd, SEL_READ, NULL);
        sel_modify(shared, fd, SEL_READ | SEL_PRIORITY, NULL);
        sel_select(shared, &event, 1, 0);
        sel_unregister(shared, fd, NULL);
    }
    ready_to_be_forked++;
    while (!atomic_load(&is_over)) {
        leave_if_child("sel_register()", sel_register(shared, fd, SEL_READ, NULL));
        leave_if_child("sel_modify()", sel_modify(shared, fd, SEL_READ | SEL_PRIORITY, NULL));
        leave_if_child("sel_select()", sel_select(shared, &event, 1, 100 * US));
        leave_if_child("sel_unregister()", sel_unregister(shared, fd, NULL));
    }
    return NULL;
}

static void prove_forks_in_calls(sel_selector *selector) {
    enum { CALLERS = 4, FORKS = 100 };
    struct sigaction action = {.sa_handler = fork_one_at_a_time, .sa_flags = SA_RESTART};
    pthread_t threads[CALLERS];
    shared = selector;
    in_child = 0;
    atomic_store(&is_over, false);
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_create(&threads[i], NULL, call_and_be_forked, NULL) == 0);
    while (atomic_load(&ready_to_be_forked) < CALLERS)
        usleep(100);
    for (int i = 0; atomic_load(&forks) < FORKS; i++) {
        CHECK(pthread_kill(threads[i % CALLERS], SIGUSR2) == 0);
        usleep(200);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    EQUAL(atomic_load(&bad_children), 0);
}

static void handler_may_fork_in_any_call(sel_selector *selector) {
    SKIP_UNDER_CHECKERS();
    CHECK(holds_in_child(prove_forks_in_calls, selector));
}

/* Children whose fork the library has not noticed. */

extern pid_t _Fork(void) __attribute__((weak));

static pid_t clone_bare(void) {
    return (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
}

static void prove_close_unnoticed(sel_selector *selector, int fd) {
    sel_event event;
    sel_key key;
    OK(sel_wakeup(selector));
    CHECK(is_refused_or_works(sel_select(selector, &event, 1, 0)));
    CHECK(is_refused_or_works(sel_register(selector, make_event(), SEL_READ, NULL)));
    CHECK(is_refused_or_works(sel_modify(selector, fd, BOTH, NULL)));
    CHECK(is_refused_or_works(sel_get_key(selector, fd, &key)));
    CHECK(is_refused_or_works(sel_get_map(selector, &key, 1)));
    CHECK(sel_fileno(selector) == -ENOTSUP || is_refused_or_works(sel_fileno(selector)));
    CHECK(is_refused_or_works(sel_unregister(selector, fd, NULL)));
    OK(sel_close(selector));
}

static void unnoticed_child_may_close(sel_selector *selector) {
    pid_t (*const makers[])(void) = {clone_bare, _Fork};
    int fd = watch(selector, make_event(), SEL_READ);
    SKIP_UNDER_CHECKERS();
    for (int i = 0; i < LENGTH(makers); i++) {
        struct waiter *waiter;
        pid_t child;
        if (makers[i] == NULL)
            continue;
        CHECK(start_waiter(&waiter, selector));
        child = makers[i]();
        if (child == 0) {
            become_child();
            prove_close_unnoticed(selector, fd);
            end_child();
        }
        CHECK(is_content(child));
        CHECK(still_waits(waiter));
        CHECK(put(fd));
        EQUAL(result_of(waiter), 1);
        CHECK(take(fd));
    }
}

/* The library's own descriptors. */

static void close_from(int first) {
    for (int fd = first; fd < 1024; fd++)
        close(fd);
}

/* The kinds of the program's files that come to stand under the library's numbers. An eventfd can be
 * told from the library's own only in a child. */
enum kind { REGULAR, PIPE, SOCKET, EVENT };

/* The files' kinds and contents. */
static struct stat others[MOST_OWN];

static uint64_t content_of(int fd) {
    return (uint64_t)fd + 1;
}

static bool put_content(int fd, int reader) {
    uint64_t content = content_of(reader);
    return write(fd, &content, sizeof content) == (ssize_t)sizeof content;
}

/* One file or two that are connected, with numbers as low as possible. */
static bool make_other(enum kind kind, int ends[2]) {
    switch (kind) {
    case REGULAR:
        ends[0] = ends[1] = make_file();
        return ends[0] >= 0 && put_content(ends[0], ends[0]);
    case PIPE: return pipe2(ends, O_NONBLOCK) == 0 && put_content(ends[1], ends[0]);
    case SOCKET:
        return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0 &&
               put_content(ends[1], ends[0]) && put_content(ends[0], ends[1]);
    default:
        ends[0] = ends[1] = eventfd(0, EFD_NONBLOCK);
        return ends[0] >= 0 && put_content(ends[0], ends[0]);
    }
}

/* Gives each free number up to a limit a file of the program's. The first kind is another one each
 * time, so that each number gets all kinds in the course of them. */
static bool fill_numbers(int kinds, int first) {
    int ends[2] = {-1, -1};
    for (int i = first; ends[0] < MOST_OWN - 1 && ends[1] < MOST_OWN - 1; i++)
        if (!make_other((enum kind)(i % kinds), ends))
            return false;
    for (int fd = 3; fd < MOST_OWN; fd++)
        if (fstat(fd, &others[fd]) != 0)
            return false;
    return true;
}

static bool is_untouched(int fd) {
    uint64_t got[2] = {0, 0};
    struct stat file;
    if (fstat(fd, &file) != 0 || file.st_dev != others[fd].st_dev ||
        file.st_ino != others[fd].st_ino || file.st_mode != others[fd].st_mode)
        return false;
    if (S_ISREG(file.st_mode)) /* no other process has read or written since */
        return lseek(fd, 0, SEEK_CUR) == (off_t)sizeof *got &&
               pread(fd, got, sizeof got, 0) == (ssize_t)sizeof *got && *got == content_of(fd);
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) /* its other end is checked instead */
        return true;
    return read(fd, got, sizeof got) == (ssize_t)sizeof *got && *got == content_of(fd);
}

static bool are_untouched(int first) {
    for (int fd = first; fd < MOST_OWN; fd++) {
        if (is_untouched(fd))
            continue;
        note("number %d (mode 0%o) was read from, written to, closed or given to another file", fd,
             (unsigned)others[fd].st_mode);
        return false;
    }
    return true;
}

/* The first steps of each child. */
static int first_kind;

static void prove_new_descriptors(sel_selector *selector) {
    int ready;
    close_from(3);
    CHECK(fill_numbers(EVENT + 1, first_kind));
    ready = make_ready_event();
    OK(sel_wakeup(selector));
    CHECK(look(selector) == 0);
    OK(sel_register(selector, ready, SEL_READ, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
    OK(sel_close(selector));
    CHECK(are_untouched(3));
}

static void child_without_descriptors_gets_new_ones(sel_selector *selector) {
    for (first_kind = 0; first_kind <= EVENT; first_kind++)
        CHECK(holds_in_child(prove_new_descriptors, selector));
    if (test.capabilities & SEL_CAN_FILENO)
        CHECK(sel_fileno(selector) >= 0);
    for (first_kind = 0; first_kind <= EVENT; first_kind++)
        CHECK(holds_in_child(prove_new_descriptors, selector));
}

/* Uses a selector whose numbers are now the program's files; its results do not matter. */
static void prove_others_are_left_alone(sel_selector *selector) {
    int64_t cpu = cpu_time();
    close_from(3);
    CHECK(fill_numbers(EVENT, first_kind));
    sel_wakeup(selector);
    for (int i = 0; i < 3; i++)
        sel_select(selector, &(sel_event){0}, 1, 20 * MS);
    sel_close(selector);
    CHECK(are_untouched(3));
    CHECK(cpu_time() - cpu < SECOND);
}

static void prove_in_one_process(sel_selector *selector) {
    (void)selector;
    selector = open_selector(test.backend);
    CHECK(selector != NULL);
    sel_fileno(selector);
    prove_others_are_left_alone(selector);
}

static void files_of_others_are_left_alone(sel_selector *selector) {
    for (first_kind = 0; first_kind < EVENT; first_kind++)
        CHECK(holds_in_child(prove_in_one_process, selector));
}

static void note_open(bool is_open[MOST_OWN]) {
    for (int fd = 0; fd < MOST_OWN; fd++)
        is_open[fd] = fcntl(fd, F_GETFD) >= 0;
}

/* The standard streams are closed, as in some daemons. */
static void prove_streams_are_left_free(sel_selector *selector) {
    bool is_open[MOST_OWN];
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    selector = open_selector(test.backend);
    CHECK(selector != NULL);
    sel_fileno(selector);
    CHECK(leave_a_ghost(selector, false) >= 0 && quiet(selector));
    note_open(is_open);
    for (int fd = 0; fd <= 2; fd++)
        CHECK(!is_open[fd] || test.owned[fd]);
}

static void own_numbers_are_above_the_streams(sel_selector *selector) {
    CHECK(holds_in_child(prove_streams_are_left_free, selector));
}

static void prove_own_ones_are_refused(sel_selector *selector) {
    bool before[MOST_OWN], after[MOST_OWN];
    note_open(before);
    selector = open_selector(test.backend);
    CHECK(selector != NULL);
    sel_fileno(selector);
    note_open(after);
    for (int fd = 0; fd < MOST_OWN; fd++)
        if (after[fd] && !before[fd])
            REFUSED(sel_register(selector, fd, SEL_READ, NULL), -ELOOP);
    OK(sel_wakeup(selector));
    EQUAL(sel_select(selector, &(sel_event){0}, 1, SEL_FOREVER), 0);
    CHECK(rests(selector, 20 * MS));
}

static void own_ones_are_not_registered(sel_selector *selector) {
    CHECK(holds_in_child(prove_own_ones_are_refused, selector));
}

static void prove_lost_ones_are_an_error(sel_selector *selector) {
    bool before[MOST_OWN], after[MOST_OWN];
    int64_t cpu;
    note_open(before);
    selector = open_selector(test.backend);
    CHECK(selector != NULL && quiet(selector));
    note_open(after);
    for (int fd = 0; fd < MOST_OWN; fd++)
        if (after[fd] && !before[fd])
            close(fd);
    CHECK(sel_wakeup(selector) < 0);
    cpu = cpu_time();
    for (int i = 0; i < 3; i++)
        CHECK(sel_select(selector, &(sel_event){0}, 1, SECOND / 2) < 0);
    CHECK(cpu_time() - cpu < SECOND / 4);
    OK(close_selector(selector));
}

static void own_ones_that_were_closed_are_an_error(sel_selector *selector) {
    CHECK(holds_in_child(prove_lost_ones_are_an_error, selector));
}

const struct fact forks_facts[] = {
    FACT("a fork's child has a set of its own", child_has_a_set_of_its_own),
    FACT("a fork's child may wake and close at once", child_may_wake_and_close_at_once),
    FACT("a wake-up in a fork's child is kept", wakeup_in_a_child_is_kept),
    FACT("wake-ups in a fork's child are one", wakeups_in_a_child_are_one),
    FACT("a wake-up that is pending at a fork is kept by both", pending_wakeup_is_kept_by_both),
    FACT("a wake-up in a child's first moment is kept", early_wakeup_is_kept),
    FACT("a fork's child has files and closed ones", child_keeps_files_and_closed_ones),
    FACT("a fork's child keeps spent one-shots", child_keeps_spent_one_shots),
    FACT("a fork's child has a selector in another", child_may_nest),
    FACT("nothing is left to an exec", nothing_is_left_to_an_exec),
    FACT("a prefork server serves all", prefork_server_serves_all),
    FACT("several threads may fork at once", several_threads_may_fork_at_once),
    FACT("a fork beside another thread's changes", child_of_a_fork_beside_changes_works),
    FACT("a signal handler may fork in a wait", handler_may_fork_in_a_wait),
    FACT("a signal handler may fork in any call", handler_may_fork_in_any_call),
    FACT("a child that is not told of the fork may close", unnoticed_child_may_close),
    FACT("a child without descriptors gets new ones", child_without_descriptors_gets_new_ones),
    FACT("files of others are left alone", files_of_others_are_left_alone),
    FACT("own descriptors are above the streams", own_numbers_are_above_the_streams),
    FACT("own descriptors are not registered", own_ones_are_not_registered),
    FACT("own descriptors that were closed are an error", own_ones_that_were_closed_are_an_error),
    END_OF_FACTS,
};
