/* SPDX-License-Identifier: MIT */
/* Sockets as conns: readiness, and above all how they end (FAILURES 22, 23; C18, C19). */
#include "io/conn.h"

#include "base/check.h"
#include "base/err.h"
#include "io/fds.h"
#include "support/memfail.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/net.h"

enum { MUCH = 1 << 20 };

static struct conn *conn;
static int peer;
static struct task task;
static unsigned woken; /* bits since last looked at */
static unsigned wakes;
static char buf[MUCH], text[MUCH];

static void task_run(struct task *t, unsigned bits)
{
    UNUSED(t);
    woken |= bits;
    wakes++;
}

static void begin(void)
{
    net_begin();
    woken = wakes = 0;
    task_init(&task, &net_loop, "test", task_run);
    for (size_t i = 0; i < MUCH; i++)
        text[i] = (char)(i * 31 + i / 251);
}

static int setup(void **state)
{
    UNUSED(state);
    begin();
    conn = net_conn(&peer, false);
    conn->task = &task;
    return 0;
}

static int setup_small(void **state)
{
    UNUSED(state);
    begin();
    conn = net_conn(&peer, true);
    conn->task = &task;
    return 0;
}

static int setup_unix(void **state)
{
    int fd[2];

    UNUSED(state);
    begin();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    assert_int_equal(conn_tcp_new(&net_loop, fd[0], false, &conn), 0);
    conn->task = &task;
    peer = fd[1];
    return 0;
}

static void peer_close(void)
{
    if (peer >= 0)
        close(peer);
    peer = -1;
}

static void peer_rst(void)
{
    net_rst(peer);
    peer = -1;
}

static int teardown(void **state)
{
    UNUSED(state);
    conn_close(&conn);
    assert_null(conn);
    peer_close();
    net_turns(2);
    net_end();
    return 0;
}

static enum io recv_n(size_t cap, size_t expect)
{
    size_t n = 0;
    enum io r = conn_recv(conn, buf, cap, &n);

    assert_int_equal(n, expect);
    return r;
}

static enum io send_n(size_t at, size_t n, size_t *ret_n)
{
    struct iovec v = {.iov_base = text + at, .iov_len = n};

    return conn_send(conn, &v, 1, ret_n);
}

/* Sends until the socket takes no more; how much it took. */
static size_t send_until_full(void)
{
    size_t total = 0, n;

    while (total < MUCH && send_n(total, MUCH - total, &n) == IO_OK) {
        total += n;
        loop_turn(&net_loop, 0);
    }
    assert_true(total < MUCH);
    assert_int_equal(conn->ready & CONN_TX, 0);
    return total;
}

/* ---- readiness ---- */

static void test_a_new_conn_is_quiet(void **state)
{
    UNUSED(state);
    assert_int_equal(conn->ready, CONN_TX);
    net_turns(5);
    assert_int_equal(wakes, 0);
    assert_int_equal(recv_n(10, 0), IO_AGAIN);
    assert_false(conn->hup || conn->eof || conn->error);
    assert_int_equal(conn_established(conn), IO_OK);
    assert_true(conn_fd(conn, CONN_IN) >= 0);
    assert_int_equal(conn_fd(conn, CONN_IN), conn_fd(conn, CONN_OUT));
}

static void test_short_read_clears_rx(void **state)
{
    UNUSED(state);
    net_write_text(peer, "hello");
    NET_UNTIL(woken);
    assert_int_equal(woken, TASK_RX);
    assert_int_equal(conn->ready, CONN_RX | CONN_TX);
    assert_int_equal(recv_n(16, 5), IO_OK);
    assert_memory_equal(buf, "hello", 5);
    assert_int_equal(conn->ready, CONN_TX);
    assert_int_equal(conn->rx_bytes, 5);
    /* The next bytes are a new edge. */
    wakes = 0;
    net_turns(3);
    assert_int_equal(wakes, 0);
    net_write_text(peer, "again");
    NET_UNTIL(wakes == 1);
    assert_int_equal(recv_n(16, 5), IO_OK);
    assert_int_equal(conn->rx_bytes, 10);
}

static void test_filled_read_leaves_rx(void **state)
{
    UNUSED(state);
    net_write_text(peer, "12345678");
    NET_UNTIL(woken);
    assert_int_equal(recv_n(4, 4), IO_OK);
    assert_true(conn->ready & CONN_RX);
    assert_int_equal(recv_n(4, 4), IO_OK);
    assert_true(conn->ready & CONN_RX);
    assert_int_equal(recv_n(4, 0), IO_AGAIN);
    assert_int_equal(conn->ready, CONN_TX);
}

