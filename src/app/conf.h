/* SPDX-License-Identifier: MIT */
/* conf: the configuration file (YAML) against one table of options. The table makes the parser, the defaults, the schema, `config show` and the manual's
 * option list. All errors of a load are collected, each with file:line:column, the line, a caret and a hint.
 * Owner: app. Thread: main's while loading; read-only afterwards. */
#ifndef APP_CONF_H
#define APP_CONF_H

#include "io/addr.h"
#include "io/resolve.h"
#include "io/tls.h"
#include "policy/guard.h"
#include "policy/matcher.h"
#include "policy/ranges.h"
#include "policy/route.h"
#include "policy/limit.h"
#include "policy/rules.h"
#include "policy/users.h"
#include "proxy/access.h"
#include "proxy/conf.h"
#include "proxy/snapshot.h"

#include <stdio.h>

/* Admitted client addresses. */
struct conf_clients {
    bool set; /* the key was given */
    bool any; /* `any` */
    struct ranges ranges;
    const char *place; /* "file:line" of the key */
};

/* How the tickets of a listener are sealed. */
enum conf_tickets { CONF_TICKETS_AUTO = 0, CONF_TICKETS_OFF, CONF_TICKETS_FILE };

/* What `tls` of an item of `listen` says, with the content of its files. The two listeners of localhost share one. */
struct conf_tls {
    bool self_signed;       /* `auto`: the one pair is app's to find or make (app/tls_auto.h) */
    struct tls_pair *pairs; /* the first is that of `cert` */
    unsigned n_pairs;
    struct conf_tls_files {
        const char *cert, *key, *staple; /* as they were opened; NULL: none */
    } *files;                            /* of each pair */
    const char *cert_names; /* of all its certificates, ", " between; NULL: none is known yet */
    enum tls_client_certs clients;
    struct slice client_ca;
    const char *client_ca_file;
    struct cert_names names; /* part, and the map where there is one */
    struct users_table map;
    const char *map_file;
    enum tls_version min;
    unsigned alpn; /* TLS_ALPN_*; never 0 */
    enum conf_tickets tickets;
    struct slice ticket_keys; /* FILE: of TLS_TICKET_KEY bytes each */
    const char *tickets_file;
    bool clear;
    uint64_t content; /* hash of all of it, for comparing */
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
    struct conf_tls *tls;        /* NULL: none */
    struct ranges *proxy_from;   /* of `proxy-protocol`; NULL: nobody */
    const char *place;           /* "file:line", "--listen", or "default" */
    bool dflt; /* not written by anybody: failing to bind [::1] on a machine without IPv6 is then no error */
};

/* Where the pieces of a tls_client_conf are from: names of files, for `config show`. */
struct conf_tls_from {
    bool has_trust; /* it is written; else it is the default's */
    const char **trust; /* none: the system's store */
    unsigned n_trust;
    bool system; /* that store as well as those */
    const char *cert, *key; /* NULL: none */
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
    struct tls_client_conf *tls_clients; /* [0]: what `trust` says, always there; those that `origins` name. Without keylog */
    struct conf_tls_from *tls_from;      /* of each */
    unsigned n_tls_clients;
    struct origin_entry *origins;
    unsigned n_origins;
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
