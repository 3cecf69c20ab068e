/* SPDX-License-Identifier: MIT */
/* access_output: one opened output of the log, with its buffer. Nothing here waits: what the other
 * side does not take now stays in the buffer, and a line for which that has no room is lost and
 * counted. An output that fails (disk full, pipe without reader) is said once, tried again every
 * second, and said again with the number of lost lines when all that was kept has been written. The
 * bytes of a line are always written one after the other: what is kept begins where the last write
 * ended.
 *
 * file: O_APPEND|O_CREAT, 0640; a FIFO must have its reader. stdout and stderr are borrowed and
 * their flags left alone: pipes and terminals are written in pieces of PIPE_BUF at most, which end
 * with a line's end where they can, after poll said that there is room; sockets with MSG_DONTWAIT.
 * syslog: a datagram a line, facility daemon, severity info; over a Unix socket as the C library
 * writes to /dev/log, connecting again after the daemon was started anew; over UDP as RFC 5424,
 * where what nobody receives is not noticed. Owner: a set (access.c). Thread: one at a time. Freed
 * by access_output_done. */
#ifndef PROXY_ACCESS_OUTPUT_H
#define PROXY_ACCESS_OUTPUT_H

#include "proxy/access.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum { ACCESS_RETRY_MS = 1000 };

/* For all outputs of a log: one writer, any reader. */
struct access_totals {
    _Atomic uint64_t written, lost;
    _Atomic unsigned failing;
};

enum access_way {
    ACCESS_WAY_WHOLE = 0,
    ACCESS_WAY_PIECES,
    ACCESS_WAY_SOCKET,
    ACCESS_WAY_DATAGRAMS
};

struct access_opened {
    const struct access_output *spec; /* borrowed; NULL: the diagnostics */
    char *buf;                        /* ACCESS_OUTPUT_BUFFER */
    size_t start, end;                /* what is to be written */
    unsigned lines;                   /* in it, a begun one included */
    int fd;
    enum access_way way;
    dev_t dev; /* of the descriptor: two outputs may be one file */
    ino_t ino;
    int pid;       /* syslog */
    bool owned;    /* the descriptor is ours to close */
    bool mid_line; /* the last byte written did not end a line */
    bool failing;  /* said, and not yet recovered */
    bool broken;   /* the last write failed: wait until retry_ms */
    bool full;     /* has taken nothing when it had to: not waited for until it takes something */
    uint64_t lost; /* since it is failing */
    uint64_t retry_ms; /* when to try again */
    uint64_t moved_ms; /* when it took something last */
};

/* -errno or ERR_NOMEM: nothing is open. */
int access_output_open(struct access_opened *o, const struct access_output *spec) MUST_USE;
/* The diagnostics: a borrowed descriptor, about which nothing is ever said. */
int access_output_borrow(struct access_opened *o, int fd) MUST_USE;
/* Closes; lines that were not written are lost and counted. */
void access_output_done(struct access_opened *o, struct access_totals *totals);

/* Room for n bytes behind what is there, or NULL. Then access_output_added says how many became one
 * line. */
char *access_output_room(struct access_opened *o, size_t n);
void access_output_added(struct access_opened *o, size_t n);
/* A line had no room. */
void access_output_lose(struct access_opened *o, struct access_totals *totals);

static inline bool access_output_pending(const struct access_opened *o)
{
    return o->end > o->start;
}
/* Writes what is taken now. After a failure it does nothing before retry_ms. */
void access_output_flush(struct access_opened *o, uint64_t now_ms, struct access_totals *totals);

/* The same place: what one has buffered may be written by the other. */
bool access_output_same(const struct access_opened *a, const struct access_opened *b);
/* The buffer, and how things stand, go from one to the other, which has nothing yet. */
void access_output_take_over(struct access_opened *to, struct access_opened *from);
/* The same descriptor or file: while one is amid a line, the other must not write. */
static inline bool access_output_shared(const struct access_opened *a,
                                        const struct access_opened *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->way != ACCESS_WAY_DATAGRAMS &&
           b->way != ACCESS_WAY_DATAGRAMS;
}
/* Opens the file anew by name and writes what is buffered to the old one, as far as that takes it.
 * -errno: the old one is used on. What is neither a file nor a Unix socket is left alone. */
int access_output_reopen(struct access_opened *o, uint64_t now_ms,
                         struct access_totals *totals) MUST_USE;

/* For messages. */
const char *access_output_name(const struct access_output *spec, char text[ADDR_TEXT_MAX]);

#endif
