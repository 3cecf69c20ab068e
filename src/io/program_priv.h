/* SPDX-License-Identifier: MIT */
/* program_priv: what the rooms of a program share. Private to program*.c. */
#ifndef IO_PROGRAM_PRIV_H
#define IO_PROGRAM_PRIV_H

#include "base/check.h"
#include "base/err.h"
#include "io/program_child.h"

#include <poll.h>
#include <pthread.h>

#define PROGRAM_MAGIC 0x94066a31u

struct program {
    unsigned magic;
    struct program_opts opts;
    char **argv, **envp;
    unsigned n_slots; /* of each child */
    pthread_t thread;
    int wakefd;
    pthread_mutex_t lock; /* over the next three */
    struct list queue;
    unsigned n_asked; /* not answered */
    bool stopping;
    _Atomic bool stopped;
    _Atomic unsigned n_running;

    /* the thread's */
    struct list waiting;
    uint64_t now_ms, pause_ms, not_before_ms; /* no child is started before */
    struct pollfd *polls;
    struct program_child children[];
};

uint64_t program_clock_ms(void);
/* program_thread.c: until program_stop, and until all children have ended. */
void *program_thread(void *arg);

#endif
