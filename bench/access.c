/* SPDX-License-Identifier: MIT */
/* bench-access: what a record costs: the worker that puts it, and the log's thread that formats and
 * writes it. CPU time, not wall clock: with one core less the thread is no slower.
 *
 *   bench-access [RECORDS]
 */
#include "base/check.h"
#include "proxy/access.h"
#include "proxy/access_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static struct access_record typical(bool v6)
{
    struct access_record r = {
        .id = 0x1234abcd,
        .start_us = 1000000,
        .wall_ms = 1700000000123,
        .method = SLICE("GET"),
        .host = SLICE("www.example.org"),
        .path = SLICE("/assets/images/2024/11/hero-banner.jpg"),
        .agent = SLICE("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        .referer = SLICE("http://www.example.org/news/"),
        .type = SLICE("image/jpeg"),
        .listener = SLICE("main"),
        .rule = SLICE("egress.yaml:12"),
        .bytes_up = 0,
        .bytes_down = 34567,
        .head_down = 312,
        .dns_us = 1499,
        .connect_us = 15200,
        .first_byte_us = 40000,
        .port = 80,
        .status = 200,
        .version = 11,
        .scheme = MATCH_HTTP,
        .end = END_DONE,
    };

    CHECK(addr_parse(v6 ? SLICE("[2001:db8:1::2:3]:51234") : SLICE("192.0.2.143:51234"),
                     &r.client) == 0);
    CHECK(addr_parse(v6 ? SLICE("[2001:db8:7::80]:80") : SLICE("198.51.100.80:80"), &r.peer) == 0);
    CHECK(addr_parse(v6 ? SLICE("[2001:db8:1::1]:40000") : SLICE("192.0.2.7:40000"), &r.local) ==
          0);
    return r;
}

static void format_alone(const char *name, enum access_layout layout, bool v6, uint64_t n)
{
    struct access_record r = typical(v6);
    static char line[ACCESS_LINE_MAX];
    uint64_t t0 = cpu_ns(CLOCK_THREAD_CPUTIME_ID), bytes = 0;

    for (uint64_t i = 0; i < n; i++) {
        r.id = i;
        r.wall_ms += i % 64 == 0;
        bytes += access_format(layout, &r, 1045678 + i, line, sizeof(line));
    }
    printf("  format %-9s %s  %4llu ns, %llu bytes\n", name, v6 ? "IPv6" : "IPv4",
           (unsigned long long)((cpu_ns(CLOCK_THREAD_CPUTIME_ID) - t0) / n),
           (unsigned long long)(bytes / n));
}

/* All of it: one worker, one output. */
static void whole(const char *path, enum access_layout layout, uint64_t n)
{
    struct access_output out = {.sink = ACCESS_FILE, .path = path, .layout = layout};
    struct access_log *a = access_new(STDERR_FILENO);
    struct access_record r = typical(false);
    uint64_t put = 0, counted = 0, mine, all;
    struct access_shard *s;
    struct access_set *set;
    static struct loop loop;
    unsigned failed;

    CHECK(a && loop_init(&loop, &world_linux) == 0);
    s = access_shard_new(a, &loop);
    CHECK(s && access_open(&out, 1, &set, &failed) == 0);
    access_switch(a, set);
    mine = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    all = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (uint64_t i = 0; i < n;) {
        uint64_t t0 = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
        unsigned k;

        for (k = 0; k < 64 && i + k < n; k++) {
            r.id = i + k;
            if (!access_put(s, &r, 1045678))
                break;
        }
        if (k == 64) {
            put += cpu_ns(CLOCK_THREAD_CPUTIME_ID) - t0;
            counted += k;
        }
        i += k;
        if (k < 64)
            usleep(1000);
        loop_turn(&loop, 0);
    }
    access_free(a);
    mine = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - mine;
    all = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - all;
    printf("  json to %-24s access_put %4llu ns, the thread %4llu ns\n", path,
           (unsigned long long)(put / (counted ? counted : 1)),
           (unsigned long long)((all - mine) / n));
    loop_done(&loop);
}

int main(int argc, char **argv)
{
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
    char file[] = "/tmp/bench-access-XXXXXX";
    int fd = mkstemp(file);

    CHECK(fd >= 0 && n > 0);
    for (int v6 = 0; v6 < 2; v6++) {
        format_alone("json", ACCESS_JSON, v6, n);
        format_alone("squid", ACCESS_SQUID, v6, n);
        format_alone("common", ACCESS_COMMON, v6, n);
        format_alone("combined", ACCESS_COMBINED, v6, n);
    }
    whole("/dev/null", ACCESS_JSON, n);
    whole(file, ACCESS_JSON, n / 4 + 1);
    close(fd);
    unlink(file);
    return 0;
}
