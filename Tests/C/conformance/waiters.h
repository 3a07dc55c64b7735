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

#define MOST_WAITERS 16 /* at once, in one fact */

/* A thread that waits in sel_select() without a limit. */
struct waiter {
    pthread_t thread;
    sel_selector *selector;
    void (*then)(struct waiter *waiter); /* what it does when it is back, or NULL */
    atomic_int id;
    sel_event event;
    int result;
    void *end; /* what the thread has left, once it is joined */
    atomic_bool is_back;
    bool is_joined;
};

/* Whether a thread sleeps, in the kernel or for a lock. */
bool is_asleep(int id);

/*
 * Starts waiters of a selector and returns when they are blocked. They are not on the fact's stack,
 * and those that it leaves behind are ended after it: a fact that fails returns at once.
 */
bool start_waiter(struct waiter **waiter, sel_selector *selector);
bool start_waiter_then(struct waiter **waiter, sel_selector *selector,
                       void (*then)(struct waiter *waiter));
bool start_waiters(struct waiter **waiters, int count, sel_selector *selector);

/* Waits until the waiter sleeps or has come back, and tells whether it sleeps. One look is not
 * enough: a thread also runs for a moment when it resumes its wait, after a stop of the process for
 * example. */
bool still_waits(struct waiter *waiter);

/* What its sel_select() returned, once it has. */
int result_of(struct waiter *waiter);

/* How many are back now. */
int count_back(struct waiter *const *waiters, int count);

/* Whether so many are back before long; if not, that is noted. */
bool are_back(struct waiter *const *waiters, int count, int wanted);

/* Forks; the child dies with its parent, or if it hangs. */
pid_t start_child(void);

/* Makes the calling process a child that dies if it hangs. */
void become_child(void);

/* Ends a child, which is content if nothing was noted; else its notes are printed. */
void end_child(void) __attribute__((noreturn));

/* Waits for a child and tells whether it was content. */
bool is_content(pid_t child);

/* A child's exit status if all holds there: 0 is what a main thread leaves that was cancelled. */
#define CONTENT 42

/* Whether what is proved in a child of its own holds there. */
bool holds_in_child(void (*prove)(sel_selector *selector), sel_selector *selector);

#endif
