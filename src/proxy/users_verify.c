/* SPDX-License-Identifier: MIT */
/* users_verify: the questions that are out, and what becomes of the answers. Called by step auth. A job outlives who asked: its
 * answer is remembered even when nobody waits any more. Passwords live in a job until it has been verified, and are wiped then.
 */
#include "proxy/users_verify.h"

#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "build_config.h"
#include "io/program.h"

#include <errno.h>
#include <pwd.h>
#if HAVE_CRYPT
#include <crypt.h>
#endif

#define USERS_MAGIC 0x05e45a01u

enum { PASSWD_LINE = 16384, LINE_MAX_ASKED = PROGRAM_LINE_MAX - 8, UID_OVERFLOW = 65534 };

enum job_kind { JOB_HASH = 1, JOB_PROGRAM, JOB_PEER };

struct users_job {
    unsigned magic;
    enum job_kind kind;
    struct list link;  /* in the desk, until it is answered */
    struct list waits;
    struct users_desk *desk;
    unsigned char key[HASH_WIDE_LEN];
    struct users_client client;
    uint64_t cache_ms;
    bool known, answered;
    enum users_verdict verdict;
    struct users_answer answer;
    uint32_t uid;
    unsigned name_n;
    char name[AUTHN_NAME_MAX]; /* that was asked about */
    union {
        struct helper_job helper;
        struct program_request *program;
    };
    size_t secret_n;
    char *hash;    /* in text, behind the password */
    char text[];
};

void users_desk_init(struct users_desk *d, struct loop *loop, struct board *board, struct helper_pool *helpers)
{
    *d = (struct users_desk){.loop = loop, .board = board, .helpers = helpers};
    list_init(&d->jobs);
}

/* ---- what is remembered ---- */

/* All that made it right: another password, another line in the file, another program, and it is another question. */
static void key_of(const struct users_question *q, struct slice hash, unsigned char ret_key[HASH_WIDE_LEN])
{
    unsigned char kind = q->users->by_program ? JOB_PROGRAM : JOB_HASH;
    struct hash_wide h;

    hash_wide_init(&h);
    hash_wide_add(&h, &kind, 1);
    hash_wide_add(&h, q->name.p, q->name.n);
    hash_wide_add(&h, q->password.p, q->password.n);
    hash_wide_add(&h, hash.p, hash.n);
    for (unsigned i = 0; q->users->by_program && q->users->argv[i]; i++)
        hash_wide_add(&h, q->users->argv[i], strlen(q->users->argv[i]));
    hash_wide_done(&h, ret_key);
}

_Static_assert(sizeof(struct users_answer) <= USERS_FACT_MAX, "the board keeps it");

static bool recall(struct users_desk *d, const unsigned char key[HASH_WIDE_LEN], struct users_answer *ret_a)
{
    size_t n;

    return board_get(d->board, BOARD_USER, slice_of(key, HASH_WIDE_LEN), d->loop->now_ms, ret_a, sizeof(*ret_a), &n) &&
           n == sizeof(*ret_a);
}

/* ---- who it is ---- */

static struct slice join(struct arena *a, struct slice x, struct slice y)
{
    return arena_printf(a, SLICE_FMT "%s" SLICE_FMT, SLICE_ARG(x), x.n && y.n ? "," : "", SLICE_ARG(y));
}

static struct slice groups_of(const struct users *u, struct slice user)
{
    const struct users_row *r = users_table_find(&u->groups, user);

    return r ? users_row_value(r) : SLICE("");
}

/* NOMEM or RIGHT. The tables are the configuration's: what is told outlives it, and is copied. */
static enum users_verdict tell(const struct users *u, struct slice name, const struct users_answer *answer, struct arena *a,
                               struct users_who *ret_who)
{
    bool renamed = answer && answer->user_n;
    struct users_who w = {.user = arena_dup(a, renamed ? slice_of(answer->user, answer->user_n) : name)};
    const struct users_row *row;

