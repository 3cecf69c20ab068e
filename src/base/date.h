/* SPDX-License-Identifier: MIT */
/* date: IMF-fixdate (RFC 9110 5.6.7) and RFC 3339, without the C library's locale or time zone. */
#ifndef BASE_DATE_H
#define BASE_DATE_H

#include <stddef.h>
#include <stdint.h>

enum { DATE_HTTP_LEN = 29, DATE_ISO_LEN = 24 };

/* "Sun, 06 Nov 1994 08:49:37 GMT", NUL behind it. unix_s: seconds since 1970. */
void date_http(uint64_t unix_s, char out[DATE_HTTP_LEN + 1]);
/* "1994-11-06T08:49:37.123Z", NUL behind it. */
void date_iso(uint64_t unix_ms, char out[DATE_ISO_LEN + 1]);

#endif
