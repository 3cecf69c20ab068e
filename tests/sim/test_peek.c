/* SPDX-License-Identifier: MIT */
/* What is inside a tunnel, without opening it (U49, C85): the name in the ClientHello, what is spoken, and that a refusal lets nothing through. */
#include "sim/sim.h"
#include "support/hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define CONNECT     "CONNECT one.test:443 HTTP/1.1\r\nHost: one.test:443\r\n\r\n"
#define ESTABLISHED "HTTP/1.1 200 Connection established\r\n\r\n"
#define GET         "GET / HTTP/1.1\r\nHost: one.test\r\n\r\n"

/* One rule that allows everything, of which only `sni` and `expect` matter. */
static struct matcher anything = {.any_host = true, .has_host = true};
static struct rule rule;

static void rules(struct sim *s, enum rule_sni sni, enum rule_expect expect)
{
    rule = (struct rule){.kind = RULE_ALLOW, .where = &anything, .n_where = 1, .sni = sni, .expect = expect, .place = "test:1"};
    s->policy.has_rules = true;
    s->policy.rules = &rule;
    s->policy.n_rules = 1;
    s->policy.private = GUARD_ALLOW;
}

struct pair {
    struct peer *client, *origin;
};

static struct pair open_as(struct sim *s, const char *connect)
{
    struct origin *o = s->n_origins ? &s->origins[0] : origin_listen(s, "192.0.2.1:443");
    struct pair t = {.client = sim_client(s)};

    peer_send(t.client, connect);
    t.origin = origin_accept(o);
    peer_expect_all(t.client, ESTABLISHED);
    return t;
}

static struct pair open_tunnel(struct sim *s)
{
    return open_as(s, CONNECT);
}

static void say_hello(struct peer *p, const char *name, unsigned flags)
{
    struct hello h;

    hello_make(&h, name, flags);
    peer_send_n(p, h.p, h.n);
}

/* What the origin has got is exactly that hello. */
static void expect_hello(struct sim *s, struct peer *p, const char *name, unsigned flags)
{
    struct hello h;

    hello_make(&h, name, flags);
    sim_run(s);
    SIM_EQUAL(s, peer_unused(p), h.n);
    SIM_EXPECT(s, memcmp(p->got.p + p->got.at, h.p, h.n) == 0);
    p->got.at += h.n;
}

static void expect_hello_and(struct sim *s, struct peer *p, const char *name, size_t more)
{
    struct hello h;

    hello_make(&h, name, 0);
    sim_run(s);
    SIM_EQUAL(s, peer_unused(p), h.n + more);
    p->got.at += h.n + more;
}

/* The nth that ends so. */
static void expect_refused(struct sim *s, struct pair t, enum end_reason reason, unsigned n)
{
    peer_expect_end(t.client, PEER_RST);
    peer_expect_end(t.origin, PEER_RST);
    SIM_EQUAL(s, peer_unused(t.origin), 0);
    sim_expect_ends(s, reason, n);
}

static void expect_round_trip(struct pair t)
{
    peer_send(t.origin, "pong");
    peer_expect_all(t.client, "pong");
    peer_send(t.client, "ping");
    peer_expect_all(t.origin, "ping");
    peer_fin(t.client);
    peer_expect_end(t.origin, PEER_FIN);
    peer_send(t.origin, "bye");
    peer_expect_all(t.client, "bye");
    peer_fin(t.origin);
    peer_expect_end(t.client, PEER_FIN);
}

/* ---- sni ---- */

static void right_name(struct sim *s)
{
    struct pair t;

    rules(s, SNI_DEFAULT, EXPECT_DEFAULT);
    t = open_tunnel(s);
    say_hello(t.client, "one.test", HELLO_BIG);
    expect_hello(s, t.origin, "one.test", HELLO_BIG);
    expect_round_trip(t);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
}

static void same_name_otherwise_spelled(struct sim *s)
{
    static const char *const names[] = {"ONE.Test", "one.test."};

    rules(s, SNI_DEFAULT, EXPECT_DEFAULT);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        struct pair t = open_tunnel(s);

        say_hello(t.client, names[i], 0);
        expect_hello(s, t.origin, names[i], 0);
        peer_rst(t.client);
        peer_expect_end(t.origin, PEER_RST);
    }
}

