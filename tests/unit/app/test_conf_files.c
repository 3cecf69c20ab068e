/* SPDX-License-Identifier: MIT */
/* Several files: includes, list files, places, and everything that can be wrong with a file. */
#include "app/conf_build.h"
#include "app/conf_source.h"

#include "base/err.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/conf_files.h"
#include "support/memfail.h"

enum { NOBODY = 65534 };

/* Loads without errors; warnings must be what is expected, "" for none. */
static struct conf *load(const char *path, const char *warnings)
{
    char *text;
    int r;
    struct conf *c = conf_files_load(path, &r, &text);

    if (r < 0)
        fprintf(stderr, "%s", text);
    assert_int_equal(r, 0);
    assert_string_equal(text, warnings);
    mem_free(text);
    return c;
}

static void assert_errors(const char *path, int code, const char *expected)
{
    char *text;
    int r;

    assert_null(conf_files_load(path, &r, &text));
    assert_string_equal(text, expected);
    assert_int_equal(r, code);
    mem_free(text);
}

static bool has_file(const struct conf *c, const char *name)
{
    unsigned n = 0;

    for (unsigned i = 0; i < c->n_files; i++)
        n += strcmp(c->files[i], name) == 0;
    assert_true(n < 2);
    return n;
}

static bool admits(const struct ranges *r, const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse_host(slice_str(text), 0, &a), 0);
    return ranges_has(r, &a);
}

/* ---- the space of offsets ---- */

static void test_sources(void **state)
{
    struct conf_sources s = {0};
    unsigned a, b, c;
    char *path;

    UNUSED(state);
    assert_int_equal(conf_sources_add(&s, "dir/a.yaml", SLICE("abc"), &a), 0);
    assert_int_equal(conf_sources_add(&s, "b", SLICE(""), &b), 0);
    assert_int_equal(conf_sources_add(&s, "c", SLICE("x"), &c), 0);
    assert_int_equal(s.v[a].base, 0);
    assert_int_equal(s.v[b].base, 4);
    assert_int_equal(s.v[c].base, 5);
    for (size_t at = 0; at < 8; at++)
        assert_string_equal(conf_sources_find(&s, at)->name, at < 4   ? "dir/a.yaml"
                                                             : at < 5 ? "b"
                                                                      : "c");
    path = conf_sources_path(&s, 2, SLICE("./x.txt"));
    assert_string_equal(path, "dir/./x.txt");
    mem_free(path);
    path = conf_sources_path(&s, 2, SLICE("/x.txt"));
    assert_string_equal(path, "/x.txt");
    mem_free(path);
    path = conf_sources_path(&s, 5, SLICE("x.txt"));
    assert_string_equal(path, "x.txt");
    mem_free(path);
    conf_sources_done(&s);
}

/* The same content is the same configuration; another name or byte is another one. */
static void test_content(void **state)
{
    uint64_t seen[4];
    struct conf *c;

    UNUSED(state);
    conf_files_text("a.yaml", "clients: ./l.txt\n");
    conf_files_text("l.txt", "10.0.0.0/8\n");
    c = load("a.yaml", "");
    seen[0] = c->content;
    conf_free(c);
    c = load("a.yaml", "");
    assert_true(c->content == seen[0]);
    conf_free(c);
    conf_files_text("l.txt", "11.0.0.0/8\n");
    c = load("a.yaml", "");
    assert_true(c->content != seen[0]);
    conf_free(c);
}

/* ---- includes ---- */

