/* SPDX-License-Identifier: MIT */
/* `trust`, `origins` and `h2`: what they become, over files and several of them; and files with secrets that everybody can read. What is refused is in the goldens. */
#include "app/conf_origins.h"

#include "app/conf.h"
#include "app/conf_show.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/conf_files.h"
#include "support/memfail.h"

/* Loads without errors; each of the warnings contains a text, NULL ends them. */
static struct conf *load(const char *path, const char *const *warnings)
{
    char *text;
    int r;
    struct conf *c = conf_files_load(path, &r, &text);

    if (r < 0)
        fprintf(stderr, "%s", text);
    assert_int_equal(r, 0);
    for (; warnings && *warnings; warnings++)
        assert_non_null(strstr(text, *warnings));
    if (!warnings)
        assert_string_equal(text, "");
    mem_free(text);
    return c;
}

static void copy(const char *name)
{
    char path[512], text[8192];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "%s/tls/%s", GOLDEN_DIR, name);
    f = fopen(path, "r");
    assert_non_null(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    conf_files_text(name, text);
    assert_int_equal(chmod(name, 0600), 0);
}

static unsigned entry_of(const struct conf *c, const char *host, uint16_t port)
{
    struct match_facts f = {.minute = MATCH_NO_MINUTE, .port = port, .scheme = MATCH_HTTPS};

    match_facts_host(&f, slice_str(host));
    return origins_find(c->origins, c->n_origins, &f);
}

static const char main_file[] = "include: more.yaml\n"
                                "origins:\n"
                                "  - {for: pinned.example, trust: [ca.pem, client.pem], min: 1.3}\n"
                                "  - {for: {host: .shown.example, port: 8443}, client: {cert: client.pem, key: client.key}}\n"
                                "  - {for: both.example, client: {cert: both.pem}}\n"
                                "  - {for: [loose.example, 192.0.2.1], verify: no}\n"
                                "  - {for: strict.example, verify: yes}\n";

static void write_files(void)
{
    static const char *const names[] = {"ca.pem", "client.pem", "client.key", "both.pem"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        copy(names[i]);
    conf_files_text("main.yaml", main_file);
    conf_files_text("more.yaml", "trust: ca.pem\norigins: {for: more.example, min: 1.2}\n");
}

static bool has_text(struct slice pem, const char *name)
{
    char path[512], text[8192];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "%s/tls/%s", GOLDEN_DIR, name);
    f = fopen(path, "r");
    assert_non_null(f);
    n = fread(text, 1, sizeof(text), f);
    fclose(f);
    return memmem(pem.p, pem.n, text, n) != NULL;
}

static void assert_clients(const struct conf *c)
{
    const struct tls_client_conf *t = c->tls_clients;

    assert_int_equal(c->n_origins, 6);
    assert_int_equal(c->n_tls_clients, 7);
    assert_true(t[0].verify && has_text(t[0].trust, "ca.pem") && !t[0].pair.cert.n && !t[0].min);
    t = &c->tls_clients[entry_of(c, "pinned.example", 443)];
    assert_true(t->verify && t->min == TLS_1_3 && has_text(t->trust, "ca.pem") && has_text(t->trust, "client.pem"));
    t = &c->tls_clients[entry_of(c, "a.shown.example", 8443)];
    assert_true(t->verify && has_text(t->pair.cert, "client.pem") && has_text(t->pair.key, "client.key") && has_text(t->trust, "ca.pem"));
    assert_int_equal(entry_of(c, "a.shown.example", 443), 0);
    t = &c->tls_clients[entry_of(c, "both.example", 1)];
    assert_true(has_text(t->pair.cert, "client.pem") && has_text(t->pair.key, "client.key"));
    assert_false(c->tls_clients[entry_of(c, "loose.example", 1)].verify);
    assert_false(c->tls_clients[entry_of(c, "192.0.2.1", 1)].verify);
    assert_true(c->tls_clients[entry_of(c, "strict.example", 1)].verify);
    assert_int_equal(c->tls_clients[entry_of(c, "more.example", 1)].min, TLS_1_2);
    assert_int_equal(entry_of(c, "other.example", 1), 0);
}

static bool watches(const struct conf *c, const char *name)
{
    for (unsigned i = 0; i < c->n_files; i++)
        if (strcmp(c->files[i], name) == 0)
            return true;
    return false;
}

static void test_clients(void **state)
{
    struct conf *c;

    UNUSED(state);
    write_files();
    c = load("main.yaml", NULL);
    assert_clients(c);
    assert_true(watches(c, "ca.pem") && watches(c, "client.key") && watches(c, "both.pem"));
    assert_string_equal(c->origins[0].place, "main.yaml:3");
    conf_free(c);
}

/* The system's store, and nothing else, where nothing is said. */
static void test_nothing_said(void **state)
{
    static const char *const texts[] = {"via: on\n", "trust: system\n", "trust: [system]\n"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct conf *c;

        conf_files_text("plain.yaml", texts[i]);
        c = load("plain.yaml", NULL);
        assert_int_equal(c->n_tls_clients, 1);
        assert_true(c->tls_clients[0].verify && !c->tls_clients[0].trust.n && !c->tls_clients[0].pair.cert.n);
        assert_int_equal(c->n_origins, 0);
        conf_free(c);
    }
}

