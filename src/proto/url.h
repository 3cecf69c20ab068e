/* SPDX-License-Identifier: MIT */
/* url: request targets and authorities (RFC 9112 3.2, RFC 3986). One parser for every place that names a host: request
 * lines, Host fields, configuration. Strict: no userinfo, no blanks, no percent-escapes in the authority that do not
 * decode to a plain name byte, ports of digits only in 1..65535. */
#ifndef PROTO_URL_H
#define PROTO_URL_H

#include "proto/head.h"

enum url_fault { URL_OK = 0, URL_NOMEM, URL_TARGET, URL_AUTHORITY, URL_USERINFO, URL_SCHEME };

/* host[:port]. Normalises the host: lower case; one trailing dot removed; IPv6 literal in brackets only (zone ids refused),
 * its text rewritten in canonical form (RFC 5952); every spelling that inet_aton takes for an IPv4 address (0x7f.1,
 * 017700000001, 2130706433) becomes dotted decimal, and an all-numeric last label that is no address is refused;
 * percent-escapes of unreserved bytes are decoded; non-ASCII (UTF-8) goes through IDNA2008 to A-labels (refused when the
 * build has no idn). Names: labels of 1..63 bytes of letters, digits, '-', '_'; 253 in all.
 * An empty port ("h:") is refused when need_port, and is none otherwise (RFC 3986 3.2.3).
 * The result's slices live in the arena or point into `s`. */
enum url_fault url_authority(struct arena *a, struct slice s, bool need_port, struct authority *ret_auth);

/* A request target for a method: decides its form and fills form, scheme, auth, path (and target) of the head. A CONNECT
 * has authority-form only, with a port. OPTIONS with an absolute target without path and query becomes path "*".
 * absolute-form: scheme http or https in any case; empty path becomes "/"; "?q" becomes "/?q"; '#' is refused.
 * Bytes 0x80-0xFF pass in path and query. */
enum url_fault url_target(struct arena *a, struct slice target, struct head *h);

/* The default port of a scheme. */
uint16_t url_default_port(enum scheme s);
/* "host" or "[v6]" with ":port" unless it is the scheme's default. Written into the arena; .p NULL when refused. */
struct slice url_host_field(struct arena *a, const struct authority *auth, enum scheme scheme);

#endif
