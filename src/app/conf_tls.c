/* SPDX-License-Identifier: MIT */
/* conf_tls: reads what a listener needs for TLS, and makes a context of it on a scratch library, as the workers will. Called by the reader of listeners. Nothing of a key
 * is ever in a message.
 */
#include "app/conf_tls.h"

#include "app/conf_matcher.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/secret.h"
#include "proto/authn.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { DAY_S = 24 * 3600, SOON_DAYS = 7, DATE_TEXT = 32 };

/* ---- files ---- */

static void report_unreadable(struct conf_build *b, const struct conf_node *node, const char *what, const char *path, int err)
{
    const char *hint, *problem = conf_source_problem(err, &hint), *quoted = conf_report_quote(b->report, slice_str(path));

    if (err == ERR_NOMEM)
        conf_build_nomem(b);
    else if (err == CONF_TOO_LARGE)
        conf_report_add(b->report, node->at, NULL, "the %s file %s is larger than 1 MB", what, quoted);
    else if (err == CONF_TOO_MANY)
        conf_report_add(b->report, node->at, NULL, "more than %d files", CONF_SOURCES_MAX);
    else if (problem)
        conf_report_add(b->report, node->at, hint, "the %s file %s: %s", what, quoted, problem);
    else
        conf_report_add(b->report, node->at,
                        err == -EACCES ? "the user that ginnel runs as must be able to read it" : "the path is relative to the file that names it",
                        "the %s file %s cannot be read: %s", what, quoted, err_text(err));
}

struct secret {
    struct slice text;
};

static void wipe(void *p)
{
    secret_wipe(((struct secret *)p)->text);
}

static void wipe_later(struct conf_build *b, struct slice text)
{
    struct secret *s = arena_alloc(b->arena, sizeof(*s));

    if (!s) {
        secret_wipe(text);
        conf_build_nomem(b);
        return;
    }
    s->text = text;
    conf_build_finish(b, wipe, s);
}

/* Copies the source into the conf, and lets go of it. */
static bool take_source(struct conf_build *b, unsigned source, bool secret, struct slice *ret_text)
{
    struct slice text = b->sources->v[source].text, copy = arena_dup(b->arena, text);

    if (secret)
        secret_wipe(text);
    conf_sources_drop(b->sources, source);
    if (!copy.p) {
        conf_build_nomem(b);
        return false;
    }
    if (secret)
        wipe_later(b, copy);
    *ret_text = copy;
    return true;
}

bool conf_tls_file(struct conf_build *b, const struct conf_node *node, const char *what, bool secret, struct slice *ret_text, const char **ret_path)
{
    char *path = conf_sources_path(b->sources, node->at, node->text);
    struct slice name = path ? arena_dup(b->arena, slice_str(path)) : SLICE_NONE;
    unsigned source;
    int r = name.p ? conf_sources_read(b->sources, path, TLS_PEM_MAX, &source) : ERR_NOMEM;

    if (r < 0)
        report_unreadable(b, node, what, path ? path : "", r);
    mem_free(path);
    if (r < 0)
        return false;
    b->sources->v[source].hidden = true;
    *ret_path = name.p;
    return take_source(b, source, secret, ret_text);
}

struct tls_lib *conf_tls_lib(struct conf_build *b)
{
    if (!b->tls)
        b->tls = tls_lib_new();
    if (!b->tls)
        conf_build_nomem(b);
    return b->tls;
}

/* ---- certificates ---- */

static const char *date_text(int64_t at_s, char out[DATE_TEXT])
{
    time_t t = (time_t)at_s;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || !strftime(out, DATE_TEXT, "%Y-%m-%d %H:%M UTC", &tm))
        snprintf(out, DATE_TEXT, "an unknown date");
    return out;
}

bool conf_tls_look(struct conf_build *b, const struct conf_node *node, struct slice pem, const char *path, struct tls_cert_info *ret_info)
{
    const char *quoted = conf_report_quote(b->report, slice_str(path));
    int64_t now_s = (int64_t)time(NULL);
    struct tls_cert_info info;
    char date[DATE_TEXT];

    if (tls_cert_look(pem, &info) < 0) {
        conf_report_add(b->report, node->at, "PEM: a block that begins with -----BEGIN CERTIFICATE-----", "there is no certificate in %s", quoted);
        return false;
    }
    if (info.not_after_s <= now_s) {
        conf_report_add(b->report, node->at, NULL, "the certificate in %s has expired on %s", quoted, date_text(info.not_after_s, date));
        return false;
    }
    if (info.not_before_s > now_s) {
        conf_report_add(b->report, node->at, "is this machine's clock right?", "the certificate in %s is not valid before %s", quoted, date_text(info.not_before_s, date));
        return false;
    }
    if (info.not_after_s < now_s + SOON_DAYS * DAY_S)
        conf_report_add(b->warnings, node->at, NULL, "the certificate in %s expires on %s", conf_report_quote(b->warnings, slice_str(path)),
                        date_text(info.not_after_s, date));
    *ret_info = info;
    return true;
}

