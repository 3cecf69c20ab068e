/* SPDX-License-Identifier: MIT */
/* program: asking, beginning and ending, from other threads than the program's own (program_thread.c), which does everything else.
 */
#include "io/program_priv.h"

#include "base/mem.h"
#include "base/num.h"

#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

uint64_t program_clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool program_channel(struct slice line, unsigned n, unsigned *ret_channel, struct slice *ret_rest)
{
    size_t blank = slice_find(line, ' ');
    uint64_t v;

    if (blank == line.n || blank > 4 || num_dec(slice_of(line.p, blank), UINT16_MAX, &v) < 0 || v >= n)
        return false;
    *ret_channel = (unsigned)v;
    *ret_rest = slice_skip(line, blank + 1);
    return true;
}

/* ---- asking ---- */

static void request_back(struct msg *m, struct loop *loop)
{
    struct program_request *r = CONTAINER_OF(m, struct program_request, msg);

    CHECK(r->loop == loop);
    r->done(r);
}

static void wake(struct program *p)
{
    uint64_t one = 1;

    while (write(p->wakefd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

int program_ask(struct program *p, struct loop *loop, struct program_request *r)
{
    int error = 0;

    OBJ_CHECK(p, PROGRAM_MAGIC);
    if (r->line.n + 8 > PROGRAM_LINE_MAX || memchr(r->line.p, '\n', r->line.n))
        return ERR_RANGE;
    r->loop = loop;
    r->msg.run = request_back;
    r->due_ms = program_clock_ms() + p->opts.timeout_ms;
    r->again = false;
    list_init(&r->link);
    pthread_mutex_lock(&p->lock);
    if (p->stopping || p->n_asked >= p->opts.queue_max) {
        error = ERR_LIMIT;
    } else {
        list_push(&p->queue, &r->link);
        p->n_asked++;
    }
    pthread_mutex_unlock(&p->lock);
    if (error == 0)
        wake(p);
    return error;
}

unsigned program_children(const struct program *p)
{
    return atomic_load(&p->n_running);
}

/* ---- life ---- */

static int start_thread(struct program *p)
{
    sigset_t all, before;
    int e;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    e = pthread_create(&p->thread, NULL, program_thread, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -e;
}

static void release(struct program *p)
{
    if (p->wakefd >= 0)
        close(p->wakefd);
    mem_free(p->children[0].slots);
    mem_free(p->polls);
    mem_free(p->envp);
    mem_free_texts(p->argv);
    pthread_mutex_destroy(&p->lock);
    p->magic = OBJ_DEAD;
    mem_free(p);
}

int program_new(const struct program_opts *opts, struct program **ret_p)
{
    struct program_request **slots;
    struct program *p;
    int r = ERR_NOMEM;

    CHECK(opts->children > 0 && opts->children <= PROGRAM_CHILDREN_MAX && opts->channels <= PROGRAM_CHANNELS_MAX && opts->queue_max > 0);
    p = mem_zalloc(sizeof(*p) + opts->children * sizeof(p->children[0]));
    if (!p)
        return ERR_NOMEM;
    p->magic = PROGRAM_MAGIC;
    p->opts = *opts;
    p->n_slots = opts->channels ? opts->channels : 1;
    list_init(&p->queue);
    list_init(&p->waiting);
    CHECK(pthread_mutex_init(&p->lock, NULL) == 0);
    p->wakefd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    p->argv = mem_dup_texts(opts->argv);
    p->envp = program_child_environment();
    p->polls = mem_array(1 + 3 * opts->children, sizeof(*p->polls));
    slots = mem_array((size_t)opts->children * p->n_slots, sizeof(struct program_request *));
    p->children[0].slots = slots;
    if (p->wakefd < 0)
        r = -EMFILE;
    if (p->wakefd < 0 || !p->argv || !p->envp || !p->polls || !slots)
        goto fail;
    for (unsigned i = 0; i < opts->children; i++) {
        p->children[i].slots = slots + (size_t)i * p->n_slots;
        p->children[i].in = p->children[i].out = p->children[i].err = -1;
    }
    r = start_thread(p);
    if (r < 0)
        goto fail;
    *ret_p = p;
    return 0;

fail:
    release(p);
    return r;
}

void program_stop(struct program *p)
{
    OBJ_CHECK(p, PROGRAM_MAGIC);
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_mutex_unlock(&p->lock);
    wake(p);
}

bool program_stopped(const struct program *p)
{
    return atomic_load(&p->stopped);
}

void program_free(struct program *p)
{
    if (!p)
        return;
    program_stop(p);
    pthread_join(p->thread, NULL);
    release(p);
}
