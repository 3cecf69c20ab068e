/* SPDX-License-Identifier: MIT */
/* greet: the session's first bytes. One function a question: is there a PROXY header, is it TLS, is it HTTP/2? Each sees all bytes that have come, from the first on that
 * nobody has used, and says what comes next or that more are needed. What went wrong before there was a request is in no access log: it is counted, and said in one
 * limited line with the reason.
 */
#include "proxy/greet.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/conn_tls.h"
#include "mux/mux_h2.h"
#include "proto/clienthello.h"
#include "proto/proxy_header.h"
#include "proxy/local.h"
#include "proxy/pressure.h"
#include "proxy/session.h"
#include "proxy/session_cert.h"
#include "proxy/worker.h"

enum { BYTE_TLS_HANDSHAKE = 0x16, BYTE_SOCKS4 = 4, BYTE_SOCKS5 = 5 };

struct greet_kept {
    size_t n;
    char p[];
};

_Static_assert((int)MUX_EARLY_MAX >= (int)PROXY_HEADER_MAX && (int)MUX_EARLY_MAX >= (int)CLIENTHELLO_MAX, "a greeting fits");
_Static_assert((int)LOOP_SCRATCH >= (int)MUX_EARLY_MAX, "and is put together there");

static const struct snapshot_listen *listen_of(const struct session *s)
{
    return worker_listen_of(s->worker, s->listen_id, NULL);
}

static const char *listen_name(const struct snapshot_listen *l)
{
    return l ? l->name : "a listener that is gone";
}

static const char *peer_text(const struct session *s, char out[ADDR_TEXT_MAX])
{
    addr_text(&s->client, out);
    return out;
}

/* ---- what has been read ---- */

static size_t take_kept(struct session *s, char *to)
{
    struct greet_kept *k = s->greet.kept;
    size_t n = k ? k->n : 0;

    if (n)
        memcpy(to, k->p, n);
    mem_free(k);
    s->greet.kept = NULL;
    return n;
}

/* False: no memory. */
static bool keep(struct session *s, struct slice bytes)
{
    struct greet_kept *k = mem_alloc(sizeof(*k) + bytes.n);

    if (!k) {
        stats_add(&s->worker->stats, COUNTER_NO_MEMORY, 1);
        return false;
    }
    k->n = bytes.n;
    if (bytes.n)
        memcpy(k->p, bytes.p, bytes.n);
    s->greet.kept = k;
    return true;
}

/* ---- places of handshakes ---- */

void greet_desk_init(struct greet_desk *d)
{
    list_init(&d->waiting);
    list_init(&d->shaking);
    d->n_shaking = 0;
}

static unsigned places(const struct worker *w)
{
    unsigned all = w->snap->conf->capacity.handshakes, n = w->n_peers ? w->n_peers : 1;

    return all > n ? all / n : 1;
}

static void hold_place(struct session *s)
{
    struct greet_desk *d = &s->worker->greet;

    s->greet.place = GREET_PLACE_HELD;
    s->greet.since_ms = s->worker->loop.now_ms;
    list_push(&d->shaking, &s->greet.link);
    d->n_shaking++;
}

static void call_next(struct worker *w)
{
    struct greet_desk *d = &w->greet;
    struct session *s;

    if (list_empty(&d->waiting) || d->n_shaking >= places(w))
        return;
    s = LIST_ENTRY(d->waiting.next, struct session, greet.link);
    list_del(&s->greet.link);
    hold_place(s);
    task_wake(&s->task, TASK_HELPER);
}

static void leave_place(struct session *s)
{
    enum greet_place was = s->greet.place;

    if (was == GREET_PLACE_NONE)
        return;
    s->greet.place = GREET_PLACE_NONE;
    list_del(&s->greet.link);
    if (was == GREET_PLACE_HELD) {
        s->worker->greet.n_shaking--;
        call_next(s->worker);
    }
}

/* The oldest that has not been told to end already. NULL: there is none. */
static struct session *oldest_shaking(struct worker *w)
{
    LIST_EACH(it, &w->greet.shaking)
    {
        struct session *s = LIST_ENTRY(it, struct session, greet.link);

        if (s->deadline_ms > w->loop.now_ms)
            return s;
    }
    return NULL;
}

