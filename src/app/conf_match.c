/* SPDX-License-Identifier: MIT */
/* conf_match: from texts to ranges and names. Called by the walker over entries for each
 * single value, and by those who make sets and matchers of them. Host names are normalised as those of
 * requests are (proto/url.h), or a rule could be passed by spelling. It resolves nothing.
 */
#include "app/conf_match.h"

#include "app/conf_hop.h"
#include "app/conf_list.h"
#include "app/conf_text.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "proto/url.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { SCRATCH_MAX = 64 << 10, NAME_MAX_BYTES = 253, LABEL_MAX_BYTES = 63 };

static inline bool contains(struct slice s, const char *what)
{
    return s.p && s.n && memmem(s.p, s.n, what, strlen(what)) != NULL;
}

/* ---- ranges ---- */

/* The range with the bits behind its prefix cleared, which is what was meant most of the time. */
static const char *prefix_hint(struct conf_build *b, const struct conf_kind *k, struct slice s)
{
    size_t slash = slice_find(s, '/');
    struct addr a;
    uint8_t bytes[16];
    char text[INET6_ADDRSTRLEN];
    uint64_t prefix;
    unsigned bits;
    bool v4;

    if (slash == s.n || addr_parse_host(slice_of(s.p, slash), 0, &a) < 0 || s.p[0] == '[')
        return conf_build_hint(b, k);
    v4 = a.sa.sa_family == AF_INET;
    bits = v4 ? 32 : 128;
    if (num_dec(slice_skip(s, slash + 1), bits, &prefix) < 0)
        return v4 ? "a prefix goes from 0 to 32" : "a prefix goes from 0 to 128";
    memcpy(bytes, v4 ? (void *)&a.in.sin_addr : (void *)&a.in6.sin6_addr, bits / 8);
    for (unsigned bit = (unsigned)prefix; bit < bits; bit++)
        bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
    inet_ntop(v4 ? AF_INET : AF_INET6, bytes, text, sizeof(text));
    return conf_report_say(b->report, "bits behind the prefix are zero: %s/%u", text,
                           (unsigned)prefix);
}

static const char *range_hint(struct conf_build *b, const struct conf_kind *k, struct slice s)
{
    if (contains(s, "/"))
        return prefix_hint(b, k, s);
    if (slice_eq(s, SLICE("*")) || slice_eq_nocase(s, SLICE("all")) ||
        slice_eq_nocase(s, SLICE("any")) || slice_eq_nocase(s, SLICE("everybody")))
        return k->type == OPTION_PREFIX ? conf_build_hint(b, k) : "everybody is `any`";
    if (slice_eq_nocase(s, SLICE("localhost")))
        return "write 127.0.0.0/8 and \"::1\"";
    return conf_build_hint(b, k);
}

typedef const char *(*hint_fn)(struct conf_build *b, const struct conf_kind *k, struct slice s);

/* A list may have millions of lines that are wrong: words are made for those alone that will be shown. */
static void report_wrong(struct conf_build *b, const struct conf_kind *k, struct slice s, size_t at, int err, hint_fn hint)
{
    if (!conf_report_wants(b->report, at))
        conf_report_add(b->report, at, NULL, "wrong");
    else if (err == ERR_RANGE)
        conf_report_add(b->report, at, prefix_hint(b, k, s), "%s is not a range", conf_report_quote(b->report, s));
    else
        conf_build_wrong(b, k, at, conf_report_quote(b->report, s), hint(b, k, s));
}

static bool parse_range(struct conf_build *b, const struct conf_kind *k, struct slice s, size_t at,
                        struct addr_range *ret_range)
{
    int r = addr_range_parse(s, ret_range);

    if (r == 0)
        return true;
    report_wrong(b, k, s, at, r, range_hint);
    return false;
}

static void push_range(struct conf_build *b, struct conf_ranges *r, const struct addr_range *range)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap + r->cap / 2 : 8;
        struct addr_range *v = mem_grow(r->v, cap * sizeof(*v));

        if (!v) {
            conf_build_nomem(b);
            return;
        }
        r->v = v;
        r->cap = cap;
    }
    r->v[r->n++] = *range;
}

