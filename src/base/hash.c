/* SPDX-License-Identifier: MIT */
/* hash: SipHash with one round a word and three at the end (Aumasson and Bernstein, 2012), enough
 * against chosen keys in hash tables. Called by every table whose keys come from the network. The
 * wide one has two rounds and four, and 128 bits, as its authors give it. Not for signatures, nor
 * for keeping passwords.
 */
#include "base/hash.h"

#include "base/check.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>

static uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
static uint64_t wide_key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t m)
{
    s->v3 ^= m;
    sip_round(s);
    s->v0 ^= m;
}

uint64_t hash_bytes(const void *p, size_t n)
{
    struct sip s = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                    key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
    const unsigned char *in = p;
    size_t left = n;
    uint64_t m;

    for (; left >= sizeof(m); left -= sizeof(m), in += sizeof(m)) {
        memcpy(&m, in, sizeof(m));
        sip_word(&s, le64toh(m));
    }
    m = (uint64_t)n << 56;
    for (size_t i = 0; i < left; i++)
        m |= (uint64_t)in[i] << 8 * i;
    sip_word(&s, m);
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* The multilinear family: for each word of the input, the first one being its length, 128 random bits a lane. */
enum { TAG_LANES = 2, TAG_WORDS = 2 + HASH_TAG_MAX / 8 };
#define FIXED(i) UINT64_C(0x9e3779b97f4a7c15) * (2 * (i) + 1)
#define FIXED4(i) FIXED(i), FIXED(i + 1), FIXED(i + 2), FIXED(i + 3)
#define FIXED17(i) FIXED4(i), FIXED4(i + 4), FIXED4(i + 8), FIXED4(i + 12), FIXED(i + 16)
static uint64_t tag_key[TAG_LANES * TAG_WORDS * 2] = {FIXED17(0),  FIXED17(17), FIXED17(34),  FIXED17(51),
                                                      FIXED17(68), FIXED17(85), FIXED17(102), FIXED17(119)};

void hash_seed(void)
{
    enum { AT_ONCE = 136 }; /* bytes: less than a signal could cut short */

    /* Start-up: rather no proxy than one whose tables can be aimed at. */
    CHECK(getrandom(key, sizeof(key), 0) == (ssize_t)sizeof(key));
    CHECK(getrandom(wide_key, sizeof(wide_key), 0) == (ssize_t)sizeof(wide_key));
    _Static_assert(sizeof(tag_key) % AT_ONCE == 0, "whole parts");
    for (size_t i = 0; i < sizeof(tag_key); i += AT_ONCE)
        CHECK(getrandom((char *)tag_key + i, AT_ONCE, 0) == AT_ONCE);
}

/* ---- 128 bits ---- */

static void wide_word(struct hash_wide *h, uint64_t m)
{
    struct sip s = {h->v[0], h->v[1], h->v[2], h->v[3]};

    s.v3 ^= m;
    sip_round(&s);
    sip_round(&s);
    s.v0 ^= m;
    h->v[0] = s.v0;
    h->v[1] = s.v1;
    h->v[2] = s.v2;
    h->v[3] = s.v3;
}

static void wide_bytes(struct hash_wide *h, const unsigned char *in, size_t n)
{
    uint64_t m;

    for (; n && h->n % 8; n--) {
        h->word |= (uint64_t)*in++ << 8 * (h->n % 8);
        if (++h->n % 8 == 0) {
            wide_word(h, h->word);
            h->word = 0;
        }
    }
    for (; n >= sizeof(m); n -= sizeof(m), in += sizeof(m), h->n += sizeof(m)) {
        memcpy(&m, in, sizeof(m));
        wide_word(h, le64toh(m));
    }
    for (; n; n--, h->n++)
        h->word |= (uint64_t)*in++ << 8 * (h->n % 8);
}

static uint64_t wide_end(struct hash_wide *h, uint64_t *v, uint64_t mark)
{
    struct sip s;

    *v ^= mark;
    s = (struct sip){h->v[0], h->v[1], h->v[2], h->v[3]};
    for (int i = 0; i < 4; i++)
        sip_round(&s);
    h->v[0] = s.v0;
    h->v[1] = s.v1;
    h->v[2] = s.v2;
    h->v[3] = s.v3;
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void hash_wide_init(struct hash_wide *h)
{
    *h = (struct hash_wide){.v = {wide_key[0] ^ 0x736f6d6570736575u, wide_key[1] ^ 0x646f72616e646f6du ^ 0xee,
                                  wide_key[0] ^ 0x6c7967656e657261u, wide_key[1] ^ 0x7465646279746573u}};
}

void hash_wide_add(struct hash_wide *h, const void *p, size_t n)
{
    unsigned char length[8];

    for (unsigned i = 0; i < sizeof(length); i++)
        length[i] = (unsigned char)((uint64_t)n >> 8 * i);
    wide_bytes(h, length, sizeof(length));
    wide_bytes(h, p, n);
}

void hash_wide_done(struct hash_wide *h, unsigned char ret_hash[HASH_WIDE_LEN])
{
    uint64_t parts[2];

    wide_word(h, h->n << 56 | h->word);
    parts[0] = htole64(wide_end(h, &h->v[2], 0xee));
    parts[1] = htole64(wide_end(h, &h->v[1], 0xdd));
    memcpy(ret_hash, parts, sizeof(parts));
    explicit_bzero(h, sizeof(*h));
}

/* ---- tags ---- */

__extension__ typedef unsigned __int128 wide;

struct tag {
    const uint64_t *key; /* of the next word */
    wide a, b;           /* modulo 2^128; their upper halves count */
};

static inline void tag_word(struct tag *t, uint64_t m)
{
    const uint64_t *k = t->key;

    t->a += (wide)k[0] * m + ((wide)(k[1] * m) << 64);
    t->b += (wide)k[2] * m + ((wide)(k[3] * m) << 64);
    t->key += 2 * TAG_LANES;
}

/* Those that do not fill a word, behind whole ones or alone. */
static inline uint64_t tag_rest(const unsigned char *in, size_t left, bool alone)
{
    uint64_t m = 0;

    if (left && alone)
        memcpy(&m, in, left);
    else if (left)
        memcpy(&m, in + left - sizeof(m), sizeof(m));
    return alone || !left ? le64toh(m) : le64toh(m) >> (64 - 8 * left);
}

struct hash_tag hash_tag(const void *p, size_t n)
{
    const unsigned char *in = p;
    const uint64_t *k = tag_key;
    struct tag t = {.key = k + 2 * TAG_LANES, .a = (wide)k[1] << 64 | k[0], .b = (wide)k[3] << 64 | k[2]};
    size_t left = n;
    uint64_t m;

    CHECK(n <= HASH_TAG_MAX);
    /* Inputs that differ in nothing but zeros behind them differ in length. */
    tag_word(&t, n);
    for (; left >= sizeof(m); left -= sizeof(m), in += sizeof(m)) {
        memcpy(&m, in, sizeof(m));
        tag_word(&t, le64toh(m));
    }
    if (left)
        tag_word(&t, tag_rest(in, left, n < sizeof(m)));
    return (struct hash_tag){{(uint64_t)(t.a >> 64), (uint64_t)(t.b >> 64)}};
}
