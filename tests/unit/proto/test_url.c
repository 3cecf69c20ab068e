/* SPDX-License-Identifier: MIT */
#include "proto/url.h"

#include "build_config.h"
#include "support/memfail.h"
#include "unit/proto/h1_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>

static const char *const fault_names[] = {
    [URL_OK] = "OK",
    [URL_NOMEM] = "NOMEM",
    [URL_TARGET] = "TARGET",
    [URL_AUTHORITY] = "AUTHORITY",
    [URL_USERINFO] = "USERINFO",
    [URL_SCHEME] = "SCHEME",
};

/* The input lies alone on the heap, so that a sanitizer sees a read past its end. */
static struct slice heap_copy(const char *z)
{
    size_t n = strlen(z);
    char *p = malloc(n ? n : 1);

    assert_non_null(p);
    memcpy(p, z, n);
    return slice_of(p, n);
}

static void heap_free(struct slice s)
{
    free((void *)(uintptr_t)s.p);
}

/* "name a.b:80" or the fault; with every allocation refused in turn as well. */
static void check_authority(const char *z, bool need_port, const char *expected)
{
    struct slice in = heap_copy(z);
    static struct text t;

    for (memfail_start(); memfail_next();) {
        struct authority auth = {.port = 4711};
        struct objcache cache;
        struct arena a;
        enum url_fault fault;

        objcache_init(&cache, 64, 0);
        arena_init(&a, &cache, 1 << 20);
        fault = url_authority(&a, in, need_port, &auth);
        t.n = 0;
        if (fault == URL_OK)
            text_authority(&t, &auth);
        else
            text_str(&t, fault_names[fault]);
        if (memfail_hit())
            assert_int_equal(fault, URL_NOMEM);
        else if (strcmp(t.p, expected) != 0)
            fail_msg("\"%s\": %s, not %s", z, t.p, expected);
        if (fault == URL_OK)
            assert_true(slice_eq(auth.raw, in));
        else
            assert_int_equal(auth.port, 4711); /* untouched */
        arena_done(&a);
        objcache_done(&cache);
    }
    heap_free(in);
}

struct row {
    const char *in, *expected;
};

static void check_rows(const struct row *rows, size_t n, bool need_port)
{
    for (size_t i = 0; i < n; i++)
        check_authority(rows[i].in, need_port, rows[i].expected);
}

#define A7  "aaaaaaa"
#define L49 A7 A7 A7 A7 A7 A7 A7
#define L10 "abcdefghij"
#define L60 L10 L10 L10 L10 L10 L10
#define L63 L60 "abc"

static void test_names(void **state)
{
    static const struct row rows[] = {
        {"example.com", "name example.com"},
        {"a", "name a"},
        {"Example.COM", "name example.com"},
        {"example.com.", "name example.com"},
        {"a_b-c.d", "name a_b-c.d"},
        {"-a-.b", "name -a-.b"},
        {"1a.2b.3c", "name 1a.2b.3c"},
        {"1.2.3.4.example", "name 1.2.3.4.example"},
        {"xn--bcher-kva.example", "name xn--bcher-kva.example"},
        {"%65xample%2Ecom", "name example.com"},
        {"%45xample.c%6f%4D", "name example.com"},
        {L63 ".com", "name " L63 ".com"},
        {L63 "." L63 "." L63 "." L60 "a", "name " L63 "." L63 "." L63 "." L60 "a"},
        {L63 "." L63 "." L63 "." L60 "a.", "name " L63 "." L63 "." L63 "." L60 "a"},
        /* refused */
        {"", "AUTHORITY"},
        {".", "AUTHORITY"},
        {".a", "AUTHORITY"},
        {"a..b", "AUTHORITY"},
        {"a..", "AUTHORITY"},
        {L63 "d.com", "AUTHORITY"},
        {L63 "." L63 "." L63 "." L60 "ab", "AUTHORITY"},
        {"a b", "AUTHORITY"},
        {" a", "AUTHORITY"},
        {"a\t", "AUTHORITY"},
        {"a,b", "AUTHORITY"},
        {"a/b", "AUTHORITY"},
        {"a\\b", "AUTHORITY"},
        {"a?b", "AUTHORITY"},
        {"a#b", "AUTHORITY"},
        {"a\x7f", "AUTHORITY"},
        {"a\r\nb", "AUTHORITY"},
        {"*", "AUTHORITY"},
        {"a!b", "AUTHORITY"},
        {"a~b", "AUTHORITY"},
        {"[a]", "AUTHORITY"},
        {"a]", "AUTHORITY"},
        /* C13 */
        {"u@h", "USERINFO"},
        {"u:p@h:80", "USERINFO"},
        {"@", "USERINFO"},
        {"@h", "USERINFO"},
        {"[::1]@h", "USERINFO"},
        /* FAILURES 14: escapes that hide something */
        {"a%", "AUTHORITY"},
        {"a%6", "AUTHORITY"},
        {"a%6g", "AUTHORITY"},
        {"a%+6", "AUTHORITY"},
        {"a%00", "AUTHORITY"},
        {"a%0d%0ab", "AUTHORITY"},
        {"a%20b", "AUTHORITY"},
        {"a%2fb", "AUTHORITY"},
        {"a%3a80", "AUTHORITY"},
        {"u%40h", "AUTHORITY"},
        {"a%2561", "AUTHORITY"},
        {"%c3%bc.example", "AUTHORITY"},
        {"%5b::1%5d", "AUTHORITY"},
    };

    UNUSED(state);
    check_rows(rows, ARRAY_LEN(rows), false);
}

