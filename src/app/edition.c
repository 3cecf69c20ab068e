/* SPDX-License-Identifier: MIT */
/* edition: puts together what workers read from what was written. Called by serve at start and by reload. It opens nothing and asks nobody, but for
 * this machine's own addresses.
 */
#include "app/edition.h"

#include "app/conf_policy.h"
#include "app/programs.h"
#include "app/conf_show.h"
#include "app/tls_sets.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>

/* ---- policy ---- */

static bool reaches_out(const struct listen_socket *s)
{
    return s->kind == CONF_LISTEN_TCP && !addr_is_loopback(&s->addr);
}

/* Without `clients` everybody is admitted: conf_check and the listeners' plan have seen to it that only this machine can ask then. */
static struct policy_clients clients_of(const struct conf_clients *c)
{
    return (struct policy_clients){.any = !c->set || c->any, .ranges = &c->ranges, .place = c->place};
}

/* Where nothing is written for all, only this machine may go on when its listener goes: that one may have had a list of its own. */
static struct policy_clients clients_gone(const struct conf_clients *c)
{
    static struct ranges_v4 loopback4 = {.first = 0x7f000000, .last = 0x7fffffff};
    static struct ranges_v6 loopback6 = {.first_lo = 1, .last_lo = 1};
    static const struct ranges loopback = {.v4 = &loopback4, .v6 = &loopback6, .n4 = 1, .n6 = 1};

    return c->set ? clients_of(c) : (struct policy_clients){.ranges = &loopback};
}

static unsigned clients_index(struct edition *e, const struct conf_listen *l)
{
    if (!l || !l->clients.set)
        return POLICY_CLIENTS_ALL;
    e->clients[e->policy.n_clients] = clients_of(&l->clients);
    return e->policy.n_clients++;
}

static enum reasons reasons_of(const struct conf *c, const struct listeners_item *i)
{
    if (i->conf && i->conf->reasons != REASONS_DEFAULT)
        return i->conf->reasons;
    if (c->reasons != REASONS_DEFAULT)
        return c->reasons;
    return reaches_out(i->socket) ? REASONS_OWN : REASONS_ALL;
}

/* 1 + its place among the contexts; 0: it has none. */
static unsigned tls_index(struct edition *e, const struct conf_listen *l)
{
    if (!l || !l->tls)
        return 0;
    for (unsigned i = 0; i < e->n_tls; i++)
        if (e->tls_conf[i] == l->tls)
            return i + 1;
    e->tls_conf[e->n_tls] = l->tls;
    e->tls_place[e->n_tls] = l->place;
    return ++e->n_tls;
}

static void add_listener(struct edition *e, const struct listeners_item *i)
{
    unsigned n = e->snap.n_listen++;
    const char *name = i->conf && i->conf->name ? i->conf->name : i->socket->text;

    /* Sockets may go before the edition does. */
    snprintf(e->names[n], sizeof(e->names[n]), "%s", name);
    e->listen[n] = (struct snapshot_listen){
        .id = i->socket->id,
        .role = i->socket->role,
        .name = e->names[n],
        .reasons = reasons_of(e->conf, i),
        .clients = clients_index(e, i->conf),
        .users = i->conf && i->conf->users ? i->conf->users : e->conf->users,
        .cert_names = i->conf && i->conf->tls && i->conf->tls->cert_names ? i->conf->tls->cert_names : "",
        .tls = tls_index(e, i->conf),
        .clear = i->conf && i->conf->tls && i->conf->tls->clear,
        .names = i->conf && i->conf->tls && i->conf->tls->clients ? &i->conf->tls->names : NULL,
        .proxy_from = i->conf ? i->conf->proxy_from : NULL,
    };
    if (i->socket->kind != CONF_LISTEN_TCP)
        return;
    e->listen[n].addr = i->socket->addr;
    if (i->socket->role == LISTEN_ADMIN)
        e->admin[e->policy.n_admin++] = i->socket->addr;
    else
        e->own[e->policy.n_own++] = i->socket->addr;
}

