/* SPDX-License-Identifier: MIT */
/* pipes: kernel pipes lent to a splicing pump only while bytes are inside. One budget bounds the pipes of the whole process; each
 * loop has a pool that draws on it. Who gets none copies. While more than half of the budget is in use, pipes are filled only so
 * far that what stands still in them can be taken back into memory: that is done with those that have stood still for
 * longest when somebody asks in vain.
 * Owner: a loop. Thread: its own, but for pipes_limit and pipes_open. */
#ifndef IO_PIPES_H
#define IO_PIPES_H

#include "base/base.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pipe_pool;
struct task;

/* SIZE: of a pipe. BACK: so much can be taken back. STALL_MS: standing still for so long. KEEP: idle ones kept by a pool. RETRY: the
 * kernel refused one: so many asks later the next try. */
enum { PIPE_SIZE = 256 * 1024, PIPE_BACK = 28 * 1024, PIPE_STALL_MS = 1000, PIPE_KEEP = 8, PIPE_RETRY = 64 };

/* Lent. Members are the pool's, but for `bytes`, which whoever splices keeps. */
struct pipe {
    struct list link;  /* among those that stand still, or self-linked */
    struct task *task; /* of whom it is lent to */
    char *back;        /* what was inside, once the descriptors have been taken back; mem_* */
    uint64_t since_ms; /* when it came to a stand */
    int rd, wr;        /* -1: taken back */
    uint32_t size;     /* what it holds */
    uint32_t bytes;    /* inside now (or in back, from back + back_at) */
    uint32_t back_at;
    bool wanted; /* give it back when the sink still takes nothing: pipe_take_back */
};

/* Any thread: the budget of the process in bytes, lowered to three quarters of what the kernel gives this user. Pipes that are out
 * stay out. */
void pipes_limit(uint64_t bytes);
uint64_t pipes_open(void); /* bytes of pipes that exist, lent or idle */

struct pipe_pool *pipe_pool_new(void) MUST_USE;
void pipe_pool_free(struct pipe_pool *p); /* all have been returned */
/* NULL: budget, descriptors or memory used up: copy instead. task is woken with RX when the pipe is wanted back. */
struct pipe *pipe_lend(struct pipe_pool *p, struct task *task, uint64_t now_ms) MUST_USE;
/* How much may be put into an empty one now. */
size_t pipe_fill_max(const struct pipe *pipe);
/* Bytes went in or out. */
void pipe_moved(struct pipe *pipe);
/* Its sink takes nothing. */
void pipe_stands(struct pipe_pool *p, struct pipe *pipe, uint64_t now_ms);
/* Reads what is inside into memory and gives up the descriptors. ERR_NOMEM, ERR_LIMIT (too much inside): as before. */
int pipe_take_back(struct pipe_pool *p, struct pipe *pipe) MUST_USE;
/* Gives it back; *pipe is NULL after. With bytes inside it is closed instead of kept. */
void pipe_return(struct pipe_pool *p, struct pipe **pipe);

#endif
