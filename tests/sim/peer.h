/* SPDX-License-Identifier: MIT */
/* peer: one scripted end of a TCP connection, a client's or an origin's, and the conn by which the
 * proxy holds the other end. Between them lie two queues with room for so many bytes, like the
 * kernel's. The conn behaves as conn_tcp does, down to which events come when. Owner: the
 * simulation; it stays readable after the proxy has closed. */
#ifndef SIM_PEER_H
#define SIM_PEER_H

#include "base/list.h"
#include "io/conn.h"

struct sim;
struct conn_sim;

/* Bytes in a row; those before `at` are used up. */
struct queue {
    char *p;
    size_t n, at, cap;
};

/* What the peer has seen of the proxy's end. */
enum peer_end { PEER_OPEN = 0, PEER_FIN, PEER_RST };
enum peer_close { PEER_NOT_CLOSED = 0, PEER_CLOSED, PEER_RESET };

struct peer {
    struct sim *sim;
    struct list link;    /* in sim->peers */
    struct list waiting; /* in an origin's backlog */
    char name[48];
    struct conn_sim *conn; /* NULL: the proxy has closed it */
    size_t room;           /* of either queue */
    size_t piece;          /* bytes that one event carries */

    /* towards the proxy */
    struct queue out;      /* sent, not yet arrived */
    struct queue rx;       /* arrived, not yet read by the proxy */
    enum peer_end out_end; /* behind `out` */
    bool rx_fin, rx_rst;   /* arrived */
    bool shut_down;        /* closed altogether: what the proxy writes is answered by an RST */
    int so_error;          /* of the proxy's socket */
    uint64_t taken;        /* bytes that the proxy has read */

    /* from the proxy */
    struct queue tx;        /* written by the proxy, not yet read here */
    struct queue got;       /* read here; `at`: what expectations have used up */
    bool tx_fin;            /* the proxy's FIN lies behind tx */
    bool tx_blocked;        /* the proxy found no room */
    size_t appetite;        /* how much more it reads; SIZE_MAX: all there is */
    enum peer_close closed; /* what the proxy did */
    uint64_t closed_us;
    enum peer_end end;
    uint64_t end_ms; /* since the start */
    bool saw_fin, fin_expected;
    bool late; /* something was sent to it after it had closed: a real client may lose the answer by
                  that */
    uint64_t pattern_out, pattern_in;
};

/* ---- what a peer does ---- */

void peer_send(struct peer *p, const char *text);
void peer_sendf(struct peer *p, const char *fmt, ...) PRINTF(2, 3);
void peer_send_n(struct peer *p, const void *bytes, size_t n);
/* n bytes that say where in the stream they are. */
void peer_send_pattern(struct peer *p, size_t n);
void peer_fin(struct peer *p);
/* Behind what was sent, as far as there is room for it. */
void peer_rst(struct peer *p);
/* close(): FIN, and an RST to whatever still comes. */
void peer_close(struct peer *p);
void peer_stop(struct peer *p);                /* reads no more */
void peer_read(struct peer *p);                /* reads again */
void peer_read_some(struct peer *p, size_t n); /* so much more, then no more */

/* ---- what it expects; each runs the proxy first ---- */

/* The next bytes contain that text; they are used up to its end. */
void peer_expect(struct peer *p, const char *text);
/* The next bytes begin with it. */
void peer_expect_next(struct peer *p, const char *text);
/* They are that, and nothing follows. */
void peer_expect_all(struct peer *p, const char *text);
void peer_expect_pattern(struct peer *p, size_t n);
void peer_expect_nothing(struct peer *p);
/* Nowhere in anything it got. */
void peer_expect_never(struct peer *p, const char *text);
/* An OPEN peer has seen no end. */
void peer_expect_end(struct peer *p, enum peer_end end);
/* A response head with that status; used up with its empty line. */
void peer_expect_status(struct peer *p, int status);
/* ... that says whether the connection is kept. */
void peer_expect_status_kept(struct peer *p, int status, bool kept);
/* The same content, however it was cut into chunks. A last chunk is not used up. */
void peer_expect_chunked(struct peer *p, const char *text);
/* A refusal made by the proxy: status, Proxy-Status error, whole body. */
void peer_expect_refusal(struct peer *p, int status, const char *error);

/* ---- no running ---- */

size_t peer_unused(const struct peer *p); /* bytes got and not used up */
const char *peer_end_name(enum peer_end end);
char peer_pattern(uint64_t at);
/* Bytes at p that continue the pattern from *at on; moves *at over those that do. */
size_t peer_pattern_match(const char *p, size_t n, uint64_t *at);

/* ---- for sim.c ---- */

struct peer *peer_new(struct sim *s, bool connecting, struct conn **ret_conn);
void peer_free(struct peer *p);
bool peer_connecting(const struct peer *p);
void peer_established(struct peer *p, int error);
/* One round of delivery; false: nothing moved. stuck: nothing else will, so an RST waits for no
 * room. */
bool peer_move(struct peer *p, bool stuck);
uint64_t
peer_due_us(const struct peer *p); /* when something happens by itself; UINT64_MAX: never */
void peer_dump(const struct peer *p);

#endif
