/* SPDX-License-Identifier: MIT */
/* A set of names: it says what a look at every entry says, for names, suffixes and everything
 * between them. */
#include "policy/hosts.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "support/memfail.h"

#include "random.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { LONGEST = 254 };

static struct hosts *make(void)
{
    struct hosts *h = hosts_new();

    assert_non_null(h);
    return h;
}

static void add(struct hosts *h, const char *name)
{
    assert_int_equal(hosts_add(h, slice_str(name)), 0);
}

static void expect(const struct hosts *h, const char *host, bool in)
{
    if (hosts_has(h, slice_str(host)) != in)
        fail_msg("%s is %s", host, in ? "not found" : "found");
}

/* ---- basic ---- */

static void test_empty(void **state)
{
    struct hosts *h = make();

    UNUSED(state);
    assert_int_equal(hosts_count(h), 0);
    expect(h, "a.example", false);
    expect(h, "", false);
    assert_false(hosts_has(h, SLICE_NONE));
    hosts_free(h);
    hosts_free(NULL);
}

static void test_name(void **state)
{
    struct hosts *h = make();

    UNUSED(state);
    add(h, "a.example");
    expect(h, "a.example", true);
    expect(h, "example", false);
    expect(h, "b.a.example", false);
    expect(h, "aa.example", false);
    expect(h, "a.exampl", false);
    expect(h, "a.examplee", false);
    expect(h, ".a.example", false);
    expect(h, "a.example.", false);
    expect(h, "A.example", false); /* whoever asks has normalised */
    assert_int_equal(hosts_count(h), 1);
    hosts_free(h);
}

static void test_suffix(void **state)
{
    struct hosts *h = make();

    UNUSED(state);
    add(h, ".a.example");
    expect(h, "a.example", true);
    expect(h, "b.a.example", true);
    expect(h, "c.b.a.example", true);
    expect(h, "ba.example", false); /* not at a label's boundary */
    expect(h, "example", false);
    expect(h, "a.example.com", false);
    expect(h, "a.examplee", false);
    expect(h, "a", false);
    expect(h, "b.a.example.", false);
    assert_int_equal(hosts_count(h), 1);
    hosts_free(h);
}

static void test_top_level_suffix(void **state)
{
    struct hosts *h = make();

    UNUSED(state);
    add(h, ".example");
    expect(h, "example", true);
    expect(h, "a.example", true);
    expect(h, "a.b.c.d.example", true);
    expect(h, "anexample", false);
    expect(h, "example.a", false);
    hosts_free(h);
}

static void test_one_label(void **state)
{
    struct hosts *h = make();

    UNUSED(state);
    add(h, "localhost");
    expect(h, "localhost", true);
    expect(h, "a.localhost", false);
    expect(h, "localhos", false);
    hosts_free(h);
}

/* `name` and `.name` are two entries; each twice is still one. */
static void test_twice(void **state)
{
    struct hosts *h = make();

    UNUSED(state);
    add(h, "a.example");
    add(h, "a.example");
    assert_int_equal(hosts_count(h), 1);
    expect(h, "b.a.example", false);
    add(h, ".a.example");
    assert_int_equal(hosts_count(h), 2);
    add(h, ".a.example");
    assert_int_equal(hosts_count(h), 2);
    expect(h, "a.example", true);
    expect(h, "b.a.example", true);
    hosts_free(h);
}

static void test_copies(void **state)
{
    struct hosts *h = make();
    char name[] = "a.example";

    UNUSED(state);
    assert_int_equal(hosts_add(h, slice_of(name, sizeof(name) - 1)), 0);
    memset(name, 'x', sizeof(name) - 1);
    expect(h, "a.example", true);
    expect(h, "xxxxxxxxx", false);
    hosts_free(h);
}

/* ---- edges ---- */

