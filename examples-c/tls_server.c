/*
 * An echo server over TLS, with OpenSSL and a deadline for each connection.
 *
 *     tls_server CERTIFICATE KEY [PORT [MS]]    PEM files; on 127.0.0.1; 0, the default, is any free
 *                                               port; 5000 ms
 *
 * TLS differs from plain readiness in two ways. First, a read may have to wait until the socket is
 * writable, and a write until it is readable; OpenSSL reports which. Second, the socket may be
 * empty while OpenSSL still buffers the rest of a record, which no select sees: serve() reads that
 * rest before it waits for the socket.
 *
 * Echoed data extend the deadline. The handshake does not: it must be complete within the first
 * one. Ends on SIGTERM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
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
    SSL *ssl;
    int start, end; /* buffer[start ..< end] is still to be sent */
    char buffer[4096];
};

static sel_selector *selector;
static struct timers timers;
static int64_t patience; /* ns */
static SSL_CTX *context;

static void die(const char *what, const char *why) {
    fprintf(stderr, "tls_server: %s: %s\n", what, why);
    exit(1);
}

static void drop(struct connection *c) {
    timers_remove(&timers, &c->timer);
    sel_unregister(selector, c->fd, NULL);
    SSL_free(c->ssl);
    close(c->fd);
    free(c);
}

static void adopt(int fd) {
    struct connection *c = calloc(1, sizeof *c);
    SSL *ssl = SSL_new(context);
    if (c == NULL || ssl == NULL || SSL_set_fd(ssl, fd) != 1 ||
        sel_register(selector, fd, SEL_READ, c) < 0) {
        SSL_free(ssl);
        free(c);
        close(fd);
        return;
    }
    SSL_set_accept_state(ssl); /* the first SSL_read() does the handshake */
    c->fd = fd;
    c->ssl = ssl;
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

/* Registers the readiness that OpenSSL needs before the call is repeated. Returns 0 at the end. */
static int wait_for(struct connection *c, int result) {
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ: return sel_modify(selector, c->fd, SEL_READ, c) == 0;
    case SSL_ERROR_WANT_WRITE: return sel_modify(selector, c->fd, SEL_WRITE, c) == 0;
    case SSL_ERROR_ZERO_RETURN:
        SSL_shutdown(c->ssl); /* answers the peer's close_notify; a failure does not matter */
        return 0;
    default: return 0;
    }
}

/* Reads if the buffer is empty, then sends. Returns 0 at the end of the connection. */
static int serve(struct connection *c) {
    /*
     * SSL_pending() returns the rest of the record that was read, at most 16 kB, so others do not
     * wait long. OpenSSL reads no further than that unless SSL_CTX_set_read_ahead() is called.
     */
    do {
        ERR_clear_error(); /* otherwise SSL_get_error() may report an earlier error */
        if (c->start == c->end) {
            int count = SSL_read(c->ssl, c->buffer, sizeof c->buffer);
            if (count <= 0)
                return wait_for(c, count);
            c->start = 0;
            c->end = count;
        }
        /* OpenSSL requires that a call which must wait is repeated with the same arguments. */
        int count = SSL_write(c->ssl, c->buffer + c->start, c->end - c->start);
        if (count <= 0)
            return wait_for(c, count);
        c->start += count;
        /* This cannot fail, because the timer was set before. */
        timers_set(&timers, &c->timer, timers_now() + patience);
    } while (c->start < c->end || SSL_pending(c->ssl) > 0);
    return sel_modify(selector, c->fd, SEL_READ, c) == 0;
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

static void load(const char *certificate, const char *key) {
    context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        die("cannot load certificate and key", ERR_reason_error_string(ERR_peek_last_error()));
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets with write(2) */
}

int main(int argc, char **argv) {
    int port = argc > 3 ? atoi(argv[3]) : 0, ms = argc > 4 ? atoi(argv[4]) : 5000;
    if (argc < 3 || argc > 5 || port < 0 || port > 65535 || ms < 1) {
        fprintf(stderr, "usage: tls_server CERTIFICATE KEY [PORT [MS]]\n");
        return 2;
    }
    patience = ms * INT64_C(1000000);
    load(argv[1], argv[2]);
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
    SSL_CTX_free(context);
    sel_close(selector);
    close(listener);
    close(signals);
    return 0;
}
