/* SPDX-License-Identifier: MIT */
/* control: asks the running ginnel over its socket. Called by the commands that need one. A process
 * that hangs must not hang the one who asks, so every wait ends at the deadline; what comes back is
 * parsed by the same code that parses origins, and is bounded.
 */
#include "app/control.h"

#include "base/err.h"
#include "base/mem.h"
#include "proto/h1_body.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    TELL_MS = 1000,
    RETRY_MS = 20, /* a full queue of connections gives EAGAIN, and nothing to wait for */
    READ_SIZE = 16 << 10,
    ARENA_MAX = 1 << 20,
    INTERIM_MAX = 8,
    REQUEST_MAX = 1024,
};

static const struct h1_limits limits = {.line = 8 << 10, .head = 32 << 10, .fields = 100};

/* ---- where ---- */

static int join(char ret_path[CONTROL_PATH], struct slice dir, const char *rest)
{
    char path[CONTROL_PATH];
    int n = snprintf(path, sizeof(path), SLICE_FMT "%s", SLICE_ARG(dir), rest);

    if (dir.n >= sizeof(path) || n < 0 || (size_t)n >= sizeof(path))
        return ERR_LIMIT;
    memcpy(ret_path, path, (size_t)n + 1);
    return 0;
}

int control_default_path(char ret_path[CONTROL_PATH])
{
    struct slice given = slice_str(getenv("RUNTIME_DIRECTORY"));
    const char *user = getenv("XDG_RUNTIME_DIR");

    given.n = slice_find(given, ':');
    if (given.n && given.p[0] == '/')
        return join(ret_path, given, "/control.sock");
    if (geteuid() == 0)
        return join(ret_path, SLICE("/run/ginnel"), "/control.sock");
    if (user && user[0] == '/')
        return join(ret_path, slice_str(user), "/ginnel/control.sock");
    return ERR_NOTFOUND;
}

static int say(char why[CONTROL_WHY], int r, const char *fmt, ...) PRINTF(3, 4);

static int say(char why[CONTROL_WHY], int r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, CONTROL_WHY, fmt, ap);
    va_end(ap);
    return r;
}

int control_path(const struct conf *c, char ret_path[CONTROL_PATH], char ret_why[CONTROL_WHY])
{
    int r;

    if (c && c->control == CONF_CONTROL_OFF)
        return say(ret_why, ERR_STATE,
                   "the configuration says `control: off`, so there is nothing to ask");
    if (c && c->control == CONF_CONTROL_PATH)
        r = join(ret_path, slice_str(c->control_path), "");
    else
        r = control_default_path(ret_path);
    if (r == ERR_LIMIT)
        return say(
            ret_why, r,
            "the path of the control socket is longer than the %d bytes that a socket may have",
            CONTROL_PATH - 1);
    if (r < 0)
        return say(ret_why, r,
                   "there is no place for a control socket: neither RUNTIME_DIRECTORY nor "
                   "XDG_RUNTIME_DIR is set. Name one in the configuration: `control: unix:/path`");
    return 0;
}

/* ---- waiting ---- */

struct talk {
    const struct control_question *q;
    int fd;
    uint64_t begun_ms;
    bool told;
    char *why;
    struct arena arena;
    struct h1_parser *parser;
    unsigned n_interim;
    struct h1_body body;
    bool in_body, done;
    struct control_reply reply;
    size_t cap;
};

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void tell(struct talk *t, uint64_t passed_ms)
{
    if (!t->q->tell || t->told || passed_ms < TELL_MS)
        return;
    t->told = true;
    fputs("waiting for ginnel…", t->q->tell);
    fflush(t->q->tell);
}

static void untell(struct talk *t)
{
    if (!t->told)
        return;
    fputs("\r\033[K", t->q->tell);
    fflush(t->q->tell);
}

static int too_late(const struct talk *t)
{
    return say(t->why, ERR_TIMEOUT,
               "ginnel takes the question at %s but has not answered within %llu s", t->q->path,
               (unsigned long long)((t->q->deadline_ms + 999) / 1000));
}

/* Waits for events, at most up to the deadline; returns after at most `step_ms`, or when something
 * is there. */
