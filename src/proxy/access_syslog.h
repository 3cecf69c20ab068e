/* SPDX-License-Identifier: MIT */
/* access_syslog: datagrams to a syslog daemon, facility daemon, severity info. Nothing waits.
 * Thread: any, a descriptor at a time. */
#ifndef PROXY_ACCESS_SYSLOG_H
#define PROXY_ACCESS_SYSLOG_H

#include "base/slice.h"
#include "io/addr.h"

/* A descriptor of the caller's, or -errno. */
int access_syslog_unix(const char *path) MUST_USE;
int access_syslog_udp(const struct addr *to) MUST_USE;

/* One line without its end: `<30>Mmm dd hh:mm:ss ginnel[pid]: line`, as the C library sends to
 * /dev/log, in local time. A daemon that was started anew is connected to again. 0, -EAGAIN (it has
 * no room), -errno. */
int access_syslog_send_unix(int fd, const char *path, int pid, struct slice line) MUST_USE;
/* RFC 5424 6: `<30>1 TIME HOST ginnel PID access - line`. That a datagram before was refused is no
 * error: nothing says which, and the next may pass. */
int access_syslog_send_udp(int fd, int pid, struct slice line) MUST_USE;

#endif
