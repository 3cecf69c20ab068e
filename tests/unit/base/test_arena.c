/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include "support/memfail.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { BLOCK = 1024, LIMIT = 16 * BLOCK };

struct fixture {
    struct objcache cache;
    struct arena arena;
};

static struct fixture fixture;

static int setup(void **state)
{
    objcache_init(&fixture.cache, BLOCK, 8);
    arena_init(&fixture.arena, &fixture.cache, LIMIT);
    *state = &fixture.arena;
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    arena_done(&fixture.arena);
    objcache_done(&fixture.cache); /* checks that every block came back */
    return 0;
}

static bool is_aligned(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

static void test_idle_holds_nothing(void **state)
{
    struct arena *a = *state;

    assert_int_equal(fixture.cache.n_used, 0);
    assert_non_null(arena_alloc(a, 1));
    assert_int_equal(fixture.cache.n_used, 1);
    arena_done(a);
    assert_int_equal(fixture.cache.n_used, 0);
    assert_int_equal(a->used, 0);
    assert_non_null(arena_alloc(a, 1));
}

static void test_aligned_and_apart(void **state)
{
    struct arena *a = *state;
    char *v[100];

    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = arena_alloc(a, i);
        assert_non_null(v[i]);
        assert_true(is_aligned(v[i]));
        memset(v[i], (int)i, i);
    }
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        for (size_t k = 0; k < i; k++)
            assert_int_equal(v[i][k], (char)i);
}

static void test_zero_bytes(void **state)
{
    struct arena *a = *state;

    assert_non_null(arena_alloc(a, 0));
    assert_non_null(arena_zalloc(a, 0));
}

static void test_zalloc(void **state)
{
    static const char zeros[200];
    struct arena *a = *state;
    char *p = arena_alloc(a, 200);

    memset(p, 'x', 200);
    arena_done(a); /* the block comes back dirty */
    p = arena_zalloc(a, 200);
    assert_memory_equal(p, zeros, 200);
}

static void test_large_piece_keeps_the_room(void **state)
{
    struct arena *a = *state;
    char *small = arena_alloc(a, 16), *large = arena_alloc(a, 3 * BLOCK);

    assert_true(is_aligned(large));
    memset(large, 'x', 3 * BLOCK);
    assert_ptr_equal(arena_alloc(a, 16), small + 16);
    assert_int_equal(fixture.cache.n_used, 1);
}

static void test_large_piece_first(void **state)
{
    struct arena *a = *state;
    char *large = arena_alloc(a, 2 * BLOCK), *small;

    memset(large, 'x', 2 * BLOCK);
    small = arena_alloc(a, 8);
    memset(small, 'y', 8);
    assert_int_equal(large[2 * BLOCK - 1], 'x');
    assert_non_null(arena_alloc(a, 2 * BLOCK));
    assert_int_equal(fixture.cache.n_used, 1);
}

static void test_sizes_around_a_block(void **state)
{
    struct arena *a = *state;

    for (size_t n = BLOCK - 64; n <= BLOCK + 64; n++) {
        char *p = arena_alloc(a, n);

        assert_non_null(p);
        memset(p, 'x', n);
        arena_done(a);
    }
}

static void test_limit(void **state)
{
    struct arena *a = *state;
    size_t n = 0;

    while (arena_alloc(a, 90))
        n++;
    assert_true(a->used <= LIMIT);
    assert_int_equal(n, LIMIT / BLOCK * ((BLOCK - 16) / 96));
    assert_null(arena_alloc(a, BLOCK));
    assert_non_null(arena_alloc(a, 1)); /* the newest block has room still */
}

static void test_limit_on_large(void **state)
{
    volatile size_t huge = SIZE_MAX;
    struct arena *a = *state;

    assert_null(arena_alloc(a, LIMIT));
    assert_null(arena_alloc(a, huge));
    assert_null(arena_alloc(a, huge - 64));
    assert_null(arena_alloc(a, huge / 2));
    assert_non_null(arena_alloc(a, LIMIT - 64));
    assert_null(arena_alloc(a, 64));
}

static void test_grow_in_place(void **state)
{
    struct arena *a = *state;
    char *p = arena_grow(a, NULL, 0, 32);

    memcpy(p, "0123456789abcdef0123456789abcdef", 32);
    assert_ptr_equal(arena_grow(a, p, 32, 100), p);
    assert_memory_equal(p, "0123456789abcdef0123456789abcdef", 32);
    assert_ptr_equal(arena_alloc(a, 1), p + 112);
}

static void test_grow_moves(void **state)
{
    struct arena *a = *state;
    char *p = arena_alloc(a, 32), *behind, *q;

    memset(p, 'p', 32);
    behind = arena_alloc(a, 16);
    memset(behind, 'b', 16);
    q = arena_grow(a, p, 32, 64);
    assert_ptr_not_equal(q, p);
    memset(q + 32, 'q', 32);
    for (size_t i = 0; i < 32; i++)
        assert_int_equal(q[i], 'p');
    assert_int_equal(behind[15], 'b');
}

static void test_grow_into_next_block(void **state)
{
    struct arena *a = *state;
    char *p = NULL;
    size_t n = 0;

    for (size_t room = 64; room <= 4 * BLOCK; room *= 2) {
        p = arena_grow(a, p, n, room);
        assert_non_null(p);
        for (; n < room; n++)
            p[n] = (char)(n / 7);
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i], (char)(i / 7));
}

static void test_grow_shrinks(void **state)
{
    struct arena *a = *state;
    char *p = arena_alloc(a, 100);

    assert_ptr_equal(arena_grow(a, p, 100, 10), p);
    assert_ptr_equal(arena_alloc(a, 1), p + 16);
    assert_ptr_equal(arena_grow(a, p, 10, 5), p);
}

