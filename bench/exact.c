/* SPDX-License-Identifier: MIT */
/* exact: how connections end through a proxy. Plays client and origin itself, on loopback, many
 * cases at a time in one epoll thread.
 *
 * A case is a leg (what runs through the proxy), an event (who ends, and how) and a situation (what
 * is going on then). It is made of a small program for each end (send so much, wait until all has
 * arrived, FIN, RST …) and what each end must see: see "plans". Contents are pseudo-random, other
 * ones in each case and direction, and compared byte by byte as they come in.
 *
 *   after a FIN: every byte, then a FIN within 2 s of the last; the other direction lives on
 *   after an RST: a correct prefix, then an RST (never an orderly end) within 1 s of its last byte,
 *   or 2 s after the event where the reader takes nothing
 *   of messages: whole, or visibly broken within the same times; never whole when it was not
 *
 * usage: exact -p PORT [OPTIONS]
 *        exact -o ORIGINBASE -r RELAYBASE -h HTTPBASE [OPTIONS]
 *   the second is for a relay with fixed ports: slot i of the cases goes through RELAYBASE+i (tcp)
 *   or HTTPBASE+i (http) and must come out at ORIGINBASE+i
 *   -c N        how many cases at a time (64)
 *   -n N        how often each cell (20); those that wait a quarter of that, heavy ones a tenth
 *   -k PATTERN  only cells LEG/EVENT/SITUATION that match, as 'connect/rst-*'; several times
 *   -s SEED     another run
 *   -S SEED     of every case: repeats a failure
 *   -w FACTOR   stretches the times allowed, for slow builds and busy machines
 *   -l          lists the cells
 * Prints what is wrong as it is found, then a line for each cell ("cell LEG EVENT SITUATION RUNS
 * WRONG FIRST-OF-THEM"), then a summary. Exit status: 0 nothing wrong, 1 something wrong, 2 usage,
 * 3 it could not run. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fnmatch.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- words ---- */

enum leg {
    CONNECT,
    UPGRADE,
    GET_CLOSE,
    GET_LENGTH,
    GET_CHUNKED,
    POST_LENGTH,
    POST_CHUNKED,
    N_LEGS
};
enum event {
    FIN_CLIENT,
    FIN_ORIGIN,
    FIN_BOTH,
    CUT_CLIENT,
    CUT_ORIGIN,
    RST_CLIENT,
    RST_ORIGIN,
    N_EVENTS
};
/* idle       everything has arrived before the event
 * both       both ends are writing
 * bulk       16 MiB from the other end after the FIN; an RST in the middle of 16 MiB, in a tunnel
 *            after the other end's FIN
 * slow       the far end reads slowly; before an RST: not at all, and every buffer is full
 * bytes      one byte a send
 * onego      the end right behind the last byte (a FIN in its segment)
 * early      first bytes and end right behind the head (origin: as soon as it has accepted)
 * after-fin  the RST follows a FIN of the same end, while 16 MiB come in
 * unread     the event's end reads nothing, and every buffer towards it is full */
enum situation { IDLE, BOTH, BULK, SLOW, BYTES, ONEGO, EARLY, AFTER_FIN, UNREAD, N_SITUATIONS };
static const char *const leg_names[] = {"connect",     "upgrade",     "get-close",   "get-length",
                                        "get-chunked", "post-length", "post-chunked"};
static const char *const event_names[] = {"fin-client", "fin-origin", "fin-both",  "cut-client",
                                          "cut-origin", "rst-client", "rst-origin"};
static const char *const situation_names[] = {"idle",  "both",  "bulk",      "slow",  "bytes",
                                              "onego", "early", "after-fin", "unread"};

enum {
    BULK_SIZE = 16 << 20,
    ENDLESS = 64 << 20,
    PERIOD = 1048573, /* of the contents: a prime, so that a loss or repetition of a whole buffer
                         shows */
    AHEAD = 256 << 10,
    SCRATCH = 256 << 10,
    OUT_SIZE = 32 << 10,
    HEAD_SIZE = 4096,
    MAX_OPS = 16,
    MAX_HEAVY = 6,
    MAX_READS = 8,
    SMALL_BUFFER = 64 << 10,
    SLOW_BUFFER = 64 << 10,
    SLOW_READ = 32 << 10, /* a millisecond */
    SLOW_SIZE = 6 << 20,  /* more than sockets and proxy hold between them */
    BLOCKED_US = 60000,
    FIN_US = 2000000,
    RST_US = 1000000,
    HANG_US = 5000000,
    STALL_US = 100000,
    REST_US = 100000,
};

enum op_kind {
    OP_STOP,
    OP_SEND,    /* n more bytes of content */
    OP_FILL,    /* as much as goes, until nothing goes any more */
    OP_HEAD,    /* the answer's head (origin) */
    OP_END,     /* what ends the message's framing */
    OP_CORK,    /* what follows leaves together with the FIN */
    OP_MET,     /* until both ends are here and everything sent has arrived */
    OP_PAUSE,   /* n microseconds */
    OP_HEARD,   /* until the other's FIN is here */
    OP_ASKED,   /* until the origin has the request's head, or the tunnel's connection */
    OP_OPEN,    /* until the client knows that the tunnel is open */
    OP_WHOLE,   /* until the other's message is complete */
    OP_GOT,     /* until n bytes of content have come */
    OP_BLOCKED, /* until the other can send no more */
    OP_FIN,
    OP_RST,
};
struct op {
    enum op_kind kind;
    uint64_t n;
};

enum framing { RAW, CLOSE, LENGTH, CHUNKED };
enum reader { EAGER, SLOWLY, STALLED };
enum in_state {
    IN_HEAD,
    IN_RAW,
    IN_LENGTH,
    IN_CHUNK_SIZE,
    IN_CHUNK,
    IN_CHUNK_END,
    IN_TRAILERS,
    IN_DONE
};
enum expect {
    EXPECT_NOTHING, /* it has reset itself */
    EXPECT_FIN,     /* everything and a FIN */
    EXPECT_RST,     /* a prefix and an RST */
    EXPECT_WHOLE,   /* a complete message */
    EXPECT_BROKEN,  /* an end, but no complete message (or a refusal) */
    EXPECT_GONE,    /* an end of any kind */
    EXPECT_FAIL,    /* an end or a refusal, but no success */
};

struct slot;
struct end {
    struct slot *slot;
    struct end *other;
    int fd;
    bool is_client, can_read, can_write, started, settled;

    struct op ops[MAX_OPS];
    int n_ops, at;
    uint64_t op_left;
    int64_t op_since;
    enum expect expect;
    enum reader reader;
    bool may_refuse;

    /* what it sends */
    enum framing framing;
    uint64_t declared, shift, framed, chunk_left;
    bool greeted, bytewise, cork, blocked, ended, did_fin, did_rst, send_failed;
    int64_t sent_at, ended_at, fin_at, rst_at;
    size_t out_n, out_off;

    /* what it receives */
    enum in_state in;
    uint64_t got, in_left;
    bool open, fin, err, read_done, in_close, resumed;
    int in_errno, status;
    int64_t last_at, end_at, err_at,
        read_at; /* the last bytes; the end; the first word of an error; the last try */
    size_t head_n;

    /* from here on nothing is cleared */
    char head[HEAD_SIZE];
    char out[OUT_SIZE];
};

struct cell {
    enum leg leg;
    enum event event;
    enum situation situation;
    int reps;
    long runs, wrong;
    char first[200];
};

