/* SPDX-License-Identifier: MIT */
/* connect: races TCP connections over a list of addresses (RFC 8305 section 5): families alternate, the next attempt starts
 * after 250 ms or as soon as the one before failed, the first that is established wins and the others are closed.
 * Owner: the dial step. Thread: its loop's. Memory: about 1 KB, from the heap, until taken or cancelled. */
#ifndef IO_CONNECT_H
#define IO_CONNECT_H

#include "io/addr.h"
#include "io/conn.h"

enum { CONNECT_MAX_ADDRS = 16, CONNECT_STAGGER_MS = 250 };

struct connect;

struct connect_opts {
    const struct addr *addrs; /* judged already, in order of preference (families alternating); copied */
    unsigned n;               /* 1..CONNECT_MAX_ADDRS */
    uint64_t timeout_ms;      /* in all */
    struct task *task;        /* woken with TASK_HELPER when there is an answer */
};

/* ERR_NOMEM; else poll with connect_take, which also tells when nothing could be started. */
int connect_start(struct loop *loop, const struct connect_opts *opts, struct connect **ret_connect) MUST_USE;

/* AGAIN: still racing. OK: *ret_conn is the caller's (its task is opts->task), *ret_addr which address it was.
 * ERR: *ret_error is the most telling failure (refused before unreachable before timed out). After OK or ERR the race is
 * freed and *c is NULL. */
enum io connect_take(struct connect **c, struct conn **ret_conn, struct addr *ret_addr, int *ret_error) MUST_USE;

/* Ends the race; its task is not woken afterwards. *c may be NULL. */
void connect_cancel(struct connect **c);
/* How many connections were begun so far. */
unsigned connect_tries(const struct connect *c);

#endif
