/*
 * OpenSSL with two memory buffers a connection: `wire_in` takes what libuv read, `wire_out` has what libuv is to write. So the
 * loop, its limits and its patience stay those of server_conn.c, and OpenSSL never waits.
 */
#include "runtime/server_tls.h"

#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD_BYTES = 16384,     /* most plain bytes of one */
    SEALED_BYTES = 256 << 10, /* that wait for libuv; the rest stays plain */
    CONTENT_HANDSHAKE = 22,   /* the first byte of every TLS connection, RFC 8446, 5.1 */
};

struct dgm_tls_keys {
    SSL_CTX *ctx;
};

struct dgm_tls {
    SSL *ssl;
    BIO *wire_in, *wire_out; /* the SSL owns them */
    bool heard, failed, said_end;
};

/* reason - of OpenSSL's first error since they were cleared; those behind it say where it was found. */
static const char *reason(void)
{
    const unsigned long e = ERR_peek_error();
    const char *text = ERR_GET_LIB(e) == ERR_LIB_SYS ? strerror((int)ERR_GET_REASON(e))
                                                     : ERR_reason_error_string(e);
    return text != NULL ? text : "OpenSSL does not say why";
}

/* ---- keys ---- */

/* no_passphrase - a server has nobody to ask. */
static int no_passphrase(char *to, int size, int writing, void *ctx)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

