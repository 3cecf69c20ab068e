/* SPDX-License-Identifier: MIT */
/* conf_shapes: the grammars of entries as data. One shape is one kind of value; a map's members
 * name the shapes of theirs. Who adds a word to a rule adds a line here, and the checker, the
 * hints, the schema and the count of the tests know it.
 */
#include "app/conf_shapes.h"

#include "io/tls.h"
#include "policy/limit.h"
#include "io/tls.h"
#include "policy/rules.h"
#include "proxy/snapshot.h"

enum { TEXT_MAX = 4096, NAME_BYTES_MAX = 255, STATUS_MIN = 200, STATUS_MAX = 599 };

/* ---- values that many entries share ---- */

static const struct conf_shape text = {.type = OPTION_TEXT, .min = 1, .max = TEXT_MAX};
static const struct conf_shape texts = {
    .type = OPTION_TEXT, .list = true, .min = 1, .max = TEXT_MAX};
/* What may be empty: a body, a field's value. */
static const struct conf_shape content = {.type = OPTION_TEXT, .max = 1 << 20};
static const struct conf_shape token = {.type = OPTION_TOKEN, .min = 1, .max = 63};
static const struct conf_shape tokens = {.type = OPTION_TOKEN, .list = true, .min = 1, .max = 63};
static const struct conf_shape on_off = {.type = OPTION_SWITCH};
static const struct conf_shape count = {.type = OPTION_COUNT, .min = 1, .max = 1000000000};
static const struct conf_shape size = {.type = OPTION_SIZE, .min = 1, .max = UINT64_MAX};
static const struct conf_shape file = {.type = OPTION_FILE};
static const struct conf_shape ranges = {.type = OPTION_RANGE, .list = true};

/* ---- matchers ---- */

static const struct option_word scheme_words[] = {
    {"http", MATCH_HTTP}, {"https", MATCH_HTTPS}, {"connect", MATCH_CONNECT}, {NULL}};
static const struct option_word any_words[] = {{"any", 0}, {NULL}};

static const struct conf_shape host = {.type = OPTION_HOST, .list = true};
static const struct conf_shape one_host = {.type = OPTION_HOST};
static const struct conf_shape path = {.type = OPTION_PATH, .list = true};
static const struct conf_shape method = {.type = OPTION_METHOD, .list = true};
static const struct conf_shape scheme = {.type = OPTION_WORD, .list = true, .words = scheme_words};
static const struct conf_shape listener = {.type = OPTION_LISTENER, .list = true};
static const struct conf_shape field_values = {
    .type = OPTION_EXPR, .list = true, .words = any_words, .min = 1, .max = TEXT_MAX};
static const struct conf_shape header = {.type = OPTION_DICT,
                                         .of = &field_values,
                                         .what = "a map of fields",
                                         .like = "{user-agent: /curl/}"};
static const struct conf_shape user = {
    .type = OPTION_TEXT, .list = true, .words = any_words, .min = 1, .max = NAME_BYTES_MAX};
static const struct conf_shape group = {
    .type = OPTION_GROUP, .list = true, .min = 1, .max = NAME_BYTES_MAX};
static const struct conf_shape time_of_week = {.type = OPTION_TIME, .list = true};
static const struct conf_shape sni = {.type = OPTION_SNI, .list = true};
static const struct conf_shape to = {.type = OPTION_RANGE, .list = true};

const struct conf_shape conf_shape_port = {.type = OPTION_PORT, .list = true, .words = any_words};

