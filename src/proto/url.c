/* SPDX-License-Identifier: MIT */
/* url: the one place that takes hosts, ports and targets apart. Called by the parser for every
 * request and by whoever reads a host from the configuration. What it hands out as a host is plain:
 * a rule that matches it, the resolver that asks for it and the Host field written from it see the
 * same bytes (FAILURES 17, U2). Paths and queries are never touched (C12). It resolves nothing.
 */
#include "proto/url.h"

#include "base/num.h"
#include "build_config.h"
#include "proto/chars.h"

#include <arpa/inet.h>
#if HAVE_IDN
#include <idn2.h>
#endif

enum {
    NAME_MAX_BYTES = 253,
    LABEL_MAX_BYTES = 63,
    RAW_NAME_MAX =
        1024, /* before escapes and IDNA; each of the 253 bytes may have been written as three */
    PORT_DIGITS = 5,
};

/* --- IPv4 in all its spellings -------------------------------------------- */

/* One part as inet_aton reads it: 0x is hex, a leading 0 octal, all else decimal. */
static bool ipv4_part(struct slice s, uint64_t *ret_v)
{
    unsigned base = 10;
    uint64_t v = 0;

    if (s.n >= 2 && s.p[0] == '0' && slice_lower(s.p[1]) == 'x')
        return num_hex(slice_skip(s, 2), UINT32_MAX, ret_v) == 0;
    if (s.n >= 2 && s.p[0] == '0')
        base = 8;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = (unsigned char)s.p[i] - (unsigned)'0';

        if (d >= base)
            return false;
        v = v * base + d;
        if (v > UINT32_MAX)
            return false;
    }
    *ret_v = v;
    return true;
}

/* One to four parts; the last one fills what the others leave: 127.1, 0x7f000001 (inet_aton(3)). */
static bool ipv4_read(struct slice s, uint8_t ret_addr[4])
{
    uint64_t v = 0, part, addr = 0;
    unsigned n = 0;

    for (;;) {
        size_t dot = slice_find(s, '.');

        if (n == 4 || !ipv4_part(slice_of(s.p, dot), &part))
            return false;
        n++;
        v = part;
        if (dot == s.n)
            break;
        if (part > 255)
            return false;
        addr = addr << 8 | part;
        s = slice_skip(s, dot + 1);
    }
    if (v >> (8 * (5 - n)))
        return false;
    addr = addr << (8 * (5 - n)) | v;
    for (unsigned i = 0; i < 4; i++)
        ret_addr[i] = (uint8_t)(addr >> (24 - 8 * i));
    return true;
}

/* The last label is a number, so that the whole is an address or nothing (WHATWG URL, "ends in a
 * number"): some resolver somewhere would read it as one. */
static bool ends_in_number(struct slice name)
{
    const char *p = name.p + name.n;
    struct slice label;

    while (p > name.p && p[-1] != '.')
        p--;
    label = slice_of(p, (size_t)(name.p + name.n - p));
    if (label.n >= 2 && label.p[0] == '0' && slice_lower(label.p[1]) == 'x')
        return chars_skip(label.p + 2, label.p + label.n, CHARS_HEX) == label.p + label.n;
    return label.n && chars_skip(label.p, label.p + label.n, CHARS_DIGIT) == label.p + label.n;
}

/* --- names ---------------------------------------------------------------- */

static bool labels_fit(struct slice name)
{
    if (name.n == 0 || name.n > NAME_MAX_BYTES)
        return false;
    for (;;) {
        size_t dot = slice_find(name, '.');

        if (dot == 0 || dot > LABEL_MAX_BYTES)
            return false;
        if (dot == name.n)
            return true;
        name = slice_skip(name, dot + 1);
    }
}

/* inet_ntop goes through printf, which costs as much as a head. */
static struct slice ipv4_text(const uint8_t addr[4], char out[INET_ADDRSTRLEN])
{
    size_t n = 0;

    for (int i = 0; i < 4; i++) {
        if (i)
            out[n++] = '.';
        n += num_put_dec(out + n, addr[i]);
    }
    return slice_of(out, n);
}

/* A name in its final bytes: lower case, nothing escaped. */
static enum url_fault name_done(struct arena *a, struct slice name, struct authority *auth)
{
    char out[INET_ADDRSTRLEN];
    struct slice text, dup;

    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (!labels_fit(name))
        return URL_AUTHORITY;
    auth->host = name;
    auth->kind = HOST_NAME;
    if (!ends_in_number(name))
        return URL_OK;
    if (!ipv4_read(name, auth->addr))
        return URL_AUTHORITY;
    auth->kind = HOST_IPV4;
    text = ipv4_text(auth->addr, out);
    if (slice_eq(name, text))
        return URL_OK;
    dup = arena_dup(a, text);
    auth->host = dup;
    return dup.p ? URL_OK : URL_NOMEM;
}

#if HAVE_IDN
/* IDNA2008 behind the mapping of UTS 46, so that capitals and full-width letters end up where a
 * browser puts them. The result goes through every check of a plain name: full-width digits can
 * spell an address. */
