/* SPDX-License-Identifier: MIT */
/* lg: load for a forward proxy, one epoll thread.
 * usage: lg MODE -p PROXYPORT -o ORIGINBASE [-c CONNS] [-t SECS] [-s SIZE] [-P PROXYPID] [-D] [-A CREDENTIALS]
 *   MODE down   CONNECT tunnels to the source; count bytes received
 *        up     CONNECT tunnels to the sink; push bytes
 *        cps    CONNECT to echo, 1-byte ping, pong, close; repeat
 *        pp     CONNECT to echo, SIZE-byte ping-pong for ever
 *        fwd    GET http://origin/SIZE absolute-form, keep-alive
 *        fwdc   the same, a new connection for each
 *        idle   open CONNS tunnels, ping once, hold for SECS
 *   -D  go direct: no proxy (the floor).
 *   -A  send `Proxy-Authorization: Basic CREDENTIALS`.
 * Prints one line: key=value ...; with -P also the cpu seconds and rss of that process group. */
#define _GNU_SOURCE
#include "usage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DOWN, UP, CPS, PP, FWD, FWDC, IDLE };
static const char *names[] = {"down", "up", "cps", "pp", "fwd", "fwdc", "idle"};
struct conn {
    int fd, st, host;
    unsigned len;
    long long need;
    double t0;
    long long got; /* down: bytes */
    char buf[8192];
};

static int mode, pport, obase, nconn = 16, direct, memfd;
static double secs = 5;
static size_t size = 64;
static int ppid_;
static char auth[128];
static int ep;
static long long bytes, done, errs, established;
static double *lat;
static size_t nlat, caplat;
static char reqs[16][512];
static int reqlens[16]; /* one per origin address */
static char *msg;
static unsigned srcip = 0;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void note(double d)
{
    if (nlat == caplat) {
        caplat = caplat ? caplat * 2 : 1 << 16;
        lat = realloc(lat, caplat * sizeof *lat);
    }
    lat[nlat++] = d;
}

static int cmp(const void *a, const void *b)
{
    double x = *(double *)a, y = *(double *)b;
    return x < y ? -1 : x > y;
}

static void start(struct conn *c);

static void finish(struct conn *c, int ok)
{
    if (c->fd >= 0) {
        struct linger l = {1, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
        close(c->fd);
    }
    c->fd = -1;
    if (!ok)
        errs++;
}

static void restart(struct conn *c, int ok)
{
    finish(c, ok);
    if (!ok && errs > 100000) {
        fprintf(stderr, "lg: too many errors\n");
        exit(3);
    }
    start(c);
}

static int tport(void)
{
    return direct ? obase + (mode == DOWN                    ? 1
                             : mode == UP                    ? 2
                             : (mode == FWD || mode == FWDC) ? 3
                                                             : 0)
                  : pport;
}

static void start(struct conn *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        perror("socket");
        exit(1);
    }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* spread source addresses so that ports never run out */
    struct sockaddr_in me = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(0x7f000001 + 256 * (1 + (srcip++ % 64)))};
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    bind(c->fd, (void *)&me, sizeof me);
    struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(tport())};
    s.sin_addr.s_addr = htonl(0x7f000001);
    c->st = 0;
    c->len = 0;
    c->t0 = now();
    c->host = srcip % 16;
    if (connect(c->fd, (void *)&s, sizeof s) < 0 && errno != EINPROGRESS) {
        perror("connect");
        exit(1);
    }
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}

static int sendall(struct conn *c, const char *p, int n)
{
    return send(c->fd, p, n, MSG_NOSIGNAL) == n ? 0 : -1;
}

static void begin(struct conn *c)
{
    established++;
    if (mode == CPS || mode == IDLE) {
        if (sendall(c, "x", 1)) {
            restart(c, 0);
            return;
        }
        c->st = 3;
    } else if (mode == PP) {
        c->t0 = now();
        c->need = size;
        if (sendall(c, msg, size)) {
            restart(c, 0);
            return;
        }
        c->st = 3;
    } else
        c->st = 3;
}