/* The words that a matcher and a rule have in common. */
#define MATCH_WORDS                                                                                \
    {"port", &conf_shape_port, .sentence = "Ports and ranges of them: 443, 8000-8099."},           \
        {"path", &path,                                                                            \
         .sentence = "What the path begins with, or an expression between slashes."},              \
        {"method", &method, .sentence = "Methods, in upper case."},                                \
        {"scheme", &scheme, .sentence = "*http*, *https* or *connect*."},                          \
        {"header", &header,                                                                        \
         .sentence = "Fields of the request: a value, an expression between slashes, or *any*."},  \
        {"user", &user, .sentence = "Names of users; *any* is whoever is known."},                 \
        {"group", &group, .sentence = "Groups of users."},                                         \
        {"label", &group, .sentence = "Labels that came with the user's name."},                   \
        {"from", &ranges, .sentence = "The client's address."},                                    \
        {"to", &to, .sentence = "The address that is dialled."},                                   \
        {"listener", &listener, .sentence = "Names of items of *listen*."},                        \
    {                                                                                              \
        "time", &time_of_week, .sentence = "Days and hours: mon-fri 08:00-18:00."                  \
    }

/* `except` takes a matcher without one: a grammar that goes round would have no end. */
static const struct conf_member exception_members[] = {
    {"host", &host, .sentence = "A name, a .name, an address or range, *any*, or a list file."},
    MATCH_WORDS,
    {"sni", &sni, .sentence = "The name in the ClientHello."},
    {NULL},
};
static const struct conf_shape exception = {.type = OPTION_MAP,
                                            .list = true,
                                            .members = exception_members,
                                            .bare = &one_host,
                                            .what = "a host or a map of conditions",
                                            .like = "{host: .example.net, port: 443}"};

static const struct conf_member matcher_members[] = {
    {"host", &host, .sentence = "A name, a .name, an address or range, *any*, or a list file."},
    MATCH_WORDS,
    {"sni", &sni, .sentence = "The name in the ClientHello."},
    {"except", &exception, .sentence = "What is left out."},
    {NULL},
};
const struct conf_shape conf_shape_matcher = {.type = OPTION_MAP,
                                              .list = true,
                                              .members = matcher_members,
                                              .bare = &one_host,
                                              .what = "a host or a map of conditions",
                                              .like = "{host: .example.net, port: 443}"};

/* ---- users, rules, limits ---- */

static const struct option_word ask_words[] = {{"always", 0}, {"when-needed", 1}, {NULL}};
static const struct conf_shape ask = {.type = OPTION_WORD, .words = ask_words};
static const struct conf_shape children = {.type = OPTION_COUNT, .min = 1, .max = 64};
static const struct conf_shape concurrency = {.type = OPTION_COUNT, .min = 0, .max = 1000};
static const struct conf_shape timeout = {.type = OPTION_DURATION, .min = 1, .max = 3600 * 1000};
static const struct conf_shape cache = {
    .type = OPTION_DURATION, .min = 0, .max = (uint64_t)7 * 24 * 3600 * 1000};
static const struct conf_member users_members[] = {
    {"file", &file, .sentence = "Names and passwords, as htpasswd writes them."},
    {"groups", &file, .sentence = "Groups and who is in them."},
    {"ask", &ask, .sentence = "Whether every request is asked, or those that a rule needs it for."},
    {"command", &texts, .sentence = "A helper that speaks lines, and its arguments."},
    {"children", &children, .sentence = "How many of it run at most."},
    {"concurrency", &concurrency, .sentence = "Lines that one of them has at a time."},
    {"timeout", &timeout, .sentence = "How long it may take to answer."},
    {"cache", &cache, .sentence = "How long a right password is remembered."},
    {NULL},
};
static const char *const users_needs[] = {"file", "command", NULL};
const struct conf_shape conf_shape_users = {.type = OPTION_MAP,
                                            .members = users_members,
                                            .bare = &file,
                                            .needs = users_needs,
                                            .needs_one = true,
                                            .what = "a file or a map",
                                            .like = "{file: users.htpasswd}"};

static const struct option_word mode_words[] = {{"enforce", 0}, {"report", 1}, {NULL}};
static const struct option_word sni_words[] = {
    {"strict", SNI_STRICT}, {"log", SNI_LOG}, {"off", SNI_OFF}, {NULL}};
static const struct option_word expect_words[] = {
    {"tls", EXPECT_TLS}, {"http", EXPECT_HTTP}, {"ssh", EXPECT_SSH}, {"any", EXPECT_ANY}, {NULL}};
