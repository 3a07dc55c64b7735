/*
 * selectors_plugin.h - add a backend of your own to libselectors, without touching the library.
 *
 * A backend is a table of C functions, sel_backend_ops. A program hands it to sel_add_backend(); a
 * plug-in is a shared library whose one exported function, sel_plugin(), returns it. Plug-ins are
 * loaded by sel_load_plugin(), or named by the environment variable SELECTORS_PLUGINS: paths with
 * colons between them, each containing a slash. They are loaded when the library first needs the list
 * of backends. In a privileged process (secure execution) the variable is ignored.
 *
 *     SELECTORS_PLUGINS=./mine.so selectors-backends        lists it, or says why it was refused
 *     SELECTORS_PLUGINS=./mine.so selectors-conformance mine    tests whether it keeps the contract
 *     SELECTORS_PLUGINS=./mine.so SELECTORS_BACKEND=mine server    uses it
 *
 * The library checks what a plug-in does. A table that breaks the rules is refused with the reason; an
 * invalid result is -EPROTO; events with unknown tokens, and bits that were not asked for, are dropped.
 * But a plug-in runs in the process, and if it crashes, the process does.
 *
 * The library handles the rest for every backend: registrations and their data, deadlines after a
 * signal, threads, wake-ups, fork, one-shot delivery, changes that cancel out, descriptors that are closed
 * or cannot be watched. A backend knows descriptors, masks and tokens.
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

/* The version of this interface. It increases when plug-ins have to be compiled again. */
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

/* Bits of a mask beside POLLIN, POLLOUT, POLLPRI and POLLRDHUP; no others are used. */
#define SEL_MASK_EDGE 0x80000000u      /* report changes only; with SEL_CAN_EDGE (EPOLLET) */
#define SEL_MASK_ONESHOT 0x40000000u   /* report once, then not until modify; SEL_CAN_ONESHOT */
#define SEL_MASK_EXCLUSIVE 0x10000000u /* wake one of several; with SEL_CAN_EXCLUSIVE */

/*
 * A backend. The table is copied, its text and functions are used for the rest of the process.
 *
 * Errors. A function returns 0, or a negative errno value and then has changed nothing. It may change
 * errno. If a result breaks these rules, the library's caller gets -EPROTO, and sel_last_error() gives
 * the function and the result.
 *
 * Threads. Calls of one instance are serialized, except that add, modify, remove and further waits may
 * come during a wait if the backend has SEL_CAN_CONCURRENT. Different instances may be called at the same
 * time. sel_plugin(), probe and open run while threads that open a selector or list backends are blocked;
 * they must not wait for such a thread. A function may fork. It must not be left by longjmp().
 *
 * Reentrancy. A function must not use the selector that it serves: such a call returns -EDEADLK.
 *
 * Descriptors. fd is not negative. The backend watches it from a successful add to the remove, even if
 * the file behind it is closed or replaced meanwhile. It is not added again before that, except after an
 * error of modify.
 */
