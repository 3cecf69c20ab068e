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
    DNS_PLAIN_SIZE = 512,
    DNS_PORT = 53,
    FLAG_CUT = 0x02, /* TC, of the third byte */
    RCODE_FORMERR = 1,
    RCODE_SERVFAIL = 2,
    RCODE_NXDOMAIN = 3,
    RCODE_NOTIMP = 4,
    RCODE_REFUSED = 5,
};

_Static_assert(RESOLVE_SOCKS_MAX >= RESOLVE_DNS_CHANNELS * RESOLVE_DNS_SERVERS, "a socket a server and channel");

enum { CHANNEL_UDP = 0, CHANNEL_TCP /* the first of them */ };

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
static bool open_channel(struct resolve_dns *d, unsigned k)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static char lookups[] = "b";
    struct ares_options o = {
        .flags = ARES_FLAG_EDNS | ARES_FLAG_NOALIASES | ARES_FLAG_NOSEARCH |
                 (k == CHANNEL_UDP ? ARES_FLAG_IGNTC : ARES_FLAG_USEVC),
        .timeout = (int)d->try_ms,
        .tries = DNS_TRIES,
        .ndots = 1,
        .ednspsz = DNS_EDNS_SIZE,
        .lookups = lookups,
        .sock_state_cb = resolve_socks_state,
        .sock_state_cb_data = &d->socks,
    };
    ares_channel channel = NULL;

    if (d->channel[k])
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
    d->channel[k] = channel;
    if (k == CHANNEL_UDP)
        d->edns = true;
    return true;
}

static void close_channels(struct resolve_dns *d)
{
    d->due_ms = UINT64_MAX;
    for (unsigned k = 0; k < RESOLVE_DNS_CHANNELS; k++) {
        struct ares_channeldata *channel = d->channel[k];

        d->channel[k] = NULL;
        if (channel)
            ares_destroy(channel);
    }
}

/* The sockets that c-ares opens in this call are the channel's. */
static struct ares_channeldata *enter(struct resolve_dns *d, unsigned k)
{
    d->socks.channel = k;
    return d->channel[k];
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

/* It comes round again from the task: nothing is asked inside of a callback. */
static void ask_later(struct resolve_dns_query *q)
{
    list_del(&q->link);
    list_push(&q->dns->again, &q->link);
    task_wake(q->dns->task, TASK_RX);
}

/* The next one may have the channel. */
static void leave_channel(struct resolve_dns_query *q)
{
    struct resolve_dns *d = q->dns;

    if (q->channel == CHANNEL_UDP)
        return;
    d->busy[q->channel] = false;
    q->channel = CHANNEL_UDP;
    if (!list_empty(&d->waiting))
        ask_later(LIST_ENTRY(d->waiting.next, struct resolve_dns_query, link));
}

static void answered(struct resolve_dns_query *q, enum resolve_status status, uint8_t rcode)
{
    leave_channel(q);
    q->found.status = status;
    q->found.rcode = rcode;
    list_del(&q->link);
    list_push(&q->dns->answered, &q->link);
    task_wake(q->dns->task, TASK_RX);
}

static void ask_again(struct resolve_dns_query *q)
{
    leave_channel(q);
    q->again = true;
    ask_later(q);
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

/* The server says so, or it is longer than it may be, and c-ares has cut it. */
static bool is_cut(const struct resolve_dns_query *q, const unsigned char *p, int n)
{
    return !q->tcp && n > 2 && (p[2] & FLAG_CUT || n >= (q->edns ? DNS_EDNS_SIZE : DNS_PLAIN_SIZE));
}

static void read_answer(struct resolve_dns_query *q, const unsigned char *p, int n)
{
    struct resolve_msg msg;

    if (is_cut(q, p, n)) {
        q->tcp = true;
        ask_later(q);
    } else if (resolve_msg_read(slice_of(p, (size_t)n), &msg) < 0) {
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

/* RESOLVE_DNS_CHANNELS: none of those for TCP is free. */
static unsigned free_channel(const struct resolve_dns *d, const struct resolve_dns_query *q)
{
    unsigned k = CHANNEL_TCP;

    if (!q->tcp)
        return CHANNEL_UDP;
    while (k < RESOLVE_DNS_CHANNELS && d->busy[k])
        k++;
    return k;
}

static void ask(struct resolve_dns *d, struct resolve_dns_query *q)
{
    unsigned k = free_channel(d, q);
    unsigned char *p = NULL;
    int n = 0, status;

    q->found = (struct resolve_found){0};
    if (k == RESOLVE_DNS_CHANNELS) {
        list_push(&d->waiting, &q->link);
        return;
    }
    if (!open_channel(d, k)) {
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
    q->channel = (uint8_t)k;
    d->busy[k] = k != CHANNEL_UDP;
    list_push(&d->asked, &q->link);
    if (d->due_ms > d->task->loop->now_ms + d->try_ms)
        d->due_ms = d->task->loop->now_ms + d->try_ms;
    ares_send(enter(d, k), p, n, query_done, q);
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
    q->again = q->tcp = false;
    q->channel = CHANNEL_UDP;
    q->give_up_ms = d->task->loop->now_ms + d->timeout_ms;
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

    if (list_empty(&d->asked)) {
        d->due_ms = UINT64_MAX;
        return;
    }
    if (exactly)
        d->due_ms = UINT64_MAX;
    for (unsigned k = 0; exactly && k < RESOLVE_DNS_CHANNELS; k++) {
        struct timeval tv = {0};
        uint64_t due_ms;

        if (!d->channel[k] || !ares_timeout(d->channel[k], NULL, &tv))
            continue;
        due_ms = now_ms + (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000 + 1;
        if (due_ms < d->due_ms)
            d->due_ms = due_ms;
    }
    if (d->due_ms > now_ms + d->try_ms)
        d->due_ms = now_ms + d->try_ms;
}

static void run_sockets(struct resolve_dns *d)
{
    struct resolve_ready r;
    unsigned at = 0;

    while (resolve_socks_next(&d->socks, &at, &r))
        if (d->channel[r.channel])
            ares_process_fd(enter(d, r.channel), r.events & EPOLLIN ? r.fd : ARES_SOCKET_BAD,
                            r.events & EPOLLOUT ? r.fd : ARES_SOCKET_BAD);
}

static void run_clock(struct resolve_dns *d)
{
    for (unsigned k = 0; k < RESOLVE_DNS_CHANNELS; k++)
        if (d->channel[k])
            ares_process_fd(enter(d, k), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/* Those that wait for others to be done must not wait for longer than if they were asked. */
static void run_waiting(struct resolve_dns *d)
{
    LIST_EACH (l, &d->waiting) {
        struct resolve_dns_query *q = LIST_ENTRY(l, struct resolve_dns_query, link);

        if (d->task->loop->now_ms < q->give_up_ms)
            return;
        answered(q, RESOLVE_TIMEOUT, q->refused);
    }
}

void resolve_dns_run(struct resolve_dns *d)
{
    bool clock = d->task->loop->now_ms >= d->due_ms;
    struct list again, *l;

    run_sockets(d);
    if (clock)
        run_clock(d);
    run_waiting(d);
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
    list_init(&d->waiting);
    resolve_socks_init(&d->socks, task, note_refusal, d);
    resolve_dns_servers(d, NULL, 0);
}

void resolve_dns_done(struct resolve_dns *d)
{
    close_channels(d);
    list_init(&d->asked);
    list_init(&d->again);
    list_init(&d->answered);
    list_init(&d->waiting);
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
    close_channels(d);
}
