/*
 * inject.c - stands between the library and libc, and makes calls fail as planned.
 *
 * A program's functions come before those of libc, so libselectors.so calls the ones here. Each
 * passes on what the program itself asks for, which is told by the return address.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "faults.h"

#include <dlfcn.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <unistd.h>

struct plan *plan;
_Thread_local bool came_upon_fault;

static uintptr_t library_begin, library_end;

/* What libc has under these names. */
static struct {
    __typeof__(&epoll_create1) epoll_create1;
    __typeof__(&epoll_ctl) epoll_ctl;
    __typeof__(&epoll_wait) epoll_wait;
    __typeof__(&epoll_pwait) epoll_pwait;
    __typeof__(&epoll_pwait2) epoll_pwait2;
    __typeof__(&poll) poll;
    __typeof__(&ppoll) ppoll;
    __typeof__(&select) select;
    __typeof__(&pselect) pselect;
    __typeof__(&eventfd) eventfd;
    __typeof__(&dup3) dup3;
    __typeof__(&read) read;
    __typeof__(&write) write;
    __typeof__(&close) close;
    __typeof__(&pthread_setspecific) pthread_setspecific;
    __typeof__(&pthread_cond_wait) pthread_cond_wait;
    __typeof__(&pthread_cond_timedwait) pthread_cond_timedwait;
} next;

/* dlsym(3) would find the oldest version of a function that has several. */
static void *find_version(const char *name) {
    void *found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    return found != NULL ? found : dlsym(RTLD_NEXT, name);
}

static int find_library(struct dl_phdr_info *object, size_t size, void *inside) {
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        uintptr_t begin = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
        uintptr_t end = begin + object->dlpi_phdr[i].p_memsz;
        if (object->dlpi_phdr[i].p_type == PT_LOAD && (object->dlpi_phdr[i].p_flags & PF_X) &&
            (uintptr_t)inside >= begin && (uintptr_t)inside < end) {
            library_begin = begin;
            library_end = end;
            return 1;
        }
    }
    return 0;
}

#define FIND(name) (*(void **)&next.name = dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void find_all(void) {
    FIND(epoll_create1);
    FIND(epoll_ctl);
    FIND(epoll_wait);
    FIND(epoll_pwait);
    FIND(epoll_pwait2);
    FIND(poll);
    FIND(ppoll);
    FIND(select);
    FIND(pselect);
    FIND(eventfd);
    FIND(dup3);
    FIND(read);
    FIND(write);
    FIND(close);
    FIND(pthread_setspecific);
    *(void **)&next.pthread_cond_wait = find_version("pthread_cond_wait");
    *(void **)&next.pthread_cond_timedwait = find_version("pthread_cond_timedwait");
    dl_iterate_phdr(find_library, dlsym(RTLD_NEXT, "sel_open"));
}

static bool fails(enum function function, const void *caller) {
    int number;
    if (plan == NULL || (uintptr_t)caller < library_begin || (uintptr_t)caller >= library_end)
        return false;
    if (plan->is_old && (function == EPOLL_PWAIT2 || function == PPOLL || function == PSELECT)) {
        errno = ENOSYS;
        return true;
    }
    number = atomic_fetch_add(&plan->calls[function], 1) + 1;
    if (function != plan->function || number < plan->first || atomic_load(&plan->is_over) ||
        (plan->span == ONCE && number != plan->first))
        return false;
    atomic_fetch_add(&plan->failures, 1);
    came_upon_fault = true;
    if (plan->error != 0)
        errno = plan->error;
    return true;
}

#define FAILS(function) fails(function, __builtin_return_address(0))

/* Of malloc and memset the compiler would make calloc. */
void *calloc(size_t count, size_t size) {
    void *memory = FAILS(CALLOC) ? NULL : reallocarray(NULL, count, size);
    return memory == NULL ? NULL : memset(memory, 0, count * size);
}

int epoll_create1(int flags) {
    return FAILS(EPOLL_CREATE1) ? -1 : next.epoll_create1(flags);
}

