/* SPDX-License-Identifier: MIT */
/* conf_upstream: makes a route of every entry of `upstream`. Called by the reader. The entries are
 * checked as a whole first (conf_entry); only what is correct and built gets as far as here.
 */
#include "app/conf_upstream.h"

#include "app/conf_entry.h"
#include "app/conf_hop.h"
#include "app/conf_matcher.h"
#include "base/check.h"
#include "base/num.h"

static void read_bind(struct conf_build *b, const struct conf_node *node, struct route *r)
{
    unsigned n = conf_node_count(node);
    struct addr_range *v;

    if (n > CONF_BIND_MAX) {
        conf_report_add(b->report, node->at, "a range is one: 203.0.113.0/24",
                        "`bind` has more than %d addresses", CONF_BIND_MAX);
        return;
    }
    v = arena_zalloc(b->arena, n * sizeof(*v));
    if (!v) {
        conf_build_nomem(b);
        return;
    }
    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i))
        if (addr_range_parse(i->text, &v[r->n_bind]) == 0) /* else it was cut away, and reported */
            r->n_bind++;
    r->bind = v;
}

static void read_way(const struct conf_node *node, struct route *r)
{
    const struct conf_node *mark = conf_node_member(node, "mark"), *interface = conf_node_member(node, "interface");
    uint64_t v = 0;

    if (mark)
        CHECK(num_dec(mark->text, UINT32_MAX, &v) == 0);
    r->mark = (uint32_t)v;
    if (!interface)
        return;
    CHECK(interface->text.n < sizeof(r->interface));
    memcpy(r->interface, interface->text.p, interface->text.n);
}

/* ---- parents ---- */

static bool is_text(const struct conf_node *node, const char *text)
{
    return node->kind == CONF_NODE_TEXT && slice_eq(node->text, slice_str(text));
}

/* One hop; auth (may be NULL) is what stands beside the list it is in. */
static void read_hop(struct conf_build *b, const struct conf_node *node, const struct conf_node *auth, struct hop *h)
{
    const struct conf_node *url = node->kind == CONF_NODE_MAP ? conf_node_member(node, "url") : node, *own = conf_node_member(node, "auth");

    if (conf_hop_parse(b->arena, url->text, h) != CONF_HOP_OK) { /* it has been checked */
        conf_build_nomem(b);
        return;
    }
    h->place = conf_build_place(b, url->at);
    if (!h->tls && !conf_hop_has_port(url->text))
        conf_report_add(b->warnings, url->at, "proxies are mostly at 3128 or 8080", "port 80 of %s, as none is written", conf_report_quote(b->warnings, url->text));
    if (own || auth)
        conf_hop_auth(b, own ? own : auth, h);
}

static bool same_hop(const struct hop *a, const struct hop *b)
{
    return a->tls == b->tls && a->port == b->port && slice_eq(a->host, b->host);
}

static bool same_way(const struct alternative *a, const struct alternative *b)
{
    return a->n_hops == b->n_hops && (a->n_hops == 0 || same_hop(a->hops, b->hops));
}

static void check_repeated(struct conf_build *b, const struct route *r, const struct conf_node *item, unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (same_way(&r->alternatives[k], &r->alternatives[i])) {
            conf_report_add(b->report, item->at, "remove one of the two", "%s stands in `via` twice",
                            r->alternatives[i].n_hops ? r->alternatives[i].hops[0].text : "direct");
            return;
        }
}

/* The list's items; what is too many is reported. 0: nothing can be made of it. */
static unsigned count_hops(struct conf_build *b, const struct conf_node *node, unsigned max)
{
    unsigned n = conf_node_count(node);

    if (n == 0)
        conf_report_add(b->report, node->at, NULL, "`" SLICE_FMT "` is an empty list", SLICE_ARG(node->key->text));
    if (n > max)
        conf_report_add(b->report, node->at, NULL, "`" SLICE_FMT "` has more than %u proxies", SLICE_ARG(node->key->text), max);
    return n <= max ? n : 0;
}

static void read_via(struct conf_build *b, const struct conf_node *via, const struct conf_node *auth, struct route *r)
{
    unsigned n = count_hops(b, via, ROUTE_ALTERNATIVES_MAX), parents = 0;
    struct alternative *v = n ? arena_zalloc(b->arena, n * sizeof(*v)) : NULL;
    struct hop *h = n ? arena_zalloc(b->arena, n * sizeof(*h)) : NULL;

    if (n && (!v || !h)) {
        conf_build_nomem(b);
        return;
    }
    r->alternatives = v;
    for (const struct conf_node *i = conf_node_first(via); i && n && !b->report->nomem; i = conf_node_next(via, i)) {
        struct alternative *a = &v[r->n_alternatives];

        if (!is_text(i, "direct")) {
            a->hops = &h[r->n_alternatives];
            a->n_hops = 1;
            parents++;
            read_hop(b, i, auth, &h[r->n_alternatives]);
        }
        if (!b->report->nomem)
            check_repeated(b, r, i, r->n_alternatives++);
    }
    if (auth && n && parents == 0)
        conf_report_add(b->report, auth->key->at, "remove it", "`auth` without a proxy to show it to");
    if (r->resolve && n && parents == 0)
        conf_report_add(b->warnings, via->at, "remove it", "`resolve: local` where nothing goes to a proxy");
    if (parents == 0) /* direct alone is no choice */
        r->n_alternatives = 0;
}

