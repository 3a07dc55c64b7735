/*
 * libevent on epoll: a persistent event for each descriptor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <event2/event.h>
#include <event2/thread.h>
#include <stdlib.h>

#include "workloads/contestant.h"

/* What is kept of each descriptor. */
struct watch {
    struct event *event;
    void *data;
};

static struct event_base *base;
static struct event *wake_event;
static struct watch **watches; /* of each descriptor; they stay where they are */
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

static void remove_fd(int fd) {
    event_free(watches[fd]->event);
    watches[fd]->event = NULL;
}

static void close_set(void) {
    for (size_t fd = 0; fd < room; fd++)
        if (watches[fd] != NULL && watches[fd]->event != NULL)
            remove_fd((int)fd);
    if (wake_event != NULL)
        event_free(wake_event);
    event_base_free(base);
}

static void start(int fd, unsigned events) {
    struct watch *watch = watches[fd];
    short mask =
        (short)((events & BENCH_READ ? EV_READ : 0) | (events & BENCH_WRITE ? EV_WRITE : 0));
    if (event_assign(watch->event, base, fd, (short)(mask | EV_PERSIST), ready, watch) < 0 ||
        event_add(watch->event, NULL) < 0)
        die("event_add");
}

static void add_fd(int fd, unsigned events, void *data) {
    watches = grow(watches, &room, (size_t)fd, sizeof(struct watch *));
    if (watches[fd] == NULL && (watches[fd] = calloc(1, sizeof(struct watch))) == NULL)
        die_errno("memory");
    watches[fd]->data = data;
    if ((watches[fd]->event = event_new(base, fd, EV_READ, ready, watches[fd])) == NULL)
        die("event_new");
    start(fd, events);
}

/* There is no other way than to delete it and to add it anew. */
static void modify_fd(int fd, unsigned events, void *data) {
    watches[fd]->data = data;
    if (event_del(watches[fd]->event) < 0)
        die("event_del");
    start(fd, events);
}

static void wait_for_events(void) {
    if (event_base_loop(base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
        die("event_base_loop");
}

static void wake_up(void) {
    event_active(wake_event, EV_TIMEOUT, 0);
}

int main(int argc, char **argv) {
    static const struct contestant libevent = {open_set,  close_set,       add_fd, modify_fd,
                                               remove_fd, wait_for_events, wake_up};
    return compete(&libevent, argc, argv);
}
