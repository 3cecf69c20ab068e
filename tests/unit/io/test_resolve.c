/* SPDX-License-Identifier: MIT */
/* The resolver on a real loop, against a server that does what a table says. The loop's clock can
 * be pushed forward, so that lifetimes need no waiting.
 */
#include "io/resolve.h"

#include "base/check.h"
#include "base/err.h"
#include "dns_server.h"
#include "support/memfail.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { TEXT = RESOLVE_MAX_ADDRS * ADDR_TEXT_MAX, PATIENCE_MS = 4000 };

struct asker {
    struct task task;
    struct resolve_req req;
    struct resolve_answer answer;
    unsigned n_woken;
};

static struct dns_server server;
static struct world_ops world;
static uint64_t shift_us;
static struct loop loop;
static struct board *board;
static struct resolver *r;
static struct resolve_conf conf;
static const char *servers[4];
static char dir[] = "/tmp/ginnel-resolve-XXXXXX", hosts_path[64], conf_path[64];

/* ---- the stage ---- */

static uint64_t shifted_now_us(struct loop *l)
{
    return world_linux.now_us(l) + shift_us;
}

static void later_ms(uint64_t ms)
{
    shift_us += ms * 1000;
    loop_turn(&loop, 0);
}

static uint64_t real_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void replace_file(const char *path, const char *text)
{
    char other[128];

    snprintf(other, sizeof(other), "%.100s.new", path);
    write_file(other, text);
    assert_int_equal(rename(other, path), 0);
}

static int group_setup(void **state)
{
    UNUSED(state);
    if (!mkdtemp(dir))
        return -1;
    snprintf(hosts_path, sizeof(hosts_path), "%s/hosts", dir);
    snprintf(conf_path, sizeof(conf_path), "%s/resolv.conf", dir);
    return dns_server_start(&server, "127.0.0.1", 0) ? 0 : -1;
}

static int group_teardown(void **state)
{
    UNUSED(state);
    dns_server_stop(&server);
    return rmdir(dir);
}

static int setup(void **state)
{
    UNUSED(state);
    world = world_linux;
    world.now_us = shifted_now_us;
    shift_us = 0;
    dns_server_rules(&server, NULL, 0);
    memset(servers, 0, sizeof(servers));
    servers[0] = server.address;
    conf = (struct resolve_conf){
        .servers = servers,
        .ttl_max_ms = 3600000,
        .timeout_ms = 3000,
        .resolv_path = conf_path,
        .hosts_path = hosts_path,
    };
    board = board_new(4096, RESOLVE_FACT_MAX);
    r = NULL;
    return board ? loop_init(&loop, &world) : -1;
}

static int teardown(void **state)
{
    UNUSED(state);
    resolver_free(r);
    board_free(board);
    loop_done(&loop);
    unlink(hosts_path);
    unlink(conf_path);
    return 0;
}

static void begin(enum resolve_family family)
{
    conf.family = family;
    assert_int_equal(resolver_new(&loop, board, NULL, &conf, &r), 0);
    loop_turn(&loop, 0);
}

static void again(enum resolve_family family)
{
    resolver_free(r);
    begin(family);
}

static void woken(struct task *t, unsigned bits)
{
    struct asker *a = CONTAINER_OF(t, struct asker, task);

    assert_true(bits & TASK_HELPER);
    a->n_woken++;
}

static bool start(struct asker *a, const char *name)
{
    memset(a, 0, sizeof(*a));
    memset(&a->answer, 0x77, sizeof(a->answer));
    task_init(&a->task, &loop, "asker", woken);
    return resolve_start(r, slice_str(name), &a->req, &a->task, &a->answer);
}

static void finish(struct asker *a)
{
    uint64_t end = real_ms() + PATIENCE_MS;

    while (!a->req.done && real_ms() < end)
        loop_turn(&loop, 10);
    assert_true(a->req.done);
    assert_false(a->req.busy);
    loop_turn(&loop, 0);
    assert_int_equal(a->n_woken, 1);
}

/* Turns for a while, for what goes on without an asker. */
static void turns_ms(uint64_t ms)
{
    uint64_t end = real_ms() + ms;

    while (real_ms() < end)
        loop_turn(&loop, 5);
    loop_turn(&loop, 0);
}

static const char *text_of(const struct resolve_answer *a)
{
    static char out[TEXT];
    size_t at = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < a->n; i++) {
        assert_int_equal(addr_port(&a->addrs[i]), 0);
        if (at)
            out[at++] = ' ';
        at += addr_host_text(&a->addrs[i], out + at);
    }
    return out;
}

/* Asks and waits; the answer is not from the cache. */
static void asks(const char *name, enum resolve_status status, const char *addrs)
{
    struct asker a;

    assert_true(start(&a, name));
    finish(&a);
    assert_int_equal(a.answer.status, status);
    assert_false(a.answer.cached);
    assert_string_equal(text_of(&a.answer), addrs);
}

/* Is answered at once, from the cache. */
static void knows(const char *name, enum resolve_status status, const char *addrs)
{
    struct asker a;

    assert_false(start(&a, name));
    assert_true(a.req.done);
    assert_int_equal(a.answer.status, status);
    assert_true(a.answer.cached);
    assert_string_equal(text_of(&a.answer), addrs);
}

/* Is answered at once, without cache or question. */
static void says(const char *name, enum resolve_status status, const char *addrs)
{
    unsigned asked = server.asked;
    struct asker a;

    assert_false(start(&a, name));
    assert_true(a.req.done);
    assert_int_equal(a.answer.status, status);
    assert_false(a.answer.cached);
    assert_string_equal(text_of(&a.answer), addrs);
    loop_turn(&loop, 0);
    assert_int_equal(a.n_woken, 0);
    assert_int_equal(server.asked, asked);
}

/* Nothing is left that would turn the loop. */
static void assert_quiet(void)
{
    loop_turn(&loop, 0);
    loop_turn(&loop, 0);
    assert_int_equal(loop.wheel.n, 0);
    assert_true(list_empty(&loop.small));
}

/* What nobody waits for any more may take its time to end. */
static void turns_until_quiet(void)
{
    uint64_t end = real_ms() + PATIENCE_MS;

    while (loop.wheel.n > 0 && real_ms() < end)
        loop_turn(&loop, 10);
    assert_quiet();
}

#define RULES(...)                                                                                 \
    static const struct dns_rule rules[] = {__VA_ARGS__};                                          \
    dns_server_rules(&server, rules, ARRAY_LEN(rules))

#define BOTH "192.0.2.1 2001:db8::1 192.0.2.2 2001:db8::2 2001:db8::3"

/* Turns until the answer to a question that nobody waits for has come. */
static void turns_until_known(const char *name)
{
    uint64_t end = real_ms() + PATIENCE_MS;
    struct asker a;

    while (start(&a, name)) {
        resolve_cancel(&a.req);
        assert_true(real_ms() < end);
        turns_ms(5);
    }
}

/* ---- answers ---- */

