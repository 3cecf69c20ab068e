/* SPDX-License-Identifier: MIT */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct thing {
    int id;
    struct list link;
};

static struct thing things[6];

static int setup(void **state)
{
    UNUSED(state);
    for (int i = 0; i < 6; i++) {
        things[i].id = i;
        list_init(&things[i].link);
    }
    return 0;
}

/* The ids in order, as decimal digits. */
static int order(struct list *head)
{
    int v = 0;

    LIST_EACH (l, head)
        v = v * 10 + LIST_ENTRY(l, struct thing, link)->id;
    return v;
}

static void test_empty(void **state)
{
    struct list head;

    UNUSED(state);
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop(&head));
    assert_int_equal(order(&head), 0);
}

static void test_push_pop(void **state)
{
    struct list head;

    UNUSED(state);
    list_init(&head);
    list_push(&head, &things[2].link);
    list_push(&head, &things[3].link);
    list_push_front(&head, &things[1].link);
    assert_int_equal(order(&head), 123);
    assert_ptr_equal(list_pop(&head), &things[1].link);
    assert_true(list_empty(&things[1].link));
    assert_int_equal(order(&head), 23);
}

static void test_del_in_loop(void **state)
{
    struct list head;

    UNUSED(state);
    list_init(&head);
    for (int i = 1; i < 6; i++)
        list_push(&head, &things[i].link);
    LIST_EACH (l, &head)
        if (LIST_ENTRY(l, struct thing, link)->id % 2)
            list_del(l);
    assert_int_equal(order(&head), 24);
    list_del(&things[1].link); /* in no list: harmless */
}

static void test_splice(void **state)
{
    struct list a, b;

    UNUSED(state);
    list_init(&a);
    list_init(&b);
    list_splice(&a, &b);
    assert_true(list_empty(&a));
    list_push(&b, &things[1].link);
    list_push(&b, &things[2].link);
    list_splice(&a, &b);
    assert_true(list_empty(&b));
    assert_int_equal(order(&a), 12);
    list_push(&b, &things[3].link);
    list_splice(&a, &b);
    assert_int_equal(order(&a), 123);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, setup),
        cmocka_unit_test_setup(test_push_pop, setup),
        cmocka_unit_test_setup(test_del_in_loop, setup),
        cmocka_unit_test_setup(test_splice, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
