/* SPDX-License-Identifier: MIT */
/* mux_h2_block: keeps a header block as nghttp2 gives it, field by field, until somebody asks for the head. Called while nghttp2 is on the stack: nothing is
 * judged here but how much there is.
 */
#include "mux/mux_h2_priv.h"

#include "base/mem.h"

enum { BLOCK_FIRST = 1024, LIST_EXTRA = 32 /* RFC 9113 6.5.2 */ };

static int block_room(struct h2_block **bp, size_t n)
{
    struct h2_block *b = *bp;
    size_t need = (b ? b->n : 0) + n, cap = b ? b->cap : 0;

    if (need <= cap)
        return 0;
    cap = max_size(max_size(2 * cap, need), BLOCK_FIRST);
    b = mem_grow(b, sizeof(*b) + cap);
    if (!b)
        return ERR_NOMEM;
    if (!*bp)
        *b = (struct h2_block){0};
    b->cap = (uint32_t)cap;
    *bp = b;
    return 0;
}

int h2_block_add(struct h2_block **bp, const struct h1_limits *limits, struct slice name, struct slice value)
{
    uint32_t len[2] = {(uint32_t)name.n, (uint32_t)value.n};
    struct h2_block *b;
    char *p;

    if (block_room(bp, sizeof(len)) < 0)
        return ERR_NOMEM;
    b = *bp;
    b->list += (uint32_t)(name.n + value.n) + LIST_EXTRA;
    b->fields += !name.n || name.p[0] != ':';
    if (b->over || b->list > limits->head || b->fields > limits->fields) {
        b->over = true;
        return 0;
    }
    if (block_room(bp, sizeof(len) + name.n + value.n) < 0)
        return ERR_NOMEM;
    b = *bp;
    p = b->bytes + b->n;
    memcpy(p, len, sizeof(len));
    memcpy(p + sizeof(len), name.p, name.n);
    if (value.n)
        memcpy(p + sizeof(len) + name.n, value.p, value.n);
    b->n += (uint32_t)(sizeof(len) + name.n + value.n);
    return 0;
}

void h2_blocks_free(struct h2_block *b)
{
    while (b) {
        struct h2_block *next = b->next;

        mem_free(b);
        b = next;
    }
}

bool h2_block_next(const struct h2_block *b, const char *bytes, size_t *at, struct slice *ret_name, struct slice *ret_value)
{
    uint32_t len[2];

    if (*at == b->n)
        return false;
    memcpy(len, bytes + *at, sizeof(len));
    *ret_name = slice_of(bytes + *at + sizeof(len), len[0]);
    *ret_value = slice_of(ret_name->p + len[0], len[1]);
    *at += sizeof(len) + len[0] + len[1];
    return true;
}

bool h2_block_interim(const struct h2_block *b)
{
    struct slice name, value;
    size_t at = 0;

    while (h2_block_next(b, b->bytes, &at, &name, &value))
        if (slice_eq(name, SLICE(":status")))
            return value.n == 3 && value.p[0] == '1';
    return false;
}
