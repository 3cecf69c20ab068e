/* SPDX-License-Identifier: MIT */
/* What an edition is made of, as far as nothing is opened for it: what a reload says has changed, and what the language's defaults stand for. */
#include "app/edition.h"

#include "base/err.h"
#include "mux/mux_h2.h"

#include <stdio.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/conf_files.h"

static struct conf *parse(const char *text)
{
    struct conf_errors errors;
    struct conf *c = NULL;
    int r = conf_parse("test.yaml", text, strlen(text), &c, &errors);

    if (r < 0)
        conf_errors_print(&errors, stderr, false);
    assert_int_equal(r, 0);
    return c;
}

static void assert_diff(const char *a, const char *b, const char *expected)
{
    struct conf *x = parse(a), *y = parse(b);
    char out[512];

    edition_diff(x, y, out, sizeof(out));
    assert_string_equal(out, expected);
    edition_diff(y, x, out, sizeof(out));
    assert_string_equal(out, expected);
    conf_free(x);
    conf_free(y);
}

static void test_diff(void **state)
{
    UNUSED(state);
    assert_diff("name: a\n", "name: a\n", "");
    assert_diff("name: a\nupstream: deny\n", "name: a\n", "upstream");
    assert_diff("name: a\nupstream: {via: \"http://a:1\"}\n", "name: a\nupstream: {via: \"http://b:1\"}\n", "upstream");
    assert_diff("name: a\nupstream: {via: \"http://a:1\"}\n", "name: a\nupstream: {via: \"http://a:1\", resolve: local}\n", "upstream");
    assert_diff("name: a\nupstream: {via: \"http://a:1\", auth: {basic: \"a:b\"}}\n", "name: a\nupstream: {via: \"http://a:1\", auth: {basic: \"a:c\"}}\n", "upstream");
    assert_diff("name: a\norigins: {for: a.example, min: 1.2}\n", "name: a\norigins: {for: a.example, min: 1.3}\n", "origins");
    assert_diff("name: a\nh2: {resets: 5/s}\n", "name: a\n", "h2");
    assert_diff("name: a\nh2: {resets: 5/s}\nrules: []\n", "name: a\norigins: {for: a.example, min: 1.3}\n", "rules, origins, h2");
}

static void put_golden(const char *from, const char *to)
{
    char path[512], text[8192];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "%s/tls/%s", GOLDEN_DIR, from);
    f = fopen(path, "r");
    assert_non_null(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    conf_files_write(to, text, n);
}

static char *diff_of_files(const char *text, const char *other_pem)
{
    static char out[512];
    struct conf *x, *y;

    put_golden("ca.pem", "trust.pem");
    x = parse(text);
    put_golden(other_pem, "trust.pem");
    y = parse(text);
    edition_diff(x, y, out, sizeof(out));
    conf_free(x);
    conf_free(y);
    return out;
}

/* What a file holds counts, not what it is called. */
static void test_diff_of_files(void **state)
{
    UNUSED(state);
    assert_string_equal(diff_of_files("name: a\ntrust: trust.pem\n", "ca.pem"), "");
    assert_string_equal(diff_of_files("name: a\ntrust: trust.pem\n", "client.pem"), "trust");
    assert_string_equal(diff_of_files("name: a\norigins: {for: a, trust: trust.pem}\n", "client.pem"), "origins");
}

/* The manual's figures and those of whoever is built without a configuration are the same. */
static void test_h2_defaults(void **state)
{
    struct conf *c = parse("");

    UNUSED(state);
    assert_int_equal(c->proxy.h2.streams, h2_conf_default.streams);
    assert_int_equal(c->proxy.h2.window, h2_conf_default.window);
    assert_int_equal(c->proxy.h2.window_max, h2_conf_default.window_max);
    assert_int_equal(c->proxy.h2.resets, h2_conf_default.resets_rate);
    assert_int_equal(c->proxy.h2.resets * H2_BURSTS, h2_conf_default.resets_burst);
    assert_int_equal(c->proxy.h2.control, h2_conf_default.control_rate);
    assert_int_equal(c->proxy.h2.control * H2_BURSTS, h2_conf_default.control_burst);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_diff),
        cmocka_unit_test_setup_teardown(test_diff_of_files, conf_files_setup, conf_files_teardown),
        cmocka_unit_test(test_h2_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
