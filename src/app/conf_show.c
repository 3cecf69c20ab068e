/* SPDX-License-Identifier: MIT */
/* conf_show: the way back from a conf to a file. Called by `config show` and for the control
 * socket's /config. Which keys there are, their order and their words come from the table; a key
 * whose value has a place of its own in the conf has a function here. What nobody has set stays a
 * comment, for writing it would make it set. Lists come block-wise, an item a line: one from a list
 * file may have many. Included files and list files are shown as what they held.
 */
#include "app/conf_show.h"

#include "app/conf_limits.h"
#include "app/conf_policy.h"
#include "app/conf_show_match.h"
#include "app/conf_table.h"
#include "app/conf_value.h"
#include "app/text.h"
#include "base/check.h"

#include <stdio.h>

/* ---- values with an offset ---- */

static const char *word_of(const struct option_word *w, int value)
{
    for (; w && w->text; w++)
        if (w->value == value)
            return w->text;
    return NULL;
}

static void show_number(struct conf_out *s, unsigned indent, const struct option_def *o, uint64_t v)
{
    const char *word = v <= INT32_MAX ? word_of(o->words, (int)v) : NULL;
    char text[CONF_VALUE_TEXT];

    if (o->type == OPTION_RATE && !o->min) /* numbers are meant */
        snprintf(text, sizeof(text), "%llu/s", (unsigned long long)v);
    else
        conf_value_text(o->type, v, text);
    conf_out_pair(s, indent, conf_table_key(o), slice_str(word ? word : text));
}

static void show_word(struct conf_out *s, unsigned indent, const struct option_def *o, int v)
{
    const char *word = word_of(o->words, v);

    if (word)
        conf_out_pair(s, indent, conf_table_key(o), slice_str(word));
    else
        conf_out_comment(s, indent, conf_table_key(o), o->dflt_says ? o->dflt_says : "");
}

static void show_placed(struct conf_out *s, unsigned indent, const struct option_def *o,
                        const void *base)
{
    const char *at = (const char *)base + o->offset;

    switch (o->type) {
    case OPTION_SWITCH:
        conf_out_pair(s, indent, conf_table_key(o), *(const bool *)at ? SLICE("on") : SLICE("off"));
        break;
    case OPTION_WORD:
        show_word(s, indent, o, *(const int *)(const void *)at);
        break;
    case OPTION_COUNT:
        show_number(s, indent, o, *(const uint32_t *)(const void *)at);
        break;
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_RATE:
        show_number(s, indent, o, *(const uint64_t *)(const void *)at);
        break;
    case OPTION_TOKEN:
        conf_out_pair(s, indent, conf_table_key(o), slice_str(at));
        break;
    default:
        CHECK(false); /* a new type of the table wants its line here */
    }
}

/* ---- values with a place of their own ---- */

static void show_clients_of(struct conf_out *s, unsigned indent, const struct option_def *o,
                            const struct conf_clients *c)
{
    if (!c->set)
        conf_out_comment(s, indent, conf_table_key(o), o->dflt_says);
    else if (c->any)
        conf_out_pair(s, indent, conf_table_key(o), SLICE("any"));
    else
        conf_out_range_list(s, indent, conf_table_key(o), &c->ranges);
}

static void show_clients(struct conf_out *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    show_clients_of(s, indent, o, &c->clients);
}

static void show_include(struct conf_out *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    UNUSED(c);
    conf_out_comment(s, indent, conf_table_key(o), "what it named is part of this");
}

static void show_servers(struct conf_out *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    conf_out_list(s, indent, conf_table_key(o));
    for (unsigned i = 0; c->resolve.servers && c->resolve.servers[i]; i++)
        conf_out_item(s, indent, slice_str(c->resolve.servers[i]));
    conf_out_end(s);
}

static void show_admin(struct conf_out *s, unsigned indent, const struct option_def *o,
                       const struct conf *c)
{
    char text[ADDR_TEXT_MAX];

    if (c->n_admin == 0) {
        conf_out_pair(s, indent, conf_table_key(o), SLICE("off"));
        return;
    }
    conf_out_list(s, indent, conf_table_key(o));
    for (unsigned i = 0; i < c->n_admin; i++)
        conf_out_item(s, indent, slice_of(text, addr_text(&c->admin[i], text)));
    conf_out_end(s);
}

