/* SPDX-License-Identifier: MIT */
/* site: the pages of the addresses that do not proxy: a site_fn (proxy/site.h). What they need of the server comes through site_ops.
 *   admin and control   GET /metrics /healthz /readyz /
 *   control alone       GET /status[?exchanges=N][&json] /config /denied[?json], POST /reload /drain
 *                       GET /why?url=…&… (app/question.h; also json, lookup=TEXT; end: a first line of one word, see why_page.h)
 * Owner: app. Thread: the house's. */
#ifndef APP_SITE_H
#define APP_SITE_H

#include "app/view.h"
#include "proxy/site.h"

enum { SITE_WHY = 256 };

struct site_ops {
    void *owner;
    enum server_phase (*phase)(void *owner);
    /* Fills the view. ask: the workers are asked for at most n_exchanges exchanges each (view->reports), which may take REPORT_ALL_WAIT_MS. What it
     * points to is let go by view_done, which is called if and only if 0 was returned. ERR_NOMEM. */
    int (*view)(void *owner, bool ask, unsigned n_exchanges, struct server_view *ret_view);
    void (*view_done)(void *owner, struct server_view *view);
    /* Reloads now. 0: *ret_text (mem_*) tells what came of it, in lines; NONE: not now. ERR_NOMEM. */
    int (*reload)(void *owner, char **ret_text, enum reload_result *ret_result);
    /* Begins to drain, or goes on doing so. Returns at once. */
    void (*drain)(void *owner);
    /* The configuration in use, as YAML (mem_*). NULL: memory refused. */
    char *(*config)(void *owner);
    /* What was refused lately (mem_*). NULL: memory refused. */
    char *(*denied)(void *owner, bool json, size_t *ret_n);
    /* What would be decided. 0; ERR_SYNTAX, ERR_LIMIT, ERR_NOTFOUND with a sentence in why; ERR_NOMEM. */
    int (*why)(void *owner, struct slice query, bool json, char **ret_text, size_t *ret_n, char why[SITE_WHY]);
};

/* owner: const struct site_ops *. */
void site_answer(void *owner, const struct site_request *q, struct site_reply *ret_reply);

#endif
