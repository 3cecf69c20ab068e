/* SPDX-License-Identifier: MIT */
/* status_json: the same view as JSON. Called on the main thread. The writer of base/json.h fills a buffer of fixed size: a view is a value, so a
 * buffer that was too small is doubled and all of it written again.
 */
#include "app/status.h"

#include "base/date.h"
#include "base/json.h"
#include "base/mem.h"
#include "proxy/xchg.h"

enum { JSON_FIRST = 16384, JSON_XCHG = 1024, JSON_MAX = 1 << 28 };

static void put_time(struct json *j, const char *key, uint64_t ms)
{
    char iso[DATE_ISO_LEN + 1];

    json_key(j, key);
    if (!ms) {
        json_null(j);
        return;
    }
    date_iso(ms, iso);
    json_str(j, slice_of(iso, DATE_ISO_LEN));
}

/* NULL: null. */
static void put_text(struct json *j, const char *key, const char *z)
{
    json_key(j, key);
    if (z)
        json_str(j, slice_str(z));
    else
        json_null(j);
}

/* UINT64_MAX: null. */
static void put_limit(struct json *j, const char *key, uint64_t v)
{
    json_key(j, key);
    if (v == UINT64_MAX)
        json_null(j);
    else
        json_u64(j, v);
}

static void put_addr(struct json *j, const char *key, const struct addr *a)
{
    char out[ADDR_TEXT_MAX];

    json_key(j, key);
    if (a->sa.sa_family == 0) {
        json_null(j);
        return;
    }
    json_str(j, slice_of(out, addr_text(a, out)));
}

static void put_server(struct json *j, const struct server_view *v)
{
    json_kstr(j, "version", slice_str(v->version));
    json_ku64(j, "pid", v->process.pid);
    json_kstr(j, "phase", slice_str(view_phase_name(v->phase)));
    if (v->phase == SERVER_DRAINING)
        put_limit(j, "drain_left_ms", v->drain_left_ms);
    put_time(j, "time", v->now_ms);
    put_time(j, "since", v->start_ms);
    json_key(j, "configuration");
    json_open(j, '{');
    put_text(j, "file", v->file);
    json_ku64(j, "generation", v->generation);
    json_ku64(j, "snapshots", v->n_snapshots);
    json_close(j, '}');
    json_key(j, "last_reload");
    json_open(j, '{');
    json_kstr(j, "result", slice_str(view_reload_name(v->reload.result)));
    put_time(j, "time", v->reload.at_ms);
    put_time(j, "last_success", v->reload.success_ms);
    put_text(j, "errors", v->reload.errors);
    json_close(j, '}');
}

static void put_figures(struct json *j, const struct server_view *v)
{
    json_key(j, "memory");
    json_open(j, '{');
    json_ku64(j, "resident_bytes", v->process.resident_bytes);
    json_close(j, '}');
    json_key(j, "descriptors");
    json_open(j, '{');
    json_ku64(j, "open", v->process.open_fds);
    json_ku64(j, "limit", v->process.max_fds);
    json_close(j, '}');
    json_key(j, "capacity");
    json_open(j, '{');
    json_ku64(j, "connections", v->capacity.connections);
    json_ku64(j, "connections_limit", v->capacity.connections_limit);
    put_limit(j, "per_client_limit", v->capacity.clients_limit ? v->capacity.clients_limit : UINT64_MAX);
    json_ku64(j, "memory_bytes", v->capacity.memory);
    json_ku64(j, "memory_limit_bytes", v->capacity.memory_limit);
    json_close(j, '}');
    json_key(j, "log");
    json_open(j, '{');
    json_ku64(j, "written", v->log.written);
    json_ku64(j, "lost", v->log.lost);
    json_ku64(j, "dropped", view_log_dropped(v));
    json_ku64(j, "outputs_failing", v->log.failing);
    json_close(j, '}');
}

static void put_listeners(struct json *j, const struct server_view *v)
{
    json_key(j, "listeners");
    json_open(j, '[');
    for (unsigned i = 0; i < v->n_listeners; i++) {
        json_open(j, '{');
        json_kstr(j, "address", slice_str(v->listeners[i].address));
        put_text(j, "name", v->listeners[i].name);
        json_kstr(j, "role", slice_str(view_role_name(v->listeners[i].role)));
        json_close(j, '}');
    }
    json_close(j, ']');
}

