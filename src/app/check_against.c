/* SPDX-License-Identifier: MIT */
/* check_against: judges a log's records one by one, and sums up those for which the answer is another one. Called by main.
 */
#include "app/check_against.h"

#include "app/conf_text.h"
#include "app/config_commands.h"
#include "app/log_line.h"
#include "app/remote.h"
#include "app/serve.h"
#include "app/why.h"
#include "base/err.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

/* What became of a request, or becomes. */
enum fate { FATE_PASSED = 0, FATE_REFUSED, FATE_UNKNOWN };

/* Requests of one target that change in the same way. */
struct change {
    bool refused; /* they would be; else they would pass */
    uint64_t times;
    char *line; /* target, and what decides; mem_* */
};

struct against {
    const struct edition *edition;
    struct change v[CHECK_AGAINST_CHANGES];
    unsigned n;
    uint64_t judged, unknown, refused, passing, more;
};

/* ---- what happened ---- */

static enum fate fate_of(const struct log_line *l)
{
    if (!l->known_end)
        return FATE_UNKNOWN;
    switch ((unsigned)l->end) {
    case END_NOT_ADMITTED:
    case END_DENIED:
    case END_ADDRESS_DENIED:
    case END_SNI_DENIED:
        return FATE_REFUSED;
    default:
        break;
    }
    /* What came to an origin, or failed on the way there, has passed. The rest ended for reasons that are not judged here. */
    return l->peer.n || end_info(l->end)->kind == END_KIND_UPSTREAM ? FATE_PASSED : FATE_UNKNOWN;
}

/* ---- what would ---- */

static int set(struct question *q, const char *name, struct slice value)
{
    char why[QUESTION_WHY];

    return value.n ? question_set(q, slice_str(name), value, why) : 0;
}

/* 2026-11-21T19:31:05.123Z: the log's times are UTC. */
static uint16_t minute_of(struct slice time)
{
    struct tm tm = {0};
    char text[32];

    if (time.n < 19 || time.n >= sizeof(text))
        return MATCH_NO_MINUTE;
    memcpy(text, time.p, time.n);
    text[time.n] = '\0';
    return strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? question_minute((uint64_t)timegm(&tm)) : MATCH_NO_MINUTE;
}

/* ERR_SYNTAX: it makes no sense. */
static int read_question(const struct log_line *l, const struct edition *e, struct question *q)
{
    bool connect = slice_eq(l->method, SLICE("CONNECT"));
    char why[QUESTION_WHY];
    int r = question_target(q, connect, l->host, l->port, l->path, why);

    if (r == 0 && !connect)
        r = set(q, "method", l->method);
    if (r == 0)
        r = set(q, "client", l->client);
    if (r == 0)
        r = set(q, "user", l->user);
    if (r == 0)
        r = set(q, "groups", l->groups);
    if (r == 0)
        r = set(q, "labels", l->labels);
    if (r == 0)
        r = set(q, "granted", l->labels);
    if (r == 0)
        r = set(q, "sni", l->sni);
    if (r == 0)
        r = set(q, "address", l->peer);
    q->minute = minute_of(l->time);
    /* One that is gone is replaced by the first. */
    if (r == 0 && why_listener(e, l->listener))
        q->listener = l->listener;
    return r;
}

static void put_line(const struct log_line *l, const struct why *w, char *out, size_t cap)
{
    char target[EXPLAIN_TARGET], user[80], line[WHY_LINE], shown[WHY_LINE];
    size_t columns;

    explain_target(&w->facts, target);
    conf_text_escape(user, sizeof(user), l->user, 40, &columns);
    why_line(w, line);
    conf_text_escape(shown, sizeof(shown), slice_str(line), 400, &columns);
    snprintf(out, cap, "%s%s%s  %s", target, user[0] ? ", user " : "", user, shown);
}

static int note(struct against *a, bool refused, const struct log_line *l, const struct why *w)
{
    char line[WHY_LINE + 512];

    put_line(l, w, line, sizeof(line));
    for (unsigned i = 0; i < a->n; i++)
        if (a->v[i].refused == refused && strcmp(a->v[i].line, line) == 0) {
            a->v[i].times++;
            return 0;
        }
    if (a->n == CHECK_AGAINST_CHANGES) {
        a->more++;
        return 0;
    }
    a->v[a->n] = (struct change){.refused = refused, .times = 1, .line = mem_dup(line, strlen(line))};
    if (!a->v[a->n].line)
        return ERR_NOMEM;
    a->n++;
    return 0;
}