/* C16; the peers read "+80", "80x" and 2^32 + 80 as 80 */
static void test_ports(void **state)
{
    static const struct row rows[] = {
        {"h:1", "name h:1"},
        {"h:80", "name h:80"},
        {"h:65535", "name h:65535"},
        {"h:00080", "name h:80"},
        {"127.0.0.1:8080", "ipv4 127.0.0.1:8080"},
        {"[::1]:443", "ipv6 ::1:443"},
        {"h:0", "AUTHORITY"},
        {"h:00000", "AUTHORITY"},
        {"h:65536", "AUTHORITY"},
        {"h:000080", "AUTHORITY"},
        {"h:4294967376", "AUTHORITY"},
        {"h:18446744073709551696", "AUTHORITY"},
        {"h:+1", "AUTHORITY"},
        {"h:-1", "AUTHORITY"},
        {"h: 1", "AUTHORITY"},
        {"h:1 ", "AUTHORITY"},
        {"h:80x", "AUTHORITY"},
        {"h:0x50", "AUTHORITY"},
        {"h:%38%30", "AUTHORITY"},
        {"h:80:80", "AUTHORITY"},
        {"h::80", "AUTHORITY"},
        {":80", "AUTHORITY"},
        {":", "AUTHORITY"},
        {"::1", "AUTHORITY"},
        {"::1:443", "AUTHORITY"},
        {"[::1]443", "AUTHORITY"},
        {"[::1]:443x", "AUTHORITY"},
    };

    UNUSED(state);
    check_rows(rows, ARRAY_LEN(rows), false);
    check_rows(rows, ARRAY_LEN(rows), true);
}

/* Escapes take three bytes each; beyond what they can need nothing is looked at. */
static void test_long_names(void **state)
{
    char in[4096];
    size_t n = 0;

    UNUSED(state);
    for (unsigned i = 0; i < 253; i++)
        n += (size_t)snprintf(in + n, sizeof(in) - n, "%s", i % 50 == 49 ? "%2e" : "%61");
    in[n] = '\0';
    check_authority(in, false, "name " L49 "." L49 "." L49 "." L49 "." L49 ".aaa");
    for (unsigned i = 0; i < 100; i++)
        n += (size_t)snprintf(in + n, sizeof(in) - n, "%%61");
    check_authority(in, false, "AUTHORITY");
}

static void test_port_needed_or_not(void **state)
{
    static const char *const hosts[] = {"h", "1.2.3.4", "[::1]"};
    static const char *const plain[] = {"name h", "ipv4 1.2.3.4", "ipv6 ::1"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        char empty_port[32];

        snprintf(empty_port, sizeof(empty_port), "%s:", hosts[i]);
        check_authority(hosts[i], false, plain[i]);
        check_authority(empty_port, false, plain[i]);
        check_authority(hosts[i], true, "AUTHORITY");
        check_authority(empty_port, true, "AUTHORITY");
    }
}

