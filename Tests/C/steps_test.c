/*
 * steps_test.c - proves that a signal handler may fork at any instruction of a call.
 *
 *     steps_test [STRIDE]     at one instruction of so many (19); prints TAP
 *
 * The processor traps after each instruction of the call, and the handler of the trap forks at one of
 * them, in a process of its own for each. Then parent and child use the selector, another one and new
 * ones, and fork again. Left out are instructions within malloc(3) and its relatives, where glibc's
 * fork(2) would hang, and those for which the library blocks signals. For x86-64.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "selectors.h"

#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))
#define SECOND INT64_C(1000000000)

#ifdef __x86_64__

static volatile int in_malloc, in_system_call;
static volatile bool is_blocked; /* the library has blocked signals */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

static void *done(void *block) {
    in_malloc--;
    return block;
}
void *malloc(size_t size) {
    in_malloc++;
    return done(__libc_malloc(size));
}
void *calloc(size_t count, size_t size) {
    in_malloc++;
    return done(__libc_calloc(count, size));
}
void *realloc(void *block, size_t size) {
    in_malloc++;
    return done(__libc_realloc(block, size));
}
void free(void *block) {
    in_malloc++;
    __libc_free(block);
    done(NULL);
}

/* The library blocks signals by this. A trap that is blocked would end the process. */
long syscall(long number, ...) {
    register long fourth __asm__("r10");
    long arguments[4], result;
    uint64_t signals;
    va_list list;
    in_system_call++;
    va_start(list, number);
    for (int i = 0; i < 4; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_rt_sigprocmask && arguments[1] != 0) {
        memcpy(&signals, (void *)arguments[1], sizeof signals);
        is_blocked = (signals >> (SIGUSR1 - 1) & 1) != 0;
        signals &= ~(UINT64_C(1) << (SIGTRAP - 1));
        arguments[1] = (long)&signals;
    }
    fourth = arguments[3];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(arguments[0]), "S"(arguments[1]), "d"(arguments[2]),
                       "r"(fourth)
                     : "rcx", "r11", "memory");
    in_system_call--;
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

enum { TRAP_FLAG = 0x100 };
#define BEGIN_STEPS() __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc")
#define END_STEPS() __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc")

static volatile long step, wanted; /* the instruction, and the first one at which to fork */
static volatile pid_t child = -1;

static void take_step(int number, siginfo_t *info, void *context) {
    int saved = errno;
    (void)number, (void)info;
    if (++step < wanted || is_blocked || in_malloc > 0 || in_system_call > 0)
        return;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    child = fork();
    errno = saved;
}

static const char *backend;
static int failures;

#define CHECK(condition)                                                                 \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            failures++;                                                                  \
            fprintf(stderr, "# %s, step %ld, in the %s: line %d: %s\n", backend, wanted, \
                    child == 0 ? "child" : "parent", __LINE__, #condition);              \
        }                                                                                \
    } while (0)

static int count_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static sel_selector *subject, *other;
static int ready, other_ready; /* descriptors that are ready to read */
static int before;             /* how many descriptors there were */
static sigset_t signals_before;

/* A selector that no fork has interrupted. */
static void use_whole(sel_selector *selector, int fd) {
    sel_event event;
    CHECK(sel_select(selector, &event, 1, SECOND) == 1 && event.key.fd == fd);
    CHECK(sel_modify(selector, fd, SEL_WRITE, NULL) == 0 && sel_wakeup(selector) == 0);
    CHECK(sel_select(selector, &event, 1, 5 * SECOND) == 0);
    CHECK(sel_modify(selector, fd, SEL_READ, NULL) == 0);
}

/* The one that the call was on: in the child it may refuse calls. */
static void use_subject(void) {
    sel_event event;
    bool may_refuse = child == 0 && sel_get_map(subject, NULL, 0) == -ECANCELED;
    if (may_refuse)
        return;
    int result = sel_unregister(subject, ready, NULL);
    CHECK(result == 0 || result == -ENOENT);
    CHECK(sel_wakeup(subject) == 0);
    while (sel_select(subject, &event, 1, 0) != 0 && failures == 0)
        continue;
    CHECK(sel_register(subject, ready, SEL_READ, NULL) == 0);
    result = sel_select(subject, &event, 1, 5 * SECOND);
    CHECK(result == 1 || (result == 0 && sel_select(subject, &event, 1, 5 * SECOND) == 1));
}

static void use_new(void) {
    sel_selector *fresh = NULL;
    CHECK(sel_open(&fresh, backend) == 0);
    CHECK(sel_register(fresh, other_ready, SEL_READ, NULL) == 0);
    use_whole(fresh, other_ready);
    CHECK(sel_close(fresh) == 0);
}

static void fork_again(void) {
    int status = 0;
    pid_t again = fork();
    if (again == 0) {
        alarm(10);
        use_whole(other, other_ready);
        use_new();
        _exit(failures > 0);
    }
    CHECK(waitpid(again, &status, 0) == again && status == 0);
}

