/* SPDX-License-Identifier: MIT */
/* log: diagnostics for the operator (not the access log). Lines go to the sink that app sets (stderr before that).
 * Thread: any. Never blocks once app has set its sink. Control bytes in arguments are escaped by the sink. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/base.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };

typedef void (*log_sink_fn)(enum log_level level, const char *line, size_t n);

enum { LOG_LINE_MAX = 1024 };
/* "ginnel: level: line\n" with control bytes escaped, cut at LOG_LINE_MAX; returns its length. For sinks. */
size_t log_format(enum log_level level, const char *line, size_t n, char out[LOG_LINE_MAX]);

void log_set_sink(log_sink_fn sink);
void log_set_level(enum log_level max);
enum log_level log_get_level(void);
void log_emit(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

/* A text of several lines, a line each. */
void log_lines(enum log_level level, const char *text);

#define log_error(...) log_emit(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_emit(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_emit(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_get_level() >= LOG_DEBUG)                                                          \
            log_emit(LOG_DEBUG, __VA_ARGS__);                                                      \
    } while (0)

/* At most `per_s` lines a second from this place (a static struct); what was left out is said with the next line. */
struct log_limit {
    _Atomic uint64_t second;
    _Atomic unsigned n, dropped;
};
bool log_allowed(struct log_limit *l, unsigned per_s, unsigned *ret_dropped);
#define log_limited(level, per_s, ...)                                                             \
    do {                                                                                           \
        static struct log_limit limit_;                                                            \
        unsigned dropped_;                                                                         \
        if (log_allowed(&limit_, per_s, &dropped_)) {                                              \
            log_emit(level, __VA_ARGS__);                                                          \
            if (dropped_)                                                                          \
                log_emit(level, "(%u more like this in the second before)", dropped_);             \
        }                                                                                          \
    } while (0)

#endif