/* What may be reached, of what was written and of the listeners there are. */
static void set_rules(struct edition *e, const struct listeners_plan *p)
{
    const struct conf *c = e->conf;
    struct policy *policy = &e->policy;
    bool out = false;

    for (unsigned i = 0; i < p->n; i++)
        out = out || (p->v[i].socket->role == LISTEN_PROXY && reaches_out(p->v[i].socket));
    policy->has_rules = c->has_rules;
    policy->rules = c->rules;
    policy->n_rules = c->n_rules;
    policy->index = e->index;
    policy->place = c->rules_place;
    policy->report = c->report;
    policy->say = c->say;
    policy->recheck = c->recheck;
    policy->private = conf_policy_private(c, out, &e->conf->private_why);
    policy->private_place = c->private_place;
    policy->n_ports = conf_policy_ports(c, out, &policy->ports);
    policy->ports_place = c->ports_place;
    e->conf->private_in_force = policy->private;
}

/* What a wildcard listener answers to besides loopback. */
static void find_local(struct edition *e)
{
    struct ifaddrs *all;

    if (getifaddrs(&all) < 0)
        return;
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        bool v4 = i->ifa_addr && i->ifa_addr->sa_family == AF_INET, v6 = i->ifa_addr && i->ifa_addr->sa_family == AF_INET6;

        if (!v4 && !v6)
            continue;
        if (e->policy.n_local == EDITION_LOCAL_MAX) {
            log_warn("more than %d local addresses: requests to ginnel's wildcard listeners by the others are not seen as loops", EDITION_LOCAL_MAX);
            break;
        }
        memcpy(&e->local[e->policy.n_local++].in6, i->ifa_addr, v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
    }
    freeifaddrs(all);
}

static void set_steady(struct snapshot *s)
{
    s->steady = policy_is_steady(s->policy);
    for (unsigned i = 0; i < s->n_limits && s->steady; i++)
        s->steady = limit_is_steady(&s->limits[i]);
}

/* ---- life ---- */

struct edition *edition_new(struct conf *c, const struct listeners_plan *p, unsigned generation)
{
    struct edition *e = mem_zalloc(sizeof(*e));

    if (!e) {
        conf_free(c);
        return NULL;
    }
    e->conf = c;
    list_init(&e->link);
    if (rules_index_new(c->rules, c->n_rules, &e->index) < 0) {
        edition_free(e);
        return NULL;
    }
    e->clients[POLICY_CLIENTS_ALL] = clients_of(&c->clients);
    e->clients[POLICY_CLIENTS_GONE] = clients_gone(&c->clients);
    e->policy = (struct policy){.own = e->own, .local = e->local, .admin = e->admin, .clients = e->clients, .n_clients = POLICY_CLIENTS_OWN};
    e->snap.generation = generation;
    e->snap.conf = &c->proxy;
    e->snap.policy = &e->policy;
    e->snap.resolve = &c->resolve;
    e->snap.users = c->users;
    e->snap.listen = e->listen;
    e->snap.routes = c->routes;
    e->snap.n_routes = c->n_routes;
    e->snap.origins = c->origins;
    e->snap.n_origins = c->n_origins;
    e->snap.limits = c->limits;
    e->snap.n_limits = c->n_limits;
    for (unsigned i = 0; i < p->n; i++)
        add_listener(e, &p->v[i]);
    set_rules(e, p);
    find_local(e);
    set_steady(&e->snap);
    return e;
}

int edition_start_programs(struct edition *e, struct programs *ps)
{
    int r = programs_attach(ps, e->conf);

    if (r == 0)
        e->programs = ps;
    return r;
}

/* ---- of a file ---- */

struct paper {
    struct listeners_plan plan;
    struct listen_socket sockets[LISTENERS_MAX];
};

static void paper_socket(struct paper *p, enum listen_role role, enum conf_listen_kind kind, const struct addr *a, const char *text)
{
    struct listen_socket *s = &p->sockets[p->plan.n];

    s->id = p->plan.n + 1;
    s->role = role;
    s->kind = kind;
    s->asked = s->addr = *a;
    snprintf(s->text, sizeof(s->text), "%s", text);
    p->plan.v[p->plan.n++].socket = s;
}

