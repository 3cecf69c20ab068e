/* SPDX-License-Identifier: MIT */
/* tls_tickets: what session tickets are sealed with, so that a client may resume with any worker, and with any machine of a fleet that shares a file.
 * A key is a name of 16 bytes that stands in the ticket, 32 for HMAC-SHA256, 32 for AES-256-CBC (RFC 5077 4). The first seals, all open; a ticket that
 * another than the first opens is renewed. Called by OpenSSL within handshakes, and by who holds the timer.
 */
#include "io/tls_inside.h"

#include "base/check.h"
#include "base/err.h"
#include "base/secret.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/random.h>

struct key {
    unsigned char name[16], mac[32], cipher[32];
};
_Static_assert(sizeof(struct key) == TLS_TICKET_KEY, "a ticket's key is 80 bytes");

struct tls_tickets {
    unsigned magic;
    _Atomic unsigned refs;
    pthread_mutex_t lock; /* held for a copy of a key */
    struct key keys[TLS_TICKET_KEYS];
    unsigned n;
};
#define TICKETS_MAGIC 0x71cce701u

static int draw(struct key *k)
{
    return getrandom(k, sizeof(*k), 0) == (ssize_t)sizeof(*k) ? 0 : ERR_NOMEM;
}

struct tls_tickets *tls_tickets_new(void)
{
    struct tls_tickets *t;

    tls_begin();
    t = tls_zalloc(sizeof(*t));
    if (!t)
        return NULL;
    t->magic = TICKETS_MAGIC;
    atomic_init(&t->refs, 1);
    pthread_mutex_init(&t->lock, NULL);
    t->n = 1;
    if (draw(&t->keys[0]) == 0)
        return t;
    tls_tickets_unref(t);
    return NULL;
}

int tls_tickets_set(struct tls_tickets *t, const void *keys, unsigned n)
{
    if (n < 1 || n > TLS_TICKET_KEYS)
        return ERR_RANGE;
    pthread_mutex_lock(&t->lock);
    secret_wipe(slice_of(t->keys, sizeof(t->keys)));
    memcpy(t->keys, keys, n * sizeof(struct key));
    t->n = n;
    pthread_mutex_unlock(&t->lock);
    return 0;
}

int tls_tickets_rotate(struct tls_tickets *t)
{
    struct key fresh;
    int r = draw(&fresh);

    if (r < 0)
        return r;
    pthread_mutex_lock(&t->lock);
    memmove(&t->keys[1], &t->keys[0], sizeof(t->keys) - sizeof(t->keys[0]));
    t->keys[0] = fresh;
    if (t->n < TLS_TICKET_KEYS)
        t->n++;
    pthread_mutex_unlock(&t->lock);
    secret_wipe(slice_of(&fresh, sizeof(fresh)));
    return 0;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *t)
{
    OBJ_CHECK(t, TICKETS_MAGIC);
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_tickets_unref(struct tls_tickets *t)
{
    if (!t)
        return;
    OBJ_CHECK(t, TICKETS_MAGIC);
    if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
        return;
    pthread_mutex_destroy(&t->lock);
    secret_wipe(slice_of(t->keys, sizeof(t->keys)));
    t->magic = OBJ_DEAD;
    tls_free(t);
}

/* ---- use ---- */

/* Which key has that name (NULL: the one that seals); its index, or -1. */
static int find_key(struct tls_tickets *t, const unsigned char *name, struct key *ret_key)
{
    int found = -1;

    pthread_mutex_lock(&t->lock);
    for (unsigned i = 0; i < t->n && found < 0; i++)
        if (!name || memcmp(t->keys[i].name, name, sizeof(t->keys[i].name)) == 0)
            found = (int)i;
    if (found >= 0)
        *ret_key = t->keys[found];
    pthread_mutex_unlock(&t->lock);
    return found;
}

static bool set_mac(EVP_MAC_CTX *mac, struct key *k)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

enum { TICKET_FAILED = -1, TICKET_UNKNOWN = 0, TICKET_FINE = 1, TICKET_RENEW = 2 };

static int with_key(const struct tls_ctx *c, struct key *k, int index, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    if (!EVP_DecryptInit_ex(cipher, c->lib->ticket_cipher, NULL, k->cipher, iv) || !set_mac(mac, k))
        return TICKET_FAILED;
    return index == 0 ? TICKET_FINE : TICKET_RENEW;
}

static int seal(const struct tls_ctx *c, struct key *k, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    memcpy(name, k->name, sizeof(k->name));
    if (RAND_bytes_ex(c->lib->ctx, iv, (size_t)EVP_CIPHER_get_iv_length(c->lib->ticket_cipher), 0) != 1 ||
        !EVP_EncryptInit_ex(cipher, c->lib->ticket_cipher, NULL, k->cipher, iv) || !set_mac(mac, k))
        return TICKET_FAILED;
    return TICKET_FINE;
}

static int use_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
    /* What was agreed first holds the tickets: the context that the SSL was made from. */
    struct tls_ctx *c = tls_ctx_of(ssl);
    struct key k;
    int index = find_key(c->server.tickets, sealing ? NULL : name, &k), r;

    if (index < 0)
        return TICKET_UNKNOWN;
    r = sealing ? seal(c, &k, name, iv, cipher, mac) : with_key(c, &k, index, iv, cipher, mac);
    secret_wipe(slice_of(&k, sizeof(k)));
    return r;
}

int tls_tickets_use(struct tls_ctx *c, struct tls_tickets *t)
{
    c->server.tickets = tls_tickets_ref(t);
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(c->ssl, use_key) ? 0 : ERR_NOMEM;
}
