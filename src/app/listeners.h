/* SPDX-License-Identifier: MIT */
/* listeners: the sockets that ginnel accepts on, over reloads: a plan is made from a configuration (what stays is found by the address that was asked
 * for, what is new is opened), then committed or dropped. Sockets that systemd handed over are always served; an item of `listen` with the same
 * address lends one its name and clients.
 * Owner: the server. Thread: the house's. Bounds: LISTENERS_MAX. */
#ifndef APP_LISTENERS_H
#define APP_LISTENERS_H

#include "app/conf.h"
#include "proxy/snapshot.h"

#include <sys/types.h>

enum { LISTENERS_MAX = 128 };

struct listen_socket {
    unsigned id; /* from 1, never used twice */
    enum listen_role role;
    enum conf_listen_kind kind;
    struct addr asked, addr; /* TCP: as written; as bound (port 0 becomes one) */
    char *path;              /* UNIX */
    char text[112];          /* for messages and status: the address as bound */
    int fd;
    bool handed; /* by systemd: never closed before the end, its file never removed */
    dev_t dev;   /* of the file that we made */
    ino_t ino;
};

struct listeners {
    struct listen_socket *v[LISTENERS_MAX];
    unsigned n;
    unsigned next_id;
    struct listen_socket *handed[LISTENERS_MAX];
    unsigned n_handed;
};

struct listeners_plan {
    struct listeners_item {
        struct listen_socket *socket;
        const struct conf_listen *conf; /* NULL: admin, control, or handed over and not named in the file */
        bool fresh;                     /* opened for this plan */
    } v[LISTENERS_MAX];
    unsigned n;
};

/* Why something could not be listened on: a sentence, and what the process's exit code would be. */
struct listeners_error {
    int exit_code;
    char text[256];
};

/* Takes the descriptors that systemd handed over (app/sd.h). Negative with ret_error. */
int listeners_adopt(struct listeners *ls, const int *fds, unsigned n, struct listeners_error *ret_error) MUST_USE;

/* control: the path of the control socket, NULL: none (it is part of the first plan and stays). 0, or negative with ret_error: nothing is open
 * that was not before. */
int listeners_plan(struct listeners *ls, const struct conf *c, const char *control, struct listeners_plan *ret_plan,
                   struct listeners_error *ret_error) MUST_USE;
/* The plan is what is served from now on. ret_removed gets the n sockets that are in it no more: listeners_close each when no worker accepts from it. */
void listeners_commit(struct listeners *ls, const struct listeners_plan *p, struct listen_socket *ret_removed[LISTENERS_MAX], unsigned *ret_n);
/* Closes what the plan opened. */
void listeners_drop(struct listeners *ls, struct listeners_plan *p);
void listeners_close(struct listen_socket *s);
/* Nobody new gets in; who is in a queue can still be served. Those handed over by systemd stay as they are: it goes on with them. */
void listeners_deafen(struct listen_socket *s);
/* Closes those of a role. */
void listeners_close_role(struct listeners *ls, enum listen_role role);
/* Closes all. */
void listeners_done(struct listeners *ls);

#endif
