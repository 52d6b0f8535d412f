/* `dragoman serve`: rank 0 listens and coordinates, the others serve their part of the model. docs/serving.md. */
#include "base/log.h"
#include "base/memory.h"
#include "launch/commands.h"
#include "launch/filter_direction.h"
#include "launch/page_parts.h"
#include "launch/serve_directions.h"
#include "runtime/http.h"
#include "runtime/server.h"
#include "runtime/server_unix.h"
#include "runtime/web.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SPARE_SLOTS = 8, /* of a rank, which a job of many lines leaves to others */
    REQUEST_SEGMENTS = 1024,
    FLUSH_MS = 2000, /* what was answered at the end is sent in this time */
    CLIENT_MIB_MIN = 64,
    CLIENT_MIB_MAX = 4096,
};

typedef struct serve {
    dgm_session session;
    dgm_engine_config engine;
    dgm_decode_options decode;
    dgm_filter_direction none; /* a stream's options without its languages */
    dgm_serve_directions directions;
    dgm_serving_gauge gauge;
    dgm_server *server; /* rank 0 */
    dgm_http *http;
    char *page; /* of the web */
    dgm_web *web;
    char address[256];
} serve;

/* default_address - where only this user's programs come. */
static const char *default_address(serve *v)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    if (dir != NULL && dir[0] == '/')
        (void)snprintf(v->address, sizeof v->address, "unix:%s/dragoman.sock", dir);
    else
        (void)snprintf(v->address, sizeof v->address, "unix:/tmp/dragoman-%u.sock",
                       (unsigned)getuid());
    return v->address;
}

/* client_memory - as asked, or of what is free before the weights are read. */
static size_t client_memory(const dgm_options *o)
{
    const uint64_t eighth = dgm_memory_free("") / 8 >> 20;
    const int mib = o->max_memory_mib > 0     ? o->max_memory_mib
                    : eighth < CLIENT_MIB_MIN ? CLIENT_MIB_MIN
                    : eighth > CLIENT_MIB_MAX ? CLIENT_MIB_MAX
                                              : (int)eighth;
    dgm_log(DGM_LOG_INFO, "serve", "clients may take %d MiB in all (--max-memory-mib)", mib);
    return (size_t)mib << 20;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL || slash[1] == '\0' ? path : slash + 1;
}

static int open_web(serve *v, const dgm_options *o)
{
    DGM_TRY(dgm_page_parts(&v->page, "serve --web", "launch/web", "web", ""));
    const dgm_web_config cfg = {
        .address = o->web, .insecure = o->insecure, .page = v->page, .server = v->server};
    return dgm_web_open(&v->web, &cfg);
}

/* open_server - before the weights are read: an address in use is told at once, and clients hear that it starts. */
static int open_server(serve *v, const dgm_options *o)
{
    dgm_session *s = &v->session;
    const char *address = default_address(v);
    const int inherited = dgm_server_inherited();
    DGM_TRY(dgm_serve_directions_open(&v->directions, s));
    v->none.o = dgm_filter_options(o, 0);
    dgm_server_config cfg = {
        .listen = o->n_listens > 0 ? o->listens : &address,
        .n_listen = o->n_listens > 0 ? o->n_listens : inherited == 0,
        .n_inherited = inherited,
        .insecure = o->insecure,
        .tokens = o->tokens,
        .tls = {.cert = o->tls_cert, .key = o->tls_key, .client_ca = o->tls_client_ca},
        .max_connections = o->max_connections,
        .spare_files = o->web[0] != '\0' ? DGM_WEB_FILES : 0,
        .in_flight = o->max_in_flight,
        .request_segments =
            o->max_in_flight < REQUEST_SEGMENTS ? o->max_in_flight : REQUEST_SEGMENTS,
        .segment_bytes = DGM_STREAM_MAX_LINE_BYTES,
        .max_queue_tokens = o->max_queue_tokens,
        .cache_bytes = (size_t)o->cache_mib << 20,
        .memory_bytes = client_memory(o),
        .hello_ms = DGM_WIRE_HELLO_MS,
        .idle_ms = o->idle_ms,
        .write_ms = o->write_ms,
        .drain_ms = o->drain_ms,
        .name = "dragoman " DGM_VERSION,
        .model = base_name(o->model),
        .model_hash = s->model->hash,
        .option_hash = dgm_options_result_hash(o),
        .languages = {v->directions.codes, v->directions.n},
        .sources = {v->directions.sources, v->directions.n_sources},
        .targets = {v->directions.targets, v->directions.n_targets},
        .base = dgm_filter_stream(&v->none, s, &v->engine, &v->decode),
        .max_beam = v->decode.beam,
        .direction = dgm_serve_direction,
        .direction_ctx = &v->directions,
        .gauge = &v->gauge,
    };
    DGM_TRY(dgm_server_open(&v->server, &cfg));
    if (o->http[0] != '\0') {
        const dgm_http_config http = {.address = o->http,
                                      .insecure = o->insecure,
                                      .requests = dgm_server_requests(v->server),
                                      .gauge = &v->gauge,
                                      .server = v->server,
                                      .version = DGM_VERSION,
                                      .isa = s->kern.isa};
        DGM_TRY(dgm_http_open(&v->http, &http));
    }
    if (o->tokens[0] != '\0' || o->tls_cert[0] != '\0')
        dgm_comm_tell_launcher("reload", (int)getpid());
    if (o->web[0] != '\0')
        DGM_TRY(open_web(v, o));
    return dgm_server_start(v->server);
}

