/*
 * stress.c - proves that nothing is lost while four threads change the set at random and one or two
 * others wait.
 *
 *     stress [--seconds N] [BACKEND...]    5 seconds for each backend that can be used, or these
 *
 * The changing threads write into channels of their own: pairs of sockets, pipes, eventfds. The
 * selecting ones read what an event tells them to, and nothing else, so that a byte whose event is
 * lost stays where it is. In a noisy place the next event would make up for a lost one. So the
 * threads take turns at deciding how loud it is: at times the others keep silent or stand still,
 * and each byte and each wake-up is waited for before the next. Who waits for too long is found by
 * the watchdog, which tells what is outstanding. Others open and close selectors.
 *
 * Speaks TAP. The exit status is 0 if all went well.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "selectors.h"

enum {
    CHANGERS = 4,
    CHANNELS = 6, /* of each */
    READERS = 2,  /* at most */
    OPENERS = 2,
    TURN = 100,    /* steps for which one thread decides how loud it is */
    BACKLOG = 64,  /* bytes that may be outstanding in one channel */
    PATIENCE = 10, /* seconds in which every thread gets somewhere */
    TICKS = 100    /* of the watchdog, in a second */
};

/* The threads, as the watchdog numbers them: first those that change the set. */
enum { FIRST_OPENER = CHANGERS, FIRST_READER = FIRST_OPENER + OPENERS };
enum { THREADS = FIRST_READER + READERS };

#define BOTH (SEL_READ | SEL_WRITE)
#define SECOND INT64_C(1000000000)
#define HOUR (3600 * SECOND)

enum kind { SOCKET, PIPE, EVENT, KINDS };
static const char *const kind_names[KINDS] = {"socket", "pipe", "eventfd"};

/* One way for bytes. Its lock guards what stands below, which only the owner changes but where said
 * otherwise. */
struct channel {
    pthread_mutex_t lock;
    pthread_cond_t heard; /* a reader has counted something */
    enum kind kind;
    int in, out;
    int ghost_in, ghost_out;      /* a file that was closed under the number `in`; or -1 */
    uint32_t haunting;            /* what the file after it was first watched for */
    uint32_t events;              /* what it is registered for; 0: not at all */
    uint32_t mode;                /* part of these from registration on: SEL_ONESHOT or 0 */
    uintptr_t data;               /* another one with each change, with index_of() in it */
    long place;                   /* in the order of registration */
    unsigned long sent;           /* bytes */
    unsigned long received;       /* counted by the readers */
    unsigned long found_writable; /* likewise: events */
};

struct changer {
    pthread_t thread;
    int number;
    uint64_t seed;
    struct channel channels[CHANNELS];
    uintptr_t serial;      /* goes up with each change */
    atomic_bool has_asked; /* with a wake-up, for ... */
    sem_t answer;
};

struct reader {
    pthread_t thread;
    int number;
    uint64_t seed;
    long empty;          /* selects without an event */
    long unheeded;       /* most wake-ups so far that were not answered by one of these */
    unsigned long stale; /* events that were in its hands when the owner made a change */
};

/* How loud it is while one thread has the say: the others write, too; they only make changes that
 * wake no reader; they wait. */
enum manner { LOUD, SOFT, HUSHED };

