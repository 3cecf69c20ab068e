/* SPDX-License-Identifier: MIT */
/* step auth: who asks? Whether the address may speak to us at all, whether there is room for one more request, and whose name and password they are.
 * Listeners that do not proxy ask nobody, and neither do the few pages of the proxy's own address (/healthz). Credentials end here: they are wiped from
 * the request, and nothing of them is written down but the name of whoever has shown a right password.
 */
#include "base/err.h"
#include "base/secret.h"
#include "proxy/kept.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

enum { AGAIN_MS = 50, GRACE_MS = 500 };

static const struct users *users_of(const struct xchg *x)
{
    return x->listen->gone ? x->snap->users : x->listen->users;
}

static enum xstep challenge(struct xchg *x, const char *detail)
{
    return xchg_fail(x, END_AUTH_NEEDED, detail);
}

/* ---- admitted ---- */

/* STEP_COUNT: it is. */
static enum xstep admitted(struct xchg *x)
{
    enum end_reason full = session_admit(x->session);
    struct verdict v;

    if (x->listen->role != LISTEN_PROXY)
        return STEP_POLICY;
    if (full != END_NONE)
        return xchg_fail(x, full, NULL);
    /* Its address and its listener stay what they are. */
    if (x->session->admitted == x->snap->generation)
        return STEP_COUNT;
    v = policy_admit(x->snap->policy, x->listen->clients, &x->session->client, NULL);
    if (v.kind == VERDICT_DENY)
        return step_policy_refuse(x, &v);
    x->session->admitted = x->snap->generation;
    return STEP_COUNT;
}

/* ---- known ---- */

/* "red+prio=high": all of them, and those that the user may bring, commas between. ERR_NOMEM. */
static int note_labels(struct xchg *x, struct slice labels, struct slice permitted)
{
    char *all = arena_alloc(x->arena, 2 * labels.n + 2), *granted = all ? all + labels.n + 1 : NULL;
    size_t n = 0, m = 0;
    struct slice label;

    if (!all)
        return ERR_NOMEM;
    while (authn_next_label(&labels, &label)) {
        if (n)
            all[n++] = ',';
        memcpy(all + n, label.p, label.n);
        n += label.n;
        if (!users_list_has(permitted, label))
            continue;
        if (m)
            granted[m++] = ',';
        memcpy(granted + m, label.p, label.n);
        m += label.n;
    }
    x->rec->labels = slice_of(all, n);
    x->rec->granted = slice_of(granted, m);
    return 0;
}

static enum xstep known(struct xchg *x, const struct users_who *who)
{
    x->rec->user = who->user;
    x->rec->groups = who->groups;
    if (x->req->auth_labels.n && note_labels(x, x->req->auth_labels, who->permitted) < 0)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    return STEP_POLICY;
}

/* The next one who sends the same need not be asked about at once. */
static void keep(struct xchg *x, const struct users *u, const struct users_memo_key *k)
{
    const struct access_record *r = x->rec;

    users_memo_keep(&x->worker->memo, k, x->worker->loop.now_ms, u->cache_ms < USERS_MEMO_MS ? u->cache_ms : USERS_MEMO_MS,
                    &(struct users_memo_texts){r->user, r->groups, r->labels, r->granted});
}

/* ---- asking ---- */

/* The field is of no use any more, and what it says is nobody's business. */
static void forget_credentials(struct xchg *x)
{
    struct hdrs *h = &x->req->head->fields;

    for (uint32_t i = 0; i < h->n; i++)
        if (h->v[i].id == HDR_PROXY_AUTHORIZATION)
            secret_wipe(h->v[i].value);
    hdrs_remove(h, HDR_PROXY_AUTHORIZATION);
}

static enum xstep act(struct xchg *x, enum users_verdict v, const struct users_who *who, uint64_t wait_ms)
{
    uint64_t now_ms = x->worker->loop.now_ms;

