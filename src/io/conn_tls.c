/* SPDX-License-Identifier: MIT */
/* conn_tls: TLS as a conn on a conn. OpenSSL reads through a BIO straight from the lower conn into its own buffer, and writes into `out`, which leaves in
 * one piece at the end of the turn, or as soon as it is long. OpenSSL is never told that writing would block: who sends is asked to stop before. So
 * nothing has to be tried again, and reading and writing do not wait for each other. Called by whoever owns the conn, on its loop's thread.
 * Here are its beginning and its end.
 *
 * Ends: the peer's close_notify is EOF; the lower conn's end without one is an error, behind all that came before it. The lower conn's error is known
 * here at once (`stirred`), as conn.h wants it, and told by recv when what was received is used up.
 */
#include "io/conn_tls.h"

#include "base/check.h"
#include "base/mem.h"
#include "io/conn_tls_inside.h"

static const struct conn_ops tls_ops;

struct conn_tls *conn_tls_of(struct conn *c)
{
    OBJ_CHECK(c, CONN_MAGIC);
    CHECK(c->ops == &tls_ops);
    return CONTAINER_OF(c, struct conn_tls, conn);
}

struct conn_tls *conn_tls_of_ssl(const SSL *ssl)
{
    return conn_tls_of(SSL_get_app_data(ssl));
}

static void tls_stirred(struct conn *c)
{
    struct conn_tls *t = conn_tls_of(c);
    const struct conn *lower = c->below;

    c->hup |= lower->hup;
    c->gone |= lower->gone;
    if (lower->error && !c->error)
        c->error = lower->error;
    if (t->out.len || t->fin)
        loop_flush_later(c->loop, &t->flush);
}

/* ---- the end ---- */

static bool is_up(const struct conn_tls *t)
{
    return t->state == TLS_UP || t->state == TLS_READ;
}

/* close_notify, into `out`. */
static void notify(struct conn_tls *t)
{
    conn_tls_clear_errors();
    if (is_up(t) && SSL_shutdown(t->ssl) < 0)
        conn_tls_clear_errors();
}

static int tls_shut(struct conn *c)
{
    struct conn_tls *t = conn_tls_of(c);

    if (c->error)
        return c->error;
    notify(t);
    t->fin = true;
    loop_flush_later(c->loop, &t->flush);
    return 0;
}

static void tls_free_grave(struct grave *g)
{
    struct conn_tls *t = CONTAINER_OF(g, struct conn_tls, grave);

    t->conn.magic = OBJ_DEAD;
    mem_free(t->names);
    mem_free(t->text);
    mem_free(t->key);
    tls_ctx_unref(t->ctx);
    mem_free(t);
}

static void end(struct conn_tls *t, bool reset)
{
    struct conn *lower = t->conn.below;

    timer_stop(&t->timer);
    task_cancel(&t->task);
    list_del(&t->link);
    list_del(&t->flush.link);
    bufq_clear(&t->out);
    conn_unstack(&t->conn);
    if (reset)
        conn_reset(&lower);
    else
        conn_close(&lower);
    loop_bury(t->conn.loop, &t->grave);
}

static void closing_run(struct task *task, unsigned bits)
{
    struct conn_tls *t = CONTAINER_OF(task, struct conn_tls, task);

    conn_tls_bio_drain(t);
    if (!t->out.len || t->conn.below->error) {
        end(t, t->reset);
    } else if (bits & TASK_TIMER) {
        if (t->reset || !t->moved) {
            end(t, true);
            return;
        }
        t->moved = false;
        timer_set(&t->timer, CONN_TLS_GRACE_MS);
    }
}

void conn_tls_reap_all(struct loop *loop)
{
    /* The end of one may be that of another which lies under it, and waits then in turn. */
    while (!list_empty(&loop->closing))
        end(LIST_ENTRY(loop->closing.next, struct conn_tls, link), true);
}

