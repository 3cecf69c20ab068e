/* SPDX-License-Identifier: MIT */
/* denied: sums up the ring of refusals. Called by the site on the main thread. Each target is judged again by the policy of now, so that the line which is shown
 * is what is still missing.
 */
#include "app/denied.h"

#include "app/json_page.h"
#include "app/text.h"
#include "base/err.h"
#include "base/mem.h"
#include "policy/explain.h"
#include "proxy/access_set.h"

#include <time.h>

/* Refusals of one target for one reason. */
struct target {
    const struct denial *last;
    size_t times, clients; /* clients: different ones in a row */
    uint64_t first_ms;
    bool open; /* it would pass now */
    struct explain explain;
};

static bool is_would(const struct denial *d)
{
    return d->rec.would_deny && !explain_is_refusal(d->rec.end);
}

static struct slice rule_of(const struct denial *d)
{
    return is_would(d) ? d->rec.would : d->rec.rule;
}

static bool same_target(const struct denial *a, const struct denial *b)
{
    return a->rec.port == b->rec.port && slice_eq(a->rec.host, b->rec.host) && is_would(a) == is_would(b) && (is_would(a) || a->rec.end == b->rec.end) &&
           slice_eq(rule_of(a), rule_of(b));
}

/* ---- judged again ---- */

static struct match_facts facts_of(const struct denial *d)
{
    struct match_facts f = access_set_facts(&d->rec);

    f.to = addr_is_ip(&d->to) ? &d->to : NULL;
    f.minute = d->minute;
    return f;
}

static struct verdict judge(const struct policy *p, const struct match_facts *f)
{
    struct verdict v = policy_judge(p, f, 0, NULL, NULL);

    return v.kind == VERDICT_ALLOW && f->to ? policy_judge_address(p, f, &v, NULL) : v;
}

/* What rules say about it. */
static bool is_of_rules(enum end_reason r)
{
    return r == END_DENIED || r == END_ADDRESS_DENIED || r == END_RELOADED;
}

static void explain_target_now(struct target *t, const struct policy *p)
{
    const struct denial *d = t->last;
    struct match_facts f = facts_of(d);
    struct verdict v = judge(p, &f);
    bool allowed = v.kind == VERDICT_ALLOW;

    if (is_would(d) && allowed && v.would_deny) {
        v = (struct verdict){.kind = VERDICT_DENY, .reason = END_DENIED, .by = v.would, .place = v.place};
    } else if ((is_would(d) || is_of_rules(d->rec.end)) && allowed) {
        t->open = true;
        return;
    } else if (!is_would(d) && !is_of_rules(d->rec.end)) {
        v.kind = VERDICT_DENY;
        v.reason = d->rec.end;
        v.what = NULL;
        /* Where the rule is written says nothing about `upstream`. */
        if (v.reason == END_UPSTREAM_DENIED)
            v.place = NULL;
    }
    explain(p, &f, &v, EXPLAIN_OPERATOR, &t->explain);
}

/* ---- summing up ---- */

struct summary {
    const struct denied_view *d;
    struct target *v; /* as they came last */
    size_t n;
};

static struct target *find_target(struct summary *s, const struct denial *d)
{
    for (size_t i = 0; i < s->n; i++)
        if (same_target(s->v[i].last, d))
            return &s->v[i];
    return NULL;
}

static int sum_up(const struct denied_view *d, struct summary *ret_s)
{
    struct summary s = {.d = d, .v = mem_zalloc((d->n + 1) * sizeof(*s.v))};

    if (!s.v)
        return ERR_NOMEM;
    for (size_t i = 0; i < d->n; i++) {
        const struct denial *e = &d->v[i];
        struct target *t = find_target(&s, e);

        if (!t) {
            t = &s.v[s.n++];
            t->last = e;
            explain_target_now(t, d->policy);
        }
        t->times++;
        t->first_ms = e->rec.wall_ms;
        t->clients += t->last == e || !addr_same_host(&t->last->rec.client, &e->rec.client);
    }
    *ret_s = s;
    return 0;
}

/* ---- for people ---- */

static void put_time(struct text *t, uint64_t wall_ms)
{
    time_t s = (time_t)(wall_ms / 1000);
    char text[32] = "";
    struct tm tm;

    if (localtime_r(&s, &tm))
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    text_str(t, text);
}

static void put_client(struct text *t, const struct addr *a)
{
    char addr[ADDR_TEXT_MAX] = "unix";

    if (addr_is_ip(a))
        addr_host_text(a, addr);
    text_str(t, addr);
}

static void put_target(struct text *t, const struct denial *d)
{
    bool v6 = slice_find(d->rec.host, ':') < d->rec.host.n && d->rec.host.p[0] != '[';

    if (!d->rec.host.n) {
        text_str(t, "-");
        return;
    }
    text_str(t, v6 ? "[" : "");
    text_escaped(t, d->rec.host);
    text_str(t, v6 ? "]:" : ":");
    text_u64(t, d->rec.port);
}

static void put_reason(struct text *t, const struct denial *d)
{
    const struct end_info *e = end_info(d->rec.end);

    if (is_would(d)) {
        text_str(t, "would be denied");
        return;
    }
    if (d->rec.status)
        text_printf(t, "%u ", (unsigned)d->rec.status);
    text_str(t, e->token);
}

