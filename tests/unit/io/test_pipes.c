/* SPDX-License-Identifier: MIT */
/* Lent pipes: the budget, what is kept, and what an unprivileged user is refused. */
#include "io/pipes.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/net.h"

enum { NO_PIPES = 4096 };

static struct pipe_pool *pool;
static struct task task;
static unsigned woken;
static int before;

static void wanted_back(struct task *t, unsigned bits)
{
    UNUSED(t);
    assert_int_equal(bits, TASK_RX);
    woken++;
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    task_init(&task, &net_loop, "test", wanted_back);
    woken = 0;
    before = net_fds();
    pipes_limit((uint64_t)64 << 20);
    pool = pipe_pool_new();
    assert_non_null(pool);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    pipe_pool_free(pool);
    pipe_pool_free(NULL);
    assert_int_equal(net_fds(), before);
    assert_int_equal(pipes_open(), 0);
    task_cancel(&task);
    net_end();
    return 0;
}

static struct pipe *lend(void)
{
    return pipe_lend(pool, &task, net_loop.now_ms);
}

static void fill(struct pipe *p, size_t n)
{
    static const char zeros[4096];

    while (n) {
        size_t part = min_size(n, sizeof(zeros));

        assert_int_equal(write(p->wr, zeros, part), part);
        p->bytes += (uint32_t)part;
        n -= part;
    }
}

