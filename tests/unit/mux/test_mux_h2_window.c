/* SPDX-License-Identifier: MIT */
/* Windows over HTTP/2, frame by frame and trip by trip: when a stream's grows, how soon what was taken is
 * returned, what the worker's credit allows, how the round trip is asked for (C64, DESIGN flow).
 */
#include "mux/mux_h2.h"

#include "base/check.h"
#include "base/err.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/h2_frames.h"
#include "support/mem_conn.h"
#include "support/net.h"

enum { SIDES = 12, FRAME = 16384, F_PADDED = 8, TRIP_MS = 100 };
static const struct h1_limits limits = {.line = 8192, .head = 20000, .fields = 100};

/* A tunnel that was accepted, and what its client may still send. */
struct side {
    struct task task;
    struct stream *s;
    struct arena arena;
    bool takes; /* its sink does */
    bool answered;
    int64_t window, most; /* left; granted and not taken, at most */
    uint64_t sent, taken;
};

static struct mem_conn m;
static struct mux *mux;
static struct task owner;
static struct side sides[SIDES];
static unsigned n_sides;
static struct h2_conf conf;
static struct h2_credit credit;
static struct frames out;
static size_t at; /* of m.out */
static uint8_t ping[8];
static unsigned n_pings, n_updates;
static bool may_end; /* the connection may, or a stream of it */
static char content[FRAME], taken[65536];

static void take(struct side *x)
{
    size_t n;

    while (x->takes && stream_recv(x->s, taken, sizeof(taken), &n) == IO_OK)
        x->taken += n;
}

static void side_run(struct task *t, unsigned bits)
{
    struct side *x = CONTAINER_OF(t, struct side, task);
    struct head a = {.response = true, .status = 200, .body = BODY_NONE}, *h;

    UNUSED(bits);
    if (!x->s)
        return;
    if (!x->answered && stream_recv_head(x->s, &x->arena, &h) == IO_OK) {
        hdrs_init(&a.fields);
        x->answered = stream_send_head(x->s, &a, false) == IO_OK && stream_flush(x->s) != IO_ERR && stream_tunnel(x->s) == 0;
    }
    if (x->answered)
        take(x);
}

static void on_stream(struct mux *mx, struct stream *s)
{
    struct side *x = &sides[n_sides++];

    UNUSED(mx);
    assert_true(n_sides <= SIDES);
    *x = (struct side){.s = s, .takes = true, .window = conf.window, .most = conf.window};
    task_init(&x->task, &net_loop, "side", side_run);
    arena_init(&x->arena, &net_loop.pages, 1 << 20);
    s->task = &x->task;
    task_wake(&x->task, TASK_RX);
}

static void owner_run(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
}

static void begin(void)
{
    n_sides = n_pings = n_updates = 0;
    at = 0;
    mux = mux_h2_server_new(mem_conn_init(&m, &net_loop), &conf, SLICE_NONE);
    assert_non_null(mux);
    mux->task = &owner;
    mux->on_stream = on_stream;
    out.n = 0;
    frames_begin(&out);
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    task_init(&owner, &net_loop, "owner", owner_run);
    credit = (struct h2_credit){.left = 64 << 20, .all = 64 << 20};
    conf = h2_conf_default;
    conf.heads = &limits;
    conf.credit = &credit;
    begin();
    return 0;
}

static void end(void)
{
    for (unsigned i = 0; i < n_sides; i++) {
        if (sides[i].s)
            stream_reset(sides[i].s);
        stream_release(&sides[i].s);
        task_cancel(&sides[i].task);
        arena_done(&sides[i].arena);
    }
    mux_close(&mux, false);
    net_turns(2);
}

static int teardown(void **state)
{
    UNUSED(state);
    end();
    task_cancel(&owner);
    net_turns(2);
    assert_int_equal(credit.left, credit.all);
    net_end();
    return 0;
}

