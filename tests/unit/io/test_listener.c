/* SPDX-License-Identifier: MIT */
/* Accepting: batches, pauses, and what happens at the limit of descriptors (FAILURES 24). */
#include "io/listener.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "io/fds.h"
#include "support/memfail.h"

#include <stdlib.h>
#include <sys/resource.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/net.h"

enum { MANY = 64 };

static int fd;
static struct addr addr;
static struct listener *l;
static int clients[MANY], accepted[MANY];
static struct addr peers[MANY];
static unsigned n_clients, n_accepted;
static struct rlimit files;
static unsigned warnings;

static void took(void *owner, int client, const struct addr *peer)
{
    assert_ptr_equal(owner, &addr);
    assert_true(n_accepted < MANY);
    peers[n_accepted] = *peer;
    accepted[n_accepted++] = client;
}

static void count_warnings(enum log_level level, const char *line, size_t n)
{
    UNUSED(level);
    UNUSED(line);
    UNUSED(n);
    warnings++;
}

static void start(void)
{
    static const struct slice busy = {"busy", 4};
    struct listener_opts o = {
        .fd = fd, .accept = took, .owner = &addr, .busy_reply = &busy};

    assert_int_equal(listener_start(&net_loop, &o, &l), 0);
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    n_clients = n_accepted = warnings = 0;
    getrlimit(RLIMIT_NOFILE, &files);
    addr = net_loopback(0);
    fd = listener_open(&addr);
    assert_true(fd >= 0);
    assert_int_not_equal(addr_port(&addr), 0);
    start();
    log_set_sink(count_warnings);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    setrlimit(RLIMIT_NOFILE, &files);
    listener_stop(&l);
    assert_null(l);
    while (n_clients)
        close(clients[--n_clients]);
    while (n_accepted)
        close(accepted[--n_accepted]);
    close(fd);
    net_end();
    return 0;
}

static void connect_one(void)
{
    int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(c, &addr.sa, addr_len(&addr)), 0);
    clients[n_clients++] = c;
}

static void test_open(void **state)
{
    struct addr same = addr, v6, foreign = net_loopback(0);
    int one = 0, other;
    socklen_t n = sizeof(one);

    UNUSED(state);
    assert_int_equal(listener_open(&same), -EADDRINUSE);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, &n), 0);
    assert_int_equal(one, 1);
    foreign.in.sin_addr.s_addr = htonl(0xc0000201);
    assert_int_equal(listener_open(&foreign), -EADDRNOTAVAIL);
    addr_v6(&v6, (const uint8_t[16]){[15] = 1}, 0);
    other = listener_open(&v6);
    if (other < 0) {
        assert_true(other == -EADDRNOTAVAIL || other == -EAFNOSUPPORT);
        return;
    }
    assert_int_not_equal(addr_port(&v6), 0);
    close(other);
}

/* The same port on 0.0.0.0 and [::]: IPV6_V6ONLY. */
static void test_open_both_wildcards(void **state)
{
    struct addr v4, v6;
    int a, b;

    UNUSED(state);
    addr_v4(&v4, (const uint8_t[4]){0}, 0);
    a = listener_open(&v4);
    assert_true(a >= 0);
    addr_v6(&v6, (const uint8_t[16]){0}, addr_port(&v4));
    b = listener_open(&v6);
    assert_true(b >= 0 || b == -EAFNOSUPPORT);
    close(a);
    if (b >= 0)
        close(b);
}

