/* SPDX-License-Identifier: MIT */
/* Every row is fed whole, cut in two at every place, and byte by byte, as the body of a request and
 * of a response; the answers must be the same. */
#include "proto/h1_body.h"

#include "support/memfail.h"
#include "unit/proto/h1_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct h1_limits limits = {.line = 16384, .head = 65536, .fields = 200};

/* `in` ends where the message ends, or has "$" there. expected: "content|DONE\ntrailers",
 * "content|MORE\n" or "content|FAULT" */
struct row {
    const char *in, *expected;
};

enum { REQUEST = 1, RESPONSE = 2, BOTH = 3 };

struct job_body {
    enum h1_framing framing;
    uint64_t length;
    bool response;
    struct h1_limits limits;
};

static const char *body_text(struct text *t, const struct job_body *j, struct slice in, size_t end,
                             const struct pieces *how)
{
    size_t used;
    struct objcache cache;
    struct h1_body b;
    struct arena a;

    t->n = 0;
    objcache_init(&cache, 128, 0);
    arena_init(&a, &cache, 1 << 22);
    h1_body_init(&b, j->framing, j->length, j->response, &a, &j->limits);
    used = text_body(t, &b, in, how);
    if (b.done)
        assert_int_equal(used, end);
    arena_done(&a);
    objcache_done(&cache);
    return t->p;
}

/* With memory refused the content stays, the end does not come. */
static void check_without_memory(const struct job_body *j, struct slice in, size_t end,
                                 const char *expected)
{
    static struct text t;
    struct pieces whole = {0};

    for (memfail_start(); memfail_next();) {
        const char *text = body_text(&t, j, in, end, &whole);

        if (!memfail_hit())
            assert_string_equal(text, expected);
        else
            assert_non_null(strstr(text, "|NO_MEMORY"));
    }
}

static void check(const struct job_body *j, const char *marked, const char *expected)
{
    static struct text t;
    struct pieces whole = {0}, bytes = {.step = 1};
    size_t end;
    struct slice in = unmark(marked, &end);

    if (strcmp(body_text(&t, j, in, end, &whole), expected) != 0)
        fail_msg("%.*s\nis:\n%s\nnot:\n%s", (int)in.n, in.p, t.p, expected);
    if (strcmp(body_text(&t, j, in, end, &bytes), expected) != 0)
        fail_msg("%.*s\nbyte by byte is:\n%s\nnot:\n%s", (int)in.n, in.p, t.p, expected);
    for (size_t cut = 1; cut < in.n; cut++) {
        struct pieces two = {.first = cut};

        if (strcmp(body_text(&t, j, in, end, &two), expected) != 0)
            fail_msg("%.*s\ncut at %zu is:\n%s\nnot:\n%s", (int)in.n, in.p, cut, t.p, expected);
    }
    check_without_memory(j, in, end, expected);
    free((void *)(uintptr_t)in.p);
}

static void check_rows(const struct row *rows, size_t n, unsigned sides)
{
    struct job_body j = {.framing = H1_FRAME_CHUNKED, .limits = limits};

    for (size_t i = 0; i < n; i++) {
        j.response = false;
        if (sides & REQUEST)
            check(&j, rows[i].in, rows[i].expected);
        j.response = true;
        if (sides & RESPONSE)
            check(&j, rows[i].in, rows[i].expected);
    }
}

#define CHECK_ROWS(rows, sides) check_rows(rows, ARRAY_LEN(rows), sides)

/* --- without chunks ------------------------------------------------------- */

static void test_length(void **state)
{
    struct job_body j = {.framing = H1_FRAME_LENGTH, .length = 5, .limits = limits};

    UNUSED(state);
    check(&j, "hello", "hello|DONE\n");
    check(&j, "hello$GET / HTTP/1.1", "hello|DONE\n"); /* C49 */
    check(&j, "hell", "hell|MORE\n");
    j.length = 0;
    check(&j, "$hello", "|DONE\n");
    j.length = INT64_MAX;
    check(&j, "hello", "hello|MORE\n");
    j.framing = H1_FRAME_NONE;
    check(&j, "$hello", "|DONE\n");
    j.framing = H1_FRAME_CLOSE;
    check(&j, "hello\r\n0\r\n\r\n", "hello\r\n0\r\n\r\n|MORE\n");
}