static void test_both_families(void **state)
{
    UNUSED(state);
    RULES({.name = "both.example", .addrs = BOTH, .ttl = 60},
          {.name = "four.example", .addrs = "192.0.2.1 192.0.2.2", .ttl = 60},
          {.name = "six.example", .addrs = "2001:db8::1", .ttl = 60});
    begin(FAMILY_AUTO);
    assert_quiet();
    asks("both.example", RESOLVE_OK, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3");
    asks("four.example", RESOLVE_OK, "192.0.2.1 192.0.2.2");
    asks("six.example", RESOLVE_OK, "2001:db8::1");
    assert_int_equal(server.asked, 6);
    assert_int_equal(server.asked_edns, 6);
    assert_int_equal(server.asked_tcp, 0);
    assert_quiet();
}

/* U9: the order of families can be set. */
static void test_family_modes(void **state)
{
    UNUSED(state);
    RULES({.addrs = BOTH, .ttl = 60});
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1 192.0.2.2");
    assert_int_equal(server.asked_a, 1);
    assert_int_equal(server.asked_aaaa, 0);
    again(FAMILY_6);
    asks("a.example", RESOLVE_OK, "2001:db8::1 2001:db8::2 2001:db8::3");
    assert_int_equal(server.asked_a, 1);
    assert_int_equal(server.asked_aaaa, 1);
    again(FAMILY_PREFER_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1 192.0.2.2 2001:db8::1 2001:db8::2 2001:db8::3");
    again(FAMILY_AUTO);
    asks("a.example", RESOLVE_OK, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3");
    /* Each mode has its own fact. */
    knows("a.example", RESOLVE_OK, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3");
    again(FAMILY_4);
    knows("a.example", RESOLVE_OK, "192.0.2.1 192.0.2.2");
}

static void test_too_many_addresses(void **state)
{
    static char text[512];
    struct asker a;
    size_t n = 0;
    static struct dns_rule rule = {.addrs = text, .ttl = 60};

    UNUSED(state);
    for (unsigned i = 1; i <= 12; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "10.0.0.%u 2001:db8::%u ", i, i);
    dns_server_rules(&server, &rule, 1);
    begin(FAMILY_AUTO);
    assert_true(start(&a, "many.example"));
    finish(&a);
    assert_int_equal(a.answer.n, RESOLVE_MAX_ADDRS);
    assert_int_equal(a.answer.addrs[0].sa.sa_family, AF_INET6);
    assert_int_equal(a.answer.addrs[15].sa.sa_family, AF_INET);
    assert_false(start(&a, "many.example"));
    assert_int_equal(a.answer.n, RESOLVE_MAX_ADDRS);
}

static void test_aliases(void **state)
{
    UNUSED(state);
    RULES({.name = "alias.example", .addrs = BOTH, .ttl = 60, .aliases = 3, .alias_ttl = 60});
    begin(FAMILY_4);
    asks("alias.example", RESOLVE_OK, "192.0.2.1 192.0.2.2");
}

/* ---- lifetimes: U60 ---- */

static void test_ttl(void **state)
{
    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 10});
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    knows("a.example", RESOLVE_OK, "192.0.2.1");
    later_ms(9000);
    knows("a.example", RESOLVE_OK, "192.0.2.1");
    later_ms(1500);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    assert_int_equal(server.asked, 2);
}

static void test_ttl_bounds(void **state)
{
    UNUSED(state);
    RULES({.name = "zero.example", .addrs = "192.0.2.1", .ttl = 0},
          {.name = "high.example", .addrs = "192.0.2.1", .ttl = 0x80000000u},
          {.name = "week.example", .addrs = "192.0.2.1", .ttl = 604800});
    conf.ttl_max_ms = 20000;
    begin(FAMILY_4);
    asks("zero.example", RESOLVE_OK, "192.0.2.1");
    knows("zero.example", RESOLVE_OK, "192.0.2.1");
    asks("high.example", RESOLVE_OK, "192.0.2.1");
    asks("week.example", RESOLVE_OK, "192.0.2.1");
    later_ms(1100);
    asks("zero.example", RESOLVE_OK, "192.0.2.1");
    asks("high.example", RESOLVE_OK, "192.0.2.1");
    later_ms(18000);
    knows("week.example", RESOLVE_OK, "192.0.2.1");
    later_ms(1500);
    asks("week.example", RESOLVE_OK, "192.0.2.1");
}

/* The least of all: aliases and both families. */
static void test_ttl_least(void **state)
{
    UNUSED(state);
    RULES({.name = "alias.example", .addrs = "192.0.2.1", .ttl = 600, .aliases = 2, .alias_ttl = 5},
          {.name = "two.example", .type = DNS_A, .addrs = "192.0.2.1", .ttl = 600},
          {.name = "two.example", .type = DNS_AAAA, .addrs = "2001:db8::1", .ttl = 5});
    begin(FAMILY_AUTO);
    asks("alias.example", RESOLVE_OK, "192.0.2.1");
    asks("two.example", RESOLVE_OK, "2001:db8::1 192.0.2.1");
    later_ms(4000);
    knows("alias.example", RESOLVE_OK, "192.0.2.1");
    knows("two.example", RESOLVE_OK, "2001:db8::1 192.0.2.1");
    later_ms(1500);
    asks("alias.example", RESOLVE_OK, "192.0.2.1");
    asks("two.example", RESOLVE_OK, "2001:db8::1 192.0.2.1");
}

static void test_negative(void **state)
{
    struct asker a;

    UNUSED(state);
    RULES({.name = "none.example", .rcode = 3, .soa = true, .soa_ttl = 600, .soa_minimum = 10},
          {.name = "empty.example", .soa = true, .soa_ttl = 10, .soa_minimum = 600},
          {.name = "long.example", .rcode = 3, .soa = true, .soa_ttl = 9999, .soa_minimum = 9999});
    begin(FAMILY_AUTO);
    asks("none.example", RESOLVE_NXDOMAIN, "");
    asks("empty.example", RESOLVE_NODATA, "");
    asks("long.example", RESOLVE_NXDOMAIN, "");
    asks("no-soa.example", RESOLVE_NXDOMAIN, "");
    assert_false(start(&a, "none.example"));
    assert_int_equal(a.answer.rcode, 3);
    later_ms(1500);
    asks("no-soa.example", RESOLVE_NXDOMAIN, "");
    later_ms(7500);
    knows("none.example", RESOLVE_NXDOMAIN, "");
    knows("empty.example", RESOLVE_NODATA, "");
    later_ms(1500);
    asks("none.example", RESOLVE_NXDOMAIN, "");
    asks("empty.example", RESOLVE_NODATA, "");
    knows("long.example", RESOLVE_NXDOMAIN, "");
    later_ms(50000);
    asks("long.example", RESOLVE_NXDOMAIN, "");
}

/* RFC 4074: a server that says "no such name" to AAAA does not make the name go away. */
static void test_halves(void **state)
{
    UNUSED(state);
    RULES({.name = "a.example", .type = DNS_A, .addrs = "192.0.2.1", .ttl = 600},
          {.name = "a.example", .type = DNS_AAAA, .rcode = 3},
          {.name = "b.example", .type = DNS_A, .rcode = 3}, {.name = "b.example", .type = DNS_AAAA},
          {.name = "c.example", .type = DNS_A, .addrs = "192.0.2.1", .ttl = 600},
          {.name = "c.example", .type = DNS_AAAA, .rcode = 2},
          {.name = "d.example", .type = DNS_A, .rcode = 3},
          {.name = "d.example", .type = DNS_AAAA, .rcode = 2});
    begin(FAMILY_AUTO);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    asks("b.example", RESOLVE_NODATA, "");
    asks("c.example", RESOLVE_OK, "192.0.2.1");
    asks("d.example", RESOLVE_FAILED, "");
    /* One family failed: the answer may lack the better half, so it is soon asked for again. */
    later_ms(31000);
    knows("a.example", RESOLVE_OK, "192.0.2.1");
    asks("c.example", RESOLVE_OK, "192.0.2.1");
}

static void test_shared_cache(void **state)
{
    struct resolver *first;

    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 10});
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    first = r;
    begin(FAMILY_4);
    knows("a.example", RESOLVE_OK, "192.0.2.1");
    knows("A.Example.", RESOLVE_OK, "192.0.2.1");
    resolver_free(first);
}