static void test_include(void **state)
{
    struct conf *c;

    UNUSED(state);
    assert_int_equal(mkdir("tenants", 0755), 0);
    conf_files_text("tenants/b.yaml", "clients: 10.2.0.0/16\nlisten: 127.0.0.1:2\n");
    conf_files_text("tenants/a.yaml",
                    "clients: 10.1.0.0/16\nlisten: 127.0.0.1:1\ntimeouts: {head: 7s}\n");
    conf_files_text("tenants/.hidden.yaml", "nonsense\n");
    conf_files_text("tenants/a.yaml~", "nonsense\n");
    conf_files_text("more.yaml", "log: {access: stdout}\nname: more\n");
    conf_files_text("m.yaml", "include: [tenants/*.yaml, more.yaml]\nclients: [10.0.0.0/16]\n"
                              "listen: 127.0.0.1:9\ntimeouts: {idle: 9s}\nlog: {level: warn}\n");
    c = load("m.yaml", "");
    assert_int_equal(c->n_listen, 3);
    assert_string_equal(c->listen[0].text, "127.0.0.1:9");
    assert_string_equal(c->listen[0].place, "m.yaml:3");
    assert_string_equal(c->listen[1].text, "127.0.0.1:1");
    assert_string_equal(c->listen[1].place, "tenants/a.yaml:2");
    assert_string_equal(c->listen[2].text, "127.0.0.1:2");
    assert_string_equal(c->listen[2].place, "tenants/b.yaml:2");
    assert_true(admits(&c->clients.ranges, "10.0.9.9") && admits(&c->clients.ranges, "10.2.9.9"));
    assert_false(admits(&c->clients.ranges, "10.3.0.0"));
    assert_string_equal(c->clients.place, "m.yaml:2");
    assert_int_equal(c->proxy.timeouts.head, 7000);
    assert_int_equal(c->proxy.timeouts.idle, 9000);
    assert_string_equal(c->proxy.name, "more");
    assert_int_equal(c->n_outputs, 1);
    assert_int_equal(c->outputs[0].sink, ACCESS_STDOUT);
    assert_string_equal(c->outputs[0].place, "more.yaml:1");
    assert_true(has_file(c, "m.yaml") && has_file(c, "more.yaml") && has_file(c, "tenants/*.yaml") &&
                has_file(c, "tenants/a.yaml") && has_file(c, "tenants/b.yaml"));
    assert_int_equal(c->n_files, 5);
    conf_free(c);
}

/* Paths of an included file are relative to that file. */
static void test_include_relative(void **state)
{
    struct conf *c;

    UNUSED(state);
    assert_int_equal(mkdir("d", 0755), 0);
    assert_int_equal(mkdir("d/e", 0755), 0);
    conf_files_text("d/e/x.yaml", "clients: [./l.txt, ../l.txt]\n");
    conf_files_text("d/e/l.txt", "10.1.0.0/16\n");
    conf_files_text("d/l.txt", "10.2.0.0/16\n");
    conf_files_text("d/m.yaml", "include: e/x.yaml\n");
    c = load("d/m.yaml", "");
    assert_true(admits(&c->clients.ranges, "10.1.0.1") && admits(&c->clients.ranges, "10.2.0.1"));
    conf_free(c);
}

static void test_include_twice(void **state)
{
    struct conf *c;

    UNUSED(state);
    assert_int_equal(mkdir("d", 0755), 0);
    conf_files_text("d/a.yaml", "name: a\n");
    assert_int_equal(symlink("a.yaml", "d/b.yaml"), 0);
    conf_files_text("m.yaml", "include: [d/*.yaml, d/a.yaml]\n");
    c = load("m.yaml", "");
    assert_string_equal(c->proxy.name, "a");
    conf_free(c);
    conf_files_text("d/c.yaml", "");
    conf_files_text("m.yaml", "include: ./*.yaml\n");
    assert_errors("m.yaml", ERR_SYNTAX,
                  "m.yaml:1:10: the file includes itself\n"
                  "    1 | include: ./*.yaml\n"
                  "      |          ^\n"
                  "   hint: keep included files in a folder of their own\n");
}

