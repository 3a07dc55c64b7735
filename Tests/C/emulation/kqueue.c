/*
 * kqueue(2) over epoll(7), written from the manual pages of FreeBSD, OpenBSD, NetBSD and macOS.
 *
 * A kqueue is an epoll, so that it can be polled itself. It watches one more epoll for each filter of
 * descriptors, which has an entry for each knote: EV_CLEAR is EPOLLET there, EV_DISPATCH and EV_ONESHOT
 * are EPOLLONESHOT. A knote belongs to a number and vanishes when that is closed, which is seen because
 * close, closefrom, close_range, dup2, dup3, fclose and fcntl of this library stand before those of libc.
 * After an exec no number is a kqueue's. It also watches an eventfd, readable while a knote of
 * EVFILT_USER is triggered.
 *
 * The variable EMULATION holds words for what differs between systems:
 *     open-in-child   a fork's child keeps the number of a kqueue, which is of no use to it;
 *                     without it the number is closed there
 *     epipe, ebadf    EV_ADD says EPIPE or EBADF for a pipe or socket whose peer is gone
 *     eintr           every other change is made and then fails with EINTR
 *     no-except       there is no EVFILT_EXCEPT, and EV_ADD says EINVAL
 *
 * Not emulated: EVFILT_READ of regular files, which tells the distance to their end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include "kqueue.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "emulation.h"

enum { FILTERS = 3, NUMBERS = 1 << 16, USERS = 8 };

static const int16_t filters[FILTERS] = {EVFILT_READ, EVFILT_WRITE, EVFILT_EXCEPT};
static const uint32_t masks[FILTERS] = {EPOLLIN | EPOLLRDHUP, EPOLLOUT, EPOLLPRI};

struct knote {
    void *udata;
    unsigned reported; /* when that was last */
    uint16_t flags;    /* 0: none */
};

/* A knote of EVFILT_USER. */
struct user {
    uintptr_t ident;
    void *udata;
    uint32_t fflags;
    uint16_t flags; /* 0: none */
    int is_triggered;
};

struct queue {
    int uses; /* how many numbers it has */
    pid_t owner;
    int filter[FILTERS]; /* an epoll each */
    struct knote *knotes[FILTERS];
    int trigger; /* an eventfd */
    struct user users[USERS];
    int room;
    unsigned reports;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct queue *queues[NUMBERS];
static int limit; /* one more than the highest number that was a kqueue's */

sigset_t enter(void) {
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGALRM); /* it ends a test that hangs */
    sigdelset(&all, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_mutex_lock(&mutex);
    return before;
}
void leave(sigset_t before) {
    pthread_mutex_unlock(&mutex);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int has_trait(const char *word) {
    const char *traits = getenv("EMULATION");
    return traits != NULL && strstr(traits, word) != NULL;
}

static struct queue *find(int fd) {
    return fd >= 0 && fd < NUMBERS ? queues[fd] : NULL;
}

static int close_number(int fd) {
    return (int)syscall(SYS_close, fd);
}

/* With the lock held. */
static void drop(int fd) {
    struct queue *queue = queues[fd];
    queues[fd] = NULL;
    if (--queue->uses > 0)
        return;
    for (int i = 0; i < FILTERS; i++) {
        close_number(queue->filter[i]);
        free(queue->knotes[i]);
    }
    close_number(queue->trigger);
    free(queue);
}

/* Before a number names another file, or none. With the lock held. */
static void forget(int fd) {
    int saved = errno;
    if (fd < 0)
        return;
    for (int i = 0; i < limit; i++)
        for (int f = 0; queues[i] != NULL && f < FILTERS; f++) {
            /* In a fork's child its epolls are those of the parent. */
            if (queues[i]->owner != getpid() || fd >= queues[i]->room ||
                queues[i]->knotes[f][fd].flags == 0)
                continue;
            queues[i]->knotes[f][fd].flags = 0;
            epoll_ctl(queues[i]->filter[f], EPOLL_CTL_DEL, fd, NULL);
        }
    if (find(fd) != NULL)
        drop(fd);
    errno = saved;
}

static void share(int fd, int number) {
    if (number < 0 || number >= NUMBERS || find(fd) == NULL)
        return;
    queues[number] = queues[fd];
    queues[number]->uses++;
    limit = limit > number + 1 ? limit : number + 1;
}

int close(int fd) {
    sigset_t before = enter();
    forget(fd);
    int result = close_number(fd);
    leave(before);
    return result;
}

int close_range(unsigned first, unsigned last, int flags) {
    sigset_t before = enter();
    for (unsigned fd = first; flags == 0 && fd <= last && fd < NUMBERS; fd++)
        forget((int)fd);
    int result = (int)syscall(SYS_close_range, first, last, flags);
    leave(before);
    return result;
}

void closefrom(int lowest) {
    close_range((unsigned)lowest, ~0u, 0);
}

int fclose(FILE *stream) {
    int (*next)(FILE *);
    *(void **)&next = dlsym(RTLD_NEXT, "fclose");
    sigset_t before = enter();
    forget(fileno(stream));
    leave(before);
    return next(stream);
}

int dup3(int fd, int number, int flags) {
    sigset_t before = enter();
    int result = -1;
    if (fcntl(fd, F_GETFD) >= 0 && fd != number)
        forget(number);
    result = (int)syscall(SYS_dup3, fd, number, flags);
    if (result >= 0)
        share(fd, number);
    leave(before);
    return result;
}

int dup2(int fd, int number) {
    if (fd == number)
        return fcntl(fd, F_GETFD) < 0 ? -1 : number;
    return dup3(fd, number, 0);
}

int fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (command != F_DUPFD && command != F_DUPFD_CLOEXEC)
        return (int)syscall(SYS_fcntl, fd, command, argument);
    sigset_t before = enter();
    int result = (int)syscall(SYS_fcntl, fd, command, argument);
    share(fd, result);
    leave(before);
    return result;
}

static sigset_t before_fork_mask;
static void before_fork(void) {
    sigset_t before = enter();
    before_fork_mask = before;
}
static void in_parent(void) {
    leave(before_fork_mask);
}
static void in_child(void) {
    for (int i = 0; i < limit && !has_trait("open-in-child"); i++)
        if (queues[i] != NULL) {
            drop(i);
            close_number(i);
        }
    leave(before_fork_mask);
}

__attribute__((constructor)) static void prepare(void) {
    pthread_atfork(before_fork, in_parent, in_child);
}

/* Where the tests do not look, if there is room. */
static int raise_number(int fd) {
    int raised = -1, lowest[] = {900, 100, 3};
    for (int i = 0; fd >= 0 && raised < 0 && i < 3; i++)
        raised = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, lowest[i]);
    if (fd >= 0)
        close_number(fd);
    return raised;
}

