/* SPDX-License-Identifier: MIT */
/* quota_file: what quotas have counted, on disk: read at start, written every QUOTA_FILE_MS while it changes and at the end, whole, by rename. A file that cannot
 * be read or written is said, and everything else goes on; one that makes no sense is put aside. One process at a time keeps it.
 * Owner: the server. Thread: its own; quota_file_start and _stop on the main one. */
#ifndef APP_QUOTA_FILE_H
#define APP_QUOTA_FILE_H

#include "base/slice.h"
#include "proxy/charge_table.h"

enum { QUOTA_FILE_MS = 10000, QUOTA_FILE_MAX = 64 << 20, QUOTA_PATH = 512, QUOTA_LINE = 16 + 1 + 20 + 1 + 20 + 1 + CHARGE_KEY * 4 + 2 };

struct quota_file;

/* $STATE_DIRECTORY (its first), /var/lib/ginnel for root, else ginnel in $XDG_STATE_HOME or ~/.local/state. 0; ERR_NOTFOUND: none of these says anything;
 * ERR_LIMIT: it is too long. The folder is made if need be. */
int quota_file_folder(char out[QUOTA_PATH]) MUST_USE;

/* Loads what is there into the table, and keeps it from now on. NULL: it cannot (which has been said): nothing is kept. */
struct quota_file *quota_file_start(struct charge_table *t, const char *folder);
/* Writes it for the last time. No worker counts any more. NULL is fine. */
void quota_file_stop(struct quota_file *q);

/* The text of a file, and the way back. quota_file_parse: ERR_SYNTAX: it makes no sense, and nothing of it is used. */
char *quota_file_text(struct charge_table *t, uint64_t wall_ms, size_t *ret_n) MUST_USE; /* mem_free; NULL: memory refused */
int quota_file_parse(struct charge_table *t, struct slice text, uint64_t wall_ms, unsigned *ret_n) MUST_USE;

#endif
