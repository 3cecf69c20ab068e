/* SPDX-License-Identifier: MIT */
/* log: formats a line and gives it to the sink. Called from any thread by the rooms that decide.
 * The sink that stands until app sets its own writes to stderr, a line a write(2), so that lines of
 * several threads do not mix; it may block. It must never allocate: it reports that memory has run
 * out.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static size_t put_escaped(char *p, char c)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char u = (unsigned char)c;

    if (u >= 0x20 && u != 0x7f) {
        *p = c;
        return 1;
    }
    p[0] = '\\';
    p[1] = 'x';
    p[2] = hex[u >> 4];
    p[3] = hex[u & 15];
    return 4;
}

size_t log_format(enum log_level level, const char *line, size_t n, char out[LOG_LINE_MAX])
{
    static const char *const heads[] = {
        "ginnel: error: ", "ginnel: warning: ", "ginnel: info: ", "ginnel: debug: "};
    size_t used = strlen(heads[level]);

    memcpy(out, heads[level], used);
    /* room for one escape and the line's end */
    for (size_t i = 0; i < n && used + 5 <= LOG_LINE_MAX; i++)
        used += put_escaped(out + used, line[i]);
    out[used++] = '\n';
    return used;
}

static void write_stderr(enum log_level level, const char *line, size_t n)
{
    char out[LOG_LINE_MAX];
    size_t used = log_format(level, line, n, out);

    if (write(STDERR_FILENO, out, used) < 0) {
        /* Nobody is left to be told. */
    }
}

static _Atomic log_sink_fn the_sink = write_stderr;
static _Atomic int the_level = LOG_INFO;

void log_set_sink(log_sink_fn sink)
{
    atomic_store_explicit(&the_sink, sink ? sink : write_stderr, memory_order_release);
}

void log_set_level(enum log_level max)
{
    atomic_store_explicit(&the_level, (int)max, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&the_level, memory_order_relaxed);
}

void log_emit(enum log_level level, const char *fmt, ...)
{
    int saved = errno; /* a caller that logs on its way out still returns its own */
    char line[LOG_LINE_MAX];
    log_sink_fn sink;
    va_list ap;
    int n;

    if (level > log_get_level())
        return;
    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    sink = atomic_load_explicit(&the_sink, memory_order_acquire);
    sink(level, line, min_size((size_t)n, sizeof(line) - 1));
    errno = saved;
}

void log_lines(enum log_level level, const char *text)
{
    while (*text) {
        int n = (int)strcspn(text, "\n");

        log_emit(level, "%.*s", n, text);
        text += n;
        text += *text == '\n';
    }
}

static uint64_t current_second(void)
{
    struct timespec ts = {0};

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (uint64_t)ts.tv_sec;
}

/* Threads may meet at the turn of a second; then a line more or less gets through, and no count is
 * lost. */
bool log_allowed(struct log_limit *l, unsigned per_s, unsigned *ret_dropped)
{
    uint64_t now = current_second();

    if (atomic_exchange_explicit(&l->second, now, memory_order_relaxed) != now)
        atomic_store_explicit(&l->n, 0, memory_order_relaxed);
    /* No counting beyond per_s: a counter that wraps would open the gate again. */
    if (atomic_load_explicit(&l->n, memory_order_relaxed) >= per_s ||
        atomic_fetch_add_explicit(&l->n, 1, memory_order_relaxed) >= per_s) {
        atomic_fetch_add_explicit(&l->dropped, 1, memory_order_relaxed);
        return false;
    }
    *ret_dropped = atomic_exchange_explicit(&l->dropped, 0, memory_order_relaxed);
    return true;
}
