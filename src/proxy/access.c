/* SPDX-License-Identifier: MIT */
/* access: records become JSON lines in a worker's ring; one thread writes the rings out. Whether the thread sleeps is a flag that
 * it sets before its last look: a worker that put something after that look sees the flag and wakes it, so no line is left lying
 * and a quiet proxy wakes nobody.
 */
#include "proxy/access.h"

#include "base/check.h"
#include "base/date.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/ring.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ACCESS_SHARDS_MAX = 64, ACCESS_SAY_RING = 1 << 16, ACCESS_STALL_MS = 1000 };

struct access_shard {
    struct access_log *log;
    struct ring_bytes ring;
    struct loop *loop;
    struct flush flush; /* wakes the writer at the end of the turn */
};

struct access_log {
    int fd, wakefd;
    pthread_t thread;
    _Atomic bool asleep, stop;
    _Atomic unsigned n_shards;
    struct access_shard *shards[ACCESS_SHARDS_MAX];
    pthread_mutex_t say_lock; /* many producers, one ring */
    struct ring_bytes say;
    bool gave_up; /* while stopping the sink took nothing for a while: the rest is dropped */
    bool is_file; /* poll has nothing to say about it: a slow disk holds up this thread, and nobody else */
};

/* ---- the record ---- */

static void kms(struct json *j, const char *key, uint64_t us)
{
    json_ku64(j, key, (us + 500) / 1000);
}

static void kaddr(struct json *j, const char *key_addr, const char *key_port, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];

    if (a->sa.sa_family == AF_UNSPEC)
        return;
    json_kstr(j, key_addr, slice_of(text, addr_host_text(a, text)));
    json_ku64(j, key_port, addr_port(a));
}

static void write_request(struct json *j, const struct access_record *r)
{
    if (r->method.n)
        json_kstr(j, "http.request.method", r->method);
    if (r->host.n) {
        json_kstr(j, "server.address", r->host);
        json_ku64(j, "server.port", r->port);
    }
    if (r->path.n)
        json_kstr(j, "url.path", r->path);
    if (r->status)
        json_ku64(j, "http.response.status_code", r->status);
    if (r->version)
        json_kstr(j, "network.protocol.version", r->version == 10 ? SLICE("1.0") : SLICE("1.1"));
}

static size_t format(const struct access_record *r, uint64_t now_us, char *out, size_t cap)
{
    char time[DATE_ISO_LEN + 1];
    struct json j;

    date_iso(r->wall_ms, time);
    json_init(&j, out, cap - 1);
    json_open(&j, '{');
    json_kstr(&j, "time", slice_of(time, DATE_ISO_LEN));
    kaddr(&j, "client.address", "client.port", &r->client);
    write_request(&j, r);
    kaddr(&j, "network.peer.address", "network.peer.port", &r->peer);
    kaddr(&j, "network.local.address", "network.local.port", &r->local);
    json_ku64(&j, "ginnel.bytes_up", r->bytes_up);
    json_ku64(&j, "ginnel.bytes_down", r->bytes_down);
    kms(&j, "ginnel.duration_ms", now_us - r->start_us);
    if (r->peer.sa.sa_family != AF_UNSPEC) {
        kms(&j, "ginnel.dns_ms", r->dns_us);
        kms(&j, "ginnel.connect_ms", r->connect_us);
    }
    if (r->status)
        kms(&j, "ginnel.first_byte_ms", r->first_byte_us);
    json_kbool(&j, "ginnel.reused", r->reused);
    json_kstr(&j, "ginnel.end", slice_str(end_info(r->end)->token));
    if (r->detail)
        json_kstr(&j, "ginnel.detail", slice_str(r->detail));
    json_close(&j, '}');
    if (j.full)
        return 0;
    out[j.n] = '\n';
    return j.n + 1;
}

size_t access_format(const struct access_record *r, uint64_t now_us, char *out, size_t cap)
{
    size_t n = format(r, now_us, out, cap);
    struct access_record shorter;

    if (n)
        return n;
    /* A byte escapes to six: nobody is to hide from the log behind a path that does not fit. */
    shorter = *r;
    shorter.path.n = min_size(r->path.n, ACCESS_PATH_MAX / 8);
    return format(&shorter, now_us, out, cap);
}

/* ---- workers ---- */

static void access_wake(struct access_log *a)
{
    uint64_t one = 1;
    ssize_t r;

    if (!atomic_exchange(&a->asleep, false))
        return;
    r = write(a->wakefd, &one, sizeof(one));
    UNUSED(r); /* an eventfd of ours with room: it cannot fail */
}

static void shard_flush(struct flush *f)
{
    access_wake(CONTAINER_OF(f, struct access_shard, flush)->log);
}

struct access_shard *access_shard_new(struct access_log *a, struct loop *loop)
{
    unsigned i = atomic_load(&a->n_shards);
    struct access_shard *s;

