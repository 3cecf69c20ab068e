/* SPDX-License-Identifier: MIT */
/* h1_parse: reads the head of an HTTP/1 message, and trailer sections, from bytes that may come in
 * any pieces. Called by the h1 mux and by h1_body on the worker's thread. One function a state;
 * each uses the run of bytes it understands and names the next state, so that where a piece ends
 * makes no difference. Names and values are copied into the arena run by run: nothing of a head
 * points into a read buffer. It must never repair a request.
 */
#include "proto/h1_parse.h"

#include "proto/chars.h"
#include "proto/h1_frame.h"
#include "proto/url.h"

enum {
    TEXT_MIN = 1024,     /* holds the names and values of a usual head */
    EMPTY_LINES_MAX = 8, /* before a request line (RFC 9112 2.2); endless ones are refused */
};

enum state {
    ST_START = 0, /* before a request: empty lines */
    ST_EMPTY_LF,  /* a CR there */
    ST_METHOD,
    ST_TARGET,
    ST_VERSION, /* and, in a response, the status code */
    ST_AFTER_VERSION,
    ST_AFTER_STATUS,
    ST_REASON,
    ST_LINE_LF, /* the CR of the start line was seen */
    ST_FIELD,   /* at the first byte of a line */
    ST_NAME,
    ST_AFTER_NAME, /* blanks before the colon, responses only */
    ST_BEFORE_VALUE,
    ST_VALUE,
    ST_VALUE_LF,
    ST_END_LF,
    ST_OVER,
    ST_COUNT
};

struct h1_parser {
    struct arena *arena;
    struct h1_limits limits;
    enum h1_kind kind;
    enum state state;
    enum h1_fault fault; /* with ST_OVER: how it ended */
    enum h1_framing framing;
    enum method request_method; /* responses */
    bool lf_ends_line;          /* CONNECT: LF alone will do (S000-5) */
    bool begun;
    unsigned empty_lines;
    unsigned at; /* ST_VERSION: place in the form */
    int major, minor;
    size_t head_n; /* bytes so far */
    size_t line_n; /* of the start line */

    /* Names and values as they come. The piece in the making is the end of the text, and is all
     * that moves when a larger text is needed; finished pieces stay where they are. */
    char *text;
    size_t text_n, text_cap;
    size_t piece_at;

    /* A field is put on the list when the first byte after its line shows that no fold follows. */
    size_t name_n;   /* of the piece; 0: no field waits */
    size_t value_at; /* in the piece */
    struct head head;
};

struct input {
    const char *p, *end;
};

typedef enum parse (*state_fn)(struct h1_parser *p, struct input *in);

static const struct h1_fault_info faults[H1_FAULT_COUNT] = {
    [H1_OK] = {0, "OK", "", ""},
#define H1_FAULT_X(id, status, text, source) [H1_##id] = {status, #id, text, source},
#include "tbl/h1_faults.h"
};

const struct h1_fault_info *h1_fault_info(enum h1_fault f)
{
    return &faults[f];
}

/* --- helpers of the states ------------------------------------------------ */

static enum parse fail(struct h1_parser *p, enum h1_fault fault)
{
    p->fault = fault;
    return PARSE_BAD;
}

static enum parse go(struct h1_parser *p, struct input *in, enum state next)
{
    in->p++;
    p->state = next;
    return PARSE_MORE;
}

static bool is_response(const struct h1_parser *p)
{
    return p->kind == H1_RESPONSE || p->kind == H1_RESPONSE_TRAILERS;
}

static struct slice piece(const struct h1_parser *p)
{
    if (p->text_n == 0)
        return SLICE_NONE;
    return slice_of(p->text + p->piece_at, p->text_n - p->piece_at);
}

static void piece_begin(struct h1_parser *p)
{
    p->piece_at = p->text_n;
}

/* A new text is twice the piece that moves into it, but never larger than a whole head: all of them
 * together stay below four times the head limit, however the bytes come. */
