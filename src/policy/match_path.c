/* SPDX-License-Identifier: MIT */
/* match_path: the other reading of a path. Asked by the matcher for paths that rules look at. It never changes what is sent to the origin.
 */
#include "policy/match_path.h"

#include "base/err.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = slice_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Characters that mean the same whether they are escaped or not (RFC 3986 2.3), and those that some origins undo in spite of it. */
static bool is_undone(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c && strchr("-._~/\\;", c));
}

/* The character of an escape at s.p[i], or -1. */
static int escape_at(struct slice s, size_t i)
{
    int high, low;

    if (s.p[i] != '%' || s.n - i < 3)
        return -1;
    high = hex(s.p[i + 1]);
    low = hex(s.p[i + 2]);
    return high >= 0 && low >= 0 && is_undone(high << 4 | low) ? high << 4 | low : -1;
}

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' || s.p[i] == ';' || escape_at(s, i) >= 0)
            return false;
        if (s.p[i] == '/' && i + 1 < s.n && (s.p[i + 1] == '/' || s.p[i + 1] == '.'))
            return false;
    }
    return true;
}

static size_t unescape(struct slice s, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        int c = escape_at(s, i);

        out[n] = c < 0 ? s.p[i] : (char)c;
        if (out[n] == '\\')
            out[n] = '/';
        n++;
        i += c < 0 ? 0 : 2;
    }
    return n;
}

/* 1 for `.`, 2 for `..`; else 0. */
static unsigned dots_of(struct slice s)
{
    return s.n == 1 && s.p[0] == '.' ? 1 : s.n == 2 && s.p[0] == '.' && s.p[1] == '.' ? 2 : 0;
}

/* In place: what is written never passes what is read. */
static size_t resolve(char *p, size_t n)
{
    size_t w = 0, r = 0;

    while (r < n) {
        struct slice segment = slice_of(p + r + 1, slice_find(slice_of(p + r + 1, n - r - 1), '/'));
        bool last = r + 1 + segment.n == n;
        unsigned dots;

        r += 1 + segment.n;
        /* Some origins know no parameters (RFC 3986 3.3), others take them off before they look. */
        segment.n = slice_find(segment, ';');
        dots = dots_of(segment);
        if (dots == 2)
            while (w > 0 && p[--w] != '/')
                ;
        if (dots == 0 && segment.n) {
            p[w] = '/';
            memmove(p + w + 1, segment.p, segment.n);
            w += 1 + segment.n;
        } else if (last) {
            p[w++] = '/';
        }
    }
    return w;
}

int match_path_plain(struct slice path, char buf[MATCH_PATH_ROOM], struct slice *ret_plain)
{
    size_t n;

    if (path.n == 0 || path.p[0] != '/' || is_plain(path)) {
        *ret_plain = path;
        return 0;
    }
    if (path.n > MATCH_PATH_ROOM)
        return ERR_LIMIT;
    n = unescape(path, buf);
    *ret_plain = slice_of(buf, resolve(buf, n));
    return 0;
}
