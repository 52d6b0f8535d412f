/* Bytes of one connection: read into frames, frames written, and patience with its peer. */
#define _GNU_SOURCE /* POLLRDHUP */
#include "base/clock.h"
#include "base/log.h"
#include "runtime/server_state.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEEPALIVE_S = 60 }; /* then a peer that is silent is asked whether it is there */

static void on_closed(uv_handle_t *h)
{
    dgm_conn *c = h->data;
    dgm_server *s = c->server;
    if (c->before != NULL)
        c->before->next = c->next;
    else
        s->conns = c->next;
    if (c->next != NULL)
        c->next->before = c->before;
    if (atomic_fetch_sub(&s->n_conns, 1) <= s->cfg.max_connections && s->full &&
        atomic_load(&s->stopping) == 0) {
        s->full = false;
        dgm_log(DGM_LOG_INFO, "serve", "clients are taken again");
    }
    dgm_tls_destroy(c->tls);
    dgm_frame_reader_fini(&c->in);
    dgm_frame_buffer_fini(&c->out);
    dgm_frame_buffer_fini(&c->flying);
    free(c);
    /* who waits for the last one is not told otherwise */
    if (s->conns == NULL && atomic_load(&s->stopping) > 0)
        (void)uv_async_send(&s->wake);
}

/* about - the connection, for the log. */
static dgm_log_id about(const dgm_conn *c)
{
    return (dgm_log_id){.connection = c->number};
}

void dgm_conn_close(dgm_conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    dgm_server_forget(c);
    if (c->client != NULL)
        dgm_requests_leave(c->server->requests, c->client);
    c->client = NULL;
    dgm_conn_weigh_nothing(c); /* it will be free before anything else is taken */
    dgm_log_of(DGM_LOG_DEBUG, "serve", about(c), "(%s) is closed", c->name);
    uv_close(&c->socket.handle, on_closed);
}

static size_t unsent(const dgm_conn *c)
{
    return (c->out.len - c->out.at) + (c->flying.len - c->flying.at) +
           (c->tls == NULL ? 0 : dgm_tls_unsent(c->tls));
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    dgm_conn *c = h->data;
    size_t n = 0;
    (void)suggested;
    if (c->tls != NULL) {
        *buf = uv_buf_init(c->server->sealed, sizeof c->server->sealed);
        return;
    }
    buf->base = (char *)dgm_frame_reader_space(&c->in, &n);
    buf->len = buf->base == NULL ? 0 : n;
}

/* take_frames - all that have come; a client that does not take its answers waits with the rest. */
static void take_frames(dgm_conn *c)
{
    for (;;) {
        int found;
        const uint8_t *body;
        size_t len;
        if (c->ending || c->closing || c->reading != NULL || unsent(c) > DGM_SERVER_READ_LIMIT)
            return;
        if (dgm_frame_reader_next(&c->in, &found, &body, &len) != DGM_OK) {
            dgm_conn_last_error(c, DGM_WIRE_ERROR_BAD_FRAME, dgm_error_text(), 0);
            return;
        }
        if (!found)
            return;
        dgm_server_frame(c, body, len);
    }
}

/* open_sealed - false: what came is none of this connection's frames, and it ends. */
static bool open_sealed(dgm_conn *c, const char *bytes, size_t n)
{
    const int rc = dgm_tls_receive(c->tls, &c->in, bytes, n);
    if (rc == DGM_OK)
        return true;
    if (rc == DGM_EPEER || rc == DGM_ENOMEM) {
        dgm_conn_close(c);
        return false;
    }
    dgm_log(DGM_LOG_INFO, "serve", "connection %llu (%s) ends: %s", (unsigned long long)c->number,
            c->name, dgm_error_text());
    if (rc == DGM_EUNSUPPORTED) { /* then it can be told in plain */
        dgm_tls_destroy(c->tls);
        c->tls = NULL;
        dgm_conn_last_error(c, DGM_WIRE_ERROR_BAD_FRAME, dgm_error_text(), 0);
    }
    dgm_server_forget(c);
    dgm_conn_end(c);
    return false;
}

