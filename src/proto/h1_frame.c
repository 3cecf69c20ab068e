/* SPDX-License-Identifier: MIT */
/* h1_frame: decides where a message ends. A wrong answer here is request smuggling, so every doubt
 * in a request is a refusal (C39-C43), and a response gets the repairs of RFC 9112 6.3 and no
 * others. Called by h1_parse. It must never leave a Content-Length in the list that is not the one
 * it went by.
 */
#include "proto/h1_frame.h"

#include "base/num.h"
#include "proto/chars.h"

/* --- Content-Length ------------------------------------------------------- */

/* Every element of every field, all the same number: "5, 5" is 5 (RFC 9110 8.6). Nothing empty
 * passes, or a second, different one could hide behind it (FAILURES 5). */
static enum h1_fault read_length(const struct hdrs *fields, uint64_t *ret_length)
{
    const struct field *f;
    uint64_t length = UINT64_MAX, v;

    for (uint32_t i = 0; (f = hdrs_next(fields, HDR_CONTENT_LENGTH, &i)) != NULL; i++) {
        struct slice list = f->value;

        for (;;) {
            size_t comma = slice_find(list, ',');

            if (num_dec(slice_trim(slice_of(list.p, comma)), INT64_MAX, &v) < 0)
                return H1_CL_MALFORMED;
            if (length != UINT64_MAX && v != length)
                return H1_CL_UNEQUAL;
            length = v;
            if (comma == list.n)
                break;
            list = slice_skip(list, comma + 1);
        }
    }
    *ret_length = length;
    return H1_OK;
}

/* One field, shortest digits: "007" and "5, 5" are not handed to a reader that may see them
 * otherwise. */
static enum h1_fault write_length(struct head *h, struct arena *a, uint64_t length)
{
    const struct field *f = hdrs_find(&h->fields, HDR_CONTENT_LENGTH);
    char digits[20];
    struct slice value = slice_of(digits, num_put_dec(digits, length));

    if (slice_eq(f->value, value))
        value = f->value;
    else
        value = arena_dup(a, value);
    if (!value.p || hdrs_set(&h->fields, a, HDR_CONTENT_LENGTH, value) < 0)
        return H1_NO_MEMORY;
    return H1_OK;
}

/* --- Transfer-Encoding ---------------------------------------------------- */

struct codings {
    unsigned n, n_chunked, n_empty;
    struct slice last;
    bool malformed; /* an element that is no bare token; a coding with parameters is one */
};

static const struct slice chunked = {"chunked", 7}, identity = {"identity", 8};

/* All fields are one list (FAILURES 2). Quotes need no care: nothing that holds one is a token. */
static struct codings read_codings(const struct hdrs *fields)
{
    struct codings c = {.last = SLICE_NONE};
    const struct field *f;

    for (uint32_t i = 0; (f = hdrs_next(fields, HDR_TRANSFER_ENCODING, &i)) != NULL; i++) {
        struct slice list = f->value;

        for (;;) {
            size_t comma = slice_find(list, ',');
            struct slice item = slice_trim(slice_of(list.p, comma));

            if (item.n) {
                c.n++;
                c.n_chunked += slice_eq_nocase(item, chunked);
                c.malformed = c.malformed || !chars_is_token(item);
                c.last = item;
            } else {
                c.n_empty++;
            }
            if (comma == list.n)
                break;
            list = slice_skip(list, comma + 1);
        }
    }
    return c;
}

/* RFC 9112 6.1, 6.3 (4): exactly one chunked, and we know no other coding (C40, C42). */
static enum h1_fault request_coding(const struct hdrs *fields)
{
    struct codings c = read_codings(fields);

    if (c.malformed || c.n_empty || c.n_chunked != 1 || !slice_eq_nocase(c.last, chunked))
        return H1_TE_MALFORMED;
    return c.n > 1 ? H1_TE_UNKNOWN : H1_OK;
}

/* A response without a final chunked ends with the connection (RFC 9112 6.3 (4), C40). Another
 * coding is coded content, which can't be passed on when the framing is written anew. */
static enum h1_fault response_coding(const struct hdrs *fields, enum h1_framing *ret_framing)
{
    struct codings c = read_codings(fields);
    bool last_chunked = slice_eq_nocase(c.last, chunked);

    if (c.malformed || c.n == 0 || c.n_chunked > last_chunked)
        return H1_TE_MALFORMED;
    if (c.n > 1 || (!last_chunked && !slice_eq_nocase(c.last, identity)))
        return H1_TE_UNKNOWN;
    *ret_framing = last_chunked ? H1_FRAME_CHUNKED : H1_FRAME_CLOSE;
    return H1_OK;
}

