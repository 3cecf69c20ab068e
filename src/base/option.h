/* SPDX-License-Identifier: MIT */
/* option: how a setting is declared. A room lists its options once; the parser, the defaults, the
 * checks and the manual are made from that list (app/conf_table.h has them all).
 * Static data. Thread: any. */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include "base/base.h"

#include <stdbool.h>
#include <stdint.h>

enum option_type {
    OPTION_SECTION = 0, /* a map of the options whose path begins with its own and a dot */
    OPTION_SWITCH,      /* bool: on off yes no true false */
    OPTION_WORD,        /* int: one of `words` */
    OPTION_COUNT,       /* uint32_t: digits, or one of `words` */
    OPTION_SIZE,        /* uint32_t, bytes: 512, 512B, 16KB, 20MB, 1GB (1KB = 1024) */
    OPTION_DURATION,    /* uint64_t, milliseconds: 500ms, 10s, 5m, 1h, 7d */
    OPTION_TOKEN,       /* char[max + 1]: an HTTP token of min to max bytes */
    OPTION_LISTEN,      /* the lists of addresses and the like: app knows where they go */
    OPTION_RANGES,
    OPTION_SERVERS,
    OPTION_SINK,
};

/* A word that may stand for a value. The list ends with a NULL text. */
struct option_word {
    const char *text;
    int value;
    bool unbuilt; /* known, refused by name */
};

enum { OPTION_NOWHERE = -1 };

struct option_def {
    const char *path; /* "timeouts.connect" */
    enum option_type type;
    bool unbuilt;          /* known, refused by name; only path and sentence count */
    const char *dflt;      /* as it would be written; NULL: what zeroed memory says */
    const char *dflt_says; /* what the manual shows instead of dflt */
    uint64_t min, max;     /* of numbers, both included */
    const struct option_word *words;
    long offset;          /* of the value in struct conf; OPTION_NOWHERE: it has none */
    const char *sentence; /* scdoc text, one or two sentences */
};

#endif
