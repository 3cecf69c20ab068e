/* SPDX-License-Identifier: MIT */
/* dial_hop: one peer after the other, on the connection at hand: TLS, a mux, and through it the CONNECT to the next, whose tunnel is the next connection. Called by dial
 * in those states, and by dial_first and dial_pool with what they have found. Tells no peer more than it is to know: credentials go to their parent alone.
 */
#include "io/conn_tls.h"
#include "mux/conn_stream.h"
#include "mux/mux_h2.h"
#include "proto/url.h"
#include "proxy/dial_inside.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

/* ---- TLS, mux ---- */

static enum dial_next speak(struct dial *d, bool h2)
{
    struct worker *w = d->worker;

    d->mux = h2 ? mux_h2_client_new(d->conn, &w->h2) : mux_client_new(d->conn, &w->limits);
    if (!d->mux)
        return dial_no_memory(d);
    d->conn = NULL;
    return dial_pool_open(d);
}

enum dial_next dial_hop_secure(struct dial *d)
{
    const struct hop *h = dial_peer(d);
    struct tls_peer peer = {.host = h->host, .literal = h->literal.sa.sa_family != AF_UNSPEC, .port = h->port, .alpn = dial_alpn(d, d->at)};
    struct conn *c;
    int r;

    d->conn->task = &d->x->task;
    if (!d->tls[d->at])
        return speak(d, false);
    r = conn_tls_connect(&d->conn, d->tls[d->at], &peer, &c);
    if (r < 0)
        return r == ERR_NOMEM ? dial_no_memory(d) : dial_fail_peer(d, END_TLS_PROTOCOL, "no certificate can be for such a host");
    d->conn = c;
    c->task = &d->x->task;
    d->state = DIAL_TLS;
    dial_wait(d, d->x->snap->conf->timeouts.tls);
    return DIAL_GO;
}

static enum end_reason tls_reason(const struct tls_facts *f)
{
    switch (f->failure) {
    case TLS_CERTIFICATE:
        return END_TLS_CERTIFICATE;
    case TLS_ALERT:
        return END_TLS_ALERT;
    case TLS_MEMORY:
        return END_NO_MEMORY;
    case TLS_BROKEN:
        return END_CONNECT_FAILED;
    case TLS_OK:
    case TLS_PROTOCOL:
    case TLS_TRUNCATED:
        break;
    }
    return END_TLS_PROTOCOL;
}

enum dial_next dial_hop_await_tls(struct dial *d, bool late)
{
    const struct tls_facts *f = conn_tls_facts(d->conn);

    switch (conn_established(d->conn)) {
    case IO_AGAIN:
        return late ? dial_fail_peer(d, END_CONNECT_TIMEOUT, "the TLS handshake takes too long") : DIAL_WAIT;
    case IO_OK:
        return speak(d, f->alpn == TLS_ALPN_H2);
    case IO_EOF:
    case IO_ERR:
        break;
    }
    d->result.alert = f->failure == TLS_ALERT ? f->alert : 0;
    return dial_fail_peer(d, tls_reason(f), f->text ? f->text : "TLS failed");
}

/* ---- CONNECT to the next ---- */

static struct authority authority_of(const struct hop *h)
{
    struct authority a = {.host = h->host, .port = h->port, .kind = HOST_NAME};

    if (h->literal.sa.sa_family == AF_INET)
        a.kind = HOST_IPV4;
    else if (h->literal.sa.sa_family == AF_INET6)
        a.kind = HOST_IPV6;
    return a;
}

static int address_as_authority(struct arena *a, const struct addr *addr, struct authority *ret_auth)
{
    char text[ADDR_TEXT_MAX];
    struct slice host = arena_dup(a, slice_of(text, addr_host_text(addr, text)));

    if (!host.p)
        return ERR_NOMEM;
    *ret_auth = (struct authority){.host = host, .kind = addr->sa.sa_family == AF_INET6 ? HOST_IPV6 : HOST_IPV4, .port = addr_port(addr)};
    return 0;
}

/* What is asked for is the target, by its checked address. */
static bool asks_for_address(const struct dial *d)
{
    return (d->at == d->n_peers - 1 || dial_is_origin(d, d->at + 1)) && dial_sends_address(d);
}

/* Where the tunnel goes: the next peer, or the target; by its checked address where that is wanted. ERR_NOMEM */
static int next_authority(struct dial *d, struct authority *ret_to)
{
    const struct xreq *q = d->x->req;

    if (asks_for_address(d)) {
        d->result.to = q->addrs[d->at_addr];
        return address_as_authority(&d->arena, &d->result.to, ret_to);
    }
    if (d->at < d->n_peers - 1) {
        *ret_to = authority_of(d->peers[d->at + 1]);
        return 0;
    }
    *ret_to = q->head->auth;
    ret_to->port = q->port;
    return 0;
}

static int copy_fields(struct dial *d, struct head *h, enum hdr id)
{
    const struct hdrs *from = &d->x->req->head->fields;
    uint32_t i = 0;

    for (const struct field *f = hdrs_next(from, id, &i); f; i++, f = hdrs_next(from, id, &i))
        if (hdrs_add(&h->fields, &d->arena, id, f->name, f->value) < 0)
            return ERR_NOMEM;
    return 0;
}

/* Our own beside those it has come through: a loop through parents is seen by them (C38). */
static int add_via(struct dial *d, struct head *h)
{
    const struct xchg *x = d->x;
    struct slice v;

    if (!x->snap->conf->via)
        return 0;
    if (!x->req->prepared) {
        v = arena_printf(&d->arena, "%s %s", x->req->head->version == 10 ? "1.0" : x->req->head->version == 20 ? "2.0" : "1.1", x->snap->conf->name);
        if (!v.p || copy_fields(d, h, HDR_VIA) < 0)
            return ERR_NOMEM;
        return hdrs_add_known(&h->fields, &d->arena, HDR_VIA, v);
    }
    return copy_fields(d, h, HDR_VIA);
}