/* U2, FAILURES 17: every spelling of an address is that address before any rule sees it. */
static void test_address_spellings(void **state)
{
    static const struct row rows[] = {
        /* 169.254.169.254 */
        {"169.254.169.254", "ipv4 169.254.169.254"},
        {"169.254.169.254.", "ipv4 169.254.169.254"},
        {"2852039166", "ipv4 169.254.169.254"},
        {"0xa9fea9fe", "ipv4 169.254.169.254"},
        {"0XA9FEA9FE", "ipv4 169.254.169.254"},
        {"0x00000000a9fea9fe", "ipv4 169.254.169.254"},
        {"025177524776", "ipv4 169.254.169.254"},
        {"0xa9.0xfe.0xa9.0xfe", "ipv4 169.254.169.254"},
        {"0xA9.254.0251.254", "ipv4 169.254.169.254"},
        {"0251.0376.0251.0376", "ipv4 169.254.169.254"},
        {"0000251.00376.000251.0000376", "ipv4 169.254.169.254"},
        {"169.254.43518", "ipv4 169.254.169.254"},
        {"169.16689662", "ipv4 169.254.169.254"},
        {"0xa9.16689662", "ipv4 169.254.169.254"},
        {"169.0xfe.0xa9fe", "ipv4 169.254.169.254"},
        {"%31%36%39.254.169.254", "ipv4 169.254.169.254"},
        {"169%2E254%2e169.254", "ipv4 169.254.169.254"},
        {"0%78a9fea9fe", "ipv4 169.254.169.254"},
        /* 127.0.0.1 */
        {"127.0.0.1", "ipv4 127.0.0.1"},
        {"127.1", "ipv4 127.0.0.1"},
        {"127.0.1", "ipv4 127.0.0.1"},
        {"0x7f.1", "ipv4 127.0.0.1"},
        {"0x7f.0x1", "ipv4 127.0.0.1"},
        {"017700000001", "ipv4 127.0.0.1"},
        {"2130706433", "ipv4 127.0.0.1"},
        {"0x7f000001", "ipv4 127.0.0.1"},
        {"0177.0.0.01", "ipv4 127.0.0.1"},
        {"127.00.0x0.1", "ipv4 127.0.0.1"},
        {"0", "ipv4 0.0.0.0"},
        {"00", "ipv4 0.0.0.0"},
        {"0x0", "ipv4 0.0.0.0"},
        {"255.255.255.255", "ipv4 255.255.255.255"},
        {"4294967295", "ipv4 255.255.255.255"},
        {"0.0xffffff", "ipv4 0.255.255.255"},
        /* ::1 */
        {"[::1]", "ipv6 ::1"},
        {"[0:0:0:0:0:0:0:1]", "ipv6 ::1"},
        {"[0000:0000:0000:0000:0000:0000:0000:0001]", "ipv6 ::1"},
        {"[::0001]", "ipv6 ::1"},
        {"[0::1]", "ipv6 ::1"},
        {"[::0.0.0.1]", "ipv6 ::1"},
        {"[0:0::0:1]", "ipv6 ::1"},
        /* others; the policy knows that a mapped address is its IPv4 one */
        {"[::]", "ipv6 ::"},
        {"[2001:DB8:0:0:8:800:200C:417A]", "ipv6 2001:db8::8:800:200c:417a"},
        {"[2001:db8:0:1:1:1:1:1]", "ipv6 2001:db8:0:1:1:1:1:1"},
        {"[::ffff:127.0.0.1]", "ipv6 ::ffff:127.0.0.1"},
        {"[::FFFF:7f00:1]", "ipv6 ::ffff:127.0.0.1"},
        {"[0:0:0:0:0:ffff:a9fe:a9fe]", "ipv6 ::ffff:169.254.169.254"},
        {"[64:ff9b::169.254.169.254]", "ipv6 64:ff9b::a9fe:a9fe"},
        /* numbers that are no address */
        {"256.0.0.1", "AUTHORITY"},
        {"1.256.0.1", "AUTHORITY"},
        {"1.2.3.256", "AUTHORITY"},
        {"1.2.65536", "AUTHORITY"},
        {"1.16777216", "AUTHORITY"},
        {"4294967296", "AUTHORITY"},
        {"18446744073709551617", "AUTHORITY"},
        {"0x1ffffffff", "AUTHORITY"},
        {"0x10000000000000001", "AUTHORITY"},
        {"040000000000", "AUTHORITY"},
        {"1.2.3.4.5", "AUTHORITY"},
        {"1..2", "AUTHORITY"},
        {"1.2.3.", "ipv4 1.2.0.3"},
        {"1.2.3.4..", "AUTHORITY"},
        {"08", "AUTHORITY"},
        {"1.2.3.09", "AUTHORITY"},
        {"0x", "AUTHORITY"},
        {"127.0.0.0x", "AUTHORITY"},
        {"a.1", "AUTHORITY"},
        {"a.0x1f", "AUTHORITY"},
        {"example.com.127", "AUTHORITY"},
        {"-1", "name -1"},
        {"0x7g", "name 0x7g"},
        {"127.0.0.1x", "name 127.0.0.1x"},
        {"1e3", "name 1e3"},
        /* bracketed nonsense */
        {"[", "AUTHORITY"},
        {"[]", "AUTHORITY"},
        {"[::1", "AUTHORITY"},
        {"[::1]]", "AUTHORITY"},
        {"[[::1]]", "AUTHORITY"},
        {"[:1]", "AUTHORITY"},
        {"[::1::]", "AUTHORITY"},
        {"[1:2:3:4:5:6:7:8:9]", "AUTHORITY"},
        {"[::12345]", "AUTHORITY"},
        {"[::g]", "AUTHORITY"},
        {"[::1%25eth0]", "AUTHORITY"},
        {"[fe80::1%eth0]", "AUTHORITY"},
        {"[fe80::1%1]", "AUTHORITY"},
        {"[::ffff:127.1]", "AUTHORITY"},
        {"[::ffff:0177.0.0.1]", "AUTHORITY"},
        {"[::ffff:0x7f.0.0.1]", "AUTHORITY"},
        {"[127.0.0.1]", "AUTHORITY"},
        {"[::1 ]", "AUTHORITY"},
        {"[ ::1]", "AUTHORITY"},
        {"[v1.a]", "AUTHORITY"},
        {"[%3a%3a1]", "AUTHORITY"},
        {"[00000000000000000000000000000000000000000000000001::]", "AUTHORITY"},
    };

    UNUSED(state);
    check_rows(rows, ARRAY_LEN(rows), false);
}

