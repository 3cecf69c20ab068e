/* SPDX-License-Identifier: MIT */
/* fuzz_h2: frames, in the server role, in one piece and in many: whatever comes, the connection ends
 * in order, nothing is kept, and heads that pass can be written out as HTTP/1 (FAILURES 21). The
 * input is what follows the preface. */
#include "fuzz/fuzz.h"

#include "base/mem.h"
#include "mux/mux_h2.h"
#include "proto/h1_write.h"

#include <stdlib.h>

#include "support/h2_frames.h"
#include "support/mem_conn.h"

enum { SIDES = 32, TURNS = 12 };

static const struct h1_limits limits = {.line = 2000, .head = 8000, .fields = 50};

struct side {
    struct task task;
    struct stream *s;
    struct arena arena;
    struct head *h;
    enum io io;
    bool over;
};

static struct world_ops world;
static struct loop loop;
static struct mem_conn m;
static struct mux *mux;
static struct task owner;
static struct side sides[SIDES];
static unsigned n_sides;
static uint64_t now_us;

static uint64_t fuzz_now_us(struct loop *l)
{
    UNUSED(l);
    return now_us;
}

static int fuzz_wait(struct loop *l, int timeout_ms)
{
    UNUSED(timeout_ms);
    loop_awake(l, false);
    return 0;
}

static void check_h1(struct slice in, const struct head *h)
{
    struct h1_out o = {.form = h->method == METHOD_CONNECT ? FORM_AUTHORITY : FORM_ABSOLUTE, .version = 11, .protocol = h->protocol};
    struct bufq q;
    static char wire[200000];
    size_t n;

    bufq_init(&q, &loop.blocks);
    if (h1_write_request(&q, h, &o) < 0)
        fuzz_fail("a head that cannot be written as HTTP/1", in, "", "");
    n = bufq_copy_out(&q, wire, sizeof(wire) - 1);
    wire[n] = '\0';
    fuzz_check_wire("a head as HTTP/1", in, wire, n);
    bufq_clear(&q);
}

static void side_run(struct task *t, unsigned bits)
{
    struct side *x = CONTAINER_OF(t, struct side, task);
    struct head a = {.response = true, .status = 200, .body = BODY_STREAMED};
    char buf[4096];
    size_t n;

    UNUSED(bits);
    if (!x->s || x->over)
        return;
    if (x->io == IO_AGAIN) {
        x->io = stream_recv_head(x->s, &x->arena, &x->h);
        if (x->io != IO_OK)
            return;
        hdrs_init(&a.fields);
        if (stream_send_head(x->s, &a, false) == IO_OK && (x->h->method == METHOD_CONNECT))
            stream_tunnel(x->s);
    }
    for (int i = 0; i < 100 && x->io == IO_OK; i++) {
        switch (stream_recv(x->s, buf, sizeof(buf), &n)) {
        case IO_OK:
            if (stream_room(x->s) >= n && x->s->tx == STREAM_BODY && stream_send(x->s, buf, n, false) == IO_ERR)
                x->over = true;
            break;
        case IO_AGAIN:
            return;
        case IO_EOF:
            if (x->s->tx == STREAM_BODY && stream_end(x->s, NULL) == IO_OK && stream_flush(x->s) == IO_AGAIN)
                return;
            x->over = true;
            return;
        case IO_ERR:
            x->over = true;
            return;
        }
    }
}

static void on_stream(struct mux *mx, struct stream *s)
{
    struct side *x = &sides[n_sides];

    UNUSED(mx);
    if (n_sides == SIDES) {
        stream_reset(s);
        stream_release(&s);
        return;
    }
    n_sides++;
    *x = (struct side){.s = s, .io = IO_AGAIN};
    task_init(&x->task, &loop, "side", side_run);
    arena_init(&x->arena, &loop.pages, 1 << 20);
    s->task = &x->task;
    task_wake(&x->task, TASK_RX);
}

static void owner_run(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
    mux_serve(mux);
}

static void turns(int n)
{
    while (n--)
        loop_turn(&loop, 0);
}

static void play(struct slice in, size_t piece)
{
    struct h2_conf conf = h2_conf_default;
    size_t at = 0;

    conf.heads = &limits;
    conf.streams = 16;
    n_sides = 0;
    if (loop_init(&loop, &world) < 0)
        abort();
    task_init(&owner, &loop, "owner", owner_run);
    mux = mux_h2_server_new(mem_conn_init(&m, &loop), &conf, SLICE(F_PREFACE));
    CHECK(mux);
    mux->task = &owner;
    mux->on_stream = on_stream;
    turns(2);
    while (at < in.n) {
        size_t n = min_size(piece, in.n - at);

        mem_conn_feed(&m, in.p + at, n);
        at += n;
        turns(piece == in.n ? TURNS : 2);
    }
    mem_conn_fin(&m);
    turns(TURNS);
    for (unsigned i = 0; i < n_sides; i++) {
        struct side *x = &sides[i];

        if (x->h && x->io == IO_OK)
            check_h1(in, x->h);
        stream_reset(x->s);
        stream_release(&x->s);
        task_cancel(&x->task);
        arena_done(&x->arena);
    }
    now_us += 5000000;
    turns(2);
    CHECK(mux_serve(mux) != MUX_IDLE);
    mux_close(&mux, false);
    task_cancel(&owner);
    turns(2);
    CHECK(loop.blocks.n_used == 0 && loop.pages.n_used == 0);
    loop_done(&loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, min_size(size, FUZZ_INPUT_MAX));

    world.now_us = world.wall_ms = fuzz_now_us;
    world.wait = fuzz_wait;
    if (!in.n)
        return 0;
    play(in, in.n);
    play(in, 1 + fuzz_choice(in) % 50);
    return 0;
}
