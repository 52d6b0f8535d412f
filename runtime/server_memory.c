/*
 * The memory that clients take, in all: what was received and is no whole frame, what is not sent, and lines that wait or are in work. Beyond
 * the limit, work is refused (BUSY), and connections that hold most are let go, so that many bad peers cost no more than one. Lines may have
 * half of it, so that frames still come in while lines wait.
 */
#include "base/log.h"
#include "runtime/server_state.h"

enum {
    TLS_BYTES = 48 << 10,   /* about what OpenSSL has for a connection */
    SMALL_BYTES = 64 << 10, /* who holds no more is never let go for it */
    MIB = 1 << 20
};

static size_t buffers_of(const dgm_conn *c)
{
    return c->in.cap + c->out.cap + c->flying.cap + (c->reading != NULL ? c->reading->bytes : 0) +
           (c->tls != NULL ? TLS_BYTES + dgm_tls_unsent(c->tls) : 0);
}

static void weigh(dgm_conn *c, size_t now)
{
    dgm_server *s = c->server;
    atomic_store(&s->held, atomic_load(&s->held) - c->held + now);
    c->held = now;
}

void dgm_conn_weigh(dgm_conn *c)
{
    if (!c->closing)
        weigh(c, sizeof *c + buffers_of(c));
}

void dgm_conn_weigh_nothing(dgm_conn *c)
{
    weigh(c, 0);
}

static size_t all(const dgm_server *s)
{
    return atomic_load(&s->held) + atomic_load(&s->work_held);
}

/* let_go - of what it was sending nothing is kept; if it reads it is told why. */
static void let_go(dgm_conn *c, size_t held)
{
    dgm_server *s = c->server;
    atomic_fetch_add(&s->refused, 1);
    (void)dgm_fail(DGM_EBUSY,
                   "the memory for clients is full: want at most %zu MiB (--max-memory-mib), and "
                   "this connection held most: %zu MiB",
                   s->cfg.memory_bytes / MIB, held / MIB);
    dgm_log_of(DGM_LOG_WARN, "serve", (dgm_log_id){.connection = c->number}, "(%s) is closed: %s",
               c->name, dgm_error_text());
    if (c->ending || c->writing) {
        dgm_conn_close(c);
        return;
    }
    dgm_frame_reader_fini(&c->in);
    dgm_conn_last_error(c, DGM_WIRE_ERROR_BUSY, dgm_error_text(), 1000);
    dgm_conn_weigh(c);
}

void dgm_server_shed(dgm_server *s)
{
    while (all(s) > s->cfg.memory_bytes) {
        dgm_conn *most = NULL;
        for (dgm_conn *c = s->conns; c != NULL; c = c->next)
            if (!c->closing && (most == NULL || c->held > most->held))
                most = c;
        if (most == NULL || most->held <= SMALL_BYTES)
            return;
        let_go(most, most->held);
    }
}

/* ---- lines ---- */

static size_t job_bytes(const dgm_server_job *j)
{
    size_t bytes = sizeof *j + (size_t)j->n * sizeof j->requests[0];
    for (int i = 0; i < j->n; i++) {
        const dgm_request *r = &j->requests[i];
        const dgm_stream_line *l = &r->line;
        const size_t n_best = (size_t)r->cfg.decode.n_best;
        bytes += l->len + (size_t)l->n_beside * sizeof *l->beside;
        for (int k = 0; k < l->segments.n; k++) {
            const size_t ids = (size_t)l->segments.at[k].n; /* a translation is about as long */
            bytes += sizeof l->segments.at[k] + ids * sizeof(int32_t) + sizeof *l->parts +
                     n_best * (sizeof *l->parts->hyps + ids * sizeof(int64_t));
        }
    }
    return bytes;
}

static int crowded(const dgm_server *s, size_t work)
{
    return dgm_fail(DGM_EBUSY,
                    "the memory for clients is full: %zu MiB for lines of %zu MiB in all, want at "
                    "most %zu MiB (--max-memory-mib)",
                    work / MIB, (atomic_load(&s->held) + work) / MIB, s->cfg.memory_bytes / MIB);
}

bool dgm_server_crowded(const dgm_server *s)
{
    const size_t work = atomic_load(&s->work_held);
    if (work <= s->cfg.memory_bytes / 2 && all(s) <= s->cfg.memory_bytes)
        return false;
    (void)crowded(s, work);
    return true;
}

int dgm_server_take_work(dgm_server *s, dgm_server_job *j)
{
    const size_t before = atomic_load(&s->work_held), work = before + (j->bytes = job_bytes(j));
    if (before > 0 &&
        (work > s->cfg.memory_bytes / 2 || atomic_load(&s->held) + work > s->cfg.memory_bytes))
        return crowded(s, work);
    atomic_store(&s->work_held, work);
    return DGM_OK;
}

void dgm_server_end_work(dgm_server *s, const dgm_server_job *j)
{
    atomic_fetch_sub(&s->work_held, j->bytes);
}
