/* SPDX-License-Identifier: MIT */
#include "app/conf_read.h"

#include "app/conf_value.h"
#include "base/err.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct conf *parse(const char *text)
{
    struct conf_errors errors;
    struct conf *c = NULL;
    int r = conf_parse("test.yaml", text, strlen(text), &c, &errors);

    if (r < 0)
        conf_errors_print(&errors, stderr, false);
    assert_int_equal(r, 0);
    assert_int_equal(errors.n, 0);
    return c;
}

/* The text must be refused, with something about what. */
static void assert_refused(const char *text, const char *what)
{
    struct conf_errors errors;
    struct conf *c;

    assert_int_equal(conf_parse("test.yaml", text, strlen(text), &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, 1);
    assert_non_null(strstr(errors.v[0].text, what));
    conf_errors_done(&errors);
}

/* One of the errors must be about what. */
static void assert_error(const char *text, const char *what)
{
    struct conf_errors errors;
    struct conf *c;
    bool found = false;

    assert_int_equal(conf_parse("test.yaml", text, strlen(text), &c, &errors), ERR_SYNTAX);
    for (unsigned i = 0; i < errors.n; i++)
        found = found || strstr(errors.v[i].text, what);
    if (!found)
        conf_errors_print(&errors, stderr, false);
    assert_true(found);
    conf_errors_done(&errors);
}

static void assert_listens(const struct conf *c, unsigned i, const char *expected)
{
    char text[ADDR_TEXT_MAX];

    assert_true(i < c->n_listen);
    addr_text(&c->listen[i].addr, text);
    assert_string_equal(text, expected);
}

/* ---- values ---- */

static void assert_defaults(const struct conf *c)
{
    assert_int_equal(c->n_listen, 2);
    assert_listens(c, 0, "127.0.0.1:3128");
    assert_listens(c, 1, "[::1]:3128");
    assert_true(ranges_empty(&c->clients.ranges));
    assert_false(c->clients.any);
    assert_false(c->clients.set);
    assert_null(c->clients.place);
    assert_int_equal(c->reasons, REASONS_DEFAULT);
    assert_int_equal(c->n_admin, 0);
    assert_int_equal(c->control, CONF_CONTROL_DEFAULT);
    assert_null(c->control_path);
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->proxy.timeouts.connect, 10000);
    assert_int_equal(c->proxy.timeouts.head, 30000);
    assert_int_equal(c->proxy.timeouts.response, 300000);
    assert_int_equal(c->proxy.timeouts.idle, 300000);
    assert_int_equal(c->proxy.timeouts.keepalive, 60000);
    assert_int_equal(c->proxy.timeouts.tunnel, 3600000);
    assert_int_equal(c->proxy.timeouts.half_close, 3600000);
    assert_int_equal(c->proxy.timeouts.drain, 30000);
    assert_int_equal(c->proxy.timeouts.body_rate, 0);
    assert_int_equal(c->proxy.capacity.connections, 50000);
    assert_int_equal(c->proxy.capacity.per_client, 0);
    assert_int_equal(c->proxy.capacity.memory, 1 << 30);
    assert_int_equal(c->proxy.capacity.pipes, 256 << 20);
    assert_int_equal(c->proxy.sizes.line, 16384);
    assert_int_equal(c->proxy.sizes.head, 65536);
    assert_int_equal(c->proxy.sizes.fields, 200);
    assert_true(c->proxy.via);
    assert_true(c->proxy.access_log);
    assert_int_equal(c->proxy.log_every_ms, 0);
    assert_true(!c->proxy.log_begin && c->proxy.log_agent);
    assert_int_equal(c->n_outputs, 1);
    assert_int_equal(c->outputs[0].sink, ACCESS_STDERR);
    assert_int_equal(c->outputs[0].layout, ACCESS_JSON);
    assert_int_equal(c->outputs[0].tunnels, ACCESS_AT_END);
    assert_int_equal(c->outputs[0].n_where, 0);
    assert_string_equal(c->outputs[0].place, "default");
    assert_int_equal(c->log_level, LOG_INFO);
    assert_non_null(c->resolve.servers);
    assert_null(c->resolve.servers[0]);
    assert_false(c->resolve.system);
    assert_false(c->resolve.search);
    assert_int_equal(c->resolve.family, FAMILY_AUTO);
    assert_int_equal(c->resolve.ttl_max_ms, 3600000);
    assert_int_equal(c->resolve.timeout_ms, 5000);
    assert_null(c->resolve.resolv_path);
    assert_null(c->resolve.hosts_path);
}

