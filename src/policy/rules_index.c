/* SPDX-License-Identifier: MIT */
/* rules_index: a sieve for each thing that rules are restricted to. Of each it knows the rules that are not, and looks up those that are and have what the
 * request has. A rule that may still wait for a fact passes. What is said of one destination among several, or left out by `except`, is no restriction
 * that counts. Called by the walk (policy.c) and when a configuration is loaded.
 */
#include "policy/rules_index.h"

#include "base/err.h"
#include "base/mem.h"
#include "policy/rule_names.h"
#include "policy/rule_ranges.h"

#include <string.h>

enum {
    USEFUL = 8, /* rules that must be restricted: fewer are asked in less time than a look takes */
    NAMES_MAX = 65536,
    RANGES_MAX = 16384,
    HOST_MAX = 254,
    GROUPS_MAX = 8,
};

enum what { WHAT_HOST = 0, WHAT_PORT, WHAT_LISTENER, WHAT_FROM, WHAT_USER, WHAT_GROUP, WHAT_TO, WHATS };
_Static_assert((int)WHATS == (int)RULES_INDEX_SIEVES, "a sieve each");

/* Sets with a bit for every rule. */
enum bits { BITS_OPEN = 0, BITS_LONG_NAMES, BITS_LONG_RANGES, BITS_RANGES, BITS_DENY_RANGES, BITS };

struct sieve {
    unsigned restricted; /* rules; 0: it is not used */
    unsigned has;        /* which sets are not empty, as bits */
    uint64_t *bits; /* BITS sets: not restricted; with lists that are too long to be looked up here; with ranges; those that deny */
    struct rule_names names;
    struct rule_ranges ranges;
};

struct rules_index {
    unsigned words;
    struct sieve sieves[WHATS];
};

/* ---- what a rule is restricted to ---- */

static bool restricts(const struct matcher *m, enum what what)
{
    switch (what) {
    case WHAT_HOST:
        return m->has_host && !m->any_host;
    case WHAT_PORT:
        return m->n_ports > 0;
    case WHAT_LISTENER:
        return m->n_listeners > 0;
    case WHAT_FROM:
        return m->has_from;
    case WHAT_USER:
        return m->n_users > 0 && !m->any_user;
    case WHAT_GROUP:
        return m->n_groups > 0;
    case WHAT_TO:
        return m->has_to;
    case WHATS:
        break;
    }
    return false;
}

/* The matchers of which one must have it: what stands beside, or else each of the destinations. 0: the rule is not restricted. */
static unsigned matchers_of(const struct rule *r, enum what what, const struct matcher **ret_v)
{
    if (r->with && restricts(r->with, what)) {
        *ret_v = r->with;
        return 1;
    }
    for (unsigned i = 0; i < r->n_where; i++)
        if (!restricts(&r->where[i], what))
            return 0;
    *ret_v = r->where;
    return r->n_where;
}

static const struct slice *words_of(const struct matcher *m, enum what what, unsigned *ret_n)
{
    *ret_n = what == WHAT_USER ? m->n_users : what == WHAT_GROUP ? m->n_groups : what == WHAT_LISTENER ? m->n_listeners : 0;
    return what == WHAT_USER ? m->users : what == WHAT_GROUP ? m->groups : m->listeners;
}

static const struct ranges *ranges_of(const struct matcher *m, enum what what)
{
    static const struct ranges none;

    return what == WHAT_HOST ? &m->host_ranges : what == WHAT_FROM ? &m->from : what == WHAT_TO ? &m->to : &none;
}

static size_t count_names(const struct matcher *v, unsigned n, enum what what)
{
    size_t all = 0;

    for (unsigned i = 0; i < n; i++) {
        unsigned words;

        words_of(&v[i], what, &words);
        all += words + (what == WHAT_HOST && v[i].hosts ? hosts_count(v[i].hosts) : 0);
    }
    return all;
}

static size_t count_ranges(const struct matcher *v, unsigned n, enum what what)
{
    size_t all = 0;

    for (unsigned i = 0; i < n; i++)
        all += ranges_of(&v[i], what)->n4 + ranges_of(&v[i], what)->n6 + (what == WHAT_PORT ? v[i].n_ports : 0);
    return all;
}

/* ---- building ---- */

typedef size_t count_fn(const struct matcher *v, unsigned n, enum what what);

