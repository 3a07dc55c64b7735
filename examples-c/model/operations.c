/*
 * operations.c - random operations, on a selector and its model alike.
 *
 * A sequence consists of lives: each has a selector of its own, and odds of its own for what is
 * done and what is watched, so that some things come up much more often than others.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "operations.h"

#include "model.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    LIFE = 2000,          /* operations */
    OF_A_CHILD = 40,      /* operations, at most */
    UNTOUCHED = 4711,     /* an errno that nobody sets */
    SHORT_NS = 20 * 1000, /* a timeout that is waited out */
};

static sel_selector *selector;

static struct life {
    int own;           /* the selector's descriptor, or NONE */
    unsigned modes;    /* a delivery mode comes once in so many times; 0: never */
    unsigned priority; /* likewise */
    bool is_tidy;      /* what is closed was unregistered before */
    bool is_child;
    uintptr_t data; /* the last one that was registered */
} life;

/* Calls the library, which leaves errno alone. */
#define CALL(call) (errno = UNTOUCHED, called(#call, call))

static int called(const char *call, int result) {
    if (errno != UNTOUCHED)
        fail("errno has become %d (%s) by %s", errno, strerror(errno), call);
    return result;
}

static void expect(int got, int wanted) {
    say(" -> %d", got);
    if (got != wanted)
        fail("it returns %d (%s) instead of %d (%s)", got, got < 0 ? sel_strerror(got) : "", wanted,
             wanted < 0 ? sel_strerror(wanted) : "");
}

/* Choices. */

static bool is_open(int number) {
    return world.file[number] != NONE;
}

static bool is_closed(int number) {
    return !is_open(number);
}

static bool is_registered(int number) {
    return model_find(number) != NULL;
}

static bool is_unregistered(int number) {
    return is_open(number) && !is_registered(number);
}

static bool may_be_changed(int number) {
    return is_open(number) && !world_file(number)->shared;
}

/* A selector's descriptor may be registered, and nothing else. */
static bool may_be_duplicated(int number) {
    return is_open(number) && world_file(number)->kind != SELECTOR;
}

static bool is_any(int number) {
    return number != NONE;
}

/* A random one of those that are such, or NONE. */
static int some(bool (*is_such)(int)) {
    int such[NUMBERS], count = 0;
    for (int i = 0; i < NUMBERS; i++)
        if (is_such(i))
            such[count++] = i;
    return count == 0 ? NONE : such[pick((unsigned)count)];
}

/* Mostly one of those, sometimes any, for which the call may be refused. */
static int mostly(bool (*is_such)(int)) {
    int number = once_in(8) ? NONE : some(is_such);
    return number == NONE ? some(is_any) : number;
}

static uint32_t some_events(void) {
    uint32_t events = 1 + pick(3);
    if (life.priority > 0 && once_in(life.priority))
        events = once_in(2) ? SEL_PRIORITY : events | SEL_PRIORITY;
    if (life.modes > 0 && once_in(life.modes))
        events |= SEL_ONESHOT;
    if (life.modes > 0 && once_in(life.modes) && model.capabilities & SEL_CAN_EDGE)
        events |= SEL_EDGE;
    if (life.modes > 0 && once_in(life.modes) && model.capabilities & SEL_CAN_EXCLUSIVE)
        events = (events & ~SEL_PRIORITY) | SEL_EXCLUSIVE;
    return events & WAITABLE ? events : events | SEL_READ;
}

static void *some_data(void) {
    return (void *)++life.data;
}

/* Words. */

static void say_mask(uint32_t mask) {
    static const struct {
        uint32_t bit;
        const char *name;
    } bits[] = {
        {SEL_READ, "read"},       {SEL_WRITE, "write"},
        {SEL_PRIORITY, "prio"},   {SEL_EDGE, "edge"},
        {SEL_ONESHOT, "oneshot"}, {SEL_EXCLUSIVE, "exclusive"},
        {SEL_HANGUP, "hangup"},   {SEL_READ_HANGUP, "read-hangup"},
        {SEL_ERROR, "error"},     {SEL_INVALID, "invalid"},
    };
    const char *separator = " ";
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        if (mask & bits[i].bit) {
            say("%s%s", separator, bits[i].name);
            separator = "|";
        }
    }
}

