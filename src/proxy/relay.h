/* SPDX-License-Identifier: MIT */
/* relay: moves bytes between two streams and passes ends on as what they are; does not know what the streams are. A pump is one
 * direction; a relay is two of them plus what an end of one means for the other.
 * A pump asks the sink for room, then the source for at most that, and writes from the worker's scratch buffer; when a read fills
 * the buffer and both sides are plain sockets it splices through a lent pipe instead. Memory: a tail in the sink, or a pipe.
 * Owner: the exchange, embedded. Thread: its worker's. */
#ifndef PROXY_RELAY_H
#define PROXY_RELAY_H

#include "io/pipes.h"
#include "mux/stream.h"

#include <stdint.h>

struct charge;
struct loop;

/* OFF not started · RUN · FLUSH the source ended, the sink still writes · DONE ended in order · DEAD the sink broke */
enum pump_state { PUMP_OFF = 0, PUMP_RUN, PUMP_FLUSH, PUMP_DONE, PUMP_DEAD };

/* WAIT for RX or TX · HELD: a limit lets nothing more be read now, and wakes the task, or the exchange has to end (charge.h) · MORE the budget is used up, go on in the bulk queue · ENDED in order · the side that broke */
enum pump_result { PUMP_WAIT, PUMP_HELD, PUMP_MORE, PUMP_ENDED, PUMP_FROM_BROKE, PUMP_TO_BROKE };

/* BITE: what a splice takes while small messages of others come. FRAMING: so much of a full read may have been a chunk's line and trailers. */
enum { PUMP_COPY = 16384, PUMP_FRAMING = 64, PUMP_BITE = 65536, PUMP_BUDGET_COPY = 4, PUMP_BUDGET_SPLICE = 1 };

/* What of an upload is kept so that the request can be sent again. */
struct replay {
    char *p;
    uint32_t n, cap;
    uint32_t sent; /* how much of it the present upstream has been given */
    bool lost;     /* more came than is kept: no replay */
};
enum { REPLAY_MAX = 65536 };

struct pump {
    struct pipe *pipe;     /* lent while bytes are inside, and while more of the same is expected; else NULL */
    uint64_t bytes;        /* read from the source */
    struct replay *replay; /* upload only; NULL: nothing is kept */
    enum pump_state state;
    bool filled;  /* the last read filled the buffer: try to splice */
    bool wants_tx; /* WAIT is for the sink */
    bool held;     /* HELD: whatever the source has is not waited for */
};

/* CUT: one side was reset; what the other still has to get is written, for CUT_MS at most, before it is reset too. The same time
 * bounds a reset behind a sink that takes nothing (active_ms stands still). With the grace of conn_reset, which may follow, a
 * reset is passed on within two seconds. */
enum relay_state { RELAY_RUN = 0, RELAY_CUT };
/* BULK_MS: so long after its last full read a relay counts as one that moves bulk. */
enum { RELAY_CUT_MS = 700, RELAY_BULK_MS = 100 };

struct relay {
    struct pump up, down;
    struct charge *charge; /* the exchange's; NULL: no limit is about it */
    uint64_t active_ms; /* when bytes moved last */
    uint64_t bulk_ms;   /* when a read filled the buffer last; 0: never */
    enum relay_state state;
    uint64_t cut_until_ms;
};

enum relay_result {
    RELAY_WAIT,
    RELAY_MORE,
    RELAY_ENDED,         /* both directions ended in order */
    RELAY_CLIENT_BROKE, /* reset both sides now; the stream's fault says why */
    RELAY_UPSTREAM_BROKE,
};

void pump_start(struct pump *p, struct replay *replay);
enum pump_result pump_run(struct pump *p, struct loop *loop, struct stream *from, struct stream *to) MUST_USE;
/* The same for a pump of r, within the limits that hold. */
enum pump_result relay_pump(struct relay *r, struct loop *loop, struct pump *p, struct stream *from, struct stream *to) MUST_USE;
/* Gives back what it holds. Any state. */
void pump_stop(struct pump *p, struct loop *loop);

/* A tunnel: runs both pumps. */
enum relay_result relay_run(struct relay *r, struct loop *loop, struct stream *client, struct stream *upstream) MUST_USE;
void relay_stop(struct relay *r, struct loop *loop);
/* The source of p was reset by its peer. What was read from it still goes to the sink (flush it until cut_until_ms), then that is
 * to be reset as well. */
void relay_cut(struct relay *r, struct loop *loop, struct pump *p);
/* It moves bulk, or did a moment ago. To be asked after each run. */
bool relay_is_bulk(struct relay *r, const struct loop *loop);
/* One direction has seen its FIN; or both, and something is still to be written. */
bool relay_half_closed(const struct relay *r);

void replay_done(struct replay *r);

#endif