static const struct conf_shape mode = {.type = OPTION_WORD, .words = mode_words};
static const struct conf_shape rule_sni = {.type = OPTION_SNI, .list = true, .words = sni_words};
static const struct conf_shape expect = {.type = OPTION_WORD, .words = expect_words};

static const struct conf_member rule_members[] = {
    {"allow", &conf_shape_matcher, .sentence = "Destinations that may be reached."},
    {"deny", &conf_shape_matcher, .sentence = "Destinations that may not."},
    MATCH_WORDS,
    {"except", &exception, .sentence = "What the rule is not about."},
    {"name", &token, .sentence = "What logs and refusals call the rule."},
    {"sni", &rule_sni, .sentence = "*strict*, *log*, *off*, or names."},
    {"expect", &expect, .sentence = "What must be spoken in a tunnel."},
    {"mode", &mode, .sentence = "*report*: say what would have been, and walk on."},
    {"say", &text, .sentence = "The text of a refusal."},
    {NULL},
};
static const char *const rule_needs[] = {"allow", "deny", NULL};
const struct conf_shape conf_shape_rule = {.type = OPTION_MAP,
                                           .list = true,
                                           .members = rule_members,
                                           .needs = rule_needs,
                                           .needs_one = true,
                                           .what = "a rule",
                                           .like = "{allow: .example.net}"};

static const struct option_word per_words[] = {{"client", PER_CLIENT}, {"user", PER_USER}, {"group", PER_GROUP},
                                               {"rule", PER_RULE}, {"host", PER_HOST}, {"label", PER_LABEL},
                                               {"connection", PER_CONNECTION}, {NULL}};
static const struct conf_shape per = {.type = OPTION_WORD, .words = per_words};
/* Of RATE, min is 1 where sizes are meant. */
static const struct conf_shape requests = {
    .type = OPTION_RATE, .what = "a number a second", .like = "50/s"};
static const struct conf_shape bandwidth = {
    .type = OPTION_RATE, .min = 1, .what = "a size a second", .like = "20MB/s"};
static const struct conf_shape quota = {.type = OPTION_QUOTA};
static const struct option_word at_limit_words[] = {{"refuse", 0}, {"slow", 1}, {NULL}};
static const struct conf_shape at_limit = {.type = OPTION_WORD, .words = at_limit_words};
static const struct conf_member limit_members[] = {
    {"for", &conf_shape_matcher, .sentence = "What the limit is about."},
    {"per", &per, .sentence = "Whose bucket it is; without it all share one."},
    {"requests", &requests, .sentence = "Requests a second."},
    {"burst", &count, .sentence = "How many may come at once; a second's worth where nothing is said."},
    {"pace", &on_off, .sentence = "Wait instead of refusing."},
    {"bandwidth", &bandwidth, .sentence = "Bytes a second, both directions together."},
    {"bandwidth-up", &bandwidth, .sentence = "Bytes a second towards origins."},
    {"bandwidth-down", &bandwidth, .sentence = "Bytes a second towards clients."},
    {"tunnels", &count, .sentence = "Tunnels at the same time."},
    {"quota", &quota, .sentence = "Bytes in an hour, day, week or month."},
    {"at-limit", &at_limit, .sentence = "What a used-up quota does: *refuse* or *slow*."},
    {"upload", &size, .sentence = "The most bytes that one message or tunnel may send."},
    {"download", &size, .sentence = "The most bytes that one message or tunnel may fetch."},
    {"name", &token, .sentence = "What logs and refusals call the limit."},
    {NULL},
};
static const char *const limit_needs[] = {"requests", "bandwidth", "bandwidth-up", "bandwidth-down", "tunnels",
                                          "quota",    "upload",    "download",     NULL};
const struct conf_shape conf_shape_limit = {.type = OPTION_MAP,
                                            .list = true,
                                            .members = limit_members,
                                            .needs = limit_needs,
                                            .what = "a limit",
                                            .like = "{per: client, requests: 50/s}"};

