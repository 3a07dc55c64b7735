/*
 * files.c - operations that change which files the descriptors refer to, and the data in the files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "play.h"

#include <sys/socket.h>

/* Before a number is given away. A selector cannot be kept: it is closed with its descriptor. */
static void tidy(int number) {
    bool may_be_kept = is_closed(number) || world_file(number)->kind != SELECTOR;
    if (is_registered(number) &&
        (life.is_tidy || (model.holds_files && !(may_be_kept && world_keep(number)))))
        unregister(number);
}

static void close_number(int number) {
    tidy(number);
    say_number("close", number);
    model_renamed(number, world_close(number));
}

static void make(int number) {
    enum kind kind = pick(KINDS);
    int other = world_is_pair(kind) ? some_but(is_closed, number) : NONE;
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
    int ended = world_duplicate(from, to);
    if (from != to)
        model_renamed(to, ended);
}

bool do_make(void) {
    int number = some(is_closed);
    if (number == NONE)
        return false;
    make(number);
    return true;
}

bool do_close(void) {
    int number = some(is_open);
    if (number == NONE)
        return false;
    close_number(number);
    return true;
}

bool do_duplicate(void) {
    int from = some(may_be_duplicated), to = (int)pick(NUMBERS);
    if (from == NONE || (is_open(to) && !may_be_duplicated(to)))
        return false;
    duplicate(from, to);
    return true;
}

/* Gives a number to another file; it is unregistered before, in between, afterwards or not. */
bool do_reuse(void) {
    unsigned when = pick(4);
    int number = some(is_registered), from;
    if (number == NONE || is_closed(number))
        return false;
    from = some_but(may_be_duplicated, number);
    if (when == 0)
        unregister(number);
    if (from != NONE && once_in(3) && may_be_duplicated(number)) {
        duplicate(from, number);
    } else {
        close_number(number);
        if (when == 1)
            unregister(number);
        if (from != NONE && once_in(2))
            duplicate(from, number);
        else
            make(number);
    }
    if (when == 2)
        unregister(number);
    return true;
}

bool do_write(void) {
    int number = some(may_be_changed);
    bool all = once_in(4);
    if (number == NONE)
        return false;
    say_number(all ? "write all to" : "write to", number);
    world_write(number, all);
    return true;
}

bool do_read(void) {
    int number = some(may_be_changed);
    bool all = !once_in(3);
    if (number == NONE)
        return false;
    say_number(all ? "read all from" : "read from", number);
    world_read(number, all);
    return true;
}

bool do_shutdown(void) {
    static const char *const names[] = {
        [SHUT_RD] = "shut reading of", [SHUT_WR] = "shut writing of", [SHUT_RDWR] = "shut"};
    int number = some(may_be_changed), how = (int)pick(3);
    if (number == NONE || world_file(number)->kind != SOCKET)
        return false;
    say_number(names[how], number);
    world_shutdown(number, how);
    return true;
}
