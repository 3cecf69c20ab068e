/* SPDX-License-Identifier: MIT */
/* step peek: what is in the tunnel? Twice, if need be. Before anything is dialled, when a rule asks for the name in the ClientHello: the client gets its 200, and what it
 * says then is held until the name is known. And when the tunnel is there and its rule says what may be in it: then the first bytes of either side are read here, judged
 * (proxy/peek.h), and passed on; from there on it is the relay's. It reads what the relay would have read, once, and waits as the relay does: a quiet tunnel costs nothing more.
 * A refusal is a reset of both sides, and nothing that the client said has gone anywhere.
 */
#include "base/check.h"
#include "base/mem.h"
#include "policy/policy.h"
#include "proxy/charge.h"
#include "proxy/peek.h"
#include "proxy/recheck.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <string.h>

enum { PEEK_READS = 4 };

/* ---- what is found ---- */

void step_peek_renew(struct xchg *x)
{
    struct access_record room;
    const struct access_record *r = xchg_record_of(x, &room);

    if (x->peek->host.n)
        x->peek->host = r->host;
    if (x->peek->pin.n)
        x->peek->pin = r->sni;
}

/* For the record. Before the tunnel is there it lies in the arena; later it is folded anew. */
static int keep(struct xchg *x, const struct peek_said *said)
{
    struct access_record r;

    if (!said->read && !said->text[0])
        return 0;
    if (x->rec)
        r = *x->rec;
    else
        xchg_record_of(x, &r);
    if (said->read)
        r.sni = clienthello_name(&said->hello);
    if (said->text[0])
        r.detail = slice_str(said->text);
    if (!x->req) {
        if (xchg_fold_record(x, &r) < 0)
            return ERR_NOMEM;
        step_peek_renew(x);
        return 0;
    }
    x->rec->sni = arena_dup(x->arena, r.sni);
    x->rec->detail = arena_dup(x->arena, r.detail);
    return x->rec->sni.p && x->rec->detail.p ? 0 : ERR_NOMEM;
}

static enum xstep refused(struct xchg *x, struct peek_said *said)
{
    struct slice detail;

    if (keep(x, said) < 0)
        return xchg_abort(x, END_NO_MEMORY, NULL);
    detail = xchg_last_record(x)->detail;
    xchg_abort(x, said->reason, NULL);
    x->rec->detail = detail;
    return STEP_LOG;
}

static enum xstep broke(struct xchg *x, const struct stream *s, enum end_reason otherwise)
{
    return xchg_abort(x, s->fault.detail ? s->fault.reason : otherwise, s->fault.detail);
}

/* From when on it is waited for the rest of a message. */
static void note_held(struct xchg *x)
{
    struct peek *k = x->peek;
    bool held = (k->client == PEEK_HELD && k->n_held > k->n_go) || k->n_origin;

    if (!held)
        k->held_ms = 0;
    else if (!k->held_ms)
        k->held_ms = x->worker->loop.now_ms;
}

/* ---- before anything is dialled ---- */

static enum xstep before_begins(struct xchg *x)
{
    x->peek = peek_new();
    if (!x->peek)
        return xchg_fail(x, END_NO_MEMORY, NULL);
    x->peek->head_ms = (uint32_t)x->snap->conf->timeouts.head;
    x->peek->held_ms = x->worker->loop.now_ms;
    return step_reply_accept(x) ? STEP_WAIT : xchg_abort(x, END_CLIENT_RESET, NULL);
}

static enum xstep name_known(struct xchg *x, const struct peek_said *said)
{
    if (said->read && said->hello.n_name) {
        x->rec->sni = arena_dup(x->arena, clienthello_name(&said->hello));
        if (!x->rec->sni.p)
            return xchg_abort(x, END_NO_MEMORY, NULL);
    }
    x->peek->fresh = x->peek->known = true;
    x->peek->read = said->read;
    x->req->peeked = x->req->anew = true;
    x->req->pending &= (uint8_t)~MATCH_PENDING_SNI;
    return STEP_POLICY;
}

