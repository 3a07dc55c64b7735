/*
 * waiters.h - threads that wait, and children that prove something.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef WAITERS_H
#define WAITERS_H

#include "helpers.h"

#include <pthread.h>
#include <stdatomic.h>

/* A thread that waits in sel_select() without a limit. */
struct waiter {
    pthread_t thread;
    sel_selector *selector;
    atomic_int id;
    sel_event event;
    int result;
    atomic_bool is_back;
};

/* Whether a thread sleeps, in the kernel or for a lock. */
bool is_asleep(int id);

/* Starts waiters of a selector and returns when they are blocked. */
bool start_waiter(struct waiter *waiter, sel_selector *selector);
bool start_waiters(struct waiter *waiters, int count, sel_selector *selector);

/* What its sel_select() returned, once it has. */
int result_of(struct waiter *waiter);

/* How many are back now. */
int count_back(struct waiter *waiters, int count);

/* Whether so many are back before long; if not, that is noted. */
bool are_back(struct waiter *waiters, int count, int wanted);

/* Forks; the child dies with its parent, or if it hangs. */
pid_t start_child(void);

/* Makes the calling process a child that dies if it hangs. */
void become_child(void);

/* Ends a child, which is content if nothing was noted; else its notes are printed. */
void end_child(void) __attribute__((noreturn));

/* Waits for a child and tells whether it was content. */
bool is_content(pid_t child);

/* Whether what is proved in a child of its own holds there. */
bool holds_in_child(void (*prove)(sel_selector *selector), sel_selector *selector);

#endif
