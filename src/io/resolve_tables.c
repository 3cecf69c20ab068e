/* SPDX-License-Identifier: MIT */
/* resolve_tables: the hosts file and resolv.conf from bytes to tables. Called by resolve_files for
 * what it has read, and by the resolver for names. Pure: no file, no clock. A line that it does not
 * understand is passed over; nothing is kept that is longer than the tables say.
 */
#include "io/resolve_tables.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"

#include <net/if.h>

enum { DNS_PORT = 53 };

struct resolve_host {
    uint32_t name; /* offset in text */
    uint32_t next; /* in its bucket: index + 1, 0 at the end */
    uint8_t name_n, family;
    uint8_t bytes[16];
};

/* ---- text ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* The next word of a line; false at its end. */
static bool next_word(struct slice *line, struct slice *ret_word)
{
    size_t n = 0;

    while (line->n && is_blank(line->p[0]))
        *line = slice_skip(*line, 1);
    while (n < line->n && !is_blank(line->p[n]))
        n++;
    *ret_word = slice_of(line->p, n);
    *line = slice_skip(*line, n);
    return n > 0;
}

/* The next line without its comment; lines that are too long come out empty. False at the end of
 * the text. */
static bool next_line(struct slice *text, const char *comment, struct slice *ret_line)
{
    size_t n = slice_find(*text, '\n');
    struct slice line = slice_of(text->p, n);

    if (text->n == 0)
        return false;
    *text = slice_skip(*text, n < text->n ? n + 1 : n);
    if (line.n > RESOLVE_TABLES_LINE)
        line.n = 0;
    for (; *comment; comment++)
        line.n = slice_find(line, *comment);
    *ret_line = line;
    return true;
}

/* A name as a table may hold it: without its trailing dot; empty when it is none. */
static struct slice clean_name(struct slice name)
{
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n > RESOLVE_TABLES_NAME)
        name.n = 0;
    return name;
}

/* ---- hosts ---- */

void resolve_tables_free(struct resolve_hosts *h)
{
    mem_free(h->text);
    mem_free(h->v);
    mem_free(h->bucket);
    *h = (struct resolve_hosts){0};
}

static int hosts_add(struct resolve_hosts *h, uint32_t *cap, struct slice name,
                     const struct addr *a)
{
    struct resolve_host *host;

    if (h->n == *cap) {
        uint32_t more = *cap ? *cap * 2 : 64;
        struct resolve_host *v = mem_grow(h->v, more * sizeof(*v));

        if (!v)
            return ERR_NOMEM;
        h->v = v;
        *cap = more;
    }
    host = &h->v[h->n++];
    *host = (struct resolve_host){.name = (uint32_t)(name.p - h->text), .name_n = (uint8_t)name.n};
    host->family = a->sa.sa_family == AF_INET6 ? 6 : 4;
    if (host->family == 6)
        memcpy(host->bytes, &a->in6.sin6_addr, 16);
    else
        memcpy(host->bytes, &a->in.sin_addr, 4);
    return 0;
}

static int hosts_line(struct resolve_hosts *h, uint32_t *cap, struct slice line)
{
    struct slice word;
    struct addr a;

    if (!next_word(&line, &word) || addr_parse_host(word, 0, &a) < 0)
        return 0;
    while (next_word(&line, &word)) {
        struct slice name = clean_name(word);
        int r;

        if (name.n == 0)
            continue;
        if (h->n == RESOLVE_TABLES_HOSTS)
            return ERR_LIMIT;
        r = hosts_add(h, cap, name, &a);
        if (r < 0)
            return r;
    }
    return 0;
}

static struct slice host_name(const struct resolve_hosts *h, const struct resolve_host *host)
{
    return slice_of(h->text + host->name, host->name_n);
}

static uint32_t *hosts_bucket(const struct resolve_hosts *h, struct slice name)
{
    return &h->bucket[hash_bytes(name.p, name.n) & (h->n_bucket - 1)];
}

static int hosts_index(struct resolve_hosts *h)
{
    for (h->n_bucket = 1; h->n_bucket < h->n; h->n_bucket *= 2)
        ;
    h->bucket = mem_array(h->n_bucket, sizeof(*h->bucket));
    if (!h->bucket)
        return ERR_NOMEM;
    /* Backwards, so that a bucket is in the file's order. */
    for (uint32_t i = h->n; i > 0; i--) {
        uint32_t *first = hosts_bucket(h, host_name(h, &h->v[i - 1]));

        h->v[i - 1].next = *first;
        *first = i;
    }
    return 0;
}

