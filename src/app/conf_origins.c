/* SPDX-License-Identifier: MIT */
/* conf_origins: makes client roles of TLS out of `trust` and `origins`. Called by the reader, file by file, and once at the end. tls_clients[0] is what `trust` alone
 * says; each entry has one of its own behind it. An entry that is wrong is reported and left out, which nobody sees: the load fails.
 */
#include "app/conf_origins.h"

#include "app/conf_entry.h"
#include "app/conf_matcher.h"
#include "app/conf_tls.h"
#include "base/err.h"
#include "base/mem.h"

/* ---- trying ---- */

/* Whether a context can be made of it. pair empty: it is about what is trusted. */
static bool try(struct conf_build *b, size_t at, const char *path, struct slice trust, const struct tls_pair *pair)
{
    /* The system's store takes its time, and is not what is tried. */
    const struct tls_client_conf c = {.trust = trust, .verify = true, .pair = *pair};
    struct tls_lib *lib = conf_tls_lib(b);
    struct tls_error e = {0};
    struct tls_ctx *ctx;
    int r = lib ? tls_client_ctx_new(lib, &c, &ctx, &e) : ERR_NOMEM;

    if (r == 0)
        tls_ctx_unref(ctx);
    else if (r == ERR_NOMEM)
        conf_build_nomem(b);
    else
        conf_report_add(b->report, at, NULL, "%s cannot be used: %s", conf_report_quote(b->report, slice_str(path)), e.text);
    return r == 0;
}

/* ---- trust ---- */

/* One text of two, in the arena. */
static struct slice append(struct conf_build *b, struct slice a, struct slice more)
{
    char *p;

    if (!a.n)
        return more;
    p = arena_alloc(b->arena, a.n + 1 + more.n);
    if (!p) {
        conf_build_nomem(b);
        return a;
    }
    memcpy(p, a.p, a.n);
    p[a.n] = '\n';
    memcpy(p + a.n + 1, more.p, more.n);
    return slice_of(p, a.n + 1 + more.n);
}

static bool read_trusted(struct conf_build *b, const struct conf_node *node, struct slice *ret_text, const char **ret_path)
{
    static const struct tls_pair none;
    struct tls_cert_info info;
    int r;

    if (!conf_tls_file(b, node, "trust", false, ret_text, ret_path))
        return false;
    r = tls_cert_look(*ret_text, &info);
    if (r == 0)
        return try(b, node->at, *ret_path, *ret_text, &none);
    if (r == ERR_NOMEM) {
        conf_build_nomem(b);
        return false;
    }
    conf_report_add(b->report, node->at, "PEM: a block that begins with -----BEGIN CERTIFICATE-----", "there is no certificate in %s",
                    conf_report_quote(b->report, slice_str(*ret_path)));
    return false;
}

static bool is_system(const struct conf_node *node)
{
    return slice_eq(node->text, SLICE("system"));
}

/* Files, or the word for the system's store, or both. */
static void read_trust(struct conf_build *b, const struct conf_node *node, unsigned tls)
{
    struct tls_client_conf *t = &b->conf->tls_clients[tls];
    struct conf_tls_from *from = &b->conf->tls_from[tls];
    unsigned n = conf_node_count(node);
    const char **v = arena_zalloc(b->arena, (n ? n : 1) * sizeof(*v));

    from->has_trust = true;
    if (!v) {
        conf_build_nomem(b);
        return;
    }
    from->trust = v;
    for (const struct conf_node *i = conf_node_first(node); i && !b->report->nomem; i = conf_node_next(node, i)) {
        struct slice text;

        if (is_system(i))
            from->system = t->system = n > 1;
        else if (read_trusted(b, i, &text, &v[from->n_trust])) {
            t->trust = append(b, t->trust, text);
            from->n_trust++;
        }
    }
}

