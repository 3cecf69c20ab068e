/* SPDX-License-Identifier: MIT */
/* A crowd: clients and origins that do what a random number says, with windows of any size and
 * faults of every kind. Nobody knows what exactly comes out, but this holds: every byte is the
 * right one for its place, what looks complete is complete, and in the end nothing is left.
 * SIM_SEED=n runs one seed, SIM_SEEDS=n the first n.
 */
#include "sim/sim.h"

#include "base/check.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    SEEDS = 6,
    CLIENTS = 200,
    AT_ONCE = 24,
    STEPS = 4000,
    REQUESTS_MAX = 12,
    BODY_MAX = 40000,
    TUNNEL_MAX = 40000,
    ADDRESSES = 4
};

/* ---- chance ---- */

static uint64_t state;

static uint64_t rnd(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % n;
}

static bool chance(unsigned percent)
{
    return rnd(100) < percent;
}

/* Mostly small, sometimes large. */
static size_t some_size(void)
{
    switch (rnd(8)) {
    case 0:
        return rnd(BODY_MAX);
    case 1:
    case 2:
        return rnd(2000);
    default:
        return rnd(20);
    }
}

/* ---- reading messages strictly ---- */

enum read_state {
    READ_HEAD = 0,
    READ_SIZED,
    READ_SIZE,
    READ_CHUNK,
    READ_CHUNK_END,
    READ_TRAILER,
    READ_CLOSE,
    READ_TUNNEL
};

struct reader {
    enum read_state state;
    uint64_t left;    /* of what has a length */
    uint64_t content; /* bytes of the body so far */
    bool checked;     /* the body is a pattern */
    int status;       /* responses */
    uint64_t path_n;  /* requests: the number in the path */
    char kind;        /* requests: the letter in the path */
    bool connect;
    unsigned done; /* whole messages */
};

enum message { MESSAGE_NONE, MESSAGE_HEAD, MESSAGE_WHOLE };

static const char *next_line(struct peer *p, size_t *ret_n)
{
    const char *from = p->got.p + p->got.at;
    const char *end = peer_unused(p) ? memmem(from, peer_unused(p), "\r\n", 2) : NULL;

    if (!end)
        return NULL;
    *ret_n = (size_t)(end - from);
    return from;
}

static void take_body(struct peer *p, struct reader *r, uint64_t max)
{
    size_t n = peer_unused(p) < max ? peer_unused(p) : (size_t)max;
    uint64_t at = r->content;

    if (!n)
        return;
    if (r->checked && peer_pattern_match(p->got.p + p->got.at, n, &at) != n)
        sim_fail(p->sim, "%s: byte %llu of the content is wrong", p->name, (unsigned long long)at);
    p->got.at += n;
    r->content += n;
    r->left -= n;
}

static const char *field(const char *head, size_t n, const char *name)
{
    const char *f = memmem(head, n, name, strlen(name));

    return f ? f + strlen(name) : NULL;
}

/* True when the head is there; used up then. */
static bool take_head(struct peer *p, struct reader *r, bool response)
{
    const char *head = peer_unused(p) ? p->got.p + p->got.at : NULL;
    const char *end = head ? memmem(head, peer_unused(p), "\r\n\r\n", 4) : NULL;
    const char *length;
    size_t n;

    if (!end)
        return false;
    n = (size_t)(end + 4 - head);
    if (response) {
        r->status = memcmp(head, "HTTP/1.", 7) == 0 ? atoi(head + 9) : 0;
        if (r->status < 100 || r->status > 599)
            sim_fail(p->sim, "%s: no status line", p->name);
        r->checked = r->status == 200 && !memmem(head, n, "Connection established", 22);
    } else {
        const char *path = memmem(head, n, " /", 2);

        if (!path || !field(head, n, "\r\nHost: ") || !field(head, n, "\r\nVia: 1."))
            sim_fail(p->sim, "%s: no request", p->name);
        r->kind = path[2];
        r->path_n = strtoull(path + 3, NULL, 10);
        r->checked = true;
    }
    length = field(head, n, "\r\nContent-Length: ");
    r->content = 0;
    if (field(head, n, "\r\nTransfer-Encoding: chunked\r\n")) {
        r->state = READ_SIZE;
    } else if (length) {
        r->left = strtoull(length, NULL, 10);
        r->state = READ_SIZED;
    } else if (response && r->status == 200 && !r->checked) {
        r->state = READ_TUNNEL;
    } else if (response && r->status >= 200 && r->status != 204 && r->status != 304) {
        r->state = READ_CLOSE;
        r->left = UINT64_MAX;
    } else {
        r->state = READ_SIZED;
        r->left = 0;
    }
    p->got.at += n;
    return true;
}

