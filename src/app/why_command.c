/* SPDX-License-Identifier: MIT */
/* why_command: makes a query of the command line, has it answered by the running instance or from a file, and looks up the name in between when the answer
 * depends on its addresses: like the data path, which resolves nothing that is decided before.
 */
#include "app/why_command.h"

#include "app/config_commands.h"
#include "app/control.h"
#include "app/lookup.h"
#include "app/remote.h"
#include "app/serve.h"
#include "app/text.h"
#include "app/why_page.h"
#include "base/err.h"
#include "base/mem.h"

/* Who answers. */
struct asked {
    char path[CONTROL_PATH];  /* of the control socket; "": a file is asked */
    struct edition *edition;  /* of the file */
    char what[CONTROL_PATH + 64];
};

/* A page: whether it was decided, and the rest behind that line. */
struct answer {
    enum why_end end;
    char *text; /* mem_* */
    size_t n;
};

static int complain(int code, const char *why)
{
    fprintf(stderr, "ginnel: %s\n", why);
    return code;
}

static int no_memory(void)
{
    return complain(EXIT_OSERR, err_text(ERR_NOMEM));
}

/* ---- the query ---- */

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

static void put_part(struct text *t, const char *name, struct slice value)
{
    static const char hex[] = "0123456789ABCDEF";

    text_str(t, t->n ? "&" : "");
    text_str(t, name);
    text_str(t, "=");
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];

        if (is_unreserved((char)c))
            text_put(t, &c, 1);
        else
            text_put(t, (const char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}

static bool is_part(enum command_flag f)
{
    return f >= FLAG_USER && f <= FLAG_ADDRESS;
}

/* The options are called what the parts of a question are. */
static void put_question(struct text *t, const struct command_call *call)
{
    put_part(t, "url", slice_str(call->argument));
    for (unsigned i = 0; i < call->n_values; i++)
        if (is_part(call->values[i].option))
            put_part(t, command_options[call->values[i].option].name, slice_str(call->values[i].value));
    text_str(t, "&end");
    if (call->given & 1u << FLAG_JSON)
        text_str(t, "&json");
}

/* What is wrong with it is said before anybody is asked. */
static int read_question(const struct command_call *call, struct question *q, char why[QUESTION_WHY])
{
    int r = question_set(q, SLICE("url"), slice_str(call->argument), why);

    for (unsigned i = 0; r == 0 && i < call->n_values; i++)
        if (is_part(call->values[i].option))
            r = question_set(q, slice_str(command_options[call->values[i].option].name), slice_str(call->values[i].value), why);
    return r == 0 ? question_check(q, why) : r;
}

/* ---- who answers ---- */

static int load_file(const struct command_call *call, struct asked *a)
{
    struct conf_args args = {.file = call->file};
    struct conf *c;
    int r = config_commands_load(&args, NULL, &c);

    if (r)
        return r;
    snprintf(a->what, sizeof(a->what), "%s", c->file ? c->file : "no configuration file: the defaults");
    a->edition = edition_of_file(c);
    return a->edition ? 0 : no_memory();
}

/* Whether somebody is there. */
static bool answers(const char *path)
{
    struct control_question q = {.method = "GET", .path = path, .target = "/healthz", .accept = "text/plain", .deadline_ms = CONTROL_DEADLINE_MS};
    struct control_reply reply;
    char why[CONTROL_WHY];

    if (control_ask(&q, &reply, why) < 0)
        return false;
    control_reply_done(&reply);
    return true;
}

static int choose(const struct command_call *call, struct asked *a)
{
    bool running = call->given & 1u << FLAG_RUNNING;
    char why[CONTROL_WHY] = "";
    int r;

    if (call->given & 1u << FLAG_CONFIG && !running)
        return load_file(call, a);
    r = remote_socket(call, a->path, why);
    if (r == 0 && (running || answers(a->path))) {
        snprintf(a->what, sizeof(a->what), "the running ginnel at %s", a->path);
        return 0;
    }
    a->path[0] = '\0';
    if (!running)
        return load_file(call, a);
    return why[0] ? complain(r, why) : r;
}

/* ---- asking ---- */

/* Takes the first line off. */
static int take_end(struct answer *a, char *text, size_t n)
{
    struct slice line = slice_of(text, slice_find(slice_of(text, n), '\n'));

    for (unsigned i = 0; i < WHY_ENDS; i++) {
        if (line.n == n || !slice_eq(line, slice_str(why_page_words[i])))
            continue;
        a->end = (enum why_end)i;
        a->n = n - line.n - 1;
        memmove(text, text + line.n + 1, a->n);
        a->text = text;
        return 0;
    }
    mem_free(text);
    return complain(EXIT_SOFTWARE, "the running ginnel gives an answer of another version");
}

static int ask_running(const struct asked *a, struct slice query, struct answer *ret_answer)
{
    struct text target = {0};
    struct control_question q = {.method = "GET", .path = a->path, .accept = "text/plain", .deadline_ms = CONTROL_DEADLINE_MS};
    struct control_reply reply;
    char why[CONTROL_WHY], *copy;
    size_t n;
    int r;

    text_str(&target, "/why?");
    text_put(&target, query.p, query.n);
    copy = text_take(&target, &n);
    if (!copy)
        return no_memory();
    q.target = copy;
    r = control_ask(&q, &reply, why);
    mem_free(copy);
    if (r < 0)
        return complain(EXIT_UNAVAILABLE, why);
    if (reply.status != 200) {
        fprintf(stderr, "ginnel: the running ginnel says " SLICE_FMT, SLICE_ARG(slice_of(reply.body, reply.n)));
        r = reply.status == 400 ? EXIT_USAGE : EXIT_UNAVAILABLE;
        control_reply_done(&reply);
        return r;
    }
    copy = mem_dup(reply.body, reply.n);
    n = reply.n;
    control_reply_done(&reply);
    return copy ? take_end(ret_answer, copy, n) : no_memory();
}

static int ask_file(const struct asked *a, struct slice query, struct answer *ret_answer)
{
    char why[QUESTION_WHY], *text;
    size_t n;
    int r = why_page(a->edition, NULL, query, false, &text, &n, why);

    if (r == 0)
        return take_end(ret_answer, text, n);
    return r == ERR_NOMEM ? no_memory() : complain(EXIT_USAGE, why);
}

static int ask(const struct asked *a, struct slice query, struct answer *ret_answer)
{
    return a->path[0] ? ask_running(a, query, ret_answer) : ask_file(a, query, ret_answer);
}

/* ---- looking up ---- */

/* The running instance's settings, by the configuration that it shows. */
static int running_conf(const struct asked *a, struct conf **ret_conf)
{
    struct control_question q = {.method = "GET", .path = a->path, .target = "/config", .accept = "text/plain", .deadline_ms = CONTROL_DEADLINE_MS};
    struct control_reply reply;
    struct conf_errors errors = {0};
    char why[CONTROL_WHY];
    int r = control_ask(&q, &reply, why);

    if (r < 0)
        return r;
    r = reply.status == 200 ? conf_parse("the running configuration", reply.body, reply.n, ret_conf, &errors) : ERR_STATE;
    conf_errors_done(&errors);
    control_reply_done(&reply);
    return r;
}

static int look_up(const struct asked *a, struct slice name, struct resolve_answer *ret_answer)
{
    static const char *const none[] = {NULL};
    static const struct resolve_conf dflt = {.servers = none, .ttl_max_ms = 60000, .timeout_ms = 5000};
    struct conf *c = NULL;
    int r;

    if (!a->path[0])
        return lookup(&a->edition->conf->resolve, name, ret_answer);
    if (running_conf(a, &c) < 0)
        fprintf(stderr, "ginnel: the running configuration's resolver is not known; the system's is asked\n");
    r = lookup(c ? &c->resolve : &dflt, name, ret_answer);
    conf_free(c);
    return r;
}

static void put_addresses(struct text *query, const struct resolve_answer *r)
{
    char text[ADDR_TEXT_MAX];

    for (unsigned i = 0; r->status == RESOLVE_OK && i < r->n; i++)
        put_part(query, "address", slice_of(text, addr_host_text(&r->addrs[i], text)));
    if (r->status == RESOLVE_OK)
        return;
    put_part(query, "address", SLICE("none"));
    put_part(query, "lookup", slice_str(lookup_text(r->status)));
}

static int ask_with_addresses(const struct asked *a, const struct question *q, struct text *query, struct answer *answer)
{
    struct resolve_answer addrs;
    int r = look_up(a, q->auth.host, &addrs);

    mem_free(answer->text);
    answer->text = NULL;
    if (r < 0)
        return complain(EXIT_OSERR, err_text(r));
    put_addresses(query, &addrs);
    return query->refused ? no_memory() : ask(a, slice_of(query->p, query->n), answer);
}

/* ---- the command ---- */

static int run(const struct command_call *call, const struct asked *a, const struct question *q)
{
    struct answer answer = {0};
    struct text query = {0};
    int r;

    put_question(&query, call);
    r = query.refused ? no_memory() : ask(a, slice_of(query.p, query.n), &answer);
    if (r == 0 && answer.end == WHY_NEEDS_ADDRESSES)
        r = ask_with_addresses(a, q, &query, &answer);
    if (r == 0) {
        if (!(call->given & 1u << FLAG_JSON))
            printf("asked      %s\n", a->what);
        fwrite(answer.text, 1, answer.n, stdout);
        r = answer.end == WHY_ALLOWED ? 0 : answer.end == WHY_REFUSED ? WHY_EXIT_REFUSED : WHY_EXIT_NO_HOST;
    }
    mem_free(answer.text);
    text_done(&query);
    return r;
}

int why_command(const struct command_call *call)
{
    char why[QUESTION_WHY];
    struct asked a = {0};
    struct question q;
    int r;

    question_init(&q);
    r = read_question(call, &q, why);
    if (r < 0)
        r = r == ERR_NOMEM ? no_memory() : complain(EXIT_USAGE, why);
    else
        r = choose(call, &a);
    if (r == 0)
        r = run(call, &a, &q);
    edition_free(a.edition);
    question_done(&q);
    return r;
}
