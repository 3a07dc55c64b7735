/*
 * /dev/poll, of Solaris and illumos: poll(4D). The tests build the library over one of their own; no other
 * system has it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CPLATFORM_DEVPOLL_H
#define CPLATFORM_DEVPOLL_H

#ifdef SELECTORS_EMULATED
#include "../../Tests/C/emulation/devpoll.h"
#endif

PLATFORM_INLINE int platform_has_devpoll(void) {
#ifdef DP_POLL
    return 1;
#else
    return 0;
#endif
}

/* Closed by exec; of no use to a fork's child. */
static inline int platform_devpoll(void) {
    int dp = PLATFORM_CALL(open("/dev/poll", O_RDWR | O_CLOEXEC));
#ifndef DP_POLL
    if (dp >= 0) {
        platform_close(dp);
        dp = -ENODEV;
    }
#endif
    return platform_above_streams(dp);
}

#ifdef DP_POLL
/* In a fork's child that of the parent is as good as closed. */
static inline int platform_devpoll_result(int result) {
    return result == -EACCES ? -EBADF : result;
}

/* Watches a descriptor for events that replace those of before, or no longer (-1). */
static inline int platform_devpoll_write(int dp, int fd, int events) {
    struct pollfd changes[2] = {{.fd = fd, .events = POLLREMOVE, .revents = 0},
                                {.fd = fd, .events = (short)events, .revents = 0}};
    int result;
    do /* EINTR comes before anything has changed */
        result = PLATFORM_CALL(write(dp, changes, events < 0 ? sizeof changes[0] : sizeof changes));
    while (result == -EINTR);
    return platform_devpoll_result(result);
}

static inline int platform_devpoll_wait(int dp, struct pollfd *reports, int max, int timeout_ms,
                                        const sigset_t *signals) {
    struct dvpoll wanted = {.dp_fds = reports, .dp_nfds = (nfds_t)max, .dp_timeout = timeout_ms};
    wanted.dp_setp = (sigset_t *)signals;
    return platform_devpoll_result(
        PLATFORM_CALL(ioctl(dp, signals != NULL ? DP_PPOLL : DP_POLL, &wanted)));
}
#else
static inline int platform_devpoll_write(int dp, int fd, int events) {
    (void)dp, (void)fd, (void)events;
    return -ENODEV;
}
static inline int platform_devpoll_wait(int dp, struct pollfd *reports, int max, int timeout_ms,
                                        const sigset_t *signals) {
    (void)dp, (void)reports, (void)max, (void)timeout_ms, (void)signals;
    return -ENODEV;
}
#endif

#endif
