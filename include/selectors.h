/*
 * selectors.h - wait for readiness of many file descriptors at once.
 *
 * One small interface over epoll, poll and select, with the same behaviour on each:
 * register descriptors, wait until some are ready, look at what came back.
 *
 *     sel_selector *selector;
 *     sel_event events[64];
 *
 *     sel_open(&selector, NULL);
 *     sel_register(selector, socket, SEL_READ, connection);
 *     for (;;) {
 *         int ready = sel_select(selector, events, 64, SEL_FOREVER);
 *         for (int i = 0; i < ready; i++)
 *             serve(events[i].key.data, events[i].events);
 *     }
 *
 * Errors. A function that can fail returns a negative errno value (-EBADF, -EINVAL ...), and
 * leaves errno as it was. A call that fails has changed nothing. sel_strerror() names a value,
 * sel_last_error() tells the whole story.
 *
 * Readiness. It is level-triggered: a descriptor is reported by every sel_select() for as long as
 * it is ready. Delivery modes change that for one descriptor, see SEL_ONESHOT.
 *
 * Threads. Any thread may call any function on any selector. What one thread registers, modifies or
 * unregisters takes effect in the sel_select() that another is blocked in. Many threads may call
 * sel_select() at once: where the backend has SEL_CAN_CONCURRENT all wait, else one waits and the others
 * sleep until it is their turn. An event goes to one of them; one that is not served yet perhaps to
 * others, unless it is SEL_ONESHOT. An event that sel_select() has returned stays valid when another
 * thread unregisters the descriptor.
 *
 * Fork. Any thread may fork at any time. The child may go on with its copy of a selector; the first call
 * that needs the kernel gives it descriptors of its own, and the parent never notices. That call may
 * fail with -EMFILE or -ENFILE. In the child, a selector that watches another one by sel_fileno() has to
 * be used after that one. If a signal handler or a plug-in forks in the middle of a call, the child's
 * calls on that selector may return -ECANCELED; it can be closed. In a handler that has interrupted
 * malloc(), which a call may be in, glibc's fork() itself hangs while other threads run; _Fork() does
 * not. A child of _Fork() or bare clone() can only close it, other calls return -ECANCELED. A child of
 * vfork() must not call anything here.
 *
 * Signals. A handler may call sel_wakeup(), and nothing else here. It must not leave a call by
 * siglongjmp().
 *
 * Cancellation. No function here is a cancellation point. Asynchronous cancellation must not be enabled
 * in a call, and the only thread of a process must not have cancelled itself.
 *
 * Descriptors. A selector has up to four descriptors of its own, with numbers above 2, which exec
 * closes. Do not close them: the next sel_select() then returns -EBADF, and an epoll or eventfd of yours
 * that has got such a number cannot be told from the library's. A child of a fork may close all
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

/* What a compiler can check: that an array has the room that is said, that a result is looked at. */
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
#define SEL_VERSION_MINOR 0
#define SEL_VERSION_PATCH 0
#define SEL_VERSION_STRING "1.0.0"

/*
 * What is waited for (interest), and what has happened (readiness). These are not epoll's bits: EPOLLIN
 * is the same as SEL_READ, but EPOLLOUT the same as SEL_PRIORITY, which nothing can detect.
 */
#define SEL_READ 0x1u     /* a read, accept or recv would not block; end of file counts */
#define SEL_WRITE 0x2u    /* a write or send would not block; a finished connect counts */
#define SEL_PRIORITY 0x4u /* something urgent: out-of-band data of TCP, a change in sysfs */

/*
 * How a descriptor is reported: delivery modes, beside what is waited for.
 *
 * SEL_ONESHOT, on every backend: reported once, then not before sel_modify() arms it again, be it
 * with the same events. It stays registered. So one of several threads has it for itself.
 *
 * SEL_EDGE, where the backend has SEL_CAN_EDGE: reported when something new happens (data come,
 * room gets free, a hang-up), and once after sel_register() and each sel_modify() that changes
 * anything, if it is ready then. Read or write until -EAGAIN. There may be an event too many, never
 * one too few. A regular file is reported once each time.
 *
 * SEL_EXCLUSIVE, where the backend has SEL_CAN_EXCLUSIVE: where several selectors watch one file, as
 * the listening socket of several threads or processes, the kernel wakes at least one of those that
 * wait, not all. Not together with SEL_PRIORITY or SEL_READ_HANGUP, nor for a selector's descriptor,
 * and detail never has SEL_READ_HANGUP.
 */
