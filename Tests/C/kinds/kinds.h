/*
 * kinds.h - lists descriptors of each kind in each of their states.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KINDS_H
#define KINDS_H

#include "../conformance/helpers.h"

/* A descriptor of one kind in one state. */
struct state {
    const char *name;
    int (*make)(
        int variant); /* a descriptor, or the negative errno with which the system refuses */
    int variant;
    short wanted;         /* what poll(2) must say of it, at least; 0: anything */
    bool (*change)(void); /* a look clears what it tells, and this brings it back; NULL: it lasts */
};

#define END_OF_STATES \
    { NULL, NULL, 0, 0, NULL }

extern const struct state files[], pipes[], fifos[], terminals[], unix_sockets[], inet_sockets[],
    other_sockets[], kernel_objects[], processes[], devices[], system_files[];

/* Leaves a descriptor to the harness; returns it, or the negative errno if it is -1. */
int owned(int fd);

/* Opens a file in this way; it does not block. */
int open_path(const char *path, int flags);

/* Has a mapping removed when the state has been compared. */
void leave_mapping(void *pages, size_t size);

#endif
