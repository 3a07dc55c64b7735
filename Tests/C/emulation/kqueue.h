/*
 * kqueue(2) of the BSDs and macOS, for tests on Linux: the part of <sys/event.h> that is emulated.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EMULATION_KQUEUE_H
#define EMULATION_KQUEUE_H

#include <stdint.h>
#include <time.h>

struct kevent {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_USER (-11)
#define EVFILT_EXCEPT (-15)

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_ENABLE 0x0004
#define EV_DISABLE 0x0008
#define EV_ONESHOT 0x0010
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_DISPATCH 0x0080
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

/* For EVFILT_USER. */
#define NOTE_FFLAGSMASK 0x00ffffffu
#define NOTE_TRIGGER 0x01000000u
#define NOTE_FFAND 0x40000000u
#define NOTE_FFOR 0x80000000u
#define NOTE_FFCOPY 0xc0000000u
#define NOTE_FFCTRLMASK 0xc0000000u
/* For EVFILT_EXCEPT. */
#define NOTE_OOB 0x00000002u

#define EV_SET(event, ident_, filter_, flags_, fflags_, data_, udata_) \
    (*(event) = (struct kevent){.ident = (uintptr_t)(ident_),          \
                                .filter = (int16_t)(filter_),          \
                                .flags = (uint16_t)(flags_),           \
                                .fflags = (fflags_),                   \
                                .data = (data_),                       \
                                .udata = (void *)(udata_)})

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
           int event_count, const struct timespec *timeout);

#endif
