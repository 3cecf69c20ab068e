/* SPDX-License-Identifier: MIT */
/* view: the process's own figures, and the words for what a view holds. Called on the main thread for each answer. Where /proc is missing the
 * figures are unknown, which is no error.
 */
#include "app/view.h"

#include "base/num.h"
#include "proxy/worker.h"
#include "proxy/xchg.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t resident_bytes(void)
{
    char line[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, line, sizeof(line)) : -1;
    uint64_t pages;
    struct slice s;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    /* "size resident shared …" */
    s = slice_of(line, (size_t)n);
    s = slice_skip(s, min_size(slice_find(s, ' ') + 1, s.n));
    s.n = slice_find(s, ' ');
    if (num_dec(s, UINT64_MAX >> 20, &pages) < 0)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_fds(void)
{
    struct stat st;
    uint64_t n = 0;
    DIR *d;

    /* Since Linux 6.2 the directory's size is their number; to count a million takes longer than a scrape should. */
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (uint64_t)st.st_size;
    d = opendir("/proc/self/fd");
    if (!d)
        return 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n - 1; /* without the one that counted */
}

void view_process(struct view_process *ret_process)
{
    struct rlimit limit;

    *ret_process = (struct view_process){
        .pid = (uint64_t)getpid(),
        .resident_bytes = resident_bytes(),
        .open_fds = open_fds(),
        .max_fds = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0,
    };
}

uint64_t view_log_dropped(const struct server_view *v)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < v->n_workers; i++)
        n += stats_get(v->workers[i].stats, COUNTER_LOG_DROPPED);
    return n;
}

const char *view_phase_name(enum server_phase p)
{
    static const char *const names[] = {"starting", "ready", "draining"};

    return names[p];
}

const char *view_reload_name(enum reload_result r)
{
    static const char *const names[RELOAD_RESULTS] = {"none", "ok", "unchanged", "failed"};

    return names[r];
}

const char *view_role_name(enum listen_role r)
{
    static const char *const names[] = {"proxy", "admin", "control"};

    return names[r];
}

const char *view_worker_phase_name(int phase)
{
    switch ((enum worker_phase)phase) {
    case WORKER_RUN:
        return "running";
    case WORKER_DRAIN:
        return "draining";
    case WORKER_STOPPED:
        break;
    }
    return "stopped";
}

unsigned view_trail(const struct report_xchg *x)
{
    return xchg_trail_first(x->trail);
}
