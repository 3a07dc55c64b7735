/*
 * kqueue(2), for bsd.h, whose <sys/event.h> has a struct kevent of 32, 40 or 64 bytes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CPLATFORM_KQUEUE_H
#define CPLATFORM_KQUEUE_H

#include <string.h>
#include <sys/stat.h>

PLATFORM_INLINE int platform_has_kqueue(void) {
    return 1;
}

_Static_assert(sizeof(((struct kevent *)0)->udata) >= sizeof(uint64_t), "a token fits into udata");

/* Closed by exec; not inherited by fork. */
static inline int platform_kqueue(void) {
    int kq = platform_above_streams(PLATFORM_CALL(kqueue()));
    if (kq >= 0)
        (void)PLATFORM_CALL(fcntl(kq, F_SETFD, FD_CLOEXEC));
    return kq;
}

static inline int platform_is_kqueue(int fd) {
    return PLATFORM_CALL(kevent(fd, NULL, 0, NULL, 0, NULL)) == 0;
}

/* Makes one change, as PLATFORM_KEVENT_... says. EINTR comes after it was made. */
static inline int platform_kevent_change(int kq, int fd, int filter, int how, uint64_t token) {
    struct kevent change;
    unsigned flags = how == PLATFORM_KEVENT_DELETE ? EV_DELETE
                     : how == PLATFORM_KEVENT_ADD  ? EV_ADD
                                                   : EV_ADD | EV_CLEAR;
    /* clang-format off */
    EV_SET(&change, (uintptr_t)fd, filter == PLATFORM_FILTER_READ ? EVFILT_READ : EVFILT_WRITE,
           (uint16_t)flags, 0, 0, (void *)(uintptr_t)token);
    /* clang-format on */
    int result = PLATFORM_CALL(kevent(kq, &change, 1, NULL, 0, NULL));
    return result == -EINTR ? 0 : result;
}

/* The size of what platform_kevent_wait() needs for each report. */
PLATFORM_INLINE size_t platform_kevent_size(void) {
    return sizeof(struct kevent);
}

/*
 * Takes at most so many reports, one for each filter, in memory for as many events, which it turns into
 * reports in place: these are smaller.
 */
static inline int platform_kevent_wait(int kq, void *memory, int max,
                                       const struct timespec *timeout) {
    _Static_assert(sizeof(platform_filter_report) <= sizeof(struct kevent), "from front to back");
    int count = PLATFORM_CALL(kevent(kq, NULL, 0, (struct kevent *)memory, max, timeout));
    for (int i = 0; i < count; i++) {
        struct kevent event;
        struct stat status;
        memcpy(&event, (char *)memory + (size_t)i * sizeof event, sizeof event);
        int is_read = event.filter == EVFILT_READ, is_end = (event.flags & EV_EOF) != 0;
        uint64_t token = (uint64_t)(uintptr_t)event.udata;
        platform_filter_report report = {
            .token = is_read ? token : token & ~(uint64_t)PLATFORM_ALSO_READ,
            .fd = (int)event.ident,
            .mask = is_read ? POLLIN : POLLOUT,
            /* A pending error makes both filters ready, of which only one or none says so. */
            .closer = is_end || (is_read && event.data == 0),
            .also_read = !is_read && (token & PLATFORM_ALSO_READ) != 0};
        /* A pipe has but one end to hang up. */
        if (is_read && is_end && PLATFORM_CALL(fstat(report.fd, &status)) == 0 &&
            (status.st_mode & S_IFMT) == S_IFSOCK)
            report.mask |= PLATFORM_POLLRDHUP;
        memcpy((char *)memory + (size_t)i * sizeof report, &report, sizeof report);
    }
    return count;
}

/* Waits with other signals until the kqueue has something; -ENOSYS where that cannot be done. */
static inline int platform_kqueue_pselect(int kq, const struct timespec *timeout,
                                          const sigset_t *signals) {
    struct pollfd look = {.fd = kq, .events = POLLIN, .revents = 0};
    int result = platform_ppoll(&look, 1, timeout, signals);
    if (result != -ENOSYS)
        return result;
    /* pselect, whose set reaches to the number. */
    enum { BITS = 8 * sizeof(long) };
    size_t words = (size_t)kq / BITS + 1;
    unsigned long *set = (unsigned long *)calloc(words, sizeof *set);
    if (set == NULL)
        return -ENOMEM;
    set[words - 1] |= 1ul << ((size_t)kq % BITS);
    result = platform_pselect(kq + 1, set, NULL, NULL, timeout, signals);
    free(set);
    return result;
}

/* -EPERM for what no filter tells the readiness of as poll(2) does; -EBADF; else 0. */
static inline int platform_kqueue_refuses(int fd) {
    struct stat status;
    int result = PLATFORM_CALL(fstat(fd, &status));
    if (result < 0)
        return result;
    int type = status.st_mode & S_IFMT;
    return type == S_IFREG || type == S_IFDIR || type == S_IFCHR || type == S_IFBLK ? -EPERM : 0;
}

#endif
