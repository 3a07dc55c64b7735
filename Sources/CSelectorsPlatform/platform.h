/*
 * The system as the Swift sources see it: headers that `import Glibc` lacks, and one thin inline
 * wrapper for each system call that can fail.
 *
 * A wrapper returns what the call returns, or a negative errno value, and leaves errno as it was.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CPLATFORM_H
#define CPLATFORM_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "../../include/selectors_plugin.h"

#ifdef __linux__
#include <sys/epoll.h>
#include <sys/eventfd.h>
#endif

/* Always inlined: a call more would show in the cost of a wait. */
#define PLATFORM_INLINE static inline __attribute__((always_inline))

/*
 * _GNU_SOURCE must not be defined here: it changes types that Swift's own Glibc module has already
 * seen. What it would declare is declared by hand.
 */
#ifdef __linux__
int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
int dup3(int, int, int);
char *secure_getenv(const char *);
/* glibc 2.35 has it; weak, so that the library also loads where it is missing. */
extern int epoll_pwait2(int, struct epoll_event *, int, const struct timespec *, const sigset_t *)
    __attribute__((weak));
#endif

/* POLLRDHUP, which is Linux's; elsewhere no bit stands for it. */
#ifdef __linux__
#define PLATFORM_POLLRDHUP 0x2000u
#else
#define PLATFORM_POLLRDHUP 0u
#endif

/* Swift would see the macro as a String. */
PLATFORM_INLINE const char *platform_version(void) {
    return SEL_VERSION_STRING;
}

PLATFORM_INLINE int platform_errno(void) {
    return errno;
}
PLATFORM_INLINE void platform_set_errno(int value) {
    errno = value;
}

/* -errno, with errno as `saved` again. Not inlined, so that nothing is kept for it in registers. */
static __attribute__((noinline, cold, unused)) int platform_failure(int saved) {
    int result = -errno;
    errno = saved;
    return result;
}

/* Turns the result of a system call into its own or -errno, with errno as `saved` again. */
PLATFORM_INLINE int platform_result(int result, int saved) {
    return result < 0 ? platform_failure(saved) : result;
}

/* The variable's value, or NULL where it is unset or the process is privileged. */
PLATFORM_INLINE const char *platform_environment(const char *name) {
#ifdef __linux__
    return secure_getenv(name);
#else
    return issetugid() ? NULL : getenv(name);
#endif
}

/*
 * What calloc and strdup return; errno stays as it was without memory, too. It is volatile because
 * the compiler thinks that these leave it alone.
 */
PLATFORM_INLINE void *platform_calloc(size_t count, size_t size) {
    int saved = errno;
    void *memory = calloc(count, size);
    *(volatile int *)&errno = saved;
    return memory;
}
PLATFORM_INLINE char *platform_strdup(const char *text) {
    int saved = errno;
    char *copy = strdup(text);
    *(volatile int *)&errno = saved;
    return copy;
}

/* 0 if fd is open, else -EBADF. */
PLATFORM_INLINE int platform_check_open(int fd) {
    int saved = errno;
    int result = platform_result(fcntl(fd, F_GETFD), saved);
    return result < 0 ? result : 0;
}

/*
 * The low (0) or the high half (1) of a token. They are loaded apart, which takes fewer instructions
 * than to load it and to take it apart.
 */
PLATFORM_INLINE uint32_t platform_token_half(const sel_backend_event *event, int which) {
    uint32_t half;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    which = 1 - which;
#endif
    memcpy(&half, (const char *)event + offsetof(sel_backend_event, token) + 4 * which,
           sizeof half);
    return half;
}

/*
 * Weak, so that a program can be linked statically, where there is no loader, and so that libdl is
 * not needed where these are not libc's.
 */
extern __typeof__(dlopen) dlopen __attribute__((weak));
extern __typeof__(dlsym) dlsym __attribute__((weak));
extern __typeof__(dlerror) dlerror __attribute__((weak));

/* Tells whether the program can load libraries. */
PLATFORM_INLINE int platform_can_load(void) {
    return dlopen && dlsym && dlerror;
}

/* Loads a library for good, and gives its handle; NULL, with the loader's words in *error. */
PLATFORM_INLINE void *platform_load(const char *path, const char **error) {
    int saved = errno;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    *error = handle ? NULL : dlerror();
    errno = saved;
    return handle;
}

/* The plug-in's function in a library, or NULL. */
PLATFORM_INLINE sel_plugin_entry *platform_find_entry(void *handle) {
    void *found = dlsym(handle, "sel_plugin");
    sel_plugin_entry *entry;
    memcpy(&entry, &found, sizeof entry);
    return entry;
}

PLATFORM_INLINE int platform_close(int fd) {
    int saved = errno;
    return platform_result(close(fd), saved);
}

/* CLOCK_MONOTONIC in nanoseconds: the clock that the timeouts of all backends run on. */
PLATFORM_INLINE int64_t platform_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A condition variable whose waits can end by the monotonic clock. */
static inline void platform_cond_init(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
#ifdef __linux__
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Waits for at most that many nanoseconds; negative: no limit. */
static inline void platform_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                      int64_t nanoseconds) {
    if (nanoseconds < 0) {
        pthread_cond_wait(condition, mutex);
        return;
    }
#ifdef __linux__
    int64_t now = platform_now();
    int64_t end = nanoseconds > INT64_MAX - now ? INT64_MAX : now + nanoseconds;
    struct timespec time = {end / 1000000000, end % 1000000000};
    pthread_cond_timedwait(condition, mutex, &time);
#else
    struct timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    pthread_cond_timedwait_relative_np(condition, mutex, &time);
#endif
}

