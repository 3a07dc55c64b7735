/*
 * journal.c - reproducible random numbers, and a log of the operations.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "journal.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { REMEMBERED = 30, LONGEST = 8000, HANG_SECONDS = 20 };

static struct journal {
    const char *backend;
    uint64_t seed, state; /* of the random numbers */
    uint64_t number;      /* of the operation */
    bool trace, is_child, is_hushed;
    char lines[REMEMBERED][LONGEST];
    int line, used; /* the line of this operation, and its length */
    int count;      /* of the lines that are filled */
} journal;

static void hang(int number) {
    (void)number;
    /* Only this thread can hang, in a system call: there is nobody to be disturbed by stdio. */
    fail("it hangs for %d seconds", HANG_SECONDS);
}

void begin_sequence(const char *backend, uint64_t seed, bool trace) {
    journal = (struct journal){.backend = backend, .seed = seed, .state = seed, .trace = trace};
    signal(SIGALRM, hang);
}

static void end_line(void) {
    if (journal.trace && journal.count > 0) {
        puts(journal.lines[journal.line]);
        fflush(stdout);
    }
}

static void begin_line(void) {
    end_line();
    journal.line = (journal.line + 1) % REMEMBERED;
    journal.count += journal.count < REMEMBERED;
    journal.used = 0;
    say("%8llu%s", (unsigned long long)journal.number, journal.is_child ? " child:" : "");
}

void begin_operation(void) {
    /* The child's belong to the fork, and do not change the numbers of what comes after it. */
    journal.number += !journal.is_child;
    /* Not each time: that would be a system call. */
    if (journal.number % 1024 == 1)
        alarm(HANG_SECONDS);
    begin_line();
}

void begin_child(void) {
    journal.is_child = true;
    journal.count = 0; /* the parent has them, too */
    alarm(HANG_SECONDS);
}

/* SplitMix64. */
unsigned pick(unsigned below) {
    uint64_t z = journal.state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (unsigned)((z ^ z >> 31) >> 32) % below;
}

bool once_in(unsigned times) {
    return pick(times) == 0;
}

void hush(bool on) {
    journal.is_hushed = on && !journal.trace;
}

void say(const char *format, ...) {
    va_list arguments;
    if (journal.is_hushed)
        return;
    va_start(arguments, format);
    journal.used += vsnprintf(journal.lines[journal.line] + journal.used,
                              (size_t)(LONGEST - journal.used), format, arguments);
    va_end(arguments);
    if (journal.used > LONGEST - 1)
        journal.used = LONGEST - 1;
}

void fail(const char *format, ...) {
    va_list arguments;
    end_line();
    fflush(stdout);
    fprintf(stderr, "model: %s: operation %llu%s: ", journal.backend,
            (unsigned long long)journal.number, journal.is_child ? ", in a child" : "");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nto see it again: model --seed %llu --operations %llu %s\nlast operations:\n",
            (unsigned long long)journal.seed, (unsigned long long)journal.number, journal.backend);
    for (int i = journal.count - 1; i >= 0; i--)
        fprintf(stderr, "%s\n", journal.lines[(journal.line - i + REMEMBERED) % REMEMBERED]);
    _exit(1);
}
