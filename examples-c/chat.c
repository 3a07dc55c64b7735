/*
 * Chat: sends standard input to all peers, and what a peer sends to standard output and to the
 * other peers.
 *
 *     chat listen PORT    accepts peers on 127.0.0.1; port 0 is any free port
 *     chat HOST PORT      connects to a listening chat; HOST is an IP address
 *
 * Standard input may be a terminal, a pipe or a file: a regular file is always ready, on every
 * backend. At its end the program sends nothing more, forwards nothing more, and exits when the
 * last peer has disconnected.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "selectors.h"

enum { MOST_PEERS = 64, MOST_PENDING = 1 << 16, PAUSE_NS = 100 * 1000000 };

struct peer {
    int fd;
    uint32_t watched;  /* 0: not registered */
    int has_ended;     /* it sends no more, but still receives */
    int is_told;       /* our side is shut down */
    struct peer *next; /* in the list of dropped peers */
    size_t pending;
    char buffer[MOST_PENDING];
};

static sel_selector *selector;
static struct peer *peers[MOST_PEERS];
static int count;
static struct peer *gone; /* freed after the events that may point to them */
static int is_silent;     /* standard input has ended */
static int is_paused;     /* the listener is unregistered */

static void die(const char *what, const char *why) {
    fprintf(stderr, "chat: %s: %s\n", what, why);
    exit(1);
}

/*
 * Drops a peer. The current array of events may still contain an event for it: so it is only marked
 * here, and freed after the array.
 */
static void drop(struct peer *peer) {
    for (int i = 0; i < count; i++) {
        if (peers[i] == peer) {
            peers[i] = peers[--count];
            break;
        }
    }
    if (peer->watched != 0)
        sel_unregister(selector, peer->fd, NULL);
    close(peer->fd);
    peer->fd = -1;
    peer->next = gone;
    gone = peer;
}

static void free_gone(void) {
    while (gone != NULL) {
        struct peer *peer = gone;
        gone = peer->next;
        free(peer);
    }
}

/* Sets a peer's events; with 0 it is unregistered, because a selector accepts no empty mask. */
static int watch(struct peer *peer, uint32_t wanted) {
    int result = 0;
    if (wanted == 0 && peer->watched != 0)
        result = sel_unregister(selector, peer->fd, NULL);
    else if (wanted != 0 && peer->watched == 0)
        result = sel_register(selector, peer->fd, wanted, peer);
    else if (wanted != 0)
        result = sel_modify(selector, peer->fd, wanted, peer);
    if (result == 0)
        peer->watched = wanted;
    return result == 0;
}

/* Sends as much as possible; waits for SEL_WRITE for the rest. Returns 0 if the peer is gone. */
static int flush(struct peer *peer) {
    while (peer->pending > 0) {
        ssize_t sent = send(peer->fd, peer->buffer, peer->pending, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN)
            return 0;
        if (sent < 0)
            break;
        peer->pending -= (size_t)sent;
        memmove(peer->buffer, peer->buffer + sent, peer->pending);
    }
    if (is_silent && peer->pending == 0 && !peer->is_told) {
        shutdown(peer->fd, SHUT_WR);
        peer->is_told = 1;
    }
    if (peer->is_told && peer->has_ended)
        return 0;
    return watch(peer, (peer->has_ended ? 0 : SEL_READ) | (peer->pending > 0 ? SEL_WRITE : 0));
}

/* Sends text to all peers but one. Drops a peer that has not received for a long time. */
static void say(const char *text, size_t length, const struct peer *but) {
    for (int i = count - 1; i >= 0; i--) {
        struct peer *peer = peers[i];
        if (peer == but || peer->is_told)
            continue;
        if (length > sizeof peer->buffer - peer->pending) {
            drop(peer);
            continue;
        }
        memcpy(peer->buffer + peer->pending, text, length);
        peer->pending += length;
        if (!flush(peer))
            drop(peer);
    }
}

