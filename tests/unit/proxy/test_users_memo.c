/* SPDX-License-Identifier: MIT */
/* What was verified a moment ago is found by the field that was sent, for a second, by the same configuration only; and never by another field. */
#include "proxy/users_memo.h"

#include "base/err.h"
#include "support/memfail.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const int first, second; /* configurations: only their addresses matter */
static struct users_memo memo;
static struct arena arena;
static uint64_t until_ms; /* of what was found last */

static int setup(void **state)
{
    UNUSED(state);
    memo = (struct users_memo){0};
    arena_init(&arena, NULL, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    users_memo_done(&memo);
    arena_done(&arena);
    return 0;
}

static const struct users *users(const int *which)
{
    return (const struct users *)(const void *)which;
}

static struct users_memo_key key(const char *field)
{
    return users_memo_key(users(&first), 1, slice_str(field));
}

static int find(const struct users_memo_key *k, uint64_t now_ms, struct users_memo_texts *ret_t)
{
    return users_memo_find(&memo, k, now_ms, &arena, ret_t, &until_ms);
}

static void keep(const struct users_memo_key *k, uint64_t now_ms, uint64_t ms)
{
    users_memo_keep(&memo, k, now_ms, ms, &(struct users_memo_texts){SLICE("john"), SLICE("a,b"), SLICE("red,prio=high"), SLICE("red")});
}

static void test_found(void **state)
{
    struct users_memo_key k = key("Basic am9objpz");
    struct users_memo_texts t;

    UNUSED(state);
    assert_int_equal(find(&k, 1000, &t), ERR_NOTFOUND);
    keep(&k, 1000, USERS_MEMO_MS);
    assert_int_equal(find(&k, 1000 + USERS_MEMO_MS - 1, &t), 0);
    assert_true(slice_eq(t.user, SLICE("john")) && slice_eq(t.groups, SLICE("a,b")));
    assert_true(slice_eq(t.labels, SLICE("red,prio=high")) && slice_eq(t.granted, SLICE("red")));
    assert_int_equal(find(&k, 1000 + USERS_MEMO_MS, &t), ERR_NOTFOUND);
}

/* `cache: 0s` remembers nothing, not even for a moment. */
static void test_not_at_all(void **state)
{
    struct users_memo_key k = key("Basic am9objpz");
    struct users_memo_texts t;

    UNUSED(state);
    keep(&k, 1000, 0);
    assert_int_equal(find(&k, 1000, &t), ERR_NOTFOUND);
}

/* Other fields, other users, another configuration at the same address. */
static void test_others(void **state)
{
    struct users_memo_key k = key("Basic am9objpz");
    const struct users_memo_key others[] = {
        key("Basic am9objpzZ"), key("basic am9objpz"), key("Basic am9objp"), key(""),
        users_memo_key(users(&second), 1, SLICE("Basic am9objpz")), users_memo_key(users(&first), 2, SLICE("Basic am9objpz")),
    };
    struct users_memo_texts t;

    UNUSED(state);
    keep(&k, 1000, USERS_MEMO_MS);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(find(&others[i], 1000, &t), ERR_NOTFOUND);
    assert_int_equal(find(&k, 1000, &t), 0);
}

/* Many more than there are places: each that is found is the right one. */
static void test_many(void **state)
{
    char name[16], field[32];
    unsigned found = 0;

    UNUSED(state);
    for (unsigned i = 0; i < 2000; i++) {
        struct users_memo_key k;

        snprintf(field, sizeof(field), "Basic %u", i);
        snprintf(name, sizeof(name), "user%u", i);
        k = key(field);
        users_memo_keep(&memo, &k, 1000, 1000, &(struct users_memo_texts){.user = slice_str(name)});
    }
    for (unsigned i = 0; i < 2000; i++) {
        struct users_memo_texts t;
        struct users_memo_key k;

        snprintf(field, sizeof(field), "Basic %u", i);
        snprintf(name, sizeof(name), "user%u", i);
        k = key(field);
        if (find(&k, 1500, &t) < 0)
            continue;
        found++;
        assert_true(slice_eq(t.user, slice_str(name)) && !t.groups.n);
    }
    assert_in_range(found, USERS_MEMO_SLOTS / 2, USERS_MEMO_SLOTS);
}

static void test_too_long(void **state)
{
    struct users_memo_key k = key("Basic am9objpz");
    struct users_memo_texts t;
    char name[USERS_MEMO_TEXT + 1];

    UNUSED(state);
    memset(name, 'a', sizeof(name));
    users_memo_keep(&memo, &k, 1000, 1000, &(struct users_memo_texts){.user = slice_of(name, sizeof(name))});
    assert_int_equal(find(&k, 1000, &t), ERR_NOTFOUND);
    users_memo_keep(&memo, &k, 1000, 1000, &(struct users_memo_texts){.user = slice_of(name, sizeof(name) - 1)});
    assert_int_equal(find(&k, 1000, &t), 0);
    assert_int_equal(t.user.n, USERS_MEMO_TEXT);
}

static void test_no_memory(void **state)
{
    struct users_memo_key k = key("Basic am9objpz");

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct users_memo_texts t;
        struct arena a;
        int r;

        arena_init(&a, NULL, 1 << 20);
        users_memo_done(&memo);
        keep(&k, 1000, 1000);
        r = users_memo_find(&memo, &k, 1000, &a, &t, &until_ms);
        /* The first refusal is that of the table, the next one the finder's. */
        assert_int_equal(r, !memfail_hit() ? 0 : memo.slots ? ERR_NOMEM : ERR_NOTFOUND);
        arena_done(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_found, setup, teardown),      cmocka_unit_test_setup_teardown(test_not_at_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others, setup, teardown),     cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),   cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
