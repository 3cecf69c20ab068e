/* SPDX-License-Identifier: MIT */
/* slice: what is too long to be inline: the walk over comma lists and a hash for static tables.
 * Called by every parser and every reader of list fields. Copies nothing, allocates nothing.
 */
#include "base/slice.h"

/* Index of the comma that ends the first element, or s.n. A comma inside a quoted-string is text; a
 * quote that never closes takes the rest, so that a reader sees one odd element and not two
 * plausible ones. */
static size_t item_end(struct slice s)
{
    bool quoted = false;
    size_t i;

    for (i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            quoted = !quoted;
        else if (quoted && s.p[i] == '\\')
            i++; /* quoted-pair: the next byte has no meaning (RFC 9110 5.6.4) */
        else if (!quoted && s.p[i] == ',')
            return i;
    }
    return s.n;
}

bool slice_next_item(struct slice *list, struct slice *ret_item)
{
    while (list->n) {
        size_t end = item_end(*list);
        struct slice item = slice_trim(slice_of(list->p, end));

        *list = slice_skip(*list, end < list->n ? end + 1 : end);
        if (item.n) {
            *ret_item = item;
            return true;
        }
    }
    return false;
}

unsigned slice_hash_nocase(struct slice s)
{
    unsigned h = 2166136261u;

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)slice_lower(s.p[i])) * 16777619u;
    return h;
}
