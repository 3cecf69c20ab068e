/* SPDX-License-Identifier: MIT */
/* Pumps and relays over real sockets: not a byte lost or changed, every end passed on as what it
 * was (promise 3; C18, C19; FAILURES 22, 23; U11, U12). The bulk is run again as an unprivileged
 * user, with pipes and without: root is exempt from the kernel's bound and hides it.
 */
#include "proxy/relay.h"

#include "base/check.h"
#include "base/err.h"
#include "mux/mux.h"
#include "mux/stream_conn.h"
#include "mux/stream_local.h"
#include "support/memfail.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/mem_conn.h"
#include "support/net.h"

enum { BULK = 16 << 20, PERIOD = 262139 };

/* A peer and what it does; what it receives must be the pattern. */
struct end {
    int fd;
    struct conn *conn; /* the relay's end of it */
    uint64_t sent, to_send, got;
    bool fin, fin_sent, deaf;
    bool broke; /* a send met the RST, and took the error with it */
    enum net_end end;
};

static struct end client, origin;
static struct stream *c, *u;
static struct relay relay;
static struct task task;
static struct timer timer;
static enum relay_result result;
static bool hold, seen_pipe, may_splice = true;
static unsigned runs;
static char pattern[2 * PERIOD], buf[PERIOD];

/* Inside the upload's pipe. */
static uint32_t pipe_bytes(void)
{
    return relay.up.pipe ? relay.up.pipe->bytes : 0;
}

static bool finished(void)
{
    return result != RELAY_WAIT && result != RELAY_MORE;
}

/* As the step does it. */
static void run_relay(void)
{
    runs++;
    result = relay_run(&relay, &net_loop, c, u);
    seen_pipe |= relay.up.pipe || relay.down.pipe;
    if (result == RELAY_MORE) {
        task.bulk = true;
        task_wake(&task, TASK_RX);
    } else if (result == RELAY_WAIT && relay.state == RELAY_CUT) {
        timer_set_at(&timer, relay.cut_until_ms);
    } else if (result == RELAY_WAIT && (stream_broken(c) || stream_broken(u))) {
        timer_set_at(&timer, relay.active_ms + RELAY_CUT_MS);
    }
    task.bulk = relay_is_bulk(&relay, &net_loop);
}

static void close_streams(void)
{
    if (!c)
        return;
    relay_stop(&relay, &net_loop);
    timer_stop(&timer);
    if (result != RELAY_ENDED) {
        stream_reset(c);
        stream_reset(u);
    }
    stream_release(&c);
    stream_release(&u);
}

static void task_run(struct task *t, unsigned bits)
{
    UNUSED(t);
    UNUSED(bits);
    if (hold || !c)
        return;
    run_relay();
    if (finished())
        close_streams();
}

static void begin(bool small)
{
    net_begin();
    hold = seen_pipe = false;
    runs = 0;
    result = RELAY_WAIT;
    client = origin = (struct end){0};
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)((i % PERIOD) * 31 + (i % PERIOD) / 251);
    task_init(&task, &net_loop, "exchange", task_run);
    timer_init(&timer, &task);
    client.conn = net_conn(&client.fd, small);
    origin.conn = net_conn(&origin.fd, small);
    {
        struct conn *a = client.conn, *b = origin.conn;

        c = stream_conn_new(&a, &task);
        u = stream_conn_new(&b, &task);
    }
    relay = (struct relay){0};
    pump_start(&relay.up, NULL);
    pump_start(&relay.down, NULL);
}

static int setup(void **state)
{
    UNUSED(state);
    begin(false);
    return 0;
}

static int setup_small(void **state)
{
    UNUSED(state);
    begin(true);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    close_streams();
    if (client.fd >= 0)
        close(client.fd);
    if (origin.fd >= 0)
        close(origin.fd);
    net_later_ms(2 * CONN_RESET_GRACE_MS); /* who waits for a deaf peer */
    for (int i = 0; i < 60; i++)
        net_later_ms(CONN_RESET_POLL_MS);
    net_end();
    return 0;
}

/* ---- what peers do ---- */

