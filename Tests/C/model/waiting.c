/*
 * waiting.c - operations that wait, or end a wait.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "play.h"

#include <poll.h>
#include <time.h>

enum { SHORT_NS = 20 * 1000 }; /* a timeout that is waited out */

bool do_wakeup(void) {
    say(" wakeup");
    expect(CALL(sel_wakeup(selector)), 0);
    model.wake = WAKES;
    return true;
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* A timeout that does not keep the test waiting. */
static int64_t some_timeout(int required) {
    if (required > 0 || model.wake == WAKES)
        return once_in(2) ? SEL_FOREVER : (int64_t)pick(2) * INT64_C(3600000000000);
    return once_in(16) ? 1 + (int64_t)pick(SHORT_NS) : 0;
}

/* Checks one event; returns its number. */
static int check_event(const sel_event *event) {
    int number = world_number(event->key.fd);
    say(" %d", event->key.fd);
    say_mask(event->events | event->detail);
    if (number == NONE || !is_key(&event->key, number))
        fail("the key of %d is wrong", event->key.fd);
    if (!model_allows(number, event))
        fail("%d may not be reported so", event->key.fd);
    return number;
}

/* Selects, and returns which numbers were reported, a bit for each. */
static uint32_t select_some(int max) {
    static sel_event events[ROOMY];
    uint32_t reported = 0, required = 0;
    int count, wanted = 0;
    int64_t timeout, began;
    model_select();
    for (int i = 0; i < NUMBERS; i++) {
        if (model_requires(i)) {
            required |= UINT32_C(1) << i;
            wanted++;
        }
    }
    timeout = some_timeout(wanted);
    say(" select max %d timeout %lld", max, (long long)timeout);
    began = now();
    count = once_in(8) ? CALL(sel_pselect(selector, events, max, timeout, NULL))
                       : CALL(sel_select(selector, events, max, timeout));
    say(" -> %d:", count);
    if (count < 0 || count > max)
        fail("it returns %d (%s)", count, count < 0 ? sel_strerror(count) : "more than max");
    for (int i = 0; i < count; i++) {
        int number = check_event(&events[i]);
        if (reported & UINT32_C(1) << number)
            fail("%d is reported twice", world.fd[number]);
        reported |= UINT32_C(1) << number;
    }
    /* A wake-up takes the room of an event or ends it early. */
    if (model.wake == SLEEPS) {
        if (count == 0 && timeout > 0 && now() - began < timeout)
            fail("it has not waited for the whole time");
        if (wanted > 0 && count == 0)
            fail("it does not report what is ready");
        /* Stale attachments of closed files take room, too. */
        bool had_room = max == ROOMY || (count < max && !model.may_be_rebuilt);
        for (int i = 0; i < NUMBERS && had_room; i++)
            if (required & ~reported & UINT32_C(1) << i)
                fail("%d is ready and not reported", world.fd[i]);
    }
    for (int i = 0; i < NUMBERS; i++)
        if (reported & UINT32_C(1) << i)
            model_reported(i);
    model_selected(count, max);
    return reported;
}

static int some_max(void) {
    return once_in(3) ? ROOMY : 1 + (int)(once_in(2) ? pick(3) : pick(NUMBERS));
}

bool do_select(void) {
    select_some(some_max());
    return true;
}

static bool is_disarmed(uint32_t numbers) {
    for (int i = 0; i < NUMBERS; i++)
        if (numbers & UINT32_C(1) << i && model.registrations[i].disarmed)
            return true;
    return false;
}

/* No descriptor starves, but the order may restart when one leaves it. */
bool do_sweep(void) {
    int max = 1 + (int)pick(3);
    uint32_t reported = 0;
    bool may_begin_anew = false;
    say(" sweep max %d", max);
    hush(true);
    for (int i = 0; i < 2 * NUMBERS + 8; i++) {
        uint32_t now = select_some(max);
        reported |= now;
        may_begin_anew |= model.may_be_rebuilt;
        if (is_disarmed(now))
            i = 0;
    }
    hush(false);
    for (int i = 0; i < NUMBERS && !may_begin_anew; i++)
        if (model_requires(i) && !(reported & UINT32_C(1) << i))
            fail("%d is passed over", world.fd[i]);
    return true;
}

/* Sees all that is ready, and all that is registered. */
void look(void) {
    if (model.wake != SLEEPS)
        select_some(ROOMY);
    select_some(ROOMY);
    do_get_map();
}

/* Looks at the selector's own descriptor. */
void check_own(void) {
    struct pollfd entry = {life.own, POLLIN, 0};
    bool is_readable;
    if (life.own == NONE)
        return;
    if (poll(&entry, 1, 0) < 0 || (entry.revents & ~POLLIN) != 0)
        fail("poll says 0x%x of the selector", (unsigned)entry.revents);
    is_readable = entry.revents & POLLIN;
    if (is_readable ? !model_allows_readable() : model_requires_readable())
        fail("the selector's descriptor is %sreadable", is_readable ? "" : "not ");
}

bool do_inner_select(void) {
    int number = some(is_open);
    sel_event event;
    if (number == NONE || world_file(number)->kind != SELECTOR)
        return false;
    say_number("select on", number);
    expect(CALL(sel_select(world_file(number)->inner, &event, 1, 0)),
           world_file(number)->bytes > 0);
    return true;
}