struct slot {
    int index, listener, port;
    bool busy, heavy, wrong;
    struct cell *cell;
    uint64_t seed, rng;
    unsigned id;
    int64_t began, progress, rests_until;
    struct end end[2]; /* 0 client, 1 origin */
};

static int proxy_port, origin_base, relay_base, http_base, n_slots = 64, reps = 20, ep, n_heavy;
static double patience = 1;
static uint64_t run_seed = 1, fixed_seed;
static char *block, *scratch;
static int64_t now_us;
static unsigned next_id;
static long all_runs, all_wrong;
static int64_t slowest_fin, slowest_rst;
static uint64_t all_bytes;

static int64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

/* the limit stretched by -w */
static bool overdue(int64_t since, int64_t limit)
{
    return (double)(now_us - since) > (double)limit * patience;
}

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

/* from low to high, both possible */
static uint64_t pick(struct slot *s, uint64_t low, uint64_t high)
{
    s->rng = mix(s->rng);
    return low + s->rng % (high - low + 1);
}

static void die(const char *what)
{
    fprintf(stderr, "exact: %s: %s\n", what, strerror(errno));
    exit(3);
}

static bool is_tunnel(const struct slot *s)
{
    return s->cell->leg <= UPGRADE;
}

static bool is_download(enum leg leg)
{
    return leg >= GET_CLOSE && leg <= GET_CHUNKED;
}

/* ---- what is wrong ---- */

static void wrong(struct slot *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct slot *s, const char *format, ...)
{
    struct cell *c = s->cell;
    char what[200];
    va_list ap;

    if (s->wrong)
        return;
    s->wrong = true;
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    if (!c->wrong++)
        snprintf(c->first, sizeof c->first, "%s", what);
    all_wrong++;
    if (c->wrong <= 5)
        printf("wrong %s/%s/%s -S %llu: %s (client sent %llu got %llu, origin sent %llu got %llu, "
               "%lld ms)\n",
               leg_names[c->leg], event_names[c->event], situation_names[c->situation],
               (unsigned long long)s->seed, what, (unsigned long long)s->end[0].framed,
               (unsigned long long)s->end[0].got, (unsigned long long)s->end[1].framed,
               (unsigned long long)s->end[1].got, (long long)(now_us - s->began) / 1000);
    fflush(stdout);
}

static const char *who(const struct end *e)
{
    return e->is_client ? "client" : "origin";
}

/* ---- contents ---- */

static const char *content_at(const struct end *sender, uint64_t offset)
{
    return block + (offset + sender->shift) % PERIOD;
}

/* n bytes of content have come. */
static void check_content(struct end *e, const char *p, size_t n)
{
    struct end *from = e->other;

    all_bytes += n;
    if (e->got + n > from->framed) {
        wrong(e->slot, "the %s got bytes that nobody sent", who(e));
        return;
    }
    while (n) {
        size_t m = n < AHEAD ? n : AHEAD;
        const char *q = content_at(from, e->got);

        if (memcmp(p, q, m)) {
            size_t i = 0;

            while (p[i] == q[i])
                i++;
            wrong(e->slot, "the %s got a wrong byte at %llu", who(e),
                  (unsigned long long)(e->got + i));
            return;
        }
        e->got += m;
        p += m;
        n -= m;
    }
}

/* ---- receiving ---- */

static char *field(char *head, const char *name)
{
    char *p = strcasestr(head, name);

    return p ? p + strlen(name) : NULL;
}

static void read_request_head(struct end *e)
{
    char path[32];

    snprintf(path, sizeof path, "/%x ", e->slot->id);
    if (!strstr(e->head, path)) {
        wrong(e->slot, "the origin got another case's request");
        return;
    }
    e->open = true;
    if (e->slot->cell->leg == UPGRADE)
        e->in = IN_RAW;
    else if (is_download(e->slot->cell->leg))
        e->in = IN_DONE;
    else if (field(e->head, "\ntransfer-encoding:"))
        e->in = IN_CHUNK_SIZE;
    else {
        char *length = field(e->head, "\ncontent-length:");

        e->in = IN_LENGTH;
        e->in_left = length ? strtoull(length, NULL, 10) : 0;
        if (!e->in_left)
            e->in = IN_DONE;
    }
}

static void read_response_head(struct end *e)
{
    char *length = field(e->head, "\ncontent-length:"),
         *coding = field(e->head, "\ntransfer-encoding:");

    e->status = atoi(e->head + 9);
    if (is_tunnel(e->slot) && e->status < 300) {
        e->open = true;
        e->in = IN_RAW;
    } else if (e->status == 100) {
        e->in = IN_HEAD;
    } else if (e->status >= 400) {
        e->in = IN_DONE;
    } else if (coding) {
        e->in = IN_CHUNK_SIZE;
    } else if (length) {
        e->in_left = strtoull(length, NULL, 10);
        e->in = e->in_left ? IN_LENGTH : IN_DONE;
    } else {
        e->in_close = true;
        e->in = IN_RAW;
    }
}

/* Takes one byte of a line; true at its end. The line is in head. */
static bool take_line(struct end *e, char c)
{
    if (e->head_n < HEAD_SIZE - 1)
        e->head[e->head_n++] = c;
    if (c != '\n')
        return false;
    e->head[e->head_n] = 0;
    return true;
}

static size_t take_head(struct end *e, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        take_line(e, p[i]);
        if (e->head_n >= 4 && !memcmp(e->head + e->head_n - 4, "\r\n\r\n", 4)) {
            e->head[e->head_n] = 0;
            if (e->is_client)
                read_response_head(e);
            else
                read_request_head(e);
            e->head_n = 0;
            return i + 1;
        }
    }
    return n;
}

static size_t take_chunk_line(struct end *e, char c)
{
    if (!take_line(e, c))
        return 1;
    if (e->in == IN_CHUNK_SIZE) {
        e->in_left = strtoull(e->head, NULL, 16);
        e->in = e->in_left ? IN_CHUNK : IN_TRAILERS;
    } else if (e->in == IN_CHUNK_END) {
        if (e->head_n != 2)
            wrong(e->slot, "the %s got a chunk of a wrong size", who(e));
        e->in = IN_CHUNK_SIZE;
    } else if (e->head_n == 2) {
        e->in = IN_DONE;
    }
    e->head_n = 0;
    return 1;
}

static size_t take_sized(struct end *e, const char *p, size_t n)
{
    if (n > e->in_left)
        n = e->in_left;
    check_content(e, p, n);
    e->in_left -= n;
    if (!e->in_left)
        e->in = e->in == IN_LENGTH ? IN_DONE : IN_CHUNK_END;
    return n;
}

static size_t take_some(struct end *e, const char *p, size_t n)
{
    switch (e->in) {
    case IN_HEAD:
        return take_head(e, p, n);
    case IN_RAW:
        check_content(e, p, n);
        return n;
    case IN_LENGTH:
    case IN_CHUNK:
        return take_sized(e, p, n);
    case IN_CHUNK_SIZE:
    case IN_CHUNK_END:
    case IN_TRAILERS:
        return take_chunk_line(e, *p);
    case IN_DONE:
        if (e->status < 400) /* a refusal's body is not of interest */
            wrong(e->slot, "the %s got bytes behind the message", who(e));
        return n;
    }
    return n;
}

static void take(struct end *e, const char *p, size_t n)
{
    e->last_at = e->slot->progress = now_us;
    while (n && !e->slot->wrong) {
        size_t used = take_some(e, p, n);

        p += used;
        n -= used;
    }
}

static void saw_error(struct end *e, int error)
{
    if (!e->err)
        e->err_at = now_us;
    e->err = true;
    if (error == ECONNRESET)
        e->in_errno = error;
}

