/* SPDX-License-Identifier: MIT */
/* Each allocation of an exchange is refused in turn (DESIGN 4: out of memory ends one exchange,
 * never the worker). Whatever the refusal hits, the peers see the right thing, a refusal, or a
 * break that cannot be taken for an end, and soon; and the next client is served as if nothing had
 * been. */
#include "sim/sim.h"
#include "support/hello.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SOON_MS = 2500, PUT_N = 10000, TUNNEL_N = 40000 };

#define GET "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

/* Every origin that has a whole request answers it. */
static void answer(struct sim *s)
{
    sim_run(s);
    LIST_EACH (it, &s->peers) {
        struct peer *p = LIST_ENTRY(it, struct peer, link);

        if (p->name[0] == 'o' && peer_unused(p) &&
            memmem(p->got.p + p->got.at, peer_unused(p), "\r\n\r\n", 4)) {
            p->got.at = p->got.n;
            peer_send(p, OK);
        }
    }
    sim_run(s);
}

/* An origin's next connection, if there is one. */
static struct peer *accept_if_any(struct sim *s, struct origin *o)
{
    sim_run(s);
    return list_empty(&o->backlog) ? NULL : origin_accept(o);
}

static bool got(const struct peer *p, const char *text)
{
    return p->got.n && memmem(p->got.p, p->got.n, text, strlen(text));
}

/* What came is a whole answer, or the connection was reset; a right answer has that body. */
static void expect_sound(struct sim *s, struct peer *c, const char *body)
{
    const char *end = c->got.n ? memmem(c->got.p, c->got.n, "\r\n\r\n", 4) : NULL;
    const char *length =
        end ? memmem(c->got.p, (size_t)(end - c->got.p), "Content-Length: ", 16) : NULL;
    size_t n, have;

    if (!length) {
        SIM_EXPECT(s, c->end == PEER_RST || (!c->got.n && c->end == PEER_FIN));
        return;
    }
    n = strtoul(length + 16, NULL, 10);
    have = c->got.n - (size_t)(end + 4 - c->got.p);
    SIM_EXPECT(s, have <= n && (have == n || c->end == PEER_RST));
    if (got(c, "HTTP/1.1 200 "))
        SIM_EXPECT(s, n == strlen(body) && memcmp(end + 4, body, have) == 0);
    else
        SIM_EXPECT(s, got(c, "HTTP/1.1 50"));
}

static void serves_a_fresh_client(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect_all(c, "hello");
    peer_fin(c);
    peer_expect_end(c, PEER_FIN);
}

/* ---- what is done while a refusal is due ---- */

static void play_get(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s);

    peer_send(c, GET);
    accept_if_any(s, o);
    answer(s);
    sim_advance(s, SOON_MS);
    mem_set_gate(NULL);
    expect_sound(s, c, "hello");
}

/* Trailers, interim answers, and a client that takes little at a time. */
static void play_chunked(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s), *up;

    peer_send(c, "POST http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n");
    up = accept_if_any(s, o);
    if (up) {
        peer_send(up, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        sim_run(s);
        peer_send(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                      "chunked\r\n\r\n5\r\nworld\r\n0\r\nX-U: 1\r\n\r\n");
    }
    sim_advance(s, SOON_MS);
    mem_set_gate(NULL);
    SIM_EXPECT(s, c->end == PEER_RST || got(c, "\r\n0\r\nX-U: 1\r\n\r\n") || got(c, "HTTP/1.1 50"));
    if (up && got(up, "\r\n0\r\n"))
        SIM_EXPECT(s, got(up, "\r\n0\r\nX-T: 1\r\n\r\n"));
}

/* On a kept connection that dies: the request and its body are sent again. */
static void play_put_again(struct sim *s, struct origin *o)
{
    struct list *newest = s->peers.prev; /* the kept connection's origin */
    struct peer *old = LIST_ENTRY(newest, struct peer, link), *c = sim_client(s), *up;

    peer_sendf(c, "PUT http://192.0.2.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", PUT_N);
    peer_send_pattern(c, PUT_N);
    sim_run(s);
    peer_rst(old);
    up = accept_if_any(s, o);
    if (up) {
        const char *end = up->got.n ? memmem(up->got.p, up->got.n, "\r\n\r\n", 4) : NULL;
        uint64_t at = 0;

        if (end && up->got.n - (size_t)(end + 4 - up->got.p) == PUT_N) {
            if (peer_pattern_match(end + 4, PUT_N, &at) != PUT_N)
                sim_fail(s, "the second upload is not the first");
            peer_send(up, OK);
        }
    }
    sim_advance(s, SOON_MS);
    mem_set_gate(NULL);
    expect_sound(s, c, "hello");
}

