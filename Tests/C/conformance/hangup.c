/*
 * hangup.c - proves that every backend reports hang-ups and errors, in the same way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <sys/socket.h>

/* A socket whose connection is being refused, or -1. */
static int make_refused(void) {
    struct sockaddr_in address;
    int deaf = make_bound(&address); /* bound, but it does not listen */
    int fd = make_socket();
    if (deaf < 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ||
        errno != EINPROGRESS)
        return -1;
    return fd;
}

static void closed_peer_is_a_hangup(sel_selector *selector) {
    int ends[2];
    CHECK(make_pair(ends));
    OK(sel_register(selector, ends[0], SEL_READ, NULL));
    CHECK(quiet(selector));
    CHECK(drop(ends[1]));
    CHECK(sees(selector, ends[0], SEL_READ, SEL_HANGUP | SEL_READ_HANGUP));
    OK(sel_modify(selector, ends[0], BOTH, NULL));
    CHECK(sees(selector, ends[0], BOTH, SEL_HANGUP | SEL_READ_HANGUP));
}

static void closed_peer_wakes_a_writer(sel_selector *selector) {
    int ends[2];
    CHECK(make_pair(ends));
    OK(sel_register(selector, ends[0], SEL_WRITE, NULL));
    CHECK(drop(ends[1]));
    CHECK(sees_at_least(selector, ends[0], SEL_WRITE, SEL_HANGUP));
}

static void closed_peer_wakes_a_full_writer(sel_selector *selector) {
    int ends[2];
    CHECK(make_pair(ends));
    fill(ends[0]);
    OK(sel_register(selector, ends[0], SEL_WRITE, NULL));
    CHECK(quiet(selector));
    CHECK(drop(ends[1])); /* with unread data: an error, too */
    CHECK(sees_at_least(selector, ends[0], SEL_WRITE, SEL_HANGUP | SEL_ERROR));
}

static void shutdown_of_the_peer_is_a_read_hangup(sel_selector *selector) {
    int ends[2];
    CHECK(make_pair(ends));
    OK(sel_register(selector, ends[0], SEL_READ, NULL));
    CHECK(shutdown(ends[1], SHUT_WR) == 0);
    CHECK(sees(selector, ends[0], SEL_READ, SEL_READ_HANGUP));
    OK(sel_modify(selector, ends[0], BOTH, NULL));
    CHECK(sees(selector, ends[0], BOTH, SEL_READ_HANGUP));
}

static void end_of_the_peer_is_waited_for_alone(sel_selector *selector) {
    int ends[2];
    NEEDS(SEL_CAN_READ_HANGUP);
    CHECK(sel_capabilities(selector) & SEL_CAN_READ_HANGUP);
    CHECK(make_pair(ends) && put(ends[1]));
    OK(sel_register(selector, ends[0], SEL_READ_HANGUP, NULL));
    CHECK(rests(selector, 20 * MS)); /* data must not wake it */
    CHECK(shutdown(ends[1], SHUT_WR) == 0);
    CHECK(sees(selector, ends[0], SEL_READ_HANGUP, SEL_READ_HANGUP));
    OK(sel_modify(selector, ends[0], SEL_READ_HANGUP | SEL_WRITE, NULL));
    CHECK(sees(selector, ends[0], SEL_READ_HANGUP | SEL_WRITE, SEL_READ_HANGUP));
    OK(sel_modify(selector, ends[0], SEL_READ_HANGUP | SEL_ONESHOT, NULL));
    CHECK(sees(selector, ends[0], SEL_READ_HANGUP, SEL_READ_HANGUP));
    CHECK(quiet(selector));
    REFUSED(sel_modify(selector, ends[0], SEL_READ_HANGUP | SEL_EXCLUSIVE, NULL), -EINVAL);
}

static void end_of_the_peer_alone_is_refused(sel_selector *selector) {
    int ends[2];
    if (test.capabilities & SEL_CAN_READ_HANGUP)
        SKIP("the backend has SEL_CAN_READ_HANGUP");
    CHECK(make_pair(ends));
    REFUSED(sel_register(selector, ends[0], SEL_READ_HANGUP, NULL), -ENOTSUP);
    OK(sel_register(selector, ends[0], SEL_READ, NULL));
    REFUSED(sel_modify(selector, ends[0], SEL_READ_HANGUP, NULL), -ENOTSUP);
    CHECK(key_is(selector, ends[0], SEL_READ, NULL));
}

static void half_close_does_not_wake_a_full_writer(sel_selector *selector) {
    int ends[2];
    CHECK(make_pair(ends));
    fill(ends[0]);
    OK(sel_register(selector, ends[0], SEL_WRITE, NULL));
    CHECK(shutdown(ends[1], SHUT_WR) == 0);
    CHECK(quiet(selector));
    CHECK(rests(selector, 100 * MS));
}

static void lost_writer_is_a_hangup(sel_selector *selector) {
    int ends[2];
    CHECK(make_pipe(ends));
    OK(sel_register(selector, ends[0], SEL_READ, NULL));
    CHECK(put(ends[1]) && drop(ends[1]));
    CHECK(sees(selector, ends[0], SEL_READ, SEL_HANGUP));
    CHECK(take(ends[0]));
    CHECK(sees(selector, ends[0], SEL_READ, SEL_HANGUP));
}

