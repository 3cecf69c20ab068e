/* SPDX-License-Identifier: MIT */
/* program_child: a process with three pipes, of which ours do not block. Owner: the program. Thread: the program's. Freed by: program_child_bury or
 * program_child_reap, when it has ended. */
#ifndef IO_PROGRAM_CHILD_H
#define IO_PROGRAM_CHILD_H

#include "base/err.h"
#include "io/program.h"

#include <sys/types.h>

enum {
    PROGRAM_OUT_MAX = 2 * PROGRAM_LINE_MAX, /* lines on their way to it */
    PROGRAM_SAID_MAX = 512,                 /* of a line of its stderr */
};

struct program_child {
    pid_t pid;        /* 0: none runs */
    int in, out, err; /* its stdin, stdout, stderr; -1: closed */
    size_t to_n, got_n, said_n;
    char to[PROGRAM_OUT_MAX], got[PROGRAM_LINE_MAX], said[PROGRAM_SAID_MAX];
    /* the program's */
    uint64_t since_ms;
    unsigned n_slots_used;
    struct program_request **slots; /* by channel */
};

/* The environment that a child gets: ours without what the manager of services says to us. mem_free; the texts are not copied. NULL: no memory. */
char **program_child_environment(void);
/* ERR_NOMEM, or -errno */
int program_child_start(struct program_child *c, char **argv, char **envp) MUST_USE;

/* Writes what waits in `to`, as far as it goes; what was written is wiped. OK also where nothing waits. */
enum io program_child_send(struct program_child *c) MUST_USE;
/* Reads once, behind what is in `got`, which has room. EOF, ERR: it has closed its output. */
enum io program_child_hear(struct program_child *c) MUST_USE;
/* The same into `said`; at its end stderr is closed. */
enum io program_child_hear_errors(struct program_child *c) MUST_USE;

/* Closes its stdin. */
void program_child_hush(struct program_child *c);
/* To it and its group, if it runs. */
void program_child_signal(const struct program_child *c, int sig);
/* Waits for its end, which has to be near: it was killed, or has closed its output. */
void program_child_bury(struct program_child *c, int *ret_status);
/* Without waiting: whether it has ended. */
bool program_child_reap(struct program_child *c);

#endif
