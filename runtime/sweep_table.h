/* sweep_table.h - quality against bytes: the file that `dragoman prune --sweep` writes. */
#ifndef DGM_RUNTIME_SWEEP_TABLE_H
#define DGM_RUNTIME_SWEEP_TABLE_H

#include "base/status.h"

#include <stdint.h>

/* Numbers of a point, in the order of a table's columns; means over directions. */
enum {
    DGM_SWEEP_FRACTION,
    DGM_SWEEP_RATIO, /* NaN of the unpruned model */
    DGM_SWEEP_ENCODER,
    DGM_SWEEP_DECODER, /* experts kept in all layers of a stack */
    DGM_SWEEP_BYTES,
    DGM_SWEEP_BYTES_ALL, /* with the experts of one direction, of all */
    DGM_SWEEP_BLEU,
    DGM_SWEEP_SPBLEU,
    DGM_SWEEP_CHRF,
    DGM_SWEEP_LENGTH,
    DGM_SWEEP_LOST,
    DGM_SWEEP_LOW,
    DGM_SWEEP_HIGH,  /* chrF++ lost, its 95 % interval */
    DGM_SWEEP_WORST, /* chrF++ lost in the direction that loses most; NaN of the unpruned */
    DGM_SWEEP_NUMBERS
};

typedef struct dgm_sweep_point {
    double x[DGM_SWEEP_NUMBERS];
} dgm_sweep_point;

typedef struct dgm_sweep_table {
    int n;                   /* 0: there is none */
    dgm_sweep_point *points; /* [n + 1] fewest bytes first, the unpruned model last */
    int knee;                /* -1: none */
} dgm_sweep_table;

extern const char *const dgm_sweep_names[DGM_SWEEP_NUMBERS];

/* dgm_sweep_read - `model`: the hash it must be of. DGM_EINPUT names file and key. */
DGM_MUST_CHECK int dgm_sweep_read(dgm_sweep_table *t, const char *path, uint64_t model);
void dgm_sweep_fini(dgm_sweep_table *t);

/* dgm_sweep_csv - the points as sweep.csv into a folder. DGM_EOUTPUT, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_sweep_csv(const dgm_sweep_table *t, const char *dir);

#endif
