/* SPDX-License-Identifier: MIT */
/* conf_lint: looks for rules that never decide, that decide about less than they seem to, or about more. Called by conf_check. It compares rules with
 * each other (conf_cover), of which there may be very many, with very many names: a budget bounds it. It must never warn of a rule that does something.
 */
#include "app/conf_lint.h"

#include "app/conf_cover.h"

#include <stdio.h>

static const char *where(struct conf_build *b, unsigned earlier, unsigned at)
{
    return conf_report_where(b->warnings, b->rule_at[earlier], b->rule_at[at]);
}

static const char *verb(const struct rule *r)
{
    return r->kind == RULE_ALLOW ? "allows" : "refuses";
}

static bool given(const struct conf_build *b, const char *path)
{
    return b->at[conf_table_index(conf_table_find(slice_str(path)))] != CONF_AT_NONE;
}

/* ---- never reached ---- */

/* The first name of the rule's bare hosts that an earlier one decides about; the others may be reached. */
static bool lint_names(struct conf_build *b, struct conf_cover *c, unsigned i, unsigned earlier)
{
    const struct rule *r = &b->conf->rules[i];
    char name[300] = "";
    unsigned n = 0;

    for (unsigned k = 0; k < r->n_where; k++)
        n += conf_cover_names(c, &b->conf->rules[earlier], r, k, name + strlen(name), name[0] ? 0 : sizeof(name));
    if (n == 1)
        conf_report_add(b->warnings, b->rule_at[i], "remove it here, or move this rule before that one",
                        "%s is never reached here: the rule in %s %s it already", conf_report_quote(b->warnings, slice_str(name)),
                        where(b, earlier, i), verb(&b->conf->rules[earlier]));
    else if (n > 1)
        conf_report_add(b->warnings, b->rule_at[i], "remove them here, or move this rule before that one",
                        "%s and %u more are never reached here: the rule in %s %s them already",
                        conf_report_quote(b->warnings, slice_str(name)), n - 1, where(b, earlier, i), verb(&b->conf->rules[earlier]));
    return n > 0;
}

/* Whether it decides about everything. */
static bool ends_all(const struct rule *r)
{
    static const struct matcher nothing_asked;
    static const struct rule anything = {.where = &nothing_asked, .n_where = 1, .kind = RULE_DENY};
    struct conf_cover c = {.budget = 1000};

    return !r->report && conf_cover_rule(&c, r, &anything, COVER_ALL);
}

static bool lint_pair(struct conf_build *b, struct conf_cover *c, unsigned i, unsigned earlier)
{
    const struct rule *r = &b->conf->rules[i], *e = &b->conf->rules[earlier];

    if (conf_cover_rule(c, e, r, COVER_ALL)) {
        conf_report_add(b->warnings, b->rule_at[i], r->kind == e->kind ? "remove one of the two" : "remove it, or move it before that one",
                        "this rule is never reached: the one in %s %s all that it is about", where(b, earlier, i), verb(e));
        return true;
    }
    /* A last `deny: any` says what holds anyway. */
    if (e->kind != RULE_ALLOW || r->kind != RULE_DENY || ends_all(r) || !conf_cover_rule(c, e, r, COVER_LITERAL))
        return false;
    if (conf_cover_rule(c, e, r, COVER_ANY_PORT))
        conf_report_add(b->warnings, b->rule_at[i], "move it before that one", "this deny comes too late: the rule in %s allows the same hosts",
                        where(b, earlier, i));
    else
        conf_report_add(b->warnings, b->rule_at[i], "move it before that one",
                        "this deny comes too late for targets written as addresses: the rule in %s allows them", where(b, earlier, i));
    return true;
}

/* Of several that cover it, the first is named. */
static void lint_reach(struct conf_build *b, struct conf_cover *c, unsigned i)
{
    for (unsigned e = 0; e < i && c->budget; e++)
        if (!b->conf->rules[e].report && lint_pair(b, c, i, e))
            return;
    for (unsigned e = 0; e < i && c->budget; e++)
        if (!b->conf->rules[e].report && lint_names(b, c, i, e))
            return;
}

/* True: nothing behind it is worth a look. */
static bool lint_end(struct conf_build *b, unsigned i)
{
    const struct conf *c = b->conf;

    if (i + 1 == c->n_rules || !ends_all(&c->rules[i]))
        return false;
    conf_report_add(b->warnings, b->rule_at[i + 1], "move that one to the end", "%u %s never reached: the rule in %s %s everything",
                    c->n_rules - i - 1, c->n_rules - i - 1 == 1 ? "rule is" : "rules are", where(b, i, i + 1), verb(&c->rules[i]));
    return true;
}

/* ---- an exchange of which little is known ---- */

/* The word that no CONNECT can answer; NULL: there is none. */
static const char *hidden_word(const struct matcher *m)
{
    bool connect = false;

    if (!m)
        return NULL;
    for (unsigned i = 0; i < m->n_methods; i++)
        connect = connect || slice_eq(m->methods[i], SLICE("CONNECT"));
    return m->n_paths ? "path" : m->n_fields ? "header" : m->n_methods && !connect ? "method" : NULL;
}

static bool has_port(const struct matcher *m, uint16_t port)
{
    for (unsigned i = 0; m && i < m->n_ports; i++)
        if (m->ports[i].first <= port && port <= m->ports[i].last)
            return true;
    return !m || !m->n_ports;
}

static bool may_be_connect(const struct matcher *m)
{
    return !m || !m->schemes || m->schemes & MATCH_CONNECT;
}

