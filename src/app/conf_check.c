/* SPDX-License-Identifier: MIT */
/* conf_check: values against each other. Called by conf once everything is read and the command
 * line has had its say. Its most important line: nobody runs an open proxy without having written
 * it.
 */
#include "app/conf_check.h"

#include "app/conf_lint.h"
#include "app/conf_lint_upstream.h"
#include "app/conf_value.h"

static bool is_local(const struct conf_listen *l)
{
    return l->kind == CONF_LISTEN_UNIX || addr_is_loopback(&l->addr);
}

static size_t at_of(const struct conf_build *b, const char *path)
{
    return b->at[conf_table_index(conf_table_find(slice_str(path)))];
}

/* Whether everybody is asked who it is. Where that is only done when a rule needs it, the rules say who may pass without. */
static bool asks(const struct conf *c, unsigned i)
{
    const struct users *u = c->listen[i].users ? c->listen[i].users : c->users;

    return u && (!u->when_needed || c->has_rules);
}

/* Whom a certificate has let in is as good as admitted. */
static bool wants_certs(const struct conf_listen *l)
{
    return l->tls && l->tls->clients == TLS_CLIENT_REQUIRED && !l->tls->clear;
}

static void check_open(struct conf_build *b)
{
    const struct conf *c = b->conf;
    bool unclear = !c->users && at_of(b, "users") != CONF_AT_NONE; /* what is wrong with it has been said */

    for (unsigned i = 0; i < c->n_listen && !unclear; i++)
        if (!is_local(&c->listen[i]) && !c->clients.set && !c->listen[i].clients.set && !asks(c, i) &&
            !wants_certs(&c->listen[i]) && !b->tls_wrong[i])
            conf_report_add(b->report, b->listen_at[i],
                            "write `clients: [10.0.0.0/8]` (or `clients: any` for an open proxy)",
                            "%s can be reached from other machines, and neither `clients` nor `users` is set",
                            conf_report_quote(b->report, slice_str(c->listen[i].text)));
}

static bool same_address(const struct conf_listen *x, const struct conf_listen *y)
{
    if (x->kind != y->kind)
        return false;
    if (x->kind == CONF_LISTEN_UNIX)
        return strcmp(x->path, y->path) == 0;
    return addr_eq(&x->addr, &y->addr) && addr_port(&x->addr);
}

static bool is_repeated(const struct conf *c, unsigned i)
{
    for (unsigned j = 0; j < i; j++)
        if (same_address(&c->listen[i], &c->listen[j]))
            return true;
    return false;
}

/* localhost is two addresses, and written twice still one mistake. */
static bool same_item(const struct conf_build *b, unsigned i, unsigned j)
{
    return b->listen_at[i] == b->listen_at[j] &&
           strcmp(b->conf->listen[i].text, b->conf->listen[j].text) == 0;
}

static void check_repeated(struct conf_build *b)
{
    const struct conf *c = b->conf;

    for (unsigned i = 1; i < c->n_listen; i++) {
        const struct conf_listen *l = &c->listen[i];
        char text[ADDR_TEXT_MAX];

        if (!is_repeated(c, i) || (is_repeated(c, i - 1) && same_item(b, i, i - 1)))
            continue;
        if (l->kind == CONF_LISTEN_TCP)
            addr_text(&l->addr, text);
        conf_report_add(
            b->report, b->listen_at[i], "remove one of the two", "%s is listened on twice",
            l->kind == CONF_LISTEN_TCP ? text : conf_report_quote(b->report, slice_str(l->text)));
    }
}

static void check_admin(struct conf_build *b)
{
    const struct conf *c = b->conf;

    for (unsigned i = 0; i < c->n_admin; i++)
        for (unsigned j = 0; j < c->n_listen; j++) {
            char text[ADDR_TEXT_MAX];

            if (c->listen[j].kind != CONF_LISTEN_TCP || !addr_port(&c->admin[i]) ||
                !addr_eq(&c->admin[i], &c->listen[j].addr))
                continue;
            addr_text(&c->admin[i], text);
            conf_report_add(b->report, b->admin_at[i], "give it a port of its own",
                            "clients use %s, and `admin` too", text);
        }
}

