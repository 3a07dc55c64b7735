/*
 * helpers.c - creates descriptors of each kind, and inspects a selector.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

volatile sig_atomic_t signals;

static struct timespec timespec_of(int64_t ns) {
    return (struct timespec){ns / SECOND, ns % SECOND};
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

int64_t now(void) {
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t cpu_time(void) {
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void count_signal(int number) {
    (void)number;
    signals++;
}

bool start_storm(int64_t first_ns, int64_t next_ns) {
    struct sigaction action = {.sa_handler = count_signal};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec spec = {timespec_of(next_ns), timespec_of(first_ns)};
    signals = 0;
    if (sigaction(SIGUSR1, &action, NULL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &test.storm) != 0)
        return false;
    test.storming = true;
    return timer_settime(test.storm, 0, &spec, NULL) == 0;
}

void stop_storm(void) {
    timer_delete(test.storm);
    test.storming = false;
}

bool make_pipe(int ends[2]) {
    return pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0 && own(ends[0]) >= 0 && own(ends[1]) >= 0;
}

bool make_pair(int ends[2]) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0 &&
           own(ends[0]) >= 0 && own(ends[1]) >= 0;
}

int make_event(void) {
    return own(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

int make_ready_event(void) {
    return own(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
}

int make_timer(int64_t after_ns) {
    struct itimerspec spec = {{0, 0}, timespec_of(after_ns)};
    int fd = own(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    return fd >= 0 && timerfd_settime(fd, 0, &spec, NULL) == 0 ? fd : -1;
}

int make_file(void) {
    char name[] = "/tmp/conformance-XXXXXX";
    int fd = own(mkostemp(name, O_CLOEXEC));
    if (fd >= 0)
        unlink(name);
    return fd;
}

int make_socket(void) {
    return own(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

int make_bound(struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    int fd = make_socket();
    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, length) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) != 0)
        return -1;
    return fd;
}

int duplicate(int fd) {
    return own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

bool put(int fd) {
    uint64_t one = 1;
    return write(fd, &one, sizeof one) == (ssize_t)sizeof one;
}

bool take(int fd) {
    uint64_t number;
    return read(fd, &number, sizeof number) == (ssize_t)sizeof number;
}

void fill(int fd) {
    static const char block[4096];
    while (write(fd, block, sizeof block) > 0)
        continue;
    while (write(fd, block, 1) > 0)
        continue;
}

bool set_limit(rlim_t limit) {
    return setrlimit(RLIMIT_NOFILE, &(struct rlimit){limit, test.limit.rlim_max}) == 0;
}

bool raise_limit(rlim_t wanted) {
    return test.limit.rlim_max >= wanted && set_limit(test.limit.rlim_max);
}

bool use_up_descriptors(void) {
    int lowest = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    return lowest >= 0 && close(lowest) == 0 && set_limit((rlim_t)lowest); /* all below are open */
}

int watch(sel_selector *selector, int fd, uint32_t events) {
    int result = sel_register(selector, fd, events, NULL);
    if (result != 0)
        note("sel_register(%d, 0x%x): %s", fd, events, sel_strerror(result));
    return fd;
}

int leave_a_ghost(sel_selector *selector, bool reuse_first) {
    int fd = watch(selector, make_ready_event(), SEL_READ);
    if (look(selector) < 1 || duplicate(fd) < 0 || !drop(fd))
        return -1;
    if (!reuse_first && sel_unregister(selector, fd, NULL) != 0)
        return -1;
    if (make_event() != fd)
        return -1;
    if (reuse_first && sel_unregister(selector, fd, NULL) != 0)
        return -1;
    return fd;
}

const sel_event *find(const sel_event *events, int count, int fd) {
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

/* Whether only this is ready; compares only some bits of the detail. */
static bool sees_among(sel_selector *selector, int fd, uint32_t events, uint32_t detail,
                       uint32_t which) {
    sel_event got[8];
    int count = sel_select(selector, got, 8, ENOUGH);
    if (count == 1 && got[0].key.fd == fd && got[0].events == events &&
        (got[0].detail & which) == detail)
        return true;
    note("wanted only fd %d, events 0x%x, detail 0x%x", fd, events, detail);
    note_events(got, count);
    return false;
}

bool sees(sel_selector *selector, int fd, uint32_t events, uint32_t detail) {
    return sees_among(selector, fd, events, detail, UINT32_MAX);
}

bool sees_at_least(sel_selector *selector, int fd, uint32_t events, uint32_t detail) {
    return sees_among(selector, fd, events, detail, detail);
}

bool sees_invalid_beside(sel_selector *selector, int closed, uint32_t events, int ready) {
    sel_event got[8];
    int count = sel_select(selector, got, 8, ENOUGH);
    const sel_event *bad = find(got, count, closed), *good = find(got, count, ready);
    if (count == 2 && bad != NULL && bad->events == events && bad->detail == SEL_INVALID &&
        good != NULL && good->events == SEL_READ && good->detail == 0)
        return true;
    note("wanted fd %d invalid, fd %d readable", closed, ready);
    note_events(got, count);
    return false;
}

int look(sel_selector *selector) {
    sel_event got[8];
    return sel_select(selector, got, 8, 0);
}

bool quiet(sel_selector *selector) {
    sel_event got[8];
    int count = sel_select(selector, got, 8, 0);
    if (count != 0)
        note_events(got, count);
    return count == 0;
}

bool waits_out(sel_selector *selector, int64_t timeout_ns) {
    sel_event got[8];
    int64_t start = now(), wall;
    int count = sel_select(selector, got, 8, timeout_ns);
    wall = now() - start;
    if (count == 0 && wall >= timeout_ns && wall < timeout_ns + ENOUGH)
        return true;
    note("waited %lld ns, of %lld wanted", (long long)wall, (long long)timeout_ns);
    note_events(got, count);
    return false;
}

bool rests(sel_selector *selector, int64_t timeout_ns) {
    int64_t cpu = cpu_time(), start = now(), wall;
    bool waited = waits_out(selector, timeout_ns);
    wall = now() - start;
    cpu = cpu_time() - cpu;
    if (cpu >= wall / 2)
        note("waited %lld ns, for %lld on the processor", (long long)wall, (long long)cpu);
    return waited && cpu < wall / 2;
}

bool key_is(sel_selector *selector, int fd, uint32_t events, void *data) {
    sel_key key = {-1, 0, NULL};
    int result = sel_get_key(selector, fd, &key);
    if (result == 0 && key.fd == fd && key.events == events && key.data == data)
        return true;
    note("sel_get_key(%d): %d, fd %d, events 0x%x, data %p", fd, result, key.fd, key.events,
         key.data);
    return false;
}

bool map_is(sel_selector *selector, const int *fds, int count) {
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

int backends(sel_backend_info infos[MOST_BACKENDS]) {
    int count = sel_backends(infos, MOST_BACKENDS);
    return count < MOST_BACKENDS ? count : MOST_BACKENDS;
}

bool is_plugin(const char *name) {
    sel_backend_info infos[MOST_BACKENDS];
    for (int i = 0, count = backends(infos); i < count; i++)
        if (strcmp(infos[i].name, name) == 0)
            return infos[i].origin != NULL;
    return false;
}

int usable_backends(const char *names[MOST_BACKENDS]) {
    sel_backend_info infos[MOST_BACKENDS];
    int usable = 0;
    for (int i = 0, count = backends(infos); i < count; i++)
        if (infos[i].reason == NULL)
            names[usable++] = infos[i].name;
    return usable;
}

const char *best_but(const char *excluded) {
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