static bool text_grow(struct h1_parser *p, size_t n)
{
    size_t need = p->text_n - p->piece_at + n;
    size_t cap = max_size(need, min_size(max_size(2 * need, TEXT_MIN), p->limits.head));
    char *text = arena_alloc(p->arena, cap);

    if (!text) {
        p->fault = H1_NO_MEMORY;
        return false;
    }
    if (p->text_n > p->piece_at)
        memcpy(text, p->text + p->piece_at, p->text_n - p->piece_at);
    p->text_n -= p->piece_at;
    p->piece_at = 0;
    p->text = text;
    p->text_cap = cap;
    return true;
}

static inline bool text_put(struct h1_parser *p, const char *bytes, size_t n)
{
    if (UNLIKELY(n > p->text_cap - p->text_n) && !text_grow(p, n))
        return false;
    memcpy(p->text + p->text_n, bytes, n);
    p->text_n += n;
    return true;
}

/* Takes the bytes up to `end` into the piece. False: the fault is set. */
static inline bool take(struct h1_parser *p, struct input *in, const char *end)
{
    size_t n = (size_t)(end - in->p);

    if (n && !text_put(p, in->p, n))
        return false;
    in->p = end;
    return true;
}

/* The same for the start line, which has a limit of its own. Exactly as much as fits is taken, so
 * that the fault and what is known of the line do not depend on how the bytes came. */
static bool take_line(struct h1_parser *p, struct input *in, const char *end)
{
    size_t n = (size_t)(end - in->p), left = p->limits.line - p->line_n;

    p->line_n += min_size(n, left);
    if (!take(p, in, in->p + min_size(n, left)))
        return false;
    if (n <= left)
        return true;
    p->fault = H1_LINE_TOO_LONG;
    return false;
}

/* One byte of the start line that is not kept. */
static bool skip_line(struct h1_parser *p, struct input *in)
{
    if (p->line_n == p->limits.line) {
        p->fault = H1_LINE_TOO_LONG;
        return false;
    }
    p->line_n++;
    in->p++;
    return true;
}

static bool ends_line(char c)
{
    return c == '\r' || c == '\n';
}

static enum h1_fault line_fault(const struct h1_parser *p)
{
    return is_response(p) ? H1_STATUS_LINE : H1_START_LINE;
}

/* --- a complete head ------------------------------------------------------ */

static enum h1_fault fault_of_url(enum url_fault fault)
{
    switch (fault) {
    case URL_OK:
        return H1_OK;
    case URL_NOMEM:
        return H1_NO_MEMORY;
    case URL_TARGET:
        return H1_TARGET;
    case URL_AUTHORITY:
        return H1_AUTHORITY;
    case URL_USERINFO:
        return H1_USERINFO;
    case URL_SCHEME:
        return H1_SCHEME;
    }
    return H1_TARGET;
}

/* The value must name a host. Behind an absolute-form target it may be empty and otherwise counts
 * for nothing (RFC 9112 3.2.2, C9). */
static enum h1_fault host_value(struct h1_parser *p, struct slice value)
{
    struct head *h = &p->head;
    struct authority auth;
    enum url_fault fault;

    if (h->form == FORM_ABSOLUTE && (value.n == 0 || slice_eq(value, h->auth.raw)))
        return H1_OK;
    fault = url_authority(p->arena, value, false, &auth);
    if (fault == URL_AUTHORITY)
        return H1_HOST_MALFORMED;
    if (fault == URL_OK && h->form != FORM_ABSOLUTE)
        h->auth = auth;
    return fault_of_url(fault);
}

/* RFC 9112 3.2 (C8). A CONNECT says where it goes in its target, and needs no Host. */
static enum h1_fault host_check(struct h1_parser *p)
{
    const struct head *h = &p->head;
    const struct field *host;
    uint32_t at = 0;

    host = hdrs_next(&h->fields, HDR_HOST, &at);
    at++;
    if (host && hdrs_next(&h->fields, HDR_HOST, &at))
        return H1_HOST_REPEATED;
    if (h->method == METHOD_CONNECT)
        return H1_OK;
    if (!host)
        return h->version == 10 && h->form == FORM_ABSOLUTE ? H1_OK : H1_HOST_MISSING;
    return host_value(p, host->value);
}

/* An option of Connection names a field, so an honest message has no more of them than of fields;
 * and taking them out costs options times fields. */