static void expect_half(struct sim *s, struct peer *to, size_t skip)
{
    uint64_t at = 0;
    size_t n = to->got.n > skip ? to->got.n - skip : 0;

    if (n && peer_pattern_match(to->got.p + skip, n, &at) != n)
        sim_fail(s, "%s: byte %llu of the pattern is wrong", to->name, (unsigned long long)at);
    SIM_EXPECT(s, to->end == PEER_RST || (to->end == PEER_FIN && n == TUNNEL_N));
}

static void play_tunnel(struct sim *s, struct origin *o)
{
    static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";
    struct peer *c = sim_client(s), *up;

    peer_send(c, "CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_send_pattern(c, TUNNEL_N / 2);
    up = accept_if_any(s, o);
    peer_send_pattern(c, TUNNEL_N / 2);
    peer_fin(c);
    if (up) {
        peer_send_pattern(up, TUNNEL_N);
        peer_fin(up);
    }
    sim_advance(s, SOON_MS);
    mem_set_gate(NULL);
    if (!up || !got(c, established)) {
        expect_sound(s, c, "");
        return;
    }
    expect_half(s, c, sizeof(established) - 1);
    expect_half(s, up, 0);
}

static bool (*the_gate)(void); /* of the present round */

/* One rule: everything, or what has that name in its ClientHello. */
static struct matcher where;
static struct rule rule;

static void use_rule(struct sim *s, const char *sni)
{
    where = (struct matcher){.any_host = true, .has_host = true};
    rule = (struct rule){.kind = RULE_ALLOW, .where = &where, .n_where = 1, .sni = SNI_STRICT, .place = "test:1"};
    /* The rules are there before memory is refused. */
    mem_set_gate(NULL);
    if (sni) {
        where.snis = hosts_new();
        if (!where.snis || hosts_add(where.snis, slice_str(sni)) < 0)
            abort();
    }
    mem_set_gate(the_gate);
    s->policy.has_rules = true;
    s->policy.rules = &rule;
    s->policy.n_rules = 1;
}

static void leave_rule(struct sim *s)
{
    mem_set_gate(NULL);
    matcher_done(&where);
    s->policy.has_rules = false;
}

/* A tunnel that is refused, or ends before it could be: nothing goes through. */
static void play_fronting(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s), *up;
    struct hello m, h;

    use_rule(s, NULL);
    hello_message(&m, "evil.test", 9, HELLO_BIG);
    hello_records(&h, &m, 500);
    peer_send(c, "CONNECT one.test:80 HTTP/1.1\r\nHost: a\r\n\r\n");
    up = accept_if_any(s, o);
    peer_send_n(c, h.p, 600);
    sim_run(s);
    peer_send_n(c, h.p + 600, h.n - 600);
    sim_advance(s, SOON_MS);
    leave_rule(s);
    SIM_EXPECT(s, !up || (!up->got.n && up->end == PEER_RST));
    SIM_EXPECT(s, c->end == PEER_RST || got(c, "HTTP/1.1 50"));
}

/* The 200 comes first here, and then the name. */
static void play_name_first(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s), *up;
    struct hello h;

    use_rule(s, "one.test");
    hello_make(&h, "one.test", HELLO_BIG);
    peer_send(c, "CONNECT one.test:80 HTTP/1.1\r\nHost: a\r\n\r\n");
    sim_run(s);
    peer_send_n(c, h.p, h.n);
    peer_fin(c);
    up = accept_if_any(s, o);
    if (up)
        peer_fin(up);
    sim_advance(s, SOON_MS);
    leave_rule(s);
    SIM_EXPECT(s, !up || up->end == PEER_RST || (up->end == PEER_FIN && up->got.n == h.n));
    SIM_EXPECT(s, c->end == PEER_RST || c->end == PEER_FIN);
}

/* The same under limits of every kind: a bucket that cannot be had is no way around one. */
static void play_limited(struct sim *s, struct origin *o)
{
    static const struct limit limits[] = {
        {.id = 1, .per = PER_CLIENT, .requests = 1000, .burst = 1000, .place = "f:1"},
        {.id = 2, .bandwidth = 1 << 30, .tunnels = 10, .quota = 1 << 30, .span = SPAN_DAY, .slow = true, .place = "f:2"},
        {.id = 3, .per = PER_CONNECTION, .bandwidth_up = 1 << 30, .bandwidth_down = 1 << 30, .upload = 1 << 30, .place = "f:3"},
    };

    s->snap.limits = limits;
    s->snap.n_limits = ARRAY_LEN(limits);
    play_tunnel(s, o);
    s->snap.n_limits = 0;
}

