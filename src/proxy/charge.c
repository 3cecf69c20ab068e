/* SPDX-License-Identifier: MIT */
/* charge: counts an exchange's bytes and says when it has to end. Called by the relay's pumps for exchanges that a limit is about. When a quota is used up
 * the worker that sees it tells all others, so that quiet tunnels end too; nobody looks at a clock for that.
 */
#include "proxy/charge.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "proxy/worker.h"

#include <string.h>

/* ---- a worker's side ---- */

void charger_init(struct charger *c, struct loop *loop, struct stats *stats, struct charge_table *table)
{
    c->table = table;
    shape_init(&c->shape, loop, stats);
    list_init(&c->quotas);
}

void charger_done(struct charger *c)
{
    CHECK(list_empty(&c->quotas));
    for (unsigned i = 0; i < CHARGE_NEAR; i++)
        charge_unpin(&c->near[i].bucket);
    while (c->n_spare)
        mem_free(c->spare[--c->n_spare]);
    shape_done(&c->shape);
}

/* No secret: who makes keys fall together only takes the short way from himself. */
static struct charge_near *near_of(struct charger *c, uint64_t limit, struct slice key)
{
    uint64_t h = limit ^ key.n;

    for (size_t i = 0; i < key.n; i++)
        h = (h ^ (unsigned char)key.p[i]) * UINT64_C(0x100000001b3);
    return &c->near[(h ^ h >> 32) % CHARGE_NEAR];
}

struct charge_bucket *charger_pin(struct charger *c, uint64_t limit, struct slice key)
{
    const struct loop *loop = c->shape.loop;
    struct charge_near *near = key.n <= CHARGE_NEAR_KEY ? near_of(c, limit, key) : NULL;
    struct charge_bucket *b;

    if (near && near->bucket && near->limit == limit && near->n == key.n && (!key.n || memcmp(near->key, key.p, key.n) == 0)) {
        charge_pin_again(near->bucket);
        return near->bucket;
    }
    b = charge_pin(c->table, limit, key, loop->now_us, loop->wall_ms);
    /* A shared one is left to those who must have it: there may be a place of one's own the next time. */
    if (!b || !near || charge_bucket_shared(b))
        return b;
    charge_unpin(&near->bucket);
    charge_pin_again(b);
    *near = (struct charge_near){.bucket = b, .limit = limit, .n = (uint8_t)key.n};
    if (key.n)
        memcpy(near->key, key.p, key.n);
    return b;
}

const struct charge_span *charger_span(struct charger *c, enum limit_span span)
{
    struct charge_span *s = &c->spans[span];
    uint64_t wall_ms = c->shape.loop->wall_ms;

    if (wall_ms < s->from_ms || wall_ms >= s->end_ms)
        *s = charge_span_at(span, wall_ms);
    return s;
}

static void wake_over(struct charger *c)
{
    LIST_EACH(it, &c->quotas)
    task_wake(LIST_ENTRY(it, struct charge, link)->up.task, TASK_GONE);
}

static void told(struct msg *m, struct loop *loop)
{
    struct charger *c = CONTAINER_OF(m, struct charger, msg);

    UNUSED(loop);
    atomic_store(&c->posted, false);
    wake_over(c);
}

/* Those that are woken look for themselves. */
static void tell_all(struct charger *c)
{
    struct worker *w = CONTAINER_OF(c, struct worker, charger);

    wake_over(c);
    for (unsigned i = 0; i < w->n_peers; i++) {
        struct worker *other = w->peers[i];

        if (other == w || atomic_load(&other->stopped) || atomic_exchange(&other->charger.posted, true))
            continue;
        other->charger.msg.run = told;
        if (!loop_post(&other->loop, &other->charger.msg))
            atomic_store(&other->charger.posted, false);
    }
}

/* ---- life ---- */

static void begin(struct charge *c)
{
    c->over = END_NONE;
    c->over_title = NULL;
    c->upload.moved = c->download.moved = 0;
}

struct charge *charge_new(struct charger *charger, struct task *task)
{
    struct charge *c = charger->n_spare ? charger->spare[--charger->n_spare] : mem_alloc(sizeof(*c));

    if (!c)
        return NULL;
    /* What is not said here is written before it is read. */
    c->charger = charger;
    c->pins = c->first;
    c->n = 0;
    c->cap = CHARGE_FIRST;
    c->upload.most = c->download.most = UINT64_MAX;
    c->upload.title[0] = c->download.title[0] = '\0';
    begin(c);
    list_init(&c->link);
    shape_gate_init(&c->up, task);
    shape_gate_init(&c->down, task);
    return c;
}

void charge_free(struct charge **cp)
{
    struct charge *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    shape_gate_done(&c->charger->shape, &c->up);
    shape_gate_done(&c->charger->shape, &c->down);
    list_del(&c->link);
    for (unsigned i = 0; i < c->n; i++) {
        if (c->pins[i].tunnel)
            charge_tunnel_end(c->pins[i].bucket);
        charge_unpin(&c->pins[i].bucket);
    }
    if (c->pins != c->first)
        mem_free(c->pins);
    if (c->charger->n_spare < CHARGE_SPARE)
        c->charger->spare[c->charger->n_spare++] = c;
    else
        mem_free(c);
}

void charge_rest(struct charge *c)
{
    shape_gate_rest(&c->charger->shape, &c->up);
    shape_gate_rest(&c->charger->shape, &c->down);
    list_del(&c->link);
    begin(c);
}

void charge_resume(struct charge *c, struct task *task)
{
    bool counts = false;

    c->up.task = c->down.task = task;
    for (unsigned i = 0; i < c->n; i++)
        counts |= c->pins[i].quota != 0;
    if (counts)
        list_push(&c->charger->quotas, &c->link);
}

