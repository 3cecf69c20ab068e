/* SPDX-License-Identifier: MIT */
/* reload: puts a changed configuration into service: all of it is loaded, compared, opened and built first, then committed to every worker at once, or
 * dropped with every error shown. It refuses no connection and cuts none: sockets of unchanged addresses stay, the queues of removed ones are emptied by
 * the workers before they are closed here. Runs on the main thread, which may block.
 */
#include "app/sd.h"
#include "app/server.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/pipes.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

_Static_assert((int)SERVER_TEXT >= (int)TLS_SETS_TEXT, "what is said of contexts fits");

static const char *const cause_texts[] = {[RELOAD_BY_HUP] = "HUP", [RELOAD_BY_CONTROL] = "control socket", [RELOAD_BY_FILE] = "the file changed",
                                         [RELOAD_BY_AGE] = "the certificate of `tls: auto` is old"};

/* ---- what is over ---- */

static void change_done(struct worker_change *c)
{
    house_notice(CONTAINER_OF(c, struct server, change));
}

static void close_removed(struct server *s)
{
    if (!s->change_open || atomic_load(&s->change.left))
        return;
    for (unsigned i = 0; i < s->n_removed; i++)
        listeners_close(s->removed[i]);
    s->n_removed = 0;
    s->change_open = false;
}

void reload_retire(struct server *s)
{
    bool any = false;

    close_removed(s);
    programs_sweep(&s->programs);
    LIST_EACH(it, &s->retired)
    {
        struct edition *e = LIST_ENTRY(it, struct edition, link);

        if (!snapshot_unused(&e->snap))
            continue;
        log_debug("configuration %u is no longer in use", e->snap.generation);
        edition_free(e);
        any = true;
    }
    /* Lists may have been large. */
    if (any)
        malloc_trim(0);
}

/* False: a worker does not come round to it. */
static bool wait_for_workers(struct server *s)
{
    const struct timespec ms = {.tv_nsec = 1000000};

    for (unsigned i = 0; i < SERVER_APPLY_MS && s->change_open; i++) {
        close_removed(s);
        if (s->change_open)
            nanosleep(&ms, NULL);
    }
    return !s->change_open;
}

/* ---- saying so ---- */

void reload_say_listeners(const struct listeners_plan *p, bool first)
{
    static const char *const what[] = {[LISTEN_PROXY] = "listening", [LISTEN_ADMIN] = "admin", [LISTEN_CONTROL] = "control"};

    for (unsigned i = 0; i < p->n; i++)
        if (p->v[i].fresh || (first && p->v[i].socket->handed))
            log_info("%s on %s", what[p->v[i].socket->role], p->v[i].socket->text);
}

/* The old configuration stays. The text is what the operator reads where the reload was asked for. */
static enum reload_result failed(struct server *s, const char *cause, char *errors)
{
    s->last_errors = errors;
    snprintf(s->last_text, sizeof(s->last_text), "reload (%s) failed: the configuration of before stays in service", cause);
    log_error("%s", s->last_text);
    if (errors)
        log_lines(LOG_ERROR, errors);
    return RELOAD_FAILED;
}

static enum reload_result failed_text(struct server *s, const char *cause, const char *text)
{
    return failed(s, cause, mem_dup(text, strlen(text)));
}

/* ---- committing ---- */

static unsigned count_fresh(const struct listeners_plan *p)
{
    unsigned n = 0;

    for (unsigned i = 0; i < p->n; i++)
        n += p->v[i].fresh;
    return n;
}

static const char *settled_text(const struct conf *old, const struct conf *fresh)
{
    bool workers = old->workers != fresh->workers;
    bool control = old->control != fresh->control || (fresh->control_path && strcmp(fresh->control_path, old->control_path) != 0);

    return workers && control ? "; `workers` and `control` need a restart"
           : workers          ? "; `workers` needs a restart"
           : control          ? "; `control` needs a restart"
                              : "";
}

