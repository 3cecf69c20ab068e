/* SPDX-License-Identifier: MIT */
/* mem: the only room that calls malloc. Everybody else comes here, so that a test can refuse any
 * single allocation and see what its caller makes of it. In production no gate is set and each call
 * is malloc, one load, and an addition to the thread's own counter. It must never abort: a refusal is
 * the caller's to handle.
 *
 * Counting: what a block adds is what malloc_usable_size says, at its end as at its beginning, so that
 * a block needs no header. Each thread writes its own counter only; a block that moved to another
 * counted thread makes one of them too high and the other as much too low, and the sum is right.
 */
#include "base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool (*_Atomic the_gate)(void);

static inline bool refused(void)
{
    bool (*gate)(void) = atomic_load_explicit(&the_gate, memory_order_relaxed);

    return UNLIKELY(gate != NULL) && !gate();
}

/* ---- counting ---- */

/* Of its own cache line: its thread writes it all the time. */
struct tally {
    _Alignas(64) _Atomic int64_t held;
};

/* A place a thread, never given back, so that what an ended thread leaves behind stays in the sum. Threads beyond them share the
 * last one. */
static struct tally tallies[MEM_COUNTED_THREADS + 1];
static _Atomic unsigned n_tallies;

static _Thread_local struct tally *mine; /* where this thread counts; NULL: it has not said that it does */
static _Thread_local struct tally *own;  /* its place, once it has one */

static void tally_add(struct tally *t, int64_t n)
{
    if (UNLIKELY(t == &tallies[MEM_COUNTED_THREADS])) {
        atomic_fetch_add_explicit(&t->held, n, memory_order_relaxed);
        return;
    }
    /* One writer: a plain load and store, no locked instruction. */
    atomic_store_explicit(&t->held, atomic_load_explicit(&t->held, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void *came(void *p)
{
    if (mine)
        tally_add(mine, (int64_t)malloc_usable_size(p));
    return p;
}

static inline void goes(void *p)
{
    if (mine)
        tally_add(mine, -(int64_t)malloc_usable_size(p));
}

static struct tally *take_tally(void)
{
    unsigned i = atomic_fetch_add(&n_tallies, 1);

    return &tallies[i < MEM_COUNTED_THREADS ? i : MEM_COUNTED_THREADS];
}

bool mem_count(bool on)
{
    bool was = mine != NULL;

    if (on && !own)
        own = take_tally();
    mine = on ? own : NULL;
    return was;
}

uint64_t mem_counted(void)
{
    unsigned n = atomic_load(&n_tallies);
    int64_t sum = 0;

    if (n > MEM_COUNTED_THREADS)
        n = MEM_COUNTED_THREADS + 1;
    for (unsigned i = 0; i < n; i++)
        sum += atomic_load_explicit(&tallies[i].held, memory_order_relaxed);
    return sum > 0 ? (uint64_t)sum : 0;
}

/* ---- allocating ---- */

enum { ZALLOC_SMALL = 1024 };

/* malloc(0) may be NULL, which here would read as a refusal. */
static inline size_t at_least_one(size_t n)
{
    return n ? n : 1;
}

void *mem_alloc(size_t n)
{
    if (refused())
        return NULL;
    return came(malloc(at_least_one(n)));
}

void *mem_zalloc(size_t n)
{
    if (refused())
        return NULL;
    /* calloc passes by malloc's cache of the thread, which is what makes small blocks cheap. */
    if (n <= ZALLOC_SMALL) {
        void *p = malloc(at_least_one(n));

        return p ? came(memset(p, 0, n)) : NULL;
    }
    return came(calloc(1, n));
}

void *mem_array(size_t n, size_t size)
{
    /* calloc would see it too, but some checkers stop the program there. */
    if (size && n > SIZE_MAX / size)
        return NULL;
    if (refused())
        return NULL;
    return came(calloc(at_least_one(n), at_least_one(size)));
}

void *mem_grow(void *p, size_t n)
{
    size_t before;
    void *q;

    if (refused())
        return NULL;
    before = mine ? malloc_usable_size(p) : 0;
    q = realloc(p, at_least_one(n));
    if (q && mine)
        tally_add(mine, (int64_t)malloc_usable_size(q) - (int64_t)before);
    return q;
}

char *mem_dup(const void *p, size_t n)
{
    char *copy = n < SIZE_MAX ? mem_alloc(n + 1) : NULL;

    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void mem_free(void *p)
{
    goes(p);
    free(p);
}

void mem_set_gate(bool (*gate)(void))
{
    atomic_store_explicit(&the_gate, gate, memory_order_relaxed);
}

void mem_free_texts(char **v)
{
    for (unsigned i = 0; v && v[i]; i++)
        mem_free(v[i]);
    mem_free(v);
}

char **mem_dup_texts(const char *const *from)
{
    unsigned n = 0;
    char **v;

    while (from[n])
        n++;
    v = mem_array(n + 1, sizeof(*v));
    for (unsigned i = 0; v && i < n; i++) {
        v[i] = mem_dup(from[i], strlen(from[i]));
        if (!v[i]) {
            mem_free_texts(v);
            return NULL;
        }
    }
    return v;
}
