/*
 * main.c - performs random operations on selectors, and compares their results with a model.
 *
 *     model                          on each backend that can be used here, in turn, until one fails
 *     model epoll mine               on these, by name
 *     model --operations 100000      this number on each, once
 *     model --seed 4711              those of an earlier run, once
 *     model --trace                  prints each operation
 *
 * The same seed gives the same operations on the same backend; a failure prints its seed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "operations.h"
#include "world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { MOST_BACKENDS = 32, IN_TURN = 100000 };

static struct options {
    const char *names[MOST_BACKENDS];
    int count;
    bool has_seed, is_endless, trace;
    uint64_t seed, operations;
} options = {.is_endless = true, .operations = IN_TURN};

static _Noreturn void usage(void) {
    fprintf(stderr, "usage: model [--seed N] [--operations N] [--trace] [BACKEND...]\n");
    exit(2);
}

static uint64_t parse_number(const char *text) {
    char *end;
    uint64_t number;
    if (text == NULL || *text == '\0' || *text == '-')
        usage();
    number = strtoull(text, &end, 0);
    if (*end != '\0')
        usage();
    return number;
}

static void parse(char **arguments) {
    for (; *arguments != NULL; arguments++) {
        if (strcmp(*arguments, "--trace") == 0) {
            options.trace = true;
        } else if (strcmp(*arguments, "--seed") == 0) {
            options.seed = parse_number(*++arguments);
            options.has_seed = true;
            options.is_endless = false;
        } else if (strcmp(*arguments, "--operations") == 0) {
            options.operations = parse_number(*++arguments);
            options.is_endless = false;
        } else if (**arguments == '-' || options.count == MOST_BACKENDS) {
            usage();
        } else {
            options.names[options.count++] = *arguments;
        }
    }
}

/* Performs a sequence on each backend that is wanted; returns on how many. */
static int play(uint64_t seed) {
    sel_backend_info infos[MOST_BACKENDS];
    int played = 0;
    int count = sel_backends(infos, MOST_BACKENDS);
    for (int i = 0; i < count; i++) {
        bool is_wanted = options.count == 0 && infos[i].reason == NULL;
        for (int j = 0; j < options.count; j++)
            is_wanted |= strcmp(options.names[j], infos[i].name) == 0;
        if (!is_wanted)
            continue;
        printf("%s: %" PRIu64 " operations, seed %" PRIu64 "\n", infos[i].name, options.operations,
               seed);
        fflush(stdout);
        begin_sequence(infos[i].name, seed, options.trace);
        perform(&infos[i], options.operations);
        played++;
    }
    return played;
}

int main(int argc, char **argv) {
    (void)argc;
    parse(argv + 1);
    world_begin();
    do {
        /* Half the bits are enough, and easier to type. */
        uint32_t fresh;
        if (getrandom(&fresh, sizeof fresh, 0) != sizeof fresh)
            return 1;
        int played = play(options.has_seed ? options.seed : fresh);
        if (played == 0 || played < options.count) {
            fprintf(stderr, "model: no such backend\n");
            return 2;
        }
    } while (options.is_endless);
    return 0;
}
