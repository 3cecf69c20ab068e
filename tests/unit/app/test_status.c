/* SPDX-License-Identifier: MIT */
/* The status page and its JSON: everything of the view is told, a stuck worker is named, nothing hostile reaches a terminal (S004-3's figures, U61's
 * ids). */
#include "app/status.h"

#include "base/mem.h"
#include "support/memfail.h"

#include <stdio.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "view_sample.h"

static char *made(const struct server_view *v, bool json)
{
    size_t n;
    char *p = json ? status_json(v, &n) : status_text(v, &n);

    assert_non_null(p);
    assert_int_equal(n, strlen(p));
    assert_int_equal(p[n - 1], '\n');
    return p;
}

static void expect(const char *text, const char *part)
{
    assert_non_null(text);
    if (text && !strstr(text, part))
        fail_msg("no \"%s\" in:\n%s", part, text);
}

static void test_text(void **state)
{
    struct server_view v = sample_view();
    char *p = made(&v, false);

    UNUSED(state);
    expect(p, "ginnel 1.2.3, process 4711, ready\n");
    expect(p, "running         5m00s, since 2023-11-14T22:13:20.250Z\n");
    expect(p, "configuration   /etc/ginnel/ginnel.yaml, generation 3 (1 older in use)\n");
    expect(p, "last reload     2023-11-14T22:16:40.000Z, ok\n");
    expect(p, "memory          12 MB resident\n");
    expect(p, "descriptors     42 of 1024\n");
    expect(p, "capacity        5 of 50000 connections, 3.0 MB of 1.0 GB memory\n");
    expect(p, "access log      11 written, 12 lost, 0 dropped; 1 output fails\n");
    expect(p, "127.0.0.1:3128            proxy    everyone\n");
    expect(p, "unix:/run/ginnel/control  control  -\n");
    expect(p, "     0         5          4        1      2        1           100           3  running\n");
    expect(p, "     1   does not answer\n");
    expect(p, "\n4 of 4 exchanges");
    expect(p, "  1h02m      4s      56s   1.2 kB   5.6 MB  relay      200  CONNECT example.com:443\n");
    expect(p, "        127.0.0.1:50001 > 192.0.2.1:443  id 7  head auth policy resolve policy route dial send reply relay\n");
    expect(p, "        127.0.0.2:50002 > -  id 281474976710657  head\n");
    mem_free(p);
}