static void test_send_tail(void **state)
{
    size_t n = 0, total, got = 0;

    UNUSED(state);
    assert_int_equal(send_n(0, 100, &n), IO_OK);
    assert_int_equal(n, 100);
    assert_true(conn->ready & CONN_TX);
    total = 100 + send_until_full();
    assert_int_equal(conn->tx_bytes, total);
    n = 77;
    assert_int_equal(send_n(0, 100, &n), IO_AGAIN);
    assert_int_equal(n, 77);
    woken = 0;
    net_turns(3);
    assert_int_equal(woken, 0);
    NET_UNTIL((assert_int_equal(net_read(peer, buf, MUCH, &got), NET_OPEN), woken));
    assert_int_equal(woken, TASK_TX);
    assert_true(conn->ready & CONN_TX);
    NET_UNTIL((net_read(peer, buf, MUCH, &got), got == total));
    assert_memory_equal(buf, text, 100);
    assert_memory_equal(buf + 100, text, total - 100);
}

static void test_send_pieces(void **state)
{
    struct iovec v[3] = {{text, 10}, {text + 10, 0}, {text + 10, 20}};
    size_t n, got = 0;

    UNUSED(state);
    assert_int_equal(conn_send(conn, v, 3, &n), IO_OK);
    assert_int_equal(n, 30);
    NET_UNTIL((net_read(peer, buf, MUCH, &got), got == 30));
    assert_memory_equal(buf, text, 30);
}

/* ---- the peer's end ---- */

static void test_fin(void **state)
{
    UNUSED(state);
    shutdown(peer, SHUT_WR);
    NET_UNTIL(woken);
    assert_int_equal(woken & ~TASK_TX, TASK_RX);
    assert_true(conn->hup);
    assert_false(conn->eof);
    assert_int_equal(recv_n(10, 0), IO_EOF);
    assert_true(conn->eof);
    assert_int_equal(conn->error, 0);
    assert_int_equal(recv_n(10, 0), IO_EOF);
}

static void test_fin_behind_bytes(void **state)
{
    UNUSED(state);
    net_write_text(peer, "hello");
    shutdown(peer, SHUT_WR);
    NET_UNTIL(conn->hup);
    /* A short read, but the end is known to be there. */
    assert_int_equal(recv_n(16, 5), IO_OK);
    assert_true(conn->ready & CONN_RX);
    assert_int_equal(recv_n(16, 0), IO_EOF);
}

/* The end comes while the short read is being looked at: a new edge tells. */
static void test_fin_after_a_short_read(void **state)
{
    UNUSED(state);
    net_write_text(peer, "hello");
    NET_UNTIL(woken);
    shutdown(peer, SHUT_WR);
    assert_int_equal(recv_n(16, 5), IO_OK);
    woken = 0;
    NET_UNTIL(woken);
    assert_int_equal(recv_n(16, 0), IO_EOF);
}

static void test_writing_after_fin(void **state)
{
    size_t n, got = 0;

    UNUSED(state);
    shutdown(peer, SHUT_WR);
    NET_UNTIL(conn->hup);
    assert_int_equal(recv_n(16, 0), IO_EOF);
    assert_int_equal(send_n(0, 1000, &n), IO_OK);
    NET_UNTIL((net_read(peer, buf, MUCH, &got), got == 1000));
    assert_int_equal(conn->error, 0);
}

/* U11, FAILURES 23: everything before the RST, then an error, and never an end. */
static void assert_prefix_then_error(size_t total)
{
    size_t got = 0, n;
    enum io r = IO_OK;

    while (r == IO_OK) {
        n = 0;
        r = conn_recv(conn, buf + got, 1000, &n);
        got += n;
    }
    assert_int_equal(r, IO_ERR);
    assert_int_equal(got, total);
    assert_memory_equal(buf, text, total);
    assert_true(conn->error < 0);
    assert_false(conn->eof);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(recv_n(10, 0), IO_ERR);
        net_turns(1);
    }
    assert_int_equal(conn_fd(conn, CONN_IN), -1);
}

static void test_rst_behind_unread_bytes(void **state)
{
    UNUSED(state);
    net_write(peer, text, 5500);
    peer_rst();
    NET_UNTIL(conn->error);
    assert_true(woken & TASK_RX);
    assert_true(conn->hup);
    assert_prefix_then_error(5500);
    assert_int_equal(conn->error, -ECONNRESET);
}

