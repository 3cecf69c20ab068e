/* SPDX-License-Identifier: MIT */
/* passwd: changes one line of a users' file. Called by main. The new file takes the old one's place by rename, so that a running
 * ginnel, which watches it, reads one or the other; a password is asked for twice on a terminal, and wiped as soon as it is hashed.
 */
#include "app/passwd.h"

#include "app/file_write.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/secret.h"
#include "build_config.h"
#include "proto/authn.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#if HAVE_CRYPT
#include <crypt.h>
#endif

enum {
    EXIT_WRONG = 1, /* it was not done: two different passwords, no such user */
    EXIT_USAGE = 64,
    EXIT_DATA = 65,
    EXIT_UNAVAILABLE = 69,
    EXIT_OSERR = 71,
    EXIT_CANNOT_WRITE = 73,
    EXIT_NOPERM = 77,
    PASSWORD_MAX = 511, /* crypt(5) */
    FILE_MAX = 128 << 20,
    MODE_NEW = 0600,
};

/* ---- the text ---- */

static bool is_users_line(struct slice line, struct slice name)
{
    line = slice_trim(line);
    return line.n > name.n && line.p[name.n] == ':' && slice_eq(slice_of(line.p, name.n), name);
}

/* What stands behind the hash: labels. */
static struct slice rest_of(struct slice line, struct slice name)
{
    struct slice rest;

    line = slice_trim(line);
    rest = slice_skip(line, name.n + 1);
    return slice_skip(rest, slice_find(rest, ':'));
}

struct out {
    char *p;
    size_t n;
};

static void put(struct out *o, struct slice s)
{
    if (s.n)
        memcpy(o->p + o->n, s.p, s.n);
    o->n += s.n;
}

static void put_user(struct out *o, struct slice name, struct slice hash, struct slice rest)
{
    put(o, name);
    put(o, SLICE(":"));
    put(o, hash);
    put(o, rest);
    put(o, SLICE("\n"));
}

char *passwd_change(struct slice text, struct slice name, struct slice hash, size_t *ret_n, bool *ret_found)
{
    struct out o = {.p = mem_alloc(text.n + name.n + hash.n + 4)};
    bool found = false;

    if (!o.p)
        return NULL;
    for (size_t i = 0; i < text.n;) {
        struct slice line = slice_skip(text, i), whole;

        line.n = slice_find(line, '\n');
        whole = slice_of(line.p, min_size(line.n + 1, text.n - i));
        i += whole.n;
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (!is_users_line(line, name))
            put(&o, whole);
        else if (hash.n && !found)
            put_user(&o, name, hash, rest_of(line, name));
        found = found || is_users_line(line, name);
    }
    if (o.n && o.p[o.n - 1] != '\n')
        put(&o, SLICE("\n"));
    if (!found && hash.n)
        put_user(&o, name, hash, SLICE(""));
    *ret_n = o.n;
    *ret_found = found;
    return o.p;
}

/* ---- the password ---- */

static int refuse(int code, const char *what, const char *why)
{
    fprintf(stderr, "ginnel: %s%s%s\n", what, why ? ": " : "", why ? why : "");
    return code;
}

static bool read_line(int fd, char out[PASSWORD_MAX + 2], size_t *ret_n)
{
    size_t n = 0;

    while (n < PASSWORD_MAX + 2) {
        ssize_t k = read(fd, out + n, 1);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0 || out[n] == '\n')
            break;
        n++;
    }
    if (n && out[n - 1] == '\r')
        n--;
    *ret_n = n;
    return n <= PASSWORD_MAX;
}

/* One without echo. A terminal that cannot be told to be quiet is used as it is by nobody. */
static bool ask(const char *prompt, char out[PASSWORD_MAX + 2], size_t *ret_n)
{
    struct termios before, quiet;
    bool ok;

    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return false;
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0)
        return false;
    fputs(prompt, stderr);
    ok = read_line(STDIN_FILENO, out, ret_n);
    fputc('\n', stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    return ok;
}

static int check_password(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return refuse(EXIT_DATA, "a password has no control characters: clients could not send it", NULL);
    return s.n ? 0 : refuse(EXIT_DATA, "the password is empty", NULL);
}

static int read_password(char out[PASSWORD_MAX + 2], size_t *ret_n)
{
    char again[PASSWORD_MAX + 2];
    size_t n = 0, n_again = 0;
    bool ok, same = true;

    if (!isatty(STDIN_FILENO)) {
        ok = read_line(STDIN_FILENO, out, &n);
    } else {
        ok = ask("Password: ", out, &n) && ask("Again: ", again, &n_again);
        same = secret_equal(slice_of(out, n), slice_of(again, n_again));
        secret_wipe(slice_of(again, sizeof(again)));
    }
    if (!ok)
        return refuse(EXIT_DATA, "the password cannot be read, or has more than 511 bytes", NULL);
    if (!same)
        return refuse(EXIT_WRONG, "the two passwords differ; nothing was changed", NULL);
    *ret_n = n;
    return check_password(slice_of(out, n));
}

/* ---- the hash ---- */

#if HAVE_CRYPT
static int hash_password(const char *password, char out[CRYPT_OUTPUT_SIZE])
{
    struct crypt_data *data = mem_zalloc(sizeof(*data));
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    const char *made = NULL;

    if (data && crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof(setting)))
        made = crypt_rn(password, setting, data, sizeof(*data));
    if (made)
        snprintf(out, CRYPT_OUTPUT_SIZE, "%s", made);
    if (data)
        explicit_bzero(data, sizeof(*data));
    mem_free(data);
    return made ? 0 : refuse(EXIT_OSERR, "the password cannot be hashed", err_text(-errno));
}
#endif