    if (!w.user.p)
        return USERS_NOMEM;
    w.groups = join(a, groups_of(u, w.user), answer ? slice_of(answer->groups, answer->groups_n) : SLICE(""));
    row = u->by_program ? NULL : users_table_find(&u->names, name);
    w.permitted = row ? arena_dup(a, users_row_more(row)) : arena_dup(a, answer ? slice_of(answer->tags, answer->tags_n) : SLICE(""));
    if (!w.groups.p || !w.permitted.p)
        return USERS_NOMEM;
    *ret_who = w;
    return USERS_RIGHT;
}

/* ---- jobs ---- */

static void job_free(struct users_job *job)
{
    if (job->kind == JOB_PROGRAM && job->program) {
        secret_wipe(slice_of(job->program, sizeof(*job->program)));
        mem_free(job->program);
    }
    secret_wipe(slice_of(job->text, job->secret_n));
    job->magic = OBJ_DEAD;
    mem_free(job);
}

static struct users_job *job_new(struct users_desk *d, enum job_kind kind, size_t text_n)
{
    struct users_job *job = mem_zalloc(sizeof(*job) + text_n);

    if (!job)
        return NULL;
    job->magic = USERS_MAGIC;
    job->kind = kind;
    job->desk = d;
    job->verdict = USERS_UNAVAILABLE; /* what it says when nobody came to it */
    list_init(&job->waits);
    list_init(&job->link);
    return job;
}

static void wait_for(struct users_job *job, struct users_wait *w, struct task *task)
{
    *w = (struct users_wait){.task = task, .job = job};
    list_push(&job->waits, &w->link);
}

void users_cancel(struct users_wait *w)
{
    struct users_job *job = w->job;

    if (!job)
        return;
    w->job = NULL;
    list_del(&w->link);
    if (job->answered && list_empty(&job->waits))
        job_free(job);
}

/* On the worker's thread: everybody who asked may look. */
static void answered(struct users_job *job)
{
    struct users_desk *d = job->desk;

    job->answered = true;
    list_del(&job->link);
    secret_wipe(slice_of(job->text, job->secret_n));
    if (job->kind != JOB_PEER)
        users_guesses_end(d->board, &job->client, d->loop->now_ms, job->verdict == USERS_WRONG);
    if (job->kind != JOB_PEER && job->verdict == USERS_RIGHT)
        board_put(d->board, BOARD_USER, slice_of(job->key, sizeof(job->key)), d->loop->now_ms, job->cache_ms, &job->answer,
                  sizeof(job->answer));
    if (job->kind == JOB_PEER && job->verdict != USERS_UNAVAILABLE)
        board_put(d->board, BOARD_PEER, slice_of(&job->uid, sizeof(job->uid)), d->loop->now_ms, USERS_PEER_MS, &job->answer,
                  sizeof(job->answer));
    if (list_empty(&job->waits)) {
        job_free(job);
        return;
    }
    LIST_EACH(it, &job->waits)
    {
        struct users_wait *w = LIST_ENTRY(it, struct users_wait, link);

        w->done = true;
        task_wake(w->task, TASK_HELPER);
    }
}

static struct users_job *find_job(struct users_desk *d, enum job_kind kind, const unsigned char key[HASH_WIDE_LEN])
{
    LIST_EACH(it, &d->jobs)
    {
        struct users_job *job = LIST_ENTRY(it, struct users_job, link);

        if (job->kind == kind && memcmp(job->key, key, sizeof(job->key)) == 0)
            return job;
    }
    return NULL;
}

static struct users_job *job_of_helper(struct helper_job *h)
{
    return OBJ_CAST(struct users_job, CONTAINER_OF(h, struct users_job, helper), USERS_MAGIC);
}

static void helper_done(struct helper_job *h)
{
    answered(job_of_helper(h));
}

static enum users_verdict submit(struct users_desk *d, struct users_job *job, void (*run)(struct helper_job *))
{
    job->helper.run = run;
    job->helper.done = helper_done;
    if (!d->helpers || helper_submit(d->helpers, d->loop, &job->helper) < 0)
        return USERS_UNAVAILABLE;
    list_push(&d->jobs, &job->link);
    return USERS_WAIT;
}

/* ---- hashes ---- */

#if HAVE_CRYPT
/* On a helper thread. The hash is compared in constant time; an unknown name was given a hash that costs what others do. */
static enum users_verdict compare(const struct users_job *job, struct crypt_data *data)
{
    const char *made;

