/*
 * handover.c - a typical program in which ThreadSanitizer, MemorySanitizer, helgrind and drd must find
 * nothing: what one thread writes before it registers, modifies or wakes, another may read after its
 * wait, and what the library writes may be read.
 *
 *     handover BACKEND
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pthread.h>
#include <selectors.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum { ROUNDS = 50 };

/* The one thread waits with the first selector, the other with the second. */
static sel_selector *requests, *answers;
static int64_t timeout;
static int ready, answer;

static int check(int result) {
    if (result >= 0)
        return result;
    fprintf(stderr, "handover: %s\n", sel_last_error());
    exit(2);
}

static void *serve(void *unused) {
    (void)unused;
    for (int seen = 0; seen < ROUNDS;) {
        sel_event event;
        if (check(sel_select(requests, &event, 1, timeout)) == 0)
            continue;
        seen = *(int *)event.key.data;
        free(event.key.data);
        if (seen % 2 == 0)
            check(sel_unregister(requests, ready, NULL));
        answer = seen;
        check(sel_wakeup(answers));
    }
    return NULL;
}

/* Hands a number over, and waits for the answer. */
static void ask(int number) {
    int *data = malloc(sizeof *data);
    if (data == NULL)
        exit(2);
    *data = number;
    if (number % 2 == 1)
        check(sel_register(requests, ready, SEL_READ | SEL_ONESHOT, data));
    else
        check(sel_modify(requests, ready, SEL_READ | SEL_ONESHOT, data));
    do {
        sel_event event;
        check(sel_select(answers, &event, 1, timeout));
    } while (answer != number);
}

static void hand_over(const char *backend) {
    pthread_t thread;
    answer = 0;
    check(sel_open(&requests, backend));
    check(sel_open(&answers, backend));
    if (pthread_create(&thread, NULL, serve, NULL) != 0)
        exit(2);
    for (int number = 1; number <= ROUNDS; number++)
        ask(number);
    pthread_join(thread, NULL);
    check(sel_close(requests));
    check(sel_close(answers));
}

static void *look(void *selector) {
    sel_event event;
    for (int i = 0; i < ROUNDS; i++)
        check(sel_select(selector, &event, 1, 0));
    return NULL;
}

/* Two threads wait with one selector. */
static void take_turns(const char *backend) {
    sel_selector *selector;
    pthread_t thread;
    check(sel_open(&selector, backend));
    check(sel_register(selector, ready, SEL_READ, NULL));
    if (pthread_create(&thread, NULL, look, selector) != 0)
        exit(2);
    look(selector);
    pthread_join(thread, NULL);
    check(sel_close(selector));
}

/* Reads all that the library writes for a caller beside events. */
static void read_all(const char *backend) {
    sel_selector *selector;
    sel_key key, old, keys[2];
    sel_backend_info infos[8];
    check(sel_open(&selector, backend));
    check(sel_register(selector, ready, SEL_READ, &key));
    check(sel_get_key(selector, ready, &key));
    int count = check(sel_get_map(selector, keys, 2)), backends = check(sel_backends(infos, 8));
    check(sel_unregister(selector, ready, &old));
    if (count != 1 || key.fd != ready || keys[0].fd != ready || old.fd != ready || backends < 3 ||
        infos[2].name == NULL || sel_unregister(selector, ready, NULL) == 0 ||
        strstr(sel_last_error(), "descriptor") == NULL)
        exit(2);
    check(sel_close(selector));
}

int main(int argc, char **argv) {
    const int64_t timeouts[] = {SEL_FOREVER, 3600 * INT64_C(1000000000)};
    if (argc != 2) {
        fprintf(stderr, "usage: handover BACKEND\n");
        return 2;
    }
    ready = check(eventfd(1, EFD_CLOEXEC));
    for (int i = 0; i < 2; i++) {
        timeout = timeouts[i];
        hand_over(argv[1]);
    }
    take_turns(argv[1]);
    read_all(argv[1]);
    return 0;
}