static struct {
    const char *backend;
    sel_selector *selector;
    int readers;
    struct changer changers[CHANGERS];
    pthread_mutex_t say;
    _Atomic enum manner manner;
    atomic_bool is_over;     /* all but the readers finish what they have begun */
    atomic_bool all_is_read; /* readers may go */
    atomic_long wakeups;
    atomic_ulong steps[THREADS]; /* that each thread has made */
    atomic_bool has_left[THREADS];
} stage;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The owner's call on its own channel, which cannot fail. */
#define OK(call)                                                                              \
    do {                                                                                      \
        int result = (call);                                                                  \
        if (result != 0)                                                                      \
            fail("line %d: %s returned %d (%s)", __LINE__, #call, result, strerror(-result)); \
    } while (0)
#define CHECK(condition)                                             \
    do {                                                             \
        if (!(condition))                                            \
            fail("line %d: %s does not hold", __LINE__, #condition); \
    } while (0)

static void describe(const struct channel *channel) {
    printf("#   %s %d: watched for %u, %lu bytes sent, %lu received\n", kind_names[channel->kind],
           channel->in, channel->events, channel->sent, channel->received);
}

/* Says what is wrong and what is outstanding, and ends the program. */
static void fail(const char *format, ...) {
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    va_list arguments;
    pthread_mutex_lock(&once);
    printf("not ok - %s, %d selecting\n# ", stage.backend, stage.readers);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    for (struct changer *changer = stage.changers; changer < stage.changers + CHANGERS; changer++) {
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

static unsigned pick(uint64_t *seed, unsigned below) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (unsigned)(*seed >> 32) % below;
}

/* Channels. */

static int index_of(uintptr_t data) {
    return (int)(data % (CHANGERS * CHANNELS));
}

static struct channel *channel_of(uintptr_t data) {
    return &stage.changers[index_of(data) / CHANNELS].channels[index_of(data) % CHANNELS];
}

static uintptr_t new_data(struct changer *self, const struct channel *channel) {
    uintptr_t index = (uintptr_t)(self->number * CHANNELS + (int)(channel - self->channels));
    return ++self->serial * CHANGERS * CHANNELS + index;
}

static void open_ends(enum kind kind, int *in, int *out) {
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

static void lay_ghost(struct channel *channel) {
    if (channel->ghost_in < 0)
        return;
    close(channel->ghost_out);
    close(channel->ghost_in);
    channel->ghost_in = channel->ghost_out = -1;
}

/* Writes bytes, which carry their number, or adds to the counter. */
static void put(const struct channel *channel, int out, unsigned count) {
    unsigned char bytes[BACKLOG];
    uint64_t sum = count;
    for (unsigned i = 0; i < count; i++)
        bytes[i] = (unsigned char)(channel->sent + i);
    if (channel->kind == EVENT)
        CHECK(write(out, &sum, sizeof sum) == sizeof sum);
    else
        CHECK(write(out, bytes, count) == (ssize_t)count);
}

/* Reads up to `most` bytes, or the whole counter, and returns how many there were; 0 for none. */
static unsigned long get(const struct channel *channel, unsigned most) {
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

/* Changing threads. Each function below has the lock of the channel. */

/* Has the channel watched for these events, or for none. At times only one reader is told each time. */
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
    /* Where it is loud, others' events would hide that this one is lost. */
    if (stage.manner != LOUD || pick(&self->seed, 8) == 0)
        be_heard(self, channel);
}

/* Puts another file under the number, while the old one lives on under another one. */
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
    /* Nobody is to hear of it. */
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

/* A thread's own channels stand in the map as it has registered them, in this order. */
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

/* Counts in a way that keeps no two threads in step, so that the sanitizer sees the library's. */
static void wake_up(void) {
    atomic_fetch_add_explicit(&stage.wakeups, 1, memory_order_relaxed);
    OK(sel_wakeup(stage.selector));
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

static void *change(void *argument) {
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

/* Selecting threads. */

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

/* A select that ends without an event answers a wake-up, of which one at most may be pending. */
static void count_empty(struct reader *self) {
    long unheeded;
    self->empty++;
    unheeded = atomic_load_explicit(&stage.wakeups, memory_order_relaxed) - self->empty;
    CHECK(stage.readers > 1 || unheeded >= self->unheeded - 1);
    if (unheeded > self->unheeded)
        self->unheeded = unheeded;
}

static void *read_what_is_ready(void *argument) {
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

/* Opens and closes selectors in which another thread waits. */

struct waiter {
    pthread_t thread;
    sel_selector *selector;
    atomic_int id;
    int result;
};

static void *wait_for_ever(void *argument) {
    struct waiter *waiter = argument;
    sel_event event;
    waiter->id = (int)syscall(SYS_gettid);
    waiter->result = sel_select(waiter->selector, &event, 1, SEL_FOREVER);
    return NULL;
}

static bool is_asleep(int id) {
    char path[64], line[256] = "", *state;
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", id);
    file = fopen(path, "re");
    CHECK(file != NULL);
    state = fgets(line, sizeof line, file) == NULL ? NULL : strrchr(line, ')');
    fclose(file);
    return state != NULL && state[2] == 'S';
}

static void *open_and_close(void *argument) {
    const int *number = argument;
    static const struct timespec tick = {0, 1000000};
    while (!stage.is_over) {
        struct waiter waiter = {.id = 0};
        int in, out;
        open_ends(SOCKET, &in, &out);
        OK(sel_open(&waiter.selector, stage.backend));
        OK(sel_register(waiter.selector, in, SEL_READ, NULL));
        OK(pthread_create(&waiter.thread, NULL, wait_for_ever, &waiter));
        while (waiter.id == 0 || !is_asleep(waiter.id))
            nanosleep(&tick, NULL);
        OK(sel_close(waiter.selector));
        OK(pthread_join(waiter.thread, NULL));
        CHECK(waiter.result == -ECANCELED);
        stage.steps[*number]++;
        close(in);
        close(out);
    }
    stage.has_left[*number] = true;
    return NULL;
}

/* Scenes. */

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

static void open_channels(struct changer *changer) {
    for (int i = 0; i < CHANNELS; i++) {
        struct channel *channel = &changer->channels[i];
        *channel = (struct channel){.kind = (enum kind)(i % KINDS), .ghost_in = -1};
        pthread_mutex_init(&channel->lock, NULL);
        pthread_cond_init(&channel->heard, NULL);
        open_ends(channel->kind, &channel->in, &channel->out);
    }
}

static unsigned long close_channels(struct changer *changer) {
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

int main(int argc, char **argv) {
    sel_backend_info infos[32];
    const char *names[32];
    double seconds = 5;
    int count = 0, first = 1;
    if (argc > 2 && strcmp(argv[1], "--seconds") == 0) {
        seconds = atof(argv[2]);
        first = 3;
    }
    for (int i = first; i < argc && count < 32; i++)
        names[count++] = argv[i];
    if (count == 0)
        for (int i = 0, all = sel_backends(infos, 32); i < all && i < 32; i++)
            if (infos[i].reason == NULL)
                names[count++] = infos[i].name;

    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("1..%d\n", READERS * count);
    for (int i = 0; i < READERS * count; i++) {
        play(names[i / READERS], 1 + i % READERS, seconds / READERS);
        printf("ok %d - %s, %d selecting: nothing is lost\n", i + 1, names[i / READERS],
               1 + i % READERS);
    }
    return count == 0;
}
