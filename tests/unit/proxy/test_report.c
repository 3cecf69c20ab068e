/* SPDX-License-Identifier: MIT */
/* What a worker says about itself: its numbers, and its exchanges with every value where it belongs (S004-3, U61's ids). */
#include "proxy/report.h"

#include "base/check.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SESSIONS = 5 };

static const struct proxy_conf conf = {.sizes = {.line = 8192, .head = 65536, .fields = 100}, .name = "report"};
static const struct policy policy;
static const struct resolve_conf resolve;
static struct snapshot snap;
static struct worker worker;
static struct session sessions[SESSIONS];
static struct xchg xchgs[SESSIONS];
static struct access_record records[SESSIONS];
static struct report_xchg room[SESSIONS];
static struct report_worker report;

static int setup(void **state)
{
    struct worker_opts o = {.id = 3, .world = &world_linux, .snap = &snap};

    UNUSED(state);
    snap = (struct snapshot){.generation = 9, .conf = &conf, .policy = &policy, .resolve = &resolve};
    assert_int_equal(worker_init(&worker, &o), 0);
    loop_turn(&worker.loop, 0);
    memset(sessions, 0, sizeof(sessions));
    memset(xchgs, 0, sizeof(xchgs));
    memset(room, 0xff, sizeof(room));
    report = (struct report_worker){.v = room, .cap = SESSIONS};
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    list_init(&worker.sessions);
    worker_done(&worker);
    assert_true(snapshot_unused(&snap));
    return 0;
}

static struct session *session_add(unsigned i)
{
    sessions[i].worker = &worker;
    list_init(&sessions[i].xchgs);
    list_push(&worker.sessions, &sessions[i].link);
    return &sessions[i];
}

static struct xchg *xchg_add(unsigned i)
{
    struct xchg *x = &xchgs[i];
    struct session *s = session_add(i);

    list_push(&s->xchgs, &x->link);
    s->n_xchgs++;
    x->worker = &worker;
    x->session = s;
    task_init(&x->task, &worker.loop, "test", NULL);
    timer_init(&x->timer, &x->task);
    x->rec = &records[i];
    *x->rec = (struct access_record){.end = END_NONE};
    x->rec->id = 100 + i;
    x->rec->start_us = worker.loop.now_us;
    return x;
}

static void test_quiet(void **state)
{
    UNUSED(state);
    report_fill(&worker, &report);
    assert_int_equal(report.id, 3);
    assert_int_equal(report.generation, 9);
    assert_int_equal(report.phase, WORKER_RUN);
    assert_int_equal(report.turns, worker.loop.turns);
    assert_int_equal(report.sessions + report.exchanges + report.tunnels + report.pooled + report.lookups, 0);
    assert_int_equal(report.n, 0);
    assert_ptr_equal(report.v, room);
    assert_int_equal(report.cap, SESSIONS);
}

static void test_exchange(void **state)
{
    struct xchg *x = xchg_add(0);
    const struct report_xchg *r = room;

    UNUSED(state);
    worker.loop.now_us = UINT64_C(100000500);
    worker.loop.now_ms = 100000;
    x->step = STEP_RELAY;
    x->tunnel = true;
    memcpy(x->trail, (uint8_t[10]){0, 0, 0, 0, STEP_POLICY, STEP_ROUTE, STEP_DIAL, STEP_SEND, STEP_REPLY, STEP_RELAY}, 10);
    x->rec->start_us = 40000000;
    x->rec->method = SLICE("CONNECT");
    x->rec->host = SLICE("example.com");
    x->rec->port = 443;
    x->rec->status = 200;
    x->rec->bytes_up = 1;
    x->rec->bytes_down = 2;
    x->relay.up.bytes = 10;
    x->relay.down.bytes = 20;
    x->relay.active_ms = 98000;
    addr_v4(&x->rec->client, (const uint8_t[4]){127, 0, 0, 1}, 1234);
    addr_v4(&x->rec->peer, (const uint8_t[4]){192, 0, 2, 1}, 443);
    timer_set_at(&x->timer, 130000);
    x->deadline_ms = 130000;
    report_fill(&worker, &report);
    assert_int_equal(report.n, 1);
    assert_int_equal(report.tunnels, 1);
    assert_int_equal(r->id, 100);
    assert_int_equal(r->age_ms, 60000);
    assert_int_equal(r->quiet_ms, 2000);
    assert_int_equal(r->bytes_up, 11);
    assert_int_equal(r->bytes_down, 22);
    assert_true(addr_eq(&r->client, &x->rec->client));
    assert_true(addr_eq(&r->peer, &x->rec->peer));
    assert_int_equal(r->port, 443);
    assert_int_equal(r->status, 200);
    assert_true(r->tunnel);
    assert_int_equal(r->step, STEP_RELAY);
    assert_memory_equal(r->trail, x->trail, 10);
    assert_int_equal(r->deadline_ms, 30000);
    assert_string_equal(r->method, "CONNECT");
    assert_string_equal(r->host, "example.com");
    timer_stop(&x->timer);
}

