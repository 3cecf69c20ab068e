/* SPDX-License-Identifier: MIT */
/* The lines of the logs to the byte, in each layout, and what hostile bytes become in them. */
#include "proxy/access_format.h"

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/access_record.h"

static char line[ACCESS_LINE_MAX];
static const enum access_layout layouts[] = {ACCESS_JSON, ACCESS_SQUID, ACCESS_COMMON,
                                             ACCESS_COMBINED};

static size_t make(enum access_layout layout, const struct access_record *r)
{
    /* No more than it was given: the sanitizer watches this one. */
    char *exact = malloc(ACCESS_LINE_MAX);
    size_t n = access_format(layout, r, RECORD_NOW_US, exact, ACCESS_LINE_MAX);

    assert_in_range(n, 1, ACCESS_LINE_MAX - 1);
    memcpy(line, exact, n);
    line[n] = '\0';
    free(exact);
    return n;
}

static void expect(enum access_layout layout, const struct access_record *r, const char *want)
{
    make(layout, r);
    assert_string_equal(line, want);
}

static void expect_part(enum access_layout layout, const struct access_record *r, const char *part)
{
    make(layout, r);
    if (!strstr(line, part))
        fail_msg("no %s in %s", part, line);
}

static void expect_no_part(enum access_layout layout, const struct access_record *r,
                           const char *part)
{
    make(layout, r);
    if (strstr(line, part))
        fail_msg("%s in %s", part, line);
}

/* ---- json ---- */

/* S000-9, S001-12, S004-3: the request, its target and both addresses of the way there. */
static void test_json_whole(void **state)
{
    struct access_record r = record_get();

    UNUSED(state);
    r.agent = SLICE("curl/7.88.1");
    r.referer = SLICE("http://example.org/");
    r.type = SLICE("text/html");
    r.rule = SLICE("ci-egress");
    r.detail = SLICE("words of ours");
    expect(ACCESS_JSON, &r,
           "{\"time\":\"2023-11-14T22:13:20.123Z\",\"ginnel.id\":\"000000001234abcd\",\"ginnel."
           "listener\":\"main\","
           "\"client.address\":\"192.0.2.1\",\"client.port\":5000,\"http.request.method\":\"GET\","
           "\"url.scheme\":\"http\",\"server.address\":\"example.org\",\"server.port\":8080,\"url."
           "path\":\"/a/b\","
           "\"http.response.status_code\":200,\"network.protocol.version\":\"1.1\","
           "\"user_agent.original\":\"curl/7.88.1\","
           "\"network.peer.address\":\"2001:db8::9\",\"network.peer.port\":8080,"
           "\"network.local.address\":\"192.0.2.77\",\"network.local.port\":40000,"
           "\"ginnel.bytes_up\":12,\"ginnel.bytes_down\":3456,\"ginnel.duration_ms\":46,"
           "\"ginnel.dns_ms\":1,\"ginnel.connect_ms\":2,\"ginnel.first_byte_ms\":20,"
           "\"ginnel.reused\":false,\"ginnel.rule\":\"ci-egress\",\"ginnel.end\":\"done\","
           "\"ginnel.detail\":\"words of ours\"}\n");
}

/* U39, U52: who asked, which name the tunnel began with, and what would have been refused; nothing of it where there is nothing. */
static void test_json_policy(void **state)
{
    struct access_record r = record_get();

    UNUSED(state);
    expect_no_part(ACCESS_JSON, &r, "user.name");
    expect_no_part(ACCESS_JSON, &r, "ginnel.groups");
    expect_no_part(ACCESS_JSON, &r, "ginnel.labels");
    expect_no_part(ACCESS_JSON, &r, "tls.client.server_name");
    expect_no_part(ACCESS_JSON, &r, "would");
    r.user = SLICE("jane \"q\"");
    r.groups = SLICE("qa,ops");
    r.labels = SLICE("red");
    r.granted = SLICE("red");
    r.sni = SLICE("example.org");
    r.would = SLICE("rules.yaml:7");
    expect_part(ACCESS_JSON, &r,
                "\"user.name\":\"jane \\\"q\\\"\",\"ginnel.groups\":\"qa,ops\",\"ginnel.labels\":\"red\","
                "\"tls.client.server_name\":\"example.org\",");
    expect_part(ACCESS_JSON, &r, "\"ginnel.would\":\"rules.yaml:7\",\"ginnel.end\":\"done\"");
    expect_no_part(ACCESS_JSON, &r, "would_deny");
    r.would_deny = true;
    expect_part(ACCESS_JSON, &r, "\"ginnel.would_deny\":true,");
}

