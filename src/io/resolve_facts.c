/* SPDX-License-Identifier: MIT */
/* resolve_facts: orders addresses and keeps facts. Called by resolve.c and resolve_lookup.c. A fact
 * is a copy: what is on the board was encoded by this file, in this process, for this family mode
 * and this source of answers.
 */
#include "io/resolve_facts.h"

#include "base/check.h"

enum {
    PENALTY_KEY = RESOLVE_NAME_MAX + 16,                /* name, address */
    FACT_KEY = RESOLVE_NAME_MAX + 1 + sizeof(uint32_t), /* name, family mode, source */
};

_Static_assert((int)PENALTY_KEY <= (int)BOARD_KEY_MAX && (int)FACT_KEY <= (int)BOARD_KEY_MAX,
               "keys fit the board");

/* ---- addresses in order ---- */

static void push_addr(struct resolve_answer *a, enum resolve_half half, const uint8_t *bytes)
{
    if (a->n == RESOLVE_MAX_ADDRS)
        return;
    if (half == HALF_6)
        addr_v6(&a->addrs[a->n++], bytes, 0);
    else
        addr_v4(&a->addrs[a->n++], bytes, 0);
}

void resolve_facts_merge(const struct resolve_facts *f, const struct resolve_found *v4,
                         const struct resolve_found *v6, struct resolve_answer *a)
{
    unsigned n4 = v4 ? v4->n : 0, n6 = v6 ? v6->n : 0, i4 = 0, i6 = 0;
    bool six = f->family != FAMILY_PREFER_4;

    a->n = 0;
    while (i4 < n4 || i6 < n6) {
        if (i6 < n6 && (six || i4 == n4))
            push_addr(a, HALF_6, v6->bytes[i6++]);
        else
            push_addr(a, HALF_4, v4->bytes[i4++]);
        six = f->family != FAMILY_PREFER_4 && (!six || i4 == n4);
    }
}

unsigned resolve_facts_halves(enum resolve_family family)
{
    switch (family) {
    case FAMILY_4:
        return 1u << HALF_4;
    case FAMILY_6:
        return 1u << HALF_6;
    case FAMILY_AUTO:
    case FAMILY_PREFER_4:
        return 1u << HALF_4 | 1u << HALF_6;
    }
    UNREACHABLE();
}

void resolve_facts_from(const struct resolve_facts *f, const struct addr *addrs, unsigned n,
                        struct resolve_answer *ret_answer)
{
    struct resolve_found found[HALVES] = {0};

    for (unsigned i = 0; i < n; i++) {
        enum resolve_half half = addrs[i].sa.sa_family == AF_INET6 ? HALF_6 : HALF_4;
        struct resolve_found *to = &found[half];

        if (!(resolve_facts_halves(f->family) & 1u << half) || to->n == RESOLVE_MAX_ADDRS)
            continue;
        if (half == HALF_6)
            memcpy(to->bytes[to->n++], &addrs[i].in6.sin6_addr, 16);
        else
            memcpy(to->bytes[to->n++], &addrs[i].in.sin_addr, 4);
    }
    memset(ret_answer, 0, sizeof(*ret_answer));
    resolve_facts_merge(f, &found[HALF_4], &found[HALF_6], ret_answer);
    ret_answer->status = ret_answer->n ? RESOLVE_OK : RESOLVE_NODATA;
}

/* ---- penalties (U9, U60) ---- */

static struct slice penalty_key(struct slice name, const struct addr *a, char out[PENALTY_KEY])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    memcpy(out, name.p, name.n);
    if (a->sa.sa_family == AF_INET6) {
        memcpy(out + name.n, &a->in6.sin6_addr, 16);
    } else {
        memcpy(out + name.n, mapped, sizeof(mapped));
        memcpy(out + name.n + sizeof(mapped), &a->in.sin_addr, 4);
    }
    return slice_of(out, name.n + 16);
}

void resolve_facts_penalise(const struct resolve_facts *f, struct slice name, const struct addr *a)
{
    char key[PENALTY_KEY];

    board_put(f->board, BOARD_FAMILY, penalty_key(name, a, key), f->loop->now_ms,
              RESOLVE_PENALTY_MS, "", 1);
}

static bool is_penalised(const struct resolve_facts *f, struct slice name, const struct addr *a)
{
    char key[PENALTY_KEY], value;
    size_t n;

    return board_get(f->board, BOARD_FAMILY, penalty_key(name, a, key), f->loop->now_ms, &value, 1,
                     &n);
}

void resolve_facts_order(const struct resolve_facts *f, struct slice name, struct resolve_answer *a)
{
    struct addr last[RESOLVE_MAX_ADDRS];
    unsigned n = 0, n_last = 0;

    if (a->n < 2)
        return;
    for (unsigned i = 0; i < a->n; i++) {
        if (is_penalised(f, name, &a->addrs[i]))
            last[n_last++] = a->addrs[i];
        else
            a->addrs[n++] = a->addrs[i];
    }
    memcpy(&a->addrs[n], last, n_last * sizeof(last[0]));
}

/* ---- facts on the board ---- */

