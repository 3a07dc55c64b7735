/*
 * An echo server that closes idle connections: each has a deadline, kept by timers.h.
 *
 *     idle_server [PORT [MS]]    on 127.0.0.1; port 0, the default, is any free port; 5000 ms
 *
 * Each event on a connection extends its deadline. Ends on SIGTERM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "selectors.h"
#include "timers.h"

enum { PAUSE_NS = 100 * 1000000 };

struct connection {
    struct timer timer;
    int fd;
    size_t start, end; /* buffer[start ..< end] is still to be sent */
    char buffer[16384];
};

static sel_selector *selector;
static struct timers timers;
static int64_t patience; /* ns */

static void die(const char *what, const char *why) {
    fprintf(stderr, "idle_server: %s: %s\n", what, why);
    exit(1);
}

static void drop(struct connection *c) {
    timers_remove(&timers, &c->timer);
    sel_unregister(selector, c->fd, NULL);
    close(c->fd);
    free(c);
}

static void adopt(int fd) {
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL || sel_register(selector, fd, SEL_READ, c) < 0) {
        free(c);
        close(fd);
        return;
    }
    c->fd = fd;
    if (timers_set(&timers, &c->timer, timers_now() + patience) < 0)
        drop(c);
}

/* Accepts all pending connections. Returns 0 if no descriptor or memory is left. */
static int accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            adopt(fd);
        else if (errno == EAGAIN)
            return 1;
        else if (errno != ECONNABORTED && errno != EPROTO && errno != EINTR)
            return 0;
    }
}

/* Reads if the buffer is empty, then sends. Returns 0 at the end of the connection. */
static int serve(struct connection *c) {
    if (c->start == c->end) {
        ssize_t count = recv(c->fd, c->buffer, sizeof c->buffer, 0);
        if (count <= 0)
            return count < 0 && (errno == EAGAIN || errno == EINTR);
        c->start = 0;
        c->end = (size_t)count;
    }
    ssize_t count = send(c->fd, c->buffer + c->start, c->end - c->start, MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN && errno != EINTR)
        return 0;
    if (count > 0)
        c->start += (size_t)count;
    timers_set(&timers, &c->timer, timers_now() + patience); /* cannot fail: it was set before */
    return sel_modify(selector, c->fd, c->start == c->end ? SEL_READ : SEL_WRITE, c) == 0;
}

static int listen_on(struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(fd, (struct sockaddr *)address, sizeof *address) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) < 0)
        die("cannot listen", strerror(errno));
    return fd;
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 0, ms = argc > 2 ? atoi(argv[2]) : 5000;
    if (argc > 3 || port < 0 || port > 65535 || ms < 1) {
        fprintf(stderr, "usage: idle_server [PORT [MS]]\n");
        return 2;
    }
    patience = ms * INT64_C(1000000);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = listen_on(&address);

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (sel_open(&selector, NULL) < 0 || sel_register(selector, signals, SEL_READ, NULL) < 0 ||
        sel_register(selector, listener, SEL_READ, NULL) < 0)
        die("selector", sel_last_error());
    printf("listening on 127.0.0.1:%d (%s)\n", ntohs(address.sin_port), sel_backend_name(selector));
    fflush(stdout);

    for (int running = 1, is_paused = 0; running;) {
        sel_event events[64];
        int64_t timeout = timers_timeout(&timers);
        if (is_paused && (timeout < 0 || timeout > PAUSE_NS))
            timeout = PAUSE_NS;
        int ready = sel_select(selector, events, 64, timeout);
        if (ready < 0)
            die("sel_select", sel_last_error());
        if (is_paused)
            is_paused = sel_register(selector, listener, SEL_READ, NULL) < 0;
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].key.data;
            if (c != NULL) {
                if (!serve(c))
                    drop(c);
            } else if (events[i].key.fd == signals) {
                running = 0;
            } else if (!accept_all(listener)) {
                /* It would stay ready: unregister it until the next event, or for a while. */
                sel_unregister(selector, listener, NULL);
                is_paused = 1;
            }
        }
        /* After the events: timely data count, and no event refers to a connection freed here. */
        struct timer *timer;
        while ((timer = timers_take(&timers, timers_now())) != NULL)
            drop(TIMERS_OWNER(timer, struct connection, timer));
    }

    /* Every connection has a timer, so the timers know all connections. */
    struct timer *timer;
    while ((timer = timers_take(&timers, INT64_MAX)) != NULL)
        drop(TIMERS_OWNER(timer, struct connection, timer));
    timers_free(&timers);
    sel_close(selector);
    close(listener);
    close(signals);
    return 0;
}