static enum xstep before_waits(struct xchg *x)
{
    struct peek *k = x->peek;

    if (stream_flush(x->client) == IO_ERR)
        return broke(x, x->client, END_CLIENT_RESET);
    if (x->expired)
        return xchg_abort(x, x->deadline_reason, "a rule asks for the name in the ClientHello, and the tunnel's first bytes did not come in time");
    return xchg_wait_until(x, k->held_ms + k->head_ms, END_REQUEST_TIMEOUT);
}

static enum xstep before_run(struct xchg *x)
{
    struct peek *k = x->peek;
    char *scratch = x->worker->loop.scratch;

    /* Ends: CLIENTHELLO_MAX bytes are never too few to know. */
    for (;;) {
        struct peek_said said = {0};
        size_t n;

        switch (stream_recv(x->client, scratch, CLIENTHELLO_MAX - k->n_held, &n)) {
        case IO_OK:
            if (peek_hold(k, scratch, n) < 0)
                return xchg_abort(x, END_NO_MEMORY, NULL);
            switch (peek_name(k, k->held, k->n_held, &said)) {
            case PARSE_MORE:
                break;
            case PARSE_DONE:
                return name_known(x, &said);
            case PARSE_BAD:
                return refused(x, &said);
            }
            break;
        case IO_AGAIN:
            return before_waits(x);
        case IO_EOF:
            return xchg_abort(x, END_CLIENT_GONE, "a rule asks for the name in the ClientHello, and the client ended without one");
        case IO_ERR:
            return broke(x, x->client, END_CLIENT_RESET);
        }
    }
}

/* ---- the tunnel is there ---- */

int step_peek_prepare(struct xchg *x)
{
    const struct verdict *v = &x->req->verdict;
    enum rule_expect expect = v->by ? v->by->expect : EXPECT_DEFAULT;
    enum rule_sni sni = policy_sni(x->snap->policy, v);
    bool named = x->req->head->auth.kind == HOST_NAME;
    /* Rules went by the name that was held before, and it was one, or none, in a hello that could be read. */
    bool pinned = x->peek && x->peek->read;

    if (!peek_wanted(sni, expect, named)) {
        if (!x->peek)
            return 0;
        /* What is held goes on. */
        sni = SNI_OFF;
        expect = EXPECT_ANY;
    }
    if (!x->peek)
        x->peek = peek_new();
    if (!x->peek)
        return ERR_NOMEM;
    x->peek->head_ms = (uint32_t)x->snap->conf->timeouts.head;
    peek_begin(x->peek, sni, expect, x->rec->host, named);
    if (pinned)
        peek_pin(x->peek, x->rec->sni);
    return 0;
}

/* Somebody has said something that goes on; limits have counted it when it was read. A sink that broke is the relay's to find out. */
static void pass(struct xchg *x, struct pump *p, struct stream *to, const char *bytes, size_t n)
{
    p->bytes += n;
    x->relay.active_ms = x->worker->loop.now_ms;
    if (stream_send(to, bytes, n, false) == IO_ERR)
        pump_stop(p, &x->worker->loop);
}

/* The rules have changed while nothing was known about this tunnel. */
static enum xstep ask_again(struct xchg *x)
{
    struct verdict v;

    x->peek->known = true;
    if (!x->peek->ask)
        return STEP_WAIT;
    x->peek->ask = false;
    return recheck_passes(x, &v) ? STEP_WAIT : recheck_refuse(x, &v);
}

/* What may go on and is still held, as much as the sink takes: a stream's window may be smaller than a ClientHello, or used up by others. */
static void pass_held(struct xchg *x)
{
    struct peek *k = x->peek;
    struct pump *p = &x->relay.up;

    p->wants_tx = false;
    while (p->state == PUMP_RUN) {
        size_t want = k->client == PEEK_OPEN ? k->n_held : k->n_go, n = want ? min_size(stream_room(x->upstream), want) : 0;

        p->wants_tx = want && !n;
        if (!n)
            break;
        pass(x, p, x->upstream, k->held, n);
        memmove(k->held, k->held + n, k->n_held - n);
        k->n_held -= (uint32_t)n;
        k->n_go -= (uint32_t)min_size(n, k->n_go);
    }
}

