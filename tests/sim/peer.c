/* SPDX-License-Identifier: MIT */
/* peer: the scripted end, and the conn that the proxy holds. The conn's half is written after
 * tcp(7) and Linux: what recv and send say, when an error is consumed, which events an edge brings.
 * Called by scenarios and, through conn_ops, by the proxy; moves bytes only in peer_move, so that
 * nothing happens inside a call of the proxy's.
 */
#include "sim/peer.h"

#include "base/check.h"
#include "sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { RX_ALL = EPOLLIN | EPOLLRDHUP, GRACE_US = CONN_RESET_GRACE_MS * 1000, LINE_MAX = 65536 };

struct conn_sim {
    struct conn conn;
    struct grave grave;
    struct peer *peer; /* stays: peers outlive conns */
    bool connecting;
};

/* ---- queues: of the test, so never refused ---- */

static size_t queue_len(const struct queue *q)
{
    return q->n - q->at;
}

static void queue_put(struct queue *q, const void *p, size_t n)
{
    if (q->n + n > q->cap) {
        q->cap = (q->n + n) * 2;
        q->p = realloc(q->p, q->cap);
        if (!q->p)
            abort();
    }
    if (n)
        memcpy(q->p + q->n, p, n);
    q->n += n;
}

/* Frees the room of what is used up. Not for `got`, which keeps everything. */
static void queue_drop(struct queue *q, size_t n)
{
    q->at += n;
    if (q->at == q->n) {
        q->at = q->n = 0;
    } else if (q->at > 65536) {
        memmove(q->p, q->p + q->at, q->n - q->at);
        q->n -= q->at;
        q->at = 0;
    }
}

static void queue_clear(struct queue *q)
{
    q->at = q->n = 0;
}

/* ---- the proxy's socket ---- */

static size_t tx_room(const struct peer *p)
{
    return queue_len(&p->tx) < p->room ? p->room - queue_len(&p->tx) : 0;
}

/* What poll() would say. */
static unsigned sock_events(const struct peer *p)
{
    unsigned ev = 0;

    if (queue_len(&p->rx))
        ev |= EPOLLIN;
    if (p->rx_fin || p->rx_rst)
        ev |= RX_ALL;
    if (p->rx_rst || (p->rx_fin && p->tx_fin))
        ev |= EPOLLHUP;
    if (p->so_error)
        ev |= EPOLLERR;
    if (tx_room(p) || p->rx_rst || p->tx_fin)
        ev |= EPOLLOUT;
    return ev;
}

/* An edge: everything that holds is told, as epoll does. */
static void sock_edge(struct peer *p)
{
    if (p->conn)
        conn_ready(&p->conn->conn, sock_events(p));
}

static int sock_error(struct peer *p)
{
    int e = p->so_error;

    p->so_error = 0;
    return -e;
}

static ssize_t sock_recv(struct peer *p, void *to, size_t n)
{
    size_t part = min_size(n, queue_len(&p->rx));

    if (part) {
        memcpy(to, p->rx.p + p->rx.at, part);
        queue_drop(&p->rx, part);
        p->taken += part;
        return (ssize_t)part;
    }
    if (p->so_error)
        return sock_error(p);
    return p->rx_rst || p->rx_fin ? 0 : -EAGAIN;
}

static ssize_t sock_send(struct peer *p, const struct iovec *iov, int n_iov)
{
    size_t sent = 0;

    if (p->so_error)
        return sock_error(p);
    if (p->tx_fin || p->rx_rst)
        return -EPIPE;
    for (int i = 0; i < n_iov; i++) {
        size_t part = min_size(iov[i].iov_len, tx_room(p));

        queue_put(&p->tx, iov[i].iov_base, part);
        sent += part;
        if (part < iov[i].iov_len) {
            p->tx_blocked = true;
            return sent ? (ssize_t)sent : -EAGAIN;
        }
    }
    return (ssize_t)sent;
}

/* ---- the conn: conn_tcp's logic over that socket ---- */

static struct conn_sim *conn_of(struct conn *c)
{
    OBJ_CHECK(c, CONN_MAGIC);
    return CONTAINER_OF(c, struct conn_sim, conn);
}

static enum io sim_broken(struct conn *c, int error)
{
    if (!c->error || c->error == -ECONNRESET)
        c->error = error;
    c->ready &= (uint8_t)~CONN_RX;
    return IO_ERR;
}

