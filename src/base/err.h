/* SPDX-License-Identifier: MIT */
/* err: the two vocabularies of failure. Plain functions return 0 or a negative code: -errno for the kernel's, own codes
 * below -1000. Functions that move bytes return enum io and a length. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <errno.h>

enum err {
    ERR_NOMEM = -ENOMEM,
    ERR_LIMIT = -1001,   /* a bound of ours was reached */
    ERR_SYNTAX = -1002,  /* bytes that the grammar does not have */
    ERR_RANGE = -1003,   /* a number outside its range */
    ERR_STATE = -1004,   /* the peer did something out of order */
    ERR_NOTFOUND = -1005,
    ERR_TIMEOUT = -1006,
    ERR_CLOSED = -1007,
    ERR_PORTS = -1008, /* every port towards that target is in use */
    ERR_PRIVILEGE = -1009, /* this process may not do that: a capability is missing */
    ERR_INTERFACE = -1010, /* no network interface has that name */
    ERR_TLS = -1011,       /* TLS failed: conn_tls_facts says how */
};

/* OK: n > 0 bytes were moved. AGAIN: nothing now, a wake-up follows. EOF: the orderly end. ERR: broken for good. */
enum io { IO_OK = 0, IO_AGAIN, IO_EOF, IO_ERR };

/* DONE: the thing is complete. MORE: all input used, more is needed. BAD: refused, the fault says why. */
enum parse { PARSE_DONE = 0, PARSE_MORE, PARSE_BAD };

/* A sentence for a code of either kind; static storage or strerror's. */
const char *err_text(int code);

#endif
