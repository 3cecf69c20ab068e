/* SPDX-License-Identifier: MIT */
/* fuzz_credentials: values of Proxy-Authorization. What is taken has only names, labels and bytes that may be there, and lies in the
 * buffer that was given. */
#include "proto/authn.h"

#include "fuzz/fuzz.h"

static bool is_inside(struct slice s, const char *buf)
{
    return s.n == 0 || (s.p >= buf && s.p + s.n <= buf + AUTHN_PLAIN_MAX);
}

static void check(struct slice in, const struct authn *a, const char *buf)
{
    struct slice labels = a->labels, label;
    unsigned n = 0;

    CHECK(authn_is_name(a->name) && is_inside(a->name, buf));
    CHECK(a->password.n <= AUTHN_PASSWORD_MAX && is_inside(a->password, buf));
    CHECK(a->name.n + a->labels.n <= AUTHN_ID_MAX);
    for (size_t i = 0; i < a->password.n; i++)
        if ((unsigned char)a->password.p[i] < 0x20 || a->password.p[i] == 0x7f)
            fuzz_fail("a control character passes", in, "", "");
    while (authn_next_label(&labels, &label)) {
        CHECK(authn_is_label(label) && is_inside(label, buf));
        CHECK(++n <= AUTHN_LABELS_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, min_size(size, FUZZ_INPUT_MAX));
    char *buf = malloc(AUTHN_PLAIN_MAX);
    struct authn a;

    CHECK(buf);
    if (authn_basic(in, buf, &a) == AUTHN_OK)
        check(in, &a, buf);
    authn_is_label(in);
    authn_is_name(in);
    free(buf);
    return 0;
}