/* U49 */
static void fronting(struct sim *s)
{
    struct pair t;

    rules(s, SNI_DEFAULT, EXPECT_DEFAULT);
    t = open_tunnel(s);
    say_hello(t.client, "evil.test", 0);
    expect_refused(s, t, END_SNI_DENIED, 1);
}

/* Nothing of this is the name of the CONNECT, and nothing of it reaches the origin. */
static void nothing_else(struct sim *s)
{
    static const struct {
        const char *name;
        unsigned flags;
    } v[] = {
        {"evil.test", HELLO_BIG}, {"evil.test", HELLO_ECH}, {NULL, 0}, {NULL, HELLO_ECH}, {NULL, HELLO_BARE}, {"one.test", HELLO_TWICE},
        {"one.test", HELLO_TWO}, {"one.test", HELLO_TRAILING}, {"", 0}, {".", 0}, {"one.test..", 0}, {"192.0.2.1", 0}, {"xone.test", 0}, {"one.test.evil", 0},
    };

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        struct pair t = open_tunnel(s);

        say_hello(t.client, v[i].name, v[i].flags);
        expect_refused(s, t, END_SNI_DENIED, i + 1);
    }
}

/* However it is cut into records. */
static void fragments(struct sim *s)
{
    static const size_t sizes[] = {1, 2, 3, 4, 5, 50, 100};
    unsigned refused = 0;

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        struct hello m, h;
        struct pair t = open_tunnel(s);

        hello_message(&m, "one.test", 8, 0);
        hello_records(&h, &m, sizes[i]);
        peer_send_n(t.client, h.p, h.n);
        sim_run(s);
        SIM_EQUAL(s, peer_unused(t.origin), h.n);
        SIM_EXPECT(s, memcmp(t.origin->got.p + t.origin->got.at, h.p, h.n) == 0);
        peer_rst(t.client);
        peer_expect_end(t.origin, PEER_RST);
        hello_message(&m, "evil.test", 9, 0);
        hello_records(&h, &m, sizes[i]);
        t = open_tunnel(s);
        peer_send_n(t.client, h.p, h.n);
        expect_refused(s, t, END_SNI_DENIED, ++refused);
    }
}

/* What no ClientHello begins with, a ClientHello behind it or not. */
static void no_hello(struct sim *s)
{
    static const struct {
        const char *p;
        size_t n;
    } v[] = {
        {"\x14\x03\x03\x00\x01\x01", 6},         /* a record of another type */
        {"\x15\x03\x03\x00\x02\x01\x5a", 7},     /* an alert */
        {"\x80\x2e\x01\x03\x01", 5},             /* SSL 2.0 */
        {"\x16\xfe\xff\x00\x00\x00\x00", 7},     /* DTLS */
        {"\x16\x03\x01\x00\x00", 5},             /* an empty record */
        {"\x16\x03\x01\x40\x01\x01", 6},         /* one that is too long */
        {"\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9}, /* another message */
        {"\x16\x03\x01\x00\x04\x01\x00\xff\xff", 9}, /* a message that is too long */
        {"\r\n", 2}, {" ", 1}, {"\0", 1}, {"SSH-2.0-x\r\n", 11}, {GET, sizeof(GET) - 1}, {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24},
    };

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        struct pair t = open_tunnel(s);

        peer_send_n(t.client, v[i].p, v[i].n);
        say_hello(t.client, "one.test", 0);
        expect_refused(s, t, END_SNI_DENIED, i + 1);
    }
}

/* It came with the CONNECT. */
static void early(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t = {.client = sim_client(s)};

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    peer_send(t.client, CONNECT);
    say_hello(t.client, "evil.test", 0);
    t.origin = origin_accept(o);
    expect_refused(s, t, END_SNI_DENIED, 1);
    t.client = sim_client(s);
    peer_send(t.client, CONNECT);
    say_hello(t.client, "one.test", 0);
    t.origin = origin_accept(o);
    peer_expect_all(t.client, ESTABLISHED);
    expect_hello(s, t.origin, "one.test", 0);
    expect_round_trip(t);
}