/* Both sides are open, and nothing is held any more. */
static bool may_leave(struct xchg *x)
{
    struct peek *k = x->peek;

    if (k->client != PEEK_OPEN || k->origin != PEEK_OPEN)
        return false;
    pass_held(x);
    return !x->relay.up.wants_tx;
}

static enum xstep leave(struct xchg *x)
{
    struct peek *k = x->peek;
    enum xstep next = ask_again(x);

    if (next != STEP_WAIT)
        return next;
    peek_free(k);
    x->peek = NULL;
    return STEP_RELAY;
}

/* Of what the client has said, `go` bytes go on, and the others stay. */
static int pass_client(struct xchg *x, const char *p, size_t n, size_t go)
{
    struct peek *k = x->peek;
    size_t now = go ? min_size(stream_room(x->upstream), go) : 0;

    if (now)
        pass(x, &x->relay.up, x->upstream, p, now);
    if (p == k->held) {
        memmove(k->held, k->held + now, n - now);
        k->n_held = (uint32_t)(n - now);
    } else if (n > now && peek_hold(k, p + now, n - now) < 0) {
        return ERR_NOMEM;
    }
    k->n_go = (uint32_t)(go - now);
    if (go)
        k->held_ms = 0;
    note_held(x);
    return 0;
}

static enum xstep client_answer(struct xchg *x, enum peek_answer answer, struct peek_said *said, const char *p, size_t n, size_t go)
{
    struct peek *k = x->peek;
    enum xstep next;

    if (answer == PEEK_REFUSE)
        return refused(x, said);
    if (k->sni != SNI_LOG)
        said->text[0] = '\0';
    if (answer == PEEK_MORE)
        go = 0;
    else if (keep(x, said) < 0)
        return xchg_abort(x, END_NO_MEMORY, NULL);
    next = answer == PEEK_MORE ? STEP_WAIT : ask_again(x);
    if (next != STEP_WAIT)
        return next;
    if (answer == PEEK_PASS || answer == PEEK_BOTH)
        k->client = PEEK_OPEN;
    if (answer == PEEK_BOTH)
        k->origin = PEEK_OPEN;
    return pass_client(x, p, n, go) < 0 ? xchg_abort(x, END_NO_MEMORY, NULL) : STEP_WAIT;
}

/* New bytes behind those that are held. */
static enum xstep client_said(struct xchg *x, const char *p, size_t n)
{
    struct peek *k = x->peek;
    struct peek_said said = {0};
    enum peek_answer answer;
    size_t go = n;

    if (k->client == PEEK_OPEN) {
        pass(x, &x->relay.up, x->upstream, p, n);
        return STEP_WAIT;
    }
    if (k->n_held) {
        if (peek_hold(k, p, n) < 0)
            return xchg_abort(x, END_NO_MEMORY, NULL);
        p = k->held;
        n = k->n_held;
    }
    answer = peek_client(k, p, n, &go, &said);
    return client_answer(x, answer, &said, p, n, go);
}

static enum xstep origin_said(struct xchg *x, const char *p, size_t n)
{
    struct peek *k = x->peek;
    struct peek_said said = {0};
    enum peek_answer answer = k->origin == PEEK_OPEN ? PEEK_PASS : peek_origin(k, p, n, &said);

    if (answer == PEEK_REFUSE)
        return refused(x, &said);
    if (answer == PEEK_MORE) {
        if (peek_hold_origin(k, p, n) < 0)
            return xchg_abort(x, END_NO_MEMORY, NULL);
        note_held(x);
        return STEP_WAIT;
    }
    if (answer != PEEK_ON)
        k->origin = PEEK_OPEN;
    if (answer == PEEK_BOTH)
        k->client = PEEK_OPEN;
    k->n_origin = 0;
    note_held(x);
    pass(x, &x->relay.down, x->client, p, n);
    return STEP_WAIT;
}

