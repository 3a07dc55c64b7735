/*
 * A TCP echo server: one thread, many connections, and only sel_select() blocks.
 *
 *     echo_server [PORT]    on 127.0.0.1; port 0, the default, is any free port; ends on SIGTERM
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

/*
 * A connection is either reading, with an empty buffer, or writing what it has read. While the
 * peer does not receive its echo, the server reads no more from it: this is back-pressure.
 */
struct connection {
    int fd;
    size_t start, end; /* buffer[start ..< end] is still to be sent */
    char buffer[16384];
};

enum { PAUSE_NS = 100 * 1000000 };

static sel_selector *selector;

static void die(const char *what, const char *why) {
    fprintf(stderr, "echo_server: %s%s%s\n", what, *what ? ": " : "", why);
    exit(1);
}

/* Unregisters first, then closes: after close another file may have the same descriptor. */
static void drop(struct connection *connection) {
    sel_unregister(selector, connection->fd, NULL);
    close(connection->fd);
    free(connection);
}

static void adopt(int fd) {
    struct connection *connection = malloc(sizeof *connection);
    if (connection == NULL) {
        close(fd);
        return;
    }
    connection->fd = fd;
    connection->start = connection->end = 0;
    if (sel_register(selector, fd, SEL_READ, connection) < 0) {
        fprintf(stderr, "echo_server: connection refused: %s\n", sel_last_error());
        close(fd);
        free(connection);
    }
}

/*
 * Accepts all pending connections. Returns 0 if no descriptor is left (EMFILE ...): the listener
 * would then stay ready and the loop would spin, so it must pause.
 */
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

/* Reads once or writes once, depending on the connection's state, and drops it at the end. */
static void serve(struct connection *c) {
    if (c->start == c->end) {
        ssize_t count = recv(c->fd, c->buffer, sizeof c->buffer, 0);
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (count <= 0) {
            drop(c);
            return;
        }
        c->start = 0;
        c->end = (size_t)count;
    }
    /* Usually the echo fits into the socket at once, and no wait for SEL_WRITE is needed. */
    ssize_t count = send(c->fd, c->buffer + c->start, c->end - c->start, MSG_NOSIGNAL);
    if (count >= 0)
        c->start += (size_t)count;
    else if (errno != EAGAIN && errno != EINTR) {
        drop(c);
        return;
    }
    /* sel_modify() without a change costs nothing, so the current events need not be stored. */
    if (sel_modify(selector, c->fd, c->start == c->end ? SEL_READ : SEL_WRITE, c) < 0)
        die("sel_modify", sel_last_error());
}

static int listen_on(struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(fd, (struct sockaddr *)address, sizeof *address) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) < 0)
        die("cannot listen", strerror(errno));
    return fd;
}

/* Blocks SIGINT and SIGTERM, and returns a descriptor that becomes readable instead. */
static int watch_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    int fd = -1;
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
        fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        die("signalfd", strerror(errno));
    return fd;
}

int main(int argc, char **argv) {
    char *end = "";
    unsigned long port = argc > 1 ? strtoul(argv[1], &end, 10) : 0;
    if (argc > 2 || port > 65535 || *end != '\0' || (argc > 1 && end == argv[1])) {
        fprintf(stderr, "usage: echo_server [PORT]\n");
        return 2;
    }
    if (sel_open(&selector, NULL) < 0)
        die("", sel_last_error());

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = listen_on(&address);
    int signals = watch_signals();
    if (sel_register(selector, listener, SEL_READ, NULL) < 0 ||
        sel_register(selector, signals, SEL_READ, NULL) < 0)
        die("sel_register", sel_last_error());
    printf("listening on 127.0.0.1:%d (%s)\n", ntohs(address.sin_port), sel_backend_name(selector));
    fflush(stdout);

    int is_paused = 0;
    for (int running = 1; running;) {
        sel_event events[64];
        int ready = sel_select(selector, events, 64, is_paused ? PAUSE_NS : SEL_FOREVER);
        if (ready < 0)
            die("sel_select", sel_last_error());
        if (is_paused) /* a client may have disconnected, or the pause is over: try again */
            is_paused = sel_register(selector, listener, SEL_READ, NULL) < 0;
        for (int i = 0; i < ready; i++) {
            if (events[i].key.fd == signals)
                running = 0;
            else if (events[i].key.fd != listener)
                serve(events[i].key.data);
            else if (!accept_all(listener)) {
                sel_unregister(selector, listener, NULL);
                is_paused = 1;
            }
        }
    }

    /* The selector knows all connections, so the server needs no list of its own. */
    sel_key keys[64];
    int count;
    while ((count = sel_get_map(selector, keys, 64)) > 0) {
        for (int i = 0; i < count && i < 64; i++) {
            sel_unregister(selector, keys[i].fd, NULL);
            close(keys[i].fd);
            free(keys[i].data);
        }
    }
    if (is_paused)
        close(listener);
    sel_close(selector);
    return 0;
}