/* --- both together -------------------------------------------------------- */

static void set_body(struct head *h, enum h1_framing framing, uint64_t length)
{
    h->body = framing == H1_FRAME_NONE     ? BODY_NONE
              : framing == H1_FRAME_LENGTH ? BODY_SIZED
                                           : BODY_STREAMED;
    h->length = framing == H1_FRAME_LENGTH ? length : 0;
}

/* RFC 9110 9.3.6: no content. A zero that some clients send is taken out (S003-1). */
static enum h1_fault frame_connect(struct head *h, bool te, bool cl)
{
    uint64_t length = 0;

    if (te || (cl && (read_length(&h->fields, &length) != H1_OK || length != 0)))
        return H1_CONNECT_BODY;
    hdrs_remove(&h->fields, HDR_CONTENT_LENGTH);
    return H1_OK;
}

enum h1_fault h1_frame_request(struct head *h, struct arena *a, enum h1_framing *ret_framing)
{
    bool te = hdrs_find(&h->fields, HDR_TRANSFER_ENCODING) != NULL;
    bool cl = hdrs_find(&h->fields, HDR_CONTENT_LENGTH) != NULL;
    enum h1_framing framing = H1_FRAME_NONE;
    enum h1_fault fault = H1_OK;
    uint64_t length = 0;

    if (h->method == METHOD_CONNECT) {
        fault = frame_connect(h, te, cl);
    } else if (te && h->version == 10) {
        fault = H1_TE_IN_1_0; /* RFC 9112 6.1 (C41) */
    } else if (te && cl) {
        fault = H1_CL_AND_TE;
    } else if (te) {
        framing = H1_FRAME_CHUNKED;
        fault = request_coding(&h->fields);
    } else if (cl) {
        framing = H1_FRAME_LENGTH;
        fault = read_length(&h->fields, &length);
        if (fault == H1_OK)
            fault = write_length(h, a, length);
    }
    if (fault != H1_OK)
        return fault;
    set_body(h, framing, length);
    *ret_framing = framing;
    return H1_OK;
}

/* RFC 9110 8.6: a length where none may be. In a 304 or an answer to HEAD it is what the content
 * would have. */
static bool length_forbidden(int status)
{
    return status < 200 || status == 204;
}

static bool never_content(int status, enum method request_method)
{
    return status < 200 || status == 204 || status == 304 || request_method == METHOD_HEAD;
}

/* What is true of every response but a 2xx to CONNECT, with content or without. */
static enum h1_fault clean_length(struct head *h, struct arena *a, bool te, uint64_t *ret_length)
{
    enum h1_fault fault = read_length(&h->fields, ret_length);

    if (fault != H1_OK)
        return fault;
    if (te)
        h->close = true; /* Transfer-Encoding wins (RFC 9112 6.3 (3), C39) */
    if (te || length_forbidden(h->status)) {
        hdrs_remove(&h->fields, HDR_CONTENT_LENGTH);
        return H1_OK;
    }
    return write_length(h, a, *ret_length);
}

enum h1_fault h1_frame_response(struct head *h, struct arena *a, enum method request_method,
                                enum h1_framing *ret_framing)
{
    bool te = hdrs_find(&h->fields, HDR_TRANSFER_ENCODING) != NULL;
    bool cl = hdrs_find(&h->fields, HDR_CONTENT_LENGTH) != NULL;
    bool tunnel = request_method == METHOD_CONNECT && h->status / 100 == 2;
    enum h1_framing framing = H1_FRAME_NONE;
    enum h1_fault fault = H1_OK;
    uint64_t length = 0;

    if (tunnel) /* RFC 9112 6.3 (2), C17: both are ignored */
        hdrs_remove(&h->fields, HDR_CONTENT_LENGTH);
    else if (te && h->version == 10)
        fault = H1_TE_IN_1_0;
    else if (cl)
        fault = clean_length(h, a, te, &length);
    if (fault != H1_OK)
        return fault;

    if (tunnel || never_content(h->status, request_method))
        framing = H1_FRAME_NONE;
    else if (te)
        fault = response_coding(&h->fields, &framing);
    else
        framing = cl ? H1_FRAME_LENGTH : H1_FRAME_CLOSE;
    if (fault != H1_OK)
        return fault;
    if (framing == H1_FRAME_CLOSE)
        h->close = true;
    set_body(h, framing, length);
    *ret_framing = framing;
    return H1_OK;
}