    if (i == ACCESS_SHARDS_MAX)
        return NULL;
    s = mem_zalloc(sizeof(*s));
    if (!s || ring_bytes_init(&s->ring, ACCESS_RING) < 0) {
        mem_free(s);
        return NULL;
    }
    s->log = a;
    s->loop = loop;
    list_init(&s->flush.link);
    s->flush.run = shard_flush;
    a->shards[i] = s;
    atomic_store(&a->n_shards, i + 1);
    return s;
}

bool access_put(struct access_shard *s, const struct access_record *r, uint64_t now_us)
{
    char line[ACCESS_LINE_MAX];
    size_t n = access_format(r, now_us, line, sizeof(line));

    if (!n || !ring_bytes_put(&s->ring, line, n))
        return false;
    loop_flush_later(s->loop, &s->flush);
    return true;
}

bool access_say(struct access_log *a, const char *line, size_t n)
{
    bool ok;

    pthread_mutex_lock(&a->say_lock);
    ok = ring_bytes_put(&a->say, line, n);
    pthread_mutex_unlock(&a->say_lock);
    access_wake(a);
    return ok;
}

/* ---- the writer ---- */

/* Waits until the sink takes something. False: it does not, and the process is to end. Only pipes and sockets can make us wait, and
 * they are written in pieces that do not block once they are ready. */
static bool sink_ready(struct access_log *a)
{
    struct pollfd pf = {.fd = a->fd, .events = POLLOUT};

    while (!a->is_file && poll(&pf, 1, ACCESS_STALL_MS) == 0)
        if (atomic_load(&a->stop)) {
            a->gave_up = true;
            return false;
        }
    return true;
}

/* A sink that takes nothing (a stuck pipe) costs lines, never traffic: the rings fill, and what does not fit is counted. */
static void write_all(struct access_log *a, const char *p, size_t n)
{
    while (n && !a->gave_up && sink_ready(a)) {
        ssize_t w = write(a->fd, p, a->is_file ? n : min_size(n, PIPE_BUF));

        if (w > 0) {
            p += w;
            n -= (size_t)w;
        } else if (w < 0 && errno != EAGAIN && errno != EINTR) {
            return;
        }
    }
}

/* Whole records: one that lies around the ring's end is written to its end before another ring has its turn. */
static bool drain_ring(struct access_log *a, struct ring_bytes *r)
{
    bool any = false, whole = true;
    const char *p;
    size_t n;

    while ((n = ring_bytes_peek(r, &p)) != 0) {
        if (any && whole)
            break;
        whole = p[n - 1] == '\n';
        write_all(a, p, n);
        ring_bytes_drop(r, n);
        any = true;
    }
    return any;
}

static bool drain_all(struct access_log *a)
{
    bool any = drain_ring(a, &a->say);

    for (unsigned i = 0; i < atomic_load(&a->n_shards); i++)
        any |= drain_ring(a, &a->shards[i]->ring);
    return any;
}

static void *access_thread(void *arg)
{
    struct access_log *a = arg;

    pthread_setname_np(pthread_self(), "ginnel-log");
    for (;;) {
        uint64_t n;

        if (drain_all(a))
            continue;
        if (atomic_load(&a->stop))
            return NULL;
        atomic_store(&a->asleep, true);
        if (drain_all(a)) {
            atomic_store(&a->asleep, false);
            continue;
        }
        if (read(a->wakefd, &n, sizeof(n)) < 0 && errno != EINTR)
            return NULL;
        atomic_store(&a->asleep, false);
    }
}

struct access_log *access_open(int fd)
{
    struct access_log *a = mem_zalloc(sizeof(*a));
    struct stat st;

    if (!a)
        return NULL;
    a->fd = fd;
    a->is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    pthread_mutex_init(&a->say_lock, NULL);
    a->wakefd = eventfd(0, EFD_CLOEXEC);
    if (a->wakefd < 0 || ring_bytes_init(&a->say, ACCESS_SAY_RING) < 0)
        goto fail;
    if (pthread_create(&a->thread, NULL, access_thread, a))
        goto fail_ring;
    return a;

fail_ring:
    ring_bytes_done(&a->say);
fail:
    if (a->wakefd >= 0)
        close(a->wakefd);
    mem_free(a);
    return NULL;
}

void access_close(struct access_log *a)
{
    if (!a)
        return;
    atomic_store(&a->stop, true);
    atomic_store(&a->asleep, true);
    access_wake(a);
    pthread_join(a->thread, NULL);
    for (unsigned i = 0; i < atomic_load(&a->n_shards); i++) {
        ring_bytes_done(&a->shards[i]->ring);
        mem_free(a->shards[i]);
    }
    ring_bytes_done(&a->say);
    close(a->wakefd);
    pthread_mutex_destroy(&a->say_lock);
    mem_free(a);
}
