/*
 * trace.c - a plug-in that stands before another backend and logs every call, to see what a program
 * asks for and what the kernel answers, without building the program anew.
 *
 *     SELECTORS_PLUGINS=./trace.so SELECTORS_BACKEND=trace program
 *     SELECTORS_PLUGINS=./trace.so SELECTORS_BACKEND=trace SELECTORS_TRACE=poll:log program
 *
 * SELECTORS_TRACE is the backend, a colon and the file that is appended to. Without the backend it is
 * the best one, without the file standard error. Each call is a line, written when it is over:
 *
 *     1763888400.123456 4711 #1 add(5, IN|RDHUP, 0x5) = 0
 *     1763888400.123460 4711 #1 wait(64, 1.500000000 s) = 1 [IN 0x5]
 *
 * That is the time in seconds at the end of the call, the process, the selector, and the call. An event
 * has the token that its descriptor was added with: the number, and, in the upper half, how often it
 * was used before. 0xffffffffffffffff is the library's own, for wake-ups. Nothing that goes wrong with
 * the log disturbs the program: what cannot be written is left out, and only a standard error that is
 * full is waited for.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <selectors_plugin.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MASK_LENGTH = 80, EVENTS_LENGTH = 3500, LINE_LENGTH = 4096 /* what a pipe takes at once */ };

/* An instance: that of the backend behind, and the functions that drive it. */
struct trace {
    const sel_backend_ops *ops;
    void *instance;
    unsigned number;
};

static const sel_plugin_host *host;
static const char *backend; /* the name of the one behind */
static const char *file;    /* NULL: standard error */
static int log_fd = -1;
static struct stat log_file;
static int refusal; /* an error, and the words for it: why there is nothing to trace */
static char reason[200];

/*
 * Opens the log under a number that is in nobody's way, if there can be so high a one; a FIFO that
 * nobody reads is an error.
 */
static int open_log(void) {
    const int mode = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = file == NULL ? STDERR_FILENO : open(file, mode, 0666);
    if (fd < 0 || fstat(fd, &log_file) < 0) {
        int error = errno;
        snprintf(reason, sizeof reason, "SELECTORS_TRACE: %.100s: %s",
                 file == NULL ? "standard error" : file, strerror(error));
        return -error;
    }
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 200);
    if (log_fd < 0)
        log_fd = fd;
    else if (file != NULL)
        close(fd);
    return 0;
}

/* Whether the number is still the log's: some programs close all that they do not know. */
static bool is_log_open(void) {
    struct stat now;
    return fstat(log_fd, &now) == 0 && now.st_dev == log_file.st_dev &&
           now.st_ino == log_file.st_ino;
}

