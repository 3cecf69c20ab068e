/* SPDX-License-Identifier: MIT */
/* limits_key: the keys, moments and sentences of limits. Called by limits_ask, which charges, and by `ginnel why`, which does not. The first byte of
 * a key says what it is of.
 */
#include "proxy/limits_key.h"

#include <stdio.h>
#include <string.h>

/* ---- whose bucket ---- */

static struct slice key_of(struct limits_keys *k, char kind, struct slice what)
{
    size_t n = min_size(what.n, LIMITS_KEY_MAX - 1);

    k->text[0] = kind;
    if (n)
        memcpy(k->text + 1, what.p, n);
    return slice_of(k->text, n + 1);
}

/* An IPv4 address, an IPv6 /64; behind a Unix socket the user, or all together. */
static struct slice key_of_client(struct limits_keys *k, const struct match_facts *f)
{
    struct addr_key a;
    unsigned char bytes[8];
    uint64_t v;

    if (f->from->sa.sa_family == AF_UNIX)
        return key_of(k, 's', f->user);
    a = addr_key(f->from);
    v = a.v4 ? a.lo & UINT32_MAX : a.hi;
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(v >> (56 - 8 * i));
    return a.v4 ? key_of(k, '4', slice_of(bytes + 4, 4)) : key_of(k, '6', slice_of(bytes, 8));
}

bool limits_key(struct limits_keys *k, const struct limit *l, const struct match_facts *f, const struct limits_asker *a, struct slice *ret_key)
{
    bool list = l->per == PER_GROUP || l->per == PER_LABEL;
    struct slice item = SLICE_NONE;

    if (k->n == 0)
        k->list = l->per == PER_GROUP ? f->groups : f->labels;
    if (list ? !slice_next_item(&k->list, &item) && k->n > 0 : k->n > 0)
        return false;
    k->n++;
    switch (l->per) {
    case PER_ALL:
        *ret_key = SLICE("");
        break;
    case PER_CLIENT:
        *ret_key = key_of_client(k, f);
        break;
    case PER_USER:
        *ret_key = key_of(k, 'u', f->user);
        break;
    case PER_GROUP:
        *ret_key = key_of(k, 'g', item);
        break;
    case PER_LABEL:
        *ret_key = key_of(k, 'l', item);
        break;
    case PER_HOST:
        *ret_key = key_of(k, 'h', f->host);
        break;
    case PER_RULE:
        *ret_key = key_of(k, 'r', slice_str(a->rule));
        break;
    case PER_CONNECTION:
        *ret_key = key_of(k, 'n', slice_of(a->connection, sizeof(a->connection)));
        break;
    }
    return true;
}

/* ---- which, and when ---- */

static bool is_marked(const uint64_t *v, unsigned i)
{
    return v[i / 64] >> (i % 64) & 1;
}

static void mark(uint64_t *v, unsigned i)
{
    v[i / 64] |= UINT64_C(1) << (i % 64);
}

bool limits_about(const struct limit *l, enum limits_when when, const struct match_facts *f, uint64_t marks[LIMITS_WORDS], unsigned i)
{
    uint8_t settled = when == LIMITS_FIRST ? MATCH_PENDING_USER : MATCH_PENDING_USER | MATCH_PENDING_SNI;
    struct match_facts g;
    enum match_answer a;

    if (is_marked(marks, i) || (l->per == PER_RULE && when == LIMITS_FIRST))
        return false;
    if (l->n_where && f->pending & settled) {
        g = *f;
        g.pending &= (uint8_t)~settled;
        f = &g;
    }
    a = limit_ask(l, f);
    if (a == MATCH_YES || a == MATCH_NO)
        mark(marks, i);
    return a == MATCH_YES;
}

bool limits_has_rest(const struct limit *l)
{
    return l->tunnels || l->quota || l->bandwidth || l->bandwidth_up || l->bandwidth_down || l->upload || l->download;
}

/* ---- in words ---- */

const char *limits_title(const struct limit *l)
{
    return l->name ? l->name : l->place;
}

static const char *per_text(enum limit_per per)
{
    static const char *const texts[] = {[PER_ALL] = "",
                                        [PER_CLIENT] = " for each client",
                                        [PER_USER] = " for each user",
                                        [PER_GROUP] = " for each group",
                                        [PER_RULE] = " for each rule",
                                        [PER_HOST] = " for each host",
                                        [PER_LABEL] = " for each label",
                                        [PER_CONNECTION] = " for each connection"};

    return texts[per];
}

/* Whose bucket it is, where that is no address. */
static struct slice whose(const struct limit *l, const struct match_facts *f)
{
    switch (l->per) {
    case PER_USER:
        return f->user;
    case PER_GROUP:
        return f->groups;
    case PER_LABEL:
        return f->labels;
    case PER_HOST:
        return f->host;
    case PER_ALL:
    case PER_CLIENT:
    case PER_RULE:
    case PER_CONNECTION:
        break;
    }
    return SLICE_NONE;
}

static const char *span_text(enum limit_span s)
{
    static const char *const texts[] = {
        [SPAN_NONE] = "bytes", [SPAN_HOUR] = "bytes an hour", [SPAN_DAY] = "bytes a day", [SPAN_WEEK] = "bytes a week", [SPAN_MONTH] = "bytes a month"};

    return texts[s];
}

static const char *unit_of(const struct limit *l, enum end_reason reason, uint64_t *ret_amount)
{
    switch ((unsigned)reason) {
    case END_LIMIT_TUNNELS:
        *ret_amount = l->tunnels;
        return "tunnels at the same time";
    case END_QUOTA:
        *ret_amount = l->quota;
        return span_text(l->span);
    case END_UPLOAD_CAP:
        *ret_amount = l->upload;
        return "bytes of an upload";
    default:
        *ret_amount = l->requests;
        return l->pace ? "requests a second, and as many wait as may" : "requests a second";
    }
}

void limits_text(const struct limit *l, const struct match_facts *f, enum end_reason reason, bool who, char out[LIMITS_TEXT])
{
    struct slice owner = who ? whose(l, f) : SLICE_NONE;
    uint64_t amount;
    const char *unit = unit_of(l, reason, &amount);

    snprintf(out, LIMITS_TEXT, "the limit %s allows %llu %s%s%s" SLICE_FMT "%s", limits_title(l), (unsigned long long)amount, unit, per_text(l->per),
             owner.n ? " (" : "", SLICE_ARG(owner), owner.n ? ")" : "");
}
