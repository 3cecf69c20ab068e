/* SPDX-License-Identifier: MIT */
/* conf_schema: walks the table and the shapes, and says the same in JSON Schema. Called by `config
 * schema`. YAML gives `on`, 443 and 1.2 types that the language does not have (there they are words
 * and numbers written as text), so a value may be of each type that its text could be taken for.
 * What a schema can't say (the range of a number with a unit, that a file exists) is left to
 * `ginnel check`: the schema never refuses what that accepts. Maps of entries become definitions,
 * named after the place where they stand first.
 */
#include "app/conf_schema.h"

#include "app/conf_shapes.h"
#include "app/conf_table.h"
#include "app/plain.h"
#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SIZE_FIRST = 128 << 10,
    SIZE_MAX_BYTES = 8 << 20,
    DEFINITIONS_MAX = 128,
    NAME_SIZE = 96,
};
/* Larger numbers are not exact in JSON. */
#define EXACT  ((uint64_t)1 << 53)

#define V4     "[0-9]{1,3}(\\.[0-9]{1,3}){3}"
#define V6     "[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"
#define PORT   ":[0-9]{1,5}"
#define SOCKET "(" V4 "|\\[" V6 "\\])" PORT
#define RANGE  V4 "(/[0-9]{1,2})?|" V6 "(/[0-9]{1,3})?"
#define AMOUNT "[0-9]+(B|KB|MB|GB)?"
#define TIME   "[0-9]+(ms|s|m|h|d)"
#define TOKEN  "[!#$%&'*+.^_`|~0-9A-Za-z-]"

struct definition {
    const struct conf_shape *shape;
    char name[NAME_SIZE];
};

struct maker {
    struct json j;
    struct definition v[DEFINITIONS_MAX];
    unsigned n;
};

/* What a value is, of a row of the table or of a shape. */
struct kind {
    enum option_type type;
    bool list;
    uint64_t min, max;
    const struct option_word *words;
    const struct conf_shape *shape; /* MAP, DICT */
    const char *name;               /* where it stands, for its definition */
};

static struct kind kind_of_shape(const struct conf_shape *s, const char *name)
{
    return (struct kind){.type = s->type,
                         .list = s->list,
                         .min = s->min,
                         .max = s->max,
                         .words = s->words,
                         .shape = s,
                         .name = name};
}

static struct kind kind_of_option(const struct option_def *o)
{
    struct kind k;

    if (o->type != OPTION_ENTRY)
        return (struct kind){.type = o->type,
                             .list = o->list,
                             .min = o->min,
                             .max = o->max,
                             .words = o->words,
                             .name = o->path};
    k = kind_of_shape(o->shape, o->path);
    k.list = k.list || o->list;
    return k;
}

static void put_alternatives(struct maker *m, const struct kind *k);

/* ---- pieces ---- */

static void put_strings(struct maker *m, const char *pattern)
{
    json_open(&m->j, '{');
    json_kstr(&m->j, "type", SLICE("string"));
    if (pattern)
        json_kstr(&m->j, "pattern", slice_str(pattern));
    json_close(&m->j, '}');
}

static void put_integers(struct maker *m, uint64_t min, uint64_t max)
{
    json_open(&m->j, '{');
    json_kstr(&m->j, "type", SLICE("integer"));
    json_ku64(&m->j, "minimum", max ? min : 0);
    if (max && max <= EXACT)
        json_ku64(&m->j, "maximum", max);
    json_close(&m->j, '}');
}

static void put_type(struct maker *m, const char *type)
{
    json_open(&m->j, '{');
    json_kstr(&m->j, "type", slice_str(type));
    json_close(&m->j, '}');
}

/* Between them stand the schemas of which one has to hold. */
static void begin_any(struct maker *m)
{
    json_key(&m->j, "anyOf");
    json_open(&m->j, '[');
}

static void end_any(struct maker *m)
{
    json_close(&m->j, ']');
}

/* The same, for each item of a list. */
static void begin_items(struct maker *m)
{
    json_open(&m->j, '{');
    json_kstr(&m->j, "type", SLICE("array"));
    json_key(&m->j, "items");
    json_open(&m->j, '{');
    begin_any(m);
}

static void end_items(struct maker *m)
{
    end_any(m);
    json_close(&m->j, '}');
    json_close(&m->j, '}');
}

/* "4" is written 4, and comes as a number. */
static bool is_number(const char *text, bool *ret_whole)
{
    size_t digits = strspn(text, "0123456789."), whole = strspn(text, "0123456789");

    *ret_whole = text[whole] == '\0';
    return whole && text[digits] == '\0';
}

