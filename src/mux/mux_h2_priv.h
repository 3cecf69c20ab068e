/* SPDX-License-Identifier: MIT */
/* mux_h2_priv: what the rooms of HTTP/2 share. Private to src/mux: only mux_h2*.c include it, and nghttp2 with it.
 * A stream's bytes are not kept here on their way out: what a pump sends is framed at once, behind what is queued for the connection. */
#ifndef MUX_MUX_H2_PRIV_H
#define MUX_MUX_H2_PRIV_H

#include "mux/mux_h2.h"
#include "mux/wire.h"

#include <nghttp2/nghttp2.h>

/* ROOM: content of a DATA frame: with its head it fills a TLS record, and a block. HIGH: so much is queued for the connection before streams wait.
 * UNSENT: so much more lies in the socket. TURN: what a stream may send while others wait. DIRECT: shorter frames wait for the end of the turn. EVENTS: frames of ours that wait for a peer that does not read. */
enum { H2_FRAME_HEAD = 9, H2_ROOM = 16384 - H2_FRAME_HEAD, H2_HIGH = 256 * 1024, H2_TURN = 65536, H2_DIRECT = 8192, H2_FLUSH_AT = 65536, H2_UNSENT = 128 * 1024, H2_QUEUED_MAX = 8192 };
/* A drain's GOAWAY gets so long to be answered by a PING; what ends a connection, to be written. HEADS: of one stream, received and not yet taken (interim answers). */
enum { H2_DRAIN_MS = 1000, H2_END_MS = 2000, H2_CALM_MS = 1000, H2_CALM_BYTES = 1 << 20, H2_HEADS_MAX = 32, H2_RTT_MS = 250, H2_RTT_UNKNOWN_US = 20000, H2_RTT_LEAST_US = 1000, H2_PING_MS = 2000, H2_PONG_MOST_US = 1000000, H2_TURN_MS = 20 };
/* Nothing has come for so long while somebody waits: a PING; another one, where only its answer has come since. Its answer is late after so long. */
enum { H2_SILENT_MS = 5000, H2_SILENT_AGAIN_MS = 60000, H2_LATE_MS = 1000 };

/* OPEN · ENDING a last GOAWAY is leaving · OVER it has left · DEAD the conn is of no more use */
enum h2_state { H2_OPEN = 0, H2_ENDING, H2_OVER, H2_DEAD };
enum h2_drain { H2_DRAIN_OFF = 0, H2_DRAIN_NOTICE, H2_DRAIN_LAST };

/* Fills by one an event, leaks `rate` a second. */
struct h2_bucket {
    uint64_t at_ms, milli;
};

/* A header block as nghttp2 gives it: fields one behind the other, each two lengths (uint32_t) and its bytes. */
struct h2_block {
    struct h2_block *next; /* received after it, by the same stream */
    uint32_t n, cap;
    uint32_t fields, list; /* without pseudo-fields; bytes as RFC 9113 6.5.2 counts them */
    bool over, no_memory;  /* larger than it may be: the rest was not kept; memory was refused */
    bool last;             /* END_STREAM came with it */
    bool interim;          /* :status 1xx */
    char bytes[];
};

/* An extended CONNECT of ours (RFC 8441): what the neutral 101 has to say. */
struct h2_upgrade {
    const struct head *waits; /* the request, until the peer's SETTINGS tell whether it takes that; NULL: sent */
    struct slice protocol;    /* in the exchange's arena */
    char accept[32];          /* Sec-WebSocket-Accept for the key that the client sent; "": there was none */
};

struct mux_h2;
struct lib_block;

