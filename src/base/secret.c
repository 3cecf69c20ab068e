/* SPDX-License-Identifier: MIT */
/* secret: comparing and forgetting. Called by whoever handles passwords and hashes of them.
 */
#include "base/secret.h"

#include <stdint.h>

bool secret_equal(struct slice a, struct slice b)
{
    volatile unsigned char differ = 0;

    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        differ = (unsigned char)(differ | (unsigned char)(a.p[i] ^ b.p[i]));
    return differ == 0;
}

void secret_wipe(struct slice s)
{
    if (s.n)
        explicit_bzero((void *)(uintptr_t)s.p, s.n);
}
