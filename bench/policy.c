/* SPDX-License-Identifier: MIT */
/* policy: what a decision costs, alone: CPU nanoseconds for a thousand ranges (U7: a microsecond at
 * most), for a million ranges and for a million names, with the time and memory of building them.
 * usage: bench-policy [RANGES [NAMES]]   (not with sanitizers: they hide what memory is in use)
 * Prints a line a measurement: key=value ... The best of some rounds counts, for the machine may do
 * other things. */
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "policy/hosts.h"
#include "policy/policy.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ASKED = 1 << 16, ROUNDS = 7, NAME_ROOM = 256, MILLION = 1000000 };

static uint64_t seed = 1;

/* splitmix64: the same numbers in every run. */
static uint64_t next_random(void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static size_t in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static void must(int r, const char *what)
{
    if (r == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, err_text(r));
    exit(1);
}

static void *array(size_t n, size_t size)
{
    void *p = mem_array(n, size);

    if (!p)
        must(ERR_NOMEM, "memory");
    return p;
}

/* ---- ranges ---- */

/* Like published lists: mostly /16../28 and /29../64, anywhere. */
static struct addr_range random_range(bool v4)
{
    struct addr_range r = {.v4 = v4};
    unsigned bits =
        v4 ? 96 + 16 + (unsigned)(next_random() % 13) : 29 + (unsigned)(next_random() % 36);

    r.mask_hi = bits < 64 ? UINT64_MAX << (64 - bits) : UINT64_MAX;
    r.mask_lo = bits > 64 ? UINT64_MAX << (128 - bits) : 0;
    r.hi = v4 ? 0 : (0x2000000000000000u | next_random() >> 3) & r.mask_hi;
    r.lo = (v4 ? 0xffff00000000u | (uint32_t)next_random() : 0) & r.mask_lo;
    return r;
}

static void put_half(uint8_t *out, uint64_t half)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (uint8_t)(half >> (56 - 8 * i));
}

/* An address in r. */
static struct addr addr_in(const struct addr_range *r)
{
    uint8_t bytes[16];
    struct addr a;

    put_half(bytes, r->hi | (next_random() & ~r->mask_hi));
    put_half(bytes + 8, r->lo | (next_random() & ~r->mask_lo));
    if (r->v4)
        addr_v4(&a, bytes + 12, 4000);
    else
        addr_v6(&a, bytes, 4000);
    return a;
}

struct counted {
    double ns; /* a decision */
    unsigned yes;
};

static struct counted judge_all(const struct policy *p, const struct addr *asked)
{
    struct counted c = {.ns = 1e9};

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t began = now_ns();
        double ns;

        c.yes = 0;
        for (unsigned i = 0; i < ASKED; i++) {
            struct facts f = {.client = &asked[i]};

            c.yes += policy_judge(p, &f, 0).kind != VERDICT_DENY;
        }
        ns = (double)(now_ns() - began) / ASKED;
        if (ns < c.ns)
            c.ns = ns;
    }
    return c;
}

static void bench_ranges(size_t n)
{
    struct addr_range *v = array(n, sizeof(*v));
    struct addr *asked = array(ASKED, sizeof(*asked));
    struct policy_clients set = {0};
    struct policy p = {.clients = &set, .n_clients = 1};
    struct ranges ranges;
    struct counted c;
    uint64_t began;
    size_t before;

    for (size_t i = 0; i < n; i++)
        v[i] = random_range(i % 2);
    /* Half of them inside, the others wherever they fall. */
    for (size_t i = 0; i < ASKED; i++) {
        struct addr_range anywhere = random_range(next_random() % 2);

        asked[i] = addr_in(i % 2 ? &v[next_random() % n] : &anywhere);
    }
    before = in_use();
    began = now_ns();
    must(ranges_build(v, n, &ranges), "ranges_build");
    began = now_ns() - began;
    set.ranges = &ranges;
    c = judge_all(&p, asked);
    printf("ranges=%zu merged_v4=%zu merged_v6=%zu build_ms=%.1f bytes=%zu ns_per_decision=%.0f "
           "admitted=%.0f%%\n",
           n, ranges.n4, ranges.n6, (double)began / 1e6, in_use() - before, c.ns,
           100.0 * c.yes / ASKED);
    ranges_done(&ranges);
    mem_free(asked);
    mem_free(v);
}