static bool options_fit(const struct h1_parser *p)
{
    const struct hdrs *fields = &p->head.fields;
    const struct field *f;
    uint32_t n = 0;

    for (uint32_t i = 0; (f = hdrs_next(fields, HDR_CONNECTION, &i)) != NULL; i++) {
        struct slice list = f->value, item;

        while (slice_next_item(&list, &item))
            if (++n > p->limits.fields)
                return false;
    }
    return true;
}

static enum h1_fault finish_request(struct h1_parser *p)
{
    struct head *h = &p->head;
    enum h1_fault fault = host_check(p);

    if (fault == H1_OK)
        fault = h1_frame_request(h, p->arena, &p->framing);
    /* RFC 9110 10.1.1: an expectation in HTTP/1.0 is ignored */
    h->expect_continue =
        h->version == 11 && hdrs_has_token(&h->fields, HDR_EXPECT, SLICE("100-continue"));
    return fault;
}

static enum parse finish(struct h1_parser *p)
{
    enum h1_fault fault;

    if (p->kind == H1_REQUEST)
        fault = finish_request(p);
    else if (p->kind == H1_RESPONSE)
        fault = h1_frame_response(&p->head, p->arena, p->request_method, &p->framing);
    else
        return PARSE_DONE; /* trailers: h1_body chooses among them */
    if (fault != H1_OK)
        return fail(p, fault);
    if (!options_fit(p))
        return fail(p, H1_TOO_MANY_FIELDS);
    head_strip_connection(&p->head);
    return PARSE_DONE;
}

/* --- start line ----------------------------------------------------------- */

static enum parse st_start(struct h1_parser *p, struct input *in)
{
    if (*in->p == '\r')
        return go(p, in, ST_EMPTY_LF);
    if (*in->p == '\n') {
        if (++p->empty_lines > EMPTY_LINES_MAX)
            return fail(p, H1_START_LINE);
        return go(p, in, ST_START);
    }
    p->begun = true;
    p->state = ST_METHOD;
    return PARSE_MORE;
}

static enum parse st_empty_lf(struct h1_parser *p, struct input *in)
{
    if (*in->p != '\n')
        return fail(p, H1_BARE_CR);
    p->state = ST_START;
    return st_start(p, in);
}

static enum parse st_method(struct h1_parser *p, struct input *in)
{
    struct head *h = &p->head;

    if (!take_line(p, in, chars_skip(in->p, in->end, CHARS_TOKEN)))
        return PARSE_BAD;
    if (in->p == in->end)
        return PARSE_MORE;
    if (*in->p != ' ' || piece(p).n == 0)
        return fail(p, ends_line(*in->p) ? H1_START_LINE : H1_METHOD);
    if (!skip_line(p, in))
        return PARSE_BAD;
    h->method_name = piece(p);
    h->method = method_id(h->method_name);
    p->lf_ends_line = h->method == METHOD_CONNECT;
    piece_begin(p);
    p->state = ST_TARGET;
    return PARSE_MORE;
}

static enum parse st_target(struct h1_parser *p, struct input *in)
{
    bool fits = take_line(p, in, chars_skip_target(in->p, in->end));

    p->head.target = piece(p);
    if (!fits)
        return PARSE_BAD;
    if (in->p == in->end)
        return PARSE_MORE;
    if (*in->p != ' ' || piece(p).n == 0)
        return fail(p, ends_line(*in->p) || *in->p == ' ' ? H1_START_LINE : H1_TARGET);
    if (!skip_line(p, in))
        return PARSE_BAD;
    piece_begin(p);
    p->state = ST_VERSION;
    return PARSE_MORE;
}

/* 0 stands for any digit */
static const char version_form[] = "HTTP/0.0 000";
enum { MAJOR_AT = 5, MINOR_AT = 7, STATUS_AT = 9, REQUEST_FORM_N = 8, RESPONSE_FORM_N = 12 };

static bool form_byte(struct h1_parser *p, char c)
{
    int digit = c - '0';

    if (version_form[p->at] != '0')
        return c == version_form[p->at];
    if (!chars_is(c, CHARS_DIGIT))
        return false;
    if (p->at == MAJOR_AT)
        p->major = digit;
    else if (p->at == MINOR_AT)
        p->minor = digit;
    else
        p->head.status = 10 * p->head.status + digit;
    return true;
}

