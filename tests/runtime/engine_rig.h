/*
 * engine_rig.h - the engine on one rank with a small random model, and lines whose outcome can be compared.
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc: engine_run counts what a step allocates, which is nothing.
 */
#ifndef DGM_TESTS_ENGINE_RIG_H
#define DGM_TESTS_ENGINE_RIG_H

#include "runtime/engine.h"
#include "runtime/quantize.h"
#include "runtime/shortlist.h"

enum { VOCAB = 120, CODE_A = 100, CODE_B = 101, N_LINES = 23, MAX_OUT = 40 };

typedef struct rig {
    dgm_comm *comm;
    dgm_model *model;
    dgm_kernels kern;
    dgm_pool *pool;
    dgm_engine *engine;
    dgm_shortlists lists;
    char *dir;
} rig;

/* What one target of one line became: the best hypothesis, scores and looks. */
typedef struct outcome {
    int n, n_hyps;
    int32_t ids[MAX_OUT];
    float logp[MAX_OUT], score;
    int16_t look[MAX_OUT];
} outcome;

/* What engine_rig_open, decode and run do otherwise than usual; zero, NULL and 1 at first. */
extern int draws, min_length;
extern float penalty;
extern const dgm_quantize_options *packing; /* NULL: the model as it was written */
extern const dgm_vmap *mapping;             /* NULL: targets choose from all ids */

/* want is what engine_run found first, got what it found under other conditions. */
extern outcome want[N_LINES][2], got[N_LINES][2];
/* same - the first targets of both are. */
void same(void);

dgm_engine_config usual(void);
dgm_decode_options decode(int beam);
void open_rig(rig *g, const dgm_engine_config *cfg, int n_threads, bool nan);
void close_rig(rig *g);
int source(int32_t *ids, int line);
void keep(outcome *o, const dgm_result *r);
/* run - N_LINES lines to n_targets targets each. */
void run(outcome (*out)[2], const dgm_engine_config *cfg, int n_threads, int n_targets, int beam);
/* submit - a job for line `line` under `id`. */
void submit(rig *g, uint64_t id, int line, int n_targets, int beam, bool sampling);

#endif
