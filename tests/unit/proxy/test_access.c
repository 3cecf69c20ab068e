/* SPDX-License-Identifier: MIT */
/* The access log: the line of a record to the byte, and the thread that writes it. */
#include "proxy/access.h"

#include "base/check.h"
#include "base/err.h"
#include "support/memfail.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/net.h"

static char line[ACCESS_LINE_MAX];

static struct access_record record(void)
{
    struct access_record r = {
        .start_us = 1000000,
        .wall_ms = 1700000000123,
        .method = SLICE("GET"),
        .host = SLICE("example.org"),
        .path = SLICE("/a/b"),
        .bytes_up = 12,
        .bytes_down = 3456,
        .dns_us = 1499,
        .connect_us = 1500,
        .first_byte_us = 20000,
        .port = 8080,
        .status = 200,
        .version = 11,
        .end = END_DONE,
    };

    assert_int_equal(addr_parse(SLICE("192.0.2.1:5000"), &r.client), 0);
    assert_int_equal(addr_parse(SLICE("[2001:db8::9]:8080"), &r.peer), 0);
    assert_int_equal(addr_parse(SLICE("192.0.2.77:40000"), &r.local), 0);
    return r;
}

static void expect_line(const struct access_record *r, const char *want)
{
    size_t n = access_format(r, 1045678, line, sizeof(line));

    assert_int_equal(n, strlen(want));
    line[n] = '\0';
    assert_string_equal(line, want);
}

static void test_whole_record(void **state)
{
    struct access_record r = record();

    UNUSED(state);
    expect_line(&r,
                "{\"time\":\"2023-11-14T22:13:20.123Z\",\"client.address\":\"192.0.2.1\","
                "\"client.port\":5000,\"http.request.method\":\"GET\","
                "\"server.address\":\"example.org\",\"server.port\":8080,\"url.path\":\"/a/b\","
                "\"http.response.status_code\":200,\"network.protocol.version\":\"1.1\","
                "\"network.peer.address\":\"2001:db8::9\",\"network.peer.port\":8080,"
                "\"network.local.address\":\"192.0.2.77\",\"network.local.port\":40000,"
                "\"ginnel.bytes_up\":12,\"ginnel.bytes_down\":3456,\"ginnel.duration_ms\":46,"
                "\"ginnel.dns_ms\":1,\"ginnel.connect_ms\":2,\"ginnel.first_byte_ms\":20,"
                "\"ginnel.reused\":false,\"ginnel.end\":\"done\"}\n");
}

/* Nothing was read and nothing dialled. */
static void test_empty_record(void **state)
{
    struct access_record r = {.start_us = 1045678, .end = END_REQUEST_TIMEOUT,
                              .detail = "slow head"};

    UNUSED(state);
    assert_int_equal(addr_parse(SLICE("[::1]:9"), &r.client), 0);
    expect_line(&r, "{\"time\":\"1970-01-01T00:00:00.000Z\",\"client.address\":\"::1\","
                    "\"client.port\":9,\"ginnel.bytes_up\":0,\"ginnel.bytes_down\":0,"
                    "\"ginnel.duration_ms\":0,\"ginnel.reused\":false,"
                    "\"ginnel.end\":\"request-timeout\",\"ginnel.detail\":\"slow head\"}\n");
}

/* FAILURES 12, 14: a line is one line, whatever the client wrote. */
static void test_bytes_are_escaped(void **state)
{
    struct access_record r = record();

    UNUSED(state);
    r.method = slice_of("G\"E\\T", 5);
    r.host = slice_of("a\r\nb\0c", 6);
    r.path = slice_of("/\x1b[31m\x7f\xff\xc3\xa9\xed\xa0\x80", 13);
    assert_true(access_format(&r, 1045678, line, sizeof(line)) > 0);
    line[strcspn(line, "\n") + 1] = '\0';
    assert_non_null(strstr(line, "\"http.request.method\":\"G\\\"E\\\\T\""));
    assert_non_null(strstr(line, "\"server.address\":\"a\\r\\nb\\u0000c\""));
    assert_non_null(strstr(line, "\"url.path\":\"/\\u001b[31m\\u007f\\u00ff\xc3\xa9"
                                 "\\u00ed\\u00a0\\u0080\""));
    assert_int_equal(line[strlen(line) - 2], '}');
}

