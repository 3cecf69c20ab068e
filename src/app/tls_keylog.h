/* SPDX-License-Identifier: MIT */
/* tls_keylog: SSLKEYLOGFILE: the secrets of all TLS connections, for whoever has to look inside with a network analyser. Lines come from the workers, which never wait: they lie
 * in a buffer until the house writes them; what does not fit is lost and counted. Owner: the server. */
#ifndef APP_TLS_KEYLOG_H
#define APP_TLS_KEYLOG_H

#include "io/loop.h"

struct tls_keylog;

enum { TLS_KEYLOG_BUFFER = 256 << 10 };

/* Opens the file that the environment names, to append, 0600 where it is made; says so. NULL: it names none, or it cannot be opened (which is said). */
struct tls_keylog *tls_keylog_open(void);
/* From now on `task` is woken with TASK_HELPER when there is something to write. Before the first connection. */
void tls_keylog_start(struct tls_keylog *k, struct loop *house, struct task *task);
/* On the house's thread. */
void tls_keylog_write(struct tls_keylog *k);
/* Nobody puts any more. Writes what is left. NULL is fine. */
void tls_keylog_close(struct tls_keylog *k);

/* For tls_server_conf and tls_client_conf: any thread. */
void tls_keylog_put(void *owner, const char *line);

#endif
