/* SPDX-License-Identifier: MIT */
/* listener: accepts in batches and hands descriptors up. Level-triggered, so what a batch leaves comes next turn; exclusive, so
 * that one connection wakes one worker.
 */
#include "io/listener.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/fds.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LISTENER_BACKLOG = 4096, TCP_FLAGS_AT = 13, TCP_FLAG_ACK_BIT = 0x10 };

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

static bool unix_address(const char *path, struct sockaddr_un *ret_un)
{
    size_t n = strlen(path);

    if (n >= sizeof(ret_un->sun_path))
        return false;
    *ret_un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_un->sun_path, path, n + 1);
    return true;
}

/* What is left of a process that was killed is a socket file that refuses. 0: the way is free. */
static int unix_clear(const char *path, const struct sockaddr_un *un)
{
    struct stat st;
    int fd, r;

    if (lstat(path, &st))
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -ENOTSOCK;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    r = connect(fd, (const struct sockaddr *)un, sizeof(*un)) ? -errno : 0;
    close(fd);
    if (r != -ECONNREFUSED)
        return r == -EACCES ? r : -EADDRINUSE;
    return unlink(path) ? -errno : 0;
}

int listener_open_unix(const char *path, unsigned mode)
{
    struct sockaddr_un un;
    int fd, r;

    if (!unix_address(path, &un))
        return -ENAMETOOLONG;
    r = unix_clear(path, &un);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Nobody but us may connect before the file has the mode that was asked for, whatever the umask is. */
    if (fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)&un, sizeof(un)))
        goto fail;
    if (chmod(path, mode) || listen(fd, LISTENER_BACKLOG)) {
        unlink(path);
        goto fail;
    }
    return fd;

fail:
    r = -errno;
    close(fd);
    return r;
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

/* Nobody lingers with this descriptor: what has come of the request is taken in, so that closing does not turn into an RST that
 * overtakes the answer. */
static void listener_say_busy(const struct listener *l, int fd)
{
    char sink[1024];

    if (send(fd, l->opts.busy_reply->p, l->opts.busy_reply->n, MSG_NOSIGNAL) < 0)
        log_debug("turning away: %s", err_text(-errno));
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 8 && recv(fd, sink, sizeof(sink), 0) > 0; i++)
        ;
}

static void listener_warn(void)
{
    log_limited(LOG_WARN, 1, "out of file descriptors: turning a client away, accepting pauses for %d ms",
                LISTENER_PAUSE_MS);
}

/* Gives up the reserve for the client at the head of the queue, so that it learns at once and the queue moves. */
static void listener_turn_away(struct listener *l)
{
    int fd;

    listener_warn();
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

/* The descriptor is one of those that are kept for others than clients: so are those that the rest of the batch would get. */
static bool listener_is_kept(struct listener *l, int fd)
{
    if (l->opts.vital || !fds_kept(fd))
        return false;
    listener_warn();
    listener_say_busy(l, fd);
    close(fd);
    return true;
}

static void listener_ready(struct watch *w, unsigned events)
{
    struct listener *l = CONTAINER_OF(w, struct listener, watch);
    bool full = false;

    UNUSED(events);
    for (int i = 0; i < LISTENER_BATCH; i++) {
        struct addr peer = {0}; /* of a Unix socket's client there is little more than the family */
        socklen_t n = sizeof(peer.in6);
        int fd = accept4(w->fd, &peer.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            if (listener_is_kept(l, fd)) {
                full = true;
                continue;
            }
            if (peer.sa.sa_family == AF_UNIX)
                peer = (struct addr){.sa.sa_family = AF_UNIX};
            l->opts.accept(l->opts.owner, fd, &peer);
            continue;
        }
        if (errno == EAGAIN)
            break;
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
    if (full)
        listener_pause(l);
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

/* The first ones are made by the main thread, whose memory is not counted. */
static void listener_free(struct grave *g)
{
    bool counted = mem_count(false);

    mem_free(CONTAINER_OF(g, struct listener, grave));
    mem_count(counted);
}

int listener_start(struct loop *loop, const struct listener_opts *opts, struct listener **ret_l)
{
    bool counted = mem_count(false);
    struct listener *l = mem_zalloc(sizeof(*l));
    int r;

    mem_count(counted);
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
        listener_free(&l->grave);
        return r;
    }
    *ret_l = l;
    return 0;
}

void listener_deafen(int fd, bool unix_socket)
{
    /* The filter sees the TCP header. Segments with ACK pass, so that handshakes which have begun can end; what is accepted inherits it. */
    struct sock_filter drop_syn[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_AT),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TCP_FLAG_ACK_BIT, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog filter = {.len = ARRAY_LEN(drop_syn), .filter = drop_syn};

    /* Shutting down would reset who waits in a TCP queue; in a Unix socket's they stay. */
    if (unix_socket ? shutdown(fd, SHUT_RD) : setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)))
        log_debug("deafening a listener: %s", err_text(-errno));
}

void listener_drain(struct listener *l)
{
    OBJ_CHECK(l, LISTENER_MAGIC);
    for (int i = 0; i < LISTENER_BACKLOG / LISTENER_BATCH && !l->paused; i++) {
        struct pollfd pf = {.fd = l->watch.fd, .events = POLLIN};

        int n = poll(&pf, 1, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || !(pf.revents & POLLIN))
            return;
        listener_ready(&l->watch, EPOLLIN);
    }
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
