/* SPDX-License-Identifier: MIT */
/* metrics: a function a group of families. Called on the main thread for each scrape; asks no worker, so that a scrape says something when the
 * workers do not. Never a host, a user, a path or an address: what strangers choose would make series without end.
 */
#include "app/metrics.h"

#include "app/text.h"

#include <stdatomic.h>

static uint64_t load(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

/* ---- the format ---- */

/* help: a sentence that begins small, for other places, and has no full stop. */
static void family(struct text *t, const char *name, const char *type, const char *help)
{
    char first = help[0] >= 'a' && help[0] <= 'z' ? (char)(help[0] - 32) : help[0];

    text_str(t, "# HELP ginnel_");
    text_str(t, name);
    text_str(t, " ");
    text_put(t, &first, 1);
    text_str(t, help + 1);
    text_str(t, ".\n# TYPE ginnel_");
    text_str(t, name);
    text_str(t, " ");
    text_str(t, type);
    text_str(t, "\n");
}

/* suffix: what follows the family's name, labels included. */
static void sample_name(struct text *t, const char *name, const char *suffix)
{
    text_str(t, "ginnel_");
    text_str(t, name);
    text_str(t, suffix);
    text_str(t, " ");
}

static void sample(struct text *t, const char *name, uint64_t v)
{
    sample_name(t, name, "");
    text_u64(t, v);
    text_str(t, "\n");
}

static void labelled(struct text *t, const char *name, const char *label, const char *value, uint64_t v)
{
    text_printf(t, "ginnel_%s{%s=\"%s\"} ", name, label, value);
    text_u64(t, v);
    text_str(t, "\n");
}

static void gauge(struct text *t, const char *name, const char *help, uint64_t v)
{
    family(t, name, "gauge", help);
    sample(t, name, v);
}

static void counter(struct text *t, const char *name, const char *help, uint64_t v)
{
    family(t, name, "counter", help);
    sample(t, name, v);
}

/* Decimal, exact, without the zeros at its end; never a locale's comma. */
static void put_fraction(struct text *t, uint64_t v, uint32_t unit)
{
    text_u64(t, v / unit);
    v %= unit;
    if (v)
        text_str(t, ".");
    while (v) {
        unit /= 10;
        text_u64(t, v / unit);
        v %= unit;
    }
}

static void put_us(struct text *t, uint64_t us)
{
    put_fraction(t, us, 1000000);
}

/* ---- sums over the workers ---- */

static uint64_t sum_of(const struct server_view *v, enum counter c)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < v->n_workers; i++)
        sum += stats_get(v->workers[i].stats, c);
    return sum;
}

/* The end is read first: what ends in between is counted as still there, and nothing is ever less than none. */
static uint64_t still(const struct stats *s, enum counter begun, enum counter ended)
{
    uint64_t gone = atomic_load_explicit(&s->v[ended], memory_order_acquire);
    uint64_t come = stats_get(s, begun);

    return come > gone ? come - gone : 0;
}

static uint64_t still_all(const struct server_view *v, enum counter begun, enum counter ended)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < v->n_workers; i++)
        sum += still(v->workers[i].stats, begun, ended);
    return sum;
}

/* ---- groups ---- */

static void put_counters(struct text *t, const struct server_view *v)
{
    static const struct {
        const char *name, *shown, *help;
    } rows[COUNTER_COUNT] = {
#define COUNTER_X(id, name, text) [COUNTER_##id] = {name, name "_total", text},
#include "tbl/counters.h"
    };

    for (unsigned c = 0; c < COUNTER_COUNT; c++)
        if (rows[c].name[0])
            counter(t, rows[c].shown, rows[c].help, sum_of(v, (enum counter)c));
}

static void put_ends(struct text *t, const struct server_view *v)
{
    family(t, "exchanges_ended_total", "counter", "requests ended, by the reason that the access log has too");
    for (unsigned r = END_NONE + 1; r < END_COUNT; r++) {
        uint64_t sum = 0;

        for (unsigned i = 0; i < v->n_workers; i++)
            sum += load(&v->workers[i].stats->ends[r]);
        labelled(t, "exchanges_ended_total", "reason", end_info((enum end_reason)r)->token, sum);
    }
}

static void put_now(struct text *t, const struct server_view *v)
{
    gauge(t, "sessions", "client connections now", still_all(v, COUNTER_SESSIONS, COUNTER_SESSIONS_ENDED));
    gauge(t, "exchanges", "requests under way now, tunnels included", still_all(v, COUNTER_EXCHANGES, COUNTER_EXCHANGES_ENDED));
    gauge(t, "tunnels", "CONNECT and upgrade tunnels now", still_all(v, COUNTER_TUNNELS, COUNTER_TUNNELS_ENDED));
}

static void put_workers(struct text *t, const struct server_view *v)
{
    family(t, "worker_sessions", "gauge", "client connections now, by worker");
    for (unsigned i = 0; i < v->n_workers; i++) {
        text_printf(t, "ginnel_worker_sessions{worker=\"%u\"} ", v->workers[i].id);
        text_u64(t, still(v->workers[i].stats, COUNTER_SESSIONS, COUNTER_SESSIONS_ENDED));
        text_str(t, "\n");
    }
    family(t, "worker_loop_turns_total", "counter", "rounds of the worker's loop: one that stands still while there is traffic is stuck");
    for (unsigned i = 0; i < v->n_workers; i++) {
        text_printf(t, "ginnel_worker_loop_turns_total{worker=\"%u\"} ", v->workers[i].id);
        text_u64(t, v->workers[i].turns);
        text_str(t, "\n");
    }
    family(t, "worker_turn_seconds", "gauge", "how long the worker's present round has been running, when that is 0.1 s or more");
    for (unsigned i = 0; i < v->n_workers; i++) {
        text_printf(t, "ginnel_worker_turn_seconds{worker=\"%u\"} ", v->workers[i].id);
        put_fraction(t, v->workers[i].turn_ms, 1000);
        text_str(t, "\n");
    }
}