static void test_defaults(void **state)
{
    static const char *const empty[] = {
        "",    "\n",     "# nothing\n", "---\n",       "{}\n",
        "~\n", "null\n", "---\n...\n",  "timeouts:\n", "log: {}\nsizes: ~\nresolver:\n"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        struct conf *c = parse(empty[i]);

        assert_defaults(c);
        assert_true(c->listen[0].dflt && c->listen[1].dflt);
        assert_string_equal(c->file, "test.yaml");
        conf_free(c);
    }
    conf_free(NULL);
}

static void test_null_text(void **state)
{
    struct conf_errors errors;
    struct conf *c;

    UNUSED(state);
    assert_int_equal(conf_parse("test.yaml", NULL, 0, &c, &errors), 0);
    assert_defaults(c);
    conf_free(c);
}

/* C27: a pseudonym, unique to the instance. */
static void test_name_is_drawn(void **state)
{
    struct conf *a = parse(""), *b = parse("");

    UNUSED(state);
    assert_int_equal(strlen(a->proxy.name), 15);
    assert_memory_equal(a->proxy.name, "ginnel-", 7);
    assert_int_equal(strspn(a->proxy.name + 7, "0123456789abcdef"), 8);
    assert_string_not_equal(a->proxy.name, b->proxy.name);
    conf_free(a);
    conf_free(b);
}

static void test_every_key(void **state)
{
    struct conf *c =
        parse("listen:\n"
              "  - 10.0.0.1:8080\n"
              "  - address: localhost:0\n"
              "  - '[fd00::1]:1'\n"
              "clients: [10.0.0.0/8, 'fd00::/8', 192.0.2.7, '::1']\n"
              "workers: 3\n"
              "via: no\n"
              "name: egress_1\n"
              "timeouts: {connect: 1s, head: 2s, response: 3s, idle: 4s, keepalive: 5s,\n"
              "  tunnel: 6s, half-close: 7s, drain: 8s, body-rate: 2KB/s}\n"
              "sizes: {line: 1000, head: 2KB, fields: 9}\n"
              "capacity: {connections: 10, per-client: 11, memory: 12MB, pipes: 13MB}\n"
              "resolver:\n"
              "  servers: [192.0.2.1, '::1', '[::2]', 192.0.2.2:5353, '[::3]:54']\n"
              "  system: yes\n"
              "  search: true\n"
              "  family: prefer-4\n"
              "  ttl-max: 7d\n"
              "log: {access: /var/log/g.log, format: json, level: debug}\n");
    static const char *const servers[] = {"192.0.2.1:53", "[::1]:53", "[::2]:53", "192.0.2.2:5353",
                                          "[::3]:54"};

    UNUSED(state);
    assert_int_equal(c->n_listen, 4);
    assert_listens(c, 0, "10.0.0.1:8080");
    assert_string_equal(c->listen[0].text, "10.0.0.1:8080");
    assert_listens(c, 1, "127.0.0.1:0");
    assert_listens(c, 2, "[::1]:0");
    assert_string_equal(c->listen[2].text, "localhost:0");
    assert_listens(c, 3, "[fd00::1]:1");
    assert_int_equal(c->clients.ranges.n4, 2);
    assert_int_equal(c->clients.ranges.n6, 2);
    assert_string_equal(c->clients.place, "test.yaml:5");
    assert_true(ranges_has(&c->clients.ranges, &c->listen[0].addr));
    assert_true(ranges_has(&c->clients.ranges, &c->listen[3].addr));
    assert_true(ranges_has(&c->clients.ranges, &c->listen[2].addr));
    assert_false(ranges_has(&c->clients.ranges, &c->listen[1].addr));
    assert_true(c->clients.set);
    assert_false(c->clients.any);
    assert_int_equal(c->workers, 3);
    assert_false(c->proxy.via);
    assert_string_equal(c->proxy.name, "egress_1");
    assert_int_equal(c->proxy.timeouts.connect, 1000);
    assert_int_equal(c->proxy.timeouts.head, 2000);
    assert_int_equal(c->proxy.timeouts.response, 3000);
    assert_int_equal(c->proxy.timeouts.idle, 4000);
    assert_int_equal(c->proxy.timeouts.keepalive, 5000);
    assert_int_equal(c->proxy.timeouts.tunnel, 6000);
    assert_int_equal(c->proxy.timeouts.half_close, 7000);
    assert_int_equal(c->proxy.timeouts.drain, 8000);
    assert_int_equal(c->proxy.timeouts.body_rate, 2048);
    assert_int_equal(c->proxy.capacity.connections, 10);
    assert_int_equal(c->proxy.capacity.per_client, 11);
    assert_int_equal(c->proxy.capacity.memory, 12 << 20);
    assert_int_equal(c->proxy.capacity.pipes, 13 << 20);
    assert_int_equal(c->proxy.sizes.line, 1000);
    assert_int_equal(c->proxy.sizes.head, 2048);
    assert_int_equal(c->proxy.sizes.fields, 9);
    for (size_t i = 0; i < ARRAY_LEN(servers); i++)
        assert_string_equal(c->resolve.servers[i], servers[i]);
    assert_null(c->resolve.servers[ARRAY_LEN(servers)]);
    assert_true(c->resolve.system);
    assert_true(c->resolve.search);
    assert_int_equal(c->resolve.family, FAMILY_PREFER_4);
    assert_int_equal(c->resolve.ttl_max_ms, 604800000);
    assert_int_equal(c->n_outputs, 1);
    assert_int_equal(c->outputs[0].sink, ACCESS_FILE);
    assert_string_equal(c->outputs[0].path, "/var/log/g.log");
    assert_string_equal(c->outputs[0].place, "test.yaml:19");
    assert_true(c->proxy.access_log);
    assert_int_equal(c->log_level, LOG_DEBUG);
    conf_free(c);
}

