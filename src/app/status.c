/* SPDX-License-Identifier: MIT */
/* status: the page for people. Called on the main thread. What is most asked for comes first, the exchanges last, two lines each: numbers in columns,
 * then who speaks to whom and the way through the steps. The JSON of the same is in status_json.c.
 */
#include "app/status.h"

#include "app/text.h"
#include "base/date.h"
#include "proxy/xchg.h"

enum { COLUMN_VALUE = 16, ADDRESSES_MAX = 54 };

/* ---- values ---- */

static void put_time(struct text *t, uint64_t ms)
{
    char iso[DATE_ISO_LEN + 1];

    date_iso(ms, iso);
    text_str(t, iso);
}

/* Two units at most: 850ms, 12s, 3m12s, 2h05m, 3d04h. */
static void put_span(struct text *t, uint64_t ms)
{
    uint64_t s = ms / 1000;

    if (ms < 1000)
        text_printf(t, "%ums", (unsigned)ms);
    else if (s < 60)
        text_printf(t, "%us", (unsigned)s);
    else if (s < 3600)
        text_printf(t, "%um%02us", (unsigned)(s / 60), (unsigned)(s % 60));
    else if (s < 86400)
        text_printf(t, "%uh%02um", (unsigned)(s / 3600), (unsigned)(s / 60 % 60));
    else
        text_printf(t, "%llud%02uh", (unsigned long long)(s / 86400), (unsigned)(s / 3600 % 24));
}

/* Four digits at most: 512 B, 1.2 kB, 340 MB; powers of 1000. */
static void put_bytes(struct text *t, uint64_t n)
{
    static const char units[] = "kMGTPE";
    uint64_t tenths = n;
    int u = -1;

    if (n < 1000) {
        text_printf(t, "%u B", (unsigned)n);
        return;
    }
    for (; n >= 1000; u++) {
        tenths = n / 100;
        n /= 1000;
    }
    if (n < 10)
        text_printf(t, "%u.%u %cB", (unsigned)(tenths / 10), (unsigned)(tenths % 10), units[u]);
    else
        text_printf(t, "%u %cB", (unsigned)n, units[u]);
}

static void put_addr(struct text *t, const struct addr *a)
{
    char out[ADDR_TEXT_MAX];

    if (a->sa.sa_family == 0) {
        text_str(t, "-");
        return;
    }
    addr_text(a, out);
    text_str(t, out);
}

static void put_number(struct text *t, uint64_t v, int width)
{
    text_printf(t, "%*llu", width, (unsigned long long)v);
}

/* Right-aligned: what is written begins at t->n == from and moves to the right end of the column. */
static void align_right(struct text *t, size_t from, size_t width)
{
    size_t n = t->n - from;

    if (n >= width)
        return;
    text_printf(t, "%*s", (int)(width - n), "");
    if (t->refused)
        return;
    memmove(t->p + from + width - n, t->p + from, n);
    memset(t->p + from, ' ', width - n);
}

static void put_span_in(struct text *t, uint64_t ms, size_t width)
{
    size_t from = t->n;

    put_span(t, ms);
    align_right(t, from, width);
}

static void put_bytes_in(struct text *t, uint64_t n, size_t width)
{
    size_t from = t->n;

    put_bytes(t, n);
    align_right(t, from, width);
}

/* ---- the head ---- */

static void label(struct text *t, const char *name)
{
    size_t line = t->n;

    text_str(t, name);
    text_pad(t, line, COLUMN_VALUE);
}

static void put_phase(struct text *t, const struct server_view *v)
{
    text_str(t, view_phase_name(v->phase));
    if (v->phase != SERVER_DRAINING)
        return;
    if (v->drain_left_ms == UINT64_MAX) {
        text_str(t, ", without limit");
        return;
    }
    text_str(t, ", what is left is cut in ");
    put_span(t, v->drain_left_ms);
}

static void put_errors(struct text *t, const char *errors)
{
    while (*errors) {
        struct slice line = slice_str(errors);

        line.n = slice_find(line, '\n');
        text_printf(t, "%*s", COLUMN_VALUE, "");
        text_operator(t, line);
        text_str(t, "\n");
        errors += line.n + (errors[line.n] == '\n');
    }
}