static void end_send(struct end *e)
{
    while (e->fd >= 0 && e->sent < e->to_send) {
        size_t n = (size_t)(e->to_send - e->sent);
        ssize_t r = send(e->fd, pattern + e->sent % PERIOD, min_size(n, PERIOD),
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (r <= 0) {
            e->broke |= r < 0 && errno != EAGAIN;
            return;
        }
        e->sent += (size_t)r;
    }
    if (e->fin && !e->fin_sent) {
        shutdown(e->fd, SHUT_WR);
        e->fin_sent = true;
    }
}

static void end_read(struct end *e)
{
    size_t n = 0;

    if (e->fd < 0 || e->deaf || e->end != NET_OPEN)
        return;
    e->end = net_read(e->fd, buf, sizeof(buf), &n);
    if (e->end == NET_FIN && e->broke)
        e->end = NET_RST;
    assert_memory_equal(buf, pattern + e->got % PERIOD, n);
    e->got += n;
}

static bool ends_step(void)
{
    end_send(&client);
    end_send(&origin);
    end_read(&client);
    end_read(&origin);
    return true;
}

#define UNTIL(cond) NET_UNTIL(ends_step() && (cond))

static void rst(struct end *e)
{
    net_rst(e->fd);
    e->fd = -1;
}

/* All that was sent is in the receiving end's kernel. */
static void settle(struct end *e)
{
    int queued = -1;

    for (int i = 0; i < 1000; i++) {
        end_send(e);
        assert_int_equal(ioctl(conn_fd(e->conn, CONN_IN), FIONREAD, &queued), 0);
        if (e->sent == e->to_send && (uint64_t)queued == e->sent)
            return;
        net_sleep_ms(1);
    }
    fail_msg("%d of %d bytes arrived", queued, (int)e->to_send);
}

/* ---- bytes ---- */

static void test_small_messages(void **state)
{
    UNUSED(state);
    for (int i = 1; i <= 50; i++) {
        client.to_send += 100;
        UNTIL(origin.got == client.to_send);
        origin.to_send += 3000;
        UNTIL(client.got == origin.to_send);
        assert_int_equal(result, RELAY_WAIT);
        /* Nothing is held while nothing moves. */
        assert_int_equal(net_loop.blocks.n_used, 0);
    }
    assert_false(seen_pipe);
    assert_int_equal(relay.up.bytes, client.to_send);
    assert_int_equal(relay.down.bytes, origin.to_send);
    assert_false(relay_half_closed(&relay));
}

static void test_quiet(void **state)
{
    unsigned before;

    UNUSED(state);
    client.to_send = 100;
    UNTIL(origin.got == 100);
    before = runs;
    for (int i = 0; i < 20; i++)
        loop_turn(&net_loop, 2);
    assert_int_equal(runs, before);
}

static void bulk(uint64_t up, uint64_t down)
{
    client.to_send = up;
    origin.to_send = down;
    client.fin = origin.fin = true;
    UNTIL(client.end != NET_OPEN && origin.end != NET_OPEN);
    assert_int_equal(result, RELAY_ENDED);
    assert_int_equal(client.end, NET_FIN);
    assert_int_equal(origin.end, NET_FIN);
    assert_int_equal(origin.got, up);
    assert_int_equal(client.got, down);
    assert_int_equal(relay.up.bytes, up);
    assert_int_equal(relay.down.bytes, down);
    assert_int_equal(seen_pipe, may_splice);
}

static void test_bulk_up(void **state)
{
    UNUSED(state);
    bulk(BULK, 0);
}

static void test_bulk_down(void **state)
{
    UNUSED(state);
    bulk(100, BULK);
}

static void test_bulk_both_ways(void **state)
{
    UNUSED(state);
    bulk(BULK, BULK);
}

static void test_bulk_through_small_sockets(void **state)
{
    UNUSED(state);
    client.to_send = 300000;
    origin.to_send = 200000;
    client.fin = origin.fin = true;
    UNTIL(client.end != NET_OPEN && origin.end != NET_OPEN);
    assert_int_equal(result, RELAY_ENDED);
    assert_int_equal(origin.got, 300000);
    assert_int_equal(client.got, 200000);
}

/* Bursts of every size around the one that switches. */
static void test_switching(void **state)
{
    UNUSED(state);
    for (int i = -2; i <= 2; i++) {
        client.to_send += (uint64_t)(PUMP_COPY + i);
        UNTIL(origin.got == client.to_send);
        client.to_send += (uint64_t)(3 * PUMP_COPY + i);
        UNTIL(origin.got == client.to_send);
        client.to_send += 1;
        UNTIL(origin.got == client.to_send);
        /* The pipe has gone back. */
        NET_UNTIL(result == RELAY_WAIT);
        assert_null(relay.up.pipe);
    }
}

/* ---- a FIN is a FIN ---- */

static void half_close(struct end *first, struct end *second)
{
    first->to_send = 70000;
    first->fin = true;
    UNTIL(second->end == NET_FIN);
    assert_int_equal(second->got, 70000);
    assert_true(relay_half_closed(&relay));
    assert_int_equal(result, RELAY_WAIT);
    /* The other direction lives on while bytes move. */
    for (int i = 0; i < 5; i++) {
        second->to_send += 50000;
        UNTIL(first->got == second->to_send);
    }
    assert_int_equal(first->end, NET_OPEN);
    second->fin = true;
    UNTIL(first->end == NET_FIN);
    assert_int_equal(result, RELAY_ENDED);
}

static void test_client_half_closes(void **state)
{
    UNUSED(state);
    half_close(&client, &origin);
}

static void test_origin_half_closes(void **state)
{
    UNUSED(state);
    half_close(&origin, &client);
}

static void test_fin_alone(void **state)
{
    UNUSED(state);
    client.fin = true;
    UNTIL(origin.end == NET_FIN);
    assert_int_equal(result, RELAY_WAIT);
    origin.fin = true;
    UNTIL(client.end == NET_FIN);
    assert_int_equal(result, RELAY_ENDED);
}

/* The FIN waits behind what the sink has not taken. */
static void test_fin_behind_a_stall(void **state)
{
    UNUSED(state);
    origin.deaf = true;
    client.to_send = 60000;
    client.fin = true;
    UNTIL(client.fin_sent || relay.up.wants_tx);
    for (int i = 0; i < 30; i++)
        loop_turn(&net_loop, 1);
    assert_true(relay.up.state != PUMP_DONE);
    origin.deaf = false;
    UNTIL(origin.end == NET_FIN);
    assert_int_equal(origin.got, 60000);
}

/* ---- an RST is an RST ---- */

static void expect_cut(struct end *from, struct end *to, uint64_t n)
{
    uint64_t t0 = net_real_ms();

    UNTIL(to->end != NET_OPEN);
    assert_true(net_real_ms() - t0 < 1000);
    assert_int_equal(to->end, NET_RST);
    assert_int_equal(to->got, n);
    assert_int_equal(result, from == &client ? RELAY_CLIENT_BROKE : RELAY_UPSTREAM_BROKE);
}

static void test_rst_alone(void **state)
{
    UNUSED(state);
    rst(&client);
    expect_cut(&client, &origin, 0);
}

static void test_rst_of_the_origin(void **state)
{
    UNUSED(state);
    rst(&origin);
    expect_cut(&origin, &client, 0);
}

static void pending(struct end *from, struct end *to, uint64_t n)
{
    hold = true;
    from->to_send = n;
    settle(from);
    rst(from);
    net_turns(3);
    hold = false;
    task_wake(&task, TASK_RX);
    expect_cut(from, to, n);
}

static void test_rst_behind_pending_bytes(void **state)
{
    UNUSED(state);
    pending(&client, &origin, 10000);
}

static void test_rst_of_the_origin_behind_pending_bytes(void **state)
{
    UNUSED(state);
    pending(&origin, &client, 10000);
}

/* Enough to splice. */
static void test_rst_behind_much(void **state)
{
    UNUSED(state);
    pending(&client, &origin, 60000);
}

static void test_rst_of_the_origin_behind_much(void **state)
{
    UNUSED(state);
    pending(&origin, &client, 60000);
}

static void test_rst_in_the_middle(void **state)
{
    UNUSED(state);
    client.to_send = origin.to_send = BULK;
    UNTIL(origin.got > BULK / 4 && client.got > BULK / 4);
    rst(&client);
    UNTIL(origin.end != NET_OPEN);
    assert_int_equal(origin.end, NET_RST);
    assert_true(origin.got <= client.sent);
    assert_true(finished());
}

static void test_rst_after_a_fin(void **state)
{
    UNUSED(state);
    client.to_send = 1000;
    client.fin = true;
    UNTIL(origin.end == NET_FIN);
    origin.to_send = 5000;
    UNTIL(client.got == 5000);
    rst(&origin);
    UNTIL(client.end != NET_OPEN);
    assert_int_equal(client.end, NET_RST);
    assert_int_equal(result, RELAY_UPSTREAM_BROKE);
}

/* What the origin said before it broke reaches the client, although a send met the break first. */
static void test_sink_breaks_with_bytes_to_read(void **state)
{
    UNUSED(state);
    hold = true;
    origin.to_send = 5000;
    settle(&origin);
    client.to_send = 1000;
    settle(&client);
    rst(&origin);
    net_sleep_ms(5);
    hold = false;
    run_relay();
    if (finished())
        close_streams();
    UNTIL(client.end != NET_OPEN);
    assert_int_equal(client.end, NET_RST);
    assert_int_equal(client.got, 5000);
}

/* The RST comes after the loop's look: the splice meets it, and takes the error with it. What
 * follows must not pass for an orderly end. */
static void rst_met_by_splice(struct end *from, struct end *to, uint64_t n)
{
    hold = true;
    from->to_send = n;
    settle(from);
    net_turns(3);
    rst(from);
    net_sleep_ms(5);
    hold = false;
    /* No turn of the loop in between. */
    do
        run_relay();
    while (result == RELAY_MORE);
    if (finished())
        close_streams();
    UNTIL(to->end != NET_OPEN);
    assert_int_equal(to->got, n);
    assert_int_equal(to->end, NET_RST);
}

static void test_rst_of_the_client_met_by_splice(void **state)
{
    UNUSED(state);
    rst_met_by_splice(&client, &origin, PUMP_COPY);
}

static void test_rst_of_the_origin_met_by_splice(void **state)
{
    UNUSED(state);
    rst_met_by_splice(&origin, &client, 3 * PUMP_COPY);
}

/* The same for a sink: bytes are in the pipe, and the splice into the socket meets the RST. */
static void test_rst_met_by_splice_into_the_sink(void **state)
{
    UNUSED(state);
    origin.deaf = true;
    client.to_send = BULK;
    UNTIL(pipe_bytes() && relay.up.wants_tx && result == RELAY_WAIT);
    hold = true;
    origin.to_send = 3000;
    end_send(&origin);
    net_sleep_ms(2);
    net_turns(2);
    rst(&origin);
    net_sleep_ms(5);
    hold = false;
    do
        run_relay();
    while (result == RELAY_MORE);
    if (finished())
        close_streams();
    UNTIL(client.end != NET_OPEN);
    assert_int_equal(client.got, 3000);
    assert_int_equal(client.end, NET_RST);
}

/* ---- stalls ---- */

static void test_sink_stalls_and_resumes(void **state)
{
    unsigned before;

    UNUSED(state);
    origin.deaf = true;
    client.to_send = BULK;
    UNTIL(relay.up.wants_tx && result == RELAY_WAIT && (pipe_bytes() || !may_splice));
    /* It waits; it does not spin. */
    for (int tries = 0;; tries++) {
        assert_true(tries < 50);
        before = runs;
        for (int i = 0; i < 20; i++)
            loop_turn(&net_loop, 1);
        if (runs == before)
            break;
        assert_true(runs - before < 20);
    }
    for (int i = 0; i < 3; i++) {
        /* The other direction goes on. */
        origin.to_send += 1000;
        UNTIL(client.got == origin.to_send);
    }
    origin.deaf = false;
    client.fin = true;
    UNTIL(origin.end == NET_FIN);
    assert_int_equal(origin.got, BULK);
}

static void test_stalls_again_and_again(void **state)
{
    UNUSED(state);
    client.to_send = BULK / 4;
    client.fin = true;
    while (origin.end == NET_OPEN) {
        uint64_t want = origin.got + 100000 < client.to_send ? origin.got + 100000
                                                             : client.to_send;

        origin.deaf = true;
        for (int i = 0; i < 3; i++) {
            ends_step();
            loop_turn(&net_loop, 0);
        }
        origin.deaf = false;
        UNTIL(origin.got >= want || origin.end != NET_OPEN);
        if (origin.got == client.to_send)
            UNTIL(origin.end != NET_OPEN);
    }
    assert_int_equal(origin.end, NET_FIN);
    assert_int_equal(origin.got, client.to_send);
}

/* Promise 4: a reader that takes a little at a time costs a tail, however long it goes on. */
static void test_slow_reader_costs_a_tail(void **state)
{
    size_t most = 0;

    UNUSED(state);
    origin.deaf = true;
    client.to_send = 1 << 20;
    for (int i = 0; i < 600; i++) {
        ssize_t n;

        end_send(&client);
        n = recv(origin.fd, buf, 600, MSG_DONTWAIT);
        origin.got += n > 0 ? (uint64_t)n : 0;
        loop_turn(&net_loop, 0);
        most = max_size(most, net_loop.blocks.n_used);
    }
    assert_in_range(most, 0, 2);
}

/* Promise 3: within two seconds, also when the other side takes nothing: its reset is behind what
 * it can get. */
static void rst_beside_a_stall(struct end *from, struct end *to, uint64_t much)
{
    uint64_t waited = 0;

    to->deaf = true;
    from->to_send = much;
    UNTIL((from == &client ? &relay.up : &relay.down)->wants_tx && result == RELAY_WAIT);
    for (int i = 0; i < 20; i++) {
        ends_step();
        loop_turn(&net_loop, 1);
    }
    rst(from);
    for (; !finished() && waited < 5000; waited += 100)
        net_later_ms(100);
    assert_true(finished());
    assert_true(waited <= 2000);
    for (int i = 0; i < 60; i++) /* the grace of the reset itself */
        net_later_ms(CONN_RESET_POLL_MS);
    to->deaf = false;
    UNTIL(to->end != NET_OPEN);
    assert_int_equal(to->end, NET_RST);
    assert_true(to->got <= from->sent);
}

static void test_rst_beside_a_stall(void **state)
{
    UNUSED(state);
    rst_beside_a_stall(&client, &origin, BULK);
}

static void test_rst_of_the_origin_beside_a_stall(void **state)
{
    UNUSED(state);
    rst_beside_a_stall(&origin, &client, BULK);
}

/* ---- stopping ---- */

static void test_stop_gives_everything_back(void **state)
{
    int fds = net_fds();

    UNUSED(state);
    origin.deaf = true;
    client.to_send = BULK;
    UNTIL(pipe_bytes() && relay.up.wants_tx && result == RELAY_WAIT);
    assert_int_equal(net_fds(), fds + 2);
    relay_stop(&relay, &net_loop);
    assert_int_equal(net_fds(), fds);
    assert_int_equal(relay.up.state, PUMP_DEAD);
    relay_stop(&relay, &net_loop);
}

/* ---- a message of known length ---- */

enum { UPLOAD = 4 << 20, UPLOAD_LAST = 64 * 1024 };

static struct end uploader;
static struct stream *upload;

static void on_stream(struct mux *m, struct stream *s)
{
    UNUSED(m);
    upload = s;
    upload->task = &task;
}

/* Takes what there is to take, and says whether all that was sent has arrived. */
static bool upload_step(void)
{
    enum pump_result r;

    end_send(&uploader);
    do
        r = pump_run(&relay.up, &net_loop, upload, u), task.bulk = true;
    while (r == PUMP_MORE);
    seen_pipe |= relay.up.pipe != NULL;
    assert_true(r == PUMP_WAIT || r == PUMP_ENDED);
    return origin.got == uploader.to_send;
}

/* The last bytes wait in the pump's source, all of them, and what stands behind them. */
static void settle_last(const char *behind)
{
    int queued = 0, want = UPLOAD_LAST + (int)strlen(behind);
    bool said = false;

    for (int i = 0; i < 1000 && queued < want; i++) {
        end_send(&uploader);
        if (!said && uploader.sent == UPLOAD)
            said = send(uploader.fd, behind, strlen(behind), MSG_NOSIGNAL) >= 0;
        net_sleep_ms(1);
        assert_int_equal(ioctl(conn_fd(uploader.conn, CONN_IN), FIONREAD, &queued), 0);
    }
    assert_int_equal(queued, want);
}

/* Longer than it would be bulk without a pipe, and looked at twice. */
static void stand_on(void)
{
    for (int i = 0; i < 2; i++) {
        net_later_ms(RELAY_BULK_MS);
        task_wake(&task, TASK_RX);
        net_turns(2);
        assert_int_equal(result, RELAY_WAIT);
    }
}

/* Less than a full read is in the pipe when the sink comes to a stand: what is left of the bulk still goes on. */
static void test_little_stands_in_a_pipe(void **state)
{
    UNUSED(state);
    if (!may_splice)
        skip();
    /* The source gives full reads, the sink is soon full. */
    assert_int_equal(setsockopt(conn_fd(origin.conn, CONN_OUT), SOL_SOCKET, SO_SNDBUF, &(int){8192}, sizeof(int)), 0);
    for (unsigned i = 0; !pipe_bytes() || relay.up.filled; i++) {
        assert_true(i < 200);
        origin.deaf = false;
        UNTIL(origin.got == client.to_send);
        origin.deaf = true;
        do {
            client.to_send += PUMP_COPY + 8000 + 37 * i;
            UNTIL(relay.up.wants_tx || relay.up.bytes == client.to_send);
        } while (!relay.up.wants_tx);
        NET_UNTIL(result == RELAY_WAIT);
    }
    stand_on();
    origin.deaf = false;
    client.to_send += BULK / 4;
    client.fin = origin.fin = true;
    UNTIL(finished());
    assert_int_equal(result, RELAY_ENDED);
    close_streams();
    UNTIL(origin.end != NET_OPEN);
    assert_int_equal(origin.got, client.to_send);
    assert_int_equal(origin.end, NET_FIN);
}

/* Somebody else asks for a pipe in vain: the one that stands still goes, what was inside waits in memory, in order. */
static void stalled_pipe_taken_back(bool resume)
{
    struct pipe *other;
    int fds = net_fds();

    if (!may_splice)
        skip();
    pipes_limit(PIPE_SIZE + PIPE_SIZE / 2); /* crowded from the first one on */
    origin.deaf = true;
    client.to_send = BULK;
    UNTIL(pipe_bytes() && relay.up.wants_tx && result == RELAY_WAIT);
    assert_true(pipe_bytes() <= PIPE_BACK);
    assert_int_equal(net_fds(), fds + 2);
    assert_null(pipe_lend(net_loop.pipes, &task, net_loop.now_ms + PIPE_STALL_MS));
    NET_UNTIL(relay.up.pipe->rd < 0);
    assert_int_equal(net_fds(), fds);
    other = pipe_lend(net_loop.pipes, &task, net_loop.now_ms);
    assert_non_null(other);
    pipe_return(net_loop.pipes, &other);
    stand_on();
    if (resume) {
        origin.deaf = false;
        client.fin = origin.fin = true;
        UNTIL(finished());
        assert_int_equal(result, RELAY_ENDED);
        close_streams();
        UNTIL(origin.end != NET_OPEN);
        assert_int_equal(origin.got, BULK);
        assert_int_equal(origin.end, NET_FIN);
    } else {
        relay_stop(&relay, &net_loop);
        assert_null(relay.up.pipe);
    }
    pipes_limit((uint64_t)64 << 20);
}

static void test_stalled_pipe_taken_back_and_resumed(void **state)
{
    UNUSED(state);
    stalled_pipe_taken_back(true);
}

static void test_stalled_pipe_taken_back_and_stopped(void **state)
{
    UNUSED(state);
    stalled_pipe_taken_back(false);
}

/* An upload that is complete holds no pipe, however long its answer is waited for: the exchange keeps its pumps until
 * then, and a hundred finished uploads to a silent origin once kept 196 descriptors. */
static void complete_upload_holds_no_pipe(const char *framing, const char *behind)
{
    static const struct h1_limits limits = {.line = 8192, .head = 65536, .fields = 100};
    struct arena arena;
    struct head *head = NULL;
    struct mux *mux;
    char text[160];
    int fds, n;

    hold = true;
    upload = NULL;
    uploader = (struct end){0};
    uploader.conn = net_conn(&uploader.fd, false);
    n = snprintf(text, sizeof(text),
                 "POST http://o.test/ HTTP/1.1\r\nHost: o.test\r\n%s", framing);
    mux = mux_server_new(uploader.conn, &limits, slice_of(text, (size_t)n));
    assert_non_null(mux);
    mux->task = &task;
    mux->on_stream = on_stream;
    uploader.conn->task = &task;
    arena_init(&arena, &net_loop.pages, 1 << 20);
    assert_int_equal(mux_serve(mux), MUX_BUSY);
    assert_non_null(upload);
    assert_int_equal(stream_recv_head(upload, &arena, &head), IO_OK);

    fds = net_fds();
    uploader.to_send = UPLOAD - UPLOAD_LAST;
    UNTIL(upload_step());
    assert_true(seen_pipe || net_fds() == fds + 2); /* lent now, or kept by the pool since */
    assert_int_equal(relay.up.state, PUMP_RUN);
    /* The last read takes so much that more might follow: only the length says that nothing will. */
    uploader.to_send = UPLOAD;
    settle_last(behind);
    UNTIL(upload_step());
    assert_int_equal(upload->rx, STREAM_END);
    assert_int_equal(relay.up.state, PUMP_DONE);
    assert_int_equal(relay.up.bytes, UPLOAD);
    assert_null(relay.up.pipe);
    assert_in_range(net_fds(), fds, fds + 2); /* the pool keeps it for the next */

    stream_reset(upload);
    stream_release(&upload);
    mux_close(&mux, true);
    arena_done(&arena);
    close(uploader.fd);
}

static void test_complete_upload_holds_no_pipe(void **state)
{
    char framing[40];

    UNUSED(state);
    snprintf(framing, sizeof(framing), "Content-Length: %d\r\n\r\n", UPLOAD);
    complete_upload_holds_no_pipe(framing, "");
}

/* One chunk, all of it through the pipe; its end is read without content. */
static void test_complete_chunked_upload_holds_no_pipe(void **state)
{
    char framing[60];

    UNUSED(state);
    snprintf(framing, sizeof(framing), "Transfer-Encoding: chunked\r\n\r\n%x\r\n", (unsigned)UPLOAD);
    complete_upload_holds_no_pipe(framing, "\r\n0\r\n\r\n");
}

/* ---- one pump over conns without sockets ---- */

static struct mem_conn from_conn, to_conn;
static struct stream *from, *to;
static struct pump pump;

static int setup_mem(void **state)
{
    struct conn *a, *b;

    UNUSED(state);
    net_begin();
    task_init(&task, &net_loop, "exchange", task_run);
    hold = true;
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)((i % PERIOD) * 31 + (i % PERIOD) / 251);
    a = mem_conn_init(&from_conn, &net_loop);
    b = mem_conn_init(&to_conn, &net_loop);
    from = stream_conn_new(&a, &task);
    to = stream_conn_new(&b, &task);
    pump_start(&pump, NULL);
    return 0;
}

