/* SPDX-License-Identifier: MIT */
/* Lines of the access log, read back: what the log writes is understood to the byte, whatever else comes is not, and nothing is read beyond a line. */
#include "app/log_line.h"

#include "base/mem.h"
#include "proxy/access_format.h"

#include <errno.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/access_record.h"

static char line[ACCESS_LINE_MAX];
static struct log_line got;

/* On a copy that ends where the line does: the sanitizer watches. */
static enum log_line_kind read_exactly(const char *p, size_t n)
{
    static char *copy;

    free(copy);
    copy = malloc(n + 1);
    memcpy(copy, p, n);
    memset(&got, 0, sizeof(got));
    copy = realloc(copy, n ? n : 1);
    return log_line_read(copy, n, &got);
}

static enum log_line_kind read_text(const char *text)
{
    return read_exactly(text, strlen(text));
}

static void read_record(const struct access_record *r)
{
    size_t n = access_format(ACCESS_JSON, r, RECORD_NOW_US, line, sizeof(line));

    assert_int_equal(read_exactly(line, n - 1), LOG_LINE_RECORD);
}

static void assert_slice(struct slice s, const char *want)
{
    if (!slice_eq(s, slice_str(want)))
        fail_msg("\"" SLICE_FMT "\" is not \"%s\"", SLICE_ARG(s), want);
}

/* U52 */
static void test_whole_record(void **state)
{
    struct access_record r = record_get();

    UNUSED(state);
    r.user = SLICE("jane \"q\" \\ d\xc3\xb6");
    r.groups = SLICE("qa,ops");
    r.labels = SLICE("red");
    r.sni = SLICE("sni.example");
    r.rule = SLICE("ci");
    r.would = SLICE("f.yaml:3");
    r.would_deny = true;
    read_record(&r);
    assert_slice(got.time, "2023-11-14T22:13:20.123Z");
    assert_slice(got.listener, "main");
    assert_slice(got.client, "192.0.2.1");
    assert_slice(got.method, "GET");
    assert_slice(got.scheme, "http");
    assert_slice(got.host, "example.org");
    assert_slice(got.path, "/a/b");
    assert_slice(got.user, "jane \"q\" \\ d\xc3\xb6");
    assert_slice(got.groups, "qa,ops");
    assert_slice(got.labels, "red");
    assert_slice(got.sni, "sni.example");
    assert_slice(got.peer, "2001:db8::9");
    assert_slice(got.rule, "ci");
    assert_slice(got.would, "f.yaml:3");
    assert_int_equal(got.port, 8080);
    assert_int_equal(got.status, 200);
    assert_true(got.would_deny);
    assert_false(got.tunnel);
    assert_true(got.known_end);
    assert_int_equal(got.end, END_DONE);
}

static void test_every_end(void **state)
{
    struct access_record r = record_tunnel();

    UNUSED(state);
    for (int i = 0; i < END_COUNT; i++) {
        r.end = (enum end_reason)i;
        read_record(&r);
        assert_true(got.known_end);
        assert_int_equal(got.end, i);
        assert_true(got.tunnel);
    }
}

/* Each byte in a string comes back as it was. */
static void test_every_byte(void **state)
{
    struct access_record r = record_get();
    char text[3] = "a?b";

    UNUSED(state);
    for (unsigned c = 0; c < 256; c++) {
        text[1] = (char)c;
        r.user = slice_of(text, 3);
        read_record(&r);
        assert_int_equal(got.user.n, 3);
        assert_memory_equal(got.user.p, text, 3);
    }
}

static void test_other_lines(void **state)
{
    struct access_record r = record_tunnel();
    size_t n;

    UNUSED(state);
    assert_int_equal(read_text(""), LOG_LINE_OTHER);
    assert_int_equal(read_text("  \t"), LOG_LINE_OTHER);
    assert_int_equal(read_text("ginnel: info: ready: 2 workers"), LOG_LINE_OTHER);
    r.event = ACCESS_BEGIN;
    n = access_format(ACCESS_JSON, &r, RECORD_NOW_US, line, sizeof(line));
    assert_int_equal(read_exactly(line, n), LOG_LINE_OTHER);
    r = (struct access_record){.end = END_REQUEST_TIMEOUT};
    n = access_format(ACCESS_JSON, &r, RECORD_NOW_US, line, sizeof(line));
    assert_int_equal(read_exactly(line, n), LOG_LINE_OTHER);
}

