/* SPDX-License-Identifier: MIT */
/* report_all: questions to the workers, and the one wait for all answers. Called on the main thread, for status and for USR2. A worker's thread only
 * fills its own place and counts itself; it never waits for the asker.
 *
 * What is asked lies in one gathering, which asker and questions hold together: whoever lets go last frees it. A worker writes into its question
 * before it says under the lock that it has answered, and the asker takes only what was said: an answer that comes too late meets nobody.
 */
#include "app/report_all.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "proxy/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct gathering;

struct question {
    struct msg msg;
    struct gathering *gathering;
    struct worker *worker;
    struct report_worker r; /* the worker's until answered */
    bool answered;          /* under the lock */
};

struct gathering {
    _Atomic unsigned holders;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    unsigned open; /* questions without an answer; under the lock */
    unsigned n;
    struct question v[];
};

static struct gathering *gathering_new(unsigned n)
{
    struct gathering *g = mem_zalloc(sizeof(*g) + n * sizeof(g->v[0]));
    pthread_condattr_t attr;

    if (!g)
        return NULL;
    g->n = n;
    atomic_store(&g->holders, 1);
    pthread_mutex_init(&g->lock, NULL);
    pthread_condattr_init(&attr);
    /* A clock that somebody sets neither ends the wait nor makes it long. */
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&g->answered, &attr);
    pthread_condattr_destroy(&attr);
    return g;
}

static void free_room(struct report_worker *r)
{
    mem_free(r->v);
    mem_free(r->s);
}

static void gathering_let_go(struct gathering *g)
{
    bool counted;

    if (atomic_fetch_sub(&g->holders, 1) != 1)
        return;
    /* It is the main thread's memory, whoever frees it. */
    counted = mem_count(false);
    for (unsigned i = 0; i < g->n; i++)
        free_room(&g->v[i].r);
    pthread_cond_destroy(&g->answered);
    pthread_mutex_destroy(&g->lock);
    mem_free(g);
    mem_count(counted);
}

/* On the worker's thread. */
static void question_run(struct msg *m, struct loop *loop)
{
    struct question *q = CONTAINER_OF(m, struct question, msg);
    struct gathering *g = q->gathering;

    UNUSED(loop);
    report_fill(q->worker, &q->r);
    pthread_mutex_lock(&g->lock);
    q->answered = true;
    if (--g->open == 0)
        pthread_cond_signal(&g->answered);
    pthread_mutex_unlock(&g->lock);
    gathering_let_go(g);
}

/* Room for what it has now: sessions that begin meanwhile are the youngest, and are not shown. */
static int question_prepare(struct gathering *g, struct question *q, struct worker *w, const struct report_ask *ask)
{
    unsigned sessions = atomic_load_explicit(&w->load, memory_order_relaxed);

    q->msg.run = question_run;
    q->gathering = g;
    q->worker = w;
    q->r.cap = ask->n_xchgs < sessions ? ask->n_xchgs : sessions;
    q->r.cap_s = ask->sessions && sessions ? REPORT_SESSIONS : 0;
    q->r.v = q->r.cap ? mem_array(q->r.cap, sizeof(*q->r.v)) : NULL;
    q->r.s = q->r.cap_s ? mem_array(q->r.cap_s, sizeof(*q->r.s)) : NULL;
    return (q->r.cap && !q->r.v) || (q->r.cap_s && !q->r.s) ? ERR_NOMEM : 0;
}

static int prepare(struct gathering *g, struct worker *const *workers, const struct report_ask *ask)
{
    int r = 0;

    for (unsigned i = 0; i < g->n && r == 0; i++)
        r = question_prepare(g, &g->v[i], workers[i], ask);
    return r;
}

static void post_all(struct gathering *g)
{
    /* Counted before the first can answer. */
    g->open = g->n;
    atomic_fetch_add(&g->holders, g->n);
    for (unsigned i = 0; i < g->n; i++) {
        /* One that has stopped reads no messages any more. */
        if (!atomic_load(&g->v[i].worker->stopped) && loop_post(&g->v[i].worker->loop, &g->v[i].msg))
            continue;
        /* An inbox that is full belongs to a loop that does not turn. */
        pthread_mutex_lock(&g->lock);
        g->open--;
        pthread_mutex_unlock(&g->lock);
        gathering_let_go(g);
    }
}

static struct timespec in_ms(unsigned ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

/* What has come when all have answered, or the time is over. */
static void collect(struct gathering *g, const struct worker *const *workers, unsigned wait_ms, struct report_all *a)
{
    struct timespec until = in_ms(wait_ms);

    pthread_mutex_lock(&g->lock);
    while (g->open && pthread_cond_timedwait(&g->answered, &g->lock, &until) == 0)
        ;
    for (unsigned i = 0; i < g->n; i++) {
        struct question *q = &g->v[i];

        a->v[i].r.id = workers[i]->id;
        if (!q->answered)
            continue;
        a->v[i] = (struct report_answer){.came = true, .r = q->r};
        q->r.v = NULL;
        q->r.s = NULL;
        a->n_came++;
    }
    pthread_mutex_unlock(&g->lock);
}

int report_all(struct worker *const *workers, unsigned n, const struct report_ask *ask, struct report_all **ret_all)
{
    struct report_all *a = mem_zalloc(sizeof(*a) + n * sizeof(a->v[0]));
    struct gathering *g;

    if (!a)
        return ERR_NOMEM;
    a->n = n;
    g = gathering_new(n);
    if (!g)
        goto fail_all;
    if (prepare(g, workers, ask) < 0)
        goto fail_gathering;
    post_all(g);
    collect(g, (const struct worker *const *)workers, ask->wait_ms, a);
    gathering_let_go(g);
    *ret_all = a;
    return 0;

fail_gathering:
    gathering_let_go(g);
fail_all:
    mem_free(a);
    return ERR_NOMEM;
}

void report_all_free(struct report_all *a)
{
    if (!a)
        return;
    for (unsigned i = 0; i < a->n; i++)
        free_room(&a->v[i].r);
    mem_free(a);
}