static void warn_expired(const SSL_CTX *ctx, const char *path)
{
    const X509 *cert = SSL_CTX_get0_certificate(ctx);
    if (cert != NULL && X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        dgm_log(DGM_LOG_WARN, "serve", "--tls-cert %s: the certificate has expired", path);
}

static int ask_clients(SSL_CTX *ctx, const char *path)
{
    if (path[0] == '\0')
        return DGM_OK;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
    if (names == NULL || SSL_CTX_load_verify_file(ctx, path) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return dgm_fail(DGM_EUSAGE, "--tls-client-ca %s: want certificates in PEM: %s", path,
                        reason());
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return DGM_OK;
}

static int set_up(SSL_CTX *ctx, const dgm_tls_files *f)
{
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
        return dgm_fail(DGM_EINTERNAL, "OpenSSL has no TLS 1.2: %s", reason());
    /* No sessions to resume: connections last, and nothing is kept of those that are gone. */
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* 34 KB of each idle connection */
    if (SSL_CTX_use_certificate_chain_file(ctx, f->cert) != 1)
        return dgm_fail(DGM_EUSAGE, "--tls-cert %s: want a certificate in PEM: %s", f->cert,
                        reason());
    if (SSL_CTX_use_PrivateKey_file(ctx, f->key, SSL_FILETYPE_PEM) != 1)
        return dgm_fail(DGM_EUSAGE,
                        "--tls-key %s: want the key of --tls-cert, in PEM and without a "
                        "passphrase: %s",
                        f->key, reason());
    warn_expired(ctx, f->cert);
    return ask_clients(ctx, f->client_ca);
}

int dgm_tls_keys_read(dgm_tls_keys **out, const dgm_tls_files *files)
{
    if (files->cert[0] == '\0' || files->key[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "TLS: want --tls-cert and --tls-key, found only %s",
                        files->cert[0] != '\0'  ? "--tls-cert"
                        : files->key[0] != '\0' ? "--tls-key"
                                                : "--tls-client-ca");
    ERR_clear_error();
    dgm_tls_keys *k = calloc(1, sizeof *k);
    if (k == NULL || (k->ctx = SSL_CTX_new(TLS_server_method())) == NULL) {
        free(k);
        return dgm_fail(DGM_ENOMEM, "out of memory for TLS");
    }
    const int rc = set_up(k->ctx, files);
    ERR_clear_error();
    if (rc == DGM_OK)
        *out = k;
    else
        dgm_tls_keys_destroy(k);
    return rc;
}

void dgm_tls_keys_destroy(dgm_tls_keys *k)
{
    if (k != NULL)
        SSL_CTX_free(k->ctx);
    free(k);
}

/* ---- a connection ---- */

int dgm_tls_begin(dgm_tls **out, dgm_tls_keys *k)
{
    dgm_tls *t = calloc(1, sizeof *t);
    if (t == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for TLS");
    t->ssl = SSL_new(k->ctx);
    t->wire_in = BIO_new(BIO_s_mem());
    t->wire_out = BIO_new(BIO_s_mem());
    if (t->ssl == NULL || t->wire_in == NULL || t->wire_out == NULL) {
        SSL_free(t->ssl);
        (void)BIO_free(t->wire_in);
        (void)BIO_free(t->wire_out);
        free(t);
        return dgm_fail(DGM_ENOMEM, "out of memory for TLS");
    }
    SSL_set_bio(t->ssl, t->wire_in, t->wire_out);
    SSL_set_accept_state(t->ssl);
    *out = t;
    return DGM_OK;
}

void dgm_tls_destroy(dgm_tls *t)
{
    if (t != NULL)
        SSL_free(t->ssl);
    free(t);
}

/* broken - its sentence; what OpenSSL wants to say of it is in wire_out. */
static int broken(dgm_tls *t)
{
    const long verify = SSL_get_verify_result(t->ssl);
    t->failed = true;
    if (verify != X509_V_OK)
        return dgm_fail(DGM_EINPUT, "TLS: the client's certificate: %s",
                        X509_verify_cert_error_string(verify));
    return dgm_fail(DGM_EINPUT, "TLS: %s", reason());
}

/* open_records - until OpenSSL wants more bytes. The handshake goes on in here, too. */
static int open_records(dgm_tls *t, dgm_frame_reader *in)
{
    for (;;) {
        size_t room;
        uint8_t *to = dgm_frame_reader_space(in, &room);
        if (to == NULL)
            return DGM_ENOMEM;
        ERR_clear_error();
        const int n = SSL_read(t->ssl, to, room > INT_MAX ? INT_MAX : (int)room);
        if (n > 0) {
            dgm_frame_reader_filled(in, (size_t)n);
            continue;
        }
        switch (SSL_get_error(t->ssl, n)) {
        case SSL_ERROR_WANT_READ:
            return DGM_OK;
        case SSL_ERROR_ZERO_RETURN:
            return dgm_fail(DGM_EPEER, "the client ended TLS");
        default:
            return broken(t);
        }
    }
}

int dgm_tls_receive(dgm_tls *t, dgm_frame_reader *in, const void *bytes, size_t n)
{
    if (t->failed || n == 0)
        return DGM_OK;
    if (!t->heard && *(const uint8_t *)bytes != CONTENT_HANDSHAKE)
        return dgm_fail(DGM_EUNSUPPORTED, "this address wants TLS, and what came is none");
    t->heard = true;
    if (n > INT_MAX || BIO_write(t->wire_in, bytes, (int)n) != (int)n)
        return dgm_fail(DGM_ENOMEM, "out of memory for TLS");
    return open_records(t, in);
}

/* take_wire - what OpenSSL wrote, into `sealed`. */
static int take_wire(dgm_tls *t, dgm_frame_buffer *sealed)
{
    const int n = (int)BIO_pending(t->wire_out);
    if (n <= 0)
        return DGM_OK;
    uint8_t *to = dgm_frame_buffer_add(sealed, (size_t)n);
    if (to == NULL)
        return DGM_ENOMEM;
    const int got = BIO_read(t->wire_out, to, n);
    DGM_ASSERT(got == n);
    return DGM_OK;
}

static void drop(dgm_frame_buffer *b)
{
    size_t n;
    (void)dgm_frame_buffer_bytes(b, &n);
    dgm_frame_buffer_sent(b, n);
}

static int seal_record(dgm_tls *t, dgm_frame_buffer *out, const uint8_t *from, size_t n)
{
    const int want = n < RECORD_BYTES ? (int)n : RECORD_BYTES;
    ERR_clear_error();
    if (SSL_write(t->ssl, from, want) != want)
        return dgm_fail(DGM_EINTERNAL, "TLS: %d bytes are not sealed: %s", want, reason());
    dgm_frame_buffer_sent(out, (size_t)want);
    return DGM_OK;
}

int dgm_tls_seal(dgm_tls *t, dgm_frame_buffer *sealed, dgm_frame_buffer *out, bool last)
{
    const bool open = SSL_is_init_finished(t->ssl) && !t->failed && !t->said_end;
    if (!open && (last || t->failed))
        drop(out);
    DGM_TRY(take_wire(t, sealed));
    for (;;) {
        size_t n, waits;
        const uint8_t *from = dgm_frame_buffer_bytes(out, &n);
        (void)dgm_frame_buffer_bytes(sealed, &waits);
        if (!open || n == 0 || waits >= SEALED_BYTES)
            break;
        DGM_TRY(seal_record(t, out, from, n));
        DGM_TRY(take_wire(t, sealed));
    }
    size_t left;
    (void)dgm_frame_buffer_bytes(out, &left);
    if (open && last && left == 0) {
        t->said_end = true;
        ERR_clear_error();
        (void)SSL_shutdown(t->ssl);
        DGM_TRY(take_wire(t, sealed));
    }
    return DGM_OK;
}

size_t dgm_tls_unsent(const dgm_tls *t)
{
    return (size_t)BIO_pending(t->wire_out);
}
