/* SPDX-License-Identifier: MIT */
/* resolve_socks: sockets between c-ares and the loop. Called by c-ares through the table below,
 * inside of resolve_dns's calls. Readiness is only noted: c-ares is told from the task.
 */
#include "io/resolve_socks.h"

#include "base/check.h"
#include "base/err.h"

#include <ares.h>
#include <netinet/tcp.h>
#include <unistd.h>

static struct resolve_sock *find(struct resolve_socks *s, int fd)
{
    for (unsigned i = 0; i < RESOLVE_SOCKS_MAX; i++)
        if (s->v[i].watch.fd == fd)
            return &s->v[i];
    return NULL;
}

static void sock_ready(struct watch *w, unsigned events)
{
    struct resolve_sock *sock = CONTAINER_OF(w, struct resolve_sock, watch);

    sock->ready |= events;
    task_wake(sock->socks->task, TASK_RX);
}

static void sock_unwatch(struct resolve_sock *sock)
{
    if (sock->watched)
        loop_unwatch(sock->socks->task->loop, &sock->watch);
    sock->watched = false;
    sock->ready = 0;
}

static ares_socket_t sock_open(int family, int type, int protocol, void *user)
{
    struct resolve_socks *s = OBJ_CAST(struct resolve_socks, user, RESOLVE_SOCKS_MAGIC);
    struct resolve_sock *sock = find(s, -1);
    int fd, on = 1;

    if (!sock) {
        errno = EMFILE;
        return -1;
    }
    /* In the simulation there is no network. */
    fd = s->task->loop->epfd < 0 ? -1
                                 : socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -1;
    if (type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    sock->watch.fd = fd;
    sock->datagrams = type == SOCK_DGRAM;
    sock->channel = s->channel;
    sock->ready = 0;
    return fd;
}

static int sock_close(ares_socket_t fd, void *user)
{
    struct resolve_sock *sock = find(OBJ_CAST(struct resolve_socks, user, RESOLVE_SOCKS_MAGIC), fd);

    if (sock) {
        sock_unwatch(sock);
        sock->watch.fd = -1;
    }
    return close(fd);
}

/* c-ares drops the scope of a link-local server: it is put back here. */
static int sock_connect(ares_socket_t fd, const struct sockaddr *sa, ares_socklen_t n, void *user)
{
    struct resolve_socks *s = OBJ_CAST(struct resolve_socks, user, RESOLVE_SOCKS_MAGIC);
    struct addr to;

    if (n > sizeof(to))
        return errno = EINVAL, -1;
    memset(&to, 0, sizeof(to));
    memcpy(&to, sa, n);
    for (unsigned i = 0; i < s->n_servers && to.sa.sa_family == AF_INET6; i++) {
        const struct sockaddr_in6 *known = &s->servers[i].in6;

        if (known->sin6_family == AF_INET6 && known->sin6_port == to.in6.sin6_port &&
            memcmp(&known->sin6_addr, &to.in6.sin6_addr, sizeof(to.in6.sin6_addr)) == 0)
            to.in6.sin6_scope_id = known->sin6_scope_id;
    }
    return connect(fd, &to.sa, n);
}

static ares_ssize_t sock_recv(ares_socket_t fd, void *p, size_t n, int flags, struct sockaddr *from,
                              ares_socklen_t *from_n, void *user)
{
    struct resolve_socks *s = OBJ_CAST(struct resolve_socks, user, RESOLVE_SOCKS_MAGIC);
    struct resolve_sock *sock = find(s, fd);
    ssize_t got;

    if (!sock || !sock->datagrams)
        return recvfrom(fd, p, n, flags, from, from_n);
    /* An empty datagram is no end of anything. */
    do {
        if (s->budget == 0)
            return errno = EAGAIN, -1; /* what is left is read in the next turn */
        s->budget--;
        got = recvfrom(fd, p, n, flags, from, from_n);
    } while (got == 0);
    if (got > 0)
        s->saw(s->owner, slice_of(p, (size_t)got));
    return got;
}

static ares_ssize_t sock_send(ares_socket_t fd, const struct iovec *iov, int n, void *user)
{
    const struct resolve_sock *sock =
        find(OBJ_CAST(struct resolve_socks, user, RESOLVE_SOCKS_MAGIC), fd);
    struct msghdr m = {.msg_iovlen = (size_t)n};
    ssize_t sent;
    size_t all = 0;

    m.msg_iov = (struct iovec *)(uintptr_t)iov; /* sendmsg does not write to it */
    sent = sendmsg(fd, &m, MSG_NOSIGNAL);
    /* The ICMP error of a datagram before: the call has only reported it, and nobody else will hear of it. If the server is still away, this
     * datagram brings the next one, which c-ares meets where it reads, and takes for all questions that are out. */
    if (sent < 0 && sock && sock->datagrams && errno == ECONNREFUSED)
        sent = sendmsg(fd, &m, MSG_NOSIGNAL);
    if (sent >= 0 || !sock || !sock->datagrams || (errno != EAGAIN && errno != ENOBUFS))
        return sent;
    /* No room for a datagram is a lost datagram: the next try is due to the clock. c-ares would use
     * up all tries now. */
    for (int i = 0; i < n; i++)
        all += iov[i].iov_len;
    return (ares_ssize_t)all;
}

const struct ares_socket_functions resolve_socks_functions = {
    .asocket = sock_open,
    .aclose = sock_close,
    .aconnect = sock_connect,
    .arecvfrom = sock_recv,
    .asendv = sock_send,
};

void resolve_socks_state(void *socks, ares_socket_t fd, int readable, int writable)
{
    struct resolve_socks *s = OBJ_CAST(struct resolve_socks, socks, RESOLVE_SOCKS_MAGIC);
    struct resolve_sock *sock = find(s, fd);
    unsigned events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);

    if (!sock)
        return;
    if (!events) {
        sock_unwatch(sock);
        return;
    }
    sock->watch.events = events;
    /* Without a watch the question runs into its timeout. */
    if (sock->watched) {
        if (loop_rewatch(s->task->loop, &sock->watch) < 0)
            sock_unwatch(sock);
    } else {
        sock->watched = loop_watch(s->task->loop, &sock->watch) == 0;
    }
}

void resolve_socks_init(struct resolve_socks *s, struct task *task,
                        void (*saw)(void *owner, struct slice datagram), void *owner)
{
    *s = (struct resolve_socks){
        .magic = RESOLVE_SOCKS_MAGIC, .task = task, .saw = saw, .owner = owner};
    for (unsigned i = 0; i < RESOLVE_SOCKS_MAX; i++) {
        s->v[i].watch = (struct watch){.fd = -1, .ready = sock_ready};
        s->v[i].socks = s;
    }
}

bool resolve_socks_next(struct resolve_socks *s, unsigned *at, struct resolve_ready *ret_ready)
{
    while (*at < RESOLVE_SOCKS_MAX) {
        struct resolve_sock *sock = &s->v[(*at)++];
        unsigned ready = sock->ready;

        if (!ready || sock->watch.fd < 0)
            continue;
        sock->ready = 0;
        s->budget = RESOLVE_SOCKS_DATAGRAMS;
        *ret_ready = (struct resolve_ready){
            .fd = sock->watch.fd,
            .channel = sock->channel,
            .events = ready & (EPOLLERR | EPOLLHUP) ? EPOLLIN | EPOLLOUT : ready,
        };
        return true;
    }
    return false;
}
