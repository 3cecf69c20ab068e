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
};

/* keylog is borrowed, and outlives all contexts. */
void tls_house_init(struct tls_house *h, unsigned n_workers, struct tls_keylog *keylog);
/* All editions are gone. */
void tls_house_done(struct tls_house *h);
/* Draws new keys for tickets of `auto`: each TLS_ROTATE_MS. */
void tls_house_rotate(struct tls_house *h);

/* Makes them for an edition that nobody uses yet, and puts them into its snapshot. before: whose contexts may be shared; NULL: none. ERR_SYNTAX, ERR_NOMEM, -errno, with
 * a sentence: then the edition is as it was. */
int tls_sets_make(struct tls_house *h, struct edition *e, const struct edition *before, char text[TLS_SETS_TEXT]) MUST_USE;
void tls_sets_free(struct tls_sets *t); /* NULL is fine */

#endif
