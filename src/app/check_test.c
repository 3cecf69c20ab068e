/* SPDX-License-Identifier: MIT */
/* check_test: reads a file of expectations with the configuration's YAML, every fault at once with its place, and judges each. Called by main.
 */
#include "app/check_test.h"

#include "app/conf_hop.h"
#include "app/conf_text.h"
#include "app/conf_yaml.h"
#include "app/config_commands.h"
#include "app/serve.h"
#include "app/why.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

/* LINES: of the walk, shown with a failure. */
enum { TEST_ARENA = 64 << 20, TEST_LINES = 6 };

enum answer { ANSWER_NONE = 0, ANSWER_ALLOW, ANSWER_DENY, ANSWER_ASK };

/* What one item expects. */
struct expectation {
    enum answer answer;
    struct slice rule, reason; /* empty: any */
    struct slice via;          /* "direct", or what a hop's text is; empty: any */
    struct slice url;          /* as written */
};

struct run {
    const struct edition *edition;
    struct conf_sources sources;
    struct conf_report report;
    struct arena arena;
    unsigned n, failed;
};

static const char *answer_word(enum answer a)
{
    static const char *const words[] = {"", "allow", "deny", "ask"};

    return words[a];
}

/* ---- reading ---- */

static bool is_text(struct run *r, const struct conf_node *node, const char *key)
{
    if (node->kind == CONF_NODE_TEXT && !node->empty)
        return true;
    if (node->kind != CONF_NODE_BAD)
        conf_report_add(&r->report, node->at, NULL, "%s: expected a text", key);
    return false;
}

static void read_answer(struct run *r, const struct conf_node *node, struct expectation *e)
{
    for (int a = ANSWER_ALLOW; a <= ANSWER_ASK; a++)
        if (slice_eq(node->text, slice_str(answer_word((enum answer)a))))
            e->answer = (enum answer)a;
    if (!e->answer)
        conf_report_add(&r->report, node->at, NULL, "expect: %s is none of allow, deny, ask", conf_report_quote(&r->report, node->text));
}

static void read_reason(struct run *r, const struct conf_node *node, struct expectation *e)
{
    e->reason = node->text;
    for (int i = 0; i < END_COUNT; i++)
        if (slice_eq(node->text, slice_str(end_info((enum end_reason)i)->token)))
            return;
    conf_report_add(&r->report, node->at, "they are the end reasons of the log: denied, address-denied, not-admitted, sni-denied, auth-needed", "reason: %s is none",
                    conf_report_quote(&r->report, node->text));
}

/* The proxy that is asked first, as `via` names it. */
static void read_via(struct run *r, const struct conf_node *node, struct expectation *e)
{
    enum conf_hop_fault fault = CONF_HOP_OK;
    struct hop h = {0};

    e->via = node->text;
    if (slice_eq(node->text, SLICE("direct")))
        return;
    fault = conf_hop_parse(&r->arena, node->text, &h);
    if (fault == CONF_HOP_NOMEM)
        r->report.nomem = true;
    else if (fault != CONF_HOP_OK)
        conf_report_add(&r->report, node->at, "like this: \"http://proxy.example.net:3128\", or direct", "via: %s is none", conf_report_quote(&r->report, node->text));
    else
        e->via = slice_str(h.text);
}

/* ERR_NOMEM. What is wrong goes to the report. */
static int read_part(struct run *r, struct question *q, const char *key, const struct conf_node *node)
{
    char why[QUESTION_WHY];
    int e;

    if (!is_text(r, node, key))
        return 0;
    e = question_set(q, slice_str(key), node->text, why);
    if (e == ERR_SYNTAX || e == ERR_LIMIT)
        conf_report_add(&r->report, node->at, NULL, "%s: %s", key, why);
    return e == ERR_NOMEM ? e : 0;
}

/* Names in one text, with commas between. */
static int read_names(struct run *r, struct question *q, const char *key, const struct conf_node *list)
{
    struct slice all = SLICE("");
    char why[QUESTION_WHY];

    for (const struct conf_node *n = list->first; n; n = n->next) {
        if (!is_text(r, n, key))
            continue;
        all = arena_printf(&r->arena, SLICE_FMT "%s" SLICE_FMT, SLICE_ARG(all), all.n ? "," : "", SLICE_ARG(n->text));
        if (!all.p)
            return ERR_NOMEM;
    }
    return question_set(q, slice_str(key), all, why) == ERR_NOMEM ? ERR_NOMEM : 0;
}

static int read_list(struct run *r, struct question *q, const char *key, const struct conf_node *list)
{
    int e = 0;

    if (strcmp(key, "groups") == 0 || strcmp(key, "labels") == 0 || strcmp(key, "granted") == 0)
        return read_names(r, q, key, list);
    if (strcmp(key, "address") != 0 && strcmp(key, "header") != 0) {
        conf_report_add(&r->report, list->at, NULL, "%s takes one value", key);
        return 0;
    }
    for (const struct conf_node *n = list->first; n && e == 0; n = n->next)
        e = read_part(r, q, key, n);
    return e;
}

