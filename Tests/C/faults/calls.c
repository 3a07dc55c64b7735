/*
 * calls.c - wraps the library's functions for the tests, and repeats a call that fails.
 *
 * A failed call has changed nothing. So the wrapper repeats a call that returns an injected error,
 * and the test must still pass. A fault that no call returns must have no effect. A returned error
 * must be one that the header documents for the function.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../conformance/helpers.h"
#include "faults.h"

#include <selectors_plugin.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_KEYS 64
#define WORDS 1024

static struct {
    __typeof__(&sel_open) sel_open;
    __typeof__(&sel_close) sel_close;
    __typeof__(&sel_register) sel_register;
    __typeof__(&sel_modify) sel_modify;
    __typeof__(&sel_unregister) sel_unregister;
    __typeof__(&sel_select) sel_select;
    __typeof__(&sel_pselect) sel_pselect;
    __typeof__(&sel_set_interruptible) sel_set_interruptible;
    __typeof__(&sel_wakeup) sel_wakeup;
    __typeof__(&sel_get_key) sel_get_key;
    __typeof__(&sel_get_map) sel_get_map;
    __typeof__(&sel_fileno) sel_fileno;
    __typeof__(&sel_backends) sel_backends;
    __typeof__(&sel_add_backend) sel_add_backend;
    __typeof__(&sel_load_plugin) sel_load_plugin;
    __typeof__(&sel_last_error) sel_last_error;
} next;

#define FIND(name) (*(void **)&next.name = find_in_library(#name))

__attribute__((constructor)) static void find_all(void) {
    FIND(sel_open);
    FIND(sel_close);
    FIND(sel_register);
    FIND(sel_modify);
    FIND(sel_unregister);
    FIND(sel_select);
    FIND(sel_pselect);
    FIND(sel_set_interruptible);
    FIND(sel_wakeup);
    FIND(sel_get_key);
    FIND(sel_get_map);
    FIND(sel_fileno);
    FIND(sel_backends);
    FIND(sel_add_backend);
    FIND(sel_load_plugin);
    FIND(sel_last_error);
}

static bool is_interruptible;

/*
 * The test may wait for sel_fileno(). If the kernel rejects a change, that wait has a spurious
 * wake-up, which tests do not expect.
 */
static bool is_nested;

/* This thread's last message before the injected error, which the wrapper hides. */
static _Thread_local char last_words[WORDS];
static _Thread_local bool has_last_words;

void complain(const char *format, ...) {
    size_t used = strlen(plan->complaint);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(plan->complaint + used, sizeof plan->complaint - used, format, arguments);
    va_end(arguments);
}

/* The registrations, and what else a failed call must not change. */
struct before {
    sel_key keys[MOST_KEYS];
    int count;
    char words[WORDS];
    bool came_upon_fault; /* in the call that a signal handler interrupted */
};

static int map_of(sel_selector *selector, sel_key keys[MOST_KEYS]) {
    return selector == NULL ? -1 : next.sel_get_map(selector, keys, MOST_KEYS);
}

static void begin(struct before *before, sel_selector *selector) {
    before->came_upon_fault = came_upon_fault;
    came_upon_fault = false;
    before->count = map_of(selector, before->keys);
    snprintf(before->words, WORDS, "%s", has_last_words ? last_words : next.sel_last_error());
}

static bool same_keys(const sel_key *left, const sel_key *right, int count) {
    for (int i = 0; i < count && i < MOST_KEYS; i++)
        if (left[i].fd != right[i].fd || left[i].events != right[i].events ||
            left[i].data != right[i].data)
            return false;
    return true;
}

/* The errors that the headers document: "sel_open", " EINVAL ENOENT ...". */
static const char *const documented[][2] = {
#include "documented.h"
};

bool is_documented(const char *function, int error) {
    char word[32];
    snprintf(word, sizeof word, " %s ", error == ENOTSUP ? "ENOTSUP" : strerrorname_np(error));
    for (int i = 0; i < LENGTH(documented); i++)
        if (strcmp(documented[i][0], function) == 0)
            return strstr(documented[i][1], word) != NULL;
    return false;
}

