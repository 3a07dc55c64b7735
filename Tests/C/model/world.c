/*
 * world.c - kernel objects beside a simulation of them.
 *
 * States that the simulation cannot predict do not occur: a socket has few unread bytes or is full,
 * because its exact capacity depends on the kernel.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOW = 20, FEW_BYTES = 4, MOST_NIBBLES = 64, SEND_BUFFER = 16384 };
enum { SHUT_READ = 1, SHUT_WRITE = 2 };

#define FULL_COUNTER (UINT64_MAX - 1)

struct world world;

static const char *const names[KINDS] = {
    [SOCKET] = "socket",
    [PIPE_READER] = "pipe's reader",
    [PIPE_WRITER] = "pipe's writer",
    [EVENT] = "eventfd",
    [REGULAR] = "file",
    [NULL_DEVICE] = "/dev/null",
    [SELECTOR] = "selector",
};

/* Fails unless a system call gives what the simulation expects. */
static void expect(const char *call, long got, long wanted) {
    int code = errno;
    if (got != wanted)
        fail("the simulation is wrong: %s gives %ld (%s) instead of %ld", call, got,
             got < 0 ? strerror(code) : "no error", wanted);
}

/* Likewise, for one that fails with a certain error. */
static void expect_error(const char *call, long got, int wanted) {
    int code = errno;
    if (got != -1 || code != wanted)
        fail("the simulation is wrong: %s gives %ld (%s) instead of %s", call, got, strerror(code),
             strerror(wanted));
}

