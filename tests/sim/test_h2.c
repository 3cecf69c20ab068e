/* SPDX-License-Identifier: MIT */
/* HTTP/2 towards clients and towards a parent, in every way in which bytes can be delivered, while each
 * allocation is refused in turn: what is not refused is right, what is refused has an end, and soon;
 * the next client is served as if nothing had been. The connection to the parent is put into the pool
 * as if it had been dialled: here is no TLS that would agree on HTTP/2.
 */
#include "sim/sim.h"

#include "mux/mux_h2.h"
#include "proxy/upstream.h"
#include "support/h2_frames.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SOON_MS = 2500, LONG = 30000, STREAMS = 16, INDEXED_GET = 0x82, INDEXED_200 = 0x88 };

#define GET "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static struct frames out;

static void send_frames(struct peer *p)
{
    peer_send_n(p, out.p, out.n);
    out.n = 0;
}

/* ---- what came ---- */

struct got {
    uint32_t id;
    bool ok, ended, reset; /* 200 was its status */
    size_t n;              /* bytes of content */
    char first[64];
};

static struct got seen[STREAMS];
static bool goaway;

static struct got *got_of(uint32_t id)
{
    CHECK(id % 2 == 1 && id / 2 < STREAMS);
    seen[id / 2].id = id;
    return &seen[id / 2];
}

static void take_frame(const struct frame *f)
{
    struct got *g;

    goaway |= f->type == F_GOAWAY;
    if (!f->stream || (f->type != F_HEADERS && f->type != F_DATA && f->type != F_RST))
        return;
    g = got_of(f->stream);
    if (f->type == F_HEADERS && f->n)
        g->ok |= f->p[0] == INDEXED_200;
    if (f->type == F_DATA) {
        if (g->n < sizeof(g->first))
            memcpy(g->first + g->n, f->p, min_size(f->n, sizeof(g->first) - g->n));
        g->n += f->n;
    }
    g->reset |= f->type == F_RST;
    g->ended |= f->type != F_RST && (f->flags & F_END_STREAM);
}

static void read_frames(const struct peer *p, size_t skip)
{
    struct frame f;
    size_t at = skip;

    memset(seen, 0, sizeof(seen));
    goaway = false;
    while (p->got.n > at && frames_next(p->got.p, p->got.n, &at, &f))
        take_frame(&f);
}

static bool (*the_gate)(void); /* of the present round */

/* ---- towards clients ---- */

/* Every origin that has a whole request answers it; one that has a tunnel says something and ends. */
static void origins_answer(struct sim *s, struct origin *o)
{
    sim_run(s);
    while (!list_empty(&o->backlog))
        origin_accept(o);
    LIST_EACH(it, &s->peers)
    {
        struct peer *p = LIST_ENTRY(it, struct peer, link);
        size_t n = peer_unused(p);

        if (p->name[0] != 'o' || !n || p->out_end != PEER_OPEN)
            continue;
        if (memmem(p->got.p + p->got.at, n, "tunnelled", 9)) {
            p->got.at = p->got.n;
            peer_send_pattern(p, LONG);
            peer_fin(p);
        } else if (memmem(p->got.p + p->got.at, n, "GET ", 4) ? memmem(p->got.p + p->got.at, n, "\r\n\r\n", 4) != NULL
                                                              : memmem(p->got.p + p->got.at, n, "\r\n0\r\n", 5) != NULL) {
            p->got.at = p->got.n;
            peer_send(p, OK);
        }
    }
    sim_run(s);
}

#define HEAD(method) ":method: " method "\n:scheme: http\n:authority: 192.0.2.1\n:path: /\n"

static void expect_stream(struct sim *s, const struct peer *c, uint32_t id, size_t n, const char *text)
{
    const struct got *g = &seen[id / 2];

    /* Somebody is told, of the stream or of all. */
    SIM_EXPECT(s, g->ended || g->reset || goaway || c->end != PEER_OPEN);
    if (!g->ended || g->reset || !g->ok)
        return;
    SIM_EQUAL(s, g->n, n);
    if (text)
        SIM_EXPECT(s, memcmp(g->first, text, n) == 0);
}

