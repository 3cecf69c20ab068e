/* SPDX-License-Identifier: MIT */
/* head: the neutral request or response head, the same for every HTTP version (RFC 9110). It carries no
 * connection-specific field: the mux that read it has taken those out and said what they meant in the members here.
 * Owner: the exchange's arena. Slices point into that arena (or at static text). Thread: the worker's. */
#ifndef PROTO_HEAD_H
#define PROTO_HEAD_H

#include "base/arena.h"
#include "base/slice.h"

#include <stdint.h>

enum hdr {
    HDR_OTHER = 0,
#define HDR_X(id, name, flags) HDR_##id,
#include "tbl/hdr_names.h"
    HDR_COUNT
};
enum { HDR_HOP = 1, HDR_KEEP = 2, HDR_ONE = 4, HDR_NO_TRAILER = 8 };

struct field {
    struct slice name, value; /* name as received; value without OWS at its ends */
    enum hdr id;
};

struct hdrs {
    struct field *v;
    uint32_t n, cap;
};

enum method { METHOD_OTHER = 0, METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_CONNECT,
              METHOD_OPTIONS, METHOD_TRACE, METHOD_PATCH, METHOD_PRI };

/* A host after normalisation: lower case, IDN as A-labels, odd spellings of addresses made plain, brackets gone. */
enum host_kind { HOST_NONE = 0, HOST_NAME, HOST_IPV4, HOST_IPV6 };

struct authority {
    struct slice raw;  /* as received: host[:port], brackets kept */
    struct slice host; /* normalised; an IPv6 literal without brackets */
    enum host_kind kind;
    uint16_t port;       /* 0: none was given */
    uint8_t addr[16];    /* of a literal, network order; IPv4 in the first four bytes */
};

enum scheme { SCHEME_NONE = 0, SCHEME_HTTP, SCHEME_HTTPS };

/* How the target was written (RFC 9112 3.2). */
enum target_form { FORM_ORIGIN = 0, FORM_ABSOLUTE, FORM_AUTHORITY, FORM_ASTERISK };

/* NONE: no content at all. SIZED: `length` bytes. STREAMED: until its end is told (chunked, or an h2 stream). */
enum body_kind { BODY_NONE = 0, BODY_SIZED, BODY_STREAMED };

struct head {
    bool response;
    uint8_t version; /* as received: 10, 11, 20 */
    enum body_kind body;
    uint64_t length; /* SIZED: bytes of content. For NONE: 0, even where a Content-Length field is kept (HEAD, 304) */
    struct hdrs fields;

    /* requests */
    enum method method;
    struct slice method_name;
    enum target_form form;
    struct slice target; /* the whole target as received */
    enum scheme scheme;
    struct authority auth; /* of the target; for origin-form of the Host field */
    struct slice path;     /* path and query, byte for byte as received; "/" for an empty path; "*" */
    bool expect_continue;
    bool te_trailers;
    bool to_proxy; /* set by whoever sends it: the next hop is a proxy, and gets the whole target */

    /* responses */
    int status;
    struct slice reason;

    /* both */
    struct slice protocol; /* Upgrade offered (request: its first protocol) or accepted (101); .n = 0 when there is none */
    bool close;            /* the sender will close after this message */
    uint32_t keep_alive_s; /* Keep-Alive: timeout=, 0 when absent */
};

/* Interned name, HDR_OTHER when unknown. Case-insensitive. */
enum hdr hdr_id(struct slice name);
struct slice hdr_name(enum hdr id);
unsigned hdr_flags(enum hdr id);

void hdrs_init(struct hdrs *h);
/* Appends; slices are borrowed. ERR_NOMEM when the arena refuses. */
int hdrs_add(struct hdrs *h, struct arena *a, enum hdr id, struct slice name, struct slice value) MUST_USE;
int hdrs_add_known(struct hdrs *h, struct arena *a, enum hdr id, struct slice value) MUST_USE;
/* First field with that id, or NULL; `from` is where to start and, after a hit, its index. */
const struct field *hdrs_find(const struct hdrs *h, enum hdr id);
const struct field *hdrs_next(const struct hdrs *h, enum hdr id, uint32_t *from);
void hdrs_remove(struct hdrs *h, enum hdr id); /* all of them; order of the rest kept */
/* The list has it exactly once from now on: the first one's value is replaced (the value is borrowed), later ones are removed;
 * when there was none it is appended under our name. ERR_NOMEM. */
int hdrs_set(struct hdrs *h, struct arena *a, enum hdr id, struct slice value) MUST_USE;
/* True when some element of the comma lists of all fields `id` equals token, case-insensitively. */
bool hdrs_has_token(const struct hdrs *h, enum hdr id, struct slice token);

enum method method_id(struct slice name); /* case-sensitive (RFC 9110 9.1) */
/* RFC 9110 9.2.2: GET HEAD OPTIONS TRACE PUT DELETE. Unknown methods are not idempotent. */
bool method_idempotent(enum method m);

/* Takes out what belongs to the connection (RFC 9110 7.6.1): fields with HDR_HOP and those that Connection names unless
 * HDR_KEEP. Fills close, te_trailers, keep_alive_s and protocol first. Protocols h2c and h2 are not taken over (C32), nor
 * any from HTTP/1.0. Called by the mux, once. */
void head_strip_connection(struct head *h);

#endif
