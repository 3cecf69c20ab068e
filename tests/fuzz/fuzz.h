/* SPDX-License-Identifier: MIT */
/* fuzz: what the targets share. A target is a file with LLVMFuzzerTestOneInput; libFuzzer drives
 * it, or replay_main.c over the files of a corpus. A property that does not hold ends the program.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "base/check.h"
#include "base/slice.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_INPUT_MAX = 20000 };

/* A number that depends on all of the input: inputs stay plain messages, without bytes for us. */
static inline unsigned fuzz_choice(struct slice in)
{
    unsigned h = slice_hash_nocase(in);

    return h ^ h >> 15;
}

static inline void fuzz_fail(const char *what, struct slice in, const char *a, const char *b)
{
    fprintf(stderr, "%s\ninput (%zu bytes):\n", what, in.n);
    fwrite(in.p, 1, in.n, stderr);
    fprintf(stderr, "\none:\n%s\nother:\n%s\n", a, b);
    abort();
}

static inline void fuzz_same(const char *what, struct slice in, const char *a, const char *b)
{
    if (strcmp(a, b) != 0)
        fuzz_fail(what, in, a, b);
}

/* Lines end in CR LF, neither stands alone, no byte is NUL, the first empty line is the end. */
static inline void fuzz_check_wire(const char *what, struct slice in, const char *wire, size_t n)
{
    const char *end = n >= 4 ? memmem(wire, n, "\r\n\r\n", 4) : NULL;

    if (!end || end != wire + n - 4)
        fuzz_fail(what, in, "does not end where it ought to", wire);
    for (size_t i = 0; i < n; i++) {
        if (wire[i] == '\0' || (wire[i] == '\r' && wire[i + 1] != '\n') ||
            (wire[i] == '\n' && (i == 0 || wire[i - 1] != '\r')))
            fuzz_fail(what, in, "NUL, bare CR or bare LF", wire);
    }
}

#endif