static enum parse version_done(struct h1_parser *p)
{
    if (p->kind == H1_RESPONSE && (p->head.status < 100 || p->head.status > 599))
        return fail(p, H1_STATUS_LINE);
    p->head.version = p->minor ? 11 : 10; /* a higher minor version is read as 1.1 (RFC 9110 2.5) */
    p->state = p->kind == H1_REQUEST ? ST_AFTER_VERSION : ST_AFTER_STATUS;
    return PARSE_MORE;
}

/* The usual case, all at once: the whole form is here, and it is good. False: nothing was taken. */
static bool form_whole(struct h1_parser *p, struct input *in, unsigned n)
{
    const char *c = in->p;

    if (p->at || in->end - c < n || p->limits.line - p->line_n < n || memcmp(c, "HTTP/1.", MINOR_AT) != 0 ||
        !chars_is(c[MINOR_AT], CHARS_DIGIT))
        return false;
    if (n == RESPONSE_FORM_N) {
        if (c[STATUS_AT - 1] != ' ' || chars_skip(c + STATUS_AT, c + n, CHARS_DIGIT) != c + n)
            return false;
        p->head.status = 100 * (c[STATUS_AT] - '0') + 10 * (c[STATUS_AT + 1] - '0') + c[STATUS_AT + 2] - '0';
    }
    p->major = 1;
    p->minor = c[MINOR_AT] - '0';
    p->at = n;
    p->line_n += n;
    in->p += n;
    return true;
}

static enum parse st_version(struct h1_parser *p, struct input *in)
{
    unsigned n = p->kind == H1_REQUEST ? REQUEST_FORM_N : RESPONSE_FORM_N;

    if (form_whole(p, in, n))
        return version_done(p);
    for (; in->p < in->end && p->at < n; p->at++) {
        char c = *in->p;

        if (!skip_line(p, in))
            return PARSE_BAD;
        if (!form_byte(p, c))
            return fail(p, line_fault(p));
        if (p->at == MINOR_AT && p->major != 1)
            return fail(p, H1_VERSION);
    }
    return p->at < n ? PARSE_MORE : version_done(p);
}

/* The start line is over; what it says is looked at before any field. */
static enum parse start_line_done(struct h1_parser *p)
{
    enum h1_fault fault = H1_OK;

    if (p->kind == H1_REQUEST)
        fault = fault_of_url(url_target(p->arena, p->head.target, &p->head));
    if (fault != H1_OK)
        return fail(p, fault);
    piece_begin(p);
    p->state = ST_FIELD;
    return PARSE_MORE;
}

/* At a byte that ought to end the start line. */
static enum parse line_end(struct h1_parser *p, struct input *in)
{
    if (*in->p == '\r')
        return go(p, in, ST_LINE_LF);
    if (*in->p != '\n')
        return fail(p, line_fault(p));
    if (!p->lf_ends_line)
        return fail(p, H1_BARE_LF);
    in->p++;
    return start_line_done(p);
}

static enum parse st_line_lf(struct h1_parser *p, struct input *in)
{
    if (*in->p != '\n')
        return fail(p, H1_BARE_CR);
    in->p++;
    return start_line_done(p);
}

/* "HTTP/1.1 200" without the SP before an absent reason is common, and read (RFC 9112 4). */
static enum parse st_after_status(struct h1_parser *p, struct input *in)
{
    if (*in->p != ' ')
        return line_end(p, in);
    if (!skip_line(p, in))
        return PARSE_BAD;
    p->state = ST_REASON;
    return PARSE_MORE;
}

static enum parse st_reason(struct h1_parser *p, struct input *in)
{
    if (!take_line(p, in, chars_skip_value(in->p, in->end)))
        return PARSE_BAD;
    if (in->p == in->end)
        return PARSE_MORE;
    p->head.reason = piece(p);
    return line_end(p, in);
}

/* --- fields --------------------------------------------------------------- */

static bool add_field(struct h1_parser *p)
{
    struct slice text = piece(p), name = slice_of(text.p, p->name_n);
    struct slice value = slice_trim(slice_skip(text, p->value_at));

    if (hdrs_add(&p->head.fields, p->arena, hdr_id(name), name, value) < 0) {
        p->fault = H1_NO_MEMORY;
        return false;
    }
    p->name_n = 0;
    return true;
}