/* ---- servers that fail ---- */

static void test_server_failure(void **state)
{
    struct asker a;

    UNUSED(state);
    RULES({.name = "fail.example", .rcode = 2}, {.name = "refused.example", .rcode = 5},
          {.name = "notimp.example", .rcode = 4}, {.name = "odd.example", .rcode = 9});
    begin(FAMILY_AUTO);
    asks("fail.example", RESOLVE_FAILED, "");
    knows("fail.example", RESOLVE_FAILED, "");
    assert_false(start(&a, "fail.example"));
    assert_int_equal(a.answer.rcode, 2);
    asks("refused.example", RESOLVE_FAILED, "");
    assert_false(start(&a, "refused.example"));
    assert_int_equal(a.answer.rcode, 5);
    asks("notimp.example", RESOLVE_FAILED, "");
    asks("odd.example", RESOLVE_FAILED, "");
    assert_false(start(&a, "odd.example"));
    assert_int_equal(a.answer.rcode, 9);
    later_ms(1100);
    asks("fail.example", RESOLVE_FAILED, "");
}

static void test_silence(void **state)
{
    uint64_t before = real_ms(), took;

    UNUSED(state);
    RULES({.trick = DNS_SILENT});
    conf.timeout_ms = 450;
    begin(FAMILY_AUTO);
    asks("a.example", RESOLVE_TIMEOUT, "");
    took = real_ms() - before;
    assert_in_range(took, 440, 900);
    assert_int_equal(server.asked_a, 2);
    assert_int_equal(server.asked_aaaa, 2);
    turns_until_quiet();
    later_ms(1100);
    asks("a.example", RESOLVE_TIMEOUT, "");
}

static void test_lost_once(void **state)
{
    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 60, .trick = DNS_FIRST_SILENT});
    conf.timeout_ms = 600;
    begin(FAMILY_AUTO);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    assert_int_equal(server.asked_a, 2);
}

static void test_nobody_there(void **state)
{
    uint64_t before = real_ms();

    UNUSED(state);
    servers[0] = "127.0.0.1:1";
    begin(FAMILY_AUTO);
    asks("a.example", RESOLVE_FAILED, "");
    assert_true(real_ms() - before < 1500);
}

/* A server that goes away between the tries: both questions hear of it, though the kernel tells of one error once. */
static void test_nobody_there_any_more(void **state)
{
    static struct dns_server leaving;
    uint64_t before;
    struct asker a;

    UNUSED(state);
    RULES({.trick = DNS_SILENT});
    assert_true(dns_server_start(&leaving, "127.0.0.1", 0));
    dns_server_rules(&leaving, rules, 1);
    servers[0] = leaving.address;
    conf.timeout_ms = 1500; /* tries after 0 and 500 ms */
    begin(FAMILY_AUTO);
    before = real_ms();
    assert_true(start(&a, "a.example"));
    turns_ms(200);
    assert_int_equal(leaving.asked, 2);
    dns_server_stop(&leaving);
    finish(&a);
    assert_true(a.answer.status == RESOLVE_FAILED || a.answer.status == RESOLVE_TIMEOUT);
    assert_true(real_ms() - before < 1200);
}

static void test_next_server(void **state)
{
    static const struct dns_rule found = {.addrs = "192.0.2.1", .ttl = 60};
    static struct dns_server second;

    UNUSED(state);
    RULES({.name = "b.example", .rcode = 2}, {.addrs = "192.0.2.2", .ttl = 60});
    assert_true(dns_server_start(&second, "127.0.0.1", 0));
    dns_server_rules(&second, &found, 1);
    servers[0] = "127.0.0.1:1";
    servers[1] = second.address;
    begin(FAMILY_AUTO);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    servers[0] = server.address;
    again(FAMILY_AUTO);
    asks("b.example", RESOLVE_OK, "192.0.2.1"); /* after a SERVFAIL */
    asks("c.example", RESOLVE_OK, "192.0.2.2");
    resolver_free(r);
    r = NULL;
    dns_server_stop(&second);
}

