/*
 * selectors_plugin.h - add a backend of your own to libselectors, without touching the library.
 *
 * A backend is a table of C functions, sel_backend_ops. A program hands it to sel_add_backend(); a
 * plug-in is a shared library whose one exported function, sel_plugin(), returns it. Plug-ins are
 * loaded by sel_load_plugin(), or named by the environment variable SELECTORS_PLUGINS: paths with
 * colons between them, each with a slash in it, loaded when the library first needs to know which
 * backends there are. In a privileged process (secure execution) the variable is ignored.
 *
 *     SELECTORS_PLUGINS=./mine.so selectors-backends        lists it, or tells why it was refused
 *     SELECTORS_PLUGINS=./mine.so selectors-conformance mine    proves that it keeps the contract
 *     SELECTORS_PLUGINS=./mine.so SELECTORS_BACKEND=mine server    uses it
 *
 * What a plug-in does wrong stays with it: its table is refused with the reason, an answer against the
 * rules is -EPROTO, events of tokens that it was not given and bits that were not asked for are
 * dropped. It runs in the process, so that a crash of its own is one of the process.
 *
 * What the library does for every backend, so that none has to: registrations and their data,
 * deadlines after a signal, threads, wake-ups, fork, one-shot delivery, changes that cancel out,
 * descriptors that are closed or cannot be watched. A backend knows descriptors, masks and tokens.
 *
 * A whole plug-in, which watches no more than 20 000 descriptors:
 *
 *     #define _GNU_SOURCE
 *     #include <errno.h>
 *     #include <fcntl.h>
 *     #include <poll.h>
 *     #include <selectors_plugin.h>
 *     #include <stdlib.h>
 *
 *     enum { MOST = 20000 };
 *     struct mine { struct pollfd fds[MOST]; uint64_t tokens[MOST]; int count, first; };
 *
 *     static int find(struct mine *mine, int fd) {
 *         int i = 0;
 *         while (mine->fds[i].fd != fd)
 *             i++;
 *         return i;
 *     }
 *     static int mine_open(void **instance) {
 *         *instance = calloc(1, sizeof(struct mine));
 *         return *instance == NULL ? -ENOMEM : 0;
 *     }
 *     static int mine_add(void *instance, int fd, uint32_t mask, uint64_t token) {
 *         struct mine *mine = instance;
 *         if (fcntl(fd, F_GETFD) < 0)
 *             return -EBADF;
 *         if (mine->count == MOST)
 *             return -ENOSPC;
 *         mine->fds[mine->count] = (struct pollfd){fd, (short)mask, 0};
 *         mine->tokens[mine->count++] = token;
 *         return 0;
 *     }
 *     static int mine_modify(void *instance, int fd, uint32_t mask, uint64_t token) {
 *         struct mine *mine = instance;
 *         int i = find(mine, fd);
 *         mine->fds[i].events = (short)mask;
 *         mine->tokens[i] = token;
 *         return 0;
 *     }
 *     static int mine_remove(void *instance, int fd) {
 *         struct mine *mine = instance;
 *         int i = find(mine, fd);
 *         mine->fds[i] = mine->fds[--mine->count];
 *         mine->tokens[i] = mine->tokens[mine->count];
 *         return 0;
 *     }
 *     static int mine_wait(void *instance, sel_backend_event *events, int max, int64_t timeout_ns,
 *                          const sigset_t *signals) {
 *         struct mine *mine = instance;
 *         struct timespec time = {timeout_ns / 1000000000, timeout_ns % 1000000000};
 *         int found = 0, first = mine->first;
 *         if (ppoll(mine->fds, mine->count, timeout_ns < 0 ? NULL : &time, signals) < 0)
 *             return -errno;
 *         for (int i = 0; i < mine->count && found < max; i++) {
 *             int slot = (first + i) % mine->count;
 *             if (mine->fds[slot].revents == 0)
 *                 continue;
 *             events[found++] = (sel_backend_event){mine->fds[slot].revents, mine->tokens[slot]};
 *             mine->first = slot + 1;
 *         }
 *         return found;
 *     }
 *     sel_plugin_entry sel_plugin;
 *
 *     const sel_backend_ops *sel_plugin(const sel_plugin_host *host) {
 *         static const sel_backend_ops ops = {
 *             .abi = SEL_PLUGIN_ABI, .size = sizeof ops, .name = "mine", .rank = 0,
 *             .open = mine_open, .add = mine_add, .modify = mine_modify, .remove = mine_remove,
 *             .wait = mine_wait, .close = free,
 *         };
 *         (void)host;
 *         return &ops;
 *     }
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef SELECTORS_PLUGIN_H
#define SELECTORS_PLUGIN_H

#include "selectors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of what this file describes. It goes up when a plug-in has to be compiled again. */
#define SEL_PLUGIN_ABI 1

