/*
 * macOS, FreeBSD, NetBSD and OpenBSD.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CPLATFORM_BSD_H
#define CPLATFORM_BSD_H

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/event.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>

#if defined(__FreeBSD__)
#include <sys/types.h>
#include <sys/umtx.h>
#elif defined(__NetBSD__)
#include <sys/futex.h>
#include <sys/syscall.h>
#elif defined(__OpenBSD__)
#include <sys/futex.h>
#endif

#include "../../include/selectors_plugin.h"
#include "call.h"

/* The engine's bit for "the peer will send no more". poll(2) is asked for the other three alone. */
#define PLATFORM_POLLRDHUP 0x2000u
#define PLATFORM_POLL_EVENTS 7u
_Static_assert((POLLIN | POLLPRI | POLLOUT) == PLATFORM_POLL_EVENTS, "as all of these have it");

/* Linux's for a library that cannot be loaded. */
#define ELIBACC ENOEXEC

#ifdef O_PATH
#define PLATFORM_O_PATH O_PATH
#else
#define PLATFORM_O_PATH 0
#endif

/* The variable's value, or NULL where it is unset or the process is privileged. */
PLATFORM_INLINE const char *platform_environment(const char *name) {
    return issetugid() ? NULL : getenv(name);
}

/* A number that the calling thread alone has, never 0; a fork's child keeps that of its parent. */
PLATFORM_INLINE uintptr_t platform_thread(void) {
    return (uintptr_t)pthread_self();
}

/* Has a fork's child find zeros there; a copy on macOS, which has no such thing. */
PLATFORM_INLINE void platform_wipe_on_fork(void *memory, size_t size) {
#if defined(INHERIT_ZERO)
    (void)minherit(memory, size, INHERIT_ZERO);
#elif defined(MAP_INHERIT_ZERO)
    (void)minherit(memory, size, MAP_INHERIT_ZERO);
#else
    (void)memory, (void)size;
#endif
}

/* Whether a look at the file clears what it tells: that is not known of any file here. */
static inline int platform_is_cleared_by_poll(int fd) {
    (void)fd;
    return 0;
}

/* Cuts a wait to what every system takes, 100 000 000 seconds: the engine waits on. */
enum { PLATFORM_LONGEST_WAIT = 100000000 };
static inline const struct timespec *platform_cut(const struct timespec *time,
                                                  struct timespec *copy) {
    if (time == NULL || time->tv_sec < PLATFORM_LONGEST_WAIT)
        return time;
    *copy = (struct timespec){PLATFORM_LONGEST_WAIT, 0};
    return copy;
}