static int make_connect(struct dial *d, struct head *h)
{
    const struct hop *p = dial_peer(d);
    struct slice host;

    *h = (struct head){.version = 11, .method = METHOD_CONNECT, .method_name = SLICE("CONNECT"), .form = FORM_AUTHORITY};
    hdrs_init(&h->fields);
    if (next_authority(d, &h->auth) < 0)
        return ERR_NOMEM;
    /* The same as the target, also where that is an address (RFC 9112 3.2): some refuse what differs. */
    host = url_host_field(&d->arena, &h->auth, SCHEME_NONE);
    if (!host.p || hdrs_add_known(&h->fields, &d->arena, HDR_HOST, host) < 0)
        return ERR_NOMEM;
    if (d->x->req->head->method == METHOD_CONNECT && copy_fields(d, h, HDR_USER_AGENT) < 0)
        return ERR_NOMEM;
    if (add_via(d, h) < 0)
        return ERR_NOMEM;
    return p->authorization.n ? hdrs_add_known(&h->fields, &d->arena, HDR_PROXY_AUTHORIZATION, p->authorization) : 0;
}

static void finish(struct dial *d)
{
    const struct hop *last = d->peers[d->n_peers - 1];

    d->result.upstream = d->stream;
    d->result.mux = d->mux;
    d->result.parent = d->to_origin || d->tunnel ? NULL : last;
    d->result.reused = d->kept;
    d->stream = NULL;
    d->mux = NULL;
}

/* A stream to the peer at hand: it is what was wanted, or the next one is asked for through it. */
enum dial_next dial_hop_through(struct dial *d)
{
    struct head h;

    if (d->at == d->n_peers - 1 && !d->tunnel) {
        finish(d);
        return DIAL_OVER;
    }
    arena_done(&d->arena);
    d->interim = 0;
    if (make_connect(d, &h) < 0)
        return dial_no_memory(d);
    if (!d->asked_ms && asks_for_address(d))
        d->asked_ms = d->worker->loop.now_ms;
    d->state = DIAL_ASK;
    dial_wait(d, d->x->snap->conf->timeouts.response);
    if (stream_send_head(d->stream, &h, false) == IO_ERR && d->stream->fault.reason == END_NO_MEMORY)
        return dial_no_memory(d);
    return DIAL_GO;
}

/* ---- its answer ---- */

/* From the beginning, with what is in the pool by now. */
static enum dial_next start_over(struct dial *d)
{
    stream_reset(d->stream);
    stream_release(&d->stream);
    mux_close(&d->mux, true);
    d->state = DIAL_SEEK;
    return DIAL_GO;
}

/* The connection at hand ended instead of answering. One that was kept may have been closed as the request went out. */
static enum dial_next no_answer(struct dial *d, const char *what)
{
    bool kept = d->kept || d->stream->unprocessed;

    if (kept && !d->fresh) {
        d->fresh = true;
        return start_over(d);
    }
    return dial_fail_peer(d, d->stream->fault.reason, what);
}

/* The parent has not reached that address: another one that has passed, for as long as ginnel itself would try. */
static bool takes_next_address(struct dial *d, const struct head *h)
{
    uint64_t now_ms = d->worker->loop.now_ms;

    if (!asks_for_address(d) || d->at_addr + 1 >= d->x->req->n_addrs || now_ms - d->asked_ms >= d->x->snap->conf->timeouts.connect)
        return false;
    if (!dial_refusal_is_unreached(h))
        return false;
    d->at_addr++;
    return true;
}

static enum dial_next tunnelled(struct dial *d)
{
    struct conn *c;

    if (stream_tunnel(d->stream) < 0)
        return dial_fail_peer(d, END_UPSTREAM_NONSENSE, "its answer makes no tunnel");
    if (d->at == d->n_peers - 1) {
        finish(d);
        return DIAL_OVER;
    }
    if (conn_stream_new(&d->worker->loop, &d->stream, d->mux ? &d->mux : NULL, &c) < 0)
        return dial_no_memory(d);
    d->conn = c;
    d->at++;
    /* What follows is new, whatever it goes through. */
    d->kept = false;
    return dial_hop_secure(d);
}

enum dial_next dial_hop_await_answer(struct dial *d, bool late)
{
    struct head *h = NULL;

    switch (stream_recv_head(d->stream, &d->arena, &h)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        if (late)
            return dial_fail_peer(d, END_UPSTREAM_TIMEOUT, "it does not answer the CONNECT");
        return stream_flush(d->stream) == IO_ERR ? no_answer(d, "it broke the connection off instead of answering the CONNECT") : DIAL_WAIT;
    case IO_EOF:
        d->stream->fault = (struct stream_fault){END_UPSTREAM_CLOSED, "closed"};
        return no_answer(d, "it closed instead of answering the CONNECT");
    case IO_ERR:
        return no_answer(d, d->stream->fault.detail ? d->stream->fault.detail : "it broke the connection off");
    }
    if (h->status == 101 || (h->status < 200 && ++d->interim > DIAL_INTERIM_MAX))
        return dial_fail_peer(d, END_UPSTREAM_NONSENSE, "its answer to the CONNECT makes no sense");
    if (h->status < 200)
        return DIAL_GO;
    if (h->status < 300)
        return tunnelled(d);
    return takes_next_address(d, h) ? start_over(d) : dial_refusal_begin(d, h);
}