/* All errors of all files, those of the first one first. */
static void test_errors_of_several_files(void **state)
{
    UNUSED(state);
    conf_files_text("a.yaml", "name: b\nvia: maybe\n");
    conf_files_text("b.yaml", "include: x.yaml\nclients: ./l.txt\n");
    conf_files_text("l.txt", "# them\n10.0.0.0/8\nten\n");
    conf_files_text("m.yaml", "include: [a.yaml, b.yaml, none/*.yaml]\nname: a\nworkers: 0\n");
    assert_errors("m.yaml", ERR_SYNTAX,
                  "m.yaml:1:27: the folder \"none/\" cannot be read: No such file or directory\n"
                  "    1 | include: [a.yaml, b.yaml, none/*.yaml]\n"
                  "      |                           ^\n"
                  "   hint: the path is relative to the file that names it\n"
                  "m.yaml:3:10: `workers` is out of range: \"0\"\n"
                  "    3 | workers: 0\n"
                  "      |          ^\n"
                  "   hint: from 1 to 64\n"
                  "a.yaml:1:1: `name` is given twice\n"
                  "    1 | name: b\n"
                  "      | ^\n"
                  "   hint: it stands in m.yaml:2 already\n"
                  "a.yaml:2:6: `via` wants on or off, not \"maybe\"\n"
                  "    2 | via: maybe\n"
                  "      |      ^\n"
                  "b.yaml:1:1: `include` in a file that is included itself\n"
                  "    1 | include: x.yaml\n"
                  "      | ^\n"
                  "   hint: name all files in the first one\n"
                  "./l.txt:3:1: `clients` wants an address range or any, not \"ten\"\n"
                  "    3 | ten\n"
                  "      | ^\n"
                  "   hint: like this: 10.0.0.0/8, \"fd00::/8\", 192.0.2.7\n");
}

/* Of a broken file nobody knows what is missing. */
static void test_broken_include(void **state)
{
    UNUSED(state);
    conf_files_text("a.yaml", "clients: [any\n");
    conf_files_text("m.yaml", "include: a.yaml\nlisten: 0.0.0.0:1\n");
    assert_errors("m.yaml", ERR_SYNTAX,
                  "a.yaml:1:10: this list is not closed, or a comma is missing in it\n"
                  "    1 | clients: [any\n"
                  "      |          ^\n"
                  "   hint: lists look like this: [one, two]\n");
}

static void test_too_many_files(void **state)
{
    char *text;
    int r;

    UNUSED(state);
    assert_int_equal(mkdir("d", 0755), 0);
    for (int i = 0; i < CONF_SOURCES_MAX; i++) {
        char name[32];

        snprintf(name, sizeof(name), "d/%04d.yaml", i);
        conf_files_text(name, "");
    }
    conf_files_text("m.yaml", "include: d/*.yaml\n");
    assert_null(conf_files_load("m.yaml", &r, &text));
    assert_int_equal(r, ERR_SYNTAX);
    assert_non_null(strstr(text, "m.yaml:1:10: more than 1024 files\n"));
    mem_free(text);
    assert_int_equal(unlink("d/0000.yaml"), 0);
    conf_free(load("m.yaml", ""));
}

/* ---- list files ---- */

static void test_list_file(void **state)
{
    struct conf *c;

    UNUSED(state);
    conf_files_text("l.txt", "\xef\xbb\xbf# them\r\n\r\n10.0.0.0/8 # office\r\n\t192.0.2.1\t\n"
                             "   \n#fd00::/9\nfd00::/8#x\n");
    conf_files_text("m.yaml", "clients: [./l.txt, 172.16.0.0/12]\n");
    assert_errors("m.yaml", ERR_SYNTAX,
                  "./l.txt:7:1: `clients` wants an address range or any, not \"fd00::/8#x\"\n"
                  "    7 | fd00::/8#x\n"
                  "      | ^\n"
                  "   hint: a prefix goes from 0 to 128\n");
    conf_files_text("l.txt", "\xef\xbb\xbf# them\r\n\r\n10.0.0.0/8 # office\r\n\t192.0.2.1\t\n"
                             "   \n#fd00::/9\nfd00::/8");
    c = load("m.yaml", "");
    assert_int_equal(c->clients.ranges.n4, 3);
    assert_int_equal(c->clients.ranges.n6, 1);
    assert_true(has_file(c, "m.yaml") && has_file(c, "./l.txt"));
    conf_free(c);
}

