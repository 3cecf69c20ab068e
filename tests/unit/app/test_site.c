/* SPDX-License-Identifier: MIT */
/* The pages of the administration: which there are, for whom, by which method; what they do to the server (U63). */
#include "app/site.h"

#include "app/metrics.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/memfail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "view_sample.h"

/* A server that writes down what it is asked. */
static struct {
    enum server_phase phase;
    unsigned n_views, n_done, n_reloads, n_drains, n_exchanges;
    bool asked;
    enum reload_result result;
} server;

static enum server_phase server_phase(void *owner)
{
    assert_ptr_equal(owner, &server);
    return server.phase;
}

static int server_view(void *owner, bool ask, unsigned n_exchanges, struct server_view *ret_view)
{
    void *p = mem_alloc(1);

    assert_ptr_equal(owner, &server);
    if (!p)
        return ERR_NOMEM;
    mem_free(p);
    server.n_views++;
    server.asked = ask;
    server.n_exchanges = n_exchanges;
    *ret_view = sample_view();
    if (!ask)
        ret_view->reports = NULL;
    return 0;
}

static void server_view_done(void *owner, struct server_view *v)
{
    assert_ptr_equal(owner, &server);
    assert_string_equal(v->version, "1.2.3");
    server.n_done++;
}

static int server_reload(void *owner, char **ret_text, enum reload_result *ret_result)
{
    char *p = mem_dup("what came of it\n", 16);

    assert_ptr_equal(owner, &server);
    if (!p)
        return ERR_NOMEM;
    server.n_reloads++;
    *ret_text = p;
    *ret_result = server.result;
    return 0;
}

static void server_drain(void *owner)
{
    assert_ptr_equal(owner, &server);
    server.n_drains++;
}

static char *server_config(void *owner)
{
    assert_ptr_equal(owner, &server);
    return mem_dup("workers: 2\n", 11);
}

static char *server_denied(void *owner, bool json, size_t *ret_n)
{
    assert_ptr_equal(owner, &server);
    *ret_n = 2;
    return mem_dup(json ? "{}" : "no", 2);
}

/* url=x is a question. */
static int server_why(void *owner, struct slice query, bool json, char **ret_text, size_t *ret_n, char why[SITE_WHY])
{
    char *p;

    assert_ptr_equal(owner, &server);
    if (!slice_eq(query, SLICE("url=x"))) {
        strcpy(why, "that is none");
        return ERR_SYNTAX;
    }
    p = mem_dup(json ? "{}" : "so", 2);
    if (!p)
        return ERR_NOMEM;
    *ret_text = p;
    *ret_n = 2;
    return 0;
}

static struct site_ops ops = {
    .owner = &server,
    .phase = server_phase,
    .view = server_view,
    .view_done = server_view_done,
    .reload = server_reload,
    .drain = server_drain,
    .config = server_config,
    .denied = server_denied,
    .why = server_why,
};

static struct site_reply reply;

static int setup(void **state)
{
    UNUSED(state);
    memset(&server, 0, sizeof(server));
    server.phase = SERVER_READY;
    reply = (struct site_reply){0};
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    mem_free(reply.body);
    assert_int_equal(server.n_views, server.n_done);
    return 0;
}

static int ask(enum listen_role role, enum method method, const char *path, const char *query)
{
    struct site_request q = {.role = role, .method = method, .path = slice_str(path), .query = slice_str(query)};

    mem_free(reply.body);
    site_answer(&ops, &q, &reply);
    assert_int_equal(reply.body ? strlen(reply.body) : 0, reply.n);
    return reply.status;
}

static int get(enum listen_role role, const char *path)
{
    return ask(role, METHOD_GET, path, "");
}

static void test_both_roles(void **state)
{
    UNUSED(state);
    for (enum listen_role role = LISTEN_ADMIN; role <= LISTEN_CONTROL; role++) {
        assert_int_equal(get(role, "/healthz"), 200);
        assert_string_equal(reply.body, "ok\n");
        assert_int_equal(get(role, "/readyz"), 200);
        assert_string_equal(reply.body, "ready\n");
        assert_int_equal(get(role, "/metrics"), 200);
        assert_string_equal(reply.type, METRICS_TYPE);
        assert_non_null(strstr(reply.body, "\nginnel_sessions 0\n"));
        assert_false(server.asked); /* a scrape waits for nobody */
        assert_int_equal(ask(role, METHOD_GET, "/metrics", "whatever=1"), 200);
        assert_int_equal(get(role, "/"), 200);
        assert_non_null(strstr(reply.body, "/metrics /healthz /readyz"));
        assert_int_equal(strstr(reply.body, "/reload") != NULL, role == LISTEN_CONTROL);
        assert_int_equal(ask(role, METHOD_HEAD, "/metrics", ""), 200);
    }
}

