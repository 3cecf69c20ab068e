/* SPDX-License-Identifier: MIT */
/* The dump of a worker's sessions: every value where it belongs, nothing hostile in a log, one that does not answer is named. */
#include "app/dump.h"

#include "base/mem.h"
#include "io/conn.h"
#include "proxy/relay.h"

#include <errno.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "view_sample.h"

static struct report_session sessions[3];

static struct server_view dump_view(void)
{
    struct server_view v = sample_view();
    struct report_worker *r = &sample_reports()->v[0].r;

    memset(sessions, 0, sizeof(sessions));
    sessions[0] = (struct report_session){.state = REPORT_IDLE, .age_ms = 12345, .deadline_ms = 60000, .client = {.there = true, .ready = CONN_TX}};
    sessions[0].x.client = sample_xchgs[0].client;
    sessions[1] = (struct report_session){
        .state = REPORT_STEP + STEP_RELAY, .x = sample_xchgs[0], .age_ms = 1000, .deadline_ms = 56000, .deadline_reason = END_TUNNEL_TIMEOUT, .queued = true,
        .client = {.there = true, .ready = CONN_RX, .hup = true, .eof = true, .shut = true, .rx = STREAM_END, .tx = STREAM_BODY, .unread = 5, .unsent = 6},
        .upstream = {.there = true, .rx = STREAM_BODY, .tx = STREAM_BODY, .error = -ECONNRESET},
        .up = {.state = PUMP_DONE}, .down = {.state = PUMP_RUN, .full = true, .piped = 4096},
    };
    sessions[2] = (struct report_session){.state = REPORT_STEP + STEP_HEAD, .x = sample_xchgs[1], .deadline_ms = UINT64_MAX};
    r->s = sessions;
    r->n_s = r->cap_s = 3;
    r->looked = 3;
    r->states[REPORT_IDLE] = 1;
    r->states[REPORT_STEP + STEP_RELAY] = 4;
    r->small = 2;
    r->bulk = 1;
    r->timers = 9;
    return v;
}

static void expect(const char *text, const char *part)
{
    assert_non_null(text);
    if (text && !strstr(text, part))
        fail_msg("no \"%s\" in:\n%s", part, text);
}

static void test_values(void **state)
{
    struct server_view v = dump_view();
    size_t n;
    char *p = dump_text(&v, 0, &n);

    UNUSED(state);
    expect(p, "worker 0: running, turn 100, tasks run 200, queued 2 and bulk 1, timers 9, kept upstream 2, lookups 1\n");
    expect(p, "worker 0: 5 sessions, 3 shown of 3 looked at: 1 idle, 4 relay\n");
    expect(p, "  idle: 127.0.0.1:50001, age 12.3s, deadline 60.0s\n    client ready w\n");
    expect(p, "  relay exchange 7: 127.0.0.1:50001, CONNECT example.com port 443 at 192.0.2.1:443, 200, age 1.0s, deadline 56.0s (tunnel-timeout),"
              " up 1234, down 5600000, queued\n");
    expect(p, "    steps head auth policy resolve policy route dial send reply relay; client end/body ready r hup eof shut unread 5 unsent 6; "
              "origin body/body ready - error (");
    expect(p, "); up done; down run waits for room piped 4096\n");
    assert_int_equal(n, strlen(p));
    mem_free(p);
    sample_workers[0].turn_ms = 150;
    p = dump_text(&v, 0, &n);
    expect(p, "turn 100, running for ms 150, ");
    mem_free(p);
}

static void test_hostile(void **state)
{
    struct server_view v = dump_view();
    size_t n;
    char *p = dump_text(&v, 0, &n);

    UNUSED(state);
    expect(p, "  head exchange 281474976710657: 127.0.0.2:50002, G\\x1b[31mT a\\x0d\\x0ab\\xff\"\\x5c at -, age 0.0s, deadline none, up 0, down 0\n");
    expect(p, "steps head; client none; origin none; up off; down off\n");
    for (const char *c = p; *c; c++)
        assert_true(*c == '\n' || ((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f));
    mem_free(p);
}

static void test_silent(void **state)
{
    struct server_view v = dump_view();
    size_t n;
    char *p = dump_text(&v, 1, &n);

    UNUSED(state);
    assert_string_equal(p, "worker 1 does not answer\n");
    mem_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
