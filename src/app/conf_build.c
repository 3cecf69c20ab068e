/* SPDX-License-Identifier: MIT */
/* conf_build: keys against the table, and the messages that all types share. Called by the reader
 * and by the lists of addresses. A key is set, or refused with its name: there is no third way.
 */
#include "app/conf_build.h"

#include "app/conf_text.h"
#include "base/check.h"
#include "base/mem.h"

#include <stdio.h>

void conf_build_init(struct conf_build *b)
{
    for (unsigned i = 0; i < CONF_KEYS_MAX; i++)
        b->at[i] = CONF_AT_NONE;
    b->level_at = CONF_AT_NONE;
}

void conf_build_done(struct conf_build *b)
{
    mem_free(b->clients.v);
    mem_free(b->clients.written);
    mem_free(b->names);
    tls_lib_free(b->tls);
}

void conf_build_finish(struct conf_build *b, void (*fn)(void *p), void *p)
{
    struct conf_finish *f = arena_alloc(b->arena, sizeof(*f));

    if (!f) {
        fn(p);
        conf_build_nomem(b);
        return;
    }
    *f = (struct conf_finish){.next = *b->finish, .fn = fn, .p = p};
    *b->finish = f;
}

const char *conf_build_place(struct conf_build *b, size_t at)
{
    struct slice s;

    if (at == CONF_AT_ARGS)
        return "--listen";
    if (at == CONF_AT_NONE)
        return "default";
    s = arena_printf(b->arena, "%s:%u", conf_sources_find(b->sources, at)->name,
                     conf_report_line(b->report, at));
    if (s.p)
        return s.p;
    conf_build_nomem(b);
    return "";
}

/* ---- what a kind of value is called ---- */

/* "a, b or c" */
static const char *words_phrase(struct conf_build *b, const struct conf_kind *k)
{
    char list[128] = "";

    for (const struct option_word *w = k->words; w && w->text; w++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
                 w == k->words ? ""
                 : w[1].text   ? ", "
                               : " or ",
                 w->text);
    return conf_report_say(b->report, "%s", list);
}

static const struct {
    const char *phrase, *hint;
} types[] = {
    [OPTION_SECTION] = {"a map of keys", NULL},
    [OPTION_LISTEN] = {"an address and a port",
                       "like this: 127.0.0.1:3128, \"[::1]:3128\" or localhost:3128"},
    [OPTION_ENTRY] = {"an entry", NULL},
    [OPTION_MAP] = {"a map", NULL},
    [OPTION_DICT] = {"a map", NULL},
    [OPTION_SWITCH] = {"on or off", NULL},
    [OPTION_WORD] = {"a word", NULL},
    [OPTION_COUNT] = {"a number", NULL},
    [OPTION_SIZE] = {"a size", "write bytes, or a number and a unit: 512, 16KB, 20MB, 1GB"},
    [OPTION_DURATION] = {"a duration", "write a number and a unit: 500ms, 10s, 5m, 1h"},
    [OPTION_TOKEN] = {"a plain word", "up to 63 letters, digits and !#$%&'*+-.^_`|~"},
    [OPTION_NAME] = {"a plain word", "up to 63 letters, digits and !#$%&'*+-.^_`|~"},
    [OPTION_TEXT] = {"a text", NULL},
    [OPTION_RATE] = {"a rate", "like this: 50/s"},
    [OPTION_QUOTA] = {"a size and a span of time",
                      "like this: 500GB/month; hour, day, week, month"},
    [OPTION_FILE] = {"the path of a file", "a path ends with the name of a file"},
    [OPTION_PATTERN] = {"the path of a file or a pattern", "like this: tenants/*.yaml"},
    [OPTION_URL] = {"a URL", "like this: \"http://wpad.example.net/proxy.pac\""},
    [OPTION_HOP] = {"the URL of a proxy", "like this: \"http://proxy.example.net:3128\""},
    [OPTION_LISTENING] = {"an address and a port",
                          "like this: 127.0.0.1:3128, \"[::1]:3128\" or localhost:3128"},
    [OPTION_ADDRESS] = {"an address and a port", "like this: 127.0.0.1:8128 or \"[::1]:8128\""},
    [OPTION_SERVER] = {"an address",
                       "like this: 192.0.2.53, 192.0.2.53:5353, \"[2001:db8::53]:53\""},
    [OPTION_RANGE] = {"an address range or any", "like this: 10.0.0.0/8, \"fd00::/8\", 192.0.2.7"},
    [OPTION_PREFIX] = {"an address or a range", "like this: 192.0.2.7, \"2001:db8::/64\""},
    [OPTION_CONTROL] = {"the path of a socket", "like this: unix:/run/ginnel/control.sock"},
    [OPTION_SINK] = {"stderr, stdout, off, syslog or the path of a file",
                     "a path begins with a slash and ends with the name of a file"},
    [OPTION_TUNNELS] = {"end, both or every and a duration", "like this: every 5m"},
    [OPTION_HOST] = {"a host", "like this: example.net, .example.net, 192.0.2.0/24, any, "
                               "./hosts.txt"},
    [OPTION_PORT] = {"a port", "like this: 443, 8000-8099"},
    [OPTION_SNI] = {"a name", "like this: example.net, .example.net, ./names.txt"},
    [OPTION_PATH] = {"the beginning of a path",
                     "like this: /v1/; without ? and #; an expression stands between slashes"},
    [OPTION_EXPR] = {"a text", "like this: text/plain; an expression stands between slashes"},
    [OPTION_GROUP] = {"a name without commas", "several are a list: [a, b]"},
    [OPTION_TIME] = {"days, hours or both", "like this: mon-fri 08:00-18:00, sat, 22:00-06:00"},
    [OPTION_METHOD] = {"a method", "methods are written in upper case: GET"},
    [OPTION_LISTENER] = {"the name of a listener", "the `name` of an item of `listen`"},
};

