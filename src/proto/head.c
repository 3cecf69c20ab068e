/* SPDX-License-Identifier: MIT */
/* head: the table of known field names, lists of fields, and the removal of what belongs to one
 * connection. Called by the codecs and by every step that reads or changes a head, on the worker's
 * thread. A list of fields is a list: no function here joins, sorts or merges fields (C26).
 */
#include "proto/head.h"

#include "base/err.h"
#include "base/num.h"
#include "proto/chars.h"

enum { FIELDS_FIRST = 16 };

/* --- names ---------------------------------------------------------------- */

static const struct {
    struct slice name;
    uint8_t flags;
} names[HDR_COUNT] = {
    {{"", 0}, 0},
#define HDR_X(id, text, bits) {{text, sizeof(text) - 1}, bits},
#include "tbl/hdr_names.h"
};

/* Where a name of n bytes with these ends (in lower case) may stand. No two known names share a
 * slot: the compiler warns of an initialiser written twice, and then the factors want changing. */
#define SLOT(n, first, last) (((n) + (first)*7 + (last)) & 255)

static const uint8_t slots[256] = {
    [SLOT(4, 'h', 't')] = HDR_HOST,
    [SLOT(10, 'c', 'n')] = HDR_CONNECTION,
    [SLOT(16, 'p', 'n')] = HDR_PROXY_CONNECTION,
    [SLOT(10, 'k', 'e')] = HDR_KEEP_ALIVE,
    [SLOT(2, 't', 'e')] = HDR_TE,
    [SLOT(7, 't', 'r')] = HDR_TRAILER,
    [SLOT(17, 't', 'g')] = HDR_TRANSFER_ENCODING,
    [SLOT(7, 'u', 'e')] = HDR_UPGRADE,
    [SLOT(14, 'h', 's')] = HDR_HTTP2_SETTINGS,
    [SLOT(19, 'p', 'n')] = HDR_PROXY_AUTHORIZATION,
    [SLOT(18, 'p', 'e')] = HDR_PROXY_AUTHENTICATE,
    [SLOT(25, 'p', 'o')] = HDR_PROXY_AUTHENTICATION_INFO,
    [SLOT(14, 'c', 'h')] = HDR_CONTENT_LENGTH,
    [SLOT(12, 'c', 'e')] = HDR_CONTENT_TYPE,
    [SLOT(16, 'c', 'g')] = HDR_CONTENT_ENCODING,
    [SLOT(13, 'c', 'e')] = HDR_CONTENT_RANGE,
    [SLOT(3, 'v', 'a')] = HDR_VIA,
    [SLOT(6, 'e', 't')] = HDR_EXPECT,
    [SLOT(4, 'd', 'e')] = HDR_DATE,
    [SLOT(6, 'a', 't')] = HDR_ACCEPT,
    [SLOT(13, 'a', 'n')] = HDR_AUTHORIZATION,
    [SLOT(16, 'w', 'e')] = HDR_WWW_AUTHENTICATE,
    [SLOT(6, 'c', 'e')] = HDR_COOKIE,
    [SLOT(10, 's', 'e')] = HDR_SET_COOKIE,
    [SLOT(13, 'c', 'l')] = HDR_CACHE_CONTROL,
    [SLOT(8, 'l', 'n')] = HDR_LOCATION,
    [SLOT(5, 'r', 'e')] = HDR_RANGE,
    [SLOT(12, 'm', 's')] = HDR_MAX_FORWARDS,
    [SLOT(9, 'f', 'd')] = HDR_FORWARDED,
    [SLOT(15, 'x', 'r')] = HDR_X_FORWARDED_FOR,
    [SLOT(17, 'x', 'o')] = HDR_X_FORWARDED_PROTO,
    [SLOT(16, 'x', 't')] = HDR_X_FORWARDED_HOST,
    [SLOT(12, 'p', 's')] = HDR_PROXY_STATUS,
    [SLOT(11, 'r', 'r')] = HDR_RETRY_AFTER,
    [SLOT(5, 'a', 'w')] = HDR_ALLOW,
    [SLOT(10, 'u', 't')] = HDR_USER_AGENT,
    [SLOT(7, 'r', 'r')] = HDR_REFERER,
    [SLOT(6, 's', 'r')] = HDR_SERVER,
    [SLOT(17, 's', 'y')] = HDR_SEC_WEBSOCKET_KEY,
    [SLOT(20, 's', 't')] = HDR_SEC_WEBSOCKET_ACCEPT,
};

