/* SPDX-License-Identifier: MIT */
/* program: a program that answers lines, for as long as ginnel runs: one line in, one line out, or, with channels, `NUMBER line` both ways in any order.
 * Several children of it run when there is work for them; one that dies, does not answer in time or says what it may not is replaced, after a pause that
 * grows while none of them lives long. They get no descriptor but stdin, stdout and stderr, no shell, and a process group of their own.
 * A thread of its own does all of it; answers land on the asking loop in its own turn.
 * Owner: app. Thread: program_ask from any worker. */
#ifndef IO_PROGRAM_H
#define IO_PROGRAM_H

#include "base/list.h"
#include "base/log.h"
#include "base/slice.h"
#include "io/loop.h"

enum {
    PROGRAM_LINE_MAX = 8192, /* either way, its newline included */
    PROGRAM_CHILDREN_MAX = 64,
    PROGRAM_CHANNELS_MAX = 1000,
    PROGRAM_PAUSE_MS = 200,      /* before one that died young is replaced; doubled each time */
    PROGRAM_PAUSE_MAX_MS = 30000,
    PROGRAM_YOUNG_MS = 5000,
    PROGRAM_STOP_MS = 1000, /* after its stdin was closed: TERM, and after as much again KILL */
};

struct program;

/* Embedded in the asker's own. done() is called on the asking loop's thread, always; also when nobody waits any more. */
struct program_request {
    struct msg msg;
    struct loop *loop;
    struct list link;
    void (*done)(struct program_request *r);
    struct slice line;      /* the asker's memory, until done(); without newline */
    bool answered;          /* false: none of the children could, in the time there was */
    size_t answer_n;
    char answer[PROGRAM_LINE_MAX]; /* without channel and newline */
    /* the program's */
    uint64_t due_ms;
    bool again; /* the child that it was given to is gone */
};

struct program_opts {
    const char *const *argv; /* copied; argv[0] is the path of the file */
    unsigned children, channels; /* channels 0: one line at a time, without a number */
    uint64_t timeout_ms;     /* of a request, waiting included */
    unsigned queue_max;      /* requests that are not answered yet */
    /* Whether a line is an answer at all; who gives another is replaced. On the program's thread. */
    bool (*is_answer)(struct slice line);
    /* For the operator; on the program's thread. */
    void (*say)(enum log_level level, const char *text);
};

/* ERR_NOMEM, or -errno: no thread, no descriptors. */
int program_new(const struct program_opts *opts, struct program **ret_p) MUST_USE;
/* Begins to end it: stdin is closed, then TERM, then KILL. What is asked is answered as not answered. Nobody asks any more. */
void program_stop(struct program *p);
/* After program_stop: all of it has ended; program_free will not wait. */
bool program_stopped(const struct program *p);
/* Waits for the end, at most a little over two PROGRAM_STOP_MS. The answers go through the loops' inboxes, as a helper pool's do. */
void program_free(struct program *p);
/* ERR_LIMIT: too many wait already. ERR_RANGE: the line is too long or has a newline. On success the request is the program's until done(). */
int program_ask(struct program *p, struct loop *loop, struct program_request *r) MUST_USE;
/* Children that run now; any thread. */
unsigned program_children(const struct program *p);

/* `NUMBER rest` of a child with channels. False: it has no number below n. Exported for tests. */
bool program_channel(struct slice line, unsigned n, unsigned *ret_channel, struct slice *ret_rest);

#endif
