/* SPDX-License-Identifier: MIT */
/* conf_text: characters, escapes and likeness. Called by the report, which quotes the operator's
 * file on a terminal, and by the reader for its hints. What is quoted must never be able to steer
 * the terminal.
 */
#include "app/conf_text.h"

#include <stdio.h>

enum { WORD_MAX = 32, NO_CHAR = 0 };

static inline bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t conf_text_char(struct slice s, uint32_t *ret_c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = s.n ? (unsigned char)s.p[0] : 0xff;
    size_t n = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t c;

    if (n == 0 || first >= 0xf8 || s.n < n)
        return 0;
    c = n == 1 ? first : first & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (!is_continuation(s.p[i]))
            return 0;
        c = c << 6 | ((unsigned char)s.p[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret_c = c;
    return n;
}

bool conf_text_printable(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0x7e) || c == 0x85 ||
           (c >= 0xa0 && c <= 0xfffd) || c >= 0x10000;
}

/* C1 controls, separators, marks and overrides of direction, the byte order mark. */
static bool steers_terminal(uint32_t c)
{
    return (c >= 0x80 && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static const char *short_escape(char c)
{
    switch (c) {
    case '\t':
        return "\\t";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    default:
        return NULL;
    }
}

/* One character of s; returns how many of its bytes that was. */
static size_t render_char(struct slice s, char out[8], size_t *ret_columns)
{
    const char *name = short_escape(s.p[0]);
    uint32_t c = NO_CHAR;
    size_t n = conf_text_char(s, &c);
    int r;

    if (n > 0 && c >= 0x20 && c != 0x7f && !steers_terminal(c)) {
        memcpy(out, s.p, n);
        out[n] = '\0';
        *ret_columns = 1;
        return n;
    }
    if (name)
        r = snprintf(out, 8, "%s", name);
    else if (n > 1)
        r = snprintf(out, 8, "\\u%04x", (unsigned)c & 0xffff);
    else
        r = snprintf(out, 8, "\\x%02x", (unsigned)(unsigned char)s.p[0]);
    *ret_columns = (size_t)r;
    return n ? n : 1;
}

size_t conf_text_escape(char *out, size_t cap, struct slice s, size_t max_chars,
                        size_t *ret_columns)
{
    size_t used = 0, read = 0, columns = 0;

    for (size_t i = 0; i < max_chars && read < s.n; i++) {
        char one[8];
        size_t width, n = render_char(slice_skip(s, read), one, &width), m = strlen(one);

        if (used + m + 1 > cap)
            break;
        memcpy(out + used, one, m);
        used += m;
        read += n;
        columns += width;
    }
    out[used] = '\0';
    *ret_columns = columns;
    return read;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

/* Edit distance with transposition of neighbours counted as one (optimal string alignment). Both
 * words are at most WORD_MAX bytes. */
static unsigned distance(struct slice a, struct slice b)
{
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];

    for (unsigned i = 0; i <= a.n; i++)
        d[i][0] = i;
    for (unsigned j = 0; j <= b.n; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a.n; i++)
        for (size_t j = 1; j <= b.n; j++) {
            char x = slice_lower(a.p[i - 1]), y = slice_lower(b.p[j - 1]);
            unsigned best = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (x != y));

            if (i > 1 && j > 1 && x == slice_lower(b.p[j - 2]) && y == slice_lower(a.p[i - 2]) &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[a.n][b.n];
}

static size_t shared_front(struct slice a, struct slice b)
{
    size_t n = 0;

    while (n < a.n && n < b.n && slice_lower(a.p[n]) == slice_lower(b.p[n]))
        n++;
    return n;
}

/* One error in a short word, three in a long one: "no" must not become "off". */
static unsigned tolerance(size_t n)
{
    return n <= 4 ? 1 : n <= 7 ? 2 : 3;
}

void conf_text_guess_init(struct conf_text_guess *g, struct slice word)
{
    *g =
        (struct conf_text_guess){.word = word, .distance = tolerance(word.n) + 1, .shared = word.n};
}

void conf_text_guess_try(struct conf_text_guess *g, const char *candidate)
{
    struct slice c = slice_str(candidate);
    size_t shared;
    unsigned d;

    if (g->word.n == 0 || g->word.n > WORD_MAX || c.n > WORD_MAX)
        return;
    d = distance(g->word, c);
    shared = shared_front(g->word, c);
    if (d >= c.n || d > g->distance || (d == g->distance && shared <= g->shared))
        return;
    g->distance = d;
    g->shared = shared;
    g->best = candidate;
}
