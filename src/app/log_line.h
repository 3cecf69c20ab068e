/* SPDX-License-Identifier: MIT */
/* log_line: reads an access log in format json (proxy/access_format.h) back, a line at a time, in bounded memory. Lines may be of any origin: what is no record
 * is counted and passed over. Owner: the reader's caller. Thread: one. */
#ifndef APP_LOG_LINE_H
#define APP_LOG_LINE_H

#include "base/end.h"
#include "base/slice.h"

#include <stdint.h>
#include <stdio.h>

enum { LOG_LINE_MAX_BYTES = 64 << 10, LOG_LINE_SHOWN = 3 };

/* A finished request. Slices point into the reader's line; what is not in the log is empty or 0. */
struct log_line {
    struct slice time, listener, client, method, scheme, host, path, user, groups, labels, sni, peer, rule, would;
    uint16_t port, status;
    bool would_deny, tunnel;
    bool known_end; /* end is one of this program's */
    enum end_reason end;
};

/* RECORD: a finished request with a target. OTHER: a line of another kind: the beginning of a tunnel, a request without a target, a diagnostic, nothing.
 * BAD: not a line of such a log. */
enum log_line_kind { LOG_LINE_RECORD = 0, LOG_LINE_OTHER, LOG_LINE_BAD };

/* Decodes in place. */
enum log_line_kind log_line_read(char *p, size_t n, struct log_line *ret_line);

struct log_reader {
    FILE *from;
    const char *name; /* for messages */
    char *line;       /* LOG_LINE_MAX_BYTES */
    uint64_t lines, records, bad;
    uint64_t first_bad[LOG_LINE_SHOWN]; /* their numbers */
    bool failed; /* it could not be read to its end */
};

/* name NULL or "-": stdin. Negative: errno, ERR_NOMEM. */
int log_reader_open(struct log_reader *r, const char *name) MUST_USE;
/* The next record; false: that was all, or failed. It is valid until the next call. */
bool log_reader_next(struct log_reader *r, struct log_line *ret_line);
void log_reader_close(struct log_reader *r);
/* Says on stderr how many lines were bad, and where, if any; and that reading failed, if it did. */
void log_reader_report(const struct log_reader *r);

#endif
