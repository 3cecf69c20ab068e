/* SPDX-License-Identifier: MIT */
/* One opened output: what it writes in which pieces, and what becomes of lines that nobody takes.
 */
#include "proxy/access_output.h"

#include "base/base.h"
#include "base/err.h"
#include "base/log.h"
#include "proxy/access_syslog.h"
#include "support/memfail.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/net.h"

static struct access_totals totals;
static char dir[] = "/tmp/ginnel-test-XXXXXX";
static char path[64];
static char said[4096];
static int fds;

static void note(enum log_level level, const char *text, size_t n)
{
    UNUSED(level);
    if (strlen(said) + n + 2 < sizeof(said)) {
        strncat(said, text, n);
        strcat(said, "\n");
    }
}

static int setup(void **state)
{
    UNUSED(state);
    totals = (struct access_totals){0};
    said[0] = '\0';
    log_set_sink(note);
    memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    fds = net_fds();
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    log_set_sink(NULL);
    assert_int_equal(net_fds(), fds);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

static void add(struct access_opened *o, const char *line)
{
    char *p = access_output_room(o, ACCESS_LINE_MAX);

    assert_non_null(p);
    memcpy(p, line, strlen(line));
    access_output_added(o, strlen(line));
}

static void expect_file(const char *name, const char *want)
{
    char got[1024];
    FILE *f = fopen(name, "re");
    size_t n;

    assert_non_null(f);
    n = fread(got, 1, sizeof(got) - 1, f);
    got[n] = '\0';
    fclose(f);
    assert_string_equal(got, want);
}

/* ---- files ---- */

static void test_file(void **state)
{
    struct access_output spec = {.sink = ACCESS_FILE, .path = path};
    struct access_opened o;
    struct stat st;

    UNUSED(state);
    umask(0);
    assert_int_equal(access_output_open(&o, &spec), 0);
    umask(022);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    add(&o, "one\n");
    add(&o, "two\n");
    expect_file(path, "");
    access_output_flush(&o, 1, &totals);
    expect_file(path, "one\ntwo\n");
    assert_false(access_output_pending(&o));
    assert_int_equal(totals.written, 2);
    /* Appending: what another wrote meanwhile stays. */
    assert_int_equal(truncate(path, 4), 0);
    add(&o, "three\n");
    access_output_flush(&o, 2, &totals);
    expect_file(path, "one\nthree\n");
    add(&o, "never written\n");
    access_output_done(&o, &totals);
    assert_int_equal(totals.written, 3);
    assert_int_equal(totals.lost, 1);
}

static void test_cannot_open(void **state)
{
    struct access_output spec = {.sink = ACCESS_FILE, .path = "/nonexistent/log"};
    struct access_opened o;

    UNUSED(state);
    assert_int_equal(access_output_open(&o, &spec), -ENOENT);
    spec.path = dir;
    assert_int_equal(access_output_open(&o, &spec), -EISDIR);
    /* A FIFO nobody reads is an error, not a wait. */
    assert_int_equal(mkfifo(path, 0600), 0);
    spec.path = path;
    assert_int_equal(access_output_open(&o, &spec), -ENXIO);
    spec.sink = ACCESS_SYSLOG_UNIX;
    spec.path = "/nonexistent/socket";
    assert_int_equal(access_output_open(&o, &spec), -ENOENT);
}

static void test_every_allocation_fails(void **state)
{
    struct access_output spec = {.sink = ACCESS_FILE, .path = path};

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct access_opened o;
        int r = access_output_open(&o, &spec);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        if (r == 0)
            access_output_done(&o, &totals);
        assert_int_equal(net_fds(), fds);
    }
}

/* Said once, tried again every second, said again; the line on which it broke is whole at last. */
static void test_disk_full(void **state)
{
    struct access_output spec = {.sink = ACCESS_FILE, .path = "/dev/full"};
    struct access_opened o;
    int good;

    UNUSED(state);
    assert_int_equal(access_output_open(&o, &spec), 0);
    add(&o, "one\n");
    access_output_flush(&o, 1000, &totals);
    assert_string_equal(
        said, "cannot write the access log /dev/full: No space left on device; records are lost\n");
    assert_true(o.failing);
    add(&o, "two\n");
    access_output_flush(&o, 1500, &totals);
    access_output_flush(&o, 2500, &totals);
    assert_int_equal(strlen(said), 81); /* not again */
    for (int i = 0; i < 3; i++)
        access_output_lose(&o, &totals);
    assert_int_equal(totals.lost, 3);
    good = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(good >= 0);
    assert_int_equal(dup2(good, o.fd), o.fd); /* somebody made room */
    close(good);
    access_output_flush(&o, 2600, &totals); /* not yet */
    expect_file(path, "");
    access_output_flush(&o, 3600, &totals);
    expect_file(path, "one\ntwo\n");
    assert_string_equal(said + 81,
                        "the access log /dev/full can be written again; 3 records were lost\n");
    assert_false(o.failing);
    assert_int_equal(totals.written, 2);
    access_output_done(&o, &totals);
}