/* Nothing to compare with. */
static void literal(struct sim *s)
{
    struct pair t;

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    t = open_as(s, "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n");
    say_hello(t.client, "evil.test", 0);
    expect_hello(s, t.origin, "evil.test", 0);
    expect_round_trip(t);
}

static void off(struct sim *s)
{
    struct pair t;

    rules(s, SNI_OFF, EXPECT_DEFAULT);
    t = open_tunnel(s);
    say_hello(t.client, "evil.test", HELLO_TWICE);
    expect_hello(s, t.origin, "evil.test", HELLO_TWICE);
    expect_round_trip(t);
    /* Without rules as well. */
    s->policy.has_rules = false;
    t = open_tunnel(s);
    peer_send(t.client, "x");
    peer_expect_all(t.origin, "x");
}

static void noted(struct sim *s)
{
    struct pair t;

    rules(s, SNI_LOG, EXPECT_DEFAULT);
    t = open_tunnel(s);
    say_hello(t.client, "evil.test", HELLO_TWICE);
    expect_hello(s, t.origin, "evil.test", HELLO_TWICE);
    expect_round_trip(t);
    t = open_tunnel(s);
    peer_send(t.client, "x");
    peer_expect_all(t.origin, "x");
    expect_round_trip(t);
    /* What might become a hello is waited for, but not for ever. */
    t = open_tunnel(s);
    peer_send_n(t.client, "\x16\x03\x01", 3);
    peer_expect_nothing(t.origin);
    sim_advance(s, s->conf.timeouts.head + 1500);
    SIM_EQUAL(s, peer_unused(t.origin), 3);
    t.origin->got.at = t.origin->got.n;
    expect_round_trip(t);
    sim_expect_ends(s, END_TUNNEL_DONE, 3);
}

/* C85: with ECH it is the outer name that is judged. */
static void ech(struct sim *s)
{
    struct pair t;

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    t = open_tunnel(s);
    say_hello(t.client, "one.test", HELLO_ECH);
    expect_hello(s, t.origin, "one.test", HELLO_ECH);
    expect_round_trip(t);
    t = open_tunnel(s);
    say_hello(t.client, "public.test", HELLO_ECH);
    expect_refused(s, t, END_SNI_DENIED, 1);
}

/* ---- a second hello ---- */

#define SERVER_HELLO(random) "\x16\x03\x03\x00\x2c\x02\x00\x00\x28\x03\x03" random "\x00\x13\x01\x00\x00\x00"
#define RETRY SERVER_HELLO("\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c")
#define HELLO SERVER_HELLO("0123456789abcdef0123456789abcdef")
#define CHANGE "\x14\x03\x03\x00\x01\x01"
#define EARLY  "\x17\x03\x03\x00\x03zzz"
#define ALERT  "\x15\x03\x03\x00\x02\x01\x70"
#define SEND(p, lit) peer_send_n(p, lit, sizeof(lit) - 1)

static void took(struct sim *s, struct peer *p, size_t n)
{
    sim_run(s);
    SIM_EQUAL(s, peer_unused(p), n);
    p->got.at += n;
}
#define TOOK(p, lit) took(s, p, sizeof(lit) - 1)

/* An origin that asks again goes by the name in what it gets then. */
static void retried(struct sim *s)
{
    struct pair t;

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    for (int evil = 0; evil < 2; evil++) {
        t = open_tunnel(s);
        say_hello(t.client, "one.test", 0);
        SEND(t.client, EARLY EARLY);
        expect_hello_and(s, t.origin, "one.test", sizeof(EARLY EARLY) - 1);
        SEND(t.origin, ALERT);
        TOOK(t.client, ALERT);
        SEND(t.origin, RETRY);
        TOOK(t.client, RETRY);
        SEND(t.client, CHANGE EARLY);
        TOOK(t.origin, CHANGE EARLY);
        say_hello(t.client, evil ? "evil.test" : "one.test", HELLO_BIG);
        if (!evil) {
            expect_hello(s, t.origin, "one.test", HELLO_BIG);
            SEND(t.origin, HELLO);
            TOOK(t.client, HELLO);
            expect_round_trip(t);
        }
    }
    expect_refused(s, t, END_SNI_DENIED, 1);
}

