/* SPDX-License-Identifier: MIT */
/* The log as a whole: what workers put comes out of the right outputs, once, whatever the others
 * do. */
#include "proxy/access.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "proxy/access_entry.h"
#include "proxy/access_format.h"
#include "support/memfail.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/access_record.h"
#include "support/net.h"

enum { IDS = 400000 };

static struct access_log *access_log;
static struct access_shard *shard;
static int diag;
static char dir[] = "/tmp/ginnel-test-XXXXXX";
static char path[64], second[64];
static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;
static char said[8192];
static uint8_t seen[IDS];
static struct access_output *kept[10000]; /* outlive a test that fails */
static unsigned n_kept;

static void note(enum log_level level, const char *text, size_t n)
{
    UNUSED(level);
    pthread_mutex_lock(&said_lock);
    if (strlen(said) + n + 2 < sizeof(said)) {
        strncat(said, text, n);
        strcat(said, "\n");
    }
    pthread_mutex_unlock(&said_lock);
}

static bool was_said(const char *text)
{
    bool yes;

    pthread_mutex_lock(&said_lock);
    yes = strstr(said, text) != NULL;
    pthread_mutex_unlock(&said_lock);
    return yes;
}

static int setup(void **state)
{
    UNUSED(state);
    net_begin();
    said[0] = '\0';
    log_set_sink(note);
    memset(seen, 0, sizeof(seen));
    memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    snprintf(second, sizeof(second), "%s/second", dir);
    diag = memfd_create("diagnostics", MFD_CLOEXEC);
    access_log = access_new(diag);
    assert_non_null(access_log);
    shard = access_shard_new(access_log, &net_loop);
    assert_non_null(shard);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    net_turns(1); /* the shard may be in the loop's list */
    access_free(access_log);
    access_free(NULL);
    while (n_kept)
        free(kept[--n_kept]);
    log_set_sink(NULL);
    close(diag);
    unlink(path);
    unlink(second);
    assert_int_equal(rmdir(dir), 0);
    net_end();
    return 0;
}

/* ---- small things ---- */

static struct access_output to_file(const char *name)
{
    return (struct access_output){
        .sink = ACCESS_FILE, .path = name, .layout = ACCESS_JSON, .place = "test:1"};
}

static void use(const struct access_output *v, unsigned n)
{
    struct access_output *copy = malloc(n * sizeof(*v));
    struct access_set *set;
    unsigned failed;

    assert_true(n_kept < ARRAY_LEN(kept));
    kept[n_kept++] = copy;
    memcpy(copy, v, n * sizeof(*v));
    assert_int_equal(access_open(copy, n, &set, &failed), 0);
    access_switch(access_log, set);
}

static void put_id(uint64_t id)
{
    struct access_record r = record_get();

    r.id = id;
    assert_true(access_put(shard, &r, RECORD_NOW_US));
}

static off_t size_of(const char *name)
{
    struct stat st;

    return stat(name, &st) == 0 ? st.st_size : 0;
}