static bool take_line(struct peer *p, size_t *ret_n, const char **ret_line)
{
    *ret_line = next_line(p, ret_n);
    if (!*ret_line)
        return false;
    p->got.at += *ret_n + 2;
    return true;
}

/* One thing more: a head, or a whole message; NONE when there is nothing more to read now. */
static enum message read_some(struct peer *p, struct reader *r, bool response)
{
    const char *line;
    size_t n;

    for (;;) {
        switch (r->state) {
        case READ_HEAD:
            return take_head(p, r, response) ? MESSAGE_HEAD : MESSAGE_NONE;
        case READ_SIZED:
            take_body(p, r, r->left);
            if (r->left)
                return MESSAGE_NONE;
            goto whole;
        case READ_SIZE:
            if (!take_line(p, &n, &line))
                return MESSAGE_NONE;
            r->left = strtoull(line, NULL, 16);
            if (n == 0 || n > 16 || (r->left == 0 && line[0] != '0'))
                sim_fail(p->sim, "%s: no chunk size", p->name);
            r->state = r->left ? READ_CHUNK : READ_TRAILER;
            break;
        case READ_CHUNK:
            take_body(p, r, r->left);
            if (r->left)
                return MESSAGE_NONE;
            r->state = READ_CHUNK_END;
            break;
        case READ_CHUNK_END:
            if (!take_line(p, &n, &line))
                return MESSAGE_NONE;
            if (n)
                sim_fail(p->sim, "%s: a chunk does not end", p->name);
            r->state = READ_SIZE;
            break;
        case READ_TRAILER:
            if (!take_line(p, &n, &line))
                return MESSAGE_NONE;
            if (n)
                break;
            goto whole;
        case READ_CLOSE:
        case READ_TUNNEL:
            take_body(p, r, UINT64_MAX);
            return MESSAGE_NONE;
        }
    }

whole:
    r->state = READ_HEAD;
    return MESSAGE_WHOLE;
}

/* ---- the crowd ---- */

enum client_kind { CLIENT_KEEPS, CLIENT_OLD, CLIENT_TUNNEL, CLIENT_KINDS };

struct crowd_client {
    struct peer *peer;
    enum client_kind kind;
    struct reader reader;
    unsigned asked, wanted;          /* requests */
    uint64_t expected[REQUESTS_MAX]; /* content of the answers, by number */
    unsigned answered;
    uint64_t upload_left; /* of the request that is being sent */
    bool upload_chunked;
    bool broken;                /* it did something after which anything may happen */
    struct crowd_origin *other; /* tunnel */
};

struct crowd_origin {
    struct peer *peer;
    struct reader reader;
    unsigned requests, answers; /* whole heads; begun answers */
    struct {
        char kind;
        uint64_t n;
    } asked;
    uint64_t left; /* of the answer that is being sent */
    char framing;
    bool answering, request_whole, tunnel, broken;
};

struct crowd {
    struct sim *sim;
    struct crowd_client clients[CLIENTS];
    unsigned n_clients;
    struct crowd_origin origins[4 * CLIENTS * REQUESTS_MAX];
    unsigned n_origins;
    struct origin *listeners[ADDRESSES]; /* the last one is for tunnels */
};