static void read_chain(struct conf_build *b, const struct conf_node *chain, const struct conf_node *auth, struct route *r)
{
    unsigned n = count_hops(b, chain, ROUTE_HOPS_MAX), k = 0;
    struct alternative *a = n ? arena_zalloc(b->arena, sizeof(*a)) : NULL;
    struct hop *h = n ? arena_zalloc(b->arena, n * sizeof(*h)) : NULL;

    if (auth && n > 1)
        conf_report_add(b->report, auth->key->at, "write it beside the URL of the one that it is for: {url: …, auth: …}",
                        "`auth` beside a `chain` of several proxies");
    if (n && (!a || !h)) {
        conf_build_nomem(b);
        return;
    }
    for (const struct conf_node *i = conf_node_first(chain); i && n && !b->report->nomem; i = conf_node_next(chain, i))
        read_hop(b, i, auth, &h[k++]);
    if (!n)
        return;
    a->hops = h;
    a->n_hops = n;
    r->alternatives = a;
    r->n_alternatives = 1;
}

/* ---- entries ---- */

/* What a key says only beside another one, and what contradicts another one. */
static void check_words(struct conf_build *b, const struct conf_node *entry)
{
    static const char *const ways[] = {"via", "chain", "bind", "mark", "interface", "auth", "resolve"};
    const struct conf_node *via = conf_node_member(entry, "via"), *chain = conf_node_member(entry, "chain"), *auth = conf_node_member(entry, "auth"), *resolve = conf_node_member(entry, "resolve"),
                           *deny = conf_node_member(entry, "deny");
    bool on = false;

    if (via && chain)
        conf_report_add(b->report, chain->key->at, "`via` are alternatives, `chain` are one behind the other; make two entries of it",
                        "`via` and `chain` in one entry of `upstream`");
    if (auth && !via && !chain)
        conf_report_add(b->report, auth->key->at, "remove it", "`auth` without a proxy to show it to");
    if (resolve && !via && !chain && !deny)
        conf_report_add(b->report, resolve->key->at, "remove it: what goes direct is looked up here", "`resolve` without `via` or `chain`");
    if (deny && deny->kind == CONF_NODE_TEXT && conf_value_switch(deny->text, &on) == 0 && !on)
        conf_report_add(b->report, deny->key->at, "remove it", "`deny: no` says nothing");
    for (size_t i = 0; on && i < ARRAY_LEN(ways); i++) {
        const struct conf_node *way = conf_node_member(entry, ways[i]);

        if (way)
            conf_report_add(b->report, way->key->at, "remove one of the two", "`%s` beside `deny`: what is refused goes no way", ways[i]);
    }
}

static void read_word(const struct conf_node *node, struct route *r)
{
    r->deny = is_text(node, "deny"); /* else it is `direct` */
}

static void read_map(struct conf_build *b, const struct conf_node *node, struct route *r)
{
    const struct conf_node *bind = conf_node_member(node, "bind"), *where = conf_node_member(node, "for"), *via = conf_node_member(node, "via"), *chain = conf_node_member(node, "chain"),
                           *auth = conf_node_member(node, "auth"), *resolve = conf_node_member(node, "resolve");

    r->deny = conf_node_member(node, "deny");
    r->resolve = resolve && is_text(resolve, "local");
    if (via)
        read_via(b, via, auth, r);
    else if (chain)
        read_chain(b, chain, auth, r);
    if (bind)
        read_bind(b, bind, r);
    read_way(node, r);
    if (where && where->kind != CONF_NODE_BAD && !where->open)
        conf_matcher_build(b, where, &r->where, &r->n_where);
}

static void read_entry(struct conf_build *b, const struct conf_node *node, struct route *r)
{
    r->place = conf_build_place(b, node->at);
    r->turn = arena_zalloc(b->arena, sizeof(*r->turn));
    if (!r->turn)
        conf_build_nomem(b);
    if (node->kind == CONF_NODE_MAP)
        read_map(b, node, r);
    else
        read_word(node, r);
}

/* Room for n more entries, behind those of the files before. */
static struct route *grow(struct conf_build *b, unsigned n)
{
    struct conf *c = b->conf;
    size_t had = c->n_routes * sizeof(*c->routes);
    struct route *v = arena_grow(b->arena, c->routes, had, had + n * sizeof(*v));

    if (!v) {
        conf_build_nomem(b);
        return NULL;
    }
    c->routes = v;
    memset(&v[c->n_routes], 0, n * sizeof(*v));
    c->n_routes += n;
    return &v[c->n_routes - n];
}

/* Places of entries, for whoever compares them at the end. */
static bool note_places(struct conf_build *b, const struct conf_node *node, unsigned n)
{
    unsigned had = b->conf->n_routes;
    size_t *at = arena_grow(b->trees, b->route_at, had * sizeof(*at), (had + n) * sizeof(*at));

    if (!at) {
        conf_build_nomem(b);
        return false;
    }
    b->route_at = at;
    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i))
        at[had++] = i->at;
    return true;
}

void conf_upstream_read(struct conf_build *b, const struct option_def *o,
                        const struct conf_node *node)
{
    unsigned n = conf_node_count(node);
    size_t before = conf_report_count(b->report);
    struct route *r;
    bool right;

    right = conf_entry_check(b, conf_table_key(o), o->shape, node, true);
    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i))
        if (!i->open)
            check_words(b, i);
    if (!right || conf_report_count(b->report) != before || n == 0)
        return;
    if (n > CONF_ROUTES_MAX - b->conf->n_routes) {
        conf_report_add(b->report, node->at, NULL, "`upstream` has more than %d entries",
                        CONF_ROUTES_MAX);
        return;
    }
    r = note_places(b, node, n) ? grow(b, n) : NULL;
    for (const struct conf_node *i = conf_node_first(node); r && i && !b->report->nomem; i = conf_node_next(node, i))
        read_entry(b, i, r++);
}
