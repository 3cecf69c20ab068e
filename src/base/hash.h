/* SPDX-License-Identifier: MIT */
/* hash: SipHash-1-3 with a process-wide random key, for tables whose keys come from outside; and SipHash-2-4 with 128 bits of result, under a key of
 * its own, where two inputs must never be taken for the same. Neither is for storing passwords. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

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

#endif