static void test_words(void **state)
{
    static const struct {
        const char *text;
        int access, level, family; /* access: -1 none */
    } cases[] = {
        {"log: {access: stderr, level: error}\nresolver: {family: auto}\n", ACCESS_STDERR,
         LOG_ERROR, FAMILY_AUTO},
        {"log: {access: stdout, level: warn}\nresolver: {family: 4}\n", ACCESS_STDOUT, LOG_WARN,
         FAMILY_4},
        {"log: {access: 'off', level: info}\nresolver: {family: \"6\"}\n", -1, LOG_INFO, FAMILY_6},
        {"log: {access: off}\n", -1, LOG_INFO, FAMILY_AUTO},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf *c = parse(cases[i].text);

        assert_int_equal(c->n_outputs, cases[i].access >= 0);
        if (c->n_outputs)
            assert_int_equal(c->outputs[0].sink, cases[i].access);
        assert_int_equal(c->log_level, cases[i].level);
        assert_int_equal(c->resolve.family, cases[i].family);
        assert_int_equal(c->proxy.access_log, c->n_outputs > 0);
        conf_free(c);
    }
}

/* A single value may stand wherever a list may. */
static void test_one_for_a_list(void **state)
{
    struct conf *c = parse("listen: 0.0.0.0:1\nclients: any\nresolver: {servers: 192.0.2.1}\n");

    UNUSED(state);
    assert_int_equal(c->n_listen, 1);
    assert_false(c->listen[0].dflt);
    assert_true(c->clients.any && c->clients.set);
    assert_true(ranges_empty(&c->clients.ranges));
    assert_string_equal(c->resolve.servers[0], "192.0.2.1:53");
    assert_null(c->resolve.servers[1]);
    conf_free(c);

    c = parse("listen: {address: '[::1]:1'}\nclients: 10.0.0.0/8\nresolver: {servers: []}\n");
    assert_int_equal(c->n_listen, 1);
    assert_int_equal(c->clients.ranges.n4, 1);
    assert_null(c->resolve.servers[0]);
    conf_free(c);
}