int resolve_tables_hosts(char *bytes, size_t n, struct resolve_hosts *ret_hosts)
{
    struct resolve_hosts h = {.text = bytes};
    struct slice text = slice_of(bytes, n), line;
    uint32_t cap = 0;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        bytes[i] = slice_lower(bytes[i]);
    while (r == 0 && next_line(&text, "#", &line))
        r = hosts_line(&h, &cap, line);
    if (r == ERR_LIMIT) {
        log_debug("hosts file: only the first %d entries are used", RESOLVE_TABLES_HOSTS);
        r = 0;
    }
    if (r == 0)
        r = hosts_index(&h);
    if (r < 0) {
        resolve_tables_free(&h);
        return r;
    }
    *ret_hosts = h;
    return 0;
}

static void host_addr(const struct resolve_host *host, struct addr *ret_addr)
{
    if (host->family == 6)
        addr_v6(ret_addr, host->bytes, 0);
    else
        addr_v4(ret_addr, host->bytes, 0);
}

static bool is_among(const struct addr *a, const struct addr *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (a->sa.sa_family == v[i].sa.sa_family && addr_same_host(a, &v[i]))
            return true;
    return false;
}

unsigned resolve_tables_find(const struct resolve_hosts *h, struct slice name, struct addr *addrs,
                             unsigned max)
{
    unsigned n = 0;

    if (h->n == 0)
        return 0;
    for (uint32_t i = *hosts_bucket(h, name); i && n < max; i = h->v[i - 1].next) {
        const struct resolve_host *host = &h->v[i - 1];

        if (!slice_eq(host_name(h, host), name))
            continue;
        host_addr(host, &addrs[n]);
        if (!is_among(&addrs[n], addrs, n))
            n++;
    }
    return n;
}

/* ---- resolv.conf ---- */

/* "192.0.2.1", "2001:db8::1", "fe80::1%eth0" */
static int read_server(struct slice word, struct addr *ret_addr)
{
    size_t percent = slice_find(word, '%');
    char name[IF_NAMESIZE];
    struct slice scope;
    struct addr a;
    int r = addr_parse_host(slice_of(word.p, percent), DNS_PORT, &a);

    if (r < 0)
        return r;
    if (percent < word.n) {
        scope = slice_skip(word, percent + 1);
        if (a.sa.sa_family != AF_INET6 || scope.n == 0 || scope.n >= sizeof(name))
            return ERR_SYNTAX;
        memcpy(name, scope.p, scope.n);
        name[scope.n] = '\0';
        a.in6.sin6_scope_id = if_nametoindex(name);
    }
    *ret_addr = a;
    return 0;
}

static void read_search(struct resolve_conf_file *c, struct slice line)
{
    struct slice word;

    memset(c->search, 0, sizeof(c->search));
    c->n_search = 0;
    while (c->n_search < RESOLVE_TABLES_SEARCH && next_word(&line, &word)) {
        struct slice name = clean_name(word);
        char *out = c->search[c->n_search];

        if (name.n == 0)
            continue;
        for (size_t i = 0; i < name.n; i++)
            out[i] = slice_lower(name.p[i]);
        c->n_search++;
    }
}

static void read_options(struct resolve_conf_file *c, struct slice line)
{
    struct slice word;
    uint64_t v;

    while (next_word(&line, &word)) {
        if (word.n <= 6 || memcmp(word.p, "ndots:", 6) != 0)
            continue;
        if (num_dec(slice_skip(word, 6), UINT32_MAX, &v) == 0)
            c->ndots = v < RESOLVE_TABLES_NDOTS ? (unsigned)v : RESOLVE_TABLES_NDOTS;
    }
}

static void conf_line(struct resolve_conf_file *c, struct slice line)
{
    struct slice key, word;

    if (!next_word(&line, &key))
        return;
    if (slice_eq(key, SLICE("nameserver"))) {
        if (c->n_servers < RESOLVE_TABLES_SERVERS && next_word(&line, &word) &&
            read_server(word, &c->servers[c->n_servers]) == 0)
            c->n_servers++;
    } else if (slice_eq(key, SLICE("search")) || slice_eq(key, SLICE("domain"))) {
        read_search(c, line); /* the last of them counts */
    } else if (slice_eq(key, SLICE("options"))) {
        read_options(c, line);
    }
}

void resolve_tables_conf(const char *bytes, size_t n, struct resolve_conf_file *ret_conf)
{
    struct slice text = slice_of(bytes, n), line;

    memset(ret_conf, 0, sizeof(*ret_conf)); /* it is compared as bytes */
    ret_conf->ndots = 1;
    while (next_line(&text, "#;", &line))
        conf_line(ret_conf, line);
}
