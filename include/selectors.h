/*
 * selectors.h - wait for readiness of many file descriptors at once.
 *
 * One small interface over epoll, poll and select, with the same behaviour on each:
 * register descriptors, wait until some are ready, handle what is ready.
 *
 *     sel_selector *selector;
 *     sel_event events[64];
 *     int ready;
 *
 *     if (sel_open(&selector, NULL) < 0 ||
 *         sel_register(selector, socket, SEL_READ, connection) < 0)
 *         give_up(sel_last_error());
 *     while ((ready = sel_select(selector, events, 64, SEL_FOREVER)) >= 0)
 *         for (int i = 0; i < ready; i++)
 *             serve(events[i].key.data, events[i].events);
 *     give_up(sel_last_error());
 *
 * Errors. A function that can fail returns a negative errno value (-EBADF, -EINVAL ...), and
 * leaves errno as it was. A call that fails has changed nothing. sel_strerror() names a value,
 * sel_last_error() describes the failure in full.
 *
 * Readiness. It is level-triggered: a descriptor is reported by every sel_select() for as long as
 * it is ready. Delivery modes change that for one descriptor, see SEL_ONESHOT.
 *
 * Threads. Any thread may call any function on any selector. What one thread registers, modifies or
 * unregisters takes effect in the sel_select() that another is blocked in. Many threads may call
 * sel_select() at once: if the backend has SEL_CAN_CONCURRENT all wait in the kernel, else one does and
 * the others queue. An event goes to one of them; until it is served it may go to others, too, unless it
 * is SEL_ONESHOT. An event that sel_select() has returned stays valid when another
 * thread unregisters the descriptor.
 *
 * Fork. Any thread may fork at any time. The child may go on with its copy of a selector; the first call
 * that needs the kernel gives it descriptors of its own, and the parent is not affected. That call may
 * fail with -EMFILE or -ENFILE. In the child, use a selector that watches another one by sel_fileno()
 * only after that one. If a signal handler or a plug-in forks in the middle of a call, the child's
 * calls on that selector may return -ECANCELED; it can be closed. Such a fork takes up to 0.1 s, and
 * seconds if two threads do it at once, each in a call of another selector. In a handler that has
 * interrupted malloc(), which a call may be in, glibc's fork() itself hangs while other threads run;
 * _Fork() does not. No signal handler runs in a thread while it forks.
 *
 * A child of _Fork() or bare clone() can only close its parent's selectors, other calls return
 * -ECANCELED. A child of vfork() must not call anything here.
 *
 * Signals. A handler may call sel_wakeup(), and nothing else here. It must not leave a call by
 * siglongjmp().
 *
 * Cancellation. No function here is a cancellation point. Asynchronous cancellation must not be enabled
 * in a call, and a single-threaded process must not have called pthread_cancel() on itself.
 *
 * Descriptors. A selector has up to four descriptors of its own, with numbers above 2, which exec
 * closes. Do not close them: the next sel_select() then returns -EBADF, and an epoll or eventfd of yours
 * that was given such a number cannot be distinguished from the library's. A child of a fork may close all
 * descriptors before it uses a selector.
 *
 * Environment. SELECTORS_BACKEND chooses the backend, see sel_open(). SELECTORS_PLUGINS names
 * backends to be loaded, see selectors_plugin.h.
 *
 * ABI. A program that was linked to libselectors.so.1 runs with every later one of that name:
 * functions, macros and structs stay as they are, and what is new comes with new functions. (Structs
 * that begin with their size, as those of plug-ins, may grow at the end.)
 *
 * Languages. This file is C99 and C++11.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef SELECTORS_H
#define SELECTORS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/select.h> /* sigset_t, in strict C too */

