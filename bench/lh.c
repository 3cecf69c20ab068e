/* SPDX-License-Identifier: MIT */
/* lh: load for a forward proxy over TLS and HTTP/2, one epoll thread. See lg.c for the same in clear over HTTP/1.
 * usage: lh MODE -p PORT -o ORIGINBASE [-T] [-2] [-c CONNECTIONS] [-n TUNNELS OF EACH] [-s SIZE] [-t SECS] [-P PROXYPID] [-D] [-K CIPHERS] [-a ADDRESS] [-W SECS] [-w BYTES]
 *   MODE down  tunnels to the source; count bytes received
 *        up    tunnels to the sink; count bytes acknowledged
 *        pp    tunnels to echo, SIZE-byte ping-pong
 *        hs    full TLS handshakes, each on a connection of its own (-D or not: nothing is asked for)
 *        rs    the same, resumed: every connection shows the ticket of the first
 *        idle  open the tunnels, ping once, hold for SECS
 *        fwd   GET http://origin/SIZE
 *   -T TLS to the proxy   -2 HTTP/2 (else HTTP/1: one tunnel a connection)
 *   -D  a relay, no proxy: PORT is its base port (see origin.c); no CONNECT
 *   -a ADDRESS of the proxy (else 127.0.0.1, from many addresses)   -W SECS before bytes are counted   -w BYTES of a stream's window (4 MB)
 * Prints one line: key=value ...; rise_ms: of down and up, until a tenth of a second had nine tenths of the rate that is counted */
#define _GNU_SOURCE
#include "usage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum mode { DOWN, PP, HS, IDLE, FWD, UP, RS, MODES };
static const char *const names[] = {"down", "pp", "hs", "idle", "fwd", "up", "rs"};
static const int ports[] = {1, 0, 0, 0, 3, 2, 0}; /* of the origin */
enum { HANDSHAKE, ASK, RUN };
enum { IN = 1 << 18, OUT = 1 << 18, SLOT_MS = 100, SLOTS = 6000 };

struct link;
struct tunnel {
    struct link *link;
    int32_t id;
    int host;
    size_t got, put; /* of the present message; put: bytes of it that are to be sent */
    double t0;
    long long bytes;
    bool up, pinged;
};
struct link {
    int fd, state, host;
    SSL *ssl;
    nghttp2_session *h2;
    struct tunnel *tunnels;
    char head[4096];
    size_t n_head, out, sent;
    char *buf; /* what is to be written */
};

static enum mode mode;
static int port, base, n_links = 1, n_tunnels = 1, pid;
static bool tls, h2, direct;
static size_t size = 64;
static double secs = 3, warm;
static const char *address;
static int window = 4 << 20;
static struct link *links;
static long long slots[SLOTS]; /* bytes until the end of each tenth of a second */
static unsigned n_slots, retrans;
static const char *ciphers;
static SSL_CTX *ctx;
static SSL_SESSION *ticket;
static int ep;
static long long bytes, done, errs, up;
static double *lat;
static size_t n_lat, cap_lat;
static char in[IN], message[1 << 16];
static unsigned sources;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
    fprintf(stderr, "lh: %s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(3);
}

static void note(double d)
{
    if (n_lat == cap_lat)
        lat = realloc(lat, (cap_lat = cap_lat ? cap_lat * 2 : 1 << 16) * sizeof(*lat));
    lat[n_lat++] = d;
}

