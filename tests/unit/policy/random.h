/* SPDX-License-Identifier: MIT */
/* random: numbers that look random and are the same in every run, so that a failure can be had
 * again. */
#ifndef POLICY_RANDOM_H
#define POLICY_RANDOM_H

#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood, 2014). */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0..n-1 */
static inline unsigned random_below(uint64_t *state, unsigned n)
{
    return (unsigned)(random_next(state) % n);
}

#endif
