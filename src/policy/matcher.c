/* SPDX-License-Identifier: MIT */
/* matcher: one question a word, all of which must say yes. Called for each record of a log with
 * `for:`, and for whatever else takes a matcher. A word whose fact is missing says no: what is not
 * known is never taken for a match. It never resolves a name: a range is for addresses only.
 */
#include "policy/matcher.h"

#include "base/mem.h"

static bool host_holds(const struct matcher *m, struct slice host)
{
    struct addr a;

    if (!m->has_host || m->any_host)
        return true;
    if (host.n == 0)
        return false;
    if (addr_parse_host(host, 0, &a) == 0)
        return ranges_has(&m->host_ranges, &a);
    return m->hosts && hosts_has(m->hosts, host);
}

static bool port_holds(const struct matcher *m, uint16_t port)
{
    if (!m->n_ports)
        return true;
    for (unsigned i = 0; port && i < m->n_ports; i++)
        if (m->ports[i].first <= port && port <= m->ports[i].last)
            return true;
    return false;
}

static bool path_holds(const struct matcher *m, struct slice path)
{
    if (!m->n_paths)
        return true;
    path.n = slice_find(path, '?');
    for (unsigned i = 0; path.n && i < m->n_paths; i++)
        if (m->paths[i].n <= path.n && slice_eq(m->paths[i], slice_of(path.p, m->paths[i].n)))
            return true;
    return false;
}

static bool word_holds(const struct slice *words, unsigned n, struct slice word)
{
    if (!n)
        return true;
    for (unsigned i = 0; word.n && i < n; i++)
        if (slice_eq(words[i], word))
            return true;
    return false;
}

static bool addr_holds(bool given, const struct ranges *ranges, const struct addr *a)
{
    return !given || (a && ranges_has(ranges, a));
}

bool matcher_holds(const struct matcher *m, const struct match_facts *f)
{
    return (!m->schemes || (m->schemes & f->scheme)) && port_holds(m, f->port) &&
           word_holds(m->methods, m->n_methods, f->method) &&
           word_holds(m->listeners, m->n_listeners, f->listener) && path_holds(m, f->path) &&
           addr_holds(m->has_from, &m->from, f->from) && addr_holds(m->has_to, &m->to, f->to) &&
           host_holds(m, f->host);
}

void matcher_done(struct matcher *m)
{
    hosts_free(m->hosts);
    ranges_done(&m->host_ranges);
    ranges_done(&m->from);
    ranges_done(&m->to);
    mem_free(m->ports);
    mem_free(m->paths);
    mem_free(m->methods);
    mem_free(m->listeners);
    *m = (struct matcher){0};
}
