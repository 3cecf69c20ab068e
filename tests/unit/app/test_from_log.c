/* SPDX-License-Identifier: MIT */
/* Rules from a log: sorted, merged, bounded; without memory nothing is written. What they allow is tested over sockets (tests/wire/test_from_log.py). */
#include "app/from_log.h"

#include "app/log_line.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct log_line line(const char *host, uint16_t port, const char *peer)
{
    return (struct log_line){.time = SLICE("x"),
                             .method = SLICE("CONNECT"),
                             .host = slice_str(host),
                             .port = port,
                             .peer = slice_str(peer),
                             .known_end = true,
                             .end = END_TUNNEL_DONE};
}

static int add(struct from_log *f, const char *host, uint16_t port, const char *peer)
{
    struct log_line l = line(host, port, peer);

    return from_log_add(f, &l);
}

static void assert_rules(struct from_log *f, const char *want)
{
    struct text t = {0};
    char *text;
    size_t n;

    assert_int_equal(from_log_rules(f, &t), 0);
    text = text_take(&t, &n);
    assert_string_equal(text, want);
    mem_free(text);
    from_log_free(f);
}

/* U52 */
static void test_public_and_private(void **state)
{
    struct from_log *f = from_log_new(&(struct from_log_opts){0});

    UNUSED(state);
    /* A name that was seen at both: the rule with the address must come first, or the other one would decide and `private` refuse. */
    assert_int_equal(add(f, "a.test", 443, "203.0.113.0"), 0);
    assert_int_equal(add(f, "both.test", 443, "93.184.216.34"), 0);
    assert_int_equal(add(f, "both.test", 443, "10.0.0.5"), 0);
    assert_int_equal(add(f, "both.test", 443, "10.0.0.5"), 0);
    assert_int_equal(from_log_used(f), 4);
    assert_rules(f, "rules:\n"
                    "  - allow: both.test\n    port: 443\n    to: [10.0.0.5]\n"
                    "  - allow: a.test\n    port: 443\n    to: [203.0.113.0]\n"
                    "  - allow: both.test\n    port: 443\n");
}

static void test_nothing(void **state)
{
    struct from_log *f = from_log_new(&(struct from_log_opts){0});
    struct log_line l = line("a.test", 443, "93.184.216.34");

    UNUSED(state);
    l.end = END_DENIED;
    assert_int_equal(from_log_add(f, &l), 0);
    l.end = END_SNI_DENIED;
    assert_int_equal(from_log_add(f, &l), 0);
    l.end = END_DONE;
    l.peer = SLICE_NONE;
    assert_int_equal(from_log_add(f, &l), 0);
    l.peer = SLICE("nonsense");
    assert_int_equal(from_log_add(f, &l), 0);
    assert_int_equal(add(f, "bad name", 443, "93.184.216.34"), 0);
    assert_int_equal(from_log_used(f), 0);
    assert_rules(f, "rules: []\n");
}

static void test_bound(void **state)
{
    struct from_log *f = from_log_new(&(struct from_log_opts){.most = 5000});
    char host[32];

    UNUSED(state);
    for (int i = 0; i < 5000; i++) {
        snprintf(host, sizeof(host), "h%d.test", i);
        assert_int_equal(add(f, host, 443, "93.184.216.34"), 0);
    }
    assert_int_equal(add(f, "h17.test", 443, "93.184.216.34"), 0);
    assert_int_equal(add(f, "more.test", 443, "93.184.216.34"), ERR_LIMIT);
    from_log_free(f);
    from_log_free(NULL);
}

static void test_fold(void **state)
{
    struct from_log *f = from_log_new(&(struct from_log_opts){.suffixes = true});
    char host[64];

    UNUSED(state);
    for (int i = 0; i < FROM_LOG_FOLD; i++) {
        snprintf(host, sizeof(host), "h%d.x.folded.test", i);
        assert_int_equal(add(f, host, 443, "93.184.216.34"), 0);
        snprintf(host, sizeof(host), "h%d.shop.co.uk", i);
        assert_int_equal(add(f, host, 443, "93.184.216.34"), 0);
        snprintf(host, sizeof(host), "10.0.0.%d", i);
        assert_int_equal(add(f, host, 22, host), 0);
    }
    assert_rules(f, "rules:\n"
                    "  - allow:\n      - 10.0.0.0\n      - 10.0.0.1\n      - 10.0.0.2\n      - 10.0.0.3\n      - 10.0.0.4\n      - 10.0.0.5\n      - 10.0.0.6\n"
                    "      - 10.0.0.7\n    port: 22\n"
                    "  - allow:\n      - .folded.test\n      - .shop.co.uk\n    port: 443\n");
}

static void test_memory(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct from_log *f = from_log_new(&(struct from_log_opts){.suffixes = true});
        struct text t = {0};
        int r = f ? 0 : ERR_NOMEM;
        char host[32];

        for (int i = 0; i < 12 && r == 0; i++) {
            snprintf(host, sizeof(host), "h%d.a.test", i);
            r = add(f, host, 443, i == 7 ? "10.0.0.5" : "93.184.216.34");
        }
        if (r == 0)
            r = from_log_rules(f, &t);
        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        text_done(&t);
        from_log_free(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_and_private), cmocka_unit_test(test_nothing), cmocka_unit_test(test_bound),
        cmocka_unit_test(test_fold),               cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
