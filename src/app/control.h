/* SPDX-License-Identifier: MIT */
/* control: the near side of the control socket: where it is, and one question over it. The socket
 * speaks HTTP/1.1; what can be asked is in ginnel(1). Blocking, with a deadline. Thread: main's of
 * a command; control_default_path also serve's. */
#ifndef APP_CONTROL_H
#define APP_CONTROL_H

#include "app/conf.h"

#include <sys/un.h>

enum {
    CONTROL_PATH = sizeof(((struct sockaddr_un *)NULL)->sun_path),
    CONTROL_WHY = 512,
    CONTROL_DEADLINE_MS = 10 * 1000,
    CONTROL_RELOAD_MS = 60 * 1000,
    CONTROL_BODY_MAX = 64 << 20,
};

/* Where the socket is without `control`: $RUNTIME_DIRECTORY/control.sock (the first of a list of
 * directories), for root /run/ginnel/control.sock, else $XDG_RUNTIME_DIR/ginnel/control.sock.
 * ERR_NOTFOUND: none of these; ERR_LIMIT: longer than a socket's path may be. */
int control_default_path(char ret_path[CONTROL_PATH]) MUST_USE;
/* The same after the configuration (NULL: as if it said nothing). On failure why is a sentence:
 * ERR_STATE `control: off`, ERR_NOTFOUND, ERR_LIMIT. */
int control_path(const struct conf *c, char ret_path[CONTROL_PATH],
                 char ret_why[CONTROL_WHY]) MUST_USE;

struct control_question {
    const char *path; /* of the socket */
    const char *method, *target, *accept;
    uint64_t deadline_ms;
    FILE *tell; /* a terminal that is told when it takes longer than a second; NULL: nobody */
};

struct control_reply {
    int status;
    char *body; /* with a NUL behind it, which does not count; freed by control_reply_done */
    size_t n;
};

/* Asks and reads the whole answer. 0; or, with a sentence in why: the kernel's -ENOENT,
 * -ECONNREFUSED, -EACCES and the like from connecting, ERR_TIMEOUT, ERR_CLOSED the answer ends
 * early, ERR_SYNTAX it is no HTTP, ERR_LIMIT it is larger than CONTROL_BODY_MAX, ERR_NOMEM. */
int control_ask(const struct control_question *q, struct control_reply *ret_reply,
                char ret_why[CONTROL_WHY]) MUST_USE;
void control_reply_done(struct control_reply *r);

#endif
