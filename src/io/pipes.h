/* SPDX-License-Identifier: MIT */
/* pipes: kernel pipes lent to a splicing pump only while bytes are inside. An unprivileged user has 16,384 pages of pipes in
 * all: the pool bounds what it opens and pumps copy when it is used up. Owner: a loop. Thread: its own. */
#ifndef IO_PIPES_H
#define IO_PIPES_H

#include "base/base.h"

#include <stdbool.h>
#include <stddef.h>

struct pipe_pool;

struct pipe_lent {
    int rd, wr;   /* -1: none */
    size_t size;  /* what it holds */
    size_t bytes; /* inside now; kept by the pump */
};

enum { PIPE_SIZE = 256 * 1024, PIPE_KEEP = 32, PIPE_RETRY = 64 };

struct pipe_pool *pipe_pool_new(size_t max_bytes) MUST_USE;
void pipe_pool_free(struct pipe_pool *p);
/* False: budget or descriptors used up: copy instead. */
bool pipe_lend(struct pipe_pool *p, struct pipe_lent *ret_pipe) MUST_USE;
/* Gives it back. With bytes inside it is closed instead of kept. */
void pipe_return(struct pipe_pool *p, struct pipe_lent *pipe);

#endif
