/* SPDX-License-Identifier: MIT */
/* Kept connections: which is taken, how many are kept, what ends them (C49, C53a, FAILURES 25). */
#include "proxy/upstream.h"

#include "base/check.h"
#include "base/err.h"
#include "mux/mux.h"
#include "support/memfail.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/net.h"

/* A connection of the least kind: it says whether it is closed. */
struct idle {
    struct conn conn;
    bool closed, was_reset, has_byte, has_fin;
};

enum { MANY = UPSTREAM_MAX + 16 };

static const struct h1_limits limits = {.line = 8192, .head = 65536, .fields = 100};
static struct idle idle[MANY];
static struct upstream *pool;
static struct addr addrs[3], got;

static struct idle *idle_of(struct conn *c)
{
    return CONTAINER_OF(c, struct idle, conn);
}

static enum io idle_recv(struct conn *c, void *p, size_t n, size_t *ret_n)
{
    struct idle *i = idle_of(c);

    UNUSED(n);
    if (i->has_byte) {
        *(char *)p = 'x';
        *ret_n = 1;
        return IO_OK;
    }
    c->ready &= (uint8_t)~CONN_RX;
    if (!i->has_fin)
        return IO_AGAIN;
    c->eof = true;
    return IO_EOF;
}

static void idle_close(struct conn *c, bool reset)
{
    assert_false(idle_of(c)->closed);
    idle_of(c)->closed = true;
    idle_of(c)->was_reset = reset;
}

static const struct conn_ops idle_ops = {.name = "idle", .recv = idle_recv, .close = idle_close};

static struct mux *fresh(unsigned i)
{
    struct mux *m;

    idle[i] = (struct idle){
        .conn = {.magic = CONN_MAGIC, .ops = &idle_ops, .loop = &net_loop, .ready = CONN_TX}};
    m = mux_client_new(&idle[i].conn, &limits);
    assert_non_null(m);
    return m;
}

/* Where connections come from, and where they may. */
static struct addr source;
static struct source_set sources;
static struct dial_way way;

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    loop_turn(&net_loop, 0);
    for (unsigned i = 0; i < ARRAY_LEN(addrs); i++)
        addr_v4(&addrs[i], (const uint8_t[4]){192, 0, 2, (uint8_t)(i + 1)}, 80);
    source = (struct addr){0};
    sources = (struct source_set){0};
    way = (struct dial_way){0};
    pool = upstream_new(&net_loop);
    assert_non_null(pool);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    upstream_free(pool);
    upstream_free(NULL);
    net_turns(1);
    assert_int_equal(wheel_next(&net_loop.wheel), UINT64_MAX);
    net_end();
    return 0;
}

static void give(unsigned i, const char *host, uint16_t port, const struct addr *a)
{
    struct mux *m = fresh(i);

    upstream_give(pool, &m, &(struct upstream_end){.host = slice_str(host), .port = port, .addr = *a, .peer = *a, .from = source, .way = way});
    assert_null(m);
}

static struct mux *take_young(const char *host, uint16_t port, const struct addr *a, unsigned n, uint64_t idle_ms)
{
    struct upstream_want w = {.host = slice_str(host), .port = port, .addrs = a, .n_addrs = n, .sources = sources, .max_idle_ms = idle_ms};
    struct upstream_end end;
    struct mux *m = upstream_take(pool, &w, &end);

    if (m)
        got = end.addr;
    return m;
}

static struct mux *take(const char *host, uint16_t port, const struct addr *a, unsigned n)
{
    return take_young(host, port, a, n, UPSTREAM_IDLE_MS);
}

/* Takes that one, and closes it. */
static void expect(unsigned i, const char *host, uint16_t port, const struct addr *a, unsigned n)
{
    struct mux *m = take(host, port, a, n);

    assert_non_null(m);
    assert_ptr_equal(m->conn, &idle[i].conn);
    assert_null(m->conn->task);
    assert_false(idle[i].closed);
    mux_close(&m, false);
}

static void test_give_and_take(void **state)
{
    UNUSED(state);
    assert_null(take("a.test", 80, addrs, 3));
    give(0, "a.test", 80, &addrs[0]);
    assert_false(idle[0].closed);
    assert_non_null(idle[0].conn.task);
    expect(0, "a.test", 80, addrs, 3);
    assert_true(addr_eq(&got, &addrs[0]));
    assert_null(take("a.test", 80, addrs, 3));
}

static void test_the_newest_first(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < 5; i++)
        give(i, "a.test", 80, &addrs[0]);
    for (unsigned i = 5; i-- > 0;)
        expect(i, "a.test", 80, addrs, 1);
}

