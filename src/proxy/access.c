/* SPDX-License-Identifier: MIT */
/* access: one thread between the workers' rings and the outputs. It sleeps without a deadline when
 * nothing comes. The first record of a turn wakes it; it dozes for ACCESS_BATCH_MS, takes all there
 * is, and dozes again as long as there was something, so that workers make no system call while it
 * is up.
 *
 * How it is woken: `state` says what the thread does. A worker changes it after it put something,
 * the thread before its last look: both with one read-modify-write. Whichever is second sees the
 * other's, so no record is left lying.
 *
 * An output whose buffer is full is waited for only while the rings have room, for ACCESS_BATCH_MS
 * a round, and not again before it has taken something: what is stuck delays nobody. The data path
 * never waits for anything here.
 */
#include "proxy/access.h"

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/access_entry.h"
#include "proxy/access_format.h"
#include "proxy/access_set.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    ACCESS_SHARDS_MAX = 72, /* the workers, the house, and some to spare */
    ACCESS_SAY_RING = 1 << 17,
    ACCESS_GIVE_UP_MS = 1000,
    ACCESS_END_MS = 5000, /* at the end, for all outputs that take something now and then */
};

enum { AWAKE = 0, DOZING = 1, ASLEEP = 2 };

struct access_shard {
    struct access_log *log;
    struct ring_bytes ring;
    struct loop *loop;
    struct flush flush; /* wakes the thread at the end of the turn */
};

struct access_log {
    int wakefd;
    pthread_t thread;
    _Atomic unsigned state;
    _Atomic bool stop, reopen, switching; /* orders */
    _Atomic unsigned n_shards;
    struct access_shard *shards[ACCESS_SHARDS_MAX];
    pthread_mutex_t say_lock; /* many producers, one ring; and new shards */
    struct ring_bytes say;

    pthread_mutex_t switch_lock; /* next; `switching` is cleared under it */
    pthread_cond_t switched;
    struct access_set *next;

    /* the thread's own */
    struct access_opened diag;
    struct access_set *set, *closing; /* closing: let go of, and written out */
    uint64_t closing_until_ms;
    uint64_t now_ms, round_ms; /* the clock; when this round began */
    uint64_t end_ms;           /* nobody is waited for any longer; 0: not ending */
    struct access_totals totals;
    char scratch[ACCESS_ENTRY_MAX] __attribute__((aligned(8)));
};

static uint64_t clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- waking ---- */

static void ring_bell(struct access_log *a)
{
    uint64_t one = 1;
    ssize_t r = write(a->wakefd, &one, sizeof(one));

    UNUSED(r); /* an eventfd of ours with room: it cannot fail */
}

/* There is something. */
static void wake(struct access_log *a)
{
    if (atomic_fetch_and(&a->state, ~(unsigned)ASLEEP) & ASLEEP)
        ring_bell(a);
}

/* It cannot wait for the batch. */
static void wake_now(struct access_log *a)
{
    if (atomic_exchange(&a->state, AWAKE) != AWAKE)
        ring_bell(a);
}

/* ---- workers ---- */

static bool is_half_full(struct ring_bytes *ring)
{
    return access_ring_used(ring) >= ring->cap / 2;
}

static void shard_flush(struct flush *f)
{
    wake(CONTAINER_OF(f, struct access_shard, flush)->log);
}

struct access_shard *access_shard_new(struct access_log *a, struct loop *loop)
{
    struct access_shard *s = mem_zalloc(sizeof(*s));
    unsigned i;

    if (!s || ring_bytes_init(&s->ring, ACCESS_RING) < 0) {
        mem_free(s);
        return NULL;
    }
    s->log = a;
    s->loop = loop;
    list_init(&s->flush.link);
    s->flush.run = shard_flush;
    pthread_mutex_lock(&a->say_lock);
    i = atomic_load(&a->n_shards);
    if (i < ACCESS_SHARDS_MAX) {
        a->shards[i] = s;
        atomic_store(&a->n_shards, i + 1);
    }
    pthread_mutex_unlock(&a->say_lock);
    if (i < ACCESS_SHARDS_MAX)
        return s;
    ring_bytes_done(&s->ring);
    mem_free(s);
    return NULL;
}

