/*
 * kqueue_test.c - proves that the emulated kqueue(2) does what the manual pages say, in what the
 * library uses and in what it does not.
 *
 *     kqueue_test         prints TAP
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include "kqueue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int number, failures, kq;
static bool holds;

#define CHECK(condition)                                                     \
    do {                                                                     \
        if (!(condition)) {                                                  \
            holds = false;                                                   \
            printf("# %s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
        }                                                                    \
    } while (0)

static bool has(const char *trait) {
    const char *traits = getenv("EMULATION");
    return traits != NULL && strstr(traits, trait) != NULL;
}

/* Makes one change; 0 or an errno value. */
static int change(uintptr_t ident, int filter, unsigned flags, uint32_t fflags) {
    struct kevent event;
    EV_SET(&event, ident, filter, flags, fflags, 0, &number);
    return kevent(kq, &event, 1, NULL, 0, NULL) == 0 ? 0 : errno;
}

/* Takes what is there now. */
static int take(struct kevent *events, int max) {
    struct timespec now = {0, 0};
    return kevent(kq, NULL, 0, events, max, &now);
}

static void make_pair(int ends[2]) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
}

static void drop_pair(int ends[2]) {
    close(ends[0]);
    close(ends[1]);
}

static void a_filter_is_level_triggered(void) {
    struct kevent event;
    int ends[2];
    make_pair(ends);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0) == 0);
    CHECK(take(&event, 1) == 0);
    CHECK(write(ends[1], "abc", 3) == 3);
    for (int i = 0; i < 2; i++) {
        CHECK(take(&event, 1) == 1);
        CHECK(event.ident == (uintptr_t)ends[0] && event.filter == EVFILT_READ);
        CHECK(event.data == 3 && event.udata == &number && event.flags == 0);
    }
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_DELETE, 0) == 0);
    CHECK(take(&event, 1) == 0);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_DELETE, 0) == ENOENT);
    drop_pair(ends);
}

static void each_filter_has_a_report(void) {
    struct kevent events[3];
    int ends[2];
    make_pair(ends);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0) == 0);
    CHECK(change((uintptr_t)ends[0], EVFILT_WRITE, EV_ADD, 0) == 0);
    CHECK(write(ends[1], "a", 1) == 1);
    CHECK(take(events, 3) == 2);
    CHECK(events[0].ident == events[1].ident && events[0].filter != events[1].filter);
    /* What did not fit comes first the next time. */
    CHECK(take(events, 1) == 1 && take(events + 1, 1) == 1);
    CHECK(events[0].filter != events[1].filter);
    drop_pair(ends);
}

static void clear_oneshot_and_dispatch(void) {
    struct kevent event;
    int ends[2];
    make_pair(ends);
    CHECK(write(ends[1], "a", 1) == 1);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0) == 0);
    CHECK(take(&event, 1) == 1 && take(&event, 1) == 0);
    CHECK(write(ends[1], "a", 1) == 1);
    CHECK(take(&event, 1) == 1 && take(&event, 1) == 0);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_DELETE, 0) == 0);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_ADD | EV_DISPATCH, 0) == 0);
    CHECK(take(&event, 1) == 1 && take(&event, 1) == 0);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_ENABLE, 0) == 0);
    CHECK(take(&event, 1) == 1 && take(&event, 1) == 0);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_DELETE, 0) == 0);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_ADD | EV_ONESHOT, 0) == 0);
    CHECK(take(&event, 1) == 1 && take(&event, 1) == 0);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_DELETE, 0) == ENOENT);
    drop_pair(ends);
}

static void a_receipt_is_an_event(void) {
    struct kevent changes[2], events[2];
    int ends[2];
    make_pair(ends);
    EV_SET(&changes[0], ends[0], EVFILT_READ, EV_ADD | EV_RECEIPT, 0, 0, NULL);
    EV_SET(&changes[1], ends[0], EVFILT_WRITE, EV_DELETE | EV_RECEIPT, 0, 0, NULL);
    CHECK(kevent(kq, changes, 2, events, 2, NULL) == 2);
    CHECK(events[0].flags & EV_ERROR && events[0].data == 0);
    CHECK(events[1].flags & EV_ERROR && events[1].data == ENOENT);
    drop_pair(ends);
}

