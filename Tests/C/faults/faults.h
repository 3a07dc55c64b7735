/*
 * faults.h - what the parts of the fault injection know of each other.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef FAULTS_H
#define FAULTS_H

#include "../conformance/harness.h"

#include <stdatomic.h>

/* What can be made to fail: functions of libc as the library calls them. */
enum function {
    NOTHING,
    CALLOC,
    EPOLL_CREATE1,
    EPOLL_CTL_ADD_,
    EPOLL_CTL_MOD_,
    EPOLL_CTL_DEL_,
    EPOLL_WAIT,
    EPOLL_PWAIT,
    EPOLL_PWAIT2,
    POLL,
    PPOLL,
    SELECT,
    PSELECT,
    EVENTFD,
    DUP3,
    READ,
    WRITE,
    CLOSE,
    SETSPECIFIC,
    COND_WAIT,
    COND_TIMEDWAIT,
    FUNCTIONS
};

/* Which calls of the function fail, from the first one on that is to. */
enum span {
    ONCE,     /* that one alone */
    AWHILE,   /* and all that follow, until the call of selectors.h returns that came upon it */
    FOR_EVER, /* and all that follow */
};

/* What is to fail in this process and its children, who share it, and what became of it. */
struct plan {
    enum function function;
    int error; /* an errno value */
    enum span span;
    int first;                   /* counted from 1 */
    bool is_old;                 /* the system has no epoll_pwait2, ppoll, pselect */
    atomic_int calls[FUNCTIONS]; /* of each function so far */
    atomic_int failures;         /* that have happened */
    atomic_bool is_over;         /* no more are to */
    atomic_int told;             /* errors that a caller was told, who then called again */
    atomic_bool is_excused;      /* what the fact says need not hold */
    bool was_excused;            /* and did not */
    char complaint[1024];        /* what is wrong though the fact may hold */
};

extern struct plan *plan;

/* Whether a call of this thread has come upon a fault, for calls.c to clear. */
extern _Thread_local bool came_upon_fault;

/* Adds to what is wrong, from whatever thread or process. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Looks at each open selector of a test that is through: whether it does what it should. */
void look_after_selectors(void);

#endif
