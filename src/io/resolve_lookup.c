/* SPDX-License-Identifier: MIT */
/* resolve_lookup: the life of a lookup. Called by resolve.c. It lives from its first asker until
 * the last of its questions has come back, with or without askers: its answer is for the board too.
 * It never calls an asker: it fills the answer and wakes the task.
 */
#include "io/resolve_lookup.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "io/resolve_system.h"

enum {
    TTL_MIN_MS = 1000,
    TTL_NO_MAX_MS = 60000,
    TTL_FAILED_MS = 1000,
    TTL_HALF_MAX_MS = 30000, /* one family failed: the answer may lack the better half */
};

enum lookup_state {
    LOOKUP_WAITING = 0, /* askers wait, or all have left */
    LOOKUP_TOLD,        /* one family was answered; the other is still to come, for the board */
    LOOKUP_OVER,        /* answered for good; its questions are still out, and they point here */
};

#define LOOKUP_MAGIC 0x100c0b01u

struct lookup {
    unsigned magic;
    struct resolve_lookups *ls;
    struct list in_bucket, in_order, in_halfway;
    struct list askers;
    enum lookup_state state;
    unsigned asked, out; /* sets of halves: asked at all; not back yet */
    uint64_t deadline_ms, delay_end_ms;
    unsigned candidate;         /* of the search list: the next one to try */
    enum resolve_status so_far; /* OK: nothing tried yet; else what the candidates before came to */
    uint8_t so_far_rcode;
    uint64_t so_far_ttl_ms;
    struct resolve_dns_query query[HALVES];
    struct resolve_system *system;
    size_t name_n;
    char name[RESOLVE_NAME_MAX + 1];
    char candidate_name[RESOLVE_NAME_MAX + 1];
};

/* ---- lookups ---- */

static struct slice lookup_name(const struct lookup *l)
{
    return slice_of(l->name, l->name_n);
}

static struct list *bucket_of(struct resolve_lookups *ls, struct slice name)
{
    return &ls->bucket[hash_bytes(name.p, name.n) & (RESOLVE_LOOKUP_BUCKETS - 1)];
}

static struct lookup *find_lookup(struct resolve_lookups *ls, struct slice name)
{
    LIST_EACH (it, bucket_of(ls, name)) {
        struct lookup *l = LIST_ENTRY(it, struct lookup, in_bucket);

        if (slice_eq(lookup_name(l), name))
            return l;
    }
    return NULL;
}

static struct lookup *lookup_new(struct resolve_lookups *ls, struct slice name)
{
    struct lookup *l = ls->n < RESOLVE_MAX_NAMES ? mem_zalloc(sizeof(*l)) : NULL;

    if (!l)
        return NULL;
    l->magic = LOOKUP_MAGIC;
    l->ls = ls;
    l->asked = resolve_facts_halves(ls->facts->family);
    l->deadline_ms = ls->loop->now_ms + ls->timeout_ms;
    list_init(&l->askers);
    list_init(&l->in_halfway);
    memcpy(l->name, name.p, name.n);
    l->name_n = name.n;
    list_push(bucket_of(ls, name), &l->in_bucket);
    list_push(&ls->waiting, &l->in_order);
    ls->n++;
    return l;
}

static void lookup_free(struct lookup *l)
{
    CHECK(list_empty(&l->askers));
    if (l->system)
        l->system->owner = NULL;
    list_del(&l->in_bucket);
    list_del(&l->in_order);
    list_del(&l->in_halfway);
    l->ls->n--;
    l->magic = OBJ_DEAD;
    mem_free(l);
}

/* Nobody is told any more; the questions that are still out keep it alive. */
static void lookup_over(struct lookup *l)
{
    if (!l->out || l->system) {
        lookup_free(l);
        return;
    }
    l->state = LOOKUP_OVER;
    list_del(&l->in_bucket);
    list_del(&l->in_halfway);
    list_del(&l->in_order);
    list_push(&l->ls->over, &l->in_order);
}

static void tell(struct lookup *l, const struct resolve_answer *answer)
{
    struct resolve_answer a = *answer;
    struct list *it;

    resolve_facts_order(l->ls->facts, lookup_name(l), &a);
    while ((it = list_pop(&l->askers))) {
        struct resolve_req *req = LIST_ENTRY(it, struct resolve_req, link);

        *req->answer = a;
        req->busy = false;
        req->done = true;
        task_wake(req->task, TASK_HELPER);
    }
}