static void put_histogram(struct text *t, const struct server_view *v, enum stats_time which, const char *name, const char *help)
{
    uint64_t n = 0, sum_us = 0;

    family(t, name, "histogram", help);
    for (unsigned b = 0; b <= STATS_BOUNDS; b++) {
        for (unsigned i = 0; i < v->n_workers; i++)
            n += load(&v->workers[i].stats->times[which].n[b]);
        text_printf(t, "ginnel_%s_bucket{le=\"", name);
        if (b < STATS_BOUNDS)
            put_us(t, stats_bounds_us[which][b]);
        else
            text_str(t, "+Inf");
        text_str(t, "\"} ");
        text_u64(t, n);
        text_str(t, "\n");
    }
    for (unsigned i = 0; i < v->n_workers; i++)
        sum_us += load(&v->workers[i].stats->times[which].sum_us);
    sample_name(t, name, "_sum");
    put_us(t, sum_us);
    text_str(t, "\n");
    /* The count is the last bucket's by definition: n, which was read once. */
    sample_name(t, name, "_count");
    text_u64(t, n);
    text_str(t, "\n");
}

static void put_times(struct text *t, const struct server_view *v)
{
    put_histogram(t, v, STATS_REQUEST, "request_duration_seconds", "how long requests took, from their beginning to their end; without tunnels");
    put_histogram(t, v, STATS_FIRST_BYTE, "first_byte_duration_seconds",
                  "how long the first byte of an origin's answer took, from the beginning of the request");
    put_histogram(t, v, STATS_RELAY_DELAY, "relay_delay_seconds",
                  "how long small messages of tunnels lay here at most, from readable to written; one in eight is measured");
}

static void put_capacity(struct text *t, const struct server_view *v)
{
    gauge(t, "capacity_connections", "client connections now, of those that capacity.connections allows", v->capacity.connections);
    gauge(t, "capacity_connections_limit", "capacity.connections", v->capacity.connections_limit);
    gauge(t, "capacity_memory_bytes", "memory of connections and requests now, of that which capacity.memory allows", v->capacity.memory);
    gauge(t, "capacity_memory_limit_bytes", "capacity.memory", v->capacity.memory_limit);
}

static void put_limits(struct text *t, const struct server_view *v)
{
    gauge(t, "limit_buckets", "buckets of limits that exist, of 65536; one that rests makes room for another", v->limits.buckets);
    gauge(t, "limit_overflow_buckets", "buckets that many share because the others are in use", v->limits.overflow);
    counter(t, "limit_overflows_total", "times that a shared bucket had to do", v->limits.overflowed);
    family(t, "limit_wait_seconds_total", "counter", "how long requests and bytes have waited for limits, all together");
    sample_name(t, "limit_wait_seconds_total", "");
    put_us(t, sum_of(v, COUNTER_LIMIT_WAIT_US));
    text_str(t, "\n");
}

static void put_log(struct text *t, const struct server_view *v)
{
    counter(t, "log_records_written_total", "access records written", v->log.written);
    counter(t, "log_records_lost_total", "access records lost because an output failed or was too slow", v->log.lost);
    gauge(t, "log_outputs_failing", "outputs of the access log whose last write failed", v->log.failing);
}

static void put_configuration(struct text *t, const struct server_view *v)
{
    gauge(t, "config_last_reload_successful", "1 unless the last reload of the configuration failed", v->reload.result != RELOAD_FAILED);
    family(t, "config_last_reload_success_timestamp_seconds", "gauge", "when the configuration was last found good, since 1970");
    sample_name(t, "config_last_reload_success_timestamp_seconds", "");
    put_fraction(t, v->reload.success_ms, 1000);
    text_str(t, "\n");
    family(t, "config_reloads_total", "counter", "reloads of the configuration, by result");
    for (unsigned r = RELOAD_NONE + 1; r < RELOAD_RESULTS; r++)
        labelled(t, "config_reloads_total", "result", view_reload_name((enum reload_result)r), v->reload.counts[r]);
    gauge(t, "config_generation", "number of the configuration in use, from 1", v->generation);
    gauge(t, "snapshots", "configurations that something still uses", v->n_snapshots);
}

/* What is not known is left out. */
static void put_process(struct text *t, const struct server_view *v)
{
    if (v->process.resident_bytes)
        gauge(t, "process_resident_memory_bytes", "resident memory", v->process.resident_bytes);
    if (v->process.open_fds)
        gauge(t, "open_fds", "open file descriptors", v->process.open_fds);
    if (v->process.max_fds)
        gauge(t, "max_fds", "file descriptors that may be open", v->process.max_fds);
    family(t, "start_time_seconds", "gauge", "when ginnel was started, since 1970");
    sample_name(t, "start_time_seconds", "");
    put_fraction(t, v->start_ms, 1000);
    text_str(t, "\n");
    family(t, "build_info", "gauge", "1; its label has the version");
    labelled(t, "build_info", "version", v->version, 1);
    gauge(t, "draining", "1 while no new connections are accepted and the present ones may end", v->phase == SERVER_DRAINING);
}

char *metrics_text(const struct server_view *v, size_t *ret_n)
{
    struct text t = {0};

    put_process(&t, v);
    put_configuration(&t, v);
    put_now(&t, v);
    put_capacity(&t, v);
    put_limits(&t, v);
    put_workers(&t, v);
    put_counters(&t, v);
    put_ends(&t, v);
    put_times(&t, v);
    put_log(&t, v);
    return text_take(&t, ret_n);
}