enum hdr hdr_id(struct slice name)
{
    unsigned first, last;
    enum hdr id;

    if (name.n == 0)
        return HDR_OTHER;
    first = (unsigned char)slice_lower(name.p[0]);
    last = (unsigned char)slice_lower(name.p[name.n - 1]);
    id = slots[SLOT(name.n, first, last)];
    if (slice_eq(name, names[id].name) || slice_eq_nocase(name, names[id].name))
        return id;
    return HDR_OTHER;
}

struct slice hdr_name(enum hdr id)
{
    return names[id].name;
}

unsigned hdr_flags(enum hdr id)
{
    return names[id].flags;
}

/* --- lists ---------------------------------------------------------------- */

void hdrs_init(struct hdrs *h)
{
    *h = (struct hdrs){0};
}

static bool hdrs_room(struct hdrs *h, struct arena *a)
{
    uint32_t cap = h->cap ? 2 * h->cap : FIELDS_FIRST;
    struct field *v;

    if (LIKELY(h->n < h->cap))
        return true;
    v = arena_grow(a, h->v, h->n * sizeof(*v), cap * sizeof(*v));
    if (!v)
        return false;
    h->v = v;
    h->cap = cap;
    return true;
}

int hdrs_add(struct hdrs *h, struct arena *a, enum hdr id, struct slice name, struct slice value)
{
    if (!hdrs_room(h, a))
        return ERR_NOMEM;
    h->v[h->n++] = (struct field){.name = name, .value = value, .id = id};
    return 0;
}

int hdrs_add_known(struct hdrs *h, struct arena *a, enum hdr id, struct slice value)
{
    return hdrs_add(h, a, id, hdr_name(id), value);
}

const struct field *hdrs_next(const struct hdrs *h, enum hdr id, uint32_t *from)
{
    for (uint32_t i = *from; i < h->n; i++) {
        if (h->v[i].id == id) {
            *from = i;
            return &h->v[i];
        }
    }
    return NULL;
}

const struct field *hdrs_find(const struct hdrs *h, enum hdr id)
{
    uint32_t from = 0;

    return hdrs_next(h, id, &from);
}

/* Removes the fields `id` from place `from` on. */
static void remove_from(struct hdrs *h, enum hdr id, uint32_t from)
{
    uint32_t kept = from;

    for (uint32_t i = from; i < h->n; i++)
        if (h->v[i].id != id)
            h->v[kept++] = h->v[i];
    h->n = kept;
}

/* Mostly there is none. */
void hdrs_remove(struct hdrs *h, enum hdr id)
{
    uint32_t at = 0;

    if (hdrs_next(h, id, &at))
        remove_from(h, id, at);
}

int hdrs_set(struct hdrs *h, struct arena *a, enum hdr id, struct slice value)
{
    uint32_t at = 0;

    if (!hdrs_next(h, id, &at))
        return hdrs_add_known(h, a, id, value);
    h->v[at].value = value;
    remove_from(h, id, at + 1);
    return 0;
}

bool hdrs_has_token(const struct hdrs *h, enum hdr id, struct slice token)
{
    const struct field *f;

    for (uint32_t i = 0; (f = hdrs_next(h, id, &i)) != NULL; i++) {
        struct slice list = f->value, item;

        while (slice_next_item(&list, &item))
            if (slice_eq_nocase(item, token))
                return true;
    }
    return false;
}

/* --- methods -------------------------------------------------------------- */

static const struct {
    struct slice name;
    bool idempotent;
} methods[] = {
    [METHOD_GET] = {{"GET", 3}, true},         [METHOD_HEAD] = {{"HEAD", 4}, true},
    [METHOD_POST] = {{"POST", 4}, false},      [METHOD_PUT] = {{"PUT", 3}, true},
    [METHOD_DELETE] = {{"DELETE", 6}, true},   [METHOD_CONNECT] = {{"CONNECT", 7}, false},
    [METHOD_OPTIONS] = {{"OPTIONS", 7}, true}, [METHOD_TRACE] = {{"TRACE", 5}, true},
    [METHOD_PATCH] = {{"PATCH", 5}, false},    [METHOD_PRI] = {{"PRI", 3}, false},
};

enum method method_id(struct slice name)
{
    for (enum method m = METHOD_GET; m <= METHOD_PRI; m++)
        if (slice_eq(name, methods[m].name))
            return m;
    return METHOD_OTHER;
}