/* Somebody waits, and the oldest has had its round trips: it ends, and with it its place is free. */
static void press_oldest(struct session *s)
{
    struct worker *w = s->worker;
    struct session *oldest = oldest_shaking(w);
    uint64_t at_ms;

    if (!oldest)
        return;
    at_ms = oldest->greet.since_ms + GREET_STALE_MS;
    if (at_ms > w->loop.now_ms) {
        timer_set_at(&s->timer, at_ms < s->deadline_ms ? at_ms : s->deadline_ms);
        return;
    }
    oldest->deadline_ms = w->loop.now_ms;
    task_wake(&oldest->task, TASK_TIMER);
    timer_set_at(&s->timer, s->deadline_ms);
}

/* ---- TLS ---- */

static struct tls_ctx *ctx_of(const struct session *s)
{
    const struct worker *w = s->worker;
    const struct snapshot *snap;
    const struct snapshot_listen *l = worker_listen_of(w, s->listen_id, &snap);
    const struct tls_set *set = l ? snap->tls[w->id] : NULL;

    return set && l->tls && l->tls <= set->n_server ? set->server[l->tls - 1] : NULL;
}

static enum greet_next begin_tls(struct session *s, struct slice hello)
{
    struct tls_ctx *ctx = ctx_of(s);
    struct conn *c;

    /* It gave up while it waited; or a reload has taken TLS away meanwhile. */
    if (s->conn->error || !ctx || conn_tls_accept(&s->conn, ctx, hello, &c) < 0)
        return GREET_END;
    s->conn = c;
    c->task = &s->task;
    s->state = SESSION_TLS;
    return GREET_TLS;
}

/* The ClientHello is whole, or there will never be a better one. */
static enum greet_next ask_for_place(struct session *s, struct slice hello)
{
    struct worker *w = s->worker;

    if (w->greet.n_shaking < places(w)) {
        hold_place(s);
        return begin_tls(s, hello);
    }
    if (!keep(s, hello))
        return GREET_END;
    s->greet.place = GREET_PLACE_WAITS;
    list_push(&w->greet.waiting, &s->greet.link);
    press_oldest(s);
    return GREET_WAIT;
}

/* What is left of `timeouts.tls` runs from the first byte on. */
static void hurry_tls(struct session *s)
{
    uint64_t at_ms = s->worker->loop.now_ms + s->worker->snap->conf->timeouts.tls;

    if (s->greet.since_ms)
        return;
    s->greet.since_ms = s->worker->loop.now_ms;
    s->deadline_ms = at_ms;
    timer_set_at(&s->timer, at_ms);
}

static enum greet_next see_tls(struct session *s, struct slice in)
{
    struct clienthello_scan scan = {0};
    struct clienthello hello;
    const char *fault;

    hurry_tls(s);
    if (clienthello_feed(&scan, in.p, in.n, &hello, &fault) == PARSE_MORE)
        return GREET_WAIT;
    return ask_for_place(s, in);
}

static void say_failed(struct session *s, const char *why)
{
    char peer[ADDR_TEXT_MAX];

    stats_add(&s->worker->stats, COUNTER_TLS_FAILED, 1);
    log_limited(LOG_INFO, 1, "no TLS with %s on %s: %s", peer_text(s, peer), listen_name(listen_of(s)), why);
}

/* What is remembered of how it came in; NULL: no memory, which has been counted. */
static struct access_door *door_of(struct session *s)
{
    if (!s->door && !(s->door = mem_zalloc(sizeof(*s->door))))
        stats_add(&s->worker->stats, COUNTER_NO_MEMORY, 1);
    return s->door;
}

static enum greet_next secured(struct session *s)
{
    const struct tls_facts *f = conn_tls_facts(s->conn);
    const struct snapshot_listen *l = listen_of(s);
    struct access_door *door = door_of(s);

    leave_place(s);
    if (!door)
        return GREET_END;
    s->greet.phase = GREET_SECURED;
    s->greet.since_ms = 0;
    s->deadline_ms = s->worker->loop.now_ms + s->worker->snap->conf->timeouts.head;
    timer_set_at(&s->timer, s->deadline_ms);
    door->tls_version = f->version;
    door->tls_cipher = f->cipher;
    door->tls_alpn = (uint8_t)f->alpn;
    /* Of a listener that is gone nobody knows what in a certificate is a user's name. */
    if (f->certified && l)
        session_cert_take(s, f, l->names);
    stats_add(&s->worker->stats, f->resumed ? COUNTER_TLS_RESUMED : COUNTER_TLS_FULL, 1);
    return GREET_H1;
}

enum greet_next greet_shake(struct session *s)
{
    const struct tls_facts *f;

    switch (conn_established(s->conn)) {
    case IO_AGAIN:
        return GREET_WAIT;
    case IO_OK:
        return secured(s);
    default:
        break;
    }
    f = conn_tls_facts(s->conn);
    say_failed(s, f && f->text ? f->text : "the connection broke");
    return GREET_END;
}

