/* SPDX-License-Identifier: MIT */
/* fuzz_response: response heads, to GET, HEAD and CONNECT. */
#include "fuzz/fuzz_head.h"

static void check_round_trip(const struct job *j, struct slice in)
{
    struct pieces whole = {0};
    struct h1_out out = {.version = 11};
    struct h1_parser *p;
    struct head *h;
    struct arena a;
    enum parse r;
    size_t used;

    arena_init(&a, NULL, 1 << 22);
    p = feed_head(&a, j, in, &whole, &r, &used);
    if (p && r == PARSE_DONE) {
        h = h1_parser_head(p);
        h->version = 11;
        h->keep_alive_s = 0;
        h->close = h->close && !h->protocol.n;
        out.framing = h1_parser_framing(p);
        out.close = h->close;
        out.protocol = h->protocol;
        check_written(j, in, h, &out, h1_write_response);
    }
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum method methods[] = {METHOD_GET, METHOD_HEAD, METHOD_CONNECT};
    struct slice in = slice_of(data, min_size(size, FUZZ_INPUT_MAX));

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct job j = {.kind = H1_RESPONSE, .request_method = methods[i], .limits = usual_limits};

        check_round_trip(&j, in);
        if (fuzz_choice(in) % ARRAY_LEN(methods) != i)
            continue;
        check_cuts(&j, in);
        j.limits = small_limits;
        check_cuts(&j, in);
    }
    return 0;
}
