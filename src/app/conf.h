/* SPDX-License-Identifier: MIT */
/* conf: the configuration file (YAML) against one table of options. The table makes the parser, the defaults, the schema, `config show` and the manual's
 * option list. All errors of a load are collected, each with file:line:column, the line, a caret and a hint.
 * Owner: app. Thread: main's while loading; read-only afterwards. */
#ifndef APP_CONF_H
#define APP_CONF_H

#include "io/addr.h"
#include "io/resolve.h"
#include "policy/guard.h"
#include "policy/matcher.h"
#include "policy/ranges.h"
#include "policy/route.h"
#include "policy/limit.h"
#include "policy/rules.h"
#include "policy/users.h"
#include "proxy/access.h"
#include "proxy/conf.h"

#include <stdio.h>

/* Admitted client addresses. */
struct conf_clients {
    bool set; /* the key was given */
    bool any; /* `any` */
    struct ranges ranges;
    const char *place; /* "file:line" of the key */
};

enum conf_listen_kind { CONF_LISTEN_TCP = 0, CONF_LISTEN_UNIX };

struct conf_listen {
    enum conf_listen_kind kind;
    struct addr addr; /* TCP */
    char *path;       /* UNIX: absolute */
    char *text;       /* as written */
    char *name;       /* NULL: none */
    struct conf_clients clients; /* set: they replace the top level's */
    struct users *users;         /* NULL: the top level's */
    enum reasons reasons;        /* DEFAULT: the top level's */
    const char *place;           /* "file:line", "--listen", or "default" */
    bool dflt; /* not written by anybody: failing to bind [::1] on a machine without IPv6 is then no error */
};

enum conf_control { CONF_CONTROL_DEFAULT = 0, CONF_CONTROL_OFF, CONF_CONTROL_PATH };

struct conf {
    char *file; /* NULL: none was used */
    struct conf_listen *listen;
    unsigned n_listen;
    struct conf_clients clients;
    bool has_rules;              /* the key was given, be it empty */
    struct rule *rules;
    unsigned n_rules;
    struct limit *limits;
    unsigned n_limits;
    const char *rules_place;     /* "file:line" of the key, NULL: it was not given; so are the other places */
    enum guard_mode private;     /* DEFAULT: not written, see conf_policy.h */
    const char *private_place;
    enum guard_mode private_in_force; /* set by the edition, which knows the listeners; DEFAULT: not in service */
    const char *private_why;
    struct matcher_ports *ports; /* has_ports: what was written; none: any */
    unsigned n_ports;
    bool has_ports;
    const char *ports_place;
    bool report, recheck;        /* of `policy` */
    const char *say;             /* NULL: none */
    const char *policy_place;
    struct users *users;  /* of the top level; NULL: nobody is asked. Constant but for the program, which the edition sets */
    enum reasons reasons; /* of the top level; DEFAULT when not given */
    unsigned workers;     /* 0: auto, one a core */
    struct proxy_conf proxy;
    struct resolve_conf resolve; /* its strings belong to the conf */
    struct access_output *outputs; /* of the access log; none: off */
    unsigned n_outputs;
    struct route *routes; /* of `upstream` */
    unsigned n_routes;
    int log_level; /* enum log_level */
    struct addr *admin; /* where metrics and health are served; none: nowhere */
    unsigned n_admin;
    enum conf_control control;
    char *control_path; /* PATH: absolute */
    const char **files; /* everything that was read, and the include patterns: what to watch */
    unsigned n_files;
    bool empty; /* there is a file, and the main one has no key at all: comments and blanks at most, or nothing in it */
    uint64_t content; /* hash of all that was read: the same content is the same configuration */
};

/* Errors found, and warnings of `check`; text is what the operator reads, several lines with the caret, no trailing newline. */
struct conf_error {
    unsigned line, column; /* from 1; 0: no place */
    char *text;
};
struct conf_errors {
    struct conf_error *v;
    unsigned n;
    const char **files; /* of a failed load: the files that were read or tried, and the include patterns, as far as it came: what to watch */
    unsigned n_files;
};
enum {
    CONF_ERRORS_MAX = 100,
    CONF_FILE_MAX = 1 << 20,    /* a YAML file */
    CONF_LIST_MAX = 128 << 20,  /* a list file */
    CONF_SOURCES_MAX = 1024,    /* files of a load */
    CONF_DEPTH_MAX = 16,
};

/* What the command line adds: --listen replaces the file's `listen`. */
struct conf_args {
    const char *file;          /* -c; NULL: search */
    const char *const *listen; /* n_listen addresses */
    unsigned n_listen;
    bool sockets;     /* listeners are handed over by systemd: without `listen` there are no default ones */
    const char *name; /* used where the file gives none; NULL: one is drawn */
};

/* The file to use by CONFIG.md's search order; NULL: none. Heap, the caller frees. */
char *conf_search(const char *dash_c);

/* Loads, checks and completes. 0; or negative with errors filled (caller calls conf_errors_done): ERR_NOTFOUND the file can't be
 * read (exit 66), ERR_SYNTAX its content is wrong (exit 78), ERR_NOMEM. *ret_conf is freed with conf_free. ret_warnings (may be NULL) gets what
 * is legal and probably not meant. */
int conf_load(const struct conf_args *args, struct conf **ret_conf, struct conf_errors *ret_errors,
              struct conf_errors *ret_warnings) MUST_USE;
/* The same from memory, for tests and fuzzing; `name` stands for the file in messages. Files that it names are read relative to it. */
int conf_parse(const char *name, const char *text, size_t n, struct conf **ret_conf, struct conf_errors *ret_errors) MUST_USE;
void conf_free(struct conf *c);
void conf_errors_print(const struct conf_errors *e, FILE *to, bool colour);
/* All texts in one, for the control socket and the log. Heap (mem_free); NULL: no memory. */
char *conf_errors_text(const struct conf_errors *e) MUST_USE;
void conf_errors_done(struct conf_errors *e);

/* The option list in scdoc, for ginnel.yaml(5), made from the table. */
void conf_print_manual(FILE *to);
/* How many keys the table has. */
unsigned conf_n_keys(void);

#endif