/* ---- what the halves come to ---- */

static bool is_failure(enum resolve_status s)
{
    return s == RESOLVE_FAILED || s == RESOLVE_TIMEOUT || s == RESOLVE_LIMIT;
}

/* Of two statuses that are not OK, the one to be told. A failure beats a "no": the other half might
 * have said yes. */
static enum resolve_status worse(enum resolve_status a, enum resolve_status b)
{
    static const enum resolve_status rising[] = {RESOLVE_NXDOMAIN, RESOLVE_NODATA, RESOLVE_TIMEOUT,
                                                 RESOLVE_FAILED, RESOLVE_LIMIT};
    enum resolve_status worst = RESOLVE_OK;

    for (size_t i = 0; i < ARRAY_LEN(rising); i++)
        if (a == rising[i] || b == rising[i])
            worst = rising[i];
    return worst;
}

static const struct resolve_found *half_back(const struct lookup *l, enum resolve_half half)
{
    return l->asked & ~l->out & 1u << half ? &l->query[half].found : NULL;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The lifetime of addresses: the least of those there are, less if a half is missing that might
 * come. */
static uint64_t ttl_of_addresses(const struct lookup *l)
{
    uint64_t ttl_ms = l->ls->ttl_max_ms;

    for (enum resolve_half h = HALF_4; h < HALVES; h++) {
        const struct resolve_found *f = half_back(l, h);

        if (f && f->status == RESOLVE_OK)
            ttl_ms = least(ttl_ms, f->ttl_ms);
        else if (l->asked & 1u << h && (!f || is_failure(f->status)))
            ttl_ms = least(ttl_ms, TTL_HALF_MAX_MS);
    }
    return ttl_ms > TTL_MIN_MS ? ttl_ms : TTL_MIN_MS;
}

/* The halves that are back, as one answer. With none of them OK: why not, and how long that lives.
 */
static void gather(const struct lookup *l, struct resolve_answer *a, uint64_t *ret_ttl_ms)
{
    uint64_t ttl_ms = TTL_NO_MAX_MS;

    memset(a, 0, sizeof(*a));
    resolve_facts_merge(l->ls->facts, half_back(l, HALF_4), half_back(l, HALF_6), a);
    if (a->n > 0) {
        *ret_ttl_ms = ttl_of_addresses(l);
        return;
    }
    for (enum resolve_half h = HALF_4; h < HALVES; h++) {
        const struct resolve_found *f = half_back(l, h);

        if (!f)
            continue;
        if (a->status == RESOLVE_OK || worse(f->status, a->status) != a->status) {
            a->status = f->status;
            a->rcode = f->rcode;
        }
        ttl_ms = least(ttl_ms, f->ttl_ms);
    }
    *ret_ttl_ms = ttl_ms;
}

static void remember(struct lookup *l, const struct resolve_answer *a, uint64_t ttl_ms)
{
    if (is_failure(a->status) && resolve_facts_keep(l->ls->facts, lookup_name(l), TTL_FAILED_MS))
        return; /* what was known goes on being used (RFC 8767) */
    if (a->status == RESOLVE_LIMIT)
        return; /* our own trouble is no fact about the name */
    if (is_failure(a->status))
        ttl_ms = TTL_FAILED_MS;
    resolve_facts_put(l->ls->facts, lookup_name(l), a, ttl_ms > TTL_MIN_MS ? ttl_ms : TTL_MIN_MS);
}

static void lookup_finish(struct lookup *l, const struct resolve_answer *a, uint64_t ttl_ms)
{
    remember(l, a, ttl_ms);
    tell(l, a);
    lookup_over(l);
}

/* ---- candidates of the search list ---- */

static unsigned count_dots(struct slice name)
{
    unsigned n = 0;

    for (size_t i = 0; i < name.n; i++)
        n += name.p[i] == '.';
    return n;
}

/* Joins name and domain; false when there is no such candidate because it would be too long. */
static bool join_names(struct slice name, struct slice domain, char out[RESOLVE_NAME_MAX + 1])
{
    size_t n = name.n;

    if (name.n + (domain.n ? 1 + domain.n : 0) > RESOLVE_NAME_MAX)
        return false;
    memcpy(out, name.p, name.n);
    if (domain.n) {
        out[n++] = '.';
        memcpy(out + n, domain.p, domain.n);
        n += domain.n;
    }
    out[n] = '\0';
    return true;
}

/* Puts the next name to ask for into candidate_name; false when all were tried. Names with fewer
 * dots than ndots go through the list first, others are tried as they are first (resolv.conf(5)).
 */
static bool next_candidate(struct lookup *l)
{
    const struct resolve_conf_file *c = l->ls->files ? &l->ls->files->conf : NULL;
    unsigned n = c ? c->n_search : 0;
    unsigned plain =
        n && count_dots(lookup_name(l)) < c->ndots ? n : 0; /* the place of the name as it is */

    while (l->candidate <= n) {
        unsigned i = l->candidate++;
        struct slice domain = SLICE_NONE;

        if (i != plain)
            domain = slice_str(c->search[i < plain ? i : i - 1]);
        if (join_names(lookup_name(l), domain, l->candidate_name))
            return true;
    }
    return false;
}

/* ---- asking ---- */

static void system_answered(struct resolve_system *s);

static void ask_dns(struct lookup *l)
{
    l->out = l->asked;
    /* IPv6 goes out first (RFC 8305 3). */
    if (l->asked & 1u << HALF_6)
        resolve_dns_ask(l->ls->dns, &l->query[HALF_6], l->candidate_name, RESOLVE_DNS_AAAA);
    if (l->asked & 1u << HALF_4)
        resolve_dns_ask(l->ls->dns, &l->query[HALF_4], l->candidate_name, RESOLVE_DNS_A);
}

/* False: refused at once. */
static bool lookup_start(struct lookup *l)
{
    struct resolve_lookups *ls = l->ls;

    l->query[HALF_4].owner = l->query[HALF_6].owner = l;
    if (ls->helpers) {
        l->out = l->asked;
        return resolve_system_start(ls->helpers, ls->loop, lookup_name(l), ls->facts->family,
                                    system_answered, l, &l->system) == 0;
    }
    if (!next_candidate(l))
        return false; /* never: the name itself is always one */
    ask_dns(l);
    return true;
}

/* All questions of a candidate are back. */
static void candidate_done(struct lookup *l)
{
    struct resolve_answer a;
    uint64_t ttl_ms;

    list_del(&l->in_halfway);
    gather(l, &a, &ttl_ms);
    /* What was told already stands; and there is no point in going on without time or memory. */
    if (a.n > 0 || a.status == RESOLVE_TIMEOUT || a.status == RESOLVE_LIMIT) {
        lookup_finish(l, &a, ttl_ms);
        return;
    }
    if (l->so_far != RESOLVE_OK) {
        ttl_ms = least(ttl_ms, l->so_far_ttl_ms);
        if (worse(l->so_far, a.status) != a.status) {
            a.status = l->so_far;
            a.rcode = l->so_far_rcode;
        }
    }
    if (l->system || !next_candidate(l)) {
        lookup_finish(l, &a, ttl_ms);
        return;
    }
    l->so_far = a.status;
    l->so_far_rcode = a.rcode;
    l->so_far_ttl_ms = ttl_ms;
    ask_dns(l);
}

static void system_answered(struct resolve_system *s)
{
    struct lookup *l = OBJ_CAST(struct lookup, s->owner, LOOKUP_MAGIC);

    l->query[HALF_4].found = s->a;
    l->query[HALF_6].found = s->aaaa;
    l->out = 0;
    task_wake(l->ls->dns->task, TASK_HELPER); /* for the timer */
    candidate_done(l);
}

static void query_answered(struct resolve_dns_query *q)
{
    struct lookup *l = OBJ_CAST(struct lookup, q->owner, LOOKUP_MAGIC);
    enum resolve_half half = q->family == RESOLVE_DNS_AAAA ? HALF_6 : HALF_4;

    l->out &= ~(1u << half);
    if (l->state == LOOKUP_OVER) {
        if (!l->out)
            lookup_free(l);
    } else if (!l->out) {
        candidate_done(l);
    } else if (q->found.status == RESOLVE_OK) {
        l->delay_end_ms = l->ls->loop->now_ms + RESOLVE_DELAY_MS;
        list_push(&l->ls->halfway, &l->in_halfway);
    }
}

/* ---- the turn ---- */

/* One family has kept the askers waiting for long enough (RFC 8305 3). */
static void run_delays(struct resolve_lookups *ls)
{
    LIST_EACH (it, &ls->halfway) {
        struct lookup *l = LIST_ENTRY(it, struct lookup, in_halfway);
        struct resolve_answer a;
        uint64_t ttl_ms;

        if (l->delay_end_ms > ls->loop->now_ms)
            return;
        list_del(&l->in_halfway);
        gather(l, &a, &ttl_ms);
        l->state = LOOKUP_TOLD;
        tell(l, &a);
    }
}

static void run_deadlines(struct resolve_lookups *ls)
{
    LIST_EACH (it, &ls->waiting) {
        struct lookup *l = LIST_ENTRY(it, struct lookup, in_order);
        struct resolve_answer a;
        uint64_t ttl_ms;

        if (l->deadline_ms > ls->loop->now_ms)
            return;
        gather(l, &a, &ttl_ms);
        if (a.n == 0 && worse(a.status, RESOLVE_TIMEOUT) == RESOLVE_TIMEOUT) {
            a.status = RESOLVE_TIMEOUT;
            a.rcode = l->so_far_rcode;
        }
        lookup_finish(l, &a, ttl_ms);
    }
}

static bool refuse(struct resolve_answer *a)
{
    memset(a, 0, sizeof(*a));
    a->status = RESOLVE_LIMIT;
    return true;
}

bool resolve_lookup_told(struct resolve_lookups *ls, struct slice name,
                         struct resolve_answer *ret_answer)
{
    struct lookup *l = find_lookup(ls, name);
    uint64_t ttl_ms;

    if (!l || l->state != LOOKUP_TOLD)
        return false;
    gather(l, ret_answer, &ttl_ms);
    ret_answer->cached = true;
    return true;
}

bool resolve_lookup_join(struct resolve_lookups *ls, struct slice name, struct resolve_req *req)
{
    struct lookup *l = find_lookup(ls, name);

    if (resolve_lookup_told(ls, name, req->answer))
        return true;
    if (!l) {
        l = lookup_new(ls, name);
        if (!l)
            return refuse(req->answer);
        if (!lookup_start(l)) {
            lookup_free(l);
            return refuse(req->answer);
        }
    }
    list_push(&l->askers, &req->link);
    return false;
}

bool resolve_lookup_refresh(struct resolve_lookups *ls, struct slice name)
{
    struct lookup *l = find_lookup(ls, name);

    if (l)
        return true;
    l = lookup_new(ls, name);
    if (!l)
        return false;
    if (lookup_start(l))
        return true;
    lookup_free(l);
    return false;
}

void resolve_lookup_run(struct resolve_lookups *ls)
{
    struct resolve_dns_query *q;

    /* Ends: a lookup has a bounded number of candidates, and a question is asked twice at most. */
    while ((q = resolve_dns_next(ls->dns)))
        query_answered(q);
    run_delays(ls);
    run_deadlines(ls);
}

uint64_t resolve_lookup_due(const struct resolve_lookups *ls)
{
    uint64_t due_ms = UINT64_MAX;

    if (!list_empty(&ls->waiting))
        due_ms = LIST_ENTRY(ls->waiting.next, struct lookup, in_order)->deadline_ms;
    if (!list_empty(&ls->halfway))
        due_ms =
            least(due_ms, LIST_ENTRY(ls->halfway.next, struct lookup, in_halfway)->delay_end_ms);
    return due_ms;
}

/* ---- life ---- */

void resolve_lookup_init(struct resolve_lookups *ls)
{
    for (unsigned i = 0; i < RESOLVE_LOOKUP_BUCKETS; i++)
        list_init(&ls->bucket[i]);
    list_init(&ls->waiting);
    list_init(&ls->halfway);
    list_init(&ls->over);
    ls->n = 0;
}

static void free_all(struct list *head)
{
    struct list *it;

    while ((it = head->next) != head)
        lookup_free(OBJ_CAST(struct lookup, LIST_ENTRY(it, struct lookup, in_order), LOOKUP_MAGIC));
}

void resolve_lookup_done(struct resolve_lookups *ls)
{
    free_all(&ls->waiting);
    free_all(&ls->over);
}
