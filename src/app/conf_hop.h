/* SPDX-License-Identifier: MIT */
/* conf_hop: a parent as `via` and `chain` of `upstream` name it: its URL, and what proves to it who ginnel is. Thread: main's. */
#ifndef APP_CONF_HOP_H
#define APP_CONF_HOP_H

#include "app/conf_build.h"
#include "policy/route.h"

enum conf_hop_fault {
    CONF_HOP_OK = 0,
    CONF_HOP_NOMEM,
    CONF_HOP_NO_SCHEME, /* or one that no proxy has */
    CONF_HOP_SOCKS,
    CONF_HOP_USERINFO,
    CONF_HOP_PATH,
    CONF_HOP_HOST,
    CONF_HOP_PORT,
};

/* http:// or https://, a host and a port (80 and 443 where none is written); a slash may end it. Fills tls, host, literal, port and text, in the arena. */
enum conf_hop_fault conf_hop_parse(struct arena *a, struct slice url, struct hop *ret_hop);
/* Whether a URL was written without a port. It has been checked. */
bool conf_hop_has_port(struct slice url);
/* Whether the text is one; what is wrong with it is reported. */
bool conf_hop_check(struct conf_build *b, const struct conf_kind *k, struct slice url, size_t at);
/* From the value of `auth`, which has been checked: the value of Proxy-Authorization and where it is from. Files are read; what is wrong with what they
 * or the configuration say is reported, and nothing of it shown. */
void conf_hop_auth(struct conf_build *b, const struct conf_node *auth, struct hop *h);

#endif
