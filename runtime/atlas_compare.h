/* atlas_compare.h - what changed between two sets of statistics, by language and layer. */
#ifndef DGM_RUNTIME_ATLAS_COMPARE_H
#define DGM_RUNTIME_ATLAS_COMPARE_H

#include "runtime/atlas.h"

#include <stdio.h>

typedef struct dgm_atlas_change {
    double correlation;      /* Spearman's, of importance; NaN: one is constant */
    double moved;            /* half the sum of |differences|: the importance that moved, 0 to 1 */
    int kept, entered, left; /* experts in both sets, in the new one only, in the old one only */
} dgm_atlas_change;

typedef struct dgm_atlas_comparison {
    const dgm_atlas *a, *b;                /* borrowed: old and new */
    int n[DGM_STACKS];                     /* languages in both */
    int *at[DGM_STACKS][2];                /* [n] which language that is in a, b */
    int layers[DGM_STACKS];                /* of each stack */
    dgm_atlas_change *changes[DGM_STACKS]; /* [n, layers] */
} dgm_atlas_comparison;

/* dgm_atlas_compare - DGM_EINPUT: other layers or experts, or no language in common; DGM_ENOMEM. Close it also then. */
DGM_MUST_CHECK int dgm_atlas_compare(dgm_atlas_comparison *c, const dgm_atlas *a,
                                     const dgm_atlas *b);
void dgm_atlas_comparison_close(dgm_atlas_comparison *c);

/* dgm_atlas_comparison_print - a short summary for people. */
void dgm_atlas_comparison_print(FILE *f, const dgm_atlas_comparison *c);
/* dgm_atlas_comparison_json, _csv - as dgm_atlas_json and dgm_atlas_csv. */
DGM_MUST_CHECK int dgm_atlas_comparison_json(char **text, const dgm_atlas_comparison *c);
DGM_MUST_CHECK int dgm_atlas_comparison_csv(const dgm_atlas_comparison *c, const char *dir);

#endif
