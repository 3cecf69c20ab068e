/* SPDX-License-Identifier: MIT */
/* Every row is parsed whole, cut in two at every place, byte by byte, and with each allocation
 * refused in turn; the answers must be the same. Rows go from basic to odd. */
#include "proto/h1_parse.h"

#include "support/memfail.h"
#include "unit/proto/h1_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define USUAL_LIMITS                                                                               \
    {                                                                                              \
        .line = 16384, .head = 65536, .fields = 200                                                \
    }

static const struct job request = {.kind = H1_REQUEST, .limits = USUAL_LIMITS};

/* `in` ends where the head ends, or has "$" there and what follows belongs to others. */
struct row {
    const char *in, *expected;
};

/* One way to feed. The text is "HEAD" or "FAULT"; DONE must have used exactly head_n bytes. */
static const char *parse_text(struct text *t, const struct job *j, struct slice in, size_t head_n,
                              const struct pieces *how)
{
    struct objcache cache;
    struct h1_parser *p;
    struct arena a;
    enum parse r;
    size_t used;

    t->n = 0;
    objcache_init(&cache, 128, 0); /* so small that most pieces of the arena are allocations */
    arena_init(&a, &cache, 1 << 22);
    p = feed_head(&a, j, in, how, &r, &used);
    if (!p) {
        text_str(t, "NO_MEMORY");
    } else {
        text_parsed(t, p, r);
        if (r == PARSE_DONE)
            assert_int_equal(used, head_n);
    }
    arena_done(&a);
    objcache_done(&cache);
    return t->p;
}

static void check_slice(const struct job *j, struct slice in, size_t head_n, const char *expected)
{
    static struct text t;
    struct pieces whole = {0}, bytes = {.step = 1};

    if (strcmp(parse_text(&t, j, in, head_n, &whole), expected) != 0)
        fail_msg("%.*s\nis:\n%s\nnot:\n%s", (int)in.n, in.p, t.p, expected);
    if (strcmp(parse_text(&t, j, in, head_n, &bytes), expected) != 0)
        fail_msg("%.*s\nbyte by byte is:\n%s\nnot:\n%s", (int)in.n, in.p, t.p, expected);
    for (size_t cut = 1; cut < in.n; cut++) {
        struct pieces two = {.first = cut};

        if (strcmp(parse_text(&t, j, in, head_n, &two), expected) != 0)
            fail_msg("%.*s\ncut at %zu is:\n%s\nnot:\n%s", (int)in.n, in.p, cut, t.p, expected);
    }
    for (memfail_start(); memfail_next();) {
        const char *text = parse_text(&t, j, in, head_n, &whole);

        if (strcmp(text, memfail_hit() ? "NO_MEMORY" : expected) != 0)
            fail_msg("%.*s\nwithout memory is:\n%s", (int)in.n, in.p, t.p);
    }
}

static void check(const struct job *j, const char *marked, const char *expected)
{
    size_t end;
    struct slice in = unmark(marked, &end);

    check_slice(j, in, end, expected);
    free((void *)(uintptr_t)in.p);
}

static void check_rows(const struct job *j, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check(j, rows[i].in, rows[i].expected);
}

#define CHECK_ROWS(job, rows) check_rows(job, rows, ARRAY_LEN(rows))

/* --- requests: the basic ones --------------------------------------------- */

static void test_simple_requests(void **state)
{
    static const struct row rows[] = {
        {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
         "GET / 1.1 absolute http name a none\nHost: a\n"},
        {"GET / HTTP/1.1\r\nHost: A.b:8080\r\n\r\n",
         "GET / 1.1 origin name a.b:8080 none\nHost: A.b:8080\n"},
        {"GET https://[::1]:8443/x?y HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n",
         "GET /x?y 1.1 absolute https ipv6 ::1:8443 none\nHost: [::1]:8443\n"},
        {"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n$\x16\x03\x01",
         "CONNECT 1.1 authority name h:443 none\nHost: h:443\n"},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * 1.1 asterisk name h none\nHost: h\n"},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n$hello",
         "POST / 1.1 origin name h length=5\nHost: h\nContent-Length: 5\n"},
        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n$0\r\n\r\n",
         "POST / 1.1 origin name h chunked\nHost: h\n"},
        /* C50: the next one is not ours */
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n$GET / HTTP/1.1\r\n",
         "GET / 1.1 origin name h none\nHost: h\n"},
        /* not there yet */
        {"", "MORE"},
        {"G", "MORE"},
        {"GET / HTTP/1.1\r\nHost: h\r\n\r", "MORE"},
        {"GET / HTTP/1.1\r\nHost: h\r\n", "MORE"},
    };

    UNUSED(state);
    CHECK_ROWS(&request, rows);
}

static void test_methods(void **state)
{
    static const struct row rows[] = {
        /* C10: any token, known or not; a client's word is kept as it is */
        {"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD / 1.1 origin name h none\nHost: h\n"},
        {"get / HTTP/1.1\r\nHost: h\r\n\r\n", "get / 1.1 origin name h none\nHost: h\n"},
        {"G(T / HTTP/1.1\r\n", "METHOD"},
        {"G\x80T / HTTP/1.1\r\n", "METHOD"},
        {"G\tT / HTTP/1.1\r\n", "METHOD"},
        {" GET / HTTP/1.1\r\n", "METHOD"},
        {"\x16\x03\x01\x02", "METHOD"},
        {"GET\t/ HTTP/1.1\r\n", "METHOD"},
        {"GET\r\n", "START_LINE"},
        {"GET\n", "START_LINE"},
    };
    const char all[] = /* has a '$' that is no mark */
        "!#$%&'*+-.^_`|~9z / HTTP/1.1\r\nHost: h\r\n\r\n";

    UNUSED(state);
    CHECK_ROWS(&request, rows);
    check_slice(&request, slice_str(all), sizeof(all) - 1,
                "!#$%&'*+-.^_`|~9z / 1.1 origin name h none\nHost: h\n");
}

