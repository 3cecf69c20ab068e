/* SPDX-License-Identifier: MIT */
/* edition: a configuration in service: what was read (conf), what the workers see of it (snapshot), and the pieces in between (admitted clients, own
 * addresses, listeners). Made whole or not at all; freed when nobody uses it.
 * Owner: the server. Thread: made and freed on the house's; its snapshot is read by all. */
#ifndef APP_EDITION_H
#define APP_EDITION_H

#include "app/listeners.h"
#include "base/list.h"
#include "proxy/snapshot.h"

enum { EDITION_LOCAL_MAX = 256 };

struct edition {
    struct snapshot snap;
    struct policy policy;
    struct conf *conf; /* owned */
    struct policy_clients clients[LISTENERS_MAX + POLICY_CLIENTS_OWN];
    struct snapshot_listen listen[LISTENERS_MAX];
    char names[LISTENERS_MAX][sizeof(((struct listen_socket *)0)->text)];
    struct addr own[LISTENERS_MAX], admin[LISTENERS_MAX], local[EDITION_LOCAL_MAX];
    struct list link; /* among the retired */
};

/* Takes the conf (also on failure: it is freed). NULL: memory refused. */
struct edition *edition_new(struct conf *c, const struct listeners_plan *p, unsigned generation) MUST_USE;
void edition_free(struct edition *e);

/* What differs, as a list of keys for the log: "clients, log, timeouts"; returns its length, 0 when nothing does. */
size_t edition_diff(const struct conf *a, const struct conf *b, char *out, size_t cap);

#endif