static void test_truncated(void **state)
{
    UNUSED(state);
    RULES({.addrs = BOTH, .ttl = 60, .trick = DNS_CUT});
    begin(FAMILY_AUTO);
    asks("a.example", RESOLVE_OK, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3");
    assert_int_equal(server.asked_tcp, 2);
    assert_int_equal(server.asked, 4);
    assert_quiet();
}

static void test_without_edns(void **state)
{
    UNUSED(state);
    RULES({.addrs = BOTH, .ttl = 60, .trick = DNS_NO_EDNS});
    begin(FAMILY_AUTO);
    asks("a.example", RESOLVE_OK, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3");
    asks("b.example", RESOLVE_OK, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3");
    dns_server_rules(&server, rules, 1);
    asks("c.example", RESOLVE_OK, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3");
    assert_int_equal(server.asked_edns, 0);
}

static void test_lies(void **state)
{
    UNUSED(state);
    RULES({.name = "other.example", .addrs = BOTH, .ttl = 60, .trick = DNS_OTHER_QUESTION},
          {.name = "noise.example", .trick = DNS_NONSENSE},
          {.name = "short.example", .trick = DNS_SHORT},
          {.name = "loop.example", .trick = DNS_LOOP}, {.name = "many.example", .trick = DNS_MANY},
          {.name = "chain.example", .addrs = BOTH, .ttl = 60, .aliases = 17, .alias_ttl = 60},
          {.name = "empty.example", .addrs = "192.0.2.1", .ttl = 60, .trick = DNS_EMPTY});
    conf.timeout_ms = 400;
    begin(FAMILY_AUTO);
    asks("other.example", RESOLVE_TIMEOUT, "");
    asks("short.example", RESOLVE_TIMEOUT, "");
    turns_until_quiet();
    conf.timeout_ms = 3000;
    again(FAMILY_AUTO);
    asks("noise.example", RESOLVE_FAILED, "");
    asks("loop.example", RESOLVE_NODATA, "");
    asks("many.example", RESOLVE_FAILED, "");
    asks("chain.example", RESOLVE_FAILED, "");
    asks("empty.example", RESOLVE_OK, "192.0.2.1");
    turns_until_quiet();
}

/* ---- past their time: resolver.stale ---- */

/* Is answered at once, with what is past its time or not. */
static void knows_stale(const char *name, bool stale, const char *addrs)
{
    struct asker a;

    assert_false(start(&a, name));
    assert_int_equal(a.answer.status, RESOLVE_OK);
    assert_true(a.answer.cached);
    assert_int_equal(a.answer.stale, stale);
    assert_string_equal(text_of(&a.answer), addrs);
}

/* What is under way comes to its end; then so many questions were asked. */
static void turns_until_asked(unsigned n)
{
    uint64_t end = real_ms() + PATIENCE_MS;

    while (resolver_lookups(r) && real_ms() < end)
        loop_turn(&loop, 5);
    assert_int_equal(resolver_lookups(r), 0);
    assert_int_equal(server.asked, n);
}

/* At once what there was; from one refresh on, what there is. */
static void test_stale(void **state)
{
    static const struct dns_rule fresh[] = {{.addrs = "192.0.2.2", .ttl = 10}};

    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 10});
    conf.stale_ms = 60000;
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    dns_server_rules(&server, fresh, 1);
    later_ms(9000);
    knows_stale("a.example", false, "192.0.2.1");
    assert_int_equal(server.asked, 0);
    later_ms(1500);
    for (int i = 0; i < 5; i++)
        knows_stale("a.example", true, "192.0.2.1");
    turns_until_asked(1);
    knows_stale("a.example", false, "192.0.2.2");
    assert_int_equal(server.asked, 1);
    assert_quiet();
}

/* While refreshes fail it goes on, one of them a second; never beyond the bound. */
static void test_stale_failing(void **state)
{
    static const struct dns_rule failing[] = {{.rcode = 2}};
    unsigned each;

    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 10});
    conf.stale_ms = 5000;
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    dns_server_rules(&server, failing, 1);
    later_ms(10100);
    knows_stale("a.example", true, "192.0.2.1");
    while (resolver_lookups(r))
        loop_turn(&loop, 5);
    each = server.asked;
    assert_in_range(each, 1, 2);
    for (int i = 0; i < 5; i++)
        knows_stale("a.example", true, "192.0.2.1");
    turns_until_asked(each);
    later_ms(1100);
    knows_stale("a.example", true, "192.0.2.1");
    turns_until_asked(2 * each);
    later_ms(3900);
    asks("a.example", RESOLVE_FAILED, "");
}

/* Silence: the same. */
static void test_stale_silent(void **state)
{
    static const struct dns_rule silent[] = {{.trick = DNS_SILENT}};

    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 10});
    conf.stale_ms = 60000;
    conf.timeout_ms = 300;
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    dns_server_rules(&server, silent, 1);
    later_ms(10100);
    knows_stale("a.example", true, "192.0.2.1");
    turns_until_quiet();
    knows_stale("a.example", true, "192.0.2.1");
    assert_int_equal(resolver_lookups(r), 0);
    dns_server_rules(&server, rules, 1);
    later_ms(1100);
    knows_stale("a.example", true, "192.0.2.1");
    turns_until_asked(1);
    knows_stale("a.example", false, "192.0.2.1");
}

/* That the name is gone, or has no address any more, is an answer. */
static void test_stale_no_more(void **state)
{
    static const struct dns_rule gone[] = {
        {.name = "a.example", .rcode = 3, .soa = true, .soa_ttl = 60, .soa_minimum = 60},
        {.name = "b.example", .soa = true, .soa_ttl = 60, .soa_minimum = 60}};

    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 10});
    conf.stale_ms = 60000;
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    asks("b.example", RESOLVE_OK, "192.0.2.1");
    dns_server_rules(&server, gone, 2);
    later_ms(10100);
    knows_stale("a.example", true, "192.0.2.1");
    knows_stale("b.example", true, "192.0.2.1");
    turns_until_asked(2);
    knows("a.example", RESOLVE_NXDOMAIN, "");
    knows("b.example", RESOLVE_NODATA, "");
}

/* "No" is not kept past its time, and a shorter bound holds for what was learned under a longer
 * one. */
static void test_stale_bounds(void **state)
{
    UNUSED(state);
    RULES({.name = "a.example", .addrs = "192.0.2.1", .ttl = 10},
          {.name = "no.example", .rcode = 3, .soa = true, .soa_ttl = 10, .soa_minimum = 10});
    conf.stale_ms = 60000;
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    asks("no.example", RESOLVE_NXDOMAIN, "");
    later_ms(10100);
    asks("no.example", RESOLVE_NXDOMAIN, "");
    assert_true(resolver_same(r, &conf));
    conf.stale_ms = 1000;
    assert_false(resolver_same(r, &conf));
    again(FAMILY_4);
    later_ms(1000);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    later_ms(10100);
    knows_stale("a.example", true, "192.0.2.1");
    turns_until_quiet();
    conf.stale_ms = 0;
    again(FAMILY_4);
    later_ms(10100);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
}

/* Of two resolvers that share a board one asks; should it not come back, it is the other's turn. */
static void test_stale_shared(void **state)
{
    static const struct dns_rule silent[] = {{.trick = DNS_SILENT}};
    struct resolver *first;

    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 10});
    conf.stale_ms = 60000;
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    later_ms(10100);
    first = r;
    r = NULL;
    begin(FAMILY_4);
    dns_server_rules(&server, silent, 1);
    knows_stale("a.example", true, "192.0.2.1");
    assert_int_equal(resolver_lookups(r), 1);
    for (uint64_t end = real_ms() + PATIENCE_MS; server.asked == 0 && real_ms() < end;)
        turns_ms(1); /* it counts on a thread of its own */
    resolver_free(r);
    r = first;
    knows_stale("a.example", true, "192.0.2.1");
    assert_int_equal(resolver_lookups(r), 0);
    dns_server_rules(&server, rules, 1);
    later_ms(conf.timeout_ms + 1100);
    knows_stale("a.example", true, "192.0.2.1");
    turns_until_asked(1);
    knows_stale("a.example", false, "192.0.2.1");
}

/* One family of the refresh is enough to do without what was. */
static void test_stale_half(void **state)
{
    static const struct dns_rule half[] = {{.type = DNS_A, .addrs = "192.0.2.2", .ttl = 10}, {.trick = DNS_SILENT}};

    UNUSED(state);
    RULES({.addrs = "192.0.2.1 2001:db8::1", .ttl = 10});
    conf.stale_ms = 60000;
    begin(FAMILY_AUTO);
    asks("a.example", RESOLVE_OK, "2001:db8::1 192.0.2.1");
    dns_server_rules(&server, half, 2);
    later_ms(10100);
    knows_stale("a.example", true, "2001:db8::1 192.0.2.1");
    turns_ms(RESOLVE_DELAY_MS + 100);
    assert_int_equal(resolver_lookups(r), 1);
    knows_stale("a.example", false, "192.0.2.2");
}