/* What is shown loads, and is the same. */
static void test_shown(void **state)
{
    struct conf *c;
    char *text;
    size_t n;

    UNUSED(state);
    write_files();
    c = load("main.yaml", NULL);
    text = conf_show(c, &n);
    assert_non_null(text);
    assert_null(strstr(text, "BEGIN"));
    conf_free(c);
    conf_files_text("shown.yaml", text);
    mem_free(text);
    c = load("shown.yaml", NULL);
    assert_clients(c);
    conf_free(c);
}

/* U6, S001-14: what can be read by others is said, of the configuration too; what is in it is not. */
static void test_readable_secrets(void **state)
{
    static const char *const all[] = {"everybody on this machine can read \"client.key\", which has a key", "everybody on this machine can read \"p.password\", which has a password",
                                      "everybody on this machine can read \"open.yaml\", which has a password", NULL};
    struct conf *c;

    UNUSED(state);
    write_files();
    conf_files_text("p.password", "anna:secret\r\n");
    conf_files_text("open.yaml", "origins: {for: a.example, client: {cert: client.pem, key: client.key}}\n"
                                 "upstream:\n"
                                 "  - {for: a.example, via: \"https://p.example\", auth: {basic: {file: p.password}}}\n"
                                 "  - {for: b.example, via: \"http://127.0.0.1:3\", auth: {basic: \"x:y\"}}\n"
                                 "  - direct\n");
    assert_int_equal(chmod("client.key", 0644) + chmod("p.password", 0604) + chmod("open.yaml", 0644), 0);
    c = load("open.yaml", all);
    assert_true(slice_eq(c->routes[0].alternatives[0].hops->authorization, SLICE("Basic YW5uYTpzZWNyZXQ=")));
    assert_string_equal(c->routes[0].alternatives[0].hops->credentials, "p.password");
    conf_free(c);
    assert_int_equal(chmod("client.key", 0640) + chmod("p.password", 0600) + chmod("open.yaml", 0640), 0);
    conf_free(load("open.yaml", NULL));
}

/* In clear to another machine. */
static void test_password_in_clear(void **state)
{
    static const char *const clear[] = {"the password for http://p.example:3128 goes there in clear text", NULL};

    UNUSED(state);
    conf_files_text("clear.yaml", "upstream: {via: \"http://p.example:3128\", auth: {basic: \"x:y\"}}\n");
    assert_int_equal(chmod("clear.yaml", 0600), 0);
    conf_free(load("clear.yaml", clear));
}

static void assert_error(const char *text, const char *expected)
{
    struct conf_errors errors;
    struct conf *c;

    assert_int_equal(conf_parse("test.yaml", text, strlen(text), &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, 1);
    assert_non_null(strstr(errors.v[0].text, expected));
    conf_errors_done(&errors);
}

static void test_too_many(void **state)
{
    static char many[CONF_ORIGINS_MAX * 32 + 64], longer[CONF_CREDENTIALS_MAX * 2];
    size_t n = (size_t)sprintf(many, "origins:\n");

    UNUSED(state);
    for (int i = 0; i <= CONF_ORIGINS_MAX; i++)
        n += (size_t)sprintf(many + n, "- {for: a%d, min: 1.2}\n", i);
    assert_error(many, "`origins` has more than 256 entries");
    memset(longer, 'x', sizeof(longer) - 1);
    longer[1] = ':';
    conf_files_text("long.password", longer);
    assert_error("upstream: {via: \"http://p.example:1\", auth: {basic: {file: long.password}}}\n", "name and password are longer than 2048 bytes in the first line of");
}

static void test_h2(void **state)
{
    struct conf *c;

    UNUSED(state);
    conf_files_text("h2.yaml", "h2: {streams: 10, window: 128KB, window-max: 1MB, credit: 0, resets: 7/s, control: 8/s}\n");
    c = load("h2.yaml", NULL);
    assert_int_equal(c->proxy.h2.streams, 10);
    assert_int_equal(c->proxy.h2.window, 128 << 10);
    assert_int_equal(c->proxy.h2.window_max, 1 << 20);
    assert_int_equal(c->proxy.h2.credit, 0);
    assert_int_equal(c->proxy.h2.resets, 7);
    assert_int_equal(c->proxy.h2.control, 8);
    conf_free(c);
}

/* Memory is refused at each place in turn: a load is whole or is none. (What OpenSSL allocates is test_tls's.) */
static void test_memory(void **state)
{
    static const char text[] = "trust: system\norigins: [{for: [a.example, 192.0.2.1], verify: no}, {for: {host: b.example, port: 443}, min: 1.3}]\n"
                               "h2: {streams: 3}\n";

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct conf_errors errors;
        struct conf *c;
        int r = conf_parse("test.yaml", text, strlen(text), &c, &errors);

        if (r == 0) {
            assert_int_equal(entry_of(c, "192.0.2.1", 1), 1);
            assert_int_equal(entry_of(c, "b.example", 443), 2);
            conf_free(c);
        } else {
            assert_int_equal(r, ERR_NOMEM);
            conf_errors_done(&errors);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_clients, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_nothing_said, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_shown, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_readable_secrets, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_password_in_clear, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_too_many, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_h2, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_memory, conf_files_setup, conf_files_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
