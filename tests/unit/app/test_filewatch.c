/* SPDX-License-Identifier: MIT */
/* Real directories, a real loop whose clock can be pushed forward: each way in which a file comes to be another. U57
 */
#include "app/filewatch.h"

#include "base/err.h"
#include "support/memfail.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "support/net.h"

enum { PATH_BYTES = 256 };

static char dir[64];
static struct filewatch *w;
static struct task task;
static unsigned wakes, wrong_bits;

static void count_wake(struct task *t, unsigned bits)
{
    UNUSED(t);
    wakes++;
    wrong_bits |= bits & ~(unsigned)TASK_RX;
}

/* ---- files ---- */

/* A path in the test's directory; a few may be in use at once. */
static const char *at(const char *name)
{
    static char text[8][PATH_BYTES];
    static unsigned i;
    char *p = text[i++ % 8];

    snprintf(p, PATH_BYTES, "%s/%s", dir, name);
    return p;
}

static int open_new(const char *name)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void put(const char *name, const char *text)
{
    int fd = open_new(name);

    say(fd, text);
    close(fd);
}

static void move(const char *from, const char *to)
{
    assert_int_equal(rename(at(from), at(to)), 0);
}

static void make_dir(const char *name)
{
    assert_int_equal(mkdir(at(name), 0755), 0);
}

static void make_link(const char *target, const char *name)
{
    assert_int_equal(symlink(target, at(name)), 0);
}

static void drop(const char *name)
{
    assert_int_equal(remove(at(name)), 0);
}

/* ---- the watch ---- */

/* Reads what has happened. */
static void see(void)
{
    net_turns(3);
}

/* Everything that follows is news. */
static void settle(void)
{
    see();
    net_later_ms(FILEWATCH_QUIET_MS * 2);
    see();
    wakes = 0;
}

static void watch_paths(const char *a, const char *b)
{
    const char *const paths[] = {a, b};

    assert_int_equal(filewatch_set(w, paths, b ? 2 : 1), 0);
    settle();
}

static void watch_it(const char *name)
{
    watch_paths(at(name), NULL);
}

/* Woken once, and not before it was quiet. */
static void assert_woken(void)
{
    see();
    assert_int_equal(wakes, 0);
    net_later_ms(FILEWATCH_QUIET_MS + 1);
    /* After a long turn the wheel is a little late. */
    NET_UNTIL(wakes > 0);
    assert_int_equal(wakes, 1);
    net_later_ms(FILEWATCH_POLL_MS * 2);
    assert_int_equal(wakes, 1);
    assert_int_equal(wrong_bits, 0);
    wakes = 0;
}

static void assert_not_woken(void)
{
    see();
    net_later_ms(FILEWATCH_QUIET_MS * 2);
    see();
    assert_int_equal(wakes, 0);
}

/* Watches of the kernel that this process has; -1: no inotify. */
static int count_watches(void)
{
    char link[64], what[64], line[512];
    int found = -1;

    for (int fd = 0; fd < 256; fd++) {
        FILE *f;
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, what, sizeof(what) - 1);
        what[n > 0 ? n : 0] = '\0';
        if (!strstr(what, "inotify"))
            continue;
        snprintf(link, sizeof(link), "/proc/self/fdinfo/%d", fd);
        f = fopen(link, "re");
        assert_non_null(f);
        found = 0;
        while (fgets(line, sizeof(line), f))
            found += strncmp(line, "inotify", 7) == 0;
        fclose(f);
    }
    return found;
}

