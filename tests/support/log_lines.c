/* SPDX-License-Identifier: MIT */
/* log-lines LAYOUT: prints what the logs' formatter makes of every end there can be, in every
 * situation, with tame and with hostile strings, for the programs that read such logs. Owner:
 * tests/e2e/test_log_tools.py.
 */
#include "proxy/access_format.h"

#include "base/check.h"

#include <stdio.h>
#include <string.h>

enum { NOW_US = 1045678 };

static void print(enum access_layout layout, struct access_record *r)
{
    static uint64_t n;
    char line[ACCESS_LINE_MAX];

    r->id = ++n;
    r->wall_ms = 1700000000123 + n * 750;
    CHECK(fwrite(line, access_format(layout, r, NOW_US, line, sizeof(line)), 1, stdout) == 1);
}

static struct access_record tame(void)
{
    struct access_record r = {
        .start_us = 1000000,
        .method = SLICE("GET"),
        .host = SLICE("www.example.org"),
        .path = SLICE("/news/index.html"),
        .agent = SLICE("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        .referer = SLICE("http://www.example.org/"),
        .type = SLICE("text/html; charset=utf-8"),
        .listener = SLICE("main"),
        .bytes_down = 3456,
        .head_down = 200,
        .port = 80,
        .version = 11,
        .scheme = MATCH_HTTP,
    };

    CHECK(addr_parse(SLICE("192.0.2.1:5000"), &r.client) == 0);
    CHECK(addr_parse(SLICE("[2001:db8::9]:80"), &r.peer) == 0);
    CHECK(addr_parse(SLICE("[2001:db8::1]:40000"), &r.local) == 0);
    return r;
}

static void every_end(enum access_layout layout)
{
    for (unsigned e = 0; e < END_COUNT; e++) {
        struct access_record r = tame();

        r.end = e;
        r.status = 200;
        print(layout, &r);
        r.status = (uint16_t)end_info(e)->status;
        r.peer = (struct addr){0};
        print(layout, &r); /* answered here, or not at all */
        r = tame();
        r.end = e;
        r.status = 200;
        r.tunnel = true;
        r.method = SLICE("CONNECT");
        r.port = 443;
        r.path = r.type = SLICE_NONE;
        r.scheme = MATCH_CONNECT;
        CHECK(addr_parse(SLICE("[2001:db8::77]:1"), &r.client) == 0);
        print(layout, &r);
        r.host = SLICE("2001:db8::443");
        print(layout, &r);
        r = (struct access_record){
            .end = e, .status = (uint16_t)end_info(e)->status, .client = r.client};
        print(layout, &r); /* nothing was understood */
    }
}

static void hostile(enum access_layout layout)
{
    struct access_record r = tame();
    char text[8] = "/x?x/x";

    r.end = END_DONE;
    r.status = 200;
    for (unsigned c = 0; c < 256; c++) {
        text[2] = (char)c;
        r.path = slice_of(text, 6);
        r.agent = r.referer = slice_of(text + 1, 5);
        r.type = slice_of(text + 1, 4);
        print(layout, &r);
    }
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"json", "squid", "common", "combined"};

    for (unsigned i = 0; argc == 2 && i < ARRAY_LEN(names); i++)
        if (strcmp(argv[1], names[i]) == 0) {
            every_end((enum access_layout)i);
            hostile((enum access_layout)i);
            return fflush(stdout) ? 1 : 0;
        }
    fputs("usage: log-lines json|squid|common|combined\n", stderr);
    return 64;
}
