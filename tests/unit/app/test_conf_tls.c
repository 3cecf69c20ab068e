/* SPDX-License-Identifier: MIT */
/* `tls` and `proxy-protocol` of listeners: what is read, kept, shown, watched and compared. What is wrong is in tests/golden/conf/tls-listen.yaml. */
#include "app/conf_tls.h"

#include "app/conf_show.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/conf_files.h"

/* What OpenSSL 3.0 itself leaves behind where its table of names cannot grow (EVP_CIPHER_fetch on a new library context). What is made by ours is not allocated there. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:CRYPTO_zalloc\nleak:CRYPTO_strndup\n";
}

static void make_pair(const char *name, unsigned days)
{
    const char *const names[] = {name, NULL};
    char *cert, *key, path[64];

    assert_int_equal(tls_self_signed(names, days, &cert, &key), 0);
    snprintf(path, sizeof(path), "%s.pem", name);
    conf_files_text(path, cert);
    snprintf(path, sizeof(path), "%s.key", name);
    conf_files_text(path, key);
    mem_free(cert);
    mem_free(key);
}

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
    /* nothing of a key is shown */
    assert_null(strstr(text, "PRIVATE"));
    mem_free(text);
    conf_free(c);
}

static bool watches(const struct conf *c, const char *path)
{
    for (unsigned i = 0; i < c->n_files; i++)
        if (strcmp(c->files[i], path) == 0)
            return true;
    return false;
}

#define EVERYTHING                                                                                                                                  \
    "listen:\n"                                                                                                                                     \
    "  - address: localhost:0\n"                                                                                                                    \
    "    tls: {cert: a.example.pem, key: a.example.key, more: [{cert: b.example.pem, key: b.example.key}], client-ca: b.example.pem,\n"             \
    "      client: optional, client-name: email, client-map: people, min: 1.3, tickets: keys, clear: yes}\n"                                        \
    "    proxy-protocol: {from: [192.0.2.0/24, 198.51.100.7]}\n"                                                                                    \
    "  - {address: 127.0.0.1:0, tls: auto}\n"

static void write_everything(void)
{
    static const char keys[2 * TLS_TICKET_KEY] = {1};

    make_pair("a.example", 90);
    make_pair("b.example", 90);
    conf_files_text("people", "# who\nanna@example.net  anna\n");
    conf_files_write("keys", keys, sizeof(keys));
    conf_files_text("ginnel.yaml", EVERYTHING);
}

static void test_everything(void **state)
{
    static const char *const files[] = {"a.example.pem", "a.example.key", "b.example.pem", "b.example.key", "people", "keys"};
    const struct users_row *row;
    const struct conf_tls *t;
    struct conf *c;
    struct addr a;

    UNUSED(state);
    write_everything();
    c = load();
    assert_int_equal(c->n_listen, 3);
    t = c->listen[0].tls;
    assert_ptr_equal(c->listen[1].tls, t); /* one item, two listeners */
    assert_int_equal(t->n_pairs, 2);
    assert_string_equal(t->cert_names, "a.example, b.example");
    assert_true(t->pairs[1].key.n > 0 && t->clients == TLS_CLIENT_OPTIONAL && t->min == TLS_1_3 && t->clear && !t->self_signed);
    assert_int_equal(t->names.part, CERT_EMAIL);
    row = users_table_find(t->names.map, SLICE("anna@example.net"));
    assert_true(row && slice_eq(users_row_value(row), SLICE("anna")));
    assert_true(t->tickets == CONF_TICKETS_FILE && t->ticket_keys.n == 2 * TLS_TICKET_KEY);
    assert_int_equal(addr_parse(SLICE("192.0.2.9:1"), &a), 0);
    assert_true(ranges_has(c->listen[0].proxy_from, &a));
    assert_int_equal(addr_parse(SLICE("198.51.100.8:1"), &a), 0);
    assert_false(ranges_has(c->listen[0].proxy_from, &a));
    t = c->listen[2].tls;
    assert_true(t->self_signed && t->clients == TLS_CLIENT_NONE && t->tickets == CONF_TICKETS_AUTO && t->min == TLS_1_2 && !t->names.map);
    for (unsigned i = 0; i < ARRAY_LEN(files); i++)
        assert_true(watches(c, files[i]));
    conf_free(c);
}

/* What is shown is loaded again as the same. */
static void test_shown(void **state)
{
    struct conf *c, *again;
    size_t n;
    char *text;

    UNUSED(state);
    write_everything();
    c = load();
    text = conf_show(c, &n);
    assert_non_null(text);
    assert_null(strstr(text, "PRIVATE"));
    conf_files_write("ginnel.yaml", text, n);
    mem_free(text);
    again = load();
    assert_int_equal(again->n_listen, 3);
    assert_int_equal(again->listen[0].tls->content, c->listen[0].tls->content);
    assert_int_equal(again->listen[2].tls->content, c->listen[2].tls->content);
    assert_int_equal(again->listen[0].proxy_from->n4, 2);
    conf_free(again);
    /* Another certificate is another content. */
    make_pair("b.example", 90);
    again = load();
    assert_int_not_equal(again->listen[0].tls->content, c->listen[0].tls->content);
    assert_true(again->content != c->content);
    conf_free(again);
    conf_free(c);
}

static void test_soon(void **state)
{
    UNUSED(state);
    make_pair("a.example", 2);
    conf_files_text("ginnel.yaml", "listen: {address: 127.0.0.1:0, tls: {cert: a.example.pem, key: a.example.key}}\n");
    assert_says(0, "the certificate in \"a.example.pem\" expires on 2");
}

static void test_many(void **state)
{
    static char text[64 * 64];
    size_t n;

    UNUSED(state);
    make_pair("a.example", 90);
    n = (size_t)sprintf(text, "listen: {address: 127.0.0.1:0, tls: {auto: yes, more: [");
    for (unsigned i = 0; i < TLS_PAIRS_MAX; i++)
        n += (size_t)sprintf(text + n, "{cert: a.example.pem, key: a.example.key}, ");
    sprintf(text + n, "]}}\n");
    conf_files_text("ginnel.yaml", text);
    assert_says(ERR_SYNTAX, "a listener has at most 64 certificates");
}

/* A load that has no memory fails, and leaves nothing behind, wherever it runs out. OpenSSL asks thousands of times, and may take its failure for one of the file: each of the
 * first is tried, then ever fewer. */
static void test_no_memory(void **state)
{
    const struct conf_args args = {.file = "ginnel.yaml"};
    unsigned failed = 0;
    bool done = false;

    UNUSED(state);
    write_everything();
    for (unsigned n = 1; !done; n += 1 + n / 12) {
        struct conf_errors errors;
        struct conf *c = NULL;
        int r;

        memfail_at = n;
        atomic_store(&memfail_asked, 0);
        mem_set_gate(memfail_gate);
        r = conf_load(&args, &c, &errors, NULL);
        mem_set_gate(NULL);
        done = atomic_load(&memfail_asked) < n;
        assert_true(r == 0 || r == ERR_NOMEM || r == ERR_SYNTAX);
        assert_true(r == 0 || !done);
        failed += r != 0;
        conf_errors_done(&errors);
        conf_free(c);
    }
    assert_true(failed > 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everything, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_shown, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_soon, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_many, conf_files_setup, conf_files_teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, conf_files_setup, conf_files_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