static void say_changed(struct server *s, const char *cause, const struct conf *old, const struct conf *fresh, unsigned opened, unsigned closed)
{
    char keys[SERVER_TEXT / 2], sockets[64] = "";

    if (!edition_diff(old, fresh, keys, sizeof(keys)))
        snprintf(keys, sizeof(keys), "nothing that shows");
    if (opened || closed)
        snprintf(sockets, sizeof(sockets), "; %u opened, %u closed", opened, closed);
    snprintf(s->last_text, sizeof(s->last_text), "reloaded %s (%s), configuration %u: changed %s%s%s", fresh->file ? fresh->file : "the defaults",
             cause, s->generation, keys, sockets, settled_text(old, fresh));
    log_info("%s", s->last_text);
}

/* Listeners of the traffic go to the workers, the others to the house. */
static void change_listeners(struct server *s, const struct listeners_plan *p)
{
    struct worker_change *c = &s->change;

    for (unsigned i = 0; i < p->n; i++) {
        const struct listen_socket *l = p->v[i].socket;
        struct worker_change_listen add = {.fd = l->fd, .id = l->id, .role = l->role};

        if (!p->v[i].fresh)
            continue;
        if (l->role == LISTEN_PROXY)
            s->added[c->n_add++] = add;
        else
            worker_listen_later(&s->house, l->fd, l->id, l->role);
    }
    for (unsigned i = 0; i < s->n_removed; i++) {
        listeners_deafen(s->removed[i]);
        s->removed_ids[c->n_remove++] = s->removed[i]->id;
        worker_unlisten(&s->house, s->removed[i]->id);
    }
}

static void commit(struct server *s, struct edition *e, const struct listeners_plan *p)
{
    struct edition *old = s->current;

    listeners_commit(&s->listeners, p, s->removed, &s->n_removed);
    s->change = (struct worker_change){.snap = &e->snap, .add = s->added, .remove = s->removed_ids, .done = change_done};
    s->change_open = true;
    change_listeners(s, p);
    s->current = e;
    tls_sets_commit(&s->tls, e);
    worker_use(&s->house, &e->snap);
    pipes_limit(e->conf->proxy.capacity.pipes);
    list_push(&s->retired, &old->link);
    atomic_store(&s->change.left, s->n_started);
    for (unsigned i = 0; i < s->n_started; i++)
        worker_post_change(s->workers[i], &s->change);
    log_set_level((enum log_level)e->conf->log_level);
}

/* ---- building ---- */

static int open_logs(const struct conf *c, struct access_set **ret_set, char *text, size_t cap)
{
    unsigned at = 0;
    int r = access_open(c->outputs, c->n_outputs, ret_set, &at);

    if (r < 0)
        snprintf(text, cap, "%s: cannot open the access log %s: %s", c->outputs[at].place ? c->outputs[at].place : "log",
                 c->outputs[at].path ? c->outputs[at].path : "", err_text(r));
    return r;
}

/* Takes the conf. */
static enum reload_result put_in_service(struct server *s, const char *cause, struct conf *c)
{
    struct listeners_error le;
    struct listeners_plan p;
    struct access_set *set;
    struct edition *e, *old = s->current;
    char text[SERVER_TEXT] = "";
    unsigned closed;

    if (listeners_plan(&s->listeners, c, s->control, &p, &le) < 0) {
        conf_free(c);
        return failed_text(s, cause, le.text);
    }
    if (open_logs(c, &set, text, sizeof(text)) < 0) {
        listeners_drop(&s->listeners, &p);
        conf_free(c);
        return failed_text(s, cause, text);
    }
    e = edition_new(c, &p, s->generation + 1);
    if (!e || edition_start_programs(e, &s->programs) < 0 || tls_sets_make(&s->tls, e, old, text) < 0) {
        if (!e || !text[0])
            snprintf(text, sizeof(text), "out of memory");
        access_close(set);
        listeners_drop(&s->listeners, &p);
        edition_free(e);
        return failed_text(s, cause, text);
    }
    e->snap.released = house_released;
    e->snap.owner = s;
    s->generation++;
    reload_say_listeners(&p, false);
    edition_say(e, old);
    serve_keep_quotas(s, e->conf);
    commit(s, e, &p);
    closed = s->n_removed;
    access_switch(s->log, set);
    /* Whoever reads the line may rely on it. */
    wait_for_workers(s);
    say_changed(s, cause, old->conf, e->conf, count_fresh(&p), closed);
    reload_watch(s);
    return RELOAD_OK;
}

