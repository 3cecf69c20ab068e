/* SPDX-License-Identifier: MIT */
/* regex: pcre2 behind one file. Compiled by the configuration, asked by matchers on any thread. Interpreted, never translated into machine code: that
 * would need memory that may be written and executed, which the service forbids, and would not keep the bound of depth. Bytes only: a pattern cannot
 * switch on UTF, in which a subject could be invalid. A match lives on the stack; only one that goes very deep allocates.
 */
#include "policy/regex.h"

#include "base/err.h"
#include "build_config.h"

#if HAVE_REGEX
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/base.h"
#include "base/mem.h"

#include <pcre2.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>

struct regex {
    pcre2_code *code;
    pcre2_match_context *bounds;
};

/* ---- compiling ---- */

static void *take(size_t n, void *unused)
{
    UNUSED(unused);
    return mem_alloc(n);
}

static void give(void *p, void *unused)
{
    UNUSED(unused);
    mem_free(p);
}

static int compile(struct slice pattern, pcre2_general_context *memory, pcre2_code **ret_code, size_t *ret_at,
                   char ret_why[REGEX_WHY])
{
    const uint32_t options = PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
    pcre2_compile_context *how = pcre2_compile_context_create(memory);
    pcre2_code *code;
    int error = 0;
    size_t at = 0;

    if (!how)
        return ERR_NOMEM;
    code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, options, &error, &at, how);
    pcre2_compile_context_free(how);
    if (code) {
        *ret_code = code;
        return 0;
    }
    if (error == PCRE2_ERROR_HEAP_FAILED || error == PCRE2_ERROR_NOMEMORY)
        return ERR_NOMEM;
    *ret_at = min_size(at, pattern.n);
    /* What does not fit is cut, and ended. */
    if (pcre2_get_error_message(error, (PCRE2_UCHAR *)ret_why, REGEX_WHY) == PCRE2_ERROR_BADDATA)
        snprintf(ret_why, REGEX_WHY, "not a regular expression");
    return ERR_SYNTAX;
}

static int bound(pcre2_general_context *memory, pcre2_match_context **ret_bounds)
{
    pcre2_match_context *c = pcre2_match_context_create(memory);

    if (!c)
        return ERR_NOMEM;
    pcre2_set_match_limit(c, REGEX_MATCH_LIMIT);
    pcre2_set_depth_limit(c, REGEX_DEPTH_LIMIT);
    pcre2_set_heap_limit(c, REGEX_HEAP_KB);
    *ret_bounds = c;
    return 0;
}

static int refuse(const char *why, size_t at, size_t *ret_at, char ret_why[REGEX_WHY])
{
    *ret_at = at;
    snprintf(ret_why, REGEX_WHY, "%s", why);
    return ERR_SYNTAX;
}

static int build(struct regex *r, struct slice pattern, size_t *ret_at, char ret_why[REGEX_WHY])
{
    pcre2_general_context *memory = pcre2_general_context_create(take, give, NULL);
    int e = memory ? 0 : ERR_NOMEM;

    if (e == 0)
        e = compile(pattern, memory, &r->code, ret_at, ret_why);
    if (e == 0)
        e = bound(memory, &r->bounds);
    pcre2_general_context_free(memory);
    return e;
}

int regex_new(struct slice pattern, struct regex **ret_regex, size_t *ret_at, char ret_why[REGEX_WHY])
{
    struct regex *r;
    int e;

    if (pattern.n == 0)
        return refuse("an empty expression, which finds itself in everything", 0, ret_at, ret_why);
    if (pattern.n > REGEX_PATTERN_MAX)
        return refuse("an expression is at most 1024 bytes long", REGEX_PATTERN_MAX, ret_at, ret_why);
    r = mem_zalloc(sizeof(*r));
    if (!r)
        return ERR_NOMEM;
    e = build(r, pattern, ret_at, ret_why);
    if (e < 0) {
        regex_free(r);
        return e;
    }
    *ret_regex = r;
    return 0;
}

void regex_free(struct regex *r)
{
    if (!r)
        return;
    pcre2_code_free(r->code);
    pcre2_match_context_free(r->bounds);
    mem_free(r);
}

/* ---- matching ---- */

enum { SCRATCH = 24 << 10 }; /* pcre2 begins with 20 KB */

/* Memory of one match. */
struct scratch {
    alignas(max_align_t) unsigned char room[SCRATCH];
    size_t used;
};

static void *take_scratch(size_t n, void *ctx)
{
    struct scratch *s = ctx;
    size_t need = (n + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    void *p = s->room + s->used;

    if (need < n || need > SCRATCH - s->used)
        return mem_alloc(n);
    s->used += need;
    return p;
}

static void give_scratch(void *p, void *ctx)
{
    struct scratch *s = ctx;
    uintptr_t at = (uintptr_t)p, room = (uintptr_t)s->room;

    if (at < room || at >= room + SCRATCH)
        mem_free(p);
}

static enum regex_answer match(const struct regex *r, struct slice subject, struct scratch *s)
{
    pcre2_general_context *memory = pcre2_general_context_create(take_scratch, give_scratch, s);
    pcre2_match_data *data = memory ? pcre2_match_data_create(1, memory) : NULL;
    int found;

    if (!data) {
        pcre2_general_context_free(memory);
        return REGEX_GAVE_UP;
    }
    found = pcre2_match(r->code, (PCRE2_SPTR)subject.p, subject.n, 0, 0, data, r->bounds);
    pcre2_match_data_free(data);
    pcre2_general_context_free(memory);
    /* 0: it was found, and has more groups than there is room for. */
    return found >= 0 ? REGEX_YES : found == PCRE2_ERROR_NOMATCH ? REGEX_NO : REGEX_GAVE_UP;
}

enum regex_answer regex_find(const struct regex *r, struct slice subject)
{
    struct scratch s;

    if (subject.n > REGEX_SUBJECT_MAX)
        return REGEX_GAVE_UP;
    s.used = 0;
    return match(r, subject.n ? subject : SLICE(""), &s);
}

#else /* a build without pcre2 */

int regex_new(struct slice pattern, struct regex **ret_regex, size_t *ret_at, char ret_why[REGEX_WHY])
{
    static const char why[] = "this build has no regular expressions";

    (void)pattern;
    (void)ret_regex;
    *ret_at = 0;
    memcpy(ret_why, why, sizeof(why));
    return ERR_STATE;
}

void regex_free(struct regex *r)
{
    (void)r;
}

enum regex_answer regex_find(const struct regex *r, struct slice subject)
{
    (void)r;
    (void)subject;
    return REGEX_GAVE_UP;
}
#endif