/* ---- pipes and sockets ---- */

static void fill(struct access_opened *o, unsigned lines, unsigned length)
{
    static char text[ACCESS_LINE_MAX];

    for (unsigned i = 0; i < lines; i++) {
        memset(text, 'a' + (int)(i % 26), length - 1);
        text[length - 1] = '\n';
        text[length] = '\0';
        add(o, text);
    }
}

/* A pipe that others write to as well gets whole lines in pieces that cannot block, even though the
 * descriptor would. */
static void test_pipe_in_pieces(void **state)
{
    static char got[PIPE_BUF + 1];
    struct access_opened o;
    int two[2], status;
    ssize_t n;

    UNUSED(state);
    assert_int_equal(pipe2(two, O_CLOEXEC), 0);
    assert_int_equal(access_output_borrow(&o, two[1]), 0);
    assert_int_equal(o.way, ACCESS_WAY_PIECES);
    fill(&o, 400, 600);
    access_output_flush(&o, 1, &totals); /* does not block: the pipe holds 64 KB */
    assert_true(access_output_pending(&o));
    status = fcntl(two[1], F_GETFL);
    assert_int_equal(status & O_NONBLOCK, 0); /* others share it */
    /* Each write ended with a line: a page of the pipe is a write. */
    n = read(two[0], got, 3600);
    assert_int_equal(n, 3600);
    assert_int_equal(got[n - 1], '\n');
    access_output_flush(&o, 1, &totals);
    assert_false(o.mid_line);
    for (unsigned left = 400 * 600 - 3600; left; left -= (unsigned)n) {
        n = read(two[0], got, PIPE_BUF);
        assert_true(n > 0);
        access_output_flush(&o, 1, &totals);
    }
    assert_false(access_output_pending(&o));
    /* Nobody reads any more. */
    close(two[0]);
    add(&o, "x\n");
    access_output_flush(&o, 5, &totals);
    assert_true(o.broken);
    access_output_done(&o, &totals);
    close(two[1]);
    assert_string_equal(said, ""); /* of the diagnostics' own descriptor nothing is said */
}

/* A line that is longer than a piece: others wait for its end. */
static void test_mid_line(void **state)
{
    struct access_opened a, b;
    static char got[1 << 17];
    int two[2];

    UNUSED(state);
    assert_int_equal(pipe2(two, O_CLOEXEC), 0);
    assert_int_equal(access_output_borrow(&a, two[1]), 0);
    assert_int_equal(access_output_borrow(&b, two[1]), 0);
    assert_true(access_output_shared(&a, &b));
    fill(&a, 1, 10); /* a page of the pipe; then two a line, of 16 */
    fill(&a, 30, 6000);
    access_output_flush(&a, 1, &totals);
    assert_true(a.mid_line);
    while (access_output_pending(&a)) {
        assert_true(read(two[0], got, sizeof(got)) > 0);
        access_output_flush(&a, 1, &totals);
    }
    assert_false(a.mid_line);
    access_output_done(&a, &totals);
    access_output_done(&b, &totals);
    close(two[0]);
    close(two[1]);
}

static void test_socket_does_not_block(void **state)
{
    struct access_opened o;
    static char got[1 << 16];
    size_t total = 0;
    int two[2];

    UNUSED(state);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, two), 0);
    assert_int_equal(access_output_borrow(&o, two[1]), 0);
    assert_int_equal(o.way, ACCESS_WAY_SOCKET);
    for (int i = 0; i < 8; i++) {
        if (access_output_room(&o, 150000))
            fill(&o, 100, 1500);
        access_output_flush(&o, 1, &totals);
    }
    assert_true(access_output_pending(&o));
    while (access_output_pending(&o)) {
        ssize_t n = read(two[0], got, sizeof(got));

        assert_true(n > 0);
        total += (size_t)n;
        access_output_flush(&o, 1, &totals);
    }
    assert_true(total > 150000);
    access_output_done(&o, &totals);
    close(two[0]);
    close(two[1]);
}

/* ---- the buffer ---- */