static int await(struct talk *t, short events, int step_ms)
{
    struct pollfd p = {.fd = t->fd, .events = events};
    uint64_t passed = now_ms() - t->begun_ms, left;

    if (passed >= t->q->deadline_ms)
        return too_late(t);
    tell(t, passed);
    left = t->q->deadline_ms - passed;
    if (!t->told && t->q->tell && left > TELL_MS - passed)
        left = TELL_MS - passed;
    if (step_ms >= 0 && left > (uint64_t)step_ms)
        left = (uint64_t)step_ms;
    if (poll(&p, events ? 1 : 0, (int)(left > 60000 ? 60000 : left)) < 0 && errno != EINTR)
        return say(t->why, -errno, "cannot wait for %s: %s", t->q->path, strerror(errno));
    return 0;
}

/* ---- asking ---- */

static int cannot_connect(const struct talk *t, int error)
{
    if (error == ENOENT || error == ECONNREFUSED)
        return say(t->why, -error,
                   "no ginnel listens on %s; start one (`ginnel`), or name the configuration of "
                   "the one that runs: -c FILE",
                   t->q->path);
    if (error == EACCES || error == EPERM)
        return say(t->why, -error,
                   "%s: not permitted; ask as the user that runs ginnel, or as root", t->q->path);
    return say(t->why, -error, "%s: %s", t->q->path, strerror(error));
}

static int dial(struct talk *t)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = strlen(t->q->path);
    int r;

    if (n >= sizeof(un.sun_path))
        return say(t->why, -ENAMETOOLONG, "%s: too long for a socket", t->q->path);
    memcpy(un.sun_path, t->q->path, n + 1);
    t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (t->fd < 0)
        return say(t->why, -errno, "no socket: %s", strerror(errno));
    while (connect(t->fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return cannot_connect(t, errno);
        r = await(t, 0, RETRY_MS);
        if (r < 0)
            return r;
    }
    return 0;
}

