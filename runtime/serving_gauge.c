#include "runtime/serving_gauge.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum { SMOOTH = 32 }; /* steps that bear on the imbalance told */

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

/* stalled - and why, where it is. */
static bool stalled(dgm_serving_health *h, dgm_serving_gauge *g)
{
    (void)pthread_mutex_lock(&g->lock);
    (void)snprintf(h->why, sizeof h->why, "%s", g->stall);
    (void)pthread_mutex_unlock(&g->lock);
    if (h->why[0] == '\0' && !h->alive)
        (void)snprintf(h->why, sizeof h->why, "the engine takes no steps for %.0f s",
                       (double)h->tick_age_ms * 1e-3);
    return h->why[0] != '\0';
}

static enum dgm_serving_state tell(dgm_serving_health *h, enum dgm_serving_state state,
                                   const char *why)
{
    (void)snprintf(h->why, sizeof h->why, "%s", why);
    return state;
}

dgm_serving_health dgm_serving_look(dgm_serving_gauge *g, dgm_requests *q)
{
    dgm_serving_health h = {.alive = true,
                            .tick_age_ms = (dgm_now_ns() - atomic_load(&g->tick_ns)) / 1000000};
    if (atomic_load(&g->over)) {
        h.state = tell(&h, DGM_SERVING_OVER, "the engine has ended");
    } else if (!atomic_load(&g->ready)) {
        h.state = tell(&h, DGM_SERVING_STARTING, "the server reads its model");
    } else {
        h.alive = h.tick_age_ms <= DGM_SERVING_STALL_MS;
        if (stalled(&h, g))
            h.state = DGM_SERVING_STALLED;
        else if (dgm_requests_draining(q, NULL))
            h.state = tell(&h, DGM_SERVING_DRAINING, "draining");
        else
            h.state = DGM_SERVING_READY;
    }
    return h;
}
