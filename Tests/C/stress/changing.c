/*
 * changing.c - threads that change the set at random, write, and wait for the resulting events.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "stress.h"

#include <errno.h>
#include <unistd.h>

enum { TURN = 100 }; /* steps for which one thread decides how loud it is */

/* Each function down to change_silently() has the lock of the channel. */

/* Watches the channel for these events, or for none; at times with one-shot delivery. */
static void watch(struct changer *self, struct channel *channel, uint32_t events) {
    uintptr_t data = new_data(self, channel);
    sel_key old;
    if (channel->events == 0)
        channel->mode = pick(&self->seed, 3) == 0 ? SEL_ONESHOT : 0;
    if (events != 0)
        events |= channel->mode;
    if (events == 0) {
        OK(sel_unregister(stage.selector, channel->in, &old));
        CHECK(old.fd == channel->in && old.events == channel->events &&
              (uintptr_t)old.data == channel->data);
    } else if (channel->events == 0) {
        OK(sel_register(stage.selector, channel->in, events, (void *)data));
        channel->place = (long)data;
    } else {
        OK(sel_modify(stage.selector, channel->in, events, (void *)data));
    }
    channel->events = events;
    channel->data = data;
}

/* Waits until a reader has read all that was sent. */
static void be_heard(struct changer *self, struct channel *channel) {
    if (!(channel->events & SEL_READ))
        watch(self, channel, SEL_READ);
    while (channel->received != channel->sent)
        pthread_cond_wait(&channel->heard, &channel->lock);
}

/* Waits until a reader has found it writable. */
static void be_writable(struct changer *self, struct channel *channel, uint32_t events) {
    unsigned long before = channel->found_writable;
    watch(self, channel, events);
    while (channel->found_writable == before)
        pthread_cond_wait(&channel->heard, &channel->lock);
    watch(self, channel, SEL_READ);
}

static void send_some(struct changer *self, struct channel *channel) {
    unsigned count = 1 + pick(&self->seed, 4);
    if (channel->sent - channel->received + count > BACKLOG)
        be_heard(self, channel);
    put(channel, channel->out, count);
    channel->sent += count;
    /* Under load, other events would hide the loss of this one. */
    if (stage.manner != LOUD || pick(&self->seed, 8) == 0)
        be_heard(self, channel);
}

/* Replaces the file of the number, and keeps the old file open as a duplicate. */
static void haunt(struct changer *self, struct channel *channel, int in, int out) {
    bool may_modify = channel->kind != PIPE && channel->events != 0;
    channel->ghost_in = dup(channel->in);
    channel->ghost_out = channel->out;
    CHECK(channel->ghost_in >= 0 && dup2(in, channel->in) == channel->in);
    close(in);
    channel->out = out;
    if (may_modify && pick(&self->seed, 2)) {
        /* The new file is watched only for a mask that the kernel does not have: another one than
         * the last time, and than at any other time. */
        channel->haunting = SEL_WRITE | (~channel->haunting & SEL_PRIORITY);
        be_writable(self, channel, channel->haunting);
    } else {
        watch(self, channel, 0);
        if (pick(&self->seed, 2))
            watch(self, channel, SEL_READ);
    }
    /* No reader may see this. */
    put(channel, channel->ghost_out, 1);
}

/* Gives the channel a new file, under a new number or under the old one. */
static void renew(struct changer *self, struct channel *channel) {
    int in, out;
    be_heard(self, channel);
    lay_ghost(channel);
    open_ends(channel->kind, &in, &out);
    if (pick(&self->seed, 2)) {
        haunt(self, channel, in, out);
        return;
    }
    watch(self, channel, 0);
    close(channel->in);
    close(channel->out);
    channel->in = in;
    channel->out = out;
}

static void check_key(const struct channel *channel) {
    sel_key key;
    int result = sel_get_key(stage.selector, channel->in, &key);
    if (channel->events == 0)
        CHECK(result == -ENOENT);
    else
        CHECK(result == 0 && key.fd == channel->in && key.events == channel->events &&
              (uintptr_t)key.data == channel->data);
}

/* The map contains the thread's own channels in the order of registration. */
static void check_map(const struct changer *self) {
    sel_key keys[CHANGERS * CHANNELS];
    int count = sel_get_map(stage.selector, keys, CHANGERS * CHANNELS), mine = 0;
    long last = 0;
    CHECK(count >= 0 && count <= CHANGERS * CHANNELS);
    for (int i = 0; i < count; i++) {
        const struct channel *channel = channel_of((uintptr_t)keys[i].data);
        if (index_of((uintptr_t)keys[i].data) / CHANNELS != self->number)
            continue;
        CHECK(keys[i].fd == channel->in && keys[i].events == channel->events &&
              (uintptr_t)keys[i].data == channel->data && channel->place > last);
        last = channel->place;
        mine++;
    }
    for (int i = 0; i < CHANNELS; i++)
        mine -= self->channels[i].events != 0;
    CHECK(mine == 0);
}

/* A change that wakes no reader. */
static void change_silently(struct changer *self, struct channel *channel) {
    switch (pick(&self->seed, 6)) {
    case 0:
        if (channel->events != 0)
            watch(self, channel, 0);
        break;
    case 1: watch(self, channel, SEL_READ); break;
    case 2:
        /* Its reading end is never writable. */
        if (channel->kind == PIPE)
            watch(self, channel, 1 + pick(&self->seed, 3));
        break;
    case 3: check_key(channel); break;
    case 4: check_map(self); break;
    case 5: renew(self, channel); break;
    }
}

/* Wakes, and waits until a select has ended. */
static void shake_hands(struct changer *self) {
    self->has_asked = true;
    wake_up();
    CHECK(sem_wait(&self->answer) == 0);
}

static void step(struct changer *self, bool is_silent) {
    struct channel *channel = &self->channels[pick(&self->seed, CHANNELS)];
    unsigned choice = is_silent ? 0 : pick(&self->seed, 12);
    pthread_mutex_lock(&channel->lock);
    if (choice < 6)
        change_silently(self, channel);
    else if (choice < 9)
        send_some(self, channel);
    else if (choice < 10 && channel->kind != PIPE)
        be_writable(self, channel, BOTH);
    pthread_mutex_unlock(&channel->lock);
    if (choice == 10)
        wake_up();
    else if (choice == 11)
        shake_hands(self);
    stage.steps[self->number]++;
}

void *change(void *argument) {
    struct changer *self = argument;
    while (!stage.is_over) {
        if (stage.manner != HUSHED && pick(&self->seed, TURN) != 0) {
            step(self, stage.manner == SOFT);
            continue;
        }
        pthread_mutex_lock(&stage.say);
        stage.manner = (enum manner)pick(&self->seed, 3);
        for (int i = 0; i < TURN && !stage.is_over; i++)
            step(self, false);
        pthread_mutex_unlock(&stage.say);
    }
    for (struct channel *channel = self->channels; channel < self->channels + CHANNELS; channel++) {
        pthread_mutex_lock(&channel->lock);
        be_heard(self, channel);
        watch(self, channel, 0);
        pthread_mutex_unlock(&channel->lock);
    }
    stage.has_left[self->number] = true;
    return NULL;
}
