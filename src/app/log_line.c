/* SPDX-License-Identifier: MIT */
/* log_line: a reader for one flat JSON object a line. Called by the commands that learn from logs. It trusts nothing: a line that is cut, too long or of another
 * program is bad, and the next one begins behind its end.
 */
#include "app/log_line.h"

#include "app/conf_text.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"

#include <inttypes.h>

/* ---- JSON ---- */

/* What is left of a line; strings are decoded where they lie. */
struct scan {
    char *p, *end;
};

static void skip_blanks(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r' || *s->p == '\n'))
        s->p++;
}

static bool take(struct scan *s, char c)
{
    skip_blanks(s);
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static size_t put_utf8(char *to, uint32_t c)
{
    /* The log writes a byte that is no UTF-8 as the character of its number. */
    if (c < 0x100) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xc0 | c >> 6);
        to[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    to[0] = (char)(0xe0 | c >> 12);
    to[1] = (char)(0x80 | (c >> 6 & 0x3f));
    to[2] = (char)(0x80 | (c & 0x3f));
    return 3;
}

/* Behind the backslash. 0: it is none. Never longer than what it is decoded from. */
static size_t take_escape(struct scan *s, char *to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    const char *at;
    uint64_t c;

    if (s->p == s->end || *s->p == '\0')
        return 0;
    at = strchr(from, *s->p);
    if (at) {
        s->p++;
        *to = into[at - from];
        return 1;
    }
    if (*s->p != 'u' || s->end - s->p < 5 || num_hex(slice_of(s->p + 1, 4), 0xffff, &c) < 0)
        return 0;
    s->p += 5;
    return put_utf8(to, (uint32_t)c);
}

/* Behind the opening quote. */
static bool take_string(struct scan *s, struct slice *ret_s)
{
    char *begin = s->p, *to = s->p;

    while (s->p < s->end) {
        char c = *s->p++;

        if (c == '"') {
            *ret_s = slice_of(begin, (size_t)(to - begin));
            return true;
        }
        if (c == '\\') {
            size_t n = take_escape(s, to);

            if (!n)
                return false;
            to += n;
        } else {
            *to++ = c;
        }
    }
    return false;
}

/* A string, a number or a word. Nothing of ours is nested. */
static bool take_value(struct scan *s, struct slice *ret_s, bool *ret_string)
{
    char *begin;

    skip_blanks(s);
    *ret_string = s->p < s->end && *s->p == '"';
    if (*ret_string) {
        s->p++;
        return take_string(s, ret_s);
    }
    begin = s->p;
    while (s->p < s->end && *s->p != ',' && *s->p != '}' && *s->p != ' ' && *s->p != '{' && *s->p != '[' && *s->p != '"')
        s->p++;
    *ret_s = slice_of(begin, (size_t)(s->p - begin));
    return ret_s->n > 0;
}

/* ---- records ---- */

/* What has been read, before it is known to make sense. */
struct raw {
    struct log_line l;
    struct slice port, status, event, end;
};

static struct slice *place_of(struct raw *r, struct slice key)
{
    const struct {
        struct slice key;
        struct slice *to;
    } keys[] = {
        {SLICE("time"), &r->l.time},
        {SLICE("ginnel.listener"), &r->l.listener},
        {SLICE("client.address"), &r->l.client},
        {SLICE("http.request.method"), &r->l.method},
        {SLICE("url.scheme"), &r->l.scheme},
        {SLICE("server.address"), &r->l.host},
        {SLICE("server.port"), &r->port},
        {SLICE("url.path"), &r->l.path},
        {SLICE("http.response.status_code"), &r->status},
        {SLICE("user.name"), &r->l.user},
        {SLICE("ginnel.groups"), &r->l.groups},
        {SLICE("ginnel.labels"), &r->l.labels},
        {SLICE("tls.client.server_name"), &r->l.sni},
        {SLICE("network.peer.address"), &r->l.peer},
        {SLICE("ginnel.rule"), &r->l.rule},
        {SLICE("ginnel.would"), &r->l.would},
        {SLICE("ginnel.event"), &r->event},
        {SLICE("ginnel.end"), &r->end},
    };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (slice_eq(keys[i].key, key))
            return keys[i].to;
    return NULL;
}

static bool take_member(struct scan *s, struct raw *r)
{
    struct slice key, value, *to;
    bool string;

    if (!take(s, '"') || !take_string(s, &key) || !take(s, ':') || !take_value(s, &value, &string))
        return false;
    if (slice_eq(key, SLICE("ginnel.would_deny")))
        r->l.would_deny = slice_eq(value, SLICE("true"));
    else if (slice_eq(key, SLICE("ginnel.tunnel")))
        r->l.tunnel = slice_eq(value, SLICE("true"));
    to = place_of(r, key);
    if (to)
        *to = value;
    return true;
}

static bool take_object(struct scan *s, struct raw *r)
{
    if (!take(s, '{'))
        return false;
    do {
        if (!take_member(s, r))
            return false;
    } while (take(s, ','));
    return take(s, '}');
}

static bool small_number(struct slice s, uint64_t max, uint16_t *ret_v)
{
    uint64_t v = 0;

    if (s.n && num_dec(s, max, &v) < 0)
        return false;
    *ret_v = (uint16_t)v;
    return true;
}

static void find_end(struct log_line *l, struct slice token)
{
    for (int i = 0; i < END_COUNT; i++)
        if (slice_eq(token, slice_str(end_info((enum end_reason)i)->token))) {
            l->end = (enum end_reason)i;
            l->known_end = true;
        }
}

enum log_line_kind log_line_read(char *p, size_t n, struct log_line *ret_line)
{
    struct scan s = {p, p + n};
    struct raw r = {0};

    skip_blanks(&s);
    /* The diagnostics may be in the same file. */
    if (s.p == s.end || ((size_t)(s.end - s.p) > 8 && memcmp(s.p, "ginnel: ", 8) == 0))
        return LOG_LINE_OTHER;
    if (!take_object(&s, &r))
        return LOG_LINE_BAD;
    skip_blanks(&s);
    if (s.p != s.end || !r.l.time.n || !small_number(r.port, UINT16_MAX, &r.l.port) || !small_number(r.status, 999, &r.l.status))
        return LOG_LINE_BAD;
    if (r.event.n || !r.l.host.n || !r.l.port)
        return LOG_LINE_OTHER;
    if (!r.end.n)
        return LOG_LINE_BAD;
    find_end(&r.l, r.end);
    *ret_line = r.l;
    return LOG_LINE_RECORD;
}

/* ---- files ---- */

int log_reader_open(struct log_reader *r, const char *name)
{
    bool from_stdin = !name || strcmp(name, "-") == 0;

    *r = (struct log_reader){.name = from_stdin ? "stdin" : name, .line = mem_alloc(LOG_LINE_MAX_BYTES)};
    if (!r->line)
        return ERR_NOMEM;
    r->from = from_stdin ? stdin : fopen(name, "re");
    if (!r->from) {
        mem_free(r->line);
        return -errno;
    }
    return 0;
}

/* A line without its end; -1: there is none. *ret_whole: it was not too long. */
static int read_line(struct log_reader *r, size_t *ret_n, bool *ret_whole)
{
    size_t n = 0;
    int c;

    *ret_whole = true;
    while ((c = getc_unlocked(r->from)) != EOF && c != '\n') {
        if (n < LOG_LINE_MAX_BYTES)
            r->line[n++] = (char)c;
        else
            *ret_whole = false;
    }
    *ret_n = n;
    if (c == EOF && ferror(r->from))
        r->failed = true;
    return c == EOF && n == 0 ? -1 : 0;
}

static void note_bad(struct log_reader *r)
{
    if (r->bad < LOG_LINE_SHOWN)
        r->first_bad[r->bad] = r->lines;
    r->bad++;
}

bool log_reader_next(struct log_reader *r, struct log_line *ret_line)
{
    size_t n;
    bool whole;

    while (!r->failed && read_line(r, &n, &whole) == 0) {
        enum log_line_kind kind;

        r->lines++;
        kind = whole ? log_line_read(r->line, n, ret_line) : LOG_LINE_BAD;
        if (kind == LOG_LINE_BAD)
            note_bad(r);
        if (kind != LOG_LINE_RECORD)
            continue;
        r->records++;
        return true;
    }
    return false;
}

void log_reader_close(struct log_reader *r)
{
    if (r->from && r->from != stdin)
        fclose(r->from);
    mem_free(r->line);
    r->line = NULL;
}

void log_reader_report(const struct log_reader *r)
{
    char name[128];
    size_t columns;

    conf_text_escape(name, sizeof(name), slice_str(r->name), 100, &columns);
    if (r->failed)
        fprintf(stderr, "ginnel: %s: cannot be read to its end\n", name);
    if (!r->bad)
        return;
    fprintf(stderr, "ginnel: %s: %" PRIu64 " of %" PRIu64 " lines are no lines of an access log in format json: ", name, r->bad, r->lines);
    for (unsigned i = 0; i < LOG_LINE_SHOWN && i < r->bad; i++)
        fprintf(stderr, "%s%" PRIu64, i ? ", " : "line ", r->first_bad[i]);
    fprintf(stderr, "%s\n", r->bad > LOG_LINE_SHOWN ? ", ..." : "");
}