static void test_the_key(void **state)
{
    UNUSED(state);
    give(0, "a.test", 80, &addrs[0]);
    assert_null(take("b.test", 80, addrs, 3));
    assert_null(take("a.tes", 80, addrs, 3));
    assert_null(take("a.test.", 80, addrs, 3));
    assert_null(take("a.test", 81, addrs, 3));
    expect(0, "a.test", 80, addrs, 3);
}

/* What was judged is what is used (FAILURES 17). */
static void test_the_address(void **state)
{
    struct addr other_port = addrs[0], mapped;

    UNUSED(state);
    give(0, "a.test", 80, &addrs[0]);
    give(1, "a.test", 80, &addrs[1]);
    assert_null(take("a.test", 80, &addrs[2], 1));
    addr_set_port(&other_port, 81);
    assert_null(take("a.test", 80, &other_port, 1));
    assert_null(take("a.test", 80, addrs, 0));
    expect(0, "a.test", 80, &addrs[0], 1);
    addr_v6(&mapped, (const uint8_t[16]){[10] = 0xff, 0xff, 192, 0, 2, 2}, 80);
    expect(1, "a.test", 80, &mapped, 1);
}

static void test_max_idle(void **state)
{
    struct mux *m;

    UNUSED(state);
    give(0, "a.test", 80, &addrs[0]);
    net_later_ms(UPSTREAM_SURE_MS + 100);
    assert_null(take_young("a.test", 80, addrs, 3, UPSTREAM_SURE_MS));
    assert_false(idle[0].closed);
    give(1, "a.test", 80, &addrs[0]);
    m = take_young("a.test", 80, addrs, 3, UPSTREAM_SURE_MS);
    assert_ptr_equal(m->conn, &idle[1].conn);
    mux_close(&m, false);
    expect(0, "a.test", 80, addrs, 3);
}

/* A connection goes on from where it may come from now, and from nowhere else. */
static void test_sources(void **state)
{
    struct addr_range range, other;

    UNUSED(state);
    assert_int_equal(addr_range_parse(SLICE("127.0.0.0/30"), &range), 0);
    assert_int_equal(addr_range_parse(SLICE("2001:db8::/64"), &other), 0);
    give(0, "a.test", 80, &addrs[0]); /* of the kernel's choice */
    sources = (struct source_set){&range, 1};
    assert_null(take("a.test", 80, addrs, 3));
    addr_v4(&source, (const uint8_t[4]){127, 0, 0, 2}, 0);
    give(1, "a.test", 80, &addrs[0]);
    sources = (struct source_set){&other, 1};
    assert_null(take("a.test", 80, addrs, 3));
    sources = (struct source_set){&range, 1};
    expect(1, "a.test", 80, addrs, 3);
    assert_null(take("a.test", 80, addrs, 3));
    give(2, "a.test", 80, &addrs[0]);
    sources = (struct source_set){0};
    expect(0, "a.test", 80, addrs, 3);
    assert_null(take("a.test", 80, addrs, 3));
    assert_int_equal(upstream_count(pool), 1);
}

/* Nor does one with another mark, or on another interface. */
static void test_ways(void **state)
{
    static const struct dial_way ways[] = {{0}, {.mark = 1}, {.mark = 2}, {.interface = "eth0"}, {.mark = 1, .interface = "eth0"}};

    UNUSED(state);
    for (unsigned i = 0; i < 4; i++) {
        way = ways[i];
        give(i, "a.test", 80, &addrs[0]);
    }
    for (unsigned i = ARRAY_LEN(ways); i-- > 0;) {
        sources = (struct source_set){.way = ways[i]};
        if (i < 4)
            expect(i, "a.test", 80, addrs, 3);
        assert_null(take("a.test", 80, addrs, 3));
    }
    assert_int_equal(upstream_count(pool), 0);
}

static void test_bound_of_a_key(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < UPSTREAM_PER_KEY + 3; i++) {
        give(i, "a.test", 80, &addrs[i % 3]);
        assert_int_equal(idle[i].closed, i >= UPSTREAM_PER_KEY);
    }
    /* Another key has room. */
    give(100, "b.test", 80, &addrs[0]);
    assert_false(idle[100].closed);
    expect(UPSTREAM_PER_KEY - 1, "a.test", 80, addrs, 3);
    give(101, "a.test", 80, &addrs[0]);
    assert_false(idle[101].closed);
}