static int teardown_mem(void **state)
{
    UNUSED(state);
    pump_stop(&pump, &net_loop);
    stream_release(&from);
    stream_release(&to);
    net_end();
    return 0;
}

static enum pump_result run(void)
{
    enum pump_result r;

    do
        r = pump_run(&pump, &net_loop, from, to), task.bulk = true;
    while (r == PUMP_MORE);
    return r;
}

static void test_budget(void **state)
{
    UNUSED(state);
    mem_conn_feed(&from_conn, pattern, PERIOD);
    mem_conn_feed(&from_conn, pattern + PERIOD, PERIOD);
    /* The first full read shows that it is bulk, which has to wait its turn. */
    task.bulk = false;
    assert_int_equal(pump_run(&pump, &net_loop, from, to), PUMP_MORE);
    assert_int_equal(pump.bytes, PUMP_COPY);
    assert_int_equal(pump_run(&pump, &net_loop, from, to), PUMP_MORE);
    assert_int_equal(pump.bytes, PUMP_COPY);
    task.bulk = true;
    assert_int_equal(pump_run(&pump, &net_loop, from, to), PUMP_MORE);
    assert_int_equal(pump.bytes, (1 + PUMP_BUDGET_COPY) * PUMP_COPY);
    assert_int_equal(run(), PUMP_WAIT);
    assert_int_equal(to_conn.out_n, 2 * PERIOD);
    assert_memory_equal(to_conn.out, pattern, 2 * PERIOD);
    assert_false(pump.wants_tx);
}

