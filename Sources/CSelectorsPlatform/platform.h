/*
 * The system as the Swift sources see it: headers that `import Glibc` lacks, and one thin inline
 * wrapper for each system call that can fail.
 *
 * A wrapper returns what the call returns, or a negative errno value, and leaves errno as it was.
 *
 * Here stands what all systems have; what one of them has otherwise, or alone, stands in the header
 * of that system, which defines the same names as the other.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CPLATFORM_H
#define CPLATFORM_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../include/selectors_plugin.h"

#include "call.h"

#ifdef __linux__
#include "linux.h"
#else
#include "bsd.h"
#endif
#include "devpoll.h"

/* The core has a backend store its reports in the caller's array of events. */
_Static_assert(_Alignof(sel_event) >= _Alignof(sel_backend_event) &&
                   2 * sizeof(sel_event) >= 3 * sizeof(sel_backend_event),
               "reports fit into an array of events");

/* Swift would see the macro as a String. */
PLATFORM_INLINE const char *platform_version(void) {
    return SEL_VERSION_STRING;
}

/* How large a table of a plug-in was in 1.0.0: up to close, which was its last function. */
PLATFORM_INLINE size_t platform_first_ops_size(void) {
    return offsetof(sel_backend_ops, forked);
}

/*
 * What calloc and strdup return; errno stays as it was without memory, too. It is volatile because
 * the compiler thinks that these leave it alone.
 */
PLATFORM_INLINE void *platform_calloc(size_t count, size_t size) {
    int saved = errno;
    void *memory = calloc(count, size);
    *(volatile int *)&errno = saved;
    return memory;
}
/* The same for a wait, and free: no handler runs meanwhile, for a fork within malloc(3) would hang. */
PLATFORM_FUNCTION void *platform_calloc_unsignalled(size_t size) {
    platform_signals before = platform_block_signals();
    void *memory = platform_calloc(1, size);
    platform_restore_signals(before);
    return memory;
}
PLATFORM_FUNCTION void platform_free_unsignalled(void *memory) {
    platform_signals before = platform_block_signals();
    free(memory);
    platform_restore_signals(before);
}
PLATFORM_INLINE char *platform_strdup(const char *text) {
    int saved = errno;
    char *copy = strdup(text);
    *(volatile int *)&errno = saved;
    return copy;
}
PLATFORM_INLINE char *platform_strndup(const char *text, size_t length) {
    int saved = errno;
    char *copy = strndup(text, length);
    *(volatile int *)&errno = saved;
    return copy;
}

/*
 * A sanitizer's function, which is NULL in a program without it. On macOS it always is: there the linker
 * refuses a name that nothing defines.
 */
#ifdef __APPLE__
#define PLATFORM_SANITIZER(name, ...) static void (*const name)(__VA_ARGS__) = NULL
#else
#define PLATFORM_SANITIZER(name, ...) extern void name(__VA_ARGS__) __attribute__((weak))
#endif

/* LeakSanitizer, in a program that has it, looks for pointers in memory of mmap(2) only if told. */
PLATFORM_SANITIZER(__lsan_register_root_region, const void *, size_t);
PLATFORM_SANITIZER(__lsan_unregister_root_region, const void *, size_t);

/*
 * ThreadSanitizer, in a program that has it, does not see how this library orders threads: it is told that
 * what came before a release came before what follows an acquire. PLATFORM_SANITIZED: the library is
 * built with it, and needs to be seen as it is.
 */
#ifndef PLATFORM_SANITIZED
PLATFORM_SANITIZER(__tsan_acquire, void *);
PLATFORM_SANITIZER(__tsan_release, void *);
#define PLATFORM_HAS_TSAN (__tsan_acquire != NULL)
#else
#define __tsan_acquire(address) ((void)(address))
#define __tsan_release(address) ((void)(address))
#define PLATFORM_HAS_TSAN 0
#endif

/*
 * helgrind and drd are told the same, by a client request: valgrind knows it by a sequence of instructions
 * that do nothing. Returns 0 if one of them has heard it, else 1.
 */
#define PLATFORM_HAPPENS_BEFORE 0x48470121u
#define PLATFORM_HAPPENS_AFTER 0x48470122u
static inline uintptr_t platform_tell_valgrind(uintptr_t request, void *address) {
    uintptr_t answer = 1;
#if defined __x86_64__ && defined __LP64__
    volatile uintptr_t words[6] = {request, (uintptr_t)address};
    __asm__ volatile("rolq $3, %%rdi\n\trolq $13, %%rdi\n\trolq $61, %%rdi\n\trolq $51, %%rdi\n\t"
                     "xchgq %%rbx, %%rbx"
                     : "+d"(answer)
                     : "a"(&words[0])
                     : "cc", "memory");
#else
    (void)request, (void)address;
#endif
    return answer;
}

