/* SPDX-License-Identifier: MIT */
/* mux_h1: what the two roles of HTTP/1 share. Private to src/mux. One stream at a time; the mux is the stream's memory. */
#ifndef MUX_MUX_H1_H
#define MUX_MUX_H1_H

#include "mux/mux.h"
#include "mux/raw.h"
#include "mux/wire.h"
#include "proto/h1_body.h"
#include "proto/h1_write.h"

/* IDLE between messages · ATTACHED a stream is out · DISCARD an unread request is being thrown away · LAST the last answer is
 * leaving · DEAD the conn is of no more use */
enum h1_state { H1_IDLE = 0, H1_ATTACHED, H1_DISCARD, H1_LAST, H1_DEAD };

struct mux_h1 {
    struct mux mux;
    struct stream stream;
    struct wire wire;
    struct loop *loop;
    const struct h1_limits *limits;
    struct h1_parser *parser; /* in the exchange's arena while a head is being read, else NULL */
    struct h1_body body;      /* takes received content out of its framing */
    uint64_t tx_left;         /* bytes still to be sent: LENGTH: in all, CHUNKED: of an announced chunk */
    struct timer discard;     /* server role: bounds H1_DISCARD */
    struct grave grave;
    uint32_t discarded; /* bytes of it so far */
    uint32_t skipped;   /* server role: empty lines since the last request */
    bool held_cr;       /* server role: a CR between requests whose LF has not come yet */
    enum h1_state state;
    enum h1_framing tx_framing;
    enum method method; /* of the request in hand */
    uint8_t version;    /* of the message received last */
    bool client_side;   /* server role: faults are the client's */
    bool close;         /* no further message on this connection */
    bool crlf_due;      /* an announced chunk is complete but for its line end, which leaves with what comes next */
    bool expects;       /* server role: the client waits for 100 before it sends content */
    char *ws_accept;    /* client role: what has to answer a Sec-WebSocket-Key of ours (RFC 6455 4.1); NULL: there was none */
};

struct mux_h1 *h1_of_mux(struct mux *m);
struct mux_h1 *h1_of(struct stream *s);
struct raw h1_raw(struct mux_h1 *m);

struct mux_h1 *h1_new(struct conn *conn, const struct h1_limits *limits, const struct mux_ops *ops) MUST_USE;
void h1_close(struct mux *mux, bool reset);
void h1_attach(struct mux_h1 *m, const struct stream_ops *ops);

/* Reads one head of that kind. `fault` turns a parser's fault into the stream's. */
enum io h1_read_head(struct mux_h1 *m, struct arena *a, enum h1_kind kind, struct head **ret_head) MUST_USE;
enum io h1_fault_set(struct mux_h1 *m, enum end_reason reason, const char *detail) MUST_USE;

/* The stream operations that are the same in both roles. */
enum io h1_recv(struct stream *s, void *p, size_t cap, size_t *ret_n);
enum io h1_send(struct stream *s, const void *p, size_t n, bool last);
enum io h1_end(struct stream *s, const struct hdrs *trailers);
enum io h1_flush(struct stream *s);
size_t h1_room(struct stream *s);
int h1_tunnel(struct stream *s);
int h1_fd(struct stream *s, enum stream_dir dir, uint64_t *ret_max);
enum io h1_announce(struct stream *s, uint64_t n);
void h1_moved(struct stream *s, enum stream_dir dir, uint64_t n);
void h1_failed(struct stream *s, int error);
bool h1_broken(struct stream *s);
void h1_reset(struct stream *s);
void h1_look(struct stream *s, struct stream_look *ret_look);

/* Begins sending content with that framing; `last`: none follows, everything is written now. */
enum io h1_begin_content(struct mux_h1 *m, enum h1_framing framing, uint64_t length, bool last) MUST_USE;

#endif