/* ---- upstream ---- */

static const struct option_word route_words[] = {{"direct", 0}, {"deny", 1}, {NULL}};
static const struct option_word else_words[] = {{"deny", 0}, {"direct", 1}, {"last", 2}, {NULL}};
static const struct option_word direct_words[] = {{"direct", 0}, {NULL}};
static const struct option_word resolve_words[] = {{"parent", 0}, {"local", 1}, {NULL}};
static const struct conf_shape route = {.type = OPTION_WORD, .words = route_words};
static const struct conf_shape otherwise = {.type = OPTION_WORD, .words = else_words};
static const struct conf_shape resolve = {.type = OPTION_WORD, .words = resolve_words};
static const struct conf_shape prefixes = {.type = OPTION_PREFIX, .list = true};
static const struct conf_shape mark = {.type = OPTION_COUNT, .min = 1, .max = UINT32_MAX};
static const struct conf_shape interface = {.type = OPTION_TOKEN, .min = 1, .max = 15};
static const struct conf_shape url = {.type = OPTION_URL};

static const struct conf_shape credentials = {
    .type = OPTION_TEXT, .min = 1, .max = CONF_CREDENTIALS_MAX, .secret = true};
static const struct conf_member basic_members[] = {
    {"file", &file, .sentence = "The file whose first line is the user's name, a colon and the password."},
    {NULL},
};
static const char *const basic_needs[] = {"file", NULL};
static const struct conf_shape basic = {.type = OPTION_MAP,
                                        .members = basic_members,
                                        .bare = &credentials,
                                        .needs = basic_needs,
                                        .secret = true,
                                        .what = "user:password or a file that has it",
                                        .like = "{basic: {file: parent.password}}"};
static const struct conf_member auth_members[] = {
    {"basic", &basic, .sentence = "Name and password, with a colon between, or *file*: the file whose first line has them."},
    {"negotiate", &on_off, .unbuilt = true, .sentence = "Kerberos, as the ticket cache has it."},
    {"ntlm", &on_off, .unbuilt = true, .sentence = "NTLM."},
    {NULL},
};
static const char *const auth_needs[] = {"basic", "negotiate", "ntlm", NULL};
static const struct conf_shape auth = {.type = OPTION_MAP,
                                       .members = auth_members,
                                       .needs = auth_needs,
                                       .needs_one = true,
                                       .secret = true,
                                       .what = "a map of one method",
                                       .like = "{basic: {file: parent.password}}"};

/* A parent, alone or with what it has of its own. */
static const struct conf_shape hop_url = {.type = OPTION_HOP};
static const struct conf_shape hop_or_direct = {.type = OPTION_HOP, .words = direct_words};
static const struct conf_member hop_members[] = {
    {"url", &hop_url, .sentence = "Where it is: http:// or https://, a host, and a port."},
    {"auth", &auth, .sentence = "How ginnel proves to this one who it is."},
    {NULL},
};
static const char *const hop_needs[] = {"url", NULL};
static const struct conf_shape via = {.type = OPTION_MAP,
                                      .list = true,
                                      .members = hop_members,
                                      .bare = &hop_or_direct,
                                      .needs = hop_needs,
                                      .what = "the URL of a proxy, direct or a map",
                                      .like = "{url: \"http://proxy.example.net:3128\"}"};
static const struct conf_shape chain = {.type = OPTION_MAP,
                                        .list = true,
                                        .members = hop_members,
                                        .bare = &hop_url,
                                        .needs = hop_needs,
                                        .what = "the URL of a proxy or a map",
                                        .like = "{url: \"http://proxy.example.net:3128\"}"};

static const struct conf_member pac_members[] = {
    {"url", &url, .sentence = "Where the script is."},
    {"else", &otherwise, .sentence = "What holds while there is no script."},
    {NULL},
};
static const char *const pac_needs[] = {"url", NULL};
static const struct conf_shape pac = {.type = OPTION_MAP,
                                      .members = pac_members,
                                      .needs = pac_needs,
                                      .what = "a map",
                                      .like = "{url: \"http://wpad.example.net/proxy.pac\"}"};