static void test_largest_values(void **state)
{
    struct access_record r = record();

    UNUSED(state);
    r.bytes_up = r.bytes_down = UINT64_MAX;
    r.dns_us = r.connect_us = r.first_byte_us = UINT32_MAX;
    r.port = UINT16_MAX;
    r.start_us = 0;
    assert_true(access_format(&r, UINT64_MAX / 2, line, sizeof(line)) > 0);
    assert_non_null(strstr(line, "\"ginnel.bytes_up\":18446744073709551615,"));
    assert_non_null(strstr(line, "\"ginnel.first_byte_ms\":4294967,"));
}

static void test_every_end(void **state)
{
    UNUSED(state);
    for (unsigned e = 0; e < END_COUNT; e++) {
        struct access_record r = record();
        char want[96];

        r.end = e;
        snprintf(want, sizeof(want), "\"ginnel.end\":\"%s\"}", end_info(e)->token);
        assert_true(access_format(&r, 1045678, line, sizeof(line)) > 0);
        assert_non_null(strstr(line, want));
    }
}

/* Whole lines or none, at every size; a path that needs too much escaping is cut. */
static void test_too_long(void **state)
{
    static char path[2 * ACCESS_LINE_MAX], small[ACCESS_LINE_MAX];
    struct access_record r = record();
    size_t whole = access_format(&r, 1045678, line, sizeof(line)), n;

    UNUSED(state);
    for (size_t cap = 1; cap < whole; cap++)
        assert_int_equal(access_format(&r, 1045678, small, cap), 0);
    assert_int_equal(access_format(&r, 1045678, small, whole), whole);
    memset(path, '/', sizeof(path));
    r.path = slice_of(path, ACCESS_PATH_MAX);
    assert_int_equal(access_format(&r, 1045678, line, sizeof(line)), whole + ACCESS_PATH_MAX - 4);
    memset(path, '\1', sizeof(path)); /* six bytes each */
    for (size_t i = 1; i <= sizeof(path); i *= 2) {
        r.path = slice_of(path, i);
        n = access_format(&r, 1045678, line, sizeof(line));
        assert_in_range(n, whole, sizeof(line));
        assert_int_equal(line[n - 1], '\n');
        assert_int_equal(line[n - 2], '}');
        assert_ptr_equal(memchr(line, '\n', n), line + n - 1);
    }
}

/* ---- the writer ---- */

static struct access_log *access_log;
static struct access_shard *shard;
static int fd;

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(fd >= 0);
    access_log = access_open(fd);
    assert_non_null(access_log);
    shard = access_shard_new(access_log, &net_loop);
    assert_non_null(shard);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    access_close(access_log);
    access_close(NULL);
    close(fd);
    net_end();
    return 0;
}

static off_t written(void)
{
    return lseek(fd, 0, SEEK_END);
}

static void wait_for(off_t n)
{
    for (int i = 0; written() < n; i++) {
        assert_true(i < NET_PATIENCE_MS);
        net_sleep_ms(1);
    }
    assert_int_equal(written(), n);
}

static void test_put(void **state)
{
    struct access_record r = record();
    size_t n = access_format(&r, 1045678, line, sizeof(line));
    static char got[ACCESS_LINE_MAX];

    UNUSED(state);
    assert_true(access_put(shard, &r, 1045678));
    net_turns(1);
    wait_for((off_t)n);
    assert_int_equal(pread(fd, got, sizeof(got), 0), n);
    assert_memory_equal(got, line, n);
}

/* It sleeps, and every turn that put something wakes it: no line is left lying. */
static void test_sleeps_and_wakes(void **state)
{
    struct access_record r = record();
    size_t n = access_format(&r, 1045678, line, sizeof(line));

    UNUSED(state);
    for (int i = 1; i <= 200; i++) {
        assert_true(access_put(shard, &r, 1045678));
        net_turns(1);
        if (i % 10 == 0)
            wait_for((off_t)(n * (size_t)i));
        if (i % 50 == 0)
            net_sleep_ms(5);
    }
}

