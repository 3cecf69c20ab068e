/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include "base/base.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_own_codes(void **state)
{
    static const int codes[] = {0,         ERR_LIMIT,    ERR_SYNTAX,  ERR_RANGE,
                                ERR_STATE, ERR_NOTFOUND, ERR_TIMEOUT, ERR_CLOSED};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        assert_string_not_equal(err_text(codes[i]), "unknown error");
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(err_text(codes[i]), err_text(codes[k]));
    }
}

static void test_kernel_codes(void **state)
{
    UNUSED(state);
    assert_string_equal(err_text(ERR_NOMEM), strerror(ENOMEM));
    assert_string_equal(err_text(-ECONNRESET), strerror(ECONNRESET));
}

static void test_unknown_codes(void **state)
{
    UNUSED(state);
    assert_non_null(err_text(-999));
    assert_string_equal(err_text(-5000), "unknown error");
    assert_string_equal(err_text(7), "unknown error");
    assert_string_equal(err_text(INT32_MIN), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_codes),
        cmocka_unit_test(test_kernel_codes),
        cmocka_unit_test(test_unknown_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
