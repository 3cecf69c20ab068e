/* SPDX-License-Identifier: MIT */
/* policy: what a decision costs, alone: CPU nanoseconds for a thousand ranges (U7: a microsecond at
 * most), for a million ranges and for a million names, with the time and memory of building them; for whole walks over rules: ten and fifty of the usual
 * kind, a thousand of one host, range or user each, and lists of a million names and ten thousand ranges among them; for the guard and for expressions.
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
        for (unsigned i = 0; i < ASKED; i++)
            c.yes += policy_admits(p, POLICY_CLIENTS_ALL, &asked[i]);
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

/* ---- whole walks ---- */

enum { RULES_MAX = 2000, HOST_ROOM = 64, REQUESTS = 1 << 10 };

/* Rules, each with matchers of its own, as the configuration makes them. */
struct rule_set {
    struct policy p;
    struct rule rules[RULES_MAX];
    struct matcher where[RULES_MAX], with[RULES_MAX];
    struct matcher_ports usual[2];
    struct rules_index *index;
    double index_ms;
    size_t index_bytes;
    struct slice users[RULES_MAX];
    char user_names[RULES_MAX][16];
};

static void add_rule(struct rule_set *s, enum rule_kind kind)
{
    unsigned i = s->p.n_rules++;

    if (i == RULES_MAX)
        must(ERR_RANGE, "rules");
    s->rules[i] = (struct rule){.kind = kind, .where = &s->where[i], .n_where = 1, .place = "bench:1"};
    s->where[i].has_host = true;
    if (kind == RULE_ALLOW) {
        s->where[i].ports = s->usual;
        s->where[i].n_ports = 2;
    }
}

static void add_name(struct matcher *m, const char *name)
{
    if (!m->hosts)
        m->hosts = hosts_new();
    if (!m->hosts)
        must(ERR_NOMEM, "hosts_new");
    must(hosts_add(m->hosts, slice_str(name)), "hosts_add");
}

static struct rule_set *new_rules(void)
{
    struct rule_set *s = array(1, sizeof(*s));

    s->usual[0] = (struct matcher_ports){80, 80};
    s->usual[1] = (struct matcher_ports){443, 443};
    s->p = (struct policy){.has_rules = true, .rules = s->rules, .private = GUARD_DENY};
    return s;
}

static void index_rules(struct rule_set *s)
{
    struct rules_index *index;
    size_t before = in_use();
    uint64_t began = now_ns();

    must(rules_index_new(s->rules, s->p.n_rules, &index), "rules_index_new");
    s->index_ms = (double)(now_ns() - began) / 1e6;
    s->index_bytes = in_use() - before;
    s->index = index;
    s->p.index = index;
}

static void free_rules(struct rule_set *s)
{
    rules_index_free(s->index);
    for (unsigned i = 0; i < s->p.n_rules; i++) {
        s->where[i].ports = NULL;
        s->with[i].users = NULL;
        matcher_done(&s->where[i]);
        matcher_done(&s->with[i]);
    }
    mem_free(s);
}

/* n rules for some hosts each, the last one for what is asked. */
static void add_lists(struct rule_set *s, unsigned n, unsigned hosts_each)
{
    char name[HOST_ROOM];

    for (unsigned i = 0; i < n; i++) {
        add_rule(s, i % 5 == 4 ? RULE_DENY : RULE_ALLOW);
        for (unsigned k = 0; k < hosts_each; k++) {
            snprintf(name, sizeof(name), "%shost%u.list%u.example", k % 2 ? "." : "", k, i);
            add_name(&s->where[i], name);
        }
    }
}

static double judge_often(const struct policy *p, const char *host, const char *to, enum verdict_kind want)
{
    struct match_facts f = {.user = SLICE("nobody"), .method = SLICE("CONNECT"), .port = 443, .scheme = MATCH_CONNECT, .opaque = true, .minute = MATCH_NO_MINUTE,
                            .pending = MATCH_PENDING_ADDRESS};
    double best = 1e9;
    struct addr a;

    must(addr_parse_host(slice_str(to), 443, &a), to);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t began = now_ns();
        double ns;

        for (unsigned i = 0; i < REQUESTS; i++) {
            struct verdict v;

            match_facts_host(&f, slice_str(host));
            f.to = NULL;
            v = policy_judge(p, &f, 0, NULL, NULL);
            f.to = &a;
            v = policy_judge_address(p, &f, &v, NULL);
            if (v.kind != want)
                must(ERR_STATE, host);
        }
        ns = (double)(now_ns() - began) / REQUESTS;
        best = ns < best ? ns : best;
    }
    return best;
}

/* Each round is the whole of a request: facts of the host, the walk, one address, the guard. */
static void bench_rules(unsigned n, unsigned hosts_each)
{
    struct rule_set *s = new_rules();
    double first, last, none;

    add_lists(s, n, hosts_each);
    add_rule(s, RULE_ALLOW);
    add_name(&s->where[n], ".last.example");
    index_rules(s);
    first = judge_often(&s->p, "host0.list0.example", "9.9.9.9", VERDICT_ALLOW);
    last = judge_often(&s->p, "www.last.example", "9.9.9.9", VERDICT_ALLOW);
    none = judge_often(&s->p, "www.nowhere.example", "9.9.9.9", VERDICT_DENY);
    printf("rules=%u hosts_each=%u ns_first=%.0f ns_last=%.0f ns_none=%.0f ns_per_rule=%.1f index_ms=%.2f index_bytes=%zu\n", n + 1, hosts_each, first, last,
           none, (last - first) / n, s->index_ms, s->index_bytes);
    free_rules(s);
}