/* Nothing was read and nothing dialled. */
static void test_json_empty(void **state)
{
    struct access_record r = {
        .start_us = RECORD_NOW_US, .end = END_REQUEST_TIMEOUT, .detail = SLICE("slow head")};

    UNUSED(state);
    assert_int_equal(addr_parse(SLICE("[::1]:9"), &r.client), 0);
    expect(
        ACCESS_JSON, &r,
        "{\"time\":\"1970-01-01T00:00:00.000Z\",\"ginnel.id\":\"0000000000000000\",\"client."
        "address\":\"::1\","
        "\"client.port\":9,\"ginnel.bytes_up\":0,\"ginnel.bytes_down\":0,\"ginnel.duration_ms\":0,"
        "\"ginnel.reused\":false,\"ginnel.end\":\"request-timeout\",\"ginnel.detail\":\"slow "
        "head\"}\n");
}

/* U61: a long tunnel is said when it opens, while it lives and when it ends, under one id. S002-11,
 * S003-3, S004-5: both addresses of both sides' way, bytes in each direction and the duration. */
static void test_json_tunnel(void **state)
{
    struct access_record r = record_tunnel();

    UNUSED(state);
    expect(
        ACCESS_JSON, &r,
        "{\"time\":\"2023-11-14T22:13:20.123Z\",\"ginnel.id\":\"000000001234abcd\",\"ginnel."
        "listener\":\"main\","
        "\"client.address\":\"192.0.2.1\",\"client.port\":5000,\"http.request.method\":\"CONNECT\","
        "\"server.address\":\"example.org\",\"server.port\":443,"
        "\"http.response.status_code\":200,\"network.protocol.version\":\"1.1\","
        "\"network.peer.address\":\"2001:db8::9\",\"network.peer.port\":8080,"
        "\"network.local.address\":\"192.0.2.77\",\"network.local.port\":40000,"
        "\"ginnel.bytes_up\":12,\"ginnel.bytes_down\":3456,\"ginnel.duration_ms\":46,"
        "\"ginnel.dns_ms\":1,\"ginnel.connect_ms\":2,\"ginnel.first_byte_ms\":20,"
        "\"ginnel.reused\":false,\"ginnel.tunnel\":true,\"ginnel.end\":\"tunnel-done\"}\n");
    r.end = END_NONE;
    r.event = ACCESS_BEGIN;
    expect_part(ACCESS_JSON, &r, "\"ginnel.id\":\"000000001234abcd\",\"ginnel.event\":\"begin\",");
    expect_no_part(ACCESS_JSON, &r, "ginnel.end");
    r.event = ACCESS_STILL;
    expect_part(ACCESS_JSON, &r, "\"ginnel.id\":\"000000001234abcd\",\"ginnel.event\":\"still\",");
    expect_no_part(ACCESS_JSON, &r, "ginnel.end");
}

