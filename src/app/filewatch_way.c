/* SPDX-License-Identifier: MIT */
/* filewatch_way: takes a path apart, name by name, and puts in what its symlinks say. Called by filewatch, which asks the file system.
 */
#include "app/filewatch_way.h"

#include <string.h>
#include <unistd.h>

bool filewatch_way_start(struct filewatch_way *k, const char *path)
{
    memcpy(k->at, "/", 2);
    if (path[0] != '/' && !getcwd(k->at, sizeof(k->at)))
        return false;
    k->links = 0;
    memcpy(k->rest, path, strlen(path) + 1);
    return true;
}

/* False when there is none, or none that could exist. */
static bool next_name(struct filewatch_way *k)
{
    size_t from = strspn(k->rest, "/"), n = strcspn(k->rest + from, "/"), to = from + n;

    if (n == 0 || n > NAME_MAX)
        return false;
    memcpy(k->name, k->rest + from, n);
    k->name[n] = '\0';
    to += strspn(k->rest + to, "/");
    memmove(k->rest, k->rest + to, strlen(k->rest + to) + 1);
    return true;
}

static bool join_child(struct filewatch_way *k)
{
    size_t n = strlen(k->at), m = strlen(k->name);

    if (n == 1)
        n = 0; /* the root's slash is the only one */
    if (n + 1 + m >= sizeof(k->child))
        return false;
    memcpy(k->child, k->at, n);
    k->child[n] = '/';
    memcpy(k->child + n + 1, k->name, m + 1);
    return true;
}

static void climb(struct filewatch_way *k)
{
    char *slash = strrchr(k->at, '/');

    slash[slash == k->at ? 1 : 0] = '\0';
}

enum filewatch_way_step filewatch_way_next(struct filewatch_way *k)
{
    while (next_name(k)) {
        if (strcmp(k->name, ".") == 0)
            continue;
        if (strcmp(k->name, "..") == 0)
            climb(k);
        else
            return join_child(k) ? FILEWATCH_WAY_NAME : FILEWATCH_WAY_LOST;
    }
    return k->rest[strspn(k->rest, "/")] ? FILEWATCH_WAY_LOST : FILEWATCH_WAY_END;
}

void filewatch_way_enter(struct filewatch_way *k)
{
    memcpy(k->at, k->child, sizeof(k->at));
}

bool filewatch_way_follow(struct filewatch_way *k, const char *target, size_t n)
{
    size_t m = strlen(k->rest);

    if (++k->links > FILEWATCH_WAY_LINKS_MAX || n + 1 + m >= sizeof(k->rest))
        return false;
    memmove(k->rest + n + 1, k->rest, m + 1);
    memcpy(k->rest, target, n);
    k->rest[n] = m ? '/' : '\0';
    if (n && target[0] == '/')
        memcpy(k->at, "/", 2);
    return true;
}