static const char *const members[] = {"url",  "user", "groups", "labels",  "granted", "client", "method", "listener", "header",
                                      "time", "sni",  "address", "addresses", "expect", "rule", "reason", "via", NULL};

static const char *member_name(struct run *r, const struct conf_node *node)
{
    struct slice key = node->key ? node->key->text : SLICE_NONE;
    struct conf_text_guess g;

    conf_text_guess_init(&g, key);
    for (unsigned i = 0; members[i]; i++) {
        if (slice_eq(key, slice_str(members[i])))
            return members[i];
        conf_text_guess_try(&g, members[i]);
    }
    conf_report_add(&r->report, node->key ? node->key->at : node->at, g.best ? conf_report_say(&r->report, "did you mean `%s`?", g.best) : NULL,
                    "there is no member %s of an expectation", conf_report_quote(&r->report, key));
    return NULL;
}

static int read_member(struct run *r, const struct conf_node *node, struct question *q, struct expectation *e)
{
    const char *key = member_name(r, node);
    bool own = key && (strcmp(key, "expect") == 0 || strcmp(key, "rule") == 0 || strcmp(key, "reason") == 0 || strcmp(key, "via") == 0);

    if (!key || node->kind == CONF_NODE_BAD)
        return 0;
    if (strcmp(key, "addresses") == 0)
        key = "address";
    if (strcmp(key, "url") == 0)
        e->url = node->text;
    if (!own)
        return node->kind == CONF_NODE_LIST ? read_list(r, q, key, node) : read_part(r, q, key, node);
    if (!is_text(r, node, key))
        return 0;
    if (strcmp(key, "expect") == 0)
        read_answer(r, node, e);
    else if (strcmp(key, "reason") == 0)
        read_reason(r, node, e);
    else if (strcmp(key, "via") == 0)
        read_via(r, node, e);
    else
        e->rule = node->text;
    return 0;
}

static int read_item(struct run *r, const struct conf_node *item, struct question *q, struct expectation *e)
{
    size_t before = conf_report_count(&r->report);
    char why[QUESTION_WHY];
    int err = 0;

    if (item->kind != CONF_NODE_MAP) {
        if (item->kind != CONF_NODE_BAD)
            conf_report_add(&r->report, item->at, "- {url: \"https://api.example/\", expect: allow}", "an expectation is a map");
        return 0;
    }
    for (const struct conf_node *n = item->first; n && err == 0; n = n->next)
        err = read_member(r, n, q, e);
    if (err < 0 || conf_report_count(&r->report) > before)
        return err;
    if (!e->answer)
        conf_report_add(&r->report, item->at, NULL, "it says nothing of what is expected: `expect: allow`, `deny` or `ask`");
    if (question_check(q, why) < 0)
        conf_report_add(&r->report, item->at, NULL, "%s", why);
    else if (q->listener.n && !why_listener(r->edition, q->listener))
        conf_report_add(&r->report, item->at, NULL, "there is no listener of that name");
    return 0;
}

/* ---- judging ---- */

static enum answer answer_of(const struct why *w)
{
    if (w->end == WHY_ALLOWED)
        return ANSWER_ALLOW;
    return w->end == WHY_REFUSED && w->verdict.reason == END_AUTH_NEEDED ? ANSWER_ASK : ANSWER_DENY;
}

/* Of a chain the first; "direct". */
static struct slice first_way(const struct why *w)
{
    const struct alternative *a = w->route && w->route->n_alternatives ? &w->route->alternatives[0] : NULL;

    return a && a->n_hops ? slice_str(a->hops[0].text) : SLICE("direct");
}

static bool is_met(const struct expectation *e, const struct why *w)
{
    enum answer a = answer_of(w);

    if (a != e->answer || (e->rule.n && !slice_eq(e->rule, slice_str(why_rule(w)))))
        return false;
    if (e->via.n && (a != ANSWER_ALLOW || !slice_eq(e->via, first_way(w))))
        return false;
    return !e->reason.n || (a != ANSWER_ALLOW && slice_eq(e->reason, slice_str(end_info(w->verdict.reason)->token)));
}

/* The last lines, indented. */
static void print_tail(struct slice text)
{
    unsigned lines = 0, skip;

    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    skip = lines > TEST_LINES ? lines - TEST_LINES : 0;
    for (; text.n; text = slice_skip(text, min_size(slice_find(text, '\n') + 1, text.n)))
        if (skip)
            skip--;
        else
            printf("    " SLICE_FMT "\n", SLICE_ARG(slice_of(text.p, slice_find(text, '\n'))));
}

