/*
 * workload.h - what is done with a contestant, and measured.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include "contestant.h"

/* How a round is measured. */
enum measure {
    CPU_TIME,  /* of this process: it never sleeps, or its sleep is not what is asked for */
    WALL_TIME, /* two that wait for each other */
    LATENCY,   /* what the workload itself has measured, in latency_ns */
    HEAP_BYTES /* what the set-up took, each time the same */
};

struct workload {
    const char *name;
    enum measure measure;
    bool wakes;   /* needs wakeup, from another thread */
    int per_file; /* descriptors for each of those registered */
    int sets;     /* in the contestant's pool; 0: it needs none */
    /* The contestant, or its pool instead, is open in all of them. */
    void (*set_up)(int registered, int ready);
    /* One round; returns the number of operations. */
    double (*run)(long loops);
    void (*tear_down)(void); /* may be NULL */
    /* Before the contestant is open, for what is to fork; may be NULL. */
    void (*prepare)(int registered);
};

extern const struct workload workloads[];
extern const int workload_count;

/* The one that competes. */
extern const struct contestant *contestant;

/* Of compete.c: ns of the monotonic clock. */
double wall_time(void);

/* Of peers.c, for pool.c: forks, and true in the child; what connects the two processes. */
bool fork_peer(void);
extern int command;

/* Those of peers.c. */
void prepare_ping_pong(int registered);
void set_up_ping_pong(int registered, int ready);
double run_ping_pong(long loops);
void prepare_echo(int registered);
void set_up_echo(int registered, int ready);
double run_echo(long loops);
void set_up_wake(int registered, int ready);
double run_wake(long loops);
double run_wake_pending(long loops);
void set_up_wake_blocked(int registered, int ready);
double run_wake_blocked(long loops);
void tear_down_wake(void);
extern double latency_ns; /* the sum of a round */

/* Those of pool.c. */
enum { POOL_THREADS = 32 };
void prepare_pool(int registered);
void set_up_pool(int registered, int ready);
void set_up_pool_apart(int registered, int ready);
double run_pool(long loops);
void tear_down_pool(void);

/* Of count.c: how often memory was allocated, and how many bytes are. */
long allocations(void);
double heap_bytes(void);

/* Of workloads.c: the bytes that the registrations took. */
extern double set_up_bytes;

#endif
