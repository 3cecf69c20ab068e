/* SPDX-License-Identifier: MIT */
/* The metrics as text: each family once, described and typed; the values are the view's; nothing is missing before anything has happened (U63). That
 * the format's own parsers take it is tests/e2e/test_metrics.py's. */
#include "app/metrics.h"

#include "base/mem.h"
#include "support/memfail.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "view_sample.h"

static char *made(const struct server_view *v)
{
    size_t n;
    char *p = metrics_text(v, &n);

    assert_non_null(p);
    assert_int_equal(n, strlen(p));
    return p;
}

/* The text has this line, once. */
static void expect_line(const char *text, const char *line)
{
    char whole[256];
    const char *at;

    snprintf(whole, sizeof(whole), "\n%s\n", line);
    at = strstr(text, whole);
    if (!at)
        fail_msg("no line \"%s\" in:\n%s", line, text);
    assert_null(strstr(at + 1, whole));
}

static uint64_t value_of(const char *text, const char *series)
{
    char begin[256];
    const char *at;

    snprintf(begin, sizeof(begin), "\n%s ", series);
    at = strstr(text, begin);
    if (!at)
        fail_msg("no series %s", series);
    return strtoull(at + strlen(begin), NULL, 10);
}

static void test_nothing_happened(void **state)
{
    struct server_view v = sample_view();
    char *p = made(&v), line[128];

    UNUSED(state);
    for (unsigned r = END_NONE + 1; r < END_COUNT; r++) {
        snprintf(line, sizeof(line), "ginnel_exchanges_ended_total{reason=\"%s\"} 0", end_info((enum end_reason)r)->token);
        expect_line(p, line);
    }
    assert_null(strstr(p, "reason=\"running\""));
    expect_line(p, "ginnel_sessions 0");
    expect_line(p, "ginnel_sessions_accepted_total 0");
    expect_line(p, "ginnel_up_bytes_total 0");
    expect_line(p, "ginnel_request_duration_seconds_bucket{le=\"0.005\"} 0");
    expect_line(p, "ginnel_request_duration_seconds_bucket{le=\"+Inf\"} 0");
    expect_line(p, "ginnel_request_duration_seconds_sum 0");
    mem_free(p);
}

static void test_values(void **state)
{
    struct server_view v = sample_view();
    char *p;

    UNUSED(state);
    stats_add(&sample_stats[0], COUNTER_SESSIONS, 10);
    stats_add(&sample_stats[1], COUNTER_SESSIONS, 5);
    stats_add(&sample_stats[0], COUNTER_SESSIONS_ENDED, 7);
    stats_add(&sample_stats[1], COUNTER_TUNNELS, 2);
    stats_add(&sample_stats[1], COUNTER_TUNNELS_ENDED, 1);
    stats_add(&sample_stats[1], COUNTER_BYTES_DOWN, UINT64_C(1) << 53);
    stats_end(&sample_stats[0], END_DENIED);
    stats_end(&sample_stats[1], END_DENIED);
    p = made(&v);
    expect_line(p, "ginnel_sessions_accepted_total 15");
    expect_line(p, "ginnel_sessions_ended_total 7");
    expect_line(p, "ginnel_sessions 8");
    expect_line(p, "ginnel_tunnels 1");
    expect_line(p, "ginnel_worker_sessions{worker=\"0\"} 3");
    expect_line(p, "ginnel_worker_sessions{worker=\"1\"} 5");
    expect_line(p, "ginnel_worker_loop_turns_total{worker=\"1\"} 101");
    expect_line(p, "ginnel_down_bytes_total 9007199254740992");
    expect_line(p, "ginnel_exchanges_ended_total{reason=\"denied\"} 2");
    expect_line(p, "ginnel_log_records_written_total 11");
    expect_line(p, "ginnel_log_records_lost_total 12");
    expect_line(p, "ginnel_log_outputs_failing 1");
    expect_line(p, "ginnel_config_generation 3");
    expect_line(p, "ginnel_snapshots 2");
    expect_line(p, "ginnel_config_reloads_total{result=\"ok\"} 2");
    expect_line(p, "ginnel_config_reloads_total{result=\"unchanged\"} 1");
    expect_line(p, "ginnel_config_reloads_total{result=\"failed\"} 4");
    expect_line(p, "ginnel_config_last_reload_successful 1");
    expect_line(p, "ginnel_config_last_reload_success_timestamp_seconds 1700000100.125");
    expect_line(p, "ginnel_start_time_seconds 1700000000.25");
    expect_line(p, "ginnel_process_resident_memory_bytes 12345678");
    expect_line(p, "ginnel_open_fds 42");
    expect_line(p, "ginnel_max_fds 1024");
    expect_line(p, "ginnel_capacity_connections 5");
    expect_line(p, "ginnel_capacity_connections_limit 50000");
    expect_line(p, "ginnel_capacity_memory_bytes 3000000");
    expect_line(p, "ginnel_capacity_memory_limit_bytes 1073741824");
    expect_line(p, "ginnel_build_info{version=\"1.2.3\"} 1");
    expect_line(p, "ginnel_draining 0");
    mem_free(p);
}

