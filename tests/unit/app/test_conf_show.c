/* SPDX-License-Identifier: MIT */
/* conf_show: what it prints loads, and gives the same conf again. */
#include "app/conf_show.h"

#include "app/conf_schema.h"
#include "app/conf_table.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct conf *load(const char *text)
{
    struct conf_errors errors = {0};
    struct conf *c;

    if (conf_parse("f.yaml", text, strlen(text), &c, &errors) < 0) {
        conf_errors_print(&errors, stderr, false);
        fail_msg("this does not load:\n%s", text);
    }
    return c;
}

static char *show(const struct conf *c)
{
    size_t n = 0;
    char *text = conf_show(c, &n);

    assert_non_null(text);
    assert_int_equal(strlen(text), n);
    return text;
}

static void assert_shows(const char *yaml, const char *part)
{
    struct conf *c = load(yaml);
    char *text = show(c);

    if (!strstr(text, part))
        fail_msg("%s\nis shown as\n%s\nwithout\n%s", yaml, text, part);
    mem_free(text);
    conf_free(c);
}

/* ---- equality ---- */

static void assert_same_text(const char *a, const char *b)
{
    assert_int_equal(a != NULL, b != NULL);
    if (a)
        assert_string_equal(a, b);
}

static void assert_same_ranges(const struct ranges *a, const struct ranges *b)
{
    assert_int_equal(a->n4, b->n4);
    assert_int_equal(a->n6, b->n6);
    if (a->n4)
        assert_memory_equal(a->v4, b->v4, a->n4 * sizeof(*a->v4));
    if (a->n6)
        assert_memory_equal(a->v6, b->v6, a->n6 * sizeof(*a->v6));
}

static void assert_same_clients(const struct conf_clients *a, const struct conf_clients *b)
{
    assert_int_equal(a->set, b->set);
    assert_int_equal(a->any, b->any);
    assert_same_ranges(&a->ranges, &b->ranges);
}

static void assert_same_listen(const struct conf_listen *a, const struct conf_listen *b)
{
    assert_int_equal(a->kind, b->kind);
    if (a->kind == CONF_LISTEN_TCP)
        assert_true(addr_eq(&a->addr, &b->addr));
    assert_same_text(a->path, b->path);
    assert_same_text(a->text, b->text);
    assert_same_text(a->name, b->name);
    assert_same_clients(&a->clients, &b->clients);
    assert_int_equal(a->reasons, b->reasons);
    assert_int_equal(a->dflt, b->dflt);
}

static void assert_same_hosts(const struct hosts *a, const struct hosts *b)
{
    size_t at = 0, bt = 0;
    struct slice name, other;
    bool suffix, other_suffix;

    assert_int_equal(a && hosts_count(a) > 0, b && hosts_count(b) > 0);
    while (a && hosts_next(a, &at, &name, &suffix)) {
        assert_true(hosts_next(b, &bt, &other, &other_suffix));
        assert_true(slice_eq(name, other));
        assert_int_equal(suffix, other_suffix);
    }
    assert_false(b && hosts_next(b, &bt, &other, &other_suffix));
}

static void assert_same_slices(const struct slice *a, unsigned n, const struct slice *b, unsigned m)
{
    assert_int_equal(n, m);
    for (unsigned i = 0; i < n; i++)
        assert_true(slice_eq(a[i], b[i]));
}

static void assert_same_texts(const struct matcher_text *a, unsigned n, const struct matcher_text *b, unsigned m)
{
    assert_int_equal(n, m);
    for (unsigned i = 0; i < n; i++) {
        assert_true(slice_eq(a[i].text, b[i].text));
        assert_int_equal(!a[i].regex, !b[i].regex);
    }
}

static void assert_same_fields(const struct matcher *a, const struct matcher *b)
{
    assert_int_equal(a->n_fields, b->n_fields);
    for (unsigned i = 0; i < a->n_fields; i++) {
        assert_true(slice_eq(a->fields[i].name, b->fields[i].name));
        assert_int_equal(a->fields[i].id, b->fields[i].id);
        assert_same_texts(a->fields[i].values, a->fields[i].n, b->fields[i].values, b->fields[i].n);
    }
}

/* An item of the file may become several, one a run of days: what holds at each minute is the same. */
static bool in_time(const struct matcher *m, uint16_t minute)
{
    struct matcher times = {.times = m->times, .n_times = m->n_times};
    struct match_facts f = {.minute = minute};

    return matcher_holds(&times, &f);
}

