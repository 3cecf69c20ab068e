/* SPDX-License-Identifier: MIT */
/* local: what ginnel answers itself: error pages, its own small site (http://ginnel.internal/, /healthz), TRACE and Max-Forwards.
 * Everything is built in the exchange's arena. Thread: the worker's. */
#ifndef PROXY_LOCAL_H
#define PROXY_LOCAL_H

#include "base/end.h"
#include "proto/head.h"
#include "proxy/xchg.h"

/* A request that is not forwarded but answered here: STEP_REPLY. STEP_COUNT: forward it. */
enum xstep local_answer(struct xchg *x);

/* HTTP/2 knows no origin-form: whether this request is for one of the few pages of the proxy's own address, by a name or address that this connection was made to. */
bool local_is_own_page(struct xchg *x, const struct head *h);

/* A request on a listener of role admin or control: STEP_REPLY. */
enum xstep local_site(struct xchg *x);

/* The answer that tells why: status, Proxy-Status, body by Accept. ERR_NOMEM. */
int local_error(struct xchg *x, enum end_reason reason, const char *detail, struct head **ret_head, struct slice *ret_body) MUST_USE;

/* What a client reads that is turned away before a request could be read (a 503); details: it says why. Returns its length. */
enum { LOCAL_BUSY_MAX = 384 };
size_t local_busy_reply(const char *name, enum end_reason why, bool details, char out[LOCAL_BUSY_MAX]);

/* What a client reads that speaks in clear where TLS is spoken (a 400). */
enum { LOCAL_CLEAR_MAX = 768 };
size_t local_clear_reply(const char *name, bool details, char out[LOCAL_CLEAR_MAX]);

#endif
