#define _GNU_SOURCE
#include "comm/comm.h"

#include "base/clock.h"
#include "base/fpenv.h"
#include "comm/guard.h"
#include "comm/internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct dgm_comm_ops *const backends[] = {
#if DGM_HAVE_MPI
    &dgm_comm_mpi, /* one process a rank, host memory */
#endif
    &dgm_comm_local, /* one rank, no messages: the oracle, and what a laptop runs */
};

/* Under srun without PMIx, or told to be alone, every process would take itself for the whole job.
 */
static int check_alone(void)
{
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS"), *ranks = getenv("OMPI_COMM_WORLD_SIZE");
    if (ranks != NULL && strtol(ranks, NULL, 10) > 1)
        return dgm_fail(DGM_ELAUNCH,
                        "mpirun started %s processes, and they would be %s copies of the same job; "
                        "want --comm auto or mpi, and a build with MPI",
                        ranks, ranks);
    if (ranks == NULL && tasks != NULL && strtol(tasks, NULL, 10) > 1)
        return dgm_fail(DGM_ELAUNCH,
                        "srun started %s tasks without PMIx, and they would be %s copies of the "
                        "same job; add --mpi=pmix to srun",
                        tasks, tasks);
    return DGM_OK;
}

static int choose(const struct dgm_comm_ops **out, const dgm_comm_config *cfg)
{
    const char *name = cfg->backend;
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        const bool is_auto = strcmp(name, "auto") == 0;
        if (is_auto ? !backends[i]->launched() : strcmp(name, backends[i]->name) != 0)
            continue;
        *out = backends[i];
        return backends[i] == &dgm_comm_local && !cfg->alone ? check_alone() : DGM_OK;
    }
    return dgm_fail(DGM_EUNSUPPORTED, "comm: want auto, local or mpi, as built in; found '%s'",
                    name);
}

/* What each rank tells the others at start. */
struct facts {
    char host[64];
    dgm_proc proc, guard;
};

static int meet(dgm_comm *c)
{
    struct facts mine, *all = calloc((size_t)c->size, sizeof *all);
    if (all == NULL)
        return dgm_fail(DGM_ENOMEM, "comm: out of memory for %d ranks", c->size);
    memset(&mine, 0, sizeof mine);
    (void)gethostname(mine.host, sizeof mine.host - 1);
    mine.proc = dgm_proc_self();
    mine.guard = dgm_proc_of(dgm_guard_pid());
    const int rc = dgm_comm_allgather(c, all, &mine, sizeof mine);
    int mates = 0;
    for (int r = 0; rc == DGM_OK && r < c->size; r++) {
        dgm_peer *p = &c->peers[r];
        memcpy(p->host, all[r].host, sizeof p->host);
        p->proc = all[r].proc;
        p->guard = all[r].guard;
        const bool same_host = strcmp(p->host, mine.host) == 0;
        c->on_host += same_host;
        p->here = same_host && r != c->rank && dgm_proc_watch(&p->proc);
        mates += p->here;
    }
    dgm_guard_mates(mates);
    free(all);
    return rc;
}

static void destroy(dgm_comm *c)
{
    for (int r = 0; c->peers != NULL && r < c->size; r++) {
        dgm_proc_unwatch(&c->peers[r].proc);
        free(c->peers[r].in);
    }
    for (int i = 0; i < c->n_slots; i++)
        free(c->slots[i].buf);
    free(c->slots);
    free(c->wires);
    free(c->peers);
    free(c);
}

int dgm_comm_open_with(dgm_comm **out, const struct dgm_comm_ops *ops, const dgm_comm_config *cfg)
{
    dgm_comm *c = calloc(1, sizeof *c);
    if (c == NULL)
        return dgm_fail(DGM_ENOMEM, "comm: out of memory");
    dgm_bell_hang(); /* before the message library starts its threads */
    c->ops = ops;
    c->stage = "start";
    c->layer = -1;
    c->speaker = -1;
    c->stall_ms = cfg->stall_ms;
    c->deadline_ms = cfg->deadline_ms;
    int rc = ops->open(&c->link);
    if (rc != DGM_OK)
        goto err_free;
    dgm_fpenv_set(); /* a message library may bring code that changes it */
    c->rank = c->link->rank;
    c->size = c->link->size;
    c->peers = calloc((size_t)c->size, sizeof *c->peers);
    c->wires = calloc((size_t)c->size * 2, sizeof *c->wires);
    if (c->peers == NULL || c->wires == NULL) {
        rc = dgm_fail(DGM_ENOMEM, "comm: out of memory for %d ranks", c->size);
        goto err_free;
    }
    for (int r = 0; r < c->size; r++) {
        c->peers[r].proc.fd = c->peers[r].guard.fd = -1;
        c->peers[r].waits_for = -1;
        (void)snprintf(c->peers[r].host, sizeof c->peers[r].host, "unknown");
    }
    rc = meet(c);
    if (rc != DGM_OK)
        dgm_comm_end(c, rc); /* the others are there already: nobody can go back */
    cpu_set_t mask;
    const int cpus = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : 1;
    c->crowded = c->on_host > cpus || sysconf(_SC_NPROCESSORS_ONLN) < c->on_host;
    dgm_end_mark("started", 0);
    *out = c;
    return DGM_OK;

err_free:
    destroy(c);
    return rc;
}

int dgm_comm_open(dgm_comm **out, const dgm_comm_config *cfg)
{
    const struct dgm_comm_ops *ops = NULL;
    DGM_TRY(choose(&ops, cfg));
    return dgm_comm_open_with(out, ops, cfg);
}

