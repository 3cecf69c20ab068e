/* SPDX-License-Identifier: MIT */
#include "proto/h1_write.h"

#include "proto/url.h"
#include "support/memfail.h"
#include "unit/proto/h1_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct h1_limits limits = {.line = 16384, .head = 65536, .fields = 200};

struct fixture {
    struct objcache blocks;
    struct bufq q;
    struct arena arena;
};

static struct fixture fx;

static int setup(void **state)
{
    UNUSED(state);
    objcache_init(&fx.blocks, 1024, 0);
    bufq_init(&fx.q, &fx.blocks);
    arena_init(&fx.arena, NULL, 1 << 22);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    bufq_clear(&fx.q);
    arena_done(&fx.arena);
    objcache_done(&fx.blocks);
    return 0;
}

/* What is queued, as a string; the queue is empty afterwards. */
static const char *taken(void)
{
    static char out[TEXT_MAX];
    size_t n = bufq_copy_out(&fx.q, out, sizeof(out) - 1);

    out[n] = '\0';
    assert_int_equal(fx.q.len, 0);
    return out;
}

static struct h1_parser *parse(enum h1_kind kind, enum method request_method, const char *in)
{
    struct job j = {.kind = kind, .request_method = request_method, .limits = limits};
    struct pieces whole = {0};
    struct h1_parser *p;
    enum parse r;
    size_t used;

    p = feed_head(&fx.arena, &j, slice_str(in), &whole, &r, &used);
    assert_non_null(p);
    if (r != PARSE_DONE)
        fail_msg("not parsed: %s", in);
    return p;
}

/* --- requests ------------------------------------------------------------- */

struct row {
    const char *in;
    struct h1_out out;
    const char *expected;
};

static void test_requests(void **state)
{
    static const struct row rows[] = {
        /* C10: origin-form for origins, absolute-form for parents */
        {"GET http://a:81/x?y HTTP/1.1\r\nHost: a:81\r\nX: 1\r\n\r\n",
         {.form = FORM_ORIGIN},
         "GET /x?y HTTP/1.1\r\nHost: a:81\r\nX: 1\r\n\r\n"},
        {"GET http://A:81/x?y HTTP/1.1\r\nHost: a:81\r\nX: 1\r\n\r\n",
         {.form = FORM_ABSOLUTE},
         "GET http://a:81/x?y HTTP/1.1\r\nHost: a:81\r\nX: 1\r\n\r\n"},
        {"GET HTTP://a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
         {.form = FORM_ABSOLUTE},
         "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
         {.form = FORM_ABSOLUTE},
         "GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"},
        /* U6 */
        {"GET http://[0::1]/ HTTP/1.1\r\nHost: a\r\n\r\n",
         {.form = FORM_ABSOLUTE},
         "GET http://[::1]/ HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"CONNECT [0::1]:443 HTTP/1.1\n\n",
         {.form = FORM_AUTHORITY},
         "CONNECT [::1]:443 HTTP/1.1\r\n\r\n"},
        {"CONNECT 0x7f.1:443 HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
         {.form = FORM_AUTHORITY},
         "CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n"},
        {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
         {.form = FORM_AUTHORITY},
         "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"},
        /* C11 */
        {"OPTIONS http://a:81 HTTP/1.1\r\nHost: a\r\n\r\n",
         {.form = FORM_ORIGIN},
         "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"OPTIONS http://a:81 HTTP/1.1\r\nHost: a\r\n\r\n",
         {.form = FORM_ABSOLUTE},
         "OPTIONS http://a:81 HTTP/1.1\r\nHost: a\r\n\r\n"},
        /* C7, C12, C26, S000-3 */
        {"x-y http://a/%2F//..?\xc3 HTTP/1.0\r\nb: \xff\r\nA: \t 1 \r\nb:2\r\n\r\n",
         {.form = FORM_ORIGIN},
         "x-y /%2F//..?\xc3 HTTP/1.1\r\nb: \xff\r\nA: 1\r\nb: 2\r\n\r\n"},
        /* framing: what goes out is what was asked for, not what came in */
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\nX: 1\r\n\r\n",
         {.framing = H1_FRAME_LENGTH},
         "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: 1\r\n\r\n"},
        {"POST / HTTP/1.1\r\nHost: a\r\nCONTENT-length: 5, 5\r\nX: 1\r\n\r\n",
         {.framing = H1_FRAME_LENGTH},
         "POST / HTTP/1.1\r\nHost: a\r\nCONTENT-length: 5\r\nX: 1\r\n\r\n"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: 1\r\n\r\n",
         {.framing = H1_FRAME_CHUNKED},
         "POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: 1\r\n\r\n",
         {.framing = H1_FRAME_NONE},
         "POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n",
         {.framing = H1_FRAME_CHUNKED},
         "POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n",
         {.framing = H1_FRAME_LENGTH},
         "POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 0\r\n\r\n"},
        /* the connection */
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nX: 1\r\nTE: trailers\r\n\r\n",
         {.close = true},
         "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
         {.keep_alive = true, .te_trailers = true},
         "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, TE\r\nTE: trailers\r\n\r\n"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
         {.close = true, .te_trailers = true},
         "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n"},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
         {.close = true, .protocol = {"websocket", 9}},
         "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct h1_parser *p = parse(H1_REQUEST, METHOD_OTHER, rows[i].in);

        assert_int_equal(h1_write_request(&fx.q, h1_parser_head(p), &rows[i].out), 0);
        assert_string_equal(taken(), rows[i].expected);
    }
}