static void test_lengths(void **state)
{
    struct hosts *h = make();
    char name[LONGEST + 2];

    UNUSED(state);
    memset(name, 'a', sizeof(name));
    assert_int_equal(hosts_add(h, SLICE("")), ERR_RANGE);
    assert_int_equal(hosts_add(h, SLICE(".")), ERR_RANGE);
    assert_int_equal(hosts_add(h, slice_of(name, LONGEST + 1)), ERR_RANGE);
    assert_int_equal(hosts_count(h), 0);
    for (size_t n = 1; n <= LONGEST; n++)
        assert_int_equal(hosts_add(h, slice_of(name, n)), 0);
    assert_int_equal(hosts_count(h), LONGEST);
    for (size_t n = 1; n <= LONGEST; n++)
        assert_true(hosts_has(h, slice_of(name, n)));
    assert_false(hosts_has(h, slice_of(name, 0)));
    assert_false(hosts_has(h, slice_of(name, LONGEST + 1)));
    hosts_free(h);
}

/* What is no name of ours is not in a set either, even under a suffix that is. */
static void test_too_long_for_a_suffix(void **state)
{
    struct hosts *h = make();
    char name[LONGEST + 1];

    UNUSED(state);
    add(h, ".aa");
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 2 ? '.' : 'a';
    memcpy(name + LONGEST - 3, ".aa", 3);
    assert_true(hosts_has(h, slice_of(name, LONGEST)));
    memcpy(name + LONGEST - 2, ".aa", 3);
    assert_false(hosts_has(h, slice_of(name, LONGEST + 1)));
    hosts_free(h);
}

static void assert_next(const struct hosts *h, size_t *at, const char *name, bool suffix)
{
    struct slice found;
    bool under;

    assert_true(hosts_next(h, at, &found, &under));
    assert_true(slice_eq(found, slice_str(name)));
    assert_int_equal(under, suffix);
}

/* In the order in which they came; a name and what is under it are two. */
static void test_walk(void **state)
{
    struct hosts *h = make();
    struct slice name;
    size_t at = 0;
    bool suffix;

    UNUSED(state);
    assert_false(hosts_next(h, &at, &name, &suffix));
    add(h, "b.example");
    add(h, ".a.example");
    add(h, ".b.example");
    add(h, "b.example");
    add(h, "a.example");
    assert_next(h, &at, "b.example", false);
    assert_next(h, &at, "a.example", true);
    assert_next(h, &at, "b.example", true);
    assert_next(h, &at, "a.example", false);
    assert_false(hosts_next(h, &at, &name, &suffix));
    hosts_free(h);
}

/* 127 labels of one letter: the most that a name has. */
static void test_labels(void **state)
{
    struct hosts *h = make();
    char name[253];

    UNUSED(state);
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 2 ? '.' : 'a';
    add(h, ".b");
    assert_false(hosts_has(h, slice_of(name, sizeof(name))));
    name[sizeof(name) - 1] = 'b';
    assert_true(hosts_has(h, slice_of(name, sizeof(name))));
    hosts_free(h);
    /* the first label is a suffix too: the whole name */
    h = make();
    name[sizeof(name) - 1] = 'a';
    assert_int_equal(hosts_add(h, slice_of(name, sizeof(name))), 0);
    assert_true(hosts_has(h, slice_of(name, sizeof(name))));
    assert_false(hosts_has(h, slice_of(name + 2, sizeof(name) - 2)));
    hosts_free(h);
}

/* How far a name is looked at follows the deepest suffix that there is. */
static void test_deep_suffixes(void **state)
{
    struct hosts *h = make();
    char name[253];

    UNUSED(state);
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 2 ? '.' : 'a';
    add(h, ".b.a");
    assert_false(hosts_has(h, slice_of(name, sizeof(name))));
    expect(h, "b.a", true);
    expect(h, "a.b.a", true);
    expect(h, "a.a.a.b.a", true);
    /* all labels but the first */
    assert_int_equal(hosts_add(h, slice_of(name + 1, sizeof(name) - 1)), 0);
    assert_true(hosts_has(h, slice_of(name, sizeof(name))));
    assert_true(hosts_has(h, slice_of(name + 2, sizeof(name) - 2)));
    assert_false(hosts_has(h, slice_of(name + 4, sizeof(name) - 4)));
    hosts_free(h);
}

