/* SPDX-License-Identifier: MIT */
/* Listeners as maps, logs, matchers, the admin address and the control socket. */
#include "app/conf_match.h"

#include "app/conf_shapes.h"
#include "base/err.h"
#include "base/mem.h"

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

static void assert_refused(const char *text, const char *what)
{
    struct conf_errors errors;
    struct conf *c;

    assert_int_equal(conf_parse("test.yaml", text, strlen(text), &c, &errors), ERR_SYNTAX);
    if (errors.n != 1 || !strstr(errors.v[0].text, what))
        conf_errors_print(&errors, stderr, false);
    assert_int_equal(errors.n, 1);
    assert_non_null(strstr(errors.v[0].text, what));
    conf_errors_done(&errors);
}

static struct addr address(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse_host(slice_str(text), 0, &a), 0);
    return a;
}

static bool admits(const struct conf_clients *c, const char *text)
{
    struct addr a = address(text);

    return ranges_has(&c->ranges, &a);
}

/* ---- listeners ---- */

static void test_listeners(void **state)
{
    struct conf *c =
        parse("listen:\n"
              "- unix:/run/g/p.sock\n"
              "- {address: 0.0.0.0:1, name: lan, clients: [10.0.0.0/8], reasons: none}\n"
              "- {address: localhost:2, name: here, clients: any}\n"
              "- address: 'unix:/run/g/q.sock'\n"
              "  reasons: all\n"
              "reasons: own\n");

    UNUSED(state);
    assert_int_equal(c->n_listen, 5);
    assert_int_equal(c->listen[0].kind, CONF_LISTEN_UNIX);
    assert_string_equal(c->listen[0].path, "/run/g/p.sock");
    assert_string_equal(c->listen[0].text, "unix:/run/g/p.sock");
    assert_string_equal(c->listen[0].place, "test.yaml:2");
    assert_null(c->listen[0].name);
    assert_int_equal(c->listen[1].kind, CONF_LISTEN_TCP);
    assert_string_equal(c->listen[1].name, "lan");
    assert_int_equal(c->listen[1].reasons, REASONS_NONE);
    assert_true(c->listen[1].clients.set && !c->listen[1].clients.any);
    assert_string_equal(c->listen[1].clients.place, "test.yaml:3");
    assert_true(admits(&c->listen[1].clients, "10.1.1.1"));
    assert_false(admits(&c->listen[1].clients, "11.1.1.1"));
    for (unsigned i = 2; i < 4; i++) {
        assert_string_equal(c->listen[i].name, "here");
        assert_true(c->listen[i].clients.set && c->listen[i].clients.any);
        assert_int_equal(c->listen[i].reasons, REASONS_DEFAULT);
    }
    assert_string_equal(c->listen[4].path, "/run/g/q.sock");
    assert_int_equal(c->listen[4].reasons, REASONS_ALL);
    assert_false(c->clients.set);
    assert_int_equal(c->reasons, REASONS_OWN);
    conf_free(c);
}

/* A Unix socket is this machine's; an address of others needs clients of its own or the top's. */
static void test_who_needs_clients(void **state)
{
    UNUSED(state);
    conf_free(parse("listen: unix:/run/p.sock\n"));
    conf_free(parse("listen: {address: 0.0.0.0:1, clients: 10.0.0.0/8}\n"));
    assert_refused("listen: [{address: 0.0.0.0:1, clients: 10.0.0.0/8}, 0.0.0.0:2]\n",
                   "\"0.0.0.0:2\" can be reached from other machines");
    assert_refused("listen: {address: 0.0.0.0:1, clients: [any, 10.0.0.0/8]}\n",
                   "admits everybody");
    assert_refused("listen: {address: 0.0.0.0:1, clients: []}\n", "`clients` is an empty list");
}