#ifdef __cplusplus
extern "C" {
#endif

/* What a compiler can check: that an array has room for max elements, that a result is used. */
#if defined __GNUC__ && !defined __clang__ && __GNUC__ >= 11
#define SEL_FILLS_(array, count) __attribute__((__access__(__write_only__, array, count)))
#else
#define SEL_FILLS_(array, count)
#endif
#if defined __GNUC__
#define SEL_CHECK_RESULT_ __attribute__((__warn_unused_result__))
#else
#define SEL_CHECK_RESULT_
#endif

/* The version of this header; sel_version() gives that of the library. */
#define SEL_VERSION_MAJOR 1
#define SEL_VERSION_MINOR 1
#define SEL_VERSION_PATCH 0
#define SEL_VERSION_STRING "1.1.0"

/*
 * What is waited for (interest), and what has happened (readiness). These are not epoll's bits: EPOLLIN
 * is the same as SEL_READ, but EPOLLOUT is the same as SEL_PRIORITY: a mix-up cannot be detected.
 */
#define SEL_READ 0x1u     /* a read, accept or recv would not block; end of file counts */
#define SEL_WRITE 0x2u    /* a write or send would not block; a finished connect counts */
#define SEL_PRIORITY 0x4u /* urgent: out-of-band data of TCP, a change in sysfs */

/*
 * Delivery modes: how a descriptor is reported. They are combined with what is waited for.
 *
 * SEL_ONESHOT, on every backend: reported once, and not again until sel_modify() arms it, even with
 * the same events. It stays registered. So one of several threads has the descriptor for itself.
 *
 * SEL_EDGE, if the backend has SEL_CAN_EDGE: reported when something new happens (data arrives,
 * buffer space becomes free, a hang-up), and once after sel_register() and each sel_modify() that
 * changes anything, if it is ready then. Read or write until EAGAIN. An event may be spurious; none is
 * missed. A regular file is reported once each time.
 *
 * SEL_EXCLUSIVE, if the backend has SEL_CAN_EXCLUSIVE: if several selectors watch one file, such as
 * the listening socket of several threads or processes, the kernel wakes one or more waiters, but not
 * all of them. It cannot be combined with SEL_PRIORITY or SEL_READ_HANGUP, nor used for a selector's
 * descriptor (sel_modify() then watches that without it), and detail never has SEL_READ_HANGUP.
 */
#define SEL_EDGE 0x10u
#define SEL_ONESHOT 0x20u
#define SEL_EXCLUSIVE 0x40u

/*
 * Causes beyond ordinary readiness: found in sel_event.detail only.
 *
 * SEL_READ_HANGUP may also be waited for, with or without the others, if the backend has
 * SEL_CAN_READ_HANGUP: a program that does not want to read now is told of the peer's end, and is not
 * woken by data. The bit is then set in events and in detail.
 */
#define SEL_HANGUP 0x100u      /* both directions are closed, or the peer of a pipe is gone */
#define SEL_READ_HANGUP 0x200u /* the peer will send no more (Linux: POLLRDHUP) */
#define SEL_ERROR 0x400u       /* an error is pending, SO_ERROR tells which */
#define SEL_INVALID 0x800u     /* the descriptor was closed while registered: unregister it */

/* A timeout for sel_select(): no limit. Any negative number means the same. */
#define SEL_FOREVER (-1)

/* Abilities of a backend: found in sel_backend_info.capabilities. */
#define SEL_CAN_FILENO 0x1u     /* it has a descriptor of its own, see sel_fileno() */
#define SEL_CAN_CONCURRENT 0x2u /* many threads wait at once; changes are seen meanwhile */
#define SEL_CAN_EDGE 0x4u       /* SEL_EDGE */
#define SEL_CAN_EXCLUSIVE 0x8u  /* SEL_EXCLUSIVE */
#define SEL_CAN_ONESHOT \
    0x10u /* the kernel itself reports once; SEL_ONESHOT works without it, too */

#define SEL_CAN_READ_HANGUP 0x20u /* SEL_READ_HANGUP can be waited for */

/* A set of registered descriptors and the kernel facility that watches them. */
typedef struct sel_selector sel_selector;

/* A registration: what sel_register() was told. */
typedef struct sel_key {
    int fd;          /* the descriptor */
    uint32_t events; /* what is waited for, and the delivery modes */
    void *data;      /* the caller's own; the library never uses it */
} sel_key;

/* A registered descriptor that is ready. */
typedef struct sel_event {
    sel_key key;     /* its registration */
    uint32_t events; /* what it is ready for: not 0, a subset of what was waited for */
    uint32_t detail; /* SEL_HANGUP, SEL_READ_HANGUP, SEL_ERROR, SEL_INVALID: any, or 0 */
} __attribute__((aligned(8))) sel_event; /* as 64 bits have it by themselves */

/* One backend, as sel_backends() describes it. All text is the library's and lives forever. */
typedef struct sel_backend_info {
    const char *name;      /* what SELECTORS_BACKEND and sel_open() call it */
    const char *reason;    /* NULL: it is available. Else why it is not */
    const char *origin;    /* the path of its plug-in; NULL: none */
    int rank;              /* the highest available one is the default; 0: by name only */
    uint32_t capabilities; /* SEL_CAN_ bits */
} sel_backend_info;

/*
 * Opens a selector and stores it in *out.
 *
 * backend is a list of names, or NULL for the one in the environment variable SELECTORS_BACKEND,
 * or, where that is unset or empty or the process is privileged (secure execution), for the best
 * backend of the system.
 *
 *     "poll"          this one
 *     "epoll,poll"    the first of these that can be used
 *     "-epoll"        the best one but for epoll; may stand in a list, too
 *
 * An unknown name is an error even if others in the list are available, so that a typing error never
 * becomes a silent fallback. Spaces around a name are allowed. sel_last_error() gives the wrong word
 * and the names that exist.
 *
 * Returns 0, or, with *out set to NULL,
 *   -EINVAL   out is NULL, or the list is malformed (an empty name)
 *   -ENOENT   a name in the list is unknown
 *   -ENOTSUP  no backend of the list can be used here
 *   -EMFILE, -ENFILE, -ENOMEM, -ENOSPC  as the kernel says
 *   -ECANCELED  in a fork's child: the fork was in the middle of this call
 *
 * The selector's own descriptors are closed by exec.
 */
SEL_CHECK_RESULT_
int sel_open(sel_selector **out, const char *backend);

/*
 * Closes the selector and frees its memory. Registered descriptors stay open. A call that has begun
 * in another thread, such as a blocked sel_select(), returns -ECANCELED, and sel_close() waits until
 * all have returned. The handle must not be used again. Closing NULL does nothing.
 *
 * Returns 0, or -EDEADLK if a function of the selector's own backend calls it; nothing is closed then.
 */
int sel_close(sel_selector *selector);

/*
 * Registers a descriptor: from now on it is watched for events, a combination of SEL_READ,
 * SEL_WRITE, SEL_PRIORITY and SEL_READ_HANGUP (at least one of them) and delivery modes. data comes
 * back with each of its events.
 *
 * Any open file will do: sockets, pipes, terminals, timers, other selectors.
 * Regular files and directories are always ready, on every backend.
 *
 * Returns 0, or
 *   -EINVAL   selector is NULL, fd is negative, events contains no readiness bit, or unknown bits;
 *             with epoll, fd is watched by some hundred selectors that others watch
 *   -ENOTSUP  the backend does not support the delivery mode, or SEL_READ_HANGUP as an interest
 *   -EBADF    fd is not open, or was opened with O_PATH; or the selector's own descriptor was closed
 *   -EEXIST   fd is registered already
 *   -ECANCELED  the selector cannot be used in this fork's child
 *   -EDEADLK  called by a function of the selector's own backend
 *   -ENOMEM, -ENOSPC  no memory, or the limit in /proc/sys/fs/epoll/max_user_watches is reached
 *   -EMFILE, -ENFILE  no descriptor for a new kernel set, which is needed in a fork's child, and when
 *             a file that was unregistered, or closed while registered, lives on in a duplicate
 *   -ELOOP    fd is a descriptor of this selector's own, or one of a selector that watches it, or
 *             selectors would watch one another in more than five levels, of which one whose
 *             sel_fileno() was asked for counts for two
 *
 * Takes constant time, and allocates only for numbers higher than any seen before. See epoll_ctl(2).
 */
int sel_register(sel_selector *selector, int fd, uint32_t events, void *data);

/*
 * Changes what a registered descriptor is watched for, and its data.
 *
 * The kernel is told just before the next sel_select(), or at once while a thread waits. A change that
 * is reversed before costs no system call. If the descriptor was closed meanwhile, sel_select() reports
 * it with SEL_INVALID; if its number names another file by then, that file is watched. An unchanged mask
 * never costs a system call, so with epoll neither is noticed: unregister before you close.
 *
 * Returns 0, or
 *   -EINVAL   selector is NULL, fd is negative, events contains no readiness bit, or unknown bits
 *   -ENOTSUP  the backend does not support the delivery mode, or SEL_READ_HANGUP as an interest
 *   -ENOENT   fd is not registered
 *   -ECANCELED  the selector cannot be used in this fork's child
 *   -EDEADLK  called by a function of the selector's own backend
 *
 * Takes constant time, never allocates.
 */
int sel_modify(sel_selector *selector, int fd, uint32_t events, void *data);

/*
 * Unregisters a descriptor. Do this before you close it. A descriptor that is closed already, or whose
 * number names another file by now, can still be unregistered, and no event of the old file is
 * delivered afterwards, even if that lives on in a duplicate (dup, fork).
 *
 * If old is not NULL, the registration is stored there.
 *
 * Returns 0, or
 *   -EINVAL   selector is NULL, fd is negative
 *   -ENOENT   fd is not registered
 *   -ECANCELED  the selector cannot be used in this fork's child
 *   -EDEADLK  called by a function of the selector's own backend
 *
 * Takes constant time, never allocates.
 */
int sel_unregister(sel_selector *selector, int fd, sel_key *old);

/*
 * Waits until a registered descriptor is ready or the time is over, and stores up to max events.
 *
 * timeout_ns is in nanoseconds. Negative (SEL_FOREVER): no limit. 0: returns at once. Otherwise it
 * waits at least that long, at the best resolution of the kernel, even if nothing is registered.
 *
 * A descriptor appears at most once, in no particular order. If more than max are ready, the others
 * come next time; none starves. An error or a hang-up makes a descriptor
 * ready for all it is watched for, with the cause in detail; a read or write then gives the error.
 * (select(2) does not see a hang-up of a descriptor that is watched without SEL_READ and not writable,
 * nor an error or hang-up of one watched for SEL_PRIORITY only. It cannot tell the cause if poll(2)
 * clears it, as with some files of /proc. epoll polls a file when it is told of it: what such a file
 * reports only once may be lost if it came before sel_register(), or before the wait that follows a
 * sel_modify().)
 *
 * The array is a copy, and sel_unregister() removes nothing from it. A handler may close the
 * descriptor, and free the data, of an event that comes later in the same array, and the number may name
 * another file by then. So do not free what data points to before the last event of the array is
 * served: mark it, skip the events of what is marked, and free it afterwards. Or ask for one event at a
 * time.
 *
 *     for (int i = 0; i < ready; i++) {
 *         struct connection *connection = events[i].key.data;
 *         if (!connection->is_gone)
 *             serve(connection);
 *     }
 *     free_what_is_marked();
 *
 * A signal does not end the wait: it goes on for the time that is left (PEP 475), unless
 * sel_set_interruptible() has asked otherwise.
 *
 * Returns the number of events (0: timeout or wake-up), or
 *   -EINVAL   selector or events is NULL, max is less than 1; with poll, more are registered,
 *             with select, more are ready, than RLIMIT_NOFILE allows
 *   -EINTR    a signal was handled, and the selector is interruptible; with epoll, also a stop and
 *             continue, a debugger, or a SIGCHLD without a handler
 *   -ECANCELED  the selector was closed by another thread, or cannot be used in this fork's child
 *   -EDEADLK  called by a function of the selector's own backend
 *   -EBADF    the selector's own descriptor was closed by the program
 *   -ENOMEM   no memory
 *   -ENOSPC   a changed descriptor exceeds the limit in /proc/sys/fs/epoll/max_user_watches; only if
 *             no other is ready
 *   -EMFILE, -ENFILE  no descriptor for a new kernel set; see sel_register()
 * All of the array may be written to, up to events[max - 1]; what follows the returned events is
 * undefined.
 *
 * The time taken grows with the number of ready descriptors (epoll), or of all that are registered
 * (poll, select). Never allocates. See epoll_pwait2(2), ppoll(2), pselect(2).
 */
SEL_FILLS_(2, 3)
int sel_select(sel_selector *selector, sel_event *events, int max, int64_t timeout_ns);

/*
 * Does what sel_select() does, and atomically replaces this thread's signal mask by mask while it
 * waits in the kernel. A signal that is blocked everywhere else is neither missed nor handled too
 * early. NULL leaves the mask alone.
 *
 * Signals are delivered only if nothing is ready, also with a timeout of 0: if some descriptor may always
 * be ready, use signalfd(2) or sel_wakeup() instead. After a signal the wait goes on, or returns -EINTR;
 * see sel_set_interruptible().
 *
 * Returns what sel_select() does, and if no system call for this is available, as in a sandbox,
 *   -ENOSYS, -EPERM
 *
 * See epoll_pwait2(2), ppoll(2), pselect(2).
 */
SEL_FILLS_(2, 3)
int sel_pselect(sel_selector *selector, sel_event *events, int max, int64_t timeout_ns,
                const sigset_t *mask);

/*
 * Chooses whether a handled signal ends sel_select() and sel_pselect() with -EINTR (on is not 0), or
 * does not (0, the default). This also applies to a wait that has begun. A sel_select() that waits for
 * its turn behind another thread's is not interrupted.
 *
 * Returns 0, or
 *   -EINVAL   selector is NULL
 *   -ECANCELED  the selector cannot be used in this fork's child
 *   -EDEADLK  called by a function of the selector's own backend
 */
int sel_set_interruptible(sel_selector *selector, int on);

/*
 * Ends one sel_select() that is waiting now, or else the next one: it returns what is ready, or 0.
 * Further wake-ups before that are merged with it and make no system call. None is lost.
 *
 * Any thread and any signal handler may call it. It leaves sel_last_error() alone.
 *
 * Returns 0, or
 *   -EINVAL   selector is NULL
 *   -EBADF    the selector's own descriptor was closed by the program
 */
int sel_wakeup(sel_selector *selector);

/*
 * Stores the registration of a descriptor in *key.
 *
 * Returns 0, or
 *   -EINVAL   selector or key is NULL, fd is negative
 *   -ENOENT   fd is not registered
 *   -ECANCELED  the selector cannot be used in this fork's child
 *   -EDEADLK  called by a function of the selector's own backend
 *
 * Takes constant time, never allocates.
 */
int sel_get_key(sel_selector *selector, int fd, sel_key *key);

/*
 * Stores up to max registrations, in the order in which they were registered. keys may be NULL
 * when max is 0.
 *
 * Returns the number of registered descriptors, which may be more than max, or
 *   -EINVAL   selector is NULL, max is negative, keys is NULL and max is not 0
 *   -ECANCELED  the selector cannot be used in this fork's child
 *   -EDEADLK  called by a function of the selector's own backend
 */
SEL_FILLS_(2, 3)
int sel_get_map(sel_selector *selector, sel_key *keys, int max);

/*
 * Returns the selector's own descriptor. It is readable while a registered descriptor is ready, so that
 * another selector can watch this one; do nothing else with it. epoll(7) limits how deep selectors may be
 * nested, and how many may watch one file: -ELOOP or -EINVAL from sel_register().
 *
 * After the first call, sel_modify() tells the kernel at once. Files that the kernel cannot watch
 * (regular ones, with epoll) do not make the descriptor readable.
 *
 * Returns the descriptor, the same every time, or
 *   -EINVAL   selector is NULL
 *   -ENOTSUP  the backend has none (poll, select)
 *   -ELOOP    selectors would watch one another in more than five levels with this descriptor; see
 *             sel_register()
 *   -ECANCELED  the selector cannot be used in this fork's child
 *   -EDEADLK  called by a function of the selector's own backend
 *   -EMFILE, -ENFILE, -ENOMEM, -ENOSPC  as the kernel says of a new kernel set; see sel_register()
 */
int sel_fileno(sel_selector *selector);

/*
 * Returns the name of the selector's backend ("epoll"), or NULL for NULL. The text lives forever.
 */
const char *sel_backend_name(const sel_selector *selector);

/*
 * Returns the capabilities of the selector's backend, SEL_CAN_ bits; 0 for NULL. Since 1.1.0.
 */
uint32_t sel_capabilities(const sel_selector *selector);

/*
 * Describes up to max backends, best first, including those that are not available. Each is tried once
 * per process. infos may be NULL if max is 0.
 *
 * Returns the number of backends, which may be more than max, or
 *   -EINVAL   max is negative, infos is NULL and max is not 0
 *   -ENOMEM   there was no memory when the library was loaded
 */
SEL_FILLS_(1, 2)
int sel_backends(sel_backend_info *infos, int max);

/*
 * Returns the text of strerror(3) for an error, as a function here returned it (-EBADF) or as errno has
 * it (EBADF). It is never NULL and must not be freed. The text of an unknown error lasts until the next
 * call.
 */
const char *sel_strerror(int error);

/*
 * Describes this thread's last failed call of this library in one line: which argument or descriptor,
 * what is wrong with it, and the text of sel_strerror(); for sel_open() which variable, which word and
 * which backends exist. Without memory for the line, only the text of sel_strerror(). Do not use
 * perror(3): errno is not set.
 *
 * A successful call does not clear it. Never NULL; empty if nothing has failed yet; valid until this
 * thread's next failing call. sel_wakeup() does not change it, because a signal handler may call that.
 */
const char *sel_last_error(void);

/* Returns the version of the library: SEL_VERSION_STRING when it was built. */
const char *sel_version(void);

#ifdef __cplusplus
}
#endif

#endif
