/* SPDX-License-Identifier: MIT */
#include "app/conf.h"

#include "base/err.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NOBODY = 65534 };

static void assert_listens(const struct conf *c, unsigned i, const char *expected)
{
    char text[ADDR_TEXT_MAX];

    assert_true(i < c->n_listen);
    addr_text(&c->listen[i].addr, text);
    assert_string_equal(text, expected);
}

/* ---- files ---- */

struct files {
    char dir[64];
    char path[160];
};

static struct files files;

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

static const char *in_dir(const char *name)
{
    int n = snprintf(files.path, sizeof(files.path), "%s/%s", files.dir, name);

    assert_true(n > 0 && (size_t)n < sizeof(files.path));
    return files.path;
}

static int setup_files(void **state)
{
    UNUSED(state);
    strcpy(files.dir, "/tmp/ginnel-conf-XXXXXX");
    if (!mkdtemp(files.dir) || chmod(files.dir, 0755) < 0)
        return -1;
    unsetenv("GINNEL_CONFIG");
    unsetenv("XDG_CONFIG_HOME");
    setenv("HOME", "/nonexistent", 1);
    return 0;
}

static int teardown_files(void **state)
{
    char command[128];

    UNUSED(state);
    if (getuid() == 0 && seteuid(0) < 0) /* a test may have failed as nobody */
        return -1;
    unsetenv("GINNEL_CONFIG");
    unsetenv("XDG_CONFIG_HOME");
    snprintf(command, sizeof(command), "rm -rf '%s'", files.dir);
    return system(command);
}

static int load(const char *file, const char *const *listen, unsigned n, struct conf **ret_c,
                struct conf_errors *ret_errors)
{
    const struct conf_args args = {.file = file, .listen = listen, .n_listen = n};

    return conf_load(&args, ret_c, ret_errors, NULL);
}

