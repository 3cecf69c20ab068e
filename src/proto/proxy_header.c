/* SPDX-License-Identifier: MIT */
/* proxy_header: takes a PROXY header apart. Called by the session's greeting with all bytes that have come so far, as often as some come; a header has at most
 * PROXY_HEADER_MAX of them, so that nothing has to be remembered in between. Strict where two readers could take one header for two addresses: one blank between
 * the words of version 1, numbers without leading zeros, nothing behind the ports; in version 2 every length must fit into the one around it.
 * It never reads behind the header, and keeps nothing.
 */
#include "proto/proxy_header.h"

#include "base/base.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <string.h>

enum {
    SIGNATURE = 12,
    V2_HEAD = 16,
    V2_LENGTH_MAX = PROXY_HEADER_MAX - V2_HEAD,
    V4_ADDRESSES = 12,
    V6_ADDRESSES = 36,
    UNIX_ADDRESSES = 216,
    TLV_HEAD = 3,
    TYPE_AUTHORITY = 0x02,
    TYPE_CRC32C = 0x03,
    CRC_BYTES = 4,
    COMMAND_LOCAL = 0,
    COMMAND_PROXY = 1,
    OVER_STREAM = 1,
    PORT_MAX = 65535,
};
enum family { FAMILY_UNSPEC = 0, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX, FAMILIES };

static const char signature[SIGNATURE] = "\r\n\r\n\0\r\nQUIT\n";
static const struct slice v1_word = {"PROXY ", 6};

static enum parse bad(const char **ret_fault, const char *fault)
{
    *ret_fault = fault;
    return PARSE_BAD;
}

/* ---- which of the two ---- */

static enum parse begins_with(struct slice in, const char *what, size_t n)
{
    if (memcmp(in.p, what, min_size(in.n, n)) != 0)
        return PARSE_BAD;
    return in.n < n ? PARSE_MORE : PARSE_DONE;
}

enum parse proxy_header_begins(const void *p, size_t n)
{
    struct slice in = slice_of(p, n);
    enum parse r = n ? begins_with(in, v1_word.p, v1_word.n) : PARSE_MORE;

    return r == PARSE_BAD ? begins_with(in, signature, SIGNATURE) : r;
}

/* ---- version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n" ---- */

static bool next_word(struct slice *line, struct slice *ret_word)
{
    size_t n = slice_find(*line, ' ');

    *ret_word = slice_of(line->p, n);
    *line = n < line->n ? slice_skip(*line, n + 1) : slice_of(line->p + line->n, 0);
    return n > 0;
}

/* inet_pton takes neither leading zeros in IPv4 nor zones. */
static bool read_address(struct slice s, bool v6, uint8_t ret_addr[16])
{
    char text[INET6_ADDRSTRLEN];

    if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(v6 ? AF_INET6 : AF_INET, text, ret_addr) == 1;
}

static bool read_port(struct slice s, uint16_t *ret_port)
{
    uint64_t v;

    if ((s.n > 1 && s.p[0] == '0') || num_dec(s, PORT_MAX, &v) < 0)
        return false;
    *ret_port = (uint16_t)v;
    return true;
}

/* Behind "PROXY ", without the CRLF. */
static enum parse read_v1_line(struct slice line, struct proxy_header *h, const char **ret_fault)
{
    struct slice word, port;

    if (!next_word(&line, &word))
        return bad(ret_fault, "the PROXY header names no protocol");
    if (slice_eq(word, SLICE("UNKNOWN"))) {
        h->local = true;
        return PARSE_DONE;
    }
    h->v6 = slice_eq(word, SLICE("TCP6"));
    if (!h->v6 && !slice_eq(word, SLICE("TCP4")))
        return bad(ret_fault, "the PROXY header names another protocol than TCP4, TCP6 and UNKNOWN");
    if (!next_word(&line, &word) || !read_address(word, h->v6, h->src))
        return bad(ret_fault, "the PROXY header's source address is malformed");
    if (!next_word(&line, &word) || !read_address(word, h->v6, h->dst))
        return bad(ret_fault, "the PROXY header's destination address is malformed");
    if (!next_word(&line, &port) || !read_port(port, &h->src_port) || !read_port(line, &h->dst_port))
        return bad(ret_fault, "the PROXY header's ports are malformed");
    return PARSE_DONE;
}

static enum parse read_v1(struct slice in, struct proxy_header *h, size_t *ret_used, const char **ret_fault)
{
    struct slice seen = slice_of(in.p, min_size(in.n, PROXY_HEADER_V1_MAX));
    size_t lf = slice_find(seen, '\n'), cr = slice_find(seen, '\r');
    enum parse r;

    /* A CR that nothing, or something else, follows is no end of a line. */
    if (cr + 1 < seen.n && seen.p[cr + 1] != '\n')
        return bad(ret_fault, "the PROXY header's line does not end with CRLF");
    if (lf == seen.n)
        return seen.n == PROXY_HEADER_V1_MAX ? bad(ret_fault, "the PROXY header's line is too long") : PARSE_MORE;
    if (cr + 1 != lf)
        return bad(ret_fault, "the PROXY header's line does not end with CRLF");
    r = read_v1_line(slice_of(in.p + v1_word.n, cr - v1_word.n), h, ret_fault);
    *ret_used = lf + 1;
    return r;
}

