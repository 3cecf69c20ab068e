/* SPDX-License-Identifier: MIT */
/* helper: threads for what would block a worker. Called by the resolver (and later by scripts,
 * minting, hashing) on the workers' threads. A job is in exactly one place: the queue, a helper
 * thread, a loop's inbox. It must never be lost between them, and nothing here touches what a job
 * owns.
 */
#include "io/helper.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

enum {
    POST_AGAIN_MS = 1,
    POST_LAST_TRIES = 5000, /* while the pool ends: about 5 s, then the loop is taken for gone */
};

#define HELPER_MAGIC 0x4e1be401u

struct helper_pool {
    unsigned magic;
    pthread_mutex_t lock; /* over all below, except threads */
    pthread_cond_t work;
    struct list queue;
    unsigned n_queue, queue_max;
    unsigned n_started, n_idle, n_max;
    bool ending;
    pthread_t threads[];
};

struct helper_pool *helper_pool_new(unsigned n_threads, unsigned queue_max)
{
    struct helper_pool *p;

    CHECK(n_threads > 0 && queue_max > 0);
    p = mem_zalloc(sizeof(*p) + n_threads * sizeof(p->threads[0]));
    if (!p)
        return NULL;
    p->magic = HELPER_MAGIC;
    p->n_max = n_threads;
    p->queue_max = queue_max;
    list_init(&p->queue);
    CHECK(pthread_mutex_init(&p->lock, NULL) == 0);
    CHECK(pthread_cond_init(&p->work, NULL) == 0);
    return p;
}

static void job_back(struct msg *m, struct loop *loop)
{
    struct helper_job *job = CONTAINER_OF(m, struct helper_job, msg);

    CHECK(job->loop == loop);
    job->done(job);
}

static bool is_ending(struct helper_pool *p)
{
    bool ending;

    pthread_mutex_lock(&p->lock);
    ending = p->ending;
    pthread_mutex_unlock(&p->lock);
    return ending;
}

/* A full inbox is waited for: dropping the reply would leave the asker waiting for ever. Only when
 * the pool ends is a loop that takes nothing for seconds given up: it does not turn any more, so
 * nobody waits there. */
static void reply(struct helper_pool *p, struct helper_job *job)
{
    const struct timespec pause = {.tv_nsec = POST_AGAIN_MS * 1000000L};
    unsigned last = 0;

    while (!loop_post(job->loop, &job->msg)) {
        if (is_ending(p) && ++last > POST_LAST_TRIES) {
            log_debug("a helper's reply was left behind: its worker does not turn any more");
            return;
        }
        nanosleep(&pause, NULL);
    }
}

/* The next job, or NULL when the pool ends. */
static struct helper_job *next_job(struct helper_pool *p)
{
    struct list *l = NULL;

    pthread_mutex_lock(&p->lock);
    p->n_idle++;
    while (!p->ending && list_empty(&p->queue))
        pthread_cond_wait(&p->work, &p->lock);
    p->n_idle--;
    if (!p->ending) {
        l = list_pop(&p->queue);
        p->n_queue--;
    }
    pthread_mutex_unlock(&p->lock);
    return l ? LIST_ENTRY(l, struct helper_job, link) : NULL;
}

static void *helper_thread(void *arg)
{
    struct helper_pool *p = OBJ_CAST(struct helper_pool, arg, HELPER_MAGIC);
    struct helper_job *job;

    pthread_setname_np(pthread_self(), "helper");
    /* What a job brings comes from a worker, and goes back to one. */
    mem_count(true);
    while ((job = next_job(p))) {
        job->run(job);
        reply(p, job);
    }
    return NULL;
}

/* Signals are the workers' business: a helper takes none. */
static bool start_thread(struct helper_pool *p)
{
    sigset_t all, before;
    int e;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    e = pthread_create(&p->threads[p->n_started], NULL, helper_thread, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (e) {
        log_debug("cannot start a helper thread: %s", err_text(-e));
        return false;
    }
    p->n_started++;
    return true;
}

static int enqueue(struct helper_pool *p, struct helper_job *job)
{
    if (p->ending)
        return ERR_CLOSED;
    if (p->n_queue >= p->queue_max)
        return ERR_LIMIT;
    /* Idle threads that were signalled but did not run yet still count as idle: so they are
     * compared with the jobs. */
    if (p->n_queue + 1 > p->n_idle && p->n_started < p->n_max && !start_thread(p) &&
        p->n_started == 0)
        return ERR_LIMIT;
    list_push(&p->queue, &job->link);
    p->n_queue++;
    pthread_cond_signal(&p->work);
    return 0;
}

int helper_submit(struct helper_pool *p, struct loop *loop, struct helper_job *job)
{
    int r;

    OBJ_CHECK(p, HELPER_MAGIC);
    job->loop = loop;
    job->msg.run = job_back;
    list_init(&job->link);
    pthread_mutex_lock(&p->lock);
    r = enqueue(p, job);
    pthread_mutex_unlock(&p->lock);
    return r;
}

void helper_pool_free(struct helper_pool *p)
{
    struct list *l;

    if (!p)
        return;
    OBJ_CHECK(p, HELPER_MAGIC);
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n_started; i++)
        pthread_join(p->threads[i], NULL);
    while ((l = list_pop(&p->queue)))
        reply(p, LIST_ENTRY(l, struct helper_job, link));
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    p->magic = OBJ_DEAD;
    mem_free(p);
}