static void on(struct conn *c, unsigned ev)
{
    ssize_t n;
    if (c->st == 0) {
        if (!(ev & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
            return;
        int err = 0;
        socklen_t l = sizeof err;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &l);
        if (err) {
            restart(c, 0);
            return;
        }
        if (direct && mode != FWD && mode != FWDC) {
            begin(c);
        } else {
            if (sendall(c, reqs[c->host], reqlens[c->host])) {
                restart(c, 0);
                return;
            }
            c->st = 1;
            c->need = -1;
            c->len = 0;
            return;
        }
    }
    if (c->st == 1 && (ev & EPOLLIN)) {
        for (;;) { /* head of the CONNECT answer, or an HTTP answer */
            n = recv(c->fd, c->buf + c->len, sizeof c->buf - 1 - c->len,
                     mode == FWD || mode == FWDC ? 0 : MSG_PEEK);
            if (n == 0) {
                restart(c, 0);
                return;
            }
            if (n < 0) {
                if (errno == EAGAIN)
                    return;
                restart(c, 0);
                return;
            }
            c->buf[c->len + n] = 0;
            char *e = strstr(c->buf, "\r\n\r\n");
            if (mode == FWD || mode == FWDC) {
                c->len += n;
                if (!e)
                    continue;
                if (memcmp(c->buf + 9, "200", 3)) {
                    fprintf(stderr, "%.*s\n", 80, c->buf);
                    restart(c, 0);
                    return;
                }
                char *cl = strcasestr(c->buf, "content-length:");
                c->need = cl ? atoll(cl + 15) : 0;
                if (!cl) {
                    fprintf(stderr, "lg: no content-length\n");
                    exit(3);
                }
                c->need -= c->buf + c->len - (e + 4);
                bytes += c->buf + c->len - (e + 4);
                c->st = 2;
                break;
            }
            if (!e) {
                if (n >= 4096) {
                    restart(c, 0);
                    return;
                }
                usleep(10);
                continue;
            }
            if (memcmp(c->buf + 9, "200", 3)) {
                fprintf(stderr, "%.*s\n", 80, c->buf);
                restart(c, 0);
                return;
            }
            int hl = e + 4 - c->buf;
            recv(c->fd, c->buf, hl, 0);
            if (mode != FWD)
                note(now() - c->t0);
            begin(c);
            break;
        }
    }
    if (c->st == 2) {
        for (;;) {
            while (c->need > 0) {
                n = recv(c->fd, NULL, c->need, MSG_TRUNC);
                if (n == 0) {
                    restart(c, 0);
                    return;
                }
                if (n < 0) {
                    if (errno == EAGAIN)
                        return;
                    restart(c, 0);
                    return;
                }
                c->need -= n;
                bytes += n;
            }
            done++;
            note(now() - c->t0);
            if (mode == FWDC) {
                restart(c, 1);
                return;
            }
            c->t0 = now();
            c->len = 0;
            c->st = 1;
            if (sendall(c, reqs[c->host], reqlens[c->host])) {
                restart(c, 0);
            }
            return;
        }
    }
    if (c->st == 3)
        switch (mode) {
        case DOWN:
            for (int i = 0; i < 16; i++) {
                n = recv(c->fd, NULL, 16u << 20, MSG_TRUNC);
                if (n == 0) {
                    restart(c, 0);
                    return;
                }
                if (n < 0) {
                    if (errno == EAGAIN)
                        return;
                    restart(c, 0);
                    return;
                }
                bytes += n;
                c->got += n;
            }
            {
                struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
                epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
            }
            return;
        case UP:
            for (int i = 0; i < 8; i++) {
                off_t o = 0;
                n = sendfile(c->fd, memfd, &o, 4u << 20);
                if (n < 0) {
                    if (errno == EAGAIN)
                        return;
                    restart(c, 0);
                    return;
                }
                bytes += n;
            }
            {
                struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
                epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
            }
            return;
        case CPS:
            if (ev & EPOLLIN) {
                n = recv(c->fd, c->buf, 16, 0);
                if (n == 1) {
                    done++;
                    restart(c, 1);
                } else if (n == 0 || errno != EAGAIN)
                    restart(c, 0);
            }
            return;
        case IDLE:
            if (ev & EPOLLIN) {
                n = recv(c->fd, c->buf, 16, 0);
                if (n == 1) {
                    done++;
                    c->st = 4;
                } else if (n == 0 || errno != EAGAIN)
                    restart(c, 0);
            }
            return;
        case PP:
            for (;;) {
                n = recv(c->fd, NULL, c->need, MSG_TRUNC);
                if (n == 0) {
                    restart(c, 0);
                    return;
                }
                if (n < 0) {
                    if (errno == EAGAIN)
                        return;
                    restart(c, 0);
                    return;
                }
                c->need -= n;
                bytes += n;
                if (c->need == 0) {
                    done++;
                    note(now() - c->t0);
                    c->t0 = now();
                    c->need = size;
                    if (sendall(c, msg, size)) {
                        restart(c, 0);
                        return;
                    }
                }
            }
        }
    if (c->st == 4 && (ev & EPOLLIN)) {
        n = recv(c->fd, c->buf, 16, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            errs++;
            close(c->fd);
            c->st = 5;
        }
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2)
        return 2;
    for (mode = 0; mode < 7 && strcmp(argv[1], names[mode]); mode++)
        ;
    if (mode == 7)
        return 2;
    int o;
    optind = 2;
    while ((o = getopt(argc, argv, "p:o:c:t:s:P:DA:")) > 0)
        switch (o) {
        case 'p':
            pport = atoi(optarg);
            break;
        case 'o':
            obase = atoi(optarg);
            break;
        case 'c':
            nconn = atoi(optarg);
            break;
        case 't':
            secs = atof(optarg);
            break;
        case 's':
            size = strtoul(optarg, 0, 10);
            break;
        case 'P':
            ppid_ = atoi(optarg);
            break;
        case 'D':
            direct = 1;
            break;
        case 'A':
            snprintf(auth, sizeof(auth), "Proxy-Authorization: Basic %s\r\n", optarg);
            break;
        default:
            return 2;
        }
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    int op = obase + (mode == DOWN ? 1 : mode == UP ? 2 : (mode == FWD || mode == FWDC) ? 3 : 0);
    for (int h = 0; h < 16; h++) {
        int d = h + 1;
        char *req = reqs[h];
        if (mode == FWD || mode == FWDC)
            reqlens[h] = direct ? snprintf(req, 512,
                                           "GET /%zu HTTP/1.1\r\nHost: "
                                           "127.0.0.%d:%d\r\nUser-Agent: lg\r\nAccept: */*\r\n\r\n",
                                           size, d, op)
                                : snprintf(req, 512,
                                           "GET http://127.0.0.%d:%d/%zu HTTP/1.1\r\nHost: "
                                           "127.0.0.%d:%d\r\nUser-Agent: lg\r\nAccept: "
                                           "*/*\r\nProxy-Connection: keep-alive\r\n%s\r\n",
                                           d, op, size, d, op, auth);
        else
            reqlens[h] = snprintf(
                req, 512,
                "CONNECT 127.0.0.%d:%d HTTP/1.1\r\nHost: 127.0.0.%d:%d\r\nUser-Agent: lg\r\n%s\r\n",
                d, op, d, op, auth);
    }
    memfd = memfd_create("src", 0);
    if (ftruncate(memfd, 64u << 20))
        return 1;
    {
        char *m = mmap(0, 64u << 20, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
        memset(m, 'x', 64u << 20);
    }
    msg = malloc(size + 1);
    memset(msg, 'y', size);
    ep = epoll_create1(0);
    double c0 = 0, c1 = 0;
    long r0 = 0, r1 = 0;
    if (ppid_)
        proctree(ppid_, &c0, &r0);
    double ts = now(), end = ts + secs;
    struct conn *cs = calloc(nconn, sizeof *cs);
    int opened = 0, burst = 64;
    struct epoll_event ev[512];
    double hold = 0;
    for (;;) {
        double t = now();
        if (mode == IDLE) {
            if (done >= nconn && !hold) {
                hold = t;
                end = t + secs;
            }
            if (!hold && t > ts + 60) {
                fprintf(stderr, "lg: only %lld of %d tunnels\n", done, nconn);
                break;
            }
            if (hold && t > end)
                break;
        } else if (t > end)
            break;
        if (opened < nconn && (mode != IDLE || opened - done < burst)) {
            int k = mode == IDLE ? burst : nconn;
            for (int i = 0; i < k && opened < nconn; i++)
                start(&cs[opened++]);
        }
        int n = epoll_wait(ep, ev, 512, 20);
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if (c->fd >= 0)
                on(c, ev[i].events);
        }
    }
    double te = now();
    if (ppid_)
        proctree(ppid_, &c1, &r1);
    double dt = te - ts, cpu = c1 - c0;
    qsort(lat, nlat, sizeof *lat, cmp);
    printf("mode=%s conns=%d secs=%.2f done=%lld errs=%lld rate=%.0f/s GBps=%.3f", names[mode],
           nconn, dt, done, errs, done / dt, bytes / dt / 1e9);
    if (mode == DOWN) {
        long long least = cs[0].got, most = least;
        for (int i = 1; i < opened; i++) {
            least = cs[i].got < least ? cs[i].got : least;
            most = cs[i].got > most ? cs[i].got : most;
        }
        printf(" fair=%.3f", most ? (double)least / most : 0);
    }
    if (nlat)
        printf(" p50us=%.0f p99us=%.0f p999us=%.0f", lat[nlat / 2] * 1e6,
               lat[(size_t)(nlat * .99)] * 1e6, lat[(size_t)(nlat * .999)] * 1e6);
    if (ppid_) {
        printf(" cpu=%.2f pss_kib=%ld", cpu, r1);
        if (bytes > 1e8)
            printf(" cpu_s_per_GB=%.4f", cpu / (bytes / 1e9));
        if (done)
            printf(" cpu_us_per_op=%.2f", cpu / done * 1e6);
        if (mode == IDLE)
            printf(" pss_bytes_per_tunnel=%.0f", (r1 - r0) * 1024.0 / nconn);
    }
    printf("\n");
    return errs > done / 100 + 10;
}