static enum io sim_recv(struct conn *c, void *p, size_t n, size_t *ret_n)
{
    ssize_t r;

    CHECK(n > 0);
    r = sock_recv(conn_of(c)->peer, p, n);
    if (r > 0) {
        if ((size_t)r < n && !c->hup)
            c->ready &= (uint8_t)~CONN_RX;
        c->rx_bytes += (size_t)r;
        *ret_n = (size_t)r;
        return IO_OK;
    }
    if (r == -EAGAIN && !c->error) {
        c->ready &= (uint8_t)~CONN_RX;
        return IO_AGAIN;
    }
    if (r == 0 && !c->error) {
        c->ready &= (uint8_t)~CONN_RX;
        c->eof = true;
        return IO_EOF;
    }
    return sim_broken(c, r < 0 && r != -EAGAIN ? (int)r : c->error);
}

static enum io sim_send(struct conn *c, const struct iovec *iov, int n_iov, size_t *ret_n)
{
    size_t want = 0;
    ssize_t r;

    for (int i = 0; i < n_iov; i++)
        want += iov[i].iov_len;
    r = sock_send(conn_of(c)->peer, iov, n_iov);
    if (r == -EAGAIN) {
        c->ready &= (uint8_t)~CONN_TX;
        return IO_AGAIN;
    }
    if (r < 0) {
        conn_broke(c, (int)r);
        return IO_ERR;
    }
    if ((size_t)r < want)
        c->ready &= (uint8_t)~CONN_TX;
    c->tx_bytes += (size_t)r;
    *ret_n = (size_t)r;
    return IO_OK;
}

static int sim_shut(struct conn *c)
{
    struct peer *p = conn_of(c)->peer;

    if (p->rx_rst)
        return -ENOTCONN;
    p->tx_fin = true;
    return 0;
}

static enum io sim_established(struct conn *c)
{
    struct conn_sim *s = conn_of(c);

    if (!s->connecting)
        return IO_OK;
    if (!(c->ready & CONN_TX))
        return IO_AGAIN;
    s->connecting = false;
    if (!c->error)
        return IO_OK;
    if (s->peer->so_error)
        c->error = sock_error(s->peer);
    return IO_ERR;
}

static int sim_fd(struct conn *c, enum conn_dir dir)
{
    UNUSED(c);
    UNUSED(dir);
    return -1;
}

static void sim_free(struct grave *g)
{
    struct conn_sim *s = CONTAINER_OF(g, struct conn_sim, grave);

    s->conn.magic = OBJ_DEAD;
    s->peer->sim->n_conns--;
    free(s);
}

static void sim_close(struct conn *c, bool reset)
{
    struct conn_sim *s = conn_of(c);
    struct peer *p = s->peer;

    /* What the kernel has given up needs no RST; what the proxy spoilt for lack of memory does. */
    p->closed = reset && (!c->error || c->error == ERR_NOMEM) ? PEER_RESET : PEER_CLOSED;
    /* Unread bytes make the kernel send an RST and forget what it has not sent. */
    if (p->closed == PEER_CLOSED && queue_len(&p->rx) && !p->rx_rst) {
        p->closed = PEER_RESET;
        queue_clear(&p->tx);
    }
    p->closed_us = p->sim->now_us;
    p->conn = NULL;
    loop_bury(c->loop, &s->grave);
}

static const struct conn_ops sim_ops = {
    .name = "sim",
    .recv = sim_recv,
    .send = sim_send,
    .shut = sim_shut,
    .established = sim_established,
    .fd = sim_fd,
    .close = sim_close,
};

struct peer *peer_new(struct sim *s, bool connecting, struct conn **ret_conn)
{
    struct conn_sim *c = calloc(1, sizeof(*c));
    struct peer *p = calloc(1, sizeof(*p));

