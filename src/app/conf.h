/* SPDX-License-Identifier: MIT */
/* conf: the configuration file (YAML) against one table of options. The table makes the parser, the defaults and the manual's
 * option list. All errors of a file are collected, each with file:line:column, the line, a caret and a hint.
 * Owner: main. Thread: main's while loading; read-only afterwards. */
#ifndef APP_CONF_H
#define APP_CONF_H

#include "io/addr.h"
#include "io/resolve.h"
#include "proxy/conf.h"

#include <stdio.h>

struct conf_listen {
    struct addr addr;
    char *text;    /* as written */
    bool dflt;     /* not written by anybody: failing to bind [::1] on a machine without IPv6 is then no error */
};

enum conf_access { ACCESS_STDERR = 0, ACCESS_STDOUT, ACCESS_FILE, ACCESS_OFF };

struct conf {
    char *file; /* NULL: none was used */
    struct conf_listen *listen;
    unsigned n_listen;
    struct addr_range *clients;
    unsigned n_clients;
    bool clients_any;  /* `any` */
    bool clients_set;  /* the key was given */
    unsigned workers;  /* 0: auto, one a core */
    struct proxy_conf proxy;
    struct resolve_conf resolve; /* its strings belong to the conf */
    enum conf_access access;
    char *access_file;
    int log_level; /* enum log_level */
};

/* Errors found; text is what the operator reads, several lines with the caret, no trailing newline. */
struct conf_error {
    unsigned line, column; /* from 1; 0: no place */
    char *text;
};
struct conf_errors {
    struct conf_error *v;
    unsigned n;
};
enum { CONF_ERRORS_MAX = 100, CONF_FILE_MAX = 1 << 20, CONF_DEPTH_MAX = 16 };

/* What the command line adds: --listen replaces the file's `listen`. */
struct conf_args {
    const char *file;          /* -c; NULL: search */
    const char *const *listen; /* n_listen addresses */
    unsigned n_listen;
};

/* The file to use by CONFIG.md's search order; NULL: none. Heap, the caller frees. */
char *conf_search(const char *dash_c);

/* Loads, checks and completes. 0; or negative with errors filled (caller calls conf_errors_done): ERR_NOTFOUND the file can't be
 * read (exit 66), ERR_SYNTAX its content is wrong (exit 78), ERR_NOMEM. *ret_conf is freed with conf_free. */
int conf_load(const struct conf_args *args, struct conf **ret_conf, struct conf_errors *ret_errors) MUST_USE;
/* The same from memory, for tests and fuzzing; `name` stands for the file in messages. */
int conf_parse(const char *name, const char *text, size_t n, struct conf **ret_conf, struct conf_errors *ret_errors) MUST_USE;
void conf_free(struct conf *c);
void conf_errors_print(const struct conf_errors *e, FILE *to, bool colour);
void conf_errors_done(struct conf_errors *e);

/* The option list in scdoc, for ginnel.yaml(5), made from the table. */
void conf_print_manual(FILE *to);
/* How many keys the table has. */
unsigned conf_n_keys(void);

#endif
