/* SPDX-License-Identifier: MIT */
/* chars: the table of byte classes, drawn as sixteen rows of sixteen bytes. Every scanner of the
 * codec reads it; no other place in this folder may have an opinion about what a byte is. It never
 * changes.
 */
#include "proto/chars.h"

enum {
    no = 0, /* controls and DEL: in no class */
    BL = CHARS_VALUE | CHARS_BLANK | CHARS_QUOTED,
    pu = CHARS_TARGET | CHARS_VALUE | CHARS_QUOTED, /* punctuation that delimits */
    qt = CHARS_TARGET | CHARS_VALUE,                /* '"' and '\\' */
    tk = pu | CHARS_TOKEN,                          /* punctuation of tokens */
    da = tk | CHARS_NAME,                           /* '-', '.', '_' */
    UP = tk,                                        /* G-Z */
    HX = tk | CHARS_HEX,                            /* A-F */
    lo = tk | CHARS_NAME,                           /* g-z */
    hx = lo | CHARS_HEX,                            /* a-f */
    di = hx | CHARS_DIGIT,
    ob = pu, /* obs-text */
};

/* clang-format off */
const uint8_t chars_table[256] = {
    no, no, no, no, no, no, no, no, no, BL, no, no, no, no, no, no,
    no, no, no, no, no, no, no, no, no, no, no, no, no, no, no, no,
    BL, tk, qt, tk, tk, tk, tk, tk, pu, pu, tk, tk, pu, da, da, pu,
    di, di, di, di, di, di, di, di, di, di, pu, pu, pu, pu, pu, pu,
    pu, HX, HX, HX, HX, HX, HX, UP, UP, UP, UP, UP, UP, UP, UP, UP,
    UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, pu, qt, pu, tk, da,
    tk, hx, hx, hx, hx, hx, hx, lo, lo, lo, lo, lo, lo, lo, lo, lo,
    lo, lo, lo, lo, lo, lo, lo, lo, lo, lo, lo, pu, tk, pu, tk, no,
    ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob,
    ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob,
    ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob,
    ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob,
    ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob,
    ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob,
    ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob,
    ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob, ob,
};
/* clang-format on */