/* A FIN goes on as one. Behind it nothing comes that could be judged. */
static enum xstep pass_end(struct xchg *x, struct pump *p, struct stream *to)
{
    p->state = PUMP_FLUSH;
    x->relay.active_ms = x->worker->loop.now_ms;
    if (stream_end(to, NULL) == IO_ERR)
        pump_stop(p, &x->worker->loop);
    else if (stream_flush(to) == IO_OK)
        p->state = PUMP_DONE;
    return STEP_WAIT;
}

static enum xstep client_ended(struct xchg *x)
{
    struct peek *k = x->peek;
    struct peek_said said = {0};

    if (k->client == PEEK_HELD && k->n_held) {
        enum xstep next = client_answer(x, peek_client_over(k, true, &said), &said, k->held, k->n_held, k->n_held);

        if (next != STEP_WAIT)
            return next;
    }
    if (!peek_minds_origin(k))
        k->origin = PEEK_OPEN;
    k->client = PEEK_OPEN;
    return pass_end(x, &x->relay.up, x->upstream);
}

/* What was held of its first bytes. */
static void pass_origin_rest(struct xchg *x)
{
    struct peek *k = x->peek;

    if (k->n_origin)
        pass(x, &x->relay.down, x->client, k->origin_held, k->n_origin);
    k->n_origin = 0;
}

static enum xstep origin_ended(struct xchg *x)
{
    struct peek *k = x->peek;
    struct peek_said said = {0};

    if (k->n_origin && peek_origin_over(k, &said) == PEEK_REFUSE)
        return refused(x, &said);
    pass_origin_rest(x);
    k->origin = PEEK_OPEN;
    return pass_end(x, &x->relay.down, x->client);
}

/* While the client's first message is on its way nothing of the origin's is looked at: it came too late to be first. */
static bool origin_waits(const struct peek *k)
{
    return k->client == PEEK_HELD && k->n_held && !k->watched;
}

bool step_peek_wants_origin(const struct xchg *x)
{
    return x->tunnel && x->peek && !origin_waits(x->peek);
}

/* How much may be read of that side now: as much as the other one takes, and limits allow. 0: nothing is read, and it is known why. */
static size_t may_read(struct xchg *x, bool up)
{
    const struct peek *k = x->peek;
    struct pump *p = up ? &x->relay.up : &x->relay.down;
    struct charge *c = x->relay.charge;
    size_t held = up ? k->n_held : k->n_origin, room;
    uint64_t allow = UINT64_MAX;

    p->wants_tx = p->held = false;
    if (up)
        pass_held(x);
    if (p->wants_tx || p->state != PUMP_RUN || (k->client == PEEK_OPEN && k->origin == PEEK_OPEN) || (!up && origin_waits(k)))
        return 0;
    room = min_size(stream_room(up ? x->upstream : x->client), CLIENTHELLO_MAX);
    p->wants_tx = room <= held;
    if (!p->wants_tx && c)
        allow = charge_allow(c, up);
    p->held = !allow;
    if (p->wants_tx || p->held)
        return 0;
    return allow < room - held ? (size_t)allow : room - held;
}

/* Reads one side until nothing is there, or it is open, and the relay's to go on with. *ret_more: something may still be there. */
static enum xstep read_side(struct xchg *x, bool up, bool *ret_more)
{
    struct peek *k = x->peek;
    struct stream *from = up ? x->client : x->upstream;
    char *scratch = x->worker->loop.scratch;
    enum xstep next = STEP_WAIT;

