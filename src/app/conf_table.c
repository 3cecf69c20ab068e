/* SPDX-License-Identifier: MIT */
/* conf_table: the one table of options. The reader, the defaults, the checks of ranges, the hints
 * and the manual's list all walk it, so that none of them can disagree with another. A key that
 * this build cannot honour stays here as `unbuilt`: it must be refused by name, never ignored.
 */
#include "app/conf_table.h"

#include "app/conf.h"
#include "base/log.h"

#define AT(member) ((long)offsetof(struct conf, member))

/* 18 hours: the reach of the timer wheel (base/wheel.h). */
#define LONGEST ((uint64_t)18 * 3600 * 1000)
#define DAYS(n) ((uint64_t)(n)*24 * 3600 * 1000)

#define SECTION(path_, sentence_)                                                                  \
    {                                                                                              \
        .path = path_, .type = OPTION_SECTION, .offset = OPTION_NOWHERE, .sentence = sentence_     \
    }
#define TIMEOUT(path_, member, least, dflt_, sentence_)                                            \
    {                                                                                              \
        .path = path_, .type = OPTION_DURATION, .dflt = dflt_, .min = least, .max = LONGEST,       \
        .offset = AT(member), .sentence = sentence_                                                \
    }
#define UNBUILT(path_, sentence_)                                                                  \
    {                                                                                              \
        .path = path_, .unbuilt = true, .offset = OPTION_NOWHERE, .sentence = sentence_            \
    }

static const struct option_word auto_words[] = {{"auto", 0}, {NULL}};
static const struct option_word family_words[] = {
    {"auto", FAMILY_AUTO}, {"4", FAMILY_4}, {"6", FAMILY_6}, {"prefer-4", FAMILY_PREFER_4}, {NULL}};
static const struct option_word level_words[] = {
    {"error", LOG_ERROR}, {"warn", LOG_WARN}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}, {NULL}};
static const struct option_word sink_words[] = {
    {"stderr", ACCESS_STDERR}, {"stdout", ACCESS_STDOUT}, {"off", ACCESS_OFF}, {NULL}};
static const struct option_word format_words[] = {{"json", 0},
                                                  {"squid", 1, .unbuilt = true},
                                                  {"common", 2, .unbuilt = true},
                                                  {"combined", 3, .unbuilt = true},
                                                  {NULL}};

