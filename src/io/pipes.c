/* SPDX-License-Identifier: MIT */
/* pipes: lends kernel pipes to splicing pumps. The kernel bounds what one unprivileged user may have in pipes (by their size, not
 * by what is inside), and gives tiny ones beyond that: so what counts here is what is open, in one counter for all pools.
 */
#include "io/pipes.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fds.h"
#include "io/loop.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

struct pipe_pool {
    unsigned n_idle;
    struct {
        int rd, wr;
        uint32_t size;
    } idle[PIPE_KEEP];
    unsigned small;       /* the kernel refuses larger pipes (this user's pages are used up): so many asks more are refused */
    struct list standing; /* the one that has stood still for longest first; only those that can be taken back */
};

enum { PIPE_LEAST = 32768 }; /* a pipe of two pages moves less a call than a copy does */

static _Atomic uint64_t the_limit = (uint64_t)64 << 20;
static _Atomic uint64_t the_open;

/* ---- the budget ---- */

/* What the kernel lets this user have; UINT64_MAX: no bound. */
static uint64_t kernel_limit(void)
{
    FILE *f = geteuid() ? fopen("/proc/sys/fs/pipe-user-pages-soft", "re") : NULL;
    unsigned long pages = 0;

    if (!f)
        return UINT64_MAX;
    if (fscanf(f, "%lu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : UINT64_MAX;
}

void pipes_limit(uint64_t bytes)
{
    uint64_t most = kernel_limit();

    if (most != UINT64_MAX)
        most -= most / 4;
    atomic_store_explicit(&the_limit, bytes < most ? bytes : most, memory_order_relaxed);
}

uint64_t pipes_open(void)
{
    return atomic_load_explicit(&the_open, memory_order_relaxed);
}

static bool crowded(void)
{
    return pipes_open() > atomic_load_explicit(&the_limit, memory_order_relaxed) / 2;
}

/* Draws one pipe's worth; two workers at once cannot pass the limit together. */
static bool budget_take(void)
{
    uint64_t before = atomic_fetch_add_explicit(&the_open, PIPE_SIZE, memory_order_relaxed);

    if (before + PIPE_SIZE <= atomic_load_explicit(&the_limit, memory_order_relaxed))
        return true;
    atomic_fetch_sub_explicit(&the_open, PIPE_SIZE, memory_order_relaxed);
    return false;
}

static void budget_give(uint64_t bytes)
{
    atomic_fetch_sub_explicit(&the_open, bytes, memory_order_relaxed);
}

/* ---- pools ---- */

struct pipe_pool *pipe_pool_new(void)
{
    struct pipe_pool *p = mem_zalloc(sizeof(*p));

    if (p)
        list_init(&p->standing);
    return p;
}

static void fds_close(int rd, int wr, uint32_t size)
{
    close(rd);
    close(wr);
    budget_give(size);
}

void pipe_pool_free(struct pipe_pool *p)
{
    if (!p)
        return;
    CHECK(list_empty(&p->standing));
    while (p->n_idle--)
        fds_close(p->idle[p->n_idle].rd, p->idle[p->n_idle].wr, p->idle[p->n_idle].size);
    mem_free(p);
}

/* The budget has been drawn on for PIPE_SIZE. */
static bool pipe_open(struct pipe_pool *p, struct pipe *pipe)
{
    int fd[2], size;

    if (pipe2(fd, O_NONBLOCK | O_CLOEXEC))
        return false;
    if (fds_kept(fd[0]) || fds_kept(fd[1])) {
        close(fd[0]);
        close(fd[1]);
        return false;
    }
    size = fcntl(fd[0], F_SETPIPE_SZ, PIPE_SIZE);
    if (size < 0)
        size = fcntl(fd[0], F_GETPIPE_SZ);
    if (size < PIPE_LEAST || size > PIPE_SIZE) {
        p->small = PIPE_RETRY;
        close(fd[0]);
        close(fd[1]);
        return false;
    }
    pipe->rd = fd[0];
    pipe->wr = fd[1];
    pipe->size = (uint32_t)size;
    budget_give(PIPE_SIZE - (uint32_t)size);
    return true;
}

static bool pipe_find(struct pipe_pool *p, struct pipe *pipe)
{
    if (p->n_idle) {
        p->n_idle--;
        pipe->rd = p->idle[p->n_idle].rd;
        pipe->wr = p->idle[p->n_idle].wr;
        pipe->size = p->idle[p->n_idle].size;
        return true;
    }
    if (p->small) {
        p->small--;
        return false;
    }
    if (!budget_take())
        return false;
    if (pipe_open(p, pipe))
        return true;
    budget_give(PIPE_SIZE);
    return false;
}

/* Somebody asked in vain: the one that has stood still for longest is to come back. */
static void pipe_want(struct pipe_pool *p, uint64_t now_ms)
{
    struct pipe *pipe = list_empty(&p->standing) ? NULL : LIST_ENTRY(p->standing.next, struct pipe, link);

    if (!pipe || now_ms - pipe->since_ms < PIPE_STALL_MS)
        return;
    list_del(&pipe->link);
    pipe->wanted = true;
    task_wake(pipe->task, TASK_RX);
}

struct pipe *pipe_lend(struct pipe_pool *p, struct task *task, uint64_t now_ms)
{
    struct pipe *pipe = mem_zalloc(sizeof(*pipe));

    if (!pipe)
        return NULL;
    list_init(&pipe->link);
    pipe->task = task;
    if (pipe_find(p, pipe))
        return pipe;
    mem_free(pipe);
    pipe_want(p, now_ms);
    return NULL;
}

size_t pipe_fill_max(const struct pipe *pipe)
{
    return crowded() ? PIPE_BACK : pipe->size;
}

void pipe_moved(struct pipe *pipe)
{
    if (!list_empty(&pipe->link))
        list_del(&pipe->link);
    pipe->wanted = false;
}

void pipe_stands(struct pipe_pool *p, struct pipe *pipe, uint64_t now_ms)
{
    if (pipe->wanted || pipe->rd < 0 || pipe->bytes > PIPE_BACK || !list_empty(&pipe->link))
        return;
    pipe->since_ms = now_ms;
    list_push(&p->standing, &pipe->link);
}

static void fds_return(struct pipe_pool *p, struct pipe *pipe)
{
    if (pipe->rd < 0)
        return;
    if (pipe->bytes || p->n_idle == PIPE_KEEP || crowded()) {
        fds_close(pipe->rd, pipe->wr, pipe->size);
        p->small = 0;
    } else {
        p->idle[p->n_idle].rd = pipe->rd;
        p->idle[p->n_idle].wr = pipe->wr;
        p->idle[p->n_idle++].size = pipe->size;
    }
    pipe->rd = pipe->wr = -1;
}

int pipe_take_back(struct pipe_pool *p, struct pipe *pipe)
{
    char *back;
    ssize_t n;

    CHECK(pipe->rd >= 0 && pipe->bytes);
    pipe->wanted = false;
    if (pipe->bytes > PIPE_BACK)
        return ERR_LIMIT;
    back = mem_alloc(pipe->bytes);
    if (!back)
        return ERR_NOMEM;
    n = read(pipe->rd, back, pipe->bytes);
    /* The bytes are inside and nobody else reads: anything less would be the kernel's failure. */
    CHECK(n == (ssize_t)pipe->bytes);
    fds_close(pipe->rd, pipe->wr, pipe->size);
    p->small = 0;
    pipe->rd = pipe->wr = -1;
    pipe->back = back;
    pipe->back_at = 0;
    return 0;
}

void pipe_return(struct pipe_pool *p, struct pipe **pp)
{
    struct pipe *pipe = *pp;

    *pp = NULL;
    if (!pipe)
        return;
    list_del(&pipe->link);
    fds_return(p, pipe);
    mem_free(pipe->back);
    mem_free(pipe);
}