/* The bytes of the address are those of the text. */
static void test_address_bytes(void **state)
{
    struct authority auth;
    struct arena a;
    uint8_t expected[16];

    UNUSED(state);
    arena_init(&a, NULL, 4096);
    assert_int_equal(url_authority(&a, SLICE("0x7f.2"), false, &auth), URL_OK);
    assert_memory_equal(auth.addr, ((uint8_t[]){127, 0, 0, 2}), 4);
    assert_int_equal(url_authority(&a, SLICE("[2001:DB8::7]"), false, &auth), URL_OK);
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::7", expected), 1);
    assert_memory_equal(auth.addr, expected, 16);
    assert_int_equal(url_authority(&a, SLICE("[::1\0]"), false, &auth), URL_AUTHORITY);
    assert_int_equal(url_authority(&a, SLICE("a\0b"), false, &auth), URL_AUTHORITY);
    assert_int_equal(url_authority(&a, SLICE_NONE, false, &auth), URL_AUTHORITY);
    arena_done(&a);
}

static void test_names_in_other_scripts(void **state)
{
    static const struct row rows[] = {
        {"b\xc3\xbc"
         "cher.example",
         "name xn--bcher-kva.example"},
        {"B\xc3\x9c"
         "CHER.example",
         "name xn--bcher-kva.example"},
        {"stra\xc3\x9f"
         "e.de:443",
         "name xn--strae-oqa.de:443"},
        {"\xe4\xbe\x8b\xe3\x81\x88.jp", "name xn--r8jz45g.jp"},
        {"b\xc3\xbc"
         "ch%65r.example",
         "name xn--bcher-kva.example"},
        /* full-width digits and an ideographic full stop spell an address (FAILURES 17) */
        {"\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1", "ipv4 127.0.0.1"},
        {"127\xe3\x80\x82"
         "0\xe3\x80\x82"
         "0\xe3\x80\x82"
         "1",
         "ipv4 127.0.0.1"},
        {"\xef\xbc\x92\xef\xbc\x91\xef\xbc\x93\xef\xbc\x90\xef\xbc\x97\xef\xbc\x90\xef\xbc\x96"
         "\xef\xbc\x94\xef\xbc\x93\xef\xbc\x93",
         "ipv4 127.0.0.1"},
        /* S000-3: not UTF-8 */
        {"\xff.example", "AUTHORITY"},
        {"b\xc3.example", "AUTHORITY"},
        {"\xc0\xae.example", "AUTHORITY"},
        {"\xed\xa0\x80.example", "AUTHORITY"},
        /* full-width '@', '/' and ':' make no new parts */
        {"a\xef\xbc\xa0"
         "b",
         "AUTHORITY"},
        {"a\xef\xbc\x8f"
         "b",
         "AUTHORITY"},
        {"a\xef\xbc\x9a"
         "80",
         "AUTHORITY"},
    };

    UNUSED(state);
#if HAVE_IDN
    check_rows(rows, ARRAY_LEN(rows), false);
#else
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_authority(rows[i].in, false, "AUTHORITY");
#endif
}