static void show_control(struct conf_out *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    char text[512];

    switch (c->control) {
    case CONF_CONTROL_DEFAULT:
        snprintf(text, sizeof(text), "unix:");
        break;
    case CONF_CONTROL_OFF:
        snprintf(text, sizeof(text), "off");
        break;
    case CONF_CONTROL_PATH:
        snprintf(text, sizeof(text), "unix:%.400s", c->control_path);
        break;
    }
    conf_out_pair(s, indent, conf_table_key(o), slice_str(text));
}

static void show_private(struct conf_out *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    const char *why = c->private_why;
    enum guard_mode mode = c->private_in_force;
    char text[512];

    if (c->private != GUARD_DEFAULT) {
        show_word(s, indent, o, c->private);
        return;
    }
    if (mode == GUARD_DEFAULT)
        mode = conf_policy_private(c, conf_policy_reaches_out(c), &why);
    snprintf(text, sizeof(text), "%s, since %s", word_of(o->words, mode), why);
    conf_out_comment(s, indent, conf_table_key(o), text);
}


static void show_open_ports(struct conf_out *s, unsigned indent, const struct option_def *o,
                            const struct conf *c)
{
    if (!c->has_ports)
        conf_out_comment(s, indent, conf_table_key(o), o->dflt_says);
    else if (c->n_ports == 0)
        conf_out_pair(s, indent, conf_table_key(o), SLICE("any"));
    else
        conf_show_ports(s, indent, conf_table_key(o), c->ports, c->n_ports);
}

static void show_trust_of(struct conf_out *s, unsigned indent, const struct conf_tls_from *from)
{
    if (from->n_trust == 0) {
        conf_out_pair(s, indent, "trust", SLICE("system"));
        return;
    }
    conf_out_list(s, indent, "trust");
    for (unsigned i = 0; i < from->n_trust; i++)
        conf_out_item(s, indent, slice_str(from->trust[i]));
    conf_out_end(s);
}

static void show_trust(struct conf_out *s, unsigned indent, const struct option_def *o, const struct conf *c)
{
    UNUSED(o);
    show_trust_of(s, indent, &c->tls_from[0]);
}

static const struct {
    const char *path;
    void (*show)(struct conf_out *s, unsigned indent, const struct option_def *o, const struct conf *c);
} own_places[] = {
    {"clients", show_clients}, {"include", show_include}, {"resolver.servers", show_servers},
    {"admin", show_admin},     {"control", show_control}, {"private", show_private}, {"ports", show_open_ports},
    {"trust", show_trust},
};

static void show_leaf(struct conf_out *s, unsigned indent, const struct option_def *o,
                      const struct conf *c)
{
    for (size_t i = 0; i < ARRAY_LEN(own_places); i++)
        if (strcmp(o->path, own_places[i].path) == 0) {
            own_places[i].show(s, indent, o, c);
            return;
        }
    CHECK(o->offset != OPTION_NOWHERE); /* a key with a place of its own wants its line above */
    show_placed(s, indent, o, c);
}

/* ---- listeners ---- */

static const struct option_def *option(const char *path)
{
    const struct option_def *o = conf_table_find(slice_str(path));

    CHECK(o);
    return o;
}

/* ---- users ---- */

static void show_duration(struct conf_out *s, unsigned indent, const char *key, uint64_t ms)
{
    char text[CONF_VALUE_TEXT];

    conf_value_text(OPTION_DURATION, ms, text);
    conf_out_pair(s, indent, key, slice_str(text));
}

static void show_program(struct conf_out *s, unsigned indent, const struct users *u)
{
    char number[16];

    conf_out_list(s, indent, "command");
    for (unsigned i = 0; u->argv[i]; i++)
        conf_out_item(s, indent, slice_str(u->argv[i]));
    conf_out_end(s);
    snprintf(number, sizeof(number), "%u", u->children);
    conf_out_pair(s, indent, "children", slice_str(number));
    snprintf(number, sizeof(number), "%u", u->concurrency);
    conf_out_pair(s, indent, "concurrency", slice_str(number));
    show_duration(s, indent, "timeout", u->timeout_ms);
}