/* C9: what the send step does for an absolute form, with the parts of this floor */
static void test_host_is_made_from_the_target(void **state)
{
    struct h1_parser *p = parse(H1_REQUEST, METHOD_OTHER,
                                "GET http://a:81/ HTTP/1.1\r\nX: 1\r\nHost: b\r\nY: 2\r\n\r\n");
    struct head *h = h1_parser_head(p);
    struct h1_out out = {0};

    UNUSED(state);
    assert_int_equal(
        hdrs_set(&h->fields, &fx.arena, HDR_HOST, url_host_field(&fx.arena, &h->auth, h->scheme)),
        0);
    assert_int_equal(h1_write_request(&fx.q, h, &out), 0);
    assert_string_equal(taken(), "GET / HTTP/1.1\r\nX: 1\r\nHost: a:81\r\nY: 2\r\n\r\n");
}

/* --- responses ------------------------------------------------------------ */

static void test_responses(void **state)
{
    static const struct {
        enum method request_method;
        const char *in;
        struct h1_out out;
        const char *expected;
    } rows[] = {
        {METHOD_GET,
         "HTTP/1.0 200 Fine\r\nContent-Length: 5\r\nServer: s\r\n\r\n",
         {.framing = H1_FRAME_LENGTH, .version = 11},
         "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nServer: s\r\n\r\n"},
        {METHOD_GET,
         "HTTP/1.1 404\r\nSet-Cookie: a\r\nX : y\r\n z\r\nSet-Cookie: b\r\n\r\n",
         {.framing = H1_FRAME_CHUNKED, .version = 11},
         "HTTP/1.1 404 \r\nSet-Cookie: a\r\nX: y z\r\nSet-Cookie: b\r\n"
         "Transfer-Encoding: chunked\r\n\r\n"},
        /* C51: no chunks to 1.0, the end of the connection ends the body */
        {METHOD_GET,
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
         {.framing = H1_FRAME_CLOSE, .version = 10, .close = true},
         "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n"},
        {METHOD_GET,
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
         {.framing = H1_FRAME_CLOSE, .version = 11, .close = true},
         "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
        /* a length without content stays where it means something */
        {METHOD_HEAD,
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
         {.framing = H1_FRAME_NONE, .version = 11},
         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
        {METHOD_GET,
         "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
         {.framing = H1_FRAME_NONE, .version = 11},
         "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
        {METHOD_GET,
         "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
         {.framing = H1_FRAME_NONE, .version = 11},
         "HTTP/1.1 204 No Content\r\n\r\n"},
        /* C17 */
        {METHOD_CONNECT,
         "HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n",
         {.framing = H1_FRAME_NONE, .version = 10},
         "HTTP/1.0 200 Connection established\r\n\r\n"},
        /* C32 */
        {METHOD_GET,
         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Accept: x\r\n\r\n",
         {.version = 11, .protocol = {"websocket", 9}},
         "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
         "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"},
        {METHOD_GET,
         "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
         {.framing = H1_FRAME_LENGTH, .version = 10, .keep_alive = true},
         "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"},
        /* TE is a matter of requests */
        {METHOD_GET,
         "HTTP/1.1 200 OK\r\n\r\n",
         {.framing = H1_FRAME_CHUNKED, .version = 11, .te_trailers = true},
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct h1_parser *p = parse(H1_RESPONSE, rows[i].request_method, rows[i].in);

        assert_int_equal(h1_write_response(&fx.q, h1_parser_head(p), &rows[i].out), 0);
        assert_string_equal(taken(), rows[i].expected);
    }
}

/* What is written is read back as the same head. */
static void test_round_trip(void **state)
{
    static const char *const requests[] = {
        "GET http://a.b:8080/x?y HTTP/1.1\r\nHost: a.b:8080\r\nA: 1\r\nB: \xff\r\n\r\n",
        "POST http://[::1]/ HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 12345678901\r\n\r\n",
        "PUT https://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: "
        "100-continue\r\n\r\n",
        "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE, Upgrade, close\r\nUpgrade: "
        "a/1\r\n\r\n",
    };
    static struct text before, after;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct h1_parser *p = parse(H1_REQUEST, METHOD_OTHER, requests[i]);
        struct head *h = h1_parser_head(p);
        struct h1_out out = {.framing = h1_parser_framing(p),
                             .form = h->form,
                             .close = h->close,
                             .protocol = h->protocol,
                             .te_trailers = h->te_trailers};

        h->close = h->close && !h->protocol.n;
        before.n = after.n = 0;
        text_head(&before, h, h1_parser_framing(p));
        assert_int_equal(h1_write_request(&fx.q, h, &out), 0);
        p = parse(H1_REQUEST, METHOD_OTHER, taken());
        text_head(&after, h1_parser_head(p), h1_parser_framing(p));
        assert_string_equal(after.p, before.p);
    }
}

/* --- the last line of defence --------------------------------------------- */

/* FAILURES 14, 21: nothing of a part that may not be written reaches the queue. */
static void test_refused_parts(void **state)
{
    static const struct {
        const char *what;
        struct slice name, value;
    } rows[] = {
        {"LF", {"a", 1}, {"b\nc", 3}},
        {"CR", {"a", 1}, {"b\rc", 3}},
        {"CR LF", {"a", 1}, {"b\r\nEvil: 1", 10}},
        {"NUL", {"a", 1}, {"b\0c", 3}},
        {"a late LF", {"a", 1}, {"0123456789abcdef\n", 17}},
        {"control", {"a", 1}, {"\x01", 1}},
        {"DEL", {"a", 1}, {"\x7f", 1}},
        {"no name", {"", 0}, {"b", 1}},
        {"blank in the name", {"a b", 3}, {"c", 1}},
        {"colon in the name", {"a:", 2}, {"c", 1}},
        {"LF in the name", {"a\n", 2}, {"c", 1}},
        {"obs-text in the name", {"\xff", 1}, {"c", 1}},
    };
    struct h1_out out = {.version = 11};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct head request = {.method_name = SLICE("GET"), .path = SLICE("/")};
        struct head response = {.response = true, .status = 200, .reason = SLICE("OK")};

        assert_int_equal(
            hdrs_add(&request.fields, &fx.arena, HDR_OTHER, rows[i].name, rows[i].value), 0);
        response.fields = request.fields;
        assert_int_equal(h1_write_request(&fx.q, &request, &out), ERR_SYNTAX);
        assert_int_equal(fx.q.len, 0);
        assert_int_equal(h1_write_response(&fx.q, &response, &out), ERR_SYNTAX);
        assert_int_equal(fx.q.len, 0);
        assert_int_equal(h1_write_last_chunk(&fx.q, &request.fields), ERR_SYNTAX);
        assert_int_equal(fx.q.len, 0);
    }
}

static void test_refused_start_lines(void **state)
{
    static const struct head requests[] = {
        {.method_name = {"", 0}, .path = {"/", 1}},
        {.method_name = {"G T", 3}, .path = {"/", 1}},
        {.method_name = {"GET\r\n", 5}, .path = {"/", 1}},
        {.method_name = {"GET", 3}, .path = {"", 0}},
        {.method_name = {"GET", 3}, .path = {"/ HTTP/1.1\r\n", 12}},
        {.method_name = {"GET", 3}, .path = {"/\0", 2}},
    };
    static const struct head responses[] = {
        {.response = true, .status = 99, .reason = {"x", 1}},
        {.response = true, .status = 1000, .reason = {"x", 1}},
        {.response = true, .status = -200, .reason = {"x", 1}},
        {.response = true, .status = 200, .reason = {"x\r\ny", 4}},
    };
    struct head no_host = {.method_name = SLICE("GET"), .path = SLICE("/")};
    struct h1_out out = {.version = 11};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        assert_int_equal(h1_write_request(&fx.q, &requests[i], &out), ERR_SYNTAX);
    for (size_t i = 0; i < ARRAY_LEN(responses); i++)
        assert_int_equal(h1_write_response(&fx.q, &responses[i], &out), ERR_SYNTAX);
    out.protocol = SLICE("a\r\nb");
    assert_int_equal(h1_write_request(&fx.q, &no_host, &out), ERR_SYNTAX);
    out.protocol = SLICE_NONE;
    out.form = FORM_ABSOLUTE;
    assert_int_equal(h1_write_request(&fx.q, &no_host, &out), ERR_SYNTAX);
    out.form = FORM_AUTHORITY;
    assert_int_equal(h1_write_request(&fx.q, &no_host, &out), ERR_SYNTAX);
    assert_int_equal(fx.q.len, 0);
}

/* C25: what belongs to a connection does not get out, whoever put it in. */
static void test_connection_fields_stay_behind(void **state)
{
    struct head h = {.method_name = SLICE("GET"), .path = SLICE("/")};
    struct h1_out out = {.framing = H1_FRAME_CHUNKED};

    UNUSED(state);
    assert_int_equal(hdrs_add_known(&h.fields, &fx.arena, HDR_TRANSFER_ENCODING, SLICE("x")), 0);
    assert_int_equal(hdrs_add_known(&h.fields, &fx.arena, HDR_CONNECTION, SLICE("x")), 0);
    assert_int_equal(hdrs_add_known(&h.fields, &fx.arena, HDR_CONTENT_LENGTH, SLICE("x")), 0);
    assert_int_equal(h1_write_request(&fx.q, &h, &out), 0);
    assert_string_equal(taken(), "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
}

/* --- sizes and memory ----------------------------------------------------- */

/* Parts of every size around that of the buffer in which they are gathered. */
static void test_long_parts(void **state)
{
    static char value[5000], expected[TEXT_MAX];

    UNUSED(state);
    memset(value, 'v', sizeof(value));
    for (size_t n = 900; n < 1100; n++) {
        struct head h = {.method_name = SLICE("GET"), .path = SLICE("/")};
        struct h1_out out = {0};

        for (size_t i = 0; i < 4; i++)
            assert_int_equal(
                hdrs_add(&h.fields, &fx.arena, HDR_OTHER, SLICE("n"), slice_of(value, i * n)), 0);
        assert_int_equal(h1_write_request(&fx.q, &h, &out), 0);
        snprintf(expected, sizeof(expected),
                 "GET / HTTP/1.1\r\nn: \r\nn: %.*s\r\nn: %.*s\r\nn: %.*s\r\n\r\n", (int)n, value,
                 (int)(2 * n), value, (int)(3 * n), value);
        assert_string_equal(taken(), expected);
    }
}

static void test_without_memory(void **state)
{
    static char value[5000];
    struct head h = {.method_name = SLICE("GET"), .path = SLICE("/"), .status = 200};
    struct h1_out out = {.version = 11};
    static int (*const writers[])(struct bufq *, const struct head *,
                                  const struct h1_out *) = {h1_write_request, h1_write_response};

    UNUSED(state);
    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(hdrs_add(&h.fields, &fx.arena, HDR_OTHER, SLICE("n"),
                                  slice_of(value, sizeof(value) / (i + 1))),
                         0);
    for (size_t k = 0; k < ARRAY_LEN(writers); k++) {
        for (memfail_start(); memfail_next();) {
            int r = writers[k](&fx.q, &h, &out);

            assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
            bufq_clear(&fx.q);
        }
    }
    for (memfail_start(); memfail_next();) {
        int r = h1_write_last_chunk(&fx.q, &h.fields);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        bufq_clear(&fx.q);
    }
}

/* --- chunks --------------------------------------------------------------- */

static void test_chunk_prefix(void **state)
{
    char out[H1_CHUNK_PREFIX_MAX];

    UNUSED(state);
    assert_int_equal(h1_write_chunk_prefix(out, 1), 3);
    assert_memory_equal(out, "1\r\n", 3);
    assert_int_equal(h1_write_chunk_prefix(out, 0x1a2b), 6);
    assert_memory_equal(out, "1a2b\r\n", 6);
    assert_int_equal(h1_write_chunk_prefix(out, UINT64_MAX), 18);
    assert_memory_equal(out, "ffffffffffffffff\r\n", 18);
}

static void test_last_chunk(void **state)
{
    struct hdrs trailers;

    UNUSED(state);
    assert_int_equal(h1_write_last_chunk(&fx.q, NULL), 0);
    assert_string_equal(taken(), "0\r\n\r\n");
    hdrs_init(&trailers);
    assert_int_equal(h1_write_last_chunk(&fx.q, &trailers), 0);
    assert_string_equal(taken(), "0\r\n\r\n");
    assert_int_equal(hdrs_add(&trailers, &fx.arena, HDR_OTHER, SLICE("a"), SLICE("1")), 0);
    assert_int_equal(hdrs_add(&trailers, &fx.arena, HDR_OTHER, SLICE("b"), SLICE("")), 0);
    assert_int_equal(h1_write_last_chunk(&fx.q, &trailers), 0);
    assert_string_equal(taken(), "0\r\na: 1\r\nb: \r\n\r\n");
}

/* Chunks written here are read by h1_body as the same content and trailers. */
static void test_chunks_round_trip(void **state)
{
    static struct text wire, read;
    struct pieces how = {.step = 5};
    struct hdrs trailers;
    struct h1_body b;

    UNUSED(state);
    wire.n = read.n = 0;
    hdrs_init(&trailers);
    assert_int_equal(hdrs_add(&trailers, &fx.arena, HDR_OTHER, SLICE("a"), SLICE("1")), 0);
    for (size_t n = 1; n < 40; n++) {
        char prefix[H1_CHUNK_PREFIX_MAX];

        text_put(&wire, slice_of(prefix, h1_write_chunk_prefix(prefix, n)));
        for (size_t i = 0; i < n; i++)
            text_str(&wire, "x");
        text_str(&wire, "\r\n");
    }
    assert_int_equal(h1_write_last_chunk(&fx.q, &trailers), 0);
    text_str(&wire, taken());
    h1_body_init(&b, H1_FRAME_CHUNKED, 0, false, &fx.arena, &limits);
    assert_int_equal(text_body(&read, &b, slice_of(wire.p, wire.n), &how), wire.n);
    assert_int_equal(strspn(read.p, "x"), 39 * 40 / 2);
    assert_string_equal(read.p + 39 * 40 / 2, "|DONE\na: 1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_host_is_made_from_the_target),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused_parts),
        cmocka_unit_test(test_refused_start_lines),
        cmocka_unit_test(test_connection_fields_stay_behind),
        cmocka_unit_test(test_long_parts),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_chunk_prefix),
        cmocka_unit_test(test_last_chunk),
        cmocka_unit_test(test_chunks_round_trip),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