int epoll_ctl(int epfd, int operation, int fd, struct epoll_event *event) {
    static const enum function functions[] = {[EPOLL_CTL_ADD] = EPOLL_CTL_ADD_,
                                              [EPOLL_CTL_MOD] = EPOLL_CTL_MOD_,
                                              [EPOLL_CTL_DEL] = EPOLL_CTL_DEL_};
    return FAILS(functions[operation]) ? -1 : next.epoll_ctl(epfd, operation, fd, event);
}

/*
 * A wait is interrupted before anything has happened, or not at all: so the first thing is to look,
 * and what is ready is no fault.
 */
static int interrupt(int ready) {
    if (ready == 0) {
        errno = EINTR;
        return -1;
    }
    atomic_fetch_sub(&plan->failures, 1);
    came_upon_fault = false;
    return ready;
}

#define WAIT(function, wait, look)                    \
    do {                                              \
        if (!FAILS(function))                         \
            return wait;                              \
        return errno == EINTR ? interrupt(look) : -1; \
    } while (0)

static const struct timespec no_time;

int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout) {
    WAIT(EPOLL_WAIT, next.epoll_wait(epfd, events, max, timeout),
         next.epoll_wait(epfd, events, max, 0));
}

int epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout, const sigset_t *mask) {
    WAIT(EPOLL_PWAIT, next.epoll_pwait(epfd, events, max, timeout, mask),
         next.epoll_wait(epfd, events, max, 0));
}

int epoll_pwait2(int epfd, struct epoll_event *events, int max, const struct timespec *timeout,
                 const sigset_t *mask) {
    WAIT(EPOLL_PWAIT2, next.epoll_pwait2(epfd, events, max, timeout, mask),
         next.epoll_wait(epfd, events, max, 0));
}

int poll(struct pollfd *fds, nfds_t count, int timeout) {
    WAIT(POLL, next.poll(fds, count, timeout), next.poll(fds, count, 0));
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    WAIT(PPOLL, next.ppoll(fds, count, timeout, mask), next.poll(fds, count, 0));
}

int select(int count, fd_set *readable, fd_set *writable, fd_set *urgent, struct timeval *timeout) {
    WAIT(SELECT, next.select(count, readable, writable, urgent, timeout),
         next.pselect(count, readable, writable, urgent, &no_time, NULL));
}

int pselect(int count, fd_set *readable, fd_set *writable, fd_set *urgent,
            const struct timespec *timeout, const sigset_t *mask) {
    WAIT(PSELECT, next.pselect(count, readable, writable, urgent, timeout, mask),
         next.pselect(count, readable, writable, urgent, &no_time, NULL));
}

int eventfd(unsigned int count, int flags) {
    return FAILS(EVENTFD) ? -1 : next.eventfd(count, flags);
}

int dup3(int old, int new, int flags) {
    return FAILS(DUP3) ? -1 : next.dup3(old, new, flags);
}

/* EAGAIN tells that nothing is there (any more), or that no more fits: so it has to be. */

ssize_t read(int fd, void *buffer, size_t size) {
    bool failed = FAILS(READ);
    if (!failed || errno == EAGAIN) {
        ssize_t result = next.read(fd, buffer, size);
        if (!failed)
            return result;
        errno = EAGAIN;
    }
    return -1;
}

ssize_t write(int fd, const void *buffer, size_t size) {
    bool failed = FAILS(WRITE);
    if (!failed || errno == EAGAIN) {
        ssize_t result = next.write(fd, buffer, size);
        if (!failed)
            return result;
        errno = EAGAIN;
    }
    return -1;
}

/* The descriptor is gone, whatever close(2) says. */
int close(int fd) {
    int result = next.close(fd);
    return FAILS(CLOSE) ? -1 : result;
}

int pthread_setspecific(pthread_key_t key, const void *value) {
    return FAILS(SETSPECIFIC) ? plan->error : next.pthread_setspecific(key, value);
}

/* These may return for no reason. */

int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    return FAILS(COND_WAIT) ? 0 : next.pthread_cond_wait(condition, mutex);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *time) {
    return FAILS(COND_TIMEDWAIT) ? 0 : next.pthread_cond_timedwait(condition, mutex, time);
}