static void test_rst_alone(void **state)
{
    UNUSED(state);
    peer_rst();
    NET_UNTIL(woken);
    assert_prefix_then_error(0);
}

static void test_rst_met_by_recv(void **state)
{
    UNUSED(state);
    net_write(peer, text, 2000);
    NET_UNTIL(woken);
    peer_rst();
    net_sleep_ms(5);
    /* Nobody has told yet. */
    assert_int_equal(conn->error, 0);
    assert_prefix_then_error(2000);
}

static void test_rst_met_by_send(void **state)
{
    size_t n;

    UNUSED(state);
    net_write(peer, text, 2500);
    NET_UNTIL(woken);
    peer_rst();
    net_sleep_ms(5);
    assert_int_equal(send_n(0, 10, &n), IO_ERR);
    assert_true(conn->error < 0);
    assert_int_equal(conn->ready, CONN_RX);
    assert_prefix_then_error(2500);
}

static void test_rst_met_by_a_second_send(void **state)
{
    size_t n;

    UNUSED(state);
    net_write(peer, text, 100);
    NET_UNTIL(woken);
    close(peer); /* with nothing unread: a FIN; our bytes then meet nobody */
    peer = -1;
    assert_int_equal(send_n(0, 10, &n), IO_OK);
    NET_UNTIL(conn->error);
    assert_int_equal(send_n(0, 10, &n), IO_ERR);
    assert_prefix_then_error(100);
}

/* ---- our end ---- */

static void test_shut(void **state)
{
    size_t n, got = 0;

    UNUSED(state);
    assert_int_equal(send_n(0, 300, &n), IO_OK);
    assert_int_equal(conn_shut(conn), 0);
    assert_int_equal(conn_shut(conn), 0);
    assert_true(conn->shut);
    NET_UNTIL(net_read(peer, buf, MUCH, &got) == NET_FIN);
    assert_int_equal(got, 300);
    woken = 0;
    net_write_text(peer, "still");
    NET_UNTIL(woken & TASK_RX);
    assert_int_equal(recv_n(16, 5), IO_OK);
}

static void test_close_delivers(void **state)
{
    size_t total, got = 0;

    UNUSED(state);
    total = send_until_full();
    conn_close(&conn);
    assert_null(conn);
    NET_UNTIL(net_read(peer, buf, MUCH, &got) == NET_FIN);
    assert_int_equal(got, total);
    assert_memory_equal(buf, text, total);
    conn_close(&conn); /* of nothing */
    conn_reset(&conn);
}

static void test_close_wakes_nobody(void **state)
{
    UNUSED(state);
    net_write_text(peer, "hello");
    net_sleep_ms(2);
    conn_close(&conn);
    net_turns(3);
    assert_int_equal(wakes, 0);
}

static void test_reset(void **state)
{
    size_t got = 0;

    UNUSED(state);
    conn_reset(&conn);
    assert_null(conn);
    NET_UNTIL(net_read(peer, buf, MUCH, &got) == NET_RST);
    assert_int_equal(got, 0);
}

static void test_reset_behind_delivered_bytes(void **state)
{
    size_t n, got = 0;

    UNUSED(state);
    assert_int_equal(send_n(0, 700, &n), IO_OK);
    net_sleep_ms(2);
    conn_reset(&conn);
    NET_UNTIL(net_read(peer, buf, MUCH, &got) == NET_RST);
    assert_int_equal(got, 700);
}

/* A peer that has not read yet still gets all that was written, then the RST. */
static void test_reset_waits_for_the_queue(void **state)
{
    size_t total, got = 0;
    int i;

    UNUSED(state);
    total = send_until_full();
    conn_reset(&conn);
    for (i = 0; i < 10; i++)
        loop_turn(&net_loop, 10);
    NET_UNTIL(net_read(peer, buf, MUCH, &got) == NET_RST);
    assert_int_equal(got, total);
    assert_memory_equal(buf, text, total);
    peer_close();
    NET_UNTIL(net_fds() == net_n_fds + 2); /* the loop's own */
}