/* Names and hashes stay in their files. */
static void show_who(struct conf_out *s, unsigned indent, const struct users *u)
{
    text_printf(&s->text, "%*susers:\n", (int)indent, "");
    indent += CONF_OUT_STEP;
    if (u->file)
        conf_out_pair(s, indent, "file", slice_str(u->file));
    if (u->by_program)
        show_program(s, indent, u);
    if (u->groups_file)
        conf_out_pair(s, indent, "groups", slice_str(u->groups_file));
    conf_out_pair(s, indent, "ask", u->when_needed ? SLICE("when-needed") : SLICE("always"));
    show_duration(s, indent, "cache", u->cache_ms);
}

/* ---- TLS ---- */

static void show_files(struct conf_out *s, unsigned indent, const struct conf_tls_files *f)
{
    conf_out_pair(s, indent, "cert", slice_str(f->cert));
    if (f->key)
        conf_out_pair(s, indent, "key", slice_str(f->key));
    if (f->staple)
        conf_out_pair(s, indent, "ocsp", slice_str(f->staple));
}

static void show_tls_word(struct conf_out *s, unsigned indent, const char *key, int value)
{
    const char *word = word_of(conf_shape_member(&conf_shape_listen_tls, slice_str(key))->shape->words, value);

    if (word)
        conf_out_pair(s, indent, key, slice_str(word));
}

static void show_tls_clients(struct conf_out *s, unsigned indent, const struct conf_tls *t)
{
    if (!t->clients)
        return;
    conf_out_pair(s, indent, "client-ca", slice_str(t->client_ca_file));
    show_tls_word(s, indent, "client", t->clients);
    show_tls_word(s, indent, "client-name", t->names.part);
    if (t->map_file)
        conf_out_pair(s, indent, "client-map", slice_str(t->map_file));
}

static void show_tls(struct conf_out *s, unsigned indent, const struct conf_tls *t)
{
    text_printf(&s->text, "%*stls:\n", (int)indent, "");
    indent += CONF_OUT_STEP;
    if (t->self_signed)
        conf_out_pair(s, indent, "auto", SLICE("on"));
    else
        show_files(s, indent, &t->files[0]);
    if (t->n_pairs > 1) {
        text_printf(&s->text, "%*smore:\n", (int)indent, "");
        for (unsigned i = 1; i < t->n_pairs; i++) {
            s->bullet = true;
            show_files(s, indent + 2 * CONF_OUT_STEP, &t->files[i]);
        }
    }
    show_tls_clients(s, indent, t);
    show_tls_word(s, indent, "min", t->min);
    if (t->tickets == CONF_TICKETS_FILE)
        conf_out_pair(s, indent, "tickets", slice_str(t->tickets_file));
    else
        show_tls_word(s, indent, "tickets", t->tickets);
    conf_out_pair(s, indent, "clear", t->clear ? SLICE("on") : SLICE("off"));
}

static void show_balancers(struct conf_out *s, unsigned indent, const struct ranges *from)
{
    text_printf(&s->text, "%*sproxy-protocol:\n", (int)indent, "");
    conf_out_range_list(s, indent + CONF_OUT_STEP, "from", from);
}

/* localhost is one item in the file and two listeners in the conf. */
static bool is_of_same_item(const struct conf_listen *a, const struct conf_listen *b)
{
    return strcmp(a->text, b->text) == 0 && a->place && b->place && strcmp(a->place, b->place) == 0;
}

