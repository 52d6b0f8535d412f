#include "runtime/http.h"

#include "base/clock.h"
#include "base/log.h"
#include "runtime/address.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS = 32, TIMEOUT_S = 10 };

struct dgm_http {
    dgm_http_config cfg;
    struct MHD_Daemon *daemon;
};

/* ---- the page of metrics ---- */

static void head(FILE *f, const char *name, const char *type, const char *help)
{
    (void)fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(FILE *f, const char *name, const char *type, const char *help, double value)
{
    head(f, name, type, help);
    (void)fprintf(f, "%s %.17g\n", name, value);
}

static void histogram(FILE *f, const char *name, const char *help, const dgm_histogram *h)
{
    uint64_t n = 0;
    head(f, name, "histogram", help);
    for (int i = 0; i <= DGM_HISTOGRAM_BOUNDS; i++) {
        n += atomic_load(&h->at[i]);
        if (i < DGM_HISTOGRAM_BOUNDS)
            (void)fprintf(f, "%s_bucket{le=\"%g\"} %llu\n", name, dgm_histogram_bounds[i],
                          (unsigned long long)n);
    }
    (void)fprintf(f, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name,
                  (unsigned long long)n, name, (double)atomic_load(&h->sum_ns) * 1e-9, name,
                  (unsigned long long)n);
}

static void queue_metrics(FILE *f, const dgm_http *h)
{
    static const char *const ends[] = {"done", "cancelled", "timed_out", "failed"};
    const dgm_requests_state q = dgm_requests_look(h->cfg.requests);
    one(f, "dragoman_connections", "gauge", "Clients that are connected.",
        atomic_load(h->cfg.connections));
    one(f, "dragoman_queue_tokens", "gauge", "Source tokens admitted and not yet answered.",
        (double)q.tokens);
    one(f, "dragoman_queue_segments", "gauge", "Segments that wait for the engine.", q.waiting);
    one(f, "dragoman_computing_segments", "gauge", "Segments that the engine has.", q.computing);
    one(f, "dragoman_segments_admitted_total", "counter", "Segments taken into the queue.",
        (double)q.admitted);
    one(f, "dragoman_segments_refused_total", "counter",
        "Segments refused because the queue was full.", (double)q.refused);
    head(f, "dragoman_segments_total", "counter", "Segments that left, by how.");
    for (int i = 0; i <= DGM_REQUEST_FAILED; i++)
        (void)fprintf(f, "dragoman_segments_total{end=\"%s\"} %llu\n", ends[i],
                      (unsigned long long)q.by_end[i]);
}

static void engine_metrics(FILE *f, const dgm_serving_gauge *g)
{
    head(f, "dragoman_lines_total", "counter", "Segments that were computed, by status.");
    for (int i = 0; i < DGM_LINE_STATUSES; i++)
        (void)fprintf(f, "dragoman_lines_total{status=\"%s\"} %llu\n",
                      dgm_line_status_name((enum dgm_line_status)i),
                      (unsigned long long)atomic_load(&g->flagged[i]));
    head(f, "dragoman_retried_lines_total", "counter",
         "Segments decoded twice (--retry checks), by which was given.");
    for (int i = 0; i < 2; i++)
        (void)fprintf(f, "dragoman_retried_lines_total{given=\"%s\"} %llu\n",
                      i == 0 ? "first" : "second", (unsigned long long)atomic_load(&g->retried[i]));
    one(f, "dragoman_batch_segments", "gauge", "Parts of segments in the engine's batch.",
        atomic_load(&g->in_flight));
    one(f, "dragoman_batch_slots", "gauge", "How many fit.", atomic_load(&g->slots));
    one(f, "dragoman_source_tokens_total", "counter", "Source tokens of finished parts.",
        (double)atomic_load(&g->src_tokens));
    one(f, "dragoman_target_tokens_total", "counter", "Tokens of their translations.",
        (double)atomic_load(&g->tgt_tokens));
    one(f, "dragoman_engine_steps_total", "counter", "Steps of the engine.",
        (double)atomic_load(&g->steps));
    one(f, "dragoman_engine_tick_age_seconds", "gauge", "Since the engine's last round.",
        (double)(dgm_now_ns() - atomic_load(&g->tick_ns)) * 1e-9);
    histogram(f, "dragoman_step_seconds", "How long a step takes.", &g->step);
    histogram(f, "dragoman_queue_seconds", "How long a segment waits for the engine.", &g->queue);
    histogram(f, "dragoman_compute_seconds", "How long a segment is in the engine.", &g->compute);
}

static void stage_metrics(FILE *f, const dgm_serving_gauge *g)
{
    static const char *const stacks[] = {"encoder", "decoder"};
    static const char *const stages[DGM_STAGES] = {
        [DGM_STAGE_EMBED] = "embed",       [DGM_STAGE_SELF] = "self_attention",
        [DGM_STAGE_CROSS_KV] = "cross_kv", [DGM_STAGE_CROSS] = "cross_attention",
        [DGM_STAGE_FFN] = "ffn",           [DGM_STAGE_ROUTER] = "router",
        [DGM_STAGE_EXCHANGE] = "exchange", [DGM_STAGE_EXPERTS] = "experts",
        [DGM_STAGE_COMBINE] = "combine",   [DGM_STAGE_VOCABULARY] = "vocabulary",
        [DGM_STAGE_SEARCH] = "search"};
    head(f, "dragoman_stage_seconds_total", "counter", "Time of rank 0 in each stage.");
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < DGM_STAGES; i++)
            (void)fprintf(f, "dragoman_stage_seconds_total{stack=\"%s\",stage=\"%s\"} %.9g\n",
                          stacks[k], stages[i], (double)atomic_load(&g->stage_ns[k][i]) * 1e-9);
}

