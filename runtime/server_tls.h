/*
 * server_tls.h - TLS between a socket's bytes and a connection's frames: what is received is opened, what is to be sent is
 * sealed, all in memory. Nothing here reads or writes a socket.
 *
 * Thread: the net thread; dgm_tls_keys_read also before it starts.
 */
#ifndef DGM_RUNTIME_SERVER_TLS_H
#define DGM_RUNTIME_SERVER_TLS_H

#include "proto/frame.h"

#include <stdbool.h>

typedef struct dgm_tls_keys dgm_tls_keys; /* of the server: certificate, key, and who may come */
typedef struct dgm_tls dgm_tls;           /* of a connection */

typedef struct dgm_tls_files {
    const char *cert, *key; /* PEM; the certificate first, then those that lead to its root */
    const char *client_ca;  /* clients show a certificate of these; "": they need none */
} dgm_tls_files;

/* dgm_tls_keys_read - TLS 1.2 and later. *out is written only on DGM_OK. DGM_EUSAGE: files that are not what they should be. */
DGM_MUST_CHECK int dgm_tls_keys_read(dgm_tls_keys **out, const dgm_tls_files *files);
/* dgm_tls_keys_destroy - connections that were begun with them keep them. NULL is fine. */
void dgm_tls_keys_destroy(dgm_tls_keys *k);

/* dgm_tls_begin - a connection that has said nothing yet. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_tls_begin(dgm_tls **out, dgm_tls_keys *k);
void dgm_tls_destroy(dgm_tls *t);

/*
 * dgm_tls_receive - opens what was received, all of it, into `in`; an incomplete record waits inside.
 * DGM_OK; DGM_EINPUT: no TLS, or against its rules: nothing more is read, what is to be said of that waits to be sealed;
 * DGM_EUNSUPPORTED: the first byte is not of TLS, and nothing was said; DGM_EPEER: the peer said that it ends; DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_tls_receive(dgm_tls *t, dgm_frame_reader *in, const void *bytes, size_t n);

/*
 * dgm_tls_seal - from `out` into `sealed`, up to some 256 KiB at once, and what the handshake has to say. With `last` nothing
 * follows: then, or when it failed, what cannot be sealed is dropped from `out`, and the peer is told the end. DGM_ENOMEM,
 * DGM_EINTERNAL: the connection has to be closed.
 */
DGM_MUST_CHECK int dgm_tls_seal(dgm_tls *t, dgm_frame_buffer *sealed, dgm_frame_buffer *out,
                                bool last);
/* dgm_tls_unsent - bytes that wait inside to be sealed into. */
size_t dgm_tls_unsent(const dgm_tls *t);

#endif
