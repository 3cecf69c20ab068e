/* SPDX-License-Identifier: MIT */
/* dns_server: a DNS server that does what a table says, on a thread of its own, UDP and TCP on one
 * port. It counts what it is asked. For tests only. */
#ifndef TESTS_DNS_SERVER_H
#define TESTS_DNS_SERVER_H

#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { DNS_A = 1, DNS_CNAME = 5, DNS_SOA = 6, DNS_AAAA = 28 };

enum dns_trick {
    DNS_HONEST = 0,
    DNS_SILENT,         /* no answer at all */
    DNS_CUT,            /* over UDP: truncated, without records */
    DNS_NO_EDNS,        /* FORMERR, without records, to a question with EDNS */
    DNS_OTHER_QUESTION, /* an answer to what was not asked */
    DNS_NONSENSE,       /* the header and then noise */
    DNS_SHORT,          /* five bytes */
    DNS_EMPTY,          /* an empty datagram, then the answer */
    DNS_LOOP,           /* aliases that lead back */
    DNS_MANY,           /* 600 addresses, over TCP */
    DNS_FIRST_SILENT,   /* no answer to the first question */
};

/* The first rule that fits is followed; without one: NXDOMAIN without an SOA. */
struct dns_rule {
    const char *name;  /* NULL: any */
    unsigned type;     /* 0: any */
    const char *addrs; /* separated by blanks; NULL: none */
    unsigned ttl;
    unsigned rcode;
    unsigned delay_ms;
    enum dns_trick trick;
    unsigned aliases, alias_ttl; /* a chain of so many before the addresses */
    bool soa;
    unsigned soa_ttl, soa_minimum;
};

enum { DNS_LATER = 64, DNS_MESSAGE = 16384, DNS_CONNS = 8 };

struct dns_later {
    bool used;
    uint64_t due_ms;
    int tcp; /* -1: UDP to `to` */
    uint32_t to_ip;
    uint16_t to_port;
    size_t n;
    uint8_t bytes[DNS_MESSAGE];
};

struct dns_server {
    pthread_t thread;
    pthread_mutex_t lock; /* over rules */
    const struct dns_rule *rules;
    size_t n_rules;
    int udp, tcp, stop_fd;
    int conns[DNS_CONNS];
    char address[32]; /* "127.0.0.1:12345" */
    struct dns_later later[DNS_LATER];
    _Atomic unsigned asked, asked_a, asked_aaaa, asked_tcp, asked_edns;
};

/* ip: e.g. "127.0.0.1"; port 0: any. False: the port cannot be had. */
bool dns_server_start(struct dns_server *s, const char *ip, uint16_t port);
void dns_server_stop(struct dns_server *s);
/* The table must live until it is replaced; the counters start anew. */
void dns_server_rules(struct dns_server *s, const struct dns_rule *rules, size_t n);

#endif
