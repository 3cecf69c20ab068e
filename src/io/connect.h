/* SPDX-License-Identifier: MIT */
/* connect: races TCP connections over a list of addresses (RFC 8305 section 5): families alternate, the next attempt starts
 * after 250 ms or as soon as the one before failed, the first that is established wins and the others are closed.
 * Where sources are given, each attempt comes from one of them, and the next one takes over at once from one whose ports towards that
 * address are used up.
 * Owner: the dial step. Thread: its loop's. Memory: about 1.5 KB, from the heap, until taken or cancelled. */
#ifndef IO_CONNECT_H
#define IO_CONNECT_H

#include "io/addr.h"
#include "io/source.h"

enum { CONNECT_MAX_ADDRS = 16, CONNECT_STAGGER_MS = 250 };

struct connect;

struct connect_opts {
    const struct addr *addrs; /* judged already, in order of preference (families alternating); copied */
    unsigned n;               /* 1..CONNECT_MAX_ADDRS */
    uint64_t timeout_ms;      /* in all */
    struct task *task;        /* woken with TASK_HELPER when there is an answer */
    struct source_set sources;    /* what v points to stays until the race is over */
    unsigned turn;                /* of the sources */
    struct source_memory *memory; /* of the worker; NULL: none */
};

struct connect_result {
    struct conn *conn;   /* OK: the caller's; its task is opts->task */
    struct addr to;      /* OK: which address it was */
    struct addr from;    /* OK: the source; AF_UNSPEC when the kernel chose */
    struct addr foreign; /* a source that could not be used, for it is not this machine's; AF_UNSPEC: none */
    int error;           /* ERR: the most telling failure: a limit of ours before refused before unreachable before timed out */
};

/* ERR_NOMEM; else poll with connect_take, which also tells when nothing could be started. */
int connect_start(struct loop *loop, const struct connect_opts *opts, struct connect **ret_connect) MUST_USE;

/* AGAIN: still racing. After OK or ERR the race is freed and *c is NULL. */
enum io connect_take(struct connect **c, struct connect_result *ret_result) MUST_USE;

/* Ends the race; its task is not woken afterwards. *c may be NULL. */
void connect_cancel(struct connect **c);
/* There is an answer to be taken. */
bool connect_done(const struct connect *c);
/* How many connections were begun so far. */
unsigned connect_tries(const struct connect *c);

#endif