void dgm_comm_close(dgm_comm *c)
{
    if (c == NULL)
        return;
    /* The backend's own farewell has no deadline, so it is begun only when everybody is there. */
    dgm_comm_at(c, "close", -1);
    if (dgm_comm_agree(c, DGM_OK) != DGM_OK || dgm_post_flush(c) != DGM_OK)
        dgm_comm_end(c, c->verdict.code);
    c->ops->close(c->link);
    destroy(c);
}

void dgm_comm_abandon(dgm_comm *c)
{
    c->ops->close(c->link);
    destroy(c);
}

int dgm_comm_rank(const dgm_comm *c)
{
    return c->rank;
}

int dgm_comm_size(const dgm_comm *c)
{
    return c->size;
}

const char *dgm_comm_backend(const dgm_comm *c)
{
    return c->ops->name;
}

const char *dgm_comm_host(const dgm_comm *c, int rank)
{
    DGM_ASSERT(rank >= 0 && rank < c->size);
    return c->peers[rank].host;
}

int dgm_comm_ranks_on_host(const dgm_comm *c)
{
    return c->on_host;
}

void dgm_comm_set_limits(dgm_comm *c, int stall_ms, int deadline_ms)
{
    c->stall_ms = stall_ms;
    c->deadline_ms = deadline_ms;
}

int dgm_comm_beat_ms(int stall_ms)
{
    enum { BEATS = 4, LEAST_MS = 25, MOST_MS = 500 }; /* nobody warns before 50 ms (wait.c) */
    const int ms = stall_ms / BEATS;
    return ms < LEAST_MS ? LEAST_MS : ms > MOST_MS ? MOST_MS : ms;
}

void dgm_comm_on_stall(dgm_comm *c, void (*tell)(void *ctx, const char *sentence), void *ctx)
{
    c->on_stall = tell;
    c->on_stall_ctx = ctx;
}

void dgm_comm_at(dgm_comm *c, const char *stage, int layer)
{
    atomic_store_explicit(&c->stage, stage, memory_order_relaxed);
    atomic_store_explicit(&c->layer, layer, memory_order_relaxed);
    atomic_store_explicit(&c->at_ns, dgm_now_ns(), memory_order_relaxed);
    dgm_guard_at(stage, layer);
}

int64_t dgm_comm_where(const dgm_comm *c, char *where, size_t size)
{
    const char *stage = atomic_load_explicit(&c->stage, memory_order_relaxed);
    const int layer = atomic_load_explicit(&c->layer, memory_order_relaxed);
    if (layer >= 0)
        (void)snprintf(where, size, "%s, layer %d", stage, layer);
    else
        (void)snprintf(where, size, "%s", stage);
    return atomic_load_explicit(&c->at_ns, memory_order_relaxed);
}

void dgm_comm_busy(dgm_comm *c, const char *doing)
{
    const int64_t now = dgm_now_ns();
    atomic_store_explicit(&c->at_ns, now, memory_order_relaxed);
    if (c->size == 1 || now - c->told_busy_ns < (int64_t)c->stall_ms * 500000)
        return;
    c->told_busy_ns = now;
    dgm_notice n = {.kind = DGM_NOTICE_BUSY, .rank = c->rank};
    (void)snprintf(n.text, sizeof n.text, "%s", doing);
    dgm_notice_tell(c, &n, -1);
    dgm_wait_notices(c); /* others may say the same for as long: nothing piles up */
}

int dgm_comm_allgather(dgm_comm *c, void *all, const void *mine, size_t bytes)
{
    DGM_ASSERT(bytes <= DGM_WIRE_MAX);
    int n = 0;
    for (int i = 1; i < c->size; i++, n++) {
        const int to = (c->rank + i) % c->size, from = (c->rank + c->size - i) % c->size;
        c->wires[n] = (dgm_wire){.peer = to, .buf = (void *)(uintptr_t)mine, .bytes = bytes};
        c->wires[c->size + n] =
            (dgm_wire){.peer = from, .buf = (char *)all + (size_t)from * bytes, .bytes = bytes};
    }
    memcpy((char *)all + (size_t)c->rank * bytes, mine, bytes);
    const dgm_round r = {DGM_CH_GATHER, c->wires, c->wires + c->size, n, n, 0};
    DGM_TRY(dgm_wait_round(c, "gather", &r));
    for (int i = 0; i < n; i++) {
        const dgm_wire *w = &r.recvs[i];
        if (w->bytes != bytes)
            return dgm_wait_verdict(
                c, DGM_EINTERNAL, w->peer,
                "rank %d (%s) and rank %d (%s) gather different things: %zu and %zu bytes", w->peer,
                c->peers[w->peer].host, c->rank, c->peers[c->rank].host, w->bytes, bytes);
    }
    return DGM_OK;
}

/* What a rank says when all agree on a status. */
struct vote {
    int32_t status;
    char text[DGM_VERDICT_LEN];
};

int dgm_comm_agree(dgm_comm *c, int status)
{
    if (c->size == 1)
        return status;
    struct vote mine, *all = calloc((size_t)c->size, sizeof *all);
    if (all == NULL)
        return dgm_fail(DGM_ENOMEM, "comm: out of memory for %d ranks", c->size);
    memset(&mine, 0, sizeof mine);
    mine.status = status;
    if (status != DGM_OK)
        (void)snprintf(mine.text, sizeof mine.text, "%s", dgm_error_text());
    int rc = dgm_comm_allgather(c, all, &mine, sizeof mine);
    for (int r = 0; rc == DGM_OK && r < c->size; r++) {
        if (all[r].status != DGM_OK)
            rc = dgm_fail(all[r].status, "rank %d (%s): %s", r, c->peers[r].host, all[r].text);
    }
    free(all);
    return rc;
}
