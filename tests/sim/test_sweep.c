/* SPDX-License-Identifier: MIT */
/* The sweep: a wake-up that is lost on purpose is found at the second look, said, counted, and healed. That it is silent in every other kind of
 * waiting is checked at the end of every scenario of every simulation, where it looks in every turn (sim_end). */
#include "base/log.h"
#include "mux/mux.h"
#include "proxy/session.h"
#include "proxy/xchg.h"
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { KB = 1024, CROWD = 600 };

#define CONNECT "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n"
#define GET     "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
#define OK      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static char said[LOG_LINE_MAX];

static void keep_log(enum log_level level, const char *line, size_t n)
{
    n = min_size(n, sizeof(said) - 1);
    if (level != LOG_ERROR)
        return;
    memcpy(said, line, n);
    said[n] = '\0';
}

static void expect_said(struct sim *s, const char *part)
{
    if (!strstr(said, part))
        sim_fail(s, "\"%s\" was not said, but: %s", part, said);
}

/* The youngest. */
static struct session *session_of(struct sim *s)
{
    return LIST_ENTRY(s->worker.sessions.prev, struct session, link);
}

static struct xchg *xchg_of(struct sim *s)
{
    struct session *session = session_of(s);

    assert_int_equal(session->n_xchgs, 1);
    return LIST_ENTRY(session->xchgs.next, struct xchg, link);
}

/* From now on what happens on it wakes nobody. */
static void lose(struct sim *s, struct conn *c)
{
    s->n_lost++;
    c->task = NULL;
    said[0] = '\0';
    log_set_sink(keep_log);
}

/* As it is in life: a look at the end of a turn that comes anyway, once in ten seconds, and a timer for the second one. */
static void two_looks(struct sim *s)
{
    const uint64_t next_ms = LOOP_SWEEP_MS + LOOP_SWEEP_MS / 30 + 1;

    s->sweep_as_live = true;
    sim_advance(s, next_ms);
    SIM_EQUAL(s, s->worker.sweep.n, 1);
    SIM_EXPECT(s, timer_armed(&s->worker.sweep.timer));
    SIM_EQUAL(s, sim_count(s, COUNTER_LOST_WAKEUPS), 0);
    sim_advance(s, next_ms);
    SIM_EQUAL(s, sim_count(s, COUNTER_LOST_WAKEUPS), s->n_lost);
    s->sweep_as_live = false;
    sim_run(s);
}

static struct peer *tunnel(struct sim *s, struct peer **ret_up)
{
    struct origin *o = origin_listen(s, "192.0.2.1:443");
    struct peer *c = sim_client(s);

    peer_send(c, CONNECT);
    *ret_up = origin_accept(o);
    peer_expect_status(c, 200);
    /* The timers of its beginning have fired. */
    sim_advance(s, 25000);
    return c;
}

static void lost_bytes_of_the_client(struct sim *s)
{
    struct peer *up, *c = tunnel(s, &up);

    lose(s, stream_look(xchg_of(s)->client).conn);
    peer_send(c, "hello");
    two_looks(s);
    peer_expect_all(up, "hello");
    expect_said(s, "a wake-up was lost: exchange 1 from 127.0.0.1:40001, step relay (");
    expect_said(s, "dial send reply relay), missed bytes or an end of the client's; its connection would wake somebody else");
    peer_send(c, " again");
    peer_expect_all(up, " again");
    SIM_EQUAL(s, sim_count(s, COUNTER_LOST_WAKEUPS), 1);
}

static void lost_end_of_the_origin(struct sim *s)
{
    struct peer *up, *c = tunnel(s, &up);

    lose(s, stream_look(xchg_of(s)->upstream).conn);
    peer_fin(up);
    two_looks(s);
    peer_expect_end(c, PEER_FIN);
    expect_said(s, "missed bytes or an end of the origin's");
    peer_fin(c);
    peer_expect_end(up, PEER_FIN);
    sim_expect_ends(s, END_TUNNEL_DONE, 1);
}

static void lost_room(struct sim *s)
{
    struct peer *up, *c = tunnel(s, &up);

    peer_stop(c);
    peer_send_pattern(up, 400 * KB);
    sim_run(s);
    /* Full on both sides: that is waiting as it should be. */
    sim_advance(s, 30000);
    SIM_EQUAL(s, s->worker.sweep.found, 0);
    lose(s, stream_look(xchg_of(s)->client).conn);
    peer_read(c);
    two_looks(s);
    peer_expect_pattern(c, 400 * KB);
    expect_said(s, "missed room towards the client");
}

