/* The client's TLS: OpenSSL between two memory buffers, so that client_link.c alone touches the socket, and SIGPIPE stays out. */
#include "proto/client_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD_BYTES = 16384,
    SEALED_BYTES = 256 << 10, /* that wait for the socket; the rest stays plain */
    CONTENT_ALERT = 21,       /* what a TLS server's first byte can be, RFC 8446, 5.1 */
    CONTENT_HANDSHAKE = 22,
};

struct dgm_client_tls {
    SSL_CTX *ctx;
    SSL *ssl;                /* NULL: no connection */
    BIO *wire_in, *wire_out; /* the SSL owns them */
    bool heard;
};

static const char *reason(void)
{
    const unsigned long e = ERR_peek_error();
    const char *text = ERR_GET_LIB(e) == ERR_LIB_SYS ? strerror((int)ERR_GET_REASON(e))
                                                     : ERR_reason_error_string(e);
    return text != NULL ? text : "OpenSSL does not say why";
}

/* ---- files ---- */

static int trust(SSL_CTX *ctx, const char *ca)
{
    if (ca == NULL || ca[0] == '\0')
        return SSL_CTX_set_default_verify_paths(ctx) == 1
                   ? DGM_OK
                   : dgm_fail(DGM_EUSAGE, "TLS: this system has no certificates to trust: %s",
                              reason());
    if (SSL_CTX_load_verify_file(ctx, ca) != 1)
        return dgm_fail(DGM_EUSAGE, "%s: want certificates to trust, in PEM: %s", ca, reason());
    return DGM_OK;
}

static int show(SSL_CTX *ctx, const char *cert, const char *key)
{
    const bool has_cert = cert != NULL && cert[0] != '\0', has_key = key != NULL && key[0] != '\0';
    if (!has_cert && !has_key)
        return DGM_OK;
    if (!has_cert || !has_key)
        return dgm_fail(DGM_EUSAGE, "TLS: want a certificate and its key, found only the %s",
                        has_cert ? "certificate" : "key");
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return dgm_fail(DGM_EUSAGE, "%s: want a certificate in PEM: %s", cert, reason());
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return dgm_fail(DGM_EUSAGE, "%s: want the key of %s, in PEM: %s", key, cert, reason());
    return DGM_OK;
}

static int set_up(SSL_CTX *ctx, const dgm_client_config *cfg)
{
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
        return dgm_fail(DGM_EINTERNAL, "OpenSSL has no TLS 1.2: %s", reason());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    DGM_TRY(trust(ctx, cfg->tls_ca));
    return show(ctx, cfg->tls_cert, cfg->tls_key);
}

