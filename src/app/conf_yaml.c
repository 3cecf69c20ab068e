/* SPDX-License-Identifier: MIT */
/* conf_yaml: libyaml's events made into a tree. Called by conf. What libyaml would choke on slowly
 * (deep nesting, heaps of directives) or late (bytes that are no UTF-8, because it reads ahead) is
 * found here first; the text in front of it is still read, so that its errors are shown too. It
 * must never follow an alias and never recurse.
 */
#include "app/conf_yaml.h"

#include "app/conf_text.h"
#include "base/err.h"

#include <yaml.h>

struct level {
    struct conf_node *node;
    struct conf_node *key; /* of a map: waits for its value */
};

struct builder {
    struct arena *arena;
    struct conf_report *report;
    size_t base;       /* what a place is more than an offset in the text */
    struct slice text; /* what libyaml gets */
    bool cut;          /* that is not all */
    struct conf_node *root;
    struct conf_node *last_text;
    size_t last_line; /* where last_text ends, as libyaml counts */
    struct level levels[CONF_DEPTH_MAX];
    unsigned depth;
    unsigned documents;
    bool stop, whole;
    struct {
        size_t chars, at;
    } cursor; /* libyaml counts characters, we count bytes */
};

/* ---- what never reaches libyaml ---- */

/* The first place that cannot be read, text.n when there is none. */
static size_t find_unreadable(struct slice text, const char **ret_message, const char **ret_hint)
{
    bool line_start = true;
    size_t i = 0;

    while (i < text.n) {
        uint32_t c;
        size_t n = conf_text_char(slice_skip(text, i), &c);

        if (n == 0) {
            *ret_message = "this is not UTF-8";
            *ret_hint = "save the file as UTF-8";
            return i;
        }
        if (!conf_text_printable(c)) {
            *ret_message = "a control character";
            *ret_hint = "in double quotes it can be written as an escape: \"\\e\", \"\\x07\"";
            return i;
        }
        if (line_start && c == '%') {
            *ret_message = "a line that begins with % is a YAML directive, and none is known";
            *ret_hint = "remove it";
            return i;
        }
        line_start = c == '\n' || c == '\r';
        i += n;
    }
    return text.n;
}

/* Leaves out everything from the line on that cannot be read. */
static void cut_unreadable(struct builder *b)
{
    const char *message, *hint;
    size_t at = find_unreadable(b->text, &message, &hint);

    if (at == b->text.n)
        return;
    conf_report_add(b->report, b->base + at, hint, "%s", message);
    while (at > 0 && b->text.p[at - 1] != '\n' && b->text.p[at - 1] != '\r')
        at--;
    b->text.n = at;
    b->cut = true;
}

/* ---- places ---- */

static size_t offset_of(struct builder *b, yaml_mark_t mark)
{
    struct slice s = b->text;
    uint32_t c;

    /* Nearly always forwards. The text is UTF-8, so that going back is easy as well. */
    while (b->cursor.chars > mark.index) {
        do
            b->cursor.at--;
        while (((unsigned char)s.p[b->cursor.at] & 0xc0) == 0x80);
        b->cursor.chars--;
    }
    while (b->cursor.chars < mark.index && b->cursor.at < s.n) {
        b->cursor.at += conf_text_char(slice_skip(s, b->cursor.at), &c);
        b->cursor.chars++;
    }
    return b->cursor.at;
}

/* ---- the tree ---- */

static struct conf_node *new_node(struct builder *b, enum conf_node_kind kind, size_t at)
{
    struct conf_node *n = arena_zalloc(b->arena, sizeof(*n));

    if (!n) {
        b->report->nomem = true;
        return NULL;
    }
    n->kind = kind;
    n->at = at;
    return n;
}

static void append(struct conf_node *parent, struct conf_node *n)
{
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
}

static void attach(struct builder *b, struct conf_node *n)
{
    struct level *l;

    if (b->depth == 0) {
        b->root = n;
        return;
    }
    l = &b->levels[b->depth - 1];
    if (l->node->kind == CONF_NODE_MAP && !l->key) {
        l->key = n;
        return;
    }
    n->key = l->key;
    l->key = NULL;
    append(l->node, n);
}

static void push(struct builder *b, struct conf_node *n)
{
    if (b->depth == CONF_DEPTH_MAX) {
        conf_report_add(b->report, n->at, "nothing in ginnel's configuration is nested like this",
                        "nested more than %d levels deep", CONF_DEPTH_MAX);
        b->stop = true;
        return;
    }
    attach(b, n);
    n->open = true;
    b->levels[b->depth++] = (struct level){.node = n};
}

/* The file ended early: keys without their values are kept, so that they are looked at. */
static void close_levels(struct builder *b)
{
    while (b->depth > 0) {
        struct level *l = &b->levels[b->depth - 1];
        struct conf_node *n;

        if (l->key) {
            n = new_node(b, CONF_NODE_BAD, l->key->at);
            if (!n)
                return;
            n->open = true;
            attach(b, n);
        }
        b->depth--;
    }
    if (b->last_text && b->last_text->empty)
        b->last_text->open = true;
}

