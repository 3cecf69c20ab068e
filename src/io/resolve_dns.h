/* SPDX-License-Identifier: MIT */
/* resolve_dns: questions for one type of address to DNS servers, on the loop, through c-ares. It
 * retries, changes servers, falls back to TCP for cut answers and does without EDNS where a server
 * does not know it. Over TCP each question has a channel, and so a connection, of its own: to c-ares
 * the end of a connection is the end of all questions on it. No cache, no search list, no hosts file. Sockets and the channel exist only
 * while there is something to ask; with nothing asked there is no deadline. Owner: the resolver.
 * Thread: its loop's. */
#ifndef IO_RESOLVE_DNS_H
#define IO_RESOLVE_DNS_H

#include "io/resolve.h"
#include "io/resolve_socks.h"

enum { RESOLVE_DNS_TCP = 16 }; /* questions over TCP at the same time; others wait */
enum {
    RESOLVE_DNS_SERVERS = 8,
    RESOLVE_DNS_CHANNELS = 1 + RESOLVE_DNS_TCP,
    RESOLVE_DNS_IDS = 32,
};

/* What one question brought: addresses of one family, or why not. */
struct resolve_found {
    enum resolve_status status;
    uint8_t rcode;
    uint64_t ttl_ms; /* OK: the smallest TTL of addresses and aliases; negative: the SOA's, 0
                        without one; else 0 */
    unsigned n;
    uint8_t bytes[RESOLVE_MAX_ADDRS][16]; /* 4 or 16 are used */
};

enum resolve_dns_family { RESOLVE_DNS_A = 1, RESOLVE_DNS_AAAA = 28 }; /* the record types */

/* One question. Embedded in the asker's memory, which stays from resolve_dns_ask until
 * resolve_dns_next gives it back: a question cannot be taken back, only ignored. */
struct resolve_dns_query {
    unsigned magic;
    struct list link;
    struct resolve_dns *dns;
    void *owner;      /* the asker's */
    const char *name; /* NUL-terminated, borrowed for as long */
    enum resolve_dns_family family;
    uint16_t id;
    uint8_t refused;  /* RCODE of a refusal that sent us to the next server */
    bool edns, again; /* asked with EDNS; asked for the second time */
    bool tcp;         /* over UDP the answer was cut */
    uint8_t channel;
    uint64_t give_up_ms;
    struct resolve_found found;
};

struct ares_channeldata;

struct resolve_dns {
    unsigned magic;
    struct task *task;                /* the resolver's: woken when there is something to run */
    struct ares_channeldata *channel[RESOLVE_DNS_CHANNELS]; /* NULL until something is asked */
    bool busy[RESOLVE_DNS_CHANNELS]; /* of those for TCP: it has its question */
    struct addr servers[RESOLVE_DNS_SERVERS];
    unsigned n_servers;
    unsigned try_ms; /* of the first round over the servers; the second gets twice as much */
    unsigned timeout_ms;
    bool edns;       /* the servers have not refused it */
    uint64_t due_ms; /* when c-ares wants to look at the clock; UINT64_MAX: never */
    struct list asked, again, answered;
    struct list waiting; /* for a channel over TCP, the oldest first */
    struct resolve_socks socks;
    uint16_t ids[RESOLVE_DNS_IDS];
    unsigned n_ids;
};

/* timeout_ms: about what one question may take over all tries. */
void resolve_dns_init(struct resolve_dns *d, struct task *task, uint64_t timeout_ms);
/* Questions still asked are dropped. */
void resolve_dns_done(struct resolve_dns *d);
/* The servers to ask, with ports; none: 127.0.0.1. What is being asked is asked once more of the
 * new ones. */
void resolve_dns_servers(struct resolve_dns *d, const struct addr *servers, unsigned n);

/* The answer, also "out of memory", comes from resolve_dns_next. q->owner is the caller's to set.
 */
void resolve_dns_ask(struct resolve_dns *d, struct resolve_dns_query *q, const char *name,
                     enum resolve_dns_family family);
/* Handles what the sockets and the clock brought. Called from the task. */
void resolve_dns_run(struct resolve_dns *d);
/* The next answered question, or NULL. */
struct resolve_dns_query *resolve_dns_next(struct resolve_dns *d);

#endif