static void put_reload(struct text *t, const struct server_view *v)
{
    label(t, "last reload");
    if (v->reload.result == RELOAD_NONE) {
        text_str(t, "none since the start\n");
        return;
    }
    put_time(t, v->reload.at_ms);
    text_printf(t, ", %s", view_reload_name(v->reload.result));
    if (v->reload.result != RELOAD_FAILED) {
        text_str(t, "\n");
        return;
    }
    text_str(t, ": the configuration before it is in use\n");
    if (v->reload.errors)
        put_errors(t, v->reload.errors);
}

static void put_process(struct text *t, const struct server_view *v)
{
    label(t, "memory");
    put_bytes(t, v->process.resident_bytes);
    text_str(t, " resident\n");
    label(t, "descriptors");
    text_u64(t, v->process.open_fds);
    text_str(t, " of ");
    text_u64(t, v->process.max_fds);
    text_str(t, "\n");
    label(t, "capacity");
    text_u64(t, v->capacity.connections);
    text_str(t, " of ");
    text_u64(t, v->capacity.connections_limit);
    text_str(t, " connections, ");
    put_bytes(t, v->capacity.memory);
    text_str(t, " of ");
    put_bytes(t, v->capacity.memory_limit);
    text_str(t, " memory\n");
}

static void put_log(struct text *t, const struct server_view *v)
{
    label(t, "access log");
    text_u64(t, v->log.written);
    text_str(t, " written, ");
    text_u64(t, v->log.lost);
    text_str(t, " lost, ");
    text_u64(t, view_log_dropped(v));
    text_str(t, " dropped");
    if (v->log.failing)
        text_printf(t, "; %u %s", v->log.failing, v->log.failing == 1 ? "output fails" : "outputs fail");
    text_str(t, "\n");
}

static void put_head(struct text *t, const struct server_view *v)
{
    text_printf(t, "ginnel %s, process ", v->version);
    text_u64(t, v->process.pid);
    text_str(t, ", ");
    put_phase(t, v);
    text_str(t, "\n\n");
    label(t, "running");
    put_span(t, v->now_ms > v->start_ms ? v->now_ms - v->start_ms : 0);
    text_str(t, ", since ");
    put_time(t, v->start_ms);
    text_str(t, "\n");
    label(t, "configuration");
    text_operator(t, v->file ? slice_str(v->file) : SLICE("the defaults, no file"));
    text_printf(t, ", generation %u", v->generation);
    if (v->n_snapshots > 1)
        text_printf(t, " (%u older in use)", v->n_snapshots - 1);
    text_str(t, "\n");
    put_reload(t, v);
    put_process(t, v);
    put_log(t, v);
    if (v->fingerprint) {
        label(t, "tls: auto");
        text_printf(t, "SHA-256 %s\n", v->fingerprint);
    }
}

/* ---- the tables ---- */

static void put_listeners(struct text *t, const struct server_view *v)
{
    size_t width = sizeof("ADDRESS"), line;

    for (unsigned i = 0; i < v->n_listeners; i++)
        width = max_size(width, strlen(v->listeners[i].address) + 1);
    line = t->n + 1;
    text_str(t, "\nADDRESS");
    text_pad(t, line, width + 1);
    text_str(t, "ROLE     NAME\n");
    for (unsigned i = 0; i < v->n_listeners; i++) {
        const struct view_listener *l = &v->listeners[i];

        line = t->n;
        text_operator(t, slice_str(l->address));
        text_pad(t, line, width + 1);
        text_printf(t, "%-8s ", view_role_name(l->role));
        text_operator(t, slice_str(l->name ? l->name : "-"));
        text_str(t, "\n");
    }
}

/* Of one that does not answer: since when, and what it runs. */
static void put_stuck(struct text *t, const struct view_worker *w)
{
    text_str(t, "   does not answer");
    if (w->turn_ms) {
        text_str(t, "; its turn has been running for ");
        put_span(t, w->turn_ms);
    }
    if (w->seen_known)
        text_printf(t, "; task %s", w->seen.task ? w->seen.task : "none");
    if (w->seen_known && w->seen.step) {
        text_printf(t, ", step %s, exchange ", w->seen.step);
        text_u64(t, w->seen.id);
    }
    text_str(t, "\n");
}

