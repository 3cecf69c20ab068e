/* SPDX-License-Identifier: MIT */
/* resolve: the order of sources for a name, and the parts put together: resolve_files,
 * resolve_facts, resolve_lookup, and below them resolve_dns and resolve_system. Called by the rooms
 * on the worker's thread. Nothing here waits, except for the two small files; nobody is called
 * back, tasks are woken.
 */
#include "io/resolve.h"

#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "io/resolve_lookup.h"

#include <string.h>

enum { TIMEOUT_MS = 5000, DNS_PORT = 53, REFRESH_SLACK_MS = 1000 };

#define RESOLVER_MAGIC 0x4e501ce4u

struct resolver {
    unsigned magic;
    struct loop *loop;
    bool search, own_servers;
    uint64_t made_with; /* hash of the configuration */
    struct task task;
    struct timer timer;
    struct resolve_dns dns;
    struct resolve_files files;
    struct resolve_facts facts;
    struct resolve_lookups lookups;
};

/* One timer for the nearest of all ends; none when nothing is under way. */
static void set_timer(struct resolver *r)
{
    uint64_t due_ms = resolve_lookup_due(&r->lookups);

    if (r->dns.due_ms < due_ms)
        due_ms = r->dns.due_ms;
    if (r->files.due_ms < due_ms)
        due_ms = r->files.due_ms;
    if (due_ms == UINT64_MAX)
        timer_stop(&r->timer);
    else if (!timer_armed(&r->timer) || r->timer.node.due != due_ms)
        timer_set_at(&r->timer, due_ms);
}

/* resolv.conf was read: whom do we ask now, and how? */
static void apply_files(struct resolver *r)
{
    struct resolve_conf_file *c = &r->files.conf;
    struct {
        uint64_t file, system;
    } source;

    if (!r->own_servers)
        resolve_dns_servers(&r->dns, c->servers, c->n_servers);
    source.file = r->own_servers ? hash_bytes(r->dns.servers, sizeof(r->dns.servers)) : 0;
    if (r->search || !r->own_servers)
        source.file ^= hash_bytes(c, sizeof(*c));
    source.system = r->lookups.helpers != NULL;
    r->facts.source = (uint32_t)hash_bytes(&source, sizeof(source));
    /* Questions that were out are asked again from the task. */
    task_wake(&r->task, TASK_RX);
}

static void resolver_run(struct task *t, unsigned bits)
{
    struct resolver *r =
        OBJ_CAST(struct resolver, CONTAINER_OF(t, struct resolver, task), RESOLVER_MAGIC);

    UNUSED(bits);
    if (resolve_files_run(&r->files))
        apply_files(r);
    resolve_dns_run(&r->dns);
    resolve_lookup_run(&r->lookups);
    set_timer(r);
}

/* ---- asking, from outside ---- */

static bool is_localhost(struct slice name)
{
    struct slice tail = SLICE(".localhost");

    if (slice_eq(name, SLICE("localhost")))
        return true;
    return name.n > tail.n && slice_eq(slice_skip(name, name.n - tail.n), tail);
}

/* What can be said without asking anybody: literals (U6), localhost (RFC 6761 6.3), the hosts file.
 */
static bool answer_here(struct resolver *r, struct slice name, struct resolve_answer *a)
{
    static const uint8_t loopback4[4] = {127, 0, 0, 1}, loopback6[16] = {[15] = 1};
    struct addr addrs[RESOLVE_MAX_ADDRS];
    unsigned n;

    if (addr_parse_host(name, 0, &addrs[0]) == 0) {
        memset(a, 0, sizeof(*a));
        a->addrs[a->n++] = addrs[0];
        return true;
    }
    if (is_localhost(name)) {
        addr_v6(&addrs[0], loopback6, 0);
        addr_v4(&addrs[1], loopback4, 0);
        resolve_facts_from(&r->facts, addrs, 2, a);
        return true;
    }
    n = resolve_tables_find(&r->files.hosts, name, addrs, RESOLVE_MAX_ADDRS);
    if (n == 0)
        return false;
    resolve_facts_from(&r->facts, addrs, n, a);
    return true;
}

/* False: no name that could be asked for. Lower case, without a trailing dot. */
static bool clean_name(struct slice name, char out[RESOLVE_NAME_MAX + 1], size_t *ret_n)
{
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n > RESOLVE_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = (uint8_t)name.p[i];

        /* A backslash would be an escape to c-ares, a NUL an end. */
        if (c <= ' ' || c >= 0x7f || c == '\\')
            return false;
        out[i] = slice_lower(name.p[i]);
    }
    out[name.n] = '\0';
    *ret_n = name.n;
    return true;
}

/* The refresh is a lookup like any other; what it brings is for the board. If none can be begun, the next asker tries. */
static void refresh(struct resolver *r, struct slice name)
{
    uint64_t for_ms = r->lookups.timeout_ms + REFRESH_SLACK_MS;

    if (!resolve_facts_claim(&r->facts, name, for_ms))
        return;
    if (resolve_lookup_refresh(&r->lookups, name))
        set_timer(r);
    else
        UNUSED(resolve_facts_keep(&r->facts, name, 0));
}

static bool answer_now(struct resolver *r, struct slice name, struct resolve_req *req)
{
    if (answer_here(r, name, req->answer))
        return true;
    if (!resolve_facts_get(&r->facts, name, req->answer))
        return resolve_lookup_join(&r->lookups, name, req);
    if (req->answer->stale && !resolve_lookup_told(&r->lookups, name, req->answer))
        refresh(r, name);
    return true;
}