static void test_reset_gives_up(void **state)
{
    size_t total, got = 0;
    uint64_t waited = 0;

    UNUSED(state);
    total = send_until_full();
    conn_reset(&conn);
    while (net_fds() > net_n_fds + 3) {
        assert_true(waited <= CONN_RESET_GRACE_MS + 2 * CONN_RESET_POLL_MS);
        waited += CONN_RESET_POLL_MS;
        net_later_ms(CONN_RESET_POLL_MS);
    }
    assert_in_range(waited, CONN_RESET_GRACE_MS - 3 * CONN_RESET_POLL_MS,
                    CONN_RESET_GRACE_MS + 2 * CONN_RESET_POLL_MS);
    NET_UNTIL(net_read(peer, buf, MUCH, &got) == NET_RST);
    assert_true(got < total);
    assert_memory_equal(buf, text, got);
}

static void test_reset_after_the_peers(void **state)
{
    UNUSED(state);
    send_until_full();
    peer_rst();
    NET_UNTIL(conn->error);
    conn_reset(&conn);
    net_turns(1);
    assert_int_equal(net_fds(), net_n_fds + 2);
}

/* The memory for waiting is refused: the RST goes out at once, and nothing is left. */
static bool refuse(void)
{
    return false;
}

static void test_reset_without_memory(void **state)
{
    size_t total, got = 0;

    UNUSED(state);
    total = send_until_full();
    mem_set_gate(refuse);
    conn_reset(&conn);
    mem_set_gate(NULL);
    NET_UNTIL(net_read(peer, buf, MUCH, &got) == NET_RST);
    assert_true(got <= total);
    assert_memory_equal(buf, text, got);
}

/* The loop ends while bytes are still to be delivered: what the peer sees is no orderly end, and
 * nothing is left behind (promise 2: a broken body never looks whole). */
static void test_reset_outlives_no_loop(void **state)
{
    enum net_end end = NET_OPEN;
    size_t got = 0;

    UNUSED(state);
    send_until_full();
    conn_reset(&conn);
    net_turns(1);
    loop_done(&net_loop);
    for (int i = 0; i < 500 && end == NET_OPEN; i++) {
        end = net_read(peer, buf, MUCH, &got);
        net_sleep_ms(1);
    }
    assert_int_equal(end, NET_RST);
    peer_close();
    assert_int_equal(net_fds(), net_n_fds);
}

static int teardown_no_loop(void **state)
{
    UNUSED(state);
    peer_close();
    return 0;
}

/* ---- beginnings ---- */

static void test_dial(void **state)
{
    struct addr a, local;
    struct conn *c;
    int l = net_listen(5, &a);

    UNUSED(state);
    assert_int_equal(conn_tcp_dial(&net_loop, &a, NULL, &c), 0);
    c->task = &task;
    NET_UNTIL(conn_established(c) != IO_AGAIN);
    assert_int_equal(conn_established(c), IO_OK);
    assert_true(conn_tcp_local(c, &local));
    assert_true(addr_is_loopback(&local));
    assert_int_not_equal(addr_port(&local), 0);
    conn_close(&c);
    close(l);
}

static void test_dial_from(void **state)
{
    struct dial_from from = {.addr = net_loopback(0)};
    struct addr a, local;
    struct conn *c;
    int l = net_listen(5, &a);

    UNUSED(state);
    from.addr.in.sin_addr.s_addr = htonl(0x7f000002);
    assert_int_equal(conn_tcp_dial(&net_loop, &a, &from, &c), 0);
    NET_UNTIL(conn_established(c) != IO_AGAIN);
    assert_true(conn_tcp_local(c, &local));
    assert_true(addr_same_host(&local, &from.addr));
    conn_close(&c);
    close(l);
    /* An address that is not ours. */
    from.addr.in.sin_addr.s_addr = htonl(0xc0000201);
    assert_int_equal(conn_tcp_dial(&net_loop, &a, &from, &c), -EADDRNOTAVAIL);
}

static void test_dial_refused(void **state)
{
    struct addr a;
    struct conn *c;
    int l = net_listen(5, &a), r;

    UNUSED(state);
    close(l);
    r = conn_tcp_dial(&net_loop, &a, NULL, &c);
    if (r == 0) {
        c->task = &task;
        woken = 0;
        NET_UNTIL(woken);
        assert_int_equal(conn_established(c), IO_ERR);
        r = c->error;
        conn_close(&c);
    }
    assert_int_equal(r, -ECONNREFUSED);
}

static void test_dial_failures(void **state)
{
    struct addr a = net_loopback(1);
    struct rlimit old, none = {0, 0};
    int before, l;
    struct conn *c;

    UNUSED(state);
    l = net_listen(5, &a);
    before = net_fds();
    for (memfail_start(); memfail_next();) {
        int r = conn_tcp_dial(&net_loop, &a, NULL, &c);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        if (r == 0)
            conn_close(&c);
        net_turns(1);
        assert_int_equal(net_fds(), before);
    }
    getrlimit(RLIMIT_NOFILE, &old);
    none.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    assert_int_equal(conn_tcp_dial(&net_loop, &a, NULL, &c), -EMFILE);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(net_fds(), before);
    close(l);
}