/* Whether the call may return the fault's error. */
static bool may_be_told(const char *call, bool is_masked) {
    if (plan->error == EINTR && !is_interruptible)
        return false;
    if (!is_masked && (plan->error == ENOSYS || plan->error == EPERM))
        return false;
    return is_documented(call, plan->error);
}

/* Checks a failed call that met a fault; returns whether to repeat the call. */
static bool is_worth_another(const struct before *before, sel_selector *selector, const char *call,
                             int result, bool is_masked) {
    const char *error = strerrorname_np(-result);
    sel_key keys[MOST_KEYS];
    bool is_about_words = plan->function == CALLOC || plan->function == SETSPECIFIC;
    bool has_words_of_its_own = strcmp(call, "sel_load_plugin") == 0;
    if (is_about_words && result != -ENOMEM &&
        (!*next.sel_last_error() || strcmp(next.sel_last_error(), sel_strerror(result)) == 0)) {
        /*
         * Another error, without memory for its message. The call is not repeated after a
         * signal, which does not recur, nor on a closed selector.
         */
        snprintf(last_words, WORDS, "%s", sel_strerror(result));
        has_last_words = result == -EINTR || result == -ECANCELED;
        return !has_last_words;
    }
    if (result != -plan->error)
        return false;
    if (!may_be_told(call, is_masked)) {
        complain("%s() must not tell %s\n", call, error);
        return false;
    }
    if (strstr(next.sel_last_error(), sel_strerror(result)) == NULL && !is_about_words &&
        !has_words_of_its_own)
        complain("%s() tells %s as \"%s\"\n", call, error, next.sel_last_error());
    if (map_of(selector, keys) != before->count || !same_keys(keys, before->keys, before->count))
        complain("%s() tells %s and has changed what is registered\n", call, error);
    if (plan->span == FOR_EVER) {
        plan->is_excused = true;
        return false;
    }
    snprintf(last_words, WORDS, "%s", before->words);
    has_last_words = true;
    plan->told++;
    return true;
}

/* Whether a call is complete, or must be repeated. */
static bool ends(const struct before *before, sel_selector *selector, const char *call, int result,
                 bool is_masked) {
    bool is_over = true;
    if (result < 0 && !is_documented(call, -result))
        complain("%s() returns %s, which the header does not tell\n", call,
                 strerrorname_np(-result));
    if (plan->is_of_fact)
        return true;
    if (came_upon_fault) {
        if (plan->span == AWHILE)
            plan->is_over = true;
        if (result < 0)
            is_over = !is_worth_another(before, selector, call, result, is_masked);
        else if (is_nested &&
                 (plan->function == EPOLL_CTL_MOD_ || plan->function == EPOLL_CTL_DEL_))
            plan->is_excused = true;
    } else if (result < 0) {
        has_last_words = false;
        if (result == -ENOSYS && is_masked)
            plan->is_excused = true; /* an old system */
    }
    came_upon_fault = is_over && before->came_upon_fault;
    return is_over;
}

/* Repeats a call as long as it returns an injected error. */
#define CALL(result, selector, is_masked, call)                        \
    do {                                                               \
        struct before before;                                          \
        begin(&before, selector);                                      \
        do                                                             \
            result = (call);                                           \
        while (!ends(&before, selector, __func__, result, is_masked)); \
    } while (0)

int sel_open(sel_selector **out, const char *backend) {
    int result;
    CALL(result, NULL, false, next.sel_open(out, backend));
    return result;
}

int sel_close(sel_selector *selector) {
    int result;
    CALL(result, NULL, false, next.sel_close(selector));
    return result;
}

int sel_register(sel_selector *selector, int fd, uint32_t events, void *data) {
    int result;
    CALL(result, selector, false, next.sel_register(selector, fd, events, data));
    return result;
}

int sel_modify(sel_selector *selector, int fd, uint32_t events, void *data) {
    int result;
    CALL(result, selector, false, next.sel_modify(selector, fd, events, data));
    return result;
}

int sel_unregister(sel_selector *selector, int fd, sel_key *old) {
    int result;
    CALL(result, selector, false, next.sel_unregister(selector, fd, old));
    return result;
}

