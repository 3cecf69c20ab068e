/* SPDX-License-Identifier: MIT */
/* resolve_files: the hosts file and resolv.conf, read again when they change. inotify says when
 * (the directory, since the files are replaced by rename; the directory behind a symbolic link; the
 * file itself, since a container's is a mount); where it does not work, a look at their times every
 * RESOLVE_FILES_POLL_MS when a name is asked for. Reading is the one thing here that may wait for a
 * disk: files are local and RESOLVE_FILES_BYTES of each are read. Owner: the resolver. Thread: its
 * loop's. */
#ifndef IO_RESOLVE_FILES_H
#define IO_RESOLVE_FILES_H

#include "io/loop.h"
#include "io/resolve_tables.h"

#include <sys/types.h>
#include <time.h>

enum {
    RESOLVE_FILES_BYTES = 1 << 20,
    RESOLVE_FILES_POLL_MS = 5000,
    RESOLVE_FILES_PAUSE_MS = 100, /* between two readings of files that keep changing */
};

/* How a file looked when it was read; all zero: it was not there. */
struct resolve_file_state {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct resolve_files {
    struct task *task; /* the resolver's: woken with TASK_RX when something may have changed */
    char *hosts_path, *conf_path; /* conf_path: NULL when resolv.conf is of no interest */
    struct resolve_hosts hosts;
    struct resolve_conf_file conf;
    struct resolve_file_state hosts_state, conf_state;
    struct watch watch; /* inotify; fd -1: polling */
    bool dirty;         /* something changed: read again at due_ms */
    uint64_t due_ms;    /* UINT64_MAX: nothing is to be done */
    uint64_t poll_ms;   /* polling: not before */
    uint64_t read_ms;   /* when files were looked at last */
};

/* Reads the files. Missing ones are empty. ERR_NOMEM. */
int resolve_files_init(struct resolve_files *f, struct task *task, const char *hosts_path,
                       const char *conf_path) MUST_USE;
void resolve_files_done(struct resolve_files *f);
/* Called from the task: reads again what has changed and is due. True: resolv.conf says something
 * else now. */
bool resolve_files_run(struct resolve_files *f);
/* Called when a name is asked for: polls if inotify does not work. As above. */
bool resolve_files_poll(struct resolve_files *f);

#endif
