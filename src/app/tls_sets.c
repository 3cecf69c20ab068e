/* SPDX-License-Identifier: MIT */
/* tls_sets: makes contexts of what the configuration has read. Called at start, before the workers are made, and by a reload, before it is committed: what fails here changes
 * nothing. A client role costs under a millisecond a worker where the system's store can be asked by name, else 40 ms; a reload that changes nothing about TLS costs a few references.
 */
#include "app/tls_sets.h"

#include "app/edition.h"
#include "app/tls_keylog.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>

/* ---- ticket keys ---- */

struct ticket_keys {
    struct list link;
    struct tls_tickets *tickets;
    char path[]; /* empty: drawn here */
};

static struct ticket_keys *find_tickets(const struct tls_house *h, const char *path)
{
    LIST_EACH(it, &h->tickets)
    {
        struct ticket_keys *k = LIST_ENTRY(it, struct ticket_keys, link);

        if (strcmp(k->path, path) == 0)
            return k;
    }
    return NULL;
}

/* Kept over reloads, so that nobody's ticket is void. */
static struct ticket_keys *get_tickets(struct tls_house *h, const char *path)
{
    struct ticket_keys *k = find_tickets(h, path);
    size_t n = strlen(path) + 1;

    if (k)
        return k;
    k = mem_alloc(sizeof(*k) + n);
    if (!k)
        return NULL;
    memcpy(k->path, path, n);
    k->tickets = tls_tickets_new();
    if (!k->tickets) {
        mem_free(k);
        return NULL;
    }
    list_push(&h->tickets, &k->link);
    return k;
}

/* NULL without an error: none. */
static int tickets_of(struct tls_house *h, const struct conf_tls *c, struct tls_tickets **ret_t)
{
    struct ticket_keys *k = c->tickets == CONF_TICKETS_OFF ? NULL : get_tickets(h, c->tickets == CONF_TICKETS_FILE ? c->tickets_file : "");

    *ret_t = k ? k->tickets : NULL;
    return k || c->tickets == CONF_TICKETS_OFF ? 0 : ERR_NOMEM;
}

static void rotate(struct tls_house *h)
{
    struct ticket_keys *k = find_tickets(h, "");

    if (k && tls_tickets_rotate(k->tickets) < 0)
        log_warn("the keys of session tickets could not be changed: the old ones seal on");
}

bool tls_house_renew(struct tls_house *h, uint64_t now_ms)
{
    if (now_ms < h->renew_at_ms)
        return false;
    h->renew_at_ms = now_ms + TLS_ROTATE_MS;
    rotate(h);
    return tls_auto_is_old(&h->self);
}

void tls_sets_commit(struct tls_house *h, const struct edition *e)
{
    for (unsigned i = 0; i < e->n_tls; i++) {
        const struct conf_tls *c = e->tls_conf[i];
        struct ticket_keys *k = c->tickets == CONF_TICKETS_FILE ? find_tickets(h, c->tickets_file) : NULL;

        if (k && tls_tickets_set(k->tickets, c->ticket_keys.p, (unsigned)(c->ticket_keys.n / TLS_TICKET_KEY)) < 0)
            log_warn("%s: the keys of session tickets are not used", c->tickets_file);
    }
}

/* ---- contexts ---- */

/* A context of the edition, for each worker. */
struct column {
    uint64_t identity;
    const struct tls_tickets *tickets; /* server role */
    struct tls_ctx *ctx[WORKER_MAX];
};

struct tls_sets {
    unsigned n_workers, n_server, n_client;
    struct column *columns; /* those of servers, then those of clients */
    struct tls_ctx **rows;  /* a worker's set, one behind the other */
    struct tls_set sets[WORKER_MAX];
};

void tls_sets_free(struct tls_sets *t)
{
    if (!t)
        return;
    for (unsigned i = 0; t->columns && i < t->n_server + t->n_client; i++)
        for (unsigned w = 0; w < t->n_workers; w++)
            tls_ctx_unref(t->columns[i].ctx[w]);
    mem_free(t->columns);
    mem_free(t->rows);
    mem_free(t);
}

static struct tls_sets *new_sets(unsigned n_workers, unsigned n_server, unsigned n_client)
{
    struct tls_sets *t = mem_zalloc(sizeof(*t));
    unsigned n = n_server + n_client;

    if (!t)
        return NULL;
    t->n_workers = n_workers;
    t->n_server = n_server;
    t->n_client = n_client;
    t->columns = mem_array(n, sizeof(*t->columns));
    t->rows = mem_array((size_t)n * n_workers, sizeof(*t->rows));
    if (t->columns && t->rows)
        return t;
    tls_sets_free(t);
    return NULL;
}

static const struct column *find_column(const struct tls_sets *before, bool server, uint64_t identity, const struct tls_tickets *tickets)
{
    unsigned from = before && !server ? before->n_server : 0, to = !before ? 0 : server ? before->n_server : before->n_server + before->n_client;

    for (unsigned i = from; i < to; i++)
        if (before->columns[i].identity == identity && before->columns[i].tickets == tickets)
            return &before->columns[i];
    return NULL;
}

static int worker_lib(struct tls_house *h, unsigned w, struct tls_lib **ret_lib)
{
    if (!h->libs[w])
        h->libs[w] = tls_lib_new();
    *ret_lib = h->libs[w];
    return h->libs[w] ? 0 : ERR_NOMEM;
}