/* ---- version 2 ---- */

static uint16_t read_16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* RFC 3720 B.4, reflected. A header has 4 KB at most, and few carry one: a table would not be worth its cache lines. */
static uint32_t crc32c(uint32_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}

/* The sum is over the whole header, with zeros in its own place. */
static bool sum_is_right(const uint8_t *p, size_t n, size_t at)
{
    static const uint8_t zeros[CRC_BYTES];
    uint32_t said = (uint32_t)p[at] << 24 | (uint32_t)p[at + 1] << 16 | (uint32_t)p[at + 2] << 8 | p[at + 3];
    uint32_t crc = crc32c(UINT32_MAX, p, at);

    crc = crc32c(crc, zeros, sizeof(zeros));
    return ~crc32c(crc, p + at + CRC_BYTES, n - at - CRC_BYTES) == said;
}

static enum parse read_tlvs(const uint8_t *p, size_t n, size_t at, struct proxy_header *h, const char **ret_fault)
{
    while (at < n) {
        size_t value = at + TLV_HEAD, length;

        if (value > n)
            return bad(ret_fault, "the PROXY header ends inside of an extension");
        length = read_16(p + at + 1);
        if (length > n - value)
            return bad(ret_fault, "an extension of the PROXY header is longer than the header");
        if (p[at] == TYPE_CRC32C && (length != CRC_BYTES || !sum_is_right(p, n, value)))
            return bad(ret_fault, "the PROXY header's checksum is wrong");
        if (p[at] == TYPE_AUTHORITY)
            h->sni = slice_of(p + value, length);
        at = value + length;
    }
    return PARSE_DONE;
}

static void take_addresses(const uint8_t *p, bool v6, struct proxy_header *h)
{
    size_t n = v6 ? 16 : 4;

    h->v6 = v6;
    memcpy(h->src, p, n);
    memcpy(h->dst, p + n, n);
    h->src_port = read_16(p + 2 * n);
    h->dst_port = read_16(p + 2 * n + 2);
}

/* All n bytes of it are there. */
static enum parse read_v2_whole(const uint8_t *p, size_t n, struct proxy_header *h, const char **ret_fault)
{
    static const size_t needs[FAMILIES] = {[FAMILY_INET] = V4_ADDRESSES, [FAMILY_INET6] = V6_ADDRESSES, [FAMILY_UNIX] = UNIX_ADDRESSES};
    unsigned command = p[12] & 15, family = p[13] >> 4, over = p[13] & 15;

    if (command == COMMAND_LOCAL || family == FAMILY_UNSPEC) {
        h->local = true;
        return PARSE_DONE;
    }
    if (n - V2_HEAD < needs[family])
        return bad(ret_fault, "the PROXY header is shorter than its addresses");
    h->local = over != OVER_STREAM || family == FAMILY_UNIX;
    if (!h->local)
        take_addresses(p + V2_HEAD, family == FAMILY_INET6, h);
    return read_tlvs(p, n, V2_HEAD + needs[family], h, ret_fault);
}

static enum parse read_v2(struct slice in, struct proxy_header *h, size_t *ret_used, const char **ret_fault)
{
    const uint8_t *p = (const uint8_t *)in.p;
    size_t length;

    /* What is wrong already need not be waited for. */
    if (in.n > 12 && (p[12] >> 4 != 2 || (p[12] & 15) > COMMAND_PROXY))
        return bad(ret_fault, "the PROXY header has another version or command than those there are");
    if (in.n > 13 && (p[13] >> 4 >= FAMILIES || (p[13] & 15) > 2))
        return bad(ret_fault, "the PROXY header has another address family or transport than those there are");
    if (in.n < V2_HEAD)
        return PARSE_MORE;
    length = read_16(p + 14);
    if (length > V2_LENGTH_MAX)
        return bad(ret_fault, "the PROXY header is longer than 4096 bytes");
    if (in.n < V2_HEAD + length)
        return PARSE_MORE;
    *ret_used = V2_HEAD + length;
    return read_v2_whole(p, V2_HEAD + length, h, ret_fault);
}

enum parse proxy_header_read(const void *p, size_t n, struct proxy_header *ret_header, size_t *ret_used, const char **ret_fault)
{
    enum parse begins = proxy_header_begins(p, n), r;
    struct slice in = slice_of(p, n);
    struct proxy_header h = {0};
    size_t used = 0;

    if (begins == PARSE_BAD)
        return bad(ret_fault, "there is no PROXY header");
    if (begins == PARSE_MORE)
        return PARSE_MORE;
    r = in.p[0] == 'P' ? read_v1(in, &h, &used, ret_fault) : read_v2(in, &h, &used, ret_fault);
    if (r == PARSE_DONE) {
        *ret_header = h;
        *ret_used = used;
    }
    return r;
}