static void paper_plan(struct paper *p, const struct conf *c)
{
    static const struct addr nowhere;
    char text[ADDR_TEXT_MAX];

    for (unsigned i = 0; i < c->n_listen && p->plan.n < LISTENERS_MAX; i++) {
        const struct conf_listen *l = &c->listen[i];

        paper_socket(p, LISTEN_PROXY, l->kind, l->kind == CONF_LISTEN_TCP ? &l->addr : &nowhere, l->text);
        p->plan.v[p->plan.n - 1].conf = l;
    }
    for (unsigned i = 0; i < c->n_admin && p->plan.n < LISTENERS_MAX; i++) {
        addr_text(&c->admin[i], text);
        paper_socket(p, LISTEN_ADMIN, CONF_LISTEN_TCP, &c->admin[i], text);
    }
}

struct edition *edition_of_file(struct conf *c)
{
    struct paper *p = mem_zalloc(sizeof(*p));
    struct edition *e = NULL;

    if (p) {
        paper_plan(p, c);
        e = edition_new(c, &p->plan, 0);
    } else {
        conf_free(c);
    }
    mem_free(p);
    return e;
}

void edition_free(struct edition *e)
{
    if (!e)
        return;
    list_del(&e->link);
    if (e->programs)
        programs_release(e->programs, e->conf);
    rules_index_free(e->index);
    tls_sets_free(e->tls);
    conf_free(e->conf);
    mem_free(e);
}

void edition_say(const struct edition *e, const struct edition *before)
{
    static const char *const words[] = {
        [GUARD_ALLOW] = "open", [GUARD_METADATA] = "open, but for those at which clouds tell secrets", [GUARD_DENY] = "denied"};
    enum guard_mode mode = e->policy.private;

    if (!before || before->policy.private != mode)
        log_info("private addresses: %s (%s)", words[mode], e->conf->private_why);
}

/* ---- what differs ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_ranges(const struct ranges *a, const struct ranges *b)
{
    return a->n4 == b->n4 && a->n6 == b->n6 && (!a->n4 || memcmp(a->v4, b->v4, a->n4 * sizeof(*a->v4)) == 0) &&
           (!a->n6 || memcmp(a->v6, b->v6, a->n6 * sizeof(*a->v6)) == 0);
}

static bool same_clients(const struct conf_clients *a, const struct conf_clients *b)
{
    return a->set == b->set && a->any == b->any && same_ranges(&a->ranges, &b->ranges);
}

static bool same_users(const struct users *a, const struct users *b)
{
    return a == b || (a && b && a->content == b->content);
}

static bool same_tls(const struct conf_tls *a, const struct conf_tls *b)
{
    return a == b || (a && b && a->content == b->content);
}

static bool same_balancers(const struct ranges *a, const struct ranges *b)
{
    return a == b || (a && b && same_ranges(a, b));
}

static bool same_listen(const struct conf *a, const struct conf *b)
{
    if (a->n_listen != b->n_listen)
        return false;
    for (unsigned i = 0; i < a->n_listen; i++) {
        const struct conf_listen *x = &a->listen[i], *y = &b->listen[i];

        if (!same_text(x->text, y->text) || !same_text(x->name, y->name) || x->reasons != y->reasons ||
            !same_clients(&x->clients, &y->clients) || !same_users(x->users, y->users) ||
            !same_tls(x->tls, y->tls) || !same_balancers(x->proxy_from, y->proxy_from))
            return false;
    }
    return true;
}

static bool same_admin(const struct conf *a, const struct conf *b)
{
    if (a->n_admin != b->n_admin)
        return false;
    for (unsigned i = 0; i < a->n_admin; i++)
        if (!addr_eq(&a->admin[i], &b->admin[i]))
            return false;
    return true;
}

static bool same_resolver(const struct resolve_conf *a, const struct resolve_conf *b)
{
    const char *const *x = a->servers, *const *y = b->servers;

    while (*x && *y && strcmp(*x, *y) == 0)
        x++, y++;
    return !*x && !*y && a->system == b->system && a->search == b->search && a->family == b->family && a->ttl_max_ms == b->ttl_max_ms &&
           a->stale_ms == b->stale_ms;
}

/* What has matchers in it is compared as it would be written. Without memory for that it may differ. */
static bool same_written(const struct conf *a, const struct conf *b, const char *key)
{
    size_t n, m;
    char *x = conf_show_key(a, key, &n), *y = conf_show_key(b, key, &m);
    bool same = x && y && n == m && memcmp(x, y, n) == 0;

    mem_free(x);
    mem_free(y);
    return same;
}

