/* SPDX-License-Identifier: MIT */
/* authn: takes Basic credentials apart. Called by step auth for the one field that it found, and by whoever reads users' files for
 * what a name may be. Bytes are octets: what is UTF-8 stays as it is, and is compared as it is.
 */
#include "proto/authn.h"

#include "proto/chars.h"

#include <stdint.h>

enum { BAD = 64, BITS = 6 };

static unsigned digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : BAD;
}

/* How many '=' end it: 0, 1, 2. */
static unsigned padding(struct slice s)
{
    if (s.n == 0 || s.p[s.n - 1] != '=')
        return 0;
    return s.p[s.n - 2] == '=' ? 2 : 1;
}

/* RFC 4648 4, strictly: whole groups, padding, and no bits beyond the last byte (3.5): one text for each value. */
static bool decode(struct slice s, char *out, size_t cap, size_t *ret_n)
{
    unsigned pad, held = 0, left = 0;
    size_t n = 0;

    if (s.n == 0 || s.n % 4)
        return false;
    pad = padding(s);
    s.n -= pad;
    if (s.n * BITS / 8 > cap)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = digit_of(s.p[i]);

        if (d == BAD)
            return false;
        held = (held << BITS | d) & 0x3fff;
        left += BITS;
        if (left >= 8) {
            left -= 8;
            out[n++] = (char)(unsigned char)(held >> left);
        }
    }
    *ret_n = n;
    return (held & ((1u << left) - 1)) == 0;
}

/* RFC 4648 4. out has room for 4 bytes of each 3, the last ones rounded up. */
static void encode(struct slice s, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < s.n; i += 3) {
        unsigned v = 0, n = (unsigned)(s.n - i < 3 ? s.n - i : 3);

        for (unsigned k = 0; k < 3; k++)
            v = v << 8 | (k < n ? (unsigned char)s.p[i + k] : 0u);
        for (unsigned k = 0; k < 4; k++)
            *out++ = k <= n ? digits[v >> (18 - k * BITS) & 63] : '=';
    }
}

struct slice authn_basic_value(struct arena *a, struct slice credentials)
{
    static const struct slice scheme = {"Basic ", 6};
    size_t n = scheme.n + (credentials.n + 2) / 3 * 4;
    char *p = arena_alloc(a, n + 1);

    if (!p)
        return SLICE_NONE;
    memcpy(p, scheme.p, scheme.n);
    encode(credentials, p + scheme.n);
    p[n] = '\0';
    return slice_of(p, n);
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

bool authn_is_name(struct slice s)
{
    return s.n && s.n <= AUTHN_NAME_MAX && !has_control(s) && !memchr(s.p, '+', s.n) && !memchr(s.p, ',', s.n) && !memchr(s.p, ':', s.n);
}

bool authn_is_label(struct slice s)
{
    size_t equals = slice_find(s, '=');

    if (!chars_is_token(slice_of(s.p, equals)))
        return false;
    return equals == s.n || chars_is_token(slice_skip(s, equals + 1));
}

bool authn_next_label(struct slice *list, struct slice *ret_label)
{
    size_t n;

    if (!list->p)
        return false;
    n = slice_find(*list, '+');
    *ret_label = slice_of(list->p, n);
    *list = n < list->n ? slice_skip(*list, n + 1) : SLICE_NONE;
    return true;
}

/* No label but what is written between two '+' or behind the last one: an empty one is none. */
static bool labels_are_right(struct slice list)
{
    struct slice label;
    unsigned n = 0;

    while (authn_next_label(&list, &label))
        if (++n > AUTHN_LABELS_MAX || !authn_is_label(label))
            return false;
    return true;
}

/* scheme 1*SP token68 (RFC 9110 11.4). False: another scheme. */
static bool after_scheme(struct slice value, struct slice *ret_token)
{
    static const struct slice scheme = {"Basic", 5};

    if (value.n < scheme.n || !slice_eq_nocase(slice_of(value.p, scheme.n), scheme))
        return false;
    value = slice_skip(value, scheme.n);
    if (value.n && value.p[0] != ' ')
        return false;
    while (value.n && value.p[0] == ' ')
        value = slice_skip(value, 1);
    *ret_token = value;
    return true;
}

enum authn_result authn_basic(struct slice value, char buf[AUTHN_PLAIN_MAX], struct authn *ret_a)
{
    struct authn a = {0};
    struct slice token, id;
    size_t n, colon, plus;

    if (!after_scheme(value, &token))
        return AUTHN_OTHER;
    if (!decode(token, buf, AUTHN_PLAIN_MAX, &n) || has_control(slice_of(buf, n)))
        return AUTHN_MALFORMED;
    colon = slice_find(slice_of(buf, n), ':');
    if (colon == n)
        return AUTHN_MALFORMED;
    id = slice_of(buf, colon);
    a.password = slice_of(buf + colon + 1, n - colon - 1);
    plus = slice_find(id, '+');
    a.name = slice_of(id.p, plus);
    if (id.n > AUTHN_ID_MAX || a.password.n > AUTHN_PASSWORD_MAX || !authn_is_name(a.name))
        return AUTHN_MALFORMED;
    if (plus < id.n) {
        a.labels = slice_skip(id, plus + 1);
        if (!labels_are_right(a.labels))
            return AUTHN_LABEL;
    }
    *ret_a = a;
    return AUTHN_OK;
}