/* What was fed is read, what is written is understood. */
static void exchange(void)
{
    struct frame f;

    if (out.n)
        mem_conn_feed(&m, out.p, out.n);
    out.n = 0;
    net_turns(12);
    if (m.in_at == m.in_n)
        m.in_at = m.in_n = 0;
    while (frames_next(m.out, m.out_n, &at, &f)) {
        assert_true(may_end || (f.type != F_GOAWAY && f.type != F_RST));
        if (f.type == F_PING && !(f.flags & F_ACK)) {
            n_pings++;
            memcpy(ping, f.p, sizeof(ping));
        }
        if (f.type == F_WINDOW && f.stream) {
            struct side *x = &sides[f.stream / 2];

            n_updates++;
            x->window += f.p[0] << 24 | f.p[1] << 16 | f.p[2] << 8 | f.p[3];
            if (x->window + (int64_t)(x->sent - x->taken) > x->most)
                x->most = x->window + (int64_t)(x->sent - x->taken);
        }
    }
    m.out_n = at = 0;
}

static struct side *tunnel(void)
{
    frames_headers(&out, n_sides * 2 + 1, 0, ":method: CONNECT\n:authority: a.test:443\n");
    exchange();
    assert_true(sides[n_sides - 1].answered);
    return &sides[n_sides - 1];
}

/* n bytes, or what the window allows of them. */
static uint64_t send_some(struct side *x, uint64_t n)
{
    uint64_t sent = 0;

    while (sent < n && x->window > 0) {
        size_t now = min_size(min_size(n - sent, FRAME), (size_t)x->window);

        frames_put(&out, F_DATA, 0, (uint32_t)(x - sides) * 2 + 1, content, now);
        x->window -= (int64_t)now;
        x->sent += now;
        sent += now;
        if (out.n > 200000)
            exchange();
    }
    return sent;
}

/* A round trip of a client that sends so much of what it may: what it hears at the end was said at the begin. */
static void trip(struct side *x, uint64_t most)
{
    int64_t may = x->window;

    send_some(x, min_size(most, (size_t)may));
    exchange();
    net_later_ms(TRIP_MS);
    if (n_pings) {
        frames_put(&out, F_PING, F_ACK, 0, ping, sizeof(ping));
        n_pings = 0;
    }
}

/* The kernel knows nothing of this way: the answer to a PING tells that 64 KB in 100 ms is all that the window allows. */
static void test_fills_a_long_way(void **state)
{
    struct side *x = tunnel();
    int n = 0;

    UNUSED(state);
    while (credit.left > credit.all - (conf.window_max - conf.window) && n++ < 10)
        trip(x, UINT64_MAX);
    trip(x, UINT64_MAX);
    assert_in_range(x->most, conf.window_max - conf.window_max / 8, conf.window_max);
    assert_int_equal(credit.left, credit.all - (conf.window_max - conf.window));
    /* It stays so, and nobody asks any more. */
    n_pings = 0;
    for (n = 0; n < 3; n++) {
        send_some(x, 4 << 20);
        exchange();
        net_later_ms(3000);
        assert_int_equal(n_pings, 0);
    }
}

/* Who sends less than the window allows has no use for more. */
static void test_slow_sender(void **state)
{
    struct side *x = tunnel();

    UNUSED(state);
    for (int i = 0; i < 100; i++)
        trip(x, 16000);
    assert_int_equal(x->taken, 100 * 16000);
    assert_int_equal(credit.left, credit.all);
    assert_int_equal(x->most, conf.window);
}

/* C64: what a sink that stalls holds is what was granted, before it has grown and after. */
static void test_stalled(void **state)
{
    struct side *x = tunnel();
    uint64_t held;

    UNUSED(state);
    for (int i = 0; i < 5; i++)
        trip(x, UINT64_MAX);
    assert_true(x->most > conf.window && x->most < conf.window_max);
    x->takes = false;
    held = credit.left;
    for (int i = 0; i < 20; i++)
        trip(x, UINT64_MAX);
    assert_in_range(x->sent - x->taken, x->most - x->most / 8 - FRAME, x->most);
    assert_true(x->most <= conf.window + (int64_t)(credit.all - credit.left));
    assert_int_equal(credit.left, held);
}

