/* SPDX-License-Identifier: MIT */
/* peek: the meaning of `sni` and `expect` (ginnel.yaml(5)), as functions of the bytes. Called by step peek. What begins as TLS is judged as TLS, whatever else
 * the rule lets pass: a hello that two readers may read in two ways is nobody's.
 */
#include "proxy/peek.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>

enum { HOLD_FIRST = 2048, TEXT_NAME_MAX = 80 };
enum { RECORD_HEAD = 5, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, MESSAGE_SERVER_HELLO = 2, SERVER_RANDOM = RECORD_HEAD + 6, VERSION_RETRIES = 0x0304 };

/* ---- life ---- */

bool peek_wanted(enum rule_sni sni, enum rule_expect expect, bool named)
{
    bool any = expect == EXPECT_DEFAULT || expect == EXPECT_ANY;

    return !any || sni == SNI_LOG || (sni == SNI_STRICT && named);
}

struct peek *peek_new(void)
{
    return mem_zalloc(sizeof(struct peek));
}

void peek_begin(struct peek *k, enum rule_sni sni, enum rule_expect expect, struct slice host, bool named)
{
    k->sni = sni;
    if (sni == SNI_STRICT && !named)
        k->sni = SNI_OFF;
    k->expect = expect;
    k->host = named ? host : SLICE_NONE;
}

void peek_pin(struct peek *k, struct slice name)
{
    k->pin = name;
    k->pinned = true;
}

void peek_free(struct peek *k)
{
    if (k) {
        mem_free(k->held);
        mem_free(k->origin_held);
    }
    mem_free(k);
}

int peek_hold_origin(struct peek *k, const char *p, size_t n)
{
    CHECK(n <= PEEK_ORIGIN_MAX);
    if (!k->origin_held)
        k->origin_held = mem_alloc(PEEK_ORIGIN_MAX);
    if (!k->origin_held)
        return ERR_NOMEM;
    memcpy(k->origin_held, p, n);
    k->n_origin = (uint8_t)n;
    return 0;
}

int peek_hold(struct peek *k, const char *p, size_t n)
{
    if (k->n_held + n > k->cap_held) {
        uint32_t cap = k->n_held + n <= HOLD_FIRST ? HOLD_FIRST : CLIENTHELLO_MAX;
        char *q = k->n_held + n > CLIENTHELLO_MAX ? NULL : mem_grow(k->held, cap);

        if (!q)
            return ERR_NOMEM;
        k->held = q;
        k->cap_held = cap;
    }
    memcpy(k->held + k->n_held, p, n);
    k->n_held += (uint32_t)n;
    return 0;
}

/* ---- answers ---- */

static enum peek_answer refuse(struct peek_said *said, enum end_reason reason, const char *fmt, ...) PRINTF(3, 4);

static enum peek_answer refuse(struct peek_said *said, enum end_reason reason, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(said->text, sizeof(said->text), fmt, ap);
    va_end(ap);
    said->reason = reason;
    return PEEK_REFUSE;
}

/* What `strict` refuses and `log` notes. */
static enum peek_answer by_sni(const struct peek *k, enum peek_answer strict)
{
    return k->sni == SNI_LOG ? PEEK_BOTH : strict;
}

static const char *expect_name(enum rule_expect e)
{
    return e == EXPECT_TLS ? "tls" : e == EXPECT_HTTP ? "http" : e == EXPECT_SSH ? "ssh" : "any";
}

static enum peek_answer unexpected(const struct peek *k, struct peek_said *said, const char *who, const char *what)
{
    const char *word = expect_name(k->expect);

    return refuse(said, END_PROTOCOL_DENIED, "`expect: %s`, but %s with %s", word, who, what);
}

static bool expects(const struct peek *k, enum spoken s)
{
    return (k->expect == EXPECT_TLS && s == SPOKEN_TLS) || (k->expect == EXPECT_HTTP && s == SPOKEN_HTTP) || (k->expect == EXPECT_SSH && s == SPOKEN_SSH);
}

static bool expects_one(const struct peek *k)
{
    return k->expect == EXPECT_TLS || k->expect == EXPECT_HTTP || k->expect == EXPECT_SSH;
}

/* ---- TLS ---- */

static int shown(struct slice name)
{
    return (int)min_size(name.n, TEXT_NAME_MAX);
}

static enum peek_answer judge_name(const struct peek *k, struct peek_said *said)
{
    struct slice name = clienthello_name(&said->hello);
    bool compared = k->host.n && k->sni != SNI_OFF;
    bool held_to = k->pinned || (compared && k->sni == SNI_STRICT);
    enum peek_answer pass = held_to && said->hello.version >= VERSION_RETRIES ? PEEK_ON : PEEK_BOTH;