static int cmp(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* ---- bytes ---- */

/* > 0; 0: the end; -1: nothing now; -2: broken */
static ssize_t get(struct link *l, void *p, size_t n)
{
    ssize_t r;

    if (!l->ssl) {
        r = recv(l->fd, p, n, 0);
        return r >= 0 ? r : errno == EAGAIN ? -1 : -2;
    }
    ERR_clear_error();
    r = SSL_read(l->ssl, p, n);
    if (r > 0)
        return r;
    switch (SSL_get_error(l->ssl, r)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    }
    return -2;
}

static ssize_t put(struct link *l, const void *p, size_t n)
{
    ssize_t r;

    if (!l->ssl) {
        r = send(l->fd, p, n, MSG_NOSIGNAL);
        return r >= 0 ? r : errno == EAGAIN ? -1 : -2;
    }
    ERR_clear_error();
    r = SSL_write(l->ssl, p, n);
    if (r > 0)
        return r;
    r = SSL_get_error(l->ssl, r);
    return r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE ? -1 : -2;
}

static void restart(struct link *l, bool ok);

/* Whatever is to be written. */
static void flush(struct link *l)
{
    /* A bound: an upload may never find the socket full. */
    for (double end = now() + 0.02; mode != UP || now() < end;) {
        ssize_t r;

        if (l->sent == l->out) {
            const uint8_t *p = NULL;
            ssize_t n;

            l->sent = l->out = 0;
            while (l->h2 && l->out < OUT / 2 && (n = nghttp2_session_mem_send(l->h2, &p)) > 0) {
                memcpy(l->buf + l->out, p, n);
                l->out += n;
            }
            if (!l->out && mode == UP && !l->h2 && l->tunnels->up) {
                memcpy(l->buf, message, sizeof(message));
                l->out = sizeof(message);
            }
            if (!l->out)
                return;
        }
        r = put(l, l->buf + l->sent, l->out - l->sent);
        if (r == -2)
            restart(l, false);
        if (r < 0)
            return;
        l->sent += r;
    }
}

static void queue(struct link *l, const void *p, size_t n)
{
    if (l->out + n > OUT)
        die("the queue is full");
    memcpy(l->buf + l->out, p, n);
    l->out += n;
}

/* ---- what a tunnel does ---- */

static ssize_t more(nghttp2_session *s, int32_t id, uint8_t *buf, size_t n, uint32_t *flags, nghttp2_data_source *src, void *user)
{
    struct tunnel *t = src->ptr;

    (void)s, (void)id, (void)user, (void)flags;
    if (mode == UP)
        t->put = t->up ? sizeof(message) : 0;
    if (!t->put)
        return NGHTTP2_ERR_DEFERRED;
    n = n < t->put ? n : t->put;
    memcpy(buf, message, n);
    t->put -= n;
    return n;
}

static void ping(struct tunnel *t)
{
    t->t0 = now();
    t->got = 0;
    if (t->link->h2) {
        t->put = size;
        nghttp2_session_resume_data(t->link->h2, t->id);
    } else {
        queue(t->link, message, size);
    }
}

static void request(struct tunnel *t)
{
    char authority[64], path[32];
    nghttp2_nv get[] = {
        {(uint8_t *)":method", (uint8_t *)"GET", 7, 3, 0},
        {(uint8_t *)":scheme", (uint8_t *)"http", 7, 4, 0},
        {(uint8_t *)":authority", (uint8_t *)authority, 10, 0, 0},
        {(uint8_t *)":path", (uint8_t *)path, 5, 0, 0},
    };
    nghttp2_nv connect[] = {
        {(uint8_t *)":method", (uint8_t *)"CONNECT", 7, 7, 0},
        {(uint8_t *)":authority", (uint8_t *)authority, 10, 0, 0},
    };
    nghttp2_data_provider from = {{.ptr = t}, more};
    int n;

    snprintf(authority, sizeof(authority), "127.0.0.%d:%d", t->host + 1, base + ports[mode]);
    snprintf(path, sizeof(path), "/%zu", size);
    get[2].valuelen = connect[1].valuelen = strlen(authority);
    get[3].valuelen = strlen(path);
    t->t0 = now();
    t->got = 0;
    if (t->link->h2) {
        t->id = mode == FWD ? nghttp2_submit_request(t->link->h2, NULL, get, 4, NULL, t)
                            : nghttp2_submit_request(t->link->h2, NULL, connect, 2, &from, t);
        if (t->id < 0)
            die("no stream");
        return;
    }
    n = mode == FWD ? sprintf(in, "GET http://%s%s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, path, authority)
                    : sprintf(in, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority);
    queue(t->link, in, n);
}

static void opened(struct tunnel *t)
{
    t->up = true;
    up++;
    if (mode == PP || mode == IDLE)
        ping(t);
    if (mode == UP && t->link->h2)
        nghttp2_session_resume_data(t->link->h2, t->id);
}

static void received(struct tunnel *t, size_t n)
{
    t->bytes += n;
    bytes += n;
    t->got += n;
    if (mode == DOWN || t->got < size)
        return;
    if (mode == IDLE) {
        done += !t->pinged;
        if (!t->pinged && t->link->h2 && t + 1 < t->link->tunnels + n_tunnels)
            request(t + 1);
        t->pinged = true;
        return;
    }
    done++;
    note(now() - t->t0);
    if (mode == PP)
        ping(t);
    else if (!t->link->h2)
        request(t);
}

/* ---- HTTP/2 ---- */

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
    struct tunnel *t = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);

    (void)user;
    if (t && mode != FWD && f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_RESPONSE)
        opened(t);
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
    struct tunnel *t = nghttp2_session_get_stream_user_data(s, id);

    (void)flags, (void)p, (void)user;
    if (t)
        received(t, n);
    return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t error, void *user)
{
    struct tunnel *t = nghttp2_session_get_stream_user_data(s, id);

    (void)user;
    if (!t)
        return 0;
    if (error || mode != FWD)
        errs++;
    if (errs > 1000)
        die("too many errors");
    request(t);
    return 0;
}

