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

#endif
