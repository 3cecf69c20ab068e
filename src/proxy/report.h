/* SPDX-License-Identifier: MIT */
/* report: what a worker is doing, written down by itself on its own thread for whoever asks (status, USR2, metrics). Values only, nothing borrowed.
 * Owner: the asker. Thread: report_fill on the worker's; the rest any. */
#ifndef PROXY_REPORT_H
#define PROXY_REPORT_H

#include "io/addr.h"
#include "proxy/stats.h"

#include <stdbool.h>
#include <stdint.h>

struct worker;

enum { REPORT_HOST_MAX = 64, REPORT_METHOD_MAX = 16, REPORT_TRAIL = 12 };

struct report_xchg {
    uint64_t id, age_ms, quiet_ms; /* since it began; since its relay moved bytes last */
    uint64_t bytes_up, bytes_down;
    struct addr client, peer; /* peer: family 0 before it is dialled */
    uint16_t port, status;
    bool tunnel;
    uint8_t step;                /* enum xstep */
    uint8_t trail[REPORT_TRAIL]; /* the last transitions, newest last; 0 may mean none */
    uint64_t deadline_ms;        /* until its deadline; UINT64_MAX: none */
    char method[REPORT_METHOD_MAX], host[REPORT_HOST_MAX]; /* cut, NUL-terminated */
};

/* What a session is doing: without an exchange, or the step of its exchange (REPORT_STEP + enum xstep). */
enum report_state {
    REPORT_GREET = 0, /* no byte has come */
    REPORT_IDLE,      /* between requests */
    REPORT_LEAVING,   /* its last answer is being written, or the rest of a request thrown away */
    REPORT_LINGER,
    REPORT_STEP,
    REPORT_STATES = REPORT_STEP + 11
};

/* One connection of a session. */
struct report_side {
    bool there;
    uint8_t ready; /* CONN_RX | CONN_TX: may be tried */
    bool hup, eof, shut;
    int error;            /* negative; 0: none */
    uint8_t rx, tx;       /* enum stream_state; of an exchange */
    size_t unread, unsent; /* bytes that wait there */
};

struct report_pump {
    uint8_t state; /* enum pump_state */
    bool full;     /* it waits for its sink */
    size_t piped;  /* bytes in its pipe */
};

struct report_session {
    uint8_t state; /* enum report_state */
    bool queued;   /* it runs in this turn or the next */
    uint64_t age_ms, deadline_ms; /* until its deadline; UINT64_MAX: none */
    uint8_t deadline_reason;      /* enum end_reason; of an exchange */
    struct report_xchg x;         /* with an exchange; of others only client */
    struct report_side client, upstream;
    struct report_pump up, down;
};

/* SESSIONS: of one worker in a dump. FRONT and BACK: how many of the oldest and of the youngest are looked at: whoever has a hundred thousand must not stand still
 * for a question. */
enum { REPORT_SESSIONS = 200, REPORT_FRONT = 12288, REPORT_BACK = 2048 };

struct report_worker {
    unsigned id, generation; /* of its snapshot */
    int phase;               /* enum worker_phase */
    uint64_t turns, tasks;
    unsigned sessions, exchanges, tunnels, pooled, lookups; /* now */
    unsigned small, bulk, timers; /* tasks that wait in the loop's queues (REPORT_FRONT at most); timers that run */
    struct report_xchg *v;   /* the oldest exchanges; the asker's memory */
    unsigned n, cap;         /* n of exchanges are in v */
    struct report_session *s; /* the oldest in each state, by state; the asker's memory */
    unsigned n_s, cap_s;      /* cap_s: REPORT_SESSIONS at most */
    unsigned states[REPORT_STATES]; /* with cap_s: how many of those looked at are in which */
    unsigned looked;
};

/* Fills r (whose v, cap, s and cap_s the asker set) from w. Looks at REPORT_FRONT + REPORT_BACK sessions at most. */
void report_fill(const struct worker *w, struct report_worker *r);
const char *report_state_name(unsigned state);

#endif
