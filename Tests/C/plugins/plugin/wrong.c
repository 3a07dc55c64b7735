/*
 * wrong.c - a plug-in that breaks one rule of selectors_plugin.h at a time, for plugins_test.
 *
 *     WRONG=no-wait    WRONG=name=Epoll    WRONG=add=-99999
 *
 * WRONG names the rule, with a value after an equals sign, and may change at any time. Without it
 * this is a backend that keeps the contract, poll or that of WRONG_BEHIND, under the name "wrong".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <selectors_plugin.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An errno that nobody sets. */
enum { WRONG_ERRNO = 4242 };

struct wrong {
    const sel_backend_ops *ops;
    void *instance;
    uint64_t first_token, last_token; /* but for the library's own descriptor */
};

static const sel_plugin_host *host;

/* What follows the name of the rule, "" if nothing; NULL if another rule is broken, or none. */
static const char *value(const char *rule) {
    const char *wrong = getenv("WRONG");
    size_t length = strlen(rule);
    if (wrong == NULL || strncmp(wrong, rule, length) != 0)
        return NULL;
    return wrong[length] == '='    ? wrong + length + 1
           : wrong[length] == '\0' ? wrong + length
                                   : NULL;
}

static bool breaks(const char *rule) {
    return value(rule) != NULL;
}

static int number(const char *rule, int otherwise) {
    return breaks(rule) ? (int)strtoll(value(rule), NULL, 0) : otherwise;
}

/* Sets errno if that is what is wrong, and passes a result on. */
static int touch(int result) {
    if (breaks("errno"))
        errno = WRONG_ERRNO;
    return result;
}

/* Asks the library in the middle of its call. */
static void ask_the_library(const char *name) {
    sel_backend_info infos[16];
    sel_selector *selector;
    sel_backends(infos, 16);
    if (sel_open(&selector, name) == 0)
        sel_close(selector);
}

/* Announces itself by a descriptor, and returns when that thread of the process is blocked. */
static void wait_until_blocked(const char *fd_and_thread) {
    char path[64], status[256] = "", *end, *name_end = NULL;
    int announcement = (int)strtol(fd_and_thread, &end, 10);
    uint64_t one = 1;
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", strtol(end, NULL, 10));
    if (write(announcement, &one, sizeof one) != sizeof one)
        return;
    while (name_end == NULL || name_end[2] != 'S') {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t length = fd < 0 ? -1 : read(fd, status, sizeof status - 1);
        close(fd);
        if (length <= 0)
            return;
        status[length] = '\0';
        name_end = strrchr(status, ')');
    }
}

__attribute__((constructor)) static void construct(void) {
    if (breaks("constructor-asks"))
        ask_the_library(NULL);
    if (breaks("constructor-blocks")) {
        wait_until_blocked(value("constructor-blocks"));
        ask_the_library("epoll");
    }
    touch(0);
}

static int wrong_probe(const char **reason) {
    if (breaks("probe-asks"))
        ask_the_library("wrong");
    if (breaks("probe-with-reason"))
        *reason = "there is\na \033reason";
    else if (breaks("probe-with-empty-reason"))
        *reason = "";
    return touch(
        number("probe", number("probe-with-reason", number("probe-with-empty-reason", 0))));
}

static int wrong_open(void **instance) {
    const char *behind = breaks("open-itself") ? "wrong" : getenv("WRONG_BEHIND");
    struct wrong *wrong;
    int result;
    if (breaks("open-asks"))
        ask_the_library("wrong");
    if (breaks("open"))
        return number("open", 0);
    wrong = calloc(1, sizeof *wrong);
    if (wrong == NULL)
        return -ENOMEM;
    result = host->open_backend(behind == NULL ? "poll" : behind, &wrong->ops, &wrong->instance);
    if (result == 0)
        *instance = wrong;
    else
        free(wrong);
    return touch(result);
}

static int wrong_add(void *instance, int fd, uint32_t mask, uint64_t token) {
    struct wrong *wrong = instance;
    if (breaks("add"))
        return number("add", 0);
    if (token != UINT64_MAX) {
        wrong->last_token = token;
        if (wrong->first_token == 0)
            wrong->first_token = token;
    }
    return touch(wrong->ops->add(wrong->instance, fd, mask, token));
}

