/* SPDX-License-Identifier: MIT */
/* from_log: collects what is different, sorts it, and puts hosts with the same needs into one rule. What failed to resolve or was never dialled is no evidence
 * that anybody needs it, and is left out.
 */
#include "app/from_log.h"

#include "app/conf_text.h"
#include "app/log_line.h"
#include "app/serve.h"
#include "app/remote.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "policy/explain.h"
#include "policy/guard.h"
#include "proto/url.h"

#include <inttypes.h>
#include <stdlib.h>

enum { FIRST_SLOTS = 1024, EXIT_DATA = 65 };

/* Something that was reached. */
struct seen {
    char *user, *host; /* in one block that begins with host; user: "" unless rules are per user */
    uint16_t port;
    char to[ADDR_TEXT_MAX]; /* "": public, or the host is an address itself */
};

struct from_log {
    struct from_log_opts opts;
    struct seen *v;
    size_t n, cap;
    uint32_t *slots; /* index + 1 into v; 0: free */
    size_t n_slots;
    uint64_t used;
};

/* ---- what was seen ---- */

struct from_log *from_log_new(const struct from_log_opts *opts)
{
    struct from_log *f = mem_zalloc(sizeof(*f));

    if (!f)
        return NULL;
    f->opts = *opts;
    f->opts.most = opts->most ? opts->most : FROM_LOG_TARGETS;
    f->slots = mem_zalloc(FIRST_SLOTS * sizeof(*f->slots));
    f->n_slots = FIRST_SLOTS;
    if (f->slots)
        return f;
    mem_free(f);
    return NULL;
}

void from_log_free(struct from_log *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n; i++)
        mem_free(f->v[i].host);
    mem_free(f->v);
    mem_free(f->slots);
    mem_free(f);
}

static uint64_t hash_of(const struct seen *s)
{
    uint64_t parts[4] = {hash_bytes(s->user, strlen(s->user)), hash_bytes(s->host, strlen(s->host)), hash_bytes(s->to, strlen(s->to)), s->port};

    return hash_bytes(parts, sizeof(parts));
}

static bool same(const struct seen *a, const struct seen *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0 && strcmp(a->user, b->user) == 0 && strcmp(a->to, b->to) == 0;
}

/* The slot that has it, or the free one where it belongs. There is always a free one. */
static uint32_t *slot_of(struct from_log *f, const struct seen *s)
{
    for (size_t i = hash_of(s) & (f->n_slots - 1);; i = (i + 1) & (f->n_slots - 1))
        if (!f->slots[i] || same(&f->v[f->slots[i] - 1], s))
            return &f->slots[i];
}

static int more_slots(struct from_log *f)
{
    uint32_t *fresh = mem_zalloc(f->n_slots * 2 * sizeof(*fresh));

    if (!fresh)
        return ERR_NOMEM;
    mem_free(f->slots);
    f->slots = fresh;
    f->n_slots *= 2;
    for (size_t i = 0; i < f->n; i++)
        *slot_of(f, &f->v[i]) = (uint32_t)i + 1;
    return 0;
}

static int more_room(struct from_log *f)
{
    size_t cap = f->cap ? f->cap * 2 : FIRST_SLOTS / 2;
    struct seen *v = mem_grow(f->v, cap * sizeof(*v));

    if (!v)
        return ERR_NOMEM;
    f->v = v;
    f->cap = cap;
    return f->n_slots < cap * 2 ? more_slots(f) : 0;
}

static int keep(struct from_log *f, const struct seen *s)
{
    size_t host = strlen(s->host) + 1, user = strlen(s->user) + 1;
    struct seen copy = *s;

    if (*slot_of(f, s))
        return 0;
    if (f->n == f->opts.most)
        return ERR_LIMIT;
    if (f->n == f->cap && more_room(f) < 0)
        return ERR_NOMEM;
    copy.host = mem_alloc(host + user);
    if (!copy.host)
        return ERR_NOMEM;
    copy.user = copy.host + host;
    memcpy(copy.host, s->host, host);
    memcpy(copy.user, s->user, user);
    f->v[f->n++] = copy;
    *slot_of(f, s) = (uint32_t)f->n;
    return 0;
}

