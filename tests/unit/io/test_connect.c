/* SPDX-License-Identifier: MIT */
/* The race over addresses (RFC 8305 5): who starts when, who wins, what is left. */
#include "io/connect.h"

#include "base/check.h"
#include "base/err.h"
#include "support/memfail.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/net.h"

#include <stdio.h>

enum {
    FILLERS = 4,
    /* Ports that the scripted dial knows. */
    PORT_UNREACHABLE = 1,
    PORT_NO_FILES = 2,
    PORT_NO_MEMORY = 3,
    PORT_TIMED_OUT = 4,
    PORT_USED_UP = 5,
};

static struct task task;
static unsigned answers;
static struct connect *race;
static struct connect_result result;
static int listener, refused_fd, hole, fillers[FILLERS], before;
static struct addr good, refused, black;
static unsigned dials;

static void task_run(struct task *t, unsigned bits)
{
    UNUSED(t);
    if (bits & TASK_HELPER)
        answers++;
}

/* What a source is good for, by its last byte; and who was asked, in that order. */
enum { MARK_REFUSED = 13 };
enum { FROM_USED_UP = 1, FROM_FOREIGN = 2, FROM_BROKEN = 3 };
static char asked[64];
static struct dial_way asked_way;
static uint64_t search_us; /* what finding a source used up takes */

static int dial_from(const struct dial_from *from)
{
    unsigned last = ntohl(from->addr.in.sin_addr.s_addr) & 0xff;

    asked_way = from->way;
    if (from->addr.sa.sa_family == AF_UNSPEC)
        return from->way.mark == MARK_REFUSED ? ERR_PRIVILEGE : 0;
    snprintf(asked + strlen(asked), sizeof(asked) - strlen(asked), "%s%u", asked[0] ? " " : "", last);
    switch (last) {
    case FROM_USED_UP:
        net_shift_us += search_us;
        return ERR_PORTS;
    case FROM_FOREIGN:
        return -EADDRNOTAVAIL;
    case FROM_BROKEN:
        return -EPERM;
    default:
        return 0;
    }
}

static int dial(struct loop *loop, const struct addr *to, const struct dial_from *from,
                struct conn **ret_conn)
{
    int r = from ? dial_from(from) : 0;

    dials++;
    if (r < 0)
        return r;
    switch (addr_port(to)) {
    case PORT_UNREACHABLE:
        return -ENETUNREACH;
    case PORT_NO_FILES:
        return -EMFILE;
    case PORT_USED_UP:
        return ERR_PORTS;
    case PORT_NO_MEMORY:
        return ERR_NOMEM;
    case PORT_TIMED_OUT:
        return -ETIMEDOUT;
    default:
        return conn_tcp_dial(loop, to, from && from->addr.sa.sa_family != AF_UNSPEC && !from->way.mark ? from : NULL, ret_conn);
    }
}

static bool is_connected(int fd)
{
    struct addr a;
    socklen_t n = sizeof(a.in6);

    return getpeername(fd, &a.sa, &n) == 0;
}

/* A listening socket whose queue is full lets nobody in and says nothing. */
static void dig_hole(void)
{
    hole = net_listen(0, &black);
    for (int i = 0; i < FILLERS; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(fillers[i], &black.sa, addr_len(&black));
    }
    net_sleep_ms(5);
    assert_false(is_connected(fillers[FILLERS - 1]));
}

static int group_setup(void **state)
{
    int one = 1;

    UNUSED(state);
    listener = net_listen(64, &good);
    net_nonblocking(listener);
    /* Bound, not listening: nobody else gets the port, and it refuses. */
    refused = net_loopback(0);
    refused_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(refused_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(refused_fd, &refused.sa, addr_len(&refused)), 0);
    socklen_t n = sizeof(refused.in6);
    getsockname(refused_fd, &refused.sa, &n);
    dig_hole();
    return 0;
}

static int group_teardown(void **state)
{
    UNUSED(state);
    close(listener);
    close(refused_fd);
    close(hole);
    for (int i = 0; i < FILLERS; i++)
        close(fillers[i]);
    return 0;
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    net_world.dial = dial;
    task_init(&task, &net_loop, "asker", task_run);
    answers = dials = 0;
    race = NULL;
    result = (struct connect_result){0};
    before = net_fds();
    return 0;
}

/* Who connected is accepted and closed, so that the queue stays empty. */
static void accept_all(void)
{
    int fd;

    while ((fd = accept(listener, NULL, NULL)) >= 0)
        close(fd);
}

