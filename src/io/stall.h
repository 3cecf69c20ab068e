/* SPDX-License-Identifier: MIT */
/* stall: a loop that does not turn says so itself. A timer on the CPU clock of the loop's thread looks, every second of processor time, whether a turn has
 * ended since; if not, the handler writes one report to stderr: worker, task, how long, and the stack as MODULE+OFFSET (addr2line -e MODULE OFFSET). The clock
 * stands still while the thread waits: a quiet loop costs nothing, and a thread that is stopped or blocked is no stall. Others may ask such a thread what
 * it is doing (stall_ask): the same handler answers.
 * Owner: whoever has the loop, embedded. Thread: start and stop on the loop's own; stall_ask on one other. */
#ifndef IO_STALL_H
#define IO_STALL_H

#include "io/loop.h"

#include <pthread.h>
#include <time.h>

enum { STALL_EVERY_MS = 1000, STALL_LINE_MAX = 1024 };

/* What a loop is doing. Names are static. */
struct stall_seen {
    const char *task; /* NULL: between tasks, or it waits */
    const char *step; /* of an exchange; else NULL */
    uint64_t id;      /* likewise; 0 */
};

struct stall_opts {
    unsigned id;        /* of the worker, for the report */
    unsigned every_ms;  /* of processor time; 0: STALL_EVERY_MS */
    int fd;             /* where the report goes */
    /* Fills step and id of a task it knows. Runs in a signal handler. May be NULL. */
    void (*describe)(const struct task *t, struct stall_seen *seen);
    _Atomic uint64_t *count; /* one more a stall; the handler's alone. May be NULL */
};

struct stall {
    struct loop *loop;
    struct stall_opts opts;
    pthread_t thread;
    timer_t timer;
    bool timed;       /* there is a timer */
    uint64_t beat;    /* the loop's when the timer fired last */
    bool said;        /* this stall was reported */
    _Atomic bool live;
    /* A question has a number; the answer to it is in `seen`. */
    _Atomic unsigned asked, answered;
    _Atomic bool wants_report;
    struct stall_seen seen;
};

/* Once, before threads that are not to get the signal are started: installs the handler, blocks its signal (SIGRTMIN), notes which modules are loaded. */
void stall_setup(void);
/* s: zeroed. -errno: there will be no reports, but stall_ask works. */
int stall_start(struct stall *s, struct loop *loop, const struct stall_opts *opts) MUST_USE;
void stall_stop(struct stall *s);
/* Interrupts the loop's thread and has it say what it runs; `report`: it writes its stack too. The thread must not have been joined.
 * False: it was not started, has stopped, or says nothing within wait_ms. */
bool stall_ask(struct stall *s, bool report, unsigned wait_ms, struct stall_seen *ret_seen);

#endif