static void odd_window(struct peer *p)
{
    static const size_t rooms[] = {100, 1500, 4096, 16384, 65536};

    p->room = chance(2) ? 1 + rnd(10) : rooms[rnd(ARRAY_LEN(rooms))] + rnd(10);
    p->piece = chance(50) ? SIM_ROOM : chance(5) ? 1 : 50 + rnd(3000);
}

static void client_new(struct crowd *k)
{
    struct crowd_client *c = &k->clients[k->n_clients++];

    *c = (struct crowd_client){.peer = sim_client(k->sim),
                               .kind = (enum client_kind)rnd(CLIENT_KINDS)};
    c->wanted = c->kind == CLIENT_KEEPS ? 1 + (unsigned)rnd(REQUESTS_MAX) : 1;
    odd_window(c->peer);
}

/* ---- what a client does ---- */

static void client_request(struct crowd_client *c)
{
    static const char kinds[] = "scx";
    unsigned address = (unsigned)rnd(ADDRESSES - 1) + 1;
    size_t down = some_size(), up = chance(30) ? some_size() : 0;
    const char *version = c->kind == CLIENT_OLD ? "1.0" : "1.1";
    const char *method = up ? chance(50) ? "PUT" : "POST" : "GET";

    c->expected[c->asked++] = down;
    peer_sendf(c->peer, "%s http://192.0.2.%u/%c%zu HTTP/%s\r\nHost: a\r\n", method, address,
               kinds[rnd(3)], down, version);
    c->upload_chunked = up && c->kind != CLIENT_OLD && chance(50);
    if (c->upload_chunked)
        peer_send(c->peer, "Transfer-Encoding: chunked\r\n");
    else if (up)
        peer_sendf(c->peer, "Content-Length: %zu\r\n", up);
    peer_send(c->peer, "\r\n");
    c->upload_left = up;
    c->peer->pattern_out = 0;
}

static void client_upload(struct crowd_client *c)
{
    size_t n = chance(30) ? c->upload_left : 1 + rnd(c->upload_left);

    if (c->upload_chunked)
        peer_sendf(c->peer, "%zx\r\n", n);
    peer_send_pattern(c->peer, n);
    c->upload_left -= n;
    if (c->upload_chunked)
        peer_send(c->peer, c->upload_left ? "\r\n" : "\r\n0\r\n\r\n");
}

static void client_act(struct crowd *k, struct crowd_client *c)
{
    struct peer *p = c->peer;

    if (p->out_end != PEER_OPEN || p->end != PEER_OPEN)
        return;
    if (chance(1)) {
        peer_rst(p);
        c->broken = true;
    } else if (chance(2)) {
        peer_fin(p);
    } else if (c->kind == CLIENT_TUNNEL && !c->asked) {
        c->asked = 1;
        peer_sendf(p, "CONNECT 192.0.2.%u:443 HTTP/1.1\r\nHost: a\r\n\r\n", ADDRESSES);
        /* Who it is: the far end is known by it. */
        peer_sendf(p, "%08u", (unsigned)(c - k->clients));
    } else if (c->kind == CLIENT_TUNNEL) {
        if (p->pattern_out < TUNNEL_MAX)
            peer_send_pattern(p, some_size());
    } else if (c->upload_left) {
        client_upload(c);
    } else if (c->asked < c->wanted && (c->asked == c->answered || chance(20))) {
        client_request(c);
    }
}

static void client_read(struct crowd_client *c)
{
    struct peer *p = c->peer;

    for (;;) {
        enum message m = read_some(p, &c->reader, true);

        if (m == MESSAGE_NONE)
            return;
        if (m == MESSAGE_HEAD || c->reader.status < 200)
            continue;
        /* The n-th answer is the n-th request's. */
        if (c->answered >= c->asked)
            sim_fail(p->sim, "%s: an answer that nobody asked for", p->name);
        if (c->reader.status == 200 && c->reader.content != c->expected[c->answered])
            sim_fail(p->sim, "%s: a whole answer of %llu bytes, and %llu were sent", p->name,
                     (unsigned long long)c->reader.content,
                     (unsigned long long)c->expected[c->answered]);
        c->answered++;
    }
}