static unsigned count(const struct peer *p, const char *text)
{
    unsigned n = 0;

    for (size_t at = 0; at < p->got.n; at++)
        n += p->got.n - at >= strlen(text) && memcmp(p->got.p + at, text, strlen(text)) == 0;
    return n;
}

/* Requests of one connection, of which a limit lets three pass: what cannot be kept of one is asked again for the next. */
static void play_again(struct sim *s, struct origin *o)
{
    static const struct limit limits[] = {
        {.id = 1, .per = PER_CLIENT, .requests = 1, .burst = 3, .place = "f:1"},
        {.id = 2, .bandwidth = 1 << 30, .quota = 1 << 30, .span = SPAN_DAY, .slow = true, .place = "f:2"},
    };
    struct peer *c = sim_client(s);

    s->snap.generation++;
    s->snap.limits = limits;
    s->snap.n_limits = ARRAY_LEN(limits);
    for (unsigned i = 0; i < 5 && c->end == PEER_OPEN; i++) {
        peer_send(c, GET);
        accept_if_any(s, o);
        answer(s);
    }
    /* One more where the bucket could not be had at first: that one was counted in a shared one. */
    SIM_EXPECT(s, count(c, "HTTP/1.1 200 ") <= 4);
    SIM_EXPECT(s, count(c, "HTTP/1.1 ") == count(c, "HTTP/1.1 200 ") + count(c, "HTTP/1.1 429 ") + count(c, "HTTP/1.1 50"));
    sim_advance(s, SOON_MS);
    mem_set_gate(NULL);
    peer_close(c);
    sim_run(s);
    SIM_EQUAL(s, s->worker.kept.pins, 0);
    s->snap.generation++;
    s->snap.n_limits = 0;
}

/* ---- each allocation in turn ---- */

struct play {
    void (*run)(struct sim *s, struct origin *o);
    bool kept; /* a connection to the origin is there before */
};

static void keep_one(struct sim *s, struct origin *o)
{
    struct peer *c = sim_client(s);

    peer_send(c, GET);
    origin_accept(o);
    answer(s);
    peer_expect_status(c, 200);
    peer_fin(c);
    sim_run(s);
}

/* From the n-th on all are refused, until memory is back. */
static bool refuse_from(void)
{
    return atomic_fetch_add(&memfail_asked, 1) + 1 < memfail_at;
}

static void play_in_mode(const struct play *play, const struct scenario *sc, enum sim_mode mode,
                         bool (*gate)(void))
{
    unsigned rounds = 0;

    for (memfail_start(); memfail_next(); rounds++) {
        struct sim *s;
        struct origin *o;

        mem_set_gate(NULL);
        snprintf(sim_note, sizeof(sim_note), "allocation %u%s refused", memfail_at,
                 gate == refuse_from ? " and all after it" : "");
        s = sim_start(sc, mode);
        /* Nothing kept for reuse: each block and page is asked for. */
        s->worker.loop.blocks.keep = s->worker.loop.pages.keep = 0;
        o = origin_listen(s, "192.0.2.1:80");
        if (play->kept)
            keep_one(s, o);
        atomic_store(&memfail_asked, 0);
        the_gate = gate;
        mem_set_gate(gate);
        play->run(s, o);
        upstream_close_idle(s->worker.upstream);
        serves_a_fresh_client(s, o);
        sim_end(&s);
    }
    sim_note[0] = '\0';
    if (getenv("SIM_ROUNDS"))
        fprintf(stderr, "  %s, mode %d: %u refusals\n", sc->name, (int)mode, rounds);
    /* Less would mean that nothing was counted. */
    assert_true(rounds > 3);
}

static void play_all_modes(const struct play *play, const char *name)
{
    const struct scenario sc = {.name = name, .bulk = true};

    for (int mode = 0; mode < SIM_MODES; mode++)
        play_in_mode(play, &sc, (enum sim_mode)mode, memfail_gate);
    for (int mode = 0; mode < SIM_MODES; mode++)
        play_in_mode(play, &sc, (enum sim_mode)mode, refuse_from);
}

static void memory_get(void **state)
{
    UNUSED(state);
    play_all_modes(&(struct play){.run = play_get}, "memory_get");
}

static void memory_get_kept(void **state)
{
    UNUSED(state);
    play_all_modes(&(struct play){.run = play_get, .kept = true}, "memory_get_kept");
}

