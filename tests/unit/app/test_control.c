/* SPDX-License-Identifier: MIT */
/* control: against a thread that plays the running ginnel, well and badly. */
#include "app/control.h"

#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- the scripted server ---- */

struct server {
    char dir[64], path[CONTROL_PATH];
    int fd;
    pthread_t thread;
    /* the script, for one connection */
    const char *text;
    size_t n;
    size_t repeat;     /* the text is sent so often, 0: once */
    size_t step;       /* bytes a write, 0: all */
    unsigned pause_ms; /* before each write */
    bool deaf;         /* answers without reading */
    bool stall;        /* stays open when all is sent, until the client goes */
    char asked[2048];
};

static struct server server;

static void nap(unsigned ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&ts, NULL);
}

static void hear(struct server *s, int fd)
{
    size_t n = 0;

    s->asked[0] = '\0';
    while (n < sizeof(s->asked) - 1 && !strstr(s->asked, "\r\n\r\n")) {
        ssize_t m = recv(fd, s->asked + n, sizeof(s->asked) - 1 - n, 0);

        if (m <= 0)
            return;
        n += (size_t)m;
        s->asked[n] = '\0';
    }
}

static void speak(struct server *s, int fd)
{
    for (size_t round = 0; round < (s->repeat ? s->repeat : 1); round++)
        for (size_t at = 0; at < s->n;) {
            size_t n = s->step ? min_size(s->step, s->n - at) : s->n - at;
            ssize_t m;

            if (s->pause_ms)
                nap(s->pause_ms);
            m = send(fd, s->text + at, n, MSG_NOSIGNAL);
            if (m <= 0)
                return;
            at += (size_t)m;
        }
}

static void *serve_one(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->fd, NULL, NULL);
    char c;

    if (fd < 0)
        return NULL;
    if (!s->deaf)
        hear(s, fd);
    speak(s, fd);
    while (s->stall && recv(fd, &c, 1, 0) > 0)
        ;
    close(fd);
    return NULL;
}

static int setup(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    UNUSED(state);
    server = (struct server){.dir = "/tmp/ginnel-control-XXXXXX"};
    if (!mkdtemp(server.dir))
        return -1;
    snprintf(server.path, sizeof(server.path), "%s/s", server.dir);
    strcpy(un.sun_path, server.path);
    server.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server.fd < 0 || bind(server.fd, (struct sockaddr *)&un, sizeof(un)) < 0)
        return -1;
    return listen(server.fd, 8);
}

static int teardown(void **state)
{
    UNUSED(state);
    mem_set_gate(NULL);
    close(server.fd);
    unlink(server.path);
    return rmdir(server.dir);
}

/* ---- asking ---- */

static char why[CONTROL_WHY];
static struct control_reply reply;

static int ask_as(const char *method, uint64_t deadline_ms, FILE *to)
{
    struct control_question q = {.path = server.path,
                                 .method = method,
                                 .target = "/status",
                                 .accept = "text/plain",
                                 .deadline_ms = deadline_ms,
                                 .tell = to};
    int r;

    why[0] = '\0';
    reply = (struct control_reply){0};
    assert_int_equal(pthread_create(&server.thread, NULL, serve_one, &server), 0);
    r = control_ask(&q, &reply, why);
    pthread_join(server.thread, NULL);
    return r;
}

static int ask(uint64_t deadline_ms)
{
    return ask_as("GET", deadline_ms, NULL);
}

static void script(const char *text)
{
    server.text = text;
    server.n = strlen(text);
}

static void assert_reply(int status, const char *body)
{
    int r = ask(10000);

    if (r)
        fail_msg("%d: %s", r, why);
    assert_int_equal(reply.status, status);
    assert_string_equal(reply.body, body);
    assert_int_equal(reply.n, strlen(body));
    control_reply_done(&reply);
    assert_null(reply.body);
}

#define SIZED "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
#define CHUNKED                                                                                    \
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: "     \
    "b\r\n\r\n"
#define CLOSED "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"

static void test_sized(void **state)
{
    UNUSED(state);
    script(SIZED);
    server.stall = true; /* the length ends it, not the connection */
    assert_reply(200, "hello");
}

static void test_chunked(void **state)
{
    UNUSED(state);
    script(CHUNKED);
    server.stall = true;
    assert_reply(200, "hello");
}

