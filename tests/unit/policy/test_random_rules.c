/* SPDX-License-Identifier: MIT */
/* Random rules and requests: what was compiled says what a naive reading of the same text says. The naive one is slow, knows every fact, has two
 * answers only, and shares nothing with the program but the text. Facts that are still missing are tested against it, too: whatever they turn out to
 * be, it has to come to the same end. Some policies are long enough for an index over their rules. */
#include "build_config.h"
#define POLICY_TEXT_RULES 40
#include "support/policy_text.h"

#include "random.h"

#include <arpa/inet.h>
#include <regex.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { POLICIES = 4000, REQUESTS = 5, LATER = 4, RULES = 7, LONG_RULES = POLICY_TEXT_RULES, ITEM = 64, ITEMS = 8, MAPS = 2, LINE = 16384 };

static uint64_t seed;

static unsigned below(unsigned n)
{
    return random_below(&seed, n);
}

#define PICK(list) ((list)[below(ARRAY_LEN(list))])

/* ---- rules as text ---- */

struct naive_matcher {
    char items[ITEMS][ITEM], except[ITEMS][ITEM];
    unsigned n, n_except;
};

struct naive_rule {
    bool deny, report, any_port;
    struct naive_matcher hosts, maps[MAPS], with;
    unsigned n_maps;
};

struct naive_policy {
    struct naive_rule rules[LONG_RULES];
    unsigned n;
    bool report;
};

static const char *const hosts[] = {"a.example", "www.a.example", ".a.example", "b.example",      ".b.example",     ".example",
                                    "any",       "any",           "10.0.0.0/8", "10.1.2.3",       "192.168.0.0/16", "2001:db8::/32",
                                    "0.0.0.0/0", "c.example",     "example",    "::ffff:10.1.2.3"};
/* of no request: long lists of rules are mostly about something else */
static const char *const others[] = {"d.example", ".e.test", "www.f.test", ".x.y.c.example", "172.16.0.0/12", "2001:db9::/32", "b.test", ".a.test"};
static const char *const words[] = {
    "port=22,8000-9000", "port=443", "port=80", "method=GET", "method=POST,CONNECT", "scheme=http", "scheme=connect,https", "path=/v1/",
    "path=/v1/,/v2/x", "path=~^/v[12]/", "path=~x$", "header=x-team:blue", "header=x-team", "header=cookie:1", "user=bob", "user=any",
    "user=alice,bob", "group=qa,dev", "group=dev", "label=red", "label=blue,prio=high", "from=10.0.0.0/8", "from=::/0,192.168.0.1",
    "to=10.0.0.0/8", "to=1.0.0.0/8,2001:db8::/32", "listener=lan", "listener=lan,wan", "sni=.a.example", "sni=b.example", "time=mon-fri_08:00-18:00",
    "time=sat,sun", "time=fri_22:00-06:00",
};

static void add_item(char list[ITEMS][ITEM], unsigned *n, const char *item)
{
    if (*n < ITEMS)
        snprintf(list[(*n)++], ITEM, "%s", item);
}

static const char *random_word(void)
{
    const char *word = PICK(words);

    return !HAVE_REGEX && strchr(word, '~') ? "port=443" : word;
}

static void random_matcher(struct naive_matcher *m, unsigned most_hosts, unsigned most_words)
{
    for (unsigned n = below(most_hosts + 1); n; n--)
        add_item(m->items, &m->n, PICK(hosts));
    for (unsigned n = below(most_words + 1); n; n--)
        add_item(m->items, &m->n, random_word());
    for (unsigned n = below(6) == 0 ? 1 + below(3) : 0; n; n--)
        add_item(m->except, &m->n_except, below(3) ? random_word() : PICK(hosts));
}

static void random_rule(struct naive_rule *r)
{
    *r = (struct naive_rule){.deny = below(2), .report = below(5) == 0, .any_port = below(3) == 0, .n_maps = below(3) == 0 ? 1 + below(MAPS) : 0};
    for (unsigned n = 1 + below(2); n && (n > 1 || !r->n_maps || below(2)); n--)
        add_item(r->hosts.items, &r->hosts.n, PICK(hosts));
    for (unsigned i = 0; i < r->n_maps; i++) {
        random_matcher(&r->maps[i], 2, 2);
        if (!r->maps[i].n && !r->maps[i].n_except)
            add_item(r->maps[i].items, &r->maps[i].n, "any");
    }
    random_matcher(&r->with, 0, below(3));
    if (!r->hosts.n && !r->n_maps)
        add_item(r->hosts.items, &r->hosts.n, "any");
}

