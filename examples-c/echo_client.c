/*
 * A load generator for echo_server: many connections at once; checks every byte of every reply.
 *
 *     echo_client HOST PORT CONNECTIONS MESSAGES [SIZE]
 *
 * Each connection sends its messages one after another, and waits for each reply. The exit status
 * is 1 if a reply is wrong, a connection ends early, or nothing happens for 10 seconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "selectors.h"

#define PATIENCE_NS (10 * INT64_C(1000000000))

struct connection {
    int fd;
    int connected;
    unsigned long number;  /* of this connection, from 0 */
    unsigned long message; /* number of the current message, from 0 */
    size_t sent, received; /* bytes of it */
    unsigned char *text;   /* its contents, `size` bytes */
};

static sel_selector *selector;
static unsigned long messages, answered, errors;
static size_t size = 64;

static void die(const char *what, const char *why) {
    fprintf(stderr, "echo_client: %s%s%s\n", what, *what ? ": " : "", why);
    exit(1);
}

/* Fills in unique contents: the bytes depend on connection, message and position. */
static void compose(struct connection *c) {
    uint32_t seed = (uint32_t)(c->number * 2654435761u + c->message * 40503u + 1);
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        c->text[i] = (unsigned char)(seed >> 24);
    }
    c->sent = c->received = 0;
}

/* Frees a connection. Unregistering one that was never registered is a harmless error. */
static void finish(struct connection *c) {
    sel_unregister(selector, c->fd, NULL);
    close(c->fd);
    free(c->text);
    free(c);
}

/* Drops a failed connection. Reports the first failure; the others are only counted. */
static void give_up(struct connection *c, const char *why) {
    if (errors++ == 0)
        fprintf(stderr, "echo_client: connection %lu, message %lu: %s\n", c->number, c->message,
                why);
    finish(c);
}

/* Starts a connection; it becomes writable when it is established or has failed. */
static void start(const struct addrinfo *address, unsigned long number) {
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL || (c->text = malloc(size)) == NULL)
        die("connection", strerror(errno));
    c->number = number;
    c->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket", strerror(errno));
    compose(c);
    if (connect(c->fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)
        give_up(c, strerror(errno));
    else if (sel_register(selector, c->fd, SEL_WRITE, c) < 0)
        die("sel_register", sel_last_error());
}

/* Sends as much as possible. Returns NULL, or why the connection has failed. */
static const char *send_some(struct connection *c) {
    while (c->sent < size) {
        ssize_t count = send(c->fd, c->text + c->sent, size - c->sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EAGAIN)
            break;
        if (count < 0 && errno != EINTR)
            return strerror(errno);
        if (count > 0)
            c->sent += (size_t)count;
    }
    return NULL;
}

/* Reads once and compares. Returns NULL, or why the connection has failed. */
static const char *receive_some(struct connection *c) {
    static unsigned char reply[65536];
    ssize_t count = recv(c->fd, reply, sizeof reply, 0);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR ? NULL : strerror(errno);
    if (count == 0)
        return "the server closed the connection early";
    if ((size_t)count > c->sent - c->received)
        return "the reply is longer than what was sent";
    if (memcmp(reply, c->text + c->received, (size_t)count) != 0)
        return "the reply differs from what was sent";
    c->received += (size_t)count;
    return NULL;
}

/* Advances one connection: connect, send, receive, next message. */
static void serve(struct connection *c, uint32_t events) {
    const char *failure = NULL;
    if (!c->connected) {
        int error = 0;
        socklen_t length = sizeof error;
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
            error = errno;
        c->connected = error == 0;
        if (error != 0)
            failure = strerror(error);
    } else if (events & SEL_READ) {
        failure = receive_some(c);
    }
    if (failure == NULL && c->received == size) {
        answered++;
        if (++c->message == messages) {
            finish(c);
            return;
        }
        compose(c);
    }
    if (failure == NULL)
        failure = send_some(c);
    /* It must also read while it sends: the server reads no more than it can echo. */
    uint32_t wanted = c->sent < size ? SEL_READ | SEL_WRITE : SEL_READ;
    if (failure == NULL && sel_modify(selector, c->fd, wanted, c) < 0)
        failure = sel_last_error();
    if (failure != NULL)
        give_up(c, failure);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* Parses a number from 1 to `most`, or returns 0. */
static unsigned long number(const char *text, unsigned long most) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && value <= most ? value : 0;
}

int main(int argc, char **argv) {
    unsigned long connections = argc > 3 ? number(argv[3], 1000000) : 0;
    messages = argc > 4 ? number(argv[4], 1000000000) : 0;
    size = argc > 5 ? number(argv[5], 1 << 30) : size;
    if (argc < 5 || argc > 6 || connections == 0 || messages == 0 || size == 0) {
        fprintf(stderr, "usage: echo_client HOST PORT CONNECTIONS MESSAGES [SIZE]\n");
        return 2;
    }
    if (sel_open(&selector, NULL) < 0)
        die("", sel_last_error());
    struct addrinfo *address, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    int problem = getaddrinfo(argv[1], argv[2], &hints, &address);
    if (problem != 0)
        die(argv[1], gai_strerror(problem));

    int64_t began = now();
    for (unsigned long i = 0; i < connections; i++)
        start(address, i);
    freeaddrinfo(address);
    while (sel_get_map(selector, NULL, 0) > 0) {
        sel_event events[64];
        int ready = sel_select(selector, events, 64, PATIENCE_NS);
        if (ready < 0)
            die("sel_select", sel_last_error());
        if (ready == 0)
            die("", "nothing has moved for 10 seconds");
        for (int i = 0; i < ready; i++)
            serve(events[i].key.data, events[i].events);
    }
    double seconds = (double)(now() - began) / 1e9;
    printf("%s: %lu messages over %lu connections, %lu errors, %.0f messages/s\n",
           sel_backend_name(selector), answered, connections, errors, (double)answered / seconds);
    sel_close(selector);
    return errors == 0 && answered == connections * messages ? 0 : 1;
}
