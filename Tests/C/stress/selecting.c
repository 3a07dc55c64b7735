/*
 * selecting.c - threads that wait, and read from the ready descriptors.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "stress.h"

#define HOUR (3600 * SECOND)

/* Reads some of what is said to be there. */
static void hear(struct reader *self, struct channel *channel) {
    unsigned long count = get(channel, 1 + pick(&self->seed, 8));
    /* Another reader may have been told, too, and have read it. */
    if (count == 0 && (stage.readers == 1 || channel->events & SEL_ONESHOT))
        fail("%s %d is said to be readable, but is empty", kind_names[channel->kind], channel->in);
    channel->received += count;
    CHECK(channel->received <= channel->sent);
}

static void serve(struct reader *self, const sel_event *event) {
    struct channel *channel = channel_of((uintptr_t)event->key.data);
    CHECK(event->events != 0 && (event->events & ~(event->key.events & BOTH)) == 0);
    pthread_mutex_lock(&channel->lock);
    if ((uintptr_t)event->key.data != channel->data) {
        self->stale++;
    } else {
        CHECK(event->key.fd == channel->in && event->key.events == channel->events);
        CHECK(event->detail == 0);
        if (event->events & SEL_WRITE)
            channel->found_writable++;
        if (event->events & SEL_READ)
            hear(self, channel);
        if (channel->events & SEL_ONESHOT)
            OK(sel_modify(stage.selector, channel->in, channel->events, event->key.data));
        pthread_cond_signal(&channel->heard);
    }
    pthread_mutex_unlock(&channel->lock);
}

/* A select that ends without an event consumes a wake-up; at most one may be pending. */
static void count_empty(struct reader *self) {
    long unheeded;
    self->empty++;
    unheeded = atomic_load_explicit(&stage.wakeups, memory_order_relaxed) - self->empty;
    CHECK(stage.readers > 1 || unheeded >= self->unheeded - 1);
    if (unheeded > self->unheeded)
        self->unheeded = unheeded;
}

void *read_what_is_ready(void *argument) {
    static const int64_t timeouts[] = {SEL_FOREVER, SEL_FOREVER, HOUR, 0};
    struct reader *self = argument;
    sel_event events[16];
    while (!stage.all_is_read) {
        int64_t timeout = timeouts[pick(&self->seed, 4)];
        int max = 1 + (int)pick(&self->seed, 16);
        int count = sel_select(stage.selector, events, max, timeout);
        CHECK(count >= 0 && count <= max);
        for (int i = 0; i < count; i++)
            serve(self, &events[i]);
        if (count == 0 && timeout != 0)
            count_empty(self);
        for (int i = 0; i < CHANGERS; i++)
            if (atomic_exchange(&stage.changers[i].has_asked, false))
                sem_post(&stage.changers[i].answer);
    }
    wake_up(); /* the other one */
    stage.has_left[self->number] = true;
    return NULL;
}