    for (int i = 0; i < PEEK_READS && next == STEP_WAIT; i++) {
        size_t before = up ? 0 : k->n_origin, most = may_read(x, up), n;

        if (!most)
            return STEP_WAIT;
        if (before)
            memcpy(scratch, k->origin_held, before);
        switch (stream_recv(from, scratch + before, most, &n)) {
        case IO_OK:
            if (x->relay.charge)
                charge_moved(x->relay.charge, up, n);
            next = up ? client_said(x, scratch, n) : origin_said(x, scratch, before + n);
            break;
        case IO_AGAIN:
            if (x->relay.charge)
                charge_quiet(x->relay.charge, up);
            return STEP_WAIT;
        case IO_EOF:
            next = up ? client_ended(x) : origin_ended(x);
            break;
        case IO_ERR:
            return broke(x, from, up ? END_CLIENT_RESET : END_UPSTREAM_RESET);
        }
    }
    *ret_more |= next == STEP_WAIT;
    return next;
}

/* The message that began does not come to its end. */
static enum xstep too_late(struct xchg *x)
{
    struct peek *k = x->peek;
    struct peek_said said = {0};

    if (k->n_held > k->n_go)
        return client_answer(x, peek_client_over(k, false, &said), &said, k->held, k->n_held, k->n_held);
    if (peek_origin_over(k, &said) == PEEK_REFUSE)
        return refused(x, &said);
    k->client = k->origin = PEEK_OPEN;
    pass_origin_rest(x);
    return STEP_WAIT;
}

static enum xstep tunnel_waits(struct xchg *x)
{
    const struct peek *k = x->peek;
    enum xstep next;

    if (k->held_ms)
        xchg_wait_until(x, k->held_ms + k->head_ms, END_SNI_DENIED);
    else
        step_relay_wait(x);
    if (!x->expired || x->worker->loop.now_ms < x->deadline_ms) {
        x->expired = false;
        return STEP_WAIT;
    }
    x->expired = false;
    if (x->deadline_reason != END_SNI_DENIED)
        return xchg_abort(x, x->deadline_reason, NULL);
    next = too_late(x);
    return next == STEP_WAIT ? xchg_yield(x) : next;
}

/* What the sink has not taken yet. */
static enum io flush(struct pump *p, struct stream *to)
{
    enum io io = stream_flush(to);

    if (io == IO_OK && p->state == PUMP_FLUSH)
        p->state = PUMP_DONE;
    return io;
}

static enum xstep tunnel_look(struct xchg *x, bool *ret_more)
{
    struct peek *k = x->peek;
    struct peek_said said = {0};
    enum xstep next = STEP_WAIT;
    enum peek_answer answer;
    size_t go = k->n_held;

    if (k->fresh) {
        k->fresh = false;
        if (x->relay.charge)
            charge_moved(x->relay.charge, true, k->n_held);
        answer = peek_client(k, k->held, k->n_held, &go, &said);
        next = client_answer(x, answer, &said, k->held, k->n_held, go);
    }
    if (next == STEP_WAIT)
        next = read_side(x, true, ret_more);
    if (next == STEP_WAIT)
        next = read_side(x, false, ret_more);
    return next;
}

static enum xstep tunnel_run(struct xchg *x)
{
    bool more = false;
    enum xstep next;

    step_relay_tell(x);
    next = tunnel_look(x, &more);
    if (next != STEP_WAIT)
        return next;
    next = limits_end(x);
    if (next != STEP_COUNT)
        return next;
    /* What we make it wait is nobody's silence. */
    if (x->relay.up.held || x->relay.down.held)
        x->relay.active_ms = x->worker->loop.now_ms;
    if (may_leave(x))
        return leave(x);
    /* Whose sink broke has nothing to go on with; and what is not read now cannot tell of its reset. */
    if (stream_broken(x->client) || flush(&x->relay.down, x->client) == IO_ERR)
        return broke(x, x->client, END_CLIENT_RESET);
    if (stream_broken(x->upstream) || flush(&x->relay.up, x->upstream) == IO_ERR)
        return broke(x, x->upstream, END_UPSTREAM_RESET);
    return more ? xchg_yield(x) : tunnel_waits(x);
}

enum xstep step_peek(struct xchg *x)
{
    enum xstep next = STEP_WAIT;

    if (x->tunnel)
        return tunnel_run(x);
    if (!x->peek)
        next = before_begins(x);
    return next == STEP_WAIT ? before_run(x) : next;
}
