/* SPDX-License-Identifier: MIT */
/* sd: the service manager's protocols, which are a few variables and a datagram. Called by the main
 * thread: sd_listen_fds before anything else is opened, the others while serving. What a manager says
 * wrongly about descriptors stops the start; what it says wrongly about anything else is as if unsaid.
 */
#include "app/sd.h"

#include "base/err.h"
#include "base/num.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    NAMES_BYTES = SD_FDS_MAX * 256, /* a name has up to 255 bytes */
    NOTE_BYTES = 2048,
};

/* ---- descriptors ---- */

/* LISTEN_PID: are they ours? */
static int are_for_us(bool *ret_ours)
{
    const char *pid = getenv("LISTEN_PID");
    uint64_t v;

    if (!pid) {
        *ret_ours = false;
        return 0;
    }
    if (num_dec(slice_str(pid), INT_MAX, &v) < 0)
        return ERR_SYNTAX;
    *ret_ours = v == (uint64_t)getpid();
    return 0;
}

static int count_fds(unsigned *ret_n)
{
    const char *fds = getenv("LISTEN_FDS");
    uint64_t v = 0;
    int r;

    if (!fds) {
        *ret_n = 0;
        return 0;
    }
    r = num_dec(slice_str(fds), SD_FDS_MAX, &v);
    if (r < 0)
        return r == ERR_RANGE ? ERR_LIMIT : ERR_SYNTAX;
    *ret_n = (unsigned)v;
    return 0;
}

/* Splits LISTEN_FDNAMES. As many names as descriptors, or none at all: otherwise nobody knows whose they are. */
static int read_names(const char *names[SD_FDS_MAX], unsigned n)
{
    static char text[NAMES_BYTES];
    const char *all = getenv("LISTEN_FDNAMES");
    size_t len = all ? strlen(all) : 0;
    char *p = text;

    for (unsigned i = 0; i < n; i++)
        names[i] = "";
    if (len == 0)
        return 0;
    if (len >= sizeof(text))
        return ERR_SYNTAX;
    memcpy(text, all, len + 1);
    for (unsigned i = 0; i < n; i++) {
        names[i] = p;
        p = strchr(p, ':');
        if (!p)
            return i + 1 == n ? 0 : ERR_SYNTAX;
        *p++ = '\0';
    }
    return ERR_SYNTAX;
}

static int take_fds(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int fd = SD_FDS_START + (int)i, flags = fcntl(fd, F_GETFD);

        if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
            return ERR_SYNTAX;
    }
    return 0;
}

static int listen_fds(const char *names[SD_FDS_MAX])
{
    bool ours;
    unsigned n;
    int r = are_for_us(&ours);

    if (r < 0 || !ours)
        return r;
    r = count_fds(&n);
    if (r < 0)
        return r;
    r = read_names(names, n);
    if (r < 0 && n > 0)
        return r;
    r = take_fds(n);
    return r < 0 ? r : (int)n;
}

int sd_listen_fds(const char *names[SD_FDS_MAX])
{
    int n = listen_fds(names);

    /* What we start later must not believe that they are its own. */
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_PIDFDID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return n;
}

/* ---- notifications ---- */

/* The manager's socket: a path, or a name in the abstract space, written with @ for its NUL. There are other kinds (vsock:),
 * for machines and not for services. 0: nobody listens, or not so that we could tell. */
static socklen_t find_manager(struct sockaddr_un *ret_to)
{
    const char *name = getenv("NOTIFY_SOCKET");
    size_t n = name ? strlen(name) : 0;

    if (n < 2 || (name[0] != '/' && name[0] != '@') || n >= sizeof(ret_to->sun_path))
        return 0;
    *ret_to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_to->sun_path, name, n);
    if (name[0] == '/')
        n++; /* a path's NUL counts, an abstract name has none */
    else
        ret_to->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

void sd_notify(const char *fmt, ...)
{
    struct sockaddr_un to;
    socklen_t to_n = find_manager(&to);
    char text[NOTE_BYTES];
    va_list args;
    int fd, n;

    if (!to_n)
        return;
    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n <= 0)
        return;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    /* A manager whose queue is full misses a note; waiting for it would stop our own loop. */
    sendto(fd, text, min_size((size_t)n, sizeof(text) - 1), MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&to, to_n);
    close(fd);
}

void sd_notify_reloading(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    sd_notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000);
}

uint64_t sd_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t v, p;

    if (!usec || num_dec(slice_str(usec), UINT64_MAX, &v) < 0 || v == 0)
        return 0;
    if (pid && (num_dec(slice_str(pid), INT_MAX, &p) < 0 || p != (uint64_t)getpid()))
        return 0;
    return v < 2000 ? 1 : v / 2000;
}
