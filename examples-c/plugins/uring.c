/*
 * uring.c - a plug-in: the backend "uring", which waits with io_uring(7), Linux 5.13 or later.
 *
 *     SELECTORS_PLUGINS=./uring.so SELECTORS_BACKEND=uring program
 *
 * A number is armed: a poll request for its file is in the kernel, and completes when something
 * happens. That is a hint, no more: it may be over by now, and its mask tells what woke the kernel.
 * What to report is asked of poll(2). The next wait arms again what has completed, and what is ready
 * still then completes at once: level-triggered. Nothing but a wait arms.
 *
 * What is peculiar to io_uring:
 * - A request holds its file. One that is closed while it is armed stays open until its number is
 *   removed, and its peer waits that long for the hang-up. So that unregistering ends it, requests
 *   are withdrawn at once, and before the ring is closed, for the kernel would take its time.
 * - A request belongs to the thread that made it: it completes when that one enters the kernel, or
 *   is in it, where epoll_wait(2) and some others then end with EINTR. If another thread waits, it
 *   makes all requests anew.
 * - A call that submits something tells how much, and not that a signal has ended its wait.
 * - POLLRDHUP completes a request that does not ask for it. What has completed for nothing is armed
 *   for news only (multishot), or it would do so again and again.
 * - A socket that wakes for POLLPRI alone is overlooked; with POLLRDBAND beside it is not.
 * - Files that are always ready, as regular ones and /dev/null, complete at once. Asked for what they
 *   never are they give EINVAL, and are left alone. So do files with more than two wait queues (some
 *   video devices) while they are not ready: that is an error of the wait.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <poll.h>
#include <selectors_plugin.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    ENTRIES = 128, /* requests that are submitted at a time */
    LOOKS = 64,    /* numbers that poll(2) is asked about at a time */
    NONE = -1
};

#define SECOND INT64_C(1000000000)
#define NOBODY UINT64_MAX /* the name of requests of which nobody wants to hear */

/* What is known of a number. All zero: it was never watched. */
struct watch {
    uint64_t token;
    uint32_t mask;
    uint32_t request; /* counts its requests, so that what is left of an old one is known as such */
    uint32_t armed_in; /* the wait that made the last one */
    bool is_watched;
    bool is_armed;  /* its last request is in the kernel, or the completion in the ring */
    bool is_misled; /* its last completion was for nothing */
    bool is_listed; /* the next wait is to arm it, if it is watched then */
    int next;       /* the one after it in the list of these */
};

/* An instance. What the kernel counts, too, is atomic. */
struct uring {
    int number;   /* what fd is or was */
    int fd;       /* NONE: in a fork's child, before it has a ring of its own */
    dev_t device; /* what tells the ring from a file that was given its number */
    ino_t inode;
    pid_t process;   /* whose ring it is: not that of a fork's child */
    uint64_t thread; /* whose requests they are */
    void *queues;
    size_t queues_size;
    struct io_uring_sqe *requests;
    struct io_uring_cqe *completions;
    atomic_uint *requests_taken, *requests_put, *flags;
    atomic_uint *completions_taken, *completions_put, *completions_lost;
    unsigned completions_mask;
    unsigned lost;         /* completions that are known to be lost */
    uint32_t waits;        /* how many there were */
    struct watch *watches; /* by number */
    int numbers;           /* how many there is room for */
    int first;             /* of those that are listed */
};

/* Numbers the threads: what pthread_self() and gettid() tell comes again after a thread has ended. */
static uint64_t this_thread(void) {
    static atomic_uint_least64_t last;
    static _Thread_local uint64_t number;
    if (number == 0)
        number = ++last;
    return number;
}

/* The ring. */

static void *at(const struct uring *uring, uint32_t offset) {
    return (char *)uring->queues + offset;
}

