/* SPDX-License-Identifier: MIT */
/* What rules say, as tables: rules, request, verdict. support/policy_text.h explains how they are written. Rules are counted from 1; `deny` alone is the
 * final refusal (or a port that is not open), `allow` alone is what passes because nothing is written about it. Where a request has an address (to=), it
 * is judged as the proxy does it, without the address first; that a walk which goes on comes to what a new one would is part of each row. */
#include "build_config.h"
#include "policy/limit.h"
#include "support/policy_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct row {
    const char *rules, *request, *want;
};

static struct text_policy policy;
static struct text_request request;

static bool same(const struct verdict *a, const struct verdict *b)
{
    return a->kind == b->kind && a->by == b->by && a->reason == b->reason && a->would == b->would && a->would_deny == b->would_deny;
}

/* One address of the request, or none. */
static void judge_one(const struct row *row, const struct addr *to, char out[TEXT_VERDICT])
{
    struct verdict v = text_judge(&policy.p, &request.f, to), anew;
    struct match_facts f = request.f;

    text_verdict(&policy, &v, out);
    if (!to)
        return;
    /* from the beginning, with everything at hand */
    f.to = to;
    anew = policy_judge(&policy.p, &f, 0, NULL, NULL);
    anew = policy_judge_address(&policy.p, &f, &anew, NULL);
    /* what was refused without the address may have been refused by an earlier rule with it */
    if (v.kind != VERDICT_DENY && !same(&v, &anew))
        fail_msg("%s\n%s\nnot the same from the beginning", row->rules, row->request);
    assert_int_equal(v.kind, anew.kind);
}

static void check_row(const struct row *row)
{
    char got[TEXT_ADDRS * (TEXT_VERDICT + 3)] = "";
    size_t n = 0;

    if (!HAVE_REGEX && strstr(row->rules, "path=~"))
        return;
    text_policy(slice_str(row->rules), &policy);
    text_request(slice_str(row->request), &request);
    if (policy.errors || request.errors)
        fail_msg("%s\n%s\nis not written correctly", row->rules, row->request);
    for (unsigned i = 0; i < (request.n_to ? request.n_to : 1); i++) {
        char one[TEXT_VERDICT];

        judge_one(row, request.n_to ? &request.to[i] : NULL, one);
        n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%s", i ? " | " : "", one);
    }
    if (strcmp(got, row->want) != 0)
        fail_msg("%s\n%s\n%s instead of %s", row->rules, row->request, got, row->want);
    text_policy_done(&policy);
}

#define CHECK_ROWS(rows)                                                                           \
    do {                                                                                           \
        UNUSED(state);                                                                             \
        for (size_t row_ = 0; row_ < ARRAY_LEN(rows); row_++)                                      \
            check_row(&(rows)[row_]);                                                              \
    } while (0)

/* ---- hosts, order, the end ---- */

static void test_first_match_decides(void **state)
{
    static const struct row rows[] = {
        {"rules", "GET http://a.example/", "deny"},
        {"rules; report", "GET http://a.example/", "allow, would deny"},
        {"allow a.example", "GET http://a.example/", "allow 1"},
        {"allow a.example", "GET http://b.example/", "deny"},
        {"allow a.example", "GET http://www.a.example/", "deny"},
        {"allow .a.example", "GET http://www.a.example/", "allow 1"},
        {"allow .a.example", "GET http://a.example/", "allow 1"},
        {"allow .a.example", "GET http://ba.example/", "deny"},
        {"allow .a.example", "GET http://a.example.evil.example/", "deny"},
        {"allow a.example b.example", "GET http://b.example/", "allow 1"},
        {"deny a.example; allow any", "GET http://a.example/", "deny 1"},
        {"deny a.example; allow any", "GET http://b.example/", "allow 2"},
        {"allow any; deny a.example", "GET http://a.example/", "allow 1"},
        {"allow .a.example; deny www.a.example", "GET http://www.a.example/", "allow 1"},
        {"deny www.a.example; allow .a.example", "GET http://www.a.example/", "deny 1"},
        {"deny www.a.example; allow .a.example", "GET http://ftp.a.example/", "allow 2"},
        {"deny any; allow any", "GET http://a.example/", "deny 1"},
        {"deny .a.example; deny .b.example", "GET http://c.example/", "deny"},
        {"allow b.example; allow a.example; allow any", "CONNECT a.example:443", "allow 2"},
    };

    CHECK_ROWS(rows);
}

/* U1: one order, whatever is an address and whatever is a name. */
static void test_range_but_one_address(void **state)
{
    static const struct row rows[] = {
        {"deny 192.168.1.5; allow 192.168.0.0/16", "CONNECT 192.168.1.5:443", "deny 1"},
        {"deny 192.168.1.5; allow 192.168.0.0/16", "CONNECT 192.168.1.6:443", "allow 2"},
        {"allow 192.168.0.0/16; deny 192.168.1.5", "CONNECT 192.168.1.5:443", "allow 1"},
        {"allow 192.168.0.0/16 !192.168.1.5", "CONNECT 192.168.1.5:443", "deny"},
        {"allow 192.168.0.0/16 !192.168.1.5", "CONNECT 192.168.1.6:443", "allow 1"},
        {"deny 192.168.1.5; allow any to=192.168.0.0/16", "CONNECT a.example:443 to=192.168.1.5", "deny 1"},
        {"deny 192.168.1.5; allow any to=192.168.0.0/16", "CONNECT a.example:443 to=192.168.1.6", "allow 2"},
        {"deny 192.168.1.5; allow any to=192.168.0.0/16", "CONNECT a.example:443 to=192.168.1.5|192.168.1.6", "deny 1 | allow 2"},
        {"deny any to=192.168.1.5; allow any to=192.168.0.0/16", "CONNECT 192.168.1.5:443", "deny 1"},
        {"deny any to=192.168.1.5; allow any to=192.168.0.0/16", "CONNECT 192.168.1.6:443", "allow 2"},
        {"deny 2001:db8::5; private allow; allow 2001:db8::/32", "CONNECT [2001:db8::5]:443", "deny 1"},
        {"deny 2001:db8::5; private allow; allow 2001:db8::/32", "CONNECT [2001:db8::6]:443", "allow 2"},
    };

    CHECK_ROWS(rows);
}

