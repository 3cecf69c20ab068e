/* SPDX-License-Identifier: MIT */
#include "io/program.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MANY = 300, WAIT_TURNS = 6000 };

static struct loop loop;
static pthread_t loop_thread;
static _Atomic unsigned n_done;
static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;
static char said[8192];

static void say(enum log_level level, const char *text)
{
    UNUSED(level);
    pthread_mutex_lock(&said_lock);
    snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s\n", text);
    pthread_mutex_unlock(&said_lock);
}

static bool was_said(const char *text)
{
    bool was;

    pthread_mutex_lock(&said_lock);
    was = strstr(said, text) != NULL;
    pthread_mutex_unlock(&said_lock);
    return was;
}

static bool is_answer(struct slice line)
{
    return line.n >= 2 && memcmp(line.p, "OK", 2) == 0;
}

static int setup(void **state)
{
    UNUSED(state);
    n_done = 0;
    said[0] = '\0';
    loop_thread = pthread_self();
    signal(SIGPIPE, SIG_IGN);
    return loop_init(&loop, &world_linux);
}

static int teardown(void **state)
{
    UNUSED(state);
    loop_done(&loop);
    return 0;
}

static void done(struct program_request *r)
{
    UNUSED(r);
    CHECK(pthread_equal(pthread_self(), loop_thread));
    atomic_fetch_add(&n_done, 1);
}

static struct program *start(const char *script, unsigned children, unsigned channels, uint64_t timeout_ms)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct program_opts o = {.argv = argv, .children = children, .channels = channels, .timeout_ms = timeout_ms, .queue_max = MANY,
                             .is_answer = is_answer, .say = say};
    struct program *p;

    assert_int_equal(program_new(&o, &p), 0);
    return p;
}

static void ask(struct program *p, struct program_request *r, const char *line)
{
    *r = (struct program_request){.done = done, .line = slice_str(line)};
    assert_int_equal(program_ask(p, &loop, r), 0);
}

static void turn_until(unsigned want)
{
    for (int i = 0; i < WAIT_TURNS && n_done < want; i++)
        loop_turn(&loop, 5);
    assert_int_equal(n_done, want);
}

static void assert_answer(const struct program_request *r, const char *want)
{
    if (!want) {
        assert_false(r->answered);
        return;
    }
    if (!r->answered || !slice_eq(slice_of(r->answer, r->answer_n), slice_str(want)))
        fail_msg("\"%.*s\" is not \"%s\" (%d)", (int)r->answer_n, r->answer, want, r->answered);
}

static void end(struct program *p)
{
    program_free(p);
    for (int i = 0; i < 3; i++)
        loop_turn(&loop, 0);
}

static void test_one(void **state)
{
    struct program *p = start("while read -r a b; do echo \"OK $b $a\"; done", 2, 0, 30000);
    struct program_request r[3];

    UNUSED(state);
    ask(p, &r[0], "john secret");
    turn_until(1);
    assert_answer(&r[0], "OK secret john");
    ask(p, &r[1], "a b");
    ask(p, &r[2], "c d");
    turn_until(3);
    assert_answer(&r[1], "OK b a");
    assert_answer(&r[2], "OK d c");
    assert_true(program_children(p) >= 1 && program_children(p) <= 2);
    end(p);
    assert_string_equal(said, "");
}

/* No more children than allowed, and each has one line at a time. */
static void test_many(void **state)
{
    static struct program_request r[MANY], over;
    struct program *p = start("while read -r a b; do echo \"OK $a\"; done", 3, 0, 30000);
    static char lines[MANY][16], want[16];

    UNUSED(state);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(lines[i], sizeof(lines[i]), "u%u p", i);
        ask(p, &r[i], lines[i]);
    }
    over = (struct program_request){.done = done, .line = SLICE("x y")};
    if (n_done == 0 && program_ask(p, &loop, &over) == 0)
        turn_until(MANY + 1); /* some were answered already */
    else
        turn_until(MANY);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(want, sizeof(want), "OK u%u", i);
        assert_answer(&r[i], want);
    }
    assert_true(program_children(p) <= 3);
    end(p);
}

