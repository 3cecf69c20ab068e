/* SPDX-License-Identifier: MIT */
/* access_entry: what lies in the log's rings: whole entries of a multiple of 8 bytes, each behind
 * its length, so that a length is never cut in two by the ring's end. An entry is a record (a
 * worker's ring) or a text (the diagnostics'). Thread: entry_put_* on the ring's producer,
 * entry_next and entry_drop on its consumer. */
#ifndef PROXY_ACCESS_ENTRY_H
#define PROXY_ACCESS_ENTRY_H

#include "base/ring.h"
#include "proxy/access.h"

enum { ACCESS_ENTRY_MAX = 20480 }; /* of any entry */

/* Strings that are too long are cut. False: no room, nothing was put. */
bool access_entry_put(struct ring_bytes *ring, const struct access_record *r, uint64_t now_us);
/* False: no room, or longer than ACCESS_LINE_MAX. */
bool access_entry_put_text(struct ring_bytes *ring, const char *p, size_t n);

struct access_entry {
    const char *p; /* in the ring, or in the reader's scratch */
    size_t n;
    size_t in_ring; /* bytes that entry_drop is still to give back */
};

/* The entry at the front; false: the ring is empty. scratch: 8-aligned, ACCESS_ENTRY_MAX bytes, for
 * one that lies around the ring's end. It stays valid until access_entry_drop. */
bool access_entry_next(struct ring_bytes *ring, char *scratch, struct access_entry *ret_entry);
void access_entry_drop(struct ring_bytes *ring, const struct access_entry *e);

/* What the entry holds; slices point into it. */
void access_entry_record(const struct access_entry *e, struct access_record *ret_record,
                         uint64_t *ret_now_us);
struct slice access_entry_text(const struct access_entry *e);

static inline size_t access_ring_used(struct ring_bytes *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_acquire) -
           atomic_load_explicit(&ring->tail, memory_order_acquire);
}

#endif
