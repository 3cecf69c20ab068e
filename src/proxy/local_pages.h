/* SPDX-License-Identifier: MIT */
/* local_pages: requests that are not forwarded but answered here: the small site (http://ginnel.internal/, /healthz, /proxy.pac), TRACE and Max-Forwards,
 * and the listeners of other roles. Everything is built in the exchange's arena. Thread: the worker's. */
#ifndef PROXY_LOCAL_PAGES_H
#define PROXY_LOCAL_PAGES_H

#include "proto/head.h"
#include "proxy/xchg.h"

/* A request on a proxy's listener: STEP_REPLY. STEP_COUNT: forward it. */
enum xstep local_pages_answer(struct xchg *x);

/* HTTP/2 knows no origin-form: whether this request is for one of the few pages of the proxy's own address, by a name or address that this connection was
 * made to. */
bool local_pages_are_meant(struct xchg *x, const struct head *h);

/* A request on a listener of role admin or control: STEP_REPLY. */
enum xstep local_pages_admin(struct xchg *x);

#endif