static void test_channels_out_of_order(void **state)
{
    struct program *p = start("while read -r a x && read -r b y; do echo \"$b OK $y\"; echo \"$a OK $x\"; done", 1, 4, 30000);
    struct program_request r[4];

    UNUSED(state);
    ask(p, &r[0], "first");
    ask(p, &r[1], "second");
    ask(p, &r[2], "third");
    ask(p, &r[3], "fourth");
    turn_until(4);
    assert_answer(&r[0], "OK first");
    assert_answer(&r[1], "OK second");
    assert_answer(&r[2], "OK third");
    assert_answer(&r[3], "OK fourth");
    end(p);
}

/* The first child dies with the question; the next one answers it. Where each dies the question is asked twice. */
static void test_dies(void **state)
{
    char dir[] = "/tmp/ginnel-test-XXXXXX", script[256];
    struct program_request r[2];
    struct program *p;

    UNUSED(state);
    assert_non_null(mkdtemp(dir));
    snprintf(script, sizeof(script), "read -r a; if [ ! -e %s/x ]; then touch %s/x; exit 3; fi; echo \"OK $a\"; while read -r a; do echo OK; done", dir, dir);
    p = start(script, 1, 0, 30000);
    ask(p, &r[0], "hello");
    turn_until(1);
    assert_answer(&r[0], "OK hello");
    assert_true(was_said("exited with code 3"));
    end(p);
    snprintf(script, sizeof(script), "rm -r %s", dir);
    assert_int_equal(system(script), 0);

    p = start("read -r a; echo x >&2; exit 4", 1, 0, 30000);
    ask(p, &r[1], "hello");
    turn_until(2);
    assert_answer(&r[1], NULL);
    assert_true(was_said("says: x"));
    end(p);
}

static void test_hangs(void **state)
{
    struct program *p = start("trap '' TERM; read -r a; while :; do sleep 0.05; done", 1, 0, 200);
    struct program_request r[2];

    UNUSED(state);
    ask(p, &r[0], "hello");
    ask(p, &r[1], "waits");
    turn_until(2);
    assert_answer(&r[0], NULL);
    assert_answer(&r[1], NULL);
    assert_true(was_said("did not answer in time"));
    end(p);
}

/* A slow one beside quick ones: who is late is replaced, the others are asked again. */
static void test_one_channel_hangs(void **state)
{
    struct program *p = start("while read -r c w; do case $w in slow) ;; *) echo \"$c OK $w\";; esac; done", 1, 8, 400);
    struct program_request r[3];

    UNUSED(state);
    ask(p, &r[0], "slow");
    ask(p, &r[1], "quick");
    turn_until(1);
    assert_answer(&r[1], "OK quick");
    turn_until(2);
    assert_answer(&r[0], NULL);
    ask(p, &r[2], "after");
    turn_until(3);
    assert_answer(&r[2], "OK after");
    end(p);
}

/* What is no answer is none, is bounded, and is said in a form that a terminal survives (the log's sink escapes it). */
static void test_babbles(void **state)
{
    static const char *const scripts[] = {
        "while read -r a; do echo 'what is this'; done",
        "read -r a; head -c 100000 /dev/zero | tr '\\0' x; sleep 100",
        "while read -r a; do echo OK; echo OK unasked; done",
        "while :; do echo OK early; sleep 0.01; done",
        "read -r a; printf 'OK'; sleep 0.2; printf '\\377\\0\\1\\n'; read -r a",
        "while read -r a; do printf '\\n'; done",
    };
    struct program_request r;

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(scripts); i++) {
        struct program *p = start(scripts[i], 1, 0, 1000);

        n_done = 0;
        ask(p, &r, "hello");
        turn_until(1);
        if (r.answered)
            assert_true(r.answer_n >= 2 && r.answer_n <= PROGRAM_LINE_MAX);
        end(p);
    }
    assert_true(was_said("it said what is no answer: \"what is this\""));
    assert_true(was_said("xxxx"));
}

static void test_babbles_in_channels(void **state)
{
    static const char *const scripts[] = {
        "while read -r c a; do echo OK; done", "while read -r c a; do echo \"9 OK\"; done", "while read -r c a; do echo \"-1 OK\"; done",
        "while read -r c a; do echo \"99999999999 OK\"; done", "while read -r c a; do echo \"$c nonsense\"; done"};
    struct program_request r;

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(scripts); i++) {
        struct program *p = start(scripts[i], 1, 4, 500);

        n_done = 0;
        ask(p, &r, "hello");
        turn_until(1);
        assert_answer(&r, NULL);
        end(p);
    }
}