static int begin(void **state)
{
    UNUSED(state);
    strcpy(dir, "/tmp/ginnel-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    net_begin();
    net_stop_clock();
    task_init(&task, &net_loop, "test", count_wake);
    wakes = wrong_bits = 0;
    assert_int_equal(filewatch_new(&net_loop, &task, &w), 0);
    return 0;
}

/* The directory first: the checks of net_end may end the teardown. */
static int end(void **state)
{
    char command[128];
    int r;

    UNUSED(state);
    filewatch_free(w);
    task_cancel(&task);
    snprintf(command, sizeof(command), "rm -rf --one-file-system %s", dir);
    r = system(command);
    net_end();
    return r;
}

/* ---- a file ---- */

static void nothing_happens(void **state)
{
    UNUSED(state);
    assert_true(filewatch_instant(w));
    put("f", "1");
    watch_it("f");
    net_later_ms(FILEWATCH_POLL_MS * 4);
    assert_int_equal(wakes, 0);
    assert_false(filewatch_busy(w));
}

/* They may have changed between being read and being watched. */
static void new_paths_wake_once(void **state)
{
    const char *const paths[] = {at("f"), at("g")};

    UNUSED(state);
    put("f", "1");
    assert_int_equal(filewatch_set(w, paths, 1), 0);
    assert_woken();
    assert_int_equal(filewatch_set(w, paths, 1), 0);
    assert_not_woken();
    assert_int_equal(filewatch_set(w, paths, 2), 0);
    assert_woken();
    assert_int_equal(filewatch_set(w, paths, 1), 0);
    assert_not_woken();
}

static void written_in_place(void **state)
{
    UNUSED(state);
    put("f", "1");
    watch_it("f");
    put("f", "2");
    assert_woken();
    put("f", "3");
    assert_woken();
}

static void renamed_over(void **state)
{
    UNUSED(state);
    put("f", "1");
    watch_it("f");
    put("f.tmp", "2");
    assert_not_woken();
    move("f.tmp", "f");
    assert_woken();
    put("f", "3");
    assert_woken();
}

static void not_there_yet(void **state)
{
    UNUSED(state);
    watch_it("f");
    put("f", "1");
    assert_woken();
    watch_it("no/such/directory/f");
    make_dir("no");
    assert_woken();
    make_dir("no/such");
    make_dir("no/such/directory");
    put("no/such/directory/f", "1");
    assert_woken();
    put("no/such/directory/f", "2");
    assert_woken();
}

static void removed_and_made_again(void **state)
{
    UNUSED(state);
    put("f", "1");
    watch_it("f");
    drop("f");
    assert_woken();
    put("f", "2");
    assert_woken();
}

static void rights_changed(void **state)
{
    UNUSED(state);
    put("f", "1");
    watch_it("f");
    assert_int_equal(chmod(at("f"), 0600), 0);
    assert_woken();
}

static void other_files_wake_nobody(void **state)
{
    UNUSED(state);
    put("f", "1");
    watch_it("f");
    put("g", "1");
    put("ff", "1");
    move("g", "h");
    drop("h");
    make_dir("d");
    assert_int_equal(chmod(at("ff"), 0600), 0);
    assert_not_woken();
}

static void reading_wakes_nobody(void **state)
{
    char c;
    int fd;

    UNUSED(state);
    put("f", "1");
    watch_it("f");
    fd = open(at("f"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, &c, 1), 1);
    close(fd);
    assert_not_woken();
}

static void relative_paths(void **state)
{
    char old[4096];

    UNUSED(state);
    assert_non_null(getcwd(old, sizeof(old)));
    make_dir("d");
    put("f", "1");
    assert_int_equal(chdir(at("d")), 0);
    watch_paths(".././/d/../f", NULL);
    put("f", "2");
    assert_woken();
    assert_int_equal(chdir(old), 0);
}

/* ---- editors ---- */

/* vim with backupcopy=no: the old file is moved aside, a new one written under the name, the backup removed. */
static void moved_aside_and_written_anew(void **state)
{
    UNUSED(state);
    put("f", "1");
    watch_it("f");
    put("4913", "");
    drop("4913");
    assert_not_woken();
    move("f", "f~");
    put("f", "2");
    drop("f~");
    assert_woken();
    put("f", "3");
    assert_woken();
}

/* Whoever still writes the backup does not write the file. */
static void the_file_moved_aside_is_no_member(void **state)
{
    int fd = open_new("f");

    UNUSED(state);
    watch_it("f");
    say(fd, "1");
    see();
    assert_true(filewatch_busy(w));
    move("f", "f~");
    see();
    assert_false(filewatch_busy(w));
    assert_woken();
    say(fd, "2");
    assert_not_woken();
    assert_false(filewatch_busy(w));
    close(fd);
    assert_not_woken();
}

static void the_file_replaced_is_no_member(void **state)
{
    int fd = open_new("f");

    UNUSED(state);
    watch_it("f");
    say(fd, "1");
    put("g", "2");
    move("g", "f");
    assert_woken();
    say(fd, "3");
    see();
    assert_false(filewatch_busy(w));
    close(fd);
    assert_not_woken();
}

/* ---- busy ---- */

/* From the first change until the writer has closed, however long that takes; then quiet; then once. */
static void a_slow_writer(void **state)
{
    int fd;

    UNUSED(state);
    put("f", "rules: [deny]\n");
    watch_it("f");
    fd = open(at("f"), O_WRONLY | O_CLOEXEC);
    see();
    assert_false(filewatch_busy(w));
    assert_int_equal(ftruncate(fd, 0), 0);
    see();
    assert_true(filewatch_busy(w));
    for (int i = 0; i < 5; i++) {
        net_later_ms(10000);
        assert_int_equal(wakes, 0);
        assert_true(filewatch_busy(w));
        say(fd, "x");
        see();
    }
    close(fd);
    see();
    assert_false(filewatch_busy(w));
    assert_woken();
}

/* An empty file is a whole configuration: made and not written yet counts. */
static void a_slow_maker(void **state)
{
    int fd;

    UNUSED(state);
    watch_it("f");
    fd = open_new("f");
    see();
    assert_true(filewatch_busy(w));
    net_later_ms(10000);
    assert_int_equal(wakes, 0);
    say(fd, "x");
    assert_not_woken();
    close(fd);
    assert_woken();
}

static void what_comes_whole_is_not_busy(void **state)
{
    UNUSED(state);
    put("g", "1");
    watch_it("f");
    assert_int_equal(link(at("g"), at("f")), 0);
    see();
    assert_false(filewatch_busy(w));
    assert_woken();
    drop("f");
    assert_woken();
    make_link("g", "f");
    see();
    assert_false(filewatch_busy(w));
    assert_woken();
}

/* Written under another name, renamed before it is closed. */
static void a_writer_who_renames_first(void **state)
{
    int fd = open_new("g");

    UNUSED(state);
    watch_it("f");
    say(fd, "1");
    move("g", "f");
    see();
    assert_false(filewatch_busy(w));
    say(fd, "2");
    see();
    assert_true(filewatch_busy(w));
    net_later_ms(10000);
    assert_int_equal(wakes, 0);
    close(fd);
    assert_woken();
}

/* What inotify can tell: the first to close ends it, the next to write begins it again. */
static void two_writers(void **state)
{
    int a, b;

    UNUSED(state);
    put("f", "1");
    watch_it("f");
    a = open(at("f"), O_WRONLY | O_APPEND | O_CLOEXEC);
    b = open(at("f"), O_WRONLY | O_APPEND | O_CLOEXEC);
    say(a, "a");
    say(b, "b");
    see();
    assert_true(filewatch_busy(w));
    close(a);
    see();
    assert_false(filewatch_busy(w));
    say(b, "b");
    see();
    assert_true(filewatch_busy(w));
    net_later_ms(10000);
    assert_int_equal(wakes, 0);
    close(b);
    assert_woken();
}

static void two_busy_files(void **state)
{
    int a, b;

    UNUSED(state);
    put("f", "1");
    put("g", "1");
    watch_paths(at("f"), at("g"));
    a = open(at("f"), O_WRONLY | O_CLOEXEC);
    b = open(at("g"), O_WRONLY | O_CLOEXEC);
    say(a, "a");
    say(b, "b");
    close(a);
    assert_not_woken();
    assert_true(filewatch_busy(w));
    close(b);
    assert_woken();
}

static void busy_stays_busy_over_a_new_set(void **state)
{
    int fd;

    UNUSED(state);
    put("f", "1");
    put("g", "1");
    watch_it("f");
    fd = open(at("f"), O_WRONLY | O_CLOEXEC);
    say(fd, "2");
    see();
    watch_paths(at("g"), at("f"));
    assert_true(filewatch_busy(w));
    net_later_ms(10000);
    assert_int_equal(wakes, 0);
    /* And no longer than it is a member. */
    watch_it("g");
    assert_false(filewatch_busy(w));
    watch_paths(at("g"), at("f"));
    close(fd);
    assert_woken();
}

static void what_happened_is_not_forgotten_by_a_new_set(void **state)
{
    const char *const paths[] = {at("f")};

    UNUSED(state);
    put("f", "1");
    watch_it("f");
    put("f", "2");
    assert_int_equal(filewatch_set(w, paths, 1), 0);
    assert_woken();
    put("f", "3");
    see();
    assert_int_equal(filewatch_set(w, paths, 1), 0);
    assert_woken();
}

/* Nothing but the busy file kept the task from being woken, and that is gone from the set. */
static void a_busy_file_that_leaves_the_set(void **state)
{
    const char *const both[] = {at("g"), at("f")};
    int fd;

    UNUSED(state);
    put("f", "1");
    put("g", "1");
    watch_paths(both[0], both[1]);
    fd = open(at("f"), O_WRONLY | O_CLOEXEC);
    say(fd, "2");
    put("g", "2");
    assert_not_woken();
    assert_int_equal(filewatch_set(w, both, 1), 0);
    assert_woken();
    close(fd);
}

/* ---- directories and links ---- */

static void a_pattern(void **state)
{
    int fd;

    UNUSED(state);
    make_dir("d");
    put("d/a.yaml", "1");
    watch_it("d/*.yaml");
    put("f", "1");
    put("f.yaml", "1");
    assert_not_woken();
    fd = open_new("d/b.yaml");
    see();
    assert_true(filewatch_busy(w));
    net_later_ms(10000);
    assert_int_equal(wakes, 0);
    say(fd, "1");
    close(fd);
    assert_woken();
    put("d/a.yaml", "2");
    assert_woken();
    move("d/a.yaml", "d/c.yaml");
    assert_woken();
    drop("d/c.yaml");
    assert_woken();
}

/* An editor's swap file, an access log: written all the time, and nothing that a configuration has. */
static void other_names_than_a_pattern_has(void **state)
{
    const char *const paths[] = {at("d/*.yaml"), at("d/[0-9]?.conf"), at("d/*\\*")};
    int swap, log;

    UNUSED(state);
    make_dir("d");
    put("d/a.yaml", "1");
    assert_int_equal(filewatch_set(w, paths, 3), 0);
    settle();
    swap = open_new("d/.a.yaml.swp");
    log = open_new("d/access.log");
    for (int i = 0; i < 10; i++) {
        say(swap, "x");
        say(log, "x");
        assert_not_woken();
        assert_false(filewatch_busy(w));
    }
    put("d/.b.yaml", "1");
    put("d/x1.conf", "1");
    assert_int_equal(chmod(at("d/access.log"), 0600), 0);
    assert_not_woken();
    /* And they are in nobody's way. */
    put("d/a.yaml", "2");
    assert_woken();
    put("d/12.conf", "1");
    assert_woken();
    put("d/a\\b", "1");
    assert_woken();
    close(swap);
    close(log);
    assert_not_woken();
}

static void a_pattern_in_a_directory_not_there_yet(void **state)
{
    UNUSED(state);
    make_link("d", "link");
    watch_it("link/*.yaml");
    make_dir("d");
    assert_woken();
    put("d/a.yaml", "1");
    assert_woken();
    put("d/a.yml", "1");
    assert_not_woken();
}

/* The main file may have any name. What a link leads to is no pattern. */
static void a_file_spelled_like_a_pattern(void **state)
{
    UNUSED(state);
    put("f[1].yaml", "1");
    put("?", "1");
    make_link("?", "*");
    watch_paths(at("f[1].yaml"), at("*"));
    put("f[1].yaml", "2");
    assert_woken();
    put("f1.yaml", "2");
    assert_woken();
    watch_it("[*]");
    put("?", "2");
    put("f1.yaml", "3");
    assert_not_woken();
    make_dir("d");
    put("d/?", "1");
    make_link("d/?", "l[");
    watch_it("l[");
    put("d/x", "2");
    assert_not_woken();
    put("d/?", "2");
    assert_woken();
}

static void a_busy_name_of_a_pattern_over_a_new_set(void **state)
{
    int fd;

    UNUSED(state);
    make_dir("d");
    watch_it("d/*.yaml");
    fd = open_new("d/a.yaml");
    say(fd, "1");
    see();
    watch_paths(at("f"), at("d/a*"));
    assert_true(filewatch_busy(w));
    watch_paths(at("f"), at("d/b*"));
    assert_false(filewatch_busy(w));
    close(fd);
}

static void the_directory_is_replaced(void **state)
{
    UNUSED(state);
    make_dir("d");
    put("d/f", "1");
    make_dir("e");
    put("e/f", "2");
    watch_it("d/f");
    move("d", "old");
    move("e", "d");
    assert_woken();
    put("old/f", "3");
    assert_not_woken();
    put("d/f", "3");
    assert_woken();
    drop("d/f");
    drop("d");
    assert_woken();
    make_dir("d");
    put("d/f", "4");
    assert_woken();
}

static void the_directory_above_is_replaced(void **state)
{
    UNUSED(state);
    make_dir("a");
    make_dir("a/d");
    put("a/d/f", "1");
    make_dir("b");
    make_dir("b/d");
    put("b/d/f", "2");
    watch_it("a/d/f");
    move("a", "c");
    move("b", "a");
    assert_woken();
    put("a/d/f", "3");
    assert_woken();
}

/* As the kubelet does it. */
static void a_kubernetes_volume(void **state)
{
    UNUSED(state);
    make_dir("..2026_a");
    put("..2026_a/ginnel.yaml", "1");
    make_link("..2026_a", "..data");
    make_link("..data/ginnel.yaml", "ginnel.yaml");
    watch_it("ginnel.yaml");
    for (int i = 0; i < 3; i++) {
        const char *old = i % 2 ? "..2026_b" : "..2026_a", *new = i % 2 ? "..2026_a" : "..2026_b";
        char file[2][32];

        snprintf(file[0], sizeof(file[0]), "%s/ginnel.yaml", old);
        snprintf(file[1], sizeof(file[0]), "%s/ginnel.yaml", new);
        make_dir(new);
        put(file[1], "2");
        make_link(new, "..data_tmp");
        assert_not_woken();
        move("..data_tmp", "..data");
        drop(file[0]);
        drop(old);
        assert_woken();
        assert_true(filewatch_instant(w));
    }
}

/* Removing the old directory, later, is no change. */
static void the_old_volume_goes_later(void **state)
{
    UNUSED(state);
    make_dir("a");
    put("a/f", "1");
    make_dir("b");
    put("b/f", "1");
    make_link("a", "data");
    watch_it("data/f");
    make_link("b", "tmp");
    move("tmp", "data");
    assert_woken();
    drop("a/f");
    drop("a");
    assert_not_woken();
    put("b/f", "2");
    assert_woken();
}

/* Each of them, and what the last one names. */
static void every_link_on_the_way(void **state)
{
    UNUSED(state);
    make_dir("a");
    make_dir("b");
    make_dir("c");
    put("c/real", "1");
    make_link(at("b/two"), "a/one"); /* absolute */
    make_link("../c/three", "b/two");
    make_link("real", "c/three");
    watch_it("a/one");
    put("c/real", "2");
    assert_woken();
    drop("c/three");
    make_link("other", "c/three");
    assert_woken();
    put("c/other", "3");
    assert_woken();
    put("c/real", "3");
    assert_not_woken();
    drop("b/two");
    assert_woken();
    make_link("../c/real", "b/two");
    assert_woken();
    drop("a/one");
    put("a/one", "4");
    assert_woken();
    assert_true(filewatch_instant(w));
}

static void loops_of_links_end(void **state)
{
    UNUSED(state);
    make_link("y", "x");
    make_link("x", "y");
    make_link("z/z", "z");
    watch_paths(at("x"), at("z/f"));
    drop("y");
    put("y", "1");
    assert_woken();
    put("y", "2");
    assert_woken();
    drop("z");
    make_dir("z");
    put("z/f", "1");
    assert_woken();
}

static void odd_paths(void **state)
{
    static char name[PATH_MAX + 1];
    const char *const odd[] = {"", "/", "//", "/..", "/../../tmp/..", "/dev/null/x", "/proc/self/fd/0/y"};
    const char *const too_long[] = {name};

    UNUSED(state);
    assert_int_equal(filewatch_set(w, odd, ARRAY_LEN(odd)), 0);
    settle();
    memset(name, 'x', PATH_MAX);
    assert_int_equal(filewatch_set(w, too_long, 1), ERR_LIMIT);
    name[PATH_MAX - 1] = '\0';
    assert_int_equal(filewatch_set(w, too_long, 1), 0);
    assert_int_equal(filewatch_set(w, NULL, 0), 0);
    see();
    assert_int_equal(count_watches(), 0);
}

/* A file given to a container: its own mount, written from outside through another directory. */
static int child_of_mount(void)
{
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount(at("outside/f"), at("inside/f"), NULL, MS_BIND, NULL))
        return 77;
    begin(NULL);
    return 0;
}

