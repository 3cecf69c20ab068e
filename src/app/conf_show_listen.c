/* SPDX-License-Identifier: MIT */
/* conf_show_listen: listeners, with their TLS and their users, as they would be written. Called by conf_show. Names, hashes and keys stay in their files.
 */
#include "app/conf_show_parts.h"

#include "app/conf_shapes.h"
#include "app/conf_value.h"

#include <stdio.h>

/* ---- users ---- */

static void show_duration(struct conf_out *s, unsigned indent, const char *key, uint64_t ms)
{
    char text[CONF_VALUE_TEXT];

    conf_value_text(OPTION_DURATION, ms, text);
    conf_out_pair(s, indent, key, slice_str(text));
}

static void show_program(struct conf_out *s, unsigned indent, const struct users *u)
{
    char number[16];

    conf_out_list(s, indent, "command");
    for (unsigned i = 0; u->argv[i]; i++)
        conf_out_item(s, indent, slice_str(u->argv[i]));
    conf_out_end(s);
    snprintf(number, sizeof(number), "%u", u->children);
    conf_out_pair(s, indent, "children", slice_str(number));
    snprintf(number, sizeof(number), "%u", u->concurrency);
    conf_out_pair(s, indent, "concurrency", slice_str(number));
    show_duration(s, indent, "timeout", u->timeout_ms);
}

/* Names and hashes stay in their files. */
void conf_show_users(struct conf_out *s, unsigned indent, const struct users *u)
{
    text_printf(&s->text, "%*susers:\n", (int)indent, "");
    indent += CONF_OUT_STEP;
    if (u->file)
        conf_out_pair(s, indent, "file", slice_str(u->file));
    if (u->by_program)
        show_program(s, indent, u);
    if (u->groups_file)
        conf_out_pair(s, indent, "groups", slice_str(u->groups_file));
    conf_out_pair(s, indent, "ask", u->when_needed ? SLICE("when-needed") : SLICE("always"));
    show_duration(s, indent, "cache", u->cache_ms);
}

/* ---- TLS ---- */

static void show_files(struct conf_out *s, unsigned indent, const struct conf_tls_files *f)
{
    conf_out_pair(s, indent, "cert", slice_str(f->cert));
    if (f->key)
        conf_out_pair(s, indent, "key", slice_str(f->key));
    if (f->staple)
        conf_out_pair(s, indent, "ocsp", slice_str(f->staple));
}

static void show_tls_clients(struct conf_out *s, unsigned indent, const struct conf_tls *t)
{
    if (!t->clients)
        return;
    conf_out_pair(s, indent, "client-ca", slice_str(t->client_ca_file));
    conf_show_shape_word(s, indent, &conf_shape_listen_tls, "client", t->clients);
    conf_show_shape_word(s, indent, &conf_shape_listen_tls, "client-name", t->names.part);
    if (t->map_file)
        conf_out_pair(s, indent, "client-map", slice_str(t->map_file));
}

static void show_tls(struct conf_out *s, unsigned indent, const struct conf_tls *t)
{
    text_printf(&s->text, "%*stls:\n", (int)indent, "");
    indent += CONF_OUT_STEP;
    if (t->self_signed)
        conf_out_pair(s, indent, "auto", SLICE("on"));
    else
        show_files(s, indent, &t->files[0]);
    if (t->n_pairs > 1) {
        text_printf(&s->text, "%*smore:\n", (int)indent, "");
        for (unsigned i = 1; i < t->n_pairs; i++) {
            s->bullet = true;
            show_files(s, indent + 2 * CONF_OUT_STEP, &t->files[i]);
        }
    }
    show_tls_clients(s, indent, t);
    conf_show_shape_word(s, indent, &conf_shape_listen_tls, "min", t->min);
    conf_show_alpn(s, indent, t->alpn);
    if (t->tickets == CONF_TICKETS_FILE)
        conf_out_pair(s, indent, "tickets", slice_str(t->tickets_file));
    else
        conf_show_shape_word(s, indent, &conf_shape_listen_tls, "tickets", t->tickets);
    conf_out_pair(s, indent, "clear", t->clear ? SLICE("on") : SLICE("off"));
}

/* ---- the listener ---- */

static void show_balancers(struct conf_out *s, unsigned indent, const struct ranges *from)
{
    text_printf(&s->text, "%*sproxy-protocol:\n", (int)indent, "");
    conf_out_range_list(s, indent + CONF_OUT_STEP, "from", from);
}

/* localhost is one item in the file and two listeners in the conf. */
static bool is_of_same_item(const struct conf_listen *a, const struct conf_listen *b)
{
    return strcmp(a->text, b->text) == 0 && a->place && b->place && strcmp(a->place, b->place) == 0;
}

static void show_listener(struct conf_out *s, const struct conf_listen *l)
{
    s->bullet = true;
    conf_out_pair(s, 2 * CONF_OUT_STEP, "address", slice_str(l->text));
    if (l->name)
        conf_out_pair(s, 2 * CONF_OUT_STEP, "name", slice_str(l->name));
    if (l->clients.set)
        conf_show_clients(s, 2 * CONF_OUT_STEP, conf_show_option("listen.clients"), &l->clients);
    if (l->users)
        conf_show_users(s, 2 * CONF_OUT_STEP, l->users);
    if (l->reasons != REASONS_DEFAULT)
        conf_show_word(s, 2 * CONF_OUT_STEP, conf_show_option("listen.reasons"), l->reasons);
    if (l->tls)
        show_tls(s, 2 * CONF_OUT_STEP, l->tls);
    if (l->proxy_from)
        show_balancers(s, 2 * CONF_OUT_STEP, l->proxy_from);
}

void conf_show_listen(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    bool given = false;

    for (unsigned i = 0; i < c->n_listen; i++)
        given = given || !c->listen[i].dflt;
    if (!given) {
        conf_out_comment(s, 0, o->path, c->n_listen ? o->dflt_says : "sockets that were handed over");
        return;
    }
    text_printf(&s->text, "%s:\n", o->path);
    for (unsigned i = 0; i < c->n_listen; i++)
        if (i == 0 || !is_of_same_item(&c->listen[i - 1], &c->listen[i]))
            show_listener(s, &c->listen[i]);
}