static void test_states(void **state)
{
    struct server_view v = sample_view();
    char *p;

    UNUSED(state);
    v.phase = SERVER_DRAINING;
    v.reload.result = RELOAD_FAILED;
    v.process.open_fds = 0;
    p = made(&v);
    expect_line(p, "ginnel_draining 1");
    expect_line(p, "ginnel_config_last_reload_successful 0");
    assert_null(strstr(p, "ginnel_open_fds"));
    mem_free(p);
}

static void test_histogram(void **state)
{
    struct server_view v = sample_view();
    char *p;

    UNUSED(state);
    stats_time(&sample_stats[0], STATS_REQUEST, 0);
    stats_time(&sample_stats[0], STATS_REQUEST, 5000); /* a bound belongs to its bucket */
    stats_time(&sample_stats[1], STATS_REQUEST, 5001);
    stats_time(&sample_stats[1], STATS_REQUEST, 60000000);
    stats_time(&sample_stats[1], STATS_REQUEST, 60000001);
    stats_time(&sample_stats[1], STATS_FIRST_BYTE, 1500000);
    p = made(&v);
    expect_line(p, "ginnel_request_duration_seconds_bucket{le=\"0.005\"} 2");
    expect_line(p, "ginnel_request_duration_seconds_bucket{le=\"0.01\"} 3");
    expect_line(p, "ginnel_request_duration_seconds_bucket{le=\"30\"} 3");
    expect_line(p, "ginnel_request_duration_seconds_bucket{le=\"60\"} 4");
    expect_line(p, "ginnel_request_duration_seconds_bucket{le=\"+Inf\"} 5");
    expect_line(p, "ginnel_request_duration_seconds_sum 120.010002");
    expect_line(p, "ginnel_request_duration_seconds_count 5");
    expect_line(p, "ginnel_first_byte_duration_seconds_bucket{le=\"1\"} 0");
    expect_line(p, "ginnel_first_byte_duration_seconds_bucket{le=\"2.5\"} 1");
    expect_line(p, "ginnel_first_byte_duration_seconds_sum 1.5");
    mem_free(p);
}

