/* SPDX-License-Identifier: MIT */
/* h1_body: finds the content among the bytes that follow a head. Called by the h1 mux for every
 * read of a message's body, on the worker's thread. It copies nothing but trailers. Chunk lines are
 * taken apart byte by byte, in a loop and never by recursion (FAILURES 9); whatever is odd in one
 * is refused, in requests and responses alike, since two readers that differ here see different
 * messages (FAILURES 7, 8).
 */
#include "proto/h1_body.h"

#include "base/check.h"
#include "proto/chars.h"

enum {
    SIZE_DIGITS_MAX = 16, /* so that no shift is lost (FAILURES 6) */
    EXT_BYTES_MAX = 4096, /* in a message; an endless extension is no content */
};

enum chunk_state {
    CH_SIZE = 0,
    CH_AFTER_SIZE, /* blanks behind the size: only ';' may follow */
    CH_EXT_NAME_START,
    CH_EXT_NAME,
    CH_AFTER_NAME, /* blanks behind a name: '=' or ';' */
    CH_EXT_VALUE_START,
    CH_EXT_VALUE,
    CH_QUOTED,
    CH_QUOTED_PAIR,
    CH_AFTER_QUOTED,
    CH_SIZE_LF,
    CH_DATA,
    CH_DATA_CR,
    CH_DATA_LF,
    CH_LAST, /* behind the last chunk's line */
    CH_LAST_LF,
    CH_TRAILERS,
    CH_COUNT
};

struct input {
    const char *p, *end;
};

typedef enum parse (*state_fn)(struct h1_body *b, struct input *in);

void h1_body_init(struct h1_body *b, enum h1_framing framing, uint64_t length, bool response,
                  struct arena *arena, const struct h1_limits *limits)
{
    *b = (struct h1_body){
        .framing = framing,
        .left = framing == H1_FRAME_LENGTH ? length : 0,
        .response = response,
        .arena = arena,
        .limits = *limits,
    };
    b->done = framing == H1_FRAME_NONE || (framing == H1_FRAME_LENGTH && length == 0);
}

static enum parse fail(struct h1_body *b, enum h1_fault fault)
{
    b->fault = fault;
    return PARSE_BAD;
}

static enum parse go(struct h1_body *b, struct input *in, enum chunk_state next)
{
    in->p++;
    b->state = (uint8_t)next;
    return PARSE_MORE;
}

/* --- chunk size and extensions (RFC 9112 7.1, 7.1.1) ---------------------- */

/* At a byte that is neither the end of the line nor part of an extension. LF alone would be an end
 * to a reader less strict than us. */
static enum parse fail_in_line(struct h1_body *b, char c, enum h1_fault fault)
{
    return fail(b, c == '\n' ? H1_BARE_LF : fault);
}

static unsigned hex_value(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(slice_lower(c) - 'a') + 10;
}

/* Where a size, a name or a value may end: at the line's end, at the next extension, or at blanks
 * that lead to one. */
static enum parse ext_next(struct h1_body *b, struct input *in, enum chunk_state blank,
                           enum h1_fault fault)
{
    if (*in->p == '\r')
        return go(b, in, CH_SIZE_LF);
    if (*in->p == ';')
        return go(b, in, CH_EXT_NAME_START);
    if (chars_is(*in->p, CHARS_BLANK))
        return go(b, in, blank);
    return fail_in_line(b, *in->p, fault);
}

static enum parse ch_size(struct h1_body *b, struct input *in)
{
    for (; in->p < in->end && chars_is(*in->p, CHARS_HEX); in->p++) {
        if (b->size_digits == SIZE_DIGITS_MAX)
            return fail(b, H1_CHUNK_SIZE);
        b->size_digits++;
        b->left = b->left << 4 | hex_value(*in->p);
    }
    if (in->p == in->end)
        return PARSE_MORE;
    if (b->size_digits == 0 || b->left > INT64_MAX)
        return fail(b, H1_CHUNK_SIZE);
    return ext_next(b, in, CH_AFTER_SIZE, H1_CHUNK_SIZE);
}

static enum parse ch_after_size(struct h1_body *b, struct input *in)
{
    if (chars_is(*in->p, CHARS_BLANK))
        return go(b, in, CH_AFTER_SIZE);
    if (*in->p == ';')
        return go(b, in, CH_EXT_NAME_START);
    return fail_in_line(b, *in->p, H1_CHUNK_EXT);
}

static enum parse ch_ext_name_start(struct h1_body *b, struct input *in)
{
    if (chars_is(*in->p, CHARS_BLANK))
        return go(b, in, CH_EXT_NAME_START);
    if (chars_is(*in->p, CHARS_TOKEN))
        return go(b, in, CH_EXT_NAME);
    return fail_in_line(b, *in->p, H1_CHUNK_EXT);
}

