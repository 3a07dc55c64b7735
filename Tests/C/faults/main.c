/*
 * main.c - proves that the contract holds when the system fails: runs each conformance test again,
 * and injects a fault into one of the library's calls to libc, one by one.
 *
 *     faults                        all tests, on every backend that can be used here
 *     faults epoll                  those of one backend, or of the library ("library")
 *     faults epoll child calloc     those with "child" in their name, with faults of calloc
 *
 * Each run is a separate process, in which the library has not been used before. It fails if the
 * test fails (calls.c handles the injected errors), if a selector does not work afterwards
 * (look_after.c), if it leaks a descriptor or leaves more memory allocated than without a fault,
 * hangs or crashes. A slow test runs with a selection of faults only. Tests that inject faults
 * themselves run last, once each. The exit status is 0 if nothing has failed and each kind of fault
 * occurred at least once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../conformance/helpers.h"
#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PER_FACT (3 * SECOND) /* the approximate time for all runs of one test */
#define CONSECUTIVE 20        /* calls are tried one by one, then every second, fourth ... */
#define JOBS 8                /* runs at a time: most of them sleep */
#define MOST_FACTS 1000
#define RETIRED 3 /* pieces of memory for each */

const char *const function_names[FUNCTIONS] = {
    [CALLOC] = "calloc",
    [STRDUP] = "strdup",
    [STRNDUP] = "strndup",
    [MMAP] = "mmap",
    [MADVISE] = "madvise",
    [EPOLL_CREATE1] = "epoll_create1",
    [EPOLL_CTL_ADD_] = "epoll_ctl(ADD)",
    [EPOLL_CTL_MOD_] = "epoll_ctl(MOD)",
    [EPOLL_CTL_DEL_] = "epoll_ctl(DEL)",
    [EPOLL_WAIT] = "epoll_wait",
    [EPOLL_PWAIT] = "epoll_pwait",
    [EPOLL_PWAIT2] = "epoll_pwait2",
    [POLL] = "poll",
    [PPOLL] = "ppoll",
    [SELECT] = "select",
    [PSELECT] = "pselect",
    [EVENTFD] = "eventfd",
    [PIPE2] = "pipe2",
    [DUP3] = "dup3",
    [OPEN] = "open",
    [FCNTL_DUPFD] = "fcntl(F_DUPFD_CLOEXEC)",
    [FCNTL_GETFL] = "fcntl(F_GETFL)",
    [FSTAT] = "fstat",
    [FSTATFS] = "fstatfs",
    [READLINK] = "readlink",
    [READ] = "read",
    [WRITE] = "write",
    [CLOSE] = "close",
    [SETSPECIFIC] = "pthread_setspecific",
    [FUTEX_SLEEP] = "futex(FUTEX_WAIT)",
    [DLOPEN] = "dlopen",
    [KEY_CREATE] = "pthread_key_create",
    [ATFORK] = "__register_atfork",
    [FREE] = "free",
    [MUTEX_LOCK] = "pthread_mutex_lock",
};

enum { FAILS_ONCE = 1 << ONCE, FAILS_AWHILE = 1 << AWHILE, FAILS_FOR_EVER = 1 << FOR_EVER };
enum { LACK = FAILS_ONCE | FAILS_AWHILE, MISSING = FAILS_ONCE | FAILS_FOR_EVER };