static void assert_same_words(const struct matcher *a, const struct matcher *b)
{
    assert_int_equal(a->any_host, b->any_host);
    assert_same_hosts(a->hosts, b->hosts);
    assert_same_ranges(&a->host_ranges, &b->host_ranges);
    assert_int_equal(a->n_ports, b->n_ports);
    for (unsigned i = 0; i < a->n_ports; i++)
        assert_true(a->ports[i].first == b->ports[i].first && a->ports[i].last == b->ports[i].last);
    assert_same_texts(a->paths, a->n_paths, b->paths, b->n_paths);
    assert_same_slices(a->methods, a->n_methods, b->methods, b->n_methods);
    assert_same_slices(a->listeners, a->n_listeners, b->listeners, b->n_listeners);
    assert_same_ranges(&a->from, &b->from);
    assert_same_ranges(&a->to, &b->to);
    assert_int_equal(a->has_host, b->has_host);
    assert_int_equal(a->has_from, b->has_from);
    assert_int_equal(a->has_to, b->has_to);
    assert_int_equal(a->schemes, b->schemes);
    assert_same_slices(a->users, a->n_users, b->users, b->n_users);
    assert_int_equal(a->any_user, b->any_user);
    assert_same_slices(a->groups, a->n_groups, b->groups, b->n_groups);
    assert_same_slices(a->labels, a->n_labels, b->labels, b->n_labels);
    assert_same_fields(a, b);
    for (uint16_t minute = 0; minute < MATCH_MINUTES; minute = (uint16_t)(minute + 15))
        assert_int_equal(in_time(a, minute), in_time(b, minute));
    assert_int_equal(!a->snis, !b->snis);
    assert_same_hosts(a->snis, b->snis);
}

static void assert_same_matcher(const struct matcher *a, const struct matcher *b)
{
    assert_same_words(a, b);
    assert_int_equal(a->n_except, b->n_except);
    for (unsigned i = 0; i < a->n_except; i++)
        assert_same_words(&a->except[i], &b->except[i]);
}

static void assert_same_rule(const struct rule *a, const struct rule *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->n_where, b->n_where);
    for (unsigned i = 0; i < a->n_where; i++)
        assert_same_matcher(&a->where[i], &b->where[i]);
    assert_int_equal(!a->with, !b->with);
    if (a->with)
        assert_same_matcher(a->with, b->with);
    assert_int_equal(a->report, b->report);
    assert_int_equal(a->sni, b->sni);
    assert_int_equal(a->expect, b->expect);
    assert_same_text(a->name, b->name);
    assert_same_text(a->say, b->say);
}

static void assert_same_policy(const struct conf *a, const struct conf *b)
{
    assert_int_equal(a->has_rules, b->has_rules);
    assert_int_equal(a->n_rules, b->n_rules);
    for (unsigned i = 0; i < a->n_rules; i++)
        assert_same_rule(&a->rules[i], &b->rules[i]);
    assert_int_equal(a->private, b->private);
    assert_int_equal(a->has_ports, b->has_ports);
    assert_int_equal(a->n_ports, b->n_ports);
    for (unsigned i = 0; i < a->n_ports; i++)
        assert_true(a->ports[i].first == b->ports[i].first && a->ports[i].last == b->ports[i].last);
    assert_int_equal(a->report, b->report);
    assert_int_equal(a->recheck, b->recheck);
    assert_same_text(a->say, b->say);
}

static void assert_same_output(const struct access_output *a, const struct access_output *b)
{
    assert_int_equal(a->sink, b->sink);
    assert_same_text(a->path, b->path);
    if (a->sink == ACCESS_SYSLOG_UDP)
        assert_true(addr_eq(&a->udp, &b->udp));
    assert_int_equal(a->layout, b->layout);
    assert_int_equal(a->tunnels, b->tunnels);
    assert_int_equal(a->every_ms, b->every_ms);
    assert_int_equal(a->n_where, b->n_where);
    for (unsigned i = 0; i < a->n_where; i++)
        assert_same_matcher(&a->where[i], &b->where[i]);
}

