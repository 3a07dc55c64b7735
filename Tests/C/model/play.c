/*
 * play.c - common code of the operations.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "play.h"

#include <string.h>

sel_selector *selector;
struct life life;

int called(const char *call, int result) {
    if (errno != UNTOUCHED)
        fail("errno has become %d (%s) by %s", errno, strerror(errno), call);
    return result;
}

void expect(int got, int wanted) {
    say(" -> %d", got);
    if (got != wanted)
        fail("it returns %d (%s) instead of %d (%s)", got, got < 0 ? sel_strerror(got) : "", wanted,
             wanted < 0 ? sel_strerror(wanted) : "");
}

bool is_open(int number) {
    return world.file[number] != NONE;
}

bool is_closed(int number) {
    return !is_open(number);
}

bool is_registered(int number) {
    return model_find(number) != NULL;
}

bool is_unregistered(int number) {
    return is_open(number) && !is_registered(number);
}

bool may_be_changed(int number) {
    return is_open(number) && !world_file(number)->shared;
}

/* A selector's descriptor may be registered, and nothing else. */
bool may_be_duplicated(int number) {
    return is_open(number) && world_file(number)->kind != SELECTOR;
}

int some_but(bool (*is_such)(int), int excluded) {
    int such[NUMBERS], count = 0;
    for (int i = 0; i < NUMBERS; i++)
        if (i != excluded && is_such(i))
            such[count++] = i;
    return count == 0 ? NONE : such[pick((unsigned)count)];
}

int some(bool (*is_such)(int)) {
    return some_but(is_such, NONE);
}

int mostly(bool (*is_such)(int)) {
    int number = once_in(8) ? NONE : some(is_such);
    return number == NONE ? (int)pick(NUMBERS) : number;
}

uint32_t some_events(void) {
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

void *some_data(void) {
    return (void *)++life.data;
}

void say_mask(uint32_t mask) {
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

void say_number(const char *verb, int number) {
    say(" %s %d (%s)", verb, world.fd[number], world_name(number));
}