bool access_put(struct access_shard *s, const struct access_record *r, uint64_t now_us)
{
    bool ok = access_entry_put(&s->ring, r, now_us);

    if (is_half_full(&s->ring))
        wake_now(s->log);
    else
        loop_flush_later(s->loop, &s->flush);
    return ok;
}

bool access_say(struct access_log *a, const char *line, size_t n)
{
    bool ok;

    pthread_mutex_lock(&a->say_lock);
    ok = access_entry_put_text(&a->say, line, n);
    pthread_mutex_unlock(&a->say_lock);
    wake(a);
    return ok;
}

/* ---- outputs ---- */

static bool any_half_full(struct access_log *a)
{
    for (unsigned i = 0; i < atomic_load(&a->n_shards); i++)
        if (is_half_full(&a->shards[i]->ring))
            return true;
    return false;
}

/* Another output writes to the same file and has not finished its line. */
static bool must_wait(const struct access_log *a, const struct access_opened *o)
{
    if (o != &a->diag && a->diag.mid_line && access_output_shared(o, &a->diag))
        return true;
    return access_set_is_amid(a->set, o) || access_set_is_amid(a->closing, o);
}

static void flush_output(struct access_log *a, struct access_opened *o)
{
    if (access_output_pending(o) && !must_wait(a, o))
        access_output_flush(o, a->now_ms, &a->totals);
}

static void flush_set(struct access_log *a, struct access_set *s)
{
    for (unsigned i = 0; s && i < s->n; i++)
        flush_output(a, &s->v[i]);
}

static void count_failing(struct access_log *a)
{
    atomic_store_explicit(&a->totals.failing, access_set_failing(a->set), memory_order_relaxed);
}

static void flush_all(struct access_log *a)
{
    flush_set(a, a->closing);
    flush_set(a, a->set);
    flush_output(a, &a->diag);
    count_failing(a);
}

/* How long this output may still be waited for: see the top. At the end there is nobody left to be
 * delayed. */
static int patience_ms(struct access_log *a, const struct access_opened *o)
{
    uint64_t until = a->round_ms + ACCESS_BATCH_MS;

    if (o->broken || o->full)
        return 0;
    if (atomic_load(&a->stop)) {
        if (!a->end_ms)
            a->end_ms = a->now_ms + ACCESS_END_MS;
        until = (o->moved_ms > a->round_ms ? o->moved_ms : a->round_ms) + ACCESS_GIVE_UP_MS;
        until = until < a->end_ms ? until : a->end_ms;
    } else if (any_half_full(a)) {
        return 0;
    }
    return until > a->now_ms ? (int)(until - a->now_ms) : 0;
}

static bool wait_for_output(struct access_log *a, struct access_opened *o)
{
    struct pollfd pf = {.fd = o->fd, .events = POLLOUT};
    int wait = must_wait(a, o) ? 0 : patience_ms(a, o), n = wait ? poll(&pf, 1, wait) : 0;

    a->now_ms = clock_ms();
    return n > 0 || (n < 0 && errno == EINTR);
}

static char *room_for_line(struct access_log *a, struct access_opened *o)
{
    char *p = access_output_room(o, ACCESS_LINE_MAX);

    /* Each round takes a byte at least, or waits until the patience is used up. */
    while (!p) {
        flush_output(a, o);
        p = access_output_room(o, ACCESS_LINE_MAX);
        if (!p && !wait_for_output(a, o))
            return NULL;
    }
    return p;
}

/* ---- what comes ---- */