static bool is_boolean(const char *text, bool *ret_on)
{
    static const char *const on[] = {"on", "yes", "true"}, *const off[] = {"off", "no", "false"};

    for (unsigned i = 0; i < ARRAY_LEN(on); i++)
        if (strcmp(text, on[i]) == 0 || strcmp(text, off[i]) == 0) {
            *ret_on = strcmp(text, on[i]) == 0;
            return true;
        }
    return false;
}

static void put_words(struct maker *m, const struct option_word *words)
{
    bool fraction = false, whole, on;

    json_open(&m->j, '{');
    json_key(&m->j, "enum");
    json_open(&m->j, '[');
    for (; words->text; words++) {
        json_str(&m->j, slice_str(words->text));
        if (is_boolean(words->text, &on))
            json_bool(&m->j, on);
        if (is_number(words->text, &whole)) {
            fraction = fraction || !whole;
            if (whole)
                json_u64(&m->j, (uint64_t)words->text[0] - '0'); /* they have one digit */
        }
    }
    json_close(&m->j, ']');
    json_close(&m->j, '}');
    if (fraction)
        put_type(m, "number");
}

static void put_switch(struct maker *m)
{
    static const char *const words[] = {"on", "off", "yes", "no", "true", "false"};

    put_type(m, "boolean");
    json_open(&m->j, '{');
    json_key(&m->j, "enum");
    json_open(&m->j, '[');
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        json_str(&m->j, slice_str(words[i]));
    json_close(&m->j, ']');
    json_close(&m->j, '}');
}

/* Text that may look like a number or a boolean. */
static void put_text(struct maker *m, const struct kind *k, const char *pattern)
{
    json_open(&m->j, '{');
    json_kstr(&m->j, "type", SLICE("string"));
    if (k->max) {
        json_ku64(&m->j, "minLength", k->min ? 1 : 0);
        json_ku64(&m->j, "maxLength", k->max); /* bytes here, characters there: never too strict */
    }
    if (pattern)
        json_kstr(&m->j, "pattern", slice_str(pattern));
    json_close(&m->j, '}');
    put_type(m, "number");
    put_type(m, "boolean");
}

/* ---- maps ---- */

static const char *define(struct maker *m, const struct conf_shape *s, const char *name)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->v[i].shape == s)
            return m->v[i].name;
    CHECK(m->n < DEFINITIONS_MAX);
    m->v[m->n].shape = s;
    snprintf(m->v[m->n].name, NAME_SIZE, "%s", name);
    return m->v[m->n++].name;
}

static void put_reference(struct maker *m, const struct kind *k)
{
    char ref[NAME_SIZE + 16];

    snprintf(ref, sizeof(ref), "#/definitions/%s", define(m, k->shape, k->name));
    json_open(&m->j, '{');
    json_kstr(&m->j, "$ref", slice_str(ref));
    json_close(&m->j, '}');
}

static void put_dict(struct maker *m, const struct kind *k)
{
    struct kind of = kind_of_shape(k->shape->of, k->name);

    json_open(&m->j, '{');
    json_kstr(&m->j, "type", SLICE("object"));
    json_key(&m->j, "additionalProperties");
    json_open(&m->j, '{');
    begin_any(m);
    put_alternatives(m, &of);
    end_any(m);
    json_close(&m->j, '}');
    json_close(&m->j, '}');
}

/* ---- one value ---- */

/* What is a string of one form, whatever its option says. */
static const char *const patterns[] = {
    [OPTION_DURATION] = "^" TIME "$",
    [OPTION_QUOTA] = "^" AMOUNT "/(hour|day|week|month)$",
    [OPTION_FILE] = "^.*[^/]$",
    [OPTION_PATTERN] = "^.*[^/]$",
    [OPTION_CONTROL] = "^unix:(/.+)?$",
    [OPTION_SINK] = "^(/.+|syslog:/.+|syslog:" SOCKET ")$",
    [OPTION_TUNNELS] = "^every +" TIME "$",
    [OPTION_PATH] = "^/([^ #?\\\\^]*|.*/)$",
    [OPTION_TIME] = "^[a-z0-9]\\S*( +\\S+)?$",
    [OPTION_METHOD] = "^[!#$%&'*+.^_`|~0-9A-Z-]+$",
    [OPTION_URL] = "^https?://\\S+$",
    [OPTION_HOP] = "^[hH][tT][tT][pP][sS]?://[^\\s/?#@]+/?$",
    [OPTION_LISTENING] = "^(" SOCKET "|localhost" PORT "|unix:/.+)$",
    [OPTION_ADDRESS] = "^(" SOCKET "|localhost" PORT ")$",
    [OPTION_SERVER] = "^(" SOCKET "|" V4 "|\\[?" V6 "\\]?)$",
    [OPTION_RANGE] = "^(any|" RANGE "|\\.{0,2}/.+)$",
    [OPTION_PREFIX] = "^(" RANGE ")$",
};

