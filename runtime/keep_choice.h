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

/* What the decoder keeps for one target language, instead of the plan's budget. */
typedef struct dgm_target_budget {
    char target[DGM_GATES_NAME];
    double fraction; /* of the decoder's experts */
} dgm_target_budget;

typedef struct dgm_keep_plan {
    enum dgm_metric metric;
    bool by_task
        [DGM_STACKS]; /* all rows of a task have the same experts there: gates count, whatever the metric */
    enum dgm_choice_algorithm algorithm;
    enum dgm_granularity granularity;
    int mode;       /* dgm_gates_mode of the runs that count, -1: both */
    bool by_tokens; /* directions weigh by their tokens, instead of alike */
    dgm_expert_budget budget;
    const dgm_target_budget *targets; /* [n_targets], of languages or pairs */
    int n_targets;
    bool
        protect_eos; /* dgm_eos_experts stay, as far as a layer's budget goes; a warning says what did not fit */
} dgm_keep_plan;

/* dgm_keep_plan_budget - the plan's, or what a target language (NULL: any) has of its own. DGM_EUSAGE. */
DGM_MUST_CHECK int dgm_keep_plan_budget(dgm_expert_budget *b, const dgm_keep_plan *plan,
                                        const dgm_gate_stats *s, const char *tgt);

/*
 * dgm_keep_choose - adds a set for each language or pair that the statistics know. *keep is of the same model. DGM_EINPUT
 * when no run counts or protect_eos finds no gates, DGM_EUSAGE when one threshold for both stacks lacks a language on one
 * side, or a target's budget is too small.
 */
DGM_MUST_CHECK int dgm_keep_choose(dgm_keep *keep, const dgm_gate_stats *s,
                                   const dgm_keep_plan *plan);

#endif
