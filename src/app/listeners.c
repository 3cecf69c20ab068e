/* SPDX-License-Identifier: MIT */
/* listeners: opening, keeping and closing of listening sockets. Called by serve at start and by reload. It closes nothing that a worker may still
 * accept from: what a commit removes is handed back.
 */
#include "app/listeners.h"

#include "app/serve.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/listener.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONTROL_MODE = 0600, PROXY_MODE = 0666 };

static int say(struct listeners_error *e, int exit_code, const char *fmt, ...) PRINTF(3, 4);
static int say(struct listeners_error *e, int exit_code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    e->exit_code = exit_code;
    return exit_code == EXIT_OSERR ? ERR_NOMEM : ERR_SYNTAX;
}

/* An address that one of ours still has, in another form: 127.0.0.1 and 0.0.0.0, the proxy and the admin address. */
static const struct listen_socket *in_the_way(const struct listeners *ls, const struct addr *a)
{
    for (unsigned i = 0; a && i < ls->n; i++)
        if (ls->v[i]->kind == CONF_LISTEN_TCP && addr_port(&ls->v[i]->addr) == addr_port(a))
            return ls->v[i];
    return NULL;
}

static int refused(struct listeners_error *e, const struct listeners *ls, const struct addr *a, const char *what, int error)
{
    int code = error == -EACCES || error == -EPERM ? EXIT_NOPERM : error == ERR_NOMEM ? EXIT_OSERR : EXIT_UNAVAILABLE;

    if (error == -EADDRINUSE && in_the_way(ls, a))
        return say(e, code, "cannot listen on %s: ginnel itself does, on %s; this change needs a restart, or a reload without that one first", what,
                   in_the_way(ls, a)->text);
    if (error == -EADDRINUSE)
        return say(e, code, "cannot listen on %s: another program does; stop it, or choose another with --listen or `listen:`", what);
    if (error == -ENOTSOCK)
        return say(e, code, "cannot listen on %s: a file that is no socket is in the way", what);
    if (error == -EACCES && a)
        return say(e, code, "cannot listen on %s: %s (ports below 1024 need CAP_NET_BIND_SERVICE)", what, err_text(error));
    return say(e, code, "cannot listen on %s: %s", what, err_text(error));
}

/* ---- sockets ---- */

static struct listen_socket *socket_new(struct listeners *ls, enum listen_role role, enum conf_listen_kind kind)
{
    struct listen_socket *s = mem_zalloc(sizeof(*s));

    if (!s)
        return NULL;
    s->id = ++ls->next_id;
    s->role = role;
    s->kind = kind;
    s->fd = -1;
    return s;
}

static void remove_file(const struct listen_socket *s)
{
    struct stat st;

    /* Another instance may have put its own there since. */
    if (lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
        unlink(s->path);
}

void listeners_deafen(struct listen_socket *s)
{
    if (!s->handed)
        listener_deafen(s->fd, s->kind == CONF_LISTEN_UNIX);
}

void listeners_close(struct listen_socket *s)
{
    if (!s)
        return;
    if (s->kind == CONF_LISTEN_UNIX && !s->handed && s->fd >= 0)
        remove_file(s);
    if (s->fd >= 0)
        close(s->fd);
    mem_free(s->path);
    mem_free(s);
}

static int open_tcp(struct listeners *ls, enum listen_role role, const struct addr *a, struct listen_socket **ret_s)
{
    struct listen_socket *s = socket_new(ls, role, CONF_LISTEN_TCP);
    int r;

    if (!s)
        return ERR_NOMEM;
    s->asked = s->addr = *a;
    r = listener_open(&s->addr);
    if (r < 0) {
        listeners_close(s);
        return r;
    }
    s->fd = r;
    addr_text(&s->addr, s->text);
    *ret_s = s;
    return 0;
}

static int open_unix(struct listeners *ls, enum listen_role role, const char *path, struct listen_socket **ret_s)
{
    struct listen_socket *s = socket_new(ls, role, CONF_LISTEN_UNIX);
    struct stat st;
    int r;

    if (!s)
        return ERR_NOMEM;
    s->path = mem_dup(path, strlen(path));
    r = s->path ? listener_open_unix(path, role == LISTEN_CONTROL ? CONTROL_MODE : PROXY_MODE) : ERR_NOMEM;
    if (r < 0) {
        listeners_close(s);
        return r;
    }
    s->fd = r;
    if (lstat(path, &st) == 0) {
        s->dev = st.st_dev;
        s->ino = st.st_ino;
    }
    snprintf(s->text, sizeof(s->text), "unix:%s", path);
    *ret_s = s;
    return 0;
}

/* ---- handed over ---- */

static int adopt_addr(struct listen_socket *s, const struct sockaddr_storage *ss, socklen_t n)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)ss;
    int one = 1;

    if (ss->ss_family == AF_UNIX) {
        size_t len = n > offsetof(struct sockaddr_un, sun_path) ? n - offsetof(struct sockaddr_un, sun_path) : 0;

        s->kind = CONF_LISTEN_UNIX;
        s->path = mem_dup(un->sun_path, strnlen(un->sun_path, len));
        snprintf(s->text, sizeof(s->text), "unix:%s", s->path ? s->path : "");
        return s->path ? 0 : ERR_NOMEM;
    }
    if (ss->ss_family != AF_INET && ss->ss_family != AF_INET6)
        return ERR_SYNTAX;
    memcpy(&s->addr.in6, ss, sizeof(s->addr.in6));
    s->asked = s->addr;
    addr_text(&s->addr, s->text);
    /* Inherited by what is accepted. */
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return 0;
}

