/* SPDX-License-Identifier: MIT */
/* users_guesses: the bucket as a debt in milliseconds, that time pays. Called by users_verify before and after a verification. A fact
 * that the board has given up is a full bucket: the board gives up first what ends first, and a bucket is full when it ends.
 */
#include "proxy/users_guesses.h"

#include "base/check.h"

enum { FULL_MS = USERS_GUESSES * USERS_GUESS_MS, KEPT_MS = 2 * FULL_MS };

struct bucket {
    uint64_t at_ms;
    uint32_t owed_ms, held;
};

struct users_client users_client(const struct addr *a, uint32_t uid)
{
    struct users_client c = {0};
    struct addr_key k;

    c.key[0] = (unsigned char)a->sa.sa_family;
    if (a->sa.sa_family == AF_UNIX) {
        memcpy(c.key + 1, &uid, sizeof(uid));
        c.n = 1 + sizeof(uid);
        return c;
    }
    k = addr_key(a);
    /* A mapped address is one of IPv4. */
    c.key[0] = k.v4 ? AF_INET : AF_INET6;
    memcpy(c.key + 1, k.v4 ? &k.lo : &k.hi, sizeof(uint64_t));
    c.n = 1 + sizeof(uint64_t);
    return c;
}

struct change {
    uint64_t now_ms;
    bool begin, wrong;
    enum users_guess answer;
    uint64_t wait_ms;
};

static void pay(struct bucket *k, uint64_t now_ms)
{
    uint64_t passed = now_ms > k->at_ms ? now_ms - k->at_ms : 0;

    k->owed_ms = passed < k->owed_ms ? k->owed_ms - (uint32_t)passed : 0;
    /* Another worker's clock may be a turn ahead. */
    if (now_ms > k->at_ms)
        k->at_ms = now_ms;
}

static void begin(struct bucket *k, struct change *g)
{
    uint64_t next = (uint64_t)k->owed_ms + USERS_GUESS_MS;

    if (next > FULL_MS) {
        g->answer = USERS_GUESS_NONE;
        g->wait_ms = next - FULL_MS;
    } else if (next + (uint64_t)k->held * USERS_GUESS_MS > FULL_MS) {
        g->answer = USERS_GUESS_HELD;
    } else {
        g->answer = USERS_GUESS_MAY;
        k->held++;
    }
}

static void change(void *value, bool fresh, void *ctx)
{
    struct change *g = ctx;
    struct bucket k;

    memcpy(&k, value, sizeof(k));
    if (fresh)
        k = (struct bucket){.at_ms = g->now_ms};
    pay(&k, g->now_ms);
    if (g->begin) {
        begin(&k, g);
    } else {
        /* The fact may have been given up in between, and what was held with it. */
        k.held -= k.held > 0;
        k.owed_ms += g->wrong ? USERS_GUESS_MS : 0;
        if (k.owed_ms > FULL_MS)
            k.owed_ms = FULL_MS;
    }
    memcpy(value, &k, sizeof(k));
}

static void apply(struct board *b, const struct users_client *c, struct change *g)
{
    board_change(b, BOARD_GUESSES, slice_of(c->key, c->n), g->now_ms, KEPT_MS, sizeof(struct bucket), change, g);
}

enum users_guess users_guesses_begin(struct board *b, const struct users_client *c, uint64_t now_ms, uint64_t *ret_wait_ms)
{
    struct change g = {.now_ms = now_ms, .begin = true, .answer = USERS_GUESS_MAY};

    apply(b, c, &g);
    *ret_wait_ms = g.wait_ms;
    return g.answer;
}

void users_guesses_end(struct board *b, const struct users_client *c, uint64_t now_ms, bool wrong)
{
    struct change g = {.now_ms = now_ms, .wrong = wrong};

    apply(b, c, &g);
}
