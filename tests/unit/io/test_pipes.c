/* SPDX-License-Identifier: MIT */
/* Lent pipes: the budget, what is kept, and what an unprivileged user is refused. */
#include "io/pipes.h"

#include "base/check.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/net.h"

enum { NO_PIPES = 4096 };

static struct pipe_pool *pool;
static int before;

static int setup(void **state)
{
    UNUSED(state);
    before = net_fds();
    pool = pipe_pool_new((size_t)64 << 20);
    assert_non_null(pool);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    pipe_pool_free(pool);
    pipe_pool_free(NULL);
    assert_int_equal(net_fds(), before);
    return 0;
}

static void fill(struct pipe_lent *p, size_t n)
{
    static const char zeros[4096];

    while (n) {
        size_t part = min_size(n, sizeof(zeros));

        assert_int_equal(write(p->wr, zeros, part), part);
        p->bytes += part;
        n -= part;
    }
}

static void test_lend(void **state)
{
    struct pipe_lent p;
    char c;

    UNUSED(state);
    assert_true(pipe_lend(pool, &p));
    assert_true(p.size >= 32768);
    assert_int_equal(p.bytes, 0);
    assert_int_equal(fcntl(p.wr, F_GETPIPE_SZ), p.size);
    assert_true(fcntl(p.rd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(p.rd, F_GETFD) & FD_CLOEXEC);
    fill(&p, 1);
    assert_int_equal(read(p.rd, &c, 1), 1);
    p.bytes = 0;
    pipe_return(pool, &p);
    assert_int_equal(p.rd, -1);
    assert_int_equal(p.wr, -1);
}

static void test_a_drained_pipe_is_kept(void **state)
{
    struct pipe_lent p;
    int rd, fds;

    UNUSED(state);
    assert_true(pipe_lend(pool, &p));
    rd = p.rd;
    fds = net_fds();
    pipe_return(pool, &p);
    assert_int_equal(net_fds(), fds);
    assert_true(pipe_lend(pool, &p));
    assert_int_equal(p.rd, rd);
    assert_int_equal(p.bytes, 0);
    pipe_return(pool, &p);
}

/* What is left in a pipe is nobody else's. */
static void test_a_pipe_with_bytes_is_closed(void **state)
{
    struct pipe_lent p;
    char c;

    UNUSED(state);
    assert_true(pipe_lend(pool, &p));
    fill(&p, 100);
    pipe_return(pool, &p);
    assert_int_equal(net_fds(), before);
    assert_true(pipe_lend(pool, &p));
    assert_int_equal(read(p.rd, &c, 1), -1);
    assert_int_equal(errno, EAGAIN);
    pipe_return(pool, &p);
}

static void test_budget(void **state)
{
    struct pipe_pool *small = pipe_pool_new(3 * PIPE_SIZE + PIPE_SIZE / 2);
    struct pipe_lent p[4];

    UNUSED(state);
    for (int round = 0; round < 3; round++) {
        size_t size = 0;
        int n = 0;

        while (n < 4 && pipe_lend(small, &p[n]))
            size += p[n++].size;
        assert_true(n >= 3);
        assert_true(size <= 3 * PIPE_SIZE + PIPE_SIZE / 2);
        while (n)
            pipe_return(small, &p[--n]);
    }
    pipe_pool_free(small);
    small = pipe_pool_new(PIPE_SIZE - 1);
    assert_false(pipe_lend(small, &p[0]));
    pipe_pool_free(small);
}

static void test_keeps_a_bounded_number(void **state)
{
    struct pipe_lent p[PIPE_KEEP + 8];
    size_t n = 0;

    UNUSED(state);
    while (n < ARRAY_LEN(p) && pipe_lend(pool, &p[n]))
        n++;
    assert_int_equal(n, ARRAY_LEN(p));
    while (n)
        pipe_return(pool, &p[--n]);
    assert_int_equal(net_fds(), before + 2 * PIPE_KEEP);
}

static void test_every_allocation_fails(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct pipe_pool *p = pipe_pool_new(1 << 20);

        assert_true(memfail_hit() == !p);
        pipe_pool_free(p);
    }
}

/* ---- as an unprivileged user (BENCH: root is exempt and hides this) ---- */

/* Takes all pages that this user may have in pipes; the descriptors are in fd. */
static size_t use_up(int *fd, size_t max)
{
    size_t n = 0;
    int two[2];

    while (n + 2 <= max && pipe2(two, O_NONBLOCK | O_CLOEXEC) == 0) {
        fd[n++] = two[0];
        fd[n++] = two[1];
        if (fcntl(two[0], F_SETPIPE_SZ, 1 << 20) < 0 &&
            fcntl(two[0], F_GETPIPE_SZ) < 32768)
            return n;
    }
    return n;
}

#define NEED(cond, code)                                                                           \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return code;                                                                           \
    } while (0)

/* Exit codes, each with its reason. */
enum { FINE = 0, NO_SETUID, NOT_AT_FIRST, NOT_REFUSED, LEFT_OPEN, STILL_REFUSED, LOST_BYTES };

static int nobody_is_refused(void)
{
    static int fd[NO_PIPES];
    struct pipe_pool *p = pipe_pool_new((size_t)64 << 20);
    struct pipe_lent lent;
    size_t n;
    int fds;

    NEED(pipe_lend(p, &lent), NOT_AT_FIRST);
    NEED(lent.size >= 32768, NOT_AT_FIRST);
    n = use_up(fd, ARRAY_LEN(fd));
    fds = net_fds();
    for (int i = 0; i < 3; i++) {
        struct pipe_lent other;

        NEED(!pipe_lend(p, &other), NOT_REFUSED);
        NEED(net_fds() == fds, LEFT_OPEN);
    }
    /* What is in circulation goes on being lent. */
    pipe_return(p, &lent);
    NEED(pipe_lend(p, &lent), LOST_BYTES);
    pipe_return(p, &lent);
    while (n)
        close(fd[--n]);
    pipe_pool_free(p);
    return FINE;
}

/* Promise 5: at a limit it recovers by itself. The pages were another process' of the same user. */
static int nobody_recovers(void)
{
    static int fd[NO_PIPES];
    struct pipe_pool *p = pipe_pool_new((size_t)64 << 20);
    struct pipe_lent lent, other;
    size_t n = use_up(fd, ARRAY_LEN(fd));
    bool ok = false;

    NEED(!pipe_lend(p, &lent), NOT_REFUSED);
    while (n)
        close(fd[--n]);
    for (int i = 0; i < 2000 && !ok; i++)
        ok = pipe_lend(p, &lent);
    NEED(ok, STILL_REFUSED);
    NEED(pipe_lend(p, &other), STILL_REFUSED);
    pipe_return(p, &lent);
    pipe_return(p, &other);
    pipe_pool_free(p);
    return FINE;
}

static void as_nobody(int (*test)(void))
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        if (!net_become_nobody())
            _exit(NO_SETUID);
        _exit(test());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), FINE);
}

static void test_small_pipes_are_refused(void **state)
{
    UNUSED(state);
    as_nobody(nobody_is_refused);
}

static void test_recovers_when_pages_are_free_again(void **state)
{
    UNUSED(state);
    as_nobody(nobody_recovers);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lend),
        TEST(test_a_drained_pipe_is_kept),
        TEST(test_a_pipe_with_bytes_is_closed),
        TEST(test_budget),
        TEST(test_keeps_a_bounded_number),
        TEST(test_every_allocation_fails),
        TEST(test_small_pipes_are_refused),
        TEST(test_recovers_when_pages_are_free_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