/* Maps both queues, which are one piece, and the requests. */
static int map(struct uring *uring, const struct io_uring_params *params) {
    const struct io_sqring_offsets *sq = &params->sq_off;
    const struct io_cqring_offsets *cq = &params->cq_off;
    const int access = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
    size_t sq_size = sq->array + ENTRIES * sizeof(uint32_t);
    size_t cq_size = cq->cqes + params->cq_entries * sizeof *uring->completions;
    uint32_t *order;

    uring->queues_size = sq_size > cq_size ? sq_size : cq_size;
    uring->queues = mmap(NULL, uring->queues_size, access, flags, uring->fd, IORING_OFF_SQ_RING);
    if (uring->queues == MAP_FAILED)
        return -errno;
    uring->requests =
        mmap(NULL, ENTRIES * sizeof *uring->requests, access, flags, uring->fd, IORING_OFF_SQES);
    if (uring->requests == MAP_FAILED) {
        int error = -errno;
        munmap(uring->queues, uring->queues_size);
        return error;
    }
    uring->requests_taken = at(uring, sq->head);
    uring->requests_put = at(uring, sq->tail);
    uring->flags = at(uring, sq->flags);
    uring->completions = at(uring, cq->cqes);
    uring->completions_mask = params->cq_entries - 1;
    uring->completions_taken = at(uring, cq->head);
    uring->completions_put = at(uring, cq->tail);
    uring->completions_lost = at(uring, cq->overflow);
    order = at(uring, sq->array);
    for (uint32_t i = 0; i < ENTRIES; i++)
        order[i] = i;
    return 0;
}

static unsigned to_submit(const struct uring *uring) {
    return *uring->requests_put - *uring->requests_taken;
}

static bool has_completions(const struct uring *uring) {
    return *uring->completions_put != *uring->completions_taken ||
           *uring->flags & IORING_SQ_CQ_OVERFLOW; /* the others are in the kernel */
}

/*
 * Submits what there is, and waits for so many completions. Returns how many requests the kernel has
 * taken, or, if there were none, what has ended the wait.
 */
static int enter(struct uring *uring, unsigned wanted, struct io_uring_getevents_arg *how) {
    unsigned count;
    long taken;
    do {
        count = to_submit(uring);
        taken = syscall(SYS_io_uring_enter, uring->fd, count, wanted,
                        IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, how, sizeof *how);
        if (uring->fd == NONE)
            return -EINTR; /* by a signal handler that has forked, and this is the child */
        if (taken < 0)
            return errno == EAGAIN ? -ENOMEM : -errno; /* no memory for requests */
    } while (0 < taken && taken < count);
    return (int)taken;
}

static int submit(struct uring *uring) {
    struct io_uring_getevents_arg how = {0};
    return enter(uring, 0, &how);
}

/* Puts a request into the queue; NULL: the kernel takes no more. */
static struct io_uring_sqe *put_request(struct uring *uring, int opcode, int fd, uint64_t name) {
    struct io_uring_sqe *request = &uring->requests[*uring->requests_put % ENTRIES];
    if (to_submit(uring) == ENTRIES)
        submit(uring);
    if (to_submit(uring) == ENTRIES)
        return NULL;
    memset(request, 0, sizeof *request);
    request->opcode = (uint8_t)opcode;
    request->fd = fd;
    request->user_data = name;
    ++*uring->requests_put; /* the kernel does not look before it is entered */
    return request;
}

/* What is watched. */

static uint64_t name_of_request(const struct uring *uring, int fd) {
    return (uint64_t)uring->watches[fd].request << 32 | (uint32_t)fd;
}

/* Has the next wait arm a number. */
static void list(struct uring *uring, int fd) {
    struct watch *watch = &uring->watches[fd];
    watch->is_misled = false;
    if (watch->is_listed)
        return;
    watch->is_listed = true;
    watch->next = uring->first;
    uring->first = fd;
}

/* Has the request of a number end. If the kernel does not take that, it ends unheard some day. */
static void withdraw(struct uring *uring, int fd) {
    struct io_uring_sqe *request;
    if (!uring->watches[fd].is_armed)
        return;
    uring->watches[fd].is_armed = false;
    request = put_request(uring, IORING_OP_POLL_REMOVE, NONE, NOBODY);
    if (request != NULL)
        request->addr = name_of_request(uring, fd);
}

static bool arm(struct uring *uring, int fd) {
    struct watch *watch = &uring->watches[fd];
    uint32_t mask = watch->mask | (watch->mask & POLLPRI ? POLLRDBAND : 0);
    struct io_uring_sqe *request;
    withdraw(uring, fd);
    watch->request++;
    watch->armed_in = uring->waits;
    request = put_request(uring, IORING_OP_POLL_ADD, fd, name_of_request(uring, fd));
    if (request == NULL)
        return false;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    mask = mask << 16 | mask >> 16; /* the halves are where they are on other machines */
#endif
    request->poll32_events = mask;
    request->len = watch->is_misled ? IORING_POLL_ADD_MULTI : 0;
    watch->is_armed = true;
    return true;
}

