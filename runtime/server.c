/*
 * The net thread: libuv calls dgm_server_accept (server_accept.c) and the read callback (server_conn.c), a whole frame goes to dgm_server_frame
 * (server_frames.c) and its lines to the queue (server_translate.c); results come back through on_wake.
 */
#include "base/clock.h"
#include "base/fpenv.h"
#include "base/log.h"
#include "runtime/server_state.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* wake - on the engine thread: there are results. */
static void wake(void *ctx)
{
    dgm_server *s = ctx;
    (void)uv_async_send(&s->wake);
}

static void close_handle(uv_handle_t *h, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

/* end_all - listeners at once; connections when their answers are sent, or time is up. */
static void end_all(dgm_server *s)
{
    if (s->stop_ns == 0) {
        s->stop_ns = dgm_now_ns() + (int64_t)(atomic_load(&s->stopping) - 1) * 1000000;
        dgm_server_detach(s);
        dgm_server_tell_health(s);
        for (int i = 0; i < s->n_listeners; i++)
            dgm_server_unlisten(&s->listeners[i]);
        for (dgm_conn *c = s->conns, *next; c != NULL; c = next) {
            next = c->next;
            if (c->parted)
                dgm_conn_close(c);
            dgm_conn_end(c);
        }
    }
    if (s->conns != NULL && dgm_now_ns() < s->stop_ns)
        return;
    for (dgm_conn *c = s->conns, *next; c != NULL; c = next) {
        next = c->next;
        dgm_conn_close(c);
    }
    close_handle((uv_handle_t *)&s->tick, NULL);
    close_handle((uv_handle_t *)&s->wake, NULL);
}

static void on_wake(uv_async_t *a)
{
    dgm_server *s = a->data;
    dgm_conn *answered = NULL; /* none of them is freed in this call */
    dgm_server_take_attached(s);
    for (dgm_request *r = dgm_requests_take_done(s->requests), *next; r != NULL; r = next) {
        dgm_conn *c = ((dgm_server_job *)r->owner)->conn;
        next = r->next;
        dgm_server_answer(r);
        if (c == NULL || c->answered)
            continue;
        c->answered = true;
        c->next_answered = answered;
        answered = c;
    }
    for (dgm_conn *c = answered; c != NULL; c = c->next_answered) {
        c->answered = false;
        dgm_conn_flush(c);
    }
    dgm_server_shed(s);
    if (atomic_load(&s->stopping) > 0)
        end_all(s);
}

static void on_tick(uv_timer_t *t)
{
    dgm_server *s = t->data;
    const int64_t now = dgm_now_ns();
    for (dgm_conn *c = s->conns, *next; c != NULL; c = next) {
        next = c->next;
        dgm_conn_tick(c, now);
    }
    dgm_server_tell_health(s);
    dgm_server_shed(s);
    dgm_server_accept_again(s);
    dgm_serving_watch(s->cfg.gauge, s->requests);
    if (atomic_load(&s->stopping) > 0)
        end_all(s);
}

/* warn_open - a file that others may use as they should not. */
static void warn_open(const char *option, const char *path, mode_t others, const char *what)
{
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & others) != 0)
        dgm_log(DGM_LOG_WARN, "serve", "%s %s: others may %s it (mode %03o)", option, path, what,
                (unsigned)(st.st_mode & 0777));
}

/* warn_secrets - hashes of tokens are no secret, but who may write them lets in whom he likes. */
static void warn_secrets(const dgm_server_config *cfg)
{
    if (cfg->tokens[0] != '\0')
        warn_open("--tokens", cfg->tokens, S_IWOTH, "write");
    if (cfg->tls.key[0] != '\0')
        warn_open("--tls-key", cfg->tls.key, S_IROTH | S_IWOTH, "read or write");
}

/* reload_tokens - who is not in the file any more is let go. */
static void reload_tokens(dgm_server *s)
{
    dgm_tokens fresh;
    if (dgm_tokens_read(&fresh, s->cfg.tokens) != DGM_OK) {
        dgm_log(DGM_LOG_ERROR, "serve", "SIGHUP: the tokens stay as they were: %s",
                dgm_error_text());
        return;
    }
    dgm_tokens_fini(&s->tokens);
    s->tokens = fresh;
    dgm_log(DGM_LOG_INFO, "serve", "SIGHUP: %d tokens read again", fresh.n);
    for (dgm_conn *c = s->conns, *next; c != NULL; c = next) {
        next = c->next;
        dgm_conn_check_token(c);
    }
}

/* reload_keys - connections that there are keep theirs. */
static void reload_keys(dgm_server *s)
{
    dgm_tls_keys *fresh;
    if (dgm_tls_keys_read(&fresh, &s->cfg.tls) != DGM_OK) {
        dgm_log(DGM_LOG_ERROR, "serve", "SIGHUP: the certificate stays as it was: %s",
                dgm_error_text());
        return;
    }
    dgm_tls_keys_destroy(s->keys);
    s->keys = fresh;
    dgm_log(DGM_LOG_INFO, "serve", "SIGHUP: the certificate is read again");
}

static void on_hang_up(uv_signal_t *h, int number)
{
    dgm_server *s = h->data;
    (void)number;
    if (s->tokens.n > 0)
        reload_tokens(s);
    if (s->keys != NULL)
        reload_keys(s);
}

