/* SPDX-License-Identifier: MIT */
/* question: reads the parts of a question. Targets go through the one parser of targets, so that what is asked about is what would be asked for.
 */
#include "app/question.h"

#include "app/conf_text.h"
#include "base/err.h"
#include "base/num.h"
#include "proto/url.h"

#include <stdio.h>
#include <time.h>

enum { QUESTION_ARENA = 256 << 10, QUESTION_VALUE_MAX = 16384 };

void question_init(struct question *q)
{
    *q = (struct question){.minute = MATCH_NO_MINUTE};
    arena_init(&q->arena, NULL, QUESTION_ARENA);
    hdrs_init(&q->fields);
}

void question_done(struct question *q)
{
    arena_done(&q->arena);
}

static int wrong(char why[QUESTION_WHY], const char *what, struct slice value, const char *like)
{
    char shown[128];
    size_t columns;

    conf_text_escape(shown, sizeof(shown), value, 60, &columns);
    snprintf(why, QUESTION_WHY, "\"%s\" is no %s: %s", shown, what, like);
    return ERR_SYNTAX;
}

static int keep(struct question *q, struct slice s, struct slice *ret_s)
{
    struct slice copy = arena_dup(&q->arena, s);

    if (!copy.p)
        return ERR_NOMEM;
    *ret_s = copy;
    return 0;
}

/* ---- the target ---- */

static bool begins(struct slice s, struct slice with)
{
    return s.n >= with.n && slice_eq_nocase(slice_of(s.p, with.n), with);
}

static int bad_target(enum url_fault fault, struct slice value, char why[QUESTION_WHY])
{
    if (fault == URL_NOMEM)
        return ERR_NOMEM;
    return wrong(why, "URL", value, "it takes http://host/path, https://host/ or host:port");
}

static int set_absolute(struct question *q, struct slice url, char why[QUESTION_WHY])
{
    struct head h = {.method = METHOD_GET, .method_name = SLICE("GET")};
    struct slice bare = slice_of(url.p, slice_find(url, '#')); /* what a browser keeps for itself */
    enum url_fault fault = url_target(&q->arena, bare, &h);

    if (fault != URL_OK || !h.auth.host.n)
        return bad_target(fault, url, why);
    q->auth = h.auth;
    q->connect = h.scheme == SCHEME_HTTPS;
    q->port = h.auth.port ? h.auth.port : q->connect ? 443 : 80;
    q->path = q->connect ? SLICE_NONE : h.path;
    return 0;
}

static int set_url(struct question *q, struct slice value, char why[QUESTION_WHY])
{
    struct slice url;
    enum url_fault fault;

    if (keep(q, value, &url) < 0)
        return ERR_NOMEM;
    q->asked = true;
    if (begins(url, SLICE("http://")) || begins(url, SLICE("https://")))
        return set_absolute(q, url, why);
    fault = url_authority(&q->arena, url, true, &q->auth);
    if (fault != URL_OK || !q->auth.host.n)
        return bad_target(fault, value, why);
    q->connect = true;
    q->port = q->auth.port;
    return 0;
}

int question_target(struct question *q, bool connect, struct slice host, uint16_t port, struct slice path, char why[QUESTION_WHY])
{
    bool bare = slice_find(host, ':') < host.n && host.p[0] != '[';
    struct slice text = arena_printf(&q->arena, "%s" SLICE_FMT "%s:%u", bare ? "[" : "", SLICE_ARG(host), bare ? "]" : "", (unsigned)port);
    enum url_fault fault;

    if (!text.p)
        return ERR_NOMEM;
    fault = url_authority(&q->arena, text, true, &q->auth);
    if (fault != URL_OK || !q->auth.host.n)
        return bad_target(fault, text, why);
    q->asked = true;
    q->connect = connect;
    q->port = port;
    return connect ? 0 : keep(q, path.n ? path : SLICE("/"), &q->path);
}

/* ---- the others ---- */

static int set_client(struct question *q, struct slice value, char why[QUESTION_WHY])
{
    if (slice_eq(value, SLICE("unix"))) {
        q->client = (struct addr){.sa.sa_family = AF_UNIX};
        return 0;
    }
    if (addr_parse_host(value, 0, &q->client) < 0)
        return wrong(why, "client", value, "it takes an address, or unix");
    return 0;
}

