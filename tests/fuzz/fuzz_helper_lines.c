/* SPDX-License-Identifier: MIT */
/* fuzz_helper_lines: lines of a program that verifies users. What is taken from one is a name, and lists of names and labels; what is
 * asked comes back when it is unescaped. */
#include "fuzz/fuzz.h"
#include "io/program.h"
#include "proto/authn.h"
#include "proxy/users_answer.h"

static void check_list(const char *p, unsigned n, bool (*is_right)(struct slice))
{
    struct slice list = slice_of(p, n);

    CHECK(n <= USERS_ANSWER_TEXT);
    while (list.n) {
        size_t end = slice_find(list, ',');

        CHECK(is_right(slice_of(list.p, end)));
        CHECK(end + 1 != list.n);
        list = end < list.n ? slice_skip(list, end + 1) : SLICE_NONE;
    }
}

static void check_answer(struct slice line)
{
    struct users_answer a;

    users_answer_parse(line, &a);
    CHECK(a.kind == users_answer_kind(line));
    CHECK(a.user_n == 0 || authn_is_name(slice_of(a.user, a.user_n)));
    check_list(a.groups, a.groups_n, authn_is_name);
    check_list(a.tags, a.tags_n, authn_is_label);
    CHECK(a.kind == USERS_ANSWER_OK || (a.user_n == 0 && a.groups_n == 0 && a.tags_n == 0));
}

static void check_question(struct slice in)
{
    size_t half = in.n / 2, n;
    char out[3 * FUZZ_INPUT_MAX + 8];

    n = users_answer_ask(slice_of(in.p, half), slice_skip(in, half), out, sizeof(out));
    CHECK(n > 0 && n <= 3 * in.n + 1);
    CHECK(!memchr(out, '\n', n) && slice_find(slice_of(out, n), ' ') < n);
    CHECK(slice_find(slice_skip(slice_of(out, n), slice_find(slice_of(out, n), ' ') + 1), ' ') == n - slice_find(slice_of(out, n), ' ') - 1);
    for (size_t cap = 0; cap < min_size(n, 8); cap++)
        CHECK(users_answer_ask(slice_of(in.p, half), slice_skip(in, half), out, cap) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, min_size(size, FUZZ_INPUT_MAX)), rest;
    unsigned channel;

    check_answer(in);
    if (program_channel(in, PROGRAM_CHANNELS_MAX, &channel, &rest)) {
        CHECK(channel < PROGRAM_CHANNELS_MAX && rest.n < in.n);
        check_answer(rest);
    }
    if (in.n)
        check_question(in);
    return 0;
}