/* The host as requests would have it, NUL-terminated. ERR_SYNTAX: it is none. ERR_NOMEM. */
static int normal_host(struct arena *a, struct slice host, char text[256], bool *ret_literal)
{
    enum url_fault fault;
    struct authority auth;
    char bracketed[300];
    bool v6 = slice_find(host, ':') < host.n && host.p[0] != '[';

    if (host.n >= sizeof(bracketed) - 3)
        return ERR_SYNTAX;
    snprintf(bracketed, sizeof(bracketed), "%s" SLICE_FMT "%s", v6 ? "[" : "", SLICE_ARG(host), v6 ? "]" : "");
    fault = url_authority(a, slice_str(bracketed), false, &auth);
    if (fault != URL_OK || !auth.host.n || auth.host.n > 255)
        return fault == URL_NOMEM ? ERR_NOMEM : ERR_SYNTAX;
    memcpy(text, auth.host.p, auth.host.n);
    text[auth.host.n] = '\0';
    *ret_literal = auth.kind != HOST_NAME;
    return 0;
}

static bool counts(const struct from_log *f, const struct log_line *l)
{
    if (f->opts.would && !l->would_deny)
        return false;
    return l->peer.n && !(l->known_end && explain_is_refusal(l->end) && !l->would_deny);
}

int from_log_add(struct from_log *f, const struct log_line *l)
{
    char host[256], user[256] = "";
    struct seen s = {.user = user, .host = host, .port = l->port};
    struct addr peer;
    struct arena a;
    bool literal;
    int r;

    if (!counts(f, l) || addr_parse_host(l->peer, l->port, &peer) < 0)
        return 0;
    arena_init(&a, NULL, 65536);
    r = normal_host(&a, l->host, host, &literal);
    arena_done(&a);
    if (r < 0)
        return r == ERR_SYNTAX ? 0 : r;
    if (f->opts.per_user && l->user.n && l->user.n < sizeof(user)) {
        memcpy(user, l->user.p, l->user.n);
        user[l->user.n] = '\0';
    }
    if (!literal && guard_find(&peer))
        addr_host_text(&peer, s.to);
    r = keep(f, &s);
    f->used += r == 0;
    return r;
}

uint64_t from_log_used(const struct from_log *f)
{
    return f->used;
}

/* ---- rules ---- */

/* Of a name that was at public addresses and at others there are two. */
static bool same_host(const struct seen *a, const struct seen *b)
{
    return strcmp(a->host, b->host) == 0 && strcmp(a->user, b->user) == 0 && !a->to[0] == !b->to[0];
}

/* One host with all that it needs: its ports and addresses, as the words that will stand beside it. */
struct host {
    const struct seen *first;
    char *words;          /* mem_*: "    port: 8443\n    to: …\n" */
    char name[260];       /* as it will be written; folded: with its dot */
    bool private;
};

static int compare_seen(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    int r = strcmp(x->user, y->user);

    if (r == 0)
        r = strcmp(x->host, y->host);
    if (r == 0)
        r = !!y->to[0] - !!x->to[0];
    if (r == 0)
        r = (x->port > y->port) - (x->port < y->port);
    return r ? r : strcmp(x->to, y->to);
}

/* The first rule that matches decides: one with addresses must not come behind one for the same name without. */
static int compare_hosts(const void *a, const void *b)
{
    const struct host *x = a, *y = b;
    int r = y->private - x->private;

    if (r == 0)
        r = strcmp(x->words, y->words);

    return r ? r : strcmp(x->name, y->name);
}

static void put_ports(struct text *t, const struct seen *v, size_t n)
{
    uint16_t last = 0;
    unsigned ports = 0;
    bool usual = true;

    for (size_t i = 0; i < n; i++) {
        ports += v[i].port != last;
        usual &= v[i].port == 80 || v[i].port == 443;
        last = v[i].port;
    }
    /* What an allow means that says nothing. */
    if (usual && ports == 2)
        return;
    text_str(t, ports == 1 ? "    port: " : "    port: [");
    last = 0;
    for (size_t i = 0; i < n; i++) {
        if (v[i].port != last)
            text_printf(t, "%s%u", last ? ", " : "", (unsigned)v[i].port);
        last = v[i].port;
    }
    text_str(t, ports == 1 ? "\n" : "]\n");
}