static int send_request(struct talk *t)
{
    const struct control_question *q = t->q;
    char text[REQUEST_MAX];
    int n = snprintf(
        text, sizeof(text),
        "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n%sConnection: close\r\n\r\n", q->method,
        q->target, q->accept, strcmp(q->method, "POST") == 0 ? "Content-Length: 0\r\n" : "");
    size_t sent = 0;

    if (n < 0 || (size_t)n >= sizeof(text))
        return say(t->why, ERR_LIMIT, "the question is too long");
    while (sent < (size_t)n) {
        ssize_t m = send(t->fd, text + sent, (size_t)n - sent, MSG_NOSIGNAL);
        int r;

        if (m >= 0) {
            sent += (size_t)m;
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET)
            return 0; /* it may have answered and gone: what there is to read decides */
        if (errno != EAGAIN && errno != EINTR)
            return say(t->why, -errno, "%s: %s", q->path, strerror(errno));
        r = await(t, POLLOUT, -1);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- the answer ---- */

static int no_memory(const struct talk *t)
{
    return say(t->why, ERR_NOMEM, "not enough memory for the answer");
}

static int not_http(const struct talk *t, enum h1_fault fault)
{
    if (fault == H1_NO_MEMORY)
        return no_memory(t);
    return say(t->why, ERR_SYNTAX, "what answers on %s is no ginnel: %s", t->q->path,
               h1_fault_info(fault)->text);
}

static int cut_short(const struct talk *t)
{
    return say(t->why, ERR_CLOSED,
               "ginnel closed %s in the middle of its answer; its log may say why", t->q->path);
}

static int begin_head(struct talk *t)
{
    t->parser = h1_parser_new(&t->arena, H1_RESPONSE, &limits);
    if (!t->parser)
        return no_memory(t);
    h1_parser_for(t->parser, method_id(slice_str(t->q->method)));
    return 0;
}

static int head_done(struct talk *t)
{
    const struct head *h = h1_parser_head(t->parser);

    if (h->status < 200) {
        if (h->status == 101 || ++t->n_interim > INTERIM_MAX)
            return say(t->why, ERR_SYNTAX,
                       "what answers on %s is no ginnel: an answer with status %d", t->q->path,
                       h->status);
        return begin_head(t);
    }
    if (h->body == BODY_SIZED && h->length > CONTROL_BODY_MAX)
        return say(t->why, ERR_LIMIT, "the answer is larger than %d MB", CONTROL_BODY_MAX >> 20);
    t->reply.status = h->status;
    h1_body_init(&t->body, h1_parser_framing(t->parser), h->length, true, &t->arena, &limits);
    t->in_body = true;
    t->done = t->body.done;
    return 0;
}

static int keep(struct talk *t, struct slice data)
{
    size_t want = t->reply.n + data.n + 1;
    char *p;

    if (data.n > CONTROL_BODY_MAX - t->reply.n)
        return say(t->why, ERR_LIMIT, "the answer is larger than %d MB", CONTROL_BODY_MAX >> 20);
    if (want > t->cap) {
        size_t cap = max_size(want, 2 * t->cap);

        p = mem_grow(t->reply.body, cap);
        if (!p)
            return no_memory(t);
        t->reply.body = p;
        t->cap = cap;
    }
    if (data.n)
        memcpy(t->reply.body + t->reply.n, data.p, data.n);
    t->reply.n += data.n;
    t->reply.body[t->reply.n] = '\0';
    return 0;
}

static int feed_head(struct talk *t, struct slice in, size_t *ret_used)
{
    switch (h1_parser_feed(t->parser, in.p, in.n, ret_used)) {
    case PARSE_DONE:
        return head_done(t);
    case PARSE_MORE:
        return 0;
    default:
        return not_http(t, h1_parser_fault(t->parser));
    }
}

static int feed_body(struct talk *t, struct slice in, size_t *ret_used)
{
    struct slice data;
    enum parse p = h1_body_feed(&t->body, in.p, in.n, ret_used, &data);

    if (p == PARSE_BAD)
        return not_http(t, t->body.fault);
    t->done = p == PARSE_DONE;
    return keep(t, data);
}

/* Every round uses a byte, or ends the head: the loop is bounded by the input. */
static int feed(struct talk *t, struct slice in)
{
    while (in.n && !t->done) {
        size_t used = 0;
        int r = t->in_body ? feed_body(t, in, &used) : feed_head(t, in, &used);

        if (r < 0)
            return r;
        in = slice_skip(in, used);
    }
    return 0;
}

static int ended(struct talk *t)
{
    if (!t->in_body || !h1_body_eof(&t->body))
        return cut_short(t);
    t->done = true;
    return 0;
}

static int receive(struct talk *t)
{
    char buffer[READ_SIZE];

    while (!t->done) {
        ssize_t n = recv(t->fd, buffer, sizeof(buffer), 0);
        int r;

        if (n > 0)
            r = feed(t, slice_of(buffer, (size_t)n));
        else if (n == 0)
            r = ended(t);
        else if (errno == EAGAIN || errno == EINTR)
            r = await(t, POLLIN, -1);
        else
            r = cut_short(t);
        if (r < 0)
            return r;
        /* a peer that always has a byte more must not outlast the deadline */
        if (!t->done && now_ms() - t->begun_ms >= t->q->deadline_ms)
            return too_late(t);
    }
    return keep(t, SLICE_NONE);
}

int control_ask(const struct control_question *q, struct control_reply *ret_reply,
                char ret_why[CONTROL_WHY])
{
    struct talk t = {.q = q, .fd = -1, .begun_ms = now_ms(), .why = ret_why};
    int r;

    arena_init(&t.arena, NULL, ARENA_MAX);
    r = dial(&t);
    if (r == 0)
        r = begin_head(&t);
    if (r == 0)
        r = send_request(&t);
    if (r == 0)
        r = receive(&t);
    untell(&t);
    if (t.fd >= 0)
        close(t.fd);
    arena_done(&t.arena);
    if (r < 0)
        mem_free(t.reply.body);
    else
        *ret_reply = t.reply;
    return r;
}

void control_reply_done(struct control_reply *r)
{
    mem_free(r->body);
    *r = (struct control_reply){0};
}
