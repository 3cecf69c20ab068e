/* SPDX-License-Identifier: MIT */
/* fuzz_clienthello: first bytes of a stream. However they are cut the answer is the same; a name that comes out is plain, and is the only one that a reader who is less
 * strict finds in the message. */
#include "proto/clienthello.h"
#include "proto/spoken.h"

#include "fuzz/fuzz.h"
#include "proto/chars.h"

struct answer {
    enum parse parse;
    struct clienthello hello;
};

/* In pieces of `step` bytes. *ret_used: how many it had when it answered. */
static struct answer read_in_steps(struct slice in, size_t step, size_t *ret_used)
{
    struct clienthello_scan scan = {0};
    struct answer a = {.parse = PARSE_MORE};
    const char *fault = NULL;

    for (size_t n = min_size(step, in.n);; n = min_size(n + step, in.n)) {
        a.parse = clienthello_feed(&scan, in.p, n, &a.hello, &fault);
        CHECK((a.parse == PARSE_BAD) == (fault != NULL));
        CHECK(a.parse != PARSE_MORE || n < CLIENTHELLO_MAX);
        *ret_used = n;
        if (a.parse != PARSE_MORE || n == in.n)
            return a;
    }
}

/* The message without its records. */
static size_t unwrap(struct slice in, size_t end, uint8_t *out)
{
    size_t n = 0;

    for (size_t at = 0; at < end;) {
        size_t length = (size_t)(uint8_t)in.p[at + 3] << 8 | (uint8_t)in.p[at + 4];

        memcpy(out + n, in.p + at + 5, length);
        n += length;
        at += 5 + length;
    }
    return n;
}

static size_t number(const uint8_t *p, unsigned bytes)
{
    size_t v = 0;

    while (bytes--)
        v = v << 8 | *p++;
    return v;
}

/* Every server_name extension, wherever one is; a length that does not fit would have been refused. */
static void check_names(struct slice in, const struct clienthello *h)
{
    static uint8_t m[FUZZ_INPUT_MAX];
    size_t n = unwrap(in, h->end, m), at = 4 + 2 + 32, names = 0;

    CHECK(n >= 4 && number(m + 1, 3) == n - 4);
    at += 1 + m[at];
    at += 2 + number(m + at, 2);
    at += 1 + m[at];
    CHECK(at <= n);
    for (at += at < n ? 2 : 0; at < n; at += 4 + number(m + at + 2, 2)) {
        if (number(m + at, 2) != 0)
            continue;
        names++;
        CHECK(number(m + at + 7, 2) == number(m + at + 2, 2) - 5);
        for (size_t i = 0; i < h->n_name; i++)
            CHECK(slice_lower((char)m[at + 9 + i]) == h->name[i]);
    }
    CHECK(at == n && names == (h->n_name > 0));
}

static void check_done(struct slice in, const struct clienthello *h)
{
    const char *end = h->name + h->n_name;

    CHECK(h->end <= in.n && h->end <= CLIENTHELLO_MAX);
    CHECK(chars_skip(h->name, end, CHARS_NAME) == end);
    CHECK(!h->n_name || (h->name[0] != '.' && end[-1] != '.'));
    CHECK(spoken_of(in.p, in.n) == SPOKEN_TLS);
    check_names(in, h);
}

static void check_spoken(struct slice in)
{
    enum spoken before = SPOKEN_MORE;

    for (size_t n = 0; n <= min_size(in.n, 300); n++) {
        enum spoken now = spoken_of(in.p, n);

        CHECK(before == SPOKEN_MORE || now == before);
        before = now;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, min_size(size, FUZZ_INPUT_MAX));
    size_t used, used_whole;
    struct answer whole = read_in_steps(in, in.n + 1, &used_whole);
    const size_t steps[] = {1, 1 + fuzz_choice(in) % 700};

    for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
        struct answer a = read_in_steps(in, steps[i], &used);

        /* A BAD may come before what would have been missing. */
        if (a.parse != whole.parse || (a.parse == PARSE_DONE && (a.hello.end != whole.hello.end || !slice_eq(clienthello_name(&a.hello), clienthello_name(&whole.hello)))))
            fuzz_fail("cut otherwise", in, "", "");
        CHECK(a.parse != PARSE_DONE || used >= a.hello.end);
    }
    if (whole.parse == PARSE_DONE)
        check_done(in, &whole.hello);
    check_spoken(in);
    return 0;
}