/* Long enough for an index, and few of them match. */
static void random_long_policy(struct naive_policy *p)
{
    p->n = RULES_INDEX_MIN + below(LONG_RULES - RULES_INDEX_MIN + 1);
    for (unsigned i = 0; i < p->n; i++) {
        random_rule(&p->rules[i]);
        if (below(8) == 0)
            continue;
        p->rules[i].hosts.n = p->rules[i].n_maps = 0;
        add_item(p->rules[i].hosts.items, &p->rules[i].hosts.n, PICK(others));
    }
}

static size_t put_matcher(char *out, size_t n, const struct naive_matcher *m)
{
    for (unsigned i = 0; i < m->n; i++)
        n += (size_t)snprintf(out + n, LINE - n, " %s", m->items[i]);
    for (unsigned i = 0; i < m->n_except; i++)
        n += (size_t)snprintf(out + n, LINE - n, " !%s", m->except[i]);
    return n;
}

static void put_policy(char out[LINE], const struct naive_policy *p)
{
    size_t n = (size_t)snprintf(out, LINE, "rules; private allow%s", p->report ? "; report" : "");

    for (unsigned i = 0; i < p->n; i++) {
        const struct naive_rule *r = &p->rules[i];

        n += (size_t)snprintf(out + n, LINE - n, "; %s", r->deny ? "deny" : "allow");
        n = put_matcher(out, n, &r->hosts);
        for (unsigned j = 0; j < r->n_maps; j++) {
            n += (size_t)snprintf(out + n, LINE - n, " {");
            n = put_matcher(out, n, &r->maps[j]);
            n += (size_t)snprintf(out + n, LINE - n, " }");
        }
        n = put_matcher(out, n, &r->with);
        n += (size_t)snprintf(out + n, LINE - n, "%s%s", r->any_port ? " port=any" : "", r->report ? " report" : "");
    }
    assert_true(n < LINE);
}

/* ---- requests ---- */

struct naive_request {
    const char *method, *scheme, *host, *path, *plain; /* scheme "connect": without a path; plain: the path as an origin may read it */
    const char *header, *user, *groups, *labels, *granted, *from, *to, *listener, *sni, *at;
    unsigned port;
    bool user_later, to_later, sni_later;
};

static const struct {
    const char *user, *groups, *labels, *granted;
} people[] = {{"", "", "", ""}, {"bob", "qa,ops", "red,prio=high", "red"}, {"alice", "dev", "blue", ""}, {"eve", "", "red", "red"}};
static const char *const addresses[] = {"", "10.1.2.3", "10.200.0.1", "1.2.3.4", "192.168.0.1", "2001:db8::1"};
static const char *const names_inside[] = {"", "www.a.example", "b.example"};

static void random_user(struct naive_request *r)
{
    unsigned i = below(ARRAY_LEN(people));

    r->user = people[i].user;
    r->groups = people[i].groups;
    r->labels = people[i].labels;
    r->granted = people[i].granted;
}

static void random_request(struct naive_request *r)
{
    static const char *const targets[] = {"a.example", "www.a.example", "b.example", "x.b.example", "c.example", "xa.example", "example",
                                          "10.1.2.3",  "10.9.9.9",      "8.8.8.8",   "2001:db8::7", "::ffff:10.1.2.3"};
    static const char *const paths[][2] = {{"/v1/", "/v1/"},          {"/v1/x", "/v1/x"},     {"/v2/x?y", "/v2/x"},     {"/v3/?/v1/", "/v3/"}, {"/", "/"},
                                           {"/v1/../v3/", "/v3/"},    {"/%761/", "/v1/"},     {"/v1/%2e%2e/", "/"},     {"//v1/x", "/v1/x"},
                                           {"/v3/..%2Fv1/", "/v1/"},  {"/v1/a%20x", "/v1/a%20x"}, {"/v1\\x", "/v1/x"}, {"/v2/./x", "/v2/x"}};
    static const char *const headers[] = {"", "", "X-Team:blue", "x-team:red", "Cookie:1"};
    static const char *const times[] = {"", "mon_07:59", "mon_08:00", "fri_17:59", "fri_23:00", "sat_05:00", "sat_12:00", "sun_03:00"};
    static const unsigned ports[] = {443, 80, 22, 8443};
    unsigned path = below(ARRAY_LEN(paths));

    *r = (struct naive_request){
        .method = below(2) ? "GET" : "POST",
        .scheme = below(2) ? "http" : "https",
        .host = PICK(targets),
        .path = paths[path][0],
        .plain = paths[path][1],
        .header = PICK(headers),
        .from = PICK(addresses),
        .to = PICK(addresses),
        .listener = below(2) ? "lan" : "wan",
        .sni = PICK(names_inside),
        .at = PICK(times),
        .port = PICK(ports),
    };
    if (below(2)) {
        r->scheme = r->method = "connect";
        r->path = "";
    }
    random_user(r);
}