/* A close_notify that lies unread below would make the kernel send RST, as any byte does. */
static void read_the_end(struct conn_tls *t)
{
    size_t n;
    char byte;

    if (t->state == TLS_UP && (t->conn.below->ready & CONN_RX) && conn_tls_plain_read(t, &byte, 1, &n))
        t->conn.rx_bytes += n;
}

static void let_go(struct conn_tls *t)
{
    /* OpenSSL would take a session for a bad one whose connection ended without these. */
    if (is_up(t) || t->lower_end != IO_OK)
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    t->ssl = NULL;
    conn_tls_clear_errors();
    bufq_clear(&t->early);
}

static void tls_close(struct conn *c, bool reset)
{
    struct conn_tls *t = conn_tls_of(c);

    if (!reset) {
        read_the_end(t);
        if (!c->shut && !c->error)
            notify(t);
    }
    let_go(t);
    conn_tls_bio_drain(t);
    if (!t->out.len || c->below->error) {
        end(t, reset);
        return;
    }
    t->reset = reset;
    t->moved = false;
    c->task = &t->task;
    list_push(&c->loop->closing, &t->link);
    timer_set(&t->timer, reset ? CONN_RESET_GRACE_MS : CONN_TLS_GRACE_MS);
}

/* ---- the beginning ---- */

static int tls_fd(struct conn *c, enum conn_dir dir)
{
    UNUSED(c);
    UNUSED(dir);
    return -1;
}

static const struct conn_ops tls_ops = {
    .name = "tls",
    .recv = conn_tls_plain_recv,
    .send = conn_tls_plain_send,
    .shut = tls_shut,
    .established = conn_tls_hand_shake,
    .fd = tls_fd,
    .close = tls_close,
    .stirred = tls_stirred,
};

static int make_ssl(struct conn_tls *t)
{
    BIO_METHOD *method = conn_tls_bio_method();
    X509_VERIFY_PARAM *param;
    BIO *b;

    t->ssl = SSL_new(t->ctx->ssl);
    b = t->ssl && method ? BIO_new_ex(t->ctx->lib->ctx, method) : NULL;
    if (!b || !SSL_set_app_data(t->ssl, &t->conn)) {
        BIO_free(b);
        return ERR_NOMEM;
    }
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    SSL_set_msg_callback(t->ssl, conn_tls_hand_message);
    SSL_set_msg_callback_arg(t->ssl, t);
    if (SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE)
        SSL_set_verify(t->ssl, SSL_get_verify_mode(t->ssl), conn_tls_hand_verified);
    param = SSL_get0_param(t->ssl);
    X509_VERIFY_PARAM_set_time(param, (time_t)(t->conn.loop->wall_ms / 1000));
    return 0;
}

static void unmake(struct conn_tls *t)
{
    SSL_free(t->ssl);
    bufq_clear(&t->early);
    bufq_clear(&t->out);
    mem_free(t->key);
    tls_ctx_unref(t->ctx);
    mem_free(t);
    ERR_clear_error();
}

static struct conn_tls *make(struct loop *loop, struct tls_ctx *ctx)
{
    struct conn_tls *t = mem_zalloc(sizeof(*t));

    if (!t)
        return NULL;
    t->conn = (struct conn){.magic = CONN_MAGIC, .ops = &tls_ops, .loop = loop, .ready = CONN_RX | CONN_TX};
    t->grave.free = tls_free_grave;
    t->flush.run = conn_tls_bio_flush;
    list_init(&t->flush.link);
    list_init(&t->link);
    task_init(&t->task, loop, "tls closing", closing_run);
    timer_init(&t->timer, &t->task);
    bufq_init(&t->early, &loop->blocks);
    bufq_init(&t->out, &loop->blocks);
    t->ctx = tls_ctx_ref(ctx);
    conn_tls_clear_errors();
    if (make_ssl(t) == 0)
        return t;
    unmake(t);
    return NULL;
}

static void begin(struct conn_tls *t, struct conn **lower, struct conn **ret_conn)
{
    conn_stack(&t->conn, *lower);
    *lower = NULL;
    tls_stirred(&t->conn);
    *ret_conn = &t->conn;
}