    if (v != USERS_LATER)
        forget_credentials(x);
    switch (v) {
    case USERS_RIGHT:
        return known(x, who);
    case USERS_WRONG:
        return challenge(x, "the name or the password is wrong");
    case USERS_WAIT:
        return xchg_wait_until(x, x->req->auth_until_ms, END_AUTH_UNAVAILABLE);
    case USERS_LATER:
        return xchg_wait_until(x, now_ms + AGAIN_MS, END_AUTH_UNAVAILABLE);
    case USERS_THROTTLED:
        x->req->retry_s = (uint32_t)((wait_ms + 999) / 1000);
        return xchg_fail(x, END_AUTH_THROTTLED, NULL);
    case USERS_UNAVAILABLE:
        return xchg_fail(x, END_AUTH_UNAVAILABLE, NULL);
    case USERS_NOMEM:
        break;
    }
    return xchg_fail(x, END_NO_MEMORY, NULL);
}

/* Basic credentials are there, and nobody has verified them lately. */
static enum xstep verify(struct xchg *x, const struct users *u, struct slice value, const struct users_memo_key *key)
{
    struct session_identity id = session_identity(x->session);
    struct users_question q = {.users = u};
    enum users_verdict v = USERS_NOMEM;
    char plain[AUTHN_PLAIN_MAX];
    struct users_who who = {0};
    enum authn_result r;
    uint64_t wait_ms = 0;
    enum xstep next;
    struct authn a;

    r = authn_basic(value, plain, &a);
    if (r == AUTHN_OK) {
        q.name = a.name;
        q.password = a.password;
        q.client = users_client(&x->session->client, id.uid);
        x->req->auth_labels = a.labels.n ? arena_dup(x->arena, a.labels) : SLICE("");
        if (x->req->auth_labels.p)
            v = users_verify(&x->worker->users, &q, &x->req->auth, &x->task, x->arena, &who, &wait_ms);
    }
    /* No longer than what it was made of. */
    secret_wipe(slice_of(plain, min_size(value.n, sizeof(plain))));
    switch (r) {
    case AUTHN_OK:
        next = act(x, v, &who, wait_ms);
        if (v == USERS_RIGHT && next == STEP_POLICY)
            keep(x, u, key);
        return next;
    case AUTHN_OTHER:
        return challenge(x, "this proxy takes Basic credentials, and these are of another scheme");
    case AUTHN_MALFORMED:
        return challenge(x, "the credentials are malformed");
    case AUTHN_LABEL:
        break;
    }
    return challenge(x, "a label behind the user's name is malformed, or there are too many");
}

static enum xstep remembered(struct xchg *x, const struct users_memo_texts *t)
{
    forget_credentials(x);
    x->rec->user = t->user;
    x->rec->groups = t->groups;
    x->rec->labels = t->labels;
    x->rec->granted = t->granted;
    return STEP_POLICY;
}

/* This connection has not said so lately: perhaps another one has. */
static enum xstep credentials_new(struct xchg *x, const struct users *u, struct slice value)
{
    struct users_memo_key key = users_memo_key(u, x->snap->generation, value);
    struct users_memo_texts t;
    uint64_t until_ms;

    switch (users_memo_find(&x->worker->memo, &key, x->worker->loop.now_ms, x->arena, &t, &until_ms)) {
    case 0:
        kept_know(x, u, value, &t, until_ms);
        return remembered(x, &t);
    case ERR_NOMEM:
        return xchg_fail(x, END_NO_MEMORY, NULL);
    default:
        return verify(x, u, value, &key);
    }
}

static enum xstep credentials(struct xchg *x, const struct users *u, struct slice value)
{
    struct users_memo_texts t;

    switch (kept_known(x, u, value, &t)) {
    case 0:
        return remembered(x, &t);
    case ERR_NOMEM:
        return xchg_fail(x, END_NO_MEMORY, NULL);
    default:
        return credentials_new(x, u, value);
    }
}

/* Nobody says who it is. */
static enum xstep nobody(struct xchg *x, const struct users *u)
{
    if (!u->when_needed)
        return challenge(x, NULL);
    x->req->pending |= MATCH_PENDING_USER;
    return STEP_POLICY;
}