static void pace_reading(dgm_conn *c);

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    dgm_conn *c = stream->data;
    if (n == 0 || c->closing)
        return;
    if (n < 0) { /* its end, or an error: nobody reads answers any more */
        dgm_conn_close(c);
        return;
    }
    c->heard_ns = dgm_now_ns();
    atomic_fetch_add_explicit(&c->server->received_bytes, (uint64_t)n, memory_order_relaxed);
    if (c->tls == NULL)
        dgm_frame_reader_filled(&c->in, (size_t)n);
    else if (!open_sealed(c, buf->base, (size_t)n))
        return;
    dgm_conn_go_on(c);
    dgm_server_shed(c->server);
}

void dgm_conn_go_on(dgm_conn *c)
{
    take_frames(c);
    dgm_conn_flush(c);
    if (!c->closing)
        pace_reading(c);
    dgm_conn_weigh(c);
}

/* pace_reading - reads while there is room for answers, and its last frame was taken. */
static void pace_reading(dgm_conn *c)
{
    const size_t n = unsent(c);
    if (!c->paused && (n > DGM_SERVER_READ_LIMIT || c->reading != NULL)) {
        c->paused = true;
        (void)uv_read_stop(&c->socket.stream);
    } else if (c->paused && !c->ending && c->reading == NULL && n < DGM_SERVER_READ_LIMIT / 2) {
        c->heard_ns = dgm_now_ns(); /* it was not listened to */
        c->paused = false;
        (void)uv_read_start(&c->socket.stream, on_alloc, on_read);
        take_frames(c); /* what had come before */
    }
}

static void on_written(uv_write_t *w, int status)
{
    dgm_conn *c = w->data;
    c->writing = false;
    if (status < 0) {
        dgm_conn_close(c);
        return;
    }
    c->moved_ns = dgm_now_ns();
    atomic_fetch_add_explicit(&c->server->sent_bytes, c->flying.len - c->flying.at,
                              memory_order_relaxed);
    dgm_frame_buffer_sent(&c->flying, c->flying.len - c->flying.at);
    if (c->closing)
        return;
    pace_reading(c);
    dgm_conn_flush(c);
    dgm_conn_weigh(c);
}

static void on_alloc_waste(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    dgm_conn *c = h->data;
    (void)suggested;
    *buf = uv_buf_init(c->server->sealed, sizeof c->server->sealed);
}

static void on_read_waste(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    if (n < 0)
        dgm_conn_close(stream->data);
}

/*
 * part - all is sent. To close a TCP socket on which something was not read takes from the peer what it has not read yet: so it is told
 * of the end, and what it still says, until it has heard, is read for nothing.
 */
static void part(dgm_conn *c)
{
    uv_os_fd_t fd;
    if (c->parted)
        return;
    if (c->local || !c->greeted || atomic_load(&c->server->stopping) > 0 ||
        uv_fileno(&c->socket.handle, &fd) != 0 || shutdown(fd, SHUT_WR) != 0 ||
        uv_read_start(&c->socket.stream, on_alloc_waste, on_read_waste) != 0) {
        dgm_conn_close(c);
        return;
    }
    c->parted = true;
    c->moved_ns = dgm_now_ns();
    dgm_frame_reader_fini(&c->in);
    dgm_frame_buffer_fini(&c->out);
    dgm_frame_buffer_fini(&c->flying);
    dgm_log_of(DGM_LOG_DEBUG, "serve", about(c), "(%s) has all its answers", c->name);
}

/* load - what is to fly next, of what is queued. */
static int load(dgm_conn *c, bool last)
{
    if (c->tls != NULL)
        return dgm_tls_seal(c->tls, &c->flying, &c->out, last);
    if (c->out.len > c->out.at) {
        const dgm_frame_buffer empty = c->flying;
        c->flying = c->out;
        c->out = empty;
    }
    return DGM_OK;
}

