/* SPDX-License-Identifier: MIT */
/* net: a real loop whose clock can be pushed forward, connected sockets on loopback, and patience.
 * Include it once a program, behind cmocka.h. A test begins with net_begin and ends with net_end,
 * which looks for descriptors and blocks left behind. */
#ifndef SUPPORT_NET_H
#define SUPPORT_NET_H

#include "base/base.h"
#include "io/conn.h"
#include "io/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NET_PATIENCE_MS = 8000, NET_NAP_MS = 2, NET_NOBODY = 65534 };

/* How a socket's incoming direction stands. */
enum net_end { NET_OPEN, NET_FIN, NET_RST };

static struct world_ops net_world;
static struct loop net_loop;
static uint64_t net_shift_us, net_stopped_us;
static int net_n_fds;

static inline uint64_t net_real_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static inline uint64_t net_now_us(struct loop *l)
{
    return (net_stopped_us ? net_stopped_us : world_linux.now_us(l)) + net_shift_us;
}

/* From now on time passes by net_later_ms alone: a busy machine makes nothing late. */
static inline void net_stop_clock(void)
{
    net_stopped_us = world_linux.now_us(&net_loop);
}

/* Open descriptors of this process. */
static inline int net_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static inline void net_begin(void)
{
    net_n_fds = net_fds();
    net_shift_us = net_stopped_us = 0;
    net_world = world_linux;
    net_world.now_us = net_now_us;
    assert_int_equal(loop_init(&net_loop, &net_world), 0);
}

static inline void net_end(void)
{
    loop_turn(&net_loop, 0);
    assert_int_equal(net_loop.blocks.n_used, 0);
    assert_int_equal(net_loop.pages.n_used, 0);
    loop_done(&net_loop);
    assert_int_equal(net_fds(), net_n_fds);
}

static inline void net_turns(int n)
{
    while (n--)
        loop_turn(&net_loop, 0);
}

/* Time passes at once. */
static inline void net_later_ms(uint64_t ms)
{
    net_shift_us += ms * 1000;
    net_turns(2);
}

static inline void net_sleep_ms(unsigned ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&ts, NULL);
}

/* Turns the loop until the condition holds. */
#define NET_UNTIL(cond)                                                                            \
    do {                                                                                           \
        uint64_t net_give_up_ = net_real_ms() + NET_PATIENCE_MS;                                   \
        while (!(cond)) {                                                                          \
            if (net_real_ms() > net_give_up_)                                                      \
                fail_msg("waited in vain for: %s", #cond);                                         \
            loop_turn(&net_loop, NET_NAP_MS);                                                      \
        }                                                                                          \
    } while (0)

/* An unprivileged user from now on, for good: one of its own, since what the kernel counts a user
 * (pages of pipes) would otherwise be shared with other tests. */
static inline bool net_become_nobody(void)
{
    unsigned own = 200000 + (unsigned)getpid() % 100000;

    if (geteuid() != 0)
        return true;
    if (setgid(NET_NOBODY))
        return false;
    return setuid(own) == 0 || setuid(NET_NOBODY) == 0;
}

/* ---- sockets ---- */

static inline struct addr net_loopback(uint16_t port)
{
    struct addr a;

    addr_v4(&a, (const uint8_t[4]){127, 0, 0, 1}, port);
    return a;
}

static inline int net_listen(int backlog, struct addr *ret_addr)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t n = sizeof(ret_addr->in6);

    *ret_addr = net_loopback(0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, &ret_addr->sa, addr_len(ret_addr)), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, &ret_addr->sa, &n), 0);
    return fd;
}

static inline void net_nonblocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

/* Two connected TCP sockets, both non-blocking. Small: little fits in before the sender stalls. */
static inline void net_pair(int fd[2], bool small)
{
    struct addr a;
    int one = 1, few = 4096, l = net_listen(1, &a);

    fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd[1] >= 0);
    if (small) {
        setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &few, sizeof(few));
        setsockopt(l, SOL_SOCKET, SO_RCVBUF, &few, sizeof(few));
    }
    assert_int_equal(connect(fd[1], &a.sa, addr_len(&a)), 0);
    fd[0] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd[0] >= 0);
    close(l);
    for (int i = 0; i < 2; i++) {
        setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        /* A kernel whose default paces (bbr) would send bulk in drops. */
        setsockopt(fd[i], IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
        if (small)
            setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &few, sizeof(few));
        net_nonblocking(fd[i]);
    }
}

/* One end of a TCP connection as a conn of the loop, the other as a plain socket. */
static inline struct conn *net_conn(int *ret_peer, bool small)
{
    struct conn *c;
    int fd[2];

    net_pair(fd, small);
    assert_int_equal(conn_tcp_new(&net_loop, fd[0], false, &c), 0);
    *ret_peer = fd[1];
    return c;
}

/* What is there now, behind *n. */
static inline enum net_end net_read(int fd, char *p, size_t cap, size_t *n)
{
    while (*n < cap) {
        ssize_t r = recv(fd, p + *n, cap - *n, MSG_DONTWAIT);

        if (r == 0)
            return NET_FIN;
        if (r < 0)
            return errno == EAGAIN ? NET_OPEN : NET_RST;
        *n += (size_t)r;
    }
    return NET_OPEN;
}

static inline void net_write(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT), n);
}

static inline void net_write_text(int fd, const char *text)
{
    net_write(fd, text, strlen(text));
}

/* An RST, at once. */
static inline void net_rst(int fd)
{
    struct linger l = {.l_onoff = 1, .l_linger = 0};

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
    close(fd);
}

#endif
