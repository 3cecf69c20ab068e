/* SPDX-License-Identifier: MIT */
/* conf_value: durations, sizes, switches, words and tokens. Called by the reader for what was
 * written and, with the same functions, for the defaults of the table. It never guesses: a number
 * without the unit it needs is refused.
 */
#include "app/conf_value.h"

#include "base/check.h"
#include "base/err.h"
#include "base/num.h"
#include "io/addr.h"
#include "policy/match_time.h"

#include <inttypes.h>
#include <stdio.h>

enum { PORT_MAX = 65535 };

struct conf_kind conf_kind_of(const struct option_def *o)
{
    const char *dot = strrchr(o->path, '.');

    return (struct conf_kind){.key = dot ? dot + 1 : o->path,
                              .type = o->type,
                              .list = o->list,
                              .min = o->min,
                              .max = o->max,
                              .words = o->words,
                              .what = o->shape ? o->shape->what : NULL,
                              .like = o->shape ? o->shape->like : NULL};
}

struct conf_kind conf_kind_of_shape(const char *key, const struct conf_shape *s)
{
    return (struct conf_kind){.key = key,
                              .type = s->type,
                              .list = s->list,
                              .min = s->min,
                              .max = s->max,
                              .words = s->words,
                              .what = s->what,
                              .like = s->like,
                              .secret = s->secret};
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: conf_value_text takes the first that divides. */
static const struct unit duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                             {"s", 1000},     {"ms", 1},      {NULL, 0}};
static const struct unit size_units[] = {
    {"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}, {"B", 1}, {NULL, 0}};

static const struct unit *find_unit(const struct unit *u, struct slice name)
{
    for (; u->name; u++)
        if (slice_eq(name, slice_str(u->name)))
            return u;
    return NULL;
}

static size_t count_digits(struct slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

static int parse_amount(const struct unit *units, struct slice s, uint64_t *ret_v)
{
    size_t digits = count_digits(s);
    const struct unit *u = find_unit(units, slice_skip(s, digits));
    uint64_t v;
    int r;

    if (!u)
        return ERR_SYNTAX;
    r = num_dec(slice_of(s.p, digits), UINT64_MAX / u->factor, &v);
    if (r < 0)
        return r;
    *ret_v = v * u->factor;
    return 0;
}

int conf_value_duration(struct slice s, uint64_t *ret_ms)
{
    return parse_amount(duration_units, s, ret_ms);
}

int conf_value_size(struct slice s, uint64_t *ret_bytes)
{
    if (s.n && count_digits(s) == s.n)
        return num_dec(s, UINT64_MAX, ret_bytes);
    return parse_amount(size_units, s, ret_bytes);
}

int conf_value_switch(struct slice s, bool *ret_on)
{
    static const struct {
        struct slice text;
        bool on;
    } words[] = {{{"on", 2}, true},  {{"off", 3}, false}, {{"yes", 3}, true},
                 {{"no", 2}, false}, {{"true", 4}, true}, {{"false", 5}, false}};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (slice_eq(s, words[i].text)) {
            *ret_on = words[i].on;
            return 0;
        }
    return ERR_SYNTAX;
}

bool conf_value_is_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = slice_lower(s.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
            (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.n > 0;
}

const struct option_word *conf_value_word(const struct option_word *words, struct slice s)
{
    for (; words && words->text; words++)
        if (slice_eq(s, slice_str(words->text)))
            return words;
    return NULL;
}

int conf_value_ports(struct slice s, uint16_t *ret_first, uint16_t *ret_last)
{
    size_t dash = slice_find(s, '-');
    uint64_t first, last;
    int r = num_dec(slice_of(s.p, dash), PORT_MAX, &first);

    last = r == 0 ? first : 0;
    if (r == 0 && dash < s.n)
        r = num_dec(slice_skip(s, dash + 1), PORT_MAX, &last);
    if (r < 0)
        return r;
    if (first == 0 || last < first)
        return ERR_RANGE;
    *ret_first = (uint16_t)first;
    *ret_last = (uint16_t)last;
    return 0;
}

int conf_value_every(struct slice s, uint64_t *ret_ms)
{
    static const struct slice every = {"every ", 6};

    if (s.n < every.n || memcmp(s.p, every.p, every.n) != 0)
        return ERR_SYNTAX;
    return conf_value_duration(slice_trim(slice_skip(s, every.n)), ret_ms);
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

bool conf_value_is_file(struct slice s)
{
    return s.n > 0 && s.p[s.n - 1] != '/' && !has_control(s);
}

bool conf_value_is_socket(struct slice s)
{
    return conf_value_is_file(s) && s.p[0] == '/' && s.n <= CONF_SOCKET_MAX;
}

bool conf_value_is_list_file(struct slice s)
{
    return s.n && (s.p[0] == '/' || (s.n > 1 && s.p[0] == '.' && s.p[1] == '/') ||
                   (s.n > 2 && s.p[0] == '.' && s.p[1] == '.' && s.p[2] == '/'));
}

/* ---- what may be written ---- */

static int in_range(const struct conf_kind *k, uint64_t v)
{
    return k->max && (v < k->min || v > k->max) ? ERR_RANGE : 0;
}

static int check_number(const struct conf_kind *k, struct slice s)
{
    uint64_t v;
    int r;

    if (k->type == OPTION_DURATION)
        r = conf_value_duration(s, &v);
    else if (k->type == OPTION_SIZE)
        r = conf_value_size(s, &v);
    else if (k->type == OPTION_TUNNELS)
        r = conf_value_every(s, &v);
    else
        r = num_dec(s, UINT64_MAX, &v);
    return r < 0 ? r : in_range(k, v);
}

/* Cut at the last slash: 20MB/s, 500GB/month. */
static bool split(struct slice s, struct slice *ret_amount, struct slice *ret_time)
{
    size_t slash = slice_find(s, '/');

    if (slash == s.n)
        return false;
    *ret_amount = slice_of(s.p, slash);
    *ret_time = slice_skip(s, slash + 1);
    return true;
}

/* min is 1 where bytes are meant: 20MB/s; else digits: 50/s. */
static int parse_rate(bool bytes, struct slice s, uint64_t *ret_v)
{
    struct slice amount, time;
    uint64_t v;
    int r;

    if (!split(s, &amount, &time) || !slice_eq(time, SLICE("s")))
        return ERR_SYNTAX;
    r = bytes ? conf_value_size(amount, &v) : num_dec(amount, UINT32_MAX, &v);
    if (r < 0)
        return r;
    if (v == 0)
        return ERR_RANGE;
    *ret_v = v;
    return 0;
}

static int check_rate(const struct conf_kind *k, struct slice s)
{
    uint64_t v;

    return parse_rate(k->min > 0, s, &v);
}

static int check_quota(struct slice s)
{
    static const struct option_word spans[] = {
        {"hour", 0}, {"day", 0}, {"week", 0}, {"month", 0}, {NULL}};
    struct slice amount, time;
    uint64_t v;
    int r;

    if (!split(s, &amount, &time) || !conf_value_word(spans, time))
        return ERR_SYNTAX;
    r = conf_value_size(amount, &v);
    if (r < 0)
        return r;
    return v ? 0 : ERR_RANGE;
}

static int check_token(const struct conf_kind *k, struct slice s)
{
    return conf_value_is_token(s) ? in_range(k, s.n) : ERR_SYNTAX;
}

static int check_method(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'a' && s.p[i] <= 'z')
            return ERR_SYNTAX;
    return conf_value_is_token(s) && s.n < ACCESS_METHOD_MAX ? 0 : ERR_SYNTAX;
}

/* A name with an optional port, or a literal: what stands behind a scheme. Names are judged by
 * their bytes only. */
static int check_authority(struct slice s)
{
    struct addr a;
    size_t colon;
    uint64_t port;

    if (addr_parse(s, &a) == 0)
        return addr_port(&a) ? 0 : ERR_RANGE;
    if (addr_parse_host(s, 0, &a) == 0)
        return 0;
    colon = slice_find(s, ':');
    if (colon == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < colon; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("/?#@[]<>\"\\^`{|}%", s.p[i]))
            return ERR_SYNTAX;
    if (colon == s.n)
        return 0;
    if (num_dec(slice_skip(s, colon + 1), PORT_MAX, &port) < 0)
        return ERR_SYNTAX;
    return port ? 0 : ERR_RANGE;
}

static int check_url(struct slice s)
{
    static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};

    if (has_control(s) || slice_find(s, ' ') < s.n)
        return ERR_SYNTAX;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        struct slice rest;

        if (s.n < schemes[i].n || memcmp(s.p, schemes[i].p, schemes[i].n) != 0)
            continue;
        rest = slice_skip(s, schemes[i].n);
        return check_authority(slice_of(rest.p, slice_find(rest, '/')));
    }
    return ERR_SYNTAX;
}

static int check_control(struct slice s)
{
    static const struct slice prefix = {"unix:", 5};

    if (s.n < prefix.n || memcmp(s.p, prefix.p, prefix.n) != 0)
        return ERR_SYNTAX;
    return s.n == prefix.n || conf_value_is_socket(slice_skip(s, prefix.n)) ? 0 : ERR_SYNTAX;
}

/* A real port: one to connect to. */
static int check_far(struct slice s)
{
    struct addr a;
    int r = addr_parse(s, &a);

    if (r < 0)
        return r;
    return addr_port(&a) ? 0 : ERR_RANGE;
}

static int check_sink(struct slice s)
{
    static const struct slice syslog = {"syslog:", 7};
    struct slice rest;

    if (s.n <= syslog.n || memcmp(s.p, syslog.p, syslog.n) != 0)
        return conf_value_is_file(s) && s.p[0] == '/' ? 0 : ERR_SYNTAX;
    rest = slice_skip(s, syslog.n);
    if (rest.p[0] == '/')
        return conf_value_is_socket(rest) ? 0 : ERR_SYNTAX;
    return check_far(rest);
}

static int check_pattern(struct slice s)
{
    const char *slash = s.n ? memrchr(s.p, '/', s.n) : NULL;
    size_t folder = slash ? (size_t)(slash - s.p) : 0;

    if (!conf_value_is_file(s))
        return ERR_SYNTAX;
    for (size_t i = 0; i < folder; i++)
        if (strchr("*?[", s.p[i]))
            return ERR_RANGE;
    return 0;
}

/* What no path has as it stands (RFC 3986 3.3) is refused: an expression without its slashes would never match, and say nothing about it. */
static int check_path(struct slice s)
{
    if (s.n == 0 || s.p[0] != '/' || has_control(s))
        return ERR_SYNTAX;
    for (size_t i = 0; i < s.n; i++)
        if (strchr(" #?\\^", s.p[i]))
            return ERR_SYNTAX;
    return 0;
}

/* Names are kept in lists with commas between. */
static int check_group(const struct conf_kind *k, struct slice s)
{
    if (s.n == 0 || has_control(s) || slice_find(s, ',') < s.n || slice_trim(s).n != s.n)
        return ERR_SYNTAX;
    return in_range(k, s.n);
}

/* What names a place: a file, an address, a part of a URL. */
static int check_place(enum option_type type, struct slice s)
{
    uint16_t first, last;
    struct addr a;

    switch ((unsigned)type) {
    case OPTION_FILE:
        return conf_value_is_file(s) ? 0 : ERR_SYNTAX;
    case OPTION_PATTERN:
        return check_pattern(s);
    case OPTION_URL:
        return check_url(s);
    case OPTION_LISTENING:
    case OPTION_ADDRESS:
        return addr_parse(s, &a);
    case OPTION_SERVER:
        return addr_parse_host(s, 0, &a) == 0 ? 0 : check_far(s);
    case OPTION_CONTROL:
        return check_control(s);
    case OPTION_SINK:
        return check_sink(s);
    case OPTION_PORT:
        return conf_value_ports(s, &first, &last);
    case OPTION_PATH:
        return check_path(s);
    default:
        return ERR_SYNTAX;
    }
}

int conf_value_check(const struct conf_kind *k, struct slice s)
{
    struct matcher_time time;
    bool on;

    if (conf_value_word(k->words, s))
        return 0;
    switch (k->type) {
    case OPTION_SWITCH:
        return conf_value_switch(s, &on);
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_TUNNELS:
        return check_number(k, s);
    case OPTION_TOKEN:
    case OPTION_NAME:
        return check_token(k, s);
    case OPTION_LISTENER:
        return conf_value_is_token(s) ? 0 : ERR_SYNTAX;
    case OPTION_TEXT:
    case OPTION_EXPR: /* an expression is conf_match's */
        return in_range(k, s.n);
    case OPTION_RATE:
        return check_rate(k, s);
    case OPTION_QUOTA:
        return check_quota(s);
    case OPTION_METHOD:
        return check_method(s);
    case OPTION_GROUP:
        return check_group(k, s);
    case OPTION_TIME:
        return match_time_parse(s, &time);
    case OPTION_FILE:
    case OPTION_PATTERN:
    case OPTION_URL:
    case OPTION_LISTENING:
    case OPTION_ADDRESS:
    case OPTION_SERVER:
    case OPTION_CONTROL:
    case OPTION_SINK:
    case OPTION_PORT:
    case OPTION_PATH:
        return check_place(k->type, s);
    case OPTION_WORD: /* it is none of the words */
    case OPTION_SNI:
    case OPTION_RANGE:
    case OPTION_PREFIX:
    case OPTION_HOST:
    case OPTION_HOP:
    case OPTION_SECTION:
    case OPTION_LISTEN:
    case OPTION_ENTRY:
    case OPTION_MAP:
    case OPTION_DICT:
        break;
    }
    return ERR_SYNTAX;
}

/* ---- setting ---- */

static int set_number(const struct option_def *o, struct slice s, void *place)
{
    const struct option_word *w = conf_value_word(o->words, s);
    uint64_t v = 0;
    int r;

    if (w)
        v = (uint64_t)w->value;
    else if (o->type == OPTION_DURATION)
        r = conf_value_duration(s, &v);
    else if (o->type == OPTION_SIZE)
        r = conf_value_size(s, &v);
    else if (o->type == OPTION_RATE)
        r = parse_rate(o->min > 0, s, &v);
    else
        r = num_dec(s, UINT32_MAX, &v);
    if (!w && r < 0)
        return r;
    if (o->type == OPTION_COUNT)
        *(uint32_t *)place = (uint32_t)v;
    else
        *(uint64_t *)place = v;
    return 0;
}

static int set_text(const struct option_def *o, struct slice s, struct arena *a, void *place)
{
    struct slice copy;

    if (o->type == OPTION_TOKEN) {
        memcpy(place, s.p, s.n);
        ((char *)place)[s.n] = '\0';
        return 0;
    }
    copy = arena_dup(a, s);
    if (!copy.p)
        return ERR_NOMEM;
    *(char **)place = (char *)(uintptr_t)copy.p;
    return 0;
}

int conf_value_set(const struct option_def *o, struct slice s, struct arena *a, void *base)
{
    struct conf_kind k = conf_kind_of(o);
    int r = conf_value_check(&k, s);
    void *place = (char *)base + o->offset;

    if (r < 0 || o->offset == OPTION_NOWHERE)
        return r;
    switch (o->type) {
    case OPTION_SWITCH:
        return conf_value_switch(s, place);
    case OPTION_WORD:
        *(int *)place = conf_value_word(o->words, s)->value;
        return 0;
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_RATE:
        return set_number(o, s, place);
    case OPTION_TOKEN:
    case OPTION_NAME:
        return set_text(o, s, a, place);
    default:
        CHECK(false); /* no value of one member */
        return ERR_SYNTAX;
    }
}

/* ---- back to text ---- */

static void put_amount(const struct unit *u, uint64_t v, const char *least,
                       char out[CONF_VALUE_TEXT])
{
    while (u->factor > 1 && (v == 0 || v % u->factor))
        u++;
    snprintf(out, CONF_VALUE_TEXT, "%" PRIu64 "%s", v / u->factor, v ? u->name : least);
}

void conf_value_text(enum option_type type, uint64_t v, char out[CONF_VALUE_TEXT])
{
    if (type == OPTION_DURATION || type == OPTION_TUNNELS)
        put_amount(duration_units, v, "s", out);
    else if (type == OPTION_SIZE)
        put_amount(size_units, v, "B", out);
    else if (type == OPTION_RATE)
        put_amount(size_units, v, "B", out);
    else
        snprintf(out, CONF_VALUE_TEXT, "%" PRIu64, v);
    if (type == OPTION_RATE)
        strcat(out, "/s");
}