static void add_names(struct conf_build *b, struct conf_tls *t, const char *names)
{
    bool first = !t->cert_names || !t->cert_names[0];
    struct slice all = arena_printf(b->arena, "%s%s%s", first ? "" : t->cert_names, first || !names[0] ? "" : ", ", names);

    if (!all.p)
        conf_build_nomem(b);
    else
        t->cert_names = all.p;
}

static bool read_pair(struct conf_build *b, const struct conf_node *map, struct conf_tls *t)
{
    struct tls_pair *pair = &t->pairs[t->n_pairs];
    struct conf_tls_files *files = &t->files[t->n_pairs];
    struct tls_cert_info info;
    const struct conf_node *cert = conf_node_member(map, "cert"), *key = conf_node_member(map, "key"), *ocsp = conf_node_member(map, "ocsp");
    bool right = conf_tls_file(b, cert, "certificate", !key, &pair->cert, &files->cert) && conf_tls_look(b, cert, pair->cert, files->cert, &info);

    t->n_pairs++;
    if (right)
        add_names(b, t, info.names);
    if (key)
        right = conf_tls_file(b, key, "key", true, &pair->key, &files->key) && right;
    else if (right)
        pair->key = pair->cert;
    if (ocsp)
        right = conf_tls_file(b, ocsp, "OCSP response", false, &pair->staple, &files->staple) && right;
    return right;
}

/* All of them, that all faults are shown at once. */
static bool read_pairs(struct conf_build *b, const struct conf_node *node, struct conf_tls *t)
{
    const struct conf_node *more = conf_node_member(node, "more");
    bool right;
    unsigned n = 1 + conf_node_count(more);

    if (n > TLS_PAIRS_MAX) {
        conf_report_add(b->report, more->at, NULL, "a listener has at most %d certificates", TLS_PAIRS_MAX);
        return false;
    }
    t->pairs = arena_zalloc(b->arena, n * sizeof(*t->pairs));
    t->files = arena_zalloc(b->arena, n * sizeof(*t->files));
    if (!t->pairs || !t->files) {
        conf_build_nomem(b);
        return false;
    }
    t->n_pairs = t->self_signed;
    right = t->self_signed || read_pair(b, node, t);
    for (const struct conf_node *i = conf_node_first(more); i; i = conf_node_next(more, i))
        right = read_pair(b, i, t) && right;
    return right;
}

/* ---- who clients are ---- */

/* "IDENTITY USER": the identity may have blanks, the user has none. */
static void take_identity(struct conf_build *b, struct conf_tls *t, struct slice line, size_t at)
{
    size_t cut = line.n;
    struct slice identity, user;
    const struct users_row *first = NULL;
    char *p;

    while (cut > 0 && line.p[cut - 1] != ' ' && line.p[cut - 1] != '\t')
        cut--;
    user = slice_skip(line, cut);
    identity = slice_trim(slice_of(line.p, cut));
    if (identity.n == 0 || identity.n > CONF_TLS_IDENTITY_MAX || !authn_is_name(user)) {
        conf_report_add(b->report, at, "like this: `ci.example.net ci`", "this is no identity and the user that it stands for");
        return;
    }
    p = arena_alloc(b->arena, identity.n + user.n + 3);
    if (!p) {
        conf_build_nomem(b);
        return;
    }
    memcpy(p, identity.p, identity.n);
    p[identity.n] = '\0';
    memcpy(p + identity.n + 1, user.p, user.n);
    p[identity.n + 1 + user.n] = p[identity.n + 2 + user.n] = '\0';
    if (users_table_add(&t->map, (struct users_row){p, (uint16_t)identity.n, (uint16_t)user.n, 0}, &first) < 0)
        conf_build_nomem(b);
    else if (first)
        conf_report_add(b->report, at, "remove one of the two lines", "the identity %s is there twice", conf_report_quote(b->report, identity));
}

static void read_map_lines(struct conf_build *b, struct conf_tls *t, unsigned source)
{
    struct slice text = b->sources->v[source].text, rest = text, line;
    size_t base = b->sources->v[source].base;

    while (!b->report->nomem && slice_next_line(&rest, &line)) {
        line = slice_trim(line);
        if (line.n && line.p[0] != '#')
            take_identity(b, t, line, base + (size_t)(line.p - text.p));
    }
}

