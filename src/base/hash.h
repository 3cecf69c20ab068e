/* SPDX-License-Identifier: MIT */
/* hash: SipHash-1-3 with a process-wide random key, for tables whose keys come from outside. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *p, size_t n);
/* Draws the key (getrandom). Called once at start; without it the key is fixed (tests). */
void hash_seed(void);

#endif