static void test_bound_of_all(void **state)
{
    char host[32];

    UNUSED(state);
    for (unsigned i = 0; i < UPSTREAM_MAX + 5; i++) {
        snprintf(host, sizeof(host), "h%u.test", i);
        give(i, host, 80, &addrs[0]);
        assert_false(idle[i].closed);
    }
    /* The oldest made way. */
    for (unsigned i = 0; i < UPSTREAM_MAX + 5; i++)
        assert_int_equal(idle[i].closed, i < 5);
    upstream_close_idle(pool);
    for (unsigned i = 0; i < UPSTREAM_MAX + 5; i++)
        assert_true(idle[i].closed && !idle[i].was_reset);
    assert_null(take("h100.test", 80, addrs, 3));
    give(0, "a.test", 80, &addrs[0]);
    expect(0, "a.test", 80, addrs, 3);
}

/* What arrives on an idle connection is its end, or poison. */
static void test_what_arrives_closes(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < 3; i++)
        give(i, "a.test", 80, &addrs[0]);
    idle[0].has_byte = true;
    conn_ready(&idle[0].conn, EPOLLIN);
    idle[1].has_fin = true;
    conn_ready(&idle[1].conn, EPOLLIN | EPOLLRDHUP);
    net_turns(1);
    assert_true(idle[0].closed);
    assert_true(idle[1].closed);
    assert_false(idle[2].closed);
    conn_ready(&idle[2].conn, EPOLLERR | EPOLLHUP);
    net_turns(1);
    assert_true(idle[2].closed);
    assert_null(take("a.test", 80, addrs, 3));
}

/* Room is no end. */
static void test_room_closes_nothing(void **state)
{
    UNUSED(state);
    give(0, "a.test", 80, &addrs[0]);
    idle[0].conn.ready = 0;
    conn_ready(&idle[0].conn, EPOLLOUT);
    net_turns(1);
    assert_false(idle[0].closed);
    expect(0, "a.test", 80, addrs, 3);
}

/* The event is there, but the entry's task has not run yet. */
static void test_taken_too_late(void **state)
{
    UNUSED(state);
    give(0, "a.test", 80, &addrs[0]);
    give(1, "a.test", 80, &addrs[0]);
    idle[1].has_fin = true;
    conn_ready(&idle[1].conn, EPOLLIN | EPOLLRDHUP);
    expect(0, "a.test", 80, addrs, 3);
    assert_true(idle[1].closed);
    net_turns(2);
}

static void test_not_reusable(void **state)
{
    struct mux *m = fresh(0);

    UNUSED(state);
    idle[0].conn.hup = true;
    upstream_give(pool, &m, &(struct upstream_end){.host = SLICE("a.test"), .port = 80, .addr = addrs[0], .peer = addrs[0], .from = source});
    assert_null(m);
    assert_true(idle[0].closed);
    assert_null(take("a.test", 80, addrs, 3));
}

static void test_expiry(void **state)
{
    UNUSED(state);
    give(0, "a.test", 80, &addrs[0]);
    net_later_ms(10000);
    give(1, "b.test", 80, &addrs[0]);
    net_later_ms(UPSTREAM_IDLE_MS - 10000 - 500);
    assert_false(idle[0].closed);
    net_later_ms(2000);
    assert_true(idle[0].closed && !idle[0].was_reset);
    assert_false(idle[1].closed);
    net_later_ms(10000);
    assert_true(idle[1].closed);
    /* Quiet when empty. */
    assert_int_equal(wheel_next(&net_loop.wheel), UINT64_MAX);
}

/* DESIGN 6: the origin's hint, less a second. */
static void test_the_hint(void **state)
{
    static const struct {
        uint32_t hint_s;
        uint64_t keeps_ms;
    } rows[] = {{0, 30000}, {5, 4000}, {2, 1000}, {1, 0},
                {30, 29000}, {31, 30000}, {60, 30000}, {UINT32_MAX, 30000}};

    UNUSED(state);
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct mux *m = fresh(0);

        m->keep_alive_s = rows[k].hint_s;
        upstream_give(pool, &m, &(struct upstream_end){.host = SLICE("a.test"), .port = 80, .addr = addrs[0], .peer = addrs[0], .from = source});
        if (!rows[k].keeps_ms) {
            assert_true(idle[0].closed);
            continue;
        }
        net_later_ms(rows[k].keeps_ms - 200);
        assert_false(idle[0].closed);
        net_later_ms(210);
        assert_null(take("a.test", 80, addrs, 3));
        net_later_ms(1500);
        assert_true(idle[0].closed);
    }
}