static void show_listener(struct conf_out *s, const struct conf_listen *l)
{
    s->bullet = true;
    conf_out_pair(s, 2 * CONF_OUT_STEP, "address", slice_str(l->text));
    if (l->name)
        conf_out_pair(s, 2 * CONF_OUT_STEP, "name", slice_str(l->name));
    if (l->clients.set)
        show_clients_of(s, 2 * CONF_OUT_STEP, option("listen.clients"), &l->clients);
    if (l->users)
        show_who(s, 2 * CONF_OUT_STEP, l->users);
    if (l->reasons != REASONS_DEFAULT)
        show_word(s, 2 * CONF_OUT_STEP, option("listen.reasons"), l->reasons);
    if (l->tls)
        show_tls(s, 2 * CONF_OUT_STEP, l->tls);
    if (l->proxy_from)
        show_balancers(s, 2 * CONF_OUT_STEP, l->proxy_from);
}

static void show_listen(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    bool given = false;

    for (unsigned i = 0; i < c->n_listen; i++)
        given = given || !c->listen[i].dflt;
    if (!given) {
        conf_out_comment(s, 0, o->path, c->n_listen ? o->dflt_says : "sockets that were handed over");
        return;
    }
    text_printf(&s->text, "%s:\n", o->path);
    for (unsigned i = 0; i < c->n_listen; i++)
        if (i == 0 || !is_of_same_item(&c->listen[i - 1], &c->listen[i]))
            show_listener(s, &c->listen[i]);
}

/* ---- logs ---- */

static void sink_text(const struct access_output *o, char *out, size_t cap)
{
    char addr[ADDR_TEXT_MAX];

    out[0] = '\0';
    switch (o->sink) {
    case ACCESS_STDERR:
        snprintf(out, cap, "stderr");
        break;
    case ACCESS_STDOUT:
        snprintf(out, cap, "stdout");
        break;
    case ACCESS_FILE:
        snprintf(out, cap, "%s", o->path);
        break;
    case ACCESS_SYSLOG_UNIX:
        if (o->path && strcmp(o->path, "/dev/log") != 0)
            snprintf(out, cap, "syslog:%s", o->path);
        else
            snprintf(out, cap, "syslog");
        break;
    case ACCESS_SYSLOG_UDP:
        addr_text(&o->udp, addr);
        snprintf(out, cap, "syslog:%s", addr);
        break;
    }
}

static void show_tunnels(struct conf_out *s, unsigned indent, const struct access_output *o)
{
    char every[CONF_VALUE_TEXT], text[CONF_VALUE_TEXT + 8];

    if (o->tunnels != ACCESS_EVERY) {
        show_word(s, indent, option("log.tunnels"), o->tunnels);
        return;
    }
    conf_value_text(OPTION_DURATION, o->every_ms, every);
    snprintf(text, sizeof(text), "every %s", every);
    conf_out_pair(s, indent, "tunnels", slice_str(text));
}

static void show_output(struct conf_out *s, const struct access_output *o)
{
    unsigned indent = 2 * CONF_OUT_STEP;
    char text[4096 + 16];

    s->bullet = true;
    sink_text(o, text, sizeof(text));
    conf_out_pair(s, indent, "access", slice_str(text));
    show_word(s, indent, option("log.format"), o->layout);
    show_tunnels(s, indent, o);
    if (o->n_where)
        conf_show_matchers(s, indent, "for", o->where, o->n_where);
}

static void show_log(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:\n", o->path);
    for (unsigned i = 0; i < c->n_outputs; i++)
        show_output(s, &c->outputs[i]);
    if (c->n_outputs == 0) {
        s->bullet = true;
        conf_out_pair(s, 2 * CONF_OUT_STEP, "access", SLICE("off"));
    }
    show_word(s, 2 * CONF_OUT_STEP, option("log.level"), c->log_level);
}

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

static void show_upstream(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:%s\n", o->path, c->n_routes ? "" : " []");
    for (unsigned i = 0; i < c->n_routes; i++)
        show_way(s, 2 * CONF_OUT_STEP, &c->routes[i]);
}

/* ---- TLS ---- */

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
        show_trust_of(s, indent, from);
    if (t->min)
        conf_out_pair(s, indent, "min", slice_str(word_of(conf_shape_member(&conf_shape_origin, SLICE("min"))->shape->words, (int)t->min)));
    if (t->verify && !from->has_trust && !t->min && !from->cert) /* all that is written */
        conf_out_pair(s, indent, "verify", SLICE("on"));
    if (!from->cert)
        return;
    conf_out_key(s, indent, "client");
    conf_out_add(s, SLICE("\n"));
    conf_out_pair(s, indent + CONF_OUT_STEP, "cert", slice_str(from->cert));
    conf_out_pair(s, indent + CONF_OUT_STEP, "key", slice_str(from->key));
}