/* Strings, some of which are numbers as well. */
static void put_number(struct maker *m, const struct kind *k)
{
    switch (k->type) {
    case OPTION_COUNT:
        put_integers(m, k->min, k->max);
        put_strings(m, "^[0-9]+$");
        break;
    case OPTION_SIZE:
        put_integers(m, k->min, k->max);
        put_strings(m, "^" AMOUNT "$");
        break;
    case OPTION_RATE:
        put_strings(m, k->min ? "^" AMOUNT "/s$" : "^[0-9]+/s$");
        break;
    case OPTION_PORT:
        put_integers(m, 1, 65535);
        put_strings(m, "^[0-9]{1,5}(-[0-9]{1,5})?$");
        break;
    default:
        put_strings(m, "^\\S.*$"); /* HOST: names are judged by `check` */
        put_type(m, "number");
        break;
    }
}

static void put_single(struct maker *m, const struct kind *k)
{
    if ((size_t)k->type < ARRAY_LEN(patterns) && patterns[k->type]) {
        put_strings(m, patterns[k->type]);
        return;
    }
    switch (k->type) {
    case OPTION_SWITCH:
        put_switch(m);
        break;
    case OPTION_WORD:
        break; /* the words say it all */
    case OPTION_TOKEN:
    case OPTION_NAME:
    case OPTION_LISTENER:
        put_text(m, k, "^" TOKEN "+$");
        break;
    case OPTION_TEXT:
    case OPTION_EXPR:
        put_text(m, k, NULL);
        break;
    case OPTION_GROUP:
        put_text(m, k, "^[^,]+$");
        break;
    case OPTION_MAP:
        put_reference(m, k);
        break;
    case OPTION_DICT:
        put_dict(m, k);
        break;
    default:
        put_number(m, k);
        break;
    }
}

static void put_single_or_word(struct maker *m, const struct kind *k)
{
    if (k->words)
        put_words(m, k->words);
    put_single(m, k);
}

/* The elements of an anyOf. */
static void put_alternatives(struct maker *m, const struct kind *k)
{
    put_single_or_word(m, k);
    if (!k->list)
        return;
    begin_items(m);
    put_single_or_word(m, k);
    end_items(m);
}

static void put_any_of(struct maker *m, const struct kind *k)
{
    begin_any(m);
    put_alternatives(m, k);
    end_any(m);
}

static void put_description(struct maker *m, const char *sentence, bool unbuilt,
                            const char *dflt_says)
{
    char plain[PLAIN_MAX], says[PLAIN_MAX], all[2 * PLAIN_MAX + 64];

    plain_text(plain, sentence);
    plain_text(says, dflt_says ? dflt_says : "");
    snprintf(all, sizeof(all), "%s%s%s%s%s", plain, unbuilt ? " (not in this version)" : "",
             says[0] ? " Default: " : "", says, says[0] ? "." : "");
    json_kstr(&m->j, "description", slice_str(all));
}

/* ---- definitions ---- */

static void put_needs(struct maker *m, const struct conf_shape *s)
{
    unsigned n = 0;

    for (; s->needs && s->needs[n]; n++)
        ;
    if (n == 0)
        return;
    json_key(&m->j, s->needs_one ? "oneOf" : "anyOf");
    json_open(&m->j, '[');
    for (unsigned i = 0; i < n; i++) {
        json_open(&m->j, '{');
        json_key(&m->j, "required");
        json_open(&m->j, '[');
        json_str(&m->j, slice_str(s->needs[i]));
        json_close(&m->j, ']');
        json_close(&m->j, '}');
    }
    json_close(&m->j, ']');
}

static void begin_properties(struct maker *m)
{
    json_kbool(&m->j, "additionalProperties", false);
    json_key(&m->j, "properties");
    json_open(&m->j, '{');
}

static void begin_object(struct maker *m)
{
    json_kstr(&m->j, "type", SLICE("object"));
    begin_properties(m);
}

static void put_member(struct maker *m, const struct conf_member *member, const char *name)
{
    char place[NAME_SIZE];
    struct kind k;

    snprintf(place, sizeof(place), "%s.%s", name, member->key);
    k = kind_of_shape(member->shape, place);
    json_key(&m->j, member->key);
    json_open(&m->j, '{');
    put_description(m, member->sentence, member->unbuilt, NULL);
    put_any_of(m, &k);
    json_close(&m->j, '}');
}