/* --- targets -------------------------------------------------------------- */

/* "FORM scheme|authority|path" or the fault */
static void check_target(enum method m, const char *z, const char *expected)
{
    static const char *const forms[] = {"ORIGIN ", "ABSOLUTE ", "AUTHORITY ", "ASTERISK "};
    static const char *const schemes[] = {"", "http", "https"};
    struct slice in = heap_copy(z);
    static struct text t;

    for (memfail_start(); memfail_next();) {
        struct head h = {.method = m};
        struct objcache cache;
        struct arena a;
        enum url_fault fault;

        objcache_init(&cache, 64, 0);
        arena_init(&a, &cache, 1 << 20);
        fault = url_target(&a, in, &h);
        t.n = 0;
        if (fault == URL_OK) {
            text_str(&t, forms[h.form]);
            text_str(&t, schemes[h.scheme]);
            text_str(&t, "|");
            text_authority(&t, &h.auth);
            text_str(&t, "|");
            text_put(&t, h.path);
        } else {
            text_str(&t, fault_names[fault]);
        }
        if (memfail_hit())
            assert_int_equal(fault, URL_NOMEM);
        else if (strcmp(t.p, expected) != 0)
            fail_msg("\"%s\": %s, not %s", z, t.p, expected);
        assert_true(slice_eq(h.target, in));
        arena_done(&a);
        objcache_done(&cache);
    }
    heap_free(in);
}

