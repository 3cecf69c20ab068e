/* SPDX-License-Identifier: MIT */
/* dump: a worker's sessions as text. Called on the main thread for USR2. One line says who, where to and how far; the next one what each side has ready
 * and what the pumps wait for.
 */
#include "app/dump.h"

#include "app/text.h"
#include "proxy/relay.h"
#include "proxy/xchg.h"

static const char *stream_state_name(uint8_t s)
{
    static const char *const names[] = {"head", "body", "end", "reset"};

    return s < ARRAY_LEN(names) ? names[s] : "?";
}

static const char *pump_state_name(uint8_t s)
{
    static const char *const names[] = {"off", "run", "flush", "done", "dead"};

    return s < ARRAY_LEN(names) ? names[s] : "?";
}

static void put_u64(struct text *t, const char *before, uint64_t v)
{
    text_str(t, before);
    text_u64(t, v);
}

/* 12.3s */
static void put_seconds(struct text *t, uint64_t ms)
{
    text_u64(t, ms / 1000);
    text_printf(t, ".%us", (unsigned)(ms / 100 % 10));
}

static void put_addr(struct text *t, const struct addr *a)
{
    char out[ADDR_TEXT_MAX];

    if (a->sa.sa_family)
        addr_text(a, out);
    text_str(t, a->sa.sa_family ? out : "-");
}

/* ---- one session ---- */

static void put_target(struct text *t, const struct report_xchg *x)
{
    text_str(t, ", ");
    text_escaped(t, x->method[0] ? slice_str(x->method) : SLICE("-"));
    text_str(t, " ");
    text_escaped(t, x->host[0] ? slice_str(x->host) : SLICE("-"));
    if (x->port)
        put_u64(t, " port ", x->port);
    text_str(t, " at ");
    put_addr(t, &x->peer);
    if (x->status)
        put_u64(t, ", ", x->status);
}

static void put_who(struct text *t, const struct report_session *s)
{
    bool exchange = s->state >= REPORT_STEP;

    text_printf(t, "  %s", report_state_name(s->state));
    if (exchange)
        put_u64(t, " exchange ", s->x.id);
    text_str(t, ": ");
    put_addr(t, &s->x.client);
    if (exchange)
        put_target(t, &s->x);
    text_str(t, ", age ");
    put_seconds(t, s->age_ms);
    text_str(t, ", deadline ");
    if (s->deadline_ms == UINT64_MAX)
        text_str(t, "none");
    else
        put_seconds(t, s->deadline_ms);
    if (exchange && s->deadline_ms != UINT64_MAX && s->deadline_reason)
        text_printf(t, " (%s)", end_info((enum end_reason)s->deadline_reason)->token);
    if (exchange) {
        put_u64(t, ", up ", s->x.bytes_up);
        put_u64(t, ", down ", s->x.bytes_down);
    }
    text_str(t, s->queued ? ", queued\n" : "\n");
}

static void put_side(struct text *t, const char *name, const struct report_side *s, bool streams)
{
    text_printf(t, "%s", name);
    if (!s->there) {
        text_str(t, " none");
        return;
    }
    if (streams)
        text_printf(t, " %s/%s", stream_state_name(s->rx), stream_state_name(s->tx));
    text_printf(t, " ready %s%s%s", s->ready & CONN_RX ? "r" : "", s->ready & CONN_TX ? "w" : "", s->ready ? "" : "-");
    text_printf(t, "%s%s%s", s->hup ? " hup" : "", s->eof ? " eof" : "", s->shut ? " shut" : "");
    if (s->error)
        text_printf(t, " error (%s)", err_text(s->error));
    if (s->unread)
        put_u64(t, " unread ", s->unread);
    if (s->unsent)
        put_u64(t, " unsent ", s->unsent);
}

static void put_pump(struct text *t, const char *name, const struct report_pump *p)
{
    text_printf(t, "; %s %s%s", name, pump_state_name(p->state), p->full ? " waits for room" : "");
    if (p->piped)
        put_u64(t, " piped ", p->piped);
}

static void put_sides(struct text *t, const struct report_session *s)
{
    bool exchange = s->state >= REPORT_STEP;
    char trail[XCHG_TRAIL_TEXT];

    text_str(t, "    ");
    if (exchange) {
        xchg_trail_text(s->x.trail, trail);
        text_printf(t, "steps %s; ", trail);
    }
    put_side(t, "client", &s->client, exchange);
    if (exchange) {
        put_side(t, "; origin", &s->upstream, true);
        put_pump(t, "up", &s->up);
        put_pump(t, "down", &s->down);
    }
    text_str(t, "\n");
}

/* ---- the worker ---- */

static void put_worker(struct text *t, const struct report_worker *r, const struct view_worker *w)
{
    text_printf(t, "worker %u: %s, turn ", r->id, view_worker_phase_name(r->phase));
    text_u64(t, r->turns);
    if (w->turn_ms)
        put_u64(t, ", running for ms ", w->turn_ms);
    put_u64(t, ", tasks run ", r->tasks);
    text_printf(t, ", queued %u and bulk %u, timers %u, kept upstream %u, lookups %u\n", r->small, r->bulk, r->timers, r->pooled, r->lookups);
}

static void put_counts(struct text *t, const struct report_worker *r)
{
    const char *between = ": ";

    text_printf(t, "worker %u: %u %s, %u shown", r->id, r->sessions, r->sessions == 1 ? "session" : "sessions", r->n_s);
    if (r->looked < r->sessions)
        text_printf(t, " of %u looked at", r->looked);
    for (unsigned i = 0; i < REPORT_STATES; i++)
        if (r->states[i]) {
            text_printf(t, "%s%u %s", between, r->states[i], report_state_name(i));
            between = ", ";
        }
    text_str(t, "\n");
}

char *dump_text(const struct server_view *v, unsigned i, size_t *ret_n)
{
    const struct report_answer *a = &v->reports->v[i];
    struct text t = {0};

    if (!a->came) {
        text_printf(&t, "worker %u does not answer\n", a->r.id);
        return text_take(&t, ret_n);
    }
    put_worker(&t, &a->r, &v->workers[i]);
    put_counts(&t, &a->r);
    for (unsigned k = 0; k < a->r.n_s; k++) {
        put_who(&t, &a->r.s[k]);
        put_sides(&t, &a->r.s[k]);
    }
    return text_take(&t, ret_n);
}
