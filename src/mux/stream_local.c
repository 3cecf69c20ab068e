/* SPDX-License-Identifier: MIT */
/* stream_local: gives out one head and one body from memory. It takes nothing: the upload of a request that is answered here is
 * never pumped.
 */
#include "mux/stream_local.h"

#include "base/check.h"

#include <string.h>

struct stream_local {
    struct stream stream;
    struct head *head;
    struct slice body;
};

static struct stream_local *local_of(struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return CONTAINER_OF(s, struct stream_local, stream);
}

static enum io local_recv_head(struct stream *s, struct arena *a, struct head **ret_head)
{
    struct stream_local *l = local_of(s);

    UNUSED(a);
    s->rx = l->body.n ? STREAM_BODY : STREAM_END;
    *ret_head = l->head;
    return IO_OK;
}

static enum io local_recv(struct stream *s, void *p, size_t cap, size_t *ret_n)
{
    struct stream_local *l = local_of(s);
    size_t n = min_size(cap, l->body.n);

    if (!n)
        return IO_EOF;
    memcpy(p, l->body.p, n);
    l->body = slice_skip(l->body, n);
    if (!l->body.n)
        s->rx = STREAM_END;
    *ret_n = n;
    return IO_OK;
}

static size_t local_room(struct stream *s)
{
    UNUSED(s);
    return 0;
}

static int local_fd(struct stream *s, enum stream_dir dir, uint64_t *ret_max)
{
    UNUSED(s);
    UNUSED(dir);
    UNUSED(ret_max);
    return -1;
}

static bool local_broken(struct stream *s)
{
    UNUSED(s);
    return false;
}

static void local_nothing(struct stream *s)
{
    UNUSED(s);
}

static const struct stream_ops local_ops = {
    .name = "local",
    .recv_head = local_recv_head,
    .recv = local_recv,
    .room = local_room,
    .fd = local_fd,
    .broken = local_broken,
    .reset = local_nothing,
    .release = local_nothing,
};

struct stream *stream_local_new(struct arena *a, struct head *head, struct slice body)
{
    struct stream_local *l = arena_zalloc(a, sizeof(*l));

    if (!l)
        return NULL;
    l->stream = (struct stream){.magic = STREAM_MAGIC, .ops = &local_ops, .tx = STREAM_END};
    l->head = head;
    l->body = body;
    return &l->stream;
}
