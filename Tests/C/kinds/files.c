/*
 * files.c - creates files, pipes, FIFOs and terminals.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kinds.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

/* Files. */

static int make_temporary(int flags) {
    char name[] = "/tmp/kinds-XXXXXX";
    int first = mkstemp(name), fd;
    if (first < 0)
        return -errno;
    if (write(first, "data", 4) != 4) {
        close(first);
        return -EIO;
    }
    close(first);
    fd = open_path(name, flags);
    unlink(name);
    return fd;
}

static int make_at_end(int flags) {
    int fd = make_temporary(flags);
    if (fd >= 0)
        lseek(fd, 0, SEEK_END);
    return fd;
}

static int make_directory(int flags) {
    return open_path("/", flags | O_DIRECTORY);
}

static int make_unnamed(int flags) {
    return owned(open("/tmp", flags | O_TMPFILE | O_CLOEXEC, 0600));
}

static int make_memory(int flags) {
    int fd = owned(memfd_create("kinds", (unsigned)flags | MFD_CLOEXEC));
    if (fd >= 0 && flags & MFD_ALLOW_SEALING && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0)
        return -errno;
    return fd;
}

static int make_secret(int flags) {
#ifdef SYS_memfd_secret
    return owned((int)syscall(SYS_memfd_secret, flags));
#else
    return -(ENOSYS + flags);
#endif
}

static int make_link(int flags) {
    return open_path("/proc/self", flags);
}

const struct state files[] = {
    {"a file", make_temporary, O_RDWR, POLLIN | POLLOUT, NULL},
    {"a file to read", make_temporary, O_RDONLY, POLLIN | POLLOUT, NULL},
    {"a file to write", make_temporary, O_WRONLY, POLLIN | POLLOUT, NULL},
    {"a file to append to", make_temporary, O_WRONLY | O_APPEND, POLLIN | POLLOUT, NULL},
    {"a file at its end", make_at_end, O_RDWR, POLLIN | POLLOUT, NULL},
    {"a file without a name", make_unnamed, O_RDWR, POLLIN | POLLOUT, NULL},
    {"a directory", make_directory, O_RDONLY, POLLIN | POLLOUT, NULL},
    {"a memfd", make_memory, 0, POLLIN | POLLOUT, NULL},
    {"a memfd, sealed", make_memory, MFD_ALLOW_SEALING, POLLIN | POLLOUT, NULL},
    {"secret memory", make_secret, 0, 0, NULL},
    {"O_PATH of a file", make_temporary, O_PATH, POLLNVAL, NULL},
    {"O_PATH of a directory", make_directory, O_PATH, POLLNVAL, NULL},
    {"O_PATH of a symbolic link", make_link, O_PATH | O_NOFOLLOW, POLLNVAL, NULL},
    END_OF_STATES,
};

/* Pipes and FIFOs. */

enum { WRITING = 1, DATA = 2, FULL = 4, ALONE = 8, PACKETS = 16, DRAINED = 32, BOTH_ENDS = 64 };

/* Brings two ends into a state; returns the one that is asked for. */
static int change_ends(int ends[2], int variant) {
    char byte = 'x';
    if (variant & (DATA | DRAINED) && write(ends[1], &byte, 1) != 1)
        return -errno;
    if (variant & DRAINED && read(ends[0], &byte, 1) != 1)
        return -errno;
    if (variant & FULL)
        fill(ends[1]);
    if (variant & ALONE && !drop(ends[variant & WRITING ? 0 : 1]))
        return -errno;
    return ends[variant & WRITING ? 1 : 0];
}

static int make_pipe_in(int variant) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK | (variant & PACKETS ? O_DIRECT : 0)) < 0)
        return -errno;
    own(ends[0]);
    own(ends[1]);
    return change_ends(ends, variant);
}

const struct state pipes[] = {
    {"a pipe's reading end", make_pipe_in, 0, 0, NULL},
    {"... with data", make_pipe_in, DATA, POLLIN, NULL},
    {"... full", make_pipe_in, FULL, POLLIN, NULL},
    {"... without a writer", make_pipe_in, ALONE, POLLHUP, NULL},
    {"... without a writer, with data", make_pipe_in, DATA | ALONE, POLLIN | POLLHUP, NULL},
    {"... of packets, with data", make_pipe_in, PACKETS | DATA, POLLIN, NULL},
    {"a pipe's writing end", make_pipe_in, WRITING, POLLOUT, NULL},
    {"... drained", make_pipe_in, WRITING | DRAINED, POLLOUT, NULL},
    {"... full", make_pipe_in, WRITING | FULL, 0, NULL},
    {"... without a reader", make_pipe_in, WRITING | ALONE, POLLERR, NULL},
    {"... without a reader, full", make_pipe_in, WRITING | FULL | ALONE, POLLERR, NULL},
    {"... of packets, full", make_pipe_in, WRITING | PACKETS | FULL, 0, NULL},
    END_OF_STATES,
};

static int make_fifo_in(int variant) {
    char name[] = "/tmp/kinds-XXXXXX", path[64];
    int ends[2] = {-1, -1}, result;
    if (mkdtemp(name) == NULL)
        return -errno;
    snprintf(path, sizeof path, "%s/fifo", name);
    result = mkfifo(path, 0600) < 0 ? -errno : 0;
    if (result == 0 && variant & BOTH_ENDS) {
        ends[0] = ends[1] = result = open_path(path, O_RDWR);
    } else if (result == 0) {
        ends[0] = result = open_path(path, O_RDONLY);
        if (result >= 0 && variant != 0)
            ends[1] = result = open_path(path, O_WRONLY);
    }
    unlink(path);
    rmdir(name);
    if (result < 0 || ends[1] < 0)
        return result;
    return change_ends(ends, variant);
}

