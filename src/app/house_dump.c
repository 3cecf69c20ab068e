/* SPDX-License-Identifier: MIT */
/* house_dump: USR2. What every worker is doing, into the log: a piece now and the rest bit by bit, because the log has little room and drops what does not fit.
 * Called by the house on the main thread.
 */
#include "app/server.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>

enum { DUMP_PIECE = 32768, DUMP_EVERY_MS = 50 }; /* less than half of the log's ring; longer than its writer sleeps */

/* Whole lines, about a piece of them. */
static size_t piece_of(const char *p)
{
    size_t n = 0;

    while (p[n] && n < DUMP_PIECE) {
        n += strcspn(p + n, "\n");
        n += p[n] == '\n';
    }
    return n;
}

static void dump_piece(struct server *s)
{
    char *p = s->dump + s->dump_at;
    size_t n = piece_of(p);
    char after = p[n];

    p[n] = '\0';
    log_lines(LOG_INFO, p);
    p[n] = after;
    s->dump_at += n;
    if (after) {
        timer_set(&s->dump_timer, DUMP_EVERY_MS);
        return;
    }
    mem_free(s->dump);
    s->dump = NULL;
}

static void dump_run(struct task *t, unsigned bits)
{
    struct server *s = CONTAINER_OF(t, struct server, dump_task);

    UNUSED(bits);
    if (s->dump)
        dump_piece(s);
}

void house_dump(struct server *s)
{
    if (s->dump) {
        log_info("the dump before this one is still being written");
        return;
    }
    s->dump = house_dump_text(s);
    s->dump_at = 0;
    if (s->dump)
        dump_piece(s);
    else
        log_error("no dump: out of memory");
}

void house_dump_start(struct server *s)
{
    task_init(&s->dump_task, &s->house.loop, "dump", dump_run);
    timer_init(&s->dump_timer, &s->dump_task);
}

void house_dump_done(struct server *s)
{
    timer_stop(&s->dump_timer);
    task_cancel(&s->dump_task);
    mem_free(s->dump);
    s->dump = NULL;
}