static void begin_h2(struct link *l)
{
    nghttp2_session_callbacks *cb;
    nghttp2_settings_entry first = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)window};

    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_client_new(&l->h2, cb, l);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(l->h2, 0, &first, 1);
    nghttp2_session_set_local_window_size(l->h2, 0, 0, 1 << 28);
    /* Quiet ones are counted, not what it takes to begin all at once. */
    for (int i = 0; i < (mode == IDLE ? 1 : n_tunnels); i++)
        request(&l->tunnels[i]);
}

/* ---- a link ---- */

static void start(struct link *l)
{
    struct sockaddr_in me = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001 + 256 * (1 + sources++ % 64))};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001), .sin_port = htons(direct ? port + ports[mode] : port)};
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = l};
    int one = 1;

    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    l->state = HANDSHAKE;
    l->n_head = l->out = l->sent = 0;
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(l->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (address && inet_pton(AF_INET, address, &to.sin_addr) != 1)
        exit(2);
    if ((!address && bind(l->fd, (void *)&me, sizeof(me))) || (connect(l->fd, (void *)&to, sizeof(to)) && errno != EINPROGRESS))
        die("connect");
    if (tls) {
        l->ssl = SSL_new(ctx);
        SSL_set_fd(l->ssl, l->fd);
        SSL_set_connect_state(l->ssl);
        if (ticket) { /* OpenSSL would use it once */
            SSL_SESSION *copy = SSL_SESSION_dup(ticket);

            if (!copy || SSL_set_session(l->ssl, copy) != 1)
                die("the ticket is of no use");
            SSL_SESSION_free(copy);
        }
        if (h2)
            SSL_set_alpn_protos(l->ssl, (const uint8_t *)"\x02h2", 3);
    }
    if (epoll_ctl(ep, EPOLL_CTL_ADD, l->fd, &ev))
        die("epoll_ctl");
}

static void restart(struct link *l, bool ok)
{
    struct linger now_ = {1, 0};

    errs += !ok;
    if (errs > 1000)
        die("too many errors");
    setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &now_, sizeof(now_));
    close(l->fd);
    if (l->ssl) /* or the ticket would be taken for bad */
        SSL_set_shutdown(l->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(l->ssl);
    l->ssl = NULL;
    nghttp2_session_del(l->h2);
    l->h2 = NULL;
    start(l);
}

static bool shaken(struct link *l)
{
    int r, error = 0;
    socklen_t n = sizeof(error);

    if (l->ssl) {
        ERR_clear_error();
        r = SSL_do_handshake(l->ssl);
        if (r == 1)
            return true;
        r = SSL_get_error(l->ssl, r);
        if (r != SSL_ERROR_WANT_READ && r != SSL_ERROR_WANT_WRITE)
            restart(l, false);
        return false;
    }
    getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error)
        restart(l, false);
    return !error;
}