/* C48: only a body that ends with the connection is whole when it does */
static void test_eof(void **state)
{
    struct slice data;
    struct h1_body b;
    size_t used;

    UNUSED(state);
    h1_body_init(&b, H1_FRAME_CLOSE, 0, true, NULL, &limits);
    assert_false(b.done);
    assert_true(h1_body_eof(&b));
    assert_int_equal(h1_body_feed(&b, "x", 1, &used, &data), PARSE_DONE);
    assert_int_equal(used, 0);
    h1_body_init(&b, H1_FRAME_NONE, 0, true, NULL, &limits);
    assert_true(h1_body_eof(&b));
    h1_body_init(&b, H1_FRAME_LENGTH, 2, true, NULL, &limits);
    assert_false(h1_body_eof(&b));
    assert_int_equal(h1_body_feed(&b, "ab", 2, &used, &data), PARSE_DONE);
    assert_int_equal(data.n, 2);
    assert_true(h1_body_eof(&b));
    h1_body_init(&b, H1_FRAME_CHUNKED, 0, true, NULL, &limits);
    assert_int_equal(h1_body_feed(&b, "0\r\n\r", 4, &used, &data), PARSE_MORE);
    assert_false(h1_body_eof(&b));
    assert_int_equal(h1_body_feed(&b, "\n", 1, &used, &data), PARSE_DONE);
    assert_true(h1_body_eof(&b));
}

/* Bytes that a splice moves past the decoder. */
static void test_direct(void **state)
{
    struct slice data;
    struct h1_body b;
    size_t used;

    UNUSED(state);
    h1_body_init(&b, H1_FRAME_LENGTH, 10, true, NULL, &limits);
    assert_int_equal(h1_body_direct(&b), 10);
    h1_body_skip(&b, 4);
    assert_int_equal(h1_body_direct(&b), 6);
    assert_int_equal(h1_body_feed(&b, "abc", 3, &used, &data), PARSE_MORE);
    assert_int_equal(h1_body_direct(&b), 3);
    h1_body_skip(&b, 3);
    assert_true(b.done);
    assert_int_equal(h1_body_direct(&b), 0);
    h1_body_init(&b, H1_FRAME_CLOSE, 0, true, NULL, &limits);
    assert_true(h1_body_direct(&b) == UINT64_MAX);
    h1_body_skip(&b, UINT64_MAX);
    assert_true(h1_body_direct(&b) == UINT64_MAX);
    h1_body_init(&b, H1_FRAME_CHUNKED, 0, true, NULL, &limits);
    assert_int_equal(h1_body_direct(&b), 0);
}

/* One run of content a call, and the caller comes back for the rest. */
static void test_runs(void **state)
{
    const char in[] = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nrest";
    struct slice data;
    struct h1_body b;
    size_t used, at = 0;

    UNUSED(state);
    h1_body_init(&b, H1_FRAME_CHUNKED, 0, false, NULL, &limits);
    assert_int_equal(h1_body_feed(&b, in, sizeof(in) - 1, &used, &data), PARSE_MORE);
    assert_true(slice_eq(data, SLICE("abc")));
    assert_ptr_equal(data.p, in + 3);
    at += used;
    assert_int_equal(h1_body_feed(&b, in + at, sizeof(in) - 1 - at, &used, &data), PARSE_MORE);
    assert_true(slice_eq(data, SLICE("de")));
    at += used;
    assert_int_equal(h1_body_feed(&b, in + at, sizeof(in) - 1 - at, &used, &data), PARSE_DONE);
    assert_int_equal(data.n, 0);
    assert_int_equal(at + used, sizeof(in) - 1 - 4);
    assert_true(b.done);
}

/* --- chunks --------------------------------------------------------------- */

