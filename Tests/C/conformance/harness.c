/*
 * harness.c - runs the tests, reports results, and cleans up after each test.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define HAS_THREAD_SANITIZER true
#elif defined(__has_feature)
#define HAS_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define HAS_THREAD_SANITIZER false
#endif

struct test test;
struct tally tally;
void (*before_tear_down)(void);

static char hung[256]; /* what the watchdog prints */

void note(const char *format, ...) {
    size_t used = strlen(test.failure);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(test.failure + used, sizeof test.failure - used, format, arguments);
    va_end(arguments);
    used = strlen(test.failure);
    if (used + 1 < sizeof test.failure)
        strcpy(test.failure + used, "\n");
}

bool check(const char *file, int line, const char *expression, bool holds) {
    if (!holds)
        note("%s:%d: failed: %s", file, line, expression);
    return holds;
}

bool check_equal(const char *file, int line, const char *expression, long long got,
                 long long wanted) {
    if (got != wanted)
        note("%s:%d: failed: %s: %lld instead of %lld", file, line, expression, got, wanted);
    return got == wanted;
}

bool check_result(const char *file, int line, const char *call, int got, int wanted) {
    int after = errno;
    if (!check_equal(file, line, call, got, wanted))
        return false;
    if (after != UNTOUCHED)
        note("%s:%d: failed: %s: errno became %d", file, line, call, after);
    else if (wanted != 0 && strstr(sel_last_error(), sel_strerror(wanted)) == NULL)
        note("%s:%d: failed: %s: last error is \"%s\"", file, line, call, sel_last_error());
    return !*test.failure;
}

int own(int fd) {
    if (fd >= HIGHEST_FD) {
        close(fd);
        return -1;
    }
    if (fd >= 0)
        test.owned[fd] = true;
    return fd;
}

bool drop(int fd) {
    test.owned[fd] = false;
    return close(fd) == 0;
}

sel_selector *open_selector(const char *backend) {
    for (int i = 0; i < MOST_SELECTORS; i++) {
        if (test.selectors[i] != NULL)
            continue;
        if (sel_open(&test.selectors[i], backend) != 0)
            note("sel_open(%s): %s", backend == NULL ? "NULL" : backend, sel_last_error());
        return test.selectors[i];
    }
    note("more than %d selectors", MOST_SELECTORS);
    return NULL;
}

int close_selector(sel_selector *selector) {
    for (int i = 0; i < MOST_SELECTORS; i++)
        if (test.selectors[i] == selector)
            test.selectors[i] = NULL;
    return sel_close(selector);
}

static int open_descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory != NULL) {
        while (readdir(directory) != NULL)
            count++;
        closedir(directory);
        return count;
    }
    for (int fd = 0; fd < HIGHEST_FD; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void tear_down(void) {
    if (test.storming)
        timer_delete(test.storm);
    test.storming = false;
    if (test.child > 0) {
        kill(test.child, SIGKILL);
        waitpid(test.child, NULL, 0);
        test.child = 0;
    }
    for (int i = 0; i < MOST_SELECTORS; i++)
        if (test.selectors[i] != NULL)
            close_selector(test.selectors[i]);
    for (int fd = 0; fd < HIGHEST_FD; fd++)
        if (test.owned[fd])
            drop(fd);
    setrlimit(RLIMIT_NOFILE, &test.limit);
    sigprocmask(SIG_SETMASK, &test.mask, NULL);
    unsetenv("SELECTORS_BACKEND");
}

static void watchdog(int number) {
    ssize_t ignored = write(STDOUT_FILENO, hung, strlen(hung));
    (void)number;
    (void)ignored;
    _exit(1);
}

void start_harness(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, watchdog);
    unsetenv("SELECTORS_BACKEND");
    getrlimit(RLIMIT_NOFILE, &test.limit);
    sigprocmask(SIG_BLOCK, NULL, &test.mask);
}

void run(const char *group, const struct fact *fact) {
    int before = open_descriptors(), after;
    sel_selector *selector;
    snprintf(hung, sizeof hung, "not ok %d - %s: %s\n# hangs for %d seconds\nBail out!\n",
             tally.all + 1, group, fact->name, HANG_SECONDS);
    alarm(HANG_SECONDS);
    if (fact->prove_alone != NULL)
        fact->prove_alone();
    else if ((selector = open_selector(test.backend)) != NULL)
        fact->prove(selector);
    if (test.end_threads != NULL)
        test.end_threads();
    test.end_threads = NULL;
    if (before_tear_down != NULL)
        before_tear_down();
    tear_down();
    alarm(0);
    after = open_descriptors();
    if (after != before)
        note("%d descriptors were open before, %d after", before, after);
    report(group, fact->name);
}

void report(const char *group, const char *name) {
    const char *line = test.failure;
    bool failed = *line != '\0', skipped = test.skip != NULL && !failed;
    printf("%sok %d - %s: %s", failed ? "not " : "", ++tally.all, group, name);
    if (skipped)
        printf(" # SKIP %s", test.skip);
    putchar('\n');
    while (*line != '\0') {
        size_t length = strcspn(line, "\n");
        printf("# %.*s\n", (int)length, line);
        line += length + (line[length] != '\0');
    }
    fflush(stdout);
    tally.failed += failed;
    tally.skipped += skipped;
    test.failure[0] = '\0';
    test.skip = NULL;
}

bool is_under_valgrind(void) {
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded != NULL && strstr(preloaded, "valgrind") != NULL;
}

bool is_under_qemu(void) {
    return getenv("QEMU_LD_PREFIX") != NULL;
}

bool is_under_checker(void) {
    return HAS_THREAD_SANITIZER || is_under_valgrind() || is_under_qemu();
}
