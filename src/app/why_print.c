/* SPDX-License-Identifier: MIT */
/* why_print: a judgement for people, a line for each thing that was looked at, and as JSON. Called with what why_judge has found. Nothing from outside
 * reaches a terminal unescaped.
 */
#include "app/json_page.h"
#include "app/text.h"
#include "app/why.h"

enum { COLUMN_WHAT = 11, COLUMN_PLACE = 12, COLUMN_PLACE_MOST = 40, COLUMN_RULE = 20 };

static const char *const stage_names[] = {
    [STAGE_CLIENTS] = "clients", [STAGE_PORTS] = "ports", [STAGE_RULE] = "rules",     [STAGE_FINAL] = "rules",
    [STAGE_OWN] = "own",         [STAGE_ADMIN] = "admin", [STAGE_PRIVATE] = "private",
};

static bool is_ip(const struct addr *a)
{
    return a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6;
}

static const char *client_text(const struct why *w, char out[ADDR_TEXT_MAX])
{
    if (is_ip(&w->client))
        addr_host_text(&w->client, out);
    else
        snprintf(out, ADDR_TEXT_MAX, "a Unix socket");
    return out;
}

/* "yes", "no: port", "needs the user" */
static const char *answer_text(enum match_answer answer, enum match_word word, bool report, char out[64])
{
    switch (answer) {
    case MATCH_NO:
        snprintf(out, 64, "no: %s", match_word_name(word));
        break;
    case MATCH_YES:
        snprintf(out, 64, report ? "yes, and only reports" : "yes");
        break;
    case MATCH_NEEDS_USER:
        snprintf(out, 64, "needs the user");
        break;
    case MATCH_NEEDS_ADDRESS:
        snprintf(out, 64, "needs an address");
        break;
    case MATCH_NEEDS_SNI:
        snprintf(out, 64, "needs the name in the ClientHello");
        break;
    }
    return out;
}

/* ---- for people ---- */

struct page {
    struct text t;
    const struct why *w;
    size_t line;      /* where the present one begins */
    const char *what; /* what the last one is about */
    int address;      /* and which address */
    size_t place;     /* how wide the places of rules are */
};

static void begin_line(struct page *p, const char *what)
{
    p->line = p->t.n;
    text_str(&p->t, p->what && strcmp(p->what, what) == 0 ? "" : what);
    text_pad(&p->t, p->line, COLUMN_WHAT);
    p->what = what;
}

static void end_line(struct page *p)
{
    text_str(&p->t, "\n");
}

static void say(struct page *p, const char *what, const char *text)
{
    begin_line(p, what);
    text_operator(&p->t, slice_str(text));
    end_line(p);
}

static void put_request(struct page *p)
{
    static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    const struct match_facts *f = &p->w->facts;
    char target[EXPLAIN_TARGET], client[ADDR_TEXT_MAX];
    unsigned minute = f->minute;

    explain_target(f, target);
    begin_line(p, "request");
    text_escaped(&p->t, f->method);
    text_str(&p->t, " ");
    text_str(&p->t, target);
    text_escaped(&p->t, f->path);
    end_line(p);
    begin_line(p, "from");
    text_str(&p->t, client_text(p->w, client));
    if (f->user.n) {
        text_str(&p->t, ", user ");
        text_escaped(&p->t, f->user);
    }
    if (f->groups.n) {
        text_str(&p->t, " of ");
        text_escaped(&p->t, f->groups);
    }
    text_str(&p->t, ", at ");
    text_operator(&p->t, f->listener);
    if (minute < MATCH_MINUTES)
        text_printf(&p->t, ", %s %02u:%02u", days[minute / (24 * 60)], minute / 60 % 24, minute % 60);
    end_line(p);
}

static void put_rule(struct page *p, const struct why_event *e)
{
    char answer[64];

    begin_line(p, "rules");
    text_str(&p->t, e->rule->place);
    text_pad(&p->t, p->line, COLUMN_WHAT + p->place);
    text_str(&p->t, e->rule->kind == RULE_ALLOW ? "allow" : "deny");
    if (e->rule->name) {
        text_str(&p->t, " ");
        text_operator(&p->t, slice_str(e->rule->name));
    }
    text_pad(&p->t, p->line, COLUMN_WHAT + p->place + COLUMN_RULE);
    text_str(&p->t, answer_text(e->answer, e->word, e->rule->report, answer));
    end_line(p);
}

