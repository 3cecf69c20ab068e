/* SPDX-License-Identifier: MIT */
/* fuzz_proxy_header: first bytes of a connection. However they are cut the answer is the same, nothing behind the header matters, and an address comes out of a whole
 * header only. */
#include "proto/proxy_header.h"

#include "fuzz/fuzz.h"

struct answer {
    enum parse parse;
    struct proxy_header h;
    size_t used, had;
};

static struct answer read_in_steps(struct slice in, size_t step)
{
    struct answer a = {.parse = PARSE_MORE};
    const char *fault = NULL;

    for (size_t n = min_size(step, in.n);; n = min_size(n + step, in.n)) {
        enum parse begins = proxy_header_begins(in.p, n);

        a.parse = proxy_header_read(in.p, n, &a.h, &a.used, &fault);
        CHECK((a.parse == PARSE_BAD) == (fault != NULL));
        CHECK(begins != PARSE_BAD || a.parse == PARSE_BAD);
        CHECK(begins != PARSE_MORE || a.parse == PARSE_MORE);
        CHECK(a.parse != PARSE_MORE || n < PROXY_HEADER_MAX);
        a.had = n;
        if (a.parse != PARSE_MORE || n == in.n)
            return a;
    }
}

static void check_done(struct slice in, const struct answer *a)
{
    struct proxy_header again;
    const char *fault;
    size_t used;

    CHECK(a->used <= a->had && a->used >= 13 && a->used <= PROXY_HEADER_MAX);
    CHECK(!a->h.sni.n || (a->h.sni.p > in.p && a->h.sni.p + a->h.sni.n <= in.p + a->used));
    CHECK(!a->h.local || (a->h.src_port == 0 && a->h.dst_port == 0));
    CHECK(proxy_header_read(in.p, a->used, &again, &used, &fault) == PARSE_DONE && used == a->used);
    CHECK(proxy_header_read(in.p, a->used - 1, &again, &used, &fault) == PARSE_MORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, min_size(size, FUZZ_INPUT_MAX));
    struct answer whole = read_in_steps(in, in.n + 1);
    const size_t steps[] = {1, 1 + fuzz_choice(in) % 100};

    for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
        struct answer a = read_in_steps(in, steps[i]);

        if (a.parse != whole.parse || (a.parse == PARSE_DONE && (a.used != whole.used || memcmp(a.h.src, whole.h.src, 16) != 0 || a.h.src_port != whole.h.src_port)))
            fuzz_fail("cut otherwise", in, "", "");
    }
    if (whole.parse == PARSE_DONE)
        check_done(in, &whole);
    return 0;
}