/* The most that one rule may have, so that all that have no more have no more than `room` together. */
static size_t longest(const struct rule *rules, unsigned n, enum what what, count_fn *count, size_t room)
{
    for (size_t most = room; most > 0; most /= 2) {
        size_t all = 0;

        for (unsigned i = 0; i < n; i++) {
            const struct matcher *v;
            unsigned matchers = matchers_of(&rules[i], what, &v);
            size_t has = count(v, matchers, what);

            all += has <= most ? has : 0;
        }
        if (all <= room)
            return most;
    }
    return 0;
}

static void set(const struct rules_index *x, struct sieve *s, enum bits bits, unsigned rule)
{
    s->has |= 1u << bits;
    s->bits[bits * x->words + rule / 64] |= (uint64_t)1 << rule % 64;
}

static int add_hosts(struct sieve *s, const struct hosts *hosts, unsigned rule)
{
    struct slice name;
    size_t at = 0;
    bool under;
    int r = 0;

    while (r == 0 && hosts_next(hosts, &at, &name, &under))
        r = rule_names_add(&s->names, name, under ? RULE_NAMES_UNDER : RULE_NAMES_ALONE, rule);
    return r;
}

static int add_names(struct sieve *s, const struct matcher *m, enum what what, unsigned rule)
{
    unsigned n;
    const struct slice *words = words_of(m, what, &n);
    int r = 0;

    for (unsigned i = 0; i < n && r == 0; i++)
        r = rule_names_add(&s->names, words[i], RULE_NAMES_ALONE, rule);
    if (r == 0 && what == WHAT_HOST && m->hosts)
        r = add_hosts(s, m->hosts, rule);
    return r;
}

static int add_ranges(struct sieve *s, const struct matcher *m, enum what what, unsigned rule)
{
    int r = rule_ranges_add_set(&s->ranges, ranges_of(m, what), rule);

    for (unsigned i = 0; what == WHAT_PORT && i < m->n_ports && r == 0; i++)
        if (m->ports[i].first <= m->ports[i].last)
            r = rule_ranges_add(&s->ranges, (struct rule_ranges_at){.lo = m->ports[i].first}, (struct rule_ranges_at){.lo = m->ports[i].last}, rule);
    return r;
}

static int build_names(struct rules_index *x, struct sieve *s, const struct rule *rules, unsigned n, enum what what)
{
    size_t most = longest(rules, n, what, count_names, NAMES_MAX);
    int r = 0;

    for (unsigned i = 0; i < n; i++) {
        const struct matcher *v;
        unsigned matchers = matchers_of(&rules[i], what, &v);
        bool fits = count_names(v, matchers, what) <= most;

        if (!fits)
            set(x, s, BITS_LONG_NAMES, i);
        for (unsigned k = 0; k < matchers && fits && r == 0; k++)
            r = add_names(s, &v[k], what, i);
    }
    return r < 0 ? r : rule_names_build(&s->names, n);
}

static int try_ranges(struct rules_index *x, struct sieve *s, const struct rule *rules, unsigned n, enum what what, size_t most)
{
    int r = 0;

    memset(s->bits + BITS_LONG_RANGES * x->words, 0, x->words * sizeof(*s->bits));
    s->has &= ~(1u << BITS_LONG_RANGES);
    for (unsigned i = 0; i < n; i++) {
        const struct matcher *v;
        unsigned matchers = matchers_of(&rules[i], what, &v);
        size_t has = count_ranges(v, matchers, what);

        if (has)
            set(x, s, BITS_RANGES, i);
        if (has && rules[i].kind == RULE_DENY)
            set(x, s, BITS_DENY_RANGES, i);
        if (has > most)
            set(x, s, BITS_LONG_RANGES, i);
        for (unsigned k = 0; k < matchers && has <= most && r == 0; k++)
            r = add_ranges(s, &v[k], what, i);
    }
    return r < 0 ? r : rule_ranges_build(&s->ranges, n);
}

/* Where they overlap too much it is done with the shorter lists alone, at last with none. */
static int build_ranges(struct rules_index *x, struct sieve *s, const struct rule *rules, unsigned n, enum what what)
{
    size_t most = longest(rules, n, what, count_ranges, RANGES_MAX);

    for (;; most /= 4) {
        int r = try_ranges(x, s, rules, n, what, most);

        if (r != ERR_LIMIT)
            return r;
        rule_ranges_done(&s->ranges);
    }
}

