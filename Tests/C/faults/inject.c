/*
 * inject.c - interposes functions of libc, and makes the library's calls fail as planned.
 *
 * The program's symbols take precedence over those of libc, so libselectors.so calls the functions
 * here. Each passes on the calls of the program itself, which it recognises by the return address.
 * The library calls them before any constructor of the program runs: when it is loaded.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

struct plan *plan;
_Thread_local bool came_upon_fault;
_Thread_local bool is_waking;

static uintptr_t library_begin, library_end;

/* Called by pthread_atfork(), which is linked statically into the library. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                      void *library);

/* The functions of libc. */
static struct {
    __typeof__(&strdup) strdup;
    __typeof__(&strndup) strndup;
    __typeof__(&free) free;
    __typeof__(&mmap) mmap;
    __typeof__(&munmap) munmap;
    __typeof__(&madvise) madvise;
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
    __typeof__(&pipe2) pipe2;
    __typeof__(&dup3) dup3;
    __typeof__(&open) open;
    __typeof__(&fcntl) fcntl;
    __typeof__(&fstat) fstat;
    __typeof__(&fstatfs) fstatfs;
    __typeof__(&readlink) readlink;
    __typeof__(&syscall) syscall;
    __typeof__(&read) read;
    __typeof__(&write) write;
    __typeof__(&close) close;
    __typeof__(&pthread_setspecific) pthread_setspecific;
    __typeof__(&pthread_mutex_lock) pthread_mutex_lock;
    __typeof__(&pthread_key_create) pthread_key_create;
    __typeof__(&dlopen) dlopen;
    __typeof__(&__register_atfork) __register_atfork;
} next;

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

void *find_in_library(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

/* The first caller is a constructor, before there are other threads. */
static void find_all(void) {
    static bool is_done;
    if (is_done) /* or in progress: dlsym(3) allocates */
        return;
    is_done = true;
    FIND(strdup);
    FIND(strndup);
    FIND(free);
    FIND(mmap);
    FIND(munmap);
    FIND(madvise);
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
    FIND(pipe2);
    FIND(dup3);
    FIND(open);
    FIND(fcntl);
    FIND(fstat);
    FIND(fstatfs);
    FIND(readlink);
    FIND(syscall);
    FIND(read);
    FIND(write);
    FIND(close);
    FIND(pthread_setspecific);
    FIND(pthread_mutex_lock);
    FIND(pthread_key_create);
    FIND(dlopen);
    FIND(__register_atfork);
    dl_iterate_phdr(find_library, find_in_library("sel_open"));
    if (plan == NULL)
        plan = plan_at_load();
}

__attribute__((constructor)) static void begin(void) {
    find_all();
}

/* Allocators and functions that take a lock: a signal handler must not call them. */
static bool is_async_signal_safe(enum function function) {
    switch (function) {
    case CALLOC:
    case STRDUP:
    case STRNDUP:
    case FREE:
    case MMAP:
    case SETSPECIFIC:
    case FUTEX_SLEEP:
    case MUTEX_LOCK:
    case DLOPEN: return false;
    default: return true;
    }
}

static bool is_library(const void *caller) {
    find_all();
    return (uintptr_t)caller >= library_begin && (uintptr_t)caller < library_end;
}

static void look_at_waking(enum function function) {
    if (is_waking && !is_async_signal_safe(function)) {
        is_waking = false;
        complain("sel_wakeup() calls %s(), which is not async-signal-safe\n",
                 function_names[function]);
    }
}

static bool fails(enum function function, const void *caller) {
    int number;
    if (!is_library(caller) || plan == NULL)
        return false;
    look_at_waking(function);
    if (plan->is_old && (function == EPOLL_PWAIT2 || function == PPOLL || function == PSELECT ||
                         function == EVENTFD)) {
        errno = ENOSYS;
        return true;
    }
    number = atomic_fetch_add(&plan->calls[function], 1) + 1;
    if (function != plan->function || number < plan->first || atomic_load(&plan->is_over) ||
        (plan->span == ONCE && number != plan->first))
        return false;
    atomic_fetch_add(&plan->failures, 1);
    came_upon_fault = true;
    if (function == FSTATFS || function == READLINK)
        plan->is_excused =
            true; /* otherwise the library cannot know that polling clears the file */
    if (plan->error != 0)
        errno = plan->error;
    return true;
}

#define FAILS(function) fails(function, __builtin_return_address(0))

/* Records an allocation of the library. */
#define KEPT(memory) (is_library(__builtin_return_address(0)) ? remember(memory) : (memory))

/* The compiler would turn malloc and memset into calloc. */
void *calloc(size_t count, size_t size) {
    void *memory = FAILS(CALLOC) ? NULL : reallocarray(NULL, count, size);
    return memory == NULL ? NULL : KEPT(memset(memory, 0, count * size));
}

char *strdup(const char *text) {
    return FAILS(STRDUP) ? NULL : KEPT(next.strdup(text));
}

char *strndup(const char *text, size_t length) {
    return FAILS(STRNDUP) ? NULL : KEPT(next.strndup(text, length));
}

/* A tail call of free(3) has the return address of its caller's caller. */
void free(void *memory) {
    find_all();
    look_at_waking(FREE);
    forget(memory);
    if (next.free != NULL)
        next.free(memory);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    void *memory = MAP_FAILED;
    if (!FAILS(MMAP))
        memory = next.mmap(address, size, protection, flags, fd, offset);
    return memory == MAP_FAILED ? MAP_FAILED : KEPT(memory);
}

int munmap(void *memory, size_t size) {
    find_all();
    forget(memory);
    return next.munmap(memory, size);
}

int madvise(void *memory, size_t size, int advice) {
    return FAILS(MADVISE) ? -1 : next.madvise(memory, size, advice);
}

/* The descriptor that the library has opened last, which is known to be open. */
static _Thread_local int newest_fd = -1;

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
 * A wait is interrupted only if nothing is ready. So poll first; if something is ready, there is no
 * fault.
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

#ifdef SYS_select
/* The library uses this for select(2), for sleeps, which may end early, and to block signals. */
long syscall(long number, ...) {
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (!is_library(__builtin_return_address(0)))
        return next.syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
                            arguments[4], arguments[5]);
    if (number == SYS_select)
        WAIT(SELECT,
             next.syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
                          arguments[4]),
             next.pselect((int)arguments[0], (fd_set *)arguments[1], (fd_set *)arguments[2],
                          (fd_set *)arguments[3], &no_time, NULL));
    if (number == SYS_futex && arguments[1] == (FUTEX_WAIT | FUTEX_PRIVATE_FLAG) &&
        FAILS(FUTEX_SLEEP))
        return -1;
    if (number != SYS_futex && number != SYS_rt_sigprocmask)
        complain("the library makes system call %ld, which is not known\n", number);
    return next.syscall(number, arguments[0], arguments[1], arguments[2], arguments[3]);
}
#endif