    if (!c || !p)
        abort();
    *p = (struct peer){
        .sim = s, .conn = c, .room = SIM_ROOM, .piece = SIM_ROOM, .appetite = SIZE_MAX};
    switch (s->mode) {
    case SIM_BYTES:
        p->piece = s->scenario->bulk ? 501 : 1;
        break;
    case SIM_WINDOW_7:
        p->room = s->scenario->bulk ? 997 : 7;
        break;
    case SIM_WINDOW_1:
        p->room = s->scenario->bulk ? 101 : 1;
        break;
    case SIM_WHOLE:
    case SIM_MODES:
        break;
    }
    list_init(&p->waiting);
    list_push(&s->peers, &p->link);
    c->conn = (struct conn){.magic = CONN_MAGIC, .ops = &sim_ops, .loop = &s->worker.loop};
    c->conn.ready = connecting ? 0 : CONN_TX;
    c->grave.free = sim_free;
    c->peer = p;
    c->connecting = connecting;
    s->n_conns++;
    *ret_conn = &c->conn;
    return p;
}

void peer_free(struct peer *p)
{
    list_del(&p->link);
    list_del(&p->waiting);
    free(p->out.p);
    free(p->rx.p);
    free(p->tx.p);
    free(p->got.p);
    free(p);
}

bool peer_connecting(const struct peer *p)
{
    return p->conn && p->conn->connecting;
}

void peer_established(struct peer *p, int error)
{
    p->so_error = -error;
    p->rx_rst = error != 0;
    sock_edge(p);
}

/* ---- delivery ---- */

static bool move_from_proxy(struct peer *p)
{
    size_t n = min_size(p->appetite, min_size(p->piece, queue_len(&p->tx)));

    if (!n)
        return false;
    if (p->shut_down && p->rx_fin) {
        /* Nobody is there any more. In CLOSE_WAIT Linux calls it EPIPE. */
        queue_clear(&p->tx);
        p->rx_rst = true;
        p->so_error = EPIPE;
        sock_edge(p);
        return true;
    }
    queue_put(&p->got, p->tx.p + p->tx.at, n);
    queue_drop(&p->tx, n);
    if (p->appetite != SIZE_MAX)
        p->appetite -= n;
    if (p->tx_blocked) {
        p->tx_blocked = false;
        sock_edge(p);
    }
    return true;
}

static bool see_end(struct peer *p)
{
    enum peer_end was = p->end;
    bool all = !queue_len(&p->tx);

    /* Who has reset the connection hears nothing more of it. */
    if (p->rx_rst)
        return false;
    if (p->closed == PEER_RESET && (all || p->sim->now_us >= p->closed_us + GRACE_US))
        p->end = PEER_RST;
    else if (all && p->end == PEER_OPEN && (p->tx_fin || p->closed == PEER_CLOSED))
        p->end = PEER_FIN;
    if (p->end == was)
        return false;
    /* A FIN that is overtaken by nothing counts, also when the RST is right behind it. */
    p->saw_fin |= p->end == PEER_FIN || (p->tx_fin && all);
    p->end_ms = sim_ms(p->sim);
    return true;
}

static bool arrive_end(struct peer *p, bool stuck)
{
    if (p->out_end == PEER_RST && (stuck || !queue_len(&p->out))) {
        queue_clear(&p->out);
        queue_clear(&p->tx);
        p->tx_blocked = false;
        p->rx_rst = true;
        p->so_error = p->rx_fin ? EPIPE : ECONNRESET;
        return true;
    }
    if (p->out_end == PEER_FIN && !p->rx_fin && !queue_len(&p->out)) {
        p->rx_fin = true;
        return true;
    }
    return false;
}

static bool move_to_proxy(struct peer *p, bool stuck)
{
    size_t room = queue_len(&p->rx) < p->room ? p->room - queue_len(&p->rx) : 0;
    size_t n = min_size(p->piece, min_size(queue_len(&p->out), room));

    if (!p->conn) {
        if (queue_len(&p->out) && p->closed == PEER_CLOSED)
            p->late = true;
        queue_clear(&p->out);
        return false;
    }
    if (p->conn->connecting || p->rx_rst)
        return false;
    if (n)
        queue_put(&p->rx, p->out.p + p->out.at, n);
    queue_drop(&p->out, n);
    /* The last bytes and the end may be one event, and are where pieces are not cut. */
    if ((!n || p->piece == SIM_ROOM) && !arrive_end(p, stuck) && !n)
        return false;
    sock_edge(p);
    return true;
}