    errno = 0;
    made = crypt_rn(job->text, job->hash, data, sizeof(*data));
    if (!made)
        return errno == ENOMEM ? USERS_UNAVAILABLE : USERS_WRONG;
    return secret_equal(slice_str(made), slice_str(job->hash)) && job->known ? USERS_RIGHT : USERS_WRONG;
}

static void run_hash(struct helper_job *h)
{
    struct users_job *job = job_of_helper(h);
    struct crypt_data *data = mem_zalloc(sizeof(*data));

    if (!data)
        return;
    job->verdict = compare(job, data);
    explicit_bzero(data, sizeof(*data));
    mem_free(data);
    secret_wipe(slice_of(job->text, job->secret_n));
}
#else
static void run_hash(struct helper_job *h)
{
    UNUSED(h);
}
#endif

static enum users_verdict ask_hash(struct users_desk *d, const struct users_question *q, const struct users_row *row, bool known,
                                   struct users_job **ret_job)
{
    struct slice hash = users_row_value(row);
    struct users_job *job = job_new(d, JOB_HASH, q->password.n + 1 + hash.n + 1);
    enum users_verdict v;

    if (!job)
        return USERS_NOMEM;
    if (q->password.n)
        memcpy(job->text, q->password.p, q->password.n);
    job->secret_n = q->password.n;
    job->hash = job->text + q->password.n + 1;
    memcpy(job->hash, hash.p, hash.n);
    job->known = known;
    v = submit(d, job, run_hash);
    if (v == USERS_WAIT)
        *ret_job = job;
    else
        job_free(job);
    return v;
}

/* ---- the program ---- */

static void program_done(struct program_request *r)
{
    struct users_job *job = OBJ_CAST(struct users_job, CONTAINER_OF((uintptr_t)r->line.p, struct users_job, text), USERS_MAGIC);

    if (r->answered) {
        users_answer_parse(slice_of(r->answer, r->answer_n), &job->answer);
        job->verdict = job->answer.kind == USERS_ANSWER_OK    ? USERS_RIGHT
                       : job->answer.kind == USERS_ANSWER_ERR ? USERS_WRONG
                                                              : USERS_UNAVAILABLE;
    }
    answered(job);
}

static enum users_verdict ask_program(struct users_desk *d, const struct users_question *q, struct users_job **ret_job)
{
    struct users_job *job = job_new(d, JOB_PROGRAM, LINE_MAX_ASKED);
    size_t n;
    int r;

    if (!job)
        return USERS_NOMEM;
    job->program = mem_zalloc(sizeof(*job->program));
    n = users_answer_ask(q->name, q->password, job->text, LINE_MAX_ASKED);
    job->secret_n = n;
    if (!job->program || n == 0 || !q->users->program) {
        enum users_verdict v = !job->program ? USERS_NOMEM : n == 0 ? USERS_WRONG : USERS_UNAVAILABLE;

        job_free(job);
        return v;
    }
    job->program->line = slice_of(job->text, n);
    job->program->done = program_done;
    r = program_ask(q->users->program, d->loop, job->program);
    if (r < 0) {
        job_free(job);
        return USERS_UNAVAILABLE;
    }
    list_push(&d->jobs, &job->link);
    *ret_job = job;
    return USERS_WAIT;
}

/* ---- asking ---- */

static enum users_verdict begin(struct users_desk *d, const struct users_question *q, const struct users_row *row, bool known,
                                const unsigned char key[HASH_WIDE_LEN], struct users_wait *w, struct task *task, uint64_t *ret_wait_ms)
{
    struct users_job *job = find_job(d, q->users->by_program ? JOB_PROGRAM : JOB_HASH, key);
    enum users_verdict v;

    if (job) {
        wait_for(job, w, task);
        return USERS_WAIT;
    }
    switch (users_guesses_begin(d->board, &q->client, d->loop->now_ms, ret_wait_ms)) {
    case USERS_GUESS_MAY:
        break;
    case USERS_GUESS_HELD:
        return USERS_LATER;
    case USERS_GUESS_NONE:
        return USERS_THROTTLED;
    }
    v = q->users->by_program ? ask_program(d, q, &job) : ask_hash(d, q, row, known, &job);
    if (v != USERS_WAIT) {
        users_guesses_end(d->board, &q->client, d->loop->now_ms, v == USERS_WRONG);
        return v;
    }
    memcpy(job->key, key, sizeof(job->key));
    memcpy(job->name, q->name.p, q->name.n);
    job->name_n = (unsigned)q->name.n;
    job->client = q->client;
    job->cache_ms = q->users->cache_ms;
    wait_for(job, w, task);
    return USERS_WAIT;
}