static void play_clients(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s);

    frames_begin(&out);
    frames_headers(&out, 1, F_END_STREAM, HEAD("GET"));
    frames_headers(&out, 3, 0, HEAD("POST") "te: trailers\ncookie: a=1\ncookie: b=2\n");
    frames_put(&out, F_DATA, 0, 3, "some content", 12);
    frames_headers(&out, 5, 0, ":method: CONNECT\n:authority: 192.0.2.1:80\n");
    frames_put(&out, F_DATA, F_END_STREAM, 5, "tunnelled", 9);
    frames_headers(&out, 7, F_END_STREAM, HEAD("GET"));
    frames_u32(&out, F_RST, 7, 8);
    send_frames(c);
    sim_run(s);
    frames_headers(&out, 3, F_END_STREAM, "x-sum: 1\n");
    frames_headers(&out, 9, F_END_STREAM, HEAD("GET") "Upper: case\n");
    send_frames(c);
    for (int i = 0; i < 4; i++)
        origins_answer(s, o);
    sim_advance(s, SOON_MS);
    mem_set_gate(NULL);
    read_frames(c, 0);
    expect_stream(s, c, 1, 5, "hello");
    expect_stream(s, c, 3, 5, "hello");
    expect_stream(s, c, 5, LONG, NULL);
    expect_stream(s, c, 9, 0, NULL);
    if (!memfail_hit())
        SIM_EXPECT(s, seen[0].ended && seen[1].ended && seen[2].ended && seen[4].reset);
    peer_fin(c);
    sim_run(s);
}

/* ---- towards a parent ---- */

static struct hop hop;
static const struct alternative only[1] = {{.hops = &hop, .n_hops = 1}};
static _Atomic unsigned turn;
static struct route route;
static struct peer *parent;
static size_t parent_at;

static void through(struct sim *s)
{
    const uint8_t ip[4] = {192, 0, 2, 11};

    hop = (struct hop){.host = SLICE("192.0.2.11"), .port = 3128, .text = "http://192.0.2.11:3128", .place = "test:1"};
    addr_v4(&hop.literal, ip, 0);
    route = (struct route){.alternatives = only, .n_alternatives = 1, .place = "test:1", .turn = &turn};
    s->snap.routes = &route;
    s->snap.n_routes = 1;
}

/* A shared connection to it, as the pool would have kept it. */
static void pool_one(struct sim *s)
{
    struct upstream_end end = {.host = hop.host, .port = hop.port, .id = SLICE("parent http://192.0.2.11:3128 0000000000000000 0000000000000000 0\n")};
    struct conn *conn;
    struct mux *m;

    parent = peer_new(s, false, &conn);
    snprintf(parent->name, sizeof(parent->name), "parent");
    parent_at = H2_PREFACE_LEN;
    addr_v4(&end.peer, (const uint8_t[4]){192, 0, 2, 11}, 3128);
    m = mux_h2_client_new(conn, &s->worker.h2);
    assert_non_null(m);
    assert_int_equal(upstream_share(s->worker.upstream, &m, &end), 0);
    out.n = 0;
    frames_put(&out, F_SETTINGS, 0, 0, NULL, 0);
    frames_put(&out, F_SETTINGS, F_ACK, 0, NULL, 0);
    send_frames(parent);
    sim_run(s);
}

/* It answers what has come since. */
static void parent_answers(struct sim *s)
{
    struct frame f;

    sim_run(s);
    out.n = 0;
    while (parent->got.n > parent_at && frames_next(parent->got.p, parent->got.n, &parent_at, &f)) {
        if (f.type == F_HEADERS && f.n && f.p[0] == INDEXED_GET) {
            frames_headers(&out, f.stream, 0, ":status: 103\nlink: </a>\n");
            frames_headers(&out, f.stream, 0, ":status: 200\nx-a: b\n");
            frames_put(&out, F_DATA, 0, f.stream, "hello", 5);
            frames_headers(&out, f.stream, F_END_STREAM, "x-t: 1\n");
        } else if (f.type == F_HEADERS) {
            frames_headers(&out, f.stream, 0, ":status: 200\n");
            frames_put(&out, F_DATA, 0, f.stream, "behind", 6);
        } else if (f.type == F_DATA && (f.flags & F_END_STREAM)) {
            frames_put(&out, F_DATA, F_END_STREAM, f.stream, "last", 4);
        }
    }
    if (out.n && parent->end == PEER_OPEN)
        send_frames(parent);
    sim_run(s);
}

static bool has(const struct peer *p, const char *text)
{
    return p->got.n && memmem(p->got.p, p->got.n, text, strlen(text));
}