static void test_listener_faults(void **state)
{
    char yaml[256] = "listen: unix:/";

    UNUSED(state);
    assert_refused("listen: [{address: 127.0.0.1:1, name: a}, {address: 127.0.0.1:2, name: a}]\n",
                   "two listeners have the name \"a\"");
    assert_refused("listen: {address: 127.0.0.1:1, name: a b}\n", "`name` wants a plain word");
    assert_refused("listen: {address: 127.0.0.1:1, name: ''}\n", "`name` wants a plain word");
    assert_refused("listen: {address: 127.0.0.1:1, reasons: some}\n",
                   "`reasons` wants none, own or all, not \"some\"");
    assert_refused("listen: [unix:/a, unix:/a]\n", "\"unix:/a\" is listened on twice");
    assert_refused("listen: unix:\n", "a colon at the end is quoted: \"unix:\"");
    assert_refused("listen: 'unix:'\n", "wants the path of a socket");
    assert_refused("listen: unix:run/x\n", "the path is absolute");
    assert_refused("listen: unix:/run/\n", "wants the path of a socket");
    memset(yaml + strlen(yaml), 'x', 106);
    conf_free(parse(yaml));
    strcat(yaml, "x");
    assert_refused(yaml, "the path of a socket has at most 107 bytes");
}

static void test_admin_and_control(void **state)
{
    struct conf *c = parse("admin: ['[::1]:1', localhost:2]\ncontrol: unix:/run/c.sock\n");

    UNUSED(state);
    assert_int_equal(c->n_admin, 3);
    assert_int_equal(addr_port(&c->admin[0]), 1);
    assert_int_equal(addr_port(&c->admin[2]), 2);
    assert_int_equal(c->control, CONF_CONTROL_PATH);
    assert_string_equal(c->control_path, "/run/c.sock");
    conf_free(c);
    c = parse("admin: off\ncontrol: off\n");
    assert_int_equal(c->n_admin, 0);
    assert_int_equal(c->control, CONF_CONTROL_OFF);
    conf_free(c);
    c = parse("admin: [off]\ncontrol: 'unix:'\n");
    assert_int_equal(c->n_admin, 0);
    assert_int_equal(c->control, CONF_CONTROL_DEFAULT);
    conf_free(c);
    assert_refused("admin: []\n", "`admin` is an empty list");
    assert_refused("admin: [off, 127.0.0.1:1]\n", "`off` beside addresses");
    assert_refused("admin: none\n", "`admin` wants an address and a port or off, not \"none\"");
    assert_refused("admin: 127.0.0.1:70000\n", "ports go from 0 to 65535");
    assert_refused("admin: 127.0.0.1:3128\n", "clients use 127.0.0.1:3128, and `admin` too");
    assert_refused("control: /run/x\n", "`control` wants the path of a socket or off");
    assert_refused("control: unix:x\n", "`control` wants the path of a socket or off");
}

/* ---- logs ---- */

static void test_logs(void **state)
{
    struct conf *c =
        parse("log:\n"
              "- {access: /a.log, format: combined, tunnels: both, level: warn}\n"
              "- {access: syslog, tunnels: every 1m}\n"
              "- {access: 'syslog:/run/s'}\n"
              "- {access: 'syslog:192.0.2.1:514', format: common, tunnels: every 60s}\n"
              "- {access: 'syslog:[::1]:515', format: squid}\n"
              "- {access: off}\n"
              "- {format: json}\n");
    static const struct {
        enum access_sink sink;
        enum access_layout layout;
        enum access_tunnels tunnels;
        const char *path;
        uint64_t every;
    } expected[] = {
        {ACCESS_FILE, ACCESS_COMBINED, ACCESS_AT_BOTH, "/a.log", 0},
        {ACCESS_SYSLOG_UNIX, ACCESS_JSON, ACCESS_EVERY, "/dev/log", 60000},
        {ACCESS_SYSLOG_UNIX, ACCESS_JSON, ACCESS_AT_END, "/run/s", 0},
        {ACCESS_SYSLOG_UDP, ACCESS_COMMON, ACCESS_EVERY, NULL, 60000},
        {ACCESS_SYSLOG_UDP, ACCESS_SQUID, ACCESS_AT_END, NULL, 0},
        {ACCESS_STDERR, ACCESS_JSON, ACCESS_AT_END, NULL, 0},
    };

    UNUSED(state);
    assert_int_equal(c->n_outputs, ARRAY_LEN(expected));
    for (unsigned i = 0; i < c->n_outputs; i++) {
        const struct access_output *o = &c->outputs[i];

        assert_int_equal(o->sink, expected[i].sink);
        assert_int_equal(o->layout, expected[i].layout);
        assert_int_equal(o->tunnels, expected[i].tunnels);
        assert_int_equal(o->every_ms, expected[i].every);
        assert_int_equal(o->n_where, 0);
        if (expected[i].path)
            assert_string_equal(o->path, expected[i].path);
        else
            assert_null(o->path);
    }
    assert_int_equal(addr_port(&c->outputs[3].udp), 514);
    assert_int_equal(addr_port(&c->outputs[4].udp), 515);
    assert_string_equal(c->outputs[5].place, "test.yaml:8");
    assert_true(c->proxy.access_log && c->proxy.log_begin && c->proxy.log_agent);
    assert_int_equal(c->proxy.log_every_ms, 60000);
    assert_int_equal(c->log_level, 1);
    conf_free(c);
}