/* A reader that takes nothing begins when it hears of an error, or after two seconds. */
static bool reader_waits(struct end *e)
{
    int plenty = 4 << 20;

    if (!e->open && e->in == IN_HEAD && !is_download(e->slot->cell->leg))
        return false;
    if (e->reader == STALLED && !e->resumed &&
        (e->err || (e->other->did_rst && now_us - e->other->rst_at > 2 * RST_US))) {
        e->resumed = true;
        setsockopt(e->fd, SOL_SOCKET, SO_RCVBUF, &plenty, sizeof plenty);
    }
    if (e->reader == STALLED)
        return !e->resumed;
    return e->reader == SLOWLY && !e->err && now_us - e->read_at < 1000;
}

/* True if there may be more. */
static bool receive(struct end *e)
{
    size_t max = e->reader == EAGER || e->resumed ? SCRATCH : SLOW_READ;
    ssize_t n;

    if (e->fd < 0 || !e->can_read || e->read_done || reader_waits(e))
        return false;
    e->read_at = now_us;
    n = recv(e->fd, scratch, max, 0);
    if (n > 0) {
        take(e, scratch, (size_t)n);
        return true;
    }
    if (n < 0 && errno == EAGAIN) {
        e->can_read = false;
        return false;
    }
    if (n < 0)
        saw_error(e, errno);
    /* An error that a send has consumed leaves 0 here: that is no FIN. A FIN before an RST makes
     * EPIPE of the RST. */
    else if (e->in_errno != ECONNRESET)
        e->fin = true;
    e->read_done = true;
    e->end_at = e->slot->progress = now_us;
    return false;
}

/* ---- sending ---- */

static void put(struct end *e, const char *p, size_t n)
{
    if (e->out_n + n > OUT_SIZE) {
        fprintf(stderr, "exact: out of room\n");
        exit(3);
    }
    memcpy(e->out + e->out_n, p, n);
    e->out_n += n;
}

