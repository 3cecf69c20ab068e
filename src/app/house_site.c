/* SPDX-License-Identifier: MIT */
/* house_site: what the pages of the admin address and the control socket read of the server, and the orders that come over the latter. Called on the main
 * thread, from the house's exchanges and for USR2.
 */
#include "app/conf_show.h"
#include "app/denied.h"
#include "app/dump.h"
#include "app/server.h"
#include "app/status.h"
#include "app/text.h"
#include "app/why_page.h"
#include "base/err.h"
#include "base/mem.h"
#include "build_config.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static enum server_phase phase_of(const struct server *s)
{
    return s->phase == HOUSE_START ? SERVER_STARTING : s->phase == HOUSE_RUN ? SERVER_READY : SERVER_DRAINING;
}

/* What a view points to. */
struct picture {
    struct view_listener listeners[LISTENERS_MAX];
    struct view_worker workers[WORKER_MAX];
    struct report_all *reports;
};

static void picture_listeners(const struct server *s, struct picture *p, struct server_view *v)
{
    for (unsigned i = 0; i < s->listeners.n; i++) {
        const struct listen_socket *l = s->listeners.v[i];
        const struct snapshot_listen *sl = snapshot_listen_find(&s->current->snap, l->id);

        p->listeners[i] = (struct view_listener){
            .address = l->text,
            .name = sl && strcmp(sl->name, l->text) != 0 ? sl->name : NULL,
            .role = l->role,
        };
    }
    v->listeners = p->listeners;
    v->n_listeners = s->listeners.n;
}

uint64_t house_turn_ms(const struct worker *w)
{
    uint64_t since = atomic_load_explicit(&w->loop.busy_since_us, memory_order_relaxed), now_us;
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    now_us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
    return since && now_us > since && !atomic_load(&w->stopped) ? (now_us - since) / 1000 : 0;
}

/* One that does not answer is interrupted, and says what it runs. */
static void picture_worker(const struct server *s, const struct report_all *reports, unsigned i, struct view_worker *ret)
{
    struct worker *w = s->workers[i];
    uint64_t turn_ms = house_turn_ms(w);

    *ret = (struct view_worker){
        .id = w->id,
        .stats = &w->stats,
        .turns = atomic_load_explicit(&w->loop.heartbeat, memory_order_relaxed),
        .turn_ms = turn_ms >= VIEW_TURN_MS ? turn_ms : 0,
    };
    if (reports && !reports->v[i].came && !atomic_load(&w->stopped))
        ret->seen_known = stall_ask(&w->stall, false, SERVER_SEEN_MS, &ret->seen);
}

static void picture_workers(const struct server *s, struct picture *p, struct server_view *v)
{
    for (unsigned i = 0; i < s->n_started; i++)
        picture_worker(s, p->reports, i, &p->workers[i]);
    v->workers = p->workers;
    v->n_workers = s->n_started;
}

static unsigned count_editions(const struct server *s)
{
    unsigned n = 1;

    LIST_EACH(it, &s->retired)
    n++;
    return n;
}

static uint64_t drain_left(const struct server *s)
{
    uint64_t now_ms = s->house.loop.now_ms;

    if (s->drain_until_ms == UINT64_MAX)
        return UINT64_MAX;
    return s->drain_until_ms > now_ms ? s->drain_until_ms - now_ms : 0;
}

static struct view_capacity capacity_view(const struct server *s)
{
    const struct proxy_conf *c = &s->current->conf->proxy;

    return (struct view_capacity){
        .connections = capacity_connections(s->capacity),
        .connections_limit = c->capacity.connections,
        .clients_limit = c->capacity.per_client,
        .memory = mem_counted(),
        .memory_limit = c->capacity.memory,
    };
}

static void view_fill(const struct server *s, struct picture *p, struct server_view *v)
{
    *v = (struct server_view){
        .version = GINNEL_VERSION,
        .file = s->current->conf->file,
        .now_ms = s->house.loop.wall_ms,
        .start_ms = s->start_wall_ms,
        .phase = phase_of(s),
        .drain_left_ms = drain_left(s),
        .generation = s->generation,
        .n_snapshots = count_editions(s),
        .reload = {.at_ms = s->last_reload_wall_ms,
                   .success_ms = s->last_good_wall_ms,
                   .result = s->last_result,
                   .errors = s->last_errors},
        .log = access_counts(s->log),
        .capacity = capacity_view(s),
        .limits = charge_table_count(s->charges),
        .fingerprint = s->tls.self.fingerprint[0] ? s->tls.self.fingerprint : NULL,
    };
    memcpy(v->reload.counts, s->reloads, sizeof(v->reload.counts));
    view_process(&v->process);
    picture_listeners(s, p, v);
    picture_workers(s, p, v);
}

