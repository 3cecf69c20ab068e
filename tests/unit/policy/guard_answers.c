/* SPDX-License-Identifier: MIT */
/* guard_answers: for test_guard_ipaddress.py. Without arguments the guard's blocks, one a line; with `-` for each address that comes in, one a line, the
 * block that it is in, or "public". */
#include "policy/guard.h"

#include <stdio.h>
#include <string.h>

static int put_blocks(void)
{
    for (size_t i = 0; guard_blocks[i].range; i++)
        puts(guard_blocks[i].range);
    return 0;
}

int main(int argc, char **argv)
{
    char line[128];

    if (argc < 2)
        return put_blocks();
    if (strcmp(argv[1], "-") != 0)
        return 64;
    while (fgets(line, sizeof(line), stdin)) {
        struct addr a;
        const struct guard_block *b;

        if (addr_parse_host(slice_of(line, strcspn(line, "\n")), 80, &a) < 0)
            return 65;
        b = guard_find(&a);
        puts(b ? b->range : "public");
    }
    return 0;
}
