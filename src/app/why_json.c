/* SPDX-License-Identifier: MIT */
/* why_json: a judgement as JSON. Called with what why_judge has found. What it says is what why_text says.
 */
#include "app/json_page.h"
#include "app/why.h"
#include "app/why_page.h"
#include "app/why_words.h"

static void json_addr(struct json *j, const char *key, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];

    if (addr_is_ip(a))
        json_kstr(j, key, slice_of(text, addr_host_text(a, text)));
    else
        json_kstr(j, key, SLICE("unix"));
}

static const char *const json_answers[] = {"no", "yes", "needs-user", "needs-address", "needs-sni"};

static void json_event(struct json *j, const struct why *w, const struct why_event *e)
{
    json_open(j, '{');
    json_page_z(j, "stage", why_words_stage(e->stage));
    if (e->address >= 0)
        json_addr(j, "address", &w->addrs[e->address].addr);
    if (e->stage == STAGE_RULE) {
        json_page_z(j, "place", e->rule->place);
        json_page_z(j, "rule", e->rule->name);
        json_page_z(j, "kind", e->rule->kind == RULE_ALLOW ? "allow" : "deny");
        json_kbool(j, "report", e->rule->report);
        json_page_z(j, "answer", json_answers[e->answer]);
        if (e->word != WORD_NONE)
            json_page_z(j, "word", match_word_name(e->word));
    } else {
        json_kbool(j, "refuses", e->answer == MATCH_YES);
        json_page_z(j, "block", e->block ? e->block->text : NULL);
    }
    json_close(j, '}');
}

/* As events of the walk. True: nothing behind it is asked. */
static bool json_route(struct json *j, const struct why *w, unsigned i)
{
    const struct route *r = &w->edition->snap.routes[i];
    enum match_word word;
    enum match_answer a = why_ask_route(w, i, &word);

    json_open(j, '{');
    json_page_z(j, "stage", "upstream");
    json_page_z(j, "place", r->place);
    json_page_z(j, "kind", why_words_way(r));
    json_page_z(j, "answer", json_answers[a]);
    if (word != WORD_NONE)
        json_page_z(j, "word", match_word_name(word));
    json_close(j, '}');
    return a != MATCH_NO;
}

static void json_hop(struct json *j, const struct why *w, const struct hop *h)
{
    const struct origin_entry *e = h->tls ? why_origin(w, h) : NULL;

    json_open(j, '{');
    json_page_z(j, "url", h->text);
    json_page_z(j, "origins", e ? e->place : NULL);
    if (h->tls)
        json_kbool(j, "verified", w->edition->conf->tls_clients[e ? e->tls : 0].verify);
    json_close(j, '}');
}

static void json_alternative(struct json *j, const struct why *w, const struct alternative *a, bool bad)
{
    json_open(j, '{');
    json_key(j, "hops");
    json_open(j, '[');
    for (unsigned i = 0; i < a->n_hops; i++)
        json_hop(j, w, &a->hops[i]);
    json_close(j, ']');
    if (w->state)
        json_kbool(j, "failed_lately", bad);
    json_close(j, '}');
}

/* In the order in which they are tried; hops of none: direct. */
static void json_ways(struct json *j, const struct why *w)
{
    unsigned n = w->route ? w->route->n_alternatives : 0, n_bad;
    uint8_t order[ROUTE_ALTERNATIVES_MAX];

    n_bad = why_order(w, order);
    json_key(j, "ways");
    json_open(j, '[');
    for (unsigned i = 0; i < n; i++)
        json_alternative(j, w, &w->route->alternatives[order[i]], i >= n - n_bad);
    json_close(j, ']');
    if (n && !w->literal)
        json_page_z(j, "lookup_by", w->by_name ? "proxy" : "ginnel");
}

static void json_limit_state(struct json *j, const struct why_limit *e)
{
    const struct limit *l = e->limit;

    json_open(j, '{');
    json_page_z(j, "limit", limits_title(l));
    json_page_z(j, "place", l->place);
    json_page_z(j, "per", why_words_per(l->per));
    json_kbool(j, "looked_at", e->known);
    if (!e->rest) {
        json_ku64(j, "requests", l->requests);
        json_ku64(j, "burst", l->burst);
        json_kbool(j, "pace", l->pace);
        if (e->known)
            json_ku64(j, "requests_left", e->left);
    }
    if (e->rest && l->quota) {
        json_ku64(j, "quota", l->quota);
        if (e->known)
            json_ku64(j, "quota_used", e->used);
    }
    if (e->rest && l->tunnels) {
        json_ku64(j, "tunnels", l->tunnels);
        if (e->known)
            json_ku64(j, "tunnels_open", e->tunnels);
    }
    json_kbool(j, "refuses", e->refuses);
    if (e->refuses) {
        json_page_z(j, "reason", end_info(e->reason)->token);
        json_ku64(j, "retry_s", e->retry_s);
    }
    json_close(j, '}');
}

