/* SPDX-License-Identifier: MIT */
/* conn_tcp: sockets as conns. One registration for all events, edge-triggered, for the socket's whole life: no epoll_ctl and
 * no probing read in steady state. A read that does not fill the buffer says "drained", unless the peer's end is known to be
 * queued: then reading goes on until EOF or error, because the bytes before an RST are still there.
 */
#include "io/conn.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fds.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct conn_tcp {
    struct conn conn;
    struct grave grave;
    int fd;
    bool connecting;
};

static struct conn_tcp *tcp_of(struct conn *c)
{
    OBJ_CHECK(c, CONN_MAGIC);
    return CONTAINER_OF(c, struct conn_tcp, conn);
}

static enum io tcp_broken(struct conn *c, int error)
{
    if (!c->error || c->error == -ECONNRESET)
        c->error = error;
    c->ready &= (uint8_t)~CONN_RX;
    return IO_ERR;
}

static enum io tcp_recv(struct conn *c, void *p, size_t n, size_t *ret_n)
{
    ssize_t r;

    CHECK(n > 0);
    do {
        r = recv(tcp_of(c)->fd, p, n, 0);
    } while (r < 0 && errno == EINTR);
    if (r > 0) {
        if ((size_t)r < n && !c->hup)
            c->ready &= (uint8_t)~CONN_RX;
        c->rx_bytes += (size_t)r;
        *ret_n = (size_t)r;
        return IO_OK;
    }
    if (r < 0 && errno == EAGAIN && !c->error) {
        c->ready &= (uint8_t)~CONN_RX;
        return IO_AGAIN;
    }
    if (r == 0 && !c->error) {
        c->ready &= (uint8_t)~CONN_RX;
        c->eof = true;
        return IO_EOF;
    }
    return tcp_broken(c, r < 0 && errno != EAGAIN ? -errno : c->error);
}

static enum io tcp_send(struct conn *c, const struct iovec *iov, int n_iov, size_t *ret_n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n_iov};
    size_t want = 0;
    ssize_t r;

    for (int i = 0; i < n_iov; i++)
        want += iov[i].iov_len;
    do {
        if (n_iov == 1)
            r = send(tcp_of(c)->fd, iov[0].iov_base, want, MSG_NOSIGNAL);
        else
            r = sendmsg(tcp_of(c)->fd, &m, MSG_NOSIGNAL);
    } while (r < 0 && errno == EINTR);
    if (r < 0) {
        if (errno == EAGAIN) {
            c->ready &= (uint8_t)~CONN_TX;
            return IO_AGAIN;
        }
        /* What was received before the break is still to be read. */
        conn_broke(c, -errno);
        return IO_ERR;
    }
    if ((size_t)r < want)
        c->ready &= (uint8_t)~CONN_TX;
    c->tx_bytes += (size_t)r;
    *ret_n = (size_t)r;
    return IO_OK;
}

static int tcp_shut(struct conn *c)
{
    return shutdown(tcp_of(c)->fd, SHUT_WR) ? -errno : 0;
}

static enum io tcp_established(struct conn *c)
{
    struct conn_tcp *t = tcp_of(c);
    int err = 0;
    socklen_t n = sizeof(err);

    if (!t->connecting)
        return IO_OK;
    if (!(c->ready & CONN_TX))
        return IO_AGAIN;
    t->connecting = false;
    if (!c->error)
        return IO_OK;
    if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &err, &n) == 0 && err)
        c->error = -err;
    return IO_ERR;
}

static int tcp_fd(struct conn *c, enum conn_dir dir)
{
    UNUSED(dir);
    return c->error ? -1 : tcp_of(c)->fd;
}

static void tcp_free(struct grave *g)
{
    struct conn_tcp *t = CONTAINER_OF(g, struct conn_tcp, grave);

    t->conn.magic = OBJ_DEAD;
    mem_free(t);
}

/* ---- endings ---- */

