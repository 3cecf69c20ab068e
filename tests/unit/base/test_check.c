/* SPDX-License-Identifier: MIT */
#include "base/check.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define THING_MAGIC 0x7417a61cu

struct thing {
    unsigned magic;
    int value;
};

/* Runs f in a child whose stderr is read; returns its wait status. */
static int run_child(void (*f)(void), char *text, size_t cap)
{
    size_t n = 0;
    ssize_t r;
    int fd[2], status;
    pid_t pid;

    assert_return_code(pipe(fd), 0);
    pid = fork();
    assert_return_code(pid, 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        signal(SIGABRT, SIG_DFL);
        dup2(fd[1], STDERR_FILENO);
        f();
        _exit(0);
    }
    close(fd[1]);
    while (n < cap - 1 && (r = read(fd[0], text + n, cap - 1 - n)) > 0)
        n += (size_t)r;
    text[n] = '\0';
    close(fd[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void pass(void)
{
    struct thing t = {.magic = THING_MAGIC, .value = 7};

    CHECK(1 + 1 == 2);
    if (OBJ_CAST(struct thing, (void *)&t, THING_MAGIC)->value != 7)
        _exit(1);
}

static void fail_check(void)
{
    volatile int one = 1;

    CHECK(one == 2);
}

static void fail_unreachable(void)
{
    UNREACHABLE();
}

static void fail_dead_object(void)
{
    struct thing t = {.magic = OBJ_DEAD};

    _exit(OBJ_CAST(struct thing, (void *)&t, THING_MAGIC)->value);
}

static void fail_long_text(void)
{
    char what[4000];

    memset(what, 'w', sizeof(what) - 1);
    what[sizeof(what) - 1] = '\0';
    check_failed(what, what, 1);
}

static void test_pass(void **state)
{
    char text[1024];

    UNUSED(state);
    assert_int_equal(run_child(pass, text, sizeof(text)), 0);
    assert_string_equal(text, "");
}

static void assert_aborts(void (*f)(void), const char *what)
{
    char text[1024];
    int status = run_child(f, text, sizeof(text));

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "ginnel: check failed: "));
    assert_non_null(strstr(text, what));
}

static void test_failures_abort(void **state)
{
    UNUSED(state);
    assert_aborts(fail_check, "one == 2 at ");
    assert_aborts(fail_check, "test_check.c:");
    assert_aborts(fail_unreachable, "unreachable");
    assert_aborts(fail_dead_object, "magic");
    assert_aborts(fail_long_text, ":1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pass),
        cmocka_unit_test(test_failures_abort),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
