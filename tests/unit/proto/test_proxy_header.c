/* SPDX-License-Identifier: MIT */
/* PROXY headers: what is read of good ones however they come, and which ones are refused (C86). */
#include "proto/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct v2 {
    uint8_t p[PROXY_HEADER_MAX + 64];
    size_t n;
};

static enum parse look(const void *p, size_t n, struct proxy_header *ret_h, size_t *ret_used)
{
    const char *fault = NULL;
    enum parse r;

    *ret_used = 0;
    r = proxy_header_read(p, n, ret_h, ret_used, &fault);
    assert_int_equal(r == PARSE_BAD, fault != NULL);
    assert_int_equal(r == PARSE_DONE, *ret_used > 0);
    return r;
}

/* Whole, with bytes behind it, and byte by byte. */
static struct proxy_header expect_done(const void *p, size_t n)
{
    char more[PROXY_HEADER_MAX + 128];
    struct proxy_header h, again;
    size_t used;

    assert_int_equal(look(p, n, &h, &used), PARSE_DONE);
    assert_int_equal(used, n);
    memcpy(more, p, n);
    memcpy(more + n, "\x16\r\n\0GET / ", 10);
    assert_int_equal(look(more, n + 10, &again, &used), PARSE_DONE);
    assert_int_equal(used, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(look(p, i, &again, &used), PARSE_MORE);
        assert_int_not_equal(proxy_header_begins(p, i), PARSE_BAD);
    }
    return h;
}

static void expect_bad(const void *p, size_t n, const char *text)
{
    const char *fault = "none";
    struct proxy_header h;
    size_t used;

    assert_int_equal(proxy_header_read(p, n, &h, &used, &fault), PARSE_BAD);
    if (!strstr(fault, text))
        fail_msg("\"%s\" does not say \"%s\"", fault, text);
}

static struct proxy_header line(const char *text)
{
    return expect_done(text, strlen(text));
}

static void bad_line(const char *text, const char *says)
{
    expect_bad(text, strlen(text), says);
}

/* ---- version 1 ---- */

static void v1_tcp4(void **state)
{
    struct proxy_header h = line("PROXY TCP4 255.255.255.255 192.0.2.7 65535 0\r\n");
    const uint8_t src[4] = {255, 255, 255, 255}, dst[4] = {192, 0, 2, 7};

    (void)state;
    assert_false(h.local || h.v6);
    assert_memory_equal(h.src, src, 4);
    assert_memory_equal(h.dst, dst, 4);
    assert_int_equal(h.src_port, 65535);
    assert_int_equal(h.dst_port, 0);
}

static void v1_tcp6(void **state)
{
    /* The longest line that version 1 gives as its example. */
    struct proxy_header h = line("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:db8::1 65535 443\r\n");

    (void)state;
    assert_true(h.v6 && !h.local);
    for (int i = 0; i < 16; i++)
        assert_int_equal(h.src[i], 255);
    assert_int_equal(h.dst[0], 0x20);
    assert_int_equal(h.dst[15], 1);
    assert_int_equal(h.dst_port, 443);
}

static void v1_unknown(void **state)
{
    (void)state;
    assert_true(line("PROXY UNKNOWN\r\n").local);
    assert_true(line("PROXY UNKNOWN ffff::1 anything at all 65535\r\n").local);
    /* 107 bytes with CRLF: the worst case. */
    assert_true(line("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n").local);
}