static void play_parent(struct sim *s, struct origin *o)
{
    struct peer *get, *tunnel;
    bool whole;

    UNUSED(o);
    origin_listen(s, "192.0.2.11:3128")->latency_ms = 1;
    through(s);
    mem_set_gate(NULL);
    pool_one(s);
    atomic_store(&memfail_asked, 0);
    mem_set_gate(the_gate);
    get = sim_client(s);
    tunnel = sim_client(s);
    peer_send(get, "GET http://name.test/x HTTP/1.1\r\nHost: name.test\r\nTE: trailers\r\nConnection: te\r\n\r\n");
    peer_send(tunnel, "CONNECT name.test:443 HTTP/1.1\r\nHost: name.test:443\r\n\r\nearly");
    parent_answers(s);
    peer_fin(tunnel);
    for (int i = 0; i < 3; i++)
        parent_answers(s);
    sim_advance(s, SOON_MS);
    whole = !memfail_hit();
    mem_set_gate(NULL);
    /* Where the connection broke, another was dialled, which does not answer: time is up then. */
    peer_rst(parent);
    LIST_EACH(it, &s->peers)
    {
        struct peer *p = LIST_ENTRY(it, struct peer, link);

        if (p->name[0] == 'o')
            peer_rst(p);
    }
    sim_advance(s, SOON_MS);
    if (whole) {
        SIM_EXPECT(s, has(get, "HTTP/1.1 200 ") && has(get, "5\r\nhello\r\n0\r\n"));
        SIM_EXPECT(s, has(tunnel, "behindlast") && tunnel->end == PEER_FIN);
    }
    SIM_EXPECT(s, get->end != PEER_OPEN || has(get, "0\r\n\r\n") || has(get, "x-t: 1\r\n\r\n") || has(get, "HTTP/1.1 50"));
    SIM_EXPECT(s, tunnel->end != PEER_OPEN || has(tunnel, "HTTP/1.1 50"));
    SIM_EXPECT(s, tunnel->end != PEER_FIN || has(tunnel, "behindlast") || has(tunnel, "HTTP/1.1 50"));
    s->snap.n_routes = 0;
    if (get->end == PEER_OPEN)
        peer_fin(get);
    if (tunnel->end == PEER_OPEN)
        peer_fin(tunnel);
    sim_run(s);
}

/* ---- each allocation in turn ---- */

static void serves_a_fresh_client(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s), *up;

    while (!list_empty(&o->backlog))
        origin_accept(o);
    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "hello");
    peer_fin(c);
    peer_expect_end(c, PEER_FIN);
}

/* From the n-th on all are refused, until memory is back. */
static bool refuse_from(void)
{
    return atomic_fetch_add(&memfail_asked, 1) + 1 < memfail_at;
}

static void play_in_mode(void (*play)(struct sim *s, struct origin *o), const char *name, enum sim_mode mode, bool (*gate)(void))
{
    const struct scenario sc = {.name = name, .bulk = true};
    unsigned rounds = 0;

    for (memfail_start(); memfail_next(); rounds++) {
        struct sim *s;
        struct origin *o;

        mem_set_gate(NULL);
        snprintf(sim_note, sizeof(sim_note), "allocation %u%s refused", memfail_at, gate == refuse_from ? " and all after it" : "");
        s = sim_start(&sc, mode);
        s->worker.loop.blocks.keep = s->worker.loop.pages.keep = 0;
        o = origin_listen(s, "192.0.2.1:80");
        atomic_store(&memfail_asked, 0);
        the_gate = gate;
        mem_set_gate(gate);
        play(s, o);
        upstream_close_idle(s->worker.upstream);
        serves_a_fresh_client(s, o);
        sim_end(&s);
    }
    sim_note[0] = '\0';
    if (getenv("SIM_ROUNDS"))
        fprintf(stderr, "  %s, mode %d: %u refusals\n", name, (int)mode, rounds);
    assert_true(rounds > 30);
}

static void memory_clients(void **state)
{
    UNUSED(state);
    for (int mode = 0; mode < SIM_MODES; mode++)
        play_in_mode(play_clients, "memory_clients", (enum sim_mode)mode, memfail_gate);
    play_in_mode(play_clients, "memory_clients", SIM_WHOLE, refuse_from);
    play_in_mode(play_clients, "memory_clients", SIM_BYTES, refuse_from);
}

static void memory_parent(void **state)
{
    UNUSED(state);
    for (int mode = 0; mode < SIM_MODES; mode++)
        play_in_mode(play_parent, "memory_parent", (enum sim_mode)mode, memfail_gate);
    play_in_mode(play_parent, "memory_parent", SIM_WHOLE, refuse_from);
    play_in_mode(play_parent, "memory_parent", SIM_BYTES, refuse_from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_clients),
        cmocka_unit_test(memory_parent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