static enum parse ch_ext_name(struct h1_body *b, struct input *in)
{
    in->p = chars_skip(in->p, in->end, CHARS_TOKEN);
    if (in->p == in->end)
        return PARSE_MORE;
    if (*in->p == '=')
        return go(b, in, CH_EXT_VALUE_START);
    return ext_next(b, in, CH_AFTER_NAME, H1_CHUNK_EXT);
}

static enum parse ch_after_name(struct h1_body *b, struct input *in)
{
    if (chars_is(*in->p, CHARS_BLANK))
        return go(b, in, CH_AFTER_NAME);
    if (*in->p == '=')
        return go(b, in, CH_EXT_VALUE_START);
    if (*in->p == ';')
        return go(b, in, CH_EXT_NAME_START);
    return fail_in_line(b, *in->p, H1_CHUNK_EXT);
}

static enum parse ch_ext_value_start(struct h1_body *b, struct input *in)
{
    if (chars_is(*in->p, CHARS_BLANK))
        return go(b, in, CH_EXT_VALUE_START);
    if (*in->p == '"')
        return go(b, in, CH_QUOTED);
    if (chars_is(*in->p, CHARS_TOKEN))
        return go(b, in, CH_EXT_VALUE);
    return fail_in_line(b, *in->p, H1_CHUNK_EXT);
}

static enum parse ch_ext_value(struct h1_body *b, struct input *in)
{
    in->p = chars_skip(in->p, in->end, CHARS_TOKEN);
    if (in->p == in->end)
        return PARSE_MORE;
    return ext_next(b, in, CH_AFTER_SIZE, H1_CHUNK_EXT);
}

/* No CR and no LF inside quotes (FAILURES 8). */
static enum parse ch_quoted(struct h1_body *b, struct input *in)
{
    in->p = chars_skip(in->p, in->end, CHARS_QUOTED);
    if (in->p == in->end)
        return PARSE_MORE;
    if (*in->p == '"')
        return go(b, in, CH_AFTER_QUOTED);
    if (*in->p == '\\')
        return go(b, in, CH_QUOTED_PAIR);
    return fail_in_line(b, *in->p, H1_CHUNK_EXT);
}

static enum parse ch_quoted_pair(struct h1_body *b, struct input *in)
{
    if (chars_is(*in->p, CHARS_VALUE))
        return go(b, in, CH_QUOTED);
    return fail_in_line(b, *in->p, H1_CHUNK_EXT);
}

static enum parse ch_after_quoted(struct h1_body *b, struct input *in)
{
    return ext_next(b, in, CH_AFTER_SIZE, H1_CHUNK_EXT);
}

static enum parse ch_size_lf(struct h1_body *b, struct input *in)
{
    if (*in->p != '\n')
        return fail(b, H1_BARE_CR);
    b->size_digits = 0;
    return go(b, in, b->left ? CH_DATA : CH_LAST);
}

/* --- behind the content --------------------------------------------------- */

static enum parse ch_data_cr(struct h1_body *b, struct input *in)
{
    return *in->p == '\r' ? go(b, in, CH_DATA_LF) : fail(b, H1_CHUNK_END);
}

static enum parse ch_data_lf(struct h1_body *b, struct input *in)
{
    return *in->p == '\n' ? go(b, in, CH_SIZE) : fail(b, H1_CHUNK_END);
}

/* Most messages end here without trailers, and then no parser is made. */
static enum parse ch_last(struct h1_body *b, struct input *in)
{
    if (*in->p == '\r')
        return go(b, in, CH_LAST_LF);
    if (b->arena)
        b->trailer_parser = h1_parser_new(
            b->arena, b->response ? H1_RESPONSE_TRAILERS : H1_REQUEST_TRAILERS, &b->limits);
    if (!b->trailer_parser)
        return fail(b, H1_NO_MEMORY);
    b->state = CH_TRAILERS;
    return PARSE_MORE;
}

static enum parse ch_last_lf(struct h1_body *b, struct input *in)
{
    if (*in->p != '\n')
        return fail(b, H1_BARE_CR);
    in->p++;
    return PARSE_DONE;
}

/* RFC 9110 6.5.1: what decides framing, routing, rights or meaning has no place in trailers. */
static void choose_trailers(struct h1_body *b)
{
    const struct hdrs *all = &h1_parser_head(b->trailer_parser)->fields;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < all->n; i++)
        if (!(hdr_flags(all->v[i].id) & (HDR_HOP | HDR_NO_TRAILER)))
            all->v[kept++] = all->v[i];
    b->trailers = *all;
    b->trailers.n = kept;
}

static enum parse ch_trailers(struct h1_body *b, struct input *in)
{
    size_t used;
    enum parse r;