int conn_tls_accept(struct conn **lower, struct tls_ctx *ctx, struct slice early, struct conn **ret_conn)
{
    struct conn_tls *t = make((*lower)->loop, ctx);

    CHECK(ctx->is_server);
    if (!t)
        return ERR_NOMEM;
    if (bufq_put(&t->early, early.p, early.n) < 0) {
        unmake(t);
        return ERR_NOMEM;
    }
    SSL_set_accept_state(t->ssl);
    begin(t, lower, ret_conn);
    return 0;
}

/* RFC 9525: the certificate is for the name that was meant, and its common name is none. */
static int expect_host(struct conn_tls *t, const struct tls_peer *peer)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
    struct slice host = peer->host;
    char name[TLS_KEY_MAX];

    if (!peer->literal && host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n < 1 || host.n > TLS_HOST_MAX || memchr(host.p, '\0', host.n))
        return ERR_SYNTAX;
    memcpy(name, host.p, host.n);
    name[host.n] = '\0';
    if (peer->literal)
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) ? 0 : ERR_SYNTAX;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return X509_VERIFY_PARAM_set1_host(param, name, host.n) && SSL_set_tlsext_host_name(t->ssl, name) ? 0 : ERR_NOMEM;
}

static int offer_alpn(struct conn_tls *t, unsigned alpn)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    const unsigned char *p = alpn & TLS_ALPN_H2 ? both : both + 3;
    unsigned n = (alpn & TLS_ALPN_H2 ? 3 : 0) + (alpn & TLS_ALPN_H1 ? 9 : 0);

    t->alpn = alpn;
    return !n || SSL_set_alpn_protos(t->ssl, p, n) == 0 ? 0 : ERR_NOMEM;
}

static int set_peer(struct conn_tls *t, const struct tls_peer *peer)
{
    char key[TLS_KEY_MAX];
    SSL_SESSION *session;
    size_t n;
    int r = expect_host(t, peer);

    if (r < 0)
        return r;
    if (offer_alpn(t, peer->alpn) < 0)
        return ERR_NOMEM;
    n = tls_session_key(key, peer->host, peer->port, peer->alpn);
    t->key = mem_dup(key, n);
    if (!t->key)
        return ERR_NOMEM;
    t->host = slice_of(t->key + n - peer->host.n, peer->host.n);
    session = tls_session_take(t->ctx, slice_of(key, n), (int64_t)(t->conn.loop->wall_ms / 1000));
    /* Without it the handshake is a full one. */
    if (session)
        SSL_set_session(t->ssl, session);
    t->offered = session;
    SSL_SESSION_free(session);
    return 0;
}

int conn_tls_connect(struct conn **lower, struct tls_ctx *ctx, const struct tls_peer *peer, struct conn **ret_conn)
{
    struct conn_tls *t = make((*lower)->loop, ctx);
    int r;

    CHECK(!ctx->is_server);
    if (!t)
        return ERR_NOMEM;
    r = set_peer(t, peer);
    if (r < 0) {
        unmake(t);
        return r;
    }
    SSL_set_connect_state(t->ssl);
    begin(t, lower, ret_conn);
    return 0;
}

/* ---- others ask ---- */

int conn_tls_session(SSL *ssl, SSL_SESSION *session)
{
    struct conn_tls *t = conn_tls_of_ssl(ssl);

    tls_session_keep(t->ctx, slice_str(t->key), session);
    return 1;
}

/* Before recv has met it, what `stirred` has noted is all there is. */
const struct tls_facts *conn_tls_facts(const struct conn *c)
{
    struct conn_tls *t;

    if (c->ops != &tls_ops)
        return NULL;
    t = CONTAINER_OF((struct conn *)(uintptr_t)c, struct conn_tls, conn);
    if (c->error && t->facts.failure == TLS_OK) {
        t->facts.failure = TLS_BROKEN;
        t->facts.text = "the connection below TLS failed";
    }
    return &t->facts;
}
