/* SPDX-License-Identifier: MIT */
/* access_squid: a record in squid's native format (`logformat squid`, 5 and 6). The time is that of
 * the line, the size what the client was sent, heads and all. The code follows from the end
 * reason's kind and status (tbl/end_reasons.h):
 *
 *   | kind, status           | nothing understood | otherwise  | cut short |
 *   |------------------------|--------------------|------------|-----------|
 *   | OK                     | NONE_NONE          | TCP_MISS   |           |
 *   | CLIENT, 0              | NONE_NONE          | TCP_MISS   | _ABORTED  |
 *   | CLIENT, 408            | NONE_NONE          | NONE_NONE* | _TIMEDOUT |
 *   | CLIENT, other          | NONE_NONE          | NONE_NONE* | _ABORTED  |
 *   | OURS, 0; UPSTREAM, 504 | NONE_NONE          | TCP_MISS   | _TIMEDOUT |
 *   | OURS, 403, 405, 407, 413, 429, 502
 *   |                        | TCP_DENIED         | TCP_DENIED | _ABORTED  |
 *   | OURS, 501, 503; BUG; a tunnel that a rule or limit ended
 *   |                        | NONE_NONE          | TCP_MISS   | _ABORTED  |
 *   | UPSTREAM, 502          | NONE_NONE          | TCP_MISS   | _ABORTED  |
 *   * TCP_MISS when something was dialled
 *
 * A tunnel that was made is TCP_TUNNEL, with the same suffixes; a CONNECT that failed made none.
 * The last column is added when the client did not get the whole of an answer: neither an orderly
 * end, nor the reason's own status.
 *
 * A request that was not understood has one of squid's names for such instead of a URL:
 * error:request-too-large (414, 431), error:accept-client-connection (403, 503),
 * error:transaction-end-before-headers (408, none), error:invalid-request. A method that is not
 * known is `-`, a status that was never sent 000. BEGIN and STILL look like ends: who adds up sizes
 * wants tunnels at their end only. Thread: any. */
#ifndef PROXY_ACCESS_SQUID_H
#define PROXY_ACCESS_SQUID_H

#include "proxy/line.h"

void access_squid(struct line *l, const struct access_record *r, uint64_t elapsed_ms);

#endif