/* Nor before it is asked for. */
static void two_hellos(struct sim *s)
{
    struct pair t;

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    t = open_tunnel(s);
    say_hello(t.client, "one.test", 0);
    say_hello(t.client, "evil.test", 0);
    peer_expect_end(t.client, PEER_RST);
    peer_expect_end(t.origin, PEER_RST);
    sim_expect_ends(s, END_SNI_DENIED, 1);
    peer_expect_never(t.origin, "evil");
}

/* Once the origin has answered, the tunnel is like any other, and holds nothing. */
static void answered(struct sim *s)
{
    static const char *const ends[] = {"x", "HTTP/1.1 400 Bad Request\r\n\r\n"};
    struct pair t;

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    t = open_tunnel(s);
    say_hello(t.client, "one.test", 0);
    expect_hello(s, t.origin, "one.test", 0);
    SEND(t.origin, HELLO);
    TOOK(t.client, HELLO);
    /* TLS 1.2 goes on like this. */
    SEND(t.client, "\x16\x03\x03\x00\x05\x10\x00\x00\x01\x00");
    TOOK(t.origin, "\x16\x03\x03\x00\x05\x10\x00\x00\x01\x00");
    expect_round_trip(t);
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        t = open_tunnel(s);
        say_hello(t.client, "one.test", 0);
        expect_hello(s, t.origin, "one.test", 0);
        peer_send(t.origin, ends[i]);
        peer_expect_all(t.client, ends[i]);
        expect_round_trip(t);
    }
    t = open_tunnel(s);
    say_hello(t.client, "one.test", HELLO_OLD);
    expect_hello(s, t.origin, "one.test", HELLO_OLD);
    expect_round_trip(t);
    /* The beginning of an answer, and no more. */
    t = open_tunnel(s);
    say_hello(t.client, "one.test", 0);
    expect_hello(s, t.origin, "one.test", 0);
    peer_send_n(t.origin, RETRY, 20);
    sim_run(s);
    peer_fin(t.origin);
    took(s, t.client, 20);
    peer_expect_end(t.client, PEER_FIN);
}

/* ---- who speaks first ---- */

static void origin_first(struct sim *s)
{
    static const struct {
        enum rule_sni sni;
        enum rule_expect expect;
        bool passes;
    } v[] = {
        {SNI_STRICT, EXPECT_DEFAULT, true}, {SNI_LOG, EXPECT_DEFAULT, true}, {SNI_STRICT, EXPECT_ANY, true},
        {SNI_STRICT, EXPECT_TLS, false}, {SNI_OFF, EXPECT_TLS, false}, {SNI_OFF, EXPECT_HTTP, false}, {SNI_STRICT, EXPECT_SSH, false},
    };
    unsigned refused = 0;

    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        struct pair t;

        rules(s, v[i].sni, v[i].expect);
        t = open_tunnel(s);
        peer_send(t.origin, "220 mail.test ESMTP\r\n");
        if (v[i].passes) {
            peer_expect_all(t.client, "220 mail.test ESMTP\r\n");
            expect_round_trip(t);
        } else {
            peer_expect_nothing(t.client);
            expect_refused(s, t, END_PROTOCOL_DENIED, ++refused);
        }
    }
}

/* The client had begun: what the origin says does not matter any more. */
static void both_at_once(struct sim *s)
{
    struct hello h;
    struct pair t;

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    hello_make(&h, "evil.test", 0);
    t = open_tunnel(s);
    peer_send_n(t.client, h.p, 20);
    sim_run(s);
    peer_send(t.origin, "220 mail.test ESMTP\r\n");
    peer_expect_nothing(t.client);
    peer_send_n(t.client, h.p + 20, h.n - 20);
    expect_refused(s, t, END_SNI_DENIED, 1);
}

