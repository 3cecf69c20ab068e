/* SPDX-License-Identifier: MIT */
/* soak: the clients and the origins of bench/soak, one epoll thread for both, so that every byte is
 * known at either end. usage: soak -p PROXYPORT -o ORIGINBASE -n TUNNELS -P PROXYPID -s SEED -r
 * RATE% -m MILLISECONDS -x SCALE -l LEDGER N resident tunnels that speak now and then, carry bulk,
 * stall, trickle, are broken and replaced; beside them short tunnels and plain requests. RATE: how
 * busy, 100 is 9,400 tunnels' worth; -m: how long an innocent echo may take; -x: how many times
 * longer everything may. Bytes: each direction is a walk through one sea of random bytes from a
 * start of its own, so what arrives is compared where it arrives: a wrong, lost or doubled byte, or
 * another tunnel's, is seen at its offset. Addresses: clients 127.0.1.1-16, origins 127.0.2.1-32.
 * stdin: "finish" (or the end) lets everything end. stdout: a line a second of key=value, `finding:
 * …` for what must not be, `done …` at last. LEDGER: a line an exchange: id kind fate status
 * up_sent up_got down_sent down_got, for comparison with the access log.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    SEA = 1 << 20,
    SLICE =
        1
        << 18, /* the most that is written or read at once; the sea goes on so far behind its end */
    PREFACE = 16, /* the first bytes of a tunnel say which one it is */
    HTTP_CLIENTS = 64,
    SHORT_MAX = 200,  /* short tunnels at a time */
    OPENING_MAX = 64, /* tunnels that wait for their 200 or their origin at a time */
    ENDING_S = 15,    /* an ending wants no longer */
    EXCHANGE_S = 30,  /* nor does a plain request, without a byte */
    FINISH_S = 60,
    FINDINGS_SHOWN = 60,
};
enum { UP, DOWN }; /* directions, and the ends that send them: client, origin */
enum { CLIENT, ORIGIN };
enum port { PORT_ECHO, PORT_HTTP, PORT_RESET, PORT_NOBODY, N_PORTS };

/* One direction: what its sender has given to the kernel, what the other end has found to be right.
 */
struct dir {
    uint32_t key;
    uint64_t sent, got, goal;
    bool fin_wanted, fin_sent, ended;
};

/* What an event of epoll belongs to. Objects live in tables and are never freed, so a late event
 * finds a dead one at worst. */
enum thing { LISTENER, VISITOR, TUNNEL_END, HTTP_CLIENT, HTTP_ORIGIN };
struct end {
    enum thing thing;
    int fd;
    unsigned side; /* TUNNEL_END: CLIENT or ORIGIN; LISTENER: its port */
    uint32_t armed;
    bool connecting, stalled;
    void *of;
};

enum tunnel_state { T_FREE, T_CONNECT, T_HEAD, T_OPEN };
enum ending { NO_END, FIN_FIRST, FIN_BOTH, FIN_THEN_RESET, RESET, EARLY, REFUSED, RESET_AT_ACCEPT };
enum busy { IDLE, ECHO, BULK, TRICKLE };
struct tunnel {
    uint32_t slot, gen;
    enum tunnel_state state;
    enum ending ending;
    enum busy busy;
    bool resident, attached, was_open;
    unsigned first;  /* the side that begins the ending or the echo */
    int reset_by;    /* the side, -1: none */
    unsigned rounds; /* a short one's echoes still to come */
    uint64_t reply, tail;
    double began, asked, starved_then, end_by;
    int status;
    struct end end[2];
    struct dir dir[2];
    size_t head_n;
    struct tunnel *next; /* of the free ones */
    char head[1024];
};

enum framing { NO_BODY, LENGTH, CHUNKED, TO_CLOSE };
enum stage { R_HEAD, R_LENGTH, R_SIZE, R_DATA, R_DATA_END, R_TRAILER, R_CLOSE, R_DONE };
struct reader {
    enum stage stage;
    struct dir *dir;
    uint64_t left;
    size_t n;
    char line[4096]; /* the head, or a line of chunk framing */
};
struct writer {
    struct dir *dir; /* NULL: nothing but what is in buf */
    enum framing framing;
    bool last;
    size_t n, off;
    char buf[8192 + 64];
};

enum http_fault {
    H_NONE,
    H_REFUSED,
    H_ORIGIN_RESET_HEAD,
    H_ORIGIN_RESET_UPLOAD,
    H_ORIGIN_FIN_BODY,
    H_ORIGIN_RESET_BODY,
    H_CLIENT_RESET_UPLOAD,
    H_CLIENT_RESET_BODY,
    H_CLIENT_TIRED,
    N_FAULTS
};
/* A client connection and the request that it has under way. */
struct request {
    uint32_t slot, gen;
    struct end end;
    bool busy, slow, head_came, framing_close;
    enum http_fault fault;
    enum framing up_framing, down_framing;
    uint64_t cut;  /* where in the body the fault comes */
    unsigned left; /* requests until the connection is closed */
    int status;
    double began, moved;
    struct dir dir[2];
    struct reader reader;
    struct writer writer;
};

struct server { /* an origin's connection for plain requests */
    struct end end;
    bool used, close_after, responding;
    uint32_t slot, gen; /* the request that it serves */
    bool serving;
    double orphan;
    struct reader reader;
    struct writer writer;
    struct server *next;
};

struct visitor { /* accepted, and not yet said which tunnel it is */
    struct end end;
    size_t n;
    char preface[PREFACE + 1];
    struct visitor *next;
};

static unsigned char sea[SEA + SLICE];
static int ep, proxy_port, origin_base, proxy_pid;
static double now, scale = 1, stall_limit = 2, starved;
static uint64_t rng;
static FILE *ledger;
static bool finishing;
static char scratch[SLICE];

static struct tunnel *tunnels;
static struct tunnel *free_tunnels, *freed_now;
static uint32_t n_slots, n_residents, residents, residents_open, shorts, opening;
static struct request requests[HTTP_CLIENTS];
static struct server *idle_servers;
static struct visitor *free_visitors, *dead_visitors;
static struct server *dead_servers, *all_servers[65536];
static unsigned n_visitors, n_servers, n_all_servers;

static struct {
    uint64_t tunnels_begun, tunnels_ended, resident_ends, short_ends, resets, fins, refused, early,
        plain, plain_faults, echoes, bulks, trickles, stalls, bytes_up, bytes_down, findings,
        delayed;
    double worst, worst_raw, turn;
} count;

/* ---- small things ---- */

