/* SPDX-License-Identifier: MIT */
/* phrase: reason phrases (RFC 9110 15) of the statuses that ginnel itself answers with; "Unknown" for any other. Pure. */
#ifndef PROTO_PHRASE_H
#define PROTO_PHRASE_H

const char *phrase_of(int status);

#endif
