/* SPDX-License-Identifier: MIT */
/* Routes: the first entry that matches decides. */
#include "policy/route.h"

#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_first(void **state)
{
    struct matcher_ports eighty = {80, 80}, low = {1, 1023};
    struct matcher http[2] = {{.ports = &eighty, .n_ports = 1}, {.schemes = MATCH_CONNECT}};
    struct matcher small = {.ports = &low, .n_ports = 1};
    struct route v[3] = {{.where = http, .n_where = 2}, {.where = &small, .n_where = 1}, {0}};
    struct match_facts f = {.port = 80};

    UNUSED(state);
    assert_null(route_find(NULL, 0, &f, NULL));
    assert_ptr_equal(route_find(v, 3, &f, NULL), &v[0]);
    f = (struct match_facts){.port = 443, .scheme = MATCH_CONNECT};
    assert_ptr_equal(route_find(v, 3, &f, NULL), &v[0]);
    f.scheme = MATCH_HTTP;
    assert_ptr_equal(route_find(v, 3, &f, NULL), &v[1]);
    f.port = 8080;
    assert_ptr_equal(route_find(v, 3, &f, NULL), &v[2]);
    assert_null(route_find(v, 2, &f, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_first)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
