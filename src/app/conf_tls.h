/* SPDX-License-Identifier: MIT */
/* conf_tls: `tls` of an item of `listen`, with the files that it names. What a file holds is tried here as it will be used, so that a wrong one is refused with its line
 * before anything is opened. Thread: main's. */
#ifndef APP_CONF_TLS_H
#define APP_CONF_TLS_H

#include "app/conf_build.h"

enum { CONF_TLS_IDENTITY_MAX = 1024 /* of a line of client-map */ };

/* The node has been checked against the shape. NULL: nothing that could be used, which has been reported. */
struct conf_tls *conf_tls_make(struct conf_build *b, const struct conf_node *node);

/* The content of a file that the node names: PEM, DER, keys. `what` is what messages call it. *ret_path is as it was opened. False: it has been reported. A secret is wiped
 * with the conf. */
bool conf_tls_file(struct conf_build *b, const struct conf_node *node, const char *what, bool secret, struct slice *ret_text, const char **ret_path);
/* TLS_ALPN_* of `alpn`, a word or a list of them (checked already); NULL: both. */
unsigned conf_tls_alpn(const struct conf_node *node);
/* For trying; made at the first call. NULL: no memory, which has been noted. */
struct tls_lib *conf_tls_lib(struct conf_build *b);
/* Whether the first certificate of the text is one that can be shown today; what is wrong is reported at the node. */
bool conf_tls_look(struct conf_build *b, const struct conf_node *node, struct slice pem, const char *path, struct tls_cert_info *ret_info);

#endif