/* Sorted by port first, so that an address may come again. */
static bool seen_before(const struct seen *v, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(v[k].to, v[i].to) == 0)
            return true;
    return false;
}

static void put_to(struct text *t, const struct seen *v, size_t n, bool *ret_private)
{
    char addr[EXPLAIN_SCALAR];
    unsigned written = 0;

    for (size_t i = 0; i < n; i++) {
        if (!v[i].to[0] || seen_before(v, i))
            continue;
        explain_scalar(slice_str(v[i].to), addr);
        text_printf(t, "%s%s", written++ ? ", " : "    to: [", addr);
    }
    if (written)
        text_str(t, "]\n");
    *ret_private = written > 0;
}

static int make_host(const struct seen *v, size_t n, struct host *ret_h)
{
    struct host h = {.first = v};
    struct text t = {0};
    char user[EXPLAIN_SCALAR];
    size_t length;

    snprintf(h.name, sizeof(h.name), "%s", v->host);
    put_ports(&t, v, n);
    put_to(&t, v, n, &h.private);
    if (v->user[0]) {
        explain_scalar(slice_str(v->user), user);
        text_str(&t, "    user: ");
        text_str(&t, user);
        text_str(&t, "\n");
    }
    h.words = text_take(&t, &length);
    *ret_h = h;
    return h.words ? 0 : ERR_NOMEM;
}

/* The part that somebody registers: two labels, three below what looks like co.uk. "": there is none. */
static const char *registered(const char *name)
{
    const char *dots[3] = {0}, *end = name + strlen(name);
    unsigned n = 0;

    for (const char *p = end; p > name && n < 3; p--)
        if (p[-1] == '.')
            dots[n++] = p;
    if (n < 2)
        return "";
    if (end - dots[0] == 2 && dots[0] - dots[1] <= 4)
        return n == 3 ? dots[2] : "";
    return dots[1];
}

static bool is_name(const char *host)
{
    size_t n = strlen(host);

    return n && !strchr(host, ':') && !(host[n - 1] >= '0' && host[n - 1] <= '9');
}

static int compare_parents(const void *a, const void *b)
{
    const struct host *x = a, *y = b;
    int r = strcmp(x->words, y->words);

    if (r == 0)
        r = strcmp(registered(x->name), registered(y->name));
    return r ? r : strcmp(x->name, y->name);
}

/* Names with the same needs under one parent, in v: they become one when they are many. How many are left. */
static size_t fold_run(struct host *v, size_t n)
{
    char parent[sizeof(v->name)];

    if (n < FROM_LOG_FOLD || !is_name(v->name) || v->private || !registered(v->name)[0])
        return n;
    snprintf(parent, sizeof(parent), ".%s", registered(v->name));
    snprintf(v->name, sizeof(v->name), "%s", parent);
    for (size_t i = 1; i < n; i++)
        mem_free(v[i].words);
    return 1;
}

static size_t fold(struct host *v, size_t n)
{
    size_t left = 0;

    qsort(v, n, sizeof(*v), compare_parents);
    for (size_t i = 0, run; i < n; i += run) {
        size_t kept;

        for (run = 1; i + run < n && strcmp(v[i].words, v[i + run].words) == 0 &&
                      strcmp(registered(v[i].name), registered(v[i + run].name)) == 0;)
            run++;
        kept = fold_run(v + i, run);
        memmove(v + left, v + i, kept * sizeof(*v));
        left += kept;
    }
    return left;
}

static void put_rule(struct text *t, const struct host *v, size_t n)
{
    char name[EXPLAIN_SCALAR];

    text_str(t, n == 1 ? "  - allow: " : "  - allow:\n");
    for (size_t i = 0; i < n; i++) {
        explain_host(slice_str(v[i].name), name);
        text_str(t, n == 1 ? "" : "      - ");
        text_str(t, name);
        text_str(t, "\n");
    }
    text_str(t, v->words);
}