/*
 * One descriptor that is ready: mask in poll(2)'s bits, token as it came with the descriptor. On
 * Linux it is laid out as struct epoll_event.
 */
typedef struct sel_backend_event {
    uint32_t mask;
    uint64_t token;
}
#if defined(__linux__) && defined(__x86_64__)
__attribute__((packed))
#endif
sel_backend_event;

/* Bits of a mask that stand beside POLLIN, POLLOUT, POLLPRI and POLLRDHUP, all that is asked for. */
#define SEL_MASK_EDGE 0x80000000u      /* report news only; with SEL_CAN_EDGE (EPOLLET) */
#define SEL_MASK_ONESHOT 0x40000000u   /* report once, then not before a modify; SEL_CAN_ONESHOT */
#define SEL_MASK_EXCLUSIVE 0x10000000u /* wake one of several; with SEL_CAN_EXCLUSIVE */

/*
 * A backend. The table is copied, its text and functions are used for the rest of the process.
 *
 * Errors. A function returns 0, or a negative errno value and then has changed nothing. It may change
 * errno. What it answers against these rules is an error, -EPROTO, of the call that asked, and
 * sel_last_error() tells the function and the answer.
 *
 * Threads. Calls of one instance come one at a time, but for add, modify and remove during a wait
 * if the backend has SEL_CAN_CONCURRENT. Different instances may be called at the same time. During
 * sel_plugin(), probe and open other threads wait that open a selector or list backends, so these
 * must not wait for one that does. A function may fork, and may not be left by longjmp().
 *
 * Calls back. A function must not use the selector that it serves: such a call returns -EDEADLK.
 *
 * Descriptors. fd is a number, and not negative. Between an add that succeeded and its remove the
 * number is the backend's to watch, though the file behind it may be closed or replaced by then. It
 * is not added again before it is removed, but after an error of modify.
 */
