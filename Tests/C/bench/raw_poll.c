/*
 * The baseline for poll: an array without gaps, scanned until all ready descriptors are found.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "workloads/contestant.h"

static struct pollfd *set;
static void **datas;  /* of each element of the set */
static int *position; /* of each descriptor in the set */
static size_t set_room, data_room, position_room, count;
static int wake_fd = -1;

static short mask(unsigned events) {
    return (short)((events & BENCH_READ ? POLLIN : 0) | (events & BENCH_WRITE ? POLLOUT : 0));
}

static void add_fd(int fd, unsigned events, void *data) {
    set = grow(set, &set_room, count, sizeof *set);
    datas = grow(datas, &data_room, count, sizeof *datas);
    position = grow(position, &position_room, (size_t)fd, sizeof *position);
    set[count] = (struct pollfd){.fd = fd, .events = mask(events)};
    datas[count] = data;
    position[fd] = (int)count++;
}

static void modify_fd(int fd, unsigned events, void *data) {
    set[position[fd]].events = mask(events);
    datas[position[fd]] = data;
}

/* The last one takes its place. */
static void remove_fd(int fd) {
    int gap = position[fd];
    count--;
    set[gap] = set[count];
    datas[gap] = datas[count];
    position[set[gap].fd] = gap;
}

static void open_set(const char *argument, bool threads) {
    (void)argument;
    if (threads) {
        if ((wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
            die_errno("eventfd");
        add_fd(wake_fd, BENCH_READ, &wake_fd);
    }
}

static void close_set(void) {
    close(wake_fd);
    free(set);
    free(datas);
    free(position);
}

static void wait_for_events(void) {
    int ready = poll(set, count, -1);
    if (ready < 0)
        die_errno("poll");
    for (size_t i = 0; ready > 0 && i < count; i++) {
        short events = set[i].revents;
        if (events == 0)
            continue;
        ready--;
        if (datas[i] == &wake_fd) {
            eventfd_t value;
            eventfd_read(wake_fd, &value);
            continue;
        }
        on_event(datas[i],
                 (events & POLLIN ? BENCH_READ : 0) | (events & POLLOUT ? BENCH_WRITE : 0));
    }
}

static void wake_up(void) {
    if (eventfd_write(wake_fd, 1) < 0)
        die_errno("eventfd_write");
}

int main(int argc, char **argv) {
    static const struct contestant raw_poll = {open_set,  close_set,       add_fd,  modify_fd,
                                               remove_fd, wait_for_events, wake_up, NULL};
    return compete(&raw_poll, argc, argv);
}