static void json_limit_states(struct json *j, const struct why *w)
{
    json_key(j, "limit_state");
    json_open(j, '[');
    for (unsigned i = 0; i < w->n_limits; i++)
        json_limit_state(j, &w->limits[i]);
    json_close(j, ']');
}

static void json_limits(struct json *j, const struct why *w)
{
    const struct snapshot *s = &w->edition->snap;

    if (!s->n_limits)
        return;
    json_key(j, "limits");
    json_open(j, '[');
    for (unsigned i = 0; i < s->n_limits; i++)
        if (limit_ask(&s->limits[i], &w->facts) == MATCH_YES)
            json_str(j, slice_str(limits_title(&s->limits[i])));
    json_close(j, ']');
    json_kbool(j, "limits_known", w->state != NULL);
    if (w->state)
        json_limit_states(j, w);
}

static void json_request(struct json *j, const struct why *w)
{
    const struct match_facts *f = &w->facts;
    char target[EXPLAIN_TARGET];

    explain_target(f, target);
    json_page_z(j, "target", target);
    json_page_text(j, "method", f->method);
    json_page_text(j, "path", f->path);
    json_addr(j, "client", &w->client);
    json_page_text(j, "listener", f->listener);
    json_page_text(j, "user", f->user);
    json_page_text(j, "groups", f->groups);
    json_page_text(j, "labels", f->labels);
    json_page_z(j, "users", w->users);
    json_limits(j, w);
}

static void json_decision(struct json *j, const struct why *w)
{
    const struct verdict *v = &w->verdict;
    char line[WHY_LINE];

    json_page_z(j, "answer", why_page_words[w->end]);
    json_page_text(j, "rule", slice_str(why_rule(w)));
    json_page_z(j, "place", v->place);
    if (w->end == WHY_REFUSED) {
        json_page_z(j, "reason", end_info(v->reason)->token);
        json_ku64(j, "status", (uint64_t)end_info(v->reason)->status);
        json_page_z(j, "detail", w->explain.why);
        if (w->limit)
            json_ku64(j, "retry_s", w->limit->retry_s);
        if (w->explain.kind != EXPLAIN_NO_WAY)
            json_page_z(j, "way", w->explain.way);
        json_page_z(j, "before", w->explain.before);
        if (addr_is_ip(&w->refused))
            json_addr(j, "address", &w->refused);
    }
    json_page_z(j, "would", v->would ? rule_title(v->would) : NULL);
    if (v->would_deny)
        json_kbool(j, "would_deny", true);
    if (w->end == WHY_ALLOWED && !w->local) {
        json_page_z(j, "upstream", w->route ? w->route->place : "direct");
        if (w->route && w->route->n_alternatives)
            json_ways(j, w);
        if (w->question->connect) {
            json_page_z(j, "sni", why_words_sni(w->sni));
            json_page_z(j, "expect", why_words_expect(w));
        }
    }
    why_line(w, line);
    json_page_z(j, "line", line);
}

/* A judgement, and what is to be said about its addresses. */
struct told {
    const struct why *w;
    const char *lookup;
};

static void json_all(struct json *j, const void *what)
{
    const struct told *told = what;

    json_open(j, '{');
    json_request(j, told->w);
    json_key(j, "walk");
    json_open(j, '[');
    for (size_t i = 0; i < told->w->n_events; i++)
        json_event(j, told->w, &told->w->events[i]);
    for (unsigned i = 0; told->w->routed && i < told->w->edition->snap.n_routes; i++)
        if (json_route(j, told->w, i))
            break;
    json_close(j, ']');
    json_page_z(j, "lookup", told->lookup);
    json_decision(j, told->w);
    json_close(j, '}');
}

char *why_json(const struct why *w, const char *lookup, size_t *ret_n)
{
    return json_page(json_all, &(struct told){w, lookup}, ret_n);
}
