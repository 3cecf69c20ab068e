/* SPDX-License-Identifier: MIT */
#include "base/secret.h"

#include "base/board.h"
#include "base/check.h"
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* C87 */
static void test_equal(void **state)
{
    char a[64], b[64];

    UNUSED(state);
    memset(a, 'x', sizeof(a));
    memcpy(b, a, sizeof(b));
    assert_true(secret_equal(slice_of(a, sizeof(a)), slice_of(b, sizeof(b))));
    assert_false(secret_equal(slice_of(a, sizeof(a)), slice_of(b, sizeof(b) - 1)));
    assert_true(secret_equal(SLICE_NONE, SLICE("")));
    for (size_t i = 0; i < sizeof(a); i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            b[i] = (char)(a[i] ^ 1 << bit);
            assert_false(secret_equal(slice_of(a, sizeof(a)), slice_of(b, sizeof(b))));
            b[i] = a[i];
        }
}

static void test_wipe(void **state)
{
    char a[32] = "open sesame";

    UNUSED(state);
    secret_wipe(slice_of(a, 11));
    for (size_t i = 0; i < sizeof(a); i++)
        assert_int_equal(a[i], 0);
    secret_wipe(SLICE_NONE);
}

static void wide(const char *const *parts, unsigned char out[HASH_WIDE_LEN])
{
    struct hash_wide h;

    hash_wide_init(&h);
    for (; *parts; parts++)
        hash_wide_add(&h, *parts, strlen(*parts));
    hash_wide_done(&h, out);
}

/* SipHash-2-4 with 128 bits of its authors, for the key 00 01 … 0f and the eight bytes of length that an empty part is: computed independently. */
static void test_wide(void **state)
{
    static const unsigned char want[HASH_WIDE_LEN] = {0xc2, 0x93, 0xab, 0x68, 0xef, 0xe6, 0xf2, 0x96, 0xbd, 0x92, 0xa4, 0x9d, 0x62, 0x57, 0x80, 0x1d};
    const char *const empty[] = {"", NULL}, *const x[] = {"ab", "c", NULL}, *const y[] = {"a", "bc", NULL}, *const z[] = {"abc", NULL};
    unsigned char a[HASH_WIDE_LEN], b[HASH_WIDE_LEN], c[HASH_WIDE_LEN];

    UNUSED(state);
    wide(empty, a);
    assert_memory_equal(a, want, sizeof(want));
    wide(x, a);
    wide(y, b);
    wide(z, c);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a, c, sizeof(a));
    wide(x, b);
    assert_memory_equal(a, b, sizeof(a));
}

/* A part that comes in pieces of any alignment is the same as the words of it. */
static void test_wide_lengths(void **state)
{
    char text[80];

    UNUSED(state);
    memset(text, 'q', sizeof(text));
    for (size_t n = 0; n < 40; n++)
        for (size_t m = 0; m < 20; m++) {
            unsigned char a[HASH_WIDE_LEN], b[HASH_WIDE_LEN];
            struct hash_wide h;

            hash_wide_init(&h);
            hash_wide_add(&h, text, n);
            hash_wide_add(&h, text + 1, m);
            hash_wide_done(&h, a);
            text[1 + m] = 'r'; /* what is behind it does not count */
            hash_wide_init(&h);
            hash_wide_add(&h, "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", n);
            hash_wide_add(&h, text + 1, m);
            hash_wide_done(&h, b);
            text[1 + m] = 'q';
            assert_memory_equal(a, b, sizeof(a));
        }
}

static void add_one(void *value, bool fresh, void *ctx)
{
    uint64_t n;

    memcpy(&n, value, sizeof(n));
    if (fresh)
        assert_int_equal(n, 0);
    n++;
    memcpy(value, &n, sizeof(n));
    *(uint64_t *)ctx = n;
}

static void test_board_change(void **state)
{
    struct board *b = board_new(64, 32);
    uint64_t n = 0, got;
    size_t len;

    UNUSED(state);
    board_change(b, BOARD_GUESSES, SLICE("k"), 100, 1000, sizeof(n), add_one, &n);
    assert_int_equal(n, 1);
    board_change(b, BOARD_GUESSES, SLICE("k"), 200, 1000, sizeof(n), add_one, &n);
    assert_int_equal(n, 2);
    assert_true(board_get(b, BOARD_GUESSES, SLICE("k"), 300, &got, sizeof(got), &len));
    assert_int_equal(got, 2);
    /* past its end it begins anew; so it does with another size */
    board_change(b, BOARD_GUESSES, SLICE("k"), 1200, 1000, sizeof(n), add_one, &n);
    assert_int_equal(n, 1);
    board_put(b, BOARD_GUESSES, SLICE("k"), 1300, 1000, "abc", 3);
    board_change(b, BOARD_GUESSES, SLICE("k"), 1300, 1000, sizeof(n), add_one, &n);
    assert_int_equal(n, 1);
    /* and the table stays whole when it is full */
    for (unsigned i = 0; i < 1000; i++)
        board_change(b, BOARD_GUESSES, slice_of(&i, sizeof(i)), 1300 + i, 1000, sizeof(n), add_one, &n);
    assert_true(board_count(b) <= 64);
    board_change(b, BOARD_GUESSES, SLICE("k"), 1300, 1000, 33, add_one, &n);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),        cmocka_unit_test(test_wipe),         cmocka_unit_test(test_wide),
        cmocka_unit_test(test_wide_lengths), cmocka_unit_test(test_board_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