static enum reload_result not_now(struct server *s, const char *cause, const char *why)
{
    snprintf(s->last_text, sizeof(s->last_text), "reload (%s) refused: %s", cause, why);
    log_warn("%s", s->last_text);
    return RELOAD_NONE;
}

/* What was in service is still watched, and what was read in vain: either may be mended. */
static void watch_failed(struct server *s, const struct conf_errors *errors)
{
    const struct conf *c = s->current->conf;
    const char **all = s->files ? mem_array(c->n_files + errors->n_files + 1, sizeof(*all)) : NULL;

    if (!all)
        return;
    for (unsigned i = 0; i < c->n_files; i++)
        all[i] = c->files[i];
    for (unsigned i = 0; i < errors->n_files; i++)
        all[c->n_files + i] = errors->files[i];
    if (filewatch_set(s->files, all, c->n_files + errors->n_files) < 0)
        log_warn("not all files of the configuration that failed are watched");
    mem_free(all);
}

static enum reload_result load_failed(struct server *s, enum reload_cause why, int error, struct conf_errors *errors)
{
    char *all = error == ERR_NOMEM ? NULL : conf_errors_text(errors);

    watch_failed(s, errors);
    conf_errors_done(errors);
    sd_notify_reloading();
    return all ? failed(s, cause_texts[why], all) : failed_text(s, cause_texts[why], "out of memory");
}

/* Truncating takes effect a little before the kernel tells of it, and who truncates may lose its processor in between: what is news has to be so a moment later, too,
 * and what looks broken or empty for longer. */
static void settle(const struct server *s, int r, const struct conf *c)
{
    bool bad = r < 0 || c->empty;
    const struct timespec moment = {.tv_nsec = (bad ? SERVER_SETTLE_BAD_MS : SERVER_SETTLE_MS) * 1000000L};

    if (bad || c->content != s->current->conf->content)
        nanosleep(&moment, NULL);
}

/* One state of all files, or nothing: who reads while others write may read half of it. ERR_STATE: they go on changing. */
static int load_steady(struct server *s, const struct conf_args *args, struct conf **ret_conf, struct conf_errors *ret_errors)
{
    for (int i = 0; i < SERVER_LOADS; i++) {
        uint64_t before = s->files ? filewatch_look(s->files) : 0;
        int r;

        if (s->files && filewatch_busy(s->files))
            return ERR_STATE;
        *ret_errors = (struct conf_errors){0};
        r = conf_load(args, ret_conf, ret_errors, NULL);
        if (s->files)
            settle(s, r, r < 0 ? NULL : *ret_conf);
        if (!s->files || (filewatch_look(s->files) == before && !filewatch_busy(s->files)))
            return r;
        if (r == 0)
            conf_free(*ret_conf);
        conf_errors_done(ret_errors);
    }
    return ERR_STATE;
}

static enum reload_result load_and_compare(struct server *s, enum reload_cause why)
{
    const struct conf *now = s->current->conf;
    struct conf_args args = *s->args;
    struct conf_errors errors;
    struct conf *c;
    int r;

    /* The same file as at the start; a name that nobody wrote stays what it was. */
    args.file = now->file;
    args.name = now->proxy.name;
    if (!args.file)
        return RELOAD_UNCHANGED;
    r = load_steady(s, &args, &c, &errors);
    if (r == ERR_STATE)
        return not_now(s, cause_texts[why], "a file of the configuration is being written");
    if (r < 0)
        return load_failed(s, why, r, &errors);
    if (c->content == now->content && !tls_auto_is_old(&s->tls.self)) {
        conf_free(c);
        reload_watch(s);
        return RELOAD_UNCHANGED;
    }
    sd_notify_reloading();
    if (c->empty && !now->empty) {
        conf_free(c);
        return failed_text(s, cause_texts[why], "the file is empty now: is somebody writing it? A restart would take it for the defaults");
    }
    return put_in_service(s, cause_texts[why], c);
}

