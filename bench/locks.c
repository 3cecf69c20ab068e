/* SPDX-License-Identifier: MIT */
/* locks: to be preloaded into a program: counts how often each of its threads takes each lock of pthreads. Whoever reads LOCKS_FILE before and after a load sees which locks several
 * threads took, and how often: those they would contend for on a machine with many cores, whatever this one is.
 * LOCKS_FILE: SLOTS rows of a lock's address (8 bytes, 0: none) and THREADS counts (4 bytes each), in the order in which threads took their first lock. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 1 << 16, THREADS = 16 };

struct slot {
    _Atomic uint64_t lock;
    _Atomic uint32_t n[THREADS];
};

static struct slot *slots;
static atomic_int threads;
static _Thread_local int me = -1;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("LOCKS_FILE");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    void *p;

    if (fd < 0 || ftruncate(fd, SLOTS * sizeof(struct slot)))
        return;
    p = mmap(NULL, SLOTS * sizeof(struct slot), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED)
        slots = p;
}

static void note(const void *lock)
{
    uint64_t address = (uint64_t)(uintptr_t)lock;
    uint32_t at = (uint32_t)(address >> 3) * 2654435761u;

    if (!slots)
        return;
    if (me < 0)
        me = atomic_fetch_add(&threads, 1) % THREADS;
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *s = &slots[((at >> 16) + i) % SLOTS];
        uint64_t none = 0;

        if (s->lock != address && !atomic_compare_exchange_strong(&s->lock, &none, address))
            if (none != address)
                continue;
        s->n[me]++;
        return;
    }
}

#define COUNT(name, type)                                                                                                                                                              \
    int name(type *lock)                                                                                                                                                               \
    {                                                                                                                                                                                  \
        static int (*_Atomic real)(type *);                                                                                                                                            \
                                                                                                                                                                                       \
        if (!real)                                                                                                                                                                     \
            real = (int (*)(type *))dlsym(RTLD_NEXT, #name);                                                                                                                           \
        note(lock);                                                                                                                                                                    \
        return real(lock);                                                                                                                                                             \
    }

COUNT(pthread_mutex_lock, pthread_mutex_t)
COUNT(pthread_rwlock_rdlock, pthread_rwlock_t)
COUNT(pthread_rwlock_wrlock, pthread_rwlock_t)