static double clock_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* xorshift: the seed makes the choices; the machine's timing makes what they meet. */
static uint64_t rnd64(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static uint64_t rnd(uint64_t n)
{
    return n ? rnd64() % n : 0;
}

static bool chance(unsigned percent)
{
    return rnd(100) < percent;
}

/* From lo to hi, small ones as likely as large ones. */
static uint64_t size_between(uint64_t lo, uint64_t hi)
{
    uint64_t top = hi;

    while (top > lo * 2 && chance(60))
        top /= 2;
    return lo + rnd(top - lo + 1);
}

__attribute__((format(printf, 1, 2))) static void finding(const char *fmt, ...)
{
    va_list ap;

    if (++count.findings > FINDINGS_SHOWN)
        return;
    printf("finding: ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

static const char *ending_name(enum ending e)
{
    static const char *const names[] = {"none",  "fin",   "fin-both", "fin-then-reset",
                                        "reset", "early", "refused",  "reset-at-accept"};

    return names[e];
}

static const char *fault_name(enum http_fault f)
{
    static const char *const names[N_FAULTS] = {"none",
                                                "refused",
                                                "origin-reset-head",
                                                "origin-reset-upload",
                                                "origin-fin-body",
                                                "origin-reset-body",
                                                "client-reset-upload",
                                                "client-reset-body",
                                                "client-tired"};

    return names[f];
}

static struct dir dir_new(void)
{
    return (struct dir){.key = (uint32_t)rnd(SEA)};
}

static const unsigned char *dir_bytes(const struct dir *d, uint64_t at)
{
    return sea + (d->key + at) % SEA;
}

/* False: not what was sent. */
static bool dir_check(struct dir *d, const char *p, size_t n)
{
    if (d->got + n > d->sent || memcmp(p, dir_bytes(d, d->got), n))
        return false;
    d->got += n;
    return true;
}

/* ---- latencies: 32 steps an octave of microseconds ---- */

static uint64_t hist[32 * 40], hist_n;

static void hist_add(double seconds)
{
    uint64_t us = (uint64_t)(seconds * 1e6) + 32;
    unsigned top = 63 - (unsigned)__builtin_clzll(us);

    hist[(top - 5) * 32 + (us >> (top - 5)) - 32]++;
    hist_n++;
}

/* Opening thousands of tunnels at once is another load: its echoes are judged, but not in these
 * figures. */
static void hist_reset(void)
{
    memset(hist, 0, sizeof(hist));
    hist_n = 0;
}

static double hist_at(double share)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < sizeof(hist) / sizeof(*hist); i++) {
        n += hist[i];
        if (n && (double)n >= share * (double)hist_n)
            return (double)(((uint64_t)(i % 32) + 32) << (i / 32)) - 32;
    }
    return 0;
}

/* ---- how long others kept the processors from ginnel: what must not count against it ---- */

static uint64_t waited_ns(int tid)
{
    char path[64], text[128];
    unsigned long long ran, waited = 0;
    int fd;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", proxy_pid, tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? waited : 0;
}

/* What the worst-off of ginnel's threads has waited for a processor since the last call, in
 * nanoseconds. */
static uint64_t worst_wait(void)
{
    static struct {
        int tid;
        uint64_t waited;
    } seen[64];
    uint64_t worst = 0;
    char path[64];
    struct dirent *e;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/task", proxy_pid);
    d = opendir(path);
    while (d && (e = readdir(d))) {
        int tid = atoi(e->d_name), i = 0;
        uint64_t w, more;

        if (tid <= 0)
            continue;
        while (i < 63 && seen[i].tid && seen[i].tid != tid)
            i++;
        w = waited_ns(tid);
        more = seen[i].tid == tid && w > seen[i].waited ? w - seen[i].waited : 0;
        seen[i].tid = tid;
        seen[i].waited = w;
        if (more > worst)
            worst = more;
    }
    if (d)
        closedir(d);
    return worst;
}

/* Called as soon as a wait has ended; `turn` is the time since the last one ended. No more is taken
 * off than has passed. */
static void starved_update(double turn)
{
    static double last, next, late;
    double taken;

    if (turn > 0.05)
        late += turn - 0.05;
    if (now < next)
        return;
    taken = late + (double)worst_wait() * 1e-9;
    if (last > 0)
        starved += taken < now - last ? taken : now - last;
    late = 0;
    last = now;
    next = now + 0.2;
}

/* ---- timers: a heap; an object is named by slot and generation, so a late timer meets nobody ----
 */

typedef void timer_fn(uint32_t slot, uint32_t gen);
static struct timer {
    double at;
    timer_fn *fn;
    uint32_t slot, gen;
} * heap;
static size_t heap_n, heap_cap;

static void timer_add(double delay, timer_fn *fn, uint32_t slot, uint32_t gen)
{
    size_t i = heap_n++;

    if (heap_n > heap_cap) {
        heap_cap = heap_cap ? heap_cap * 2 : 1024;
        heap = realloc(heap, heap_cap * sizeof(*heap));
        if (!heap)
            abort();
    }
    for (; i && heap[(i - 1) / 2].at > now + delay; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = (struct timer){now + delay, fn, slot, gen};
}

static struct timer timer_pop(void)
{
    struct timer first = heap[0], last = heap[--heap_n];
    size_t i = 0, c;

    for (; (c = 2 * i + 1) < heap_n; i = c) {
        if (c + 1 < heap_n && heap[c + 1].at < heap[c].at)
            c++;
        if (heap[c].at >= last.at)
            break;
        heap[i] = heap[c];
    }
    heap[i] = last;
    return first;
}

/* ---- sockets ---- */

static void arm(struct end *e, uint32_t mask)
{
    struct epoll_event ev = {.events = mask, .data.ptr = e};

    if (e->fd < 0 || e->armed == mask)
        return;
    epoll_ctl(ep, e->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, e->fd, &ev);
    e->armed = mask;
}

static void end_close(struct end *e, bool reset)
{
    struct linger l = {1, 0};

    if (e->fd < 0)
        return;
    if (reset)
        setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    close(e->fd);
    e->fd = -1;
    e->armed = 0;
}

static void no_delay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* A connection to the proxy from one of several addresses; false: the descriptors are used up. */
static bool dial(struct end *e)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(0x7f000101u + (uint32_t)rnd(16))};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)proxy_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;

    e->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (e->fd < 0)
        return false;
    e->armed = 0;
    e->stalled = false;
    e->connecting = true;
    setsockopt(e->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    no_delay(e->fd);
    if (bind(e->fd, (struct sockaddr *)&from, sizeof(from)) ||
        (connect(e->fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)) {
        finding("cannot connect to the proxy: %s", strerror(errno));
        end_close(e, true);
        return false;
    }
    arm(e, EPOLLOUT);
    return true;
}

static int connect_error(struct end *e)
{
    int err = 0;
    socklen_t n = sizeof(err);

    e->connecting = false;
    getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &err, &n);
    return err;
}

static void listen_on(unsigned host, enum port port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)(origin_base + (int)port)),
                            .sin_addr.s_addr = htonl(0x7f000200u + host)};
    struct end *e = calloc(1, sizeof(*e));
    int one = 1;

    if (!e)
        abort();
    *e = (struct end){.thing = LISTENER, .side = port};
    e->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(e->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(e->fd, (struct sockaddr *)&a, sizeof(a)) || listen(e->fd, 4096)) {
        perror("soak: listen");
        exit(2);
    }
    arm(e, EPOLLIN);
}

/* ---- tunnels ---- */

static uint64_t tunnel_id(const struct tunnel *t)
{
    return (uint64_t)t->gen << 32 | t->slot;
}

static void tunnel_ledger(const struct tunnel *t, const char *fate)
{
    uint64_t preface = t->was_open ? PREFACE : 0;
    const char *by = t->reset_by < 0 ? "" : t->reset_by == CLIENT ? "-client" : "-origin";

    fprintf(ledger, "t%016" PRIx64 " %s%s %s %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
            tunnel_id(t), ending_name(t->ending), by, fate, t->status, t->dir[UP].sent + preface,
            t->attached ? t->dir[UP].got + preface : 0, t->dir[DOWN].sent, t->dir[DOWN].got);
}

/* fate: clean, cut (a reset took bytes with it), maybe (so early that there may be no exchange) */
static void tunnel_done(struct tunnel *t, const char *fate)
{
    if (!t->attached)
        opening--;
    if (t->resident) {
        residents--;
        residents_open -= t->attached;
        count.resident_ends++;
    } else {
        shorts--;
        count.short_ends++;
    }
    count.tunnels_ended++;
    count.bytes_up += t->dir[UP].got;
    count.bytes_down += t->dir[DOWN].got;
    tunnel_ledger(t, fate);
    end_close(&t->end[CLIENT], false);
    end_close(&t->end[ORIGIN], false);
    t->state = T_FREE;
    t->next = freed_now;
    freed_now = t;
}

/* Says what is wrong and gives the tunnel up. */
static void tunnel_wrong(struct tunnel *t, const char *what)
{
    finding("tunnel t%016" PRIx64 " (%s, ending %s, first %u, busy %d, up %" PRIu64 "/%" PRIu64
            "/%" PRIu64 ", down %" PRIu64 "/%" PRIu64 "/%" PRIu64 " got/sent/goal, age %.1f s): %s",
            tunnel_id(t), t->resident ? "resident" : "short", ending_name(t->ending), t->first,
            (int)t->busy, t->dir[UP].got, t->dir[UP].sent, t->dir[UP].goal, t->dir[DOWN].got,
            t->dir[DOWN].sent, t->dir[DOWN].goal, now - t->began, what);
    end_close(&t->end[CLIENT], true);
    end_close(&t->end[ORIGIN], true);
    tunnel_done(t, "cut");
}

static void tunnel_arm(struct tunnel *t, unsigned side)
{
    struct end *e = &t->end[side];
    struct dir *out = &t->dir[side], *in = &t->dir[!side];
    uint32_t mask = 0;

    if (e->fd < 0)
        return;
    if (!in->ended && !e->stalled)
        mask |= EPOLLIN;
    if (out->sent < out->goal)
        mask |= EPOLLOUT;
    arm(e, mask ? mask : EPOLLPRI);
}

static bool tunnel_over(const struct tunnel *t)
{
    return t->dir[UP].ended && t->dir[DOWN].ended;
}

static void tunnel_broke(struct tunnel *t, unsigned side, int err);

