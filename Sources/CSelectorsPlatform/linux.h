/*
 * Linux, with any C library.
 *
 * _GNU_SOURCE must not be defined here: it changes types that Swift's own Glibc module has already
 * seen. What it would declare is declared by hand.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CPLATFORM_LINUX_H
#define CPLATFORM_LINUX_H

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>

#include "../../include/selectors_plugin.h"
#include "call.h"

/*
 * Where time_t has 64 bits beside a long of 32, ppoll has another name in the library, which only the
 * system's own declaration tells. The Makefile defines _GNU_SOURCE there, for there is no such module.
 */
#ifndef _GNU_SOURCE
_Static_assert(sizeof(time_t) <= sizeof(long), "_GNU_SOURCE is needed beside a time_t of 64 bits");
#endif
int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
int dup3(int, int, int);
int pipe2(int[2], int);
char *secure_getenv(const char *);
/* glibc 2.35 has it; weak, so that the library also loads where it is missing. */
extern int epoll_pwait2(int, struct epoll_event *, int, const struct timespec *, const sigset_t *)
    __attribute__((weak));

/* POLLRDHUP, and all that poll(2) takes. */
#define PLATFORM_POLLRDHUP 0x2000u
#define PLATFORM_POLL_EVENTS 0xffffu

/* O_PATH, which is not declared without _GNU_SOURCE. */
#ifdef __O_PATH
#define PLATFORM_O_PATH __O_PATH
#else
#define PLATFORM_O_PATH O_PATH
#endif

/* The variable's value, or NULL where it is unset or the process is privileged. */
PLATFORM_INLINE const char *platform_environment(const char *name) {
    return secure_getenv(name);
}

/* A number that the calling thread alone has, never 0; a fork's child keeps that of its parent. */
PLATFORM_INLINE uintptr_t platform_thread(void) {
    return (uintptr_t)__builtin_thread_pointer();
}

/*
 * Lets no signal handler run in the calling thread until what was blocked before is restored. It is the
 * system call itself, whose set is that of the kernel: 64 signals, with the two that the C library keeps
 * from pthread_sigmask(3).
 */
typedef uint64_t platform_signals;
PLATFORM_FUNCTION platform_signals platform_block_signals(void) {
    platform_signals all = ~UINT64_C(0), before = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    return before;
}
PLATFORM_FUNCTION void platform_restore_signals(platform_signals before) {
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
}

/*
 * Sleeps while the word is 0, at most so long (negative: no limit), or less: there is no moment between
 * the look at the word and the sleep (futex(2)). The call of 32 bits cuts to 68 years.
 */
PLATFORM_FUNCTION void platform_futex_wait(uint32_t *word, int64_t nanoseconds) {
    enum { WAIT = 0, PRIVATE = 128 };
#ifdef SYS_futex
    enum { CALL = SYS_futex };
    int64_t seconds = nanoseconds / 1000000000;
    long time[] = {seconds < LONG_MAX ? (long)seconds : LONG_MAX, (long)(nanoseconds % 1000000000)};
#else
    enum { CALL = SYS_futex_time64 };
    int64_t time[] = {nanoseconds / 1000000000, nanoseconds % 1000000000};
#endif
    (void)PLATFORM_CALL(syscall(CALL, word, WAIT | PRIVATE, 0, nanoseconds < 0 ? NULL : time));
}

/* Ends that sleep. The word must have been changed before. */
PLATFORM_FUNCTION void platform_futex_wake(uint32_t *word) {
    enum { WAKE = 1, PRIVATE = 128 };
#ifdef SYS_futex
    enum { CALL = SYS_futex };
#else
    enum { CALL = SYS_futex_time64 };
#endif
    (void)PLATFORM_CALL(syscall(CALL, word, WAKE | PRIVATE, 1));
}