static void assert_same(const struct conf *a, const struct conf *b)
{
    assert_int_equal(a->n_listen, b->n_listen);
    for (unsigned i = 0; i < a->n_listen; i++)
        assert_same_listen(&a->listen[i], &b->listen[i]);
    assert_same_clients(&a->clients, &b->clients);
    assert_same_policy(a, b);
    assert_int_equal(a->reasons, b->reasons);
    assert_int_equal(a->workers, b->workers);
    assert_memory_equal(&a->proxy.timeouts, &b->proxy.timeouts, sizeof(a->proxy.timeouts));
    assert_memory_equal(&a->proxy.sizes, &b->proxy.sizes, sizeof(a->proxy.sizes));
    assert_int_equal(a->proxy.via, b->proxy.via);
    assert_int_equal(a->proxy.access_log, b->proxy.access_log);
    assert_int_equal(a->proxy.log_begin, b->proxy.log_begin);
    assert_int_equal(a->proxy.log_agent, b->proxy.log_agent);
    assert_int_equal(a->proxy.log_every_ms, b->proxy.log_every_ms);
    assert_string_equal(a->proxy.name, b->proxy.name);
    for (unsigned i = 0; a->resolve.servers && a->resolve.servers[i]; i++)
        assert_string_equal(a->resolve.servers[i], b->resolve.servers[i]);
    assert_int_equal(a->resolve.system, b->resolve.system);
    assert_int_equal(a->resolve.search, b->resolve.search);
    assert_int_equal(a->resolve.family, b->resolve.family);
    assert_int_equal(a->resolve.ttl_max_ms, b->resolve.ttl_max_ms);
    assert_int_equal(a->n_outputs, b->n_outputs);
    for (unsigned i = 0; i < a->n_outputs; i++)
        assert_same_output(&a->outputs[i], &b->outputs[i]);
    assert_int_equal(a->log_level, b->log_level);
    assert_int_equal(a->n_admin, b->n_admin);
    for (unsigned i = 0; i < a->n_admin; i++)
        assert_true(addr_eq(&a->admin[i], &b->admin[i]));
    assert_int_equal(a->control, b->control);
    assert_same_text(a->control_path, b->control_path);
}

static void assert_round_trip(const char *yaml)
{
    struct conf *a = load(yaml), *b;
    char *text = show(a), *again;

    b = load(text);
    assert_same(a, b);
    again = show(b);
    assert_string_equal(text, again);
    mem_free(text);
    mem_free(again);
    conf_free(a);
    conf_free(b);
}

/* ---- tests ---- */

static void test_defaults_are_comments_where_nothing_is_set(void **state)
{
    UNUSED(state);
    assert_shows("", "\n# listen: 127.0.0.1:3128 and [::1]:3128\n");
    assert_shows("", "\n# clients: everybody who can reach the loopback addresses\n");
    assert_shows("", "\nworkers: auto\n");
    assert_shows("", "\ncontrol: \"unix:\"\n"); /* without quotes it would be no YAML */
    assert_shows("", "\n  connect: 10s\n");
    assert_shows("", "\n  line: 16KB\n");
    assert_shows("", "\nadmin: off\n");
}

static void test_values(void **state)
{
    UNUSED(state);
    assert_shows("workers: 3", "\nworkers: 3\n");
    assert_shows("via: no", "\nvia: off\n");
    assert_shows("name: egress-1", "\nname: egress-1\n");
    assert_shows("timeouts: {connect: 90s, drain: 0s}", "  connect: 90s\n");
    assert_shows("resolver: {family: prefer-4, servers: 192.0.2.1}",
                 "  servers:\n    - 192.0.2.1:53\n");
    assert_shows("listen: localhost:8080", "listen:\n  - address: localhost:8080\n# ");
    assert_shows("listen: {address: 127.0.0.1:1, name: lan}",
                 "  - address: 127.0.0.1:1\n    name: lan\n");
    assert_shows("log: {access: off}", "log:\n  - access: off\n    level: info\n");
    assert_shows("control: off", "\ncontrol: off\n");
}

