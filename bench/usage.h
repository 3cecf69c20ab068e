/* SPDX-License-Identifier: MIT */
/* usage: what a process and all its descendants have used. For the loads of the bench. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* cpu (s) and rss/pss (KiB) of a pid and all its descendants */
static void proc1(int pid, double *cpu, long *rss)
{
    char p[64], b[4096];
    snprintf(p, sizeof p, "/proc/%d/stat", pid);
    FILE *f = fopen(p, "r");
    if (!f)
        return;
    size_t n = fread(b, 1, sizeof b - 1, f);
    fclose(f);
    b[n] = 0;
    char *r = strrchr(b, ')');
    unsigned long u, s, cu, cs;
    if (r && sscanf(r + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu", &u, &s,
                    &cu, &cs) == 4)
        *cpu += (double)(u + s) / sysconf(_SC_CLK_TCK);
    snprintf(p, sizeof p, "/proc/%d/smaps_rollup", pid);
    f = fopen(p, "r");
    if (f) {
        while (fgets(b, sizeof b, f))
            if (!strncmp(b, "Pss:", 4)) {
                *rss += atol(b + 4);
                break;
            }
        fclose(f);
    }
}

static void proctree(int pid, double *cpu, long *rss)
{
    proc1(pid, cpu, rss);
    DIR *d = opendir("/proc");
    struct dirent *e;
    if (!d)
        return;
    while ((e = readdir(d))) {
        int q = atoi(e->d_name);
        if (q <= 0 || q == pid)
            continue;
        char p[64], b[1024];
        snprintf(p, sizeof p, "/proc/%d/stat", q);
        FILE *f = fopen(p, "r");
        if (!f)
            continue;
        size_t n = fread(b, 1, sizeof b - 1, f);
        fclose(f);
        b[n] = 0;
        char *r = strrchr(b, ')');
        int pp = 0;
        if (r && sscanf(r + 2, "%*c %d", &pp) == 1 && pp == pid)
            proctree(q, cpu, rss);
    }
    closedir(d);
}

#endif
