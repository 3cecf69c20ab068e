/* SPDX-License-Identifier: MIT */
/* conf_show: the way back from a conf to a file. Called by `config show` and for the control
 * socket's /config. Which keys there are, their order and their words come from the table; a key
 * whose value has a place of its own in the conf has a function here. What nobody has set stays a
 * comment, for writing it would make it set. Lists come block-wise, an item a line: one from a list
 * file may have many. Included files and list files are shown as what they held.
 */
#include "app/conf_show.h"

#include "app/conf_table.h"
#include "app/conf_value.h"
#include "app/plain.h"
#include "app/text.h"
#include "base/check.h"

#include <stdio.h>

enum { STEP = 2 };

struct show {
    struct text text;
    bool bullet; /* the next key begins an item of a list */
    unsigned n_items;
};

static void add(struct show *s, struct slice text)
{
    text_put(&s->text, text.p, text.n);
}

/* ---- YAML ---- */

/* Whether YAML takes the text for itself without quotes, wherever a value may stand. */
static bool is_plain(struct slice t)
{
    for (size_t i = 0; i < t.n; i++) {
        char c = slice_lower(t.p[i]);
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool port = c == ':' && i > 0 && i + 1 < t.n && t.p[i + 1] >= '0' && t.p[i + 1] <= '9';

        if (!word && !port && !(c == '.' || c == '/' || c == '_') && !(c == '-' && i > 0))
            return false;
    }
    return t.n > 0 && !slice_eq_nocase(t, SLICE("null"));
}

