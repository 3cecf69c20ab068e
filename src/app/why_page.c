/* SPDX-License-Identifier: MIT */
/* why_page: from a query to an answer. Called by the site, and by `ginnel why` for a file, so that both take and say the same.
 */
#include "app/why_page.h"

#include "app/text.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdio.h>

const char *const why_page_words[WHY_ENDS] = {[WHY_ALLOWED] = "allow", [WHY_REFUSED] = "deny", [WHY_NEEDS_ADDRESSES] = "needs-addresses",
                                              [WHY_UNRESOLVED] = "unresolved"};

enum { LOOKUP_MAX = 512 };

struct wish {
    struct slice rest; /* of the query, for the question */
    bool json, end;
    char lookup[LOOKUP_MAX];
};

static bool part_is(struct slice item, const char *name)
{
    return slice_eq(slice_of(item.p, slice_find(item, '=')), slice_str(name));
}

/* Blanks travel as %20; everything else of ours is plain. */
static void take_lookup(struct wish *w, struct slice item)
{
    struct slice v = slice_skip(item, min_size(slice_find(item, '=') + 1, item.n));
    size_t n = 0;

    for (size_t i = 0; i < v.n && n + 1 < LOOKUP_MAX; i++) {
        bool blank = v.p[i] == '%' && i + 2 < v.n && v.p[i + 1] == '2' && v.p[i + 2] == '0';

        w->lookup[n++] = blank ? ' ' : v.p[i];
        i += blank ? 2 : 0;
    }
    w->lookup[n] = '\0';
}

/* Takes its own parts out of the query: what is left is in t. */
static int read_wish(struct slice query, struct wish *w, struct text *t)
{
    while (query.n) {
        size_t n = slice_find(query, '&');
        struct slice item = slice_of(query.p, n);

        if (part_is(item, "json"))
            w->json = true;
        else if (part_is(item, "end"))
            w->end = true;
        else if (part_is(item, "lookup"))
            take_lookup(w, item);
        else
            text_put(t, item.p, item.n), text_str(t, "&");
        query = slice_skip(query, min_size(n + 1, query.n));
    }
    w->rest = slice_of(t->p, t->n);
    return t->refused ? ERR_NOMEM : 0;
}

/* The word for who asks in the name of somebody else. */
static int put_first(char **text, size_t *n, enum why_end end)
{
    struct text t = {0};
    char *p;

    text_printf(&t, "%s\n", why_page_words[end]);
    text_put(&t, *text, *n);
    mem_free(*text);
    *text = NULL;
    p = text_take(&t, n);
    if (!p)
        return ERR_NOMEM;
    *text = p;
    return 0;
}

static int answer(const struct edition *e, const struct why_state *state, const struct question *q, const struct wish *w, char **ret_text,
                  size_t *ret_n, char why[QUESTION_WHY])
{
    const char *lookup = w->lookup[0] ? w->lookup : NULL;
    struct why judged;
    int r = why_judge(e, q, state, WHY_ASK, true, &judged);
    char *p = NULL;
    size_t n = 0;

    if (r == ERR_NOTFOUND)
        snprintf(why, QUESTION_WHY, "there is no listener of that name");
    if (r == 0) {
        p = w->json ? why_json(&judged, lookup, &n) : why_text(&judged, lookup, &n);
        r = p ? 0 : ERR_NOMEM;
    }
    if (r == 0 && w->end)
        r = put_first(&p, &n, judged.end);
    why_done(&judged);
    if (r == 0) {
        *ret_text = p;
        *ret_n = n;
    }
    return r;
}

int why_page(const struct edition *e, const struct why_state *state, struct slice query, bool json, char **ret_text, size_t *ret_n, char why[QUESTION_WHY])
{
    struct wish w = {.json = json};
    struct text t = {0};
    struct question q;
    int r;

    question_init(&q);
    r = read_wish(query, &w, &t);
    if (r == 0)
        r = question_query(&q, w.rest, why);
    if (r == 0)
        r = question_check(&q, why);
    if (r == 0)
        r = answer(e, state, &q, &w, ret_text, ret_n, why);
    question_done(&q);
    text_done(&t);
    return r;
}