/* U2: host rules and address rules both run; a mapped address is the IPv4 one. */
static void test_literals_and_names(void **state)
{
    static const struct row rows[] = {
        /* in an allow a range means literal targets */
        {"private allow; allow 10.0.0.0/8", "CONNECT 10.1.2.3:443", "allow 1"},
        {"private allow; allow 10.0.0.0/8", "CONNECT [::ffff:10.1.2.3]:443", "allow 1"},
        {"private allow; allow 10.0.0.0/8", "CONNECT 11.1.2.3:443", "deny"},
        {"private allow; allow 10.0.0.0/8", "CONNECT a.example:443 to=10.1.2.3", "deny"},
        {"private allow; allow 10.0.0.0/8", "CONNECT a.example:443 to=?", "deny"},
        {"private allow; allow ::/0", "CONNECT 10.1.2.3:443", "deny"},
        {"private allow; allow 0.0.0.0/0", "CONNECT [::1]:443", "deny"},
        {"private allow; allow ::/0", "CONNECT [::1]:443", "allow 1"},
        /* a name list never has an address, however it ends */
        {"allow .2.3", "CONNECT 10.1.2.3:443", "deny"},
        {"deny .2.3; private allow; allow any", "CONNECT 10.1.2.3:443", "allow 2"},
        /* in a deny it is the address that is dialled, too */
        {"private allow; deny 10.0.0.0/8; allow any", "CONNECT 10.1.2.3:443", "deny 1"},
        {"private allow; deny 10.0.0.0/8; allow any", "CONNECT [::ffff:10.1.2.3]:443", "deny 1"},
        {"private allow; deny 10.0.0.0/8; allow any", "CONNECT a.example:443 to=10.1.2.3", "deny 1"},
        {"private allow; deny 10.0.0.0/8; allow any", "CONNECT a.example:443 to=::ffff:10.1.2.3", "deny 1"},
        {"private allow; deny 10.0.0.0/8; allow any", "CONNECT a.example:443 to=11.1.2.3", "allow 2"},
        {"private allow; deny 10.0.0.0/8; allow any", "CONNECT a.example:443 to=?", "needs address 1"},
        /* towards a parent nothing is resolved: literals only */
        {"private allow; deny 10.0.0.0/8; allow any", "CONNECT a.example:443", "allow 2"},
        /* a name that is listed beside it is enough */
        {"private allow; deny 10.0.0.0/8 a.example; allow any", "CONNECT a.example:443 to=?", "deny 1"},
        /* U2, rebinding: each address of one name for itself */
        {"private allow; deny 10.0.0.0/8; allow .a.example", "GET http://www.a.example/ to=1.2.3.4|10.0.0.1|8.8.8.8", "allow 2 | deny 1 | allow 2"},
        /* what NAT64 leads to is what is refused; it is not what is allowed */
        {"private allow; deny 198.18.0.0/15; allow any", "CONNECT [64:ff9b::198.18.0.1]:443", "deny 1"},
        {"private allow; deny 198.18.0.0/15; allow any", "GET http://b.example/ to=64:ff9b::c612:1", "deny 1"},
        {"private allow; deny any to=198.18.0.0/15; allow any", "GET http://b.example/ to=64:ff9b::c612:1", "deny 1"},
        {"private allow; deny 198.18.0.0/15; allow any", "GET http://b.example/ to=64:ff9b::c812:1", "allow 2"},
        {"allow 198.18.0.0/15", "CONNECT [64:ff9b::c612:1]:443", "deny"},
        {"private allow; deny 169.254.0.0/16; deny 10.0.0.0/8; allow any", "GET http://b.example/ to=169.254.169.254|10.0.0.1|1.1.1.1",
         "deny 1 | deny 2 | allow 3"},
    };

    CHECK_ROWS(rows);
}

/* U4: `to` is the address that is dialled; nothing is dialled that it does not hold for. */
static void test_to(void **state)
{
    static const struct row rows[] = {
        {"allow artifactory.corp.example to=10.20.0.0/16 port=8443", "CONNECT artifactory.corp.example:8443 to=10.20.3.4", "allow 1"},
        {"allow artifactory.corp.example to=10.20.0.0/16 port=8443", "CONNECT artifactory.corp.example:8443 to=10.21.3.4", "deny"},
        {"allow artifactory.corp.example to=10.20.0.0/16 port=8443", "CONNECT artifactory.corp.example:8443 to=169.254.169.254", "deny"},
        {"allow artifactory.corp.example to=10.20.0.0/16 port=8443", "CONNECT artifactory.corp.example:8443 to=127.0.0.1|10.20.0.1", "deny | allow 1"},
        {"allow artifactory.corp.example to=10.20.0.0/16 port=8443", "CONNECT artifactory.corp.example:443 to=10.20.3.4", "deny"},
        {"allow artifactory.corp.example to=10.20.0.0/16 port=8443", "CONNECT other.corp.example:8443 to=10.20.3.4", "deny"},
        {"allow artifactory.corp.example to=10.20.0.0/16 port=8443", "CONNECT artifactory.corp.example:8443 to=?", "needs address 1"},
        {"allow artifactory.corp.example to=10.20.0.0/16 port=8443", "CONNECT artifactory.corp.example:8443", "deny"},
        {"allow any to=10.0.0.0/8", "CONNECT 10.1.2.3:443", "allow 1"},
        {"allow any to=10.0.0.0/8", "CONNECT 11.1.2.3:443", "deny"},
        {"deny any to=10.0.0.0/8; allow any", "CONNECT a.example:443 to=10.0.0.1", "deny 1"},
        {"deny any to=10.0.0.0/8; allow any", "CONNECT a.example:443 to=1.0.0.1", "allow 2"},
        {"deny a.example to=10.0.0.0/8; allow any", "CONNECT b.example:443 to=?", "allow 2"},
        {"deny a.example to=10.0.0.0/8; allow any", "CONNECT a.example:443 to=?", "needs address 1"},
        {"allow {a.example to=10.0.0.0/8} {b.example to=172.16.0.0/12}", "CONNECT a.example:443 to=10.0.0.1", "allow 1"},
        {"allow {a.example to=10.0.0.0/8} {b.example to=172.16.0.0/12}", "CONNECT a.example:443 to=172.16.0.1", "deny"},
        {"allow {a.example to=10.0.0.0/8} {b.example to=172.16.0.0/12}", "CONNECT b.example:443 to=172.16.0.1", "allow 1"},
    };

    CHECK_ROWS(rows);
}

