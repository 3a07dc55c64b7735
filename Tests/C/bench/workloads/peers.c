/*
 * The workloads with a peer: a process that sends and receives by blocking calls, or a thread that
 * wakes the contestant up.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
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

void set_up_wake(int registered, int ready) {
    (void)registered;
    (void)ready;
    on_event = no_event;
    if (sem_init(&wanted, 0, 0) < 0 || pthread_create(&waker, NULL, wake, NULL) != 0)
        die("no thread");
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

void tear_down_wake(void) {
    over = true;
    sem_post(&wanted);
    pthread_join(waker, NULL);
}