bool method_idempotent(enum method m)
{
    return methods[m].idempotent;
}

/* --- what belongs to the connection --------------------------------------- */

/* The options of Connection that mean something to us. */
struct options {
    bool close, keep_alive, upgrade;
};

static void read_option(struct options *o, struct slice option)
{
    if (slice_eq_nocase(option, SLICE("close")))
        o->close = true;
    else if (slice_eq_nocase(option, SLICE("keep-alive")))
        o->keep_alive = true;
    else if (slice_eq_nocase(option, SLICE("upgrade")))
        o->upgrade = true;
}

/* HDR_COUNT is no field's id: it marks what an option names. Fields with HDR_HOP go in any case and
 * are left alone here, so that a Connection field that names itself stays readable to the end of
 * the walk (FAILURES 11). */
static void mark_named(struct hdrs *h, struct slice option)
{
    for (uint32_t i = 0; i < h->n; i++)
        if (h->v[i].name.n == option.n && h->v[i].id != HDR_COUNT &&
            !(hdr_flags(h->v[i].id) & (HDR_KEEP | HDR_HOP)) &&
            slice_eq_nocase(h->v[i].name, option))
            h->v[i].id = HDR_COUNT;
}

static struct options read_connection(struct hdrs *h)
{
    struct options o = {0};
    const struct field *f;

    for (uint32_t i = 0; (f = hdrs_next(h, HDR_CONNECTION, &i)) != NULL; i++) {
        struct slice list = f->value, item;

        while (slice_next_item(&list, &item)) {
            read_option(&o, item);
            mark_named(h, item);
        }
    }
    return o;
}

/* RFC 9112 9.3: an HTTP/1.0 sender closes, unless it is a server that says otherwise (C51). */
static bool will_close(const struct head *h, const struct options *o)
{
    if (o->close)
        return true;
    return h->version == 10 && !(h->response && o->keep_alive);
}

/* "timeout=5, max=100": a hint for the pool; what is no number is no hint. */
static void read_keep_alive(struct head *h)
{
    const struct slice key = SLICE("timeout=");
    const struct field *f = hdrs_find(&h->fields, HDR_KEEP_ALIVE);
    struct slice list = f ? f->value : SLICE_NONE, item;
    uint64_t seconds;

    while (slice_next_item(&list, &item)) {
        if (item.n <= key.n || !slice_eq_nocase(slice_of(item.p, key.n), key))
            continue;
        if (num_dec(slice_skip(item, key.n), UINT32_MAX, &seconds) < 0)
            continue;
        h->keep_alive_s = (uint32_t)seconds;
        return;
    }
}

/* protocol-name ["/" protocol-version] (RFC 9110 7.8), and none that would switch the framing
 * (C32). */
static bool protocol_passes(struct slice s)
{
    size_t slash = slice_find(s, '/');

    if (slash < s.n && !chars_is_token(slice_skip(s, slash + 1)))
        return false;
    return chars_is_token(slice_of(s.p, slash)) && !slice_eq_nocase(s, SLICE("h2c")) &&
           !slice_eq_nocase(s, SLICE("h2"));
}

/* RFC 9110 7.8: not from HTTP/1.0, and in a response only where it is an answer. The first one that
 * passes. */
static void read_upgrade(struct head *h)
{
    const struct field *f;

    if (h->version != 11 || (h->response && h->status != 101))
        return;
    for (uint32_t i = 0; (f = hdrs_next(&h->fields, HDR_UPGRADE, &i)) != NULL; i++) {
        struct slice list = f->value, item;

        while (slice_next_item(&list, &item)) {
            if (protocol_passes(item)) {
                h->protocol = item;
                return;
            }
        }
    }
}

static void remove_marked(struct hdrs *h)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < h->n; i++)
        if (h->v[i].id != HDR_COUNT && !(hdr_flags(h->v[i].id) & HDR_HOP))
            h->v[kept++] = h->v[i];
    h->n = kept;
}

void head_strip_connection(struct head *h)
{
    struct options o = read_connection(&h->fields);

    h->close = h->close || will_close(h, &o);
    h->te_trailers = !h->response && hdrs_has_token(&h->fields, HDR_TE, SLICE("trailers"));
    read_keep_alive(h);
    if (o.upgrade)
        read_upgrade(h);
    remove_marked(&h->fields);
}