/* An item with nothing but a level is no log, and alone it leaves the default one. */
static void test_level_alone(void **state)
{
    struct conf *c = parse("log: {level: error}\n");

    UNUSED(state);
    assert_int_equal(c->n_outputs, 1);
    assert_int_equal(c->outputs[0].sink, ACCESS_STDERR);
    assert_false(c->proxy.log_begin);
    conf_free(c);
    c = parse("log: [{level: error}, {access: stdout}]\n");
    assert_int_equal(c->n_outputs, 1);
    assert_int_equal(c->outputs[0].sink, ACCESS_STDOUT);
    conf_free(c);
    c = parse("log: [{level: error}, {access: off}]\n");
    assert_int_equal(c->n_outputs, 0);
    assert_false(c->proxy.access_log);
    conf_free(c);
}

static void test_log_faults(void **state)
{
    char yaml[2048] = "log:\n";

    UNUSED(state);
    assert_refused("log: [{tunnels: every 1m}, {tunnels: every 2m}]\n",
                   "logs that write tunnels `every` so often all have one interval");
    assert_refused("log: [{level: warn}, {level: info}]\n",
                   "`level` is given twice: there is one for all logs");
    assert_refused("log: {tunnels: every 1ms}\n", "`tunnels` is out of range: \"every 1ms\"");
    assert_refused("log: {tunnels: every 19h}\n", "hint: from 1s to 18h");
    assert_refused("log: {tunnels: every}\n", "`tunnels` wants end, both or every and a duration");
    assert_refused("log: {tunnels: bot}\n", "did you mean `both`?");
    assert_refused("log: {access: 'syslog:192.0.2.1'}\n", "`access` wants");
    assert_refused("log: {access: 'syslog:192.0.2.1:0'}\n", "ports go from 1 to 65535");
    assert_refused("log: {access: 'syslog:'}\n", "`access` wants");
    assert_refused("log: {access: 'syslog:x:1'}\n", "`access` wants");
    for (int i = 0; i < 33; i++)
        strcat(yaml, "- {access: stdout}\n");
    assert_refused(yaml, "`log` has more than 32 items");
}

/* ---- matchers ---- */

/* Whether one of the log's matchers holds. */
static bool holds(const struct conf *c, const struct match_facts *f)
{
    if (!c || !c->outputs)
        return false;
    for (unsigned i = 0; i < c->outputs[0].n_where; i++)
        if (matcher_holds(&c->outputs[0].where[i], f))
            return true;
    return false;
}

static bool matches_host(const char *yaml_list, const char *host)
{
    struct match_facts f = {0};
    char yaml[512];
    struct conf *c;
    bool r;

    match_facts_host(&f, slice_str(host));
    snprintf(yaml, sizeof(yaml), "log: {for: %s}\n", yaml_list);
    c = parse(yaml);
    r = holds(c, &f);
    conf_free(c);
    return r;
}

