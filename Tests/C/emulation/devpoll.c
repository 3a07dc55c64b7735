/*
 * /dev/poll over poll(2), written from poll(4D) of illumos and from what its driver does.
 *
 * An instance is a memory file with what was written to it, so that it lives as long as it has a number.
 * open, write and ioctl of this library stand before those of libc.
 *
 * As in the driver, a file that was not ready is looked at again when that file says so. A closed number
 * is then silent, and so is the file that has it next, until it is written again. With the word "by-number"
 * in the variable EMULATION, whatever has a number is looked at, as the manual says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include "devpoll.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "emulation.h"

enum { NUMBERS = 1 << 16 };

/* The content of the file. */
struct instance {
    pid_t owner; /* 0: nobody has used it yet */
    int start;   /* where the next scan begins */
    int limit;   /* one more than the highest number that was written */
    struct entry {
        ino_t quiet; /* the file that was not ready; 0: none */
        short events;
        short is_watched;
    } entries[NUMBERS];
};

static const char name[] = "/memfd:devpoll";

static int is_devpoll(int fd) {
    char path[32], link[sizeof name];
    int saved = errno;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int result = readlink(path, link, sizeof link) >= (ssize_t)sizeof name - 1 &&
                 memcmp(link, name, sizeof name - 1) == 0;
    errno = saved;
    return result;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (strcmp(path, "/dev/poll") != 0)
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    int dp = (int)syscall(SYS_memfd_create, "devpoll", flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
    if (dp >= 0 && ftruncate(dp, sizeof(struct instance)) < 0) {
        close(dp);
        return -1;
    }
    return dp;
}

static void unmap(struct instance *instance) {
    int saved = errno;
    munmap(instance, sizeof *instance);
    errno = saved;
}

/* The instance, which the process owns from its first use on; NULL with errno. */
static struct instance *map(int dp) {
    struct instance *instance =
        mmap(NULL, sizeof *instance, PROT_READ | PROT_WRITE, MAP_SHARED, dp, 0);
    if (instance == MAP_FAILED)
        return NULL;
    if (instance->owner == 0)
        instance->owner = getpid();
    if (instance->owner == getpid())
        return instance;
    unmap(instance);
    errno = EACCES;
    return NULL;
}

static void change(struct instance *instance, const struct pollfd *wanted) {
    if (wanted->fd < 0 || wanted->fd >= NUMBERS)
        return;
    struct entry *entry = &instance->entries[wanted->fd];
    if (wanted->events == POLLREMOVE) {
        *entry = (struct entry){0, 0, 0};
        return;
    }
    entry->events |= wanted->events;
    entry->is_watched = 1;
    entry->quiet = 0;
    if (instance->limit <= wanted->fd)
        instance->limit = wanted->fd + 1;
}

ssize_t write(int fd, const void *buffer, size_t size) {
    const struct pollfd *changes = buffer;
    if (size % sizeof *changes != 0 || !is_devpoll(fd))
        return syscall(SYS_write, fd, buffer, size);
    struct instance *instance = map(fd);
    if (instance == NULL)
        return -1;
    sigset_t before = enter();
    for (size_t i = 0; i < size / sizeof *changes; i++)
        change(instance, &changes[i]);
    leave(before);
    unmap(instance);
    return (ssize_t)size;
}

static ino_t identify(int fd) {
    struct stat status;
    int saved = errno;
    ino_t result = fstat(fd, &status) == 0 ? status.st_ino : 0;
    errno = saved;
    return result;
}

static int is_looked_at(const struct entry *entry, int fd) {
    return entry->is_watched &&
           (entry->quiet == 0 || entry->quiet == identify(fd) || has_trait("by-number"));
}

/* Looks at one after another until there is no room: what is not told of has not been looked at. */
static int scan(struct instance *instance, struct dvpoll *wanted) {
    int found = 0, first = instance->start;
    for (int i = 0; i < instance->limit && found < (int)wanted->dp_nfds; i++) {
        int fd = (first + i) % instance->limit;
        struct entry *entry = &instance->entries[fd];
        struct pollfd look = {fd, entry->events, 0};
        if (!is_looked_at(entry, fd))
            continue;
        entry->quiet = poll(&look, 1, 0) == 1 ? 0 : identify(fd);
        if (entry->quiet == 0) {
            wanted->dp_fds[found++] = look;
            if (found == (int)wanted->dp_nfds)
                instance->start = fd + 1;
        }
    }
    return found;
}

/* Waits until there may be something: what a look clears is left to the scan, every 5 ms. */
static int block(struct instance *instance, int64_t left, const sigset_t *signals) {
    const int64_t soon = 5000000;
    size_t size = sizeof(struct pollfd) * (size_t)(instance->limit + 1);
    struct pollfd *fds =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fds == MAP_FAILED)
        return -1;
    nfds_t count = 0;
    for (int fd = 0; fd < instance->limit; fd++)
        if (is_looked_at(&instance->entries[fd], fd)) {
            if (is_perf_ring(fd))
                left = left < 0 || left > soon ? soon : left;
            else
                fds[count++] = (struct pollfd){fd, instance->entries[fd].events, 0};
        }
    struct timespec time = {left / 1000000000, left % 1000000000};
    int result = ppoll(fds, count, left < 0 ? NULL : &time, signals), saved = errno;
    munmap(fds, size);
    errno = saved;
    return result;
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static int wait_for(struct instance *instance, struct dvpoll *wanted, const sigset_t *signals) {
    int64_t end = now() + wanted->dp_timeout * INT64_C(1000000);
    struct timespec none = {0, 0};
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (wanted->dp_nfds >= limit.rlim_cur) {
        errno = EINVAL;
        return -1;
    }
    /* A signal comes before what is ready. */
    if (signals != NULL && ppoll(NULL, 0, &none, signals) < 0)
        return -1;
    for (;;) {
        sigset_t before = enter();
        int found = scan(instance, wanted);
        leave(before);
        int64_t left = wanted->dp_timeout < 0 ? -1 : end - now();
        if (found > 0 || wanted->dp_timeout == 0 || (wanted->dp_timeout > 0 && left <= 0))
            return found;
        if (block(instance, left, signals) < 0)
            return -1;
    }
}

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if ((request != DP_POLL && request != DP_PPOLL && request != DP_ISPOLLED) || !is_devpoll(fd))
        return (int)syscall(SYS_ioctl, fd, request, argument);
    struct instance *instance = map(fd);
    if (instance == NULL)
        return -1;
    int result;
    if (request == DP_ISPOLLED) {
        struct pollfd *asked = argument;
        result = asked->fd >= 0 && asked->fd < NUMBERS && instance->entries[asked->fd].is_watched;
        if (result != 0)
            asked->revents = instance->entries[asked->fd].events;
    } else {
        struct dvpoll *wanted = argument;
        result = wait_for(instance, wanted, request == DP_PPOLL ? wanted->dp_setp : NULL);
    }
    unmap(instance);
    return result;
}