void dgm_conn_flush(dgm_conn *c)
{
    if (c->closing || c->writing)
        return;
    const bool last = c->ending && c->jobs == NULL && c->reading == NULL;
    const int rc = load(c, last);
    if (rc != DGM_OK || c->flying.len == c->flying.at) {
        if (rc != DGM_OK)
            dgm_conn_close(c);
        else if (last)
            part(c);
        return;
    }
    const uv_buf_t buf = uv_buf_init((char *)c->flying.data + c->flying.at,
                                     (unsigned)(c->flying.len - c->flying.at));
    c->write.data = c;
    c->queued = buf.len;
    c->moved_ns = dgm_now_ns();
    c->writing = true;
    if (uv_write(&c->write, &c->socket.stream, &buf, 1, on_written) != 0) {
        c->writing = false;
        dgm_conn_close(c);
        return;
    }
    pace_reading(c);
}

void dgm_conn_send(dgm_conn *c, const dgm_wire_frame *f)
{
    if (c->closing)
        return;
    if (dgm_wire_encode_or_fail(&c->out, &c->server->scratch, f) != DGM_OK) {
        dgm_log_of(DGM_LOG_WARN, "serve", about(c), "(%s) is closed: %s", c->name,
                   dgm_error_text());
        dgm_conn_close(c);
    } else if (unsent(c) > DGM_SERVER_WRITE_LIMIT) {
        dgm_log_of(DGM_LOG_WARN, "serve", about(c),
                   "(%s) is closed: it does not take its answers, %zu bytes wait", c->name,
                   unsent(c));
        dgm_conn_close(c);
    }
    dgm_conn_weigh(c);
}

static void send_error(dgm_conn *c, uint64_t id, enum dgm_wire_error_code code, const char *message,
                       int retry_ms, int credits, bool closing)
{
    char text[512];
    (void)snprintf(text, sizeof text, "%s", message);
    const dgm_wire_frame f = {.id = id,
                              .kind = DGM_WIRE_ERROR,
                              .as.error = {.code = code,
                                           .message = text,
                                           .retry = dgm_wire_error_retry(code),
                                           .retry_after_ms = (uint32_t)retry_ms,
                                           .closing = closing,
                                           .credits = (uint32_t)credits}};
    dgm_log_of(DGM_LOG_DEBUG, "serve", (dgm_log_id){c->number, id}, "error %s: %s",
               dgm_wire_error_name(code), text);
    c->credits += credits;
    dgm_conn_send(c, &f);
    if (closing)
        dgm_conn_end(c);
}

void dgm_conn_error(dgm_conn *c, uint64_t id, enum dgm_wire_error_code code, const char *message,
                    int retry_ms, int credits)
{
    send_error(c, id, code, message, retry_ms, credits, !c->greeted);
}

void dgm_conn_last_error(dgm_conn *c, enum dgm_wire_error_code code, const char *message,
                         int retry_ms)
{
    send_error(c, 0, code, message, retry_ms, 0, true);
}

void dgm_conn_end(dgm_conn *c)
{
    if (c->closing || c->ending)
        return;
    c->ending = true;
    (void)uv_read_stop(&c->socket.stream);
    dgm_conn_flush(c);
}

static void note_progress(dgm_conn *c, int64_t now_ns)
{
    const size_t left = uv_stream_get_write_queue_size(&c->socket.stream);
    if (left < c->queued)
        c->moved_ns = now_ns;
    c->queued = left;
}

static bool longer(int64_t since_ns, int64_t now_ns, int ms)
{
    return now_ns - since_ns > (int64_t)ms * 1000000;
}

/* hung_up - which nobody is told of while it is not read from. */
static bool hung_up(const dgm_conn *c)
{
    struct pollfd p = {.events = POLLRDHUP};
    return uv_fileno(&c->socket.handle, &p.fd) == 0 && poll(&p, 1, 0) > 0;
}