static int wrong_modify(void *instance, int fd, uint32_t mask, uint64_t token) {
    struct wrong *wrong = instance;
    if (breaks("modify"))
        return number("modify", 0);
    return touch(wrong->ops->modify(wrong->instance, fd, mask, token));
}

static int wrong_remove(void *instance, int fd) {
    struct wrong *wrong = instance;
    if (breaks("remove"))
        return number("remove", 0);
    return touch(wrong->ops->remove(wrong->instance, fd));
}

static int wrong_wait(void *instance, sel_backend_event *events, int max, int64_t timeout_ns,
                      const sigset_t *signals) {
    struct wrong *wrong = instance;
    int count;
    if (breaks("wait"))
        return number("wait", 0);
    if (breaks("wait-reports-one-too-many"))
        return max + 1;
    if (breaks("wait-reports-a-token")) {
        events[0] = (sel_backend_event){POLLIN, strtoull(value("wait-reports-a-token"), NULL, 0)};
        return 1;
    }
    if (breaks("wait-reports-the-first-token")) {
        events[0] = (sel_backend_event){POLLIN, wrong->first_token};
        return 1;
    }
    if (breaks("wait-reports-a-mask")) {
        events[0] = (sel_backend_event){(uint32_t)strtoul(value("wait-reports-a-mask"), NULL, 0),
                                        wrong->last_token};
        return 1;
    }
    count = wrong->ops->wait(wrong->instance, events, max, timeout_ns, signals);
    for (int i = 0; breaks("wait-reports-twice") && i < count && count < max; i += 2, count++)
        memmove(events + i + 1, events + i, (size_t)(count - i) * sizeof *events);
    return touch(count);
}

static int wrong_fileno(void *instance) {
    struct wrong *wrong = instance;
    if (breaks("fileno"))
        return number("fileno", 0);
    return touch(wrong->ops->fileno(wrong->instance));
}

static int wrong_reset(void *instance, int after_fork) {
    struct wrong *wrong = instance;
    if (breaks("reset"))
        return number("reset", 0);
    return touch(wrong->ops->reset(wrong->instance, after_fork));
}

static void wrong_close(void *instance) {
    struct wrong *wrong = instance;
    wrong->ops->close(wrong->instance);
    free(wrong);
    touch(0);
}

sel_plugin_entry sel_plugin;

/* Tells a fork's child that it was called: a table that ends before it must not have that done. */
static void wrong_forked(void *instance) {
    struct wrong *wrong = instance;
    if (getenv("WRONG_FORKED") != NULL)
        _exit(atoi(getenv("WRONG_FORKED")));
    wrong->ops->forked(wrong->instance);
}

const sel_backend_ops *sel_plugin(const sel_plugin_host *given) {
    static sel_backend_ops ops;
    bool needs_fileno = breaks("no-fileno") || breaks("no-reset") || getenv("WRONG_BEHIND") != NULL;
    bool has_probe = getenv("WRONG") != NULL && strncmp(getenv("WRONG"), "probe", 5) == 0;
    Dl_info self;
    host = given;
    if (breaks("entry-asks"))
        ask_the_library(NULL);
    if (breaks("entry-loads-itself") && dladdr(&ops, &self) != 0)
        sel_load_plugin(self.dli_fname);
    ops = (sel_backend_ops){
        .abi = (uint32_t)number("abi", SEL_PLUGIN_ABI),
        .size = (uint32_t)number("size", sizeof ops),
        .name = breaks("no-name") ? NULL
                : breaks("name")  ? value("name")
                                  : "wrong",
        .rank = number("rank", 0),
        .capabilities = (uint32_t)number("capabilities", needs_fileno ? SEL_CAN_FILENO : 0),
        .probe = has_probe ? wrong_probe : NULL,
        .open = breaks("no-open") ? NULL : wrong_open,
        .add = breaks("no-add") ? NULL : wrong_add,
        .modify = breaks("no-modify") ? NULL : wrong_modify,
        .remove = breaks("no-remove") ? NULL : wrong_remove,
        .wait = breaks("no-wait") ? NULL : wrong_wait,
        .fileno = breaks("no-fileno") ? NULL : wrong_fileno,
        .reset = breaks("no-reset") ? NULL : wrong_reset,
        .close = breaks("no-close") ? NULL : wrong_close,
        .forked = wrong_forked,
    };
    touch(0);
    return breaks("null") ? NULL : &ops;
}
