/*
 * Has an echo server answer 64-byte requests over the loopback: a contestant of ../driver.c.
 *
 *     client COMMAND ... echo_cpu|echo_wall CONNECTIONS 0
 *
 * Starts the server, which first prints "listening on 127.0.0.1:PORT", and reports the processor time
 * of all its threads, or the time that passed. Each connection has one request under way.
 *
 * All threads of the server run on the first processor, and the client on the last one, where it never
 * sleeps: no server pays for waking it up.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST = 64, PATIENCE = 60 /* s */ };

static pid_t server;
static int epfd;
static struct connection *connections;
static int connection_count;

struct connection {
    int fd;
    int received; /* bytes of an answer */
};

static _Noreturn void die(const char *what) {
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Binds this process to the first or the last processor that it may use. */
static void take_processor(bool last) {
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        die("sched_getaffinity");
    for (int i = 0; i < CPU_SETSIZE; i++) {
        int cpu = last ? CPU_SETSIZE - 1 - i : i;
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) < 0)
            die("sched_setaffinity");
        return;
    }
}

/* Starts the server and returns its port. */
static int start(char **command) {
    int ends[2], port;
    char line[256];
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || pipe(ends) < 0 || (server = fork()) < 0)
        die("start");
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        take_processor(false);
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execvp(command[0], command);
        die(command[0]);
    }
    close(ends[1]);
    FILE *output = fdopen(ends[0], "r");
    if (output == NULL)
        die("fdopen");
    if (fgets(line, sizeof line, output) == NULL ||
        sscanf(line, "listening on 127.0.0.1:%d", &port) != 1) {
        errno = EPROTO;
        die("the server tells no port");
    }
    return port;
}

static void connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connections = calloc((size_t)connection_count, sizeof *connections);
    if (connections == NULL || (epfd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll");
    for (int i = 0; i < connection_count; i++) {
        int fd = connections[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = &connections[i]};
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0 ||
            epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0)
            die("connect");
    }
}

static void ask(struct connection *connection) {
    static const char request[REQUEST];
    connection->received = 0;
    if (send(connection->fd, request, REQUEST, MSG_NOSIGNAL) != REQUEST)
        die("send");
}

static void run(long requests) {
    long asked, answered = 0;
    for (asked = 0; asked < connection_count && asked < requests; asked++)
        ask(&connections[asked]);
    while (answered < requests) {
        struct epoll_event events[64];
        int ready = epoll_wait(epfd, events, 64, 0);
        for (int i = 0; i < ready; i++) {
            char answer[REQUEST];
            struct connection *connection = events[i].data.ptr;
            ssize_t count = recv(connection->fd, answer, REQUEST, MSG_DONTWAIT);
            if (count < 0 && errno == EAGAIN)
                continue;
            if (count == 0)
                errno = ECONNRESET;
            if (count <= 0)
                die("recv");
            connection->received += (int)count;
            if (connection->received < REQUEST)
                continue;
            answered++;
            if (asked < requests) {
                asked++;
                ask(connection);
            }
        }
    }
}

static double now(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        die("clock_gettime");
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int argc, char **argv) {
    char line[64];
    clockid_t clock = CLOCK_MONOTONIC;
    if (argc < 5 || strncmp(argv[argc - 3], "echo_", 5) != 0) {
        fprintf(stderr, "usage: client COMMAND ... echo_cpu|echo_wall CONNECTIONS 0\n");
        return 2;
    }
    bool wall = strcmp(argv[argc - 3], "echo_wall") == 0;
    connection_count = atoi(argv[argc - 2]);
    argv[argc - 3] = NULL;
    connect_to(start(argv + 1));
    if (!wall && (errno = clock_getcpuclockid(server, &clock)) != 0)
        die("clock_getcpuclockid");
    take_processor(true);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        alarm(PATIENCE);
        long requests = atol(line) * connection_count;
        double began = now(clock);
        run(requests);
        /* The kernel adds up what a thread took when it goes to sleep, or at the next tick. */
        if (!wall)
            usleep(1000);
        printf("%.17g %ld 0 0\n", now(clock) - began, requests);
        fflush(stdout);
        alarm(0);
    }
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return 0;
}
