/* SPDX-License-Identifier: MIT */
/* hash: SipHash-1-3 with a process-wide random key, for tables whose keys come from outside; SipHash-2-4 with 128 bits of result, under a key of
 * its own, where two inputs must never be taken for the same; and tags, which do the same for less where nobody ever sees them. None is for storing
 * passwords. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *p, size_t n);
/* Draws the key (getrandom). Called once at start; without it the key is fixed (tests). */
void hash_seed(void);

/* 128 bits over several parts, each with its length: ("ab", "c") and ("a", "bc") differ. */
struct hash_wide {
    uint64_t v[4];
    uint64_t word; /* bytes that do not fill one yet */
    uint64_t n;
};
enum { HASH_WIDE_LEN = 16 };
void hash_wide_init(struct hash_wide *h);
void hash_wide_add(struct hash_wide *h, const void *p, size_t n);
/* Forgets its state. */
void hash_wide_done(struct hash_wide *h, unsigned char ret_hash[HASH_WIDE_LEN]);

/* A strongly universal hash under a random key of its own, for telling whether something is what it was: whatever two inputs somebody chooses who has seen no
 * tag, theirs are the same with a probability of 2^-128. A tag is only ever compared with hash_tag_same: never shown, stored elsewhere, or made an index of,
 * for those who can watch tags learn the key. */
enum { HASH_TAG_MAX = 256 };
struct hash_tag {
    uint64_t v[2];
};
/* n is HASH_TAG_MAX at most. */
struct hash_tag hash_tag(const void *p, size_t n);
/* In constant time. */
static inline bool hash_tag_same(const struct hash_tag *a, const struct hash_tag *b)
{
    return ((a->v[0] ^ b->v[0]) | (a->v[1] ^ b->v[1])) == 0;
}

#endif
