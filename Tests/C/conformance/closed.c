/*
 * closed.c - proves what happens if a registered descriptor is closed: to its registration, to its
 * number when it is reused, and to its file, which a duplicate may keep open.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "waiters.h"

#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/*
 * Whether of a ready one and one that was closed since and not modified the first is seen, and the
 * other as the backend has it: epoll says nothing of it, poll and select call it invalid, a plug-in does as
 * it pleases, and /dev/poll may do either.
 */
static bool sees_beside_closed(sel_selector *selector, int closed, uint32_t events, int ready) {
    bool may_be_silent = test.is_plugin || strcmp(test.backend, "devpoll") == 0;
    sel_event got[8];
    if (!test.is_plugin && test.capabilities & SEL_CAN_FILENO)
        return sees(selector, ready, SEL_READ, 0);
    if (!may_be_silent || sel_select(selector, got, 8, ENOUGH) == 2)
        return sees_invalid_beside(selector, closed, events, ready);
    return sees(selector, ready, SEL_READ, 0);
}

static void closed_one_blinds_no_other(sel_selector *selector) {
    int ready = watch(selector, make_ready_event(), SEL_READ);
    int closed = watch(selector, make_ready_event(), SEL_READ);
    int idle = watch(selector, make_event(), SEL_READ);
    CHECK(drop(closed));
    for (int i = 0; i < 3; i++)
        CHECK(sees_beside_closed(selector, closed, SEL_READ, ready));
    CHECK(key_is(selector, closed, SEL_READ, NULL));
    OK(sel_unregister(selector, closed, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
    CHECK(take(ready) && put(idle));
    CHECK(sees(selector, idle, SEL_READ, 0));
}

static void closed_after_a_wait_blinds_no_other(sel_selector *selector) {
    int ready = watch(selector, make_event(), SEL_READ);
    int closed = watch(selector, make_event(), SEL_READ);
    CHECK(quiet(selector));
    CHECK(put(ready) && drop(closed));
    for (int i = 0; i < 3; i++)
        CHECK(sees_beside_closed(selector, closed, SEL_READ, ready));
    OK(sel_modify(selector, closed, BOTH, NULL));
    for (int i = 0; i < 3; i++)
        CHECK(sees_invalid_beside(selector, closed, BOTH, ready));
    OK(sel_unregister(selector, closed, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
}

/* Whether the other end of a pair is closed, to the last duplicate. */
static bool is_gone(int peer) {
    struct pollfd hangup = {peer, 0, 0};
    return poll(&hangup, 1, 0) == 1 && hangup.revents == POLLHUP;
}

static void nothing_holds_an_unregistered_file(sel_selector *selector) {
    const uint32_t masks[] = {SEL_READ | SEL_PRIORITY, SEL_PRIORITY, SEL_READ};
    for (int modifications = 0; modifications <= LENGTH(masks); modifications++) {
        int ends[2];
        CHECK(make_pair(ends));
        OK(sel_register(selector, ends[0], SEL_READ, NULL));
        CHECK(quiet(selector));
        for (int i = 0; i < modifications; i++) {
            OK(sel_modify(selector, ends[0], masks[i], NULL));
            CHECK(quiet(selector));
        }
        OK(sel_unregister(selector, ends[0], NULL));
        CHECK(drop(ends[0]));
        CHECK(is_gone(ends[1]));
    }
}

static void nothing_holds_a_file_after_close(sel_selector *selector) {
    int ends[2];
    CHECK(make_pair(ends));
    OK(sel_register(selector, ends[0], SEL_READ, NULL));
    CHECK(quiet(selector));
    OK(close_selector(selector));
    CHECK(drop(ends[0]));
    CHECK(is_gone(ends[1]));
}

static void closed_then_modified_is_invalid(sel_selector *selector) {
    int data, ready = watch(selector, make_ready_event(), SEL_READ);
    int closed = watch(selector, make_event(), SEL_READ);
    CHECK(drop(closed));
    OK(sel_modify(selector, closed, SEL_READ, &data));
    OK(sel_modify(selector, closed, BOTH, NULL));
    OK(sel_modify(selector, closed, SEL_READ, &data));
    CHECK(sees_beside_closed(selector, closed, SEL_READ, ready)); /* the kernel set is unchanged */
    OK(sel_modify(selector, closed, BOTH, NULL));
    for (int i = 0; i < 3; i++)
        CHECK(sees_invalid_beside(selector, closed, BOTH, ready));
    OK(sel_modify(selector, closed, SEL_WRITE, NULL));
    CHECK(sees_invalid_beside(selector, closed, SEL_WRITE, ready));
    OK(sel_unregister(selector, closed, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
    EQUAL(make_event(), closed);
    OK(sel_register(selector, closed, SEL_READ, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
}

static void invalid_one_starves_no_other(sel_selector *selector) {
    int closed = watch(selector, make_event(), SEL_READ);
    int ready = watch(selector, make_ready_event(), SEL_READ);
    bool seen_ready = false, seen_closed = false;
    CHECK(drop(closed));
    OK(sel_modify(selector, closed, SEL_WRITE, NULL));
    for (int i = 0; i < 6; i++) {
        sel_event event;
        EQUAL(sel_select(selector, &event, 1, ENOUGH), 1);
        seen_ready |= event.key.fd == ready;
        seen_closed |= event.key.fd == closed && event.detail == SEL_INVALID;
    }
    CHECK(seen_ready);
    CHECK(seen_closed);
}

static void unregister_works_after_close_and_reuse(sel_selector *selector) {
    int data, ends[2], fd = make_ready_event();
    sel_key old;
    watch(selector, make_event(), SEL_READ);
    OK(sel_register(selector, fd, SEL_READ, &data));
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(drop(fd));
    CHECK(make_pipe(ends));
    EQUAL(ends[0], fd);
    OK(sel_unregister(selector, fd, &old));
    CHECK(old.fd == fd && old.events == SEL_READ && old.data == &data);
    CHECK(quiet(selector));
    OK(sel_register(selector, fd, SEL_READ, NULL));
    CHECK(quiet(selector));
    CHECK(put(ends[1]));
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void ghost_is_silent_after_unregister(sel_selector *selector) {
    for (int reuse_first = 0; reuse_first < 2; reuse_first++) {
        int fd = leave_a_ghost(selector, reuse_first);
        CHECK(fd >= 0 && rests(selector, 100 * MS));
        OK(sel_register(selector, fd, SEL_READ, NULL));
        CHECK(quiet(selector));
        CHECK(rests(selector, 100 * MS));
        CHECK(put(fd));
        CHECK(sees(selector, fd, SEL_READ, 0));
        OK(sel_unregister(selector, fd, NULL));
    }
}

static void ghost_hides_no_other(sel_selector *selector) {
    int fd = leave_a_ghost(selector, false), other = watch(selector, make_event(), SEL_READ);
    int timer = make_timer(20 * MS);
    sel_event event;
    OK(sel_register(selector, fd, SEL_READ, NULL));
    OK(sel_register(selector, timer, SEL_READ, NULL));
    OK(sel_modify(selector, timer, BOTH, &timer));
    EQUAL(sel_select(selector, &event, 1, SEL_FOREVER), 1);
    CHECK(event.key.fd == timer && event.key.data == &timer && event.events == SEL_READ);
    OK(sel_unregister(selector, timer, NULL));
    CHECK(put(other));
    CHECK(sees(selector, other, SEL_READ, 0));
    OK(sel_modify(selector, fd, BOTH, NULL));
    OK(sel_unregister(selector, other, NULL));
    CHECK(sees(selector, fd, SEL_WRITE, 0));
}

static void ghost_can_be_registered_again(sel_selector *selector) {
    int data, fd = watch(selector, make_ready_event(), SEL_READ), twin = duplicate(fd);
    CHECK(twin >= 0 && drop(fd));
    OK(sel_unregister(selector, fd, NULL));
    EQUAL(duplicate(twin), fd);
    OK(sel_register(selector, fd, BOTH, &data));
    CHECK(sees(selector, fd, BOTH, 0));
    CHECK(key_is(selector, fd, BOTH, &data));
    OK(sel_unregister(selector, fd, NULL));
    CHECK(rests(selector, 50 * MS));
}

static void ghost_is_silent_beside_a_file(sel_selector *selector) {
    int fd = leave_a_ghost(selector, false), file = watch(selector, make_file(), SEL_READ);
    OK(sel_register(selector, fd, SEL_READ, NULL));
    for (int i = 0; i < 4; i++)
        CHECK(sees(selector, file, SEL_READ, 0));
    OK(sel_unregister(selector, file, NULL));
    CHECK(rests(selector, 50 * MS));
}

static void ghost_takes_no_room(sel_selector *selector) {
    int fd = leave_a_ghost(selector, false), ready = watch(selector, make_ready_event(), SEL_READ);
    sel_event event;
    CHECK(fd >= 0);
    for (int i = 0; i < 2; i++) {
        EQUAL(sel_select(selector, &event, 1, 0), 1);
        EQUAL(event.key.fd, ready);
    }
}

static void ghost_is_silent_when_no_descriptor_is_left(sel_selector *selector) {
    int fd = leave_a_ghost(selector, false), other = make_event();
    OK(sel_register(selector, fd, SEL_READ, NULL));
    CHECK(use_up_descriptors());
    for (int i = 0; i < 3; i++) {
        int result = look(selector);
        CHECK(result == 0 || result == -EMFILE);
    }
    CHECK(setrlimit(RLIMIT_NOFILE, &test.limit) == 0);
    CHECK(rests(selector, 50 * MS));
    OK(sel_register(selector, other, SEL_READ, NULL));
    CHECK(put(other));
    CHECK(sees(selector, other, SEL_READ, 0));
    CHECK(take(other) && put(fd));
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void ghost_is_silent_beside_a_closed_one(sel_selector *selector) {
    int fd = leave_a_ghost(selector, false), closed = watch(selector, make_event(), SEL_READ);
    int ready = watch(selector, make_ready_event(), SEL_READ);
    OK(sel_register(selector, fd, SEL_READ, NULL));
    CHECK(drop(closed));
    for (int i = 0; i < 3; i++) {
        sel_event got[8];
        int count = sel_select(selector, got, 8, ENOUGH);
        const sel_event *event = find(got, count, ready);
        CHECK(event != NULL && event->events == SEL_READ && event->detail == 0);
        CHECK(find(got, count, fd) == NULL);
    }
    OK(sel_unregister(selector, closed, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
}

static void modify_after_reuse_is_about_the_new_file(sel_selector *selector) {
    const uint32_t masks[][2] = {{SEL_READ, BOTH}, {BOTH, SEL_READ}};
    for (int i = 0; i < LENGTH(masks); i++) {
        int old, new, fd = make_ready_event();
        OK(sel_register(selector, fd, masks[i][0], &old));
        CHECK(sees(selector, fd, masks[i][0], 0));
        CHECK(duplicate(fd) >= 0 && drop(fd)); /* which stays readable and writable */
        EQUAL(make_event(), fd);
        OK(sel_modify(selector, fd, masks[i][1], &new));
        if (masks[i][1] & SEL_WRITE)
            CHECK(sees(selector, fd, SEL_WRITE, 0));
        OK(sel_modify(selector, fd, SEL_READ, &new));
        CHECK(quiet(selector));
        CHECK(rests(selector, 100 * MS));
        CHECK(put(fd));
        CHECK(sees(selector, fd, SEL_READ, 0));
        CHECK(key_is(selector, fd, SEL_READ, &new));
        OK(sel_unregister(selector, fd, NULL));
        CHECK(rests(selector, 50 * MS));
    }
}

/* A wait that blocks, for a file that is not ready yet. */
static void modify_after_reuse_waits_for_the_new_file(sel_selector *selector) {
    int fds[] = {make_event(), make_file()};
    sel_event event;
    for (int i = 0; i < LENGTH(fds); i++) {
        OK(sel_register(selector, fds[i], SEL_WRITE, NULL));
        CHECK(sees(selector, fds[i], SEL_WRITE, 0));
        CHECK(drop(fds[i]));
        EQUAL(make_timer(20 * MS), fds[i]);
        OK(sel_modify(selector, fds[i], SEL_READ, NULL));
        EQUAL(sel_select(selector, &event, 1, ENOUGH), 1);
        CHECK(event.key.fd == fds[i] && event.events == SEL_READ && event.detail == 0);
        OK(sel_unregister(selector, fds[i], NULL));
    }
}

/* A chain of epolls down to a file, so long that no further one may be added. */
static int make_deep_epoll(int file) {
    struct epoll_event events = {.events = EPOLLIN};
    for (int epoll, watched = file;; watched = epoll) {
        epoll = own(epoll_create1(0));
        if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, watched, &events) < 0)
            return epoll < 0 || errno != ELOOP ? -1 : watched;
    }
}

/* Closes a registered descriptor, then reuses its number for a file that epoll cannot watch. */
static bool give_to_deep_epoll(sel_selector *selector, int fd, int file) {
    int epoll = make_deep_epoll(file);
    return epoll >= 0 && drop(fd) && sel_modify(selector, fd, BOTH, NULL) == 0 &&
           sees(selector, fd, BOTH, SEL_INVALID) && sel_modify(selector, fd, SEL_READ, NULL) == 0 &&
           own(dup2(epoll, fd)) == fd;
}

static void wait_sees_what_the_backend_cannot_watch(sel_selector *selector) {
    struct waiter *waiter;
    int fd = watch(selector, make_event(), SEL_READ);
    int file = make_event(), other = make_event();
    CHECK(give_to_deep_epoll(selector, fd, file));
    CHECK(rests(selector, 20 * MS));
    CHECK(start_waiter(&waiter, selector));
    CHECK(put(file));
    EQUAL(result_of(waiter), 1);
    CHECK(waiter->event.key.fd == fd && waiter->event.events == SEL_READ);
    OK(sel_modify(selector, fd, SEL_READ | SEL_ONESHOT, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
    CHECK(start_waiter(&waiter, selector));
    OK(sel_register(selector, other, SEL_READ, NULL));
    CHECK(put(other));
    EQUAL(result_of(waiter), 1);
    EQUAL(waiter->event.key.fd, other);
}

/* One of the waiters blocks on it; when that one returns, another takes over. */
static void waiters_see_what_the_backend_cannot_watch(sel_selector *selector) {
    enum { WAITERS = 3 };
    struct waiter *waiters[WAITERS];
    int fd = watch(selector, make_event(), SEL_READ | SEL_ONESHOT), events = 0;
    int file = make_event(), other = make_event();
    CHECK(give_to_deep_epoll(selector, fd, file));
    OK(sel_modify(selector, fd, SEL_READ | SEL_ONESHOT, NULL));
    CHECK(start_waiters(waiters, WAITERS, selector));
    for (int back = 1; back < WAITERS; back++) {
        OK(sel_register(selector, other, SEL_WRITE | SEL_ONESHOT, NULL));
        CHECK(are_back(waiters, WAITERS, back));
        OK(sel_unregister(selector, other, NULL));
    }
    CHECK(put(file));
    CHECK(are_back(waiters, WAITERS, WAITERS));
    for (int i = 0; i < WAITERS; i++)
        events += result_of(waiters[i]) == 1 && waiters[i]->event.key.fd == fd;
    EQUAL(events, 1);
}

/*
 * A descriptor whose file remains open in a duplicate, and which now refers again to the idle file
 * that was registered under it at first.
 */
static int come_back_to_a_ghost(sel_selector *selector, uint32_t events) {
    int idle = make_event(), ready = make_ready_event(), fd = duplicate(idle);
    bool good = sel_register(selector, fd, SEL_READ, NULL) == 0 && drop(fd) &&
                sel_unregister(selector, fd, NULL) == 0 && duplicate(ready) == fd &&
                sel_register(selector, fd, events, NULL) == 0;
    return good && sees(selector, fd, SEL_READ, 0) && dup2(idle, fd) == fd ? fd : -1;
}

static void modify_after_return_is_about_the_file_that_came(sel_selector *selector) {
    int fd = come_back_to_a_ghost(selector, SEL_READ);
    CHECK(fd >= 0);
    OK(sel_modify(selector, fd, BOTH, NULL));
    CHECK(sees(selector, fd, SEL_WRITE, 0));
    OK(sel_modify(selector, fd, SEL_READ, NULL));
    CHECK(quiet(selector));
}

static void spent_one_shot_is_silent_after_return(sel_selector *selector) {
    CHECK(come_back_to_a_ghost(selector, SEL_READ | SEL_ONESHOT) >= 0);
    CHECK(quiet(selector));
    CHECK(quiet(selector));
}

const struct fact closed_facts[] = {
    FACT("closed while registered blinds no other", closed_one_blinds_no_other),
    FACT("closed after a wait blinds no other", closed_after_a_wait_blinds_no_other),
    FACT("closed while registered, then modified, is invalid", closed_then_modified_is_invalid),
    FACT("an invalid descriptor starves no other", invalid_one_starves_no_other),
    FACT("nothing holds a file that is unregistered", nothing_holds_an_unregistered_file),
    FACT("nothing holds a file when the selector is closed", nothing_holds_a_file_after_close),
    FACT("unregister after close and reuse", unregister_works_after_close_and_reuse),
    FACT("modify after close and reuse is about the new file",
         modify_after_reuse_is_about_the_new_file),
    FACT("modify after close and reuse waits for the new file",
         modify_after_reuse_waits_for_the_new_file),
    FACT("a wait sees what the backend cannot watch", wait_sees_what_the_backend_cannot_watch),
    FACT("several waits see what the backend cannot watch",
         waiters_see_what_the_backend_cannot_watch),
    FACT("unregister ends it though a duplicate lives on", ghost_is_silent_after_unregister),
    FACT("a duplicate that lives on hides no other", ghost_hides_no_other),
    FACT("a duplicate comes back to its number", ghost_can_be_registered_again),
    FACT("modify after a duplicate came back is about it",
         modify_after_return_is_about_the_file_that_came),
    FACT("a spent one-shot is silent after a duplicate came back",
         spent_one_shot_is_silent_after_return),
    FACT("a duplicate that lives on beside a file", ghost_is_silent_beside_a_file),
    FACT("a duplicate that lives on takes no room", ghost_takes_no_room),
    FACT("a duplicate that lives on, no descriptor left",
         ghost_is_silent_when_no_descriptor_is_left),
    FACT("a duplicate that lives on beside a closed one", ghost_is_silent_beside_a_closed_one),
    END_OF_FACTS,
};