static void close_with_rst(const struct loop *loop, int fd)
{
    struct linger l = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    fds_close_watched(loop->epfd, fd);
}

/* A socket whose last bytes still have to reach the peer before its RST does (an RST throws away what is queued). */
struct reaper {
    struct list link; /* in the loop's resets */
    struct task task;
    struct timer timer;
    struct grave grave;
    int fd;
    unsigned polls;
};

static void reaper_free(struct grave *g)
{
    mem_free(CONTAINER_OF(g, struct reaper, grave));
}

static void reaper_end(struct reaper *r)
{
    struct loop *loop = r->task.loop;

    close_with_rst(loop, r->fd);
    timer_stop(&r->timer);
    task_cancel(&r->task);
    list_del(&r->link);
    loop_bury(loop, &r->grave);
}

static void reaper_run(struct task *t, unsigned bits)
{
    struct reaper *r = CONTAINER_OF(t, struct reaper, task);
    int queued = 0;

    UNUSED(bits);
    if (++r->polls * CONN_RESET_POLL_MS < CONN_RESET_GRACE_MS && ioctl(r->fd, SIOCOUTQ, &queued) == 0 &&
        queued > 0) {
        timer_set(&r->timer, CONN_RESET_POLL_MS);
        return;
    }
    reaper_end(r);
}

void conn_tcp_reap_all(struct loop *loop)
{
    LIST_EACH(it, &loop->resets)
    reaper_end(LIST_ENTRY(it, struct reaper, link));
}

/* False: no memory for it; the RST goes out at once. */
static bool reaper_start(struct loop *loop, int fd)
{
    struct reaper *r = mem_zalloc(sizeof(*r));

    if (!r)
        return false;
    /* The conn dies now: no more events may name it. */
    epoll_ctl(loop->epfd, EPOLL_CTL_DEL, fd, NULL);
    task_init(&r->task, loop, "reaper", reaper_run);
    timer_init(&r->timer, &r->task);
    r->fd = fd;
    r->grave.free = reaper_free;
    list_push(&loop->resets, &r->link);
    timer_set(&r->timer, CONN_RESET_POLL_MS);
    return true;
}

/* Asked only where no event has said so. */
static bool tcp_given_up(const struct conn *c, int fd)
{
    struct tcp_info info;
    socklen_t n = sizeof(info);

    return c->gone || (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state == TCP_CLOSE);
}

static void tcp_close(struct conn *c, bool reset)
{
    struct conn_tcp *t = tcp_of(c);
    int queued = 0;

    /* A connection that the kernel has given up needs no RST. One whose call failed (no memory, no buffers) is healthy to the kernel,
     * and a close alone would send a FIN, which looks like an end. */
    if (!reset || (c->error && tcp_given_up(c, t->fd))) {
        fds_close_watched(c->loop->epfd, t->fd);
    } else if (c->tx_bytes == 0 || ioctl(t->fd, SIOCOUTQ, &queued) < 0 || queued == 0 ||
               !reaper_start(c->loop, t->fd)) {
        close_with_rst(c->loop, t->fd);
    }
    t->fd = -1;
    loop_bury(c->loop, &t->grave);
}

/* ---- beginnings ---- */

static const struct conn_ops tcp_ops = {
    .name = "tcp",
    .recv = tcp_recv,
    .send = tcp_send,
    .shut = tcp_shut,
    .established = tcp_established,
    .fd = tcp_fd,
    .close = tcp_close,
};

int conn_tcp_new(struct loop *loop, int fd, bool connecting, struct conn **ret_conn)
{
    struct conn_tcp *t = mem_zalloc(sizeof(*t));
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};

    if (!t)
        return ERR_NOMEM;
    t->conn.magic = CONN_MAGIC;
    t->conn.ops = &tcp_ops;
    t->conn.loop = loop;
    /* A new socket has room: its first event then wakes nobody for nothing. */
    t->conn.ready = connecting ? 0 : CONN_TX;
    t->grave.free = tcp_free;
    t->fd = fd;
    t->connecting = connecting;
    e.data.u64 = (uintptr_t)&t->conn;
    if (epoll_ctl(loop->epfd, EPOLL_CTL_ADD, fd, &e)) {
        int r = -errno;

        mem_free(t);
        return r;
    }
    *ret_conn = &t->conn;
    return 0;
}

