/* SPDX-License-Identifier: MIT */
/* `users`: files of names and groups, programs, and what of them is shown. */
#include "app/conf_users.h"

#include "app/conf_show.h"
#include "base/err.h"
#include "base/mem.h"
#include "build_config.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/conf_files.h"

#define HASH "$6$salt$hash"

static struct conf *load(void)
{
    struct conf *c;
    char *text;
    int r;

    c = conf_files_load("ginnel.yaml", &r, &text);
    if (r < 0 || text[0])
        print_message("%s\n", text);
    assert_int_equal(r, 0);
    mem_free(text);
    return c;
}

static void assert_says(int code, const char *what)
{
    char *text;
    struct conf *c;
    int r;

    c = conf_files_load("ginnel.yaml", &r, &text);
    if (r != code || !strstr(text, what))
        print_message("%s\n", text);
    assert_int_equal(r, code);
    assert_non_null(strstr(text, what));
    /* nothing of a hash is shown */
    assert_null(strstr(text, "hidden"));
    mem_free(text);
    conf_free(c);
}

static struct slice groups(const struct conf *c, const char *name)
{
    const struct users_row *r = users_table_find(&c->users->groups, slice_str(name));

    return r ? users_row_value(r) : SLICE_NONE;
}

static void test_files(void **state)
{
    const struct users_row *r;
    struct conf *c;

    UNUSED(state);
    conf_files_text("users", "\xef\xbb\xbf# comment\n\n  john:" HASH ":labels=red,prio=high  \r\nanna b:$y$j9T$x$y\n#x:y\nlast:" HASH);
    conf_files_text("groups", "staff: john last\nadmin:\tlast\nempty:\nstaff: last john\n");
    conf_files_text("ginnel.yaml", "users: {file: users, groups: ./groups}\n");
    c = load();
    assert_int_equal(c->users->names.n, 3);
    r = users_table_find(&c->users->names, SLICE("john"));
    assert_true(slice_eq(users_row_value(r), SLICE(HASH)) && slice_eq(users_row_more(r), SLICE("red,prio=high")));
    assert_true(users_row_value(r).p[r->value_n] == '\0');
    assert_non_null(users_table_find(&c->users->names, SLICE("anna b")));
    assert_non_null(users_table_find(&c->users->names, SLICE("last")));
    assert_true(slice_eq(groups(c, "john"), SLICE("staff")));
    assert_true(slice_eq(groups(c, "last"), SLICE("staff,admin")));
    assert_int_equal(groups(c, "nobody").n, 0);
    /* most of them are sha512 */
    assert_true(c->users->usual == 0 && !c->users->when_needed && c->users->cache_ms == 3600000);
    assert_true(c->n_files >= 3);
    conf_free(c);
}

static void test_short_form_and_listeners(void **state)
{
    struct conf *c;

    UNUSED(state);
    conf_files_text("users", "john:" HASH "\n");
    conf_files_text("more", "anna:" HASH "\n");
    conf_files_text("ginnel.yaml", "users: users\nlisten:\n  - 127.0.0.1:1\n  - {address: \"localhost:2\", users: {file: more, ask: when-needed, cache: 0s}}\n");
    c = load();
    assert_int_equal(c->n_listen, 3);
    assert_null(c->listen[0].users);
    assert_ptr_equal(c->listen[1].users, c->listen[2].users);
    assert_true(c->listen[1].users->when_needed && c->listen[1].users->cache_ms == 0);
    conf_free(c);
}

static void test_command(void **state)
{
    char *shown;
    struct conf *c;
    size_t n;

    UNUSED(state);
    conf_files_text("ginnel.yaml", "users: {command: [/bin/cat, -u], children: 3, concurrency: 10, timeout: 5s, cache: 1m}\n");
    c = load();
    assert_true(c->users->by_program && !c->users->program);
    assert_string_equal(c->users->argv[0], "/bin/cat");
    assert_string_equal(c->users->argv[1], "-u");
    assert_null(c->users->argv[2]);
    assert_true(c->users->children == 3 && c->users->concurrency == 10 && c->users->timeout_ms == 5000 && c->users->cache_ms == 60000);
    shown = conf_show(c, &n);
    assert_non_null(strstr(shown, "users:\n  command:\n    - /bin/cat\n    - \"-u\"\n  children: 3\n  concurrency: 10\n  timeout: 5s\n  ask: always\n"));
    mem_free(shown);
    conf_free(c);
}

/* What is shown is a file that means the same, without names and hashes. */
static void test_shown(void **state)
{
    struct conf *c;
    char *shown;
    size_t n;

    UNUSED(state);
    conf_files_text("users", "john:$6$hidden$hidden\n");
    conf_files_text("groups", "staff: john\n");
    conf_files_text("ginnel.yaml", "listen: [{address: 127.0.0.1:1, users: users}]\nusers: {file: users, groups: groups, ask: when-needed}\n");
    c = load();
    shown = conf_show(c, &n);
    assert_null(strstr(shown, "john"));
    assert_null(strstr(shown, "hidden"));
    conf_files_write("ginnel.yaml", shown, n);
    mem_free(shown);
    conf_free(c);
    c = load();
    assert_true(c->users->when_needed && c->listen[0].users && !c->listen[0].users->when_needed);
    assert_int_equal(c->users->groups.n, 1);
    conf_free(c);
}