static void put_rules(struct text *t, const struct host *v, size_t n)
{
    text_str(t, n ? "rules:\n" : "rules: []\n");
    for (size_t i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && strcmp(v[i].words, v[i + run].words) == 0;)
            run++;
        put_rule(t, v + i, run);
    }
}

int from_log_rules(struct from_log *f, struct text *t)
{
    struct host *v = mem_zalloc((f->n + 1) * sizeof(*v));
    size_t n = 0;
    int r = v ? 0 : ERR_NOMEM;

    if (f->n)
        qsort(f->v, f->n, sizeof(*f->v), compare_seen);
    /* The slots are of the old order: nothing is added any more. */
    for (size_t i = 0, run; r == 0 && i < f->n; i += run) {
        for (run = 1; i + run < f->n && same_host(&f->v[i], &f->v[i + run]);)
            run++;
        r = make_host(&f->v[i], run, &v[n]);
        n += r == 0;
    }
    if (r == 0 && f->opts.suffixes)
        n = fold(v, n);
    if (r == 0) {
        if (n)
            qsort(v, n, sizeof(*v), compare_hosts);
        put_rules(t, v, n);
    }
    for (size_t i = 0; v && i < n; i++)
        mem_free(v[i].words);
    mem_free(v);
    return r == 0 && t->refused ? ERR_NOMEM : r;
}

/* ---- the command ---- */

static int complain(int code, const char *what, const char *why)
{
    char shown[160] = "";
    size_t columns;

    if (what)
        conf_text_escape(shown, sizeof(shown), slice_str(what), 100, &columns);
    fprintf(stderr, "ginnel: %s%s%s\n", shown, what ? ": " : "", why);
    return code;
}

static int read_all(struct from_log *f, struct log_reader *reader)
{
    struct log_line l;
    int r = 0;

    while (r == 0 && log_reader_next(reader, &l))
        r = from_log_add(f, &l);
    log_reader_report(reader);
    if (r == ERR_LIMIT) {
        char why[128];

        snprintf(why, sizeof(why), "more than %zu different targets in %" PRIu64 " lines: cut the log into parts, or select", f->opts.most,
                 reader->lines);
        return complain(EXIT_DATA, reader->name, why);
    }
    if (r < 0)
        return complain(EXIT_OSERR, NULL, err_text(r));
    return reader->failed ? EXIT_IOERR : 0;
}

static int print(struct from_log *f, const struct log_reader *reader)
{
    struct text t = {0};
    char *text;
    size_t n;

    if (reader->lines && reader->lines == reader->bad)
        return complain(EXIT_DATA, reader->name, "there is no line of an access log in format json in it");
    text_printf(&t, "# what %" PRIu64 " of %" PRIu64 " requests need\n", from_log_used(f), reader->records);
    if (from_log_rules(f, &t) < 0) {
        text_done(&t);
        return complain(EXIT_OSERR, NULL, err_text(ERR_NOMEM));
    }
    text = text_take(&t, &n);
    if (!text)
        return complain(EXIT_OSERR, NULL, err_text(ERR_NOMEM));
    fwrite(text, 1, n, stdout);
    mem_free(text);
    return 0;
}

int from_log_command(const struct command_call *call)
{
    const struct from_log_opts opts = {.would = call->given & 1u << FLAG_WOULD,
                                       .suffixes = call->given & 1u << FLAG_SUFFIXES,
                                       .per_user = call->given & 1u << FLAG_PER_USER};
    struct from_log *f = from_log_new(&opts);
    struct log_reader reader;
    int r = f ? log_reader_open(&reader, call->argument) : ERR_NOMEM;

    if (r < 0) {
        from_log_free(f);
        return complain(r == ERR_NOMEM ? EXIT_OSERR : EXIT_NOINPUT, call->argument, err_text(r));
    }
    r = read_all(f, &reader);
    if (r == 0)
        r = print(f, &reader);
    log_reader_close(&reader);
    from_log_free(f);
    return r;
}