static void say_number(const char *verb, int number) {
    say(" %s %d (%s)", verb, world.fd[number], world_name(number));
}

/* Registrations. */

static bool is_key(const sel_key *key, int number) {
    const struct registration *registration = model_find(number);
    return registration != NULL && key->fd == world.fd[number] &&
           key->events == registration->events && key->data == registration->data;
}

static void unregister(int number) {
    sel_key old;
    int wanted = is_registered(number) ? 0 : -ENOENT;
    say_number("unregister", number);
    expect(CALL(sel_unregister(selector, world.fd[number], &old)), wanted);
    if (wanted != 0)
        return;
    if (!is_key(&old, number))
        fail("the old key is wrong");
    model_unregister(number);
}

static bool do_register(void) {
    int number = mostly(is_unregistered), wanted = 0;
    uint32_t events = some_events();
    void *data = some_data();
    const struct file *file = world_file(number);
    if (is_registered(number))
        wanted = -EEXIST;
    else if (file == NULL)
        wanted = -EBADF;
    else if (file->kind == SELECTOR && events & SEL_EXCLUSIVE)
        wanted = -EINVAL;
    /* Whether one that fails has the child's set built is left open: none is tried before that. */
    if (wanted != 0 && model.is_inherited)
        return false;
    say_number("register", number);
    say_mask(events);
    expect(CALL(sel_register(selector, world.fd[number], events, data)), wanted);
    if (wanted == 0)
        model_register(number, events, data);
    return true;
}

static bool do_modify(void) {
    int number = mostly(is_registered);
    const struct registration *registration = model_find(number);
    uint32_t events = registration != NULL && once_in(3) ? registration->events : some_events();
    void *data = some_data();
    say_number("modify", number);
    say_mask(events);
    expect(CALL(sel_modify(selector, world.fd[number], events, data)),
           registration != NULL ? 0 : -ENOENT);
    if (registration != NULL)
        model_modify(number, events, data);
    return true;
}

static bool do_unregister(void) {
    unregister(mostly(is_registered));
    return true;
}

static bool do_get_key(void) {
    int number = mostly(is_registered);
    sel_key key;
    say_number("get_key", number);
    expect(CALL(sel_get_key(selector, world.fd[number], &key)),
           is_registered(number) ? 0 : -ENOENT);
    if (is_registered(number) && !is_key(&key, number))
        fail("the key is wrong");
    return true;
}

static bool do_get_map(void) {
    sel_key keys[NUMBERS];
    unsigned last = 0;
    int max = once_in(2) ? NUMBERS : (int)pick(NUMBERS);
    say(" get_map max %d", max);
    expect(CALL(sel_get_map(selector, keys, max)), model_count());
    for (int i = 0; i < max && i < model_count(); i++) {
        int number = world_number(keys[i].fd);
        if (number == NONE || !is_key(&keys[i], number))
            fail("key %d of the map is wrong", i);
        if (model_find(number)->place <= last)
            fail("key %d of the map is not where it belongs", i);
        last = model_find(number)->place;
    }
    return true;
}

/* Calls that are refused for their arguments. */
static bool do_nonsense(void) {
    static const uint32_t masks[] = {0,
                                     0x8,
                                     SEL_READ | 0x100,
                                     SEL_EDGE,
                                     SEL_ONESHOT | SEL_EXCLUSIVE,
                                     SEL_PRIORITY | SEL_EXCLUSIVE};
    int number = some(is_any), fd = world.fd[number];
    uint32_t mask = masks[pick(sizeof masks / sizeof *masks)];
    uint32_t mode = once_in(2) ? SEL_EDGE : SEL_EXCLUSIVE;
    uint32_t ability = mode == SEL_EDGE ? SEL_CAN_EDGE : SEL_CAN_EXCLUSIVE;
    sel_event event;
    sel_key key;
    say(" nonsense");
    switch (pick(8)) {
    case 0: expect(CALL(sel_register(selector, fd, mask, NULL)), -EINVAL); break;
    case 1: expect(CALL(sel_modify(selector, fd, mask, NULL)), -EINVAL); break;
    case 2: expect(CALL(sel_register(selector, -1, SEL_READ, NULL)), -EINVAL); break;
    case 3: expect(CALL(sel_unregister(selector, -1, NULL)), -EINVAL); break;
    case 4: expect(CALL(sel_get_key(selector, -1, &key)), -EINVAL); break;
    case 5: expect(CALL(sel_get_map(selector, NULL, 1)), -EINVAL); break;
    case 6: expect(CALL(sel_select(selector, &event, -(int)pick(2), 0)), -EINVAL); break;
    default:
        if (!(model.capabilities & ability) && !is_registered(number))
            expect(CALL(sel_register(selector, fd, SEL_READ | mode, NULL)), -ENOTSUP);
        else if (!(model.capabilities & ability))
            expect(CALL(sel_modify(selector, fd, SEL_READ | mode, NULL)), -ENOTSUP);
    }
    return true;
}