/* Writes what the direction's goal asks for, then the FIN if it is wanted. False: the tunnel is
 * gone. */
static bool tunnel_write(struct tunnel *t, unsigned side)
{
    struct dir *d = &t->dir[side];
    struct end *e = &t->end[side];

    if (e->fd < 0 || e->connecting || t->state != T_OPEN)
        return true;
    while (d->sent < d->goal) {
        uint64_t n = d->goal - d->sent;
        ssize_t w = send(e->fd, dir_bytes(d, d->sent), n < SLICE ? n : SLICE, MSG_NOSIGNAL);

        if (w < 0 && errno == EAGAIN)
            break;
        if (w < 0) {
            tunnel_broke(t, side, errno);
            return false;
        }
        d->sent += (uint64_t)w;
    }
    if (d->sent == d->goal && d->fin_wanted && !d->fin_sent) {
        shutdown(e->fd, SHUT_WR);
        d->fin_sent = true;
    }
    tunnel_arm(t, side);
    return true;
}

static void tunnel_ending_late(uint32_t slot, uint32_t gen)
{
    struct tunnel *t = &tunnels[slot];

    if (t->gen != gen || t->state == T_FREE || t->end_by <= 0)
        return;
    if (now - (starved - t->starved_then) < t->end_by)
        timer_add(1, tunnel_ending_late, slot, gen);
    else
        tunnel_wrong(t, t->state == T_OPEN ? "its ending does not arrive"
                                           : "no answer to the CONNECT");
}

static void tunnel_expect(struct tunnel *t, double seconds)
{
    t->starved_then = starved;
    t->end_by = now + seconds * scale;
    timer_add(seconds * scale, tunnel_ending_late, t->slot, t->gen);
}

/* The side that has seen a FIN answers with what it still has to say. */
static void tunnel_answer_fin(struct tunnel *t, unsigned side)
{
    struct dir *d = &t->dir[side];

    if (t->ending == FIN_THEN_RESET) {
        d->goal += t->tail;
        if (!tunnel_write(t, side))
            return;
        t->reset_by = (int)side;
        end_close(&t->end[side], true);
        return;
    }
    if (d->fin_wanted)
        return;
    d->goal += t->tail;
    d->fin_wanted = true;
    tunnel_write(t, side);
}

static void tunnel_end_begin(struct tunnel *t, enum ending how)
{
    unsigned s = t->first = (unsigned)rnd(2);

    t->ending = how;
    t->busy = IDLE; /* an echo that is under way gets no reply any more */
    t->asked = 0;
    t->reply = 0;
    t->tail = chance(50) ? 0 : chance(10) ? rnd(1 << 20) : rnd(1 << 15);
    t->end[CLIENT].stalled = t->end[ORIGIN].stalled = false;
    tunnel_expect(t, ENDING_S);
    count.fins += how != RESET;
    count.resets += how == RESET || how == FIN_THEN_RESET;
    if (chance(50))
        t->dir[s].goal += rnd(1 << 16);
    if (how == RESET) {
        if (chance(30))
            t->dir[!s].goal += rnd(1 << 18);
        if (!tunnel_write(t, s) || !tunnel_write(t, !s))
            return;
        t->reset_by = (int)s;
        end_close(&t->end[s], true);
        tunnel_arm(t, !s);
        return;
    }
    t->dir[s].fin_wanted = true;
    t->dir[!s].fin_wanted = how == FIN_BOTH;
    if (tunnel_write(t, s))
        tunnel_write(t, !s);
}

static void tunnel_ask(struct tunnel *t)
{
    t->first = (unsigned)rnd(2);
    t->busy = ECHO;
    t->asked = now;
    t->starved_then = starved;
    t->reply = size_between(1, 3000);
    t->dir[t->first].goal += size_between(1, 1500);
    tunnel_write(t, t->first);
}

static void tunnel_next(struct tunnel *t)
{
    if (t->resident || t->ending)
        return;
    if (t->rounds) {
        t->rounds--;
        tunnel_ask(t);
        return;
    }
    tunnel_end_begin(t, chance(20)   ? RESET
                        : chance(10) ? FIN_THEN_RESET
                        : chance(30) ? FIN_BOTH
                                     : FIN_FIRST);
}

static void stall_judge(struct tunnel *t, bool over)
{
    double took = now - t->asked, innocent = took - (starved - t->starved_then);

    if (took > count.worst_raw)
        count.worst_raw = took;
    if (innocent > count.worst)
        count.worst = innocent;
    if (innocent <= stall_limit * scale) {
        count.delayed += over && took > stall_limit;
        return;
    }
    finding("tunnel t%016" PRIx64 ": an echo %s %.2f s, %.2f of them not for want of a processor",
            tunnel_id(t), over ? "took" : "has taken", took, innocent);
}

/* All that was to go over has gone over. */
static void tunnel_settled(struct tunnel *t, unsigned to)
{
    if (t->busy == ECHO && to != t->first && t->reply) {
        t->dir[to].goal += t->reply;
        t->reply = 0;
        tunnel_write(t, to);
        return;
    }
    if (t->busy == ECHO && to == t->first && !t->reply && t->asked > 0) {
        hist_add(now - t->asked);
        count.echoes++;
        stall_judge(t, true);
        t->asked = 0;
        t->busy = IDLE;
        tunnel_next(t);
        return;
    }
    if (t->busy == BULK && t->dir[UP].got == t->dir[UP].goal &&
        t->dir[DOWN].got == t->dir[DOWN].goal)
        t->busy = IDLE;
}

static void tunnel_saw_end(struct tunnel *t, unsigned side)
{
    struct dir *d = &t->dir[!side];

    if (t->reset_by == (int)!side && !d->fin_sent) {
        tunnel_wrong(t, "a reset arrived as an orderly end");
        return;
    }
    if (!d->fin_sent) {
        tunnel_wrong(t, "an end that nobody made");
        return;
    }
    d->ended = true;
    if (d->got != d->sent && t->reset_by < 0) {
        tunnel_wrong(t, "bytes are missing before the FIN");
        return;
    }
    tunnel_arm(t, side);
    if (tunnel_over(t))
        tunnel_done(t, "clean");
    else if (t->end[side].fd >= 0)
        tunnel_answer_fin(t, side);
}

static void tunnel_broke(struct tunnel *t, unsigned side, int err)
{
    char what[80];

    if (t->reset_by == (int)!side || t->ending == RESET_AT_ACCEPT) {
        tunnel_done(t, "cut");
        return;
    }
    snprintf(what, sizeof(what), "the %s meets with \"%s\"", side == CLIENT ? "client" : "origin",
             strerror(err));
    tunnel_wrong(t, what);
}

static void tunnel_read(struct tunnel *t, unsigned side)
{
    struct dir *d = &t->dir[!side];
    uint32_t gen = t->gen;

    for (unsigned i = 0; i < 4; i++) {
        ssize_t n = recv(t->end[side].fd, scratch, sizeof(scratch), 0);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            tunnel_broke(t, side, errno);
            return;
        }
        if (n == 0) {
            tunnel_saw_end(t, side);
            return;
        }
        if (!dir_check(d, scratch, (size_t)n)) {
            tunnel_wrong(t, "a wrong, lost or doubled byte");
            return;
        }
        if (d->got == d->goal) {
            tunnel_settled(t, side);
            if (t->gen != gen || t->state != T_OPEN || t->end[side].fd < 0)
                return;
        }
        if (n < (ssize_t)sizeof(scratch))
            return;
    }
}

static void tunnel_opened(struct tunnel *t)
{
    char preface[PREFACE + 1];

    t->state = T_OPEN;
    t->was_open = true;
    snprintf(preface, sizeof(preface), "%08x%08x", (unsigned)t->slot, (unsigned)t->gen);
    if (send(t->end[CLIENT].fd, preface, PREFACE, MSG_NOSIGNAL) != PREFACE) {
        tunnel_broke(t, CLIENT, errno);
        return;
    }
    if (t->ending == EARLY) {
        end_close(&t->end[CLIENT], true);
        tunnel_done(t, "maybe");
        return;
    }
    tunnel_arm(t, CLIENT);
}

/* The answer to the CONNECT; what comes behind it would be the origin's, which speaks only when it
 * knows whom it has. */
