/* SPDX-License-Identifier: MIT */
/* fuzz_matcher: rules, and a request as the last line (support/policy_text.h); what cannot be read is left out. Whatever the rules are: what is final
 * stays final when the missing facts come, an allow stays the same rule's, a walk that goes on comes to what a new one would, nothing waits for what is
 * known, and who explains is told what was decided, with an index over the rules and without. */
#include "fuzz/fuzz.h"
#include "support/policy_text.h"

struct later {
    const char *user, *groups, *labels, *granted, *address, *sni;
};

static const struct later laters[] = {
    {"", "", "", "", "", ""},
    {"bob", "qa,dev", "red", "red", "10.1.2.3", "a.example"},
    {"alice", "ops", "red,blue", "", "8.8.8.8", "www.a.example"},
    {"eve", "", "", "", "2001:db8::1", "b.example"},
    {"bob", "", "blue", "blue", "169.254.169.254", ""},
};

static struct text_policy policy;
static struct rules_index *rule_index;
static struct text_request request;

struct told {
    unsigned n;
    const struct rule *last;
    enum match_answer answer;
};

static void on_told(void *ctx, enum policy_stage stage, const struct rule *rule, enum match_answer answer, enum match_word word, const struct addr *to)
{
    struct told *t = ctx;

    (void)to;
    CHECK((unsigned)word < WORDS && stage >= STAGE_PORTS);
    CHECK((stage == STAGE_RULE) == (rule != NULL));
    /* a rule that does not hold has a word that says why, one that does has none */
    CHECK(stage != STAGE_RULE || (word == WORD_NONE) == (answer == MATCH_YES) || rule->n_where == 0);
    t->n++;
    t->last = rule;
    t->answer = answer;
}

static void same(struct slice in, const char *what, const struct verdict *a, const struct verdict *b)
{
    char one[TEXT_VERDICT], other[TEXT_VERDICT];

    text_verdict(&policy, a, one);
    text_verdict(&policy, b, other);
    fuzz_same(what, in, one, other);
    CHECK(a->place == b->place && a->what == b->what);
}

static struct verdict judge(struct slice in, const struct match_facts *f)
{
    struct told told = {0};
    struct policy_trace trace = {.say = on_told, .ctx = &told};
    struct verdict v = policy_judge(&policy.p, f, 0, NULL, NULL), traced = policy_judge(&policy.p, f, 0, NULL, &trace);

    same(in, "with and without a trace", &v, &traced);
    CHECK(told.n > 0 && (v.kind == VERDICT_NEEDS || v.by == told.last));
    CHECK(v.kind != VERDICT_DENY || v.reason == END_DENIED);
    CHECK(v.kind != VERDICT_NEEDS || (v.rule < policy.p.n_rules && v.needs != FACT_NONE));
    return v;
}

/* An address is only ever refused for what cannot be opened, or is not. */
static void check_address(struct slice in, const struct match_facts *f, const struct verdict *first)
{
    struct verdict v = policy_judge_address(&policy.p, f, first, NULL);

    CHECK(v.kind != VERDICT_NEEDS || v.needs != FACT_ADDRESS);
    if (v.kind != VERDICT_ALLOW)
        return;
    CHECK(!guard_refuses(policy.p.private, f->to) || (v.by && rule_opens(v.by, f)));
    for (unsigned i = 0; i < policy.p.n_own; i++)
        if (addr_eq(&policy.own[i], f->to))
            fuzz_fail("leads back to us", in, "", "");
}

static void check_later(struct slice in, const struct match_facts *now, const struct verdict *v, const struct later *l)
{
    struct match_facts f = *now;
    struct verdict anew, resumed;
    struct addr to;

    if (f.pending & MATCH_PENDING_USER) {
        f.user = slice_str(l->user);
        f.groups = slice_str(l->groups);
        f.labels = slice_str(l->labels);
        f.granted = slice_str(l->granted);
    }
    if (f.pending & MATCH_PENDING_SNI)
        f.sni = slice_str(l->sni);
    if (f.pending & MATCH_PENDING_ADDRESS && !f.to && addr_parse_host(slice_str(l->address), f.port, &to) == 0)
        f.to = &to;
    f.pending = 0;
    anew = judge(in, &f);
    CHECK(anew.kind != VERDICT_NEEDS);
    if (v->kind == VERDICT_NEEDS) {
        resumed = policy_judge(&policy.p, &f, v->rule, v, NULL);
        same(in, "goes on as a new one", &resumed, &anew);
    } else {
        CHECK(v->kind == anew.kind);
        CHECK(v->kind == VERDICT_DENY || v->by == anew.by);
    }
    if (f.to)
        check_address(in, &f, v);
}

static void check(struct slice in)
{
    struct verdict v = judge(in, &request.f);
    enum match_word word = WORD_NONE;
    const struct rule *near = policy_nearest(&policy.p, &request.f, &word);
    uint8_t pending = request.f.pending;

    CHECK(v.kind != VERDICT_NEEDS || pending & (v.needs == FACT_USER      ? MATCH_PENDING_USER
                                                : v.needs == FACT_ADDRESS ? MATCH_PENDING_ADDRESS
                                                                          : MATCH_PENDING_SNI));
    CHECK(v.kind != VERDICT_NEEDS || v.needs != FACT_SNI || policy_asks_sni(&policy.p));
    CHECK(!near || (near->kind == RULE_ALLOW && word != WORD_NONE && word != WORD_HOST));
    for (size_t i = 0; i < ARRAY_LEN(laters); i++)
        check_later(in, &request.f, &v, &laters[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, min_size(size, FUZZ_INPUT_MAX));
    const char *end = in.n ? memrchr(in.p, '\n', in.n) : NULL;
    size_t rules = end ? (size_t)(end - in.p) : 0;

    text_policy(slice_of(in.p, rules), &policy);
    CHECK(rules_index_new(policy.rules, policy.p.n_rules, &rule_index) == 0);
    policy.p.index = rule_index;
    text_request(slice_skip(in, end ? rules + 1 : 0), &request);
    if (request.n_to)
        request.f.to = &request.to[0];
    check(in);
    rules_index_free(rule_index);
    text_policy_done(&policy);
    return 0;
}
