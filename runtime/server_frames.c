/* What frames ask for, but for lines to translate. */
#define _GNU_SOURCE /* struct ucred */
#include "base/clock.h"
#include "base/log.h"
#include "runtime/lang.h"
#include "runtime/server_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* clean_name - what a client calls itself, for logs: printable, and short. */
static void clean_name(char out[DGM_SERVER_NAME], const char *name)
{
    int n = 0;
    for (; *name != '\0' && n < DGM_SERVER_NAME - 1; name++)
        if (*name > ' ' && *name < 127)
            out[n++] = *name;
    out[n] = '\0';
    if (n == 0)
        (void)snprintf(out, DGM_SERVER_NAME, "-");
}

static void welcome(dgm_conn *c)
{
    const dgm_server_config *cfg = &c->server->cfg;
    const dgm_wire_frame f = {
        .kind = DGM_WIRE_WELCOME,
        .as.welcome = {.version = DGM_WIRE_VERSION,
                       .server = cfg->name,
                       .model = cfg->model,
                       .model_hash = cfg->model_hash,
                       .option_hash = cfg->option_hash,
                       .sources = cfg->sources.at,
                       .n_sources = (size_t)cfg->sources.n,
                       .targets = cfg->targets.at,
                       .n_targets = (size_t)cfg->targets.n,
                       .limits = {.frame_bytes = DGM_FRAME_MAX_BODY,
                                  .request_segments = (uint32_t)cfg->request_segments,
                                  .segment_bytes = (uint32_t)cfg->segment_bytes,
                                  .in_flight = (uint32_t)cfg->in_flight,
                                  .beam_size = (uint32_t)cfg->max_beam,
                                  .n_best = (uint32_t)cfg->max_beam,
                                  .source_tokens = (uint32_t)cfg->base.source.max_ids,
                                  .target_tokens = (uint32_t)cfg->base.max_target,
                                  .idle_ms = (uint32_t)cfg->idle_ms},
                       .credits = (uint32_t)cfg->in_flight}};
    c->credits = cfg->in_flight;
    dgm_conn_send(c, &f);
}

static void refuse_token(dgm_conn *c, const char *why)
{
    dgm_log(DGM_LOG_INFO, "serve", "connection %llu (%s) is refused: %s",
            (unsigned long long)c->number, c->name, why);
    dgm_conn_last_error(c, DGM_WIRE_ERROR_TOKEN, why, 0);
}

/* admit - its token is known, or none is asked for. Then logs call it by its token's name. */
static bool admit(dgm_conn *c, const char *token)
{
    const dgm_tokens *known = &c->server->tokens;
    if (known->n == 0)
        return true;
    if (token[0] == '\0') {
        refuse_token(c, "this server wants a token, and none was sent");
        return false;
    }
    const dgm_token *found =
        dgm_token_hash(c->token, token) == DGM_OK ? dgm_tokens_find(known, c->token) : NULL;
    if (found == NULL)
        refuse_token(c, "this token is not known");
    else
        (void)snprintf(c->name, sizeof c->name, "%s", found->name);
    return found != NULL;
}

void dgm_conn_check_token(dgm_conn *c)
{
    if (c->greeted && !c->ending && !c->closing &&
        dgm_tokens_find(&c->server->tokens, c->token) == NULL) {
        refuse_token(c, "this token is not known any more");
        dgm_conn_flush(c);
    }
}

/* state_of - for clients, to whom a server that drains and one that has nothing left are alike. */
static uint32_t state_of(const dgm_serving_health *h)
{
    static const uint32_t states[] = {[DGM_SERVING_STARTING] = DGM_WIRE_STATE_STARTING,
                                      [DGM_SERVING_READY] = DGM_WIRE_STATE_READY,
                                      [DGM_SERVING_STALLED] = DGM_WIRE_STATE_STALLED,
                                      [DGM_SERVING_DRAINING] = DGM_WIRE_STATE_DRAINING,
                                      [DGM_SERVING_OVER] = DGM_WIRE_STATE_DRAINING};
    return states[h->state];
}

static void hello(dgm_conn *c, const dgm_wire_frame *f)
{
    if (c->greeted) {
        dgm_conn_error(c, f->id, DGM_WIRE_ERROR_BAD_REQUEST, "a second hello", 0, 0);
        return;
    }
    if (f->as.hello.version < 1) {
        dgm_conn_error(c, f->id, DGM_WIRE_ERROR_VERSION,
                       "want version 1 or later of the protocol, found 0", 0, 0);
        return;
    }
    clean_name(c->name, f->as.hello.client);
    if (!admit(c, f->as.hello.token))
        return;
    c->greeted = true;
    const dgm_serving_health h = dgm_serving_look(c->server->cfg.gauge, c->server->requests);
    c->told = state_of(&h);
    dgm_log_of(DGM_LOG_DEBUG, "serve", (dgm_log_id){.connection = c->number}, "is %s on %s",
               c->name, c->local ? "a Unix socket" : "TCP");
    welcome(c);
}