/* There is a descriptor, but it is kept for others than clients. */
static void test_dial_kept(void **state)
{
    enum { LIMIT = 64, FIRST_KEPT = LIMIT - LIMIT / 4 };
    struct addr a = net_loopback(1);
    struct rlimit old, few;
    int taken[LIMIT], n = 0, before, l;
    struct conn *c;

    UNUSED(state);
    l = net_listen(5, &a);
    getrlimit(RLIMIT_NOFILE, &old);
    few = (struct rlimit){LIMIT, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    fds_keep();
    do
        taken[n] = dup(l);
    while (taken[n++] < FIRST_KEPT - 1);
    before = net_fds();
    assert_int_equal(conn_tcp_dial(&net_loop, &a, NULL, &c), -EMFILE);
    assert_int_equal(net_fds(), before);
    close(taken[--n]);
    assert_int_equal(conn_tcp_dial(&net_loop, &a, NULL, &c), 0);
    conn_close(&c);
    net_turns(1);
    setrlimit(RLIMIT_NOFILE, &old);
    fds_keep();
    while (n)
        close(taken[--n]);
    close(l);
}

static void test_new_refused(void **state)
{
    struct conn *c = NULL;
    int fd[2];

    UNUSED(state);
    net_pair(fd, false);
    for (memfail_start(); memfail_next();) {
        int r = conn_tcp_new(&net_loop, fd[0], false, &c);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        /* On failure the descriptor is still ours. */
        assert_int_not_equal(fcntl(fd[0], F_GETFD), -1);
    }
    conn_close(&c);
    assert_int_equal(conn_tcp_new(&net_loop, fd[0], false, &c), -EBADF);
    close(fd[1]);
}

/* A program is being started: its process has a copy of every descriptor. What is closed meanwhile is told of no more. */
static void test_closed_while_a_process_is_made(void **state)
{
    pid_t pid;

    UNUSED(state);
    fds_fork_begin();
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(10); /* a test that fails leaves it behind */
        for (;;)
            pause();
    }
    conn_close(&conn);
    net_turns(1);
    assert_int_equal(send(peer, "late", 4, MSG_NOSIGNAL), 4);
    net_turns(3); /* the conn has been freed: an event for it would be seen by the sanitizer */
    assert_int_equal(woken, 0);
    fds_fork_end();
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

#define SMALL(f) cmocka_unit_test_setup_teardown(f, setup_small, teardown)
#define TCP(f)   cmocka_unit_test_setup_teardown(f, setup, teardown)
#define UNIX(f)  {#f " (unix)", f, setup_unix, teardown, NULL}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TCP(test_new_refused),
        TCP(test_a_new_conn_is_quiet),
        UNIX(test_a_new_conn_is_quiet),
        TCP(test_short_read_clears_rx),
        UNIX(test_short_read_clears_rx),
        TCP(test_filled_read_leaves_rx),
        UNIX(test_filled_read_leaves_rx),
        SMALL(test_send_tail),
        TCP(test_send_pieces),
        TCP(test_fin),
        UNIX(test_fin),
        TCP(test_fin_behind_bytes),
        UNIX(test_fin_behind_bytes),
        TCP(test_fin_after_a_short_read),
        TCP(test_writing_after_fin),
        TCP(test_rst_alone),
        TCP(test_rst_behind_unread_bytes),
        TCP(test_rst_met_by_recv),
        TCP(test_rst_met_by_send),
        TCP(test_rst_met_by_a_second_send),
        TCP(test_shut),
        SMALL(test_close_delivers),
        TCP(test_close_wakes_nobody),
        TCP(test_reset),
        TCP(test_reset_behind_delivered_bytes),
        SMALL(test_reset_waits_for_the_queue),
        SMALL(test_reset_gives_up),
        SMALL(test_reset_after_the_peers),
        SMALL(test_reset_without_memory),
        TCP(test_dial),
        TCP(test_dial_from),
        TCP(test_dial_refused),
        TCP(test_dial_failures),
        TCP(test_dial_kept),
        TCP(test_closed_while_a_process_is_made),
        cmocka_unit_test_setup_teardown(test_reset_outlives_no_loop, setup_small,
                                        teardown_no_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
