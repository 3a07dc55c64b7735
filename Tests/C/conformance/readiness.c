/*
 * readiness.c - proves when each kind of descriptor is ready, and that modify takes effect.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void pipe_tells_readiness(sel_selector *selector) {
    int ends[2];
    CHECK(make_pipe(ends));
    OK(sel_register(selector, ends[0], SEL_READ, NULL));
    CHECK(quiet(selector));
    CHECK(put(ends[1]));
    CHECK(sees(selector, ends[0], SEL_READ, 0));
    CHECK(take(ends[0]));
    CHECK(quiet(selector));
    OK(sel_register(selector, ends[1], SEL_WRITE, NULL));
    CHECK(sees(selector, ends[1], SEL_WRITE, 0));
    fill(ends[1]);
    CHECK(sees(selector, ends[0], SEL_READ, 0));
}

static void socket_tells_both_directions_at_once(sel_selector *selector) {
    int ends[2];
    CHECK(make_pair(ends));
    OK(sel_register(selector, ends[0], BOTH, NULL));
    CHECK(sees(selector, ends[0], SEL_WRITE, 0));
    CHECK(put(ends[1]));
    CHECK(sees(selector, ends[0], BOTH, 0));
    fill(ends[0]);
    CHECK(sees(selector, ends[0], SEL_READ, 0));
    CHECK(take(ends[0]));
    CHECK(quiet(selector));
}

static void eventfd_tells_readiness(sel_selector *selector) {
    uint64_t most = UINT64_MAX - 1;
    int fd = watch(selector, make_event(), BOTH);
    CHECK(sees(selector, fd, SEL_WRITE, 0));
    CHECK(put(fd));
    CHECK(sees(selector, fd, BOTH, 0));
    CHECK(take(fd) && write(fd, &most, sizeof most) == (ssize_t)sizeof most);
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void terminal_tells_readiness(sel_selector *selector) {
    const int flags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK;
    int slave, master = own(posix_openpt(flags));
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0 ||
        (slave = own(open(ptsname(master), flags))) < 0)
        SKIP("no pseudo-terminal here");
    OK(sel_register(selector, master, SEL_READ, NULL));
    OK(sel_register(selector, slave, SEL_READ, NULL));
    CHECK(quiet(selector));
    CHECK(put(slave));
    CHECK(sees(selector, master, SEL_READ, 0));
}

static void connect_and_accept_are_readiness(sel_selector *selector) {
    struct sockaddr_in address;
    int client = make_socket(), listener = make_bound(&address);
    if (listener < 0)
        SKIP("no TCP on the loopback here");
    CHECK(listen(listener, 8) == 0);
    OK(sel_register(selector, listener, SEL_READ, NULL));
    CHECK(quiet(selector));
    CHECK(connect(client, (struct sockaddr *)&address, sizeof address) == 0 ||
          errno == EINPROGRESS);
    CHECK(sees(selector, listener, SEL_READ, 0));
    CHECK(own(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    OK(sel_register(selector, client, BOTH, NULL));
    CHECK(sees(selector, client, SEL_WRITE, 0));
}

static void events_are_cut_to_what_was_asked(sel_selector *selector) {
    int ends[2];
    CHECK(make_pair(ends) && put(ends[1]));
    OK(sel_register(selector, ends[0], SEL_READ, NULL));
    CHECK(sees(selector, ends[0], SEL_READ, 0));
    OK(sel_modify(selector, ends[0], SEL_WRITE, NULL));
    CHECK(sees(selector, ends[0], SEL_WRITE, 0));
    fill(ends[0]);
    CHECK(quiet(selector));
    CHECK(rests(selector, 50 * MS));
}

static void readiness_is_level_triggered(sel_selector *selector) {
    int fd = watch(selector, make_ready_event(), SEL_READ);
    for (int i = 0; i < 5; i++)
        CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(take(fd));
    CHECK(quiet(selector));
    CHECK(put(fd));
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void past_readiness_is_not_reported(sel_selector *selector) {
    int fds[] = {watch(selector, make_event(), SEL_READ), watch(selector, make_event(), SEL_READ)};
    CHECK(quiet(selector));
    for (int i = 0; i < 3; i++) {
        CHECK(put(fds[0]) && put(fds[1]) && take(fds[0]));
        CHECK(sees(selector, fds[1], SEL_READ, 0));
        CHECK(take(fds[1]));
        CHECK(rests(selector, 20 * MS));
    }
}

/* Whether both are ready, with the registrations that they have. */
static bool keys_come_back(sel_selector *selector, const sel_key *first, const sel_key *second) {
    sel_event events[4];
    const sel_key *const wanted[] = {first, second};
    if (sel_select(selector, events, 4, ENOUGH) != 2)
        return false;
    for (int i = 0; i < 2; i++) {
        const sel_event *event = find(events, 2, wanted[i]->fd);
        if (event == NULL || event->key.data != wanted[i]->data ||
            event->key.events != wanted[i]->events)
            return false;
    }
    return true;
}