/* HTTP/1: the answer's head goes by. True: the tunnel, or the content, begins, with what is behind the head. */
static bool head_over(struct link *l, const char *p, size_t n, size_t *ret_used)
{
    size_t had = l->n_head, take = n < sizeof(l->head) - had - 1 ? n : sizeof(l->head) - had - 1;
    char *end;

    memcpy(l->head + had, p, take);
    l->head[l->n_head = had + take] = '\0';
    end = strstr(l->head, "\r\n\r\n");
    if (!end)
        return false;
    *ret_used = end + 4 - l->head - had;
    l->n_head = 0;
    return true;
}

static void read_h1(struct link *l, const char *p, size_t n)
{
    struct tunnel *t = l->tunnels;
    size_t used = 0;

    while (n && l->state == ASK) {
        if (!head_over(l, p, n, &used))
            return;
        p += used, n -= used;
        l->state = RUN;
        if (mode != FWD)
            opened(t);
    }
    if (!n)
        return;
    if (mode == FWD && t->got + n >= size)
        l->state = ASK;
    received(t, n);
}

static void run(struct link *l)
{
    ssize_t n;

    if (l->state == HANDSHAKE) {
        if (!shaken(l))
            return;
        if (mode == HS || (mode == RS && ticket)) {
            done += mode == HS || SSL_session_reused(l->ssl);
            restart(l, true);
            return;
        }
        l->state = direct || mode == RS ? RUN : ASK;
        if (mode == RS)
            ;
        else if (h2)
            begin_h2(l);
        else if (direct)
            opened(l->tunnels);
        else
            request(l->tunnels);
    }
    if (mode == RS) {
        /* The first ones wait for a ticket. */
        n = get(l, in, IN);
        if (ticket || (n != -1 && n <= 0))
            restart(l, n != -2);
        return;
    }
    flush(l);
    while ((n = get(l, in, IN)) > 0) {
        if (!l->h2)
            read_h1(l, in, n);
        else if (nghttp2_session_mem_recv(l->h2, (uint8_t *)in, n) != n)
            break;
        if (mode != DOWN || l->h2)
            flush(l);
    }
    if (n != -1 && l->fd >= 0)
        restart(l, false);
}

/* ---- the whole ---- */

static void options(int argc, char **argv)
{
    int o;

    while (argc > 1 && mode < MODES && strcmp(argv[1], names[mode]))
        mode++;
    if (argc < 2 || mode == MODES)
        exit(2);
    optind = 2;
    while ((o = getopt(argc, argv, "p:o:c:n:s:t:P:K:a:W:w:T2D")) > 0)
        switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'o': base = atoi(optarg); break;
        case 'c': n_links = atoi(optarg); break;
        case 'n': n_tunnels = atoi(optarg); break;
        case 's': size = strtoul(optarg, NULL, 10); break;
        case 't': secs = atof(optarg); break;
        case 'P': pid = atoi(optarg); break;
        case 'K': ciphers = optarg; break;
        case 'a': address = optarg; break;
        case 'W': warm = atof(optarg); break;
        case 'w': window = atoi(optarg); break;
        case 'T': tls = true; break;
        case '2': h2 = true; break;
        case 'D': direct = true; break;
        default: exit(2);
        }
    if (size > sizeof(message) || (!h2 && n_tunnels != 1) || ((mode == HS || mode == RS) && !tls))
        exit(2);
}

/* What has gone through by now. */
static void count(double since)
{
    if (mode == UP)
        bytes = retrans = 0;
    for (int i = 0; mode == UP && i < n_links; i++) {
        struct tcp_info info = {0};
        socklen_t n = sizeof(info);

        if (!getsockopt(links[i].fd, IPPROTO_TCP, TCP_INFO, &info, &n))
            bytes += info.tcpi_bytes_acked, retrans += info.tcpi_total_retrans;
    }
    while (n_slots < SLOTS && n_slots < since * 1000 / SLOT_MS)
        slots[n_slots++] = bytes;
}