/* A tunnel's record lies folded; the client is the session's. */
static void test_folded(void **state)
{
    struct xchg *x = xchg_add(0);
    const struct report_xchg *r = room;

    UNUSED(state);
    x->tunnel = true;
    x->rec->method = SLICE("CONNECT");
    x->rec->host = SLICE("example.com");
    x->rec->port = 443;
    addr_v4(&x->rec->peer, (const uint8_t[4]){192, 0, 2, 1}, 443);
    addr_v4(&x->session->client, (const uint8_t[4]){127, 0, 0, 1}, 1234);
    x->folded = access_fold(x->rec);
    assert_non_null(x->folded);
    x->rec = NULL;
    report_fill(&worker, &report);
    assert_int_equal(r->id, 100);
    assert_string_equal(r->host, "example.com");
    assert_int_equal(r->port, 443);
    assert_true(addr_eq(&r->client, &x->session->client));
    assert_int_equal(addr_port(&r->peer), 443);
    access_folded_free(x->folded);
}

/* Before anything is known about it: nothing is taken from where nothing is. */
static void test_begun(void **state)
{
    struct xchg *x = xchg_add(0);
    const struct report_xchg *r = room;

    UNUSED(state);
    worker.loop.now_us = x->rec->start_us + 5000;
    worker.loop.now_ms = worker.loop.now_us / 1000;
    report_fill(&worker, &report);
    assert_int_equal(report.exchanges, 1);
    assert_int_equal(r->age_ms, 5);
    assert_int_equal(r->quiet_ms, 5);
    assert_int_equal(r->deadline_ms, UINT64_MAX);
    assert_int_equal(r->step, STEP_HEAD);
    assert_string_equal(r->method, "");
    assert_string_equal(r->host, "");
    assert_int_equal(r->peer.sa.sa_family, 0);
}

/* A deadline that has just passed, and a clock that a later turn has read: never a number around 2^64. */
static void test_late(void **state)
{
    struct xchg *x = xchg_add(0);

    UNUSED(state);
    timer_set_at(&x->timer, worker.loop.now_ms + 10);
    x->deadline_ms = worker.loop.now_ms - 5;
    x->rec->start_us = worker.loop.now_us + 7000;
    x->relay.active_ms = worker.loop.now_ms + 7;
    report_fill(&worker, &report);
    assert_int_equal(room[0].deadline_ms, 0);
    assert_int_equal(room[0].age_ms, 0);
    assert_int_equal(room[0].quiet_ms, 0);
    timer_stop(&x->timer);
}

static void test_cut(void **state)
{
    struct xchg *x = xchg_add(0);
    char name[300];

    UNUSED(state);
    memset(name, 'n', sizeof(name));
    x->rec->method = slice_of(name, REPORT_METHOD_MAX - 1);
    x->rec->host = slice_of(name, sizeof(name));
    report_fill(&worker, &report);
    assert_int_equal(strlen(room[0].method), REPORT_METHOD_MAX - 1);
    assert_int_equal(strlen(room[0].host), REPORT_HOST_MAX - 1);
}

/* All are counted, the oldest are told, and not one more than there is room for. */
static void test_many(void **state)
{
    UNUSED(state);
    xchg_add(0);
    session_add(1);
    xchg_add(2)->tunnel = true;
    xchg_add(3);
    xchg_add(4);
    report.cap = 2;
    report_fill(&worker, &report);
    assert_int_equal(report.sessions, 5);
    assert_int_equal(report.exchanges, 4);
    assert_int_equal(report.tunnels, 1);
    assert_int_equal(report.n, 2);
    assert_int_equal(room[0].id, 100);
    assert_int_equal(room[1].id, 102);
    assert_int_equal(room[2].id, UINT64_MAX);
    report.cap = 0;
    report.v = NULL;
    report_fill(&worker, &report);
    assert_int_equal(report.exchanges, 4);
    assert_int_equal(report.n, 0);
}

/* ---- sessions, for a dump ---- */

static struct report_session shown[REPORT_SESSIONS];

static struct session *crowd_add(unsigned n, enum session_state state, bool idle)
{
    struct session *s = calloc(n, sizeof(*s));

    assert_non_null(s);
    for (unsigned i = 0; i < n; i++) {
        s[i].worker = &worker;
        s[i].state = state;
        s[i].idle = idle;
        s[i].since_ms = i;
        list_init(&s[i].task.link);
        list_init(&s[i].xchgs);
        list_push(&worker.sessions, &s[i].link);
        atomic_fetch_add(&worker.load, 1);
    }
    return s;
}

