/* SPDX-License-Identifier: MIT */
/* access_set: opens outputs all or nothing, and selects. Called by whoever loads a configuration
 * and by the log's thread. It never waits.
 */
#include "proxy/access_set.h"

#include "base/err.h"
#include "base/mem.h"

int access_set_open(const struct access_output *v, unsigned n, struct access_set **ret_set,
                    unsigned *ret_failed)
{
    struct access_totals nobody = {0};
    struct access_set *s;

    if (n > ACCESS_OUTPUTS_MAX) {
        *ret_failed = ACCESS_OUTPUTS_MAX;
        return ERR_LIMIT;
    }
    s = mem_zalloc(sizeof(*s) + n * sizeof(s->v[0]));
    if (!s) {
        *ret_failed = 0;
        return ERR_NOMEM;
    }
    for (s->n = 0; s->n < n; s->n++) {
        int r = access_output_open(&s->v[s->n], &v[s->n]);

        if (r < 0) {
            *ret_failed = s->n;
            for (unsigned i = 0; i < s->n; i++)
                access_output_done(&s->v[i], &nobody);
            mem_free(s);
            return r;
        }
    }
    *ret_set = s;
    return 0;
}

void access_set_free(struct access_set *s, struct access_totals *totals)
{
    for (unsigned i = 0; s && i < s->n; i++)
        access_output_done(&s->v[i], totals);
    mem_free(s);
}

void access_set_hand_over(struct access_set *old, struct access_set *next)
{
    bool taken[ACCESS_OUTPUTS_MAX] = {false};

    for (unsigned i = 0; old && next && i < old->n; i++)
        for (unsigned k = 0; k < next->n; k++)
            if (!taken[k] && access_output_same(&old->v[i], &next->v[k])) {
                access_output_take_over(&next->v[k], &old->v[i]);
                taken[k] = true;
                break;
            }
}

bool access_set_has_work(const struct access_set *s)
{
    for (unsigned i = 0; s && i < s->n; i++)
        if (access_output_pending(&s->v[i]) && !s->v[i].broken)
            return true;
    return false;
}

bool access_set_is_amid(const struct access_set *s, const struct access_opened *o)
{
    for (unsigned i = 0; s && i < s->n; i++)
        if (o != &s->v[i] && s->v[i].mid_line && access_output_shared(o, &s->v[i]))
            return true;
    return false;
}

unsigned access_set_failing(const struct access_set *s)
{
    unsigned n = 0;

    for (unsigned i = 0; s && i < s->n; i++)
        n += s->v[i].failing;
    return n;
}

/* ---- selecting ---- */

struct match_facts access_set_bare_facts(const struct access_record *r)
{
    return (struct match_facts){
        .path = r->path,
        .method = r->method,
        .listener = r->listener,
        .user = r->user,
        .groups = r->groups,
        .labels = r->labels,
        .granted = r->granted,
        .sni = r->sni,
        .from = &r->client,
        .to = &r->peer,
        .port = r->port,
        .minute = MATCH_NO_MINUTE,
        .scheme = r->scheme,
        .opaque = r->scheme == MATCH_CONNECT,
    };
}

struct match_facts access_set_facts(const struct access_record *r)
{
    struct match_facts f = access_set_bare_facts(r);
    struct slice host = r->host;

    if (host.n >= 2 && host.p[0] == '[')
        host = slice_of(host.p + 1, host.n - 2);
    match_facts_host(&f, host);
    return f;
}

static bool takes_event(const struct access_output *spec, enum access_event event)
{
    switch (event) {
    case ACCESS_END:
        return true;
    case ACCESS_BEGIN:
        return spec->tunnels != ACCESS_AT_END;
    case ACCESS_STILL:
        return spec->tunnels == ACCESS_EVERY;
    }
    return false;
}

bool access_set_takes(const struct access_output *spec, const struct access_record *r,
                      const struct match_facts *facts)
{
    if (!takes_event(spec, r->event))
        return false;
    for (unsigned i = 0; i < spec->n_where; i++)
        if (matcher_holds(&spec->where[i], facts))
            return true;
    return spec->n_where == 0;
}