/* MemorySanitizer, in a program that has it, does not see what this library writes. */
PLATFORM_SANITIZER(__msan_unpoison, const volatile void *, size_t);
static inline void platform_tell_written(const void *memory, size_t size) {
    if (__builtin_expect(__msan_unpoison != NULL, 0))
        __msan_unpoison(memory, size);
}

/* Whether there is one of these to be told about each wait. */
PLATFORM_INLINE int platform_is_watched(void) {
    char probe;
    return __builtin_expect(PLATFORM_HAS_TSAN || __msan_unpoison != NULL ||
                                platform_tell_valgrind(PLATFORM_HAPPENS_BEFORE, &probe) == 0,
                            0);
}
static inline void platform_acquire(void *address) {
    if (PLATFORM_HAS_TSAN)
        __tsan_acquire(address);
    else
        platform_tell_valgrind(PLATFORM_HAPPENS_AFTER, address);
}
static inline void platform_release(void *address) {
    if (PLATFORM_HAS_TSAN)
        __tsan_release(address);
    else
        platform_tell_valgrind(PLATFORM_HAPPENS_BEFORE, address);
}

/*
 * Memory of which a fork's child finds the first PLATFORM_WIPED bytes zeroed, and a copy of the rest,
 * all zero at first; NULL without memory. Where the kernel cannot wipe it, it is copied like any
 * other.
 */
#define PLATFORM_WIPED 0x10000
PLATFORM_INLINE void *platform_map(size_t size) {
    int saved = errno;
    void *memory = mmap(NULL, PLATFORM_WIPED + size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        memory = NULL;
    else
        platform_wipe_on_fork(memory, PLATFORM_WIPED);
    if (memory != NULL && __lsan_register_root_region)
        __lsan_register_root_region(memory, PLATFORM_WIPED + size);
    errno = saved;
    return memory;
}
PLATFORM_INLINE void platform_unmap(void *memory, size_t size) {
    if (__lsan_unregister_root_region)
        __lsan_unregister_root_region(memory, PLATFORM_WIPED + size);
    munmap(memory, PLATFORM_WIPED + size);
}

/* 0 if fd is open, for more than to name a file (O_PATH), else -EBADF. */
PLATFORM_FUNCTION int platform_check_open(int fd) {
    int flags = PLATFORM_CALL(fcntl(fd, F_GETFL));
    return flags < 0 ? flags : flags & PLATFORM_O_PATH ? -EBADF : 0;
}

/*
 * The low (0) or the high half (1) of a token. They are loaded apart, which takes fewer instructions
 * than to load it and to take it apart.
 */
PLATFORM_INLINE uint32_t platform_token_half(const sel_backend_event *event, int which) {
    uint32_t half;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    which = 1 - which;
#endif
    memcpy(&half, (const char *)event + offsetof(sel_backend_event, token) + 4 * which,
           sizeof half);
    return half;
}

/*
 * Weak, so that a program can be linked statically, where there is no loader, and so that libdl is
 * not needed where these are not libc's.
 */
extern __typeof__(dlopen) dlopen __attribute__((weak));
extern __typeof__(dlsym) dlsym __attribute__((weak));
extern __typeof__(dlerror) dlerror __attribute__((weak));

/* Tells whether the program can load libraries. */
PLATFORM_INLINE int platform_can_load(void) {
    return dlopen && dlsym && dlerror;
}

/* Loads a library for good, and gives its handle; NULL, with the loader's words in *error. */
PLATFORM_INLINE void *platform_load(const char *path, const char **error) {
    int saved = errno;
    int state = platform_forbid_cancellation();
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    platform_allow_cancellation(state);
    *error = handle ? NULL : dlerror();
    errno = saved;
    return handle;
}

/* The plug-in's function in a library, or NULL. */
PLATFORM_INLINE sel_plugin_entry *platform_find_entry(void *handle) {
    void *found = dlsym(handle, "sel_plugin");
    sel_plugin_entry *entry;
    memcpy(&entry, &found, sizeof entry);
    return entry;
}

/* CLOCK_MONOTONIC in nanoseconds: the clock that the timeouts of all backends run on. */
PLATFORM_INLINE int64_t platform_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/*
 * Swift defines the first two functions. A constructor and a destructor in C call them, since the compiler
 * knows their sections in each object format. 101 comes before a program's own; Mach-O ignores it.
 * Swift emits only the C functions that it refers to: the last one refers to both.
 */
void platform_loaded(void);
void platform_unloaded(void);
static __attribute__((constructor(101))) void platform_construct(void) {
    platform_loaded();
}
static __attribute__((destructor(101))) void platform_destruct(void) {
    platform_unloaded();
}
PLATFORM_INLINE void platform_emit_constructor(void) {
    (void)platform_construct, (void)platform_destruct;
}

/* Threads. */

/* Tells the processor that a loop waits for another thread. */
PLATFORM_INLINE void platform_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

/* Lets other threads run for a moment. */
static inline void platform_nap(void) {
    struct timespec time = {0, 50000};
    int saved = errno, state = platform_forbid_cancellation();
    nanosleep(&time, NULL);
    platform_allow_cancellation(state);
    errno = saved;
}

/* A mutex; all bytes zero: not initialised. */
typedef struct platform_mutex {
    pthread_mutex_t mutex;
} platform_mutex;

static inline void platform_mutex_init(platform_mutex *mutex) {
    pthread_mutex_init(&mutex->mutex, NULL);
}
static inline void platform_mutex_destroy(platform_mutex *mutex) {
    pthread_mutex_destroy(&mutex->mutex);
}
static inline void platform_mutex_lock(platform_mutex *mutex) {
    pthread_mutex_lock(&mutex->mutex);
}
static inline void platform_mutex_unlock(platform_mutex *mutex) {
    pthread_mutex_unlock(&mutex->mutex);
}

/* Descriptors. */

/* What tells a file from others: all zero where fstat(2) does not tell, as in a sandbox. */
typedef struct platform_identity {
    uint64_t device, number;
    uint32_t type;
} platform_identity;

/* Gives 0, or a negative errno value with an identity that is all zero. */
static inline int platform_look(int fd, platform_identity *identity) {
    struct stat status;
    int result = PLATFORM_CALL(fstat(fd, &status));
    *identity = (platform_identity){0, 0, 0};
    if (result == 0) {
        identity->device = (uint64_t)status.st_dev;
        identity->number = (uint64_t)status.st_ino;
        identity->type = (uint32_t)(status.st_mode & S_IFMT);
    }
    return result;
}

static inline platform_identity platform_identify(int fd) {
    platform_identity identity;
    (void)platform_look(fd, &identity);
    return identity;
}

/*
 * Whether the number names a file that looks like the one that was identified. Where that cannot be
 * told, one that is open does.
 */
PLATFORM_FUNCTION int platform_is_same(int fd, platform_identity identity) {
    platform_identity now;
    int result = platform_look(fd, &now);
    if (result < 0 || (identity.device == 0 && identity.number == 0))
        return result != -EBADF;
    return now.device == identity.device && now.number == identity.number &&
           now.type == identity.type;
}

PLATFORM_FUNCTION int platform_poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    return PLATFORM_CALL(poll(fds, count, timeout_ms));
}