static void put_text(struct end *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put_text(struct end *e, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    put(e, text, strlen(text));
}

/* Puts content in its framing into the buffer, as much as has room. */
static void frame(struct end *e)
{
    while (e->op_left && e->out_n + 64 < OUT_SIZE) {
        uint64_t n = e->op_left;

        if (e->framing == CHUNKED && !e->chunk_left) {
            uint64_t size = pick(e->slot, 1, e->bytewise ? 20 : 40000);

            e->chunk_left = size < n ? size : n;
            put_text(e, "%llx\r\n", (unsigned long long)e->chunk_left);
        }
        if (e->framing == CHUNKED && n > e->chunk_left)
            n = e->chunk_left;
        if (n > OUT_SIZE - e->out_n - 32)
            n = OUT_SIZE - e->out_n - 32;
        put(e, content_at(e, e->framed), n);
        e->framed += n;
        e->op_left -= n;
        if (e->framing != CHUNKED)
            continue;
        e->chunk_left -= n;
        if (!e->chunk_left)
            put(e, "\r\n", 2);
    }
}

enum sent { SENT_ALL, SENT_SOME, SENT_FAILED };

static ssize_t send_some(struct end *e, const char *p, size_t n)
{
    ssize_t r = send(e->fd, p, e->bytewise ? 1 : n, MSG_NOSIGNAL | (e->cork ? MSG_MORE : 0));

    if (r >= 0) {
        e->sent_at = e->slot->progress = now_us;
        return r;
    }
    if (errno == EAGAIN) {
        e->can_write = false;
        return -1;
    }
    e->send_failed = true;
    saw_error(e, errno);
    return -1;
}

/* What is in the buffer, then (in a tunnel) content without a buffer. A few system calls a turn at
 * most. */
static enum sent send_out(struct end *e)
{
    for (int i = 0; i < 8; i++) {
        ssize_t n;

        if (e->send_failed)
            return SENT_FAILED;
        if (e->framing != RAW || e->bytewise)
            frame(e);
        if (e->out_n == 0 && e->op_left == 0)
            return SENT_ALL;
        if (!e->can_write)
            return SENT_SOME;
        if (e->out_n) {
            n = send_some(e, e->out + e->out_off, e->out_n - e->out_off);
            if (n > 0)
                e->out_off += (size_t)n;
            if (e->out_off == e->out_n)
                e->out_off = e->out_n = 0;
        } else {
            n = send_some(e, content_at(e, e->framed), e->op_left < AHEAD ? e->op_left : AHEAD);
            if (n > 0) {
                e->framed += (uint64_t)n;
                e->op_left -= (uint64_t)n;
            }
        }
    }
    return e->out_n || e->op_left ? SENT_SOME : SENT_ALL;
}

static void close_end(struct end *e, bool reset)
{
    struct linger l = {1, 0};

    if (e->fd < 0)
        return;
    if (reset)
        setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    close(e->fd);
    e->fd = -1;
}

static void put_answer_head(struct end *e)
{
    put_text(e,
             "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/octet-stream\r\n");
    if (e->framing == LENGTH)
        put_text(e, "Content-Length: %llu\r\n", (unsigned long long)e->declared);
    else if (e->framing == CHUNKED)
        put_text(e, "Transfer-Encoding: chunked\r\n");
    put_text(e, "\r\n");
}

static void put_request_head(struct end *e)
{
    struct slot *s = e->slot;
    char target[64] = "";
    int port = s->port;

    if (s->cell->leg == CONNECT) {
        if (!relay_base)
            put_text(e, "CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", port, port);
        return;
    }
    if (!relay_base)
        snprintf(target, sizeof target, "http://127.0.0.1:%d", port);
    put_text(e, "%s %s/%x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n",
             s->cell->leg >= POST_LENGTH ? "POST" : "GET", target, s->id, port);
    if (s->cell->leg == UPGRADE)
        put_text(e, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    if (s->cell->leg == POST_LENGTH)
        put_text(e, "Content-Length: %llu\r\n", (unsigned long long)e->declared);
    if (s->cell->leg == POST_CHUNKED)
        put_text(e, "Transfer-Encoding: chunked\r\n");
    put_text(e, "\r\n");
}

/* ---- programs ---- */

static bool arrived(const struct end *e)
{
    return !e->out_n && e->other->got == e->framed;
}

static bool at_met(const struct end *e)
{
    return e->started && e->at < e->n_ops && e->ops[e->at].kind == OP_MET;
}

static void next_op(struct end *e)
{
    e->at++;
    e->op_left = 0;
    e->op_since = now_us;
    if (e->at < e->n_ops && e->ops[e->at].kind == OP_SEND)
        e->op_left = e->ops[e->at].n;
}

static void do_fin(struct end *e)
{
    e->did_fin = true;
    e->fin_at = now_us;
    if (shutdown(e->fd, SHUT_WR) < 0)
        e->send_failed = true;
    e->cork = false;
}

static void do_rst(struct end *e)
{
    e->did_rst = true;
    e->rst_at = now_us;
    close_end(e, true);
}

/* Sends what there is; true when the op is done. */
static bool run_sending(struct end *e, enum op_kind kind)
{
    enum sent sent;

    if (kind == OP_FILL && e->op_left < OUT_SIZE)
        e->op_left = 8 * AHEAD;
    sent = send_out(e);
    if (kind != OP_FILL)
        return sent == SENT_ALL;
    if (!e->can_write && now_us - e->sent_at > BLOCKED_US && now_us - e->op_since > BLOCKED_US)
        e->blocked = true;
    return e->blocked;
}

static bool run_op(struct end *e, const struct op *op)
{
    struct slot *s = e->slot;

    switch (op->kind) {
    case OP_STOP:
        return false;
    case OP_SEND:
    case OP_FILL:
        return run_sending(e, op->kind);
    case OP_HEAD:
        put_answer_head(e);
        return true;
    case OP_END:
        if (e->framing == CHUNKED)
            put(e, "0\r\n\r\n", 5);
        e->ended = true;
        e->ended_at = now_us;
        return true;
    case OP_CORK:
        e->cork = true;
        return true;
    case OP_MET:
        if (!arrived(e) || !arrived(e->other) ||
            (!at_met(e->other) && e->other->at < e->other->n_ops))
            return false;
        if (at_met(e->other))
            next_op(e->other);
        return true;
    case OP_PAUSE:
        return now_us - e->op_since >= (int64_t)op->n;
    case OP_HEARD:
        return e->fin;
    case OP_ASKED:
        return s->end[1].open;
    case OP_OPEN:
        return s->end[0].open;
    case OP_WHOLE:
        return e->in == IN_DONE;
    case OP_GOT:
        return e->got >= op->n;
    case OP_BLOCKED:
        return e->other->blocked;
    case OP_FIN:
        do_fin(e);
        return true;
    case OP_RST:
        do_rst(e);
        return true;
    }
    return false;
}

/* Whatever an op has put into the buffer leaves before the next one that waits or ends. */
static void run_program(struct end *e)
{
    while (e->fd >= 0 && e->started && !e->slot->wrong) {
        const struct op *op = &e->ops[e->at];
        bool sends = e->at < e->n_ops && (op->kind == OP_SEND || op->kind == OP_FILL ||
                                          op->kind == OP_HEAD || op->kind == OP_END);

        if (!sends && e->out_n && (e->at == e->n_ops || op->kind != OP_RST) && !e->send_failed &&
            send_out(e) != SENT_ALL)
            return;
        if (e->at == e->n_ops || e->send_failed || !run_op(e, op))
            return;
        if (e->fd >= 0)
            next_op(e);
    }
}

static void start_program(struct end *e)
{
    e->started = true;
    e->at = -1;
    next_op(e);
}

/* ---- plans ---- */

static void op(struct end *e, enum op_kind kind, uint64_t n)
{
    if (e->n_ops == MAX_OPS) {
        fprintf(stderr, "exact: program too long\n");
        exit(3);
    }
    e->ops[e->n_ops++] = (struct op){kind, n};
}

/* a size: often tiny, sometimes around the sizes of buffers */
static uint64_t some(struct slot *s)
{
    static const uint64_t around[] = {1, 2, 1448, 4096, 16384, 32768, 65536, 131072, 262144};

    switch (pick(s, 0, 3)) {
    case 0:
        return pick(s, 0, 100);
    case 1:
        return around[pick(s, 0, 8)] - 1 + pick(s, 0, 2);
    case 2:
        return pick(s, 1, 20000);
    default:
        return pick(s, 1, 300000);
    }
}

static uint64_t little(struct slot *s)
{
    return pick(s, 1, 300);
}

static void op_send(struct end *e, uint64_t n)
{
    op(e, OP_SEND, n);
}

static void op_send_fin(struct end *e, uint64_t n)
{
    op(e, OP_SEND, n);
    op(e, OP_FIN, 0);
}

/* The far end of a FIN: the other direction lives on. */
static void op_live_on(struct end *e, uint64_t n)
{
    op(e, OP_HEARD, 0);
    if (pick(e->slot, 0, 1))
        op(e, OP_PAUSE, pick(e->slot, 0, 3000));
    op_send_fin(e, n);
}

/* x ends by FIN, y goes on and ends later. */
static void plan_tunnel_fin(struct slot *s, struct end *x, struct end *y)
{
    switch (s->cell->situation) {
    case IDLE:
        op_send(x, pick(s, 0, 300));
        op_send(y, pick(s, 0, 300));
        op(x, OP_MET, 0);
        op(y, OP_MET, 0);
        op(x, OP_PAUSE, pick(s, 0, 3000));
        op(x, OP_FIN, 0);
        op_live_on(y, some(s));
        break;
    case BOTH:
        op_send_fin(x, some(s));
        op_send(y, some(s));
        op_live_on(y, some(s));
        break;
    case BULK:
        op_send_fin(x, some(s));
        if (pick(s, 0, 1))
            op(y, OP_HEARD, 0);
        op_send_fin(y, BULK_SIZE);
        break;
    case SLOW:
        y->reader = SLOWLY;
        op_send_fin(x, pick(s, 100000, SLOW_SIZE));
        op_live_on(y, some(s));
        break;
    case BYTES:
        x->bytewise = y->bytewise = true;
        op_send_fin(x, little(s));
        op_send(y, little(s));
        op_live_on(y, little(s));
        break;
    case ONEGO:
    case EARLY:
        op(x, OP_CORK, 0);
        op_send_fin(x, some(s));
        op(y, OP_HEARD, 0);
        op(y, OP_CORK, 0);
        op_send_fin(y, some(s));
        break;
    default:
        break;
    }
    x->expect = y->expect = EXPECT_FIN;
}

static void plan_tunnel_both(struct slot *s)
{
    for (int i = 0; i < 2; i++) {
        struct end *e = &s->end[i];
        uint64_t n = some(s);

        e->expect = EXPECT_FIN;
        switch (s->cell->situation) {
        case IDLE:
            op_send(e, pick(s, 0, 300));
            op(e, OP_MET, 0);
            n = 0;
            break;
        case BULK:
            n = BULK_SIZE;
            break;
        case SLOW:
            e->reader = SLOWLY;
            n = pick(s, 100000, SLOW_SIZE);
            break;
        case BYTES:
            e->bytewise = true;
            n = little(s);
            break;
        case ONEGO:
        case EARLY:
            op(e, OP_CORK, 0);
            break;
        default:
            break;
        }
        op_send_fin(e, n);
    }
}

static void plan_tunnel_rst(struct slot *s, struct end *x, struct end *y)
{
    x->expect = EXPECT_NOTHING;
    y->expect = EXPECT_RST;
    switch (s->cell->situation) {
    case IDLE:
        op_send(x, pick(s, 0, 300));
        op_send(y, pick(s, 0, 300));
        op(x, OP_MET, 0);
        op(y, OP_MET, 0);
        op(x, OP_PAUSE, pick(s, 0, 3000));
        break;
    case BOTH:
        op_send(y, ENDLESS);
        op_send(x, some(s));
        break;
    case BULK:
        op_send_fin(y, some(s));
        op(x, OP_HEARD, 0);
        op_send(x, pick(s, 1, BULK_SIZE));
        break;
    case SLOW:
        y->reader = STALLED;
        op(x, OP_FILL, 0);
        break;
    case BYTES:
        x->bytewise = y->bytewise = true;
        op_send(y, 3000);
        op_send(x, little(s));
        break;
    case ONEGO:
        op_send(y, pick(s, 0, 300));
        op_send(x, some(s));
        break;
    case EARLY:
        op_send(x, some(s));
        if (x->is_client)
            op(x, OP_OPEN, 0);
        else
            y->may_refuse = true;
        break;
    case AFTER_FIN:
        op_send_fin(x, some(s));
        op_send(y, BULK_SIZE * 2);
        op(x, OP_GOT, pick(s, 0, BULK_SIZE));
        break;
    case UNREAD:
        x->reader = STALLED;
        op(y, OP_FILL, 0);
        op(x, OP_BLOCKED, 0);
        break;
    default:
        break;
    }
    op(x, OP_RST, 0);
}

static void plan_tunnel(struct slot *s)
{
    struct end *client = &s->end[0], *origin = &s->end[1];

    switch (s->cell->event) {
    case FIN_CLIENT:
        plan_tunnel_fin(s, client, origin);
        break;
    case FIN_ORIGIN:
        plan_tunnel_fin(s, origin, client);
        break;
    case FIN_BOTH:
        plan_tunnel_both(s);
        break;
    case RST_CLIENT:
        plan_tunnel_rst(s, client, origin);
        break;
    default:
        plan_tunnel_rst(s, origin, client);
        break;
    }
}

/* How much of the content is sent in this situation. */
static uint64_t message_size(struct slot *s)
{
    switch (s->cell->situation) {
    case BULK:
        return BULK_SIZE;
    case SLOW:
        return pick(s, 100000, SLOW_SIZE);
    case BYTES:
        return little(s);
    case AFTER_FIN:
    case UNREAD:
        return BULK_SIZE;
    default:
        return 1 + some(s);
    }
}

/* The answer, up to where it ends or breaks off. */
static void plan_answer(struct slot *s, struct end *origin, bool whole)
{
    uint64_t n = message_size(s);

    op(origin, OP_HEAD, 0);
    origin->declared = whole ? n : n + pick(s, 1, 100000);
    if (!whole && s->cell->situation == BULK)
        n = pick(s, 1, n);
    op_send(origin, n);
    if (whole)
        op(origin, OP_END, 0);
}

static void plan_download(struct slot *s)
{
    struct end *client = &s->end[0], *origin = &s->end[1];
    enum situation sit = s->cell->situation;
    enum event event = s->cell->event;
    bool whole = event <= FIN_BOTH;

    origin->framing = s->cell->leg == GET_CLOSE    ? CLOSE
                      : s->cell->leg == GET_LENGTH ? LENGTH
                                                   : CHUNKED;
    client->expect = whole ? EXPECT_WHOLE : EXPECT_BROKEN;
    origin->expect = EXPECT_NOTHING;
    client->bytewise = origin->bytewise = sit == BYTES;
    if (sit == SLOW)
        client->reader = event == RST_ORIGIN ? STALLED : SLOWLY;
    if (event == FIN_CLIENT || event == FIN_BOTH || sit == AFTER_FIN) {
        client->cork = sit == ONEGO;
        if (sit == IDLE) {
            op(client, OP_ASKED, 0);
            op(client, OP_PAUSE, pick(s, 0, 2000));
            op(origin, OP_PAUSE, pick(s, 0, 4000));
        }
        op(client, OP_FIN, 0);
    }
    if (event == RST_CLIENT) {
        client->expect = EXPECT_NOTHING;
        origin->expect = EXPECT_GONE;
        origin->declared = ENDLESS;
        op(origin, OP_HEAD, 0);
        if (sit == IDLE) {
            op_send(origin, some(s));
            op(origin, OP_MET, 0);
            op(client, OP_MET, 0);
        } else if (sit == UNREAD) {
            client->reader = STALLED;
            op(origin, OP_FILL, 0);
            op(client, OP_BLOCKED, 0);
        } else {
            op_send(origin, sit == BYTES ? 3000 : ENDLESS);
            op(client, OP_GOT,
               sit == BYTES ? little(s) : pick(s, 1, sit == BULK ? BULK_SIZE : 200000));
        }
        op(client, OP_RST, 0);
        return;
    }
    if (event == RST_ORIGIN && sit == SLOW) {
        origin->declared = 1ULL << 40;
        op(origin, OP_HEAD, 0);
        op(origin, OP_FILL, 0);
    } else {
        if (sit == ONEGO && event != RST_ORIGIN)
            op(origin, OP_CORK, 0);
        plan_answer(s, origin, whole);
    }
    if (sit == IDLE && event != FIN_CLIENT && event != FIN_BOTH) {
        op(origin, OP_MET, 0);
        op(client, OP_MET, 0);
        op(origin, OP_PAUSE, pick(s, 0, 3000));
    }
    /* When only the client ends, the answer's own framing has to do; without one it is the FIN. */
    if (event == RST_ORIGIN)
        op(origin, OP_RST, 0);
    else if (event != FIN_CLIENT || s->cell->leg == GET_CLOSE || sit == ONEGO)
        op(origin, OP_FIN, 0);
}

/* The origin answers in full when it has everything, or from the first byte on in the situation
 * "both". */
static void plan_reply_to_upload(struct slot *s, struct end *origin)
{
    uint64_t first = s->cell->situation == BOTH ? 1 + some(s) : 0, rest = 1 + little(s);

    origin->framing = pick(s, 0, 1) ? LENGTH : CHUNKED;
    origin->declared = first + rest;
    if (first) {
        op(origin, OP_HEAD, 0);
        op_send(origin, first);
    }
    op(origin, OP_WHOLE, 0);
    if (!first)
        op(origin, OP_HEAD, 0);
    op_send(origin, rest);
    op(origin, OP_END, 0);
    if (s->cell->event != FIN_CLIENT)
        op(origin, OP_FIN, 0);
}

/* The origin goes away in the middle of an upload. */
static void plan_upload_lost(struct slot *s, struct end *client, struct end *origin)
{
    enum situation sit = s->cell->situation;
    bool rst = s->cell->event == RST_ORIGIN;

    client->expect = sit == BOTH ? EXPECT_BROKEN : EXPECT_FAIL;
    origin->expect = EXPECT_NOTHING;
    client->declared = 1ULL << 40;
    if (sit == UNREAD) {
        origin->reader = STALLED;
        op(client, OP_FILL, 0);
        op(origin, OP_BLOCKED, 0);
    } else if (sit == IDLE) {
        op_send(client, 1 + some(s));
        op(client, OP_MET, 0);
        op(origin, OP_MET, 0);
    } else if (sit == ONEGO) {
        op_send(client, 1 + some(s));
    } else {
        if (sit == SLOW)
            origin->reader = SLOWLY;
        op_send(client, sit == BYTES ? 3000 : ENDLESS);
        op(origin, OP_GOT, sit == BYTES ? little(s) : pick(s, 1, sit == BULK ? BULK_SIZE : 100000));
    }
    if (sit == BOTH) {
        origin->framing = pick(s, 0, 1) ? LENGTH : CHUNKED;
        origin->declared = 1ULL << 40;
        op(origin, OP_HEAD, 0);
        op_send(origin, 1 + some(s));
    }
    op(origin, rst ? OP_RST : OP_FIN, 0);
}

static void plan_upload(struct slot *s)
{
    struct end *client = &s->end[0], *origin = &s->end[1];
    enum situation sit = s->cell->situation;
    enum event event = s->cell->event;
    bool whole = event <= FIN_BOTH;
    uint64_t n = message_size(s);

    client->framing = s->cell->leg == POST_LENGTH ? LENGTH : CHUNKED;
    client->bytewise = origin->bytewise = sit == BYTES;
    if (event == CUT_ORIGIN || event == RST_ORIGIN) {
        plan_upload_lost(s, client, origin);
        return;
    }
    client->expect = whole ? EXPECT_WHOLE : EXPECT_FAIL;
    origin->expect = whole ? EXPECT_WHOLE : EXPECT_BROKEN;
    client->declared = whole ? n : n + pick(s, 1, 100000);
    if (!whole && sit == BULK)
        n = pick(s, 1, n);
    if (event == RST_CLIENT)
        client->expect = EXPECT_NOTHING;
    if (sit == SLOW)
        origin->reader = event == RST_CLIENT ? STALLED : SLOWLY;
    if (sit == ONEGO && event != FIN_ORIGIN && event != RST_CLIENT)
        client->cork = true;
    if (sit == SLOW && event == RST_CLIENT) {
        client->declared = 1ULL << 40;
        op(client, OP_FILL, 0);
    } else {
        if (event == RST_CLIENT)
            op(client, OP_ASKED, 0);
        op_send(client, n);
        if (whole)
            op(client, OP_END, 0);
    }
    if (sit == IDLE) {
        op(client, OP_MET, 0);
        op(origin, OP_MET, 0);
        op(client, OP_PAUSE, pick(s, 0, 2000));
        op(origin, OP_PAUSE, pick(s, 0, 4000));
    }
    if (event == RST_CLIENT)
        op(client, OP_RST, 0);
    else if (event != FIN_ORIGIN)
        op(client, OP_FIN, 0);
    if (whole || sit == BOTH)
        plan_reply_to_upload(s, origin);
    if (!whole && sit == BOTH && event == CUT_CLIENT)
        client->expect = EXPECT_BROKEN;
}

static bool cell_exists(enum leg leg, enum event event, enum situation situation)
{
    bool cut = event == CUT_CLIENT || event == CUT_ORIGIN, rst = event >= RST_CLIENT;

    if (leg <= UPGRADE) {
        if (cut || (!rst && situation >= AFTER_FIN))
            return false;
        /* behind an upgrade's head there is nothing before the 101 */
        return !(leg == UPGRADE && situation == EARLY) || event == FIN_ORIGIN ||
               event == RST_ORIGIN;
    }
    if (situation == EARLY)
        return false;
    if (is_download(leg)) {
        if (event == CUT_CLIENT || (event == CUT_ORIGIN && leg == GET_CLOSE) || situation == BOTH)
            return false;
        if (situation >= AFTER_FIN)
            return event == RST_CLIENT;
        /* reset before anything has come back there may be no connection to the origin yet */
        return !(event == RST_CLIENT && situation == ONEGO);
    }
    if (situation == UNREAD)
        return event == RST_ORIGIN || event == CUT_ORIGIN;
    return situation != AFTER_FIN;
}

static bool is_heavy(const struct cell *c)
{
    return c->situation == BULK || c->situation == AFTER_FIN;
}

static int cell_reps(const struct cell *c)
{
    int n = is_heavy(c)                                      ? reps / 10
            : c->situation == SLOW || c->situation == UNREAD ? reps / 4
                                                             : reps;

    return n > 0 ? n : 1;
}

/* ---- judging ---- */

static bool event_happened(const struct slot *s)
{
    enum event event = s->cell->event;
    bool client = s->end[0].did_fin || s->end[0].did_rst,
         origin = s->end[1].did_fin || s->end[1].did_rst;

    if (event == FIN_BOTH)
        return client && origin;
    return event == FIN_CLIENT || event == CUT_CLIENT || event == RST_CLIENT ? client : origin;
}

static void judge_late(struct end *e, int64_t took, int64_t limit, const char *what,
                       int64_t *slowest)
{
    if ((double)took > (double)limit * patience)
        wrong(e->slot, "the %s saw the %s after %lld ms", who(e), what, (long long)took / 1000);
    else if (took > *slowest)
        *slowest = took;
    e->settled = true;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void judge_fin(struct end *e)
{
    struct end *o = e->other;
    unsigned long long got = e->got, sent = o->framed;

    if (e->err)
        wrong(e->slot, "RST for a FIN: the %s saw it %s", who(e),
              e->read_done && got == sent ? "behind everything" : "too early");
    else if (e->fin && !o->did_fin)
        wrong(e->slot, "the %s saw a FIN that nobody sent, after %llu bytes", who(e), got);
    else if (e->fin && got < sent)
        wrong(e->slot, "lost bytes: the %s saw a FIN after %llu of %llu", who(e), got, sent);
    else if (e->fin)
        judge_late(e, e->end_at - later(o->fin_at, e->last_at), FIN_US, "FIN", &slowest_fin);
    else if (o->did_fin && got == sent && overdue(later(o->fin_at, e->last_at), FIN_US))
        wrong(e->slot, "no FIN: the %s has everything and waits", who(e));
}

/* What the proxy had received before the RST is written out first: a reader that reads counts from
 * the last of it. */
static void judge_rst(struct end *e)
{
    struct end *o = e->other;
    bool stalled = e->reader == STALLED;
    int64_t limit = stalled ? 2 * RST_US : RST_US;
    int64_t since = stalled ? o->rst_at : later(o->rst_at, e->last_at);

    if (e->fin && !o->did_fin)
        wrong(e->slot, "FIN for an RST: the %s saw an orderly end after %llu bytes", who(e),
              (unsigned long long)e->got);
    else if (e->err && !o->did_rst)
        wrong(e->slot, "the %s saw an RST that nobody sent", who(e));
    else if (e->err && e->read_done)
        judge_late(e, e->err_at - since, limit, "RST", &slowest_rst);
    else if (!e->err && o->did_rst && overdue(since, limit))
        wrong(e->slot, "no RST: the %s waits after %llu bytes", who(e), (unsigned long long)e->got);
}

/* It looks like a complete message. */
static bool looks_whole(const struct end *e)
{
    return e->in_close ? e->fin : e->in == IN_DONE && e->status < 400;
}

static void judge_whole(struct end *e)
{
    struct end *o = e->other;
    unsigned long long got = e->got, sent = o->framed;

    if (looks_whole(e)) {
        if (!o->ended || got != sent)
            wrong(e->slot, "the %s saw a whole message after %llu of %llu", who(e), got, sent);
        else if (!e->is_client || !e->did_fin)
            e->settled = true;
        else if (e->err)
            wrong(e->slot, "RST for a FIN: the client saw it behind the answer");
        else if (e->fin)
            e->settled = true;
        else if (overdue(later(e->last_at, e->fin_at), FIN_US))
            wrong(e->slot, "no FIN: the client has sent its own and has the whole answer");
        return;
    }
    if (e->read_done)
        wrong(e->slot, "%s: the message to the %s ended after %llu of %llu",
              e->fin ? "cut by FIN" : "cut by RST", who(e), got, sent);
    else if (o->ended && (!e->in_close || o->did_fin) && got == sent &&
             overdue(later(later(o->ended_at, o->fin_at), e->last_at), FIN_US))
        wrong(e->slot, "no end: the %s has everything and waits", who(e));
}

static void judge_broken(struct end *e)
{
    struct end *o = e->other;
    bool happened = event_happened(e->slot);
    int64_t at = later(later(o->fin_at, o->rst_at), e->fin_at);
    int64_t limit = o->did_rst && e->reader != STALLED ? RST_US : FIN_US;

    if (looks_whole(e)) {
        wrong(e->slot, "a broken message looks whole to the %s after %llu bytes", who(e),
              (unsigned long long)e->got);
    } else if (e->read_done || e->err) {
        if (!happened)
            wrong(e->slot, "the message to the %s ended by itself", who(e));
        else if (e->read_done)
            judge_late(e, e->end_at - later(at, e->last_at), limit, "end",
                       o->did_rst ? &slowest_rst : &slowest_fin);
    } else if (happened &&
               overdue(later(e->reader == STALLED ? at + 2 * RST_US : at, e->last_at), limit)) {
        /* Who takes nothing begins to read two seconds later, and finds what has been received,
         * then the end. */
        wrong(e->slot, "no end: the %s waits for the rest of a broken message", who(e));
    }
}

static void judge_gone(struct end *e)
{
    struct end *o = e->other;

    if (e->err || e->read_done)
        judge_late(e, (e->err ? e->err_at : e->end_at) - o->rst_at, RST_US, "end", &slowest_rst);
    else if (o->did_rst && overdue(o->rst_at, RST_US))
        wrong(e->slot, "no end: the origin still serves a client that is gone");
}

static void judge_fail(struct end *e)
{
    struct end *o = e->other;
    bool happened = o->did_fin || o->did_rst || e->did_fin;
    int64_t at = later(later(o->fin_at, o->rst_at), e->fin_at);

    if (looks_whole(e))
        wrong(e->slot, "the client saw a success");
    else if (e->read_done || e->err)
        e->settled = true;
    else if (happened && overdue(later(at, later(e->last_at, o->last_at)), FIN_US))
        wrong(e->slot, "no end: the client waits for an answer");
}

static void judge(struct end *e)
{
    if (e->settled)
        return;
    if (e->status >= 400) {
        if (e->expect == EXPECT_FAIL || e->expect == EXPECT_BROKEN || e->expect == EXPECT_NOTHING ||
            e->may_refuse)
            e->settled = true;
        else
            wrong(e->slot, "refused: status %d", e->status);
        return;
    }
    /* refused before anything was asked of the origin: it has seen nothing that could look whole */
    if (!e->is_client && e->fd < 0 && !e->did_rst && e->other->settled &&
        (e->other->status >= 400 || e->other->read_done || e->other->err) &&
        (e->expect == EXPECT_BROKEN || e->expect == EXPECT_GONE)) {
        e->settled = true;
        return;
    }
    switch (e->expect) {
    case EXPECT_NOTHING:
        e->settled = true;
        break;
    case EXPECT_FIN:
        judge_fin(e);
        break;
    case EXPECT_RST:
        judge_rst(e);
        break;
    case EXPECT_WHOLE:
        judge_whole(e);
        break;
    case EXPECT_BROKEN:
        judge_broken(e);
        break;
    case EXPECT_GONE:
        judge_gone(e);
        break;
    case EXPECT_FAIL:
        judge_fail(e);
        break;
    }
}

/* ---- cases ---- */

static void listen_on(struct slot *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};
    socklen_t len = sizeof a;
    int one = 1;

    a.sin_port = htons((uint16_t)(origin_base ? origin_base + s->index : 0));
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->listener < 0)
        die("socket");
    setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(s->listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(s->listener, (void *)&a, sizeof a) < 0 || listen(s->listener, 16) < 0)
        die("listen");
    getsockname(s->listener, (void *)&a, &len);
    s->port = ntohs(a.sin_port);
    if (epoll_ctl(ep, EPOLL_CTL_ADD, s->listener, &ev) < 0)
        die("epoll_ctl");
}

static void watch(struct end *e)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                             .data.u64 = (uintptr_t)e | 1};
    int small = e->reader == STALLED ? SMALL_BUFFER : SLOW_BUFFER, fill = SMALL_BUFFER;

    if (e->reader != EAGER)
        setsockopt(e->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (e->other->reader == STALLED)
        setsockopt(e->fd, SOL_SOCKET, SO_SNDBUF, &fill, sizeof fill);
    if (epoll_ctl(ep, EPOLL_CTL_ADD, e->fd, &ev) < 0)
        die("epoll_ctl");
}