/* Room for n more, behind those of the files before; the default's is there first. */
static bool grow(struct conf_build *b, unsigned n)
{
    struct conf *c = b->conf;
    unsigned had = c->n_tls_clients, all = (had ? had : 1) + n;
    struct tls_client_conf *v = arena_grow(b->arena, c->tls_clients, had * sizeof(*v), all * sizeof(*v));
    struct conf_tls_from *from = arena_grow(b->arena, c->tls_from, had * sizeof(*from), all * sizeof(*from));

    if (v)
        c->tls_clients = v;
    if (from)
        c->tls_from = from;
    if (!v || !from) {
        conf_build_nomem(b);
        return false;
    }
    for (unsigned i = had; i < all; i++) {
        v[i] = (struct tls_client_conf){.verify = true};
        from[i] = (struct conf_tls_from){0};
    }
    c->n_tls_clients = all;
    return true;
}

void conf_origins_read_trust(struct conf_build *b, const struct option_def *o, const struct conf_node *node)
{
    struct conf_kind k = conf_kind_of(o);
    size_t before = conf_report_count(b->report);

    if (node->kind == CONF_NODE_LIST && !node->first && !node->open)
        conf_report_add(b->report, node->at, "`system`, or files", "`%s` is an empty list", k.key);
    if (conf_entry_check_kind(b, &k, node) && conf_report_count(b->report) == before && (b->conf->n_tls_clients || grow(b, 0)))
        read_trust(b, node, 0);
}

/* ---- origins ---- */

static void warn_readable(struct conf_build *b, const struct conf_node *node)
{
    const struct conf_source *s = &b->sources->v[b->sources->n - 1];

    if (s->mode & S_IROTH)
        conf_report_add(b->warnings, node->at, "chmod o-r takes that away", "everybody on this machine can read %s, which has a key",
                        conf_report_quote(b->warnings, slice_str(s->name)));
}

static void read_client(struct conf_build *b, const struct conf_node *node, unsigned tls)
{
    struct tls_pair *pair = &b->conf->tls_clients[tls].pair;
    struct conf_tls_from *from = &b->conf->tls_from[tls];
    const struct conf_node *cert = conf_node_member(node, "cert"), *key = conf_node_member(node, "key"), *keyed = key ? key : cert;
    struct tls_cert_info info;
    bool right = conf_tls_file(b, cert, "certificate", !key, &pair->cert, &from->cert) && conf_tls_look(b, cert, pair->cert, from->cert, &info);

    if (key && !conf_tls_file(b, key, "key", true, &pair->key, &from->key))
        return;
    if (!right)
        return;
    warn_readable(b, keyed);
    if (!key) { /* a file may have both */
        pair->key = pair->cert;
        from->key = from->cert;
    }
    try(b, keyed->at, from->key, pair->cert, pair);
}

static bool names_hosts(const struct matcher *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!v[i].has_host || v[i].any_host)
            return false;
    return n > 0;
}

static void read_verify(struct conf_build *b, const struct conf_node *node, const struct conf_node *verify, const struct origin_entry *e)
{
    bool on = true;

    if (conf_value_switch(verify->text, &on) < 0 || on)
        return;
    b->conf->tls_clients[e->tls].verify = false;
    if (conf_node_member(node, "trust"))
        conf_report_add(b->report, verify->key->at, "remove one of the two", "`verify: no` beside `trust`: nothing is verified");
    if (!names_hosts(e->where, e->n_where))
        conf_report_add(b->report, verify->key->at, "like this: {for: old.example.net, verify: no}", "`verify: no` without a `for` that names hosts");
}

/* What is known of a host when TLS begins: its name or address, and its port. */
static const char *unknown_word(const struct matcher *m)
{
    return m->n_paths       ? "path"
           : m->n_methods   ? "method"
           : m->n_listeners ? "listener"
           : m->n_users || m->any_user ? "user"
           : m->n_groups    ? "group"
           : m->n_labels    ? "label"
           : m->n_fields    ? "header"
           : m->n_times     ? "time"
           : m->has_from    ? "from"
           : m->has_to      ? "to"
           : m->snis        ? "sni"
           : m->schemes     ? "scheme"
                            : NULL;
}

