/* SPDX-License-Identifier: MIT */
/* conf_out: YAML, as conf_show writes it. Lists come block-wise, an item a line: one from a list file may have many.
 */
#include "app/conf_out.h"

#include "app/plain.h"
#include "io/addr.h"

#include <stdio.h>

void conf_out_add(struct conf_out *s, struct slice text)
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

static void add_quoted(struct conf_out *s, struct slice t)
{
    conf_out_add(s, SLICE("\""));
    for (size_t i = 0; i < t.n; i++) {
        unsigned char c = (unsigned char)t.p[i];

        if (c == '"' || c == '\\')
            text_printf(&s->text, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            text_printf(&s->text, "\\x%02x", c);
        else
            conf_out_add(s, slice_of(t.p + i, 1));
    }
    conf_out_add(s, SLICE("\""));
}

void conf_out_value(struct conf_out *s, struct slice t)
{
    if (is_plain(t))
        conf_out_add(s, t);
    else
        add_quoted(s, t);
}

void conf_out_key(struct conf_out *s, unsigned indent, const char *key)
{
    text_printf(&s->text, "%*s%s%s:", (int)(s->bullet ? indent - CONF_OUT_STEP : indent), "",
                s->bullet ? "- " : "", key);
    s->bullet = false;
}

void conf_out_pair(struct conf_out *s, unsigned indent, const char *key, struct slice value)
{
    conf_out_key(s, indent, key);
    conf_out_add(s, SLICE(" "));
    conf_out_value(s, value);
    conf_out_add(s, SLICE("\n"));
}

void conf_out_comment(struct conf_out *s, unsigned indent, const char *key, const char *scdoc)
{
    char text[PLAIN_MAX];

    text_printf(&s->text, "%*s# %s: ", (int)indent, "", key);
    conf_out_add(s, plain_text(text, scdoc));
    conf_out_add(s, SLICE("\n"));
}

void conf_out_list(struct conf_out *s, unsigned indent, const char *key)
{
    conf_out_key(s, indent, key);
    s->n_items = 0;
}

/* indent: of the list's key */
void conf_out_item(struct conf_out *s, unsigned indent, struct slice value)
{
    s->n_items++;
    text_printf(&s->text, "\n%*s- ", (int)(indent + CONF_OUT_STEP), "");
    conf_out_value(s, value);
}

void conf_out_end(struct conf_out *s)
{
    conf_out_add(s, s->n_items ? SLICE("\n") : SLICE(" []\n"));
}

/* ---- addresses ---- */

void conf_out_prefix(struct conf_out *s, unsigned indent, conf_out_bits first, unsigned length, bool v4)
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
    conf_out_item(s, indent, slice_of(text, n));
}

/* The prefixes that make up a range: each time the widest that begins at its front and fits. At
 * most two for each bit. */
static void add_range(struct conf_out *s, unsigned indent, conf_out_bits first, conf_out_bits last, bool v4)
{
    unsigned bits = v4 ? 32 : 128;

    for (;;) {
        unsigned host = 0;
        conf_out_bits end = first;

        while (host < bits && !(first >> host & 1)) {
            conf_out_bits wider = first | (((conf_out_bits)1 << host << 1) - 1);

            if (host == 127)
                wider = ~(conf_out_bits)0;
            if (wider > last)
                break;
            end = wider;
            host++;
        }
        conf_out_prefix(s, indent, first, bits - host, v4);
        if (end >= last)
            return;
        first = end + 1;
    }
}

void conf_out_ranges(struct conf_out *s, unsigned indent, const struct ranges *r)
{
    for (size_t i = 0; i < r->n4; i++)
        add_range(s, indent, r->v4[i].first, r->v4[i].last, true);
    for (size_t i = 0; i < r->n6; i++)
        add_range(s, indent, (conf_out_bits)r->v6[i].first_hi << 64 | r->v6[i].first_lo,
                  (conf_out_bits)r->v6[i].last_hi << 64 | r->v6[i].last_lo, false);
}

void conf_out_range_list(struct conf_out *s, unsigned indent, const char *key,
                                 const struct ranges *r)
{
    conf_out_list(s, indent, key);
    conf_out_ranges(s, indent, r);
    conf_out_end(s);
}
