/* SPDX-License-Identifier: MIT */
/* conf_cover: sets against sets. Called by conf_lint for pairs of rules. A rule is destinations (any of them) and words beside them (all of them): one
 * covers another if each destination of that one, together with its words, is inside one of its own. A word inside a word is a subset; what cannot be
 * compared (expressions, exceptions of the wider one) counts as not covered.
 */
#include "app/conf_cover.h"

#include <stdio.h>

enum { NAMES_MAX = 2000 }; /* of one destination that are compared */

/* A destination and what stands beside it; with may be NULL. */
struct side {
    const struct matcher *at, *with;
};

static bool spend(struct conf_cover *c, unsigned n)
{
    if (c->budget < n) {
        c->budget = 0;
        return false;
    }
    c->budget -= n;
    return true;
}

/* ---- names ---- */

/* A suffix is inside another suffix only: a name below it that nobody has written tells. */
static bool has_name(const struct hosts *h, struct slice name, bool suffix)
{
    char below[300];
    int n;

    if (!suffix)
        return hosts_has(h, name);
    n = snprintf(below, sizeof(below), "~." SLICE_FMT, SLICE_ARG(name));
    return n > 0 && n <= 254 && hosts_has(h, slice_of(below, (size_t)n));
}

static bool hosts_inside(struct conf_cover *c, const struct hosts *wide, const struct hosts *narrow)
{
    struct slice name;
    size_t at = 0;
    bool suffix;

    if (!narrow || hosts_count(narrow) == 0)
        return true;
    if (!wide || hosts_count(narrow) > NAMES_MAX)
        return false;
    while (hosts_next(narrow, &at, &name, &suffix))
        if (!spend(c, 1) || !has_name(wide, name, suffix))
            return false;
    return true;
}

/* ---- ranges ---- */

static bool v4_inside(const struct ranges *wide, const struct ranges_v4 *r)
{
    for (size_t i = 0; i < wide->n4; i++)
        if (wide->v4[i].first <= r->first && r->last <= wide->v4[i].last)
            return true;
    return false;
}

static bool v6_le(uint64_t ah, uint64_t al, uint64_t bh, uint64_t bl)
{
    return ah < bh || (ah == bh && al <= bl);
}

static bool v6_inside(const struct ranges *wide, const struct ranges_v6 *r)
{
    for (size_t i = 0; i < wide->n6; i++) {
        const struct ranges_v6 *w = &wide->v6[i];

        if (v6_le(w->first_hi, w->first_lo, r->first_hi, r->first_lo) && v6_le(r->last_hi, r->last_lo, w->last_hi, w->last_lo))
            return true;
    }
    return false;
}

static bool ranges_inside(struct conf_cover *c, const struct ranges *wide, const struct ranges *narrow)
{
    if (narrow->n4 + narrow->n6 > NAMES_MAX || wide->n4 + wide->n6 > NAMES_MAX)
        return false;
    for (size_t i = 0; i < narrow->n4; i++)
        if (!spend(c, (unsigned)wide->n4 + 1) || !v4_inside(wide, &narrow->v4[i]))
            return false;
    for (size_t i = 0; i < narrow->n6; i++)
        if (!spend(c, (unsigned)wide->n6 + 1) || !v6_inside(wide, &narrow->v6[i]))
            return false;
    return true;
}

/* ---- lists ---- */

static bool ports_inside(const struct matcher *wide, const struct matcher *narrow)
{
    for (unsigned i = 0; i < narrow->n_ports; i++) {
        bool inside = false;

        for (unsigned k = 0; k < wide->n_ports; k++)
            inside = inside || (wide->ports[k].first <= narrow->ports[i].first && narrow->ports[i].last <= wide->ports[k].last);
        if (!inside)
            return false;
    }
    return narrow->n_ports > 0;
}

static bool slices_inside(const struct slice *wide, unsigned n_wide, const struct slice *narrow, unsigned n_narrow)
{
    for (unsigned i = 0; i < n_narrow; i++) {
        bool inside = false;

        for (unsigned k = 0; k < n_wide; k++)
            inside = inside || slice_eq(wide[k], narrow[i]);
        if (!inside)
            return false;
    }
    return n_narrow > 0;
}