static void test_chunks(void **state)
{
    static const struct row rows[] = {
        {"0\r\n\r\n", "|DONE\n"},
        {"5\r\nhello\r\n0\r\n\r\n", "hello|DONE\n"},
        {"5\r\nhello\r\n0\r\n\r\n$GET /", "hello|DONE\n"},
        {"1\r\na\r\n0A\r\n0123456789\r\n000\r\n\r\n", "a0123456789|DONE\n"},
        {"a\r\n0123456789\r\n0\r\n\r\n", "0123456789|DONE\n"},
        {"4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n|DONE\n"}, /* content like framing */
        {"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello|DONE\n"},
        {"5\r\nhel", "hel|MORE\n"},
        {"5\r\nhello\r\n0\r\n", "hello|MORE\n"},
        {"7fffffffffffffff\r\nx", "x|MORE\n"},
    };

    UNUSED(state);
    CHECK_ROWS(rows, BOTH);
}

/* C46, FAILURES 6 and 7 */
static void test_chunk_sizes(void **state)
{
    static const struct row rows[] = {
        {"\r\n", "|CHUNK_SIZE"},
        {"x\r\n", "|CHUNK_SIZE"},
        {"g\r\n", "|CHUNK_SIZE"},
        {"-1\r\n", "|CHUNK_SIZE"},
        {"+1\r\n", "|CHUNK_SIZE"},
        {" 1\r\n", "|CHUNK_SIZE"},
        {"\t1\r\n", "|CHUNK_SIZE"},
        {"0x1\r\n", "|CHUNK_SIZE"},
        {"1_0\r\n", "|CHUNK_SIZE"},
        {"1.\r\n", "|CHUNK_SIZE"},
        {"5,\r\n", "|CHUNK_SIZE"},
        {"5\x0b\r\n", "|CHUNK_SIZE"},
        {"5\x80\r\n", "|CHUNK_SIZE"},
        {"5 \r\nhello", "|CHUNK_EXT"},
        {"5\t\r\nhello", "|CHUNK_EXT"},
        {"5 x\r\n", "|CHUNK_EXT"},
        {"5 5\r\n", "|CHUNK_EXT"},
        {"8000000000000000\r\n", "|CHUNK_SIZE"},
        {"ffffffffffffffff\r\n", "|CHUNK_SIZE"},
        {"10000000000000000\r\n", "|CHUNK_SIZE"},
        {"00000000000000005\r\n", "|CHUNK_SIZE"},
        {"10000000000000001\r\n", "|CHUNK_SIZE"},
        {"12345678901234567890\r\n", "|CHUNK_SIZE"},
        {"5\r\nhello\r\n\r\n", "hello|CHUNK_SIZE"},
        {"5\r\nhello\r\nx", "hello|CHUNK_SIZE"},
    };

    UNUSED(state);
    CHECK_ROWS(rows, BOTH);
}

/* FAILURES 8 */
static void test_line_ends(void **state)
{
    static const struct row rows[] = {
        {"5\nhello\r\n0\r\n\r\n", "|BARE_LF"},
        {"5\rhello", "|BARE_CR"},
        {"5\r\r\n", "|BARE_CR"},
        {"5;a\nhello", "|BARE_LF"},
        {"5;a\rhello", "|BARE_CR"},
        {"5;a=b\nx", "|BARE_LF"},
        {"5;\nx", "|BARE_LF"},
        {"5 \nx", "|BARE_LF"},
        {"5;a=\nx", "|BARE_LF"},
        {"5;a \nx", "|BARE_LF"},
        {"5;a=\"\nx", "|BARE_LF"},
        {"5;a=\"\r\nx", "|CHUNK_EXT"},
        {"5;a=\"b\\\r\nx", "|CHUNK_EXT"},
        {"5;a=\"b\\\nx", "|BARE_LF"},
        {"5;a=\"b\"\nx", "|BARE_LF"},
        {"5;a=\"b\"\rx", "|BARE_CR"},
        {"0\n\r\n", "|BARE_LF"},
        {"5\r\nhello\n0\r\n\r\n", "hello|CHUNK_END"},
        {"5\r\nhello\r0\r\n\r\n", "hello|CHUNK_END"},
        {"5\r\nhello0\r\n\r\n", "hello|CHUNK_END"},
        {"5\r\nhello!\r\n0\r\n\r\n", "hello|CHUNK_END"},
        {"5\r\nhello\r\r\n", "hello|CHUNK_END"},
        {"0\r\n\rX", "|BARE_CR"},
        {"0\r\n\n", "|TRAILER"},
    };

    UNUSED(state);
    CHECK_ROWS(rows, BOTH);
}

