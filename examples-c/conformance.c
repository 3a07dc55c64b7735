/*
 * conformance.c - proves that a backend keeps the contract of selectors.h.
 *
 *     conformance              every backend that can be used here
 *     conformance poll mine    these, by name
 *
 * Speaks TAP: one line per test, after a failed one where and what. The exit status is 0 if all
 * went well. Each test gets a fresh selector, and fails if it leaves more open descriptors, or
 * fewer, than it found. CONFORMANCE_SEED in the environment repeats the random test of an
 * earlier run, which prints its seed when it fails.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE

#include "selectors.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BOTH (SEL_READ | SEL_WRITE)
#define US INT64_C(1000)
#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define ENOUGH (5 * SECOND) /* for what must come at once: reached only in failure */
#define MOST_SELECTORS 8
#define MOST_BACKENDS 32
#define HIGHEST_FD 65536
#define HANG_SECONDS 30
#define UNTOUCHED 4711 /* an errno that nobody sets */

/* ---- The harness: what one test leaves behind, the next does not find. ---- */

static struct {
    const char *backend; /* NULL: the test is about the library as a whole */
    uint32_t capabilities;
    char failure[2048]; /* lines for the diagnostic; empty: no failure */
    const char *skip;   /* why the test is skipped, or NULL */
    bool owned[HIGHEST_FD];
    sel_selector *selectors[MOST_SELECTORS];
    struct rlimit limit;
    timer_t storm;
    bool storming;
    pid_t child;
    char hung[256]; /* what the watchdog prints */
} test;

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Adds a line to the diagnostic, and so makes the test a failed one. */
static void note(const char *format, ...) {
    size_t used = strlen(test.failure);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(test.failure + used, sizeof test.failure - used, format, arguments);
    va_end(arguments);
    used = strlen(test.failure);
    if (used + 1 < sizeof test.failure)
        strcpy(test.failure + used, "\n");
}

static bool fail(int line, const char *expression) {
    note("%s:%d: failed: %s", __FILE__, line, expression);
    return false;
}

static bool check_equal(int line, const char *expression, long long got, long long wanted) {
    if (got != wanted)
        note("%s:%d: failed: %s: %lld instead of %lld", __FILE__, line, expression, got, wanted);
    return got == wanted;
}

/* A refusal has its value, leaves errno alone, and is remembered in the words of its value. */
static bool check_refused(int line, const char *expression, int got, int wanted) {
    int after = errno;
    if (!check_equal(line, expression, got, wanted))
        return false;
    if (after != UNTOUCHED)
        note("%s:%d: failed: %s: errno became %d", __FILE__, line, expression, after);
    else if (strcmp(sel_last_error(), sel_strerror(wanted)) != 0)
        note("%s:%d: failed: %s: last error is \"%s\"", __FILE__, line, expression,
             sel_last_error());
    return !*test.failure;
}

