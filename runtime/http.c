#include "runtime/http.h"

#include "base/log.h"
#include "runtime/address.h"
#include "runtime/http_guests.h"
#include "runtime/http_metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_S = 10 };

struct dgm_http {
    dgm_http_config cfg;
    dgm_http_guests guests;
    struct MHD_Daemon *daemon;
};

static enum MHD_Result answer(struct MHD_Connection *c, unsigned code, const char *type, char *text,
                              size_t len)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_COPY);
    if (r == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    const enum MHD_Result rc = MHD_queue_response(c, code, r);
    MHD_destroy_response(r);
    return rc;
}

static enum MHD_Result probe(struct MHD_Connection *c, const dgm_http *h, bool ready)
{
    char text[600];
    const dgm_serving_health is = dgm_serving_look(h->cfg.gauge, h->cfg.requests);
    const bool well = ready ? is.state == DGM_SERVING_READY : is.alive;
    const int n =
        snprintf(text, sizeof text, "%s%s\n",
                 !well && is.state == DGM_SERVING_STALLED ? "stalled: " : "", well ? "ok" : is.why);
    return answer(c, well ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain", text,
                  (size_t)n);
}

static enum MHD_Result metrics_page(struct MHD_Connection *c, const dgm_http *h)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (f == NULL)
        return MHD_NO;
    dgm_http_metrics(f, &h->cfg);
    enum MHD_Result rc = MHD_NO;
    if (fclose(f) == 0)
        rc = answer(c, MHD_HTTP_OK, "text/plain; version=0.0.4", text, len);
    free(text);
    return rc;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    const dgm_http *h = ctx;
    char none[] = "want /metrics, /healthz or /readyz\n", get[] = "want GET\n";
    (void)version;
    (void)upload;
    (void)state;
    if (*upload_size > 0) { /* of no interest */
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return answer(c, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", get, sizeof get - 1);
    if (strcmp(url, "/metrics") == 0)
        return metrics_page(c, h);
    if (strcmp(url, "/healthz") == 0)
        return probe(c, h, false);
    if (strcmp(url, "/readyz") == 0)
        return probe(c, h, true);
    return answer(c, MHD_HTTP_NOT_FOUND, "text/plain", none, sizeof none - 1);
}

static int start(dgm_http *h, const struct sockaddr *at)
{
    const char *address = h->cfg.address;
    const unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO |
                           (at->sa_family == AF_INET6 ? MHD_USE_IPv6 : 0U);
    errno = 0;
    h->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, h, MHD_OPTION_SOCK_ADDR, at, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)DGM_HTTP_GUESTS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
        MHD_OPTION_NOTIFY_CONNECTION, dgm_http_guests_notify, &h->guests, MHD_OPTION_END);
    if (h->daemon == NULL)
        return dgm_fail(DGM_EUSAGE, "--http %s: %s", address,
                        errno != 0 ? strerror(errno) : "cannot listen there");
    const union MHD_DaemonInfo *port = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
    dgm_log(DGM_LOG_INFO, "serve", "http://%.*s:%u/metrics, /healthz, /readyz",
            (int)(strrchr(address, ':') - address), address, port == NULL ? 0U : port->port);
    return DGM_OK;
}

int dgm_http_open(dgm_http **out, const dgm_http_config *cfg)
{
    struct sockaddr_storage at;
    *out = NULL;
    DGM_TRY(dgm_address_resolve(&at, "--http", cfg->address, cfg->address,
                                cfg->insecure ? NULL
                                              : "TLS and tokens, which these pages do not have"));
    dgm_http *h = calloc(1, sizeof *h);
    if (h == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for --http");
    h->cfg = *cfg;
    dgm_http_guests_init(&h->guests);
    const int rc = start(h, (const struct sockaddr *)&at);
    if (rc != DGM_OK) {
        free(h);
        return rc;
    }
    *out = h;
    return DGM_OK;
}

void dgm_http_close(dgm_http *h)
{
    if (h == NULL)
        return;
    MHD_stop_daemon(h->daemon);
    free(h);
}