static void test_list_file_faults(void **state)
{
    static const char binary[] = "10.0.0.0/8\n\x7f"
                                 "ELF\0\1\2";

    UNUSED(state);
    conf_files_write("b", binary, sizeof(binary) - 1);
    conf_files_text("e", "\n# nobody\n");
    conf_files_text("n", "any\n./e\n");
    assert_int_equal(mkdir("d", 0755), 0);
    conf_files_text("m.yaml", "clients: [./b, ./d, ./n, ./none, ../]\n");
    assert_errors(
        "m.yaml", ERR_SYNTAX,
        "m.yaml:1:16: the list file \"./d\": this is a directory, not a file\n"
        "    1 | clients: [./b, ./d, ./n, ./none, ../]\n"
        "      |                ^\n"
        "m.yaml:1:26: the list file \"./none\" cannot be read: No such file or directory\n"
        "    1 | clients: [./b, ./d, ./n, ./none, ../]\n"
        "      |                          ^\n"
        "   hint: the path is relative to the file that names it\n"
        "m.yaml:1:34: \"../\" cannot be a list file\n"
        "    1 | clients: [./b, ./d, ./n, ./none, ../]\n"
        "      |                                  ^\n"
        "   hint: a path ends with the name of a file\n"
        "./b:2:5: this file is binary, it has a NUL byte\n"
        "    2 | \\x7fELF\\x00\\x01\\x02\n"
        "      |        ^\n"
        "   hint: a list file is a text: one entry a line\n"
        "./n:1:1: `any` in a list file\n"
        "    1 | any\n"
        "      | ^\n"
        "   hint: write it into the configuration itself\n"
        "./n:2:1: a list file inside a list file\n"
        "    2 | ./e\n"
        "      | ^\n"
        "   hint: name it in the configuration itself\n");
    conf_files_text("m.yaml", "clients: ./e\n");
    conf_free(load("m.yaml", "m.yaml:1:10: warning: the list file \"./e\" is empty\n"
                             "    1 | clients: ./e\n"
                             "      |          ^\n"
                             "   hint: an empty list matches nothing\n"));
}

/* A text's memory may be the next one's: places are of the file, not of the memory. */
static void test_places_of_two_lists(void **state)
{
    char *text;
    int r;

    UNUSED(state);
    conf_files_text("a.txt", "#\n#\n#\n#\n#\nx\n");
    conf_files_text("b.txt", "# 456789012\nx");
    conf_files_text("m.yaml", "clients: [./a.txt, ./b.txt]\n");
    assert_null(conf_files_load("m.yaml", &r, &text));
    assert_non_null(strstr(text, "./a.txt:6:1: "));
    assert_non_null(strstr(text, "./b.txt:2:1: "));
    mem_free(text);
}

/* The first hundred are shown, and the others cost nothing. */
static void test_long_list_of_nonsense(void **state)
{
    enum { LINES = 200000 };
    char *text = malloc(LINES * 4 + 1), *errors;
    int r;

    UNUSED(state);
    assert_non_null(text);
    for (int i = 0; i < LINES; i++)
        memcpy(text + i * 4, "x y\n", 4);
    conf_files_write("l.txt", text, LINES * 4);
    conf_files_text("m.yaml", "log: {for: ./l.txt}\nclients: ./l.txt\n");
    alarm(30);
    assert_null(conf_files_load("m.yaml", &r, &errors));
    alarm(0);
    assert_int_equal(r, ERR_SYNTAX);
    assert_memory_equal(errors, "./l.txt:1:1: `host` wants a host, not \"x y\"", 43);
    assert_non_null(strstr(errors, "./l.txt:100:1: "));
    assert_null(strstr(errors, "./l.txt:101:1: "));
    assert_non_null(strstr(errors, "   and 399900 more\n"));
    mem_free(errors);
    free(text);
}

