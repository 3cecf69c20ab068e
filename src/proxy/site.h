/* SPDX-License-Identifier: MIT */
/* site: what is answered on listeners that do not proxy (roles admin and control). The answer is made by app, on the house's thread, and leaves
 * like every local reply. Owner: app. Thread: the worker's that has such listeners. */
#ifndef PROXY_SITE_H
#define PROXY_SITE_H

#include "proto/head.h"
#include "proxy/snapshot.h"

struct site_reply {
    int status;
    const char *type; /* static: "text/plain; charset=utf-8" */
    char *body;       /* mem_*; the exchange frees it. NULL: empty */
    size_t n;
    const char *allow; /* with 405: static */
};

/* Always gives an answer: status 0 means that memory ran out. path is without the query, query without the question mark. */
struct site_request {
    enum listen_role role;
    enum method method;
    struct slice path, query;
    bool wants_json; /* by Accept, or ?json */
};
typedef void (*site_fn)(void *owner, const struct site_request *q, struct site_reply *ret_reply);

#endif