/* U2: whatever the spelling, it is the host that a request would name. */
static void test_hosts(void **state)
{
    UNUSED(state);
    assert_true(matches_host("a.example", "a.example"));
    assert_false(matches_host("a.example", "x.a.example"));
    assert_true(matches_host(".a.example", "x.a.example"));
    assert_true(matches_host("[b.example, .A.Example.]", "x.a.example"));
    assert_true(matches_host("any", "whatever"));
    assert_true(matches_host("{host: [a.example, any]}", "whatever"));
    assert_true(matches_host("Bücher.example", "xn--bcher-kva.example"));
    assert_true(matches_host(".BÜCHER.example", "x.xn--bcher-kva.example"));
    assert_true(matches_host("10.0.0.0/8", "10.1.2.3"));
    assert_false(matches_host("10.0.0.0/8", "11.1.2.3"));
    assert_true(matches_host("0x7f.1", "127.0.0.1"));
    assert_true(matches_host("['::1', '[::2]']", "::2"));
    assert_true(matches_host("localhost", "localhost"));
    assert_true(matches_host("_dmarc.a-b.example", "_dmarc.a-b.example"));
}

static void test_host_faults(void **state)
{
    static const struct {
        const char *host, *what;
    } cases[] = {
        {"'*.a.example'", "the name and everything under it is .a.example"},
        {"'*'", "everything is `any`"},
        {"ANY", "everything is `any`"},
        {"a.example:443", "the port stands beside it"},
        {"'https://a.example/'", "a host only, without scheme and path"},
        {"10.0.0.1/8", "bits behind the prefix are zero: 10.0.0.0/8"},
        {"10.0.0.0/33", "a prefix goes from 0 to 32"},
        {"a b", "`for` wants a host"},
        {"''", "`for` wants a host"},
        {"'.'", "`for` wants a host"},
        {"..a", "`for` wants a host"},
        {"a..b", "`for` wants a host"},
        {".10.0.0.1", "`for` wants a host"},
        {"1.2.3.4.5", "`for` wants a host"},
        {"me@a.example", "`for` wants a host"},
        {"[[a]]", "`for` wants a host or a map of conditions, not a list"},
        {"{host: {a: b}}", "`host` wants a host, not a map"},
        {"[a, {host: [b, {host: c}]}]", "`host` wants a host, not a map"},
        {"./none.txt", "the list file \"./none.txt\" cannot be read: No such file"},
    };
    char yaml[128];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(yaml, sizeof(yaml), "log: {for: %s}\n", cases[i].host);
        assert_refused(yaml, cases[i].what);
    }
}

/* Several words must all hold, several values of one mean any; several matchers mean any. */
static void test_words(void **state)
{
    struct conf *c =
        parse("listen: [{address: 127.0.0.1:1, name: a}, 127.0.0.1:2]\n"
              "log:\n"
              "  for:\n"
              "  - bare.example\n"
              "  - {port: [443, 8000-8099], method: [CONNECT, GET], scheme: [https, connect]}\n"
              "  - {path: [/v1/, /v2], from: 10.0.0.0/8, to: ['fd00::/8', 192.0.2.0/24]}\n"
              "  - {listener: a, port: any}\n");
    struct addr client = address("10.1.1.1"), target = address("192.0.2.9"), other = address("::1");
    struct match_facts f = {.host = SLICE("bare.example")};

    UNUSED(state);
    assert_int_equal(c->outputs[0].n_where, 4);
    assert_true(holds(c, &f));
    f = (struct match_facts){.port = 8050, .method = SLICE("GET"), .scheme = MATCH_HTTPS};
    assert_true(holds(c, &f));
    f.port = 8100;
    assert_false(holds(c, &f));
    f.port = 443;
    assert_true(holds(c, &f));
    f.scheme = MATCH_HTTP;
    assert_false(holds(c, &f));
    f.scheme = MATCH_CONNECT;
    f.method = SLICE("POST");
    assert_false(holds(c, &f));
    f = (struct match_facts){.path = SLICE("/v2x?q"), .from = &client, .to = &target};
    assert_true(holds(c, &f));
    f.to = &other;
    assert_false(holds(c, &f));
    f = (struct match_facts){.listener = SLICE("a"), .port = 9};
    assert_true(holds(c, &f));
    f.listener = SLICE("b");
    assert_false(holds(c, &f));
    conf_free(c);
}

