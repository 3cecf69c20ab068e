/* SPDX-License-Identifier: MIT */
/* conf: what the rooms of the proxy take from the configuration: one const struct, made by app, shared by all workers, unchanged
 * while it is in use. Durations in milliseconds, sizes in bytes. */
#ifndef PROXY_CONF_H
#define PROXY_CONF_H

#include <stdbool.h>
#include <stdint.h>

enum { PROXY_NAME_MAX = 63 };

struct proxy_conf {
    struct {
        uint64_t connect, head, response, idle, keepalive, tunnel, half_close, drain;
    } timeouts;
    struct {
        uint32_t line, head, fields;
    } sizes;
    bool via;
    bool access_log;               /* off: no records are made */
    char name[PROXY_NAME_MAX + 1]; /* the pseudonym in Via and Proxy-Status */
};

#endif