/* Lets no signal handler run in the calling thread until what was blocked before is restored. */
typedef sigset_t platform_signals;
PLATFORM_FUNCTION platform_signals platform_block_signals(void) {
    platform_signals all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    return before;
}
PLATFORM_FUNCTION void platform_restore_signals(platform_signals before) {
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

#ifdef __APPLE__
/* <os/os_sync_wait_on_address.h>, of macOS 14.4, which not every SDK has. */
extern int os_sync_wait_on_address(void *, uint64_t, size_t, uint32_t);
extern int os_sync_wait_on_address_with_timeout(void *, uint64_t, size_t, uint32_t, uint32_t,
                                                uint64_t);
extern int os_sync_wake_by_address_any(void *, size_t, uint32_t);
#endif

/*
 * Sleeps while the word is 0, at most so long (negative: no limit), or less: there is no moment between
 * the look at the word and the sleep. os_sync_wait_on_address(3), _umtx_op(2), futex(2).
 */
PLATFORM_FUNCTION void platform_futex_wait(uint32_t *word, int64_t nanoseconds) {
#ifdef __APPLE__
    enum { OF_MACH_TIME = 32 };
    (void)PLATFORM_CALL(nanoseconds < 0
                            ? os_sync_wait_on_address(word, 0, sizeof *word, 0)
                            : os_sync_wait_on_address_with_timeout(
                                  word, 0, sizeof *word, 0, OF_MACH_TIME, (uint64_t)nanoseconds));
#else
    struct timespec time = {(time_t)(nanoseconds / 1000000000), nanoseconds % 1000000000}, copy;
    const struct timespec *limit = nanoseconds < 0 ? NULL : platform_cut(&time, &copy);
#if defined(__FreeBSD__)
    (void)PLATFORM_CALL(_umtx_op(word, UMTX_OP_WAIT_UINT_PRIVATE, 0,
                                 (void *)(limit == NULL ? 0 : sizeof *limit), (void *)limit));
#elif defined(__NetBSD__)
    (void)PLATFORM_CALL(
        syscall(SYS___futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, limit, NULL, 0, 0));
#else
    (void)PLATFORM_CALL(futex(word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, limit, NULL));
#endif
#endif
}

/* Ends that sleep. The word must have been changed before. */
PLATFORM_FUNCTION void platform_futex_wake(uint32_t *word) {
#if defined(__APPLE__)
    (void)PLATFORM_CALL(os_sync_wake_by_address_any(word, sizeof *word, 0));
#elif defined(__FreeBSD__)
    (void)PLATFORM_CALL(_umtx_op(word, UMTX_OP_WAKE_PRIVATE, 1, NULL, NULL));
#elif defined(__NetBSD__)
    (void)PLATFORM_CALL(
        syscall(SYS___futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0, 0));
#else
    (void)PLATFORM_CALL(futex(word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL));
#endif
}

/* Those of macOS that take numbers from FD_SETSIZE on. */
#ifdef __APPLE__
extern int platform_select_any(int, void *, void *, void *,
                               struct timeval *) __asm("_select$DARWIN_EXTSN");
extern int platform_pselect_any(int, void *, void *, void *, const struct timespec *,
                                const sigset_t *) __asm("_pselect$DARWIN_EXTSN");
#else
#define platform_select_any(count, read, write, except, timeout) \
    select(count, (fd_set *)(read), (fd_set *)(write), (fd_set *)(except), timeout)
#define platform_pselect_any(count, read, write, except, timeout, signals) \
    pselect(count, (fd_set *)(read), (fd_set *)(write), (fd_set *)(except), timeout, signals)
#endif

/* Negative: no limit. */
PLATFORM_FUNCTION int platform_select(int count, void *read, void *write, void *except,
                                      int64_t microseconds) {
    struct timeval time = {PLATFORM_LONGEST_WAIT, 0};
    if (microseconds / 1000000 < PLATFORM_LONGEST_WAIT) {
        time.tv_sec = (time_t)(microseconds / 1000000);
        time.tv_usec = (suseconds_t)(microseconds % 1000000);
    }
    return PLATFORM_CALL(
        platform_select_any(count, read, write, except, microseconds < 0 ? NULL : &time));
}

PLATFORM_FUNCTION int platform_pselect(int count, void *read, void *write, void *except,
                                       const struct timespec *timeout, const sigset_t *signals) {
    struct timespec copy;
    return PLATFORM_CALL(
        platform_pselect_any(count, read, write, except, platform_cut(timeout, &copy), signals));
}

/* -ENOSYS on macOS: its callers fall back to poll, in milliseconds. */
PLATFORM_FUNCTION int platform_ppoll(struct pollfd *fds, nfds_t count,
                                     const struct timespec *timeout, const sigset_t *signals) {
#ifdef __APPLE__
    (void)fds, (void)count, (void)timeout, (void)signals;
    return -ENOSYS;
#else
    struct timespec copy;
#ifdef __NetBSD__ /* where ppoll is younger */
    return PLATFORM_CALL(pollts(fds, count, platform_cut(timeout, &copy), signals));
#else
    return PLATFORM_CALL(ppoll(fds, count, platform_cut(timeout, &copy), signals));
#endif
#endif
}

/* A pipe does it on all of these. */
static inline int platform_eventfd(void) {
    return -ENOSYS;
}

/* macOS makes no descriptor that exec closes in one step: a child of a fork in between keeps it. */
#ifdef __APPLE__
static inline int platform_close_on_exec(int fd) {
    return PLATFORM_CALL(fcntl(fd, F_SETFD, FD_CLOEXEC));
}
#endif

/* Neither end blocks. */
static inline int platform_pipe2(int ends[2]) {
#ifdef __APPLE__
    int result = PLATFORM_CALL(pipe(ends));
    for (int i = 0; result >= 0 && i < 2; i++) {
        platform_close_on_exec(ends[i]);
        PLATFORM_CALL(fcntl(ends[i], F_SETFL, O_NONBLOCK));
    }
    return result;
#else
    return PLATFORM_CALL(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
#endif
}

/* dup2 onto a number that is in use: it names the other file from then on, and exec closes it. */
static inline int platform_replace(int fd, int number) {
    int result;
    do
#ifdef __APPLE__
        result = PLATFORM_CALL(dup2(fd, number));
    while (result == -EINTR);
    if (result >= 0)
        platform_close_on_exec(number);
#else
        result = PLATFORM_CALL(dup3(fd, number, O_CLOEXEC));
    while (result == -EINTR);
#endif
    return result;
}

/* No epoll: its probe says so, and nothing else is ever called. */
#define EPOLL_CTL_ADD 1
#define EPOLL_CTL_DEL 2
#define EPOLL_CTL_MOD 3
static inline int platform_epoll_create(void) {
    return -ENOSYS;
}
static inline int platform_epoll_ctl(int epfd, int operation, int fd, uint32_t mask,
                                     uint64_t token) {
    (void)epfd, (void)operation, (void)fd, (void)mask, (void)token;
    return -ENOSYS;
}
static inline int platform_epoll_wait(int epfd, sel_backend_event *events, int max,
                                      int timeout_ms) {
    (void)epfd, (void)events, (void)max, (void)timeout_ms;
    return -ENOSYS;
}
static inline int platform_epoll_wait_plainly(int epfd, sel_backend_event *events, int max) {
    (void)epfd, (void)events, (void)max;
    errno = ENOSYS;
    return -1;
}
static inline int platform_epoll_pwait2(int epfd, sel_backend_event *events, int max,
                                        const struct timespec *timeout, const sigset_t *signals) {
    (void)epfd, (void)events, (void)max, (void)timeout, (void)signals;
    return -ENOSYS;
}
static inline int platform_epoll_pwait(int epfd, sel_backend_event *events, int max, int timeout_ms,
                                       const sigset_t *signals) {
    (void)epfd, (void)events, (void)max, (void)timeout_ms, (void)signals;
    return -ENOSYS;
}

#include "kqueue.h"

#endif