static void lint_connect(struct conf_build *b, unsigned i)
{
    const struct rule *r = &b->conf->rules[i];

    for (unsigned k = 0; k < r->n_where; k++) {
        const struct matcher *m = &r->where[k];
        const char *word = hidden_word(m) ? hidden_word(m) : hidden_word(r->with);

        if (!word || !may_be_connect(m) || !may_be_connect(r->with))
            continue;
        if (r->kind == RULE_DENY)
            conf_report_add(b->warnings, b->rule_at[i], "`scheme: http` beside it leaves those alone",
                            "nobody sees the `%s` inside a CONNECT: this deny refuses every CONNECT to its hosts", word);
        else if (has_port(m, 443) && has_port(r->with, 443))
            conf_report_add(b->warnings, b->rule_at[i], "only plain http requests show it; `port: 80` says so",
                            "nobody sees the `%s` inside a CONNECT: this allow matches none", word);
        else
            continue;
        return;
    }
}

/* ---- words ---- */

static bool ports_meet(const struct matcher *a, const struct matcher *b)
{
    for (unsigned i = 0; i < a->n_ports; i++)
        for (unsigned k = 0; k < b->n_ports; k++)
            if (a->ports[i].first <= b->ports[k].last && b->ports[k].first <= a->ports[i].last)
                return true;
    return !a->n_ports || !b->n_ports;
}

/* What holds for no request, and what a rule of this kind does not do. */
static void lint_idle(struct conf_build *b, unsigned i)
{
    const struct rule *r = &b->conf->rules[i];

    for (unsigned k = 0; r->with && k < r->n_where; k++)
        if (!ports_meet(&r->where[k], r->with)) {
            conf_report_add(b->warnings, b->rule_at[i], "both must hold: write it in one of the two places",
                            "no port is both in the destination and beside it");
            break;
        }
    if (r->kind == RULE_DENY && (r->sni != SNI_DEFAULT || r->expect != EXPECT_DEFAULT))
        conf_report_add(b->warnings, b->rule_at[i], "it is about what an allow lets pass", "`%s` in a deny does nothing",
                        r->sni != SNI_DEFAULT ? "sni" : "expect");
}

static const char *who_word_of(const struct matcher *m)
{
    return m->n_users || m->any_user ? "user" : m->n_groups ? "group" : m->n_labels ? "label" : NULL;
}

static const char *who_word(const struct matcher *m)
{
    const char *word = m ? who_word_of(m) : NULL;

    for (unsigned i = 0; m && !word && i < m->n_except; i++)
        word = who_word_of(&m->except[i]);
    return word;
}

static bool knows_users(const struct conf_build *b)
{
    for (unsigned i = 0; i < b->conf->n_listen; i++)
        if (b->conf->listen[i].kind == CONF_LISTEN_UNIX || (b->conf->listen[i].tls && b->conf->listen[i].tls->clients))
            return true;
    return given(b, "users") || given(b, "listen.users");
}

static void lint_who(struct conf_build *b, unsigned i)
{
    const struct rule *r = &b->conf->rules[i];
    const char *word = who_word(r->with);

    for (unsigned k = 0; k < r->n_where && !word; k++)
        word = who_word(&r->where[k]);
    if (word)
        conf_report_add(b->warnings, b->rule_at[i], "write `users`, or let clients come through a Unix socket",
                        "`%s` in a rule: without `users` nobody is known", word);
}

static bool has_span(const struct ranges *r)
{
    for (size_t i = 0; i < r->n4; i++)
        if (r->v4[i].first != r->v4[i].last)
            return true;
    for (size_t i = 0; i < r->n6; i++)
        if (r->v6[i].first_hi != r->v6[i].last_hi || r->v6[i].first_lo != r->v6[i].last_lo)
            return true;
    return false;
}

static void lint_range(struct conf_build *b, unsigned i)
{
    const struct rule *r = &b->conf->rules[i];

    for (unsigned k = 0; r->kind == RULE_ALLOW && k < r->n_where; k++)
        if (has_span(&r->where[k].host_ranges)) {
            conf_report_add(b->warnings, b->rule_at[i], "`to:` is about the address that is dialled: {allow: any, to: 10.0.0.0/8}",
                            "a range in an allow is about literal addresses only, never about names");
            return;
        }
}

static void lint_name(struct conf_build *b, unsigned i)
{
    const struct rule *v = b->conf->rules;

    for (unsigned k = 0; v[i].name && k < i; k++)
        if (v[k].name && strcmp(v[k].name, v[i].name) == 0) {
            conf_report_add(b->warnings, b->rule_at[i], "logs and metrics cannot tell them apart", "the rule in %s has the name %s, too",
                            where(b, k, i), conf_report_quote(b->warnings, slice_str(v[i].name)));
            return;
        }
}

/* ---- the whole ---- */

enum { BUDGET = 3000000, NAMED_MAX = 1000 };

void conf_lint_rules(struct conf_build *b)
{
    const struct conf *c = b->conf;
    struct conf_cover cover = {.budget = BUDGET};
    bool ended = false, known = knows_users(b);

    for (unsigned i = 0; i < c->n_rules && !b->report->nomem; i++) {
        if (!ended)
            lint_reach(b, &cover, i);
        ended = ended || lint_end(b, i);
        lint_connect(b, i);
        lint_range(b, i);
        lint_idle(b, i);
        if (!known)
            lint_who(b, i);
        if (i < NAMED_MAX)
            lint_name(b, i);
    }
    if (c->policy_place && !c->has_rules && (c->report || c->say))
        conf_report_add(b->warnings, b->at[conf_table_index(conf_table_find(SLICE("policy")))], "write `rules`, or remove it",
                        "`policy` without `rules` does nothing: there is no final refusal");
}
