/* SPDX-License-Identifier: MIT */
/* conf_table: the one table of options. The reader, the defaults, the checks of ranges, the hints,
 * the schema and the manual's list all walk it, so that none of them can disagree with another. A
 * key that this build cannot honour stays here as `unbuilt`: its content is checked, and it is
 * refused by name, never ignored.
 */
#include "app/conf_table.h"

#include "app/conf.h"
#include "app/conf_shapes.h"
#include "base/log.h"

#define AT(member) ((long)offsetof(struct conf, member))
#define AT_LISTEN(member)                                                                          \
    .of = OPTION_OF_LISTEN, .offset = (long)offsetof(struct conf_listen, member)
#define AT_LOG(member) .of = OPTION_OF_LOG, .offset = (long)offsetof(struct access_output, member)
#define NOWHERE        .offset = OPTION_NOWHERE

/* 18 hours: the reach of the timer wheel (base/wheel.h). */
#define LONGEST ((uint64_t)18 * 3600 * 1000)
#define DAYS(n) ((uint64_t)(n)*24 * 3600 * 1000)

#define SECTION(path_, sentence_)                                                                  \
    {                                                                                              \
        .path = path_, .type = OPTION_SECTION, NOWHERE, .sentence = sentence_                      \
    }
#define TIMEOUT(path_, member, least, dflt_, sentence_)                                            \
    {                                                                                              \
        .path = path_, .type = OPTION_DURATION, .dflt = dflt_, .min = least, .max = LONGEST,       \
        .offset = AT(member), .sentence = sentence_                                                \
    }
/* A key that is checked and refused. More of its row follows. */
#define UNBUILT(path_, type_) .path = path_, .type = type_, .unbuilt = true, NOWHERE
/* Entries of a list that may be spread over files. */
#define ENTRIES(path_, shape_)                                                                     \
    UNBUILT(path_, OPTION_ENTRY), .list = true, .appends = true, .shape = shape_

static const struct option_word auto_words[] = {{"auto", 0}, {NULL}};
static const struct option_word no_limit_words[] = {{"off", 0}, {NULL}};
static const struct option_word any_words[] = {{"any", 0}, {NULL}};
static const struct option_word off_words[] = {{"off", CONF_CONTROL_OFF}, {NULL}};
static const struct option_word family_words[] = {
    {"auto", FAMILY_AUTO}, {"4", FAMILY_4}, {"6", FAMILY_6}, {"prefer-4", FAMILY_PREFER_4}, {NULL}};
static const struct option_word level_words[] = {
    {"error", LOG_ERROR}, {"warn", LOG_WARN}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}, {NULL}};
/* `off` is no sink: the item is no output. */
static const struct option_word sink_words[] = {{"stderr", ACCESS_STDERR},
                                                {"stdout", ACCESS_STDOUT},
                                                {"syslog", ACCESS_SYSLOG_UNIX},
                                                {"off", -1},
                                                {NULL}};
static const struct option_word format_words[] = {{"json", ACCESS_JSON},
                                                  {"squid", ACCESS_SQUID},
                                                  {"common", ACCESS_COMMON},
                                                  {"combined", ACCESS_COMBINED},
                                                  {NULL}};
static const struct option_word tunnels_words[] = {
    {"end", ACCESS_AT_END}, {"both", ACCESS_AT_BOTH}, {NULL}};
static const struct option_word reasons_words[] = {
    {"none", REASONS_NONE}, {"own", REASONS_OWN}, {"all", REASONS_ALL}, {NULL}};
static const struct option_word private_words[] = {
    {"allow", GUARD_ALLOW}, {"metadata", GUARD_METADATA}, {"deny", GUARD_DENY}, {NULL}};
static const struct option_word forwarded_words[] = {
    {"off", 0}, {"x-forwarded-for", 1}, {"rfc7239", 2}, {NULL}};
static const struct option_word order_words[] = {{"eager", 0}, {"lazy", 1}, {NULL}};
static const struct option_word trust_words[] = {{"system", 0}, {NULL}};