/* No credentials: perhaps the connection itself says who it is. */
static enum xstep nameless(struct xchg *x, const struct users *u)
{
    struct session_identity id = session_identity(x->session);
    struct users_who who = {0};
    enum users_verdict v;

    if (id.kind != SESSION_PEER)
        return nobody(x, u);
    v = users_peer(&x->worker->users, u, id.uid, &x->req->auth, &x->task, x->arena, &who);
    return v == USERS_WRONG ? nobody(x, u) : act(x, v, &who, 0);
}

/* A request that wants to go somewhere; others are pages of the proxy's own address. */
static bool is_for_others(const struct head *h)
{
    return h->method == METHOD_CONNECT || h->form == FORM_ABSOLUTE;
}

/* The connection was let in with a certificate that names the user: no password says more. */
static enum xstep certified(struct xchg *x, const struct users *u)
{
    struct slice name = session_identity(x->session).name;
    const struct users_row *groups = u ? users_table_find(&u->groups, name) : NULL;

    forget_credentials(x);
    x->rec->user = arena_dup(x->arena, name);
    if (!x->rec->user.p)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    x->rec->groups = groups ? users_row_value(groups) : SLICE_NONE;
    return STEP_POLICY;
}

static enum xstep identify(struct xchg *x)
{
    const struct users *u = users_of(x);
    const struct hdrs *h = &x->req->head->fields;
    const struct field *f;
    uint32_t i = 0;

    if (!is_for_others(x->req->head))
        return STEP_POLICY;
    if (session_identity(x->session).kind == SESSION_CERT)
        return certified(x, u);
    /* Its users went with its listener: nobody can say any more who it is. */
    if (!u && x->listen->gone && x->session->names_users)
        return xchg_fail(x, END_NOT_ADMITTED, "the listener that it came through is gone, with its users");
    if (!u) {
        x->req->who = KEPT_NOBODY;
        return STEP_POLICY;
    }
    f = hdrs_next(h, HDR_PROXY_AUTHORIZATION, &i);
    if (!f)
        return nameless(x, u);
    i++;
    if (hdrs_next(h, HDR_PROXY_AUTHORIZATION, &i))
        return xchg_fail(x, END_BAD_REQUEST, "there are several Proxy-Authorization fields");
    return credentials(x, u, f->value);
}

/* ---- waiting ---- */

static enum xstep waited(struct xchg *x)
{
    const struct users *u = users_of(x);
    bool named = x->req->auth_labels.p != NULL;
    struct users_who who = {0};
    enum users_verdict v = users_verified(u, &x->req->auth, x->arena, &who);

    if (v == USERS_WRONG && !named)
        return nobody(x, u);
    if (v != USERS_WAIT)
        return act(x, v, &who, 0);
    if (x->expired)
        return xchg_fail(x, x->deadline_reason, NULL);
    return xchg_wait_until(x, x->req->auth_until_ms, END_AUTH_UNAVAILABLE);
}

/* Something has happened while it waited for an answer, or to ask again. */
static enum xstep go_on(struct xchg *x)
{
    if (stream_broken(x->client))
        return xchg_abort(x, END_CLIENT_RESET, NULL);
    if (x->req->auth.job)
        return waited(x);
    if (x->expired && (x->deadline_reason == END_DRAINED || x->worker->loop.now_ms >= x->req->auth_until_ms))
        return xchg_fail(x, x->deadline_reason, NULL);
    x->expired = false;
    return identify(x);
}

enum xstep step_auth(struct xchg *x)
{
    const struct users *u = users_of(x);
    enum xstep next;

    if (x->req->auth_until_ms)
        return go_on(x);
    next = admitted(x);
    if (next != STEP_COUNT)
        return next;
    x->req->auth_until_ms = x->worker->loop.now_ms + (u ? u->timeout_ms : 0) + GRACE_MS;
    return identify(x);
}
