/*
 * Tests ../../examples-c/timers.h against a list that is searched from end to end; prints TAP.
 */
#define _GNU_SOURCE
#include <stdio.h>

#include "../../examples-c/timers.h"

enum { MOST = 300, STEPS = 200000, DISTANT = 1000 };

struct thing {
    int number;
    struct timer timer;
    int is_set;
    int64_t deadline;
};

static struct timers timers;
static struct thing things[MOST];
static uint64_t seed = 1;
static int number, failures;

static void prove(int holds, const char *what) {
    printf("%sok %d - timers: %s\n", holds ? "" : "not ", ++number, what);
    failures += !holds;
}

static unsigned dice(unsigned sides) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % sides;
}

/* The earliest deadline of those that are set; INT64_MAX if none is. */
static int64_t find_earliest(size_t *count) {
    int64_t earliest = INT64_MAX;
    *count = 0;
    for (int i = 0; i < MOST; i++) {
        if (things[i].is_set) {
            ++*count;
            if (things[i].deadline < earliest)
                earliest = things[i].deadline;
        }
    }
    return earliest;
}

/* Whether the heap holds just what the list holds, each at its place. */
static int is_sound(void) {
    size_t count;
    int64_t earliest = find_earliest(&count);
    if (timers.count != count || (count > 0 && timers.heap[1]->deadline != earliest))
        return 0;
    for (size_t place = 1; place <= count; place++)
        if (timers.heap[place]->place != place ||
            timers.heap[place / 2 + (place == 1)]->deadline > timers.heap[place]->deadline)
            return 0;
    for (int i = 0; i < MOST; i++)
        if ((things[i].timer.place != 0) != things[i].is_set)
            return 0;
    return 1;
}

/* Takes what is due, and tells whether that is the earliest that is due. */
static int take(int64_t now) {
    size_t count;
    int64_t earliest = find_earliest(&count);
    struct timer *timer = timers_take(&timers, now);
    if (timer == NULL)
        return count == 0 || earliest > now;
    struct thing *thing = TIMERS_OWNER(timer, struct thing, timer);
    int holds = thing->is_set && thing->deadline == earliest && earliest <= now;
    thing->is_set = 0;
    return holds && thing == &things[thing->number];
}

static int test_random(void) {
    for (int step = 0; step < STEPS; step++) {
        struct thing *thing = &things[dice(MOST)];
        int what = (int)dice(10), holds = 1;
        if (what < 6) {
            thing->deadline = dice(DISTANT);
            thing->is_set = 1;
            holds = timers_set(&timers, &thing->timer, thing->deadline) == 0;
        } else if (what < 8) {
            thing->is_set = 0;
            timers_remove(&timers, &thing->timer);
        } else {
            holds = take(dice(DISTANT / 2));
        }
        if (!holds || (step % 16 == 0 && !is_sound())) {
            printf("# step %d\n", step);
            return 0;
        }
    }
    return is_sound();
}

static int test_order(void) {
    int64_t before = 0;
    struct timer *timer;
    while ((timer = timers_take(&timers, INT64_MAX)) != NULL) {
        if (timer->deadline < before)
            return 0;
        before = timer->deadline;
        TIMERS_OWNER(timer, struct thing, timer)->is_set = 0;
    }
    return is_sound() && timers.count == 0;
}

static int test_timeout(void) {
    int holds = timers_timeout(&timers) == -1;
    timers_set(&timers, &things[0].timer, timers_now() + 1000 * TIMERS_SECOND);
    int64_t timeout = timers_timeout(&timers);
    holds = holds && timeout > 0 && timeout <= 1000 * TIMERS_SECOND;
    timers_set(&timers, &things[1].timer, timers_now() - 1);
    holds = holds && timers_timeout(&timers) == 0;
    timers_remove(&timers, &things[1].timer);
    holds = holds && timers_timeout(&timers) > 0;
    timers_remove(&timers, &things[0].timer);
    timers_remove(&timers, &things[0].timer);
    return holds && timers_timeout(&timers) == -1;
}

int main(void) {
    for (int i = 0; i < MOST; i++)
        things[i].number = i;
    printf("TAP version 13\n");
    prove(test_random(), "random operations");
    prove(test_order(), "the earliest comes first");
    prove(test_timeout(), "the timeout");
    timers_free(&timers);
    printf("1..%d\n", number);
    return failures > 0;
}
