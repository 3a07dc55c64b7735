/*
 * sockets.c - creates sockets of all families.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "kinds.h"

#include <linux/errqueue.h>
#include <linux/if_alg.h>
#include <linux/net_tstamp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define OPTIONS (SOCK_CLOEXEC | SOCK_NONBLOCK)

/* Family, type and protocol in one number, and a state beside. */
#define KIND(family, type, protocol) ((family) << 24 | (type) << 20 | (protocol) << 8)

enum condition {
    IDLE,
    DATA,
    FULL,
    URGENT,
    PEER_SHUT,
    PEER_SHUT_DATA,
    SHUT_READ,
    SHUT_WRITE,
    SHUT_ALL,
    BOTH_SHUT,
    PEER_GONE,
    PEER_GONE_UNREAD,
    PEER_GONE_FULL,
    UNCONNECTED,
    BOUND,
    LISTENING,
    CALLED,
    CALLED_GONE,
    CONNECTING,
    REFUSED,
    ERROR_QUEUE,
    ERROR_URGENT
};

static int open_socket(int kind) {
    return owned(socket(kind >> 24, (kind >> 20 & 15) | OPTIONS, kind >> 8 & 0xfff));
}

/* An address on this machine, with a free port. */
static socklen_t local_address(int kind, struct sockaddr_storage *address) {
    memset(address, 0, sizeof *address);
    address->ss_family = (sa_family_t)(kind >> 24);
    if (kind >> 24 == AF_INET) {
        ((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof(struct sockaddr_in);
    }
    if (kind >> 24 == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_addr = in6addr_loopback;
        return sizeof(struct sockaddr_in6);
    }
    if (kind >> 24 == AF_VSOCK) {
        ((struct sockaddr_vm *)address)->svm_cid = VMADDR_CID_LOCAL;
        ((struct sockaddr_vm *)address)->svm_port = VMADDR_PORT_ANY;
        return sizeof(struct sockaddr_vm);
    }
    return sizeof(sa_family_t); /* the kernel chooses a name */
}

/* Opens a socket and binds it; stores the address that it got. */
static int open_bound(int kind, struct sockaddr_storage *address, socklen_t *length) {
    int fd = open_socket(kind);
    if (fd < 0)
        return fd;
    *length = local_address(kind, address);
    if (bind(fd, (struct sockaddr *)address, *length) < 0)
        return -errno;
    *length = sizeof *address;
    return getsockname(fd, (struct sockaddr *)address, length) < 0 ? -errno : fd;
}

static int call(int kind, const struct sockaddr_storage *address, socklen_t length) {
    int fd = open_socket(kind);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, length) < 0 &&
        errno != EINPROGRESS)
        return -errno;
    return fd;
}

static int connect_two(int kind, int ends[2]) {
    struct sockaddr_storage address;
    socklen_t length;
    struct pollfd wait;
    int listener;
    if (kind >> 24 == AF_UNIX) {
        if (socketpair(AF_UNIX, (kind >> 20 & 15) | OPTIONS, 0, ends) < 0)
            return -errno;
        own(ends[0]);
        own(ends[1]);
        return 0;
    }
    if ((listener = open_bound(kind, &address, &length)) < 0)
        return listener;
    if (listen(listener, 1) < 0)
        return -errno;
    if ((ends[0] = call(kind, &address, length)) < 0)
        return ends[0];
    wait = (struct pollfd){listener, POLLIN, 0};
    if (poll(&wait, 1, 1000) != 1)
        return -ETIMEDOUT;
    if ((ends[1] = owned(accept4(listener, NULL, NULL, OPTIONS))) < 0)
        return ends[1];
    drop(listener);
    wait = (struct pollfd){ends[0], POLLOUT, 0};
    return poll(&wait, 1, 1000) == 1 ? 0 : -ETIMEDOUT;
}

