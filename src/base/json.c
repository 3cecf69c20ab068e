/* SPDX-License-Identifier: MIT */
/* json: a writer for log records, control answers and error bodies. Called on any thread with a
 * buffer of the caller's. Wrong nesting is our own mistake and checked; hostile bytes in strings
 * are escaped; a buffer too small sets `full` for good, and what was written till then is a prefix
 * that the caller must not send as JSON.
 */
#include "base/json.h"

#include "base/check.h"
#include "base/num.h"

void json_init(struct json *j, char *p, size_t cap)
{
    *j = (struct json){.p = p, .cap = cap};
}

/* All or nothing, and nothing after the first that did not fit. */
static inline void put(struct json *j, const char *p, size_t n)
{
    if (n > j->cap - j->n)
        j->full = true;
    if (j->full)
        return;
    memcpy(j->p + j->n, p, n);
    j->n += n;
}

static inline void put_char(struct json *j, char c)
{
    put(j, &c, 1);
}

/* Before each value and each key: the comma, unless this value belongs to a key. */
static void begin(struct json *j)
{
    if (j->depth == 0 || j->keyed) {
        j->keyed = false;
        return;
    }
    if (j->more[j->depth - 1])
        put_char(j, ',');
    j->more[j->depth - 1] = true;
}

void json_open(struct json *j, char c)
{
    CHECK(c == '{' || c == '[');
    CHECK(j->depth < JSON_DEPTH);
    begin(j);
    put_char(j, c);
    j->more[j->depth++] = false;
}

void json_close(struct json *j, char c)
{
    CHECK(c == '}' || c == ']');
    CHECK(j->depth > 0 && !j->keyed);
    j->depth--;
    put_char(j, c);
}

/* Length of the well-formed UTF-8 character at the front, 0 if there is none (Unicode 3.9, table
 * 3-7: no overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t utf8_len(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char low = 0x80, high = 0xbf;
    size_t n;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (s.n < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return n;
}

static inline bool is_plain(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_escaped(struct json *j, char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
    const char *at = c ? strchr(from, c) : NULL;
    unsigned char u = (unsigned char)c;

    if (at)
        put(j, (const char[]){'\\', to[at - from]}, 2);
    else
        put(j, (const char[]){'\\', 'u', '0', '0', hex[u >> 4], hex[u & 15]}, 6);
}

/* Bytes from the front that may be copied as they are. */
static size_t clean_run(struct slice s)
{
    size_t i = 0;

    while (i < s.n) {
        size_t n = 1;

        if (!is_plain(s.p[i])) {
            n = (unsigned char)s.p[i] >= 0x80 ? utf8_len(slice_skip(s, i)) : 0;
            if (n == 0)
                break;
        }
        i += n;
    }
    return i;
}

static void put_string(struct json *j, struct slice s)
{
    put_char(j, '"');
    while (s.n && !j->full) {
        size_t n = clean_run(s);

        put(j, s.p, n);
        s = slice_skip(s, n);
        if (s.n) {
            put_escaped(j, s.p[0]);
            s = slice_skip(s, 1);
        }
    }
    put_char(j, '"');
}

void json_key(struct json *j, const char *key)
{
    CHECK(j->depth > 0 && !j->keyed);
    begin(j);
    put_string(j, slice_str(key));
    put_char(j, ':');
    j->keyed = true;
}

void json_str(struct json *j, struct slice s)
{
    begin(j);
    put_string(j, s);
}

void json_u64(struct json *j, uint64_t v)
{
    char digits[20];

    begin(j);
    put(j, digits, num_put_dec(digits, v));
}

static void put_word(struct json *j, struct slice word)
{
    begin(j);
    put(j, word.p, word.n);
}

void json_bool(struct json *j, bool v)
{
    put_word(j, v ? SLICE("true") : SLICE("false"));
}

void json_null(struct json *j)
{
    put_word(j, SLICE("null"));
}

void json_kstr(struct json *j, const char *key, struct slice s)
{
    json_key(j, key);
    json_str(j, s);
}

void json_ku64(struct json *j, const char *key, uint64_t v)
{
    json_key(j, key);
    json_u64(j, v);
}

void json_kbool(struct json *j, const char *key, bool v)
{
    json_key(j, key);
    json_bool(j, v);
}
