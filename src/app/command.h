/* SPDX-License-Identifier: MIT */
/* command: the command line as one table: commands, options, what follows them, a sentence each.
 * The parser, the usage text, the help, the manual's lists and the shells' completions are made
 * from it. Static data. Thread: main's. */
#ifndef APP_COMMAND_H
#define APP_COMMAND_H

#include "app/conf.h"
#include "base/slice.h"

#include <stdio.h>

/* What a value or an argument is, for the parser and for completion. */
enum command_kind {
    COMMAND_NOTHING = 0, /* there is none */
    COMMAND_FILE,
    COMMAND_ADDRESS,
    COMMAND_NUMBER, /* checked: 0 to COMMAND_NUMBER_MAX */
    COMMAND_TEXT,
    COMMAND_WORDS, /* one of a list */
    COMMAND_NAME,  /* the name of a command, of one or two words */
};

enum command_flag {
    FLAG_CONFIG = 0,
    FLAG_LISTEN,
    FLAG_DEFAULTS,
    FLAG_RUNNING,
    FLAG_JSON,
    FLAG_EXCHANGES,
    FLAG_TEST,
    FLAG_AGAINST,
    FLAG_DELETE,
    FLAG_USER,
    FLAG_GROUPS,
    FLAG_LABELS,
    FLAG_CLIENT,
    FLAG_METHOD,
    FLAG_LISTENER,
    FLAG_HEADER,
    FLAG_TIME,
    FLAG_SNI,
    FLAG_ADDRESS,
    FLAG_WOULD,
    FLAG_SUFFIXES,
    FLAG_PER_USER,
    FLAG_VERSION,
    FLAG_HELP,
    COMMAND_N_OPTIONS
};

struct command_option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    bool repeats;
    bool unbuilt; /* known and refused */
    enum command_kind kind;
    const char *value;    /* as the usage shows it: "FILE" */
    const char *sentence; /* scdoc text */
};

enum command_id {
    COMMAND_SERVE = 0,
    COMMAND_CHECK,
    COMMAND_CONFIG_SHOW,
    COMMAND_CONFIG_SCHEMA,
    COMMAND_STATUS,
    COMMAND_RELOAD,
    COMMAND_DRAIN,
    COMMAND_PASSWD,
    COMMAND_WHY,
    COMMAND_DENIED,
    COMMAND_FROM_LOG,
    COMMAND_COMPLETION,
    COMMAND_HELP,
    COMMAND_BUILT, /* from here on: known and refused */
};

struct command {
    const char *name; /* "", "check", "config show" */
    bool unbuilt;
    bool needed;              /* the argument must be there */
    enum command_kind kind;   /* of the argument */
    const char *argument;     /* as the usage shows it: "FILE" */
    const char *second;       /* another one behind it, a text that must be there: "NAME"; or NULL */
    const char *const *words; /* WORDS: they end with NULL */
    unsigned options;         /* bits 1 << id */
    const char *sentence;     /* scdoc text */
};

extern const struct command command_table[];
extern const unsigned command_table_n;
extern const struct command_option command_options[COMMAND_N_OPTIONS];

enum { COMMAND_LISTEN_MAX = 32, COMMAND_NUMBER_MAX = 10000, COMMAND_LINE = 1024, COMMAND_VALUES_MAX = 96 };

static inline bool command_takes(const struct command *c, unsigned option)
{
    return c->options & 1u << option;
}

/* How a word of the command line relates to the table: the command of that whole name; the number
 * of rows whose first word it is. */
const struct command *command_find(struct slice name);
unsigned command_group(struct slice first);
/* The first word of a command's name. */
struct slice command_first(const struct command *c);

/* What the command line asks for. Strings are argv's. */
struct command_call {
    const struct command *command;
    struct slice asked; /* HELP, or --help: the name to explain; empty: everything */
    unsigned given;     /* options, bits */
    const char *file;   /* -c, or the argument where that is a file */
    const char *listen[COMMAND_LISTEN_MAX];
    unsigned n_listen;
    const char *argument, *second;
    uint32_t exchanges;
    struct command_value {
        enum command_flag option;
        const char *value;
    } values[COMMAND_VALUES_MAX]; /* of the other options that have one, in their order */
    unsigned n_values;
    char asked_text[64]; /* what `asked` points to */
};

/* Reads the command line. 0; or the exit code (usage) with why: one or two lines for people,
 * without a newline at the end. */
int command_parse(int argc, char *const *argv, struct command_call *ret_call,
                  char ret_why[COMMAND_LINE]) MUST_USE;

/* The help of the command or the group with that name; without a name of the whole. False: there is
 * no such command. */
bool command_print_help(struct slice name, FILE *to) MUST_USE;
/* For the manual, in scdoc: the synopsis; the options; the commands. */
void command_print_manual_synopsis(FILE *to);
void command_print_manual_options(FILE *to);
void command_print_manual_commands(FILE *to);

#endif