/* No memory for a refresh: what there is goes on. */
static void test_stale_memory(void **state)
{
    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 10});
    conf.stale_ms = 3600000;
    conf.timeout_ms = 250;
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    for (memfail_start(); memfail_next();) {
        later_ms(11200);
        knows_stale("a.example", true, "192.0.2.1");
        turns_until_quiet();
    }
    knows_stale("a.example", false, "192.0.2.1");
}

/* ---- one family is late: RFC 8305 3, U9 ---- */

static void test_slow_family(void **state)
{
    uint64_t before;

    UNUSED(state);
    RULES({.type = DNS_A, .addrs = "192.0.2.1", .ttl = 60},
          {.type = DNS_AAAA, .addrs = "2001:db8::1", .ttl = 60, .delay_ms = 600});
    begin(FAMILY_AUTO);
    before = real_ms();
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    assert_in_range(real_ms() - before, 45, 500);
    /* Whoever asks meanwhile gets what is there. */
    knows("a.example", RESOLVE_OK, "192.0.2.1");
    turns_ms(700);
    knows("a.example", RESOLVE_OK, "2001:db8::1 192.0.2.1");
    assert_int_equal(server.asked, 2);
}

/* A busy machine may be late itself: one of several is enough. */
static void test_slow_within_delay(void **state)
{
    static const char *const names[] = {"a.example", "b.example", "c.example", "d.example"};
    unsigned n_both = 0;
    struct asker a;

    UNUSED(state);
    RULES({.type = DNS_AAAA, .addrs = "2001:db8::1", .ttl = 60},
          {.type = DNS_A, .addrs = "192.0.2.1", .ttl = 60, .delay_ms = 15});
    begin(FAMILY_AUTO);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_true(start(&a, names[i]));
        finish(&a);
        n_both += strcmp(text_of(&a.answer), "2001:db8::1 192.0.2.1") == 0;
    }
    assert_true(n_both > 0);
}

static void test_silent_family(void **state)
{
    uint64_t before;

    UNUSED(state);
    RULES({.type = DNS_A, .addrs = "192.0.2.1", .ttl = 600},
          {.type = DNS_AAAA, .trick = DNS_SILENT});
    conf.timeout_ms = 400;
    begin(FAMILY_AUTO);
    before = real_ms();
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    assert_in_range(real_ms() - before, 45, 390);
    turns_until_quiet();
    knows("a.example", RESOLVE_OK, "192.0.2.1");
    later_ms(30500);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
}

/* No delay when the other family is known to be missing or has failed. */
static void test_no_delay(void **state)
{
    static const char *const names[] = {"a.example", "b.example", "c.example", "d.example"};
    unsigned n_fast = 0;

    UNUSED(state);
    RULES({.type = DNS_A, .addrs = "192.0.2.1", .ttl = 600},
          {.name = "a.example", .type = DNS_AAAA}, {.name = "b.example", .type = DNS_AAAA},
          {.type = DNS_AAAA, .rcode = 2});
    begin(FAMILY_AUTO);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        uint64_t before = real_ms();

        asks(names[i], RESOLVE_OK, "192.0.2.1");
        n_fast += real_ms() - before < 45;
    }
    assert_in_range(n_fast, 3, 4);
}

/* ---- askers ---- */

static void test_joined(void **state)
{
    struct asker a[4];

    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 60, .delay_ms = 200});
    begin(FAMILY_AUTO);
    for (int i = 0; i < 3; i++)
        assert_true(start(&a[i], "a.example"));
    turns_ms(10);
    assert_true(start(&a[3], "A.EXAMPLE"));
    resolve_cancel(&a[1].req);
    finish(&a[0]);
    finish(&a[2]);
    finish(&a[3]);
    assert_false(a[1].req.done);
    assert_int_equal(a[1].n_woken, 0);
    assert_int_equal(server.asked, 2);
    assert_string_equal(text_of(&a[3].answer), "192.0.2.1");
}

static void test_cancel(void **state)
{
    struct asker a, never = {0};

    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 60, .delay_ms = 10});
    begin(FAMILY_AUTO);
    resolve_cancel(&never.req);
    /* Under way: the answer is for the cache. */
    assert_true(start(&a, "a.example"));
    resolve_cancel(&a.req);
    resolve_cancel(&a.req);
    turns_until_known("a.example");
    assert_int_equal(a.n_woken, 0);
    knows("a.example", RESOLVE_OK, "192.0.2.1");
    /* Answered, not seen yet. */
    assert_true(start(&a, "b.example"));
    finish(&a);
    resolve_cancel(&a.req);
    /* Answered at once. */
    assert_false(start(&a, "b.example"));
    resolve_cancel(&a.req);
    assert_false(a.req.done);
    /* Under way when the resolver ends. */
    assert_true(start(&a, "c.example"));
    loop_turn(&loop, 0);
    resolve_cancel(&a.req);
    resolver_free(r);
    r = NULL;
    turns_ms(30);
    assert_int_equal(a.n_woken, 0);
}

static void test_limit(void **state)
{
    static const struct dns_rule found = {.addrs = "192.0.2.1", .ttl = 60};
    static struct asker a[RESOLVE_MAX_NAMES], one;
    char name[32];

    UNUSED(state);
    RULES({.trick = DNS_SILENT});
    conf.timeout_ms = 800;
    begin(FAMILY_AUTO);
    for (int i = 0; i < RESOLVE_MAX_NAMES; i++) {
        snprintf(name, sizeof(name), "n%d.example", i);
        assert_true(start(&a[i], name));
    }
    assert_false(start(&one, "over.example"));
    assert_int_equal(one.answer.status, RESOLVE_LIMIT);
    assert_true(start(&one, "n7.example")); /* joins */
    for (int i = 0; i < RESOLVE_MAX_NAMES; i++)
        finish(&a[i]);
    finish(&one);
    assert_int_equal(a[0].answer.status, RESOLVE_TIMEOUT);
    turns_until_quiet();
    dns_server_rules(&server, &found, 1);
    asks("over.example", RESOLVE_OK, "192.0.2.1");
}

/* ---- names that are not asked for ---- */

/* U6 */
static void test_literals(void **state)
{
    UNUSED(state);
    begin(FAMILY_AUTO);
    says("192.0.2.1", RESOLVE_OK, "192.0.2.1");
    says("2001:db8::1", RESOLVE_OK, "2001:db8::1");
    says("[2001:db8::1]", RESOLVE_OK, "2001:db8::1");
    says("::ffff:192.0.2.1", RESOLVE_OK, "::ffff:192.0.2.1");
    again(FAMILY_4);
    says("2001:db8::1", RESOLVE_OK, "2001:db8::1");
}

static void test_localhost(void **state)
{
    UNUSED(state);
    write_file(hosts_path, "192.0.2.1 localhost a.localhost\n");
    begin(FAMILY_AUTO);
    says("localhost", RESOLVE_OK, "::1 127.0.0.1");
    says("LocalHost.", RESOLVE_OK, "::1 127.0.0.1");
    says("a.localhost", RESOLVE_OK, "::1 127.0.0.1");
    again(FAMILY_PREFER_4);
    says("localhost", RESOLVE_OK, "127.0.0.1 ::1");
    again(FAMILY_4);
    says("localhost", RESOLVE_OK, "127.0.0.1");
    again(FAMILY_6);
    says("localhost", RESOLVE_OK, "::1");
    asks("notlocalhost", RESOLVE_NXDOMAIN, "");
}