static void test_extensions(void **state)
{
    static const struct row rows[] = {
        {"1;a\r\nx\r\n0;b\r\n\r\n", "x|DONE\n"},
        {"1;a=b\r\nx\r\n0\r\n\r\n", "x|DONE\n"},
        {"1;a;b=c;d\r\nx\r\n0\r\n\r\n", "x|DONE\n"},
        {"1;a=\"\"\r\nx\r\n0\r\n\r\n", "x|DONE\n"},
        {"1;ab  =  cde;f \t;g\r\nx\r\n0\r\n\r\n", "x|DONE\n"},
        {"1;a=\"b;c=d\\\"\\\\ \te\xff\";f\r\nx\r\n0\r\n\r\n", "x|DONE\n"},
        {"1 ;\ta = b\t; c =\"d\" ;e\r\nx\r\n0\r\n\r\n", "x|DONE\n"},
        {"1;\r\nx", "|CHUNK_EXT"},
        {"1;;a\r\nx", "|CHUNK_EXT"},
        {"1;=b\r\nx", "|CHUNK_EXT"},
        {"1;a=\r\nx", "|CHUNK_EXT"},
        {"1;a=;b\r\nx", "|CHUNK_EXT"},
        {"1;a=b=c\r\nx", "|CHUNK_EXT"},
        {"1;a \r\nx", "|CHUNK_EXT"},
        {"1;a=b \r\nx", "|CHUNK_EXT"},
        {"1;a=\"b\" \r\nx", "|CHUNK_EXT"},
        {"1;a=\"b\"c\r\nx", "|CHUNK_EXT"},
        {"1;a b\r\nx", "|CHUNK_EXT"},
        {"1;a=b c\r\nx", "|CHUNK_EXT"},
        {"1;a,b\r\nx", "|CHUNK_EXT"},
        {"1;\"a\"\r\nx", "|CHUNK_EXT"},
        {"1;a=b\"c\"\r\nx", "|CHUNK_EXT"},
        {"1;a\x0b\r\nx", "|CHUNK_EXT"},
        {"1;a\x80\r\nx", "|CHUNK_EXT"},
        {"1;a=\"\x01\"\r\nx", "|CHUNK_EXT"},
        {"1;a=\"\x7f\"\r\nx", "|CHUNK_EXT"},
        {"1;a=\"\\\x01\"\r\nx", "|CHUNK_EXT"},
    };

    UNUSED(state);
    CHECK_ROWS(rows, BOTH);
}

/* C46: 4096 bytes of extensions pass in a message, over all its chunks, and no more */
static void test_extensions_are_bounded(void **state)
{
    struct job_body j = {.framing = H1_FRAME_CHUNKED, .limits = limits};
    static const size_t steps[] = {0, 1, 2, 100, 4096, 4097};
    static char in[20000];

    UNUSED(state);
    for (size_t chunks = 1; chunks <= 4; chunks *= 2) {
        for (size_t over = 0; over < 2; over++) {
            size_t n = 0;
            static struct text t;

            /* what counts begins behind the ';' and ends with the CR */
            for (size_t c = 0; c < chunks; c++) {
                n += (size_t)sprintf(in + n, "1;");
                memset(in + n, 'e', 4096 / chunks - 1);
                n += 4096 / chunks - 1;
                n += (size_t)sprintf(in + n, "\r\nx\r\n");
            }
            n += (size_t)sprintf(in + n, over ? "1;e\r\nx\r\n" : "0\r\n\r\n");
            for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
                struct pieces how = {.step = steps[k]};

                body_text(&t, &j, slice_of(in, n), n, &how);
                assert_non_null(strstr(t.p, over ? "|CHUNK_EXT" : "|DONE"));
                assert_int_equal(slice_find(slice_of(t.p, t.n), '|'), chunks);
            }
        }
    }
}