static void test_until_close(void **state)
{
    UNUSED(state);
    script(CLOSED);
    assert_reply(200, "hello");
}

static void test_what_is_asked(void **state)
{
    UNUSED(state);
    script(SIZED);
    assert_reply(200, "hello");
    assert_int_equal(strncmp(server.asked, "GET /status HTTP/1.1\r\n", 22), 0);
    assert_non_null(strstr(server.asked, "\r\nHost: localhost\r\n"));
    assert_non_null(strstr(server.asked, "\r\nAccept: text/plain\r\n"));
    assert_null(strstr(server.asked, "Content-Length"));
    assert_int_equal(ask_as("POST", 10000, NULL), 0);
    control_reply_done(&reply);
    assert_int_equal(strncmp(server.asked, "POST /status HTTP/1.1\r\n", 23), 0);
    assert_non_null(strstr(server.asked, "\r\nContent-Length: 0\r\n"));
}

static void test_empty_bodies(void **state)
{
    UNUSED(state);
    script("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    server.stall = true;
    assert_reply(202, "");
    script("HTTP/1.1 204 No Content\r\n\r\n");
    assert_reply(204, "");
}

static void test_other_statuses(void **state)
{
    UNUSED(state);
    script("HTTP/1.1 422 Unprocessable Content\r\nContent-Length: 6\r\n\r\nwrong\n");
    assert_reply(422, "wrong\n");
    script("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy");
    assert_reply(503, "busy");
}

static void test_interim_answers(void **state)
{
    UNUSED(state);
    script("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" SIZED);
    assert_reply(200, "hello");
}

static void test_one_byte_at_a_time(void **state)
{
    static const char *const texts[] = {SIZED, CHUNKED, CLOSED,
                                        ("HTTP/1.1 100 Continue\r\n\r\n" SIZED)};

    UNUSED(state);
    server.step = 1;
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        script(texts[i]);
        assert_reply(200, "hello");
    }
}

static void test_answers_without_listening(void **state)
{
    UNUSED(state);
    script(SIZED);
    server.deaf = true;
    assert_reply(200, "hello");
}

static void test_large(void **state)
{
    size_t body = 3u << 20, n;
    char *text = malloc(body + 128);

    UNUSED(state);
    n = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", body);
    memset(text + n, 'x', body);
    server.text = text;
    server.n = n + body;
    assert_int_equal(ask(10000), 0);
    assert_int_equal(reply.n, body);
    assert_int_equal(strlen(reply.body), body);
    control_reply_done(&reply);
    free(text);
}

/* ---- badly ---- */

static void assert_failure(int code, const char *part)
{
    int r = ask(10000);

    if (r != code || !strstr(why, part))
        fail_msg("%d (%s), expected %d (%s)", r, why, code, part);
    assert_null(reply.body);
}

/* Every place to break off; only behind the whole message (or, without a length, behind the head)
 * it is one. */
static void test_closes_early(void **state)
{
    UNUSED(state);
    script(SIZED);
    for (size_t n = 0; n < strlen(SIZED); n++) {
        server.n = n;
        assert_failure(ERR_CLOSED, "in the middle of its answer");
    }
    script(CHUNKED);
    for (size_t n = 0; n < strlen(CHUNKED); n++) {
        server.n = n;
        assert_failure(ERR_CLOSED, "in the middle of its answer");
    }
}

static void test_garbage(void **state)
{
    static const char *const texts[] = {
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    };

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        script(texts[i]);
        assert_failure(ERR_SYNTAX, "is no ginnel");
    }
}

static void test_endless_interim_answers(void **state)
{
    UNUSED(state);
    script("HTTP/1.1 100 Continue\r\n\r\n");
    server.repeat = 1000;
    assert_failure(ERR_SYNTAX, "is no ginnel");
}

static void test_endless_head(void **state)
{
    UNUSED(state);
    script("HTTP/1.1 200 OK\r\n");
    server.repeat = 100000;
    assert_int_not_equal(ask(10000), 0);
    assert_null(reply.body);
}

