/* SPDX-License-Identifier: MIT */
/* The table of end reasons: what the client, the log and Proxy-Status are told (DESIGN 2, C37, C72,
 * U61).
 */
#include "base/end.h"

#include "base/slice.h"

#include <ctype.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const proxy_errors[] = {
    /* RFC 9209 2.3 */
    "dns_timeout", "dns_error", "destination_not_found", "destination_unavailable",
    "destination_ip_prohibited", "destination_ip_unroutable", "connection_refused",
    "connection_terminated", "connection_timeout", "connection_read_timeout",
    "connection_write_timeout", "connection_limit_reached", "tls_protocol_error",
    "tls_certificate_error", "tls_alert_received", "http_request_error", "http_request_denied",
    "http_response_incomplete", "http_response_header_section_size",
    "http_response_header_size", "http_response_body_size", "http_response_trailer_section_size",
    "http_response_trailer_size", "http_response_transfer_coding", "http_response_content_coding",
    "http_response_timeout", "http_upgrade_failed", "http_protocol_error",
    "proxy_internal_response", "proxy_internal_error", "proxy_configuration_error",
    "proxy_loop_detected"};

static void test_tokens(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < END_COUNT; i++) {
        const struct end_info *e = end_info(i);

        assert_true(e->token && e->token[0]);
        for (const char *p = e->token; *p; p++)
            assert_true(islower(*p) || *p == '-');
        assert_true(e->text && e->text[0]);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(e->token, end_info(j)->token);
    }
}

static void test_statuses_and_errors(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < END_COUNT; i++) {
        const struct end_info *e = end_info(i);
        bool known = false;

        assert_true(e->status == 0 || (e->status >= 400 && e->status < 600));
        /* Every answer made here says why. */
        assert_true(!e->status || e->proxy_status[0]);
        for (size_t k = 0; k < ARRAY_LEN(proxy_errors); k++)
            known |= !strcmp(e->proxy_status, proxy_errors[k]);
        if (e->proxy_status[0] && !known)
            fail_msg("%s: no error type of RFC 9209: %s", e->token, e->proxy_status);
        assert_true(e->kind != END_KIND_OK || !e->status);
        assert_true(e->kind != END_KIND_CLIENT || e->status < 500 || e->status == 501 ||
                    e->status == 505);
    }
}

/* DESIGN 2: what happened, and what the client is told. */
static void test_causes(void **state)
{
    static const struct {
        enum end_reason reason;
        int status;
        const char *error;
    } rows[] = {
        {END_BAD_REQUEST, 400, "http_request_error"},
        {END_URI_TOO_LONG, 414, "http_request_error"},
        {END_HEAD_TOO_LARGE, 431, "http_request_error"},
        {END_REQUEST_TIMEOUT, 408, "http_request_error"},
        {END_BAD_VERSION, 505, "http_request_error"},
        {END_NOT_IMPLEMENTED, 501, "http_request_error"},
        {END_NOT_BUILT, 501, "proxy_configuration_error"},
        {END_LOOP, 502, "proxy_loop_detected"},
        {END_DNS_ERROR, 502, "dns_error"},
        {END_DNS_TIMEOUT, 504, "dns_timeout"},
        {END_CONNECT_REFUSED, 502, "connection_refused"},
        {END_CONNECT_UNREACHABLE, 502, "destination_ip_unroutable"},
        {END_CONNECT_TIMEOUT, 504, "connection_timeout"},
        {END_UPSTREAM_CLOSED, 502, "http_response_incomplete"},
        {END_UPSTREAM_NONSENSE, 502, "http_protocol_error"},
        {END_UPSTREAM_TIMEOUT, 504, "http_response_timeout"},
        {END_NOT_ADMITTED, 403, "http_request_denied"},
        {END_DENIED, 403, "http_request_denied"},
        {END_ADDRESS_DENIED, 403, "destination_ip_prohibited"},
        {END_NO_DESCRIPTORS, 503, "connection_limit_reached"},
        {END_NO_PORTS, 503, "connection_limit_reached"},
        {END_DRAINED, 503, "destination_unavailable"},
        {END_INTERNAL, 500, "proxy_internal_error"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(end_info(rows[i].reason)->status, rows[i].status);
        assert_string_equal(end_info(rows[i].reason)->proxy_status, rows[i].error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_statuses_and_errors),
        cmocka_unit_test(test_causes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
