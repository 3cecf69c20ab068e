/* SPDX-License-Identifier: MIT */
/* ClientHellos: what is read of good ones however they come, and which ones are refused (U49, C82, C85). */
#include "proto/clienthello.h"

#include "support/hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static enum parse feed(const struct hello *h, struct clienthello *ret)
{
    struct clienthello_scan scan = {0};
    const char *fault = NULL;
    enum parse r = clienthello_feed(&scan, h->p, h->n, ret, &fault);

    assert_int_equal(r == PARSE_BAD, fault != NULL);
    return r;
}

static void expect_name(const struct hello *h, const char *name)
{
    struct clienthello c = {0};

    assert_int_equal(feed(h, &c), PARSE_DONE);
    assert_int_equal(c.n_name, strlen(name));
    assert_memory_equal(c.name, name, c.n_name);
    assert_int_equal(c.end, h->n);
}

static void expect_bad(const struct hello *h, const char *text)
{
    struct clienthello_scan scan = {0};
    struct clienthello c;
    const char *fault = "none";

    assert_int_equal(clienthello_feed(&scan, h->p, h->n, &c, &fault), PARSE_BAD);
    if (!strstr(fault, text))
        fail_msg("\"%s\" does not say \"%s\"", fault, text);
}

static void plain(void **state)
{
    struct clienthello c = {0};
    struct hello h;

    (void)state;
    hello_make(&h, "one.test", 0);
    expect_name(&h, "one.test");
    feed(&h, &c);
    assert_int_equal(c.version, 0x0304);
    assert_false(c.ech || c.alpn);
    hello_make(&h, "one.test", HELLO_OLD | HELLO_ALPN);
    feed(&h, &c);
    assert_int_equal(c.version, 0x0303);
    assert_true(c.alpn);
    hello_make(&h, NULL, HELLO_BIG);
    expect_name(&h, "");
    hello_make(&h, NULL, HELLO_BARE);
    expect_name(&h, "");
}

/* C85 */
static void ech(void **state)
{
    struct clienthello c = {0};
    struct hello h;

    (void)state;
    hello_make(&h, "public.test", HELLO_ECH);
    expect_name(&h, "public.test");
    feed(&h, &c);
    assert_true(c.ech);
}

static void normal_form(void **state)
{
    static const char *const v[][2] = {
        {"ONE.Test", "one.test"}, {"one.test.", "one.test"}, {"a_b-c.test", "a_b-c.test"}, {"xn--bcher-kva.test", "xn--bcher-kva.test"}, {"192.0.2.1", "192.0.2.1"}, {"x", "x"},
    };
    struct hello h;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        hello_make(&h, v[i][0], 0);
        expect_name(&h, v[i][1]);
    }
}

static void bad_names(void **state)
{
    static const struct {
        const char *p;
        size_t n;
    } v[] = {{"", 0}, {".", 1}, {"a..b", 4}, {".a", 2}, {"a..", 3}, {"one.test\0evil.test", 18}, {"one.test ", 9}, {"b\xc3\xbc", 3}, {"a:443", 5}, {"[::1]", 5}, {"a/b", 3}, {"*.test", 6}};
    char lots[300];
    struct hello m, h;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        hello_message(&m, v[i].p, v[i].n, 0);
        hello_records(&h, &m, 16384);
        expect_bad(&h, "name");
    }
    memset(lots, 'a', sizeof(lots));
    hello_message(&m, lots, 64, 0);
    hello_records(&h, &m, 16384);
    expect_bad(&h, "no host name");
    for (size_t i = 50; i < sizeof(lots); i += 51)
        lots[i] = '.';
    hello_message(&m, lots, 255, 0);
    hello_records(&h, &m, 16384);
    expect_bad(&h, "too long");
    hello_message(&m, lots, 254, 0);
    hello_records(&h, &m, 16384);
    expect_bad(&h, "no host name");
    hello_message(&m, lots, 253, 0);
    hello_records(&h, &m, 16384);
    lots[253] = 0;
    expect_name(&h, lots);
}

/* What one reader may take for one name, and another one for another. */
static void two_readings(void **state)
{
    struct hello h;

    (void)state;
    hello_make(&h, "one.test", HELLO_TWICE);
    expect_bad(&h, "twice");
    hello_make(&h, "one.test", HELLO_TWO);
    expect_bad(&h, "more than one name");
    hello_make(&h, "one.test", HELLO_TRAILING);
    expect_bad(&h, "follow");
}

/* The offset of the extensions' length, behind the record's head. */
enum { EXTENSIONS = 5 + 4 + 2 + 32 + 1 + 32 + 2 + 4 + 2, FIRST = EXTENSIONS + 2, NAME = FIRST + 4 };

static void put16(struct hello *h, size_t at, int add)
{
    unsigned v = (unsigned)(h->p[at] << 8 | h->p[at + 1]) + (unsigned)add;

    h->p[at] = (unsigned char)(v >> 8);
    h->p[at + 1] = (unsigned char)v;
}