static void tunnel_read_head(struct tunnel *t)
{
    ssize_t n = recv(t->end[CLIENT].fd, t->head + t->head_n, sizeof(t->head) - 1 - t->head_n, 0);
    char *end;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        if (t->ending == RESET_AT_ACCEPT)
            tunnel_done(t, "cut");
        else
            tunnel_wrong(t, "closed instead of an answer to the CONNECT");
        return;
    }
    t->head_n += (size_t)n;
    t->head[t->head_n] = 0;
    end = strstr(t->head, "\r\n\r\n");
    if (!end)
        return;
    t->status = atoi(t->head + strcspn(t->head, " "));
    if (t->status == 200 && t->ending != REFUSED) {
        tunnel_opened(t);
        return;
    }
    if (t->status == 502 && (t->ending == REFUSED || t->ending == RESET_AT_ACCEPT)) {
        count.refused++;
        tunnel_done(t, t->ending == REFUSED ? "refused" : "cut");
        return;
    }
    t->head[strcspn(t->head, "\r\n")] = 0;
    tunnel_wrong(t, t->head);
}

static void tunnel_connected(struct tunnel *t)
{
    static const enum port ports[] = {[REFUSED] = PORT_NOBODY, [RESET_AT_ACCEPT] = PORT_RESET};
    unsigned host = 1 + (unsigned)rnd(32);
    int port =
        origin_base +
        (int)(t->ending == REFUSED || t->ending == RESET_AT_ACCEPT ? ports[t->ending] : PORT_ECHO);
    int err = connect_error(&t->end[CLIENT]);
    char head[300];
    int n;

    if (err) {
        tunnel_wrong(t, strerror(err));
        return;
    }
    n = snprintf(
        head, sizeof(head),
        "CONNECT 127.0.2.%u:%d HTTP/1.1\r\nHost: 127.0.2.%u:%d\r\nUser-Agent: soak/t%016" PRIx64
        "\r\n\r\n",
        host, port, host, port, tunnel_id(t));
    if (send(t->end[CLIENT].fd, head, (size_t)n, MSG_NOSIGNAL) != n) {
        tunnel_wrong(t, "the CONNECT cannot be sent");
        return;
    }
    t->state = T_HEAD;
    if (t->ending == EARLY && chance(50)) {
        end_close(&t->end[CLIENT], true);
        tunnel_done(t, "maybe");
        return;
    }
    arm(&t->end[CLIENT], EPOLLIN);
}

static void tunnel_event(struct end *e, uint32_t events)
{
    struct tunnel *t = e->of;
    uint32_t gen = t->gen;

    if (t->state == T_FREE || e->fd < 0)
        return;
    if (t->state == T_CONNECT) {
        tunnel_connected(t);
        return;
    }
    if (t->state == T_HEAD) {
        tunnel_read_head(t);
        return;
    }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        tunnel_read(t, e->side);
    if (t->gen == gen && t->state == T_OPEN && e->fd >= 0 && events & EPOLLOUT)
        tunnel_write(t, e->side);
}

static bool tunnel_new(bool resident, enum ending how)
{
    struct tunnel *t = free_tunnels;
    uint32_t slot, gen;

    if (!t)
        return false;
    free_tunnels = t->next;
    slot = t->slot;
    gen = t->gen + 1;
    *t = (struct tunnel){.slot = slot,
                         .gen = gen,
                         .state = T_CONNECT,
                         .resident = resident,
                         .ending = how,
                         .reset_by = -1,
                         .began = now,
                         .rounds = (unsigned)rnd(4),
                         .dir = {dir_new(), dir_new()}};
    for (unsigned s = 0; s < 2; s++)
        t->end[s] = (struct end){.thing = TUNNEL_END, .fd = -1, .side = s, .of = t};
    if (!dial(&t->end[CLIENT])) {
        t->state = T_FREE;
        t->next = free_tunnels;
        free_tunnels = t;
        return false;
    }
    opening++;
    residents += resident;
    shorts += !resident;
    count.tunnels_begun++;
    count.early += how == EARLY;
    tunnel_expect(t, EXCHANGE_S);
    return true;
}

/* The origin's connection has said whose it is. */
static void tunnel_attach(struct tunnel *t, int fd)
{
    struct end *e = &t->end[ORIGIN];

    t->attached = true;
    opening--;
    residents_open += t->resident;
    e->fd = fd;
    e->armed = EPOLLIN; /* as it was registered */
    t->end_by = 0;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = e};
    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
    tunnel_ask(t);
}

/* ---- what goes on in resident tunnels ---- */

static void unstall(uint32_t slot, uint32_t gen)
{
    struct tunnel *t = &tunnels[slot];

    if (t->gen != gen || t->state != T_OPEN)
        return;
    for (unsigned s = 0; s < 2; s++) {
        t->end[s].stalled = false;
        tunnel_arm(t, s);
    }
}

static void stall(uint32_t slot, uint32_t gen)
{
    struct tunnel *t = &tunnels[slot];

    if (t->gen != gen || t->state != T_OPEN || t->ending || t->busy != BULK)
        return;
    for (unsigned s = 0; s < 2; s++) {
        t->end[s].stalled = true;
        tunnel_arm(t, s);
    }
    count.stalls++;
    timer_add(0.5 + (double)rnd(3500) / 1000, unstall, slot, gen);
}

static void trickle(uint32_t slot, uint32_t gen)
{
    struct tunnel *t = &tunnels[slot];

    if (t->gen != gen || t->state != T_OPEN || t->ending)
        return;
    if (!t->reply--) {
        t->busy = IDLE;
        return;
    }
    t->dir[t->first].goal++;
    if (tunnel_write(t, t->first))
        timer_add(0.02 + (double)rnd(100) / 1000, trickle, slot, gen);
}

/* A resident tunnel on which nothing is under way, or NULL after a few tries. */
static struct tunnel *some_resident(bool quiet)
{
    for (unsigned i = 0; i < 20; i++) {
        struct tunnel *t = &tunnels[rnd(n_slots)];

        if (t->state == T_OPEN && t->resident && t->attached && !t->ending &&
            (!quiet || t->busy == IDLE))
            return t;
    }
    return NULL;
}

static void do_echo(void)
{
    struct tunnel *t = some_resident(true);

    if (t)
        tunnel_ask(t);
}

static void do_bulk(void)
{
    struct tunnel *t = some_resident(true);
    unsigned s = (unsigned)rnd(2);

    if (!t)
        return;
    count.bulks++;
    t->busy = BULK;
    t->dir[s].goal += size_between(1 << 18, 12 << 20);
    if (chance(30))
        t->dir[!s].goal += size_between(1 << 18, 4 << 20);
    if (chance(60))
        timer_add((double)rnd(8) / 1000, stall, t->slot, t->gen);
    if (tunnel_write(t, s))
        tunnel_write(t, !s);
}

static void do_trickle(void)
{
    struct tunnel *t = some_resident(true);

    if (!t)
        return;
    count.trickles++;
    t->busy = TRICKLE;
    t->first = (unsigned)rnd(2);
    t->reply = 10 + rnd(60);
    trickle(t->slot, t->gen);
}

static void do_fault(void)
{
    struct tunnel *t = some_resident(false);

    if (t)
        tunnel_end_begin(t, chance(50)   ? RESET
                            : chance(20) ? FIN_THEN_RESET
                            : chance(30) ? FIN_BOTH
                                         : FIN_FIRST);
}

static void do_short(void)
{
    if (shorts < SHORT_MAX)
        tunnel_new(false, chance(4)   ? EARLY
                          : chance(4) ? REFUSED
                          : chance(3) ? RESET_AT_ACCEPT
                                      : NO_END);
}

/* ---- messages: bodies out, bodies in ---- */

static void writer_head(struct writer *w, const char *head, int n, struct dir *d,
                        enum framing framing)
{
    w->n = (size_t)n;
    w->off = 0;
    w->dir = d;
    w->framing = framing;
    w->last = framing == NO_BODY;
    memcpy(w->buf, head, (size_t)n);
}

static void writer_fill(struct writer *w, uint64_t stop_at)
{
    struct dir *d = w->dir;
    uint64_t left = (d->goal < stop_at ? d->goal : stop_at) - d->sent;
    uint64_t n = left > 8000 ? 8000 : left;

    if (w->framing == CHUNKED && n)
        n = size_between(1, n);
    w->off = w->n = 0;
    if (w->framing == CHUNKED)
        w->n = (size_t)snprintf(w->buf, sizeof(w->buf), "%" PRIx64 "\r\n", n);
    memcpy(w->buf + w->n, dir_bytes(d, d->sent), n);
    w->n += n;
    d->sent += n;
    if (w->framing == CHUNKED) {
        memcpy(w->buf + w->n, "\r\n", 2);
        w->n += 2;
    }
    w->last = d->sent == d->goal && (w->framing != CHUNKED || !n);
}

