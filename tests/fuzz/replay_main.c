/* SPDX-License-Identifier: MIT */
/* replay_main: runs a fuzz target over every file of the directories given, without libFuzzer, so
 * that the corpus is part of every test run. Each input lies alone on the heap: a sanitizer sees a
 * read past its end. */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>

enum { FILE_MAX = 1 << 20, PATH_BYTES = 4096 };

static void run_file(const char *path)
{
    static char buf[FILE_MAX];
    FILE *f = fopen(path, "rb");
    uint8_t *copy;
    size_t n;

    if (!f) {
        perror(path);
        exit(1);
    }
    n = fread(buf, 1, sizeof(buf), f);
    fclose(f);
    copy = malloc(n ? n : 1);
    CHECK(copy);
    memcpy(copy, buf, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static unsigned run_directory(const char *name)
{
    DIR *dir = opendir(name);
    struct dirent *entry;
    char path[PATH_BYTES];
    unsigned n = 0;

    if (!dir) {
        perror(name);
        exit(1);
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", name, entry->d_name) >= sizeof(path))
            continue;
        run_file(path);
        n++;
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    unsigned n = 0;

    for (int i = 1; i < argc; i++)
        n += run_directory(argv[i]);
    printf("%u inputs\n", n);
    return n ? 0 : 1;
}
