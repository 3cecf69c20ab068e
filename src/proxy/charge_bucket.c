/* SPDX-License-Identifier: MIT */
/* charge_bucket: token buckets as times (the generic cell rate algorithm): a bucket is one number, when it will be full, or when it was empty, which one
 * compare-and-swap moves. Called by workers without any lock. It never waits and never asks a clock.
 */
#include "proxy/charge_bucket.h"

#include <time.h>

__extension__ typedef unsigned __int128 wide;

#define SECOND_NS UINT64_C(1000000000)

static uint64_t load(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static bool swap(_Atomic uint64_t *v, uint64_t *seen, uint64_t to)
{
    return atomic_compare_exchange_weak_explicit(v, seen, to, memory_order_relaxed, memory_order_relaxed);
}

/* A clock cannot come so far; a file or a test may. */
static uint64_t ns_of(uint64_t us)
{
    return us > UINT64_MAX / 4000 ? UINT64_MAX / 4 : us * 1000;
}

bool charge_bucket_rests(const struct charge_bucket *b, uint64_t now_us, uint64_t wall_ms)
{
    uint64_t now_ns = ns_of(now_us), end_ms = load(&b->quota_end_ms);

    if (atomic_load_explicit(&b->pins, memory_order_acquire) || load(&b->full_ns) > now_ns)
        return false;
    for (unsigned i = 0; i < FLOWS; i++)
        if (load(&b->empty_ns[i]) && load(&b->empty_ns[i]) + CHARGE_DEPTH_MS * UINT64_C(1000000) > now_ns)
            return false;
    return end_ms <= wall_ms || load(&b->quota_used) == 0;
}

/* ---- requests ---- */

/* At most a second. */
static uint64_t token_ns(uint32_t rate)
{
    return SECOND_NS / (rate ? rate : 1);
}

/* What it has to wait for a token; *ret_full: when it is full, once that is taken. */
static uint64_t token_wait(uint64_t full_ns, uint32_t rate, uint32_t burst, uint64_t now_ns, uint64_t *ret_full)
{
    uint64_t token = token_ns(rate), room = token * (burst ? burst : 1), full = (full_ns > now_ns ? full_ns : now_ns) + token;

    *ret_full = full;
    return full - now_ns > room ? full - now_ns - room : 0;
}

uint64_t charge_request(struct charge_bucket *b, uint32_t rate, uint32_t burst, uint64_t now_us)
{
    uint64_t seen = load(&b->full_ns), wait, full;

    do {
        wait = token_wait(seen, rate, burst, ns_of(now_us), &full);
        if (wait)
            return (wait + 999) / 1000;
    } while (!swap(&b->full_ns, &seen, full));
    return 0;
}

bool charge_request_pace(struct charge_bucket *b, uint32_t rate, uint32_t burst, uint64_t now_us, uint64_t *ret_wait_us)
{
    uint64_t seen = load(&b->full_ns), wait, full;

    do {
        wait = token_wait(seen, rate, burst, ns_of(now_us), &full);
        if (wait > CHARGE_PACE_MS * UINT64_C(1000000))
            return false;
    } while (!swap(&b->full_ns, &seen, full));
    *ret_wait_us = (wait + 999) / 1000;
    return true;
}

uint64_t charge_request_look(const struct charge_bucket *b, uint32_t rate, uint32_t burst, uint64_t now_us, uint32_t *ret_there)
{
    uint64_t full_ns = load(&b->full_ns), now_ns = ns_of(now_us), token = token_ns(rate), room = token * (burst ? burst : 1), full;
    uint64_t taken = full_ns > now_ns ? full_ns - now_ns : 0;

    *ret_there = taken < room ? (uint32_t)((room - taken) / token) : 0;
    return (token_wait(full_ns, rate, burst, now_ns, &full) + 999) / 1000;
}

/* ---- tunnels ---- */

bool charge_tunnel(struct charge_bucket *b, uint32_t most)
{
    uint32_t n = atomic_load_explicit(&b->tunnels, memory_order_relaxed);

    do {
        if (n >= most)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&b->tunnels, &n, n + 1, memory_order_relaxed, memory_order_relaxed));
    return true;
}

void charge_tunnel_end(struct charge_bucket *b)
{
    atomic_fetch_sub_explicit(&b->tunnels, 1, memory_order_relaxed);
}

/* ---- bytes a second ---- */

static uint64_t bytes_in(uint64_t ns, uint64_t rate)
{
    wide n = (wide)ns * rate / SECOND_NS;

    return n > UINT64_MAX ? UINT64_MAX : (uint64_t)n;
}

static uint64_t time_of(uint64_t n, uint64_t rate, bool up)
{
    wide ns = ((wide)n * SECOND_NS + (up ? rate - 1 : 0)) / rate;

    return ns > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)ns;
}

/* Rates of a few bytes a second: one always fits, and a part of the next. */
static uint64_t depth_ns(uint64_t rate)
{
    uint64_t depth = CHARGE_DEPTH_MS * UINT64_C(1000000);

    return bytes_in(depth, rate) < 2 ? time_of(2, rate, true) : depth;
}