static bool covers(const struct addr_range *wide, const struct addr_range *narrow)
{
    return wide->v4 == narrow->v4 && (wide->mask_hi & narrow->mask_hi) == wide->mask_hi &&
           (wide->mask_lo & narrow->mask_lo) == wide->mask_lo &&
           ((wide->hi ^ narrow->hi) & wide->mask_hi) == 0 &&
           ((wide->lo ^ narrow->lo) & wide->mask_lo) == 0;
}

/* Says so when one of the two that somebody wrote is inside the other. */
static void lint_range(struct conf_build *b, const struct conf_ranges *r, struct slice text,
                       const struct addr_range *range, size_t at)
{
    bool wanted = conf_report_wants(b->warnings, at);

    for (unsigned i = 0; i < r->n_written; i++) {
        const struct conf_written *w = &r->written[i];
        bool inside = covers(&w->range, range);

        if (!inside && !covers(range, &w->range))
            continue;
        /* A line may have very many of them. */
        if (!wanted) {
            conf_report_add(b->warnings, at, NULL, "inside");
            return;
        }
        if (inside && covers(range, &w->range)) {
            conf_report_add(b->warnings, at, "remove one of the two", "%s stands in %s already",
                            conf_report_quote(b->warnings, text),
                            conf_report_where(b->warnings, w->at, at));
            return;
        }
        conf_report_add(b->warnings, at, "remove the narrower one", "%s is inside %s (%s)",
                        conf_report_quote(b->warnings, inside ? text : w->text),
                        conf_report_quote(b->warnings, inside ? w->text : text),
                        conf_report_where(b->warnings, w->at, at));
        return;
    }
}

static void note_written(struct conf_build *b, struct conf_ranges *r, struct slice text,
                         const struct addr_range *range, size_t at)
{
    struct conf_written *v = r->written;
    struct slice copy;

    lint_range(b, r, text, range, at);
    if (r->n_written == CONF_WRITTEN_MAX)
        return;
    copy = arena_dup(b->trees, text);
    if ((r->n_written & (r->n_written - 1)) == 0)
        v = mem_grow(v, (r->n_written ? r->n_written * 2 : 1) * sizeof(*v));
    if (v)
        r->written = v;
    if (!v || !copy.p) {
        conf_build_nomem(b);
        return;
    }
    v[r->n_written++] = (struct conf_written){.range = *range, .text = copy, .at = at};
}

struct range_sink {
    const struct conf_kind *k;
    struct conf_ranges *into;
};

/* Whether the entry is one that only the configuration itself may have. */
static bool is_foreign(struct conf_build *b, struct slice entry, size_t at)
{
    if (slice_eq(entry, SLICE("any")))
        conf_report_add(b->report, at, "write it into the configuration itself",
                        "`any` in a list file");
    else if (conf_value_is_list_file(entry))
        conf_report_add(b->report, at, "name it in the configuration itself",
                        "a list file inside a list file");
    else
        return false;
    return true;
}

static void on_range_line(struct conf_build *b, void *ctx, struct slice entry, size_t at)
{
    struct range_sink *sink = ctx;
    struct addr_range range;

    if (!is_foreign(b, entry, at) && parse_range(b, sink->k, entry, at, &range))
        push_range(b, sink->into, &range);
}

void conf_match_range(struct conf_build *b, const struct conf_kind *k, struct slice text, size_t at,
                      struct conf_ranges *into)
{
    struct range_sink sink = {.k = k, .into = into};
    struct addr_range range;

    if (slice_eq(text, SLICE("any"))) {
        into->any = true;
        into->any_at = at;
    } else if (conf_value_is_list_file(text)) {
        conf_list_read(b, text, at, on_range_line, &sink);
    } else if (parse_range(b, k, text, at, &range)) {
        push_range(b, into, &range);
        note_written(b, into, text, &range, at);
    }
}

void conf_match_ranges(struct conf_build *b, struct conf_ranges *r, struct ranges *ret_set)
{
    if (r->n && ranges_build(r->v, r->n, ret_set) < 0)
        conf_build_nomem(b);
    mem_free(r->v);
    mem_free(r->written);
    *r = (struct conf_ranges){.any = r->any, .any_at = r->any_at};
}

/* ---- hosts ---- */

/* What a host's text is: a range, or else a name, which may begin with a dot. */
struct host_value {
    bool is_range;
    struct addr_range range;
    struct slice name;
};