static enum url_fault name_idn(struct arena *a, const char *utf8, struct authority *auth)
{
    uint8_t *ascii = NULL;
    struct slice name;
    const char *end;
    int r;

    r = idn2_lookup_u8((const uint8_t *)utf8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (r == IDN2_MALLOC)
        return URL_NOMEM;
    if (r != IDN2_OK)
        return URL_AUTHORITY;
    name = arena_dup(a, slice_str((const char *)ascii));
    idn2_free(ascii);
    if (!name.p)
        return URL_NOMEM;
    end = chars_skip(name.p, name.p + name.n, CHARS_NAME);
    return end == name.p + name.n ? name_done(a, name, auth) : URL_AUTHORITY;
}
#else
static enum url_fault name_idn(struct arena *a, const char *utf8, struct authority *auth)
{
    UNUSED(a), UNUSED(utf8), UNUSED(auth);
    return URL_AUTHORITY;
}
#endif

/* "%41" at s: the byte, or 0 when it is no escape of a name's byte. */
static char unescape(struct slice s)
{
    uint64_t v;
    char c;

    if (s.n < 3 || num_hex(slice_of(s.p + 1, 2), 0x7f, &v) < 0)
        return 0;
    c = slice_lower((char)v);
    return chars_is(c, CHARS_NAME) ? c : 0;
}

/* Lower case, escapes undone; anything else that is no byte of a name is refused, 0x80 and above
 * goes on to IDNA. */
static enum url_fault name_rewrite(struct arena *a, struct slice s, struct authority *auth)
{
    bool ascii = true;
    size_t n = 0;
    char *out;

    if (s.n > RAW_NAME_MAX)
        return URL_AUTHORITY;
    out = arena_alloc(a, s.n + 1);
    if (!out)
        return URL_NOMEM;
    for (size_t i = 0; i < s.n; i++) {
        char c = slice_lower(s.p[i]);

        if (c == '%') {
            c = unescape(slice_skip(s, i));
            i += 2;
        }
        if ((unsigned char)c >= 0x80)
            ascii = false;
        else if (!chars_is(c, CHARS_NAME))
            return URL_AUTHORITY;
        out[n++] = c;
    }
    out[n] = '\0';
    return ascii ? name_done(a, slice_of(out, n), auth) : name_idn(a, out, auth);
}

static enum url_fault name_parse(struct arena *a, struct slice s, struct authority *auth)
{
    if (chars_skip(s.p, s.p + s.n, CHARS_NAME) == s.p + s.n)
        return name_done(a, s, auth);
    return name_rewrite(a, s, auth);
}

/* --- authority ------------------------------------------------------------ */

/* What stands between the brackets. inet_pton knows no zone ids and no leading zeros in the IPv4
 * tail. */
static enum url_fault ipv6_parse(struct arena *a, struct slice s, struct authority *auth)
{
    char text[INET6_ADDRSTRLEN];

    if (s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
        return URL_AUTHORITY;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (inet_pton(AF_INET6, text, auth->addr) != 1 ||
        !inet_ntop(AF_INET6, auth->addr, text, sizeof(text)))
        return URL_AUTHORITY;
    auth->kind = HOST_IPV6;
    auth->host = slice_eq(s, slice_str(text)) ? s : arena_dup(a, slice_str(text));
    return auth->host.p ? URL_OK : URL_NOMEM;
}

/* ":port" or nothing, behind the host. */
static enum url_fault port_parse(struct slice s, bool need_port, uint16_t *ret_port)
{
    uint64_t port;

    if (s.n && s.p[0] != ':')
        return URL_AUTHORITY;
    if (s.n <= 1) {
        *ret_port = 0;
        return need_port ? URL_AUTHORITY : URL_OK;
    }
    s = slice_skip(s, 1);
    if (s.n > PORT_DIGITS || num_dec(s, UINT16_MAX, &port) < 0 || port == 0)
        return URL_AUTHORITY;
    *ret_port = (uint16_t)port;
    return URL_OK;
}

enum url_fault url_authority(struct arena *a, struct slice s, bool need_port,
                             struct authority *ret_auth)
{
    struct authority auth = {.raw = s};
    bool bracket = s.n && s.p[0] == '[';
    size_t end = slice_find(s, bracket ? ']' : ':');
    enum url_fault fault;

    if (slice_find(s, '@') < s.n)
        return URL_USERINFO;
    if (end == 0 || s.n == 0 || (bracket && end == s.n))
        return URL_AUTHORITY;
    fault = port_parse(slice_skip(s, bracket ? end + 1 : end), need_port, &auth.port);
    if (fault != URL_OK)
        return fault;
    if (bracket)
        fault = ipv6_parse(a, slice_of(s.p + 1, end - 1), &auth);
    else
        fault = name_parse(a, slice_of(s.p, end), &auth);
    if (fault == URL_OK)
        *ret_auth = auth;
    return fault;
}

/* --- targets -------------------------------------------------------------- */

/* Of a path and query: visible bytes and 0x80-0xFF, no fragment. */
static bool path_passes(struct slice s)
{
    return chars_skip_target(s.p, s.p + s.n) == s.p + s.n && slice_find(s, '#') == s.n;
}

/* "http://", "https://" in any case. Another scheme is SCHEME, something else TARGET. */
static enum url_fault scheme_parse(struct slice s, enum scheme *ret_scheme, size_t *ret_n)
{
    size_t colon = slice_find(s, ':');
    struct slice name = slice_of(s.p, colon);