/* FAILURES 9, 22: megabytes of odd things end soon, without stack or memory */
static void test_endless_input_is_bounded(void **state)
{
    static const struct {
        const char *start, *repeat;
    } rows[] = {
        {"", "0"},
        {"1 ", " "},
        {"1;a", "a"},
        {"1;a=\"", "\\\""},
        {"1;a", ";a"},
        {"1;a=", " "},
        {"0\r\na: ", "b"},
        {"0\r\n", "a: b\r\n"},
        {"0\r\n", "a:\r\n"},
        {"0\r\nHost: ", "b"},
        {"0\r\n", "Host: a\r\n"},
    };
    static char chunk[60000];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].repeat), used, fed = 0;
        enum parse r = PARSE_MORE;
        struct slice data;
        struct h1_body b;
        struct arena a;

        arena_init(&a, NULL, 16 << 20);
        for (size_t at = 0; at + n <= sizeof(chunk); at += n)
            memcpy(chunk + at, rows[i].repeat, n);
        h1_body_init(&b, H1_FRAME_CHUNKED, 0, false, &a, &limits);
        r = h1_body_feed(&b, rows[i].start, strlen(rows[i].start), &used, &data);
        while (r == PARSE_MORE && fed < (10 << 20)) {
            r = h1_body_feed(&b, chunk, sizeof(chunk) - sizeof(chunk) % n, &used, &data);
            fed += sizeof(chunk);
        }
        assert_int_equal(r, PARSE_BAD);
        assert_true(fed <= 3 * sizeof(chunk));
        assert_true(a.used <= 4 * limits.head + 32768);
        arena_done(&a);
    }
}

/* A million chunks: a loop, no recursion (FAILURES 9), no memory. */
static void test_many_chunks(void **state)
{
    struct slice data;
    struct h1_body b;
    size_t used;

    UNUSED(state);
    h1_body_init(&b, H1_FRAME_CHUNKED, 0, true, NULL, &limits);
    for (unsigned i = 0; i < 1000000; i++) {
        assert_int_equal(h1_body_feed(&b, "1\r\nx\r\n", 6, &used, &data), PARSE_MORE);
        assert_int_equal(data.n, 1);
        assert_int_equal(h1_body_feed(&b, "\r\n", 2, &used, &data), PARSE_MORE);
        assert_int_equal(used, 2);
    }
}

/* --- trailers ------------------------------------------------------------- */