/* The client has ended, and its last bytes wait for an origin that does not read; then the origin ends: that is told at once. */
static void test_second_end_behind_a_sink_that_does_not_read(void **state)
{
    UNUSED(state);
    relay = (struct relay){.active_ms = net_loop.now_ms};
    pump_start(&relay.up, NULL);
    pump_start(&relay.down, NULL);
    mem_conn_feed(&from_conn, pattern, 5000);
    mem_conn_room(&to_conn, 1000);
    assert_int_equal(relay_run(&relay, &net_loop, from, to), RELAY_WAIT);
    mem_conn_fin(&from_conn);
    mem_conn_room(&to_conn, 1);
    assert_int_equal(relay_run(&relay, &net_loop, from, to), RELAY_WAIT);
    assert_int_equal(relay.up.state, PUMP_FLUSH);
    mem_conn_fin(&to_conn);
    assert_int_equal(relay_run(&relay, &net_loop, from, to), RELAY_WAIT);
    assert_int_equal(relay.down.state, PUMP_DONE);
    assert_true(from_conn.fin_sent);
    mem_conn_room(&to_conn, 100000);
    assert_int_equal(relay_run(&relay, &net_loop, from, to), RELAY_ENDED);
    assert_int_equal(to_conn.out_n, 5000);
}