static void memory_chunked(void **state)
{
    UNUSED(state);
    play_all_modes(&(struct play){.run = play_chunked}, "memory_chunked");
}

static void memory_put_again(void **state)
{
    UNUSED(state);
    play_all_modes(&(struct play){.run = play_put_again, .kept = true}, "memory_put_again");
}

static void memory_limited(void **state)
{
    UNUSED(state);
    play_all_modes(&(struct play){.run = play_limited}, "memory_limited");
}

static void memory_again(void **state)
{
    UNUSED(state);
    play_all_modes(&(struct play){.run = play_again}, "memory_again");
}

static void memory_tunnel(void **state)
{
    UNUSED(state);
    play_all_modes(&(struct play){.run = play_tunnel}, "memory_tunnel");
}

static void memory_fronting(void **state)
{
    UNUSED(state);
    play_all_modes(&(struct play){.run = play_fronting}, "memory_fronting");
}

static void memory_name_first(void **state)
{
    UNUSED(state);
    play_all_modes(&(struct play){.run = play_name_first}, "memory_name_first");
}

/* ---- no memory at all ---- */

static bool nothing(void)
{
    return false;
}

/* New clients are turned away, running tunnels go on (they need none), and it recovers by itself
 * (DESIGN 8.5). */
static void no_memory_for_a_while(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *t = sim_client(s), *up, *c;

    peer_send(t, "CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: a\r\n\r\n");
    up = origin_accept(o);
    peer_expect(t, "\r\n\r\n");
    mem_set_gate(nothing);
    c = sim_client(s);
    peer_send(c, GET);
    peer_expect_end(c, PEER_RST);
    peer_send(t, "still");
    peer_expect_all(up, "still");
    peer_send(up, "here");
    peer_expect_all(t, "here");
    mem_set_gate(NULL);
    upstream_close_idle(s->worker.upstream);
    serves_a_fresh_client(s, o);
    SIM_EXPECT(s, sim_count(s, COUNTER_NO_MEMORY) >= 1);
}

/* A tail that cannot be kept is lost: the tunnel ends, at once and for both. */
static void no_memory_for_a_tail(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *t = sim_client(s), *up;

    s->worker.loop.blocks.keep = 0;
    peer_send(t, "CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: a\r\n\r\n");
    up = origin_accept(o);
    peer_expect(t, "\r\n\r\n");
    peer_stop(up);
    mem_set_gate(nothing);
    peer_send_pattern(t, 300 * 1024);
    sim_advance(s, 100);
    mem_set_gate(NULL);
    sim_advance(s, SOON_MS);
    peer_expect_end(t, PEER_RST);
    peer_read(up);
    peer_expect_end(up, PEER_RST);
    peer_expect_pattern(up, peer_unused(up));
    sim_expect_ends(s, END_NO_MEMORY, 1);
}

static unsigned left;

static bool so_many(void)
{
    return left > 0 && left-- > 0;
}

/* The request is read, then there is no more: 503, said properly. */
static void refusal_for_lack_of_memory(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *warm = sim_client(s), *c = sim_client(s);

    /* Pages and blocks are there already, for the answer. */
    peer_send(warm, GET);
    peer_send(origin_accept(o), OK);
    peer_expect_status(warm, 200);
    peer_send(c, "GET http://192.0.2.2/ HT");
    sim_run(s);
    origin_listen(s, "192.0.2.2:80");
    left = 0;
    mem_set_gate(so_many);
    peer_send(c, "TP/1.1\r\nHost: a\r\n\r\n");
    sim_advance(s, 100);
    mem_set_gate(NULL);
    SIM_EXPECT(s, got(c, "HTTP/1.1 503 ") || c->end == PEER_RST);
    if (s->mode == SIM_WHOLE) {
        peer_expect_refusal(c, 503, "proxy_internal_error");
        peer_expect_end(c, PEER_FIN);
    }
    sim_expect_ends(s, END_NO_MEMORY, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_get),        cmocka_unit_test(memory_get_kept),
        cmocka_unit_test(memory_chunked),    cmocka_unit_test(memory_put_again),
        cmocka_unit_test(memory_tunnel), cmocka_unit_test(memory_limited), cmocka_unit_test(memory_again),
        cmocka_unit_test(memory_fronting),
        cmocka_unit_test(memory_name_first),     SIM_TEST(no_memory_for_a_while),
        SIM_TEST_BULK(no_memory_for_a_tail), SIM_TEST(refusal_for_lack_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