/* A shorter one behind a longer one is not forgotten. */
static void test_expiry_out_of_order(void **state)
{
    struct mux *m;

    UNUSED(state);
    give(0, "a.test", 80, &addrs[0]);
    m = fresh(1);
    m->keep_alive_s = 3;
    upstream_give(pool, &m, &(struct upstream_end){.host = SLICE("b.test"), .port = 80, .addr = addrs[0], .peer = addrs[0], .from = source});
    net_later_ms(2500);
    assert_true(idle[1].closed);
    assert_false(idle[0].closed);
    net_later_ms(UPSTREAM_IDLE_MS);
    assert_true(idle[0].closed);
}

static void test_long_host(void **state)
{
    char host[300];

    UNUSED(state);
    memset(host, 'a', sizeof(host));
    host[255] = '\0';
    give(0, host, 80, &addrs[0]);
    expect(0, host, 80, addrs, 3);
    host[255] = 'a';
    host[256] = '\0';
    give(1, host, 80, &addrs[0]);
    assert_true(idle[1].closed);
}

static void test_every_allocation_fails(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct upstream *u = upstream_new(&net_loop);
        struct mux *m;

        if (!u) {
            assert_true(memfail_hit());
            continue;
        }
        idle[0] = (struct idle){
            .conn = {.magic = CONN_MAGIC, .ops = &idle_ops, .loop = &net_loop, .ready = CONN_TX}};
        m = mux_client_new(&idle[0].conn, &limits);
        if (m) {
            upstream_give(u, &m, &(struct upstream_end){.host = SLICE("a.test"), .port = 80, .addr = addrs[0], .peer = addrs[0], .from = source});
            /* Kept or closed, but never left behind. */
            assert_null(m);
            assert_int_equal(idle[0].closed, memfail_hit());
        }
        upstream_free(u);
        assert_true(!m);
        net_turns(1);
    }
}

/* ---- shared connections ---- */

/* A mux of the least kind that carries many streams. */
struct many {
    struct mux mux;
    struct stream stream;
    unsigned out, room;
    bool leaving, ended, closed;
};

static struct many *many_of(struct mux *m)
{
    return CONTAINER_OF(m, struct many, mux);
}

static enum mux_state many_serve(struct mux *m)
{
    const struct many *y = many_of(m);

    return y->out ? MUX_BUSY : y->ended ? MUX_CLOSED : MUX_IDLE;
}

static bool many_reusable(struct mux *m)
{
    return !many_of(m)->leaving && !many_of(m)->ended;
}

static unsigned many_room(struct mux *m)
{
    return many_reusable(m) ? many_of(m)->room - many_of(m)->out : 0;
}

static struct stream *many_open(struct mux *m, struct task *task)
{
    UNUSED(task);
    many_of(m)->out++;
    return &many_of(m)->stream;
}

static void many_close(struct mux *m, bool reset)
{
    UNUSED(reset);
    assert_false(many_of(m)->closed);
    assert_int_equal(many_of(m)->out, 0);
    many_of(m)->closed = true;
}

static const struct mux_ops many_ops = {
    .name = "many", .shared = true, .serve = many_serve, .open = many_open, .reusable = many_reusable, .room = many_room, .close = many_close};

static void many_new(struct many *y, unsigned room)
{
    *y = (struct many){.mux = {.magic = MUX_MAGIC, .ops = &many_ops}, .room = room};
}

/* Towards a parent: no address of the host is judged. */
static const struct upstream_want want_parent = {.host = SLICE("p.test"), .port = 443, .id = SLICE("parent 1"), .max_idle_ms = UINT64_MAX};

static void share(struct many *y, unsigned room)
{
    struct mux *m = &y->mux;

    many_new(y, room);
    y->out = 1;
    assert_int_equal(upstream_share(pool, &m, &(struct upstream_end){.host = want_parent.host, .port = 443, .id = want_parent.id, .peer = addrs[0]}), 0);
    assert_null(m);
}

static bool opens(const struct upstream_want *w)
{
    struct upstream_end end;

    return upstream_open(pool, w, NULL, &end) != NULL;
}

static void leave(struct many *y, unsigned n)
{
    y->out -= n;
    task_wake(y->mux.task, TASK_RX);
    net_turns(1);
}