static int teardown(void **state)
{
    UNUSED(state);
    conn_close(&result.conn);
    assert_null(race);
    net_turns(2);
    accept_all();
    assert_int_equal(net_fds(), before);
    net_end();
    return 0;
}

static void start(const struct addr *addrs, unsigned n, uint64_t timeout_ms)
{
    struct connect_opts o = {.addrs = addrs, .n = n, .timeout_ms = timeout_ms, .task = &task};

    loop_turn(&net_loop, 0);
    assert_int_equal(connect_start(&net_loop, &o, &race), 0);
}

/* The answer comes once, with one wake-up. */
static enum io finish(void)
{
    enum io r;

    assert_int_equal(connect_take(&race, &result), answers ? IO_OK : IO_AGAIN);
    NET_UNTIL(answers);
    r = connect_take(&race, &result);
    assert_int_not_equal(r, IO_AGAIN);
    assert_null(race);
    net_turns(2);
    assert_int_equal(answers, 1);
    return r;
}

static void assert_won(const struct addr *a)
{
    struct conn *c = result.conn;

    assert_true(addr_eq(&result.to, a));
    assert_ptr_equal(c->task, &task);
    assert_int_equal(c->error, 0);
    assert_true(c->ready & CONN_TX);
    assert_true(is_connected(conn_fd(c, CONN_OUT)));
    /* The others are gone. */
    assert_int_equal(net_fds(), before + 1);
}

static void assert_lost(int expect)
{
    assert_null(result.conn);
    assert_int_equal(result.error, expect);
    assert_int_equal(net_fds(), before);
}

/* Waits for the wake-up only; an answer may be there at once. */
static enum io wait_and_take(void)
{
    enum io r;

    NET_UNTIL(answers);
    r = connect_take(&race, &result);
    net_turns(2);
    assert_int_equal(answers, 1);
    return r;
}

static void test_one(void **state)
{
    UNUSED(state);
    start(&good, 1, 5000);
    assert_int_equal(wait_and_take(), IO_OK);
    assert_won(&good);
}

static void test_one_refused(void **state)
{
    UNUSED(state);
    start(&refused, 1, 5000);
    assert_int_equal(wait_and_take(), IO_ERR);
    assert_lost(-ECONNREFUSED);
}

static void test_refused_then_the_next_at_once(void **state)
{
    struct addr v[2] = {refused, good};
    uint64_t t0 = net_real_ms();

    UNUSED(state);
    start(v, 2, 5000);
    assert_int_equal(wait_and_take(), IO_OK);
    assert_true(net_real_ms() - t0 < CONNECT_STAGGER_MS - 50);
    assert_int_equal(dials, 2);
    assert_won(&good);
}

static void test_first_wins_alone(void **state)
{
    struct addr v[3] = {good, black, black};

    UNUSED(state);
    start(v, 3, 5000);
    assert_int_equal(wait_and_take(), IO_OK);
    assert_int_equal(dials, 1);
    assert_won(&good);
}

static void test_silence_then_the_next_after_a_while(void **state)
{
    struct addr v[2] = {black, good};
    uint64_t t0;

    UNUSED(state);
    start(v, 2, 5000);
    t0 = net_loop.now_ms;
    assert_int_equal(connect_tries(race), 1);
    assert_int_equal(finish(), IO_OK);
    assert_in_range(net_loop.now_ms - t0, CONNECT_STAGGER_MS, CONNECT_STAGGER_MS + 200);
    assert_int_equal(dials, 2);
    assert_won(&good);
}

/* The attempt that fails is the second: the third starts then, not 250 ms later. */
static void test_a_failure_beside_silence(void **state)
{
    struct addr v[3] = {black, refused, good};
    uint64_t t0;

    UNUSED(state);
    start(v, 3, 5000);
    t0 = net_loop.now_ms;
    assert_int_equal(finish(), IO_OK);
    assert_in_range(net_loop.now_ms - t0, CONNECT_STAGGER_MS, 2 * CONNECT_STAGGER_MS - 50);
    assert_int_equal(dials, 3);
    assert_won(&good);
}

static void test_all_refused(void **state)
{
    struct addr v[CONNECT_MAX_ADDRS];
    uint64_t t0 = net_real_ms();

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] = refused;
    start(v, ARRAY_LEN(v), 5000);
    assert_int_equal(wait_and_take(), IO_ERR);
    assert_lost(-ECONNREFUSED);
    assert_int_equal(dials, CONNECT_MAX_ADDRS);
    assert_true(net_real_ms() - t0 < 1000);
}