bool peer_move(struct peer *p, bool stuck)
{
    bool moved;

    if (!p->conn && (p->end != PEER_OPEN || p->rx_rst) && !queue_len(&p->tx) &&
        !queue_len(&p->out) && peer_due_us(p) == UINT64_MAX)
        return false;
    moved = move_from_proxy(p);
    moved |= see_end(p);
    moved |= move_to_proxy(p, stuck);
    return moved;
}

uint64_t peer_due_us(const struct peer *p)
{
    return p->closed == PEER_RESET && p->end != PEER_RST && !p->rx_rst ? p->closed_us + GRACE_US
                                                                       : UINT64_MAX;
}

/* ---- what a peer does ---- */

char peer_pattern(uint64_t at)
{
    return (char)(unsigned char)(at * 31 + (at >> 8) * 17 + (at >> 16) * 5 + 'A');
}

size_t peer_pattern_match(const char *p, size_t n, uint64_t *at)
{
    size_t i;

    for (i = 0; i < n && p[i] == peer_pattern(*at); i++)
        (*at)++;
    return i;
}

void peer_send_n(struct peer *p, const void *bytes, size_t n)
{
    CHECK(p->out_end == PEER_OPEN);
    queue_put(&p->out, bytes, n);
}

void peer_send(struct peer *p, const char *text)
{
    peer_send_n(p, text, strlen(text));
}

void peer_sendf(struct peer *p, const char *fmt, ...)
{
    static char line[LINE_MAX];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    CHECK(n >= 0 && (size_t)n < sizeof(line));
    peer_send_n(p, line, (size_t)n);
}

void peer_send_pattern(struct peer *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = peer_pattern(p->pattern_out++);

        peer_send_n(p, &c, 1);
    }
}

void peer_fin(struct peer *p)
{
    CHECK(p->out_end == PEER_OPEN);
    p->out_end = PEER_FIN;
}

void peer_rst(struct peer *p)
{
    p->out_end = PEER_RST;
}

void peer_close(struct peer *p)
{
    if (p->out_end == PEER_OPEN)
        p->out_end = PEER_FIN;
    p->shut_down = true;
}

void peer_stop(struct peer *p)
{
    p->appetite = 0;
}

void peer_read(struct peer *p)
{
    p->appetite = SIZE_MAX;
}

void peer_read_some(struct peer *p, size_t n)
{
    p->appetite = n;
}

/* ---- what it expects ---- */

size_t peer_unused(const struct peer *p)
{
    return queue_len(&p->got);
}

static const char *front(const struct peer *p)
{
    return p->got.p + p->got.at;
}

void peer_expect(struct peer *p, const char *text)
{
    const char *hit;

    sim_run(p->sim);
    hit = peer_unused(p) ? memmem(front(p), peer_unused(p), text, strlen(text)) : NULL;
    if (!hit)
        sim_fail(p->sim, "%s did not get \"%s\"", p->name, text);
    p->got.at += (size_t)(hit - front(p)) + strlen(text);
}

void peer_expect_next(struct peer *p, const char *text)
{
    size_t n = strlen(text);

    sim_run(p->sim);
    if (peer_unused(p) < n || memcmp(front(p), text, n) != 0)
        sim_fail(p->sim, "%s did not get \"%s\" next", p->name, text);
    p->got.at += n;
}

void peer_expect_all(struct peer *p, const char *text)
{
    peer_expect_next(p, text);
    if (peer_unused(p))
        sim_fail(p->sim, "%s got more than \"%s\"", p->name, text);
}

void peer_expect_pattern(struct peer *p, size_t n)
{
    size_t ok;

    sim_run(p->sim);
    if (peer_unused(p) < n)
        sim_fail(p->sim, "%s got %zu bytes, not %zu", p->name, peer_unused(p), n);
    ok = n ? peer_pattern_match(front(p), n, &p->pattern_in) : 0;
    if (ok < n)
        sim_fail(p->sim, "%s: byte %llu of the pattern is wrong", p->name,
                 (unsigned long long)p->pattern_in);
    p->got.at += n;
}

void peer_expect_nothing(struct peer *p)
{
    sim_run(p->sim);
    if (peer_unused(p))
        sim_fail(p->sim, "%s got %zu bytes that nobody expected", p->name, peer_unused(p));
}

void peer_expect_never(struct peer *p, const char *text)
{
    sim_run(p->sim);
    if (p->got.n && memmem(p->got.p, p->got.n, text, strlen(text)))
        sim_fail(p->sim, "%s got \"%s\"", p->name, text);
}

