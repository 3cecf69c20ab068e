/* SPDX-License-Identifier: MIT */
/* What the operator reads, to the byte: tests/golden/conf/NAME.yaml is loaded, and NAME.expected
 * has its errors, or else its warnings. With GOLDEN_UPDATE set in the environment the expectations
 * are written instead, for somebody who then reads the difference. A message of the sources that no
 * expectation and no test has is a failure. */
#include "app/conf.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NAME_MAX_BYTES = 256, FILES_MAX = 256 };

/* ---- files ---- */

static const char *wanted_ending;

static int has_ending(const struct dirent *e)
{
    size_t n = strlen(e->d_name), m = strlen(wanted_ending);

    return n > m && strcmp(e->d_name + n - m, wanted_ending) == 0;
}

struct names {
    struct dirent **v;
    int n;
};

static struct names list_files(const char *folder, const char *ending)
{
    struct names names;

    wanted_ending = ending;
    names.n = scandir(folder, &names.v, has_ending, alphasort);
    assert_true(names.n > 0);
    return names;
}

static void free_names(struct names *names)
{
    for (int i = 0; i < names->n; i++)
        free(names->v[i]);
    free(names->v);
}

/* Heap, with a NUL; "" where there is no file. */
static char *read_all(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = NULL;
    size_t n = 0, got;
    char block[4096];

    text = calloc(1, 1);
    while (f && (got = fread(block, 1, sizeof(block), f)) > 0) {
        text = realloc(text, n + got + 1);
        assert_non_null(text);
        memcpy(text + n, block, got);
        n += got;
        text[n] = '\0';
    }
    if (f)
        fclose(f);
    return text;
}

/* ---- goldens ---- */

static char *load_text(const char *name)
{
    const struct conf_args args = {.file = name};
    struct conf_errors errors, warnings;
    struct conf *c = NULL;
    int r = conf_load(&args, &c, &errors, &warnings);
    char *text = conf_errors_text(r < 0 ? &errors : &warnings);

    assert_true(r == 0 || r == ERR_SYNTAX);
    assert_non_null(text);
    conf_errors_done(&errors);
    conf_errors_done(&warnings);
    if (r == 0)
        conf_free(c);
    return text;
}

static bool is_golden(const char *name)
{
    char path[NAME_MAX_BYTES + 16], *expected, *text;
    bool same;

    snprintf(path, sizeof(path), "%.*s.expected", (int)(strlen(name) - strlen(".yaml")), name);
    text = load_text(name);
    if (getenv("GOLDEN_UPDATE")) {
        FILE *f = fopen(path, "w");

        assert_non_null(f);
        fputs(text, f);
        fclose(f);
    }
    expected = read_all(path);
    same = strcmp(text, expected) == 0;
    if (!same)
        fprintf(stderr, "--- %s: expected\n%s--- got\n%s", name, expected, text);
    free(expected);
    mem_free(text);
    return same;
}

static void test_goldens(void **state)
{
    struct names names = list_files(GOLDEN_DIR, ".yaml");
    bool all = true;

    UNUSED(state);
    assert_int_equal(chdir(GOLDEN_DIR), 0);
    for (int i = 0; i < names.n; i++)
        all = is_golden(names.v[i]->d_name) && all;
    assert_true(names.n > 15);
    free_names(&names);
    assert_true(all);
}

/* ---- every message has one ---- */

/* All that is expected anywhere. */
static char *evidence;

static void add_evidence(const char *text)
{
    size_t had = evidence ? strlen(evidence) : 0, n = strlen(text);

    evidence = realloc(evidence, had + n + 1);
    assert_non_null(evidence);
    memcpy(evidence + had, text, n + 1);
}

/* The text of C's string literals as the program sees it, near enough: those that follow each other
 * are one, \n ends a line, \" is a quote. */
static void add_literals(const char *source)
{
    char *out = malloc(strlen(source) + 2);
    bool inside = false;
    size_t n = 0;

    assert_non_null(out);
    for (const char *p = source; *p; p++) {
        if (*p == '"') {
            inside = !inside;
        } else if (inside && *p == '\\' && p[1]) {
            p++;
            out[n++] = *p == 'n' ? '\n' : *p;
        } else if (inside) {
            out[n++] = *p;
        } else if (*p == ',' || *p == ';' || *p == '}') {
            out[n++] = '\n';
        } else if (*p == '\'' && p[1] == '"' && p[2] == '\'') {
            p += 2;
        }
    }
    out[n] = '\0';
    add_evidence(out);
    free(out);
}