/* A range each; a user each, who may go anywhere. */
static void bench_others(unsigned n)
{
    struct rule_set *ranges = new_rules(), *users = new_rules();
    struct addr_range range;
    char text[HOST_ROOM];
    double literal, user;

    for (unsigned i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "20.%u.%u.0/24", i / 256, i % 256);
        must(addr_range_parse(slice_str(text), &range), text);
        add_rule(ranges, RULE_ALLOW);
        must(ranges_build(&range, 1, &ranges->where[i].host_ranges), text);
        add_rule(users, RULE_ALLOW);
        users->where[i].any_host = true;
        snprintf(users->user_names[i], sizeof(users->user_names[i]), "user%u", i);
        users->users[i] = slice_str(users->user_names[i]);
        users->with[i].users = &users->users[i];
        users->with[i].n_users = 1;
        users->rules[i].with = &users->with[i];
    }
    index_rules(ranges);
    index_rules(users);
    snprintf(text, sizeof(text), "20.%u.%u.9", (n - 1) / 256, (n - 1) % 256);
    literal = judge_often(&ranges->p, text, text, VERDICT_ALLOW);
    user = judge_often(&users->p, "www.nowhere.example", "9.9.9.9", VERDICT_DENY);
    printf("rules=%u a_range_each_ns_last=%.0f a_user_each_ns_none=%.0f\n", n, literal, user);
    free_rules(ranges);
    free_rules(users);
}

/* A deny of very many names, one of very many ranges, fifty of the usual kind, and the allow: each decision looks at all. */
static void bench_lists(size_t names, size_t n_ranges)
{
    struct rule_set *s = new_rules();
    struct addr_range *v = array(n_ranges, sizeof(*v));
    char name[NAME_ROOM];
    double last, literal;

    add_rule(s, RULE_DENY);
    s->where[0].hosts = hosts_new();
    for (size_t i = 0; i < names; i++)
        must(hosts_add(s->where[0].hosts, slice_of(name, put_name(name, i % 2 ? "." : "", i))), "hosts_add");
    add_rule(s, RULE_DENY);
    for (size_t i = 0; i < n_ranges; i++) {
        v[i] = random_range(i % 2);
        v[i].lo &= v[i].v4 ? 0xffff7fffffff & v[i].mask_lo : UINT64_MAX; /* 128.0.0.0/1 is in none */
    }
    must(ranges_build(v, n_ranges, &s->where[1].host_ranges), "ranges_build");
    for (unsigned i = 2; i < 52; i++) {
        add_rule(s, RULE_ALLOW);
        snprintf(name, sizeof(name), "host%u.example", i);
        add_name(&s->where[i], name);
    }
    add_rule(s, RULE_ALLOW);
    s->where[52].any_host = true;
    index_rules(s);
    last = judge_often(&s->p, "www.last.example", "129.9.9.9", VERDICT_ALLOW);
    literal = judge_often(&s->p, "129.9.9.9", "129.9.9.9", VERDICT_ALLOW);
    printf("rules=53 names=%zu ranges=%zu ns_name=%.0f ns_literal=%.0f index_ms=%.2f index_bytes=%zu\n", names, n_ranges, last, literal, s->index_ms,
           s->index_bytes);
    mem_free(v);
    free_rules(s);
}

/* ---- small things ---- */

static void bench_guard(void)
{
    static const char *const asked[] = {"9.9.9.9", "10.1.2.3", "2a00:1450::200e", "fe80::1", "64:ff9b::808:808"};

    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct addr a;
        double best = 1e9;
        unsigned refused = 0;

        must(addr_parse_host(slice_str(asked[i]), 80, &a), asked[i]);
        for (unsigned round = 0; round < ROUNDS; round++) {
            uint64_t began = now_ns();
            double ns;

            for (unsigned k = 0; k < ASKED; k++) {
                addr_set_port(&a, (uint16_t)k);
                refused += guard_refuses(GUARD_DENY, &a) != NULL;
            }
            ns = (double)(now_ns() - began) / ASKED;
            best = ns < best ? ns : best;
        }
        printf("guard=%s ns=%.0f refused=%s\n", asked[i], best, refused ? "yes" : "no");
    }
}

static void bench_regex(void)
{
    struct regex *r;
    size_t at;
    char why[REGEX_WHY];
    double best = 1e9;
    unsigned found = 0;

    if (regex_new(SLICE("^/v[12]/(users|groups)/[0-9]+$"), &r, &at, why) < 0)
        return;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t began = now_ns();
        double ns;

        for (unsigned k = 0; k < REQUESTS; k++)
            found += regex_find(r, SLICE("/v1/users/1234567")) == REGEX_YES;
        ns = (double)(now_ns() - began) / REQUESTS;
        best = ns < best ? ns : best;
    }
    printf("regex ns=%.0f found=%u\n", best, found / ROUNDS);
    regex_free(r);
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
    bench_rules(9, 1);
    bench_rules(9, 20);
    bench_rules(49, 4);
    bench_rules(49, 50);
    bench_rules(1000, 1);
    bench_rules(1000, 20);
    bench_others(1000);
    bench_lists(count_of(argc, argv, 2), 10000);
    bench_guard();
    bench_regex();
    return 0;
}