/* Ranges are merged when they are read, and come back as the fewest prefixes. */
static void test_ranges(void **state)
{
    UNUSED(state);
    assert_shows("clients: [10.0.0.0/9, 10.128.0.0/9]", "clients:\n  - 10.0.0.0/8\n#");
    assert_shows("clients: 0.0.0.0/0", "clients:\n  - 0.0.0.0/0\n#");
    assert_shows("clients: \"::/0\"", "clients:\n  - \"::/0\"\n#");
    assert_shows("clients: 127.0.0.1", "clients:\n  - 127.0.0.1\n#");
    assert_shows("clients: [10.0.0.1, 10.0.0.2, 10.0.0.3]",
                 "clients:\n  - 10.0.0.1\n  - 10.0.0.2/31\n#");
    assert_shows("clients: [255.255.255.254, 255.255.255.255]",
                 "clients:\n  - 255.255.255.254/31\n#");
    assert_shows("clients: [\"ffff::/16\", \"fffe::/16\"]", "clients:\n  - \"fffe::/15\"\n#");
    assert_shows("clients: [\"2001:db8::1\", \"2001:db8::2\"]",
                 "clients:\n  - \"2001:db8::1\"\n  - \"2001:db8::2\"\n#");
}

static const char *const samples[] = {
    "listen: 127.0.0.1:0",
    "listen: [localhost:8080, \"[::1]:9090\"]",
    "listen: [{address: localhost:1, name: a}, {address: localhost:2, name: b, reasons: none}]",
    "listen: [\"unix:/run/with space/g.sock\", {address: 10.0.0.1:3128, clients: [10.0.0.0/8, "
    "\"fd00::/8\"]}]",
    "listen: 0.0.0.0:3128\nclients: any",
    "listen: 0.0.0.0:3128\nclients: [10.0.0.3, 10.0.0.4/30, 192.168.0.0/16, \"::1\", "
    "\"2001:db8::/33\"]",
    "reasons: none\nworkers: 7\nvia: off\nname: \"a'b.c~\"",
    "name: \"null\"",
    "name: \"4\"",
    "sizes: {line: 1000, head: 70000, fields: 12}\ntimeouts: {connect: 1500ms, head: 1m, tunnel: "
    "12h, drain: 0s}",
    "resolver: {servers: [192.0.2.53, \"[2001:db8::53]:5353\", \"::1\"], system: on, search: on, "
    "family: 6, ttl-max: 7d}",
    "admin: [127.0.0.1:8128, \"[::1]:8128\"]\ncontrol: unix:/run/g/c.sock",
    "control: off\nadmin: off",
    "log: {access: off, level: debug}",
    "log: {access: stdout, format: combined, tunnels: every 5m}",
    "log: [{access: /var/log/a b/access, format: squid}, {access: syslog, format: common, tunnels: "
    "both, level: warn},\n"
    "  {access: \"syslog:/run/log\"}, {access: \"syslog:127.0.0.1:514\"}, {access: "
    "\"syslog:[::1]:514\"}]",
    "log: {for: .example.com}",
    "log: {for: any}",
    "log: {for: {host: [any, a.example]}}",
    "log: [{for: [{host: [b.example, .a.example, 10.0.0.0/8, \"::1\"], port: [443, 8000-8099]},\n"
    "  {path: [/v1/, \"/a%20b\"], method: [GET, PURGE], scheme: [http, https, connect]}, "
    "c.example]},\n"
    "  {access: stdout, for: {from: [10.0.0.0/8, \"fd00::/8\"], to: 192.0.2.0/24}}]",
    "listen: {address: 127.0.0.1:1, name: lan}\nlog: {for: {listener: lan}}",
    "rules: []",
    "rules: {allow: any}\npolicy: report\nports: any",
    "private: metadata\nports: [80, 8000-8099]\npolicy: {recheck: yes, say: \"Ask \\\"us\\\" #1\"}",
    "rules:\n"
    "  - {deny: [a.example, .b.example, 10.0.0.0/8, {host: c.example, port: 22, except: [d.example, {from: 10.1.0.0/16}]}], name: x}\n"
    "  - {allow: [any, {port: 443}], except: {host: .e.example, time: sat}, sni: log, expect: ssh, mode: report, say: no}\n"
    "  - {allow: {path: /v1/, except: any}, sni: [.f.example, g.example], user: any, group: a b, label: [red, prio=high]}\n"
    "  - {deny: any, header: {x: any, y: [1, a b], content-type: text/plain}, user: [ci, \"x, y\"], to: 192.0.2.0/24, port: any}\n"
    "  - {deny: 192.0.2.1, time: [\"mon-fri 08:00-18:00\", sun, \"22:00-06:00\", \"sat-mon,wed 00:30-24:00\"], sni: off, expect: any}\n",
    "rules: [{deny: any, path: \"/^\\\\/v[0-9]+/\", header: {a: [/b+/, c]}}]",
    "upstream: [{mark: 7}, {interface: eth0.1, for: a.example}, {bind: 192.0.2.1, mark: 4294967295, interface: x}]",
};