static void add_quoted(struct show *s, struct slice t)
{
    add(s, SLICE("\""));
    for (size_t i = 0; i < t.n; i++) {
        unsigned char c = (unsigned char)t.p[i];

        if (c == '"' || c == '\\')
            text_printf(&s->text, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            text_printf(&s->text, "\\x%02x", c);
        else
            add(s, slice_of(t.p + i, 1));
    }
    add(s, SLICE("\""));
}

static void add_value(struct show *s, struct slice t)
{
    if (is_plain(t))
        add(s, t);
    else
        add_quoted(s, t);
}

static void add_key(struct show *s, unsigned indent, const char *key)
{
    text_printf(&s->text, "%*s%s%s:", (int)(s->bullet ? indent - STEP : indent), "",
                s->bullet ? "- " : "", key);
    s->bullet = false;
}

static void add_pair(struct show *s, unsigned indent, const char *key, struct slice value)
{
    add_key(s, indent, key);
    add(s, SLICE(" "));
    add_value(s, value);
    add(s, SLICE("\n"));
}

static void add_comment(struct show *s, unsigned indent, const char *key, const char *scdoc)
{
    char text[PLAIN_MAX];

    text_printf(&s->text, "%*s# %s: ", (int)indent, "", key);
    add(s, plain_text(text, scdoc));
    add(s, SLICE("\n"));
}

static void begin_list(struct show *s, unsigned indent, const char *key)
{
    add_key(s, indent, key);
    s->n_items = 0;
}

/* indent: of the list's key */
static void add_item(struct show *s, unsigned indent, struct slice value)
{
    s->n_items++;
    text_printf(&s->text, "\n%*s- ", (int)(indent + STEP), "");
    add_value(s, value);
}

static void end_list(struct show *s)
{
    add(s, s->n_items ? SLICE("\n") : SLICE(" []\n"));
}

/* ---- addresses ---- */

__extension__ typedef unsigned __int128 wide;

static void add_prefix(struct show *s, unsigned indent, wide first, unsigned length, bool v4)
{
    char text[ADDR_TEXT_MAX + 8];
    uint8_t bytes[16];
    struct addr a;
    size_t n;

    for (unsigned i = 0; i < 16; i++)
        bytes[i] = (uint8_t)(first >> (120 - 8 * i));
    if (v4)
        addr_v4(&a, bytes + 12, 0);
    else
        addr_v6(&a, bytes, 0);
    n = addr_host_text(&a, text);
    if (length < (v4 ? 32 : 128))
        n += (size_t)snprintf(text + n, sizeof(text) - n, "/%u", length);
    add_item(s, indent, slice_of(text, n));
}

/* The prefixes that make up a range: each time the widest that begins at its front and fits. At
 * most two for each bit. */
static void add_range(struct show *s, unsigned indent, wide first, wide last, bool v4)
{
    unsigned bits = v4 ? 32 : 128;

    for (;;) {
        unsigned host = 0;
        wide end = first;

        while (host < bits && !(first >> host & 1)) {
            wide wider = first | (((wide)1 << host << 1) - 1);

            if (host == 127)
                wider = ~(wide)0;
            if (wider > last)
                break;
            end = wider;
            host++;
        }
        add_prefix(s, indent, first, bits - host, v4);
        if (end >= last)
            return;
        first = end + 1;
    }
}

static void add_ranges(struct show *s, unsigned indent, const struct ranges *r)
{
    for (size_t i = 0; i < r->n4; i++)
        add_range(s, indent, r->v4[i].first, r->v4[i].last, true);
    for (size_t i = 0; i < r->n6; i++)
        add_range(s, indent, (wide)r->v6[i].first_hi << 64 | r->v6[i].first_lo,
                  (wide)r->v6[i].last_hi << 64 | r->v6[i].last_lo, false);
}

static void show_addr_range_list(struct show *s, unsigned indent, const char *key,
                                 const struct ranges *r)
{
    begin_list(s, indent, key);
    add_ranges(s, indent, r);
    end_list(s);
}

/* ---- values with an offset ---- */

static const char *word_of(const struct option_word *w, int value)
{
    for (; w && w->text; w++)
        if (w->value == value)
            return w->text;
    return NULL;
}

static void show_number(struct show *s, unsigned indent, const struct option_def *o, uint64_t v)
{
    const char *word = v <= INT32_MAX ? word_of(o->words, (int)v) : NULL;
    char text[CONF_VALUE_TEXT];

    conf_value_text(o->type, v, text);
    add_pair(s, indent, conf_table_key(o), slice_str(word ? word : text));
}

static void show_word(struct show *s, unsigned indent, const struct option_def *o, int v)
{
    const char *word = word_of(o->words, v);

    if (word)
        add_pair(s, indent, conf_table_key(o), slice_str(word));
    else
        add_comment(s, indent, conf_table_key(o), o->dflt_says ? o->dflt_says : "");
}

static void show_placed(struct show *s, unsigned indent, const struct option_def *o,
                        const void *base)
{
    const char *at = (const char *)base + o->offset;

    switch (o->type) {
    case OPTION_SWITCH:
        add_pair(s, indent, conf_table_key(o), *(const bool *)at ? SLICE("on") : SLICE("off"));
        break;
    case OPTION_WORD:
        show_word(s, indent, o, *(const int *)(const void *)at);
        break;
    case OPTION_COUNT:
        show_number(s, indent, o, *(const uint32_t *)(const void *)at);
        break;
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_RATE:
        show_number(s, indent, o, *(const uint64_t *)(const void *)at);
        break;
    case OPTION_TOKEN:
        add_pair(s, indent, conf_table_key(o), slice_str(at));
        break;
    default:
        CHECK(false); /* a new type of the table wants its line here */
    }
}

/* ---- values with a place of their own ---- */

static void show_clients_of(struct show *s, unsigned indent, const struct option_def *o,
                            const struct conf_clients *c)
{
    if (!c->set)
        add_comment(s, indent, conf_table_key(o), o->dflt_says);
    else if (c->any)
        add_pair(s, indent, conf_table_key(o), SLICE("any"));
    else
        show_addr_range_list(s, indent, conf_table_key(o), &c->ranges);
}

static void show_clients(struct show *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    show_clients_of(s, indent, o, &c->clients);
}

static void show_include(struct show *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    UNUSED(c);
    add_comment(s, indent, conf_table_key(o), "what it named is part of this");
}

static void show_servers(struct show *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    begin_list(s, indent, conf_table_key(o));
    for (unsigned i = 0; c->resolve.servers && c->resolve.servers[i]; i++)
        add_item(s, indent, slice_str(c->resolve.servers[i]));
    end_list(s);
}

static void show_admin(struct show *s, unsigned indent, const struct option_def *o,
                       const struct conf *c)
{
    char text[ADDR_TEXT_MAX];

    if (c->n_admin == 0) {
        add_pair(s, indent, conf_table_key(o), SLICE("off"));
        return;
    }
    begin_list(s, indent, conf_table_key(o));
    for (unsigned i = 0; i < c->n_admin; i++)
        add_item(s, indent, slice_of(text, addr_text(&c->admin[i], text)));
    end_list(s);
}

static void show_control(struct show *s, unsigned indent, const struct option_def *o,
                         const struct conf *c)
{
    char text[512];

    switch (c->control) {
    case CONF_CONTROL_DEFAULT:
        snprintf(text, sizeof(text), "unix:");
        break;
    case CONF_CONTROL_OFF:
        snprintf(text, sizeof(text), "off");
        break;
    case CONF_CONTROL_PATH:
        snprintf(text, sizeof(text), "unix:%.400s", c->control_path);
        break;
    }
    add_pair(s, indent, conf_table_key(o), slice_str(text));
}

static const struct {
    const char *path;
    void (*show)(struct show *s, unsigned indent, const struct option_def *o, const struct conf *c);
} own_places[] = {
    {"clients", show_clients}, {"include", show_include}, {"resolver.servers", show_servers},
    {"admin", show_admin},     {"control", show_control},
};

static void show_leaf(struct show *s, unsigned indent, const struct option_def *o,
                      const struct conf *c)
{
    if (o->offset != OPTION_NOWHERE) {
        show_placed(s, indent, o, c);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(own_places); i++)
        if (strcmp(o->path, own_places[i].path) == 0)
            own_places[i].show(s, indent, o, c);
}

/* ---- listeners ---- */

static const struct option_def *option(const char *path)
{
    const struct option_def *o = conf_table_find(slice_str(path));

    CHECK(o);
    return o;
}

/* localhost is one item in the file and two listeners in the conf. */
static bool is_of_same_item(const struct conf_listen *a, const struct conf_listen *b)
{
    return strcmp(a->text, b->text) == 0 && a->place && b->place && strcmp(a->place, b->place) == 0;
}

static void show_listener(struct show *s, const struct conf_listen *l)
{
    s->bullet = true;
    add_pair(s, 2 * STEP, "address", slice_str(l->text));
    if (l->name)
        add_pair(s, 2 * STEP, "name", slice_str(l->name));
    if (l->clients.set)
        show_clients_of(s, 2 * STEP, option("listen.clients"), &l->clients);
    if (l->reasons != REASONS_DEFAULT)
        show_word(s, 2 * STEP, option("listen.reasons"), l->reasons);
}

static void show_listen(struct show *s, const struct option_def *o, const struct conf *c)
{
    bool given = false;

    for (unsigned i = 0; i < c->n_listen; i++)
        given = given || !c->listen[i].dflt;
    if (!given) {
        add_comment(s, 0, o->path, c->n_listen ? o->dflt_says : "sockets that were handed over");
        return;
    }
    text_printf(&s->text, "%s:\n", o->path);
    for (unsigned i = 0; i < c->n_listen; i++)
        if (i == 0 || !is_of_same_item(&c->listen[i - 1], &c->listen[i]))
            show_listener(s, &c->listen[i]);
}

/* ---- logs ---- */

static void show_hosts(struct show *s, unsigned indent, const struct matcher *m)
{
    struct slice name;
    char text[256];
    size_t at = 0;
    bool under;

    begin_list(s, indent, "host");
    if (m->any_host)
        add_item(s, indent, SLICE("any"));
    while (m->hosts && hosts_next(m->hosts, &at, &name, &under)) {
        int n = snprintf(text, sizeof(text), "%s" SLICE_FMT, under ? "." : "", SLICE_ARG(name));

        add_item(s, indent, slice_of(text, (size_t)n));
    }
    add_ranges(s, indent, &m->host_ranges);
    end_list(s);
}

static void show_slices(struct show *s, unsigned indent, const char *key, const struct slice *v,
                        unsigned n)
{
    if (n == 0)
        return;
    begin_list(s, indent, key);
    for (unsigned i = 0; i < n; i++)
        add_item(s, indent, v[i]);
    end_list(s);
}

static void show_ports(struct show *s, unsigned indent, const struct matcher *m)
{
    char text[16];

    if (m->n_ports == 0)
        return;
    begin_list(s, indent, "port");
    for (unsigned i = 0; i < m->n_ports; i++) {
        unsigned first = m->ports[i].first, last = m->ports[i].last;
        int n = first == last ? snprintf(text, sizeof(text), "%u", first)
                              : snprintf(text, sizeof(text), "%u-%u", first, last);

        add_item(s, indent, slice_of(text, (size_t)n));
    }
    end_list(s);
}

static void show_schemes(struct show *s, unsigned indent, uint8_t schemes)
{
    if (!schemes)
        return;
    begin_list(s, indent, "scheme");
    if (schemes & MATCH_HTTP)
        add_item(s, indent, SLICE("http"));
    if (schemes & MATCH_HTTPS)
        add_item(s, indent, SLICE("https"));
    if (schemes & MATCH_CONNECT)
        add_item(s, indent, SLICE("connect"));
    end_list(s);
}

static void show_matcher(struct show *s, unsigned indent, const struct matcher *m)
{
    s->bullet = true;
    if (m->has_host)
        show_hosts(s, indent, m);
    show_ports(s, indent, m);
    show_slices(s, indent, "path", m->paths, m->n_paths);
    show_slices(s, indent, "method", m->methods, m->n_methods);
    show_schemes(s, indent, m->schemes);
    if (m->has_from)
        show_addr_range_list(s, indent, "from", &m->from);
    if (m->has_to)
        show_addr_range_list(s, indent, "to", &m->to);
    show_slices(s, indent, "listener", m->listeners, m->n_listeners);
    if (s->bullet) /* it asks nothing */
        add_pair(s, indent, "host", SLICE("any"));
}

static void sink_text(const struct access_output *o, char *out, size_t cap)
{
    char addr[ADDR_TEXT_MAX];

    out[0] = '\0';
    switch (o->sink) {
    case ACCESS_STDERR:
        snprintf(out, cap, "stderr");
        break;
    case ACCESS_STDOUT:
        snprintf(out, cap, "stdout");
        break;
    case ACCESS_FILE:
        snprintf(out, cap, "%s", o->path);
        break;
    case ACCESS_SYSLOG_UNIX:
        if (o->path && strcmp(o->path, "/dev/log") != 0)
            snprintf(out, cap, "syslog:%s", o->path);
        else
            snprintf(out, cap, "syslog");
        break;
    case ACCESS_SYSLOG_UDP:
        addr_text(&o->udp, addr);
        snprintf(out, cap, "syslog:%s", addr);
        break;
    }
}

static void show_tunnels(struct show *s, unsigned indent, const struct access_output *o)
{
    char every[CONF_VALUE_TEXT], text[CONF_VALUE_TEXT + 8];

    if (o->tunnels != ACCESS_EVERY) {
        show_word(s, indent, option("log.tunnels"), o->tunnels);
        return;
    }
    conf_value_text(OPTION_DURATION, o->every_ms, every);
    snprintf(text, sizeof(text), "every %s", every);
    add_pair(s, indent, "tunnels", slice_str(text));
}

static void show_output(struct show *s, const struct access_output *o)
{
    unsigned indent = 2 * STEP;
    char text[4096 + 16];

    s->bullet = true;
    sink_text(o, text, sizeof(text));
    add_pair(s, indent, "access", slice_str(text));
    show_word(s, indent, option("log.format"), o->layout);
    show_tunnels(s, indent, o);
    if (o->n_where == 0)
        return;
    text_printf(&s->text, "%*sfor:\n", (int)indent, "");
    for (unsigned i = 0; i < o->n_where; i++)
        show_matcher(s, indent + 2 * STEP, &o->where[i]);
}

static void show_log(struct show *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:\n", o->path);
    for (unsigned i = 0; i < c->n_outputs; i++)
        show_output(s, &c->outputs[i]);
    if (c->n_outputs == 0) {
        s->bullet = true;
        add_pair(s, 2 * STEP, "access", SLICE("off"));
    }
    show_word(s, 2 * STEP, option("log.level"), c->log_level);
}

/* ---- ways ---- */

static void show_bind(struct show *s, unsigned indent, const struct route *r)
{
    begin_list(s, indent, "bind");
    for (unsigned i = 0; i < r->n_bind; i++) {
        const struct addr_range *range = &r->bind[i];
        unsigned length = (unsigned)(__builtin_popcountll(range->mask_hi) +
                                     __builtin_popcountll(range->mask_lo));

        add_prefix(s, indent, (wide)range->hi << 64 | range->lo, range->v4 ? length - 96 : length,
                   range->v4);
    }
    end_list(s);
}

static void show_upstream(struct show *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:%s\n", o->path, c->n_routes ? "" : " []");
    for (unsigned i = 0; i < c->n_routes; i++) {
        const struct route *r = &c->routes[i];

        s->bullet = true;
        show_bind(s, 2 * STEP, r);
        if (r->n_where == 0)
            continue;
        text_printf(&s->text, "%*sfor:\n", 2 * STEP, "");
        for (unsigned k = 0; k < r->n_where; k++)
            show_matcher(s, 4 * STEP, &r->where[k]);
    }
}

/* ---- the whole ---- */

static void show_section(struct show *s, const struct option_def *section, const struct conf *c)
{
    text_printf(&s->text, "%s:\n", section->path);
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table_in(section, &conf_table[i]) && !conf_table[i].unbuilt)
            show_leaf(s, STEP, &conf_table[i], c);
}