struct stream_h2 {
    struct stream stream;
    struct mux_h2 *mux;
    struct grave grave; /* its link: in mux->streams, after release in the graveyard */
    struct list wait; /* in mux->fresh, or in mux->waiters */
    struct bufq rx;   /* content received, at most what its window granted */
    struct h2_block *heads, *heads_last; /* received, not yet taken; trailers are the last */
    struct arena *arena;                 /* the exchange's: for trailers; NULL before its head was taken */
    const struct hdrs *tx_trailers;      /* the sender's; live until release */
    struct h2_upgrade *upgrade;
    uint64_t tx_left;  /* sized content: bytes still to be sent */
    uint64_t since_us; /* when the present window's worth began to be drained; 0: nothing was yet */
    uint32_t window, drained; /* bytes granted; taken since */
    uint32_t turn, turn_left; /* of the mux's turns: which, and what of it is left */
    int32_t id; /* -1: none yet (client role) */
    enum method method;
    bool known : 1;      /* it was announced, or opened: somebody will release it */
    bool tx_sized : 1;   /* tx_left counts */
    bool head_in : 1;    /* a final head was received: another is trailers */
    bool connected : 1;  /* CONNECT whose 2xx has gone: DATA only (C61) */
    bool fin_in : 1;     /* END_STREAM received */
    bool fin_out : 1;    /* END_STREAM is due */
    bool fin_sent : 1;   /* it is framed */
    bool waits : 1;      /* client: for the (final) head of its answer */
    bool submitted : 1;  /* the (final) head was handed to nghttp2 */
    bool closed : 1;     /* nghttp2 has forgotten it */
    bool broken : 1;     /* reset, by whomever; fault says more */
    bool wants_room : 1; /* its window is waited for, or that its head leaves */
    bool wants_end : 1;  /* that END_STREAM leaves */
    bool expects : 1;    /* server: the client waits for 100 */
    struct stream_fault broke;
};

struct mux_h2 {
    struct mux mux;
    struct task io;
    struct wire wire;
    struct loop *loop;
    struct h2_conf conf;
    nghttp2_session *session;
    nghttp2_mem mem;
    struct lib_block *freed; /* by nghttp2, after it was refused memory: not yet given back */
    bool refused;
    struct list streams, fresh, waiters;
    struct flush flush;
    struct timer timer;
    struct grave grave;
    unsigned n_streams; /* that somebody has */
    unsigned n_open;    /* server: that nghttp2 has */
    bool server;
    enum h2_state state;
    enum h2_drain drain;
    struct stream_fault why; /* what its streams' ends say, once it is not OPEN */
    struct h2_block *block;  /* being received */
    struct stream_h2 *sending; /* whose bytes are being framed */
    const char *p;
    size_t n;
    bool settings_seen, settings_acked, goaway; /* goaway: received */
    bool calm;                                  /* ENHANCE_YOUR_CALM was its end: not much more is read */
    bool tx_lost; /* client: nothing can be written any more; what was received is still read */
    /* client: silence (mux_h2.h) */
    bool silent;  /* it was given up */
    bool pinged;  /* nothing has come since the last PING but its answer */
    bool unheard; /* nothing has come since asked_ms */
    unsigned n_waits;                     /* streams that wait for an answer */
    uint64_t heard_ms, asked_ms, ping_ms; /* when something came; since when an answer is missed, and a PING's is; 0: none is */
    bool waits;   /* bytes that are queued, for the conn to take them */
    bool failed;                                /* nghttp2 or the conn has failed inside a call: see h2_settle */
    int error;
    uint32_t turn, n_turns; /* those of `turn` that are being taken */
    uint64_t turn_ms;       /* when the last one was given */
    uint32_t discarded; /* bytes, after that end */
    uint64_t since_ms, moved_ms, block_ms, drain_ms, end_ms;
    uint32_t free_updates; /* WINDOW_UPDATEs that answer frames of ours */
    int32_t last_id, gap_from, gap_to; /* server: of the latest stream; the latest ids that were passed over lie between */
    struct h2_bucket resets, control;
    uint64_t rtt_us, rtt_ms; /* the kernel's, and when it was asked */
    uint64_t trip_us, trip_ms, pong_us; /* a PING that asks the peer: is out since, was last sent; the least that an answer took; 0: none */
};

