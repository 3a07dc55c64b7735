/*
 * stage.c - the threads' shared state, and the exit after a failure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "stress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

struct stage stage;

const char *const kind_names[KINDS] = {"socket", "pipe", "eventfd"};

static void describe(const struct channel *channel) {
    printf("#   %s %d: watched for %u, %lu bytes sent, %lu received\n", kind_names[channel->kind],
           channel->in, channel->events, channel->sent, channel->received);
}

void fail(const char *format, ...) {
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    va_list arguments;
    pthread_mutex_lock(&once);
    printf("not ok - %s, %d selecting\n# ", stage.backend, stage.readers);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    for (struct changer *changer = stage.changers;
         stage.readers > 0 && changer < stage.changers + CHANGERS; changer++) {
        printf("# thread %d, %lu steps%s\n", changer->number, stage.steps[changer->number],
               changer->has_asked ? ", waits for a wake-up's effect" : "");
        for (struct channel *channel = changer->channels; channel < changer->channels + CHANNELS;
             channel++) {
            if (pthread_mutex_trylock(&channel->lock) == 0)
                describe(channel);
            else
                printf("#   %s: is being changed\n", kind_names[channel->kind]);
        }
    }
    fflush(stdout);
    _exit(1);
}

unsigned pick(uint64_t *seed, unsigned below) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (unsigned)(*seed >> 32) % below;
}

void wake_up(void) {
    atomic_fetch_add_explicit(&stage.wakeups, 1, memory_order_relaxed);
    OK(sel_wakeup(stage.selector));
}
