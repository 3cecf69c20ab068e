/* SPDX-License-Identifier: MIT */
/* sim: the whole proxy in one thread, without sockets and without real time (the idea is unbound's
 * replay). A scenario is a C function that plays all clients and all origins; it is run once for
 * each way in which bytes can be delivered, and every run ends with a look for leaks. A scenario
 * says what a peer does, then what it expects: each expectation first lets the proxy run until
 * nothing moves any more. Time passes only in sim_advance.
 * SIM_MODE=n runs one mode only; SIM_ROUNDS=1 says how much was tried.
 * Owner of everything: the run. Thread: the test's. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "policy/policy.h"
#include "proxy/worker.h"
#include "sim/peer.h"

/* How bytes travel. Every mode must give the same result.
 * WHOLE     what is written arrives in one piece       BYTES     each byte is an event of its own,
 * both ways WINDOW_7  a peer has room for seven bytes, both ways  WINDOW_1  for one */
enum sim_mode { SIM_WHOLE = 0, SIM_BYTES, SIM_WINDOW_7, SIM_WINDOW_1, SIM_MODES };

enum { SIM_ROOM = 128 * 1024, SIM_ORIGINS = 16, SIM_START_MS = 1000000 };

/* What happens to who dials this address. Not one that is listed here: the scenario is wrong. */
enum origin_kind { ORIGIN_LISTENS = 0, ORIGIN_REFUSES, ORIGIN_SILENT, ORIGIN_UNROUTABLE };

struct origin {
    struct sim *sim;
    struct addr addr;
    enum origin_kind kind;
    int error;           /* UNROUTABLE: what dial says at once, negative */
    uint64_t latency_ms; /* until established or refused */
    unsigned dials;
    uint64_t dialled_ms; /* when it was dialled last, since the start */
    struct list backlog; /* established, not yet accepted by the scenario */
    const char *address;
};

struct scenario {
    const char *name;
    void (*run)(struct sim *s);
    bool bulk; /* moves much: windows are 997 bytes, and single bytes become pieces */
};

struct sim {
    struct worker worker;
    struct proxy_conf conf; /* a scenario may change timeouts at any time */
    struct policy policy;
    struct policy_clients clients[POLICY_CLIENTS_OWN];
    struct snapshot_listen listen;
    struct snapshot snap;
    struct resolve_conf resolve;
    struct board *board;
    struct capacity *capacity;
    struct charge_table *charges; /* a scenario may give the snapshot limits */
    uint64_t mem_before; /* bytes counted when it began */
    const struct scenario *scenario;
    enum sim_mode mode;
    uint64_t now_us, target_us;
    uint64_t back_us;      /* the monotonic clock, as the proxy sees it, is that much behind */
    int64_t wall_shift_ms; /* the time of day has been set */
    bool delivered; /* the last wait brought something */
    unsigned idle_turns;
    uint64_t turns;
    struct origin origins[SIM_ORIGINS];
    unsigned n_origins;
    struct list peers; /* all there have been, oldest first */
    unsigned n_clients;
    unsigned n_conns; /* alive in the proxy */
    bool sweep_as_live; /* once in ten seconds, not in every turn */
    unsigned n_lost;  /* wake-ups that the scenario loses on purpose */
    struct sim *next_failed;
    char fault[256]; /* found inside the proxy's call; told when the scenario goes on */
};

/* ---- running ---- */

#define SIM_TEST(f)                                                                                \
    {                                                                                              \
#f, sim_test, NULL, NULL, &(struct scenario)                                               \
        {                                                                                          \
#f, f, false                                                                           \
        }                                                                                          \
    }
#define SIM_TEST_BULK(f)                                                                           \
    {                                                                                              \
#f, sim_test, NULL, NULL, &(struct scenario)                                               \
        {                                                                                          \
#f, f, true                                                                            \
        }                                                                                          \
    }
void sim_test(void **state); /* *state is a scenario: runs it in every mode */

/* For tests that drive the runs themselves. */
struct sim *sim_start(const struct scenario *scenario, enum sim_mode mode);
void sim_end(struct sim **s); /* drains, looks for leaks, frees */
extern char
    sim_note[128]; /* printed when the process aborts or an expectation fails: a seed, a round */
void sim_fail(struct sim *s, const char *fmt, ...) PRINTF(2, 3) NORETURN;
#define SIM_EXPECT(s, cond)                                                                        \
    do {                                                                                           \
        if (!(cond))                                                                               \
            sim_fail(s, "line %d: not so: %s", __LINE__, #cond);                                   \
    } while (0)
#define SIM_EQUAL(s, a, b)                                                                         \
    do {                                                                                           \
        long long a_ = (long long)(a), b_ = (long long)(b);                                        \
                                                                                                   \
        if (a_ != b_)                                                                              \
            sim_fail(s, "line %d: %s is %lld, not %lld", __LINE__, #a, a_, b_);                    \
    } while (0)

void sim_run(struct sim *s);                  /* until nothing moves */
void sim_some(struct sim *s, unsigned turns); /* so many turns of the loop */
void sim_advance(struct sim *s, uint64_t ms); /* lets time pass, too */
/* The clock leaps, as over a suspend: what peers have sent is there when the proxy looks again. */
void sim_leap(struct sim *s, uint64_t ms);
uint64_t sim_ms(const struct sim *s); /* since the start */
/* Lets time pass until the peer has seen an end, and expects it between from_ms and to_ms from now.
 */
void sim_expect_end_within(struct sim *s, struct peer *p, enum peer_end end, uint64_t from_ms,
                           uint64_t to_ms);

/* ---- the world ---- */

struct peer *sim_client(struct sim *s);
struct peer *sim_client_from(struct sim *s, const char *address); /* "192.0.2.77:1" */
struct origin *origin_listen(struct sim *s, const char *address); /* "192.0.2.1:80" */
struct origin *origin_refuse(struct sim *s, const char *address);
struct origin *origin_blackhole(struct sim *s, const char *address);
struct origin *origin_unroutable(struct sim *s, const char *address, int error);
struct peer *origin_accept(struct origin *o);
void origin_expect_dials(struct origin *o, unsigned n);
void origin_expect_no_more(struct origin *o); /* nobody waits to be accepted */

/* ---- counters ---- */

uint64_t sim_count(struct sim *s, enum counter c);
uint64_t sim_ends(struct sim *s, enum end_reason r);
void sim_expect_ends(struct sim *s, enum end_reason r, uint64_t n);
void sim_expect_sessions(struct sim *s, unsigned n);
size_t sim_buffered(const struct sim *s); /* bytes in leased blocks now */

#endif
