/* SPDX-License-Identifier: MIT */
/* resolve_tables: what the hosts file (hosts(5)) and resolv.conf (resolv.conf(5)) say, as tables.
 * Pure: bytes in, tables out. Owner: resolve_files. Thread: its loop's. */
#ifndef IO_RESOLVE_TABLES_H
#define IO_RESOLVE_TABLES_H

#include "io/addr.h"

enum {
    RESOLVE_TABLES_LINE = 1024,   /* longer lines are passed over */
    RESOLVE_TABLES_HOSTS = 65536, /* pairs of name and address */
    RESOLVE_TABLES_NAME = 253,
    RESOLVE_TABLES_SERVERS = 8,
    RESOLVE_TABLES_SEARCH = 6,
    RESOLVE_TABLES_NDOTS = 15,
};

struct resolve_host; /* one pair of the hosts file */

struct resolve_hosts {
    char *text; /* the file in lower case; names point into it */
    struct resolve_host *v;
    uint32_t *bucket; /* index + 1 of the first pair; n_bucket is a power of two */
    uint32_t n, n_bucket;
};

struct resolve_conf_file {
    struct addr servers[RESOLVE_TABLES_SERVERS]; /* port 53 */
    unsigned n_servers;
    char search[RESOLVE_TABLES_SEARCH][RESOLVE_TABLES_NAME + 1];
    unsigned n_search;
    unsigned ndots;
};

/* bytes: from mem_alloc; taken over, also on failure. ERR_NOMEM. More than RESOLVE_TABLES_HOSTS
 * pairs: the first ones. */
int resolve_tables_hosts(char *bytes, size_t n, struct resolve_hosts *ret_hosts) MUST_USE;
void resolve_tables_free(struct resolve_hosts *h);
/* The addresses of a lower-case name, in the file's order, without repeats; returns how many (at
 * most max). */
unsigned resolve_tables_find(const struct resolve_hosts *h, struct slice name, struct addr *addrs,
                             unsigned max);
/* Two equal files give structs that are equal byte for byte. */
void resolve_tables_conf(const char *bytes, size_t n, struct resolve_conf_file *ret_conf);

#endif
