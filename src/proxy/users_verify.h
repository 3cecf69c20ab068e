/* SPDX-License-Identifier: MIT */
/* users_verify: is it the right password? First what the board remembers: no system call, under a microsecond; else a helper thread or the users' program,
 * one job a worker for the same question, however many ask. What was right is remembered under a keyed hash of all that made it right; what was wrong costs the
 * client a guess (users_guesses.h). Also: which user of this machine is at the other end of a Unix socket?
 * Owner: a worker has a desk. Thread: the worker's. */
#ifndef PROXY_USERS_VERIFY_H
#define PROXY_USERS_VERIFY_H

#include "base/arena.h"
#include "base/board.h"
#include "io/helper.h"
#include "proto/authn.h"
#include "policy/users.h"
#include "proxy/users_answer.h"
#include "proxy/users_guesses.h"

enum {
    USERS_FACT_MAX = 2048, /* the board's value_max is at least this */
    USERS_PEER_MS = 60000, /* how long the name of a uid is remembered */
};

/* Where a worker asks. board, helpers: borrowed; helpers may be NULL in a worker that verifies nobody. */
struct users_desk {
    struct loop *loop;
    struct board *board;
    struct helper_pool *helpers;
    struct list jobs; /* questions that are out */
};
void users_desk_init(struct users_desk *d, struct loop *loop, struct board *board, struct helper_pool *helpers);

/* WAIT: a wake-up with TASK_HELPER follows, unless it is cancelled. LATER: other passwords of this client are being verified: ask again in a moment.
 * THROTTLED: too many were wrong. UNAVAILABLE: nobody can say now. */
enum users_verdict { USERS_RIGHT = 0, USERS_WRONG, USERS_WAIT, USERS_LATER, USERS_THROTTLED, USERS_UNAVAILABLE, USERS_NOMEM };

struct users_job;

/* One who waits. Embedded in the asker's memory; zeroed at first. */
struct users_wait {
    struct list link;
    struct task *task;
    struct users_job *job; /* NULL: nothing is waited for */
    bool done;
};

struct users_question {
    const struct users *users;
    struct slice name, password;
    struct users_client client;
};

/* Texts in the asker's arena. */
struct users_who {
    struct slice user, groups; /* commas between */
    struct slice permitted;    /* labels that this user may bring, commas between */
};

/* *ret_who on RIGHT; *ret_wait_ms on THROTTLED. */
enum users_verdict users_verify(struct users_desk *d, const struct users_question *q, struct users_wait *w, struct task *task, struct arena *a,
                                struct users_who *ret_who, uint64_t *ret_wait_ms) MUST_USE;
/* After the wake-up: the answer, or WAIT while there is none. u: the same users. */
enum users_verdict users_verified(const struct users *u, struct users_wait *w, struct arena *a, struct users_who *ret_who) MUST_USE;
/* The user with that number. RIGHT, WRONG (there is none), WAIT, UNAVAILABLE, NOMEM. */
enum users_verdict users_peer(struct users_desk *d, const struct users *u, uint32_t uid, struct users_wait *w, struct task *task, struct arena *a,
                              struct users_who *ret_who) MUST_USE;
void users_cancel(struct users_wait *w); /* any state is fine */

#endif