static void test_json_details(void **state)
{
    struct access_record r = record_get();

    UNUSED(state);
    r.id = UINT64_MAX - 15;
    expect_part(ACCESS_JSON, &r, "\"ginnel.id\":\"fffffffffffffff0\"");
    r.version = 10;
    expect_part(ACCESS_JSON, &r, "\"network.protocol.version\":\"1.0\"");
    r.scheme = MATCH_HTTPS;
    expect_part(ACCESS_JSON, &r, "\"url.scheme\":\"https\"");
    r.scheme = 0;
    expect_no_part(ACCESS_JSON, &r, "url.scheme");
    r.reused = true;
    expect_part(ACCESS_JSON, &r, "\"ginnel.reused\":true");
    r.client = (struct addr){.sa.sa_family = AF_UNIX};
    expect_part(ACCESS_JSON, &r, "\"client.address\":\"unix\"");
    expect_no_part(ACCESS_JSON, &r, "client.port");
    r.bytes_up = r.bytes_down = UINT64_MAX;
    r.dns_us = r.connect_us = r.first_byte_us = UINT32_MAX;
    r.port = UINT16_MAX;
    expect_part(ACCESS_JSON, &r, "\"ginnel.bytes_up\":18446744073709551615,");
    expect_part(ACCESS_JSON, &r, "\"ginnel.first_byte_ms\":4294967,");
    r.start_us = UINT64_MAX; /* a clock that went back is no duration */
    expect_part(ACCESS_JSON, &r, "\"ginnel.duration_ms\":0,");
}

static void test_json_every_end(void **state)
{
    UNUSED(state);
    for (unsigned e = 0; e < END_COUNT; e++) {
        struct access_record r = record_get();
        char want[96];

        r.end = e;
        snprintf(want, sizeof(want), "\"ginnel.end\":\"%s\"}", end_info(e)->token);
        expect_part(ACCESS_JSON, &r, want);
    }
}

/* Every octet of an address, and every second of a minute, by hand and by the library. */
static void test_json_addresses_and_times(void **state)
{
    struct access_record r = record_get();

    UNUSED(state);
    for (unsigned i = 0; i < 256; i++) {
        const uint8_t v4[4] = {(uint8_t)i, (uint8_t)(255 - i), (uint8_t)(i * 7), (uint8_t)(i / 2)};
        char text[ADDR_TEXT_MAX], want[96];
        time_t second = 1700000000 + i;
        struct tm tm;

        addr_v4(&r.client, v4, 1);
        addr_host_text(&r.client, text);
        snprintf(want, sizeof(want), "\"client.address\":\"%s\",", text);
        expect_part(ACCESS_JSON, &r, want);
        r.wall_ms = (uint64_t)second * 1000 + 999 - i;
        gmtime_r(&second, &tm);
        snprintf(want, sizeof(want), "T%02d:%02d:%02d.%03uZ\"", tm.tm_hour, tm.tm_min, tm.tm_sec,
                 999 - i);
        expect_part(ACCESS_JSON, &r, want);
    }
}

/* IPv6 in all its shortenings: as the library writes it (RFC 5952). */
static void test_json_ipv6(void **state)
{
    struct access_record r = record_get();
    unsigned seed = 7;

    UNUSED(state);
    for (unsigned round = 0; round < 20000; round++) {
        char text[ADDR_TEXT_MAX], want[96];
        uint8_t v6[16];

        for (unsigned i = 0; i < 16; i++)
            v6[i] = (uint8_t)(rand_r(&seed) % 3 ? 0 : rand_r(&seed) >> (rand_r(&seed) % 8));
        if (round % 2)
            v6[0] = 0x20;
        addr_v6(&r.peer, v6, 1);
        addr_host_text(&r.peer, text);
        snprintf(want, sizeof(want), "\"network.peer.address\":\"%s\",", text);
        expect_part(ACCESS_JSON, &r, want);
    }
}

/* ---- squid ---- */

