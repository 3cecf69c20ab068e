/* SPDX-License-Identifier: MIT */
#include "proto/head.h"

#include "base/err.h"
#include "support/memfail.h"
#include "unit/proto/h1_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena arena;

static int setup(void **state)
{
    UNUSED(state);
    arena_init(&arena, NULL, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    arena_done(&arena);
    return 0;
}

/* --- names ---------------------------------------------------------------- */

static void test_every_known_name_is_found(void **state)
{
    UNUSED(state);
    for (enum hdr id = HDR_OTHER + 1; id < HDR_COUNT; id++) {
        struct slice name = hdr_name(id);
        char other_case[64];

        assert_int_equal(hdr_id(name), id);
        for (size_t i = 0; i < name.n; i++)
            other_case[i] = (char)(name.p[i] ^ (slice_lower(name.p[i]) >= 'a' ? 32 : 0));
        assert_int_equal(hdr_id(slice_of(other_case, name.n)), id);
    }
}

static void test_other_names_are_other(void **state)
{
    /* the last ones share length and ends with a known name; '_' is not '-' (C54) */
    static const char *const names[] = {"",
                                        "X",
                                        "ETag",
                                        "Hosts",
                                        "Hoot",
                                        "H\xd4st",
                                        "Content_Length",
                                        "Content-Lengti",
                                        "Vua",
                                        "Transfer_Encoding",
                                        "\x54\x05"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(hdr_id(slice_str(names[i])), HDR_OTHER);
    assert_int_equal(hdr_id(SLICE("Host\0")), HDR_OTHER);
    assert_int_equal(hdr_name(HDR_OTHER).n, 0);
    assert_int_equal(hdr_flags(HDR_OTHER), 0);
}

static void test_flags(void **state)
{
    UNUSED(state);
    assert_int_equal(hdr_flags(HDR_TE), HDR_HOP);
    assert_true(hdr_flags(HDR_HOST) & HDR_KEEP);
    assert_true(hdr_flags(HDR_CONTENT_LENGTH) & HDR_NO_TRAILER);
}

/* --- methods -------------------------------------------------------------- */

static void test_methods(void **state)
{
    static const struct {
        const char *name;
        enum method method;
        bool idempotent;
    } rows[] = {
        {"GET", METHOD_GET, true},         {"HEAD", METHOD_HEAD, true},
        {"POST", METHOD_POST, false},      {"PUT", METHOD_PUT, true},
        {"DELETE", METHOD_DELETE, true},   {"CONNECT", METHOD_CONNECT, false},
        {"OPTIONS", METHOD_OPTIONS, true}, {"TRACE", METHOD_TRACE, true},
        {"PATCH", METHOD_PATCH, false},    {"PRI", METHOD_PRI, false},
        {"get", METHOD_OTHER, false},      {"Connect", METHOD_OTHER, false},
        {"PROPFIND", METHOD_OTHER, false}, {"", METHOD_OTHER, false},
        {"GETT", METHOD_OTHER, false},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(method_id(slice_str(rows[i].name)), rows[i].method);
        assert_int_equal(method_idempotent(rows[i].method), rows[i].idempotent);
    }
}

/* --- lists ---------------------------------------------------------------- */

static void add(struct hdrs *h, const char *name, const char *value)
{
    struct slice n = slice_str(name);

    assert_int_equal(hdrs_add(h, &arena, hdr_id(n), n, slice_str(value)), 0);
}

static void assert_fields(const struct hdrs *h, const char *expected)
{
    static struct text t;

    t.n = 0;
    text_str(&t, "");
    text_fields(&t, h);
    assert_string_equal(t.p, expected);
}

static void test_add_find_next(void **state)
{
    struct hdrs h;
    uint32_t at = 0;

    UNUSED(state);
    hdrs_init(&h);
    assert_null(hdrs_find(&h, HDR_VIA));
    add(&h, "a", "1");
    add(&h, "VIA", "x");
    assert_int_equal(hdrs_add_known(&h, &arena, HDR_VIA, SLICE("y")), 0);
    add(&h, "b", "");
    assert_fields(&h, "a: 1\nVIA: x\nVia: y\nb: \n");
    assert_string_equal(hdrs_find(&h, HDR_VIA)->value.p, "x");
    assert_non_null(hdrs_next(&h, HDR_VIA, &at));
    assert_int_equal(at, 1);
    at++;
    assert_string_equal(hdrs_next(&h, HDR_VIA, &at)->value.p, "y");
    assert_int_equal(at, 2);
    at++;
    assert_null(hdrs_next(&h, HDR_VIA, &at));
}

/* C26: the order of the rest is the order of before */
static void test_remove_and_set(void **state)
{
    struct hdrs h;

    UNUSED(state);
    hdrs_init(&h);
    add(&h, "Date", "1");
    add(&h, "x", "1");
    add(&h, "date", "2");
    add(&h, "y", "2");
    add(&h, "Date", "3");
    assert_int_equal(hdrs_set(&h, &arena, HDR_DATE, SLICE("4")), 0);
    assert_fields(&h, "Date: 4\nx: 1\ny: 2\n");
    hdrs_remove(&h, HDR_DATE);
    assert_fields(&h, "x: 1\ny: 2\n");
    hdrs_remove(&h, HDR_DATE);
    assert_int_equal(hdrs_set(&h, &arena, HDR_DATE, SLICE("5")), 0);
    assert_fields(&h, "x: 1\ny: 2\nDate: 5\n");
}

static void test_list_grows(void **state)
{
    struct hdrs h;

    UNUSED(state);
    hdrs_init(&h);
    for (unsigned i = 0; i < 1000; i++)
        add(&h, i % 2 ? "Via" : "other", "v");
    assert_int_equal(h.n, 1000);
    hdrs_remove(&h, HDR_VIA);
    assert_int_equal(h.n, 500);
}

static void test_add_without_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct hdrs h;
        int r = 0;

        hdrs_init(&h);
        for (unsigned i = 0; i < 1000 && r == 0; i++)
            r = hdrs_add_known(&h, &arena, HDR_VIA, SLICE("x"));
        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        for (uint32_t i = 0; i < h.n; i++)
            assert_int_equal(h.v[i].id, HDR_VIA);
        arena_done(&arena);
    }
}