/* ---- names ---- */

static size_t put_name(char out[NAME_ROOM], const char *before, uint64_t number)
{
    static const char *const tops[] = {"com", "net", "org", "example", "co.uk", "info"};
    int n = snprintf(out, NAME_ROOM, "%sa-name%llu.%s", before, (unsigned long long)number,
                     tops[number % 6]);

    return (size_t)n;
}

static struct counted ask_all(const struct hosts *h, const char (*names)[NAME_ROOM],
                              const size_t *lengths)
{
    struct counted c = {.ns = 1e9};

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t began = now_ns();
        double ns;

        c.yes = 0;
        for (unsigned i = 0; i < ASKED; i++)
            c.yes += hosts_has(h, slice_of(names[i], lengths[i]));
        ns = (double)(now_ns() - began) / ASKED;
        if (ns < c.ns)
            c.ns = ns;
    }
    return c;
}

static void ask_names(const struct hosts *h, size_t n)
{
    char(*names)[NAME_ROOM] = array(ASKED, sizeof(*names));
    size_t *lengths = array(ASKED, sizeof(*lengths));
    struct counted c;

    /* Half of them from the list, one label longer; suffixes hold those. */
    for (unsigned i = 0; i < ASKED; i++)
        lengths[i] = put_name(names[i], "www.", next_random() % (2 * n));
    c = ask_all(h, (const char(*)[NAME_ROOM])names, lengths);
    printf("names=%zu ns_per_lookup=%.0f found=%.0f%%\n", n, c.ns, 100.0 * c.yes / ASKED);
    /* The most that a name can cost: 127 labels, none of them known. */
    for (unsigned i = 0; i < ASKED; i++) {
        lengths[i] = 253;
        for (unsigned k = 0; k < 253; k++)
            names[i][k] = k % 2 ? '.' : (char)('a' + next_random() % 26);
    }
    c = ask_all(h, (const char(*)[NAME_ROOM])names, lengths);
    printf("names=%zu labels=127 ns_per_lookup=%.0f found=%.0f%%\n", n, c.ns,
           100.0 * c.yes / ASKED);
    mem_free(names);
    mem_free(lengths);
}

/* One in `every` is a name alone, the others stand for all below them, too. */
static void bench_names(size_t n, unsigned every)
{
    struct hosts *h;
    char name[NAME_ROOM];
    size_t before = in_use(), text = 0, used;
    uint64_t began = now_ns();

    h = hosts_new();
    if (!h)
        must(ERR_NOMEM, "hosts_new");
    for (size_t i = 0; i < n; i++) {
        size_t length = put_name(name, i % every ? "." : "", i);

        text += length - (name[0] == '.');
        must(hosts_add(h, slice_of(name, length)), "hosts_add");
    }
    began = now_ns() - began;
    used = in_use() - before;
    printf("names=%zu alone=%u%% count=%zu build_ms=%.1f (writing the names included) bytes=%zu "
           "text=%zu bytes_each_besides=%.1f\n",
           n, 100 / every, hosts_count(h), (double)began / 1e6, used, text,
           (double)(used - text) / (double)n);
    ask_names(h, n);
    hosts_free(h);
}

static size_t count_of(int argc, char **argv, int i)
{
    uint64_t n = MILLION;

    if (i < argc)
        must(num_dec(slice_str(argv[i]), 100 * MILLION, &n), argv[i]);
    return n ? (size_t)n : 1;
}

int main(int argc, char **argv)
{
    hash_seed();
    bench_ranges(1000);
    bench_ranges(count_of(argc, argv, 1));
    bench_names(count_of(argc, argv, 2), 2);
    bench_names(count_of(argc, argv, 2), 1);
    return 0;
}