/* ---- events ---- */

static void refuse_decorations(struct builder *b, size_t at, const yaml_char_t *anchor,
                               const yaml_char_t *tag)
{
    if (anchor)
        conf_report_add(b->report, at, "write the value out wherever it is needed",
                        "anchors (&) are not part of this language");
    if (tag)
        conf_report_add(b->report, at, "remove it, or quote a value that begins with !",
                        "tags (!) are not part of this language");
}

static bool reads_as_null(struct slice s)
{
    return s.n == 0 || slice_eq(s, SLICE("~")) || slice_eq(s, SLICE("null")) ||
           slice_eq(s, SLICE("Null")) || slice_eq(s, SLICE("NULL"));
}

static bool is_key(const struct builder *b)
{
    return b->depth > 0 && b->levels[b->depth - 1].node->kind == CONF_NODE_MAP &&
           !b->levels[b->depth - 1].key;
}

static void on_scalar(struct builder *b, const yaml_event_t *e, size_t at)
{
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    struct conf_node *n = new_node(b, CONF_NODE_TEXT, at);

    refuse_decorations(b, at, e->data.scalar.anchor, e->data.scalar.tag);
    if (!n)
        return;
    n->text = arena_dup(b->arena, slice_of(e->data.scalar.value, e->data.scalar.length));
    if (!n->text.p)
        b->report->nomem = true;
    n->empty = plain && reads_as_null(slice_of(e->data.scalar.value, e->data.scalar.length));
    if (e->data.scalar.anchor || e->data.scalar.tag)
        n->kind = CONF_NODE_BAD;
    if (is_key(b) && plain && slice_eq(n->text, SLICE("<<"))) {
        conf_report_add(b->report, at, "write the keys out",
                        "merge keys (<<) are not part of this language");
        n->kind = CONF_NODE_BAD;
    }
    attach(b, n);
    b->last_text = n;
    b->last_line = e->end_mark.line;
}

static void on_alias(struct builder *b, size_t at)
{
    struct conf_node *n = new_node(b, CONF_NODE_BAD, at);

    conf_report_add(b->report, at, "write the value out; everybody and everything is `any`",
                    "aliases (*) are not part of this language");
    if (n)
        attach(b, n);
}

static void on_document(struct builder *b, size_t at)
{
    b->documents++;
    if (b->documents == 1)
        return;
    conf_report_add(b->report, at, "remove the line, or what follows it",
                    "a second document; a file has one");
    b->stop = true;
    b->whole = true;
}

static void on_start(struct builder *b, enum conf_node_kind kind, size_t at,
                     const yaml_char_t *anchor, const yaml_char_t *tag)
{
    struct conf_node *n = new_node(b, kind, at);

    refuse_decorations(b, at, anchor, tag);
    if (n)
        push(b, n);
}

static void on_end(struct builder *b, size_t end)
{
    struct conf_node *n = b->levels[--b->depth].node;

    n->open = b->cut && end >= b->text.n;
}

static void on_event(struct builder *b, const yaml_event_t *e)
{
    size_t at = b->base + offset_of(b, e->start_mark);

    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        on_document(b, at);
        return;
    case YAML_SCALAR_EVENT:
        on_scalar(b, e, at);
        return;
    case YAML_ALIAS_EVENT:
        on_alias(b, at);
        return;
    case YAML_SEQUENCE_START_EVENT:
        on_start(b, CONF_NODE_LIST, at, e->data.sequence_start.anchor, e->data.sequence_start.tag);
        return;
    case YAML_MAPPING_START_EVENT:
        on_start(b, CONF_NODE_MAP, at, e->data.mapping_start.anchor, e->data.mapping_start.tag);
        return;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_end(b, offset_of(b, e->end_mark));
        return;
    case YAML_STREAM_END_EVENT:
        b->stop = true;
        b->whole = !b->cut;
        return;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return;
    }
}

/* ---- syntax errors ---- */

#define FITS "keys of one map begin in the same column, and so do the dashes of one list"
#define TABS "indent with blanks"

enum { AT_CONTEXT = 1, MAYBE_IPV6 = 2 };

