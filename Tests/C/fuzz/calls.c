/*
 * calls.c - fuzz target: sequences of calls on two selectors and a few descriptors. The results
 * must match a model of the registrations, and poll(2) for readiness.
 *
 * A byte selects the call, and the following bytes are its arguments; the input is padded with
 * zeros. With FUZZ_TRACE in the environment each call is printed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "target.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

enum {
    SLOTS = 8, /* for descriptors of ours */
    SELECTORS = 2,
    MOST_KEYS = 64, /* more cannot be registered */
    MOST_CALLS = 120,
    SIGNAL = SIGURG /* not one of the fuzzer's */
};

#define READINESS (SEL_READ | SEL_WRITE | SEL_PRIORITY)
#define MODES (SEL_EDGE | SEL_ONESHOT | SEL_EXCLUSIVE)
#define DETAIL (SEL_HANGUP | SEL_READ_HANGUP | SEL_ERROR | SEL_INVALID)

/* The input. */
static const uint8_t *next, *end;

static unsigned byte(void) {
    return next < end ? *next++ : 0;
}

static void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void trace(const char *format, ...) {
    va_list arguments;
    if (getenv("FUZZ_TRACE") == NULL)
        return;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
}

/* Descriptors of ours, which do not block; -1 where there is none. */
static int slots[SLOTS];

/* What is registered. */
struct key {
    sel_key key;
    bool is_disarmed; /* reported, and not modified since */
    bool is_new;      /* changed, and not reported since: an edge is due */
    bool is_lost;     /* another file has its number, or none, and the backend watches files */
};

static struct model {
    sel_selector *selector; /* NULL: not open */
    const char *backend;
    bool watches_files; /* or numbers */
    bool sees_bits;     /* as select(2) does: what is up, not why */
    uint32_t modes;
    bool is_interruptible;
    enum { NONE, PENDING, PERHAPS } wakeup;
    int fileno; /* -1: never asked for */
    struct key keys[MOST_KEYS];
    int count;
} models[SELECTORS];

static volatile sig_atomic_t signals; /* that have come */
static bool is_signal_pending;

/* A call that fails leaves errno alone, too, and its words are told. */
#define CALL(call) (errno = UNTOUCHED, check_result(#call, call))

static int check_result(const char *call, int result) {
    CHECK(errno == UNTOUCHED);
    trace("%s = %d\n", call, result);
    if (result < 0)
        CHECK(strstr(sel_last_error(), sel_strerror(result)) != NULL);
    return result;
}

/* The possible errors of a call with several invalid arguments. */
struct results {
    int count, values[8];
};

static void may_be(struct results *results, bool condition, int value) {
    if (condition)
        results->values[results->count++] = value;
}

/* Whether the result is one of them, or 0 if there are none. */
static bool is_one_of(const struct results *results, int result) {
    for (int i = 0; i < results->count; i++)
        if (results->values[i] == result)
            return true;
    return results->count == 0 && result == 0;
}

/* The model. */

static struct key *find(struct model *model, int fd) {
    for (int i = 0; i < model->count; i++)
        if (model->keys[i].key.fd == fd)
            return &model->keys[i];
    return NULL;
}

/* A descriptor is about to be closed or replaced. */
static void lose(int fd) {
    for (int i = 0; i < SELECTORS; i++) {
        struct key *key = find(&models[i], fd);
        if (key != NULL && models[i].watches_files)
            key->is_lost = true;
    }
}

static bool is_fileno(int fd) {
    for (int i = 0; i < SELECTORS; i++)
        if (models[i].selector != NULL && models[i].fileno == fd && fd >= 0)
            return true;
    return false;
}

static uint32_t mask_of_poll(short revents) {
    return (revents & (POLLIN | POLLRDHUP) ? SEL_READ : 0) | (revents & POLLOUT ? SEL_WRITE : 0) |
           (revents & POLLPRI ? SEL_PRIORITY : 0) |
           (revents & (POLLERR | POLLHUP | POLLNVAL) ? READINESS : 0);
}