/* Whether a resource shortage was injected since `failures` was read. */
static bool has_lacked(int failures) {
    return plan->failures > failures && (plan->error == ENOMEM || plan->error == ENOSPC);
}

/*
 * A resource shortage that prevents a change or a poll of one file does not prevent other events.
 * The error is returned only if nothing is ready, so a caller that got events must call again to
 * see it. The events of the second call count as if the first had returned them.
 */
static int add_rest(sel_selector *selector, sel_event *events, int max, int count) {
    sel_event *rest = malloc((size_t)max * sizeof *rest);
    int others = rest == NULL ? 0 : next.sel_select(selector, rest, max, 0);
    for (int i = 0, had = count, other; i < others; i++) {
        for (other = 0; other < had && events[other].key.fd != rest[i].key.fd; other++)
            continue;
        if (other < had) {
            events[other].events |= rest[i].events;
            events[other].detail |= rest[i].detail;
        } else if (count < max) {
            events[count++] = rest[i];
        }
    }
    free(rest);
    return count;
}

/* Registrations are not compared: another thread may change them during the wait. */

/* The rest of a timeout, so that a repeated wait does not restart it. */
static int64_t left_of(int64_t timeout_ns, int64_t start) {
    int64_t left = timeout_ns - (now() - start);
    return timeout_ns <= 0 ? timeout_ns : left < 0 ? 0 : left;
}

int sel_select(sel_selector *selector, sel_event *events, int max, int64_t timeout_ns) {
    int failures = plan->failures, count;
    int64_t start = now();
    CALL(count, NULL, false, next.sel_select(selector, events, max, left_of(timeout_ns, start)));
    if (count > 0 && count < max && has_lacked(failures) && !plan->is_of_fact)
        count = add_rest(selector, events, max, count);
    return count;
}

int sel_pselect(sel_selector *selector, sel_event *events, int max, int64_t timeout_ns,
                const sigset_t *mask) {
    int failures = plan->failures, count;
    int64_t start = now();
    CALL(count, NULL, mask != NULL,
         next.sel_pselect(selector, events, max, left_of(timeout_ns, start), mask));
    if (count > 0 && count < max && has_lacked(failures) && !plan->is_of_fact)
        count = add_rest(selector, events, max, count);
    return count;
}

int sel_set_interruptible(sel_selector *selector, int on) {
    int result;
    CALL(result, NULL, false, next.sel_set_interruptible(selector, on));
    is_interruptible = on != 0;
    return result;
}

static int wake(sel_selector *selector) {
    int result;
    is_waking = true;
    result = next.sel_wakeup(selector);
    is_waking = false;
    return result;
}

/* May be called in a signal handler. */
int sel_wakeup(sel_selector *selector) {
    int result;
    CALL(result, NULL, false, wake(selector));
    return result;
}

int sel_get_key(sel_selector *selector, int fd, sel_key *key) {
    int result;
    CALL(result, NULL, false, next.sel_get_key(selector, fd, key));
    return result;
}

int sel_get_map(sel_selector *selector, sel_key *keys, int max) {
    int result;
    CALL(result, NULL, false, next.sel_get_map(selector, keys, max));
    return result;
}

int sel_fileno(sel_selector *selector) {
    int result;
    is_nested = true;
    CALL(result, selector, false, next.sel_fileno(selector));
    return result;
}

int sel_backends(sel_backend_info *infos, int max) {
    int result;
    CALL(result, NULL, false, next.sel_backends(infos, max));
    return result;
}

int sel_add_backend(const sel_backend_ops *ops) {
    int result;
    CALL(result, NULL, false, next.sel_add_backend(ops));
    return result;
}

/* A rejected plug-in is listed with the reason; its texts are kept after its removal. */
int sel_load_plugin(const char *path) {
    int result, told = plan->told;
    CALL(result, NULL, false, next.sel_load_plugin(path));
    plan->retired += 2 * (plan->told - told); /* the reason changes twice */
    return result;
}

const char *sel_last_error(void) {
    return has_last_words ? last_words : next.sel_last_error();
}
