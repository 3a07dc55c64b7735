/*
 * world.h - kernel objects beside a simulation of them, which knows without asking what poll(2)
 * will say.
 *
 * There is a fixed set of descriptor numbers, open or not, which are called by their index here.
 * A failure of the simulation is told apart from one of the library: world_check() finds it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef WORLD_H
#define WORLD_H

#include "journal.h"

#include "selectors.h"

enum { NUMBERS = 24, FILES = 64, KEPT = 16, NONE = -1 };

enum kind { SOCKET, PIPE_READER, PIPE_WRITER, EVENT, REGULAR, NULL_DEVICE, SELECTOR, KINDS };

/* An open file, which any number of descriptors may name. */
struct file {
    enum kind kind;
    int references; /* descriptors that name it, in this process and its parent; 0: it is no more */
    int peer;       /* the other end of a connection, or NONE */
    uint64_t bytes; /* that can be read; the counter of an eventfd */
    bool blocked;   /* nothing can be written */
    bool arrived;   /* something was written to it in this operation */
    bool shared;    /* the parent has it, too: what is in it must not be changed */
    bool error;     /* one is pending */
    unsigned shut;  /* SHUT_READ and SHUT_WRITE: directions of a socket */
    int nibbles;    /* bytes read since it was blocked */
    sel_selector *inner; /* a selector's file: itself, and the eventfd that it watches */
    int bell;
};

extern struct world {
    int fd[NUMBERS];
    int file[NUMBERS]; /* what the number names, or NONE */
    struct file files[FILES];
    struct kept {
        int number, file, fd;
    } kept[KEPT]; /* what numbers have named, and still hold */
    int kept_count;
} world;

/* Chooses the numbers, some of them above FD_SETSIZE where that is allowed; once. */
void world_begin(void);

/*
 * Opens a selector whose own descriptors are not among the numbers; with_fileno: and asks for its
 * descriptor.
 */
sel_selector *world_open_selector(const char *backend, bool with_fileno);

/* What poll(2) would say of a file, whatever it is asked for. */
unsigned world_bits(const struct file *file);

/* The file that a number names, or NULL. */
struct file *world_file(int number);

/* The number that is written so, or NONE. */
int world_number(int fd);

const char *world_name(int number);

/* Fails if poll(2) says anything else than the simulation. */
void world_check(void);

/* Whether a kind comes with a file of the other end. */
bool world_is_pair(enum kind kind);

/* Whether a kind can have this number. */
bool world_can_make(enum kind kind, int number);

/* Makes a file with a closed number, and the other end with another one. */
void world_make(enum kind kind, int number, int other);

/* Closes a number; returns the file that ends with it, or NONE. */
int world_close(int number);

/* Gives a number to another one's file, too, in one step; returns as world_close() does. */
int world_duplicate(int from, int to);

/* Has a number hold its file, though it be closed or given to another one; false: none more can. */
bool world_keep(int number);

/* Lets go a file that a number holds. Returns false if there is none; *ended as by world_close(). */
bool world_let_go(int number, int *ended);

/* Writes a byte, or until no more can be written. */
void world_write(int number, bool all);

/* Reads a byte, or all there is. */
void world_read(int number, bool all);

/* Shuts a socket's directions down: SHUT_RD, SHUT_WR, SHUT_RDWR. */
void world_shutdown(int number, int how);

/* In the child of a fork: all that is open is the parent's, too. */
void world_inherit(void);

/* How many descriptors the process has. */
int world_descriptors(void);

#endif
