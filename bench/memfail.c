/* SPDX-License-Identifier: MIT */
/* memfail: preloaded into a program, refuses one of N allocations, whoever asks: ours, libraries', libc's. N is the number in the file that MEMFAIL names, which is
 * looked at all the time: 0, and nothing is refused. For bench/chaos; not for programs with a sanitizer, which have an allocator of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static _Atomic uint32_t *the_rate;
static _Thread_local uint64_t dice;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("MEMFAIL");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*the_rate), PROT_READ, MAP_SHARED, fd, 0);

    if (p != MAP_FAILED)
        the_rate = p;
    if (fd >= 0)
        close(fd);
}

static bool refused(void)
{
    uint32_t rate = the_rate ? atomic_load_explicit(the_rate, memory_order_relaxed) : 0;

    if (!rate)
        return false;
    if (!dice)
        dice = (uint64_t)(uintptr_t)&dice * 0x9e3779b97f4a7c15u | 1;
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    if (dice % rate)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n)
{
    return refused() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return refused() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return refused() ? NULL : __libc_realloc(p, n);
}
