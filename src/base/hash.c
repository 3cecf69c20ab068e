/* SPDX-License-Identifier: MIT */
/* hash: SipHash with one round a word and three at the end (Aumasson and Bernstein, 2012), enough
 * against chosen keys in hash tables. Called by every table whose keys come from the network. Not
 * for signatures or passwords.
 */
#include "base/hash.h"

#include "base/check.h"

#include <endian.h>
#include <string.h>
#include <sys/random.h>

static uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

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
}