/* Lets in the signals that are pending and not in the mask: -EINTR if one was handled, else 0. */
PLATFORM_INLINE int platform_take_signals(const sigset_t *signals) {
    struct timespec time = {0, 0};
    return platform_pselect(0, NULL, NULL, NULL, &time, signals);
}

/* The two ends of a pipe, ends[0] to read; neither blocks. */
PLATFORM_FUNCTION int platform_pipe(int ends[2]) {
    int result = platform_pipe2(ends);
    if (result < 0)
        return result;
    for (int i = 0; i < 2; i++)
        if ((ends[i] = platform_above_streams(ends[i])) < 0) {
            result = ends[i];
            platform_close(ends[1 - i]);
            return result;
        }
    return 0;
}

/*
 * Gives a descriptor that platform_wakeup_write() makes readable, and platform_wakeup_drain() unreadable.
 * What to write to is stored in *writer: the same one, or the other end of a pipe where there is no
 * eventfd(2), by the system or in a sandbox.
 */
PLATFORM_FUNCTION int platform_wakeup_open(int *writer) {
    int ends[2], result = platform_eventfd();
    if (result >= 0 || result == -EMFILE || result == -ENFILE || result == -ENOMEM)
        return *writer = platform_above_streams(result);
    result = platform_pipe(ends);
    *writer = ends[1];
    return result < 0 ? result : ends[0];
}

static inline int platform_wakeup_write(int fd) {
    int result;
    uint64_t one = 1;
    do
        result = PLATFORM_CALL(write(fd, &one, sizeof one));
    while (result == -EINTR);
    return result < 0 && result != -EAGAIN ? result : 0; /* EAGAIN: it is readable already */
}

static inline void platform_wakeup_drain(int fd) {
    uint64_t counts[64];
    while (PLATFORM_CALL(read(fd, counts, sizeof counts)) == sizeof counts) /* a full pipe */
        continue;
}

#endif