static bool text_inside(const struct matcher_text *wide, const struct matcher_text *narrow, bool prefix)
{
    if (wide->regex || narrow->regex || !prefix)
        return !wide->regex == !narrow->regex && slice_eq(wide->text, narrow->text);
    return wide->text.n <= narrow->text.n && slice_eq(wide->text, slice_of(narrow->text.p, wide->text.n));
}

static bool texts_inside(const struct matcher_text *wide, unsigned n_wide, const struct matcher_text *narrow, unsigned n_narrow, bool prefix)
{
    for (unsigned i = 0; i < n_narrow; i++) {
        bool inside = false;

        for (unsigned k = 0; k < n_wide; k++)
            inside = inside || text_inside(&wide[k], &narrow[i], prefix);
        if (!inside)
            return false;
    }
    return n_narrow > 0;
}

static bool times_inside(const struct matcher *wide, const struct matcher *narrow)
{
    for (unsigned i = 0; i < narrow->n_times; i++) {
        const struct matcher_time *n = &narrow->times[i];
        bool inside = false;

        for (unsigned k = 0; k < wide->n_times; k++) {
            const struct matcher_time *w = &wide->times[k];

            inside = inside || (!(n->days & ~w->days) && ((w->from == n->from && w->to == n->to) || (w->from < w->to && n->from < n->to &&
                                                                                                   w->from <= n->from && n->to <= w->to)));
        }
        if (!inside)
            return false;
    }
    return narrow->n_times > 0;
}

static bool field_implied(const struct matcher_field *want, const struct matcher *narrow)
{
    for (unsigned i = 0; i < narrow->n_fields; i++) {
        const struct matcher_field *f = &narrow->fields[i];

        if (slice_eq_nocase(f->name, want->name) && (!want->n || texts_inside(want->values, want->n, f->values, f->n, false)))
            return true;
    }
    return false;
}

/* ---- words: whether what `wide` asks follows from `narrow` ---- */

static bool host_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    if (!wide->has_host || wide->any_host)
        return true;
    return narrow->has_host && !narrow->any_host && hosts_inside(c, wide->hosts, narrow->hosts) &&
           ranges_inside(c, &wide->host_ranges, &narrow->host_ranges);
}

static bool from_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    return !wide->has_from || (narrow->has_from && ranges_inside(c, &wide->from, &narrow->from));
}

static bool to_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    return !wide->has_to || (narrow->has_to && ranges_inside(c, &wide->to, &narrow->to));
}

static bool sni_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    return !wide->snis || (narrow->snis && hosts_inside(c, wide->snis, narrow->snis));
}

static bool port_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    for (unsigned i = 0; i < wide->n_ports; i++)
        if (wide->ports[i].first <= 1 && wide->ports[i].last == UINT16_MAX)
            return true;
    return !wide->n_ports || ports_inside(wide, narrow);
}

static bool user_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    if (wide->any_user)
        return narrow->n_users || narrow->any_user;
    return !wide->n_users || (!narrow->any_user && slices_inside(wide->users, wide->n_users, narrow->users, narrow->n_users));
}

static bool group_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    return !wide->n_groups || slices_inside(wide->groups, wide->n_groups, narrow->groups, narrow->n_groups);
}

static bool label_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    return !wide->n_labels || slices_inside(wide->labels, wide->n_labels, narrow->labels, narrow->n_labels);
}

static bool listener_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    return !wide->n_listeners || slices_inside(wide->listeners, wide->n_listeners, narrow->listeners, narrow->n_listeners);
}

static bool method_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    return !wide->n_methods || slices_inside(wide->methods, wide->n_methods, narrow->methods, narrow->n_methods);
}

static bool path_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    return !wide->n_paths || texts_inside(wide->paths, wide->n_paths, narrow->paths, narrow->n_paths, true);
}

static bool scheme_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    return !wide->schemes || (narrow->schemes && !(narrow->schemes & ~wide->schemes));
}

static bool time_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    return !wide->n_times || times_inside(wide, narrow);
}

static bool header_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    for (unsigned i = 0; i < wide->n_fields; i++)
        if (!field_implied(&wide->fields[i], narrow))
            return false;
    return true;
}

static bool except_follows(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow)
{
    (void)c;
    (void)narrow;
    return !wide->n_except;
}

