/* SPDX-License-Identifier: MIT */
/* edition: a configuration in service: what was read (conf), what the workers see of it (snapshot), and the pieces in between (admitted clients, own
 * addresses, listeners). Made whole or not at all; freed when nobody uses it.
 * Owner: the server. Thread: made and freed on the house's; its snapshot is read by all. */
#ifndef APP_EDITION_H
#define APP_EDITION_H

#include "app/listeners.h"
#include "base/list.h"
#include "io/tls.h"
#include "proxy/snapshot.h"

struct programs;

enum { EDITION_LOCAL_MAX = 256 };

struct edition {
    struct snapshot snap;
    struct policy policy;
    struct rules_index *index; /* of the policy's rules; NULL: they need none */
    struct conf *conf; /* owned */
    struct programs *programs; /* that run for it; NULL: none do yet */
    struct policy_clients clients[LISTENERS_MAX + POLICY_CLIENTS_OWN];
    struct snapshot_listen listen[LISTENERS_MAX];
    char names[LISTENERS_MAX][sizeof(((struct listen_socket *)0)->text)];
    struct addr own[LISTENERS_MAX], admin[LISTENERS_MAX], local[EDITION_LOCAL_MAX];
    struct conf_tls *tls_conf[LISTENERS_MAX]; /* of its listeners, each once: contexts of servers, in their order */
    const char *tls_place[LISTENERS_MAX];
    unsigned n_tls;
    char self_names[sizeof(((struct tls_cert_info *)0)->names)]; /* of the certificate of `tls: auto` */
    struct tls_sets *tls; /* NULL: none were made (an edition of a file) */
    struct list link; /* among the retired */
};

/* Takes the conf (also on failure: it is freed). NULL: memory refused. */
struct edition *edition_new(struct conf *c, const struct listeners_plan *p, unsigned generation) MUST_USE;
/* Before anybody uses it: what its users' programs are. They are released with it. */
int edition_start_programs(struct edition *e, struct programs *ps) MUST_USE;
/* The same of a configuration that is not in service: nothing is opened; a listener whose port the system would choose is in no list of addresses. Takes the
 * conf in any case. NULL: memory refused. */
struct edition *edition_of_file(struct conf *c) MUST_USE;
void edition_free(struct edition *e);

/* Says what `private` is in force and why, if it is news after `before` (NULL: there was none). */
void edition_say(const struct edition *e, const struct edition *before);

/* What differs, as a list of keys for the log: "clients, log, timeouts"; returns its length, 0 when nothing does. */
size_t edition_diff(const struct conf *a, const struct conf *b, char *out, size_t cap);

#endif