#define UNTIL(cond)                                                                                \
    do {                                                                                           \
        uint64_t give_up_ = net_real_ms() + NET_PATIENCE_MS;                                       \
        while (!(cond)) {                                                                          \
            if (net_real_ms() > give_up_)                                                          \
                fail_msg("waited in vain for: %s", #cond);                                         \
            net_sleep_ms(1);                                                                       \
        }                                                                                          \
    } while (0)

/* Every line is whole; notes its id. Returns how many lines there are. */
static unsigned read_lines(const char *name)
{
    static char line[ACCESS_LINE_MAX];
    FILE *f = fopen(name, "re");
    unsigned n = 0;

    if (!f)
        return 0;
    for (; fgets(line, sizeof(line), f); n++) {
        const char *at = strstr(line, "\"ginnel.id\":\"");
        size_t length = strlen(line);
        unsigned long long id;

        assert_memory_equal(line, "{\"time\":\"", 9);
        assert_string_equal(line + length - 2, "}\n");
        assert_non_null(at);
        assert_null(strstr(at + 1, "\"ginnel.id\":\""));
        assert_int_equal(sscanf(at + 13, "%16llx", &id), 1);
        assert_in_range(id, 0, IDS - 1);
        seen[id]++;
    }
    fclose(f);
    return n;
}

static unsigned count_lines(const char *name)
{
    FILE *f = fopen(name, "re");
    unsigned n = 0;
    int c;

    while (f && (c = getc_unlocked(f)) != EOF)
        n += c == '\n';
    if (f)
        fclose(f);
    return n;
}

static void expect_each_once(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (seen[i] != 1)
            fail_msg("record %u came %u times", i, seen[i]);
}

/* ---- entries ---- */

/* What goes into a ring comes out, also around its end; what has no room leaves no trace. */
static void test_entries(void **state)
{
    static char scratch[ACCESS_ENTRY_MAX] __attribute__((aligned(8)));
    static char text[4096];
    struct ring_bytes ring;
    unsigned put = 0, got = 0;

    UNUSED(state);
    assert_int_equal(ring_bytes_init(&ring, 16384), 0);
    memset(text, 'x', sizeof(text));
    while (got < 2000) {
        struct access_record r = record_get(), back;
        struct access_entry e;
        uint64_t now_us;

        r.id = put;
        r.path = slice_of(text, put * 37 % sizeof(text));
        r.detail = slice_of(text, put % 100);
        r.agent = SLICE_NONE;
        if (access_entry_put(&ring, &r, put + 5)) {
            put++;
            continue;
        }
        assert_false(access_entry_put(&ring, &r, put + 5));
        for (unsigned i = 0; i < 1 + got % 5 && access_entry_next(&ring, scratch, &e); i++) {
            access_entry_record(&e, &back, &now_us);
            assert_int_equal(back.id, got);
            assert_int_equal(now_us, got + 5);
            assert_int_equal(back.path.n, min_size(got * 37 % sizeof(text), ACCESS_PATH_MAX));
            assert_memory_equal(back.path.p, text, back.path.n);
            assert_int_equal(back.detail.n, got % 100);
            assert_int_equal(back.agent.n, 0);
            assert_true(slice_eq(back.method, SLICE("GET")));
            assert_true(slice_eq(back.host, SLICE("example.org")));
            assert_true(slice_eq(back.listener, SLICE("main")));
            assert_true(addr_eq(&back.peer, &r.peer));
            access_entry_drop(&ring, &e);
            got++;
        }
    }
    ring_bytes_done(&ring);
}

static void test_text_entries(void **state)
{
    static char scratch[ACCESS_ENTRY_MAX] __attribute__((aligned(8)));
    static char text[ACCESS_LINE_MAX + 1];
    struct ring_bytes ring;
    struct access_entry e;

    UNUSED(state);
    assert_int_equal(ring_bytes_init(&ring, 16384), 0);
    for (size_t n = 0; n <= ACCESS_LINE_MAX; n += 61) {
        memset(text, 'a' + (int)(n % 26), n);
        assert_true(access_entry_put_text(&ring, text, n));
        assert_true(access_entry_next(&ring, scratch, &e));
        assert_true(slice_eq(access_entry_text(&e), slice_of(text, n)));
        access_entry_drop(&ring, &e);
        assert_false(access_entry_next(&ring, scratch, &e));
    }
    assert_false(access_entry_put_text(&ring, text, ACCESS_LINE_MAX + 1));
    ring_bytes_done(&ring);
}

/* ---- putting ---- */

static void test_put(void **state)
{
    struct access_output out = to_file(path);
    struct access_record r = record_get();
    static char want[ACCESS_LINE_MAX], got[ACCESS_LINE_MAX];
    size_t n = access_format(ACCESS_JSON, &r, RECORD_NOW_US, want, sizeof(want));
    int fd;

    UNUSED(state);
    use(&out, 1);
    assert_true(access_put(shard, &r, RECORD_NOW_US));
    net_turns(1);
    UNTIL(size_of(path) == (off_t)n);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, got, sizeof(got)), n);
    close(fd);
    assert_memory_equal(got, want, n);
    UNTIL(access_counts(access_log).written == 1);
}

/* Without outputs records go nowhere, and the log lives. */
static void test_no_outputs(void **state)
{
    UNUSED(state);
    for (int i = 0; i < 10000; i++) {
        struct access_record r = record_get();

        access_put(shard, &r, RECORD_NOW_US);
    }
    net_turns(1);
    access_switch(access_log, NULL);
    assert_true(access_say(access_log, "alive\n", 6));
    UNTIL(lseek(diag, 0, SEEK_END) == 6);
    assert_int_equal(access_counts(access_log).written, 0);
}