/* A line that begins with a blank goes on with the value before it (RFC 9112 5.2). In a response
 * the line end and the blanks around it become one SP. */
static enum parse fold(struct h1_parser *p)
{
    struct slice value;

    if (p->name_n == 0)
        return fail(p, H1_LEADING_SPACE); /* C4 */
    if (!is_response(p))
        return fail(p, H1_OBS_FOLD);
    value = slice_skip(piece(p), p->value_at);
    while (value.n && chars_is(value.p[value.n - 1], CHARS_BLANK))
        value.n--, p->text_n--;
    if (!text_put(p, " ", 1))
        return PARSE_BAD;
    p->state = ST_BEFORE_VALUE;
    return PARSE_MORE;
}

/* The usual case, all at once: a whole line is here, and the byte behind it, which says that no fold follows; nothing about it needs
 * the states. False: nothing was taken, or there is no memory (p->fault). */
static bool field_whole(struct h1_parser *p, struct input *in)
{
    const char *name_end = chars_skip(in->p, in->end, CHARS_TOKEN), *value, *end;

    if (name_end == in->p || name_end == in->end || *name_end != ':' || p->head.fields.n >= p->limits.fields)
        return false;
    value = chars_skip(name_end + 1, in->end, CHARS_BLANK);
    end = chars_skip_value(value, in->end);
    if (in->end - end < 3 || end[0] != '\r' || end[1] != '\n' || chars_is(end[2], CHARS_BLANK))
        return false;
    piece_begin(p);
    p->name_n = p->value_at = (size_t)(name_end - in->p);
    if (!text_put(p, in->p, p->name_n) || !text_put(p, value, (size_t)(end - value)) || !add_field(p))
        return false;
    in->p = end + 2;
    return true;
}

static enum parse st_field(struct h1_parser *p, struct input *in)
{
    if (chars_is(*in->p, CHARS_BLANK))
        return fold(p);
    if (p->name_n && !add_field(p))
        return PARSE_BAD;
    /* Each round takes a line, and leaves a byte behind it. */
    while (field_whole(p, in))
        ;
    if (p->fault != H1_OK)
        return PARSE_BAD;
    if (*in->p == '\r')
        return go(p, in, ST_END_LF);
    if (*in->p == '\n') {
        if (!p->lf_ends_line)
            return fail(p, H1_BARE_LF);
        in->p++;
        return finish(p);
    }
    if (p->head.fields.n >= p->limits.fields)
        return fail(p, H1_TOO_MANY_FIELDS);
    piece_begin(p);
    p->state = ST_NAME;
    return PARSE_MORE;
}

static enum parse st_name(struct h1_parser *p, struct input *in)
{
    size_t n;

    if (!take(p, in, chars_skip(in->p, in->end, CHARS_TOKEN)))
        return PARSE_BAD;
    if (in->p == in->end)
        return PARSE_MORE;
    n = piece(p).n;
    if (n == 0) /* FAILURES 4: an empty name is no end of the list */
        return fail(p, H1_FIELD_NAME);
    p->name_n = p->value_at = n;
    if (*in->p == ':')
        return go(p, in, ST_BEFORE_VALUE);
    if (!chars_is(*in->p, CHARS_BLANK))
        return fail(p, H1_FIELD_NAME);
    if (!is_response(p))
        return fail(p, H1_SPACE_BEFORE_COLON); /* C5, FAILURES 3 */
    return go(p, in, ST_AFTER_NAME);
}

static enum parse st_after_name(struct h1_parser *p, struct input *in)
{
    in->p = chars_skip(in->p, in->end, CHARS_BLANK);
    if (in->p == in->end)
        return PARSE_MORE;
    if (*in->p != ':')
        return fail(p, H1_FIELD_NAME);
    return go(p, in, ST_BEFORE_VALUE);
}

static enum parse st_before_value(struct h1_parser *p, struct input *in)
{
    in->p = chars_skip(in->p, in->end, CHARS_BLANK);
    if (in->p < in->end)
        p->state = ST_VALUE;
    return PARSE_MORE;
}