/* Each of these ends the test when it is not so. */
#define CHECK(condition)                \
    do {                                \
        if (!(condition)) {             \
            fail(__LINE__, #condition); \
            return;                     \
        }                               \
    } while (0)
#define EQUAL(expression, wanted)                                    \
    do {                                                             \
        if (!check_equal(__LINE__, #expression, expression, wanted)) \
            return;                                                  \
    } while (0)
#define REFUSED(call, wanted)                                  \
    do {                                                       \
        int refused_;                                          \
        errno = UNTOUCHED;                                     \
        refused_ = (call);                                     \
        if (!check_refused(__LINE__, #call, refused_, wanted)) \
            return;                                            \
    } while (0)
#define SKIP(why)          \
    do {                   \
        test.skip = (why); \
        return;            \
    } while (0)

/* Leaves the closing of a descriptor to the harness; passes -1 on. */
static int own(int fd) {
    if (fd >= HIGHEST_FD) {
        close(fd);
        return -1;
    }
    if (fd >= 0)
        test.owned[fd] = true;
    return fd;
}

static bool drop(int fd) {
    test.owned[fd] = false;
    return close(fd) == 0;
}

/* Opens a selector that the harness closes. */
static sel_selector *open_selector(const char *backend) {
    for (int i = 0; i < MOST_SELECTORS; i++) {
        if (test.selectors[i] != NULL)
            continue;
        if (sel_open(&test.selectors[i], backend) != 0)
            note("sel_open(%s): %s", backend, sel_last_error());
        return test.selectors[i];
    }
    return NULL;
}

static int close_selector(sel_selector *selector) {
    for (int i = 0; i < MOST_SELECTORS; i++)
        if (test.selectors[i] == selector)
            test.selectors[i] = NULL;
    return sel_close(selector);
}

static int open_descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory != NULL) {
        while (readdir(directory) != NULL)
            count++;
        closedir(directory);
        return count;
    }
    for (int fd = 0; fd < HIGHEST_FD; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void stop_storm(void) {
    if (test.storming)
        timer_delete(test.storm);
    test.storming = false;
}

static void end_child(void) {
    if (test.child <= 0)
        return;
    kill(test.child, SIGKILL);
    waitpid(test.child, NULL, 0);
    test.child = 0;
}

static void tear_down(void) {
    stop_storm();
    end_child();
    for (int i = 0; i < MOST_SELECTORS; i++)
        if (test.selectors[i] != NULL)
            close_selector(test.selectors[i]);
    for (int fd = 0; fd < HIGHEST_FD; fd++)
        if (test.owned[fd])
            drop(fd);
    setrlimit(RLIMIT_NOFILE, &test.limit);
    unsetenv("SELECTORS_BACKEND");
}

/* ---- Helpers. ---- */

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static int64_t cpu_time(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * US;
}

static bool make_pipe(int ends[2]) {
    return pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0 && own(ends[0]) >= 0 && own(ends[1]) >= 0;
}

static bool make_pair(int ends[2]) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0 &&
           own(ends[0]) >= 0 && own(ends[1]) >= 0;
}

static int make_event(void) {
    return own(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

/* A descriptor that becomes readable after a time. */
static int make_timer(int64_t after_ns) {
    struct itimerspec spec = {{0, 0}, {after_ns / SECOND, after_ns % SECOND}};
    int fd = own(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (fd >= 0 && timerfd_settime(fd, 0, &spec, NULL) != 0)
        return -1;
    return fd;
}

static int make_file(void) {
    char name[] = "/tmp/conformance-XXXXXX";
    int fd = own(mkostemp(name, O_CLOEXEC));
    if (fd >= 0)
        unlink(name);
    return fd;
}

/* A TCP socket that is bound to a port of the loopback, which it stores. */
static int make_tcp(struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    int fd = own(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, length) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) != 0)
        return -1;
    return fd;
}

/* Makes the other end readable. Eight bytes, for eventfd takes no less. */
static bool put(int fd) {
    uint64_t one = 1;
    return write(fd, &one, sizeof one) == (ssize_t)sizeof one;
}

static bool take(int fd) {
    uint64_t number;
    return read(fd, &number, sizeof number) == (ssize_t)sizeof number;
}

/* Writes until no more fits. */
static void fill(int fd) {
    static const char block[4096];
    while (write(fd, block, sizeof block) > 0)
        continue;
    while (write(fd, block, 1) > 0)
        continue;
}

static bool raise_limit(rlim_t wanted) {
    struct rlimit limit = test.limit;
    if (limit.rlim_max < wanted)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* Sees to it that no descriptor can be opened. */
static bool use_up_descriptors(void) {
    struct rlimit limit = test.limit;
    int lowest = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (lowest < 0 || close(lowest) != 0)
        return false;
    limit.rlim_cur = (rlim_t)lowest; /* all below are open */
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static const sel_event *find(const sel_event *events, int count, int fd) {
    for (int i = 0; i < count; i++)
        if (events[i].key.fd == fd)
            return &events[i];
    return NULL;
}

static void note_events(const sel_event *events, int count) {
    note("sel_select() returned %d", count);
    for (int i = 0; i < count; i++)
        note("    fd %d, events 0x%x of 0x%x, detail 0x%x", events[i].key.fd, events[i].events,
             events[i].key.events, events[i].detail);
}

/* Whether this descriptor and no other is ready, for these events, with this detail. */
static bool sees(sel_selector *selector, int fd, uint32_t events, uint32_t detail) {
    sel_event got[8];
    int count = sel_select(selector, got, 8, ENOUGH);
    if (count == 1 && got[0].key.fd == fd && got[0].events == events && got[0].detail == detail)
        return true;
    note("wanted only fd %d, events 0x%x, detail 0x%x", fd, events, detail);
    note_events(got, count);
    return false;
}

/* How many are ready. */
static int look(sel_selector *selector) {
    sel_event got[8];
    return sel_select(selector, got, 8, 0);
}

/* Whether nothing is ready. */
static bool quiet(sel_selector *selector) {
    sel_event got[8];
    int count = sel_select(selector, got, 8, 0);
    if (count != 0)
        note_events(got, count);
    return count == 0;
}

/* Whether nothing comes for so long, the wait is not cut short, and the processor rests. */
static bool rests(sel_selector *selector, int64_t timeout_ns) {
    sel_event got[8];
    int64_t cpu = cpu_time(), start = now();
    int count = sel_select(selector, got, 8, timeout_ns);
    int64_t wall = now() - start;
    cpu = cpu_time() - cpu;
    if (count == 0 && wall >= timeout_ns && cpu < wall / 2)
        return true;
    note("waited %lld ns, of %lld wanted, for %lld ns on the processor", (long long)wall,
         (long long)timeout_ns, (long long)cpu);
    note_events(got, count);
    return false;
}

/* Whether a registration is exactly this. */
static bool key_is(sel_selector *selector, int fd, uint32_t events, void *data) {
    sel_key key = {-1, 0, NULL};
    int result = sel_get_key(selector, fd, &key);
    if (result == 0 && key.fd == fd && key.events == events && key.data == data)
        return true;
    note("sel_get_key(%d): %d, fd %d, events 0x%x, data %p", fd, result, key.fd, key.events,
         key.data);
    return false;
}

/* Whether these are registered, in this order. */
static bool map_is(sel_selector *selector, const int *fds, int count) {
    sel_key keys[16];
    int got = sel_get_map(selector, keys, 16);
    bool same = got == count;
    for (int i = 0; same && i < count; i++)
        same = keys[i].fd == fds[i];
    if (same)
        return true;
    note("sel_get_map() returned %d instead of %d", got, count);
    for (int i = 0; i < got && i < 16; i++)
        note("    fd %d", keys[i].fd);
    return false;
}

static int backends(sel_backend_info *infos) {
    int count = sel_backends(infos, MOST_BACKENDS);
    return count < MOST_BACKENDS ? count : MOST_BACKENDS;
}

/* The best backend that can be used, the excluded one apart. */
static const char *best_but(const char *excluded) {
    sel_backend_info infos[MOST_BACKENDS];
    const char *best = NULL;
    int rank = 0;
    for (int i = 0, count = backends(infos); i < count; i++) {
        if (infos[i].reason == NULL && infos[i].rank > rank &&
            strcmp(infos[i].name, excluded) != 0) {
            best = infos[i].name;
            rank = infos[i].rank;
        }
    }
    return best;
}

static volatile sig_atomic_t signals;

static void count_signal(int number) {
    (void)number;
    signals++;
}

/* Sends signals, after so long and then again and again, to a handler without SA_RESTART. */
static bool start_storm(int64_t first_ns, int64_t next_ns) {
    struct sigaction action = {.sa_handler = count_signal};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec spec = {{next_ns / SECOND, next_ns % SECOND},
                              {first_ns / SECOND, first_ns % SECOND}};
    signals = 0;
    if (sigaction(SIGUSR1, &action, NULL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &test.storm) != 0)
        return false;
    test.storming = true;
    return timer_settime(test.storm, 0, &spec, NULL) == 0;
}

/* ---- Arguments. ---- */

static void null_selector(sel_selector *s) {
    sel_event event;
    sel_key key;
    (void)s;
    REFUSED(sel_register(NULL, 0, SEL_READ, NULL), -EINVAL);
    REFUSED(sel_modify(NULL, 0, SEL_READ, NULL), -EINVAL);
    REFUSED(sel_unregister(NULL, 0, &key), -EINVAL);
    REFUSED(sel_select(NULL, &event, 1, 0), -EINVAL);
    REFUSED(sel_get_key(NULL, 0, &key), -EINVAL);
    REFUSED(sel_get_map(NULL, &key, 1), -EINVAL);
    REFUSED(sel_fileno(NULL), -EINVAL);
    CHECK(sel_backend_name(NULL) == NULL);
    errno = UNTOUCHED;
    EQUAL(sel_close(NULL), 0);
    EQUAL(errno, UNTOUCHED);
}

static void negative_descriptor(sel_selector *s) {
    const int fds[] = {-1, -2, INT_MIN};
    sel_key key;
    for (int i = 0; i < 3; i++) {
        REFUSED(sel_register(s, fds[i], SEL_READ, NULL), -EINVAL);
        REFUSED(sel_modify(s, fds[i], SEL_READ, NULL), -EINVAL);
        REFUSED(sel_unregister(s, fds[i], NULL), -EINVAL);
        REFUSED(sel_get_key(s, fds[i], &key), -EINVAL);
    }
    EQUAL(sel_get_map(s, NULL, 0), 0);
}

static void register_refuses_events(sel_selector *s) {
    int fd = make_event();
    sel_key key;
    CHECK(fd >= 0);
    REFUSED(sel_register(s, fd, 0, NULL), -EINVAL);
    for (int bit = 0; bit < 32; bit++) {
        uint32_t events = UINT32_C(1) << bit;
        if (events & BOTH)
            continue;
        REFUSED(sel_register(s, fd, events, NULL), -EINVAL);
        REFUSED(sel_register(s, fd, events | SEL_READ, NULL), -EINVAL);
    }
    REFUSED(sel_get_key(s, fd, &key), -ENOENT);
    EQUAL(sel_get_map(s, NULL, 0), 0);
    EQUAL(sel_register(s, fd, SEL_WRITE, NULL), 0);
}

static void modify_refuses_events(sel_selector *s) {
    int data, other, fd = make_event();
    CHECK(fd >= 0 && put(fd));
    EQUAL(sel_register(s, fd, SEL_READ, &data), 0);
    REFUSED(sel_modify(s, fd, 0, &other), -EINVAL);
    for (int bit = 0; bit < 32; bit++)
        if (!((UINT32_C(1) << bit) & BOTH))
            REFUSED(sel_modify(s, fd, (UINT32_C(1) << bit) | SEL_WRITE, &other), -EINVAL);
    CHECK(key_is(s, fd, SEL_READ, &data));
    CHECK(sees(s, fd, SEL_READ, 0));
}

static void select_refuses_arguments(sel_selector *s) {
    sel_event event;
    int fd = make_event();
    CHECK(fd >= 0 && put(fd));
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    REFUSED(sel_select(s, &event, 0, 0), -EINVAL);
    REFUSED(sel_select(s, &event, -1, 0), -EINVAL);
    REFUSED(sel_select(s, &event, INT_MIN, SEL_FOREVER), -EINVAL);
    REFUSED(sel_select(s, NULL, 1, 0), -EINVAL);
    REFUSED(sel_select(s, NULL, 0, SEL_FOREVER), -EINVAL);
    CHECK(sees(s, fd, SEL_READ, 0));
}

static void get_refuses_arguments(sel_selector *s) {
    sel_key key;
    int fd = make_event();
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    REFUSED(sel_get_key(s, fd, NULL), -EINVAL);
    REFUSED(sel_get_map(s, &key, -1), -EINVAL);
    REFUSED(sel_get_map(s, NULL, -1), -EINVAL);
    REFUSED(sel_get_map(s, NULL, 1), -EINVAL);
    EQUAL(sel_get_map(s, NULL, 0), 1);
}

/* ---- Registration. ---- */

static void register_closed(sel_selector *s) {
    sel_key key;
    int fd = make_event();
    CHECK(fd >= 0 && drop(fd));
    REFUSED(sel_register(s, fd, SEL_READ, NULL), -EBADF);
    REFUSED(sel_get_key(s, fd, &key), -ENOENT);
    REFUSED(sel_register(s, INT_MAX, SEL_READ, NULL), -EBADF);
    EQUAL(sel_get_map(s, NULL, 0), 0);
    CHECK(quiet(s));
    EQUAL(make_event(), fd);
    EQUAL(sel_register(s, fd, SEL_WRITE, NULL), 0);
    CHECK(sees(s, fd, SEL_WRITE, 0));
}

static void register_twice(sel_selector *s) {
    int data, other, event = make_event(), file = make_file();
    CHECK(event >= 0 && file >= 0);
    EQUAL(sel_register(s, event, SEL_WRITE, &data), 0);
    EQUAL(sel_register(s, file, SEL_WRITE, &data), 0);
    REFUSED(sel_register(s, event, SEL_READ, &other), -EEXIST);
    REFUSED(sel_register(s, file, SEL_READ, &other), -EEXIST);
    CHECK(key_is(s, event, SEL_WRITE, &data));
    CHECK(key_is(s, file, SEL_WRITE, &data));
    EQUAL(sel_get_map(s, NULL, 0), 2);
    EQUAL(sel_unregister(s, file, NULL), 0);
    CHECK(sees(s, event, SEL_WRITE, 0));
}

static void not_registered(sel_selector *s) {
    int fd = make_event();
    const int fds[] = {fd, fd + 1, 100000, INT_MAX};
    sel_key key, before;
    memset(&key, 0x55, sizeof key);
    before = key;
    for (int i = 0; i < 4; i++) {
        REFUSED(sel_modify(s, fds[i], SEL_READ, NULL), -ENOENT);
        REFUSED(sel_unregister(s, fds[i], &key), -ENOENT);
        REFUSED(sel_unregister(s, fds[i], NULL), -ENOENT);
        REFUSED(sel_get_key(s, fds[i], &key), -ENOENT);
    }
    CHECK(key.fd == before.fd && key.events == before.events && key.data == before.data);
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    EQUAL(sel_unregister(s, fd, NULL), 0);
    REFUSED(sel_modify(s, fd, SEL_READ, NULL), -ENOENT);
    REFUSED(sel_unregister(s, fd, NULL), -ENOENT);
    REFUSED(sel_get_key(s, fd, &key), -ENOENT);
}

static void key_comes_back(sel_selector *s) {
    int data, other, fd = make_event();
    void *wild = (void *)~(uintptr_t)0;
    sel_key old;
    EQUAL(sel_register(s, fd, SEL_READ, &data), 0);
    CHECK(key_is(s, fd, SEL_READ, &data));
    EQUAL(sel_modify(s, fd, SEL_READ, &other), 0);
    CHECK(key_is(s, fd, SEL_READ, &other));
    EQUAL(sel_modify(s, fd, BOTH, wild), 0);
    CHECK(key_is(s, fd, BOTH, wild));
    EQUAL(sel_unregister(s, fd, &old), 0);
    CHECK(old.fd == fd && old.events == BOTH && old.data == wild);
    EQUAL(sel_register(s, fd, SEL_WRITE, NULL), 0);
    CHECK(key_is(s, fd, SEL_WRITE, NULL));
    EQUAL(sel_unregister(s, fd, NULL), 0);
}

static void map_is_in_order(sel_selector *s) {
    int a = make_event(), b = make_event(), c = make_file(), d = make_event();
    CHECK(a >= 0 && b >= 0 && c >= 0 && d >= 0);
    EQUAL(sel_register(s, d, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, a, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, c, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, b, SEL_READ, NULL), 0);
    CHECK(map_is(s, (int[]){d, a, c, b}, 4));
    EQUAL(sel_unregister(s, a, NULL), 0);
    CHECK(map_is(s, (int[]){d, c, b}, 3));
    EQUAL(sel_modify(s, d, BOTH, &a), 0);
    CHECK(map_is(s, (int[]){d, c, b}, 3));
    EQUAL(sel_register(s, a, SEL_READ, NULL), 0);
    CHECK(map_is(s, (int[]){d, c, b, a}, 4));
    EQUAL(sel_unregister(s, d, NULL), 0);
    EQUAL(sel_unregister(s, a, NULL), 0);
    EQUAL(sel_register(s, d, SEL_READ, NULL), 0);
    CHECK(map_is(s, (int[]){c, b, d}, 3));
    EQUAL(sel_unregister(s, b, NULL), 0);
    EQUAL(sel_unregister(s, c, NULL), 0);
    EQUAL(sel_unregister(s, d, NULL), 0);
    CHECK(map_is(s, NULL, 0));
}

static void map_is_cut(sel_selector *s) {
    sel_key keys[3] = {{-1, 0, NULL}, {-1, 0, NULL}, {-1, 0, NULL}};
    int data, fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = make_event();
        EQUAL(sel_register(s, fds[i], SEL_READ, &data), 0);
    }
    EQUAL(sel_get_map(s, keys, 2), 3);
    CHECK(keys[0].fd == fds[0] && keys[0].events == SEL_READ && keys[0].data == &data);
    CHECK(keys[1].fd == fds[1] && keys[2].fd == -1);
    EQUAL(sel_get_map(s, keys, 0), 3);
}

static void close_leaves_open(sel_selector *s) {
    int fd = make_event(), file = make_file();
    EQUAL(sel_register(s, fd, BOTH, NULL), 0);
    EQUAL(sel_register(s, file, BOTH, NULL), 0);
    EQUAL(look(s), 2);
    EQUAL(close_selector(s), 0);
    CHECK(fcntl(fd, F_GETFD) >= 0 && fcntl(file, F_GETFD) >= 0);
}

/* ---- Readiness. ---- */

static void pipe_readiness(sel_selector *s) {
    int ends[2];
    CHECK(make_pipe(ends));
    EQUAL(sel_register(s, ends[0], SEL_READ, NULL), 0);
    CHECK(quiet(s));
    CHECK(put(ends[1]));
    CHECK(sees(s, ends[0], SEL_READ, 0));
    CHECK(take(ends[0]));
    CHECK(quiet(s));
    EQUAL(sel_register(s, ends[1], SEL_WRITE, NULL), 0);
    CHECK(sees(s, ends[1], SEL_WRITE, 0));
    fill(ends[1]);
    CHECK(sees(s, ends[0], SEL_READ, 0));
}

static void socket_readiness(sel_selector *s) {
    int ends[2];
    CHECK(make_pair(ends));
    EQUAL(sel_register(s, ends[0], BOTH, NULL), 0);
    CHECK(sees(s, ends[0], SEL_WRITE, 0));
    CHECK(put(ends[1]));
    CHECK(sees(s, ends[0], BOTH, 0));
    fill(ends[0]);
    CHECK(sees(s, ends[0], SEL_READ, 0));
    CHECK(take(ends[0]));
    CHECK(quiet(s));
}

static void eventfd_readiness(sel_selector *s) {
    uint64_t most = UINT64_MAX - 1;
    int fd = make_event();
    EQUAL(sel_register(s, fd, BOTH, NULL), 0);
    CHECK(sees(s, fd, SEL_WRITE, 0));
    CHECK(put(fd));
    CHECK(sees(s, fd, BOTH, 0));
    CHECK(take(fd) && write(fd, &most, sizeof most) == (ssize_t)sizeof most);
    CHECK(sees(s, fd, SEL_READ, 0));
}

static void terminal_readiness(sel_selector *s) {
    int slave, master = own(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0)
        SKIP("no pseudo-terminal here");
    slave = own(open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    if (slave < 0)
        SKIP("no pseudo-terminal here");
    EQUAL(sel_register(s, master, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, slave, SEL_READ, NULL), 0);
    CHECK(quiet(s));
    CHECK(put(slave));
    CHECK(sees(s, master, SEL_READ, 0));
}

static void connect_and_accept(sel_selector *s) {
    struct sockaddr_in address;
    int accepted, client, listener = make_tcp(&address);
    if (listener < 0)
        SKIP("no TCP on the loopback here");
    CHECK(listen(listener, 8) == 0);
    EQUAL(sel_register(s, listener, SEL_READ, NULL), 0);
    CHECK(quiet(s));
    client = own(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    CHECK(connect(client, (struct sockaddr *)&address, sizeof address) == 0 ||
          errno == EINPROGRESS);
    CHECK(sees(s, listener, SEL_READ, 0));
    accepted = own(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    CHECK(accepted >= 0);
    EQUAL(sel_register(s, client, BOTH, NULL), 0);
    CHECK(sees(s, client, SEL_WRITE, 0));
}

static void cut_to_what_was_asked(sel_selector *s) {
    int ends[2];
    CHECK(make_pair(ends) && put(ends[1]));
    EQUAL(sel_register(s, ends[0], SEL_READ, NULL), 0);
    CHECK(sees(s, ends[0], SEL_READ, 0));
    EQUAL(sel_modify(s, ends[0], SEL_WRITE, NULL), 0);
    CHECK(sees(s, ends[0], SEL_WRITE, 0));
    fill(ends[0]);
    CHECK(quiet(s));
    CHECK(rests(s, 50 * MS));
}

static void level_triggered(sel_selector *s) {
    int fd = make_event();
    CHECK(fd >= 0 && put(fd));
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    for (int i = 0; i < 5; i++)
        CHECK(sees(s, fd, SEL_READ, 0));
    CHECK(take(fd));
    CHECK(quiet(s));
    CHECK(put(fd));
    CHECK(sees(s, fd, SEL_READ, 0));
}

static void data_comes_back(sel_selector *s) {
    int a = make_event(), b = make_event();
    sel_event events[4];
    const sel_event *event;
    EQUAL(sel_register(s, a, SEL_WRITE, &a), 0);
    EQUAL(sel_register(s, b, BOTH, &b), 0);
    EQUAL(sel_select(s, events, 4, ENOUGH), 2);
    event = find(events, 2, a);
    CHECK(event != NULL && event->key.data == &a && event->key.events == SEL_WRITE);
    event = find(events, 2, b);
    CHECK(event != NULL && event->key.data == &b && event->key.events == BOTH);
    EQUAL(sel_modify(s, a, SEL_WRITE, NULL), 0);
    EQUAL(sel_modify(s, b, SEL_WRITE, &a), 0);
    EQUAL(sel_select(s, events, 4, ENOUGH), 2);
    event = find(events, 2, a);
    CHECK(event != NULL && event->key.data == NULL && event->key.events == SEL_WRITE);
    event = find(events, 2, b);
    CHECK(event != NULL && event->key.data == &a && event->key.events == SEL_WRITE);
}

static void modify_changes_the_mask(sel_selector *s) {
    int fd = make_event();
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    CHECK(quiet(s));
    EQUAL(sel_modify(s, fd, BOTH, NULL), 0);
    CHECK(sees(s, fd, SEL_WRITE, 0));
    CHECK(put(fd));
    CHECK(sees(s, fd, BOTH, 0));
    EQUAL(sel_modify(s, fd, SEL_READ, NULL), 0);
    CHECK(sees(s, fd, SEL_READ, 0));
    CHECK(take(fd));
    CHECK(quiet(s));
}

static void modify_and_back(sel_selector *s) {
    int fd = make_event(), other = make_event();
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, other, SEL_READ, NULL), 0);
    CHECK(quiet(s));
    for (int i = 0; i < 3; i++) {
        EQUAL(sel_modify(s, fd, BOTH, NULL), 0);
        EQUAL(sel_modify(s, other, SEL_WRITE, NULL), 0);
        EQUAL(sel_modify(s, fd, SEL_READ, NULL), 0);
        EQUAL(sel_modify(s, other, SEL_READ, NULL), 0);
        CHECK(quiet(s));
    }
    CHECK(put(fd));
    CHECK(sees(s, fd, SEL_READ, 0));
}

static void modify_then_unregister(sel_selector *s) {
    int fd = make_event(), other = make_event();
    EQUAL(sel_register(s, other, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    EQUAL(sel_modify(s, fd, SEL_WRITE, NULL), 0);
    EQUAL(sel_unregister(s, fd, NULL), 0);
    CHECK(quiet(s));
    EQUAL(sel_register(s, fd, SEL_WRITE, NULL), 0);
    EQUAL(sel_modify(s, fd, SEL_READ, NULL), 0);
    EQUAL(sel_unregister(s, fd, NULL), 0);
    EQUAL(sel_register(s, fd, SEL_WRITE, NULL), 0);
    CHECK(sees(s, fd, SEL_WRITE, 0));
}

static void duplicates_are_two(sel_selector *s) {
    int fd = make_event(), twin = own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    sel_event events[4];
    CHECK(twin >= 0);
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, twin, SEL_WRITE, NULL), 0);
    CHECK(sees(s, twin, SEL_WRITE, 0));
    CHECK(put(fd));
    EQUAL(sel_select(s, events, 4, ENOUGH), 2);
    EQUAL(sel_unregister(s, fd, NULL), 0);
    CHECK(sees(s, twin, SEL_WRITE, 0));
}

/* ---- Time. ---- */

static const int64_t waits[] = {1, 999, 100 * US, MS - 1, MS, MS + 1, 50 * MS};

static void never_early(sel_selector *s) {
    int fd = make_event();
    sel_event event;
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        for (int again = 0; again < 5; again++) {
            int64_t start = now();
            EQUAL(sel_select(s, &event, 1, waits[i]), 0);
            CHECK(now() - start >= waits[i]);
            CHECK(now() - start < waits[i] + ENOUGH);
        }
    }
}

static void empty_waits_it_out(sel_selector *s) {
    sel_event event;
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        int64_t start = now();
        EQUAL(sel_select(s, &event, 1, waits[i]), 0);
        CHECK(now() - start >= waits[i]);
        CHECK(now() - start < waits[i] + ENOUGH);
    }
    CHECK(rests(s, 100 * MS));
}

static void zero_only_looks(sel_selector *s) {
    int fd = make_event();
    int64_t start = now();
    CHECK(quiet(s));
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    CHECK(quiet(s));
    CHECK(now() - start < ENOUGH);
}

static void ready_ends_any_wait(sel_selector *s) {
    const int64_t timeouts[] = {0,         1,  10 * SECOND, INT64_MAX - 1,
                                INT64_MAX, -1, -ENOUGH,     INT64_MIN};
    int fd = make_event();
    int64_t start = now();
    sel_event event;
    CHECK(fd >= 0 && put(fd));
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++)
        EQUAL(sel_select(s, &event, 1, timeouts[i]), 1);
    CHECK(now() - start < ENOUGH);
}

static void becoming_ready_ends_any_wait(sel_selector *s) {
    const int64_t timeouts[] = {10 * SECOND, INT64_MAX, INT64_MAX - 1, SEL_FOREVER, INT64_MIN};
    sel_event event;
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        int64_t start = now();
        int fd = make_timer(20 * MS);
        EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
        EQUAL(sel_select(s, &event, 1, timeouts[i]), 1);
        CHECK(event.key.fd == fd && event.events == SEL_READ && event.detail == 0);
        CHECK(now() - start >= 20 * MS && now() - start < ENOUGH);
        EQUAL(sel_unregister(s, fd, NULL), 0);
    }
}

static void empty_blocks_for_ever(sel_selector *s) {
    int ends[2];
    struct pollfd done;
    (void)s;
    CHECK(make_pipe(ends));
    fflush(stdout);
    test.child = fork();
    CHECK(test.child >= 0);
    if (test.child == 0) {
        sel_selector *own_selector;
        sel_event event;
        signal(SIGALRM, SIG_DFL);
        alarm(HANG_SECONDS);
        if (sel_open(&own_selector, test.backend) != 0)
            _exit(1);
        if (!put(ends[1]))
            _exit(1);
        sel_select(own_selector, &event, 1, SEL_FOREVER);
        _exit(1); /* closes the pipe, which tells the parent */
    }
    CHECK(drop(ends[1]));
    done = (struct pollfd){ends[0], POLLIN, 0};
    EQUAL(poll(&done, 1, 10000), 1);
    CHECK(take(ends[0]));
    EQUAL(poll(&done, 1, 100), 0);
}

static void signals_do_not_end_a_wait(sel_selector *s) {
    int fd = make_event();
    sel_event event;
    for (int empty = 1; empty >= 0; empty--) {
        int64_t start;
        if (!empty)
            EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
        CHECK(start_storm(MS, MS));
        errno = UNTOUCHED;
        start = now();
        EQUAL(sel_select(s, &event, 1, 200 * MS), 0);
        EQUAL(errno, UNTOUCHED);
        CHECK(now() - start >= 200 * MS && now() - start < ENOUGH);
        stop_storm();
        CHECK(signals >= 10);
    }
}

static void a_late_signal_does_not_begin_the_wait_anew(sel_selector *s) {
    int64_t start = now();
    sel_event event;
    CHECK(start_storm(1400 * MS, 0));
    EQUAL(sel_select(s, &event, 1, 1500 * MS), 0);
    CHECK(now() - start >= 1500 * MS && now() - start < 2800 * MS);
    EQUAL(signals, 1);
}

static void signals_do_not_end_an_endless_wait(sel_selector *s) {
    const int64_t timeouts[] = {SEL_FOREVER, INT64_MAX};
    sel_event event;
    for (int i = 0; i < 2; i++) {
        int fd = make_timer(100 * MS);
        EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
        CHECK(start_storm(MS, MS));
        EQUAL(sel_select(s, &event, 1, timeouts[i]), 1);
        CHECK(event.key.fd == fd);
        stop_storm();
        CHECK(signals >= 5);
        EQUAL(sel_unregister(s, fd, NULL), 0);
    }
}

/* ---- Hang-up and error. ---- */

static void peer_closes(sel_selector *s) {
    int ends[2];
    CHECK(make_pair(ends));
    EQUAL(sel_register(s, ends[0], SEL_READ, NULL), 0);
    CHECK(quiet(s));
    CHECK(drop(ends[1]));
    CHECK(sees(s, ends[0], SEL_READ, SEL_HANGUP | SEL_READ_HANGUP));
    EQUAL(sel_modify(s, ends[0], BOTH, NULL), 0);
    CHECK(sees(s, ends[0], BOTH, SEL_HANGUP | SEL_READ_HANGUP));
}

static void peer_closes_on_a_writer(sel_selector *s) {
    int ends[2];
    sel_event event;
    CHECK(make_pair(ends));
    EQUAL(sel_register(s, ends[0], SEL_WRITE, NULL), 0);
    CHECK(drop(ends[1]));
    EQUAL(sel_select(s, &event, 1, ENOUGH), 1);
    CHECK(event.key.fd == ends[0] && event.events == SEL_WRITE);
    CHECK(event.detail & SEL_HANGUP);
}

static void peer_closes_on_a_full_writer(sel_selector *s) {
    int ends[2];
    sel_event event;
    CHECK(make_pair(ends));
    fill(ends[0]);
    EQUAL(sel_register(s, ends[0], SEL_WRITE, NULL), 0);
    CHECK(quiet(s));
    CHECK(drop(ends[1])); /* with data that nobody has read: an error, too */
    EQUAL(sel_select(s, &event, 1, ENOUGH), 1);
    CHECK(event.key.fd == ends[0] && event.events == SEL_WRITE);
    CHECK(event.detail & SEL_HANGUP);
    CHECK(event.detail & SEL_ERROR);
}

static void peer_will_send_no_more(sel_selector *s) {
    int ends[2];
    CHECK(make_pair(ends));
    EQUAL(sel_register(s, ends[0], SEL_READ, NULL), 0);
    EQUAL(shutdown(ends[1], SHUT_WR), 0);
    CHECK(sees(s, ends[0], SEL_READ, SEL_READ_HANGUP));
    EQUAL(sel_modify(s, ends[0], BOTH, NULL), 0);
    CHECK(sees(s, ends[0], BOTH, SEL_READ_HANGUP));
}

static void half_close_leaves_a_writer_alone(sel_selector *s) {
    int ends[2];
    CHECK(make_pair(ends));
    fill(ends[0]);
    EQUAL(sel_register(s, ends[0], SEL_WRITE, NULL), 0);
    EQUAL(shutdown(ends[1], SHUT_WR), 0);
    CHECK(quiet(s));
    CHECK(rests(s, 100 * MS));
}

static void pipe_loses_its_writer(sel_selector *s) {
    int ends[2];
    CHECK(make_pipe(ends));
    EQUAL(sel_register(s, ends[0], SEL_READ, NULL), 0);
    CHECK(put(ends[1]) && drop(ends[1]));
    CHECK(sees(s, ends[0], SEL_READ, SEL_HANGUP));
    CHECK(take(ends[0]));
    CHECK(sees(s, ends[0], SEL_READ, SEL_HANGUP));
}

static void pipe_loses_its_reader(sel_selector *s) {
    int ends[2];
    sel_event event;
    CHECK(make_pipe(ends));
    EQUAL(sel_register(s, ends[1], SEL_WRITE, NULL), 0);
    CHECK(drop(ends[0]));
    EQUAL(sel_select(s, &event, 1, ENOUGH), 1);
    CHECK(event.key.fd == ends[1] && event.events == SEL_WRITE);
    CHECK(event.detail & SEL_ERROR);
}

static void error_wakes_a_full_writer(sel_selector *s) {
    int ends[2];
    sel_event event;
    CHECK(make_pipe(ends));
    fill(ends[1]);
    EQUAL(sel_register(s, ends[1], SEL_WRITE, NULL), 0);
    CHECK(quiet(s));
    CHECK(drop(ends[0]));
    EQUAL(sel_select(s, &event, 1, ENOUGH), 1);
    CHECK(event.events == SEL_WRITE && (event.detail & SEL_ERROR));
}

/* A socket whose connection is being refused, or -1. */
static int make_refused(void) {
    struct sockaddr_in address;
    int deaf = make_tcp(&address); /* bound, but it does not listen */
    int fd = own(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (deaf < 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ||
        errno != EINPROGRESS)
        return -1;
    return fd;
}

static void connection_refused(sel_selector *s) {
    socklen_t length = sizeof(int);
    sel_event event;
    int error, fd = make_refused();
    if (fd < 0)
        SKIP("no TCP on the loopback here");
    EQUAL(sel_register(s, fd, SEL_WRITE, NULL), 0);
    EQUAL(sel_select(s, &event, 1, ENOUGH), 1);
    CHECK(event.key.fd == fd && event.events == SEL_WRITE && (event.detail & SEL_ERROR));
    EQUAL(sel_modify(s, fd, BOTH, NULL), 0);
    CHECK(sees(s, fd, BOTH, SEL_ERROR | SEL_HANGUP | SEL_READ_HANGUP));
    EQUAL(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
    EQUAL(error, ECONNREFUSED);
}

/* ---- Descriptors that are closed too early. ---- */

/* Whether both are reported, the first as invalid, the second as plainly readable. */
static bool sees_invalid_beside(sel_selector *s, int closed, uint32_t events, int good) {
    sel_event got[8];
    int count = sel_select(s, got, 8, ENOUGH);
    const sel_event *bad = find(got, count, closed), *other = find(got, count, good);
    if (count == 2 && bad != NULL && bad->events == events && bad->detail == SEL_INVALID &&
        other != NULL && other->events == SEL_READ && other->detail == 0)
        return true;
    note("wanted fd %d invalid, fd %d readable", closed, good);
    note_events(got, count);
    return false;
}

static void closed_while_registered(sel_selector *s) {
    int ready = make_event(), idle = make_event(), closed = make_event();
    CHECK(put(ready) && put(closed));
    EQUAL(sel_register(s, ready, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, closed, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, idle, SEL_READ, NULL), 0);
    CHECK(drop(closed));
    for (int i = 0; i < 3; i++) {
        if (test.capabilities & SEL_CAN_CONCURRENT)
            CHECK(sees(s, ready, SEL_READ, 0));
        else
            CHECK(sees_invalid_beside(s, closed, SEL_READ, ready));
    }
    CHECK(key_is(s, closed, SEL_READ, NULL));
    errno = UNTOUCHED;
    EQUAL(sel_unregister(s, closed, NULL), 0);
    EQUAL(errno, UNTOUCHED);
    CHECK(sees(s, ready, SEL_READ, 0));
    CHECK(take(ready) && put(idle));
    CHECK(sees(s, idle, SEL_READ, 0));
}

static void closed_then_modified(sel_selector *s) {
    int data, ready = make_event(), closed = make_event();
    CHECK(put(ready));
    EQUAL(sel_register(s, ready, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, closed, SEL_READ, NULL), 0);
    CHECK(drop(closed));
    EQUAL(sel_modify(s, closed, SEL_READ, &data), 0);
    EQUAL(sel_modify(s, closed, BOTH, NULL), 0);
    EQUAL(sel_modify(s, closed, SEL_READ, &data), 0);
    if (test.capabilities & SEL_CAN_CONCURRENT)
        CHECK(sees(s, ready, SEL_READ, 0)); /* the kernel has not been told anything */
    EQUAL(sel_modify(s, closed, BOTH, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK(sees_invalid_beside(s, closed, BOTH, ready));
    EQUAL(sel_modify(s, closed, SEL_WRITE, NULL), 0);
    CHECK(sees_invalid_beside(s, closed, SEL_WRITE, ready));
    EQUAL(sel_unregister(s, closed, NULL), 0);
    CHECK(sees(s, ready, SEL_READ, 0));
    EQUAL(make_event(), closed);
    EQUAL(sel_register(s, closed, SEL_READ, NULL), 0);
    CHECK(sees(s, ready, SEL_READ, 0));
}

static void invalid_does_not_starve(sel_selector *s) {
    int ready = make_event(), closed = make_event();
    bool seen_ready = false, seen_closed = false;
    CHECK(put(ready));
    EQUAL(sel_register(s, closed, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, ready, SEL_READ, NULL), 0);
    CHECK(drop(closed));
    EQUAL(sel_modify(s, closed, SEL_WRITE, NULL), 0);
    for (int i = 0; i < 6; i++) {
        sel_event event;
        EQUAL(sel_select(s, &event, 1, ENOUGH), 1);
        seen_ready |= event.key.fd == ready;
        seen_closed |= event.key.fd == closed && event.detail == SEL_INVALID;
    }
    CHECK(seen_ready);
    CHECK(seen_closed);
}

static void unregister_after_close_and_reuse(sel_selector *s) {
    int data, ends[2], fd = make_event(), idle = make_event();
    sel_key old;
    CHECK(put(fd));
    EQUAL(sel_register(s, idle, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, fd, SEL_READ, &data), 0);
    CHECK(sees(s, fd, SEL_READ, 0));
    CHECK(drop(fd));
    CHECK(make_pipe(ends));
    EQUAL(ends[0], fd);
    EQUAL(sel_unregister(s, fd, &old), 0);
    CHECK(old.fd == fd && old.events == SEL_READ && old.data == &data);
    CHECK(quiet(s));
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    CHECK(quiet(s));
    CHECK(put(ends[1]));
    CHECK(sees(s, fd, SEL_READ, 0));
}

/*
 * Registers a readable descriptor, keeps its open file alive in a duplicate, closes it, and
 * unregisters it, before or after its number is given to an idle one. Returns the number, or -1.
 */
static int leave_a_ghost(sel_selector *s, bool reuse_first) {
    int fd = make_event();
    if (fd < 0 || !put(fd) || sel_register(s, fd, SEL_READ, &test) != 0 || look(s) < 1)
        return -1;
    if (own(fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0 || !drop(fd))
        return -1;
    if (!reuse_first && sel_unregister(s, fd, NULL) != 0)
        return -1;
    if (make_event() != fd)
        return -1;
    if (reuse_first && sel_unregister(s, fd, NULL) != 0)
        return -1;
    return fd;
}

static void a_duplicate_lives_on(sel_selector *s) {
    for (int reuse_first = 0; reuse_first < 2; reuse_first++) {
        int fd = leave_a_ghost(s, reuse_first);
        CHECK(fd >= 0);
        CHECK(rests(s, 100 * MS));
        EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
        CHECK(quiet(s));
        CHECK(rests(s, 100 * MS));
        CHECK(put(fd));
        CHECK(sees(s, fd, SEL_READ, 0));
        EQUAL(sel_unregister(s, fd, NULL), 0);
    }
}

static void a_ghost_hides_nobody(sel_selector *s) {
    int other = make_event(), timer, fd = leave_a_ghost(s, false);
    sel_event event;
    CHECK(fd >= 0);
    timer = make_timer(20 * MS);
    EQUAL(sel_register(s, other, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, timer, SEL_READ, NULL), 0);
    EQUAL(sel_modify(s, timer, BOTH, &timer), 0);
    EQUAL(sel_select(s, &event, 1, SEL_FOREVER), 1);
    CHECK(event.key.fd == timer && event.key.data == &timer && event.events == SEL_READ);
    EQUAL(sel_unregister(s, timer, NULL), 0);
    CHECK(put(other));
    CHECK(sees(s, other, SEL_READ, 0));
    EQUAL(sel_modify(s, fd, BOTH, NULL), 0);
    EQUAL(sel_unregister(s, other, NULL), 0);
    CHECK(sees(s, fd, SEL_WRITE, 0));
}

static void a_duplicate_comes_back(sel_selector *s) {
    int data, fd = make_event(), twin;
    CHECK(fd >= 0 && put(fd));
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    twin = own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    CHECK(twin >= 0 && drop(fd));
    EQUAL(sel_unregister(s, fd, NULL), 0);
    EQUAL(own(fcntl(twin, F_DUPFD_CLOEXEC, 0)), fd);
    EQUAL(sel_register(s, fd, BOTH, &data), 0);
    CHECK(sees(s, fd, BOTH, 0));
    CHECK(key_is(s, fd, BOTH, &data));
    EQUAL(sel_unregister(s, fd, NULL), 0);
    CHECK(rests(s, 50 * MS));
}

static void a_ghost_beside_a_file(sel_selector *s) {
    int file = make_file(), fd = leave_a_ghost(s, false);
    CHECK(fd >= 0);
    EQUAL(sel_register(s, file, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK(sees(s, file, SEL_READ, 0));
    EQUAL(sel_unregister(s, file, NULL), 0);
    CHECK(rests(s, 50 * MS));
}

static void a_ghost_takes_no_room(sel_selector *s) {
    int ready = make_event(), fd = leave_a_ghost(s, false);
    sel_event event;
    CHECK(fd >= 0 && put(ready));
    EQUAL(sel_register(s, ready, SEL_READ, NULL), 0);
    EQUAL(sel_select(s, &event, 1, 0), 1);
    EQUAL(event.key.fd, ready);
    EQUAL(sel_select(s, &event, 1, 0), 1);
    EQUAL(event.key.fd, ready);
}

static void a_ghost_when_no_descriptor_is_left(sel_selector *s) {
    int other = make_event(), fd = leave_a_ghost(s, false);
    CHECK(fd >= 0);
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    CHECK(use_up_descriptors());
    for (int i = 0; i < 3; i++) {
        int result = look(s);
        CHECK(result == 0 || result == -EMFILE);
    }
    EQUAL(setrlimit(RLIMIT_NOFILE, &test.limit), 0);
    CHECK(rests(s, 50 * MS));
    EQUAL(sel_register(s, other, SEL_READ, NULL), 0);
    CHECK(put(other));
    CHECK(sees(s, other, SEL_READ, 0));
    CHECK(take(other) && put(fd));
    CHECK(sees(s, fd, SEL_READ, 0));
}

static void a_ghost_hides_no_closed_one(sel_selector *s) {
    int closed = make_event(), ready = make_event(), fd = leave_a_ghost(s, false);
    CHECK(fd >= 0 && put(ready));
    EQUAL(sel_register(s, closed, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, ready, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    CHECK(drop(closed));
    for (int i = 0; i < 3; i++) {
        sel_event got[8];
        int count = sel_select(s, got, 8, ENOUGH);
        const sel_event *event = find(got, count, ready);
        CHECK(event != NULL && event->events == SEL_READ && event->detail == 0);
        CHECK(find(got, count, fd) == NULL);
    }
    EQUAL(sel_unregister(s, closed, NULL), 0);
    CHECK(sees(s, ready, SEL_READ, 0));
}

/* ---- Files that are always ready. ---- */

static void always_ready(sel_selector *s) {
    const int fds[] = {make_file(), own(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
                       own(open("/dev/null", O_RDWR | O_CLOEXEC))};
    for (int i = 0; i < 3; i++) {
        errno = UNTOUCHED;
        EQUAL(sel_register(s, fds[i], SEL_READ, NULL), 0);
        EQUAL(errno, UNTOUCHED);
        CHECK(sees(s, fds[i], SEL_READ, 0));
        CHECK(sees(s, fds[i], SEL_READ, 0));
        EQUAL(sel_modify(s, fds[i], SEL_WRITE, NULL), 0);
        CHECK(sees(s, fds[i], SEL_WRITE, 0));
        EQUAL(sel_modify(s, fds[i], BOTH, &s), 0);
        CHECK(sees(s, fds[i], BOTH, 0));
        CHECK(key_is(s, fds[i], BOTH, &s));
        EQUAL(sel_unregister(s, fds[i], NULL), 0);
        CHECK(quiet(s));
    }
}

static void file_ends_any_wait(sel_selector *s) {
    int file = make_file(), idle = make_event();
    int64_t start = now();
    sel_event event;
    EQUAL(sel_register(s, idle, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, file, SEL_READ, NULL), 0);
    EQUAL(sel_select(s, &event, 1, 0), 1);
    EQUAL(sel_select(s, &event, 1, INT64_MAX), 1);
    EQUAL(sel_select(s, &event, 1, SEL_FOREVER), 1);
    CHECK(event.key.fd == file);
    CHECK(now() - start < ENOUGH);
    EQUAL(sel_unregister(s, file, NULL), 0);
    CHECK(rests(s, 50 * MS));
}

static void files_and_sockets_share(sel_selector *s) {
    int fds[6], seen[6] = {0};
    sel_event events[8];
    for (int i = 0; i < 6; i++) {
        fds[i] = i < 3 ? make_file() : make_event();
        EQUAL(sel_register(s, fds[i], SEL_WRITE, &seen[i]), 0);
    }
    EQUAL(sel_select(s, events, 8, ENOUGH), 6);
    for (int max = 1; max <= 3; max++) {
        memset(seen, 0, sizeof seen);
        for (int i = 0; i < 24; i++) {
            int count = sel_select(s, events, max, ENOUGH);
            CHECK(count >= 1 && count <= max);
            while (count-- > 0)
                ++*(int *)events[count].key.data;
        }
        for (int i = 0; i < 6; i++)
            CHECK(seen[i] > 0);
    }
}

static void file_closed_while_registered(sel_selector *s) {
    int ready = make_event(), file = make_file();
    CHECK(put(ready));
    EQUAL(sel_register(s, file, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, ready, SEL_READ, NULL), 0);
    CHECK(drop(file));
    for (int i = 0; i < 3; i++)
        CHECK(sees_invalid_beside(s, file, SEL_READ, ready));
    EQUAL(sel_modify(s, file, BOTH, NULL), 0);
    CHECK(sees_invalid_beside(s, file, BOTH, ready));
    EQUAL(sel_unregister(s, file, NULL), 0);
    CHECK(sees(s, ready, SEL_READ, 0));
}

static void file_becomes_a_socket(sel_selector *s) {
    int file = make_file();
    EQUAL(sel_register(s, file, SEL_READ, NULL), 0);
    CHECK(drop(file));
    EQUAL(make_event(), file);
    EQUAL(sel_unregister(s, file, NULL), 0);
    EQUAL(sel_register(s, file, SEL_READ, NULL), 0);
    CHECK(rests(s, 50 * MS));
    EQUAL(sel_unregister(s, file, NULL), 0);
    CHECK(drop(file));
    EQUAL(make_file(), file);
    EQUAL(sel_register(s, file, SEL_READ, NULL), 0);
    CHECK(sees(s, file, SEL_READ, 0));
}

/* ---- Many, and high numbers. ---- */

static void nobody_starves(sel_selector *s) {
    enum { READY = 64 };
    const int sizes[] = {1, 7, 63, 64, 65};
    sel_event events[READY + 2];
    bool seen[READY], now_seen[READY];
    for (int i = 0; i < READY; i++)
        EQUAL(sel_register(s, make_event(), SEL_WRITE, &seen[i]), 0);
    for (int size = 0; size < 5; size++) {
        int max = sizes[size], rounds = 2 * (READY / max + 1), distinct = 0;
        memset(seen, 0, sizeof seen);
        while (rounds-- > 0) {
            int count;
            events[max].key.fd = -4711;
            count = sel_select(s, events, max, ENOUGH);
            EQUAL(count, max < READY ? max : READY);
            EQUAL(events[max].key.fd, -4711);
            memset(now_seen, 0, sizeof now_seen);
            for (int i = 0; i < count; i++) {
                size_t which = (size_t)((bool *)events[i].key.data - seen);
                CHECK(which < READY && !now_seen[which]);
                now_seen[which] = true;
                distinct += !seen[which];
                seen[which] = true;
            }
        }
        EQUAL(distinct, READY);
    }
}

static void room_for_many(sel_selector *s) {
    enum { ROOM = 100000 };
    sel_event *events = calloc(ROOM, sizeof *events);
    int fd = make_event(), count;
    CHECK(events != NULL);
    count = sel_register(s, fd, SEL_WRITE, NULL);
    if (count == 0)
        count = sel_select(s, events, ROOM, ENOUGH);
    free(events);
    EQUAL(count, 1);
}

static void nine_thousand(sel_selector *s) {
    enum { PAIRS = 9000, READY = 100, STEP = 89 };
    static bool ready[PAIRS];
    static int pairs[PAIRS][2];
    sel_event events[READY + 10];
    if (!raise_limit(2 * PAIRS + 100))
        SKIP("the hard limit of open descriptors is too low");
    memset(ready, 0, sizeof ready);
    for (int i = 0; i < PAIRS; i++) {
        CHECK(make_pair(pairs[i]));
        EQUAL(sel_register(s, pairs[i][0], SEL_READ, &ready[i]), 0);
    }
    EQUAL(sel_get_map(s, NULL, 0), PAIRS);
    CHECK(quiet(s));
    for (int i = 0; i < READY; i++) {
        ready[i * STEP + 17] = true;
        CHECK(put(pairs[i * STEP + 17][1]));
    }
    EQUAL(sel_select(s, events, READY + 10, ENOUGH), READY);
    for (int i = 0; i < READY; i++) {
        bool *flag = events[i].key.data;
        CHECK(*flag && events[i].events == SEL_READ && events[i].detail == 0);
        EQUAL(events[i].key.fd, pairs[flag - ready][0]);
        *flag = false; /* so that a second one would be noticed */
    }
    for (int i = 0; i < PAIRS; i++)
        EQUAL(sel_unregister(s, pairs[i][0], NULL), 0);
    CHECK(quiet(s));
}

static void high_numbers(sel_selector *s) {
    const int numbers[] = {62, 63, 64, 65, 1022, 1023, 1024, 1025, 4095, 4096, 5000, 8191};
    enum { COUNT = sizeof numbers / sizeof *numbers };
    int ends[2], fds[COUNT], fd;
    sel_event events[COUNT];
    if (!raise_limit(8200))
        SKIP("the hard limit of open descriptors is too low");
    CHECK(make_pair(ends));
    for (int i = 0; i < COUNT; i++) {
        fds[i] = own(fcntl(ends[0], F_DUPFD_CLOEXEC, numbers[i]));
        CHECK(fds[i] >= numbers[i]);
        EQUAL(sel_register(s, fds[i], BOTH, NULL), 0);
        CHECK(sees(s, fds[i], SEL_WRITE, 0));
        EQUAL(sel_modify(s, fds[i], SEL_READ, NULL), 0);
        CHECK(quiet(s));
    }
    CHECK(put(ends[1]));
    EQUAL(sel_select(s, events, COUNT, ENOUGH), COUNT);
    for (int i = COUNT - 1; i >= 0; i--) {
        fd = fds[i];
        CHECK(find(events, COUNT, fd) != NULL);
        EQUAL(sel_unregister(s, fd, NULL), 0);
        EQUAL(sel_select(s, events, COUNT, 0), i);
        CHECK(find(events, i, fd) == NULL);
        memset(events, 0xff, sizeof events);
        for (int j = 0; j < COUNT; j++)
            events[j].key.fd = fds[j];
    }
}

/* ---- Random changes against a model. ---- */

enum { POOL = 24, EMPTY = 0, SOME = 1, FULL = 2, STEPS = 4000 };

struct model {
    int fd;
    bool is_file; /* always ready, its state does not matter */
    int state;    /* of the counter of an eventfd */
    int place;    /* in the order of registration; 0: not registered */
    uint32_t events;
    void *data;
};

static uint64_t seed;

static unsigned pick(unsigned below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 32) % below;
}

static uint32_t readiness(const struct model *m) {
    if (m->is_file)
        return m->events;
    return m->events & (m->state == EMPTY ? SEL_WRITE : m->state == SOME ? BOTH : SEL_READ);
}

static bool set_state(struct model *m, int state) {
    uint64_t count = state == SOME ? 1 : UINT64_MAX - 1;
    if (m->is_file)
        return true;
    if (m->state != EMPTY && !take(m->fd))
        return false;
    m->state = state;
    return state == EMPTY || write(m->fd, &count, sizeof count) == (ssize_t)sizeof count;
}

static bool replace(sel_selector *s, struct model *m) {
    bool unregister_first = pick(2);
    int fd = m->fd, result;
    if (!unregister_first && !drop(fd))
        return false;
    if (!unregister_first && pick(2))
        m->fd = m->is_file ? make_file() : make_event(); /* the number has a new file already */
    result = sel_unregister(s, fd, NULL);
    if (result != (m->place ? 0 : -ENOENT))
        return false;
    if (unregister_first && !drop(fd))
        return false;
    if (!test.owned[fd])
        m->fd = m->is_file ? make_file() : make_event();
    m->place = 0;
    m->state = EMPTY;
    return m->fd >= 0;
}

static bool select_agrees(sel_selector *s, struct model *models) {
    sel_event events[POOL + 4];
    bool seen[POOL] = {false};
    int max = 1 + (int)pick(POOL + 4), ready = 0;
    int count = sel_select(s, events, max, 0);
    for (int i = 0; i < POOL; i++)
        ready += models[i].place && readiness(&models[i]);
    if (count > max || (ready <= max ? count != ready : count < 1))
        return false;
    for (int i = 0; i < count; i++) {
        int which = 0;
        while (which < POOL && models[which].fd != events[i].key.fd)
            which++;
        if (which == POOL || seen[which] || !models[which].place ||
            events[i].key.events != models[which].events ||
            events[i].key.data != models[which].data ||
            events[i].events != readiness(&models[which]) || events[i].detail != 0)
            return false;
        seen[which] = true;
    }
    return true;
}

static bool map_agrees(sel_selector *s, const struct model *models) {
    sel_key keys[POOL];
    int count = sel_get_map(s, keys, POOL), registered = 0, last = 0;
    for (int i = 0; i < POOL; i++)
        registered += models[i].place != 0;
    if (count != registered)
        return false;
    for (int i = 0; i < count; i++) {
        int which = 0;
        while (which < POOL && models[which].fd != keys[i].fd)
            which++;
        if (which == POOL || models[which].place <= last || keys[i].data != models[which].data ||
            keys[i].events != models[which].events)
            return false;
        last = models[which].place;
    }
    return true;
}

static bool random_step(sel_selector *s, struct model *models, int step) {
    struct model *m = &models[pick(POOL)];
    uint32_t events = 1 + pick(3);
    void *data = (void *)(uintptr_t)step;
    int result;
    switch (pick(7)) {
    case 0:
        result = sel_register(s, m->fd, events, data);
        if (m->place)
            return result == -EEXIST;
        m->events = events;
        m->data = data;
        m->place = step;
        return result == 0;
    case 1:
        result = sel_unregister(s, m->fd, NULL);
        if (!m->place)
            return result == -ENOENT;
        m->place = 0;
        return result == 0;
    case 2:
        result = sel_modify(s, m->fd, events, data);
        if (!m->place)
            return result == -ENOENT;
        m->events = events;
        m->data = data;
        return result == 0;
    case 3: return set_state(m, (int)pick(3));
    case 4: return pick(4) != 0 || replace(s, m);
    case 5: return map_agrees(s, models);
    default: return select_agrees(s, models);
    }
}

static void random_changes(sel_selector *s) {
    struct model models[POOL];
    const char *wish = getenv("CONFORMANCE_SEED");
    unsigned long long first = wish != NULL ? strtoull(wish, NULL, 0) : (unsigned long long)now();
    seed = first | 1;
    memset(models, 0, sizeof models);
    for (int i = 0; i < POOL; i++) {
        models[i].is_file = i < 3;
        models[i].fd = i < 3 ? make_file() : make_event();
        CHECK(models[i].fd >= 0);
    }
    for (int step = 1; step <= STEPS; step++) {
        if (!random_step(s, models, step) || !select_agrees(s, models)) {
            note("CONFORMANCE_SEED=%llu fails in step %d", first, step);
            return;
        }
    }
    CHECK(map_agrees(s, models));
}

/* ---- Several selectors. ---- */

static void two_are_independent(sel_selector *s) {
    int a, b, fd = make_event();
    sel_selector *other = open_selector(test.backend);
    CHECK(other != NULL && fd >= 0);
    EQUAL(sel_register(s, fd, SEL_READ, &a), 0);
    EQUAL(sel_register(other, fd, SEL_WRITE, &b), 0);
    CHECK(quiet(s));
    CHECK(sees(other, fd, SEL_WRITE, 0));
    CHECK(put(fd));
    CHECK(sees(s, fd, SEL_READ, 0));
    CHECK(key_is(s, fd, SEL_READ, &a) && key_is(other, fd, SEL_WRITE, &b));
    EQUAL(sel_unregister(other, fd, NULL), 0);
    CHECK(sees(s, fd, SEL_READ, 0));
    CHECK(quiet(other));
    EQUAL(close_selector(other), 0);
    CHECK(sees(s, fd, SEL_READ, 0));
}

struct worker {
    pthread_t thread;
    const char *backend;
    int ends[2];
};

static void *work(void *argument) {
    const struct worker *worker = argument;
    sel_selector *selector;
    sel_event event;
    bool good = sel_open(&selector, worker->backend) == 0;
    good = good && sel_register(selector, worker->ends[0], SEL_READ, argument) == 0;
    for (int i = 0; good && i < 1000; i++)
        good = put(worker->ends[1]) && sel_select(selector, &event, 1, ENOUGH) == 1 &&
               event.key.data == argument && take(worker->ends[0]) &&
               sel_select(selector, &event, 1, 0) == 0;
    sel_close(selector);
    return good ? argument : NULL;
}

static void one_per_thread(sel_selector *s) {
    struct worker workers[4];
    int started = 0, good = 0;
    (void)s;
    for (int i = 0; i < 4; i++) {
        workers[i].backend = test.backend;
        CHECK(make_pair(workers[i].ends));
    }
    while (started < 4 &&
           pthread_create(&workers[started].thread, NULL, work, &workers[started]) == 0)
        started++;
    for (int i = 0; i < started; i++) {
        void *result;
        good += pthread_join(workers[i].thread, &result) == 0 && result != NULL;
    }
    EQUAL(good, 4);
}

static void name_is_told(sel_selector *s) {
    CHECK(strcmp(sel_backend_name(s), test.backend) == 0);
}

static void descriptor_of_its_own(sel_selector *s) {
    int fd;
    if (!(test.capabilities & SEL_CAN_FILENO)) {
        REFUSED(sel_fileno(s), -ENOTSUP);
        return;
    }
    fd = sel_fileno(s);
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    EQUAL(sel_fileno(s), fd);
}

#define NEEDS_FILENO                           \
    if (!(test.capabilities & SEL_CAN_FILENO)) \
    SKIP("the backend has no descriptor")

static void nested(sel_selector *s) {
    sel_backend_info infos[MOST_BACKENDS];
    int fd = make_event(), inner;
    NEEDS_FILENO;
    inner = sel_fileno(s);
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    for (int i = 0, count = backends(infos); i < count; i++) {
        sel_selector *outer;
        if (infos[i].reason != NULL)
            continue;
        outer = open_selector(infos[i].name);
        CHECK(outer != NULL);
        EQUAL(sel_register(outer, inner, SEL_READ, NULL), 0);
        CHECK(quiet(outer));
        CHECK(put(fd));
        CHECK(sees(outer, inner, SEL_READ, 0));
        CHECK(sees(s, fd, SEL_READ, 0));
        CHECK(take(fd));
        CHECK(quiet(s));
        CHECK(quiet(outer));
        EQUAL(close_selector(outer), 0);
    }
}

static void nested_modify_is_seen_at_once(sel_selector *s) {
    int fd = make_event();
    sel_selector *outer = open_selector(test.backend);
    NEEDS_FILENO;
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    EQUAL(sel_register(outer, sel_fileno(s), SEL_READ, NULL), 0);
    CHECK(quiet(outer));
    EQUAL(sel_modify(s, fd, BOTH, NULL), 0);
    CHECK(sees(outer, sel_fileno(s), SEL_READ, 0));
    EQUAL(sel_modify(s, fd, SEL_READ, NULL), 0);
    CHECK(quiet(outer));
}

static void modify_before_fileno_counts(sel_selector *s) {
    int fd = make_event();
    sel_selector *outer = open_selector(test.backend);
    NEEDS_FILENO;
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    EQUAL(sel_modify(s, fd, BOTH, NULL), 0);
    EQUAL(sel_register(outer, sel_fileno(s), SEL_READ, NULL), 0);
    CHECK(sees(outer, sel_fileno(s), SEL_READ, 0));
}

static void modify_of_closed_after_fileno(sel_selector *s) {
    int closed = make_event(), ready = make_event();
    NEEDS_FILENO;
    CHECK(sel_fileno(s) >= 0 && put(ready));
    EQUAL(sel_register(s, closed, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, ready, SEL_READ, NULL), 0);
    CHECK(drop(closed));
    EQUAL(sel_modify(s, closed, BOTH, NULL), 0);
    CHECK(sees_invalid_beside(s, closed, BOTH, ready));
}

static void nested_ghost(sel_selector *s) {
    int inner, fd;
    sel_selector *outer = open_selector(test.backend);
    NEEDS_FILENO;
    inner = sel_fileno(s);
    EQUAL(sel_register(outer, inner, SEL_READ, NULL), 0);
    fd = leave_a_ghost(s, false);
    CHECK(fd >= 0);
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK(quiet(s)); /* here it may get rid of the ghost */
    EQUAL(sel_fileno(s), inner);
    CHECK(fcntl(inner, F_GETFD) & FD_CLOEXEC);
    CHECK(rests(outer, 50 * MS));
    CHECK(put(fd));
    CHECK(sees(outer, inner, SEL_READ, 0));
}

static void files_do_not_show_in_fileno(sel_selector *s) {
    int file = make_file();
    struct pollfd look;
    if (strcmp(test.backend, "epoll") != 0)
        SKIP("a promise of the epoll backend only");
    EQUAL(sel_register(s, file, SEL_READ, NULL), 0);
    look = (struct pollfd){sel_fileno(s), POLLIN, 0};
    EQUAL(poll(&look, 1, 0), 0);
    CHECK(sees(s, file, SEL_READ, 0));
}

static void no_circle(sel_selector *s) {
    sel_selector *outer = open_selector(test.backend);
    if (strcmp(test.backend, "epoll") != 0)
        SKIP("a promise of the epoll backend only");
    EQUAL(sel_register(outer, sel_fileno(s), SEL_READ, NULL), 0);
    REFUSED(sel_register(s, sel_fileno(outer), SEL_READ, NULL), -ELOOP);
    REFUSED(sel_register(s, sel_fileno(s), SEL_READ, NULL), -ELOOP);
    EQUAL(sel_get_map(s, NULL, 0), 0);
    CHECK(quiet(s));
}

static void out_of_descriptors(sel_selector *s) {
    int poison, result;
    sel_selector *other = (sel_selector *)&poison;
    (void)s;
    CHECK(use_up_descriptors());
    errno = UNTOUCHED;
    result = sel_open(&other, test.backend);
    EQUAL(errno, UNTOUCHED);
    EQUAL(result, -EMFILE);
    CHECK(other == NULL);
    CHECK(*sel_last_error() != '\0');
}

/* ---- Threads, wake-up, fork. ---- */

/* A thread that waits in sel_select() without a limit. */
struct waiter {
    pthread_t thread;
    sel_selector *selector;
    atomic_int id;
    sel_event event;
    int result;
};

static void *wait_for_ever(void *argument) {
    struct waiter *waiter = argument;
    atomic_store(&waiter->id, (int)syscall(SYS_gettid));
    waiter->result = sel_select(waiter->selector, &waiter->event, 1, SEL_FOREVER);
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

/* Starts a waiter and returns when it is blocked. */
static bool start_waiter(struct waiter *waiter, sel_selector *selector) {
    waiter->selector = selector;
    atomic_init(&waiter->id, 0);
    if (pthread_create(&waiter->thread, NULL, wait_for_ever, waiter) != 0)
        return false;
    while (atomic_load(&waiter->id) == 0 || !is_asleep(atomic_load(&waiter->id)))
        sched_yield();
    return true;
}

static void a_blocked_select_sees_changes(sel_selector *s) {
    int event = make_event(), file = make_file();
    struct waiter waiter;
    CHECK(event >= 0 && file >= 0 && put(event));
    CHECK(start_waiter(&waiter, s));
    EQUAL(sel_register(s, event, SEL_READ, NULL), 0);
    CHECK(pthread_join(waiter.thread, NULL) == 0);
    EQUAL(waiter.result, 1);
    EQUAL(waiter.event.key.fd, event);
    CHECK(take(event));
    CHECK(start_waiter(&waiter, s));
    EQUAL(sel_modify(s, event, SEL_READ | SEL_WRITE, &test), 0);
    CHECK(pthread_join(waiter.thread, NULL) == 0);
    EQUAL(waiter.result, 1);
    CHECK(waiter.event.key.data == &test);
    EQUAL(sel_unregister(s, event, NULL), 0);
    CHECK(start_waiter(&waiter, s));
    EQUAL(sel_register(s, file, SEL_WRITE, NULL), 0);
    CHECK(pthread_join(waiter.thread, NULL) == 0);
    EQUAL(waiter.result, 1);
    EQUAL(waiter.event.key.fd, file);
}

static void a_wakeup_ends_one_wait(sel_selector *s) {
    struct waiter waiter;
    sel_event event;
    for (int i = 0; i < 3; i++) {
        CHECK(start_waiter(&waiter, s));
        EQUAL(sel_wakeup(s), 0);
        CHECK(pthread_join(waiter.thread, NULL) == 0);
        EQUAL(waiter.result, 0);
    }
    for (int i = 0; i < 3; i++)
        EQUAL(sel_wakeup(s), 0);
    EQUAL(sel_select(s, &event, 1, SEL_FOREVER), 0);
    CHECK(rests(s, 20 * MS));
    REFUSED(sel_wakeup(NULL), -EINVAL);
}

static sel_selector *to_be_woken;

static void wake(int number) {
    (void)number;
    sel_wakeup(to_be_woken);
}

static void a_signal_handler_may_wake(sel_selector *s) {
    struct sigaction action = {.sa_handler = wake}, before;
    struct waiter waiter;
    to_be_woken = s;
    CHECK(sigaction(SIGUSR2, &action, &before) == 0);
    CHECK(start_waiter(&waiter, s));
    CHECK(pthread_kill(waiter.thread, SIGUSR2) == 0);
    CHECK(pthread_join(waiter.thread, NULL) == 0);
    CHECK(sigaction(SIGUSR2, &before, NULL) == 0);
    EQUAL(waiter.result, 0);
}

static void close_ends_a_blocked_select(sel_selector *s) {
    struct waiter waiter;
    sel_selector *other = open_selector(test.backend);
    (void)s;
    CHECK(start_waiter(&waiter, other));
    EQUAL(close_selector(other), 0);
    CHECK(pthread_join(waiter.thread, NULL) == 0);
    EQUAL(waiter.result, -ECANCELED);
}

/* Waits for a child and tells whether it was content. */
static bool is_content(pid_t child) {
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

/* What a child does with the selector of its parent: 0, or the line at which it went wrong. */
static int use_in_child(sel_selector *s, int idle, int ready) {
    sel_event event;
    if (sel_register(s, ready, SEL_READ, NULL) != 0)
        return __LINE__;
    if (sel_modify(s, idle, SEL_READ | SEL_WRITE, NULL) != 0 || sel_unregister(s, idle, NULL) != 0)
        return __LINE__;
    if (sel_select(s, &event, 1, ENOUGH) != 1 || event.key.fd != ready)
        return __LINE__;
    if (sel_unregister(s, ready, NULL) != 0 || sel_wakeup(s) != 0)
        return __LINE__;
    if (sel_select(s, &event, 1, SEL_FOREVER) != 0)
        return __LINE__;
    return sel_close(s) == 0 ? 0 : __LINE__;
}

static void a_child_has_a_set_of_its_own(sel_selector *s) {
    int idle = make_event(), ready = make_event();
    struct waiter waiter;
    pid_t child;
    CHECK(idle >= 0 && ready >= 0 && put(ready));
    EQUAL(sel_register(s, idle, SEL_READ, NULL), 0);
    CHECK(start_waiter(&waiter, s));
    child = fork();
    if (child == 0)
        _exit(use_in_child(s, idle, ready) != 0);
    CHECK(is_content(child));
    CHECK(is_asleep(atomic_load(&waiter.id)));
    CHECK(put(idle));
    CHECK(pthread_join(waiter.thread, NULL) == 0);
    EQUAL(waiter.result, 1);
    CHECK(take(idle));
    CHECK(rests(s, 100 * MS));
    CHECK(put(idle));
    CHECK(sees(s, idle, SEL_READ, 0));
}

static void a_child_may_wake_and_close_at_once(sel_selector *s) {
    int idle = make_event();
    pid_t child;
    CHECK(idle >= 0);
    EQUAL(sel_register(s, idle, SEL_READ, NULL), 0);
    child = fork();
    if (child == 0)
        _exit(sel_wakeup(s) != 0 || sel_wakeup(s) != 0 || sel_close(s) != 0);
    CHECK(is_content(child));
    CHECK(rests(s, 50 * MS));
    CHECK(put(idle));
    CHECK(sees(s, idle, SEL_READ, 0));
}

static void a_wakeup_in_a_child_is_kept(sel_selector *s) {
    pid_t child = fork();
    if (child == 0) {
        sel_event event;
        _exit(sel_wakeup(s) != 0 || sel_select(s, &event, 1, SEL_FOREVER) != 0);
    }
    CHECK(is_content(child));
    CHECK(rests(s, 20 * MS));
}

static void a_child_keeps_what_was_closed_and_files(sel_selector *s) {
    int event = make_event(), file = make_file();
    pid_t child;
    CHECK(event >= 0 && file >= 0);
    EQUAL(sel_register(s, event, SEL_READ, NULL), 0);
    EQUAL(sel_register(s, file, SEL_READ, NULL), 0);
    child = fork();
    if (child == 0) {
        sel_event got[4];
        close(event);
        _exit(sel_select(s, got, 4, ENOUGH) != 2 || find(got, 2, event)->detail != SEL_INVALID ||
              find(got, 2, file)->events != SEL_READ);
    }
    CHECK(is_content(child));
    CHECK(sees(s, file, SEL_READ, 0));
}

/* ---- The library as a whole. ---- */

/* Tells which backend a list opens, NULL if none; *error is what sel_open() returned. */
static const char *opens(const char *list, int *error) {
    int poison;
    sel_selector *selector = (sel_selector *)&poison;
    const char *name;
    errno = UNTOUCHED;
    *error = sel_open(&selector, list);
    if (errno != UNTOUCHED)
        note("sel_open() set errno to %d", errno);
    if (*error != 0)
        return selector == NULL ? NULL : "not NULL";
    name = sel_backend_name(selector);
    sel_close(selector);
    return name;
}

static bool check_opens(int line, const char *list, const char *wanted) {
    int error;
    const char *name = opens(list, &error);
    if (error == 0 && wanted != NULL && strcmp(name, wanted) == 0)
        return !*test.failure;
    note("%s:%d: failed: \"%s\" opens %s instead of %s, %d: %s", __FILE__, line,
         list == NULL ? "NULL" : list, name == NULL ? "nothing" : name,
         wanted == NULL ? "nothing" : wanted, error, error == 0 ? "" : sel_last_error());
    return false;
}

/* A refusal has its value, and a line that has this in it, if not NULL. */
static bool check_refuses(int line, const char *list, int wanted, const char *told) {
    int error;
    const char *name = opens(list, &error), *words = sel_last_error();
    if (error == wanted && name == NULL && *words != '\0' && strchr(words, '\n') == NULL &&
        (told == NULL || strstr(words, told) != NULL))
        return !*test.failure;
    note("%s:%d: failed: \"%s\" gives %d instead of %d, *out %s, last error \"%s\"", __FILE__, line,
         list == NULL ? "NULL" : list, error, wanted, name == NULL ? "NULL" : name, words);
    return false;
}

#define OPENS(list, wanted)                       \
    do {                                          \
        if (!check_opens(__LINE__, list, wanted)) \
            return;                               \
    } while (0)
#define OPENS_NOT(list, error, told)                     \
    do {                                                 \
        if (!check_refuses(__LINE__, list, error, told)) \
            return;                                      \
    } while (0)

static void version_is_that_of_the_header(sel_selector *s) {
    char text[64];
    (void)s;
    snprintf(text, sizeof text, "%d.%d.%d", SEL_VERSION_MAJOR, SEL_VERSION_MINOR,
             SEL_VERSION_PATCH);
    CHECK(strcmp(SEL_VERSION_STRING, text) == 0);
    CHECK(strcmp(sel_version(), SEL_VERSION_STRING) == 0);
}

static void errors_have_names(sel_selector *s) {
    const int errors[] = {EBADF, EINVAL,  ENOENT, EEXIST, ENOMEM, ENOSPC,
                          ELOOP, ENOTSUP, EMFILE, ENFILE, EPERM,  0};
    const int absurd[] = {INT_MAX, INT_MIN, INT_MIN + 1, 4096, -4096, 99999, -99999};
    (void)s;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        CHECK(strcmp(sel_strerror(errors[i]), strerror(errors[i])) == 0);
        CHECK(strcmp(sel_strerror(-errors[i]), strerror(errors[i])) == 0);
    }
    for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
        errno = UNTOUCHED;
        CHECK(sel_strerror(absurd[i]) != NULL && *sel_strerror(absurd[i]) != '\0');
        EQUAL(errno, UNTOUCHED);
    }
}

static void *fail_in_a_thread(void *result) {
    bool empty = *sel_last_error() == '\0';
    bool failed = sel_get_map(NULL, NULL, 0) == -EINVAL;
    *(bool *)result = empty && failed && strcmp(sel_last_error(), sel_strerror(-EINVAL)) == 0;
    return NULL;
}

static void each_thread_has_its_last_error(sel_selector *s) {
    pthread_t thread;
    bool good = false;
    int fd = make_event();
    sel_key key;
    s = open_selector(NULL);
    REFUSED(sel_get_key(s, fd, &key), -ENOENT);
    EQUAL(pthread_create(&thread, NULL, fail_in_a_thread, &good), 0);
    EQUAL(pthread_join(thread, NULL), 0);
    CHECK(good);
    CHECK(strcmp(sel_last_error(), sel_strerror(-ENOENT)) == 0);
    EQUAL(sel_register(s, fd, SEL_READ, NULL), 0);
    CHECK(strcmp(sel_last_error(), sel_strerror(-ENOENT)) == 0);
    REFUSED(sel_register(s, fd, SEL_READ, NULL), -EEXIST);
    REFUSED(sel_select(s, NULL, 0, 0), -EINVAL);
}

static void backends_are_described(sel_selector *s) {
    sel_backend_info infos[MOST_BACKENDS], first[2];
    int count = sel_backends(NULL, 0);
    (void)s;
    CHECK(count >= 1 && count <= MOST_BACKENDS);
    EQUAL(sel_backends(infos, MOST_BACKENDS), count);
    for (int i = 0; i < count; i++) {
        CHECK(infos[i].name != NULL && *infos[i].name != '\0');
        CHECK(infos[i].rank >= 0 && (i == 0 || infos[i].rank <= infos[i - 1].rank));
        CHECK((infos[i].capabilities & ~(SEL_CAN_FILENO | SEL_CAN_CONCURRENT)) == 0);
        for (int j = 0; j < i; j++)
            CHECK(strcmp(infos[i].name, infos[j].name) != 0);
        if (infos[i].reason == NULL) {
            OPENS(infos[i].name, infos[i].name);
        } else {
            CHECK(*infos[i].reason != '\0');
            OPENS_NOT(infos[i].name, -ENOTSUP, infos[i].name);
        }
    }
    memset(first, 0, sizeof first);
    EQUAL(sel_backends(first, 1), count);
    CHECK(first[0].name == infos[0].name && first[1].name == NULL);
    REFUSED(sel_backends(infos, -1), -EINVAL);
    REFUSED(sel_backends(NULL, 1), -EINVAL);
    REFUSED(sel_backends(NULL, -1), -EINVAL);
}

static void the_best_is_the_default(sel_selector *s) {
    (void)s;
    OPENS(NULL, best_but(""));
    OPENS("-epoll", best_but("epoll"));
    OPENS(" -epoll ", best_but("epoll"));
    OPENS("-poll", best_but("poll"));
}

static void open_needs_out(sel_selector *s) {
    (void)s;
    errno = UNTOUCHED;
    EQUAL(sel_open(NULL, "poll"), -EINVAL);
    EQUAL(sel_open(NULL, NULL), -EINVAL);
    EQUAL(errno, UNTOUCHED);
    CHECK(*sel_last_error() != '\0');
}

static void lists_of_names(sel_selector *s) {
    (void)s;
    OPENS("poll", "poll");
    OPENS("  poll", "poll");
    OPENS(" poll , select ", "poll");
    OPENS("select,poll", "select");
    OPENS("select ,poll,epoll", "select");
    OPENS("-epoll,poll", "poll");
    OPENS("-epoll, -poll", "select");
}

static void malformed_lists(sel_selector *s) {
    const char *const lists[] = {
        "", " ", ",", "epoll,,poll", "poll,", ",poll", "poll, ,select", "-", "poll,-"};
    (void)s;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        OPENS_NOT(lists[i], -EINVAL, NULL);
}

static void unknown_names(sel_selector *s) {
    const char *const lists[] = {"nonsense",        "nonsense,poll", "poll,nonsense",
                                 " nonsense ,poll", "-nonsense",     "poll,-nonsense"};
    sel_backend_info infos[MOST_BACKENDS];
    (void)s;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        OPENS_NOT(lists[i], -ENOENT, "nonsense");
        for (int j = 0, count = backends(infos); j < count; j++)
            OPENS_NOT(lists[i], -ENOENT, infos[j].name);
    }
    OPENS_NOT("pol", -ENOENT, "pol");
    OPENS_NOT("polls", -ENOENT, "polls");
    OPENS_NOT("Poll", -ENOENT, "Poll");
    OPENS_NOT("poll select", -ENOENT, NULL);
    OPENS_NOT("--poll", -ENOENT, NULL);
    OPENS_NOT("\xff\xfe", -ENOENT, NULL);
    OPENS_NOT("two\nlines", -ENOENT, NULL);
}

static void endless_name(sel_selector *s) {
    static char name[100000];
    (void)s;
    memset(name, 'x', sizeof name - 1);
    OPENS_NOT(name, -ENOENT, "poll");
}

static void names_that_cannot_be_used(sel_selector *s) {
    char list[1024] = "";
    sel_backend_info infos[MOST_BACKENDS];
    (void)s;
#ifdef __linux__
    OPENS_NOT("devpoll", -ENOTSUP, "devpoll");
    OPENS("devpoll,poll", "poll");
#endif
    for (int i = 0, count = backends(infos); i < count; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s-%s", i == 0 ? "" : ",", infos[i].name);
    }
    OPENS_NOT(list, -ENOTSUP, NULL);
}

static void environment_chooses(sel_selector *s) {
    (void)s;
    if (getauxval(AT_SECURE))
        SKIP("a privileged process does not look at its environment");
    setenv("SELECTORS_BACKEND", "select", 1);
    OPENS(NULL, "select");
    OPENS("poll", "poll");
    setenv("SELECTORS_BACKEND", " poll , select ", 1);
    OPENS(NULL, "poll");
    setenv("SELECTORS_BACKEND", "-epoll", 1);
    OPENS(NULL, best_but("epoll"));
    setenv("SELECTORS_BACKEND", "devpoll,poll", 1);
    OPENS(NULL, "poll");
    setenv("SELECTORS_BACKEND", "", 1);
    OPENS(NULL, best_but(""));
    unsetenv("SELECTORS_BACKEND");
    OPENS(NULL, best_but(""));
}

static void environment_is_refused(sel_selector *s) {
    (void)s;
    if (getauxval(AT_SECURE))
        SKIP("a privileged process does not look at its environment");
    setenv("SELECTORS_BACKEND", "poll,nonsense", 1);
    OPENS_NOT(NULL, -ENOENT, "SELECTORS_BACKEND");
    OPENS_NOT(NULL, -ENOENT, "nonsense");
    OPENS_NOT(NULL, -ENOENT, "select");
    OPENS("poll", "poll");
    setenv("SELECTORS_BACKEND", "epoll,,poll", 1);
    OPENS_NOT(NULL, -EINVAL, "SELECTORS_BACKEND");
#ifdef __linux__
    setenv("SELECTORS_BACKEND", "devpoll", 1);
    OPENS_NOT(NULL, -ENOTSUP, "SELECTORS_BACKEND");
#endif
}

/* Every way to end that has a detail, told alike by each backend. */
static void detail_is_the_same_everywhere(sel_selector *s) {
    sel_backend_info infos[MOST_BACKENDS];
    int fds[8], count = 0, ends[2], refused = make_refused();
    (void)s;
    CHECK(make_pair(ends) && drop(ends[1])); /* the peer is gone */
    fds[count++] = ends[0];
    CHECK(make_pair(ends) && put(ends[1]) && shutdown(ends[1], SHUT_WR) == 0);
    fds[count++] = ends[0];
    CHECK(make_pair(ends) && put(ends[0]) && drop(ends[1])); /* ... with unread data */
    fds[count++] = ends[0];
    CHECK(make_pipe(ends) && drop(ends[1]));
    fds[count++] = ends[0];
    CHECK(make_pipe(ends) && drop(ends[0]));
    fds[count++] = ends[1];
    if (refused >= 0)
        fds[count++] = refused;
    for (int i = 0; i < count; i++) {
        for (uint32_t asked = SEL_READ; asked <= BOTH; asked++) {
            sel_event first = {{-1, 0, NULL}, 0, 0};
            for (int j = 0, all = backends(infos); j < all; j++) {
                sel_event event;
                sel_selector *selector;
                if (infos[j].reason != NULL)
                    continue;
                if (asked == SEL_WRITE && i == 3)
                    continue; /* nobody waits to write to the reading end of a pipe */
                selector = open_selector(infos[j].name);
                CHECK(selector != NULL);
                EQUAL(sel_register(selector, fds[i], asked, NULL), 0);
                EQUAL(sel_select(selector, &event, 1, ENOUGH), 1);
                EQUAL(event.events, asked);
                if (first.key.fd < 0)
                    first = event;
                if (event.detail != first.detail)
                    note("case %d, asked for 0x%x, %s: detail 0x%x instead of 0x%x", i, asked,
                         infos[j].name, event.detail, first.detail);
                EQUAL(event.detail, first.detail);
                EQUAL(close_selector(selector), 0);
            }
        }
    }
}

/* ---- The tests. ---- */

struct fact {
    const char *name;
    void (*prove)(sel_selector *selector);
};

static const struct fact library_facts[] = {
    {"the version is that of the header", version_is_that_of_the_header},
    {"errors have names", errors_have_names},
    {"each thread has its last error", each_thread_has_its_last_error},
    {"backends are described, the best first", backends_are_described},
    {"the best backend is the default", the_best_is_the_default},
    {"sel_open needs a place to store", open_needs_out},
    {"lists of names are tried in order", lists_of_names},
    {"malformed lists are refused", malformed_lists},
    {"unknown names are refused, with the names there are", unknown_names},
    {"an endless name is refused", endless_name},
    {"names that cannot be used are refused, or passed over", names_that_cannot_be_used},
    {"the environment chooses the backend", environment_chooses},
    {"a wrong word in the environment is refused", environment_is_refused},
    {"detail is the same on every backend", detail_is_the_same_everywhere},
};

static const struct fact backend_facts[] = {
    {"a NULL selector is refused", null_selector},
    {"negative descriptors are refused", negative_descriptor},
    {"register refuses no events and unknown ones", register_refuses_events},
    {"modify refuses no events and unknown ones, changes nothing", modify_refuses_events},
    {"select refuses no room for events", select_refuses_arguments},
    {"get_key and get_map refuse no room for keys", get_refuses_arguments},
    {"a closed descriptor is refused", register_closed},
    {"a registered descriptor is refused", register_twice},
    {"what is not registered is not found", not_registered},
    {"the key comes back", key_comes_back},
    {"the map is in the order of registration", map_is_in_order},
    {"the map is cut to the room there is", map_is_cut},
    {"close leaves the registered ones open", close_leaves_open},
    {"pipe readiness", pipe_readiness},
    {"socket readiness, both directions at once", socket_readiness},
    {"eventfd readiness", eventfd_readiness},
    {"terminal readiness", terminal_readiness},
    {"a connect and an accept are readiness", connect_and_accept},
    {"events are cut to what was asked", cut_to_what_was_asked},
    {"readiness is level-triggered", level_triggered},
    {"data comes back with the event", data_comes_back},
    {"modify changes the mask", modify_changes_the_mask},
    {"modify and back between waits", modify_and_back},
    {"modify and unregister between waits", modify_then_unregister},
    {"duplicates are registered apart", duplicates_are_two},
    {"a wait is never too short", never_early},
    {"an empty selector waits the timeout out", empty_waits_it_out},
    {"a timeout of 0 only looks", zero_only_looks},
    {"a ready descriptor ends any wait", ready_ends_any_wait},
    {"a descriptor that becomes ready ends any wait", becoming_ready_ends_any_wait},
    {"an empty selector without a limit blocks", empty_blocks_for_ever},
    {"signals do not end a wait", signals_do_not_end_a_wait},
    {"a late signal does not begin the wait anew", a_late_signal_does_not_begin_the_wait_anew},
    {"signals do not end an endless wait", signals_do_not_end_an_endless_wait},
    {"the peer closes", peer_closes},
    {"the peer of a writer closes", peer_closes_on_a_writer},
    {"the peer of a full writer closes", peer_closes_on_a_full_writer},
    {"the peer will send no more", peer_will_send_no_more},
    {"a half-close does not wake a full writer", half_close_leaves_a_writer_alone},
    {"a pipe loses its writer", pipe_loses_its_writer},
    {"a pipe loses its reader", pipe_loses_its_reader},
    {"an error wakes a full writer", error_wakes_a_full_writer},
    {"a connection is refused", connection_refused},
    {"closed while registered blinds no other", closed_while_registered},
    {"closed while registered, then modified, is invalid", closed_then_modified},
    {"an invalid descriptor starves no other", invalid_does_not_starve},
    {"unregister after close and reuse", unregister_after_close_and_reuse},
    {"unregister ends it though a duplicate lives on", a_duplicate_lives_on},
    {"a duplicate that lives on hides no other", a_ghost_hides_nobody},
    {"a duplicate comes back to its number", a_duplicate_comes_back},
    {"a duplicate that lives on beside a file", a_ghost_beside_a_file},
    {"a duplicate that lives on takes no room", a_ghost_takes_no_room},
    {"a duplicate that lives on, no descriptor left", a_ghost_when_no_descriptor_is_left},
    {"a duplicate that lives on beside a closed one", a_ghost_hides_no_closed_one},
    {"files are always ready", always_ready},
    {"a file ends any wait", file_ends_any_wait},
    {"files and sockets do not starve each other", files_and_sockets_share},
    {"a file closed while registered is invalid", file_closed_while_registered},
    {"a number changes between file and socket", file_becomes_a_socket},
    {"more are ready than fit, nobody starves", nobody_starves},
    {"room for more than there are", room_for_many},
    {"nine thousand sockets, a hundred ready", nine_thousand},
    {"descriptors with high numbers", high_numbers},
    {"random changes agree with a model", random_changes},
    {"two selectors are independent", two_are_independent},
    {"each thread may have its selector", one_per_thread},
    {"the backend's name is told", name_is_told},
    {"a descriptor of its own, or a refusal", descriptor_of_its_own},
    {"a selector in another", nested},
    {"a selector in another: modify is seen at once", nested_modify_is_seen_at_once},
    {"a selector in another: an earlier modify counts", modify_before_fileno_counts},
    {"a selector in another: a duplicate that lives on", nested_ghost},
    {"modify of a closed descriptor after sel_fileno", modify_of_closed_after_fileno},
    {"files do not make sel_fileno readable", files_do_not_show_in_fileno},
    {"a circle of selectors is refused", no_circle},
    {"no descriptors left", out_of_descriptors},
    {"what a thread changes ends another's wait", a_blocked_select_sees_changes},
    {"a wake-up ends one wait", a_wakeup_ends_one_wait},
    {"a signal handler may wake", a_signal_handler_may_wake},
    {"close ends another thread's wait", close_ends_a_blocked_select},
    {"a fork's child has a set of its own", a_child_has_a_set_of_its_own},
    {"a fork's child may wake and close at once", a_child_may_wake_and_close_at_once},
    {"a wake-up in a fork's child is kept", a_wakeup_in_a_child_is_kept},
    {"a fork's child has files and closed ones", a_child_keeps_what_was_closed_and_files},
};

enum {
    LIBRARY_FACTS = sizeof library_facts / sizeof *library_facts,
    BACKEND_FACTS = sizeof backend_facts / sizeof *backend_facts
};

static int number, failures, skips;

static void report(const char *group, const char *name) {
    const char *line = test.failure;
    bool failed = *line != '\0';
    printf("%sok %d - %s: %s", failed ? "not " : "", ++number, group, name);
    if (test.skip != NULL && !failed)
        printf(" # SKIP %s", test.skip);
    putchar('\n');
    while (*line != '\0') {
        size_t length = strcspn(line, "\n");
        printf("# %.*s\n", (int)length, line);
        line += length + (line[length] != '\0');
    }
    fflush(stdout);
    failures += failed;
    skips += test.skip != NULL && !failed;
    test.failure[0] = '\0';
    test.skip = NULL;
}

static void watchdog(int signal_number) {
    ssize_t ignored = write(STDOUT_FILENO, test.hung, strlen(test.hung));
    (void)signal_number;
    (void)ignored;
    _exit(1);
}

static void run(const char *group, const struct fact *fact) {
    int before = open_descriptors(), after;
    sel_selector *selector = NULL;
    snprintf(test.hung, sizeof test.hung, "not ok %d - %s: %s\n# hangs for %d seconds\nBail out!\n",
             number + 1, group, fact->name, HANG_SECONDS);
    alarm(HANG_SECONDS);
    if (test.backend == NULL || (selector = open_selector(test.backend)) != NULL)
        fact->prove(selector);
    tear_down();
    alarm(0);
    after = open_descriptors();
    if (after != before)
        note("%d descriptors were open before, %d after", before, after);
    report(group, fact->name);
}

/* Chooses the backend of the next tests; notes why it cannot be used. */
static bool choose(const char *name) {
    sel_backend_info infos[MOST_BACKENDS];
    sel_selector *selector;
    test.backend = NULL;
    if (sel_open(&selector, name) != 0) {
        note("%s", sel_last_error());
        return false;
    }
    sel_close(selector);
    for (int i = 0, count = backends(infos); i < count; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            test.backend = infos[i].name;
            test.capabilities = infos[i].capabilities;
            return true;
        }
    }
    note("\"%s\" is not the name of one backend", name);
    return false;
}

static void run_backend(const char *name) {
    if (!choose(name)) {
        report(name, "can be used");
        return;
    }
    for (int i = 0; i < BACKEND_FACTS; i++)
        run(name, &backend_facts[i]);
    test.backend = NULL;
}

int main(int argc, char **argv) {
    sel_backend_info infos[MOST_BACKENDS];
    const char *names[MOST_BACKENDS];
    int count = 0, plan = LIBRARY_FACTS;
    if (argc > MOST_BACKENDS) {
        fprintf(stderr, "usage: conformance [BACKEND...]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, watchdog);
    unsetenv("SELECTORS_BACKEND");
    getrlimit(RLIMIT_NOFILE, &test.limit);

    for (int i = 1; i < argc; i++)
        names[count++] = argv[i];
    for (int i = 0, all = argc > 1 ? 0 : backends(infos); i < all; i++)
        if (infos[i].reason == NULL)
            names[count++] = infos[i].name;
    for (int i = 0; i < count; i++)
        plan += choose(names[i]) ? BACKEND_FACTS : 1;
    test.backend = NULL;
    test.failure[0] = '\0';

    printf("1..%d\n", plan);
    for (int i = 0; i < LIBRARY_FACTS; i++)
        run("library", &library_facts[i]);
    for (int i = 0; i < count; i++)
        run_backend(names[i]);
    printf("# %d tests: %d passed, %d failed, %d skipped\n", number, number - failures - skips,
           failures, skips);
    return failures != 0 || count == 0;
}