/* It sleeps, and every turn that put something wakes it: no line is left lying. */
static void test_sleeps_and_wakes(void **state)
{
    struct access_output out = to_file(path);

    UNUSED(state);
    use(&out, 1);
    for (unsigned i = 0; i < 60; i++) {
        put_id(i);
        net_turns(1);
        if (i % 5 == 0)
            UNTIL(access_counts(access_log).written == i + 1);
        if (i % 20 == 0)
            net_sleep_ms(30);
    }
    UNTIL(access_counts(access_log).written == 60);
    assert_int_equal(read_lines(path), 60);
    expect_each_once(60);
}

/* How often the log's thread has gone to wait. */
static unsigned long waits(void)
{
    DIR *d = opendir("/proc/self/task");
    struct dirent *e;
    unsigned long n = ULONG_MAX;

    assert_non_null(d);
    while ((e = readdir(d))) {
        char name[300], line[128];
        bool ours = false;
        FILE *f;

        snprintf(name, sizeof(name), "/proc/self/task/%s/status", e->d_name);
        f = fopen(name, "re");
        while (f && fgets(line, sizeof(line), f)) {
            ours |= strcmp(line, "Name:\tginnel-log\n") == 0;
            if (ours)
                sscanf(line, "voluntary_ctxt_switches: %lu", &n);
        }
        if (f)
            fclose(f);
    }
    closedir(d);
    assert_int_not_equal(n, ULONG_MAX);
    return n;
}

/* U62: a quiet log does not run at all; a busy one a few times a second, however many records there
 * are. */
static void test_rarely_awake(void **state)
{
    struct access_output out = to_file(path);
    unsigned long before;
    uint64_t t0, t;

    UNUSED(state);
    use(&out, 1);
    put_id(0);
    net_turns(1);
    net_sleep_ms(200);
    before = waits();
    net_sleep_ms(300);
    assert_int_equal(waits(), before);
    t0 = net_real_ms();
    for (unsigned i = 1; (t = net_real_ms()) < t0 + 300 && i < IDS; i++) {
        if (i % 20 == 0)
            net_sleep_ms(1);
        put_id(i);
        net_turns(1);
    }
    /* A wait a batch, and one or two to write. */
    assert_in_range(waits() - before, 1, 4 * ((t - t0) / ACCESS_BATCH_MS + 2));
}

/* A ring that is half full wakes it without the end of a turn. */
static void test_half_full_wakes(void **state)
{
    struct access_output out = to_file(path);
    unsigned i;

    UNUSED(state);
    use(&out, 1);
    for (i = 0; i < ACCESS_RING / 2 / sizeof(struct access_record) + 2; i++)
        put_id(i); /* no turn */
    UNTIL(size_of(path) > 0);
    net_turns(1);
    UNTIL(access_counts(access_log).written == i);
}

static void test_say(void **state)
{
    static char text[ACCESS_LINE_MAX + 1];
    uint64_t t0 = net_real_ms();

    UNUSED(state);
    assert_true(access_say(access_log, "hello\n", 6));
    UNTIL(lseek(diag, 0, SEEK_END) == 6);
    assert_in_range(net_real_ms() - t0, 0, 1000);
    assert_true(access_say(access_log, "no end", 6)); /* gets one */
    UNTIL(lseek(diag, 0, SEEK_END) == 13);
    assert_true(access_say(access_log, "", 0));
    memset(text, 'x', sizeof(text));
    assert_true(access_say(access_log, text, ACCESS_LINE_MAX));
    assert_false(access_say(access_log, text, ACCESS_LINE_MAX + 1));
    UNTIL(lseek(diag, 0, SEEK_END) == 13 + ACCESS_LINE_MAX);
    assert_int_equal(pread(diag, text, 2, 13 + ACCESS_LINE_MAX - 2), 2);
    assert_memory_equal(text, "x\n", 2);
}

