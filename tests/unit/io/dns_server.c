/* SPDX-License-Identifier: MIT */
/* dns_server: see the header. Called by the resolver's tests. It trusts its questions: they come
 * from the program under test on the same machine.
 */
#include "dns_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct question {
    uint16_t id;
    unsigned type;
    bool edns;
    char name[256];
    size_t end; /* where the question section ends */
};

struct out {
    uint8_t *p;
    size_t n;
};

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void put(struct out *o, const void *p, size_t n)
{
    if (n > DNS_MESSAGE - o->n)
        n = DNS_MESSAGE - o->n;
    memcpy(o->p + o->n, p, n);
    o->n += n;
}

static void put16(struct out *o, unsigned v)
{
    uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};

    put(o, b, 2);
}

static void put32(struct out *o, unsigned v)
{
    put16(o, v >> 16);
    put16(o, v & 0xffff);
}

static void set16(struct out *o, size_t at, unsigned v)
{
    o->p[at] = (uint8_t)(v >> 8);
    o->p[at + 1] = (uint8_t)v;
}

static bool read_question(const uint8_t *p, size_t n, struct question *q)
{
    size_t at = 12, out = 0;

    if (n < 17)
        return false;
    q->id = (uint16_t)(p[0] << 8 | p[1]);
    q->edns = p[11] > 0;
    while (at < n && p[at] && at + p[at] < n && out + p[at] + 2 < sizeof(q->name)) {
        if (out)
            q->name[out++] = '.';
        memcpy(q->name + out, p + at + 1, p[at]);
        out += p[at];
        at += (size_t)p[at] + 1;
    }
    q->name[out] = '\0';
    if (at + 5 > n)
        return false;
    q->type = (unsigned)(p[at + 1] << 8 | p[at + 2]);
    q->end = at + 5;
    return true;
}

/* A record whose owner is the label aK of the chain, or the question's name for K = 0. */
static void put_owner(struct out *o, unsigned k)
{
    char label[16];
    int n;

    if (k == 0) {
        put16(o, 0xc00c);
        return;
    }
    n = snprintf(label + 1, sizeof(label) - 1, "a%u", k);
    label[0] = (char)n;
    put(o, label, (size_t)n + 2);
}

static void put_record(struct out *o, unsigned owner, unsigned type, unsigned ttl, const void *data,
                       size_t n)
{
    put_owner(o, owner);
    put16(o, type);
    put16(o, 1);
    put32(o, ttl);
    put16(o, (unsigned)n);
    put(o, data, n);
}

static void put_alias(struct out *o, unsigned from, unsigned to, unsigned ttl)
{
    struct out data = {.p = (uint8_t[DNS_MESSAGE]){0}};

    put_owner(&data, to);
    put_record(o, from, DNS_CNAME, ttl, data.p, data.n);
}

static unsigned put_addrs(struct out *o, const struct dns_rule *rule, unsigned type, unsigned owner)
{
    char text[512], *word, *rest;
    unsigned n = 0;

    if (!rule->addrs)
        return 0;
    snprintf(text, sizeof(text), "%s", rule->addrs);
    for (word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        bool six = strchr(word, ':') != NULL;
        uint8_t bytes[16];

        if (six != (type == DNS_AAAA) || inet_pton(six ? AF_INET6 : AF_INET, word, bytes) != 1)
            continue;
        put_record(o, owner, type, rule->ttl, bytes, six ? 16 : 4);
        n++;
    }
    return n;
}

static void put_soa(struct out *o, const struct dns_rule *rule)
{
    struct out data = {.p = (uint8_t[DNS_MESSAGE]){0}};

    put(&data, "\2ns", 4);
    put(&data, "\4root", 6);
    for (int i = 0; i < 4; i++)
        put32(&data, 3600);
    put32(&data, rule->soa_minimum);
    put_record(o, 0, DNS_SOA, rule->soa_ttl, data.p, data.n);
}

static void put_records(struct out *o, const struct dns_rule *rule, const struct question *q,
                        bool tcp)
{
    unsigned n_answers = 0;

    if (rule->trick == DNS_MANY) {
        for (; tcp && n_answers < 600; n_answers++)
            put_record(o, 0, q->type, 60, "\300\0\2\1\300\0\2\1\300\0\2\1\300\0\2\1",
                       q->type == DNS_A ? 4 : 16);
        o->p[2] |= tcp ? 0 : 2;
    } else if (rule->trick == DNS_CUT && !tcp) {
        o->p[2] |= 2;
    } else if (rule->trick == DNS_LOOP) {
        put_alias(o, 0, 1, 60);
        put_alias(o, 1, 2, 60);
        put_alias(o, 2, 1, 60);
        n_answers = 3;
    } else {
        for (unsigned i = 0; i < rule->aliases; i++)
            put_alias(o, i, i + 1, rule->alias_ttl);
        n_answers = rule->aliases + put_addrs(o, rule, q->type, rule->aliases);
    }
    set16(o, 6, n_answers);
    if (rule->soa) {
        put_soa(o, rule);
        set16(o, 8, 1);
    }
}