static void test_squid_lines(void **state)
{
    struct access_record r = record_get();

    UNUSED(state);
    r.type = SLICE("text/html; charset=utf-8");
    expect(ACCESS_SQUID, &r,
           "1700000000.169     46 192.0.2.1 TCP_MISS/200 3656 GET http://example.org:8080/a/b - "
           "HIER_DIRECT/2001:db8::9 text/html\n");
    r.port = 80;
    r.start_us = 0; /* 1045.678 ms */
    r.type = SLICE_NONE;
    expect(ACCESS_SQUID, &r,
           "1700000001.169   1046 192.0.2.1 TCP_MISS/200 3656 GET http://example.org/a/b - "
           "HIER_DIRECT/2001:db8::9 -\n");
    r = record_tunnel();
    expect(ACCESS_SQUID, &r,
           "1700000000.169     46 192.0.2.1 TCP_TUNNEL/200 3656 CONNECT example.org:443 - "
           "HIER_DIRECT/2001:db8::9 -\n");
    r.user = SLICE("jane doe");
    expect_part(ACCESS_SQUID, &r, " CONNECT example.org:443 jane%20doe HIER_DIRECT/");
    r.user = SLICE_NONE;
    r.host = SLICE("2001:db8::5");
    expect_part(ACCESS_SQUID, &r, " CONNECT [2001:db8::5]:443 ");
    r.host = SLICE("[2001:db8::5]");
    expect_part(ACCESS_SQUID, &r, " CONNECT [2001:db8::5]:443 ");
    r = record_get();
    r.port = 443;
    r.scheme = MATCH_HTTPS;
    expect_part(ACCESS_SQUID, &r, " GET https://example.org/a/b ");
    r.wall_ms = 5;
    r.start_us = RECORD_NOW_US;
    expect_part(ACCESS_SQUID, &r, "        0.005      0 ");
    r.client = (struct addr){.sa.sa_family = AF_UNIX};
    expect_part(ACCESS_SQUID, &r, " unix ");
}