static void run_mount(void)
{
    int fd;

    watch_it("inside/f");
    put("outside/f", "2");
    assert_woken();
    fd = open(at("outside/f"), O_WRONLY | O_CLOEXEC);
    say(fd, "3");
    see();
    assert_true(filewatch_busy(w));
    close(fd);
    assert_woken();
    assert_true(filewatch_instant(w));
}

static void a_file_that_is_a_mount(void **state)
{
    char keep[sizeof(dir)];
    int status;
    pid_t pid;

    UNUSED(state);
    make_dir("inside");
    make_dir("outside");
    put("inside/f", "");
    put("outside/f", "1");
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int r;

        memcpy(keep, dir, sizeof(dir));
        r = child_of_mount();
        if (r == 0) {
            rmdir(dir);
            memcpy(dir, keep, sizeof(dir));
            run_mount();
        }
        _exit(r);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

/* ---- many ---- */

static void a_burst_wakes_once(void **state)
{
    UNUSED(state);
    put("f", "1");
    watch_it("f");
    for (int i = 0; i < 500; i++) {
        put("g", "2");
        move("g", "f");
        if (i % 100 == 0)
            see();
    }
    for (int i = 0; i < 500; i++)
        put("f", "3");
    assert_woken();
}

static void quiet_begins_anew_with_each_change(void **state)
{
    UNUSED(state);
    put("f", "1");
    watch_it("f");
    for (int i = 0; i < 5; i++) {
        put("f", "2");
        see();
        net_later_ms(FILEWATCH_QUIET_MS / 2);
        assert_int_equal(wakes, 0);
    }
    net_later_ms(FILEWATCH_QUIET_MS);
    assert_int_equal(wakes, 1);
}

/* Whoever makes changes faster than it becomes quiet is waited for, but not for ever. */
static void it_never_becomes_quiet(void **state)
{
    UNUSED(state);
    put("f", "1");
    watch_it("f");
    for (int ms = 0; ms < FILEWATCH_STARVE_MS * 3; ms += FILEWATCH_QUIET_MS / 2) {
        put("f", "2");
        see();
        net_later_ms(FILEWATCH_QUIET_MS / 2);
        if (ms < FILEWATCH_STARVE_MS - FILEWATCH_QUIET_MS)
            assert_int_equal(wakes, 0);
    }
    /* Real time passes, too: on a busy machine there is room for one more, or two. */
    assert_in_range(wakes, 2, 6);
}

/* Not even then while it is being written. */
static void it_never_becomes_quiet_and_is_busy(void **state)
{
    int fd;

    UNUSED(state);
    put("f", "1");
    put("g", "1");
    watch_paths(at("f"), at("g"));
    fd = open(at("g"), O_WRONLY | O_CLOEXEC);
    say(fd, "2");
    for (int ms = 0; ms < FILEWATCH_STARVE_MS * 3; ms += FILEWATCH_QUIET_MS / 2) {
        put("f", "2");
        see();
        net_later_ms(FILEWATCH_QUIET_MS / 2);
        assert_int_equal(wakes, 0);
    }
    assert_not_woken();
    close(fd);
    assert_woken();
}

/* What the kernel dropped may have been anything, also the end of a writer. */
static void lost_events_count_as_a_change(void **state)
{
    unsigned limit = 0;
    FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    int fd;

    UNUSED(state);
    if (!f || fscanf(f, "%u", &limit) != 1 || limit > 100000)
        limit = 0;
    if (f)
        fclose(f);
    if (!limit)
        skip();
    put("f", "1");
    watch_it("f");
    fd = open(at("f"), O_WRONLY | O_CLOEXEC);
    say(fd, "2");
    see();
    assert_true(filewatch_busy(w));
    for (unsigned i = 0; i < limit / 2 + 10; i++) {
        assert_int_equal(mkdir(at("other"), 0755), 0);
        drop("other");
    }
    close(fd);
    see();
    assert_false(filewatch_busy(w));
    assert_woken();
    put("f", "3");
    assert_woken();
}

static void nothing_leaks_over_many_sets(void **state)
{
    const char *const paths[] = {at("d/f"), at("e/*"), at("l/f"), at("no/f")};
    int fds, watches;

    UNUSED(state);
    make_dir("d");
    make_dir("e");
    put("d/f", "1");
    make_link("d", "l");
    assert_int_equal(filewatch_set(w, paths, 4), 0);
    fds = net_fds();
    watches = count_watches();
    assert_int_equal(watches, 5); /* /, /tmp, the test's, d, e */
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(filewatch_set(w, paths + i % 3, 1 + i % 2), 0);
    assert_int_equal(filewatch_set(w, paths, 4), 0);
    assert_int_equal(count_watches(), watches);
    assert_int_equal(net_fds(), fds);
    assert_int_equal(filewatch_set(w, NULL, 0), 0);
    assert_int_equal(count_watches(), 0);
    see();
}

static void watches_go_with_their_directories(void **state)
{
    int watches;

    UNUSED(state);
    make_dir("d");
    watch_it("d/f");
    watches = count_watches();
    for (int i = 0; i < 200; i++) {
        drop("d");
        see();
        assert_int_equal(count_watches(), watches - 1);
        make_dir("d");
        see();
        assert_int_equal(count_watches(), watches);
    }
}

static void as_many_as_there_may_be(void **state)
{
    static char text[FILEWATCH_MAX + 1][PATH_BYTES];
    static const char *paths[FILEWATCH_MAX + 1];
    uint64_t from;

    UNUSED(state);
    for (unsigned i = 0; i <= FILEWATCH_MAX; i++) {
        snprintf(text[i], PATH_BYTES, "%s/list-%u", dir, i);
        paths[i] = text[i];
    }
    put("list-4095", "1");
    assert_int_equal(filewatch_set(w, paths, FILEWATCH_MAX + 1), ERR_LIMIT);
    from = net_real_ms();
    assert_int_equal(filewatch_set(w, paths, FILEWATCH_MAX), 0);
    assert_in_range(net_real_ms() - from, 0, 20000);
    assert_int_equal(count_watches(), 3);
    settle();
    put("list-4095", "2");
    put("list-0", "2");
    assert_woken();
}

/* ---- without inotify ---- */

/* A watch made while no descriptor is left. */
static void make_poor(void)
{
    struct rlimit had, none;

    filewatch_free(w);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
    none = had;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(filewatch_new(&net_loop, &task, &w), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
    assert_false(filewatch_instant(w));
}

/* The next poll finds that there is inotify after all; until then it compares. */
static void polling(void **state)
{
    UNUSED(state);
    put("f", "1");
    make_poor();
    watch_it("f");
    assert_int_equal(count_watches(), -1);
    put("g", "2");
    move("g", "f");
    assert_not_woken();
    net_later_ms(FILEWATCH_POLL_MS);
    assert_woken();
    assert_true(filewatch_instant(w));
    put("f", "3");
    assert_woken();
}

static void polling_without_a_change(void **state)
{
    UNUSED(state);
    put("f", "1");
    make_poor();
    watch_it("f");
    net_later_ms(FILEWATCH_POLL_MS + 1);
    assert_not_woken();
}

/* A directory that may be passed and not read has no watch: for that one it polls. */
static int child_of_rights(void)
{
    char keep[sizeof(dir)];

    memcpy(keep, dir, sizeof(dir));
    if (!net_become_nobody())
        return 77;
    begin(NULL);
    rmdir(dir);
    memcpy(dir, keep, sizeof(dir));
    watch_it("closed/f");
    if (filewatch_instant(w))
        return 1;
    /* On the way to others it does no harm. */
    watch_it("closed/open/f");
    return filewatch_instant(w) ? 0 : 2;
}

static void a_directory_that_may_not_be_read(void **state)
{
    int status;
    pid_t pid;

    UNUSED(state);
    make_dir("closed");
    make_dir("closed/open");
    assert_int_equal(chmod(at("closed"), 0111), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(child_of_rights());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(chmod(at("closed"), 0755), 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

/* ---- looks ---- */

/* Without a turn of the loop in between. */
static void a_look_is_as_of_now(void **state)
{
    uint64_t had;
    int fd;

    UNUSED(state);
    make_dir("d");
    put("f", "1");
    watch_paths(at("f"), at("d/*.yaml"));
    had = filewatch_look(w);
    assert_int_equal(filewatch_look(w), had);
    put("g", "1");
    put("d/f", "1");
    assert_int_equal(filewatch_look(w), had);
    fd = open(at("f"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(filewatch_look(w), had);
    say(fd, "2");
    assert_true(filewatch_look(w) > had);
    assert_true(filewatch_busy(w));
    had = filewatch_look(w);
    close(fd);
    assert_true(filewatch_look(w) > had);
    assert_false(filewatch_busy(w));
    had = filewatch_look(w);
    put("d/a.yaml", "1");
    assert_true(filewatch_look(w) > had);
    had = filewatch_look(w);
    move("g", "f");
    assert_true(filewatch_look(w) > had);
    /* Whoever looks takes nothing from the task. */
    assert_woken();
}

/* New paths wake the task, but nothing has happened to them. */
static void a_new_set_is_no_change(void **state)
{
    uint64_t had = filewatch_look(w);

    UNUSED(state);
    put("f", "1");
    watch_it("f");
    assert_int_equal(filewatch_look(w), had);
}

static void a_look_of_one_who_polls(void **state)
{
    uint64_t had;

    UNUSED(state);
    make_dir("d");
    put("f", "1");
    make_poor();
    watch_paths(at("f"), at("d/*.yaml"));
    assert_false(filewatch_instant(w));
    had = filewatch_look(w);
    put("d/log", "1");
    assert_int_equal(filewatch_look(w), had);
    put("f", "22");
    assert_true(filewatch_look(w) > had);
    had = filewatch_look(w);
    put("d/a.yaml", "");
    assert_true(filewatch_look(w) > had);
    had = filewatch_look(w);
    drop("d/a.yaml");
    assert_true(filewatch_look(w) > had);
    assert_woken();
}

/* ---- no memory ---- */

static void the_old_set_holds_without_memory(void **state)
{
    const char *const one[] = {at("f")}, *const two[] = {at("d/e/g"), at("l/f")};
    int watches;

    UNUSED(state);
    put("f", "1");
    make_dir("d");
    make_dir("d/e");
    make_link("d", "l");
    watch_it("f");
    watches = count_watches();
    for (memfail_start(); memfail_next();) {
        int r = filewatch_set(w, two, 2);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        mem_set_gate(NULL);
        if (r < 0) {
            assert_int_equal(count_watches(), watches);
            settle();
            put("f", "2");
            assert_woken();
        }
        assert_int_equal(filewatch_set(w, one, 1), 0);
        settle();
        mem_set_gate(memfail_gate);
    }
}

static void no_memory_for_a_new_one(void **state)
{
    UNUSED(state);
    filewatch_free(w);
    w = NULL;
    for (memfail_start(); memfail_next();) {
        int r = filewatch_new(&net_loop, &task, &w);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : 0);
        if (r == 0)
            filewatch_free(w);
        w = NULL;
    }
}

/* The way cannot be looked at when the link is swapped: later, then. */
static void no_memory_for_an_event(void **state)
{
    UNUSED(state);
    make_dir("a");
    put("a/f", "1");
    make_dir("b");
    put("b/f", "1");
    make_link("a", "data");
    watch_it("data/f");
    make_link("b", "tmp");
    move("tmp", "data");
    memfail_start();
    assert_true(memfail_next());
    see();
    assert_true(memfail_hit());
    mem_set_gate(NULL);
    assert_false(filewatch_instant(w));
    assert_woken();
    assert_true(filewatch_instant(w));
    put("b/f", "2");
    assert_woken();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_happens),
        TEST(new_paths_wake_once),
        TEST(written_in_place),
        TEST(renamed_over),
        TEST(not_there_yet),
        TEST(removed_and_made_again),
        TEST(rights_changed),
        TEST(other_files_wake_nobody),
        TEST(reading_wakes_nobody),
        TEST(relative_paths),
        TEST(moved_aside_and_written_anew),
        TEST(the_file_moved_aside_is_no_member),
        TEST(the_file_replaced_is_no_member),
        TEST(a_slow_writer),
        TEST(a_slow_maker),
        TEST(what_comes_whole_is_not_busy),
        TEST(a_writer_who_renames_first),
        TEST(two_writers),
        TEST(two_busy_files),
        TEST(busy_stays_busy_over_a_new_set),
        TEST(what_happened_is_not_forgotten_by_a_new_set),
        TEST(a_busy_file_that_leaves_the_set),
        TEST(a_pattern),
        TEST(other_names_than_a_pattern_has),
        TEST(a_pattern_in_a_directory_not_there_yet),
        TEST(a_file_spelled_like_a_pattern),
        TEST(a_busy_name_of_a_pattern_over_a_new_set),
        TEST(the_directory_is_replaced),
        TEST(the_directory_above_is_replaced),
        TEST(a_kubernetes_volume),
        TEST(the_old_volume_goes_later),
        TEST(every_link_on_the_way),
        TEST(loops_of_links_end),
        TEST(odd_paths),
        TEST(a_file_that_is_a_mount),
        TEST(a_burst_wakes_once),
        TEST(quiet_begins_anew_with_each_change),
        TEST(it_never_becomes_quiet),
        TEST(it_never_becomes_quiet_and_is_busy),
        TEST(a_look_is_as_of_now),
        TEST(a_new_set_is_no_change),
        TEST(a_look_of_one_who_polls),
        TEST(lost_events_count_as_a_change),
        TEST(nothing_leaks_over_many_sets),
        TEST(watches_go_with_their_directories),
        TEST(as_many_as_there_may_be),
        TEST(polling),
        TEST(polling_without_a_change),
        TEST(a_directory_that_may_not_be_read),
        TEST(the_old_set_holds_without_memory),
        TEST(no_memory_for_a_new_one),
        TEST(no_memory_for_an_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
