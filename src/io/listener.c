/* SPDX-License-Identifier: MIT */
/* listener: accepts in batches and hands descriptors up. Level-triggered, so what a batch leaves comes next turn; exclusive, so
 * that one connection wakes one worker.
 */
#include "io/listener.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { LISTENER_BACKLOG = 4096 };

#define LISTENER_MAGIC 0x115e4001u

struct listener {
    unsigned magic;
    struct loop *loop;
    struct watch watch;
    struct task task; /* resumes after a pause */
    struct timer timer;
    struct grave grave;
    struct listener_opts opts;
    int reserve; /* a descriptor given up to turn a client away when there is none left */
    bool paused;
};

int listener_open(struct addr *addr)
{
    int fd, r, one = 1;
    socklen_t n = sizeof(addr->in6);

    fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
        (addr->sa.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
        bind(fd, &addr->sa, addr_len(addr)) || listen(fd, LISTENER_BACKLOG) ||
        getsockname(fd, &addr->sa, &n)) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static int reserve_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void listener_pause(struct listener *l)
{
    loop_unwatch(l->loop, &l->watch);
    l->paused = true;
    timer_set(&l->timer, LISTENER_PAUSE_MS);
}

/* There is no descriptor to linger with: what has come of the request is taken in, so that closing does not turn into an RST that
 * overtakes the answer. */
static void listener_say_busy(const struct listener *l, int fd)
{
    char sink[1024];

    if (send(fd, l->opts.busy_reply.p, l->opts.busy_reply.n, MSG_NOSIGNAL) < 0)
        log_debug("turning away: %s", err_text(-errno));
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 8 && recv(fd, sink, sizeof(sink), 0) > 0; i++)
        ;
}

/* Gives up the reserve for the client at the head of the queue, so that it learns at once and the queue moves. */
static void listener_turn_away(struct listener *l)
{
    int fd;

    log_limited(LOG_WARN, 1, "out of file descriptors: turning a client away, accepting pauses for %d ms",
                LISTENER_PAUSE_MS);
    if (l->reserve >= 0) {
        close(l->reserve);
        fd = accept4(l->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener_say_busy(l, fd);
            close(fd);
        }
    }
    l->reserve = reserve_open();
}

static void listener_ready(struct watch *w, unsigned events)
{
    struct listener *l = CONTAINER_OF(w, struct listener, watch);
    struct addr peer;

    UNUSED(events);
    for (int i = 0; i < LISTENER_BATCH; i++) {
        socklen_t n = sizeof(peer.in6);
        int fd = accept4(w->fd, &peer.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            l->opts.accept(l->opts.owner, fd, &peer);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (errno == EMFILE || errno == ENFILE) {
            listener_turn_away(l);
            listener_pause(l);
            return;
        }
        if (errno == ENOBUFS || errno == ENOMEM) {
            log_limited(LOG_WARN, 1, "accepting: %s", err_text(-errno));
            listener_pause(l);
            return;
        }
        if (errno == EINVAL) {
            /* The socket listens no more (shutdown): the worker is about to be told. */
            loop_unwatch(l->loop, &l->watch);
            l->paused = true;
            return;
        }
        /* ECONNABORTED and the network errors of accept(2) concern that one connection. */
    }
}

static void listener_resume(struct task *t, unsigned bits)
{
    struct listener *l = CONTAINER_OF(t, struct listener, task);

    UNUSED(bits);
    if (!l->paused)
        return;
    l->paused = false;
    if (l->reserve < 0)
        l->reserve = reserve_open();
    if (loop_watch(l->loop, &l->watch) < 0)
        listener_pause(l);
}

int listener_start(struct loop *loop, const struct listener_opts *opts, struct listener **ret_l)
{
    struct listener *l = mem_zalloc(sizeof(*l));
    int r;

    if (!l)
        return ERR_NOMEM;
    l->magic = LISTENER_MAGIC;
    l->loop = loop;
    l->opts = *opts;
    l->watch = (struct watch){.fd = opts->fd, .events = EPOLLIN | EPOLLEXCLUSIVE, .ready = listener_ready};
    task_init(&l->task, loop, "listener", listener_resume);
    timer_init(&l->timer, &l->task);
    l->reserve = reserve_open();
    r = loop_watch(loop, &l->watch);
    if (r < 0) {
        if (l->reserve >= 0)
            close(l->reserve);
        mem_free(l);
        return r;
    }
    *ret_l = l;
    return 0;
}

static void listener_free(struct grave *g)
{
    mem_free(CONTAINER_OF(g, struct listener, grave));
}

void listener_stop(struct listener **lp)
{
    struct listener *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    OBJ_CHECK(l, LISTENER_MAGIC);
    if (!l->paused)
        loop_unwatch(l->loop, &l->watch);
    timer_stop(&l->timer);
    task_cancel(&l->task);
    if (l->reserve >= 0)
        close(l->reserve);
    l->magic = OBJ_DEAD;
    l->grave.free = listener_free;
    loop_bury(l->loop, &l->grave);
}
