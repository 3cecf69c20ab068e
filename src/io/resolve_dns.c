/* SPDX-License-Identifier: MIT */
/* resolve_dns: c-ares on the worker's loop. Called by resolve.c only. c-ares packs the questions,
 * keeps the tries and checks who answered what; the sockets are resolve_socks'. Its callbacks only
 * note what came: nothing is asked or freed inside of them. It reads no file: servers are given to
 * it.
 */
#include "io/resolve_dns.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "io/resolve_msg.h"

#include <ares.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/random.h>

enum {
    DNS_TRIES = 2,
    DNS_TRY_MIN_MS = 100,
    DNS_EDNS_SIZE = 1232, /* fits every path's MTU: no fragments that others could forge */
    DNS_PORT = 53,
    RCODE_FORMERR = 1,
    RCODE_SERVFAIL = 2,
    RCODE_NXDOMAIN = 3,
    RCODE_NOTIMP = 4,
    RCODE_REFUSED = 5,
};

_Static_assert(RESOLVE_SOCKS_MAX >= 2 * RESOLVE_DNS_SERVERS, "a server has two sockets");

#define DNS_MAGIC   0xd2500001u
#define QUERY_MAGIC 0xd2500002u

/* ---- memory ---- */

/* c-ares shrinks a block without looking at the result: shrinking must not fail. */
static void *grow_or_keep(void *p, size_t n)
{
    void *q = mem_grow(p, n);

    if (!q && p && malloc_usable_size(p) >= n)
        return p;
    return q;
}

static void library_init(void)
{
    ares_library_init_mem(ARES_LIB_INIT_ALL, mem_alloc, mem_free, grow_or_keep);
}

/* ---- the channel ---- */

static int give_servers(struct resolve_dns *d, ares_channel channel)
{
    struct ares_addr_port_node nodes[RESOLVE_DNS_SERVERS];

    memset(nodes, 0, sizeof(nodes));
    for (unsigned i = 0; i < d->n_servers; i++) {
        const struct addr *a = &d->servers[i];
        struct ares_addr_port_node *node = &nodes[i];

        node->next = i + 1 < d->n_servers ? node + 1 : NULL;
        node->family = a->sa.sa_family;
        node->udp_port = node->tcp_port = addr_port(a);
        if (node->family == AF_INET)
            memcpy(&node->addr.addr4, &a->in.sin_addr, sizeof(node->addr.addr4));
        else
            memcpy(&node->addr.addr6, &a->in6.sin6_addr, sizeof(node->addr.addr6));
    }
    return ares_set_servers_ports(channel, nodes);
}

/* Everything that c-ares would look up in a file is given, if only as empty: it then opens none. */
static bool open_channel(struct resolve_dns *d)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static char lookups[] = "b";
    struct ares_options o = {
        .flags = ARES_FLAG_EDNS | ARES_FLAG_NOALIASES | ARES_FLAG_NOSEARCH,
        .timeout = (int)d->try_ms,
        .tries = DNS_TRIES,
        .ndots = 1,
        .ednspsz = DNS_EDNS_SIZE,
        .lookups = lookups,
        .sock_state_cb = resolve_socks_state,
        .sock_state_cb_data = &d->socks,
    };
    ares_channel channel = NULL;

    if (d->channel)
        return true;
    pthread_once(&once, library_init);
    if (ares_init_options(&channel, &o,
                          ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
                              ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB |
                              ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST |
                              ARES_OPT_NOROTATE) != ARES_SUCCESS)
        return false;
    ares_set_socket_functions(channel, &resolve_socks_functions, &d->socks);
    if (give_servers(d, channel) != ARES_SUCCESS) {
        ares_destroy(channel);
        return false;
    }
    d->channel = channel;
    d->edns = true;
    return true;
}

static void close_channel(struct resolve_dns *d)
{
    struct ares_channeldata *channel = d->channel;

    d->channel = NULL;
    d->due_ms = UINT64_MAX;
    if (channel)
        ares_destroy(channel);
}

/* ---- questions and answers ---- */

/* c-ares passes over a refusal and asks the next server; in the end it only says that nobody
 * answered. The RCODE is what the user needs to hear, so it is noted on the way. */
static void note_refusal(void *owner, struct slice datagram)
{
    struct resolve_dns *d = OBJ_CAST(struct resolve_dns, owner, DNS_MAGIC);
    uint16_t id;
    uint8_t rcode;

    if (!resolve_msg_peek(datagram, &id, &rcode))
        return;
    if (rcode != RCODE_SERVFAIL && rcode != RCODE_NOTIMP && rcode != RCODE_REFUSED)
        return;
    LIST_EACH (l, &d->asked) {
        struct resolve_dns_query *q = LIST_ENTRY(l, struct resolve_dns_query, link);

        if (q->id == id)
            q->refused = rcode;
    }
}

