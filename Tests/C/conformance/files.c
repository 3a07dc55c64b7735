/*
 * files.c - proves that regular files, directories and the like are always ready.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <fcntl.h>
#include <string.h>

static void files_are_always_ready(sel_selector *selector) {
    const int fds[] = {make_file(), own(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
                       own(open("/dev/null", O_RDWR | O_CLOEXEC))};
    for (int i = 0; i < LENGTH(fds); i++) {
        int fd = fds[i];
        OK(sel_register(selector, fd, SEL_READ, NULL));
        CHECK(sees(selector, fd, SEL_READ, 0));
        CHECK(sees(selector, fd, SEL_READ, 0));
        OK(sel_modify(selector, fd, SEL_WRITE, NULL));
        CHECK(sees(selector, fd, SEL_WRITE, 0));
        OK(sel_modify(selector, fd, BOTH, &fd));
        CHECK(sees(selector, fd, BOTH, 0));
        CHECK(key_is(selector, fd, BOTH, &fd));
        OK(sel_unregister(selector, fd, NULL));
        CHECK(quiet(selector));
    }
}

static void file_ends_any_wait(sel_selector *selector) {
    const int64_t timeouts[] = {0, INT64_MAX, SEL_FOREVER};
    int file = make_file();
    int64_t start = now();
    sel_event event;
    watch(selector, make_event(), SEL_READ);
    OK(sel_register(selector, file, SEL_READ, NULL));
    for (int i = 0; i < LENGTH(timeouts); i++) {
        EQUAL(sel_select(selector, &event, 1, timeouts[i]), 1);
        EQUAL(event.key.fd, file);
    }
    CHECK(now() - start < ENOUGH);
    OK(sel_unregister(selector, file, NULL));
    CHECK(rests(selector, 50 * MS));
}

static void files_and_sockets_starve_no_other(sel_selector *selector) {
    int seen[6];
    sel_event events[8];
    for (int i = 0; i < 6; i++)
        OK(sel_register(selector, i < 3 ? make_file() : make_event(), SEL_WRITE, &seen[i]));
    EQUAL(sel_select(selector, events, 8, ENOUGH), 6);
    for (int max = 1; max <= 3; max++) {
        memset(seen, 0, sizeof seen);
        for (int i = 0; i < 24; i++) {
            int count = sel_select(selector, events, max, ENOUGH);
            CHECK(count >= 1 && count <= max);
            while (count-- > 0)
                ++*(int *)events[count].key.data;
        }
        for (int i = 0; i < 6; i++)
            CHECK(seen[i] > 0);
    }
}

static void closed_file_is_invalid(sel_selector *selector) {
    int file = watch(selector, make_file(), SEL_READ);
    int ready = watch(selector, make_ready_event(), SEL_READ);
    CHECK(drop(file));
    for (int i = 0; i < 3; i++)
        CHECK(sees_invalid_beside(selector, file, SEL_READ, ready));
    OK(sel_modify(selector, file, BOTH, NULL));
    CHECK(sees_invalid_beside(selector, file, BOTH, ready));
    OK(sel_unregister(selector, file, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
}

static void number_changes_between_file_and_socket(sel_selector *selector) {
    int file = watch(selector, make_file(), SEL_READ);
    CHECK(drop(file));
    EQUAL(make_event(), file);
    OK(sel_unregister(selector, file, NULL));
    OK(sel_register(selector, file, SEL_READ, NULL));
    CHECK(rests(selector, 50 * MS));
    OK(sel_unregister(selector, file, NULL));
    CHECK(drop(file));
    EQUAL(make_file(), file);
    OK(sel_register(selector, file, SEL_READ, NULL));
    CHECK(sees(selector, file, SEL_READ, 0));
}

static void number_of_a_file_comes_to_another_unnoticed(sel_selector *selector) {
    sel_event got[1];
    int files[3], ready;
    for (int i = 0; i < 3; i++)
        files[i] = watch(selector, make_file(), SEL_PRIORITY);
    ready = watch(selector, make_ready_event(), SEL_READ);
    EQUAL(sel_select(selector, got, 1, SEL_FOREVER), 1);
    EQUAL(got[0].key.fd, ready);
    CHECK(take(ready));
    for (int i = 0; i < 3; i++) {
        CHECK(drop(files[i]));
        EQUAL(make_event(), files[i]);
    }
    CHECK(rests(selector, 50 * MS));
    for (int i = 0; i < 3; i++)
        OK(sel_modify(selector, files[i], SEL_WRITE, NULL));
    for (int i = 0; i < 3; i++) {
        CHECK(look(selector) == 3 - i);
        OK(sel_unregister(selector, files[i], NULL));
    }
}

const struct fact files_facts[] = {
    FACT("files are always ready", files_are_always_ready),
    FACT("a file ends any wait", file_ends_any_wait),
    FACT("files and sockets do not starve each other", files_and_sockets_starve_no_other),
    FACT("a file closed while registered is invalid", closed_file_is_invalid),
    FACT("a number changes between file and socket", number_changes_between_file_and_socket),
    FACT("a number of a file comes to another unnoticed",
         number_of_a_file_comes_to_another_unnoticed),
    END_OF_FACTS,
};