static void test_load(void **state)
{
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    write_text(in_dir("a.yaml"), "name: a\n");
    assert_int_equal(load(files.path, NULL, 0, &c, &errors), 0);
    assert_string_equal(c->proxy.name, "a");
    assert_string_equal(c->file, files.path);
    conf_free(c);

    write_text(in_dir("b.yaml"), "name: 'a b'\n");
    assert_int_equal(load(files.path, NULL, 0, &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, 1);
    assert_memory_equal(errors.v[0].text, files.path, strlen(files.path));
    assert_non_null(strstr(errors.v[0].text, "b.yaml:1:7: `name` wants a plain word"));
    conf_errors_done(&errors);
}

static void assert_unreadable(const char *path, const char *expected)
{
    struct conf_errors errors;
    struct conf *c;

    assert_int_equal(load(path, NULL, 0, &c, &errors), ERR_NOTFOUND);
    assert_int_equal(errors.n, 1);
    assert_int_equal(errors.v[0].line, 0);
    assert_string_equal(errors.v[0].text, expected);
    conf_errors_done(&errors);
}

static void test_unreadable(void **state)
{
    char expected[256];
    bool root = geteuid() == 0;

    UNUSED(state);
    assert_unreadable("/nonexistent/g.yaml",
                      "/nonexistent/g.yaml: cannot be read: No such file or directory");
    assert_unreadable("", "\"\": cannot be read: No such file or directory");
    assert_unreadable("/tmp", "/tmp: this is a directory, not a file\n"
                              "   hint: name the file in it: ginnel -c DIR/ginnel.yaml");

    write_text(in_dir("secret.yaml"), "name: a\n");
    assert_int_equal(chmod(files.path, 0), 0);
    snprintf(expected, sizeof(expected), "%s: cannot be read: Permission denied", files.path);
    if (root)
        assert_int_equal(seteuid(NOBODY), 0);
    assert_unreadable(files.path, expected);
    if (root)
        assert_int_equal(seteuid(0), 0);

    setenv("GINNEL_CONFIG", "/nonexistent/env.yaml", 1);
    assert_unreadable(NULL, "/nonexistent/env.yaml: cannot be read: No such file or directory\n"
                            "   hint: GINNEL_CONFIG names this file");
}

static char *text_of_size(size_t n)
{
    char *text = malloc(n + 1);

    assert_non_null(text);
    memset(text, '#', n);
    memcpy(text, "name: a\n", 8);
    text[n] = '\0';
    return text;
}

static void test_too_large(void **state)
{
    char *text = text_of_size(CONF_FILE_MAX + 1);
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    assert_int_equal(conf_parse("f", text, CONF_FILE_MAX, &c, &errors), 0);
    conf_free(c);
    assert_int_equal(conf_parse("f", text, CONF_FILE_MAX + 1, &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, 1);
    assert_string_equal(errors.v[0].text, "f: larger than 1 MB");
    conf_errors_done(&errors);

    write_text(in_dir("large.yaml"), text);
    assert_int_equal(load(files.path, NULL, 0, &c, &errors), ERR_SYNTAX);
    assert_non_null(strstr(errors.v[0].text, "large.yaml: larger than 1 MB"));
    conf_errors_done(&errors);
    text[CONF_FILE_MAX] = '\0';
    write_text(files.path, text);
    assert_int_equal(load(files.path, NULL, 0, &c, &errors), 0);
    assert_string_equal(c->proxy.name, "a");
    conf_free(c);
    free(text);
}

static void assert_found(const char *dash_c, const char *expected)
{
    char *path = conf_search(dash_c);

    if (expected)
        assert_string_equal(path, expected);
    else if (path)
        assert_string_equal(path, "/etc/ginnel/ginnel.yaml"); /* this machine's own */
    mem_free(path);
}

static void make_user_file(const char *under)
{
    char path[256];

    snprintf(path, sizeof(path), "mkdir -p '%s/%s/ginnel'", files.dir, under);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof(path), "%s/ginnel/ginnel.yaml", under);
    write_text(in_dir(path), "");
}

static void test_search(void **state)
{
    bool root = geteuid() == 0;
    char expected[160];

    UNUSED(state);
    assert_found(NULL, NULL);
    assert_found("/some/where", "/some/where");

    make_user_file(".config");
    setenv("HOME", files.dir, 1);
    if (root) {
        assert_found(NULL, NULL); /* not for root */
        assert_int_equal(seteuid(NOBODY), 0);
    }
    snprintf(expected, sizeof(expected), "%s/.config/ginnel/ginnel.yaml", files.dir);
    assert_found(NULL, expected);

    setenv("XDG_CONFIG_HOME", "relative", 1);
    assert_found(NULL, expected);
    setenv("XDG_CONFIG_HOME", "", 1);
    assert_found(NULL, expected);
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    assert_found(NULL, NULL);
    if (root)
        assert_int_equal(seteuid(0), 0);
    make_user_file("xdg");
    if (root)
        assert_int_equal(seteuid(NOBODY), 0);
    setenv("XDG_CONFIG_HOME", in_dir("xdg"), 1);
    snprintf(expected, sizeof(expected), "%s/xdg/ginnel/ginnel.yaml", files.dir);
    assert_found(NULL, expected);

    setenv("GINNEL_CONFIG", "", 1);
    assert_found(NULL, expected);
    setenv("GINNEL_CONFIG", "/from/env", 1);
    assert_found(NULL, "/from/env");
    assert_found("/dash/c", "/dash/c");
    if (root)
        assert_int_equal(seteuid(0), 0);
}

static void test_listen_of_the_command_line(void **state)
{
    static const char *const good[] = {"localhost:0", "127.0.0.1:7"};
    static const char *const bad[] = {"foo", "0.0.0.0:1", "127.0.0.1:5", "127.0.0.1:5"};
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    write_text(in_dir("l.yaml"), "listen: [127.0.0.1:1, 127.0.0.1:2]\n");
    assert_int_equal(load(files.path, good, 2, &c, &errors), 0);
    assert_int_equal(c->n_listen, 3);
    assert_listens(c, 0, "127.0.0.1:0");
    assert_listens(c, 1, "[::1]:0");
    assert_listens(c, 2, "127.0.0.1:7");
    conf_free(c);

    assert_int_equal(load(files.path, bad, 4, &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, 3);
    for (unsigned i = 0; i < errors.n; i++)
        assert_int_equal(errors.v[i].line, 0);
    assert_string_equal(errors.v[0].text,
                        "ginnel: `--listen` wants an address and a port, not \"foo\"\n"
                        "   hint: like this: 127.0.0.1:3128, \"[::1]:3128\" or localhost:3128");
    assert_string_equal(
        errors.v[1].text,
        "ginnel: \"0.0.0.0:1\" can be reached from other machines, and neither `clients` nor `users` is set\n"
        "   hint: write `clients: [10.0.0.0/8]` (or `clients: any` for an open proxy)");
    assert_string_equal(errors.v[2].text, "ginnel: 127.0.0.1:5 is listened on twice\n"
                                          "   hint: remove one of the two");
    conf_errors_done(&errors);

    /* The file's clients hold for the command line's address; the file's own listeners are gone. */
    write_text(in_dir("o.yaml"), "listen: 127.0.0.1:5\nclients: any\n");
    assert_int_equal(load(files.path, bad + 1, 2, &c, &errors), 0);
    assert_int_equal(c->n_listen, 2);
    conf_free(c);
}

/* What a log says about the file's listeners stays correct when others take their place; and who
 * has sockets from systemd needs no default listeners. */
static void test_other_listeners(void **state)
{
    static const char *const listen[] = {"127.0.0.1:9"};
    struct conf_args args = {.sockets = true};
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    write_text(in_dir("n.yaml"), "listen: {address: 127.0.0.1:1, name: a}\n"
                                 "log: {for: {listener: a}}\n");
    assert_int_equal(load(files.path, listen, 1, &c, &errors), 0);
    assert_int_equal(c->n_listen, 1);
    assert_null(c->listen[0].name);
    assert_string_equal(c->listen[0].place, "--listen");
    conf_free(c);

    args.file = files.path;
    assert_int_equal(conf_load(&args, &c, &errors, NULL), 0);
    assert_int_equal(c->n_listen, 1);
    conf_free(c);
    write_text(files.path, "");
    assert_int_equal(conf_load(&args, &c, &errors, NULL), 0);
    assert_int_equal(c->n_listen, 0);
    conf_free(c);
    args.sockets = false;
    assert_int_equal(conf_load(&args, &c, &errors, NULL), 0);
    assert_int_equal(c->n_listen, 2);
    assert_string_equal(c->listen[0].place, "default");
    conf_free(c);
}

static void test_no_file_at_all(void **state)
{
    static const char *const listen[] = {"127.0.0.1:9"};
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    if (access("/etc/ginnel/ginnel.yaml", F_OK) == 0)
        skip();
    assert_int_equal(load(NULL, NULL, 0, &c, &errors), 0);
    assert_null(c->file);
    assert_int_equal(c->n_listen, 2);
    assert_listens(c, 0, "127.0.0.1:3128");
    assert_listens(c, 1, "[::1]:3128");
    assert_true(c->listen[0].dflt && c->listen[1].dflt);
    assert_int_equal(c->proxy.timeouts.connect, 10000);
    conf_free(c);
    assert_int_equal(load(NULL, listen, 1, &c, &errors), 0);
    assert_listens(c, 0, "127.0.0.1:9");
    conf_free(c);
}

/* ---- memory ---- */

static struct {
    unsigned left;
    bool hit;
} gate;

static bool refuse_one(void)
{
    if (gate.left-- != 0)
        return true;
    gate.hit = true;
    return false;
}

/* Refuses each allocation of f in turn; leaks are the sanitizer's to find. Returns how many. A set
 * of ranges that may not become smaller stays as it is: that alone goes well. */
static unsigned refuse_each(int (*f)(void *arg), void *arg, int otherwise)
{
    unsigned harmless = 0;

    for (unsigned i = 0;; i++) {
        int r;

        gate.left = i;
        gate.hit = false;
        mem_set_gate(refuse_one);
        r = f(arg);
        mem_set_gate(NULL);
        if (gate.hit && r == otherwise && ++harmless <= 8)
            continue;
        assert_int_equal(r, gate.hit ? ERR_NOMEM : otherwise);
        if (!gate.hit)
            return i;
        assert_true(i < 5000);
    }
}

static int parse_and_free(void *arg)
{
    const char *text = arg;
    struct conf_errors errors;
    struct conf *c = NULL;
    int r = conf_parse("f", text, strlen(text), &c, &errors);

    if (r == 0)
        conf_free(c);
    if (r == ERR_NOMEM)
        assert_int_equal(errors.n, 0);
    conf_errors_done(&errors);
    return r;
}

static int load_and_free(void *arg)
{
    static const char *const listen[] = {"127.0.0.1:1"};
    const struct conf_args args = {.file = arg, .listen = listen, .n_listen = 1};
    struct conf_errors errors, warnings;
    struct conf *c = NULL;
    int r = conf_load(&args, &c, &errors, &warnings);

    if (r == 0)
        conf_free(c);
    else
        assert_int_equal(warnings.n, 0);
    conf_errors_done(&errors);
    conf_errors_done(&warnings);
    return r;
}

static void test_memory_refused(void **state)
{
    char good[16384] = "log: {access: /x}\nresolver: {servers: [192.0.2.1, 192.0.2.2]}\n"
                       "listen: [localhost:1, 127.0.0.1:2]\nclients:\n";
    char bad[8192] = "";

    UNUSED(state);
    for (int i = 0; i < 600; i++)
        snprintf(good + strlen(good), sizeof(good) - strlen(good), "- 10.0.%d.%d\n", i / 256,
                 i % 256);
    for (int i = 0; i < 150; i++)
        snprintf(bad + strlen(bad), sizeof(bad) - strlen(bad), "x%d: [1, 2]\n", i);
    assert_true(refuse_each(parse_and_free, good, 0) > 10);
    assert_true(refuse_each(parse_and_free, bad, ERR_SYNTAX) > 100);
    assert_true(refuse_each(parse_and_free, (char[]){"? [a]\n: \xff"}, ERR_SYNTAX) > 2);
}

/* A file that uses everything: includes, list files, matchers, several logs. */
static void test_memory_refused_everywhere(void **state)
{
    char warnings[512], everything[512];

    UNUSED(state);
    snprintf(everything, sizeof(everything), "%s/everything.yaml", GOLDEN_DIR);
    snprintf(warnings, sizeof(warnings), "%s/warnings.yaml", GOLDEN_DIR);
    assert_true(refuse_each(load_and_free, everything, 0) > 50);
    assert_true(refuse_each(load_and_free, warnings, 0) > 20);
    snprintf(warnings, sizeof(warnings), "%s/entries.yaml", GOLDEN_DIR);
    assert_true(refuse_each(load_and_free, warnings, ERR_SYNTAX) > 20);
    snprintf(warnings, sizeof(warnings), "%s/include.yaml", GOLDEN_DIR);
    assert_true(refuse_each(load_and_free, warnings, ERR_SYNTAX) > 20);
}

static void test_memory_refused_loading(void **state)
{
    char path[160];

    UNUSED(state);
    write_text(in_dir("m.yaml"), "name: a\nclients: any\n");
    strcpy(path, files.path);
    assert_true(refuse_each(load_and_free, path, 0) > 4);
    assert_true(refuse_each(load_and_free, (char[]){"/nonexistent"}, ERR_NOTFOUND) > 1);
    /* found by the environment, and by the home directory */
    setenv("GINNEL_CONFIG", path, 1);
    assert_true(refuse_each(load_and_free, NULL, 0) > 4);
    unsetenv("GINNEL_CONFIG");
    make_user_file(".config");
    setenv("HOME", files.dir, 1);
    if (geteuid() == 0)
        assert_int_equal(seteuid(NOBODY), 0);
    assert_true(refuse_each(load_and_free, NULL, 0) > 3);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_load, setup_files, teardown_files),
        cmocka_unit_test_setup_teardown(test_unreadable, setup_files, teardown_files),
        cmocka_unit_test_setup_teardown(test_too_large, setup_files, teardown_files),
        cmocka_unit_test_setup_teardown(test_search, setup_files, teardown_files),
        cmocka_unit_test_setup_teardown(test_listen_of_the_command_line, setup_files,
                                        teardown_files),
        cmocka_unit_test_setup_teardown(test_other_listeners, setup_files, teardown_files),
        cmocka_unit_test_setup_teardown(test_no_file_at_all, setup_files, teardown_files),
        cmocka_unit_test(test_memory_refused),
        cmocka_unit_test(test_memory_refused_everywhere),
        cmocka_unit_test_setup_teardown(test_memory_refused_loading, setup_files, teardown_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