/* health - id 0: news. */
static void health(dgm_conn *c, uint64_t id)
{
    const dgm_server *s = c->server;
    const dgm_requests_state q = dgm_requests_look(s->requests);
    const dgm_serving_health h = dgm_serving_look(s->cfg.gauge, s->requests);
    const dgm_wire_frame f = {.id = id,
                              .kind = DGM_WIRE_HEALTH,
                              .as.health = {.state = state_of(&h),
                                            .message = h.state == DGM_SERVING_STALLED ? h.why : "",
                                            .queued_tokens = (uint64_t)q.tokens,
                                            .in_flight = (uint32_t)q.computing,
                                            .tick_age_ms = (uint64_t)h.tick_age_ms}};
    dgm_conn_send(c, &f);
}

void dgm_server_tell_health(dgm_server *s)
{
    const dgm_serving_health h = dgm_serving_look(s->cfg.gauge, s->requests);
    const uint32_t state = state_of(&h);
    for (dgm_conn *c = s->conns, *next; c != NULL; c = next) {
        next = c->next;
        if (!c->greeted || c->ending || c->closing || c->told == state)
            continue;
        c->told = state;
        health(c, 0);
        dgm_conn_flush(c);
    }
}

/* split_words - `text` cut at its spaces, into at most `most` words. */
static size_t split_words(const char **words, size_t most, char *text)
{
    size_t n = 0;
    char *save = NULL;
    for (char *w = strtok_r(text, " ", &save); w != NULL && n < most;
         w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    return n;
}

enum { ALIASES = 16, ALIAS_TEXT = 256 };

/* What a list of languages points at. */
struct dgm_server_names {
    char text[ALIAS_TEXT];
    const char *alias[ALIASES];
};

/* is_among - code is of one of these lists itself. */
static bool is_among(const dgm_server_languages *l, const char *code)
{
    int i = 0;
    while (i < l->n && l->at[i] != code)
        i++;
    return i < l->n;
}

/* list_languages - once: to find all aliases takes long. */
static int list_languages(dgm_server *s)
{
    const size_t n = (size_t)s->cfg.languages.n;
    if (s->languages != NULL)
        return DGM_OK;
    dgm_wire_language *at = calloc(n + 1, sizeof *at);
    struct dgm_server_names *names = calloc(n + 1, sizeof *names);
    if (at == NULL || names == NULL) {
        free(at);
        free(names);
        return dgm_fail(DGM_ENOMEM, "out of memory for the languages");
    }
    for (size_t i = 0; i < n; i++) {
        const char *code = s->cfg.languages.at[i];
        const bool source = is_among(&s->cfg.sources, code),
                   target = is_among(&s->cfg.targets, code);
        if (!source && !target)
            continue;
        struct dgm_server_names *of = &names[s->n_languages];
        const dgm_lang *l = dgm_lang_find(code);
        dgm_lang_aliases(of->text, ALIAS_TEXT, code);
        at[s->n_languages++] =
            (dgm_wire_language){.code = code,
                                .name = l != NULL ? l->name : "",
                                .aliases = of->alias,
                                .n_aliases = split_words(of->alias, ALIASES, of->text),
                                .source = source,
                                .target = target};
    }
    s->languages = at;
    s->names = names;
    return DGM_OK;
}

static void languages(dgm_conn *c, uint64_t id)
{
    dgm_server *s = c->server;
    if (list_languages(s) != DGM_OK) {
        dgm_conn_error(c, id, DGM_WIRE_ERROR_INTERNAL, dgm_error_text(), 0, 0);
        return;
    }
    const dgm_wire_frame f = {.id = id,
                              .kind = DGM_WIRE_LANGUAGES,
                              .as.languages = {.at = s->languages, .n = (size_t)s->n_languages}};
    dgm_conn_send(c, &f);
}

static void statistics(dgm_conn *c, uint64_t id)
{
    const dgm_server *s = c->server;
    const dgm_serving_gauge *g = s->cfg.gauge;
    const dgm_requests_state q = dgm_requests_look(s->requests);
    const dgm_answer_cache_state cache = dgm_answer_cache_look(s->cache);
    const dgm_wire_metric m[] = {
        {"dragoman_connections", atomic_load(&s->n_conns)},
        {"dragoman_queue_tokens", (double)q.tokens},
        {"dragoman_queue_segments", q.waiting},
        {"dragoman_computing_segments", q.computing},
        {"dragoman_segments_admitted_total", (double)q.admitted},
        {"dragoman_segments_refused_total", (double)q.refused},
        {"dragoman_segments_total{end=\"done\"}", (double)q.by_end[DGM_REQUEST_DONE]},
        {"dragoman_segments_total{end=\"cancelled\"}", (double)q.by_end[DGM_REQUEST_CANCELLED]},
        {"dragoman_segments_total{end=\"timed_out\"}", (double)q.by_end[DGM_REQUEST_TIMED_OUT]},
        {"dragoman_segments_total{end=\"failed\"}", (double)q.by_end[DGM_REQUEST_FAILED]},
        {"dragoman_cache_bytes", (double)cache.bytes},
        {"dragoman_cache_answers", cache.entries},
        {"dragoman_cache_hits_total", (double)cache.hits},
        {"dragoman_cache_misses_total", (double)cache.misses},
        {"dragoman_engine_steps_total", (double)atomic_load(&g->steps)},
        {"dragoman_source_tokens_total", (double)atomic_load(&g->src_tokens)},
        {"dragoman_target_tokens_total", (double)atomic_load(&g->tgt_tokens)},
        {"dragoman_shared_tokens_total", (double)atomic_load(&g->shared_tokens)},
    };
    const dgm_wire_frame f = {.id = id,
                              .kind = DGM_WIRE_STATISTICS,
                              .as.statistics = {.at = m, .n = sizeof m / sizeof m[0]}};
    dgm_conn_send(c, &f);
}

/* may_drain - who could as well send this process a signal. */
static bool may_drain(const dgm_conn *c)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    uv_os_fd_t fd;
    return c->local && uv_fileno(&c->socket.handle, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void drain(dgm_conn *c, const dgm_wire_frame *f)
{
    dgm_server *s = c->server;
    if (!may_drain(c)) {
        dgm_conn_error(c, f->id, DGM_WIRE_ERROR_FORBIDDEN,
                       "drain: want a client on the Unix socket, of the server's user or root", 0,
                       0);
        return;
    }
    const int64_t ms =
        f->as.drain.limit_ms > 0 ? (int64_t)f->as.drain.limit_ms : (int64_t)s->cfg.drain_ms;
    dgm_log_of(DGM_LOG_INFO, "serve", (dgm_log_id){c->number, f->id}, "draining: %s asks for it",
               c->name);
    dgm_requests_drain(s->requests, dgm_now_ns() + ms * 1000000);
    health(c, f->id);
    dgm_server_tell_health(s);
}

/* take_id - requests come with ascending ids. */
static bool take_id(dgm_conn *c, const dgm_wire_frame *f)
{
    if (f->id > c->last_id) {
        c->last_id = f->id;
        return true;
    }
    (void)dgm_fail(DGM_EINPUT, "want an id above %llu, found %llu", (unsigned long long)c->last_id,
                   (unsigned long long)f->id);
    const size_t n = f->kind == DGM_WIRE_TRANSLATE ? f->as.translate.n_segments : 0;
    const int credits = n <= (size_t)c->credits ? (int)n : 0;
    c->credits -= credits;
    dgm_conn_error(c, f->id, DGM_WIRE_ERROR_ID, dgm_error_text(), 0, credits);
    return false;
}

/* is_request - else it is answered. Of what no client sends the id is nobody's. */
static bool is_request(dgm_conn *c, const dgm_wire_frame *f)
{
    switch (f->kind) {
    case DGM_WIRE_TRANSLATE:
    case DGM_WIRE_LANGUAGES_REQUEST:
    case DGM_WIRE_STATISTICS_REQUEST:
    case DGM_WIRE_HEALTH_REQUEST:
    case DGM_WIRE_DRAIN:
        return true;
    case DGM_WIRE_UNKNOWN:
        dgm_conn_error(c, f->id, DGM_WIRE_ERROR_UNSUPPORTED,
                       "a kind of frame that this server does not know", 0, 0);
        return false;
    default:
        dgm_conn_error(c, f->id, DGM_WIRE_ERROR_BAD_REQUEST, "a frame that only servers send", 0,
                       0);
        return false;
    }
}

static void request(dgm_conn *c, const dgm_wire_frame *f)
{
    if (!is_request(c, f) || !take_id(c, f))
        return;
    if (f->kind != DGM_WIRE_TRANSLATE) /* has its line when it is done */
        dgm_log_of(DGM_LOG_DEBUG, "serve", (dgm_log_id){c->number, f->id}, "%s",
                   dgm_wire_kind_name(f->kind));
    switch (f->kind) {
    case DGM_WIRE_TRANSLATE:
        dgm_server_translate(c, f->id, &f->as.translate);
        break;
    case DGM_WIRE_LANGUAGES_REQUEST:
        languages(c, f->id);
        break;
    case DGM_WIRE_STATISTICS_REQUEST:
        statistics(c, f->id);
        break;
    case DGM_WIRE_HEALTH_REQUEST:
        health(c, f->id);
        break;
    default: /* is_request knows no other */
        drain(c, f);
        break;
    }
}

void dgm_server_frame(dgm_conn *c, const uint8_t *body, size_t len)
{
    dgm_wire_frame f;
    enum dgm_wire_error_code code;
    if (dgm_wire_decode(&f, &code, &c->server->memory, body, len) != DGM_OK) {
        dgm_conn_error(c, f.id, code, dgm_error_text(), 0, 0);
        return;
    }
    if (f.kind == DGM_WIRE_HELLO) {
        hello(c, &f);
    } else if (!c->greeted) {
        dgm_conn_error(c, f.id, DGM_WIRE_ERROR_BAD_REQUEST, "want a hello first", 0, 0);
    } else if (f.kind == DGM_WIRE_CANCEL) {
        dgm_server_cancel(c, &f.as.cancel);
    } else {
        request(c, &f);
    }
}
