/* SPDX-License-Identifier: MIT */
/* usage: what a process and all its descendants have used. For the loads of the bench. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { USAGE_TEXT = 4096 };

/* /proc/PID/stat behind the name, which may have blanks and brackets in it; false: it has ended. */
static bool usage_stat(int pid, int *ret_parent, double *ret_cpu)
{
    char p[64], b[USAGE_TEXT];
    snprintf(p, sizeof p, "/proc/%d/stat", pid);
    FILE *f = fopen(p, "r");
    if (!f)
        return false;
    size_t n = fread(b, 1, sizeof b - 1, f);
    fclose(f);
    b[n] = 0;
    char *r = strrchr(b, ')');
    unsigned long u, s;
    if (!r || sscanf(r + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", ret_parent, &u, &s) != 3)
        return false;
    *ret_cpu = (double)(u + s) / (double)sysconf(_SC_CLK_TCK);
    return true;
}

static long usage_pss(int pid)
{
    char p[64], b[USAGE_TEXT];
    long kib = 0;
    snprintf(p, sizeof p, "/proc/%d/smaps_rollup", pid);
    FILE *f = fopen(p, "r");
    while (f && kib == 0 && fgets(b, sizeof b, f))
        if (!strncmp(b, "Pss:", 4))
            kib = atol(b + 4);
    if (f)
        fclose(f);
    return kib;
}

/* Adds cpu (s) and pss (KiB) of a pid and all its descendants. */
static void proctree(int pid, double *cpu, long *pss)
{
    int parent;
    double own;
    if (usage_stat(pid, &parent, &own))
        *cpu += own;
    *pss += usage_pss(pid);
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (d && (e = readdir(d))) {
        int q = atoi(e->d_name);
        if (q > 0 && q != pid && usage_stat(q, &parent, &own) && parent == pid)
            proctree(q, cpu, pss);
    }
    if (d)
        closedir(d);
}

#endif
