/* SPDX-License-Identifier: MIT */
/* end: why an exchange ended, from one table (tbl/end_reasons.h). */
#ifndef BASE_END_H
#define BASE_END_H

#include <stdbool.h>

enum end_reason {
#define END_X(id, token, kind, status, error, text) END_##id,
#include "tbl/end_reasons.h"
    END_COUNT
};

enum end_kind { END_KIND_OK, END_KIND_CLIENT, END_KIND_UPSTREAM, END_KIND_OURS, END_KIND_BUG };

struct end_info {
    const char *token; /* in logs and metrics */
    enum end_kind kind;
    int status;               /* the answer a client gets for it, 0 when there can be none */
    const char *proxy_status; /* error type of RFC 9209 2.3, "" when none applies */
    const char *text;
};

const struct end_info *end_info(enum end_reason r);

#endif