static void test_buffer(void **state)
{
    struct access_output spec = {.sink = ACCESS_FILE, .path = path};
    struct access_opened o;
    int reader;

    UNUSED(state);
    assert_int_equal(mkfifo(path, 0600), 0);
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(access_output_open(&o, &spec), 0);
    while (access_output_room(&o, ACCESS_LINE_MAX))
        fill(&o, 1, 1000);
    assert_int_equal(o.end, (ACCESS_OUTPUT_BUFFER - ACCESS_LINE_MAX) / 1000 * 1000 + 1000);
    access_output_flush(&o, 1, &totals);
    assert_true(o.start >= 65536);
    /* What has left makes room again. */
    assert_non_null(access_output_room(&o, ACCESS_LINE_MAX));
    assert_int_equal(o.start, 0);
    access_output_lose(&o, &totals);
    assert_string_equal(strstr(said, "it takes"), "it takes nothing; records are lost\n");
    access_output_done(&o, &totals);
    assert_int_equal(totals.lost + totals.written, o.lost + totals.written);
    assert_int_equal(totals.written, 65); /* whole lines of 64 KB */
    close(reader);
}

/* ---- reopening ---- */

static void test_reopen(void **state)
{
    struct access_output spec = {.sink = ACCESS_FILE, .path = path};
    char old[160], away[160];
    struct access_opened o;

    UNUSED(state);
    snprintf(old, sizeof(old), "%s.1", path);
    snprintf(away, sizeof(away), "%s/gone", dir);
    assert_int_equal(access_output_open(&o, &spec), 0);
    add(&o, "one\n");
    access_output_flush(&o, 1, &totals);
    assert_int_equal(rename(path, old), 0);
    add(&o, "two\n");
    assert_int_equal(access_output_reopen(&o, 2, &totals), 0);
    add(&o, "three\n");
    access_output_flush(&o, 3, &totals);
    expect_file(old, "one\ntwo\n");
    expect_file(path, "three\n");
    /* It cannot be opened: the old one is used on. */
    spec.path = "/nonexistent/log";
    assert_int_equal(access_output_reopen(&o, 4, &totals), -ENOENT);
    spec.path = path;
    add(&o, "four\n");
    access_output_flush(&o, 5, &totals);
    expect_file(path, "three\nfour\n");
    access_output_done(&o, &totals);
    assert_int_equal(totals.written, 4);
    assert_int_equal(totals.lost, 0);
    unlink(old);
}

/* A line that was begun in a file that is full does not end in the new one. */
static void test_reopen_mid_line(void **state)
{
    struct access_output spec = {.sink = ACCESS_FILE, .path = path};
    struct access_opened o;
    int full;

    UNUSED(state);
    assert_int_equal(access_output_open(&o, &spec), 0);
    add(&o, "one\n");
    add(&o, "two\n");
    o.start = 2; /* as after a write of two bytes */
    o.mid_line = true;
    full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(dup2(full, o.fd), o.fd);
    close(full);
    assert_int_equal(access_output_reopen(&o, 2, &totals), 0);
    access_output_flush(&o, 2, &totals);
    expect_file(path, "two\n");
    assert_int_equal(totals.lost, 1);
    access_output_done(&o, &totals);
}

static void test_take_over(void **state)
{
    struct access_output spec = {.sink = ACCESS_FILE, .path = path},
                         other = {.sink = ACCESS_STDOUT};
    struct access_opened a, b, c;

    UNUSED(state);
    assert_int_equal(access_output_open(&a, &spec), 0);
    assert_int_equal(access_output_open(&b, &spec), 0);
    assert_int_equal(access_output_open(&c, &other), 0);
    assert_true(access_output_same(&a, &b));
    assert_false(access_output_same(&a, &c));
    add(&a, "one\n");
    access_output_take_over(&b, &a);
    assert_false(access_output_pending(&a));
    access_output_done(&a, &totals);
    add(&b, "two\n");
    access_output_flush(&b, 1, &totals);
    expect_file(path, "one\ntwo\n");
    access_output_done(&b, &totals);
    access_output_done(&c, &totals);
    assert_int_equal(totals.lost, 0);
}

/* ---- syslog ---- */