static void rank_metrics(FILE *f, const dgm_serving_gauge *g)
{
    const int n = atomic_load(&g->n_ranks);
    head(f, "dragoman_exchange_bytes_total", "counter", "Bytes that a rank sent to others.");
    for (int r = 0; r < n; r++)
        (void)fprintf(f, "dragoman_exchange_bytes_total{rank=\"%d\"} %llu\n", r,
                      (unsigned long long)atomic_load(&g->ranks[r].exchange_bytes));
    head(f, "dragoman_decoded_rows_total", "counter", "Decoder rows that a rank computed.");
    for (int r = 0; r < n; r++)
        (void)fprintf(f, "dragoman_decoded_rows_total{rank=\"%d\"} %llu\n", r,
                      (unsigned long long)atomic_load(&g->ranks[r].decoded_rows));
    head(f, "dragoman_encoded_tokens_total", "counter", "Source tokens that a rank encoded.");
    for (int r = 0; r < n; r++)
        (void)fprintf(f, "dragoman_encoded_tokens_total{rank=\"%d\"} %llu\n", r,
                      (unsigned long long)atomic_load(&g->ranks[r].encoded_tokens));
}

static void metrics(FILE *f, const dgm_http *h)
{
    head(f, "dragoman_build_info", "gauge", "1; what runs.");
    (void)fprintf(f, "dragoman_build_info{version=\"%s\"} 1\n", h->cfg.version);
    one(f, "dragoman_ready", "gauge", "1: takes requests.",
        dgm_serving_health(h->cfg.gauge, h->cfg.requests, true)[0] == '\0');
    queue_metrics(f, h);
    engine_metrics(f, h->cfg.gauge);
    stage_metrics(f, h->cfg.gauge);
    rank_metrics(f, h->cfg.gauge);
}

/* ---- answering ---- */

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
    char text[128];
    const char *wrong = dgm_serving_health(h->cfg.gauge, h->cfg.requests, ready);
    const int n = snprintf(text, sizeof text, "%s\n", wrong[0] == '\0' ? "ok" : wrong);
    return answer(c, wrong[0] == '\0' ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain",
                  text, (size_t)n);
}

static enum MHD_Result metrics_page(struct MHD_Connection *c, const dgm_http *h)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (f == NULL)
        return MHD_NO;
    metrics(f, h);
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
        (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_END);
    if (h->daemon == NULL)
        return dgm_fail(DGM_EUSAGE, "--http %s: %s", address,
                        errno != 0 ? strerror(errno) : "cannot listen there");
    dgm_log(DGM_LOG_INFO, "serve", "http://%s/metrics, /healthz, /readyz", address);
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