/* 1: all is sent; 0: the rest comes later, or stop_at is reached; -1: the connection broke. */
static int writer_send(struct writer *w, int fd, uint64_t stop_at)
{
    for (unsigned i = 0; i < 64; i++) {
        ssize_t n;

        if (w->off == w->n) {
            if (w->last)
                return 1;
            if (w->dir->sent >= stop_at)
                return 0;
            writer_fill(w, stop_at);
        }
        n = send(fd, w->buf + w->off, w->n - w->off, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        w->off += (size_t)n;
    }
    return w->off == w->n && w->last;
}

static const char *field(const char *head, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = strstr(head, "\r\n"); p; p = strstr(p, "\r\n")) {
        p += 2;
        if (!strncasecmp(p, name, n) && p[n] == ':')
            return p + n + 1 + strspn(p + n + 1, " ");
    }
    return NULL;
}

static bool field_is(const char *head, const char *name, const char *value)
{
    const char *p = field(head, name);

    return p && !strncasecmp(p, value, strlen(value));
}

/* The framing of the message whose head is in r->line. */
static void reader_frame(struct reader *r, bool response)
{
    const char *length = field(r->line, "Content-Length");

    r->n = 0;
    if (field_is(r->line, "Transfer-Encoding", "chunked"))
        r->stage = R_SIZE;
    else if (length) {
        r->left = strtoull(length, NULL, 10);
        r->stage = r->left ? R_LENGTH : R_DONE;
    } else
        r->stage = response ? R_CLOSE : R_DONE;
}

/* A line of chunk framing, collected byte by byte. True: there it is, without its end. */
static bool reader_line(struct reader *r, char c)
{
    if (r->n + 1 < sizeof(r->line))
        r->line[r->n++] = c;
    if (c != '\n')
        return false;
    r->line[r->n] = 0;
    r->n = 0;
    return true;
}

/* Behind the head: content is compared, framing is followed. Returns the bytes used; *ret_ok false:
 * wrong bytes. */
static size_t reader_body(struct reader *r, const char *p, size_t n, bool *ret_ok)
{
    size_t used = 0;

    while (used < n && r->stage != R_DONE && *ret_ok) {
        if (r->stage == R_LENGTH || r->stage == R_DATA || r->stage == R_CLOSE) {
            size_t k = n - used;

            if (r->stage != R_CLOSE && k > r->left)
                k = r->left;
            *ret_ok = dir_check(r->dir, p + used, k);
            used += k;
            r->left -= r->stage == R_CLOSE ? 0 : k;
            if (r->stage != R_CLOSE && !r->left)
                r->stage = r->stage == R_DATA ? R_DATA_END : R_DONE;
            continue;
        }
        if (!reader_line(r, p[used++]))
            continue;
        if (r->stage == R_SIZE) {
            r->left = strtoull(r->line, NULL, 16);
            r->stage = r->left ? R_DATA : R_TRAILER;
        } else if (r->stage == R_DATA_END) {
            r->stage = R_SIZE;
        } else if (r->line[0] == '\r') {
            r->stage = R_DONE;
        }
    }
    return used;
}

/* The head, byte by byte. True: it is whole, in r->line. */
static bool reader_head(struct reader *r, char c)
{
    if (r->n + 1 >= sizeof(r->line))
        return false;
    r->line[r->n++] = c;
    r->line[r->n] = 0;
    return r->n >= 4 && !memcmp(r->line + r->n - 4, "\r\n\r\n", 4);
}

/* ---- plain requests: the client ---- */

static void request_start(uint32_t slot, uint32_t gen);

static uint64_t request_id(const struct request *q)
{
    return (uint64_t)q->gen << 32 | q->slot;
}

static double request_pause;

/* The request is over for its client. keep: its connection may carry the next one. */
static void request_over(struct request *q, const char *fate, bool keep, bool reset)
{
    fprintf(ledger, "h%016" PRIx64 " %s %s %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
            request_id(q), fault_name(q->fault), fate, q->status, q->dir[UP].sent, q->dir[UP].got,
            q->dir[DOWN].sent, q->dir[DOWN].got);
    count.plain++;
    count.plain_faults += q->fault != H_NONE;
    count.bytes_up += q->dir[UP].got;
    count.bytes_down += q->dir[DOWN].got;
    q->busy = false;
    q->end.stalled = false;
    q->gen++;
    if (!keep || !q->left || finishing)
        end_close(&q->end, reset);
    else
        arm(&q->end, EPOLLIN | EPOLLRDHUP);
    timer_add(request_pause * (double)rnd(2000) / 1000, request_start, q->slot, q->gen);
}

static void request_wrong(struct request *q, const char *what)
{
    finding("request h%016" PRIx64
            " (fault %s, up framing %d, down framing %d, status %d, up %" PRIu64 "/%" PRIu64
            "/%" PRIu64 ", down %" PRIu64 "/%" PRIu64 "/%" PRIu64 " got/sent/goal, age %.1f s): %s",
            request_id(q), fault_name(q->fault), (int)q->up_framing, (int)q->down_framing,
            q->status, q->dir[UP].got, q->dir[UP].sent, q->dir[UP].goal, q->dir[DOWN].got,
            q->dir[DOWN].sent, q->dir[DOWN].goal, now - q->began, what);
    request_over(q, "cut", false, true);
}

static void request_arm(struct request *q)
{
    bool more = !q->writer.last || q->writer.off < q->writer.n;

    arm(&q->end, (q->end.stalled ? 0 : EPOLLIN) | (more ? EPOLLOUT : 0) | EPOLLPRI);
}

static void request_write(struct request *q)
{
    uint64_t stop = q->fault == H_CLIENT_RESET_UPLOAD ? q->cut : UINT64_MAX;

    if (writer_send(&q->writer, q->end.fd, stop) < 0) {
        if (q->fault == H_NONE)
            request_wrong(q, "the request cannot be written");
        else
            request_over(q, "cut", false, true);
        return;
    }
    q->moved = now;
    if (q->writer.dir && q->dir[UP].sent >= stop) {
        request_over(q, "maybe", false, true);
        return;
    }
    request_arm(q);
}

static void request_complete(struct request *q)
{
    bool keep = !q->framing_close && q->writer.last && q->writer.off == q->writer.n;

    if (q->status == 200 && q->dir[DOWN].got != q->dir[DOWN].goal) {
        request_wrong(q, "an answer that is cut looks complete");
        return;
    }
    if (q->fault == H_NONE && (q->status != 200 || q->dir[UP].got != q->dir[UP].goal)) {
        request_wrong(q, "not the answer that was sent");
        return;
    }
    if (q->fault != H_NONE && q->status == 200 && q->fault != H_CLIENT_TIRED &&
        q->fault != H_CLIENT_RESET_BODY) {
        request_wrong(q, "200 although the origin failed");
        return;
    }
    request_over(q,
                 q->fault == H_NONE ? "clean"
                 : q->status == 200 ? "clean"
                                    : "refused",
                 keep, false);
}

/* The connection has ended (err 0) or broken. */
static void request_ended(struct request *q, int err)
{
    if (q->reader.stage == R_CLOSE && !err && q->fault == H_NONE) {
        q->framing_close = true;
        request_complete(q);
        return;
    }
    if (q->fault == H_NONE)
        request_wrong(q, err ? strerror(err) : "closed before the answer was complete");
    else if (q->reader.stage == R_CLOSE && !err && q->status == 200)
        request_wrong(q, "an answer that is cut ends orderly");
    else
        request_over(q, "cut", false, true);
}

static bool request_head(struct request *q)
{
    struct reader *r = &q->reader;
    int status = atoi(r->line + strcspn(r->line, " "));

    if (status == 100) {
        r->n = 0;
        return true;
    }
    q->status = status;
    q->framing_close = field_is(r->line, "Connection", "close");
    reader_frame(r, true);
    if (q->status == 200 || (q->status == 502 && q->fault != H_NONE))
        return true;
    r->line[strcspn(r->line, "\r\n")] = 0;
    request_wrong(q, r->line);
    return false;
}

/* A page of the proxy's own is read, not compared. */
static bool skip_check(struct request *q, const char *p, size_t n)
{
    struct reader *r = &q->reader;

    (void)p;
    if (r->stage == R_LENGTH) {
        r->left -= n < r->left ? n : r->left;
        if (!r->left)
            r->stage = R_DONE;
        return true;
    }
    return r->stage == R_DONE;
}

