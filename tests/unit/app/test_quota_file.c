/* SPDX-License-Identifier: MIT */
/* What quotas have counted, on disk: there and back, damaged in every byte, where it lies, memory refused. */
#include "app/quota_file.h"

#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define WALL UINT64_C(1700000000000)

static void use(struct charge_table *t, uint64_t limit, struct slice key, uint64_t used, uint64_t end_ms)
{
    struct charge_bucket *b = charge_pin(t, limit, key, 1000, WALL);

    assert_non_null(b);
    b->quota_used = used;
    b->quota_end_ms = end_ms;
    charge_unpin(&b);
}

static uint64_t used(struct charge_table *t, uint64_t limit, struct slice key)
{
    struct charge_bucket *b = charge_pin(t, limit, key, 1000, WALL);
    uint64_t n = b->quota_used;

    charge_unpin(&b);
    return n;
}

static const char strange[] = "u\0\n \\x41\xff end 1";

static struct charge_table *filled(void)
{
    struct charge_table *t = charge_table_new();
    char name[301];

    memset(name, 'n', sizeof(name));
    use(t, 1, SLICE("ualice"), 5, WALL + 1);
    use(t, UINT64_MAX, SLICE(""), UINT64_MAX, UINT64_MAX);
    use(t, 2, slice_of(strange, sizeof(strange)), 7, WALL + 1000);
    use(t, 2, slice_of(name, sizeof(name)), 9, WALL + 1000);
    use(t, 3, SLICE("uover"), 11, WALL);   /* its span is over */
    use(t, 3, SLICE("unone"), 0, WALL + 1); /* nothing was counted */
    return t;
}

static void test_there_and_back(void **state)
{
    struct charge_table *t = filled(), *u = charge_table_new();
    char name[301];
    unsigned n = 0;
    size_t len;
    char *text = quota_file_text(t, WALL, &len);

    UNUSED(state);
    memset(name, 'n', sizeof(name));
    assert_non_null(text);
    assert_int_equal(quota_file_parse(u, slice_of(text, len), WALL, &n), 0);
    assert_int_equal(n, 4);
    assert_int_equal(used(u, 1, SLICE("ualice")), 5);
    assert_int_equal(used(u, UINT64_MAX, SLICE("")), UINT64_MAX);
    assert_int_equal(used(u, 2, slice_of(strange, sizeof(strange))), 7);
    assert_int_equal(used(u, 2, slice_of(name, sizeof(name))), 9);
    assert_int_equal(used(u, 3, SLICE("uover")), 0);
    charge_table_free(u);
    /* Read later, some spans are over. */
    u = charge_table_new();
    assert_int_equal(quota_file_parse(u, slice_of(text, len), WALL + 1, &n), 0);
    assert_int_equal(n, 3);
    charge_table_free(u);
    charge_table_free(t);
    mem_free(text);
}

/* Whatever byte is another, or missing, it is seen, and nothing is taken from the file. */
static void test_damaged(void **state)
{
    struct charge_table *t = filled(), *u = charge_table_new();
    size_t len;
    char *text = quota_file_text(t, WALL, &len);
    unsigned n = 0;

    UNUSED(state);
    for (size_t i = 0; i < len; i++) {
        char kept = text[i];

        assert_int_equal(quota_file_parse(u, slice_of(text, i), WALL, &n), ERR_SYNTAX);
        for (unsigned bit = 0; bit < 8; bit++) {
            text[i] = (char)(kept ^ (1 << bit));
            if (i < len - 17 || (kept >= 'a' && kept <= 'f' && bit == 5) == false) /* A is a */
                assert_int_equal(quota_file_parse(u, slice_of(text, len), WALL, &n), ERR_SYNTAX);
        }
        text[i] = kept;
    }
    assert_int_equal(charge_table_count(u).buckets, 0);
    assert_int_equal(quota_file_parse(u, slice_of(text, len), WALL, &n), 0);
    charge_table_free(u);
    charge_table_free(t);
    mem_free(text);
}

static void test_empty(void **state)
{
    struct charge_table *t = charge_table_new();
    unsigned n = 9;
    size_t len;
    char *text = quota_file_text(t, WALL, &len);

    UNUSED(state);
    assert_int_equal(quota_file_parse(t, slice_of(text, len), WALL, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(quota_file_parse(t, SLICE(""), WALL, &n), ERR_SYNTAX);
    mem_free(text);
    charge_table_free(t);
}

static void test_refused_memory(void **state)
{
    struct charge_table *t = filled();

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        size_t len;
        char *text = quota_file_text(t, WALL, &len);

        assert_int_equal(text == NULL, memfail_hit());
        mem_free(text);
    }
    charge_table_free(t);
}

static void test_folder(void **state)
{
    char dir[] = "/tmp/ginnel-quota-XXXXXX", out[QUOTA_PATH], path[QUOTA_PATH], longer[QUOTA_PATH + 10];
    struct stat st;

    UNUSED(state);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a/b:/else", dir);
    setenv("STATE_DIRECTORY", path, 1);
    assert_int_equal(quota_file_folder(out), 0);
    snprintf(path, sizeof(path), "%s/a/b", dir);
    assert_string_equal(out, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    memset(longer, 'x', sizeof(longer));
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    setenv("STATE_DIRECTORY", longer, 1);
    assert_int_equal(quota_file_folder(out), ERR_LIMIT);
    unsetenv("STATE_DIRECTORY");
    if (geteuid() != 0) {
        setenv("XDG_STATE_HOME", dir, 1);
        assert_int_equal(quota_file_folder(out), 0);
        snprintf(path, sizeof(path), "%s/ginnel", dir);
        assert_string_equal(out, path);
        rmdir(path);
        unsetenv("XDG_STATE_HOME");
        unsetenv("HOME");
        assert_int_equal(quota_file_folder(out), ERR_NOTFOUND);
    }
    snprintf(path, sizeof(path), "%s/a/b", dir);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/a", dir);
    rmdir(path);
    rmdir(dir);
}

/* The file of one process at a time, whole at every moment. */
static void test_kept(void **state)
{
    char dir[] = "/tmp/ginnel-quota-XXXXXX", path[64];
    struct charge_table *t = charge_table_new();
    struct quota_file *q;
    uint64_t far = UINT64_C(1) << 50;

    UNUSED(state);
    assert_non_null(mkdtemp(dir));
    q = quota_file_start(t, dir);
    assert_non_null(q);
    assert_null(quota_file_start(t, dir));
    use(t, 1, SLICE("ualice"), 5, far);
    charge_table_changed(t);
    quota_file_stop(q);
    charge_table_free(t);
    t = charge_table_new();
    q = quota_file_start(t, dir);
    assert_non_null(q);
    assert_int_equal(used(t, 1, SLICE("ualice")), 5);
    quota_file_stop(q);
    quota_file_stop(NULL);
    charge_table_free(t);
    snprintf(path, sizeof(path), "%s/quota", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/quota.lock", dir);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_damaged), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_refused_memory), cmocka_unit_test(test_folder),  cmocka_unit_test(test_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
