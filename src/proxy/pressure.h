/* SPDX-License-Identifier: MIT */
/* pressure: what a worker does at the limits of `capacity`: who may begin, what is given up first, how the others are told. Nothing that runs is
 * ended by it. Thread: the worker's. */
#ifndef PROXY_PRESSURE_H
#define PROXY_PRESSURE_H

#include "base/end.h"
#include "io/conn.h"
#include "proxy/capacity.h"

struct worker;

/* GRACE: how long after `capacity.memory` was reached nobody is refused yet, because what is given up for it is only on its way back. */
enum { PRESSURE_GRACE_MS = 10, PRESSURE_RELIEF_MS = 1000 };

/* Whether a connection of that client may begin (capacity_enter). Says in the log when it may not. */
enum capacity_verdict pressure_enter(struct worker *w, const struct addr *client, struct capacity_place *ret_place) MUST_USE;
/* `capacity.memory` is reached: nothing may begin that takes memory. Gives up what nobody uses, here and at the other workers. */
bool pressure_memory(struct worker *w);
enum end_reason pressure_reason(enum capacity_verdict v);
/* Answers at once, without a session, and closes. *conn is NULL after. */
void pressure_turn_away(struct worker *w, struct conn **conn, unsigned listen_id, enum capacity_verdict why);

#endif