/* Of RATE, min is 1 where sizes are meant. */
static bool is_byte_rate(const struct conf_kind *k)
{
    return k->type == OPTION_RATE && k->min;
}

static const char *type_phrase(struct conf_build *b, const struct conf_kind *k)
{
    const char *phrase = is_byte_rate(k) ? "a size a second" : types[k->type].phrase;

    if (k->what)
        return k->what;
    if (k->type == OPTION_WORD)
        return words_phrase(b, k);
    if (k->words && k->type != OPTION_SINK && k->type != OPTION_TUNNELS && k->type != OPTION_RANGE)
        return conf_report_say(b->report, "%s or %s", phrase, words_phrase(b, k));
    return phrase;
}

const char *conf_build_hint(struct conf_build *b, const struct conf_kind *k)
{
    if (k->like)
        return conf_report_say(b->report, "like this: %s", k->like);
    if (is_byte_rate(k))
        return "like this: 20KB/s";
    return types[k->type].hint;
}

const char *conf_build_range_hint(struct conf_build *b, const struct conf_kind *k)
{
    char min[CONF_VALUE_TEXT], max[CONF_VALUE_TEXT];
    bool length = k->type == OPTION_TOKEN || k->type == OPTION_NAME || k->type == OPTION_TEXT ||
                  k->type == OPTION_GROUP || k->type == OPTION_EXPR;

    if (k->type == OPTION_PORT)
        return "ports go from 1 to 65535, the first of a range before the last";
    if (k->type == OPTION_TIME)
        return "hours go from 00:00 to 24:00";
    if (k->type == OPTION_PATTERN)
        return "only the last part of a path may have * ? or [";
    if (k->type == OPTION_LISTENING || k->type == OPTION_ADDRESS)
        return "ports go from 0 to 65535";
    if (!k->max || k->type == OPTION_RATE)
        return k->type == OPTION_RATE || k->type == OPTION_QUOTA || k->type == OPTION_SIZE
                   ? conf_build_hint(b, k)
                   : "ports go from 1 to 65535";
    conf_value_text(k->type, k->min, min);
    conf_value_text(k->type, k->max, max);
    if (k->max >= (uint64_t)1 << 62)
        return conf_report_say(b->report, "at least %s", min);
    return conf_report_say(b->report, "from %s to %s%s", min, max, length ? " characters" : "");
}

void conf_build_wrong(struct conf_build *b, const struct conf_kind *k, size_t at, const char * not,
                      const char *hint)
{
    conf_report_add(b->report, at, hint, "`%s` wants %s, not %s", k->key, type_phrase(b, k), not );
}

bool conf_build_text(struct conf_build *b, const struct conf_kind *k, const struct conf_node *node,
                     struct slice *ret_text)
{
    const char *hint = conf_build_hint(b, k);

    if (node->kind == CONF_NODE_BAD || (node->kind != CONF_NODE_TEXT && node->open))
        return false;
    if (node->kind != CONF_NODE_TEXT) {
        conf_build_wrong(b, k, node->at, node->kind == CONF_NODE_LIST ? "a list" : "a map", hint);
        return false;
    }
    if (node->empty) {
        if (!node->open)
            conf_report_add(b->report, node->at, hint ? hint : "write one, or remove the key",
                            "`%s` has no value", k->key);
        return false;
    }
    *ret_text = node->text;
    return true;
}

/* ---- keys ---- */

static const char *built(const struct option_def *o)
{
    return o->unbuilt ? " (which is not in this build)" : "";
}

/* The same key elsewhere in the table: `connect` at the top, or `timeouts.connect` in one word. */
static const struct option_def *find_elsewhere(struct slice key)
{
    const struct option_def *o = conf_table_find(key);

    if (o)
        return o;
    for (unsigned i = 0; i < conf_table_n; i++)
        if (slice_eq(key, slice_str(conf_table_key(&conf_table[i]))))
            return &conf_table[i];
    return NULL;
}

static const char *elsewhere_hint(struct conf_build *b, const struct option_def *o)
{
    const char *dot = strchr(o->path, '.');

    if (!dot)
        return conf_report_say(b->report, "`%s` stands at the top of the file%s", o->path,
                               built(o));
    return conf_report_say(b->report, "write `%.*s: {%s: …}`%s", (int)(dot - o->path), o->path,
                           dot + 1, built(o));
}