static void test_grow_refused(void **state)
{
    struct arena *a = *state;
    char *p = arena_alloc(a, 16);

    memcpy(p, "still here", 11);
    assert_null(arena_grow(a, p, 16, 2 * LIMIT));
    assert_string_equal(p, "still here");
}

static void test_dup(void **state)
{
    struct arena *a = *state;
    struct slice s = arena_dup(a, slice_of("a\0b", 3)), empty = arena_dup(a, SLICE_NONE);

    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "a\0b", 4);
    assert_int_equal(empty.n, 0);
    assert_string_equal(empty.p, "");
}

static void test_printf(void **state)
{
    char text[3 * BLOCK + 1];
    struct arena *a = *state;
    struct slice s = arena_printf(a, "%s:%u", "host", 80u);

    assert_int_equal(s.n, 7);
    assert_string_equal(s.p, "host:80");
    s = arena_printf(a, "%s", "");
    assert_non_null(s.p);
    assert_int_equal(s.n, 0);
    memset(text, 't', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (size_t n = 1; n < sizeof(text); n = n * 3 / 2 + 1) {
        s = arena_printf(a, "%.*s", (int)n, text);
        assert_int_equal(s.n, n);
        assert_int_equal(strlen(s.p), n);
        assert_memory_equal(s.p, text, n);
    }
}

static void test_printf_fills_the_block(void **state)
{
    struct arena *a = *state;
    char *first = arena_alloc(a, 16);
    size_t left = (size_t)(a->end - a->p);
    struct slice fits = arena_printf(a, "%*d", (int)left - 1, 7), none;

    assert_ptr_equal(fits.p, first + 16);
    none = arena_printf(a, "%d", 7);
    assert_string_equal(none.p, "7");
    assert_int_equal(fixture.cache.n_used, 2);
}

static void test_heap_blocks(void **state)
{
    struct arena a;

    UNUSED(state);
    arena_init(&a, NULL, 10000);
    assert_non_null(arena_alloc(&a, 1));
    assert_int_equal(a.used, 4096);
    assert_non_null(arena_alloc(&a, 5000));
    assert_null(arena_alloc(&a, 4096));
    arena_done(&a);
    arena_done(&a);
}

/* An arena in its own first block: all of it comes from the cache, and all goes back. */
static void test_new(void **state)
{
    struct arena *a;

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        a = arena_new(NULL, 10000);
        assert_int_equal(!a, memfail_hit());
        if (a)
            assert_int_equal(a->used, 4096);
        arena_delete(a);
    }
    a = arena_new(&fixture.cache, LIMIT);
    assert_non_null(a);
    assert_int_equal(fixture.cache.n_used, 1);
    for (unsigned i = 0; i < 100; i++)
        memset(arena_alloc(a, 100), 'x', 100);
    assert_true(fixture.cache.n_used > 1);
    arena_delete(a);
    assert_int_equal(fixture.cache.n_used, 0);
    assert_null(arena_new(NULL, 100)); /* less than a block */
    arena_delete(NULL);
}

static void test_odd_block_size(void **state)
{
    struct objcache cache;
    struct arena a;

    UNUSED(state);
    objcache_init(&cache, 77, 4);
    arena_init(&a, &cache, 100000);
    for (size_t n = 0; n < 200; n++) {
        char *p = arena_alloc(&a, n);

        assert_true(p && is_aligned(p));
        memset(p, 'x', n);
    }
    arena_done(&a);
    objcache_done(&cache);
}

/* One of everything; false at the first refusal. */
static bool use_everything(struct arena *a)
{
    char *p = arena_alloc(a, 40), *q;

    if (!p || !arena_zalloc(a, BLOCK - 100))
        return false;
    memset(p, 'p', 40);
    q = arena_grow(a, p, 40, 2 * BLOCK);
    assert_int_equal(p[39], 'p');
    if (!q)
        return false;
    assert_int_equal(q[39], 'p');
    return arena_dup(a, slice_of(q, 40)).p && arena_printf(a, "%*d", BLOCK, 1).p;
}

static void test_each_allocation_refused(void **state)
{
    struct arena *a = *state;

    for (memfail_start(); memfail_next();) {
        assert_true(use_everything(a) == !memfail_hit());
        arena_done(a);
        assert_int_equal(fixture.cache.n_used, 0);
        objcache_done(&fixture.cache); /* so that the next round asks for memory again */
    }
}

static void test_random(void **state)
{
    struct arena *a = *state;

    srand(1);
    for (int round = 0; round < 50; round++) {
        char *v[64];
        size_t n[64], count = 0;

        while (count < 64) {
            n[count] = (size_t)rand() % (rand() % 8 ? 64 : 2 * BLOCK);
            v[count] = arena_alloc(a, n[count]);
            if (!v[count])
                break;
            memset(v[count], (int)count, n[count]);
            count++;
        }
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < n[i]; k++)
                assert_int_equal(v[i][k], (char)i);
        arena_done(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_idle_holds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_aligned_and_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zero_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zalloc, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_piece_keeps_the_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_piece_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes_around_a_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit_on_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grow_in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grow_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grow_into_next_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grow_shrinks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grow_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dup, setup, teardown),
        cmocka_unit_test_setup_teardown(test_printf, setup, teardown),
        cmocka_unit_test_setup_teardown(test_printf_fills_the_block, setup, teardown),
        cmocka_unit_test(test_heap_blocks),
        cmocka_unit_test_setup_teardown(test_new, setup, teardown),
        cmocka_unit_test(test_odd_block_size),
        cmocka_unit_test_setup_teardown(test_each_allocation_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
