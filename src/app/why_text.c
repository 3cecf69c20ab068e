/* SPDX-License-Identifier: MIT */
/* why_text: a judgement for people, a line for each thing that was looked at. Called with what why_judge has found. Nothing from outside reaches a terminal
 * unescaped.
 */
#include "app/text.h"
#include "app/why.h"
#include "app/why_words.h"

enum { COLUMN_WHAT = 11, COLUMN_PLACE = 12, COLUMN_PLACE_MOST = 40, COLUMN_RULE = 20 };

static const char *client_text(const struct why *w, char out[ADDR_TEXT_MAX])
{
    if (addr_is_ip(&w->client))
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
        text_printf(&p->t, ", per %s", why_words_per(l->per));
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
    text_str(&p->t, why_words_way(r));
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

static void put_tunnel(struct page *p)
{
    const struct why *w = p->w;
    const char *expect = why_words_expect(w);

    begin_line(p, "tunnel");
    text_printf(&p->t, "sni: %s%s%s", why_words_sni(w->sni), expect ? ", expect: " : "", expect ? expect : "");
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
