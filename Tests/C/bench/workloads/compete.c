/*
 * The main function of each contestant: finds the workload, runs its rounds and measures them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "workload.h"

enum { PATIENCE = 60 }; /* s that a round may take, before it hangs */

void (*on_event)(void *data, unsigned events);
const struct contestant *contestant;

static const char *program;

void die(const char *why) {
    fprintf(stderr, "%s: %s\n", program, why);
    exit(1);
}

void die_errno(const char *what) {
    fprintf(stderr, "%s: %s: %s\n", program, what, strerror(errno));
    exit(1);
}

void *grow(void *array, size_t *count, size_t index, size_t size) {
    if (index < *count)
        return array;
    size_t wanted = *count < 16 ? 16 : *count;
    while (wanted <= index)
        wanted *= 2;
    char *grown = realloc(array, wanted * size);
    if (grown == NULL)
        die_errno("memory");
    memset(grown + *count * size, 0, (wanted - *count) * size);
    *count = wanted;
    return grown;
}

static double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

double wall_time(void) {
    return now(CLOCK_MONOTONIC);
}

/* Of all threads, those that have ended included. */
static long context_switches(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw + usage.ru_nivcsw;
}

static void run_round(const struct workload *workload, long loops) {
    clockid_t clock = workload->measure == WALL_TIME ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID;
    alarm(PATIENCE);
    long allocated = allocations(), switches = context_switches();
    double began = now(clock);
    double operations = workload->run(loops);
    double sum = now(clock) - began;
    allocated = allocations() - allocated;
    switches = context_switches() - switches;
    alarm(0);
    if (workload->measure == HEAP_BYTES)
        sum = set_up_bytes;
    else if (workload->measure == LATENCY)
        sum = latency_ns;
    printf("%.17g %.17g %ld %ld\n", sum, operations, allocated, switches);
    fflush(stdout);
}

/* True if so many more descriptors can be opened, beside those that a contestant has of its own. */
static bool raise_limit(long wanted) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max < (rlim_t)wanted + 64)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

int compete(const struct contestant *own, int argc, char **argv) {
    char line[64];
    const struct workload *workload = NULL;
    contestant = own;
    program = argv[0];
    for (int i = 0; i < workload_count && argc > 2; i++)
        if (strcmp(workloads[i].name, argv[2]) == 0)
            workload = &workloads[i];
    if (workload == NULL || argc < 5 || argc > 6) {
        fprintf(stderr, "usage: %s ARGUMENT WORKLOAD REGISTERED READY [LOOPS]\n", program);
        return 2;
    }
    int registered = atoi(argv[3]), ready = atoi(argv[4]);
    if (workload->wakes && own->wakeup == NULL) {
        puts("- it has no wake-up");
        return 0;
    }
    if (workload->sets > 0 && own->pool == NULL) {
        puts("- it has nothing that threads may share");
        return 0;
    }
    if (!raise_limit((long)registered * workload->per_file + workload->sets)) {
        puts("- the limit of open files (ulimit -Hn) is too low");
        return 0;
    }
    if (workload->prepare != NULL)
        workload->prepare(registered);
    if (workload->sets > 0)
        own->pool->open(argv[1], workload->sets);
    else
        own->open(argv[1], workload->wakes);
    workload->set_up(registered, ready);
    if (argc == 6) {
        run_round(workload, atol(argv[5]));
    } else {
        puts("ready");
        fflush(stdout);
        while (fgets(line, sizeof line, stdin) != NULL)
            run_round(workload, atol(line));
    }
    if (workload->tear_down != NULL)
        workload->tear_down();
    if (workload->sets > 0)
        own->pool->close();
    else
        own->close();
    return 0;
}
