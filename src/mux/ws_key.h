/* SPDX-License-Identifier: MIT */
/* ws_key: the two values that make a WebSocket's handshake one over HTTP/1 (RFC 6455 4.1, 4.2.2). Over HTTP/2 there are none (RFC 8441 5), so whoever goes
 * between makes and checks them. No I/O. Thread: any. */
#ifndef MUX_WS_KEY_H
#define MUX_WS_KEY_H

#include "base/slice.h"

enum { WS_KEY_LEN = 24, WS_ACCEPT_LEN = 28 };

/* A new Sec-WebSocket-Key, NUL behind it. -errno where there are no random bytes. */
int ws_key_new(char ret_key[WS_KEY_LEN + 1]) MUST_USE;
/* The Sec-WebSocket-Accept that answers a key, NUL behind it. The key as it was received: no judgement. -ENOMEM. */
int ws_key_accept(struct slice key, char ret_accept[WS_ACCEPT_LEN + 1]) MUST_USE;

#endif
