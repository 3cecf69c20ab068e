/* SPDX-License-Identifier: MIT */
/* access: the logs. A worker copies a record of an exchange into its own ring (its shard); one thread selects, formats (access_format.h) and writes
 * (access_output.h) to all outputs, and carries the diagnostics. The data path never waits and never formats: a full ring drops the record and counts
 * it. After it was woken the thread waits ACCESS_BATCH_MS, or until a ring is half full, before it looks, so that a busy proxy wakes it 50 times a second;
 * a quiet one not at all. Credentials, cookies and query strings are never in a record.
 * Owner: app. Thread: access_put on the shard's worker; the others as they say. */
#ifndef PROXY_ACCESS_H
#define PROXY_ACCESS_H

#include "base/end.h"
#include "base/slice.h"
#include "io/addr.h"
#include "io/loop.h"
#include "policy/matcher.h"

#include <stdint.h>

enum {
    ACCESS_RING = 1 << 20, /* bytes, a worker */
    ACCESS_BATCH_MS = 20,
    ACCESS_LINE_MAX = 16384,
    ACCESS_PATH_MAX = 1024,
    ACCESS_METHOD_MAX = 32,
    ACCESS_AGENT_MAX = 256, /* User-Agent, and Referer without its query */
    ACCESS_TYPE_MAX = 96,
    ACCESS_USER_MAX = 128, /* and each of groups, labels */
    ACCESS_OUTPUT_BUFFER = 256 << 10,
};

/* END: the exchange is over. BEGIN: a tunnel has been accepted; STILL: it lives; both carry the id that END will carry. */
enum access_event { ACCESS_END = 0, ACCESS_BEGIN, ACCESS_STILL };

/* How a client's connection came in. */
struct access_door {
    struct addr balancer;   /* who sent the PROXY header that named the client; family 0: nobody */
    const char *tls_cipher; /* static */
    uint16_t tls_version;   /* 0x0303, 0x0304; 0: it was in clear */
    uint8_t tls_alpn;       /* enum tls_alpn */
};

/* What is known about one exchange. Slices point into its arena, or into the block it keeps for the life of a tunnel; access_put copies. */
struct access_record {
    const struct access_door *door; /* the session's; NULL: in clear, and from the client itself */
    uint64_t id;                /* of the exchange, unique in this process */
    uint64_t start_us, wall_ms; /* loop time; wall clock at start */
    struct slice method, host, path;
    struct slice agent, referer, type; /* User-Agent; Referer without query; the answer's Content-Type. Empty when unknown or not wanted */
    struct slice listener;      /* its name */
    struct slice rule;          /* what decided: a rule's name or its file:line; empty: nothing but the default */
    struct slice would;         /* what would have decided, were it enforced: the same; empty: nothing */
    struct slice user, groups, labels, granted; /* as in struct match_facts; empty: nobody */
    struct slice via;           /* the parents it went through, in order, blanks between; empty: none */
    struct slice sni;           /* the name in a tunnel's ClientHello; empty: none was seen */
    struct addr client, peer, local; /* peer: who was dialled, be it a parent; peer and local: family 0 when nothing was; client: AF_UNIX on a Unix socket */
    uint64_t bytes_up, bytes_down;   /* content, or a tunnel's bytes */
    uint32_t head_down;              /* bytes of heads sent to the client */
    uint32_t dns_us, connect_us, first_byte_us;
    uint16_t port, status;
    uint8_t version; /* 10, 11, 20; 0 when no request line was read */
    uint8_t scheme;  /* of MATCH_*: what the request asked for; 0 unknown */
    bool reused;
    bool tunnel;
    bool would_deny; /* with `would`, or `policy: report`: a refusal */
    enum access_event event;
    enum end_reason end;
    struct slice detail; /* text of ours */
};

/* ---- outputs ---- */

enum access_sink { ACCESS_STDERR = 0, ACCESS_STDOUT, ACCESS_FILE, ACCESS_SYSLOG_UNIX, ACCESS_SYSLOG_UDP };
enum access_layout { ACCESS_JSON = 0, ACCESS_SQUID, ACCESS_COMMON, ACCESS_COMBINED };
/* Which records of a tunnel are taken: END alone, BEGIN too, or STILL as well. */
enum access_tunnels { ACCESS_AT_END = 0, ACCESS_AT_BOTH, ACCESS_EVERY };

/* One output, as the configuration says. Strings and matchers are borrowed until the set that was opened with them is closed. */
struct access_output {
    enum access_sink sink;
    const char *path;     /* FILE; SYSLOG_UNIX */
    struct addr udp;      /* SYSLOG_UDP */
    enum access_layout layout;
    enum access_tunnels tunnels;
    uint64_t every_ms;             /* EVERY */
    const struct matcher *where;   /* any of these; none: everything */
    unsigned n_where;
    const char *place;             /* file:line, for messages */
};

struct access_log;
struct access_shard;
struct access_set; /* opened outputs */

/* The log with its thread and without outputs; diagnostics go to the descriptor `diagnostics` (borrowed). */
struct access_log *access_new(int diagnostics) MUST_USE;
/* Writes what is left (an output that takes nothing for a second is given up), joins the thread, closes the set. The workers must have stopped. */
void access_free(struct access_log *a);

/* Opens n outputs. 0; -errno or ERR_NOMEM: nothing is open, *ret_failed is the index of the output that could not be opened. */
int access_open(const struct access_output *v, unsigned n, struct access_set **ret_set, unsigned *ret_failed) MUST_USE;
/* Closes a set that the log does not have. */
void access_close(struct access_set *s);
/* From now on the log writes to this set (which it takes; NULL: none). Waits until the thread has let go of the old one, writes what that has buffered
 * (for at most a second) and closes it: then nothing of the old outputs is in use any more. A file that both sets have is not missed a line. */
void access_switch(struct access_log *a, struct access_set *s);
/* The files are opened again by name (USR1); one that cannot be opened is said, and the old one is used on. Any thread, returns at once. */
void access_reopen(struct access_log *a);

/* Diagnostics and other whole lines from any thread; bounded, never waits. False: dropped. */
bool access_say(struct access_log *a, const char *line, size_t n);

/* Counters since the start, for metrics: records written, records lost because an output failed or its buffer was full. Any thread. */
struct access_counts {
    uint64_t written, lost;
    unsigned failing; /* outputs whose last write failed */
};
struct access_counts access_counts(const struct access_log *a);

/* ---- workers ---- */

struct access_shard *access_shard_new(struct access_log *a, struct loop *loop) MUST_USE;
/* False: the ring is full, and the record is lost. now_us: what END's duration is measured to. */
bool access_put(struct access_shard *s, const struct access_record *r, uint64_t now_us);

#endif