static bool is_listening(int fd)
{
    int type = 0, accepting = 0;
    socklen_t n = sizeof(type), m = sizeof(accepting);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &m) == 0 && accepting;
}

static int adopt(struct listeners *ls, int fd, struct listeners_error *e)
{
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof(ss);
    struct listen_socket *s = socket_new(ls, LISTEN_PROXY, CONF_LISTEN_TCP);

    if (!s)
        return say(e, EXIT_OSERR, "out of memory");
    s->fd = fd;
    s->handed = true;
    if (!is_listening(fd) || getsockname(fd, (struct sockaddr *)&ss, &n) || adopt_addr(s, &ss, n) < 0) {
        /* Whose it is, nobody knows. */
        s->fd = -1;
        listeners_close(s);
        return say(e, EXIT_CONFIG, "descriptor %d, handed over by systemd, is no listening stream socket (Accept=no, ListenStream=)", fd);
    }
    if (fcntl(fd, F_SETFL, O_NONBLOCK))
        log_warn("descriptor %d: %s", fd, err_text(-errno));
    ls->handed[ls->n_handed++] = s;
    return 0;
}

int listeners_adopt(struct listeners *ls, const int *fds, unsigned n, struct listeners_error *ret_error)
{
    if (n > LISTENERS_MAX / 2)
        return say(ret_error, EXIT_CONFIG, "systemd hands over %u sockets, more than %d", n, LISTENERS_MAX / 2);
    for (unsigned i = 0; i < n; i++) {
        int r = adopt(ls, fds[i], ret_error);

        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- plans ---- */

static bool same_place(const struct listen_socket *s, enum listen_role role, enum conf_listen_kind kind, const struct addr *a, const char *path)
{
    if (s->role != role || s->kind != kind)
        return false;
    if (kind == CONF_LISTEN_UNIX)
        return strcmp(s->path, path) == 0;
    return s->asked.sa.sa_family == a->sa.sa_family && addr_eq(&s->asked, a);
}

static bool is_planned(const struct listeners_plan *p, const struct listen_socket *s)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->v[i].socket == s)
            return true;
    return false;
}

static struct listen_socket *find(struct listen_socket *const *v, unsigned n, const struct listeners_plan *p, enum listen_role role,
                                  enum conf_listen_kind kind, const struct addr *a, const char *path)
{
    for (unsigned i = 0; i < n; i++)
        if (same_place(v[i], role, kind, a, path) && !is_planned(p, v[i]))
            return v[i];
    return NULL;
}

struct wish {
    enum listen_role role;
    enum conf_listen_kind kind;
    const struct addr *addr;
    const char *path;
    const struct conf_listen *conf;
};

/* What is there already, or a new one. */
static int plan_one(struct listeners *ls, struct listeners_plan *p, const struct wish *w)
{
    struct listen_socket *s = find(ls->v, ls->n, p, w->role, w->kind, w->addr, w->path);
    bool fresh = false;
    int r;

    if (!s)
        s = find(ls->handed, ls->n_handed, p, w->role, w->kind, w->addr, w->path);
    if (p->n == LISTENERS_MAX)
        return ERR_LIMIT;
    if (!s) {
        r = w->kind == CONF_LISTEN_UNIX ? open_unix(ls, w->role, w->path, &s) : open_tcp(ls, w->role, w->addr, &s);
        if (r < 0)
            return r;
        fresh = true;
    }
    p->v[p->n++] = (struct listeners_item){.socket = s, .conf = w->conf, .fresh = fresh};
    return 0;
}