/* The errors of the manual pages, and those of sandboxes. */
static const struct fault {
    enum function function;
    int error; /* 0: it returns spuriously */
    int spans;
    bool is_old; /* on a system that makes the library call it */
} faults[] = {
    {CALLOC, ENOMEM, LACK, false},
    {STRDUP, ENOMEM, LACK, false},
    {STRNDUP, ENOMEM, LACK, false},
    {MMAP, ENOMEM, LACK, false},
    {MADVISE, ENOMEM, FAILS_ONCE, false},
    {MADVISE, EINVAL, FAILS_FOR_EVER, false},
    {EPOLL_CREATE1, EMFILE, LACK, false},
    {EPOLL_CREATE1, ENFILE, FAILS_ONCE, false},
    {EPOLL_CREATE1, ENOMEM, FAILS_ONCE, false},
    {EPOLL_CTL_ADD_, ENOMEM, LACK, false},
    {EPOLL_CTL_ADD_, ENOSPC, LACK, false},
    {EPOLL_CTL_MOD_, ENOMEM, LACK, false},
    {EPOLL_CTL_MOD_, ENOSPC, FAILS_ONCE, false},
    {EPOLL_CTL_DEL_, ENOMEM, LACK, false},
    {EPOLL_WAIT, EINTR, FAILS_ONCE, false},
    {EPOLL_WAIT, EINTR, FAILS_ONCE, true},
    {EPOLL_PWAIT, EINTR, FAILS_ONCE, false},
    {EPOLL_PWAIT2, EINTR, FAILS_ONCE, false},
    {EPOLL_PWAIT2, ENOSYS, MISSING, false},
    {EPOLL_PWAIT2, EPERM, MISSING, false},
    {POLL, EINTR, FAILS_ONCE, false},
    {POLL, EINTR, FAILS_ONCE, true},
    {POLL, ENOMEM, LACK, false},
    {POLL, ENOMEM, LACK, true},
    {PPOLL, EINTR, FAILS_ONCE, false},
    {PPOLL, ENOMEM, LACK, false},
    {PPOLL, ENOSYS, MISSING, false},
    {PPOLL, EPERM, MISSING, false},
    {SELECT, EINTR, FAILS_ONCE, true},
    {SELECT, ENOMEM, LACK, true},
    {PSELECT, EINTR, FAILS_ONCE, false},
    {PSELECT, ENOMEM, LACK, false},
    {PSELECT, ENOSYS, MISSING, false},
    {PSELECT, EPERM, MISSING, false},
    {EVENTFD, EMFILE, LACK, false},
    {EVENTFD, ENFILE, FAILS_ONCE, false},
    {EVENTFD, ENOMEM, FAILS_ONCE, false},
    {EVENTFD, ENOSYS, FAILS_FOR_EVER, false},
    {EVENTFD, EPERM, FAILS_ONCE, false},
    {PIPE2, EMFILE, LACK, true},
    {PIPE2, ENFILE, FAILS_ONCE, true},
    {DUP3, EMFILE, LACK, false},
    {DUP3, EINTR, FAILS_ONCE, false},
    {OPEN, EACCES, FAILS_ONCE, false},
    {FCNTL_DUPFD, EMFILE, LACK, false},
    {FCNTL_GETFL, EBADF, FAILS_ONCE, false},
    {FSTAT, ENOMEM, FAILS_ONCE, false},
    {FSTAT, EPERM, FAILS_FOR_EVER, false},
    {FSTATFS, ENOMEM, FAILS_ONCE, false},
    {FSTATFS, EPERM, FAILS_FOR_EVER, false},
    {READLINK, ENOMEM, FAILS_ONCE, false},
    {READLINK, EPERM, FAILS_FOR_EVER, false},
    {READ, EINTR, FAILS_ONCE, false},
    {READ, EAGAIN, FAILS_ONCE, false},
    {WRITE, EINTR, FAILS_ONCE, false},
    {WRITE, EAGAIN, FAILS_ONCE, false},
    {CLOSE, EINTR, FAILS_ONCE, false},
    {CLOSE, EIO, FAILS_ONCE, false},
    {SETSPECIFIC, ENOMEM, FAILS_ONCE, false},
    {FUTEX_SLEEP, EINTR, FAILS_ONCE, false},
    {DLOPEN, ELIBACC, LACK, false},
};

/* A test (a fact), and its subject. */
static struct job {
    const char *backend; /* NULL: the library */
    uint32_t capabilities;
    const struct fact *fact;
    bool makes_faults; /* it injects its own faults, and runs once */
} jobs[MOST_FACTS];
static int job_count;

/* The shared memory of all processes. */
static struct totals {
    atomic_int next_job, runs, told, excused, failed;
    atomic_int known[LENGTH(faults)], tried[LENGTH(faults)];
    struct backend {
        char name[64];
        uint32_t capabilities;
    } backends[MOST_BACKENDS];
    int backend_count;
} * totals;

static const char *wanted_function = "";
static int diagnosis; /* a file with the output of the last run */

static void *share(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        return memory;
    perror("mmap");
    exit(2);
}

static const char *group_of(const struct job *job) {
    return job->backend == NULL ? "library" : job->backend;
}

static const char *error_name(const struct fault *fault) {
    return fault->error == 0 ? "" : strerrorname_np(fault->error);
}

