/*
 * journal.h - random numbers that a seed repeats, and a record of what was done with them.
 *
 * To be included before any system header.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#define _GNU_SOURCE

#include <stdbool.h>
#include <stdint.h>

/* Begins the sequence that belongs to a seed. */
void begin_sequence(const char *backend, uint64_t seed, bool trace);

/* Begins an operation, and gives the process a while for it: one that hangs is a failure. */
void begin_operation(void);

/* From here on, this process is the child of a fork. */
void begin_child(void);

/* A number below another one. */
unsigned pick(unsigned below);

/* Happens once in so many times. */
bool once_in(unsigned times);

/* Adds to the record of this operation. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says nothing from here on, unless all is traced, or says something again. */
void hush(bool on);

/* Reports what is wrong, how to see it again and what came before, and ends the process. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
