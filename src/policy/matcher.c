/* SPDX-License-Identifier: MIT */
/* matcher: one question a word that was given, all of which must say yes. Called once a rule for each request, and for whatever else takes a
 * matcher. The order is that of enum match_word: most matchers are done after the first one. It never resolves a name: a range is for addresses only.
 */
#include "policy/matcher.h"

#include "base/check.h"
#include "base/mem.h"
#include "policy/match_path.h"
#include "policy/match_time.h"

#include <string.h>

const char *match_word_name(enum match_word w)
{
    static const char *const names[WORDS] = {
        [WORD_NONE] = "", [WORD_PORT] = "port", [WORD_SCHEME] = "scheme", [WORD_METHOD] = "method", [WORD_LISTENER] = "listener",
        [WORD_FROM] = "from", [WORD_USER] = "user", [WORD_GROUP] = "group", [WORD_LABEL] = "label", [WORD_TIME] = "time",
        [WORD_HOST] = "host", [WORD_PATH] = "path", [WORD_HEADER] = "header", [WORD_TO] = "to", [WORD_SNI] = "sni", [WORD_EXCEPT] = "except",
    };

    return (unsigned)w < WORDS ? names[w] : "";
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A name has no colon, and its last label does not begin and end with a digit, as that of a literal IPv4 address does: names need no parser. */
static bool may_be_literal(struct slice host)
{
    size_t last = host.n;

    if (slice_find(host, ':') < host.n)
        return true;
    if (!host.n || !is_digit(host.p[host.n - 1]))
        return false;
    while (last > 0 && host.p[last - 1] != '.')
        last--;
    return is_digit(host.p[last]);
}

void match_facts_host(struct match_facts *f, struct slice host)
{
    f->host = host;
    f->key = NULL;
    if (!may_be_literal(host) || addr_parse_host(host, 0, &f->literal) < 0)
        f->literal.sa.sa_family = AF_UNSPEC;
}

static enum match_answer yes(bool holds)
{
    return holds ? MATCH_YES : MATCH_NO;
}

static bool known(const struct addr *a)
{
    return a && a->sa.sa_family != AF_UNSPEC;
}

/* What nobody can know holds where that is the safer thing. */
static enum match_answer unknowable(enum match_use use)
{
    return yes(use == MATCH_DENY);
}

/* ---- the words ---- */

static bool port_holds(const struct matcher *m, uint16_t port)
{
    for (unsigned i = 0; port && i < m->n_ports; i++)
        if (m->ports[i].first <= port && port <= m->ports[i].last)
            return true;
    return false;
}

static bool has_word(const struct slice *words, unsigned n, struct slice word)
{
    for (unsigned i = 0; word.n && i < n; i++)
        if (slice_eq(words[i], word))
            return true;
    return false;
}

static bool has_any_word(const struct slice *words, unsigned n, struct slice list)
{
    while (list.n) {
        size_t comma = slice_find(list, ',');

        if (has_word(words, n, slice_of(list.p, comma)))
            return true;
        list = slice_skip(list, min_size(comma + 1, list.n));
    }
    return false;
}

static enum match_answer ask_method(const struct matcher *m, const struct match_facts *f, enum match_use use)
{
    if (has_word(m->methods, m->n_methods, f->method))
        return MATCH_YES;
    return f->opaque ? unknowable(use) : MATCH_NO;
}

static enum match_answer yes_or_user(bool holds, const struct match_facts *f)
{
    return holds ? MATCH_YES : f->pending & MATCH_PENDING_USER ? MATCH_NEEDS_USER : MATCH_NO;
}

static enum match_answer ask_user(const struct matcher *m, const struct match_facts *f)
{
    return yes_or_user((m->any_user && f->user.n) || has_word(m->users, m->n_users, f->user), f);
}

static enum match_answer ask_label(const struct matcher *m, const struct match_facts *f, enum match_use use)
{
    return yes_or_user(has_any_word(m->labels, m->n_labels, use == MATCH_ALLOW ? f->granted : f->labels), f);
}

static bool time_holds(const struct matcher *m, uint16_t minute)
{
    for (unsigned i = 0; i < m->n_times; i++)
        if (match_time_holds(&m->times[i], minute))
            return true;
    return false;
}

/* Behind the well-known NAT64 prefix the IPv4 address inside is what is reached (RFC 6052). */
static bool inside_nat64(const struct addr *a, struct addr *ret_inside)
{
    static const uint8_t prefix[12] = {0x00, 0x64, 0xff, 0x9b};
    const uint8_t *bytes = (const uint8_t *)&a->in6.sin6_addr;

    if (a->sa.sa_family != AF_INET6 || memcmp(bytes, prefix, sizeof(prefix)) != 0)
        return false;
    addr_v4(ret_inside, bytes + sizeof(prefix), 0);
    return true;
}

/* A connection to 0.0.0.0 or :: reaches loopback (Linux): whoever speaks of loopback means them, too. */
static bool range_reaches(const struct ranges *r, const struct addr *a, enum match_use use)
{
    static const uint8_t v6[16] = {[15] = 1}, v4[4] = {127, 0, 0, 1};
    struct addr other;

    if (ranges_has(r, a))
        return true;
    if (use == MATCH_DENY && inside_nat64(a, &other))
        return range_reaches(r, &other, use);
    if (!addr_is_any(a))
        return false;
    addr_v4(&other, v4, 0);
    if (a->sa.sa_family == AF_INET6)
        addr_v6(&other, v6, 0);
    return ranges_has(r, &other);
}

static bool name_in(const struct hosts *h, const struct match_facts *f)
{
    return f->key ? hosts_has_key(h, f->host, f->key) : hosts_has(h, f->host);
}

static enum match_answer ask_host(const struct matcher *m, const struct match_facts *f, enum match_use use)
{
    if (f->host.n == 0)
        return MATCH_NO;
    if (known(&f->literal))
        return yes(use == MATCH_DENY ? range_reaches(&m->host_ranges, &f->literal, use) : ranges_has(&m->host_ranges, &f->literal));
    if (m->hosts && name_in(m->hosts, f))
        return MATCH_YES;
    if (use != MATCH_DENY || ranges_empty(&m->host_ranges))
        return MATCH_NO;
    if (!known(f->to))
        return f->pending & MATCH_PENDING_ADDRESS ? MATCH_NEEDS_ADDRESS : MATCH_NO;
    return yes(range_reaches(&m->host_ranges, f->to, use));
}

/* A text against a subject. */
static enum regex_answer find_text(const struct matcher_text *t, struct slice subject, bool prefix)
{
    bool found;

    if (t->regex)
        return regex_find(t->regex, subject);
    found = prefix ? t->text.n <= subject.n && slice_eq(t->text, slice_of(subject.p, t->text.n)) : slice_eq(t->text, subject);
    return found ? REGEX_YES : REGEX_NO;
}

/* Any of the texts. An expression that gave up does not know, and is not tried on anything else: giving up is what takes long. */
static enum regex_answer find_texts(const struct matcher_text *v, unsigned n, struct slice subject, bool prefix)
{
    enum regex_answer r = REGEX_NO;

    for (unsigned i = 0; i < n && r == REGEX_NO; i++)
        r = find_text(&v[i], subject, prefix);
    return r;
}

static bool holds_for(enum regex_answer r, enum match_use use)
{
    return r == REGEX_GAVE_UP ? unknowable(use) == MATCH_YES : r == REGEX_YES;
}

static bool path_holds(const struct matcher *m, struct slice path, enum match_use use)
{
    return path.n && holds_for(find_texts(m->paths, m->n_paths, path, true), use);
}

/* What the origin will make of a path that can be read in two ways, nobody knows here. */
static enum match_answer ask_path(const struct matcher *m, const struct match_facts *f, enum match_use use)
{
    struct slice path = slice_of(f->path.p, slice_find(f->path, '?')), plain;
    char room[MATCH_PATH_ROOM];
    bool holds;

    if (f->opaque)
        return unknowable(use);
    holds = path_holds(m, path, use);
    if (match_path_plain(path, room, &plain) < 0)
        return unknowable(use);
    if (plain.p == path.p)
        return yes(holds);
    return yes(use == MATCH_DENY ? holds || path_holds(m, plain, use) : holds && path_holds(m, plain, use));
}

static bool field_holds(const struct matcher_field *want, const struct hdrs *fields, enum match_use use)
{
    enum regex_answer r = REGEX_NO;

    for (uint32_t i = 0; fields && i < fields->n && r == REGEX_NO; i++) {
        const struct field *f = &fields->v[i];

        if (f->id != want->id || (want->id == HDR_OTHER && !slice_eq_nocase(f->name, want->name)))
            continue;
        if (!want->n)
            return true;
        r = find_texts(want->values, want->n, f->value, false);
    }
    return holds_for(r, use);
}

static enum match_answer ask_header(const struct matcher *m, const struct match_facts *f, enum match_use use)
{
    if (f->opaque)
        return unknowable(use);
    for (unsigned i = 0; i < m->n_fields; i++)
        if (!field_holds(&m->fields[i], f->fields, use))
            return MATCH_NO;
    return MATCH_YES;
}

static enum match_answer ask_to(const struct matcher *m, const struct match_facts *f, enum match_use use)
{
    if (known(f->to))
        return yes(range_reaches(&m->to, f->to, use));
    return f->pending & MATCH_PENDING_ADDRESS ? MATCH_NEEDS_ADDRESS : MATCH_NO;
}

static enum match_answer ask_sni(const struct matcher *m, const struct match_facts *f)
{
    if (f->pending & MATCH_PENDING_SNI)
        return MATCH_NEEDS_SNI;
    return yes(hosts_has(m->snis, f->sni));
}

/* ---- all of them ---- */

/* What is missing in an exception is missing in the whole: who is excepted must not slip through while it is not known. */
static enum match_answer ask_except(const struct matcher *m, const struct match_facts *f, enum match_use use)
{
    /* What a rule leaves out is the opposite of what it is for. */
    enum match_use turned = use == MATCH_ALLOW ? MATCH_DENY : use == MATCH_DENY ? MATCH_ALLOW : MATCH_FOR;
    enum match_answer a = matcher_ask_any(m->except, m->n_except, f, turned, NULL);

    return a == MATCH_NO ? MATCH_YES : a == MATCH_YES ? MATCH_NO : a;
}

static enum match_answer ask_word(const struct matcher *m, const struct match_facts *f, enum match_use use, enum match_word word)
{
    switch (word) {
    case WORD_PORT:
        return yes(port_holds(m, f->port));
    case WORD_SCHEME:
        return yes(m->schemes & f->scheme);
    case WORD_METHOD:
        return ask_method(m, f, use);
    case WORD_LISTENER:
        return yes(has_word(m->listeners, m->n_listeners, f->listener));
    case WORD_FROM:
        return yes(known(f->from) && ranges_has(&m->from, f->from));
    case WORD_USER:
        return ask_user(m, f);
    case WORD_GROUP:
        return yes_or_user(has_any_word(m->groups, m->n_groups, f->groups), f);
    case WORD_LABEL:
        return ask_label(m, f, use);
    case WORD_TIME:
        return yes(time_holds(m, f->minute));
    case WORD_PATH:
        return ask_path(m, f, use);
    case WORD_HEADER:
        return ask_header(m, f, use);
    case WORD_TO:
        return ask_to(m, f, use);
    case WORD_SNI:
        return ask_sni(m, f);
    case WORD_EXCEPT:
        return ask_except(m, f, use);
    case WORD_NONE:
    case WORD_HOST:
    case WORDS:
        break;
    }
    UNREACHABLE();
}

/* The words that were given, as bits; but for the host. Without branches, which could not be guessed. */
static unsigned words_of(const struct matcher *m)
{
    return (unsigned)(m->n_ports != 0) << WORD_PORT | (unsigned)(m->schemes != 0) << WORD_SCHEME |
           (unsigned)(m->n_methods != 0) << WORD_METHOD | (unsigned)(m->n_listeners != 0) << WORD_LISTENER |
           (unsigned)m->has_from << WORD_FROM | (unsigned)((m->n_users != 0) | m->any_user) << WORD_USER |
           (unsigned)(m->n_groups != 0) << WORD_GROUP | (unsigned)(m->n_labels != 0) << WORD_LABEL |
           (unsigned)(m->n_times != 0) << WORD_TIME | (unsigned)(m->n_paths != 0) << WORD_PATH |
           (unsigned)(m->n_fields != 0) << WORD_HEADER | (unsigned)m->has_to << WORD_TO | (unsigned)(m->snis != NULL) << WORD_SNI |
           (unsigned)(m->n_except != 0) << WORD_EXCEPT;
}

static enum match_answer answer(enum match_answer a, enum match_word word, enum match_word *ret_word)
{
    if (ret_word)
        *ret_word = word;
    return a;
}

/* The words behind the host, which said `needs`: YES, or what it waits for. */
static enum match_answer ask_others(const struct matcher *m, const struct match_facts *f, enum match_use use, enum match_answer needs,
                                    enum match_word *ret_word)
{
    enum match_word needs_word = needs == MATCH_YES ? WORD_NONE : WORD_HOST;

    for (unsigned words = words_of(m); words; words &= words - 1) {
        enum match_word word = (enum match_word)__builtin_ctz(words);
        enum match_answer a = ask_word(m, f, use, word);

        if (a == MATCH_NO)
            return answer(MATCH_NO, word, ret_word);
        /* Whom it is about is asked first, then where it goes, then what is inside. */
        if (a != MATCH_YES && (needs == MATCH_YES || a < needs)) {
            needs = a;
            needs_word = word;
        }
    }
    return answer(needs, needs_word, ret_word);
}

enum match_answer matcher_ask(const struct matcher *m, const struct match_facts *f, enum match_use use, enum match_word *ret_word)
{
    enum match_answer host = MATCH_YES;

    /* Where there are thousands of rules, this is nearly all of the work. */
    if (m->has_host && !m->any_host)
        host = ask_host(m, f, use);
    if (host == MATCH_NO)
        return answer(MATCH_NO, WORD_HOST, ret_word);
    return ask_others(m, f, use, host, ret_word);
}

/* Of failures the one that came furthest says most. */
static bool says_more(enum match_answer a, enum match_word word, enum match_answer best, enum match_word best_word)
{
    return a == MATCH_NO ? best == MATCH_NO && word > best_word : best == MATCH_NO || a < best;
}

enum match_answer matcher_ask_any(const struct matcher *v, unsigned n, const struct match_facts *f, enum match_use use, enum match_word *ret_word)
{
    enum match_answer best = MATCH_NO;
    enum match_word word, best_word = WORD_NONE;

    if (n == 1)
        return matcher_ask(v, f, use, ret_word);
    for (unsigned i = 0; i < n; i++) {
        enum match_answer a = matcher_ask(&v[i], f, use, &word);

        if (a == MATCH_YES)
            return answer(a, WORD_NONE, ret_word);
        if (says_more(a, word, best, best_word)) {
            best = a;
            best_word = word;
        }
    }
    return answer(best, best_word, ret_word);
}

bool matcher_opens(const struct matcher *m, const struct match_facts *f)
{
    if (m->has_to && known(f->to) && ranges_has(&m->to, f->to))
        return true;
    return m->has_host && known(&f->literal) && ranges_has(&m->host_ranges, &f->literal);
}

bool matcher_waits_for_sni(const struct matcher *m)
{
    bool waits = m->snis != NULL;

    for (unsigned i = 0; i < m->n_except && !waits; i++)
        waits = matcher_waits_for_sni(&m->except[i]);
    return waits;
}

bool matcher_looks_inside(const struct matcher *m)
{
    bool looks = m->n_paths || m->n_fields;

    for (unsigned i = 0; i < m->n_except && !looks; i++)
        looks = matcher_looks_inside(&m->except[i]);
    return looks;
}

static void free_texts(struct matcher_text *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        regex_free(v[i].regex);
    mem_free(v);
}

void matcher_done(struct matcher *m)
{
    hosts_free(m->hosts);
    hosts_free(m->snis);
    ranges_done(&m->host_ranges);
    ranges_done(&m->from);
    ranges_done(&m->to);
    free_texts(m->paths, m->n_paths);
    for (unsigned i = 0; i < m->n_fields; i++)
        free_texts(m->fields[i].values, m->fields[i].n);
    mem_free(m->fields);
    mem_free(m->ports);
    mem_free(m->methods);
    mem_free(m->listeners);
    mem_free(m->users);
    mem_free(m->groups);
    mem_free(m->labels);
    mem_free(m->times);
    *m = (struct matcher){0};
}