/* A page that is made here is a source that nobody wakes; large ones are bulk like others. */
static void test_a_large_local_reply(void **state)
{
    struct arena arena;
    struct head *h;
    struct stream *local;

    UNUSED(state);
    arena_init(&arena, &net_loop.pages, 1 << 20);
    h = arena_zalloc(&arena, sizeof(*h));
    assert_non_null(h);
    h->response = true;
    h->status = 200;
    h->body = BODY_SIZED;
    h->length = PERIOD;
    local = stream_local_new(&arena, h, slice_of(pattern, PERIOD));
    assert_non_null(local);
    assert_int_equal(stream_recv_head(local, &arena, &h), IO_OK);
    task.bulk = false;
    assert_int_equal(pump_run(&pump, &net_loop, local, to), PUMP_MORE);
    stream_release(&from);
    from = local;
    assert_int_equal(run(), PUMP_ENDED);
    assert_int_equal(to_conn.out_n, PERIOD);
    assert_memory_equal(to_conn.out, pattern, PERIOD);
    pump_stop(&pump, &net_loop);
    stream_release(&from);
    arena_done(&arena);
}

static void test_pump_waits_for_room(void **state)
{
    UNUSED(state);
    mem_conn_feed(&from_conn, pattern, PERIOD);
    mem_conn_room(&to_conn, 1000);
    assert_int_equal(run(), PUMP_WAIT);
    assert_true(pump.wants_tx);
    /* A tail, and no more than a tail. */
    assert_true(pump.bytes <= PUMP_COPY);
    assert_int_equal(to_conn.out_n, 1000);
    while (to_conn.out_n < PERIOD) {
        mem_conn_room(&to_conn, 7001);
        assert_int_equal(run(), PUMP_WAIT);
        assert_true(pump.bytes - to_conn.out_n <= 2 * PUMP_COPY);
    }
    assert_memory_equal(to_conn.out, pattern, PERIOD);
}