    if (s.n - colon < 3 || memcmp(s.p + colon, "://", 3) != 0)
        return URL_TARGET;
    *ret_n = colon + 3;
    if (slice_eq_nocase(name, SLICE("http")))
        *ret_scheme = SCHEME_HTTP;
    else if (slice_eq_nocase(name, SLICE("https")))
        *ret_scheme = SCHEME_HTTPS;
    else
        return chars_is_token(name) ? URL_SCHEME : URL_TARGET;
    return URL_OK;
}

/* Where the authority of an absolute form ends. */
static size_t authority_end(struct slice s)
{
    size_t i = 0;

    while (i < s.n && s.p[i] != '/' && s.p[i] != '?' && s.p[i] != '#')
        i++;
    return i;
}

/* What is sent to an origin in place of an absolute form's rest (RFC 9112 3.2.1, 3.2.4). */
static struct slice origin_path(struct arena *a, struct slice rest, enum method m)
{
    char *p;

    if (rest.n == 0)
        return m == METHOD_OPTIONS ? SLICE("*") : SLICE("/");
    if (rest.p[0] == '/')
        return rest;
    p = arena_alloc(a, rest.n + 1);
    if (!p)
        return SLICE_NONE;
    p[0] = '/';
    memcpy(p + 1, rest.p, rest.n);
    return slice_of(p, rest.n + 1);
}

static enum url_fault absolute_form(struct arena *a, struct slice target, struct head *h)
{
    struct authority auth;
    struct slice rest, path;
    enum scheme scheme;
    enum url_fault fault;
    size_t n;

    fault = scheme_parse(target, &scheme, &n);
    if (fault != URL_OK)
        return fault;
    rest = slice_skip(target, n);
    n = authority_end(rest);
    fault = url_authority(a, slice_of(rest.p, n), false, &auth);
    if (fault != URL_OK)
        return fault;
    rest = slice_skip(rest, n);
    if (!path_passes(rest))
        return URL_TARGET;
    path = origin_path(a, rest, h->method);
    if (!path.p)
        return URL_NOMEM;
    h->form = FORM_ABSOLUTE;
    h->scheme = scheme;
    h->auth = auth;
    h->path = path;
    return URL_OK;
}

static enum url_fault origin_form(struct slice target, struct head *h)
{
    if (!path_passes(target))
        return URL_TARGET;
    h->form = FORM_ORIGIN;
    h->scheme = SCHEME_NONE;
    h->path = target;
    return URL_OK;
}

/* RFC 9112 3.2.3: CONNECT, and nothing else, names host and port (C16). */
static enum url_fault authority_form(struct arena *a, struct slice target, struct head *h)
{
    enum url_fault fault = url_authority(a, target, true, &h->auth);

    if (fault != URL_OK)
        return fault;
    h->form = FORM_AUTHORITY;
    h->scheme = SCHEME_NONE;
    h->path = SLICE_NONE;
    return URL_OK;
}

static enum url_fault asterisk_form(struct slice target, struct head *h)
{
    if (h->method != METHOD_OPTIONS)
        return URL_TARGET;
    h->form = FORM_ASTERISK;
    h->scheme = SCHEME_NONE;
    h->path = target;
    return URL_OK;
}

enum url_fault url_target(struct arena *a, struct slice target, struct head *h)
{
    h->target = target;
    if (target.n == 0)
        return URL_TARGET;
    if (h->method == METHOD_CONNECT)
        return authority_form(a, target, h);
    if (target.p[0] == '/')
        return origin_form(target, h);
    if (slice_eq(target, SLICE("*")))
        return asterisk_form(target, h);
    return absolute_form(a, target, h);
}

/* --- back to text --------------------------------------------------------- */

uint16_t url_default_port(enum scheme s)
{
    switch (s) {
    case SCHEME_HTTP:
        return 80;
    case SCHEME_HTTPS:
        return 443;
    case SCHEME_NONE:
        break;
    }
    return 0;
}

struct slice url_host_field(struct arena *a, const struct authority *auth, enum scheme scheme)
{
    bool port = auth->port && auth->port != url_default_port(scheme);
    bool v6 = auth->kind == HOST_IPV6;
    char *out, *p;

    out = p = arena_alloc(a, auth->host.n + 2 + 1 + PORT_DIGITS);
    if (!out)
        return SLICE_NONE;
    if (v6)
        *p++ = '[';
    if (auth->host.n)
        memcpy(p, auth->host.p, auth->host.n);
    p += auth->host.n;
    if (v6)
        *p++ = ']';
    if (port) {
        *p++ = ':';
        p += num_put_dec(p, auth->port);
    }
    return slice_of(out, (size_t)(p - out));
}
