/* SPDX-License-Identifier: MIT */
/* access_syslog: the two spellings of a syslog message. Called by the log's thread through
 * access_output. The dates are made once a second.
 */
#include "proxy/access_syslog.h"

#include "base/date.h"
#include "base/num.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SYSLOG_HOST_MAX = 64, SYSLOG_HEAD_MAX = 192 };

#define PRI "<30>" /* daemon (3) * 8 + info (6) */

static int unix_connect(int fd, const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(path);

    if (n >= sizeof(to.sun_path))
        return -ENAMETOOLONG;
    memcpy(to.sun_path, path, n);
    return connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int connected(int fd, int r)
{
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

int access_syslog_unix(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : connected(fd, unix_connect(fd, path));
}

int access_syslog_udp(const struct addr *to)
{
    int fd = socket(to->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : connected(fd, connect(fd, &to->sa, addr_len(to)) < 0 ? -errno : 0);
}

static int send_message(int fd, const char *head, size_t head_n, struct slice line)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)head, head_n}, {(void *)(uintptr_t)line.p, line.n}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};

    return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* ---- the Unix socket ---- */

static char *put_two(char *p, int v)
{
    *p++ = (char)('0' + v / 10);
    *p++ = (char)('0' + v % 10);
    return p;
}

/* "Nov  3 09:05:07": 15 bytes. */
static void put_local(time_t now, char *p)
{
    struct tm tm = {0};

    localtime_r(&now, &tm);
    memcpy(p, &"JanFebMarAprMayJunJulAugSepOctNovDec"[tm.tm_mon * 3], 3);
    p[3] = ' ';
    put_two(p + 4, tm.tm_mday);
    if (p[4] == '0')
        p[4] = ' ';
    p[6] = ' ';
    put_two(p + 7, tm.tm_hour);
    p[9] = ':';
    put_two(p + 10, tm.tm_min);
    p[12] = ':';
    put_two(p + 13, tm.tm_sec);
}

static size_t put_pid(char *p, int pid)
{
    return num_put_dec(p, (uint64_t)pid);
}

static size_t unix_head(char out[SYSLOG_HEAD_MAX], int pid)
{
    static _Thread_local char date[15];
    static _Thread_local time_t second = -1;
    time_t now = time(NULL);
    size_t n = sizeof(PRI) - 1;

    if (now != second) {
        second = now;
        put_local(now, date);
    }
    memcpy(out, PRI, n);
    memcpy(out + n, date, sizeof(date));
    n += sizeof(date);
    memcpy(out + n, " ginnel[", 8);
    n += 8;
    n += put_pid(out + n, pid);
    memcpy(out + n, "]: ", 3);
    return n + 3;
}

int access_syslog_send_unix(int fd, const char *path, int pid, struct slice line)
{
    char head[SYSLOG_HEAD_MAX];
    size_t n = unix_head(head, pid);
    int r = send_message(fd, head, n, line);

    /* Nobody has the other end any more. Whoever has the name now is the daemon. */
    if (r != -ECONNREFUSED && r != -ENOTCONN && r != -ECONNRESET && r != -EPIPE)
        return r;
    r = unix_connect(fd, path);
    return r < 0 ? r : send_message(fd, head, n, line);
}

/* ---- UDP ---- */

/* PRINTUSASCII, or nothing. */
static size_t put_hostname(char out[SYSLOG_HOST_MAX])
{
    size_t n;

    if (gethostname(out, SYSLOG_HOST_MAX) < 0)
        out[0] = '\0';
    n = strnlen(out, SYSLOG_HOST_MAX - 1);
    for (size_t i = 0; i < n; i++)
        if (out[i] <= ' ' || out[i] >= 0x7f)
            n = 0;
    if (n == 0)
        out[n++] = '-';
    return n;
}

static size_t udp_head(char out[SYSLOG_HEAD_MAX], int pid)
{
    static _Thread_local char host[SYSLOG_HOST_MAX];
    static _Thread_local size_t host_n;
    struct timespec ts;
    size_t n = sizeof(PRI "1 ") - 1;

    if (host_n == 0)
        host_n = put_hostname(host);
    clock_gettime(CLOCK_REALTIME, &ts);
    memcpy(out, PRI "1 ", n);
    date_iso((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000, out + n);
    n += DATE_ISO_LEN;
    out[n++] = ' ';
    memcpy(out + n, host, host_n);
    n += host_n;
    memcpy(out + n, " ginnel ", 8);
    n += 8;
    n += put_pid(out + n, pid);
    memcpy(out + n, " access - ", 10);
    return n + 10;
}

int access_syslog_send_udp(int fd, int pid, struct slice line)
{
    char head[SYSLOG_HEAD_MAX];
    size_t n = udp_head(head, pid);
    int r = send_message(fd, head, n, line);

    return r == -ECONNREFUSED ? send_message(fd, head, n, line) : r;
}
