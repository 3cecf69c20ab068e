/* SPDX-License-Identifier: MIT */
/* fuzz_request: request heads. */
#include "fuzz/fuzz_head.h"

#include "proto/url.h"

/* Makes of a received head what the send step makes of it, so that it can be compared. */
static void prepare(struct head *h, struct arena *a, struct h1_out *o)
{
    if (h->auth.port == url_default_port(h->scheme))
        h->auth.port = 0;
    if (h->method != METHOD_CONNECT)
        CHECK(hdrs_set(&h->fields, a, HDR_HOST, url_host_field(a, &h->auth, h->scheme)) == 0);
    h->version = 11;
    h->expect_continue = hdrs_has_token(&h->fields, HDR_EXPECT, SLICE("100-continue"));
    h->keep_alive_s = 0;
    h->close = h->close && !h->protocol.n;
    o->form = h->form;
    o->close = h->close;
    o->protocol = h->protocol;
    o->te_trailers = h->te_trailers;
}

static void check_round_trip(const struct job *j, struct slice in)
{
    struct pieces whole = {0};
    struct h1_out out = {0};
    struct h1_parser *p;
    struct arena a;
    enum parse r;
    size_t used;

    arena_init(&a, NULL, 1 << 22);
    p = feed_head(&a, j, in, &whole, &r, &used);
    if (p && r == PARSE_DONE) {
        out.framing = h1_parser_framing(p);
        CHECK(out.framing != H1_FRAME_CLOSE);
        prepare(h1_parser_head(p), &a, &out);
        check_written(j, in, h1_parser_head(p), &out, h1_write_request);
    }
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, min_size(size, FUZZ_INPUT_MAX));
    struct job usual = {.kind = H1_REQUEST, .limits = usual_limits};
    struct job small = {.kind = H1_REQUEST, .limits = small_limits};

    check_cuts(&usual, in);
    check_cuts(&small, in);
    check_round_trip(&usual, in);
    return 0;
}
