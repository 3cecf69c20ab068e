/* SPDX-License-Identifier: MIT */
/* The manual: its list of options, and that every example in it loads. */
#include "app/conf.h"

#include "app/conf_table.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/conf_files.h"

static void test_list_has_every_key(void **state)
{
    char *list;
    size_t n;
    FILE *f = open_memstream(&list, &n);
    const char *refused;

    UNUSED(state);
    conf_print_manual(f);
    fclose(f);
    refused = strstr(list, "Keys that belong to the language");
    assert_non_null(refused);
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];
        char name[64];
        const char *hit;

        snprintf(name, sizeof(name), o->unbuilt ? "\n*%s*" : "*%s*: ", o->path);
        hit = strstr(list, name);
        assert_non_null(hit);
        assert_int_equal(hit > refused, o->unbuilt);
        if (!o->unbuilt)
            assert_non_null(strstr(hit, o->sentence));
        if (o->dflt) {
            snprintf(name, sizeof(name), " Default: *%s*.\n", o->dflt);
            assert_non_null(strstr(hit, name));
        }
    }
    free(list);
}

/* ---- examples ---- */

struct example {
    bool yaml, defaults; /* "; yaml" and "; yaml defaults" before the fence; "; text" is neither */
    char file[64];       /* "; file NAME": what the example after it needs */
    char text[4096];
};

/* The next fenced block of a page; each must be announced. */
static bool next_example(FILE *page, bool *announced, struct example *e)
{
    char line[1024];
    bool inside = false;

    *e = (struct example){0};
    *announced = false;
    while (fgets(line, sizeof(line), page)) {
        bool fence = strcmp(line, "```\n") == 0;

        if (inside && fence)
            return true;
        if (inside)
            strncat(e->text, line, sizeof(e->text) - strlen(e->text) - 1);
        else if (fence)
            inside = true;
        else if (line[0] == ';') {
            e->defaults = strcmp(line, "; yaml defaults\n") == 0;
            e->yaml = e->defaults || strcmp(line, "; yaml\n") == 0;
            *announced = e->yaml || strcmp(line, "; text\n") == 0 ||
                         sscanf(line, "; file %63s", e->file) == 1;
        } else {
            e->yaml = e->defaults = *announced = false;
            e->file[0] = '\0';
        }
    }
    return false;
}

/* Written out, the defaults change nothing. */
static void assert_same_as_defaults(struct conf *c)
{
    struct conf_errors errors;
    struct conf *d;

    assert_int_equal(conf_parse("f", "", 0, &d, &errors), 0);
    strcpy(c->proxy.name, d->proxy.name);
    assert_memory_equal(&c->proxy.timeouts, &d->proxy.timeouts, sizeof(c->proxy.timeouts));
    assert_memory_equal(&c->proxy.sizes, &d->proxy.sizes, sizeof(c->proxy.sizes));
    assert_int_equal(c->proxy.via, d->proxy.via);
    assert_int_equal(c->workers, d->workers);
    assert_int_equal(c->n_outputs, d->n_outputs);
    assert_int_equal(c->outputs[0].sink, d->outputs[0].sink);
    assert_int_equal(c->outputs[0].layout, d->outputs[0].layout);
    assert_int_equal(c->outputs[0].tunnels, d->outputs[0].tunnels);
    assert_int_equal(c->control, d->control);
    assert_int_equal(c->n_admin, d->n_admin);
    assert_int_equal(c->log_level, d->log_level);
    assert_int_equal(c->resolve.system, d->resolve.system);
    assert_int_equal(c->resolve.search, d->resolve.search);
    assert_int_equal(c->resolve.family, d->resolve.family);
    assert_int_equal(c->resolve.ttl_max_ms, d->resolve.ttl_max_ms);
    assert_null(c->resolve.servers[0]);
    assert_int_equal(c->n_listen, d->n_listen);
    for (unsigned i = 0; i < c->n_listen; i++)
        assert_true(addr_eq(&c->listen[i].addr, &d->listen[i].addr));
    conf_free(d);
}

/* Every built key but those that have no default stands in the example. */
static void assert_names_every_key(const char *text)
{
    for (unsigned i = 0; i < conf_table_n; i++) {
        char key[64];

        snprintf(key, sizeof(key), "%s:", conf_table_key(&conf_table[i]));
        if (!conf_table[i].unbuilt && conf_table[i].dflt)
            assert_non_null(strstr(text, key));
    }
}

static void test_examples_load(void **state)
{
    FILE *page = fopen(MAN_DIR "/ginnel.yaml.5.scd", "r");
    unsigned n = 0, n_defaults = 0, n_files = 0;
    struct example e;
    bool announced;

    UNUSED(state);
    assert_non_null(page);
    assert_int_equal(mkdir("tenants", 0755), 0);
    while (next_example(page, &announced, &e)) {
        struct conf_errors errors;
        struct conf *c;

        assert_true(announced);
        if (e.file[0])
            conf_files_text(e.file, e.text);
        n_files += e.file[0] != '\0';
        if (!e.yaml)
            continue;
        n++;
        if (conf_parse("example", e.text, strlen(e.text), &c, &errors) < 0) {
            conf_errors_print(&errors, stderr, false);
            fail();
        }
        if (e.defaults) {
            n_defaults++;
            assert_same_as_defaults(c);
            assert_names_every_key(e.text);
        }
        conf_free(c);
    }
    fclose(page);
    assert_true(n >= 9);
    assert_true(n_files >= 5);
    assert_int_equal(n_defaults, 1);
}

/* The error that the page shows is the one that is printed. */
static void test_error_in_the_page(void **state)
{
    static const char yaml[] = "timeouts:\n  head: 30s\n  connect: 10 parsecs\n";
    FILE *page = fopen(MAN_DIR "/ginnel.yaml.5.scd", "r");
    char text[4096] = "";
    struct conf_errors errors;
    struct example e;
    struct conf *c;
    bool announced;

    UNUSED(state);
    assert_non_null(page);
    while (next_example(page, &announced, &e))
        if (!e.yaml && !e.file[0])
            strcat(text, e.text);
    fclose(page);
    assert_true(conf_parse("ginnel.yaml", yaml, strlen(yaml), &c, &errors) < 0);
    assert_int_equal(errors.n, 1);
    assert_int_equal(strlen(text), strlen(errors.v[0].text) + 1);
    assert_memory_equal(text, errors.v[0].text, strlen(errors.v[0].text));
    conf_errors_done(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_has_every_key),
        cmocka_unit_test_setup_teardown(test_examples_load, conf_files_setup, conf_files_teardown),
        cmocka_unit_test(test_error_in_the_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
