/* SPDX-License-Identifier: MIT */
/* wheel: timers in slots, each level eight times as coarse and as far-reaching as the one below.
 * Called by the loop with the time that the loop has read. A node's time is rounded up to its
 * level's slot, which is why it is never early and why it can stay there until it is due. A bit a
 * slot says where nodes are, so that neither the next deadline nor a jump of the clock costs more
 * than a look at 28 words. It must never call anybody: the loop pops nodes and runs them.
 */
#include "base/wheel.h"

#include "base/check.h"

enum { WORD = 64, WORDS = WHEEL_SLOTS / WORD, LAST = WHEEL_LEVELS - 1 };

/* The slot that contains `now` is behind us already, so any distance up to 255 slots fits wherever
 * now is in it. */
static const uint64_t DISTANCE_MAX = (uint64_t)(WHEEL_SLOTS - 1) << 3 * LAST;

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    *w = (struct wheel){.now = now_ms};
    for (size_t i = 0; i < ARRAY_LEN(w->slot); i++)
        list_init(&w->slot[i]);
    list_init(&w->due);
}

void wheel_node_init(struct wheel_node *n)
{
    *n = (struct wheel_node){0};
    list_init(&n->link);
}

static inline uint64_t *map_word(struct wheel *w, unsigned slot)
{
    return &w->map[slot / WHEEL_SLOTS][slot % WHEEL_SLOTS / WORD];
}

static inline uint64_t map_bit(unsigned slot)
{
    return (uint64_t)1 << slot % WORD;
}

void wheel_del(struct wheel *w, struct wheel_node *n)
{
    if (!wheel_armed(n))
        return;
    list_del(&n->link);
    w->n--;
    /* Right for a node on the due list too: its slot is empty, or another's and then not empty. */
    if (list_empty(&w->slot[n->slot]))
        *map_word(w, n->slot) &= ~map_bit(n->slot);
}

/* The finest slot at or after `due`, which lies ahead of now. Slots (b, b + 256] of a level are
 * free to use. */
static unsigned slot_for(const struct wheel *w, uint64_t due)
{
    uint64_t last = due - 1; /* ceil(due / g) = floor((due - 1) / g) + 1 */
    unsigned level;

    if (last - w->now >= DISTANCE_MAX)
        last = w->now + DISTANCE_MAX - 1;
    for (level = 0; level < LAST; level++)
        if ((last >> 3 * level) - (w->now >> 3 * level) < WHEEL_SLOTS)
            break;
    return level * WHEEL_SLOTS + (unsigned)(((last >> 3 * level) + 1) % WHEEL_SLOTS);
}

void wheel_set(struct wheel *w, struct wheel_node *n, uint64_t due_ms)
{
    wheel_del(w, n);
    w->n++;
    n->due = due_ms;
    if (due_ms <= w->now) {
        list_push(&w->due, &n->link);
        return;
    }
    n->slot = (uint16_t)slot_for(w, due_ms);
    list_push(&w->slot[n->slot], &n->link);
    *map_word(w, n->slot) |= map_bit(n->slot);
}

/* How many slots lie between `from` and the first used one at or after it, going round;
 * WHEEL_SLOTS: none is used. */
static unsigned gap(const uint64_t map[WORDS], unsigned from)
{
    unsigned at = from % WORD;
    uint64_t word = map[from / WORD] >> at;

    if (word)
        return (unsigned)__builtin_ctzll(word);
    /* The last round sees the first word again, for the bits below `at`. */
    for (unsigned i = 1; i <= WORDS; i++) {
        word = map[(from / WORD + i) % WORDS];
        if (word)
            return i * WORD - at + (unsigned)__builtin_ctzll(word);
    }
    return WHEEL_SLOTS;
}

static inline unsigned first_ahead(uint64_t tick)
{
    return (unsigned)((tick + 1) % WHEEL_SLOTS);
}

uint64_t wheel_next(const struct wheel *w)
{
    uint64_t next = UINT64_MAX;

    if (!list_empty(&w->due))
        return w->now;
    if (w->n == 0)
        return UINT64_MAX;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t tick = w->now >> 3 * level;
        unsigned ahead = gap(w->map[level], first_ahead(tick));
        uint64_t at = (tick + 1 + ahead) << 3 * level;

        if (ahead < WHEEL_SLOTS && at < next)
            next = at;
    }
    return next;
}

/* Moves to the due list what lies in the `count` slots after `tick`. */
static void expire(struct wheel *w, unsigned level, uint64_t tick, uint64_t count)
{
    unsigned from = first_ahead(tick);

    for (;;) {
        unsigned ahead = gap(w->map[level], from);
        unsigned slot = level * WHEEL_SLOTS + (from + ahead) % WHEEL_SLOTS;

        /* Each turn but the last clears a bit: at most 257 turns, however far the clock has jumped.
         */
        if (ahead >= WHEEL_SLOTS || ahead >= count)
            return;
        list_splice(&w->due, &w->slot[slot]);
        *map_word(w, slot) &= ~map_bit(slot);
    }
}

static void advance(struct wheel *w, uint64_t now_ms)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t tick = w->now >> 3 * level;
        uint64_t passed = (now_ms >> 3 * level) - tick;

        if (passed == 0)
            break; /* nor has any coarser level moved */
        expire(w, level, tick, passed);
    }
    w->now = now_ms;
}

struct wheel_node *wheel_pop(struct wheel *w, uint64_t now_ms)
{
    struct list *l;

    if (list_empty(&w->due) && now_ms > w->now)
        advance(w, now_ms);
    l = list_pop(&w->due);
    if (!l)
        return NULL;
    w->n--;
    return LIST_ENTRY(l, struct wheel_node, link);
}
