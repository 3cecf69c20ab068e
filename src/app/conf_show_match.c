/* SPDX-License-Identifier: MIT */
/* conf_show_match: each word of a matcher by its key, in the order in which it is asked about. Included list files are shown as what they held.
 */
#include "app/conf_show_match.h"

#include <stdio.h>

static void add_names(struct conf_out *s, unsigned indent, const struct hosts *h)
{
    struct slice name;
    char text[256];
    size_t at = 0;
    bool under;

    while (h && hosts_next(h, &at, &name, &under)) {
        int n = snprintf(text, sizeof(text), "%s" SLICE_FMT, under ? "." : "", SLICE_ARG(name));

        conf_out_item(s, indent, slice_of(text, (size_t)n));
    }
}

static void show_hosts(struct conf_out *s, unsigned indent, const struct matcher *m)
{
    conf_out_list(s, indent, "host");
    if (m->any_host)
        conf_out_item(s, indent, SLICE("any"));
    add_names(s, indent, m->hosts);
    conf_out_ranges(s, indent, &m->host_ranges);
    conf_out_end(s);
}

static void show_slices(struct conf_out *s, unsigned indent, const char *key, const struct slice *v,
                        unsigned n)
{
    if (n == 0)
        return;
    conf_out_list(s, indent, key);
    for (unsigned i = 0; i < n; i++)
        conf_out_item(s, indent, v[i]);
    conf_out_end(s);
}

static void show_texts(struct conf_out *s, unsigned indent, const char *key, const struct matcher_text *v, unsigned n)
{
    if (n == 0)
        return;
    conf_out_list(s, indent, key);
    for (unsigned i = 0; i < n; i++)
        conf_out_item(s, indent, v[i].text);
    conf_out_end(s);
}

void conf_show_ports(struct conf_out *s, unsigned indent, const char *key,
                           const struct matcher_ports *v, unsigned n_ports)
{
    char text[16];

    if (n_ports == 0)
        return;
    conf_out_list(s, indent, key);
    for (unsigned i = 0; i < n_ports; i++) {
        unsigned first = v[i].first, last = v[i].last;
        int n = first == last ? snprintf(text, sizeof(text), "%u", first)
                              : snprintf(text, sizeof(text), "%u-%u", first, last);

        conf_out_item(s, indent, slice_of(text, (size_t)n));
    }
    conf_out_end(s);
}

static void show_user_names(struct conf_out *s, unsigned indent, const struct matcher *m)
{
    if (!m->n_users && !m->any_user)
        return;
    conf_out_list(s, indent, "user");
    if (m->any_user)
        conf_out_item(s, indent, SLICE("any"));
    for (unsigned i = 0; i < m->n_users; i++)
        conf_out_item(s, indent, m->users[i]);
    conf_out_end(s);
}

static void show_fields(struct conf_out *s, unsigned indent, const struct matcher *m)
{
    char name[256];

    if (m->n_fields == 0)
        return;
    conf_out_key(s, indent, "header");
    conf_out_add(s, SLICE("\n"));
    for (unsigned i = 0; i < m->n_fields; i++) {
        const struct matcher_field *f = &m->fields[i];

        snprintf(name, sizeof(name), SLICE_FMT, SLICE_ARG(f->name));
        if (f->n == 0)
            conf_out_pair(s, indent + CONF_OUT_STEP, name, SLICE("any"));
        else
            show_texts(s, indent + CONF_OUT_STEP, name, f->values, f->n);
    }
}

/* Days that follow each other are an item. */
static void show_time(struct conf_out *s, unsigned indent, const struct matcher_time *t)
{
    static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    char hours[32], text[48];

    snprintf(hours, sizeof(hours), "%02u:%02u-%02u:%02u", t->from / 60, t->from % 60, t->to / 60, t->to % 60);
    for (unsigned day = 0; day < ARRAY_LEN(days); day++) {
        unsigned last = day;

        if (!(t->days >> day & 1))
            continue;
        while (last + 1 < ARRAY_LEN(days) && t->days >> (last + 1) & 1)
            last++;
        snprintf(text, sizeof(text), "%s%s%s %s", days[day], last > day ? "-" : "", last > day ? days[last] : "", hours);
        conf_out_item(s, indent, slice_str(text));
        day = last;
    }
}

static void show_times(struct conf_out *s, unsigned indent, const struct matcher *m)
{
    if (m->n_times == 0)
        return;
    conf_out_list(s, indent, "time");
    for (unsigned i = 0; i < m->n_times; i++)
        show_time(s, indent, &m->times[i]);
    conf_out_end(s);
}

static void show_snis(struct conf_out *s, unsigned indent, const struct matcher *m)
{
    if (!m->snis)
        return;
    conf_out_list(s, indent, "sni");
    add_names(s, indent, m->snis);
    conf_out_end(s);
}

static void show_schemes(struct conf_out *s, unsigned indent, uint8_t schemes)
{
    if (!schemes)
        return;
    conf_out_list(s, indent, "scheme");
    if (schemes & MATCH_HTTP)
        conf_out_item(s, indent, SLICE("http"));
    if (schemes & MATCH_HTTPS)
        conf_out_item(s, indent, SLICE("https"));
    if (schemes & MATCH_CONNECT)
        conf_out_item(s, indent, SLICE("connect"));
    conf_out_end(s);
}

/* The words but for `except`. */
void conf_show_words(struct conf_out *s, unsigned indent, const struct matcher *m)
{
    if (m->has_host)
        show_hosts(s, indent, m);
    conf_show_ports(s, indent, "port", m->ports, m->n_ports);
    show_texts(s, indent, "path", m->paths, m->n_paths);
    show_slices(s, indent, "method", m->methods, m->n_methods);
    show_schemes(s, indent, m->schemes);
    if (m->has_from)
        conf_out_range_list(s, indent, "from", &m->from);
    if (m->has_to)
        conf_out_range_list(s, indent, "to", &m->to);
    show_slices(s, indent, "listener", m->listeners, m->n_listeners);
    show_user_names(s, indent, m);
    show_slices(s, indent, "group", m->groups, m->n_groups);
    show_slices(s, indent, "label", m->labels, m->n_labels);
    show_fields(s, indent, m);
    show_times(s, indent, m);
    show_snis(s, indent, m);
}

/* One without `except`. */
static void show_simple(struct conf_out *s, unsigned indent, const struct matcher *m)
{
    s->bullet = true;
    conf_show_words(s, indent, m);
    if (s->bullet) /* it asks nothing */
        conf_out_pair(s, indent, "host", SLICE("any"));
}

void conf_show_except(struct conf_out *s, unsigned indent, const struct matcher *m)
{
    if (m->n_except == 0)
        return;
    conf_out_key(s, indent, "except");
    conf_out_add(s, SLICE("\n"));
    for (unsigned i = 0; i < m->n_except; i++)
        show_simple(s, indent + 2 * CONF_OUT_STEP, &m->except[i]);
}

void conf_show_matchers(struct conf_out *s, unsigned indent, const char *key, const struct matcher *v, unsigned n)
{
    conf_out_key(s, indent, key);
    conf_out_add(s, SLICE("\n"));
    for (unsigned i = 0; i < n; i++) {
        s->bullet = true;
        conf_show_words(s, indent + 2 * CONF_OUT_STEP, &v[i]);
        conf_show_except(s, indent + 2 * CONF_OUT_STEP, &v[i]);
        if (s->bullet)
            conf_out_pair(s, indent + 2 * CONF_OUT_STEP, "host", SLICE("any"));
    }
}
