/* SPDX-License-Identifier: MIT */
/* conf_value: durations, sizes, switches, words and tokens. Called by the reader for what was
 * written and, with the same functions, for the defaults of the table. It never guesses: a number
 * without the unit it needs is refused.
 */
#include "app/conf_value.h"

#include "base/check.h"
#include "base/err.h"
#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>

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

/* ---- setting ---- */

static inline void *place_of(const struct option_def *o, struct conf *c)
{
    return (char *)c + o->offset;
}

static int set_switch(const struct option_def *o, struct slice s, struct conf *c)
{
    bool on;
    int r = conf_value_switch(s, &on);

    if (r < 0)
        return r;
    *(bool *)place_of(o, c) = on;
    return 0;
}

static int set_word(const struct option_def *o, struct slice s, struct conf *c)
{
    const struct option_word *w = conf_value_word(o->words, s);

    if (!w || w->unbuilt)
        return ERR_SYNTAX;
    /* A word may be all there is to choose from, and then nobody keeps it. */
    if (o->offset != OPTION_NOWHERE)
        *(int *)place_of(o, c) = w->value;
    return 0;
}

static int number_of(const struct option_def *o, struct slice s, uint64_t *ret_v)
{
    switch (o->type) {
    case OPTION_DURATION:
        return conf_value_duration(s, ret_v);
    case OPTION_SIZE:
        return conf_value_size(s, ret_v);
    default:
        return num_dec(s, UINT64_MAX, ret_v);
    }
}

static int set_number(const struct option_def *o, struct slice s, struct conf *c)
{
    uint64_t v;
    int r = number_of(o, s, &v);

    if (r < 0)
        return r;
    if (v < o->min || v > o->max)
        return ERR_RANGE;
    if (o->type == OPTION_DURATION)
        *(uint64_t *)place_of(o, c) = v;
    else
        *(uint32_t *)place_of(o, c) = (uint32_t)v;
    return 0;
}

static int set_count(const struct option_def *o, struct slice s, struct conf *c)
{
    const struct option_word *w = conf_value_word(o->words, s);

    if (!w)
        return set_number(o, s, c);
    *(uint32_t *)place_of(o, c) = (uint32_t)w->value;
    return 0;
}

static int set_token(const struct option_def *o, struct slice s, struct conf *c)
{
    char *place = place_of(o, c);

    if (!conf_value_is_token(s))
        return ERR_SYNTAX;
    if (s.n < o->min || s.n > o->max)
        return ERR_RANGE;
    memcpy(place, s.p, s.n);
    place[s.n] = '\0';
    return 0;
}

static bool is_path(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return s.n > 1 && s.p[0] == '/' && s.p[s.n - 1] != '/';
}

static int set_sink(const struct option_def *o, struct slice s, struct arena *a, struct conf *c)
{
    struct slice file;

    if (conf_value_word(o->words, s))
        return set_word(o, s, c);
    if (!is_path(s))
        return ERR_SYNTAX;
    file = arena_dup(a, s);
    if (!file.p)
        return ERR_NOMEM;
    c->access = ACCESS_FILE;
    c->access_file = (char *)(uintptr_t)file.p;
    return 0;
}

int conf_value_set(const struct option_def *o, struct slice s, struct arena *a, struct conf *c)
{
    switch (o->type) {
    case OPTION_SWITCH:
        return set_switch(o, s, c);
    case OPTION_WORD:
        return set_word(o, s, c);
    case OPTION_COUNT:
        return set_count(o, s, c);
    case OPTION_SIZE:
    case OPTION_DURATION:
        return set_number(o, s, c);
    case OPTION_TOKEN:
        return set_token(o, s, c);
    case OPTION_SINK:
        return set_sink(o, s, a, c);
    case OPTION_SECTION:
    case OPTION_LISTEN:
    case OPTION_RANGES:
    case OPTION_SERVERS:
        break;
    }
    CHECK(false); /* no option of one value */
    return ERR_SYNTAX;
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
    if (type == OPTION_DURATION)
        put_amount(duration_units, v, "s", out);
    else if (type == OPTION_SIZE)
        put_amount(size_units, v, "B", out);
    else
        snprintf(out, CONF_VALUE_TEXT, "%" PRIu64, v);
}
