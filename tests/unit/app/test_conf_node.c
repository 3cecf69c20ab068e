/* SPDX-License-Identifier: MIT */
/* Trees of nodes: their items and members. */
#include "app/conf_node.h"

#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_text_is_its_own_item(void **state)
{
    struct conf_node text = {.kind = CONF_NODE_TEXT, .text = SLICE("a")}, behind = {.kind = CONF_NODE_TEXT};

    UNUSED(state);
    text.next = &behind; /* of whatever it is in */
    assert_false(conf_node_is_list(&text));
    assert_ptr_equal(conf_node_first(&text), &text);
    assert_null(conf_node_next(&text, &text));
    assert_int_equal(conf_node_count(&text), 1);
}

static void a_list_has_items(void **state)
{
    struct conf_node v[3] = {{.kind = CONF_NODE_TEXT}, {.kind = CONF_NODE_MAP}, {.kind = CONF_NODE_BAD}};
    struct conf_node list = {.kind = CONF_NODE_LIST, .first = &v[0], .last = &v[2]};
    unsigned n = 0;

    UNUSED(state);
    v[0].next = &v[1];
    v[1].next = &v[2];
    for (const struct conf_node *i = conf_node_first(&list); i; i = conf_node_next(&list, i))
        assert_ptr_equal(i, &v[n++]);
    assert_int_equal(n, 3);
    assert_int_equal(conf_node_count(&list), 3);
}

static void nothing_has_none(void **state)
{
    struct conf_node list = {.kind = CONF_NODE_LIST};

    UNUSED(state);
    assert_null(conf_node_first(&list));
    assert_int_equal(conf_node_count(&list), 0);
    assert_null(conf_node_first(NULL));
    assert_int_equal(conf_node_count(NULL), 0);
    assert_null(conf_node_member(NULL, "a"));
    assert_null(conf_node_member(&list, "a"));
}

static void a_map_has_members(void **state)
{
    struct conf_node keys[3] = {{.kind = CONF_NODE_TEXT, .text = SLICE("a")}, {.kind = CONF_NODE_LIST, .text = SLICE("b")}, {.kind = CONF_NODE_TEXT, .text = SLICE("b")}};
    struct conf_node v[3] = {{.key = &keys[0]}, {.key = &keys[1]}, {.key = &keys[2]}};
    struct conf_node map = {.kind = CONF_NODE_MAP, .first = &v[0], .last = &v[2]};

    UNUSED(state);
    v[0].next = &v[1];
    v[1].next = &v[2];
    assert_ptr_equal(conf_node_member(&map, "a"), &v[0]);
    /* a key that is no text is none */
    assert_ptr_equal(conf_node_member(&map, "b"), &v[2]);
    assert_null(conf_node_member(&map, "c"));
    assert_null(conf_node_member(&map, ""));
    assert_int_equal(conf_node_count(&map), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_its_own_item),
        cmocka_unit_test(a_list_has_items),
        cmocka_unit_test(nothing_has_none),
        cmocka_unit_test(a_map_has_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
