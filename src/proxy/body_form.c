/* SPDX-License-Identifier: MIT */
/* body_form: reads Accept. Called when something is answered here.
 */
#include "proxy/body_form.h"

/* The weight of one element of Accept in thousandths (RFC 9110 12.4.2); a malformed one is 0. */
static unsigned weight_of(struct slice params)
{
    struct slice q;
    unsigned v, scale = 100;

    while (params.n && (params.p[0] == ';' || params.p[0] == ' ' || params.p[0] == '\t'))
        params = slice_skip(params, 1);
    if (params.n < 3 || slice_lower(params.p[0]) != 'q' || params.p[1] != '=')
        return 1000;
    q = slice_skip(params, 2);
    if (q.p[0] != '0' && q.p[0] != '1')
        return 0;
    v = q.p[0] == '1' ? 1000 : 0;
    for (size_t i = 2; i < q.n && i < 5 && q.p[i] >= '0' && q.p[i] <= '9'; i++, scale /= 10)
        v += (unsigned)(q.p[i] - '0') * scale;
    return v;
}

static bool form_of_type(struct slice type, enum body_form *ret_form)
{
    if (slice_eq_nocase(type, SLICE("application/json")))
        *ret_form = BODY_JSON;
    else if (slice_eq_nocase(type, SLICE("text/html")))
        *ret_form = BODY_HTML;
    else if (slice_eq_nocase(type, SLICE("text/plain")))
        *ret_form = BODY_TEXT;
    else
        return false;
    return true;
}

enum body_form body_form_of(const struct head *request)
{
    uint32_t i = 0;
    const struct field *f = request ? hdrs_next(&request->fields, HDR_ACCEPT, &i) : NULL;
    enum body_form best = BODY_TEXT, form;
    unsigned best_weight = 0;

    for (; f; i++, f = hdrs_next(&request->fields, HDR_ACCEPT, &i)) {
        struct slice list = f->value, item;

        while (slice_next_item(&list, &item)) {
            size_t semicolon = slice_find(item, ';');
            unsigned weight = weight_of(slice_skip(item, semicolon));

            if (weight > best_weight && form_of_type(slice_trim(slice_of(item.p, semicolon)), &form)) {
                best_weight = weight;
                best = form;
            }
        }
    }
    return best;
}

struct slice body_form_type(enum body_form form)
{
    switch (form) {
    case BODY_JSON:
        return SLICE("application/json");
    case BODY_HTML:
        return SLICE("text/html; charset=utf-8");
    case BODY_TEXT:
        break;
    }
    return SLICE("text/plain; charset=utf-8");
}
