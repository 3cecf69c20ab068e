/* SPDX-License-Identifier: MIT */
/* filewatch: tells when one of a set of files may have changed, and whether one is being written just now. inotify on the directory of each file and
 * on every directory on the way to it, through symlinks (a Kubernetes volume swaps a symlink two levels up); by name, so that a file that is replaced,
 * removed or not there yet is watched all the same. The last component of a member may be a pattern (it has * ? or [, and means what it means to
 * `include`): then every name that matches counts, and so does one that is spelled like it. A file that is a mount of its own (a file given to a container) is watched itself as well: its directory does not hear of it.
 * Not seen: writing through mmap until the file is closed, through a hard link in another directory, and by another machine (NFS).
 * Owner: app. Thread: its loop's. Bounds: FILEWATCH_MAX paths; watches of the kernel are taken once a directory. */
#ifndef APP_FILEWATCH_H
#define APP_FILEWATCH_H

#include "io/loop.h"

enum {
    FILEWATCH_MAX = 4096,
    FILEWATCH_QUIET_MS = 200,
    FILEWATCH_STARVE_MS = 5000, /* the quiet time is put off no longer than this, unless a member is busy then */
    FILEWATCH_POLL_MS = 5000,
    FILEWATCH_BUSY_MAX = 256,    /* files being written at once; of more it is only known that they changed */
};

struct filewatch;

/* task is woken with TASK_RX when something has happened to a member and nothing more for FILEWATCH_QUIET_MS (or FILEWATCH_STARVE_MS have
 * passed, where it never becomes quiet), and no member is busy. Without inotify
 * (no watches left, none in the kernel, a directory that may not be read) it wakes every FILEWATCH_POLL_MS when size, time or identity of a member
 * changed, and tries inotify again. ERR_NOMEM. */
int filewatch_new(struct loop *loop, struct task *task, struct filewatch **ret_w) MUST_USE;
void filewatch_free(struct filewatch *w);
/* Replaces the set (n paths, copied). What has happened to paths that stay is not forgotten, and what is busy stays busy. If there are paths that
 * were not in the set before, the task is woken once, after the quiet time: they may have changed since they were read and before they were watched.
 * ERR_NOMEM, ERR_LIMIT (too many, or a path too long): the old set holds. */
int filewatch_set(struct filewatch *w, const char *const *paths, size_t n) MUST_USE;
/* Takes what has happened until now, and returns how many changes of members there have been since filewatch_new; filewatch_busy is then as of now, too.
 * Who reads the members between two looks that return the same, and finds none busy after either, has read one state of all of them. Polling (see
 * filewatch_instant) compares size, time and identity now, and the names that match a pattern; what was changed back in between it does not see. */
uint64_t filewatch_look(struct filewatch *w);
/* Somebody is writing a member: it was modified (or created, and is empty yet) since it was last closed by a writer, renamed, replaced or removed.
 * As of the loop's last wait, or the last look. Two limits of inotify, whose events name no writer: of several writers at once the first to close ends it until the next
 * of them writes again; and truncate(2) of a path, which opens nothing, begins what only the next writer's close ends. When the kernel drops events,
 * nothing is busy until the next one. Polling knows nothing of this: there only a member that keeps changing is waited for. */
bool filewatch_busy(const struct filewatch *w);
/* False: there is no inotify, or not for everything: it polls. */
bool filewatch_instant(const struct filewatch *w);

#endif