static void lost_answer_of_the_origin(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    sim_advance(s, 25000);
    lose(s, stream_look(xchg_of(s)->upstream).conn);
    peer_send(up, OK);
    two_looks(s);
    peer_expect_status(c, 200);
    expect_said(s, "step reply (");
}

static void lost_request_on_a_kept_connection(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, GET);
    up = origin_accept(o);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_expect(c, "ok");
    sim_advance(s, 25000);
    SIM_EXPECT(s, session_of(s)->idle);
    lose(s, session_of(s)->mux->conn);
    peer_send(c, "GET http://192.0.2.1/second HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n");
    /* The kept connection upstream was idle for too long to be used, or is used: either way it arrives. */
    two_looks(s);
    if (o->dials > 1)
        up = origin_accept(o);
    peer_expect(up, "GET /second");
    expect_said(s, "an idle connection from 127.0.0.1:40001 missed bytes or an end of the client's");
    peer_send(up, OK);
    peer_expect_status(c, 200);
}

static void lost_first_byte(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    sim_run(s);
    lose(s, session_of(s)->conn);
    peer_send(c, GET);
    two_looks(s);
    up = origin_accept(o);
    peer_expect(up, "GET / HTTP/1.1");
    expect_said(s, "a connection before its first byte");
}

/* Pipelined bytes wait for the answer before them; a slow origin and a client that has said FIN are no reason to wake anybody. */
static void waiting_that_is_right(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up, *c2, *up2;

    peer_send(c, GET GET);
    up = origin_accept(o);
    peer_expect(up, "\r\n\r\n");
    c2 = tunnel(s, &up2);
    peer_fin(c2);
    peer_expect_end(up2, PEER_FIN);
    for (int i = 0; i < 28; i++)
        sim_advance(s, 1000);
    SIM_EXPECT(s, sim_count(s, COUNTER_SWEEPS) > 0);
    SIM_EQUAL(s, s->worker.sweep.found, 0);
    peer_send(up, OK);
    peer_expect_status(c, 200);
    peer_send(up2, "late");
    peer_expect_all(c2, "late");
}

/* More sessions than one go: the cursor comes to the last, and survives that the one it stands at ends. */
static void a_crowd(struct sim *s)
{
    static struct peer *c[CROWD];
    struct origin *o = origin_listen(s, "192.0.2.1:80");

    for (unsigned i = 0; i < CROWD; i++)
        c[i] = sim_client(s);
    sim_some(s, 1);
    SIM_EXPECT(s, s->worker.sweep.next != NULL);
    for (unsigned i = SWEEP_BATCH - 8; i < SWEEP_BATCH + 8; i++)
        peer_fin(c[i]);
    sim_expect_sessions(s, CROWD - 16);
    lose(s, session_of(s)->conn);
    peer_send(c[CROWD - 1], GET);
    sim_some(s, 16); /* the cursor goes round */
    SIM_EQUAL(s, sim_count(s, COUNTER_LOST_WAKEUPS), 1);
    peer_expect(origin_accept(o), "GET / HTTP/1.1");
}

/* A suspect that ends before the second look is forgotten; so is one that has moved on. */
static void a_suspect_ends(struct sim *s)
{
    struct peer *up, *c = tunnel(s, &up);
    struct conn *conn = stream_look(xchg_of(s)->client).conn;
    struct task *t = conn->task;

    conn->task = NULL;
    peer_send(c, "x");
    while (!s->worker.sweep.n)
        sim_some(s, 1);
    conn->task = t;
    xchg_cut(xchg_of(s), END_INTERNAL, NULL);
    task_wake(&session_of(s)->task, TASK_GONE);
    sim_expect_sessions(s, 0);
    SIM_EQUAL(s, sim_count(s, COUNTER_LOST_WAKEUPS), 0);
    /* What this scenario did is no fault of the proxy's. */
    s->worker.sweep.found = 0;
    atomic_store(&s->worker.stats.ends[END_INTERNAL], 0);
    stats_end(&s->worker.stats, END_DRAINED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(waiting_that_is_right),
        SIM_TEST(lost_bytes_of_the_client),
        SIM_TEST(lost_end_of_the_origin),
        SIM_TEST_BULK(lost_room),
        SIM_TEST(lost_answer_of_the_origin),
        SIM_TEST(lost_request_on_a_kept_connection),
        SIM_TEST(lost_first_byte),
        SIM_TEST(a_crowd),
        SIM_TEST(a_suspect_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