/* Tells whether all that is listed could be armed. */
static bool arm_listed(struct uring *uring) {
    while (uring->first != NONE) {
        struct watch *watch = &uring->watches[uring->first];
        bool is_done = !watch->is_watched || (watch->is_armed && watch->is_misled);
        if (!is_done && !arm(uring, uring->first))
            return false;
        watch->is_listed = false;
        uring->first = watch->next;
    }
    return true;
}

/* Has all requests made anew, by this thread. */
static void arm_anew(struct uring *uring) {
    for (int fd = 0; fd < uring->numbers; fd++) {
        withdraw(uring, fd);
        list(uring, fd);
    }
    uring->thread = this_thread();
}

/*
 * Takes completions until one is of the last request of a number that was not taken in this wait.
 * Returns the number, or NONE.
 */
static int take_completion(struct uring *uring, int *result) {
    while (has_completions(uring)) {
        unsigned place = *uring->completions_taken;
        struct io_uring_cqe completion;
        struct watch *watch;
        int fd;
        if (place == *uring->completions_put) {
            if (submit(uring) < 0)
                break;
            continue;
        }
        completion = uring->completions[place & uring->completions_mask];
        *uring->completions_taken = place + 1;
        if (completion.user_data == NOBODY)
            continue;
        fd = (int)(uint32_t)completion.user_data;
        watch = &uring->watches[fd];
        if (!watch->is_armed || completion.user_data != name_of_request(uring, fd))
            continue;
        watch->is_armed = completion.flags & IORING_CQE_F_MORE;
        watch->is_misled = false;
        if (watch->is_listed)
            continue; /* when it is armed anew it completes again, if it is ready */
        list(uring, fd);
        *result = completion.res;
        return fd;
    }
    return NONE;
}

static bool is_always_ready(int fd) {
    struct pollfd both = {fd, POLLIN | POLLOUT, 0};
    struct stat status;
    if (poll(&both, 1, 0) == 1)
        return both.revents == (POLLIN | POLLOUT);
    return fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
}

/*
 * Whether a look at the file clears what it tells, as mounts and other files of /proc do, and the rings
 * of perf_event_open(2): then the completion has all that will ever be heard of it.
 */
static bool is_cleared_by_poll(int fd) {
    enum { PROC = 0x9fa0 }; /* PROC_SUPER_MAGIC */
    struct statfs system;
    char path[32], name[32] = "";
    if (fstatfs(fd, &system) == 0 && system.f_type == PROC)
        return true;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, name, sizeof name - 1) > 0 &&
           strcmp(name, "anon_inode:[perf_event]") == 0;
}

/*
 * Asks poll(2) in pieces if it does not take so many at a time (RLIMIT_NOFILE). Where it takes none, what
 * the completion has told has to do.
 */
