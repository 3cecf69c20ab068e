/* SPDX-License-Identifier: MIT */
#include "io/resolve_msg.h"

#include "base/err.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define QUESTION    "\1a\0\0\1\0\1"
#define SOA_NUMBERS "\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4"
/* The question's name, SOA, IN, TTL 600, length 2 + 2 + 20, two names, the numbers without the
 * minimum. */
#define SOA "\300\14\0\6\0\1\0\0\2\130\0\30\300\14\300\14" SOA_NUMBERS

static int read_msg(struct slice s, struct resolve_msg *m)
{
    char *exact = malloc(s.n ? s.n : 1); /* so that reading past the end is seen */
    int r;

    if (s.n)
        memcpy(exact, s.p, s.n);
    r = resolve_msg_read(slice_of(exact, s.n), m);
    free(exact);
    return r;
}

static void test_rcode(void **state)
{
    struct resolve_msg m;
    uint16_t id;
    uint8_t rcode;

    UNUSED(state);
    assert_int_equal(read_msg(SLICE("\1\2\201\203\0\1\0\0\0\0\0\1" QUESTION), &m), 0);
    assert_int_equal(m.rcode, 3);
    assert_true(m.has_extra);
    assert_false(m.has_soa);
    assert_int_equal(m.negative_s, 0);
    assert_true(resolve_msg_peek(SLICE("\1\2\201\202\0\1\0\0\0\0\0\1"), &id, &rcode));
    assert_int_equal(id, 0x0102);
    assert_int_equal(rcode, 2);
    assert_false(resolve_msg_peek(SLICE("\1\2\1\2\0\1\0\0\0\0\0\1"), &id, &rcode)); /* a question */
    assert_false(resolve_msg_peek(SLICE("\1\2\201\2\0\1\0\0\0\0\0"), &id, &rcode));
}

/* U60: RFC 2308 5: the smaller of the SOA's TTL and its minimum. */
static void test_soa(void **state)
{
    struct resolve_msg m;

    UNUSED(state);
    assert_int_equal(read_msg(SLICE("\1\2\201\203\0\1\0\0\0\1\0\0" QUESTION SOA "\0\0\0\36"), &m),
                     0);
    assert_true(m.has_soa);
    assert_int_equal(m.negative_s, 30);
    assert_int_equal(read_msg(SLICE("\1\2\201\203\0\1\0\0\0\1\0\0" QUESTION SOA "\0\1\0\0"), &m),
                     0);
    assert_int_equal(m.negative_s, 600);
    /* RFC 2181 8: a TTL with its highest bit set is none. */
    assert_int_equal(read_msg(SLICE("\1\2\201\203\0\1\0\0\0\1\0\0" QUESTION SOA "\200\0\0\0"), &m),
                     0);
    assert_int_equal(m.negative_s, 0);
    /* An SOA among the answers says nothing about what is missing. */
    assert_int_equal(read_msg(SLICE("\1\2\201\203\0\1\0\1\0\0\0\0" QUESTION SOA "\0\0\0\36"), &m),
                     0);
    assert_false(m.has_soa);
}

static void test_cut_everywhere(void **state)
{
    struct slice all = SLICE("\1\2\201\203\0\1\0\0\0\1\0\0" QUESTION SOA "\0\0\0\36");
    struct resolve_msg m;

    UNUSED(state);
    for (size_t n = 0; n < all.n; n++)
        assert_int_equal(read_msg(slice_of(all.p, n), &m), ERR_SYNTAX);
}

static void test_bad_names(void **state)
{
    struct resolve_msg m;

    UNUSED(state);
    assert_int_equal(read_msg(SLICE("\1\2\201\200\0\1\0\0\0\0\0\0\100\0\0\1\0\1"), &m), ERR_SYNTAX);
    assert_int_equal(read_msg(SLICE("\1\2\201\200\0\1\0\0\0\0\0\0\300"), &m), ERR_SYNTAX);
    assert_int_equal(read_msg(SLICE("\1\2\201\200\0\1\0\0\0\0\0\0\77a"), &m), ERR_SYNTAX);
    /* a pointer to itself is not followed */
    assert_int_equal(read_msg(SLICE("\1\2\201\200\0\1\0\0\0\0\0\0\300\14\0\1\0\1"), &m), 0);
    assert_int_equal(read_msg(SLICE("\1\2\201\200\0\2\0\0\0\0\0\0" QUESTION QUESTION), &m),
                     ERR_SYNTAX);
}

static size_t many(char *p, unsigned n, unsigned type)
{
    size_t at = 12;

    memcpy(p, "\1\2\201\200\0\0\0\0\0\0\0\0", 12);
    p[6] = (char)(n >> 8);
    p[7] = (char)n;
    for (unsigned i = 0; i < n; i++, at += 12) {
        memcpy(p + at, "\300\14\0\0\0\1\0\0\0\1\0\0", 12);
        p[at + 3] = (char)type;
    }
    return at;
}

static void test_bounds(void **state)
{
    static char p[12 + 12 * (RESOLVE_MSG_RECORDS + 1)];
    struct resolve_msg m;

    UNUSED(state);
    assert_int_equal(read_msg(slice_of(p, many(p, RESOLVE_MSG_RECORDS, 1)), &m), 0);
    assert_int_equal(read_msg(slice_of(p, many(p, RESOLVE_MSG_RECORDS + 1, 1)), &m), ERR_LIMIT);
    assert_int_equal(read_msg(slice_of(p, many(p, RESOLVE_MSG_ALIASES, 5)), &m), 0);
    assert_int_equal(read_msg(slice_of(p, many(p, RESOLVE_MSG_ALIASES + 1, 5)), &m), ERR_LIMIT);
}

/* Any bytes: an answer or an error, and no byte read that is not there. */
static void test_noise(void **state)
{
    uint32_t x = 12345;
    struct resolve_msg m;

    UNUSED(state);
    for (int i = 0; i < 20000; i++) {
        char p[128];
        size_t n = i % sizeof(p);

        for (size_t k = 0; k < n; k++) {
            x = x * 1664525u + 1013904223u;
            p[k] = (char)(x >> 24 & (k >= 4 && k < 12 && k % 2 == 0 ? 0 : 0xff));
            if (k >= 4 && k < 12)
                p[k] &= 3;
        }
        (void)!read_msg(slice_of(p, n), &m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rcode),          cmocka_unit_test(test_soa),
        cmocka_unit_test(test_cut_everywhere), cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_bounds),         cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