/* Writes in one piece, and takes back the signal of a broken pipe or a limit of size. */
static void write_log(const char *line, size_t length) {
    const struct timespec at_once = {0, 0};
    sigset_t unwanted, before, pending;
    if (!is_log_open())
        return;
    sigemptyset(&unwanted);
    sigaddset(&unwanted, SIGPIPE);
    sigaddset(&unwanted, SIGXFSZ);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &unwanted, &before);
    if (write(log_fd, line, length) < 0) {
        if (errno != EPIPE || sigismember(&pending, SIGPIPE))
            sigdelset(&unwanted, SIGPIPE);
        if (errno != EFBIG || sigismember(&pending, SIGXFSZ))
            sigdelset(&unwanted, SIGXFSZ);
        sigtimedwait(&unwanted, NULL, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Writes the words for a mask, and returns how long they are. */
static int put_mask(char text[MASK_LENGTH], uint32_t mask) {
    static const struct {
        uint32_t bit;
        const char *word;
    } words[] = {
        {POLLIN, "IN"},
        {POLLOUT, "OUT"},
        {POLLPRI, "PRI"},
        {POLLRDHUP, "RDHUP"},
        {POLLERR, "ERR"},
        {POLLHUP, "HUP"},
        {POLLNVAL, "NVAL"},
        {SEL_MASK_EDGE, "EDGE"},
        {SEL_MASK_ONESHOT, "ONESHOT"},
        {SEL_MASK_EXCLUSIVE, "EXCLUSIVE"},
    };
    int length = 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (mask & words[i].bit)
            length += sprintf(text + length, "%s%s", length > 0 ? "|" : "", words[i].word);
        mask &= ~words[i].bit;
    }
    if (mask != 0 || length == 0)
        length += sprintf(text + length, "%s0x%" PRIx32, length > 0 ? "|" : "", mask);
    return length;
}

/* Logs a call with its result and what comes after that. All of it fits into a line. */
static int put(const struct trace *trace, int result, const char *rest, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static int put(const struct trace *trace, int result, const char *rest, const char *format, ...) {
    int saved = errno;
    struct timespec now;
    char line[LINE_LENGTH], *end = line;
    va_list arguments;
    clock_gettime(CLOCK_REALTIME, &now);
    end += sprintf(end, "%jd.%06ld %ld #%u ", (intmax_t)now.tv_sec, now.tv_nsec / 1000,
                   (long)getpid(), trace->number);
    va_start(arguments, format);
    end += vsprintf(end, format, arguments);
    va_end(arguments);
    end += sprintf(end, " = %d", result);
    if (result < 0)
        end += sprintf(end, " (%s)", strerror(-result));
    end += sprintf(end, "%s\n", rest);
    write_log(line, (size_t)(end - line));
    errno = saved;
    return result;
}

/* The calls. */

static int trace_probe(const char **why) {
    *why = reason;
    return refusal != 0 || log_fd >= 0 ? refusal : open_log();
}

static int trace_open(void **instance) {
    static atomic_uint opened;
    struct trace *trace = malloc(sizeof *trace);
    int result =
        trace == NULL ? -ENOMEM : host->open_backend(backend, &trace->ops, &trace->instance);
    if (result < 0) {
        free(trace);
        return result;
    }
    trace->number = ++opened;
    *instance = trace;
    return put(trace, 0, "", "open(%s)", backend);
}

static int trace_add(void *instance, int fd, uint32_t mask, uint64_t token) {
    struct trace *trace = instance;
    int result = trace->ops->add(trace->instance, fd, mask, token);
    char words[MASK_LENGTH];
    put_mask(words, mask);
    return put(trace, result, "", "add(%d, %s, 0x%" PRIx64 ")", fd, words, token);
}

static int trace_modify(void *instance, int fd, uint32_t mask, uint64_t token) {
    struct trace *trace = instance;
    int result = trace->ops->modify(trace->instance, fd, mask, token);
    char words[MASK_LENGTH];
    put_mask(words, mask);
    return put(trace, result, "", "modify(%d, %s, 0x%" PRIx64 ")", fd, words, token);
}

static int trace_remove(void *instance, int fd) {
    struct trace *trace = instance;
    return put(trace, trace->ops->remove(trace->instance, fd), "", "remove(%d)", fd);
}

static int trace_wait(void *instance, sel_backend_event *events, int max, int64_t timeout_ns,
                      const sigset_t *signals) {
    struct trace *trace = instance;
    int result = trace->ops->wait(trace->instance, events, max, timeout_ns, signals), i;
    char list[EVENTS_LENGTH + 2 * MASK_LENGTH] = "", *end = list, time[32] = "forever";
    for (i = 0; i < result && end < list + EVENTS_LENGTH; i++) {
        end += sprintf(end, i == 0 ? " [" : ", ");
        end += put_mask(end, events[i].mask);
        end += sprintf(end, " 0x%" PRIx64, events[i].token);
    }
    if (i > 0)
        strcpy(end, i < result ? ", ...]" : "]");
    if (timeout_ns >= 0)
        sprintf(time, "%" PRId64 ".%09" PRId64 " s", timeout_ns / 1000000000,
                timeout_ns % 1000000000);
    return put(trace, result, list, "wait(%d, %s%s)", max, time,
               signals == NULL ? "" : ", signals");
}

static int trace_fileno(void *instance) {
    struct trace *trace = instance;
    return put(trace, trace->ops->fileno(trace->instance), "", "fileno()");
}

static int trace_reset(void *instance, int after_fork) {
    struct trace *trace = instance;
    int result = trace->ops->reset(trace->instance, after_fork);
    return put(trace, result, "", "reset(%s)", after_fork ? "after fork" : "");
}

/* In a fork's child, at once: nothing is written, for the log may be in the middle of a line. */
static void trace_forked(void *instance) {
    struct trace *trace = instance;
    trace->ops->forked(trace->instance);
}

static void trace_close(void *instance) {
    struct trace *trace = instance;
    trace->ops->close(trace->instance);
    put(trace, 0, "", "close()");
    free(trace);
}

/* Takes SELECTORS_TRACE apart; not in a privileged process, which would write where it is told to. */
static const char *read_environment(void) {
    const char *value = secure_getenv("SELECTORS_TRACE");
    static char wanted[PATH_MAX]; /* what is found in it is used later */
    char *colon;
    snprintf(wanted, sizeof wanted, "%s", value == NULL ? "" : value);
    colon = strchr(wanted, ':');
    if (colon != NULL) {
        *colon = '\0';
        file = colon[1] == '\0' ? NULL : colon + 1;
    }
    return *wanted == '\0' ? NULL : wanted;
}

sel_plugin_entry sel_plugin;

const sel_backend_ops *sel_plugin(const sel_plugin_host *given) {
    static sel_backend_ops ops = {
        .abi = SEL_PLUGIN_ABI,
        .size = sizeof ops,
        .name = "trace",
        .rank = 0,
        .probe = trace_probe,
        .open = trace_open,
        .add = trace_add,
        .modify = trace_modify,
        .remove = trace_remove,
        .wait = trace_wait,
        .fileno = trace_fileno,
        .reset = trace_reset,
        .close = trace_close,
        .forked = trace_forked,
    };
    const char *wanted = read_environment();
    const sel_backend_ops *behind;
    void *instance;
    host = given;
    /* The one behind is settled now, since what it can do is what this one can. */
    refusal = host->open_backend(wanted, &behind, &instance);
    if (refusal == 0) {
        backend = behind->name;
        ops.capabilities = behind->capabilities;
        behind->close(instance);
    } else {
        const char *words = strerror(-refusal);
        if (wanted == NULL)
            wanted = "no backend";
        else if (refusal == -ENOENT)
            words = strchr(wanted, '/') != NULL
                        ? "a colon goes before the file"
                        : "no such backend; its plug-in goes before this one";
        snprintf(reason, sizeof reason, "SELECTORS_TRACE: %.60s: %s", wanted, words);
    }
    return &ops;
}