void world_begin(void) {
    static const int high[NUMBERS - LOW] = {1023, 1024, 1100, 3000};
    struct rlimit limit;
    int fd = 0;
    signal(SIGPIPE, SIG_IGN);
    expect("getrlimit", getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    expect("setrlimit", setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < NUMBERS; i++) {
        /* The low ones are those that the library gets for its own if they are closed. */
        if (i >= LOW && (rlim_t)high[i - LOW] < limit.rlim_cur)
            fd = high[i - LOW];
        while (fcntl(fd, F_GETFD) != -1)
            fd++;
        world.fd[i] = fd++;
        world.file[i] = NONE;
    }
}

/* Opens the closed numbers, so that no other file gets them, or closes them again. */
static void plug(bool on) {
    int null = on ? open("/dev/null", O_RDWR | O_CLOEXEC) : NONE;
    for (int i = 0; i < NUMBERS; i++) {
        if (world.file[i] != NONE || world.fd[i] == null)
            continue;
        if (on)
            expect("dup2", dup2(null, world.fd[i]), world.fd[i]);
        else
            close(world.fd[i]);
    }
    if (on && world_number(null) == NONE)
        close(null);
}

/* The backend of the selectors that are watched by the one under test, or NULL. */
static const char *inner_backend(void) {
    sel_backend_info infos[32];
    int count = sel_backends(infos, 32);
    for (int i = 0; i < count; i++)
        if (infos[i].reason == NULL && infos[i].capabilities & SEL_CAN_FILENO)
            return infos[i].name;
    return NULL;
}

bool world_can_make(enum kind kind, int number) {
    return kind != SELECTOR || (number < LOW && inner_backend() != NULL);
}

sel_selector *world_open_selector(const char *backend, bool with_fileno) {
    sel_selector *selector;
    plug(true);
    if (sel_open(&selector, backend) != 0)
        fail("sel_open: %s", sel_last_error());
    if (with_fileno && sel_fileno(selector) < 0)
        fail("sel_fileno: %s", sel_last_error());
    plug(false);
    return selector;
}

static unsigned socket_bits(const struct file *file) {
    unsigned bits = file->error ? POLLERR : 0;
    if (file->shut == (SHUT_READ | SHUT_WRITE))
        bits |= POLLHUP;
    if (file->shut & SHUT_READ)
        bits |= POLLRDHUP | POLLIN;
    return bits | (file->bytes > 0 ? POLLIN : 0) | (file->blocked ? 0 : POLLOUT);
}

unsigned world_bits(const struct file *file) {
    unsigned readable = file->bytes > 0 ? POLLIN : 0, writable = file->blocked ? 0 : POLLOUT;
    switch (file->kind) {
    case SOCKET: return socket_bits(file);
    case PIPE_READER: return readable | (file->peer == NONE ? POLLHUP : 0);
    case PIPE_WRITER: return writable | (file->peer == NONE ? POLLERR : 0);
    case EVENT: return readable | writable;
    case SELECTOR: return readable;
    default: return POLLIN | POLLOUT;
    }
}

struct file *world_file(int number) {
    return world.file[number] == NONE ? NULL : &world.files[world.file[number]];
}

int world_number(int fd) {
    for (int i = 0; i < NUMBERS; i++)
        if (world.fd[i] == fd)
            return i;
    return NONE;
}

const char *world_name(int number) {
    return world.file[number] == NONE ? "closed" : names[world_file(number)->kind];
}

void world_check(void) {
    struct pollfd entries[NUMBERS];
    for (int i = 0; i < NUMBERS; i++)
        entries[i] = (struct pollfd){world.fd[i], POLLIN | POLLPRI | POLLOUT | POLLRDHUP, 0};
    if (poll(entries, NUMBERS, 0) < 0)
        fail("poll: %s", strerror(errno));
    for (int i = 0; i < NUMBERS; i++) {
        unsigned got = (unsigned short)entries[i].revents;
        unsigned wanted = world.file[i] == NONE ? POLLNVAL : world_bits(world_file(i));
        if (got != wanted)
            fail("the simulation is wrong: poll says 0x%x of %d (%s) instead of 0x%x", got,
                 world.fd[i], world_name(i), wanted);
    }
}

bool world_is_pair(enum kind kind) {
    return kind == SOCKET || kind == PIPE_READER || kind == PIPE_WRITER;
}

static struct file *new_file(enum kind kind, int number) {
    int index = 0;
    while (world.files[index].references > 0)
        if (++index == FILES)
            fail("the simulation is wrong: more than %d files", FILES);
    world.file[number] = index;
    world.files[index] = (struct file){.kind = kind, .references = 1, .peer = NONE};
    return &world.files[index];
}

/* Moves what was opened to the number that it is to have. */
static void place(int fd, int number) {
    if (fd < 0)
        fail("a file cannot be opened: %s", strerror(errno));
    if (fd == world.fd[number])
        return;
    expect("dup2", dup2(fd, world.fd[number]), world.fd[number]);
    close(fd);
}

static void make_pair(enum kind kind, int number, int other) {
    int ends[2], size = SEND_BUFFER;
    struct file *one, *two;
    if (kind == PIPE_WRITER) {
        make_pair(PIPE_READER, other, number);
        return;
    }
    if (kind == SOCKET) {
        expect("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
        for (int i = 0; i < 2; i++)
            setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    } else {
        expect("pipe2", pipe2(ends, O_NONBLOCK), 0);
        fcntl(ends[1], F_SETPIPE_SZ, (int)(2 * sysconf(_SC_PAGESIZE)));
    }
    one = new_file(kind, number);
    two = new_file(kind == SOCKET ? SOCKET : PIPE_WRITER, other);
    one->peer = world.file[other];
    two->peer = world.file[number];
    if (ends[0] == world.fd[other]) {
        ends[0] = dup(ends[0]);
        close(world.fd[other]);
    }
    place(ends[1], other);
    place(ends[0], number);
}

static void make_selector(int number) {
    sel_selector *inner;
    struct file *file;
    plug(true);
    int bell = eventfd(0, EFD_NONBLOCK);
    if (bell < 0 || sel_open(&inner, inner_backend()) != 0 ||
        sel_register(inner, bell, SEL_READ, NULL) != 0)
        fail("a selector cannot be made: %s", sel_last_error());
    /* Its descriptor may not be moved, but it gets the only low number that is free. */
    close(world.fd[number]);
    expect("sel_fileno", sel_fileno(inner), world.fd[number]);
    file = new_file(SELECTOR, number);
    file->inner = inner;
    file->bell = bell;
    plug(false);
}

void world_make(enum kind kind, int number, int other) {
    if (world_is_pair(kind)) {
        make_pair(kind, number, other);
        return;
    }
    if (kind == SELECTOR) {
        make_selector(number);
        return;
    }
    place(kind == EVENT     ? eventfd(0, EFD_NONBLOCK)
          : kind == REGULAR ? memfd_create("model", 0)
                            : open("/dev/null", O_RDWR),
          number);
    new_file(kind, number);
}

/* The last descriptor of a file is closed: tells the other end, as the kernel does. */
static void end_file(struct file *file) {
    struct file *peer = file->peer == NONE ? NULL : &world.files[file->peer];
    if (peer == NULL)
        return;
    peer->peer = NONE;
    if (file->kind == SOCKET) {
        peer->shut = SHUT_READ | SHUT_WRITE;
        peer->error |= file->bytes > 0;
        peer->blocked = false;
    }
}

/* A descriptor of a file is closed; returns the file if that was its last one. */
static int drop(int index) {
    if (index == NONE || --world.files[index].references > 0)
        return NONE;
    end_file(&world.files[index]);
    return index;
}

/* Detaches a number from its file; returns the same as drop(). */
static int release(int number) {
    int index = world.file[number];
    world.file[number] = NONE;
    return drop(index);
}

int world_close(int number) {
    struct file *file = world_file(number);
    if (file->kind == SELECTOR) {
        expect("sel_close", sel_close(file->inner), 0);
        close(file->bell);
    } else {
        expect("close", close(world.fd[number]), 0);
    }
    return release(number);
}

int world_duplicate(int from, int to) {
    int index = world.file[from], ended;
    expect("dup2", dup2(world.fd[from], world.fd[to]), world.fd[to]);
    world.files[index].references++;
    ended = release(to);
    world.file[to] = index;
    return ended;
}

bool world_keep(int number) {
    int index = world.file[number], fd;
    if (index == NONE)
        return true;
    for (int i = 0; i < world.kept_count; i++)
        if (world.kept[i].number == number && world.kept[i].file == index)
            return true;
    if (world.kept_count == KEPT)
        return false;
    fd = fcntl(world.fd[number], F_DUPFD_CLOEXEC, world.fd[NUMBERS - 1] + 1);
    if (fd < 0)
        fail("a file cannot be kept: %s", strerror(errno));
    world.kept[world.kept_count++] = (struct kept){number, index, fd};
    world.files[index].references++;
    return true;
}

bool world_let_go(int number, int *ended) {
    for (int i = 0; i < world.kept_count; i++) {
        struct kept kept = world.kept[i];
        if (kept.number != number)
            continue;
        world.kept[i] = world.kept[--world.kept_count];
        expect("close", close(kept.fd), 0);
        *ended = drop(kept.file);
        return true;
    }
    return false;
}

/* Writes to a connection until it is full; returns how many bytes. */
static uint64_t write_all(int fd) {
    static const char bytes[2 * SEND_BUFFER];
    uint64_t sum = 0;
    ssize_t count;
    while ((count = write(fd, bytes, sizeof bytes)) > 0)
        sum += (uint64_t)count;
    expect_error("write", count, EAGAIN);
    return sum;
}

static void write_to_peer(struct file *file, int fd, bool all) {
    struct file *peer = file->peer == NONE ? NULL : &world.files[file->peer];
    uint64_t count = 1;
    if (file->kind == SOCKET ? file->shut & SHUT_WRITE : peer == NULL) {
        expect_error("write", write(fd, "", 1), EPIPE);
        return;
    }
    if (all || file->blocked || peer->bytes >= FEW_BYTES) {
        count = write_all(fd);
        file->blocked = true;
        peer->nibbles = 0;
    } else {
        expect("write", write(fd, "", 1), 1);
    }
    peer->bytes += count;
    peer->arrived = count > 0;
}

static void write_to_counter(struct file *file, int fd, bool all) {
    uint64_t value = all && !file->blocked ? FULL_COUNTER - file->bytes : 1;
    ssize_t count = write(fd, &value, sizeof value);
    if (file->blocked) {
        expect_error("write", count, EAGAIN);
        return;
    }
    expect("write", count, sizeof value);
    file->bytes += value;
    file->blocked = file->bytes == FULL_COUNTER;
    file->arrived = value > 0;
}

void world_write(int number, bool all) {
    struct file *file = world_file(number);
    switch (file->kind) {
    case SOCKET:
    case PIPE_WRITER: write_to_peer(file, world.fd[number], all); break;
    case EVENT: write_to_counter(file, world.fd[number], all); break;
    case SELECTOR: write_to_counter(file, file->bell, all); break;
    default: break;
    }
}

static void read_from_peer(struct file *file, int fd, bool all) {
    static char bytes[4 * SEND_BUFFER];
    struct file *peer = file->peer == NONE ? NULL : &world.files[file->peer];
    bool ended = file->kind == SOCKET ? file->shut & SHUT_READ : peer == NULL;
    if (file->bytes == 0) {
        ssize_t count = read(fd, bytes, 1);
        if (file->error)
            expect_error("read", count, ECONNRESET);
        else if (ended)
            expect("read", count, 0);
        else
            expect_error("read", count, EAGAIN);
        file->error = false;
        return;
    }
    /* A full socket stays so for a few bytes; a pipe for as many as are in its first page. */
    if (file->nibbles++ == MOST_NIBBLES || (file->kind == PIPE_READER && file->bytes > FEW_BYTES))
        all = true;
    if (!all) {
        expect("read", read(fd, bytes, 1), 1);
        file->bytes--;
    }
    while (all && file->bytes > 0) {
        ssize_t count = read(fd, bytes, sizeof bytes);
        if (count <= 0 || (uint64_t)count > file->bytes)
            expect("read", count, (long)file->bytes);
        file->bytes -= (uint64_t)count;
    }
    if (file->bytes == 0) {
        file->nibbles = 0;
        if (peer != NULL)
            peer->blocked = false;
    }
}

static void read_from_counter(struct file *file, int fd) {
    uint64_t value;
    ssize_t count = read(fd, &value, sizeof value);
    if (file->bytes == 0) {
        expect_error("read", count, EAGAIN);
        return;
    }
    expect("read", count, sizeof value);
    expect("the counter", (long)value, (long)file->bytes);
    file->bytes = 0;
    file->blocked = false;
}

void world_read(int number, bool all) {
    struct file *file = world_file(number);
    switch (file->kind) {
    case SOCKET:
    case PIPE_READER: read_from_peer(file, world.fd[number], all); break;
    case EVENT: read_from_counter(file, world.fd[number]); break;
    case SELECTOR: read_from_counter(file, file->bell); break;
    default: break;
    }
}

void world_shutdown(int number, int how) {
    struct file *file = world_file(number);
    unsigned here = how == SHUT_RD   ? SHUT_READ
                    : how == SHUT_WR ? SHUT_WRITE
                                     : SHUT_READ | SHUT_WRITE;
    unsigned there = (here & SHUT_READ ? SHUT_WRITE : 0) | (here & SHUT_WRITE ? SHUT_READ : 0);
    expect("shutdown", shutdown(world.fd[number], how), 0);
    file->shut |= here;
    if (file->peer != NONE)
        world.files[file->peer].shut |= there;
}

void world_inherit(void) {
    for (int i = 0; i < FILES; i++) {
        struct file *file = &world.files[i];
        if (file->references == 0)
            continue;
        file->shared = true;
        if (file->kind != SELECTOR) {
            file->references++;
            continue;
        }
        /* It gets a descriptor of its own, at once, for it is watched. */
        sel_event event;
        expect("sel_select", sel_select(file->inner, &event, 1, 0), file->bytes > 0);
    }
}

int world_descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    if (directory == NULL)
        fail("/proc/self/fd: %s", strerror(errno));
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}