static void write_record(struct access_log *a, const struct access_entry *e)
{
    struct access_record r;
    struct match_facts facts;
    uint64_t now_us;

    if (!a->set)
        return;
    access_entry_record(e, &r, &now_us);
    facts = access_set_facts(&r);
    for (unsigned i = 0; i < a->set->n; i++) {
        struct access_opened *o = &a->set->v[i];
        char *p;

        if (!access_set_takes(o->spec, &r, &facts))
            continue;
        p = room_for_line(a, o);
        if (p)
            access_output_added(o, access_format(o->spec->layout, &r, now_us, p, ACCESS_LINE_MAX));
        else
            access_output_lose(o, &a->totals);
    }
}

/* A line of the diagnostics that has no room is dropped. */
static void write_text(struct access_log *a, const struct access_entry *e)
{
    struct slice text = access_entry_text(e);
    bool ended = text.n && text.p[text.n - 1] == '\n';
    char *p = text.n ? room_for_line(a, &a->diag) : NULL;

    if (!text.n)
        return;
    if (!p) {
        a->diag.full = true;
        return;
    }
    /* room_for_line gave ACCESS_LINE_MAX: the last byte of a line as long as that, without an end,
     * makes place for one */
    memcpy(p, text.p, text.n);
    if (!ended)
        p[min_size(text.n, ACCESS_LINE_MAX - 1)] = '\n';
    access_output_added(&a->diag, ended ? text.n : min_size(text.n + 1, ACCESS_LINE_MAX));
}

/* What was there when it was looked at, so that a busy ring does not keep the others waiting. */
static bool drain_ring(struct access_log *a, struct ring_bytes *ring,
                       void (*take)(struct access_log *a, const struct access_entry *e))
{
    size_t left = access_ring_used(ring);
    bool any = left > 0;
    struct access_entry e;

    while (left && access_entry_next(ring, a->scratch, &e)) {
        left -= min_size(left, e.n);
        take(a, &e);
        access_entry_drop(ring, &e);
    }
    return any;
}

static bool drain_all(struct access_log *a)
{
    bool any = drain_ring(a, &a->say, write_text);

    for (unsigned i = 0; i < atomic_load(&a->n_shards); i++)
        any |= drain_ring(a, &a->shards[i]->ring, write_record);
    return any;
}

static bool is_any_there(struct access_log *a)
{
    bool any = access_ring_used(&a->say) > 0;

    for (unsigned i = 0; i < atomic_load(&a->n_shards); i++)
        any |= access_ring_used(&a->shards[i]->ring) > 0;
    return any;
}

/* ---- sets ---- */

int access_open(const struct access_output *v, unsigned n, struct access_set **ret_set,
                unsigned *ret_failed)
{
    return access_set_open(v, n, ret_set, ret_failed);
}

void access_close(struct access_set *s)
{
    struct access_totals nobody = {0};

    access_set_free(s, &nobody);
}

void access_switch(struct access_log *a, struct access_set *s)
{
    pthread_mutex_lock(&a->switch_lock);
    while (atomic_load(&a->switching))
        pthread_cond_wait(&a->switched, &a->switch_lock);
    a->next = s;
    atomic_store(&a->switching, true);
    wake_now(a);
    while (atomic_load(&a->switching))
        pthread_cond_wait(&a->switched, &a->switch_lock);
    pthread_cond_broadcast(&a->switched);
    pthread_mutex_unlock(&a->switch_lock);
}

static void begin_switch(struct access_log *a)
{
    pthread_mutex_lock(&a->switch_lock);
    a->closing = a->set;
    a->set = a->next;
    a->next = NULL;
    pthread_mutex_unlock(&a->switch_lock);
    access_set_hand_over(a->closing, a->set);
    for (unsigned i = 0; a->closing && i < a->closing->n; i++)
        a->closing->v[i].retry_ms = 0; /* one last try */
    a->closing_until_ms = a->now_ms + ACCESS_GIVE_UP_MS;
}