static int make_fifo_path(int variant) {
    char name[] = "/tmp/kinds-XXXXXX", path[64];
    int fd;
    if (mkdtemp(name) == NULL)
        return -errno;
    snprintf(path, sizeof path, "%s/fifo", name);
    fd = mkfifo(path, 0600) < 0 ? -errno : open_path(path, variant);
    unlink(path);
    rmdir(name);
    return fd;
}

const struct state fifos[] = {
    {"a FIFO that had no writer yet", make_fifo_in, 0, 0, NULL},
    {"a FIFO's reading end", make_fifo_in, DRAINED, 0, NULL},
    {"... with data", make_fifo_in, DATA, POLLIN, NULL},
    {"... without a writer", make_fifo_in, DRAINED | ALONE, POLLHUP, NULL},
    {"... without a writer, with data", make_fifo_in, DATA | ALONE, POLLIN | POLLHUP, NULL},
    {"a FIFO's writing end", make_fifo_in, WRITING, POLLOUT, NULL},
    {"... full", make_fifo_in, WRITING | FULL, 0, NULL},
    {"... without a reader", make_fifo_in, WRITING | ALONE, POLLERR, NULL},
    {"... without a reader, full", make_fifo_in, WRITING | FULL | ALONE, POLLERR, NULL},
    {"a FIFO's both ends", make_fifo_in, BOTH_ENDS, POLLOUT, NULL},
    {"... with data", make_fifo_in, BOTH_ENDS | DATA, POLLIN | POLLOUT, NULL},
    {"... full", make_fifo_in, BOTH_ENDS | FULL, POLLIN, NULL},
    {"O_PATH of a FIFO", make_fifo_path, O_PATH, POLLNVAL, NULL},
    END_OF_STATES,
};

/* Terminals: the master of a pseudoterminal, and the slave, which is a terminal like any. */

enum {
    SLAVE = 1,
    NEVER_OPENED = 2,
    OUTPUT = 4,
    LINE = 8,
    PART = 16,
    RAW = 32,
    STATUS = 64,
    STOPPED = 128,
    GONE = 256,
    FLOODED = 512,
    TIMED = 1024
};

static int make_terminal(int variant) {
    int master = owned(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)), slave, on = 1;
    struct termios mode;
    char name[64];
    if (master < 0 || variant & NEVER_OPENED)
        return master;
    if (grantpt(master) < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof name) != 0)
        return -errno;
    slave = open_path(name, O_RDWR);
    if (slave < 0 || tcgetattr(slave, &mode) < 0)
        return -errno;
    if (variant & (RAW | TIMED)) {
        cfmakeraw(&mode);
        if (variant & TIMED)
            mode.c_cc[VMIN] = 10;
        if (tcsetattr(slave, TCSANOW, &mode) < 0)
            return -errno;
    }
    if (variant & STATUS && (ioctl(master, TIOCPKT, &on) < 0 || tcflush(slave, TCIOFLUSH) < 0))
        return -errno;
    if (variant & STOPPED && tcflow(slave, TCOOFF) < 0)
        return -errno;
    if (variant & OUTPUT && write(slave, "output", 6) != 6)
        return -errno;
    if (variant & FLOODED)
        fill(slave);
    if (variant & LINE && write(master, "line\n", 5) != 5)
        return -errno;
    if (variant & PART && write(master, "part", 4) != 4)
        return -errno;
    if (variant & GONE && !drop(variant & SLAVE ? master : slave))
        return -errno;
    return variant & SLAVE ? slave : master;
}

static int make_own_terminal(int flags) {
    return open_path("/dev/tty", flags);
}

const struct state terminals[] = {
    {"a pty's master", make_terminal, 0, POLLOUT, NULL},
    {"... never opened", make_terminal, NEVER_OPENED, 0, NULL},
    {"... with output", make_terminal, OUTPUT, POLLIN, NULL},
    {"... with the echo of a line", make_terminal, LINE, POLLIN, NULL},
    {"... in packet mode, with a status", make_terminal, STATUS, POLLPRI, NULL},
    {"... stopped", make_terminal, STOPPED, 0, NULL},
    {"... without a slave", make_terminal, GONE, POLLHUP, NULL},
    {"... without a slave, with output", make_terminal, OUTPUT | GONE, POLLHUP | POLLIN, NULL},
    {"a terminal", make_terminal, SLAVE, POLLOUT, NULL},
    {"... with a line", make_terminal, SLAVE | LINE, POLLIN, NULL},
    {"... with part of a line", make_terminal, SLAVE | PART, POLLOUT, NULL},
    {"... with part of a line, raw", make_terminal, SLAVE | RAW | PART, POLLIN, NULL},
    {"... with less than VMIN", make_terminal, SLAVE | TIMED | PART, 0, NULL},
    {"... stopped", make_terminal, SLAVE | STOPPED, 0, NULL},
    {"... full", make_terminal, SLAVE | FLOODED, 0, NULL},
    {"... without a master", make_terminal, SLAVE | GONE, POLLHUP, NULL},
    {"... without a master, with a line", make_terminal, SLAVE | LINE | GONE, POLLHUP, NULL},
    {"the process's terminal", make_own_terminal, O_RDWR, 0, NULL},
    END_OF_STATES,
};