typedef struct sel_backend_ops {
    uint32_t abi;          /* SEL_PLUGIN_ABI */
    uint32_t size;         /* sizeof(sel_backend_ops); what later versions add may be missing */
    const char *name;      /* 1 to 32 of a-z, 0-9, _ and -, a letter first; not one that exists */
    int32_t rank;          /* the highest is the default (epoll has 300); 0: chosen by name only */
    uint32_t capabilities; /* SEL_CAN_ bits */

    /*
     * Tells whether the backend can be used here: 0, or a negative errno value, and in *reason why
     * not, if that is more than the value says; the text is copied. Called once, unless it
     * returns -EINTR, -ENOMEM, -EMFILE or -ENFILE, which say nothing of the system. NULL: the library
     * opens an instance and waits with a timeout of 0.
     */
    int (*probe)(const char **reason);

    /* Makes an instance, for one selector, and stores it. It gives it to every other call. */
    int (*open)(void **instance);

    /*
     * Starts to watch fd. -EBADF: it is not open. -EPERM: its file cannot be watched, as epoll says
     * of regular files; the library then has poll(2) watch it. -ELOOP: it is the backend's own.
     * What the facility still has under that number, of a file that was there before or of one that
     * modify has failed for, is replaced: -EEXIST and -ENOENT are against the rules.
     */
    int (*add)(void *instance, int fd, uint32_t mask, uint64_t token);

    /*
     * Changes mask and token. An error means that this is not the file that was added, or that it
     * cannot be changed; whatever it says, the library then adds the number anew.
     */
    int (*modify)(void *instance, int fd, uint32_t mask, uint64_t token);

    /*
     * Stops to watch fd, which counts as removed whatever is returned. An error means that the file
     * that was added is not there under this number: should its token come up again, the library
     * calls reset, or makes another instance, and adds all descriptors anew.
     */
    int (*remove)(void *instance, int fd);

    /*
     * Waits until a descriptor is ready or the time is over, and stores up to max events, at least
     * 1. timeout_ns is in nanoseconds; negative: no limit; 0: only look. It may return early, the
     * library keeps the deadline. signals, if not NULL, is the thread's signal mask during the wait
     * (-ENOSYS: cannot be done); it is NULL when timeout_ns is 0.
     *
     * Readiness is level-triggered, and a descriptor is reported at most once. POLLERR, POLLHUP and
     * POLLNVAL are reported whether asked for or not. Of more ready ones than max, each has to come
     * within a bounded number of waits. A number whose file was closed must not keep others from
     * being reported. What a facility has told is reported even where a second look shows nothing: a
     * look at some files, as the mounts in /proc, clears what they tell; of these, what does not fit
     * should be kept for the next wait.
     *
     * Returns the number of events, or -EINTR when a signal came, or another error, which
     * sel_select() returns.
     */
    int (*wait)(void *instance, sel_backend_event *events, int max, int64_t timeout_ns,
                const sigset_t *signals);

    /*
     * Gives a descriptor that is readable when a watched one is ready: always the same number and
     * the same file, so that who watches it does not notice a reset (an epoll around the one that is
     * replaced, for example). Needed with SEL_CAN_FILENO only.
     */
    int (*fileno)(void *instance);

    /*
     * Forgets all descriptors that are watched. After a fork (after_fork is 1, in the child) what is
     * shared with the parent, as the set behind an epoll descriptor, must be left as it is, and
     * another one made. NULL: the library makes another instance and closes this one. Needed if the
     * backend has descriptors of its own: a new one must not have a number that is watched, which may
     * have been closed meanwhile, so keep the number, as by dup3(2), or take another.
     * No thread is in a wait of the instance.
     */
    int (*reset)(void *instance, int after_fork);

    /* Frees the instance. */
    void (*close)(void *instance);

    /*
     * Since 1.1.0, and may be NULL. Called in the child of a fork, at once, for each instance that the
     * parent had: closes the descriptors that the instance has, which are the parent's, while their
     * numbers are sure to name them; a daemon may close all descriptors next and give their numbers to
     * files of its own. Only async-signal-safe functions may be called. A reset with after_fork 1, or
     * close, follows.
     */
    void (*forked)(void *instance);
} sel_backend_ops;

/* What the library gives to a plug-in. The table lives forever. */
typedef struct sel_plugin_host {
    uint32_t abi;  /* SEL_PLUGIN_ABI */
    uint32_t size; /* sizeof(sel_plugin_host) */

    /*
     * Opens an instance of another backend, as sel_open() chooses it from a list of names, to put
     * something between it and the library; NULL: of the best one, whatever SELECTORS_BACKEND says.
     * ops is its table, in which no function is NULL but probe; fileno returns -ENOTSUP where there
     * is none. For use within sel_plugin() and later.
     *
     * Returns 0, or what sel_open() returns.
     */
    int (*open_backend)(const char *backend, const sel_backend_ops **ops, void **instance);
} sel_plugin_host;

/*
 * The type of sel_plugin(), the function that a plug-in exports. It returns the table, or NULL if it
 * does not want to run. "sel_plugin_entry sel_plugin;" declares it.
 */
typedef const sel_backend_ops *sel_plugin_entry(const sel_plugin_host *host);

/*
 * Adds a backend to the process, for the rest of its life. It is tried when it is first asked for.
 *
 * Returns 0, or, and then sel_last_error() tells more,
 *   -EINVAL   ops is NULL or too small, a function is missing, name, rank or capabilities are not
 *             as described
 *   -ENOTSUP  ops->abi is not SEL_PLUGIN_ABI
 *   -EEXIST   the name is taken
 *   -ENOMEM
 */
int sel_add_backend(const sel_backend_ops *ops);

/*
 * Loads a plug-in and adds its backend. It is never unloaded. One that was loaded before is not
 * added again.
 *
 * Returns 0, or what sel_add_backend() returns, or
 *   -EINVAL   path is NULL or has no slash; the file has no function sel_plugin(), or that returns
 *             NULL
 *   -ELIBACC  the file cannot be loaded; sel_last_error() has the loader's words
 *   -ENOSYS   this program cannot load any, since it is linked statically
 * A plug-in that was refused is listed by sel_backends() under its path, with the reason; the first 64
 * refusals of a process are.
 */
int sel_load_plugin(const char *path);

#ifdef __cplusplus
}
#endif

#endif