/* One of two connected sockets. */
static int make_connected(int variant) {
    int kind = variant & ~0xff, small = 4096, ends[2], result = connect_two(kind, ends);
    enum condition condition = (enum condition)(variant & 0xff);
    bool good = true;
    if (result < 0)
        return result;
    switch (condition) {
    case DATA:
    case PEER_SHUT_DATA: good = send(ends[1], "data", 4, 0) == 4; break;
    case FULL:
    case PEER_GONE_FULL:
        setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        fill(ends[0]);
        usleep(kind >> 24 == AF_UNIX ? 0 : 5000); /* what is on its way arrives */
        fill(ends[0]);
        break;
    case URGENT: good = send(ends[1], "!", 1, MSG_OOB) == 1; break;
    case PEER_GONE_UNREAD: good = send(ends[0], "data", 4, 0) == 4; break;
    case SHUT_READ: good = shutdown(ends[0], SHUT_RD) == 0; break;
    case SHUT_WRITE:
    case BOTH_SHUT: good = shutdown(ends[0], SHUT_WR) == 0; break;
    case SHUT_ALL: good = shutdown(ends[0], SHUT_RDWR) == 0; break;
    default: break;
    }
    if (good && (condition == PEER_SHUT || condition == PEER_SHUT_DATA || condition == BOTH_SHUT))
        good = shutdown(ends[1], SHUT_WR) == 0;
    if (good &&
        (condition == PEER_GONE || condition == PEER_GONE_UNREAD || condition == PEER_GONE_FULL))
        good = drop(ends[1]);
    return good ? ends[0] : -errno;
}

/* A socket that is not connected, or about to be. */
static int make_single(int variant) {
    int kind = variant & ~0xff, fd, caller;
    enum condition condition = (enum condition)(variant & 0xff);
    struct sockaddr_storage address;
    socklen_t length;
    if (condition == UNCONNECTED)
        return open_socket(kind);
    fd = open_bound(kind, &address, &length);
    if (fd < 0 || condition == BOUND)
        return fd;
    if (condition == REFUSED)
        return call(kind, &address, length);
    if (listen(fd, condition == CONNECTING ? 0 : 8) < 0)
        return -errno;
    if (condition == LISTENING)
        return fd;
    caller = call(kind, &address, length);
    for (int i = 0; condition == CONNECTING && caller >= 0 && i < 3; i++)
        caller = call(kind, &address, length);
    if (caller < 0 || condition == CONNECTING)
        return caller;
    return condition == CALLED_GONE && !drop(caller) ? -errno : fd;
}

/* A socket for datagrams. */
static int make_datagram(int variant) {
    const int stamps =
        SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY;
    int kind = variant & ~0xff, on = 1, fd, other;
    enum condition condition = (enum condition)(variant & 0xff);
    struct sockaddr_storage address;
    socklen_t length;
    other = open_bound(kind, &address, &length);
    if (other < 0)
        return other;
    if (condition == DATA) {
        fd = call(kind, &address, length);
        return fd >= 0 && send(fd, "data", 4, 0) != 4 ? -errno : fd < 0 ? fd : other;
    }
    fd = call(kind, &address, length);
    if (fd < 0)
        return fd;
    if (condition == REFUSED && (!drop(other) || send(fd, "data", 4, 0) != 4))
        return -errno;
    if (condition == SHUT_READ && shutdown(fd, SHUT_RD) < 0)
        return -errno;
    if (condition == SHUT_ALL && shutdown(fd, SHUT_RDWR) < 0)
        return -errno;
    if (condition == ERROR_URGENT &&
        setsockopt(fd, SOL_SOCKET, SO_SELECT_ERR_QUEUE, &on, sizeof on) < 0)
        return -errno;
    if ((condition == ERROR_QUEUE || condition == ERROR_URGENT) &&
        (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps) < 0 ||
         send(fd, "data", 4, 0) != 4))
        return -errno;
    return fd;
}

#define STREAM KIND(AF_UNIX, SOCK_STREAM, 0)
#define PACKET KIND(AF_UNIX, SOCK_SEQPACKET, 0)
#define LETTER KIND(AF_UNIX, SOCK_DGRAM, 0)