/* `any` is no condition; a list without entries is one that nothing meets. */
static void test_any_and_nobody(void **state)
{
    struct addr client = address("10.1.1.1");
    struct match_facts f = {.from = &client};
    struct conf *c = parse("log: {for: {from: any}}\n");

    UNUSED(state);
    assert_true(holds(c, &f));
    f.from = NULL;
    assert_true(holds(c, &f));
    conf_free(c);
    f.from = &client;
    conf_files_text("none", "# nobody\n");
    c = parse("log: {for: {from: ./none}}\n");
    assert_false(holds(c, &f));
    conf_free(c);
    f.host = SLICE("a.example");
    c = parse("log: {for: ./none}\n");
    assert_false(holds(c, &f));
    conf_free(c);
}

static void test_host_file(void **state)
{
    struct match_facts f = {.host = SLICE("x.b.example")};
    struct conf *c;
    char *text;
    int r;

    UNUSED(state);
    conf_files_text("hosts",
                    "a.example\n.B.example # all\nBücher.example\n10.0.0.0/8\na.example\n");
    conf_files_text("m.yaml", "log: {for: [./hosts, c.example]}\n");
    c = conf_files_load("m.yaml", &r, &text);
    assert_int_equal(r, 0);
    assert_string_equal(text, "m.yaml:1:13: warning: 1 name of \"./hosts\" was there already\n"
                              "    1 | log: {for: [./hosts, c.example]}\n"
                              "      |             ^\n");
    mem_free(text);
    if (!c || !c->outputs)
        fail();
    else
        assert_int_equal(hosts_count(c->outputs[0].where[0].hosts), 4);
    assert_true(holds(c, &f));
    f.host = SLICE("xn--bcher-kva.example");
    assert_true(holds(c, &f));
    match_facts_host(&f, SLICE("10.2.3.4"));
    assert_true(holds(c, &f));
    conf_free(c);
}

static void test_word_faults(void **state)
{
    static const struct {
        const char *matcher, *what;
    } cases[] = {
        {"{prot: 1}", "did you mean `port`?"},
        {"{protocol: 1}", "\"protocol\" is no key of `for`"},
        {"{port: 0}", "`port` is out of range: \"0\""},
        {"{port: 9-8}", "`port` is out of range: \"9-8\""},
        {"{port: 65536}", "`port` is out of range: \"65536\""},
        {"{port: http}", "`port` wants a port or any, not \"http\""},
        {"{method: get}", "`method` wants a method, not \"get\""},
        {"{path: x}", "`path` wants the beginning of a path, not \"x\""},
        {"{path: /a?b}", "`path` wants the beginning of a path"},
        {"{path: '/^a($/'}", "\"/^a($/\" is no regular expression"},
        {"{path: '/^a($/'}", "at character 6: missing closing parenthesis"},
        {"{path: '/a^b'}", "an expression stands between slashes"},
        {"{scheme: ftp}", "`scheme` wants http, https or connect, not \"ftp\""},
        {"{from: a.example}", "`from` wants an address range or any, not \"a.example\""},
        {"{listener: b}", "no listener has the name \"b\""},
        {"{user: []}", "`user` is an empty list"},
        {"{user: {a: b}}", "`user` wants a text or any, not a map"},
        {"{group: 'a,b'}", "`group` wants a name without commas, not \"a,b\""},
        {"{label: ' a'}", "`label` wants a name without commas, not \" a\""},
        {"{header: a}", "`header` wants a map of fields, not \"a\""},
        {"{header: {}}", "`header` is an empty map"},
        {"{header: {'a b': c}}", "\"a b\" cannot be a name in `header`"},
        {"{header: {a: '/[/'}}", "\"/[/\" is no regular expression"},
        {"{header: {a: b, A: c}}", "`A` is given twice"},
        {"{time: noon}", "`time` wants days, hours or both, not \"noon\""},
        {"{time: 08:00-25:00}", "`time` is out of range: \"08:00-25:00\""},
        {"{time: mon-fry}", "like this: mon-fri 08:00-18:00, sat, 22:00-06:00"},
        {"{sni: 10.0.0.1}", "a ClientHello names hosts, never addresses"},
        {"{sni: any}", "`sni` wants a name, not \"any\""},
        {"{except: []}", "`except` is an empty list"},
        {"{except: {except: a.example}}", "\"except\" is no key of `except`"},
        {"{except: {hots: a.example}}", "did you mean `host`?"},
        {"[]", "`for` is an empty list"},
        {"{}", "an empty map as `for`"},
        {"{host: a, host: b}", "`host` is given twice"},
        {"{host: []}", "`host` is an empty list"},
        {"{host: }", "`host` has no value"},
    };
    char yaml[128];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(yaml, sizeof(yaml), "log: {for: %s}\n", cases[i].matcher);
        assert_refused(yaml, cases[i].what);
    }
    assert_refused(
        "listen: {address: 127.0.0.1:1, name: tenants}\nlog: {for: {listener: tenant}}\n",
        "did you mean `tenants`?");
    assert_refused("log: {for: {listener: lan, except: {listener: lam}}}\n"
                   "listen: {address: 127.0.0.1:1, name: lan}\n",
                   "did you mean `lan`?");
    {
        char *many = malloc(2048);

        assert_non_null(many);
        snprintf(many, 2048, "log: {for: {path: '/%01100d+/'}}\n", 1);
        assert_refused(many, "the expression of `path` is longer than 1024 characters");
        free(many);
    }
}

