/*
 * atlas.h - what there is to see in statistics and keep sets: values of experts by language, how alike sets and languages
 * are, how large unions grow, what each rank holds. Computed here, drawn by a page (launch/atlas/), written as CSV.
 */
#ifndef DGM_RUNTIME_ATLAS_H
#define DGM_RUNTIME_ATLAS_H

#include "runtime/keep_choice.h"
#include "runtime/linkage.h"
#include "runtime/set_union.h"
#include "runtime/sweep_table.h"

enum {
    DGM_ATLAS_METRICS = DGM_METRIC_GATE
}; /* the five of arXiv 2212.09811: old statistics lack what others need */

/* One stack. Its languages have statistics there: as sources of the encoder, as targets of the decoder; by name. */
typedef struct dgm_atlas_stack {
    int n;
    const char **names;                /* [n], in the statistics */
    size_t first, width;               /* its experts among all */
    double *values[DGM_ATLAS_METRICS]; /* [n, width] as dgm_metric_values gives them */
    const uint8_t **kept;   /* [n] each [width], in the keep sets; NULL: no set of that name */
    dgm_union_size *unions; /* [keep.n[stack]] */
} dgm_atlas_stack;

typedef struct dgm_atlas_rank {
    uint64_t dense, experts, all_experts; /* bytes; experts: of the union of all sets, or of all */
} dgm_atlas_rank;

typedef struct dgm_atlas {
    const char *stats_path,
        *keep_path; /* the caller's; keep_path "": chosen here, with prune's defaults */
    dgm_gate_stats stats;
    int mode; /* dgm_gates_mode of the runs that count */
    dgm_keep keep;
    dgm_atlas_stack stacks[DGM_STACKS];
    enum dgm_linkage_method linkage;
    dgm_linkage_merge
        *merges; /* [decoder languages - 1] of their importance over all decoder experts */
    int *leaves; /* [decoder languages] */
    dgm_atlas_rank *ranks; /* [n_ranks]; 0: no model was there to ask */
    int n_ranks;
    dgm_sweep_table sweep; /* n = 0: none was given */
} dgm_atlas;

/* dgm_atlas_open - reads and computes all but ranks and sweep. DGM_EINPUT, DGM_EUSAGE (prune's default budget does not fit
 * the model), DGM_ENOMEM. dgm_atlas_close also after a failure. */
DGM_MUST_CHECK int dgm_atlas_open(dgm_atlas *a, const char *stats_path, const char *keep_path,
                                  enum dgm_linkage_method linkage);
void dgm_atlas_close(dgm_atlas *a);

/* dgm_atlas_ask_model - what each of n ranks would hold, as `inspect --keep` prints it. m is of the statistics' model; its sets
 * are set and taken back. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_atlas_ask_model(dgm_atlas *a, dgm_model *m, int n);

/* dgm_atlas_json - for the page: one JSON object without a `<`, malloc'ed (the caller frees). DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_atlas_json(char **text, const dgm_atlas *a);
/* dgm_atlas_csv - a file for each figure into the folder dir, which is made. DGM_EOUTPUT, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_atlas_csv(const dgm_atlas *a, const char *dir);

extern const char *const dgm_metric_names[DGM_ATLAS_METRICS],
    *const dgm_linkage_names[DGM_LINKAGES];

#endif