static void test_origin_form(void **state)
{
    static const struct row rows[] = {
        {"/", "ORIGIN |none|/"},
        /* C12: byte for byte */
        {"/a/../%2F//b?c=/?&d#", "TARGET"},
        {"/a/../%2F//b?c=/?&d", "ORIGIN |none|/a/../%2F//b?c=/?&d"},
        {"//a@b:99/", "ORIGIN |none|//a@b:99/"},
        {"/\xff\x80\"<>\\^`{|}%zz", "ORIGIN |none|/\xff\x80\"<>\\^`{|}%zz"},
        {"/a#b", "TARGET"},
        {"/a b", "TARGET"},
        {"/a\tb", "TARGET"},
        {"/a\r\nb", "TARGET"},
        {"/\x7f", "TARGET"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_target(METHOD_GET, rows[i].in, rows[i].expected);
}

static void test_absolute_form(void **state)
{
    static const struct row rows[] = {
        /* C10 */
        {"http://a/b", "ABSOLUTE http|name a|/b"},
        {"HTTPS://A:8443/b?c", "ABSOLUTE https|name a:8443|/b?c"},
        {"http://a", "ABSOLUTE http|name a|/"},
        {"http://a:/", "ABSOLUTE http|name a|/"},
        {"http://a?b=c", "ABSOLUTE http|name a|/?b=c"},
        {"http://a?", "ABSOLUTE http|name a|/?"},
        {"http://a//", "ABSOLUTE http|name a|//"},
        {"http://[::1]:80/x", "ABSOLUTE http|ipv6 ::1:80|/x"},
        {"http://0x7f.1/", "ABSOLUTE http|ipv4 127.0.0.1|/"},
        {"http://a/?http://b@c/", "ABSOLUTE http|name a|/?http://b@c/"},
        {"http://a/\xe9", "ABSOLUTE http|name a|/\xe9"},
        {"http://a#b", "TARGET"},
        {"http://a/#b", "TARGET"},
        {"http://a/b c", "TARGET"},
        {"http://", "AUTHORITY"},
        {"http:///", "AUTHORITY"},
        {"http://?x", "AUTHORITY"},
        {"http://:80/", "AUTHORITY"},
        {"http://a:0/", "AUTHORITY"},
        {"http://a:b/", "AUTHORITY"},
        {"http://a\\b/", "AUTHORITY"},
        {"http://a b/", "AUTHORITY"},
        /* C13 */
        {"http://u:p@h/", "USERINFO"},
        {"http://h@/", "USERINFO"},
        {"http://a#@b/", "TARGET"},
        /* FAILURES 16: two schemes */
        {"ftp://a/", "SCHEME"},
        {"gopher://a:70/_x", "SCHEME"},
        {"ws://a/", "SCHEME"},
        {"cache_object://a/", "SCHEME"},
        {"httpx://a/", "SCHEME"},
        {"http:/a/", "TARGET"},
        {"http:a", "TARGET"},
        {"http", "TARGET"},
        {"a:80", "TARGET"},
        {"a/b", "TARGET"},
        {"://a/", "TARGET"},
        {"h[p://a/", "TARGET"},
        {"?a", "TARGET"},
        {"", "TARGET"},
        {"*", "TARGET"},
        {"**", "TARGET"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_target(METHOD_GET, rows[i].in, rows[i].expected);
}

/* C11 */
static void test_options(void **state)
{
    UNUSED(state);
    check_target(METHOD_OPTIONS, "*", "ASTERISK |none|*");
    check_target(METHOD_OPTIONS, "http://a:81", "ABSOLUTE http|name a:81|*");
    check_target(METHOD_OPTIONS, "http://a/", "ABSOLUTE http|name a|/");
    check_target(METHOD_OPTIONS, "http://a?b", "ABSOLUTE http|name a|/?b");
    check_target(METHOD_OPTIONS, "/", "ORIGIN |none|/");
}

/* C16, S002-4 */
static void test_connect(void **state)
{
    static const struct row rows[] = {
        {"h:443", "AUTHORITY |name h:443|"},
        {"[::1]:443", "AUTHORITY |ipv6 ::1:443|"},
        {"0x7f.1:80", "AUTHORITY |ipv4 127.0.0.1:80|"},
        {"h", "AUTHORITY"},
        {"h:", "AUTHORITY"},
        {"h:0", "AUTHORITY"},
        {"h:65536", "AUTHORITY"},
        {"h:+1", "AUTHORITY"},
        {"http://h:1", "AUTHORITY"},
        {"h:1/", "AUTHORITY"},
        {"h:1?", "AUTHORITY"},
        {"u@h:1", "USERINFO"},
        {"/", "AUTHORITY"},
        {"*", "AUTHORITY"},
        {"", "TARGET"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_target(METHOD_CONNECT, rows[i].in, rows[i].expected);
}

/* --- back to text --------------------------------------------------------- */

/* U6: brackets are back */
static void test_host_field(void **state)
{
    static const struct {
        const char *in;
        enum scheme scheme;
        const char *expected;
    } rows[] = {
        {"A.b", SCHEME_HTTP, "a.b"},         {"a.b:80", SCHEME_HTTP, "a.b"},
        {"a.b:443", SCHEME_HTTP, "a.b:443"}, {"a.b:443", SCHEME_HTTPS, "a.b"},
        {"a.b:80", SCHEME_NONE, "a.b:80"},   {"127.1:65535", SCHEME_HTTP, "127.0.0.1:65535"},
        {"[0::1]", SCHEME_HTTP, "[::1]"},    {"[::1]:8080", SCHEME_HTTP, "[::1]:8080"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct objcache cache;

        objcache_init(&cache, 64, 0);
        for (memfail_start(); memfail_next();) {
            struct authority auth;
            struct slice field = SLICE_NONE;
            struct arena a;

            arena_init(&a, &cache, 4096);
            if (url_authority(&a, slice_str(rows[i].in), false, &auth) == URL_OK)
                field = url_host_field(&a, &auth, rows[i].scheme);
            if (memfail_hit())
                assert_null(field.p);
            else
                assert_true(slice_eq(field, slice_str(rows[i].expected)));
            arena_done(&a);
        }
        objcache_done(&cache);
    }
}

static void test_default_ports(void **state)
{
    UNUSED(state);
    assert_int_equal(url_default_port(SCHEME_HTTP), 80);
    assert_int_equal(url_default_port(SCHEME_HTTPS), 443);
    assert_int_equal(url_default_port(SCHEME_NONE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_port_needed_or_not),
        cmocka_unit_test(test_address_spellings),
        cmocka_unit_test(test_address_bytes),
        cmocka_unit_test(test_names_in_other_scripts),
        cmocka_unit_test(test_origin_form),
        cmocka_unit_test(test_absolute_form),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_host_field),
        cmocka_unit_test(test_default_ports),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
