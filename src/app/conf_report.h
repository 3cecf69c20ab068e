/* SPDX-License-Identifier: MIT */
/* conf_report: collects what is wrong with a file and shows it the way a compiler would. Places are
 * byte offsets into the text. The first CONF_ERRORS_MAX errors by place are kept, the others
 * counted. Owner: the caller of conf_load, for the time of loading. Thread: main's. */
#ifndef APP_CONF_REPORT_H
#define APP_CONF_REPORT_H

#include "app/conf.h"
#include "base/slice.h"

#include <stdint.h>

/* Places that are none: the file as a whole; the command line. */
#define CONF_AT_FILE (SIZE_MAX - 1)
#define CONF_AT_ARGS SIZE_MAX

enum { CONF_QUOTE_CHARS = 80, CONF_REPORT_PAD = 512, CONF_REPORT_PADS = 8 };

struct conf_report {
    const char *name; /* of the file; borrowed */
    struct slice text;
    struct conf_report_item {
        size_t at;
        struct conf_error error;
    } v[CONF_ERRORS_MAX];
    unsigned n;
    size_t dropped;
    bool nomem; /* the caller gives up with ERR_NOMEM */
    char pads[CONF_REPORT_PADS][CONF_REPORT_PAD];
    unsigned pad;
};

void conf_report_init(struct conf_report *r, const char *name, struct slice text);
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
unsigned conf_report_line(const struct conf_report *r, size_t at);

/* Moves the errors out, sorted by place. ERR_NOMEM: nothing was moved, now or because
 * an error could not be written down before. */
int conf_report_take(struct conf_report *r, struct conf_errors *ret_errors) MUST_USE;

#endif