static void put_private(struct page *p, const struct why_event *e)
{
    begin_line(p, "private");
    if (!e->block)
        text_str(&p->t, "a public address");
    else
        text_printf(&p->t, "%s%s", e->block->text, e->answer == MATCH_YES ? ": refused" : ", which is open here");
    end_line(p);
}

static const char *const per_words[] = {[PER_ALL] = "all",   [PER_CLIENT] = "client", [PER_USER] = "user",   [PER_GROUP] = "group",
                                        [PER_RULE] = "rule", [PER_HOST] = "host",     [PER_LABEL] = "label", [PER_CONNECTION] = "connection"};

/* "ci: ", behind the place */
static void begin_limit(struct page *p, const struct limit *l)
{
    begin_line(p, "limits");
    text_str(&p->t, l->place);
    text_pad(&p->t, p->line, COLUMN_WHAT + p->place);
    if (l->name) {
        text_operator(&p->t, slice_str(l->name));
        text_str(&p->t, ": ");
    }
}

static void end_limit(struct page *p, const struct limit *l)
{
    if (l->per != PER_ALL)
        text_printf(&p->t, ", per %s", per_words[l->per]);
}

/* "requests, tunnels, per client" */
static void put_limit(struct page *p, const struct limit *l)
{
    const struct {
        const char *name;
        bool set;
    } parts[] = {{"requests", l->requests}, {"bandwidth", l->bandwidth}, {"bandwidth-up", l->bandwidth_up}, {"bandwidth-down", l->bandwidth_down},
                 {"tunnels", l->tunnels},   {"quota", l->quota},         {"upload", l->upload},             {"download", l->download}};
    const char *between = "";

    begin_limit(p, l);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i].set) {
            text_printf(&p->t, "%s%s", between, parts[i].name);
            between = ", ";
        }
    end_limit(p, l);
    end_line(p);
}

