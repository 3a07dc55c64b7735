/*
 * many.c - proves that many descriptors, and high numbers, work like few, and that none starves.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static void nobody_starves(sel_selector *selector) {
    enum { READY = 64 };
    const int sizes[] = {1, 7, 63, 64, 65};
    sel_event events[READY + 2];
    bool seen[READY], now_seen[READY];
    for (int i = 0; i < READY; i++)
        OK(sel_register(selector, make_event(), SEL_WRITE, &seen[i]));
    for (int size = 0; size < LENGTH(sizes); size++) {
        int max = sizes[size], rounds = 2 * (READY / max + 1), distinct = 0;
        memset(seen, 0, sizeof seen);
        while (rounds-- > 0) {
            int count;
            events[max].key.fd = -4711;
            count = sel_select(selector, events, max, ENOUGH);
            EQUAL(count, max < READY ? max : READY);
            EQUAL(events[max].key.fd, -4711);
            memset(now_seen, 0, sizeof now_seen);
            for (int i = 0; i < count; i++) {
                size_t which = (size_t)((bool *)events[i].key.data - seen);
                CHECK(which < READY && !now_seen[which]);
                now_seen[which] = true;
                distinct += !seen[which];
                seen[which] = true;
            }
        }
        EQUAL(distinct, READY);
    }
}

static void all_that_are_ready_come_at_once(sel_selector *selector) {
    enum { READY = 2000 };
    static sel_event events[READY + 1];
    if (!raise_limit(READY + 100))
        SKIP("the hard limit of open descriptors is too low");
    for (int i = 0; i < READY; i++)
        OK(sel_register(selector, make_event(), SEL_WRITE, NULL));
    for (int i = 0; i < 3; i++) {
        EQUAL(sel_select(selector, events, 1, 0), 1);
        EQUAL(sel_select(selector, events, READY + 1, 0), READY);
    }
}

static void room_may_exceed_the_ready(sel_selector *selector) {
    enum { ROOM = 100000 };
    sel_event *events = calloc(ROOM, sizeof *events);
    int count;
    CHECK(events != NULL);
    watch(selector, make_event(), SEL_WRITE);
    count = sel_select(selector, events, ROOM, ENOUGH);
    free(events);
    EQUAL(count, 1);
}

static void nine_thousand_sockets_are_watched(sel_selector *selector) {
    enum { PAIRS = 9000, READY = 100, STEP = 89 };
    static bool ready[PAIRS];
    static int pairs[PAIRS][2];
    sel_event events[READY + 10];
    if (!raise_limit(2 * PAIRS + 100))
        SKIP("the hard limit of open descriptors is too low");
    memset(ready, 0, sizeof ready);
    for (int i = 0; i < PAIRS; i++) {
        CHECK(make_pair(pairs[i]));
        OK(sel_register(selector, pairs[i][0], SEL_READ, &ready[i]));
    }
    EQUAL(sel_get_map(selector, NULL, 0), PAIRS);
    CHECK(quiet(selector));
    for (int i = 0; i < READY; i++) {
        ready[i * STEP + 17] = true;
        CHECK(put(pairs[i * STEP + 17][1]));
    }
    EQUAL(sel_select(selector, events, READY + 10, ENOUGH), READY);
    for (int i = 0; i < READY; i++) {
        bool *flag = events[i].key.data;
        CHECK(*flag && events[i].events == SEL_READ && events[i].detail == 0);
        EQUAL(events[i].key.fd, pairs[flag - ready][0]);
        *flag = false; /* so that a second one would be noticed */
    }
    for (int i = 0; i < PAIRS; i++)
        OK(sel_unregister(selector, pairs[i][0], NULL));
    CHECK(quiet(selector));
}

static void high_numbers_are_watched(sel_selector *selector) {
    const int numbers[] = {62, 63, 64, 65, 1022, 1023, 1024, 1025, 4095, 4096, 5000, 8191};
    enum { COUNT = LENGTH(numbers) };
    int ends[2], fds[COUNT], fd;
    sel_event events[COUNT];
    if (!raise_limit(8200))
        SKIP("the hard limit of open descriptors is too low");
    CHECK(make_pair(ends));
    for (int i = 0; i < COUNT; i++) {
        fds[i] = own(fcntl(ends[0], F_DUPFD_CLOEXEC, numbers[i]));
        CHECK(fds[i] >= numbers[i]);
        OK(sel_register(selector, fds[i], BOTH, NULL));
        CHECK(sees(selector, fds[i], SEL_WRITE, 0));
        OK(sel_modify(selector, fds[i], SEL_READ, NULL));
        CHECK(quiet(selector));
    }
    CHECK(put(ends[1]));
    EQUAL(sel_select(selector, events, COUNT, ENOUGH), COUNT);
    for (int i = COUNT - 1; i >= 0; i--) {
        fd = fds[i];
        CHECK(find(events, COUNT, fd) != NULL);
        OK(sel_unregister(selector, fd, NULL));
        EQUAL(sel_select(selector, events, COUNT, 0), i);
        CHECK(find(events, i, fd) == NULL);
        memset(events, 0xff, sizeof events);
        for (int j = 0; j < COUNT; j++)
            events[j].key.fd = fds[j];
    }
}

const struct fact many_facts[] = {
    FACT("more are ready than fit, nobody starves", nobody_starves),
    FACT("two thousand are ready at once", all_that_are_ready_come_at_once),
    FACT("room for more than there are", room_may_exceed_the_ready),
    FACT("nine thousand sockets, a hundred ready", nine_thousand_sockets_are_watched),
    FACT("descriptors with high numbers", high_numbers_are_watched),
    END_OF_FACTS,
};
