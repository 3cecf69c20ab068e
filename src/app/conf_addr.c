/* SPDX-License-Identifier: MIT */
/* conf_addr: listeners, ranges of clients, DNS servers, the admin address. Called by the reader,
 * and by conf for --listen. Addresses are written, never looked up: the one name is localhost. What
 * does not parse is looked at again for a hint, because addresses are what people get wrong most.
 */
#include "app/conf_addr.h"

#include "app/conf_entry.h"
#include "app/conf_match.h"
#include "app/conf_matcher.h"
#include "app/conf_tls.h"
#include "app/conf_users.h"
#include "base/err.h"
#include "base/mem.h"
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

/* A listener with what it and its neighbours have in common; NULL: no memory. */
static struct conf_listen *add_listener(struct conf_build *b, struct slice text, size_t at)
{
    struct conf *c = b->conf;
    struct slice copy = arena_dup(b->arena, text);

    if (!c->listen)
        c->listen = arena_zalloc(b->arena, CONF_LISTEN_ROOM * sizeof(*c->listen));
    if (!c->listen || !copy.p) {
        conf_build_nomem(b);
        return NULL;
    }
    b->listen_at[c->n_listen] = at;
    c->listen[c->n_listen] =
        (struct conf_listen){.text = (char *)(uintptr_t)copy.p, .place = conf_build_place(b, at)};
    return &c->listen[c->n_listen++];
}

static void add_address(struct conf_build *b, struct addr addr, struct slice text, bool dflt,
                        size_t at)
{
    struct conf_listen *l = add_listener(b, text, at);

    if (!l)
        return;
    l->addr = addr;
    l->dflt = dflt;
}

static void add_socket(struct conf_build *b, struct slice path, struct slice text, size_t at)
{
    struct conf_listen *l = add_listener(b, text, at);

    if (!l)
        return;
    l->kind = CONF_LISTEN_UNIX;
    l->path = l->text + (text.n - path.n);
}

/* ::1 is there only if the machine has IPv6: nobody has written it. */
static void add_localhost(struct conf_build *b, struct slice text, uint16_t port, size_t at)
{
    struct addr a;

    addr_v4(&a, loopback4, port);
    add_address(b, a, text, false, at);
    addr_v6(&a, loopback6, port);
    add_address(b, a, text, true, at);
}

/* What somebody may have meant who wrote no address and port; the hint begins with it. */
static const char *listen_hint(struct conf_build *b, struct slice s)
{
    static const struct conf_kind kind = {.key = "listen", .type = OPTION_LISTEN};
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
        return r == ERR_RANGE ? "ports go from 0 to 65535" : conf_build_hint(b, &kind);
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
    if (err == ERR_RANGE)
        conf_report_add(b->report, at, "ports go from 0 to 65535", "`%s` is out of range: %s", key,
                        conf_report_quote(b->report, s));
    else
        conf_report_add(b->report, at, listen_hint(b, s),
                        "`%s` wants an address and a port, not %s", key,
                        conf_report_quote(b->report, s));
}

static void read_socket(struct conf_build *b, const char *key, struct slice s, size_t at)
{
    struct slice path = slice_skip(s, 5);

    if (conf_value_is_socket(path))
        add_socket(b, path, s, at);
    else
        conf_report_add(
            b->report, at,
            path.n > CONF_SOCKET_MAX ? "the path of a socket has at most 107 bytes"
                                     : "the path is absolute: unix:/run/ginnel/proxy.sock",
            "`%s` wants the path of a socket, not %s", key, conf_report_quote(b->report, s));
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
        read_socket(b, key, s, at);
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
        add_address(b, a, s, false, at);
}

void conf_addr_clear_listen(struct conf_build *b)
{
    b->conf->n_listen = 0;
}

void conf_addr_default_listen(struct conf_build *b)
{
    struct addr a;

    addr_v4(&a, loopback4, DEFAULT_PORT);
    add_address(b, a, SLICE("127.0.0.1:3128"), true, CONF_AT_NONE);
    addr_v6(&a, loopback6, DEFAULT_PORT);
    add_address(b, a, SLICE("[::1]:3128"), true, CONF_AT_NONE);
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
    struct conf_kind k = conf_kind_of(o);

    if (node->kind != CONF_NODE_LIST || node->first || node->open)
        return false;
    conf_report_add(b->report, node->at, conf_build_hint(b, &k), "`%s` is an empty list", k.key);
    return true;
}

/* ---- clients ---- */

static void read_clients(struct conf_build *b, const struct option_def *o,
                         const struct conf_node *node, struct conf_ranges *r)
{
    struct conf_kind k = conf_kind_of(o);
    struct slice text;

    if (is_empty_list(b, o, node))
        return;
    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i))
        if (conf_build_text(b, &k, i, &text))
            conf_match_range(b, &k, text, i->at, r);
}

static void check_any(struct conf_build *b, const struct conf_ranges *r)
{
    if (r->any && r->n)
        conf_report_add(b->report, r->any_at, "write `clients: any`, or the ranges without it",
                        "`any` beside ranges: it admits everybody");
}

static void free_ranges(void *p)
{
    ranges_done(p);
}