    if (k->pinned && !slice_eq(name, k->pin))
        return PEEK_REFUSE;
    if (!compared || slice_eq(name, k->host))
        return pass;
    /* Whoever lets anything pass lets a hello pass that asks for nobody. What ECH hides is somebody. */
    if (!name.n && k->expect == EXPECT_ANY && !said->hello.ech)
        return pass;
    if (!name.n)
        refuse(said, END_SNI_DENIED, "the ClientHello has no name, the CONNECT %.*s: `sni: off` on the rule lets it pass", shown(k->host), k->host.p);
    else
        refuse(said, END_SNI_DENIED, "the ClientHello names %.*s, the CONNECT %.*s: `sni: off` on the rule lets it pass", shown(name), name.p, shown(k->host),
               k->host.p);
    return k->sni == SNI_LOG ? pass : PEEK_REFUSE;
}

static enum peek_answer judge_tls(struct peek *k, const char *p, size_t n, struct peek_said *said)
{
    const char *fault = NULL;

    switch (clienthello_feed(&k->scan, p, n, &said->hello, &fault)) {
    case PARSE_MORE:
        return PEEK_MORE;
    case PARSE_DONE:
        said->read = true;
        break;
    case PARSE_BAD:
        break;
    }
    if (expects_one(k) && (k->expect != EXPECT_TLS || (fault && k->sni != SNI_STRICT)))
        return unexpected(k, said, "the client began", fault ? "a malformed ClientHello" : "a ClientHello");
    if (!fault)
        return judge_name(k, said);
    refuse(said, END_SNI_DENIED, "%s", fault);
    return by_sni(k, k->sni == SNI_STRICT ? PEEK_REFUSE : PEEK_BOTH);
}

/* Behind a hello that was right. An origin that answers it with a HelloRetryRequest gets another one, and there are origins that go by the name in that: it has
 * to be the same (RFC 8446 4.1.2). Until the origin has answered a client has no other handshake message to send; early data and the like goes on. */
static enum peek_answer watch(struct peek *k, const char *p, size_t n, size_t *ret_go, struct peek_said *said)
{
    const char *fault = NULL;
    size_t i = 0;

    /* Ends: each round goes over a record, or leaves. */
    while (i < n) {
        size_t step = min_size(k->skip, n - i), left;

        i += step;
        k->skip -= (uint32_t)step;
        left = n - i;
        *ret_go = i;
        if (!left)
            break;
        if (p[i] == RECORD_HANDSHAKE)
            break;
        if (left < RECORD_HEAD)
            return PEEK_ON;
        k->skip = RECORD_HEAD + ((uint32_t)(uint8_t)p[i + 3] << 8 | (uint8_t)p[i + 4]);
    }
    if (i == n)
        return PEEK_ON;
    switch (clienthello_feed(&k->scan, p + i, n - i, &said->hello, &fault)) {
    case PARSE_MORE:
        return PEEK_ON;
    case PARSE_DONE:
        said->read = true;
        break;
    case PARSE_BAD:
        return refuse(said, END_SNI_DENIED, "%s", fault);
    }
    *ret_go = n;
    if (judge_name(k, said) != PEEK_REFUSE)
        return PEEK_BOTH;
    return refuse(said, END_SNI_DENIED, "the second ClientHello has not the name of the first");
}

static enum peek_answer judge_hello(struct peek *k, const char *p, size_t n, size_t *ret_go, struct peek_said *said)
{
    enum peek_answer a = judge_tls(k, p, n, said);
    size_t end = said->hello.end, go = 0;

    if (a != PEEK_ON)
        return a;
    k->watched = true;
    k->scan = (struct clienthello_scan){0};
    if (end < n)
        a = watch(k, p + end, n - end, &go, said);
    *ret_go = end + go;
    return a;
}

/* ---- the client ---- */

enum parse peek_name(struct peek *k, const char *p, size_t n, struct peek_said *said)
{
    enum spoken s = spoken_of(p, n);
    enum parse r = s == SPOKEN_MORE ? PARSE_MORE : PARSE_DONE;
    const char *fault = NULL;

    if (s == SPOKEN_TLS)
        r = clienthello_feed(&k->scan, p, n, &said->hello, &fault);
    if (r == PARSE_MORE)
        return r;
    said->read = s == SPOKEN_TLS && r == PARSE_DONE;
    if (r == PARSE_BAD)
        refuse(said, END_SNI_DENIED, "%s", fault);
    k->scan = (struct clienthello_scan){0};
    return r;
}

static enum peek_answer judge_other(const struct peek *k, enum spoken s, struct peek_said *said)
{
    const char *name = spoken_name(s);