static int print_failure(struct run *r, const struct conf_node *item, const struct expectation *e, const struct why *w)
{
    const struct conf_source *source = conf_sources_find(&r->sources, item->at);
    char url[256], rule[256];
    size_t columns, n;
    char *text = why_text(w, NULL, &n);

    if (!text)
        return ERR_NOMEM;
    conf_text_escape(url, sizeof(url), e->url, 120, &columns);
    conf_text_escape(rule, sizeof(rule), e->rule, 120, &columns);
    printf("%s:%u: %s: expected %s%s%s" "%s" SLICE_FMT "%s" SLICE_FMT "\n", source->name, conf_report_line(&r->report, item->at), url, answer_word(e->answer),
           rule[0] ? " by " : "", rule, e->reason.n ? ", " : "", SLICE_ARG(e->reason), e->via.n ? ", via " : "", SLICE_ARG(e->via));
    print_tail(slice_of(text, n));
    mem_free(text);
    return 0;
}

static int judge(struct run *r, const struct conf_node *item, const struct question *q, const struct expectation *e)
{
    struct why w;
    int err = why_judge(r->edition, q, NULL, WHY_IGNORE, true, &w);

    r->n++;
    if (err == 0 && !is_met(e, &w)) {
        r->failed++;
        err = print_failure(r, item, e, &w);
    }
    why_done(&w);
    return err;
}

/* ---- the whole ---- */

/* Twice over the items: nothing is judged before all of them are read. */
static int each(struct run *r, const struct conf_node *root, bool judging)
{
    int err = 0;

    for (const struct conf_node *item = root->first; item && err == 0; item = item->next) {
        struct expectation e = {0};
        struct question q;

        question_init(&q);
        err = read_item(r, item, &q, &e);
        if (err == 0 && judging)
            err = judge(r, item, &q, &e);
        question_done(&q);
    }
    return err;
}

static int print_errors(struct run *r)
{
    struct conf_errors errors = {0};

    if (conf_report_take(&r->report, &errors) < 0)
        return EXIT_OSERR;
    conf_errors_print(&errors, stderr, isatty(STDERR_FILENO) && !getenv("NO_COLOR"));
    conf_errors_done(&errors);
    return EXIT_CONFIG;
}

static int run_file(struct run *r, unsigned source)
{
    struct conf_node *root = NULL;
    bool whole;
    int err = conf_yaml_read(&r->arena, &r->report, &r->sources.v[source], &root, &whole);

    if (err == 0 && conf_report_count(&r->report) == 0 && (!root || root->kind != CONF_NODE_LIST))
        conf_report_add(&r->report, root ? root->at : CONF_AT_FILE, "- {url: \"https://api.example/\", expect: allow}",
                        "a file of expectations is a list");
    if (err == 0 && root && root->kind == CONF_NODE_LIST)
        err = each(r, root, false);
    if (err == 0 && conf_report_count(&r->report))
        return print_errors(r);
    if (err == 0)
        err = each(r, root, true);
    if (err < 0)
        return EXIT_OSERR;
    printf("%u %s, %u failed\n", r->n, r->n == 1 ? "expectation" : "expectations", r->failed);
    return r->failed ? CHECK_TEST_FAILED : 0;
}

static int run_path(struct run *r, const char *path)
{
    const char *problem, *hint = NULL;
    unsigned source;
    int err = conf_sources_read(&r->sources, path, CONF_FILE_MAX, &source), code;

    if (err == ERR_NOMEM)
        return EXIT_OSERR;
    if (err < 0) {
        problem = conf_source_problem(err, &hint);
        fprintf(stderr, "ginnel: %s: %s\n", path, problem ? problem : err_text(err));
        return EXIT_NOINPUT;
    }
    conf_report_init(&r->report, &r->sources);
    code = run_file(r, source);
    conf_report_done(&r->report);
    return code;
}

int check_test(const struct command_call *call, const char *file)
{
    struct conf_args args = {.file = call->file};
    struct run *r = mem_zalloc(sizeof(*r));
    struct edition *e = NULL;
    struct conf *c;
    int code = r ? config_commands_load(&args, NULL, &c) : EXIT_OSERR;

    if (code == 0) {
        e = edition_of_file(c);
        code = e ? 0 : EXIT_OSERR;
    }
    if (code == 0) {
        r->edition = e;
        arena_init(&r->arena, NULL, TEST_ARENA);
        code = run_path(r, file);
        conf_sources_done(&r->sources);
        arena_done(&r->arena);
    }
    if (code == EXIT_OSERR)
        fprintf(stderr, "ginnel: %s\n", err_text(ERR_NOMEM));
    edition_free(e);
    mem_free(r);
    return code;
}
