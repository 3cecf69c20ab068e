/* SPDX-License-Identifier: MIT */
/* users_memo: a table with one place for each hash; who comes later takes it. Asked by step auth.
 */
#include "proxy/users_memo.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/secret.h"

#include <string.h>

enum { TEXTS = 4 };

struct users_memo_slot {
    struct users_memo_key key;
    uint64_t until_ms;
    uint16_t n[TEXTS];
    char text[USERS_MEMO_TEXT];
};

void users_memo_done(struct users_memo *m)
{
    mem_free(m->slots);
    m->slots = NULL;
}

struct users_memo_key users_memo_key(const struct users *u, unsigned generation, struct slice field)
{
    struct users_memo_key k = {.users = u, .generation = generation};
    struct hash_wide h;

    hash_wide_init(&h);
    hash_wide_add(&h, field.p, field.n);
    hash_wide_done(&h, k.field);
    return k;
}

static unsigned slot_of(const struct users_memo_key *k)
{
    return k->field[0] % USERS_MEMO_SLOTS;
}

static bool is_key(const struct users_memo_key *a, const struct users_memo_key *b)
{
    return a->users == b->users && a->generation == b->generation &&
           secret_equal(slice_of((const char *)a->field, HASH_WIDE_LEN), slice_of((const char *)b->field, HASH_WIDE_LEN));
}

static void texts_of(struct users_memo_texts *t, struct slice *ret_v[TEXTS])
{
    ret_v[0] = &t->user;
    ret_v[1] = &t->groups;
    ret_v[2] = &t->labels;
    ret_v[3] = &t->granted;
}

int users_memo_find(const struct users_memo *m, const struct users_memo_key *k, uint64_t now_ms, struct arena *a, struct users_memo_texts *ret_texts,
                    uint64_t *ret_until_ms)
{
    const struct users_memo_slot *s = m->slots ? &m->slots[slot_of(k)] : NULL;
    struct users_memo_texts t = {0};
    struct slice *v[TEXTS], all;
    size_t n = 0;

    if (!s || now_ms >= s->until_ms || !is_key(&s->key, k))
        return ERR_NOTFOUND;
    for (unsigned i = 0; i < TEXTS; i++)
        n += s->n[i];
    all = arena_dup(a, slice_of(s->text, n));
    if (!all.p)
        return ERR_NOMEM;
    texts_of(&t, v);
    for (unsigned i = 0; i < TEXTS; i++) {
        *v[i] = slice_of(all.p, s->n[i]);
        all = slice_skip(all, s->n[i]);
    }
    *ret_texts = t;
    *ret_until_ms = s->until_ms;
    return 0;
}

void users_memo_keep(struct users_memo *m, const struct users_memo_key *k, uint64_t now_ms, uint64_t ms, const struct users_memo_texts *texts)
{
    struct users_memo_texts t = *texts;
    struct users_memo_slot *s;
    struct slice *v[TEXTS];
    size_t n = 0;

    texts_of(&t, v);
    for (unsigned i = 0; i < TEXTS; i++)
        n += v[i]->n;
    if (n > USERS_MEMO_TEXT || !ms)
        return;
    if (!m->slots)
        m->slots = mem_array(USERS_MEMO_SLOTS, sizeof(*m->slots));
    if (!m->slots)
        return;
    s = &m->slots[slot_of(k)];
    s->key = *k;
    s->until_ms = now_ms + ms;
    n = 0;
    for (unsigned i = 0; i < TEXTS; i++) {
        s->n[i] = (uint16_t)v[i]->n;
        if (v[i]->n)
            memcpy(s->text + n, v[i]->p, v[i]->n);
        n += v[i]->n;
    }
}
