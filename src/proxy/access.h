/* SPDX-License-Identifier: MIT */
/* access: the access log. A worker formats a record into its own ring (its shard); one thread writes all rings to the sink. The data
 * path never waits: a full ring drops the record and counts it. The writer sleeps until a worker that put something wakes it, once
 * a turn. Credentials, cookies and query strings are never in a record.
 * Owner: app. Thread: access_put on the shard's worker. */
#ifndef PROXY_ACCESS_H
#define PROXY_ACCESS_H

#include "base/end.h"
#include "base/slice.h"
#include "io/addr.h"
#include "io/loop.h"

#include <stdint.h>

enum { ACCESS_RING = 1 << 20, ACCESS_LINE_MAX = 4096, ACCESS_PATH_MAX = 1024, ACCESS_METHOD_MAX = 32 };

/* What is known about one exchange. Slices point into its arena, or into the block it keeps for the life of a tunnel. */
struct access_record {
    uint64_t start_us, wall_ms; /* loop time; wall clock at start */
    struct slice method, host, path;
    struct addr client, peer, local; /* peer and local: family 0 when nothing was dialled */
    uint64_t bytes_up, bytes_down;
    uint32_t dns_us, connect_us, first_byte_us;
    uint16_t port, status;
    uint8_t version; /* 10, 11; 0 when no request line was read */
    bool reused;
    enum end_reason end;
    const char *detail; /* static, or NULL */
};

struct access_log;
struct access_shard;

/* Writes to fd (borrowed). NULL: refused. The thread starts at once. */
struct access_log *access_open(int fd) MUST_USE;
/* Writes what is left, joins the thread. The workers must have stopped. */
void access_close(struct access_log *a);
/* Diagnostics and other whole lines from any thread; bounded, never waits. False: dropped. */
bool access_say(struct access_log *a, const char *line, size_t n);

struct access_shard *access_shard_new(struct access_log *a, struct loop *loop) MUST_USE;
/* False: the ring is full. */
bool access_put(struct access_shard *s, const struct access_record *r, uint64_t now_us);

/* The record as one JSON line (with newline); returns its length. A path that needs too much escaping is cut; 0 only when cap is
 * smaller than ACCESS_LINE_MAX and does not do. For tests too. */
size_t access_format(const struct access_record *r, uint64_t now_us, char *out, size_t cap);

#endif