/* Names that are their own normal form, as nearly all are. */
static bool is_plain_name(struct slice s)
{
    size_t label = 0, start = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            start = i + 1;
            continue;
        }
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
        if (++label > LABEL_MAX_BYTES)
            return false;
    }
    return label && s.n <= NAME_MAX_BYTES && s.p[start] >= 'a' && s.p[start] <= 'z' &&
           !contains(s, "xn--");
}

/* By the rules of requests. The result lives in the scratch arena. */
static int normalise(struct arena *scratch, struct slice s, struct host_value *ret_v)
{
    bool dot = s.n && s.p[0] == '.';
    struct slice rest = dot ? slice_skip(s, 1) : s;
    struct authority auth;
    enum url_fault fault;

    if (!rest.n || contains(rest, ":") || contains(rest, "@") || contains(rest, "/"))
        return ERR_SYNTAX;
    fault = url_authority(scratch, rest, false, &auth);
    if (fault == URL_NOMEM)
        return ERR_NOMEM;
    if (fault != URL_OK || auth.port)
        return ERR_SYNTAX;
    ret_v->is_range = auth.kind != HOST_NAME;
    if (ret_v->is_range)
        return dot ? ERR_SYNTAX : addr_range_parse(auth.host, &ret_v->range);
    ret_v->name = auth.host;
    if (!dot)
        return 0;
    ret_v->name = arena_printf(scratch, "." SLICE_FMT, SLICE_ARG(auth.host));
    return ret_v->name.p ? 0 : ERR_NOMEM;
}

static int read_host(struct arena *scratch, struct slice s, struct host_value *ret_v)
{
    struct slice rest = s.n && s.p[0] == '.' ? slice_skip(s, 1) : s;
    int r;

    *ret_v = (struct host_value){.name = s};
    /* Somebody who writes ANY means everything, and no host of that name. */
    if (slice_eq_nocase(s, SLICE("any")))
        return ERR_SYNTAX;
    if (is_plain_name(rest))
        return 0;
    if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
        s = slice_of(s.p + 1, s.n - 2);
    r = addr_range_parse(s, &ret_v->range);
    ret_v->is_range = r == 0;
    return r == ERR_SYNTAX ? normalise(scratch, s, ret_v) : r;
}

static const char *host_hint(struct conf_build *b, const struct conf_kind *k, struct slice s)
{
    struct addr_range range;
    size_t colon = slice_find(s, ':'), slash = slice_find(s, '/');

    if (k->type == OPTION_HOST && (slice_eq(s, SLICE("*")) || slice_eq_nocase(s, SLICE("all")) ||
                                   slice_eq_nocase(s, SLICE("any"))))
        return "everything is `any`";
    if (k->type == OPTION_SNI && addr_range_parse(s, &range) == 0)
        return "a ClientHello names hosts, never addresses";
    if (s.n > 2 && s.p[0] == '*' && s.p[1] == '.')
        return conf_report_say(b->report, "the name and everything under it is " SLICE_FMT,
                               SLICE_ARG(slice_of(s.p + 1, min_size(s.n - 1, 200))));
    if (contains(s, "://") || (slash > 0 && slash < s.n && slice_lower(s.p[slash - 1]) >= 'a' && slice_lower(s.p[slash - 1]) <= 'z'))
        return "a host only, without scheme and path";
    if (colon < s.n && colon + 1 < s.n &&
        slice_find(slice_skip(s, colon + 1), ':') + colon + 1 == s.n)
        return "the port stands beside it: {host: example.net, port: 443}";
    if (contains(s, "/") && addr_range_parse(s, &range) == ERR_RANGE)
        return prefix_hint(b, k, s);
    return conf_build_hint(b, k);
}

static void report_host(struct conf_build *b, const struct conf_kind *k, struct slice s, size_t at,
                        int err)
{
    if (err == ERR_NOMEM)
        conf_build_nomem(b);
    else
        report_wrong(b, k, s, at, err, host_hint);
}

static bool check_host(struct conf_build *b, const struct conf_kind *k, struct slice s, size_t at)
{
    struct host_value v;
    struct arena scratch;
    int r;

    if (conf_value_is_list_file(s) && conf_value_is_file(s))
        return true;
    if (k->type == OPTION_HOST && slice_eq(s, SLICE("any")))
        return true;
    arena_init(&scratch, NULL, SCRATCH_MAX);
    r = read_host(&scratch, s, &v);
    arena_done(&scratch);
    if (r == 0 && v.is_range && k->type == OPTION_SNI)
        r = ERR_SYNTAX;
    if (r < 0)
        report_host(b, k, s, at, r);
    return r == 0;
}