static void test_many_lines(void **state)
{
    enum { LINES = 100000, LINE_MAX = 40 };
    char *text = malloc((size_t)LINES * LINE_MAX);
    size_t n = 0;
    struct conf *c;

    UNUSED(state);
    assert_non_null(text);
    for (int i = 0; i < LINES; i++)
        n += (size_t)sprintf(text + n, "10.%d.%d.%d\n", i >> 15, i >> 7 & 255, i % 128 * 2);
    conf_files_write("r.txt", text, n);
    n = 0;
    for (int i = 0; i < LINES; i++)
        n += (size_t)sprintf(text + n, "%shost-%d.example.net\n", i % 3 ? "" : ".", i);
    conf_files_write("h.txt", text, n);
    conf_files_text("m.yaml", "clients: ./r.txt\nlog: {for: ./h.txt}\n");
    c = load("m.yaml", "");
    assert_int_equal(c->clients.ranges.n4, LINES);
    assert_int_equal(hosts_count(c->outputs[0].where[0].hosts), LINES);
    conf_free(c);
    free(text);
}

/* ---- files that are none ---- */

static void test_special_files(void **state)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    UNUSED(state);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_int_equal(mkdir("d", 0755), 0);
    alarm(10);
    assert_errors("pipe", ERR_NOTFOUND,
                  "pipe: this is a pipe, a socket or a device, not a file\n"
                  "   hint: write it into a file\n");
    assert_errors("socket", ERR_NOTFOUND,
                  "socket: this is a pipe, a socket or a device, not a file\n"
                  "   hint: write it into a file\n");
    assert_errors("/dev/zero", ERR_NOTFOUND,
                  "/dev/zero: this is a pipe, a socket or a device, not a file\n"
                  "   hint: write it into a file\n");
    assert_errors("loop", ERR_NOTFOUND,
                  "loop: cannot be read: its symbolic links lead in a circle\n"
                  "   hint: ls -l shows where its symbolic links lead\n");
    assert_errors("d", ERR_NOTFOUND,
                  "d: this is a directory, not a file\n"
                  "   hint: name the file in it: ginnel -c DIR/ginnel.yaml\n");
    conf_files_text("m.yaml", "include: [pipe, d, loop]\nclients: [./socket, /dev/zero]\n");
    assert_errors(
        "m.yaml", ERR_SYNTAX,
        "m.yaml:1:11: the included file \"pipe\": this is a pipe, a socket or a device, "
        "not a file\n"
        "    1 | include: [pipe, d, loop]\n"
        "      |           ^\n"
        "   hint: write it into a file\n"
        "m.yaml:1:17: the included file \"d\": this is a directory, not a file\n"
        "    1 | include: [pipe, d, loop]\n"
        "      |                 ^\n"
        "m.yaml:1:20: the included file \"loop\": cannot be read: its symbolic links lead "
        "in a circle\n"
        "    1 | include: [pipe, d, loop]\n"
        "      |                    ^\n"
        "   hint: ls -l shows where its symbolic links lead\n"
        "m.yaml:2:11: the list file \"./socket\": this is a pipe, a socket or a device, "
        "not a file\n"
        "    2 | clients: [./socket, /dev/zero]\n"
        "      |           ^\n"
        "   hint: write it into a file\n"
        "m.yaml:2:21: the list file \"/dev/zero\": this is a pipe, a socket or a device, "
        "not a file\n"
        "    2 | clients: [./socket, /dev/zero]\n"
        "      |                     ^\n"
        "   hint: write it into a file\n");
    alarm(0);
    close(fd);
}

static void test_no_permission(void **state)
{
    bool root = geteuid() == 0;

    UNUSED(state);
    conf_files_text("secret", "10.0.0.0/8\n");
    assert_int_equal(chmod("secret", 0), 0);
    conf_files_text("m.yaml", "clients: ./secret\ninclude: secret\n");
    if (root)
        assert_int_equal(seteuid(NOBODY), 0);
    assert_errors("secret", ERR_NOTFOUND, "secret: cannot be read: Permission denied\n");
    assert_errors("m.yaml", ERR_SYNTAX,
                  "m.yaml:1:10: the list file \"./secret\" cannot be read: Permission denied\n"
                  "    1 | clients: ./secret\n"
                  "      |          ^\n"
                  "   hint: the path is relative to the file that names it\n"
                  "m.yaml:2:10: the included file \"secret\" cannot be read: Permission denied\n"
                  "    2 | include: secret\n"
                  "      |          ^\n"
                  "   hint: the path is relative to the file that names it\n");
    if (root)
        assert_int_equal(seteuid(0), 0);
}