/* The same into a socket whose room comes back in small pieces (promise 4, FAILURES 22). */
static void test_copying_to_a_slow_reader(void **state)
{
    struct conn *conn;
    struct stream *slow;
    size_t most = 0, at = 0;
    int peer;

    UNUSED(state);
    conn = net_conn(&peer, true);
    slow = stream_conn_new(&conn, &task);
    mem_conn_feed(&from_conn, pattern, 2 * PERIOD - 100);
    for (int i = 0; i < 2000; i++) {
        ssize_t n = recv(peer, buf, 500, MSG_DONTWAIT);

        if (n > 0) {
            assert_memory_equal(buf, pattern + at, n);
            at += (size_t)n;
        }
        while (pump_run(&pump, &net_loop, from, slow) == PUMP_MORE)
            task.bulk = true;
        loop_turn(&net_loop, 0);
        most = max_size(most, net_loop.blocks.n_used);
    }
    assert_true(most <= 3);
    pump_stop(&pump, &net_loop);
    stream_release(&slow);
    net_rst(peer);
}

static void test_pump_flushes_at_the_end(void **state)
{
    UNUSED(state);
    mem_conn_feed(&from_conn, pattern, 100);
    mem_conn_fin(&from_conn);
    mem_conn_room(&to_conn, 30);
    assert_int_equal(run(), PUMP_WAIT);
    assert_true(pump.wants_tx);
    assert_false(to_conn.fin_sent);
    mem_conn_room(&to_conn, 69);
    assert_int_equal(run(), PUMP_WAIT);
    assert_false(to_conn.fin_sent);
    mem_conn_room(&to_conn, 1);
    assert_int_equal(run(), PUMP_ENDED);
    assert_int_equal(pump.state, PUMP_DONE);
    assert_true(to_conn.fin_sent);
}