PLATFORM_INLINE int platform_poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    int saved = errno;
    return platform_result(poll(fds, count, timeout_ms), saved);
}

PLATFORM_INLINE int platform_select(int count, void *read, void *write, void *except,
                                    struct timeval *timeout) {
    int saved = errno;
    return platform_result(
        select(count, (fd_set *)read, (fd_set *)write, (fd_set *)except, timeout), saved);
}

PLATFORM_INLINE int platform_pselect(int count, void *read, void *write, void *except,
                                     const struct timespec *timeout, const sigset_t *signals) {
    int saved = errno;
    return platform_result(
        pselect(count, (fd_set *)read, (fd_set *)write, (fd_set *)except, timeout, signals), saved);
}

/* Lets in the signals that are pending and not in the mask: -EINTR if one was handled, else 0. */
PLATFORM_INLINE int platform_take_signals(const sigset_t *signals) {
    struct timespec time = {0, 0};
    return platform_pselect(0, NULL, NULL, NULL, &time, signals);
}

#ifdef __linux__

_Static_assert(sizeof(sel_backend_event) == sizeof(struct epoll_event), "as the kernel has it");
_Static_assert(offsetof(sel_backend_event, token) == offsetof(struct epoll_event, data),
               "likewise");
_Static_assert(EPOLLIN == POLLIN && EPOLLPRI == POLLPRI && EPOLLOUT == POLLOUT &&
                   EPOLLERR == POLLERR && EPOLLHUP == POLLHUP && EPOLLRDHUP == PLATFORM_POLLRDHUP &&
                   EPOLLEXCLUSIVE == SEL_MASK_EXCLUSIVE && EPOLLET == SEL_MASK_EDGE,
               "epoll speaks poll's bits");

PLATFORM_INLINE int platform_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                                   const sigset_t *signals) {
    int saved = errno;
    return platform_result(ppoll(fds, count, timeout, signals), saved);
}

PLATFORM_INLINE int platform_epoll_create(void) {
    int saved = errno;
    return platform_result(epoll_create1(EPOLL_CLOEXEC), saved);
}

#define PLATFORM_EPOLL_ADD EPOLL_CTL_ADD
#define PLATFORM_EPOLL_REMOVE EPOLL_CTL_DEL

PLATFORM_INLINE int platform_epoll_ctl(int epfd, int operation, int fd, uint32_t mask,
                                       uint64_t token) {
    int saved = errno;
    struct epoll_event event = {.events = mask, .data = {.u64 = token}};
    return platform_result(epoll_ctl(epfd, operation, fd, &event), saved);
}

PLATFORM_INLINE int platform_epoll_wait(int epfd, sel_backend_event *events, int max,
                                        int timeout_ms) {
    int saved = errno;
    return platform_result(epoll_wait(epfd, (struct epoll_event *)events, max, timeout_ms), saved);
}

/* Likewise without a limit, and without seeing to an error: -1 then, and platform_failure() is to. */
PLATFORM_INLINE int platform_epoll_wait_plainly(int epfd, sel_backend_event *events, int max) {
    return epoll_wait(epfd, (struct epoll_event *)events, max, -1);
}

PLATFORM_INLINE int platform_epoll_pwait2(int epfd, sel_backend_event *events, int max,
                                          const struct timespec *timeout, const sigset_t *signals) {
    if (!epoll_pwait2)
        return -ENOSYS;
    int saved = errno;
    return platform_result(epoll_pwait2(epfd, (struct epoll_event *)events, max, timeout, signals),
                           saved);
}

PLATFORM_INLINE int platform_epoll_pwait(int epfd, sel_backend_event *events, int max,
                                         int timeout_ms, const sigset_t *signals) {
    int saved = errno;
    return platform_result(
        epoll_pwait(epfd, (struct epoll_event *)events, max, timeout_ms, signals), saved);
}

/* A descriptor that platform_wakeup_write makes readable, and platform_wakeup_drain unreadable. */
PLATFORM_INLINE int platform_wakeup_open(void) {
    int saved = errno;
    return platform_result(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), saved);
}

PLATFORM_INLINE int platform_wakeup_write(int fd) {
    int saved = errno, result;
    uint64_t one = 1;
    do
        result = platform_result((int)write(fd, &one, sizeof one), saved);
    while (result == -EINTR);
    return result < 0 && result != -EAGAIN ? result : 0; /* EAGAIN: it is readable already */
}

PLATFORM_INLINE void platform_wakeup_drain(int fd) {
    int saved = errno;
    uint64_t count;
    platform_result((int)read(fd, &count, sizeof count), saved);
}

/* dup3 onto a number that is in use: it names the other file from then on. */
PLATFORM_INLINE int platform_replace(int fd, int number) {
    int saved = errno, result;
    do
        result = platform_result(dup3(fd, number, O_CLOEXEC), saved);
    while (result == -EINTR);
    return result;
}

#else

#define PLATFORM_EPOLL_ADD 0
#define PLATFORM_EPOLL_REMOVE 0

PLATFORM_INLINE int platform_epoll_ctl(int epfd, int operation, int fd, uint32_t mask,
                                       uint64_t token) {
    (void)epfd, (void)operation, (void)fd, (void)mask, (void)token;
    return -ENOSYS;
}

PLATFORM_INLINE int platform_epoll_wait_plainly(int epfd, sel_backend_event *events, int max) {
    (void)epfd, (void)events, (void)max;
    errno = ENOSYS;
    return -1;
}

/* No ppoll: its callers fall back to poll, in milliseconds. */
PLATFORM_INLINE int platform_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                                   const sigset_t *signals) {
    (void)fds, (void)count, (void)timeout, (void)signals;
    return -ENOSYS;
}

#endif

#endif