static void test_the_last_of_sixteen(void **state)
{
    struct addr v[CONNECT_MAX_ADDRS];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] = i % 2 ? net_loopback(PORT_UNREACHABLE) : refused;
    v[CONNECT_MAX_ADDRS - 1] = good;
    start(v, ARRAY_LEN(v), 5000);
    assert_int_equal(wait_and_take(), IO_OK);
    assert_int_equal(dials, CONNECT_MAX_ADDRS);
    assert_won(&good);
}

static void test_sixteen_silent(void **state)
{
    struct addr v[CONNECT_MAX_ADDRS];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] = black;
    start(v, ARRAY_LEN(v), 10000);
    for (unsigned i = 1; i < CONNECT_MAX_ADDRS; i++) {
        assert_int_equal(connect_tries(race), i);
        assert_int_equal(net_fds(), before + i);
        net_later_ms(CONNECT_STAGGER_MS + 10);
    }
    net_later_ms(5000);
    assert_int_equal(answers, 0);
    net_later_ms(2000);
    assert_int_equal(wait_and_take(), IO_ERR);
    assert_lost(ERR_TIMEOUT);
}

static void test_deadline(void **state)
{
    uint64_t t0;

    UNUSED(state);
    start(&black, 1, 120);
    t0 = net_loop.now_ms;
    assert_int_equal(finish(), IO_ERR);
    assert_in_range(net_loop.now_ms - t0, 120, 1000);
    assert_lost(ERR_TIMEOUT);
}

static void test_deadline_before_the_next(void **state)
{
    struct addr v[2] = {black, good};

    UNUSED(state);
    start(v, 2, 100);
    assert_int_equal(finish(), IO_ERR);
    assert_int_equal(dials, 1);
    assert_lost(ERR_TIMEOUT);
}

static void test_no_time_at_all(void **state)
{
    UNUSED(state);
    start(&black, 1, 0);
    assert_int_equal(wait_and_take(), IO_ERR);
    assert_lost(ERR_TIMEOUT);
}

/* What is told is the most telling failure, whatever the order. */
static void test_which_error(void **state)
{
    static const struct {
        uint16_t a, b;
        int error;
    } rows[] = {
        {PORT_UNREACHABLE, PORT_TIMED_OUT, -ENETUNREACH},
        {PORT_TIMED_OUT, PORT_UNREACHABLE, -ENETUNREACH},
        {PORT_NO_FILES, PORT_UNREACHABLE, -EMFILE},
        {PORT_UNREACHABLE, PORT_NO_FILES, -EMFILE},
        {PORT_NO_MEMORY, PORT_TIMED_OUT, ERR_NOMEM},
        {PORT_TIMED_OUT, PORT_TIMED_OUT, -ETIMEDOUT},
        {PORT_UNREACHABLE, PORT_USED_UP, ERR_PORTS},
        {PORT_USED_UP, PORT_UNREACHABLE, ERR_PORTS},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr v[2] = {net_loopback(rows[i].a), net_loopback(rows[i].b)};

        answers = 0;
        start(v, 2, 5000);
        assert_int_equal(wait_and_take(), IO_ERR);
        assert_lost(rows[i].error);
    }
    for (int i = 0; i < 2; i++) {
        struct addr v[3] = {net_loopback(PORT_UNREACHABLE), i ? refused : black,
                            i ? black : refused};

        answers = 0;
        start(v, 3, 400);
        assert_int_equal(wait_and_take(), IO_ERR);
        assert_lost(-ECONNREFUSED);
    }
}

/* ---- cancel ---- */

static void cancel(void)
{
    connect_cancel(&race);
    assert_null(race);
    assert_int_equal(net_fds(), before);
    net_turns(3);
    assert_int_equal(answers, 0);
    connect_cancel(&race);
}

static void test_cancel(void **state)
{
    struct addr silent[3] = {black, black, black}, v[2] = {black, good};

    UNUSED(state);
    start(silent, 3, 5000); /* at once */
    cancel();
    start(silent, 3, 5000); /* on the way */
    net_turns(2);
    cancel();
    start(silent, 3, 5000); /* several */
    net_later_ms(CONNECT_STAGGER_MS + 10);
    assert_int_equal(connect_tries(race), 2);
    cancel();
    start(v, 2, 5000); /* a winner nobody has noticed */
    net_later_ms(CONNECT_STAGGER_MS + 10);
    if (!answers)
        cancel();
    else
        connect_cancel(&race);
    answers = 0;
}