static void test_round_trips(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        char named[4096];

        /* a name that is drawn at start would be another each time, and the show says it */
        snprintf(named, sizeof(named), "%s%s",
                 strstr(samples[i], "name: \"") || strstr(samples[i], "\nname:") ? "" : "name: x\n",
                 samples[i]);
        assert_round_trip(named);
    }
    assert_round_trip("");
}

/* Whole files, with what they include and their list files. */
static void test_round_trips_of_files(void **state)
{
    static const char *const files[] = {GOLDEN_DIR "/everything.yaml", GOLDEN_DIR "/warnings.yaml"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct conf_args args = {.file = files[i], .name = "x"};
        struct conf_errors errors = {0};
        struct conf *a, *b;
        char *text;

        assert_int_equal(conf_load(&args, &a, &errors, NULL), 0);
        text = show(a);
        if (!strstr(text, "\nname: "))
            fail_msg("no name in\n%s", text);
        b = load(text);
        assert_same(a, b);
        mem_free(text);
        conf_free(a);
        conf_free(b);
    }
}

static void test_shows_every_key(void **state)
{
    struct conf *c = load("");
    size_t n;
    char *texts[] = {show(c), conf_show_defaults(&n)};

    UNUSED(state);
    for (size_t t = 0; t < ARRAY_LEN(texts); t++) {
        assert_non_null(texts[t]);
        for (unsigned i = 0; i < conf_table_n; i++) {
            const struct option_def *o = &conf_table[i];
            char key[64];

            if (o->unbuilt || strncmp(o->path, "listen.", 7) == 0 ||
                strcmp(o->path, "log.for") == 0)
                continue; /* they are not there by default */
            snprintf(key, sizeof(key), "%s:", conf_table_key(o));
            if (!strstr(texts[t], key))
                fail_msg("no %s in\n%s", o->path, texts[t]);
        }
        mem_free(texts[t]);
    }
    conf_free(c);
}

static void test_unbuilt_keys_are_not_shown(void **state)
{
    struct conf *c = load("");
    char *text = show(c);

    UNUSED(state);
    for (unsigned i = 0; i < conf_table_n; i++) {
        char key[64];

        snprintf(key, sizeof(key), "\n%s:", conf_table[i].path);
        if (conf_table[i].unbuilt)
            assert_null(strstr(text, key));
    }
    mem_free(text);
    conf_free(c);
}

static void test_defaults_load_as_an_empty_file_does(void **state)
{
    size_t n = 0;
    char *text = conf_show_defaults(&n);
    struct conf *a, *b;

    UNUSED(state);
    assert_non_null(text);
    assert_int_equal(strlen(text), n);
    a = load("");
    b = load(text);
    strcpy(a->proxy.name, b->proxy.name); /* drawn */
    assert_same(a, b);
    mem_free(text);
    conf_free(a);
    conf_free(b);
}

/* A list file may have any number of entries. */
static void test_long_lists(void **state)
{
    char path[] = "/tmp/ginnel-show-XXXXXX", yaml[128];
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");

    UNUSED(state);
    assert_non_null(f);
    for (unsigned i = 0; i < 20000; i++)
        fprintf(f, "%sh%u.example\n", i % 3 ? "" : ".", i);
    fclose(f);
    snprintf(yaml, sizeof(yaml), "name: x\nlog: {for: %s}\n", path);
    assert_round_trip(yaml);
    unlink(path);
}

static void test_memory_refused(void **state)
{
    struct conf *c = load(samples[15]);

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        size_t n = 77;
        char *text = conf_show(c, &n);

        assert_int_equal(text == NULL, memfail_hit());
        if (!text)
            assert_int_equal(n, 77);
        mem_free(text);
    }
    for (memfail_start(); memfail_next();) {
        size_t n = 77;
        char *text = conf_schema(&n);

        assert_int_equal(text == NULL, memfail_hit());
        mem_free(text);
    }
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_defaults_are_comments_where_nothing_is_set),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_round_trips_of_files),
        cmocka_unit_test(test_shows_every_key),
        cmocka_unit_test(test_unbuilt_keys_are_not_shown),
        cmocka_unit_test(test_defaults_load_as_an_empty_file_does),
        cmocka_unit_test(test_long_lists),
        cmocka_unit_test(test_memory_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