static void show(const char *text, size_t length) {
    fwrite(text, 1, length, stdout);
    fflush(stdout);
}

static void adopt(int fd) {
    struct peer *peer = count < MOST_PEERS ? calloc(1, sizeof *peer) : NULL;
    if (peer == NULL) {
        close(fd);
        return;
    }
    peer->fd = fd;
    peers[count++] = peer;
    if (!flush(peer))
        drop(peer);
}

/* Accepts a peer. With no descriptor left, unregisters the listener, which would stay ready. */
static void accept_one(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        adopt(fd);
    } else if (errno != EAGAIN && errno != ECONNABORTED && errno != EPROTO && errno != EINTR) {
        sel_unregister(selector, listener, NULL);
        is_paused = 1;
    }
}

static void hear(struct peer *peer) {
    char text[4096];
    ssize_t length = recv(peer->fd, text, sizeof text, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0) {
        peer->has_ended = 1;
        if (length < 0 || !flush(peer))
            drop(peer);
        return;
    }
    show(text, (size_t)length);
    say(text, (size_t)length, peer);
}

static void read_input(void) {
    char text[4096];
    ssize_t length = read(STDIN_FILENO, text, sizeof text);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length > 0) {
        say(text, (size_t)length, NULL);
        return;
    }
    is_silent = 1;
    sel_unregister(selector, STDIN_FILENO, NULL);
    say("", 0, NULL);
}

static void serve(const sel_event *event, int listener) {
    struct peer *peer = event->key.data;
    if (peer == NULL && event->key.fd == STDIN_FILENO)
        read_input();
    else if (peer == NULL)
        accept_one(listener);
    else if (peer->fd < 0)
        return; /* dropped by an event before this one */
    else if (event->events & SEL_WRITE && !flush(peer))
        drop(peer);
    else if (event->events & SEL_READ)
        hear(peer);
}

int main(int argc, char **argv) {
    int listens = argc == 3 && strcmp(argv[1], "listen") == 0, was_there = 0;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int yes = 1, fd;
    if (argc != 3 || inet_pton(AF_INET, listens ? "127.0.0.1" : argv[1], &address.sin_addr) != 1) {
        fprintf(stderr, "usage: chat listen PORT | chat HOST PORT\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    if (sel_open(&selector, NULL) < 0)
        die("selector", sel_last_error());
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (listens ? SOCK_NONBLOCK : 0), 0);
    if (listens) {
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
            bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &length) < 0)
            die("cannot listen", strerror(errno));
        if (sel_register(selector, fd, SEL_READ, NULL) < 0)
            die("sel_register", sel_last_error());
        fprintf(stderr, "listening on 127.0.0.1:%d (%s)\n", ntohs(address.sin_port),
                sel_backend_name(selector));
    } else {
        if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
            die("cannot connect", strerror(errno));
        adopt(fd);
    }

    /* Standard input is not read before the first peer has connected. */
    int has_input = 0;
    while (!(was_there && count == 0 && (is_silent || !listens))) {
        was_there |= count > 0;
        if (was_there && !has_input && !is_silent) {
            if (sel_register(selector, STDIN_FILENO, SEL_READ, NULL) < 0)
                die("standard input", sel_last_error());
            has_input = 1;
        }
        sel_event events[64];
        int ready = sel_select(selector, events, 64, is_paused ? PAUSE_NS : SEL_FOREVER);
        if (ready < 0)
            die("sel_select", sel_last_error());
        if (is_paused) /* a peer may have disconnected, or the pause is over: try again */
            is_paused = sel_register(selector, fd, SEL_READ, NULL) < 0;
        for (int i = 0; i < ready; i++) {
            serve(&events[i], fd);
            was_there |= count > 0;
        }
        free_gone();
    }
    while (count > 0)
        drop(peers[0]);
    free_gone();
    sel_close(selector);
    return 0;
}
