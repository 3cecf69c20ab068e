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
    TEXT_MIN = 256,
};

struct slot {
    uint32_t at;  /* where the entry begins in the text, and 1; 0: free */
    uint32_t tag; /* the hash's lower half, which also says where to begin looking */
};

struct table {
    struct slot *slots;
    size_t n, mask; /* used; slots - 1, a power of two less one */
};

struct hosts {
    struct table names, suffixes;
    char *text; /* entries: a byte that says how long, and the name */
    size_t n_text, room;
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

static bool is_entry(const struct hosts *h, uint32_t at, struct slice name)
{
    const char *entry = h->text + (at - 1);

    return (unsigned char)entry[0] == name.n && memcmp(entry + 1, name.p, name.n) == 0;
}

/* The slot of a name, or the free one where it would go. There is always a free one, which ends the
 * search: a table is never more than three quarters full. */
static struct slot *find(const struct hosts *h, const struct table *t, struct slice name,
                         uint32_t tag)
{
    size_t i = tag & t->mask;

    while (t->slots[i].at && (t->slots[i].tag != tag || !is_entry(h, t->slots[i].at, name)))
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

/* From the last label on, as many labels as some suffix has: a name of 127 labels costs no more
 * than another. */
static bool has_suffix(const struct hosts *h, struct slice host)
{
    size_t at = host.n;

    for (unsigned label = 0; label < h->deepest; label++) {
        const char *dot = memrchr(host.p, '.', at);
        struct slice suffix = slice_skip(host, dot ? (size_t)(dot + 1 - host.p) : 0);

        if (has(h, &h->suffixes, suffix, tag_of(suffix)))
            return true;
        if (!dot)
            return false;
        at = (size_t)(dot - host.p);
    }
    return false;
}

bool hosts_has(const struct hosts *h, struct slice host)
{
    if (host.n == 0 || host.n > NAME_MAX_BYTES)
        return false;
    if (h->names.n && has(h, &h->names, host, tag_of(host)))
        return true;
    return has_suffix(h, host);
}

size_t hosts_count(const struct hosts *h)
{
    return h->names.n + h->suffixes.n;
}

/* The text says nothing of which table an entry is in: the names' slot for it, if any, points at it. */
bool hosts_next(const struct hosts *h, size_t *at, struct slice *ret_name, bool *ret_suffix)
{
    struct slice name;

    if (*at >= h->n_text)
        return false;
    name = slice_of(h->text + *at + 1, (unsigned char)h->text[*at]);
    *ret_suffix = !h->names.n || find(h, &h->names, name, tag_of(name))->at != *at + 1;
    *ret_name = name;
    *at += name.n + 1;
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

int hosts_add(struct hosts *h, struct slice name)
{
    struct table *t = &h->names;
    uint32_t tag;
    int r;

    if (name.n == 0 || name.n > NAME_MAX_BYTES)
        return ERR_RANGE;
    if (name.p[0] == '.') {
        t = &h->suffixes;
        name = slice_skip(name, 1);
        if (name.n == 0)
            return ERR_RANGE;
    }
    tag = tag_of(name);
    if (has(h, t, name, tag))
        return 0;
    r = reserve_slot(t);
    if (r < 0)
        return r;
    r = reserve_text(h, name.n + 1);
    if (r < 0)
        return r;
    *find(h, t, name, tag) = (struct slot){.at = put_text(h, name), .tag = tag};
    t->n++;
    if (t == &h->suffixes && labels_of(name) > h->deepest)
        h->deepest = labels_of(name);
    return 0;
}