/* What others call it. NULL: nobody does. */
static const char *find_foreign(struct slice key)
{
    static const struct {
        const char *theirs, *ours;
    } words[] = {
        {"http_port", "listen"}, {"https_port", "listen"}, {"port", "listen"}, {"bind", "listen"},
        {"acl", "rules"}, {"http_access", "rules"}, {"filter", "rules"}, {"allow", "clients"},
        {"allowed_ips", "clients"}, {"basicauth", "users"}, {"auth_param", "users"},
        {"cache_peer", "upstream"}, {"tcp_outgoing_address", "upstream"}, {"proxy", "upstream"},
        {"dns_nameservers", "resolver"}, {"access_log", "log"}, {"logfile", "log"}, {"logging", "log"},
        {"loglevel", "log"}, {"visible_hostname", "name"}, {"viaproxyname", "name"},
        {"disableviaheader", "via"}, {"forwarded_for", "forwarded"}, {"ssl_bump", "intercept"},
        {"connectport", "ports"}, {"safe_ports", "ports"}, {"maxclients", "capacity"},
        {"delay_pools", "limits"}, {"timeout", "timeouts"}, {"threads", "workers"}, {"metrics", "admin"},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (slice_eq_nocase(key, slice_str(words[i].theirs)))
            return words[i].ours;
    return NULL;
}

static const char *key_hint(struct conf_build *b, const struct option_def *section,
                            struct slice key)
{
    struct conf_text_guess g;
    const struct option_def *o;

    conf_text_guess_init(&g, key);
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table_in(section, &conf_table[i]))
            conf_text_guess_try(&g, conf_table_key(&conf_table[i]));
    o = find_elsewhere(key);
    if (o)
        return elsewhere_hint(b, o);
    if (!section && find_foreign(key))
        g.best = find_foreign(key);
    if (!g.best)
        return NULL;
    o = conf_table_member(section, slice_str(g.best));
    CHECK(o);
    return conf_report_say(b->report, "did you mean `%s`?%s", g.best, built(o));
}

static void report_unknown(struct conf_build *b, const struct option_def *section,
                           const struct conf_node *key)
{
    const char *quoted, *hint;

    /* The hint costs more than the line it stands in; a file may have many lines. */
    if (!conf_report_wants(b->report, key->at)) {
        conf_report_add(b->report, key->at, NULL, "unknown");
        return;
    }
    hint = key_hint(b, section, key->text);
    quoted = conf_report_quote(b->report, key->text);
    if (section)
        conf_report_add(b->report, key->at, hint, "%s is no key of `%s`", quoted, section->path);
    else
        conf_report_add(b->report, key->at, hint, "%s is no key of the configuration", quoted);
}

bool conf_build_is_word(struct conf_build *b, const struct conf_node *key)
{
    if (key->kind == CONF_NODE_BAD)
        return false;
    if (key->kind == CONF_NODE_TEXT && !key->empty)
        return true;
    conf_report_add(b->report, key->at, "write `key: value`", "a key must be a plain word");
    return false;
}

void conf_build_twice(struct conf_build *b, const char *key, size_t at, size_t first)
{
    if (!conf_report_wants(b->report, at)) {
        conf_report_add(b->report, at, NULL, "twice");
        return;
    }
    conf_report_add(b->report, at,
                    conf_report_say(b->report, "it stands in %s already",
                                    conf_report_where(b->report, first, at)),
                    "`%s` is given twice", key);
}

/* Whether the key has a value from another map: what is neither a list nor a section, over all
 * files. Items of lists have keys of their own. */
static bool given_elsewhere(const struct conf_build *b, const struct option_def *o)
{
    bool item = strncmp(o->path, "listen.", 7) == 0 || strncmp(o->path, "log.", 4) == 0;

    return !o->appends && o->type != OPTION_SECTION && o->type != OPTION_PATTERN && !item &&
           b->at[conf_table_index(o)] != CONF_AT_NONE;
}

const struct option_def *conf_build_member(struct conf_build *b, const struct option_def *section,
                                           const struct conf_node *member,
                                           struct conf_build_seen *seen)
{
    const struct conf_node *key = member->key;
    const struct option_def *o;
    size_t *first;

    if (!conf_build_is_word(b, key))
        return NULL;
    o = conf_table_member(section, key->text);
    if (!o) {
        report_unknown(b, section, key);
        return NULL;
    }
    first = &seen->at[conf_table_index(o)];
    if (*first || given_elsewhere(b, o)) {
        conf_build_twice(b, conf_table_key(o), key->at,
                         *first ? *first - 1 : b->at[conf_table_index(o)]);
        return NULL;
    }
    *first = key->at + 1;
    if (o->unbuilt && !(section && section->unbuilt))
        conf_report_add(b->report, key->at, "remove it: ginnel never ignores what it is told",
                        "`%s` is not in this build", conf_table_key(o));
    b->at[conf_table_index(o)] = member->at;
    return o;
}
