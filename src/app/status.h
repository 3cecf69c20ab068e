/* SPDX-License-Identifier: MIT */
/* status: what the server is doing now, for people and as JSON: pure functions of a view with its reports.
 * JSON: times are RFC 3339, durations milliseconds; members that are not known are null or missing. The keys are an
 * interface: they are added to, never renamed. Thread: any. */
#ifndef APP_STATUS_H
#define APP_STATUS_H

#include "app/view.h"

enum { STATUS_EXCHANGES = 20, STATUS_EXCHANGES_MAX = 10000 };

/* Aligned, at most about 110 columns (more for a very long name), without colours; nothing
 * from the network is unescaped. NULL: memory refused. mem_free. */
char *status_text(const struct server_view *v, size_t *ret_n) MUST_USE;
char *status_json(const struct server_view *v, size_t *ret_n) MUST_USE;

#endif
