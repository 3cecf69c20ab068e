/* SPDX-License-Identifier: MIT */
/* h1_frame: what Content-Length and Transfer-Encoding say about the content that follows a head
 * (RFC 9112 6.3). Called by h1_parse once a head is complete and before its connection-specific
 * fields are taken out. Fills body and length; a Content-Length that stays is one field of plain
 * digits (C43). Thread: the worker's. */
#ifndef PROTO_H1_FRAME_H
#define PROTO_H1_FRAME_H

#include "proto/h1_parse.h"

enum h1_fault h1_frame_request(struct head *h, struct arena *a,
                               enum h1_framing *ret_framing) MUST_USE;
enum h1_fault h1_frame_response(struct head *h, struct arena *a, enum method request_method,
                                enum h1_framing *ret_framing) MUST_USE;

#endif