static void use_all(void) {
    sigset_t signals;
    sigprocmask(SIG_SETMASK, NULL, &signals);
    CHECK(memcmp(&signals, &signals_before, 8) == 0 && !is_blocked);
    use_whole(other, other_ready);
    use_new();
    if (subject != NULL)
        use_subject();
    fork_again();
    if (subject != NULL)
        CHECK(sel_close(subject) == 0);
    fork_again();
    CHECK(sel_close(other) == 0);
    CHECK(count_descriptors() == before);
}

enum call { OPEN, CLOSE, REGISTER, REFUSED, MODIFY, UNREGISTER, SELECT, WAKEUP, CALLS };
static const char *const names[CALLS] = {
    "open",   "close",      "register", "register of a closed one",
    "modify", "unregister", "select",   "wakeup"};

static int make_call(enum call call) {
    static sel_event event;
    sel_selector *closed = subject;
    int result = 0;
    if (call == CLOSE)
        subject = NULL;
    BEGIN_STEPS();
    switch (call) {
    case OPEN: result = sel_open(&subject, backend); break;
    case CLOSE: result = sel_close(closed); break;
    case REGISTER: result = sel_register(subject, ready, SEL_READ, NULL); break;
    case REFUSED: result = sel_register(subject, 900, SEL_READ, NULL); break;
    case MODIFY: result = sel_modify(subject, ready, SEL_WRITE, NULL); break;
    case UNREGISTER: result = sel_unregister(subject, ready, NULL); break;
    case SELECT: result = sel_select(subject, &event, 1, SEL_FOREVER); break;
    case WAKEUP: result = sel_wakeup(subject); break;
    default: break;
    }
    END_STEPS();
    return result;
}

/* Exits with 0, with 1 if something is wrong, or with 2 if the call has not so many instructions. */
static void prove(enum call call) {
    static const int results[CALLS] = {[REFUSED] = -EBADF, [SELECT] = 1};
    struct sigaction action = {.sa_sigaction = take_step, .sa_flags = SA_SIGINFO};
    int first[2], second[2], result, status = 0;
    setpgid(0, 0);
    alarm(15);
    CHECK(pipe(first) == 0 && pipe(second) == 0);
    CHECK(write(first[1], "", 1) == 1 && write(second[1], "", 1) == 1);
    ready = first[0];
    other_ready = second[0];
    before = count_descriptors();
    sigprocmask(SIG_SETMASK, NULL, &signals_before);
    sigaction(SIGTRAP, &action, NULL);
    CHECK(sel_open(&other, backend) == 0 && sel_register(other, other_ready, SEL_READ, NULL) == 0);
    if (call != OPEN)
        CHECK(sel_open(&subject, backend) == 0);
    if (call != OPEN && call != REGISTER)
        CHECK(sel_register(subject, ready, SEL_READ, NULL) == 0);
    result = make_call(call);
    if (child == 0)
        alarm(10);
    CHECK(result == results[call] || (child == 0 && call != WAKEUP && result == -ECANCELED));
    CHECK(call != OPEN || (result == 0) == (subject != NULL));
    use_all();
    if (child > 0)
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    _exit(failures > 0 ? 1 : child < 0 ? 2 : 0);
}

/* Steps through a call; how often something was wrong. */
static int prove_each_step(enum call call, int stride, int *runs) {
    int wrong = 0, status;
    for (wanted = 1; wrong < 3; wanted += stride) {
        pid_t runner = fork();
        if (runner == 0)
            prove(call);
        if (runner < 0 || waitpid(runner, &status, 0) != runner)
            return wrong + 1;
        kill(-runner, SIGKILL); /* a child that goes on for ever */
        if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
            break;
        if (WIFSIGNALED(status))
            printf("# step %ld: signal %d\n", wanted, WTERMSIG(status));
        wrong += status != 0;
        ++*runs;
    }
    return wrong;
}

int main(int count, char **arguments) {
    const char *const backends[] = {"epoll", "poll", "select"};
    int stride = count > 1 ? atoi(arguments[1]) : 19, number = 0, failed = 0;
    for (int i = 0; i < LENGTH(backends); i++) {
        backend = backends[i];
        for (enum call call = OPEN; call < CALLS; call++) {
            int runs = 0;
            fflush(NULL);
            bool holds = prove_each_step(call, stride > 0 ? stride : 1, &runs) == 0;
            failed += !holds;
            printf("%sok %d - %s: a handler may fork in %s: %d steps\n", holds ? "" : "not ",
                   ++number, backend, names[call], runs);
        }
    }
    printf("1..%d\n# %d tests, %d failed\n", number, number, failed);
    return failed > 0;
}

#else

int main(void) {
    puts("1..0 # SKIP written for x86-64");
}

#endif