enum users_verdict users_verify(struct users_desk *d, const struct users_question *q, struct users_wait *w, struct task *task, struct arena *a,
                                struct users_who *ret_who, uint64_t *ret_wait_ms)
{
    const struct users *u = q->users;
    unsigned char key[HASH_WIDE_LEN];
    const struct users_row *row = NULL;
    struct users_answer answer;
    bool known = false;

    if (!u->by_program) {
        row = users_row_for(u, q->name, &known);
        /* Nobody at all: there is nothing that a guess could find out. */
        if (!row)
            return USERS_WRONG;
    }
    key_of(q, row ? users_row_value(row) : SLICE(""), key);
    if ((known || u->by_program) && recall(d, key, &answer))
        return tell(u, q->name, &answer, a, ret_who);
    return begin(d, q, row, known, key, w, task, ret_wait_ms);
}

/* ---- users of this machine ---- */

/* On a helper thread: the name service may ask who knows whom. */
static void run_peer(struct helper_job *h)
{
    struct users_job *job = job_of_helper(h);
    char *line = mem_alloc(PASSWD_LINE);
    struct passwd entry, *found = NULL;
    struct slice name;

    if (!line)
        return;
    if (getpwuid_r(job->uid, &entry, line, PASSWD_LINE, &found) != 0 && !found) {
        mem_free(line);
        return;
    }
    name = slice_str(found ? found->pw_name : NULL);
    job->verdict = authn_is_name(name) ? USERS_RIGHT : USERS_WRONG;
    if (job->verdict == USERS_RIGHT) {
        memcpy(job->answer.user, name.p, name.n);
        job->answer.user_n = (unsigned)name.n;
    }
    mem_free(line);
}

static enum users_verdict tell_peer(const struct users *u, const struct users_answer *answer, struct arena *a, struct users_who *ret_who)
{
    return answer->user_n ? tell(u, SLICE(""), answer, a, ret_who) : USERS_WRONG;
}

enum users_verdict users_peer(struct users_desk *d, const struct users *u, uint32_t uid, struct users_wait *w, struct task *task, struct arena *a,
                              struct users_who *ret_who)
{
    unsigned char key[HASH_WIDE_LEN] = {0};
    struct users_answer answer;
    struct users_job *job;
    enum users_verdict v;
    size_t n;

    /* What the kernel says of users of another namespace: it could be anybody. */
    if (uid == UID_OVERFLOW)
        return USERS_WRONG;
    if (board_get(d->board, BOARD_PEER, slice_of(&uid, sizeof(uid)), d->loop->now_ms, &answer, sizeof(answer), &n) && n == sizeof(answer))
        return tell_peer(u, &answer, a, ret_who);
    memcpy(key, &uid, sizeof(uid));
    job = find_job(d, JOB_PEER, key);
    if (!job) {
        job = job_new(d, JOB_PEER, 0);
        if (!job)
            return USERS_NOMEM;
        job->uid = uid;
        memcpy(job->key, key, sizeof(job->key));
        v = submit(d, job, run_peer);
        if (v != USERS_WAIT) {
            job_free(job);
            return v;
        }
    }
    wait_for(job, w, task);
    return USERS_WAIT;
}

enum users_verdict users_verified(const struct users *u, struct users_wait *w, struct arena *a, struct users_who *ret_who)
{
    const struct users_job *job = w->job;
    enum users_verdict v;

    if (!job || !w->done)
        return USERS_WAIT;
    v = job->verdict;
    if (v == USERS_RIGHT && job->kind == JOB_PEER)
        v = tell_peer(u, &job->answer, a, ret_who);
    else if (v == USERS_RIGHT)
        v = tell(u, slice_of(job->name, job->name_n), &job->answer, a, ret_who);
    users_cancel(w);
    return v;
}