/* What entries are about is in their identities. */
static bool same_limits(const struct conf *a, const struct conf *b)
{
    if (a->n_limits != b->n_limits)
        return false;
    for (unsigned i = 0; i < a->n_limits; i++) {
        const struct limit *x = &a->limits[i], *y = &b->limits[i];

        if (x->id != y->id || x->requests != y->requests || x->burst != y->burst || x->pace != y->pace || x->bandwidth != y->bandwidth ||
            x->bandwidth_up != y->bandwidth_up || x->bandwidth_down != y->bandwidth_down || x->tunnels != y->tunnels || x->quota != y->quota ||
            x->slow != y->slow || x->upload != y->upload || x->download != y->download || !same_text(x->name, y->name))
            return false;
    }
    return true;
}

/* What proves to parents who ginnel is is not written. */
static bool same_credentials(const struct alternative *a, const struct alternative *b)
{
    for (unsigned i = 0; i < a->n_hops && i < b->n_hops; i++)
        if (!slice_eq(a->hops[i].authorization, b->hops[i].authorization))
            return false;
    return true;
}

static bool same_upstream(const struct conf *a, const struct conf *b)
{
    if (!same_written(a, b, "upstream") || a->n_routes != b->n_routes)
        return false;
    for (unsigned i = 0; i < a->n_routes; i++)
        for (unsigned k = 0; k < a->routes[i].n_alternatives && k < b->routes[i].n_alternatives; k++)
            if (!same_credentials(&a->routes[i].alternatives[k], &b->routes[i].alternatives[k]))
                return false;
    return true;
}

/* What the files hold that are named. */
static bool same_client(const struct tls_client_conf *a, const struct tls_client_conf *b)
{
    return slice_eq(a->trust, b->trust) && slice_eq(a->pair.cert, b->pair.cert) && slice_eq(a->pair.key, b->pair.key);
}

static bool same_origins(const struct conf *a, const struct conf *b)
{
    if (!same_written(a, b, "origins") || a->n_origins != b->n_origins)
        return false;
    for (unsigned i = 0; i < a->n_origins; i++)
        if (!same_client(&a->tls_clients[a->origins[i].tls], &b->tls_clients[b->origins[i].tls]))
            return false;
    return true;
}

size_t edition_diff(const struct conf *a, const struct conf *b, char *out, size_t cap)
{
    const struct {
        const char *key;
        bool same;
    } keys[] = {
        {"listen", same_listen(a, b)},
        {"clients", same_clients(&a->clients, &b->clients)},
        {"users", same_users(a->users, b->users)},
        {"limits", same_limits(a, b)},
        {"rules", same_written(a, b, "rules")},
        {"private", a->private_in_force == b->private_in_force},
        {"ports", same_written(a, b, "ports")},
        {"upstream", same_upstream(a, b)},
        {"origins", same_origins(a, b)},
        {"trust", same_written(a, b, "trust") && same_client(&a->tls_clients[0], &b->tls_clients[0])},
        {"h2", memcmp(&a->proxy.h2, &b->proxy.h2, sizeof(a->proxy.h2)) == 0},
        {"sizes", memcmp(&a->proxy.sizes, &b->proxy.sizes, sizeof(a->proxy.sizes)) == 0},
        {"capacity", memcmp(&a->proxy.capacity, &b->proxy.capacity, sizeof(a->proxy.capacity)) == 0},
        {"resolver", same_resolver(&a->resolve, &b->resolve)},
        {"timeouts", memcmp(&a->proxy.timeouts, &b->proxy.timeouts, sizeof(a->proxy.timeouts)) == 0},
        {"via", a->proxy.via == b->proxy.via},
        {"name", strcmp(a->proxy.name, b->proxy.name) == 0},
        {"reasons", a->reasons == b->reasons},
        {"admin", same_admin(a, b)},
        {"control", a->control == b->control && same_text(a->control_path, b->control_path)},
        {"log", same_written(a, b, "log")},
        {"workers", a->workers == b->workers},
        {"policy", same_written(a, b, "policy")},
    };
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(keys) && n < cap; i++)
        if (!keys[i].same)
            n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? ", " : "", keys[i].key);
    return min_size(n, cap - 1);
}