static bool is_literal(const struct naive_request *r)
{
    return strchr(r->host, ':') || (r->host[0] >= '0' && r->host[0] <= '9');
}

static void put_request(char out[LINE], const struct naive_request *r)
{
    bool connect = strcmp(r->scheme, "connect") == 0, v6 = strchr(r->host, ':');
    size_t n = (size_t)snprintf(out, LINE, "%s %s%s%s%s%s:%u%s listener=%s", connect ? "CONNECT" : r->method, connect ? "" : r->scheme,
                                connect ? "" : "://", v6 ? "[" : "", r->host, v6 ? "]" : "", r->port, r->path, r->listener);
    const char *const facts[][2] = {{"header", r->header}, {"from", r->from}, {"at", r->at}, {"to", r->to_later ? "?" : r->to},
                                    {"sni", r->sni_later ? "?" : r->sni}, {"user", r->user_later ? "?" : r->user},
                                    {"groups", r->groups}, {"labels", r->labels}, {"granted", r->granted}};

    for (size_t i = 0; i < ARRAY_LEN(facts); i++)
        if (facts[i][1][0])
            n += (size_t)snprintf(out + n, LINE - n, " %s=%s", facts[i][0], facts[i][1]);
    assert_true(n < LINE);
}

/* ---- the naive reading ---- */

enum naive_use { IN_ALLOW, IN_DENY };

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* IPv4 as four bytes, also mapped; IPv6 as sixteen. */
static unsigned naive_bytes(const char *text, unsigned char out[16])
{
    static const unsigned char mapped[12] = {[10] = 255, [11] = 255};

    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    if (inet_pton(AF_INET6, text, out) != 1)
        return 0;
    if (memcmp(out, mapped, 12) != 0)
        return 16;
    memmove(out, out + 12, 4);
    return 4;
}

static bool naive_in_range(const char *address, const char *range)
{
    unsigned char a[16], b[16];
    char text[ITEM];
    const char *slash = strchr(range, '/');
    unsigned n, bits;

    snprintf(text, sizeof(text), "%.*s", slash ? (int)(slash - range) : ITEM - 1, range);
    n = naive_bytes(text, b);
    if (!n || naive_bytes(address, a) != n)
        return false;
    bits = slash ? (unsigned)atoi(slash + 1) : 8 * n;
    for (unsigned i = 0; i < bits; i++)
        if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
            return false;
    return true;
}

static bool is_range(const char *host)
{
    unsigned char bytes[16];
    char text[ITEM];

    snprintf(text, sizeof(text), "%.*s", (int)strcspn(host, "/"), host);
    return naive_bytes(text, bytes);
}

static bool naive_host(const char *item, const struct naive_request *r, enum naive_use use)
{
    size_t n = strlen(item), m = strlen(r->host);

    if (strcmp(item, "any") == 0)
        return true;
    if (is_range(item))
        return is_literal(r) ? naive_in_range(r->host, item) : use == IN_DENY && naive_in_range(r->to, item);
    if (is_literal(r))
        return false;
    if (item[0] != '.')
        return strcmp(item, r->host) == 0;
    return strcmp(item + 1, r->host) == 0 || (m > n && strcmp(r->host + m - n, item) == 0);
}