static void ask_sessions(void)
{
    report.s = shown;
    report.cap_s = REPORT_SESSIONS;
    report_fill(&worker, &report);
}

static void test_sessions(void **state)
{
    struct session *s = crowd_add(1, SESSION_SERVE, true);
    struct xchg *x = xchg_add(1);
    struct pipe pipe = {.bytes = 8};

    UNUSED(state);
    worker.loop.now_ms = 5000;
    s->deadline_ms = 65000;
    addr_v4(&s->client, (const uint8_t[4]){127, 0, 0, 1}, 77);
    x->step = STEP_DIAL;
    x->deadline_reason = END_CONNECT_TIMEOUT;
    timer_set_at(&x->timer, 9000);
    x->deadline_ms = 9000;
    x->relay.up = (struct pump){.state = PUMP_RUN, .wants_tx = true, .pipe = &pipe};
    ask_sessions();
    assert_int_equal(report.n_s, 2);
    assert_int_equal(report.looked, 2);
    assert_int_equal(report.states[REPORT_IDLE], 1);
    assert_int_equal(report.states[REPORT_STEP + STEP_DIAL], 1);
    assert_int_equal(shown[0].state, REPORT_IDLE);
    assert_int_equal(shown[0].age_ms, 5000);
    assert_int_equal(shown[0].deadline_ms, 60000);
    assert_true(addr_eq(&shown[0].x.client, &s->client));
    assert_false(shown[0].client.there);
    assert_int_equal(shown[1].state, REPORT_STEP + STEP_DIAL);
    assert_int_equal(shown[1].x.id, 101);
    assert_int_equal(shown[1].deadline_ms, 4000);
    assert_int_equal(shown[1].deadline_reason, END_CONNECT_TIMEOUT);
    assert_int_equal(shown[1].up.state, PUMP_RUN);
    assert_true(shown[1].up.full);
    assert_int_equal(shown[1].up.piped, 8);
    assert_string_equal(report_state_name(shown[0].state), "idle");
    assert_string_equal(report_state_name(shown[1].state), "dial");
    timer_stop(&x->timer);
    free(s);
}

/* Each state has its share, the oldest first; who is alone in a state is shown however many others there are. */
static void test_share(void **state)
{
    struct session *greet = crowd_add(500, SESSION_GREET, false), *idle = crowd_add(90, SESSION_SERVE, true),
                   *linger = crowd_add(1, SESSION_LINGER, false);

    UNUSED(state);
    worker.loop.now_ms = 1000;
    ask_sessions();
    assert_int_equal(report.n_s, REPORT_SESSIONS);
    assert_int_equal(report.states[REPORT_GREET], 500);
    assert_int_equal(shown[0].state, REPORT_GREET);
    assert_int_equal(shown[0].age_ms, 1000);
    assert_int_equal(shown[108].state, REPORT_GREET);
    assert_int_equal(shown[108].age_ms, 1000 - 108);
    assert_int_equal(shown[109].state, REPORT_IDLE);
    assert_int_equal(shown[198].state, REPORT_IDLE);
    assert_int_equal(shown[199].state, REPORT_LINGER);
    free(greet);
    free(idle);
    free(linger);
}

/* The walk is bounded: the oldest and the youngest are looked at, and the counters tell how many there are. */
static void test_crowd(void **state)
{
    struct session *old = crowd_add(REPORT_FRONT, SESSION_GREET, false), *middle = crowd_add(1000, SESSION_SERVE, true),
                   *young = crowd_add(REPORT_BACK, SESSION_LINGER, false);

    UNUSED(state);
    ask_sessions();
    assert_int_equal(report.looked, REPORT_FRONT + REPORT_BACK);
    assert_int_equal(report.states[REPORT_GREET], REPORT_FRONT);
    assert_int_equal(report.states[REPORT_IDLE], 0);
    assert_int_equal(report.states[REPORT_LINGER], REPORT_BACK);
    assert_int_equal(report.sessions, REPORT_FRONT + 1000 + REPORT_BACK);
    assert_int_equal(report.n_s, REPORT_SESSIONS);
    /* Without a gap nobody is looked at twice. */
    for (unsigned i = 0; i < 1000; i++)
        list_del(&middle[i].link);
    list_del(&young[0].link);
    ask_sessions();
    assert_int_equal(report.looked, REPORT_FRONT + REPORT_BACK - 1);
    free(old);
    free(middle);
    free(young);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_quiet), TEST(test_exchange), TEST(test_folded), TEST(test_begun), TEST(test_late), TEST(test_cut), TEST(test_many),
        cmocka_unit_test_setup_teardown(test_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_share, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crowd, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