static int compare(struct against *a, const struct log_line *l, const struct why *w)
{
    enum fate was = fate_of(l);

    a->judged++;
    /* Where it was not said who it is, nobody can be asked now. */
    if (w->end == WHY_REFUSED && w->verdict.reason == END_AUTH_NEEDED) {
        a->judged--;
        a->unknown++;
    } else if (was == FATE_PASSED && w->end == WHY_REFUSED) {
        a->refused++;
        return note(a, true, l, w);
    } else if (was == FATE_REFUSED && w->end == WHY_ALLOWED) {
        a->passing++;
        return note(a, false, l, w);
    }
    return 0;
}

/* An address that was refused is not in the log: without it nobody knows whether it would be now. */
static bool is_judged(const struct log_line *l, const struct why *w)
{
    return !(l->known_end && l->end == END_ADDRESS_DENIED && !w->literal && w->end == WHY_ALLOWED);
}

static int judge(struct against *a, const struct log_line *l)
{
    struct question q;
    struct why w;
    int r;

    if (fate_of(l) == FATE_UNKNOWN) {
        a->unknown++;
        return 0;
    }
    question_init(&q);
    r = read_question(l, a->edition, &q);
    if (r == 0) {
        r = why_judge(a->edition, &q, NULL, WHY_IGNORE, false, &w);
        if (r == 0 && is_judged(l, &w))
            r = compare(a, l, &w);
        else if (r == 0)
            a->unknown++;
        why_done(&w);
    } else if (r == ERR_SYNTAX || r == ERR_LIMIT) {
        a->unknown++;
        r = 0;
    }
    question_done(&q);
    return r;
}

/* ---- the whole ---- */

static int by_times(const void *a, const void *b)
{
    const struct change *x = a, *y = b;

    if (x->times != y->times)
        return x->times < y->times ? 1 : -1;
    return strcmp(x->line, y->line);
}

static void print_changes(const struct against *a, bool refused, uint64_t n)
{
    if (!n)
        return;
    printf("%" PRIu64 " %s %s:\n", n, n == 1 ? "request" : "requests", refused ? "would be refused" : "would pass");
    for (unsigned i = 0; i < a->n; i++)
        if (a->v[i].refused == refused)
            printf("%8" PRIu64 "  %s\n", a->v[i].times, a->v[i].line);
}

static void print(struct against *a)
{
    qsort(a->v, a->n, sizeof(a->v[0]), by_times);
    print_changes(a, true, a->refused);
    print_changes(a, false, a->passing);
    if (a->more)
        printf("(%" PRIu64 " requests changed in more ways than %d, which are not listed)\n", a->more, CHECK_AGAINST_CHANGES);
    printf("%" PRIu64 " %s judged, %" PRIu64 " changed", a->judged, a->judged == 1 ? "request" : "requests", a->refused + a->passing);
    if (a->unknown)
        printf("; %" PRIu64 " could not be judged", a->unknown);
    printf("\n");
}

static int read_all(struct against *a, const char *log)
{
    struct log_reader reader;
    struct log_line l;
    int r = log_reader_open(&reader, log);

    if (r < 0) {
        char shown[160];
        size_t columns;

        conf_text_escape(shown, sizeof(shown), slice_str(log), 100, &columns);
        fprintf(stderr, "ginnel: %s: %s\n", shown, err_text(r));
        return r == ERR_NOMEM ? EXIT_OSERR : EXIT_NOINPUT;
    }
    while (r == 0 && log_reader_next(&reader, &l))
        r = judge(a, &l);
    log_reader_report(&reader);
    if (r < 0)
        fprintf(stderr, "ginnel: %s\n", err_text(r));
    r = r < 0 ? EXIT_OSERR : reader.failed ? EXIT_IOERR : reader.lines && reader.lines == reader.bad ? 65 /* EX_DATAERR */ : 0;
    log_reader_close(&reader);
    return r;
}

static int run(struct edition *e, const char *log)
{
    struct against *a = mem_zalloc(sizeof(*a));
    int r;

    if (!a) {
        fprintf(stderr, "ginnel: %s\n", err_text(ERR_NOMEM));
        return EXIT_OSERR;
    }
    a->edition = e;
    r = read_all(a, log);
    if (r == 0) {
        print(a);
        r = a->refused + a->passing ? CHECK_CHANGED : 0;
    }
    for (unsigned i = 0; i < a->n; i++)
        mem_free(a->v[i].line);
    mem_free(a);
    return r;
}

int check_against(const struct command_call *call, const char *log)
{
    struct conf_args args = {.file = call->file};
    struct edition *e;
    struct conf *c;
    int r = config_commands_load(&args, NULL, &c);

    if (r)
        return r;
    e = edition_of_file(c);
    if (!e) {
        fprintf(stderr, "ginnel: %s\n", err_text(ERR_NOMEM));
        return EXIT_OSERR;
    }
    r = run(e, log);
    edition_free(e);
    return r;
}
