/* SPDX-License-Identifier: MIT */
/* access_entry: records as bytes and back. The worker's half is two copies and no branch on
 * content: the strings go behind the struct in the order of access_texts.h, and the slices' lengths say
 * how long each is. The log's thread reads entries where they lie.
 */
#include "proxy/access_entry.h"

#include "base/check.h"
#include "proxy/access_texts.h"

#include <string.h>

struct entry_head {
    uint32_t n; /* of the whole entry, padded */
    uint32_t text_n;
};

struct packed {
    struct entry_head head;
    uint64_t now_us;
    struct access_record r; /* its slices' pointers mean nothing here; door: whether there is one */
    struct access_door door;
};

enum { ALIGN = 8 };

_Static_assert(sizeof(struct packed) + ACCESS_TEXTS_MAX + ALIGN <= ACCESS_ENTRY_MAX, "a record fits");
_Static_assert(sizeof(struct entry_head) + ACCESS_LINE_MAX + ALIGN <= ACCESS_ENTRY_MAX, "a line fits");
_Static_assert(_Alignof(struct packed) <= ALIGN, "entries are read where they lie");

static size_t padded(size_t n)
{
    return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

bool access_entry_put(struct ring_bytes *ring, const struct access_record *r, uint64_t now_us)
{
    struct {
        struct packed packed;
        char text[ACCESS_TEXTS_MAX + ALIGN];
    } e;
    char *p = e.text;

    e.packed.now_us = now_us;
    e.packed.r = *r;
    e.packed.door = r->door ? *r->door : (struct access_door){0};
    for (unsigned i = 0; i < ACCESS_TEXTS; i++) {
        struct slice *s = access_text(&e.packed.r, i);

        s->n = min_size(s->n, access_texts[i].max);
        if (s->n)
            memcpy(p, s->p, s->n);
        p += s->n;
    }
    memset(p, 0, ALIGN);
    e.packed.head.text_n = (uint32_t)(p - e.text);
    e.packed.head.n = (uint32_t)padded(sizeof(e.packed) + e.packed.head.text_n);
    return ring_bytes_put(ring, &e, e.packed.head.n);
}

bool access_entry_put_text(struct ring_bytes *ring, const char *p, size_t n)
{
    struct {
        struct entry_head head;
        char text[ACCESS_LINE_MAX + ALIGN];
    } e;

    if (n > ACCESS_LINE_MAX)
        return false;
    e.head.text_n = (uint32_t)n;
    e.head.n = (uint32_t)padded(sizeof(e.head) + n);
    if (n)
        memcpy(e.text, p, n);
    memset(e.text + n, 0, ALIGN);
    return ring_bytes_put(ring, &e, e.head.n);
}

bool access_entry_next(struct ring_bytes *ring, char *scratch, struct access_entry *ret_entry)
{
    struct access_entry e = {0};
    struct entry_head head;
    size_t n = ring_bytes_peek(ring, &e.p);

    if (n == 0)
        return false;
    CHECK(n >= sizeof(head));
    memcpy(&head, e.p, sizeof(head));
    e.n = e.in_ring = head.n;
    if (n < e.n) {
        const char *rest;

        CHECK(e.n <= ACCESS_ENTRY_MAX);
        memcpy(scratch, e.p, n);
        ring_bytes_drop(ring, n);
        /* One store showed the whole entry: its other half is there. */
        CHECK(ring_bytes_peek(ring, &rest) >= e.n - n);
        memcpy(scratch + n, rest, e.n - n);
        e.p = scratch;
        e.in_ring = e.n - n;
    }
    *ret_entry = e;
    return true;
}

void access_entry_drop(struct ring_bytes *ring, const struct access_entry *e)
{
    ring_bytes_drop(ring, e->in_ring);
}

void access_entry_record(const struct access_entry *e, struct access_record *ret_record,
                         uint64_t *ret_now_us)
{
    const struct packed *packed = (const struct packed *)(const void *)e->p;
    const char *p = e->p + sizeof(*packed);

    *ret_record = packed->r;
    ret_record->door = packed->r.door ? &packed->door : NULL;
    *ret_now_us = packed->now_us;
    for (unsigned i = 0; i < ACCESS_TEXTS; i++) {
        struct slice *s = access_text(ret_record, i);

        s->p = p;
        p += s->n;
    }
}

struct slice access_entry_text(const struct access_entry *e)
{
    const struct entry_head *head = (const struct entry_head *)(const void *)e->p;

    return slice_of(e->p + sizeof(*head), head->text_n);
}
