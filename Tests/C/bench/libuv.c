/*
 * libuv: one uv_poll_t per descriptor. A closed handle is freed in the next iteration of the loop.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <uv.h>

#include "workloads/contestant.h"

_Static_assert(BENCH_READ == (int)UV_READABLE && BENCH_WRITE == (int)UV_WRITABLE,
               "the same values");

static uv_loop_t loop;
static uv_async_t wake;
static uv_poll_t **watches; /* of each descriptor */
static size_t room;

static void check(int result) {
    if (result < 0)
        die(uv_strerror(result));
}

static void ready(uv_poll_t *watch, int status, int events) {
    check(status);
    on_event(watch->data, (unsigned)events);
}

static void woken(uv_async_t *unused) {
    (void)unused;
}

static void free_watch(uv_handle_t *watch) {
    free(watch);
}

static void close_handle(uv_handle_t *handle, void *unused) {
    (void)unused;
    uv_close(handle, handle->type == UV_POLL ? free_watch : NULL);
}

static void open_set(const char *argument, bool threads) {
    (void)argument;
    check(uv_loop_init(&loop));
    if (threads)
        check(uv_async_init(&loop, &wake, woken));
}

static void close_set(void) {
    uv_walk(&loop, close_handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    check(uv_loop_close(&loop));
}

static void add_fd(int fd, unsigned events, void *data) {
    watches = grow(watches, &room, (size_t)fd, sizeof(uv_poll_t *));
    if ((watches[fd] = malloc(sizeof(uv_poll_t))) == NULL)
        die_errno("memory");
    check(uv_poll_init(&loop, watches[fd], fd));
    watches[fd]->data = data;
    check(uv_poll_start(watches[fd], (int)events, ready));
}

static void modify_fd(int fd, unsigned events, void *data) {
    watches[fd]->data = data;
    check(uv_poll_start(watches[fd], (int)events, ready));
}

static void remove_fd(int fd) {
    close_handle((uv_handle_t *)watches[fd], NULL);
    watches[fd] = NULL;
}

static void wait_for_events(void) {
    uv_run(&loop, UV_RUN_ONCE);
}

static void wake_up(void) {
    check(uv_async_send(&wake));
}

int main(int argc, char **argv) {
    static const struct contestant libuv = {open_set,  close_set,       add_fd,  modify_fd,
                                            remove_fd, wait_for_events, wake_up, NULL};
    return compete(&libuv, argc, argv);
}