static bool (*const words[])(struct conf_cover *c, const struct matcher *wide, const struct matcher *narrow) = {
    except_follows, port_follows, scheme_follows, method_follows, listener_follows, user_follows, group_follows, label_follows,
    time_follows, path_follows, header_follows, from_follows, to_follows, sni_follows, host_follows,
};

/* Each word follows from the destination or from what stands beside it. */
static bool matcher_follows(struct conf_cover *c, const struct matcher *wide, const struct side *narrow, bool any_port)
{
    for (size_t i = 0; wide && i < ARRAY_LEN(words); i++) {
        if (any_port && words[i] == port_follows)
            continue;
        if (!words[i](c, wide, narrow->at) && !(narrow->with && words[i](c, wide, narrow->with)))
            return false;
    }
    return true;
}

/* ---- rules ---- */

/* What an allow cannot know it does not match, and a deny does: then the wider one is not wider. */
static bool asks_hidden(const struct matcher *m)
{
    return m && (m->n_paths || m->n_fields || m->n_methods || m->n_labels);
}

static bool differ(const struct rule *by, const struct rule *r, enum conf_cover_what what)
{
    if (by->kind != RULE_ALLOW || r->kind != RULE_DENY)
        return false;
    for (unsigned i = 0; i < by->n_where; i++)
        if (asks_hidden(&by->where[i]))
            return true;
    /* A range in a deny is about names, too. */
    for (unsigned i = 0; i < r->n_where && what != COVER_LITERAL; i++)
        if (!ranges_empty(&r->where[i].host_ranges))
            return true;
    return asks_hidden(by->with);
}

static bool destination_covered(struct conf_cover *c, const struct rule *by, const struct side *narrow, bool any_port)
{
    if (!matcher_follows(c, by->with, narrow, any_port))
        return false;
    for (unsigned i = 0; i < by->n_where; i++)
        if (spend(c, 1) && matcher_follows(c, &by->where[i], narrow, any_port))
            return true;
    return false;
}

/* An empty list: nothing is in it, and that is another matter. */
static bool is_nobody(const struct matcher *m)
{
    return m->has_host && !m->any_host && ranges_empty(&m->host_ranges) && (!m->hosts || hosts_count(m->hosts) == 0);
}

bool conf_cover_rule(struct conf_cover *c, const struct rule *by, const struct rule *r, enum conf_cover_what what)
{
    bool any_port = what != COVER_ALL;

    if (differ(by, r, what) || (any_port && !c->budget))
        return false;
    for (unsigned i = 0; i < r->n_where; i++) {
        struct side narrow = {&r->where[i], r->with};

        if (any_port && (r->where[i].n_ports || (r->with && r->with->n_ports)))
            return false;
        if (is_nobody(narrow.at) || !destination_covered(c, by, &narrow, any_port))
            return false;
    }
    return r->n_where > 0;
}

unsigned conf_cover_names(struct conf_cover *c, const struct rule *by, const struct rule *r, unsigned k, char *out, size_t cap)
{
    const struct matcher *m = &r->where[k];
    struct matcher one = *m;
    struct side narrow = {&one, r->with};
    struct slice name;
    size_t at = 0;
    unsigned n = 0;
    bool suffix;

    if (differ(by, r, COVER_ALL) || m->any_host || !m->hosts || hosts_count(m->hosts) > NAMES_MAX)
        return 0;
    while (hosts_next(m->hosts, &at, &name, &suffix)) {
        bool covered = false;

        one.hosts = NULL;
        one.host_ranges = (struct ranges){0};
        /* Everything but the name first: what is left is a look into a table. */
        for (unsigned i = 0; i < by->n_where && spend(c, 1) && !covered; i++) {
            const struct matcher *w = &by->where[i];

            covered = (!w->has_host || w->any_host || (w->hosts && has_name(w->hosts, name, suffix))) && matcher_follows(c, w, &narrow, false);
        }
        if (!covered || !matcher_follows(c, by->with, &narrow, false))
            continue;
        if (n++ == 0 && cap)
            snprintf(out, cap, "%s" SLICE_FMT, suffix ? "." : "", SLICE_ARG(name));
    }
    return n;
}