/* U41 */
static void test_ports(void **state)
{
    static const struct row rows[] = {
        {"allow a.example", "CONNECT a.example:443", "allow 1"},
        {"allow a.example", "CONNECT a.example:80", "allow 1"},
        {"allow a.example", "CONNECT a.example:22", "deny"},
        {"allow a.example", "GET http://a.example/", "allow 1"},
        {"allow a.example", "GET http://a.example:8080/", "deny"},
        {"allow any", "CONNECT a.example:25", "deny"},
        {"allow a.example port=8443", "CONNECT a.example:8443", "allow 1"},
        {"allow a.example port=8443", "CONNECT a.example:443", "deny"},
        {"allow a.example port=any", "CONNECT a.example:1", "allow 1"},
        {"allow a.example port=any", "CONNECT a.example:65535", "allow 1"},
        {"allow a.example port=22,8000-8099", "CONNECT a.example:8050", "allow 1"},
        {"allow a.example port=22,8000-8099", "CONNECT a.example:22", "allow 1"},
        {"allow a.example port=22,8000-8099", "CONNECT a.example:8100", "deny"},
        {"allow {a.example port=8443} {b.example}", "CONNECT a.example:8443", "allow 1"},
        {"allow {a.example port=8443} {b.example}", "CONNECT b.example:8443", "deny"},
        {"allow {a.example port=8443} {b.example}", "CONNECT b.example:443", "allow 1"},
        {"allow {a.example port=8443} c.example", "CONNECT c.example:443", "allow 1"},
        {"allow {a.example port=8443} c.example", "CONNECT a.example:443", "deny"},
        /* a deny without a port is for every port */
        {"deny a.example; allow any port=any", "CONNECT a.example:22", "deny 1"},
        {"deny any port=25; allow any port=any", "CONNECT a.example:25", "deny 1"},
        {"deny any port=25; allow any port=any", "CONNECT a.example:26", "allow 2"},
        /* without rules */
        {"", "CONNECT a.example:22", "allow"},
        {"ports 80,443", "CONNECT a.example:22", "deny"},
        {"ports 80,443", "CONNECT a.example:443", "allow"},
        {"ports 80,443,8000-8099", "GET http://a.example:8042/", "allow"},
        {"ports 80,443", "CONNECT a.example:443 to=1.2.3.4|10.0.0.1", "allow | private 10.0.0.0/8"},
        {"ports 80,443", "CONNECT a.example:444 to=1.2.3.4", "deny"},
    };

    CHECK_ROWS(rows);
}

/* ---- what a CONNECT can match ---- */

static void test_connect(void **state)
{
    static const struct row rows[] = {
        /* what the requests inside are is not known: an allow does not match */
        {"allow a.example path=/v1/", "CONNECT a.example:443", "deny"},
        {"allow a.example method=GET", "CONNECT a.example:443", "deny"},
        {"allow a.example header=x-team:blue", "CONNECT a.example:443", "deny"},
        {"allow a.example header=x-team", "CONNECT a.example:443 header=x-team:blue", "deny"},
        {"allow a.example method=GET,CONNECT", "CONNECT a.example:443", "allow 1"},
        {"allow a.example method=CONNECT", "GET http://a.example/", "deny"},
        /* and a deny does */
        {"deny a.example path=/v1/; allow any", "CONNECT a.example:443", "deny 1"},
        {"deny a.example method=POST; allow any", "CONNECT a.example:443", "deny 1"},
        {"deny a.example header=x-team:blue; allow any", "CONNECT a.example:443", "deny 1"},
        {"deny any method=CONNECT; allow any", "CONNECT a.example:443", "deny 1"},
        {"deny any method=CONNECT; allow any", "GET http://a.example/", "allow 2"},
        {"deny b.example path=/v1/; allow any", "CONNECT a.example:443", "allow 2"},
        /* an exception the other way round: what cannot be known is excepted from an allow, not from a deny */
        {"allow a.example !path=/admin", "CONNECT a.example:443", "deny"},
        {"allow a.example !path=/admin", "GET http://a.example/x", "allow 1"},
        {"allow a.example !path=/admin", "GET http://a.example/admin/x", "deny"},
        {"deny a.example !path=/public; allow any", "CONNECT a.example:443", "deny 1"},
        {"deny a.example !path=/public; allow any", "GET http://a.example/public/x", "allow 2"},
        {"deny a.example !method=CONNECT; allow any", "CONNECT a.example:443", "allow 2"},
        /* what is known of it */
        {"allow a.example scheme=connect", "CONNECT a.example:443", "allow 1"},
        {"allow a.example scheme=connect", "GET http://a.example/", "deny"},
        {"allow a.example scheme=https", "CONNECT a.example:443", "deny"},
        {"allow a.example scheme=http,connect", "GET http://a.example/", "allow 1"},
        {"allow a.example listener=lan", "CONNECT a.example:443 listener=lan", "allow 1"},
        {"allow a.example time=mon-fri_08:00-18:00", "CONNECT a.example:443 at=tue_12:00", "allow 1"},
        {"allow a.example user=ci", "CONNECT a.example:443 user=ci", "allow 1"},
    };

    CHECK_ROWS(rows);
}

