/*
 * main.c - proves that no event is lost while four threads change the set at random and one to
 * sixteen others wait.
 *
 *     stress [--seconds N] [BACKEND...]    5 seconds for each backend that can be used, or these
 *     stress --forks N [BACKEND...]        N forks instead, while threads make all kinds of calls
 *
 * The changing threads write into their own channels: pairs of sockets, pipes, eventfds. The
 * selecting threads read only from a descriptor that has an event, so that a byte whose event is
 * lost is never read. Under load the next event could hide a lost one. So the threads take turns in
 * setting the load: at times the others are quiet or paused, and each byte and each wake-up must
 * arrive before the next is sent. The watchdog finds a thread that waits too long, and prints what
 * is missing. Other threads open and close selectors.
 *
 * The output is TAP. The exit status is 0 if all tests passed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "stress.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    PATIENCE = 10, /* seconds within which every thread must make progress */
    TICKS = 100    /* of the watchdog, in a second */
};

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

/* Waits until these threads have left, which they are told to at the end of the time; fails if one
 * of them gets nowhere. Counts its own ticks, for the whole machine may have stood still. */
static void keep_watch(int first, int count, int64_t end) {
    static const struct timespec tick = {0, SECOND / TICKS};
    unsigned long steps[THREADS] = {0};
    int idle[THREADS] = {0};
    for (int left = 0; left < count; nanosleep(&tick, NULL)) {
        stage.is_over = now() >= end;
        left = 0;
        for (int i = first; i < first + count; i++) {
            left += stage.has_left[i];
            idle[i] = stage.has_left[i] || stage.steps[i] != steps[i] ? 0 : idle[i] + 1;
            steps[i] = stage.steps[i];
            if (idle[i] > PATIENCE * TICKS)
                fail("thread %d has got nowhere for %d seconds", i, PATIENCE);
        }
    }
}

static int open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    CHECK(folder != NULL);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void play(const char *backend, int readers, double seconds) {
    struct reader reader[READERS];
    pthread_t openers[OPENERS];
    int numbers[OPENERS];
    unsigned long steps = 0, bytes = 0, stale = 0, opened = 0;
    long empty = 0;
    int before = open_descriptors();
    memset(&stage, 0, sizeof stage);
    stage.backend = backend;
    stage.readers = readers;
    pthread_mutex_init(&stage.say, NULL);
    OK(sel_open(&stage.selector, backend));

    for (int i = 0; i < readers; i++) {
        reader[i] = (struct reader){.number = FIRST_READER + i, .seed = (uint64_t)now()};
        OK(pthread_create(&reader[i].thread, NULL, read_what_is_ready, &reader[i]));
    }
    for (int i = 0; i < CHANGERS; i++) {
        struct changer *changer = &stage.changers[i];
        changer->number = i;
        changer->seed = (uint64_t)now();
        sem_init(&changer->answer, 0, 0);
        open_channels(changer);
    }
    for (int i = 0; i < CHANGERS; i++)
        OK(pthread_create(&stage.changers[i].thread, NULL, change, &stage.changers[i]));
    for (int i = 0; i < OPENERS; i++) {
        numbers[i] = FIRST_OPENER + i;
        OK(pthread_create(&openers[i], NULL, open_and_close, &numbers[i]));
    }

    keep_watch(0, CHANGERS + OPENERS, now() + (int64_t)(seconds * SECOND));
    stage.all_is_read = true;
    wake_up();
    keep_watch(FIRST_READER, readers, 0);

    for (int i = 0; i < OPENERS; i++) {
        OK(pthread_join(openers[i], NULL));
        opened += stage.steps[numbers[i]];
    }
    for (int i = 0; i < readers; i++) {
        OK(pthread_join(reader[i].thread, NULL));
        empty += reader[i].empty;
        stale += reader[i].stale;
    }
    for (int i = 0; i < CHANGERS; i++) {
        struct changer *changer = &stage.changers[i];
        OK(pthread_join(changer->thread, NULL));
        bytes += close_channels(changer);
        steps += stage.steps[i];
        sem_destroy(&changer->answer);
    }
    OK(sel_close(stage.selector));
    pthread_mutex_destroy(&stage.say);
    CHECK(open_descriptors() == before);
    printf("# %lu steps, %lu bytes, %ld wake-ups, %ld selects without an event, %lu events of "
           "old, %lu selectors closed\n",
           steps, bytes, (long)stage.wakeups, empty, stale, opened);
}

/* How many select at once, play by play. */
static const int readers_of[] = {1, 2, 4, READERS};
enum { PLAYS = sizeof readers_of / sizeof readers_of[0] };

int main(int argc, char **argv) {
    sel_backend_info infos[32];
    const char *names[32];
    double seconds = 5;
    int count = 0, first = 1, forks = 0;
    if (argc > 2 && strcmp(argv[1], "--seconds") == 0) {
        seconds = atof(argv[2]);
        first = 3;
    } else if (argc > 2 && strcmp(argv[1], "--forks") == 0) {
        forks = atoi(argv[2]);
        first = 3;
    }
    for (int i = first; i < argc && count < 32; i++)
        names[count++] = argv[i];
    if (count == 0)
        for (int i = 0, all = sel_backends(infos, 32); i < all && i < 32; i++)
            if (infos[i].reason == NULL)
                names[count++] = infos[i].name;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (forks > 0) {
        printf("1..%d\n", count);
        for (int i = 0; i < count; i++) {
            play_forks(names[i], forks);
            printf("ok %d - %s: no fork hangs, in parent or child\n", i + 1, names[i]);
        }
        return count == 0;
    }
    printf("1..%d\n", PLAYS * count);
    for (int i = 0; i < PLAYS * count; i++) {
        play(names[i / PLAYS], readers_of[i % PLAYS], seconds / PLAYS);
        printf("ok %d - %s, %d selecting: nothing is lost\n", i + 1, names[i / PLAYS],
               readers_of[i % PLAYS]);
    }
    return count == 0;
}