static void the_end_is_told(void) {
    struct kevent event;
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct linger at_once = {1, 0};
    socklen_t size = sizeof address;
    int ends[2], listener = socket(AF_INET, SOCK_STREAM, 0),
                 client = socket(AF_INET, SOCK_STREAM, 0);
    make_pair(ends);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0) == 0);
    close(ends[1]);
    CHECK(take(&event, 1) == 1 && event.flags & EV_EOF && event.fflags == 0);
    close(ends[0]);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    CHECK(connect(client, (struct sockaddr *)&address, size) == 0);
    int peer = accept(listener, NULL, NULL);
    CHECK(change((uintptr_t)client, EVFILT_READ, EV_ADD, 0) == 0);
    CHECK(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    close(peer); /* resets the connection */
    CHECK(kevent(kq, NULL, 0, &event, 1, NULL) == 1);
    CHECK(event.flags & EV_EOF && event.fflags != 0);
    close(client);
    close(listener);
}

static void close_by_dup2(int fd) {
    int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(dup2(other, fd) == fd);
    close(other);
    close(fd);
}
static void close_by_range(int fd) {
    CHECK(close_range((unsigned)fd, (unsigned)fd, 0) == 0);
}
static void close_by_stream(int fd) {
    CHECK(fclose(fdopen(fd, "r")) == 0);
}
static void close_plainly(int fd) {
    close(fd);
}

static void a_filter_vanishes_with_its_number(void) {
    void (*const closers[])(int) = {close_plainly, close_by_dup2, close_by_range, close_by_stream};
    struct kevent event;
    for (int i = 0; i < 4; i++) {
        int ends[2];
        make_pair(ends);
        int twin = dup(ends[0]);
        CHECK(write(ends[1], "a", 1) == 1);
        CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0) == 0);
        CHECK(take(&event, 1) == 1);
        closers[i](ends[0]);
        CHECK(take(&event, 1) == 0);
        CHECK(dup2(twin, ends[0]) == ends[0]);
        CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_DELETE, 0) == ENOENT);
        drop_pair(ends);
        close(twin);
    }
}

static void a_child_has_no_kqueue(void) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        struct kevent event;
        bool is_open = fcntl(kq, F_GETFD) >= 0;
        _exit(is_open == has("open-in-child") && take(&event, 1) < 0 && errno == EBADF ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(take(&(struct kevent){0}, 1) == 0);
}

static void nor_has_who_comes_by_exec(void) {
    int status = 0;
    char text[16];
    pid_t child;
    snprintf(text, sizeof text, "%d", kq);
    fflush(stdout);
    if ((child = vfork()) == 0) {
        execl("/proc/self/exe", "kqueue_test", text, (char *)NULL);
        _exit(9);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void timeouts_have_nanoseconds(void) {
    struct kevent event;
    struct timespec time = {0, 300000};
    int64_t begin = now();
    CHECK(kevent(kq, NULL, 0, &event, 1, &time) == 0);
    CHECK(now() - begin >= 300000);
    /* The shortest of several, for the machine may be busy. */
    int64_t shortest = INT64_MAX;
    for (int i = 0; i < 50; i++) {
        begin = now();
        CHECK(kevent(kq, NULL, 0, &event, 1, &time) == 0);
        shortest = now() - begin < shortest ? now() - begin : shortest;
    }
    CHECK(shortest < 1000000);
}

static void a_user_is_triggered(void) {
    struct kevent event;
    CHECK(change(77, EVFILT_USER, EV_ENABLE, NOTE_TRIGGER) == ENOENT);
    CHECK(change(77, EVFILT_USER, EV_ADD | EV_CLEAR, NOTE_FFCOPY | 5) == 0);
    CHECK(take(&event, 1) == 0);
    CHECK(change(77, EVFILT_USER, 0, NOTE_TRIGGER | NOTE_FFOR | 8) == 0);
    CHECK(kevent(kq, NULL, 0, &event, 1, NULL) == 1);
    CHECK(event.ident == 77 && event.filter == EVFILT_USER && event.fflags == 13);
    CHECK(take(&event, 1) == 0);
    CHECK(change(77, EVFILT_USER, EV_DISABLE, NOTE_TRIGGER | NOTE_FFAND | 9) == 0);
    CHECK(take(&event, 1) == 0);
    CHECK(change(77, EVFILT_USER, EV_ENABLE, 0) == 0);
    CHECK(take(&event, 1) == 1 && event.fflags == 9);
    CHECK(change(77, EVFILT_USER, EV_DELETE, 0) == 0);
    CHECK(change(78, EVFILT_USER, EV_ADD | EV_ONESHOT, NOTE_TRIGGER) == 0);
    CHECK(take(&event, 1) == 1 && take(&event, 1) == 0);
    CHECK(change(78, EVFILT_USER, EV_DELETE, 0) == ENOENT);
}

static void urgent_data_are_an_exception(void) {
    struct kevent event;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    CHECK(connect(client, (struct sockaddr *)&address, size) == 0);
    int peer = accept(listener, NULL, NULL);
    int result = change((uintptr_t)client, EVFILT_EXCEPT, EV_ADD, NOTE_OOB);
    CHECK(result == (has("no-except") ? EINVAL : 0));
    if (result == 0) {
        CHECK(take(&event, 1) == 0);
        CHECK(send(peer, "!", 1, MSG_OOB) == 1);
        CHECK(kevent(kq, NULL, 0, &event, 1, NULL) == 1);
        CHECK(event.filter == EVFILT_EXCEPT && event.fflags == NOTE_OOB);
    }
    close(client);
    close(peer);
    close(listener);
}

static void what_is_wrong_is_refused(void) {
    int ends[2];
    make_pair(ends);
    CHECK(change((uintptr_t)ends[0], -99, EV_ADD, 0) == EINVAL);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_ENABLE, 0) == ENOENT);
    close(ends[0]);
    CHECK(change((uintptr_t)ends[0], EVFILT_READ, EV_ADD, 0) == EBADF);
    close(ends[1]);
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    close(ends[0]);
    CHECK(change((uintptr_t)ends[1], EVFILT_WRITE, EV_ADD, 0) == (has("epipe") ? EPIPE : 0));
    close(ends[1]);
}