static void show_origins(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:%s\n", o->path, c->n_origins ? "" : " []");
    for (unsigned i = 0; i < c->n_origins; i++)
        show_origin(s, 2 * CONF_OUT_STEP, &c->origins[i], c);
}

/* ---- rules ---- */

static void show_rule_word(struct conf_out *s, unsigned indent, const char *key, int value)
{
    const char *word = word_of(conf_shape_member(&conf_shape_rule, slice_str(key))->shape->words, value);

    if (word)
        conf_out_pair(s, indent, key, slice_str(word));
}

static void show_rule(struct conf_out *s, unsigned indent, const struct rule *r)
{
    s->bullet = true;
    conf_show_matchers(s, indent, r->kind == RULE_ALLOW ? "allow" : "deny", r->where, r->n_where);
    if (r->with) {
        conf_show_words(s, indent, r->with);
        conf_show_except(s, indent, r->with);
    }
    if (r->name)
        conf_out_pair(s, indent, "name", slice_str(r->name));
    if (r->sni != SNI_DEFAULT)
        show_rule_word(s, indent, "sni", r->sni);
    if (r->expect != EXPECT_DEFAULT)
        show_rule_word(s, indent, "expect", r->expect);
    if (r->report)
        show_rule_word(s, indent, "mode", true);
    if (r->say)
        conf_out_pair(s, indent, "say", slice_str(r->say));
}

static void show_rules(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    if (!c->has_rules) {
        conf_out_comment(s, 0, o->path, o->dflt_says);
        return;
    }
    text_printf(&s->text, "%s:%s\n", o->path, c->n_rules ? "" : " []");
    for (unsigned i = 0; i < c->n_rules; i++)
        show_rule(s, 2 * CONF_OUT_STEP, &c->rules[i]);
}

/* ---- limits ---- */

/* As an option of the shape's type would be. */
static void show_amount(struct conf_out *s, unsigned indent, const char *key, uint64_t v)
{
    const struct conf_shape *shape = conf_shape_member(&conf_shape_limit, slice_str(key))->shape;
    char text[CONF_VALUE_TEXT];

    if (!v)
        return;
    if (shape->type == OPTION_RATE && !shape->min)
        snprintf(text, sizeof(text), "%llu/s", (unsigned long long)v);
    else
        conf_value_text(shape->type, v, text);
    conf_out_pair(s, indent, key, slice_str(text));
}

static void show_limit(struct conf_out *s, unsigned indent, const struct limit *l)
{
    char quota[CONF_QUOTA_TEXT];

    s->bullet = true;
    if (l->n_where)
        conf_show_matchers(s, indent, "for", l->where, l->n_where);
    if (l->per != PER_ALL)
        conf_out_pair(s, indent, "per", slice_str(word_of(conf_shape_member(&conf_shape_limit, SLICE("per"))->shape->words, (int)l->per)));
    show_amount(s, indent, "requests", l->requests);
    show_amount(s, indent, "burst", l->burst);
    if (l->pace)
        conf_out_pair(s, indent, "pace", SLICE("on"));
    show_amount(s, indent, "bandwidth", l->bandwidth);
    show_amount(s, indent, "bandwidth-up", l->bandwidth_up);
    show_amount(s, indent, "bandwidth-down", l->bandwidth_down);
    show_amount(s, indent, "tunnels", l->tunnels);
    if (l->quota) {
        conf_limits_quota_text(l, quota);
        conf_out_pair(s, indent, "quota", slice_str(quota));
    }
    if (l->slow)
        conf_out_pair(s, indent, "at-limit", SLICE("slow"));
    show_amount(s, indent, "upload", l->upload);
    show_amount(s, indent, "download", l->download);
    if (l->name)
        conf_out_pair(s, indent, "name", slice_str(l->name));
}