static uint32_t detail_of_poll(short revents) {
    return (revents & POLLHUP ? SEL_HANGUP : 0) | (revents & POLLRDHUP ? SEL_READ_HANGUP : 0) |
           (revents & POLLERR ? SEL_ERROR : 0) | (revents & POLLNVAL ? SEL_INVALID : 0);
}

/* Polls a descriptor. The fuzzer's own alarm may interrupt it. */
static short poll_one(int fd, uint32_t events) {
    struct pollfd entry = {.fd = fd, .events = (short)events};
    while (poll(&entry, 1, 0) < 0)
        CHECK(errno == EINTR);
    return entry.revents;
}

/* Polls the descriptor of a registration. */
static short judge(const struct key *key) {
    uint32_t events = key->key.events;
    return poll_one(key->key.fd,
                    (events & SEL_READ ? POLLIN : 0) | (events & SEL_WRITE ? POLLOUT : 0) |
                        (events & SEL_PRIORITY ? POLLPRI : 0) |
                        (events & SEL_READ && !(events & SEL_EXCLUSIVE) ? POLLRDHUP : 0));
}

/* Whether select(2) sees that. Where a closed one makes it fail, it may be that more is seen. */
static bool has_bits(const struct key *key, short revents) {
    uint32_t events = key->key.events;
    return (revents & POLLNVAL) || (events & SEL_READ && revents & (POLLIN | POLLHUP | POLLERR)) ||
           (events & SEL_WRITE && revents & (POLLOUT | POLLERR)) ||
           (events & SEL_PRIORITY && revents & POLLPRI);
}

/* The expected report of a select. */
struct prediction {
    uint32_t events, detail; /* of a key, where it is reported */
    bool may, must;
};

static struct prediction predict(const struct model *model, const struct key *key) {
    short revents = judge(key);
    struct prediction prediction = {mask_of_poll(revents) & key->key.events,
                                    detail_of_poll(revents), false, false};
    if (key->is_disarmed)
        return prediction;
    prediction.may = key->is_lost || prediction.events != 0;
    prediction.must = !key->is_lost && prediction.events != 0;
    if (key->key.events & SEL_EDGE && !key->is_new)
        prediction.must = false;
    if (model->sees_bits && !has_bits(key, revents))
        prediction.must = false;
    return prediction;
}

/* Arguments. */

static int any_fd(struct model *model) {
    static const int wild[] = {-1, INT_MIN, INT_MAX, 1 << 20, 250, 1023, 1024, 65536};
    unsigned choice = byte() % (SLOTS + 6);
    int fd = -1;
    if (choice < SLOTS)
        fd = slots[choice];
    else if (choice == SLOTS)
        fd = wild[byte() % LENGTH(wild)];
    else if (choice == SLOTS + 1)
        fd = models[byte() % SELECTORS].fileno;
    else if (model->count > 0)
        fd = model->keys[byte() % (unsigned)model->count].key.fd;
    trace("%d: fd %d, ", (int)(model - models), fd);
    return fd;
}

static uint32_t any_mask(void) {
    unsigned choice = byte();
    uint32_t mask = (choice & 7 ? choice & 7 : SEL_READ) | ((choice >> 3 & 7) << 4 & MODES);
    if (choice >= 0xf0)
        mask ^= 1u << (byte() % 32);
    trace("events %#x: ", mask);
    return mask;
}

static bool is_valid(uint32_t mask) {
    return (mask & READINESS) != 0 && (mask & ~(READINESS | MODES)) == 0 &&
           (~mask & (SEL_EXCLUSIVE | SEL_PRIORITY)) != 0;
}

static void *any_data(void) {
    static uintptr_t serial;
    return (void *)++serial;
}

/* A selector, or NULL. */
static sel_selector *or_null(struct model *model) {
    return byte() % 16 == 15 ? NULL : model->selector;
}

/* Calls on a selector. */