static int build(struct rules_index *x, const struct rule *rules, unsigned n, enum what what)
{
    struct sieve *s = &x->sieves[what];
    unsigned restricted = 0;
    int r;

    for (unsigned i = 0; i < n; i++) {
        const struct matcher *v;

        restricted += matchers_of(&rules[i], what, &v) > 0;
    }
    if (restricted < USEFUL)
        return 0;
    s->bits = mem_array((size_t)BITS * x->words, sizeof(*s->bits));
    if (!s->bits)
        return ERR_NOMEM;
    for (unsigned i = 0; i < n; i++) {
        const struct matcher *v;

        if (!matchers_of(&rules[i], what, &v))
            set(x, s, BITS_OPEN, i);
    }
    s->restricted = restricted;
    r = build_names(x, s, rules, n, what);
    return r < 0 ? r : build_ranges(x, s, rules, n, what);
}

int rules_index_new(const struct rule *rules, unsigned n, struct rules_index **ret_index)
{
    struct rules_index *x;
    bool used = false;
    int r = 0;

    if (n < RULES_INDEX_MIN || n > RULE_LISTS_RULES_MAX) {
        *ret_index = NULL;
        return 0;
    }
    x = mem_zalloc(sizeof(*x));
    if (!x)
        return ERR_NOMEM;
    x->words = rule_lists_words(n);
    for (unsigned what = 0; what < WHATS && r == 0; what++) {
        r = build(x, rules, n, (enum what)what);
        used = used || x->sieves[what].restricted;
    }
    if (r < 0 || !used) {
        rules_index_free(x);
        x = NULL;
    }
    if (r == 0)
        *ret_index = x;
    return r;
}

void rules_index_free(struct rules_index *x)
{
    if (!x)
        return;
    for (unsigned what = 0; what < WHATS; what++) {
        mem_free(x->sieves[what].bits);
        rule_names_done(&x->sieves[what].names);
        rule_ranges_done(&x->sieves[what].ranges);
    }
    mem_free(x);
}

/* ---- looking up ---- */

/* The sets of one sieve, while they are collected. */
struct found {
    struct rules_walk *walk;
    const struct sieve *sieve;
    bool everything; /* no telling: each rule passes */
};

static void pass(struct found *f, struct rule_lists_set set)
{
    if (f->walk->n_sets < RULES_INDEX_SETS && set.n < f->sieve->restricted)
        f->walk->sets[f->walk->n_sets++] = set;
    else
        f->everything = true;
}

static void pass_bits(struct found *f, enum bits bits)
{
    if (f->sieve->has >> bits & 1)
        pass(f, (struct rule_lists_set){.bits = f->sieve->bits + bits * f->walk->index->words});
}

static bool known(const struct addr *a)
{
    return a && a->sa.sa_family != AF_UNSPEC;
}

/* Whether a rule may mean it by another address, as matcher.c has it: loopback for the unspecified ones, the address inside for NAT64's. */
static bool has_aliases(const struct addr_key *k)
{
    return k->hi == 0x0064ff9b00000000 || (k->hi == 0 && (k->lo == 0 || k->lo == 0xffff00000000));
}

/* Rules with ranges that it may be in. */
static void pass_address(struct found *f, const struct addr *a)
{
    struct rule_lists_set set;
    struct addr_key k;

    if (a->sa.sa_family != AF_INET && a->sa.sa_family != AF_INET6)
        return;
    k = addr_key(a);
    if (has_aliases(&k)) {
        pass_bits(f, BITS_RANGES);
        return;
    }
    if (rule_ranges_get(&f->sieve->ranges, (struct rule_ranges_at){.hi = k.hi, .lo = k.lo}, &set))
        pass(f, set);
    pass_bits(f, BITS_LONG_RANGES);
}

static void pass_text(struct found *f, struct slice text)
{
    struct rule_lists_set set;

    if (text.n && rule_names_get(&f->sieve->names, text, &set))
        pass(f, set);
}

