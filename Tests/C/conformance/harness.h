/*
 * harness.h - runs facts one after another, reports them in TAP, and cleans up after each.
 *
 * To be included before any system header.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef HARNESS_H
#define HARNESS_H

#define _GNU_SOURCE

#include "selectors.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>

#define BOTH (SEL_READ | SEL_WRITE)
#define US INT64_C(1000)
#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define ENOUGH (5 * SECOND) /* for what must come at once: reached only in failure */
#define MOST_SELECTORS 8
#define HIGHEST_FD 65536
#define HANG_SECONDS 30
#define UNTOUCHED 4711 /* an errno that nobody sets */

#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))

/* A test, and the sentence that it proves. */
struct fact {
    const char *name;
    void (*prove)(sel_selector *selector); /* with a fresh selector of the backend */
    void (*prove_alone)(void);             /* or without one */
};

#define FACT(name, prove) \
    { name, prove, NULL }
#define FACT_ALONE(name, prove) \
    { name, NULL, prove }
#define END_OF_FACTS \
    { NULL, NULL, NULL }

/* All facts, theme by theme; NULL ends the themes. */
extern const struct fact *const facts_of_the_library[], *const facts_of_a_backend[];

/* What the running test knows, and what is cleaned up after it. */
extern struct test {
    const char *backend; /* NULL: the test is about the library as a whole */
    uint32_t capabilities;
    bool is_plugin;     /* it came with a library */
    char failure[2048]; /* lines for the diagnostic; empty: no failure */
    const char *skip;   /* why the test is skipped, or NULL */
    bool owned[HIGHEST_FD];
    sel_selector *selectors[MOST_SELECTORS];
    struct rlimit limit; /* of descriptors, as it was at the start */
    sigset_t mask;       /* of signals, the same */
    timer_t storm;
    bool storming;
    pid_t child;
    void (*end_threads)(void); /* set by who starts threads: ends those that a fact leaves */
} test;

/* How many tests have been reported. */
extern struct tally { int all, failed, skipped; } tally;

/* Adds a line to the diagnostic, and so makes the test a failed one. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Each of these ends the test when it is not so. */
#define CHECK(condition)                                       \
    do {                                                       \
        if (!check(__FILE__, __LINE__, #condition, condition)) \
            return;                                            \
    } while (0)
#define EQUAL(expression, wanted)                                              \
    do {                                                                       \
        if (!check_equal(__FILE__, __LINE__, #expression, expression, wanted)) \
            return;                                                            \
    } while (0)
/* The library's function returns 0, and leaves errno alone. */
#define OK(call)                                               \
    do {                                                       \
        errno = UNTOUCHED;                                     \
        if (!check_result(__FILE__, __LINE__, #call, call, 0)) \
            return;                                            \
    } while (0)
/* It returns an error, leaves errno alone, and sel_last_error() has the words of that error. */
#define REFUSED(call, wanted)                                       \
    do {                                                            \
        errno = UNTOUCHED;                                          \
        if (!check_result(__FILE__, __LINE__, #call, call, wanted)) \
            return;                                                 \
    } while (0)
#define SKIP(why)          \
    do {                   \
        test.skip = (why); \
        return;            \
    } while (0)

/*
 * valgrind counts what the threads of a fork's parent had as lost in the child; the thread sanitizer
 * does not see which locks the library takes for a fork.
 */
#define SKIP_UNDER_CHECKERS()                                              \
    do {                                                                   \
        if (is_under_qemu())                                               \
            SKIP("qemu-user hangs in the child of a fork beside threads"); \
        if (is_under_checker())                                            \
            SKIP("the checker does not follow a fork of several threads"); \
    } while (0)

bool is_under_valgrind(void);

/* As Tests/C/cross.sh runs it. */
bool is_under_qemu(void);

/* valgrind, the thread sanitizer, or qemu-user, which hangs in the child of a fork beside threads. */
bool is_under_checker(void);

/* The test needs abilities that not every backend has: all of these bits. */
#define NEEDS(bits)                                   \
    do {                                              \
        if ((test.capabilities & (bits)) != (bits))   \
            SKIP("the backend does not have " #bits); \
    } while (0)

bool check(const char *file, int line, const char *expression, bool holds);
bool check_equal(const char *file, int line, const char *expression, long long got,
                 long long wanted);
bool check_result(const char *file, int line, const char *call, int got, int wanted);

/* Leaves the closing of a descriptor to the harness; passes -1 on. */
int own(int fd);

/* Closes a descriptor that was left to the harness. */
bool drop(int fd);

/* Opens a selector that the harness closes; NULL if it cannot be opened, which is noted. */
sel_selector *open_selector(const char *backend);

/* Closes such a selector earlier. */
int close_selector(sel_selector *selector);

/* Called when a fact is through, while what it has opened still is; NULL: nothing. */
extern void (*before_tear_down)(void);

/* Prepares run(): the watchdog, the limit of descriptors, the environment. */
void start_harness(void);

/* Proves a fact about test.backend, or the library if that is NULL, and reports it. */
void run(const char *group, const struct fact *fact);

/* Prints the result of a test, which the next one then does not find. */
void report(const char *group, const char *name);

#endif
