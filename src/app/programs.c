/* SPDX-License-Identifier: MIT */
/* programs: counts who uses which program. Called by serve and reload around the life of an edition.
 */
#include "app/programs.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/program.h"
#include "proxy/users_answer.h"

struct entry {
    struct list link;
    struct program *program; /* NULL: ended */
    unsigned uses;
    unsigned children, concurrency;
    uint64_t timeout_ms;
    char **argv;
};

void programs_init(struct programs *ps)
{
    list_init(&ps->v);
}

static bool is_answer(struct slice line)
{
    return users_answer_kind(line) != USERS_ANSWER_NONE;
}

static void say(enum log_level level, const char *text)
{
    if (level == LOG_INFO)
        log_limited(LOG_INFO, 10, "users: %s", text);
    else
        log_limited(level, 5, "users: %s", text);
}

static void entry_free(struct entry *e)
{
    list_del(&e->link);
    program_free(e->program);
    mem_free_texts(e->argv);
    mem_free(e);
}

static bool is_same(const struct entry *e, const struct users *u)
{
    unsigned i = 0;

    if (!e->uses || e->children != u->children || e->concurrency != u->concurrency || e->timeout_ms != u->timeout_ms)
        return false;
    while (e->argv[i] && u->argv[i] && strcmp(e->argv[i], u->argv[i]) == 0)
        i++;
    return !e->argv[i] && !u->argv[i];
}

static struct entry *find(struct programs *ps, const struct users *u)
{
    LIST_EACH(it, &ps->v)
    {
        struct entry *e = LIST_ENTRY(it, struct entry, link);

        if (is_same(e, u))
            return e;
    }
    return NULL;
}

static int start(struct programs *ps, const struct users *u, struct entry **ret_e)
{
    struct program_opts o = {
        .argv = u->argv,
        .children = u->children,
        .channels = u->concurrency,
        .timeout_ms = u->timeout_ms,
        .queue_max = PROGRAMS_QUEUE,
        .is_answer = is_answer,
        .say = say,
    };
    struct entry *e = mem_zalloc(sizeof(*e));
    int r = ERR_NOMEM;

    if (!e)
        return ERR_NOMEM;
    list_init(&e->link);
    e->children = u->children;
    e->concurrency = u->concurrency;
    e->timeout_ms = u->timeout_ms;
    e->argv = mem_dup_texts(u->argv);
    if (e->argv)
        r = program_new(&o, &e->program);
    if (r < 0) {
        entry_free(e);
        return r;
    }
    list_push(&ps->v, &e->link);
    *ret_e = e;
    return 0;
}

/* The i-th users of a conf that a program verifies, or NULL; false: there is no i-th any more. Those of localhost's two listeners are one, and counted
 * twice, when they come and when they go. */
static bool nth(struct conf *c, unsigned i, struct users **ret_u)
{
    struct users *u = i == 0 ? c->users : i <= c->n_listen ? c->listen[i - 1].users : NULL;

    *ret_u = u && u->by_program ? u : NULL;
    return i <= c->n_listen;
}

static void release_one(struct programs *ps, struct users *u)
{
    struct entry *e = find(ps, u);

    CHECK(e);
    if (--e->uses == 0 && e->program)
        program_stop(e->program);
}

int programs_attach(struct programs *ps, struct conf *c)
{
    struct users *u;
    int r = 0;

    for (unsigned i = 0; nth(c, i, &u); i++) {
        struct entry *e = u ? find(ps, u) : NULL;

        if (u && !e)
            r = start(ps, u, &e);
        if (r < 0) {
            while (i-- > 0)
                if (nth(c, i, &u) && u)
                    release_one(ps, u);
            return r;
        }
        if (!u)
            continue;
        e->uses++;
        u->program = e->program;
    }
    return 0;
}

void programs_release(struct programs *ps, struct conf *c)
{
    struct users *u;

    for (unsigned i = 0; nth(c, i, &u); i++)
        if (u)
            release_one(ps, u);
    programs_sweep(ps);
}

void programs_sweep(struct programs *ps)
{
    LIST_EACH(it, &ps->v)
    {
        struct entry *e = LIST_ENTRY(it, struct entry, link);

        if (!e->uses && (!e->program || program_stopped(e->program)))
            entry_free(e);
    }
}

void programs_stop(struct programs *ps)
{
    /* All at once, then one after the other: the slowest says how long it takes. */
    LIST_EACH(it, &ps->v)
    {
        struct entry *e = LIST_ENTRY(it, struct entry, link);

        if (e->program)
            program_stop(e->program);
    }
    LIST_EACH(it, &ps->v)
    {
        struct entry *e = LIST_ENTRY(it, struct entry, link);

        program_free(e->program);
        e->program = NULL;
    }
    programs_sweep(ps);
}