static void data_comes_back_with_the_event(sel_selector *selector) {
    int a = make_event(), b = make_event();
    OK(sel_register(selector, a, SEL_WRITE, &a));
    OK(sel_register(selector, b, BOTH, &b));
    CHECK(keys_come_back(selector, &(sel_key){a, SEL_WRITE, &a}, &(sel_key){b, BOTH, &b}));
    OK(sel_modify(selector, a, SEL_WRITE, NULL));
    OK(sel_modify(selector, b, SEL_WRITE, &a));
    CHECK(keys_come_back(selector, &(sel_key){a, SEL_WRITE, NULL}, &(sel_key){b, SEL_WRITE, &a}));
}

static void modify_changes_the_mask(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ);
    CHECK(quiet(selector));
    OK(sel_modify(selector, fd, BOTH, NULL));
    CHECK(sees(selector, fd, SEL_WRITE, 0));
    CHECK(put(fd));
    CHECK(sees(selector, fd, BOTH, 0));
    OK(sel_modify(selector, fd, SEL_READ, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(take(fd));
    CHECK(quiet(selector));
}

static void modify_and_back_changes_nothing(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ);
    int other = watch(selector, make_event(), SEL_READ);
    CHECK(quiet(selector));
    for (int i = 0; i < 3; i++) {
        OK(sel_modify(selector, fd, BOTH, NULL));
        OK(sel_modify(selector, other, SEL_WRITE, NULL));
        OK(sel_modify(selector, fd, SEL_READ, NULL));
        OK(sel_modify(selector, other, SEL_READ, NULL));
        CHECK(quiet(selector));
    }
    CHECK(put(fd));
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void unregister_forgets_a_modify(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ);
    watch(selector, make_event(), SEL_READ);
    OK(sel_modify(selector, fd, SEL_WRITE, NULL));
    OK(sel_unregister(selector, fd, NULL));
    CHECK(quiet(selector));
    OK(sel_register(selector, fd, SEL_WRITE, NULL));
    OK(sel_modify(selector, fd, SEL_READ, NULL));
    OK(sel_unregister(selector, fd, NULL));
    OK(sel_register(selector, fd, SEL_WRITE, NULL));
    CHECK(sees(selector, fd, SEL_WRITE, 0));
}

static void duplicates_are_registered_apart(sel_selector *selector) {
    int fd = watch(selector, make_event(), SEL_READ);
    int twin = watch(selector, duplicate(fd), SEL_WRITE);
    CHECK(sees(selector, twin, SEL_WRITE, 0));
    CHECK(put(fd));
    EQUAL(look(selector), 2);
    OK(sel_unregister(selector, fd, NULL));
    CHECK(sees(selector, twin, SEL_WRITE, 0));
}

const struct fact readiness_facts[] = {
    FACT("pipe readiness", pipe_tells_readiness),
    FACT("socket readiness, both directions at once", socket_tells_both_directions_at_once),
    FACT("eventfd readiness", eventfd_tells_readiness),
    FACT("terminal readiness", terminal_tells_readiness),
    FACT("a connect and an accept are readiness", connect_and_accept_are_readiness),
    FACT("events are cut to what was asked", events_are_cut_to_what_was_asked),
    FACT("readiness is level-triggered", readiness_is_level_triggered),
    FACT("what is over is not reported", past_readiness_is_not_reported),
    FACT("data comes back with the event", data_comes_back_with_the_event),
    FACT("modify changes the mask", modify_changes_the_mask),
    FACT("modify and back between waits", modify_and_back_changes_nothing),
    FACT("modify and unregister between waits", unregister_forgets_a_modify),
    FACT("duplicates are registered apart", duplicates_are_registered_apart),
    END_OF_FACTS,
};
