/* SPDX-License-Identifier: MIT */
/* What a service manager hands over and is told: descriptors in a child of our own, notes to a real datagram socket.
 */
#include "app/sd.h"

#include "base/err.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- descriptors ---- */

/* In a child: n_open descriptors from 3 on, the rest of the table closed, then the call. Says what it returned through a pipe. */
struct handed {
    const char *fds, *pid, *names; /* pid "self": the child's */
    int n_open;
    /* what came of it */
    int r;
    bool cloexec, removed;
    char got[3][32];
};

static void set_or_not(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void run_child(struct handed *h, int answer)
{
    const char *names[SD_FDS_MAX] = {NULL};
    char self[16];

    for (int i = 0; i < h->n_open; i++)
        dup2(STDERR_FILENO, SD_FDS_START + i);
    close(SD_FDS_START + h->n_open);
    snprintf(self, sizeof(self), "%d", (int)getpid());
    set_or_not("LISTEN_PID", h->pid && strcmp(h->pid, "self") == 0 ? self : h->pid);
    set_or_not("LISTEN_FDS", h->fds);
    set_or_not("LISTEN_FDNAMES", h->names);
    h->r = sd_listen_fds(names);
    h->cloexec = true;
    for (int i = 0; i < h->n_open; i++)
        h->cloexec = h->cloexec && fcntl(SD_FDS_START + i, F_GETFD) & FD_CLOEXEC;
    for (int i = 0; i < h->r && i < 3; i++)
        snprintf(h->got[i], sizeof(h->got[i]), "%s", names[i]);
    h->removed = !getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES");
    _exit(write(answer, h, sizeof(*h)) == sizeof(*h) ? 0 : 1);
}

static struct handed hand_over(struct handed h)
{
    int p[2], high, status;
    pid_t pid;

    assert_int_equal(pipe(p), 0);
    high = fcntl(p[1], F_DUPFD, 200);
    assert_true(high >= 200);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        run_child(&h, high);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(p[0], &h, sizeof(h)), sizeof(h));
    close(p[0]);
    close(p[1]);
    close(high);
    assert_true(h.removed);
    return h;
}

static void nothing_is_handed_over(void **state)
{
    UNUSED(state);
    assert_int_equal(hand_over((struct handed){0}).r, 0);
    assert_int_equal(hand_over((struct handed){.fds = "0", .pid = "self"}).r, 0);
    assert_int_equal(hand_over((struct handed){.pid = "self"}).r, 0);
    assert_int_equal(hand_over((struct handed){.fds = "2", .n_open = 2}).r, 0);
}

static void descriptors_are_taken(void **state)
{
    struct handed h = hand_over((struct handed){.fds = "2", .pid = "self", .n_open = 2});

    UNUSED(state);
    assert_int_equal(h.r, 2);
    assert_true(h.cloexec);
    assert_string_equal(h.got[0], "");
    assert_string_equal(h.got[1], "");
}

static void descriptors_have_names(void **state)
{
    struct handed h = hand_over((struct handed){.fds = "3", .pid = "self", .names = "lan::ginnel.socket", .n_open = 3});

    UNUSED(state);
    assert_int_equal(h.r, 3);
    assert_string_equal(h.got[0], "lan");
    assert_string_equal(h.got[1], "");
    assert_string_equal(h.got[2], "ginnel.socket");
    assert_int_equal(hand_over((struct handed){.fds = "1", .pid = "self", .names = "", .n_open = 1}).r, 1);
}

static void names_that_do_not_fit(void **state)
{
    static char many[SD_FDS_MAX * 256 + 2];

    UNUSED(state);
    assert_int_equal(hand_over((struct handed){.fds = "2", .pid = "self", .names = "one", .n_open = 2}).r, ERR_SYNTAX);
    assert_int_equal(hand_over((struct handed){.fds = "1", .pid = "self", .names = "one:two", .n_open = 1}).r, ERR_SYNTAX);
    memset(many, 'x', sizeof(many) - 1);
    assert_int_equal(hand_over((struct handed){.fds = "1", .pid = "self", .names = many, .n_open = 1}).r, ERR_SYNTAX);
}