static bool naive_time(const char *span, const char *at)
{
    static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    int day = -1, minute;

    for (int i = 0; i < 7; i++)
        if (starts(at, days[i]))
            day = i;
    if (day < 0)
        return false;
    minute = atoi(at + 4) * 60 + atoi(at + 7);
    if (strcmp(span, "mon-fri_08:00-18:00") == 0)
        return day < 5 && minute >= 480 && minute < 1080;
    if (strcmp(span, "sat,sun") == 0)
        return day >= 5;
    return (day == 4 && minute >= 1320) || (day == 5 && minute < 360);
}

static bool naive_regex(const char *pattern, const char *subject)
{
    regex_t re;
    bool found;

    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    found = regexec(&re, subject, 0, NULL, 0) == 0;
    regfree(&re);
    return found;
}

static bool naive_path_is(const char *want, const char *path)
{
    return want[0] == '~' ? naive_regex(want + 1, path) : starts(path, want);
}

/* A list of texts with commas between has one of those in another. */
static bool naive_lists_meet(const char *a, const char *b)
{
    char copy[ITEM], *rest = copy, *piece;

    snprintf(copy, sizeof(copy), "%s", a);
    while ((piece = strsep(&rest, ",")) != NULL) {
        size_t n = strlen(piece);

        for (const char *at = b; n && *at; at += strcspn(at, ","), at += *at == ',')
            if (strcspn(at, ",") == n && memcmp(at, piece, n) == 0)
                return true;
    }
    return false;
}

static bool naive_port(const char *list, unsigned port)
{
    for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',') {
        unsigned first = (unsigned)atoi(at), last = first;
        size_t dash = strcspn(at, "-,");

        if (at[dash] == '-')
            last = (unsigned)atoi(at + dash + 1);
        if (first <= port && port <= last)
            return true;
    }
    return false;
}

static bool naive_ranges(const char *list, const char *address)
{
    char copy[ITEM], *rest = copy, *piece;

    snprintf(copy, sizeof(copy), "%s", list);
    while ((piece = strsep(&rest, ",")) != NULL)
        if (naive_in_range(address, piece))
            return true;
    return false;
}

static bool naive_names(const char *list, const char *name)
{
    struct naive_request r = {.host = name};

    return name[0] && naive_host(list, &r, IN_ALLOW);
}

static bool naive_header(const char *want, const char *header)
{
    size_t name = strcspn(want, ":");

    return strncasecmp(want, header, name) == 0 && header[name] == ':' && (!want[name] || strcmp(want + name, header + name) == 0);
}

/* The list of a `path` item, one reading. */
static bool naive_paths(const char *list, const char *path)
{
    char copy[ITEM], *rest = copy, *piece;
    char without_query[ITEM];

    snprintf(without_query, sizeof(without_query), "%.*s", (int)strcspn(path, "?"), path);
    snprintf(copy, sizeof(copy), "%s", list);
    while ((piece = strsep(&rest, ",")) != NULL)
        if (naive_path_is(piece, without_query))
            return true;
    return false;
}

/* One item of a matcher, alone. Paths are asked in one reading. */
static bool naive_item(const char *item, const struct naive_request *r, enum naive_use use, const char *path)
{
    bool connect = strcmp(r->scheme, "connect") == 0;
    const char *v = strchr(item, '=') ? strchr(item, '=') + 1 : "";

    if (starts(item, "port="))
        return naive_port(v, r->port);
    if (starts(item, "method="))
        return connect ? naive_lists_meet("CONNECT", v) || use == IN_DENY : naive_lists_meet(r->method, v);
    if (starts(item, "scheme="))
        return naive_lists_meet(r->scheme, v);
    if (starts(item, "path="))
        return connect ? use == IN_DENY : naive_paths(v, path);
    if (starts(item, "header="))
        return connect ? use == IN_DENY : naive_header(v, r->header);
    if (starts(item, "user="))
        return r->user[0] && (strcmp(v, "any") == 0 || naive_lists_meet(r->user, v));
    if (starts(item, "group="))
        return naive_lists_meet(r->groups, v);
    if (starts(item, "label="))
        return naive_lists_meet(use == IN_ALLOW ? r->granted : r->labels, v);
    if (starts(item, "from="))
        return naive_ranges(v, r->from);
    if (starts(item, "to="))
        return naive_ranges(v, r->to);
    if (starts(item, "listener="))
        return naive_lists_meet(r->listener, v);
    if (starts(item, "sni="))
        return naive_names(v, r->sni);
    if (starts(item, "time="))
        return naive_time(v, r->at);
    return naive_host(item, r, use);
}

