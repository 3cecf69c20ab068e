/* SPDX-License-Identifier: MIT */
/* pac: chooses listeners and names them. Called for the few pages of the proxy's own address. What stands in the script is what url.c has made of a Host field, an address that was
 * printed here, or a name of a certificate that looks like one: nothing in it can end the string that it stands in.
 */
#include "proxy/pac.h"

#include "base/err.h"
#include "io/addr.h"

/* ---- names ---- */

static bool next_name(const char **names, struct slice *ret_name)
{
    /* A listener that is gone has none. */
    const char *p = *names ? *names : "", *comma;

    while (*p == ',' || *p == ' ')
        p++;
    comma = strchr(p, ',');
    *ret_name = comma ? slice_of(p, (size_t)(comma - p)) : slice_str(p);
    *names = p + ret_name->n;
    return ret_name->n > 0;
}

/* A wildcard stands for one label (RFC 9525 6.3). */
static bool name_fits(struct slice name, struct slice host)
{
    if (name.n > 2 && name.p[0] == '*' && name.p[1] == '.') {
        name = slice_skip(name, 1);
        host = slice_skip(host, slice_find(host, '.'));
    }
    return slice_eq_nocase(name, host);
}

bool pac_name_is_for(const char *names, struct slice host)
{
    struct slice name;

    while (next_name(&names, &name))
        if (name_fits(name, host))
            return true;
    return false;
}

/* Letters, digits, dots, dashes, underscores, and the colons of IPv6. */
static bool is_plain(struct slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = slice_lower(name.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_' && c != ':')
            return false;
    }
    return name.n > 0 && name.n <= PAC_HOST_MAX;
}

/* The first that is no pattern; none where they are all patterns. */
static struct slice first_name(const char *names)
{
    struct slice name;

    while (next_name(&names, &name))
        if (is_plain(name))
            return name;
    return SLICE_NONE;
}

/* ---- listeners ---- */

/* 0.0.0.0 is every IPv4 address, and [::] every address. */
static bool is_reached(const struct addr *listens, const struct addr *local)
{
    if (local->sa.sa_family == 0 || addr_is_any(listens))
        return true;
    return addr_same_host(listens, local);
}

static struct slice host_for(const struct snapshot_listen *l, bool tls, struct slice asked, struct slice literal)
{
    struct slice host = asked.n ? asked : literal, first;

    if (!tls || pac_name_is_for(l->cert_names, host))
        return host;
    first = first_name(l->cert_names);
    return first.n ? first : host;
}

struct list_text {
    struct arena *arena;
    struct slice text;
    bool nomem;
};

static void add(struct list_text *t, const char *kind, struct slice host, uint16_t port)
{
    bool v6 = memchr(host.p, ':', host.n) != NULL;
    struct slice all = arena_printf(t->arena, SLICE_FMT "%s%s %s" SLICE_FMT "%s:%u", SLICE_ARG(t->text), t->text.n ? "; " : "", kind, v6 ? "[" : "", SLICE_ARG(host),
                                    v6 ? "]" : "", port);

    if (all.p)
        t->text = all;
    else
        t->nomem = true;
}

int pac_proxies(struct arena *a, const struct snapshot *snap, const struct authority *asked, const struct addr *local, struct slice *ret_list)
{
    struct slice name = asked->host.n && is_plain(asked->host) ? asked->host : SLICE_NONE;
    struct list_text t = {.arena = a, .text = SLICE("")};
    char literal[ADDR_TEXT_MAX] = "";

    if (local->sa.sa_family == AF_INET || local->sa.sa_family == AF_INET6)
        addr_host_text(local, literal);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < snap->n_listen; i++) {
            const struct snapshot_listen *l = &snap->listen[i];
            bool tls = pass == 0;
            struct slice host;

            if (l->role != LISTEN_PROXY || l->addr.sa.sa_family == 0 || !is_reached(&l->addr, local) || (tls ? !l->tls : l->tls && !l->clear))
                continue;
            host = host_for(l, tls, name, slice_str(literal));
            if (host.n)
                add(&t, tls ? "HTTPS" : "PROXY", host, addr_port(&l->addr));
        }
    }
    *ret_list = t.text;
    return t.nomem ? ERR_NOMEM : 0;
}