static void test_lend(void **state)
{
    struct pipe *p = lend();
    char c;

    UNUSED(state);
    assert_non_null(p);
    assert_true(p->size >= 32768);
    assert_int_equal(p->bytes, 0);
    assert_int_equal(pipe_fill_max(p), p->size);
    assert_int_equal(fcntl(p->wr, F_GETPIPE_SZ), p->size);
    assert_int_equal(pipes_open(), p->size);
    assert_true(fcntl(p->rd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(p->rd, F_GETFD) & FD_CLOEXEC);
    fill(p, 1);
    assert_int_equal(read(p->rd, &c, 1), 1);
    p->bytes = 0;
    pipe_return(pool, &p);
    assert_null(p);
    pipe_return(pool, &p);
}

static void test_a_drained_pipe_is_kept(void **state)
{
    struct pipe *p = lend();
    int rd = p->rd, fds = net_fds();

    UNUSED(state);
    pipe_return(pool, &p);
    assert_int_equal(net_fds(), fds);
    p = lend();
    assert_int_equal(p->rd, rd);
    assert_int_equal(p->bytes, 0);
    pipe_return(pool, &p);
}

/* What is left in a pipe is nobody else's. */
static void test_a_pipe_with_bytes_is_closed(void **state)
{
    struct pipe *p = lend();
    char c;

    UNUSED(state);
    fill(p, 100);
    pipe_return(pool, &p);
    assert_int_equal(net_fds(), before);
    p = lend();
    assert_int_equal(read(p->rd, &c, 1), -1);
    assert_int_equal(errno, EAGAIN);
    pipe_return(pool, &p);
}

/* One budget for all pools, over and over. */
static void test_budget(void **state)
{
    struct pipe_pool *other = pipe_pool_new();
    struct pipe *p[8];

    UNUSED(state);
    pipes_limit(3 * PIPE_SIZE + PIPE_SIZE / 2);
    for (int round = 0; round < 3; round++) {
        int n = 0;

        while (n < 8 && (p[n] = pipe_lend(n % 2 ? other : pool, &task, 0)))
            n++;
        assert_true(n >= 3);
        assert_true(pipes_open() <= 3 * PIPE_SIZE + PIPE_SIZE / 2);
        while (n--)
            pipe_return(n % 2 ? other : pool, &p[n]);
    }
    pipes_limit(0);
    pipe_pool_free(other);
    pipe_pool_free(pool);
    pool = pipe_pool_new();
    assert_null(lend());
    assert_int_equal(pipes_open(), 0);
}

static void test_keeps_a_bounded_number(void **state)
{
    struct pipe *p[PIPE_KEEP + 8];
    size_t n = 0;

    UNUSED(state);
    while (n < ARRAY_LEN(p) && (p[n] = lend()))
        n++;
    assert_int_equal(n, ARRAY_LEN(p));
    while (n--)
        pipe_return(pool, &p[n]);
    assert_int_equal(net_fds(), before + 2 * PIPE_KEEP);
}

/* ---- pressure ---- */

/* Over half of the budget a pipe gets no more than can be taken back, and none is kept idle. */
static void test_over_half(void **state)
{
    struct pipe *p[4];

    UNUSED(state);
    pipes_limit(4 * PIPE_SIZE);
    for (int i = 0; i < 4; i++) {
        p[i] = lend();
        assert_non_null(p[i]);
        assert_int_equal(pipe_fill_max(p[i]), i < 2 ? p[i]->size : PIPE_BACK);
    }
    assert_null(lend());
    for (int i = 0; i < 4; i++)
        pipe_return(pool, &p[i]);
    assert_true(pipes_open() <= 2 * PIPE_SIZE);
}

static void test_what_stands_still_is_wanted_back(void **state)
{
    uint64_t now = net_loop.now_ms;
    struct pipe *p, *other;
    char sent[1000];

    UNUSED(state);
    pipes_limit(PIPE_SIZE);
    p = lend();
    memset(sent, 'x', sizeof(sent));
    assert_int_equal(write(p->wr, sent, sizeof(sent)), sizeof(sent));
    p->bytes = sizeof(sent);
    pipe_stands(pool, p, now);
    pipe_stands(pool, p, now + 500); /* it is still the same stand */
    assert_null(pipe_lend(pool, &task, now + PIPE_STALL_MS - 1));
    net_turns(1);
    assert_int_equal(woken, 0);
    assert_null(pipe_lend(pool, &task, now + PIPE_STALL_MS));
    net_turns(1);
    assert_int_equal(woken, 1);
    assert_true(p->wanted);
    /* Asked for once. */
    assert_null(pipe_lend(pool, &task, now + 2 * PIPE_STALL_MS));
    net_turns(1);
    assert_int_equal(woken, 1);
    assert_int_equal(pipe_take_back(pool, p), 0);
    assert_int_equal(p->rd, -1);
    assert_int_equal(p->bytes, sizeof(sent));
    assert_memory_equal(p->back, sent, sizeof(sent));
    assert_int_equal(net_fds(), before);
    other = pipe_lend(pool, &task, now + 2 * PIPE_STALL_MS);
    assert_non_null(other);
    pipe_return(pool, &other);
    pipe_return(pool, &p);
}

static void test_what_moves_is_not(void **state)
{
    struct pipe *p, *full;

    UNUSED(state);
    pipes_limit(2 * PIPE_SIZE);
    p = lend();
    full = lend();
    fill(p, 10);
    fill(full, 40000); /* more than can be taken back */
    pipe_stands(pool, p, 0);
    pipe_stands(pool, full, 0);
    pipe_moved(p);
    assert_null(pipe_lend(pool, &task, 5000));
    net_turns(1);
    assert_int_equal(woken, 0);
    assert_int_equal(pipe_take_back(pool, full), ERR_LIMIT);
    assert_true(full->rd >= 0);
    pipe_return(pool, &full);
    pipe_return(pool, &p);
}

static void test_every_allocation_fails(void **state)
{
    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct pipe_pool *p = pipe_pool_new();
        struct pipe *pipe = p ? pipe_lend(p, &task, 0) : NULL;

        if (pipe) {
            int r;

            fill(pipe, 5);
            r = pipe_take_back(p, pipe);
            assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        }
        if (p && !pipe)
            assert_true(memfail_hit());
        if (p)
            pipe_return(p, &pipe);
        pipe_pool_free(p);
        assert_int_equal(pipes_open(), 0);
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
    struct pipe_pool *p = pipe_pool_new();
    struct pipe *lent = pipe_lend(p, &task, 0);
    size_t n;
    int fds;

    NEED(lent, NOT_AT_FIRST);
    NEED(lent->size >= 32768, NOT_AT_FIRST);
    n = use_up(fd, ARRAY_LEN(fd));
    fds = net_fds();
    for (int i = 0; i < 3; i++) {
        NEED(!pipe_lend(p, &task, 0), NOT_REFUSED);
        NEED(net_fds() == fds, LEFT_OPEN);
    }
    /* What is in circulation goes on being lent. */
    pipe_return(p, &lent);
    lent = pipe_lend(p, &task, 0);
    NEED(lent, LOST_BYTES);
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
    struct pipe_pool *p = pipe_pool_new();
    struct pipe *lent = NULL, *other;
    size_t n = use_up(fd, ARRAY_LEN(fd));

    NEED(!pipe_lend(p, &task, 0), NOT_REFUSED);
    while (n)
        close(fd[--n]);
    for (int i = 0; i < 2000 && !lent; i++)
        lent = pipe_lend(p, &task, 0);
    NEED(lent, STILL_REFUSED);
    other = pipe_lend(p, &task, 0);
    NEED(other, STILL_REFUSED);
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
        TEST(test_over_half),
        TEST(test_what_stands_still_is_wanted_back),
        TEST(test_what_moves_is_not),
        TEST(test_every_allocation_fails),
        TEST(test_small_pipes_are_refused),
        TEST(test_recovers_when_pages_are_free_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