static void v1_refused(void **state)
{
    char text[PROXY_HEADER_V1_MAX + 8] = "PROXY UNKNOWN ";

    (void)state;
    bad_line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "CRLF");
    bad_line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rX", "CRLF");
    bad_line("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "source");
    bad_line("PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", "destination");
    bad_line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "ports");
    bad_line("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "ports");
    bad_line("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "ports");
    bad_line("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "ports");
    bad_line("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "ports");
    bad_line("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "source");
    bad_line("PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", "source");
    bad_line("PROXY TCP4 ::1 192.0.2.2 1 2\r\n", "source");
    bad_line("PROXY TCP6 ::1 192.0.2.2 1 2\r\n", "destination");
    bad_line("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "source");
    bad_line("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "TCP4");
    bad_line("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", "TCP4");
    bad_line("PROXY \r\n", "no protocol");
    bad_line("proxy UNKNOWN\r\n", "no PROXY header");
    bad_line("GET / HTTP/1.1\r\n", "no PROXY header");
    memset(text + 14, 'x', PROXY_HEADER_V1_MAX - 14);
    expect_bad(text, PROXY_HEADER_V1_MAX, "too long");
    memcpy(text + PROXY_HEADER_V1_MAX - 1, "\r\n", 2);
    expect_bad(text, PROXY_HEADER_V1_MAX + 1, "too long");
}

/* ---- version 2 ---- */

static void put(struct v2 *v, const void *p, size_t n)
{
    memcpy(v->p + v->n, p, n);
    v->n += n;
    v->p[14] = (uint8_t)((v->n - 16) >> 8);
    v->p[15] = (uint8_t)(v->n - 16);
}

static struct v2 begin(uint8_t command, uint8_t family)
{
    static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
    struct v2 v = {.n = 16};

    memcpy(v.p, signature, sizeof(signature));
    v.p[12] = command;
    v.p[13] = family;
    return v;
}

static struct v2 inet(void)
{
    static const uint8_t addresses[12] = {198, 51, 100, 9, 192, 0, 2, 1, 0x9c, 0x40, 0x01, 0xbb};
    struct v2 v = begin(0x21, 0x11);

    put(&v, addresses, sizeof(addresses));
    return v;
}

static void put_tlv(struct v2 *v, uint8_t type, const void *p, size_t n)
{
    const uint8_t head[3] = {type, (uint8_t)(n >> 8), (uint8_t)n};

    put(v, head, 3);
    if (n)
        put(v, p, n);
}

static void v2_inet(void **state)
{
    const uint8_t src[4] = {198, 51, 100, 9}, dst[4] = {192, 0, 2, 1};
    struct v2 v = inet();
    struct proxy_header h = expect_done(v.p, v.n);

    (void)state;
    assert_false(h.local || h.v6);
    assert_memory_equal(h.src, src, 4);
    assert_memory_equal(h.dst, dst, 4);
    assert_int_equal(h.src_port, 40000);
    assert_int_equal(h.dst_port, 443);
    assert_int_equal(h.sni.n, 0);
}

static void v2_inet6(void **state)
{
    struct v2 v = begin(0x21, 0x21);
    uint8_t addresses[36] = {0x20, 0x01, 0x0d, 0xb8, [15] = 9, [31] = 7, [33] = 80, [34] = 1};
    struct proxy_header h;

    (void)state;
    put(&v, addresses, sizeof(addresses));
    h = expect_done(v.p, v.n);
    assert_true(h.v6 && !h.local);
    assert_memory_equal(h.src, addresses, 16);
    assert_memory_equal(h.dst, addresses + 16, 16);
    assert_int_equal(h.src_port, 80);
    assert_int_equal(h.dst_port, 256);
}

/* LOCAL is the sender's own connection, whatever stands behind it. */
static void v2_local(void **state)
{
    struct v2 v = begin(0x20, 0x00);

    (void)state;
    assert_true(expect_done(v.p, v.n).local);
    put(&v, "\x01\xff\xffgarbage", 10);
    assert_true(expect_done(v.p, v.n).local);
    v = inet();
    v.p[12] = 0x20;
    assert_true(expect_done(v.p, v.n).local);
}

static void v2_families_without_an_address(void **state)
{
    const uint8_t families[] = {0x00, 0x01, 0x02, 0x12, 0x22, 0x10, 0x20, 0x31, 0x32};

    (void)state;
    for (size_t i = 0; i < sizeof(families); i++) {
        struct v2 v = begin(0x21, families[i]);
        uint8_t room[216] = {0};

        put(&v, room, families[i] >> 4 == 3 ? 216 : 36);
        assert_true(expect_done(v.p, v.n).local);
    }
}

static void v2_extensions(void **state)
{
    struct v2 v = inet();
    struct proxy_header h;
    uint8_t many[3000] = {0};

    (void)state;
    put_tlv(&v, 0x04, "xxxxx", 5); /* NOOP */
    put_tlv(&v, 0xe7, many, sizeof(many));
    put_tlv(&v, 0x02, "one.test", 8);
    put_tlv(&v, 0x05, "", 0);
    h = expect_done(v.p, v.n);
    assert_int_equal(h.sni.n, 8);
    assert_memory_equal(h.sni.p, "one.test", 8);
    assert_int_equal(h.src_port, 40000);
    v.p[15]--; /* the last one misses a byte */
    expect_bad(v.p, v.n, "ends inside");
    v = inet();
    put(&v, "\x04\x00\x03xx", 5);
    expect_bad(v.p, v.n, "longer than the header");
}

static uint32_t crc32c_slow(const uint8_t *p, size_t n)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (((crc ^ (uint32_t)(p[i] >> bit)) & 1) ? 0x82f63b78u : 0);
    return ~crc;
}

static void v2_checksum(void **state)
{
    static const uint8_t digits[] = "123456789";
    struct v2 v = inet();
    size_t at;
    uint32_t crc;

    (void)state;
    assert_int_equal(crc32c_slow(digits, 9), 0xe3069283u); /* the published check value */
    put_tlv(&v, 0x04, "abc", 3);
    put_tlv(&v, 0x03, "\0\0\0\0", 4);
    at = v.n - 4;
    put_tlv(&v, 0x02, "one.test", 8);
    crc = crc32c_slow(v.p, v.n);
    for (int i = 0; i < 4; i++)
        v.p[at + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    assert_int_equal(expect_done(v.p, v.n).src_port, 40000);
    for (size_t i = 16; i < v.n; i++) {
        struct proxy_header h;
        size_t used;

        /* Of another type it would be no checksum. */
        v.p[i] ^= i == at - 3 ? 0 : 1;
        assert_int_equal(look(v.p, v.n, &h, &used), i == at - 3 ? PARSE_DONE : PARSE_BAD);
        v.p[i] ^= i == at - 3 ? 0 : 1;
    }
    v = inet();
    put_tlv(&v, 0x03, "\0\0\0", 3);
    expect_bad(v.p, v.n, "checksum");
}

static void v2_refused(void **state)
{
    struct v2 v = inet();

    (void)state;
    v.p[12] = 0x31;
    expect_bad(v.p, 13, "version");
    v.p[12] = 0x22;
    expect_bad(v.p, v.n, "command");
    v = inet();
    v.p[13] = 0x41;
    expect_bad(v.p, 14, "family");
    v.p[13] = 0x13;
    expect_bad(v.p, v.n, "family");
    v = inet();
    v.p[15] = 11;
    expect_bad(v.p, v.n, "shorter than its addresses");
    v.p[13] = 0x31;
    expect_bad(v.p, v.n, "shorter than its addresses");
    v = inet();
    v.p[14] = 0x10;
    v.p[15] = 0x01;
    expect_bad(v.p, 16, "4096");
    expect_bad("\r\n\r\n\0\r\nQUIX", 12, "no PROXY header");
    expect_bad("\r\n\r\nGET", 7, "no PROXY header");
}

static void v2_the_longest(void **state)
{
    static uint8_t room[4096];
    struct v2 v = begin(0x20, 0x00);

    (void)state;
    put(&v, room, sizeof(room));
    assert_true(expect_done(v.p, v.n).local);
    assert_int_equal(v.n, PROXY_HEADER_MAX);
}

static void beginnings(void **state)
{
    (void)state;
    assert_int_equal(proxy_header_begins("", 0), PARSE_MORE);
    assert_int_equal(proxy_header_begins("PRO", 3), PARSE_MORE);
    assert_int_equal(proxy_header_begins("PROXY", 5), PARSE_MORE);
    assert_int_equal(proxy_header_begins("PROXY ", 6), PARSE_DONE);
    assert_int_equal(proxy_header_begins("PROPFIND", 8), PARSE_BAD);
    assert_int_equal(proxy_header_begins("POST", 4), PARSE_BAD);
    assert_int_equal(proxy_header_begins("\r\n\r\n", 4), PARSE_MORE);
    assert_int_equal(proxy_header_begins("\r\n\r\n\0\r\nQUIT\n", 12), PARSE_DONE);
    assert_int_equal(proxy_header_begins("\r\n\r\nG", 5), PARSE_BAD);
    assert_int_equal(proxy_header_begins("\x16\x03", 2), PARSE_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beginnings),    cmocka_unit_test(v1_tcp4),   cmocka_unit_test(v1_tcp6),
        cmocka_unit_test(v1_unknown),    cmocka_unit_test(v1_refused), cmocka_unit_test(v2_inet),
        cmocka_unit_test(v2_inet6),      cmocka_unit_test(v2_local),  cmocka_unit_test(v2_families_without_an_address),
        cmocka_unit_test(v2_extensions), cmocka_unit_test(v2_checksum), cmocka_unit_test(v2_refused),
        cmocka_unit_test(v2_the_longest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