static void show_head(struct show *s, const struct conf *c)
{
    if (!c->file) {
        add(s, SLICE("# no configuration file: the defaults\n"));
        return;
    }
    add(s, SLICE("# "));
    text_operator(&s->text, slice_str(c->file));
    add(s, SLICE(", completed with the defaults\n"));
}

char *conf_show(const struct conf *c, size_t *ret_n)
{
    struct show s = {0};

    show_head(&s, c);
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];

        if (!conf_table_in(NULL, o) || o->unbuilt)
            continue;
        if (o->type == OPTION_LISTEN)
            show_listen(&s, o, c);
        else if (o->type == OPTION_ENTRY)
            show_upstream(&s, o, c);
        else if (o->type == OPTION_SECTION && o->list)
            show_log(&s, o, c);
        else if (o->type == OPTION_SECTION)
            show_section(&s, o, c);
        else
            show_leaf(&s, 0, o, c);
    }
    return text_take(&s.text, ret_n);
}

/* ---- the defaults, from the table alone ---- */

static void show_default(struct show *s, unsigned indent, const struct option_def *o)
{
    if (o->dflt)
        add_pair(s, indent, conf_table_key(o), slice_str(o->dflt));
    else
        add_comment(s, indent, conf_table_key(o), o->dflt_says ? o->dflt_says : "none");
}

char *conf_show_defaults(size_t *ret_n)
{
    struct show s = {0};

    add(&s, SLICE("# the defaults\n"));
    for (unsigned i = 0; i < conf_table_n; i++) {
        const struct option_def *o = &conf_table[i];

        if (!conf_table_in(NULL, o) || o->unbuilt)
            continue;
        if (o->type != OPTION_SECTION) {
            show_default(&s, 0, o);
            continue;
        }
        text_printf(&s.text, "%s:\n", o->path);
        for (unsigned j = 0; j < conf_table_n; j++)
            if (conf_table_in(o, &conf_table[j]) && !conf_table[j].unbuilt)
                show_default(&s, STEP, &conf_table[j]);
    }
    return text_take(&s.text, ret_n);
}