static struct conf_kind host_kind(const struct conf_hosts *h)
{
    return (struct conf_kind){.key = h->key, .type = h->names_only ? OPTION_SNI : OPTION_HOST, .list = true};
}

static void add_name(struct conf_build *b, struct conf_hosts *h, struct slice name)
{
    h->n_names++;
    if (!*h->set)
        *h->set = hosts_new();
    if (!*h->set || hosts_add(*h->set, name) < 0)
        conf_build_nomem(b);
}

static void add_host(struct conf_build *b, struct conf_hosts *h, struct slice s, size_t at)
{
    struct conf_kind k = host_kind(h);
    struct host_value v;
    struct arena scratch;
    int r;

    arena_init(&scratch, NULL, SCRATCH_MAX);
    r = read_host(&scratch, s, &v);
    if (r == 0 && v.is_range && h->names_only)
        r = ERR_SYNTAX;
    if (r < 0)
        report_host(b, &k, s, at, r);
    else if (v.is_range)
        push_range(b, &h->ranges, &v.range);
    else
        add_name(b, h, v.name);
    arena_done(&scratch);
}

static void on_host_line(struct conf_build *b, void *ctx, struct slice entry, size_t at)
{
    if (!is_foreign(b, entry, at))
        add_host(b, ctx, entry, at);
}

static size_t count_hosts(const struct conf_hosts *h)
{
    return *h->set ? hosts_count(*h->set) : 0;
}

static void add_host_file(struct conf_build *b, struct conf_hosts *h, struct slice path, size_t at)
{
    size_t before = count_hosts(h), names = h->n_names, twice;

    conf_list_read(b, path, at, on_host_line, h);
    twice = h->n_names - names - (count_hosts(h) - before);
    if (twice)
        conf_report_add(b->warnings, at, NULL, "%zu %s of %s %s there already", twice,
                        twice == 1 ? "name" : "names", conf_report_quote(b->warnings, path),
                        twice == 1 ? "was" : "were");
}

/* Says so when a name that somebody wrote is in the list by another one already. */
static void lint_host(struct conf_build *b, const struct conf_hosts *h, struct slice text, size_t at)
{
    bool dot = text.n && text.p[0] == '.';
    char below[300];
    int n = snprintf(below, sizeof(below), "%s" SLICE_FMT, dot ? "~" : "", SLICE_ARG(slice_of(text.p, min_size(text.n, 255))));

    if (*h->set && hosts_has(*h->set, slice_of(below, (size_t)n)))
        conf_report_add(b->warnings, at, "remove it", "%s is in this list already", conf_report_quote(b->warnings, text));
}

void conf_match_host(struct conf_build *b, struct conf_hosts *h, struct slice text, size_t at)
{
    if (slice_eq(text, SLICE("any"))) {
        h->any = true;
    } else if (conf_value_is_list_file(text)) {
        add_host_file(b, h, text, at);
    } else {
        lint_host(b, h, text, at);
        add_host(b, h, text, at);
    }
}

/* ---- one value of any kind ---- */

static const char *value_hint(struct conf_build *b, const struct conf_kind *k, struct slice text)
{
    static const char *const switches[] = {"on", "off", "yes", "no", "true", "false"};
    struct conf_text_guess g;

    conf_text_guess_init(&g, text);
    if (k->type == OPTION_SWITCH)
        for (size_t i = 0; i < ARRAY_LEN(switches); i++)
            conf_text_guess_try(&g, switches[i]);
    for (const struct option_word *w = k->words; w && w->text; w++)
        conf_text_guess_try(&g, w->text);
    if (!g.best)
        return conf_build_hint(b, k);
    return conf_report_say(b->report, "did you mean `%s`?", g.best);
}

static void note_name(struct conf_build *b, struct slice name, size_t at)
{
    struct conf_name_use *v = b->names;

    if (b->n_names == CONF_NAMES_MAX) {
        conf_report_add(b->report, at, NULL, "more than %d names of listeners", CONF_NAMES_MAX);
        return;
    }
    if ((b->n_names & (b->n_names - 1)) == 0)
        v = mem_grow(v, (b->n_names ? b->n_names * 2 : 1) * sizeof(*v));
    if (!v) {
        conf_build_nomem(b);
        return;
    }
    b->names = v;
    b->names[b->n_names++] = (struct conf_name_use){.name = name, .at = at};
}

