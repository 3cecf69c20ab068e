/* SPDX-License-Identifier: MIT */
/* raw: a stream in tunnel mode over a wire: plain bytes, whatever they mean. Shared by the h1 mux after CONNECT or 101 and by
 * streams over bare conns. `client` says whose side it is: the fault then names the client or the origin. */
#ifndef MUX_RAW_H
#define MUX_RAW_H

#include "mux/stream.h"
#include "mux/wire.h"

struct raw {
    struct stream *stream;
    struct wire *wire;
    bool client;
};

enum io raw_recv(struct raw r, void *p, size_t cap, size_t *ret_n) MUST_USE;
enum io raw_send(struct raw r, const void *p, size_t n, bool last) MUST_USE;
enum io raw_end(struct raw r) MUST_USE;
/* A splice on the wire's descriptor moved n bytes, or met the end (n = 0). */
void raw_moved(struct raw r, enum stream_dir dir, uint64_t n);
/* Notes that the connection broke; returns IO_ERR. */
enum io raw_broken(struct raw r) MUST_USE;

#endif