static int set_header(struct question *q, struct slice value, char why[QUESTION_WHY])
{
    size_t colon = slice_find(value, ':');
    struct slice name, v;

    if (colon == 0 || colon == value.n)
        return wrong(why, "header", value, "it takes \"name: value\"");
    if (q->fields.n == QUESTION_FIELDS_MAX) {
        snprintf(why, QUESTION_WHY, "there are more than %d headers", QUESTION_FIELDS_MAX);
        return ERR_LIMIT;
    }
    if (keep(q, slice_of(value.p, colon), &name) < 0 || keep(q, slice_trim(slice_skip(value, colon + 1)), &v) < 0)
        return ERR_NOMEM;
    return hdrs_add(&q->fields, &q->arena, hdr_id(name), name, v);
}

static uint16_t minute_of(const struct tm *tm)
{
    return (uint16_t)(((tm->tm_wday + 6) % 7 * 24 + tm->tm_hour) * 60 + tm->tm_min);
}

uint16_t question_minute(uint64_t wall_s)
{
    time_t t = (time_t)wall_s;
    struct tm tm;

    return localtime_r(&t, &tm) ? minute_of(&tm) : MATCH_NO_MINUTE;
}

static bool digits(struct slice s, size_t at, size_t n, uint64_t min, uint64_t max, int *ret_v)
{
    uint64_t v;

    if (num_dec(slice_of(s.p + at, n), max, &v) < 0 || v < min)
        return false;
    *ret_v = (int)v;
    return true;
}

/* YYYY-MM-DDTHH:MM. What is asked for is the day of the week and the time of day: the zone does not matter. */
static int set_time(struct question *q, struct slice s, char why[QUESTION_WHY])
{
    struct tm tm = {0}, day;
    time_t t;

    if (s.n != QUESTION_TIME - 1 || s.p[4] != '-' || s.p[7] != '-' || (s.p[10] != 'T' && s.p[10] != ' ') || s.p[13] != ':' ||
        !digits(s, 0, 4, 1900, 9999, &tm.tm_year) || !digits(s, 5, 2, 1, 12, &tm.tm_mon) || !digits(s, 8, 2, 1, 31, &tm.tm_mday) ||
        !digits(s, 11, 2, 0, 23, &tm.tm_hour) || !digits(s, 14, 2, 0, 59, &tm.tm_min))
        return wrong(why, "time", s, "it takes 2026-11-23T10:00");
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    day = tm;
    t = timegm(&day);
    if (t == (time_t)-1 || day.tm_mday != tm.tm_mday)
        return wrong(why, "time", s, "that month has no such day");
    q->minute = minute_of(&day);
    return 0;
}

static int set_address(struct question *q, struct slice value, char why[QUESTION_WHY])
{
    q->has_addrs = true;
    if (slice_eq(value, SLICE("none")))
        return 0;
    if (q->n_addrs == RESOLVE_MAX_ADDRS) {
        snprintf(why, QUESTION_WHY, "there are more than %d addresses", RESOLVE_MAX_ADDRS);
        return ERR_LIMIT;
    }
    if (addr_parse_host(value, 0, &q->addrs[q->n_addrs]) < 0)
        return wrong(why, "address", value, "it takes 203.0.113.5 or 2001:db8::1, or none");
    q->n_addrs++;
    return 0;
}

static int set_sni(struct question *q, struct slice value, char why[QUESTION_WHY])
{
    struct authority auth;
    struct slice name;
    enum url_fault fault;

    if (keep(q, value, &name) < 0)
        return ERR_NOMEM;
    fault = url_authority(&q->arena, name, false, &auth);
    if (fault == URL_NOMEM)
        return ERR_NOMEM;
    if (fault != URL_OK || auth.kind != HOST_NAME || auth.port)
        return wrong(why, "SNI", value, "it takes the name of a host");
    q->sni = auth.host;
    q->has_sni = true;
    return 0;
}

