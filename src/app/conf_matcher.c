/* SPDX-License-Identifier: MIT */
/* conf_matcher: from trees to matchers. Called by the readers of `rules`, `upstream`, `log` and whatever else takes a matcher. A new word of matchers
 * gets its line in `words`. The grammar is two deep (a matcher, and its `except`), and so are the functions here.
 */
#include "app/conf_matcher.h"

#include "app/conf_match.h"
#include "base/check.h"
#include "base/mem.h"
#include "policy/rules.h"
#include "policy/match_time.h"

/* What one matcher is being made of. */
struct making {
    struct matcher *m;
    struct conf_hosts hosts, snis;
    struct conf_ranges from, to;
};

/* ---- lists that grow ---- */

/* Room for one more in an array of a matcher, whose n has a power of two as capacity. */
static void *grow(struct conf_build *b, void *v, unsigned n, size_t size)
{
    void *p = v;

    if ((n & (n - 1)) == 0)
        p = mem_grow(v, (n ? n * 2 : 1) * size);
    if (!p)
        conf_build_nomem(b);
    return p;
}

static void add_slice(struct conf_build *b, struct slice **v, unsigned *n, struct slice text)
{
    struct slice copy = arena_dup(b->arena, text), *grown = grow(b, *v, *n, sizeof(*grown));

    if (grown)
        *v = grown;
    if (!copy.p)
        conf_build_nomem(b);
    else if (grown)
        grown[(*n)++] = copy;
}

static void add_text(struct conf_build *b, struct matcher_text **v, unsigned *n, enum option_type type, struct slice text)
{
    struct slice copy = arena_dup(b->arena, text);
    struct matcher_text *grown = grow(b, *v, *n, sizeof(*grown));
    struct regex *regex = NULL;
    char why[REGEX_WHY];
    size_t at;

    if (grown)
        *v = grown;
    if (!copy.p)
        conf_build_nomem(b);
    if (!grown || !copy.p)
        return;
    /* It has been compiled once before: only memory can be missing. */
    if (conf_match_is_regex(type, text) && regex_new(slice_of(text.p + 1, text.n - 2), &regex, &at, why) < 0) {
        conf_build_nomem(b);
        return;
    }
    grown[(*n)++] = (struct matcher_text){.text = copy, .regex = regex};
}

/* ---- the words ---- */

static void add_port(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    struct matcher_ports p = {1, UINT16_MAX}, *v = grow(b, k->m->ports, k->m->n_ports, sizeof(*v));

    UNUSED(at);
    if (!v)
        return;
    k->m->ports = v;
    if (!slice_eq(text, SLICE("any")))
        CHECK(conf_value_ports(text, &p.first, &p.last) == 0);
    v[k->m->n_ports++] = p;
}

static void add_time(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    struct matcher_time t, *v = grow(b, k->m->times, k->m->n_times, sizeof(*v));

    UNUSED(at);
    if (!v)
        return;
    k->m->times = v;
    CHECK(match_time_parse(text, &t) == 0);
    v[k->m->n_times++] = t;
}

static void add_host(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    k->m->has_host = true;
    conf_match_host(b, &k->hosts, text, at);
}

static void add_sni(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    /* An empty list file is a list that no name is in. */
    if (!k->m->snis)
        k->m->snis = hosts_new();
    if (!k->m->snis)
        conf_build_nomem(b);
    else
        conf_match_host(b, &k->snis, text, at);
}

static void add_from(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    static const struct conf_kind kind = {.key = "from", .type = OPTION_RANGE};

    k->m->has_from = true;
    conf_match_range(b, &kind, text, at, &k->from);
}

static void add_to(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    static const struct conf_kind kind = {.key = "to", .type = OPTION_RANGE};

    k->m->has_to = true;
    conf_match_range(b, &kind, text, at, &k->to);
}

static void add_path(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    UNUSED(at);
    add_text(b, &k->m->paths, &k->m->n_paths, OPTION_PATH, text);
}

static void add_method(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    UNUSED(at);
    add_slice(b, &k->m->methods, &k->m->n_methods, text);
}

