/* SPDX-License-Identifier: MIT */
/* fuzz_url: authorities and targets. A host that comes out is plain, stays what it is when it is
 * read again, and is an address whenever the C library would take it for one. */
#include "proto/url.h"

#include "fuzz/fuzz.h"
#include "proto/chars.h"
#include "unit/proto/h1_text.h"

#include <arpa/inet.h>

static void authority_text(struct text *t, const struct authority *auth)
{
    t->n = 0;
    text_authority(t, auth);
}

/* What inet_aton takes (up to a blank) must have come out as that address: no name may be one. */
static void check_address(struct slice in, const struct authority *auth)
{
    char z[256], text[INET6_ADDRSTRLEN];
    struct in_addr addr;

    CHECK(auth->host.n < sizeof(z));
    memcpy(z, auth->host.p, auth->host.n);
    z[auth->host.n] = '\0';
    if (auth->kind == HOST_NAME && inet_aton(z, &addr))
        fuzz_fail("an address passes as a name", in, z, "");
    if (auth->kind == HOST_NAME)
        return;
    CHECK(inet_ntop(auth->kind == HOST_IPV4 ? AF_INET : AF_INET6, auth->addr, text, sizeof(text)));
    fuzz_same("text and bytes of an address", in, z, text);
}

static void check_raw_address(struct slice in, struct slice raw_host, const struct authority *auth)
{
    char z[256];
    struct in_addr addr;

    if (raw_host.n >= sizeof(z) || auth->kind == HOST_IPV6)
        return;
    memcpy(z, raw_host.p, raw_host.n);
    z[raw_host.n] = '\0';
    if (!inet_aton(z, &addr))
        return;
    if (auth->kind != HOST_IPV4 || memcmp(&addr, auth->addr, 4) != 0)
        fuzz_fail("the C library reads another address", in, z, auth->host.p);
}

static void check_host(struct slice in, const struct authority *auth)
{
    const char *p = auth->host.p, *end = p + auth->host.n;

    CHECK(auth->host.n > 0 && auth->host.n <= 253);
    CHECK(auth->kind != HOST_NONE);
    if (auth->kind != HOST_IPV6)
        CHECK(chars_skip(p, end, CHARS_NAME) == end && p[0] != '.' && end[-1] != '.');
    check_address(in, auth);
}

static void check_authority(struct slice in, bool need_port)
{
    static struct text once, twice;
    struct authority auth, again;
    struct slice field;
    struct arena a;

    arena_init(&a, NULL, 1 << 20);
    if (url_authority(&a, in, need_port, &auth) == URL_OK) {
        CHECK(!need_port || auth.port);
        check_host(in, &auth);
        check_raw_address(in, slice_of(in.p, slice_find(in, ':')), &auth);
        field = url_host_field(&a, &auth, SCHEME_NONE);
        CHECK(field.p);
        CHECK(url_authority(&a, field, need_port, &again) == URL_OK);
        authority_text(&once, &auth);
        authority_text(&twice, &again);
        fuzz_same("read again", in, once.p, twice.p);
        CHECK(auth.kind == HOST_NAME || memcmp(auth.addr, again.addr, 16) == 0 ||
              (auth.kind == HOST_IPV4 && memcmp(auth.addr, again.addr, 4) == 0));
    }
    arena_done(&a);
}

static void check_path(struct slice in, const struct head *h)
{
    CHECK(h->path.n > 0 && (h->path.p[0] == '/' || slice_eq(h->path, SLICE("*"))));
    CHECK(chars_skip(h->path.p, h->path.p + h->path.n, CHARS_TARGET) == h->path.p + h->path.n);
    CHECK(slice_find(h->path, '#') == h->path.n);
    /* byte for byte what was received */
    CHECK(h->form == FORM_ASTERISK || h->path.n == 1 ||
          memmem(in.p, in.n, h->path.p + 1, h->path.n - 1));
}

static void check_target(struct slice in, enum method m)
{
    struct head h = {.method = m};
    struct arena a;

    arena_init(&a, NULL, 1 << 20);
    if (url_target(&a, in, &h) == URL_OK) {
        CHECK((m == METHOD_CONNECT) == (h.form == FORM_AUTHORITY));
        CHECK((h.form == FORM_ABSOLUTE) == (h.scheme != SCHEME_NONE));
        if (h.form != FORM_AUTHORITY)
            check_path(in, &h);
        if (h.form == FORM_AUTHORITY || h.form == FORM_ABSOLUTE)
            check_host(in, &h.auth);
    }
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, min_size(size, FUZZ_INPUT_MAX));

    check_authority(in, false);
    check_authority(in, true);
    check_target(in, METHOD_GET);
    check_target(in, METHOD_OPTIONS);
    check_target(in, METHOD_CONNECT);
    return 0;
}
