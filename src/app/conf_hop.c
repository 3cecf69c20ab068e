/* SPDX-License-Identifier: MIT */
/* conf_hop: takes the URLs of parents apart, and reads their credentials. Called by the walker over entries for each URL, and by the maker of routes. Hosts are
 * normalised as those of requests are (proto/url.h). What is secret must never be in a message: not even where it is wrong.
 */
#include "app/conf_hop.h"

#include "app/conf_matcher.h"
#include "app/conf_tls.h"
#include "base/secret.h"
#include "proto/authn.h"
#include "proto/url.h"

#include <stdio.h>

enum { SCRATCH_MAX = 16 << 10 };

/* ---- the URL ---- */

static bool begins(struct slice s, const char *with)
{
    struct slice w = slice_str(with);

    return s.n >= w.n && slice_eq_nocase(slice_of(s.p, w.n), w);
}

/* Behind the scheme, without a slash at the end. */
static enum conf_hop_fault take_scheme(struct slice url, bool *ret_tls, struct slice *ret_rest)
{
    bool tls = begins(url, "https://");

    /* First of all: whatever else is wrong with it, it must not be shown. */
    if (slice_find(url, '@') < url.n)
        return CONF_HOP_USERINFO;
    if (begins(url, "socks"))
        return CONF_HOP_SOCKS;
    if (!tls && !begins(url, "http://"))
        return CONF_HOP_NO_SCHEME;
    *ret_tls = tls;
    *ret_rest = slice_skip(url, tls ? 8 : 7);
    if (ret_rest->n && ret_rest->p[ret_rest->n - 1] == '/')
        ret_rest->n--;
    return CONF_HOP_OK;
}

/* Whether what is wrong is the port, for the message. */
static bool has_good_host(struct arena *a, struct slice rest)
{
    bool bracket = rest.n && rest.p[0] == '[';
    size_t end = bracket ? slice_find(rest, ']') + 1 : slice_find(rest, ':');
    struct authority auth;

    return end < rest.n && rest.p[end] == ':' && slice_find(slice_skip(rest, end + 1), ':') == rest.n - end - 1 &&
           url_authority(a, slice_of(rest.p, end), false, &auth) == URL_OK;
}

static bool name_it(struct arena *a, struct hop *h)
{
    bool v6 = h->literal.sa.sa_family == AF_INET6;
    struct slice s = arena_printf(a, "http%s://%s" SLICE_FMT "%s:%u", h->tls ? "s" : "", v6 ? "[" : "", SLICE_ARG(h->host), v6 ? "]" : "", h->port);

    h->text = s.p;
    return s.p != NULL;
}

enum conf_hop_fault conf_hop_parse(struct arena *a, struct slice url, struct hop *ret_hop)
{
    struct hop h = {0};
    struct authority auth;
    struct slice rest;
    enum conf_hop_fault fault = take_scheme(url, &h.tls, &rest);
    enum url_fault r;

    if (fault != CONF_HOP_OK)
        return fault;
    for (size_t i = 0; i < rest.n; i++)
        if (rest.p[i] == '/' || rest.p[i] == '?' || rest.p[i] == '#')
            return i ? CONF_HOP_PATH : CONF_HOP_HOST;
    r = url_authority(a, rest, false, &auth);
    if (r == URL_NOMEM)
        return CONF_HOP_NOMEM;
    if (r != URL_OK)
        return has_good_host(a, rest) ? CONF_HOP_PORT : CONF_HOP_HOST;
    h.port = auth.port ? auth.port : url_default_port(h.tls ? SCHEME_HTTPS : SCHEME_HTTP);
    h.host = arena_dup(a, auth.host);
    if (auth.kind == HOST_IPV4)
        addr_v4(&h.literal, auth.addr, 0);
    else if (auth.kind == HOST_IPV6)
        addr_v6(&h.literal, auth.addr, 0);
    if (!h.host.p || !name_it(a, &h))
        return CONF_HOP_NOMEM;
    *ret_hop = h;
    return CONF_HOP_OK;
}

bool conf_hop_has_port(struct slice url)
{
    size_t bracket = slice_find(url, ']');
    struct slice rest = bracket < url.n ? slice_skip(url, bracket) : slice_skip(url, slice_find(url, '/'));

    return slice_find(rest, ':') < rest.n;
}

static const char *scheme_hint(struct conf_build *b, struct slice url)
{
    size_t colon = slice_find(url, ':');
    bool port = colon && colon + 1 < url.n && url.p[colon + 1] >= '0' && url.p[colon + 1] <= '9';

    if (port && slice_find(url, '/') == url.n)
        return conf_report_say(b->report, "write the scheme: http://" SLICE_FMT, SLICE_ARG(slice_of(url.p, min_size(url.n, 200))));
    return "like this: \"http://proxy.example.net:3128\"";
}