static size_t key_length(const char *item)
{
    return strchr(item, '=') ? strcspn(item, "=") : 0;
}

static bool same_key(const char *a, const char *b)
{
    return key_length(a) == key_length(b) && strncmp(a, b, key_length(a)) == 0;
}

/* Of items with the same word any, of words all; of fields all. */
static bool naive_items(const char items[ITEMS][ITEM], unsigned n, const struct naive_request *r, enum naive_use use)
{
    for (unsigned i = 0; i < n; i++) {
        bool raw = false, plain = false, header = starts(items[i], "header=");

        for (unsigned j = 0; j < n; j++) {
            if (!same_key(items[i], items[j]) || (header && i != j))
                continue;
            raw = raw || naive_item(items[j], r, use, r->path);
            plain = plain || naive_item(items[j], r, use, r->plain);
        }
        if (use == IN_DENY ? !raw && !plain : !raw || !plain)
            return false;
    }
    return true;
}

static bool naive_matches(const struct naive_matcher *m, const struct naive_request *r, enum naive_use use)
{
    enum naive_use turned = use == IN_ALLOW ? IN_DENY : IN_ALLOW;

    return naive_items(m->items, m->n, r, use) && !(m->n_except && naive_items(m->except, m->n_except, r, turned));
}

static bool has_port(const struct naive_matcher *m)
{
    for (unsigned i = 0; i < m->n; i++)
        if (starts(m->items[i], "port="))
            return true;
    return false;
}

static bool naive_where(const struct naive_rule *rule, const struct naive_matcher *m, const struct naive_request *r)
{
    bool usual = !rule->deny && !rule->any_port && !has_port(&rule->with) && !has_port(m);

    return (!usual || r->port == 80 || r->port == 443) && naive_matches(m, r, rule->deny ? IN_DENY : IN_ALLOW);
}

static bool naive_rule_matches(const struct naive_rule *rule, const struct naive_request *r)
{
    bool where = rule->hosts.n && naive_where(rule, &rule->hosts, r);

    for (unsigned i = 0; i < rule->n_maps; i++)
        where = where || naive_where(rule, &rule->maps[i], r);
    return where && naive_matches(&rule->with, r, rule->deny ? IN_DENY : IN_ALLOW);
}

/* Rules from 1; 0: none. */
struct naive_end {
    bool deny;
    unsigned by, would;
};

static struct naive_end naive_judge(const struct naive_policy *p, const struct naive_request *r)
{
    struct naive_end e = {.deny = !p->report};

    for (unsigned i = 0; i < p->n; i++) {
        if (!naive_rule_matches(&p->rules[i], r))
            continue;
        if (!p->rules[i].report) {
            e.deny = p->rules[i].deny;
            e.by = i + 1;
            return e;
        }
        if (!e.would)
            e.would = i + 1;
    }
    return e;
}

/* ---- the comparison ---- */

static struct text_policy policy;
static struct rules_index *rule_index;
static char rules_text[LINE], request_text[LINE], later_text[LINE];

struct counts {
    unsigned allow, deny, needs, would, early, differ, with_index, late;
};

static unsigned number_of(const struct rule *r)
{
    return r ? (unsigned)(r - policy.rules) + 1 : 0;
}

/* Everything is known. */
static void expect_end(const struct verdict *v, const struct naive_end *e, const char *how)
{
    bool would_deny = e->would ? policy.rules[e->would - 1].kind == RULE_DENY : !e->deny && !e->by;

    if (v->kind != (e->deny ? VERDICT_DENY : VERDICT_ALLOW) || number_of(v->by) != e->by || number_of(v->would) != e->would ||
        v->would_deny != would_deny)
        fail_msg("%s\n%s\n%s\n%s: %d by %u would %u, naive: %d by %u would %u", rules_text, request_text, later_text, how, v->kind, number_of(v->by),
                 number_of(v->would), e->deny, e->by, e->would);
}

static struct text_request known_request;

static const struct match_facts *facts_of(const char *text)
{
    text_request(slice_str(text), &known_request);
    assert_int_equal(known_request.errors, 0);
    known_request.f.to = known_request.n_to ? &known_request.to[0] : NULL;
    return &known_request.f;
}

