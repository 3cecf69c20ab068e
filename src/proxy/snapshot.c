/* SPDX-License-Identifier: MIT */
/* snapshot: looking a listener up. Called once an exchange; listeners are few.
 */
#include "proxy/snapshot.h"

const struct snapshot_listen *snapshot_listen_find(const struct snapshot *s, unsigned id)
{
    for (unsigned i = 0; i < s->n_listen; i++)
        if (s->listen[i].id == id)
            return &s->listen[i];
    return NULL;
}