static void test_too_large(void **state)
{
    static char block[1 << 20];

    UNUSED(state);
    script("HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n");
    server.stall = true; /* nobody waits for the content */
    assert_failure(ERR_LIMIT, "64 MB");
    /* without a length, too */
    memset(block, 'x', sizeof(block));
    memcpy(block, "HTTP/1.1 200 OK\r\n\r\n", 19);
    server.text = block;
    server.n = sizeof(block);
    server.repeat = 66;
    assert_failure(ERR_LIMIT, "64 MB");
}

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void test_stalls(void **state)
{
    static const char *const texts[] = {"", "HTTP/1.1 2",
                                        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"};
    uint64_t begun = now_ms();

    UNUSED(state);
    server.stall = true;
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        script(texts[i]);
        assert_int_equal(ask(100), ERR_TIMEOUT);
        assert_non_null(strstr(why, "has not answered"));
        assert_null(reply.body);
    }
    assert_true(now_ms() - begun >= 300);
    assert_true(now_ms() - begun < 20000);
}

/* The deadline is for the whole: a byte now and then does not move it. */
static void test_trickles(void **state)
{
    UNUSED(state);
    script(SIZED);
    server.step = 1;
    server.pause_ms = 20;
    assert_int_equal(ask(200), ERR_TIMEOUT);
    assert_null(reply.body);
}

/* Nobody accepts: the queue is full, and there is nothing to poll for. */
static void test_queue_is_full(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct control_question q = {
        .path = server.path, .method = "GET", .target = "/", .accept = "*/*", .deadline_ms = 200};
    int fds[64];
    unsigned n = 0;

    UNUSED(state);
    strcpy(un.sun_path, server.path);
    for (; n < ARRAY_LEN(fds); n++) {
        fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_true(fds[n] >= 0);
        if (connect(fds[n], (struct sockaddr *)&un, sizeof(un)) < 0)
            break;
    }
    assert_true(n < ARRAY_LEN(fds));
    assert_int_equal(control_ask(&q, &reply, why), ERR_TIMEOUT);
    for (unsigned i = 0; i <= n; i++)
        close(fds[i]);
}

static void test_nobody_there(void **state)
{
    struct control_question q = {
        .path = server.path, .method = "GET", .target = "/", .accept = "*/*", .deadline_ms = 1000};

    UNUSED(state);
    close(server.fd); /* what a process that was killed leaves */
    assert_int_equal(control_ask(&q, &reply, why), -ECONNREFUSED);
    assert_non_null(strstr(why, "no ginnel listens on /tmp/"));
    assert_non_null(strstr(why, "-c FILE"));
    unlink(server.path);
    assert_int_equal(control_ask(&q, &reply, why), -ENOENT);
    assert_non_null(strstr(why, "no ginnel listens on /tmp/"));
    teardown(NULL);
    assert_int_equal(setup(NULL), 0);
}

static void test_not_permitted(void **state)
{
    struct control_question q = {
        .path = server.path, .method = "GET", .target = "/", .accept = "*/*", .deadline_ms = 1000};
    bool was_root = geteuid() == 0;

    UNUSED(state);
    assert_int_equal(chmod(server.path, 0), 0);
    assert_int_equal(chmod(server.dir, 0755), 0);
    if (was_root)
        assert_int_equal(seteuid(65534), 0);
    assert_int_equal(control_ask(&q, &reply, why), -EACCES);
    if (was_root)
        assert_int_equal(seteuid(0), 0);
    assert_non_null(strstr(why, "not permitted"));
}

static void test_memory_refused(void **state)
{
    UNUSED(state);
    script(CHUNKED);
    for (memfail_start(); memfail_next();) {
        int r = ask(10000);

        if (memfail_hit()) {
            assert_int_equal(r, ERR_NOMEM);
            assert_null(reply.body);
            continue;
        }
        assert_int_equal(r, 0);
        control_reply_done(&reply);
    }
}

/* ---- telling that it takes long ---- */

static char *told_after(unsigned ms)
{
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    script(SIZED);
    server.step = server.n;
    server.pause_ms = ms;
    assert_int_equal(ask_as("GET", 10000, f), 0);
    control_reply_done(&reply);
    fclose(f);
    return text;
}

static void test_tells(void **state)
{
    char *text = told_after(1200);

    UNUSED(state);
    assert_string_equal(text, "waiting for ginnel…\r\033[K");
    free(text);
    text = told_after(1);
    assert_string_equal(text, "");
    free(text);
}

