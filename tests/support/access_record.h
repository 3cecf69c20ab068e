/* SPDX-License-Identifier: MIT */
/* access_record: a record to begin with, for the tests of the logs. Include it behind cmocka.h. */
#ifndef SUPPORT_ACCESS_RECORD_H
#define SUPPORT_ACCESS_RECORD_H

#include "proxy/access.h"

enum { RECORD_NOW_US = 1045678 };

static inline struct access_record record_get(void)
{
    struct access_record r = {
        .id = 0x1234abcd,
        .start_us = 1000000,
        .wall_ms = 1700000000123,
        .method = SLICE("GET"),
        .host = SLICE("example.org"),
        .path = SLICE("/a/b"),
        .listener = SLICE("main"),
        .bytes_up = 12,
        .bytes_down = 3456,
        .head_down = 200,
        .dns_us = 1499,
        .connect_us = 1500,
        .first_byte_us = 20000,
        .port = 8080,
        .status = 200,
        .version = 11,
        .scheme = MATCH_HTTP,
        .end = END_DONE,
    };

    assert_int_equal(addr_parse(SLICE("192.0.2.1:5000"), &r.client), 0);
    assert_int_equal(addr_parse(SLICE("[2001:db8::9]:8080"), &r.peer), 0);
    assert_int_equal(addr_parse(SLICE("192.0.2.77:40000"), &r.local), 0);
    return r;
}

static inline struct access_record record_tunnel(void)
{
    struct access_record r = record_get();

    r.method = SLICE("CONNECT");
    r.path = SLICE_NONE;
    r.port = 443;
    r.scheme = MATCH_CONNECT;
    r.tunnel = true;
    r.end = END_TUNNEL_DONE;
    return r;
}

#endif
