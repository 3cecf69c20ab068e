/* SPDX-License-Identifier: MIT */
/* access_format: records as lines. json: OpenTelemetry's names where there is one, `ginnel.` before
 * ours; squid: its native format (access_squid.h); common and combined: Apache's. Control bytes and
 * quotes are escaped, so that no field can end a line or begin another field. Pure but for the time
 * zone. Thread: any.
 *
 * json: `time` is the start. Absent: what is not known, `ginnel.event` at the end, `ginnel.end`
 * before it, `ginnel.tunnel` when there is none.
 *
 * common, combined: %h %l %u %t "%r" %>s %b, then Referer and User-Agent. The time is the start; %b
 * is the content; `-` is a status that was never sent.
 *
 * A client of a Unix socket is `unix` in all of them. BEGIN and STILL say what END would say now:
 * only json tells them apart. */
#ifndef PROXY_ACCESS_FORMAT_H
#define PROXY_ACCESS_FORMAT_H

#include "proxy/access.h"

/* The record as one line with its newline; returns the length. A path that needs too much escaping
 * is cut, and if that is not enough every string; 0 only when cap is smaller than ACCESS_LINE_MAX
 * and does not do. */
size_t access_format(enum access_layout layout, const struct access_record *r, uint64_t now_us,
                     char *out, size_t cap);

#endif
