/*
 * expert_choice.h - which experts a direction, or a language, should keep: metrics, algorithms and budgets of arXiv
 * 2212.09811, and a guard for the ends of sentences. Pure functions of statistics; ties go to the lower layer and expert.
 */
#ifndef DGM_RUNTIME_EXPERT_CHOICE_H
#define DGM_RUNTIME_EXPERT_CHOICE_H

#include "runtime/gate_stats.h"

/* With top1, top2, mean and conf averaged over directions: */
enum dgm_metric {
    DGM_METRIC_TOP1,       /* top1 */
    DGM_METRIC_TOP2,       /* top1 + share of second places */
    DGM_METRIC_LOAD,       /* top1 * mean */
    DGM_METRIC_VANILLA,    /* top1 * conf */
    DGM_METRIC_IMPORTANCE, /* top1 * exp(conf) */
    DGM_METRIC_GATE,       /* share of the gates, which is what a token loses without the expert */
    DGM_METRICS
};

enum dgm_choice_algorithm {
    DGM_CHOOSE_FIXED,            /* as many in each layer of a stack */
    DGM_CHOOSE_THRESHOLD,        /* one threshold on the cumulative value for all layers */
    DGM_CHOOSE_STACK_THRESHOLDS, /* one for each stack */
    /* by the loss of given translations (keep_search.h), not by dgm_choose_experts: */
    DGM_CHOOSE_LOSS,        /* as many in all */
    DGM_CHOOSE_LOSS_STACKS, /* as many in each stack */
    DGM_CHOOSE_LOSS_LAYERS  /* as many in each layer */
};

/* How many experts to keep in all layers of each stack. */
typedef struct dgm_expert_budget {
    int keep[DGM_STACKS];
} dgm_expert_budget;

/* Which runs count: NULL takes any; mode -1 takes both. */
typedef struct dgm_gates_filter {
    const char *src, *tgt;
    int mode;
    bool by_tokens; /* weigh directions by their tokens, instead of alike */
} dgm_gates_filter;

/*
 * dgm_metric_values - out [n_experts] the metric of each expert from the *n_runs runs that the filter lets through; each
 * layer's values sum to 1 (a layer of zeros stays so, and without runs all are 0). DGM_ENOMEM; DGM_EINPUT: the metric
 * needs gates, and a run lacks them.
 */
DGM_MUST_CHECK int dgm_metric_values(double *out, int *n_runs, const dgm_gate_stats *s,
                                     enum dgm_metric metric, const dgm_gates_filter *filter);

/*
 * dgm_budget_of_fraction - removes about `fraction` of all experts, `ratio` times as many kept in the encoder as in the
 * decoder: C = round((1 - f) N), n_enc = floor(floor(C r / (r + 1)) / L_enc) a layer, n_dec = floor((C - L_enc n_enc) /
 * L_dec). DGM_EUSAGE, naming the largest fraction possible, if a layer would keep fewer than dgm_least_experts().
 */
DGM_MUST_CHECK int dgm_budget_of_fraction(dgm_expert_budget *out, const dgm_gate_stats *s,
                                          double fraction, double ratio);
/* dgm_budget_of_counts - `total` experts, `encoder` of them in the encoder. DGM_EUSAGE as above. */
DGM_MUST_CHECK int dgm_budget_of_counts(dgm_expert_budget *out, const dgm_gate_stats *s, int total,
                                        int encoder);

/* dgm_least_experts - what a layer of n keeps at least: max(2, ceil(n / 32)). */
int dgm_least_experts(int n);

/* dgm_budget_decoder - another number for the decoder: round(fraction of its experts). DGM_EUSAGE as above. */
DGM_MUST_CHECK int dgm_budget_decoder(dgm_expert_budget *b, const dgm_gate_stats *s,
                                      double fraction);

/*
 * dgm_eos_experts - guard [n_experts]: of each decoder layer the experts with the most gate weight at positions that predict
 * </s>, until together they have DGM_EOS_COVER of it: their share; 0 for all others. Directions weigh alike, or by their
 * number of ends. DGM_EINPUT: a run that the filter lets through does not tell; DGM_ENOMEM.
 */
#define DGM_EOS_COVER 0.9
DGM_MUST_CHECK int dgm_eos_experts(double *guard, const dgm_gate_stats *s,
                                   const dgm_gates_filter *filter);

/*
 * dgm_choose_experts - keep [n_experts] becomes 1 or 0. `values` as dgm_metric_values gives them. guard [n_experts] or NULL:
 * experts above 0 stay whatever their value, as far as the budget goes, the greatest first; the algorithm chooses the rest.
 */
DGM_MUST_CHECK int dgm_choose_experts(uint8_t *keep, const double *values, const double *guard,
                                      const dgm_gate_stats *s, enum dgm_choice_algorithm algorithm,
                                      const dgm_expert_budget *budget);

#endif