void conf_addr_clients(struct conf_build *b, const struct option_def *o,
                       const struct conf_node *node)
{
    struct conf_clients *c = &b->conf->clients;

    if (!c->set)
        c->place = conf_build_place(b, node->key->at);
    c->set = true;
    read_clients(b, o, node, &b->clients);
}

void conf_addr_finish_clients(struct conf_build *b)
{
    struct conf_clients *c = &b->conf->clients;

    check_any(b, &b->clients);
    c->any = b->clients.any;
    conf_match_ranges(b, &b->clients, &c->ranges);
    conf_build_finish(b, free_ranges, &c->ranges);
}

/* ---- items of `listen` ---- */

/* What stands in a map beside the address. */
struct listen_item {
    struct slice address;
    size_t address_at;
    bool addressed; /* or somebody tried, and has been told */
    const struct conf_node *name, *reasons, *clients, *users, *tls, *proxy;
    const struct option_def *name_def, *reasons_def, *clients_def;
};

/* Checked whatever the address is: all faults are shown at once. */
static void check_member(struct conf_build *b, const struct option_def *o,
                         const struct conf_node *m)
{
    struct conf_kind k = conf_kind_of(o);

    if (o->type == OPTION_ENTRY)
        conf_entry_check(b, k.key, o->shape, m, !o->unbuilt);
    else
        conf_entry_check_kind(b, &k, m);
}

static void take_member(struct conf_build *b, struct listen_item *item, const struct option_def *o,
                        const struct conf_node *m)
{
    struct conf_kind k = conf_kind_of(o);
    size_t before;

    if (strcmp(k.key, "address") == 0) {
        item->addressed = true;
        if (!conf_build_text(b, &k, m, &item->address))
            item->address = SLICE_NONE;
        item->address_at = m->at;
        return;
    }
    if (strcmp(k.key, "clients") == 0) { /* its ranges are checked while they are read */
        item->clients = m;
        item->clients_def = o;
        return;
    }
    before = conf_report_count(b->report);
    check_member(b, o, m);
    if (o->shape == &conf_shape_users && conf_report_count(b->report) == before && !m->open)
        item->users = m;
    if (o->shape == &conf_shape_listen_tls && conf_report_count(b->report) == before && !m->open)
        item->tls = m;
    if (o->shape == &conf_shape_proxy_protocol && conf_report_count(b->report) == before && !m->open)
        item->proxy = m;
    if (strcmp(k.key, "name") == 0) {
        item->name = m;
        item->name_def = o;
    } else if (strcmp(k.key, "reasons") == 0) {
        item->reasons = m;
        item->reasons_def = o;
    }
}

static void set_value(struct conf_build *b, const struct option_def *o, const struct conf_node *m,
                      struct conf_listen *l)
{
    if (m && m->kind == CONF_NODE_TEXT && !m->empty &&
        conf_value_set(o, m->text, b->arena, l) == ERR_NOMEM)
        conf_build_nomem(b);
}

/* The set is one, also where localhost makes two listeners. */
static void set_clients(struct conf_build *b, const struct listen_item *item, unsigned first)
{
    struct conf *c = b->conf;
    struct conf_clients clients = {.set = true};
    struct conf_ranges r = {0};
    struct ranges *shared;

    if (!item->clients)
        return;
    read_clients(b, item->clients_def, item->clients, &r);
    check_any(b, &r);
    clients.any = r.any;
    conf_match_ranges(b, &r, &clients.ranges);
    clients.place = conf_build_place(b, item->clients->key->at);
    shared = arena_zalloc(b->arena, sizeof(*shared));
    if (!shared) {
        ranges_done(&clients.ranges);
        conf_build_nomem(b);
        return;
    }
    *shared = clients.ranges;
    conf_build_finish(b, free_ranges, shared);
    for (unsigned i = first; i < c->n_listen; i++)
        c->listen[i].clients = clients;
}

static void set_users(struct conf_build *b, const struct listen_item *item, unsigned first)
{
    struct users *users = item->users && !b->report->nomem ? conf_users_make(b, item->users) : NULL;

    for (unsigned i = first; i < b->conf->n_listen; i++)
        b->conf->listen[i].users = users;
}

static void set_tls(struct conf_build *b, const struct listen_item *item, unsigned first)
{
    struct conf_tls *tls = item->tls && !b->report->nomem ? conf_tls_make(b, item->tls) : NULL;

    for (unsigned i = first; i < b->conf->n_listen; i++) {
        b->conf->listen[i].tls = tls;
        b->tls_wrong[i] = item->tls && !tls;
    }
}