/* Nobody who has room for half of a large window is kept waiting for the rest of it. */
static void test_returned_in_parts(void **state)
{
    struct side *x;
    uint64_t part;

    UNUSED(state);
    for (int i = 0; i < 2; i++) {
        end();
        conf.window = conf.window_max = i ? 1 << 20 : 65536;
        begin();
        x = tunnel();
        part = conf.window / (i ? 8 : 2);
        n_updates = 0;
        send_some(x, part - 1);
        exchange();
        assert_int_equal(n_updates, 0);
        send_some(x, 1);
        exchange();
        assert_int_equal(n_updates, 1);
        assert_int_equal(x->window, conf.window);
    }
}

/* Padding counts, and is returned though nobody takes it. */
static void test_padding(void **state)
{
    enum { PAD = 255 };
    static const uint8_t bytes[1 + 1 + PAD] = {PAD, 'x'};
    struct side *x = tunnel();

    UNUSED(state);
    for (int i = 0; i < 2000; i++) {
        assert_true(x->window >= (int64_t)sizeof(bytes));
        frames_put(&out, F_DATA, F_PADDED, 1, bytes, sizeof(bytes));
        x->window -= (int64_t)sizeof(bytes);
        if (i % 20 == 0)
            exchange();
        if (i % 100 == 0)
            net_later_ms(1000);
    }
    exchange();
    assert_int_equal(x->taken, 2000);
    assert_in_range(x->window, conf.window / 2, conf.window);
}

/* Nobody takes all of the credit. */
static void test_credit(void **state)
{
    int64_t last = INT64_MAX;

    UNUSED(state);
    credit = (struct h2_credit){.left = 8 << 20, .all = 8 << 20};
    for (int k = 0; k < 8; k++) {
        struct side *x = tunnel();

        for (int i = 0; i < 10; i++)
            trip(x, UINT64_MAX);
        assert_in_range(x->most, conf.window + FRAME, last);
        last = x->most;
    }
    assert_true(credit.left > 0 && credit.left < credit.all / 4);
}

/* One at a time, and not often; answers that nobody asked for are counted as before. */
static void test_ping(void **state)
{
    struct side *x = tunnel();

    UNUSED(state);
    for (int i = 0; i < 50; i++) {
        send_some(x, conf.window);
        exchange();
        net_later_ms(10000);
    }
    assert_int_equal(n_pings, 1);
    frames_put(&out, F_PING, F_ACK, 0, ping, sizeof(ping));
    exchange();
    for (int i = 0; i < 40; i++) {
        send_some(x, conf.window);
        exchange();
        net_later_ms(500);
        if (n_pings > 1)
            frames_put(&out, F_PING, F_ACK, 0, ping, sizeof(ping));
    }
    /* 20 s: not more than one in two. */
    assert_in_range(n_pings, 3, 12);
}

/* A peer that answers late gets no more than one that is a second away. */
static void test_late_answer(void **state)
{
    struct side *x = tunnel();

    UNUSED(state);
    send_some(x, conf.window);
    exchange();
    assert_int_equal(n_pings, 1);
    net_later_ms(60000);
    frames_put(&out, F_PING, F_ACK, 0, ping, sizeof(ping));
    exchange();
    for (int i = 0; i < 30; i++) {
        send_some(x, conf.window / 3);
        exchange();
        net_later_ms(1100);
    }
    /* The first one went at once. */
    assert_int_equal(credit.all - credit.left, 3 * conf.window);
}

/* Memory is refused where a window is returned, grows, or a PING is made: what was taken is whole, and nothing is lost of the credit (teardown). */
static void test_memory(void **state)
{
    unsigned grown = 0;

    for (memfail_start(); memfail_next();) {
        struct side *x;

        mem_set_gate(NULL);
        teardown(state);
        setup(state);
        x = tunnel();
        send_some(x, conf.window / 2);
        exchange();
        objcache_trim(&net_loop.blocks);
        may_end = true;
        frames_put(&out, F_DATA, 0, 1, content, FRAME);
        frames_put(&out, F_DATA, 0, 1, content, FRAME);
        mem_set_gate(memfail_gate);
        exchange();
        mem_set_gate(NULL);
        may_end = false;
        assert_true(x->taken <= conf.window);
        grown += credit.left < credit.all;
        assert_true(memfail_hit() || (x->taken == conf.window && n_pings == 1 && credit.left < credit.all));
    }
    assert_true(grown > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_returned_in_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_padding, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_sender, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fills_a_long_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stalled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_credit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