static void build(struct out *o, const struct dns_rule *rule, const uint8_t *p,
                  const struct question *q, bool tcp)
{
    static const uint8_t noise[] = {0xff, 0x3f, 7, 1, 2, 3, 0xc0, 0xff, 0, 1, 0, 1, 0xee, 9, 9, 9};
    bool formerr = rule->trick == DNS_NO_EDNS && q->edns;

    put16(o, q->id);
    put16(o, 0x8180 | (formerr ? 1 : rule->rcode));
    put16(o, 1);
    put(o, "\0\0\0\0\0\0", 6);
    put(o, p + 12, q->end - 12);
    if (formerr)
        return;
    if (rule->trick == DNS_OTHER_QUESTION)
        o->p[13] ^= 1;
    if (rule->trick == DNS_NONSENSE) {
        set16(o, 6, 3);
        put(o, noise, sizeof(noise));
        return;
    }
    if (rule->trick == DNS_SHORT) {
        o->n = 5;
        return;
    }
    put_records(o, rule, q, tcp);
}

static const struct dns_rule *find_rule(struct dns_server *s, const struct question *q)
{
    static const struct dns_rule unknown = {.rcode = 3};

    for (size_t i = 0; i < s->n_rules; i++) {
        const struct dns_rule *rule = &s->rules[i];

        if ((!rule->name || strcasecmp(rule->name, q->name) == 0) &&
            (!rule->type || rule->type == q->type))
            return rule;
    }
    return &unknown;
}

static void send_one(struct dns_server *s, const struct dns_later *l)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = l->to_port};
    uint8_t length[2] = {(uint8_t)(l->n >> 8), (uint8_t)l->n};
    ssize_t r;

    to.sin_addr.s_addr = l->to_ip;
    if (l->tcp < 0) {
        r = sendto(s->udp, l->bytes, l->n, 0, (struct sockaddr *)&to, sizeof(to));
    } else {
        r = send(l->tcp, length, 2, MSG_NOSIGNAL | MSG_MORE);
        r = send(l->tcp, l->bytes, l->n, MSG_NOSIGNAL);
    }
    UNUSED(r);
}

static void count(struct dns_server *s, const struct question *q, bool tcp)
{
    atomic_fetch_add(&s->asked, 1);
    if (q->type == DNS_A)
        atomic_fetch_add(&s->asked_a, 1);
    if (q->type == DNS_AAAA)
        atomic_fetch_add(&s->asked_aaaa, 1);
    if (tcp)
        atomic_fetch_add(&s->asked_tcp, 1);
    if (q->edns)
        atomic_fetch_add(&s->asked_edns, 1);
}

static struct dns_later *free_later(struct dns_server *s)
{
    for (size_t i = 0; i < DNS_LATER; i++)
        if (!s->later[i].used)
            return &s->later[i];
    return NULL;
}

static void answer(struct dns_server *s, const uint8_t *p, size_t n, int tcp,
                   const struct sockaddr_in *from)
{
    struct dns_later *l = free_later(s);
    struct dns_rule rule;
    struct question q;
    struct out o;

    if (!l || !read_question(p, n, &q))
        return;
    pthread_mutex_lock(&s->lock);
    count(s, &q, tcp >= 0);
    rule = *find_rule(s, &q);
    pthread_mutex_unlock(&s->lock);
    if (rule.trick == DNS_SILENT ||
        (rule.trick == DNS_FIRST_SILENT &&
         atomic_load(q.type == DNS_A ? &s->asked_a : &s->asked_aaaa) == 1))
        return;
    *l = (struct dns_later){.tcp = tcp, .due_ms = now_ms() + rule.delay_ms, .used = true};
    if (from) {
        l->to_ip = from->sin_addr.s_addr;
        l->to_port = from->sin_port;
    }
    if (rule.trick == DNS_EMPTY && tcp < 0)
        send_one(s, l);
    o = (struct out){.p = l->bytes};
    build(&o, &rule, p, &q, tcp >= 0);
    l->n = o.n;
}