static void add_listener(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    UNUSED(at);
    add_slice(b, &k->m->listeners, &k->m->n_listeners, text);
}

static void add_user(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    UNUSED(at);
    if (slice_eq(text, SLICE("any")))
        k->m->any_user = true;
    else
        add_slice(b, &k->m->users, &k->m->n_users, text);
}

static void add_group(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    UNUSED(at);
    add_slice(b, &k->m->groups, &k->m->n_groups, text);
}

static void add_label(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    UNUSED(at);
    add_slice(b, &k->m->labels, &k->m->n_labels, text);
}

static void add_scheme(struct conf_build *b, struct making *k, struct slice text, size_t at)
{
    const struct option_word *w = conf_value_word(conf_shape_member(&conf_shape_matcher, SLICE("scheme"))->shape->words, text);

    UNUSED(b);
    UNUSED(at);
    CHECK(w);
    k->m->schemes = (uint8_t)(k->m->schemes | w->value);
}

static const struct {
    const char *key;
    void (*add)(struct conf_build *b, struct making *k, struct slice text, size_t at);
} words[] = {
    {"host", add_host}, {"port", add_port}, {"path", add_path}, {"method", add_method}, {"scheme", add_scheme}, {"user", add_user},
    {"group", add_group}, {"label", add_label}, {"from", add_from}, {"to", add_to}, {"listener", add_listener}, {"time", add_time},
    {"sni", add_sni},
};

/* ---- fields ---- */

static void add_values(struct conf_build *b, const struct conf_node *node, struct matcher_field *f)
{
    bool any = false;

    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i)) {
        any = any || slice_eq(i->text, SLICE("any"));
        if (!slice_eq(i->text, SLICE("any")))
            add_text(b, &f->values, &f->n, OPTION_EXPR, i->text);
    }
    /* That it is there is all that `any` asks, whatever stands beside it. */
    for (; any && f->n > 0; f->n--)
        regex_free(f->values[f->n - 1].regex);
}

static void add_fields(struct conf_build *b, struct making *k, const struct conf_node *map)
{
    struct matcher *m = k->m;

    for (const struct conf_node *i = map->first; i; i = i->next) {
        struct slice name = arena_dup(b->arena, i->key->text);
        struct matcher_field *v = grow(b, m->fields, m->n_fields, sizeof(*v));

        if (v)
            m->fields = v;
        if (!name.p)
            conf_build_nomem(b);
        if (!v || !name.p)
            return;
        v[m->n_fields] = (struct matcher_field){.name = name, .id = hdr_id(name)};
        add_values(b, i, &v[m->n_fields++]);
    }
}

/* ---- a matcher without its exceptions ---- */

static void add_member(struct conf_build *b, struct making *k, const struct conf_node *node)
{
    if (node->kind == CONF_NODE_MAP && slice_eq(node->key->text, SLICE("header")))
        add_fields(b, k, node);
    for (size_t w = 0; node->kind != CONF_NODE_MAP && w < ARRAY_LEN(words); w++)
        if (slice_eq(node->key->text, slice_str(words[w].key)))
            for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i))
                words[w].add(b, k, i->text, i->at);
}

static void begin(struct making *k, struct matcher *m)
{
    *k = (struct making){.m = m,
                         .hosts = {.key = "host", .set = &m->hosts},
                         .snis = {.key = "sni", .set = &m->snis, .names_only = true}};
}

static void end(struct conf_build *b, struct making *k)
{
    struct matcher *m = k->m;

    m->any_host = k->hosts.any;
    conf_match_ranges(b, &k->hosts.ranges, &m->host_ranges);
    /* `any` is no condition. A list without entries is one that nothing meets. */
    m->has_from = m->has_from && !k->from.any;
    m->has_to = m->has_to && !k->to.any;
    conf_match_ranges(b, &k->from, &m->from);
    conf_match_ranges(b, &k->to, &m->to);
}

static void make_map(struct conf_build *b, const struct conf_node *node, struct matcher *m)
{
    struct making k;

    begin(&k, m);
    for (const struct conf_node *i = node->first; i && !b->report->nomem; i = i->next)
        if (i->key->kind == CONF_NODE_TEXT)
            add_member(b, &k, i);
    end(b, &k);
}