static void put_definition(struct maker *m, const struct conf_shape *s, const char *name)
{
    json_key(&m->j, name);
    json_open(&m->j, '{');
    json_key(&m->j, "anyOf");
    json_open(&m->j, '[');
    json_open(&m->j, '{');
    begin_object(m);
    for (const struct conf_member *member = s->members; member->key; member++)
        put_member(m, member, name);
    json_close(&m->j, '}');
    put_needs(m, s);
    json_close(&m->j, '}');
    if (s->bare) {
        struct kind k = kind_of_shape(s->bare, name);

        put_alternatives(m, &k);
    }
    json_close(&m->j, ']');
    json_close(&m->j, '}');
}

/* Writing one may add others; there are as many as there are shapes. */
static void put_definitions(struct maker *m)
{
    json_key(&m->j, "definitions");
    json_open(&m->j, '{');
    for (unsigned i = 0; i < m->n; i++)
        put_definition(m, m->v[i].shape, m->v[i].name);
    json_close(&m->j, '}');
}

/* ---- the table ---- */

static void put_default(struct maker *m, const struct option_def *o)
{
    bool on, whole;

    if (!o->dflt)
        return;
    json_key(&m->j, "default");
    if (o->type == OPTION_SWITCH && is_boolean(o->dflt, &on))
        json_bool(&m->j, on);
    else if (o->type == OPTION_COUNT && is_number(o->dflt, &whole) && whole)
        json_u64(&m->j, strtoull(o->dflt, NULL, 10));
    else
        json_str(&m->j, slice_str(o->dflt));
}

static void put_leaf(struct maker *m, const struct option_def *o)
{
    struct kind k = kind_of_option(o);

    json_key(&m->j, conf_table_key(o));
    json_open(&m->j, '{');
    put_description(m, o->sentence, o->unbuilt, o->dflt_says);
    put_default(m, o);
    put_any_of(m, &k);
    json_close(&m->j, '}');
}

static void put_section_object(struct maker *m, const struct option_def *section)
{
    json_open(&m->j, '{');
    begin_object(m);
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table_in(section, &conf_table[i]))
            put_leaf(m, &conf_table[i]); /* sections have no sections in them */
    json_close(&m->j, '}');
    if (section->type == OPTION_LISTEN) {
        json_key(&m->j, "required");
        json_open(&m->j, '[');
        json_str(&m->j, SLICE("address"));
        json_close(&m->j, ']');
    }
    json_close(&m->j, '}');
}

/* A map of options; of `listen` also what may stand in its place. */
static void put_section_single(struct maker *m, const struct option_def *section)
{
    struct kind address = {.type = OPTION_LISTENING};

    if (section->type == OPTION_LISTEN)
        put_single(m, &address);
    put_section_object(m, section);
}

static void put_section(struct maker *m, const struct option_def *section)
{
    json_key(&m->j, section->path);
    json_open(&m->j, '{');
    put_description(m, section->sentence, section->unbuilt, section->dflt_says);
    begin_any(m);
    put_section_single(m, section);
    if (section->type == OPTION_SECTION)
        put_type(m, "null"); /* nothing below it */
    if (section->list) {
        begin_items(m);
        put_section_single(m, section);
        end_items(m);
    }
    end_any(m);
    json_close(&m->j, '}');
}

static void put_all(struct maker *m)
{
    json_open(&m->j, '{');
    json_kstr(&m->j, "$schema", SLICE("http://json-schema.org/draft-07/schema#"));
    json_kstr(&m->j, "title", SLICE("The configuration of ginnel"));
    json_key(&m->j, "type");
    json_open(&m->j, '[');
    json_str(&m->j, SLICE("object"));
    json_str(&m->j, SLICE("null")); /* an empty file */
    json_close(&m->j, ']');
    begin_properties(m);
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];

        if (!conf_table_in(NULL, o))
            continue;
        if (o->type == OPTION_SECTION || o->type == OPTION_LISTEN)
            put_section(m, o);
        else
            put_leaf(m, o);
    }
    json_close(&m->j, '}');
    put_definitions(m);
    json_close(&m->j, '}');
}

char *conf_schema(size_t *ret_n)
{
    char *text = NULL;

    for (size_t cap = SIZE_FIRST; cap <= SIZE_MAX_BYTES; cap *= 2) {
        struct maker *m = mem_zalloc(sizeof(*m));
        char *p = m ? mem_grow(text, cap) : NULL;

        if (!p) {
            mem_free(m);
            break;
        }
        text = p;
        json_init(&m->j, text, cap - 2);
        put_all(m);
        if (!m->j.full) {
            text[m->j.n] = '\n';
            text[m->j.n + 1] = '\0';
            *ret_n = m->j.n + 1;
            mem_free(m);
            return text;
        }
        mem_free(m);
    }
    mem_free(text);
    return NULL;
}
