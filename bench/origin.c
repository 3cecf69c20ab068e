/* SPDX-License-Identifier: MIT */
/* origin: the far end for the bench. One epoll thread, four loopback ports:
 *   base+0 echo     base+1 source (endless bytes)   base+2 sink
 *   base+3 HTTP/1.1 keep-alive server: GET /N answers N bytes
 * on 127.0.0.1 .. 127.0.0.16, so that a proxy's ports to it never run out.
 * usage: origin BASEPORT */
#define _GNU_SOURCE
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
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <unistd.h>

enum kind { ECHO, SOURCE, SINK, HTTP };
struct conn {
    int fd;
    unsigned char kind, listener, want_out;
    unsigned len;
    size_t body;
    char buf[4096];
    char out[512];
    unsigned outlen, outoff;
};

static int ep, memfd;
static const size_t FILESZ = 64u << 20;

static void arm(struct conn *c, unsigned ev)
{
    struct epoll_event e = {.events = ev, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void drop(struct conn *c)
{
    close(c->fd);
    free(c);
}

static void listen_on(const char *a, int port, int kind)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, a, &s.sin_addr);
    if (bind(fd, (void *)&s, sizeof s) || listen(fd, 65535)) {
        perror("origin: listen");
        exit(1);
    }
    struct conn *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->kind = kind;
    c->listener = 1;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

/* returns -1 when the connection is finished */
static int http_flush(struct conn *c)
{
    while (c->outoff < c->outlen) {
        ssize_t n = send(c->fd, c->out + c->outoff, c->outlen - c->outoff,
                         MSG_NOSIGNAL | (c->body ? MSG_MORE : 0));
        if (n < 0) {
            if (errno == EAGAIN) {
                c->want_out = 1;
                return 0;
            }
            return -1;
        }
        c->outoff += n;
    }
    while (c->body) {
        off_t off = 0;
        ssize_t n = sendfile(c->fd, memfd, &off, c->body < FILESZ ? c->body : FILESZ);
        if (n <= 0) {
            if (errno == EAGAIN) {
                c->want_out = 1;
                return 0;
            }
            return -1;
        }
        c->body -= n;
    }
    c->want_out = 0;
    return 0;
}

static int http_in(struct conn *c)
{
    for (;;) {
        if (c->want_out) {
            if (http_flush(c))
                return -1;
            if (c->want_out)
                return 0;
        }
        char *e = c->len ? memmem(c->buf, c->len, "\r\n\r\n", 4) : NULL;
        if (!e) {
            if (c->len == sizeof c->buf)
                return -1;
            ssize_t n = recv(c->fd, c->buf + c->len, sizeof c->buf - c->len, 0);
            if (n == 0)
                return -1;
            if (n < 0)
                return errno == EAGAIN ? 0 : -1;
            c->len += n;
            continue;
        }
        char *sp = memchr(c->buf, '/', c->len);
        size_t sz = sp ? strtoul(sp + 1, NULL, 10) : 0, used = e + 4 - c->buf;
        memmove(c->buf, c->buf + used, c->len - used);
        c->len -= used;
        c->outlen = snprintf(c->out, sizeof c->out,
                             "HTTP/1.1 200 OK\r\nContent-Type: "
                             "application/octet-stream\r\nContent-Length: %zu\r\n\r\n",
                             sz);
        if (sz && sz <= 256) {
            memset(c->out + c->outlen, 'x', sz);
            c->outlen += sz;
            sz = 0;
        }
        c->outoff = 0;
        c->body = sz;
        c->want_out = 1;
    }
}

static int serve(struct conn *c, unsigned ev)
{
    static char big[1 << 18];
    ssize_t n;
    switch (c->kind) {
    case ECHO:
        while ((n = recv(c->fd, big, sizeof big, 0)) > 0) {
            for (ssize_t o = 0; o < n;) {
                ssize_t w = send(c->fd, big + o, n - o, MSG_NOSIGNAL);
                if (w < 0) {
                    if (errno == EAGAIN) {
                        usleep(50);
                        continue;
                    }
                    return -1;
                }
                o += w;
            }
        }
        return (n < 0 && errno == EAGAIN) ? 0 : -1;
    case SOURCE:
        if (ev & EPOLLIN) {
            n = recv(c->fd, big, sizeof big, 0);
            if (n == 0)
                return -1;
        }
        for (int i = 0; i < 8; i++) {
            off_t off = 0;
            n = sendfile(c->fd, memfd, &off, 4u << 20);
            if (n < 0)
                return errno == EAGAIN ? 0 : -1;
        }
        arm(c, EPOLLIN | EPOLLOUT | EPOLLET);
        return 0;
    case SINK:
        for (int i = 0; i < 16; i++) {
            n = recv(c->fd, NULL, 16u << 20, MSG_TRUNC);
            if (n == 0)
                return -1;
            if (n < 0)
                return errno == EAGAIN ? 0 : -1;
        }
        return 0;
    default:
        return http_in(c);
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    int base = argc > 1 ? atoi(argv[1]) : 9100;
    ep = epoll_create1(0);
    memfd = memfd_create("src", 0);
    if (ftruncate(memfd, FILESZ))
        return 1;
    char *m = mmap(0, FILESZ, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    memset(m, 'x', FILESZ);
    for (int h = 1; h <= 16; h++)
        for (int k = 0; k < 4; k++) {
            char a[16];
            snprintf(a, sizeof a, "127.0.0.%d", h);
            listen_on(a, base + k, k);
        }
    struct epoll_event ev[512];
    for (;;) {
        int n = epoll_wait(ep, ev, 512, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if (c->listener) {
                int fd;
                while ((fd = accept4(c->fd, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    int one = 1;
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    struct conn *k = calloc(1, sizeof *k);
                    k->fd = fd;
                    k->kind = c->kind;
                    struct epoll_event e = {.events = (c->kind == SOURCE || c->kind == HTTP)
                                                          ? EPOLLIN | EPOLLOUT | EPOLLET
                                                          : EPOLLIN,
                                            .data.ptr = k};
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
                    if (c->kind == SOURCE && serve(k, EPOLLOUT))
                        drop(k);
                }
                continue;
            }
            if (serve(c, ev[i].events))
                drop(c);
        }
    }
}
