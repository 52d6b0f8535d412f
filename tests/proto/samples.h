/* samples.h - the frames of golden/ as plain structs. */
#ifndef DGM_TESTS_PROTO_SAMPLES_H
#define DGM_TESTS_PROTO_SAMPLES_H

#include "proto/wire.h"

typedef struct sample {
    const char *name;
    dgm_wire_frame frame;
} sample;

extern const sample samples[];
extern const size_t n_samples;

#endif