const struct state unix_sockets[] = {
    {"a Unix stream", make_connected, STREAM | IDLE, POLLOUT, NULL},
    {"... with data", make_connected, STREAM | DATA, POLLIN | POLLOUT, NULL},
    {"... full", make_connected, STREAM | FULL, 0, NULL},
    {"... with urgent data", make_connected, STREAM | URGENT, POLLPRI, NULL},
    {"... the peer sends no more", make_connected, STREAM | PEER_SHUT, POLLRDHUP, NULL},
    {"... and there are data", make_connected, STREAM | PEER_SHUT_DATA, POLLRDHUP, NULL},
    {"... shut for reading", make_connected, STREAM | SHUT_READ, POLLRDHUP, NULL},
    {"... shut for writing", make_connected, STREAM | SHUT_WRITE, POLLOUT, NULL},
    {"... shut", make_connected, STREAM | SHUT_ALL, POLLHUP, NULL},
    {"... shut by both", make_connected, STREAM | BOTH_SHUT, POLLHUP, NULL},
    {"... the peer is gone", make_connected, STREAM | PEER_GONE, POLLHUP, NULL},
    {"... gone, and has not read", make_connected, STREAM | PEER_GONE_UNREAD, POLLERR, NULL},
    {"... gone, full", make_connected, STREAM | PEER_GONE_FULL, POLLERR, NULL},
    {"... not connected", make_single, STREAM | UNCONNECTED, POLLHUP, NULL},
    {"... bound", make_single, STREAM | BOUND, POLLHUP, NULL},
    {"... listening", make_single, STREAM | LISTENING, 0, NULL},
    {"... listening, called", make_single, STREAM | CALLED, POLLIN, NULL},
    {"... listening, called by who is gone", make_single, STREAM | CALLED_GONE, POLLIN, NULL},
    {"Unix packets", make_connected, PACKET | IDLE, POLLOUT, NULL},
    {"... with data", make_connected, PACKET | DATA, POLLIN, NULL},
    {"... full", make_connected, PACKET | FULL, 0, NULL},
    {"... the peer sends no more", make_connected, PACKET | PEER_SHUT, POLLRDHUP, NULL},
    {"... the peer is gone", make_connected, PACKET | PEER_GONE, POLLHUP, NULL},
    {"... not connected", make_single, PACKET | UNCONNECTED, POLLHUP, NULL},
    {"... listening, called", make_single, PACKET | CALLED, POLLIN, NULL},
    {"Unix datagrams", make_connected, LETTER | IDLE, POLLOUT, NULL},
    {"... with data", make_connected, LETTER | DATA, POLLIN, NULL},
    {"... full", make_connected, LETTER | FULL, 0, NULL},
    {"... the peer sends no more", make_connected, LETTER | PEER_SHUT, 0, NULL},
    {"... shut", make_connected, LETTER | SHUT_ALL, POLLHUP, NULL},
    {"... the peer is gone", make_connected, LETTER | PEER_GONE, 0, NULL},
    {"... the peer is gone, full", make_connected, LETTER | PEER_GONE_FULL, 0, NULL},
    {"... not connected", make_single, LETTER | UNCONNECTED, POLLOUT, NULL},
    END_OF_STATES,
};

#define TCP KIND(AF_INET, SOCK_STREAM, 0)
#define TCP6 KIND(AF_INET6, SOCK_STREAM, 0)
#define MPTCP KIND(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)
#define UDP KIND(AF_INET, SOCK_DGRAM, 0)
#define UDP6 KIND(AF_INET6, SOCK_DGRAM, 0)