static void check_words(struct conf_build *b, size_t at, const struct origin_entry *e)
{
    const char *word = NULL;

    for (unsigned i = 0; i < e->n_where && !word; i++) {
        word = unknown_word(&e->where[i]);
        for (unsigned k = 0; k < e->where[i].n_except && !word; k++)
            word = unknown_word(&e->where[i].except[k]);
    }
    if (word)
        conf_report_add(b->report, at, "connections are shared: `host` and `port` only", "`%s` in `for` of `origins`", word);
}

static void read_entry(struct conf_build *b, const struct conf_node *node, struct origin_entry *e)
{
    const struct conf_node *where = conf_node_member(node, "for"), *trust = conf_node_member(node, "trust"), *min = conf_node_member(node, "min"), *client = conf_node_member(node, "client"),
                           *alpn = conf_node_member(node, "alpn"), *verify = conf_node_member(node, "verify");

    e->place = conf_build_place(b, node->at);
    if (where)
        conf_matcher_build(b, where, &e->where, &e->n_where);
    if (where)
        check_words(b, where->at, e);
    if (trust)
        read_trust(b, trust, e->tls);
    if (min)
        b->conf->tls_clients[e->tls].min = (enum tls_version)conf_value_word(conf_shape_member(&conf_shape_origin, SLICE("min"))->shape->words, min->text)->value;
    if (alpn)
        b->conf->tls_clients[e->tls].alpn = conf_tls_alpn(alpn);
    if (client)
        read_client(b, client, e->tls);
    if (verify)
        read_verify(b, node, verify, e);
}

static struct origin_entry *grow_entries(struct conf_build *b, unsigned n)
{
    struct conf *c = b->conf;
    size_t had = c->n_origins * sizeof(*c->origins), at_had = c->n_origins * sizeof(*b->origin_at);
    struct origin_entry *v = arena_grow(b->arena, c->origins, had, had + n * sizeof(*v));
    size_t *at = arena_grow(b->trees, b->origin_at, at_had, at_had + n * sizeof(*at));

    if (v)
        c->origins = v;
    if (at)
        b->origin_at = at;
    if (!v || !at) {
        conf_build_nomem(b);
        return NULL;
    }
    memset(&v[c->n_origins], 0, n * sizeof(*v));
    return &v[c->n_origins];
}

void conf_origins_read(struct conf_build *b, const struct option_def *o, const struct conf_node *node)
{
    unsigned n = conf_node_count(node);
    struct conf *c = b->conf;
    struct origin_entry *e;
    unsigned first;

    if (!conf_entry_check(b, conf_table_key(o), o->shape, node, true) || n == 0)
        return;
    if (n > CONF_ORIGINS_MAX - c->n_origins) {
        conf_report_add(b->report, node->at, "an entry may name many hosts, or a list file", "`origins` has more than %d entries", CONF_ORIGINS_MAX);
        return;
    }
    e = grow_entries(b, n);
    if (!e || !grow(b, n))
        return;
    first = c->n_tls_clients - n;
    for (const struct conf_node *i = conf_node_first(node); i && !b->report->nomem; i = conf_node_next(node, i)) {
        b->origin_at[c->n_origins++] = i->at;
        e->tls = first++;
        read_entry(b, i, e++);
    }
}

/* ---- the whole ---- */

void conf_origins_finish(struct conf_build *b)
{
    struct conf *c = b->conf;

    if (!c->n_tls_clients && !grow(b, 0))
        return;
    for (unsigned i = 1; i < c->n_tls_clients; i++)
        if (!c->tls_from[i].has_trust && c->tls_clients[i].verify) {
            c->tls_clients[i].trust = c->tls_clients[0].trust;
            c->tls_clients[i].system = c->tls_clients[0].system;
        }
}
