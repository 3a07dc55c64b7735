/*
 * play.h - what the operations have in common: the selector, its life, choices and words.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef PLAY_H
#define PLAY_H

#include "model.h"

#include <errno.h>

extern sel_selector *selector;

/* What one selector and its numbers are used for. */
extern struct life {
    int own;           /* the selector's descriptor, or NONE */
    unsigned modes;    /* a delivery mode comes once in so many times; 0: never */
    unsigned priority; /* likewise */
    bool is_tidy;      /* what is closed was unregistered before */
    bool is_child;
    uintptr_t data; /* the last one that was registered */
} life;

/* Calls the library, which leaves errno alone. */
#define CALL(call) (errno = UNTOUCHED, called(#call, call))
enum { UNTOUCHED = 4711 };
int called(const char *call, int result);

/* Says what a call returned, and fails if it is anything else than this. */
void expect(int got, int wanted);

/* Choices. */

bool is_open(int number);
bool is_closed(int number);
bool is_registered(int number);
bool is_unregistered(int number); /* and open */
bool may_be_changed(int number);
bool may_be_duplicated(int number);

/* A random one of those that are such, or NONE. */
int some(bool (*is_such)(int));

/* Another one than this. */
int some_but(bool (*is_such)(int), int excluded);

/* Mostly one of those, sometimes any, for which the call may be refused. */
int mostly(bool (*is_such)(int));

uint32_t some_events(void);
void *some_data(void);

/* Words. */

void say_mask(uint32_t mask);
void say_number(const char *verb, int number);

/* What is registered. */

/* Whether a key is that of a number's registration. */
bool is_key(const sel_key *key, int number);

void unregister(int number);

/* The operations; false: there is nothing that it can be done with. */

bool do_register(void);
bool do_modify(void);
bool do_unregister(void);
bool do_get_key(void);
bool do_get_map(void);
bool do_nonsense(void);

bool do_make(void);
bool do_close(void);
bool do_duplicate(void);
bool do_reuse(void);
bool do_write(void);
bool do_read(void);
bool do_shutdown(void);

bool do_wakeup(void);
bool do_select(void);
bool do_sweep(void);
bool do_inner_select(void);

/* Sees all that is ready, and all that is registered. */
void look(void);

/* Looks at the selector's own descriptor. */
void check_own(void);

#endif
