/* SPDX-License-Identifier: MIT */
/* users_answer: reads and writes those lines. Called by users_verify, and by the program's thread, which wants to know whether a line
 * is an answer at all. The line comes from a program that may say anything.
 */
#include "proxy/users_answer.h"

#include "proto/authn.h"
#include "proto/chars.h"

static bool begins_with_word(struct slice line, struct slice word)
{
    return line.n >= word.n && memcmp(line.p, word.p, word.n) == 0 && (line.n == word.n || line.p[word.n] == ' ');
}

enum users_answer_kind users_answer_kind(struct slice line)
{
    if (begins_with_word(line, SLICE("OK")))
        return USERS_ANSWER_OK;
    if (begins_with_word(line, SLICE("ERR")))
        return USERS_ANSWER_ERR;
    if (!begins_with_word(line, SLICE("BH")))
        return USERS_ANSWER_NONE;
    /* basic_ldap_auth says that there was no error, and means a wrong password: it has closed the connection that knew better. */
    return slice_eq(slice_trim(slice_skip(line, 2)), SLICE("Success")) ? USERS_ANSWER_ERR : USERS_ANSWER_BH;
}

static void skip_blanks(struct slice *s)
{
    while (s->n && (s->p[0] == ' ' || s->p[0] == '\t'))
        *s = slice_skip(*s, 1);
}

/* "text with \" and \\" into out; what does not fit, or does not end, is none. */
static bool quoted(struct slice *s, char *out, size_t cap, size_t *ret_n)
{
    size_t n = 0;

    *s = slice_skip(*s, 1);
    while (s->n && s->p[0] != '"') {
        if (s->p[0] == '\\' && s->n > 1)
            *s = slice_skip(*s, 1);
        if (n == cap)
            return false;
        out[n++] = s->p[0];
        *s = slice_skip(*s, 1);
    }
    if (!s->n)
        return false;
    *s = slice_skip(*s, 1);
    *ret_n = n;
    return true;
}

static unsigned hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c = slice_lower(c);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* Up to the next blank, %XX made bytes again. */
static bool plain(struct slice *s, char *out, size_t cap, size_t *ret_n)
{
    size_t n = 0;

    while (s->n && s->p[0] != ' ' && s->p[0] != '\t') {
        bool escaped = s->p[0] == '%' && s->n > 2 && hex_of(s->p[1]) < 16 && hex_of(s->p[2]) < 16;

        if (n == cap)
            return false;
        out[n++] = escaped ? (char)(unsigned char)(hex_of(s->p[1]) << 4 | hex_of(s->p[2])) : s->p[0];
        *s = slice_skip(*s, escaped ? 3 : 1);
    }
    *ret_n = n;
    return true;
}

static void add_item(char *list, unsigned *n, struct slice item)
{
    if (*n + (*n > 0) + item.n > USERS_ANSWER_TEXT)
        return;
    if (*n)
        list[(*n)++] = ',';
    memcpy(list + *n, item.p, item.n);
    *n += (unsigned)item.n;
}

static void add_list(char *list, unsigned *n, struct slice items, bool (*is_right)(struct slice))
{
    while (items.n) {
        size_t end = slice_find(items, ',');
        struct slice item = slice_of(items.p, end);

        if (is_right(item))
            add_item(list, n, item);
        items = end < items.n ? slice_skip(items, end + 1) : SLICE_NONE;
    }
}

static void take_pair(struct users_answer *a, struct slice key, struct slice value)
{
    if (slice_eq(key, SLICE("user")) && authn_is_name(value)) {
        memcpy(a->user, value.p, value.n);
        a->user_n = (unsigned)value.n;
    } else if (slice_eq(key, SLICE("group"))) {
        add_list(a->groups, &a->groups_n, value, authn_is_name);
    } else if (slice_eq(key, SLICE("tag"))) {
        add_list(a->tags, &a->tags_n, value, authn_is_label);
    }
}

/* key=value, key="value". False: nothing that can be read follows. */
static bool next_pair(struct slice *s, struct users_answer *a)
{
    char value[USERS_ANSWER_TEXT];
    struct slice key;
    size_t n;

    skip_blanks(s);
    n = slice_find(*s, '=');
    key = slice_of(s->p, n);
    /* Squid's old helpers put a message here, with no key. */
    if (n == s->n || !chars_is_token(key))
        return false;
    *s = slice_skip(*s, n + 1);
    if (s->n && s->p[0] == '"' ? !quoted(s, value, sizeof(value), &n) : !plain(s, value, sizeof(value), &n))
        return false;
    take_pair(a, key, slice_of(value, n));
    return true;
}

void users_answer_parse(struct slice line, struct users_answer *ret_a)
{
    *ret_a = (struct users_answer){.kind = users_answer_kind(line)};
    if (ret_a->kind != USERS_ANSWER_OK)
        return;
    line = slice_skip(line, 2);
    while (line.n && next_pair(&line, ret_a))
        ;
}

static bool put(char *out, size_t cap, size_t *n, struct slice s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';

        if (*n + 3 > cap)
            return false;
        if (safe) {
            out[(*n)++] = (char)c;
            continue;
        }
        out[(*n)++] = '%';
        out[(*n)++] = hex[c >> 4];
        out[(*n)++] = hex[c & 15];
    }
    return true;
}

size_t users_answer_ask(struct slice user, struct slice password, char *out, size_t cap)
{
    size_t n = 0;

    if (!put(out, cap, &n, user) || n + 1 > cap)
        return 0;
    out[n++] = ' ';
    return put(out, cap, &n, password) ? n : 0;
}
