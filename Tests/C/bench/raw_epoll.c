/*
 * The floor: epoll_wait and epoll_ctl, as a program calls them that needs no more.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdint.h>
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

int main(int argc, char **argv) {
    static const struct contestant raw_epoll = {open_set,  close_set,       add_fd, modify_fd,
                                                remove_fd, wait_for_events, wake_up};
    return compete(&raw_epoll, argc, argv);
}
