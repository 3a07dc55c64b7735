/*
 * registration.c - proves what a selector registers, and what its map and keys contain.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

static void closed_descriptor_is_refused(sel_selector *selector) {
    sel_key key;
    int fd = make_event();
    CHECK(fd >= 0 && drop(fd));
    REFUSED(sel_register(selector, fd, SEL_READ, NULL), -EBADF);
    REFUSED(sel_get_key(selector, fd, &key), -ENOENT);
    REFUSED(sel_register(selector, INT_MAX, SEL_READ, NULL), -EBADF);
    EQUAL(sel_get_map(selector, NULL, 0), 0);
    CHECK(quiet(selector));
    EQUAL(make_event(), fd);
    OK(sel_register(selector, fd, SEL_WRITE, NULL));
    CHECK(sees(selector, fd, SEL_WRITE, 0));
}

static void registered_descriptor_is_refused(sel_selector *selector) {
    int data, other, event = make_event(), file = make_file();
    OK(sel_register(selector, event, SEL_WRITE, &data));
    OK(sel_register(selector, file, SEL_WRITE, &data));
    REFUSED(sel_register(selector, event, SEL_READ, &other), -EEXIST);
    REFUSED(sel_register(selector, file, SEL_READ, &other), -EEXIST);
    CHECK(key_is(selector, event, SEL_WRITE, &data));
    CHECK(key_is(selector, file, SEL_WRITE, &data));
    EQUAL(sel_get_map(selector, NULL, 0), 2);
    OK(sel_unregister(selector, file, NULL));
    CHECK(sees(selector, event, SEL_WRITE, 0));
}

static void unregistered_is_not_found(sel_selector *selector) {
    int fd = make_event();
    const int fds[] = {fd, fd + 1, 100000, INT_MAX};
    sel_key key, before;
    memset(&key, 0x55, sizeof key);
    before = key;
    for (int i = 0; i < LENGTH(fds); i++) {
        REFUSED(sel_modify(selector, fds[i], SEL_READ, NULL), -ENOENT);
        REFUSED(sel_unregister(selector, fds[i], &key), -ENOENT);
        REFUSED(sel_unregister(selector, fds[i], NULL), -ENOENT);
        REFUSED(sel_get_key(selector, fds[i], &key), -ENOENT);
    }
    CHECK(key.fd == before.fd && key.events == before.events && key.data == before.data);
    OK(sel_register(selector, fd, SEL_READ, NULL));
    OK(sel_unregister(selector, fd, NULL));
    REFUSED(sel_modify(selector, fd, SEL_READ, NULL), -ENOENT);
    REFUSED(sel_unregister(selector, fd, NULL), -ENOENT);
    REFUSED(sel_get_key(selector, fd, &key), -ENOENT);
}

static void key_comes_back(sel_selector *selector) {
    int data, other, fd = make_event();
    void *wild = (void *)~(uintptr_t)0;
    sel_key old;
    OK(sel_register(selector, fd, SEL_READ, &data));
    CHECK(key_is(selector, fd, SEL_READ, &data));
    OK(sel_modify(selector, fd, SEL_READ, &other));
    CHECK(key_is(selector, fd, SEL_READ, &other));
    OK(sel_modify(selector, fd, BOTH, wild));
    CHECK(key_is(selector, fd, BOTH, wild));
    OK(sel_unregister(selector, fd, &old));
    CHECK(old.fd == fd && old.events == BOTH && old.data == wild);
    OK(sel_register(selector, fd, SEL_WRITE, NULL));
    CHECK(key_is(selector, fd, SEL_WRITE, NULL));
    OK(sel_unregister(selector, fd, NULL));
}

static void map_is_in_order_of_registration(sel_selector *selector) {
    int a = make_event(), b = make_event(), c = make_file(), d = make_event();
    const int order[] = {d, a, c, b};
    for (int i = 0; i < LENGTH(order); i++)
        OK(sel_register(selector, order[i], SEL_READ, NULL));
    CHECK(map_is(selector, order, 4));
    OK(sel_unregister(selector, a, NULL));
    CHECK(map_is(selector, (int[]){d, c, b}, 3));
    OK(sel_modify(selector, d, BOTH, &a));
    CHECK(map_is(selector, (int[]){d, c, b}, 3));
    OK(sel_register(selector, a, SEL_READ, NULL));
    CHECK(map_is(selector, (int[]){d, c, b, a}, 4));
    OK(sel_unregister(selector, d, NULL));
    OK(sel_unregister(selector, a, NULL));
    OK(sel_register(selector, d, SEL_READ, NULL));
    CHECK(map_is(selector, (int[]){c, b, d}, 3));
    OK(sel_unregister(selector, b, NULL));
    OK(sel_unregister(selector, c, NULL));
    OK(sel_unregister(selector, d, NULL));
    CHECK(map_is(selector, NULL, 0));
}

static void map_is_cut_to_the_room(sel_selector *selector) {
    sel_key keys[3] = {{-1, 0, NULL}, {-1, 0, NULL}, {-1, 0, NULL}};
    int data, fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = make_event();
        OK(sel_register(selector, fds[i], SEL_READ, &data));
    }
    EQUAL(sel_get_map(selector, keys, 2), 3);
    CHECK(keys[0].fd == fds[0] && keys[0].events == SEL_READ && keys[0].data == &data);
    CHECK(keys[1].fd == fds[1] && keys[2].fd == -1);
    EQUAL(sel_get_map(selector, keys, 0), 3);
}

static void close_leaves_descriptors_open(sel_selector *selector) {
    int event = watch(selector, make_event(), BOTH), file = watch(selector, make_file(), BOTH);
    EQUAL(look(selector), 2);
    OK(close_selector(selector));
    CHECK(fcntl(event, F_GETFD) >= 0 && fcntl(file, F_GETFD) >= 0);
}

const struct fact registration_facts[] = {
    FACT("a closed descriptor is refused", closed_descriptor_is_refused),
    FACT("a registered descriptor is refused", registered_descriptor_is_refused),
    FACT("what is not registered is not found", unregistered_is_not_found),
    FACT("the key comes back", key_comes_back),
    FACT("the map is in the order of registration", map_is_in_order_of_registration),
    FACT("the map is cut to the room there is", map_is_cut_to_the_room),
    FACT("close leaves the registered ones open", close_leaves_descriptors_open),
    END_OF_FACTS,
};
