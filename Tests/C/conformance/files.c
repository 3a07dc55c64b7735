/*
 * files.c - proves the behaviour of regular files, directories and other special files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "helpers.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* A closed descriptor is watched by its number until that refers to a file that can be watched. */
static void closed_number_comes_back(sel_selector *selector) {
    sel_event event;
    int fd = watch(selector, make_event(), SEL_READ);
    CHECK(drop(fd));
    OK(sel_modify(selector, fd, SEL_READ | SEL_PRIORITY, NULL));
    CHECK(sees_at_least(selector, fd, SEL_READ | SEL_PRIORITY, SEL_INVALID));
    EQUAL(make_timer(30 * MS), fd);
    EQUAL(sel_select(selector, &event, 1, SEL_FOREVER), 1);
    EQUAL(event.key.fd, fd);
    EQUAL(event.events, SEL_READ);
    EQUAL(event.detail, 0);
}

/* poll(2) then accepts no descriptor; if the backend needs it, select returns the error. */
static void file_is_ready_below_any_limit(sel_selector *selector) {
    int fd = watch(selector, make_file(), SEL_READ),
        closed = watch(selector, make_file(), SEL_READ);
    const sel_event *event;
    sel_event events[8];
    int result;
    CHECK(drop(closed) && set_limit(0));
    for (int i = 0; i < 2; i++) {
        result = sel_select(selector, events, 8, ENOUGH);
        if (result == -EINVAL && !(test.capabilities & SEL_CAN_FILENO)) {
            CHECK(strstr(sel_last_error(), "RLIMIT_NOFILE") != NULL);
            continue;
        }
        EQUAL(result, 2);
        event = find(events, result, fd);
        CHECK(event != NULL && event->events == SEL_READ && event->detail == 0);
        event = find(events, result, closed);
        CHECK(event != NULL && event->detail == SEL_INVALID);
    }
    CHECK(setrlimit(RLIMIT_NOFILE, &test.limit) == 0);
    OK(sel_unregister(selector, closed, NULL));
    CHECK(sees(selector, fd, SEL_READ, 0));
}

static void named_file_is_refused(sel_selector *selector) {
    int fd = own(open("/", O_PATH | O_CLOEXEC));
    CHECK(fd >= 0);
    REFUSED(sel_register(selector, fd, SEL_READ, NULL), -EBADF);
    REFUSED(sel_get_key(selector, fd, &(sel_key){0}), -ENOENT);
}

/*
 * A ring of perf_event_open(2): polling it clears its readiness, and a change of the thread's name
 * adds a record. -1: not available here.
 */
static int make_ring(void **pages, size_t size) {
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof attributes,
        .config = PERF_COUNT_SW_DUMMY,
        .comm = 1,
        .watermark = 1,
        .wakeup_watermark = 1,
    };
    int fd = own((int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
    *pages = fd < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return *pages == MAP_FAILED ? -1 : fd;
}

/* Changes this thread's name and restores it, which adds records to the ring. */
static bool tell_ring(void) {
    char name[16];
    return prctl(PR_GET_NAME, name) == 0 && prctl(PR_SET_NAME, "renamed") == 0 &&
           prctl(PR_SET_NAME, name) == 0;
}

static void what_is_told_once_is_delivered(sel_selector *selector) {
    size_t size = 17 * (size_t)sysconf(_SC_PAGESIZE);
    sel_event event;
    void *pages;
    int ring = make_ring(&pages, size);
    if (ring < 0)
        SKIP("this system has no perf ring to be had");
    OK(sel_register(selector, ring, SEL_READ, NULL));
    CHECK(look(selector) >= 0); /* the ring may have been ready before */
    for (int i = 0; i < 3; i++) {
        CHECK(tell_ring());
        EQUAL(sel_select(selector, &event, 1, SECOND), 1);
        EQUAL(event.key.fd, ring);
        CHECK(event.events == SEL_READ);
    }
    OK(sel_unregister(selector, ring, NULL));
    munmap(pages, size);
}

/* A plug-in should do so, too, but its manual does not require it. */
static void what_is_told_once_waits_for_room(sel_selector *selector) {
    size_t size = 17 * (size_t)sysconf(_SC_PAGESIZE);
    sel_event event;
    void *pages;
    int ring, ready;
    if (is_plugin(test.backend))
        SKIP("it is a plug-in");
    ring = make_ring(&pages, size);
    if (ring < 0)
        SKIP("this system has no perf ring to be had");
    OK(sel_register(selector, ring, SEL_READ | SEL_PRIORITY, NULL));
    CHECK(look(selector) >= 0); /* the ring may have been ready before */
    ready = watch(selector, make_ready_event(), SEL_READ);
    for (int i = 0; i < 3; i++) {
        int tries = 10;
        CHECK(tell_ring());
        do {
            EQUAL(sel_select(selector, &event, 1, SECOND), 1);
            CHECK(event.key.fd == ring || event.key.fd == ready);
        } while (event.key.fd != ring && --tries > 0);
        EQUAL(event.key.fd, ring);
        EQUAL(event.events, SEL_READ);
    }
    OK(sel_unregister(selector, ring, NULL));
    munmap(pages, size);
}

/* It is reserved, and only its ends are touched. */
static void room_may_have_any_size(sel_selector *selector) {
    const int sizes[] = {1000000, 178956971, INT_MAX};
    if (is_under_valgrind())
        SKIP("valgrind takes minutes for that much memory");
    int fd = watch(selector, make_ready_event(), SEL_READ);
    for (int i = 0; i < LENGTH(sizes); i++) {
        if ((size_t)sizes[i] > PTRDIFF_MAX / sizeof(sel_event))
            break; /* with 32 bits no array is that long */
        size_t size = (size_t)sizes[i] * sizeof(sel_event);
        sel_event *events = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        int found[3], first;
        if (events == MAP_FAILED)
            SKIP("there is no address space for that many events");
        found[0] = sel_select(selector, events, sizes[i], SEL_FOREVER);
        found[1] = sel_select(selector, events, sizes[i], SECOND);
        found[2] = sel_select(selector, events, sizes[i], 0);
        first = events[0].key.fd;
        munmap(events, size);
        CHECK(found[0] == 1 && found[1] == 1 && found[2] == 1);
        EQUAL(first, fd);
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
    FACT("a closed number that comes back ends a wait", closed_number_comes_back),
    FACT("a file is ready below any limit of descriptors", file_is_ready_below_any_limit),
    FACT("a file that is only named is refused", named_file_is_refused),
    FACT("what a file tells once is delivered", what_is_told_once_is_delivered),
    FACT("what a file tells once waits for room", what_is_told_once_waits_for_room),
    FACT("there may be room for any number of events", room_may_have_any_size),
    END_OF_FACTS,
};