/* They belong to whoever started us: not touched. */
static void descriptors_of_another_process(void **state)
{
    struct handed h = hand_over((struct handed){.fds = "2", .pid = "1", .n_open = 2});

    UNUSED(state);
    assert_int_equal(h.r, 0);
    assert_false(h.cloexec);
}

static void nonsense(void **state)
{
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x1", "one", "1.0"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(hand_over((struct handed){.fds = bad[i], .pid = "self", .n_open = 1}).r, ERR_SYNTAX);
        assert_int_equal(hand_over((struct handed){.fds = "1", .pid = bad[i], .n_open = 1}).r, ERR_SYNTAX);
    }
    assert_int_equal(hand_over((struct handed){.fds = "1", .pid = "99999999999999999999", .n_open = 1}).r, ERR_SYNTAX);
}

static void a_descriptor_that_is_not_open(void **state)
{
    UNUSED(state);
    assert_int_equal(hand_over((struct handed){.fds = "2", .pid = "self", .n_open = 1}).r, ERR_SYNTAX);
}

static void too_many(void **state)
{
    UNUSED(state);
    assert_int_equal(hand_over((struct handed){.fds = "64", .pid = "self", .n_open = 64}).r, SD_FDS_MAX);
    assert_int_equal(hand_over((struct handed){.fds = "65", .pid = "self", .n_open = 65}).r, ERR_LIMIT);
    assert_int_equal(hand_over((struct handed){.fds = "99999999999999999999", .pid = "self"}).r, ERR_LIMIT);
}

/* ---- notes ---- */

static char dir[64], path[128];

/* The manager's end. name: as NOTIFY_SOCKET has it. */
static int manager(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + (name[0] == '/'));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0 && strlen(name) < sizeof(a.sun_path));
    memcpy(a.sun_path, name, strlen(name));
    if (name[0] == '@')
        a.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, n), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static const char *heard(int fd)
{
    static char text[8192];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static int open_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void notes_to_a_path(void **state)
{
    int fd = manager(path), before = open_fds();

    UNUSED(state);
    sd_notify("READY=1\nSTATUS=serving %d", 2);
    assert_string_equal(heard(fd), "READY=1\nSTATUS=serving 2");
    sd_notify("STOPPING=1");
    assert_string_equal(heard(fd), "STOPPING=1");
    assert_int_equal(open_fds(), before);
    close(fd);
}

static void notes_to_an_abstract_name(void **state)
{
    char name[64];
    int fd;

    UNUSED(state);
    snprintf(name, sizeof(name), "@ginnel-test-%d", (int)getpid());
    fd = manager(name);
    sd_notify("READY=1");
    assert_string_equal(heard(fd), "READY=1");
    close(fd);
}

/* sun_path has 108 bytes. */
static void names_at_the_limit(void **state)
{
    char name[128];
    int fd;

    UNUSED(state);
    snprintf(name, sizeof(name), "@ginnel-test-%d-", (int)getpid());
    memset(name + strlen(name), 'x', sizeof(name) - strlen(name));
    name[107] = '\0';
    fd = manager(name);
    sd_notify("READY=1");
    assert_string_equal(heard(fd), "READY=1");
    name[107] = 'x';
    name[108] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    sd_notify("READY=1");
    assert_string_equal(heard(fd), "");
    close(fd);
}

static void odd_managers_are_refused_quietly(void **state)
{
    static const char *const odd[] = {"", "/", "@", "relative", "vsock:2:1234", "/no/such/socket", "@nobody-listens-here", "/dev/null"};
    int before = open_fds();

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        setenv("NOTIFY_SOCKET", odd[i], 1);
        sd_notify("READY=1");
    }
    unsetenv("NOTIFY_SOCKET");
    sd_notify("READY=1");
    sd_notify_reloading();
    assert_int_equal(open_fds(), before);
}

