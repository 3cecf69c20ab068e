/* SPDX-License-Identifier: MIT */
/* kept: compares a request with the one before it. Called by the steps auth, policy and send, by limits_ask, and at the end of an exchange. One exchange at a time
 * goes by it; others of the same session are judged as if there were none. What is not compared here is either the same for all requests of a session
 * with one configuration (client, listener), or looked at by no rule and no limit of it (snapshot.steady).
 */
#include "proxy/kept.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <string.h>

enum { TEXTS = 4 };

/* ---- life ---- */

void kept_list_init(struct kept_list *l)
{
    list_init(&l->resting);
    l->pins = 0;
}

static unsigned pins_of(const struct kept *k)
{
    return k->n_tokens + (k->charge ? k->charge->n : 0);
}

static void wake_up(struct kept *k)
{
    if (list_empty(&k->link))
        return;
    list_del(&k->link);
    k->worker->kept.pins -= pins_of(k);
}

/* The judgement and all that it holds. */
static void forget(struct kept *k)
{
    wake_up(k);
    k->state = KEPT_NOTHING;
    while (k->n_tokens)
        charge_unpin(&k->tokens[--k->n_tokens].bucket);
    charge_free(&k->charge);
    k->charged = false;
}

static void lie_down(struct kept *k)
{
    struct kept_list *l = &k->worker->kept;

    if (!pins_of(k))
        return;
    list_push(&l->resting, &k->link);
    l->pins += pins_of(k);
    /* Each round makes it fewer; the one that has just come is the last to go. */
    while (l->pins > KEPT_PINS)
        forget(LIST_ENTRY(l->resting.next, struct kept, link));
}

void kept_list_drop(struct kept_list *l)
{
    LIST_EACH(it, &l->resting)
    forget(LIST_ENTRY(it, struct kept, link));
}

void kept_free(struct kept **kp)
{
    struct kept *k = *kp;

    *kp = NULL;
    if (!k)
        return;
    CHECK(!k->owner);
    forget(k);
    mem_free(k);
}

/* NULL: there is none, and none is made: it is the first request, or the last, or memory was refused. */
static struct kept *kept_of(struct xchg *x)
{
    struct session *s = x->session;

    if (s->kept || !s->served || x->req->head->method == METHOD_CONNECT)
        return s->kept;
    s->kept = mem_zalloc(sizeof(*s->kept));
    if (s->kept) {
        s->kept->worker = s->worker;
        s->kept->who.number = KEPT_FIRST;
        list_init(&s->kept->link);
    }
    return s->kept;
}

/* ---- who ---- */

int kept_known(struct xchg *x, const struct users *u, struct slice field, struct users_memo_texts *ret_texts)
{
    const struct kept *k = x->session->kept;
    struct slice *v[TEXTS] = {&ret_texts->user, &ret_texts->groups, &ret_texts->labels, &ret_texts->granted};
    struct hash_tag tag;
    size_t n = 0;
    char *p;

    if (!k || k->who.users != u || k->who.generation != x->snap->generation || x->worker->loop.now_ms >= k->who.until_ms || field.n > HASH_TAG_MAX)
        return ERR_NOTFOUND;
    tag = hash_tag(field.p, field.n);
    if (!hash_tag_same(&tag, &k->who.tag))
        return ERR_NOTFOUND;
    for (unsigned i = 0; i < TEXTS; i++)
        n += k->who.n[i];
    p = arena_alloc(x->arena, n + 1);
    if (!p)
        return ERR_NOMEM;
    memcpy(p, k->who.text, n);
    for (unsigned i = 0; i < TEXTS; i++) {
        *v[i] = slice_of(p, k->who.n[i]);
        p += k->who.n[i];
    }
    x->req->who = k->who.number;
    return 0;
}

/* The next number; it may come round when nobody knows any more what the first ones were. */
static uint32_t next_number(uint32_t n)
{
    return n == UINT32_MAX ? KEPT_FIRST : n + 1;
}

void kept_know(struct xchg *x, const struct users *u, struct slice field, const struct users_memo_texts *t, uint64_t until_ms)
{
    const struct slice v[TEXTS] = {t->user, t->groups, t->labels, t->granted};
    struct kept *k = kept_of(x);
    char text[KEPT_TEXT];
    uint16_t lens[TEXTS];
    size_t n = 0;
    bool same;

    if (!k || field.n > HASH_TAG_MAX)
        return;
    for (unsigned i = 0; i < TEXTS; i++) {
        if (v[i].n > KEPT_TEXT - n)
            return;
        if (v[i].n)
            memcpy(text + n, v[i].p, v[i].n);
        lens[i] = (uint16_t)v[i].n;
        n += v[i].n;
    }
    /* Asked again after its second, and nothing has changed: what was judged of it still holds. */
    same = k->who.users == u && k->who.generation == x->snap->generation && memcmp(lens, k->who.n, sizeof(lens)) == 0 && memcmp(text, k->who.text, n) == 0;
    if (!same)
        k->who.number = next_number(k->who.number);
    k->who.users = u;
    k->who.generation = x->snap->generation;
    k->who.until_ms = until_ms;
    k->who.tag = hash_tag(field.p, field.n);
    memcpy(k->who.n, lens, sizeof(lens));
    memcpy(k->who.text, text, n);
    x->req->who = k->who.number;
}

/* ---- the question ---- */