/* What ends before there is a request. */
static void test_squid_without_request(void **state)
{
    static const struct {
        enum end_reason end;
        uint16_t status;
        const char *want;
    } cases[] = {
        {END_BAD_REQUEST, 400, " NONE_NONE/400 150 - error:invalid-request - HIER_NONE/- -\n"},
        {END_BAD_VERSION, 505, " NONE_NONE/505 150 - error:invalid-request - HIER_NONE/- -\n"},
        {END_URI_TOO_LONG, 414, " NONE_NONE/414 150 - error:request-too-large - HIER_NONE/- -\n"},
        {END_HEAD_TOO_LARGE, 431, " NONE_NONE/431 150 - error:request-too-large - HIER_NONE/- -\n"},
        {END_REQUEST_TIMEOUT, 408,
         " NONE_NONE/408 150 - error:transaction-end-before-headers - HIER_NONE/- -\n"},
        {END_CLIENT_GONE, 0,
         " NONE_NONE_ABORTED/000 150 - error:transaction-end-before-headers - HIER_NONE/- -\n"},
        {END_NOT_ADMITTED, 403,
         " TCP_DENIED/403 150 - error:accept-client-connection - HIER_NONE/- -\n"},
        {END_NO_DESCRIPTORS, 503,
         " NONE_NONE/503 150 - error:accept-client-connection - HIER_NONE/- -\n"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct access_record r = {.end = cases[i].end, .status = cases[i].status, .head_down = 150};

        assert_int_equal(addr_parse(SLICE("192.0.2.1:5000"), &r.client), 0);
        expect_part(ACCESS_SQUID, &r, cases[i].want);
    }
}

/* What squid calls each end: of an answer made here for it; of one that was cut (status 200 had
 * been sent); of a tunnel. */
static const struct squid_end {
    enum end_reason end;
    const char *answered, *cut, *tunnel;
} squid_ends[] = {
    {END_NONE, "TCP_MISS", "TCP_MISS", "TCP_TUNNEL"},
    {END_DONE, "TCP_MISS", "TCP_MISS", "TCP_TUNNEL"},
    {END_TUNNEL_DONE, "TCP_MISS", "TCP_MISS", "TCP_TUNNEL"},
    {END_LOCAL, "TCP_MISS", "TCP_MISS", "TCP_TUNNEL"},
    {END_CLIENT_GONE, "TCP_MISS_ABORTED", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_CLIENT_RESET, "TCP_MISS_ABORTED", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_BAD_REQUEST, "NONE_NONE", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_REQUEST_TIMEOUT, "NONE_NONE", "TCP_MISS_TIMEDOUT", "TCP_TUNNEL_TIMEDOUT"},
    {END_URI_TOO_LONG, "NONE_NONE", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_HEAD_TOO_LARGE, "NONE_NONE", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_NOT_IMPLEMENTED, "NONE_NONE", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_BAD_VERSION, "NONE_NONE", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_TRACE_OFF, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_NOT_BUILT, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_NOT_ADMITTED, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_DENIED, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_ADDRESS_DENIED, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_AUTH_NEEDED, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_AUTH_THROTTLED, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_AUTH_UNAVAILABLE, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_LIMIT_REQUESTS, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_LIMIT_TUNNELS, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_QUOTA, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_UPLOAD_CAP, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_DOWNLOAD_CAP, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_SNI_DENIED, "TCP_MISS_ABORTED", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_PROTOCOL_DENIED, "TCP_MISS_ABORTED", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_RELOADED, "TCP_MISS_ABORTED", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_UPSTREAM_DENIED, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_LOOP, "TCP_DENIED", "TCP_DENIED_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_DNS_ERROR, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_DNS_TIMEOUT, "TCP_MISS", "TCP_MISS_TIMEDOUT", "TCP_TUNNEL_TIMEDOUT"},
    {END_CONNECT_REFUSED, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_CONNECT_UNREACHABLE, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_CONNECT_TIMEOUT, "TCP_MISS", "TCP_MISS_TIMEDOUT", "TCP_TUNNEL_TIMEDOUT"},
    {END_CONNECT_FAILED, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_UPSTREAM_CLOSED, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_UPSTREAM_RESET, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_UPSTREAM_NONSENSE, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_UPSTREAM_TIMEOUT, "TCP_MISS", "TCP_MISS_TIMEDOUT", "TCP_TUNNEL_TIMEDOUT"},
    {END_TLS_CERTIFICATE, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_TLS_PROTOCOL, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_TLS_ALERT, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_PARENT_REFUSED, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_PARENT_AUTH, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_IDLE_TIMEOUT, "TCP_MISS_TIMEDOUT", "TCP_MISS_TIMEDOUT", "TCP_TUNNEL_TIMEDOUT"},
    {END_TUNNEL_TIMEOUT, "TCP_MISS_TIMEDOUT", "TCP_MISS_TIMEDOUT", "TCP_TUNNEL_TIMEDOUT"},
    {END_HALF_CLOSE_TIMEOUT, "TCP_MISS_TIMEDOUT", "TCP_MISS_TIMEDOUT", "TCP_TUNNEL_TIMEDOUT"},
    {END_NO_DESCRIPTORS, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_NO_PORTS, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_NO_MEMORY, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_CAPACITY_CONNECTIONS, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_CAPACITY_CLIENT, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_CAPACITY_MEMORY, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_RESOLVER_BUSY, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_DRAINED, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
    {END_INTERNAL, "TCP_MISS", "TCP_MISS_ABORTED", "TCP_TUNNEL_ABORTED"},
};

static void expect_code(const struct access_record *r, const char *code)
{
    char want[96];

    snprintf(want, sizeof(want), " %s/%03u ", code, r->status);
    expect_part(ACCESS_SQUID, r, want);
}

/* U61: one outcome for each cause, and a good tunnel is TCP_TUNNEL/200. */
static void test_squid_every_end(void **state)
{
    UNUSED(state);
    _Static_assert(ARRAY_LEN(squid_ends) == END_COUNT, "a row an end reason");
    for (unsigned i = 0; i < END_COUNT; i++) {
        const struct squid_end *e = &squid_ends[i];
        struct access_record r = record_get();

        assert_int_equal(e->end, i);
        r.end = e->end;
        expect_code(&r, e->cut);
        r.status = (uint16_t)end_info(e->end)->status;
        r.peer = (struct addr){0};
        expect_code(&r, e->answered);
        r = record_tunnel();
        r.end = e->end;
        expect_code(&r, e->tunnel);
        assert_null(strstr(line, "NONE_NONE"));
    }
}

/* A CONNECT that failed has made no tunnel. */
static void test_squid_failed_connect(void **state)
{
    struct access_record r = record_tunnel();

    UNUSED(state);
    r.tunnel = false;
    r.peer = (struct addr){0};
    r.end = END_CONNECT_REFUSED;
    r.status = 502;
    expect_part(ACCESS_SQUID, &r, " TCP_MISS/502 3656 CONNECT example.org:443 - HIER_NONE/- -\n");
    r.end = END_DENIED;
    r.status = 403;
    expect_part(ACCESS_SQUID, &r, " TCP_DENIED/403 3656 CONNECT example.org:443 - HIER_NONE/- -\n");
}

/* ---- common and combined ---- */

static void set_zone(const char *zone)
{
    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();
}

/* S002-8, S002-11: address, time, request line, status. */
static void test_common_lines(void **state)
{
    struct access_record r = record_get();

    UNUSED(state);
    set_zone("MST7");
    r.wall_ms = 971211336000;
    r.agent = SLICE("Mozilla/4.08 [en] (Win98; I ;Nav)");
    r.referer = SLICE("http://www.example.com/start.html");
    expect(ACCESS_COMMON, &r,
           "192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"GET http://example.org:8080/a/b "
           "HTTP/1.1\" 200 3456\n");
    expect(ACCESS_COMBINED, &r,
           "192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"GET http://example.org:8080/a/b "
           "HTTP/1.1\" 200 3456"
           " \"http://www.example.com/start.html\" \"Mozilla/4.08 [en] (Win98; I ;Nav)\"\n");
    r.user = SLICE("jane doe");
    expect_part(ACCESS_COMBINED, &r, "192.0.2.1 - jane\\x20doe [10/Oct/2000");
    expect_part(ACCESS_COMMON, &r, "192.0.2.1 - jane\\x20doe [10/Oct/2000");
    r.user = SLICE_NONE;
    set_zone("IST-5:30");
    r.wall_ms = 971211337000;
    r.agent = r.referer = SLICE_NONE;
    r.version = 10;
    r.bytes_down = 0;
    expect(ACCESS_COMBINED, &r,
           "192.0.2.1 - - [11/Oct/2000:02:25:37 +0530] \"GET http://example.org:8080/a/b "
           "HTTP/1.0\" 200 - \"-\" \"-\"\n");
    set_zone("UTC");
    r = record_tunnel();
    r.wall_ms += 5000;
    expect(ACCESS_COMMON, &r,
           "192.0.2.1 - - [14/Nov/2023:22:13:25 +0000] \"CONNECT example.org:443 HTTP/1.1\" 200 "
           "3456\n");
    r = (struct access_record){.end = END_REQUEST_TIMEOUT, .status = 408};
    expect(ACCESS_COMMON, &r, "- - - [01/Jan/1970:00:00:00 +0000] \"-\" 408 -\n");
    r.status = 0;
    expect(ACCESS_COMMON, &r, "- - - [01/Jan/1970:00:00:00 +0000] \"-\" - -\n");
    r.wall_ms = UINT64_MAX;
    expect_part(ACCESS_COMMON, &r, "/Dec/9999:");
}

/* ---- hostile bytes ---- */

/* FAILURES 12, 14: a line is one line, whatever the client wrote. */
static void test_bytes_are_escaped(void **state)
{
    struct access_record r = record_get();

    UNUSED(state);
    set_zone("UTC");
    r.method = slice_of("G\"E\\T", 5);
    r.host = slice_of("a\r\nb\0c", 6);
    r.path = slice_of("/\x1b[31m \x7f\xff\xc3\xa9\xed\xa0\x80", 14);
    r.agent = slice_of("x\" \"\\\n\t\v\b\x01\xe9", 11);
    make(ACCESS_JSON, &r);
    assert_non_null(strstr(line, "\"http.request.method\":\"G\\\"E\\\\T\""));
    assert_non_null(strstr(line, "\"server.address\":\"a\\r\\nb\\u0000c\""));
    assert_non_null(strstr(line, "\"url.path\":\"/\\u001b[31m \\u007f\\u00ff\xc3\xa9"
                                 "\\u00ed\\u00a0\\u0080\""));
    assert_non_null(
        strstr(line, "\"user_agent.original\":\"x\\\" \\\"\\\\\\n\\t\\u000b\\b\\u0001\\u00e9\""));
    expect_part(ACCESS_SQUID, &r,
                " G%22E%5CT http://a%0D%0Ab%00c:8080/%1B[31m%20%7F%FF%C3%A9%ED%A0%80 - ");
    expect_part(ACCESS_COMBINED, &r,
                " \"G\\\"E\\\\T "
                "http://a\\r\\nb\\x00c:8080/\\x1b[31m\\x20\\x7f\\xff\\xc3\\xa9\\xed\\xa0\\x80 "
                "HTTP/1.1\" 200 ");
    expect_part(ACCESS_COMBINED, &r, " \"-\" \"x\\\" \\\"\\\\\\n\\t\\v\\b\\x01\\xe9\"\n");
}

/* Blanks, quotes and so on, counted where they separate: with the strings as they are and with
 * hostile ones. */
static unsigned count(char c)
{
    unsigned n = 0;

    for (const char *p = line; *p; p++)
        n += *p == c && (p == line || p[-1] != '\\');
    return n;
}

static void check_line(enum access_layout layout, const struct access_record *r,
                       const struct access_record *plain)
{
    unsigned blanks, quotes;
    size_t n;

    make(layout, plain);
    blanks = count(' ');
    quotes = count('"');
    n = make(layout, r);
    assert_int_equal(strlen(line), n); /* no NUL */
    assert_int_equal(line[n - 1], '\n');
    for (size_t i = 0; i + 1 < n; i++)
        assert_in_range((unsigned char)line[i], 0x20, 0xff);
    assert_null(strchr(line, 0x7f));
    if (layout == ACCESS_SQUID)
        assert_int_equal(count(' '), blanks);
    if (layout == ACCESS_COMMON) /* behind the address come fields without quotes, and a request
                                    line of two blanks */
        assert_int_equal(count(' '), blanks);
    if (layout != ACCESS_SQUID)
        assert_int_equal(count('"'), quotes);
}

static struct slice *string_of(struct access_record *r, unsigned i)
{
    struct slice *all[] = {&r->method, &r->host,     &r->path, &r->agent, &r->referer,
                           &r->type,   &r->listener, &r->rule, &r->detail, &r->would,
                           &r->user,   &r->groups,   &r->labels, &r->sni};

    return i < ARRAY_LEN(all) ? all[i] : NULL;
}

/* Every byte in every string: none ends a line, begins a field or leaves its quotes. A backslash
 * pairs: two of them before a quote would free it. */
static void test_every_byte_everywhere(void **state)
{
    struct access_record plain = record_get();
    char text[4] = "a?b";

    UNUSED(state);
    for (unsigned i = 0; string_of(&plain, i); i++)
        *string_of(&plain, i) = SLICE("aab");
    for (unsigned i = 0; string_of(&plain, i); i++) {
        for (unsigned c = 0; c < 256; c++) {
            struct access_record r = plain;

            text[1] = (char)c;
            *string_of(&r, i) = slice_of(text, 3);
            if (c == ';' || c == ':' || c == '\\')
                continue; /* cuts a type; makes a host an IPv6 address; counted apart below */
            for (unsigned k = 0; k < ARRAY_LEN(layouts); k++)
                check_line(layouts[k], &r, &plain);
        }
        for (unsigned k = 0; k < ARRAY_LEN(layouts); k++) {
            struct access_record r = plain;

            *string_of(&r, i) = SLICE("a\\\"b");
            make(layouts[k], &r);
            assert_null(strstr(line, "a\\\"b"));   /* would end the string */
            assert_null(strstr(line, "a\\\\\"b")); /* likewise */
        }
    }
}

/* Random bytes, long strings. */
static void test_random_bytes(void **state)
{
    static char text[14][2 * ACCESS_LINE_MAX];
    unsigned seed = 1;

    UNUSED(state);
    for (unsigned round = 0; round < 400; round++) {
        struct access_record r = round % 2 ? record_get() : record_tunnel();

        for (unsigned i = 0; string_of(&r, i); i++) {
            size_t n = (size_t)rand_r(&seed) % (round < 200 ? 64 : sizeof(text[i]));

            for (size_t k = 0; k < n; k++)
                text[i][k] = (char)rand_r(&seed);
            *string_of(&r, i) = slice_of(text[i], n);
        }
        for (unsigned k = 0; k < ARRAY_LEN(layouts); k++) {
            size_t n = make(layouts[k], &r);

            assert_int_equal(strlen(line), n);
            assert_ptr_equal(strchr(line, '\n'), line + n - 1);
            if (layouts[k] == ACCESS_JSON)
                assert_int_equal(line[n - 2], '}');
        }
    }
}

/* Whole lines or none, at every size. */
static void test_small_buffers(void **state)
{
    UNUSED(state);
    for (unsigned k = 0; k < ARRAY_LEN(layouts); k++) {
        struct access_record r = record_get();
        size_t whole;

        r.path.n = 0; /* nothing that could be cut */
        r.host.n = r.listener.n = 3;
        whole = make(layouts[k], &r);
        for (size_t cap = 0; cap < whole; cap++) {
            char *small = malloc(cap + 1);

            assert_int_equal(access_format(layouts[k], &r, RECORD_NOW_US, small, cap), 0);
            free(small);
        }
        assert_int_equal(access_format(layouts[k], &r, RECORD_NOW_US, line, whole), whole);
    }
}

/* A path that fits is whole; one that needs too much escaping is cut, never the record. */
static void test_long_strings(void **state)
{
    static char worst[2 * ACCESS_LINE_MAX], path[ACCESS_PATH_MAX];

    UNUSED(state);
    memset(worst, '\1', sizeof(worst)); /* six bytes each */
    memset(path, '/', sizeof(path));
    for (unsigned k = 0; k < ARRAY_LEN(layouts); k++) {
        struct access_record r = record_get();
        size_t whole = make(layouts[k], &r);

        r.path = slice_of(path, sizeof(path));
        assert_int_equal(make(layouts[k], &r), whole + sizeof(path) - 4);
        for (size_t n = 1; n <= sizeof(worst); n *= 2) {
            r.path = slice_of(worst, n);
            assert_in_range(make(layouts[k], &r), whole - 4, sizeof(line) - 1);
        }
        for (unsigned i = 0; string_of(&r, i); i++)
            *string_of(&r, i) = slice_of(worst, sizeof(worst));
        r.bytes_up = r.bytes_down = r.wall_ms = r.id = UINT64_MAX;
        r.dns_us = r.connect_us = r.first_byte_us = UINT32_MAX;
        r.start_us = 0;
        assert_int_equal(
            addr_parse(SLICE("[2001:db80:1111:2222:3333:4444:5555:6666]:65535"), &r.client), 0);
        r.peer = r.local = r.client;
        make(layouts[k], &r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_whole),
        cmocka_unit_test(test_json_policy),
        cmocka_unit_test(test_json_empty),
        cmocka_unit_test(test_json_tunnel),
        cmocka_unit_test(test_json_details),
        cmocka_unit_test(test_json_every_end),
        cmocka_unit_test(test_json_addresses_and_times),
        cmocka_unit_test(test_json_ipv6),
        cmocka_unit_test(test_squid_lines),
        cmocka_unit_test(test_squid_without_request),
        cmocka_unit_test(test_squid_every_end),
        cmocka_unit_test(test_squid_failed_connect),
        cmocka_unit_test(test_common_lines),
        cmocka_unit_test(test_bytes_are_escaped),
        cmocka_unit_test(test_every_byte_everywhere),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_small_buffers),
        cmocka_unit_test(test_long_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