static void end_switch(struct access_log *a)
{
    access_set_free(a->closing, &a->totals);
    a->closing = NULL;
    count_failing(a);
    pthread_mutex_lock(&a->switch_lock);
    atomic_store(&a->switching, false);
    pthread_cond_broadcast(&a->switched);
    pthread_mutex_unlock(&a->switch_lock);
}

/* ---- reopening ---- */

void access_reopen(struct access_log *a)
{
    atomic_store(&a->reopen, true);
    wake_now(a);
}

static void reopen_all(struct access_log *a)
{
    char text[ADDR_TEXT_MAX];

    for (unsigned i = 0; a->set && i < a->set->n; i++) {
        struct access_opened *o = &a->set->v[i];
        int r = access_output_reopen(o, a->now_ms, &a->totals);

        if (r < 0)
            log_warn("cannot open the access log %s anew: %s; the old one is used on",
                     access_output_name(o->spec, text), err_text(r));
    }
}

/* ---- the thread ---- */

struct polls {
    struct pollfd v[2 * ACCESS_OUTPUTS_MAX + 2];
    unsigned n;
    uint64_t until_ms; /* UINT64_MAX: nothing is due */
};

static void await_output(struct polls *p, const struct access_opened *o)
{
    if (!access_output_pending(o))
        return;
    if (o->broken)
        p->until_ms = o->retry_ms < p->until_ms ? o->retry_ms : p->until_ms;
    else
        p->v[p->n++] = (struct pollfd){.fd = o->fd, .events = POLLOUT};
}

static void await_set(const struct access_log *a, struct polls *p, const struct access_set *s)
{
    for (unsigned i = 0; s && i < s->n; i++)
        if (!must_wait(a, &s->v[i]))
            await_output(p, &s->v[i]);
}

/* Waits until `until_ms`, or an output is ready, or the bell rings: then true. */
static bool wait_until(struct access_log *a, uint64_t until_ms)
{
    struct polls p = {.n = 1, .until_ms = until_ms};
    uint64_t n;
    int wait;

    p.v[0] = (struct pollfd){.fd = a->wakefd, .events = POLLIN};
    await_set(a, &p, a->set);
    await_set(a, &p, a->closing);
    if (!must_wait(a, &a->diag))
        await_output(&p, &a->diag);
    if (a->closing && a->closing_until_ms < p.until_ms)
        p.until_ms = a->closing_until_ms;
    wait = p.until_ms == UINT64_MAX ? -1
           : p.until_ms > a->now_ms ? (int)(p.until_ms - a->now_ms)
                                    : 0;
    poll(p.v, p.n, wait);
    a->now_ms = clock_ms();
    return (p.v[0].revents & POLLIN) && read(a->wakefd, &n, sizeof(n)) > 0;
}

static bool has_orders(const struct access_log *a)
{
    return atomic_load(&a->stop) || atomic_load(&a->reopen) ||
           (atomic_load(&a->switching) && !access_set_has_work(a->closing));
}

/* Lets a batch come together. */
static void doze(struct access_log *a)
{
    uint64_t until = a->now_ms + ACCESS_BATCH_MS;
    bool rung = false;

    atomic_exchange(&a->state, DOZING);
    while (!rung && a->now_ms < until && !has_orders(a) && !any_half_full(a)) {
        rung = wait_until(a, until);
        flush_all(a);
    }
    atomic_exchange(&a->state, AWAKE);
}

/* Until there is something. */
static void sleep_on(struct access_log *a)
{
    bool rung = false;

    atomic_exchange(&a->state, ASLEEP);
    while (!rung && !is_any_there(a) && !has_orders(a) &&
           !(a->closing && a->now_ms >= a->closing_until_ms)) {
        rung = wait_until(a, UINT64_MAX);
        flush_all(a);
    }
    atomic_exchange(&a->state, AWAKE);
}