static void test_bad_names(void **state)
{
    char longest[256];

    UNUSED(state);
    begin(FAMILY_AUTO);
    memset(longest, 'a', sizeof(longest));
    longest[254] = '\0';
    says("", RESOLVE_NXDOMAIN, "");
    says(".", RESOLVE_NXDOMAIN, "");
    says("a b", RESOLVE_NXDOMAIN, "");
    says("a\\.b", RESOLVE_NXDOMAIN, "");
    says("\303\244.example", RESOLVE_NXDOMAIN, "");
    says(longest, RESOLVE_NXDOMAIN, "");
    longest[253] = '\0';
    asks(longest, RESOLVE_NXDOMAIN, ""); /* a label of 253 bytes */
    asks("a..b", RESOLVE_NXDOMAIN, "");
    asks("hidden.onion", RESOLVE_NXDOMAIN, ""); /* RFC 7686 */
    assert_int_equal(server.asked, 0);
    for (size_t i = 63; i < 253; i += 64)
        longest[i] = '.';
    asks(longest, RESOLVE_NXDOMAIN, "");
    assert_int_equal(server.asked, 2);
}

/* ---- files ---- */

static void test_hosts(void **state)
{
    UNUSED(state);
    RULES({.addrs = "198.51.100.1", .ttl = 60});
    write_file(hosts_path, "192.0.2.1 a.example\n2001:db8::1 A.Example\n192.0.2.2 b.example\n");
    begin(FAMILY_AUTO);
    says("a.example", RESOLVE_OK, "2001:db8::1 192.0.2.1");
    says("b.example", RESOLVE_OK, "192.0.2.2");
    asks("c.example", RESOLVE_OK, "198.51.100.1");
    again(FAMILY_4);
    says("a.example", RESOLVE_OK, "192.0.2.1");
    again(FAMILY_6);
    says("b.example", RESOLVE_NODATA, "");
    assert_quiet();
}

static void test_hosts_changes(void **state)
{
    char other[80];

    UNUSED(state);
    begin(FAMILY_4);
    /* It appears … */
    write_file(hosts_path, "192.0.2.1 a.example\n");
    turns_ms(150);
    says("a.example", RESOLVE_OK, "192.0.2.1");
    /* … is replaced … */
    replace_file(hosts_path, "192.0.2.2 a.example\n");
    turns_ms(150);
    says("a.example", RESOLVE_OK, "192.0.2.2");
    /* … is written again in its place, with the same size … */
    write_file(hosts_path, "192.0.2.3 a.example\n");
    turns_ms(150);
    says("a.example", RESOLVE_OK, "192.0.2.3");
    /* … becomes a link … */
    snprintf(other, sizeof(other), "%s.real", hosts_path);
    write_file(other, "192.0.2.4 a.example\n");
    unlink(hosts_path);
    assert_int_equal(symlink(other, hosts_path), 0);
    turns_ms(150);
    says("a.example", RESOLVE_OK, "192.0.2.4");
    /* … whose target is replaced … */
    replace_file(other, "192.0.2.5 a.example\n");
    turns_ms(150);
    says("a.example", RESOLVE_OK, "192.0.2.5");
    /* … and is gone. */
    unlink(hosts_path);
    unlink(other);
    turns_ms(150);
    asks("a.example", RESOLVE_NXDOMAIN, "");
    assert_quiet();
}

/* Two writes faster than files are read again: the second is not missed. */
static void test_hosts_changes_fast(void **state)
{
    UNUSED(state);
    write_file(hosts_path, "192.0.2.1 a.example\n");
    begin(FAMILY_4);
    turns_ms(120);
    write_file(hosts_path, "192.0.2.2 a.example\n");
    loop_turn(&loop, 10);
    write_file(hosts_path, "192.0.2.3 a.example\n");
    turns_ms(150);
    says("a.example", RESOLVE_OK, "192.0.2.3");
    assert_quiet();
}

/* A file that is still being written is not read. */
static void test_hosts_half_written(void **state)
{
    FILE *f;

    UNUSED(state);
    begin(FAMILY_4);
    f = fopen(hosts_path, "w");
    assert_non_null(f);
    fputs("192.0.2.1 a.example\n192.0.2.2 b", f);
    fflush(f);
    turns_ms(150);
    asks("a.example", RESOLVE_NXDOMAIN, "");
    fputs(".example\n", f);
    fclose(f);
    turns_ms(150);
    says("a.example", RESOLVE_OK, "192.0.2.1");
    says("b.example", RESOLVE_OK, "192.0.2.2");
}

/* A directory that cannot be watched: files are looked at now and then. */
static void test_hosts_polled(void **state)
{
    char missing[64], file[80];

    UNUSED(state);
    snprintf(missing, sizeof(missing), "%s/later", dir);
    snprintf(file, sizeof(file), "%s/hosts", missing);
    conf.hosts_path = file;
    begin(FAMILY_4);
    asks("a.example", RESOLVE_NXDOMAIN, "");
    assert_int_equal(mkdir(missing, 0700), 0);
    write_file(file, "192.0.2.1 a.example\n");
    later_ms(4000);
    asks("a.example", RESOLVE_NXDOMAIN, "");
    later_ms(1500);
    says("a.example", RESOLVE_OK, "192.0.2.1");
    /* And now it is watched. */
    replace_file(file, "192.0.2.2 a.example\n");
    turns_ms(150);
    says("a.example", RESOLVE_OK, "192.0.2.2");
    unlink(file);
    rmdir(missing);
}

static void test_odd_files(void **state)
{
    UNUSED(state);
    assert_int_equal(mkfifo(hosts_path, 0600), 0);
    assert_int_equal(mkdir(conf_path, 0700), 0);
    conf.search = true;
    begin(FAMILY_AUTO);
    asks("a.example", RESOLVE_NXDOMAIN, "");
    rmdir(conf_path);
}

static int no_wait(struct loop *l, int timeout_ms)
{
    UNUSED(timeout_ms);
    loop_awake(l, true);
    return 0;
}

/* A world without a kernel: files and literals work, the network is not touched. */
static void test_simulated(void **state)
{
    UNUSED(state);
    loop_done(&loop);
    world.wait = no_wait;
    assert_int_equal(loop_init(&loop, &world), 0);
    write_file(hosts_path, "192.0.2.1 h.example\n");
    begin(FAMILY_AUTO);
    says("h.example", RESOLVE_OK, "192.0.2.1");
    asks("a.example", RESOLVE_FAILED, "");
    assert_int_equal(server.asked, 0);
    assert_quiet();
}

/* ---- resolv.conf ---- */

/* Servers in resolv.conf have no port: a test needs port 53 of some loopback address. */
static bool start_at_53(struct dns_server *s, unsigned k)
{
    char ip[32];

    for (unsigned i = 0; i < 4; i++) {
        snprintf(ip, sizeof(ip), "127.53.%u.%u", k, i + 1);
        if (dns_server_start(s, ip, 53))
            return true;
    }
    return false;
}

