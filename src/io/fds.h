/* SPDX-License-Identifier: MIT */
/* fds: the highest descriptors that the process may have are kept for logs, reloads, the control socket and helpers. The kernel gives out the
 * lowest free number, so the number of a new descriptor says how full it is, without a count.
 * Thread: any; fds_keep on the main one. */
#ifndef IO_FDS_H
#define IO_FDS_H

#include <stdbool.h>

enum { FDS_KEPT = 32 };

/* Keeps the last FDS_KEPT numbers below the limit of open files as it is now, or a quarter of them where that is less. Before this, none are kept. */
void fds_keep(void);
/* Traffic may not have this one: treat the call that returned it as EMFILE. If the limit has been raised meanwhile (prlimit), that counts. */
bool fds_kept(int fd);

/* Around the making of a process. Until that runs its program it has a copy of every descriptor, and what has a copy stays in an epoll set when it is closed: events
 * would name a conn that is no more. Any thread; nobody waits for the end of it. */
void fds_fork_begin(void);
void fds_fork_end(void);
/* Closes what is registered with epfd, so that no event names it any more. A call more than close(2) only while a process is being made. */
void fds_close_watched(int epfd, int fd);

#endif
