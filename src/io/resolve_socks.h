/* SPDX-License-Identifier: MIT */
/* resolve_socks: the sockets that c-ares uses: close-on-exec, no SIGPIPE, watched by the loop,
 * bounded in number and in what is read from one at a time. Owner: resolve_dns. Thread: its loop's.
 */
#ifndef IO_RESOLVE_SOCKS_H
#define IO_RESOLVE_SOCKS_H

#include "io/addr.h"
#include "io/loop.h"

enum {
    RESOLVE_SOCKS_MAX = 136,      /* UDP, and sixteen times TCP, for each of eight servers */
    RESOLVE_SOCKS_DATAGRAMS = 64, /* read per call: a flood cannot hold the loop */
};

struct resolve_socks;

struct resolve_sock {
    struct watch watch; /* fd -1: free */
    struct resolve_socks *socks;
    unsigned ready; /* EPOLL* seen and not handled yet */
    bool watched, datagrams;
    unsigned channel; /* whose it is */
};

struct resolve_socks {
    unsigned magic;
    struct task *task; /* woken with TASK_RX when a socket is ready */
    struct resolve_sock v[RESOLVE_SOCKS_MAX];
    unsigned channel; /* whose the sockets are that are opened now */
    unsigned budget; /* datagrams that may still be read in this call */
    /* Link-local servers have a scope that c-ares does not keep: it is looked up here. */
    const struct addr *servers;
    unsigned n_servers;
    /* Sees each datagram before c-ares does. */
    void (*saw)(void *owner, struct slice datagram);
    void *owner;
};

#define RESOLVE_SOCKS_MAGIC 0x50c4e701u

struct ares_socket_functions;
/* For ares_set_socket_functions and ARES_OPT_SOCK_STATE_CB, with a struct resolve_socks as their
 * data. */
extern const struct ares_socket_functions resolve_socks_functions;
void resolve_socks_state(void *socks, int fd, int readable, int writable);

void resolve_socks_init(struct resolve_socks *s, struct task *task,
                        void (*saw)(void *owner, struct slice datagram), void *owner);
/* A socket that is ready: whose, and what for (EPOLL*; an error is reading and writing). */
struct resolve_ready {
    int fd;
    unsigned channel, events;
};
/* The next of them; false: there is none. The place to go on is *at, first 0. */
bool resolve_socks_next(struct resolve_socks *s, unsigned *at, struct resolve_ready *ret_ready);

#endif
