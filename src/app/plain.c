/* SPDX-License-Identifier: MIT */
/* plain: takes *bold*, _underlined_ and backslashes out of scdoc text, by scdoc's own rules: an
 * underscore inside a word is a character.
 */
#include "app/plain.h"

#include <stdbool.h>

static bool in_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

struct slice plain_text(char out[PLAIN_MAX], const char *scdoc)
{
    size_t n = 0;

    for (const char *p = scdoc; *p && n + 1 < PLAIN_MAX; p++) {
        bool inside = p > scdoc && in_word(p[-1]) && in_word(p[1]);

        if (*p == '*' || (*p == '_' && !inside))
            continue;
        if (*p == '\\' && p[1])
            p++;
        out[n++] = *p;
    }
    out[n] = '\0';
    return slice_of(out, n);
}

struct slice plain_first(char out[PLAIN_MAX], const char *scdoc)
{
    struct slice s = plain_text(out, scdoc);
    char *end = strstr(out, ". ");

    if (end)
        s.n = (size_t)(end - out);
    else if (s.n && out[s.n - 1] == '.')
        s.n--;
    out[s.n] = '\0';
    return s;
}