static void obey(struct access_log *a)
{
    if (atomic_exchange(&a->reopen, false))
        reopen_all(a);
    if (atomic_load(&a->switching) && !a->closing)
        begin_switch(a);
    flush_set(a, a->closing);
    if (atomic_load(&a->switching) &&
        (!access_set_has_work(a->closing) || a->now_ms >= a->closing_until_ms))
        end_switch(a);
}

/* Writes what there is to write; an output that takes nothing for a second is given up. */
static void write_out(struct access_log *a, struct access_opened *o)
{
    flush_output(a, o);
    while (access_output_pending(o) && wait_for_output(a, o))
        flush_output(a, o);
}

static void finish(struct access_log *a)
{
    a->round_ms = a->now_ms = clock_ms();
    if (atomic_load(&a->switching))
        end_switch(a);
    for (unsigned i = 0; a->set && i < a->set->n; i++) {
        a->set->v[i].retry_ms = 0;
        a->set->v[i].full = false;
    }
    while (drain_all(a)) {
        /* the workers have stopped: this ends */
    }
    /* Twice: one may have waited for the end of another's line. */
    for (unsigned i = 0; a->set && i < 2 * a->set->n; i++)
        write_out(a, &a->set->v[i % a->set->n]);
    drain_all(a); /* what was said about it */
    a->diag.full = false;
    write_out(a, &a->diag);
}

static void *access_thread(void *arg)
{
    struct access_log *a = arg;

    pthread_setname_np(pthread_self(), "ginnel-log");
    a->now_ms = clock_ms();
    while (!atomic_load(&a->stop)) {
        bool any;

        a->round_ms = a->now_ms;
        obey(a);
        any = drain_all(a);
        flush_all(a);
        if (!any)
            sleep_on(a);
        doze(a);
    }
    finish(a);
    return NULL;
}

/* ---- all of it ---- */

struct access_counts access_counts(const struct access_log *a)
{
    return (struct access_counts){
        .written = atomic_load_explicit(&a->totals.written, memory_order_relaxed),
        .lost = atomic_load_explicit(&a->totals.lost, memory_order_relaxed),
        .failing = atomic_load_explicit(&a->totals.failing, memory_order_relaxed),
    };
}

struct access_log *access_new(int diagnostics)
{
    struct access_log *a = mem_zalloc(sizeof(*a));

    if (!a)
        return NULL;
    pthread_mutex_init(&a->say_lock, NULL);
    pthread_mutex_init(&a->switch_lock, NULL);
    pthread_cond_init(&a->switched, NULL);
    a->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (a->wakefd < 0 || ring_bytes_init(&a->say, ACCESS_SAY_RING) < 0)
        goto fail;
    if (access_output_borrow(&a->diag, diagnostics) < 0)
        goto fail_ring;
    if (pthread_create(&a->thread, NULL, access_thread, a))
        goto fail_diag;
    return a;

fail_diag:
    access_output_done(&a->diag, &a->totals);
fail_ring:
    ring_bytes_done(&a->say);
fail:
    if (a->wakefd >= 0)
        close(a->wakefd);
    pthread_cond_destroy(&a->switched);
    pthread_mutex_destroy(&a->switch_lock);
    pthread_mutex_destroy(&a->say_lock);
    mem_free(a);
    return NULL;
}

void access_free(struct access_log *a)
{
    if (!a)
        return;
    atomic_store(&a->stop, true);
    wake_now(a);
    pthread_join(a->thread, NULL);
    access_set_free(a->set, &a->totals);
    for (unsigned i = 0; i < atomic_load(&a->n_shards); i++) {
        ring_bytes_done(&a->shards[i]->ring);
        mem_free(a->shards[i]);
    }
    access_output_done(&a->diag, &a->totals);
    ring_bytes_done(&a->say);
    close(a->wakefd);
    pthread_cond_destroy(&a->switched);
    pthread_mutex_destroy(&a->switch_lock);
    pthread_mutex_destroy(&a->say_lock);
    mem_free(a);
}