/* Of a path: /…/ with something in it that no prefix has; elsewhere: /…/ */
bool conf_match_is_regex(enum option_type type, struct slice s)
{
    if (s.n < 3 || s.p[0] != '/' || s.p[s.n - 1] != '/')
        return false;
    for (size_t i = 1; i + 1 < s.n && type == OPTION_PATH; i++)
        if (strchr("\\^$*+?()[]{}|", s.p[i]))
            return true;
    return type == OPTION_EXPR;
}

static bool check_regex(struct conf_build *b, const struct conf_kind *k, struct slice text, size_t at)
{
    struct regex *regex = NULL;
    char why[REGEX_WHY] = "";
    size_t fault = 0;
    int r;

    if (text.n - 2 > REGEX_PATTERN_MAX) {
        conf_report_add(b->report, at, NULL, "the expression of `%s` is longer than %d characters", k->key, REGEX_PATTERN_MAX);
        return false;
    }
    r = regex_new(slice_of(text.p + 1, text.n - 2), &regex, &fault, why);
    regex_free(regex);
    if (r == ERR_NOMEM)
        conf_build_nomem(b);
    else if (r < 0 && !conf_report_wants(b->report, at))
        conf_report_add(b->report, at, NULL, "wrong");
    else if (r < 0)
        conf_report_add(b->report, at, conf_report_say(b->report, "at character %zu: %s", fault + 2, why), "%s is no regular expression",
                        conf_report_quote(b->report, text));
    return r == 0;
}

static void report_value(struct conf_build *b, const struct conf_kind *k, struct slice text,
                         size_t at, int err)
{
    const char *quoted = k->secret ? "this" : conf_report_quote(b->report, text);

    if (!conf_report_wants(b->report, at))
        conf_report_add(b->report, at, NULL, "wrong");
    else if (err == ERR_RANGE)
        conf_report_add(b->report, at, conf_build_range_hint(b, k), "`%s` is out of range: %s",
                        k->key, quoted);
    else
        conf_build_wrong(b, k, at, quoted, value_hint(b, k, text));
}

bool conf_match_value(struct conf_build *b, const struct conf_kind *k, struct slice text, size_t at)
{
    struct addr_range range;
    int r;

    if (conf_value_word(k->words, text))
        return true;
    if (k->type == OPTION_HOST || k->type == OPTION_SNI)
        return check_host(b, k, text, at);
    if (k->type == OPTION_RANGE && (slice_eq(text, SLICE("any")) ||
                                    (conf_value_is_list_file(text) && conf_value_is_file(text))))
        return true;
    if (k->type == OPTION_RANGE || k->type == OPTION_PREFIX)
        return parse_range(b, k, text, at, &range);
    if (conf_match_is_regex(k->type, text))
        return check_regex(b, k, text, at);
    if (k->type == OPTION_HOP)
        return conf_hop_check(b, k, text, at);
    r = conf_value_check(k, text);
    if (r < 0)
        report_value(b, k, text, at, r);
    else if (k->type == OPTION_LISTENER)
        note_name(b, text, at);
    return r == 0;
}

/* ---- names of listeners ---- */

static bool has_name(const struct conf *c, struct slice name)
{
    for (unsigned i = 0; i < c->n_listen; i++)
        if (c->listen[i].name && slice_eq(name, slice_str(c->listen[i].name)))
            return true;
    return false;
}

void conf_match_check_names(struct conf_build *b)
{
    const struct conf *c = b->conf;

    for (unsigned i = 0; i < b->n_names; i++) {
        const struct conf_name_use *use = &b->names[i];
        struct conf_text_guess g;

        if (has_name(c, use->name) || !conf_report_wants(b->report, use->at))
            continue;
        conf_text_guess_init(&g, use->name);
        for (unsigned j = 0; j < c->n_listen; j++)
            if (c->listen[j].name)
                conf_text_guess_try(&g, c->listen[j].name);
        conf_report_add(b->report, use->at,
                        g.best ? conf_report_say(b->report, "did you mean `%s`?", g.best)
                               : "write `name:` beside the `address` of an item of `listen`",
                        "no listener has the name %s", conf_report_quote(b->report, use->name));
    }
}