/* A CONNECT, or a change of protocol, is the connection's last request, and asks for more than is compared. */
static bool comparable(const struct xchg *x)
{
    const struct head *h = x->req->head;

    return x->snap->steady && x->req->who != KEPT_STRANGER && h->method != METHOD_OTHER && h->method != METHOD_CONNECT && h->protocol.n == 0 &&
           x->req->pending == MATCH_PENDING_ADDRESS && !x->req->peeked && h->auth.host.n <= KEPT_HOST;
}

static bool is_question(const struct kept *k, const struct xchg *x)
{
    const struct head *h = x->req->head;

    return k->generation == x->snap->generation && k->by == x->req->who && k->minute == worker_minute(x->worker) && k->port == x->rec->port &&
           k->scheme == x->rec->scheme && k->method == h->method && k->kind == h->auth.kind && k->n_host == h->auth.host.n &&
           memcmp(k->host, h->auth.host.p, k->n_host) == 0;
}

static void take_question(struct kept *k, const struct xchg *x)
{
    const struct head *h = x->req->head;

    k->generation = x->snap->generation;
    k->by = x->req->who;
    k->minute = worker_minute(x->worker);
    k->port = x->rec->port;
    k->scheme = x->rec->scheme;
    k->method = (uint8_t)h->method;
    k->kind = (uint8_t)h->auth.kind;
    k->n_host = (uint8_t)h->auth.host.n;
    memcpy(k->host, h->auth.host.p, h->auth.host.n);
}

void kept_begin(struct xchg *x)
{
    bool again = x->req->compared;
    struct kept *k;

    x->req->compared = true;
    if (again || !comparable(x))
        return;
    k = kept_of(x);
    if (!k || k->owner)
        return;
    if (k->state == KEPT_READY && is_question(k, x)) {
        wake_up(k);
    } else {
        forget(k);
        take_question(k, x);
        k->state = KEPT_MAKING;
        k->complete = false;
        k->n_addrs = 0;
    }
    k->owner = x;
    x->req->kept = k;
}

bool kept_leads(const struct xchg *x)
{
    return x->req->kept && x->req->kept->state == KEPT_READY;
}

bool kept_has_addrs(const struct xchg *x)
{
    const struct kept *k = x->req->kept;
    const struct resolve_answer *a = &x->req->answer;

    if (a->n != k->n_addrs)
        return false;
    for (unsigned i = 0; i < k->n_addrs; i++)
        if (!addr_same_host(&a->addrs[i], &k->addrs[i]))
            return false;
    return true;
}

/* ---- the answer ---- */

static struct kept *making(const struct xchg *x)
{
    struct kept *k = x->req->kept;

    return k && k->state == KEPT_MAKING ? k : NULL;
}

void kept_asked(struct xchg *x, enum limits_when when)
{
    struct kept *k = making(x);

    if (!k || when == LIMITS_DIALLED)
        return;
    memcpy(k->asked[when].requests, x->req->limits.requests, sizeof(k->asked[when].requests));
    memcpy(k->asked[when].rest, x->req->limits.rest, sizeof(k->asked[when].rest));
}

void kept_token(struct xchg *x, const struct limit *l, struct charge_bucket *b, enum limits_when when)
{
    struct kept *k = making(x);

    if (!k)
        return;
    /* A shared bucket is for those who have to: there may be one of its own the next time. */
    if (k->n_tokens == KEPT_TOKENS || when == LIMITS_DIALLED || charge_bucket_shared(b)) {
        kept_spoil(x);
        return;
    }
    charge_pin_again(b);
    k->tokens[k->n_tokens++] = (struct kept_token){.limit = l, .bucket = b, .when = when};
}

void kept_first(struct xchg *x)
{
    struct kept *k = making(x);

    if (k)
        k->first = x->req->verdict;
}

/* Some were dropped: that is noted for each request. */
void kept_last(struct xchg *x)
{
    const struct xreq *q = x->req;
    struct kept *k = making(x);

    if (!k)
        return;
    if (q->n_addrs != q->answer.n || q->n_addrs > KEPT_ADDRS) {
        kept_spoil(x);
        return;
    }
    k->last = q->verdict;
    k->n_addrs = q->n_addrs;
    for (unsigned i = 0; i < q->n_addrs; i++)
        k->addrs[i] = q->addrs[i];
}

void kept_complete(struct xchg *x)
{
    struct kept *k = making(x);

    if (k)
        k->complete = true;
}

/* ---- the end ---- */

void kept_spoil(struct xchg *x)
{
    struct kept *k = x->req->kept;

    if (!k)
        return;
    x->req->kept = NULL;
    k->owner = NULL;
    forget(k);
}

void kept_shed(struct xchg *x)
{
    struct session *s = x->session;

    kept_spoil(x);
    if (s->kept && !s->kept->owner)
        kept_free(&s->kept);
}

static bool may_keep(const struct charge *c)
{
    if (c->over != END_NONE || c->n > KEPT_CHARGES)
        return false;
    for (unsigned i = 0; i < c->n; i++)
        if (c->pins[i].tunnel || charge_bucket_shared(c->pins[i].bucket))
            return false;
    return true;
}

void kept_rest(struct xchg *x)
{
    struct kept *k = x->req->kept;
    struct charge **c = &x->relay.charge;

    if (!k)
        return;
    if ((k->state == KEPT_MAKING && !k->complete) || k->generation != k->worker->snap->generation || (*c && !may_keep(*c))) {
        kept_spoil(x);
        return;
    }
    x->req->kept = NULL;
    k->owner = NULL;
    if (k->state == KEPT_MAKING)
        k->charged = *c != NULL;
    k->state = KEPT_READY;
    if (*c) {
        charge_rest(*c);
        k->charge = *c;
        *c = NULL;
    }
    lie_down(k);
}
