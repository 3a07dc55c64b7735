/*
 * /dev/poll of Solaris and illumos, for tests on Linux: the part of <sys/devpoll.h> that is emulated.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EMULATION_DEVPOLL_H
#define EMULATION_DEVPOLL_H

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>

#undef POLLREMOVE
#define POLLREMOVE 0x0800

#define DP_POLL 0xd001
#define DP_ISPOLLED 0xd002
#define DP_PPOLL 0xd003

struct dvpoll {
    struct pollfd *dp_fds;
    nfds_t dp_nfds;
    int dp_timeout; /* in milliseconds */
    sigset_t *dp_setp;
};

#endif