static void request_bytes(struct request *q, const char *p, size_t n)
{
    struct reader *r = &q->reader;
    size_t used = 0;
    bool ok = true;

    while (used < n && r->stage == R_HEAD)
        if (reader_head(r, p[used++]) && !request_head(q))
            return;
    if (r->stage == R_HEAD)
        return;
    if (q->status != 200)
        ok = skip_check(q, p + used, n - used);
    else
        used += reader_body(r, p + used, n - used, &ok);
    if (!ok || (q->status == 200 && used < n)) {
        request_wrong(q, ok ? "bytes behind the answer"
                            : "a wrong, lost or doubled byte in the answer");
        return;
    }
    if (r->stage == R_DONE)
        request_complete(q);
    else if (q->fault == H_CLIENT_RESET_BODY && q->dir[DOWN].got >= q->cut)
        request_over(q, "cut", false, true);
}

static void request_read(struct request *q)
{
    uint32_t gen = q->gen;

    for (unsigned i = 0; i < 4 && q->gen == gen && q->busy; i++) {
        ssize_t n = recv(q->end.fd, scratch, sizeof(scratch), 0);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            request_ended(q, n < 0 ? errno : 0);
            return;
        }
        q->moved = now;
        request_bytes(q, scratch, (size_t)n);
    }
}

static void request_event(struct end *e, uint32_t events)
{
    struct request *q = e->of;
    uint32_t gen = q->gen;

    if (e->fd < 0)
        return;
    if (!q->busy) {
        /* Kept, and nothing was asked: the proxy may close it (nobody has asked yet), but say
         * nothing. */
        if (recv(e->fd, scratch, 1, MSG_DONTWAIT) > 0)
            finding("request connection %u: bytes that nobody asked for", q->slot);
        end_close(e, false);
        return;
    }
    if (e->connecting) {
        int err = connect_error(e);

        if (err) {
            request_wrong(q, strerror(err));
            return;
        }
    }
    if (events & EPOLLOUT)
        request_write(q);
    if (q->gen == gen && q->busy && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        request_read(q);
}

static void request_tired(uint32_t slot, uint32_t gen)
{
    struct request *q = &requests[slot];

    if (q->gen == gen && q->busy)
        request_over(q, "maybe", false, true);
}

static void request_stall_end(uint32_t slot, uint32_t gen)
{
    struct request *q = &requests[slot];

    if (q->gen != gen || !q->busy)
        return;
    q->end.stalled = false;
    q->moved = now;
    request_arm(q);
}

static void request_late(uint32_t slot, uint32_t gen)
{
    struct request *q = &requests[slot];

    if (q->gen != gen || !q->busy)
        return;
    if (now - q->moved > EXCHANGE_S * scale)
        request_wrong(q, "no byte for half a minute");
    else
        timer_add(2, request_late, slot, gen);
}

static void request_plan(struct request *q)
{
    uint64_t up = chance(2) ? 1 + rnd(2 << 20) : size_between(1, 60000),
             down = chance(3) ? 1 + rnd(4 << 20) : size_between(1, 60000);

    q->up_framing = chance(50) ? NO_BODY : chance(50) ? LENGTH : CHUNKED;
    q->down_framing = chance(60) ? LENGTH : chance(60) ? CHUNKED : TO_CLOSE;
    q->dir[UP] = dir_new();
    q->dir[DOWN] = dir_new();
    q->dir[UP].goal = q->up_framing == NO_BODY ? 0 : up;
    q->dir[DOWN].goal = down;
    q->fault = chance(12) ? (enum http_fault)(1 + rnd(N_FAULTS - 1)) : H_NONE;
    q->slow = down < 60000 && chance(3);
    if ((q->fault == H_ORIGIN_RESET_UPLOAD || q->fault == H_CLIENT_RESET_UPLOAD) &&
        q->up_framing == NO_BODY)
        q->up_framing = LENGTH;
    if (q->up_framing != NO_BODY && !q->dir[UP].goal)
        q->dir[UP].goal = 40000;
    if (q->fault == H_CLIENT_RESET_BODY)
        q->dir[DOWN].goal += 1 << 19;
    /* What is closed at the end of such an answer would be no fault. */
    if (q->fault == H_ORIGIN_FIN_BODY && q->down_framing == TO_CLOSE)
        q->down_framing = chance(50) ? LENGTH : CHUNKED;
    q->cut = rnd(q->fault == H_ORIGIN_RESET_UPLOAD || q->fault == H_CLIENT_RESET_UPLOAD
                     ? q->dir[UP].goal
                     : q->dir[DOWN].goal);
}

static void request_send(struct request *q)
{
    unsigned host = 1 + (unsigned)rnd(32);
    int port = origin_base + (q->fault == H_REFUSED ? PORT_NOBODY : PORT_HTTP);
    char head[600], framing[64] = "";
    int n;

    if (q->up_framing == LENGTH)
        snprintf(framing, sizeof(framing), "Content-Length: %" PRIu64 "\r\n", q->dir[UP].goal);
    else if (q->up_framing == CHUNKED)
        snprintf(framing, sizeof(framing), "Transfer-Encoding: chunked\r\n");
    n = snprintf(head, sizeof(head),
                 "%s http://127.0.2.%u:%d/%08x%08x HTTP/1.1\r\nHost: 127.0.2.%u:%d\r\nUser-Agent: "
                 "soak/h%016" PRIx64 "\r\n%s%s\r\n",
                 q->up_framing == NO_BODY ? "GET" : "POST", host, port, (unsigned)q->slot,
                 (unsigned)q->gen, host, port, request_id(q),
                 q->left ? "" : "Connection: close\r\n", framing);
    q->reader = (struct reader){.dir = &q->dir[DOWN]};
    writer_head(&q->writer, head, n, &q->dir[UP], q->up_framing);
}

static void request_start(uint32_t slot, uint32_t gen)
{
    struct request *q = &requests[slot];

    if (q->gen != gen || q->busy)
        return;
    if (finishing) {
        end_close(&q->end, false);
        return;
    }
    request_plan(q);
    if (q->end.fd < 0) {
        if (!dial(&q->end)) {
            timer_add(1, request_start, slot, gen);
            return;
        }
        q->left = (unsigned)rnd(20);
    } else {
        q->left--;
    }
    q->busy = true;
    q->status = 0;
    q->framing_close = false;
    q->began = q->moved = now;
    request_send(q);
    if (chance(4)) {
        q->end.stalled = true;
        timer_add(0.5 + (double)rnd(2500) / 1000, request_stall_end, slot, q->gen);
    }
    if (q->fault == H_CLIENT_TIRED)
        timer_add((double)rnd(1500) / 1000, request_tired, slot, q->gen);
    timer_add(2, request_late, slot, q->gen);
    if (!q->end.connecting)
        request_arm(q);
}

/* ---- plain requests: the origin ---- */

static void server_close(struct server *s, bool reset)
{
    if (!s->used)
        return;
    end_close(&s->end, reset);
    s->used = false;
    n_servers--;
    s->next = dead_servers;
    dead_servers = s;
}

/* The request that it serves, or NULL: the client has gone. */
static struct request *server_request(const struct server *s)
{
    struct request *q = &requests[s->slot];

    return s->serving && s->slot < HTTP_CLIENTS && q->gen == s->gen && q->busy ? q : NULL;
}

static void server_idle(struct server *s)
{
    s->serving = s->responding = false;
    s->orphan = 0;
    s->reader = (struct reader){.stage = R_HEAD};
    arm(&s->end, EPOLLIN);
}

static void server_slow(uint32_t slot, uint32_t gen);

static void server_write(struct server *s)
{
    struct request *q = server_request(s);
    uint64_t stop = UINT64_MAX;
    int r;

    if (!q) {
        /* Its client has left. How should an origin know? It waits for the proxy to say so, and
         * watch() sees how long. */
        arm(&s->end, EPOLLIN);
        return;
    }
    if (q->fault == H_ORIGIN_FIN_BODY || q->fault == H_ORIGIN_RESET_BODY)
        stop = q->cut;
    if (q->slow && q->dir[DOWN].sent + 1000 < stop)
        stop = q->dir[DOWN].sent + 1000;
    r = writer_send(&s->writer, s->end.fd, stop);
    q->moved = now;
    if (r < 0) {
        if (q->fault == H_NONE)
            request_wrong(q, "the origin cannot write its answer");
        server_close(s, true);
        return;
    }
    if (r == 0 && (q->fault == H_ORIGIN_FIN_BODY || q->fault == H_ORIGIN_RESET_BODY) &&
        q->dir[DOWN].sent >= q->cut && s->writer.off == s->writer.n) {
        server_close(s, q->fault == H_ORIGIN_RESET_BODY);
        return;
    }
    if (r == 0 && q->slow && s->writer.off == s->writer.n) {
        arm(&s->end, EPOLLIN);
        timer_add(0.05 + (double)rnd(100) / 1000, server_slow, q->slot, q->gen);
        return;
    }
    if (r == 0) {
        arm(&s->end, EPOLLIN | EPOLLOUT);
        return;
    }
    if (s->close_after)
        server_close(s, false);
    else
        server_idle(s);
}

static void server_slow(uint32_t slot, uint32_t gen)
{
    for (unsigned i = 0; i < n_all_servers; i++) {
        struct server *s = all_servers[i];

        if (s->used && s->serving && s->responding && s->slot == slot && s->gen == gen) {
            server_write(s);
            return;
        }
    }
}

static void server_respond(struct server *s, struct request *q)
{
    char head[256], framing[64] = "";
    int n;

    s->close_after = q->down_framing == TO_CLOSE || chance(5);
    s->responding = true;
    if (q->down_framing == LENGTH)
        snprintf(framing, sizeof(framing), "Content-Length: %" PRIu64 "\r\n", q->dir[DOWN].goal);
    else if (q->down_framing == CHUNKED)
        snprintf(framing, sizeof(framing), "Transfer-Encoding: chunked\r\n");
    n = snprintf(head, sizeof(head),
                 "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n%s%s\r\n",
                 s->close_after ? "Connection: close\r\n" : "", framing);
    writer_head(&s->writer, head, n, &q->dir[DOWN], q->down_framing);
    server_write(s);
}

/* The head of a request; false: the connection is closed, or nobody is interested any more. */
static bool server_head(struct server *s)
{
    const char *path = strchr(s->reader.line, '/');
    unsigned slot, gen;
    struct request *q;

    if (!path || sscanf(path, "/%8x%8x ", &slot, &gen) != 2 || slot >= HTTP_CLIENTS) {
        finding("an origin met a request that nobody sent");
        server_close(s, true);
        return false;
    }
    s->slot = slot;
    s->gen = gen;
    s->serving = true;
    q = server_request(s);
    if (!q)
        return false;
    if (q->fault == H_ORIGIN_RESET_HEAD) {
        server_close(s, true);
        return false;
    }
    if (q->dir[UP].got || q->dir[DOWN].sent) {
        request_wrong(q, "it came to the origin twice");
        server_close(s, true);
        return false;
    }
    s->reader.dir = &q->dir[UP];
    reader_frame(&s->reader, false);
    return true;
}

static void server_bytes(struct server *s, const char *p, size_t n)
{
    size_t used = 0;
    struct request *q;
    bool ok = true;

    if (s->serving && !server_request(s))
        return;
    while (used < n && s->reader.stage == R_HEAD)
        if (reader_head(&s->reader, p[used++]) && !server_head(s))
            return;
    if (s->reader.stage == R_HEAD)
        return;
    q = server_request(s);
    q->moved = now;
    used += reader_body(&s->reader, p + used, n - used, &ok);
    if (!ok || used < n) {
        request_wrong(q, ok ? "the origin received bytes behind the request"
                            : "a wrong, lost or doubled byte in the request");
        server_close(s, true);
        return;
    }
    if (q->fault == H_ORIGIN_RESET_UPLOAD && q->dir[UP].got >= q->cut) {
        server_close(s, true);
        return;
    }
    if (s->reader.stage == R_DONE && !s->responding && q->fault != H_CLIENT_TIRED)
        server_respond(s, q);
}

static void server_event(struct end *e, uint32_t events)
{
    struct server *s = e->of;

    if (!s->used || e->fd < 0)
        return;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        ssize_t n = recv(e->fd, scratch, sizeof(scratch), 0);

        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            struct request *q = server_request(s);

            if (q && q->fault == H_NONE)
                request_wrong(q, "the proxy left the origin");
            server_close(s, false);
            return;
        }
        if (n > 0)
            server_bytes(s, scratch, (size_t)n);
    }
    if (s->used && e->fd >= 0 && events & EPOLLOUT && s->responding)
        server_write(s);
}