static void ssh(struct sim *s)
{
    struct pair t;

    rules(s, SNI_DEFAULT, EXPECT_SSH);
    t = open_tunnel(s);
    peer_send(t.client, "SSH-2.0-c\r\n");
    peer_expect_all(t.origin, "SSH-2.0-c\r\n");
    peer_send(t.client, "more");
    peer_expect_all(t.origin, "more");
    peer_send(t.origin, "SSH-2.0-o\r\n");
    peer_expect_all(t.client, "SSH-2.0-o\r\n");
    expect_round_trip(t);
    t = open_tunnel(s);
    peer_send(t.origin, "SSH-2.0-o\r\n");
    peer_expect_all(t.client, "SSH-2.0-o\r\n");
    peer_send(t.origin, "more");
    peer_expect_all(t.client, "more");
    peer_send(t.client, "SSH-2.0-c\r\n");
    peer_expect_all(t.origin, "SSH-2.0-c\r\n");
    expect_round_trip(t);
    /* A man in the middle of the tunnel, or at either end. */
    t = open_tunnel(s);
    peer_send(t.origin, "SSH-2.0-o\r\n");
    peer_expect_all(t.client, "SSH-2.0-o\r\n");
    say_hello(t.client, "one.test", 0);
    expect_refused(s, t, END_PROTOCOL_DENIED, 1);
    t = open_tunnel(s);
    peer_send(t.client, "SSH-2.0-c\r\n");
    peer_expect_all(t.origin, "SSH-2.0-c\r\n");
    peer_send(t.origin, "SSL");
    peer_expect_nothing(t.client);
    expect_refused(s, t, END_PROTOCOL_DENIED, 2);
    t = open_tunnel(s);
    peer_send(t.client, "SSH-2.0-c\r\n");
    peer_expect_all(t.origin, "SSH-2.0-c\r\n");
    peer_send(t.origin, "SS");
    sim_advance(s, s->conf.timeouts.head + 1500);
    expect_refused(s, t, END_PROTOCOL_DENIED, 3);
    t = open_tunnel(s);
    peer_send(t.origin, "SS");
    peer_fin(t.origin);
    expect_refused(s, t, END_PROTOCOL_DENIED, 4);
}

/* What the client begins with, and what then holds. */
static void expected(struct sim *s)
{
    static const struct {
        enum rule_sni sni;
        enum rule_expect expect;
        const char *says; /* NULL: a right hello */
        enum end_reason end; /* NONE: it passes */
    } v[] = {
        {SNI_STRICT, EXPECT_HTTP, GET, END_NONE},
        {SNI_OFF, EXPECT_HTTP, GET, END_NONE},
        {SNI_OFF, EXPECT_HTTP, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", END_NONE},
        {SNI_OFF, EXPECT_HTTP, "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", END_PROTOCOL_DENIED},
        {SNI_OFF, EXPECT_HTTP, "GET / HTTP/2.0\r\n", END_PROTOCOL_DENIED},
        {SNI_STRICT, EXPECT_HTTP, "SSH-2.0-x\r\n", END_PROTOCOL_DENIED},
        {SNI_STRICT, EXPECT_HTTP, NULL, END_PROTOCOL_DENIED},
        {SNI_STRICT, EXPECT_SSH, GET, END_PROTOCOL_DENIED},
        {SNI_OFF, EXPECT_TLS, NULL, END_NONE},
        {SNI_STRICT, EXPECT_TLS, NULL, END_NONE},
        {SNI_OFF, EXPECT_TLS, GET, END_PROTOCOL_DENIED},
        {SNI_STRICT, EXPECT_TLS, GET, END_PROTOCOL_DENIED},
        {SNI_STRICT, EXPECT_ANY, GET, END_NONE},
        {SNI_STRICT, EXPECT_ANY, "G", END_NONE},
        {SNI_STRICT, EXPECT_ANY, NULL, END_NONE},
    };

    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        unsigned before = (unsigned)sim_ends(s, v[i].end);
        struct pair t;

        rules(s, v[i].sni, v[i].expect);
        t = open_tunnel(s);
        if (v[i].says)
            peer_send(t.client, v[i].says);
        else
            say_hello(t.client, "one.test", 0);
        if (v[i].end) {
            expect_refused(s, t, v[i].end, before + 1);
            continue;
        }
        if (v[i].says)
            peer_expect_all(t.origin, v[i].says);
        else
            expect_hello(s, t.origin, "one.test", 0);
        expect_round_trip(t);
    }
}