static void show_limits(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:%s\n", o->path, c->n_limits ? "" : " []");
    for (unsigned i = 0; i < c->n_limits; i++)
        show_limit(s, 2 * CONF_OUT_STEP, &c->limits[i]);
}

static void show_policy(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:\n", o->path);
    conf_out_pair(s, CONF_OUT_STEP, "mode", c->report ? SLICE("report") : SLICE("enforce"));
    conf_out_pair(s, CONF_OUT_STEP, "recheck", c->recheck ? SLICE("on") : SLICE("off"));
    if (c->say)
        conf_out_pair(s, CONF_OUT_STEP, "say", slice_str(c->say));
}

static const struct {
    const char *path;
    void (*show)(struct conf_out *s, const struct option_def *o, const struct conf *c);
} entries[] = {
    {"rules", show_rules},
    {"limits", show_limits},
    {"upstream", show_upstream},
    {"origins", show_origins},
    {"policy", show_policy},
};

static void show_entries(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    for (size_t i = 0; i < ARRAY_LEN(entries); i++)
        if (strcmp(o->path, entries[i].path) == 0)
            entries[i].show(s, o, c);
}

/* ---- the whole ---- */

static void show_section(struct conf_out *s, const struct option_def *section, const struct conf *c)
{
    text_printf(&s->text, "%s:\n", section->path);
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table_in(section, &conf_table[i]) && !conf_table[i].unbuilt)
            show_leaf(s, CONF_OUT_STEP, &conf_table[i], c);
}

static void show_head(struct conf_out *s, const struct conf *c)
{
    if (!c->file) {
        conf_out_add(s, SLICE("# no configuration file: the defaults\n"));
        return;
    }
    conf_out_add(s, SLICE("# "));
    text_operator(&s->text, slice_str(c->file));
    conf_out_add(s, SLICE(", completed with the defaults\n"));
}

static void show_top(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    if (o->type == OPTION_LISTEN)
        show_listen(s, o, c);
    else if (o->shape == &conf_shape_users && c->users)
        show_who(s, 0, c->users);
    else if (o->shape == &conf_shape_users)
        conf_out_comment(s, 0, o->path, o->dflt_says);
    else if (o->type == OPTION_ENTRY)
        show_entries(s, o, c);
    else if (o->type == OPTION_SECTION && o->list)
        show_log(s, o, c);
    else if (o->type == OPTION_SECTION)
        show_section(s, o, c);
    else
        show_leaf(s, 0, o, c);
}

char *conf_show(const struct conf *c, size_t *ret_n)
{
    struct conf_out s = {0};

    show_head(&s, c);
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table_in(NULL, &conf_table[i]) && !conf_table[i].unbuilt)
            show_top(&s, &conf_table[i], c);
    return text_take(&s.text, ret_n);
}

char *conf_show_key(const struct conf *c, const char *key, size_t *ret_n)
{
    struct conf_out s = {0};

    show_top(&s, option(key), c);
    return text_take(&s.text, ret_n);
}

/* ---- the defaults, from the table alone ---- */

static void show_default(struct conf_out *s, unsigned indent, const struct option_def *o)
{
    if (o->dflt)
        conf_out_pair(s, indent, conf_table_key(o), slice_str(o->dflt));
    else
        conf_out_comment(s, indent, conf_table_key(o), o->dflt_says ? o->dflt_says : "none");
}

char *conf_show_defaults(size_t *ret_n)
{
    struct conf_out s = {0};

    conf_out_add(&s, SLICE("# the defaults\n"));
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];

        if (!conf_table_in(NULL, o) || o->unbuilt)
            continue;
        if (o->type != OPTION_SECTION) {
            show_default(&s, 0, o);
            continue;
        }
        text_printf(&s.text, "%s:\n", o->path);
        for (unsigned j = 0; j < conf_table_n; j++)
            if (conf_table_in(o, &conf_table[j]) && !conf_table[j].unbuilt)
                show_default(&s, CONF_OUT_STEP, &conf_table[j]);
    }
    return text_take(&s.text, ret_n);
}