static void collect_evidence(void)
{
    struct names names = list_files(GOLDEN_DIR, ".expected");
    char path[NAME_MAX_BYTES * 2];

    for (int i = 0; i < names.n; i++) {
        char *text;

        snprintf(path, sizeof(path), "%s/%s", GOLDEN_DIR, names.v[i]->d_name);
        text = read_all(path);
        add_evidence(text);
        free(text);
    }
    free_names(&names);
    names = list_files(TEST_DIR, ".c");
    for (int i = 0; i < names.n; i++) {
        char *text;

        if (strncmp(names.v[i]->d_name, "test_conf", 9) != 0 ||
            strcmp(names.v[i]->d_name, "test_conf_golden.c") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", TEST_DIR, names.v[i]->d_name);
        text = read_all(path);
        add_literals(text);
        free(text);
    }
    free_names(&names);
}

/* Whether the line has the fixed parts of the format in their order. */
static bool line_has(struct slice line, const char *format)
{
    while (*format) {
        size_t n = strcspn(format, "%");
        const char *hit;

        if (n) {
            hit = line.n ? memmem(line.p, line.n, format, n) : NULL;
            if (!hit)
                return false;
            line = slice_skip(line, (size_t)(hit - line.p) + n);
        }
        format += n;
        if (*format == '%') {
            format += 1 + strspn(format + 1, ".*0123456789lzu");
            if (format[-1] != 'u')
                format++;
        }
    }
    return true;
}

static bool is_seen(const char *format)
{
    for (const char *p = evidence; *p;) {
        size_t n = strcspn(p, "\n");

        if (line_has(slice_of(p, n), format))
            return true;
        p += n + (p[n] == '\n');
    }
    return false;
}

/* Reads literals that follow each other from *p on; false: there is none. */
static bool read_literal(const char **p, char *out, size_t cap)
{
    size_t n = 0;
    const char *s = *p;

    while (*s == ' ' || *s == '\n')
        s++;
    if (*s != '"')
        return false;
    while (*s == '"') {
        for (s++; *s && *s != '"'; s++) {
            if (*s == '\\')
                s++;
            assert_true(n + 1 < cap);
            out[n++] = *s;
        }
        s++;
        while (*s == ' ' || *s == '\n')
            s++;
    }
    out[n] = '\0';
    *p = s;
    return true;
}

/* Behind the n-th comma that is in no bracket and no literal. */
static const char *skip_arguments(const char *s, int n)
{
    int depth = 0;

    for (; *s && n > 0; s++) {
        if (*s == '"') {
            for (s++; *s && *s != '"'; s++)
                if (*s == '\\')
                    s++;
        } else if (*s == '(' || *s == '{') {
            depth++;
        } else if (*s == ')' || *s == '}') {
            depth--;
        } else if (*s == ',' && depth == 0) {
            n--;
        }
    }
    return s;
}

static unsigned n_formats;

/* Each literal that stands n arguments behind the word. */
static bool check_behind(const char *name, const char *source, const char *word, int n)
{
    bool all = true;
    char format[512];

    for (const char *p = source; (p = strstr(p, word)) != NULL;) {
        const char *s;

        p += strlen(word);
        s = skip_arguments(p, n);
        if (!read_literal(&s, format, sizeof(format)))
            continue;
        n_formats++;
        if (is_seen(format))
            continue;
        fprintf(stderr, "%s: no test has this message: %s\n", name, format);
        all = false;
    }
    return all;
}

static bool check_source(const char *name, const char *source)
{
    const char *table = strstr(source, "syntaxes[] = {"),
               *end = table ? strstr(table, "\n};") : NULL;
    bool all = check_behind(name, source, "conf_report_add(", 3);

    all = check_behind(name, source, "*ret_message = ", 0) && all;
    if (strcmp(name, "conf_source.c") == 0)
        all = check_behind(name, source, "return ", 0) && all;
    if (end) {
        char *part = strndup(table + strlen("syntaxes[] = {"), (size_t)(end - table));

        assert_non_null(part);
        all = check_behind(name, part, "\n    {", 1) && all;
        free(part);
    }
    return all;
}

static void test_every_message_has_one(void **state)
{
    struct names names = list_files(SOURCE_DIR, ".c");
    bool all = true;

    UNUSED(state);
    collect_evidence();
    assert_false(is_seen("a message that %s nobody wrote"));
    for (int i = 0; i < names.n; i++) {
        char path[NAME_MAX_BYTES * 2], *source;

        if (strncmp(names.v[i]->d_name, "conf", 4) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", SOURCE_DIR, names.v[i]->d_name);
        source = read_all(path);
        all = check_source(names.v[i]->d_name, source) && all;
        free(source);
    }
    free_names(&names);
    free(evidence);
    assert_true(n_formats > 80);
    assert_true(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_every_message_has_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
