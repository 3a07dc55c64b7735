/*
 * libevent on epoll: one persistent event per descriptor and direction.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <event2/event.h>
#include <event2/thread.h>
#include <stdlib.h>

#include "workloads/contestant.h"

/* What is kept of each descriptor. */
struct watch {
    struct event *read, *write; /* NULL: not needed yet */
    unsigned events;
    void *data;
};

static struct event_base *base;
static struct event *wake_event;
static struct watch **watches; /* by descriptor; their addresses are stable */
static size_t room;

static void ready(evutil_socket_t fd, short events, void *argument) {
    struct watch *watch = argument;
    (void)fd;
    on_event(watch->data,
             (events & EV_READ ? BENCH_READ : 0) | (events & EV_WRITE ? BENCH_WRITE : 0));
}

static void woken(evutil_socket_t fd, short events, void *argument) {
    (void)fd;
    (void)events;
    (void)argument;
}

static void open_set(const char *argument, bool threads) {
    (void)argument;
    struct event_config *config = event_config_new();
    if (config == NULL || (threads && evthread_use_pthreads() < 0) ||
        event_config_avoid_method(config, "poll") < 0 ||
        event_config_avoid_method(config, "select") < 0 ||
        (base = event_base_new_with_config(config)) == NULL)
        die("libevent: no base");
    event_config_free(config);
    if (threads && (wake_event = event_new(base, -1, EV_PERSIST, woken, NULL)) == NULL)
        die("event_new");
}

/* For one direction, created on first use: an added event cannot be changed. */
static void start(int fd, unsigned direction) {
    struct watch *watch = watches[fd];
    struct event **event = direction == BENCH_READ ? &watch->read : &watch->write;
    short mask = direction == BENCH_READ ? EV_READ : EV_WRITE;
    if (*event == NULL &&
        (*event = event_new(base, fd, (short)(mask | EV_PERSIST), ready, watch)) == NULL)
        die("event_new");
    if (event_add(*event, NULL) < 0)
        die("event_add");
}

static void add_fd(int fd, unsigned events, void *data) {
    watches = grow(watches, &room, (size_t)fd, sizeof(struct watch *));
    if (watches[fd] == NULL && (watches[fd] = calloc(1, sizeof(struct watch))) == NULL)
        die_errno("memory");
    watches[fd]->data = data;
    watches[fd]->events = events;
    if (events & BENCH_READ)
        start(fd, BENCH_READ);
    if (events & BENCH_WRITE)
        start(fd, BENCH_WRITE);
}

static void modify_fd(int fd, unsigned events, void *data) {
    struct watch *watch = watches[fd];
    unsigned more = events & ~watch->events, fewer = watch->events & ~events;
    watch->data = data;
    watch->events = events;
    if (more & BENCH_READ)
        start(fd, BENCH_READ);
    if (more & BENCH_WRITE)
        start(fd, BENCH_WRITE);
    if ((fewer & BENCH_READ && event_del(watch->read) < 0) ||
        (fewer & BENCH_WRITE && event_del(watch->write) < 0))
        die("event_del");
}

static void remove_fd(int fd) {
    struct watch *watch = watches[fd];
    if (watch->read != NULL)
        event_free(watch->read);
    if (watch->write != NULL)
        event_free(watch->write);
    watch->read = watch->write = NULL;
}

static void close_set(void) {
    for (size_t fd = 0; fd < room; fd++)
        if (watches[fd] != NULL)
            remove_fd((int)fd);
    if (wake_event != NULL)
        event_free(wake_event);
    event_base_free(base);
}

static void wait_for_events(void) {
    if (event_base_loop(base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
        die("event_base_loop");
}

static void wake_up(void) {
    event_active(wake_event, EV_TIMEOUT, 0);
}

int main(int argc, char **argv) {
    static const struct contestant libevent = {open_set,  close_set,       add_fd,  modify_fd,
                                               remove_fd, wait_for_events, wake_up, NULL};
    return compete(&libevent, argc, argv);
}
