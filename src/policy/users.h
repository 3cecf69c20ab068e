/* SPDX-License-Identifier: MIT */
/* users: who may use a listener, as the configuration says: a table of names with the hashes of their passwords, or a program that knows them; and the
 * groups of a table beside it. Names are compared byte by byte.
 * Owner: the configuration. Thread: read-only after building, by all. */
#ifndef POLICY_USERS_H
#define POLICY_USERS_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct program;

enum {
    USERS_HASH_MAX = 384,   /* bytes of a stored hash: CRYPT_OUTPUT_SIZE */
    USERS_LABELS_MAX = 1024, /* of a line's labels */
    USERS_GROUPS_MAX = 4096, /* of the names of one user's groups, commas between */
    USERS_MAX = 1 << 26,
};

/* A name and what belongs to it: name NUL value NUL more NUL. */
struct users_row {
    const char *text;
    uint16_t name_n, value_n, more_n;
};

/* Rows by name. Zeroed at first. */
struct users_table {
    struct users_row *v; /* mem_*, the table's */
    uint32_t *slots;     /* index + 1; 0: empty. mem_* */
    uint32_t n, cap, mask;
};

/* Appends; text as in struct users_row, borrowed. *ret_first: the row that had the name already (then nothing was added), else NULL. ERR_NOMEM, ERR_LIMIT. */
int users_table_add(struct users_table *t, struct users_row row, const struct users_row **ret_first) MUST_USE;
const struct users_row *users_table_find(const struct users_table *t, struct slice name);
void users_table_done(struct users_table *t);

static inline struct slice users_row_name(const struct users_row *r)
{
    return slice_of(r->text, r->name_n);
}
/* A user's: the stored hash; a member's: its groups, commas between. */
static inline struct slice users_row_value(const struct users_row *r)
{
    return slice_of(r->text + r->name_n + 1, r->value_n);
}
/* A user's: the labels that are permitted, commas between. */
static inline struct slice users_row_more(const struct users_row *r)
{
    return slice_of(r->text + r->name_n + 1 + r->value_n + 1, r->more_n);
}

struct users {
    bool when_needed;    /* only asked for where a rule would decide by it */
    bool by_program;
    uint64_t cache_ms;   /* how long a right password is remembered; 0: not at all */
    uint64_t timeout_ms; /* of a verification */
    struct users_table names;  /* without a program */
    uint32_t usual;            /* the index of a row whose hash costs what most of them cost; names.n 0: none */
    struct users_table groups; /* by member */
    /* a program's */
    const char *const *argv;
    unsigned children, concurrency;
    struct program *program; /* set by app before anybody reads; borrowed */

    uint64_t content;        /* hash of all that was written, for comparing */
    const char *place;       /* "file:line" of the key */
    const char *file, *groups_file; /* as they were opened; NULL: none */
};

void users_done(struct users *u);

/* The row that the name's password is compared with, or, for an unknown one, the usual row, whose outcome must not count: *ret_known says which. NULL:
 * there are no users. */
const struct users_row *users_row_for(const struct users *u, struct slice name, bool *ret_known);
/* Whether `item` is one of a list with commas between. */
bool users_list_has(struct slice list, struct slice item);
/* What crypt(3) can verify here and ginnel accepts: $y$, $2a$, $2b$, $2y$, $6$, $5$. */
bool users_hash_is_known(struct slice hash);

#endif