/* Numbers and files. */

/* Before a number is given away. */
static void tidy(int number) {
    if (life.is_tidy && is_registered(number))
        unregister(number);
}

static void close_number(int number) {
    tidy(number);
    say_number("close", number);
    model_renamed(number, world_close(number));
}

static void make(int number) {
    enum kind kind = pick(KINDS);
    int other = NONE;
    world.file[number] = 0; /* it is taken */
    if (world_is_pair(kind))
        other = some(is_closed);
    world.file[number] = NONE;
    /* Selectors take long to make. */
    if ((world_is_pair(kind) && other == NONE) || (kind == SELECTOR && !once_in(4)) ||
        !world_can_make(kind, number))
        kind = EVENT;
    world_make(kind, number, other);
    say_number("make", number);
    model_renamed(number, NONE);
    if (other != NONE) {
        say(" and %d", world.fd[other]);
        model_renamed(other, NONE);
    }
}

static void duplicate(int from, int to) {
    tidy(to);
    say_number("duplicate", from);
    say(" as %d (%s)", world.fd[to], world_name(to));
    model_renamed(to, world_duplicate(from, to));
}

static bool do_make(void) {
    int number = some(is_closed);
    if (number == NONE)
        return false;
    make(number);
    return true;
}

static bool do_close(void) {
    int number = some(is_open);
    if (number == NONE)
        return false;
    close_number(number);
    return true;
}

static bool do_duplicate(void) {
    int from = some(may_be_duplicated), to = some(is_any);
    if (from == NONE || (is_open(to) && !may_be_duplicated(to)))
        return false;
    duplicate(from, to);
    return true;
}

/* Gives a number to another file; it is unregistered before, in between, afterwards or not. */
static bool do_reuse(void) {
    unsigned when = pick(4);
    int from = some(may_be_duplicated), number = some(is_registered);
    if (number == NONE || is_closed(number))
        return false;
    if (when == 0)
        unregister(number);
    if (from != NONE && from != number && once_in(3) && may_be_duplicated(number)) {
        duplicate(from, number);
    } else {
        close_number(number);
        if (when == 1)
            unregister(number);
        if (from != NONE && from != number && once_in(2))
            duplicate(from, number);
        else
            make(number);
    }
    if (when == 2)
        unregister(number);
    return true;
}

static bool do_write(void) {
    int number = some(may_be_changed);
    bool all = once_in(4);
    if (number == NONE)
        return false;
    say_number(all ? "write all to" : "write to", number);
    world_write(number, all);
    return true;
}

static bool do_read(void) {
    int number = some(may_be_changed);
    bool all = !once_in(3);
    if (number == NONE)
        return false;
    say_number(all ? "read all from" : "read from", number);
    world_read(number, all);
    return true;
}

static bool do_shutdown(void) {
    static const char *const names[] = {
        [SHUT_RD] = "shut reading of", [SHUT_WR] = "shut writing of", [SHUT_RDWR] = "shut"};
    int number = some(may_be_changed), how = (int)pick(3);
    if (number == NONE || world_file(number)->kind != SOCKET)
        return false;
    say_number(names[how], number);
    world_shutdown(number, how);
    return true;
}

/* Waiting. */