int dgm_client_tls_open(dgm_client *c, const dgm_client_config *cfg)
{
    if (!cfg->tls)
        return DGM_OK;
    if (strncmp(c->address, "tcp:", 4) != 0)
        return dgm_fail(DGM_EUSAGE, "TLS: want a tcp address, found %s", c->address);
    c->tls = calloc(1, sizeof *c->tls);
    if (c->tls == NULL || (c->tls->ctx = SSL_CTX_new(TLS_client_method())) == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for TLS");
    ERR_clear_error();
    const int rc = set_up(c->tls->ctx, cfg);
    ERR_clear_error();
    return rc;
}

void dgm_client_tls_close(dgm_client *c)
{
    dgm_client_tls_end(c);
    if (c->tls != NULL)
        SSL_CTX_free(c->tls->ctx);
    free(c->tls);
    c->tls = NULL;
}

/* ---- a connection ---- */

/* expect_host - the certificate must be for the name, or the numeric address, that was asked for. */
static bool expect_host(SSL *ssl, const char *host)
{
    unsigned char number[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, number) == 1 || inet_pton(AF_INET6, host, number) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

int dgm_client_tls_begin(dgm_client *c, const char *host)
{
    dgm_client_tls *t = c->tls;
    ERR_clear_error();
    t->heard = false;
    t->ssl = SSL_new(t->ctx);
    t->wire_in = BIO_new(BIO_s_mem());
    t->wire_out = BIO_new(BIO_s_mem());
    if (t->ssl == NULL || t->wire_in == NULL || t->wire_out == NULL) {
        (void)BIO_free(t->wire_in);
        (void)BIO_free(t->wire_out);
        return dgm_fail(DGM_ENOMEM, "out of memory for TLS");
    }
    SSL_set_bio(t->ssl, t->wire_in, t->wire_out);
    if (!expect_host(t->ssl, host))
        return dgm_fail(DGM_EUSAGE, "%s: TLS cannot check for the host '%s': %s", c->address, host,
                        reason());
    SSL_set_connect_state(t->ssl);
    (void)SSL_do_handshake(t->ssl); /* its first message */
    return DGM_OK;
}

void dgm_client_tls_end(dgm_client *c)
{
    if (c->tls == NULL)
        return;
    SSL_free(c->tls->ssl);
    c->tls->ssl = NULL;
    dgm_frame_buffer_fini(&c->sealed);
}

/* take_wire - what OpenSSL wrote. */
static int take_wire(dgm_client *c)
{
    const int n = (int)BIO_pending(c->tls->wire_out);
    if (n <= 0)
        return DGM_OK;
    uint8_t *to = dgm_frame_buffer_add(&c->sealed, (size_t)n);
    if (to == NULL)
        return DGM_ENOMEM;
    const int got = BIO_read(c->tls->wire_out, to, n);
    DGM_ASSERT(got == n);
    return DGM_OK;
}

/*
 * broken - before Welcome it will not be otherwise next time: a certificate that is not trusted, or a client that is not. After
 * it the connection was disturbed, and another may do.
 */
static int broken(dgm_client *c)
{
    DGM_TRY(take_wire(c)); /* an alert tells the server */
    const long verify = SSL_get_verify_result(c->tls->ssl);
    if (c->state == DGM_CLIENT_READY)
        return dgm_client_lost(c, "TLS: %s", reason());
    if (verify != X509_V_OK)
        (void)dgm_fail(DGM_EUSAGE, "%s: TLS: the server's certificate is not trusted: %s",
                       c->address, X509_verify_cert_error_string(verify));
    else
        (void)dgm_fail(DGM_EUSAGE, "%s: TLS: %s", c->address, reason());
    return dgm_client_give_up(c, DGM_EUSAGE);
}

int dgm_client_tls_receive(dgm_client *c, const void *bytes, size_t n, bool *ended)
{
    dgm_client_tls *t = c->tls;
    const uint8_t first = *(const uint8_t *)bytes;
    if (!t->heard && first != CONTENT_HANDSHAKE && first != CONTENT_ALERT)
        return dgm_client_give_up(
            c, dgm_fail(DGM_EUSAGE, "%s: TLS: what listens there does not speak it", c->address));
    t->heard = true;
    if (n > INT_MAX || BIO_write(t->wire_in, bytes, (int)n) != (int)n)
        return dgm_fail(DGM_ENOMEM, "out of memory for TLS");
    for (;;) {
        size_t room;
        uint8_t *to = dgm_frame_reader_space(&c->reader, &room);
        if (to == NULL)
            return DGM_ENOMEM;
        ERR_clear_error();
        const int got = SSL_read(t->ssl, to, room > INT_MAX ? INT_MAX : (int)room);
        if (got > 0) {
            dgm_frame_reader_filled(&c->reader, (size_t)got);
            continue;
        }
        const int why = SSL_get_error(t->ssl, got);
        *ended = why == SSL_ERROR_ZERO_RETURN;
        return *ended || why == SSL_ERROR_WANT_READ ? DGM_OK : broken(c);
    }
}

int dgm_client_tls_seal(dgm_client *c)
{
    SSL *ssl = c->tls->ssl;
    DGM_TRY(take_wire(c));
    for (;;) {
        size_t n, waits;
        const uint8_t *from = dgm_frame_buffer_bytes(&c->out, &n);
        (void)dgm_frame_buffer_bytes(&c->sealed, &waits);
        if (n == 0 || waits >= SEALED_BYTES || !SSL_is_init_finished(ssl))
            return DGM_OK;
        const int want = n < RECORD_BYTES ? (int)n : RECORD_BYTES;
        ERR_clear_error();
        if (SSL_write(ssl, from, want) != want)
            return broken(c);
        dgm_frame_buffer_sent(&c->out, (size_t)want);
        DGM_TRY(take_wire(c));
    }
}

bool dgm_client_tls_ready(const dgm_client *c)
{
    return c->tls->ssl != NULL && SSL_is_init_finished(c->tls->ssl);
}