static void free_map(void *p)
{
    users_table_done(p);
}

static bool read_map(struct conf_build *b, const struct conf_node *node, struct conf_tls *t)
{
    char *path = conf_sources_path(b->sources, node->at, node->text);
    struct slice name = path ? arena_dup(b->arena, slice_str(path)) : SLICE_NONE;
    size_t before = conf_report_count(b->report);
    unsigned source;
    int r = name.p ? conf_sources_read(b->sources, path, TLS_PEM_MAX, &source) : ERR_NOMEM;

    if (r < 0)
        report_unreadable(b, node, "client-map", path ? path : "", r);
    mem_free(path);
    if (r < 0)
        return false;
    conf_build_finish(b, free_map, &t->map);
    read_map_lines(b, t, source);
    t->map_file = name.p;
    t->names.map = &t->map;
    return conf_report_count(b->report) == before;
}

static bool read_clients(struct conf_build *b, const struct conf_node *node, struct conf_tls *t)
{
    static const char *const keys[] = {"client", "client-name", "client-map"};
    const struct conf_node *ca = conf_node_member(node, "client-ca"), *how = conf_node_member(node, "client");
    const struct conf_node *part = conf_node_member(node, "client-name"), *map = conf_node_member(node, "client-map");
    bool right = true;

    for (unsigned i = 0; i < ARRAY_LEN(keys) && !ca; i++) {
        const struct conf_node *m = conf_node_member(node, keys[i]);

        if (m) {
            conf_report_add(b->report, m->key->at, "`client-ca` says who signs the certificates of clients", "`%s` is about those of `client-ca`, and there is none", keys[i]);
            right = false;
        }
    }
    if (!ca)
        return right;
    t->clients = TLS_CLIENT_REQUIRED;
    if (how)
        t->clients = (enum tls_client_certs)conf_value_word(conf_shape_member(&conf_shape_listen_tls, SLICE("client"))->shape->words, how->text)->value;
    if (part)
        t->names.part = (enum cert_part)conf_value_word(conf_shape_member(&conf_shape_listen_tls, SLICE("client-name"))->shape->words, part->text)->value;
    right = conf_tls_file(b, ca, "client-ca", false, &t->client_ca, &t->client_ca_file);
    if (map)
        right = read_map(b, map, t) && right;
    return right;
}

/* ---- the rest of the map ---- */

static bool read_tickets(struct conf_build *b, const struct conf_node *node, struct conf_tls *t)
{
    if (!node || slice_eq(node->text, SLICE("auto")))
        return true;
    if (slice_eq(node->text, SLICE("off"))) {
        t->tickets = CONF_TICKETS_OFF;
        return true;
    }
    t->tickets = CONF_TICKETS_FILE;
    if (!conf_tls_file(b, node, "ticket key", true, &t->ticket_keys, &t->tickets_file))
        return false;
    if (t->ticket_keys.n >= TLS_TICKET_KEY && t->ticket_keys.n % TLS_TICKET_KEY == 0 && t->ticket_keys.n / TLS_TICKET_KEY <= TLS_TICKET_KEYS)
        return true;
    conf_report_add(b->report, node->at, "openssl rand 80 makes one; the first seals, all open", "the ticket key file %s has %zu bytes, and not 1 to %d keys of %d bytes",
                    conf_report_quote(b->report, slice_str(t->tickets_file)), t->ticket_keys.n, TLS_TICKET_KEYS, TLS_TICKET_KEY);
    return false;
}

unsigned conf_tls_alpn(const struct conf_node *node)
{
    const struct option_word *words = conf_shape_member(&conf_shape_listen_tls, SLICE("alpn"))->shape->words;
    bool list = node && node->kind == CONF_NODE_LIST;
    unsigned alpn = 0;

    for (const struct conf_node *i = list ? node->first : node; i; i = list ? i->next : NULL)
        alpn |= (unsigned)conf_value_word(words, i->text)->value;
    return alpn ? alpn : TLS_ALPN_H1 | TLS_ALPN_H2;
}

static bool is_on(const struct conf_node *map, const char *key)
{
    const struct conf_node *m = conf_node_member(map, key);
    bool on = false;

    return m && conf_value_switch(m->text, &on) == 0 && on;
}

