/* SPDX-License-Identifier: MIT */
/* openssl: its headers, for tls*.c, conn_tls*.c and their tests alone. A type of theirs has the name of a constant of base/err.h. */
#ifndef IO_OPENSSL_H
#define IO_OPENSSL_H

#define ERR_STATE openssl_err_state
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#undef ERR_STATE

#endif