/* With "eintr" every other change is made and then fails. */
static void interrupted_changes_are_made(void) {
    int ends[2], interruptions = 0;
    make_pair(ends);
    for (int i = 0; i < 2; i++) {
        int result = change((uintptr_t)ends[i], EVFILT_WRITE, EV_ADD, 0);
        CHECK(result == 0 || result == EINTR);
        interruptions += result == EINTR;
    }
    CHECK(interruptions == (has("eintr") ? 1 : 0));
    CHECK(take((struct kevent[2]){{0}}, 2) == 2);
    drop_pair(ends);
}

static void run(const char *name, void (*prove)(void)) {
    holds = true;
    kq = kqueue();
    alarm(20);
    CHECK(kq >= 0);
    prove();
    close(kq);
    failures += !holds;
    printf("%sok %d - %s\n", holds ? "" : "not ", ++number, name);
}

int main(int count, char **arguments) {
    if (count == 2) { /* after the exec of nor_has_who_comes_by_exec() */
        kq = atoi(arguments[1]);
        return change(0, EVFILT_READ, EV_ADD, 0) == EBADF ? 0 : 1;
    }
    signal(SIGPIPE, SIG_IGN);
    if (has("eintr")) {
        run("a change that is interrupted is made", interrupted_changes_are_made);
    } else {
        run("a filter is level-triggered", a_filter_is_level_triggered);
        run("each filter has a report", each_filter_has_a_report);
        run("EV_CLEAR, EV_DISPATCH, EV_ONESHOT", clear_oneshot_and_dispatch);
        run("EV_RECEIPT gives an event", a_receipt_is_an_event);
        run("EV_EOF, and why", the_end_is_told);
        run("a filter vanishes with its number", a_filter_vanishes_with_its_number);
        run("a fork's child has no kqueue", a_child_has_no_kqueue);
        run("nor has what exec starts", nor_has_who_comes_by_exec);
        run("timeouts have nanoseconds", timeouts_have_nanoseconds);
        run("EVFILT_USER", a_user_is_triggered);
        run("EVFILT_EXCEPT", urgent_data_are_an_exception);
        run("what is wrong is refused", what_is_wrong_is_refused);
        run("a change that is not interrupted is made", interrupted_changes_are_made);
    }
    printf("1..%d\n# %d tests, %d failed\n", number, number, failures);
    return failures > 0;
}
