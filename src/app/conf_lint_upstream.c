/* SPDX-License-Identifier: MIT */
/* conf_lint_upstream: looks at ways and at TLS towards others when all is known. Called by conf_check. Entries are compared with each other as rules are (conf_cover).
 * It must never warn of an entry that does something.
 */
#include "app/conf_lint_upstream.h"

#include "app/conf_cover.h"

enum { BUDGET = 300000 };

/* What the conditions of an entry would be in a rule; none of them: everything. */
static struct rule rule_of(const struct matcher *where, unsigned n)
{
    static const struct matcher nothing_asked;

    return (struct rule){.kind = RULE_ALLOW, .where = n ? where : &nothing_asked, .n_where = n ? n : 1};
}

static bool covers(struct conf_cover *c, const struct matcher *wide, unsigned n_wide, const struct matcher *narrow, unsigned n_narrow)
{
    struct rule by = rule_of(wide, n_wide), r = rule_of(narrow, n_narrow);

    return conf_cover_rule(c, &by, &r, COVER_ALL);
}

static bool takes_all(const struct route *r)
{
    struct conf_cover c = {.budget = 1000};

    return covers(&c, r->where, r->n_where, NULL, 0);
}

static bool has_parents(const struct route *r)
{
    for (unsigned i = 0; i < r->n_alternatives; i++)
        if (r->alternatives[i].n_hops)
            return true;
    return false;
}

/* ---- loops ---- */

static bool is_wildcard(const struct addr *a)
{
    static const struct in6_addr any6 = IN6ADDR_ANY_INIT;

    return a->sa.sa_family == AF_INET ? a->in.sin_addr.s_addr == INADDR_ANY : memcmp(&a->in6.sin6_addr, &any6, sizeof(any6)) == 0;
}

/* Whether the hop is at this address, as far as that can be said without looking anything up. */
static bool is_at(const struct hop *h, const struct addr *own)
{
    bool named = h->literal.sa.sa_family == AF_UNSPEC, same_family = h->literal.sa.sa_family == own->sa.sa_family;
    bool here = named ? slice_eq(h->host, SLICE("localhost")) : addr_is_loopback(&h->literal) || is_wildcard(&h->literal);
    struct addr a = h->literal;

    if (addr_port(own) != h->port)
        return false;
    if (!named) {
        addr_set_port(&a, h->port);
        if (addr_eq(&a, own))
            return true;
    }
    return here && (named || same_family) && (is_wildcard(own) || (addr_is_loopback(own) && (named || is_wildcard(&h->literal))));
}

static bool is_own(const struct conf *c, const struct hop *h)
{
    for (unsigned i = 0; i < c->n_listen; i++)
        if (c->listen[i].kind == CONF_LISTEN_TCP && is_at(h, &c->listen[i].addr))
            return true;
    for (unsigned i = 0; i < c->n_admin; i++)
        if (is_at(h, &c->admin[i]))
            return true;
    return false;
}

typedef void (*hop_fn)(struct conf_build *b, unsigned route, const struct hop *h);

static void each_hop(struct conf_build *b, unsigned i, hop_fn fn)
{
    const struct route *r = &b->conf->routes[i];

    for (unsigned k = 0; k < r->n_alternatives; k++)
        for (unsigned m = 0; m < r->alternatives[k].n_hops; m++)
            fn(b, i, &r->alternatives[k].hops[m]);
}

static void check_loop(struct conf_build *b, unsigned i, const struct hop *h)
{
    if (is_own(b->conf, h))
        conf_report_add(b->report, b->route_at[i], "name the proxy behind this one", "%s is this ginnel itself: requests would go round", h->text);
}

void conf_lint_upstream_loops(struct conf_build *b)
{
    for (unsigned i = 0; i < b->conf->n_routes; i++)
        each_hop(b, i, check_loop);
}

/* ---- what is never reached ---- */

static void never_reached(struct conf_build *b, size_t at, size_t earlier)
{
    conf_report_add(b->warnings, at, "remove it, or move it before that one", "this entry is never reached: the one in %s is about all that it is about",
                    conf_report_where(b->warnings, earlier, at));
}

/* True: nothing behind it is worth a look. */
static bool lint_end(struct conf_build *b, unsigned i)
{
    unsigned rest = b->conf->n_routes - i - 1;

    if (!takes_all(&b->conf->routes[i]))
        return false;
    if (rest)
        conf_report_add(b->warnings, b->route_at[i + 1], "move that one to the end", "%u %s of `upstream` %s never reached: the one in %s takes everything", rest,
                        rest == 1 ? "entry" : "entries", rest == 1 ? "is" : "are", conf_report_where(b->warnings, b->route_at[i], b->route_at[i + 1]));
    return true;
}

static void lint_reach(struct conf_build *b, struct conf_cover *c, unsigned i)
{
    const struct route *v = b->conf->routes;

    for (unsigned e = 0; e < i && c->budget; e++)
        if (covers(c, v[e].where, v[e].n_where, v[i].where, v[i].n_where)) {
            never_reached(b, b->route_at[i], b->route_at[e]);
            return;
        }
}