static bool do_wakeup(void) {
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
    count = CALL(sel_select(selector, events, max, timeout));
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
        /* What is left of closed files takes room, too. */
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

static bool do_select(void) {
    select_some(some_max());
    return true;
}

static bool is_disarmed(uint32_t numbers) {
    for (int i = 0; i < NUMBERS; i++)
        if (numbers & UINT32_C(1) << i && model.registrations[i].disarmed)
            return true;
    return false;
}

/* Nobody is passed over for ever, but the order may begin anew when something leaves it. */
static bool do_sweep(void) {
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
static void look(void) {
    if (model.wake != SLEEPS)
        select_some(ROOMY);
    select_some(ROOMY);
    do_get_map();
}

/* Looks at the selector's own descriptor. */
static void check_own(void) {
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

static bool do_inner_select(void) {
    int number = some(is_open);
    sel_event event;
    if (number == NONE || world_file(number)->kind != SELECTOR)
        return false;
    say_number("select on", number);
    expect(CALL(sel_select(world_file(number)->inner, &event, 1, 0)),
           world_file(number)->bytes > 0);
    return true;
}

/* Lives. */

static void perform_one(void);

/* The child goes on with its copy, and the parent notices nothing. */
static bool do_fork(void) {
    int status;
    pid_t child;
    if (life.is_child)
        return false;
    say(" fork");
    fflush(NULL);
    child = fork();
    if (child < 0)
        fail("fork: %s", strerror(errno));
    if (child == 0) {
        begin_child();
        life.is_child = true;
        model_inherit();
        for (int i = 1 + (int)pick(OF_A_CHILD); i > 0; i--) {
            begin_operation();
            perform_one();
        }
        look();
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
        fail("its child has failed");
    look();
    return true;
}

enum { OPERATIONS = 18 };

static const struct operation {
    bool (*perform)(void); /* false: there is nothing that it can be done with */
    unsigned weight;
} table[OPERATIONS] = {
    {do_register, 120}, {do_modify, 120},     {do_unregister, 50}, {do_get_key, 20},
    {do_get_map, 20},   {do_nonsense, 10},    {do_make, 100},      {do_close, 40},
    {do_duplicate, 60}, {do_reuse, 60},       {do_write, 150},     {do_read, 120},
    {do_shutdown, 20},  {do_wakeup, 15},      {do_select, 300},    {do_sweep, 5},
    {do_fork, 1},       {do_inner_select, 3},
};

/* What comes up how often in this life. */
static unsigned weights[OPERATIONS];

static void begin_life(const char *backend, uint32_t capabilities) {
    bool is_nested = capabilities & SEL_CAN_FILENO && once_in(3);
    say(" open %s%s", backend, is_nested ? ", ask for its descriptor" : "");
    selector = world_open_selector(backend, is_nested);
    model_begin(backend, capabilities, is_nested);
    life = (struct life){
        .own = is_nested ? sel_fileno(selector) : NONE,
        .modes = once_in(2) ? 0 : 1 + pick(6),
        .priority = once_in(2) ? 0 : 2 + pick(8),
        .is_tidy = once_in(4),
    };
    for (int i = 0; i < OPERATIONS; i++)
        weights[i] = table[i].weight * (table[i].perform == do_select ? 1 : pick(4)) / 2;
}

static void end_life(void) {
    say(" close all");
    expect(CALL(sel_close(selector)), 0);
    for (int i = 0; i < NUMBERS; i++)
        if (is_open(i))
            world_close(i);
}

static void perform_one(void) {
    unsigned sum = 0, choice;
    int i;
    for (i = 0; i < OPERATIONS; i++)
        sum += weights[i];
    do {
        choice = pick(sum);
        for (i = 0; choice >= weights[i]; i++)
            choice -= weights[i];
    } while (!table[i].perform());
    model_observe();
    world_check();
    check_own();
}

void perform(const char *backend, uint32_t capabilities, uint64_t operations) {
    int before = 0;
    for (uint64_t i = 1; i <= operations; i++) {
        begin_operation();
        if (i % LIFE == 1) {
            before = world_descriptors();
            begin_life(backend, capabilities);
        }
        perform_one();
        if (i % LIFE == 0 || i == operations) {
            end_life();
            if (world_descriptors() != before)
                fail("%d descriptors were open before, %d are now", before, world_descriptors());
        }
    }
}