int kqueue(void) {
    struct queue *queue = calloc(1, sizeof *queue);
    int kq = epoll_create1(0), lacks = queue == NULL || kq < 0;
    for (int i = 0; i <= FILTERS && !lacks; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        int *fd = i < FILTERS ? &queue->filter[i] : &queue->trigger;
        *fd = raise_number(i < FILTERS ? epoll_create1(EPOLL_CLOEXEC)
                                       : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        lacks = *fd < 0 || epoll_ctl(kq, EPOLL_CTL_ADD, *fd, &event) < 0;
    }
    if (lacks) {
        int saved = errno;
        for (int i = 0; queue != NULL && i < FILTERS; i++)
            if (queue->filter[i] > 0)
                close_number(queue->filter[i]);
        if (queue != NULL && queue->trigger > 0)
            close_number(queue->trigger);
        if (kq >= 0)
            close_number(kq);
        free(queue);
        errno = saved;
        return -1;
    }
    queue->uses = 1;
    queue->owner = getpid();
    sigset_t before = enter();
    queues[kq] = queue;
    limit = limit > kq + 1 ? limit : kq + 1;
    leave(before);
    return kq;
}

static int reserve(struct queue *queue, int fd) {
    if (fd < queue->room)
        return 0;
    int room = fd + 64;
    for (int i = 0; i < FILTERS; i++) {
        struct knote *knotes = realloc(queue->knotes[i], (size_t)room * sizeof *knotes);
        if (knotes == NULL)
            return ENOMEM;
        memset(knotes + queue->room, 0, (size_t)(room - queue->room) * sizeof *knotes);
        queue->knotes[i] = knotes;
    }
    queue->room = room;
    return 0;
}

static int set(struct queue *queue, int f, int fd, int operation) {
    uint16_t flags = queue->knotes[f][fd].flags;
    struct epoll_event event = {.data.fd = fd};
    if (!(flags & EV_DISABLE)) {
        event.events = masks[f];
        if (flags & EV_CLEAR)
            event.events |= EPOLLET;
        if (flags & (EV_DISPATCH | EV_ONESHOT))
            event.events |= EPOLLONESHOT;
    } else {
        event.events = EPOLLONESHOT | EPOLLET;
    }
    return epoll_ctl(queue->filter[f], operation, fd, &event) == 0 ? 0 : errno;
}

int is_perf_ring(int fd) {
    char path[32], name[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, name, sizeof name - 1) > 0 && strstr(name, "perf_event") != NULL;
}

/* Makes the eventfd readable, or not, as the knotes of EVFILT_USER are. */
static void show_users(struct queue *queue) {
    uint64_t count = 0;
    for (int i = 0; i < USERS; i++)
        count += queue->users[i].is_triggered && !(queue->users[i].flags & EV_DISABLE);
    ssize_t ignored = count > 0 ? write(queue->trigger, &count, sizeof count)
                                : read(queue->trigger, &count, sizeof count);
    (void)ignored;
}

/* The same for EVFILT_USER. */
static int change_user(struct queue *queue, const struct kevent *wanted) {
    struct user *user = NULL, *none = NULL;
    uint32_t given = wanted->fflags & NOTE_FFLAGSMASK;
    for (int i = 0; i < USERS; i++) {
        struct user *other = &queue->users[i];
        if (other->flags == 0)
            none = other;
        else if (other->ident == wanted->ident)
            user = other;
    }
    if (user == NULL && !(wanted->flags & EV_ADD))
        return ENOENT;
    if (user == NULL && (user = none) == NULL)
        return ENOMEM;
    if (wanted->flags & EV_DELETE) {
        *user = (struct user){0};
        show_users(queue);
        return 0;
    }
    if (user->flags == 0)
        *user = (struct user){
            .ident = wanted->ident,
            .flags = (uint16_t)(EV_ADD | (wanted->flags &
                                          (EV_CLEAR | EV_ONESHOT | EV_DISPATCH | EV_DISABLE)))};
    switch (wanted->fflags & NOTE_FFCTRLMASK) {
    case NOTE_FFAND: user->fflags &= given; break;
    case NOTE_FFOR: user->fflags |= given; break;
    case NOTE_FFCOPY: user->fflags = given; break;
    }
    user->udata = wanted->udata;
    if (wanted->flags & EV_ENABLE)
        user->flags &= (uint16_t)~EV_DISABLE;
    if (wanted->flags & EV_DISABLE)
        user->flags |= EV_DISABLE;
    user->is_triggered |= (wanted->fflags & NOTE_TRIGGER) != 0;
    show_users(queue);
    return 0;
}

/* Makes one change; an errno value. With the lock held. */
static int change(struct queue *queue, const struct kevent *wanted) {
    int fd = (int)wanted->ident, f = 0;
    if (wanted->filter == EVFILT_USER)
        return change_user(queue, wanted);
    while (f < FILTERS && filters[f] != wanted->filter)
        f++;
    if (f == FILTERS || (wanted->filter == EVFILT_EXCEPT && has_trait("no-except")))
        return EINVAL;
    if (fcntl(fd, F_GETFD) < 0)
        return EBADF;
    /* Those systems have none, and a nested epoll loses what it tells. */
    if (is_perf_ring(fd))
        return ENODEV;
    int lack = reserve(queue, fd);
    if (lack != 0)
        return lack;
    struct knote *knote = &queue->knotes[f][fd];
    if (wanted->flags & EV_DELETE) {
        if (knote->flags == 0)
            return ENOENT;
        knote->flags = 0;
        epoll_ctl(queue->filter[f], EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    if (knote->flags == 0 && !(wanted->flags & EV_ADD))
        return ENOENT;
    if (knote->flags == 0) {
        struct pollfd look = {.fd = fd, .events = POLLOUT};
        int refusal = has_trait("epipe") ? EPIPE : has_trait("ebadf") ? EBADF : 0;
        if (f == 1 && refusal != 0 && poll(&look, 1, 0) == 1 && look.revents & POLLERR)
            return refusal;
        knote->flags = (uint16_t)(EV_ADD | (wanted->flags &
                                            (EV_CLEAR | EV_ONESHOT | EV_DISPATCH | EV_DISABLE)));
        knote->udata = wanted->udata;
        knote->reported = queue->reports;
        int error = set(queue, f, fd, EPOLL_CTL_ADD);
        if (error != 0)
            knote->flags = 0;
        return error;
    }
    /* What is there keeps the flags that it was made with, but for these two. */
    knote->udata = wanted->udata;
    if (wanted->flags & (EV_ENABLE | EV_ADD))
        knote->flags &= (uint16_t)~EV_DISABLE;
    if (wanted->flags & EV_DISABLE)
        knote->flags |= EV_DISABLE;
    return set(queue, f, fd, EPOLL_CTL_MOD);
}

static void describe(struct kevent *event, struct knote *knote, int f, int fd, uint32_t mask) {
    int count = 4096;
    uint16_t flags = knote->flags & (EV_CLEAR | EV_ONESHOT | EV_DISPATCH);
    if (f == 0 && ioctl(fd, FIONREAD, &count) < 0)
        count = 1;
    uint32_t fflags = filters[f] == EVFILT_EXCEPT ? NOTE_OOB : 0;
    if (mask & EPOLLERR)
        fflags = EIO;
    if (mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        flags |= EV_EOF;
    EV_SET(event, fd, filters[f], flags, fflags, count, knote->udata);
}

struct candidate {
    unsigned reported;
    int f, fd;
    uint32_t mask;
};

static int compare(const void *one, const void *other) {
    const struct candidate *a = one, *b = other;
    return (a->reported > b->reported) - (a->reported < b->reported);
}

/* Takes what is ready now: as in a queue, what was reported longest ago comes first. With the lock held. */
static int collect(struct queue *queue, struct kevent *events, int max) {
    enum { MOST = 1 << 14 };
    static struct epoll_event ready[MOST];
    static struct candidate candidates[FILTERS * MOST];
    int count = 0, found = 0;
    for (int f = 0; f < FILTERS; f++)
        for (int i = epoll_wait(queue->filter[f], ready, MOST, 0) - 1; i >= 0; i--) {
            int fd = ready[i].data.fd;
            const struct knote *knote = &queue->knotes[f][fd];
            if (knote->flags != 0 && !(knote->flags & EV_DISABLE))
                candidates[found++] = (struct candidate){knote->reported, f, fd, ready[i].events};
        }
    qsort(candidates, (size_t)found, sizeof *candidates, compare);
    for (int i = 0; i < found; i++) {
        int f = candidates[i].f, fd = candidates[i].fd;
        struct knote *knote = &queue->knotes[f][fd];
        if (count == max) { /* it stays in the queue */
            if (knote->flags & (EV_CLEAR | EV_ONESHOT | EV_DISPATCH))
                set(queue, f, fd, EPOLL_CTL_MOD);
            continue;
        }
        describe(&events[count++], knote, f, fd, candidates[i].mask);
        knote->reported = ++queue->reports;
        if (knote->flags & EV_ONESHOT) {
            knote->flags = 0;
            epoll_ctl(queue->filter[f], EPOLL_CTL_DEL, fd, NULL);
        } else if (knote->flags & EV_DISPATCH) {
            knote->flags |= EV_DISABLE;
        }
    }
    for (int i = 0; i < USERS && count < max; i++) {
        struct user *user = &queue->users[i];
        if (!user->is_triggered || user->flags & EV_DISABLE)
            continue;
        EV_SET(&events[count++], user->ident, EVFILT_USER,
               user->flags & (EV_CLEAR | EV_ONESHOT | EV_DISPATCH), user->fflags, 0, user->udata);
        if (user->flags & EV_CLEAR)
            user->is_triggered = 0;
        if (user->flags & EV_DISPATCH)
            user->flags |= EV_DISABLE;
        if (user->flags & EV_ONESHOT)
            *user = (struct user){0};
    }
    show_users(queue);
    return count;
}

int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
           int event_count, const struct timespec *timeout) {
    static unsigned interruptions;
    int told = 0, error = 0, saved = errno;
    sigset_t before = enter();
    struct queue *queue = find(kq);
    if (queue == NULL || queue->owner != getpid()) {
        leave(before);
        errno = EBADF;
        return -1;
    }
    for (int i = 0; i < change_count; i++) {
        int result = change(queue, &changes[i]);
        if (result == 0 && !(changes[i].flags & EV_RECEIPT))
            continue;
        if (told == event_count) {
            error = result;
            break;
        }
        events[told] = changes[i];
        events[told].flags = EV_ERROR;
        events[told++].data = result;
    }
    if (error == 0 && change_count > 0 && has_trait("eintr") && interruptions++ % 2 == 0)
        error = EINTR;
    leave(before);
    if (error != 0) {
        errno = error;
        return -1;
    }
    /* What succeeds leaves errno alone. */
    errno = saved;
    if (told > 0 || event_count == 0)
        return told;

    for (;;) {
        struct epoll_event any;
        int ready = epoll_pwait2(kq, &any, 1, timeout, NULL);
        if (ready < 0)
            return -1;
        before = enter();
        queue = find(kq);
        int count = queue == NULL ? 0 : collect(queue, events, event_count);
        leave(before);
        errno = saved;
        if (count > 0 || ready == 0 || queue == NULL)
            return count;
        /* Another thread has taken it. A caller that keeps a deadline may be told early. */
        if (timeout != NULL)
            return 0;
    }
}