static void say_unchanged(struct server *s, const char *cause)
{
    const char *file = s->current->conf->file;

    if (!file)
        snprintf(s->last_text, sizeof(s->last_text), "reload (%s): there is no configuration file", cause);
    else
        snprintf(s->last_text, sizeof(s->last_text), "reload (%s): %s is unchanged", cause, file);
    log_info("%s", s->last_text);
}

static enum reload_result attempt(struct server *s, enum reload_cause why)
{
    const char *cause = cause_texts[why];

    if (s->phase != HOUSE_RUN)
        return not_now(s, cause, "ginnel is stopping");
    if (!wait_for_workers(s))
        return not_now(s, cause, "a worker has not applied the last one yet");
    return load_and_compare(s, why);
}

/* A file is touched for many reasons, and looked at once after the start: that nothing is new is news only after a failure. */
static bool is_news(const struct server *s, enum reload_result r, enum reload_cause why)
{
    return r != RELOAD_UNCHANGED || why != RELOAD_BY_FILE || s->last_result == RELOAD_FAILED;
}

static void note_result(struct server *s, enum reload_result r)
{
    s->last_result = r;
    s->reloads[r]++;
    s->last_reload_wall_ms = s->house.loop.wall_ms;
    if (r != RELOAD_FAILED)
        s->last_good_wall_ms = s->last_reload_wall_ms;
}

enum reload_result reload_now(struct server *s, enum reload_cause why)
{
    char *before = s->last_errors;
    enum reload_result r;
    bool news;

    s->last_errors = NULL;
    r = attempt(s, why);
    if (r == RELOAD_NONE) {
        s->last_errors = before;
        return r;
    }
    mem_free(before);
    news = is_news(s, r, why);
    if (news) {
        if (r == RELOAD_UNCHANGED) {
            sd_notify_reloading();
            say_unchanged(s, cause_texts[why]);
        }
        note_result(s, r);
    }
    /* Whoever asked may rely on the answer: every worker has it. */
    wait_for_workers(s);
    if (news)
        sd_notify("READY=1\nSTATUS=%s", s->last_text);
    reload_retire(s);
    return r;
}

static bool is_busy(struct server *s)
{
    if (!s->files)
        return false;
    filewatch_look(s->files);
    return filewatch_busy(s->files);
}

static void try_later(struct server *s, uint64_t in_ms)
{
    s->reload_at_ms = s->house.loop.now_ms + in_ms;
    timer_set(&s->timer, in_ms);
}

void reload_again(struct server *s)
{
    enum reload_result r;

    s->reload_at_ms = 0;
    if (s->phase != HOUSE_RUN)
        return;
    if (is_busy(s) && s->house.loop.now_ms < s->reload_until_ms) {
        try_later(s, SERVER_TICK_MS);
        return;
    }
    /* After its time it is tried all the same, and refused in words. */
    r = reload_now(s, s->reload_why);
    /* Nobody will ask again for a file that has changed. */
    if (r == RELOAD_NONE && s->reload_why == RELOAD_BY_FILE)
        try_later(s, SERVER_BUSY_MS);
}

void reload_soon(struct server *s, enum reload_cause why)
{
    /* One that waits already reads what there is then; what a person asked for keeps its name and its time. */
    if (!s->reload_at_ms || s->reload_why == RELOAD_BY_FILE) {
        s->reload_why = why;
        s->reload_until_ms = s->house.loop.now_ms + SERVER_BUSY_MS;
    }
    reload_again(s);
}

void reload_watch(struct server *s)
{
    const struct conf *c = s->current->conf;

    if (s->files && filewatch_set(s->files, c->files, c->n_files) < 0)
        log_warn("changes of the configuration's files will not be noticed: out of memory (HUP and `ginnel reload` work)");
}
