/*
 * How each system call is made: a wrapper gives what the call returns, or a negative errno value, and
 * leaves errno as it was. Included by the headers of the systems.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CPLATFORM_CALL_H
#define CPLATFORM_CALL_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <sys/single_threaded.h>
#endif

/* Always inlined: a call more would show in the cost of a wait. */
#define PLATFORM_INLINE static inline __attribute__((always_inline))

/* Never inlined: there is one of it for all who call it. */
#define PLATFORM_FUNCTION static __attribute__((noinline, unused))

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

/* Whether the process has never had more than one thread. */
PLATFORM_INLINE int platform_is_single_threaded(void) {
#ifdef __GLIBC__
    return __libc_single_threaded;
#else
    return 0;
#endif
}

/*
 * The calls of this library are no cancellation points: a thread that was cancelled within one would
 * leave it locked, or lose an event. So those of the system that are, or that a libc may make so, stand
 * between these two. A process with one thread has nobody who could cancel it, and is spared both.
 */
PLATFORM_INLINE int platform_forbid_cancellation(void) {
    int state = PTHREAD_CANCEL_DISABLE;
    if (!platform_is_single_threaded())
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    return state;
}
PLATFORM_INLINE void platform_allow_cancellation(int state) {
    if (state != PTHREAD_CANCEL_DISABLE)
        pthread_setcancelstate(state, NULL);
}

/* Evaluates a system call: gives its result, or -errno, leaves errno alone, is not cancelled. */
#define PLATFORM_CALL(call)                                          \
    ({                                                               \
        int saved_ = errno, state_ = platform_forbid_cancellation(); \
        int result_ = platform_result((int)(call), saved_);          \
        platform_allow_cancellation(state_);                         \
        result_;                                                     \
    })

PLATFORM_FUNCTION int platform_close(int fd) {
    return PLATFORM_CALL(close(fd));
}

/* Gives the file a further number, at least so high; closed by exec. */
PLATFORM_FUNCTION int platform_duplicate(int fd, int lowest) {
    int result = PLATFORM_CALL(fcntl(fd, F_DUPFD_CLOEXEC, lowest));
    return result == -EINVAL ? -EMFILE : result; /* the limit is below that number */
}

/*
 * Gives a new descriptor, or passes on an error: the numbers 0 to 2 stay free, for they belong to the
 * standard streams even while these are closed.
 */
static inline int platform_above_streams(int fd) {
    if (fd < 0 || fd > 2)
        return fd;
    int moved = platform_duplicate(fd, 3);
    platform_close(fd);
    return moved;
}

/* What a kqueue tells of one filter of a descriptor. */
typedef struct platform_filter_report {
    uint64_t token;
    int fd;
    uint32_t mask;      /* in poll's bits */
    uint16_t closer;    /* poll(2) is to be asked why */
    uint16_t also_read; /* it is of the filter for writing, and there is one for reading */
} platform_filter_report;
/* What the token of a filter for writing has then: a bit that no descriptor has. */
#define PLATFORM_ALSO_READ 0x80000000u
enum {
    PLATFORM_FILTER_READ = 0,
    PLATFORM_FILTER_WRITE = 1,
    PLATFORM_KEVENT_DELETE = 0,
    PLATFORM_KEVENT_ADD = 1,
    PLATFORM_KEVENT_ADD_EDGE = 2,
};

/* Tells the compiler that this is never reached. */
__attribute__((noreturn)) PLATFORM_INLINE void platform_unreachable(void) {
    __builtin_unreachable();
}

#endif