static void test_pump_breaks(void **state)
{
    UNUSED(state);
    mem_conn_feed(&from_conn, pattern, 100);
    mem_conn_rst(&from_conn, true);
    assert_int_equal(run(), PUMP_FROM_BROKE);
    assert_int_equal(to_conn.out_n, 100);
    assert_false(to_conn.fin_sent);
}

/* ---- replay (DESIGN 6) ---- */

/* Another upstream: what was kept goes there first. */
static void again(struct replay *r)
{
    struct conn *b;

    stream_release(&to);
    b = mem_conn_init(&to_conn, &net_loop);
    to = stream_conn_new(&b, &task);
    r->sent = 0;
    pump_start(&pump, r);
}

static void test_replay(void **state)
{
    static const size_t sizes[] = {1, 2047, 2048, 2049, 16384, 16385, REPLAY_MAX};
    struct replay r = {0};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        mem_conn_init(&from_conn, &net_loop);
        again(&r);
        mem_conn_feed(&from_conn, pattern, sizes[i]);
        assert_int_equal(run(), PUMP_WAIT);
        assert_int_equal(r.n, sizes[i]);
        assert_false(r.lost);
        assert_ptr_equal(pump.replay, &r);
        again(&r);
        assert_int_equal(run(), PUMP_WAIT);
        assert_int_equal(to_conn.out_n, sizes[i]);
        assert_memory_equal(to_conn.out, pattern, sizes[i]);
        replay_done(&r);
        assert_true(r.lost);
        r = (struct replay){0};
    }
}

static void test_replay_is_lost(void **state)
{
    struct replay r = {0};

    UNUSED(state);
    again(&r);
    mem_conn_feed(&from_conn, pattern, REPLAY_MAX);
    assert_int_equal(run(), PUMP_WAIT);
    assert_false(r.lost);
    mem_conn_feed(&from_conn, pattern + REPLAY_MAX, 1);
    assert_int_equal(run(), PUMP_WAIT);
    assert_true(r.lost);
    assert_null(r.p);
    assert_null(pump.replay);
    /* The upload goes on. */
    mem_conn_feed(&from_conn, pattern + REPLAY_MAX + 1, 5000);
    assert_int_equal(run(), PUMP_WAIT);
    assert_int_equal(to_conn.out_n, REPLAY_MAX + 5001);
    assert_memory_equal(to_conn.out, pattern, to_conn.out_n);
    replay_done(&r);
}

/* More arrives than is kept while the second upstream is still being given what was kept. */
static void test_replay_then_lost(void **state)
{
    struct replay r = {0};

    UNUSED(state);
    again(&r);
    mem_conn_feed(&from_conn, pattern, 60000);
    assert_int_equal(run(), PUMP_WAIT);
    again(&r);
    mem_conn_room(&to_conn, 5000);
    mem_conn_feed(&from_conn, pattern + 60000, 60000);
    assert_int_equal(run(), PUMP_WAIT);
    while (to_conn.out_n < 120000) {
        mem_conn_room(&to_conn, 3000);
        assert_int_equal(run(), PUMP_WAIT);
    }
    assert_memory_equal(to_conn.out, pattern, 120000);
    assert_true(r.lost);
    replay_done(&r);
}

static void test_replay_with_the_end(void **state)
{
    struct replay r = {0};

    UNUSED(state);
    again(&r);
    mem_conn_feed(&from_conn, pattern, 40000);
    mem_conn_fin(&from_conn);
    assert_int_equal(run(), PUMP_ENDED);
    again(&r);
    mem_conn_room(&to_conn, 100);
    assert_int_equal(run(), PUMP_WAIT);
    mem_conn_room(&to_conn, SIZE_MAX);
    assert_int_equal(run(), PUMP_ENDED);
    assert_int_equal(to_conn.out_n, 40000);
    assert_memory_equal(to_conn.out, pattern, 40000);
    assert_true(to_conn.fin_sent);
    replay_done(&r);
}