static void accept_some(struct slot *s)
{
    int fd;

    while ((fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct end *e = &s->end[1];
        struct linger l = {1, 0};

        if (!s->busy || e->fd >= 0 || e->started || e->did_rst) {
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
            close(fd);
            continue;
        }
        e->fd = fd;
        watch(e);
        s->progress = now_us;
        if (s->cell->leg == CONNECT) {
            e->in = IN_RAW;
            e->open = true;
        }
    }
}

static void connect_client(struct slot *s)
{
    struct end *e = &s->end[0];
    static unsigned sources;
    int port = proxy_port, one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* many sources, so that ports never run out */
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(0x7f000001 + 256 * (1 + sources++ % 64))};

    if (relay_base)
        port = (s->cell->leg == CONNECT ? relay_base : http_base) + s->index;
    to.sin_port = htons((uint16_t)port);
    e->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (e->fd < 0)
        die("socket");
    setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(e->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(e->fd, (void *)&from, sizeof from) < 0)
        die("bind");
    if (connect(e->fd, (void *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        die("connect");
    watch(e);
}

static void start_case(struct slot *s, struct cell *c, uint64_t seed)
{
    s->busy = true;
    s->wrong = false;
    s->cell = c;
    s->seed = s->rng = seed;
    s->id = ++next_id;
    s->began = s->progress = now_us;
    s->heavy = is_heavy(c);
    n_heavy += s->heavy;
    for (int i = 0; i < 2; i++) {
        struct end *e = &s->end[i];

        memset(e, 0, offsetof(struct end, head));
        e->slot = s;
        e->other = &s->end[1 - i];
        e->is_client = i == 0;
        e->fd = -1;
        e->shift = pick(s, 0, PERIOD - 1);
    }
    if (c->leg <= UPGRADE)
        plan_tunnel(s);
    else if (is_download(c->leg))
        plan_download(s);
    else
        plan_upload(s);
    if (relay_base && c->leg == CONNECT) {
        s->end[0].in = IN_RAW;
        s->end[0].open = true;
    }
    connect_client(s);
    put_request_head(&s->end[0]);
}

static void end_case(struct slot *s)
{
    close_end(&s->end[0], true);
    close_end(&s->end[1], true);
    s->busy = false;
    s->cell->runs++;
    all_runs++;
    n_heavy -= s->heavy;
    /* A proxy may still be dialling for this case: its connection must not reach the next one. */
    if (!s->wrong && s->end[1].started)
        return;
    s->rests_until = now_us + REST_US;
    if (!origin_base) {
        close(s->listener);
        listen_on(s);
    }
}

/* A program starts when its end is ready: the tunnel is open at the client, the head is here. A
 * head that must not wait for the program (what is corked leaves with it) is sent before. */
static void maybe_start(struct end *e)
{
    struct slot *s = e->slot;
    bool early = s->cell->situation == EARLY;
    enum event event = s->cell->event;

    if (e->started || e->fd < 0 || !e->can_write)
        return;
    if (e->is_client && early && (event == FIN_CLIENT || event == FIN_BOTH))
        e->cork = true;
    if (!e->is_client && !e->open)
        return;
    if (!e->is_client && s->cell->leg == UPGRADE && !e->greeted) {
        e->greeted = true;
        e->cork = early && event == FIN_ORIGIN;
        put_text(e,
                 "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    }
    if (!is_tunnel(s) || early || s->end[0].open)
        start_program(e);
    else if (e->out_n)
        send_out(e);
}

/* True if there is more to do at once. */
static bool run_case(struct slot *s)
{
    bool more = false;

    for (int i = 0; i < 2 && !s->wrong; i++) {
        struct end *e = &s->end[i];

        /* a reader that does not keep up would be the delay that it measures */
        for (int k = 0; k < MAX_READS && receive(e); k++)
            more |= k == MAX_READS - 1;
        maybe_start(e);
        run_program(e);
        more |= e->can_write && !e->send_failed && e->fd >= 0 && (e->out_n || e->op_left);
    }
    for (int i = 0; i < 2 && !s->wrong; i++)
        judge(&s->end[i]);
    if (!s->wrong && overdue(s->progress, HANG_US))
        wrong(s, "nothing moves");
    if (s->wrong || (s->end[0].settled && s->end[1].settled && event_happened(s)))
        end_case(s);
    return more;
}

static void on_event(struct epoll_event *ev)
{
    struct end *e = (void *)(uintptr_t)(ev->data.u64 & ~1ULL);

    if (!(ev->data.u64 & 1)) {
        accept_some(ev->data.ptr);
        return;
    }
    if (e->fd < 0)
        return;
    if (ev->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        e->can_read = true;
    if (ev->events & EPOLLOUT)
        e->can_write = true;
    /* HUP without a FIN of our own is an RST too */
    if ((ev->events & EPOLLERR) || ((ev->events & EPOLLHUP) && !e->did_fin))
        saw_error(e, 0);
}

/* ---- all of them ---- */

struct job {
    struct cell *cell;
    uint64_t seed;
};
static struct job *jobs;
static size_t n_jobs, next_job;

static void make_jobs(struct cell *cells, int n)
{
    size_t total = 0;
    uint64_t r = run_seed;

    for (int i = 0; i < n; i++)
        total += (size_t)cell_reps(&cells[i]);
    jobs = calloc(total + 1, sizeof *jobs);
    if (!jobs)
        die("calloc");
    for (int i = 0; i < n; i++)
        for (int k = 0; k < cell_reps(&cells[i]); k++)
            jobs[n_jobs++] = (struct job){
                &cells[i], fixed_seed
                               ? fixed_seed
                               : mix(run_seed * 1000003 + (uint64_t)i * 65537 + (uint64_t)k)};
    for (size_t i = n_jobs; i > 1; i--) {
        size_t k = (r = mix(r)) % i;
        struct job j = jobs[i - 1];

        jobs[i - 1] = jobs[k];
        jobs[k] = j;
    }
}

/* The next job; heavy ones only a few at a time, so that they do not starve the others' clocks. */
static bool take_job(struct job *ret_job)
{
    for (size_t i = next_job; i < n_jobs; i++) {
        if (is_heavy(jobs[i].cell) && n_heavy >= MAX_HEAVY)
            continue;
        *ret_job = jobs[i];
        jobs[i] = jobs[next_job++];
        return true;
    }
    return false;
}

/* The clock of the cases. When this process itself did not run for a while that is nobody's delay.
 */
static void turn_clock(void)
{
    static int64_t before;
    int64_t now = clock_us();

    now_us += before && now - before > STALL_US ? STALL_US : now - (before ? before : now);
    before = now;
}

static void run_all(struct slot *slots)
{
    struct epoll_event ev[256];
    int busy = 1, wait = 0;

    while (busy) {
        int n = epoll_wait(ep, ev, 256, wait);
        bool more = false;

        turn_clock();
        for (int i = 0; i < n; i++)
            on_event(&ev[i]);
        busy = 0;
        for (int i = 0; i < n_slots; i++) {
            struct job j;

            if (!slots[i].busy && now_us >= slots[i].rests_until && take_job(&j))
                start_case(&slots[i], j.cell, j.seed);
            busy += slots[i].busy || next_job < n_jobs;
            if (!slots[i].busy)
                continue;
            more |= run_case(&slots[i]);
        }
        wait = more ? 0 : 1;
    }
}

static void make_block(void)
{
    uint64_t r = 42;

    block = malloc(PERIOD + AHEAD);
    scratch = malloc(SCRATCH);
    if (!block || !scratch)
        die("malloc");
    for (int i = 0; i < PERIOD; i++) {
        if (i % 8 == 0)
            r = mix(r);
        block[i] = (char)(r >> (i % 8 * 8));
    }
    memcpy(block + PERIOD, block, AHEAD);
}

static int make_cells(struct cell *cells, char **patterns, int n_patterns)
{
    int n = 0;

    for (int leg = 0; leg < N_LEGS; leg++)
        for (int event = 0; event < N_EVENTS; event++)
            for (int situation = 0; situation < N_SITUATIONS; situation++) {
                char name[64];
                bool wanted = !n_patterns;

                if (!cell_exists((enum leg)leg, (enum event)event, (enum situation)situation))
                    continue;
                snprintf(name, sizeof name, "%s/%s/%s", leg_names[leg], event_names[event],
                         situation_names[situation]);
                for (int i = 0; i < n_patterns; i++)
                    wanted |= !fnmatch(patterns[i], name, 0);
                if (wanted)
                    cells[n++] = (struct cell){.leg = (enum leg)leg,
                                               .event = (enum event)event,
                                               .situation = (enum situation)situation};
            }
    return n;
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: exact -p PORT | -o ORIGINBASE -r RELAYBASE -h HTTPBASE\n"
        "       [-c CASES] [-n REPS] [-s SEED] [-S CASESEED] [-k PATTERN]... [-w PATIENCE] [-l]\n");
    return 2;
}

static void raise_limit(void)
{
    struct rlimit rl;

    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
}

int main(int argc, char **argv)
{
    static struct cell cells[N_LEGS * N_EVENTS * N_SITUATIONS];
    char *patterns[64];
    struct slot *slots;
    int n, o, n_patterns = 0;
    bool list = false;
    int64_t began;

    while ((o = getopt(argc, argv, "p:o:r:h:c:n:s:S:k:w:l")) > 0)
        switch (o) {
        case 'p':
            proxy_port = atoi(optarg);
            break;
        case 'o':
            origin_base = atoi(optarg);
            break;
        case 'r':
            relay_base = atoi(optarg);
            break;
        case 'h':
            http_base = atoi(optarg);
            break;
        case 'c':
            n_slots = atoi(optarg);
            break;
        case 'n':
            reps = atoi(optarg);
            break;
        case 's':
            run_seed = strtoull(optarg, NULL, 10);
            break;
        case 'S':
            fixed_seed = strtoull(optarg, NULL, 10);
            break;
        case 'k':
            if (n_patterns == 64)
                return usage();
            patterns[n_patterns++] = optarg;
            break;
        case 'w':
            patience = atof(optarg);
            break;
        case 'l':
            list = true;
            break;
        default:
            return usage();
        }
    n = make_cells(cells, patterns, n_patterns);
    if (list) {
        for (int i = 0; i < n; i++)
            printf("%s/%s/%s\n", leg_names[cells[i].leg], event_names[cells[i].event],
                   situation_names[cells[i].situation]);
        return 0;
    }
    if (optind != argc || n_slots < 1 || n_slots > 1000 || patience <= 0 ||
        (relay_base ? !http_base || !origin_base : proxy_port <= 0))
        return usage();
    signal(SIGPIPE, SIG_IGN);
    raise_limit();
    make_block();
    make_jobs(cells, n);
    ep = epoll_create1(EPOLL_CLOEXEC);
    slots = calloc((size_t)n_slots, sizeof *slots);
    if (ep < 0 || !slots)
        die("start");
    now_us = began = clock_us();
    for (int i = 0; i < n_slots; i++) {
        slots[i].index = i;
        listen_on(&slots[i]);
    }
    run_all(slots);
    for (int i = 0; i < n; i++)
        printf("cell %s %s %s %ld %ld %s\n", leg_names[cells[i].leg], event_names[cells[i].event],
               situation_names[cells[i].situation], cells[i].runs, cells[i].wrong, cells[i].first);
    printf("cells=%d runs=%ld wrong=%ld bytes=%llu secs=%.1f slowest_fin_ms=%lld "
           "slowest_rst_ms=%lld\n",
           n, all_runs, all_wrong, (unsigned long long)all_bytes,
           (double)(clock_us() - began) / 1e6, (long long)slowest_fin / 1000,
           (long long)slowest_rst / 1000);
    return all_wrong ? 1 : 0;
}