/* Not names, but they come from outside. */
static void test_nonsense(void **state)
{
    struct hosts *h = make();
    char dots[LONGEST];

    UNUSED(state);
    memset(dots, '.', sizeof(dots));
    add(h, ".a");
    add(h, "b");
    for (size_t n = 0; n <= sizeof(dots); n++)
        assert_false(hosts_has(h, slice_of(dots, n)));
    expect(h, "..a", true);
    expect(h, "a..", false);
    assert_false(hosts_has(h, slice_of("b\0", 2)));
    assert_int_equal(hosts_add(h, slice_of("b\0", 2)), 0);
    assert_true(hosts_has(h, slice_of("b\0", 2)));
    assert_int_equal(hosts_count(h), 3);
    hosts_free(h);
}

/* ---- against the naive way ---- */

enum { MOST = 300, NAME_ROOM = 64 };

struct model {
    char entries[MOST][NAME_ROOM];
    unsigned n;
};

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static bool naive(const struct model *m, const char *host)
{
    for (unsigned i = 0; i < m->n; i++) {
        const char *e = m->entries[i];

        if (strcmp(e, host) == 0 ||
            (e[0] == '.' && (strcmp(e + 1, host) == 0 || ends_with(host, e))))
            return true;
    }
    return false;
}

static unsigned naive_count(const struct model *m)
{
    unsigned n = 0;

    for (unsigned i = 0; i < m->n; i++) {
        bool first = true;

        for (unsigned k = 0; k < i; k++)
            first = first && strcmp(m->entries[k], m->entries[i]) != 0;
        n += first;
    }
    return n;
}

/* Few letters and short labels, so that names are often equal or under one another. */
static void random_name(uint64_t *seed, char out[NAME_ROOM])
{
    unsigned labels = 1 + random_below(seed, 4), n = 0;

    for (unsigned i = 0; i < labels; i++) {
        unsigned letters = 1 + random_below(seed, 3);

        if (i)
            out[n++] = '.';
        for (unsigned k = 0; k < letters; k++)
            out[n++] = (char)('a' + random_below(seed, 3));
    }
    out[n] = '\0';
}

static void test_same_as_looking_at_all(void **state)
{
    uint64_t seed = 11;
    unsigned found = 0, asked = 0;

    UNUSED(state);
    for (unsigned round = 0; round < 60; round++) {
        static struct model m;
        struct hosts *h = make();
        char name[NAME_ROOM];

        /* nothing but names, nothing but suffixes, or both */
        unsigned suffixes = round % 5;

        for (m.n = 0; m.n < 1 + round * 5; m.n++) {
            bool suffix = random_below(&seed, 4) < suffixes;

            m.entries[m.n][0] = '.';
            random_name(&seed, name);
            snprintf(m.entries[m.n], NAME_ROOM, "%s%.50s", suffix ? "." : "", name);
            add(h, m.entries[m.n]);
        }
        assert_int_equal(hosts_count(h), naive_count(&m));
        for (unsigned i = 0; i < 500; i++) {
            random_name(&seed, name);
            expect(h, name, naive(&m, name));
            found += hosts_has(h, slice_str(name));
            asked++;
        }
        hosts_free(h);
    }
    /* Both answers were really asked for. */
    assert_in_range(found, asked / 10, asked / 10 * 9);
}

/* What one set has worked out of a host, the next ones may use: small and large ones, with deep suffixes and without, in any order. */
static void test_one_key_for_many_sets(void **state)
{
    enum { SETS = 12 };
    struct hosts *sets[SETS];
    uint64_t seed = 29;
    char name[NAME_ROOM], entry[NAME_ROOM + 1];
    unsigned found = 0;

    UNUSED(state);
    for (unsigned i = 0; i < SETS; i++) {
        sets[i] = make();
        for (unsigned k = 0; k < 1 + 7 * i; k++) {
            random_name(&seed, name);
            snprintf(entry, sizeof(entry), "%s%s", (i + k) % 3 ? "." : "", name);
            add(sets[i], entry);
        }
    }
    /* deeper than a key has room for */
    add(sets[SETS - 1], ".a.b.c.a.b.c.a.b.c.a.b.c");
    for (unsigned round = 0; round < 3000; round++) {
        struct hosts_key key = {.n = 0};

        random_name(&seed, name);
        if (round % 8 == 0)
            snprintf(name, sizeof(name), "%sa.b.c.a.b.c.a.b.c.a.b.c", round % 16 ? "x." : "");
        for (unsigned k = 0; k < 2 * SETS; k++) {
            const struct hosts *h = sets[random_below(&seed, SETS)];
            bool in = hosts_has_key(h, slice_str(name), &key);

            if (in != hosts_has(h, slice_str(name)))
                fail_msg("%s is %s", name, in ? "found" : "not found");
            found += in;
        }
    }
    assert_in_range(found, 3000, 60000);
    for (unsigned i = 0; i < SETS; i++)
        hosts_free(sets[i]);
}