static void set_proxy(struct conf_build *b, const struct listen_item *item, unsigned first)
{
    static const struct conf_kind k = {.key = "from", .type = OPTION_RANGE, .list = true};
    const struct conf_node *from = conf_node_member(item->proxy, "from");
    struct ranges *set = from ? arena_zalloc(b->arena, sizeof(*set)) : NULL;
    struct conf_ranges r = {0};

    if (!from)
        return;
    for (const struct conf_node *i = conf_node_first(from); i; i = conf_node_next(from, i))
        conf_match_range(b, &k, i->text, i->at, &r);
    if (r.any)
        conf_report_add(b->report, r.any_at, "write the balancers' addresses", "with `any` everybody could say who he is");
    if (!set) {
        conf_build_nomem(b);
        mem_free(r.v);
        mem_free(r.written);
        return;
    }
    conf_match_ranges(b, &r, set);
    conf_build_finish(b, free_ranges, set);
    for (unsigned i = first; i < b->conf->n_listen; i++)
        b->conf->listen[i].proxy_from = set;
}

static void read_listen_map(struct conf_build *b, const struct option_def *listen,
                            const struct conf_node *node)
{
    struct conf_build_seen seen = {0};
    struct listen_item item = {0};
    unsigned first = b->conf->n_listen;

    for (const struct conf_node *m = node->first; m; m = m->next) {
        const struct option_def *o = conf_build_member(b, listen, m, &seen);

        item.addressed = item.addressed || m->key->kind != CONF_NODE_TEXT ||
                         !conf_table_member(listen, m->key->text);
        if (o)
            take_member(b, &item, o, m);
    }
    if (!item.addressed && !node->open)
        conf_report_add(b->report, node->at, "write `address: 127.0.0.1:3128`",
                        "this item has no `address`");
    if (item.address.p)
        conf_addr_add_listen(b, "address", item.address, item.address_at);
    for (unsigned i = first; i < b->conf->n_listen; i++) {
        set_value(b, item.name_def, item.name, &b->conf->listen[i]);
        set_value(b, item.reasons_def, item.reasons, &b->conf->listen[i]);
        b->listen_name_at[i] = item.name ? item.name->at : CONF_AT_NONE;
    }
    set_clients(b, &item, first);
    set_users(b, &item, first);
    set_tls(b, &item, first);
    set_proxy(b, &item, first);
}

static void read_listen_item(struct conf_build *b, const struct option_def *o,
                             const struct conf_node *node)
{
    struct conf_kind k = conf_kind_of(o);
    struct slice text;

    if (node->kind == CONF_NODE_MAP)
        read_listen_map(b, o, node);
    else if (conf_build_text(b, &k, node, &text))
        conf_addr_add_listen(b, conf_table_key(o), text, node->at);
}

void conf_addr_listen(struct conf_build *b, const struct option_def *o,
                      const struct conf_node *node)
{
    if (!is_empty_list(b, o, node))
        each_item(b, o, node, read_listen_item);
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
    struct conf_kind k = conf_kind_of(o);
    struct slice text;
    struct addr addr;
    int r;

    if (!conf_build_text(b, &k, node, &text))
        return;
    r = parse_server(text, &addr);
    if (r == ERR_RANGE)
        conf_report_add(b->report, node->at, "ports go from 1 to 65535", "`%s` is out of range: %s",
                        conf_table_key(o), conf_report_quote(b->report, text));
    else if (r < 0)
        conf_build_wrong(b, &k, node->at, conf_report_quote(b->report, text),
                         conf_build_hint(b, &k));
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

/* ---- the admin address ---- */

static void add_admin(struct conf_build *b, size_t at, const struct addr *addr)
{
    struct conf *c = b->conf;

    if (!c->admin)
        c->admin = arena_zalloc(b->arena, (CONF_ADMIN_MAX + 1) * sizeof(*c->admin));
    if (!c->admin) {
        conf_build_nomem(b);
        return;
    }
    b->admin_at[c->n_admin] = at;
    c->admin[c->n_admin++] = *addr;
}

static void read_admin(struct conf_build *b, const struct option_def *o,
                       const struct conf_node *node)
{
    struct conf_kind k = conf_kind_of(o);
    struct slice text;
    struct addr addr;
    uint16_t port;

    if (!conf_build_text(b, &k, node, &text) || conf_value_word(o->words, text))
        return;
    if (b->conf->n_admin >= CONF_ADMIN_MAX) {
        conf_report_add(b->report, node->at, NULL, "`%s` has more than %d addresses", k.key,
                        CONF_ADMIN_MAX);
    } else if (parse_localhost(text, &port) == 0) {
        addr_v4(&addr, loopback4, port);
        add_admin(b, node->at, &addr);
        addr_v6(&addr, loopback6, port);
        add_admin(b, node->at, &addr);
    } else if (conf_match_value(b, &k, text, node->at) && addr_parse(text, &addr) == 0) {
        add_admin(b, node->at, &addr);
    }
}

static bool has_word(const struct option_def *o, const struct conf_node *node)
{
    for (const struct conf_node *i = node->first; i; i = i->next)
        if (i->kind == CONF_NODE_TEXT && conf_value_word(o->words, i->text))
            return true;
    return false;
}

void conf_addr_admin(struct conf_build *b, const struct option_def *o, const struct conf_node *node)
{
    if (is_empty_list(b, o, node))
        return;
    if (node->kind == CONF_NODE_LIST && has_word(o, node) && node->first->next)
        conf_report_add(b->report, node->at, "write `admin: off`, or the addresses",
                        "`off` beside addresses");
    each_item(b, o, node, read_admin);
}