/* Several colons and no bracket. */
static const char *host_hint(struct slice url)
{
    struct slice rest = slice_skip(url, begins(url, "https://") ? 8 : 7);
    size_t colon = slice_find(rest, ':');

    if (colon < rest.n && rest.p[0] != '[' && slice_find(slice_skip(rest, colon + 1), ':') < rest.n - colon - 1)
        return "an IPv6 address stands in brackets: \"http://[2001:db8::1]:3128\"";
    return "like this: \"http://proxy.example.net:3128\"";
}

static void report_fault(struct conf_build *b, const struct conf_kind *k, enum conf_hop_fault fault, struct slice url, size_t at)
{
    switch (fault) {
    case CONF_HOP_OK:
        return;
    case CONF_HOP_NOMEM:
        conf_build_nomem(b);
        return;
    case CONF_HOP_NO_SCHEME:
        conf_build_wrong(b, k, at, conf_report_quote(b->report, url), scheme_hint(b, url));
        return;
    case CONF_HOP_SOCKS:
        conf_report_add(b->report, at, "http:// and https:// are", "parents that speak SOCKS are not in this build");
        return;
    case CONF_HOP_USERINFO:
        conf_report_add(b->report, at, "they stand beside it: {url: …, auth: {basic: {file: parent.password}}}",
                        "no credentials in the URL of a proxy");
        return;
    case CONF_HOP_PATH:
        conf_report_add(b->report, at, "it ends with its port", "%s has a path, which no proxy has", conf_report_quote(b->report, url));
        return;
    case CONF_HOP_HOST:
        conf_report_add(b->report, at, host_hint(url), "%s has no host that can be asked for", conf_report_quote(b->report, url));
        return;
    case CONF_HOP_PORT:
        conf_report_add(b->report, at, "ports go from 1 to 65535", "%s has no port that can be connected to", conf_report_quote(b->report, url));
        return;
    }
}

bool conf_hop_check(struct conf_build *b, const struct conf_kind *k, struct slice url, size_t at)
{
    enum conf_hop_fault fault;
    struct arena scratch;
    struct hop h;

    arena_init(&scratch, NULL, SCRATCH_MAX);
    fault = conf_hop_parse(&scratch, url, &h);
    arena_done(&scratch);
    report_fault(b, k, fault, url, at);
    return fault == CONF_HOP_OK;
}

/* ---- credentials ---- */

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

static void wipe(void *p)
{
    secret_wipe(*(struct slice *)p);
}

static void give(struct conf_build *b, struct slice s, struct hop *h)
{
    struct slice *kept = arena_alloc(b->arena, sizeof(*kept));

    if (kept)
        *kept = authn_basic_value(b->arena, s);
    if (!kept || !kept->p) {
        conf_build_nomem(b);
        return;
    }
    h->authorization = *kept;
    conf_build_finish(b, wipe, kept);
}

/* RFC 7617 2: the first colon ends the name; none of them has control characters. in: "", or which file's first line it is. */
static void take_credentials(struct conf_build *b, struct slice s, size_t at, const char *in, struct hop *h)
{
    size_t colon = slice_find(s, ':');

    if (colon == s.n)
        conf_report_add(b->report, at, "like this: user:password", "there is no colon between name and password%s", in);
    else if (colon == 0)
        conf_report_add(b->report, at, "like this: user:password", "there is no name before the colon%s", in);
    else if (has_control(s))
        conf_report_add(b->report, at, NULL, "a control character in name or password%s", in);
    else if (s.n > CONF_CREDENTIALS_MAX)
        conf_report_add(b->report, at, NULL, "name and password are longer than %d bytes%s", CONF_CREDENTIALS_MAX, in);
    else
        give(b, s, h);
}

static void warn_readable(struct conf_build *b, const struct conf_source *s, size_t at)
{
    if (s->mode & S_IROTH)
        conf_report_add(b->warnings, at, "chmod o-r takes that away", "everybody on this machine can read %s, which has a password",
                        conf_report_quote(b->warnings, slice_str(s->name)));
}

static struct slice first_line(struct slice text)
{
    if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
        text = slice_skip(text, 3);
    text.n = slice_find(text, '\n');
    if (text.n && text.p[text.n - 1] == '\r')
        text.n--;
    return text;
}

static void read_file(struct conf_build *b, const struct conf_node *node, struct hop *h)
{
    struct slice text;

    if (!conf_tls_file(b, node, "credentials", true, &text, &h->credentials))
        return;
    warn_readable(b, &b->sources->v[b->sources->n - 1], node->at);
    take_credentials(b, first_line(text), node->at, conf_report_say(b->report, " in the first line of %s", conf_report_quote(b->report, slice_str(h->credentials))), h);
}

void conf_hop_auth(struct conf_build *b, const struct conf_node *auth, struct hop *h)
{
    const struct conf_node *basic = conf_node_member(auth, "basic");
    const struct conf_node *file = conf_node_member(basic, "file");

    if (file) {
        read_file(b, file, h);
    } else if (basic && basic->kind == CONF_NODE_TEXT) {
        take_credentials(b, basic->text, basic->at, "", h);
        warn_readable(b, conf_sources_find(b->sources, basic->at), basic->at);
    }
}