static void test_replay_without_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct replay r = {0};

        pump_start(&pump, &r);
        mem_conn_init(&from_conn, &net_loop);
        mem_conn_init(&to_conn, &net_loop);
        mem_conn_feed(&from_conn, pattern, 1000);
        assert_int_equal(run(), PUMP_WAIT);
        mem_conn_feed(&from_conn, pattern + 1000, 30000);
        assert_int_equal(run(), PUMP_WAIT);
        /* The upload is not the worse for it. */
        assert_int_equal(to_conn.out_n, 31000);
        assert_memory_equal(to_conn.out, pattern, 31000);
        assert_int_equal(r.lost, memfail_hit());
        replay_done(&r);
    }
}

/* A tail cannot be kept: bytes are lost, so the tunnel must be cut now, not when somebody else ends
 * it. */
static void test_tunnel_without_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        enum relay_result r;
        struct relay rel = {0};

        objcache_done(&net_loop.blocks);
        pump_start(&rel.up, NULL);
        pump_start(&rel.down, NULL);
        mem_conn_init(&from_conn, &net_loop);
        mem_conn_init(&to_conn, &net_loop);
        mem_conn_feed(&from_conn, pattern, 1000);
        mem_conn_room(&to_conn, 10);
        do
            r = relay_run(&rel, &net_loop, from, to);
        while (r == RELAY_MORE);
        if (memfail_hit())
            assert_int_equal(r, RELAY_UPSTREAM_BROKE);
        else
            assert_int_equal(r, RELAY_WAIT);
        relay_stop(&rel, &net_loop);
    }
}

#define TCP(f)   cmocka_unit_test_setup_teardown(f, setup, teardown)
#define SMALL(f) cmocka_unit_test_setup_teardown(f, setup_small, teardown)
#define MEM(f)   cmocka_unit_test_setup_teardown(f, setup_mem, teardown_mem)

/* ---- once more as an unprivileged user ---- */

static int run_bulk(void)
{
    const struct CMUnitTest tests[] = {
        TCP(test_switching),
        TCP(test_bulk_up),
        TCP(test_bulk_down),
        TCP(test_bulk_both_ways),
        TCP(test_sink_stalls_and_resumes),
        TCP(test_rst_behind_much),
        SMALL(test_stalls_again_and_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

static int run_bulk_without_pipes(void)
{
    static int fd[4096];
    unsigned n = 0;
    int two[2];

    while (n < ARRAY_LEN(fd) && pipe2(two, O_NONBLOCK | O_CLOEXEC) == 0) {
        fd[n++] = two[0];
        fd[n++] = two[1];
        if (fcntl(two[0], F_SETPIPE_SZ, 1 << 20) < 0 && fcntl(two[0], F_GETPIPE_SZ) < 32768)
            break;
    }
    may_splice = false;
    return run_bulk();
}

static int as_nobody(int (*tests)(void))
{
    pid_t child;
    int status;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        if (!net_become_nobody())
            _exit(99);
        status = tests();
        fflush(NULL);
        _exit(status);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEM(test_budget),
        MEM(test_second_end_behind_a_sink_that_does_not_read),
        MEM(test_a_large_local_reply),
        MEM(test_pump_waits_for_room),
        MEM(test_copying_to_a_slow_reader),
        MEM(test_pump_flushes_at_the_end),
        MEM(test_pump_breaks),
        MEM(test_replay),
        MEM(test_replay_is_lost),
        MEM(test_replay_then_lost),
        MEM(test_replay_with_the_end),
        MEM(test_replay_without_memory),
        TCP(test_small_messages),
        TCP(test_quiet),
        TCP(test_switching),
        TCP(test_bulk_up),
        TCP(test_bulk_down),
        TCP(test_bulk_both_ways),
        SMALL(test_bulk_through_small_sockets),
        TCP(test_fin_alone),
        TCP(test_client_half_closes),
        TCP(test_origin_half_closes),
        SMALL(test_fin_behind_a_stall),
        TCP(test_rst_alone),
        TCP(test_rst_of_the_origin),
        TCP(test_rst_behind_pending_bytes),
        TCP(test_rst_of_the_origin_behind_pending_bytes),
        TCP(test_rst_behind_much),
        TCP(test_rst_of_the_origin_behind_much),
        TCP(test_rst_in_the_middle),
        TCP(test_rst_after_a_fin),
        TCP(test_sink_breaks_with_bytes_to_read),
        TCP(test_sink_stalls_and_resumes),
        SMALL(test_stalls_again_and_again),
        SMALL(test_slow_reader_costs_a_tail),
        TCP(test_stop_gives_everything_back),
        TCP(test_little_stands_in_a_pipe),
        TCP(test_stalled_pipe_taken_back_and_resumed),
        TCP(test_stalled_pipe_taken_back_and_stopped),
        TCP(test_complete_upload_holds_no_pipe),
        TCP(test_complete_chunked_upload_holds_no_pipe),
        TCP(test_rst_of_the_client_met_by_splice),
        TCP(test_rst_of_the_origin_met_by_splice),
        TCP(test_rst_met_by_splice_into_the_sink),
        TCP(test_rst_beside_a_stall),
        TCP(test_rst_of_the_origin_beside_a_stall),
        MEM(test_tunnel_without_memory),
    };
    int r;

    signal(SIGPIPE, SIG_IGN); /* as app does: splice knows no MSG_NOSIGNAL */
    r = cmocka_run_group_tests(tests, NULL, NULL);

    r += as_nobody(run_bulk);
    return r + as_nobody(run_bulk_without_pipes);
}
