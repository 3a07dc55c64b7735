/*
 * numbers.c - tests of a selector's own descriptor numbers, which must pass with each fault.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../conformance/helpers.h"
#include "faults.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static void streams_stay_free(void) {
    int input = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), ready = make_ready_event();
    sel_selector *selector;
    bool is_free;
    CHECK(input > 2 && ready > 2);
    close(STDIN_FILENO);
    selector = open_selector(test.backend);
    is_free = fcntl(STDIN_FILENO, F_GETFD) < 0;
    dup2(input, STDIN_FILENO);
    close(input);
    CHECK(selector != NULL && is_free);
    OK(sel_register(selector, ready, SEL_READ, NULL));
    CHECK(sees(selector, ready, SEL_READ, 0));
    CHECK(!(test.capabilities & SEL_CAN_FILENO) || sel_fileno(selector) > 2);
}

static bool works(sel_selector *selector, int ready, int idle) {
    return sees(selector, ready, SEL_READ, 0) && take(ready) && quiet(selector) && put(idle) &&
           sees(selector, idle, SEL_READ, 0) && sel_wakeup(selector) == 0 && look(selector) <= 1;
}

/* A daemon closes all descriptors, and reuses their numbers. */
static void a_child_has_other_files(sel_selector *selector) {
    int ready = watch(selector, make_ready_event(), SEL_READ);
    int idle = watch(selector, make_event(), SEL_READ);
    int status, highest = idle + 20;
    pid_t child;
    CHECK(sees(selector, ready, SEL_READ, 0));
    child = fork();
    if (child == 0) {
        for (int fd = 3; fd <= highest; fd++)
            if (fd != ready && fd != idle)
                close(fd);
        while (make_file() < highest)
            continue;
        if (!works(selector, ready, idle))
            note("the child's selector does not work");
        complain("%s", test.failure);
        _exit(*test.failure != '\0');
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    EQUAL(status, 0);
}

const struct fact number_facts[] = {
    FACT_ALONE("a standard stream that is closed stays so", streams_stay_free),
    FACT("a fork's child has other files under the numbers", a_child_has_other_files),
    END_OF_FACTS,
};
