/*
 * The workloads with a peer: a process that sends and receives by blocking calls, or a thread that
 * wakes the contestant up.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "workload.h"

enum { REQUEST = 64 }; /* bytes */

int command; /* this end of what connects the two processes */
static int *connections;
static int connection_count;
static long requests; /* answered since the start of the round */
static char buffer[65536];

/* Forks; the child is to end with its parent. Returns true in the child. */
bool fork_peer(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        die_errno("socketpair");
    pid_t child = fork();
    if (child < 0)
        die_errno("fork");
    command = ends[child == 0];
    close(ends[child != 0]);
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child == 0;
}

/* Ping-pong: a byte there, a byte back. */

void prepare_ping_pong(int registered) {
    (void)registered;
    if (!fork_peer())
        return;
    for (char byte; read(command, &byte, 1) == 1;)
        if (write(command, &byte, 1) != 1)
            break;
    _exit(0);
}

static void pong(void *data, unsigned events) {
    char byte;
    (void)data;
    if (events != BENCH_READ || read(command, &byte, 1) != 1)
        die_errno("ping-pong");
    requests++;
}

void set_up_ping_pong(int registered, int ready) {
    (void)registered;
    (void)ready;
    on_event = pong;
    contestant->add(command, BENCH_READ, NULL);
}

double run_ping_pong(long loops) {
    requests = 0;
    for (long loop = 0; loop < loops; loop++) {
        if (write(command, "p", 1) != 1)
            die_errno("ping-pong");
        while (requests == loop)
            contestant->wait();
    }
    return (double)loops;
}

/* Echo: one process sends to all connections and then receives from all; this one answers. */

static _Noreturn void be_client(void) {
    long loops;
    while (read(command, &loops, sizeof loops) == sizeof loops)
        for (; loops > 0; loops--) {
            for (int i = 0; i < connection_count; i++)
                if (send(connections[i], buffer, REQUEST, 0) != REQUEST)
                    _exit(1);
            for (int i = 0; i < connection_count; i++)
                if (recv(connections[i], buffer, REQUEST, MSG_WAITALL) != REQUEST)
                    _exit(1);
        }
    _exit(0);
}

void prepare_echo(int registered) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connections = calloc((size_t)registered, sizeof *connections);
    connection_count = registered;
    if (connections == NULL || listener < 0 ||
        bind(listener, (struct sockaddr *)&address, length) < 0 ||
        listen(listener, registered) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        die_errno("listen");
    bool client = fork_peer();
    for (int i = 0; i < registered; i++) {
        if (client) {
            connections[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            if (connect(connections[i], (struct sockaddr *)&address, length) < 0)
                _exit(1);
        } else if ((connections[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) <
                   0) {
            die_errno("accept4");
        }
    }
    close(listener);
    if (client)
        be_client();
}

static void answer(void *data, unsigned events) {
    int fd = connections[(uintptr_t)data];
    ssize_t count = recv(fd, buffer, sizeof buffer, 0);
    if (events != BENCH_READ || count <= 0 ||
        send(fd, buffer, (size_t)count, MSG_NOSIGNAL) != count)
        die_errno("echo");
    requests += count / REQUEST;
}

void set_up_echo(int registered, int ready) {
    (void)ready;
    on_event = answer;
    for (int i = 0; i < registered; i++)
        contestant->add(connections[i], BENCH_READ, (void *)(uintptr_t)i);
}

double run_echo(long loops) {
    requests = 0;
    if (write(command, &loops, sizeof loops) != sizeof loops)
        die_errno("echo");
    while (requests < loops * connection_count)
        contestant->wait();
    return (double)requests;
}

/* Wake-up by a thread. */

static pthread_t waker;
static sem_t wanted;
static bool over;

static void *wake(void *unused) {
    for (;;) {
        while (sem_wait(&wanted) < 0)
            continue;
        if (over)
            return unused;
        contestant->wakeup();
    }
}

static void no_event(void *data, unsigned events) {
    (void)data;
    (void)events;
    die("an event of what is not ready");
}

static void start_waker(void *(*body)(void *)) {
    on_event = no_event;
    if (sem_init(&wanted, 0, 0) < 0 || pthread_create(&waker, NULL, body, NULL) != 0)
        die("no thread");
}

void set_up_wake(int registered, int ready) {
    (void)registered;
    (void)ready;
    start_waker(wake);
}

/* From the request for a wake-up to the return of the wait. */
double run_wake(long loops) {
    for (long loop = 0; loop < loops; loop++) {
        sem_post(&wanted);
        contestant->wait();
    }
    return (double)loops;
}

/* All but the first have one before them. */
double run_wake_pending(long loops) {
    for (long loop = 0; loop < loops; loop++)
        contestant->wakeup();
    contestant->wait();
    return (double)loops;
}

/*
 * Wake-up of a wait that is blocked for sure, as that of run_wake need not be: before each, the waker
 * looks until the other thread sleeps. The two threads take the time themselves, so that neither
 * this nor the answer is in it.
 */

double latency_ns;
static int main_state;    /* what /proc tells of the thread that waits */
static long wakes;        /* in this round */
static double woken_from; /* when the last one began */
static sem_t returned;

/* True if the main thread sleeps: "NUMBER (NAME) S ...". */
static bool main_sleeps(void) {
    char line[256];
    ssize_t length = pread(main_state, line, sizeof line - 1, 0);
    if (length <= 0)
        die_errno("/proc/self/task");
    line[length] = '\0';
    const char *name_end = strrchr(line, ')');
    return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'S';
}

static void *wake_blocked(void *unused) {
    for (;;) {
        while (sem_wait(&wanted) < 0)
            continue;
        if (over)
            return unused;
        for (long left = wakes; left > 0; left--) {
            while (!main_sleeps())
                sched_yield();
            woken_from = wall_time();
            contestant->wakeup();
            while (sem_wait(&returned) < 0)
                continue;
        }
    }
}

void set_up_wake_blocked(int registered, int ready) {
    char path[64];
    (void)registered;
    (void)ready;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    if ((main_state = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        die_errno(path);
    if (sem_init(&returned, 0, 0) < 0)
        die_errno("sem_init");
    start_waker(wake_blocked);
}

/* From before the call that wakes to the return of the wait. */
double run_wake_blocked(long loops) {
    latency_ns = 0;
    wakes = loops;
    sem_post(&wanted);
    for (long loop = 0; loop < loops; loop++) {
        contestant->wait();
        latency_ns += wall_time() - woken_from;
        sem_post(&returned);
    }
    return (double)loops;
}

void tear_down_wake(void) {
    over = true;
    sem_post(&wanted);
    pthread_join(waker, NULL);
}