int pselect(int count, fd_set *readable, fd_set *writable, fd_set *urgent,
            const struct timespec *timeout, const sigset_t *mask) {
    WAIT(PSELECT, next.pselect(count, readable, writable, urgent, timeout, mask),
         next.pselect(count, readable, writable, urgent, &no_time, NULL));
}

int eventfd(unsigned int count, int flags) {
    if (FAILS(EVENTFD))
        return -1;
    return newest_fd = next.eventfd(count, flags);
}

int pipe2(int ends[2], int flags) {
    if (FAILS(PIPE2))
        return -1;
    return next.pipe2(ends, flags);
}

int dup3(int old, int new, int flags) {
    return FAILS(DUP3) ? -1 : next.dup3(old, new, flags);
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return FAILS(OPEN) ? -1 : next.open(path, flags, mode);
}

/* The argument after the operation is an int or a pointer: either is passed on in full. */
int fcntl(int fd, int operation, ...) {
    va_list arguments;
    void *argument;
    va_start(arguments, operation);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if (operation == F_DUPFD_CLOEXEC)
        return FAILS(FCNTL_DUPFD) ? -1 : (newest_fd = next.fcntl(fd, operation, argument));
    if (operation == F_GETFL && fd != newest_fd && FAILS(FCNTL_GETFL))
        return -1;
    return next.fcntl(fd, operation, argument);
}

int fstat(int fd, struct stat *status) {
    return FAILS(FSTAT) ? -1 : next.fstat(fd, status);
}

int fstatfs(int fd, struct statfs *status) {
    return FAILS(FSTATFS) ? -1 : next.fstatfs(fd, status);
}

ssize_t readlink(const char *path, char *text, size_t size) {
    return FAILS(READLINK) ? -1 : next.readlink(path, text, size);
}

/* EAGAIN means that no data or no room is left: so the call is made first. */

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

/* The descriptor is closed, whatever close(2) returns. */
int close(int fd) {
    int result = next.close(fd);
    return FAILS(CLOSE) ? -1 : result;
}

int pthread_setspecific(pthread_key_t key, const void *value) {
    return FAILS(SETSPECIFIC) ? plan->error : next.pthread_setspecific(key, value);
}

int pthread_mutex_lock(pthread_mutex_t *mutex) {
    find_all();
    look_at_waking(MUTEX_LOCK);
    return next.pthread_mutex_lock(mutex);
}

int pthread_key_create(pthread_key_t *key, void (*destroy)(void *)) {
    return FAILS(KEY_CREATE) ? plan->error : next.pthread_key_create(key, destroy);
}

int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                      void *library) {
    return FAILS(ATFORK) ? plan->error : next.__register_atfork(prepare, parent, child, library);
}

void *dlopen(const char *path, int flags) {
    return FAILS(DLOPEN) ? NULL : next.dlopen(path, flags);
}