/* C15: nothing is put right */
static void test_request_line(void **state)
{
    static const struct row rows[] = {
        {"GET  / HTTP/1.1\r\n", "START_LINE"},
        {"GET /  HTTP/1.1\r\n", "START_LINE"},
        {"GET / HTTP/1.1 \r\n", "START_LINE"},
        {"GET / a HTTP/1.1\r\n", "START_LINE"},
        {"GET /\tHTTP/1.1\r\n", "TARGET"},
        {"GET /\x7f HTTP/1.1\r\n", "TARGET"},
        {"GET /\x01 HTTP/1.1\r\n", "TARGET"},
        {"GET /a\x0bHTTP/1.1\r\n", "TARGET"},
        {"GET /\r\n", "START_LINE"},
        {"GET /\n", "START_LINE"},
        {"GET / \r\n", "START_LINE"},
        {"GET / HTTP/1\r\n", "START_LINE"},
        {"GET / HTTP/1.\r\n", "START_LINE"},
        {"GET / HTTP/.1\r\n", "START_LINE"},
        {"GET / HTTP/1.10\r\n", "START_LINE"},
        {"GET / HTTP/1.1x\r\n", "START_LINE"},
        {"GET / HTTP/01.1\r\n", "START_LINE"},
        {"GET / HTTP/+1.1\r\n", "START_LINE"},
        {"GET / HTTP 1.1\r\n", "START_LINE"},
        {"GET / http/1.1\r\n", "START_LINE"},
        {"GET / ICY/1.1\r\n", "START_LINE"},
        {"GET / HTTP/1.1\r\r\n", "BARE_CR"},
        {"GET / HTTP/1.1\rHost: h\r\n", "BARE_CR"},
        {"GET / HTTP/1.1\nHost: h\n\n", "BARE_LF"},
        /* versions */
        {"GET / HTTP/1.7\r\nHost: h\r\n\r\n", "GET / 1.1 origin name h none\nHost: h\n"},
        {"GET / HTTP/0.9\r\n", "VERSION"},
        {"GET / HTTP/2.0\r\n", "VERSION"},
        {"GET / HTTP/9.9\r\n", "VERSION"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "VERSION"},
        /* targets: the rest is in test_url */
        {"GET * HTTP/1.1\r\n", "TARGET"},
        {"GET h:80 HTTP/1.1\r\n", "TARGET"},
        {"GET ftp://h/ HTTP/1.1\r\n", "SCHEME"},
        {"GET http://h:99999/ HTTP/1.1\r\n", "AUTHORITY"},
        {"GET http://a%0d%0ab/ HTTP/1.1\r\n", "AUTHORITY"}, /* FAILURES 14 */
        {"GET http://u:p@h/ HTTP/1.1\r\n", "USERINFO"},     /* C13 */
        {"CONNECT h HTTP/1.1\r\n", "AUTHORITY"},            /* C16 */
        {"CONNECT http://h:1 HTTP/1.1\r\n", "AUTHORITY"},
        {"CONNECT /h:1 HTTP/1.1\r\n", "AUTHORITY"},
        {"CONNECT u@h:1 HTTP/1.1\r\n", "USERINFO"},
        /* C11, C12 */
        {"OPTIONS http://h:81 HTTP/1.1\r\nHost: h\r\n\r\n",
         "OPTIONS * 1.1 absolute http name h:81 none\nHost: h\n"},
        {"GET http://h/a/../%2F//b?c=/?&\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n",
         "GET /a/../%2F//b?c=/?&\xc3\xa4 1.1 absolute http name h none\nHost: h\n"},
        {"GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n",
         "GET /?q 1.1 absolute http name h none\nHost: h\n"},
    };

    UNUSED(state);
    CHECK_ROWS(&request, rows);
}

/* C3 */
static void test_empty_lines_before(void **state)
{
    static const struct row rows[] = {
        {"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / 1.1 origin name h none\nHost: h\n"},
        {"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / 1.1 origin name h none\nHost: h\n"},
        {"\r\n\n\r\n\n\r\n\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
         "GET / 1.1 origin name h none\nHost: h\n"},
        {"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET", "START_LINE"},
        {"\r\n\r\n\r\n", "MORE"},
        {"\rGET / HTTP/1.1\r\n", "BARE_CR"},
        {"\r\r\n", "BARE_CR"},
        {"\r\n GET / HTTP/1.1\r\n", "METHOD"},
    };

    UNUSED(state);
    CHECK_ROWS(&request, rows);
}

/* --- fields --------------------------------------------------------------- */

#define GET11 "GET / HTTP/1.1\r\nHost: h\r\n"
#define GOT11 "GET / 1.1 origin name h none\nHost: h\n"

static void test_fields(void **state)
{
    static const struct row rows[] = {
        /* C26: order, case and repetition are kept */
        {GET11 "B: 2\r\na: 1\r\nb: 3\r\nX-Ab_c.d!: 4\r\n\r\n",
         GOT11 "B: 2\na: 1\nb: 3\nX-Ab_c.d!: 4\n"},
        /* OWS is SP and HTAB, at both ends, and none is needed */
        {GET11 "a:1\r\nb: \t 2 \t \r\nc:\r\nd: \t\r\ne: x \t y\r\n\r\n",
         GOT11 "a: 1\nb: 2\nc: \nd: \ne: x \t y\n"},
        {GET11 "a: :b:\r\n\r\n", GOT11 "a: :b:\n"},
        /* C1, S000-3: octets */
        {GET11 "a: \x80\xff\xc3(\r\n\r\n", GOT11 "a: \x80\xff\xc3(\n"},
        /* C54: an underscore is no dash */
        {GET11 "Content_Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n",
         GOT11 "Content_Length: 5\nTransfer_Encoding: chunked\n"},
        /* S000-15: more than sixteen */
        {GET11 "a: 1\r\na: 2\r\na: 3\r\na: 4\r\na: 5\r\na: 6\r\na: 7\r\na: 8\r\na: 9\r\na: 10\r\n"
               "a: 11\r\na: 12\r\na: 13\r\na: 14\r\na: 15\r\na: 16\r\na: 17\r\na: 18\r\n\r\n",
         GOT11 "a: 1\na: 2\na: 3\na: 4\na: 5\na: 6\na: 7\na: 8\na: 9\na: 10\n"
               "a: 11\na: 12\na: 13\na: 14\na: 15\na: 16\na: 17\na: 18\n"},
        /* C4 */
        {"GET / HTTP/1.1\r\n Host: h\r\n\r\n", "LEADING_SPACE"},
        {"GET / HTTP/1.1\r\n\tHost: h\r\n\r\n", "LEADING_SPACE"},
        {"GET / HTTP/1.1\r\n \r\n", "LEADING_SPACE"},
        /* C5, FAILURES 3 */
        {GET11 "a : 1\r\n\r\n", "SPACE_BEFORE_COLON"},
        {GET11 "a\t: 1\r\n\r\n", "SPACE_BEFORE_COLON"},
        {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "SPACE_BEFORE_COLON"},
        {GET11 "a b: 1\r\n\r\n", "SPACE_BEFORE_COLON"},
        /* C6 */
        {GET11 "a: 1\r\n b\r\n\r\n", "OBS_FOLD"},
        {GET11 "a: 1\r\n\tb: 2\r\n\r\n", "OBS_FOLD"},
        {GET11 "a: 1\r\n \r\n\r\n", "OBS_FOLD"},
        /* FAILURES 4 */
        {GET11 ": 1\r\n\r\n", "FIELD_NAME"},
        {GET11 ":\r\n\r\n", "FIELD_NAME"},
        {"GET / HTTP/1.1\r\n: 1\r\nHost: h\r\n\r\n", "FIELD_NAME"},
        /* names are tokens and have a colon */
        {GET11 "a\r\n\r\n", "FIELD_NAME"},
        {GET11 "a\n\r\n", "FIELD_NAME"},
        {GET11 "a(b: 1\r\n\r\n", "FIELD_NAME"},
        {GET11 "\"a\": 1\r\n\r\n", "FIELD_NAME"},
        {GET11 "a\x80: 1\r\n\r\n", "FIELD_NAME"},
        {GET11 "a\x0b: 1\r\n\r\n", "FIELD_NAME"},
        {GET11 "\x7f: 1\r\n\r\n", "FIELD_NAME"},
        {GET11 "[a]: 1\r\n\r\n", "FIELD_NAME"},
        /* C1: controls */
        {GET11 "a: 1\x01\r\n\r\n", "FIELD_VALUE"},
        {GET11 "a: \x0b\r\n\r\n", "FIELD_VALUE"},
        {GET11 "a: 1234567890\x0c\r\n\r\n", "FIELD_VALUE"},
        {GET11 "a: 12345\x1f"
               "678901234\r\n\r\n",
         "FIELD_VALUE"},
        {GET11 "a: 12\x7f"
               "34567890123\r\n\r\n",
         "FIELD_VALUE"},
        /* C2 */
        {GET11 "a: 1\rb: 2\r\n\r\n", "BARE_CR"},
        {GET11 "a: 1\r\r\n\r\n", "BARE_CR"},
        {GET11 "a: \r1\r\n\r\n", "BARE_CR"},
        {GET11 "\rGET / HTTP/1.1\r\n", "BARE_CR"},
        {GET11 "\r\r\n", "BARE_CR"},
        {GET11 "a: 1\n\r\n", "BARE_LF"},
        {GET11 "\n", "BARE_LF"},
        {GET11 "a:\n b\r\n\r\n", "BARE_LF"},
    };

    UNUSED(state);
    CHECK_ROWS(&request, rows);
}