static void test_faults(void **state)
{
    UNUSED(state);
    conf_files_text("ginnel.yaml", "users: users\n");
    conf_files_text("users", "john:hidden\n");
    assert_says(ERR_SYNTAX, "users:1:6: the password of \"john\" is stored as no hash that is known");
    conf_files_text("users", "ok:" HASH "\nhidden\n");
    assert_says(ERR_SYNTAX, "users:2:1: this line has no colon");
    conf_files_text("users", "john:$6$a b\n");
    assert_says(ERR_SYNTAX, "malformed");
    conf_files_text("users", "john:" HASH "\nanna:" HASH "\njohn:$y$hidden\n");
    assert_says(ERR_SYNTAX, "users:3:1: the user \"john\" is there twice");
    conf_files_text("users", "john:" HASH ":labels=\n");
    assert_says(ERR_SYNTAX, "is no list of labels");
    conf_files_text("users", "john:" HASH ":labels=a,\n");
    assert_says(ERR_SYNTAX, "is no list of labels");
    conf_files_write("users", "john:\0x\n", 8);
    assert_says(ERR_SYNTAX, "NUL");
    conf_files_text("users", "# nobody\n");
    assert_says(0, "nobody can log in");
    conf_files_text("users", "john:" HASH "\n");
    conf_files_text("ginnel.yaml", "users: {file: users, groups: groups}\n");
    conf_files_text("groups", "staff: jhon\n");
    assert_says(0, "groups:1:8: warning: \"jhon\" is in a group, and not in the users file");
    conf_files_text("groups", "staff john\n");
    assert_says(ERR_SYNTAX, "this is no group and its members");
    conf_files_text("groups", "sta,ff: john\n");
    assert_says(ERR_SYNTAX, "this is no group and its members");
    conf_files_text("groups", "staff: john,anna\n");
    assert_says(ERR_SYNTAX, "cannot be the name of a user");
}

static void test_faults_of_the_map(void **state)
{
    UNUSED(state);
    conf_files_text("users", "john:" HASH "\n");
    conf_files_text("ginnel.yaml", "users: {file: users, children: 3}\n");
    assert_says(ERR_SYNTAX, "ginnel.yaml:1:22: `children` is about the program of `command`, and there is none");
    conf_files_text("ginnel.yaml", "users: {command: [/bin/cat, \"a\\0b\"]}\n");
    assert_says(ERR_SYNTAX, "an argument has no NUL byte");
    conf_files_text("ginnel.yaml", "users: {command: [cat]}\n");
    assert_says(ERR_SYNTAX, "\"cat\" is no path of a program");
    conf_files_text("ginnel.yaml", "users: {command: [./cat]}\n");
    assert_says(ERR_SYNTAX, "cannot be run: No such file or directory");
#if !HAVE_CRYPT
    conf_files_text("ginnel.yaml", "users: users\n");
    assert_says(ERR_SYNTAX, "this build cannot verify passwords: it has no libcrypt");
#endif
}

/* A user whose groups would not fit into a request. */
static void test_too_many_groups(void **state)
{
    FILE *f;

    UNUSED(state);
    conf_files_text("users", "john:" HASH "\n");
    conf_files_text("ginnel.yaml", "users: {file: users, groups: groups}\n");
    f = fopen("groups", "w");
    for (unsigned i = 0; i < 600; i++)
        fprintf(f, "group%04u: john\n", i);
    fclose(f);
    assert_says(ERR_SYNTAX, "is in too many groups");
}

static void test_many(void **state)
{
    struct conf *c;
    FILE *f;

    UNUSED(state);
    f = fopen("users", "w");
    for (unsigned i = 0; i < 20000; i++)
        fprintf(f, "user%u:" HASH "%u\n", i, i);
    fclose(f);
    conf_files_text("ginnel.yaml", "users: users\n");
    c = load();
    assert_int_equal(c->users->names.n, 20000);
    assert_non_null(users_table_find(&c->users->names, SLICE("user19999")));
    conf_free(c);
}

static void test_refused_memory(void **state)
{
    const struct conf_args args = {.file = "ginnel.yaml"};

    UNUSED(state);
    conf_files_text("users", "john:" HASH ":labels=a\nanna:" HASH "\n");
    conf_files_text("groups", "staff: john anna\nadmin: anna\n");
    conf_files_text("ginnel.yaml", "listen: [{address: 127.0.0.1:1, users: {command: [/bin/cat, x]}}]\nusers: {file: users, groups: groups}\n");
    for (memfail_start(); memfail_next();) {
        struct conf_errors errors;
        struct conf *c = NULL;
        int r = conf_load(&args, &c, &errors, NULL);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        if (r == 0)
            conf_free(c);
        conf_errors_done(&errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files), cmocka_unit_test(test_short_form_and_listeners), cmocka_unit_test(test_command),
        cmocka_unit_test(test_shown), cmocka_unit_test(test_faults),                   cmocka_unit_test(test_too_many_groups),
        cmocka_unit_test(test_faults_of_the_map),
        cmocka_unit_test(test_many),  cmocka_unit_test(test_refused_memory),
    };

    return cmocka_run_group_tests(tests, conf_files_setup, conf_files_teardown);
}