static void test_requests(void **state)
{
    static const struct row rows[] = {
        {"allow a.example path=/v1/", "GET http://a.example/v1/users", "allow 1"},
        {"allow a.example path=/v1/", "GET http://a.example/v1/users?x=/v2/", "allow 1"},
        {"allow a.example path=/v1/", "GET http://a.example/v2/?/v1/", "deny"},
        {"allow a.example path=/v1/", "GET http://a.example/v1", "deny"},
        {"allow a.example path=/v1/,/v2/", "GET http://a.example/v2/", "allow 1"},
        {"allow a.example path=~^/v[12]/", "GET http://a.example/v2/", "allow 1"},
        {"allow a.example path=~^/v[12]/", "GET http://a.example/v3/", "deny"},
        {"allow a.example path=~\\.js$", "GET http://a.example/x.js?y=1", "allow 1"},
        {"deny any path=~\\.exe$; allow any", "GET http://a.example/x.exe", "deny 1"},
        /* an expression that gives up refuses */
        {"deny any path=~^/(a+)+$; allow any", "GET http://a.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "deny 1"},
        {"allow any path=~^/(a+)+$", "GET http://a.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "deny"},
        {"allow any !path=~^/(a+)+$", "GET http://a.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "deny"},
        /* a path that can be read in two ways opens nothing, and passes no deny */
        {"allow a.example path=/public/", "GET http://a.example/public/../admin", "deny"},
        /* Some origins take parameters off before they look. */
        {"deny a.example path=/admin/; allow any", "GET http://a.example/admin;a=b/x", "deny 1"},
        {"allow a.example !path=/admin/", "GET http://a.example/admin;a=b/x", "deny"},
        {"allow a.example path=/public/", "GET http://a.example/public;a/x", "deny"},
        {"allow a.example path=/public/", "GET http://a.example/public/%2e%2e/admin", "deny"},
        {"allow a.example path=/public/", "GET http://a.example/public/..%2fadmin", "deny"},
        {"allow a.example path=/public/", "GET http://a.example/public/..;x/admin", "deny"},
        {"allow a.example path=/public/", "GET http://a.example/public/..\\admin", "deny"},
        {"allow a.example path=/public/", "GET http://a.example/public/a/../b", "allow 1"},
        {"allow a.example path=/public/", "GET http://a.example/public/%61", "allow 1"},
        {"allow a.example path=/public/", "GET http://a.example/public/a%20b", "allow 1"},
        {"allow a.example path=/public/", "GET http://a.example/%70ublic/", "deny"},
        {"deny a.example path=/admin; allow any", "GET http://a.example/%61dmin", "deny 1"},
        {"deny a.example path=/admin; allow any", "GET http://a.example//admin", "deny 1"},
        {"deny a.example path=/admin; allow any", "GET http://a.example/./admin", "deny 1"},
        {"deny a.example path=/admin; allow any", "GET http://a.example/x/../admin", "deny 1"},
        {"deny a.example path=/admin; allow any", "GET http://a.example/x/..%2fadmin/y", "deny 1"},
        {"deny a.example path=/admin; allow any", "GET http://a.example/x?/../admin", "allow 2"},
        {"deny a.example path=/admin; allow any", "GET http://a.example/x/admin", "allow 2"},
        {"allow any method=GET,HEAD", "GET http://a.example/", "allow 1"},
        {"allow any method=GET,HEAD", "POST http://a.example/", "deny"},
        {"allow any method=GET", "get http://a.example/", "deny"},
        {"deny any method=POST; allow any", "POST http://a.example/", "deny 1"},
        {"allow any header=x-team:blue", "GET http://a.example/ header=X-Team:blue", "allow 1"},
        {"allow any header=x-team:blue", "GET http://a.example/ header=X-Team:Blue", "deny"},
        {"allow any header=x-team", "GET http://a.example/ header=x-team:", "allow 1"},
        {"allow any header=x-team", "GET http://a.example/", "deny"},
        {"allow any header=x-team:a header=user-agent:b", "GET http://a.example/ header=x-team:a", "deny"},
        {"allow any header=x-team:a header=user-agent:b", "GET http://a.example/ header=x-team:a header=User-Agent:b", "allow 1"},
        {"allow any header=x-team:a", "GET http://a.example/ header=x-team:b header=x-team:a", "allow 1"},
        {"deny any header=cookie; allow any", "GET http://a.example/ header=cookie:x", "deny 1"},
        {"deny any header=cookie; allow any", "GET http://a.example/", "allow 2"},
    };

    CHECK_ROWS(rows);
}

static void test_who_where_when(void **state)
{
    static const struct row rows[] = {
        {"allow any from=10.1.0.0/16", "GET http://a.example/ from=10.1.2.3", "allow 1"},
        {"allow any from=10.1.0.0/16", "GET http://a.example/ from=::ffff:10.1.2.3", "allow 1"},
        {"allow any from=10.1.0.0/16", "GET http://a.example/ from=10.2.2.3", "deny"},
        {"allow any from=10.1.0.0/16", "GET http://a.example/", "deny"},
        {"deny any from=10.1.0.0/16; allow any", "GET http://a.example/", "allow 2"},
        {"allow any from=10.1.0.0/16,fd00::/8", "GET http://a.example/ from=fd00::1", "allow 1"},
        {"allow any listener=lan,wan", "GET http://a.example/ listener=wan", "allow 1"},
        {"allow any listener=lan", "GET http://a.example/", "deny"},
        {"allow any time=mon-fri_08:00-18:00", "GET http://a.example/ at=fri_17:59", "allow 1"},
        {"allow any time=mon-fri_08:00-18:00", "GET http://a.example/ at=fri_18:00", "deny"},
        {"allow any time=mon-fri_08:00-18:00", "GET http://a.example/ at=sat_12:00", "deny"},
        {"allow any time=sat time=sun", "GET http://a.example/ at=sun_12:00", "allow 1"},
        {"allow any time=22:00-06:00", "GET http://a.example/ at=mon_23:00", "allow 1"},
        {"allow any time=22:00-06:00", "GET http://a.example/ at=mon_05:59", "allow 1"},
        {"deny any time=fri_22:00-06:00; allow any", "GET http://a.example/ at=sat_05:00", "deny 1"},
        {"deny any time=fri_22:00-06:00; allow any", "GET http://a.example/ at=fri_05:00", "allow 2"},
        {"allow any time=sat", "GET http://a.example/", "deny"},
        {"allow any from=10.0.0.0/8 listener=lan method=GET", "GET http://a.example/ from=10.1.1.1 listener=lan", "allow 1"},
        {"allow any from=10.0.0.0/8 listener=lan method=GET", "GET http://a.example/ from=10.1.1.1 listener=wan", "deny"},
    };

    CHECK_ROWS(rows);
}

/* ---- users ---- */

static void test_users(void **state)
{
    static const struct row rows[] = {
        {"allow any user=bob", "GET http://a.example/ user=bob", "allow 1"},
        {"allow any user=bob", "GET http://a.example/ user=alice", "deny"},
        {"allow any user=bob", "GET http://a.example/ user=Bob", "deny"},
        {"allow any user=bob", "GET http://a.example/", "deny"},
        {"allow any user=any", "GET http://a.example/ user=zoe", "allow 1"},
        {"allow any user=any", "GET http://a.example/", "deny"},
        {"deny any user=any; allow any", "GET http://a.example/", "allow 2"},
        {"allow any group=qa", "GET http://a.example/ user=bob groups=dev,qa", "allow 1"},
        {"allow any group=qa", "GET http://a.example/ user=bob groups=dev,qa2", "deny"},
        {"allow any group=qa,ops", "GET http://a.example/ user=bob groups=ops", "allow 1"},
        {"allow any group=qa user=bob", "GET http://a.example/ user=bob groups=ops", "deny"},
        {"allow any !user=guest", "GET http://a.example/ user=guest", "deny"},
        {"allow any !user=guest", "GET http://a.example/ user=bob", "allow 1"},
        {"allow any !user=guest", "GET http://a.example/", "allow 1"},
        /* labels: in an allow those that the user's entry permits, elsewhere whatever came with the name */
        {"allow any label=red", "GET http://a.example/ user=bob labels=red,blue granted=red", "allow 1"},
        {"allow any label=red", "GET http://a.example/ user=bob labels=red,blue granted=blue", "deny"},
        {"allow any label=prio=high", "GET http://a.example/ user=bob labels=prio=high granted=prio=high", "allow 1"},
        {"deny any label=red; allow any", "GET http://a.example/ user=bob labels=red", "deny 1"},
        {"allow any !label=red", "GET http://a.example/ user=bob labels=red", "deny"},
        {"deny any !label=red; allow any", "GET http://a.example/ user=bob labels=red", "deny 1"},
        {"deny any !label=red; allow any", "GET http://a.example/ user=bob labels=red granted=red", "allow 2"},
    };

    CHECK_ROWS(rows);
}

/* `ask: when-needed`: nobody is asked who he is unless a rule with user, group or label would decide. */
static void test_users_when_needed(void **state)
{
    static const struct row rows[] = {
        {"allow any user=bob", "GET http://a.example/ user=?", "needs user 1"},
        {"allow any user=any", "GET http://a.example/ user=?", "needs user 1"},
        {"allow any group=qa", "GET http://a.example/ user=?", "needs user 1"},
        {"allow any label=red", "GET http://a.example/ user=?", "needs user 1"},
        {"allow a.example user=bob", "GET http://b.example/ user=?", "deny"},
        {"allow a.example user=bob; allow b.example", "GET http://b.example/ user=?", "allow 2"},
        {"allow b.example; allow any user=bob", "GET http://b.example/ user=?", "allow 1"},
        {"allow any user=bob port=8443", "CONNECT a.example:443 user=?", "deny"},
        {"allow any user=bob from=10.0.0.0/8", "GET http://a.example/ user=? from=11.0.0.1", "deny"},
        {"allow any user=bob time=sat", "GET http://a.example/ user=? at=sun_10:00", "deny"},
        {"allow any user=bob path=/v1/", "GET http://a.example/v2/ user=?", "deny"},
        {"deny any user=bob; allow any", "GET http://a.example/ user=?", "needs user 1"},
        {"allow any !user=guest", "GET http://a.example/ user=?", "needs user 1"},
        {"allow a.example !group=guests", "GET http://b.example/ user=?", "deny"},
        /* whoever it is, it is refused: then nobody is asked */
        {"deny any user=bob", "GET http://a.example/ user=?", "deny"},
        {"deny any user=bob; deny any", "GET http://a.example/ user=?", "deny 2"},
        {"deny any user=bob; allow b.example", "GET http://a.example/ user=?", "deny"},
        {"deny any user=bob; allow a.example user=alice", "GET http://a.example/ user=?", "needs user 1"},
        {"report; deny any user=bob", "GET http://a.example/ user=?", "needs user 1"},
        /* who it is before where it goes before what is inside */
        {"allow any user=bob to=10.0.0.0/8", "CONNECT a.example:443 user=? to=?", "needs user 1"},
        {"allow any user=bob sni=.a.example", "CONNECT a.example:443 user=? sni=?", "needs user 1"},
        {"allow any to=10.0.0.0/8 sni=.a.example", "CONNECT a.example:443 to=? sni=?", "needs address 1"},
        {"deny any to=10.0.0.0/8; allow any user=bob", "CONNECT a.example:443 user=? to=?", "needs address 1"},
        /* a rule of the wrong host is never waited for */
        {"deny .b.example to=10.0.0.0/8 user=bob; allow any", "CONNECT a.example:443 user=? to=?", "allow 2"},
    };

    CHECK_ROWS(rows);
}

/* ---- addresses and names that come later ---- */

static void test_nothing_is_resolved_for_nothing(void **state)
{
    static const struct row rows[] = {
        {"allow a.example", "CONNECT a.example:443 to=?", "allow 1"},
        {"allow a.example", "CONNECT b.example:443 to=?", "deny"},
        {"deny 10.0.0.0/8; allow a.example", "CONNECT a.example:443 to=?", "needs address 1"},
        /* refused, whatever its address is: no query tells anybody */
        {"deny 10.0.0.0/8; allow a.example", "CONNECT b.example:443 to=?", "deny"},
        {"deny 10.0.0.0/8; deny b.example; allow any", "CONNECT b.example:443 to=?", "deny 2"},
        {"deny 10.0.0.0/8; deny 172.16.0.0/12; allow a.example", "CONNECT b.example:443 to=?", "deny"},
        {"deny 10.0.0.0/8; allow a.example to=1.0.0.0/8", "CONNECT b.example:443 to=?", "deny"},
        {"deny 10.0.0.0/8; allow any to=1.0.0.0/8", "CONNECT b.example:443 to=?", "needs address 1"},
        {"report; deny 10.0.0.0/8", "CONNECT b.example:443 to=?", "needs address 1"},
        {"allow a.example to=1.0.0.0/8; deny any", "CONNECT a.example:443 to=?", "needs address 1"},
        /* the refusal is the one that is certain */
        {"deny 10.0.0.0/8; allow a.example", "CONNECT b.example:443 to=10.0.0.1", "deny"},
        {"deny 10.0.0.0/8; deny b.example; allow any", "CONNECT b.example:443 to=10.0.0.1", "deny 2"},
        /* and where the address matters, the rest of the list is carried along */
        {"deny 10.0.0.0/8; allow a.example; deny any", "CONNECT a.example:443 to=10.0.0.1|1.2.3.4", "deny 1 | allow 2"},
        {"deny 10.0.0.0/8; deny any to=1.0.0.0/8; allow a.example", "CONNECT a.example:443 to=10.0.0.1|1.2.3.4|2.3.4.5", "deny 1 | deny 2 | allow 3"},
        {"allow a.example to=1.0.0.0/8; allow a.example to=2.0.0.0/8", "CONNECT a.example:443 to=1.1.1.1|2.2.2.2|3.3.3.3",
         "allow 1 | allow 2 | deny"},
        {"allow a.example to=1.0.0.0/8; allow b.example", "CONNECT b.example:443 to=3.3.3.3", "allow 2"},
    };

    CHECK_ROWS(rows);
}

static void test_sni(void **state)
{
    static const struct row rows[] = {
        {"allow any sni=.a.example", "CONNECT www.a.example:443 sni=?", "needs sni 1"},
        {"allow any sni=.a.example", "CONNECT www.a.example:443 sni=www.a.example", "allow 1"},
        {"allow any sni=.a.example", "CONNECT www.a.example:443 sni=b.example", "deny"},
        {"allow any sni=.a.example", "CONNECT www.a.example:443", "deny"},
        {"allow any sni=.a.example", "GET http://www.a.example/", "deny"},
        {"deny any sni=.bad.example; allow any", "CONNECT a.example:443 sni=?", "needs sni 1"},
        {"deny any sni=.bad.example; allow any", "CONNECT a.example:443 sni=x.bad.example", "deny 1"},
        {"deny any sni=.bad.example; allow any", "CONNECT a.example:443", "allow 2"},
        {"deny any sni=.bad.example; allow b.example", "CONNECT a.example:443 sni=?", "deny"},
        {"allow b.example sni=.a.example; allow any", "CONNECT a.example:443 sni=?", "allow 2"},
        {"allow any !sni=.bad.example", "CONNECT a.example:443 sni=?", "needs sni 1"},
        {"allow any !sni=.bad.example", "CONNECT a.example:443 sni=www.bad.example", "deny"},
        {"allow any !sni=.bad.example", "CONNECT a.example:443", "allow 1"},
    };

    CHECK_ROWS(rows);
}

/* Exceptions with every fact still to come: neither passes before it is known. */
static void test_except(void **state)
{
    static const struct row rows[] = {
        {"allow any !.bad.example", "GET http://www.bad.example/", "deny"},
        {"allow any !.bad.example", "GET http://a.example/", "allow 1"},
        {"allow .a.example !www.a.example", "GET http://www.a.example/", "deny"},
        {"allow any !host=b.example !port=80", "GET http://b.example/", "deny"},
        {"allow any !host=b.example !port=80", "CONNECT b.example:443", "allow 1"},
        /* a range that is excepted from an allow is the dialled address, too */
        {"allow any !10.0.0.0/8", "CONNECT 10.0.0.1:443", "deny"},
        {"private allow; allow any !10.0.0.0/8", "CONNECT a.example:443 to=?", "needs address 1"},
        {"private allow; allow any !10.0.0.0/8", "CONNECT a.example:443 to=10.0.0.1|1.2.3.4", "deny | allow 1"},
        {"private allow; allow any !to=10.0.0.0/8", "CONNECT a.example:443 to=?", "needs address 1"},
        {"private allow; allow any !to=10.0.0.0/8", "CONNECT a.example:443 to=10.0.0.1|1.2.3.4", "deny | allow 1"},
        {"private allow; allow any !to=10.0.0.0/8", "CONNECT a.example:443", "allow 1"},
        /* one that is excepted from a deny is a literal target */
        {"deny any !1.2.3.4; allow any", "CONNECT 1.2.3.4:443", "allow 2"},
        {"deny any !1.2.3.4; allow any", "CONNECT a.example:443 to=1.2.3.4", "deny 1"},
        {"deny any !1.2.3.4; allow any", "CONNECT a.example:443 to=?", "deny 1"},
        {"deny any !to=1.2.3.4; allow any", "CONNECT a.example:443 to=?", "needs address 1"},
        {"deny any !to=1.2.3.4; allow any", "CONNECT a.example:443 to=1.2.3.4|1.2.3.5", "allow 2 | deny 1"},
        {"deny any !user=boss; allow any", "GET http://a.example/ user=?", "needs user 1"},
        {"deny any !user=boss; allow any", "GET http://a.example/ user=boss", "allow 2"},
        {"deny any !user=boss; allow any", "GET http://a.example/", "deny 1"},
        {"deny any !user=boss", "GET http://a.example/ user=?", "deny"},
        {"allow any !user=guest !port=80", "CONNECT a.example:443 user=?", "allow 1"},
        {"allow any !user=guest !port=80", "GET http://a.example/ user=?", "needs user 1"},
        {"allow any !sni=.b.example !to=10.0.0.0/8", "CONNECT a.example:443 sni=? to=?", "needs address 1"},
        {"allow {a.example !path=/x} {b.example}", "GET http://a.example/x", "deny"},
        {"allow {a.example !path=/x} {b.example}", "GET http://b.example/x", "allow 1"},
        {"allow {a.example !path=/x} {b.example} !method=POST", "POST http://b.example/x", "deny"},
    };

    CHECK_ROWS(rows);
}

/* ---- rules that only report ---- */

static void test_report_rules(void **state)
{
    static const struct row rows[] = {
        {"deny a.example report; allow any", "GET http://a.example/", "allow 2, would deny 1"},
        {"deny a.example report; allow any", "GET http://b.example/", "allow 2"},
        {"allow a.example report; deny any", "GET http://a.example/", "deny 2, would allow 1"},
        {"deny a.example report; deny a.example; allow any", "GET http://a.example/", "deny 2, would deny 1"},
        {"allow a.example report; allow a.example", "GET http://a.example/", "allow 2, would allow 1"},
        {"allow a.example; deny a.example report", "GET http://a.example/", "allow 1"},
        {"deny any report; deny a.example report; allow any", "GET http://a.example/", "allow 3, would deny 1"},
        {"deny b.example report; deny a.example report; allow any", "GET http://a.example/", "allow 3, would deny 2"},
        {"deny a.example report", "GET http://a.example/", "deny, would deny 1"},
        {"report; deny a.example report", "GET http://a.example/", "allow, would deny 1"},
        {"report; allow a.example report", "GET http://a.example/", "allow, would allow 1"},
        {"report; deny a.example", "GET http://a.example/", "deny 1"},
        {"report; allow a.example", "GET http://b.example/", "allow, would deny"},
        {"report; allow a.example", "GET http://a.example/", "allow 1"},
        {"report; allow a.example", "GET http://b.example/ to=10.0.0.1", "private 10.0.0.0/8"},
        /* nobody is asked who he is, nor waited for, because of them; an address is going to be there anyway */
        {"deny any user=bob report; allow any", "GET http://a.example/ user=?", "allow 2"},
        {"deny any sni=.b.example report; allow any", "CONNECT a.example:443 sni=?", "allow 2"},
        {"deny any user=bob report; deny any report; allow any", "GET http://a.example/ user=?", "allow 3, would deny 2"},
        {"deny any to=10.0.0.0/8 report; allow any", "CONNECT a.example:443 to=?", "needs address 1"},
        {"private allow; deny any to=10.0.0.0/8 report; allow any", "CONNECT a.example:443 to=10.0.0.1|1.2.3.4", "allow 2, would deny 1 | allow 2"},
        {"private allow; deny 10.0.0.0/8 report; allow any", "CONNECT a.example:443 to=10.0.0.1|1.2.3.4", "allow 2, would deny 1 | allow 2"},
        {"private allow; deny 10.0.0.0/8 report; deny any report; allow any", "CONNECT a.example:443 to=10.0.0.1|1.2.3.4",
         "allow 3, would deny 1 | allow 3, would deny 2"},
        {"deny any to=10.0.0.0/8 report; deny any", "CONNECT a.example:443 to=?", "deny 2"},
        {"deny any to=10.0.0.0/8 report; allow any", "CONNECT a.example:443", "allow 2"},
        {"deny a.example report; deny any to=10.0.0.0/8 report; allow any", "CONNECT a.example:443 to=?", "allow 3, would deny 1"},
        /* it stands before the rule at which the walk stops, and is not lost */
        {"deny any to=1.0.0.0/8 report; deny 10.0.0.0/8; allow any", "CONNECT a.example:443 to=?", "needs address 1"},
        {"deny any to=1.0.0.0/8 report; deny 10.0.0.0/8; allow any", "CONNECT a.example:443 to=1.2.3.4", "allow 3, would deny 1"},
        {"deny a.example report; deny 10.0.0.0/8; allow any", "CONNECT a.example:443 to=?", "needs address 2, would deny 1"},
        {"deny a.example report; deny 10.0.0.0/8; allow any", "CONNECT a.example:443 to=1.2.3.4", "allow 3, would deny 1"},
    };

    CHECK_ROWS(rows);
}

/* ---- `private` ---- */

/* U3, U4: what opens an address is that it is written down, in `to` or as a literal's own range; names and `any` never do. */
static void test_private(void **state)
{
    static const struct row rows[] = {
        {"", "CONNECT a.example:443 to=10.0.0.1", "private 10.0.0.0/8"},
        {"", "CONNECT 169.254.169.254:80", "private 169.254.0.0/16"},
        {"", "CONNECT [::ffff:169.254.169.254]:80", "private 169.254.0.0/16"},
        {"private metadata", "CONNECT 169.254.169.254:80", "private 169.254.0.0/16"},
        {"private metadata", "CONNECT 10.0.0.1:80", "allow"},
        {"private allow", "CONNECT 169.254.169.254:80", "allow"},
        {"allow any", "CONNECT 127.0.0.1:80", "private 127.0.0.0/8"},
        {"allow any", "CONNECT [::1]:80", "private ::1"},
        {"allow any", "CONNECT a.example:80 to=127.0.0.1", "private 127.0.0.0/8"},
        {"allow any", "CONNECT a.example:80 to=127.0.0.1|1.1.1.1|::1", "private 127.0.0.0/8 | allow 1 | private ::1"},
        {"allow a.example", "CONNECT a.example:80 to=10.0.0.1", "private 10.0.0.0/8"},
        {"allow .example", "CONNECT a.example:80 to=64:ff9b::a00:1", "private 10.0.0.0/8"},
        {"allow .example", "CONNECT a.example:80 to=64:ff9b::808:808", "allow 1"},
        {"allow 10.0.0.0/8", "CONNECT 10.0.0.1:80", "allow 1"},
        {"allow 10.0.0.0/8", "CONNECT [::ffff:10.0.0.1]:80", "allow 1"},
        {"allow 10.0.0.0/8 any", "CONNECT 10.0.0.1:80", "allow 1"},
        {"allow 10.0.0.0/8 any", "CONNECT 192.168.0.1:80", "private 192.168.0.0/16"},
        {"allow 10.0.0.0/8 any", "CONNECT a.example:80 to=10.0.0.1", "private 10.0.0.0/8"},
        {"allow 0.0.0.0/0", "CONNECT 127.0.0.1:80", "allow 1"},
        {"allow a.example to=10.0.0.0/8", "CONNECT a.example:80 to=10.0.0.1", "allow 1"},
        {"allow any to=10.0.0.0/8", "CONNECT 10.0.0.1:80", "allow 1"},
        {"allow any to=10.0.0.0/8,169.254.0.0/16", "CONNECT a.example:80 to=169.254.169.254", "allow 1"},
        {"allow {a.example to=10.0.0.0/8} any", "CONNECT a.example:80 to=10.0.0.1", "allow 1"},
        {"allow {a.example to=10.0.0.0/8} any", "CONNECT b.example:80 to=10.0.0.1", "private 10.0.0.0/8"},
        {"allow {a.example to=10.0.0.0/8} any", "CONNECT a.example:80 to=192.168.0.1", "private 192.168.0.0/16"},
        {"allow {10.0.0.0/8 port=8080} any", "CONNECT 10.0.0.1:80", "private 10.0.0.0/8"},
        {"allow {10.0.0.0/8 port=8080} any", "CONNECT 10.0.0.1:8080", "allow 1"},
        /* an exception opens nothing */
        {"allow any !to=192.168.0.0/16", "CONNECT a.example:80 to=10.0.0.1", "private 10.0.0.0/8"},
        {"allow any !10.0.0.0/8", "CONNECT 192.168.0.1:80", "private 192.168.0.0/16"},
        /* neither does a rule that only reports, nor one that did not decide */
        {"allow 10.0.0.0/8 report; allow any", "CONNECT 10.0.0.1:80", "private 10.0.0.0/8, would allow 1"},
        {"allow any; allow 10.0.0.0/8", "CONNECT 10.0.0.1:80", "private 10.0.0.0/8"},
        {"report", "CONNECT 10.0.0.1:80", "private 10.0.0.0/8"},
    };

    CHECK_ROWS(rows);
}

/* C38, U3: nothing that is written leads to ginnel itself. */
static void test_ourselves(void **state)
{
    static const struct row rows[] = {
        {"own 127.0.0.1:3128; private allow", "CONNECT 127.0.0.1:3128", "loop"},
        {"own 127.0.0.1:3128; private allow", "CONNECT a.example:3128 to=127.0.0.1|1.2.3.4", "loop | allow"},
        {"own 127.0.0.1:3128; allow 127.0.0.0/8 port=any", "CONNECT 127.0.0.1:3128", "loop"},
        {"own 127.0.0.1:3128; allow any to=127.0.0.0/8 port=any", "CONNECT a.example:3128 to=127.0.0.1", "loop"},
        {"own 127.0.0.1:3128; allow any to=127.0.0.0/8 port=any", "CONNECT a.example:3129 to=127.0.0.1", "allow 1"},
        {"own 0.0.0.0:3128; local 1.2.3.4; allow any port=any", "CONNECT a.example:3128 to=1.2.3.4|1.2.3.5", "loop | allow 1"},
        {"admin 127.0.0.1:8128; allow 127.0.0.0/8 port=any", "CONNECT 127.0.0.1:8128", "admin"},
        {"admin 127.0.0.1:8128; private allow; allow any port=any", "GET http://a.example:8128/ to=127.0.0.1", "admin"},
        {"admin 127.0.0.1:8128; private allow; allow any port=any", "GET http://a.example:8128/ to=::ffff:127.0.0.1", "admin"},
        /* a rule that refuses comes first */
        {"own 127.0.0.1:3128; deny any", "CONNECT 127.0.0.1:3128", "deny 1"},
    };

    CHECK_ROWS(rows);
}

/* The six jobs, each asked a few things. */
static void test_jobs(void **state)
{
    static const char office[] = "deny ads.example .tracker.example; allow any from=10.1.0.0/16";
    static const char ci[] = "allow artifactory.corp.example to=10.20.0.0/16 port=8443; allow .github.com .pypi.org user=ci";
    static const char tenants[] = "allow .a.example group=a; allow .b.example group=b; deny any group=a,b; allow status.example";
    const struct row rows[] = {
        {office, "CONNECT www.example:443 from=10.1.9.9 to=1.2.3.4", "allow 2"},
        {office, "CONNECT x.tracker.example:443 from=10.1.9.9 to=?", "deny 1"},
        {office, "CONNECT www.example:443 from=10.2.9.9 to=?", "deny"},
        {office, "CONNECT www.example:443 from=10.1.9.9 to=192.168.1.1", "private 192.168.0.0/16"},
        {office, "CONNECT www.example:22 from=10.1.9.9 to=?", "deny"},
        {ci, "CONNECT artifactory.corp.example:8443 user=? to=10.20.0.7", "allow 1"},
        {ci, "CONNECT artifactory.corp.example:8443 user=? to=10.21.0.7", "deny"},
        {ci, "CONNECT api.github.com:443 user=? to=?", "needs user 2"},
        {ci, "CONNECT api.github.com:443 user=ci to=1.2.3.4", "allow 2"},
        {ci, "CONNECT api.github.com:443 user=eve to=?", "deny"},
        {ci, "CONNECT exfiltrate.example:443 user=? to=?", "deny"},
        {tenants, "CONNECT www.a.example:443 user=x groups=a", "allow 1"},
        {tenants, "CONNECT www.a.example:443 user=y groups=b", "deny 3"},
        {tenants, "CONNECT status.example:443 user=y groups=b", "deny 3"},
        {tenants, "CONNECT status.example:443 user=z groups=c", "allow 4"},
        {tenants, "CONNECT status.example:443 user=?", "needs user 3"},
        {tenants, "CONNECT other.example:443 user=?", "deny"},
    };

    CHECK_ROWS(rows);
}

/* ---- for those who explain ---- */

struct near_row {
    const char *rules, *request;
    unsigned rule; /* 0: none */
    const char *word;
};

static void test_nearest(void **state)
{
    static const struct near_row rows[] = {
        {"allow a.example", "CONNECT a.example:22", 1, "port"},
        {"allow a.example", "CONNECT b.example:22", 0, ""},
        {"allow any user=bob", "CONNECT a.example:443", 1, "user"},
        {"allow any user=bob; allow a.example user=eve", "CONNECT a.example:443", 2, "user"},
        {"allow any", "CONNECT a.example:22", 1, "port"},
        {"allow a.example user=bob", "CONNECT a.example:443 user=eve", 1, "user"},
        {"allow a.example group=qa", "CONNECT a.example:443 user=eve", 1, "group"},
        {"allow a.example from=10.0.0.0/8", "CONNECT a.example:443 from=11.0.0.1", 1, "from"},
        {"allow a.example to=10.0.0.0/8", "CONNECT a.example:443 to=11.0.0.1", 1, "to"},
        {"allow {a.example port=8443} {b.example}", "CONNECT a.example:443", 1, "port"},
        {"allow {b.example} {a.example port=8443}", "CONNECT a.example:443", 1, "port"},
        {"allow b.example; allow a.example path=/v1/", "GET http://a.example/v2/", 2, "path"},
        {"allow a.example method=GET", "POST http://a.example/", 1, "method"},
        {"allow .example !www.example", "GET http://www.example/", 1, "except"},
        {"allow a.example port=22 report; allow a.example port=23", "CONNECT a.example:443", 2, "port"},
        {"deny a.example port=22; allow a.example port=23", "CONNECT a.example:443", 2, "port"},
        {"allow 10.0.0.0/8 port=22", "CONNECT 10.0.0.1:443", 1, "port"},
        {"allow 10.0.0.0/8 port=22", "CONNECT a.example:443 to=10.0.0.1", 0, ""},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct rule *r;
        enum match_word word = WORD_NONE;

        text_policy(slice_str(rows[i].rules), &policy);
        text_request(slice_str(rows[i].request), &request);
        assert_int_equal(policy.errors + request.errors, 0);
        request.f.to = request.n_to ? &request.to[0] : NULL;
        r = policy_nearest(&policy.p, &request.f, &word);
        if ((r ? (unsigned)(r - policy.rules) + 1 : 0) != rows[i].rule || strcmp(match_word_name(word), rows[i].word) != 0)
            fail_msg("%s\n%s\n%s", rows[i].rules, rows[i].request, match_word_name(word));
        text_policy_done(&policy);
    }
}

/* Which word a rule fails at, or waits with. */
static void test_words(void **state)
{
    static const struct {
        const char *rules, *request;
        enum match_answer answer;
        const char *word;
    } rows[] = {
        {"allow a.example", "CONNECT b.example:22", MATCH_NO, "host"},
        {"allow a.example", "CONNECT a.example:22", MATCH_NO, "port"},
        {"allow a.example from=10.0.0.0/8", "CONNECT b.example:22", MATCH_NO, "host"},
        {"allow a.example from=10.0.0.0/8", "CONNECT a.example:22", MATCH_NO, "from"},
        {"allow a.example user=x", "CONNECT a.example:443 user=?", MATCH_NEEDS_USER, "user"},
        {"allow a.example group=x", "CONNECT a.example:443 user=?", MATCH_NEEDS_USER, "group"},
        {"allow {a.example to=10.0.0.0/8} user=x", "CONNECT a.example:443 user=? to=?", MATCH_NEEDS_USER, "user"},
        {"allow {a.example user=x} to=10.0.0.0/8", "CONNECT a.example:443 user=? to=?", MATCH_NEEDS_USER, "user"},
        {"allow {a.example sni=x} to=10.0.0.0/8", "CONNECT a.example:443 sni=? to=?", MATCH_NEEDS_ADDRESS, "to"},
        {"deny 10.0.0.0/8", "CONNECT a.example:443 to=?", MATCH_NEEDS_ADDRESS, "host"},
        {"allow a.example !user=x", "CONNECT a.example:443 user=?", MATCH_NEEDS_USER, "except"},
        {"allow a.example", "CONNECT a.example:443", MATCH_YES, ""},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum match_word word = WORDS;
        enum match_answer a;

        text_policy(slice_str(rows[i].rules), &policy);
        text_request(slice_str(rows[i].request), &request);
        assert_int_equal(policy.errors + request.errors, 0);
        a = rule_ask(&policy.rules[0], &request.f, &word);
        if (a != rows[i].answer || strcmp(match_word_name(word), rows[i].word) != 0)
            fail_msg("%s\n%s\n%d %s", rows[i].rules, rows[i].request, a, match_word_name(word));
        assert_int_equal(rule_ask(&policy.rules[0], &request.f, NULL), a);
        text_policy_done(&policy);
    }
}

static void test_asks_sni(void **state)
{
    static const struct {
        const char *rules;
        bool asks;
    } rows[] = {
        {"allow a.example", false},        {"allow a.example sni=x", true},
        {"allow a.example !sni=x", true},  {"deny b.example; allow {a.example sni=x} b.example", true},
        {"allow {a.example !sni=x}", true}, {"deny a.example user=x", false},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        text_policy(slice_str(rows[i].rules), &policy);
        if (policy_asks_sni(&policy.p) != rows[i].asks)
            fail_msg("%s", rows[i].rules);
        text_policy_done(&policy);
    }
}

/* Which rules come to the same for all requests for one host. */
static void test_is_steady(void **state)
{
    static const struct {
        const char *rules;
        bool steady;
    } rows[] = {
        {"allow any", true},
        {"deny a.example user=x method=PUT; allow {b.example port=81 from=10.0.0.0/8} c.example sni=x", true},
        {"deny any to=10.0.0.0/8 !group=x time=mon-fri_08:00-18:00", true},
        {"allow a.example path=/x", false},
        {"allow a.example; deny b.example !path=/x", false},
        {"allow {a.example path=/x} b.example", false},
        {"allow {a.example !path=/x}", false},
        {"deny a.example header=x-y", false},
        {"deny a.example user=x; allow b.example !header=x-y:z", false},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        text_policy(slice_str(rows[i].rules), &policy);
        if (policy.errors)
            fail_msg("not understood: %s", rows[i].rules);
        if (policy_is_steady(&policy.p) != rows[i].steady)
            fail_msg("%s", rows[i].rules);
        for (unsigned j = 0; j < policy.p.n_rules && rows[i].steady; j++) {
            struct limit l = {.where = policy.p.rules[j].where, .n_where = policy.p.rules[j].n_where};

            assert_true(limit_is_steady(&l));
        }
        text_policy_done(&policy);
    }
    text_policy(SLICE("deny {a.example !path=/x}"), &policy);
    assert_false(limit_is_steady(&(struct limit){.where = policy.p.rules[0].where, .n_where = policy.p.rules[0].n_where}));
    text_policy_done(&policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_match_decides),
        cmocka_unit_test(test_is_steady),
        cmocka_unit_test(test_range_but_one_address),
        cmocka_unit_test(test_literals_and_names),
        cmocka_unit_test(test_to),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_who_where_when),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_users_when_needed),
        cmocka_unit_test(test_nothing_is_resolved_for_nothing),
        cmocka_unit_test(test_sni),
        cmocka_unit_test(test_except),
        cmocka_unit_test(test_report_rules),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_ourselves),
        cmocka_unit_test(test_jobs),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_asks_sni),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
