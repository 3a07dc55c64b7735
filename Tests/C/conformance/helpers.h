/*
 * helpers.h - makes descriptors of each kind, and looks at what a selector sees.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef HELPERS_H
#define HELPERS_H

#include "harness.h"

#include <netinet/in.h>

#define MOST_BACKENDS 32

/* Time. */

int64_t now(void);

/* The processor time of all threads. */
int64_t cpu_time(void);

/* Sends signals, after so long and then again and again, to a handler without SA_RESTART. */
bool start_storm(int64_t first_ns, int64_t next_ns);
void stop_storm(void);
extern volatile sig_atomic_t signals; /* that have come since */

/* Descriptors, which the harness closes: -1 or false if there is none. None of them blocks. */

bool make_pipe(int ends[2]);
bool make_pair(int ends[2]);                 /* of connected sockets */
int make_event(void);                        /* writable */
int make_ready_event(void);                  /* readable, too */
int make_timer(int64_t after_ns);            /* becomes readable after a time */
int make_file(void);                         /* a regular one */
int make_socket(void);                       /* for TCP */
int make_bound(struct sockaddr_in *address); /* the same, bound to a port that it stores */
int duplicate(int fd);

/* Writes eight bytes, for eventfd takes no less, or reads them. */
bool put(int fd);
bool take(int fd);

/* Writes until no more fits. */
void fill(int fd);

/* Allows for so many descriptors, or for no more than there are. */
bool set_limit(rlim_t limit);
bool raise_limit(rlim_t wanted);
bool use_up_descriptors(void);

/* Registers a descriptor without data, and returns it; a failure is noted. */
int watch(sel_selector *selector, int fd, uint32_t events);

/*
 * A ghost: the open file of a descriptor that was registered, closed and unregistered, but lives on
 * in a duplicate. This one is readable. Its number is given to an idle eventfd, before or after it
 * is unregistered, and returned, or -1.
 */
int leave_a_ghost(sel_selector *selector, bool reuse_first);

/* What a selector sees. What was wanted and what came is noted. */

/* The event of a descriptor, or NULL. */
const sel_event *find(const sel_event *events, int count, int fd);

/* Whether this descriptor and no other is ready, for these events, with this detail. */
bool sees(sel_selector *selector, int fd, uint32_t events, uint32_t detail);

/* The same, with this detail at least. */
bool sees_at_least(sel_selector *selector, int fd, uint32_t events, uint32_t detail);

/* Whether both are ready, the first as invalid, the second as plainly readable. */
bool sees_invalid_beside(sel_selector *selector, int closed, uint32_t events, int ready);

/* How many are ready. */
int look(sel_selector *selector);

/* Whether nothing is ready. */
bool quiet(sel_selector *selector);

/* Whether nothing comes for so long, and the wait is not cut short. */
bool waits_out(sel_selector *selector, int64_t timeout_ns);

/* The same, while the processor rests. */
bool rests(sel_selector *selector, int64_t timeout_ns);

/* Whether a registration is exactly this. */
bool key_is(sel_selector *selector, int fd, uint32_t events, void *data);

/* Whether these are registered, in this order. */
bool map_is(sel_selector *selector, const int *fds, int count);

/* Backends. */

/* Describes all of them, and returns how many. */
int backends(sel_backend_info infos[MOST_BACKENDS]);

/* Whether a backend came with a plug-in. */
bool is_plugin(const char *name);

/* Names those that can be used, and returns how many. */
int usable_backends(const char *names[MOST_BACKENDS]);

/* The best one that can be used, the excluded one apart. */
const char *best_but(const char *excluded);

#endif
