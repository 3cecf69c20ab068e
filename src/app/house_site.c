/* SPDX-License-Identifier: MIT */
/* house_site: what the pages of the admin address and the control socket read of the server, and the orders that come over the latter. Called on the main
 * thread, from the house's exchanges and for USR2.
 */
#include "app/conf_show.h"
#include "app/server.h"
#include "app/status.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "build_config.h"

#include <stdio.h>
#include <string.h>

enum { DUMP_EXCHANGES = 200 };

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

static void picture_workers(const struct server *s, struct picture *p, struct server_view *v)
{
    for (unsigned i = 0; i < s->n_started; i++)
        p->workers[i] = (struct view_worker){
            .id = s->workers[i]->id,
            .stats = &s->workers[i]->stats,
            .turns = atomic_load_explicit(&s->workers[i]->loop.heartbeat, memory_order_relaxed),
        };
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

static int ask_view(void *owner, bool ask, unsigned n_exchanges, struct server_view *ret_view)
{
    struct server *s = owner;
    struct picture *p = mem_zalloc(sizeof(*p));

    if (!p)
        return ERR_NOMEM;
    if (ask && report_all(s->workers, s->n_started, n_exchanges, REPORT_ALL_WAIT_MS, &p->reports) < 0) {
        mem_free(p);
        return ERR_NOMEM;
    }
    view_fill(s, p, ret_view);
    ret_view->reports = p->reports;
    return 0;
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
    };
}

/* ---- USR2 ---- */

void house_dump(struct server *s)
{
    struct server_view v;
    char *text;
    size_t n;

    if (ask_view(s, true, DUMP_EXCHANGES, &v) < 0)
        return;
    v.n_exchanges = DUMP_EXCHANGES;
    text = status_text(&v, &n);
    ask_view_done(s, &v);
    if (text)
        log_lines(LOG_INFO, text);
    mem_free(text);
}