/* C47 */
static void test_trailers(void **state)
{
    static const struct row rows[] = {
        {"0\r\na: b\r\n\r\n", "|DONE\na: b\n"},
        {"1\r\nx\r\n0;e\r\nA:\t1 \r\nb: 2\r\na: 3\r\n\r\n$rest", "x|DONE\nA: 1\nb: 2\na: 3\n"},
        {"0\r\nX: \xff\r\n\r\n", "|DONE\nX: \xff\n"},
        {"0\r\nX:\r\n\r\n", "|DONE\nX: \n"},
        {"0\r\na: b\r\n", "|MORE\n"},
        /* RFC 9110 6.5.1: these are not handed on */
        {"0\r\nHost: h\r\nContent-Length: 5\r\na: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "|DONE\na: 1\n"},
        {"0\r\nConnection: a\r\nTrailer: b\r\nContent-Type: c\r\nContent-Encoding: d\r\n\r\n",
         "|DONE\n"},
        {"0\r\nAuthorization: a\r\nCookie: b\r\nSet-Cookie: c\r\nx: y\r\n"
         "Proxy-Authorization: d\r\ncontent-range: e\r\n\r\n",
         "|DONE\nx: y\n"},
        {"0\r\nProxy-Status: a; error=x\r\n\r\n", "|DONE\nProxy-Status: a; error=x\n"},
        /* as strict as a head */
        {"0\r\n: b\r\n\r\n", "|TRAILER"},
        {"0\r\na\r\n\r\n", "|TRAILER"},
        {"0\r\n a: b\r\n\r\n", "|TRAILER"},
        {"0\r\na: b\n\r\n", "|TRAILER"},
        {"0\r\na: b\rc\r\n\r\n", "|TRAILER"},
        {"0\r\na: \x01\r\n\r\n", "|TRAILER"},
        {"0\r\na: b\r\n\n", "|TRAILER"},
        {"0\r\na: b\r\n\rx", "|TRAILER"},
        {"0\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "|TRAILER"},
    };

    UNUSED(state);
    CHECK_ROWS(rows, BOTH);
}

static void test_trailers_of_each_side(void **state)
{
    static const struct row of_requests[] = {
        {"0\r\na : b\r\n\r\n", "|TRAILER"},
        {"0\r\na: b\r\n c\r\n\r\n", "|TRAILER"},
    };
    static const struct row of_responses[] = {
        {"0\r\na : b\r\n\r\n", "|DONE\na: b\n"},
        {"0\r\na: b\r\n c\r\n\r\n", "|DONE\na: b c\n"},
    };

    UNUSED(state);
    CHECK_ROWS(of_requests, REQUEST);
    CHECK_ROWS(of_responses, RESPONSE);
}

static void test_trailer_limits(void **state)
{
    struct job_body j = {.framing = H1_FRAME_CHUNKED,
                         .limits = {.line = 1, .head = 30, .fields = 2}};

    UNUSED(state);
    check(&j, "0\r\na: 1\r\nb: 2\r\n\r\n", "|DONE\na: 1\nb: 2\n");
    check(&j, "0\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n", "|TRAILER");
    check(&j, "0\r\na: 12345678901234567890123\r\n\r\n", "|DONE\na: 12345678901234567890123\n");
    check(&j, "0\r\na: 123456789012345678901234\r\n\r\n", "|TRAILER");
}

/* The arena may come late: only trailers need one. */
static void test_late_arena(void **state)
{
    struct slice data;
    struct h1_body b;
    struct arena a;
    size_t used;

    UNUSED(state);
    arena_init(&a, NULL, 1 << 16);
    h1_body_init(&b, H1_FRAME_CHUNKED, 0, true, NULL, &limits);
    assert_int_equal(h1_body_feed(&b, "1\r\nx\r\n0\r\n", 9, &used, &data), PARSE_MORE);
    assert_int_equal(h1_body_feed(&b, "\r\n0\r\n", 5, &used, &data), PARSE_MORE);
    b.arena = &a;
    assert_int_equal(h1_body_feed(&b, "a: b\r\n\r\n", 8, &used, &data), PARSE_DONE);
    assert_int_equal(b.trailers.n, 1);
    arena_done(&a);
    h1_body_init(&b, H1_FRAME_CHUNKED, 0, true, NULL, &limits);
    assert_int_equal(h1_body_feed(&b, "0\r\na: b\r\n\r\n", 11, &used, &data), PARSE_BAD);
    assert_int_equal(b.fault, H1_NO_MEMORY);
}

/* A fault stays one. */
static void test_feeding_after_a_fault(void **state)
{
    struct slice data;
    struct h1_body b;
    size_t used;

    UNUSED(state);
    h1_body_init(&b, H1_FRAME_CHUNKED, 0, true, NULL, &limits);
    assert_int_equal(h1_body_feed(&b, "x", 1, &used, &data), PARSE_BAD);
    assert_int_equal(h1_body_feed(&b, "0\r\n\r\n", 5, &used, &data), PARSE_BAD);
    assert_int_equal(b.fault, H1_CHUNK_SIZE);
    assert_false(h1_body_eof(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_eof),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_chunk_sizes),
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_extensions_are_bounded),
        cmocka_unit_test(test_endless_input_is_bounded),
        cmocka_unit_test(test_many_chunks),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_trailers_of_each_side),
        cmocka_unit_test(test_trailer_limits),
        cmocka_unit_test(test_late_arena),
        cmocka_unit_test(test_feeding_after_a_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