struct mux_h2 *h2_of_mux(struct mux *m);
struct stream_h2 *h2_of(struct stream *s);

struct mux_h2 *h2_new(struct conn *conn, const struct h2_conf *conf, bool server, const struct mux_ops *ops) MUST_USE;
void h2_close(struct mux *mux, bool reset);
unsigned h2_waits(struct mux *mux, struct stream_look *ret_look);
struct stream_h2 *h2_stream_new(struct mux_h2 *m, int32_t id, const struct stream_ops *ops) MUST_USE;
void h2_stream_gone(struct stream_h2 *s); /* releases it */

/* mux_h2_session.c: nghttp2's side of a connection. ERR_NOMEM: what there is of it is the caller's to close. */
int h2_session_open(struct mux_h2 *m) MUST_USE;
void h2_session_close(struct mux_h2 *m);

/* mux_h2_recv.c */
void h2_recv_callbacks(nghttp2_session_callbacks *cb);
/* A drain's notice was heard, or had its time: the last GOAWAY. */
void h2_drain_on(struct mux_h2 *m);

/* mux_h2_send.c */
void h2_send_callbacks(nghttp2_session_callbacks *cb);
/* Data provider of all streams. */
nghttp2_data_provider h2_provider(struct stream_h2 *s);
/* What nghttp2 has to say goes into the queue. `all`: however much is queued already. */
void h2_pack(struct mux_h2 *m, bool all);
void h2_flush_soon(struct mux_h2 *m);
void h2_flush_run(struct flush *f);
void h2_look_for_end(struct mux_h2 *m); /* of the connection, when all has been packed */
void h2_write_some(struct mux_h2 *m); /* what is queued, as far as the conn takes it */
/* Turns of streams, while some wait for room. */
bool h2_turn_has(const struct stream_h2 *s);
void h2_turn_over(struct stream_h2 *s);
void h2_turns_expire(struct mux_h2 *m);

/* mux_h2.c */
/* Ends the connection: GOAWAY with that code; all streams break. */
void h2_end(struct mux_h2 *m, uint32_t code, const char *text);
void h2_dead(struct mux_h2 *m, struct stream_fault why);
void h2_break_all(struct mux_h2 *m);
/* The conn has ended so, or failed. */
void h2_conn_over(struct mux_h2 *m, enum io io);
/* From inside of nghttp2: notes what failed, and what a call-back returns. Settling, once nghttp2 is off the stack, ends the connection of it. */
int h2_fail(struct mux_h2 *m, int error);
void h2_settle(struct mux_h2 *m);
void h2_wake_owner(struct mux_h2 *m);
void h2_arm(struct mux_h2 *m);

/* mux_h2_stream.c */
/* The peer breaks the rules for this stream: RST_STREAM, and what its exchange is told. */
enum io h2_malformed(struct stream_h2 *s, struct stream_fault fault) MUST_USE;
void h2_break(struct stream_h2 *s, struct stream_fault fault);
void h2_reset_with(struct stream_h2 *s, uint32_t code);
void h2_nomem(struct stream_h2 *s);
enum io h2_broken_io(struct stream_h2 *s) MUST_USE;
struct stream_fault h2_reset_by_peer(const struct mux_h2 *m);
enum io h2_begin_content(struct stream_h2 *s, const struct head *h, bool none, bool last) MUST_USE;

/* mux_h2_flood.c: counts; over the bound the connection ends. */
void h2_flood_control(struct mux_h2 *m);
void h2_flood_frame(struct mux_h2 *m, const nghttp2_frame_hd *hd);
void h2_flood_update(struct mux_h2 *m, uint32_t increment);
void h2_flood_sent(struct mux_h2 *m, uint32_t n, bool by_window);
void h2_flood_fault(struct mux_h2 *m); /* a stream ended by a fault of the peer's */