static void test_cancel_with_a_winner(void **state)
{
    UNUSED(state);
    start(&good, 1, 5000);
    NET_UNTIL(answers);
    answers = 0;
    cancel();
}

/* The deadline of a race that was cancelled wakes nobody. */
static void test_cancelled_stays_quiet(void **state)
{
    UNUSED(state);
    start(&black, 1, 300);
    cancel();
    net_later_ms(1000);
    assert_int_equal(answers, 0);
    assert_int_equal(wheel_next(&net_loop.wheel), UINT64_MAX);
}

/* ---- sources ---- */

static struct source_set sources_of(const char *const *texts, struct addr_range *v)
{
    struct source_set set = {v, 0};

    for (; *texts; texts++)
        assert_int_equal(addr_range_parse(slice_str(*texts), &v[set.n++]), 0);
    return set;
}

static void start_from(const struct addr *to, struct source_set sources, unsigned turn,
                       struct source_memory *memory)
{
    struct connect_opts o = {.addrs = to, .n = 1, .timeout_ms = 5000, .task = &task,
                             .sources = sources, .turn = turn, .memory = memory};

    loop_turn(&net_loop, 0);
    asked[0] = '\0';
    answers = 0;
    assert_int_equal(connect_start(&net_loop, &o, &race), 0);
}

/* A source that cannot be used makes way for the next, at once. */
static void test_sources(void **state)
{
    static const struct {
        const char *texts[5];
        unsigned turn;
        const char *asked;
        int error; /* 0: connected */
        const char *from, *foreign;
    } rows[] = {
        {{"127.0.0.7", "127.0.0.8"}, 0, "7", 0, "127.0.0.7", NULL},
        {{"127.0.0.7", "127.0.0.8"}, 1, "8", 0, "127.0.0.8", NULL},
        {{"127.0.0.1", "127.0.0.8"}, 0, "1 8", 0, "127.0.0.8", NULL},
        {{"127.0.0.1", "127.0.0.8"}, 1, "8", 0, "127.0.0.8", NULL},
        {{"127.0.0.2", "127.0.0.1", "127.0.0.8"}, 0, "2 1 8", 0, "127.0.0.8", "127.0.0.2"},
        {{"127.0.0.1", "127.0.1.1"}, 1, "1 1", ERR_PORTS, NULL, NULL},
        {{"127.0.0.2", "127.0.0.1"}, 0, "2 1", ERR_PORTS, NULL, "127.0.0.2"},
        {{"127.0.0.2"}, 0, "2", -EADDRNOTAVAIL, NULL, "127.0.0.2"},
        {{"127.0.0.3", "127.0.0.8"}, 0, "3", -EPERM, NULL, NULL},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr_range v[5];
        struct addr a;

        start_from(&good, sources_of(rows[i].texts, v), rows[i].turn, NULL);
        assert_int_equal(wait_and_take(), rows[i].error ? IO_ERR : IO_OK);
        assert_string_equal(asked, rows[i].asked);
        assert_int_equal(result.error, rows[i].error);
        if (rows[i].from) {
            assert_int_equal(addr_parse_host(slice_str(rows[i].from), 0, &a), 0);
            assert_true(addr_same_host(&result.from, &a));
            assert_true(conn_tcp_local(result.conn, &a) && addr_same_host(&result.from, &a));
            conn_close(&result.conn);
        }
        if (rows[i].foreign) {
            assert_int_equal(addr_parse_host(slice_str(rows[i].foreign), 0, &a), 0);
            assert_true(addr_same_host(&result.foreign, &a));
        } else {
            assert_int_equal(result.foreign.sa.sa_family, AF_UNSPEC);
        }
    }
    start(&good, 1, 5000);
    answers = 0;
    assert_int_equal(wait_and_take(), IO_OK);
    assert_int_equal(result.from.sa.sa_family, AF_UNSPEC);
}

/* A search for a port holds the loop up: an attempt ends with those that it had time for, and the next begins with the others. */
static void test_sources_take_time(void **state)
{
    static const char *const texts[] = {"127.0.0.1", "127.0.1.1", "127.0.2.1", "127.0.0.8", NULL};
    static struct source_memory memory;
    struct addr_range v[4];
    struct source_set set = sources_of(texts, v);

    UNUSED(state);
    memset(&memory, 0, sizeof(memory));
    search_us = SOURCE_SEARCH_US / 2;
    start_from(&good, set, 0, &memory);
    assert_int_equal(wait_and_take(), IO_ERR);
    assert_int_equal(result.error, ERR_PORTS);
    assert_string_equal(asked, "1 1");
    start_from(&good, set, 0, &memory);
    assert_int_equal(wait_and_take(), IO_OK);
    assert_string_equal(asked, "1 8");
    conn_close(&result.conn);
    search_us = 0;
}

