/*
 * timers.h - deadlines for many connections; copy it into your program.
 *
 * Put a struct timer into whatever has a deadline. The heap has the earliest on top, and hands back the
 * timer; it allocates nothing for each, only an array of pointers that grows.
 *
 *     struct timers timers = {0};
 *
 *     timers_set(&timers, &connection->timer, timers_now() + 5 * TIMERS_SECOND);
 *     for (;;) {
 *         int ready = sel_select(selector, events, 64, timers_timeout(&timers));
 *         ... serve the events ...
 *         while ((timer = timers_take(&timers, timers_now())) != NULL)
 *             ... its time has come ...
 *     }
 *
 * All times are in nanoseconds, by CLOCK_MONOTONIC. timers_set() and timers_remove() take O(log n). A
 * set of timers belongs to one thread.
 */
#ifndef TIMERS_H
#define TIMERS_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define TIMERS_SECOND INT64_C(1000000000)

/* All 0: it is not set. */
struct timer {
    int64_t deadline;
    size_t place; /* in the heap, from 1; 0: not set */
};

/* All 0: empty. The children of place n are at 2n and 2n + 1. */
struct timers {
    struct timer **heap; /* heap[0] is not used */
    size_t count, room;
};

/* The structure that a timer is a member of. */
#define TIMERS_OWNER(timer, type, member) ((type *)((char *)(timer)-offsetof(type, member)))

static inline int64_t timers_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * TIMERS_SECOND + now.tv_nsec;
}

/* Puts a timer where it belongs, beginning at an empty place. */
static inline void timers_place(struct timers *timers, struct timer *timer, size_t place) {
    struct timer **heap = timers->heap;
    while (place > 1 && heap[place / 2]->deadline > timer->deadline) {
        heap[place] = heap[place / 2];
        heap[place]->place = place;
        place /= 2;
    }
    for (size_t child; (child = 2 * place) <= timers->count; place = child) {
        if (child < timers->count && heap[child + 1]->deadline < heap[child]->deadline)
            child++;
        if (heap[child]->deadline >= timer->deadline)
            break;
        heap[place] = heap[child];
        heap[place]->place = place;
    }
    heap[place] = timer;
    timer->place = place;
}

/* Sets a timer, or sets it anew. Returns 0, or -ENOMEM, which a timer that is set never meets. */
static inline int timers_set(struct timers *timers, struct timer *timer, int64_t deadline) {
    if (timer->place == 0) {
        if (timers->count + 1 >= timers->room) {
            size_t room = timers->room == 0 ? 64 : 2 * timers->room;
            struct timer **heap = realloc(timers->heap, room * sizeof *heap);
            if (heap == NULL)
                return -ENOMEM;
            timers->heap = heap;
            timers->room = room;
        }
        timer->place = ++timers->count;
    }
    timer->deadline = deadline;
    timers_place(timers, timer, timer->place);
    return 0;
}

/* Removes a timer, if it is set: before what it is in is freed, say. */
static inline void timers_remove(struct timers *timers, struct timer *timer) {
    size_t place = timer->place;
    if (place == 0)
        return;
    struct timer *last = timers->heap[timers->count--];
    timer->place = 0;
    if (last != timer)
        timers_place(timers, last, place);
}

/* Takes out the earliest timer, if its deadline has come; else returns NULL. */
static inline struct timer *timers_take(struct timers *timers, int64_t now) {
    struct timer *first = timers->count > 0 ? timers->heap[1] : NULL;
    if (first == NULL || first->deadline > now)
        return NULL;
    timers_remove(timers, first);
    return first;
}

/* How long the next sel_select() may wait: until the earliest deadline; SEL_FOREVER without one. */
static inline int64_t timers_timeout(const struct timers *timers) {
    if (timers->count == 0)
        return -1;
    int64_t deadline = timers->heap[1]->deadline, now = timers_now();
    return deadline > now ? deadline - now : 0;
}

/* Frees the array; the timers are the caller's. */
static inline void timers_free(struct timers *timers) {
    free(timers->heap);
    timers->heap = NULL;
    timers->count = timers->room = 0;
}

#endif