static void test_has_token(void **state)
{
    struct hdrs h;

    UNUSED(state);
    hdrs_init(&h);
    add(&h, "Connection", "a, Keep-Alive ,,\tb");
    add(&h, "Connection", "\"quoted, close\", c");
    assert_true(hdrs_has_token(&h, HDR_CONNECTION, SLICE("keep-alive")));
    assert_true(hdrs_has_token(&h, HDR_CONNECTION, SLICE("A")));
    assert_true(hdrs_has_token(&h, HDR_CONNECTION, SLICE("b")));
    assert_true(hdrs_has_token(&h, HDR_CONNECTION, SLICE("c")));
    assert_false(hdrs_has_token(&h, HDR_CONNECTION, SLICE("close")));
    assert_false(hdrs_has_token(&h, HDR_CONNECTION, SLICE("keep")));
    assert_false(hdrs_has_token(&h, HDR_CONNECTION, SLICE("")));
    assert_false(hdrs_has_token(&h, HDR_VIA, SLICE("a")));
}

/* --- what belongs to the connection --------------------------------------- */

/* fields are "name: value" lines; status 0 is a request */
struct strip_row {
    uint8_t version;
    int status;
    const char *fields, *expected;
};

static void add_lines(struct hdrs *h, const char *lines)
{
    struct slice rest = slice_str(lines);

    while (rest.n) {
        size_t end = slice_find(rest, '\n'), colon = slice_find(rest, ':');
        struct slice name = slice_of(rest.p, colon);

        assert_int_equal(hdrs_add(h, &arena, hdr_id(name), name,
                                  slice_trim(slice_of(rest.p + colon + 1, end - colon - 1))),
                         0);
        rest = slice_skip(rest, end + 1);
    }
}

