/* sweep_points.h - choices of experts to compare, and what each is worth. Rank 0 alone. */
#ifndef DGM_LAUNCH_SWEEP_POINTS_H
#define DGM_LAUNCH_SWEEP_POINTS_H

#include "launch/evaluation.h"
#include "runtime/gate_stats.h"

/* One choice. */
typedef struct dgm_point {
    double fraction, ratio;    /* ratio 0: all experts */
    double kept[DGM_STACKS];   /* experts of a direction, in all layers: mean over directions */
    uint64_t bytes, bytes_all; /* weights for one direction (mean over them); for all at once */
    dgm_evaluation_set *sets;  /* [directions] */
    bool measured;             /* the rest is there: */
    dgm_quality *sums;         /* [directions] */
    double score[DGM_SCORES];  /* means over directions */
    double length_ratio;       /* likewise */
    double lost, worst_lost; /* chrF++ less than with all experts: mean, and of direction `worst` */
    dgm_interval interval;   /* of `lost` */
    int worst;               /* -1: of all experts */
    int64_t empty, looping, unfinished;
} dgm_point;

typedef struct dgm_sweep {
    const dgm_options *o;
    dgm_gate_stats stats;
    dgm_point *points; /* [n], of 1 + all pairs; the first keeps all */
    int n;
    dgm_quality **before; /* [directions] lines with all experts, measured */
} dgm_sweep;

/* dgm_sweep_points - reads --stats and chooses experts for every fraction under every ratio, in this order; pairs that no budget
 * fits or that give the experts of another are left out. DGM_EUSAGE, DGM_EINPUT. */
DGM_MUST_CHECK int dgm_sweep_points(dgm_sweep *s, dgm_evaluation *e);
void dgm_sweep_free(dgm_sweep *s, int n_directions);

/* dgm_sweep_keep - the experts of a point into --keep. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_sweep_keep(const dgm_sweep *s, const dgm_evaluation *e, const dgm_point *p);

/* dgm_sweep_measure - translates; points[0] first, which the others are compared with. As dgm_evaluation_translate. */
DGM_MUST_CHECK int dgm_sweep_measure(dgm_sweep *s, dgm_evaluation *e, dgm_point *p);

#endif
