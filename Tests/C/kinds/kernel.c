/*
 * kernel.c - creates the other kinds of descriptors besides files and sockets; opens devices and
 * files of /proc and /sys.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kinds.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IDLE, READY, FULL, PERIODIC, SEMAPHORE, EMPTY, NESTED };

static int make_counter(int condition) {
    const uint64_t most = UINT64_MAX - 1;
    int flags = EFD_CLOEXEC | EFD_NONBLOCK | (condition == SEMAPHORE ? EFD_SEMAPHORE : 0);
    int fd = owned(eventfd(condition == READY || condition == SEMAPHORE ? 2 : 0, flags));
    if (fd >= 0 && condition == FULL && write(fd, &most, sizeof most) != sizeof most)
        return -errno;
    return fd;
}

static int make_clock(int condition) {
    struct itimerspec spec = {{0, 0}, {condition == IDLE ? 1000 : 0, condition == IDLE ? 0 : 1}};
    int fd = owned(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (condition == PERIODIC)
        spec.it_interval.tv_nsec = 1000000;
    if (fd >= 0 && condition != EMPTY && timerfd_settime(fd, 0, &spec, NULL) < 0)
        return -errno;
    return fd;
}

/* SIGUSR1 is ignored, so that what is pending is forgotten when it is let in. */
static int make_signals(int condition) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(condition == IDLE ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
    if (condition == READY)
        raise(SIGUSR1);
    return owned(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

/* Has a file of its own changed while fd watches it. */
static int change_watched(int fd, int (*add)(int fd, const char *path), int condition) {
    char name[] = "/tmp/kinds-XXXXXX";
    int file = mkstemp(name), error = 0;
    if (file < 0)
        return -errno;
    if (add(fd, name) < 0 || (condition == READY && write(file, "data", 4) != 4))
        error = -errno;
    close(file);
    unlink(name);
    return error < 0 ? error : fd;
}

static int add_to_inotify(int fd, const char *path) {
    return inotify_add_watch(fd, path, IN_MODIFY);
}

static int make_inotify(int condition) {
    int fd = owned(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    return fd < 0 || condition == EMPTY ? fd : change_watched(fd, add_to_inotify, condition);
}

static int add_to_fanotify(int fd, const char *path) {
    return fanotify_mark(fd, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, path);
}

static int make_fanotify(int condition) {
    unsigned flags = FAN_CLOEXEC | FAN_NONBLOCK | FAN_CLASS_NOTIF | FAN_REPORT_FID;
    int fd = owned(fanotify_init(flags, O_RDONLY));
    return fd < 0 || condition == EMPTY ? fd : change_watched(fd, add_to_fanotify, condition);
}

static int make_epoll(int condition) {
    struct epoll_event event = {.events = EPOLLIN};
    int fd = owned(epoll_create1(EPOLL_CLOEXEC)), inner;
    if (fd < 0 || condition == EMPTY)
        return fd;
    inner = condition == NESTED  ? make_epoll(READY)
            : condition == READY ? make_ready_event()
                                 : make_event();
    return inner < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, inner, &event) < 0 ? -errno : fd;
}

/* With a completion, if it is to be ready, or with no room for more requests. */
static int make_io_uring(int condition) {
    struct io_uring_params params = {0};
    int fd = owned((int)syscall(SYS_io_uring_setup, 2, &params)), result = 0;
    size_t size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    size_t requests_size = params.sq_entries * sizeof(struct io_uring_sqe);
    struct io_uring_sqe *requests;
    char *ring;
    if (fd < 0 || condition == IDLE)
        return fd;
    ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
    requests = mmap(NULL, requests_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
    if (ring != MAP_FAILED && requests != MAP_FAILED) {
        unsigned *order = (unsigned *)(void *)(ring + params.sq_off.array);
        unsigned count = condition == FULL ? params.sq_entries : 1;
        for (unsigned i = 0; i < count; i++) {
            order[i] = i;
            requests[i].opcode = IORING_OP_NOP;
        }
        __atomic_store_n((unsigned *)(void *)(ring + params.sq_off.tail), count, __ATOMIC_RELEASE);
        if (condition == READY && syscall(SYS_io_uring_enter, fd, 1, 0, 0, NULL, 0) < 0)
            result = -errno;
    } else {
        result = -errno;
    }
    if (ring != MAP_FAILED)
        munmap(ring, size);
    if (requests != MAP_FAILED)
        munmap(requests, requests_size);
    return result < 0 ? result : fd;
}

/* A record comes whenever the thread gets another name. READY: with a ring. */
static int make_perf(int condition) {
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof attributes,
        .config = PERF_COUNT_SW_DUMMY,
        .comm = 1,
        .watermark = 1,
        .wakeup_watermark = 1,
        .exclude_kernel = 1,
    };
    size_t size = 2 * (size_t)sysconf(_SC_PAGESIZE);
    int fd = owned((int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
    void *pages;
    if (fd < 0 || condition == IDLE)
        return fd;
    pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (pages == MAP_FAILED)
        return -errno;
    leave_mapping(pages, size);
    return fd;
}

static bool rename_thread(void) {
    char name[16];
    return prctl(PR_GET_NAME, name) == 0 && prctl(PR_SET_NAME, "renamed") == 0 &&
           prctl(PR_SET_NAME, name) == 0;
}

static int make_userfaultfd(int condition) {
    struct uffdio_api api = {.api = UFFD_API};
    int fd = owned((int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY));
    return fd >= 0 && condition == READY && ioctl(fd, UFFDIO_API, &api) < 0 ? -errno : fd;
}

static int make_map(int type) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = (unsigned)type;
    attributes.max_entries = type == BPF_MAP_TYPE_RINGBUF ? 4096 : 1;
    attributes.key_size = attributes.value_size = type == BPF_MAP_TYPE_RINGBUF ? 0 : 4;
    return owned((int)syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
}

const struct state kernel_objects[] = {
    {"an eventfd", make_counter, IDLE, POLLOUT, NULL},
    {"... with a count", make_counter, READY, POLLIN | POLLOUT, NULL},
    {"... as a semaphore", make_counter, SEMAPHORE, POLLIN | POLLOUT, NULL},
    {"... full", make_counter, FULL, POLLIN, NULL},
    {"a timerfd, not set", make_clock, EMPTY, 0, NULL},
    {"... set", make_clock, IDLE, 0, NULL},
    {"... expired", make_clock, READY, POLLIN, NULL},
    {"... periodic, expired", make_clock, PERIODIC, POLLIN, NULL},
    {"a signalfd", make_signals, IDLE, 0, NULL},
    {"... with a signal", make_signals, READY, POLLIN, NULL},
    {"an inotify, empty", make_inotify, EMPTY, 0, NULL},
    {"an inotify", make_inotify, IDLE, 0, NULL},
    {"... with an event", make_inotify, READY, POLLIN, NULL},
    {"a fanotify, empty", make_fanotify, EMPTY, 0, NULL},
    {"a fanotify", make_fanotify, IDLE, 0, NULL},
    {"... with an event", make_fanotify, READY, POLLIN, NULL},
    {"an epoll, empty", make_epoll, EMPTY, 0, NULL},
    {"an epoll", make_epoll, IDLE, 0, NULL},
    {"... with an event", make_epoll, READY, POLLIN, NULL},
    {"... with an epoll that has one", make_epoll, NESTED, POLLIN, NULL},
    {"an io_uring", make_io_uring, IDLE, POLLOUT, NULL},
    {"... with a completion", make_io_uring, READY, POLLIN | POLLOUT, NULL},
    {"... full", make_io_uring, FULL, 0, NULL},
    {"a perf event without a ring", make_perf, IDLE, POLLHUP, NULL},
    {"... with a ring", make_perf, READY, 0, NULL},
    {"... with a record in the ring", make_perf, READY, POLLIN, rename_thread},
    {"a userfaultfd, not set up", make_userfaultfd, IDLE, POLLERR, NULL},
    {"a userfaultfd", make_userfaultfd, READY, 0, NULL},
    {"a map of BPF", make_map, BPF_MAP_TYPE_ARRAY, POLLERR, NULL},
    {"a ring of BPF", make_map, BPF_MAP_TYPE_RINGBUF, 0, NULL},
    END_OF_STATES,
};

/* Processes. */

static int open_process(pid_t process) {
    return owned((int)syscall(SYS_pidfd_open, process, 0));
}

static int make_running(int unused) {
    (void)unused;
    return open_process(getpid());
}

static int make_ended(int is_reaped) {
    siginfo_t info;
    pid_t child = fork();
    int fd;
    if (child == 0)
        _exit(0);
    if (child < 0)
        return -errno;
    fd = open_process(child);
    waitid(P_PID, (id_t)child, &info, WEXITED | (fd >= 0 && !is_reaped ? WNOWAIT : 0));
    return fd;
}

static int make_namespace(int unused) {
    (void)unused;
    return open_path("/proc/self/ns/user", O_RDONLY);
}

const struct state processes[] = {
    {"a process", make_running, 0, 0, NULL},
    {"... ended", make_ended, 0, POLLIN, NULL},
    {"... reaped", make_ended, 1, POLLIN, NULL},
    {"a namespace", make_namespace, 0, 0, NULL},
    END_OF_STATES,
};

/* Devices, and files of the system. */

enum {
    DEV_NULL,
    DEV_ZERO,
    DEV_FULL,
    DEV_RANDOM,
    DEV_URANDOM,
    DEV_KMSG,
    DEV_CONSOLE,
    DEV_TTY0,
    DEV_NET_TUN,
    DEV_FUSE,
    DEV_LOOP_CONTROL,
    DEV_CUSE,
    DEV_KVM,
    DEV_VHOST_NET,
    DEV_UINPUT,
    DEV_RTC0,
    DEV_AUTOFS,
    DEV_HWRNG,
    DEV_VCS,
    DEV_SND_SEQ,
    DEV_DRI_CARD0,
    DEV_UHID,
    DEV_USERFAULTFD,
    PROC_SELF_STAT,
    PROC_SELF_MEM,
    PROC_SELF_PAGEMAP,
    PROC_SELF_MOUNTS,
    PROC_SELF_MOUNTINFO,
    PROC_MDSTAT,
    PROC_KMSG,
    PROC_SYS_KERNEL_HOSTNAME,
    PROC_SYS_KERNEL_PID_MAX,
    PROC_PRESSURE_MEMORY,
    PROC_SWAPS,
    PROC_SELF_NET_TCP,
    SYS_KERNEL_UEVENT_SEQNUM,
    SYS_CLASS_NET_LO_OPERSTATE,
    SYS_KERNEL_NOTES,
    SYS_KERNEL_TRACING_TRACE_PIPE,
    SYS_FS_CGROUP_CGROUP_PROCS,
    SYS_FS_CGROUP_CGROUP_EVENTS,
    SYS_KERNEL_DEBUG_SCHED_DEBUG
};

static const char *const paths[] = {
    [DEV_NULL] = "/dev/null",
    [DEV_ZERO] = "/dev/zero",
    [DEV_FULL] = "/dev/full",
    [DEV_RANDOM] = "/dev/random",
    [DEV_URANDOM] = "/dev/urandom",
    [DEV_KMSG] = "/dev/kmsg",
    [DEV_CONSOLE] = "/dev/console",
    [DEV_TTY0] = "/dev/tty0",
    [DEV_NET_TUN] = "/dev/net/tun",
    [DEV_FUSE] = "/dev/fuse",
    [DEV_LOOP_CONTROL] = "/dev/loop-control",
    [DEV_CUSE] = "/dev/cuse",
    [DEV_KVM] = "/dev/kvm",
    [DEV_VHOST_NET] = "/dev/vhost-net",
    [DEV_UINPUT] = "/dev/uinput",
    [DEV_RTC0] = "/dev/rtc0",
    [DEV_AUTOFS] = "/dev/autofs",
    [DEV_HWRNG] = "/dev/hwrng",
    [DEV_VCS] = "/dev/vcs",
    [DEV_SND_SEQ] = "/dev/snd/seq",
    [DEV_DRI_CARD0] = "/dev/dri/card0",
    [DEV_UHID] = "/dev/uhid",
    [DEV_USERFAULTFD] = "/dev/userfaultfd",
    [PROC_SELF_STAT] = "/proc/self/stat",
    [PROC_SELF_MEM] = "/proc/self/mem",
    [PROC_SELF_PAGEMAP] = "/proc/self/pagemap",
    [PROC_SELF_MOUNTS] = "/proc/self/mounts",
    [PROC_SELF_MOUNTINFO] = "/proc/self/mountinfo",
    [PROC_MDSTAT] = "/proc/mdstat",
    [PROC_KMSG] = "/proc/kmsg",
    [PROC_SYS_KERNEL_HOSTNAME] = "/proc/sys/kernel/hostname",
    [PROC_SYS_KERNEL_PID_MAX] = "/proc/sys/kernel/pid_max",
    [PROC_PRESSURE_MEMORY] = "/proc/pressure/memory",
    [PROC_SWAPS] = "/proc/swaps",
    [PROC_SELF_NET_TCP] = "/proc/self/net/tcp",
    [SYS_KERNEL_UEVENT_SEQNUM] = "/sys/kernel/uevent_seqnum",
    [SYS_CLASS_NET_LO_OPERSTATE] = "/sys/class/net/lo/operstate",
    [SYS_KERNEL_NOTES] = "/sys/kernel/notes",
    [SYS_KERNEL_TRACING_TRACE_PIPE] = "/sys/kernel/tracing/trace_pipe",
    [SYS_FS_CGROUP_CGROUP_PROCS] = "/sys/fs/cgroup/cgroup.procs",
    [SYS_FS_CGROUP_CGROUP_EVENTS] = "/sys/fs/cgroup/cgroup.events",
    [SYS_KERNEL_DEBUG_SCHED_DEBUG] = "/sys/kernel/debug/sched/debug",
};

/* Opens a path, to read and write if that is allowed. */
static int make_path(int which) {
    int fd = open_path(paths[which], O_RDWR);
    return fd >= 0 ? fd : open_path(paths[which], O_RDONLY);
}

/* A file of sysfs or of a control group that has been read. */
static int make_read(int which) {
    char buffer[4096];
    int fd = open_path(paths[which], O_RDONLY);
    return fd >= 0 && read(fd, buffer, sizeof buffer) < 0 ? -errno : fd;
}

/* A pressure file with a threshold that is never reached. */
static int make_pressure(int which) {
    static const char wanted[] = "some 2000000 2000000";
    int fd = open_path(paths[which], O_RDWR);
    return fd >= 0 && write(fd, wanted, sizeof wanted) < 0 ? -errno : fd;
}

/* Sets the machine's name to its current value, which still triggers its file. */
static bool rename_machine(void) {
    char name[65];
    return gethostname(name, sizeof name) == 0 && sethostname(name, strlen(name)) == 0;
}

/* A process with a private mount namespace, which mounts and unmounts on request. */
static int mounter = -1;

static void serve_mounts(int from) {
    char byte = 0;
    bool good = (unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
                mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
    while (good && write(from, &byte, 1) == 1 && read(from, &byte, 1) == 1)
        good = mount("kinds", "/tmp", "tmpfs", 0, NULL) == 0 && umount("/tmp") == 0;
    _exit(1);
}

/* Waits until the process has answered a request. */
static bool has_mounted(void) {
    struct pollfd wait = {mounter, POLLIN, 0};
    char byte;
    return poll(&wait, 1, 1000) == 1 && read(mounter, &byte, 1) == 1;
}

static bool change_mounts(void) {
    return write(mounter, "", 1) == 1 && has_mounted();
}

/* The harness ends the process. */
static int make_mounts(int unused) {
    char path[32];
    int ends[2];
    (void)unused;
    if (test.child == 0) {
        if (!make_pair(ends))
            return -errno;
        test.child = fork();
        if (test.child == 0) {
            fcntl(ends[1], F_SETFL, 0);
            close(ends[0]);
            serve_mounts(ends[1]);
        }
        drop(ends[1]);
        mounter = ends[0];
        if (test.child < 0 || !has_mounted()) {
            test.child = test.child < 0 ? 0 : test.child;
            return -EPERM;
        }
    }
    snprintf(path, sizeof path, "/proc/%d/mounts", (int)test.child);
    return open_path(path, O_RDONLY);
}

static int make_name(int which) {
    return open_path(paths[which], O_RDONLY);
}

const struct state devices[] = {
    {"/dev/null", make_path, DEV_NULL, POLLIN | POLLOUT, NULL},
    {"/dev/zero", make_path, DEV_ZERO, POLLIN | POLLOUT, NULL},
    {"/dev/full", make_path, DEV_FULL, POLLIN | POLLOUT, NULL},
    {"/dev/random", make_path, DEV_RANDOM, 0, NULL},
    {"/dev/urandom", make_path, DEV_URANDOM, POLLIN | POLLOUT, NULL},
    {"/dev/kmsg", make_path, DEV_KMSG, 0, NULL},
    {"/dev/console", make_path, DEV_CONSOLE, 0, NULL},
    {"/dev/tty0", make_path, DEV_TTY0, 0, NULL},
    {"/dev/net/tun", make_path, DEV_NET_TUN, POLLERR, NULL},
    {"/dev/fuse", make_path, DEV_FUSE, POLLERR, NULL},
    {"/dev/loop-control", make_path, DEV_LOOP_CONTROL, 0, NULL},
    {"/dev/cuse", make_path, DEV_CUSE, 0, NULL},
    {"/dev/kvm", make_path, DEV_KVM, 0, NULL},
    {"/dev/vhost-net", make_path, DEV_VHOST_NET, 0, NULL},
    {"/dev/uinput", make_path, DEV_UINPUT, 0, NULL},
    {"/dev/rtc0", make_path, DEV_RTC0, 0, NULL},
    {"/dev/autofs", make_path, DEV_AUTOFS, 0, NULL},
    {"/dev/hwrng", make_path, DEV_HWRNG, 0, NULL},
    {"/dev/vcs", make_path, DEV_VCS, 0, NULL},
    {"/dev/snd/seq", make_path, DEV_SND_SEQ, 0, NULL},
    {"/dev/dri/card0", make_path, DEV_DRI_CARD0, 0, NULL},
    {"/dev/uhid", make_path, DEV_UHID, 0, NULL},
    {"/dev/userfaultfd", make_path, DEV_USERFAULTFD, 0, NULL},
    END_OF_STATES,
};

const struct state system_files[] = {
    {"/proc/self/stat", make_path, PROC_SELF_STAT, POLLIN | POLLOUT, NULL},
    {"/proc/self/mem", make_path, PROC_SELF_MEM, POLLIN | POLLOUT, NULL},
    {"/proc/self/pagemap", make_path, PROC_SELF_PAGEMAP, POLLIN | POLLOUT, NULL},
    {"/proc/self/mounts", make_path, PROC_SELF_MOUNTS, POLLIN, NULL},
    {"... changed", make_mounts, 0, POLLERR | POLLPRI, change_mounts},
    {"/proc/self/mountinfo", make_path, PROC_SELF_MOUNTINFO, POLLIN, NULL},
    {"/proc/mdstat", make_path, PROC_MDSTAT, 0, NULL},
    {"/proc/kmsg", make_path, PROC_KMSG, 0, NULL},
    {"/proc/sys/kernel/hostname", make_name, PROC_SYS_KERNEL_HOSTNAME, POLLIN, NULL},
    {"... changed", make_name, PROC_SYS_KERNEL_HOSTNAME, POLLERR | POLLPRI, rename_machine},
    {"/proc/sys/kernel/pid_max", make_path, PROC_SYS_KERNEL_PID_MAX, POLLIN, NULL},
    {"/proc/pressure/memory", make_path, PROC_PRESSURE_MEMORY, POLLERR | POLLPRI, NULL},
    {"... with a threshold", make_pressure, PROC_PRESSURE_MEMORY, 0, NULL},
    {"/proc/swaps", make_path, PROC_SWAPS, POLLIN, NULL},
    {"/proc/self/net/tcp", make_path, PROC_SELF_NET_TCP, 0, NULL},
    {"/sys/kernel/uevent_seqnum", make_path, SYS_KERNEL_UEVENT_SEQNUM, POLLERR | POLLPRI, NULL},
    {"... read", make_read, SYS_KERNEL_UEVENT_SEQNUM, POLLIN, NULL},
    {"/sys/class/net/lo/operstate, read", make_read, SYS_CLASS_NET_LO_OPERSTATE, POLLIN, NULL},
    {"/sys/kernel/notes", make_path, SYS_KERNEL_NOTES, 0, NULL},
    {"/sys/kernel/tracing/trace_pipe", make_path, SYS_KERNEL_TRACING_TRACE_PIPE, 0, NULL},
    {"/sys/fs/cgroup/cgroup.procs", make_path, SYS_FS_CGROUP_CGROUP_PROCS, 0, NULL},
    {"/sys/fs/cgroup/cgroup.events", make_read, SYS_FS_CGROUP_CGROUP_EVENTS, 0, NULL},
    {"/sys/kernel/debug/sched/debug", make_path, SYS_KERNEL_DEBUG_SCHED_DEBUG, 0, NULL},
    END_OF_STATES,
};