static void write_server(const struct dns_server *s)
{
    char text[64];

    snprintf(text, sizeof(text), "nameserver %.*s\n", (int)strcspn(s->address, ":"), s->address);
    replace_file(conf_path, text);
}

static void test_resolv_conf(void **state)
{
    static const struct dns_rule of_one[] = {{.name = "slow.example", .trick = DNS_SILENT},
                                             {.addrs = "192.0.2.1", .ttl = 600}};
    static const struct dns_rule of_two = {.addrs = "192.0.2.2", .ttl = 600};
    static struct dns_server one, two;
    struct asker a;

    UNUSED(state);
    if (!start_at_53(&one, 1))
        skip();
    if (!start_at_53(&two, 2)) {
        dns_server_stop(&one);
        skip();
    }
    dns_server_rules(&one, of_one, ARRAY_LEN(of_one));
    dns_server_rules(&two, &of_two, 1);
    write_server(&one);
    servers[0] = NULL;
    begin(FAMILY_AUTO);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    knows("a.example", RESOLVE_OK, "192.0.2.1");
    /* The change is noticed; what is under way is asked again; what the old server said is
     * forgotten. */
    assert_true(start(&a, "slow.example"));
    turns_ms(120);
    assert_false(a.req.done);
    write_server(&two);
    finish(&a);
    assert_string_equal(text_of(&a.answer), "192.0.2.2");
    asks("a.example", RESOLVE_OK, "192.0.2.2");
    /* A file that says the same changes nothing; nor does one that is gone. */
    write_server(&two);
    turns_ms(150);
    knows("a.example", RESOLVE_OK, "192.0.2.2");
    unlink(conf_path);
    turns_ms(150);
    knows("a.example", RESOLVE_OK, "192.0.2.2");
    asks("b.example", RESOLVE_OK, "192.0.2.2");
    assert_quiet();
    resolver_free(r);
    r = NULL;
    dns_server_stop(&one);
    dns_server_stop(&two);
}

/* Servers of the configuration are not replaced by those of resolv.conf; nor are they watched. */
static void test_own_servers(void **state)
{
    UNUSED(state);
    RULES({.addrs = "192.0.2.1", .ttl = 60});
    write_file(conf_path, "nameserver 127.0.0.1\nsearch one.example\n");
    begin(FAMILY_4);
    asks("a.example", RESOLVE_OK, "192.0.2.1");
    asks("a", RESOLVE_OK, "192.0.2.1");
    assert_int_equal(server.asked, 2);
    conf.servers = NULL;
    resolver_free(r);
    r = NULL;
    conf.servers = (const char *const[]){"localhost", NULL};
    assert_int_equal(resolver_new(&loop, board, NULL, &conf, &r), ERR_SYNTAX);
    conf.servers = (const char *const[]){"127.0.0.1:0", NULL};
    assert_int_equal(resolver_new(&loop, board, NULL, &conf, &r), ERR_RANGE);
    assert_null(r);
}

static void test_search(void **state)
{
    UNUSED(state);
    RULES({.name = "a.one.example", .addrs = "192.0.2.1", .ttl = 60},
          {.name = "b.two.example", .addrs = "192.0.2.2", .ttl = 60},
          {.name = "c", .addrs = "192.0.2.3", .ttl = 60},
          {.name = "x.y", .addrs = "192.0.2.4", .ttl = 60},
          {.name = "x.y.one.example", .addrs = "192.0.2.5", .ttl = 60},
          {.name = "d.z.one.example", .addrs = "192.0.2.6", .ttl = 60},
          {.name = "e.one.example", .rcode = 2},
          {.name = "e.two.example", .addrs = "192.0.2.7", .ttl = 60},
          {.name = "f.one.example", .rcode = 2}, {.name = "g.one.example"});
    write_file(conf_path, "search one.example two.example\n");
    conf.search = true;
    begin(FAMILY_4);
    asks("a", RESOLVE_OK, "192.0.2.1");
    assert_int_equal(server.asked, 1);
    asks("b", RESOLVE_OK, "192.0.2.2");
    assert_int_equal(server.asked, 3);
    asks("c", RESOLVE_OK, "192.0.2.3");
    assert_int_equal(server.asked, 6);
    asks("x.y", RESOLVE_OK, "192.0.2.4"); /* enough dots: as it is first */
    assert_int_equal(server.asked, 7);
    asks("d.z", RESOLVE_OK, "192.0.2.6");
    asks("e", RESOLVE_OK, "192.0.2.7"); /* past a failure */
    asks("f", RESOLVE_FAILED, "");      /* which is not forgotten */
    asks("g", RESOLVE_NODATA, "");
    asks("nowhere", RESOLVE_NXDOMAIN, "");
    knows("nowhere", RESOLVE_NXDOMAIN, "");
    knows("a", RESOLVE_OK, "192.0.2.1");
    /* ndots is the file's, and is noticed when it changes. */
    replace_file(conf_path, "search one.example two.example\noptions ndots:2\n");
    turns_ms(150);
    asks("x.y", RESOLVE_OK, "192.0.2.5");
    assert_quiet();
}

static void test_search_long_name(void **state)
{
    char name[254];

    UNUSED(state);
    write_file(conf_path, "search one.example two.example\noptions ndots:15\n");
    conf.search = true;
    memset(name, 'a', sizeof(name));
    for (size_t i = 60; i < 250; i += 61)
        name[i] = '.';
    name[248] = '\0';
    begin(FAMILY_4);
    asks(name, RESOLVE_NXDOMAIN, "");
    assert_int_equal(server.asked, 1); /* only as it is: the others would be too long */
}

/* A name in the middle of its search list, and time is over: the lookup has one time in all. */
static void test_search_timeout(void **state)
{
    uint64_t before = real_ms();

    UNUSED(state);
    RULES({.name = "a.one.example", .rcode = 3, .delay_ms = 200}, {.trick = DNS_SILENT});
    write_file(conf_path, "search one.example two.example\n");
    conf.search = true;
    conf.timeout_ms = 500;
    begin(FAMILY_4);
    asks("a", RESOLVE_TIMEOUT, "");
    assert_in_range(real_ms() - before, 480, 1200);
    turns_until_quiet();
}

/* ---- penalties: U9, U60 ---- */

static struct addr addr_of(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse_host(slice_str(text), 443, &a), 0);
    return a;
}

static void penalise(const char *name, const char *addr)
{
    struct addr a = addr_of(addr);

    resolve_penalise(r, slice_str(name), &a);
}