/* How long its turn has been running; of one that does not answer, what it runs. */
static void put_turn(struct json *j, const struct view_worker *w)
{
    json_ku64(j, "turn_ms", w->turn_ms);
    if (!w->seen_known)
        return;
    json_key(j, "runs");
    json_open(j, '{');
    put_text(j, "task", w->seen.task);
    put_text(j, "step", w->seen.step);
    json_ku64(j, "exchange", w->seen.id);
    json_close(j, '}');
}

static void put_worker(struct json *j, const struct report_answer *a, const struct view_worker *w)
{
    const struct report_worker *r = &a->r;

    json_open(j, '{');
    json_ku64(j, "id", r->id);
    json_kbool(j, "answers", a->came);
    if (a->came) {
        json_kstr(j, "phase", slice_str(view_worker_phase_name(r->phase)));
        json_ku64(j, "sessions", r->sessions);
        json_ku64(j, "exchanges", r->exchanges);
        json_ku64(j, "tunnels", r->tunnels);
        json_ku64(j, "kept", r->pooled);
        json_ku64(j, "lookups", r->lookups);
        json_ku64(j, "turns", r->turns);
        json_ku64(j, "tasks", r->tasks);
        json_ku64(j, "generation", r->generation);
    }
    put_turn(j, w);
    json_close(j, '}');
}

static void put_steps(struct json *j, const struct report_xchg *x)
{
    json_key(j, "steps");
    json_open(j, '[');
    for (unsigned i = view_trail(x); i < REPORT_TRAIL; i++)
        json_str(j, slice_str(xchg_step_name((enum xstep)x->trail[i])));
    json_close(j, ']');
}

static void put_exchange(struct json *j, const struct report_worker *w, const struct report_xchg *x)
{
    json_open(j, '{');
    json_ku64(j, "id", x->id);
    json_ku64(j, "worker", w->id);
    json_ku64(j, "age_ms", x->age_ms);
    json_ku64(j, "quiet_ms", x->quiet_ms);
    put_limit(j, "deadline_ms", x->deadline_ms);
    json_kstr(j, "step", slice_str(xchg_step_name((enum xstep)x->step)));
    put_steps(j, x);
    json_kstr(j, "method", slice_str(x->method));
    json_kstr(j, "host", slice_str(x->host));
    json_ku64(j, "port", x->port);
    json_ku64(j, "status", x->status);
    json_kbool(j, "tunnel", x->tunnel);
    put_addr(j, "client", &x->client);
    put_addr(j, "peer", &x->peer);
    json_ku64(j, "bytes_up", x->bytes_up);
    json_ku64(j, "bytes_down", x->bytes_down);
    json_close(j, '}');
}

static void put_reports(struct json *j, const struct server_view *v)
{
    unsigned left = v->n_exchanges;

    json_key(j, "workers");
    json_open(j, '[');
    for (unsigned i = 0; v->reports && i < v->reports->n; i++)
        put_worker(j, &v->reports->v[i], &v->workers[i]);
    json_close(j, ']');
    json_key(j, "exchanges");
    json_open(j, '[');
    for (unsigned i = 0; v->reports && i < v->reports->n; i++)
        for (unsigned k = 0; k < v->reports->v[i].r.n && left; k++, left--)
            put_exchange(j, &v->reports->v[i].r, &v->reports->v[i].r.v[k]);
    json_close(j, ']');
}

static void put_all(struct json *j, const struct server_view *v)
{
    json_open(j, '{');
    put_server(j, v);
    put_figures(j, v);
    put_listeners(j, v);
    if (v->fingerprint)
        put_text(j, "tls_auto_sha256", v->fingerprint);
    put_reports(j, v);
    json_close(j, '}');
}

static size_t expected(const struct server_view *v)
{
    size_t n = JSON_FIRST;

    for (unsigned i = 0; v->reports && i < v->reports->n; i++)
        n += min_size(v->reports->v[i].r.n, v->n_exchanges) * JSON_XCHG;
    return n;
}

char *status_json(const struct server_view *v, size_t *ret_n)
{
    for (size_t cap = expected(v); cap <= JSON_MAX; cap *= 2) {
        char *p = mem_alloc(cap);
        struct json j;

        if (!p)
            return NULL;
        json_init(&j, p, cap - 2);
        put_all(&j, v);
        if (!j.full) {
            memcpy(p + j.n, "\n", 2);
            *ret_n = j.n + 1;
            return p;
        }
        mem_free(p);
    }
    return NULL;
}