static void put_worker(struct text *t, const struct report_answer *a, const struct view_worker *w)
{
    const struct report_worker *r = &a->r;

    put_number(t, r->id, 6);
    if (!a->came) {
        put_stuck(t, w);
        return;
    }
    put_number(t, r->sessions, 10);
    put_number(t, r->exchanges, 11);
    put_number(t, r->tunnels, 9);
    put_number(t, r->pooled, 7);
    put_number(t, r->lookups, 9);
    put_number(t, r->turns, 14);
    put_number(t, r->generation, 12);
    text_printf(t, "  %s", view_worker_phase_name(r->phase));
    if (w->turn_ms) {
        text_str(t, ", this turn ");
        put_span(t, w->turn_ms);
    }
    text_str(t, "\n");
}

static void put_workers(struct text *t, const struct server_view *v)
{
    if (!v->reports)
        return;
    text_str(t, "\nWORKER  SESSIONS  EXCHANGES  TUNNELS   KEPT  LOOKUPS         TURNS  GENERATION  PHASE\n");
    for (unsigned i = 0; v->reports && i < v->reports->n; i++)
        put_worker(t, &v->reports->v[i], &v->workers[i]);
}

/* ---- exchanges ---- */

static void put_trail(struct text *t, const struct report_xchg *x)
{
    unsigned first = view_trail(x);

    for (unsigned i = first; i < REPORT_TRAIL; i++) {
        if (i > first)
            text_str(t, " ");
        text_str(t, xchg_step_name((enum xstep)x->trail[i]));
    }
}

static void put_target(struct text *t, const struct report_xchg *x)
{
    struct slice host = slice_str(x->host);
    bool v6 = slice_find(host, ':') < host.n;

    text_escaped(t, x->method[0] ? slice_str(x->method) : SLICE("-"));
    if (host.n == 0)
        return;
    text_str(t, v6 ? " [" : " ");
    text_escaped(t, host);
    text_str(t, v6 ? "]" : "");
    if (x->port)
        text_printf(t, ":%u", x->port);
}

static void put_exchange(struct text *t, const struct report_xchg *x)
{
    size_t line;

    put_span_in(t, x->age_ms, 7);
    put_span_in(t, x->quiet_ms, 8);
    if (x->deadline_ms == UINT64_MAX)
        text_str(t, "        -");
    else
        put_span_in(t, x->deadline_ms, 9);
    put_bytes_in(t, x->bytes_up, 9);
    put_bytes_in(t, x->bytes_down, 9);
    text_printf(t, "  %-8s", xchg_step_name((enum xstep)x->step));
    if (x->status)
        text_printf(t, "%6u  ", x->status);
    else
        text_str(t, "     -  ");
    put_target(t, x);
    text_str(t, "\n");
    line = t->n;
    text_str(t, "        ");
    put_addr(t, &x->client);
    text_str(t, " > ");
    put_addr(t, &x->peer);
    /* Two long IPv6 addresses leave no room for the rest. */
    text_str(t, t->n - line > ADDRESSES_MAX ? "\n        id " : "  id ");
    text_u64(t, x->id);
    text_str(t, "  ");
    put_trail(t, x);
    text_str(t, "\n");
}

static void put_exchanges(struct text *t, const struct server_view *v)
{
    unsigned all = 0, left = v->n_exchanges;

    for (unsigned i = 0; v->reports && i < v->reports->n; i++)
        all += v->reports->v[i].r.exchanges;
    if (!all || !left)
        return;
    text_printf(t, "\n%u of %u %s, on each worker those of the oldest connections first\n", all < left ? all : left, all,
                all == 1 ? "exchange" : "exchanges");
    text_str(t, "    AGE   QUIET DEADLINE       UP     DOWN  STEP    STATUS  TARGET\n");
    for (unsigned i = 0; v->reports && i < v->reports->n; i++)
        for (unsigned k = 0; k < v->reports->v[i].r.n && left; k++, left--)
            put_exchange(t, &v->reports->v[i].r.v[k]);
}

char *status_text(const struct server_view *v, size_t *ret_n)
{
    struct text t = {0};

    put_head(&t, v);
    put_listeners(&t, v);
    put_workers(&t, v);
    put_exchanges(&t, v);
    return text_take(&t, ret_n);
}