static void test_penalties(void **state)
{
    UNUSED(state);
    RULES({.addrs = BOTH, .ttl = 600});
    write_file(hosts_path, "192.0.2.1 h.example\n192.0.2.2 h.example\n");
    begin(FAMILY_AUTO);
    penalise("a.example", "2001:db8::1"); /* before it was ever asked for */
    asks("a.example", RESOLVE_OK, "192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3 2001:db8::1");
    penalise("A.example.", "192.0.2.1");
    knows("a.example", RESOLVE_OK, "2001:db8::2 192.0.2.2 2001:db8::3 2001:db8::1 192.0.2.1");
    asks("b.example", RESOLVE_OK, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3");
    penalise("a.example", "2001:db8::2");
    penalise("a.example", "2001:db8::3");
    penalise("a.example", "192.0.2.2");
    knows("a.example", RESOLVE_OK, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3");
    penalise("h.example", "192.0.2.1");
    says("h.example", RESOLVE_OK, "192.0.2.2 192.0.2.1");
    penalise("localhost", "::1");
    says("localhost", RESOLVE_OK, "127.0.0.1 ::1");
    penalise("", "::1");
    later_ms(61000);
    knows("a.example", RESOLVE_OK, "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3");
    says("localhost", RESOLVE_OK, "::1 127.0.0.1");
}

/* ---- the C library ---- */

static void test_system(void **state)
{
    struct helper_pool *pool = helper_pool_new(2, 8);
    struct asker a, b;

    UNUSED(state);
    conf.system = true;
    assert_int_equal(resolver_new(&loop, board, pool, &conf, &r), 0);
    write_file(hosts_path, "192.0.2.1 h.example\n");
    says("localhost", RESOLVE_OK, "::1 127.0.0.1");
    /* A name with an empty label exists nowhere, and no server is needed to know that. */
    assert_true(start(&a, "a..b"));
    assert_true(start(&b, "a..b"));
    finish(&a);
    finish(&b);
    assert_true(a.answer.status == RESOLVE_NXDOMAIN || a.answer.status == RESOLVE_FAILED ||
                a.answer.status == RESOLVE_NODATA);
    assert_int_equal(server.asked, 0);
    /* Left alone while it is away. */
    assert_true(start(&a, "c..d"));
    resolve_cancel(&a.req);
    resolver_free(r);
    r = NULL;
    helper_pool_free(pool);
    loop_turn(&loop, 0);
}

/* A name that the machine's own hosts file has, if any. */
static bool own_name(char out[256])
{
    FILE *f = fopen("/etc/hosts", "r");
    char line[512], addr[64], name[256];
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f))
        found = sscanf(line, "%63s %255s", addr, name) == 2 && strchr(addr, '.') &&
                addr[0] != '#' && !strstr(name, "localhost") && name[0] != '#';
    if (f)
        fclose(f);
    if (found)
        snprintf(out, 256, "%s", name);
    return found;
}

static void test_system_finds(void **state)
{
    struct helper_pool *pool;
    char name[256];
    struct asker a;

    UNUSED(state);
    if (!own_name(name))
        skip();
    pool = helper_pool_new(1, 8);
    conf.system = true;
    conf.family = FAMILY_4;
    assert_int_equal(resolver_new(&loop, board, pool, &conf, &r), 0);
    assert_true(start(&a, name));
    finish(&a);
    assert_int_equal(a.answer.status, RESOLVE_OK);
    assert_true(a.answer.n > 0);
    assert_int_equal(a.answer.addrs[0].sa.sa_family, AF_INET);
    knows(name, RESOLVE_OK, text_of(&a.answer));
    later_ms(29000);
    assert_false(start(&a, name));
    later_ms(1500);
    assert_true(start(&a, name));
    finish(&a);
    resolver_free(r);
    r = NULL;
    helper_pool_free(pool);
}

static void test_system_full(void **state)
{
    struct helper_pool *pool = helper_pool_new(1, 1);
    struct asker a[8];
    unsigned refused = 0;
    char name[16];

    UNUSED(state);
    conf.system = true;
    assert_int_equal(resolver_new(&loop, board, pool, &conf, &r), 0);
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "a..%d", i);
        if (!start(&a[i], name)) {
            assert_int_equal(a[i].answer.status, RESOLVE_LIMIT);
            refused++;
        }
    }
    for (int i = 0; i < 8; i++)
        if (!a[i].req.done)
            finish(&a[i]);
    assert_true(refused < 8);
    assert_quiet();
    resolver_free(r);
    r = NULL;
    helper_pool_free(pool);
}

/* ---- memory ---- */

static void one_lookup(void)
{
    struct asker a;
    int e = resolver_new(&loop, board, NULL, &conf, &r);

    if (e < 0) {
        assert_true(memfail_hit());
        assert_int_equal(e, ERR_NOMEM);
        return;
    }
    if (start(&a, "a.example"))
        finish(&a);
    if (!memfail_hit())
        assert_int_equal(a.answer.status, RESOLVE_OK);
    assert_true(a.answer.n == 0 || strstr(text_of(&a.answer), "192.0.2.1") ||
                strstr(text_of(&a.answer), "2001:db8::1"));
    resolver_free(r);
    r = NULL;
}

static void test_memory(void **state)
{
    UNUSED(state);
    RULES({.addrs = BOTH, .ttl = 1, .aliases = 1, .alias_ttl = 1});
    write_file(hosts_path, "192.0.2.1 h.example\n");
    write_file(conf_path, "search one.example\n");
    conf.search = true;
    conf.timeout_ms = 250;
    for (memfail_start(); memfail_next();) {
        one_lookup();
        later_ms(2000);
    }
}

/* The same with a server that wants TCP, and one that knows no EDNS. */
static void test_memory_detours(void **state)
{
    static const struct dns_rule cut = {.addrs = BOTH, .ttl = 1, .trick = DNS_CUT};
    static const struct dns_rule plain = {.addrs = BOTH, .ttl = 1, .trick = DNS_NO_EDNS};

    UNUSED(state);
    conf.timeout_ms = 250;
    dns_server_rules(&server, &cut, 1);
    for (memfail_start(); memfail_next();) {
        one_lookup();
        later_ms(2000);
    }
    dns_server_rules(&server, &plain, 1);
    for (memfail_start(); memfail_next();) {
        one_lookup();
        later_ms(2000);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_both_families),
        T(test_family_modes),
        T(test_too_many_addresses),
        T(test_aliases),
        T(test_ttl),
        T(test_ttl_bounds),
        T(test_ttl_least),
        T(test_negative),
        T(test_halves),
        T(test_shared_cache),
        T(test_stale),
        T(test_stale_failing),
        T(test_stale_silent),
        T(test_stale_no_more),
        T(test_stale_bounds),
        T(test_stale_shared),
        T(test_stale_half),
        T(test_stale_memory),
        T(test_server_failure),
        T(test_silence),
        T(test_lost_once),
        T(test_nobody_there),
        T(test_nobody_there_any_more),
        T(test_next_server),
        T(test_truncated),
        T(test_without_edns),
        T(test_lies),
        T(test_slow_family),
        T(test_slow_within_delay),
        T(test_silent_family),
        T(test_no_delay),
        T(test_joined),
        T(test_cancel),
        T(test_limit),
        T(test_literals),
        T(test_localhost),
        T(test_bad_names),
        T(test_hosts),
        T(test_hosts_changes),
        T(test_hosts_changes_fast),
        T(test_hosts_half_written),
        T(test_hosts_polled),
        T(test_simulated),
        T(test_odd_files),
        T(test_resolv_conf),
        T(test_own_servers),
        T(test_search),
        T(test_search_long_name),
        T(test_search_timeout),
        T(test_penalties),
        T(test_system),
        T(test_system_finds),
        T(test_system_full),
        T(test_memory),
        T(test_memory_detours),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
