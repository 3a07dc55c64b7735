/*
 * channels.c - pairs of sockets, pipes and eventfds, and the data in them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "stress.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

int index_of(uintptr_t data) {
    return (int)(data % (CHANGERS * CHANNELS));
}

struct channel *channel_of(uintptr_t data) {
    return &stage.changers[index_of(data) / CHANNELS].channels[index_of(data) % CHANNELS];
}

uintptr_t new_data(struct changer *self, const struct channel *channel) {
    uintptr_t index = (uintptr_t)(self->number * CHANNELS + (int)(channel - self->channels));
    return ++self->serial * CHANGERS * CHANNELS + index;
}

void open_ends(enum kind kind, int *in, int *out) {
    int ends[2] = {-1, -1};
    switch (kind) {
    case SOCKET: CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0); break;
    case PIPE: CHECK(pipe2(ends, O_NONBLOCK) == 0); break;
    default: ends[0] = eventfd(0, EFD_NONBLOCK); ends[1] = dup(ends[0]);
    }
    CHECK(ends[0] >= 0 && ends[1] >= 0);
    *in = ends[0];
    *out = ends[1];
}

void lay_ghost(struct channel *channel) {
    if (channel->ghost_in < 0)
        return;
    close(channel->ghost_out);
    close(channel->ghost_in);
    channel->ghost_in = channel->ghost_out = -1;
}

void put(const struct channel *channel, int out, unsigned count) {
    unsigned char bytes[BACKLOG];
    uint64_t sum = count;
    for (unsigned i = 0; i < count; i++)
        bytes[i] = (unsigned char)(channel->sent + i);
    if (channel->kind == EVENT)
        CHECK(write(out, &sum, sizeof sum) == sizeof sum);
    else
        CHECK(write(out, bytes, count) == (ssize_t)count);
}

unsigned long get(const struct channel *channel, unsigned most) {
    unsigned char bytes[BACKLOG];
    uint64_t sum;
    ssize_t count = channel->kind == EVENT ? read(channel->in, &sum, sizeof sum)
                                           : read(channel->in, bytes, most);
    if (count < 0) {
        CHECK(errno == EAGAIN);
        return 0;
    }
    if (channel->kind == EVENT)
        return sum;
    for (ssize_t i = 0; i < count; i++)
        CHECK(bytes[i] == (unsigned char)(channel->received + (unsigned long)i));
    return (unsigned long)count;
}

void open_channels(struct changer *changer) {
    for (int i = 0; i < CHANNELS; i++) {
        struct channel *channel = &changer->channels[i];
        *channel = (struct channel){.kind = (enum kind)(i % KINDS), .ghost_in = -1};
        pthread_mutex_init(&channel->lock, NULL);
        pthread_cond_init(&channel->heard, NULL);
        open_ends(channel->kind, &channel->in, &channel->out);
    }
}

unsigned long close_channels(struct changer *changer) {
    unsigned long received = 0;
    for (int i = 0; i < CHANNELS; i++) {
        struct channel *channel = &changer->channels[i];
        lay_ghost(channel);
        close(channel->in);
        close(channel->out);
        pthread_cond_destroy(&channel->heard);
        pthread_mutex_destroy(&channel->lock);
        received += channel->received;
    }
    return received;
}