static uint64_t cpu_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void test_a_quiet_writer_takes_no_time(void **state)
{
    struct access_record r = record();
    uint64_t before;

    UNUSED(state);
    assert_true(access_put(shard, &r, 1045678));
    net_turns(1);
    net_sleep_ms(30);
    before = cpu_us();
    net_sleep_ms(100);
    assert_true(cpu_us() - before < 50000);
}

static void test_say(void **state)
{
    UNUSED(state);
    assert_true(access_say(access_log, "hello\n", 6));
    wait_for(6);
    assert_true(access_say(access_log, "again\n", 6));
    wait_for(12);
}

static void test_what_is_left_is_written_at_the_end(void **state)
{
    struct access_record r = record();
    size_t n = access_format(&r, 1045678, line, sizeof(line));

    UNUSED(state);
    for (int i = 0; i < 100; i++)
        assert_true(access_put(shard, &r, 1045678));
    net_turns(1);
    access_close(access_log);
    access_log = NULL;
    assert_int_equal(written(), 100 * n);
}

static void test_many_shards(void **state)
{
    struct access_shard *s;
    int n = 1;

    UNUSED(state);
    while ((s = access_shard_new(access_log, &net_loop)))
        n++;
    assert_int_equal(n, 64);
}

/* The sink takes nothing: the ring fills, then records are refused; the caller never waits. */
static void test_full_ring(void **state)
{
    struct access_record r = record();
    size_t n = access_format(&r, 1045678, line, sizeof(line));
    struct access_log *stuck;
    struct access_shard *s;
    size_t puts = 0, at = 0;
    uint64_t t0;
    int two[2];

    UNUSED(state);
    assert_int_equal(pipe2(two, O_NONBLOCK | O_CLOEXEC), 0);
    stuck = access_open(two[1]);
    s = access_shard_new(stuck, &net_loop);
    t0 = net_real_ms();
    while (access_put(s, &r, 1045678)) {
        puts++;
        assert_true(puts < 2 * ACCESS_RING / n);
        if (puts % 64 == 0)
            net_turns(1);
    }
    assert_true(puts >= ACCESS_RING / n);
    assert_true(net_real_ms() - t0 < 3000);
    assert_false(access_put(s, &r, 1045678));
    net_turns(1);
    /* The reader comes back: there is room again, and the lines are whole. */
    for (int i = 0; !access_put(s, &r, 1045678); i++) {
        static char sink[65536];
        ssize_t got = read(two[0], sink, sizeof(sink));

        assert_true(i < 100000);
        assert_true(got > 0 || (got < 0 && errno == EAGAIN));
        for (ssize_t k = 0; k < got; k++)
            assert_int_equal(sink[k], line[at++ % n]);
        if (got < 0)
            net_sleep_ms(1);
    }
    close(two[0]);
    net_turns(1);
    access_close(stuck);
    close(two[1]);
}

static void test_every_allocation_fails(void **state)
{
    int before;

    UNUSED(state);
    before = net_fds();
    for (memfail_start(); memfail_next();) {
        struct access_log *a = access_open(fd);
        struct access_shard *s = a ? access_shard_new(a, &net_loop) : NULL;

        assert_true(memfail_hit() == !s);
        access_close(a);
        assert_int_equal(net_fds(), before);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_record),
        cmocka_unit_test(test_empty_record),
        cmocka_unit_test(test_bytes_are_escaped),
        cmocka_unit_test(test_largest_values),
        cmocka_unit_test(test_every_end),
        cmocka_unit_test(test_too_long),
        TEST(test_put),
        TEST(test_sleeps_and_wakes),
        TEST(test_a_quiet_writer_takes_no_time),
        TEST(test_say),
        TEST(test_what_is_left_is_written_at_the_end),
        TEST(test_many_shards),
        TEST(test_full_ring),
        TEST(test_every_allocation_fails),
    };

    signal(SIGPIPE, SIG_IGN); /* as app does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
