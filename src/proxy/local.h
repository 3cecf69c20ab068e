/* SPDX-License-Identifier: MIT */
/* local: replies made here: errors, and the heads of what local_pages answers. Everything is built in the exchange's arena. Thread: the worker's. */
#ifndef PROXY_LOCAL_H
#define PROXY_LOCAL_H

#include "base/end.h"
#include "proto/head.h"
#include "proxy/xchg.h"

/* The answer that tells why: status, Proxy-Status, body by Accept. ERR_NOMEM. */
int local_error(struct xchg *x, enum end_reason reason, const char *detail, struct head **ret_head, struct slice *ret_body) MUST_USE;

/* A head for a body of that length; type may be empty. Content-Length is the mux's to write; Date and Via are step reply's. NULL: no memory. */
struct head *local_head(struct xchg *x, int status, struct slice type, size_t length);
/* A field more; the value stays the caller's. ERR_NOMEM, also for SLICE_NONE. */
int local_add(struct xchg *x, struct head *h, const char *name, struct slice value) MUST_USE;

/* What a client reads that is turned away before a request could be read (a 503); details: it says why. Returns its length. */
enum { LOCAL_BUSY_MAX = 384 };
size_t local_busy_reply(const char *name, enum end_reason why, bool details, char out[LOCAL_BUSY_MAX]);

/* What a client reads that speaks in clear where TLS is spoken (a 400). */
enum { LOCAL_CLEAR_MAX = 768 };
size_t local_clear_reply(const char *name, bool details, char out[LOCAL_CLEAR_MAX]);

#endif