static void test_text_hostile(void **state)
{
    struct server_view v = sample_view();
    char *p;

    UNUSED(state);
    v.reload.result = RELOAD_FAILED;
    v.reload.errors = "ginnel.yaml:1:2: bad \x1b]0;x\x07\n  | line\n";
    p = made(&v, false);
    expect(p, "G\\x1b[31mT a\\x0d\\x0ab\\xff\"\\x5c\n");
    expect(p, ", failed: the configuration before it is in use\n                ginnel.yaml:1:2: bad \\x1b]0;x\\x07\n                  | line\n");
    for (const char *c = p; *c; c++)
        assert_true(*c == '\n' || ((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f));
    mem_free(p);
}

/* Every line can be read on a terminal of 120 columns, also with the longest addresses; only a very long name needs more. */
static void test_text_width(void **state)
{
    static const uint8_t far[16] = {0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct server_view v = sample_view();
    struct report_xchg *x = &sample_xchgs[0];
    char *p, *save;

    UNUSED(state);
    addr_v6(&x->client, far, 65535);
    addr_v6(&x->peer, far, 65535);
    x->id = (UINT64_C(63) << 48) + 123456;
    x->bytes_up = x->bytes_down = UINT64_MAX;
    x->age_ms = x->quiet_ms = UINT64_C(999) * 86400 * 1000;
    memset(x->method, 'M', sizeof(x->method) - 1);
    memset(x->host, 'h', sizeof(x->host) - 1);
    p = made(&v, false);
    for (char *line = strtok_r(p, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (strlen(line) > 145 || (strlen(line) > 120 && !strstr(line, "hhhh")))
            fail_msg("%zu columns: %s", strlen(line), line);
    mem_free(p);
}

static void test_phases(void **state)
{
    struct server_view v = sample_view();
    char *p;

    UNUSED(state);
    v.phase = SERVER_DRAINING;
    v.drain_left_ms = 12000;
    v.file = NULL;
    v.reload.result = RELOAD_NONE;
    p = made(&v, false);
    expect(p, "draining, what is left is cut in 12s\n");
    expect(p, "the defaults, no file");
    expect(p, "none since the start\n");
    mem_free(p);
    v.drain_left_ms = UINT64_MAX;
    p = made(&v, false);
    expect(p, "draining, without limit\n");
    mem_free(p);
    p = made(&v, true);
    expect(p, "\"phase\":\"draining\",\"drain_left_ms\":null");
    expect(p, "\"file\":null");
    mem_free(p);
}

static void test_json(void **state)
{
    struct server_view v = sample_view();
    char *p;

    UNUSED(state);
    stats_add(&sample_stats[1], COUNTER_LOG_DROPPED, 9);
    p = made(&v, true);
    expect(p, "{\"version\":\"1.2.3\",\"pid\":4711,\"phase\":\"ready\",\"time\":\"2023-11-14T22:18:20.500Z\"");
    expect(p, "\"configuration\":{\"file\":\"/etc/ginnel/ginnel.yaml\",\"generation\":3,\"snapshots\":2}");
    expect(p, "\"last_reload\":{\"result\":\"ok\",\"time\":\"2023-11-14T22:16:40.000Z\"");
    expect(p, "\"memory\":{\"resident_bytes\":12345678},\"descriptors\":{\"open\":42,\"limit\":1024}");
    expect(p, "\"capacity\":{\"connections\":5,\"connections_limit\":50000,\"per_client_limit\":null,"
              "\"memory_bytes\":3000000,\"memory_limit_bytes\":1073741824}");
    expect(p, "\"log\":{\"written\":11,\"lost\":12,\"dropped\":9,\"outputs_failing\":1}");
    expect(p, "{\"address\":\"[::1]:8128\",\"name\":null,\"role\":\"admin\"}");
    expect(p, "{\"id\":0,\"answers\":true,\"phase\":\"running\",\"sessions\":5,\"exchanges\":4,\"tunnels\":1,\"kept\":2,\"lookups\":1");
    expect(p, "{\"id\":1,\"answers\":false,\"turn_ms\":0}");
    expect(p, "\"steps\":[\"head\",\"auth\",\"policy\",\"resolve\",\"policy\",\"route\",\"dial\",\"send\",\"reply\",\"relay\"]");
    expect(p, "\"method\":\"G\\u001b[31mT\",\"host\":\"a\\r\\nb\\u00ff\\\"\\\\\"");
    expect(p, "\"client\":\"127.0.0.2:50002\",\"peer\":null");
    expect(p, "\"deadline_ms\":null");
    mem_free(p);
}

/* A worker whose turn does not end: since when, and what it runs, whether it answers or not. */
static void test_stuck(void **state)
{
    struct server_view v = sample_view();
    char *p;

    UNUSED(state);
    sample_workers[0].turn_ms = 250;
    sample_workers[1].turn_ms = 12345;
    p = made(&v, false);
    expect(p, "  running, this turn 250ms\n");
    expect(p, "     1   does not answer; its turn has been running for 12s\n");
    mem_free(p);
    sample_workers[1].seen_known = true;
    sample_workers[1].seen = (struct stall_seen){.task = "exchange", .step = "relay", .id = 77};
    p = made(&v, false);
    expect(p, "     1   does not answer; its turn has been running for 12s; task exchange, step relay, exchange 77\n");
    mem_free(p);
    p = made(&v, true);
    expect(p, "\"generation\":3,\"turn_ms\":250}");
    expect(p, "{\"id\":1,\"answers\":false,\"turn_ms\":12345,\"runs\":{\"task\":\"exchange\",\"step\":\"relay\",\"exchange\":77}}");
    mem_free(p);
    sample_workers[1].seen = (struct stall_seen){0};
    p = made(&v, false);
    expect(p, "; task none\n");
    mem_free(p);
    p = made(&v, true);
    expect(p, "\"runs\":{\"task\":null,\"step\":null,\"exchange\":0}");
    mem_free(p);
}

/* Only as many exchanges as were asked for, over all workers. */
static void test_bound(void **state)
{
    struct server_view v = sample_view();
    char *p;

    UNUSED(state);
    sample_reports()->v[1].came = true;
    sample_reports()->v[1].r = sample_reports()->v[0].r;
    sample_reports()->v[1].r.id = 1;
    v.n_exchanges = 3;
    p = made(&v, true);
    expect(p, "\"worker\":0,");
    expect(p, "\"worker\":1,");
    assert_null(strstr(strstr(p, "\"worker\":1,") + 1, "\"worker\":1,"));
    mem_free(p);
    p = made(&v, false);
    expect(p, "\n3 of 8 exchanges");
    mem_free(p);
    v.n_exchanges = 0;
    p = made(&v, false);
    assert_null(strstr(p, "exchanges, on each"));
    mem_free(p);
    v.reports = NULL;
    p = made(&v, true);
    expect(p, "\"workers\":[],\"exchanges\":[]");
    mem_free(p);
}

/* What is larger than expected is written again into more memory. */
static void test_json_large(void **state)
{
    static char errors[200001];
    struct server_view v = sample_view();
    char *p;

    UNUSED(state);
    memset(errors, '\x01', sizeof(errors) - 1);
    v.reload.result = RELOAD_FAILED;
    v.reload.errors = errors;
    p = made(&v, true);
    assert_true(strlen(p) > 6 * (sizeof(errors) - 1));
    expect(p, "\\u0001\\u0001\"}");
    assert_int_equal(p[strlen(p) - 2], '}');
    mem_free(p);
}

static void test_memory(void **state)
{
    struct server_view v = sample_view();

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        size_t n;
        char *text = status_text(&v, &n), *json = status_json(&v, &n);

        assert_int_equal(!text || !json, memfail_hit());
        mem_free(text);
        mem_free(json);
    }
}

/* This process's own figures. */
static void test_process(void **state)
{
    struct view_process p;

    UNUSED(state);
    view_process(&p);
    assert_int_equal(p.pid, getpid());
    assert_in_range(p.resident_bytes, 100000, UINT64_C(1) << 44);
    assert_in_range(p.open_fds, 3, 1000);
    assert_true(p.max_fds >= p.open_fds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_text_hostile), cmocka_unit_test(test_text_width),
        cmocka_unit_test(test_phases), cmocka_unit_test(test_json),         cmocka_unit_test(test_stuck),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_json_large), cmocka_unit_test(test_memory),   cmocka_unit_test(test_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
