/* SPDX-License-Identifier: MIT */
/* view_sample: a server as metrics and status see it: two workers, one of which does not answer, one tunnel, one hostile request. Include it once a
 * program, behind cmocka.h. */
#ifndef TESTS_VIEW_SAMPLE_H
#define TESTS_VIEW_SAMPLE_H

#include "app/view.h"
#include "base/check.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <string.h>

enum { SAMPLE_WORKERS = 2, SAMPLE_XCHGS = 2 };

static struct stats sample_stats[SAMPLE_WORKERS];
static struct view_worker sample_workers[SAMPLE_WORKERS];
static struct view_listener sample_listeners[3];
static struct report_xchg sample_xchgs[SAMPLE_XCHGS];
/* a report_all of so many workers */
static _Alignas(struct report_all) char sample_room[sizeof(struct report_all) + SAMPLE_WORKERS * sizeof(struct report_answer)];

static inline struct report_all *sample_reports(void)
{
    return (struct report_all *)(void *)sample_room;
}

static inline void sample_exchanges(void)
{
    sample_xchgs[0] = (struct report_xchg){
        .id = 7, .age_ms = 3723000, .quiet_ms = 4000, .deadline_ms = 56000, .bytes_up = 1234, .bytes_down = 5600000,
        .port = 443, .status = 200, .tunnel = true, .step = STEP_RELAY, .method = "CONNECT", .host = "example.com",
        .trail = {STEP_HEAD, STEP_HEAD, STEP_HEAD, STEP_AUTH, STEP_POLICY, STEP_RESOLVE, STEP_POLICY, STEP_ROUTE, STEP_DIAL, STEP_SEND, STEP_REPLY, STEP_RELAY},
    };
    addr_v4(&sample_xchgs[0].client, (const uint8_t[4]){127, 0, 0, 1}, 50001);
    addr_v4(&sample_xchgs[0].peer, (const uint8_t[4]){192, 0, 2, 1}, 443);
    sample_xchgs[1] = (struct report_xchg){
        .id = 281474976710657, .age_ms = 12, .quiet_ms = 12, .deadline_ms = UINT64_MAX, .step = STEP_HEAD,
        .method = "G\x1b[31mT", .host = "a\r\nb\xff\"\\",
    };
    addr_v4(&sample_xchgs[1].client, (const uint8_t[4]){127, 0, 0, 2}, 50002);
}

static inline struct server_view sample_view(void)
{
    memset(sample_stats, 0, sizeof(sample_stats));
    memset(sample_room, 0, sizeof(sample_room));
    for (unsigned i = 0; i < SAMPLE_WORKERS; i++)
        sample_workers[i] = (struct view_worker){.id = i, .stats = &sample_stats[i], .turns = 100 + i};
    sample_listeners[0] = (struct view_listener){.address = "127.0.0.1:3128", .name = "everyone", .role = LISTEN_PROXY};
    sample_listeners[1] = (struct view_listener){.address = "[::1]:8128", .role = LISTEN_ADMIN};
    sample_listeners[2] = (struct view_listener){.address = "unix:/run/ginnel/control", .role = LISTEN_CONTROL};
    sample_exchanges();
    sample_reports()->n = SAMPLE_WORKERS;
    sample_reports()->n_came = 1;
    sample_reports()->v[0] = (struct report_answer){
        .came = true,
        .r = {.id = 0, .generation = 3, .phase = WORKER_RUN, .turns = 100, .tasks = 200, .sessions = 5, .exchanges = 4, .tunnels = 1,
              .pooled = 2, .lookups = 1, .v = sample_xchgs, .n = SAMPLE_XCHGS, .cap = SAMPLE_XCHGS},
    };
    sample_reports()->v[1].r.id = 1;
    return (struct server_view){
        .version = "1.2.3",
        .file = "/etc/ginnel/ginnel.yaml",
        .now_ms = 1700000300500,
        .start_ms = 1700000000250,
        .phase = SERVER_READY,
        .generation = 3,
        .n_snapshots = 2,
        .reload = {.at_ms = 1700000200000, .success_ms = 1700000100125, .result = RELOAD_OK, .counts = {0, 2, 1, 4}},
        .log = {.written = 11, .lost = 12, .failing = 1},
        .process = {.pid = 4711, .resident_bytes = 12345678, .open_fds = 42, .max_fds = 1024},
        .capacity = {.connections = 5, .connections_limit = 50000, .memory = 3000000, .memory_limit = 1 << 30},
        .listeners = sample_listeners,
        .n_listeners = 3,
        .workers = sample_workers,
        .n_workers = SAMPLE_WORKERS,
        .reports = sample_reports(),
        .n_exchanges = 20,
    };
}

#endif