static const struct conf_member upstream_members[] = {
    {"for", &conf_shape_matcher, .sentence = "What goes this way."},
    {"bind", &prefixes, .sentence = "Source addresses."},
    {"mark", &mark, .sentence = "The mark of the sockets (SO_MARK)."},
    {"interface", &interface, .sentence = "The interface that is used (SO_BINDTODEVICE)."},
    {"via", &via, .sentence = "Proxies, one after the other until one works; *direct* may be one."},
    {"chain", &chain, .sentence = "Proxies, one behind the other."},
    {"auth", &auth, .sentence = "How ginnel proves to those of *via* who it is."},
    {"pac", &pac, .unbuilt = true, .sentence = "A script that decides."},
    {"resolve", &resolve, .sentence = "*local*: the name is looked up and judged here; *parent*: it is not."},
    {"deny", &on_off, .sentence = "*yes*: it goes nowhere."},
    {NULL},
};
static const char *const upstream_needs[] = {"bind",  "mark", "interface", "via",
                                             "chain", "pac",  "deny",      NULL};
const struct conf_shape conf_shape_upstream = {.type = OPTION_MAP,
                                               .list = true,
                                               .members = upstream_members,
                                               .bare = &route,
                                               .needs = upstream_needs,
                                               .what = "direct, deny or a map",
                                               .like = "{for: .example.net, via: direct}"};

/* ---- TLS ---- */

static const struct conf_member cert_members[] = {
    {"cert", &file, .sentence = "The certificate, PEM."},
    {"key", &file, .sentence = "Its key, PEM."},
    {NULL},
};
static const char *const cert_needs[] = {"cert", NULL};
const struct conf_shape conf_shape_cert = {.type = OPTION_MAP,
                                           .members = cert_members,
                                           .needs = cert_needs,
                                           .what = "a map of files",
                                           .like = "{cert: ca.pem, key: ca.key}"};

static const struct option_word self_words[] = {{"auto", 0}, {NULL}};
static const struct option_word client_words[] = {
    {"required", TLS_CLIENT_REQUIRED}, {"optional", TLS_CLIENT_OPTIONAL}, {NULL}};
static const struct option_word part_words[] = {{"common-name", CERT_COMMON_NAME}, {"subject", CERT_SUBJECT}, {"email", CERT_EMAIL},
                                                {"dns", CERT_DNS}, {"uri", CERT_URI}, {NULL}};
static const struct option_word server_min_words[] = {{"1.2", TLS_1_2}, {"1.3", TLS_1_3}, {NULL}};
static const struct option_word ticket_words[] = {{"auto", 0}, {"off", 1}, {NULL}};
static const struct conf_shape self = {.type = OPTION_WORD, .words = self_words};
static const struct conf_shape client = {.type = OPTION_WORD, .words = client_words};
static const struct conf_shape part = {.type = OPTION_WORD, .words = part_words};
static const struct conf_shape server_min = {.type = OPTION_WORD, .words = server_min_words};
static const struct option_word alpn_words[] = {{"h2", TLS_ALPN_H2}, {"http/1.1", TLS_ALPN_H1}, {NULL}};
static const struct conf_shape alpn = {.type = OPTION_WORD, .list = true, .words = alpn_words};
static const struct conf_shape tickets = {.type = OPTION_FILE, .words = ticket_words};
static const struct conf_member more_members[] = {
    {"cert", &file, .sentence = "The certificate and what it was signed with, PEM."},
    {"key", &file, .sentence = "Its key, PEM; where it is not written, it is in the file of *cert*."},
    {"ocsp", &file, .sentence = "A response of its OCSP responder, DER."},
    {NULL},
};
static const struct conf_shape more = {.type = OPTION_MAP,
                                       .list = true,
                                       .members = more_members,
                                       .needs = cert_needs,
                                       .what = "a map of files",
                                       .like = "{cert: two.pem, key: two.key}"};