/* A fact of another mode or of another server is no answer. */
static struct slice fact_key(const struct resolve_facts *f, struct slice name, char out[FACT_KEY])
{
    memcpy(out, name.p, name.n);
    out[name.n] = (char)f->family;
    memcpy(out + name.n + 1, &f->source, sizeof(f->source));
    return slice_of(out, name.n + 1 + sizeof(f->source));
}

/* A fact's value: when its time is over, when a refresh may begin, then the answer. */
struct fact_times {
    uint64_t over_ms, refresh_ms;
};
enum { FACT_HEAD = sizeof(struct fact_times) + 3 };

_Static_assert((int)RESOLVE_FACT_MAX == (int)FACT_HEAD + (int)RESOLVE_MAX_ADDRS * 17, "see resolve.h");

void resolve_facts_put(const struct resolve_facts *f, struct slice name,
                       const struct resolve_answer *a, uint64_t ttl_ms)
{
    struct fact_times t = {f->loop->now_ms + ttl_ms, f->loop->now_ms + ttl_ms};
    uint8_t v[RESOLVE_FACT_MAX];
    char key[FACT_KEY];
    size_t n = sizeof(t);

    memcpy(v, &t, sizeof(t));
    if (a->status == RESOLVE_OK)
        ttl_ms += f->stale_ms;
    v[n++] = (uint8_t)a->status;
    v[n++] = a->rcode;
    v[n++] = (uint8_t)a->n;
    for (unsigned i = 0; i < a->n; i++) {
        bool six = a->addrs[i].sa.sa_family == AF_INET6;
        size_t size = six ? 16 : 4;

        v[n++] = (uint8_t)size;
        if (six)
            memcpy(v + n, &a->addrs[i].in6.sin6_addr, 16);
        else
            memcpy(v + n, &a->addrs[i].in.sin_addr, 4);
        n += size;
    }
    board_put(f->board, BOARD_DNS, fact_key(f, name, key), f->loop->now_ms, ttl_ms, v, n);
}

/* The value of a fact that may still be used, which may have been put when it was to be kept for longer. */
static bool fetch(const struct resolve_facts *f, struct slice name, uint8_t v[RESOLVE_FACT_MAX], size_t *ret_n,
                  struct fact_times *ret_times)
{
    char key[FACT_KEY];
    size_t n;

    if (!board_get(f->board, BOARD_DNS, fact_key(f, name, key), f->loop->now_ms, v, RESOLVE_FACT_MAX, &n))
        return false;
    CHECK(n >= FACT_HEAD);
    memcpy(ret_times, v, sizeof(*ret_times));
    *ret_n = n;
    return f->loop->now_ms < ret_times->over_ms || f->loop->now_ms - ret_times->over_ms < f->stale_ms;
}

/* Puts the fact again, with another time for the next refresh; its end stays. */
static void put_refresh(const struct resolve_facts *f, struct slice name, uint8_t *v, size_t n, uint64_t refresh_ms)
{
    struct fact_times t;
    char key[FACT_KEY];

    memcpy(&t, v, sizeof(t));
    t.refresh_ms = refresh_ms;
    memcpy(v, &t, sizeof(t));
    board_put(f->board, BOARD_DNS, fact_key(f, name, key), f->loop->now_ms, t.over_ms + f->stale_ms - f->loop->now_ms, v, n);
}

bool resolve_facts_claim(const struct resolve_facts *f, struct slice name, uint64_t for_ms)
{
    uint8_t v[RESOLVE_FACT_MAX];
    struct fact_times t;
    size_t n;

    if (!fetch(f, name, v, &n, &t) || f->loop->now_ms < t.over_ms || f->loop->now_ms < t.refresh_ms)
        return false;
    put_refresh(f, name, v, n, f->loop->now_ms + for_ms);
    return true;
}

bool resolve_facts_keep(const struct resolve_facts *f, struct slice name, uint64_t retry_ms)
{
    uint8_t v[RESOLVE_FACT_MAX];
    struct fact_times t;
    size_t n;

    if (!f->stale_ms || !fetch(f, name, v, &n, &t) || v[sizeof(t)] != RESOLVE_OK)
        return false;
    put_refresh(f, name, v, n, f->loop->now_ms + retry_ms);
    return true;
}

bool resolve_facts_get(const struct resolve_facts *f, struct slice name,
                       struct resolve_answer *ret_answer)
{
    uint8_t value[RESOLVE_FACT_MAX];
    const uint8_t *v = value + sizeof(struct fact_times);
    struct fact_times t;
    size_t n, at = 3;

    if (!fetch(f, name, value, &n, &t))
        return false;
    n -= sizeof(t);
    CHECK(v[0] <= RESOLVE_LIMIT && v[2] <= RESOLVE_MAX_ADDRS);
    memset(ret_answer, 0, sizeof(*ret_answer));
    ret_answer->status = (enum resolve_status)v[0];
    ret_answer->rcode = v[1];
    ret_answer->cached = true;
    ret_answer->stale = f->loop->now_ms >= t.over_ms;
    for (unsigned i = 0; i < v[2]; i++) {
        size_t size = v[at++];

        CHECK((size == 4 || size == 16) && size <= n - at);
        push_addr(ret_answer, size == 16 ? HALF_6 : HALF_4, v + at);
        at += size;
    }
    return true;
}
