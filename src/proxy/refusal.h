/* SPDX-License-Identifier: MIT */
/* refusal: what is told of an answer that is an error: to the client's program (Proxy-Status: refusal_status.c) and to who sits before it (a body:
 * refusal_body.c). Owner: local_error's stack; what it points to lies in the exchange's arena, or is the snapshot's. Thread: the worker's. */
#ifndef PROXY_REFUSAL_H
#define PROXY_REFUSAL_H

#include "base/end.h"
#include "proxy/body_form.h"
#include "proxy/conf.h"
#include "proxy/dial.h"
#include "proxy/xchg.h"

/* What is told: less with `reasons: none`, more with `all`. The target is a normalised host, which has no byte that HTML or JSON minds; names, places and
 * what is to be said are the operator's. Empty slices are left out. */
struct refusal {
    int status;
    enum reasons reasons;
    const struct end_info *end;
    struct slice detail;
    struct slice target;    /* host:port */
    struct slice rule;      /* what decided: its name; empty: it has none */
    struct slice place;     /* file:line of that */
    struct slice say;       /* `say:` */
    struct slice hint;      /* the way out */
    struct slice addresses; /* that were tried */
    const struct parent_answer *parent; /* what a parent proxy has said; NULL: nothing */
};

/* detail: NULL is the reason's own text. ERR_NOMEM */
int refusal_of(struct xchg *x, enum end_reason reason, const char *detail, struct refusal *ret_r) MUST_USE;

/* refusal_status.c: the value of Proxy-Status (RFC 9209). SLICE_NONE: no memory. */
struct slice refusal_status(struct xchg *x, const struct refusal *r);

/* refusal_body.c: the page. SLICE_NONE: no memory. */
struct slice refusal_body(struct arena *a, enum body_form form, const struct refusal *r);
/* Puts what a parent has said behind a page that was made in that form (U13). *body becomes x->body, which is freed with the exchange. ERR_NOMEM */
int refusal_body_add_parent(struct xchg *x, enum body_form form, const struct refusal *r, struct slice *body) MUST_USE;

#endif
