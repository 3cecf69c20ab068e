/* SPDX-License-Identifier: MIT */
/* fuzz_head: the properties that request and response heads share. Include it once a program.
 * 1. However the bytes are cut, the parser says the same.
 * 2. With memory short it says so or says the same.
 * 3. What it takes is written without a stray line end, and read back as the same head. */
#ifndef FUZZ_FUZZ_HEAD_H
#define FUZZ_FUZZ_HEAD_H

#include "proto/h1_write.h"

#include "fuzz/fuzz.h"
#include "unit/proto/h1_text.h"

static const struct h1_limits usual_limits = {.line = 16384, .head = 65536, .fields = 200};
static const struct h1_limits small_limits = {.line = 48, .head = 256, .fields = 4};
static const struct h1_limits wide_limits = {.line = 65536, .head = 262144, .fields = 400};

/* The head's text and how many bytes it had. */
static inline void head_text(struct text *t, const struct job *j, struct slice in,
                             const struct pieces *how, size_t arena_limit)
{
    struct h1_parser *p;
    struct arena a;
    enum parse r;
    size_t used;

    t->n = 0;
    arena_init(&a, NULL, arena_limit);
    p = feed_head(&a, j, in, how, &r, &used);
    if (!p) {
        text_str(t, "NO_MEMORY");
    } else {
        text_parsed(t, p, r);
        if (r == PARSE_DONE)
            text_num(t, used);
    }
    arena_done(&a);
}

static inline void check_cuts(const struct job *j, struct slice in)
{
    static struct text whole, cut;
    struct pieces ways[] = {
        {0},
        {.first = in.n ? 1 + fuzz_choice(in) % in.n : 0},
        {.step = in.n < 300 ? 1 : 17},
        {.first = 1 + fuzz_choice(in) / 7 % 64, .step = 1 + fuzz_choice(in) / 5 % 64},
    };

    head_text(&whole, j, in, &ways[0], 1 << 22);
    for (size_t i = 1; i < ARRAY_LEN(ways); i++) {
        head_text(&cut, j, in, &ways[i], 1 << 22);
        fuzz_same("cut differently", in, whole.p, cut.p);
    }
    head_text(&cut, j, in, &ways[0], fuzz_choice(in) % 16384);
    if (strcmp(cut.p, "NO_MEMORY") != 0)
        fuzz_same("with little memory", in, whole.p, cut.p);
}

typedef int (*write_fn)(struct bufq *q, const struct head *h, const struct h1_out *o);

/* h has been made what the writer ought to send. */
static inline void check_written(const struct job *j, struct slice in, const struct head *h,
                                 const struct h1_out *o, write_fn write)
{
    static struct text before, after;
    static char wire[2 * TEXT_MAX];
    struct job again = *j;
    struct pieces whole = {0};
    struct objcache blocks;
    struct bufq q;
    size_t n;

    objcache_init(&blocks, 4096, 0);
    bufq_init(&q, &blocks);
    CHECK(write(&q, h, o) == 0);
    n = bufq_copy_out(&q, wire, sizeof(wire) - 1);
    CHECK(q.len == 0);
    objcache_done(&blocks);
    wire[n] = '\0';
    fuzz_check_wire("written", in, wire, n);

    again.limits = wide_limits;
    before.n = 0;
    text_head(&before, h, o->framing);
    text_num(&before, n);
    head_text(&after, &again, slice_of(wire, n), &whole, 1 << 22);
    fuzz_same("read back", in, before.p, after.p);
}

#endif