/* "tunnels 3 of 10, quota 5 of 1000 bytes" */
static void put_rest(struct page *p, const struct why_limit *e)
{
    const struct limit *l = e->limit;
    const struct {
        const char *name;
        bool set;
    } others[] = {{"bandwidth", l->bandwidth},
                  {"bandwidth-up", l->bandwidth_up},
                  {"bandwidth-down", l->bandwidth_down},
                  {"upload", l->upload},
                  {"download", l->download}};
    const char *between = "";

    if (l->quota) {
        text_str(&p->t, "quota");
        if (e->known)
            text_printf(&p->t, " %llu of %llu bytes", (unsigned long long)e->used, (unsigned long long)l->quota);
        between = ", ";
    }
    if (l->tunnels) {
        text_printf(&p->t, "%stunnels", between);
        if (e->known)
            text_printf(&p->t, " %u of %u", (unsigned)e->tunnels, (unsigned)l->tunnels);
        between = ", ";
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (others[i].set) {
            text_printf(&p->t, "%s%s", between, others[i].name);
            between = ", ";
        }
}

static void put_counted(struct page *p, const struct why_limit *e)
{
    const struct limit *l = e->limit;

    begin_limit(p, l);
    if (e->rest)
        put_rest(p, e);
    else if (e->known)
        text_printf(&p->t, "requests %u of %u left", (unsigned)e->left, (unsigned)l->burst);
    else
        text_str(&p->t, "requests");
    end_limit(p, l);
    if (!e->known)
        text_str(&p->t, ": counts per connection: not looked at");
    else if (e->refuses)
        text_printf(&p->t, ": refuses, for %llu s", (unsigned long long)e->retry_s);
    end_line(p);
}

/* first: those that were asked before the rules; else the others. */
static void put_counted_ones(struct page *p, bool first)
{
    for (unsigned i = 0; i < p->w->n_limits; i++)
        if (p->w->limits[i].first == first)
            put_counted(p, &p->w->limits[i]);
}

/* Those that are about it. */
static void put_limits(struct page *p)
{
    const struct snapshot *s = &p->w->edition->snap;
    unsigned n = 0;

    if (p->w->state) {
        put_counted_ones(p, true);
        return;
    }
    for (unsigned i = 0; i < s->n_limits; i++)
        if (limit_ask(&s->limits[i], &p->w->facts) == MATCH_YES) {
            put_limit(p, &s->limits[i]);
            n++;
        }
    if (n)
        say(p, "limits", "what is used of them is known only to the running ginnel, which may refuse the request with 429");
}

static void put_event(struct page *p, const struct why_event *e)
{
    bool refuses = e->answer == MATCH_YES;

    switch (e->stage) {
    case STAGE_CLIENTS:
        say(p, "clients", refuses ? "not admitted" : "admitted");
        if (!refuses && p->w->users)
            say(p, "users", p->w->users);
        if (!refuses)
            put_limits(p);
        return;
    case STAGE_PORTS:
        say(p, "ports", refuses ? "this one is not open" : "this one is open");
        return;
    case STAGE_RULE:
        put_rule(p, e);
        return;
    case STAGE_FINAL:
        say(p, "rules", refuses ? "none of them allows it" : "none of them allows it, which `policy: report` only reports");
        return;
    case STAGE_OWN:
        if (refuses)
            say(p, "own", "the address is ginnel's own: refused");
        return;
    case STAGE_ADMIN:
        if (refuses)
            say(p, "admin", "the address is that of ginnel's administration: refused");
        return;
    case STAGE_PRIVATE:
        put_private(p, e);
        return;
    }
}

static void put_address(struct page *p, int i)
{
    char addr[ADDR_TEXT_MAX];

    p->what = NULL;
    addr_host_text(&p->w->addrs[i].addr, addr);
    say(p, "address", addr);
}

/* How wide the places are that will be shown. */
static void widen(struct page *p, const char *place)
{
    if (strlen(place) + 2 > p->place)
        p->place = min_size(strlen(place) + 2, COLUMN_PLACE_MOST);
}

static void put_walk(struct page *p)
{
    const struct snapshot *s = &p->w->edition->snap;

    p->address = -1;
    p->place = COLUMN_PLACE;
    for (unsigned i = 0; p->w->routed && i < s->n_routes; i++)
        widen(p, s->routes[i].place);
    for (size_t i = 0; i < p->w->n_events; i++)
        if (p->w->events[i].rule)
            widen(p, p->w->events[i].rule->place);
    for (size_t i = 0; i < p->w->n_events; i++) {
        const struct why_event *e = &p->w->events[i];

        if (e->address != p->address && e->address >= 0)
            put_address(p, e->address);
        p->address = e->address;
        put_event(p, e);
    }
    put_counted_ones(p, false);
}

/* ---- ways ---- */

static const char *way_word(const struct route *r)
{
    if (r->deny)
        return "deny";
    if (r->n_alternatives == 0)
        return "direct";
    return r->n_alternatives == 1 && r->alternatives[0].n_hops > 1 ? "chain" : "via";
}

/* True: nothing behind it is asked. */
static bool put_route(struct page *p, unsigned i)
{
    const struct route *r = &p->w->edition->snap.routes[i];
    enum match_word word;
    enum match_answer a = why_ask_route(p->w, i, &word);
    char answer[64];

    begin_line(p, "upstream");
    text_str(&p->t, r->place);
    text_pad(&p->t, p->line, COLUMN_WHAT + p->place);
    text_str(&p->t, way_word(r));
    text_pad(&p->t, p->line, COLUMN_WHAT + p->place + COLUMN_RULE);
    text_str(&p->t, answer_text(a, word, false, answer));
    end_line(p);
    return a != MATCH_NO;
}

static void put_hop(struct page *p, const struct hop *h)
{
    const struct origin_entry *e = h->tls ? why_origin(p->w, h) : NULL;
    bool verified = !e || p->w->edition->conf->tls_clients[e->tls].verify;

    text_str(&p->t, h->text);
    if (e)
        text_printf(&p->t, " (%sTLS as %s says)", verified ? "" : "not verified, ", e->place);
}

static void put_alternative(struct page *p, const struct alternative *a, bool bad)
{
    begin_line(p, "through");
    for (unsigned i = 0; i < a->n_hops; i++) {
        text_str(&p->t, i ? ", behind it " : "");
        put_hop(p, &a->hops[i]);
    }
    if (a->n_hops == 0)
        text_str(&p->t, "nothing: direct");
    if (bad)
        text_str(&p->t, ": failed a moment ago, so it comes last");
    end_line(p);
}

/* Who looks the name up. */
static void put_lookup(struct page *p)
{
    const struct why *w = p->w;

    if (w->literal || !w->route || !w->route->n_alternatives)
        return;
    if (w->by_name)
        say(p, "name", "looked up by the proxy that is asked; here nothing that is about addresses is judged");
    else if (w->route->resolve)
        say(p, "name", "looked up here; the proxy is sent the address that was judged");
}

static void put_ways(struct page *p)
{
    const struct why *w = p->w;
    uint8_t order[ROUTE_ALTERNATIVES_MAX];
    unsigned n, n_bad;

    for (unsigned i = 0; i < w->edition->snap.n_routes && w->routed; i++)
        if (put_route(p, i))
            break;
    if (w->end != WHY_ALLOWED)
        return;
    if (!w->route)
        say(p, "upstream", w->routed ? "none of them: direct" : "direct");
    n = w->route ? w->route->n_alternatives : 0;
    n_bad = why_order(w, order);
    for (unsigned i = 0; i < n; i++)
        put_alternative(p, &w->route->alternatives[order[i]], i >= n - n_bad);
    put_lookup(p);
}

static const char *sni_word(enum rule_sni s)
{
    return s == SNI_STRICT ? "strict" : s == SNI_LOG ? "log" : "off";
}

static const char *expect_word(const struct why *w)
{
    static const char *const words[] = {[EXPECT_TLS] = "tls", [EXPECT_HTTP] = "http", [EXPECT_SSH] = "ssh", [EXPECT_ANY] = "any"};
    const struct rule *by = w->verdict.by;

    return by && by->expect != EXPECT_DEFAULT ? words[by->expect] : NULL;
}

static void put_tunnel(struct page *p)
{
    const struct why *w = p->w;
    const char *expect = expect_word(w);

    begin_line(p, "tunnel");
    text_printf(&p->t, "sni: %s%s%s", sni_word(w->sni), expect ? ", expect: " : "", expect ? expect : "");
    if (w->sni == SNI_STRICT && !w->literal && !w->question->has_sni)
        text_printf(&p->t, " (the ClientHello must name " SLICE_FMT ")", SLICE_ARG(w->facts.host));
    end_line(p);
}

static void put_way(struct page *p)
{
    const struct explain *e = &p->w->explain;

    if (e->kind == EXPLAIN_NO_WAY)
        return;
    begin_line(p, "way out");
    text_operator(&p->t, slice_str(e->way));
    if (e->before)
        text_printf(&p->t, "   before %s", e->before);
    end_line(p);
}

static void put_end(struct page *p, const char *lookup)
{
    const struct why *w = p->w;
    char line[WHY_LINE];

    if (lookup)
        say(p, "lookup", lookup);
    if (w->sni_assumed && w->facts.sni.n)
        say(p, "sni", "taken to be the target's name");
    if (!w->local && (w->end != WHY_REFUSED || w->verdict.reason == END_UPSTREAM_DENIED) && (w->routed || w->end == WHY_ALLOWED))
        put_ways(p);
    if (w->end == WHY_ALLOWED && !w->local && w->question->connect)
        put_tunnel(p);
    if (w->verdict.would)
        say(p, "would be", rule_title(w->verdict.would));
    if (w->end == WHY_REFUSED)
        put_way(p);
    why_line(w, line);
    text_operator(&p->t, slice_str(line));
    end_line(p);
}

char *why_text(const struct why *w, const char *lookup, size_t *ret_n)
{
    struct page p = {.w = w};

    put_request(&p);
    put_walk(&p);
    put_end(&p, lookup);
    return text_take(&p.t, ret_n);
}

/* ---- as JSON ---- */

static void json_addr(struct json *j, const char *key, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];

    if (is_ip(a))
        json_kstr(j, key, slice_of(text, addr_host_text(a, text)));
    else
        json_kstr(j, key, SLICE("unix"));
}

static const char *const json_answers[] = {"no", "yes", "needs-user", "needs-address", "needs-sni"};

static void json_event(struct json *j, const struct why *w, const struct why_event *e)
{
    json_open(j, '{');
    json_page_z(j, "stage", stage_names[e->stage]);
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
    json_page_z(j, "kind", way_word(r));
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
    json_page_z(j, "per", per_words[l->per]);
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
    static const char *const ends[] = {[WHY_ALLOWED] = "allow", [WHY_REFUSED] = "deny", [WHY_NEEDS_ADDRESSES] = "needs-addresses",
                                       [WHY_UNRESOLVED] = "unresolved"};
    const struct verdict *v = &w->verdict;
    char line[WHY_LINE];

    json_page_z(j, "answer", ends[w->end]);
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
        if (is_ip(&w->refused))
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
            json_page_z(j, "sni", sni_word(w->sni));
            json_page_z(j, "expect", expect_word(w));
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
