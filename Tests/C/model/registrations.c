/*
 * registrations.c - operations that change or query registrations.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "play.h"

bool is_key(const sel_key *key, int number) {
    const struct registration *registration = model_find(number);
    return registration != NULL && key->fd == world.fd[number] &&
           key->events == registration->events && key->data == registration->data;
}

void unregister(int number) {
    sel_key old;
    int wanted = is_registered(number) ? 0 : -ENOENT;
    say_number("unregister", number);
    expect(CALL(sel_unregister(selector, world.fd[number], &old)), wanted);
    if (wanted != 0)
        return;
    if (!is_key(&old, number))
        fail("the old key is wrong");
    model_unregister(number);
    for (int ended; world_let_go(number, &ended);)
        model_renamed(number, ended);
}

bool do_register(void) {
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

bool do_modify(void) {
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

bool do_unregister(void) {
    unregister(mostly(is_registered));
    return true;
}

bool do_get_key(void) {
    int number = mostly(is_registered);
    sel_key key;
    say_number("get_key", number);
    expect(CALL(sel_get_key(selector, world.fd[number], &key)),
           is_registered(number) ? 0 : -ENOENT);
    if (is_registered(number) && !is_key(&key, number))
        fail("the key is wrong");
    return true;
}

bool do_get_map(void) {
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
bool do_nonsense(void) {
    static const uint32_t masks[] = {0,
                                     0x8,
                                     SEL_READ | 0x100,
                                     SEL_EDGE,
                                     SEL_ONESHOT | SEL_EXCLUSIVE,
                                     SEL_PRIORITY | SEL_EXCLUSIVE};
    int number = (int)pick(NUMBERS), fd = world.fd[number];
    uint32_t mask = masks[pick(sizeof masks / sizeof *masks)];
    uint32_t mode = once_in(2) ? SEL_EDGE : SEL_EXCLUSIVE;
    uint32_t ability = mode == SEL_EDGE ? SEL_CAN_EDGE : SEL_CAN_EXCLUSIVE;
    sel_key *volatile no_keys = NULL; /* which the compiler cannot warn of */
    sel_event event;
    sel_key key;
    say(" nonsense");
    switch (pick(8)) {
    case 0: expect(CALL(sel_register(selector, fd, mask, NULL)), -EINVAL); break;
    case 1: expect(CALL(sel_modify(selector, fd, mask, NULL)), -EINVAL); break;
    case 2: expect(CALL(sel_register(selector, -1, SEL_READ, NULL)), -EINVAL); break;
    case 3: expect(CALL(sel_unregister(selector, -1, NULL)), -EINVAL); break;
    case 4: expect(CALL(sel_get_key(selector, -1, &key)), -EINVAL); break;
    case 5: expect(CALL(sel_get_map(selector, no_keys, 1)), -EINVAL); break;
    case 6: expect(CALL(sel_select(selector, &event, -(int)pick(2), 0)), -EINVAL); break;
    default:
        if (!(model.capabilities & ability) && !is_registered(number))
            expect(CALL(sel_register(selector, fd, SEL_READ | mode, NULL)), -ENOTSUP);
        else if (!(model.capabilities & ability))
            expect(CALL(sel_modify(selector, fd, SEL_READ | mode, NULL)), -ENOTSUP);
    }
    return true;
}
