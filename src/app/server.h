/* SPDX-License-Identifier: MIT */
/* server: everything that a running ginnel holds besides its sessions. Private to serve (start and end), house (signals, time, stopping), reload
 * and the site. The main thread runs the house: a worker that serves the admin address and the control socket, and no traffic.
 * Owner: serve(). Thread: the main one; workers see the editions' snapshots only. */
#ifndef APP_SERVER_H
#define APP_SERVER_H

#include "app/edition.h"
#include "app/filewatch.h"
#include "app/quota_file.h"
#include "app/programs.h"
#include "app/site.h"
#include "app/tls_sets.h"
#include "proxy/worker.h"

#include <signal.h>

enum {
    SERVER_FACTS = 8192,  /* entries of the board */
    SERVER_HELPERS = 4,   /* threads for blocking work */
    SERVER_HELPER_QUEUE = 1024,
    SERVER_VERIFIERS = 4,
    SERVER_VERIFIER_QUEUE = 256, /* a hash takes some 10 to 100 ms */
    SERVER_TICK_MS = 20,  /* while stopping: how often the workers are looked at */
    SERVER_BUSY_MS = 5000, /* how long a reload waits for a file that is being written */
    SERVER_APPLY_MS = 2000, /* how long one waits for the workers to apply the last one */
    SERVER_SETTLE_MS = 10,
    SERVER_SETTLE_BAD_MS = 60,
    SERVER_LOADS = 3, /* how often files are read that change while they are */
    SERVER_TEXT = 512,
    SERVER_SEEN_MS = 20, /* how long a thread has to say what it runs */
};

/* DEAF: draining, and the listeners are closed */
enum house_phase { HOUSE_START = 0, HOUSE_RUN, HOUSE_DRAIN, HOUSE_DEAF, HOUSE_STOP };

enum reload_cause { RELOAD_BY_HUP = 0, RELOAD_BY_CONTROL, RELOAD_BY_FILE, RELOAD_BY_AGE };

/* Asked of a worker by the watchdog, and not yet answered while `out`. */
struct server_ping {
    struct msg msg;
    _Atomic bool out;
    bool said; /* the stack of this standstill is in the log */
};

struct server {
    enum house_phase phase;
    const struct conf_args *args;
    struct edition *current;
    struct list retired; /* editions that somebody may still read */
    unsigned generation;
    struct listeners listeners;
    int n_handed; /* sockets from systemd, or negative: its variables make no sense */
    char *control; /* its path; NULL: none */
    struct board *board;
    struct helper_pool *helpers;
    struct helper_pool *verifiers; /* of passwords */
    struct programs programs;
    struct capacity *capacity;
    struct denials *denials;
    struct charge_table *charges;
    struct quota_file *quotas; /* NULL: no limit has had a quota, or it cannot be kept */
    bool quotas_tried;
    struct access_log *log;
    struct tls_keylog *keylog; /* NULL: none */
    struct tls_house tls;
    bool tls_made;
    struct worker house;
    struct site_ops site;
    bool house_made;
    struct worker *workers[WORKER_MAX];
    unsigned n_workers, n_started;
    uint64_t start_wall_ms;

    /* the house's own */
    struct task task;        /* signals, time, what workers have let go of */
    struct timer timer;      /* the next tick */
    struct watch signals;
    unsigned pending;        /* signals that came, a bit each */
    struct msg retire_msg;
    _Atomic bool retire_posted;
    struct server_ping pings[WORKER_MAX];
    uint64_t watchdog_ms, watchdog_at_ms;
    struct task dump_task;
    struct timer dump_timer;
    char *dump;              /* one that is being written; NULL: none */
    size_t dump_at;
    unsigned drain_asked;    /* how often */
    uint64_t drain_until_ms; /* of the house's clock; UINT64_MAX: no limit */

    /* reload */
    struct filewatch *files;
    struct task files_task;
    uint64_t reload_at_ms;   /* one that waits for a busy file: its next try; 0: none waits */
    uint64_t reload_until_ms;
    enum reload_cause reload_why;
    struct worker_change change;
    struct worker_change_listen added[LISTENERS_MAX];
    unsigned removed_ids[LISTENERS_MAX];
    struct listen_socket *removed[LISTENERS_MAX];
    unsigned n_removed;
    bool change_open;        /* workers have still to apply it, or its sockets to be closed */
    enum reload_result last_result;
    uint64_t last_reload_wall_ms, last_good_wall_ms;
    uint64_t reloads[RELOAD_RESULTS]; /* by result; NONE: refused, not now */
    char *last_errors;       /* of the last reload, if it failed */
    char last_text[SERVER_TEXT]; /* its line */
};

/* house.c */
/* Those that the house reads, and everybody else has blocked. */
void house_signals(sigset_t *ret_set);
int house_start(struct server *s) MUST_USE;
void house_run(struct server *s); /* until everything has stopped */
void house_done(struct server *s);
/* Begins to stop, or hurries: grace as in worker_drain. */
void house_drain(struct server *s, uint64_t grace_ms);
/* From any thread: a snapshot is used by one worker less, or a change has been applied. */
void house_notice(struct server *s);
/* The snapshots' released(): owner is the server. */
void house_released(void *owner);

/* house_site.c */
void house_site(struct server *s); /* fills s->site */
char *house_dump_text(struct server *s); /* what USR2 writes; mem_free. NULL: memory refused */
/* How long a worker's present turn has been running; 0: it waits. */
uint64_t house_turn_ms(const struct worker *w);

/* house_dump.c */
void house_dump_start(struct server *s);
void house_dump(struct server *s); /* USR2 */
void house_dump_done(struct server *s);

/* serve.c */
/* From the first quota on what they count is kept on disk. */
void serve_keep_quotas(struct server *s, const struct conf *c);

/* reload.c */
/* Puts the configuration into service that is on disk now, or says why not; a line in s->last_text, errors in s->last_errors. NONE: not now. */
enum reload_result reload_now(struct server *s, enum reload_cause why);
/* The same as soon as no file is being written. */
void reload_soon(struct server *s, enum reload_cause why);
/* Called by the house when reload_at_ms has come. */
void reload_again(struct server *s);
/* Called by the house: what may be freed and closed by now is. */
void reload_retire(struct server *s);
/* Which files to watch from now on: the current edition's. */
void reload_watch(struct server *s);
/* The lines of new listeners: "listening on", "admin on", "control on"; with `first` of those, too, that systemd handed over. */
void reload_say_listeners(const struct listeners_plan *p, bool first);

#endif
