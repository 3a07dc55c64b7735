/*
 * Serves the files of a folder by HTTP/1.1: GET and HEAD, keep-alive, pipelining.
 *
 *     http_server FOLDER [PORT [THREADS]]    on 127.0.0.1; port 0, the default, is any free port
 *
 * Each thread has its own selector and its own listening socket. The kernel distributes the
 * connections among the sockets (SO_REUSEPORT), so that the threads share nothing. Ends on SIGTERM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "selectors.h"

enum { MOST_THREADS = 64, PAUSE_NS = 100 * 1000000 };

struct worker {
    pthread_t thread;
    sel_selector *selector;
    int listener;
};

/* A connection answers one request at a time; later ones wait in the buffer. */
struct connection {
    int fd;
    size_t length; /* of the received data */
    char request[8192];
    size_t head_start, head_end; /* the unsent part of the response's head */
    char head[512];
    int file; /* the file to send after the head, or -1 */
    off_t offset, size;
    int is_last; /* the connection ends with this response */
};

static int folder;
static atomic_int is_over;

static void die(const char *what, const char *why) {
    fprintf(stderr, "http_server: %s: %s\n", what, why);
    exit(1);
}

static void drop(struct worker *worker, struct connection *c) {
    sel_unregister(worker->selector, c->fd, NULL);
    close(c->fd);
    if (c->file >= 0)
        close(c->file);
    free(c);
}

static const char *type_of(const char *path) {
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"},
        {".txt", "text/plain; charset=utf-8"},
        {".css", "text/css"},
        {".js", "text/javascript"},
        {".png", "image/png"},
        {".svg", "image/svg+xml"},
    };
    const char *ending = strrchr(path, '.');
    for (size_t i = 0; ending != NULL && i < sizeof types / sizeof *types; i++)
        if (strcmp(ending, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

static void answer(struct connection *c, const char *status, const char *type, off_t size) {
    int length = snprintf(c->head, sizeof c->head,
                          "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %lld\r\n%s\r\n",
                          status, type, (long long)size, c->is_last ? "Connection: close\r\n" : "");
    c->head_start = 0;
    c->head_end = (size_t)length;
}

/* Sends a response without a body. */
static void refuse(struct connection *c, const char *status) {
    answer(c, status, "text/plain", 0);
}

/* Whether a head contains a header field; `name` is in lower case. */
static int has_line(const char *head, const char *name, const char *value) {
    const char *line = strcasestr(head, name);
    return line != NULL && line[-1] == '\n' &&
           strncasecmp(line + strlen(name) + strspn(line + strlen(name), " \t"), value,
                       strlen(value)) == 0;
}

/* Answers one complete request head, which ends with a 0. */
static void respond(struct connection *c, char *head) {
    char method[8], target[1024], version[16];
    struct stat info;
    c->is_last = 1;
    if (sscanf(head, "%7[A-Z] %1023s %15[A-Z/0-9.]", method, target, version) != 3 ||
        target[0] != '/' || strncmp(version, "HTTP/1.", 7) != 0) {
        refuse(c, "400 Bad Request");
        return;
    }
    /* A body would have to be skipped: close the connection after this response instead. */
    c->is_last = strcmp(version, "HTTP/1.0") == 0 || has_line(head, "connection:", "close") ||
                 strcasestr(head, "\ncontent-length:") || strcasestr(head, "\ntransfer-encoding:");
    int is_head = strcmp(method, "HEAD") == 0;
    if (!is_head && strcmp(method, "GET") != 0) {
        refuse(c, "405 Method Not Allowed");
        return;
    }
    target[strcspn(target, "?#")] = '\0';
    const char *path = target + strspn(target, "/");
    if (*path == '\0')
        path = "index.html";
    /* Do not leave the folder. */
    if (strstr(target, "..") != NULL || strchr(target, '%') != NULL) {
        refuse(c, "404 Not Found");
        return;
    }
    int file = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0 || fstat(file, &info) < 0 || !S_ISREG(info.st_mode)) {
        int is_full = file < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM);
        if (file >= 0)
            close(file);
        refuse(c, is_full ? "503 Service Unavailable" : "404 Not Found");
        return;
    }
    answer(c, "200 OK", type_of(path), info.st_size);
    c->offset = 0;
    c->size = info.st_size;
    c->file = file;
    if (is_head) {
        close(file);
        c->file = -1;
    }
}

