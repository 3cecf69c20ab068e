/* SPDX-License-Identifier: MIT */
/* conf_addr: listeners, ranges of clients, DNS servers. Called by the reader, and by conf for
 * --listen. Addresses are written, never looked up: the one name is localhost. What does not parse
 * is looked at again for a hint, because addresses are what people get wrong most.
 */
#include "app/conf_addr.h"

#include "base/err.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { PORT_MAX = 65535, DNS_PORT = 53, DEFAULT_PORT = 3128 };

static const uint8_t loopback4[4] = {127, 0, 0, 1};
static const uint8_t loopback6[16] = {[15] = 1};

/* A literal: what inet_pton takes. */
struct literal {
    int family; /* AF_INET, AF_INET6; 0: it is none */
    uint8_t bytes[16];
};

static struct literal parse_literal(struct slice s)
{
    struct literal l = {0};
    char z[INET6_ADDRSTRLEN];

    if (s.n >= sizeof(z) || memchr(s.p, '\0', s.n))
        return l;
    memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    if (inet_pton(AF_INET, z, l.bytes) == 1)
        l.family = AF_INET;
    else if (inet_pton(AF_INET6, z, l.bytes) == 1)
        l.family = AF_INET6;
    return l;
}

static struct slice brackets_off(struct slice s)
{
    if (s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
        return slice_of(s.p + 1, s.n - 2);
    return s;
}

static inline bool begins(struct slice s, struct slice with)
{
    return s.n >= with.n && slice_eq_nocase(slice_of(s.p, with.n), with);
}

static inline bool contains(struct slice s, const char *what)
{
    return s.n && memmem(s.p, s.n, what, strlen(what)) != NULL;
}

/* ---- listeners ---- */

static void add_listener(struct conf_build *b, struct addr addr, struct slice text, bool dflt,
                         size_t at)
{
    struct conf *c = b->conf;
    struct slice copy = arena_dup(b->arena, text);

    if (!c->listen)
        c->listen = arena_zalloc(b->arena, CONF_LISTEN_ROOM * sizeof(*c->listen));
    if (!c->listen || !copy.p) {
        conf_build_nomem(b);
        return;
    }
    b->listen_at[c->n_listen] = at;
    c->listen[c->n_listen++] =
        (struct conf_listen){.addr = addr, .text = (char *)(uintptr_t)copy.p, .dflt = dflt};
}

/* ::1 is there only if the machine has IPv6: nobody has written it. */
static void add_localhost(struct conf_build *b, struct slice text, uint16_t port, size_t at)
{
    struct addr a;

    addr_v4(&a, loopback4, port);
    add_listener(b, a, text, false, at);
    addr_v6(&a, loopback6, port);
    add_listener(b, a, text, true, at);
}

/* What somebody may have meant who wrote no address and port; the hint begins with it. */
static const char *listen_hint(struct conf_build *b, const struct option_def *o, struct slice s)
{
    struct literal l = parse_literal(brackets_off(s));
    size_t colon = slice_find(s, ':');
    struct slice port = colon < s.n ? slice_skip(s, colon + 1) : s;
    uint64_t v;
    int r;

    if (l.family == AF_INET)
        return conf_report_say(b->report, "the port is missing: " SLICE_FMT ":3128", SLICE_ARG(s));
    if (l.family == AF_INET6)
        return "an IPv6 address stands in brackets, its port behind them: \"[::1]:3128\"";
    if (slice_eq_nocase(s, SLICE("localhost")))
        return "the port is missing: localhost:3128";
    if (contains(s, "//"))
        return "an address and a port only: 127.0.0.1:3128";
    r = num_dec(port, PORT_MAX, &v);
    if (r < 0)
        return r == ERR_RANGE ? "ports go from 0 to 65535" : conf_build_type_hint(o);
    if (colon == 0 || colon == s.n)
        return conf_report_say(b->report,
                               "write the address too: 127.0.0.1:" SLICE_FMT
                               ", or 0.0.0.0:" SLICE_FMT " for all of IPv4",
                               SLICE_ARG(port), SLICE_ARG(port));
    if (s.p[0] == '*')
        return conf_report_say(b->report,
                               "all addresses are 0.0.0.0:" SLICE_FMT " and \"[::]:" SLICE_FMT "\"",
                               SLICE_ARG(port), SLICE_ARG(port));
    return "names are not looked up; write the address";
}

static void wrong_listen(struct conf_build *b, const char *key, struct slice s, size_t at, int err)
{
    const struct option_def *o = conf_table_find(SLICE("listen"));

    if (err == ERR_RANGE)
        conf_report_add(b->report, at, "ports go from 0 to 65535", "`%s` is out of range: %s", key,
                        conf_report_quote(b->report, s));
    else
        conf_report_add(b->report, at, listen_hint(b, o, s),
                        "`%s` wants an address and a port, not %s", key,
                        conf_report_quote(b->report, s));
}

static int parse_localhost(struct slice s, uint16_t *ret_port)
{
    static const struct slice prefix = {"localhost:", 10};
    uint64_t port;
    int r;

    if (!begins(s, prefix))
        return ERR_NOTFOUND;
    r = num_dec(slice_skip(s, prefix.n), PORT_MAX, &port);
    if (r < 0)
        return r;
    *ret_port = (uint16_t)port;
    return 0;
}

void conf_addr_add_listen(struct conf_build *b, const char *key, struct slice s, size_t at)
{
    struct addr a;
    uint16_t port;
    int r;

    if (b->conf->n_listen >= CONF_LISTEN_MAX) {
        conf_report_add(b->report, at, NULL, "`%s` has more than %d addresses", key,
                        CONF_LISTEN_MAX);
        return;
    }
    if (begins(s, SLICE("unix:"))) {
        conf_report_add(b->report, at, "write an address and a port",
                        "`unix:` addresses are not in this build");
        return;
    }
    r = parse_localhost(s, &port);
    if (r == 0) {
        add_localhost(b, s, port, at);
        return;
    }
    if (r == ERR_NOTFOUND)
        r = addr_parse(s, &a);
    if (r < 0)
        wrong_listen(b, key, s, at, r);
    else
        add_listener(b, a, s, false, at);
}

void conf_addr_clear_listen(struct conf_build *b)
{
    b->conf->n_listen = 0;
}

void conf_addr_default_listen(struct conf_build *b)
{
    struct addr a;

    addr_v4(&a, loopback4, DEFAULT_PORT);
    add_listener(b, a, SLICE("127.0.0.1:3128"), true, CONF_AT_NONE);
    addr_v6(&a, loopback6, DEFAULT_PORT);
    add_listener(b, a, SLICE("[::1]:3128"), true, CONF_AT_NONE);
}

/* {address: …} */
static void read_listen_map(struct conf_build *b, const struct option_def *listen,
                            const struct conf_node *node)
{
    struct conf_build_seen seen = {0};
    bool addressed = false; /* or somebody tried, and has been told */

    for (const struct conf_node *m = node->first; m; m = m->next) {
        const struct option_def *o = conf_build_member(b, listen, m, &seen);
        struct slice text;

        addressed = addressed || o || m->key->kind != CONF_NODE_TEXT ||
                    !conf_table_member(listen, m->key->text);
        if (o && conf_build_text(b, o, m, &text))
            conf_addr_add_listen(b, conf_table_key(o), text, m->at);
    }
    if (!addressed && !node->open)
        conf_report_add(b->report, node->at, "write `address: 127.0.0.1:3128`",
                        "this item has no `address`");
}

static void read_listen_item(struct conf_build *b, const struct option_def *o,
                             const struct conf_node *node)
{
    struct slice text;

    if (node->kind == CONF_NODE_MAP)
        read_listen_map(b, o, node);
    else if (conf_build_text(b, o, node, &text))
        conf_addr_add_listen(b, conf_table_key(o), text, node->at);
}

/* ---- items, or one that stands for a list ---- */

typedef void (*item_fn)(struct conf_build *b, const struct option_def *o,
                        const struct conf_node *node);

static void each_item(struct conf_build *b, const struct option_def *o,
                      const struct conf_node *node, item_fn read)
{
    if (node->kind != CONF_NODE_LIST) {
        read(b, o, node);
        return;
    }
    for (const struct conf_node *i = node->first; i; i = i->next)
        read(b, o, i);
}

static bool is_empty_list(struct conf_build *b, const struct option_def *o,
                          const struct conf_node *node)
{
    if (node->kind != CONF_NODE_LIST || node->first || node->open)
        return false;
    conf_report_add(b->report, node->at, conf_build_type_hint(o), "`%s` is an empty list",
                    conf_table_key(o));
    return true;
}

void conf_addr_listen(struct conf_build *b, const struct option_def *o,
                      const struct conf_node *node)
{
    if (!is_empty_list(b, o, node))
        each_item(b, o, node, read_listen_item);
}

/* ---- clients ---- */

/* The range with the bits behind its prefix cleared, which is what was meant most of the time. */
static const char *range_hint(struct conf_build *b, const struct option_def *o, struct slice s)
{
    size_t slash = slice_find(s, '/');
    struct literal l = parse_literal(slice_of(s.p, slash));
    char text[INET6_ADDRSTRLEN];
    uint64_t prefix;

    if (!l.family || slash == s.n)
        return conf_build_type_hint(o);
    if (num_dec(slice_skip(s, slash + 1), l.family == AF_INET ? 32 : 128, &prefix) < 0)
        return l.family == AF_INET ? "a prefix goes from 0 to 32" : "a prefix goes from 0 to 128";
    for (unsigned bit = (unsigned)prefix; bit < (l.family == AF_INET ? 32u : 128u); bit++)
        l.bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
    inet_ntop(l.family, l.bytes, text, sizeof(text));
    return conf_report_say(b->report, "bits behind the prefix are zero: %s/%u", text,
                           (unsigned)prefix);
}

static const char *clients_hint(struct conf_build *b, const struct option_def *o, struct slice s)
{
    if (contains(s, "/"))
        return range_hint(b, o, s);
    if (slice_eq(s, SLICE("*")) || slice_eq_nocase(s, SLICE("all")) ||
        slice_eq_nocase(s, SLICE("any")) || slice_eq_nocase(s, SLICE("everybody")))
        return "everybody is `any`";
    if (slice_eq_nocase(s, SLICE("localhost")))
        return "write 127.0.0.0/8 and \"::1\"";
    return conf_build_type_hint(o);
}

static void add_range(struct conf_build *b, const struct addr_range *range)
{
    struct conf *c = b->conf;
    size_t had = c->n_clients * sizeof(*c->clients);
    void *p = c->clients;

    /* Powers of two only: the array grows by doubling. */
    if ((c->n_clients & (c->n_clients - 1)) == 0)
        p = arena_grow(b->arena, p, had, had ? had * 2 : sizeof(*c->clients));
    if (!p) {
        conf_build_nomem(b);
        return;
    }
    c->clients = p;
    c->clients[c->n_clients++] = *range;
}

static void read_range(struct conf_build *b, const struct option_def *o,
                       const struct conf_node *node)
{
    struct addr_range range;
    struct slice text;
    int r;

    if (!conf_build_text(b, o, node, &text))
        return;
    if (slice_eq(text, SLICE("any"))) {
        b->conf->clients_any = true;
        return;
    }
    r = addr_range_parse(text, &range);
    if (r == ERR_RANGE)
        conf_report_add(b->report, node->at, range_hint(b, o, text), "%s is not a range",
                        conf_report_quote(b->report, text));
    else if (r < 0)
        conf_build_wrong(b, o, node->at, conf_report_quote(b->report, text),
                         clients_hint(b, o, text));
    else
        add_range(b, &range);
}

void conf_addr_ranges(struct conf_build *b, const struct option_def *o,
                      const struct conf_node *node)
{
    b->conf->clients_set = true;
    if (is_empty_list(b, o, node))
        return;
    each_item(b, o, node, read_range);
    if (b->conf->clients_any && b->conf->n_clients)
        conf_report_add(b->report, node->at, "write `clients: any`, or the ranges without it",
                        "`any` beside ranges: it admits everybody");
}

/* ---- DNS servers ---- */

static int parse_server(struct slice s, struct addr *ret_addr)
{
    struct addr a;
    int r;

    if (addr_parse_host(s, DNS_PORT, ret_addr) == 0)
        return 0;
    r = addr_parse(s, &a);
    if (r < 0)
        return r;
    if (addr_port(&a) == 0)
        return ERR_RANGE;
    *ret_addr = a;
    return 0;
}

static unsigned count_servers(const struct conf *c)
{
    unsigned n = 0;

    while (c->resolve.servers[n])
        n++;
    return n;
}

static void add_server(struct conf_build *b, const struct option_def *o, size_t at,
                       const struct addr *addr)
{
    unsigned n = count_servers(b->conf);
    const char **v = (const char **)(uintptr_t)b->conf->resolve.servers;
    char text[ADDR_TEXT_MAX];
    struct slice copy;

    if (n == CONF_SERVERS_MAX) {
        conf_report_add(b->report, at, NULL, "`%s` has more than %d addresses", conf_table_key(o),
                        CONF_SERVERS_MAX);
        return;
    }
    copy = arena_dup(b->arena, slice_of(text, addr_text(addr, text)));
    if (!copy.p)
        conf_build_nomem(b);
    else
        v[n] = copy.p;
}

static void read_server(struct conf_build *b, const struct option_def *o,
                        const struct conf_node *node)
{
    struct slice text;
    struct addr addr;
    int r;

    if (!conf_build_text(b, o, node, &text))
        return;
    r = parse_server(text, &addr);
    if (r == ERR_RANGE)
        conf_report_add(b->report, node->at, "ports go from 1 to 65535", "`%s` is out of range: %s",
                        conf_table_key(o), conf_report_quote(b->report, text));
    else if (r < 0)
        conf_build_wrong(b, o, node->at, conf_report_quote(b->report, text),
                         conf_build_type_hint(o));
    else
        add_server(b, o, node->at, &addr);
}

void conf_addr_servers(struct conf_build *b, const struct option_def *o,
                       const struct conf_node *node)
{
    b->conf->resolve.servers =
        arena_zalloc(b->arena, (CONF_SERVERS_MAX + 1) * sizeof(*b->conf->resolve.servers));
    if (!b->conf->resolve.servers) {
        conf_build_nomem(b);
        return;
    }
    each_item(b, o, node, read_server);
}
