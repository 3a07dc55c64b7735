/*
 * trace.c - proves that the plug-in trace.so logs the library's calls and their results.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "plugins.h"

#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRACE "plugins/trace.so"
#define MOST_TEXT 16384

/* Begins an empty log, over a backend ("" is the best one), and loads the plug-in. */
static bool begin(const char *backend) {
    char path[64], value[96];
    unlink(scratch(path, "trace.log"));
    snprintf(value, sizeof value, "%s:%s", backend, path);
    setenv("SELECTORS_TRACE", value, 1);
    if (sel_load_plugin(TRACE) == 0)
        return true;
    note("%s", sel_last_error());
    return false;
}

/* The log's descriptor, which stays open as long as the process lives. */
static int log_number(void) {
    for (int number = 200; number < 300; number++)
        if (fcntl(number, F_GETFD) >= 0)
            return number;
    return -1;
}

static const char *read_log(void) {
    static char text[MOST_TEXT];
    char path[64];
    int fd = open(scratch(path, "trace.log"), O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    close(fd);
    text[length < 0 ? 0 : length] = '\0';
    return text;
}

/* Whether the log has lines of these patterns, and none but these, in this order. */
static bool logs(const char *const *calls, int count) {
    const char *line = read_log();
    for (int i = 0; i < count; i++) {
        char pattern[256];
        regex_t regex;
        regmatch_t match;
        snprintf(pattern, sizeof pattern, "^[0-9]+\\.[0-9]{6} %ld #1 %s\n", (long)getpid(),
                 calls[i]);
        if (regcomp(&regex, pattern, REG_EXTENDED) != 0) {
            note("no pattern: %s", pattern);
            return false;
        }
        bool is_there = regexec(&regex, line, 1, &match, 0) == 0;
        regfree(&regex);
        if (!is_there) {
            note("instead of \"%s\": %.200s", calls[i], line);
            return false;
        }
        line += match.rm_eo;
    }
    if (*line != '\0')
        note("and more: %.200s", line);
    return *line == '\0';
}

#define LOGS(...) \
    CHECK(logs((const char *const[]){__VA_ARGS__}, LENGTH(((const char *const[]){__VA_ARGS__}))))

static void each_call_is_a_line(void) {
    sel_event events[4];
    sel_selector *selector;
    CHECK(begin("epoll"));
    CHECK(dup2(make_ready_event(), 60) == 60 && dup2(make_event(), 61) == 61);
    OK(sel_open(&selector, "trace"));
    OK(sel_register(selector, 60, SEL_READ, NULL));
    REFUSED(sel_register(selector, 62, SEL_READ, NULL), -EBADF);
    OK(sel_register(selector, 61, SEL_READ, NULL));
    OK(sel_modify(selector, 61, BOTH | SEL_PRIORITY | SEL_EDGE, NULL));
    EQUAL(sel_select(selector, events, 4, SEL_FOREVER), 2);
    OK(sel_unregister(selector, 60, NULL));
    EQUAL(sel_select(selector, events, 4, 1500 * US), 0);
    OK(sel_unregister(selector, 61, NULL));
    OK(sel_close(selector));
    CHECK(close(60) == 0 && close(61) == 0);
    LOGS("open\\(epoll\\) = 0", "add\\([0-9]+, IN\\|EDGE, 0xffffffffffffffff\\) = 0",
         "add\\(60, IN\\|RDHUP, 0x3c\\) = 0", "add\\(61, IN\\|RDHUP, 0x3d\\) = 0",
         "modify\\(61, IN\\|OUT\\|PRI\\|RDHUP\\|EDGE, 0x3d\\) = 0",
         "wait\\(4, forever\\) = 2 \\[(IN 0x3c, OUT 0x3d|OUT 0x3d, IN 0x3c)\\]",
         "remove\\(60\\) = 0", "wait\\(4, 0\\.0015[0-9]{5} s\\) = 0", "remove\\(61\\) = 0",
         "close\\(\\) = 0");
    CHECK(close(log_number()) == 0);
}

static void it_can_do_what_the_one_behind_can(void) {
    CHECK(begin("poll"));
    CHECK(listed("trace") != NULL && listed("trace")->capabilities == SEL_CAN_READ_HANGUP);
    CHECK(works("trace"));
    CHECK(close(log_number()) == 0);
}

static void it_stands_before_the_best_one(void) {
    setenv("SELECTORS_BACKEND", "trace", 1);
    CHECK(begin(""));
    CHECK(listed("trace")->capabilities == listed("epoll")->capabilities);
    CHECK(works(NULL));
    CHECK(strstr(read_log(), " open(epoll) = 0\n") != NULL);
    CHECK(close(log_number()) == 0);
}

/* The initial file only: a file that gets the number later is not the log. */
static void without_a_file_it_is_standard_error(void) {
    char path[64], byte;
    int before = dup(STDERR_FILENO), ends[2];
    int log = open(scratch(path, "trace.log"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    setenv("SELECTORS_TRACE", "select", 1);
    CHECK(dup2(log, STDERR_FILENO) == STDERR_FILENO && close(log) == 0);
    OK(sel_load_plugin(TRACE));
    CHECK(works("trace"));
    CHECK(make_pipe(ends) && dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
    CHECK(works("trace"));
    EQUAL(read(ends[0], &byte, 1), -1); /* would block */
    CHECK(dup2(before, STDERR_FILENO) == STDERR_FILENO && close(before) == 0);
    CHECK(drop(ends[0]) && drop(ends[1]) && close(log_number()) == 0);
    CHECK(strstr(read_log(), " open(select) = 0\n") != NULL);
}

static void what_cannot_be_traced_is_told(void) {
    setenv("SELECTORS_TRACE", "nonsense", 1);
    OK(sel_load_plugin(TRACE));
    CHECK(listed("trace")->reason != NULL);
    CHECK(strstr(listed("trace")->reason, "SELECTORS_TRACE: nonsense: ") != NULL);
    CHECK(built_ins_work());
}

static void a_log_that_cannot_be_opened_is_told(void) {
    setenv("SELECTORS_TRACE", "poll:/no/folder/log", 1);
    OK(sel_load_plugin(TRACE));
    CHECK(listed("trace")->reason != NULL);
    CHECK(strstr(listed("trace")->reason, "/no/folder/log: No such file") != NULL);
    CHECK(built_ins_work());
}

static void a_log_that_nobody_reads_is_told(void) {
    char path[64], value[96];
    unlink(scratch(path, "trace.log"));
    CHECK(mkfifo(path, 0600) == 0);
    snprintf(value, sizeof value, "poll:%s", path);
    setenv("SELECTORS_TRACE", value, 1);
    OK(sel_load_plugin(TRACE));
    CHECK(listed("trace")->reason != NULL);
    CHECK(strstr(listed("trace")->reason, path) != NULL);
    CHECK(unlink(path) == 0);
}

static void a_log_that_is_full_disturbs_nobody(void) {
    setenv("SELECTORS_TRACE", "epoll:/dev/full", 1);
    OK(sel_load_plugin(TRACE));
    CHECK(works("trace"));
    CHECK(close(log_number()) == 0);
}

/* A program that closes all numbers and uses them for its own files must not find the log there. */
static void a_log_that_was_closed_is_left_alone(void) {
    char path[64], byte;
    int file, fd;
    CHECK(begin("epoll"));
    CHECK(works("trace"));
    fd = open(scratch(path, "text.so"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    file = log_number();
    CHECK(file >= 0 && dup2(fd, file) == file && close(fd) == 0);
    CHECK(works("trace"));
    EQUAL(pread(file, &byte, 1, 0), 0);
    CHECK(close(file) == 0);
    CHECK(works("trace"));
}

static void a_child_is_told_apart(void) {
    char line[64];
    sel_selector *selector;
    int fd = make_ready_event(), status;
    CHECK(begin("epoll"));
    CHECK((selector = open_selector("trace")) != NULL);
    watch(selector, fd, SEL_READ);
    CHECK((test.child = fork()) >= 0);
    if (test.child == 0)
        _exit(sees(selector, fd, SEL_READ, 0) ? 0 : 1);
    CHECK(waitpid(test.child, &status, 0) == test.child && status == 0);
    snprintf(line, sizeof line, " %ld #1 reset(after fork) = 0\n", (long)test.child);
    test.child = 0;
    CHECK(strstr(read_log(), line) != NULL);
    OK(close_selector(selector));
    CHECK(close(log_number()) == 0);
}

static const struct fact facts[] = {
    FACT_ALONE("each call is a line", each_call_is_a_line),
    FACT_ALONE("it can do what the one behind can", it_can_do_what_the_one_behind_can),
    FACT_ALONE("it stands before the best one", it_stands_before_the_best_one),
    FACT_ALONE("without a file it is standard error", without_a_file_it_is_standard_error),
    FACT_ALONE("what cannot be traced is told", what_cannot_be_traced_is_told),
    FACT_ALONE("a log that cannot be opened is told", a_log_that_cannot_be_opened_is_told),
    FACT_ALONE("a log that nobody reads is told", a_log_that_nobody_reads_is_told),
    FACT_ALONE("a log that is full disturbs nobody", a_log_that_is_full_disturbs_nobody),
    FACT_ALONE("a log that was closed is left alone", a_log_that_was_closed_is_left_alone),
    FACT_ALONE("a child is told apart", a_child_is_told_apart),
    END_OF_FACTS,
};

void prove_trace(void) {
    prove("trace", facts);
}