/* Sparse files: nothing of them is read. */
static void test_too_large(void **state)
{
    UNUSED(state);
    conf_files_text("large", "");
    assert_int_equal(truncate("large", 100 << 20), 0);
    assert_errors("large", ERR_SYNTAX, "large: larger than 1 MB\n");
    assert_int_equal(truncate("large", (off_t)CONF_LIST_MAX + 1), 0);
    conf_files_text("m.yaml", "clients: ./large\ninclude: large\n");
    assert_errors("m.yaml", ERR_SYNTAX,
                  "m.yaml:1:10: the list file \"./large\" is larger than 128 MB\n"
                  "    1 | clients: ./large\n"
                  "      |          ^\n"
                  "m.yaml:2:10: the included file \"large\" is larger than 1 MB\n"
                  "    2 | include: large\n"
                  "      |          ^\n");
}

/* ---- one line that is long ---- */

/* Every warning has its column, and those that nobody keeps cost nothing. */
static void test_one_long_line(void **state)
{
    enum { N = 80000 };
    static const char item[] = "10.0.0.0/8, ";
    const struct conf_args args = {.file = "m.yaml"};
    struct conf_errors errors, warnings;
    struct timespec from, to;
    struct conf *c = NULL;
    FILE *f = fopen("m.yaml", "w");

    UNUSED(state);
    assert_non_null(f);
    fputs("\"clients\": [", f);
    for (unsigned i = 0; i < N; i++)
        fputs(item, f);
    fputs("]\n", f);
    assert_int_equal(fclose(f), 0);
    clock_gettime(CLOCK_MONOTONIC, &from);
    assert_int_equal(conf_load(&args, &c, &errors, &warnings), 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_in_range(to.tv_sec - from.tv_sec, 0, 5);
    assert_int_equal(warnings.n, CONF_ERRORS_MAX);
    for (unsigned i = 0; i < warnings.n; i++) {
        assert_int_equal(warnings.v[i].line, 1);
        assert_int_equal(warnings.v[i].column, strlen("\"clients\": [") + (i + 1) * strlen(item) + 1);
    }
    assert_non_null(strstr(warnings.v[0].text, "\"10.0.0.0/8\" stands in line 1 already"));
    assert_non_null(strstr(warnings.v[CONF_ERRORS_MAX - 1].text, "and 79899 more"));
    conf_errors_done(&warnings);
    conf_errors_done(&errors);
    conf_free(c);
}

/* A column is one character, wherever the one before it was asked for. */
static void test_columns(void **state)
{
    static const char text[] = "\xef\xbb\xbf{\xc3\xa9: 1, via: off, \xe2\x82\xac: 2, via: on, \xf0\x9f\x98\x80x: 3,\r\n"
                               " \xc3\xa9: 4, via: x,\r\n via: y}";
    static const unsigned places[][2] = {{1, 2}, {1, 18}, {1, 24}, {1, 33}, {2, 2}, {2, 8}, {3, 2}};
    const struct conf_args args = {.file = "m.yaml"};
    struct conf_errors errors;
    struct conf *c = NULL;

    UNUSED(state);
    conf_files_text("m.yaml", text);
    assert_int_equal(conf_load(&args, &c, &errors, NULL), ERR_SYNTAX);
    assert_int_equal(errors.n, ARRAY_LEN(places));
    for (unsigned i = 0; i < errors.n; i++) {
        assert_int_equal(errors.v[i].line, places[i][0]);
        assert_int_equal(errors.v[i].column, places[i][1]);
    }
    conf_errors_done(&errors);
}

/* ---- what to watch ---- */

static void assert_watched(const char *const *files, unsigned n, const char *expected)
{
    char all[512] = "";

    for (unsigned i = 0; i < n; i++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s ", files[i]);
    assert_string_equal(all, expected);
}

/* Every file once, and the patterns: of a folder only the names that they match matter. */
static void test_files_to_watch(void **state)
{
    char *text;
    int r;
    struct conf *c;

    UNUSED(state);
    assert_int_equal(mkdir("d", 0755), 0);
    conf_files_text("d/a.yaml", "clients: [../l, ../l]\n");
    conf_files_text("d/.b.yaml", "nonsense: 1\n");
    conf_files_text("d/x\\.conf", "via: off\n");
    conf_files_text("l", "10.0.0.0/8\n");
    conf_files_text("m.yaml", "include: [d/*.yaml, 'd/*\\.conf', no*]\n");
    c = conf_files_load("m.yaml", &r, &text);
    assert_int_equal(r, 0);
    if (!c)
        fail();
    else
        assert_watched(c->files, c->n_files, "m.yaml d/a.yaml d/x\\.conf d/../l d/*.yaml d/*\\.conf no* ");
    conf_free(c);
    mem_free(text);
}

static void assert_tried(const char *main_file, int code, const char *expected)
{
    const struct conf_args args = {.file = main_file};
    struct conf_errors errors;
    struct conf *c = NULL;

    assert_int_equal(conf_load(&args, &c, &errors, NULL), code);
    assert_true(errors.n > 0);
    assert_watched(errors.files, errors.n_files, expected);
    conf_errors_done(&errors);
    assert_null(errors.files);
    assert_int_equal(errors.n_files, 0);
}

/* A load that failed may succeed when one of these changes, be it one that was not there. */
static void test_files_of_a_failure(void **state)
{
    UNUSED(state);
    assert_tried("none.yaml", ERR_NOTFOUND, "none.yaml ");
    assert_tried(".", ERR_NOTFOUND, ". ");
    conf_files_text("large", "");
    assert_int_equal(truncate("large", CONF_FILE_MAX + 1), 0);
    assert_tried("large", ERR_SYNTAX, "large ");
    conf_files_text("m.yaml", "clients: [./none, ./none, ./l, ./large, .//dir/x]\ninclude: [i*, no/*.yaml, j]\n");
    conf_files_text("l", "10.0.0.0/8\n");
    conf_files_text("i1", "nonsense: 1\n");
    assert_int_equal(mkdir("i2", 0755), 0);
    assert_int_equal(symlink("none", "i3"), 0);
    assert_tried("m.yaml", ERR_SYNTAX,
                 "m.yaml i1 ./l ./large i* i2 i3 no/*.yaml j ./none .//dir/x ");
}

/* What somebody who truncates and writes leaves for a moment. */
static void test_empty(void **state)
{
    static const struct {
        const char *text;
        bool empty;
    } cases[] = {
        {"", true},
        {" \n\n", true},
        {"# via: off\n", true},
        {"---\n", true},
        {"\xef\xbb\xbf", true},
        {"{}", true},
        {"~\n", true},
        {"via: off\n", false},
        {"log:\n", false},
        {"include: []\n", false},
        {"#\nvia: on\n", false},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text;
        int r;
        struct conf *c;

        conf_files_text("m.yaml", cases[i].text);
        c = conf_files_load("m.yaml", &r, &text);
        if (r < 0 || !c) {
            fail_msg("%s: %s", cases[i].text, text);
            continue;
        }
        if (c->empty != cases[i].empty)
            fail_msg("%s", cases[i].text);
        conf_free(c);
        mem_free(text);
    }
}

/* ---- no memory ---- */

static bool no_memory_for_folders;

/* The C library's allocates by itself. */
DIR *opendir(const char *name)
{
    int fd;

    if (no_memory_for_folders) {
        errno = ENOMEM;
        return NULL;
    }
    fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? NULL : fdopendir(fd);
}

/* It is no fault of the file. */
static void test_no_memory_for_a_folder(void **state)
{
    const struct conf_args args = {.file = "m.yaml"};
    struct conf_errors errors;
    struct conf *c = NULL;

    UNUSED(state);
    conf_files_text("m.yaml", "include: ./m*.conf\n");
    no_memory_for_folders = true;
    assert_int_equal(conf_load(&args, &c, &errors, NULL), ERR_NOMEM);
    no_memory_for_folders = false;
    conf_errors_done(&errors);
    assert_int_equal(conf_load(&args, &c, &errors, NULL), 0);
    conf_free(c);
}

/* Each allocation of a load over several files, good or bad. */
static void assert_nomem(const char *main_file, int otherwise)
{
    const struct conf_args args = {.file = main_file};

    for (memfail_start(); memfail_next();) {
        struct conf_errors errors, warnings;
        struct conf *c = NULL;
        int r = conf_load(&args, &c, &errors, &warnings);

        assert_int_equal(r, memfail_hit() ? ERR_NOMEM : otherwise);
        conf_errors_done(&errors);
        conf_errors_done(&warnings);
        if (r == 0)
            conf_free(c);
    }
}

static void test_no_memory(void **state)
{
    UNUSED(state);
    /* Ranges that merge would be given back in part, which may be refused. */
    conf_files_text("l", "10.0.0.0/8\n192.0.2.0/24\n");
    conf_files_text("h", "a.example\n.b.example\na.example\n10.0.0.0/8\n");
    conf_files_text("i1", "clients: [./l, 172.16.0.0/12]\nlog: [{access: stderr, for: [./h, c.example]}]\n");
    conf_files_text("i2", "timeouts: {head: 9s}\n");
    conf_files_text("m.yaml", "include: [i*, no*]\nlisten: [{address: 127.0.0.1:1, name: a}]\n");
    assert_nomem("m.yaml", 0);
    conf_files_text("i1", "clients: [./none, x]\ninclude: i2\n");
    conf_files_text("i2", "{");
    assert_nomem("m.yaml", ERR_SYNTAX);
    assert_nomem("none", ERR_NOTFOUND);
}

/* ---- a file that changes ---- */

static atomic_bool stop_writing;

static void *write_on(void *arg)
{
    int fd = open("busy", O_WRONLY | O_APPEND | O_CLOEXEC);

    UNUSED(arg);
    while (fd >= 0 && !atomic_load(&stop_writing)) {
        if (write(fd, "#\n", 2) != 2 || lseek(fd, 0, SEEK_END) > 1 << 24)
            if (ftruncate(fd, 1 << 23) < 0)
                break;
    }
    close(fd);
    return NULL;
}

/* Half of what somebody writes is never loaded: while it changes the file is refused in words. */
static void test_changing_file(void **state)
{
    bool refused = false;
    pthread_t t;

    UNUSED(state);
    conf_files_text("busy", "");
    assert_int_equal(truncate("busy", 1 << 23), 0);
    conf_files_text("m.yaml", "clients: ./busy\n");
    atomic_store(&stop_writing, false);
    assert_int_equal(pthread_create(&t, NULL, write_on, NULL), 0);
    for (int i = 0; i < 200 && !refused; i++) {
        char *text;
        int r;
        struct conf *c = conf_files_load("m.yaml", &r, &text);

        refused = r < 0 && strstr(text, "the list file \"./busy\": this changes while it is read");
        conf_free(c);
        mem_free(text);
    }
    atomic_store(&stop_writing, true);
    pthread_join(t, NULL);
    assert_true(refused);
}

int main(void)
{
#define FILES_TEST(t) cmocka_unit_test_setup_teardown(t, conf_files_setup, conf_files_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sources),
        FILES_TEST(test_content),
        FILES_TEST(test_include),
        FILES_TEST(test_include_relative),
        FILES_TEST(test_include_twice),
        FILES_TEST(test_errors_of_several_files),
        FILES_TEST(test_broken_include),
        FILES_TEST(test_too_many_files),
        FILES_TEST(test_list_file),
        FILES_TEST(test_list_file_faults),
        FILES_TEST(test_places_of_two_lists),
        FILES_TEST(test_long_list_of_nonsense),
        FILES_TEST(test_many_lines),
        FILES_TEST(test_special_files),
        FILES_TEST(test_no_permission),
        FILES_TEST(test_too_large),
        FILES_TEST(test_one_long_line),
        FILES_TEST(test_columns),
        FILES_TEST(test_files_to_watch),
        FILES_TEST(test_files_of_a_failure),
        FILES_TEST(test_empty),
        FILES_TEST(test_no_memory_for_a_folder),
        FILES_TEST(test_no_memory),
        FILES_TEST(test_changing_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