static void lost_reader_is_an_error(sel_selector *selector) {
    int ends[2];
    CHECK(make_pipe(ends));
    OK(sel_register(selector, ends[1], SEL_WRITE, NULL));
    CHECK(drop(ends[0]));
    CHECK(sees_at_least(selector, ends[1], SEL_WRITE, SEL_ERROR));
}

static void error_wakes_a_full_writer(sel_selector *selector) {
    int ends[2];
    CHECK(make_pipe(ends));
    fill(ends[1]);
    OK(sel_register(selector, ends[1], SEL_WRITE, NULL));
    CHECK(quiet(selector));
    CHECK(drop(ends[0]));
    CHECK(sees_at_least(selector, ends[1], SEL_WRITE, SEL_ERROR));
}

static void refused_connection_is_an_error(sel_selector *selector) {
    socklen_t length = sizeof(int);
    int error, fd = make_refused();
    if (fd < 0)
        SKIP("no TCP on the loopback here");
    OK(sel_register(selector, fd, SEL_WRITE, NULL));
    CHECK(sees_at_least(selector, fd, SEL_WRITE, SEL_ERROR));
    OK(sel_modify(selector, fd, BOTH, NULL));
    CHECK(sees(selector, fd, BOTH, SEL_ERROR | SEL_HANGUP | SEL_READ_HANGUP));
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
    EQUAL(error, ECONNREFUSED);
}

const struct fact hangup_facts[] = {
    FACT("the peer closes", closed_peer_is_a_hangup),
    FACT("the peer of a writer closes", closed_peer_wakes_a_writer),
    FACT("the peer of a full writer closes", closed_peer_wakes_a_full_writer),
    FACT("the peer will send no more", shutdown_of_the_peer_is_a_read_hangup),
    FACT("the peer's end is waited for alone", end_of_the_peer_is_waited_for_alone),
    FACT("the peer's end alone is refused where it is missing", end_of_the_peer_alone_is_refused),
    FACT("a half-close does not wake a full writer", half_close_does_not_wake_a_full_writer),
    FACT("a pipe loses its writer", lost_writer_is_a_hangup),
    FACT("a pipe loses its reader", lost_reader_is_an_error),
    FACT("an error wakes a full writer", error_wakes_a_full_writer),
    FACT("a connection is refused", refused_connection_is_an_error),
    END_OF_FACTS,
};

/* A descriptor with a detail. */
struct ending {
    const char *name;
    int fd;
    bool never_written; /* the reading end of a pipe is never watched for writing */
};

/* Creates one of each kind; returns their number, or -1. */
static int make_endings(struct ending endings[8]) {
    int gone[2], shut[2], unread[2], reader[2], writer[2], refused = make_refused(), count = 0;
    if (!make_pair(gone) || !drop(gone[1]) || !make_pair(shut) || !put(shut[1]) ||
        shutdown(shut[1], SHUT_WR) != 0 || !make_pair(unread) || !put(unread[0]) ||
        !drop(unread[1]) || !make_pipe(reader) || !drop(reader[1]) || !make_pipe(writer) ||
        !drop(writer[0]))
        return -1;
    endings[count++] = (struct ending){"peer gone", gone[0], false};
    endings[count++] = (struct ending){"peer sends no more", shut[0], false};
    endings[count++] = (struct ending){"peer gone, with unread data", unread[0], false};
    endings[count++] = (struct ending){"writer gone", reader[0], true};
    endings[count++] = (struct ending){"reader gone", writer[1], false};
    if (refused >= 0)
        endings[count++] = (struct ending){"connection refused", refused, false};
    return count;
}

/* Stores the event of a descriptor that is ready for all requested events. */
static bool ask(const char *backend, int fd, uint32_t asked, uint32_t *detail) {
    sel_selector *selector = open_selector(backend);
    sel_event event;
    bool good = sel_register(selector, fd, asked, NULL) == 0 &&
                sel_select(selector, &event, 1, ENOUGH) == 1 && event.events == asked;
    if (good)
        *detail = event.detail;
    return close_selector(selector) == 0 && good;
}

static void detail_is_the_same_on_every_backend(void) {
    const char *names[MOST_BACKENDS];
    struct ending endings[8];
    int backends_to_ask = usable_backends(names), count = make_endings(endings);
    CHECK(count > 0);
    for (const struct ending *ending = endings; ending < endings + count; ending++) {
        for (uint32_t asked = SEL_READ; asked <= BOTH; asked++) {
            uint32_t first = 0, detail = 0;
            if (asked == SEL_WRITE && ending->never_written)
                continue;
            for (int i = 0; i < backends_to_ask; i++) {
                if (!ask(names[i], ending->fd, asked, &detail))
                    note("%s, asked for 0x%x, %s: not ready for it", ending->name, asked, names[i]);
                if (i == 0)
                    first = detail;
                if (detail != first)
                    note("%s, asked for 0x%x, %s: detail 0x%x instead of 0x%x", ending->name, asked,
                         names[i], detail, first);
            }
        }
    }
}

const struct fact detail_facts[] = {
    FACT_ALONE("detail is the same on every backend", detail_is_the_same_on_every_backend),
    END_OF_FACTS,
};
