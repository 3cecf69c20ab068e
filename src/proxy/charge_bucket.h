/* SPDX-License-Identifier: MIT */
/* charge_bucket: what one bucket of a limit counts, and the arithmetic: requests, tunnels, bytes a second, bytes of a span. Pure but for its atomics: the
 * caller says what time it is. Clocks may stand still or jump back: nothing is refilled by that. Owner: the table (charge_table.h), which lends it to
 * whoever has pinned it. Thread: any. */
#ifndef PROXY_CHARGE_BUCKET_H
#define PROXY_CHARGE_BUCKET_H

#include "policy/limit.h"

#include <stdatomic.h>

/* What flows: both directions together, each, and what `at-limit: slow` leaves. */
enum charge_flow { FLOW_BOTH = 0, FLOW_UP, FLOW_DOWN, FLOW_SLOW, FLOWS };

/* KEY: longer ones are cut, and end with a hash of the whole. DEPTH_MS: so much of a rate's worth may come at once. SLOW: bytes a second of
 * `at-limit: slow`. PACE_MS: the longest wait for a token; PACE_MAX: so many may wait for tokens of one bucket. */
enum {
    CHARGE_KEY = 64,
    CHARGE_DEPTH_MS = 100,
    CHARGE_SLOW = 64 << 10,
    CHARGE_CHUNK = 64 << 10,
    CHARGE_PACE_MS = 30000,
    CHARGE_PACE_MAX = 1000,
};

struct charge_bucket {
    struct charge_bucket *next; /* in its chain */
    uint64_t limit;             /* limit.id */
    uint64_t hash;
    _Atomic uint32_t pins;
    uint16_t n_key;
    char key[CHARGE_KEY];
    _Atomic uint64_t full_ns;      /* requests: when there will be as many tokens as there can be */
    _Atomic uint64_t empty_ns[FLOWS]; /* when it was, or will be, empty; what has come in since then is there, up to the depth */
    _Atomic uint32_t waiting[FLOWS];  /* directions of exchanges that wait, of all workers */
    _Atomic uint32_t pacing;          /* requests that wait for their token */
    _Atomic uint32_t tunnels;
    _Atomic uint64_t quota_used, quota_end_ms; /* bytes; when the span ends, wall clock, 0: nothing has been counted */
    _Atomic bool quota_told;                   /* that it is used up: those that run have been woken */
};

/* It differs in nothing from one that is made anew. pins is 0. */
bool charge_bucket_rests(const struct charge_bucket *b, uint64_t now_us, uint64_t wall_ms);

/* ---- requests ---- */

/* One token. 0: it was there. Else it was not taken, and would be there after so many microseconds. */
uint64_t charge_request(struct charge_bucket *b, uint32_t rate, uint32_t burst, uint64_t now_us) MUST_USE;
/* One token, be it of the future: true: it is the caller's from now + *ret_wait_us on; false: it would be too late, nothing was taken. */
bool charge_request_pace(struct charge_bucket *b, uint32_t rate, uint32_t burst, uint64_t now_us, uint64_t *ret_wait_us) MUST_USE;

/* The same without taking anything: the wait, and how many tokens there are. */
uint64_t charge_request_look(const struct charge_bucket *b, uint32_t rate, uint32_t burst, uint64_t now_us, uint32_t *ret_there);

/* ---- tunnels ---- */

bool charge_tunnel(struct charge_bucket *b, uint32_t most) MUST_USE;
void charge_tunnel_end(struct charge_bucket *b);

/* ---- bytes a second ---- */

/* What a connection gets at a time: 64 KB, so that bulk stays on splice, and less where that is more than a sixteenth of a second's worth. */
static inline uint64_t charge_chunk(uint64_t rate)
{
    return rate / 16 < 1 ? 1 : rate / 16 < CHARGE_CHUNK ? rate / 16 : CHARGE_CHUNK;
}
/* Takes up to `most` bytes; nothing, if it is less than `least`. Returns how many. */
uint64_t charge_lease(struct charge_bucket *b, enum charge_flow flow, uint64_t rate, uint64_t now_us, uint64_t least, uint64_t most) MUST_USE;
/* How many there are. */
uint64_t charge_there(const struct charge_bucket *b, enum charge_flow flow, uint64_t rate, uint64_t now_us);
/* So many of them were not needed. */
void charge_return(struct charge_bucket *b, enum charge_flow flow, uint64_t rate, uint64_t n);

/* ---- bytes of a span ---- */

/* The calendar, local time: where the span around a moment ends, and the one after it. Wall clock, ms. */
struct charge_span {
    uint64_t from_ms, end_ms, next_end_ms;
};
struct charge_span charge_span_at(enum limit_span span, uint64_t wall_ms);

/* Begins a new span if one has ended. Returns what is used of the present one. */
uint64_t charge_quota_look(struct charge_bucket *b, const struct charge_span *s, uint64_t wall_ms);
/* What charge_quota_look would return, without beginning a span. */
uint64_t charge_quota_used(const struct charge_bucket *b, uint64_t wall_ms);
/* Returns what is used with them. */
uint64_t charge_quota_add(struct charge_bucket *b, uint64_t n);

#endif
