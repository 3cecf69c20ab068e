/* SPDX-License-Identifier: MIT */
/* conf_log: makes an output of every item of `log`. Called by the reader. An item that has nothing
 * but `level` is no log; where no item is one, there is the default log.
 */
#include "app/conf_log.h"

#include "app/conf_entry.h"
#include "app/conf_match.h"
#include "app/conf_matcher.h"
#include "base/err.h"

static const char dev_log[] = "/dev/log";

/* ---- where the records go ---- */

static bool copy_path(struct conf_build *b, struct slice path, struct access_output *out)
{
    struct slice copy = arena_dup(b->arena, path);

    out->path = copy.p;
    if (!copy.p)
        conf_build_nomem(b);
    return copy.p != NULL;
}

/* The text has been checked. False: there is no such output. */
static bool set_sink(struct conf_build *b, const struct option_def *o, struct slice text,
                     struct access_output *out)
{
    static const struct slice syslog = {"syslog:", 7};
    const struct option_word *w = conf_value_word(o->words, text);

    if (w && w->value < 0)
        return false;
    if (w) {
        out->sink = (enum access_sink)w->value;
        out->path = out->sink == ACCESS_SYSLOG_UNIX ? dev_log : NULL;
        return true;
    }
    if (text.p[0] == '/') {
        out->sink = ACCESS_FILE;
        return copy_path(b, text, out);
    }
    text = slice_skip(text, syslog.n);
    if (text.p[0] == '/') {
        out->sink = ACCESS_SYSLOG_UNIX;
        return copy_path(b, text, out);
    }
    out->sink = ACCESS_SYSLOG_UDP;
    return addr_parse(text, &out->udp) == 0;
}

/* ---- an item ---- */

struct log_item {
    struct access_output out;
    bool written; /* it has a key that makes it a log */
    bool off;
    size_t every_at;
};

static void set_tunnels(const struct option_def *o, const struct conf_node *node,
                        struct log_item *item)
{
    const struct option_word *w = conf_value_word(o->words, node->text);

    if (w) {
        item->out.tunnels = (enum access_tunnels)w->value;
        return;
    }
    item->out.tunnels = ACCESS_EVERY;
    item->every_at = node->at;
    if (conf_value_every(node->text, &item->out.every_ms) < 0)
        item->out.every_ms = 0; /* it has been reported */
}

static void read_for(struct conf_build *b, const struct option_def *o, const struct conf_node *node,
                     struct log_item *item)
{
    if (conf_entry_check(b, conf_table_key(o), o->shape, node, true))
        conf_matcher_build(b, node, &item->out.where, &item->out.n_where);
}

static void read_level(struct conf_build *b, const struct option_def *o, size_t key_at,
                       struct slice text)
{
    size_t *first = &b->level_at;

    if (*first != CONF_AT_NONE)
        conf_report_add(b->report, key_at,
                        conf_report_say(b->report, "it stands in %s already",
                                        conf_report_where(b->report, *first, key_at)),
                        "`%s` is given twice: there is one for all logs", conf_table_key(o));
    *first = key_at;
    if (conf_value_set(o, text, b->arena, b->conf) == ERR_NOMEM)
        conf_build_nomem(b);
}

static void read_member(struct conf_build *b, const struct option_def *o, const struct conf_node *m,
                        struct log_item *item)
{
    struct conf_kind k = conf_kind_of(o);
    struct slice text;

    if (strcmp(k.key, "level") != 0)
        item->written = true;
    if (o->type == OPTION_ENTRY) {
        read_for(b, o, m, item);
        return;
    }
    if (!conf_build_text(b, &k, m, &text) || !conf_match_value(b, &k, text, m->at))
        return;
    if (o->type == OPTION_SINK)
        item->off = !set_sink(b, o, text, &item->out);
    else if (o->type == OPTION_TUNNELS)
        set_tunnels(o, m, item);
    else if (o->of == OPTION_OF_LOG && conf_value_set(o, text, b->arena, &item->out) == ERR_NOMEM)
        conf_build_nomem(b);
    else if (o->of == OPTION_OF_CONF)
        read_level(b, o, m->key->at, text);
}

static void add_output(struct conf_build *b, const struct log_item *item, size_t at)
{
    struct conf *c = b->conf;

    if (c->n_outputs == CONF_OUTPUTS_MAX) {
        conf_report_add(b->report, at, NULL, "`log` has more than %d items", CONF_OUTPUTS_MAX);
        return;
    }
    if (!c->outputs)
        c->outputs = arena_zalloc(b->arena, CONF_OUTPUTS_MAX * sizeof(*c->outputs));
    if (!c->outputs) {
        conf_build_nomem(b);
        return;
    }
    b->output_every_at[c->n_outputs] = item->every_at;
    c->outputs[c->n_outputs] = item->out;
    c->outputs[c->n_outputs++].place = conf_build_place(b, at);
}

static void read_item(struct conf_build *b, const struct option_def *log,
                      const struct conf_node *node)
{
    struct conf_build_seen seen = {0};
    struct log_item item = {.every_at = CONF_AT_NONE};

    for (const struct conf_node *m = node->first; m; m = m->next) {
        const struct option_def *o = conf_build_member(b, log, m, &seen);

        if (o)
            read_member(b, o, m, &item);
    }
    b->logs = b->logs || item.written;
    if (item.written && !item.off)
        add_output(b, &item, node->key ? node->key->at : node->at);
}

void conf_log_read(struct conf_build *b, const struct option_def *log, const struct conf_node *node)
{
    struct conf_kind k = conf_kind_of(log);
    struct slice text;

    if (node->kind == CONF_NODE_MAP) {
        read_item(b, log, node);
        return;
    }
    if (node->kind != CONF_NODE_LIST)
        return; /* the reader has said so */
    for (const struct conf_node *i = node->first; i; i = i->next)
        if (i->kind == CONF_NODE_MAP)
            read_item(b, log, i);
        else if (conf_build_text(b, &k, i, &text))
            conf_build_wrong(b, &k, i->at, conf_report_quote(b->report, text),
                             "like this: {access: stderr}");
}

/* ---- all of them ---- */

static void check_every(struct conf_build *b, unsigned i, unsigned *first)
{
    const struct conf *c = b->conf;

    if (c->outputs[i].tunnels != ACCESS_EVERY)
        return;
    if (*first == UINT32_MAX)
        *first = i;
    else if (c->outputs[i].every_ms != c->outputs[*first].every_ms)
        conf_report_add(b->report, b->output_every_at[i],
                        conf_report_say(b->report, "%s has another interval",
                                        conf_report_where(b->report, b->output_every_at[*first],
                                                          b->output_every_at[i])),
                        "logs that write tunnels `every` so often all have one interval");
}

void conf_log_finish(struct conf_build *b)
{
    const struct log_item dflt = {.every_at = CONF_AT_NONE};
    struct conf *c = b->conf;
    unsigned every = UINT32_MAX;

    if (!b->logs)
        add_output(b, &dflt, CONF_AT_NONE);
    c->proxy.access_log = c->n_outputs > 0;
    for (unsigned i = 0; i < c->n_outputs; i++) {
        const struct access_output *o = &c->outputs[i];

        check_every(b, i, &every);
        c->proxy.log_begin = c->proxy.log_begin || o->tunnels != ACCESS_AT_END;
        c->proxy.log_agent = c->proxy.log_agent || o->layout == ACCESS_COMBINED ||
                             o->layout == ACCESS_JSON;
        if (o->tunnels == ACCESS_EVERY)
            c->proxy.log_every_ms = o->every_ms;
    }
}