/* As many as there is room for; it stays while streams run, and half a minute longer. */
static void test_shared(void **state)
{
    struct upstream_want other = want_parent;
    struct many y;

    UNUSED(state);
    share(&y, 3);
    assert_true(opens(&want_parent));
    assert_true(opens(&want_parent));
    assert_false(opens(&want_parent));
    other.id = SLICE("parent 2");
    assert_false(opens(&other));
    other = want_parent;
    other.addrs = addrs;
    other.n_addrs = 1;
    assert_false(opens(&other));
    assert_null(upstream_take(pool, &want_parent, &(struct upstream_end){0}));
    net_later_ms(10 * UPSTREAM_IDLE_MS);
    upstream_close_idle(pool);
    assert_false(y.closed);
    leave(&y, 3);
    net_later_ms(UPSTREAM_IDLE_MS - 2000);
    assert_false(y.closed);
    assert_true(opens(&want_parent));
    net_later_ms(2 * UPSTREAM_IDLE_MS);
    assert_false(y.closed);
    leave(&y, 1);
    net_later_ms(UPSTREAM_IDLE_MS + 2000);
    assert_true(y.closed);
    assert_int_equal(upstream_count(pool), 0);
}

/* C68: one that takes no more ends with its last stream; one whose connection has ended at once. */
static void test_shared_leaves(void **state)
{
    struct many y, z;

    UNUSED(state);
    share(&y, 3);
    y.leaving = true;
    task_wake(y.mux.task, TASK_RX);
    net_turns(1);
    assert_false(y.closed);
    assert_false(opens(&want_parent));
    leave(&y, 1);
    assert_true(y.closed);
    share(&z, 3);
    z.ended = true;
    leave(&z, 1);
    assert_true(z.closed);
}

static unsigned told;

static void telling(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
    told++;
}

/* One dials, the others wait for what it finds; and nobody waits where connections are known not to be shared. */
static void test_turns(void **state)
{
    struct upstream_turn a = {0}, b = {0}, c = {0};
    struct task ta, tb, tc;

    UNUSED(state);
    told = 0;
    task_init(&ta, &net_loop, "a", telling);
    task_init(&tb, &net_loop, "b", telling);
    task_init(&tc, &net_loop, "c", telling);
    assert_int_equal(upstream_turn_ask(pool, &a, &want_parent, &ta), TURN_OURS);
    assert_int_equal(upstream_turn_ask(pool, &a, &want_parent, &ta), TURN_OURS);
    assert_int_equal(upstream_turn_ask(pool, &b, &want_parent, &tb), TURN_WAITS);
    assert_int_equal(upstream_turn_ask(pool, &c, &want_parent, &tc), TURN_WAITS);
    /* One of those who wait leaves. */
    upstream_turn_end(pool, &c, UPSTREAM_GIVEN_UP);
    upstream_turn_end(pool, &a, UPSTREAM_SHARED);
    net_turns(1);
    assert_int_equal(told, 1);
    assert_int_equal(b.state, TURN_TOLD);
    assert_int_equal(b.news, UPSTREAM_SHARED);
    assert_int_equal(upstream_turn_ask(pool, &b, &want_parent, &tb), TURN_OURS);
    upstream_turn_end(pool, &b, UPSTREAM_ALONE);
    assert_int_equal(upstream_turn_ask(pool, &a, &want_parent, &ta), TURN_NONE);
    assert_int_equal(upstream_turn_ask(pool, &b, &want_parent, &tb), TURN_NONE);
    /* It was started anew, and speaks the other kind now: one of them has found that out. */
    upstream_turn_end(pool, &a, UPSTREAM_SHARED);
    assert_int_equal(upstream_turn_ask(pool, &a, &want_parent, &ta), TURN_OURS);
    assert_int_equal(upstream_turn_ask(pool, &b, &want_parent, &tb), TURN_WAITS);
    upstream_turn_end(pool, &a, UPSTREAM_FAILED);
    upstream_turn_end(pool, &b, UPSTREAM_FAILED);
    task_cancel(&ta);
    task_cancel(&tb);
    task_cancel(&tc);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_give_and_take),
        TEST(test_the_newest_first),
        TEST(test_the_key),
        TEST(test_the_address),
        TEST(test_max_idle),
        TEST(test_sources),
        TEST(test_ways),
        TEST(test_bound_of_a_key),
        TEST(test_bound_of_all),
        TEST(test_what_arrives_closes),
        TEST(test_room_closes_nothing),
        TEST(test_taken_too_late),
        TEST(test_not_reusable),
        TEST(test_expiry),
        TEST(test_the_hint),
        TEST(test_expiry_out_of_order),
        TEST(test_long_host),
        TEST(test_every_allocation_fails),
        TEST(test_shared),
        TEST(test_shared_leaves),
        TEST(test_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
