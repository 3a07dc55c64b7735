/*
 * compare.c - proves that a selector reports for each kind of descriptor what poll(2) reports.
 *
 *     kinds                    every backend that can be used here
 *     kinds poll mine          these, by name
 *
 * The program uses the main function of the conformance tests, and its output is TAP, too. A state
 * that the system cannot create is skipped, with the reason in a comment.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kinds.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALL (SEL_READ | SEL_WRITE | SEL_PRIORITY)
#define MOST_MAPPINGS 8
#define TRIES 5 /* for states that change on their own meanwhile */

static struct {
    void *pages;
    size_t size;
} mappings[MOST_MAPPINGS];

int owned(int fd) {
    return fd < 0 ? -errno : own(fd);
}

int open_path(const char *path, int flags) {
    return owned(open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
}

void leave_mapping(void *pages, size_t size) {
    for (int i = 0; i < MOST_MAPPINGS; i++) {
        if (mappings[i].pages == NULL) {
            mappings[i].pages = pages;
            mappings[i].size = size;
            return;
        }
    }
    munmap(pages, size);
}

/* The full name of a state: a name with leading dots continues the last one without. */
static const char *describe(const struct state *state) {
    static char text[128];
    const struct state *kind = state;
    while (strncmp(kind->name, "...", 3) == 0)
        kind--;
    snprintf(text, sizeof text, "%s%s", kind->name, kind == state ? "" : state->name + 3);
    return text;
}

/* Frees the states' resources other than descriptors. */
static void clean_up(void) {
    for (int i = 0; i < MOST_MAPPINGS; i++) {
        if (mappings[i].pages != NULL)
            munmap(mappings[i].pages, mappings[i].size);
        mappings[i].pages = NULL;
    }
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static int ask_poll(int fd, short mask, int timeout_ms) {
    struct pollfd one = {fd, mask, 0};
    return poll(&one, 1, timeout_ms) < 0 ? -errno : one.revents;
}

/* Polls a descriptor with the same mask as the library. */
static int ask(int fd, uint32_t asked) {
    int mask = (asked & SEL_READ ? POLLIN | POLLRDHUP : 0) | (asked & SEL_WRITE ? POLLOUT : 0) |
               (asked & SEL_PRIORITY ? POLLPRI : 0);
    return ask_poll(fd, (short)mask, 0);
}

/* The report of a wait; events are 0 if the descriptor is not ready. */
struct answer {
    uint32_t events, detail;
};

/* The expected report of a wait if poll(2) returns revents. */
static struct answer predict(int revents, uint32_t asked, bool is_blind) {
    struct answer answer = {0, 0};
    bool is_seen = (asked & SEL_READ && revents & (POLLIN | POLLERR | POLLHUP)) ||
                   (asked & SEL_WRITE && revents & (POLLOUT | POLLERR)) ||
                   (asked & SEL_PRIORITY && revents & POLLPRI);
    if (revents == 0 || (is_blind && !is_seen))
        return answer;
    if (revents & (POLLERR | POLLHUP))
        answer.events = asked;
    else
        answer.events =
            asked & ((revents & (POLLIN | POLLRDHUP) ? SEL_READ : 0) |
                     (revents & POLLOUT ? SEL_WRITE : 0) | (revents & POLLPRI ? SEL_PRIORITY : 0));
    answer.detail = (revents & POLLERR ? SEL_ERROR : 0) | (revents & POLLHUP ? SEL_HANGUP : 0) |
                    (revents & POLLRDHUP ? SEL_READ_HANGUP : 0);
    return answer;
}

/* Waits for the only registered descriptor; notes any other event and returns false. */
static bool look_at(sel_selector *selector, int fd, uint32_t mask, struct answer *answer) {
    sel_event events[2];
    int count = sel_select(selector, events, 2, 0);
    *answer = (struct answer){0, 0};
    if (count == 0)
        return true;
    if (count != 1 || events[0].key.fd != fd || events[0].key.events != mask ||
        events[0].events == 0) {
        note("sel_select: %d, or an event of another registration", count);
        return false;
    }
    *answer = (struct answer){events[0].events, events[0].detail};
    return true;
}

/*
 * Whether the backend misses, like select(2), the hang-up of a pipe's reading end that is watched
 * for writing. A plug-in may be built on select(2), too.
 */
static bool is_blind_as_select(void) {
    struct answer answer = {0, 0};
    sel_selector *selector;
    int ends[2];
    if (!test.is_plugin)
        return strcmp(test.backend, "select") == 0;
    if (!make_pipe(ends) || !drop(ends[1]) || (selector = open_selector(test.backend)) == NULL)
        return false;
    if (sel_register(selector, ends[0], SEL_WRITE, NULL) == 0)
        look_at(selector, ends[0], SEL_WRITE, &answer);
    close_selector(selector);
    return answer.events == 0;
}

static const char *name_of_mode(uint32_t mode) {
    return mode == SEL_ONESHOT ? " one-shot" : mode == SEL_EDGE ? " edge" : "";
}

static bool same(struct answer got, struct answer wanted, bool with_detail) {
    return got.events == wanted.events && (!with_detail || got.detail == wanted.detail);
}

/* The two waits of one comparison, and the results of poll(2). */
struct looks {
    int polled[2], registered;
    struct answer got[2];
};

/* Watches a descriptor, and has poll(2) look at the twin, which is the same one if the state lasts. */
static bool take_looks(sel_selector *selector, const struct state *state, int fd, int twin,
                       uint32_t mask, struct looks *looks) {
    uint32_t asked = mask & ALL;
    bool good = true;
    *looks = (struct looks){{0, 0}, 0, {{0, 0}, {0, 0}}};
    looks->polled[0] = ask(twin, asked);
    looks->registered = sel_register(selector, fd, mask, NULL);
    if (looks->registered != 0)
        return true;
    if (state->change != NULL) {
        good = state->change();
        looks->polled[0] = ask(twin, asked);
    }
    for (int i = 0; i < 2; i++)
        good = good && look_at(selector, fd, mask, &looks->got[i]);
    looks->polled[1] = ask(twin, asked);
    if (sel_unregister(selector, fd, NULL) != 0)
        note("sel_unregister: %s", sel_last_error());
    return good;
}

/* Whether the reports match poll(2); if not, and loud, notes the difference. */
static bool agree(const struct state *state, uint32_t mask, const struct looks *looks,
                  bool is_blind, bool is_loud) {
    uint32_t asked = mask & ALL;
    /* After select(2) has cleared the readiness, poll(2) does not return the cause. */
    bool with_detail = !(is_blind && state->change != NULL);
    struct answer wanted[2] = {predict(looks->polled[0], asked, is_blind),
                               predict(looks->polled[1], asked, is_blind)};
    if (looks->polled[0] & POLLNVAL) {
        if (looks->registered != -EBADF && is_loud)
            note("%s, 0x%x: registered: %d, wanted %d", describe(state), asked, looks->registered,
                 -EBADF);
        return looks->registered == -EBADF;
    }
    if (looks->registered != 0) {
        if (is_loud)
            note("%s, 0x%x%s: sel_register: %s", describe(state), asked, name_of_mode(mask & ~ALL),
                 sel_strerror(looks->registered));
        return false;
    }
    if (mask & ~ALL)
        wanted[1] = (struct answer){0, 0};
    if (mask & SEL_ONESHOT && wanted[0].events == 0)
        wanted[1] = wanted[0];
    for (int i = 0; i < 2; i++) {
        if (same(looks->got[i], wanted[i], with_detail))
            continue;
        if (is_loud)
            note("%s, 0x%x%s, look %d: got 0x%x 0x%x, wanted 0x%x 0x%x, poll 0x%x", describe(state),
                 asked, name_of_mode(mask & ~ALL), i + 1, looks->got[i].events,
                 looks->got[i].detail, wanted[i].events, wanted[i].detail, looks->polled[i]);
        return false;
    }
    return true;
}

static void compare(sel_selector *selector, const struct state *state, int fd, uint32_t mask,
                    bool is_blind) {
    bool is_over = false;
    for (int i = 1; !is_over; i++) {
        struct looks looks;
        int watched = fd, twin = fd;
        bool good;
        if (state->change != NULL) {
            watched = state->make(state->variant);
            twin = state->make(state->variant);
            if (watched < 0 || twin < 0) {
                note("%s: cannot be made again", describe(state));
                return;
            }
        }
        good = take_looks(selector, state, watched, twin, mask, &looks);
        if (state->change != NULL) {
            drop(watched);
            drop(twin);
            clean_up();
        }
        if (!good) {
            note("%s: could not be looked at", describe(state));
            return;
        }
        /* With an edge there may be an event too many, as long as a connection settles. */
        is_over =
            i == TRIES || state->change != NULL ||
            (looks.polled[0] == looks.polled[1] && !(mask & SEL_EDGE && looks.got[1].events != 0));
        if (agree(state, mask, &looks, is_blind, is_over))
            return;
    }
}

/* Makes a state; if it cannot be had, tells why. */
static int make(const struct state *state) {
    int fd = state->make(state->variant), said;
    if (fd < 0) {
        printf("# skipped: %s: %s\n", describe(state), strerror(-fd));
        return fd;
    }
    if (state->change != NULL && !state->change()) {
        printf("# skipped: %s: it cannot be changed: %s\n", describe(state), strerror(errno));
        return -1;
    }
    if (state->wanted == 0)
        return fd;
    said = ask_poll(fd, state->wanted, 1000);
    for (int i = 0; i < 1000 && (said & state->wanted) != state->wanted; i++) {
        usleep(1000);
        said = ask_poll(fd, state->wanted, 0);
    }
    if ((said & state->wanted) == state->wanted)
        return fd;
    printf("# skipped: %s: poll(2) says 0x%x instead of 0x%x\n", describe(state), (unsigned)said,
           (unsigned)state->wanted);
    return -1;
}

static void compare_all(sel_selector *selector, const struct state *states) {
    const uint32_t modes[] = {0, SEL_ONESHOT, SEL_EDGE};
    bool is_blind = is_blind_as_select();
    int compared = 0;
    for (const struct state *state = states; state->name != NULL; state++) {
        int fd = make(state);
        compared += fd >= 0;
        for (uint32_t asked = 1; fd >= 0 && asked <= ALL; asked++)
            for (int i = 0; i < LENGTH(modes); i++)
                if (modes[i] != SEL_EDGE || test.capabilities & SEL_CAN_EDGE)
                    compare(selector, state, fd, asked | modes[i], is_blind);
        clean_up();
    }
    printf("# %d states compared\n", compared);
    if (compared == 0)
        SKIP("the system has none of these");
}

#define DEFINE(kind)                                     \
    static void compare_##kind(sel_selector *selector) { \
        compare_all(selector, kind);                     \
    }
DEFINE(files)
DEFINE(pipes)
DEFINE(fifos)
DEFINE(terminals)
DEFINE(unix_sockets)
DEFINE(inet_sockets)
DEFINE(other_sockets)
DEFINE(kernel_objects)
DEFINE(processes)
DEFINE(devices)
DEFINE(system_files)

static const struct fact kinds_facts[] = {
    FACT("files are as poll(2) says", compare_files),
    FACT("pipes are as poll(2) says", compare_pipes),
    FACT("FIFOs are as poll(2) says", compare_fifos),
    FACT("terminals are as poll(2) says", compare_terminals),
    FACT("Unix sockets are as poll(2) says", compare_unix_sockets),
    FACT("TCP and UDP are as poll(2) says", compare_inet_sockets),
    FACT("other sockets are as poll(2) says", compare_other_sockets),
    FACT("objects of the kernel are as poll(2) says", compare_kernel_objects),
    FACT("processes are as poll(2) says", compare_processes),
    FACT("devices are as poll(2) says", compare_devices),
    FACT("/proc and /sys are as poll(2) says", compare_system_files),
    END_OF_FACTS,
};

const struct fact *const facts_of_the_library[] = {NULL};
const struct fact *const facts_of_a_backend[] = {kinds_facts, NULL};
