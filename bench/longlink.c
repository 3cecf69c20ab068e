/* SPDX-License-Identifier: MIT */
/* longlink: a long fat link between two network namespaces of its own, which live as long as it does. Needs root and /dev/net/tun.
 * Each end is a TUN device; this program carries the packets: a clock gives out the rate, what waits for it stands in a queue that drops at its tail, and then each packet is on
 * its way for the delay. There is no offload on a TUN device: the MTU is large, so that packets are few.
 * usage: longlink [-r MBIT/S] [-d MS ONE WAY] [-q KBYTES OF QUEUE] [-m MTU] [-c CONGESTION CONTROL] [-b BYTES]
 *   -b  tcp_rmem and tcp_wmem of both namespaces grow to this (default 64 MiB; 0: as the machine has them)
 * The near end is 10.99.0.1, the far one 10.99.0.2. Prints "near PATH far PATH" (for nsenter --net=) when it is ready, and at its end, when its stdin ends, what it carried. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RING = 1 << 16, MTU_MAX = 65535, BATCH = 64 };

struct packet {
    uint64_t due; /* ns: it arrives */
    uint32_t len;
    uint8_t *bytes;
};

/* One direction. */
struct way {
    int from, to;
    uint64_t clock; /* ns: the link has sent all that it has taken */
    struct packet ring[RING];
    unsigned head, n;
    uint64_t carried, bytes, dropped;
};

static double mbits = 1000, delay_ms = 25, queue_kb = -1;
static int mtu = 9000;
static const char *control;
static long buffers = 64 << 20;
static struct way ways[2];

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "longlink: %s: %s\n", what, strerror(errno));
    exit(3);
}

/* ---- the namespaces ---- */

static void set(const char *name, const char *value)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
    fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        die(name);
    close(fd);
}

static void address(int s, struct ifreq *r, unsigned long what, const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET};

    inet_pton(AF_INET, text, &a.sin_addr);
    memcpy(&r->ifr_addr, &a, sizeof(a));
    if (ioctl(s, what, r))
        die(text);
}

static void up(int s, struct ifreq *r)
{
    if (ioctl(s, SIOCGIFFLAGS, r))
        die(r->ifr_name);
    r->ifr_flags |= IFF_UP;
    if (ioctl(s, SIOCSIFFLAGS, r))
        die(r->ifr_name);
}

/* Moves into a namespace of its own, and makes an end of the link there. */
static int end_of_link(const char *own, const char *other, int *ret_ns)
{
    struct ifreq dev = {.ifr_name = "link"}, lo = {.ifr_name = "lo"};
    char text[64];
    int tun, s;

    if (unshare(CLONE_NEWNET))
        die("a network namespace");
    tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    s = socket(AF_INET, SOCK_DGRAM, 0);
    dev.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (tun < 0 || s < 0 || ioctl(tun, TUNSETIFF, &dev))
        die("/dev/net/tun");
    address(s, &dev, SIOCSIFADDR, own);
    address(s, &dev, SIOCSIFDSTADDR, other);
    dev.ifr_mtu = mtu;
    if (ioctl(s, SIOCSIFMTU, &dev))
        die("MTU");
    dev.ifr_qlen = 10000; /* the queue is here, not in the device */
    if (ioctl(s, SIOCSIFTXQLEN, &dev))
        die("queue");
    up(s, &dev);
    up(s, &lo);
    close(s);
    if (control)
        set("tcp_congestion_control", control);
    if (buffers) {
        snprintf(text, sizeof(text), "4096 131072 %ld", buffers);
        set("tcp_rmem", text);
        set("tcp_wmem", text);
    }
    *ret_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (*ret_ns < 0)
        die("/proc/self/ns/net");
    return tun;
}

/* ---- the link ---- */

static void take(struct way *w, uint64_t t)
{
    uint64_t most = (uint64_t)(queue_kb * 1024 * 8 * 1000 / mbits); /* ns that the queue takes */
    static uint8_t bytes[MTU_MAX];

    for (int i = 0; i < BATCH; i++) {
        ssize_t n = read(w->from, bytes, sizeof(bytes));
        struct packet *p = &w->ring[(w->head + w->n) % RING];

        if (n <= 0)
            return;
        if (w->clock < t)
            w->clock = t;
        if (w->n == RING || w->clock - t > most || !(p->bytes = malloc((size_t)n))) {
            w->dropped++;
            continue;
        }
        w->clock += (uint64_t)((double)n * 8 * 1000 / mbits);
        p->due = w->clock + (uint64_t)(delay_ms * 1e6);
        p->len = (uint32_t)n;
        memcpy(p->bytes, bytes, (size_t)n);
        w->n++;
    }
}

/* ns until the next arrives. */
static uint64_t give(struct way *w, uint64_t t)
{
    for (; w->n; w->n--, w->head = (w->head + 1) % RING) {
        struct packet *p = &w->ring[w->head];

        if (p->due > t)
            return p->due - t;
        if (write(w->to, p->bytes, p->len) == (ssize_t)p->len) {
            w->carried++;
            w->bytes += p->len;
        } else {
            w->dropped++;
        }
        free(p->bytes);
    }
    return 100000000;
}

static void carry(void)
{
    struct pollfd fds[] = {{.fd = ways[0].from, .events = POLLIN}, {.fd = ways[1].from, .events = POLLIN}, {.fd = 0, .events = POLLIN}};

    for (;;) {
        uint64_t t = now(), wait, other;
        struct timespec ts = {0};

        take(&ways[0], t);
        take(&ways[1], t);
        wait = give(&ways[0], now());
        other = give(&ways[1], now());
        ts.tv_nsec = (long)(other < wait ? other : wait);
        if (ppoll(fds, 3, &ts, NULL) < 0 && errno != EINTR)
            die("poll");
        if (fds[2].revents)
            return;
    }
}

int main(int argc, char **argv)
{
    int near, far, o;

    while ((o = getopt(argc, argv, "r:d:q:m:c:b:")) > 0)
        switch (o) {
        case 'r': mbits = atof(optarg); break;
        case 'd': delay_ms = atof(optarg); break;
        case 'q': queue_kb = atof(optarg); break;
        case 'm': mtu = atoi(optarg); break;
        case 'c': control = optarg; break;
        case 'b': buffers = atol(optarg); break;
        default: return 2;
        }
    if (mbits <= 0 || delay_ms < 0 || mtu < 576 || mtu > MTU_MAX)
        return 2;
    if (queue_kb < 0)
        queue_kb = mbits * 1e6 / 8 * 2 * delay_ms / 1000 / 1024;
    prctl(PR_SET_TIMERSLACK, 1000);
    ways[0].from = ways[1].to = end_of_link("10.99.0.1", "10.99.0.2", &near);
    ways[0].to = ways[1].from = end_of_link("10.99.0.2", "10.99.0.1", &far);
    printf("near /proc/%d/fd/%d far /proc/%d/fd/%d\n", getpid(), near, getpid(), far);
    fflush(stdout);
    carry();
    for (int i = 0; i < 2; i++)
        printf("%s packets=%llu bytes=%llu dropped=%llu\n", i ? "near" : "far", (unsigned long long)ways[i].carried, (unsigned long long)ways[i].bytes, (unsigned long long)ways[i].dropped);
    return 0;
}