/* ---- HTTP ---- */

/* TLS and SOCKS clients are at the wrong door: an HTTP answer would mean nothing to them. */
static bool speaks_http(struct session *s, unsigned char first)
{
    if (first == BYTE_TLS_HANDSHAKE)
        log_limited(LOG_INFO, 1, "a client began with TLS on a plain HTTP proxy port: closed");
    else if (first == BYTE_SOCKS4 || first == BYTE_SOCKS5)
        log_limited(LOG_INFO, 1, "a client began with SOCKS on an HTTP proxy port: closed");
    else
        return true;
    stats_add(&s->worker->stats, COUNTER_NOT_HTTP, 1);
    return false;
}

/* Clear text where TLS is spoken: whoever wrote the proxy's URL reads what to write instead. */
static enum greet_next refuse_clear(struct session *s, const struct snapshot_listen *l)
{
    char text[LOCAL_CLEAR_MAX], peer[ADDR_TEXT_MAX];
    struct iovec v = {.iov_base = text};
    size_t n;

    v.iov_len = local_clear_reply(s->worker->snap->conf->name, l->reasons != REASONS_NONE, text);
    stats_add(&s->worker->stats, COUNTER_NOT_HTTP, 1);
    log_limited(LOG_INFO, 1, "%s speaks plain HTTP on %s, which speaks TLS: answered 400", peer_text(s, peer), l->name);
    /* A fresh socket takes so little at once; and who is not answered is closed all the same. */
    return conn_send(s->conn, &v, 1, &n) == IO_OK ? GREET_LINGER : GREET_END;
}

static enum greet_next see_http(struct session *s, const struct snapshot_listen *l, struct slice in, struct slice *ret_early)
{
    bool proxy = s->role == LISTEN_PROXY;
    unsigned agreed = s->door ? s->door->tls_alpn : TLS_ALPN_NONE;

    if (!speaks_http(s, (unsigned char)in.p[0]))
        return GREET_END;
    if (proxy && l && l->tls && !l->clear && s->greet.phase != GREET_SECURED)
        return refuse_clear(s, l);
    *ret_early = in;
    /* A client that has agreed on it says nothing else, and who does is told so by its mux. */
    if (agreed == TLS_ALPN_H2)
        return GREET_H2;
    switch (proxy && agreed != TLS_ALPN_H1 ? mux_h2_preface(in.p, in.n) : H2_PREFACE_NO) {
    case H2_PREFACE_MORE:
        return GREET_WAIT;
    case H2_PREFACE_YES:
        return GREET_H2;
    case H2_PREFACE_NO:
        break;
    }
    return GREET_H1;
}

/* ---- PROXY ---- */

bool greet_expects_header(const struct snapshot_listen *l, const struct addr *peer)
{
    return l && l->proxy_from && ranges_has(l->proxy_from, peer);
}

/* From now on that is where the client is: its place among all connections becomes one of its own. */
static enum greet_next readdress(struct session *s, const struct proxy_header *h)
{
    struct worker *w = s->worker;
    struct access_door *door = door_of(s);

    if (!door)
        return GREET_END;
    door->balancer = s->client;
    if (!h->local && h->v6)
        addr_v6(&s->client, h->src, h->src_port);
    else if (!h->local)
        addr_v4(&s->client, h->src, h->src_port);
    s->greet.phase = GREET_ADDRESSED;
    if (s->refused != CAPACITY_OK)
        return GREET_WAIT; /* it is asked about again with its first request, by its own address */
    if (w->capacity)
        capacity_leave(w->capacity, &s->place);
    s->refused = pressure_enter(w, &s->client, &s->place);
    if (s->refused == CAPACITY_OK)
        return GREET_WAIT;
    if (w->n_refusing++ < WORKER_REFUSING_MAX)
        return GREET_WAIT;
    pressure_turn_away(w, &s->conn, s->listen_id, s->refused);
    return GREET_END;
}

static enum greet_next refuse_header(struct session *s, const struct snapshot_listen *l, const char *why)
{
    char peer[ADDR_TEXT_MAX];

    stats_add(&s->worker->stats, COUNTER_PROXY_HEADERS_REFUSED, 1);
    log_limited(LOG_WARN, 1, "%s on %s: %s: closed", peer_text(s, peer), l->name, why);
    return GREET_END;
}

/* Lines of its own: balancers that err must not hide those who try to be somebody else. */
static enum greet_next refuse_sender(struct session *s, const struct snapshot_listen *l)
{
    char peer[ADDR_TEXT_MAX];

