/* SPDX-License-Identifier: MIT */
/* denials: a ring of copies under a lock. Written by step log and where a tunnel begins, read by the house. It never allocates after its beginning.
 */
#include "proxy/denials.h"

#include "base/mem.h"
#include "policy/explain.h"

#include <pthread.h>
#include <string.h>

struct denials {
    pthread_mutex_t lock;
    uint64_t total;
    struct denial v[DENIALS_MAX];
};

/* What is kept of each string; together they are DENIAL_TEXT at most. */
static const struct {
    uint16_t at, max;
} kept[] = {
    {offsetof(struct access_record, method), ACCESS_METHOD_MAX}, {offsetof(struct access_record, host), 255},
    {offsetof(struct access_record, path), 160},                 {offsetof(struct access_record, listener), 64},
    {offsetof(struct access_record, rule), 128},                 {offsetof(struct access_record, would), 128},
    {offsetof(struct access_record, user), ACCESS_USER_MAX},     {offsetof(struct access_record, groups), ACCESS_USER_MAX},
    {offsetof(struct access_record, labels), ACCESS_USER_MAX},   {offsetof(struct access_record, granted), ACCESS_USER_MAX},
    {offsetof(struct access_record, sni), 255},
};
_Static_assert(ACCESS_METHOD_MAX + 255 + 160 + 64 + 2 * 128 + 4 * ACCESS_USER_MAX + 255 <= DENIAL_TEXT, "they fit");

static struct slice *string_of(struct access_record *r, size_t i)
{
    return (struct slice *)(void *)((char *)r + kept[i].at);
}

/* Strings follow their denial when it is copied. */
static void move_strings(struct denial *d)
{
    const char *p = d->text;

    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        struct slice *s = string_of(&d->rec, i);

        s->p = p;
        p += s->n;
    }
}

struct denials *denials_new(void)
{
    struct denials *d = mem_zalloc(sizeof(*d));

    if (d)
        pthread_mutex_init(&d->lock, NULL);
    return d;
}

void denials_free(struct denials *d)
{
    if (!d)
        return;
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

bool denials_wants(const struct access_record *r)
{
    return r->would_deny || explain_is_refusal(r->end);
}

void denials_put(struct denials *d, const struct access_record *r, const struct addr *to, uint16_t minute)
{
    struct denial *e;
    char *p;

    pthread_mutex_lock(&d->lock);
    e = &d->v[d->total % DENIALS_MAX];
    e->number = ++d->total;
    e->rec = *r;
    e->rec.agent = e->rec.referer = e->rec.type = e->rec.detail = e->rec.via = SLICE_NONE;
    e->to = to ? *to : (struct addr){0};
    e->minute = minute;
    p = e->text;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        struct slice *s = string_of(&e->rec, i);

        s->n = min_size(s->n, kept[i].max);
        if (s->n)
            memcpy(p, s->p, s->n);
        p += s->n;
    }
    pthread_mutex_unlock(&d->lock);
}

size_t denials_read(struct denials *d, struct denial *v, size_t n, uint64_t *ret_total)
{
    size_t got = 0;

    pthread_mutex_lock(&d->lock);
    for (; got < n && got < DENIALS_MAX && got < d->total; got++) {
        v[got] = d->v[(d->total - 1 - got) % DENIALS_MAX];
        move_strings(&v[got]);
    }
    *ret_total = d->total;
    pthread_mutex_unlock(&d->lock);
    return got;
}