static void server_new(int fd)
{
    struct server *s = idle_servers;

    if (s) {
        idle_servers = s->next;
    } else {
        s = n_all_servers < sizeof(all_servers) / sizeof(*all_servers) ? calloc(1, sizeof(*s))
                                                                       : NULL;
        if (!s)
            abort();
        all_servers[n_all_servers++] = s;
    }
    *s = (struct server){.end = {.thing = HTTP_ORIGIN, .fd = fd, .of = s}, .used = true};
    n_servers++;
    server_idle(s);
}

/* ---- origins of tunnels ---- */

static void visitor_gone(struct visitor *v)
{
    n_visitors--;
    v->next = dead_visitors;
    dead_visitors = v;
}

static void visitor_event(struct end *e)
{
    struct visitor *v = e->of;
    unsigned slot, gen;
    ssize_t n;

    if (e->fd < 0)
        return;
    if (v->n == PREFACE) /* its client left early, and the proxy is to say so */
        n = recv(e->fd, scratch, sizeof(scratch), 0);
    else
        n = recv(e->fd, v->preface + v->n, PREFACE - v->n, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        end_close(e, false);
        visitor_gone(v);
        return;
    }
    if (v->n == PREFACE)
        return;
    v->n += (size_t)n;
    if (v->n < PREFACE)
        return;
    if (sscanf(v->preface, "%8x%8x", &slot, &gen) != 2 || slot >= n_slots) {
        finding("an origin met a tunnel that nobody opened");
        end_close(e, true);
        visitor_gone(v);
        return;
    }
    if (tunnels[slot].gen != gen || tunnels[slot].state != T_OPEN || tunnels[slot].attached)
        return;
    tunnel_attach(&tunnels[slot], e->fd);
    e->fd = -1;
    visitor_gone(v);
}

static void visitor_new(int fd)
{
    struct visitor *v = free_visitors;

    if (v)
        free_visitors = v->next;
    else
        v = calloc(1, sizeof(*v));
    if (!v)
        abort();
    *v = (struct visitor){.end = {.thing = VISITOR, .fd = fd, .of = v}};
    n_visitors++;
    arm(&v->end, EPOLLIN);
}

static void accept_all(struct end *listener)
{
    for (;;) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        no_delay(fd);
        if (listener->side == PORT_RESET) {
            struct end e = {.fd = fd};

            end_close(&e, true);
        } else if (listener->side == PORT_HTTP) {
            server_new(fd);
        } else {
            visitor_new(fd);
        }
    }
}

/* ---- the loop ---- */

static void dispatch(struct epoll_event *ev)
{
    struct end *e = ev->data.ptr;

    switch (e->thing) {
    case LISTENER:
        accept_all(e);
        break;
    case VISITOR:
        visitor_event(e);
        break;
    case TUNNEL_END:
        tunnel_event(e, ev->events);
        break;
    case HTTP_CLIENT:
        request_event(e, ev->events);
        break;
    case HTTP_ORIGIN:
        server_event(e, ev->events);
        break;
    }
}

/* What was given up during this turn may be used again: no event of it is left. */
static void bury(void)
{
    while (freed_now) {
        struct tunnel *t = freed_now;

        freed_now = t->next;
        t->next = free_tunnels;
        free_tunnels = t;
    }
    while (dead_visitors) {
        struct visitor *v = dead_visitors;

        dead_visitors = v->next;
        v->next = free_visitors;
        free_visitors = v;
    }
    while (dead_servers) {
        struct server *s = dead_servers;

        dead_servers = s->next;
        s->next = idle_servers;
        idle_servers = s;
    }
}

/* So many a second: what is due since the last turn; after a pause of this process nothing is made
 * up for. */
static struct work {
    void (*run)(void);
    double a_second, due;
} work[] = {
    {do_echo, 1000, 0}, {do_short, 100, 0}, {do_fault, 20, 0}, {do_bulk, 2, 0}, {do_trickle, 4, 0}};

static void work_run(double turn)
{
    if (turn > 0.5)
        turn = 0.5;
    for (unsigned i = 0; i < sizeof(work) / sizeof(*work); i++)
        for (work[i].due += work[i].a_second * turn; work[i].due >= 1; work[i].due--)
            work[i].run();
}

