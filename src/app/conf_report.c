/* SPDX-License-Identifier: MIT */
/* conf_report: errors with their line, a caret and a hint. Called by everything that reads a
 * configuration, on main's thread. It keeps a bounded number, sorted as they come, so that a
 * hostile file costs neither memory nor patience. It must never print.
 */
#include "app/conf_report.h"

#include "app/conf_mask.h"
#include "app/conf_text.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

/* How much of a long line is shown, and how much of that lies before the caret. */
enum { SHOWN_CHARS = 120, SHOWN_BEFORE = 80, SHOWN_BYTES = SHOWN_CHARS * 8, NAME_CHARS = 400 };

struct place {
    unsigned line, column; /* from 1 */
    struct slice text;     /* the line without its end */
    size_t offset;         /* of the place within it, in bytes */
    char *masked;          /* the text's memory where something is hidden in it */
};

static inline bool ends_line(struct slice text, size_t i)
{
    return text.p[i] == '\n' || (text.p[i] == '\r' && (i + 1 == text.n || text.p[i + 1] != '\n'));
}

/* Bytes of the character there; a byte that is no UTF-8 counts as one. */
static inline size_t char_at(struct slice s, size_t i)
{
    uint32_t c;
    size_t n = conf_text_char(slice_skip(s, i), &c);

    return n ? n : 1;
}

/* The number and the beginning of the line of that offset in the source. */
static void find_line(struct conf_report *r, const struct conf_source *source, size_t at,
                      unsigned *ret_line, size_t *ret_start)
{
    bool known = r->cursor.line && r->cursor.base == source->base && r->cursor.at <= at;
    unsigned line = known ? r->cursor.line : 1;
    size_t start = known ? r->cursor.start : 0;

    for (size_t i = known ? r->cursor.at : 0; i < at; i++)
        if (ends_line(source->text, i)) {
            line++;
            start = i + 1;
        }
    if (!known || r->cursor.start != start) {
        r->cursor.column_at = start;
        r->cursor.column = 1;
    }
    r->cursor.base = source->base;
    r->cursor.at = at;
    r->cursor.line = line;
    r->cursor.start = start;
    *ret_line = line;
    *ret_start = start;
}

/* The column of an offset in the line that was found last; a mark at the front of the file has none. */
static unsigned find_column(struct conf_report *r, struct slice text, size_t from, size_t at)
{
    if (r->cursor.column_at > at || r->cursor.column_at < from) {
        r->cursor.column_at = from;
        r->cursor.column = 1;
    }
    while (r->cursor.column_at < at) {
        r->cursor.column_at += char_at(text, r->cursor.column_at);
        r->cursor.column++;
    }
    return r->cursor.column;
}

/* Where the line ends, or what is shown of it does. */
static size_t find_end(struct slice text, size_t start, size_t at)
{
    size_t last = min_size(text.n, at + SHOWN_BYTES), end = at > start ? at - 1 : at;

    while (end < last && text.p[end] != '\n' && text.p[end] != '\r')
        end++;
    return end;
}

static struct place find_place(struct conf_report *r, const struct conf_source *source, size_t at)
{
    struct place p = {.line = 1, .column = 1};
    struct slice text = source->text;
    size_t start, end;