static void read_udp(struct dns_server *s)
{
    uint8_t p[2048];
    struct sockaddr_in from;
    socklen_t from_n = sizeof(from);
    ssize_t n = recvfrom(s->udp, p, sizeof(p), 0, (struct sockaddr *)&from, &from_n);

    if (n > 0)
        answer(s, p, (size_t)n, -1, &from);
}

static void read_tcp(struct dns_server *s, int *fd)
{
    uint8_t p[2048];
    ssize_t n = recv(*fd, p, sizeof(p), 0); /* questions come in whole pieces here */
    size_t at = 0;

    if (n <= 0) {
        close(*fd);
        *fd = -1;
        return;
    }
    while (at + 2 < (size_t)n) {
        size_t length = (size_t)(p[at] << 8 | p[at + 1]);

        if (length > (size_t)n - at - 2)
            return;
        answer(s, p + at + 2, length, *fd, NULL);
        at += 2 + length;
    }
}

static void accept_tcp(struct dns_server *s)
{
    int fd = accept(s->tcp, NULL, NULL);

    for (size_t i = 0; i < DNS_CONNS; i++)
        if (fd >= 0 && s->conns[i] < 0) {
            s->conns[i] = fd;
            return;
        }
    if (fd >= 0)
        close(fd);
}

/* How long poll may wait. */
static int send_due(struct dns_server *s)
{
    uint64_t now = now_ms();
    int wait = -1;

    for (size_t i = 0; i < DNS_LATER; i++) {
        struct dns_later *l = &s->later[i];

        if (!l->used)
            continue;
        if (l->due_ms <= now) {
            send_one(s, l);
            l->used = false;
        } else if (wait < 0 || (int)(l->due_ms - now) < wait) {
            wait = (int)(l->due_ms - now);
        }
    }
    return wait;
}

static void *serve(void *arg)
{
    struct dns_server *s = arg;

    for (;;) {
        struct pollfd fds[3 + DNS_CONNS] = {
            {s->stop_fd, POLLIN, 0}, {s->udp, POLLIN, 0}, {s->tcp, POLLIN, 0}};

        for (size_t i = 0; i < DNS_CONNS; i++)
            fds[3 + i] = (struct pollfd){s->conns[i], POLLIN, 0};
        poll(fds, ARRAY_LEN(fds), send_due(s));
        if (fds[0].revents)
            return NULL;
        if (fds[1].revents)
            read_udp(s);
        for (size_t i = 0; i < DNS_CONNS; i++)
            if (fds[3 + i].fd >= 0 && fds[3 + i].revents)
                read_tcp(s, &s->conns[i]);
        if (fds[2].revents)
            accept_tcp(s);
    }
}

static bool open_both(struct dns_server *s, const char *ip, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t n = sizeof(a);
    int on = 1;

    inet_pton(AF_INET, ip, &a.sin_addr);
    s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(s->tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(s->tcp, (struct sockaddr *)&a, sizeof(a)) || listen(s->tcp, 8) ||
        getsockname(s->tcp, (struct sockaddr *)&a, &n))
        return false;
    snprintf(s->address, sizeof(s->address), "%s:%u", ip, ntohs(a.sin_port));
    return bind(s->udp, (struct sockaddr *)&a, sizeof(a)) == 0;
}

bool dns_server_start(struct dns_server *s, const char *ip, uint16_t port)
{
    bool ok = false;

    memset(s, 0, sizeof(*s));
    for (size_t i = 0; i < DNS_CONNS; i++)
        s->conns[i] = -1;
    pthread_mutex_init(&s->lock, NULL);
    /* A free TCP port may be taken for UDP: another one then. */
    for (int tries = 0; !ok && tries < (port ? 1 : 16); tries++) {
        ok = open_both(s, ip, port);
        if (!ok) {
            close(s->tcp);
            close(s->udp);
        }
    }
    if (!ok)
        return false;
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    return pthread_create(&s->thread, NULL, serve, s) == 0;
}

void dns_server_stop(struct dns_server *s)
{
    uint64_t one = 1;
    ssize_t r = write(s->stop_fd, &one, sizeof(one));

    UNUSED(r);
    pthread_join(s->thread, NULL);
    for (size_t i = 0; i < DNS_CONNS; i++)
        if (s->conns[i] >= 0)
            close(s->conns[i]);
    close(s->udp);
    close(s->tcp);
    close(s->stop_fd);
    pthread_mutex_destroy(&s->lock);
}

void dns_server_rules(struct dns_server *s, const struct dns_rule *rules, size_t n)
{
    pthread_mutex_lock(&s->lock);
    s->rules = rules;
    s->n_rules = n;
    s->asked = s->asked_a = s->asked_aaaa = s->asked_tcp = s->asked_edns = 0;
    pthread_mutex_unlock(&s->lock);
}