/* Only the half of localhost that nobody wrote may be missing from the machine. */
static void test_localhost(void **state)
{
    struct conf *c = parse("listen: LocalHost:80\n");

    UNUSED(state);
    assert_int_equal(c->n_listen, 2);
    assert_listens(c, 0, "127.0.0.1:80");
    assert_listens(c, 1, "[::1]:80");
    assert_false(c->listen[0].dflt);
    assert_true(c->listen[1].dflt);
    conf_free(c);
}

static void test_listen_bound(void **state)
{
    char yaml[4096] = "listen:\n";
    struct conf *c;

    UNUSED(state);
    for (int i = 1; i <= 63; i++)
        snprintf(yaml + strlen(yaml), sizeof(yaml) - strlen(yaml), "  - 127.0.0.1:%d\n", i);
    strcat(yaml, "  - localhost:64\n");
    c = parse(yaml);
    assert_int_equal(c->n_listen, 65);
    conf_free(c);
}

/* Two free ports are two ports. */
static void test_port_zero_may_repeat(void **state)
{
    struct conf *c = parse("listen: [127.0.0.1:0, 127.0.0.1:0]\n");

    UNUSED(state);
    assert_int_equal(c->n_listen, 2);
    conf_free(c);
}

/* E: zero configuration is safe; an open proxy is written out. */
static void test_open_is_written_out(void **state)
{
    static const char *const open[] = {"0.0.0.0:1", "'[::]:1'", "192.0.2.1:1", "'[fe80::1]:1'",
                                       "'[::ffff:10.0.0.1]:1'"};
    static const char *const closed[] = {"127.0.0.1:1", "127.255.0.1:1", "'[::1]:1'",
                                         "'[::ffff:127.0.0.1]:1'", "localhost:1"};
    char yaml[128];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        snprintf(yaml, sizeof(yaml), "listen: %s\n", open[i]);
        assert_refused(yaml, "can be reached from other machines, and neither `clients` nor `users` is set");
        snprintf(yaml, sizeof(yaml), "listen: %s\nclients: any\n", open[i]);
        conf_free(parse(yaml));
        snprintf(yaml, sizeof(yaml), "listen: %s\nclients: [10.0.0.0/8]\n", open[i]);
        conf_free(parse(yaml));
        snprintf(yaml, sizeof(yaml), "listen: %s\n", closed[i]);
        conf_free(parse(yaml));
    }
}

/* ---- ranges ---- */

static void write_member(char *yaml, size_t cap, const struct option_def *o, const char *value)
{
    const char *dot = strchr(o->path, '.');

    if (dot)
        snprintf(yaml, cap, "%.*s: {%s: %s}\n", (int)(dot - o->path), o->path, dot + 1, value);
    else
        snprintf(yaml, cap, "%s: %s\n", o->path, value);
}

static uint64_t number_at(const struct conf *c, const struct option_def *o)
{
    const char *place = (const char *)c + o->offset;
    uint64_t wide;
    uint32_t narrow;

    memcpy(&wide, place, sizeof(wide));
    memcpy(&narrow, place, sizeof(narrow));
    return o->type == OPTION_COUNT ? narrow : wide;
}

/* Parses one value of one option by itself (line against head would get in the way). */
static int set_number(const struct option_def *o, uint64_t v, uint64_t *ret_v)
{
    struct conf c = {0};
    struct arena a;
    char text[CONF_VALUE_TEXT];
    int r;

    arena_init(&a, NULL, 4096);
    conf_value_text(o->type, v, text);
    r = conf_value_set(o, slice_str(text), &a, &c);
    *ret_v = number_at(&c, o);
    arena_done(&a);
    return r;
}