/* mux_h2_window.c: n bytes of s were taken. */
void h2_window_drained(struct stream_h2 *s, size_t n);
void h2_window_done(struct stream_h2 *s);
/* A PING was answered. False: it was none of these. */
bool h2_window_pong(struct mux_h2 *m, const uint8_t *text) MUST_USE;

/* Roles. */
void h2_server_begin(struct mux_h2 *m, const nghttp2_frame *frame);
void h2_client_settings(struct mux_h2 *m);
void h2_heard(struct mux_h2 *m, size_t n); /* n bytes were received, and fed */
void h2_silence(struct mux_h2 *m);         /* too little was */
void h2_answered(struct stream_h2 *s);     /* it waits no more: answered, broken, or given up */

/* Stream operations of both roles. */
enum io h2_recv(struct stream *s, void *p, size_t cap, size_t *ret_n);
enum io h2_send(struct stream *s, const void *p, size_t n, bool last);
enum io h2_stream_end(struct stream *s, const struct hdrs *trailers);
enum io h2_stream_flush(struct stream *s);
size_t h2_room(struct stream *s);
int h2_tunnel(struct stream *s);
int h2_fd(struct stream *s, enum stream_dir dir, uint64_t *ret_max);
void h2_moved(struct stream *s, enum stream_dir dir, uint64_t n);
void h2_failed(struct stream *s, int error);
bool h2_broken(struct stream *s);
void h2_look(struct stream *s, struct stream_look *ret_look);

/* ---- blocks and heads: mux_h2_block.c, mux_h2_head.c, mux_h2_out.c ---- */

/* What of a head is wrong. `malformed`: RFC 9113 8.1.1, the stream ends with PROTOCOL_ERROR; else it may be answered. fault.detail NULL: nothing. */
struct h2_verdict {
    struct stream_fault fault;
    bool malformed;
};
struct h2_verdict h2_head_request(const struct h2_block *b, struct arena *a, const struct h1_limits *limits, struct head **ret_head) MUST_USE;
struct h2_verdict h2_head_response(const struct h2_block *b, struct arena *a, enum method method, const struct h2_upgrade *upgrade, struct head **ret_head) MUST_USE;
struct h2_verdict h2_head_trailers(const struct h2_block *b, struct arena *a, const struct hdrs **ret_trailers) MUST_USE;
bool h2_block_interim(const struct h2_block *b);
int h2_block_add(struct h2_block **b, const struct h1_limits *limits, struct slice name, struct slice value) MUST_USE;
void h2_blocks_free(struct h2_block *b);
/* The field at *at of bytes, a copy of b's or its own; *at moves on. False: that was all. */
bool h2_block_next(const struct h2_block *b, const char *bytes, size_t *at, struct slice *ret_name, struct slice *ret_value);

/* A head as nghttp2 takes it; room for fields->n + H2_PSEUDO_MAX. */
enum { H2_PSEUDO_MAX = 8, H2_TEXT_MAX = 512 };
struct h2_out {
    nghttp2_nv *v;
    size_t n, cap;
    char text[H2_TEXT_MAX]; /* numbers, an authority */
    size_t text_n;
    bool heap;
    int err; /* ERR_NOMEM; ERR_SYNTAX: a part may not be written */
};
/* loop: its scratch buffer is free, as when an exchange sends a head; NULL: it is not, somebody's bytes may lie there. */
int h2_out_init(struct h2_out *o, struct loop *loop, uint32_t fields) MUST_USE;
void h2_out_done(struct h2_out *o);
int h2_out_request(struct h2_out *o, const struct head *h) MUST_USE;
int h2_out_response(struct h2_out *o, const struct head *h, int status, bool content) MUST_USE;
int h2_out_trailers(struct h2_out *o, const struct hdrs *trailers) MUST_USE;

#endif
