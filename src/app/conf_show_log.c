/* SPDX-License-Identifier: MIT */
/* conf_show_log: logs, as they would be written. Called by conf_show.
 */
#include "app/conf_show_parts.h"

#include "app/conf_show_match.h"
#include "app/conf_value.h"

#include <stdio.h>

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

static void show_tunnels(struct conf_out *s, unsigned indent, const struct access_output *o)
{
    char every[CONF_VALUE_TEXT], text[CONF_VALUE_TEXT + 8];

    if (o->tunnels != ACCESS_EVERY) {
        conf_show_word(s, indent, conf_show_option("log.tunnels"), o->tunnels);
        return;
    }
    conf_value_text(OPTION_DURATION, o->every_ms, every);
    snprintf(text, sizeof(text), "every %s", every);
    conf_out_pair(s, indent, "tunnels", slice_str(text));
}

static void show_output(struct conf_out *s, const struct access_output *o)
{
    unsigned indent = 2 * CONF_OUT_STEP;
    char text[4096 + 16];

    s->bullet = true;
    sink_text(o, text, sizeof(text));
    conf_out_pair(s, indent, "access", slice_str(text));
    conf_show_word(s, indent, conf_show_option("log.format"), o->layout);
    show_tunnels(s, indent, o);
    if (o->n_where)
        conf_show_matchers(s, indent, "for", o->where, o->n_where);
}

void conf_show_log(struct conf_out *s, const struct option_def *o, const struct conf *c)
{
    text_printf(&s->text, "%s:\n", o->path);
    for (unsigned i = 0; i < c->n_outputs; i++)
        show_output(s, &c->outputs[i]);
    if (c->n_outputs == 0) {
        s->bullet = true;
        conf_out_pair(s, 2 * CONF_OUT_STEP, "access", SLICE("off"));
    }
    conf_show_word(s, 2 * CONF_OUT_STEP, conf_show_option("log.level"), c->log_level);
}
