/* SPDX-License-Identifier: MIT */
/* pac: what a browser's script (/proxy.pac, /wpad.dat) says: "HTTPS host:port" of listeners with TLS, then "PROXY host:port" of the others, and no DIRECT. Pure but for the arena.
 * Thread: any. */
#ifndef PROXY_PAC_H
#define PROXY_PAC_H

#include "base/arena.h"
#include "io/addr.h"
#include "proto/head.h"
#include "proxy/snapshot.h"

enum { PAC_HOST_MAX = 255 };

/* The listeners that whoever has reached `local` (family 0: not known) can be expected to reach. Their host is `asked`, the request's Host, or else the literal address; with TLS
 * it is one of the certificate's names, its first where `asked` is none of them. Empty: there are none. ERR_NOMEM. */
int pac_proxies(struct arena *a, const struct snapshot *snap, const struct authority *asked, const struct addr *local, struct slice *ret_list) MUST_USE;

/* Whether one of the names (", " between, as in tls_cert_info) is for that host. */
bool pac_name_is_for(const char *names, struct slice host);

#endif