/* Sends the rest of a response. Returns 1 at its end, 0 if it must wait, or -1. */
static int send_answer(struct connection *c) {
    while (c->head_start < c->head_end) {
        ssize_t count = send(c->fd, c->head + c->head_start, c->head_end - c->head_start,
                             MSG_NOSIGNAL | (c->file >= 0 ? MSG_MORE : 0));
        if (count < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        c->head_start += (size_t)count;
    }
    while (c->file >= 0 && c->offset < c->size) {
        ssize_t count = sendfile(c->fd, c->file, &c->offset, (size_t)(c->size - c->offset));
        if (count < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        if (count == 0) /* the file is now shorter than the announced length */
            return -1;
    }
    if (c->file >= 0)
        close(c->file);
    c->file = -1;
    return c->is_last ? -1 : 1;
}

/* Answers the complete requests in the buffer. Returns 0 at the end of the connection. */
static int serve(struct worker *worker, struct connection *c) {
    for (;;) {
        char *end;
        if (c->head_end > 0) {
            int result = send_answer(c);
            if (result < 0)
                return 0;
            if (result == 0)
                return sel_modify(worker->selector, c->fd, SEL_WRITE, c) == 0;
            c->head_start = c->head_end = 0;
        }
        c->request[c->length] = '\0';
        while ((end = strstr(c->request, "\r\n\r\n")) == NULL) {
            size_t room = sizeof c->request - 1 - c->length;
            if (room == 0)
                return 0;
            ssize_t count = recv(c->fd, c->request + c->length, room, 0);
            if (count < 0 && (errno == EAGAIN || errno == EINTR))
                return sel_modify(worker->selector, c->fd, SEL_READ, c) == 0;
            if (count <= 0)
                return 0;
            c->length += (size_t)count;
            c->request[c->length] = '\0';
        }
        *end = '\0';
        respond(c, c->request);
        c->length -= (size_t)(end + 4 - c->request);
        memmove(c->request, end + 4, c->length);
    }
}

static void adopt(struct worker *worker, int fd) {
    struct connection *c = calloc(1, sizeof *c);
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (c == NULL || sel_register(worker->selector, fd, SEL_READ, c) < 0) {
        free(c);
        close(fd);
        return;
    }
    c->fd = fd;
    c->file = -1;
}

/* Accepts all pending connections. Returns 0 if no descriptor or memory is left. */
static int accept_all(struct worker *worker) {
    for (;;) {
        int fd = accept4(worker->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            adopt(worker, fd);
        else if (errno == EAGAIN)
            return 1;
        else if (errno != ECONNABORTED && errno != EPROTO && errno != EINTR)
            return 0;
    }
}

static void *work(void *argument) {
    struct worker *worker = argument;
    sel_event events[64];
    int is_paused = 0;
    while (!atomic_load(&is_over)) {
        int ready = sel_select(worker->selector, events, 64, is_paused ? PAUSE_NS : SEL_FOREVER);
        if (ready < 0)
            die("sel_select", sel_last_error());
        if (is_paused)
            is_paused = sel_register(worker->selector, worker->listener, SEL_READ, NULL) < 0;
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].key.data;
            if (c != NULL) {
                if (!serve(worker, c))
                    drop(worker, c);
            } else if (!accept_all(worker)) {
                /* It would stay ready: unregister it until the next event, or for a while. */
                sel_unregister(worker->selector, worker->listener, NULL);
                is_paused = 1;
            }
        }
    }
    sel_key key;
    sel_unregister(worker->selector, worker->listener, NULL);
    while (sel_get_map(worker->selector, &key, 1) > 0)
        drop(worker, key.data);
    close(worker->listener);
    return NULL;
}

static int listen_on(struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes) < 0 ||
        bind(fd, (struct sockaddr *)address, sizeof *address) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) < 0)
        die("cannot listen", strerror(errno));
    return fd;
}

int main(int argc, char **argv) {
    static struct worker workers[MOST_THREADS];
    int port = argc > 2 ? atoi(argv[2]) : 0, count = argc > 3 ? atoi(argv[3]) : 2, signal;
    if (argc < 2 || argc > 4 || port < 0 || port > 65535 || count < 1 || count > MOST_THREADS) {
        fprintf(stderr, "usage: http_server FOLDER [PORT [THREADS]]\n");
        return 2;
    }
    folder = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        die(argv[1], strerror(errno));

    /* Before the threads start, so that they inherit the mask. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < count; i++) {
        workers[i].listener = listen_on(&address); /* the first one chooses the port for all */
        if (sel_open(&workers[i].selector, NULL) < 0 ||
            sel_register(workers[i].selector, workers[i].listener, SEL_READ, NULL) < 0)
            die("selector", sel_last_error());
    }
    for (int i = 0; i < count; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            die("pthread_create", "no thread");
    printf("listening on 127.0.0.1:%d (%s)\n", ntohs(address.sin_port),
           sel_backend_name(workers[0].selector));
    fflush(stdout);

    sigwait(&set, &signal);
    atomic_store(&is_over, 1);
    for (int i = 0; i < count; i++)
        sel_wakeup(workers[i].selector);
    for (int i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        sel_close(workers[i].selector);
    }
    close(folder);
    return 0;
}