/* ---- the site's questions ---- */

static enum server_phase ask_phase(void *owner)
{
    return phase_of(owner);
}

/* ask NULL: nobody is asked. */
static int make_view(struct server *s, const struct report_ask *ask, struct server_view *ret_view)
{
    struct picture *p = mem_zalloc(sizeof(*p));

    if (!p)
        return ERR_NOMEM;
    if (ask && report_all(s->workers, s->n_started, ask, &p->reports) < 0) {
        mem_free(p);
        return ERR_NOMEM;
    }
    view_fill(s, p, ret_view);
    ret_view->reports = p->reports;
    return 0;
}

static int ask_view(void *owner, bool ask, unsigned n_exchanges, struct server_view *ret_view)
{
    const struct report_ask q = {.n_xchgs = n_exchanges, .wait_ms = REPORT_ALL_WAIT_MS};

    return make_view(owner, ask ? &q : NULL, ret_view);
}

static void ask_view_done(void *owner, struct server_view *view)
{
    /* The listeners are its first member. */
    struct picture *p = (struct picture *)(uintptr_t)view->listeners;

    UNUSED(owner);
    report_all_free(p->reports);
    mem_free(p);
}

static int ask_reload(void *owner, char **ret_text, enum reload_result *ret_result)
{
    struct server *s = owner;
    const char *errors;
    size_t n, m;
    char *p;

    *ret_result = reload_now(s, RELOAD_BY_CONTROL);
    errors = *ret_result == RELOAD_FAILED && s->last_errors ? s->last_errors : "";
    n = strlen(s->last_text);
    m = strlen(errors);
    p = mem_alloc(n + m + 3);
    if (!p)
        return ERR_NOMEM;
    snprintf(p, n + m + 3, "%s\n%s%s", s->last_text, errors, m && errors[m - 1] != '\n' ? "\n" : "");
    *ret_text = p;
    return 0;
}

static void ask_drain(void *owner)
{
    struct server *s = owner;

    if (s->phase == HOUSE_RUN)
        house_drain(s, s->current->conf->proxy.timeouts.drain);
}

static char *ask_config(void *owner)
{
    const struct server *s = owner;
    size_t n;

    return conf_show(s->current->conf, &n);
}

static char *ask_denied(void *owner, bool json, size_t *ret_n)
{
    const struct server *s = owner;
    struct denial *v = mem_alloc(DENIALS_MAX * sizeof(*v));
    struct denied_view d = {.v = v, .policy = s->current->snap.policy};
    char *p;

    if (!v)
        return NULL;
    d.n = denials_read(s->denials, v, DENIALS_MAX, &d.total);
    p = json ? denied_json(&d, ret_n) : denied_text(&d, ret_n);
    mem_free(v);
    return p;
}

static int ask_why(void *owner, struct slice query, bool json, char **ret_text, size_t *ret_n, char why[SITE_WHY])
{
    const struct server *s = owner;
    const struct why_state state = {.charges = s->charges, .board = s->board, .now_ms = s->house.loop.now_ms, .now_us = s->house.loop.now_us, .wall_ms = s->house.loop.wall_ms};

    return why_page(s->current, s->charges ? &state : NULL, query, json, ret_text, ret_n, why);
}

void house_site(struct server *s)
{
    s->site = (struct site_ops){
        .owner = s,
        .phase = ask_phase,
        .view = ask_view,
        .view_done = ask_view_done,
        .reload = ask_reload,
        .drain = ask_drain,
        .config = ask_config,
        .denied = ask_denied,
        .why = ask_why,
    };
}

/* ---- USR2 ---- */

/* p: made for it; NULL: memory was refused. */
static void add(struct text *t, char *p)
{
    if (p)
        text_str(t, p);
    else
        t->refused = true;
    mem_free(p);
}

char *house_dump_text(struct server *s)
{
    const struct report_ask ask = {.n_xchgs = STATUS_EXCHANGES, .sessions = true, .wait_ms = REPORT_ALL_WAIT_MS};
    struct server_view v;
    struct text t = {0};
    size_t n;

    if (make_view(s, &ask, &v) < 0)
        return NULL;
    v.n_exchanges = STATUS_EXCHANGES;
    add(&t, status_text(&v, &n));
    for (unsigned i = 0; i < v.reports->n; i++)
        add(&t, dump_text(&v, i, &n));
    ask_view_done(s, &v);
    return text_take(&t, &n);
}