static uint64_t empty_since(uint64_t seen, uint64_t depth, uint64_t now_ns)
{
    return now_ns > depth && seen < now_ns - depth ? now_ns - depth : seen;
}

uint64_t charge_there(const struct charge_bucket *b, enum charge_flow flow, uint64_t rate, uint64_t now_us)
{
    uint64_t now_ns = ns_of(now_us), from = empty_since(load(&b->empty_ns[flow]), depth_ns(rate), now_ns);

    return from < now_ns ? bytes_in(now_ns - from, rate) : 0;
}

uint64_t charge_lease(struct charge_bucket *b, enum charge_flow flow, uint64_t rate, uint64_t now_us, uint64_t least, uint64_t most)
{
    uint64_t now_ns = ns_of(now_us), depth = depth_ns(rate), seen = load(&b->empty_ns[flow]), from, n;

    do {
        from = empty_since(seen, depth, now_ns);
        n = from < now_ns ? bytes_in(now_ns - from, rate) : 0;
        if (n < least || n == 0)
            return 0;
        n = n < most ? n : most;
    } while (!swap(&b->empty_ns[flow], &seen, from + time_of(n, rate, true)));
    return n;
}

void charge_return(struct charge_bucket *b, enum charge_flow flow, uint64_t rate, uint64_t n)
{
    uint64_t seen = load(&b->empty_ns[flow]), back = time_of(n, rate, false);

    while (n && !swap(&b->empty_ns[flow], &seen, seen > back ? seen - back : 0))
        ;
}

/* ---- spans ---- */

/* n spans after the one that tm lies in. Midnights and hours that a clock change leaves out are moved by mktime. */
static uint64_t span_start(enum limit_span span, struct tm tm, int n)
{
    time_t t;

    tm.tm_sec = tm.tm_min = 0;
    if (span == SPAN_HOUR) {
        /* The hour that comes twice has the same name both times: it is counted on from, not looked up. */
        t = mktime(&tm) + (time_t)n * 3600;
        return t > 0 ? (uint64_t)t * 1000 : 0;
    }
    tm.tm_hour = 0;
    tm.tm_isdst = -1;
    if (span == SPAN_DAY)
        tm.tm_mday += n;
    else if (span == SPAN_WEEK)
        tm.tm_mday += 7 * n - (tm.tm_wday + 6) % 7;
    else {
        tm.tm_mday = 1;
        tm.tm_mon += n;
    }
    t = mktime(&tm);
    return t > 0 ? (uint64_t)t * 1000 : 0;
}

struct charge_span charge_span_at(enum limit_span span, uint64_t wall_ms)
{
    time_t t = (time_t)(wall_ms / 1000);
    struct charge_span s = {.end_ms = UINT64_MAX, .next_end_ms = UINT64_MAX};
    struct tm tm;

    if (span == SPAN_NONE || !localtime_r(&t, &tm))
        return s;
    s = (struct charge_span){span_start(span, tm, 0), span_start(span, tm, 1), span_start(span, tm, 2)};
    /* Whatever the calendar of a strange place says: a span contains its moment and ends. */
    if (s.from_ms > wall_ms)
        s.from_ms = wall_ms;
    if (s.end_ms <= wall_ms)
        s.end_ms = wall_ms + 3600000;
    if (s.next_end_ms <= s.end_ms)
        s.next_end_ms = s.end_ms + 3600000;
    return s;
}

/* A new span. Of those who see it at once one takes away what was used. */
static void quota_begin(struct charge_bucket *b, uint64_t seen_ms, const struct charge_span *s)
{
    if (!atomic_compare_exchange_strong_explicit(&b->quota_end_ms, &seen_ms, s->end_ms, memory_order_relaxed, memory_order_relaxed))
        return;
    atomic_fetch_sub_explicit(&b->quota_used, load(&b->quota_used), memory_order_relaxed);
    atomic_store_explicit(&b->quota_told, false, memory_order_relaxed);
}

uint64_t charge_quota_look(struct charge_bucket *b, const struct charge_span *s, uint64_t wall_ms)
{
    uint64_t end_ms = load(&b->quota_end_ms);

    if (end_ms <= wall_ms)
        quota_begin(b, end_ms, s);
    else if (end_ms > s->next_end_ms)
        /* The clock had been in the future. What was used stays used, and the present span ends when it ends. */
        swap(&b->quota_end_ms, &end_ms, s->end_ms);
    return load(&b->quota_used);
}

uint64_t charge_quota_used(const struct charge_bucket *b, uint64_t wall_ms)
{
    return load(&b->quota_end_ms) <= wall_ms ? 0 : load(&b->quota_used);
}

uint64_t charge_quota_add(struct charge_bucket *b, uint64_t n)
{
    uint64_t used = load(&b->quota_used), sum;

    do {
        sum = used > UINT64_MAX - n ? UINT64_MAX : used + n;
    } while (!swap(&b->quota_used, &used, sum));
    return sum;
}
