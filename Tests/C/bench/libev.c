/*
 * libev on epoll: one ev_io per descriptor. libev applies changes to the kernel at the next wait.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <ev.h>
#include <stdlib.h>

#include "workloads/contestant.h"

static struct ev_loop *loop;
static ev_async wake;
static ev_io **watches; /* of each descriptor; they stay where they are */
static size_t room;

static void ready(struct ev_loop *unused, ev_io *watch, int events) {
    (void)unused;
    on_event(watch->data,
             (events & EV_READ ? BENCH_READ : 0) | (events & EV_WRITE ? BENCH_WRITE : 0));
}

static void woken(struct ev_loop *unused, ev_async *watch, int events) {
    (void)unused;
    (void)watch;
    (void)events;
}

static void open_set(const char *argument, bool threads) {
    (void)argument;
    if ((loop = ev_loop_new(EVBACKEND_EPOLL)) == NULL)
        die("ev_loop_new");
    if (threads) {
        ev_async_init(&wake, woken);
        ev_async_start(loop, &wake);
    }
}

static void close_set(void) {
    ev_loop_destroy(loop);
}

static int mask(unsigned events) {
    return (events & BENCH_READ ? EV_READ : 0) | (events & BENCH_WRITE ? EV_WRITE : 0);
}

static void add_fd(int fd, unsigned events, void *data) {
    watches = grow(watches, &room, (size_t)fd, sizeof(ev_io *));
    if (watches[fd] == NULL && (watches[fd] = malloc(sizeof(ev_io))) == NULL)
        die_errno("memory");
    ev_io_init(watches[fd], ready, fd, mask(events));
    watches[fd]->data = data;
    ev_io_start(loop, watches[fd]);
}

static void modify_fd(int fd, unsigned events, void *data) {
    ev_io_stop(loop, watches[fd]);
    ev_io_modify(watches[fd], mask(events));
    watches[fd]->data = data;
    ev_io_start(loop, watches[fd]);
}

static void remove_fd(int fd) {
    ev_io_stop(loop, watches[fd]);
}

static void wait_for_events(void) {
    ev_run(loop, EVRUN_ONCE);
}

static void wake_up(void) {
    ev_async_send(loop, &wake);
}

int main(int argc, char **argv) {
    static const struct contestant libev = {open_set,  close_set,       add_fd,  modify_fd,
                                            remove_fd, wait_for_events, wake_up, NULL};
    return compete(&libev, argc, argv);
}