/* Whatever may be spoken: what is TLS is for the one that was asked for. */
static void any_but_fronting(struct sim *s)
{
    static const struct {
        const char *name;
        unsigned flags;
        bool passes;
    } v[] = {{"evil.test", 0, false}, {"one.test", HELLO_TWICE, false}, {NULL, 0, true}, {NULL, HELLO_ECH, false}};
    unsigned refused = 0;

    rules(s, SNI_STRICT, EXPECT_ANY);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        struct pair t = open_tunnel(s);

        say_hello(t.client, v[i].name, v[i].flags);
        if (v[i].passes) {
            expect_hello(s, t.origin, v[i].name, v[i].flags);
            expect_round_trip(t);
        } else {
            expect_refused(s, t, END_SNI_DENIED, ++refused);
        }
    }
}

/* ---- ends and silences ---- */

static void ends_without_a_word(struct sim *s)
{
    static const enum rule_expect expect[] = {EXPECT_DEFAULT, EXPECT_TLS, EXPECT_SSH};
    struct pair t;

    for (unsigned i = 0; i < ARRAY_LEN(expect); i++) {
        rules(s, SNI_STRICT, expect[i]);
        t = open_tunnel(s);
        peer_fin(t.client);
        peer_expect_end(t.origin, PEER_FIN);
        peer_expect_end(t.client, PEER_OPEN);
        peer_fin(t.origin);
        peer_expect_end(t.client, PEER_FIN);
        sim_expect_ends(s, END_TUNNEL_DONE, 4 * i + 1);
        t = open_tunnel(s);
        peer_fin(t.origin);
        peer_expect_end(t.client, PEER_FIN);
        peer_fin(t.client);
        peer_expect_end(t.origin, PEER_FIN);
        sim_expect_ends(s, END_TUNNEL_DONE, 4 * i + 2);
        t = open_tunnel(s);
        peer_rst(t.client);
        peer_expect_end(t.origin, PEER_RST);
        t = open_tunnel(s);
        peer_rst(t.origin);
        peer_expect_end(t.client, PEER_RST);
        for (int more = 0; more < 2; more++) {
            t = open_tunnel(s);
            peer_fin(more ? t.client : t.origin);
            sim_run(s);
            peer_fin(more ? t.origin : t.client);
            sim_run(s);
        }
        sim_expect_ends(s, END_TUNNEL_DONE, 4 * i + 4);
    }
    sim_expect_ends(s, END_CLIENT_RESET, 3);
    sim_expect_ends(s, END_UPSTREAM_RESET, 3);
    /* The origin's turn, after the client's end. */
    rules(s, SNI_STRICT, EXPECT_TLS);
    t = open_tunnel(s);
    peer_fin(t.client);
    peer_expect_end(t.origin, PEER_FIN);
    peer_send(t.origin, "220 mail.test\r\n");
    peer_expect_end(t.client, PEER_RST);
    sim_expect_ends(s, END_PROTOCOL_DENIED, 1);
}

/* An origin that has ended still gets nothing that it must not get. */
static void origin_ends_first(struct sim *s)
{
    struct pair t;

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    t = open_tunnel(s);
    peer_fin(t.origin);
    peer_expect_end(t.client, PEER_FIN);
    say_hello(t.client, "evil.test", 0);
    expect_refused(s, t, END_SNI_DENIED, 1);
}

static void unfinished(struct sim *s)
{
    struct hello h;
    struct pair t;

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    hello_make(&h, "one.test", 0);
    t = open_tunnel(s);
    peer_send_n(t.client, h.p, h.n - 1);
    peer_expect_nothing(t.origin);
    peer_fin(t.client);
    expect_refused(s, t, END_SNI_DENIED, 1);
    t = open_tunnel(s);
    peer_send_n(t.client, h.p, h.n - 1);
    sim_expect_end_within(s, t.client, PEER_RST, s->conf.timeouts.head - 10, s->conf.timeouts.head + 1500);
    expect_refused(s, t, END_SNI_DENIED, 2);
    t = open_tunnel(s);
    peer_send_n(t.client, h.p, 10);
    sim_run(s);
    peer_rst(t.origin);
    peer_expect_end(t.client, PEER_RST);
    sim_expect_ends(s, END_UPSTREAM_RESET, 1);
}