/* serve_clients - rank 0: until drained, or a rank is lost. The positive exit code of a signal, or a status. */
static int serve_clients(serve *v)
{
    const dgm_session *s = &v->session;
    const dgm_serving_config cfg = {
        .engine = s->engine,
        .comm = s->comm,
        .stall_ms = s->options->stall_ms,
        .requests = dgm_server_requests(v->server),
        .ranks = s->ranks,
        .dense_ranks = s->dense_ranks,
        .n_experts = {s->model->cfg.n_experts[DGM_ENCODER], s->model->cfg.n_experts[DGM_DECODER]},
        .spare = SPARE_SLOTS * s->dense_ranks,
        .stop = &dgm_session_signal,
        .drain_ms = s->options->drain_ms};
    const int rc = dgm_serving_run(&cfg, &v->gauge);
    char why[1024];
    (void)snprintf(why, sizeof why, "%s", dgm_error_text());
    dgm_server_stop(v->server, FLUSH_MS);
    if (rc != DGM_OK)
        return dgm_fail(rc, "%s", why);
    return dgm_session_signal != 0 ? 128 + dgm_session_signal : DGM_OK;
}

static int run(serve *v, const dgm_options *o)
{
    dgm_session *s = &v->session;
    dgm_session_at_once(dgm_server_unix_remove_all);
    DGM_TRY(dgm_session_join(s, o));
    int rc = dgm_filter_engine(&v->engine, &v->decode, s);
    v->engine.spare_slots = SPARE_SLOTS;
    v->engine.prompt_rows = DGM_FILTER_PREFIX_ROWS;
    v->engine.fail_lines = true;
    if (rc == DGM_OK && s->rank == 0)
        rc = open_server(v, o);
    if (s->rank == 0)
        dgm_comm_on_stall(s->comm, dgm_serving_stall, &v->gauge);
    DGM_TRY(dgm_session_load(s, rc, &v->engine));
    dgm_session_heed();
    return s->rank == 0 ? serve_clients(v) : dgm_session_serve(s);
}

static void show_summary(const serve *v)
{
    const dgm_requests_state q = dgm_requests_look(dgm_server_requests(v->server));
    dgm_log(
        DGM_LOG_INFO, "end",
        "%llu lines done, %llu cancelled, %llu timed out, %llu failed, %llu refused; %llu steps",
        (unsigned long long)q.by_end[DGM_REQUEST_DONE],
        (unsigned long long)q.by_end[DGM_REQUEST_CANCELLED],
        (unsigned long long)q.by_end[DGM_REQUEST_TIMED_OUT],
        (unsigned long long)q.by_end[DGM_REQUEST_FAILED], (unsigned long long)q.refused,
        (unsigned long long)atomic_load(&v->gauge.steps));
}

int dgm_cmd_serve(const dgm_options *o)
{
    serve *v = calloc(1, sizeof *v); /* the net thread looks into it until it is closed */
    if (v == NULL)
        return dgm_command_end(dgm_fail(DGM_ENOMEM, "out of memory for a server"));
    dgm_serving_gauge_init(&v->gauge);
    const int rc = run(v, o);
    const int code = dgm_session_leave(&v->session, rc);
    if (v->server != NULL && rc >= 0)
        show_summary(v);
    dgm_http_close(v->http);
    dgm_web_close(v->web);
    dgm_server_close(v->server);
    dgm_serve_directions_close(&v->directions);
    dgm_session_close(&v->session);
    free(v->page);
    free(v);
    return code;
}