static void test_not_ready(void **state)
{
    UNUSED(state);
    server.phase = SERVER_STARTING;
    assert_int_equal(get(LISTEN_ADMIN, "/readyz"), 503);
    assert_string_equal(reply.body, "starting\n");
    server.phase = SERVER_DRAINING;
    assert_int_equal(get(LISTEN_ADMIN, "/readyz"), 503);
    assert_string_equal(reply.body, "draining\n");
    assert_int_equal(get(LISTEN_ADMIN, "/healthz"), 200);
}

static void test_no_such_page(void **state)
{
    static const char *const paths[] = {"", "/x", "/metrics/", "//metrics", "/Metrics", "/healthz%20", "*", "/../metrics"};

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(paths); i++)
        for (enum listen_role role = LISTEN_ADMIN; role <= LISTEN_CONTROL; role++)
            assert_int_equal(get(role, paths[i]), 404);
}

/* What changes or tells more than figures is for the operator alone, whatever the method. */
static void test_control_alone(void **state)
{
    static const char *const paths[] = {"/status", "/config", "/denied", "/why", "/reload", "/drain"};

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(paths); i++)
        for (enum method m = METHOD_OTHER; m <= METHOD_PRI; m++)
            assert_int_equal(ask(LISTEN_ADMIN, m, paths[i], ""), 404);
    assert_int_equal(server.n_reloads + server.n_drains + server.n_views, 0);
}

static void test_methods(void **state)
{
    static const char *const read[] = {"/", "/metrics", "/healthz", "/readyz", "/status", "/config", "/denied"};
    static const char *const done[] = {"/reload", "/drain"};

    UNUSED(state);
    for (enum method m = METHOD_OTHER; m <= METHOD_PRI; m++) {
        bool reads = m == METHOD_GET || m == METHOD_HEAD;

        for (unsigned i = 0; i < ARRAY_LEN(read); i++) {
            assert_int_equal(ask(LISTEN_CONTROL, m, read[i], ""), reads ? 200 : 405);
            if (!reads)
                assert_string_equal(reply.allow, "GET, HEAD");
        }
        for (unsigned i = 0; m != METHOD_POST && i < ARRAY_LEN(done); i++) {
            assert_int_equal(ask(LISTEN_CONTROL, m, done[i], ""), 405);
            assert_string_equal(reply.allow, "POST");
        }
    }
    assert_int_equal(server.n_reloads + server.n_drains, 0);
}

static void test_status(void **state)
{
    UNUSED(state);
    assert_int_equal(get(LISTEN_CONTROL, "/status"), 200);
    assert_non_null(strstr(reply.body, "ginnel 1.2.3, process 4711, ready\n"));
    assert_true(server.asked);
    assert_int_equal(server.n_exchanges, 20);
    assert_int_equal(ask(LISTEN_CONTROL, METHOD_GET, "/status", "exchanges=1"), 200);
    assert_int_equal(server.n_exchanges, 1);
    assert_non_null(strstr(reply.body, "\n1 of 4 exchanges"));
    assert_int_equal(ask(LISTEN_CONTROL, METHOD_GET, "/status", "json&exchanges=10000"), 200);
    assert_int_equal(server.n_exchanges, 10000);
    assert_string_equal(reply.type, "application/json");
    assert_int_equal(reply.body[0], '{');
    assert_int_equal(ask(LISTEN_CONTROL, METHOD_GET, "/status", "json="), 200);
    assert_int_equal(reply.body[0], '{');
    assert_int_equal(ask(LISTEN_CONTROL, METHOD_GET, "/status", "&&"), 200);
}

static void test_status_by_accept(void **state)
{
    struct site_request q = {.role = LISTEN_CONTROL, .method = METHOD_GET, .path = SLICE("/status"), .wants_json = true};

    UNUSED(state);
    site_answer(&ops, &q, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.type, "application/json");
}

