#include "runtime/serving_gauge.h"

#include "base/clock.h"
#include "base/log.h"
#include "runtime/systemd.h"

#include <stdio.h>
#include <string.h>

enum { SMOOTH = 32 }; /* steps that bear on the imbalance told */
static const int64_t OWN_ABSENCE_NS = 1000000000, FEED_NS = 2000000000;

static void store(atomic_uint_least64_t *to, uint64_t value)
{
    atomic_store_explicit(to, value, memory_order_relaxed);
}

/* note_stages - of a stack that this step went through. */
static void note_stages(dgm_serving_gauge *g, const dgm_stage_clock *before,
                        const dgm_stage_clock *now, int stack)
{
    int64_t all = 0;
    if (now->steps[stack] == before->steps[stack])
        return;
    for (int i = 0; i < DGM_STAGES; i++) {
        const int64_t ns = now->total[stack][i].ns - before->total[stack][i].ns;
        all += ns;
        if (ns > 0)
            dgm_histogram_note(&g->stage[stack][i], ns);
    }
    if (all > 0)
        dgm_histogram_note(&g->phase[stack], all);
}

/* note_load - how evenly this step's rows fell on experts and ranks. */
static void note_load(const dgm_serving_config *cfg, dgm_serving_gauge *g, dgm_seen *seen,
                      const dgm_engine_load *now, int stack)
{
    const dgm_engine_load *before = &seen->loads[stack];
    double *mean = seen->mean[stack];
    const uint64_t step[3] = {now->rows - before->rows,
                              now->busiest_expert - before->busiest_expert,
                              now->busiest_rank - before->busiest_rank};
    if (step[0] == 0)
        return;
    const bool first = mean[0] == 0;
    for (int i = 0; i < 3; i++)
        mean[i] = first ? (double)step[i] : mean[i] + ((double)step[i] - mean[i]) / SMOOTH;
    store(&g->expert_rows[stack], now->rows);
    store(&g->expert_imbalance_ppm[stack],
          (uint64_t)(1e6 * mean[1] * cfg->n_experts[stack] / mean[0]));
    store(&g->rank_imbalance_ppm[stack], (uint64_t)(1e6 * mean[2] * cfg->ranks / mean[0]));
}

static void note_ranks(dgm_serving_gauge *g, const dgm_engine_stats *all, int ranks)
{
    uint64_t shared = 0;
    for (int r = 0; r < ranks; r++)
        shared += all[r].shared_tokens;
    store(&g->shared_tokens, shared);
    for (int r = 0; r < atomic_load(&g->n_ranks); r++) {
        store(&g->ranks[r].sent_bytes, all[r].exchange_bytes);
        store(&g->ranks[r].received_bytes, all[r].exchange_received);
        store(&g->ranks[r].wait_ns, (uint64_t)(all[r].exchange_wait_s * 1e9));
        store(&g->ranks[r].encoded_tokens, all[r].encoded_tokens);
        store(&g->ranks[r].decoded_rows, all[r].decoded_rows);
        store(&g->ranks[r].resident_bytes, all[r].rss_bytes);
    }
}

void dgm_serving_publish(const dgm_serving_config *cfg, dgm_serving_gauge *g, dgm_seen *seen,
                         const dgm_stage_clock *clock, int64_t ns)
{
    const dgm_engine_stats *all = dgm_engine_all_stats(cfg->engine);
    const dgm_engine_load *loads = dgm_engine_loads(cfg->engine);
    const int in_flight = atomic_load(&g->in_flight);
    atomic_fetch_add(&g->steps, 1);
    if (in_flight > 0) {
        atomic_fetch_add(&g->busy_slots, (uint64_t)in_flight);
        dgm_histogram_note(&g->step, ns);
        if (cfg->ranks > 1)
            dgm_histogram_note(&g->wait, (int64_t)((all[0].exchange_wait_s - seen->wait_s) * 1e9));
    }
    for (int k = 0; k < DGM_STACKS; k++) {
        note_stages(g, &seen->clock, clock, k);
        note_load(cfg, g, seen, &loads[k], k);
        seen->loads[k] = loads[k];
    }
    note_ranks(g, all, cfg->ranks);
    seen->clock = *clock;
    seen->wait_s = all[0].exchange_wait_s;
}

/* ---- is it well ---- */

void dgm_serving_gauge_init(dgm_serving_gauge *g)
{
    memset(g, 0, sizeof *g);
    (void)pthread_mutex_init(&g->lock, NULL);
}

