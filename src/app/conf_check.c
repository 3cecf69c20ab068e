/* SPDX-License-Identifier: MIT */
/* conf_check: values against each other. Called by conf once everything is read and the command
 * line has had its say. Its most important line: nobody runs an open proxy without having written
 * it.
 */
#include "app/conf_check.h"

#include "app/conf_value.h"

static void check_open(struct conf_build *b)
{
    const struct conf *c = b->conf;

    if (c->clients_set)
        return;
    for (unsigned i = 0; i < c->n_listen; i++)
        if (!addr_is_loopback(&c->listen[i].addr))
            conf_report_add(b->report, b->listen_at[i],
                            "write `clients: [10.0.0.0/8]` (or `clients: any` for an open proxy)",
                            "%s can be reached from other machines, and `clients` is not set",
                            conf_report_quote(b->report, slice_str(c->listen[i].text)));
}

static bool is_repeated(const struct conf *c, unsigned i)
{
    for (unsigned j = 0; j < i; j++)
        if (addr_eq(&c->listen[i].addr, &c->listen[j].addr) && addr_port(&c->listen[i].addr))
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
        char text[ADDR_TEXT_MAX];

        if (!is_repeated(c, i) || (is_repeated(c, i - 1) && same_item(b, i, i - 1)))
            continue;
        addr_text(&c->listen[i].addr, text);
        conf_report_add(b->report, b->listen_at[i], "remove one of the two",
                        "%s is listened on twice", text);
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

void conf_check(struct conf_build *b)
{
    check_open(b);
    check_repeated(b);
    check_sizes(b);
}
