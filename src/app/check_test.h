/* SPDX-License-Identifier: MIT */
/* check_test: `ginnel check --test FILE [CONF]`: expectations about a configuration, so that a policy is tested like code. FILE is a YAML list:
 *   - {url: "https://api.example/", user: ci, client: 10.1.2.3, addresses: [203.0.113.5], expect: allow, rule: ci-egress}
 * The other members are those of app/question.h. Nothing is resolved: without `addresses` nothing that is written about addresses is about the target.
 * Thread: main's. */
#ifndef APP_CHECK_TEST_H
#define APP_CHECK_TEST_H

#include "app/command.h"

enum { CHECK_TEST_FAILED = 1 };

int check_test(const struct command_call *call, const char *file) MUST_USE;

#endif
