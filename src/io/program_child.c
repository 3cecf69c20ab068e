/* SPDX-License-Identifier: MIT */
/* program_child: one process of a program: its pipes, its birth, its end. Called by the program's thread alone. It knows bytes and no requests.
 */
#include "io/program_child.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fds.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- it comes ---- */

/* What the manager of services means for us is not meant for a child. */
static bool is_ours(const char *variable)
{
    static const char *const names[] = {"LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC="};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

char **program_child_environment(void)
{
    unsigned n = 0, k = 0;
    char **v;

    while (environ[n])
        n++;
    v = mem_array(n + 1, sizeof(*v));
    for (unsigned i = 0; v && i < n; i++)
        if (!is_ours(environ[i]))
            v[k++] = environ[i];
    return v;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ret[0] to read, ret[1] to write; ours does not block. */
static int make_pipe(int ret[2], unsigned ours)
{
    if (pipe2(ret, O_CLOEXEC) < 0)
        return -errno;
    if (fcntl(ret[ours], F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

static int spawn(char **argv, char **envp, const int in[2], const int out[2], const int err[2], pid_t *ret_pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int e;

    sigemptyset(&none);
    sigfillset(&all);
    if (posix_spawn_file_actions_init(&files))
        return ERR_NOMEM;
    if (posix_spawnattr_init(&attr)) {
        posix_spawn_file_actions_destroy(&files);
        return ERR_NOMEM;
    }
    e = posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
    e = e ? e : posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
    e = e ? e : posix_spawn_file_actions_adddup2(&files, err[1], STDERR_FILENO);
    e = e ? e : posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    /* A group of its own: what a terminal sends to ours is ours to handle; and what a child starts ends with it. */
    e = e ? e : posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    e = e ? e : posix_spawnattr_setpgroup(&attr, 0);
    e = e ? e : posix_spawnattr_setsigmask(&attr, &none);
    e = e ? e : posix_spawnattr_setsigdefault(&attr, &all);
    fds_fork_begin();
    e = e ? e : posix_spawn(ret_pid, argv[0], &files, &attr, argv, envp);
    fds_fork_end();
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return -e;
}

int program_child_start(struct program_child *c, char **argv, char **envp)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    pid_t pid;
    int r = make_pipe(in, 1);

    if (r == 0)
        r = make_pipe(out, 0);
    if (r == 0)
        r = make_pipe(err, 0);
    if (r == 0)
        r = spawn(argv, envp, in, out, err, &pid);
    close_fd(&in[0]);
    close_fd(&out[1]);
    close_fd(&err[1]);
    if (r < 0) {
        close_fd(&in[1]);
        close_fd(&out[0]);
        close_fd(&err[0]);
        return r;
    }
    c->pid = pid;
    c->in = in[1];
    c->out = out[0];
    c->err = err[0];
    c->to_n = c->got_n = c->said_n = 0;
    return 0;
}

/* ---- bytes ---- */

enum io program_child_send(struct program_child *c)
{
    ssize_t n;

    if (c->to_n == 0 || c->in < 0)
        return IO_OK;
    n = write(c->in, c->to, c->to_n);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_ERR;
    memmove(c->to, c->to + n, c->to_n - (size_t)n);
    explicit_bzero(c->to + c->to_n - (size_t)n, (size_t)n);
    c->to_n -= (size_t)n;
    return IO_OK;
}

static enum io receive(int fd, char *p, size_t cap, size_t *n_had)
{
    ssize_t n = read(fd, p + *n_had, cap - *n_had);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return IO_AGAIN;
    if (n <= 0)
        return n == 0 ? IO_EOF : IO_ERR;
    *n_had += (size_t)n;
    return IO_OK;
}

enum io program_child_hear(struct program_child *c)
{
    return receive(c->out, c->got, sizeof(c->got), &c->got_n);
}

enum io program_child_hear_errors(struct program_child *c)
{
    enum io r = receive(c->err, c->said, sizeof(c->said), &c->said_n);

    if (r == IO_EOF || r == IO_ERR)
        close_fd(&c->err);
    return r;
}

/* ---- it goes ---- */

void program_child_hush(struct program_child *c)
{
    close_fd(&c->in);
}

void program_child_signal(const struct program_child *c, int sig)
{
    if (!c->pid)
        return;
    kill(-c->pid, sig);
    kill(c->pid, sig); /* it may have made itself a group of its own */
}

static void forget(struct program_child *c)
{
    c->pid = 0;
    close_fd(&c->in);
    close_fd(&c->out);
    close_fd(&c->err);
    explicit_bzero(c->to, sizeof(c->to));
}

void program_child_bury(struct program_child *c, int *ret_status)
{
    while (waitpid(c->pid, ret_status, 0) < 0 && errno == EINTR)
        ;
    forget(c);
}

bool program_child_reap(struct program_child *c)
{
    if (waitpid(c->pid, NULL, WNOHANG) == 0)
        return false;
    forget(c);
    return true;
}