void dgm_serving_stall(void *ctx, const char *sentence)
{
    dgm_serving_gauge *g = ctx;
    (void)pthread_mutex_lock(&g->lock);
    (void)snprintf(g->stall, sizeof g->stall, "%s", sentence == NULL ? "" : sentence);
    (void)pthread_mutex_unlock(&g->lock);
}

void dgm_serving_engine_is(dgm_serving_gauge *g, const dgm_comm *comm, int stall_ms)
{
    (void)pthread_mutex_lock(&g->lock);
    g->comm = comm;
    g->stall_ms = stall_ms;
    (void)pthread_mutex_unlock(&g->lock);
}

/* look_at_engine - does it go on, and if not, where does it stand, or for whom does it wait? */
static void look_at_engine(dgm_serving_health *h, dgm_serving_gauge *g)
{
    char where[64] = "a step";
    int64_t last_ns = atomic_load(&g->tick_ns);
    (void)pthread_mutex_lock(&g->lock);
    if (g->comm != NULL) {
        const int64_t layer_ns = dgm_comm_where(g->comm, where, sizeof where);
        last_ns = layer_ns > last_ns ? layer_ns : last_ns;
        h->tick_age_ms = (dgm_now_ns() - last_ns) / 1000000;
        h->alive = h->tick_age_ms <= (int64_t)g->stall_ms * DGM_SERVING_STALLS;
    }
    h->waits = g->stall[0] != '\0';
    if (h->waits)
        (void)snprintf(h->why, sizeof h->why, "%s", g->stall);
    else if (!h->alive)
        (void)snprintf(h->why, sizeof h->why, "rank 0 is since %.1f s in %s, and does not go on",
                       (double)h->tick_age_ms * 1e-3, where);
    (void)pthread_mutex_unlock(&g->lock);
}

static enum dgm_serving_state tell(dgm_serving_health *h, enum dgm_serving_state state,
                                   const char *why)
{
    (void)snprintf(h->why, sizeof h->why, "%s", why);
    return state;
}

dgm_serving_health dgm_serving_look(dgm_serving_gauge *g, dgm_requests *q)
{
    dgm_serving_health h = {.alive = true};
    if (atomic_load(&g->over)) {
        h.state = tell(&h, DGM_SERVING_OVER, "the engine has ended");
    } else if (!atomic_load(&g->ready) && dgm_requests_draining(q, NULL)) {
        h.state = tell(&h, DGM_SERVING_DRAINING, "draining: it ends when it has read its model");
    } else if (!atomic_load(&g->ready)) {
        h.state = tell(&h, DGM_SERVING_STARTING, "the server reads its model");
    } else {
        look_at_engine(&h, g);
        if (h.why[0] != '\0')
            h.state = DGM_SERVING_STALLED;
        else if (dgm_requests_draining(q, NULL))
            h.state = tell(&h, DGM_SERVING_DRAINING, "draining");
        else
            h.state = DGM_SERVING_READY;
    }
    return h;
}

/* tell_systemd - news, and now and then that all is well. */
static void tell_systemd(dgm_serving_gauge *g, const dgm_serving_health *h, int64_t now)
{
    static const char *const news[] = {
        [DGM_SERVING_STARTING] = "STATUS=reads its model",
        [DGM_SERVING_READY] = "READY=1\nSTATUS=takes requests",
        [DGM_SERVING_STALLED] = "STATUS=stalled",
        [DGM_SERVING_DRAINING] = "STOPPING=1\nSTATUS=draining",
        [DGM_SERVING_OVER] = "STOPPING=1\nSTATUS=ends",
    };
    if (g->told_ns == 0 || h->state != g->told_state)
        dgm_systemd_tell(news[h->state]);
    g->told_state = h->state;
    if (h->alive && now - g->told_ns > FEED_NS) {
        dgm_systemd_tell("WATCHDOG=1");
        g->told_ns = now;
    }
}

void dgm_serving_watch(dgm_serving_gauge *g, dgm_requests *q)
{
    const int64_t now = dgm_now_ns();
    const bool absent = now - g->watched_ns > OWN_ABSENCE_NS;
    g->watched_ns = now;
    if (absent) /* this process was stopped, or starved: so was the engine */
        return;
    const dgm_serving_health h = dgm_serving_look(g, q);
    const bool stands = !h.alive && !h.waits; /* of waits comm/wait.c tells */
    if (stands != g->told)
        dgm_log(DGM_LOG_WARN, "serve", "%s", stands ? h.why : "the engine goes on");
    g->told = stands;
    tell_systemd(g, &h, now);
}
