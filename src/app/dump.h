/* SPDX-License-Identifier: MIT */
/* dump: what one worker is doing, for the log (USR2): its queues, and its sessions, the oldest in each state, two lines each. A pure function of a view whose
 * reports have sessions. The format is for people who look for a fault, and no interface. Thread: any. */
#ifndef APP_DUMP_H
#define APP_DUMP_H

#include "app/view.h"

/* i: of the reports. Nothing from the network is unescaped. NULL: memory refused. mem_free. */
char *dump_text(const struct server_view *v, unsigned i, size_t *ret_n) MUST_USE;

#endif
