/* SPDX-License-Identifier: MIT */
/* board: facts that workers share (DNS answers now; limits, bad parents, leaf certificates later). One table of fixed size,
 * sharded, a lock a shard, each fact with a time to live. When a shard is full the fact nearest to its end goes.
 * Memory: about entries * (BOARD_KEY_MAX + value_max + 48), taken at once. Thread: any. */
#ifndef BASE_BOARD_H
#define BASE_BOARD_H

#include "base/slice.h"

#include <stdint.h>

enum { BOARD_KEY_MAX = 272, BOARD_SHARDS = 16 };

/* USER: who has shown a right password. GUESSES: how often a client has given a wrong one. PEER: the name of a user of this machine. PARENT: a
 * parent proxy that failed a moment ago. */
enum board_kind { BOARD_DNS = 1, BOARD_FAMILY, BOARD_USER, BOARD_GUESSES, BOARD_PEER, BOARD_PARENT };

struct board;

struct board *board_new(size_t entries, size_t value_max) MUST_USE; /* NULL: memory refused */
void board_free(struct board *b);

/* Copies the value out. False: absent, expired, or larger than cap. */
bool board_get(struct board *b, enum board_kind kind, struct slice key, uint64_t now_ms, void *value,
               size_t cap, size_t *ret_n);
/* Adds or replaces. Keys over BOARD_KEY_MAX and values over value_max are not kept. ttl 0 is not kept either. */
void board_put(struct board *b, enum board_kind kind, struct slice key, uint64_t now_ms, uint64_t ttl_ms,
               const void *value, size_t n);
/* Changes the fact in place, no other thread between: change(value, fresh, ctx) gets its n bytes, zeroed and fresh when there was none of that size that
 * lives, and must be short. Nothing happens to keys and values that board_put would not keep. */
typedef void (*board_change_fn)(void *value, bool fresh, void *ctx);
void board_change(struct board *b, enum board_kind kind, struct slice key, uint64_t now_ms, uint64_t ttl_ms, size_t n, board_change_fn change,
                  void *ctx);
void board_del(struct board *b, enum board_kind kind, struct slice key);
size_t board_count(struct board *b); /* facts held now, expired ones included */

#endif
