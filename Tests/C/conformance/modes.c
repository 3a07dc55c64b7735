/*
 * modes.c - proves the delivery modes, and that urgent data are reported.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MODES (SEL_EDGE | SEL_ONESHOT | SEL_EXCLUSIVE)

/* The two ends of a TCP connection; false if there is no TCP here. */
static bool make_connection(int ends[2]) {
    struct sockaddr_in address;
    struct pollfd listener = {make_bound(&address), POLLIN, 0};
    ends[0] = make_socket();
    if (listener.fd < 0 || ends[0] < 0 || listen(listener.fd, 1) != 0)
        return false;
    if (connect(ends[0], (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        return false;
    if (poll(&listener, 1, 5000) != 1)
        return false;
    ends[1] = own(accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    return ends[1] >= 0;
}

/* One-shot. */

static void one_shot_is_reported_once(sel_selector *selector) {
    int data, other, fd = make_ready_event();
    sel_event event;
    OK(sel_register(selector, fd, BOTH | SEL_ONESHOT, &data));
    EQUAL(sel_select(selector, &event, 1, ENOUGH), 1);
    EQUAL(event.key.events, BOTH | SEL_ONESHOT);
    EQUAL(event.events, BOTH);
    CHECK(rests(selector, 20 * MS));
    CHECK(key_is(selector, fd, BOTH | SEL_ONESHOT, &data));
    REFUSED(sel_register(selector, fd, SEL_READ, NULL), -EEXIST);
    OK(sel_modify(selector, fd, BOTH | SEL_ONESHOT, &other));
    EQUAL(sel_select(selector, &event, 1, ENOUGH), 1);
    CHECK(event.key.data == &other);
    CHECK(quiet(selector));
}

static void one_shot_waits_for_what_is_asked(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ | SEL_ONESHOT);
    CHECK(quiet(selector));
    CHECK(put(fd));
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(quiet(selector));
    OK(sel_modify(selector, fd, SEL_READ, NULL));
    for (int i = 0; i < 3; i++)
        CHECK(sees(selector, fd, SEL_READ, 0));
    OK(sel_modify(selector, fd, SEL_WRITE | SEL_ONESHOT, NULL));
    CHECK(sees(selector, fd, SEL_WRITE, 0));
    CHECK(quiet(selector));
}

static void one_shot_is_armed_again_at_once(sel_selector *selector) {
    int fd = watch(selector, make_ready_event(), SEL_READ | SEL_ONESHOT);
    for (int i = 0; i < 3; i++) {
        CHECK(sees(selector, fd, SEL_READ, 0));
        OK(sel_modify(selector, fd, SEL_READ | SEL_ONESHOT, NULL));
    }
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(quiet(selector));
}

static void one_shot_file_is_reported_once(sel_selector *selector) {
    int file = watch(selector, make_file(), BOTH | SEL_ONESHOT);
    for (int i = 0; i < 3; i++) {
        CHECK(sees(selector, file, BOTH, 0));
        CHECK(rests(selector, 20 * MS));
        OK(sel_modify(selector, file, BOTH | SEL_ONESHOT, NULL));
    }
}

static void spent_one_shot_is_silent_about_hangups(sel_selector *selector) {
    int ends[2];
    CHECK(make_pair(ends) && put(ends[1]));
    OK(sel_register(selector, ends[0], SEL_READ | SEL_ONESHOT, NULL));
    CHECK(sees(selector, ends[0], SEL_READ, 0));
    CHECK(drop(ends[1]));
    CHECK(rests(selector, 20 * MS));
    OK(sel_modify(selector, ends[0], SEL_READ | SEL_ONESHOT, NULL));
    CHECK(sees(selector, ends[0], SEL_READ, SEL_HANGUP | SEL_READ_HANGUP));
    CHECK(rests(selector, 20 * MS));
}

static void spent_one_shot_may_be_closed(sel_selector *selector) {
    int fd = watch(selector, make_ready_event(), SEL_READ | SEL_ONESHOT), other;
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(drop(fd));
    CHECK(rests(selector, 20 * MS));
    OK(sel_modify(selector, fd, SEL_READ | SEL_ONESHOT, NULL));
    CHECK(sees(selector, fd, SEL_READ, SEL_INVALID));
    CHECK(rests(selector, 20 * MS));
    other = make_ready_event();
    EQUAL(other, fd);
    OK(sel_modify(selector, fd, SEL_READ | SEL_ONESHOT, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(quiet(selector));
    OK(sel_unregister(selector, fd, NULL));
    OK(sel_register(selector, fd, SEL_READ, NULL));
    for (int i = 0; i < 2; i++)
        CHECK(sees(selector, fd, SEL_READ, 0));
}

static void spent_one_shot_that_lives_on_is_silent(sel_selector *selector) {
    int fd = watch(selector, make_ready_event(), SEL_READ | SEL_ONESHOT);
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(duplicate(fd) >= 0 && drop(fd));
    CHECK(make_event() == fd); /* idle */
    CHECK(rests(selector, 20 * MS));
    OK(sel_modify(selector, fd, SEL_READ | SEL_ONESHOT, NULL));
    CHECK(rests(selector, 20 * MS));
    CHECK(put(fd));
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(quiet(selector));
}

static void one_shots_of_many_come_once_each(sel_selector *selector) {
    bool seen[HIGHEST_FD] = {false};
    sel_event event;
    for (int i = 0; i < 20; i++)
        watch(selector, i % 4 == 0 ? make_file() : make_ready_event(), SEL_READ | SEL_ONESHOT);
    for (int i = 0; i < 20; i++) {
        EQUAL(sel_select(selector, &event, 1, ENOUGH), 1);
        CHECK(!seen[event.key.fd]);
        seen[event.key.fd] = true;
    }
    CHECK(rests(selector, 20 * MS));
}

static void spent_one_shot_does_not_show_outside(sel_selector *selector) {
    int fd = watch(selector, make_ready_event(), SEL_READ | SEL_ONESHOT);
    struct pollfd outside = {sel_fileno(selector), POLLIN, 0};
    if (!(test.capabilities & SEL_CAN_FILENO))
        SKIP("the backend has no descriptor");
    EQUAL(poll(&outside, 1, 0), 1);
    CHECK(sees(selector, fd, SEL_READ, 0));
    EQUAL(poll(&outside, 1, 0), 0);
    OK(sel_modify(selector, fd, SEL_READ | SEL_ONESHOT, NULL));
    EQUAL(poll(&outside, 1, 0), 1);
}

/* Edge-triggered. */

static void missing_modes_are_refused(sel_selector *selector) {
    const uint32_t modes[][2] = {{SEL_EDGE, SEL_CAN_EDGE}, {SEL_EXCLUSIVE, SEL_CAN_EXCLUSIVE}};
    int fd = make_ready_event(), data, other;
    for (int i = 0; i < LENGTH(modes); i++) {
        if (test.capabilities & modes[i][1])
            continue;
        REFUSED(sel_register(selector, fd, SEL_READ | modes[i][0], NULL), -ENOTSUP);
        EQUAL(sel_get_map(selector, NULL, 0), 0);
        OK(sel_register(selector, fd, SEL_READ, &data));
        REFUSED(sel_modify(selector, fd, SEL_READ | modes[i][0], &other), -ENOTSUP);
        CHECK(key_is(selector, fd, SEL_READ, &data));
        CHECK(sees(selector, fd, SEL_READ, 0));
        OK(sel_unregister(selector, fd, NULL));
    }
}

static void edge_is_reported_when_something_comes(sel_selector *selector) {
    int ends[2];
    NEEDS(SEL_CAN_EDGE);
    CHECK(make_pair(ends));
    OK(sel_register(selector, ends[0], SEL_READ | SEL_EDGE, NULL));
    CHECK(quiet(selector));
    for (int i = 0; i < 3; i++) {
        CHECK(put(ends[1])); /* accumulating */
        CHECK(sees(selector, ends[0], SEL_READ, 0));
        CHECK(rests(selector, 10 * MS));
    }
    OK(sel_modify(selector, ends[0], BOTH | SEL_EDGE, NULL));
    CHECK(sees(selector, ends[0], BOTH, 0));
    CHECK(quiet(selector));
    CHECK(drop(ends[1]));
    CHECK(sees_at_least(selector, ends[0], BOTH, SEL_HANGUP | SEL_READ_HANGUP));
    CHECK(rests(selector, 10 * MS));
    OK(sel_modify(selector, ends[0], SEL_READ, NULL));
    for (int i = 0; i < 2; i++)
        CHECK(sees_at_least(selector, ends[0], SEL_READ, SEL_HANGUP));
}

static void edge_is_reported_after_a_reversal(sel_selector *selector) {
    uint32_t events = SEL_READ | SEL_EDGE;
    int fd;
    NEEDS(SEL_CAN_EDGE);
    fd = watch(selector, make_ready_event(), events);
    CHECK(sees(selector, fd, SEL_READ, 0));
    OK(sel_modify(selector, fd, SEL_WRITE, NULL));
    OK(sel_modify(selector, fd, events, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(rests(selector, 10 * MS));
    /* Unread data are reported again after each modify. */
    events |= SEL_ONESHOT;
    OK(sel_modify(selector, fd, events, NULL));
    for (int i = 0; i < 3; i++) {
        CHECK(sees(selector, fd, SEL_READ, 0));
        OK(sel_modify(selector, fd, events, NULL));
    }
}

static void edge_of_a_file_is_reported_once(sel_selector *selector) {
    int file;
    NEEDS(SEL_CAN_EDGE);
    file = watch(selector, make_file(), SEL_READ | SEL_EDGE);
    CHECK(sees(selector, file, SEL_READ, 0));
    CHECK(rests(selector, 20 * MS));
    OK(sel_modify(selector, file, BOTH | SEL_EDGE, NULL));
    CHECK(sees(selector, file, BOTH, 0));
    CHECK(rests(selector, 20 * MS));
}

static void edges_that_do_not_fit_come_next(sel_selector *selector) {
    sel_event event;
    int first = 0;
    NEEDS(SEL_CAN_EDGE);
    for (int i = 0; i < 2; i++)
        watch(selector, make_ready_event(), SEL_READ | SEL_EDGE);
    for (int i = 0; i < 2; i++) {
        EQUAL(sel_select(selector, &event, 1, ENOUGH), 1);
        CHECK(event.key.fd != first);
        first = event.key.fd;
    }
    CHECK(quiet(selector));
}

/* Exclusive. */

static void exclusive_is_modified_like_others(sel_selector *selector) {
    const uint32_t masks[] = {
        SEL_WRITE | SEL_EXCLUSIVE,
        BOTH | SEL_EXCLUSIVE,
        SEL_READ,
        SEL_READ | SEL_EXCLUSIVE,
        BOTH | SEL_EXCLUSIVE | SEL_EDGE,
        BOTH,
    };
    int ends[2];
    NEEDS(SEL_CAN_EXCLUSIVE | SEL_CAN_EDGE);
    CHECK(make_pair(ends) && put(ends[1]));
    OK(sel_register(selector, ends[0], SEL_READ | SEL_EXCLUSIVE, NULL));
    CHECK(sees(selector, ends[0], SEL_READ, 0));
    for (int i = 0; i < LENGTH(masks); i++) {
        OK(sel_modify(selector, ends[0], masks[i], NULL));
        CHECK(sees(selector, ends[0], masks[i] & BOTH, 0));
    }
    OK(sel_modify(selector, ends[0], SEL_READ | SEL_EXCLUSIVE | SEL_ONESHOT, NULL));
    CHECK(sees(selector, ends[0], SEL_READ, 0));
    CHECK(quiet(selector));
    OK(sel_unregister(selector, ends[0], NULL));
    CHECK(quiet(selector));
}

static void exclusive_is_about_reading_and_writing(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ);
    REFUSED(sel_modify(selector, fd, SEL_READ | SEL_PRIORITY | SEL_EXCLUSIVE, NULL), -EINVAL);
    CHECK(key_is(selector, fd, SEL_READ, NULL));
}

/* A descriptor that poll(2) watches, because it referred to a file that epoll rejects. */
static void exclusive_has_no_read_hangup(sel_selector *selector) {
    int ends[2], fd;
    NEEDS(SEL_CAN_EXCLUSIVE);
    fd = watch(selector, make_file(), SEL_READ | SEL_EXCLUSIVE);
    CHECK(make_pair(ends) && shutdown(ends[1], SHUT_WR) == 0);
    CHECK(dup2(ends[0], fd) == fd);
    CHECK(sees(selector, fd, SEL_READ, 0));
}

/* What register rejects must not make a select fail, which would hide the other descriptors. */
static void exclusive_number_of_a_selector_blinds_no_other(sel_selector *selector) {
    sel_selector *inner = open_selector(test.backend);
    int ready, fd;
    NEEDS(SEL_CAN_EXCLUSIVE | SEL_CAN_FILENO);
    fd = watch(selector, sel_fileno(inner), SEL_READ);
    ready = watch(selector, make_ready_event(), SEL_READ);
    REFUSED(sel_register(inner, sel_fileno(selector), SEL_READ | SEL_EXCLUSIVE, NULL), -EINVAL);
    OK(sel_modify(selector, fd, SEL_READ | SEL_EXCLUSIVE, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
    OK(sel_modify(selector, fd, BOTH | SEL_EXCLUSIVE, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
}

static void modes_alone_are_refused(sel_selector *selector) {
    int fd = make_event();
    for (uint32_t mode = SEL_EDGE; mode <= MODES; mode += SEL_EDGE)
        REFUSED(sel_register(selector, fd, mode, NULL), -EINVAL);
    EQUAL(sel_get_map(selector, NULL, 0), 0);
}

/* Urgent data. */

static void urgent_data_are_reported(sel_selector *selector) {
    int ends[2];
    char byte;
    if (!make_connection(ends))
        SKIP("no TCP on the loopback here");
    OK(sel_register(selector, ends[1], SEL_PRIORITY, NULL));
    CHECK(send(ends[0], "a", 1, 0) == 1);
    CHECK(quiet(selector));
    CHECK(send(ends[0], "b", 1, MSG_OOB) == 1);
    CHECK(sees(selector, ends[1], SEL_PRIORITY, 0));
    OK(sel_modify(selector, ends[1], BOTH | SEL_PRIORITY, NULL));
    CHECK(sees(selector, ends[1], BOTH | SEL_PRIORITY, 0));
    CHECK(recv(ends[1], &byte, 1, MSG_OOB) == 1 && byte == 'b');
    OK(sel_modify(selector, ends[1], SEL_PRIORITY, NULL));
    CHECK(rests(selector, 20 * MS));
    OK(sel_modify(selector, ends[1], SEL_READ | SEL_PRIORITY, NULL));
    CHECK(sees(selector, ends[1], SEL_READ, 0));
}

static void other_data_are_not_urgent(sel_selector *selector) {
    int ends[2];
    if (!make_connection(ends))
        SKIP("no TCP on the loopback here");
    OK(sel_register(selector, ends[1], SEL_READ | SEL_PRIORITY, NULL));
    CHECK(quiet(selector));
    CHECK(send(ends[0], "a", 1, 0) == 1);
    CHECK(sees(selector, ends[1], SEL_READ, 0));
    OK(sel_modify(selector, ends[1], SEL_PRIORITY, NULL));
    CHECK(quiet(selector));
    CHECK(send(ends[0], "b", 1, 0) == 1);
    CHECK(rests(selector, 20 * MS));
    CHECK(send(ends[0], "c", 1, MSG_OOB) == 1);
    CHECK(sees(selector, ends[1], SEL_PRIORITY, 0));
}

static void file_is_never_urgent(sel_selector *selector) {
    const int fds[] = {make_file(), own(open("/dev/null", O_RDWR | O_CLOEXEC))};
    for (int i = 0; i < LENGTH(fds); i++)
        OK(sel_register(selector, fds[i], SEL_PRIORITY, NULL));
    CHECK(rests(selector, 20 * MS));
    for (int i = 0; i < LENGTH(fds); i++) {
        OK(sel_modify(selector, fds[i], SEL_READ | SEL_PRIORITY, NULL));
        CHECK(sees(selector, fds[i], SEL_READ, 0));
        OK(sel_unregister(selector, fds[i], NULL));
    }
}

static void error_wakes_all_that_was_asked(sel_selector *selector) {
    int ends[2];
    CHECK(make_pair(ends) && put(ends[0]) && drop(ends[1]));
    OK(sel_register(selector, ends[0], SEL_READ | SEL_PRIORITY, NULL));
    CHECK(sees_at_least(selector, ends[0], SEL_READ | SEL_PRIORITY, SEL_HANGUP | SEL_ERROR));
}

const struct fact modes_facts[] = {
    FACT("a one-shot is reported once", one_shot_is_reported_once),
    FACT("a one-shot waits for what is asked", one_shot_waits_for_what_is_asked),
    FACT("a one-shot is armed again at once", one_shot_is_armed_again_at_once),
    FACT("a one-shot file is reported once", one_shot_file_is_reported_once),
    FACT("a spent one-shot is silent about hang-ups", spent_one_shot_is_silent_about_hangups),
    FACT("a spent one-shot may be closed", spent_one_shot_may_be_closed),
    FACT("a spent one-shot that lives on is silent", spent_one_shot_that_lives_on_is_silent),
    FACT("one-shots of many come once each", one_shots_of_many_come_once_each),
    FACT("a spent one-shot does not show outside", spent_one_shot_does_not_show_outside),
    FACT("modes that are missing are refused", missing_modes_are_refused),
    FACT("an edge is reported when something comes", edge_is_reported_when_something_comes),
    FACT("an edge is reported after a reversal", edge_is_reported_after_a_reversal),
    FACT("an edge of a file is reported once", edge_of_a_file_is_reported_once),
    FACT("edges that do not fit come next", edges_that_do_not_fit_come_next),
    FACT("an exclusive one is modified like others", exclusive_is_modified_like_others),
    FACT("exclusive is about reading and writing", exclusive_is_about_reading_and_writing),
    FACT("an exclusive one has no read hang-up", exclusive_has_no_read_hangup),
    FACT("an exclusive number of a selector blinds no other",
         exclusive_number_of_a_selector_blinds_no_other),
    FACT("modes without events are refused", modes_alone_are_refused),
    FACT("urgent data are reported", urgent_data_are_reported),
    FACT("other data are not urgent", other_data_are_not_urgent),
    FACT("a file is never urgent", file_is_never_urgent),
    FACT("an error wakes all that was asked", error_wakes_all_that_was_asked),
    END_OF_FACTS,
};