/* Every family has HELP and TYPE in front, once; every line belongs to the family before it; names are what Prometheus recommends. */
static void test_format(void **state)
{
    struct server_view v = sample_view();
    char *p = made(&v), *save, family[128] = "", seen[16384] = "\n";

    UNUSED(state);
    for (char *line = strtok_r(p, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[128], type[16], mark[132];

        if (sscanf(line, "# HELP %127s", name) == 1) {
            snprintf(mark, sizeof(mark), "\n%s\n", name);
            assert_null(strstr(seen, mark));
            assert_true(strlen(seen) + strlen(mark) < sizeof(seen));
            strcat(seen, mark + 1);
            memcpy(family, name, sizeof(family));
            continue;
        }
        if (sscanf(line, "# TYPE %127s %15s", name, type) == 2) {
            assert_string_equal(name, family);
            assert_int_equal(strcmp(type, "counter") == 0, strcmp(name + strlen(name) - 6, "_total") == 0);
            continue;
        }
        assert_int_equal(strncmp(line, "ginnel_", 7), 0);
        assert_int_equal(strncmp(line, family, strlen(family)), 0);
        assert_non_null(strchr(line, ' '));
    }
    mem_free(p);
}

/* OpenMetrics takes _total off a counter's name: it must not be another family's then. */
static void test_names_differ(void **state)
{
    struct server_view v = sample_view();
    char *p = made(&v);

    UNUSED(state);
    for (const char *at = strstr(p, "# TYPE "); at; at = strstr(at + 1, "# TYPE ")) {
        char name[128], other[160];
        size_t n;

        assert_int_equal(sscanf(at, "# TYPE %127s", name), 1);
        n = strlen(name);
        if (n < 6 || strcmp(name + n - 6, "_total") != 0)
            continue;
        snprintf(other, sizeof(other), "# TYPE %.*s ", (int)(n - 6), name);
        assert_null(strstr(p, other));
    }
    mem_free(p);
}

static _Atomic bool stop;

static void *count_on(void *arg)
{
    struct stats *s = arg;

    while (!atomic_load(&stop)) {
        stats_add(s, COUNTER_SESSIONS, 1);
        stats_add(s, COUNTER_SESSIONS_ENDED, 1);
        stats_end(s, END_DONE);
        stats_time(s, STATS_REQUEST, 70000);
    }
    return NULL;
}

/* Read beside running workers, one after the other: no counter goes back, no gauge is less than nothing, count and buckets agree. */
static void test_never_back(void **state)
{
    static const char *const series[] = {"ginnel_sessions_accepted_total", "ginnel_exchanges_ended_total{reason=\"done\"}",
                                         "ginnel_request_duration_seconds_bucket{le=\"0.1\"}", "ginnel_request_duration_seconds_count"};
    struct server_view v = sample_view();
    uint64_t before[ARRAY_LEN(series)] = {0};
    pthread_t t[SAMPLE_WORKERS];

    UNUSED(state);
    atomic_store(&stop, false);
    for (unsigned i = 0; i < SAMPLE_WORKERS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, count_on, &sample_stats[i]), 0);
    for (unsigned round = 0; round < 200; round++) {
        char *p = made(&v);

        for (unsigned i = 0; i < ARRAY_LEN(series); i++) {
            uint64_t now = value_of(p, series[i]);

            assert_true(now >= before[i]);
            before[i] = now;
        }
        assert_true(value_of(p, "ginnel_sessions") < 1000000);
        assert_int_equal(value_of(p, "ginnel_request_duration_seconds_bucket{le=\"+Inf\"}"), before[3]);
        mem_free(p);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < SAMPLE_WORKERS; i++)
        pthread_join(t[i], NULL);
    assert_true(before[0] > 0);
}

/* What strangers choose makes no series: nothing of the exchanges is in them. */
static void test_no_strangers(void **state)
{
    struct server_view v = sample_view();
    char *p = made(&v);

    UNUSED(state);
    assert_null(strstr(p, "example.com"));
    assert_null(strstr(p, "127.0.0.1"));
    assert_null(strstr(p, "everyone"));
    mem_free(p);
}

static void test_memory(void **state)
{
    struct server_view v = sample_view();

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        size_t n;
        char *p = metrics_text(&v, &n);

        assert_int_equal(p == NULL, memfail_hit());
        mem_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_happened), cmocka_unit_test(test_values),     cmocka_unit_test(test_states),
        cmocka_unit_test(test_histogram),        cmocka_unit_test(test_format),     cmocka_unit_test(test_names_differ),
        cmocka_unit_test(test_never_back),       cmocka_unit_test(test_no_strangers), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