static int set_way(int fd, const struct dial_way *way)
{
    size_t n = strlen(way->interface);
    int r = 0;

    if (n && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, way->interface, (socklen_t)n + 1))
        r = errno;
    if (r == 0 && way->mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &way->mark, sizeof(way->mark)))
        r = errno;
    if (r == EPERM)
        return ERR_PRIVILEGE;
    return r == ENODEV ? ERR_INTERFACE : -r;
}

/* The port is chosen by connect(2), which knows the target: an address has all its ports for each of them. */
static int bind_to(int fd, const struct dial_from *from)
{
    int one = 1, r = set_way(fd, &from->way);

    if (r < 0 || from->addr.sa.sa_family == AF_UNSPEC)
        return r;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)))
        return -errno;
    if (from->anywhere && setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)))
        return -errno;
    return bind(fd, &from->addr.sa, addr_len(&from->addr)) ? -errno : 0;
}

/* What EADDRNOTAVAIL from connect(2) means: all ports are in use, or there is no address to come from, as with an IPv6 target where there
 * is no IPv6. The way to the target is all that a datagram socket needs. */
static int why_not_available(const struct addr *to, const struct dial_from *from)
{
    int fd, r = ERR_PORTS;

    if (from && from->addr.sa.sa_family != AF_UNSPEC)
        return ERR_PORTS;
    fd = socket(to->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -EADDRNOTAVAIL;
    if ((from && set_way(fd, &from->way) < 0) || (connect(fd, &to->sa, addr_len(to)) && errno == EADDRNOTAVAIL))
        r = -EADDRNOTAVAIL;
    close(fd);
    return r;
}

int conn_tcp_dial(struct loop *loop, const struct addr *to, const struct dial_from *from, struct conn **ret_conn)
{
    int fd, r, one = 1;
    bool connecting = false;

    fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (fds_kept(fd)) {
        close(fd);
        return -EMFILE;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    r = from ? bind_to(fd, from) : 0;
    if (r < 0)
        goto fail;
    if (connect(fd, &to->sa, addr_len(to))) {
        r = errno == EADDRNOTAVAIL ? why_not_available(to, from) : -errno;
        if (r != -EINPROGRESS)
            goto fail;
        connecting = true;
    }
    r = conn_tcp_new(loop, fd, connecting, ret_conn);
    if (r < 0)
        close(fd);
    return r;

fail:
    close(fd);
    return r;
}

bool conn_tcp_local(struct conn *c, struct addr *ret_local)
{
    socklen_t n = sizeof(ret_local->in6);

    c = conn_lowest(c);
    return c->ops == &tcp_ops && getsockname(tcp_of(c)->fd, &ret_local->sa, &n) == 0;
}

uint64_t conn_rtt_us(struct conn *c)
{
    struct tcp_info info;
    socklen_t n = sizeof(info);

    c = conn_lowest(c);
    if (c->ops != &tcp_ops || getsockopt(tcp_of(c)->fd, IPPROTO_TCP, TCP_INFO, &info, &n))
        return 0;
    return info.tcpi_rtt;
}

void conn_unsent_max(struct conn *c, int bytes)
{
    c = conn_lowest(c);
    if (c->ops == &tcp_ops)
        setsockopt(tcp_of(c)->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

bool conn_tcp_peer(struct conn *c, uint32_t *ret_uid)
{
    struct ucred cred;
    socklen_t n = sizeof(cred);

    c = conn_lowest(c);
    if (c->ops != &tcp_ops || getsockopt(tcp_of(c)->fd, SOL_SOCKET, SO_PEERCRED, &cred, &n))
        return false;
    *ret_uid = cred.uid;
    return true;
}