static enum parse st_value(struct h1_parser *p, struct input *in)
{
    if (!take(p, in, chars_skip_value(in->p, in->end)))
        return PARSE_BAD;
    if (in->p == in->end)
        return PARSE_MORE;
    if (*in->p == '\r')
        return go(p, in, ST_VALUE_LF);
    if (*in->p != '\n')
        return fail(p, H1_FIELD_VALUE);
    if (!p->lf_ends_line)
        return fail(p, H1_BARE_LF);
    return go(p, in, ST_FIELD);
}

static enum parse st_value_lf(struct h1_parser *p, struct input *in)
{
    return *in->p == '\n' ? go(p, in, ST_FIELD) : fail(p, H1_BARE_CR);
}

static enum parse st_end_lf(struct h1_parser *p, struct input *in)
{
    if (*in->p != '\n')
        return fail(p, H1_BARE_CR);
    in->p++;
    return finish(p);
}

/* --- the parser ----------------------------------------------------------- */

static const state_fn states[ST_COUNT] = {
    [ST_START] = st_start,
    [ST_EMPTY_LF] = st_empty_lf,
    [ST_METHOD] = st_method,
    [ST_TARGET] = st_target,
    [ST_VERSION] = st_version,
    [ST_AFTER_VERSION] = line_end,
    [ST_AFTER_STATUS] = st_after_status,
    [ST_REASON] = st_reason,
    [ST_LINE_LF] = st_line_lf,
    [ST_FIELD] = st_field,
    [ST_NAME] = st_name,
    [ST_AFTER_NAME] = st_after_name,
    [ST_BEFORE_VALUE] = st_before_value,
    [ST_VALUE] = st_value,
    [ST_VALUE_LF] = st_value_lf,
    [ST_END_LF] = st_end_lf,
};

static const enum state first_state[] = {
    [H1_REQUEST] = ST_START,
    [H1_RESPONSE] = ST_VERSION,
    [H1_REQUEST_TRAILERS] = ST_FIELD,
    [H1_RESPONSE_TRAILERS] = ST_FIELD,
};

struct h1_parser *h1_parser_new(struct arena *a, enum h1_kind kind, const struct h1_limits *limits)
{
    struct h1_parser *p = arena_zalloc(a, sizeof(*p));

    if (!p)
        return NULL;
    p->arena = a;
    p->kind = kind;
    p->limits = *limits;
    p->state = first_state[kind];
    p->head.response = is_response(p);
    return p;
}

void h1_parser_for(struct h1_parser *p, enum method request_method)
{
    p->request_method = request_method;
}

/* Every state uses a byte or names a later one, so the loop ends with the bytes. */
static enum parse run(struct h1_parser *p, struct input *in)
{
    enum parse r = PARSE_MORE;

    while (in->p < in->end && r == PARSE_MORE)
        r = states[p->state](p, in);
    return r;
}

enum parse h1_parser_feed(struct h1_parser *p, const void *bytes, size_t n, size_t *ret_used)
{
    struct input in = {bytes, NULL};
    size_t fits = min_size(n, p->limits.head - p->head_n);
    enum parse r;

    if (p->state == ST_OVER) {
        *ret_used = 0;
        return p->fault == H1_OK ? PARSE_DONE : PARSE_BAD;
    }
    in.end = in.p + fits;
    r = run(p, &in);
    fits = (size_t)(in.p - (const char *)bytes);
    p->head_n += fits;
    if (r == PARSE_MORE && fits < n)
        r = fail(p, H1_HEAD_TOO_LONG);
    if (r != PARSE_MORE)
        p->state = ST_OVER;
    *ret_used = r == PARSE_BAD ? n : fits;
    return r;
}

bool h1_parser_begun(const struct h1_parser *p)
{
    return p->kind == H1_REQUEST ? p->begun : p->head_n > 0;
}

enum h1_fault h1_parser_fault(const struct h1_parser *p)
{
    return p->fault;
}

struct head *h1_parser_head(struct h1_parser *p)
{
    return &p->head;
}

enum h1_framing h1_parser_framing(const struct h1_parser *p)
{
    return p->framing;
}
