/*
 * stress.h - the channels, the threads that use them, and the stage that they share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef STRESS_H
#define STRESS_H

#define _GNU_SOURCE

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "selectors.h"

enum {
    CHANGERS = 4,
    CHANNELS = 6, /* of each */
    READERS = 16, /* at most */
    OPENERS = 2,
    BACKLOG = 64 /* bytes that may be outstanding in one channel */
};

/* The threads, as the watchdog numbers them: first those that change the set. */
enum { FIRST_OPENER = CHANGERS, FIRST_READER = FIRST_OPENER + OPENERS };
enum { THREADS = FIRST_READER + READERS };

#define BOTH (SEL_READ | SEL_WRITE)
#define SECOND INT64_C(1000000000)

enum kind { SOCKET, PIPE, EVENT, KINDS };
extern const char *const kind_names[KINDS];

/* One way for bytes. Its lock guards what stands below, which only the owner changes but where said
 * otherwise. */
struct channel {
    pthread_mutex_t lock;
    pthread_cond_t heard; /* a reader has counted something */
    enum kind kind;
    int in, out;
    int ghost_in, ghost_out;      /* a file that was closed under the number `in`; or -1 */
    uint32_t haunting;            /* what the file after it was first watched for */
    uint32_t events;              /* what it is registered for; 0: not at all */
    uint32_t mode;                /* part of these from registration on: SEL_ONESHOT or 0 */
    uintptr_t data;               /* another one with each change, with index_of() in it */
    long place;                   /* in the order of registration */
    unsigned long sent;           /* bytes */
    unsigned long received;       /* counted by the readers */
    unsigned long found_writable; /* likewise: events */
};

struct changer {
    pthread_t thread;
    int number;
    uint64_t seed;
    struct channel channels[CHANNELS];
    uintptr_t serial; /* goes up with each change */
    /* Whether, with a wake-up, for ... (no atomic_bool: riscv64 exchanges bytes by libatomic.) */
    atomic_int has_asked;
    sem_t answer;
};

struct reader {
    pthread_t thread;
    int number;
    uint64_t seed;
    long empty;          /* selects without an event */
    long unheeded;       /* most wake-ups so far that were not answered by one of these */
    unsigned long stale; /* events that were in its hands when the owner made a change */
};

/* How loud it is while one thread has the say: the others write, too; they only make changes that
 * wake no reader; they wait. */
enum manner { LOUD, SOFT, HUSHED };

extern struct stage {
    const char *backend;
    sel_selector *selector;
    int readers;
    struct changer changers[CHANGERS];
    pthread_mutex_t say;
    _Atomic enum manner manner;
    atomic_bool is_over;     /* all but the readers finish what they have begun */
    atomic_bool all_is_read; /* readers may go */
    atomic_long wakeups;
    atomic_ulong steps[THREADS]; /* that each thread has made */
    atomic_bool has_left[THREADS];
} stage;

/* Says what is wrong and what is outstanding, and ends the program. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The owner's call on its own channel, which cannot fail. */
#define OK(call)                                                                  \
    do {                                                                          \
        int result = (call);                                                      \
        if (result != 0)                                                          \
            fail("%s:%d: %s returned %d (%s)", __FILE__, __LINE__, #call, result, \
                 strerror(-result));                                              \
    } while (0)
#define CHECK(condition)                                                     \
    do {                                                                     \
        if (!(condition))                                                    \
            fail("%s:%d: %s does not hold", __FILE__, __LINE__, #condition); \
    } while (0)

unsigned pick(uint64_t *seed, unsigned below);

/* Counts in a way that keeps no two threads in step, so that the sanitizer sees the library's. */
void wake_up(void);

/* Channels. */

int index_of(uintptr_t data);
struct channel *channel_of(uintptr_t data);
uintptr_t new_data(struct changer *self, const struct channel *channel);

void open_ends(enum kind kind, int *in, int *out);
void lay_ghost(struct channel *channel);
void open_channels(struct changer *changer);
unsigned long close_channels(struct changer *changer); /* the bytes that were received */

/* Writes bytes, which carry their number, or adds to the counter. */
void put(const struct channel *channel, int out, unsigned count);

/* Reads up to `most` bytes, or the whole counter, and returns how many there were; 0 for none. */
unsigned long get(const struct channel *channel, unsigned most);

/* What the threads do: the changers, the readers, and those that get a pointer to their number. */

void *change(void *changer);
void *read_what_is_ready(void *reader);
void *open_and_close(void *number);

/* Forks so often, beside threads that change, wait, open, close and fail. */
void play_forks(const char *backend, int count);

#endif