static void silent(struct sim *s)
{
    struct pair t;

    rules(s, SNI_STRICT, EXPECT_DEFAULT);
    t = open_tunnel(s);
    sim_run(s);
    SIM_EQUAL(s, s->worker.loop.pages.n_used, 0);
    SIM_EQUAL(s, sim_buffered(s), 0);
    sim_expect_end_within(s, t.client, PEER_RST, s->conf.timeouts.tunnel - 10, s->conf.timeouts.tunnel + 22000);
    peer_expect_end(t.origin, PEER_RST);
    sim_expect_ends(s, END_TUNNEL_TIMEOUT, 1);
}

/* The client does not read: what the origin says first waits for it. */
static void unread_banner(struct sim *s)
{
    struct pair t;

    rules(s, SNI_STRICT, EXPECT_SSH);
    t = open_tunnel(s);
    peer_stop(t.client);
    peer_send(t.origin, "SSH-2.0-o\r\n");
    peer_send_pattern(t.origin, 300000);
    sim_run(s);
    peer_read(t.client);
    peer_expect_next(t.client, "SSH-2.0-o\r\n");
    peer_expect_pattern(t.client, 300000);
    peer_send(t.client, "SSH-2.0-c\r\n");
    peer_expect_all(t.origin, "SSH-2.0-c\r\n");
}

/* ---- before anything is dialled ---- */

/* `allow: {sni: good.test}`, or with a `to` besides. */
static struct matcher named;

static void named_rules(struct sim *s, bool to)
{
    struct addr_range range;

    if (addr_range_parse(SLICE("192.0.2.0/24"), &range) < 0)
        sim_fail(s, "no range");
    rules(s, SNI_OFF, EXPECT_DEFAULT);
    matcher_done(&named);
    named.any_host = named.has_host = true;
    named.snis = hosts_new();
    named.has_to = to;
    if (!named.snis || hosts_add(named.snis, SLICE(".good.test")) < 0 || (to && ranges_build(&range, 1, &named.to) < 0))
        sim_fail(s, "no memory");
    rule.where = &named;
}

static void name_first(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");

    for (int to = 0; to < 2; to++) {
        struct pair t = {.client = sim_client(s)};

        named_rules(s, to);
        peer_send(t.client, CONNECT);
        peer_expect_all(t.client, ESTABLISHED);
        SIM_EQUAL(s, o->dials, to);
        say_hello(t.client, "a.GOOD.test", HELLO_BIG);
        t.origin = origin_accept(o);
        expect_hello(s, t.origin, "a.GOOD.test", HELLO_BIG);
        expect_round_trip(t);
        SIM_EQUAL(s, o->dials, to + 1);
        sim_expect_ends(s, END_TUNNEL_DONE, to + 1);
    }
    matcher_done(&named);
}

static void other_name_first(struct sim *s)
{
    static const char *const says[] = {"evil.test", NULL};
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    unsigned n = 0;

    for (int to = 0; to < 2; to++) {
        named_rules(s, to);
        for (unsigned i = 0; i < ARRAY_LEN(says) + 1; i++) {
            struct peer *c = sim_client(s);

            peer_send(c, CONNECT);
            peer_expect_all(c, ESTABLISHED);
            if (i < ARRAY_LEN(says))
                say_hello(c, says[i], 0);
            else
                peer_send(c, GET);
            peer_expect_end(c, PEER_RST);
            sim_expect_ends(s, END_DENIED, ++n);
        }
    }
    SIM_EQUAL(s, o->dials, 0);
    matcher_done(&named);
}