/* One of the two roles; the other is NULL. */
static int fill_column(struct tls_house *h, struct column *c, const struct tls_sets *before, const struct tls_server_conf *server,
                       const struct tls_client_conf *client, struct tls_error *ret_error)
{
    const struct column *old;
    int r = 0;

    c->identity = server ? tls_server_identity(server) : tls_client_identity(client);
    c->tickets = server ? server->tickets : NULL;
    old = find_column(before, server != NULL, c->identity, c->tickets);
    for (unsigned w = 0; w < h->n_workers && r == 0; w++) {
        struct tls_lib *lib;

        if (old) {
            c->ctx[w] = tls_ctx_ref(old->ctx[w]);
            continue;
        }
        r = worker_lib(h, w, &lib);
        if (r == 0)
            r = server ? tls_server_ctx_new(lib, server, &c->ctx[w], ret_error) : tls_client_ctx_new(lib, client, &c->ctx[w], ret_error);
    }
    return r;
}

static int fill_server(struct tls_house *h, struct column *c, const struct tls_sets *before, const struct conf_tls *conf, struct tls_error *ret_error)
{
    struct tls_server_conf s = {
        .pairs = conf->pairs,
        .n_pairs = conf->n_pairs,
        .clients = conf->clients,
        .client_ca = conf->client_ca,
        .min = conf->min,
        .alpn = conf->alpn,
        .keylog = h->keylog ? tls_keylog_put : NULL,
        .keylog_owner = h->keylog,
    };
    int r = tickets_of(h, conf, &s.tickets);

    return r < 0 ? r : fill_column(h, c, before, &s, NULL, ret_error);
}

static int fill_client(struct tls_house *h, struct column *c, const struct tls_sets *before, const struct tls_client_conf *conf, struct tls_error *ret_error)
{
    struct tls_client_conf k = *conf;

    k.keylog = h->keylog ? tls_keylog_put : NULL;
    k.keylog_owner = h->keylog;
    return fill_column(h, c, before, NULL, &k, ret_error);
}

static void put_into_snapshot(struct tls_sets *t, struct snapshot *snap)
{
    unsigned n = t->n_server + t->n_client;

    for (unsigned w = 0; w < t->n_workers; w++) {
        struct tls_ctx **row = t->rows + (size_t)w * n;

        for (unsigned i = 0; i < n; i++)
            row[i] = t->columns[i].ctx[w];
        t->sets[w] = (struct tls_set){.server = row, .n_server = t->n_server, .client = row + t->n_server, .n_client = t->n_client};
        snap->tls[w] = &t->sets[w];
    }
}

/* Where nothing is written about TLS towards origins, they are verified by the system's store. */
static const struct tls_client_conf *client_confs(const struct conf *c, unsigned *ret_n)
{
    static const struct tls_client_conf plain = {.verify = true};

    *ret_n = c->n_tls_clients ? c->n_tls_clients : 1;
    return c->n_tls_clients ? c->tls_clients : &plain;
}

/* What is made here may be made anew before the edition goes: it keeps the names only. */
static void name_self_signed(struct tls_house *h, struct edition *e)
{
    snprintf(e->self_names, sizeof(e->self_names), "%s", h->self.names);
    for (unsigned i = 0; i < e->n_tls; i++)
        if (e->tls_conf[i]->self_signed)
            e->tls_conf[i]->pairs[0] = (struct tls_pair){0};
    for (unsigned i = 0; i < e->snap.n_listen; i++)
        if (e->listen[i].tls && e->tls_conf[e->listen[i].tls - 1]->self_signed)
            e->listen[i].cert_names = e->self_names;
}

int tls_sets_make(struct tls_house *h, struct edition *e, const struct edition *before, char text[TLS_SETS_TEXT])
{
    const struct tls_sets *old = before ? before->tls : NULL;
    struct tls_error error = {.text = "out of memory"};
    const struct tls_client_conf *clients;
    const char *place = NULL;
    struct tls_sets *t;
    unsigned n_clients;
    int r = tls_auto_prepare(&h->self, e->tls_conf, e->n_tls, &e->policy);

    clients = client_confs(e->conf, &n_clients);
    t = r == 0 ? new_sets(h->n_workers, e->n_tls, n_clients) : NULL;
    if (r == 0 && !t)
        r = ERR_NOMEM;
    for (unsigned i = 0; r == 0 && i < e->n_tls; i++) {
        r = fill_server(h, &t->columns[i], old, e->tls_conf[i], &error);
        place = e->tls_place[i];
    }
    for (unsigned i = 0; r == 0 && i < n_clients; i++) {
        r = fill_client(h, &t->columns[e->n_tls + i], old, &clients[i], &error);
        place = "trust";
    }
    if (r < 0) {
        snprintf(text, TLS_SETS_TEXT, "%s%sTLS: %s", place ? place : "", place ? ": " : "", r == ERR_NOMEM ? "out of memory" : error.text);
        tls_sets_free(t);
        return r;
    }
    name_self_signed(h, e);
    for (unsigned i = 0; i < n_clients && !before; i++)
        if (clients[i].verify && !clients[i].trust.n && !tls_system_is_there()) {
            log_warn("this system has no store of trusted certificates: no https:// origin or proxy can be verified but by `trust`");
            break;
        }
    put_into_snapshot(t, &e->snap);
    e->tls = t;
    return 0;
}

/* ---- life ---- */

void tls_house_init(struct tls_house *h, unsigned n_workers, struct tls_keylog *keylog)
{
    *h = (struct tls_house){.n_workers = n_workers, .keylog = keylog};
    list_init(&h->tickets);
}

void tls_house_done(struct tls_house *h)
{
    LIST_EACH(it, &h->tickets)
    {
        struct ticket_keys *k = LIST_ENTRY(it, struct ticket_keys, link);

        tls_tickets_unref(k->tickets);
        mem_free(k);
    }
    for (unsigned w = 0; w < h->n_workers; w++)
        tls_lib_free(h->libs[w]);
    tls_auto_done(&h->self);
}