void dgm_conn_tick(dgm_conn *c, int64_t now_ns)
{
    const dgm_server_config *cfg = &c->server->cfg;
    if (c->closing)
        return;
    if (c->reading != NULL && hung_up(c)) { /* then its frame need not be read */
        dgm_conn_close(c);
        return;
    }
    if (c->writing) {
        note_progress(c, now_ns);
        if (longer(c->moved_ns, now_ns, cfg->write_ms)) {
            dgm_log_of(DGM_LOG_WARN, "serve", about(c), "(%s) is closed: it took no byte for %d ms",
                       c->name, cfg->write_ms);
            dgm_conn_close(c);
        }
        return;
    }
    if (c->parted && longer(c->moved_ns, now_ns, cfg->write_ms))
        dgm_conn_close(c);
    if (c->ending || c->reading != NULL)
        return;
    if (!c->greeted && longer(c->began_ns, now_ns, cfg->hello_ms))
        dgm_conn_last_error(c, DGM_WIRE_ERROR_TIME_OUT, "no hello in time", 0);
    else if (c->jobs == NULL && dgm_frame_reader_pending(&c->in) > 0 &&
             longer(c->heard_ns, now_ns, cfg->write_ms))
        dgm_conn_last_error(c, DGM_WIRE_ERROR_TIME_OUT,
                            "a frame that was begun was not ended in time", 0);
    else if (c->greeted && cfg->idle_ms > 0 && c->jobs == NULL &&
             longer(c->heard_ns, now_ns, cfg->idle_ms))
        dgm_conn_last_error(c, DGM_WIRE_ERROR_TIME_OUT, "idle for too long", 0);
    dgm_conn_flush(c);
}

static void on_refused(uv_handle_t *h)
{
    free(h->data);
}

static int take_socket(dgm_conn *c, int fd)
{
    uv_loop_t *loop = &c->server->loop;
    int rc = c->local ? uv_pipe_init(loop, &c->socket.pipe, 0) : uv_tcp_init(loop, &c->socket.tcp);
    DGM_ASSERT(rc == 0); /* neither does more than fill in a struct */
    c->socket.handle.data = c;
    rc = c->local ? uv_pipe_open(&c->socket.pipe, fd) : uv_tcp_open(&c->socket.tcp, fd);
    if (rc != 0) {
        (void)close(fd);
        return dgm_fail(DGM_EINTERNAL, "a client's socket: %s", uv_strerror(rc));
    }
    if (!c->local)
        (void)(uv_tcp_nodelay(&c->socket.tcp, 1) +
               uv_tcp_keepalive(&c->socket.tcp, 1, KEEPALIVE_S));
    return DGM_OK;
}

/* begin - it is one of the server's from now on. */
static void begin(dgm_conn *c, dgm_server *s)
{
    c->number = ++s->n_accepted;
    c->began_ns = c->heard_ns = c->moved_ns = dgm_now_ns();
    (void)snprintf(c->name, sizeof c->name, "-");
    c->next = s->conns;
    if (c->next != NULL)
        c->next->before = c;
    s->conns = c;
    atomic_store(&s->accepted, s->n_accepted);
    const bool sealed = c->local || s->keys == NULL || dgm_tls_begin(&c->tls, s->keys) == DGM_OK;
    if (atomic_fetch_add(&s->n_conns, 1) >= s->cfg.max_connections) {
        if (!s->full)
            dgm_log(DGM_LOG_WARN, "serve", "clients are refused: there are %d (--max-connections)",
                    s->cfg.max_connections);
        s->full = true;
        atomic_fetch_add(&s->refused, 1);
        (void)dgm_fail(DGM_EBUSY, "too many connections: want at most %d", s->cfg.max_connections);
        dgm_conn_last_error(c, DGM_WIRE_ERROR_CONNECTIONS, dgm_error_text(), 1000);
    } else if (!sealed || dgm_requests_join(s->requests, &c->client) != DGM_OK) {
        dgm_conn_last_error(c, DGM_WIRE_ERROR_INTERNAL, dgm_error_text(), 0);
    } else {
        (void)uv_read_start(&c->socket.stream, on_alloc, on_read);
    }
    dgm_conn_flush(c);
    dgm_conn_weigh(c);
}

void dgm_conn_open(dgm_server *s, int fd, bool local)
{
    dgm_conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        (void)close(fd);
        return;
    }
    c->server = s;
    c->local = local;
    if (take_socket(c, fd) == DGM_OK) {
        begin(c, s);
        return;
    }
    dgm_log(DGM_LOG_WARN, "serve", "%s", dgm_error_text());
    uv_close(&c->socket.handle, on_refused);
}
