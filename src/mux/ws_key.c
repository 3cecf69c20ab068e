/* SPDX-License-Identifier: MIT */
/* ws_key: Sec-WebSocket-Key and what answers it. Called by the muxes that go between HTTP/1 and HTTP/2. It keeps no secret: the key is a proof that the
 * other end speaks the protocol, nothing more.
 */
#include "mux/ws_key.h"

/* Not base/err.h: OpenSSL has taken some of its names. */
#include <errno.h>
#include <openssl/evp.h>
#include <sys/random.h>

enum { NONCE = 16, SHA1_LEN = 20 };
_Static_assert(WS_KEY_LEN == (NONCE + 2) / 3 * 4 && WS_ACCEPT_LEN == (SHA1_LEN + 2) / 3 * 4, "what base64 makes of them");

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

int ws_key_new(char ret_key[WS_KEY_LEN + 1])
{
    unsigned char nonce[NONCE];

    if (getrandom(nonce, sizeof(nonce), GRND_NONBLOCK) != (ssize_t)sizeof(nonce))
        return -errno;
    EVP_EncodeBlock((unsigned char *)ret_key, nonce, sizeof(nonce));
    return 0;
}

int ws_key_accept(struct slice key, char ret_accept[WS_ACCEPT_LEN + 1])
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    int ok;

    ok = c && EVP_DigestInit_ex(c, EVP_sha1(), NULL) && EVP_DigestUpdate(c, key.p, key.n) && EVP_DigestUpdate(c, guid, sizeof(guid) - 1) &&
         EVP_DigestFinal_ex(c, digest, &n) && n == SHA1_LEN;
    EVP_MD_CTX_free(c);
    if (!ok)
        return -ENOMEM;
    EVP_EncodeBlock((unsigned char *)ret_accept, digest, SHA1_LEN);
    return 0;
}