static void test_many_names(void **state)
{
    enum { NAMES = 4097, CAP = NAMES * 3 + 128 };
    char *yaml = malloc(CAP);

    UNUSED(state);
    assert_non_null(yaml);
    strcpy(yaml, "listen: {address: 127.0.0.1:1, name: a}\nlog: {for: {listener: [a");
    for (int i = 1; i < NAMES; i++)
        strcat(yaml + (size_t)(i - 1) * 2 + 60, ",a");
    strcat(yaml, "]}}\n");
    assert_refused(yaml, "more than 4096 names of listeners");
    free(yaml);
}

/* ---- shapes ---- */

static void check_shape(const struct conf_shape *s, unsigned *n, unsigned depth)
{
    unsigned members = 0;

    assert_true(depth <= CONF_SHAPE_DEPTH);
    assert_true(s->type != OPTION_SECTION && s->type != OPTION_LISTEN && s->type != OPTION_ENTRY);
    assert_int_equal(s->type == OPTION_MAP, s->members != NULL);
    assert_int_equal(s->type == OPTION_DICT, s->of != NULL);
    if (s->type == OPTION_MAP || s->type == OPTION_DICT)
        assert_true(s->what && s->like);
    if (s->type == OPTION_WORD)
        assert_non_null(s->words);
    if (s->bare)
        assert_true(!s->bare->members && !s->bare->of);
    if (s->of)
        check_shape(s->of, n, depth + 1);
    for (const struct conf_member *m = s->members; m && m->key; m++) {
        members++;
        ++*n;
        assert_ptr_equal(conf_shape_member(s, slice_str(m->key)), m); /* none twice */
        assert_true(m->sentence[strlen(m->sentence) - 1] == '.');
        check_shape(m->shape, n, depth + 1);
    }
    assert_true(members <= CONF_MEMBERS_MAX);
    for (const char *const *need = s->needs; need && *need; need++)
        assert_non_null(conf_shape_member(s, slice_str(*need)));
}

/* The grammar of entries is small too, and every shape is sound and ends. */
static void test_shapes(void **state)
{
    unsigned n = 0, entries = 0;

    UNUSED(state);
    for (unsigned i = 0; i < conf_table_n; i++) {
        assert_int_equal(conf_table[i].type == OPTION_ENTRY, conf_table[i].shape != NULL);
        if (!conf_table[i].shape)
            continue;
        entries++;
        check_shape(conf_table[i].shape, &n, 0);
    }
    assert_true(entries > 10);
    assert_true(n > 100 && n < 500);
}

int main(void)
{
#define FILES_TEST(t) cmocka_unit_test_setup_teardown(t, conf_files_setup, conf_files_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_who_needs_clients),
        cmocka_unit_test(test_listener_faults),
        cmocka_unit_test(test_admin_and_control),
        cmocka_unit_test(test_logs),
        cmocka_unit_test(test_level_alone),
        cmocka_unit_test(test_log_faults),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_host_faults),
        cmocka_unit_test(test_words),
        FILES_TEST(test_any_and_nobody),
        FILES_TEST(test_host_file),
        cmocka_unit_test(test_word_faults),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_shapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
