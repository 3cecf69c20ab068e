/* SPDX-License-Identifier: MIT */
/* option: how a setting is declared. A room lists its options once; the parser, the defaults, the
 * checks, the schema and the manual are made from that list (app/conf_table.h has them all). What
 * stands inside an entry (a rule, a limit, …) is declared by shapes of the same types
 * (app/conf_shapes.h).
 * Static data. Thread: any. */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include "base/base.h"

#include <stdbool.h>
#include <stdint.h>

/* What a value is. The comment's first word is what it is kept as, where it is kept. */
enum option_type {
    /* Maps. */
    OPTION_SECTION = 0, /* a map of the options whose path begins with its own and a dot */
    OPTION_LISTEN,      /* an address (OPTION_LISTENING), or a map of the options below its path */
    OPTION_ENTRY,       /* what the option's shape says */
    OPTION_MAP,         /* shapes only: a map of the shape's members */
    OPTION_DICT,        /* shapes only: a map whose keys are the operator's own */

    /* Single values. */
    OPTION_SWITCH,   /* bool: on off yes no true false */
    OPTION_WORD,     /* int: one of `words` */
    OPTION_COUNT,    /* uint32_t: digits, or one of `words` */
    OPTION_SIZE,     /* uint64_t, bytes: 512, 512B, 16KB, 20MB, 1GB (1KB = 1024) */
    OPTION_DURATION, /* uint64_t, milliseconds: 500ms, 10s, 5m, 1h, 7d */
    OPTION_TOKEN,    /* char[max + 1]: an HTTP token of min to max bytes */
    OPTION_NAME,     /* char *: the same */
    OPTION_TEXT,     /* any text of min to max bytes */
    OPTION_RATE,     /* uint64_t, a number or (min 1) a size each second: 50/s, 20MB/s */
    OPTION_QUOTA,    /* a size a span of time: 500GB/month; /hour /day /week /month */

    /* Texts with a grammar of their own. */
    OPTION_FILE,      /* the path of a file, relative to the file that names it */
    OPTION_PATTERN,   /* the same; its last part may have * ? [ */
    OPTION_URL,       /* http:// or https://, an authority, and a path */
    OPTION_HOP,       /* a proxy: http:// or https://, and an authority */
    OPTION_LISTENING, /* an address and a port, localhost and a port, unix:/path */
    OPTION_ADDRESS,   /* an address and a port */
    OPTION_SERVER,    /* an address, with or without a port */
    OPTION_RANGE,     /* an address or range, `any`, or a list file */
    OPTION_PREFIX,    /* an address or range */
    OPTION_CONTROL,   /* unix:, unix:/path */
    OPTION_SINK,      /* where records go: a word, /path, syslog, syslog:/path, syslog:ADDR:PORT */
    OPTION_TUNNELS,   /* a word, or `every` and a duration */

    /* The words of matchers. */
    OPTION_HOST,     /* a name, a .name, an address or range, `any`, or a list file */
    OPTION_PORT,     /* 443, 8000-8099 */
    OPTION_SNI,      /* a name, a .name, or a list file of these */
    OPTION_PATH,     /* a prefix that begins with a slash, or /an expression/ */
    OPTION_EXPR,     /* a text, or /an expression/ */
    OPTION_GROUP,    /* a text of min to max bytes without commas and blanks at its ends */
    OPTION_TIME,     /* days of the week, a span of the day, or both */
    OPTION_METHOD,   /* a token in upper case */
    OPTION_LISTENER, /* the name of an item of `listen` */
};

/* A word that may stand for a value. The list ends with a NULL text. */
struct option_word {
    const char *text;
    int value;
};

/* Which struct the offset is of: app's struct conf; of an item of a list, struct conf_listen or
 * struct access_output. */
enum option_of { OPTION_OF_CONF = 0, OPTION_OF_LISTEN, OPTION_OF_LOG };

enum { OPTION_NOWHERE = -1 };

struct conf_shape;

struct option_def {
    const char *path; /* "timeouts.connect" */
    enum option_type type;
    bool unbuilt;          /* known, checked, and refused by name */
    bool list;             /* a list of it may stand where it stands */
    bool appends;          /* several files may have it: their items follow each other */
    const char *dflt;      /* as it would be written; NULL: what zeroed memory says */
    const char *dflt_says; /* what the manual shows instead of dflt */
    uint64_t min, max;     /* of numbers and lengths, both included; max 0: none are set */
    const struct option_word *words;
    const struct conf_shape *shape; /* ENTRY */
    enum option_of of;
    long offset;          /* of the value; OPTION_NOWHERE: it has none, or a place of its own */
    const char *sentence; /* scdoc text, one or two sentences */
};

#endif
