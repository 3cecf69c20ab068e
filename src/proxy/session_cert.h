/* SPDX-License-Identifier: MIT */
/* session_cert: which user a client's certificate makes its session. Called once, when its handshake is over. Thread: the worker's. */
#ifndef PROXY_SESSION_CERT_H
#define PROXY_SESSION_CERT_H

#include "base/slice.h"
#include "proxy/snapshot.h"

struct session;
struct tls_facts;

enum { SESSION_NAME_MAX = 255 };

/* Sets the session's identity: CERT with a name, or NOBODY where the certificate has no usable one (which is said). n NULL: the common name. */
void session_cert_take(struct session *s, const struct tls_facts *f, const struct cert_names *n);
/* May name a user: 1 to SESSION_NAME_MAX bytes of UTF-8 without control characters, blanks at its ends, and commas unless it is a whole subject. */
bool session_cert_is_name(struct slice name, enum cert_part part);

#endif