static void test_nul_bytes(void **state)
{
    static const struct slice rows[] = {
        {"GE\0T / HTTP/1.1\r\n", 18},
        {"GET /\0 HTTP/1.1\r\n", 18},
        {GET11 "a\0: 1\r\n\r\n", sizeof(GET11 "a\0: 1\r\n\r\n") - 1},
        {GET11 "a: 1\0\r\n\r\n", sizeof(GET11 "a: 1\0\r\n\r\n") - 1},
        {GET11 "a: 123456789\0001\r\n\r\n", sizeof(GET11 "a: 123456789\0001\r\n\r\n") - 1},
    };
    static const char *const expected[] = {"METHOD", "TARGET", "FIELD_NAME", "FIELD_VALUE",
                                           "FIELD_VALUE"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_slice(&request, rows[i], 0, expected[i]);
}

/* Every byte that may not stand in a value or a target is refused at every place of the words that
 * the fast loops look at. */
static void test_every_byte_at_every_place(void **state)
{
    static struct text t;
    struct pieces whole = {0};

    UNUSED(state);
    for (unsigned c = 0; c < 256; c++) {
        for (size_t at = 0; at < 17; at++) {
            char value[] = GET11 "a: x0123456789abcdefx\r\n\r\n";
            char target[] = "GET /0123456789abcdefx HTTP/1.1\r\nHost: h\r\n\r\n";
            bool ok = c == '\t' || (c >= ' ' && c != 0x7f);
            const char *text;

            value[sizeof(GET11) - 1 + 4 + at] = (char)c;
            text = parse_text(&t, &request, slice_of(value, sizeof(value) - 1), sizeof(value) - 1,
                              &whole);
            assert_string_equal(ok          ? "GET"
                                : c == '\r' ? "BARE_CR"
                                : c == '\n' ? "BARE_LF"
                                            : "FIELD_VALUE",
                                ok ? strtok(t.p, " ") : text);
            target[5 + at] = (char)c;
            text = parse_text(&t, &request, slice_of(target, sizeof(target) - 1),
                              sizeof(target) - 1, &whole);
            ok = c > ' ' && c != 0x7f && c != '#';
            assert_string_equal(ok                                   ? "GET"
                                : c == ' ' || c == '\r' || c == '\n' ? "START_LINE"
                                                                     : "TARGET",
                                ok ? strtok(t.p, " ") : text);
        }
    }
}

/* --- Host ----------------------------------------------------------------- */

/* C8, C9 */
static void test_host(void **state)
{
    static const struct row rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", "HOST_MISSING"},
        {"GET http://a/ HTTP/1.1\r\n\r\n", "HOST_MISSING"},
        {"OPTIONS * HTTP/1.1\r\n\r\n", "HOST_MISSING"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "HOST_REPEATED"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nhOST: b\r\n\r\n", "HOST_REPEATED"},
        {"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "HOST_REPEATED"},
        {"GET http://a/ HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "HOST_REPEATED"},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "HOST_REPEATED"},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "HOST_MALFORMED"},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "HOST_MALFORMED"},
        {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "HOST_MALFORMED"},
        {"GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", "HOST_MALFORMED"},
        {"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", "HOST_MALFORMED"},
        {"GET / HTTP/1.1\r\nHost: a/\r\n\r\n", "HOST_MALFORMED"},
        {"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", "HOST_MALFORMED"},
        {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "USERINFO"},
        {"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", "HOST_MALFORMED"},
        {"GET http://a/ HTTP/1.1\r\nHost: u@b\r\n\r\n", "USERINFO"},
        {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "GET / 1.1 origin name a none\nHost: a:\n"},
        {"GET / HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n",
         "GET / 1.1 origin ipv4 127.0.0.1 none\nHost: 0x7f.1\n"},
        {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
         "GET / 1.1 origin ipv6 ::1:80 none\nHost: [::1]:80\n"},
        /* the target counts, not the field */
        {"GET http://a/ HTTP/1.1\r\nHost: b:99\r\n\r\n",
         "GET / 1.1 absolute http name a none\nHost: b:99\n"},
        {"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n",
         "GET / 1.1 absolute http name a none\nHost: \n"},
        /* HTTP/1.0 may lack it when the target says where to */
        {"GET http://a/ HTTP/1.0\r\n\r\n", "GET / 1.0 absolute http name a none close\n"},
        {"GET / HTTP/1.0\r\n\r\n", "HOST_MISSING"},
        {"GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / 1.0 origin name a none close\nHost: a\n"},
        /* a CONNECT may lack it, and it need not match */
        {"CONNECT a:1 HTTP/1.1\r\n\r\n", "CONNECT 1.1 authority name a:1 none\n"},
        {"CONNECT a:1 HTTP/1.1\r\nHost: b c\r\n\r\n",
         "CONNECT 1.1 authority name a:1 none\nHost: b c\n"},
    };

    UNUSED(state);
    CHECK_ROWS(&request, rows);
}

/* --- CONNECT -------------------------------------------------------------- */

static void test_connect(void **state)
{
    static const struct row rows[] = {
        /* S000-5: typed by hand, LF and no Host; the bytes behind it belong to the tunnel */
        {"CONNECT 127.0.0.1:9002 HTTP/1.1\n\n$hello\n",
         "CONNECT 1.1 authority ipv4 127.0.0.1:9002 none\n"},
        {"CONNECT h:1 HTTP/1.1\nA: b\nC: d\r\n\n",
         "CONNECT 1.1 authority name h:1 none\nA: b\nC: d\n"},
        {"CONNECT h:1 HTTP/1.1\r\nA:\nC: d\n\r\n",
         "CONNECT 1.1 authority name h:1 none\nA: \nC: d\n"},
        {"CONNECT h:1 HTTP/1.1\n\r\n", "CONNECT 1.1 authority name h:1 none\n"},
        {"\nCONNECT h:1 HTTP/1.1\n\n", "CONNECT 1.1 authority name h:1 none\n"},
        {"CONNECT h:1 HTTP/1.1\r\r\n", "BARE_CR"},
        {"CONNECT h:1 HTTP/1.1\nA: b\rC: d\n\n", "BARE_CR"},
        {"CONNECT h:1 HTTP/1.1\n A: b\n\n", "LEADING_SPACE"},
        {"CONNECT h:1 HTTP/1.1\nA: b\n c\n\n", "OBS_FOLD"},
        {"CONNECT h:1 HTTP/1.1\nA : b\n\n", "SPACE_BEFORE_COLON"},
        {"CONNECT h:1\n\n", "START_LINE"},
        {"connect h:1 HTTP/1.1\n\n", "BARE_LF"}, /* decided by the method, which knows case */
        {"CONNECTX h:1 HTTP/1.1\n\n", "BARE_LF"},
        /* S002-4 */
        {"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n",
         "CONNECT 1.1 authority ipv6 ::1:443 none\nHost: [::1]:443\n"},
        /* S003-1 */
        {"CONNECT www.microsoft.com:443 HTTP/1.0\r\nUser-Agent: x\r\nHost: www.microsoft.com\r\n"
         "Content-Length: 0\r\nConnection: Keep-Alive\r\nPragma: no-cache\r\n\r\n",
         "CONNECT 1.0 authority name www.microsoft.com:443 none close\nUser-Agent: x\n"
         "Host: www.microsoft.com\nPragma: no-cache\n"},
        {"CONNECT h:1 HTTP/1.1\r\nContent-Length: 0\r\ncontent-length: 00\r\n\r\n",
         "CONNECT 1.1 authority name h:1 none\n"},
        /* C54: a CONNECT with a body */
        {"CONNECT h:1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "CONNECT_BODY"},
        {"CONNECT h:1 HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", "CONNECT_BODY"},
        {"CONNECT h:1 HTTP/1.1\r\nContent-Length:\r\n\r\n", "CONNECT_BODY"},
        {"CONNECT h:1 HTTP/1.1\r\nContent-Length: x\r\n\r\n", "CONNECT_BODY"},
        {"CONNECT h:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "CONNECT_BODY"},
        {"CONNECT h:1 HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n", "CONNECT_BODY"},
    };

    UNUSED(state);
    CHECK_ROWS(&request, rows);
}

/* --- framing of requests -------------------------------------------------- */

#define POST11 "POST / HTTP/1.1\r\nHost: h\r\n"
#define POSTED "POST / 1.1 origin name h "

/* C43, FAILURES 5 and 6 */
static void test_request_length(void **state)
{
    static const struct row rows[] = {
        {POST11 "Content-Length: 0\r\n\r\n", POSTED "length=0\nHost: h\nContent-Length: 0\n"},
        {POST11 "Content-Length: 9223372036854775807\r\n\r\n",
         POSTED "length=9223372036854775807\nHost: h\nContent-Length: 9223372036854775807\n"},
        /* equal ones become one, in the first one's place, in plain digits */
        {POST11 "Content-Length: 5, 5\r\n\r\n", POSTED "length=5\nHost: h\nContent-Length: 5\n"},
        {POST11 "a: 1\r\nContent-Length: 5\r\nb: 2\r\nCONTENT-LENGTH: 5\r\nc: 3\r\n\r\n",
         POSTED "length=5\nHost: h\na: 1\nContent-Length: 5\nb: 2\nc: 3\n"},
        {POST11 "Content-Length: 005\r\n\r\n", POSTED "length=5\nHost: h\nContent-Length: 5\n"},
        {POST11 "content-length: 05\t,5 , 005\r\nContent-Length: 5\r\n\r\n",
         POSTED "length=5\nHost: h\ncontent-length: 5\n"},
        {POST11 "Content-Length: 5, 6\r\n\r\n", "CL_UNEQUAL"},
        {POST11 "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "CL_UNEQUAL"},
        {POST11 "Content-Length: 5\r\nContent-Length: 0\r\n\r\n", "CL_UNEQUAL"},
        {POST11 "Content-Length:\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length:\r\nContent-Length: 5\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 5\r\nContent-Length: \r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 5,\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: ,5\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 5,,5\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: +5\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: -5\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 0x5\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 5x\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 5 5\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 5;\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: \"5\"\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 5.0\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 1e1\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: \xb2\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 9223372036854775808\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 18446744073709551616\r\n\r\n", "CL_MALFORMED"},
        {POST11 "Content-Length: 18446744073709551621\r\n\r\n", "CL_MALFORMED"},
        /* C54: Connection does not take it away */
        {POST11 "Content-Length: 5\r\nConnection: content-length\r\n\r\n",
         POSTED "length=5\nHost: h\nContent-Length: 5\n"},
    };

    UNUSED(state);
    CHECK_ROWS(&request, rows);
}

/* C39-C42, C54, FAILURES 1 and 2 */
static void test_request_codings(void **state)
{
    static const struct row rows[] = {
        {POST11 "Transfer-Encoding: Chunked\r\n\r\n", POSTED "chunked\nHost: h\n"},
        {POST11 "transfer-encoding:\tCHUNKED \r\n\r\n", POSTED "chunked\nHost: h\n"},
        {POST11 "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n",
         POSTED "chunked\nHost: h\n"},
        /* both */
        {POST11 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "CL_AND_TE"},
        {POST11 "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", "CL_AND_TE"},
        {POST11 "Transfer-Encoding: x\r\nContent-Length: x\r\n\r\n", "CL_AND_TE"},
        {POST11 "Transfer-Encoding:\r\nContent-Length:\r\n\r\n", "CL_AND_TE"},
        {POST11 "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n", "SPACE_BEFORE_COLON"},
        /* unknown before a final chunked */
        {POST11 "Transfer-Encoding: gzip, chunked\r\n\r\n", "TE_UNKNOWN"},
        {POST11 "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", "TE_UNKNOWN"},
        {POST11 "Transfer-Encoding: identity, chunked\r\n\r\n", "TE_UNKNOWN"},
        {POST11 "Transfer-Encoding: a, b, c, chunked\r\n\r\n", "TE_UNKNOWN"},
        /* everything else */
        {POST11 "Transfer-Encoding:\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: identity\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: gzip\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: xchunked\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunkedx\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunke\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunked, chunked\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunked, identity\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
         "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunked,\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: ,chunked\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: ,\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunked;q=1\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunked ;\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: \"chunked\"\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: 'chunked'\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: x;y=\"a, chunked\"\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: x;y=z, chunked\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: gzip chunked\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunked\xa0\r\n\r\n", "TE_MALFORMED"},
        {POST11 "Transfer-Encoding: chunked\x0b\r\n\r\n", "FIELD_VALUE"},
        {POST11 "Transfer-Encoding: \x0c"
                "chunked\r\n\r\n",
         "FIELD_VALUE"},
        {POST11 "Transfer-Encoding: chunked\r\n , identity\r\n\r\n", "OBS_FOLD"},
        {POST11 "Transfer-Encoding:\r\n chunked\r\n\r\n", "OBS_FOLD"},
        {POST11 "Transfer-Encoding\r\n : chunked\r\n\r\n", "FIELD_NAME"},
        /* C41 */
        {"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "TE_IN_1_0"},
        {"POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
         "TE_IN_1_0"},
        {"POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
         "POST / 1.0 origin name h length=5 close\nHost: h\nContent-Length: 5\n"},
    };

    UNUSED(state);
    CHECK_ROWS(&request, rows);
}

/* --- what requests say about the connection ------------------------------- */

static void test_request_connection(void **state)
{
    static const struct row rows[] = {
        /* C24, C25; the rest is in test_head */
        {GET11 "Connection: close, x\r\nX: 1\r\nProxy-Connection: keep-alive\r\nY: 2\r\n\r\n",
         "GET / 1.1 origin name h none close\nHost: h\nY: 2\n"},
        /* C32 */
        {GET11 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
         "GET / 1.1 origin name h none upgrade=websocket\nHost: h\nSec-WebSocket-Key: k\n"},
        {GET11 "TE: trailers\r\nConnection: TE\r\n\r\n",
         "GET / 1.1 origin name h none te\nHost: h\n"},
        /* C51 */
        {"GET http://a/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         "GET / 1.0 absolute http name a none close\n"},
        /* C31: the field goes on in any case; 1.0 can't mean it (RFC 9110 10.1.1) */
        {POST11 "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n",
         POSTED "length=1 expect\nHost: h\nContent-Length: 1\nExpect: 100-Continue\n"},
        {POST11 "Expect: x\r\n\r\n", POSTED "none\nHost: h\nExpect: x\n"},
        {"POST http://h/ HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
         "POST / 1.0 absolute http name h none close\nExpect: 100-continue\n"},
    };

    UNUSED(state);
    CHECK_ROWS(&request, rows);
}

/* --- limits --------------------------------------------------------------- */

/* "GET /aaa HTTP/1.1" of line_n bytes, then fields of field_n bytes each, CR LF and all. */
static size_t make_request(char *out, size_t line_n, unsigned fields, size_t field_n)
{
    const char head[] = "GET /", tail[] = " HTTP/1.1\r\nHost: h\r\n";
    size_t fill = line_n - (sizeof("GET / HTTP/1.1") - 1), n = 0;

    memcpy(out, head, sizeof(head) - 1);
    n += sizeof(head) - 1;
    memset(out + n, 'a', fill);
    n += fill;
    memcpy(out + n, tail, sizeof(tail) - 1);
    n += sizeof(tail) - 1;
    for (unsigned i = 0; i < fields; i++) {
        memset(out + n, 'x', field_n);
        out[n + 1] = ':';
        memcpy(out + n + field_n - 2, "\r\n", 2);
        n += field_n;
    }
    memcpy(out + n, "\r\n", 2);
    return n + 2;
}

static void check_limit(const struct job *j, size_t line_n, unsigned fields, size_t field_n,
                        const char *fault)
{
    char in[4096];
    size_t n = make_request(in, line_n, fields, field_n);
    static struct text t;
    struct pieces whole = {0};

    if (!fault) {
        parse_text(&t, j, slice_of(in, n), n, &whole);
        assert_memory_equal(t.p, "GET /a", 6);
        fault = strdup(t.p);
        assert_non_null(fault);
        check_slice(j, slice_of(in, n), n, fault);
        free((void *)(uintptr_t)fault);
        return;
    }
    check_slice(j, slice_of(in, n), n, fault);
}

/* C14: the limit passes, one more is refused */
static void test_limits(void **state)
{
    struct job j = {.kind = H1_REQUEST, .limits = {.line = 100, .head = 300, .fields = 4}};

    UNUSED(state);
    check_limit(&j, 100, 0, 0, NULL);
    check_limit(&j, 101, 0, 0, "LINE_TOO_LONG");
    check_limit(&j, 150, 0, 0, "LINE_TOO_LONG");
    check_limit(&j, 20, 3, 10, NULL);
    check_limit(&j, 20, 4, 10, "TOO_MANY_FIELDS");
    check_limit(&j, 20, 9, 10, "TOO_MANY_FIELDS");
    /* 20 + 2 + 9 + 2 = 33 bytes without fields */
    check_limit(&j, 20, 1, 267, NULL);
    check_limit(&j, 20, 1, 268, "HEAD_TOO_LONG");
    check_limit(&j, 20, 3, 89, NULL);
    check_limit(&j, 20, 3, 90, "HEAD_TOO_LONG");
    check_limit(&j, 20, 1, 2000, "HEAD_TOO_LONG");
}

static void test_line_limit_everywhere(void **state)
{
    static const char line[] = "POST / HTTP/1.1";
    struct job j = {.kind = H1_REQUEST, .limits = {.head = 300, .fields = 4}};

    UNUSED(state);
    for (uint32_t limit = 1; limit < sizeof(line) - 1; limit++) {
        j.limits.line = limit;
        check(&j, "POST / HTTP/1.1\r\nHost: h\r\n\r\n", "LINE_TOO_LONG");
    }
    j.limits.line = sizeof(line) - 1;
    check(&j, "POST / HTTP/1.1\r\nHost: h\r\n\r\n", POSTED "none\nHost: h\n");
    j.limits.line = 8;
    check(&j, "CONNECT h:1 HTTP/1.1\n\n", "LINE_TOO_LONG");
    check(&j, "LONGMETHOD", "LINE_TOO_LONG");
}

static void test_head_limit_everywhere(void **state)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: h\r\n\r\n";
    struct job j = {.kind = H1_REQUEST, .limits = {.line = 300, .fields = 4}};

    UNUSED(state);
    for (uint32_t limit = 1; limit < sizeof(head) - 1; limit++) {
        j.limits.head = limit;
        check(&j, head, "HEAD_TOO_LONG");
    }
    j.limits.head = sizeof(head) - 1;
    check(&j, head, POSTED "none\nHost: h\n");
}

/* What the log gets of a request that is refused. */
static void test_what_is_known_after_a_fault(void **state)
{
    struct job j = {.kind = H1_REQUEST, .limits = {.line = 20, .head = 300, .fields = 4}};
    static const struct {
        const char *in, *method, *target;
    } rows[] = {
        {"GET /abcdefghijklmnopqrstuvwxyz HTTP/1.1\r\n", "GET", "/abcdefghijklmno"},
        {"GET http://u:p@h/ HTTP/1.1\r\n", "GET", "http://u:p@h/"},
        {"GET /\x01", "GET", "/"},
        {"GET / HTTP/3.0\r\n", "GET", "/"},
        {"G(T / HTTP/1.1\r\n", "", ""},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 0; step < 3; step++) {
            struct pieces how = {.step = step};
            struct h1_parser *p;
            struct arena a;
            enum parse r;
            size_t used;

            arena_init(&a, NULL, 1 << 16);
            p = feed_head(&a, &j, slice_str(rows[i].in), &how, &r, &used);
            assert_non_null(p);
            assert_int_equal(r, PARSE_BAD);
            assert_true(slice_eq(h1_parser_head(p)->method_name, slice_str(rows[i].method)));
            assert_true(slice_eq(h1_parser_head(p)->target, slice_str(rows[i].target)));
            arena_done(&a);
        }
    }
}

/* An option of Connection costs a walk over the fields. */
static void test_connection_options_are_bounded(void **state)
{
    struct job j = {.kind = H1_REQUEST, .limits = {.line = 100, .head = 300, .fields = 4}};

    UNUSED(state);
    check(&j, GET11 "Connection: a,b\r\nConnection: c,d,,\r\n\r\n", GOT11);
    check(&j, GET11 "Connection: a,b\r\nConnection: c,d,e\r\n\r\n", "TOO_MANY_FIELDS");
}

static void test_begun(void **state)
{
    struct h1_limits limits = USUAL_LIMITS;
    struct h1_parser *p;
    struct arena a;
    size_t used;

    UNUSED(state);
    arena_init(&a, NULL, 1 << 16);
    p = h1_parser_new(&a, H1_REQUEST, &limits);
    assert_false(h1_parser_begun(p));
    assert_int_equal(h1_parser_feed(p, "\r\n\r", 3, &used), PARSE_MORE);
    assert_int_equal(used, 3);
    assert_false(h1_parser_begun(p));
    assert_int_equal(h1_parser_feed(p, "", 0, &used), PARSE_MORE);
    assert_false(h1_parser_begun(p));
    assert_int_equal(h1_parser_feed(p, "\nG", 2, &used), PARSE_MORE);
    assert_true(h1_parser_begun(p));
    p = h1_parser_new(&a, H1_RESPONSE, &limits);
    assert_false(h1_parser_begun(p));
    assert_int_equal(h1_parser_feed(p, "H", 1, &used), PARSE_MORE);
    assert_true(h1_parser_begun(p));
    arena_done(&a);
}

/* Once over, it says the same again. */
static void test_feeding_after_the_end(void **state)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    struct h1_limits limits = USUAL_LIMITS;
    struct h1_parser *p;
    struct arena a;
    size_t used;

    UNUSED(state);
    arena_init(&a, NULL, 1 << 16);
    p = h1_parser_new(&a, H1_REQUEST, &limits);
    assert_int_equal(h1_parser_feed(p, head, sizeof(head) - 1, &used), PARSE_DONE);
    assert_int_equal(h1_parser_feed(p, head, sizeof(head) - 1, &used), PARSE_DONE);
    assert_int_equal(used, 0);
    assert_int_equal(h1_parser_head(p)->fields.n, 1);
    p = h1_parser_new(&a, H1_REQUEST, &limits);
    assert_int_equal(h1_parser_feed(p, "@", 1, &used), PARSE_BAD);
    assert_int_equal(h1_parser_feed(p, head, sizeof(head) - 1, &used), PARSE_BAD);
    assert_int_equal(h1_parser_fault(p), H1_METHOD);
    arena_done(&a);
}

/* FAILURES 22: ten megabytes of anything take no more than the documented multiple of the limit. */
static void test_endless_input_is_bounded(void **state)
{
    static const struct {
        const char *start, *repeat;
        enum h1_kind kind;
    } rows[] = {
        {"", "\r\n", H1_REQUEST},
        {"", "\n", H1_REQUEST},
        {"", "A", H1_REQUEST},
        {"GET /", "a", H1_REQUEST},
        {"CONNECT ", "a", H1_REQUEST},
        {GET11, "a: b\r\n", H1_REQUEST},
        {GET11, "a:\r\n", H1_REQUEST},
        {GET11, "a", H1_REQUEST},
        {GET11 "a:", "b", H1_REQUEST},
        {GET11 "a:", " ", H1_REQUEST},
        {GET11 "a:", " b", H1_REQUEST},
        {"HTTP/1.1 200 ", "a", H1_RESPONSE},
        {"HTTP/1.1 200 OK\r\na:", "\r\n ", H1_RESPONSE},
        {"HTTP/1.1 200 OK\r\na:", "\r\n b", H1_RESPONSE},
        {"HTTP/1.1 200 OK\r\na", " ", H1_RESPONSE},
    };
    static const size_t sizes[] = {1, 7, 600, 1021, 1100, 5000, 65536};
    static char chunk[65536 + 16];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
            struct h1_limits limits = USUAL_LIMITS;
            size_t n = strlen(rows[i].repeat), used, fed = 0;
            enum parse r = PARSE_MORE;
            struct h1_parser *p;
            struct arena a;

            arena_init(&a, NULL, 16 << 20);
            for (size_t at = 0; at + n <= sizeof(chunk); at += n)
                memcpy(chunk + at, rows[i].repeat, n);
            p = h1_parser_new(&a, rows[i].kind, &limits);
            r = h1_parser_feed(p, rows[i].start, strlen(rows[i].start), &used);
            while (r == PARSE_MORE && fed < (10 << 20)) {
                size_t take = max_size(sizes[k] - sizes[k] % n, n);

                r = h1_parser_feed(p, chunk, take, &used);
                fed += take;
            }
            assert_int_equal(r, PARSE_BAD);
            assert_true(fed <= 2 * limits.head);
            assert_true(a.used <= 4 * limits.head + 2 * 40 * 256 + 16384);
            arena_done(&a);
        }
    }
}

/* Values that just fill a text, or just don't, come out whole however they come in. */
static void test_text_grows(void **state)
{
    struct h1_limits limits = USUAL_LIMITS;

    UNUSED(state);
    for (size_t size = 900; size < 1100; size += 3) {
        static const size_t steps[] = {0, 1, 100, 511};

        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            struct job j = {.kind = H1_REQUEST, .limits = limits};
            struct pieces how = {.step = steps[k]};
            char in[4096];
            struct h1_parser *parser;
            struct arena a;
            enum parse r;
            size_t used, n;

            n = (size_t)snprintf(in, sizeof(in), "%s", GET11);
            for (int f = 0; f < 3; f++) {
                n += (size_t)snprintf(in + n, sizeof(in) - n, "f%d: ", f);
                for (size_t b = 0; b < size; b++)
                    in[n++] = (char)('a' + (b + (size_t)f) % 26);
                n += (size_t)snprintf(in + n, sizeof(in) - n, "\r\n");
            }
            n += (size_t)snprintf(in + n, sizeof(in) - n, "\r\n");
            arena_init(&a, NULL, 1 << 20);
            parser = feed_head(&a, &j, slice_of(in, n), &how, &r, &used);
            assert_int_equal(r, PARSE_DONE);
            for (uint32_t f = 0; f < 3; f++) {
                const struct field *field = &h1_parser_head(parser)->fields.v[f + 1];

                assert_int_equal(field->name.n, 2);
                assert_int_equal(field->name.p[1], '0' + (int)f);
                assert_int_equal(field->value.n, size);
                for (size_t b = 0; b < size; b++)
                    assert_int_equal(field->value.p[b], 'a' + (int)((b + f) % 26));
            }
            arena_done(&a);
        }
    }
}

/* --- responses ------------------------------------------------------------ */

static const struct job to_get = {
    .kind = H1_RESPONSE, .request_method = METHOD_GET, .limits = USUAL_LIMITS};
static const struct job to_head = {
    .kind = H1_RESPONSE, .request_method = METHOD_HEAD, .limits = USUAL_LIMITS};
static const struct job to_connect = {
    .kind = H1_RESPONSE, .request_method = METHOD_CONNECT, .limits = USUAL_LIMITS};

static void test_status_line(void **state)
{
    static const struct row rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n$hi",
         "200 OK|1.1 length=2\nContent-Length: 2\n"},
        {"HTTP/1.1 404 Not  Found\tx\xe9 \r\nContent-Length: 0\r\n\r\n",
         "404 Not  Found\tx\xe9 |1.1 length=0\nContent-Length: 0\n"},
        {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200 |1.1 length=0\nContent-Length: 0\n"},
        {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200 |1.1 length=0\nContent-Length: 0\n"},
        {"HTTP/1.0 200 OK\r\n\r\n", "200 OK|1.0 close-delimited close\n"},
        {"HTTP/1.2 599 x\r\n\r\n", "599 x|1.1 close-delimited close\n"},
        {"HTTP/1.1 600 x\r\n", "STATUS_LINE"},
        {"HTTP/1.1 099 x\r\n", "STATUS_LINE"},
        {"HTTP/1.1 000 x\r\n", "STATUS_LINE"},
        {"HTTP/1.1 20 OK\r\n", "STATUS_LINE"},
        {"HTTP/1.1 2000 OK\r\n", "STATUS_LINE"},
        {"HTTP/1.1 4294967496 OK\r\n", "STATUS_LINE"},
        {"HTTP/1.1 +20 OK\r\n", "STATUS_LINE"},
        {"HTTP/1.1 2x0 OK\r\n", "STATUS_LINE"},
        {"HTTP/1.1  200 OK\r\n", "STATUS_LINE"},
        {"HTTP/1.1\t200 OK\r\n", "STATUS_LINE"},
        {"HTTP/1.1 200\tOK\r\n", "STATUS_LINE"},
        {"HTTP/1.1 200OK\r\n", "STATUS_LINE"},
        {"HTTP/1.1\r\n", "STATUS_LINE"},
        {"HTTP/2.0 200 OK\r\n", "VERSION"},
        {"HTTP/2 200\r\n", "STATUS_LINE"},
        {"ICY 200 OK\r\n", "STATUS_LINE"},
        {"<html>", "STATUS_LINE"},
        {"SSH-2.0-x\r\n", "STATUS_LINE"},
        {"\r\nHTTP/1.1 200 OK\r\n", "STATUS_LINE"},
        {" HTTP/1.1 200 OK\r\n", "STATUS_LINE"},
        {"HTTP/1.1 200 O\x01K\r\n", "STATUS_LINE"},
        {"HTTP/1.1 200 OK\x7f\r\n", "STATUS_LINE"},
        {"HTTP/1.1 200 O\rK\r\n", "BARE_CR"},
        {"HTTP/1.1 200 OK\nA: b\n\n", "BARE_LF"},
        {"HTTP/1.1 200\n\n", "BARE_LF"},
    };

    UNUSED(state);
    CHECK_ROWS(&to_get, rows);
}

#define OK11 "HTTP/1.1 200 OK\r\n"
#define OKED "200 OK|1.1 close-delimited close\n"

/* C5 and C6 are the repairs, and there are no others. */
static void test_response_fields(void **state)
{
    static const struct row rows[] = {
        {OK11 "A : 1\r\nB\t \t: 2\r\nC:3\r\n\r\n", OKED "A: 1\nB: 2\nC: 3\n"},
        {OK11 "Content-Length : 3\r\n\r\n", "200 OK|1.1 length=3\nContent-Length: 3\n"},
        /* a fold and the blanks around it are one SP */
        {OK11 "A: 1\r\n 2\r\n\r\n", OKED "A: 1 2\n"},
        {OK11 "A: 1 \t\r\n\t \t2\t\r\n\t3\r\nB: 4\r\n\r\n", OKED "A: 1 2 3\nB: 4\n"},
        {OK11 "A:\r\n 1\r\n\r\n", OKED "A: 1\n"},
        {OK11 "A:\r\n \r\n\t\r\n 1\r\n \r\n\r\n", OKED "A: 1\n"},
        {OK11 "A:\r\n \r\n\r\n", OKED "A: \n"},
        {OK11 "A: 1\r\n B: 2\r\n\r\n", OKED "A: 1 B: 2\n"},
        {OK11 "A: 1\r\n B: 2\r\nC : 3\r\n 4\r\n\r\n", OKED "A: 1 B: 2\nC: 3 4\n"},
        {OK11 "Transfer-Encoding:\r\n chunked\r\n\r\n", "200 OK|1.1 chunked\n"},
        {OK11 "Content-Length: 5\r\n 5\r\n\r\n", "CL_MALFORMED"},
        {OK11 "Content-Length: 1\r\n\t2\r\n\r\n", "CL_MALFORMED"},
        /* C26 */
        {OK11 "Set-Cookie: a=1, b\r\nX: y\r\nSet-Cookie: c=2\r\n\r\n",
         OKED "Set-Cookie: a=1, b\nX: y\nSet-Cookie: c=2\n"},
        /* the same as in requests */
        {OK11 " A: 1\r\n\r\n", "LEADING_SPACE"},
        {OK11 "\t\r\n\r\n", "LEADING_SPACE"},
        {OK11 "A B: 1\r\n\r\n", "FIELD_NAME"},
        {OK11 "A \r\n\r\n", "FIELD_NAME"},
        {OK11 "A\r\n : 1\r\n\r\n", "FIELD_NAME"},
        {OK11 ": 1\r\n\r\n", "FIELD_NAME"},
        {OK11 "A\r\n\r\n", "FIELD_NAME"},
        {OK11 "A: 1\x02\r\n\r\n", "FIELD_VALUE"},
        {OK11 "A: 1\r\n \x02\r\n\r\n", "FIELD_VALUE"},
        {OK11 "A: 1\rB\r\n\r\n", "BARE_CR"},
        {OK11 "A: 1\nB: 2\r\n\r\n", "BARE_LF"},
        {OK11 "A: 1\n\n", "BARE_LF"},
        {OK11 "\n", "BARE_LF"},
        {OK11 "\rX", "BARE_CR"},
    };

    UNUSED(state);
    CHECK_ROWS(&to_get, rows);
}

static void test_response_framing(void **state)
{
    static const struct row rows[] = {
        {OK11 "\r\n", OKED},
        {OK11 "Content-Length: 0\r\n\r\n", "200 OK|1.1 length=0\nContent-Length: 0\n"},
        {OK11 "Transfer-Encoding: chunked\r\n\r\n", "200 OK|1.1 chunked\n"},
        {OK11 "transfer-encoding: CHUNKED\r\n\r\n", "200 OK|1.1 chunked\n"},
        {OK11 "Transfer-Encoding: , chunked ,\r\n\r\n", "200 OK|1.1 chunked\n"},
        /* C39 */
        {OK11 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n",
         "200 OK|1.1 chunked close\nA: b\n"},
        {OK11 "Content-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n", "CL_MALFORMED"},
        /* C40 */
        {OK11 "Transfer-Encoding: identity\r\n\r\n", OKED},
        {OK11 "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n", OKED},
        {OK11 "Transfer-Encoding: gzip\r\n\r\n", "TE_UNKNOWN"},
        {OK11 "Transfer-Encoding: gzip, chunked\r\n\r\n", "TE_UNKNOWN"},
        {OK11 "Transfer-Encoding: identity, chunked\r\n\r\n", "TE_UNKNOWN"},
        {OK11 "Transfer-Encoding: xchunked\r\n\r\n", "TE_UNKNOWN"},
        {OK11 "Transfer-Encoding: chunked, identity\r\n\r\n", "TE_MALFORMED"},
        {OK11 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "TE_MALFORMED"},
        {OK11 "Transfer-Encoding: chunked, gzip, chunked\r\n\r\n", "TE_MALFORMED"},
        {OK11 "Transfer-Encoding: chunked;x\r\n\r\n", "TE_MALFORMED"},
        {OK11 "Transfer-Encoding:\r\n\r\n", "TE_MALFORMED"},
        {OK11 "Transfer-Encoding: ,\r\n\r\n", "TE_MALFORMED"},
        {OK11 "Transfer-Encoding: chunked\x0b\r\n\r\n", "FIELD_VALUE"},
        /* C41 */
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "TE_IN_1_0"},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", "TE_IN_1_0"},
        /* C43 */
        {OK11 "Content-Length: 5, 5\r\nX: y\r\nContent-Length: 05\r\n\r\n",
         "200 OK|1.1 length=5\nContent-Length: 5\nX: y\n"},
        {OK11 "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "CL_UNEQUAL"},
        {OK11 "Content-Length: 5,6\r\n\r\n", "CL_UNEQUAL"},
        {OK11 "Content-Length: +5\r\n\r\n", "CL_MALFORMED"},
        {OK11 "Content-Length: 0x5\r\n\r\n", "CL_MALFORMED"},
        {OK11 "Content-Length:\r\n\r\n", "CL_MALFORMED"},
        {OK11 "Content-Length: 18446744073709551616\r\n\r\n", "CL_MALFORMED"},
        /* C45: no content, whatever the fields say; where a length may not be it goes */
        {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "204 No Content|1.1 none\n"},
        {"HTTP/1.1 304 x\r\nContent-Length: 05\r\n\r\n", "304 x|1.1 none\nContent-Length: 5\n"},
        {"HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n", "304 x|1.1 none\n"},
        {"HTTP/1.1 304 x\r\nContent-Length: x\r\n\r\n", "CL_MALFORMED"},
        {"HTTP/1.1 204 x\r\nContent-Length: 1, 2\r\n\r\n", "CL_UNEQUAL"},
        {"HTTP/1.1 100 Continue\r\n\r\n", "100 Continue|1.1 none\n"},
        {"HTTP/1.1 103 x\r\nContent-Length: 5\r\nLink: a\r\n\r\n", "103 x|1.1 none\nLink: a\n"},
        {"HTTP/1.1 204 x\r\nTransfer-Encoding: gzip\r\n\r\n", "204 x|1.1 none\n"},
        /* C32 */
        {"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n$\x81",
         "101 x|1.1 none upgrade=websocket\n"},
        /* what it says about the connection */
        {OK11 "Content-Length: 0\r\nConnection: close\r\n\r\n",
         "200 OK|1.1 length=0 close\nContent-Length: 0\n"},
        {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
         "200 OK|1.0 length=0\nContent-Length: 0\n"},
        {OK11 "Content-Length: 0\r\nKeep-Alive: timeout=4\r\nConnection: keep-alive\r\n\r\n",
         "200 OK|1.1 length=0 keep-alive=4\nContent-Length: 0\n"},
        /* C49: the bytes after it are somebody else's trouble */
        {OK11 "Content-Length: 0\r\n\r\n$HTTP/1.1 200 OK\r\n\r\n",
         "200 OK|1.1 length=0\nContent-Length: 0\n"},
    };

    UNUSED(state);
    CHECK_ROWS(&to_get, rows);
}

static void test_response_to_head(void **state)
{
    static const struct row rows[] = {
        {OK11 "Content-Length: 5\r\n\r\n", "200 OK|1.1 none\nContent-Length: 5\n"},
        {OK11 "Transfer-Encoding: chunked\r\n\r\n", "200 OK|1.1 none\n"},
        {OK11 "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "200 OK|1.1 none close\n"},
        {OK11 "\r\n", "200 OK|1.1 none\n"},
        {OK11 "Content-Length: 5, 6\r\n\r\n", "CL_UNEQUAL"},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "TE_IN_1_0"},
    };

    UNUSED(state);
    CHECK_ROWS(&to_head, rows);
}

/* C17 */
static void test_response_to_connect(void **state)
{
    static const struct row rows[] = {
        {OK11 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n$tunnel",
         "200 OK|1.1 none\nA: b\n"},
        {"HTTP/1.1 299 x\r\nContent-Length: x\r\n\r\n", "299 x|1.1 none\n"},
        {"HTTP/1.0 200 Connection established\r\n\r\n",
         "200 Connection established|1.0 none close\n"},
        {"HTTP/1.1 407 x\r\nContent-Length: 5\r\nProxy-Authenticate: Basic\r\n\r\n$hello",
         "407 x|1.1 length=5\nContent-Length: 5\nProxy-Authenticate: Basic\n"},
        {"HTTP/1.1 302 x\r\n\r\n", "302 x|1.1 close-delimited close\n"},
    };

    UNUSED(state);
    CHECK_ROWS(&to_connect, rows);
}

static void test_response_limits(void **state)
{
    struct job j = {.kind = H1_RESPONSE, .limits = {.line = 15, .head = 61, .fields = 2}};

    UNUSED(state);
    check(&j, "HTTP/1.1 200 OK\r\n\r\n", OKED);
    check(&j, "HTTP/1.1 200 OKs\r\n\r\n", "LINE_TOO_LONG");
    check(&j, OK11 "a: 1\r\nb: 2\r\n\r\n", OKED "a: 1\nb: 2\n");
    check(&j, OK11 "a: 1\r\nb: 2\r\nc: 3\r\n\r\n", "TOO_MANY_FIELDS");
    check(&j, OK11 "a: 0123456789012345678901234567890123456\r\n\r\n",
          OKED "a: 0123456789012345678901234567890123456\n");
    check(&j, OK11 "a: 01234567890123456789012345678901234567\r\n\r\n", "HEAD_TOO_LONG");
    check(&j, OK11 "a: 0\r\n 123456789012345678901234567890123456\r\n\r\n", "HEAD_TOO_LONG");
    for (uint32_t limit = 1; limit < 15; limit++) {
        j.limits.line = limit;
        check(&j, OK11 "\r\n", "LINE_TOO_LONG");
    }
}

/* Where a text is just full when a fold comes, or a value does not fit. */
static void test_response_text_grows(void **state)
{
    UNUSED(state);
    for (int size = 1015; size < 1030; size += 2) {
        char in[2048], expected[2048];
        int n = sprintf(in, OK11 "a: %0*d\r\n b\r\n\r\n", size, 7);

        sprintf(expected, OKED "a: %0*d b\n", size, 7);
        check_slice(&to_get, slice_of(in, (size_t)n), (size_t)n, expected);
    }
}

/* --- faults --------------------------------------------------------------- */

static void test_fault_table(void **state)
{
    UNUSED(state);
    assert_int_equal(h1_fault_info(H1_OK)->status, 0);
    for (enum h1_fault f = H1_OK + 1; f < H1_FAULT_COUNT; f++) {
        const struct h1_fault_info *info = h1_fault_info(f);

        assert_in_range(info->status, 400, 599);
        assert_true(info->token[0] && info->text[0]);
        assert_non_null(info->source);
    }
    /* C14, C37, C42 */
    assert_int_equal(h1_fault_info(H1_LINE_TOO_LONG)->status, 414);
    assert_int_equal(h1_fault_info(H1_HEAD_TOO_LONG)->status, 431);
    assert_int_equal(h1_fault_info(H1_TOO_MANY_FIELDS)->status, 431);
    assert_int_equal(h1_fault_info(H1_VERSION)->status, 505);
    assert_int_equal(h1_fault_info(H1_TE_UNKNOWN)->status, 501);
    assert_int_equal(h1_fault_info(H1_CL_AND_TE)->status, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple_requests),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_request_line),
        cmocka_unit_test(test_empty_lines_before),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_every_byte_at_every_place),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_request_length),
        cmocka_unit_test(test_request_codings),
        cmocka_unit_test(test_request_connection),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_line_limit_everywhere),
        cmocka_unit_test(test_head_limit_everywhere),
        cmocka_unit_test(test_what_is_known_after_a_fault),
        cmocka_unit_test(test_connection_options_are_bounded),
        cmocka_unit_test(test_begun),
        cmocka_unit_test(test_feeding_after_the_end),
        cmocka_unit_test(test_endless_input_is_bounded),
        cmocka_unit_test(test_text_grows),
        cmocka_unit_test(test_status_line),
        cmocka_unit_test(test_response_fields),
        cmocka_unit_test(test_response_framing),
        cmocka_unit_test(test_response_to_head),
        cmocka_unit_test(test_response_to_connect),
        cmocka_unit_test(test_response_limits),
        cmocka_unit_test(test_response_text_grows),
        cmocka_unit_test(test_fault_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
