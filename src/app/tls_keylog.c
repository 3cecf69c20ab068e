/* SPDX-License-Identifier: MIT */
/* tls_keylog: a buffer under a mutex that is held for a copy of a line, a message that wakes the house, and a write there. Whoever sets the variable has given up speed, and
 * every secret.
 */
#include "app/tls_keylog.h"

#include "app/file_write.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tls_keylog {
    int fd;
    pthread_mutex_t lock; /* over p, n, lost */
    char *p;
    size_t n;
    uint64_t lost;
    char *writing; /* the house's half */
    struct loop *house;
    struct task *task;
    struct msg msg;
    _Atomic bool posted;
};

struct tls_keylog *tls_keylog_open(void)
{
    const char *path = getenv("SSLKEYLOGFILE");
    struct tls_keylog *k;

    if (!path || !path[0])
        return NULL;
    k = mem_zalloc(sizeof(*k));
    if (!k)
        return NULL;
    pthread_mutex_init(&k->lock, NULL);
    k->p = mem_alloc(TLS_KEYLOG_BUFFER);
    k->writing = mem_alloc(TLS_KEYLOG_BUFFER);
    k->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    if (k->fd >= 0 && k->p && k->writing) {
        log_warn("SSLKEYLOGFILE is set: the secrets of every TLS connection are written to %s, and whoever reads it reads them all", path);
        return k;
    }
    log_error("SSLKEYLOGFILE: %s cannot be opened: %s", path, k->fd < 0 ? err_text(-errno) : "out of memory");
    tls_keylog_close(k);
    return NULL;
}

void tls_keylog_start(struct tls_keylog *k, struct loop *house, struct task *task)
{
    k->house = house;
    k->task = task;
}

static void arrived(struct msg *m, struct loop *loop)
{
    struct tls_keylog *k = CONTAINER_OF(m, struct tls_keylog, msg);

    UNUSED(loop);
    atomic_store(&k->posted, false);
    task_wake(k->task, TASK_HELPER);
}

void tls_keylog_put(void *owner, const char *line)
{
    struct tls_keylog *k = owner;
    size_t n = strlen(line);

    pthread_mutex_lock(&k->lock);
    if (n + 1 <= TLS_KEYLOG_BUFFER - k->n) {
        memcpy(k->p + k->n, line, n);
        k->p[k->n + n] = '\n';
        k->n += n + 1;
    } else {
        k->lost++;
    }
    pthread_mutex_unlock(&k->lock);
    if (!k->house || atomic_exchange(&k->posted, true))
        return;
    k->msg.run = arrived;
    if (!loop_post(k->house, &k->msg))
        atomic_store(&k->posted, false);
}

void tls_keylog_write(struct tls_keylog *k)
{
    char *p = k->writing;
    uint64_t lost;
    size_t n;
    int r;

    pthread_mutex_lock(&k->lock);
    k->writing = k->p;
    k->p = p;
    n = k->n;
    lost = k->lost;
    k->n = 0;
    k->lost = 0;
    pthread_mutex_unlock(&k->lock);
    r = file_write_all(k->fd, slice_of(k->writing, n));
    if (r < 0)
        log_limited(LOG_WARN, 1, "SSLKEYLOGFILE: %s", err_text(r));
    secret_wipe(slice_of(k->writing, n));
    if (lost)
        log_warn("SSLKEYLOGFILE: %llu lines were lost", (unsigned long long)lost);
}

void tls_keylog_close(struct tls_keylog *k)
{
    if (!k)
        return;
    if (k->fd >= 0) {
        if (k->p && k->writing)
            tls_keylog_write(k);
        close(k->fd);
    }
    pthread_mutex_destroy(&k->lock);
    mem_free(k->p);
    mem_free(k->writing);
    mem_free(k);
}