static int look(struct pollfd *fds, const int *results, int count) {
    int half = count / 2, error;
    if (poll(fds, (nfds_t)count, 0) >= 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    if (half == 0) {
        fds->revents = (short)(*results > 0 ? *results : *results == -EBADF ? POLLNVAL : 0);
        return 0;
    }
    error = look(fds, results, half);
    return error < 0 ? error : look(fds + half, results + half, count - half);
}

/*
 * Reports what is ready of that for which there is a completion. What has failed is an error if it was
 * armed in this wait, else the number may have named another file then: it is armed again.
 */
static int report(struct uring *uring, sel_backend_event *events, int max) {
    struct pollfd fds[LOOKS];
    int results[LOOKS], found = 0, count = LOOKS, error = 0, failure, fd;
    while (found < max && count > 0) {
        for (count = 0; count < LOOKS && count < max - found; count++) {
            if ((fd = take_completion(uring, &results[count])) == NONE)
                break;
            fds[count] = (struct pollfd){fd, (short)uring->watches[fd].mask, 0};
        }
        if (count > 0 && (failure = look(fds, results, count)) < 0)
            return found > 0 ? found : failure;
        for (int i = 0; i < count; i++) {
            struct watch *watch = &uring->watches[fds[i].fd];
            int told = results[i] > 0 ? results[i] & ((int)watch->mask | POLLERR | POLLHUP) : 0;
            if ((told & ~fds[i].revents) != 0 && is_cleared_by_poll(fds[i].fd))
                fds[i].revents |= (short)told;
            watch->is_misled = fds[i].revents == 0;
            if (!watch->is_misled)
                events[found++] = (sel_backend_event){(unsigned short)fds[i].revents, watch->token};
            else if (results[i] == -EINVAL && is_always_ready(fds[i].fd))
                watch->is_armed = true; /* so to speak: nothing will ever happen */
            else if (results[i] < 0 && results[i] != -ECANCELED && results[i] != -EBADF &&
                     watch->armed_in == uring->waits)
                error = results[i]; /* and not of a thread that has ended, or of a closed number */
        }
    }
    return found > 0 ? found : error;
}

/* The backend. */

/* Whether the descriptor still names the ring: a program may have closed it. */
static bool is_intact(const struct uring *uring) {
    struct stat status;
    return uring->fd != NONE && fstat(uring->fd, &status) == 0 && status.st_dev == uring->device &&
           status.st_ino == uring->inode;
}

static void close_ring(const struct uring *uring) {
    if (is_intact(uring))
        close(uring->fd);
}

/*
 * Gives a new ring the number of the old one, or one above it that is not watched: one that is may have
 * been closed. Those of the standard streams stay free.
 */
static int place(const struct uring *old, int ring) {
    int lowest = old == NULL ? 3 : old->number;
    bool is_watched =
        old != NULL && ring >= 0 && ring < old->numbers && old->watches[ring].is_watched;
    int moved;
    if (ring < 0 || (ring >= lowest && !is_watched))
        return ring;
    moved = fcntl(ring, F_DUPFD_CLOEXEC, ring < lowest ? lowest : ring + 1);
    if (moved < 0 && ring > 2 && !is_watched)
        return ring; /* near the limit a number below has to do */
    close(ring);
    return place(old, moved);
}

static int set_up(struct uring *uring, const struct uring *old) {
    struct io_uring_params params = {0};
    struct stat status;
    int error;
    *uring = (struct uring){.process = getpid(), .first = NONE};
    uring->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &params); /* exec closes it */
    uring->fd = place(old, uring->fd);
    if (uring->fd < 0 || fstat(uring->fd, &status) < 0)
        return -errno;
    uring->number = uring->fd;
    uring->device = status.st_dev;
    uring->inode = status.st_ino;
    error = params.features & IORING_FEAT_RSRC_TAGS /* as old as multishot requests */
                ? map(uring, &params)
                : -ENOTSUP;
    if (error != 0)
        close(uring->fd);
    return error;
}

/* Ends all requests, but for those of the process that this one was forked from. */
static void withdraw_all(struct uring *uring) {
    if (uring->process != getpid() || !is_intact(uring))
        return;
    for (int fd = 0; fd < uring->numbers; fd++)
        withdraw(uring, fd);
    submit(uring);
}

static void unmap(struct uring *uring) {
    if (uring->queues == NULL)
        return;
    munmap(uring->requests, ENTRIES * sizeof *uring->requests);
    munmap(uring->queues, uring->queues_size);
    uring->queues = NULL;
}

static int uring_open(void **instance) {
    struct uring *uring = malloc(sizeof *uring);
    int error = uring == NULL ? -ENOMEM : set_up(uring, NULL);
    if (error == 0)
        *instance = uring;
    else
        free(uring);
    return error;
}

/* In a fork's child, at once: while the numbers are surely still ours, the parent's ring is let go. */
static void uring_forked(void *instance) {
    struct uring *uring = instance;
    close_ring(uring);
    uring->fd = NONE; /* a call that this one interrupts may still look at what is mapped */
}

/* Takes another ring, under the old number if that is still its own. */
static int uring_reset(void *instance, int after_fork) {
    struct uring *uring = instance, fresh;
    int error = set_up(&fresh, uring);
    (void)after_fork; /* withdraw_all() knows */
    if (error != 0)
        return error;
    withdraw_all(uring);
    if (is_intact(uring) && dup3(fresh.fd, uring->fd, O_CLOEXEC) >= 0) {
        close(fresh.fd);
        fresh.fd = fresh.number = uring->fd;
    } else {
        close_ring(uring);
    }
    unmap(uring);
    free(uring->watches);
    *uring = fresh;
    return 0;
}

