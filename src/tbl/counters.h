/* SPDX-License-Identifier: MIT */
/* What a worker counts, and what only ever grows. X(id, "name", "sentence"): in the metrics it is ginnel_NAME_total; without a name it is
 * not shown by itself. No name is that of a gauge (OpenMetrics takes _total off). */
#ifndef COUNTER_X
#error "define COUNTER_X first"
#endif
COUNTER_X(SESSIONS, "sessions_accepted", "client connections accepted")
COUNTER_X(SESSIONS_ENDED, "sessions_ended", "client connections ended")
COUNTER_X(NOT_HTTP, "sessions_not_http", "connections whose first byte was not HTTP")
COUNTER_X(TLS_FULL, "tls_handshakes", "TLS handshakes with clients that were completed in full")
COUNTER_X(TLS_RESUMED, "tls_resumptions", "TLS sessions of clients that were resumed")
COUNTER_X(TLS_FAILED, "tls_handshakes_failed", "TLS handshakes with clients that failed or were not finished in time")
COUNTER_X(PROXY_HEADERS_REFUSED, "proxy_headers_refused", "connections closed for a PROXY header that was missing, malformed, or from others than those named")
COUNTER_X(HANDED_OVER, "sessions_handed_over", "connections given to a less busy worker")
COUNTER_X(TURNED_AWAY, "sessions_turned_away", "connections over a capacity that were answered and closed when they were accepted")
COUNTER_X(EXCHANGES, "exchanges_begun", "requests begun")
COUNTER_X(EXCHANGES_ENDED, "", "requests ended; the metrics have them by reason")
COUNTER_X(TUNNELS, "tunnels_begun", "CONNECT and upgrade tunnels begun")
COUNTER_X(TUNNELS_ENDED, "tunnels_ended", "CONNECT and upgrade tunnels ended")
COUNTER_X(DNS_STALE, "dns_stale_answers", "answers of the resolver that were used past their time")
COUNTER_X(DIALS, "dials", "connections to origins begun")
COUNTER_X(POOL_HITS, "pool_hits", "requests sent on a kept connection")
COUNTER_X(REPLAYS, "replays", "requests sent again after a kept connection turned out dead")
COUNTER_X(BYTES_UP, "up_bytes", "content and tunnel bytes from clients to origins")
COUNTER_X(BYTES_DOWN, "down_bytes", "content and tunnel bytes from origins to clients")
COUNTER_X(LOG_DROPPED, "log_records_dropped", "access records dropped because the ring was full")
COUNTER_X(NO_MEMORY, "memory_refusals", "exchanges or sessions refused for lack of memory")
COUNTER_X(DRAIN_IDLE, "drain_idle", "client connections closed by a graceful stop while they were idle")
COUNTER_X(DRAIN_FINISHED, "drain_finished", "client connections whose last exchange ended in time during a graceful stop")
COUNTER_X(DRAIN_CUT, "drain_cut", "client connections cut by a graceful stop")
COUNTER_X(LOOP_STALLS, "loop_stalls", "turns of a worker that took more than a second of processor time; each was reported with its stack")
COUNTER_X(SWEEPS, "sweeps", "looks at sessions for wake-ups that were lost; none are made while nothing happens")
COUNTER_X(LOST_WAKEUPS, "lost_wakeups", "waits that a sweep had to end because their wake-up was lost; each is a defect")
COUNTER_X(LIMIT_WAIT_US, "", "microseconds that requests and bytes have waited for `limits`; the metrics have them as seconds")
#undef COUNTER_X