/* A name is an item's; the two listeners of localhost share theirs. */
static void check_names(struct conf_build *b)
{
    const struct conf *c = b->conf;

    for (unsigned i = 1; i < c->n_listen; i++)
        for (unsigned j = 0; j < i && c->listen[i].name; j++) {
            if (!c->listen[j].name || strcmp(c->listen[i].name, c->listen[j].name) != 0 ||
                b->listen_name_at[i] == b->listen_name_at[j])
                continue;
            conf_report_add(b->report, b->listen_name_at[i],
                            conf_report_say(b->report, "it stands in %s already",
                                            conf_report_where(b->report, b->listen_name_at[j],
                                                              b->listen_name_at[i])),
                            "two listeners have the name %s",
                            conf_report_quote(b->report, slice_str(c->listen[i].name)));
            break;
        }
}

static void check_sizes(struct conf_build *b)
{
    unsigned line_i = conf_table_index(conf_table_find(SLICE("sizes.line")));
    unsigned head_i = conf_table_index(conf_table_find(SLICE("sizes.head")));
    char line[CONF_VALUE_TEXT], head[CONF_VALUE_TEXT];

    if (b->wrong[line_i] || b->wrong[head_i] ||
        b->conf->proxy.sizes.line <= b->conf->proxy.sizes.head)
        return;
    conf_value_text(OPTION_SIZE, b->conf->proxy.sizes.line, line);
    conf_value_text(OPTION_SIZE, b->conf->proxy.sizes.head, head);
    conf_report_add(b->report, b->at[line_i] != CONF_AT_NONE ? b->at[line_i] : b->at[head_i],
                    "the head contains the line", "`line` is %s, more than `head`, which is %s",
                    line, head);
}

static void check_windows(struct conf_build *b)
{
    unsigned window_i = conf_table_index(conf_table_find(SLICE("h2.window")));
    unsigned max_i = conf_table_index(conf_table_find(SLICE("h2.window-max")));
    char window[CONF_VALUE_TEXT], max[CONF_VALUE_TEXT];

    if (b->wrong[window_i] || b->wrong[max_i] || b->conf->proxy.h2.window <= b->conf->proxy.h2.window_max)
        return;
    conf_value_text(OPTION_SIZE, b->conf->proxy.h2.window, window);
    conf_value_text(OPTION_SIZE, b->conf->proxy.h2.window_max, max);
    conf_report_add(b->report, b->at[window_i] != CONF_AT_NONE ? b->at[window_i] : b->at[max_i], "windows only grow",
                    "`window` is %s, more than `window-max`, which is %s", window, max);
}

/* ---- legal, and probably not meant ---- */

static void lint_open(struct conf_build *b)
{
    const struct conf *c = b->conf;

    for (unsigned i = 0; i < c->n_listen; i++) {
        const struct conf_clients *k =
            c->listen[i].clients.set ? &c->listen[i].clients : &c->clients;

        if (!is_local(&c->listen[i]) && k->any && !asks(c, i) && !wants_certs(&c->listen[i]))
            conf_report_add(b->warnings, b->listen_at[i], "write the ranges of those it is for",
                            "everybody who reaches %s may use it: an open proxy",
                            conf_report_quote(b->warnings, slice_str(c->listen[i].text)));
    }
}

static void lint_admin(struct conf_build *b)
{
    const struct conf *c = b->conf;

    for (unsigned i = 0; i < c->n_admin; i++)
        if (!addr_is_loopback(&c->admin[i]))
            conf_report_add(b->warnings, b->admin_at[i],
                            "an address of loopback is for this machine",
                            "`admin` can be read from other machines: it asks nobody who they are");
}

static void lint_values(struct conf_build *b)
{
    const struct proxy_conf *p = &b->conf->proxy;
    size_t idle_at = at_of(b, "timeouts.idle"), tunnel_at = at_of(b, "timeouts.tunnel");

    if (!p->via)
        conf_report_add(b->warnings, at_of(b, "via"),
                        "loops are then found by ginnel's own addresses only",
                        "`via: off` is a deviation from RFC 9110");
    if (p->timeouts.idle > p->timeouts.tunnel)
        conf_report_add(b->warnings, idle_at != CONF_AT_NONE ? idle_at : tunnel_at,
                        "tunnels are mostly allowed to be quiet for longer",
                        "`idle` is longer than `tunnel`");
}

void conf_check(struct conf_build *b)
{
    check_open(b);
    check_repeated(b);
    check_names(b);
    check_admin(b);
    check_sizes(b);
    check_windows(b);
    conf_lint_upstream_loops(b);
    lint_open(b);
    lint_admin(b);
    lint_values(b);
    conf_lint_rules(b);
    conf_lint_upstream(b);
}