/* What was used up a moment ago is not asked for again; the kernel would look through all ports each time. */
static void test_sources_used_up(void **state)
{
    static const char *const texts[] = {"127.0.0.1", "127.0.0.8", NULL};
    static struct source_memory memory;
    struct addr_range v[2];
    struct source_set set = sources_of(texts, v);

    UNUSED(state);
    memset(&memory, 0, sizeof(memory));
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            net_later_ms(SOURCE_USED_UP_MS + 1);
        start_from(&good, set, 0, &memory);
        assert_int_equal(wait_and_take(), IO_OK);
        assert_string_equal(asked, i == 1 ? "8" : "1 8");
        conn_close(&result.conn);
    }
}

/* Mark and interface go with every attempt, with sources and without. */
static void test_ways(void **state)
{
    static const char *const texts[] = {"127.0.0.1", "127.0.0.8", NULL};
    struct addr_range v[2];
    struct source_set set = sources_of(texts, v);

    UNUSED(state);
    set.way = (struct dial_way){.mark = 5, .interface = "eth0"};
    start_from(&good, set, 0, NULL);
    assert_int_equal(wait_and_take(), IO_OK);
    assert_string_equal(asked, "1 8");
    assert_true(dial_way_is(&asked_way, &set.way));
    conn_close(&result.conn);
    asked_way = (struct dial_way){0};
    set.n = 0;
    start_from(&good, set, 0, NULL);
    assert_int_equal(wait_and_take(), IO_OK);
    assert_true(dial_way_is(&asked_way, &set.way));
    assert_int_equal(result.from.sa.sa_family, AF_UNSPEC);
    conn_close(&result.conn);
    set.way.mark = MARK_REFUSED;
    start_from(&good, set, 0, NULL);
    assert_int_equal(wait_and_take(), IO_ERR);
    assert_int_equal(result.error, ERR_PRIVILEGE);
}

/* What the kernel says to them. */
static void test_real_ways(void **state)
{
    struct dial_from from = {.way = {.interface = "no-such-one"}};
    struct conn *conn = NULL;
    struct addr local;
    int r;

    UNUSED(state);
    assert_int_equal(conn_tcp_dial(&net_loop, &good, &from, &conn), ERR_INTERFACE);
    from.way = (struct dial_way){.interface = "lo"};
    assert_int_equal(conn_tcp_dial(&net_loop, &good, &from, &conn), 0);
    assert_true(conn_tcp_local(conn, &local));
    conn_close(&conn);
    /* Root may set a mark, others may not. */
    from.way = (struct dial_way){.mark = 77};
    r = conn_tcp_dial(&net_loop, &good, &from, &conn);
    assert_true(r == 0 || r == ERR_PRIVILEGE);
    if (r == 0)
        conn_close(&conn);
}

static void test_every_allocation_fails(void **state)
{
    struct addr v[2] = {good, good};
    struct connect_opts o = {.addrs = v, .n = 2, .timeout_ms = 5000, .task = &task};

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        int r = connect_start(&net_loop, &o, &race);

        if (r < 0) {
            assert_int_equal(r, ERR_NOMEM);
            assert_null(race);
            continue;
        }
        answers = 0;
        /* One attempt could not be made: the other is. */
        NET_UNTIL(answers);
        assert_int_equal(connect_take(&race, &result), IO_OK);
        conn_close(&result.conn);
        net_turns(1);
        assert_int_equal(net_fds(), before);
        accept_all();
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one),
        TEST(test_one_refused),
        TEST(test_refused_then_the_next_at_once),
        TEST(test_first_wins_alone),
        TEST(test_silence_then_the_next_after_a_while),
        TEST(test_a_failure_beside_silence),
        TEST(test_all_refused),
        TEST(test_the_last_of_sixteen),
        TEST(test_sixteen_silent),
        TEST(test_deadline),
        TEST(test_deadline_before_the_next),
        TEST(test_no_time_at_all),
        TEST(test_which_error),
        TEST(test_cancel),
        TEST(test_cancel_with_a_winner),
        TEST(test_cancelled_stays_quiet),
        TEST(test_sources),
        TEST(test_sources_used_up),
        TEST(test_sources_take_time),
        TEST(test_ways),
        TEST(test_real_ways),
        TEST(test_every_allocation_fails),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