static void test_range_edges(void **state)
{
    unsigned n = 0;

    UNUSED(state);
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];
        uint64_t v;

        if (o->unbuilt ||
            (o->type != OPTION_DURATION && o->type != OPTION_SIZE && o->type != OPTION_COUNT))
            continue;
        n++;
        assert_true(o->min < o->max);
        assert_int_equal(set_number(o, o->min, &v), 0);
        assert_true(v == o->min);
        assert_int_equal(set_number(o, o->max, &v), 0);
        assert_true(v == o->max);
        assert_int_equal(set_number(o, o->max + 1, &v), ERR_RANGE);
        assert_true(v == 0);
        if (o->min > 0)
            assert_int_equal(set_number(o, o->min - 1, &v), ERR_RANGE);
    }
    assert_true(n >= 22);
}

static void test_out_of_range_is_refused(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];
        char yaml[128], text[CONF_VALUE_TEXT];

        if (o->unbuilt ||
            (o->type != OPTION_DURATION && o->type != OPTION_SIZE && o->type != OPTION_COUNT))
            continue;
        conf_value_text(o->type, o->max + 1, text);
        write_member(yaml, sizeof(yaml), o, text);
        assert_refused(yaml, "is out of range");
    }
}

/* Every number is written where conf.h has it, and nowhere else. */
static void test_numbers_do_not_overlap(void **state)
{
    struct conf *c = parse("timeouts: {connect: 101ms, head: 102ms, response: 103ms, idle: 104ms,\n"
                           "  keepalive: 105ms, tunnel: 106ms, half-close: 107ms, drain: 108ms}\n"
                           "sizes: {line: 2001, head: 2002, fields: 203}\n"
                           "capacity: {connections: 301, per-client: 302, memory: 5GB, pipes: 304}\n"
                           "workers: 24\n"
                           "resolver: {ttl-max: 1009ms}\n");
    static const struct {
        const char *path;
        uint64_t v;
    } cases[] = {
        {"timeouts.connect", 101},    {"timeouts.head", 102},      {"timeouts.response", 103},
        {"timeouts.idle", 104},       {"timeouts.keepalive", 105}, {"timeouts.tunnel", 106},
        {"timeouts.half-close", 107}, {"timeouts.drain", 108},     {"sizes.line", 2001},
        {"sizes.head", 2002},         {"sizes.fields", 203},       {"workers", 24},
        {"resolver.ttl-max", 1009},   {"capacity.connections", 301},
        {"capacity.per-client", 302}, {"capacity.memory", (uint64_t)5 << 30},
        {"capacity.pipes", 304}};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct option_def *o = conf_table_find(slice_str(cases[i].path));

        assert_non_null(o);
        assert_true(number_at(c, o) == cases[i].v);
    }
    conf_free(c);
}

/* ---- the table ---- */

/* CONFIG: at most 80 keys in all. */
static void test_few_keys(void **state)
{
    UNUSED(state);
    assert_true(conf_n_keys() > 40);
    assert_true(conf_n_keys() < 81);
}

static void test_table_is_sound(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];
        const char *dot = strchr(o->path, '.');

        assert_true(o->sentence[strlen(o->sentence) - 1] == '.');
        assert_ptr_equal(conf_table_find(slice_str(o->path)), o); /* no path twice */
        if (dot) {
            const struct option_def *section =
                conf_table_find(slice_of(o->path, (size_t)(dot - o->path)));

            assert_non_null(section);
            assert_ptr_equal(conf_table_member(section, slice_str(dot + 1)), o);
            assert_null(conf_table_member(NULL, slice_str(o->path)));
        } else {
            assert_ptr_equal(conf_table_member(NULL, slice_str(o->path)), o);
        }
    }
}

static void test_unbuilt_is_refused_by_name(void **state)
{
    static const char *const values[] = {"x", "[]", "{}", "~", "[{a: b}]"};
    unsigned n = 0;

    UNUSED(state);
    for (unsigned i = 0; i < conf_table_n; i++)
        for (size_t j = 0; j < ARRAY_LEN(values) && conf_table[i].unbuilt; j++) {
            const struct option_def *o = &conf_table[i];
            char yaml[128], expected[128];

            if (strncmp(o->path, "listen.", 7) == 0)
                snprintf(yaml, sizeof(yaml), "listen: {address: localhost:1, %s: %s}\n",
                         o->path + 7, values[j]);
            else
                write_member(yaml, sizeof(yaml), o, values[j]);
            /* A section that is not built speaks for its keys. */
            snprintf(expected, sizeof(expected), "`%s` is not in this build",
                     strncmp(o->path, "intercept.", 10) == 0 ? "intercept" : conf_table_key(o));
            assert_error(yaml, expected);
            n++;
        }
    assert_true(n > 40);
}

