/* SPDX-License-Identifier: MIT */
/* What first bytes look like (U49). */
#include "proto/spoken.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    struct slice s;
    enum spoken is;
    size_t from; /* so many bytes are enough to know */
} rows[] = {
    {{"\x16\x03\x01\x02", 4}, SPOKEN_TLS, 3},
    {{"\x16\x03\x05", 3}, SPOKEN_OTHER, 3},
    {{"\x16\xfe\xff", 3}, SPOKEN_OTHER, 2},
    {{"\x14\x03\x03", 3}, SPOKEN_OTHER, 1},
    {{"\x80\x2e\x01\x03\x01", 5}, SPOKEN_OTHER, 1},
    {{"SSH-2.0-OpenSSH_9.2\r\n", 21}, SPOKEN_SSH, 4},
    {{"SSL-2", 5}, SPOKEN_MORE, 6},
    {{"GET / HTTP/1.1\r\n", 16}, SPOKEN_HTTP, 16},
    {{"GET / HTTP/1.0\n", 15}, SPOKEN_HTTP, 15},
    {{"CHAT one two\r\n", 14}, SPOKEN_OTHER, 10},
    {{"GET / HTTP/2.0\r\n", 16}, SPOKEN_OTHER, 12},
    {{"GET / HTTP/1.x\r\n", 16}, SPOKEN_OTHER, 14},
    {{"GET / HTTP/1.1 \r\n", 17}, SPOKEN_OTHER, 15},
    {{"GET  / HTTP/1.1\r\n", 17}, SPOKEN_OTHER, 5},
    {{" GET / HTTP/1.1\r\n", 17}, SPOKEN_OTHER, 1},
    {{"\r\nGET / HTTP/1.1\r\n", 18}, SPOKEN_OTHER, 1},
    {{"GET /\r\n", 7}, SPOKEN_OTHER, 6},
    {{"EHLO\r\n", 6}, SPOKEN_OTHER, 5},
    {{"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ", 36}, SPOKEN_OTHER, 33},
    {{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24}, SPOKEN_HTTP, 24},
    {{"PRI * HTTP/2.0\r\n\r\nSN", 20}, SPOKEN_OTHER, 20},
    {{"PRI / HTTP/1.1\r\n", 16}, SPOKEN_HTTP, 16},
    {{"\0", 1}, SPOKEN_OTHER, 1},
};

/* Once it is known nothing that follows changes it. */
static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t n = 0; n <= rows[i].s.n; n++)
            if (spoken_of(rows[i].s.p, n) != (n < rows[i].from ? SPOKEN_MORE : rows[i].is))
                fail_msg("row %zu, %zu bytes: %s", i, n, spoken_name(spoken_of(rows[i].s.p, n)));
}

static void bounded(void **state)
{
    static char line[SPOKEN_LINE_MAX + 100];

    (void)state;
    memset(line, 'a', sizeof(line));
    memcpy(line, "GET /", 5);
    assert_int_equal(spoken_of(line, SPOKEN_LINE_MAX - 1), SPOKEN_MORE);
    assert_int_equal(spoken_of(line, SPOKEN_LINE_MAX), SPOKEN_OTHER);
    memcpy(line + SPOKEN_LINE_MAX, " HTTP/1.1\r\n", 11);
    assert_int_equal(spoken_of(line, sizeof(line)), SPOKEN_OTHER);
}

static void maybe(void **state)
{
    (void)state;
    assert_true(spoken_may_be_tls("\x16", 1));
    assert_true(spoken_may_be_tls("\x16\x03", 2));
    assert_false(spoken_may_be_tls("G", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(bounded), cmocka_unit_test(maybe)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
