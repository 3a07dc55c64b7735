/*
 * look_after.c - checks that each selector which a test leaves open still works.
 *
 * The test itself does not check everything. For example, a descriptor may be in the map but not in
 * the kernel's set, and the test does not wait for it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../conformance/helpers.h"
#include "faults.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MOST_KEYS 256

/* The readiness of a key according to poll(2), or SEL_INVALID if it cannot be predicted. */
static uint32_t readiness(const sel_key *key) {
    uint32_t asked = key->events & (BOTH | SEL_PRIORITY);
    struct pollfd set = {.fd = key->fd};
    set.events = (short)((asked & SEL_READ ? POLLIN | POLLRDHUP : 0) |
                         (asked & SEL_WRITE ? POLLOUT : 0) | (asked & SEL_PRIORITY ? POLLPRI : 0));
    if (poll(&set, 1, 0) < 0 || set.revents & POLLNVAL)
        return SEL_INVALID;
    if (key->events & (SEL_EDGE | SEL_ONESHOT))
        return SEL_INVALID;                /* it may have been reported already */
    if (set.revents & (POLLERR | POLLHUP)) /* select(2) does not see these without SEL_READ */
        return asked & SEL_READ || test.backend == NULL || strcmp(test.backend, "select") != 0
                   ? asked
                   : SEL_INVALID;
    return (set.revents & (POLLIN | POLLRDHUP) ? SEL_READ : 0) |
           (set.revents & POLLOUT ? SEL_WRITE : 0) | (set.revents & POLLPRI ? SEL_PRIORITY : 0);
}

static void reports_what_is_ready(sel_selector *selector, const sel_key *keys, int count) {
    static sel_event events[MOST_KEYS];
    int ready = sel_select(selector, events, MOST_KEYS, 0);
    CHECK(ready >= 0);
    for (int i = 0; i < count; i++) {
        const sel_event *event = find(events, ready, keys[i].fd);
        uint32_t got = event == NULL ? 0 : event->events, wanted = readiness(&keys[i]);
        if (got != wanted && wanted != SEL_INVALID)
            note("afterwards fd %d, watched for 0x%x, is reported as 0x%x instead of 0x%x",
                 keys[i].fd, keys[i].events, got, wanted);
    }
}

bool is_eventfd(int fd) {
    char path[64], name[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, name, sizeof name - 1) > 0 && strcmp(name, "anon_inode:[eventfd]") == 0;
}

static bool is_readable(int fd) {
    return poll(&(struct pollfd){fd, POLLIN, 0}, 1, 0) == 1;
}

/*
 * A blocked select may miss what a select without blocking finds: it depends on the kernel's set,
 * and so does a wait for sel_fileno().
 */
static void waits_for_each(sel_selector *selector, const sel_key *keys, int count) {
    int fd;
    if (!(test.capabilities & SEL_CAN_FILENO))
        return;
    fd = sel_fileno(selector);
    CHECK(fd >= 0);
    for (int i = 0; i < count; i++) {
        if (readiness(&keys[i]) != 0 || !is_eventfd(keys[i].fd) || !(keys[i].events & SEL_READ))
            continue;
        while (is_readable(fd) && look(selector) == 0)
            continue; /* a spurious wake-up */
        CHECK(put(keys[i].fd));
        if (!is_readable(fd))
            note("afterwards nobody waits for fd %d, watched for 0x%x", keys[i].fd, keys[i].events);
        CHECK(take(keys[i].fd));
    }
}

static void takes_another(sel_selector *selector) {
    sel_event events[MOST_KEYS];
    const sel_event *event;
    int ends[2], data;
    CHECK(make_pair(ends) && put(ends[1]));
    OK(sel_register(selector, ends[0], SEL_WRITE, NULL));
    OK(sel_modify(selector, ends[0], BOTH, &data));
    event = find(events, sel_select(selector, events, MOST_KEYS, 0), ends[0]);
    CHECK(event != NULL && event->events == BOTH && event->key.data == &data);
    OK(sel_unregister(selector, ends[0], NULL));
    CHECK(find(events, sel_select(selector, events, MOST_KEYS, 0), ends[0]) == NULL);
}

static void look_after(sel_selector *selector) {
    static sel_key keys[MOST_KEYS];
    int count = sel_get_map(selector, keys, MOST_KEYS);
    if (count > MOST_KEYS)
        return;
    OK(sel_set_interruptible(selector, 0));
    look(selector); /* consumes a pending wake-up */
    for (int i = 0; i < count; i++)
        CHECK(key_is(selector, keys[i].fd, keys[i].events, keys[i].data));
    reports_what_is_ready(selector, keys, count);
    for (int i = 0; i < count; i++)
        if (readiness(&keys[i]) != 0 && is_eventfd(keys[i].fd))
            take(keys[i].fd);
    reports_what_is_ready(selector, keys, count);
    for (int i = 0; i < count; i++)
        if (readiness(&keys[i]) != 0)
            OK(sel_unregister(selector, keys[i].fd, NULL));
    waits_for_each(selector, keys, count);
    takes_another(selector);
}

void look_after_selectors(void) {
    plan->was_excused = plan->is_excused && *test.failure;
    if (plan->was_excused)
        test.failure[0] = '\0';
    if (plan->span != FOR_EVER)
        plan->is_over = true;
    setrlimit(RLIMIT_NOFILE, &test.limit);
    if (test.storming)
        stop_storm();
    for (int i = 0; i < MOST_SELECTORS; i++)
        if (test.selectors[i] != NULL && !*test.failure)
            look_after(test.selectors[i]);
    if (*plan->complaint)
        note("%s", plan->complaint);
}
