/* SPDX-License-Identifier: MIT */
/* users_memo: what a worker has had verified a moment ago, by the field that was sent: the next request of a kept connection, and of others of that user, is not
 * read and asked about again. Of the field only a keyed hash of 128 bits is kept. An entry lives for a second, or for `cache` if that is shorter, and
 * no longer than its configuration; what it says was said by users_verify.
 * Owner: a worker. Memory: about 90 KB from the first entry on. Thread: its own. */
#ifndef PROXY_USERS_MEMO_H
#define PROXY_USERS_MEMO_H

#include "base/arena.h"
#include "base/hash.h"

#include <stdbool.h>

struct users;

enum { USERS_MEMO_MS = 1000, USERS_MEMO_SLOTS = 256, USERS_MEMO_TEXT = 280 };

struct users_memo_slot;
struct users_memo {
    struct users_memo_slot *slots; /* NULL: nothing has been kept yet */
};
void users_memo_done(struct users_memo *m);

/* Which question it is. */
struct users_memo_key {
    const struct users *users;
    unsigned generation; /* of the snapshot that has these users */
    unsigned char field[HASH_WIDE_LEN];
};
struct users_memo_key users_memo_key(const struct users *u, unsigned generation, struct slice field);

/* What is known of whoever sent it; lists have commas between. */
struct users_memo_texts {
    struct slice user, groups, labels, granted;
};
/* OK: the texts, in the arena, and how long they hold. ERR_NOTFOUND, ERR_NOMEM. */
int users_memo_find(const struct users_memo *m, const struct users_memo_key *k, uint64_t now_ms, struct arena *a, struct users_memo_texts *ret_texts,
                    uint64_t *ret_until_ms) MUST_USE;
/* For ms milliseconds. What is too long, or finds no memory, is not kept. */
void users_memo_keep(struct users_memo *m, const struct users_memo_key *k, uint64_t now_ms, uint64_t ms, const struct users_memo_texts *t);

#endif
