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

void hash_seed(void)
{
    /* Start-up: rather no proxy than one whose tables can be aimed at. */
    CHECK(getrandom(key, sizeof(key), 0) == (ssize_t)sizeof(key));
    CHECK(getrandom(wide_key, sizeof(wide_key), 0) == (ssize_t)sizeof(wide_key));
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