static void answered(struct resolve_dns_query *q, enum resolve_status status, uint8_t rcode)
{
    q->found.status = status;
    q->found.rcode = rcode;
    list_del(&q->link);
    list_push(&q->dns->answered, &q->link);
    task_wake(q->dns->task, TASK_RX);
}

static void ask_again(struct resolve_dns_query *q)
{
    q->again = true;
    list_del(&q->link);
    list_push(&q->dns->again, &q->link);
    task_wake(q->dns->task, TASK_RX);
}

static void found_one(struct resolve_found *f, const void *bytes, size_t n, int ttl_s)
{
    uint64_t ttl_ms = ttl_s > 0 ? (uint64_t)ttl_s * 1000 : 0;

    if (f->n == 0 || ttl_ms < f->ttl_ms)
        f->ttl_ms = ttl_ms;
    memcpy(f->bytes[f->n++], bytes, n);
}

static int read_a(struct resolve_found *f, const unsigned char *p, int n)
{
    struct ares_addrttl found[RESOLVE_MAX_ADDRS];
    int n_found = RESOLVE_MAX_ADDRS, r = ares_parse_a_reply(p, n, NULL, found, &n_found);

    for (int i = 0; r == ARES_SUCCESS && i < n_found; i++)
        found_one(f, &found[i].ipaddr, 4, found[i].ttl);
    return r;
}

static int read_aaaa(struct resolve_found *f, const unsigned char *p, int n)
{
    struct ares_addr6ttl found[RESOLVE_MAX_ADDRS];
    int n_found = RESOLVE_MAX_ADDRS, r = ares_parse_aaaa_reply(p, n, NULL, found, &n_found);

    for (int i = 0; r == ARES_SUCCESS && i < n_found; i++)
        found_one(f, &found[i].ip6addr, 16, found[i].ttl);
    return r;
}

static void read_addresses(struct resolve_dns_query *q, const unsigned char *p, int n,
                           const struct resolve_msg *msg)
{
    struct resolve_found *f = &q->found;
    int r = q->family == RESOLVE_DNS_A ? read_a(f, p, n) : read_aaaa(f, p, n);

    if (r == ARES_ENOMEM) {
        answered(q, RESOLVE_LIMIT, 0);
    } else if (r == ARES_SUCCESS && f->n > 0) {
        answered(q, RESOLVE_OK, 0);
    } else if (r == ARES_SUCCESS || r == ARES_ENODATA) {
        f->ttl_ms = (uint64_t)msg->negative_s * 1000;
        answered(q, RESOLVE_NODATA, 0);
    } else {
        answered(q, RESOLVE_FAILED, 0);
    }
}

static void read_answer(struct resolve_dns_query *q, const unsigned char *p, int n)
{
    struct resolve_msg msg;

    if (resolve_msg_read(slice_of(p, (size_t)n), &msg) < 0) {
        answered(q, RESOLVE_FAILED, 0);
    } else if (msg.rcode == 0) {
        read_addresses(q, p, n, &msg);
    } else if (msg.rcode == RCODE_NXDOMAIN) {
        q->found.ttl_ms = (uint64_t)msg.negative_s * 1000;
        answered(q, RESOLVE_NXDOMAIN, msg.rcode);
    } else if (msg.rcode == RCODE_FORMERR && q->edns && !msg.has_extra) {
        /* RFC 6891 7: this server knows no EDNS. c-ares found out before and left its own off. */
        q->dns->edns = false;
        ask_again(q);
    } else {
        answered(q, RESOLVE_FAILED, msg.rcode);
    }
}

static void query_done(void *arg, int status, int timeouts, unsigned char *p, int n)
{
    struct resolve_dns_query *q = OBJ_CAST(struct resolve_dns_query, arg, QUERY_MAGIC);

    UNUSED(timeouts);
    if (status == ARES_SUCCESS && p && n > 0)
        read_answer(q, p, n);
    else if (status == ARES_EDESTRUCTION && !q->again)
        ask_again(q);
    else if (status == ARES_ENOMEM)
        answered(q, RESOLVE_LIMIT, 0);
    else if (status == ARES_ETIMEOUT)
        answered(q, RESOLVE_TIMEOUT, q->refused);
    else
        answered(q, RESOLVE_FAILED, q->refused);
}

/* Identities nobody can foretell: with the source port they are all that keeps forged answers out.
 */
static uint16_t next_id(struct resolve_dns *d)
{
    if (d->n_ids == 0) {
        if (getrandom(d->ids, sizeof(d->ids), GRND_NONBLOCK) != (ssize_t)sizeof(d->ids))
            for (unsigned i = 0; i < RESOLVE_DNS_IDS; i++) {
                uint64_t seed[2] = {d->task->loop->now_us, (uint64_t)d->ids[i] << 32 | i};

                d->ids[i] = (uint16_t)hash_bytes(seed, sizeof(seed));
            }
        d->n_ids = RESOLVE_DNS_IDS;
    }
    return d->ids[--d->n_ids];
}