static void test_status_refused(void **state)
{
    static const char *const queries[] = {"exchanges", "exchanges=", "exchanges=-1", "exchanges=+1", "exchanges=10001", "exchanges= 1",
                                          "exchanges=1x", "exchanges=4294967297", "exchange=1", "json=1", "x", "=", "exchanges=1&y=2"};

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(queries); i++)
        assert_int_equal(ask(LISTEN_CONTROL, METHOD_GET, "/status", queries[i]), 400);
    assert_int_equal(server.n_views, 0);
}

static void test_config(void **state)
{
    UNUSED(state);
    assert_int_equal(get(LISTEN_CONTROL, "/config"), 200);
    assert_string_equal(reply.body, "workers: 2\n");
}

/* U40, U42 */
static void test_denied_and_why(void **state)
{
    UNUSED(state);
    assert_int_equal(get(LISTEN_CONTROL, "/denied"), 200);
    assert_string_equal(reply.body, "no");
    assert_int_equal(ask(LISTEN_CONTROL, METHOD_GET, "/denied", "json"), 200);
    assert_string_equal(reply.type, "application/json");
    assert_string_equal(reply.body, "{}");
    assert_int_equal(ask(LISTEN_CONTROL, METHOD_GET, "/denied", "x"), 400);
    assert_int_equal(ask(LISTEN_CONTROL, METHOD_GET, "/why", "url=x"), 200);
    assert_string_equal(reply.body, "so");
    assert_int_equal(ask(LISTEN_CONTROL, METHOD_GET, "/why", ""), 400);
    assert_string_equal(reply.body, "400: that is none\n");
    assert_int_equal(ask(LISTEN_CONTROL, METHOD_POST, "/why", "url=x"), 405);
}

static void test_reload(void **state)
{
    static const int status[RELOAD_RESULTS] = {
        [RELOAD_NONE] = 503, [RELOAD_OK] = 200, [RELOAD_UNCHANGED] = 200, [RELOAD_FAILED] = 422};

    UNUSED(state);
    for (unsigned r = 0; r < RELOAD_RESULTS; r++) {
        server.result = (enum reload_result)r;
        assert_int_equal(ask(LISTEN_CONTROL, METHOD_POST, "/reload", ""), status[r]);
        assert_string_equal(reply.body, "what came of it\n");
        assert_int_equal(server.n_reloads, r + 1);
    }
}

static void test_drain(void **state)
{
    UNUSED(state);
    assert_int_equal(ask(LISTEN_CONTROL, METHOD_POST, "/drain", ""), 202);
    assert_string_equal(reply.body, "draining\n");
    assert_int_equal(server.n_drains, 1);
}

/* Without memory there is no answer, and nothing half done: a drain that nobody is told of does not begin. */
static void test_memory(void **state)
{
    static const struct {
        enum method method;
        const char *path, *query;
    } asked[] = {
        {METHOD_GET, "/metrics", ""}, {METHOD_GET, "/status", ""}, {METHOD_GET, "/status", "json"}, {METHOD_GET, "/config", ""},
        {METHOD_POST, "/reload", ""}, {METHOD_POST, "/drain", ""}, {METHOD_GET, "/nothing", ""},    {METHOD_PUT, "/", ""},
        {METHOD_GET, "/denied", ""},  {METHOD_GET, "/why", "url=x"}, {METHOD_GET, "/why", ""},
    };

    UNUSED(state);
    for (unsigned i = 0; i < ARRAY_LEN(asked); i++) {
        for (memfail_start(); memfail_next();) {
            unsigned drains = server.n_drains;
            int status;

            mem_free(reply.body);
            reply = (struct site_reply){0};
            status = ask(LISTEN_CONTROL, asked[i].method, asked[i].path, asked[i].query);
            assert_int_equal(status == 0, memfail_hit());
            assert_int_equal(reply.body == NULL, status == 0);
            if (status == 0)
                assert_int_equal(server.n_drains, drains);
        }
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_both_roles), TEST(test_not_ready), TEST(test_no_such_page), TEST(test_control_alone),    TEST(test_methods),
        TEST(test_status),     TEST(test_config),    TEST(test_reload),       TEST(test_status_by_accept), TEST(test_status_refused),
        TEST(test_drain),      TEST(test_memory),    TEST(test_denied_and_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