static void test_did_you_mean(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];
        const char *dot = strchr(o->path, '.'), *key = dot ? dot + 1 : o->path;
        char yaml[128], typo[64], expected[64];

        /* one letter doubled */
        snprintf(typo, sizeof(typo), "%c%s", key[0], key);
        if (dot)
            snprintf(yaml, sizeof(yaml), "%.*s: {%s: x}\n", (int)(dot - o->path), o->path, typo);
        else
            snprintf(yaml, sizeof(yaml), "%s: x\n", typo);
        snprintf(expected, sizeof(expected), "did you mean `%s`?%s", key,
                 o->unbuilt ? " (which is not in this build)" : "");
        assert_error(yaml, expected);
    }
}

/* Each with one error, and a hint that leads out. */
static void test_typical_mistakes(void **state)
{
    UNUSED(state);
    assert_refused("timeouts:\n\tconnect: 10s\n", "hint: indent with blanks");
    assert_refused("timeouts:\n  connect: 10\n", "hint: write a number and a unit: 500ms, 10s");
    assert_refused("listen: [::1]:3128\n", "hint: an IPv6 address is quoted: \"[::1]:3128\"");
    assert_refused("listen: :3128\n", "hint: write the address too: 127.0.0.1:3128");
    assert_refused("connect: 10s\n", "hint: write `timeouts: {connect: …}`");
    assert_refused("via:on\n", "hint: a blank belongs behind the colon: `via: …`");
    assert_refused("timeouts: {half_close: 1s}\n", "hint: did you mean `half-close`?");
    assert_refused("timeouts:\n  connect: 10s\n   idle: 5m\n", "hint: one key a line");
    assert_refused("clients: 10.1.2.3/8\n", "hint: bits behind the prefix are zero: 10.0.0.0/8");
    assert_refused("clients: *\n", "everybody and everything is `any`");
    assert_refused("listen: 0.0.0.0:3128\n", "hint: write `clients: [10.0.0.0/8]`");
}

/* What comes before a syntax error is still judged; what might only be missing is not. */
static void test_before_a_syntax_error(void **state)
{
    struct conf_errors errors;
    struct conf *c;
    static const char two[] = "via: maybe\nlisten: 0.0.0.0:1\nsizes: {line: 1MB, head: 1KB}\n@\n";

    UNUSED(state);
    assert_int_equal(conf_parse("f", two, strlen(two), &c, &errors), ERR_SYNTAX);
    assert_int_equal(errors.n, 2);
    assert_int_equal(errors.v[0].line, 1);
    assert_int_equal(errors.v[1].line, 4);
    conf_errors_done(&errors);

    assert_refused("listen:\n\xff", "not UTF-8");
    assert_refused("listen: [\n\xff", "not UTF-8");
    assert_refused("listen:\n  -\n\xff", "not UTF-8");
    assert_refused("clients: [", "a value is missing");
    assert_refused("log: {level: {", "a value is missing");
    assert_refused("log: [{access: off}", "not closed");
    assert_refused("listen: {address: localhost:1", "not closed");
    assert_refused("name: 'x\n\xff'", "not UTF-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_null_text),
        cmocka_unit_test(test_name_is_drawn),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_one_for_a_list),
        cmocka_unit_test(test_localhost),
        cmocka_unit_test(test_listen_bound),
        cmocka_unit_test(test_port_zero_may_repeat),
        cmocka_unit_test(test_open_is_written_out),
        cmocka_unit_test(test_range_edges),
        cmocka_unit_test(test_out_of_range_is_refused),
        cmocka_unit_test(test_numbers_do_not_overlap),
        cmocka_unit_test(test_few_keys),
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_unbuilt_is_refused_by_name),
        cmocka_unit_test(test_did_you_mean),
        cmocka_unit_test(test_typical_mistakes),
        cmocka_unit_test(test_before_a_syntax_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