const struct option_def conf_table[] = {
    {.path = "listen",
     .type = OPTION_LISTEN,
     .list = true,
     .appends = true,
     .dflt_says = "127.0.0.1:3128 and [::1]:3128",
     NOWHERE,
     .sentence = "Where clients connect: an address and a port, *unix:* and an absolute path, or a "
                 "list of them; an item may be a map. *localhost:3128* means 127.0.0.1 and ::1; "
                 "port 0 takes a free one. An address that is not loopback needs *clients* or *users*."},
    {.path = "listen.address",
     .type = OPTION_LISTENING,
     .dflt_says = "none; it must be written",
     NOWHERE,
     .sentence = "The address, where an item of *listen* is written as a map."},
    {.path = "listen.name",
     .type = OPTION_NAME,
     .min = 1,
     .max = PROXY_NAME_MAX,
     .dflt_says = "none",
     AT_LISTEN(name),
     .sentence = "A name for the listener, for logs and for *listener* in matchers. No two "
                 "listeners share one."},
    {.path = "listen.clients",
     .type = OPTION_RANGE,
     .list = true,
     .words = any_words,
     .dflt_says = "those at the top",
     NOWHERE,
     .sentence = "Admitted addresses of this listener, instead of those at the top."},
    {.path = "listen.users",
     .type = OPTION_ENTRY,
     .shape = &conf_shape_users,
     .dflt_says = "those at the top",
     NOWHERE,
     .sentence = "Users of this listener, instead of those at the top."},
    {.path = "listen.reasons",
     .type = OPTION_WORD,
     .words = reasons_words,
     .dflt_says = "that at the top",
     AT_LISTEN(reasons),
     .sentence = "How much this listener's refusals say, instead of what the top says."},
    {.path = "listen.tls",
     .type = OPTION_ENTRY,
     .shape = &conf_shape_listen_tls,
     .dflt_says = "none: clear text",
     NOWHERE,
     .sentence = "TLS between client and proxy: a map with *cert* and *key*, or *auto*, a certificate that ginnel makes itself (see TLS)."},
    {.path = "listen.proxy-protocol",
     .type = OPTION_ENTRY,
     .shape = &conf_shape_proxy_protocol,
     .dflt_says = "none: a header is refused",
     NOWHERE,
     .sentence = "Balancers in front of this listener: connections *from* these addresses have to begin with a header of the PROXY "
                 "protocol, version 1 or 2, and others must not. The client's address is then what the header says (see BALANCERS)."},
    {.path = "clients",
     .type = OPTION_RANGE,
     .list = true,
     .appends = true,
     .words = any_words,
     .dflt_says = "everybody who can reach the loopback addresses",
     NOWHERE,
     .sentence = "Admitted client addresses: ranges such as 10.0.0.0/8, single addresses, list "
                 "files, or *any*, which is an open proxy. Others get 403."},
    {.path = "users",
     .type = OPTION_ENTRY,
     .shape = &conf_shape_users,
     .dflt_says = "nobody is asked",
     NOWHERE,
     .sentence = "Who may use the proxy: a file of names and passwords, or a map (see USERS). With "
                 "*clients*, too, both must hold. Whoever is unknown gets 407."},
    {.path = "rules",
     .type = OPTION_ENTRY,
     .list = true,
     .appends = true,
     .shape = &conf_shape_rule,
     .dflt_says = "none: whatever *ports* and *private* leave open",
     NOWHERE,
     .sentence = "What may be reached: a list of maps, each with *allow* or *deny* and what else must hold. The first that "
                 "matches decides; what none decides is refused (see RULES). An empty list allows nothing."},
    {.path = "include",
     .type = OPTION_PATTERN,
     .list = true,
     .dflt_says = "none",
     NOWHERE,
     .sentence = "More files: paths relative to this file, whose last part may have *\\** and "
                 "*?*. Their lists follow this file's, in the order of their names; everything "
                 "else may stand in one of the files only."},
    {.path = "private",
     .type = OPTION_WORD,
     .words = private_words,
     .dflt_says = "*deny* with *rules* or a listener off loopback, else *metadata*",
     .offset = AT(private),
     .sentence = "What may be reached of the addresses that are not the public Internet's (see PRIVATE ADDRESSES): *allow* "
                 "all, *metadata* all but those at which clouds tell secrets, *deny* none. An *allow* with *to*, or "
                 "with the address itself, opens its own all the same."},
    {.path = "ports",
     .type = OPTION_PORT,
     .list = true,
     .words = any_words,
     .dflt_says = "80 and 443; without *rules*, and with all listeners on loopback, every port",
     NOWHERE,
     .sentence = "Ports that may be reached: of each *allow* that says no *port*, and of everything where there are no "
                 "*rules*. Ranges are written 8000-8099, and *any* is every port."},
    {.path = "limits",
     .type = OPTION_ENTRY,
     .list = true,
     .appends = true,
     .shape = &conf_shape_limit,
     .dflt_says = "none",
     NOWHERE,
     .sentence = "How much: a list of maps, each with *requests*, *bandwidth*, *tunnels*, *quota*, *upload* or *download*, whom it is "
                 "about (*for*), and whose bucket it is (*per*). All that match must hold (see LIMITS)."},
    SECTION("capacity", "Bounds of the whole process. What is over one of them gets 503 with Retry-After; nothing "
                        "that runs is ended."),
    {.path = "capacity.connections",
     .type = OPTION_COUNT,
     .dflt = "50000",
     .min = 1,
     .max = 10000000,
     .offset = AT(proxy.capacity.connections),
     .sentence = "The most connections of clients, idle ones and tunnels included; those of *admin* and "
                 "*control* do not count."},
    {.path = "capacity.per-client",
     .type = OPTION_COUNT,
     .dflt = "off",
     .min = 1,
     .max = 10000000,
     .words = no_limit_words,
     .offset = AT(proxy.capacity.per_client),
     .sentence = "The most connections of one client address. Behind a NAT one address may be many "
                 "people. Clients of a Unix socket have none."},
    {.path = "capacity.handshakes",
     .type = OPTION_COUNT,
     .dflt = "1000",
     .min = 1,
     .max = 1000000,
     .offset = AT(proxy.capacity.handshakes),
     .sentence = "The most TLS handshakes with clients at a time, an equal share for each worker. One counts from its whole "
                 "ClientHello on; more wait for their turn."},
    {.path = "capacity.memory",
     .type = OPTION_SIZE,
     .dflt = "1GB",
     .min = 1 << 20,
     .max = (uint64_t)1 << 62,
     .offset = AT(proxy.capacity.memory),
     .sentence = "The most memory that connections and requests may take together, without the "
                 "configuration and without the kernel's buffers, but with what TLS takes to be ready (about a megabyte "
                 "a worker). When it is reached, kept connections to "
                 "origins are given up, and new connections and new requests are refused."},
    {.path = "capacity.pipes",
     .type = OPTION_SIZE,
     .dflt = "256MB",
     .min = 0,
     .max = (uint64_t)1 << 62,
     .offset = AT(proxy.capacity.pipes),
     .sentence = "The most memory of the kernel's pipes, through which bulk is moved without "
                 "copying it. When it is used up, bulk is copied."},
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
    {.path = "upstream",
     .type = OPTION_ENTRY,
     .list = true,
     .appends = true,
     .shape = &conf_shape_upstream,
     .dflt_says = "none",
     NOWHERE,
     .sentence = "Which way requests go: a list of maps, *direct* and *deny*. *for* is a matcher (see LANGUAGE), without it "
                 "everything; *via* proxies, tried in order, *chain* proxies one behind the other (see WAYS); *bind* the address, range or list of them "
                 "that the connections come from, *mark* the mark of their sockets, *interface* the network interface that they use (see SOURCE ADDRESSES). "
                 "The first entry that matches decides; what none matches goes direct."},
    {UNBUILT("intercept", OPTION_SECTION), .sentence = "Looking inside TLS."},
    {UNBUILT("intercept.only", OPTION_ENTRY), .shape = &conf_shape_matcher,
     .sentence = "What is looked into."},
    {UNBUILT("intercept.never", OPTION_ENTRY), .shape = &conf_shape_matcher,
     .sentence = "What is never looked into, whatever *only* says."},
    {UNBUILT("intercept.order", OPTION_WORD), .words = order_words,
     .sentence = "Whether the origin or the client is greeted first."},
    {UNBUILT("intercept.learn", OPTION_SWITCH),
     .sentence = "Whether a client that refuses the certificate is let through the next time."},
    {UNBUILT("intercept.ca", OPTION_ENTRY), .shape = &conf_shape_cert,
     .sentence = "What signs the certificates."},
    {.path = "origins",
     .type = OPTION_ENTRY,
     .list = true,
     .appends = true,
     .shape = &conf_shape_origin,
     .dflt_says = "none",
     NOWHERE,
     .sentence = "How TLS is spoken with origins and parents: a list of maps. *for* is a matcher (see LANGUAGE), *trust* what verifies the others' certificates, "
                 "*min* the lowest version of TLS, *1.2* or *1.3*, *client* the certificate and key that ginnel shows. *verify: no* looks at no certificate, and "
                 "wants a *for* that names hosts. The first entry that matches decides (see TLS TOWARDS ORIGINS AND PARENTS)."},
    {.path = "trust",
     .type = OPTION_FILE,
     .list = true,
     .dflt = "system",
     .words = trust_words,
     NOWHERE,
     .sentence = "What verifies the certificates of origins and parents: *system*, the store of this machine, or files of certificates (PEM)."},
    {UNBUILT("values", OPTION_ENTRY), .shape = &conf_shape_value,
     .sentence = "Secrets for rewrite."},
    {ENTRIES("rewrite", &conf_shape_rewrite), .sentence = "Changes of requests and answers."},
    SECTION("resolver", "How names become addresses."),
    {.path = "resolver.servers",
     .type = OPTION_SERVER,
     .list = true,
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
    {.path = "resolver.stale",
     .type = OPTION_DURATION,
     .dflt = "0s",
     .max = DAYS(7),
     .offset = AT(resolve.stale_ms),
     .sentence = "How long an answer may be used past its time, while a new one is fetched or cannot "
                 "be had. *0s* is never. It holds for each answer that has addresses, counted from "
                 "the end of its own time; that a name does not exist ends it at once."},
    SECTION("h2", "HTTP/2, towards clients, origins and parents."),
    {.path = "h2.streams",
     .type = OPTION_COUNT,
     .dflt = "256",
     .min = 1,
     .max = 65535,
     .offset = AT(proxy.h2.streams),
     .sentence = "The most requests and tunnels of one connection at the same time."},
    {.path = "h2.window",
     .type = OPTION_SIZE,
     .dflt = "64KB",
     .min = 16 << 10,
     .max = 16 << 20,
     .offset = AT(proxy.h2.window),
     .sentence = "How much a peer may send on a stream before any of it has been passed on, to begin with."},
    {.path = "h2.window-max",
     .type = OPTION_SIZE,
     .dflt = "8MB",
     .min = 16 << 10,
     .max = 1 << 30,
     .offset = AT(proxy.h2.window_max),
     .sentence = "What that grows to while the other side takes it as fast as it comes."},
    {.path = "h2.credit",
     .type = OPTION_SIZE,
     .dflt = "64MB",
     .min = 0,
     .max = (uint64_t)1 << 40,
     .offset = AT(proxy.h2.credit),
     .sentence = "By how much the windows of all streams of a worker may have grown together."},
    {.path = "h2.resets",
     .type = OPTION_RATE,
     .dflt = "100/s",
     .offset = AT(proxy.h2.resets),
     .sentence = "How many streams a connection may reset; ten times as many may come at once. Over it the connection is closed."},
    {.path = "h2.control",
     .type = OPTION_RATE,
     .dflt = "500/s",
     .offset = AT(proxy.h2.control),
     .sentence = "How many frames may come that move nothing (PING, SETTINGS, PRIORITY, empty ones, tiny window updates); ten times as many may come at once. Over "
                 "it the connection is closed."},
    SECTION("timeouts", "How long ginnel waits."),
    TIMEOUT("timeouts.connect", proxy.timeouts.connect, 1, "10s",
            "For a connection to the origin, all its addresses together. Then 504."),
    TIMEOUT("timeouts.head", proxy.timeouts.head, 1, "30s",
            "For the whole head of a request, from its first byte. Then 408."),
    TIMEOUT("timeouts.tls", proxy.timeouts.tls, 1, "10s",
            "For a TLS handshake, from its first byte. Then the connection is closed."),
    TIMEOUT("timeouts.response", proxy.timeouts.response, 1, "5m",
            "For the head of an answer, once the request is complete. Then 504."),
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
    {.path = "timeouts.body-rate",
     .type = OPTION_RATE,
     .dflt = "off",
     .min = 1, /* sizes are meant */
     .words = no_limit_words,
     .offset = AT(proxy.timeouts.body_rate),
     .sentence = "The least rate at which the content of a request must come, such as _1KB/s_: averaged "
                 "over each 10 s in which the origin was ready to take it. Then 408, or a reset if an answer "
                 "has begun."},
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
    {UNBUILT("forwarded", OPTION_WORD), .words = forwarded_words,
     .sentence = "Telling origins who asks."},
    {.path = "reasons",
     .type = OPTION_WORD,
     .words = reasons_words,
     .dflt_says = "*all* on loopback and Unix sockets, *own* elsewhere",
     .offset = AT(reasons),
     .sentence = "How much a refusal says: *none* the kind of error, *own* also which line of the "
                 "configuration refused and the way out, *all* also addresses and counters."},
    {.path = "admin",
     .type = OPTION_ADDRESS,
     .list = true,
     .words = off_words,
     .dflt_says = "*off*",
     NOWHERE,
     .sentence = "Where */metrics*, */healthz* and */readyz* are served: an address and a port or "
                 "a list of them. It asks nobody who they are."},
    {.path = "control",
     .type = OPTION_CONTROL,
     .dflt = "unix:",
     .words = off_words,
     NOWHERE,
     .sentence = "The socket of *ginnel status* and its like: *unix:* in the runtime directory, "
                 "*unix:* and an absolute path, or *off*. Only the user that ginnel runs as, and "
                 "root, are heard."},
    {.path = "log",
     .type = OPTION_SECTION,
     .list = true,
     .appends = true,
     NOWHERE,
     .sentence = "What is written down: a map, or a list of maps, each of which is a log of its "
                 "own."},
    {.path = "log.access",
     .type = OPTION_SINK,
     .dflt = "stderr",
     .words = sink_words,
     NOWHERE,
     .sentence = "Where a record of every exchange goes: *stderr*, *stdout*, *off*, a file, whose "
                 "path begins with a slash, or *syslog* (/dev/log), *syslog:* and the path of a "
                 "socket, *syslog:* with an address and a port (UDP)."},
    {.path = "log.format",
     .type = OPTION_WORD,
     .dflt = "json",
     .words = format_words,
     AT_LOG(layout),
     .sentence = "How the records look: *json*, an object a line, or the lines of *squid*, "
                 "*common* or *combined*."},
    {.path = "log.level",
     .type = OPTION_WORD,
     .dflt = "info",
     .words = level_words,
     .offset = AT(log_level),
     .sentence = "The least important diagnostics that are written to stderr: *error*, *warn*, "
                 "*info* or *debug*. It stands in one of the maps only."},
    {.path = "log.tunnels",
     .type = OPTION_TUNNELS,
     .dflt = "end",
     .words = tunnels_words,
     .min = 1000,
     .max = LONGEST,
     AT_LOG(tunnels),
     .sentence = "When a tunnel is written down: at its *end*, at *both* ends, or also *every* so "
                 "often while it lives: _every 5m_. All logs that say *every* say the same."},
    {.path = "log.for",
     .type = OPTION_ENTRY,
     .shape = &conf_shape_matcher,
     .dflt_says = "everything",
     AT_LOG(where),
     .sentence = "Which exchanges this log takes: a matcher (see LANGUAGE)."},
    {.path = "workers",
     .type = OPTION_COUNT,
     .dflt = "auto",
     .min = 1,
     .max = 64,
     .words = auto_words,
     .offset = AT(workers),
     .sentence = "Threads that carry traffic. *auto* is one a processor."},
    {.path = "policy",
     .type = OPTION_ENTRY,
     .shape = &conf_shape_policy,
     .dflt_says = "*enforce*",
     NOWHERE,
     .sentence = "What happens where no rule decides: *enforce* refuses, *report* lets pass and says in the log what would have "
                 "been refused. As a map: *mode* is one of the two, *say* the text of that refusal, and with *recheck: yes* a "
                 "reload ends the tunnels that it would not let pass any more."},
};
const unsigned conf_table_n = ARRAY_LEN(conf_table);

/* The reader writes words as int and the rest as declared in base/option.h. */
_Static_assert(ARRAY_LEN(conf_table) <= CONF_KEYS_MAX, "the language has grown too large");
_Static_assert(sizeof(enum reasons) == sizeof(int), "words are written as int");
_Static_assert(sizeof(enum access_layout) == sizeof(int), "words are written as int");
_Static_assert(sizeof(enum access_tunnels) == sizeof(int), "words are written as int");
_Static_assert(sizeof(enum resolve_family) == sizeof(int), "words are written as int");
_Static_assert(sizeof(enum guard_mode) == sizeof(int), "words are written as int");
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