    at = min_size(at - source->base, text.n);
    find_line(r, source, at, &p.line, &start);
    if (start == 0 && text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
        start = at < 3 ? at : 3;
    end = find_end(text, start, at);
    p.text = slice_of(text.p + start, end - start);
    p.offset = min_size(at, end) - start;
    p.column = find_column(r, slice_of(text.p, end), start, start + p.offset);
    return p;
}

/* The line with a star for each hidden character: the columns stay. mask has a byte for each of the text's, and is written over. */
static void hide(struct place *p, char *mask)
{
    size_t n = 0, offset = 0;

    for (size_t i = 0; i < p->text.n;) {
        size_t bytes = min_size(char_at(p->text, i), p->text.n - i);
        bool hidden = mask[i];

        if (i == p->offset)
            offset = n;
        if (hidden)
            mask[n] = '*';
        else
            memcpy(mask + n, p->text.p + i, bytes);
        n += hidden ? 1 : bytes;
        i += bytes;
    }
    p->offset = p->offset < p->text.n ? offset : n;
    p->text = slice_of(mask, n);
    p->masked = mask;
}

/* What is secret in the line is not shown. False: memory was refused. */
static bool mask_place(const struct conf_source *source, struct place *p)
{
    size_t start = (size_t)(p->text.p - source->text.p);
    char *mask;

    if (!p->text.n)
        return true;
    mask = mem_alloc(p->text.n);
    if (!mask)
        return false;
    if (conf_mask_line(source->text, start, start + p->text.n, mask))
        hide(p, mask);
    else
        mem_free(mask);
    return true;
}

unsigned conf_report_line(struct conf_report *r, size_t at)
{
    const struct conf_source *source = conf_sources_find(r->sources, at);
    unsigned line;
    size_t start;

    find_line(r, source, min_size(at - source->base, source->text.n), &line, &start);
    return line;
}

const char *conf_report_where(struct conf_report *r, size_t at, size_t other_at)
{
    const struct conf_source *s = conf_sources_find(r->sources, at);
    size_t columns;
    char name[CONF_REPORT_PAD / 2];

    if (s == conf_sources_find(r->sources, other_at))
        return conf_report_say(r, "line %u", conf_report_line(r, at));
    conf_text_escape(name, sizeof(name), slice_str(s->name), NAME_CHARS, &columns);
    return conf_report_say(r, "%s:%u", name, conf_report_line(r, at));
}

void conf_report_init(struct conf_report *r, const struct conf_sources *sources)
{
    *r = (struct conf_report){.sources = sources, .prefix = ""};
}

void conf_report_done(struct conf_report *r)
{
    for (unsigned i = 0; i < r->n; i++)
        mem_free(r->v[i].error.text);
    r->n = 0;
}

static char *next_pad(struct conf_report *r)
{
    return r->pads[r->pad++ % CONF_REPORT_PADS];
}

const char *conf_report_quote(struct conf_report *r, struct slice s)
{
    char *pad = next_pad(r), mask[CONF_QUOTE_CHARS * 4], plain[CONF_QUOTE_CHARS * 4];
    size_t columns, room = CONF_REPORT_PAD - 8; /* quotes, an ellipsis of three bytes, NUL */
    size_t read, n, all = s.n;

    memset(mask, 0, sizeof(mask));
    s.n = min_size(s.n, sizeof(mask));
    if (s.n && conf_mask_url(s, mask)) {
        for (size_t i = 0; i < s.n; i++)
            plain[i] = mask[i] ? '*' : s.p[i];
        s.p = plain;
    }
    read = conf_text_escape(pad + 1, room, s, CONF_QUOTE_CHARS, &columns);
    n = 1 + strlen(pad + 1);

    pad[0] = '"';
    snprintf(pad + n, CONF_REPORT_PAD - n, "%s\"", read < all ? "…" : "");
    return pad;
}

const char *conf_report_say(struct conf_report *r, const char *fmt, ...)
{
    char *pad = next_pad(r);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(pad, CONF_REPORT_PAD, fmt, ap);
    va_end(ap);
    return pad;
}

bool conf_report_wants(const struct conf_report *r, size_t at)
{
    return r->n < CONF_ERRORS_MAX || at < r->v[r->n - 1].at;
}

static char *print_new(const char *fmt, ...) PRINTF(1, 2);
static char *print_new(const char *fmt, ...)
{
    va_list ap;
    char *p;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    p = n < 0 ? NULL : mem_alloc((size_t)n + 1);
    if (!p)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

static bool is_long(struct slice line)
{
    unsigned chars = 0;

    for (size_t i = 0; i < line.n && chars <= SHOWN_CHARS; i += char_at(line, i))
        chars++;
    return chars > SHOWN_CHARS;
}

/* The line as shown, and in which column of that the place lies (from 0). */
static size_t show_line(const struct place *p, char out[SHOWN_BYTES])
{
    size_t skip = 0, before, ignored, m;
    struct slice rest;

    if (p->column > SHOWN_BEFORE && is_long(p->text))
        for (unsigned i = SHOWN_BEFORE; i < p->column; i++)
            skip += char_at(p->text, skip);
    m = skip ? (size_t)snprintf(out, SHOWN_BYTES, "…") : 0;
    rest = slice_skip(p->text, skip);
    conf_text_escape(out + m, SHOWN_BYTES - m, slice_of(rest.p, p->offset - skip), SHOWN_CHARS,
                     &before);
    if (conf_text_escape(out + m, SHOWN_BYTES - m - 4, rest, SHOWN_CHARS, &ignored) < rest.n) {
        m += strlen(out + m);
        snprintf(out + m, SHOWN_BYTES - m, "…");
    }
    return before + (skip ? 1 : 0);
}

static char *print_placed(struct conf_report *r, const struct place *p, const char *name,
                          const char *message, const char *hint)
{
    char shown[SHOWN_BYTES];
    size_t caret = show_line(p, shown);
    int gutter = snprintf(NULL, 0, "%5u", p->line);
    char *s = print_new("%s:%u:%u: %s\n%5u | %s\n%*s | %*s^%s%s", name, p->line, p->column, message,
                        p->line, shown, gutter, "", (int)caret, "", hint ? "\n   hint: " : "",
                        hint ? hint : "");

    if (!s)
        r->nomem = true;
    return s;
}

/* Where it is, and nothing of what is there. */
static char *print_hidden(struct conf_report *r, const struct place *p, const char *name,
                          const char *message, const char *hint)
{
    char *s = print_new("%s:%u:%u: %s%s%s", name, p->line, p->column, message,
                        hint ? "\n   hint: " : "", hint ? hint : "");

    if (!s)
        r->nomem = true;
    return s;
}

static char *print_unplaced(struct conf_report *r, const char *name, const char *message,
                            const char *hint)
{
    char *s = print_new("%s: %s%s%s", name, message, hint ? "\n   hint: " : "", hint ? hint : "");

    if (!s)
        r->nomem = true;
    return s;
}

static void insert(struct conf_report *r, size_t at, const struct conf_error *e)
{
    unsigned i = r->n;

    if (r->n == CONF_ERRORS_MAX) {
        mem_free(r->v[--r->n].error.text);
        r->dropped++;
        i--;
    }
    while (i > 0 && r->v[i - 1].at > at) {
        r->v[i] = r->v[i - 1];
        i--;
    }
    r->v[i] = (struct conf_report_item){.at = at, .error = *e};
    r->n++;
}

void conf_report_add(struct conf_report *r, size_t at, const char *hint, const char *fmt, ...)
{
    char message[CONF_REPORT_PAD * 3], shown[NAME_CHARS * 8];
    const struct conf_source *source = NULL;
    struct conf_error e = {0};
    const char *name;
    struct place p;
    size_t columns;
    va_list ap;
    int n;

    if (!conf_report_wants(r, at)) {
        r->dropped++;
        return;
    }
    va_start(ap, fmt);
    n = snprintf(message, sizeof(message), "%s", r->prefix);
    vsnprintf(message + n, sizeof(message) - (size_t)n, fmt, ap);
    va_end(ap);
    if (at == CONF_AT_ARGS)
        name = "ginnel";
    else if (at == CONF_AT_FILE)
        name = r->sources->v[0].name;
    else {
        source = conf_sources_find(r->sources, at);
        name = source->name;
    }
    conf_text_escape(shown, sizeof(shown), slice_str(name[0] ? name : "\"\""), NAME_CHARS,
                     &columns);
    if (!source) {
        e.text = print_unplaced(r, shown, message, hint);
    } else {
        p = find_place(r, source, at);
        e.line = p.line;
        e.column = p.column;
        if (source->hidden)
            e.text = print_hidden(r, &p, shown, message, hint);
        else if (mask_place(source, &p))
            e.text = print_placed(r, &p, shown, message, hint);
        else
            r->nomem = true;
        mem_free(p.masked);
    }
    if (e.text)
        insert(r, at, &e);
}

int conf_report_take(struct conf_report *r, struct conf_errors *ret_errors)
{
    struct conf_error *v = r->nomem ? NULL : mem_array(r->n, sizeof(*v));

    if (!v)
        return ERR_NOMEM;
    if (r->dropped) {
        struct conf_error *last = &r->v[r->n - 1].error;
        char *longer = print_new("%s\n   and %zu more", last->text, r->dropped);

        if (!longer) {
            mem_free(v);
            return ERR_NOMEM;
        }
        mem_free(last->text);
        last->text = longer;
    }
    for (unsigned i = 0; i < r->n; i++)
        v[i] = r->v[i].error;
    *ret_errors = (struct conf_errors){.v = v, .n = r->n};
    r->n = 0;
    return 0;
}
