/*
 * support.c - checks messages and the library's operation; finds the plug-in that breaks rules.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "plugins.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_INFOS 64

bool is_printable_line(const char *text) {
    const char *next = text;
    while ((unsigned char)*next >= ' ' && *next != '\x7f')
        next++;
    return *text != '\0' && *next == '\0';
}

bool check_refused(const char *file, int line, const char *call, int got, int wanted,
                   const char *const *words) {
    int after = errno;
    const char *told = sel_last_error();
    if (!check_equal(file, line, call, got, wanted) ||
        !check_equal(file, line, "errno", after, UNTOUCHED) ||
        !check(file, line, "the last error is a printable line", is_printable_line(told))) {
        note("the last error is \"%s\"", told);
        return false;
    }
    for (; *words != NULL; words++)
        if (strstr(told, *words) == NULL)
            note("%s:%d: failed: %s: no \"%s\" in \"%s\"", file, line, call, *words, told);
    return *test.failure == '\0';
}

const char *words_of(int error) {
    static char words[128]; /* what is told of an unknown error does not last */
    snprintf(words, sizeof words, "%s", error == -EPROTO ? AGAINST_THE_RULES : sel_strerror(error));
    return words;
}

const sel_backend_info *listed(const char *name) {
    static sel_backend_info infos[MOST_INFOS];
    const sel_backend_info *found = NULL;
    int count = sel_backends(infos, MOST_INFOS);
    for (int i = 0; i < count && i < MOST_INFOS; i++) {
        if (strcmp(infos[i].name, name) != 0)
            continue;
        if (found != NULL)
            note("\"%s\" is listed twice", name);
        found = &infos[i];
    }
    return found;
}

bool listed_as_refused(const char *path, const char *words) {
    const sel_backend_info *info = listed(path);
    if (info != NULL && info->reason != NULL && strstr(info->reason, words) != NULL &&
        info->origin != NULL && strcmp(info->origin, path) == 0 && info->rank == 0 &&
        info->capabilities == 0)
        return true;
    note("\"%s\" is listed with the reason \"%s\", not \"%s\"", path,
         info == NULL || info->reason == NULL ? "(none)" : info->reason, words);
    return false;
}

bool works(const char *backend) {
    sel_selector *selector = open_selector(backend);
    int fd = make_ready_event();
    return selector != NULL && fd >= 0 &&
           sees(selector, watch(selector, fd, SEL_READ), SEL_READ, 0) &&
           sel_unregister(selector, fd, NULL) == 0 && quiet(selector) &&
           close_selector(selector) == 0 && drop(fd);
}

bool built_ins_work(void) {
    sel_selector *selector = open_selector(NULL);
    if (selector == NULL || strcmp(sel_backend_name(selector), "epoll") != 0) {
        note("the default is %s", selector == NULL ? "(none)" : sel_backend_name(selector));
        return false;
    }
    close_selector(selector);
    return works("epoll") && works("poll") && works("select");
}

void break_rule(const char *rule, const char *value) {
    char text[128];
    snprintf(text, sizeof text, "%s%s%s", rule, value == NULL ? "" : "=",
             value == NULL ? "" : value);
    setenv("WRONG", text, 1);
}

void keep_rules(void) {
    unsetenv("WRONG");
}

sel_selector *open_wrong(void) {
    if (sel_load_plugin(PLUGIN) != 0)
        note("%s", sel_last_error());
    return open_selector("wrong");
}

/* Files. */

static char folder[] = "/tmp/plugins-test-XXXXXX";
static const char *const names[] = {"text.so", "late.so",    "link.so",
                                    "copy.so", "privileged", "trace.log"};

const char *scratch(char path[64], const char *name) {
    snprintf(path, 64, "%s/%s", folder, name);
    return path;
}

bool make_scratch(void) {
    return mkdtemp(folder) != NULL;
}

void remove_scratch(void) {
    char path[64];
    for (int i = 0; i < LENGTH(names); i++)
        unlink(scratch(path, names[i]));
    rmdir(folder);
}

bool copy_file(const char *source, const char *path) {
    struct stat status;
    int from = open(source, O_RDONLY | O_CLOEXEC);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    bool copied = from >= 0 && to >= 0 && fstat(from, &status) == 0 &&
                  sendfile(to, from, NULL, (size_t)status.st_size) == status.st_size;
    close(from);
    close(to);
    return copied;
}
