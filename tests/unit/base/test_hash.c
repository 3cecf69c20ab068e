/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* SipHash-1-3 of 00 01 02 … with the key 00 01 … 0f, which is the key before hash_seed. */
static void test_vectors(void **state)
{
    static const struct {
        size_t n;
        uint64_t hash;
    } known[] = {
        {0, 0xabac0158050fc4dcu},  {1, 0xc9f49bf37d57ca93u},  {2, 0x82cb9b024dc7d44du},
        {3, 0x8bf80ab8e7ddf7fbu},  {7, 0xd3927d989bb11140u},  {8, 0x369095118d299a8eu},
        {15, 0xd320d86d2a519956u}, {16, 0xcc4fdd1a7d908b66u}, {63, 0x9d199062b7bbb3a8u},
    };
    unsigned char in[64];

    UNUSED(state);
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (unsigned char)i;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        assert_true(hash_bytes(in, known[i].n) == known[i].hash);
    assert_true(hash_bytes(NULL, 0) == known[0].hash);
}

static void test_unaligned(void **state)
{
    char a[40] = "an input of thirty-one bytes...", b[41];

    UNUSED(state);
    for (size_t i = 0; i < 40; i++)
        b[i + 1] = a[i];
    for (size_t n = 0; n < 32; n++)
        assert_true(hash_bytes(a, n) == hash_bytes(b + 1, n));
}

static void test_seed(void **state)
{
    uint64_t before = hash_bytes("host", 4), first;

    UNUSED(state);
    hash_seed();
    first = hash_bytes("host", 4);
    assert_true(first != before);
    assert_true(first == hash_bytes("host", 4));
    hash_seed();
    assert_true(first != hash_bytes("host", 4));
}

/* What was tagged is told from all that differs from it in a bit or in its length, wherever it lies; and nothing behind it counts. */
static void test_tags(void **state)
{
    unsigned char in[HASH_TAG_MAX + 9], other[HASH_TAG_MAX + 9];

    UNUSED(state);
    for (unsigned seeded = 0; seeded < 2; seeded++) {
        for (size_t n = 0; n <= HASH_TAG_MAX; n++) {
            struct hash_tag tag, same, shorter;

            for (size_t i = 0; i < sizeof(in); i++)
                in[i] = (unsigned char)(n + i % 5 * i);
            memcpy(other + 1, in, n);
            other[n + 1] = 7;
            tag = hash_tag(in, n);
            same = hash_tag(other + 1, n);
            assert_true(hash_tag_same(&tag, &same));
            for (size_t i = 0; i < n; i++)
                for (unsigned bit = 0; bit < 8; bit++) {
                    in[i] ^= (unsigned char)(1 << bit);
                    same = hash_tag(in, n);
                    assert_false(hash_tag_same(&tag, &same));
                    in[i] ^= (unsigned char)(1 << bit);
                }
            for (size_t m = 0; m < n; m++) {
                shorter = hash_tag(in, m);
                assert_false(hash_tag_same(&tag, &shorter));
            }
        }
        hash_seed();
    }
}

/* Zeros are words like others, and places count. */
static void test_tags_alike(void **state)
{
    static const unsigned char zeros[HASH_TAG_MAX];
    static const char ab[] = "aaaaaaaabbbbbbbb", ba[] = "bbbbbbbbaaaaaaaa";
    struct hash_tag v[HASH_TAG_MAX + 1], a = hash_tag(ab, 16), b = hash_tag(ba, 16), before = a;

    UNUSED(state);
    assert_false(hash_tag_same(&a, &b));
    for (size_t i = 0; i <= HASH_TAG_MAX; i++) {
        v[i] = hash_tag(zeros, i);
        for (size_t j = 0; j < i; j++)
            assert_false(hash_tag_same(&v[i], &v[j]));
    }
    hash_seed();
    a = hash_tag(ab, 16);
    assert_false(hash_tag_same(&a, &before));
    b = (struct hash_tag){{a.v[0], a.v[1] ^ 1}};
    assert_false(hash_tag_same(&a, &b));
    b = (struct hash_tag){{a.v[0] ^ (uint64_t)1 << 63, a.v[1]}};
    assert_false(hash_tag_same(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_unaligned),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_tags_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
