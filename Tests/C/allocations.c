/*
 * Tests that nothing on the way of an event allocates, on every backend that can be used here.
 *
 *     allocations    prints TAP
 *
 * The program brings its own malloc and its relatives, which count and hand on to glibc's; the
 * dynamic linker makes the library use them, too. Not for valgrind, which brings its own as well.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "selectors.h"

/* What glibc calls its own. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

static volatile long allocations; /* calls that gave or moved a block */
static volatile long live;        /* blocks given and not yet taken back */

static void *counted(void *block) {
    allocations++;
    live += block != NULL;
    return block;
}

void *malloc(size_t size) {
    return counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size) {
    return counted(__libc_calloc(count, size));
}

void *aligned_alloc(size_t alignment, size_t size) {
    return counted(__libc_memalign(alignment, size));
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    void *block = counted(__libc_memalign(alignment, size));
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}

void *realloc(void *block, size_t size) {
    if (block == NULL)
        return malloc(size);
    void *moved = __libc_realloc(block, size);
    allocations++;
    live -= moved == NULL && size == 0; /* that freed it */
    return moved;
}

void free(void *block) {
    live -= block != NULL;
    __libc_free(block);
}

enum { FDS = 8, READY = 3, TIMES = 50 };

static sel_selector *selector;
static int fds[FDS]; /* the first READY of them are readable whenever that is wanted */
static sel_event events[FDS];

/* The operations under test: each gives 0 if all went as it should. */

static int select_at_once(int ready) {
    return sel_select(selector, events, FDS, 0) == ready ? 0 : -1;
}

static int select_for_1_ms(int ready) {
    return sel_select(selector, events, FDS, 1000000) == ready ? 0 : -1;
}

static int modify(int ready) {
    for (int i = 0; i < FDS; i++) {
        if (sel_modify(selector, fds[i], SEL_READ | SEL_WRITE, &fds[i]) != 0)
            return -1;
    }
    /* The kernel hears of it now, and an eventfd is always writable. */
    if (sel_select(selector, events, FDS, 0) != FDS)
        return -1;
    for (int i = 0; i < FDS; i++) {
        if (sel_modify(selector, fds[i], SEL_READ, NULL) != 0)
            return -1;
    }
    return select_at_once(ready);
}

static int register_again(int ready) {
    sel_key old;
    for (int i = 0; i < FDS; i++) {
        if (sel_unregister(selector, fds[i], &old) != 0)
            return -1;
    }
    for (int i = 0; i < FDS; i++) {
        if (sel_register(selector, fds[i], SEL_READ, NULL) != 0)
            return -1;
    }
    return select_at_once(ready);
}

static int wake_up(int ready) {
    (void)ready;
    if (sel_wakeup(selector) != 0 || sel_wakeup(selector) != 0)
        return -1;
    return sel_select(selector, events, FDS, SEL_FOREVER) == 0 ? 0 : -1;
}

static int look_up(int ready) {
    sel_key key, keys[FDS];
    (void)ready;
    if (sel_get_key(selector, fds[0], &key) != 0)
        return -1;
    return sel_get_map(selector, keys, FDS) == FDS ? 0 : -1;
}

static const struct {
    const char *name;
    int (*run)(int ready);
    int ready; /* how many descriptors are readable meanwhile */
} operations[] = {
    {"sel_select with none ready, timeout 0", select_at_once, 0},
    {"sel_select with none ready, timeout 1 ms", select_for_1_ms, 0},
    {"sel_select with some ready, timeout 0", select_at_once, READY},
    {"sel_select with some ready, timeout 1 ms", select_for_1_ms, READY},
    {"sel_modify, there and back", modify, READY},
    {"sel_unregister and sel_register of numbers seen before", register_again, READY},
    {"sel_wakeup, and the wait that it ends", wake_up, 0},
    {"sel_get_key and sel_get_map", look_up, 0},
};

enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static int test_number, failures;

static void report(int ok, const char *backend, const char *what, long count) {
    printf("%sok %d - %s: %s\n", ok ? "" : "not ", ++test_number, backend, what);
    if (!ok) {
        printf("# allocations or blocks counted: %ld\n# the last error: %s\n", count,
               sel_last_error());
        failures++;
    }
}

static void bail_out(const char *why) {
    printf("Bail out! %s\n", why);
    exit(1);
}

static void make_ready(int ready) {
    for (int i = 0; i < READY; i++) {
        eventfd_t value;
        /* Emptied first: it fails with EAGAIN if it is empty already. */
        if ((eventfd_read(fds[i], &value) < 0 && errno != EAGAIN) ||
            (i < ready && eventfd_write(fds[i], 1) < 0))
            bail_out("eventfd");
    }
}

static int open_and_register(const char *backend) {
    if (sel_open(&selector, backend) != 0)
        return -1;
    for (int i = 0; i < FDS; i++) {
        if (sel_register(selector, fds[i], SEL_READ, NULL) != 0)
            return -1;
    }
    return 0;
}

static void test_backend(const char *backend) {
    /* Not for its own sake: a counter that does not see this would see nothing at all. */
    long before = allocations;
    int opened = open_and_register(backend) == 0;
    report(opened && allocations > before, backend, "opening allocates, and is counted",
           allocations - before);
    if (!opened)
        bail_out(sel_last_error());

    for (int i = 0; i < OPERATIONS; i++) {
        make_ready(operations[i].ready);
        int failed = operations[i].run(operations[i].ready); /* to warm up */
        before = allocations;
        for (int time = 0; time < TIMES; time++)
            failed |= operations[i].run(operations[i].ready);
        long count = allocations - before;
        report(!failed && count == 0, backend, operations[i].name, count);
    }

    /* The second time, as the first may have set up what the library keeps for ever. */
    sel_close(selector);
    before = live;
    opened = open_and_register(backend) == 0 && select_at_once(0) == 0;
    sel_close(selector);
    report(opened && live == before, backend, "sel_close gives every block back", live - before);
}

int main(void) {
    sel_backend_info infos[32];
    int count = sel_backends(infos, 32);
    if (count < 1 || count > 32)
        bail_out("sel_backends");
    for (int i = 0; i < FDS; i++) {
        if ((fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
            bail_out("eventfd");
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    printf("TAP version 13\n");
    for (int i = 0; i < count; i++) {
        if (infos[i].reason == NULL)
            test_backend(infos[i].name);
        else
            printf("ok %d - %s # SKIP %s\n", ++test_number, infos[i].name, infos[i].reason);
    }
    printf("1..%d\n", test_number);
    for (int i = 0; i < FDS; i++)
        close(fds[i]);
    return failures == 0 ? 0 : 1;
}