/* ---- the file ---- */

struct target {
    char *path;   /* where symlinks lead; malloc's or mem_* */
    char *text;   /* mem_*; NULL: there is no file */
    size_t n;
    struct stat st;
};

static int read_whole(int fd, struct target *t)
{
    if (fstat(fd, &t->st) < 0)
        return -errno;
    if (!S_ISREG(t->st.st_mode))
        return -EINVAL;
    if (t->st.st_size > FILE_MAX)
        return -EFBIG;
    t->text = mem_alloc((size_t)t->st.st_size + 1);
    if (!t->text)
        return ERR_NOMEM;
    while (t->n < (size_t)t->st.st_size) {
        ssize_t k = read(fd, t->text + t->n, (size_t)t->st.st_size - t->n);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -errno;
        if (k == 0)
            break;
        t->n += (size_t)k;
    }
    return 0;
}

/* A file that is not there is an empty one. */
static int open_target(const char *file, struct target *t)
{
    char *real = realpath(file, NULL);
    int fd, r;

    t->path = mem_dup(real ? real : file, strlen(real ? real : file));
    free(real);
    if (!t->path)
        return ERR_NOMEM;
    fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    r = read_whole(fd, t);
    close(fd);
    return r;
}

/* The new one looks like the old one: mode, and owner where that may be set. */
static int dress(int fd, const struct target *t)
{
    if (fchmod(fd, t->text ? t->st.st_mode & 07777 : MODE_NEW) < 0)
        return -errno;
    if (t->text && (t->st.st_uid != geteuid() || t->st.st_gid != getegid()) && fchown(fd, t->st.st_uid, t->st.st_gid) < 0)
        return -errno;
    /* chown takes some bits of the mode away. */
    if (t->text && fchmod(fd, t->st.st_mode & 07777) < 0)
        return -errno;
    return 0;
}

static int replace(const struct target *t, const char *text, size_t n)
{
    size_t len = strlen(t->path) + 8;
    char *temporary = mem_alloc(len);
    int fd, r;

    if (!temporary)
        return ERR_NOMEM;
    snprintf(temporary, len, "%s.XXXXXX", t->path);
    fd = mkostemp(temporary, O_CLOEXEC);
    r = fd < 0 ? -errno : dress(fd, t);
    if (r == 0)
        r = file_write_all(fd, slice_of(text, n));
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && rename(temporary, t->path) < 0)
        r = -errno;
    if (r < 0 && fd >= 0)
        unlink(temporary);
    if (fd >= 0)
        close(fd);
    mem_free(temporary);
    return r;
}

/* Two of us at a time would lose one change; the lock is the folder's, for the file itself is another one each time. */
static int lock_folder(const char *path)
{
    char *copy = mem_dup(path, strlen(path));
    int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    mem_free(copy);
    if (fd >= 0)
        flock(fd, LOCK_EX);
    return fd;
}

static int change_file(const char *file, struct slice name, struct slice hash)
{
    struct target t = {0};
    int lock = lock_folder(file), r = open_target(file, &t);
    bool found = false;
    char *text = NULL;
    size_t n = 0;

    if (r < 0) {
        r = refuse(r == -EACCES ? EXIT_NOPERM : EXIT_DATA, file, r == -EINVAL ? "not a file" : err_text(r));
    } else {
        text = passwd_change(slice_of(t.text, t.n), name, hash, &n, &found);
        r = !text ? ERR_NOMEM : !hash.n && !found ? 0 : replace(&t, text, n);
        if (r < 0)
            r = refuse(r == -EACCES || r == -EPERM ? EXIT_NOPERM : EXIT_CANNOT_WRITE, file, err_text(r));
        else if (!hash.n && !found)
            r = refuse(EXIT_WRONG, "there is no such user", NULL);
        else
            printf(SLICE_FMT " was %s\n", SLICE_ARG(name), !hash.n ? "removed" : found ? "changed" : "added");
    }
    mem_free(text);
    mem_free(t.text);
    mem_free(t.path);
    if (lock >= 0)
        close(lock);
    return r;
}

/* ---- the command ---- */

static int set_password(const char *file, struct slice name)
{
#if HAVE_CRYPT
    char password[PASSWORD_MAX + 3], hash[CRYPT_OUTPUT_SIZE];
    size_t n = 0;
    int r = read_password(password, &n);

    if (r == 0) {
        password[n] = '\0';
        r = hash_password(password, hash);
    }
    secret_wipe(slice_of(password, sizeof(password)));
    return r ? r : change_file(file, name, slice_str(hash));
#else
    (void)file;
    (void)name;
    return refuse(EXIT_UNAVAILABLE, "this build cannot hash passwords: it has no libcrypt", NULL);
#endif
}

int passwd_command(const struct command_call *call)
{
    struct slice name = slice_str(call->second);

    if (!authn_is_name(name) || name.p[0] == '#' || !slice_eq(slice_trim(name), name))
        return refuse(EXIT_USAGE, "a name has 1 to 128 bytes, no blank at its ends, and no colon, comma, plus, # at its beginning or control character",
                      NULL);
    return call->given & 1u << FLAG_DELETE ? change_file(call->argument, name, SLICE_NONE) : set_password(call->argument, name);
}