const struct state inet_sockets[] = {
    {"TCP", make_connected, TCP | IDLE, POLLOUT, NULL},
    {"... with data", make_connected, TCP | DATA, POLLIN, NULL},
    {"... full", make_connected, TCP | FULL, 0, NULL},
    {"... with urgent data", make_connected, TCP | URGENT, POLLPRI, NULL},
    {"... the peer sends no more", make_connected, TCP | PEER_SHUT, POLLRDHUP, NULL},
    {"... and there are data", make_connected, TCP | PEER_SHUT_DATA, POLLRDHUP | POLLIN, NULL},
    {"... shut for reading", make_connected, TCP | SHUT_READ, POLLRDHUP, NULL},
    {"... shut for writing", make_connected, TCP | SHUT_WRITE, POLLOUT, NULL},
    {"... shut", make_connected, TCP | SHUT_ALL, POLLHUP, NULL},
    {"... shut by both", make_connected, TCP | BOTH_SHUT, POLLHUP, NULL},
    {"... the peer is gone", make_connected, TCP | PEER_GONE, POLLRDHUP, NULL},
    {"... gone, and has not read", make_connected, TCP | PEER_GONE_UNREAD, POLLERR, NULL},
    {"... gone, full", make_connected, TCP | PEER_GONE_FULL, POLLERR, NULL},
    {"... not connected", make_single, TCP | UNCONNECTED, POLLHUP, NULL},
    {"... bound", make_single, TCP | BOUND, POLLHUP, NULL},
    {"... listening", make_single, TCP | LISTENING, 0, NULL},
    {"... listening, called", make_single, TCP | CALLED, POLLIN, NULL},
    {"... listening, called by who is gone", make_single, TCP | CALLED_GONE, POLLIN, NULL},
    {"... connecting", make_single, TCP | CONNECTING, 0, NULL},
    {"... refused", make_single, TCP | REFUSED, POLLERR, NULL},
    {"TCP over IPv6", make_connected, TCP6 | IDLE, POLLOUT, NULL},
    {"... with data", make_connected, TCP6 | DATA, POLLIN, NULL},
    {"... with urgent data", make_connected, TCP6 | URGENT, POLLPRI, NULL},
    {"... the peer is gone", make_connected, TCP6 | PEER_GONE, POLLRDHUP, NULL},
    {"... listening, called", make_single, TCP6 | CALLED, POLLIN, NULL},
    {"... refused", make_single, TCP6 | REFUSED, POLLERR, NULL},
    {"MPTCP", make_connected, MPTCP | IDLE, POLLOUT, NULL},
    {"... with data", make_connected, MPTCP | DATA, POLLIN, NULL},
    {"... the peer sends no more", make_connected, MPTCP | PEER_SHUT, POLLRDHUP, NULL},
    {"... shut", make_connected, MPTCP | SHUT_ALL, 0, NULL},
    {"... not connected", make_single, MPTCP | UNCONNECTED, 0, NULL},
    {"... listening", make_single, MPTCP | LISTENING, 0, NULL},
    {"... listening, called", make_single, MPTCP | CALLED, POLLIN, NULL},
    {"UDP", make_datagram, UDP | IDLE, POLLOUT, NULL},
    {"... with data", make_datagram, UDP | DATA, POLLIN, NULL},
    {"... refused", make_datagram, UDP | REFUSED, POLLERR, NULL},
    {"... shut for reading", make_datagram, UDP | SHUT_READ, POLLRDHUP, NULL},
    {"... shut", make_datagram, UDP | SHUT_ALL, POLLHUP, NULL},
    {"... with an error queue", make_datagram, UDP | ERROR_QUEUE, POLLERR, NULL},
    {"... with an urgent error queue", make_datagram, UDP | ERROR_URGENT, POLLERR | POLLPRI, NULL},
    {"... not bound", make_single, UDP | UNCONNECTED, POLLOUT, NULL},
    {"UDP over IPv6", make_datagram, UDP6 | IDLE, POLLOUT, NULL},
    {"... with data", make_datagram, UDP6 | DATA, POLLIN, NULL},
    {"... refused", make_datagram, UDP6 | REFUSED, POLLERR, NULL},
    END_OF_STATES,
};

/* Other families. */

static int make_netlink(int with_data) {
    struct {
        struct nlmsghdr header;
        struct rtgenmsg message;
    } request;
    int fd = owned(socket(AF_NETLINK, SOCK_RAW | OPTIONS, NETLINK_ROUTE));
    memset(&request, 0, sizeof request);
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = RTM_GETLINK;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    if (fd >= 0 && with_data && send(fd, &request, sizeof request, 0) < 0)
        return -errno;
    return fd;
}