/* What rules were asked with is what it is for, whatever the CONNECT says. */
static void name_first_and_another_later(struct sim *s)
{
    static const enum rule_sni modes[] = {SNI_DEFAULT, SNI_OFF, SNI_LOG};
    struct origin *o = origin_listen(s, "192.0.2.1:443");

    for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
        struct pair t = {.client = sim_client(s)};

        named_rules(s, false);
        rule.sni = modes[i];
        peer_send(t.client, CONNECT);
        peer_expect_all(t.client, ESTABLISHED);
        say_hello(t.client, "good.test", 0);
        t.origin = origin_accept(o);
        expect_hello(s, t.origin, "good.test", 0);
        SEND(t.origin, RETRY);
        TOOK(t.client, RETRY);
        say_hello(t.client, "evil.test", 0);
        expect_refused(s, t, END_SNI_DENIED, 2 * i + 1);
        /* One that can be read in two ways is not asked about at all. */
        t.client = sim_client(s);
        peer_send(t.client, CONNECT);
        peer_expect_all(t.client, ESTABLISHED);
        say_hello(t.client, "good.test", HELLO_TWICE);
        peer_expect_end(t.client, PEER_RST);
        sim_expect_ends(s, END_SNI_DENIED, 2 * i + 2);
        SIM_EQUAL(s, o->dials, i + 1);
    }
    matcher_done(&named);
}

/* The rule lets the name pass, but it is not the one that was asked for. */
static void name_first_and_strict(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct pair t = {.client = sim_client(s)};

    named_rules(s, false);
    rule.sni = SNI_STRICT;
    peer_send(t.client, CONNECT);
    say_hello(t.client, "a.good.test", 0);
    t.origin = origin_accept(o);
    peer_expect_all(t.client, ESTABLISHED);
    expect_refused(s, t, END_SNI_DENIED, 1);
    matcher_done(&named);
}

static void nothing_first(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s);

    named_rules(s, false);
    peer_send(c, CONNECT);
    peer_expect_all(c, ESTABLISHED);
    sim_expect_end_within(s, c, PEER_RST, s->conf.timeouts.head - 10, s->conf.timeouts.head + 1500);
    sim_expect_ends(s, END_REQUEST_TIMEOUT, 1);
    c = sim_client(s);
    peer_send(c, CONNECT);
    peer_expect_all(c, ESTABLISHED);
    peer_send_n(c, "\x16\x03\x01", 3);
    peer_fin(c);
    peer_expect_end(c, PEER_RST);
    sim_expect_ends(s, END_CLIENT_GONE, 1);
    c = sim_client(s);
    peer_send(c, CONNECT);
    peer_expect_all(c, ESTABLISHED);
    peer_rst(c);
    sim_expect_ends(s, END_CLIENT_RESET, 1);
    SIM_EQUAL(s, o->dials, 0);
    matcher_done(&named);
}

/* The 200 has been sent: what fails behind it is a reset. */
static void dial_fails_late(struct sim *s)
{
    struct peer *c = sim_client(s);

    origin_refuse(s, "192.0.2.1:443");
    named_rules(s, false);
    peer_send(c, CONNECT);
    peer_expect_all(c, ESTABLISHED);
    say_hello(c, "good.test", 0);
    peer_expect_end(c, PEER_RST);
    sim_expect_ends(s, END_CONNECT_REFUSED, 1);
    matcher_done(&named);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(right_name),
        SIM_TEST(same_name_otherwise_spelled),
        SIM_TEST(fronting),
        SIM_TEST(nothing_else),
        SIM_TEST(fragments),
        SIM_TEST(no_hello),
        SIM_TEST(early),
        SIM_TEST(literal),
        SIM_TEST(off),
        SIM_TEST(noted),
        SIM_TEST(ech),
        SIM_TEST(retried),
        SIM_TEST(two_hellos),
        SIM_TEST(answered),
        SIM_TEST(origin_first),
        SIM_TEST(both_at_once),
        SIM_TEST(ssh),
        SIM_TEST(expected),
        SIM_TEST(any_but_fronting),
        SIM_TEST(ends_without_a_word),
        SIM_TEST(origin_ends_first),
        SIM_TEST(unfinished),
        SIM_TEST(silent),
        SIM_TEST_BULK(unread_banner),
        SIM_TEST(name_first),
        SIM_TEST(other_name_first),
        SIM_TEST(name_first_and_strict),
        SIM_TEST(name_first_and_another_later),
        SIM_TEST(nothing_first),
        SIM_TEST(dial_fails_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