    stats_add(&s->worker->stats, COUNTER_PROXY_HEADERS_REFUSED, 1);
    log_limited(LOG_WARN, 1, "%s on %s: a PROXY header, and `proxy-protocol` does not name this sender: closed", peer_text(s, peer), l->name);
    return GREET_END;
}

/* *in loses the header. H1: go on. */
static enum greet_next see_header(struct session *s, const struct snapshot_listen *l, struct slice *in)
{
    struct proxy_header h;
    const char *fault;
    size_t used;

    if (!greet_expects_header(l, &s->client)) {
        /* Who is believed is written down; from others it is no mistake that may pass. */
        enum parse begins = l && l->proxy_from ? proxy_header_begins(in->p, in->n) : PARSE_BAD;

        if (begins == PARSE_DONE)
            return refuse_sender(s, l);
        return begins == PARSE_MORE ? GREET_WAIT : GREET_H1;
    }
    switch (proxy_header_read(in->p, in->n, &h, &used, &fault)) {
    case PARSE_MORE:
        return GREET_WAIT;
    case PARSE_BAD:
        return refuse_header(s, l, fault);
    case PARSE_DONE:
        break;
    }
    *in = slice_skip(*in, used);
    return readdress(s, &h) == GREET_END ? GREET_END : GREET_H1;
}

/* ---- all of it ---- */

/* *in: what nobody has used; on WAIT what is left of it is kept. */
static enum greet_next see(struct session *s, struct slice *in, struct slice *ret_early)
{
    const struct snapshot_listen *l = listen_of(s);
    enum greet_next next;

    if (s->greet.phase == GREET_NEW && s->role == LISTEN_PROXY) {
        next = see_header(s, l, in);
        if (next != GREET_H1)
            return next;
        s->greet.phase = GREET_ADDRESSED;
        if (in->n == 0)
            return GREET_WAIT;
    }
    if (s->greet.phase == GREET_ADDRESSED && l && l->tls && (unsigned char)in->p[0] == BYTE_TLS_HANDSHAKE)
        return see_tls(s, *in);
    return see_http(s, l, *in, ret_early);
}

/* A header has its time, however short that of a head is. */
static void allow_for_header(struct session *s)
{
    uint64_t least_ms = s->since_ms + GREET_HEADER_LEAST_MS;

    if (s->greet.phase != GREET_NEW || s->deadline_ms >= least_ms || !greet_expects_header(listen_of(s), &s->client))
        return;
    s->deadline_ms = least_ms;
    timer_set_at(&s->timer, least_ms);
}

/* Its turn may have come. */
static enum greet_next waited(struct session *s)
{
    char *p = s->worker->loop.scratch;
    size_t n;

    if (s->greet.place == GREET_PLACE_WAITS) {
        press_oldest(s);
        return GREET_WAIT;
    }
    n = take_kept(s, p);
    return begin_tls(s, slice_of(p, n));
}

enum greet_next greet_read(struct session *s, struct slice *ret_early)
{
    char *p = s->worker->loop.scratch;
    size_t n, more;

    if (s->greet.place != GREET_PLACE_NONE)
        return waited(s);
    allow_for_header(s);
    n = take_kept(s, p);
    /* MUX_EARLY_MAX bytes decide in any case. */
    for (;;) {
        enum io io = n < MUX_EARLY_MAX ? conn_recv(s->conn, p + n, MUX_EARLY_MAX - n, &more) : IO_ERR;
        struct slice in;
        enum greet_next next;

        if (io == IO_AGAIN)
            return n == 0 || keep(s, slice_of(p, n)) ? GREET_WAIT : GREET_END;
        if (io != IO_OK)
            return GREET_END;
        in = slice_of(p, n + more);
        next = see(s, &in, ret_early);
        if (next != GREET_WAIT || s->greet.place != GREET_PLACE_NONE)
            return next;
        memmove(p, in.p, in.n);
        n = in.n;
    }
}

void greet_late(struct session *s)
{
    if (s->state == SESSION_TLS)
        say_failed(s, "the handshake took too long");
    else if (s->greet.since_ms)
        say_failed(s, s->greet.place == GREET_PLACE_WAITS ? "too many handshakes at the same time (capacity.handshakes)" : "its ClientHello took too long");
    else if (s->greet.phase == GREET_NEW && greet_expects_header(listen_of(s), &s->client))
        refuse_header(s, listen_of(s), "no PROXY header came in time");
}

void greet_done(struct session *s)
{
    leave_place(s);
    mem_free(s->greet.kept);
    s->greet.kept = NULL;
}
