/* SPDX-License-Identifier: MIT */
/* conf_files: a folder of its own for tests that load configurations of several files. The program
 * works in it, so that paths in messages are short. Include it once a program, after cmocka. */
#ifndef SUPPORT_CONF_FILES_H
#define SUPPORT_CONF_FILES_H

#include "app/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char conf_files_dir[64], conf_files_before[512];

static inline int conf_files_setup(void **state)
{
    (void)state;
    strcpy(conf_files_dir, "/tmp/ginnel-conf-XXXXXX");
    if (!getcwd(conf_files_before, sizeof(conf_files_before)) || !mkdtemp(conf_files_dir) ||
        chmod(conf_files_dir, 0755) < 0)
        return -1;
    return chdir(conf_files_dir);
}

static inline int conf_files_teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf --one-file-system '%s'", conf_files_dir);
    return chdir(conf_files_before) < 0 || system(command) ? -1 : 0;
}

static inline void conf_files_write(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline void conf_files_text(const char *path, const char *text)
{
    conf_files_write(path, text, strlen(text));
}

/* Loads a file. Errors, or else warnings, as one text that the caller frees (mem_free). */
static inline struct conf *conf_files_load(const char *path, int *ret_code, char **ret_text)
{
    const struct conf_args args = {.file = path};
    struct conf_errors errors, warnings;
    struct conf *c = NULL;

    *ret_code = conf_load(&args, &c, &errors, &warnings);
    *ret_text = conf_errors_text(*ret_code < 0 ? &errors : &warnings);
    assert_non_null(*ret_text);
    conf_errors_done(&errors);
    conf_errors_done(&warnings);
    return *ret_code < 0 ? NULL : c;
}

#endif
