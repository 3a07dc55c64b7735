/*
 * contestant.h - what a contestant of the benchmark brings, and what it gets.
 *
 * A contestant is a program that waits for readiness in its own way: by a system call, by this
 * library, by another one. It fills in a struct contestant and calls compete(), which runs one
 * workload with it. So all of them do the same, and pay the same for being measured.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CONTESTANT_H
#define CONTESTANT_H

#include <stdbool.h>
#include <stddef.h>

/* Interest and readiness; the values are those of selectors.h. */
enum { BENCH_READ = 1, BENCH_WRITE = 2 };

/* The room for events of a contestant with an array of its own: more than are ever ready. */
enum { MOST_EVENTS = 16384 };

/*
 * Sets, by number, for a pool of threads: any number of them may wait in one set at once. Whatever
 * fails ends the program, as below.
 */
struct pool {
    void (*open)(const char *argument, int sets);
    void (*close)(void);
    /* For reading; once: after an event there is no other until arm is called. */
    void (*add)(int set, int fd, bool once, void *data);
    void (*arm)(int set, int fd, void *data);
    /* Waits for one event and returns its data. */
    void *(*wait)(int set);
};

/* Whatever fails ends the program, by die(). */
struct contestant {
    /* argument is the first one of the program; threads: wakeup will be called by another one. */
    void (*open)(const char *argument, bool threads);
    void (*close)(void);
    void (*add)(int fd, unsigned events, void *data);
    void (*modify)(int fd, unsigned events, void *data);
    void (*remove)(int fd);
    /* Waits until something is ready or wakeup was called, and calls on_event for what is ready. */
    void (*wait)(void);
    /* Ends the wait that goes on, or the next one. NULL: there is no such thing. */
    void (*wakeup)(void);
    /* NULL: there is no such thing. Not used together with the others. */
    const struct pool *pool;
};

/* Set by the workload. */
extern void (*on_event)(void *data, unsigned events);

/* Calls it; Swift may not, for it is a variable. */
static inline void call_on_event(void *data, unsigned events) {
    on_event(data, events);
}

/*
 * The whole main function of a contestant:
 *
 *     PROGRAM ARGUMENT WORKLOAD REGISTERED READY          a round for each number of loops on stdin
 *     PROGRAM ARGUMENT WORKLOAD REGISTERED READY LOOPS    one round, for an instruction counter
 *
 * It says "ready", or "-" and why this cannot be; then of each round the sum of what was measured
 * (ns or bytes), the number of operations, how often memory was allocated, and the number of context
 * switches.
 */
int compete(const struct contestant *contestant, int argc, char **argv);

/* Ends the program with a message; the second form tells errno. */
_Noreturn void die(const char *why);
_Noreturn void die_errno(const char *what);

/* Grows an array of elements of that size until there is one of that index, the new ones zeroed. */
void *grow(void *array, size_t *count, size_t index, size_t size);

#endif
