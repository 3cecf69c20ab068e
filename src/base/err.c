/* SPDX-License-Identifier: MIT */
/* err: the sentences of the error codes, for log lines and messages at start. Nothing decides by
 * them.
 */
#include "base/err.h"

#include <string.h>

const char *err_text(int code)
{
    switch (code) {
    case 0:
        return "success";
    case ERR_LIMIT:
        return "a limit was reached";
    case ERR_SYNTAX:
        return "malformed";
    case ERR_RANGE:
        return "out of range";
    case ERR_STATE:
        return "out of order";
    case ERR_NOTFOUND:
        return "not found";
    case ERR_TIMEOUT:
        return "timed out";
    case ERR_CLOSED:
        return "closed";
    case ERR_PORTS:
        return "no port is free";
    case ERR_PRIVILEGE:
        return "not permitted to this process";
    case ERR_INTERFACE:
        return "no such network interface";
    case ERR_TLS:
        return "TLS failed";
    default:
        /* Both C libraries keep strerror's answer per thread or in constants. */
        return code < 0 && code > ERR_LIMIT ? strerror(-code) : "unknown error";
    }
}