static const struct syntax {
    const char *problem; /* libyaml's words */
    const char *message, *hint;
    unsigned flags; /* AT_CONTEXT: where the thing began is the better place */
} syntaxes[] = {
    {"found a tab character that violates indentation", "a tab in the indentation", TABS, 0},
    {"found a tab character where an indentation space is expected", "a tab in the indentation",
     TABS, 0},
    {"found character that cannot start any token", "a value cannot begin with this character",
     "put the value in quotes", 0},
    {"mapping values are not allowed in this context", "a colon that does not belong here",
     "one key a line, the keys of one map in the same column; quote a value that has a colon and "
     "a blank in it",
     0},
    {"could not find expected ':'", "a key without a colon", "write `key: value`", AT_CONTEXT},
    {"did not find expected key", "neither a key nor the end of the map", FITS, MAYBE_IPV6},
    {"did not find expected '-' indicator", "neither an item nor the end of the list", FITS,
     MAYBE_IPV6},
    {"block sequence entries are not allowed in this context", "a dash that does not belong here",
     "the items of a list begin in a line of their own, or write [one, two]", 0},
    {"did not find expected ',' or ']'", "this list is not closed, or a comma is missing in it",
     "lists look like this: [one, two]", AT_CONTEXT | MAYBE_IPV6},
    {"did not find expected ',' or '}'", "this map is not closed, or a comma is missing in it",
     "maps look like this: {one: 1, two: 2}", AT_CONTEXT | MAYBE_IPV6},
    {"found unexpected end of stream", "this quote is not closed", NULL, AT_CONTEXT},
    {"found unexpected document indicator", "this quote is not closed", NULL, AT_CONTEXT},
    {"did not find expected alphabetic or numeric character",
     "a value cannot begin with this character",
     "quote it; everybody and everything is `any`, all addresses are 0.0.0.0", AT_CONTEXT},
    {"did not find expected node content", "a value is missing here", NULL, MAYBE_IPV6},
    {"found unknown escape character", "an unknown escape",
     "in double quotes a backslash is written twice, in single quotes once", 0},
    {"did not find expected <document start>", "something behind the end of the document",
     "remove the line with the dots or what follows it", 0},
};

static const struct syntax *find_syntax(const char *problem)
{
    for (size_t i = 0; i < ARRAY_LEN(syntaxes); i++)
        if (strcmp(problem, syntaxes[i].problem) == 0)
            return &syntaxes[i];
    return NULL;
}

/* Whether two colons stand together in the line of that place: YAML has an opinion on [::1]. */
static bool near_ipv6(struct slice text, size_t at)
{
    size_t from = min_size(at, text.n), to = from;
    const char *hit;

    while (from > 0 && text.p[from - 1] != '\n')
        from--;
    while (to < text.n && text.p[to] != '\n')
        to++;
    hit = to > from ? memmem(text.p + from, to - from, "::", 2) : NULL;
    return hit != NULL;
}

/* `control: unix:` is what everybody writes, and to YAML a map in a map. */
static bool behind_unix(struct slice text, size_t at)
{
    return at >= 4 && at <= text.n && memcmp(text.p + at - 4, "unix", 4) == 0;
}

static void report_syntax(struct builder *b, const yaml_parser_t *p)
{
    const char *problem = p->problem ? p->problem : "malformed";
    const struct syntax *s = find_syntax(problem);
    size_t problem_at = offset_of(b, p->problem_mark), at = problem_at;
    const char *hint = s ? s->hint : NULL;

    if (b->cut && problem_at >= b->text.n)
        return; /* ours: the text was cut there */
    /* A text that runs into the error is part of it: "10s idle" was meant to be two lines. */
    if (b->last_text && b->last_line >= p->problem_mark.line)
        b->last_text->kind = CONF_NODE_BAD;
    if (s && (s->flags & AT_CONTEXT) && p->context)
        at = offset_of(b, p->context_mark);
    if (at < b->text.n && b->text.p[at] == '\t') {
        conf_report_add(b->report, b->base + at, TABS, "a tab in the indentation");
        return;
    }
    if (s && (s->flags & MAYBE_IPV6) && near_ipv6(b->text, at))
        hint = "an IPv6 address is quoted: \"[::1]:3128\", \"::1\"";
    if (behind_unix(b->text, at))
        hint = "a colon at the end is quoted: \"unix:\"";
    conf_report_add(b->report, b->base + at, hint, "%s%s",
                    s ? "" : "YAML: ", s ? s->message : problem);
}

/* ---- */

static int read_events(struct builder *b, yaml_parser_t *p)
{
    while (!b->stop && !b->report->nomem) {
        yaml_event_t e;

        if (!yaml_parser_parse(p, &e)) {
            if (p->error == YAML_MEMORY_ERROR)
                return ERR_NOMEM;
            report_syntax(b, p);
            break;
        }
        on_event(b, &e);
        yaml_event_delete(&e);
    }
    if (!b->whole)
        close_levels(b);
    return b->report->nomem ? ERR_NOMEM : 0;
}

int conf_yaml_read(struct arena *a, struct conf_report *r, const struct conf_source *source,
                   struct conf_node **ret_root, bool *ret_whole)
{
    struct builder b = {.arena = a, .report = r, .base = source->base, .text = source->text};
    yaml_parser_t parser;
    int err;

    cut_unreadable(&b);
    if (!yaml_parser_initialize(&parser))
        return ERR_NOMEM;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(b.text.n ? b.text.p : ""),
                                 b.text.n);
    err = read_events(&b, &parser);
    yaml_parser_delete(&parser);
    if (err < 0)
        return err;
    *ret_root = b.root;
    *ret_whole = b.whole;
    return 0;
}