/* Has a fork's child find zeros there; before Linux 4.14 it finds a copy. */
PLATFORM_INLINE void platform_wipe_on_fork(void *memory, size_t size) {
#ifdef MADV_WIPEONFORK
    (void)madvise(memory, size, MADV_WIPEONFORK);
#else
    (void)memory, (void)size;
#endif
}

/*
 * Whether a look at the file clears what it tells: so do mounts and the settings of the kernel in /proc,
 * and the rings of perf_event_open(2).
 */
static inline int platform_is_cleared_by_poll(int fd) {
    enum { PROC = 0x9fa0 }; /* PROC_SUPER_MAGIC */
    static const char ring[] = "anon_inode:[perf_event]";
    char path[32] = "/proc/self/fd/", name[sizeof ring], digits[12];
    int saved = errno, count = 0, length = (int)strlen(path);
    struct statfs system;
    int result = fstatfs(fd, &system) == 0 && system.f_type == PROC;
    if (result == 0) {
        do
            digits[count++] = (char)('0' + fd % 10);
        while ((fd /= 10) > 0);
        while (count > 0)
            path[length++] = digits[--count];
        path[length] = 0;
        result = readlink(path, name, sizeof name) == sizeof ring - 1 &&
                 memcmp(name, ring, sizeof ring - 1) == 0;
    }
    errno = saved;
    return result;
}
/*
 * Negative: no limit. It is the system call itself where there is one, for select(3) may be made of
 * pselect's; that of 32 bits knows no time_t of 64, and is cut to 68 years.
 */
PLATFORM_FUNCTION int platform_select(int count, void *read, void *write, void *except,
                                      int64_t microseconds) {
#if defined(SYS__newselect) || (defined(SYS_select) && __SIZEOF_LONG__ == 8)
#ifdef SYS__newselect
    enum { CALL = SYS__newselect };
#else
    enum { CALL = SYS_select };
#endif
    int64_t seconds = microseconds / 1000000;
    long time[] = {seconds < LONG_MAX ? (long)seconds : LONG_MAX, (long)(microseconds % 1000000)};
    return PLATFORM_CALL(syscall(CALL, count, read, write, except, microseconds < 0 ? NULL : time));
#else
    struct timeval time = {.tv_sec = (time_t)(microseconds / 1000000),
                           .tv_usec = (suseconds_t)(microseconds % 1000000)};
    return PLATFORM_CALL(select(count, (fd_set *)read, (fd_set *)write, (fd_set *)except,
                                microseconds < 0 ? NULL : &time));
#endif
}

PLATFORM_FUNCTION int platform_pselect(int count, void *read, void *write, void *except,
                                       const struct timespec *timeout, const sigset_t *signals) {
    return PLATFORM_CALL(
        pselect(count, (fd_set *)read, (fd_set *)write, (fd_set *)except, timeout, signals));
}

PLATFORM_FUNCTION int platform_ppoll(struct pollfd *fds, nfds_t count,
                                     const struct timespec *timeout, const sigset_t *signals) {
    return PLATFORM_CALL(ppoll(fds, count, timeout, signals));
}