static void lint_origins(struct conf_build *b)
{
    const struct origin_entry *v = b->conf->origins;
    struct conf_cover c = {.budget = BUDGET};

    for (unsigned i = 1; i < b->conf->n_origins; i++)
        for (unsigned e = 0; e < i && c.budget; e++)
            if (covers(&c, v[e].where, v[e].n_where, v[i].where, v[i].n_where)) {
                never_reached(b, b->origin_at[i], b->origin_at[e]);
                break;
            }
}

/* ---- what is left open ---- */

static void lint_open(struct conf_build *b)
{
    const struct conf *c = b->conf;
    bool parents = false;

    for (unsigned i = 0; i < c->n_routes; i++) {
        parents = parents || has_parents(&c->routes[i]);
        if (takes_all(&c->routes[i]))
            return;
    }
    if (parents)
        conf_report_add(b->warnings, b->route_at[c->n_routes - 1], "`- deny` as the last entry closes that; `- direct` says that it is meant",
                        "what no entry of `upstream` is about goes direct, past the proxies");
}

/* ---- what cannot be known ---- */

static const char *hidden_word(const struct matcher *m)
{
    bool connect = false;

    for (unsigned i = 0; i < m->n_methods; i++)
        connect = connect || slice_eq(m->methods[i], SLICE("CONNECT"));
    return m->n_paths ? "path" : m->n_fields ? "header" : m->n_methods && !connect ? "method" : NULL;
}

static bool may_be_tunnel(const struct matcher *m)
{
    bool tls = !m->n_ports;

    for (unsigned i = 0; i < m->n_ports; i++)
        tls = tls || (m->ports[i].first <= 443 && 443 <= m->ports[i].last);
    return tls && (!m->schemes || m->schemes & MATCH_CONNECT);
}

static void lint_connect(struct conf_build *b, unsigned i)
{
    const struct route *r = &b->conf->routes[i];

    for (unsigned k = 0; k < r->n_where; k++)
        if (hidden_word(&r->where[k]) && may_be_tunnel(&r->where[k])) {
            conf_report_add(b->warnings, b->route_at[i], "`scheme: http` beside it says that no other requests are meant",
                            "nobody sees the `%s` inside a CONNECT: this entry matches none", hidden_word(&r->where[k]));
            return;
        }
}

/* The entry with parents that all names go to, unresolved; NULL: there is none, or some go another way. */
static const struct route *for_all_names(const struct conf *c)
{
    for (unsigned i = 0; i < c->n_routes; i++) {
        const struct route *r = &c->routes[i];

        if (!r->deny && (route_may_be_direct(r) || r->resolve))
            return NULL;
        if (has_parents(r) && takes_all(r))
            return r;
    }
    return NULL;
}

static bool wants_address(const struct matcher *m)
{
    return m && (m->has_to || !ranges_empty(&m->host_ranges));
}

static void lint_addresses(struct conf_build *b)
{
    const struct conf *c = b->conf;
    const struct route *all = for_all_names(c);

    for (unsigned i = 0; i < c->n_rules && all; i++) {
        const struct rule *r = &c->rules[i];
        bool wants = r->kind == RULE_DENY ? wants_address(r->with) : r->with && r->with->has_to;

        for (unsigned k = 0; k < r->n_where && r->kind == RULE_DENY; k++)
            wants = wants || wants_address(&r->where[k]);
        if (wants)
            conf_report_add(b->warnings, b->rule_at[i], "`resolve: local` in that entry looks them up, and sends the address that was judged",
                            "this rule is about addresses, and names are not looked up: all of them go to the proxies of %s", all->place);
    }
}

/* ---- who listens ---- */

static void lint_hop(struct conf_build *b, unsigned i, const struct hop *h)
{
    const struct origin_entry *e = h->tls ? origins_of_hop(b->conf->origins, b->conf->n_origins, h) : NULL;
    bool here = h->literal.sa.sa_family == AF_UNSPEC ? slice_eq(h->host, SLICE("localhost")) : addr_is_loopback(&h->literal);

    if (!h->tls && !here && h->authorization.n)
        conf_report_add(b->warnings, b->route_at[i], "https:// would hide it", "the password for %s goes there in clear text", h->text);
    if (e && !b->conf->tls_clients[e->tls].verify)
        conf_report_add(b->warnings, b->route_at[i], "`trust` may name the certificate that is expected", "whoever answers for %s is taken for it: `verify: no` in %s", h->text,
                        e->place);
}

void conf_lint_upstream(struct conf_build *b)
{
    struct conf_cover cover = {.budget = BUDGET};
    bool ended = false;

    for (unsigned i = 0; i < b->conf->n_routes; i++) {
        if (!ended)
            lint_reach(b, &cover, i);
        ended = ended || lint_end(b, i);
        lint_connect(b, i);
        each_hop(b, i, lint_hop);
    }
    lint_open(b);
    lint_addresses(b);
    lint_origins(b);
}
