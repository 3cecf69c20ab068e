/* SPDX-License-Identifier: MIT */
/* rule_names: an open-addressed table of texts; each has two lists of rules. Called by rules_index. It hashes as hosts does, so that what is known of a
 * host once is known to both.
 */
#include "policy/rule_names.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

enum { SLOTS_MIN = 64 };

static uint32_t tag_of(struct slice text)
{
    return (uint32_t)hash_bytes(text.p, text.n);
}

/* The slot of a text, or the free one where it would go; there is always a free one. */
static uint32_t *find(const struct rule_names *r, struct slice text, uint32_t tag)
{
    size_t i = tag & r->mask;

    for (; r->slots[i]; i = (i + 1) & r->mask) {
        const struct rule_names_entry *e = &r->v[r->slots[i] - 1];

        if (e->tag == tag && slice_eq(slice_of(e->text, e->n), text))
            break;
    }
    return &r->slots[i];
}

/* ---- adding ---- */

static int widen(struct rule_names *r)
{
    size_t n = max_size(SLOTS_MIN, 2 * (r->mask + 1));
    uint32_t *slots = mem_array(n, sizeof(*slots));

    if (!slots)
        return ERR_NOMEM;
    for (size_t k = 0; k < r->n; k++) {
        size_t i = r->v[k].tag & (n - 1);

        while (slots[i])
            i = (i + 1) & (n - 1);
        slots[i] = (uint32_t)k + 1;
    }
    mem_free(r->slots);
    r->slots = slots;
    r->mask = n - 1;
    return 0;
}

static int reserve(struct rule_names *r)
{
    size_t room = max_size(SLOTS_MIN, 2 * r->room);
    struct rule_names_entry *v;

    if (r->n == r->room) {
        v = mem_grow(r->v, room * sizeof(*v));
        if (!v)
            return ERR_NOMEM;
        r->v = v;
        r->room = room;
    }
    return r->slots && r->n < (r->mask + 1) / 2 ? 0 : widen(r);
}

static unsigned labels_of(struct slice name)
{
    unsigned n = 1;

    for (size_t i = 0; i < name.n; i++)
        n += name.p[i] == '.';
    return n;
}

int rule_names_add(struct rule_names *r, struct slice text, enum rule_names_kind kind, unsigned rule)
{
    uint32_t tag = tag_of(text), *slot;
    int code = reserve(r);

    if (code < 0)
        return code;
    slot = find(r, text, tag);
    if (!*slot) {
        r->v[r->n] = (struct rule_names_entry){.text = text.p, .n = (uint32_t)text.n, .tag = tag};
        *slot = (uint32_t)++r->n;
    }
    if (kind == RULE_NAMES_UNDER && labels_of(text) > r->deepest)
        r->deepest = labels_of(text);
    return rule_lists_add(&r->lists, 2 * (*slot - 1) + kind, rule);
}

int rule_names_build(struct rule_names *r, unsigned n_rules)
{
    return rule_lists_build(&r->lists, 2 * r->n, n_rules);
}

void rule_names_done(struct rule_names *r)
{
    mem_free(r->v);
    mem_free(r->slots);
    rule_lists_done(&r->lists);
    *r = (struct rule_names){0};
}

/* ---- asking ---- */

static bool get(const struct rule_names *r, struct slice text, uint32_t tag, enum rule_names_kind kind, struct rule_lists_set *ret_set)
{
    uint32_t slot = r->n ? *find(r, text, tag) : 0;
    size_t list = 2 * ((size_t)slot - 1) + kind;

    if (!slot || !rule_lists_has(&r->lists, list))
        return false;
    *ret_set = rule_lists_get(&r->lists, list);
    return true;
}

bool rule_names_get(const struct rule_names *r, struct slice text, struct rule_lists_set *ret_set)
{
    return r->n && get(r, text, tag_of(text), RULE_NAMES_ALONE, ret_set);
}

int rule_names_host(const struct rule_names *r, struct slice host, struct hosts_key *key, struct rule_lists_set *ret_sets, int max)
{
    struct hosts_suffix suffix;
    struct rule_lists_set set;
    int n = 0;

    hosts_suffix_init(&suffix, host);
    for (unsigned i = 0; i < r->deepest && hosts_suffix_next(&suffix, key); i++) {
        if (!get(r, suffix.name, suffix.tag, RULE_NAMES_UNDER, &set))
            continue;
        if (n == max)
            return -1;
        ret_sets[n++] = set;
    }
    if (r->n && get(r, host, hosts_key_whole(key, host), RULE_NAMES_ALONE, &set)) {
        if (n == max)
            return -1;
        ret_sets[n++] = set;
    }
    return n;
}
