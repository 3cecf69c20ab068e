/* SPDX-License-Identifier: MIT */
/* mux_h2: HTTP/2 (RFC 9113) in both roles, over nghttp2, which nobody else includes. Many streams on one conn; each exchange sees the stream seam only.
 *
 * Its task runs the connection: it reads what there is (bounded a run), hands frames to streams' queues and wakes their tasks, and writes once a turn (loop's flush
 * phase) whatever all streams have queued, many frames a system call. What nobody waits for costs nothing.
 * Flow control: the connection's window is returned on receipt; a stream's when its pump takes the bytes. Stream windows begin at `window` and grow, up to `window_max`
 * and as long as the worker's `credit` lasts, when the sink has drained one within two and a half round trips: the kernel's, or a PING's where that is longer. So a stalled stream holds what its window granted and no more, and the others go on.
 * In heads: pseudo-fields become the neutral head's members and back. Extended CONNECT (RFC 8441) is the neutral head's `protocol` with method GET, its 2xx the
 * neutral 101. Cookie crumbs are joined (C58). Host and :authority must agree (C59). Connection fields, upper case, CR, LF, NUL: the stream ends with PROTOCOL_ERROR (C56).
 * Ends: END_STREAM is FIN, RST_STREAM is RST, both ways (C62, C63): a reset of a tunnel is CONNECT_ERROR, of a message whose head is gone INTERNAL_ERROR, a client's
 * lost interest CANCEL. An answer that is complete before its request: END_STREAM, then RST_STREAM(NO_ERROR).
 * Silence (client role): while somebody waits for an answer and nothing at all has come for 5 s, or a request goes out on a connection that has been silent for so long, a PING asks
 * whether the connection leads anywhere. While its answer is late nobody gets a new stream; after reach_ms the connection is given up: streams whose answers have not begun break
 * (UPSTREAM_TIMEOUT), the others stay as they are. Nobody waits: no timer, no PING.
 * Owner, freed by: as mux.h says. Memory: see ginnel.yaml(5), `h2`. */
#ifndef MUX_MUX_H2_H
#define MUX_MUX_H2_H

#include "mux/mux.h"

#include <stdint.h>

/* What windows may still be grown by, of one worker. Owner: the worker; its thread. */
struct h2_credit {
    uint64_t left, all;
};

/* Floods are counted a connection: events that a peer can make at no cost to itself fill a bucket that holds `*_burst` and empties at `*_rate` a second; over it: GOAWAY
 * ENHANCE_YOUR_CALM, closed (C65, FAILURES 18 to 20). */
struct h2_conf {
    const struct h1_limits *heads; /* line (a field's size), head (all of them), fields */
    uint32_t streams;              /* server: at the same time (SETTINGS_MAX_CONCURRENT_STREAMS). client: our own bound beside the peer's */
    uint32_t window, window_max;   /* of a stream, bytes */
    uint32_t resets_rate, resets_burst; /* RST_STREAM received, and streams that end by a fault of the peer's (MadeYouReset) */
    uint32_t control_rate, control_burst; /* PING, SETTINGS, PRIORITY, empty frames, WINDOW_UPDATE of less than 1 KB on average */
    uint64_t settings_ms, stall_ms; /* until the peer's SETTINGS and their ACK; how long queued bytes may not move (tiny windows, a peer that does not read) */
    uint64_t reach_ms;              /* client: so long after a PING for whose sake nothing came; then the connection leads nowhere */
    struct h2_credit *credit;       /* NULL: unbounded */
};
extern const struct h2_conf h2_conf_default; /* what the manual says; heads and credit NULL */

/* Whether these bytes are, or can still become, the client's preface. */
enum h2_preface { H2_PREFACE_NO = 0, H2_PREFACE_MORE, H2_PREFACE_YES };
enum h2_preface mux_h2_preface(const void *p, size_t n);
enum { H2_PREFACE_LEN = 24 };

#endif
