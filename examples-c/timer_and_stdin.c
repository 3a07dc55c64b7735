/*
 * Waits for two kinds of events at once: lines on standard input, and ticks of a timer.
 *
 *     timer_and_stdin [TICKS] [MS]    3 ticks, one every 100 ms, by default
 *
 * Exits after the end of the input and the last tick. The input may be a terminal, a pipe, a
 * regular file, /dev/null, or closed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "selectors.h"

static sel_selector *selector;

static void die(const char *what, const char *why) {
    fprintf(stderr, "timer_and_stdin: %s%s%s\n", what, *what ? ": " : "", why);
    exit(1);
}

/* Without "%s": a line may contain any bytes, and a null byte would truncate it. */
static void print_line(const char *text, size_t length) {
    fputs("line: ", stdout);
    fwrite(text, 1, length, stdout);
    putchar('\n');
}

/*
 * Echoes the input, line by line; a line may arrive in pieces.
 *
 * It reads once for each event, so that it never blocks although the descriptor is in blocking
 * mode. O_NONBLOCK would also affect the shell and all other processes that share the open file.
 */
static void read_input(void) {
    static char line[4096];
    static size_t length;
    ssize_t count = read(STDIN_FILENO, line + length, sizeof line - length);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count < 0)
        die("standard input", strerror(errno));
    length += (size_t)count;

    char *start = line, *newline;
    while ((newline = memchr(start, '\n', length)) != NULL) {
        size_t line_length = (size_t)(newline - start);
        print_line(start, line_length);
        start = newline + 1;
        length -= line_length + 1;
    }
    /* The rest is an incomplete line, unless it is the last line or fills the buffer. */
    if (length > 0 && (count == 0 || length == sizeof line)) {
        print_line(start, length);
        length = 0;
    }
    memmove(line, start, length);
    if (count == 0) {
        printf("end of input\n");
        sel_unregister(selector, STDIN_FILENO, NULL);
    }
}

/* Counts ticks; a late read returns several at once. */
static void read_timer(int timer, uint64_t ticks) {
    static uint64_t ticked;
    uint64_t expirations;
    if (read(timer, &expirations, sizeof expirations) != sizeof expirations) {
        if (errno == EAGAIN || errno == EINTR)
            return;
        die("timer", strerror(errno));
    }
    for (; expirations > 0 && ticked < ticks; expirations--) {
        ticked++;
        printf("tick %llu of %llu\n", (unsigned long long)ticked, (unsigned long long)ticks);
    }
    if (ticked == ticks)
        sel_unregister(selector, timer, NULL);
}

static int start_timer(long ms) {
    struct timespec period = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    struct itimerspec setting = {.it_interval = period, .it_value = period};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0 || timerfd_settime(timer, 0, &setting, NULL) < 0)
        die("timer", strerror(errno));
    return timer;
}

/* Parses a number from 0 to 1000000, or returns -1. */
static long number(const char *text) {
    char *end;
    long value = strtol(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && value <= 1000000 ? value : -1;
}

int main(int argc, char **argv) {
    long ticks = argc > 1 ? number(argv[1]) : 3;
    long ms = argc > 2 ? number(argv[2]) : 100;
    if (argc > 3 || ticks < 0 || ms < 1) {
        fprintf(stderr, "usage: timer_and_stdin [TICKS] [MS]\n");
        return 2;
    }
    /* If it is closed, the next open would reuse descriptor 0: open an empty input there. */
    if (fcntl(STDIN_FILENO, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != STDIN_FILENO)
        die("/dev/null", strerror(errno));

    if (sel_open(&selector, NULL) < 0)
        die("", sel_last_error());
    int timer = start_timer(ms);
    if (sel_register(selector, STDIN_FILENO, SEL_READ, NULL) < 0 ||
        (ticks > 0 && sel_register(selector, timer, SEL_READ, NULL) < 0))
        die("sel_register", sel_last_error());

    /* Each source unregisters itself at its end. */
    while (sel_get_map(selector, NULL, 0) > 0) {
        sel_event events[2];
        int ready = sel_select(selector, events, 2, SEL_FOREVER);
        if (ready < 0)
            die("sel_select", sel_last_error());
        for (int i = 0; i < ready; i++) {
            if (events[i].key.fd == STDIN_FILENO)
                read_input();
            else
                read_timer(timer, (uint64_t)ticks);
        }
        if (fflush(stdout) != 0)
            die("standard output", strerror(errno));
    }
    close(timer);
    sel_close(selector);
    return 0;
}
