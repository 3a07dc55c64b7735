/*
 * A pool of threads: descriptors that are reported once, each served by the thread that got it and
 * then armed again. A process beside it keeps some of them ready, so that what it takes does not
 * count.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "workload.h"

/* What the other process is told of a round. */
struct order {
    long events;
    int ready; /* at most so many at a time */
};

static int *fds;   /* eventfds */
static int served; /* an eventfd, by which the threads tell the other process */
static int over;   /* one that is ready, and stays so, when the threads are to end */
static int file_count, ready_count;
static int set_count; /* one for all threads, or one for each */
static pthread_t threads[POOL_THREADS];

/* A semaphore, so that a descriptor that became ready twice is two events. */
static int make_event(int flags) {
    int fd = eventfd(0, EFD_CLOEXEC | flags);
    if (fd < 0)
        die_errno("eventfd");
    return fd;
}

static _Noreturn void be_feeder(void) {
    struct order order;
    while (read(command, &order, sizeof order) == sizeof order) {
        long sent = 0, done = 0;
        while (done < order.events) {
            for (; sent < order.events && sent - done < order.ready; sent++)
                if (eventfd_write(fds[sent % file_count], 1) < 0)
                    _exit(1);
            eventfd_t more;
            if (eventfd_read(served, &more) < 0)
                _exit(1);
            done += (long)more;
        }
        if (write(command, &done, sizeof done) != sizeof done)
            break;
    }
    _exit(0);
}

void prepare_pool(int registered) {
    fds = calloc((size_t)registered, sizeof *fds);
    if (fds == NULL)
        die_errno("memory");
    file_count = registered;
    for (int i = 0; i < registered; i++)
        fds[i] = make_event(EFD_SEMAPHORE | EFD_NONBLOCK);
    served = make_event(0);
    if (fork_peer())
        be_feeder();
}

/* The data of a descriptor is where its number is; that of the end is NULL. */
static void *serve(void *number) {
    int set = (int)(uintptr_t)number % set_count;
    for (int *fd; (fd = contestant->pool->wait(set)) != NULL;) {
        eventfd_t one;
        if (eventfd_read(*fd, &one) < 0)
            die_errno("an event of what is not ready");
        contestant->pool->arm(set, *fd, fd);
        if (eventfd_write(served, 1) < 0)
            die_errno("eventfd_write");
    }
    return NULL;
}

static void set_up(int ready, int sets) {
    ready_count = ready;
    set_count = sets;
    over = make_event(0);
    for (int i = 0; i < file_count; i++)
        contestant->pool->add(i % sets, fds[i], true, &fds[i]);
    for (int i = 0; i < POOL_THREADS; i++)
        if (pthread_create(&threads[i], NULL, serve, (void *)(uintptr_t)i) != 0)
            die("no thread");
}

void set_up_pool(int registered, int ready) {
    (void)registered;
    set_up(ready, 1);
}

void set_up_pool_apart(int registered, int ready) {
    (void)registered;
    set_up(ready, POOL_THREADS);
}

double run_pool(long loops) {
    struct order order = {loops, ready_count};
    long done;
    if (write(command, &order, sizeof order) != sizeof order ||
        read(command, &done, sizeof done) != sizeof done)
        die_errno("pool");
    return (double)done;
}

/* By an event, for each contestant has those; not each has a way to end the waits of all threads. */
void tear_down_pool(void) {
    for (int set = 0; set < set_count; set++)
        contestant->pool->add(set, over, false, NULL);
    if (eventfd_write(over, 1) < 0)
        die_errno("eventfd_write");
    for (int i = 0; i < POOL_THREADS; i++)
        pthread_join(threads[i], NULL);
}
