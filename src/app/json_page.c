/* SPDX-License-Identifier: MIT */
/* json_page: how large a page becomes is known when it does not fit. Called for what is asked of the house, and by commands.
 */
#include "app/json_page.h"

#include "base/mem.h"

enum { PAGE_FIRST = 64 << 10, PAGE_MOST = 64 << 20 };

char *json_page(json_page_fn fill, const void *what, size_t *ret_n)
{
    for (size_t cap = PAGE_FIRST; cap <= PAGE_MOST; cap *= 4) {
        char *p = mem_alloc(cap);
        struct json j;

        if (!p)
            return NULL;
        json_init(&j, p, cap - 2);
        fill(&j, what);
        if (!j.full) {
            p[j.n] = '\n';
            p[j.n + 1] = '\0';
            *ret_n = j.n + 1;
            return p;
        }
        mem_free(p);
    }
    return NULL;
}

void json_page_z(struct json *j, const char *key, const char *z)
{
    if (z)
        json_kstr(j, key, slice_str(z));
}

void json_page_text(struct json *j, const char *key, struct slice s)
{
    if (s.n)
        json_kstr(j, key, s);
}
