/* SPDX-License-Identifier: MIT */
/* why_words: the words of a judgement. Called by both that write it down.
 */
#include "app/why_words.h"

static const char *const stage_names[] = {
    [STAGE_CLIENTS] = "clients", [STAGE_PORTS] = "ports", [STAGE_RULE] = "rules",     [STAGE_FINAL] = "rules",
    [STAGE_OWN] = "own",         [STAGE_ADMIN] = "admin", [STAGE_PRIVATE] = "private",
};

const char *why_words_stage(enum policy_stage stage)
{
    return stage_names[stage];
}

const char *why_words_per(enum limit_per per)
{
    static const char *const words[] = {[PER_ALL] = "all",   [PER_CLIENT] = "client", [PER_USER] = "user",   [PER_GROUP] = "group",
                                        [PER_RULE] = "rule", [PER_HOST] = "host",     [PER_LABEL] = "label", [PER_CONNECTION] = "connection"};

    return words[per];
}

const char *why_words_way(const struct route *r)
{
    if (r->deny)
        return "deny";
    if (r->n_alternatives == 0)
        return "direct";
    return r->n_alternatives == 1 && r->alternatives[0].n_hops > 1 ? "chain" : "via";
}

const char *why_words_sni(enum rule_sni s)
{
    return s == SNI_STRICT ? "strict" : s == SNI_LOG ? "log" : "off";
}

const char *why_words_expect(const struct why *w)
{
    static const char *const words[] = {[EXPECT_TLS] = "tls", [EXPECT_HTTP] = "http", [EXPECT_SSH] = "ssh", [EXPECT_ANY] = "any"};
    const struct rule *by = w->verdict.by;

    return by && by->expect != EXPECT_DEFAULT ? words[by->expect] : NULL;
}