/* A name: rules with the name, and those that deny ranges in which its address may be. */
static void pass_name(struct found *f, const struct match_facts *facts)
{
    struct rules_walk *w = f->walk;
    int n = rule_names_host(&f->sieve->names, facts->host, facts->key, &w->sets[w->n_sets], (int)(RULES_INDEX_SETS - w->n_sets));

    f->everything = n < 0;
    w->n_sets += n > 0 ? (unsigned)n : 0;
    pass_bits(f, BITS_LONG_NAMES);
    if (known(facts->to))
        pass_address(f, facts->to);
    else if (facts->pending & MATCH_PENDING_ADDRESS)
        pass_bits(f, BITS_DENY_RANGES);
}

static void pass_host(struct found *f, const struct match_facts *facts)
{
    if (facts->host.n == 0)
        return;
    if (known(&facts->literal))
        pass_address(f, &facts->literal);
    else if (facts->host.n <= HOST_MAX)
        pass_name(f, facts);
    else
        f->everything = true;
}

static void pass_port(struct found *f, const struct match_facts *facts)
{
    struct rule_lists_set set;

    if (rule_ranges_get(&f->sieve->ranges, (struct rule_ranges_at){.lo = facts->port}, &set))
        pass(f, set);
    pass_bits(f, BITS_LONG_RANGES);
}

static void pass_groups(struct found *f, const struct match_facts *facts)
{
    struct slice list = facts->groups;

    for (unsigned i = 0; list.n; i++) {
        size_t comma = slice_find(list, ',');

        if (i == GROUPS_MAX) {
            f->everything = true;
            return;
        }
        pass_text(f, slice_of(list.p, comma));
        list = slice_skip(list, min_size(comma + 1, list.n));
    }
    pass_bits(f, BITS_LONG_NAMES);
}

static void pass_words(struct found *f, struct slice word)
{
    pass_text(f, word);
    pass_bits(f, BITS_LONG_NAMES);
}

static void pass_what(struct found *f, const struct match_facts *facts, enum what what)
{
    bool who_comes = facts->pending & MATCH_PENDING_USER, address_comes = facts->pending & MATCH_PENDING_ADDRESS;

    switch (what) {
    case WHAT_HOST:
        pass_host(f, facts);
        return;
    case WHAT_PORT:
        pass_port(f, facts);
        return;
    case WHAT_LISTENER:
        pass_words(f, facts->listener);
        return;
    case WHAT_FROM:
        if (known(facts->from))
            pass_address(f, facts->from);
        return;
    case WHAT_USER:
        f->everything = who_comes;
        pass_words(f, facts->user);
        return;
    case WHAT_GROUP:
        f->everything = who_comes;
        pass_groups(f, facts);
        return;
    case WHAT_TO:
        f->everything = !known(facts->to) && address_comes;
        if (known(facts->to))
            pass_address(f, facts->to);
        return;
    case WHATS:
        break;
    }
}

static void look_up(struct rules_walk *w)
{
    w->looked_up = true;
    w->n_sets = w->n_sieves = 0;
    w->word = UINT32_MAX;
    for (unsigned what = 0; what < WHATS; what++) {
        struct found f = {.walk = w, .sieve = &w->index->sieves[what]};
        unsigned first = w->n_sets;

        if (!f.sieve->restricted)
            continue;
        pass_what(&f, w->facts, (enum what)what);
        if (f.everything)
            w->n_sets = first;
        else
            w->sieves[w->n_sieves++] = (struct rules_walk_sieve){.open = f.sieve->bits, .first = first, .n = w->n_sets - first};
    }
}

/* ---- walking ---- */

static uint64_t word_of(struct rules_walk *w, unsigned word)
{
    uint64_t all = UINT64_MAX;

    for (unsigned i = 0; i < w->n_sieves; i++) {
        const struct rules_walk_sieve *s = &w->sieves[i];
        uint64_t any = s->open[word];

        for (unsigned k = 0; k < s->n; k++)
            any |= rule_lists_word(&w->sets[s->first + k], word);
        all &= any;
    }
    return all;
}

unsigned rules_walk_seek(struct rules_walk *w, unsigned from)
{
    if (!w->looked_up)
        look_up(w);
    if (w->word != from / 64) {
        w->word = from / 64;
        w->rest = word_of(w, w->word);
    }
    w->rest &= UINT64_MAX << from % 64;
    while (!w->rest) {
        if (++w->word == w->index->words)
            return w->n;
        w->rest = word_of(w, w->word);
    }
    from = 64 * w->word + (unsigned)__builtin_ctzll(w->rest);
    return from < w->n ? from : w->n;
}