/* Each length one too long, and one too short. */
static void lengths(void **state)
{
    static const size_t at[] = {EXTENSIONS, FIRST + 2, NAME + 2, NAME + 4, NAME + 7};
    struct clienthello c;
    struct hello h;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(at); i++)
        for (int add = -1; add < 2; add += 2) {
            hello_make(&h, "one.test", 0);
            put16(&h, at[i], add);
            assert_int_equal(feed(&h, &c), PARSE_BAD);
        }
    /* session id, suites, compression */
    for (unsigned n = 0; n < 256; n++) {
        hello_make(&h, "one.test", 0);
        h.p[43] = (unsigned char)n;
        assert_true(n == 32 || feed(&h, &c) == PARSE_BAD);
    }
    hello_make(&h, "one.test", 0);
    h.p[EXTENSIONS - 2] = 0;
    assert_int_equal(feed(&h, &c), PARSE_BAD);
    /* of the message: too short, so that there is a rest; too long, so that more has to come */
    hello_make(&h, "one.test", 0);
    put16(&h, 7, -1);
    expect_bad(&h, "follow");
    hello_make(&h, "one.test", 0);
    put16(&h, 7, 1);
    assert_int_equal(feed(&h, &c), PARSE_MORE);
}

static void records(void **state)
{
    struct clienthello c;
    struct hello m, h;

    (void)state;
    for (size_t most = 1; most < 400; most++) {
        hello_message(&m, "one.test", 8, HELLO_BIG);
        hello_records(&h, &m, most);
        if (h.n <= CLIENTHELLO_MAX)
            expect_name(&h, "one.test");
        else
            expect_bad(&h, "too long");
    }
    hello_message(&m, "one.test", 8, 0);
    hello_records(&h, &m, 50);
    h.p[55] = 23;
    expect_bad(&h, "another record");
    h.p[55] = 22;
    h.p[56] = 4;
    expect_bad(&h, "version");
    h.p[56] = 3;
    h.p[58] = h.p[59] = 0;
    expect_bad(&h, "length");
    hello_records(&h, &m, 16384);
    h.p[0] = 21;
    expect_bad(&h, "another record");
    h.p[0] = 22;
    h.p[5] = 2;
    expect_bad(&h, "no ClientHello");
    /* 16 MB of it to come. */
    h.p[5] = 1;
    h.p[6] = 0xff;
    expect_bad(&h, "too long");
    /* DTLS */
    hello_records(&h, &m, 16384);
    h.p[1] = 0xfe;
    expect_bad(&h, "version");
    assert_int_equal(feed(&(struct hello){.n = 0}, &c), PARSE_MORE);
}

static void too_many_extensions(void **state)
{
    struct hello e = {.n = 0}, m = {.n = 0}, h;

    (void)state;
    for (unsigned i = 0; i < CLIENTHELLO_EXTENSIONS_MAX + 1; i++)
        hello_extension(&e, 0x1000 + i, "", 0);
    hello_message(&m, NULL, 0, HELLO_BARE);
    hello_number(&m, e.n, 2);
    hello_put(&m, e.p, e.n);
    m.p[2] = (unsigned char)((m.n - 4) >> 8);
    m.p[3] = (unsigned char)(m.n - 4);
    hello_records(&h, &m, 16384);
    expect_bad(&h, "too many");
}

/* Every truncation is unfinished; every way to cut it in two, and single bytes, give the same. */
static void cuts(void **state)
{
    struct clienthello_scan bytes = {0};
    struct clienthello c;
    const char *fault;
    struct hello m, h;

    (void)state;
    hello_message(&m, "one.test", 8, HELLO_BIG | HELLO_ECH);
    hello_records(&h, &m, 700);
    for (size_t n = 0; n < h.n; n++) {
        struct clienthello_scan two = {0}, whole = {0};

        assert_int_equal(clienthello_feed(&whole, h.p, n, &c, &fault), PARSE_MORE);
        assert_int_equal(clienthello_feed(&bytes, h.p, n, &c, &fault), PARSE_MORE);
        assert_int_equal(clienthello_feed(&two, h.p, n, &c, &fault), PARSE_MORE);
        assert_int_equal(clienthello_feed(&two, h.p, h.n, &c, &fault), PARSE_DONE);
        assert_int_equal(c.n_name, 8);
    }
    assert_int_equal(clienthello_feed(&bytes, h.p, h.n, &c, &fault), PARSE_DONE);
}

/* What follows in other records is none of it. */
static void more_behind(void **state)
{
    struct clienthello c;
    struct hello h, two;

    (void)state;
    hello_make(&h, "one.test", 0);
    two = h;
    hello_put(&two, "\x14\x03\x03\x00\x01\x01", 6);
    assert_int_equal(feed(&two, &c), PARSE_DONE);
    assert_int_equal(c.end, h.n);
}

/* It never reads behind what there is: every byte changed in turn, in memory of that size. */
static void mutations(void **state)
{
    struct hello h;

    (void)state;
    hello_make(&h, "one.test", HELLO_ALPN);
    for (size_t i = 0; i < h.n; i++)
        for (unsigned v = 0; v < 256; v += 15) {
            struct clienthello_scan scan = {0};
            unsigned char *p = malloc(h.n);
            struct clienthello c;
            const char *fault;

            assert_non_null(p);
            memcpy(p, h.p, h.n);
            p[i] = (unsigned char)v;
            if (clienthello_feed(&scan, p, h.n, &c, &fault) == PARSE_DONE)
                assert_true(c.end <= h.n && c.n_name <= CLIENTHELLO_NAME_MAX);
            free(p);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),        cmocka_unit_test(ech),     cmocka_unit_test(normal_form),
        cmocka_unit_test(bad_names),    cmocka_unit_test(two_readings), cmocka_unit_test(lengths),
        cmocka_unit_test(records),      cmocka_unit_test(too_many_extensions), cmocka_unit_test(cuts),
        cmocka_unit_test(more_behind),  cmocka_unit_test(mutations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
