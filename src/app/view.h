/* SPDX-License-Identifier: MIT */
/* view: everything that metrics and status tell, as values and borrowed arrays: both are pure functions of it. Filled by the server for one answer.
 * Owner: the server; what it points to lives as long as the answer is being made. Thread: the house's. */
#ifndef APP_VIEW_H
#define APP_VIEW_H

#include "app/report_all.h"
#include "io/stall.h"
#include "proxy/charge_table.h"
#include "proxy/access.h"
#include "proxy/snapshot.h"

enum server_phase { SERVER_STARTING = 0, SERVER_READY, SERVER_DRAINING };

enum reload_result { RELOAD_NONE = 0, RELOAD_OK, RELOAD_UNCHANGED, RELOAD_FAILED, RELOAD_RESULTS };

struct view_listener {
    const char *address; /* as bound */
    const char *name;    /* NULL: none */
    enum listen_role role;
};

/* A worker that carries traffic. */
struct view_worker {
    unsigned id;
    const struct stats *stats; /* read as atomics */
    uint64_t turns;            /* loop.heartbeat */
    uint64_t turn_ms;          /* how long its present turn has been running, when that is VIEW_TURN_MS or more; else 0 */
    bool seen_known;           /* it does not answer, but its thread was interrupted and said what it runs */
    struct stall_seen seen;
};
enum { VIEW_TURN_MS = 100 };

/* 0: not known */
struct view_process {
    uint64_t pid, resident_bytes, open_fds, max_fds;
};

/* `capacity`: what is in use, and what there may be. */
struct view_capacity {
    uint64_t connections, connections_limit, clients_limit; /* clients: each address's; 0: no limit */
    uint64_t memory, memory_limit;
};

struct server_view {
    const char *version;
    const char *file; /* the configuration's; NULL: none */
    uint64_t now_ms, start_ms; /* wall clock */
    enum server_phase phase;
    uint64_t drain_left_ms; /* DRAINING: until everything is cut; UINT64_MAX: no limit */
    unsigned generation, n_snapshots; /* n: alive */
    struct {
        uint64_t at_ms;            /* the last one, of whatever result; wall clock, 0: there was none */
        uint64_t success_ms;       /* when the configuration in use was last found good, the start included */
        enum reload_result result; /* of the last one */
        const char *errors;        /* FAILED: what was wrong, lines; may be NULL */
        uint64_t counts[RELOAD_RESULTS];
    } reload;
    struct access_counts log;
    struct view_process process;
    struct view_capacity capacity;
    struct charge_table_counts limits;
    const char *fingerprint; /* SHA-256 of the certificate of `tls: auto`; NULL: there is none */
    const struct view_listener *listeners;
    unsigned n_listeners;
    const struct view_worker *workers;
    unsigned n_workers;
    const struct report_all *reports; /* NULL: nobody was asked (metrics needs nobody) */
    unsigned n_exchanges;             /* how many of them all may be shown */
};

/* From /proc and the limits of this process. */
void view_process(struct view_process *ret_process);

/* Access records that no worker had room for. */
uint64_t view_log_dropped(const struct server_view *v);

const char *view_phase_name(enum server_phase p);
const char *view_reload_name(enum reload_result r);
const char *view_role_name(enum listen_role r);
const char *view_worker_phase_name(int phase); /* of a report */
/* Where the steps of the trail begin. */
unsigned view_trail(const struct report_xchg *x);

#endif