    if (expects(k, s))
        return k->expect == EXPECT_SSH ? PEEK_PASS : PEEK_BOTH;
    if (expects_one(k))
        return unexpected(k, said, "the client began", name);
    if (k->expect == EXPECT_ANY)
        return PEEK_BOTH;
    if (s == SPOKEN_HTTP || s == SPOKEN_SSH)
        refuse(said, END_SNI_DENIED, "no ClientHello but %s: `expect: %s` on the rule lets it pass", name, s == SPOKEN_SSH ? "ssh" : "http");
    else
        refuse(said, END_SNI_DENIED, "no ClientHello but something else: `expect: any` on the rule lets it pass");
    return by_sni(k, PEEK_REFUSE);
}

static bool may_be_ssh(const char *p, size_t n)
{
    return memcmp(p, "SSH-", min_size(n, 4)) == 0;
}

/* What is not TLS is not held where it may pass anyway, or may not for sure. */
static bool waits_for_words(const struct peek *k, const char *p, size_t n)
{
    if (k->expect == EXPECT_SSH)
        return may_be_ssh(p, n);
    return expects_one(k) || (k->expect == EXPECT_DEFAULT && k->sni == SNI_STRICT);
}

enum peek_answer peek_client(struct peek *k, const char *p, size_t n, size_t *ret_go, struct peek_said *said)
{
    enum spoken s = spoken_of(p, n);
    bool maybe_tls = s == SPOKEN_MORE && spoken_may_be_tls(p, n);

    *ret_go = n;
    if (k->watched)
        return watch(k, p, n, ret_go, said);
    if (s == SPOKEN_TLS)
        return judge_hello(k, p, n, ret_go, said);
    if (s == SPOKEN_MORE && (maybe_tls || waits_for_words(k, p, n)))
        return PEEK_MORE;
    return judge_other(k, s == SPOKEN_MORE ? SPOKEN_OTHER : s, said);
}

enum peek_answer peek_client_over(struct peek *k, bool ended, struct peek_said *said)
{
    const char *how = ended ? "ended" : "said no more";

    if (k->watched || k->sni == SNI_STRICT || !expects_one(k)) {
        refuse(said, END_SNI_DENIED, "the client began with an unfinished message and %s", how);
        return by_sni(k, PEEK_REFUSE);
    }
    return unexpected(k, said, "the client began", "something unfinished");
}

/* ---- the origin ---- */

bool peek_minds_origin(const struct peek *k)
{
    return expects_one(k) && !k->watched;
}

/* An answer to the hello: is another one asked for? Alerts may come before it. */
static enum peek_answer judge_answer(const char *p, size_t n)
{
    /* RFC 8446 4.1.3: the SHA-256 of "HelloRetryRequest". */
    static const uint8_t retry[32] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
                                      0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c};
    size_t at = 0;

    while (at < n && p[at] == RECORD_ALERT) {
        if (n - at < RECORD_HEAD)
            return n < PEEK_ORIGIN_MAX ? PEEK_MORE : PEEK_BOTH;
        at += RECORD_HEAD + ((size_t)(uint8_t)p[at + 3] << 8 | (uint8_t)p[at + 4]);
    }
    if (at == n)
        return PEEK_ON;
    if (at > n)
        return n < PEEK_ORIGIN_MAX ? PEEK_MORE : PEEK_BOTH;
    if (p[at] != RECORD_HANDSHAKE || (n - at > RECORD_HEAD && p[at + RECORD_HEAD] != MESSAGE_SERVER_HELLO))
        return PEEK_BOTH;
    if (n - at < SERVER_RANDOM + sizeof(retry))
        return n < PEEK_ORIGIN_MAX ? PEEK_MORE : PEEK_BOTH;
    return memcmp(p + at + SERVER_RANDOM, retry, sizeof(retry)) == 0 ? PEEK_PASS : PEEK_BOTH;
}

enum peek_answer peek_origin(const struct peek *k, const char *p, size_t n, struct peek_said *said)
{
    if (k->watched)
        return judge_answer(p, n);
    if (k->expect == EXPECT_TLS || k->expect == EXPECT_HTTP)
        return refuse(said, END_PROTOCOL_DENIED, "`expect: %s`, but the origin spoke first", expect_name(k->expect));
    if (k->expect != EXPECT_SSH)
        return PEEK_BOTH;
    if (!may_be_ssh(p, n))
        return unexpected(k, said, "the origin began", "something else");
    return spoken_of(p, n) == SPOKEN_SSH ? PEEK_PASS : PEEK_MORE;
}

enum peek_answer peek_origin_over(const struct peek *k, struct peek_said *said)
{
    if (k->watched)
        return PEEK_BOTH;
    return unexpected(k, said, "the origin began", "something unfinished");
}
