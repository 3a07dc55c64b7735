/*
 * A server that forks its workers in advance; they share one listening socket.
 *
 *     prefork [PORT [WORKERS]]    on 127.0.0.1; port 0, the default, is any free port; 4 workers
 *
 * Each client receives the process ID of its worker. With SEL_EXCLUSIVE a connection wakes one
 * worker, or a few, instead of all. A worker that dies is replaced; SIGTERM ends all of them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "selectors.h"

enum { MOST_WORKERS = 64, PAUSE_NS = 100 * 1000000 };

static pid_t workers[MOST_WORKERS];
static sel_selector *selector;

static void die(const char *what, const char *why) {
    fprintf(stderr, "prefork: %s: %s\n", what, why);
    exit(1);
}

static int watch(int listener) {
    int result = sel_register(selector, listener, SEL_READ | SEL_EXCLUSIVE, NULL);
    if (result == -ENOTSUP) /* poll and select: every worker wakes up, and one of them accepts */
        result = sel_register(selector, listener, SEL_READ, NULL);
    return result;
}

/* Serves a client. Returns 0 if no descriptor or memory is left. */
static int serve(int listener) {
    char line[64];
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) /* usually another worker was faster */
        return errno == EAGAIN || errno == ECONNABORTED || errno == EPROTO || errno == EINTR;
    int length = snprintf(line, sizeof line, "served by %d\n", (int)getpid());
    if (send(client, line, (size_t)length, MSG_NOSIGNAL) < 0)
        perror("prefork: send");
    close(client);
    return 1;
}

/* Runs a worker until SIGTERM. It uses its copy of the parent's selector. */
static void work(int listener, int signals) {
    int result = watch(listener), is_paused = 0;
    while (result >= 0) {
        sel_event event;
        result = sel_select(selector, &event, 1, is_paused ? PAUSE_NS : SEL_FOREVER);
        if (is_paused && result >= 0)
            is_paused = watch(listener) < 0;
        if (result == 1 && event.key.fd == signals) {
            struct signalfd_siginfo info;
            if (read(signals, &info, sizeof info) == (ssize_t)sizeof info &&
                info.ssi_signo != SIGCHLD)
                break;
        } else if (result == 1 && !serve(listener)) {
            /* It would stay ready: unregister it until the next event, or for a while. */
            sel_unregister(selector, listener, NULL);
            is_paused = 1;
        }
    }
    if (result < 0)
        fprintf(stderr, "prefork: worker: %s\n", sel_last_error());
    sel_close(selector);
    close(listener);
    close(signals);
    exit(result < 0);
}

static void start(int slot, int listener, int signals) {
    pid_t parent = getpid();
    workers[slot] = fork();
    if (workers[slot] == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* no orphans */
        if (getppid() == parent)
            work(listener, signals);
        exit(1);
    }
    if (workers[slot] < 0)
        die("fork", strerror(errno));
}

/* Reaps the children that have ended, and replaces them. */
static void replace(int count, int listener, int signals) {
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        for (int i = 0; i < count; i++)
            if (workers[i] == pid)
                start(i, listener, signals);
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 0, count = argc > 2 ? atoi(argv[2]) : 4;
    if (argc > 3 || port < 0 || port > 65535 || count < 1 || count > MOST_WORKERS) {
        fprintf(stderr, "usage: prefork [PORT [WORKERS]]\n");
        return 2;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof address;
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, SOMAXCONN) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        die("cannot listen", strerror(errno));

    /* A signalfd reports the signals of the process that reads it. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (sel_open(&selector, NULL) < 0 || sel_register(selector, signals, SEL_READ, NULL) < 0)
        die("selector", sel_last_error());
    for (int i = 0; i < count; i++)
        start(i, listener, signals);
    printf("listening on 127.0.0.1:%d (%s)\n", ntohs(address.sin_port), sel_backend_name(selector));
    fflush(stdout);

    for (int running = 1; running;) {
        sel_event event;
        struct signalfd_siginfo info;
        int ready = sel_select(selector, &event, 1, SEL_FOREVER);
        if (ready < 0)
            die("sel_select", sel_last_error());
        while (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
            if (info.ssi_signo != SIGCHLD)
                running = 0;
            else if (running)
                replace(count, listener, signals);
        }
    }

    for (int i = 0; i < count; i++)
        kill(workers[i], SIGTERM);
    while (wait(NULL) > 0 || errno == EINTR)
        continue;
    sel_close(selector);
    close(listener);
    close(signals);
    return 0;
}