const struct option_def conf_table[] = {
    {.path = "listen",
     .type = OPTION_LISTEN,
     .dflt_says = "127.0.0.1:3128 and [::1]:3128",
     .offset = OPTION_NOWHERE,
     .sentence = "Where clients connect: an address and a port, or a list of them. "
                 "*localhost:3128* means 127.0.0.1 and ::1; port 0 takes a free one. "
                 "An address that is not loopback needs *clients*."},
    {.path = "listen.address",
     .type = OPTION_LISTEN,
     .offset = OPTION_NOWHERE,
     .dflt_says = "none; it must be written",
     .sentence = "The address, where an item of *listen* is written as a map."},
    UNBUILT("listen.name", "A name for the listener."),
    UNBUILT("listen.clients", "Admitted addresses of this listener."),
    UNBUILT("listen.users", "Users of this listener."),
    UNBUILT("listen.reasons", "How much this listener's refusals say."),
    UNBUILT("listen.tls", "TLS between client and proxy."),
    UNBUILT("listen.proxy-protocol", "PROXY protocol from a balancer."),
    {.path = "clients",
     .type = OPTION_RANGES,
     .dflt_says = "everybody who can reach the loopback addresses",
     .offset = OPTION_NOWHERE,
     .sentence = "Admitted client addresses: ranges such as 10.0.0.0/8, single addresses, or "
                 "*any*, which is an open proxy. Others get 403."},
    UNBUILT("users", "Who may use the proxy."),
    UNBUILT("rules", "What may be reached."),
    UNBUILT("include", "More files."),
    UNBUILT("private", "Whether private addresses may be reached."),
    UNBUILT("ports", "Ports that may be reached."),
    UNBUILT("limits", "Rates and quotas."),
    UNBUILT("capacity", "Bounds of the whole process."),
    SECTION("sizes", "Bounds of a request head."),
    {.path = "sizes.line",
     .type = OPTION_SIZE,
     .dflt = "16KB",
     .min = 512,
     .max = 1 << 20,
     .offset = AT(proxy.sizes.line),
     .sentence = "The longest request line. Longer ones get 414."},
    {.path = "sizes.head",
     .type = OPTION_SIZE,
     .dflt = "64KB",
     .min = 1024,
     .max = 1 << 20,
     .offset = AT(proxy.sizes.head),
     .sentence = "The largest head, its first line included. Larger requests get 431, larger "
                 "answers 502."},
    {.path = "sizes.fields",
     .type = OPTION_COUNT,
     .dflt = "200",
     .min = 1,
     .max = 10000,
     .offset = AT(proxy.sizes.fields),
     .sentence = "The most fields of a head. Requests with more get 431."},
    UNBUILT("upstream", "Other proxies and source addresses."),
    UNBUILT("intercept", "Looking inside TLS."),
    UNBUILT("origins", "TLS towards origins."),
    UNBUILT("trust", "What verifies origins."),
    UNBUILT("values", "Secrets for rewrite."),
    UNBUILT("rewrite", "Changes of requests and answers."),
    SECTION("resolver", "How names become addresses."),
    {.path = "resolver.servers",
     .type = OPTION_SERVERS,
     .dflt_says = "those of /etc/resolv.conf",
     .offset = OPTION_NOWHERE,
     .sentence = "Addresses of DNS servers, with a port where it is not 53."},
    {.path = "resolver.system",
     .type = OPTION_SWITCH,
     .dflt = "off",
     .offset = AT(resolve.system),
     .sentence = "Ask the C library (and with it nsswitch.conf) instead of DNS servers."},
    {.path = "resolver.search",
     .type = OPTION_SWITCH,
     .dflt = "off",
     .offset = AT(resolve.search),
     .sentence = "Apply the search list of resolv.conf to short names."},
    {.path = "resolver.family",
     .type = OPTION_WORD,
     .dflt = "auto",
     .words = family_words,
     .offset = AT(resolve.family),
     .sentence = "Which addresses are used: *auto* tries IPv6 first and IPv4 beside it, "
                 "*prefer-4* the other way round, *4* and *6* only the one."},
    {.path = "resolver.ttl-max",
     .type = OPTION_DURATION,
     .dflt = "1h",
     .min = 1000,
     .max = DAYS(7),
     .offset = AT(resolve.ttl_max_ms),
     .sentence = "The longest time that an answer is kept, whatever its own time to live."},
    UNBUILT("resolver.stale", "Answers used past their time."),
    SECTION("timeouts", "How long ginnel waits."),
    TIMEOUT("timeouts.connect", proxy.timeouts.connect, 1, "10s",
            "For a connection to the origin, all its addresses together. Then 504."),
    TIMEOUT("timeouts.head", proxy.timeouts.head, 1, "30s",
            "For the whole head of a request, from its first byte. Then 408."),
    UNBUILT("timeouts.tls", "For a TLS handshake."),
    TIMEOUT("timeouts.response", proxy.timeouts.response, 1, "5m",
            "For the first byte of an answer, once the request is complete. Then 504."),
    TIMEOUT("timeouts.idle", proxy.timeouts.idle, 1, "5m",
            "Between two bytes of a message. Then the connection is reset."),
    TIMEOUT("timeouts.keepalive", proxy.timeouts.keepalive, 1, "60s",
            "For the next request on a client's connection. Then it is closed."),
    TIMEOUT("timeouts.tunnel", proxy.timeouts.tunnel, 1, "1h",
            "For a tunnel without a byte either way. Then it is reset."),
    TIMEOUT("timeouts.half-close", proxy.timeouts.half_close, 1, "1h",
            "For the other direction of a tunnel, after one has ended and while nothing moves."),
    TIMEOUT("timeouts.drain", proxy.timeouts.drain, 0, "30s",
            "For what is still running when ginnel is told to stop."),
    {.path = "via",
     .type = OPTION_SWITCH,
     .dflt = "on",
     .offset = AT(proxy.via),
     .sentence = "Add a Via field to requests and answers. *off* is a deviation from RFC 9110; "
                 "loops are then found by ginnel's own addresses only."},
    {.path = "name",
     .type = OPTION_TOKEN,
     .dflt_says = "*ginnel-* and 8 random hex digits",
     .min = 1,
     .max = PROXY_NAME_MAX,
     .offset = AT(proxy.name),
     .sentence = "The name in Via and Proxy-Status, up to 63 letters, digits and "
                 "!#$%&'\\*+-.^\\_\\`|~. A request that already carries it is a loop: no two "
                 "proxies on a path may share one."},
    UNBUILT("forwarded", "Telling origins who asks."),
    UNBUILT("reasons", "How much a refusal says."),
    UNBUILT("admin", "Metrics and health."),
    UNBUILT("control", "The control socket."),
    SECTION("log", "What is written down."),
    {.path = "log.access",
     .type = OPTION_SINK,
     .dflt = "stderr",
     .words = sink_words,
     .offset = AT(access),
     .sentence = "Where a record of every exchange goes: *stderr*, *stdout*, *off* or a file, "
                 "whose path begins with a slash."},
    {.path = "log.format",
     .type = OPTION_WORD,
     .dflt = "json",
     .words = format_words,
     .offset = OPTION_NOWHERE,
     .sentence = "How the records look: *json*, an object a line."},
    {.path = "log.level",
     .type = OPTION_WORD,
     .dflt = "info",
     .words = level_words,
     .offset = AT(log_level),
     .sentence = "The least important diagnostics that are written to stderr: *error*, *warn*, "
                 "*info* or *debug*."},
    UNBUILT("log.tunnels", "When a tunnel is written down."),
    UNBUILT("log.for", "Which exchanges a log takes."),
    {.path = "workers",
     .type = OPTION_COUNT,
     .dflt = "auto",
     .min = 1,
     .max = 64,
     .words = auto_words,
     .offset = AT(workers),
     .sentence = "Threads that carry traffic. *auto* is one a processor."},
    UNBUILT("policy", "What the final refusal does."),
};
const unsigned conf_table_n = ARRAY_LEN(conf_table);

