/* SPDX-License-Identifier: MIT */
/* What a worker counts. X(id, "name", "sentence") */
#ifndef COUNTER_X
#error "define COUNTER_X first"
#endif
COUNTER_X(SESSIONS, "sessions", "client connections accepted")
COUNTER_X(SESSIONS_ENDED, "sessions_ended", "client connections ended")
COUNTER_X(NOT_HTTP, "not_http", "connections whose first byte was not HTTP")
COUNTER_X(HANDED_OVER, "handed_over", "connections given to a less busy worker")
COUNTER_X(EXCHANGES, "exchanges", "requests begun")
COUNTER_X(EXCHANGES_ENDED, "exchanges_ended", "requests ended")
COUNTER_X(TUNNELS, "tunnels", "CONNECT and upgrade tunnels begun")
COUNTER_X(DIALS, "dials", "connections to origins begun")
COUNTER_X(POOL_HITS, "pool_hits", "requests sent on a kept connection")
COUNTER_X(REPLAYS, "replays", "requests sent again after a kept connection turned out dead")
COUNTER_X(BYTES_UP, "bytes_up", "content and tunnel bytes from clients to origins")
COUNTER_X(BYTES_DOWN, "bytes_down", "content and tunnel bytes from origins to clients")
COUNTER_X(LOG_DROPPED, "log_dropped", "access records dropped because the ring was full")
COUNTER_X(NO_MEMORY, "no_memory", "exchanges or sessions refused for lack of memory")
#undef COUNTER_X