static const struct conf_member listen_tls_members[] = {
    {"cert", &file, .sentence = "The certificate and what it was signed with, PEM."},
    {"key", &file, .sentence = "Its key, PEM; where it is not written, it is in the file of *cert*."},
    {"ocsp", &file, .sentence = "A response of its OCSP responder, DER."},
    {"auto", &on_off, .sentence = "Instead of *cert*: a certificate that ginnel makes itself."},
    {"more", &more, .sentence = "Other certificates, for clients that ask for their names."},
    {"client-ca", &file, .sentence = "Who signs the certificates of clients, PEM."},
    {"client", &client, .sentence = "Whether clients must have a certificate: *required* or *optional*."},
    {"client-name", &part, .sentence = "Which part of it names the user."},
    {"client-map", &file, .sentence = "What that part is put through: lines of the part and the user."},
    {"min", &server_min, .sentence = "The lowest version, 1.2 or 1.3."},
    {"alpn", &alpn, .sentence = "What is spoken inside: *h2*, *http/1.1*, or both, which holds where nothing is said."},
    {"tickets", &tickets, .sentence = "*auto*, *off*, or a file of keys."},
    {"clear", &on_off, .sentence = "Whether clear text is spoken on the same port."},
    {NULL},
};
static const char *const listen_tls_needs[] = {"cert", "auto", NULL};
const struct conf_shape conf_shape_listen_tls = {.type = OPTION_MAP,
                                                 .members = listen_tls_members,
                                                 .bare = &self,
                                                 .needs = listen_tls_needs,
                                                 .needs_one = true,
                                                 .what = "auto or a map",
                                                 .like = "{cert: tls.pem, key: tls.key}"};

static const struct conf_member proxy_protocol_members[] = {
    {"from", &ranges, .sentence = "The balancers."},
    {NULL},
};
static const char *const proxy_protocol_needs[] = {"from", NULL};
const struct conf_shape conf_shape_proxy_protocol = {.type = OPTION_MAP,
                                                     .members = proxy_protocol_members,
                                                     .needs = proxy_protocol_needs,
                                                     .what = "a map",
                                                     .like = "{from: 10.0.0.0/8}"};

static const struct option_word system_words[] = {{"system", 0}, {NULL}};
static const struct option_word tls_words[] = {{"1.2", TLS_1_2}, {"1.3", TLS_1_3}, {NULL}};
static const struct conf_shape trust = {.type = OPTION_FILE, .list = true, .words = system_words};
static const struct conf_shape tls_version = {.type = OPTION_WORD, .words = tls_words};
static const struct conf_member origin_members[] = {
    {"for", &conf_shape_matcher, .sentence = "Which origins."},
    {"trust", &trust, .sentence = "What verifies them."},
    {"min", &tls_version, .sentence = "The lowest version of TLS."},
    {"alpn", &alpn, .sentence = "What they are offered: *h2*, *http/1.1*, or both."},
    {"client", &conf_shape_cert, .sentence = "The certificate that ginnel shows where it is asked for one."},
    {"verify", &on_off, .sentence = "*no*: their certificates are not looked at."},
    {NULL},
};
static const char *const origin_needs[] = {"trust", "min", "alpn", "client", "verify", NULL};
const struct conf_shape conf_shape_origin = {.type = OPTION_MAP,
                                             .list = true,
                                             .members = origin_members,
                                             .needs = origin_needs,
                                             .what = "a map",
                                             .like = "{for: .example.net, min: 1.2}"};

/* ---- rewriting ---- */

static const struct conf_member value_members[] = {
    {"file", &file, .sentence = "The file that holds it."},
    {NULL},
};
static const char *const value_needs[] = {"file", NULL};
static const struct conf_shape value = {.type = OPTION_MAP,
                                        .members = value_members,
                                        .needs = value_needs,
                                        .what = "a map",
                                        .like = "{file: /run/secrets/token}"};
