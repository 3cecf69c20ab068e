/* SPDX-License-Identifier: MIT */
/* users_guesses: how often a client may be wrong. A bucket of ten a client (an IPv4 address, an IPv6 /64, a user of this machine), on the board, so that all
 * workers know it; a wrong password takes a token, which comes back in six seconds. While a password is being verified its token is held, so that nobody gets more
 * tries by asking at the same time. Thread: any. */
#ifndef PROXY_USERS_GUESSES_H
#define PROXY_USERS_GUESSES_H

#include "base/board.h"
#include "io/addr.h"

enum { USERS_GUESSES = 10, USERS_GUESS_MS = 6000 };

enum { USERS_CLIENT_MAX = 17 };
struct users_client {
    unsigned n;
    unsigned char key[USERS_CLIENT_MAX];
};

/* uid: of the peer of a Unix socket; not looked at for others. */
struct users_client users_client(const struct addr *a, uint32_t uid);

/* MAY: a token is held until users_guesses_end. HELD: those that are left are held by others, who will soon know. NONE: *ret_wait_ms until there is one. */
enum users_guess { USERS_GUESS_MAY = 0, USERS_GUESS_HELD, USERS_GUESS_NONE };
enum users_guess users_guesses_begin(struct board *b, const struct users_client *c, uint64_t now_ms, uint64_t *ret_wait_ms);
/* wrong: the token is gone; else it goes back. */
void users_guesses_end(struct board *b, const struct users_client *c, uint64_t now_ms, bool wrong);

#endif