static void test_is_not_there(void **state)
{
    const char *const argv[] = {"/nonexistent/program", NULL};
    struct program_opts o = {.argv = argv, .children = 2, .timeout_ms = 300, .queue_max = 4, .is_answer = is_answer, .say = say};
    struct program_request r;
    struct program *p;

    UNUSED(state);
    assert_int_equal(program_new(&o, &p), 0);
    ask(p, &r, "hello");
    turn_until(1);
    assert_answer(&r, NULL);
    assert_true(was_said("cannot be started"));
    end(p);
}

static void test_lines_that_cannot_be_asked(void **state)
{
    static char line[PROGRAM_LINE_MAX + 1];
    struct program *p = start("while read -r a; do echo OK; done", 1, 0, 30000);
    struct program_request r = {.done = done, .line = SLICE("a\nb")};

    UNUSED(state);
    assert_int_equal(program_ask(p, &loop, &r), ERR_RANGE);
    memset(line, 'x', sizeof(line));
    r.line = slice_of(line, sizeof(line));
    assert_int_equal(program_ask(p, &loop, &r), ERR_RANGE);
    r.line = slice_of(line, PROGRAM_LINE_MAX - 8);
    assert_int_equal(program_ask(p, &loop, &r), 0);
    turn_until(1);
    assert_answer(&r, "OK");
    end(p);
}

/* It has three descriptors, whatever is open here, and none of what the service manager told us. */
static void test_inherits_nothing(void **state)
{
    struct program_request r;
    struct program *p;
    int open_here[2];

    UNUSED(state);
    assert_int_equal(pipe(open_here), 0); /* not close-on-exec */
    setenv("NOTIFY_SOCKET", "/run/x", 1);
    p = start("read -r a; for f in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do [ -e /proc/$$/fd/$f ] && x=\"$x $f\"; done; echo \"OK$x $NOTIFY_SOCKET.\"; read -r a",
              1, 0, 30000);
    ask(p, &r, "hello");
    turn_until(1);
    assert_answer(&r, "OK 0 1 2 .");
    unsetenv("NOTIFY_SOCKET");
    end(p);
    close(open_here[0]);
    close(open_here[1]);
}

static unsigned n_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Requests that are out when it ends are answered as not answered; one that does not end by itself is killed; nothing is left open. */
static void test_ends(void **state)
{
    unsigned before = n_descriptors();
    struct program *p = start("trap '' TERM; while :; do sleep 0.05; done", 2, 0, 60000);
    struct program_request r[3], late = {.line = SLICE("late")};

    UNUSED(state);
    ask(p, &r[0], "a");
    ask(p, &r[1], "b");
    ask(p, &r[2], "c");
    usleep(50000);
    assert_int_equal(n_done, 0);
    program_stop(p);
    assert_int_equal(program_ask(p, &loop, &late), ERR_LIMIT);
    program_free(p);
    turn_until(3);
    for (unsigned i = 0; i < 3; i++)
        assert_answer(&r[i], NULL);
    assert_int_equal(n_descriptors(), before);
}

static void test_memory(void **state)
{
    const char *const argv[] = {"/bin/true", "x", NULL};
    struct program_opts o = {.argv = argv, .children = 2, .channels = 3, .timeout_ms = 300, .queue_max = 4, .is_answer = is_answer, .say = say};

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct program *p = NULL;
        int r = program_new(&o, &p);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        program_free(p);
    }
}

static void test_channel(void **state)
{
    struct slice rest;
    unsigned c;

    UNUSED(state);
    assert_true(program_channel(SLICE("0 OK"), 1, &c, &rest));
    assert_int_equal(c, 0);
    assert_int_equal(rest.n, 2);
    assert_true(program_channel(SLICE("999 "), 1000, &c, &rest));
    assert_false(program_channel(SLICE("1000 OK"), 1000, &c, &rest));
    assert_false(program_channel(SLICE("OK"), 1000, &c, &rest));
    assert_false(program_channel(SLICE(" OK"), 1000, &c, &rest));
    assert_false(program_channel(SLICE("1"), 1000, &c, &rest));
    assert_false(program_channel(SLICE(""), 1000, &c, &rest));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_channel), TEST(test_one), TEST(test_many), TEST(test_channels_out_of_order), TEST(test_dies), TEST(test_hangs),
        TEST(test_one_channel_hangs), TEST(test_babbles), TEST(test_babbles_in_channels), TEST(test_is_not_there),
        TEST(test_lines_that_cannot_be_asked), TEST(test_inherits_nothing), TEST(test_ends), TEST(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
