/*
 * http.h - /metrics for Prometheus, /healthz and /readyz for probes, while the engine computes.
 *
 * A thread of libmicrohttpd's own, which looks at what other threads count and disturbs nobody. GET and HEAD alone; loopback unless
 * the operator says otherwise.
 */
#ifndef DGM_RUNTIME_HTTP_H
#define DGM_RUNTIME_HTTP_H

#include "runtime/server.h"

typedef struct dgm_http dgm_http;

typedef struct dgm_http_config {
    const char *address; /* HOST:PORT */
    bool insecure;       /* beyond loopback is allowed */
    dgm_requests *requests;
    dgm_serving_gauge *gauge;
    const dgm_server *server;
    const char *version, *isa;
} dgm_http_config;

/* dgm_http_open - answers from now on. DGM_EUSAGE: the address. */
DGM_MUST_CHECK int dgm_http_open(dgm_http **out, const dgm_http_config *cfg);
void dgm_http_close(dgm_http *h);

#endif