/* Runs a test in another process, as planned; returns whether it passes. */
static bool holds(const struct job *job) {
    int status = -1;
    pid_t child = -1;
    if (ftruncate(diagnosis, 0) == 0 && lseek(diagnosis, 0, SEEK_SET) == 0)
        child = fork();
    if (child == 0) {
        setpgid(0, 0);
        dup2(diagnosis, STDOUT_FILENO);
        test.backend = job->backend;
        test.capabilities = job->capabilities;
        before_tear_down = look_after_selectors;
        plan->process = getpid();
        run(group_of(job), job->fact);
        plan->held = held();
        exit(tally.failed != 0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    kill(-child, SIGKILL); /* its children may hang */
    totals->runs++;
    if (WIFSIGNALED(status))
        dprintf(diagnosis, "# %s\n", strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Reports a failed test, with the lines of `diagnosis`. */
static void print_failure(const struct job *job, const char *what) {
    char text[4096];
    ssize_t length = pread(diagnosis, text, sizeof text - 1, 0);
    text[length < 0 ? 0 : length] = '\0';
    printf("not ok - %s: %s: %s\n", group_of(job), job->fact->name, what);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (*line == '#')
            printf("%s\n", line);
    fflush(stdout);
    totals->failed++;
}

void plan_fault(enum function function, int error, enum span span) {
    plan->is_of_fact = true;
    plan->is_over = true;
    plan->function = function;
    plan->error = error;
    plan->span = span;
    plan->first = plan->calls[function] + 1;
    plan->failures = 0;
    plan->is_over = false;
}

void plan_no_fault(bool is_old) {
    memset(plan, 0, sizeof *plan);
    plan->is_old = is_old;
}

/* Runs a test with a fault; returns whether it passes and leaks no memory. */
static bool holds_with(const struct job *job, const struct fault *fault, enum span span, int first,
                       int most_held) {
    static const char *const spans[] = {
        [ONCE] = "fails", [AWHILE] = "and on fail", [FOR_EVER] = "and on fail for ever"};
    bool good;
    plan_no_fault(fault->is_old);
    plan->function = fault->function;
    plan->error = fault->error;
    plan->span = span;
    plan->first = first;
    good = holds(job);
    if (good && plan->held > most_held + RETIRED * plan->retired) {
        good = false;
        dprintf(diagnosis, "# %d pieces of memory are left, without the fault %d\n", plan->held,
                most_held);
    }
    if (plan->failures > 0) {
        totals->tried[fault - faults]++;
        totals->told += plan->told > 0;
        totals->excused += plan->was_excused;
    }
    if (!good) {
        char what[256];
        snprintf(what, sizeof what, "%s: call %d %s %s%s", function_names[fault->function], first,
                 spans[span], error_name(fault), fault->is_old ? " (old system)" : "");
        print_failure(job, what);
    }
    return good;
}

static int after(int first) {
    return first < CONSECUTIVE ? first + 1 : 2 * first;
}

/* The number of faults of a kind for a test that makes so many calls. */
static int count_known(const struct fault *fault, const int *calls) {
    int count = 0, last = calls[fault->function];
    for (int first = 1; first <= last; first = after(first))
        count += !!(fault->spans & FAILS_ONCE) + !!(fault->spans & FAILS_AWHILE);
    return count + (last > 0 && fault->spans & FAILS_FOR_EVER);
}

/* Runs a test without a fault, and counts its calls and its memory; returns its duration. */
static int64_t count_calls(const struct job *job, bool is_old, int calls[FUNCTIONS],
                           int *held_in_the_end) {
    int64_t start = now();
    plan_no_fault(is_old);
    memset(calls, 0, FUNCTIONS * sizeof *calls);
    if (!holds(job))
        print_failure(job, is_old ? "no fault (old system)" : "no fault");
    else
        for (int i = 0; i < FUNCTIONS; i++)
            calls[i] = plan->calls[i];
    *held_in_the_end = plan->held;
    return now() - start;
}

/* Tries a test's faults, or every step-th of them; stops the kind after a failure. */
static void try_faults(const struct job *job) {
    int calls[2][FUNCTIONS], most_held[2], known = 0, number = (int)(job - jobs), step;
    int64_t duration = count_calls(job, false, calls[false], &most_held[false]);
    if (job->makes_faults)
        return;
    count_calls(job, true, calls[true], &most_held[true]);
    for (int i = 0; i < LENGTH(faults); i++) {
        int count = count_known(&faults[i], calls[faults[i].is_old]);
        totals->known[i] += count;
        known += count;
    }
    step = 1 + (int)(known * duration / PER_FACT);
    for (const struct fault *fault = faults; fault < faults + LENGTH(faults); fault++) {
        bool good = strstr(function_names[fault->function], wanted_function) != NULL;
        for (int span = ONCE; span <= FOR_EVER; span++) {
            int last = fault->spans & 1 << span ? calls[fault->is_old][fault->function] : 0;
            if (span == FOR_EVER && last > 1)
                last = 1;
            for (int first = 1; first <= last && good; first = after(first))
                if (number++ % step == 0)
                    good = holds_with(job, fault, (enum span)span, first, most_held[fault->is_old]);
        }
    }
}

static void work(void) {
    int job;
    plan = share(sizeof *plan);
    diagnosis = memfd_create("diagnosis", MFD_CLOEXEC);
    while ((job = totals->next_job++) < job_count)
        try_faults(&jobs[job]);
    exit(0);
}

/* In another process, because this one must not use the library. */
static void find_backends(void) {
    pid_t child = fork();
    if (child == 0) {
        sel_backend_info infos[MOST_BACKENDS];
        plan = share(sizeof *plan);
        for (int i = 0, count = backends(infos); i < count; i++) {
            struct backend *backend = &totals->backends[totals->backend_count];
            snprintf(backend->name, sizeof backend->name, "%s", infos[i].name);
            backend->capabilities = infos[i].capabilities;
            totals->backend_count += infos[i].reason == NULL;
        }
        exit(0);
    }
    waitpid(child, NULL, 0);
}

/*
 * Threads and forks at random moments do not reproduce the n-th call, and without fstat(2) the
 * library cannot distinguish its own files from others.
 */
static bool cannot_be_repeated(const struct fact *fact) {
    static const char *const names[] = {
        "several threads may fork at once",
        "a fork beside another thread's changes",
        "a signal handler may fork in a wait",
        "a signal handler may fork in any call",
        "a child that is not told of the fork may close",
        "close ends another thread's wait", /* a failed wait would be repeated after the close */
        "calls are no cancellation points",
        "files of others are left alone",
        "own descriptors that were closed are an error",
    };
    for (int i = 0; i < LENGTH(names); i++)
        if (strcmp(fact->name, names[i]) == 0)
            return true;
    return false;
}

static bool is_wanted(const struct job *job, char **arguments) {
    return arguments[0] == NULL ||
           (strcmp(group_of(job), arguments[0]) == 0 &&
            (arguments[1] == NULL || strstr(job->fact->name, arguments[1]) != NULL));
}

static void add_jobs(const struct backend *backend, const struct fact *const *themes,
                     bool make_faults, char **arguments) {
    for (; *themes != NULL; themes++)
        for (const struct fact *fact = *themes; fact->name != NULL; fact++) {
            struct job job = {NULL, 0, fact, make_faults};
            if (backend != NULL)
                job = (struct job){backend->name, backend->capabilities, fact, make_faults};
            if (is_wanted(&job, arguments) && !cannot_be_repeated(fact) && job_count < MOST_FACTS)
                jobs[job_count++] = job;
        }
}

/* Returns whether there was a call for each kind of fault. */
static bool print_totals(int64_t start) {
    bool complete = true;
    int known = 0, tried = 0;
    for (int i = 0; i < LENGTH(faults); i++) {
        printf("# %-22s  %-6s  %5d of %5d%s\n", function_names[faults[i].function],
               error_name(&faults[i]), totals->tried[i], totals->known[i],
               faults[i].is_old ? "  (old system)" : "");
        known += totals->known[i];
        tried += totals->tried[i];
        complete = complete && totals->known[i] > 0;
    }
    printf("# %d facts, %d of %d faults tried: %d told to the caller, %d excused, %d failed; "
           "%d runs in %lld s\n",
           job_count, tried, known, totals->told, totals->excused, totals->failed, totals->runs,
           (long long)((now() - start) / SECOND));
    return complete;
}

int main(int argc, char **argv) {
    static const struct fact *const of_plugins[] = {plugin_facts, NULL};
    static const struct fact *const of_numbers[] = {number_facts, NULL};
    static const struct fact *const about_the_library[] = {import_facts, load_facts, memory_facts,
                                                           NULL};
    static const struct fact *const about_a_backend[] = {lack_facts, wake_facts, NULL};
    int64_t start = now();
    bool complete;
    if (getenv(AT_LOAD) != NULL)
        return check_load();
    totals = share(sizeof *totals);
    start_harness();
    find_backends();
    add_jobs(NULL, facts_of_the_library, false, argv + 1);
    add_jobs(NULL, of_plugins, false, argv + 1);
    for (int i = 0; i < totals->backend_count; i++) {
        add_jobs(&totals->backends[i], facts_of_a_backend, false, argv + 1);
        add_jobs(&totals->backends[i], of_numbers, false, argv + 1);
    }
    add_jobs(NULL, about_the_library, true, argv + 1);
    for (int i = 0; i < totals->backend_count; i++)
        add_jobs(&totals->backends[i], about_a_backend, true, argv + 1);
    if (argc > 3)
        wanted_function = argv[3];
    for (int i = 0; i < JOBS; i++)
        if (fork() == 0)
            work();
    while (wait(NULL) > 0)
        continue;
    complete = print_totals(start);
    if (argc > 1)
        return totals->failed > 0 || job_count == 0;
    if (!complete)
        printf("not ok - there is a call for each kind of fault\n");
    return totals->failed > 0 || !complete;
}