bool resolve_start(struct resolver *r, struct slice name, struct resolve_req *req,
                   struct task *task, struct resolve_answer *answer)
{
    char clean[RESOLVE_NAME_MAX + 1];
    size_t n;

    OBJ_CHECK(r, RESOLVER_MAGIC);
    *req = (struct resolve_req){.task = task, .answer = answer};
    list_init(&req->link);
    if (resolve_files_poll(&r->files))
        apply_files(r);
    if (!clean_name(name, clean, &n)) {
        memset(answer, 0, sizeof(*answer));
        answer->status = RESOLVE_NXDOMAIN;
        req->done = true;
    } else if (answer_now(r, slice_of(clean, n), req)) {
        resolve_facts_order(&r->facts, slice_of(clean, n), answer);
        req->done = true;
    } else {
        set_timer(r);
        req->busy = true;
    }
    return req->busy;
}

void resolve_cancel(struct resolve_req *req)
{
    if (req->busy)
        list_del(&req->link);
    req->busy = req->done = false;
}

void resolve_penalise(struct resolver *r, struct slice name, const struct addr *addr)
{
    char clean[RESOLVE_NAME_MAX + 1];
    size_t n;

    OBJ_CHECK(r, RESOLVER_MAGIC);
    if (clean_name(name, clean, &n))
        resolve_facts_penalise(&r->facts, slice_of(clean, n), addr);
}

/* ---- life ---- */

/* "192.0.2.1", "192.0.2.1:53", "::1", "[::1]:53" */
static int read_servers(struct resolver *r, const char *const *names)
{
    struct addr servers[RESOLVE_DNS_SERVERS];
    unsigned n = 0;

    for (; names && *names && n < RESOLVE_DNS_SERVERS; names++, n++) {
        struct slice s = slice_str(*names);
        int e = addr_parse_host(s, DNS_PORT, &servers[n]);

        if (e < 0)
            e = addr_parse(s, &servers[n]);
        if (e < 0)
            return e;
        if (addr_port(&servers[n]) == 0)
            return ERR_RANGE;
    }
    r->own_servers = n > 0;
    if (n)
        resolve_dns_servers(&r->dns, servers, n);
    return 0;
}

static void init_parts(struct resolver *r, struct loop *loop, struct board *board,
                       struct helper_pool *helpers, const struct resolve_conf *conf)
{
    uint64_t timeout_ms = conf->timeout_ms ? conf->timeout_ms : TIMEOUT_MS;

    r->loop = loop;
    r->search = conf->search && !conf->system;
    task_init(&r->task, loop, "resolver", resolver_run);
    timer_init(&r->timer, &r->task);
    resolve_dns_init(&r->dns, &r->task, timeout_ms);
    r->facts = (struct resolve_facts){.board = board, .loop = loop, .family = conf->family, .stale_ms = conf->stale_ms};
    r->lookups.loop = loop;
    r->lookups.facts = &r->facts;
    r->lookups.dns = &r->dns;
    r->lookups.files = r->search ? &r->files : NULL;
    r->lookups.helpers = conf->system ? helpers : NULL;
    r->lookups.ttl_max_ms = conf->ttl_max_ms;
    r->lookups.timeout_ms = timeout_ms;
    resolve_lookup_init(&r->lookups);
}

static uint64_t hash_text(uint64_t h, const char *s)
{
    return (h * 31) ^ hash_bytes(s ? s : "", s ? strlen(s) : 0);
}

static uint64_t conf_hash(const struct resolve_conf *c)
{
    uint64_t numbers[] = {c->system, c->search, c->family, c->ttl_max_ms, c->timeout_ms, c->stale_ms};
    uint64_t h = hash_bytes(numbers, sizeof(numbers));

    for (const char *const *s = c->servers; s && *s; s++)
        h = hash_text(h, *s);
    return hash_text(hash_text(h, c->resolv_path), c->hosts_path);
}

bool resolver_same(const struct resolver *r, const struct resolve_conf *conf)
{
    return r->made_with == conf_hash(conf);
}

bool resolver_idle(const struct resolver *r)
{
    return r->lookups.n == 0;
}

int resolver_new(struct loop *loop, struct board *board, struct helper_pool *helpers,
                 const struct resolve_conf *conf, struct resolver **ret_resolver)
{
    const char *hosts = conf->hosts_path ? conf->hosts_path : "/etc/hosts";
    const char *resolv = conf->resolv_path ? conf->resolv_path : "/etc/resolv.conf";
    struct resolver *r = mem_zalloc(sizeof(*r));
    int e;

    CHECK(helpers || !conf->system);
    if (!r)
        return ERR_NOMEM;
    r->magic = RESOLVER_MAGIC;
    r->made_with = conf_hash(conf);
    init_parts(r, loop, board, helpers, conf);
    e = read_servers(r, conf->servers);
    if (e < 0)
        goto fail;
    if (conf->system || (r->own_servers && !r->search))
        resolv = NULL; /* nothing in it is of interest */
    e = resolve_files_init(&r->files, &r->task, hosts, resolv);
    if (e < 0)
        goto fail;
    apply_files(r);
    *ret_resolver = r;
    return 0;

fail:
    task_cancel(&r->task);
    mem_free(r);
    return e;
}

unsigned resolver_lookups(const struct resolver *r)
{
    return r->lookups.n;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    OBJ_CHECK(r, RESOLVER_MAGIC);
    resolve_dns_done(&r->dns); /* first: the questions lie in the lookups */
    resolve_lookup_done(&r->lookups);
    resolve_files_done(&r->files);
    timer_stop(&r->timer);
    task_cancel(&r->task);
    r->magic = OBJ_DEAD;
    mem_free(r);
}