/* ---- where ---- */

static void set_env(const char *runtime, const char *user)
{
    unsetenv("RUNTIME_DIRECTORY");
    unsetenv("XDG_RUNTIME_DIR");
    if (runtime)
        setenv("RUNTIME_DIRECTORY", runtime, 1);
    if (user)
        setenv("XDG_RUNTIME_DIR", user, 1);
}

static void as_nobody(bool nobody)
{
    if (getuid() == 0)
        assert_int_equal(seteuid(nobody ? 65534 : 0), 0);
}

static void test_default_path(void **state)
{
    char path[CONTROL_PATH];
    char long_dir[200] = "/";

    UNUSED(state);
    set_env("/run/a", "/run/user/1");
    assert_int_equal(control_default_path(path), 0);
    assert_string_equal(path, "/run/a/control.sock");
    set_env("/run/a:/run/b", NULL);
    assert_int_equal(control_default_path(path), 0);
    assert_string_equal(path, "/run/a/control.sock");
    memset(long_dir + 1, 'x', sizeof(long_dir) - 2);
    set_env(long_dir, NULL);
    assert_int_equal(control_default_path(path), ERR_LIMIT);
    as_nobody(true);
    set_env("", "/run/user/1");
    assert_int_equal(control_default_path(path), 0);
    assert_string_equal(path, "/run/user/1/ginnel/control.sock");
    set_env(NULL, NULL);
    assert_int_equal(control_default_path(path), ERR_NOTFOUND);
    set_env("relative", "relative");
    assert_int_equal(control_default_path(path), ERR_NOTFOUND);
    as_nobody(false);
    if (getuid() == 0) {
        set_env(NULL, "/run/user/0");
        assert_int_equal(control_default_path(path), 0);
        assert_string_equal(path, "/run/ginnel/control.sock");
    }
    set_env(NULL, NULL);
}

static void test_path(void **state)
{
    struct conf c = {.control = CONF_CONTROL_OFF};
    char path[CONTROL_PATH], written[] = "/srv/g.sock", long_path[300];

    UNUSED(state);
    set_env("/run/a", NULL);
    assert_int_equal(control_path(&c, path, why), ERR_STATE);
    assert_non_null(strstr(why, "control: off"));
    c.control = CONF_CONTROL_PATH;
    c.control_path = written;
    assert_int_equal(control_path(&c, path, why), 0);
    assert_string_equal(path, "/srv/g.sock");
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[0] = '/';
    long_path[sizeof(long_path) - 1] = '\0';
    c.control_path = long_path;
    assert_int_equal(control_path(&c, path, why), ERR_LIMIT);
    assert_non_null(strstr(why, "107 bytes"));
    c.control = CONF_CONTROL_DEFAULT;
    assert_int_equal(control_path(&c, path, why), 0);
    assert_string_equal(path, "/run/a/control.sock");
    assert_int_equal(control_path(NULL, path, why), 0);
    as_nobody(true);
    set_env(NULL, NULL);
    assert_int_equal(control_path(&c, path, why), ERR_NOTFOUND);
    assert_non_null(strstr(why, "control: unix:/path"));
    as_nobody(false);
}

#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_path),
        cmocka_unit_test(test_path),
        WITH_SERVER(test_sized),
        WITH_SERVER(test_chunked),
        WITH_SERVER(test_until_close),
        WITH_SERVER(test_what_is_asked),
        WITH_SERVER(test_empty_bodies),
        WITH_SERVER(test_other_statuses),
        WITH_SERVER(test_interim_answers),
        WITH_SERVER(test_one_byte_at_a_time),
        WITH_SERVER(test_answers_without_listening),
        WITH_SERVER(test_large),
        WITH_SERVER(test_closes_early),
        WITH_SERVER(test_garbage),
        WITH_SERVER(test_endless_interim_answers),
        WITH_SERVER(test_endless_head),
        WITH_SERVER(test_too_large),
        WITH_SERVER(test_stalls),
        WITH_SERVER(test_trickles),
        WITH_SERVER(test_queue_is_full),
        WITH_SERVER(test_nobody_there),
        WITH_SERVER(test_not_permitted),
        WITH_SERVER(test_memory_refused),
        WITH_SERVER(test_tells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