/* The reader writes words as int and the rest as declared in base/option.h. */
_Static_assert(ARRAY_LEN(conf_table) <= CONF_KEYS_MAX, "the language has grown too large");
_Static_assert(sizeof(enum conf_access) == sizeof(int), "words are written as int");
_Static_assert(sizeof(enum resolve_family) == sizeof(int), "words are written as int");
_Static_assert(sizeof(unsigned) == sizeof(uint32_t), "counts are written as uint32_t");

const struct option_def *conf_table_find(struct slice path)
{
    for (unsigned i = 0; i < conf_table_n; i++)
        if (slice_eq(path, slice_str(conf_table[i].path)))
            return &conf_table[i];
    return NULL;
}

const char *conf_table_key(const struct option_def *o)
{
    const char *dot = strrchr(o->path, '.');

    return dot ? dot + 1 : o->path;
}

bool conf_table_in(const struct option_def *section, const struct option_def *o)
{
    size_t n = section ? strlen(section->path) : 0;

    if (!section)
        return !strchr(o->path, '.');
    return strncmp(o->path, section->path, n) == 0 && o->path[n] == '.' &&
           !strchr(o->path + n + 1, '.');
}

const struct option_def *conf_table_member(const struct option_def *section, struct slice key)
{
    for (unsigned i = 0; i < conf_table_n; i++)
        if (conf_table_in(section, &conf_table[i]) &&
            slice_eq(key, slice_str(conf_table_key(&conf_table[i]))))
            return &conf_table[i];
    return NULL;
}