typedef struct sel_backend_ops {
    uint32_t abi;          /* SEL_PLUGIN_ABI */
    uint32_t size;         /* sizeof(sel_backend_ops); fields of later versions may be missing */
    const char *name;      /* 1 to 32 of a-z, 0-9, _ and -, a letter first; must be unused */
    int32_t rank;          /* the highest is the default (epoll has 300); 0: chosen by name only */
    uint32_t capabilities; /* SEL_CAN_ bits */

    /*
     * Returns 0 if the backend is available here, else a negative errno value; *reason may be set to a
     * text that explains it, which is copied. Called once, unless it returns -EINTR, -ENOMEM, -EMFILE
     * or -ENFILE, which are not about the system. NULL: the library opens an instance and waits with a
     * timeout of 0.
     */
    int (*probe)(const char **reason);

    /* Creates an instance, for one selector. Every other call gets it. */
    int (*open)(void **instance);

    /*
     * Starts to watch fd. -EBADF: it is not open. -EPERM: its file cannot be watched, as epoll says
     * of regular files; the library then has poll(2) watch it. -ELOOP: it is the backend's own.
     * An older entry of the facility under that number, of a previous file or after a failed modify, is
     * replaced: -EEXIST and -ENOENT are not allowed.
     */
    int (*add)(void *instance, int fd, uint32_t mask, uint64_t token);

    /*
     * Changes mask and token. An error means that this is not the file that was added, or that it
     * cannot be changed; after any error the library adds the number again.
     */
    int (*modify)(void *instance, int fd, uint32_t mask, uint64_t token);

    /*
     * Stops watching fd, which counts as removed whatever is returned. An error means that the number
     * does not name the file that was added. If its token is reported again, the library calls reset, or
     * creates another instance, and adds all descriptors again.
     */
    int (*remove)(void *instance, int fd);

    /*
     * Waits until a descriptor is ready or the time is over, and stores up to max events; max is at least
     * 1. timeout_ns is in nanoseconds; negative: no limit; 0: return at once. It may return early: the
     * library keeps the deadline. signals, if not NULL, is the thread's signal mask during the wait
     * (-ENOSYS: not supported); it is NULL if timeout_ns is 0.
     *
     * Readiness is level-triggered, and a descriptor is reported at most once. POLLERR, POLLHUP and
     * POLLNVAL are reported whether asked for or not. If more than max are ready, each is reported within a
     * bounded number of waits. A closed descriptor must not keep others from being reported. What the
     * facility has reported is passed on even if a second look shows nothing, because polling some files,
     * such as the mounts in /proc, clears the event; keep what does not fit for the next wait.
     *
     * Returns the number of events, or -EINTR after a signal, or another error, which sel_select()
     * returns.
     */
    int (*wait)(void *instance, sel_backend_event *events, int max, int64_t timeout_ns,
                const sigset_t *signals);

    /*
     * Returns a descriptor that is readable while a watched one is ready. It is always the same number
     * and the same file, so that a reset is not noticed by those who watch it (for example, an epoll
     * around the one that is replaced). Needed with SEL_CAN_FILENO only.
     */
    int (*fileno)(void *instance);

    /*
     * Stops watching all descriptors. After a fork (after_fork is 1, in the child), do not change what is
     * shared with the parent, such as the set behind an epoll descriptor; create another one. NULL: the
     * library creates another instance and closes this one. Needed if the backend has descriptors of its
     * own: a new one must not get a number that is watched, whose file may be closed by now, so keep the
     * old number (dup3(2)) or choose another. No thread is in a wait of the instance.
     */
    int (*reset)(void *instance, int after_fork);

    /* Frees the instance. */
    void (*close)(void *instance);

    /*
     * Since 1.1.0; may be NULL. Called in the child right after a fork, for each instance of the parent.
     * Closes the descriptors of the instance while their numbers still name them: a daemon may close all
     * descriptors next, and reuse the numbers. Only async-signal-safe functions may be called. A reset with
     * after_fork 1, or close, follows.
     */
    void (*forked)(void *instance);
} sel_backend_ops;

/* What the library offers to a plug-in. The table lives forever. */
typedef struct sel_plugin_host {
    uint32_t abi;  /* SEL_PLUGIN_ABI */
    uint32_t size; /* sizeof(sel_plugin_host) */

    /*
     * Opens an instance of another backend, chosen from a list of names as by sel_open(), for a plug-in
     * that stands between it and the library. NULL: of the best one, whatever SELECTORS_BACKEND says.
     * *ops is its table, in which no function but probe is NULL; fileno returns -ENOTSUP if there is no
     * descriptor. May be called from within sel_plugin() on.
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
 * Adds a backend for the rest of the process's life. It is probed when it is first needed.
 *
 * Returns 0, or, with details in sel_last_error(),
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
 *   -ENOSYS   this program is linked statically and cannot load libraries
 * sel_backends() lists a refused plug-in under its path, with the reason; at most 64 per process.
 */
int sel_load_plugin(const char *path);

#ifdef __cplusplus
}
#endif

#endif
