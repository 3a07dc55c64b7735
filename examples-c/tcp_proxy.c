/*
 * A TCP proxy: forwards data between a client and a server, in both directions.
 *
 *     tcp_proxy PORT HOST PORT    from 127.0.0.1:PORT (0: any free port) to an IP address and port
 *
 * Each direction has one buffer. A socket is watched for SEL_READ while the buffer that it fills
 * has room, and for SEL_WRITE while the buffer that it empties has data. So a slow reader slows
 * down the writer at the other end, and memory stays bounded. Ends on SIGTERM.
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

/* One of the two sockets, and the data read from it that are not yet written to the other one. */
struct end {
    struct tunnel *tunnel;
    int fd;
    uint32_t watched; /* 0: not registered, because a selector accepts no empty mask */
    size_t start, stop;
    int is_finished;  /* it sends no more */
    int is_passed_on; /* and the other end is shut down */
    char buffer[65536];
};

struct tunnel {
    struct end ends[2]; /* client, server */
    int is_connecting;
};

enum { PAUSE_NS = 100 * 1000000 };

static sel_selector *selector;

static void die(const char *what, const char *why) {
    fprintf(stderr, "tcp_proxy: %s: %s\n", what, why);
    exit(1);
}

static void drop(struct tunnel *tunnel) {
    for (int i = 0; i < 2; i++) {
        if (tunnel->ends[i].watched != 0)
            sel_unregister(selector, tunnel->ends[i].fd, NULL);
        close(tunnel->ends[i].fd);
    }
    free(tunnel);
}

/* Sets the events of an end from its buffers. Returns 0 on failure. */
static int watch(struct end *end, uint32_t wanted) {
    int result = 0;
    if (wanted == 0 && end->watched != 0)
        result = sel_unregister(selector, end->fd, NULL);
    else if (wanted != 0 && end->watched == 0)
        result = sel_register(selector, end->fd, wanted, end);
    else if (wanted != 0)
        result = sel_modify(selector, end->fd, wanted, end); /* costs nothing without a change */
    if (result == 0)
        end->watched = wanted;
    return result == 0;
}

/* Moves data from one end to the other. Returns 0 if the tunnel is broken. */
static int move(struct end *from, struct end *to) {
    for (;;) {
        ssize_t count;
        if (from->start == from->stop && !from->is_finished) {
            count = recv(from->fd, from->buffer, sizeof from->buffer, 0);
            if (count < 0)
                return errno == EAGAIN || errno == EINTR;
            from->start = 0;
            from->stop = (size_t)count;
            from->is_finished = count == 0;
        }
        if (from->start == from->stop) {
            /* All data are forwarded: forward the half-close, too. */
            if (!from->is_passed_on)
                shutdown(to->fd, SHUT_WR);
            from->is_passed_on = 1;
            return 1;
        }
        count = send(to->fd, from->buffer + from->start, from->stop - from->start, MSG_NOSIGNAL);
        if (count < 0)
            return errno == EAGAIN || errno == EINTR;
        from->start += (size_t)count;
    }
}

static void serve(struct tunnel *tunnel) {
    struct end *client = &tunnel->ends[0], *server = &tunnel->ends[1];
    if (tunnel->is_connecting) {
        int error = 0;
        socklen_t length = sizeof error;
        if (getsockopt(server->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error != 0) {
            drop(tunnel);
            return;
        }
        tunnel->is_connecting = 0;
    }
    if (!move(client, server) || !move(server, client) ||
        (client->is_passed_on && server->is_passed_on)) {
        drop(tunnel);
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct end *this = &tunnel->ends[i], *other = &tunnel->ends[1 - i];
        uint32_t wanted = 0;
        if (this->start == this->stop && !this->is_finished)
            wanted |= SEL_READ;
        if (other->start != other->stop)
            wanted |= SEL_WRITE;
        if (!watch(this, wanted)) {
            drop(tunnel);
            return;
        }
    }
}

/* Opens a tunnel between a client and a socket for the server. */
static void adopt(int client, int server, const struct sockaddr_in *target) {
    struct tunnel *tunnel = calloc(1, sizeof *tunnel);
    if (tunnel == NULL) {
        close(client);
        close(server);
        return;
    }
    tunnel->ends[0].fd = client;
    tunnel->ends[1].fd = server;
    tunnel->ends[0].tunnel = tunnel->ends[1].tunnel = tunnel;
    tunnel->is_connecting = 1;
    /* The socket becomes writable when connect has succeeded or failed. */
    if ((connect(server, (const struct sockaddr *)target, sizeof *target) < 0 &&
         errno != EINPROGRESS) ||
        !watch(&tunnel->ends[1], SEL_WRITE))
        drop(tunnel);
}

/*
 * Accepts a client. Returns 0 if no descriptor or memory is left. The socket for the server is made
 * first: without it the client stays in the queue instead of being disconnected.
 */
static int accept_one(int listener, const struct sockaddr_in *target) {
    int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), client;
    if (server < 0)
        return 0;
    client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client >= 0) {
        adopt(client, server, target);
        return 1;
    }
    int error = errno; /* close may change it */
    close(server);
    return error == EAGAIN || error == ECONNABORTED || error == EPROTO || error == EINTR;
}

static struct sockaddr_in parse(const char *host, const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char *end;
    unsigned long number = strtoul(port, &end, 10);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || *end != '\0' || end == port ||
        number > 65535)
        die(host, "this and the port must be numbers");
    address.sin_port = htons((uint16_t)number);
    return address;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: tcp_proxy PORT HOST PORT\n");
        return 2;
    }
    struct sockaddr_in address = parse("127.0.0.1", argv[1]), target = parse(argv[2], argv[3]);
    socklen_t length = sizeof address;
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, SOMAXCONN) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        die("cannot listen", strerror(errno));

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

    for (int is_paused = 0;;) {
        /* One event at a time: serving one end may free its tunnel, including the other end. */
        sel_event event;
        int ready = sel_select(selector, &event, 1, is_paused ? PAUSE_NS : SEL_FOREVER);
        if (ready < 0)
            die("sel_select", sel_last_error());
        if (is_paused)
            is_paused = sel_register(selector, listener, SEL_READ, NULL) < 0;
        if (ready == 0)
            continue;
        if (event.key.fd == signals)
            break;
        if (event.key.fd != listener) {
            serve(((struct end *)event.key.data)->tunnel);
        } else if (!accept_one(listener, &target)) {
            /* It would stay ready: unregister it until the next event, or for a while. */
            sel_unregister(selector, listener, NULL);
            is_paused = 1;
        }
    }

    sel_key key;
    sel_unregister(selector, listener, NULL);
    sel_unregister(selector, signals, NULL);
    while (sel_get_map(selector, &key, 1) > 0)
        drop(((struct end *)key.data)->tunnel);
    sel_close(selector);
    close(listener);
    close(signals);
    return 0;
}