/* -ENOSYS where a sandbox forbids it, and the like. */
static inline int platform_eventfd(void) {
    return PLATFORM_CALL(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

/* Neither end blocks. */
static inline int platform_pipe2(int ends[2]) {
    return PLATFORM_CALL(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
}

/* dup3 onto a number that is in use: it names the other file from then on. */
static inline int platform_replace(int fd, int number) {
    int result;
    do
        result = PLATFORM_CALL(dup3(fd, number, O_CLOEXEC));
    while (result == -EINTR);
    return result;
}

_Static_assert(sizeof(sel_backend_event) == sizeof(struct epoll_event), "as the kernel has it");
_Static_assert(offsetof(sel_backend_event, token) == offsetof(struct epoll_event, data),
               "likewise");
_Static_assert(EPOLLIN == POLLIN && EPOLLPRI == POLLPRI && EPOLLOUT == POLLOUT &&
                   EPOLLERR == POLLERR && EPOLLHUP == POLLHUP && EPOLLRDHUP == PLATFORM_POLLRDHUP &&
                   EPOLLEXCLUSIVE == SEL_MASK_EXCLUSIVE && EPOLLONESHOT == SEL_MASK_ONESHOT &&
                   EPOLLET == SEL_MASK_EDGE,
               "epoll speaks poll's bits");

static inline int platform_epoll_create(void) {
    return platform_above_streams(PLATFORM_CALL(epoll_create1(EPOLL_CLOEXEC)));
}

PLATFORM_INLINE int platform_epoll_ctl(int epfd, int operation, int fd, uint32_t mask,
                                       uint64_t token) {
    int saved = errno;
    struct epoll_event event = {.events = mask, .data = {.u64 = token}};
    return platform_result(epoll_ctl(epfd, operation, fd, &event), saved);
}

PLATFORM_FUNCTION int platform_epoll_wait(int epfd, sel_backend_event *events, int max,
                                          int timeout_ms) {
    return PLATFORM_CALL(epoll_wait(epfd, (struct epoll_event *)events, max, timeout_ms));
}

/* Likewise without a limit, and without seeing to an error: -1 then, and platform_failure() is to. */
PLATFORM_FUNCTION int platform_epoll_wait_among_threads(int epfd, sel_backend_event *events,
                                                        int max) {
    int state = platform_forbid_cancellation();
    int result = epoll_wait(epfd, (struct epoll_event *)events, max, -1);
    platform_allow_cancellation(state);
    return result;
}
PLATFORM_INLINE int platform_epoll_wait_plainly(int epfd, sel_backend_event *events, int max) {
    return platform_is_single_threaded() ? epoll_wait(epfd, (struct epoll_event *)events, max, -1)
                                         : platform_epoll_wait_among_threads(epfd, events, max);
}

PLATFORM_FUNCTION int platform_epoll_pwait2(int epfd, sel_backend_event *events, int max,
                                            const struct timespec *timeout,
                                            const sigset_t *signals) {
    if (!epoll_pwait2)
        return -ENOSYS;
    return PLATFORM_CALL(epoll_pwait2(epfd, (struct epoll_event *)events, max, timeout, signals));
}

PLATFORM_FUNCTION int platform_epoll_pwait(int epfd, sel_backend_event *events, int max,
                                           int timeout_ms, const sigset_t *signals) {
    return PLATFORM_CALL(epoll_pwait(epfd, (struct epoll_event *)events, max, timeout_ms, signals));
}

/* The tests build the library over a kqueue of their own; else there is none. */
#ifdef SELECTORS_EMULATED
#include "../../Tests/C/emulation/kqueue.h"
#include "kqueue.h"
#else
PLATFORM_INLINE int platform_has_kqueue(void) {
    return 0;
}
static inline int platform_kqueue(void) {
    return -ENOSYS;
}
static inline int platform_is_kqueue(int fd) {
    (void)fd;
    return 0;
}
static inline int platform_kevent_change(int kq, int fd, int filter, int flags, uint64_t token) {
    (void)kq, (void)fd, (void)filter, (void)flags, (void)token;
    return -ENOSYS;
}
PLATFORM_INLINE size_t platform_kevent_size(void) {
    return 0;
}
static inline int platform_kevent_wait(int kq, void *memory, int max,
                                       const struct timespec *timeout) {
    (void)kq, (void)memory, (void)max, (void)timeout;
    return -ENOSYS;
}
static inline int platform_kqueue_pselect(int kq, const struct timespec *timeout,
                                          const sigset_t *signals) {
    (void)kq, (void)timeout, (void)signals;
    return -ENOSYS;
}
static inline int platform_kqueue_refuses(int fd) {
    (void)fd;
    return -ENOSYS;
}
#endif

#endif
