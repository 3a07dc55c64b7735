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
    STRDUP,
    STRNDUP,
    MMAP,
    MADVISE,
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
    PIPE2,
    DUP3,
    OPEN,
    FCNTL_DUPFD,
    FCNTL_GETFL,
    FSTAT,
    FSTATFS,
    READLINK,
    READ,
    WRITE,
    CLOSE,
    SETSPECIFIC,
    FUTEX_SLEEP,
    DLOPEN,
    /* These are called when the library is loaded, and never again. */
    KEY_CREATE,
    ATFORK,
    /* These do not fail, but a signal handler must not call them. */
    FREE,
    MUTEX_LOCK,
    FUNCTIONS
};

/* As they are called in reports: with what is in parentheses, an operation of the function. */
extern const char *const function_names[FUNCTIONS];

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
    pid_t process;               /* in which the fact began; others are its children */
    bool is_old;                 /* the system has no epoll_pwait2, ppoll, pselect, eventfd */
    atomic_int calls[FUNCTIONS]; /* of each function so far */
    atomic_int failures;         /* that have happened */
    atomic_bool is_over;         /* no more are to */
    atomic_int told;             /* errors that a caller was told, who then called again */
    bool is_of_fact;             /* the fact makes the plan, and takes the errors */
    int retired;                 /* plug-ins that were refused and are listed no more */
    int held;                    /* how much memory the library has in the end */
    atomic_bool is_excused;      /* what the fact says need not hold */
    bool was_excused;            /* and did not */
    char complaint[1024];        /* what is wrong though the fact may hold */
};

extern struct plan *plan;

/* Whether a call of this thread has come upon a fault, for calls.c to clear. */
extern _Thread_local bool came_upon_fault;

/* Whether this thread is in sel_wakeup(), which a signal handler may call. */
extern _Thread_local bool is_waking;

/* Where the library is, as one of its functions tells. */
void *find_in_library(const char *name);

/* Memory that the library has: remembered where it is allocated, forgotten where it is freed. */
void *remember(void *memory);
void forget(void *memory);
int held(void);

/* Has a function fail from now on, from its next call; plan_no_fault() ends it. */
void plan_fault(enum function function, int error, enum span span);
void plan_no_fault(bool is_old);

/* Whether the headers say that a function may return an error. */
bool is_documented(const char *function, int error);

/*
 * The facts of this suite: those that hold with each fault, as those of the conformance test do,
 * and those that make faults themselves.
 */
extern const struct fact plugin_facts[], number_facts[];
extern const struct fact lack_facts[], import_facts[], load_facts[], memory_facts[], wake_facts[];

/* Where the program is run with this in the environment, it looks at how the library was loaded. */
#define AT_LOAD "FAULTS_AT_LOAD"
struct plan *plan_at_load(void);
int check_load(void);

/* Adds to what is wrong, from whatever thread or process. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool is_eventfd(int fd);

/* Looks at each open selector of a test that is through: whether it does what it should. */
void look_after_selectors(void);

#endif