/* Nothing is lost while the tables and the text grow. */
static void test_many(void **state)
{
    enum { MANY = 100000 };
    struct hosts *h = make();
    char name[NAME_ROOM];

    UNUSED(state);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "%sn%u.example", i % 2 ? "." : "", i);
        add(h, name);
    }
    assert_int_equal(hosts_count(h), MANY);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "n%u.example", i);
        expect(h, name, true);
        snprintf(name, sizeof(name), "a.n%u.example", i);
        expect(h, name, i % 2);
        snprintf(name, sizeof(name), "n%u.example", MANY + i);
        expect(h, name, false);
    }
    hosts_free(h);
}

struct hashed {
    uint64_t tag; /* what a slot keeps of the hash */
    unsigned number;
};

static int compare_tags(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;

    return (x->tag > y->tag) - (x->tag < y->tag);
}

/* Names of which a slot keeps the same half of the hash: among so many there are some thirty pairs,
 * whatever the key. */
static void test_collisions(void **state)
{
    enum { TRIED = 1 << 19 };
    struct hashed *v = mem_array(TRIED, sizeof(*v));
    unsigned pairs = 0;

    UNUSED(state);
    assert_non_null(v);
    for (unsigned i = 0; i < TRIED; i++) {
        char name[NAME_ROOM];
        int n = snprintf(name, sizeof(name), "n%u", i);

        v[i] = (struct hashed){.tag = hash_bytes(name, (size_t)n) & UINT32_MAX, .number = i};
    }
    qsort(v, TRIED, sizeof(*v), compare_tags);
    for (unsigned i = 1; i < TRIED; i++) {
        struct hosts *h;
        char a[NAME_ROOM], b[NAME_ROOM];

        if (v[i].tag != v[i - 1].tag)
            continue;
        h = make();
        snprintf(a, sizeof(a), "n%u", v[i].number);
        snprintf(b, sizeof(b), "n%u", v[i - 1].number);
        add(h, a);
        expect(h, b, false);
        add(h, b);
        assert_int_equal(hosts_count(h), 2);
        expect(h, a, true);
        expect(h, b, true);
        hosts_free(h);
        pairs++;
    }
    assert_in_range(pairs, 1, 1000);
    mem_free(v);
}

/* ---- memory ---- */

/* A refused name leaves the set as it was, and comes in when it is tried again. */
static void test_refused_memory(void **state)
{
    enum { NAMES = 64 };

    UNUSED(state);
    for (memfail_start(); memfail_next();) {
        struct hosts *h = hosts_new();
        unsigned refused = 0;
        char name[NAME_ROOM];

        if (!h) {
            assert_true(memfail_hit());
            continue;
        }
        for (unsigned i = 0; i < NAMES; i++) {
            int r;

            snprintf(name, sizeof(name), "%sa-rather-long-name-%u.example", i % 3 ? "" : ".", i);
            r = hosts_add(h, slice_str(name));
            if (r == 0)
                continue;
            assert_int_equal(r, ERR_NOMEM);
            assert_int_equal(hosts_count(h), i);
            expect(h, name + (name[0] == '.'), false);
            refused++;
            assert_int_equal(hosts_add(h, slice_str(name)), 0);
        }
        assert_int_equal(refused, memfail_hit());
        assert_int_equal(hosts_count(h), NAMES);
        for (unsigned i = 0; i < NAMES; i++) {
            snprintf(name, sizeof(name), "a-rather-long-name-%u.example", i);
            expect(h, name, true);
        }
        hosts_free(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_one_label),
        cmocka_unit_test(test_suffix),
        cmocka_unit_test(test_top_level_suffix),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_too_long_for_a_suffix),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_deep_suffixes),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_same_as_looking_at_all),
        cmocka_unit_test(test_one_key_for_many_sets),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_collisions),
        cmocka_unit_test(test_refused_memory),
    };

    hash_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
