/* SPDX-License-Identifier: MIT */
/* rule_lists: pairs of list and rule are collected, counted, and put where they belong. Called by what looks things up for rules_index, when a
 * configuration is read.
 */
#include "policy/rule_lists.h"

#include "base/err.h"
#include "base/mem.h"

enum { PAIRS_MIN = 64 };

int rule_lists_add(struct rule_lists *l, uint32_t list, unsigned rule)
{
    struct rule_lists_pair *wider;
    size_t room = max_size(PAIRS_MIN, 2 * l->room);

    if (l->n_pairs == l->room) {
        wider = mem_grow(l->pairs, room * sizeof(*wider));
        if (!wider)
            return ERR_NOMEM;
        l->pairs = wider;
        l->room = room;
    }
    l->pairs[l->n_pairs++] = (struct rule_lists_pair){.list = list, .rule = (uint16_t)rule};
    return 0;
}

/* As bits it takes no more memory, and a walk is quicker. */
static bool is_many(const struct rule_lists *l, const struct rule_list *list)
{
    return list->n >= 4 * l->words;
}

/* Where each list begins, of lists whose lengths are known. */
static int place(struct rule_lists *l, size_t n)
{
    uint32_t few = 0, words = 0;

    for (size_t i = 0; i < n; i++) {
        l->v[i].end = is_many(l, &l->v[i]) ? words : few;
        if (is_many(l, &l->v[i]))
            words += l->words;
        else
            few += l->v[i].n;
    }
    l->few = mem_array(few + 1, sizeof(*l->few));
    l->bits = mem_array(words + 1, sizeof(*l->bits));
    return l->few && l->bits ? 0 : ERR_NOMEM;
}

int rule_lists_build(struct rule_lists *l, size_t n, unsigned n_rules)
{
    int r;

    l->words = rule_lists_words(n_rules);
    l->v = mem_array(n + 1, sizeof(*l->v));
    if (!l->v)
        return ERR_NOMEM;
    for (size_t i = 0; i < l->n_pairs; i++)
        l->v[l->pairs[i].list].n++;
    r = place(l, n);
    if (r < 0)
        return r;
    for (size_t i = 0; i < l->n_pairs; i++) {
        struct rule_list *list = &l->v[l->pairs[i].list];
        uint16_t rule = l->pairs[i].rule;

        if (is_many(l, list))
            l->bits[list->end + rule / 64] |= (uint64_t)1 << rule % 64;
        else
            l->few[list->end++] = rule;
    }
    mem_free(l->pairs);
    l->pairs = NULL;
    l->n_pairs = l->room = 0;
    return 0;
}

struct rule_lists_set rule_lists_get(const struct rule_lists *l, size_t list)
{
    const struct rule_list *i = &l->v[list];

    if (is_many(l, i))
        return (struct rule_lists_set){.bits = l->bits + i->end, .n = i->n};
    return (struct rule_lists_set){.next = l->few + (i->end - i->n), .end = l->few + i->end, .n = i->n};
}

void rule_lists_done(struct rule_lists *l)
{
    mem_free(l->pairs);
    mem_free(l->v);
    mem_free(l->few);
    mem_free(l->bits);
    *l = (struct rule_lists){0};
}
