/* SPDX-License-Identifier: MIT */
/* conf: what the rooms of the proxy take from the configuration: one const struct, made by app, shared by all workers, unchanged
 * while it is in use. Durations in milliseconds, sizes in bytes. */
#ifndef PROXY_CONF_H
#define PROXY_CONF_H

#include <stdbool.h>
#include <stdint.h>

enum { PROXY_NAME_MAX = 63, H2_BURSTS = 10 };

/* How much a refusal tells: the error type · rule, place, way out · also addresses, hops, counters. DEFAULT: ALL where only this machine can be
 * asked, OWN elsewhere. */
enum reasons { REASONS_DEFAULT = 0, REASONS_NONE, REASONS_OWN, REASONS_ALL };

struct proxy_conf {
    struct {
        uint64_t connect, head, tls, response, idle, keepalive, tunnel, half_close, drain;
        uint64_t body_rate; /* bytes a second; 0: none is asked for */
    } timeouts;
    struct {
        uint64_t line, head;
        uint32_t fields;
    } sizes;
    struct {
        uint32_t connections, per_client; /* per_client 0: no limit */
        uint32_t handshakes; /* with clients, of all workers together */
        uint64_t memory, pipes;
    } capacity;
    struct {
        uint32_t streams;
        uint64_t window, window_max, credit;
        uint64_t resets, control; /* a second; bursts are H2_BURSTS times as many */
    } h2; /* as struct h2_conf (mux/mux_h2.h); streams 0: as h2_conf_default */
    bool via;
    bool access_log;               /* off: no records are made */
    bool log_begin;                /* a record when a tunnel begins, too */
    bool log_agent;                /* some format shows User-Agent and Referer */
    uint64_t log_every_ms;         /* a record of a living tunnel this often; 0: none */
    char name[PROXY_NAME_MAX + 1]; /* the pseudonym in Via and Proxy-Status */
};

#endif
