#include "runtime/footprint.h"

#include "kernels/gemm.h"
#include "kernels/vocab.h"

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static int dense_ranks(const dgm_engine_config *cfg, int ranks)
{
    return cfg->dense_ranks == 0 ? ranks : cfg->dense_ranks;
}

/* What a rank's share of a step is made of. */
typedef struct share {
    int tokens, rows;
    double sentences;
} share;

static share share_of(const dgm_engine_config *cfg, int ranks)
{
    const int dense = dense_ranks(cfg, ranks), beam = dgm_engine_usual_beam(cfg),
              slots = cfg->batch_rows / beam / dense;
    share s = {.tokens = (cfg->batch_tokens + dense - 1) / dense,
               .sentences = slots < 1 ? 1 : slots};
    s.rows = (int)s.sentences * beam;
    return s;
}

/*
 * Rows through the two matrices of experts: what leaves and comes back, what is served, as many as leave. Where steps go
 * now whole and now in halves, the second half has room of its own beside that for all.
 */
static double mixture(const dgm_model *m, int ranks, int rows, int wide, int n_threads)
{
    const dgm_model_config *c = &m->cfg;
    const int n_experts = dgm_config_most_experts(c), assigned = c->top_k * rows;
    if (n_experts == 0)
        return 0;
    const double d = c->d_model, copies = ranks > 1 ? c->top_k : 1, sides = ranks > 1 ? 2 : 1;
    return sides * copies * rows * 2 * d * sizeof(float) +
           rows * (double)n_experts * sizeof(float) + assigned * (d + wide) * sizeof(float) +
           (double)dgm_gemm_scratch_bytes(assigned, n_experts, wide, wide, n_threads);
}

static double caches(const dgm_model *m, const dgm_engine_config *cfg, const share *s)
{
    const double position = 2.0 * m->cfg.d_model * m->cfg.n_layers[DGM_DECODER] *
                            (cfg->kv_bf16 ? sizeof(uint16_t) : sizeof(float));
    return position * DGM_USUAL_LENGTH * (s->rows + s->sentences);
}

double dgm_footprint(const dgm_engine_config *cfg, const dgm_model *model, int ranks, int n_threads)
{
    const dgm_model_config *c = &model->cfg;
    const share s = share_of(cfg, ranks);
    const int *f = c->ffn_dim, most = s.tokens > s.rows ? s.tokens : s.rows,
              ffn = f[DGM_ENCODER] > f[DGM_DECODER] ? f[DGM_ENCODER] : f[DGM_DECODER],
              wide = ffn > c->d_model ? ffn : c->d_model;
    const double d = c->d_model, best = 2.0 * cfg->max_beam + cfg->max_target;
    /* Both phases use the same memory, one after the other: rows and their norm, then attention or a dense FFN. */
    const double rows = (double)most * (2 * d + larger(3 * d, ffn)) * sizeof(float) +
                        (double)dgm_gemm_scratch_bytes(most, 1, wide, wide, n_threads);
    const double words = (double)s.rows * best * 16 +
                         (double)dgm_vocab_scratch_bytes(s.rows, 2 * cfg->max_beam, c->vocab_size,
                                                         c->d_model, n_threads);
    const double halves = ranks > 1 && cfg->overlap == DGM_OVERLAP_AUTO ? 1.5 : 1;
    return larger(rows, words) + halves * mixture(model, ranks, most, wide, n_threads) +
           caches(model, cfg, &s);
}

bool dgm_choose_batch(dgm_engine_config *cfg, const dgm_model *model, int ranks, int n_threads,
                      double budget)
{
    const bool tokens = cfg->batch_tokens == 0, rows = cfg->batch_rows == 0;
    const int dense = dense_ranks(cfg, ranks), least = dgm_engine_usual_beam(cfg);
    int t = DGM_USUAL_TOKENS, r = cfg->usual_rows;
    for (;;) {
        cfg->batch_tokens = tokens ? t * dense : cfg->batch_tokens;
        cfg->batch_rows = rows ? (r > least ? r : least) * dense : cfg->batch_rows;
        if (dgm_footprint(cfg, model, ranks, n_threads) <= budget)
            return true;
        const bool last = (!tokens || t <= DGM_USUAL_LENGTH) && (!rows || r <= least);
        if (last)
            return false;
        t = t / 2 > DGM_USUAL_LENGTH ? t / 2 : DGM_USUAL_LENGTH;
        r /= 2;
    }
}