static void call_register(struct model *model) {
    sel_selector *selector = or_null(model);
    int fd = any_fd(model);
    uint32_t mask = any_mask();
    void *data = any_data();
    struct results wrong = {0};
    int result;
    if (model->count == MOST_KEYS)
        return;
    may_be(&wrong, selector == NULL || fd < 0 || !is_valid(mask), -EINVAL);
    may_be(&wrong, (mask & MODES & ~model->modes) != 0, -ENOTSUP);
    may_be(&wrong, find(model, fd) != NULL, -EEXIST);
    may_be(&wrong, fcntl(fd, F_GETFD) < 0, -EBADF);
    result = CALL(sel_register(selector, fd, mask, data));
    if (wrong.count == 0 && is_fileno(fd) && result != 0) {
        CHECK(result == -ELOOP || (result == -EINVAL && mask & SEL_EXCLUSIVE));
        return;
    }
    CHECK(is_one_of(&wrong, result));
    if (result == 0)
        model->keys[model->count++] = (struct key){.key = {fd, mask, data}, .is_new = true};
}

static void call_modify(struct model *model) {
    sel_selector *selector = or_null(model);
    int fd = any_fd(model), result;
    uint32_t mask = any_mask();
    void *data = any_data();
    struct key *key = find(model, fd);
    struct results wrong = {0};
    may_be(&wrong, selector == NULL || fd < 0 || !is_valid(mask), -EINVAL);
    may_be(&wrong, (mask & MODES & ~model->modes) != 0, -ENOTSUP);
    may_be(&wrong, key == NULL, -ENOENT);
    result = CALL(sel_modify(selector, fd, mask, data));
    CHECK(is_one_of(&wrong, result));
    if (result != 0)
        return;
    key->is_new |= mask != key->key.events || key->is_disarmed;
    key->key.events = mask;
    key->key.data = data;
    key->is_disarmed = false;
    /* The kernel rejects this: poll(2) watches the descriptor, without the mode. */
    if (is_fileno(fd) && mask & SEL_EXCLUSIVE)
        key->is_lost = true;
}

static bool same(const sel_key *a, const sel_key *b) {
    return a->fd == b->fd && a->events == b->events && a->data == b->data;
}

static void call_unregister(struct model *model) {
    sel_selector *selector = or_null(model);
    int fd = any_fd(model), result;
    sel_key old, *place = byte() % 2 ? &old : NULL;
    struct key *key = find(model, fd);
    struct results wrong = {0};
    may_be(&wrong, selector == NULL || fd < 0, -EINVAL);
    may_be(&wrong, key == NULL, -ENOENT);
    result = CALL(sel_unregister(selector, fd, place));
    CHECK(is_one_of(&wrong, result));
    if (result != 0)
        return;
    CHECK(place == NULL || same(&old, &key->key));
    memmove(key, key + 1, (size_t)(model->keys + model->count - (key + 1)) * sizeof *key);
    model->count--;
}

static void call_get_key(struct model *model) {
    sel_selector *selector = or_null(model);
    int fd = any_fd(model), result;
    sel_key got, *place = byte() % 8 ? &got : NULL;
    struct key *key = find(model, fd);
    struct results wrong = {0};
    may_be(&wrong, selector == NULL || place == NULL || fd < 0, -EINVAL);
    may_be(&wrong, key == NULL, -ENOENT);
    result = CALL(sel_get_key(selector, fd, place));
    CHECK(is_one_of(&wrong, result));
    CHECK(result != 0 || same(&got, &key->key));
}

static void call_get_map(struct model *model) {
    static const int wild[] = {0, -1, INT_MIN, 1, 2};
    sel_selector *selector = or_null(model);
    unsigned choice = byte() % 16;
    int max = choice < LENGTH(wild) ? wild[choice] : MOST_KEYS, result;
    sel_key *keys = byte() % 8 == 7 ? NULL : calloc(max < 1 ? 1 : (size_t)max, sizeof *keys);
    result = CALL(sel_get_map(selector, keys, max));
    if (selector == NULL || max < 0 || (max > 0 && keys == NULL)) {
        CHECK(result == -EINVAL);
    } else {
        CHECK(result == model->count);
        for (int i = 0; i < result && i < max; i++)
            CHECK(same(&keys[i], &model->keys[i].key));
    }
    free(keys);
}