const struct conf_shape conf_shape_value = {.type = OPTION_DICT,
                                            .of = &value,
                                            .what = "a map of names",
                                            .like = "{token: {file: /run/secrets/token}}"};

static const struct conf_shape fields = {
    .type = OPTION_DICT, .of = &content, .what = "a map of fields", .like = "{x-observed: \"1\"}"};
static const struct conf_shape one_port = {.type = OPTION_PORT};
static const struct conf_shape one_path = {.type = OPTION_PATH};
static const struct conf_shape one_method = {.type = OPTION_METHOD};
static const struct option_word new_scheme_words[] = {{"http", 0}, {"https", 1}, {NULL}};
static const struct conf_shape one_scheme = {.type = OPTION_WORD, .words = new_scheme_words};
static const struct conf_member request_members[] = {
    {"set", &fields, .sentence = "Fields and their values."},
    {"remove", &tokens, .sentence = "Fields that go."},
    {"method", &one_method, .sentence = "Another method."},
    {"scheme", &one_scheme, .sentence = "Another scheme."},
    {"host", &one_host, .sentence = "Another host."},
    {"port", &one_port, .sentence = "Another port."},
    {"path", &one_path, .sentence = "Another beginning of the path."},
    {NULL},
};
static const struct conf_shape request = {
    .type = OPTION_MAP, .members = request_members, .what = "a map", .like = "{remove: [cookie]}"};
static const struct conf_member response_members[] = {
    {"set", &fields, .sentence = "Fields and their values."},
    {"remove", &tokens, .sentence = "Fields that go."},
    {NULL},
};
static const struct conf_shape response = {
    .type = OPTION_MAP, .members = response_members, .what = "a map", .like = "{remove: [server]}"};
static const struct conf_shape status = {
    .type = OPTION_COUNT, .min = STATUS_MIN, .max = STATUS_MAX};
static const struct conf_member respond_members[] = {
    {"status", &status, .sentence = "The status."},
    {"set", &fields, .sentence = "Fields and their values."},
    {"body", &content, .sentence = "The content."},
    {NULL},
};
static const char *const respond_needs[] = {"status", NULL};
static const struct conf_shape respond = {.type = OPTION_MAP,
                                          .members = respond_members,
                                          .needs = respond_needs,
                                          .what = "a map",
                                          .like = "{status: 503, body: closed}"};
static const struct conf_member rewrite_members[] = {
    {"for", &conf_shape_matcher, .sentence = "Which requests."},
    {"request", &request, .sentence = "What changes on the way there."},
    {"response", &response, .sentence = "What changes on the way back."},
    {"respond", &respond, .sentence = "An answer made here."},
    {"last", &on_off, .sentence = "Nothing behind this entry applies."},
    {"trusted", &on_off, .sentence = "What it changes is not judged by *rules* again."},
    {NULL},
};
static const char *const rewrite_needs[] = {"request", "response", "respond", NULL};
const struct conf_shape conf_shape_rewrite = {.type = OPTION_MAP,
                                              .list = true,
                                              .members = rewrite_members,
                                              .needs = rewrite_needs,
                                              .what = "a map",
                                              .like =
                                                  "{for: .example.net, respond: {status: 503}}"};

static const struct conf_member policy_members[] = {
    {"mode", &mode, .sentence = "*report*: the final refusal is said and not done."},
    {"say", &text, .sentence = "The text of the final refusal."},
    {"recheck", &on_off, .sentence = "Whether tunnels that a new configuration refuses are ended."},
    {NULL},
};
const struct conf_shape conf_shape_policy = {.type = OPTION_MAP,
                                             .members = policy_members,
                                             .bare = &mode,
                                             .what = "report, enforce or a map",
                                             .like = "{say: \"Ask the network team\"}"};

const struct conf_member *conf_shape_member(const struct conf_shape *s, struct slice key)
{
    for (const struct conf_member *m = s->members; m && m->key; m++)
        if (slice_eq(key, slice_str(m->key)))
            return m;
    return NULL;
}
