/* SPDX-License-Identifier: MIT */
/* Messages through the whole proxy, from one request to many on a connection. */
#include "sim/sim.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>

#include <cmocka.h>

static void nothing_at_all(struct sim *s)
{
    sim_advance(s, 1000);
}

/* S001-2 S001-3 S004-1 S004-2 C7 C9 C10 C27 C35 */
static void get(struct sim *s)
{
    struct origin *o = origin_listen(s, "192.0.2.1:80");
    struct peer *c = sim_client(s), *up;

    peer_send(c, "GET http://192.0.2.1/x?y=1 HTTP/1.1\r\nHost: 192.0.2.1\r\nX-A: b\r\n\r\n");
    up = origin_accept(o);
    peer_expect_all(up, "GET /x?y=1 HTTP/1.1\r\nHost: 192.0.2.1\r\nX-A: b\r\nVia: 1.1 sim\r\n\r\n");
    peer_send(up, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    peer_expect_status(c, 200);
    peer_expect_all(c, "hello");
    peer_expect_end(c, PEER_OPEN);
    sim_expect_ends(s, END_DONE, 1);
    peer_fin(c);
    peer_expect_end(c, PEER_FIN);
    sim_expect_sessions(s, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(nothing_at_all),
        SIM_TEST(get),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
