/* SPDX-License-Identifier: MIT */
/* tls_sets: the TLS contexts of editions: for each worker a set of its own, on its own library context, made on the house's thread before any worker sees the snapshot.
 * A context is shared with the edition before where it would be made of the same content. What outlives editions is in struct tls_house: libraries, ticket keys, the key log.
 * Owner: the server (tls_house), an edition (tls_sets). Thread: the house's; contexts are used by the workers. */
#ifndef APP_TLS_SETS_H
#define APP_TLS_SETS_H

#include "app/conf.h"
#include "app/tls_auto.h"
#include "base/list.h"
#include "io/tls.h"
#include "proxy/worker.h"

struct edition;
struct tls_keylog;
struct tls_sets;

enum { TLS_ROTATE_MS = 8 * 3600 * 1000, TLS_SETS_TEXT = TLS_ERROR_MAX + 128 };

struct tls_house {
    struct tls_lib *libs[WORKER_MAX]; /* NULL: not needed yet */
    unsigned n_workers;
    struct list tickets;        /* struct ticket_keys: one of `auto`, one a file */
    struct tls_keylog *keylog;  /* NULL: none */
    struct tls_auto self;       /* the certificate of `auto` */
    uint64_t renew_at_ms;       /* when tls_house_renew is to be called next; the first time is the owner's to say */
};

/* keylog is borrowed, and outlives all contexts. */
void tls_house_init(struct tls_house *h, unsigned n_workers, struct tls_keylog *keylog);
/* All editions are gone. */
void tls_house_done(struct tls_house *h);
/* Each TLS_ROTATE_MS it draws new keys for tickets of `auto`, and says whether the certificate of `auto` has to be made anew: true, a reload does that. */
bool tls_house_renew(struct tls_house *h, uint64_t now_ms);

/* Makes them for an edition that nobody uses yet, and puts them into its snapshot. before: whose contexts may be shared; NULL: none. ERR_SYNTAX, ERR_NOMEM, -errno, with
 * a sentence: then the edition is as it was. */
int tls_sets_make(struct tls_house *h, struct edition *e, const struct edition *before, char text[TLS_SETS_TEXT]) MUST_USE;
/* The edition goes into service: keys of tickets that it has from files seal from now on, also for who still has the edition before it; what a file held before opens on as far
 * as it is in the new one. */
void tls_sets_commit(struct tls_house *h, const struct edition *e);
void tls_sets_free(struct tls_sets *t); /* NULL is fine */

#endif