#define SEL_EDGE 0x10u
#define SEL_ONESHOT 0x20u
#define SEL_EXCLUSIVE 0x40u

/* Why a descriptor is ready beyond the usual: found in sel_event.detail only. */
#define SEL_HANGUP 0x100u      /* both directions are closed, or the peer of a pipe is gone */
#define SEL_READ_HANGUP 0x200u /* the peer will send no more (Linux: POLLRDHUP); see below */
#define SEL_ERROR 0x400u       /* an error is pending, SO_ERROR tells which */
#define SEL_INVALID 0x800u     /* the descriptor was closed while registered: unregister it */

/*
 * SEL_READ_HANGUP may also be waited for, beside or without the others, where the backend has
 * SEL_CAN_READ_HANGUP: so who does not want to read now still hears of the peer's end, and is not woken
 * by data. It then stands in events and in detail.
 */

/* A timeout for sel_select(): wait until something is ready. Any negative number means it. */
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
    void *data;      /* the caller's own; never looked at */
} sel_key;

/* A registered descriptor that is ready. */
typedef struct sel_event {
    sel_key key;     /* its registration */
    uint32_t events; /* what it is ready for: never 0, never more than was waited for */
    uint32_t detail; /* SEL_HANGUP, SEL_READ_HANGUP, SEL_ERROR, SEL_INVALID: any, or 0 */
} __attribute__((aligned(8))) sel_event; /* as 64 bits have it by themselves */