const char *peer_end_name(enum peer_end end)
{
    switch (end) {
    case PEER_OPEN:
        return "open";
    case PEER_FIN:
        return "FIN";
    case PEER_RST:
        return "RST";
    }
    UNREACHABLE();
}

void peer_expect_end(struct peer *p, enum peer_end end)
{
    sim_run(p->sim);
    if (p->end != end)
        sim_fail(p->sim, "%s sees %s, not %s", p->name, peer_end_name(p->end), peer_end_name(end));
    /* An RST that comes after a FIN was taken for an end. */
    if (end == PEER_FIN)
        p->fin_expected = true;
    if (end == PEER_RST && p->saw_fin && !p->fin_expected)
        sim_fail(p->sim, "%s has seen a FIN before the RST", p->name);
    if (end == PEER_FIN && p->late)
        sim_fail(p->sim, "%s was closed while it was still sending: what it got may be lost",
                 p->name);
}

void peer_expect_status(struct peer *p, int status)
{
    char line[32];

    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    peer_expect_next(p, line);
    peer_expect(p, "\r\n\r\n");
}

void peer_expect_status_kept(struct peer *p, int status, bool kept)
{
    static const char close[] = "\r\nConnection: close\r\n";
    size_t from = p->got.at;
    bool closes;

    peer_expect_status(p, status);
    closes = memmem(p->got.p + from, p->got.at - from, close, sizeof(close) - 1) != NULL;
    if (closes == kept)
        sim_fail(p->sim, "%s: the head %s `Connection: close`", p->name,
                 closes ? "says" : "does not say");
}

void peer_expect_chunked(struct peer *p, const char *text)
{
    size_t left = strlen(text), n;

    sim_run(p->sim);
    for (; left; text += n, left -= n) {
        const char *end = peer_unused(p) ? memmem(front(p), peer_unused(p), "\r\n", 2) : NULL;

        if (!end)
            sim_fail(p->sim, "%s: no chunk with \"%s\"", p->name, text);
        n = strtoul(front(p), NULL, 16);
        p->got.at += (size_t)(end - front(p)) + 2;
        if (n == 0 || n > left || peer_unused(p) < n + 2 || memcmp(front(p), text, n) != 0 ||
            memcmp(front(p) + n, "\r\n", 2) != 0)
            sim_fail(p->sim, "%s: no chunk with \"%s\"", p->name, text);
        p->got.at += n + 2;
    }
}

void peer_expect_refusal(struct peer *p, int status, const char *error)
{
    char line[128];

    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    peer_expect_next(p, line);
    snprintf(line, sizeof(line), "Proxy-Status: sim; error=%s; details=\"", error);
    peer_expect(p, line);
    peer_expect(p, "\r\n\r\n");
    snprintf(line, sizeof(line), "(%s)\n", error);
    peer_expect(p, line);
}

/* ---- for a failed expectation ---- */

static void dump_bytes(const char *what, const char *p, size_t n)
{
    if (!n)
        return;
    fprintf(stderr, "      %s (%zu): \"", what, n);
    for (size_t i = 0; i < n && i < 300; i++) {
        unsigned char c = (unsigned char)p[i];

        if (c == '\r')
            fprintf(stderr, "\\r");
        else if (c == '\n')
            fprintf(stderr, "\\n");
        else if (c >= ' ' && c < 0x7f)
            fputc(c, stderr);
        else
            fprintf(stderr, "\\x%02x", c);
    }
    fprintf(stderr, "\"\n");
}

void peer_dump(const struct peer *p)
{
    fprintf(stderr, "    %s: sees %s (at %llu ms)%s%s%s, %llu bytes taken, %zu under way\n",
            p->name, peer_end_name(p->end), (unsigned long long)p->end_ms, p->late ? ", late" : "",
            p->appetite ? "" : ", not reading", p->conn ? "" : ", closed by the proxy",
            (unsigned long long)p->taken, queue_len(&p->out) + queue_len(&p->rx));
    dump_bytes("used", p->got.p, p->got.at);
    dump_bytes("next", p->got.p + p->got.at, queue_len(&p->got));
    dump_bytes("not read", p->tx.p + p->tx.at, queue_len(&p->tx));
}
