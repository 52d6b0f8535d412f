#include "runtime/http_metrics.h"

#include "base/log.h"

#include <dirent.h>
#include <stddef.h>
#include <sys/resource.h>

/* ---- the format ---- */

static void head(FILE *f, const char *name, const char *type, const char *help)
{
    (void)fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(FILE *f, const char *name, const char *type, const char *help, double value)
{
    head(f, name, type, help);
    (void)fprintf(f, "%s %.17g\n", name, value);
}

static void gauge(FILE *f, const char *name, const char *help, double value)
{
    one(f, name, "gauge", help, value);
}

static void counter(FILE *f, const char *name, const char *help, uint64_t value)
{
    one(f, name, "counter", help, (double)value);
}

/* samples - of a histogram; labels: "" or `name="value"`. What is counted meanwhile is in all of them or in none. */
static void samples(FILE *f, const char *name, const char *labels, const dgm_histogram *h)
{
    const char *comma = labels[0] == '\0' ? "" : ",", *open = labels[0] == '\0' ? "" : "{",
               *close = labels[0] == '\0' ? "" : "}";
    unsigned long long n = 0;
    for (int i = 0; i <= DGM_HISTOGRAM_BOUNDS; i++) {
        n += atomic_load(&h->at[i]);
        if (i < DGM_HISTOGRAM_BOUNDS)
            (void)fprintf(f, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma,
                          dgm_histogram_bounds[i], n);
    }
    (void)fprintf(f, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma, n);
    (void)fprintf(f, "%s_sum%s%s%s %.9g\n", name, open, labels, close,
                  (double)atomic_load(&h->sum_ns) * 1e-9);
    (void)fprintf(f, "%s_count%s%s%s %llu\n", name, open, labels, close, n);
}

static void histogram(FILE *f, const char *name, const char *help, const dgm_histogram *h)
{
    head(f, name, "histogram", help);
    samples(f, name, "", h);
}

/* ---- the process ---- */

static double open_descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    if (dir != NULL)
        (void)closedir(dir);
    return n > 0 ? n - 1 : 0; /* dir itself */
}