static const struct strip_row strip_rows[] = {
    {11, 0, "Host: a\nX: 1\n", "\nHost: a\nX: 1\n"},
    /* C24, C25: the named ones and the known ones go */
    {11, 0, "Connection: X-a, x-B\nX-A: 1\nx-b: 2\nX-c: 3\nx-a: 4\n", "\nX-c: 3\n"},
    {11, 0,
     "Proxy-Connection: keep-alive\nKeep-Alive: max=1\nTE: gzip\nTransfer-Encoding: chunked\n"
     "Upgrade: x\nHTTP2-Settings: x\nProxy-Authorization: Basic eA==\n",
     "\nProxy-Authorization: Basic eA==\n"},
    {11, 200, "Connection: x\nX: 1\nKeep-Alive: max=1\nServer: s\n", "\nServer: s\n"},
    /* several fields are one list, empty elements count for nothing */
    {11, 0, "Connection: ,, a ,\nb: 1\na: 1\nConnection: b\nc: 1\n", "\nc: 1\n"},
    /* FAILURES 11: a list that names its own field, and the others of its kind */
    {11, 0, "Connection: connection, te, a, upgrade\nTE: trailers\na: 1\nb: 2\n", " te\nb: 2\n"},
    {11, 0, "Connection: a\nConnection: Connection\nConnection: b\na: 1\nb: 1\nc: 1\n", "\nc: 1\n"},
    /* C54, FAILURES 13: what an end or a rule needs is not removed by a trick */
    {11, 0,
     "Connection: host, content-length, via, cookie, authorization, forwarded, x-forwarded-for, "
     "proxy-authorization, cache-control, sec-websocket-key\n"
     "Host: h\nContent-Length: 1\nVia: v\nCookie: c\nAuthorization: z\nForwarded: f\n"
     "X-Forwarded-For: y\nProxy-Authorization: p\nCache-Control: n\nSec-WebSocket-Key: k\n",
     "\nHost: h\nContent-Length: 1\nVia: v\nCookie: c\nAuthorization: z\nForwarded: f\n"
     "X-Forwarded-For: y\nProxy-Authorization: p\nCache-Control: n\nSec-WebSocket-Key: k\n"},
    /* close */
    {11, 0, "Connection: Close\n", " close\n"},
    {11, 0, "Connection: keep-alive, close\n", " close\n"},
    {11, 0, "Proxy-Connection: close\n", "\n"},
    {11, 0, "Connection: closed\n", "\n"},
    {11, 200, "Connection: close\n", " close\n"},
    /* C51: 1.0 clients are never kept, 1.0 servers only if they say so */
    {10, 0, "", " close\n"},
    {10, 0, "Connection: keep-alive\nProxy-Connection: keep-alive\n", " close\n"},
    {10, 200, "", " close\n"},
    {10, 200, "Connection: Keep-Alive\n", "\n"},
    {10, 200, "Connection: Keep-Alive, close\n", " close\n"},
    /* Keep-Alive is a hint */
    {11, 200, "Keep-Alive: timeout=5, max=100\n", " keep-alive=5\n"},
    {11, 200, "Keep-Alive: max=100, Timeout=15\n", " keep-alive=15\n"},
    {11, 200, "Keep-Alive: timeout=\n", "\n"},
    {11, 200, "Keep-Alive: timeout=-1\n", "\n"},
    {11, 200, "Keep-Alive: timeout=4294967296\n", "\n"},
    {11, 200, "Keep-Alive: timeout=x, timeout=7\n", " keep-alive=7\n"},
    /* TE: nothing but trailers, and only from a client */
    {11, 0, "TE: deflate;q=0.5, Trailers\nConnection: TE\n", " te\n"},
    {11, 0, "TE: trailers;q=1\n", "\n"},
    {11, 200, "TE: trailers\n", "\n"},
    /* C32: Upgrade only beside Connection: upgrade, not from 1.0, in responses only with 101 */
    {11, 0, "Connection: Upgrade\nUpgrade: websocket\n", " upgrade=websocket\n"},
    {11, 0, "Connection: keep-alive, upgrade\nUpgrade: a/1, b\n", " upgrade=a/1\n"},
    {11, 0, "Upgrade: websocket\n", "\n"},
    {10, 0, "Connection: upgrade\nUpgrade: websocket\n", " close\n"},
    {11, 101, "Connection: upgrade\nUpgrade: websocket\n", " upgrade=websocket\n"},
    {11, 426, "Connection: upgrade\nUpgrade: websocket\n", "\n"},
    {11, 0, "Connection: upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMA\n", "\n"},
    {11, 0, "Connection: upgrade\nUpgrade: H2C, h2\n", "\n"},
    {11, 0, "Connection: upgrade\nUpgrade: h2c, websocket\n", " upgrade=websocket\n"},
    {11, 0, "Connection: upgrade\nUpgrade: two words\n", "\n"},
    {11, 0, "Connection: upgrade\nUpgrade: a/\n", "\n"},
    {11, 0, "Connection: upgrade\nUpgrade: /a\n", "\n"},
    {11, 0, "Connection: upgrade\nUpgrade: a/b/c\n", "\n"},
    {11, 0, "Connection: upgrade\n", "\n"},
};

static void test_strip_connection(void **state)
{
    static struct text t;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(strip_rows); i++) {
        const struct strip_row *row = &strip_rows[i];
        struct head h = {.version = row->version, .status = row->status};
        const char *flags;

        h.response = row->status != 0;
        add_lines(&h.fields, row->fields);
        head_strip_connection(&h);
        t.n = 0;
        text_head(&t, &h, H1_FRAME_NONE);
        flags = strstr(t.p, " none") + strlen(" none");
        flags = h.response ? flags : strstr(flags, " none") + strlen(" none");
        if (strcmp(flags, row->expected) != 0)
            print_error("fields:\n%s", row->fields);
        assert_string_equal(flags, row->expected);
    }
}

/* What the framing decided before is not taken back. */
static void test_close_stays(void **state)
{
    struct head h = {.version = 11, .close = true};

    UNUSED(state);
    head_strip_connection(&h);
    assert_true(h.close);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_known_name_is_found),
        cmocka_unit_test(test_other_names_are_other),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_add_find_next),
        cmocka_unit_test(test_remove_and_set),
        cmocka_unit_test(test_list_grows),
        cmocka_unit_test(test_add_without_memory),
        cmocka_unit_test(test_has_token),
        cmocka_unit_test(test_strip_connection),
        cmocka_unit_test(test_close_stays),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
