/* SPDX-License-Identifier: MIT */
/* conf_show_ways: entries of `upstream` and `origins`, as they would be written. Called by conf_show.
 */
#include "app/conf_show_parts.h"

#include "app/conf_shapes.h"
#include "app/conf_show_match.h"
#include "app/conf_value.h"

/* ---- ways ---- */

static void show_bind(struct conf_out *s, unsigned indent, const struct route *r)
{
    conf_out_list(s, indent, "bind");
    for (unsigned i = 0; i < r->n_bind; i++) {
        const struct addr_range *range = &r->bind[i];
        unsigned length = (unsigned)(__builtin_popcountll(range->mask_hi) +
                                     __builtin_popcountll(range->mask_lo));

        conf_out_prefix(s, indent, (conf_out_bits)range->hi << 64 | range->lo, range->v4 ? length - 96 : length,
                   range->v4);
    }
    conf_out_end(s);
}

static void show_mark(struct conf_out *s, unsigned indent, uint32_t mark)
{
    char text[CONF_VALUE_TEXT];

    conf_value_text(OPTION_COUNT, mark, text);
    conf_out_pair(s, indent, "mark", slice_str(text));
}

/* What is secret is not shown, only where it is. */
static void show_auth(struct conf_out *s, unsigned indent, const struct hop *h)
{
    if (!h->authorization.n)
        return;
    if (!h->credentials) {
        conf_out_comment(s, indent, "auth", "what is written in the configuration, which is not shown");
        return;
    }
    text_printf(&s->text, "%*sauth:\n%*sbasic:\n", (int)indent, "", (int)indent + CONF_OUT_STEP, "");
    conf_out_pair(s, indent + 2 * CONF_OUT_STEP, "file", slice_str(h->credentials));
}

static void show_hop(struct conf_out *s, unsigned indent, const struct hop *h)
{
    s->bullet = true;
    conf_out_pair(s, indent, "url", slice_str(h->text));
    show_auth(s, indent, h);
}

static void show_hops(struct conf_out *s, unsigned indent, const struct route *r)
{
    bool chain = r->n_alternatives == 1 && r->alternatives[0].n_hops > 1;

    conf_out_key(s, indent, chain ? "chain" : "via");
    conf_out_add(s, SLICE("\n"));
    for (unsigned i = 0; i < r->n_alternatives; i++) {
        const struct alternative *a = &r->alternatives[i];

        for (unsigned k = 0; k < a->n_hops; k++)
            show_hop(s, indent + 2 * CONF_OUT_STEP, &a->hops[k]);
        if (a->n_hops == 0)
            text_printf(&s->text, "%*s- direct\n", (int)indent + CONF_OUT_STEP, "");
    }
    if (r->resolve)
        conf_out_pair(s, indent, "resolve", SLICE("local"));
}

static void show_way(struct conf_out *s, unsigned indent, const struct route *r)
{
    s->bullet = true;
    if (r->deny)
        conf_out_pair(s, indent, "deny", SLICE("on"));
    else if (r->n_alternatives)
        show_hops(s, indent, r);
    else if (!r->n_bind && !r->mark && !r->interface[0])
        conf_out_pair(s, indent, "via", SLICE("direct"));
    if (r->n_bind)
        show_bind(s, indent, r);
    if (r->mark)
        show_mark(s, indent, r->mark);
    if (r->interface[0])
        conf_out_pair(s, indent, "interface", slice_str(r->interface));
    if (r->n_where)
        conf_show_matchers(s, indent, "for", r->where, r->n_where);
}

void conf_show_upstream(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:%s\n", o->path, c->n_routes ? "" : " []");
    for (unsigned i = 0; i < c->n_routes; i++)
        show_way(s, 2 * CONF_OUT_STEP, &c->routes[i]);
}

/* ---- TLS of what is reached ---- */

static void show_origin(struct conf_out *s, unsigned indent, const struct origin_entry *e, const struct conf *c)
{
    const struct tls_client_conf *t = &c->tls_clients[e->tls];
    const struct conf_tls_from *from = &c->tls_from[e->tls];

    s->bullet = true;
    if (e->n_where)
        conf_show_matchers(s, indent, "for", e->where, e->n_where);
    if (!t->verify)
        conf_out_pair(s, indent, "verify", SLICE("off"));
    if (from->has_trust)
        conf_show_trust(s, indent, from);
    if (t->min)
        conf_show_shape_word(s, indent, &conf_shape_origin, "min", (int)t->min);
    conf_show_alpn(s, indent, t->alpn);
    if (t->verify && !from->has_trust && !t->min && !from->cert && t->alpn != TLS_ALPN_H1 && t->alpn != TLS_ALPN_H2) /* all that is written */
        conf_out_pair(s, indent, "verify", SLICE("on"));
    if (!from->cert)
        return;
    conf_out_key(s, indent, "client");
    conf_out_add(s, SLICE("\n"));
    conf_out_pair(s, indent + CONF_OUT_STEP, "cert", slice_str(from->cert));
    conf_out_pair(s, indent + CONF_OUT_STEP, "key", slice_str(from->key));
}

void conf_show_origins(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:%s\n", o->path, c->n_origins ? "" : " []");
    for (unsigned i = 0; i < c->n_origins; i++)
        show_origin(s, 2 * CONF_OUT_STEP, &c->origins[i], c);
}