static void test_what_is_left_is_written_at_the_end(void **state)
{
    struct access_output out = to_file(path);

    UNUSED(state);
    use(&out, 1);
    for (unsigned i = 0; i < 500; i++)
        put_id(i);
    assert_true(access_say(access_log, "bye\n", 4));
    net_turns(1);
    access_free(access_log);
    access_log = NULL;
    assert_int_equal(read_lines(path), 500);
    expect_each_once(500);
    assert_int_equal(lseek(diag, 0, SEEK_END), 4);
}

/* Whatever the rings held, and more than a buffer holds, goes to a reader that reads. */
static void *slow_reader(void *arg)
{
    int *fd = arg;
    static char buf[4096];
    size_t lines = 0;
    ssize_t n;

    net_sleep_ms(100);
    while ((n = read(*fd, buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i++)
            lines += buf[i] == '\n';
    return (void *)lines;
}

static void test_the_end_waits_for_a_reader(void **state)
{
    enum { PUTS = 300 }; /* less than half a ring, more than pipe and buffer hold */
    static char long_path[1000];
    static struct loop loop;
    struct access_output out = to_file(path);
    struct access_shard *s;
    pthread_t reader;
    void *lines;
    int fd;

    UNUSED(state);
    assert_int_equal(loop_init(&loop, &world_linux), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    use(&out, 1);
    net_sleep_ms(200); /* it is asleep */
    s = access_shard_new(access_log, &loop);
    memset(long_path, 'p', sizeof(long_path));
    for (unsigned i = 0; i < PUTS; i++) {
        struct access_record r = record_get();

        r.path = slice_of(long_path, sizeof(long_path));
        assert_true(
            access_put(s, &r, RECORD_NOW_US)); /* its loop never turns: nothing is written yet */
    }
    assert_int_equal(pthread_create(&reader, NULL, slow_reader, &fd), 0);
    access_free(access_log);
    access_log = NULL;
    pthread_join(reader, &lines);
    assert_int_equal((size_t)lines, PUTS);
    close(fd);
    loop_done(&loop);
}

static void test_stuck_at_the_end(void **state)
{
    struct access_output out[2] = {to_file(path), to_file(second)};
    uint64_t t0;
    int fd;

    UNUSED(state);
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    use(out, 2);
    for (unsigned i = 0; i < 1000; i++)
        put_id(i);
    t0 = net_real_ms();
    net_turns(1);
    access_free(access_log);
    access_log = NULL;
    assert_in_range(net_real_ms() - t0, 0, 4000); /* given up after a second */
    assert_int_equal(read_lines(second), 1000);
    expect_each_once(1000);
    close(fd);
}

/* ---- selecting ---- */

static void test_events(void **state)
{
    char third[80];
    struct access_output out[3] = {to_file(path), to_file(second), {0}};

    UNUSED(state);
    snprintf(third, sizeof(third), "%s/third", dir);
    out[2] = to_file(third);
    out[1].tunnels = ACCESS_AT_BOTH;
    out[2].tunnels = ACCESS_EVERY;
    use(out, 3);
    for (unsigned i = 0; i < 3; i++) {
        struct access_record r = record_tunnel();

        r.id = i;
        r.event = i == 0 ? ACCESS_BEGIN : i == 1 ? ACCESS_STILL : ACCESS_END;
        r.end = i == 2 ? END_TUNNEL_DONE : END_NONE;
        assert_true(access_put(shard, &r, RECORD_NOW_US));
    }
    net_turns(1);
    UNTIL(access_counts(access_log).written == 6);
    assert_int_equal(read_lines(path), 1);
    assert_true(seen[0] == 0 && seen[1] == 0 && seen[2] == 1);
    assert_int_equal(read_lines(second), 2);
    assert_true(seen[0] == 1 && seen[1] == 0 && seen[2] == 2);
    assert_int_equal(read_lines(third), 3);
    assert_true(seen[0] == 2 && seen[1] == 1 && seen[2] == 3);
    unlink(third);
}

/* Any of the matchers; its facts come from the record. */
static void test_where(void **state)
{
    struct slice listeners[] = {SLICE("main")}, methods[] = {SLICE("POST")},
                 deep = SLICE("/deep/");
    struct matcher_text paths[] = {{.text = deep}};
    struct matcher_ports ports[] = {{8000, 8079}};
    struct addr_range ranges[2];
    struct matcher where[6] = {0};
    struct access_output out = to_file(path);
    struct access_record r = record_get();

    UNUSED(state);
    where[0].listeners = listeners;
    where[0].n_listeners = 1;
    where[0].methods = methods;
    where[0].n_methods = 1;
    where[1].ports = ports;
    where[1].n_ports = 1;
    where[2].paths = paths;
    where[2].n_paths = 1;
    where[3].schemes = MATCH_CONNECT;
    where[4].has_from = true;
    where[5].has_to = true;
    assert_int_equal(addr_range_parse(SLICE("198.51.100.0/24"), &ranges[0]), 0);
    assert_int_equal(addr_range_parse(SLICE("203.0.113.0/24"), &ranges[1]), 0);
    assert_int_equal(ranges_build(&ranges[0], 1, &where[4].from), 0);
    assert_int_equal(ranges_build(&ranges[1], 1, &where[5].to), 0);
    out.where = where;
    out.n_where = ARRAY_LEN(where);
    use(&out, 1);

    r.id = 0; /* nothing of these holds */
    assert_true(access_put(shard, &r, RECORD_NOW_US));
    r.id = 1;
    r.method = SLICE("POST");
    assert_true(access_put(shard, &r, RECORD_NOW_US));
    r.id = 2; /* one word of two */
    r.listener = SLICE("other");
    assert_true(access_put(shard, &r, RECORD_NOW_US));
    r.id = 3;
    r.port = 8079;
    assert_true(access_put(shard, &r, RECORD_NOW_US));
    r = record_get();
    r.id = 4;
    r.path = SLICE("/deep/er");
    assert_true(access_put(shard, &r, RECORD_NOW_US));
    r = record_tunnel();
    r.id = 5;
    assert_true(access_put(shard, &r, RECORD_NOW_US));
    r = record_get();
    r.id = 6;
    assert_int_equal(addr_parse(SLICE("198.51.100.7:1"), &r.client), 0);
    assert_true(access_put(shard, &r, RECORD_NOW_US));
    r = record_get();
    r.id = 7;
    assert_int_equal(addr_parse(SLICE("203.0.113.7:1"), &r.peer), 0);
    assert_true(access_put(shard, &r, RECORD_NOW_US));
    r = record_get();
    r.id = 8; /* a Unix socket's client is in no range; nothing was dialled */
    r.client = (struct addr){.sa.sa_family = AF_UNIX};
    r.peer = (struct addr){0};
    assert_true(access_put(shard, &r, RECORD_NOW_US));
    net_turns(1);
    UNTIL(access_counts(access_log).written == 6);
    access_switch(access_log, NULL);
    assert_int_equal(read_lines(path), 6);
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(seen[i], i == 1 || (i >= 3 && i <= 7));
    ranges_done(&where[4].from);
    ranges_done(&where[5].to);
}

static void test_layouts_side_by_side(void **state)
{
    struct access_output out[2] = {to_file(path), to_file(second)};
    char got[512] = {0};
    FILE *f;

    UNUSED(state);
    out[1].layout = ACCESS_SQUID;
    use(out, 2);
    put_id(7);
    net_turns(1);
    UNTIL(access_counts(access_log).written == 2);
    assert_int_equal(read_lines(path), 1);
    assert_int_equal(seen[7], 1);
    f = fopen(second, "re");
    assert_non_null(fgets(got, sizeof(got), f));
    fclose(f);
    assert_non_null(strstr(got, " TCP_MISS/200 3656 GET http://example.org:8080/a/b - "));
}

/* ---- outputs that fail ---- */

/* A stuck pipe loses its own lines, and nothing else; it is said, and counted; its lines are whole
 * when it is read again. */
static void test_stuck_pipe_beside_a_file(void **state)
{
    struct access_output out[2] = {to_file(path), to_file(second)};
    static char got[65536];
    unsigned n, lines = 0;
    uint64_t t0 = net_real_ms(), lost;
    char last = '\n';
    int fd;

    UNUSED(state);
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    use(out, 2);
    for (n = 0; n < 3000; n++) {
        put_id(n);
        net_turns(1);
        if (n % 500 == 499)
            UNTIL(access_counts(access_log).written >= n + 1 - 200);
    }
    UNTIL(size_of(second) > 0 && access_counts(access_log).lost > 0);
    assert_in_range(net_real_ms() - t0, 0, 4000);
    assert_true(was_said("it takes nothing; records are lost"));
    assert_int_equal(access_counts(access_log).failing, 1);
    UNTIL(read_lines(second) == n); /* or a busy machine has not written them when the switch has waited for its second */
    access_switch(access_log, NULL); /* not waited for longer than a second */
    memset(seen, 0, sizeof(seen));
    assert_int_equal(read_lines(second), n);
    expect_each_once(n);
    lost = access_counts(access_log).lost;
    for (;;) {
        ssize_t r = read(fd, got, sizeof(got));

        if (r <= 0)
            break;
        for (ssize_t i = 0; i < r; i++) {
            if (last == '\n')
                assert_int_equal(got[i], '{');
            last = got[i];
            lines += last == '\n';
        }
    }
    assert_int_equal(lines + lost, n);
    assert_int_equal(access_counts(access_log).written, n + lines);
    close(fd);
}

/* It is read again: that is said, with the number. */
static void test_stuck_pipe_recovers(void **state)
{
    struct access_output out = to_file(path);
    static char got[65536];
    unsigned n = 0;
    int fd;

    UNUSED(state);
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    use(&out, 1);
    while (access_counts(access_log).lost == 0) {
        struct access_record r = record_get();

        access_put(shard, &r, RECORD_NOW_US);
        assert_true(n++ < IDS);
        if (n % 500 == 0)
            net_turns(1);
    }
    while (!was_said("can be written again; ")) {
        ssize_t r = read(fd, got, sizeof(got));

        if (r < 0)
            net_sleep_ms(1);
    }
    /* More may be waiting than a pipe holds. */
    for (unsigned i = 0; access_counts(access_log).failing && i < 10000; i++)
        if (read(fd, got, sizeof(got)) < 0)
            net_sleep_ms(1);
    assert_int_equal(access_counts(access_log).failing, 0);
    close(fd);
}

/* S003-3 and the like are worth nothing when the disk is full; the others go on. */
static void test_disk_full_beside_a_file(void **state)
{
    struct access_output out[2] = {to_file("/dev/full"), to_file(path)};

    UNUSED(state);
    use(out, 2);
    for (unsigned i = 0; i < 100; i++) {
        put_id(i);
        net_turns(1);
    }
    UNTIL(access_counts(access_log).failing == 1 && access_counts(access_log).written == 100);
    assert_true(was_said(
        "cannot write the access log /dev/full: No space left on device; records are lost\n"));
    assert_int_equal(read_lines(path), 100);
    expect_each_once(100);
    access_switch(access_log, NULL);
    assert_int_equal(access_counts(access_log).lost, 100);
    assert_int_equal(access_counts(access_log).failing, 0);
}

/* The diagnostics' descriptor takes nothing: lines are dropped, nobody waits. */
static void test_stuck_diagnostics(void **state)
{
    struct access_output out = to_file(path);
    struct access_log *own = access_log;
    struct access_shard *own_shard = shard;
    uint64_t t0 = net_real_ms();
    char text[1000];
    int two[2];

    UNUSED(state);
    assert_int_equal(pipe2(two, O_CLOEXEC), 0); /* it would block */
    access_log = access_new(two[1]);
    shard = access_shard_new(access_log, &net_loop);
    use(&out, 1);
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\n';
    for (unsigned i = 0; i < 1000; i++) {
        access_say(access_log, text, sizeof(text));
        put_id(i);
        net_turns(1);
        if (i % 50 == 0)
            net_sleep_ms(2);
    }
    UNTIL(access_counts(access_log).written == 1000);
    net_turns(1);
    access_free(access_log);
    assert_in_range(net_real_ms() - t0, 0, 5000);
    access_log = own;
    shard = own_shard;
    close(two[0]);
    close(two[1]);
    assert_int_equal(read_lines(path), 1000);
    expect_each_once(1000);
}

/* ---- opening ---- */

static void test_open_all_or_nothing(void **state)
{
    struct access_output out[3] = {to_file(path), to_file("/nonexistent/log"), to_file(second)};
    int before = net_fds();
    struct access_set *set = NULL;
    unsigned failed = 99;

    UNUSED(state);
    assert_int_equal(access_open(out, 3, &set, &failed), -ENOENT);
    assert_int_equal(failed, 1);
    assert_null(set);
    assert_int_equal(net_fds(), before);
    assert_int_equal(access_open(out, 1, &set, &failed), 0);
    access_close(set);
    access_close(NULL);
    assert_int_equal(net_fds(), before);
    assert_int_equal(access_open(NULL, 0, &set, &failed), 0);
    access_switch(access_log, set);
}

static void test_every_allocation_fails(void **state)
{
    struct access_output out[2] = {to_file(path), to_file(second)};
    int before = net_fds();

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct access_log *a = access_new(diag);
        struct access_shard *s = a ? access_shard_new(a, &net_loop) : NULL;
        struct access_set *set;
        unsigned failed;
        int r = s ? access_open(out, 2, &set, &failed) : ERR_NOMEM;

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        if (r == 0)
            access_switch(a, set);
        access_free(a);
        assert_int_equal(net_fds(), before);
    }
}

static void test_many_shards(void **state)
{
    struct access_shard *s;
    int n = 1;

    UNUSED(state);
    while ((s = access_shard_new(access_log, &net_loop)))
        n++;
    assert_in_range(n, 65, 100); /* the workers and the house */
}

/* ---- switching and reopening while records come ---- */

struct putter {
    pthread_t thread;
    struct access_log *log;
    unsigned from, n;
    _Atomic bool done;
};

/* A worker: its own loop and shard. */
static void *storm(void *arg)
{
    struct putter *p = arg;
    struct loop *loop = calloc(1, sizeof(*loop));
    struct access_shard *s;

    CHECK(loop && loop_init(loop, &world_linux) == 0);
    s = access_shard_new(p->log, loop);
    CHECK(s);
    for (unsigned i = 0; i < p->n; i++) {
        struct access_record r = record_get();

        r.id = p->from + i;
        while (!access_put(s, &r, RECORD_NOW_US)) {
            loop_turn(loop, 0);
            net_sleep_ms(1);
        }
        if (i % 8 == 0)
            loop_turn(loop, 0);
        if (i % 64 == 0)
            net_sleep_ms(1);
    }
    loop_turn(loop, 0);
    loop_done(loop);
    free(loop);
    atomic_store(&p->done, true);
    return NULL;
}

static void start(struct putter *p, unsigned from, unsigned n)
{
    *p = (struct putter){.log = access_log, .from = from, .n = n};
    assert_int_equal(pthread_create(&p->thread, NULL, storm, p), 0);
}

/* logrotate: rename, then USR1. No line is lost, none comes twice, none is cut. */
static void test_rotation(void **state)
{
    struct access_output out = to_file(path);
    struct putter p;
    unsigned turns = 0, lines = 0;
    char old[80];

    UNUSED(state);
    use(&out, 1);
    start(&p, 0, 20000);
    while (!atomic_load(&p.done)) {
        snprintf(old, sizeof(old), "%s.%u", path, turns);
        if (turns < 500 && rename(path, old) == 0)
            turns++;
        access_reopen(access_log);
        net_sleep_ms(2);
    }
    pthread_join(p.thread, NULL);
    UNTIL(access_counts(access_log).written == 20000);
    access_switch(access_log, NULL);
    assert_true(turns > 0);
    for (unsigned i = 0; i < turns; i++) {
        snprintf(old, sizeof(old), "%s.%u", path, i);
        lines += read_lines(old);
        unlink(old);
    }
    lines += read_lines(path);
    assert_int_equal(lines, 20000);
    expect_each_once(20000);
    assert_int_equal(access_counts(access_log).lost, 0);
}

static void test_reopen_fails(void **state)
{
    struct access_output out;
    char sub[80], name[128], moved[96];

    UNUSED(state);
    snprintf(sub, sizeof(sub), "%s/sub", dir);
    snprintf(name, sizeof(name), "%s/log", sub);
    snprintf(moved, sizeof(moved), "%s/moved", dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    out = to_file(name);
    use(&out, 1);
    assert_int_equal(rename(sub, moved), 0);
    access_reopen(access_log);
    UNTIL(was_said("anew: No such file or directory; the old one is used on"));
    put_id(0);
    net_turns(1);
    UNTIL(access_counts(access_log).written == 1);
    snprintf(name, sizeof(name), "%s/log", moved);
    assert_int_equal(read_lines(name), 1);
    unlink(name);
    rmdir(moved);
}

/* Reloads at full speed. The file that every set has misses nothing; each of the others gets what
 * came in its time. */
static void test_switch_storm(void **state)
{
    struct access_output out[2] = {to_file(path), to_file(second)};
    struct putter p[3];
    unsigned switches = 0;

    UNUSED(state);
    use(out, 1);
    for (unsigned i = 0; i < 3; i++)
        start(&p[i], i * 5000, 5000);
    while (switches < 20 || !atomic_load(&p[0].done) || !atomic_load(&p[1].done) ||
           !atomic_load(&p[2].done)) {
        use(out, 1 + switches % 2);
        switches++;
        if (switches % 3 == 0)
            access_reopen(access_log);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(p[i].thread, NULL);
    UNTIL(count_lines(path) >= 15000);
    access_switch(access_log, NULL);
    assert_int_equal(read_lines(path), 15000);
    expect_each_once(15000);
    memset(seen, 0, sizeof(seen));
    assert_in_range(read_lines(second), 0, 15000);
    for (unsigned i = 0; i < 15000; i++)
        assert_in_range(seen[i], 0, 1);
    assert_int_equal(access_counts(access_log).lost, 0);
}

/* Nothing of the old outputs is in use once access_switch has returned: their strings and matchers
 * may go. */
static void test_switch_lets_go(void **state)
{
    struct putter p;

    UNUSED(state);
    start(&p, 0, 3000);
    while (!atomic_load(&p.done)) {
        struct access_output *out = malloc(sizeof(*out));
        char *name = strdup(path);
        struct access_set *set;
        unsigned failed;

        *out = to_file(name);
        assert_int_equal(access_open(out, 1, &set, &failed), 0);
        access_switch(access_log, set);
        access_reopen(access_log);
        net_sleep_ms(1);
        access_switch(access_log, NULL);
        free(name);
        free(out);
    }
    pthread_join(p.thread, NULL);
}

/* As many workers as there can be, while others read the counters and say things. */
static void test_all_shards_at_once(void **state)
{
    enum { WORKERS = 64, EACH = 300 };
    struct access_output out[2] = {to_file(path), to_file(second)};
    static struct putter p[WORKERS];
    bool done = false;

    UNUSED(state);
    out[1].layout = ACCESS_COMBINED;
    use(out, 2);
    for (unsigned i = 0; i < WORKERS; i++)
        start(&p[i], i * EACH, EACH);
    while (!done) {
        done = true;
        for (unsigned i = 0; i < WORKERS; i++)
            done &= atomic_load(&p[i].done);
        assert_true(access_counts(access_log).written <= 2 * WORKERS * EACH);
        access_say(access_log, "still here\n", 11);
        net_sleep_ms(2);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(p[i].thread, NULL);
    UNTIL(access_counts(access_log).written == 2 * WORKERS * EACH);
    assert_int_equal(read_lines(path), WORKERS * EACH);
    expect_each_once(WORKERS * EACH);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_text_entries),
        TEST(test_put),
        TEST(test_no_outputs),
        TEST(test_sleeps_and_wakes),
        TEST(test_rarely_awake),
        TEST(test_half_full_wakes),
        TEST(test_say),
        TEST(test_what_is_left_is_written_at_the_end),
        TEST(test_the_end_waits_for_a_reader),
        TEST(test_stuck_at_the_end),
        TEST(test_events),
        TEST(test_where),
        TEST(test_layouts_side_by_side),
        TEST(test_stuck_pipe_beside_a_file),
        TEST(test_stuck_pipe_recovers),
        TEST(test_disk_full_beside_a_file),
        TEST(test_stuck_diagnostics),
        TEST(test_open_all_or_nothing),
        TEST(test_every_allocation_fails),
        TEST(test_many_shards),
        TEST(test_rotation),
        TEST(test_reopen_fails),
        TEST(test_switch_storm),
        TEST(test_switch_lets_go),
        TEST(test_all_shards_at_once),
    };

    signal(SIGPIPE, SIG_IGN); /* as app does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