/* open_secrets - the files of secrets, and SIGHUP to read them again. Without files SIGHUP ends the process, as ever. */
static int open_secrets(dgm_server *s)
{
    s->hang_up.data = s;
    if (uv_signal_init(&s->loop, &s->hang_up) != 0)
        return dgm_fail(DGM_EINTERNAL, "the event loop takes no signals");
    uv_unref((uv_handle_t *)&s->hang_up);
    const bool tokens = s->cfg.tokens[0] != '\0';
    const bool tls =
        s->cfg.tls.cert[0] != '\0' || s->cfg.tls.key[0] != '\0' || s->cfg.tls.client_ca[0] != '\0';
    if (tokens)
        DGM_TRY(dgm_tokens_read(&s->tokens, s->cfg.tokens));
    if (tls)
        DGM_TRY(dgm_tls_keys_read(&s->keys, &s->cfg.tls));
    if (!tokens && !tls)
        return DGM_OK;
    warn_secrets(&s->cfg);
    if (uv_signal_start(&s->hang_up, on_hang_up, SIGHUP) != 0)
        return dgm_fail(DGM_EINTERNAL, "the event loop takes no SIGHUP");
    return DGM_OK;
}

static void *run(void *ctx)
{
    dgm_server *s = ctx;
    dgm_fpenv_set();
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

int dgm_server_open(dgm_server **out, const dgm_server_config *cfg)
{
    dgm_server *s = calloc(1, sizeof *s);
    *out = NULL;
    if (s == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the server");
    s->cfg = *cfg;
    if (uv_loop_init(&s->loop) != 0) {
        free(s);
        return dgm_fail(DGM_EINTERNAL, "the event loop does not start: out of file descriptors?");
    }
    (void)pthread_mutex_init(&s->attached.lock, NULL);
    s->loop.data = s;
    s->to_read_end = &s->to_read;
    s->spare = -1;
    dgm_server_open_spare(s);
    s->wake.data = s->tick.data = s;
    int rc =
        uv_async_init(&s->loop, &s->wake, on_wake) == 0 && uv_timer_init(&s->loop, &s->tick) == 0
            ? DGM_OK
            : dgm_fail(DGM_EINTERNAL, "the event loop does not start");
    if (rc == DGM_OK)
        rc = dgm_requests_create(&s->requests, cfg->max_queue_tokens, wake, s);
    if (rc == DGM_OK)
        rc = dgm_answer_cache_create(&s->cache, cfg->cache_bytes);
    if (rc == DGM_OK)
        rc = dgm_server_limit_connections(s);
    if (rc == DGM_OK)
        rc = open_secrets(s);
    for (int i = 0; rc == DGM_OK && i < cfg->n_listen; i++)
        rc = dgm_server_listen(s, cfg->listen[i]);
    for (int i = 0; rc == DGM_OK && i < cfg->n_inherited; i++)
        rc = dgm_server_listen_inherited(s, i);
    if (rc == DGM_OK &&
        uv_timer_start(&s->tick, on_tick, DGM_SERVER_TICK_MS, DGM_SERVER_TICK_MS) != 0)
        rc = dgm_fail(DGM_EINTERNAL, "the event loop does not start");
    if (rc != DGM_OK) {
        dgm_server_close(s);
        return rc;
    }
    *out = s;
    return DGM_OK;
}

dgm_requests *dgm_server_requests(dgm_server *s)
{
    return s->requests;
}

dgm_server_counts dgm_server_look(const dgm_server *s)
{
    return (dgm_server_counts){.connections = atomic_load(&s->n_conns),
                               .accepted = atomic_load(&s->accepted),
                               .refused = atomic_load(&s->refused),
                               .received_bytes = atomic_load(&s->received_bytes),
                               .sent_bytes = atomic_load(&s->sent_bytes),
                               .memory_bytes = atomic_load(&s->held) + atomic_load(&s->work_held),
                               .memory_max_bytes = s->cfg.memory_bytes,
                               .cache = dgm_answer_cache_look(s->cache)};
}

const dgm_histogram *dgm_server_request_times(const dgm_server *s)
{
    return &s->request_times;
}

int dgm_server_start(dgm_server *s)
{
    /* Signals are the engine thread's. */
    sigset_t all, old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    const int rc = pthread_create(&s->thread, NULL, run, s);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return dgm_fail(DGM_EINTERNAL, "the net thread does not start: %s", strerror(rc));
    s->running = true;
    return DGM_OK;
}

void dgm_server_stop(dgm_server *s, int flush_ms)
{
    if (!s->running)
        return;
    atomic_store(&s->stopping, flush_ms + 1);
    (void)uv_async_send(&s->wake);
    (void)pthread_join(s->thread, NULL);
    s->running = false;
}

/* take_rest - what came back when nobody was there any more. */
static void take_rest(dgm_server *s)
{
    for (dgm_request *r = dgm_requests_take_done(s->requests), *next; r != NULL; r = next) {
        next = r->next;
        dgm_server_answer(r);
    }
}

void dgm_server_close(dgm_server *s)
{
    if (s == NULL)
        return;
    dgm_server_stop(s, 0);
    dgm_server_detach(s);
    for (int i = 0; i < s->n_listeners; i++)
        dgm_server_unlisten(&s->listeners[i]);
    uv_walk(&s->loop, close_handle, NULL);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&s->loop);
    if (s->spare >= 0)
        (void)close(s->spare);
    if (s->requests != NULL)
        take_rest(s);
    dgm_requests_destroy(s->requests);
    free(s->languages);
    free(s->names);
    dgm_answer_cache_destroy(s->cache);
    dgm_tokens_fini(&s->tokens);
    dgm_tls_keys_destroy(s->keys);
    dgm_wire_memory_fini(&s->memory);
    dgm_wire_memory_fini(&s->scratch);
    (void)pthread_mutex_destroy(&s->attached.lock);
    free(s);
}
