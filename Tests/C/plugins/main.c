/*
 * main.c - proves that the library copes with plug-ins that break the rules: it reports which one
 * and how, or ignores the result, and continues to work. Also proves that trace.so works.
 *
 *     plugins_test    prints TAP; the folder plugins is beside the program
 *
 * Each test is a separate process, which has not used the library yet, and fails if it leaks a
 * descriptor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "plugins.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void prove(const char *group, const struct fact *fact) {
    for (; fact->name != NULL; fact++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            tally.failed = 0;
            run(group, fact);
            exit(tally.failed == 0 ? 0 : 1);
        }
        tally.all++;
        if (child > 0 && waitpid(child, &status, 0) == child && status == 0)
            continue;
        tally.failed++;
        if (child < 0)
            printf("not ok %d - %s: %s\n# no process\n", tally.all, group, fact->name);
        else if (WIFSIGNALED(status))
            printf("not ok %d - %s: %s\n# killed by signal %d\n", tally.all, group, fact->name,
                   WTERMSIG(status));
        else
            printf("# exit status %d\n", WEXITSTATUS(status));
        fflush(stdout);
    }
}

void prove_rule(const char *subject, const char *rule, const struct fact *facts) {
    char group[80];
    snprintf(group, sizeof group, "%s %s", subject, rule);
    for (char *next = group; *next != '\0'; next++)
        if (*next < ' ' || *next > '~')
            *next = '?';
    prove(group, facts);
}

static bool go_to_plugins(void) {
    char path[PATH_MAX] = "";
    char *slash = readlink("/proc/self/exe", path, sizeof path - 1) < 0 ? NULL : strrchr(path, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return chdir(path) == 0 && access(PLUGIN, R_OK) == 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--privileged") == 0)
        return run_privileged();
    if (!go_to_plugins() || !make_scratch()) {
        printf("Bail out! there is no " PLUGIN " beside the program, or no room in /tmp\n");
        return 1;
    }
    start_harness();
    unsetenv("SELECTORS_PLUGINS");
    unsetenv("SELECTORS_TRACE");
    unsetenv("WRONG");
    unsetenv("WRONG_BEHIND");
    printf("TAP version 13\n");
    fflush(stdout);
    prove_tables();
    prove_paths();
    prove_opening();
    prove_calls();
    prove_events();
    prove_threads();
    prove_trace();
    remove_scratch();
    printf("1..%d\n# %d tests, %d failed\n", tally.all, tally.all, tally.failed);
    return tally.failed != 0;
}
