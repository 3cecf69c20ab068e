/* SPDX-License-Identifier: MIT */
/* greet: what a client's connection says before its first request: who it is for (a PROXY header), whether it speaks TLS, and which HTTP. Called by the session in its
 * states GREET and TLS; decides from the first bytes, keeps them while they do not decide yet, and changes nothing in what the mux will read.
 *
 * TLS handshakes take a place each, of those that `capacity.handshakes` gives a worker (an equal share). A place is taken once the ClientHello is whole: who sends half a one
 * holds a buffer and nothing else. Where all places are taken the next waits for its turn, within its deadline; after GREET_STALE_MS the oldest gives way.
 * Owner: session and worker. Thread: the worker's. */
#ifndef PROXY_GREET_H
#define PROXY_GREET_H

#include "base/list.h"
#include "base/slice.h"
#include "io/addr.h"

#include <stdbool.h>
#include <stdint.h>

struct session;
struct snapshot_listen;
struct worker;

enum {
    GREET_STALE_MS = 1500,       /* a handshake that others wait for: a round trip of the worst networks, and some */
    GREET_HEADER_LEAST_MS = 3000, /* PROXY protocol, 2: at least this long is waited for a header (a lost segment and its retransmission) */
};

/* What is known of the connection: nothing; whose it is; and it is inside TLS. */
enum greet_phase { GREET_NEW = 0, GREET_ADDRESSED, GREET_SECURED };
/* A place among the handshakes. */
enum greet_place { GREET_PLACE_NONE = 0, GREET_PLACE_WAITS, GREET_PLACE_HELD };

struct greet_kept;
/* A session's part. Zeroed: nothing has been said. */
struct greet {
    enum greet_phase phase;
    enum greet_place place;
    struct list link;        /* in the worker's list that the place says */
    struct greet_kept *kept; /* bytes that did not decide yet; NULL: none */
    uint64_t since_ms;       /* when the place was taken */
};

/* A worker's part. */
struct greet_desk {
    struct list waiting, shaking; /* oldest first */
    unsigned n_shaking;
};
void greet_desk_init(struct greet_desk *d);

/* WAIT: nothing to do until the task is woken. END: close. LINGER: an answer was written, close when it has been read. TLS: session->conn is the TLS conn. H1, H2: a mux
 * begins, *ret_early is what was read already, valid until the next call. */
enum greet_next { GREET_WAIT = 0, GREET_END, GREET_LINGER, GREET_TLS, GREET_H1, GREET_H2 };
enum greet_next greet_read(struct session *s, struct slice *ret_early);
/* In state TLS. WAIT; END; otherwise (H1) the handshake is over: greet_read goes on inside. */
enum greet_next greet_shake(struct session *s);
/* The deadline has passed: what is said about it. */
void greet_late(struct session *s);
/* Gives up what it holds: the place, kept bytes. Any state is fine, and so is a second call. */
void greet_done(struct session *s);

/* Whether who connects from there has to begin with a PROXY header: then the peer's address is not the client's, and takes no place of `capacity.per-client`. */
bool greet_expects_header(const struct snapshot_listen *l, const struct addr *peer);

#endif
