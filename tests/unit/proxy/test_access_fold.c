/* SPDX-License-Identifier: MIT */
#include "proxy/access_fold.h"

#include "proxy/access_texts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/memfail.h"

static char letters[4096];

static int letters_make(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < sizeof(letters); i++)
        letters[i] = (char)('a' + i % 26);
    return 0;
}

static void same(const struct access_record *a, const struct access_record *b)
{
    struct access_record x = *a, y = *b;

    assert_int_equal(x.id, y.id);
    assert_int_equal(x.start_us, y.start_us);
    assert_int_equal(x.wall_ms, y.wall_ms);
    assert_int_equal(x.bytes_up, y.bytes_up);
    assert_int_equal(x.bytes_down, y.bytes_down);
    assert_int_equal(x.dns_us, y.dns_us);
    assert_int_equal(x.connect_us, y.connect_us);
    assert_int_equal(x.first_byte_us, y.first_byte_us);
    assert_int_equal(x.port, y.port);
    assert_int_equal(x.status, y.status);
    assert_int_equal(x.version, y.version);
    assert_int_equal(x.scheme, y.scheme);
    assert_int_equal(x.reused, y.reused);
    assert_int_equal(x.tunnel, y.tunnel);
    assert_int_equal(x.would_deny, y.would_deny);
    assert_int_equal(x.peer.sa.sa_family, y.peer.sa.sa_family);
    assert_true(x.peer.sa.sa_family == AF_UNSPEC || addr_eq(&x.peer, &y.peer));
    assert_int_equal(x.local.sa.sa_family, y.local.sa.sa_family);
    assert_true(x.local.sa.sa_family == AF_UNSPEC || addr_eq(&x.local, &y.local));
    for (unsigned i = 0; i < ACCESS_TEXTS; i++)
        assert_true(slice_eq(*access_text(&x, i), *access_text(&y, i)));
}

static void there_and_back(const struct access_record *r)
{
    struct access_folded *f = access_fold(r);
    struct access_record got;

    assert_non_null(f);
    assert_int_equal(access_folded_id(f), r->id);
    memset(&got, 0xff, sizeof(got));
    access_unfold(f, &got);
    same(r, &got);
    assert_int_equal(got.end, END_NONE);
    assert_null(got.door);
    assert_int_equal(got.client.sa.sa_family, AF_UNSPEC);
    access_folded_free(f);
}

static void test_empty(void **state)
{
    struct access_record r = {.end = END_NONE};

    UNUSED(state);
    there_and_back(&r);
}

/* Each number at the edges of its bytes. */
static void test_numbers(void **state)
{
    UNUSED(state);
    for (unsigned bits = 0; bits <= 64; bits++) {
        uint64_t v = bits ? UINT64_MAX >> (64 - bits) : 0;
        struct access_record r = {
            .id = v, .start_us = v, .wall_ms = ~v, .bytes_up = v, .bytes_down = v + 1, .dns_us = (uint32_t)v, .connect_us = (uint32_t)~v, .first_byte_us = (uint32_t)v,
            .port = (uint16_t)v, .status = (uint16_t)~v, .version = (uint8_t)v, .scheme = (uint8_t)v, .reused = v & 1, .tunnel = v & 2, .would_deny = v & 4,
        };

        there_and_back(&r);
    }
}

static void random_addr(struct addr *a)
{
    uint8_t bytes[16];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rand();
    *a = (struct addr){0};
    if (rand() % 3 == 0)
        addr_v4(a, bytes, (uint16_t)rand());
    else if (rand() % 2)
        addr_v6(a, bytes, (uint16_t)rand());
}

static void test_random(void **state)
{
    UNUSED(state);
    srand(6);
    for (int round = 0; round < 2000; round++) {
        struct access_record r = {.id = (uint64_t)rand(), .start_us = (uint64_t)rand(), .wall_ms = (uint64_t)rand() << 11, .end = END_NONE};

        random_addr(&r.peer);
        random_addr(&r.local);
        for (unsigned i = 0; i < ACCESS_TEXTS; i++)
            if (rand() % 2)
                *access_text(&r, i) = slice_of(letters + rand() % 100, (size_t)rand() % (access_texts[i].max + 1u));
        there_and_back(&r);
    }
}

/* What is longer than the log keeps is cut, and the next string is whole. */
static void test_long(void **state)
{
    struct access_record r = {.end = END_NONE}, got;
    struct access_folded *f;

    UNUSED(state);
    for (unsigned i = 0; i < ACCESS_TEXTS; i++)
        *access_text(&r, i) = slice_of(letters, sizeof(letters));
    f = access_fold(&r);
    assert_non_null(f);
    access_unfold(f, &got);
    for (unsigned i = 0; i < ACCESS_TEXTS; i++)
        assert_true(slice_eq(*access_text(&got, i), slice_of(letters, access_texts[i].max)));
    access_folded_free(f);
}

static void test_memory(void **state)
{
    struct access_record r = {.host = SLICE("example.com"), .end = END_NONE};

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct access_folded *f = access_fold(&r);

        assert_int_equal(!f, memfail_hit());
        access_folded_free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty), cmocka_unit_test(test_numbers), cmocka_unit_test(test_random), cmocka_unit_test(test_long), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, letters_make, NULL);
}