static void test_bad_lines(void **state)
{
    static const char *const bad[] = {
        "{",
        "{}",
        "[]",
        "x",
        "\"x\"",
        "{\"time\"}",
        "{\"time\":}",
        "{\"time\":\"x\",}",
        "{\"time\":\"x\"}x",
        "{\"time\":\"x",
        "{\"time\":\"x\\",
        "{\"time\":\"x\\u12\"}",
        "{\"time\":\"x\\q\"}",
        "{\"time\":{\"a\":1}}",
        "{\"time\":[1]}",
        "{time:1}",
        "{\"time\":\"x\",\"server.address\":\"a\",\"server.port\":65536,\"ginnel.end\":\"done\"}",
        "{\"time\":\"x\",\"server.address\":\"a\",\"server.port\":-1,\"ginnel.end\":\"done\"}",
        "{\"time\":\"x\",\"server.address\":\"a\",\"server.port\":1,\"http.response.status_code\":1000,\"ginnel.end\":\"done\"}",
        "{\"time\":\"x\",\"server.address\":\"a\",\"server.port\":1}",
        "{\"server.address\":\"a\",\"server.port\":1,\"ginnel.end\":\"done\"}",
        "192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.1\" 200 1",
    };

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        if (read_text(bad[i]) != LOG_LINE_BAD)
            fail_msg("%s is taken", bad[i]);
    assert_int_equal(read_text("{\"time\":\"x\",\"server.address\":\"a\",\"server.port\":1,\"ginnel.end\":\"of another version\"}"), LOG_LINE_RECORD);
    assert_false(got.known_end);
    assert_int_equal(read_text(" { \"time\" : \"x\" , \"server.address\" : \"a\" , \"server.port\" : 1 , \"new\" : null , \"ginnel.end\" : \"done\" } "), LOG_LINE_RECORD);
}

/* Every cut of a good line, and every line with a byte changed, is taken or not, and nothing else. */
static void test_mutations(void **state)
{
    struct access_record r = record_get();
    size_t n = access_format(ACCESS_JSON, &r, RECORD_NOW_US, line, sizeof(line)) - 1;
    unsigned seed = 1;

    UNUSED(state);
    for (size_t i = 1; i < n; i++)
        assert_int_equal(read_exactly(line, i), LOG_LINE_BAD);
    for (unsigned i = 0; i < 20000; i++) {
        char old[3];
        size_t at = (size_t)rand_r(&seed) % (n - 3);

        memcpy(old, line + at, 3);
        for (unsigned k = 0; k < 1 + i % 3; k++)
            line[at + k] = i % 2 ? (char)rand_r(&seed) : "\"\\{}[],:u0"[rand_r(&seed) % 10];
        if (read_exactly(line, n) == LOG_LINE_RECORD)
            assert_in_range(got.host.n, 1, n);
        memcpy(line + at, old, 3);
    }
}

static void test_files(void **state)
{
    struct log_reader reader;
    char path[] = "/tmp/ginnel-log-XXXXXX";
    FILE *f = fdopen(mkstemp(path), "w");

    UNUSED(state);
    assert_int_equal(log_reader_open(&reader, "/nonexistent/log"), -ENOENT);
    for (int i = 0; i < LOG_LINE_MAX_BYTES + 10; i++)
        fputc('x', f);
    fputs("\n{\"time\":\"x\",\"server.address\":\"a\",\"server.port\":1,\"ginnel.end\":\"done\"}\nginnel: x\nbad\n", f);
    fputs("{\"time\":\"x\",\"server.address\":\"b\",\"server.port\":1,\"ginnel.end\":\"done\"}", f);
    fclose(f);
    assert_int_equal(log_reader_open(&reader, path), 0);
    assert_true(log_reader_next(&reader, &got));
    assert_slice(got.host, "a");
    assert_true(log_reader_next(&reader, &got));
    assert_slice(got.host, "b");
    assert_false(log_reader_next(&reader, &got));
    assert_int_equal(reader.lines, 5);
    assert_int_equal(reader.records, 2);
    assert_int_equal(reader.bad, 2);
    assert_int_equal(reader.first_bad[0], 1);
    assert_int_equal(reader.first_bad[1], 4);
    log_reader_close(&reader);
    remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_record), cmocka_unit_test(test_every_end), cmocka_unit_test(test_every_byte), cmocka_unit_test(test_other_lines),
        cmocka_unit_test(test_bad_lines),    cmocka_unit_test(test_mutations), cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