static void put_way(struct text *t, const struct target *g)
{
    if (g->open) {
        text_str(t, "         it would pass now\n");
    } else if (g->explain.kind != EXPLAIN_NO_WAY) {
        text_str(t, "         ");
        text_operator(t, slice_str(g->explain.way));
        if (g->explain.before)
            text_printf(t, "   before %s", g->explain.before);
        text_str(t, "\n");
    }
}

static void put_row(struct text *t, const struct target *g)
{
    const struct denial *d = g->last;
    size_t line = t->n;

    text_printf(t, "%6zu  ", g->times);
    put_time(t, d->rec.wall_ms);
    text_str(t, "  ");
    put_target(t, d);
    text_pad(t, line, 64);
    put_reason(t, d);
    if (rule_of(d).n) {
        text_str(t, " by ");
        text_operator(t, rule_of(d));
    }
    text_str(t, "; ");
    text_escaped(t, d->rec.method.n ? d->rec.method : SLICE("-"));
    text_str(t, " from ");
    put_client(t, &d->rec.client);
    if (d->rec.user.n) {
        text_str(t, ", user ");
        text_escaped(t, d->rec.user);
    }
    if (g->clients > 1)
        text_str(t, ", and others");
    text_str(t, "\n");
    put_way(t, g);
}

char *denied_text(const struct denied_view *d, size_t *ret_n)
{
    struct text t = {0};
    struct summary s;

    if (sum_up(d, &s) < 0)
        return NULL;
    if (!d->n)
        text_str(&t, "nothing was refused\n");
    else if (d->total > d->n)
        text_printf(&t, "the last %zu of %llu refusals, by target\n", d->n, (unsigned long long)d->total);
    else
        text_printf(&t, "%zu %s, by target\n", d->n, d->n == 1 ? "refusal" : "refusals");
    for (size_t i = 0; i < s.n; i++)
        put_row(&t, &s.v[i]);
    mem_free(s.v);
    return text_take(&t, ret_n);
}

/* ---- as JSON ---- */

static void json_time(struct json *j, const char *key, uint64_t wall_ms)
{
    time_t s = (time_t)(wall_ms / 1000);
    char text[40] = "";
    struct tm tm;
    size_t n = gmtime_r(&s, &tm) ? strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) : 0;

    snprintf(text + n, sizeof(text) - n, ".%03uZ", (unsigned)(wall_ms % 1000));
    json_kstr(j, key, slice_str(text));
}

static void json_addr(struct json *j, const char *key, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];

    json_kstr(j, key, addr_is_ip(a) ? slice_of(text, addr_host_text(a, text)) : SLICE("unix"));
}

static void json_what(struct json *j, const struct denial *d)
{
    json_page_text(j, "host", d->rec.host);
    json_ku64(j, "port", d->rec.port);
    if (is_would(d))
        json_kbool(j, "would", true);
    else
        json_kstr(j, "reason", slice_str(end_info(d->rec.end)->token));
    json_page_text(j, "rule", rule_of(d));
}

static void json_refusal(struct json *j, const struct denial *d)
{
    json_open(j, '{');
    json_time(j, "time", d->rec.wall_ms);
    json_addr(j, "client", &d->rec.client);
    json_page_text(j, "listener", d->rec.listener);
    json_page_text(j, "user", d->rec.user);
    json_page_text(j, "method", d->rec.method);
    json_what(j, d);
    if (d->rec.status)
        json_ku64(j, "status", d->rec.status);
    if (addr_is_ip(&d->to))
        json_addr(j, "address", &d->to);
    json_close(j, '}');
}

static void json_target(struct json *j, const struct target *t)
{
    json_open(j, '{');
    json_what(j, t->last);
    json_ku64(j, "times", t->times);
    json_time(j, "first", t->first_ms);
    json_time(j, "last", t->last->rec.wall_ms);
    if (t->open) {
        json_kbool(j, "open", true);
    } else {
        json_page_z(j, "detail", t->explain.why);
        json_page_z(j, t->explain.kind == EXPLAIN_RULE ? "allow" : "way", t->explain.kind == EXPLAIN_NO_WAY ? NULL : t->explain.way);
        json_page_z(j, "before", t->explain.before);
    }
    json_close(j, '}');
}

static void json_all(struct json *j, const void *what)
{
    const struct summary *s = what;

    json_open(j, '{');
    json_ku64(j, "total", s->d->total);
    json_ku64(j, "kept", s->d->n);
    json_key(j, "targets");
    json_open(j, '[');
    for (size_t i = 0; i < s->n; i++)
        json_target(j, &s->v[i]);
    json_close(j, ']');
    json_key(j, "refusals");
    json_open(j, '[');
    for (size_t i = 0; i < s->d->n; i++)
        json_refusal(j, &s->d->v[i]);
    json_close(j, ']');
    json_close(j, '}');
}

char *denied_json(const struct denied_view *d, size_t *ret_n)
{
    struct summary s;
    char *p;

    if (sum_up(d, &s) < 0)
        return NULL;
    p = json_page(json_all, &s, ret_n);
    mem_free(s.v);
    return p;
}
