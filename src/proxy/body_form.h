/* SPDX-License-Identifier: MIT */
/* body_form: which of the forms that ginnel writes a client would rather read. Pure. */
#ifndef PROXY_BODY_FORM_H
#define PROXY_BODY_FORM_H

#include "proto/head.h"

enum body_form { BODY_TEXT, BODY_HTML, BODY_JSON };

/* The one that Accept (RFC 9110 12.5.1) likes best, the first of equals; text when it names none of them, or request is NULL. */
enum body_form body_form_of(const struct head *request);
/* Content-Type */
struct slice body_form_type(enum body_form form);

#endif