/* One backend, as sel_backends() describes it. All text is the library's and lives forever. */
typedef struct sel_backend_info {
    const char *name;      /* what SELECTORS_BACKEND and sel_open() call it */
    const char *reason;    /* NULL: it can be used here. Else why it cannot */
    const char *origin;    /* the plug-in that it came with; NULL: none */
    int rank;              /* the highest one that can be used is the default; 0: by name only */
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
 * A name that does not exist is refused even in a list, so that a slip of the pen is never a
 * silent fallback. Spaces around a name are allowed. sel_last_error() tells the wrong word and
 * the names there are.
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
 * Closes the selector and frees all it holds. Registered descriptors stay open. A call that has begun
 * in another thread, as a sel_select() that is blocked, returns -ECANCELED, and sel_close() waits until
 * all have returned. The handle must not be used again. Closing NULL does nothing.
 *
 * Returns 0, or -EDEADLK if a function of the selector's own backend calls it, which closes nothing.
 */
int sel_close(sel_selector *selector);

/*
 * Registers a descriptor: from the next sel_select() on it is watched for events, a combination
 * of SEL_READ, SEL_WRITE, SEL_PRIORITY and SEL_READ_HANGUP, at least one of them, and delivery modes.
 * data comes back with each of its events.
 *
 * Anything that has a descriptor will do: sockets, pipes, terminals, timers, other selectors.
 * Regular files and directories are always ready, on every backend.
 *
 * Returns 0, or
 *   -EINVAL   selector is NULL, fd is negative, events has nothing to wait for or other bits; with
 *             epoll, fd is watched by some hundred selectors that others watch
 *   -ENOTSUP  the backend does not have the delivery mode, or SEL_READ_HANGUP as an interest
 *   -EBADF    fd is not open, or was opened with O_PATH
 *   -EEXIST   fd is registered already
 *   -ECANCELED  it cannot be used in this fork's child
 *   -EDEADLK  a function of its own backend has called
 *   -ENOMEM, -ENOSPC  no memory, or over the limit in /proc/sys/fs/epoll/max_user_watches
 *   -EMFILE, -ENFILE  no descriptor for a new kernel set, which is needed in a fork's child, and when
 *             a file that was unregistered, or closed while it was registered, lives on
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
 * The kernel is told at the start of the next sel_select(), so that a change and its reversal cost
 * no system call, and an unchanged mask costs none ever. If the descriptor was closed meanwhile,
 * sel_select() reports it with SEL_INVALID; if its number names another file by then, that file is
 * watched.
 *
 * Returns 0, or
 *   -EINVAL   selector is NULL, fd is negative, events has nothing to wait for or other bits
 *   -ENOTSUP  the backend does not have the delivery mode, or SEL_READ_HANGUP as an interest
 *   -ENOENT   fd is not registered
 *   -ECANCELED  it cannot be used in this fork's child
 *   -EDEADLK  a function of its own backend has called
 *
 * Takes constant time, never allocates.
 */
int sel_modify(sel_selector *selector, int fd, uint32_t events, void *data);

/*
 * Forgets a descriptor. Unregister before you close it; one that was closed nevertheless, or whose
 * number has been given to another file, can still be unregistered, and no event of the old file is
 * delivered afterwards, even where it lives on in a duplicate (dup, fork).
 *
 * old may be NULL; else the registration is stored there.
 *
 * Returns 0, or
 *   -EINVAL   selector is NULL, fd is negative
 *   -ENOENT   fd is not registered
 *   -ECANCELED  it cannot be used in this fork's child
 *   -EDEADLK  a function of its own backend has called
 *
 * Takes constant time, never allocates.
 */
int sel_unregister(sel_selector *selector, int fd, sel_key *old);

/*
 * Waits until a registered descriptor is ready or the time is over, and stores up to max events.
 *
 * timeout_ns is in nanoseconds. Negative (SEL_FOREVER): no limit. 0: only looks. Otherwise it waits
 * at least that long, at the best resolution the kernel has. With nothing registered the time is
 * waited out all the same.
 *
 * A descriptor appears at most once, in no particular order. If more are ready than max, the
 * others come next time: none is passed over for ever. An error or a hang-up makes a descriptor
 * ready for all it is watched for, with the cause in detail; a read or write then tells what it is.
 * (select(2) alone is blind to some: to a hang-up of what is not watched for SEL_READ and not
 * writable, to an error or hang-up of what is watched for SEL_PRIORITY only. It does not tell the
 * cause where a look clears it, as with some files of /proc. epoll looks whenever it is told of a
 * descriptor: what such a file tells once may be lost if it came before sel_register(), or before the
 * wait that follows a sel_modify().)
 *
 * The array is a copy, and sel_unregister() takes nothing out of it. So serving one event may close
 * the descriptor, and free the data, of an event that comes later in the same array, and that number
 * may be another file's by then. Do not free what data points to before the last event of the array
 * has been served: mark it, skip the events of what is marked, and free it afterwards. Or ask for one
 * event at a time.
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
 * Returns the number of events (0: the time is over), or
 *   -EINVAL   selector or events is NULL, max is less than 1; with poll, more are registered,
 *             with select, more are ready, than RLIMIT_NOFILE allows
 *   -EINTR    a signal came, and the selector is interruptible; with epoll, a stop and continue, a
 *             debugger, or a SIGCHLD that has no handler may end the wait, too
 *   -ECANCELED  the selector was closed by another thread, or cannot be used in this fork's child
 *   -EDEADLK  a function of its own backend has called
 *   -EBADF    somebody has closed the selector's own descriptor
 *   -ENOMEM   no memory
 *   -ENOSPC   a changed descriptor is over the limit in /proc/sys/fs/epoll/max_user_watches; only when
 *             no other is ready
 *   -EMFILE, -ENFILE  no descriptor for a new kernel set; see sel_register()
 * The array is used up to events[max - 1], whatever is returned: what follows the returned events
 * has no meaning.
 *
 * The time taken grows with the number of ready descriptors (epoll), or of all that are registered
 * (poll, select). Never allocates. See epoll_pwait2(2), ppoll(2), pselect(2).
 */
SEL_FILLS_(2, 3)
int sel_select(sel_selector *selector, sel_event *events, int max, int64_t timeout_ns);

/*
 * Does what sel_select() does, with this thread's signal mask replaced by mask while it waits in the
 * kernel, in one step with the wait: a signal that is blocked all the time but here can neither be
 * missed nor come too early. NULL leaves the mask alone.
 *
 * Signals come in only while nothing is ready; with a timeout of 0, too. What then happens is up to
 * sel_set_interruptible(): return -EINTR, or go on waiting (the handler may call sel_wakeup()).
 *
 * Returns what sel_select() does, and where the system has no such call, as a sandbox may have it,
 *   -ENOSYS, -EPERM
 *
 * See epoll_pwait2(2), ppoll(2), pselect(2).
 */
SEL_FILLS_(2, 3)
int sel_pselect(sel_selector *selector, sel_event *events, int max, int64_t timeout_ns,
                const sigset_t *mask);

/*
 * Makes a handled signal end sel_select() and sel_pselect() with -EINTR (on is not 0), or not (0, as
 * it is at first). It holds for the wait that goes on, too. A sel_select() that waits for another
 * thread's to end is not interrupted.
 *
 * Returns 0, or
 *   -EINVAL   selector is NULL
 *   -ECANCELED  it cannot be used in this fork's child
 *   -EDEADLK  a function of its own backend has called
 */
int sel_set_interruptible(sel_selector *selector, int on);

/*
 * Wakes one sel_select() that is waiting now, or else the next one: it returns what is ready, or 0.
 * More wake-ups before that are one with it, and cost no system call. None is lost.
 *
 * Any thread may call it, and a signal handler. It leaves sel_last_error() alone.
 *
 * Returns 0, or
 *   -EINVAL   selector is NULL
 *   -EBADF    somebody has closed the selector's own descriptor
 */
int sel_wakeup(sel_selector *selector);

/*
 * Stores the registration of a descriptor in *key.
 *
 * Returns 0, or
 *   -EINVAL   selector or key is NULL, fd is negative
 *   -ENOENT   fd is not registered
 *   -ECANCELED  it cannot be used in this fork's child
 *   -EDEADLK  a function of its own backend has called
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
 *   -ECANCELED  it cannot be used in this fork's child
 *   -EDEADLK  a function of its own backend has called
 */
SEL_FILLS_(2, 3)
int sel_get_map(sel_selector *selector, sel_key *keys, int max);

/*
 * Gives the selector's own descriptor. It becomes readable when a registered one is ready, so that
 * a selector can be registered with another; do nothing else with it. How deep selectors may be nested,
 * and how many may watch one file, is limited by epoll(7): -ELOOP or -EINVAL from sel_register().
 *
 * Once it has been asked for, sel_modify() tells the kernel at once. Files that the kernel cannot
 * watch (regular ones, with epoll) do not make it readable.
 *
 * Returns the descriptor, the same every time, or
 *   -EINVAL   selector is NULL
 *   -ENOTSUP  the backend has none (poll, select)
 *   -ELOOP    with this descriptor selectors would watch one another in more than five levels; see
 *             sel_register()
 *   -ECANCELED  it cannot be used in this fork's child
 *   -EDEADLK  a function of its own backend has called
 *   -EMFILE, -ENFILE, -ENOMEM, -ENOSPC  as the kernel says of a new kernel set; see sel_register()
 */
int sel_fileno(sel_selector *selector);

/*
 * Gives the name of the selector's backend ("epoll"), or NULL for NULL. The text lives forever.
 */
const char *sel_backend_name(const sel_selector *selector);

/*
 * Gives what the selector's backend can do, in SEL_CAN_ bits; 0 for NULL. Since 1.1.0.
 */
uint32_t sel_capabilities(const sel_selector *selector);

/*
 * Describes up to max backends, the best first, those that cannot be used here included. Each is
 * tried once in a process. infos may be NULL when max is 0.
 *
 * Returns the number of backends, which may be more than max, or
 *   -EINVAL   max is negative, infos is NULL and max is not 0
 *   -ENOMEM   there was no memory when the library was loaded
 */
SEL_FILLS_(1, 2)
int sel_backends(sel_backend_info *infos, int max);

/*
 * Names an error, given as a function here returned it (-EBADF) or as errno has it (EBADF). The
 * text is that of strerror(3), and like that one's lasts until the next call if the error is unknown;
 * it is never NULL and needs no freeing.
 */
const char *sel_strerror(int error);

/*
 * Tells what went wrong in this thread's last call of this library that failed, in one line: which
 * argument or descriptor, what is wrong with it, and what sel_strerror() says of the value; for
 * sel_open() which variable, which word and which backends there are. Where there is no memory for the
 * line, only what sel_strerror() says. perror(3) says nothing of use, for errno is not set.
 *
 * Successful calls do not clear it. Never NULL, empty if nothing has failed yet; valid until this
 * thread's next failing call. sel_wakeup() leaves it as it is, for a signal handler may be the caller.
 */
const char *sel_last_error(void);

/* Gives the version of the library, as SEL_VERSION_STRING was when it was built. */
const char *sel_version(void);

#ifdef __cplusplus
}
#endif

#endif