void charge_title(const struct limit *l, char out[CHARGE_TITLE])
{
    const char *title = l->name ? l->name : l->place ? l->place : "";
    size_t n = strlen(title), from = n < CHARGE_TITLE ? 0 : n - (CHARGE_TITLE - 1);

    memcpy(out, title + from, n - from + 1);
}

static struct charge_pin *pin_new(struct charge *c)
{
    enum { MORE = 2 };
    struct charge_pin *v;

    if (c->n == c->cap) {
        v = mem_grow(c->pins == c->first ? NULL : c->pins, (c->cap + MORE) * sizeof(*v));
        if (!v)
            return NULL;
        if (c->pins == c->first)
            memcpy(v, c->first, sizeof(c->first));
        c->pins = v;
        c->cap += MORE;
    }
    return &c->pins[c->n++];
}

/* `slow` counts from when the quota is used up. */
static int add_flows(struct charge *c, const struct limit *l, struct charge_bucket *b)
{
    const struct {
        enum charge_flow flow;
        uint64_t rate;
        bool up, down;
    } flows[] = {
        {FLOW_BOTH, l->bandwidth, true, true},
        {FLOW_UP, l->bandwidth_up, true, false},
        {FLOW_DOWN, l->bandwidth_down, false, true},
        {FLOW_SLOW, l->quota && l->slow ? CHARGE_SLOW : 0, true, true},
    };
    struct shape *s = &c->charger->shape;
    int r = 0;

    for (unsigned i = 0; i < ARRAY_LEN(flows) && r == 0; i++) {
        if (flows[i].rate && flows[i].up)
            r = shape_gate_add(s, &c->up, b, flows[i].flow, flows[i].rate);
        if (r == 0 && flows[i].rate && flows[i].down)
            r = shape_gate_add(s, &c->down, b, flows[i].flow, flows[i].rate);
    }
    return r;
}

int charge_add(struct charge *c, const struct limit *l, struct charge_bucket **b, bool tunnel)
{
    struct charge_pin *p = pin_new(c);

    if (!p) {
        if (tunnel)
            charge_tunnel_end(*b);
        charge_unpin(b);
        return ERR_NOMEM;
    }
    *p = (struct charge_pin){.bucket = *b, .quota = l->quota, .span = l->span, .slow = l->slow, .tunnel = tunnel};
    *b = NULL;
    charge_title(l, p->title);
    if (l->quota && list_empty(&c->link))
        list_push(&c->charger->quotas, &c->link);
    return add_flows(c, l, p->bucket);
}

void charge_cap(struct charge *c, const struct limit *l)
{
    if (l->upload && l->upload < c->upload.most) {
        c->upload.most = l->upload;
        charge_title(l, c->upload.title);
    }
    if (l->download && l->download < c->download.most) {
        c->download.most = l->download;
        charge_title(l, c->download.title);
    }
}

/* ---- while bytes move ---- */

static void end(struct charge *c, enum end_reason reason, const char *title)
{
    if (c->over != END_NONE)
        return;
    c->over = reason;
    c->over_title = title;
}

/* What has been got without the slow lanes goes back to the others only. */
static void slow_down(struct charge *c, bool slow)
{
    struct shape_gate *g[] = {&c->up, &c->down};

    for (unsigned i = 0; i < ARRAY_LEN(g); i++)
        if (g[i]->slow != slow && !shape_waits(g[i])) {
            shape_quiet(&c->charger->shape, g[i]);
            g[i]->slow = slow;
        }
}

static void look(struct charge *c)
{
    uint64_t wall_ms = c->charger->shape.loop->wall_ms;
    bool slow = false;

    for (unsigned i = 0; i < c->n; i++) {
        struct charge_pin *p = &c->pins[i];

        if (!p->quota || charge_quota_look(p->bucket, charger_span(c->charger, p->span), wall_ms) <= p->quota)
            continue;
        if (!atomic_exchange_explicit(&p->bucket->quota_told, true, memory_order_relaxed))
            tell_all(c->charger);
        if (p->slow)
            slow = true;
        else
            end(c, END_QUOTA, p->title);
    }
    slow_down(c, slow);
}

/* One byte more than the cap is let in: only that tells whether there is more. */
static uint64_t cap_left(uint64_t most, uint64_t moved)
{
    return most == UINT64_MAX ? UINT64_MAX : most - moved + 1;
}

uint64_t charge_allow(struct charge *c, bool up)
{
    struct shape_gate *g = up ? &c->up : &c->down;
    uint64_t cap = up ? cap_left(c->upload.most, c->upload.moved) : cap_left(c->download.most, c->download.moved), allow;

    if (!list_empty(&c->link))
        look(c);
    if (c->over != END_NONE)
        return 0;
    allow = shape_ask(&c->charger->shape, g);
    return allow < cap ? allow : cap;
}

static void count(struct charge *c, uint64_t n)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->pins[i].quota)
            charge_quota_add(c->pins[i].bucket, n);
    charge_table_changed(c->charger->table);
    look(c);
}

void charge_moved(struct charge *c, bool up, uint64_t n)
{
    if (!n)
        return;
    shape_used(up ? &c->up : &c->down, n);
    if (up) {
        c->upload.moved += n;
        if (c->upload.moved > c->upload.most)
            end(c, END_UPLOAD_CAP, c->upload.title);
    } else {
        c->download.moved += n;
        if (c->download.moved > c->download.most)
            end(c, END_DOWNLOAD_CAP, c->download.title);
    }
    if (!list_empty(&c->link))
        count(c, n);
}

void charge_quiet(struct charge *c, bool up)
{
    shape_quiet(&c->charger->shape, up ? &c->up : &c->down);
}
