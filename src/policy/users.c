/* SPDX-License-Identifier: MIT */
/* users: the tables of names, open addressing over an array of rows. Built by app while a configuration is read, looked into by step
 * auth on the workers' threads. A million rows cost sixteen bytes each and their text.
 */
#include "policy/users.h"

#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

enum { FIRST_ROWS = 16 };

static uint32_t first_slot(const struct users_table *t, struct slice name)
{
    return (uint32_t)hash_bytes(name.p, name.n) & t->mask;
}

/* The slot of the name, or the empty one where it belongs. There is always an empty one. */
static uint32_t *slot_of(const struct users_table *t, struct slice name)
{
    uint32_t i = first_slot(t, name);

    while (t->slots[i] && !slice_eq(users_row_name(&t->v[t->slots[i] - 1]), name))
        i = (i + 1) & t->mask;
    return &t->slots[i];
}

/* Twice the rows, and twice as many slots as rows. */
static int grow(struct users_table *t)
{
    uint32_t cap = t->cap ? t->cap * 2 : FIRST_ROWS, mask = cap * 2 - 1;
    struct users_row *v;
    uint32_t *slots;

    if (cap > USERS_MAX)
        return ERR_LIMIT;
    slots = mem_array((size_t)mask + 1, sizeof(*slots));
    if (!slots)
        return ERR_NOMEM;
    v = mem_grow(t->v, cap * sizeof(*v));
    if (!v) {
        mem_free(slots);
        return ERR_NOMEM;
    }
    mem_free(t->slots);
    t->slots = slots;
    t->v = v;
    t->cap = cap;
    t->mask = mask;
    for (uint32_t i = 0; i < t->n; i++)
        *slot_of(t, users_row_name(&t->v[i])) = i + 1;
    return 0;
}

int users_table_add(struct users_table *t, struct users_row row, const struct users_row **ret_first)
{
    int r = t->n == t->cap ? grow(t) : 0;
    uint32_t *slot;

    if (r < 0)
        return r;
    slot = slot_of(t, users_row_name(&row));
    *ret_first = *slot ? &t->v[*slot - 1] : NULL;
    if (*slot)
        return 0;
    t->v[t->n++] = row;
    *slot = t->n;
    return 0;
}

const struct users_row *users_table_find(const struct users_table *t, struct slice name)
{
    uint32_t i = t->n ? *slot_of(t, name) : 0;

    return i ? &t->v[i - 1] : NULL;
}

void users_table_done(struct users_table *t)
{
    mem_free(t->v);
    mem_free(t->slots);
    *t = (struct users_table){0};
}

void users_done(struct users *u)
{
    users_table_done(&u->names);
    users_table_done(&u->groups);
}

const struct users_row *users_row_for(const struct users *u, struct slice name, bool *ret_known)
{
    const struct users_row *r = users_table_find(&u->names, name);

    *ret_known = r != NULL;
    return r || !u->names.n ? r : &u->names.v[u->usual];
}

bool users_list_has(struct slice list, struct slice item)
{
    while (list.n) {
        size_t n = slice_find(list, ',');

        if (slice_eq(slice_of(list.p, n), item))
            return true;
        list = n < list.n ? slice_skip(list, n + 1) : SLICE_NONE;
    }
    return false;
}

bool users_hash_is_known(struct slice hash)
{
    static const char *const prefixes[] = {"$y$", "$2a$", "$2b$", "$2y$", "$6$", "$5$"};

    for (unsigned i = 0; i < ARRAY_LEN(prefixes); i++)
        if (hash.n > strlen(prefixes[i]) && memcmp(hash.p, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}