/* A selector's own descriptor is readable while something is ready. */
static void check_fileno(const struct model *model) {
    short revents;
    if (model->fileno < 0)
        return;
    revents = poll_one(model->fileno, POLLIN);
    CHECK((revents & ~POLLIN) == 0);
    for (int i = 0; i < model->count; i++) {
        const struct key *key = &model->keys[i];
        /* Other selectors and what epoll refuses are left out: their way here is not that short. */
        if (is_fileno(key->key.fd) || key->key.events & MODES ||
            lseek(key->key.fd, 0, SEEK_CUR) >= 0)
            continue;
        if (predict(model, key).must)
            CHECK(revents == POLLIN);
    }
}

static void call_fileno(struct model *model) {
    sel_selector *selector = or_null(model);
    int result = CALL(sel_fileno(selector));
    if (selector == NULL) {
        CHECK(result == -EINVAL);
    } else if (!model->watches_files) {
        CHECK(result == -ENOTSUP);
    } else {
        CHECK(result >= 0 && (model->fileno < 0 || model->fileno == result));
        model->fileno = result;
        check_fileno(model);
    }
}

static void call_wakeup(struct model *model) {
    sel_selector *selector = or_null(model);
    int result = (errno = UNTOUCHED, sel_wakeup(selector)); /* leaves no words */
    CHECK(errno == UNTOUCHED && result == (selector == NULL ? -EINVAL : 0));
    if (selector != NULL)
        model->wakeup = PENDING;
}

