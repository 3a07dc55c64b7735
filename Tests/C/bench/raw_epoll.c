/*
 * The baseline: direct calls to epoll_wait and epoll_ctl.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "workloads/contestant.h"

static int epfd, wake_fd = -1;

static void control(int operation, int fd, unsigned events, void *data) {
    struct epoll_event event = {.data.ptr = data};
    event.events = (events & BENCH_READ ? EPOLLIN : 0) | (events & BENCH_WRITE ? EPOLLOUT : 0);
    if (epoll_ctl(epfd, operation, fd, &event) < 0)
        die_errno("epoll_ctl");
}

static void add_fd(int fd, unsigned events, void *data) {
    control(EPOLL_CTL_ADD, fd, events, data);
}

static void modify_fd(int fd, unsigned events, void *data) {
    control(EPOLL_CTL_MOD, fd, events, data);
}

static void remove_fd(int fd) {
    control(EPOLL_CTL_DEL, fd, 0, NULL);
}

static void open_set(const char *argument, bool threads) {
    (void)argument;
    if ((epfd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die_errno("epoll_create1");
    if (threads) {
        if ((wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
            die_errno("eventfd");
        add_fd(wake_fd, BENCH_READ, &wake_fd);
    }
}

static void close_set(void) {
    close(epfd);
    close(wake_fd);
}

static void wait_for_events(void) {
    static struct epoll_event events[MOST_EVENTS];
    int count = epoll_wait(epfd, events, MOST_EVENTS, -1);
    if (count < 0)
        die_errno("epoll_wait");
    for (int i = 0; i < count; i++) {
        uint32_t ready = events[i].events;
        if (events[i].data.ptr == &wake_fd) {
            eventfd_t value;
            eventfd_read(wake_fd, &value);
            continue;
        }
        on_event(events[i].data.ptr,
                 (ready & EPOLLIN ? BENCH_READ : 0) | (ready & EPOLLOUT ? BENCH_WRITE : 0));
    }
}

static void wake_up(void) {
    if (eventfd_write(wake_fd, 1) < 0)
        die_errno("eventfd_write");
}

/* The pool: sets with one-shot registrations. */

static int *pool_sets;
static int pool_set_count;

static void open_pool(const char *argument, int sets) {
    (void)argument;
    if ((pool_sets = calloc((size_t)sets, sizeof *pool_sets)) == NULL)
        die_errno("memory");
    for (; pool_set_count < sets; pool_set_count++)
        if ((pool_sets[pool_set_count] = epoll_create1(EPOLL_CLOEXEC)) < 0)
            die_errno("epoll_create1");
}

static void close_pool(void) {
    for (int set = 0; set < pool_set_count; set++)
        close(pool_sets[set]);
    free(pool_sets);
}

static void control_pool(int set, int operation, int fd, uint32_t events, void *data) {
    struct epoll_event event = {.events = events, .data.ptr = data};
    if (epoll_ctl(pool_sets[set], operation, fd, &event) < 0)
        die_errno("epoll_ctl");
}

static void add_to_pool(int set, int fd, bool once, void *data) {
    control_pool(set, EPOLL_CTL_ADD, fd, once ? EPOLLIN | EPOLLONESHOT : EPOLLIN, data);
}

static void arm_in_pool(int set, int fd, void *data) {
    control_pool(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, data);
}

static void *wait_in_pool(int set) {
    struct epoll_event event;
    if (epoll_wait(pool_sets[set], &event, 1, -1) != 1)
        die_errno("epoll_wait");
    return event.data.ptr;
}

int main(int argc, char **argv) {
    static const struct pool pool = {open_pool, close_pool, add_to_pool, arm_in_pool, wait_in_pool};
    static const struct contestant raw_epoll = {open_set,  close_set,       add_fd,  modify_fd,
                                                remove_fd, wait_for_events, wake_up, &pool};
    return compete(&raw_epoll, argc, argv);
}
