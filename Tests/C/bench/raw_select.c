/*
 * The baseline for select: sets as long as the highest descriptor requires, copied for each call
 * and scanned word by word. An empty set is passed as NULL.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <unistd.h>

#include "workloads/contestant.h"

enum { BITS = 8 * sizeof(unsigned long), DIRECTIONS = 2 };

static unsigned long *wanted[DIRECTIONS], *ready[DIRECTIONS]; /* to read, to write */
static size_t wanted_room[DIRECTIONS], ready_room[DIRECTIONS], data_room;
static long watched[DIRECTIONS]; /* how many */
static void **datas;             /* of each descriptor */
static int highest = -1, wake_fd = -1;

static void set_bit(int direction, int fd, bool on) {
    unsigned long bit = 1ul << (unsigned)fd % BITS, *word = &wanted[direction][(unsigned)fd / BITS];
    watched[direction] += on - ((*word & bit) != 0);
    *word = on ? *word | bit : *word & ~bit;
}

static void modify_fd(int fd, unsigned events, void *data) {
    set_bit(0, fd, events & BENCH_READ);
    set_bit(1, fd, events & BENCH_WRITE);
    datas[fd] = data;
}

static void add_fd(int fd, unsigned events, void *data) {
    for (int i = 0; i < DIRECTIONS; i++) {
        wanted[i] = grow(wanted[i], &wanted_room[i], (unsigned)fd / BITS, sizeof *wanted[i]);
        ready[i] = grow(ready[i], &ready_room[i], (unsigned)fd / BITS, sizeof *ready[i]);
    }
    datas = grow(datas, &data_room, (size_t)fd, sizeof *datas);
    if (fd > highest)
        highest = fd;
    modify_fd(fd, events, data);
}

static bool is_wanted(int fd) {
    size_t word = (unsigned)fd / BITS;
    return (wanted[0][word] | wanted[1][word]) >> (unsigned)fd % BITS & 1;
}

static void remove_fd(int fd) {
    modify_fd(fd, 0, NULL);
    while (highest >= 0 && !is_wanted(highest))
        highest--;
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
    free(datas);
    for (int i = 0; i < DIRECTIONS; i++) {
        free(wanted[i]);
        free(ready[i]);
    }
}

static void report(size_t word, unsigned long readable, unsigned long writable) {
    for (unsigned long rest = readable | writable; rest != 0; rest &= rest - 1) {
        int bit = __builtin_ctzl(rest);
        void *data = datas[word * BITS + (size_t)bit];
        if (data == &wake_fd) {
            eventfd_t value;
            eventfd_read(wake_fd, &value);
            continue;
        }
        on_event(data,
                 (readable >> bit & 1 ? BENCH_READ : 0) | (writable >> bit & 1 ? BENCH_WRITE : 0));
    }
}

static void wait_for_events(void) {
    size_t words = (size_t)highest / BITS + 1;
    fd_set *sets[DIRECTIONS] = {NULL, NULL};
    for (int i = 0; i < DIRECTIONS; i++)
        if (watched[i] > 0) {
            memcpy(ready[i], wanted[i], words * sizeof *ready[i]);
            sets[i] = (fd_set *)(void *)ready[i];
        }
    if (select(highest + 1, sets[0], sets[1], NULL, NULL) < 0)
        die_errno("select");
    for (size_t i = 0; i < words; i++) {
        unsigned long readable = sets[0] != NULL ? ready[0][i] : 0;
        unsigned long writable = sets[1] != NULL ? ready[1][i] : 0;
        if ((readable | writable) != 0)
            report(i, readable, writable);
    }
}

static void wake_up(void) {
    if (eventfd_write(wake_fd, 1) < 0)
        die_errno("eventfd_write");
}

int main(int argc, char **argv) {
    static const struct contestant raw_select = {open_set,  close_set,       add_fd,  modify_fd,
                                                 remove_fd, wait_for_events, wake_up, NULL};
    return compete(&raw_select, argc, argv);
}