/* What was missing is now something. */
static void check_later(const struct naive_policy *p, const struct naive_request *now, const struct verdict *v, struct counts *c)
{
    struct naive_request later = *now;
    const struct match_facts *f;
    struct naive_end e;
    struct verdict anew, resumed;

    if (now->user_later)
        random_user(&later);
    if (now->to_later)
        later.to = PICK(addresses);
    if (now->sni_later)
        later.sni = PICK(names_inside);
    if (is_literal(&later))
        later.to = later.host;
    later.user_later = later.to_later = later.sni_later = false;
    put_request(later_text, &later);
    f = facts_of(later_text);
    e = naive_judge(p, &later);
    anew = policy_judge(&policy.p, f, 0, NULL, NULL);
    expect_end(&anew, &e, "from the beginning");
    if (v->kind == VERDICT_NEEDS) {
        resumed = policy_judge(&policy.p, f, v->rule, v, NULL);
        expect_end(&resumed, &e, "resumed");
        return;
    }
    /* what was final stays, and an allow is the same rule's */
    if (v->kind != anew.kind || (v->kind == VERDICT_ALLOW && v->by != anew.by))
        fail_msg("%s\n%s\n%s\nturned from %d by %u", rules_text, request_text, later_text, v->kind, number_of(v->by));
    c->differ += v->by != anew.by;
}

/* One that was not needed must not be asked for. */
static void check_needs(const struct naive_request *r, const struct verdict *v)
{
    bool missing = v->needs == FACT_USER ? r->user_later : v->needs == FACT_ADDRESS ? r->to_later : r->sni_later;

    if (!missing || v->rule >= policy.p.n_rules)
        fail_msg("%s\n%s\nasks for what is known", rules_text, request_text);
}

static void check_request(const struct naive_policy *p, struct counts *c)
{
    struct naive_request r;
    struct verdict v;

    random_request(&r);
    if (is_literal(&r))
        r.to = r.host;
    r.user_later = below(2);
    r.to_later = !is_literal(&r) && below(2);
    r.sni_later = strcmp(r.scheme, "connect") == 0 && below(2);
    put_request(request_text, &r);
    v = policy_judge(&policy.p, facts_of(request_text), 0, NULL, NULL);
    c->allow += v.kind == VERDICT_ALLOW;
    c->deny += v.kind == VERDICT_DENY;
    c->needs += v.kind == VERDICT_NEEDS;
    c->would += v.would != NULL;
    c->late += number_of(v.by) > RULES_INDEX_HEAD;
    c->early += v.kind != VERDICT_NEEDS && (r.user_later || r.to_later || r.sni_later);
    if (v.kind == VERDICT_NEEDS)
        check_needs(&r, &v);
    for (unsigned i = 0; i < LATER; i++)
        check_later(p, &r, &v, c);
}

static void test_as_it_reads(void **state)
{
    struct counts c = {0};

    UNUSED(state);
    for (unsigned i = 0; i < POLICIES; i++) {
        static struct naive_policy p;

        p.n = below(RULES + 1);
        p.report = below(6) == 0;
        for (unsigned k = 0; k < p.n; k++)
            random_rule(&p.rules[k]);
        if (below(5) == 0)
            random_long_policy(&p);
        put_policy(rules_text, &p);
        text_policy(slice_str(rules_text), &policy);
        if (policy.errors)
            fail_msg("not written correctly: %s", rules_text);
        assert_int_equal(rules_index_new(policy.rules, policy.p.n_rules, &rule_index), 0);
        policy.p.index = rule_index;
        c.with_index += rule_index != NULL;
        for (unsigned k = 0; k < REQUESTS; k++)
            check_request(&p, &c);
        rules_index_free(rule_index);
        text_policy_done(&policy);
    }
    print_message("%u allow, %u deny, %u needs; %u final with facts missing, %u with a rule in report mode, %u refused by another rule later; %u decided late\n", c.allow,
                  c.deny, c.needs, c.early, c.would, c.differ, c.late);
    assert_true(c.allow > 1000 && c.deny > 1000 && c.needs > 500 && c.would > 500 && c.early > 1000);
    assert_true(c.with_index > 500 && c.late > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_it_reads)};
    const char *given = getenv("GINNEL_TEST_SEED");

    seed = given ? (uint64_t)strtoull(given, NULL, 10) : 5;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
