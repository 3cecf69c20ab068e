/* SPDX-License-Identifier: MIT */
/* tls_auto: finds, makes and keeps the self-signed certificate. One file has certificate and key, so that they are never of two makings (tls-auto.pem, 0600); beside it lies the
 * certificate alone, for others (tls-auto.crt). It is made anew when it is about to expire, never because a name has changed: whoever has pinned it goes on. To have it made anew,
 * remove the file and reload.
 */
#include "app/tls_auto.h"

#include "app/file_write.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "policy/policy.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DAY_S = 24 * 3600, FILE_MAX = 64 << 10, HOST_MAX = 256 };

#define KEY_BEGINS "-----BEGIN PRIVATE KEY"

/* ---- the file ---- */

static char *read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char *p = fd < 0 ? NULL : mem_zalloc(FILE_MAX);
    size_t n = 0;
    ssize_t m = 0;

    while (p && n < FILE_MAX - 1 && (m = read(fd, p + n, FILE_MAX - 1 - n)) > 0)
        n += (size_t)m;
    if (fd >= 0)
        close(fd);
    if (p && m == 0 && n)
        return p;
    mem_free(p);
    return NULL;
}

/* Whole, by rename. */
static int write_file(const char *path, mode_t mode, const char *one, const char *two)
{
    char fresh[QUOTA_PATH + 64];
    int fd, r;

    snprintf(fresh, sizeof(fresh), "%s.new", path);
    if (unlink(fresh) < 0 && errno != ENOENT)
        return -errno;
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    r = file_write_all(fd, slice_str(one));
    if (r == 0 && two)
        r = file_write_all(fd, slice_str(two));
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    close(fd);
    if (r == 0 && rename(fresh, path) < 0)
        r = -errno;
    if (r < 0)
        unlink(fresh);
    return r;
}

/* ---- the certificate ---- */

static void forget(struct tls_auto *a)
{
    if (a->key)
        secret_wipe(slice_str(a->key));
    mem_free(a->key);
    mem_free(a->cert);
    a->key = a->cert = NULL;
    a->fingerprint[0] = '\0';
}

void tls_auto_done(struct tls_auto *a)
{
    forget(a);
}

static int64_t days_left(const struct tls_auto *a)
{
    return (a->not_after_s - (int64_t)time(NULL)) / DAY_S;
}

bool tls_auto_is_old(const struct tls_auto *a)
{
    return a->cert && (days_left(a) < TLS_AUTO_LEAST_DAYS || (a->path[0] && access(a->path, F_OK) < 0));
}

/* Takes both. ERR_SYNTAX: they are none. */
static int take(struct tls_auto *a, char *cert, char *key)
{
    struct tls_cert_info info;
    char *p = a->fingerprint;

    forget(a);
    a->cert = cert;
    a->key = key;
    if (!cert || !key || tls_cert_look(slice_str(cert), &info) < 0) {
        forget(a);
        return cert && key ? ERR_SYNTAX : ERR_NOMEM;
    }
    a->not_after_s = info.not_after_s;
    snprintf(a->names, sizeof(a->names), "%s", info.names);
    for (unsigned i = 0; i < sizeof(info.sha256); i++)
        p += sprintf(p, "%s%02X", i ? ":" : "", info.sha256[i]);
    return 0;
}

/* What is there already. False: nothing that will do. */
static bool load(struct tls_auto *a, const char *path)
{
    char *text = read_file(path), *key = text ? strstr(text, KEY_BEGINS) : NULL;
    bool fine = key && take(a, mem_dup(text, (size_t)(key - text)), mem_dup(key, strlen(key))) == 0;

    if (text)
        secret_wipe(slice_of(text, FILE_MAX));
    mem_free(text);
    if (fine && days_left(a) >= TLS_AUTO_LEAST_DAYS)
        return true;
    forget(a);
    return false;
}

struct names {
    const char *v[TLS_AUTO_NAMES + 1];
    char text[TLS_AUTO_NAMES][HOST_MAX];
    unsigned n;
};

static void add_name(struct names *k, const char *name)
{
    if (!name[0] || k->n == TLS_AUTO_NAMES)
        return;
    for (unsigned i = 0; i < k->n; i++)
        if (strcmp(k->v[i], name) == 0)
            return;
    snprintf(k->text[k->n], HOST_MAX, "%s", name);
    k->v[k->n] = k->text[k->n];
    k->n++;
}

static void add_address(struct names *k, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];

    if (addr_is_any(a) || (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr)))
        return;
    addr_host_text(a, text);
    add_name(k, text);
}

static void collect_names(struct names *k, const struct policy *p)
{
    char host[HOST_MAX] = "";
    bool any = false;

    if (gethostname(host, sizeof(host) - 1) == 0)
        add_name(k, host);
    add_name(k, "localhost");
    for (unsigned i = 0; i < p->n_own; i++) {
        any = any || addr_is_any(&p->own[i]);
        add_address(k, &p->own[i]);
    }
    for (unsigned i = 0; any && i < p->n_local; i++)
        add_address(k, &p->local[i]);
}

static int make(struct tls_auto *a, const struct policy *p)
{
    struct names *k = mem_zalloc(sizeof(*k));
    char *cert = NULL, *key = NULL;
    int r = ERR_NOMEM;

    if (k) {
        collect_names(k, p);
        r = tls_self_signed(k->v, TLS_AUTO_DAYS, &cert, &key);
    }
    mem_free(k);
    return r < 0 ? r : take(a, cert, key);
}

static void keep(struct tls_auto *a, const char *path)
{
    int r = write_file(path, 0600, a->cert, a->key);

    if (r == 0)
        r = write_file(a->path, 0644, a->cert, NULL);
    if (r == 0) {
        log_info("tls: auto: a certificate was made: %s (without its key: %s)", path, a->path);
        return;
    }
    log_warn("tls: auto: %s cannot be written: %s: the next start makes another certificate", path, err_text(r));
    a->path[0] = '\0';
}

static int find_or_make(struct tls_auto *a, const struct policy *p)
{
    char folder[QUOTA_PATH], path[QUOTA_PATH + 32];
    bool kept = quota_file_folder(folder) == 0;
    int r;

    if (a->cert && !tls_auto_is_old(a))
        return 0;
    snprintf(path, sizeof(path), "%s/tls-auto.pem", kept ? folder : "");
    snprintf(a->path, sizeof(a->path), "%s/tls-auto.crt", kept ? folder : "");
    if (kept && load(a, path)) {
        log_info("tls: auto: certificate %s, SHA-256 %s", path, a->fingerprint);
        return 0;
    }
    r = make(a, p);
    if (r < 0)
        return r;
    if (kept) {
        keep(a, path);
    } else {
        a->path[0] = '\0';
        log_warn("tls: auto: neither STATE_DIRECTORY nor XDG_STATE_HOME nor HOME names a folder: the next start makes another certificate");
    }
    log_info("tls: auto: certificate SHA-256 %s", a->fingerprint);
    return 0;
}

int tls_auto_prepare(struct tls_auto *a, struct conf_tls *const *v, unsigned n, const struct policy *p)
{
    bool found = false;

    for (unsigned i = 0; i < n; i++) {
        int r = v[i]->self_signed && !found ? find_or_make(a, p) : 0;

        if (r < 0)
            return r;
        if (!v[i]->self_signed)
            continue;
        found = true;
        v[i]->pairs[0] = (struct tls_pair){.cert = slice_str(a->cert), .key = slice_str(a->key)};
    }
    if (!found)
        forget(a);
    return 0;
}
