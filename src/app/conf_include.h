/* SPDX-License-Identifier: MIT */
/* conf_include: the files that the main one includes. Thread: main's. */
#ifndef APP_CONF_INCLUDE_H
#define APP_CONF_INCLUDE_H

#include "app/conf_build.h"

/* The tree of one file. */
struct conf_unit {
    struct conf_unit *next;
    struct conf_node *root; /* NULL: it is empty */
    bool whole;             /* false: broken off by an error */
};

/* Reads the files that the main one's tree includes, in the order of their names, and puts their
 * trees behind it. Faults go to the report. Memory is the only way to fail. */
int conf_include_read(struct conf_build *b, struct conf_unit *main_unit) MUST_USE;

#endif
