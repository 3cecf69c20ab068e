/* SPDX-License-Identifier: MIT */
/* conf_source: the texts of a load: the file, what it includes, list files. They lie one behind
 * the other in one space of offsets: a place is its source's base and an offset in it, so that one
 * number says file and line, and errors sort by it.
 * Owner: conf_load's stack. Thread: main's. */
#ifndef APP_CONF_SOURCE_H
#define APP_CONF_SOURCE_H

#include "base/slice.h"

#include <stdint.h>
#include <sys/stat.h>

struct conf_source {
    char *name; /* as it was opened; messages show it */
    struct slice text;
    bool hidden; /* its lines are no part of messages: there are passwords in it */
    char *owned; /* the text's memory; NULL: borrowed, or given back */
    size_t base;
    dev_t dev; /* 0 with a borrowed text */
    ino_t ino;
    mode_t mode;
};

struct conf_sources {
    struct conf_source *v; /* valid until the next one is added */
    unsigned n;
    unsigned cap;
    size_t next;      /* the base of the next one */
    char **noted;     /* paths that were tried in vain, and patterns; no more than CONF_SOURCES_MAX */
    unsigned n_noted;
    uint64_t content; /* hash of all names and bytes in their order */
};

/* What conf_sources_read may answer besides -errno and ERR_NOMEM. */
enum conf_unreadable {
    CONF_NO_FILE = -2001, /* a pipe, a device, a socket */
    CONF_TOO_LARGE = -2002,
    CONF_CHANGING = -2003, /* it was written to each time it was read */
    CONF_TOO_MANY = -2004, /* CONF_SOURCES_MAX */
};

/* Reads the file, at most max bytes, as one state of it: a file that changes meanwhile is read
 * again. Never waits for a pipe or a device. *ret_i is its index. A path that cannot be read is
 * noted. */
int conf_sources_read(struct conf_sources *s, const char *path, size_t max,
                      unsigned *ret_i) MUST_USE;
/* A text from memory, borrowed. */
int conf_sources_add(struct conf_sources *s, const char *name, struct slice text,
                     unsigned *ret_i) MUST_USE;
/* A path of which the load depends and which is no source. Those beyond the bound are forgotten. */
int conf_sources_note(struct conf_sources *s, const char *path) MUST_USE;
/* Gives the text's memory back; its places may still be compared, but no longer shown. */
void conf_sources_drop(struct conf_sources *s, unsigned i);
void conf_sources_done(struct conf_sources *s);

/* All paths that the load depends on, each once: sources first, then what was noted. One piece of
 * heap for array and texts (mem_free). ERR_NOMEM. */
int conf_sources_paths(const struct conf_sources *s, const char ***ret_v, unsigned *ret_n) MUST_USE;

/* The source of a place. There is at least one. */
const struct conf_source *conf_sources_find(const struct conf_sources *s, size_t at);

/* A sentence for what conf_sources_read answered, and a hint or NULL. NULL: err_text has one, or
 * the caller, who knows the bound that was reached. */
const char *conf_source_problem(int err, const char **ret_hint);

/* `path` as the file at that place means it: relative to the folder of that file. Heap. */
char *conf_sources_path(const struct conf_sources *s, size_t at, struct slice path) MUST_USE;

#endif
