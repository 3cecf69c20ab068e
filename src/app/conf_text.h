/* SPDX-License-Identifier: MIT */
/* conf_text: the file's text as people see it: UTF-8 characters, what a terminal may be shown, and
 * words that resemble each other. Pure functions. Thread: any. */
#ifndef APP_CONF_TEXT_H
#define APP_CONF_TEXT_H

#include "base/slice.h"

#include <stdint.h>

/* The first character of s (RFC 3629) and how many bytes it has, 1..4. 0: s is empty or does not
 * begin with UTF-8. */
size_t conf_text_char(struct slice s, uint32_t *ret_c);
/* Whether YAML allows the character in a file. */
bool conf_text_printable(uint32_t c);

/* Writes s with control and direction-changing characters and bytes that are no UTF-8 escaped; NUL
 * behind it. Stops at max_chars characters of s and before cap overflows. Returns how many bytes of
 * s were written; *ret_columns is how wide they are on a terminal. */
size_t conf_text_escape(char *out, size_t cap, struct slice s, size_t max_chars,
                        size_t *ret_columns);

/* The candidate most like a word, within a number of typing errors that depends on its length. */
struct conf_text_guess {
    struct slice word;
    const char *best; /* NULL: none is near */
    unsigned distance;
    size_t shared; /* bytes at the front: decides between equals */
};
void conf_text_guess_init(struct conf_text_guess *g, struct slice word);
void conf_text_guess_try(struct conf_text_guess *g, const char *candidate);

#endif
