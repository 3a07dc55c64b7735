/*
 * Measures sel_select() on epoll against a loop over epoll_wait(2) itself, in one run.
 *
 *     bench                              a table: ns per wait, and per further ready descriptor
 *     bench count raw|sel ROUNDS READY   only that loop, for an instruction counter (callgrind)
 *
 * 1000 eventfds are registered. The ready ones are never read: level-triggered, so each wait
 * reports them all again. Both loops look at each event, and the sum shows that they did.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "selectors.h"

enum {
    REGISTERED = 1000,
    MAX_READY = 64, /* also the size of the arrays both loops wait with */
    ROUNDS = 101,   /* of each loop; odd, so that there is a middle one */
    WAITS = 1000    /* in each round */
};

/* The floor and the library, always in this order. */
enum { RAW, SEL, KINDS };
static const char *const kind_names[KINDS] = {"raw", "sel"};

static int fds[REGISTERED];
static int epfd;
static sel_selector *selector;

static void die(const char *what, const char *why) {
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

static __attribute__((noinline)) uint64_t raw_loop(long rounds) {
    struct epoll_event events[MAX_READY];
    uint64_t sum = 0;
    for (long round = 0; round < rounds; round++) {
        int ready = epoll_wait(epfd, events, MAX_READY, -1);
        if (ready < 0)
            die("epoll_wait", strerror(errno));
        for (int i = 0; i < ready; i++)
            sum += events[i].data.u64;
    }
    return sum;
}

static __attribute__((noinline)) uint64_t sel_loop(long rounds) {
    sel_event events[MAX_READY];
    uint64_t sum = 0;
    for (long round = 0; round < rounds; round++) {
        int ready = sel_select(selector, events, MAX_READY, SEL_FOREVER);
        if (ready < 0)
            die("sel_select", sel_last_error());
        for (int i = 0; i < ready; i++)
            sum += (uintptr_t)events[i].key.data;
    }
    return sum;
}

/* Waits `rounds` times and makes sure that each time each ready descriptor came back. */
static void run(int kind, long rounds, int ready) {
    uint64_t expected = 0;
    for (int i = 0; i < ready; i++)
        expected += (uint64_t)fds[i] * (uint64_t)rounds;
    if ((kind == RAW ? raw_loop(rounds) : sel_loop(rounds)) != expected)
        die(kind_names[kind], "wrong events");
}

/* Registers all descriptors; their number is what comes back with each event. */
static void register_all(int kind) {
    if (kind == RAW && (epfd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll_create1", strerror(errno));
    if (kind == SEL && sel_open(&selector, "epoll") < 0)
        die("sel_open", sel_last_error());
    for (int i = 0; i < REGISTERED; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)fds[i]};
        if (kind == RAW && epoll_ctl(epfd, EPOLL_CTL_ADD, fds[i], &event) < 0)
            die("epoll_ctl", strerror(errno));
        void *data = (void *)(uintptr_t)fds[i];
        if (kind == SEL && sel_register(selector, fds[i], SEL_READ, data) < 0)
            die("sel_register", sel_last_error());
    }
}

/* Opens the descriptors; 1000 and a few more can be over the usual limit of 1024. */
static void open_all(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < REGISTERED + 100) {
        limit.rlim_cur = REGISTERED + 100;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            die("limit of open files", strerror(errno));
    }
    for (int i = 0; i < REGISTERED; i++)
        if ((fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
            die("eventfd", strerror(errno));
}

/* Makes the descriptors from `first` up to `last` ready. */
static void make_ready(int first, int last) {
    for (int i = first; i < last; i++)
        if (eventfd_write(fds[i], 1) < 0)
            die("eventfd_write", strerror(errno));
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/*
 * Stores the median time of a wait of each kind, in ns. The rounds of the two take turns, and so
 * does who goes first: whatever else the machine does then falls on both alike.
 */
static void measure(int ready, double medians[KINDS]) {
    double times[KINDS][ROUNDS];
    for (int round = -1; round < ROUNDS; round++) { /* -1: to warm up */
        for (int turn = 0; turn < KINDS; turn++) {
            int kind = round % 2 == 0 ? turn : KINDS - 1 - turn;
            double began = now();
            run(kind, WAITS, ready);
            if (round >= 0)
                times[kind][round] = (now() - began) / WAITS;
        }
    }
    for (int kind = 0; kind < KINDS; kind++) {
        qsort(times[kind], ROUNDS, sizeof times[kind][0], ascending);
        medians[kind] = times[kind][ROUNDS / 2];
    }
}

static void print_row(const char *what, double raw, double sel) {
    printf("%-20s %10.1f ns %10.1f ns %8.3fx\n", what, raw, sel, sel / raw);
}

static int print_table(void) {
    double one[KINDS], many[KINDS];
    register_all(RAW);
    register_all(SEL);
    make_ready(0, 1);
    measure(1, one);
    make_ready(1, MAX_READY);
    measure(MAX_READY, many);
    printf("%d registered; medians of %d interleaved rounds of %d waits\n\n", REGISTERED, ROUNDS,
           WAITS);
    printf("%-20s %13s %13s %9s\n", "", "epoll_wait", "sel_select", "ratio");
    print_row("wait, 1 ready", one[RAW], one[SEL]);
    print_row("each further event", (many[RAW] - one[RAW]) / (MAX_READY - 1),
              (many[SEL] - one[SEL]) / (MAX_READY - 1));
    print_row("wait, 64 ready", many[RAW], many[SEL]);
    return 0;
}

static int count(const char *kind_name, long rounds, long ready) {
    int kind = strcmp(kind_name, kind_names[SEL]) == 0 ? SEL : RAW;
    if (strcmp(kind_name, kind_names[kind]) != 0 || rounds < 1 || ready < 1 || ready > MAX_READY)
        return -1;
    register_all(kind);
    make_ready(0, (int)ready);
    run(kind, rounds, (int)ready);
    return 0;
}

int main(int argc, char **argv) {
    int status = -1;
    open_all();
    if (argc == 1)
        status = print_table();
    else if (argc == 5 && strcmp(argv[1], "count") == 0)
        status = count(argv[2], atol(argv[3]), atol(argv[4]));
    if (status < 0) {
        fprintf(stderr, "usage: bench | bench count raw|sel ROUNDS READY\n");
        return 2;
    }
    for (int i = 0; i < REGISTERED; i++)
        close(fds[i]);
    if (epfd > 0)
        close(epfd);
    sel_close(selector);
    return status;
}
