/* SPDX-License-Identifier: MIT */
/* hosts: two tables, one of names and one of suffixes, over one block of text. Both are
 * open-addressed with a seeded hash, for lists come from elsewhere and so do the names that are
 * looked up. A slot is an offset and half a hash, so that growing moves slots and reads no text.
 * Built by the configuration, asked once a request. It never normalises: equal is equal byte for
 * byte.
 */
#include "policy/hosts.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <string.h>

enum {
    NAME_MAX_BYTES = 254, /* 253 (RFC 1035 2.3.4, without the root) and the dot in front */
    SLOTS_MIN = 16,
    FEW = 6, /* entries that are compared in less time than one hash takes */
    TEXT_MIN = 256,
};

struct slot {
    uint32_t at;  /* where the entry begins in the text, and 1; 0: free */
    uint32_t tag; /* the hash's lower half, which also says where to begin looking */
};

struct table {
    size_t n; /* used */
    size_t mask; /* slots - 1, a power of two less one */
    struct slot *slots;
};

struct hosts {
    char *text; /* entries: a byte that says how long, and what was added, with its dot */
    size_t n_text, n; /* bytes, entries */
    struct table names, suffixes;
    size_t room;
    unsigned deepest; /* the most labels that a suffix has */
};

struct hosts *hosts_new(void)
{
    return mem_zalloc(sizeof(struct hosts));
}

void hosts_free(struct hosts *h)
{
    if (!h)
        return;
    mem_free(h->names.slots);
    mem_free(h->suffixes.slots);
    mem_free(h->text);
    mem_free(h);
}

static struct slice entry_at(const struct hosts *h, size_t at)
{
    return slice_of(h->text + at + 1, (unsigned char)h->text[at]);
}

/* name: without the dot, which the entries of the other table have. */
static bool is_entry(const struct hosts *h, const struct table *t, uint32_t at, struct slice name)
{
    struct slice entry = entry_at(h, at - 1);

    return slice_eq(t == &h->suffixes ? slice_skip(entry, 1) : entry, name);
}

/* The slot of a name, or the free one where it would go. There is always a free one, which ends the
 * search: a table is never more than three quarters full. */
static struct slot *find(const struct hosts *h, const struct table *t, struct slice name,
                         uint32_t tag)
{
    size_t i = tag & t->mask;

    while (t->slots[i].at && (t->slots[i].tag != tag || !is_entry(h, t, t->slots[i].at, name)))
        i = (i + 1) & t->mask;
    return &t->slots[i];
}

static uint32_t tag_of(struct slice name)
{
    return (uint32_t)hash_bytes(name.p, name.n);
}

static bool has(const struct hosts *h, const struct table *t, struct slice name, uint32_t tag)
{
    return t->n && find(h, t, name, tag)->at;
}

/* ---- asking ---- */

static bool ends_in(struct slice host, struct slice end)
{
    return host.n >= end.n && memcmp(host.p + (host.n - end.n), end.p, end.n) == 0;
}

static bool is_among_few(const struct hosts *h, struct slice host)
{
    for (size_t at = 0; at < h->n_text;) {
        struct slice entry = entry_at(h, at);

        if (entry.p[0] == '.' ? ends_in(host, entry) || slice_eq(host, slice_skip(entry, 1)) : slice_eq(host, entry))
            return true;
        at += entry.n + 1;
    }
    return false;
}

/* Where the last `labels` labels begin, when the last `labels - 1` begin at `at`; false: there are not so many. */
static bool one_label_more(struct slice host, size_t at, size_t *ret_at)
{
    const char *dot;

    if (at == 0)
        return false;
    dot = at > host.n ? memrchr(host.p, '.', host.n) : memrchr(host.p, '.', at - 1);
    *ret_at = dot ? (size_t)(dot + 1 - host.p) : 0;
    return true;
}

void hosts_suffix_init(struct hosts_suffix *s, struct slice host)
{
    s->host = host;
    s->at = host.n + 1;
    s->i = 0;
}

/* What the key has no room for is hashed each time. */
bool hosts_suffix_next(struct hosts_suffix *s, struct hosts_key *key)
{
    unsigned i = s->i++;

    if (i < key->n) {
        s->at = key->at[i];
        s->name = slice_skip(s->host, s->at);
        s->tag = key->tags[i];
        return true;
    }
    if (!one_label_more(s->host, s->at, &s->at))
        return false;
    s->name = slice_skip(s->host, s->at);
    s->tag = s->at == 0 && key->whole ? key->tag : tag_of(s->name);
    if (s->at == 0) {
        key->tag = s->tag;
        key->whole = true;
    }
    if (i < HOSTS_KEY_LABELS) {
        key->tags[i] = s->tag;
        key->at[i] = (uint8_t)s->at;
        key->n++;
    }
    return true;
}

