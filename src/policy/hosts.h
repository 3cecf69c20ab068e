/* SPDX-License-Identifier: MIT */
/* hosts: a set of host names. `name` is that host alone, `.name` the name and everything under it. A
 * lookup costs one hash, and one a label up to the deepest `.name`, however many names there are; a set of
 * a few names is compared one by one, without.
 * Names are normalised by the caller (lower case, no trailing dot: proto/url.h), without ports.
 * The hash is seeded (base/hash.h: hash_seed comes before the first name), for both a list and what
 * is looked up may be chosen to collide.
 * Owner: whoever built it. Thread: read-only after building. Memory: the names and about 20 bytes
 * each. */
#ifndef POLICY_HOSTS_H
#define POLICY_HOSTS_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct hosts;

struct hosts *hosts_new(void) MUST_USE;
void hosts_free(struct hosts *h);
/* name or .name, 1..254 bytes, copied; twice is fine. ERR_NOMEM (also beyond 4 GB of names),
 * ERR_RANGE: no name has that length. The set is then as it was. */
int hosts_add(struct hosts *h, struct slice name) MUST_USE;
/* What is empty or longer than 254 bytes is in no set. */
bool hosts_has(const struct hosts *h, struct slice host);

/* What has been hashed of a host already: the next set that is asked about the same host need not do it again. Zeroed before the first one. */
enum { HOSTS_KEY_LABELS = 8 };
struct hosts_key {
    unsigned n; /* labels, from the last one on, that the two below know of */
    uint32_t tags[HOSTS_KEY_LABELS];
    uint8_t at[HOSTS_KEY_LABELS];
    bool whole; /* the name's own is known */
    uint32_t tag;
};
bool hosts_has_key(const struct hosts *h, struct slice host, struct hosts_key *key);
/* The host's own hash (hash_bytes, the lower half). */
uint32_t hosts_key_whole(struct hosts_key *key, struct slice host);
/* The ends of a host at its labels, from the last label to the whole. next: the next one with its hash; false: that was all. host: 1..254 bytes. */
struct hosts_suffix {
    struct slice host, name;
    size_t at;
    unsigned i;
    uint32_t tag;
};
void hosts_suffix_init(struct hosts_suffix *s, struct slice host);
bool hosts_suffix_next(struct hosts_suffix *s, struct hosts_key *key);

/* Different entries: `name` and `.name` are two. */
size_t hosts_count(const struct hosts *h);
/* Walks over the entries in the order in which they were added: *at begins with 0. False: that was all. suffix: the entry was `.name`, and
 * *ret_name is without the dot. The name lives as long as nothing is added. */
bool hosts_next(const struct hosts *h, size_t *at, struct slice *ret_name, bool *ret_suffix);

#endif
