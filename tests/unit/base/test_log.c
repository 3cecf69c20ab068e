/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static enum log_level seen_level;
static char seen[4096];
static unsigned n_seen;

static void sink(enum log_level level, const char *line, size_t n)
{
    seen_level = level;
    memcpy(seen, line, n);
    seen[n] = '\0';
    n_seen++;
    errno = EBADF;
}

static int setup(void **state)
{
    UNUSED(state);
    n_seen = 0;
    log_set_level(LOG_INFO);
    log_set_sink(sink);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    log_set_sink(NULL);
    return 0;
}

static void test_line(void **state)
{
    UNUSED(state);
    log_warn("%s: %d", "text", 5);
    assert_int_equal(n_seen, 1);
    assert_int_equal(seen_level, LOG_WARN);
    assert_string_equal(seen, "text: 5");
}

static void test_levels(void **state)
{
    UNUSED(state);
    log_debug("not this");
    assert_int_equal(n_seen, 0);
    log_set_level(LOG_DEBUG);
    assert_int_equal(log_get_level(), LOG_DEBUG);
    log_debug("but this");
    assert_int_equal(n_seen, 1);
    log_set_level(LOG_ERROR);
    log_warn("not this");
    log_error("but this");
    assert_int_equal(n_seen, 2);
    assert_int_equal(seen_level, LOG_ERROR);
}

static void test_errno_is_kept(void **state)
{
    UNUSED(state);
    errno = ENOENT;
    log_info("x");
    assert_int_equal(errno, ENOENT);
}

static void test_long_line_is_cut(void **state)
{
    UNUSED(state);
    log_info("%5000d", 1);
    assert_int_equal(strlen(seen), 1023);
}

/* What the default sink writes to stderr for one line. */
static size_t capture(char *out, size_t cap, enum log_level level, const char *text)
{
    int fd[2], saved = dup(STDERR_FILENO);
    ssize_t n;

    log_set_sink(NULL);
    assert_return_code(pipe2(fd, O_NONBLOCK), 0);
    dup2(fd[1], STDERR_FILENO);
    log_emit(level, "%s", text);
    dup2(saved, STDERR_FILENO);
    n = read(fd[0], out, cap - 1);
    close(saved);
    close(fd[0]);
    close(fd[1]);
    assert_true(n >= 0);
    out[n] = '\0';
    return (size_t)n;
}

static void test_default_sink(void **state)
{
    char out[4096];

    UNUSED(state);
    capture(out, sizeof(out), LOG_ERROR, "text");
    assert_string_equal(out, "ginnel: error: text\n");
    capture(out, sizeof(out), LOG_WARN, "text");
    assert_string_equal(out, "ginnel: warning: text\n");
    capture(out, sizeof(out), LOG_INFO, "");
    assert_string_equal(out, "ginnel: info: \n");
}

/* A line of the log is one line whatever came in from the network. */
static void test_default_sink_escapes(void **state)
{
    char out[4096];

    UNUSED(state);
    capture(out, sizeof(out), LOG_INFO, "a\nb\r\x1b[0m\x7f gr\xc3\xbc\xc3\x9f");
    assert_string_equal(out, "ginnel: info: a\\x0ab\\x0d\\x1b[0m\\x7f gr\xc3\xbc\xc3\x9f\n");
}

static void test_default_sink_cuts(void **state)
{
    char text[4001], out[4096];
    size_t n;

    UNUSED(state);
    memset(text, '\n', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    n = capture(out, sizeof(out), LOG_INFO, text);
    assert_true(n <= 1024 && n > 1000);
    assert_int_equal(out[n - 1], '\n');
    memset(text, 't', sizeof(text) - 1);
    n = capture(out, sizeof(out), LOG_WARN, text);
    assert_true(n <= 1024 && n > 1000);
    assert_int_equal(out[n - 1], '\n');
}

/* Waits for the turn of the coarse clock's second, so that what follows lies within one. */
static void new_second(void)
{
    struct timespec a, now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &a);
    do {
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    } while (now.tv_sec == a.tv_sec);
}

static void test_limit(void **state)
{
    struct log_limit l = {0};
    unsigned dropped = 99;

    UNUSED(state);
    new_second();
    for (int i = 0; i < 3; i++) {
        assert_true(log_allowed(&l, 3, &dropped));
        assert_int_equal(dropped, 0);
    }
    dropped = 99;
    for (int i = 0; i < 5; i++)
        assert_false(log_allowed(&l, 3, &dropped));
    assert_int_equal(dropped, 99);
    new_second();
    assert_true(log_allowed(&l, 3, &dropped));
    assert_int_equal(dropped, 5);
    assert_true(log_allowed(&l, 3, &dropped));
    assert_int_equal(dropped, 0);
}

static void emit_limited(int i)
{
    log_limited(LOG_WARN, 2, "line %d", i);
}

static void test_limited_macro(void **state)
{
    UNUSED(state);
    new_second();
    for (int i = 0; i < 10; i++)
        emit_limited(i);
    assert_int_equal(n_seen, 2);
    assert_string_equal(seen, "line 1");
    new_second();
    emit_limited(10);
    assert_int_equal(n_seen, 4);
    assert_non_null(strstr(seen, "8 more"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errno_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_line_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_default_sink, setup, teardown),
        cmocka_unit_test_setup_teardown(test_default_sink_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_default_sink_cuts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limited_macro, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