static void ask(struct resolve_dns *d, struct resolve_dns_query *q)
{
    unsigned char *p = NULL;
    int n = 0, status;

    q->found = (struct resolve_found){0};
    if (!open_channel(d)) {
        answered(q, RESOLVE_LIMIT, 0);
        return;
    }
    q->edns = d->edns;
    q->id = next_id(d);
    status =
        ares_create_query(q->name, 1, q->family, q->id, 1, &p, &n, q->edns ? DNS_EDNS_SIZE : 0);
    if (status != ARES_SUCCESS) {
        /* What cannot be asked does not exist: a label of 64 bytes, a .onion name (RFC 7686). */
        answered(q, status == ARES_ENOMEM ? RESOLVE_LIMIT : RESOLVE_NXDOMAIN, 0);
        return;
    }
    list_push(&d->asked, &q->link);
    if (d->due_ms > d->task->loop->now_ms + d->try_ms)
        d->due_ms = d->task->loop->now_ms + d->try_ms;
    ares_send(d->channel, p, n, query_done, q);
    ares_free_string(p);
}

void resolve_dns_ask(struct resolve_dns *d, struct resolve_dns_query *q, const char *name,
                     enum resolve_dns_family family)
{
    q->magic = QUERY_MAGIC;
    list_init(&q->link);
    q->dns = d;
    q->name = name;
    q->family = family;
    q->refused = 0;
    q->again = false;
    ask(d, q);
}

struct resolve_dns_query *resolve_dns_next(struct resolve_dns *d)
{
    struct list *l = list_pop(&d->answered);

    return l ? LIST_ENTRY(l, struct resolve_dns_query, link) : NULL;
}

/* ---- the turn ---- */

/* The clock is looked at when c-ares next wants it, or earlier: asking it each time would walk all
 * questions. A question sent again gets at least try_ms from now. */
static void set_due(struct resolve_dns *d, bool exactly)
{
    uint64_t now_ms = d->task->loop->now_ms;
    struct timeval tv = {0};

    if (list_empty(&d->asked) || !d->channel)
        d->due_ms = UINT64_MAX;
    else if (exactly && ares_timeout(d->channel, NULL, &tv))
        d->due_ms = now_ms + (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000 + 1;
    else if (d->due_ms > now_ms + d->try_ms)
        d->due_ms = now_ms + d->try_ms;
}

static void run_sockets(struct resolve_dns *d)
{
    unsigned at = 0, events;
    int fd;

    while (d->channel && (fd = resolve_socks_next(&d->socks, &at, &events)) >= 0)
        ares_process_fd(d->channel, events & EPOLLIN ? fd : ARES_SOCKET_BAD,
                        events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
}

void resolve_dns_run(struct resolve_dns *d)
{
    bool clock = d->task->loop->now_ms >= d->due_ms;
    struct list again, *l;

    run_sockets(d);
    if (clock && d->channel)
        ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    /* A question that comes back here while it is asked again waits for the next run. */
    list_init(&again);
    list_splice(&again, &d->again);
    while ((l = list_pop(&again)))
        ask(d, LIST_ENTRY(l, struct resolve_dns_query, link));
    set_due(d, clock);
}

/* ---- life ---- */

void resolve_dns_init(struct resolve_dns *d, struct task *task, uint64_t timeout_ms)
{
    *d = (struct resolve_dns){.magic = DNS_MAGIC, .task = task, .due_ms = UINT64_MAX, .edns = true};
    d->timeout_ms = timeout_ms < 3600000 ? (unsigned)timeout_ms : 3600000;
    list_init(&d->asked);
    list_init(&d->again);
    list_init(&d->answered);
    resolve_socks_init(&d->socks, task, note_refusal, d);
    resolve_dns_servers(d, NULL, 0);
}

void resolve_dns_done(struct resolve_dns *d)
{
    close_channel(d);
    list_init(&d->asked);
    list_init(&d->again);
    list_init(&d->answered);
}

void resolve_dns_servers(struct resolve_dns *d, const struct addr *servers, unsigned n)
{
    static const uint8_t here[4] = {127, 0, 0, 1};
    unsigned rounds = 1 + 2; /* the second round over the servers waits twice as long */

    d->n_servers = n < RESOLVE_DNS_SERVERS ? n : RESOLVE_DNS_SERVERS;
    if (d->n_servers)
        memcpy(d->servers, servers, d->n_servers * sizeof(servers[0]));
    else
        addr_v4(&d->servers[d->n_servers++], here, DNS_PORT);
    d->socks.servers = d->servers;
    d->socks.n_servers = d->n_servers;
    d->try_ms = d->timeout_ms / (rounds * d->n_servers);
    if (d->try_ms < DNS_TRY_MIN_MS)
        d->try_ms = DNS_TRY_MIN_MS;
    close_channel(d);
}
