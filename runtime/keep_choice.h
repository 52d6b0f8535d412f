/* keep_choice.h - keep sets of every language, pair, or of all, from statistics: arXiv 2212.09811 section 3. */
#ifndef DGM_RUNTIME_KEEP_CHOICE_H
#define DGM_RUNTIME_KEEP_CHOICE_H

#include "runtime/expert_choice.h"
#include "runtime/keep.h"

enum dgm_granularity {
    DGM_BY_LANGUAGE, /* encoder: all directions from it; decoder: all directions into it */
    DGM_BY_PAIR,
    DGM_BY_ALL /* one set, `*` */
};

typedef struct dgm_keep_plan {
    enum dgm_metric metric;
    enum dgm_choice_algorithm algorithm;
    enum dgm_granularity granularity;
    int mode;       /* dgm_gates_mode of the runs that count, -1: both */
    bool by_tokens; /* directions weigh by their tokens, instead of alike */
    dgm_expert_budget budget;
} dgm_keep_plan;

/*
 * dgm_keep_choose - adds a set for each language or pair that the statistics know. *keep is of the same model. DGM_EINPUT
 * when no run counts, DGM_EUSAGE when one threshold for both stacks lacks a language on one side.
 */
DGM_MUST_CHECK int dgm_keep_choose(dgm_keep *keep, const dgm_gate_stats *s,
                                   const dgm_keep_plan *plan);

#endif
