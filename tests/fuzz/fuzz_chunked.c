/* SPDX-License-Identifier: MIT */
/* fuzz_chunked: chunked content of both sides. However it is cut, content, trailers and end are the
 * same; and what is written anew is read back as the same. */
#include "proto/h1_write.h"

#include "fuzz/fuzz.h"
#include "unit/proto/h1_text.h"

static const struct h1_limits usual_limits = {.line = 16384, .head = 65536, .fields = 200};
static const struct h1_limits small_limits = {.line = 10, .head = 64, .fields = 3};

struct decoded {
    struct text text;
    struct h1_body body;
    struct arena arena;
};

static void decode(struct decoded *d, struct slice in, const struct pieces *how, bool response,
                   const struct h1_limits *limits)
{
    size_t used;

    d->text.n = 0;
    arena_init(&d->arena, NULL, 1 << 22);
    h1_body_init(&d->body, H1_FRAME_CHUNKED, 0, response, &d->arena, limits);
    used = text_body(&d->text, &d->body, in, how);
    if (d->body.done)
        text_num(&d->text, used);
}

/* The content is what stands before the last '|' of the text, whose length we know by then. */
static void check_written(struct slice in, const struct decoded *d, size_t content_n)
{
    static struct text wire;
    static struct decoded again;
    static char last[TEXT_MAX];
    char prefix[H1_CHUNK_PREFIX_MAX];
    struct pieces whole = {0};
    struct objcache blocks;
    struct bufq q;
    size_t n;

    objcache_init(&blocks, 4096, 0);
    bufq_init(&q, &blocks);
    CHECK(h1_write_last_chunk(&q, &d->body.trailers) == 0);
    n = bufq_copy_out(&q, last, sizeof(last) - 1);
    objcache_done(&blocks);
    last[n] = '\0';
    if (n > 5)
        fuzz_check_wire("trailers", in, last, n);

    wire.n = 0;
    for (size_t at = 0; at < content_n;) {
        size_t size = min_size(content_n - at, 1 + fuzz_choice(in) % 100);

        text_put(&wire, slice_of(prefix, h1_write_chunk_prefix(prefix, size)));
        text_put(&wire, slice_of(d->text.p + at, size));
        text_str(&wire, "\r\n");
        at += size;
    }
    text_put(&wire, slice_of(last, n));
    decode(&again, slice_of(wire.p, wire.n), &whole, d->body.response, &usual_limits);
    CHECK(again.body.done);
    CHECK(again.text.n >= content_n);
    CHECK(content_n == 0 || memcmp(again.text.p, d->text.p, content_n) == 0);
    CHECK(again.body.trailers.n == d->body.trailers.n);
    for (uint32_t i = 0; i < d->body.trailers.n; i++) {
        CHECK(slice_eq(again.body.trailers.v[i].name, d->body.trailers.v[i].name));
        CHECK(slice_eq(again.body.trailers.v[i].value, d->body.trailers.v[i].value));
    }
    arena_done(&again.arena);
}

/* Bytes of content in a whole message. */
static size_t content_size(struct slice in, const struct h1_limits *limits, bool response)
{
    enum parse r = PARSE_MORE;
    size_t at = 0, content = 0;
    struct h1_body b;
    struct arena a;

    arena_init(&a, NULL, 1 << 22);
    h1_body_init(&b, H1_FRAME_CHUNKED, 0, response, &a, limits);
    while (r == PARSE_MORE && at < in.n) {
        struct slice data;
        size_t used;

        r = h1_body_feed(&b, in.p + at, in.n - at, &used, &data);
        at += used;
        content += data.n;
    }
    arena_done(&a);
    return content;
}

static void check_side(struct slice in, bool response, const struct h1_limits *limits)
{
    static struct decoded whole, cut;
    struct pieces ways[] = {
        {0},
        {.first = in.n ? 1 + fuzz_choice(in) % in.n : 0},
        {.step = in.n < 300 ? 1 : 17},
        {.first = 1 + fuzz_choice(in) / 7 % 64, .step = 1 + fuzz_choice(in) / 5 % 64},
    };

    decode(&whole, in, &ways[0], response, limits);
    for (size_t i = 1; i < ARRAY_LEN(ways); i++) {
        decode(&cut, in, &ways[i], response, limits);
        if (cut.text.n != whole.text.n || memcmp(cut.text.p, whole.text.p, cut.text.n) != 0)
            fuzz_fail("cut differently", in, whole.text.p, cut.text.p);
        arena_done(&cut.arena);
    }
    if (whole.body.done)
        check_written(in, &whole, content_size(in, limits, response));
    arena_done(&whole.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, min_size(size, FUZZ_INPUT_MAX));

    check_side(in, false, &usual_limits);
    check_side(in, true, &usual_limits);
    check_side(in, false, &small_limits);
    return 0;
}