/* It has seen a FIN: nothing may be half there. */
static void client_ended(struct crowd_client *c)
{
    struct peer *p = c->peer;

    if (p->end != PEER_FIN || c->broken)
        return;
    switch (c->reader.state) {
    case READ_HEAD:
        if (peer_unused(p))
            sim_fail(p->sim, "%s: FIN inside a head", p->name);
        return;
    case READ_CLOSE:
        if (c->reader.content != c->expected[c->answered])
            sim_fail(p->sim, "%s: FIN after %llu bytes of %llu", p->name,
                     (unsigned long long)c->reader.content,
                     (unsigned long long)c->expected[c->answered]);
        return;
    case READ_TUNNEL:
        if (c->other && (c->other->peer->out_end != PEER_FIN ||
                         c->reader.content != c->other->peer->pattern_out))
            sim_fail(p->sim, "%s: FIN after %llu bytes of %llu", p->name,
                     (unsigned long long)c->reader.content,
                     (unsigned long long)c->other->peer->pattern_out);
        return;
    case READ_SIZED:
    case READ_SIZE:
    case READ_CHUNK:
    case READ_CHUNK_END:
    case READ_TRAILER:
        sim_fail(p->sim, "%s: FIN inside a message", p->name);
    }
}

/* ---- what an origin does ---- */

static void origins_accept(struct crowd *k)
{
    for (unsigned i = 0; i < ADDRESSES; i++) {
        struct list *l;

        while ((l = list_pop(&k->listeners[i]->backlog))) {
            struct crowd_origin *o = &k->origins[k->n_origins++];

            CHECK(k->n_origins < ARRAY_LEN(k->origins));
            *o = (struct crowd_origin){.peer = LIST_ENTRY(l, struct peer, waiting),
                                       .tunnel = i == ADDRESSES - 1};
            if (o->tunnel)
                o->reader = (struct reader){.state = READ_TUNNEL, .checked = true};
            odd_window(o->peer);
        }
    }
}

static void origin_read(struct crowd *k, struct crowd_origin *o)
{
    struct peer *p = o->peer;

    if (o->tunnel && !o->requests) {
        struct crowd_client *c;
        char id[9] = "";

        if (peer_unused(p) < 8)
            return;
        memcpy(id, p->got.p, 8);
        p->got.at += 8;
        o->requests = 1;
        c = &k->clients[strtoul(id, NULL, 10) % CLIENTS];
        c->other = o;
        c->reader.checked = true;
    }
    for (;;) {
        switch (read_some(p, &o->reader, false)) {
        case MESSAGE_NONE:
            return;
        case MESSAGE_HEAD:
            if (o->requests != o->answers || o->answering)
                sim_fail(p->sim, "%s: a request before the last one was answered", p->name);
            o->requests++;
            o->asked.kind = o->reader.kind;
            o->asked.n = o->reader.path_n;
            o->request_whole = false;
            break;
        case MESSAGE_WHOLE:
            o->request_whole = true;
            break;
        }
    }
}

