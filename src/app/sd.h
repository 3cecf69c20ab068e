/* SPDX-License-Identifier: MIT */
/* sd: what systemd and its like tell a service, and what it tells them: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3), without the library.
 * Thread: main's. Without the variables in the environment nothing happens. */
#ifndef APP_SD_H
#define APP_SD_H

#include "base/base.h"

#include <stdint.h>

enum { SD_FDS_START = 3, SD_FDS_MAX = 64 };

/* Descriptors passed in (LISTEN_FDS, if LISTEN_PID is us), made close-on-exec; their names of LISTEN_FDNAMES in names[i] (static, "" when none).
 * 0 when there are none; ERR_SYNTAX when the variables make no sense; ERR_LIMIT when there are more than SD_FDS_MAX. The variables are removed. */
int sd_listen_fds(const char *names[SD_FDS_MAX]) MUST_USE;

/* One datagram, lines as in sd_notify(3): "READY=1\nSTATUS=…". Never blocks; failing is no error of ours. */
void sd_notify(const char *fmt, ...) PRINTF(1, 2);
/* RELOADING=1 with the MONOTONIC_USEC that newer systemds want. */
void sd_notify_reloading(void);
/* How often WATCHDOG=1 is due: half of WATCHDOG_USEC; 0: nobody waits for it. */
uint64_t sd_watchdog_ms(void);

#endif