static void keep_population(void)
{
    while (residents < n_residents && opening < OPENING_MAX && tunnel_new(true, NO_END))
        ;
}

/* Echoes that are still out, and origins' connections that outlive their client. */
static void watch(void)
{
    for (uint32_t i = 0; i < n_slots; i++) {
        struct tunnel *t = &tunnels[i];

        if (t->state == T_OPEN && t->busy == ECHO && t->asked > 0 &&
            now - t->asked - (starved - t->starved_then) > 4 * stall_limit * scale)
            tunnel_wrong(t, "an echo does not come back");
    }
    for (unsigned i = 0; i < n_all_servers; i++) {
        struct server *s = all_servers[i];

        if (!s->used || !s->serving || server_request(s))
            continue;
        if (s->orphan <= 0)
            s->orphan = now - starved;
        if (now - starved - s->orphan < ENDING_S * scale)
            continue;
        finding("an origin's connection is open %d s after its client has left (h%08x%08x, %s, "
                "%zu of %zu bytes of a piece written, last %d)",
                ENDING_S, (unsigned)s->gen, (unsigned)s->slot,
                s->responding ? "answering" : "reading", s->writer.off, s->writer.n,
                (int)s->writer.last);
        server_close(s, true);
    }
}

static void report(double began)
{
    unsigned asking = 0;

    for (unsigned i = 0; i < HTTP_CLIENTS; i++)
        asking += requests[i].busy;
    printf("t=%.1f tunnels=%u opening=%u short=%u unknown=%u asking=%u begun=%" PRIu64
           " ended=%" PRIu64 " plain=%" PRIu64 " echoes=%" PRIu64 " bulks=%" PRIu64
           " resets=%" PRIu64 " fins=%" PRIu64 " stalls=%" PRIu64 " up=%" PRIu64 " down=%" PRIu64
           " starved=%.2f findings=%" PRIu64 " p50us=%.0f p99us=%.0f worst=%.3f worst_raw=%.3f\n",
           now - began, residents_open, opening, shorts, n_visitors, asking, count.tunnels_begun,
           count.tunnels_ended, count.plain, count.echoes, count.bulks, count.resets, count.fins,
           count.stalls, count.bytes_up, count.bytes_down, starved, count.findings, hist_at(.5),
           hist_at(.99), count.worst, count.worst_raw);
    fflush(stdout);
}

/* Lets a part of the residents end; the rest has its turn in the next ones. */
static void finish_some(void)
{
    static uint32_t at;

    for (unsigned n = 0; at < n_slots && n < 100; at++) {
        struct tunnel *t = &tunnels[at];

        if (t->state == T_OPEN && t->attached && !t->ending && t->resident) {
            tunnel_end_begin(t, chance(30) ? FIN_BOTH : FIN_FIRST);
            n++;
        }
    }
    if (at == n_slots)
        at = 0;
}

static bool all_over(void)
{
    for (unsigned i = 0; i < HTTP_CLIENTS; i++)
        if (requests[i].end.fd >= 0)
            return false;
    return !residents && !shorts && !n_visitors;
}

/* Kept connections of the proxy's to the origins end last, by the origins' FIN. */
static void finish_servers(void)
{
    for (unsigned i = 0; i < n_all_servers; i++)
        server_close(all_servers[i], false);
}

static void read_word(void)
{
    char word[64];

    if (read(0, word, sizeof(word)) < 0)
        return;
    finishing = true;
    epoll_ctl(ep, EPOLL_CTL_DEL, 0, NULL);
}

static void loop(void)
{
    static struct epoll_event ev[512];
    struct epoll_event in = {.events = EPOLLIN, .data.ptr = NULL};
    double began = clock_now(), last = began, next_report = began + 1, finish_by = 0;
    bool full = false;

    epoll_ctl(ep, EPOLL_CTL_ADD, 0, &in);
    while (!finishing || !all_over()) {
        int n = epoll_wait(ep, ev, 512, 5);
        double turn;

        now = clock_now();
        turn = now - last;
        last = now;
        starved_update(turn);
        for (int i = 0; i < n; i++)
            if (ev[i].data.ptr)
                dispatch(&ev[i]);
            else
                read_word();
        while (heap_n && heap[0].at <= now) {
            struct timer t = timer_pop();

            t.fn(t.slot, t.gen);
        }
        if (full && turn > count.turn)
            count.turn = turn;
        if (finishing) {
            finish_by = finish_by > 0 ? finish_by : now - starved + FINISH_S * scale;
            finish_some();
        } else {
            keep_population();
            if (full)
                work_run(turn);
            else if (residents_open == n_residents) {
                full = true;
                hist_reset();
            }
        }
        if (now >= next_report) {
            next_report = now + 1;
            watch();
            report(began);
            fflush(ledger);
        }
        bury();
        if (finish_by > 0 && now - starved > finish_by) {
            finding("not everything ends: %u resident, %u short, %u unknown", residents, shorts,
                    n_visitors);
            break;
        }
    }
    now = clock_now();
    finish_servers();
    report(began);
}

static void tables(void)
{
    n_slots = n_residents + SHORT_MAX;
    tunnels = calloc(n_slots, sizeof(*tunnels));
    if (!tunnels)
        abort();
    for (uint32_t i = n_slots; i-- > 0;) {
        tunnels[i].slot = i;
        tunnels[i].next = free_tunnels;
        free_tunnels = &tunnels[i];
    }
    for (unsigned i = 0; i < HTTP_CLIENTS; i++) {
        requests[i].slot = i;
        requests[i].end = (struct end){.thing = HTTP_CLIENT, .fd = -1, .of = &requests[i]};
        timer_add((double)rnd(1000) / 1000, request_start, i, 0);
    }
}

int main(int argc, char **argv)
{
    double rate = 100;
    int opt;

    while ((opt = getopt(argc, argv, "p:o:n:P:s:r:m:x:l:")) != -1)
        switch (opt) {
        case 'p':
            proxy_port = atoi(optarg);
            break;
        case 'o':
            origin_base = atoi(optarg);
            break;
        case 'n':
            n_residents = (uint32_t)atoi(optarg);
            break;
        case 'P':
            proxy_pid = atoi(optarg);
            break;
        case 's':
            rng = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            rate = atof(optarg);
            break;
        case 'm':
            stall_limit = atof(optarg) / 1000;
            break;
        case 'x':
            scale = atof(optarg);
            break;
        case 'l':
            ledger = fopen(optarg, "w");
            break;
        default:
            return 2;
        }
    if (!proxy_port || !origin_base || !n_residents || !ledger) {
        fprintf(stderr, "soak: see the comment at its head\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    rng = rng * 0x9E3779B97F4A7C15u + 1;
    for (unsigned i = 0; i < SEA; i++)
        sea[i] = (unsigned char)(rnd64() >> 32);
    memcpy(sea + SEA, sea, SLICE);
    ep = epoll_create1(EPOLL_CLOEXEC);
    now = clock_now();
    for (unsigned i = 0; i < sizeof(work) / sizeof(*work); i++)
        work[i].a_second *= rate / 100;
    request_pause = HTTP_CLIENTS / (200 * rate / 100);
    for (unsigned host = 1; host <= 32; host++)
        for (enum port p = PORT_ECHO; p < PORT_NOBODY; p++)
            listen_on(host, p);
    tables();
    printf("ready\n");
    fflush(stdout);
    loop();
    fclose(ledger);
    printf("done tunnels_begun=%" PRIu64 " tunnels_ended=%" PRIu64 " plain=%" PRIu64
           " plain_faults=%" PRIu64 " echoes=%" PRIu64 " bulks=%" PRIu64 " stalls=%" PRIu64
           " trickles=%" PRIu64 " resets=%" PRIu64 " fins=%" PRIu64 " refused=%" PRIu64
           " early=%" PRIu64 " up=%" PRIu64 " down=%" PRIu64
           " p50us=%.0f p99us=%.0f p999us=%.0f worst=%.3f worst_raw=%.3f turn=%.3f delayed=%" PRIu64
           " findings=%" PRIu64 "\n",
           count.tunnels_begun, count.tunnels_ended, count.plain, count.plain_faults, count.echoes,
           count.bulks, count.stalls, count.trickles, count.resets, count.fins, count.refused,
           count.early, count.bytes_up, count.bytes_down, hist_at(.5), hist_at(.99), hist_at(.999),
           count.worst, count.worst_raw, count.turn, count.delayed, count.findings);
    return count.findings ? 1 : 0;
}
