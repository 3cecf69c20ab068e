/* SPDX-License-Identifier: MIT */
/* tls_auto: the certificate of `tls: auto`: self-signed, kept in the state directory, made when there is none that will do for another 30 days. Whoever wants to trust it copies
 * the file, or compares its fingerprint. Owner: the server. Thread: the house's. */
#ifndef APP_TLS_AUTO_H
#define APP_TLS_AUTO_H

#include "app/conf.h"
#include "app/quota_file.h"

enum { TLS_AUTO_DAYS = 365, TLS_AUTO_LEAST_DAYS = 30, TLS_AUTO_NAMES = 64, TLS_FINGERPRINT_TEXT = 32 * 3 };

struct policy;

/* Zeroed: there is none yet. */
struct tls_auto {
    char *cert, *key; /* PEM; mem_* */
    int64_t not_after_s;
    char path[QUOTA_PATH + 32]; /* of the certificate for others; empty: it could not be kept */
    char names[sizeof(((struct tls_cert_info *)0)->names)];
    char fingerprint[TLS_FINGERPRINT_TEXT]; /* SHA-256, "AB:CD:…"; empty: none is in use */
};

/* Where one of them wants it: finds or makes the certificate, and lets the first of its pairs point to it, until the next call. This machine's name and the listeners' addresses
 * (policy's) are its names. What is made, and what cannot be kept, is said. ERR_NOMEM. */
int tls_auto_prepare(struct tls_auto *a, struct conf_tls *const *v, unsigned n, const struct policy *p) MUST_USE;
/* Whether it has to be made anew now: it is about to expire, or somebody has removed it. */
bool tls_auto_is_old(const struct tls_auto *a);
void tls_auto_done(struct tls_auto *a);

#endif
