/*
 * The workloads of one process; those with a second one or threads are in peers.c and pool.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "workload.h"

enum { TOGGLED = 100 };

static int *fds;       /* the registered ones; in the ring, the ends to read from */
static int *ring_ends; /* the ends to write to */
static int file_count, ready_count;
static int changing; /* a descriptor that is not ready, for what comes and goes */
static long seen;    /* events, since the start of the round */
double set_up_bytes;

static int make_event(unsigned value) {
    int fd = eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        die_errno("eventfd");
    return fd;
}

static void *data_of(int index) {
    return (void *)(uintptr_t)index;
}

static void count_event(void *data, unsigned events) {
    if ((uintptr_t)data >= (uintptr_t)ready_count || events != BENCH_READ)
        die("an event of what is not ready");
    seen++;
}

/* Registers eventfds. The ready ones are never read, so that each wait reports them again. */
static void set_up_events(int registered, int ready) {
    fds = calloc((size_t)registered, sizeof *fds);
    if (fds == NULL)
        die_errno("memory");
    file_count = registered;
    ready_count = ready;
    on_event = count_event;
    changing = make_event(0);
    for (int i = 0; i < registered; i++)
        fds[i] = make_event(i < ready);
    double before = heap_bytes();
    for (int i = 0; i < registered; i++)
        contestant->add(fds[i], BENCH_READ, data_of(i));
    contestant->wait();
    set_up_bytes = heap_bytes() - before;
}

/* An operation is as many waits as it takes for all that is ready: one, where there is room. */
static double run_dispatch(long loops) {
    for (seen = 0; seen < loops * ready_count;)
        contestant->wait();
    return (double)seen / ready_count;
}

static double run_register(long loops) {
    for (long loop = 0; loop < loops; loop++) {
        contestant->add(changing, BENCH_READ, data_of(-1));
        contestant->remove(changing);
    }
    contestant->wait(); /* what was put off until here counts */
    return (double)loops;
}

static double run_register_wait(long loops) {
    seen = 0;
    for (long loop = 0; loop < loops; loop++) {
        contestant->add(changing, BENCH_READ, data_of(-1));
        contestant->wait();
        contestant->remove(changing);
        contestant->wait();
    }
    if (seen < 2 * loops)
        die("too few events");
    return (double)loops;
}

/* A modify to what is so already. */
static double run_modify(long loops) {
    for (long loop = 0; loop < loops; loop++)
        contestant->modify(fds[loop % file_count], BENCH_READ, data_of((int)(loop % file_count)));
    contestant->wait();
    return (double)loops;
}

/* There and back, as a connection does that has an answer to send and can send it at once. */
static double run_toggle(long loops) {
    seen = 0;
    for (long loop = 0; loop < loops; loop++) {
        for (int i = 0; i < TOGGLED; i++) {
            contestant->modify(fds[i], BENCH_READ | BENCH_WRITE, data_of(i));
            contestant->modify(fds[i], BENCH_READ, data_of(i));
        }
        contestant->wait();
    }
    if (seen < loops)
        die("too few events");
    return (double)loops;
}

static double run_bytes(long loops) {
    (void)loops;
    return file_count;
}

/* Hands the token on to the next pipe. */
static void pass_on(void *data, unsigned events) {
    char token;
    int index = (int)(uintptr_t)data;
    if (events != BENCH_READ || read(fds[index], &token, 1) != 1 ||
        write(ring_ends[(index + 1) % file_count], &token, 1) != 1)
        die_errno("ring");
    seen++;
}

static void set_up_ring(int registered, int ready) {
    fds = calloc((size_t)registered, sizeof *fds);
    ring_ends = calloc((size_t)registered, sizeof *ring_ends);
    if (fds == NULL || ring_ends == NULL)
        die_errno("memory");
    file_count = registered;
    on_event = pass_on;
    for (int i = 0; i < registered; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
            die_errno("pipe2");
        fds[i] = ends[0];
        ring_ends[i] = ends[1];
        contestant->add(fds[i], BENCH_READ, data_of(i));
    }
    for (int i = 0; i < ready; i++)
        if (write(ring_ends[(long)i * registered / ready], "t", 1) != 1)
            die_errno("ring");
}

static double run_ring(long loops) {
    for (seen = 0; seen < loops;)
        contestant->wait();
    return (double)seen;
}

const struct workload workloads[] = {
    {"dispatch", CPU_TIME, false, 1, 0, set_up_events, run_dispatch, NULL, NULL},
    {"register", CPU_TIME, false, 1, 0, set_up_events, run_register, NULL, NULL},
    {"register_wait", CPU_TIME, false, 1, 0, set_up_events, run_register_wait, NULL, NULL},
    {"modify", CPU_TIME, false, 1, 0, set_up_events, run_modify, NULL, NULL},
    {"toggle", CPU_TIME, false, 1, 0, set_up_events, run_toggle, NULL, NULL},
    {"ring", CPU_TIME, false, 2, 0, set_up_ring, run_ring, NULL, NULL},
    {"bytes", HEAP_BYTES, false, 1, 0, set_up_events, run_bytes, NULL, NULL},
    {"echo", CPU_TIME, false, 1, 0, set_up_echo, run_echo, NULL, prepare_echo},
    {"ping_pong", WALL_TIME, false, 1, 0, set_up_ping_pong, run_ping_pong, NULL, prepare_ping_pong},
    {"wake", WALL_TIME, true, 1, 0, set_up_wake, run_wake, tear_down_wake, NULL},
    {"wake_pending", CPU_TIME, true, 1, 0, set_up_wake, run_wake_pending, tear_down_wake, NULL},
    {"wake_blocked", LATENCY, true, 1, 0, set_up_wake_blocked, run_wake_blocked, tear_down_wake,
     NULL},
    {"pool", CPU_TIME, false, 1, 1, set_up_pool, run_pool, tear_down_pool, prepare_pool},
    {"pool_apart", CPU_TIME, false, 1, POOL_THREADS, set_up_pool_apart, run_pool, tear_down_pool,
     prepare_pool},
};

const int workload_count = sizeof workloads / sizeof workloads[0];