static void uring_close(void *instance) {
    struct uring *uring = instance;
    withdraw_all(uring);
    close_ring(uring);
    unmap(uring);
    free(uring->watches);
    free(uring);
}

static int uring_modify(void *instance, int fd, uint32_t mask, uint64_t token) {
    struct uring *uring = instance;
    withdraw(uring, fd);
    uring->watches[fd].mask = mask;
    uring->watches[fd].token = token;
    uring->watches[fd].is_watched = true;
    list(uring, fd);
    return 0;
}

static int uring_add(void *instance, int fd, uint32_t mask, uint64_t token) {
    struct uring *uring = instance;
    if (fcntl(fd, F_GETFD) < 0)
        return -errno;
    if (fd == uring->fd)
        return -ELOOP;
    if (fd >= uring->numbers) {
        int numbers = fd / 2 * 3 + 64;
        struct watch *watches = reallocarray(uring->watches, (size_t)numbers, sizeof *watches);
        if (watches == NULL)
            return -ENOMEM;
        memset(watches + uring->numbers, 0, (size_t)(numbers - uring->numbers) * sizeof *watches);
        uring->watches = watches;
        uring->numbers = numbers;
    }
    return uring_modify(instance, fd, mask, token);
}

static int uring_remove(void *instance, int fd) {
    struct uring *uring = instance;
    withdraw(uring, fd);
    uring->watches[fd].is_watched = false;
    if (to_submit(uring) > 0)
        submit(uring); /* if this fails, the next wait does it */
    return 0;
}

static int uring_wait(void *instance, sel_backend_event *events, int max, int64_t timeout_ns,
                      const sigset_t *signals) {
    struct uring *uring = instance;
    struct __kernel_timespec time = {timeout_ns / SECOND, timeout_ns % SECOND};
    struct io_uring_getevents_arg how = {
        .sigmask = (uintptr_t)signals,
        .sigmask_sz = _NSIG / 8,
        .ts = timeout_ns < 0 ? 0 : (uintptr_t)&time,
    };
    bool is_armed, sleeps;
    int result, found;

    uring->waits++;
    if (uring->thread != this_thread())
        arm_anew(uring);
    is_armed = arm_listed(uring);
    /* To learn what has ended a wait takes a second call, unless it can only have been a signal. */
    if (to_submit(uring) > 0 && (timeout_ns > 0 || signals != NULL))
        submit(uring);
    sleeps = is_armed && timeout_ns != 0 && !has_completions(uring);
    result = enter(uring, sleeps, &how);
    if (uring->fd == NONE)
        return -EINTR; /* what is mapped is shared with the parent */
    if (sleeps && result > 0 && !has_completions(uring))
        result = -EINTR;
    if (uring->lost != *uring->completions_lost) { /* for want of memory */
        uring->lost = *uring->completions_lost;
        arm_anew(uring);
        result = 0;
    }
    found = report(uring, events, max);
    if (found != 0 || result == -ETIME)
        return found;
    return result < 0 ? result : is_armed ? 0 : -ENOMEM;
}

static int uring_probe(const char **reason) {
    sel_backend_event event;
    void *instance;
    int error = uring_open(&instance);
    if (error == 0) {
        error = uring_wait(instance, &event, 1, 0, NULL);
        uring_close(instance);
    }
    if (error == -ENOSYS)
        *reason = "this kernel has no io_uring";
    if (error == -ENOTSUP)
        *reason = "this kernel's io_uring is too old: Linux 5.13 is needed";
    if (error == -EPERM || error == -EACCES)
        *reason = "io_uring is not allowed, by kernel.io_uring_disabled or a sandbox";
    return error;
}

sel_plugin_entry sel_plugin;

const sel_backend_ops *sel_plugin(const sel_plugin_host *host) {
    static const sel_backend_ops ops = {
        .abi = SEL_PLUGIN_ABI,
        .size = sizeof ops,
        .name = "uring",
        .rank = 0,
        .capabilities = SEL_CAN_READ_HANGUP,
        .probe = uring_probe,
        .open = uring_open,
        .add = uring_add,
        .modify = uring_modify,
        .remove = uring_remove,
        .wait = uring_wait,
        .reset = uring_reset,
        .close = uring_close,
        .forked = uring_forked,
    };
    (void)host;
    return &ops;
}