static void a_full_manager_is_not_waited_for(void **state)
{
    struct timespec a, b;
    unsigned n = 0;
    int fd = manager(path);

    UNUSED(state);
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 5000; i++)
        sd_notify("WATCHDOG=1");
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true(b.tv_sec - a.tv_sec < 5);
    while (heard(fd)[0])
        n++;
    assert_in_range(n, 1, 4999);
    sd_notify("WATCHDOG=1");
    assert_string_equal(heard(fd), "WATCHDOG=1");
    close(fd);
}

static void a_manager_that_has_gone(void **state)
{
    int fd = manager(path);

    UNUSED(state);
    close(fd);
    sd_notify("READY=1");
    unlink(path);
    sd_notify("READY=1");
}

static void long_notes_are_cut(void **state)
{
    char text[5000];
    int fd = manager(path);

    UNUSED(state);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    sd_notify("READY=1\nSTATUS=%s", text);
    assert_memory_equal(heard(fd), "READY=1\nSTATUS=xxx", 18);
    close(fd);
}

static void reloading_has_the_time(void **state)
{
    struct timespec ts;
    unsigned long long now, said;
    int fd = manager(path);

    UNUSED(state);
    sd_notify_reloading();
    clock_gettime(CLOCK_MONOTONIC, &ts);
    now = (unsigned long long)ts.tv_sec * 1000000 + (unsigned long long)ts.tv_nsec / 1000;
    assert_int_equal(sscanf(heard(fd), "RELOADING=1\nMONOTONIC_USEC=%llu", &said), 1);
    assert_in_range(said, now - 5000000, now);
    close(fd);
}

/* ---- the watchdog ---- */

static void the_watchdog(void **state)
{
    static const char *const bad[] = {"", "0", "-1", "2s", "99999999999999999999"};
    char self[16];

    UNUSED(state);
    snprintf(self, sizeof(self), "%d", (int)getpid());
    assert_int_equal(sd_watchdog_ms(), 0);
    setenv("WATCHDOG_USEC", "3000000", 1);
    assert_int_equal(sd_watchdog_ms(), 1500);
    setenv("WATCHDOG_PID", self, 1);
    assert_int_equal(sd_watchdog_ms(), 1500);
    setenv("WATCHDOG_USEC", "1", 1);
    assert_int_equal(sd_watchdog_ms(), 1);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        setenv("WATCHDOG_USEC", bad[i], 1);
        assert_int_equal(sd_watchdog_ms(), 0);
    }
}

static void the_watchdog_of_another_process(void **state)
{
    UNUSED(state);
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(sd_watchdog_ms(), 0);
    setenv("WATCHDOG_PID", "me", 1);
    assert_int_equal(sd_watchdog_ms(), 0);
}

static int begin(void **state)
{
    UNUSED(state);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    strcpy(dir, "/tmp/ginnel-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/notify", dir);
    return 0;
}

static int end(void **state)
{
    UNUSED(state);
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handed_over),
        cmocka_unit_test(descriptors_are_taken),
        cmocka_unit_test(descriptors_have_names),
        cmocka_unit_test(names_that_do_not_fit),
        cmocka_unit_test(descriptors_of_another_process),
        cmocka_unit_test(nonsense),
        cmocka_unit_test(a_descriptor_that_is_not_open),
        cmocka_unit_test(too_many),
        cmocka_unit_test_setup_teardown(notes_to_a_path, begin, end),
        cmocka_unit_test_setup_teardown(notes_to_an_abstract_name, begin, end),
        cmocka_unit_test_setup_teardown(names_at_the_limit, begin, end),
        cmocka_unit_test_setup_teardown(odd_managers_are_refused_quietly, begin, end),
        cmocka_unit_test_setup_teardown(a_full_manager_is_not_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(a_manager_that_has_gone, begin, end),
        cmocka_unit_test_setup_teardown(long_notes_are_cut, begin, end),
        cmocka_unit_test_setup_teardown(reloading_has_the_time, begin, end),
        cmocka_unit_test_setup_teardown(the_watchdog, begin, end),
        cmocka_unit_test_setup_teardown(the_watchdog_of_another_process, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
