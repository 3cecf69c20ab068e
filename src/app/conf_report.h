/* SPDX-License-Identifier: MIT */
/* conf_report: collects what is wrong with a load and shows it the way a compiler would. Places are
 * offsets in the space of its sources (conf_source.h). The first CONF_ERRORS_MAX errors by place
 * are kept, the others counted. Owner: the caller of conf_load, for the time of loading. Thread:
 * main's. */
#ifndef APP_CONF_REPORT_H
#define APP_CONF_REPORT_H

#include "app/conf.h"
#include "app/conf_source.h"
#include "base/slice.h"

#include <stdint.h>

/* Places that are none: the file as a whole; the command line. */
#define CONF_AT_FILE (SIZE_MAX - 1)
#define CONF_AT_ARGS SIZE_MAX

enum { CONF_QUOTE_CHARS = 80, CONF_REPORT_PAD = 512, CONF_REPORT_PADS = 8 };

struct conf_report {
    const struct conf_sources *sources; /* borrowed */
    const char *prefix;                 /* before each message: "warning: "; or "" */
    struct conf_report_item {
        size_t at;
        struct conf_error error;
    } v[CONF_ERRORS_MAX];
    unsigned n;
    size_t dropped;
    bool nomem; /* the caller gives up with ERR_NOMEM */
    /* Where the last place was: the next one is mostly behind it, and texts may be large. */
    struct {
        size_t base;      /* of the source */
        size_t at, start; /* an offset in it, and where its line begins */
        unsigned line;    /* 0: there has been none */
        size_t column_at; /* an offset in that line, and the column there */
        unsigned column;
    } cursor;
    char pads[CONF_REPORT_PADS][CONF_REPORT_PAD];
    unsigned pad;
};

void conf_report_init(struct conf_report *r, const struct conf_sources *sources);
void conf_report_done(struct conf_report *r);

/* Whether an error at that place would be shown; for callers whose message is costly to make. */
bool conf_report_wants(const struct conf_report *r, size_t at);
/* hint may be NULL. */
void conf_report_add(struct conf_report *r, size_t at, const char *hint, const char *fmt, ...)
    PRINTF(4, 5);
/* A text in double quotes, escaped, cut at CONF_QUOTE_CHARS. Valid until seven more calls of this
 * or conf_report_say. */
const char *conf_report_quote(struct conf_report *r, struct slice s);
const char *conf_report_say(struct conf_report *r, const char *fmt, ...) PRINTF(2, 3);
/* The line of a place, from 1. */
unsigned conf_report_line(struct conf_report *r, size_t at);
/* "line 3", or "FILE:3" where that is another file than other_at's. */
const char *conf_report_where(struct conf_report *r, size_t at, size_t other_at);
/* Errors and what was dropped: whether a check has found something. */
static inline size_t conf_report_count(const struct conf_report *r)
{
    return r->n + r->dropped;
}

/* Moves the errors out, sorted by place. ERR_NOMEM: nothing was moved, now or because
 * an error could not be written down before. */
int conf_report_take(struct conf_report *r, struct conf_errors *ret_errors) MUST_USE;

#endif