/* Of the time after `warm`; and how soon it was so. */
static double steady(long *ret_rise_ms)
{
    unsigned from = warm * 1000 / SLOT_MS, i = 1;
    double rate;

    if (n_slots < from + 2)
        return 0;
    rate = (double)(slots[n_slots - 1] - slots[from]) / (n_slots - 1 - from);
    while (i < n_slots && slots[i] - slots[i - 1] < 0.9 * rate)
        i++;
    *ret_rise_ms = i * SLOT_MS;
    return rate * 1000 / SLOT_MS;
}

static void report(double dt, double cpu, long kib, long kib0)
{
    qsort(lat, n_lat, sizeof(*lat), cmp);
    printf("mode=%s conns=%d tunnels=%d secs=%.2f done=%lld errs=%lld rate=%.0f/s GBps=%.3f", names[mode], n_links, n_links * n_tunnels, dt, done, errs,
           done / dt, bytes / dt / 1e9);
    if (mode == DOWN || mode == UP) {
        long rise_ms = 0;

        printf(" mbits=%.1f", steady(&rise_ms) * 8 / 1e6);
        printf(" rise_ms=%ld retrans=%u", rise_ms, retrans);
    }
    if (n_lat)
        printf(" p50us=%.0f p99us=%.0f", lat[n_lat / 2] * 1e6, lat[(size_t)(n_lat * .99)] * 1e6);
    if (pid) {
        printf(" cpu=%.2f pss_kib=%ld", cpu, kib);
        if ((mode == DOWN || mode == UP) && bytes > 1e8)
            printf(" cpu_s_per_GB=%.4f", cpu / (bytes / 1e9));
        if (mode != DOWN && mode != UP && mode != IDLE && done)
            printf(" cpu_us_per_op=%.2f", cpu / done * 1e6);
        if (mode == IDLE)
            printf(" pss_bytes_per_tunnel=%.0f", (kib - kib0) * 1024.0 / (n_links * n_tunnels));
    }
    printf("\n");
}

static int new_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    if (!ticket)
        ticket = SSL_SESSION_dup(session);
    return 0;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    double cpu0 = 0, cpu1 = 0, begin, held = 0;
    long kib0 = 0, kib1 = 0;
    struct epoll_event ev[256];

    options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    memset(message, 'y', sizeof(message));
    ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (mode == RS) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, new_ticket);
    }
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    if (ciphers && !SSL_CTX_set_ciphersuites(ctx, ciphers))
        exit(2);
    ep = epoll_create1(0);
    if (pid)
        proctree(pid, &cpu0, &kib0);
    links = calloc(n_links, sizeof(*links));
    for (int i = 0; i < n_links; i++) {
        struct link *l = &links[i];

        l->buf = malloc(OUT);
        l->tunnels = calloc(n_tunnels, sizeof(*l->tunnels));
        for (int k = 0; k < n_tunnels; k++)
            l->tunnels[k] = (struct tunnel){.link = l, .host = (i + k) % 16};
        start(l);
    }
    begin = now();
    for (double t = begin; t < (held ? held : begin + (mode == IDLE ? 30 : 0)) + secs; t = now()) {
        int n = epoll_wait(ep, ev, 256, mode == UP ? 1 : 20);

        for (int i = 0; i < n; i++)
            run(ev[i].data.ptr);
        for (int i = 0; mode == UP && i < n_links; i++)
            if (links[i].state != HANDSHAKE)
                flush(&links[i]);
        count(t - begin);
        if (mode == IDLE && !held && done >= (long long)n_links * n_tunnels)
            held = now();
    }
    if (pid)
        proctree(pid, &cpu1, &kib1);
    report(now() - begin, cpu1 - cpu0, kib1, kib0);
    return errs > done / 100 + 10 || (mode != HS && mode != RS && mode != FWD && up < (long long)n_links * n_tunnels) || (mode == IDLE && !held);
}