static void process_metrics(FILE *f, const dgm_http_config *cfg)
{
    struct rlimit limit = {0};
    const dgm_serving_health is = dgm_serving_look(cfg->gauge, cfg->requests);
    head(f, "dragoman_build_info", "gauge", "1; what runs.");
    (void)fprintf(f, "dragoman_build_info{version=\"%s\",isa=\"%s\"} 1\n", cfg->version, cfg->isa);
    gauge(f, "dragoman_ready", "1: takes requests.", is.state == DGM_SERVING_READY);
    gauge(f, "dragoman_stalled", "1: the engine waits for a rank, or takes no steps.",
          is.state == DGM_SERVING_STALLED);
    gauge(f, "dragoman_engine_tick_age_seconds", "Since the engine began a round or a layer.",
          (double)is.tick_age_ms * 1e-3);
    counter(f, "dragoman_log_lost_total",
            "Messages that were not written, since nobody read the log.", dgm_log_lost());
    gauge(f, "dragoman_open_descriptors", "File descriptors of rank 0 in use.", open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        gauge(f, "dragoman_max_descriptors", "How many it may have.", (double)limit.rlim_cur);
}

/* ---- clients and what they ask ---- */

static void client_metrics(FILE *f, const dgm_server *server)
{
    const dgm_server_counts c = dgm_server_look(server);
    gauge(f, "dragoman_connections", "Clients that are connected.", c.connections);
    counter(f, "dragoman_connections_accepted_total", "Clients that came.", c.accepted);
    counter(f, "dragoman_connections_refused_total",
            "Clients refused: too many, or no file descriptor or memory left.", c.refused);
    counter(f, "dragoman_client_received_bytes_total", "Bytes from clients.", c.received_bytes);
    counter(f, "dragoman_client_sent_bytes_total", "Bytes to clients.", c.sent_bytes);
    gauge(f, "dragoman_client_memory_bytes", "Memory of connections and of lines that wait.",
          (double)c.memory_bytes);
    gauge(f, "dragoman_client_memory_max_bytes", "How much that may be (--max-memory-mib).",
          (double)c.memory_max_bytes);
    gauge(f, "dragoman_cache_bytes", "Memory of answers that are kept.", (double)c.cache.bytes);
    gauge(f, "dragoman_cache_answers", "Answers that are kept.", c.cache.entries);
    counter(f, "dragoman_cache_hits_total", "Segments answered from those.", c.cache.hits);
    counter(f, "dragoman_cache_misses_total", "Segments that were not among them.", c.cache.misses);
    histogram(f, "dragoman_request_seconds", "From a Translate frame to its last answer.",
              dgm_server_request_times(server));
}

static void queue_metrics(FILE *f, dgm_requests *requests)
{
    static const char *const ends[] = {"done", "cancelled", "timed_out", "failed"};
    const dgm_requests_state q = dgm_requests_look(requests);
    gauge(f, "dragoman_queue_tokens", "Source tokens admitted and not yet answered.",
          (double)q.tokens);
    gauge(f, "dragoman_queue_segments", "Segments that wait for the engine.", q.waiting);
    gauge(f, "dragoman_computing_segments", "Segments that the engine has.", q.computing);
    counter(f, "dragoman_segments_admitted_total", "Segments taken into the queue.", q.admitted);
    counter(f, "dragoman_segments_refused_total", "Segments refused because the queue was full.",
            q.refused);
    head(f, "dragoman_segments_total", "counter", "Segments that left, by how.");
    for (int i = 0; i <= DGM_REQUEST_FAILED; i++)
        (void)fprintf(f, "dragoman_segments_total{end=\"%s\"} %llu\n", ends[i],
                      (unsigned long long)q.by_end[i]);
}

/* ---- the engine ---- */

static void engine_metrics(FILE *f, const dgm_serving_gauge *g)
{
    head(f, "dragoman_lines_total", "counter", "Segments that were computed, by status.");
    for (int i = 0; i < DGM_LINE_ENGINE_STATUSES; i++)
        (void)fprintf(f, "dragoman_lines_total{status=\"%s\"} %llu\n",
                      dgm_line_status_name((enum dgm_line_status)i),
                      (unsigned long long)atomic_load(&g->flagged[i]));
    head(f, "dragoman_retried_lines_total", "counter",
         "Segments decoded twice (--retry checks), by which was given.");
    for (int i = 0; i < 2; i++)
        (void)fprintf(f, "dragoman_retried_lines_total{given=\"%s\"} %llu\n",
                      i == 0 ? "first" : "second", (unsigned long long)atomic_load(&g->retried[i]));
    gauge(f, "dragoman_batch_segments", "Parts of segments in the engine's batch.",
          atomic_load(&g->in_flight));
    gauge(f, "dragoman_batch_slots", "How many fit.", atomic_load(&g->slots));
    counter(f, "dragoman_batch_segment_steps_total",
            "Parts of segments in the batch, summed over steps: by steps and slots, its occupancy.",
            atomic_load(&g->busy_slots));
    counter(f, "dragoman_source_tokens_total", "Source tokens of finished parts.",
            atomic_load(&g->src_tokens));
    counter(f, "dragoman_target_tokens_total", "Tokens of their translations.",
            atomic_load(&g->tgt_tokens));
    counter(
        f, "dragoman_shared_tokens_total",
        "Source tokens that were not encoded, since another segment in work had the same source.",
        atomic_load(&g->shared_tokens));
    counter(f, "dragoman_engine_steps_total", "Steps of the engine.", atomic_load(&g->steps));
    histogram(f, "dragoman_queue_seconds", "How long a segment waits for the engine.", &g->queue);
    histogram(f, "dragoman_compute_seconds", "How long a segment is in the engine.", &g->compute);
    histogram(f, "dragoman_step_seconds", "How long a step takes.", &g->step);
    histogram(f, "dragoman_encode_seconds", "How long the encode phase of a step takes rank 0.",
              &g->phase[DGM_ENCODER]);
    histogram(f, "dragoman_decode_seconds", "How long the decode phase of a step takes rank 0.",
              &g->phase[DGM_DECODER]);
    histogram(f, "dragoman_exchange_wait_seconds",
              "How long rank 0 waits for rows of other ranks in a step.", &g->wait);
}

static void stage_metrics(FILE *f, const dgm_serving_gauge *g)
{
    static const char *const stages[DGM_STAGES] = {
        [DGM_STAGE_EMBED] = "embed",       [DGM_STAGE_SELF] = "self_attention",
        [DGM_STAGE_CROSS_KV] = "cross_kv", [DGM_STAGE_CROSS] = "cross_attention",
        [DGM_STAGE_FFN] = "ffn",           [DGM_STAGE_ROUTER] = "router",
        [DGM_STAGE_EXCHANGE] = "exchange", [DGM_STAGE_EXPERTS] = "experts",
        [DGM_STAGE_COMBINE] = "combine",   [DGM_STAGE_VOCABULARY] = "vocabulary",
        [DGM_STAGE_SEARCH] = "search"};
    head(f, "dragoman_stage_seconds", "histogram",
         "How long each stage of a phase takes rank 0, all layers together.");
    for (int k = 0; k < DGM_STACKS; k++)
        for (int i = 0; i < DGM_STAGES; i++) {
            char labels[64];
            (void)snprintf(labels, sizeof labels, "stack=\"%s\",stage=\"%s\"", dgm_stack_names[k],
                           stages[i]);
            if (atomic_load(&g->stage[k][i].sum_ns) > 0) /* a stage that this model has */
                samples(f, "dragoman_stage_seconds", labels, &g->stage[k][i]);
        }
}

static void by_stack(FILE *f, const char *name, const char *type, const char *help,
                     const atomic_uint_least64_t *value, double scale)
{
    head(f, name, type, help);
    for (int k = 0; k < DGM_STACKS; k++)
        (void)fprintf(f, "%s{stack=\"%s\"} %.9g\n", name, dgm_stack_names[k],
                      scale * (double)atomic_load(&value[k]));
}

static void expert_metrics(FILE *f, const dgm_serving_gauge *g)
{
    by_stack(f, "dragoman_expert_rows_total", "counter",
             "Rows that experts computed, of all ranks and layers.", g->expert_rows, 1);
    by_stack(f, "dragoman_expert_imbalance_ratio", "gauge",
             "Rows of a layer's busiest expert by the mean over its experts, in the last steps.",
             g->expert_imbalance_ppm, 1e-6);
    by_stack(f, "dragoman_rank_imbalance_ratio", "gauge",
             "Rows of a layer's busiest rank by the mean over ranks, in the last steps.",
             g->rank_imbalance_ppm, 1e-6);
}

/* ---- ranks ---- */

/* by_rank - the field at `offset` of each. */
static void by_rank(FILE *f, const dgm_serving_gauge *g, const char *name, const char *type,
                    const char *help, size_t offset, double scale)
{
    const int n = atomic_load(&g->n_ranks);
    head(f, name, type, help);
    for (int r = 0; r < n; r++) {
        const void *field = (const char *)&g->ranks[r] + offset;
        (void)fprintf(f, "%s{rank=\"%d\"} %.17g\n", name, r,
                      scale * (double)atomic_load((const atomic_uint_least64_t *)field));
    }
}

static void rank_metrics(FILE *f, const dgm_serving_gauge *g)
{
    by_rank(f, g, "dragoman_exchange_sent_bytes_total", "counter",
            "Bytes that a rank sent to others.", offsetof(dgm_serving_rank, sent_bytes), 1);
    by_rank(f, g, "dragoman_exchange_received_bytes_total", "counter",
            "Bytes that a rank had from others.", offsetof(dgm_serving_rank, received_bytes), 1);
    by_rank(f, g, "dragoman_rank_wait_seconds_total", "counter",
            "Time that a rank waited for rows of others.", offsetof(dgm_serving_rank, wait_ns),
            1e-9);
    by_rank(f, g, "dragoman_decoded_rows_total", "counter", "Decoder rows that a rank computed.",
            offsetof(dgm_serving_rank, decoded_rows), 1);
    by_rank(f, g, "dragoman_encoded_tokens_total", "counter", "Source tokens that a rank encoded.",
            offsetof(dgm_serving_rank, encoded_tokens), 1);
    by_rank(f, g, "dragoman_resident_memory_bytes", "gauge", "Memory that a rank has resident.",
            offsetof(dgm_serving_rank, resident_bytes), 1);
}

void dgm_http_metrics(FILE *f, const dgm_http_config *cfg)
{
    process_metrics(f, cfg);
    client_metrics(f, cfg->server);
    queue_metrics(f, cfg->requests);
    engine_metrics(f, cfg->gauge);
    stage_metrics(f, cfg->gauge);
    expert_metrics(f, cfg->gauge);
    rank_metrics(f, cfg->gauge);
}