static int plan_proxies(struct listeners *ls, const struct conf *c, struct listeners_plan *p, struct listeners_error *e)
{
    for (unsigned i = 0; i < c->n_listen; i++) {
        const struct conf_listen *l = &c->listen[i];
        struct wish w = {LISTEN_PROXY, l->kind, &l->addr, l->path, l};
        int r = plan_one(ls, p, &w);

        /* Nobody asked for [::1] by name: a machine without IPv6 does without. */
        if (l->dflt && p->n && (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT)) {
            log_info("not listening on %s: %s", l->text, err_text(r));
            continue;
        }
        if (r < 0)
            return refused(e, ls, l->kind == CONF_LISTEN_TCP ? &l->addr : NULL, l->text, r);
    }
    return 0;
}

static bool is_local(const struct listen_socket *s)
{
    return s->kind == CONF_LISTEN_UNIX || addr_is_loopback(&s->addr);
}

/* Those that no item names: served with what holds for all. Nobody runs an open proxy without having written it. */
static int plan_handed(struct listeners *ls, const struct conf *c, struct listeners_plan *p, struct listeners_error *e)
{
    for (unsigned i = 0; i < ls->n_handed; i++) {
        struct listen_socket *s = ls->handed[i];

        if (is_planned(p, s))
            continue;
        if (!is_local(s) && !c->clients.set && (!c->users || c->users->when_needed))
            return say(e, EXIT_CONFIG,
                       "%s, handed over by systemd, can be reached from other machines, and neither `clients` nor `users` is set: write `clients: [10.0.0.0/8]` "
                       "(or `clients: any` for an open proxy)",
                       s->text);
        if (p->n == LISTENERS_MAX)
            return refused(e, ls, NULL, s->text, ERR_LIMIT);
        p->v[p->n++] = (struct listeners_item){.socket = s};
    }
    return 0;
}

static int plan_house(struct listeners *ls, const struct conf *c, const char *control, struct listeners_plan *p, struct listeners_error *e)
{
    for (unsigned i = 0; i < c->n_admin; i++) {
        struct wish w = {LISTEN_ADMIN, CONF_LISTEN_TCP, &c->admin[i], NULL, NULL};
        char text[ADDR_TEXT_MAX];
        int r = plan_one(ls, p, &w);

        addr_text(&c->admin[i], text);
        if (r < 0)
            return refused(e, ls, &c->admin[i], text, r);
    }
    if (control) {
        struct wish w = {LISTEN_CONTROL, CONF_LISTEN_UNIX, NULL, control, NULL};
        int r = plan_one(ls, p, &w);

        if (r < 0)
            return refused(e, ls, NULL, control, r);
    }
    return 0;
}

int listeners_plan(struct listeners *ls, const struct conf *c, const char *control, struct listeners_plan *ret_plan,
                   struct listeners_error *ret_error)
{
    int r;

    *ret_plan = (struct listeners_plan){0};
    r = plan_proxies(ls, c, ret_plan, ret_error);
    if (r == 0)
        r = plan_handed(ls, c, ret_plan, ret_error);
    if (r == 0)
        r = plan_house(ls, c, control, ret_plan, ret_error);
    if (r < 0)
        listeners_drop(ls, ret_plan);
    return r;
}

void listeners_drop(struct listeners *ls, struct listeners_plan *p)
{
    UNUSED(ls);
    for (unsigned i = 0; i < p->n; i++)
        if (p->v[i].fresh)
            listeners_close(p->v[i].socket);
    p->n = 0;
}

void listeners_commit(struct listeners *ls, const struct listeners_plan *p, struct listen_socket *ret_removed[LISTENERS_MAX], unsigned *ret_n)
{
    *ret_n = 0;
    for (unsigned i = 0; i < ls->n; i++)
        if (!is_planned(p, ls->v[i]))
            ret_removed[(*ret_n)++] = ls->v[i];
    for (unsigned i = 0; i < p->n; i++)
        ls->v[i] = p->v[i].socket;
    ls->n = p->n;
}

static void forget_handed(struct listeners *ls, const struct listen_socket *s)
{
    for (unsigned i = 0; i < ls->n_handed; i++)
        if (ls->handed[i] == s)
            ls->handed[i] = ls->handed[--ls->n_handed];
}

void listeners_close_role(struct listeners *ls, enum listen_role role)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < ls->n; i++) {
        struct listen_socket *s = ls->v[i];

        if (s->role != role) {
            ls->v[kept++] = s;
            continue;
        }
        forget_handed(ls, s);
        listeners_close(s);
    }
    ls->n = kept;
}

void listeners_done(struct listeners *ls)
{
    listeners_close_role(ls, LISTEN_PROXY);
    listeners_close_role(ls, LISTEN_ADMIN);
    listeners_close_role(ls, LISTEN_CONTROL);
    /* Those that were never part of a plan: the start failed. */
    while (ls->n_handed)
        listeners_close(ls->handed[--ls->n_handed]);
    *ls = (struct listeners){0};
}