static void call_set_interruptible(struct model *model) {
    sel_selector *selector = or_null(model);
    int on = (int)(byte() % 3) - 1;
    CHECK(CALL(sel_set_interruptible(selector, on)) == (selector == NULL ? -EINVAL : 0));
    if (selector != NULL)
        model->is_interruptible = on != 0;
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* Each event belongs to a registration and is expected, once; no required event is missing. */
static void check_events(struct model *model, const sel_event *events, int count, int max,
                         const struct prediction *predictions) {
    bool is_seen[MOST_KEYS] = {false};
    int may = 0, must = 0;
    for (int i = 0; i < count; i++) {
        struct key *key = find(model, events[i].key.fd);
        const struct prediction *prediction;
        trace("  fd %d, events %#x, detail %#x\n", events[i].key.fd, events[i].events,
              events[i].detail);
        CHECK(key != NULL && same(&events[i].key, &key->key));
        CHECK(events[i].events != 0 && (events[i].events & ~(key->key.events & READINESS)) == 0);
        CHECK((events[i].detail & ~DETAIL) == 0);
        prediction = &predictions[key - model->keys];
        CHECK(prediction->may && !is_seen[key - model->keys]);
        is_seen[key - model->keys] = true;
        if (!key->is_lost)
            CHECK(events[i].events == prediction->events && events[i].detail == prediction->detail);
        key->is_new = false;
        if (key->key.events & SEL_ONESHOT)
            key->is_disarmed = true;
    }
    for (int i = 0; i < model->count; i++) {
        may += predictions[i].may;
        must += predictions[i].must;
        /* With this much room every required event must be reported. */
        if (max == MOST_KEYS && model->wakeup == NONE)
            CHECK(is_seen[i] || !predictions[i].must);
    }
    CHECK(count <= may && (count > 0 || must == 0 || model->wakeup != NONE));
}

/* Picks a timeout: no limit only if the wait surely ends. */
static int64_t any_timeout(bool is_sure) {
    static const int64_t wild[] = {SEL_FOREVER, INT64_MIN, INT64_MAX, 1000000000};
    unsigned choice = byte();
    if (choice < 0xa0)
        return 0;
    if (is_sure && choice < 0xe0)
        return wild[choice % LENGTH(wild)];
    return (int64_t)(choice & 0x1f) * 1000;
}

static void call_select(struct model *model, bool has_mask) {
    static const int wild[] = {1, 2, 3, 0, -1, INT_MIN};
    sel_selector *selector = or_null(model);
    struct prediction predictions[MOST_KEYS];
    unsigned choice = byte() % 16;
    int max = choice < LENGTH(wild) ? wild[choice] : MOST_KEYS, result;
    sel_event *events =
        byte() % 16 == 15 ? NULL : calloc(max < 1 ? 1 : (size_t)max, sizeof *events);
    bool may = false, must = false;
    sigset_t all_but, *mask = NULL;
    int64_t timeout, start;
    int before = signals;

    for (int i = 0; i < model->count; i++) {
        predictions[i] = predict(model, &model->keys[i]);
        may |= predictions[i].may;
        must |= predictions[i].must;
    }
    timeout = any_timeout(must || model->wakeup == PENDING);
    if (has_mask && byte() % 4) {
        sigfillset(&all_but);
        sigdelset(&all_but, SIGNAL);
        mask = &all_but;
    }
    trace("%d: max %d, timeout %lld: ", (int)(model - models), max, (long long)timeout);
    start = now();
    if (has_mask)
        result = CALL(sel_pselect(selector, events, max, timeout, mask));
    else
        result = CALL(sel_select(selector, events, max, timeout));

    if (selector == NULL || events == NULL || max < 1) {
        CHECK(result == -EINVAL && signals == before);
        free(events);
        return;
    }
    /* A signal is delivered only if the mask allows it and nothing is ready. */
    CHECK(signals == before || (mask != NULL && is_signal_pending && !must));
    if (mask != NULL && is_signal_pending && !may && model->wakeup == NONE)
        CHECK(signals != before && result == (model->is_interruptible ? -EINTR : 0));
    is_signal_pending &= signals == before;

    if (result < 0) {
        /* The signal is the fuzzer's if it is not ours. */
        CHECK(result == -EINTR && model->is_interruptible && !must);
    } else {
        CHECK(result <= max);
        if (result == 0 && model->wakeup == NONE)
            CHECK(timeout >= 0 && now() - start >= timeout);
        check_events(model, events, result, max, predictions);
        if (model->wakeup != NONE)
            model->wakeup = result == 0 ? NONE : PERHAPS;
    }
    free(events);
}

static void close_selector(struct model *model) {
    if (model->fileno >= 0)
        lose(model->fileno);
    CHECK(CALL(sel_close(model->selector)) == 0);
    *model = (struct model){.fileno = -1};
}

static void open_selector(struct model *model) {
    static const char *const backends[] = {"epoll", "poll", "select", NULL};
    sel_backend_info infos[32];
    int count = sel_backends(infos, 32);
    if (model->selector != NULL)
        close_selector(model);
    CHECK(CALL(sel_open(&model->selector, backends[byte() % LENGTH(backends)])) == 0);
    model->backend = sel_backend_name(model->selector);
    model->watches_files = strcmp(model->backend, "epoll") == 0;
    model->sees_bits = strcmp(model->backend, "select") == 0;
    for (int i = 0; i < count; i++)
        if (strcmp(infos[i].name, model->backend) == 0)
            model->modes = SEL_ONESHOT | (infos[i].capabilities & SEL_CAN_EDGE ? SEL_EDGE : 0) |
                           (infos[i].capabilities & SEL_CAN_EXCLUSIVE ? SEL_EXCLUSIVE : 0);
}

/* Calls on descriptors. */

static void drop(int slot) {
    if (slots[slot] < 0)
        return;
    trace("close(%d)\n", slots[slot]);
    lose(slots[slot]);
    close(slots[slot]);
    slots[slot] = -1;
}

static void make(void) {
    int slot = (int)(byte() % SLOTS), other = (slot + 1) % SLOTS, ends[2] = {-1, -1};
    drop(slot);
    switch (byte() % 4) {
    case 0: ends[0] = eventfd(0, EFD_NONBLOCK); break;
    case 1: ends[0] = memfd_create("file", 0); break;
    case 2:
        drop(other);
        CHECK(pipe2(ends, O_NONBLOCK) == 0);
        break;
    default: drop(other); CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    }
    trace("open: %d, %d\n", ends[0], ends[1]);
    slots[slot] = ends[0];
    if (ends[1] >= 0)
        slots[other] = ends[1];
}

/* Duplicates a descriptor, to a new number or with dup2(2) to that of another one. */
static void duplicate(void) {
    int from = (int)(byte() % SLOTS), to = (int)(byte() % SLOTS);
    if (from == to || slots[from] < 0)
        return;
    if (byte() % 2 && slots[to] >= 0) {
        lose(slots[to]);
        CHECK(dup2(slots[from], slots[to]) == slots[to]);
        trace("dup2(%d, %d)\n", slots[from], slots[to]);
    } else {
        drop(to);
        slots[to] = dup(slots[from]);
        trace("dup(%d) = %d\n", slots[from], slots[to]);
    }
}

static void use(void) {
    static const char zeros[4096];
    char buffer[4096];
    uint64_t number = 1;
    int fd = slots[byte() % SLOTS];
    unsigned choice = byte() % 8;
    trace("use %u of %d\n", choice, fd);
    switch (choice) {
    case 0:
    case 1: (void)!write(fd, &number, sizeof number); break;
    case 2:
    case 3: (void)!read(fd, buffer, sizeof buffer); break;
    case 4: send(fd, "!", 1, MSG_OOB | MSG_NOSIGNAL); break;
    case 5: shutdown(fd, (int)(byte() % 3)); break;
    case 6:
        /* Until nothing fits; an eventfd by one number. */
        number = UINT64_MAX - 1;
        if (lseek(fd, 0, SEEK_CUR) < 0 && write(fd, &number, sizeof number) > 0)
            while (write(fd, zeros, sizeof zeros) == sizeof zeros)
                ;
        break;
    default:
        if (!is_signal_pending)
            raise(SIGNAL);
        is_signal_pending = true;
    }
}

static void count_signal(int number) {
    (void)number;
    signals++;
}

/* The signal is blocked but in sel_pselect(). */
static void take_signals(void) {
    struct sigaction action = {.sa_handler = count_signal};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(sigaction(SIGNAL, &action, NULL) == 0);
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
}

static void take_pending_signal(void) {
    sigset_t set;
    int number;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    CHECK(sigwait(&set, &number) == 0);
    is_signal_pending = false;
}

static void call(void) {
    unsigned choice = byte();
    struct model *model = &models[choice >> 7];
    switch (choice % 16) {
    case 0: make(); return;
    case 1: duplicate(); return;
    case 2: drop((int)(byte() % SLOTS)); return;
    case 3:
    case 4: use(); return;
    default: break;
    }
    if (model->selector == NULL || choice % 128 == 15)
        open_selector(model);
    switch (choice % 16) {
    case 5:
    case 6: call_register(model); break;
    case 7: call_modify(model); break;
    case 8: call_unregister(model); break;
    case 9:
    case 10: call_select(model, false); break;
    case 11: call_select(model, true); break;
    case 12: call_wakeup(model); break;
    case 13: call_fileno(model); break;
    case 14: call_set_interruptible(model); break;
    default: byte() % 2 ? call_get_key(model) : call_get_map(model);
    }
    check_fileno(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int before;
    take_signals();
    unsetenv("SELECTORS_BACKEND");
    before = open_descriptors();
    next = data;
    end = data + size;
    for (int i = 0; i < SLOTS; i++)
        slots[i] = -1;
    for (int i = 0; i < SELECTORS; i++)
        models[i] = (struct model){.fileno = -1};

    for (int i = 0; i < MOST_CALLS && next < end; i++)
        call();

    for (int i = 0; i < SELECTORS; i++)
        if (models[i].selector != NULL)
            close_selector(&models[i]);
    for (int i = 0; i < SLOTS; i++)
        drop(i);
    if (is_signal_pending)
        take_pending_signal();
    CHECK(open_descriptors() == before);
    return 0;
}