/* All bare hosts together are one matcher. */
static void make_hosts(struct conf_build *b, const struct conf_node *node, struct matcher *m)
{
    struct making k;

    begin(&k, m);
    for (const struct conf_node *i = conf_node_first(node); i && !b->report->nomem; i = conf_node_next(node, i))
        if (i->kind == CONF_NODE_TEXT)
            add_host(b, &k, i->text, i->at);
    end(b, &k);
}

static unsigned count(const struct conf_node *node, bool *ret_texts)
{
    unsigned n = 0;

    *ret_texts = false;
    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i)) {
        n += i->kind == CONF_NODE_MAP;
        *ret_texts = *ret_texts || i->kind == CONF_NODE_TEXT;
    }
    return n + *ret_texts;
}

static void free_matcher(void *p)
{
    matcher_done(p);
}

static struct matcher *new_matchers(struct conf_build *b, unsigned n)
{
    struct matcher *v = arena_zalloc(b->arena, (n ? n : 1) * sizeof(*v));

    if (!v)
        conf_build_nomem(b);
    for (unsigned i = 0; v && i < n; i++)
        conf_build_finish(b, free_matcher, &v[i]);
    return b->report->nomem ? NULL : v;
}

/* The matcher of the bare hosts is the first. */
static struct matcher *make_all(struct conf_build *b, const struct conf_node *node, unsigned *ret_n)
{
    bool texts;
    unsigned n = count(node, &texts), used = texts;
    struct matcher *v = new_matchers(b, n);

    if (!v)
        return NULL;
    if (texts)
        make_hosts(b, node, &v[0]);
    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i))
        if (i->kind == CONF_NODE_MAP)
            make_map(b, i, &v[used++]);
    *ret_n = n;
    return v;
}

/* ---- the whole ---- */

/* A matcher in `except` has no `except`. */
static void make_except(struct conf_build *b, const struct conf_node *map, struct matcher *m)
{
    const struct conf_node *node = conf_node_member(map, "except");
    unsigned n;

    if (!node)
        return;
    m->except = make_all(b, node, &n);
    if (m->except)
        m->n_except = n;
}

void conf_matcher_build(struct conf_build *b, const struct conf_node *node, const struct matcher **ret_v, unsigned *ret_n)
{
    bool texts;
    struct matcher *v = make_all(b, node, ret_n);
    unsigned at;

    if (!v)
        return;
    count(node, &texts);
    at = texts;
    for (const struct conf_node *i = conf_node_first(node); i; i = conf_node_next(node, i))
        if (i->kind == CONF_NODE_MAP)
            make_except(b, i, &v[at++]);
    *ret_v = v;
}

const struct option_word *conf_matcher_sni_word(const struct conf_node *node)
{
    const struct option_word *w = conf_shape_member(&conf_shape_rule, SLICE("sni"))->shape->words;

    if (node->kind == CONF_NODE_LIST && node->first && !node->first->next)
        node = node->first;
    return node->kind == CONF_NODE_TEXT ? conf_value_word(w, node->text) : NULL;
}

/* Whether a key of a rule is a word of matchers: all of theirs but for the destination. */
static bool stands_beside(const struct conf_node *member)
{
    struct slice key = member->key->text;

    if (slice_eq(key, SLICE("sni")))
        return !conf_matcher_sni_word(member);
    return conf_shape_member(&conf_shape_matcher, key);
}

void conf_matcher_beside(struct conf_build *b, const struct conf_node *rule, const struct matcher **ret_m)
{
    struct matcher *m = NULL;
    struct making k;

    for (const struct conf_node *i = rule->first; i && !b->report->nomem; i = i->next) {
        if (!stands_beside(i))
            continue;
        if (!m) {
            m = new_matchers(b, 1);
            if (!m)
                return;
            begin(&k, m);
        }
        add_member(b, &k, i);
    }
    if (!m)
        return;
    end(b, &k);
    make_except(b, rule, m);
    *ret_m = m;
}