uint32_t hosts_key_whole(struct hosts_key *key, struct slice host)
{
    if (!key->whole) {
        key->tag = tag_of(host);
        key->whole = true;
    }
    return key->tag;
}

/* From the last label on, as many labels as some suffix has: a name of 127 labels costs no more
 * than another. */
static bool has_suffix(const struct hosts *h, struct slice host, struct hosts_key *key)
{
    struct hosts_suffix suffix;

    hosts_suffix_init(&suffix, host);
    for (unsigned i = 0; i < h->deepest && hosts_suffix_next(&suffix, key); i++)
        if (has(h, &h->suffixes, suffix.name, suffix.tag))
            return true;
    return false;
}

bool hosts_has_key(const struct hosts *h, struct slice host, struct hosts_key *key)
{
    if (host.n == 0 || host.n > NAME_MAX_BYTES)
        return false;
    if (h->n <= FEW)
        return is_among_few(h, host);
    if (h->names.n && has(h, &h->names, host, hosts_key_whole(key, host)))
        return true;
    return has_suffix(h, host, key);
}

bool hosts_has(const struct hosts *h, struct slice host)
{
    struct hosts_key key;

    key.n = 0;
    key.whole = false;
    return hosts_has_key(h, host, &key);
}

size_t hosts_count(const struct hosts *h)
{
    return h->n;
}

bool hosts_next(const struct hosts *h, size_t *at, struct slice *ret_name, bool *ret_suffix)
{
    struct slice entry;

    if (*at >= h->n_text)
        return false;
    entry = entry_at(h, *at);
    *at += entry.n + 1;
    *ret_suffix = entry.p[0] == '.';
    *ret_name = *ret_suffix ? slice_skip(entry, 1) : entry;
    return true;
}

/* ---- adding ---- */

static int grow_table(struct table *t)
{
    struct table wider = {.n = t->n, .mask = t->slots ? 2 * t->mask + 1 : SLOTS_MIN - 1};

    wider.slots = mem_array(wider.mask + 1, sizeof(*wider.slots));
    if (!wider.slots)
        return ERR_NOMEM;
    for (size_t i = 0; t->slots && i <= t->mask; i++) {
        size_t to = t->slots[i].tag & wider.mask;

        if (!t->slots[i].at)
            continue;
        while (wider.slots[to].at)
            to = (to + 1) & wider.mask;
        wider.slots[to] = t->slots[i];
    }
    mem_free(t->slots);
    *t = wider;
    return 0;
}

static int reserve_slot(struct table *t)
{
    return t->slots && t->n < (t->mask + 1) / 4 * 3 ? 0 : grow_table(t);
}

static int reserve_text(struct hosts *h, size_t n)
{
    size_t room = max_size(h->room + h->room / 2, TEXT_MIN + NAME_MAX_BYTES);
    char *text;

    if (n <= h->room - h->n_text)
        return 0;
    /* What a slot cannot point at is memory that we do not have. */
    if (room > UINT32_MAX)
        room = UINT32_MAX;
    if (n > room - h->n_text)
        return ERR_NOMEM;
    text = mem_grow(h->text, room);
    if (!text)
        return ERR_NOMEM;
    h->text = text;
    h->room = room;
    return 0;
}

static uint32_t put_text(struct hosts *h, struct slice name)
{
    size_t at = h->n_text;

    h->text[at] = (char)(unsigned char)name.n;
    memcpy(h->text + at + 1, name.p, name.n);
    h->n_text += name.n + 1;
    return (uint32_t)at + 1;
}

static unsigned labels_of(struct slice name)
{
    unsigned n = 1;

    for (size_t i = 0; i < name.n; i++)
        n += name.p[i] == '.';
    return n;
}

int hosts_add(struct hosts *h, struct slice entry)
{
    bool suffix = entry.n && entry.p[0] == '.';
    struct table *t = suffix ? &h->suffixes : &h->names;
    struct slice name = suffix ? slice_skip(entry, 1) : entry;
    uint32_t tag;
    int r;

    if (name.n == 0 || entry.n > NAME_MAX_BYTES)
        return ERR_RANGE;
    tag = tag_of(name);
    if (has(h, t, name, tag))
        return 0;
    r = reserve_slot(t);
    if (r < 0)
        return r;
    r = reserve_text(h, entry.n + 1);
    if (r < 0)
        return r;
    *find(h, t, name, tag) = (struct slot){.at = put_text(h, entry), .tag = tag};
    t->n++;
    h->n++;
    if (suffix && labels_of(name) > h->deepest)
        h->deepest = labels_of(name);
    return 0;
}