static void test_accept(void **state)
{
    struct addr local;
    socklen_t n = sizeof(local.in6);
    int one = 0;
    socklen_t one_n = sizeof(one);

    UNUSED(state);
    net_turns(3);
    assert_int_equal(n_accepted, 0);
    connect_one();
    NET_UNTIL(n_accepted == 1);
    getsockname(clients[0], &local.sa, &n);
    assert_true(addr_eq(&local, &peers[0]));
    assert_true(fcntl(accepted[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(accepted[0], F_GETFD) & FD_CLOEXEC);
    getsockopt(accepted[0], IPPROTO_TCP, TCP_NODELAY, &one, &one_n);
    assert_int_equal(one, 1);
}

static void test_batches(void **state)
{
    UNUSED(state);
    for (int i = 0; i < 2 * LISTENER_BATCH + 5; i++)
        connect_one();
    for (unsigned turn = 1; turn <= 2; turn++) {
        loop_turn(&net_loop, 100);
        assert_int_equal(n_accepted, turn * LISTENER_BATCH);
    }
    loop_turn(&net_loop, 100);
    assert_int_equal(n_accepted, 2 * LISTENER_BATCH + 5);
}

static void test_stop(void **state)
{
    UNUSED(state);
    listener_stop(&l);
    assert_null(l);
    listener_stop(&l);
    connect_one();
    net_turns(3);
    assert_int_equal(n_accepted, 0);
    /* The descriptor is borrowed: another may take over, with who waited. */
    start();
    NET_UNTIL(n_accepted == 1);
}

/* As many descriptors as are open now, and `more`. */
static void limit_files(int more)
{
    struct rlimit few = files;
    int lowest = dup(fd);

    close(lowest);
    few.rlim_cur = (rlim_t)(lowest + more);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

/* All that clients may have are those that are open now, and `more`; those above are kept. */
static void limit_kept(int more)
{
    struct rlimit r = files;
    int lowest = dup(fd);

    close(lowest);
    for (r.rlim_cur = (rlim_t)(lowest + more); (int)r.rlim_cur - (int)min_size(r.rlim_cur / 4, FDS_KEPT) < lowest + more; r.rlim_cur++)
        ;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
    fds_keep();
}

static void test_out_of_descriptors(void **state)
{
    char reply[16];
    size_t n = 0;
    uint64_t turns;
    unsigned held;

    UNUSED(state);
    for (int i = 0; i < 5; i++)
        connect_one();
    limit_files(2);
    /* Two get in, the third is turned away at once, the others wait. */
    NET_UNTIL(n_accepted == 2);
    NET_UNTIL(net_read(clients[2], reply, sizeof(reply), &n) == NET_FIN);
    assert_int_equal(n, 4);
    assert_memory_equal(reply, "busy", 4);
    assert_int_equal(warnings, 1);
    n = 0;
    assert_int_equal(net_read(clients[3], reply, sizeof(reply), &n), NET_OPEN);
    /* Accepting pauses instead of spinning. */
    turns = net_loop.turns;
    held = n_accepted;
    loop_turn(&net_loop, LISTENER_PAUSE_MS / 2);
    assert_true(net_loop.turns - turns <= 2);
    assert_int_equal(n_accepted, held);
    /* Still none: the next is turned away, the reserve has come back. */
    net_later_ms(LISTENER_PAUSE_MS + 10);
    NET_UNTIL(net_read(clients[3], reply, sizeof(reply), &n) == NET_FIN);
    assert_int_equal(n, 4);
    assert_int_equal(n_accepted, 2);
    /* One is free again: the last gets in by itself. */
    close(accepted[--n_accepted]);
    net_later_ms(LISTENER_PAUSE_MS + 10);
    NET_UNTIL(n_accepted == 2);
}

/* A client that has sent its request is turned away with an answer that it can read. */
static void test_turned_away_with_a_request_sent(void **state)
{
    char reply[16];
    size_t n = 0;

    UNUSED(state);
    connect_one();
    net_write_text(clients[0], "GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n");
    limit_files(0);
    NET_UNTIL(net_read(clients[0], reply, sizeof(reply), &n) != NET_OPEN);
    assert_int_equal(n, 4);
    assert_memory_equal(reply, "busy", 4);
}

static void test_stop_while_paused(void **state)
{
    char reply[16];
    size_t n = 0;

    UNUSED(state);
    connect_one();
    connect_one();
    limit_files(0);
    NET_UNTIL(net_read(clients[0], reply, sizeof(reply), &n) == NET_FIN);
    setrlimit(RLIMIT_NOFILE, &files);
    listener_stop(&l);
    net_later_ms(2 * LISTENER_PAUSE_MS);
    assert_int_equal(n_accepted, 0);
    assert_int_equal(wheel_next(&net_loop.wheel), UINT64_MAX);
}

/* There was no descriptor for the reserve when it was given up: accepting works again. */
static void test_the_reserve_comes_back(void **state)
{
    char reply[16];
    size_t n = 0;

    UNUSED(state);
    for (int round = 0; round < 3; round++) {
        connect_one();
        limit_files(0);
        n = 0;
        net_later_ms(LISTENER_PAUSE_MS + 10);
        NET_UNTIL(net_read(clients[n_clients - 1], reply, sizeof(reply), &n) == NET_FIN);
        assert_int_equal(n, 4);
        setrlimit(RLIMIT_NOFILE, &files);
        connect_one();
        net_later_ms(LISTENER_PAUSE_MS + 10);
        NET_UNTIL(n_accepted == (unsigned)round + 1);
    }
}

/* The last descriptors are kept: clients get none of them, and those of a batch learn it at once; a vital listener's do. */
static void test_kept_descriptors(void **state)
{
    struct listener_opts vital = {.fd = fd, .accept = took, .owner = &addr, .vital = true};
    uint64_t turns;
    char reply[16];
    size_t n;

    UNUSED(state);
    for (int i = 0; i < 5; i++)
        connect_one();
    limit_kept(2);
    NET_UNTIL(net_read(clients[4], reply, sizeof(reply), &(size_t){0}) == NET_FIN);
    assert_int_equal(n_accepted, 2);
    for (int i = 2; i < 4; i++) {
        n = 0;
        NET_UNTIL(net_read(clients[i], reply, sizeof(reply), &n) == NET_FIN);
        assert_int_equal(n, 4);
    }
    /* Accepting pauses instead of spinning, and resumes by itself. */
    connect_one();
    turns = net_loop.turns;
    loop_turn(&net_loop, LISTENER_PAUSE_MS / 2);
    assert_true(net_loop.turns - turns <= 2);
    assert_int_equal(n_accepted, 2);
    close(accepted[--n_accepted]);
    net_later_ms(LISTENER_PAUSE_MS + 10);
    NET_UNTIL(n_accepted == 2);
    listener_stop(&l);
    assert_int_equal(listener_start(&net_loop, &vital, &l), 0);
    connect_one();
    NET_UNTIL(n_accepted == 3);
    setrlimit(RLIMIT_NOFILE, &files);
    fds_keep();
}

static void test_every_allocation_fails(void **state)
{
    struct listener_opts o = {.fd = fd, .accept = took, .owner = &addr};
    struct listener *second = NULL;
    int before;

    UNUSED(state);
    listener_stop(&l);
    net_turns(1);
    before = net_fds();
    for (memfail_start(); memfail_next();) {
        int r = listener_start(&net_loop, &o, &second);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        listener_stop(&second);
        assert_int_equal(net_fds(), before);
    }
    o.fd = -1;
    assert_true(listener_start(&net_loop, &o, &second) < 0);
    assert_int_equal(net_fds(), before);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_open),
        TEST(test_open_both_wildcards),
        TEST(test_accept),
        TEST(test_batches),
        TEST(test_stop),
        TEST(test_out_of_descriptors),
        TEST(test_turned_away_with_a_request_sent),
        TEST(test_stop_while_paused),
        TEST(test_the_reserve_comes_back),
        TEST(test_kept_descriptors),
        TEST(test_every_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