static struct slice *text_of(struct question *q, struct slice name)
{
    const struct {
        struct slice name;
        struct slice *text;
    } texts[] = {
        {SLICE("user"), &q->user},       {SLICE("groups"), &q->groups}, {SLICE("labels"), &q->labels},
        {SLICE("granted"), &q->granted}, {SLICE("method"), &q->method}, {SLICE("listener"), &q->listener},
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (slice_eq(name, texts[i].name))
            return texts[i].text;
    return NULL;
}

int question_set(struct question *q, struct slice name, struct slice value, char why[QUESTION_WHY])
{
    static const struct {
        struct slice name;
        int (*set)(struct question *q, struct slice value, char why[QUESTION_WHY]);
    } parts[] = {
        {{"url", 3}, set_url},   {{"client", 6}, set_client}, {{"header", 6}, set_header},
        {{"time", 4}, set_time}, {{"sni", 3}, set_sni},       {{"address", 7}, set_address},
    };
    struct slice *text = text_of(q, name);

    q->has_groups |= text == &q->groups;
    q->has_granted |= text == &q->granted;

    if (value.n > QUESTION_VALUE_MAX) {
        snprintf(why, QUESTION_WHY, "a value is longer than %d bytes", QUESTION_VALUE_MAX);
        return ERR_LIMIT;
    }
    if (text)
        return keep(q, value, text);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (slice_eq(name, parts[i].name))
            return parts[i].set(q, value, why);
    return wrong(why, "part of a question", name, "there are url, user, groups, labels, client, method, listener, header, time, sni, address");
}

/* ---- queries ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = slice_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-escapes; a plus is a plus. */
static int unescape(struct question *q, struct slice s, struct slice *ret_s)
{
    char *p = arena_alloc(&q->arena, s.n + 1);
    size_t n = 0;

    if (!p)
        return ERR_NOMEM;
    for (size_t i = 0; i < s.n; i++) {
        int hi = s.p[i] == '%' && i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1, lo = hi >= 0 ? hex_digit(s.p[i + 2]) : -1;

        if (s.p[i] == '%' && (hi < 0 || lo < 0))
            return ERR_SYNTAX;
        p[n++] = s.p[i] == '%' ? (char)(hi * 16 + lo) : s.p[i];
        i += s.p[i] == '%' ? 2 : 0;
    }
    *ret_s = slice_of(p, n);
    return 0;
}

int question_query(struct question *q, struct slice query, char why[QUESTION_WHY])
{
    while (query.n) {
        size_t n = slice_find(query, '&');
        struct slice item = slice_of(query.p, n), value;
        size_t equals = slice_find(item, '=');
        int r = 0;

        query = slice_skip(query, min_size(n + 1, query.n));
        if (!item.n)
            continue;
        r = unescape(q, slice_skip(item, min_size(equals + 1, item.n)), &value);
        if (r == ERR_SYNTAX)
            return wrong(why, "part of a query", item, "a percent sign begins two hexadecimal digits");
        if (r == 0)
            r = question_set(q, slice_of(item.p, equals), value, why);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- the whole ---- */

int question_check(const struct question *q, char why[QUESTION_WHY])
{
    if (!q->asked) {
        snprintf(why, QUESTION_WHY, "there is no URL");
        return ERR_SYNTAX;
    }
    if (q->connect && q->method.n && !slice_eq(q->method, SLICE("CONNECT"))) {
        snprintf(why, QUESTION_WHY, "this is a CONNECT, and the methods of the requests inside are not seen: a method goes with http://");
        return ERR_SYNTAX;
    }
    if (!q->connect && slice_eq(q->method, SLICE("CONNECT"))) {
        snprintf(why, QUESTION_WHY, "a CONNECT has no path: host:port is one");
        return ERR_SYNTAX;
    }
    return 0;
}

struct match_facts question_facts(const struct question *q)
{
    struct match_facts f = {
        .path = slice_of(q->path.p, min_size(slice_find(q->path, '?'), q->path.n)),
        .method = q->connect ? SLICE("CONNECT") : q->method.n ? q->method : SLICE("GET"),
        .listener = q->listener,
        .user = q->user,
        .groups = q->groups,
        .labels = q->labels,
        .granted = q->granted,
        .fields = &q->fields,
        .from = &q->client,
        .port = q->port,
        .minute = q->minute,
        .scheme = q->connect ? MATCH_CONNECT : MATCH_HTTP,
        .opaque = q->connect,
    };

    match_facts_host(&f, q->auth.host);
    return f;
}