static void origin_answer(struct crowd_origin *o)
{
    struct peer *p = o->peer;

    if (chance(10)) {
        peer_send(p, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        return;
    }
    o->answering = o->asked.n || o->asked.kind != 's';
    o->answers++;
    o->left = o->asked.n;
    o->framing = o->asked.kind;
    p->pattern_out = 0;
    if (o->framing == 's')
        peer_sendf(p, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n",
                   (unsigned long long)o->left);
    else if (o->framing == 'c')
        peer_send(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    else
        peer_send(p, "HTTP/1.1 200 OK\r\n\r\n");
}

static void origin_content(struct crowd_origin *o)
{
    struct peer *p = o->peer;
    size_t n = o->left ? chance(30) ? o->left : 1 + rnd(o->left) : 0;

    if (n && o->framing == 'c')
        peer_sendf(p, "%zx\r\n", n);
    peer_send_pattern(p, n);
    if (n && o->framing == 'c')
        peer_send(p, "\r\n");
    o->left -= n;
    if (o->left)
        return;
    o->answering = false;
    if (o->framing == 'c')
        peer_send(p, "0\r\n\r\n");
    if (o->framing == 'x')
        peer_fin(p);
}

static void origin_act(struct crowd_origin *o)
{
    struct peer *p = o->peer;

    if (p->out_end != PEER_OPEN || p->end == PEER_RST)
        return;
    if (chance(1)) {
        peer_rst(p);
        o->broken = true;
    } else if (chance(1) && o->framing != 'x') {
        if (chance(50))
            peer_close(p);
        else
            peer_fin(p);
    } else if (o->tunnel) {
        if (o->requests && p->pattern_out < TUNNEL_MAX)
            peer_send_pattern(p, some_size());
    } else if (o->requests > 1 && o->requests > o->answers && chance(15)) {
        /* Gone before an answer: the connection was stale. */
        if (chance(50))
            peer_close(p);
        else
            peer_rst(p);
        o->broken = true;
    } else if (o->answering) {
        origin_content(o);
    } else if (o->requests > o->answers && (o->request_whole || chance(5))) {
        origin_answer(o);
    }
}

/* The far end of a tunnel: as for a client. A request must not look complete when it is not, which
 * the reader has seen to. */
static void origin_ended(struct crowd *k, struct crowd_origin *o)
{
    struct peer *p = o->peer;

    if (p->end != PEER_FIN || !o->tunnel || !o->requests || o->broken)
        return;
    for (unsigned i = 0; i < k->n_clients; i++) {
        const struct crowd_client *c = &k->clients[i];

        if (c->other != o)
            continue;
        if (c->peer->out_end != PEER_FIN || o->reader.content != c->peer->pattern_out)
            sim_fail(p->sim, "%s: FIN after %llu bytes of %llu", p->name,
                     (unsigned long long)o->reader.content,
                     (unsigned long long)c->peer->pattern_out);
    }
}

/* ---- the run ---- */

static void stop_or_read(struct peer *p)
{
    switch (rnd(4)) {
    case 0:
        peer_stop(p);
        break;
    case 1:
        peer_read_some(p, rnd(5000));
        break;
    default:
        peer_read(p);
        break;
    }
}

static unsigned alive(const struct crowd *k)
{
    return atomic_load(&k->sim->worker.load);
}

static void look(struct crowd *k)
{
    origins_accept(k);
    for (unsigned i = 0; i < k->n_origins; i++) {
        origin_read(k, &k->origins[i]);
        origin_ended(k, &k->origins[i]);
    }
    for (unsigned i = 0; i < k->n_clients; i++) {
        client_read(&k->clients[i]);
        client_ended(&k->clients[i]);
    }
}

static void change_the_world(struct crowd *k)
{
    struct origin *o = k->listeners[rnd(ADDRESSES)];

    o->latency_ms = chance(50) ? 0 : rnd(400);
    if (chance(10))
        o->kind = chance(50) ? ORIGIN_REFUSES : ORIGIN_SILENT;
    else
        o->kind = ORIGIN_LISTENS;
}

static void step(struct crowd *k)
{
    if (k->sim->worker.phase == WORKER_RUN && k->n_clients < CLIENTS && alive(k) < AT_ONCE &&
        chance(20))
        client_new(k);
    for (int i = 0; i < 4 && k->n_clients; i++) {
        /* The latest are the ones alive. */
        unsigned back = (unsigned)rnd(2 * AT_ONCE);
        struct crowd_client *c = &k->clients[back < k->n_clients ? k->n_clients - 1 - back : 0];

        client_act(k, c);
        if (chance(20))
            stop_or_read(c->peer);
    }
    for (int i = 0; i < 6 && k->n_origins; i++) {
        unsigned back = (unsigned)rnd(2 * AT_ONCE);
        struct crowd_origin *o = &k->origins[back < k->n_origins ? k->n_origins - 1 - back : 0];

        origin_act(o);
        if (chance(15))
            stop_or_read(o->peer);
    }
    if (chance(2))
        change_the_world(k);
    switch (rnd(10)) {
    case 0:
        sim_run(k->sim);
        break;
    case 1:
        sim_advance(k->sim, rnd(chance(5) ? 30000 : 500));
        break;
    default:
        sim_some(k->sim, (unsigned)rnd(12));
        break;
    }
    look(k);
}

/* Everybody reads, and time passes: each state has a deadline, so all of it ends. */
static void calm_down(struct crowd *k)
{
    for (unsigned i = 0; i < k->n_clients; i++)
        peer_read(k->clients[i].peer);
    for (unsigned i = 0; i < k->n_origins; i++)
        peer_read(k->origins[i].peer);
    for (int i = 0; i < 100; i++) {
        sim_advance(k->sim, 20000);
        look(k);
    }
    sim_expect_sessions(k->sim, 0);
    SIM_EQUAL(k->sim, sim_buffered(k->sim), 0);
    SIM_EQUAL(k->sim, k->sim->n_conns, 0);
}

/* What a run adds to the crowd's own faults, by its seed. */
enum trouble { TROUBLE_NONE = 0, TROUBLE_MEMORY, TROUBLE_DRAIN, TROUBLES };

static uint64_t gate_state;

/* One allocation in twenty is refused. */
static bool refuse_some(void)
{
    gate_state = gate_state * 6364136223846793005u + 1442695040888963407u;
    return (gate_state >> 33) % 20 != 0;
}

static void drain(struct crowd *k)
{
    worker_drain(&k->sim->worker, 30000);
    for (int i = 0; i < 500 && !k->sim->worker.loop.stop; i++) {
        step(k);
        sim_advance(k->sim, 100);
    }
    look(k);
    SIM_EXPECT(k->sim, k->sim->worker.loop.stop);
}

static void soak(struct sim *s, enum trouble trouble)
{
    static struct crowd crowd;
    static const char *const addresses[] = {"192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80",
                                            "192.0.2.4:443"};
    struct crowd *k = &crowd;

    memset(k, 0, sizeof(*k));
    k->sim = s;
    for (unsigned i = 0; i < ADDRESSES; i++)
        k->listeners[i] = origin_listen(s, addresses[i]);
    for (int i = 0; i < STEPS; i++) {
        if (trouble == TROUBLE_MEMORY && i % 200 == 0)
            mem_set_gate(i % 400 ? refuse_some : NULL);
        step(k);
    }
    mem_set_gate(NULL);
    if (trouble == TROUBLE_DRAIN)
        drain(k);
    else
        calm_down(k);
    if (getenv("SIM_ROUNDS"))
        fprintf(stderr,
                "  %s: %u clients, %u connections to origins, %llu exchanges, %llu done, %llu "
                "replays, %llu turns\n",
                sim_note, k->n_clients, k->n_origins,
                (unsigned long long)sim_count(s, COUNTER_EXCHANGES),
                (unsigned long long)(sim_ends(s, END_DONE) + sim_ends(s, END_TUNNEL_DONE)),
                (unsigned long long)sim_count(s, COUNTER_REPLAYS), (unsigned long long)s->turns);
}

static void a_crowd(void **unused)
{
    const struct scenario sc = {.name = "a_crowd"};
    const char *only = getenv("SIM_SEED");
    const char *many = getenv("SIM_SEEDS");
    unsigned from = only ? (unsigned)atoi(only) : 1, to = only   ? from
                                                          : many ? (unsigned)atoi(many)
                                                                 : SEEDS;

    UNUSED(unused);
    for (unsigned seed = from; seed <= to; seed++) {
        struct sim *s;

        snprintf(sim_note, sizeof(sim_note), "seed %u", seed);
        state = 0x9e3779b97f4a7c15u * (seed + 1);
        s = sim_start(&sc, SIM_WHOLE);
        gate_state = seed;
        soak(s, (enum trouble)(seed % TROUBLES));
        sim_end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crowd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
