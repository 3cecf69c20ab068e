/* SPDX-License-Identifier: MIT */
/* conf_limits: makes a limit of every entry of `limits`. Called by the reader, file by file. What has been counted belongs to an entry for as long as it
 * says the same about whom, whose and what; how much may change at any time.
 */
#include "app/conf_limits.h"

#include "app/conf_entry.h"
#include "app/conf_matcher.h"

#include <stdio.h>

/* ---- identity ---- */

#define FNV_START UINT64_C(0xcbf29ce484222325)

/* FNV-1a, without a secret: files of quotas outlive the process. */
static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char *s = p;

    for (size_t i = 0; i < n; i++)
        h = (h ^ s[i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t mix_number(uint64_t h, uint64_t v)
{
    unsigned char bytes[8];

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(v >> (8 * i));
    return mix(h, bytes, sizeof(bytes));
}

static uint64_t mix_node(uint64_t h, const struct conf_node *n)
{
    h = mix_number(h, n->kind);
    return n->kind == CONF_NODE_TEXT ? mix_number(mix(h, n->text.p, n->text.n), n->text.n) : h;
}

/* The tree as it is written, places left out. */
static uint64_t mix_tree(uint64_t h, const struct conf_node *root)
{
    const struct conf_node *up[CONF_DEPTH_MAX + 1], *n = root;
    unsigned depth = 0;

    while (n) {
        if (n != root && n->key)
            h = mix_node(h, n->key);
        h = mix_node(h, n);
        if (n->kind != CONF_NODE_TEXT && n->first && depth < CONF_DEPTH_MAX) {
            up[depth++] = n;
            n = n->first;
            continue;
        }
        /* Up to the next that has a brother. */
        while (depth && !n->next) {
            n = up[--depth];
            h = mix_number(h, 0xff);
        }
        n = depth ? n->next : NULL;
    }
    return h;
}

static uint64_t identity(const struct conf *c, const struct limit *l, const struct conf_node *where)
{
    const bool kinds[] = {l->requests > 0, l->bandwidth > 0, l->bandwidth_up > 0, l->bandwidth_down > 0, l->tunnels > 0, l->quota > 0};
    uint64_t h = mix_number(mix_number(FNV_START, l->per), l->span), id;
    unsigned same = 0;

    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
        h = mix_number(h, kinds[i]);
    if (where)
        h = mix_tree(h, where);
    /* Of several that say the same each is itself. */
    for (;;) {
        bool taken = false;

        id = mix_number(h, same++);
        for (unsigned i = 0; i < c->n_limits && !taken; i++)
            taken = c->limits[i].id == id;
        if (!taken)
            return id;
    }
}

/* ---- values ---- */

static const struct option_word *word_of(const struct conf_node *node, const char *key)
{
    return conf_value_word(conf_shape_member(&conf_shape_limit, slice_str(key))->shape->words, node->text);
}

/* The number of a member that conf_entry has found to be correct; 0: it is not there. */
static uint64_t number_of(const struct conf_node *entry, const char *key)
{
    const struct conf_node *node = conf_node_member(entry, key);
    const struct conf_shape *shape = conf_shape_member(&conf_shape_limit, slice_str(key))->shape;
    const struct option_def o = {.path = key, .type = shape->type, .min = shape->min, .max = shape->max};
    uint64_t v = 0;
    uint32_t n = 0;

    if (!node)
        return 0;
    if (conf_value_set(&o, node->text, NULL, shape->type == OPTION_COUNT ? (void *)&n : (void *)&v) < 0)
        return 0;
    return shape->type == OPTION_COUNT ? n : v;
}

static bool switch_of(const struct conf_node *entry, const char *key)
{
    const struct conf_node *node = conf_node_member(entry, key);
    bool on;

    return node && conf_value_switch(node->text, &on) == 0 && on;
}

static const char *const spans[] = {[SPAN_HOUR] = "hour", [SPAN_DAY] = "day", [SPAN_WEEK] = "week", [SPAN_MONTH] = "month"};

static void read_quota(const struct conf_node *entry, struct limit *l)
{
    const struct conf_node *node = conf_node_member(entry, "quota");
    size_t slash;

    if (!node)
        return;
    slash = slice_find(node->text, '/');
    if (slash == node->text.n || conf_value_size(slice_of(node->text.p, slash), &l->quota) < 0)
        return;
    for (unsigned i = SPAN_HOUR; i <= SPAN_MONTH; i++)
        if (slice_eq(slice_skip(node->text, slash + 1), slice_str(spans[i])))
            l->span = (enum limit_span)i;
}

void conf_limits_quota_text(const struct limit *l, char out[CONF_QUOTA_TEXT])
{
    char size[CONF_VALUE_TEXT];

    conf_value_text(OPTION_SIZE, l->quota, size);
    snprintf(out, CONF_QUOTA_TEXT, "%s/%s", size, l->span ? spans[l->span] : "");
}

/* ---- entries ---- */

/* Words that say nothing without another one. */
static void check_words(struct conf_build *b, const struct conf_node *entry)
{
    static const struct {
        const char *word, *needs;
    } pairs[] = {{"burst", "requests"}, {"pace", "requests"}, {"at-limit", "quota"}};
    const struct conf_node *per = conf_node_member(entry, "per"), *quota = conf_node_member(entry, "quota");

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        const struct conf_node *node = conf_node_member(entry, pairs[i].word);

        if (node && !conf_node_member(entry, pairs[i].needs))
            conf_report_add(b->report, node->key->at, conf_report_say(b->report, "add `%s`, or remove it", pairs[i].needs),
                            "`%s` without `%s`", pairs[i].word, pairs[i].needs);
    }
    if (quota && per && slice_eq(per->text, SLICE("connection")))
        conf_report_add(b->report, quota->key->at, "what one connection may move is `upload` and `download`",
                        "`quota` of a connection");
}

static void read_limit(struct conf_build *b, const struct conf_node *node, struct limit *l)
{
    const struct conf_node *where = conf_node_member(node, "for"), *per = conf_node_member(node, "per"), *name = conf_node_member(node, "name"),
                           *at_limit = conf_node_member(node, "at-limit");
    struct slice copy = name ? arena_dup(b->arena, name->text) : SLICE_NONE;

    if (name && !copy.p)
        conf_build_nomem(b);
    l->name = copy.p;
    l->place = conf_build_place(b, node->at);
    if (where)
        conf_matcher_build(b, where, &l->where, &l->n_where);
    l->per = per ? (enum limit_per)word_of(per, "per")->value : PER_ALL;
    l->requests = (uint32_t)number_of(node, "requests");
    l->burst = (uint32_t)number_of(node, "burst");
    if (l->requests && !l->burst)
        l->burst = l->requests;
    l->pace = switch_of(node, "pace");
    l->bandwidth = number_of(node, "bandwidth");
    l->bandwidth_up = number_of(node, "bandwidth-up");
    l->bandwidth_down = number_of(node, "bandwidth-down");
    l->tunnels = (uint32_t)number_of(node, "tunnels");
    l->upload = number_of(node, "upload");
    l->download = number_of(node, "download");
    read_quota(node, l);
    l->slow = at_limit && word_of(at_limit, "at-limit")->value;
    l->id = identity(b->conf, l, where);
}

static void take_entry(struct conf_build *b, const struct conf_node *node)
{
    struct conf *c = b->conf;

    memset(&c->limits[c->n_limits], 0, sizeof(*c->limits));
    read_limit(b, node, &c->limits[c->n_limits]);
    c->n_limits++;
}

void conf_limits_read(struct conf_build *b, const struct option_def *o, const struct conf_node *node)
{
    unsigned n = conf_node_count(node);
    struct conf *c = b->conf;
    size_t had = c->n_limits * sizeof(*c->limits);
    struct limit *v;

    if (n > CONF_LIMITS_MAX - c->n_limits) {
        conf_report_add(b->report, node->at, "`per: user` or `per: group` makes one entry do for many", "`limits` has more than %d entries",
                        CONF_LIMITS_MAX);
        return;
    }
    v = arena_grow(b->arena, c->limits, had, had + n * sizeof(*v));
    if (!v) {
        conf_build_nomem(b);
        return;
    }
    c->limits = v;
    conf_entry_each(b, o, node, check_words, take_entry);
}
