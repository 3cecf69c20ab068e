/* SPDX-License-Identifier: MIT */
/* pipes: lends kernel pipes to splicing pumps. A pipe goes back when it is drained; a few idle ones stay open. */
#include "io/pipes.h"

#include "base/check.h"
#include "base/mem.h"

#include <fcntl.h>
#include <unistd.h>

struct pipe_pool {
    size_t max, lent;      /* bytes */
    unsigned n_idle;
    struct pipe_lent idle[PIPE_KEEP];
    unsigned small;        /* the kernel refuses larger pipes (this user's pages are used up): so many asks more are refused */
};

struct pipe_pool *pipe_pool_new(size_t max_bytes)
{
    struct pipe_pool *p = mem_zalloc(sizeof(*p));

    if (p)
        p->max = max_bytes;
    return p;
}

static void pipe_close(struct pipe_lent *pipe)
{
    close(pipe->rd);
    close(pipe->wr);
    pipe->rd = pipe->wr = -1;
}

void pipe_pool_free(struct pipe_pool *p)
{
    if (!p)
        return;
    while (p->n_idle)
        pipe_close(&p->idle[--p->n_idle]);
    mem_free(p);
}

static bool pipe_make(struct pipe_pool *p, struct pipe_lent *ret_pipe)
{
    int fd[2], size;

    if (pipe2(fd, O_NONBLOCK | O_CLOEXEC))
        return false;
    size = fcntl(fd[0], F_SETPIPE_SZ, PIPE_SIZE);
    if (size < 0)
        size = fcntl(fd[0], F_GETPIPE_SZ);
    *ret_pipe = (struct pipe_lent){.rd = fd[0], .wr = fd[1], .size = size > 0 ? (size_t)size : 0};
    /* A pipe of two pages moves less a call than a copy does. */
    if (ret_pipe->size < 32768) {
        p->small = PIPE_RETRY;
        pipe_close(ret_pipe);
        return false;
    }
    return true;
}

bool pipe_lend(struct pipe_pool *p, struct pipe_lent *ret_pipe)
{
    if (p->lent + PIPE_SIZE > p->max)
        return false;
    if (p->n_idle) {
        *ret_pipe = p->idle[--p->n_idle];
    } else if (p->small) {
        p->small--;
        return false;
    } else if (!pipe_make(p, ret_pipe)) {
        return false;
    }
    ret_pipe->bytes = 0;
    p->lent += ret_pipe->size;
    return true;
}

void pipe_return(struct pipe_pool *p, struct pipe_lent *pipe)
{
    CHECK(p->lent >= pipe->size);
    p->lent -= pipe->size;
    if (pipe->bytes || p->n_idle == PIPE_KEEP) {
        pipe_close(pipe);
        p->small = 0;
    } else {
        p->idle[p->n_idle++] = *pipe;
    }
    pipe->rd = pipe->wr = -1;
    pipe->bytes = 0;
}
