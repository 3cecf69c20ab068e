/* SPDX-License-Identifier: MIT */
/* programs: the programs that verify users, running once however many configurations and listeners name them: what is written the same
 * way is the same, and goes on over a reload. Owner: the server. Thread: main's. */
#ifndef APP_PROGRAMS_H
#define APP_PROGRAMS_H

#include "app/conf.h"
#include "base/list.h"

enum { PROGRAMS_QUEUE = 1024 /* questions that one has not answered */ };

struct programs {
    struct list v;
};

void programs_init(struct programs *ps);
/* Starts what the conf names and is not running, and sets users.program. On failure nothing is held. ERR_NOMEM, -errno. */
int programs_attach(struct programs *ps, struct conf *c) MUST_USE;
/* The conf is used no more; programs that no other one names begin to end. */
void programs_release(struct programs *ps, struct conf *c);
/* Frees those that have ended. */
void programs_sweep(struct programs *ps);
/* Ends all of them, waiting. What is held is still to be released. */
void programs_stop(struct programs *ps);

#endif
