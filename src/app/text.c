/* SPDX-License-Identifier: MIT */
/* text: the growing buffer behind metrics and status. Called on the main thread, never for anything that a request decides the size of.
 */
#include "app/text.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdarg.h>
#include <stdio.h>

enum { TEXT_FIRST = 4096, TEXT_PRINTF_MAX = 512 };

static bool text_room(struct text *t, size_t n)
{
    size_t cap = t->cap ? t->cap : TEXT_FIRST;
    char *p;

    if (t->refused)
        return false;
    if (n <= t->cap - t->n)
        return true;
    while (cap - t->n < n)
        cap *= 2;
    p = mem_grow(t->p, cap);
    if (!p) {
        t->refused = true;
        return false;
    }
    t->p = p;
    t->cap = cap;
    return true;
}

void text_put(struct text *t, const void *p, size_t n)
{
    if (n == 0 || !text_room(t, n))
        return;
    memcpy(t->p + t->n, p, n);
    t->n += n;
}

void text_str(struct text *t, const char *z)
{
    text_put(t, z, strlen(z));
}

void text_u64(struct text *t, uint64_t v)
{
    char digits[20];

    text_put(t, digits, num_put_dec(digits, v));
}

void text_printf(struct text *t, const char *fmt, ...)
{
    char line[TEXT_PRINTF_MAX];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n > 0)
        text_put(t, line, min_size((size_t)n, sizeof(line) - 1));
}

void text_pad(struct text *t, size_t line, size_t column)
{
    do
        text_put(t, " ", 1);
    while (!t->refused && t->n - line < column);
}

static void put_hex(struct text *t, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";

    text_put(t, (const char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
}

void text_escaped(struct text *t, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c >= 0x20 && c < 0x7f && c != '\\')
            text_put(t, &c, 1);
        else
            put_hex(t, c);
    }
}

/* Controls of Latin-1, as UTF-8: a terminal may obey them too. */
static bool is_c1(struct slice s, size_t i)
{
    return s.p[i] == '\xc2' && i + 1 < s.n && (unsigned char)s.p[i + 1] >= 0x80 && (unsigned char)s.p[i + 1] < 0xa0;
}

void text_operator(struct text *t, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 0x20 || c == 0x7f || is_c1(s, i))
            put_hex(t, c);
        else
            text_put(t, &c, 1);
    }
}

char *text_take(struct text *t, size_t *ret_n)
{
    char *p;

    text_put(t, "", 1);
    if (t->refused) {
        text_done(t);
        return NULL;
    }
    p = t->p;
    *ret_n = t->n - 1;
    *t = (struct text){0};
    return p;
}

void text_done(struct text *t)
{
    mem_free(t->p);
    *t = (struct text){0};
}
