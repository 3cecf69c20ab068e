/* SPDX-License-Identifier: MIT */
/* fds: the first number that is kept, and the comparison with it. Asked by listener and conn_tcp for each descriptor that traffic makes.
 */
#include "io/fds.h"

#include "base/check.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static _Atomic int first_kept = INT_MAX;

void fds_keep(void)
{
    struct rlimit r;
    rlim_t kept;
    int first = INT_MAX;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < INT_MAX) {
        kept = r.rlim_cur / 4;
        if (kept > FDS_KEPT)
            kept = FDS_KEPT;
        first = (int)(r.rlim_cur - kept);
    }
    atomic_store_explicit(&first_kept, first, memory_order_relaxed);
}

bool fds_kept(int fd)
{
    if (LIKELY(fd < atomic_load_explicit(&first_kept, memory_order_relaxed)))
        return false;
    /* It is rare enough to ask again. */
    fds_keep();
    return fd >= atomic_load_explicit(&first_kept, memory_order_relaxed);
}

/* ---- processes ---- */

/* Written to by who makes a process; whoever closes reads, and never waits. */
static pthread_rwlock_t forks = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

void fds_fork_begin(void)
{
    CHECK(pthread_rwlock_wrlock(&forks) == 0);
}

void fds_fork_end(void)
{
    CHECK(pthread_rwlock_unlock(&forks) == 0);
}

void fds_close_watched(int epfd, int fd)
{
    if (pthread_rwlock_tryrdlock(&forks) == 0) {
        close(fd);
        CHECK(pthread_rwlock_unlock(&forks) == 0);
        return;
    }
    epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
    close(fd);
}
