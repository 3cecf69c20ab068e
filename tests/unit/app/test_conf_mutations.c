/* SPDX-License-Identifier: MIT */
/* Configurations that nobody wrote: mutants of good and bad files, every beginning of a file, and
 * shapes that are made to be slow. Deterministic. */
#include "app/conf.h"

#include "base/err.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/conf_files.h"

enum { SEEDS_MAX = 128, MUTANTS = 2500, MUTANT_MAX = 8192 };

static struct {
    char *text;
    size_t n;
} seeds[SEEDS_MAX];
static unsigned n_seeds;

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static unsigned below(size_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

static void read_seed(const char *folder, const char *name)
{
    char path[512];
    char *text = malloc(MUTANT_MAX);
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(text);
    seeds[n_seeds].text = text;
    seeds[n_seeds++].n = fread(text, 1, MUTANT_MAX, f);
    fclose(f);
}

static int is_yaml(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');

    return dot && strcmp(dot, ".yaml") == 0;
}

static void read_seeds(const char *folder)
{
    struct dirent **names;
    int n = scandir(folder, &names, is_yaml, alphasort);

    for (int i = 0; i < n; i++) {
        if (n_seeds < SEEDS_MAX)
            read_seed(folder, names[i]->d_name);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

static int setup_seeds(void **state)
{
    UNUSED(state);
    read_seeds(GOLDEN_DIR);
    read_seeds(CORPUS_DIR);
    return n_seeds > 30 && n_seeds < SEEDS_MAX ? 0 : -1;
}

static int teardown_seeds(void **state)
{
    UNUSED(state);
    while (n_seeds > 0)
        free(seeds[--n_seeds].text);
    return 0;
}

/* In an empty folder: the files that a mutant names are not there. */
static int setup(void **state)
{
    return setup_seeds(state) < 0 || conf_files_setup(state) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    return conf_files_teardown(state) < 0 || teardown_seeds(state) < 0 ? -1 : 0;
}

struct mutant {
    char text[MUTANT_MAX];
    size_t n;
};

static void put(struct mutant *m, size_t at, const char *bytes, size_t n)
{
    if (m->n + n > MUTANT_MAX)
        return;
    memmove(m->text + at + n, m->text + at, m->n - at);
    memcpy(m->text + at, bytes, n);
    m->n += n;
}

/* A line of m, with its end. */
static struct slice some_line(const struct mutant *m)
{
    size_t from = below(m->n + 1), to = from;

    while (from > 0 && m->text[from - 1] != '\n')
        from--;
    while (to < m->n && m->text[to] != '\n')
        to++;
    return slice_of(m->text + from, to - from + (to < m->n));
}

static void cut(struct mutant *m, struct slice part)
{
    size_t at = (size_t)(part.p - m->text);

    memmove(m->text + at, m->text + at + part.n, m->n - at - part.n);
    m->n -= part.n;
}

/* Lines deleted, repeated, moved; and the end cut off. */
static void mutate_lines(struct mutant *m)
{
    struct slice line = some_line(m);
    char copy[MUTANT_MAX];
    size_t n = line.n;

    memcpy(copy, line.p, n);
    switch (below(4)) {
    case 0:
        cut(m, line);
        return;
    case 1:
        put(m, (size_t)(line.p - m->text), copy, n);
        return;
    case 2:
        cut(m, line);
        put(m, (size_t)(some_line(m).p - m->text), copy, n);
        return;
    default:
        m->n -= below(m->n + 1) / 4;
    }
}

static void mutate(struct mutant *m)
{
    static const char *const words[] = {"[",
                                        "]",
                                        "{",
                                        "}",
                                        ": ",
                                        "- ",
                                        "\n",
                                        "\n  ",
                                        "&a ",
                                        "*a",
                                        "!!x ",
                                        "<<: ",
                                        "? ",
                                        "| \n",
                                        "'",
                                        "\"",
                                        "\t",
                                        "\xff",
                                        "\xc3",
                                        "%TAG ",
                                        "---\n",
                                        "...\n",
                                        "#",
                                        "~",
                                        "any",
                                        "on",
                                        "10s",
                                        "1KB",
                                        "listen",
                                        "clients",
                                        "::1",
                                        "99999999999999999999",
                                        "\x01",
                                        "\r",
                                        "\\x00",
                                        "address: ",
                                        "include: ./x.yaml\n",
                                        "{host: ",
                                        "every 5m",
                                        "./list",
                                        "unix:/",
                                        "for: ",
                                        "timeouts: {connect: 1s}\n",
                                        "\xe2\x80\xa8",
                                        "\xef\xbb\xbf",
                                        ",,"};
    size_t at = below(m->n + 1);
    size_t n = min_size(below(40), m->n - at);
    unsigned other = below(n_seeds);

    switch (below(9)) {
    case 0:
        if (at < m->n)
            m->text[at] = (char)below(256);
        return;
    case 1:
        memmove(m->text + at, m->text + at + n, m->n - at - n);
        m->n -= n;
        return;
    case 2:
    case 3: {
        const char *word = words[below(ARRAY_LEN(words))];

        put(m, at, word, strlen(word));
        return;
    }
    case 4: {
        char copy[40];

        memcpy(copy, m->text + at, n);
        put(m, below(m->n + 1), copy, n);
        return;
    }
    case 5:
    case 6:
    case 7:
        mutate_lines(m);
        return;
    default:
        if (seeds[other].n) {
            size_t from = below(seeds[other].n);

            put(m, at, seeds[other].text + from, min_size(below(200), seeds[other].n - from));
        }
    }
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Every failure says where; none takes long. */
static bool judge(const struct mutant *m)
{
    struct conf_errors errors;
    double before = seconds();
    struct conf *c;
    int r = conf_parse("mutant.yaml", m->text, m->n, &c, &errors);

    assert_true(seconds() - before < 1.0);
    if (r == 0) {
        assert_true(c->n_listen > 0);
        conf_free(c);
        return true;
    }
    assert_int_equal(r, ERR_SYNTAX);
    assert_true(errors.n > 0 && errors.n <= CONF_ERRORS_MAX);
    for (unsigned i = 0; i < errors.n; i++) {
        const struct conf_error *e = &errors.v[i];

        assert_true(e->line > 0 && e->column > 0);
        for (const char *p = e->text; *p; p++)
            assert_true(*p == '\n' || (unsigned char)*p >= 0x20);
    }
    conf_errors_done(&errors);
    return false;
}

static void test_mutants(void **state)
{
    unsigned good = 0;

    UNUSED(state);
    alarm(300);
    for (unsigned i = 0; i < MUTANTS; i++) {
        static struct mutant m;
        unsigned seed = i % n_seeds;

        memcpy(m.text, seeds[seed].text, seeds[seed].n);
        m.n = seeds[seed].n;
        for (unsigned k = below(8) + 1; k > 0; k--)
            mutate(&m);
        good += judge(&m);
    }
    alarm(0);
    /* If nearly all of them passed, or none, the mutants would say little. */
    assert_true(good > 25 && good < 2000);
}

static void test_every_prefix(void **state)
{
    static struct mutant m;

    UNUSED(state);
    for (unsigned i = 0; i < n_seeds; i++)
        for (size_t n = 0; n <= seeds[i].n; n++) {
            memcpy(m.text, seeds[i].text, n);
            m.n = n;
            judge(&m);
        }
}

/* What makes libyaml quadratic must not reach it. */
static void test_hostile_shapes(void **state)
{
    static const char *const pieces[] = {
        "[", "{a: ",  "[\n", "- ",  "? ",  "%TAG !a! b\n", "&a ", "via: 1\n",
        "'", "a\n  ", "[a,", "*a ", "!a ", "\"\\",         "|\n", "listen: [127.0.0.1:1, "};
    char *text = malloc(CONF_FILE_MAX);

    UNUSED(state);
    assert_non_null(text);
    alarm(300);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        size_t m = strlen(pieces[i]), n = 0;
        struct conf_errors errors;
        struct conf *c;

        for (; n + m <= CONF_FILE_MAX; n += m)
            memcpy(text + n, pieces[i], m);
        assert_int_equal(conf_parse("f", text, n, &c, &errors), ERR_SYNTAX);
        assert_true(errors.n > 0);
        conf_errors_done(&errors);
    }
    alarm(0);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutants),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_hostile_shapes),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
