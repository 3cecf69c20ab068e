/* SPDX-License-Identifier: MIT */
/* conf_upstream: makes a route of every entry of `upstream`. Called by the reader. The entries are
 * checked as a whole first (conf_entry); only what is correct and built gets as far as here.
 */
#include "app/conf_upstream.h"

#include "app/conf_entry.h"
#include "app/conf_matcher.h"
#include "base/check.h"
#include "base/num.h"

static unsigned count_items(const struct conf_node *node)
{
    unsigned n = 0;

    if (node->kind != CONF_NODE_LIST)
        return 1;
    for (const struct conf_node *i = node->first; i; i = i->next)
        n++;
    return n;
}

static void read_bind(struct conf_build *b, const struct conf_node *node, struct route *r)
{
    bool list = node->kind == CONF_NODE_LIST;
    unsigned n = count_items(node);
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
    for (const struct conf_node *i = list ? node->first : node; i; i = list ? i->next : NULL)
        if (addr_range_parse(i->text, &v[r->n_bind]) == 0) /* else it was cut away, and reported */
            r->n_bind++;
    r->bind = v;
}

static void read_way(const struct conf_node *node, struct route *r)
{
    const struct conf_node *mark = conf_matcher_member(node, "mark"), *interface = conf_matcher_member(node, "interface");
    uint64_t v = 0;

    if (mark)
        CHECK(num_dec(mark->text, UINT32_MAX, &v) == 0);
    r->mark = (uint32_t)v;
    if (!interface)
        return;
    CHECK(interface->text.n < sizeof(r->interface));
    memcpy(r->interface, interface->text.p, interface->text.n);
}

/* What stands in the place of an entry: a word, and none that is built. */
static void refuse_word(struct conf_build *b, const struct conf_node *node)
{
    if (node->kind == CONF_NODE_TEXT && !node->empty)
        conf_report_add(b->report, node->at, "remove it: ginnel never ignores what it is told",
                        "%s as an entry of `upstream` is not in this build",
                        conf_report_quote(b->report, node->text));
}

static void read_entry(struct conf_build *b, const struct conf_node *node, struct route *r)
{
    const struct conf_node *bind = conf_matcher_member(node, "bind"), *where = conf_matcher_member(node, "for");

    r->place = conf_build_place(b, node->at);
    r->turn = arena_zalloc(b->arena, sizeof(*r->turn));
    if (!r->turn)
        conf_build_nomem(b);
    if (bind)
        read_bind(b, bind, r);
    read_way(node, r);
    if (where && where->kind != CONF_NODE_BAD && !where->open)
        conf_matcher_build(b, where, &r->where, &r->n_where);
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

void conf_upstream_read(struct conf_build *b, const struct option_def *o,
                        const struct conf_node *node)
{
    bool list = node->kind == CONF_NODE_LIST;
    unsigned n = count_items(node);
    size_t before = conf_report_count(b->report);
    struct route *r;
    bool right;

    right = conf_entry_check(b, conf_table_key(o), o->shape, node, true);
    if (conf_report_count(b->report) == before)
        for (const struct conf_node *i = list ? node->first : node; i; i = list ? i->next : NULL)
            refuse_word(b, i);
    if (!right || conf_report_count(b->report) != before || n == 0)
        return;
    if (n > CONF_ROUTES_MAX - b->conf->n_routes) {
        conf_report_add(b->report, node->at, NULL, "`upstream` has more than %d entries",
                        CONF_ROUTES_MAX);
        return;
    }
    r = grow(b, n);
    for (const struct conf_node *i = list ? node->first : node; r && i; i = list ? i->next : NULL)
        read_entry(b, i, r++);
}