static int bind_unix(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", name);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static char message[ACCESS_LINE_MAX + 512];

static size_t receive(int fd)
{
    ssize_t n = recv(fd, message, sizeof(message) - 1, MSG_DONTWAIT);

    if (n < 0)
        return 0;
    message[n] = '\0';
    return (size_t)n;
}

static void test_syslog_unix(void **state)
{
    struct access_output spec = {.sink = ACCESS_SYSLOG_UNIX, .path = path};
    struct access_opened o;
    char month[4], tail[64];
    int day, hour, minute, second, pid, end;
    int daemon = bind_unix(path);

    UNUSED(state);
    assert_int_equal(access_output_open(&o, &spec), 0);
    add(&o, "{\"a\":1}\n");
    add(&o, "two\n");
    access_output_flush(&o, 1, &totals);
    assert_true(receive(daemon) > 0);
    assert_int_equal(sscanf(message, "<30>%3s %2d %2d:%2d:%2d ginnel[%d]: %n", month, &day, &hour,
                            &minute, &second, &pid, &end),
                     6);
    assert_int_equal(pid, getpid());
    assert_int_equal(message[7], ' ');
    assert_int_equal(message[19], ' ');
    assert_string_equal(message + end, "{\"a\":1}"); /* a datagram has no line's end */
    assert_true(receive(daemon) > 0);
    snprintf(tail, sizeof(tail), " ginnel[%d]: two", getpid());
    assert_string_equal(message + 19, tail);
    /* The daemon goes: said, kept. It comes back: the same descriptor finds it. */
    close(daemon);
    unlink(path);
    add(&o, "three\n");
    access_output_flush(&o, 1000, &totals);
    assert_non_null(strstr(said, "cannot write the access log "));
    daemon = bind_unix(path);
    access_output_flush(&o, 2000, &totals);
    assert_true(receive(daemon) > 0);
    assert_string_equal(message + strlen(message) - 7, ": three");
    assert_non_null(strstr(said, "can be written again; 0 records were lost"));
    /* It was started anew between two lines: nobody notices. */
    said[0] = '\0';
    close(daemon);
    unlink(path);
    daemon = bind_unix(path);
    add(&o, "four\n");
    access_output_flush(&o, 2001, &totals);
    assert_true(receive(daemon) > 0);
    assert_string_equal(said, "");
    assert_int_equal(totals.written, 4);
    /* It does not read: its queue fills, we do not wait. */
    for (int i = 0; i < 20; i++) {
        if (access_output_room(&o, ACCESS_LINE_MAX))
            fill(&o, 20, 300);
        access_output_flush(&o, 2002, &totals);
    }
    assert_true(access_output_pending(&o));
    assert_false(o.broken);
    while (access_output_pending(&o)) {
        assert_true(receive(daemon) > 0);
        access_output_flush(&o, 2003, &totals);
    }
    access_output_done(&o, &totals);
    close(daemon);
}

static void test_syslog_udp(void **state)
{
    struct access_output spec = {.sink = ACCESS_SYSLOG_UDP, .udp = net_loopback(0)};
    int daemon = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t n = sizeof(spec.udp.in6);
    struct access_opened o;
    char time[40], host[80], want[64];
    int pid, end;

    UNUSED(state);
    assert_int_equal(bind(daemon, &spec.udp.sa, addr_len(&spec.udp)), 0);
    assert_int_equal(getsockname(daemon, &spec.udp.sa, &n), 0);
    assert_int_equal(access_output_open(&o, &spec), 0);
    add(&o, "{\"a\":1}\n");
    fill(&o, 1, ACCESS_LINE_MAX - 1);
    access_output_flush(&o, 1, &totals);
    assert_true(receive(daemon) > 0);
    assert_int_equal(
        sscanf(message, "<30>1 %39s %79s ginnel %d access - %n", time, host, &pid, &end), 3);
    assert_int_equal(strlen(time), 24);
    assert_int_equal(time[23], 'Z');
    assert_int_equal(pid, getpid());
    assert_string_equal(message + end, "{\"a\":1}");
    assert_true(receive(daemon) > ACCESS_LINE_MAX);
    /* Nobody there: not noticed, never waited for. */
    close(daemon);
    for (int i = 0; i < 10; i++) {
        add(&o, "gone\n");
        access_output_flush(&o, 1, &totals);
        assert_false(access_output_pending(&o));
    }
    snprintf(want, sizeof(want), "127.0.0.1:%u", addr_port(&spec.udp));
    assert_string_equal(access_output_name(&spec, time), want);
    access_output_done(&o, &totals);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_file),
        TEST(test_cannot_open),
        TEST(test_every_allocation_fails),
        TEST(test_disk_full),
        TEST(test_pipe_in_pieces),
        TEST(test_mid_line),
        TEST(test_socket_does_not_block),
        TEST(test_buffer),
        TEST(test_reopen),
        TEST(test_reopen_mid_line),
        TEST(test_take_over),
        TEST(test_syslog_unix),
        TEST(test_syslog_udp),
    };

    signal(SIGPIPE, SIG_IGN); /* as app does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