static int make_hash(int with_data) {
    struct sockaddr_alg address = {.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha1"};
    int parent = owned(socket(AF_ALG, SOCK_SEQPACKET | OPTIONS, 0)), fd;
    if (parent < 0)
        return parent;
    if (bind(parent, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    fd = owned(accept4(parent, NULL, NULL, OPTIONS));
    if (fd >= 0 && with_data && send(fd, "data", 4, 0) != 4)
        return -errno;
    return fd;
}

#define SINGLE(family, type, protocol) make_single, KIND(family, type, protocol) | UNCONNECTED
#define VSOCK KIND(AF_VSOCK, SOCK_STREAM, 0)

const struct state other_sockets[] = {
    {"netlink", make_netlink, 0, POLLOUT, NULL},
    {"... with an answer", make_netlink, 1, POLLIN, NULL},
    {"netlink of uevents", SINGLE(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT), 0, NULL},
    {"a hash", make_hash, 0, 0, NULL},
    {"... with data", make_hash, 1, 0, NULL},
    {"raw IP", SINGLE(AF_INET, SOCK_RAW, IPPROTO_ICMP), POLLOUT, NULL},
    {"raw IPv6", SINGLE(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), POLLOUT, NULL},
    {"ping", SINGLE(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), POLLOUT, NULL},
    {"UDP-Lite", SINGLE(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE), POLLOUT, NULL},
    {"SCTP", SINGLE(AF_INET, SOCK_STREAM, IPPROTO_SCTP), 0, NULL},
    {"DCCP", SINGLE(AF_INET, SOCK_DCCP, IPPROTO_DCCP), 0, NULL},
    {"SMC", SINGLE(AF_SMC, SOCK_STREAM, 0), 0, NULL},
    {"packets of a device", SINGLE(AF_PACKET, SOCK_RAW, 0), POLLOUT, NULL},
    {"XDP", SINGLE(AF_XDP, SOCK_RAW, 0), 0, NULL},
    {"keys of IPsec", SINGLE(AF_KEY, SOCK_RAW, 2), 0, NULL},
    {"vsock", make_connected, VSOCK | IDLE, POLLOUT, NULL},
    {"... with data", make_connected, VSOCK | DATA, POLLIN, NULL},
    {"... the peer sends no more", make_connected, VSOCK | PEER_SHUT, POLLRDHUP, NULL},
    {"... shut", make_connected, VSOCK | SHUT_ALL, 0, NULL},
    {"... the peer is gone", make_connected, VSOCK | PEER_GONE, POLLRDHUP, NULL},
    {"... not connected", make_single, VSOCK | UNCONNECTED, 0, NULL},
    {"... listening", make_single, VSOCK | LISTENING, 0, NULL},
    {"... listening, called", make_single, VSOCK | CALLED, POLLIN, NULL},
    {"vsock datagrams", SINGLE(AF_VSOCK, SOCK_DGRAM, 0), 0, NULL},
    {"TIPC", SINGLE(AF_TIPC, SOCK_SEQPACKET, 0), 0, NULL},
    {"RDS", SINGLE(AF_RDS, SOCK_SEQPACKET, 0), 0, NULL},
    {"CAN", SINGLE(AF_CAN, SOCK_RAW, 1), 0, NULL},
    {"Bluetooth", SINGLE(AF_BLUETOOTH, SOCK_SEQPACKET, 0), 0, NULL},
    {"KCM", SINGLE(AF_KCM, SOCK_DGRAM, 0), 0, NULL},
    {"QIPCRTR", SINGLE(AF_QIPCRTR, SOCK_DGRAM, 0), 0, NULL},
    {"AX.25", SINGLE(AF_AX25, SOCK_DGRAM, 0), 0, NULL},
    {"LLC", SINGLE(AF_LLC, SOCK_DGRAM, 0), 0, NULL},
    {"Phonet", SINGLE(AF_PHONET, SOCK_DGRAM, 0), 0, NULL},
    {"RxRPC", SINGLE(AF_RXRPC, SOCK_DGRAM, AF_INET), 0, NULL},
    {"PPPoX", SINGLE(AF_PPPOX, SOCK_STREAM, 0), 0, NULL},
    END_OF_STATES,
};