static bool read_switches(struct conf_build *b, const struct conf_node *node, struct conf_tls *t)
{
    static const char *const keys[] = {"key", "ocsp"};
    const struct conf_node *min = conf_node_member(node, "min"), *self = conf_node_member(node, "auto");

    t->self_signed = node->kind == CONF_NODE_TEXT || is_on(node, "auto");
    t->clear = is_on(node, "clear");
    t->alpn = conf_tls_alpn(conf_node_member(node, "alpn"));
    t->min = TLS_1_2;
    if (min)
        t->min = (enum tls_version)conf_value_word(conf_shape_member(&conf_shape_listen_tls, SLICE("min"))->shape->words, min->text)->value;
    if (self && !t->self_signed) {
        conf_report_add(b->report, self->at, "write `cert` and `key`, or `auto: yes`", "without a certificate there is no TLS");
        return false;
    }
    for (unsigned i = 0; i < ARRAY_LEN(keys) && t->self_signed; i++) {
        const struct conf_node *m = conf_node_member(node, keys[i]);

        if (!m)
            continue;
        conf_report_add(b->report, m->key->at, "remove one of the two", "`%s` belongs to `cert`, and this certificate is made by ginnel", keys[i]);
        return false;
    }
    return true;
}

/* ---- trying it ---- */

static const struct conf_node *pair_node(const struct conf_node *node, unsigned i)
{
    const struct conf_node *more = conf_node_member(node, "more"), *at = conf_node_first(more);

    if (i == 0)
        return node;
    for (; at && i > 1; i--)
        at = at->next;
    return at ? at : node;
}

/* Where the piece is written that a context could not be made of. */
static const struct conf_node *guilty(const struct conf_node *node, const struct tls_error *e)
{
    static const char *const keys[] = {"cert", "key", "client-ca", "ocsp"};
    const struct conf_node *map = e->what == 2 ? node : pair_node(node, e->pair);
    const struct conf_node *m = e->what < ARRAY_LEN(keys) ? conf_node_member(map, keys[e->what]) : NULL;

    if (!m && e->what == 1)
        m = conf_node_member(map, "cert");
    return m ? m : node;
}

static bool try(struct conf_build *b, const struct conf_node *node, struct conf_tls *t)
{
    unsigned skip = t->self_signed; /* its pair is made later */
    struct tls_server_conf c = {.pairs = t->pairs + skip, .n_pairs = t->n_pairs - skip, .clients = t->clients, .client_ca = t->client_ca, .min = t->min, .alpn = t->alpn};
    char *cert = NULL, *key = NULL;
    const char *const names[] = {"localhost", NULL};
    struct tls_pair made;
    struct tls_ctx *ctx;
    struct tls_error e;
    int r = 0;

    /* A context has a certificate, and a CA wants to be tried. */
    if (c.n_pairs == 0 && t->clients) {
        r = tls_self_signed(names, 1, &cert, &key);
        made = (struct tls_pair){.cert = slice_str(cert), .key = slice_str(key)};
        c.pairs = &made;
        c.n_pairs = 1;
    }
    if (r == 0 && c.n_pairs && conf_tls_lib(b)) {
        r = tls_server_ctx_new(b->tls, &c, &ctx, &e);
        if (r == 0)
            tls_ctx_unref(ctx);
        else if (r != ERR_NOMEM) {
            e.pair += skip;
            conf_report_add(b->report, guilty(node, &e)->at, NULL, "%s", e.text);
        }
    }
    mem_free(cert);
    mem_free(key);
    if (r == ERR_NOMEM)
        conf_build_nomem(b);
    return r == 0 && !b->report->nomem;
}

static uint64_t mix(uint64_t h, struct slice s)
{
    return h * 0x9e3779b97f4a7c15u + hash_bytes(s.n ? s.p : "", s.n) + s.n;
}

static uint64_t content_of(const struct conf_tls *t)
{
    const unsigned words[] = {t->self_signed, t->clients, t->names.part, t->min, t->alpn, t->tickets, t->clear};
    uint64_t h = mix(t->n_pairs, slice_of(words, sizeof(words)));

    for (unsigned i = 0; i < t->n_pairs; i++)
        h = mix(mix(mix(h, t->pairs[i].cert), t->pairs[i].key), t->pairs[i].staple);
    h = mix(mix(h, t->client_ca), t->ticket_keys);
    for (uint32_t i = 0; i < t->map.n; i++)
        h = mix(mix(h, users_row_name(&t->map.v[i])), users_row_value(&t->map.v[i]));
    return h;
}

struct conf_tls *conf_tls_make(struct conf_build *b, const struct conf_node *node)
{
    struct conf_tls *t = arena_zalloc(b->arena, sizeof(*t));
    bool right;

    if (!t) {
        conf_build_nomem(b);
        return NULL;
    }
    right = read_switches(b, node, t);
    right = right && read_pairs(b, node, t);
    right = read_clients(b, node, t) && right;
    right = read_tickets(b, conf_node_member(node, "tickets"), t) && right;
    if (!right || !try(b, node, t))
        return NULL;
    t->content = content_of(t);
    return t;
}