    r = h1_parser_feed(b->trailer_parser, in->p, (size_t)(in->end - in->p), &used);
    if (r == PARSE_BAD)
        return fail(b,
                    h1_parser_fault(b->trailer_parser) == H1_NO_MEMORY ? H1_NO_MEMORY : H1_TRAILER);
    in->p += used;
    if (r == PARSE_DONE)
        choose_trailers(b);
    return r;
}

/* --- feeding -------------------------------------------------------------- */

static const state_fn states[CH_COUNT] = {
    [CH_SIZE] = ch_size,
    [CH_AFTER_SIZE] = ch_after_size,
    [CH_EXT_NAME_START] = ch_ext_name_start,
    [CH_EXT_NAME] = ch_ext_name,
    [CH_AFTER_NAME] = ch_after_name,
    [CH_EXT_VALUE_START] = ch_ext_value_start,
    [CH_EXT_VALUE] = ch_ext_value,
    [CH_QUOTED] = ch_quoted,
    [CH_QUOTED_PAIR] = ch_quoted_pair,
    [CH_AFTER_QUOTED] = ch_after_quoted,
    [CH_SIZE_LF] = ch_size_lf,
    [CH_DATA_CR] = ch_data_cr,
    [CH_DATA_LF] = ch_data_lf,
    [CH_LAST] = ch_last,
    [CH_LAST_LF] = ch_last_lf,
    [CH_TRAILERS] = ch_trailers,
};

static bool in_extension(const struct h1_body *b)
{
    return b->state >= CH_AFTER_SIZE && b->state <= CH_AFTER_QUOTED;
}

/* One state of an extension, with no more bytes than all extensions of a message may still have. */
static enum parse step_extension(struct h1_body *b, struct input *in)
{
    size_t left = EXT_BYTES_MAX - b->ext_bytes;
    struct input some = {in->p, in->p + min_size((size_t)(in->end - in->p), left)};
    enum parse r;

    if (left == 0)
        return fail(b, H1_CHUNK_EXT);
    r = states[b->state](b, &some);
    b->ext_bytes += (uint32_t)(some.p - in->p);
    in->p = some.p;
    return r;
}

static void take_data(struct h1_body *b, struct input *in, struct slice *ret_data)
{
    size_t n = (size_t)(in->end - in->p);

    if (b->framing != H1_FRAME_CLOSE) {
        n = n < b->left ? n : (size_t)b->left;
        b->left -= n;
    }
    *ret_data = slice_of(in->p, n);
    in->p += n;
}

/* Every state uses a byte or goes on to one that does; at most one run of content a call. */
static enum parse feed_chunked(struct h1_body *b, struct input *in, struct slice *ret_data)
{
    enum parse r = PARSE_MORE;

    while (in->p < in->end && r == PARSE_MORE) {
        if (b->state == CH_DATA) {
            take_data(b, in, ret_data);
            if (b->left == 0)
                b->state = CH_DATA_CR;
            break;
        }
        r = in_extension(b) ? step_extension(b, in) : states[b->state](b, in);
    }
    return r;
}

static enum parse feed_plain(struct h1_body *b, struct input *in, struct slice *ret_data)
{
    take_data(b, in, ret_data);
    return b->framing == H1_FRAME_LENGTH && b->left == 0 ? PARSE_DONE : PARSE_MORE;
}

enum parse h1_body_feed(struct h1_body *b, const char *in, size_t n, size_t *ret_used,
                        struct slice *ret_data)
{
    struct input input = {in, in + n};
    enum parse r;

    *ret_used = 0;
    *ret_data = SLICE_NONE;
    if (b->fault != H1_OK)
        return PARSE_BAD;
    if (b->done)
        return PARSE_DONE;
    if (b->framing == H1_FRAME_CHUNKED)
        r = feed_chunked(b, &input, ret_data);
    else
        r = feed_plain(b, &input, ret_data);
    b->done = r == PARSE_DONE;
    *ret_used = r == PARSE_BAD ? n : (size_t)(input.p - in);
    return r;
}

bool h1_body_eof(struct h1_body *b)
{
    if (b->framing == H1_FRAME_CLOSE)
        b->done = true;
    return b->done;
}

uint64_t h1_body_direct(const struct h1_body *b)
{
    if (b->done)
        return 0;
    if (b->framing == H1_FRAME_CLOSE)
        return UINT64_MAX;
    return b->framing == H1_FRAME_LENGTH || b->state == CH_DATA ? b->left : 0;
}

void h1_body_skip(struct h1_body *b, uint64_t n)
{
    CHECK(n <= h1_body_direct(b));
    if (b->framing == H1_FRAME_CLOSE)
        return;
    b->left -= n;
    if (b->left)
        return;
    if (b->framing == H1_FRAME_CHUNKED)
        b->state = CH_DATA_CR;
    else
        b->done = true;
}
