/* sparsify_write.h - private to sparsify*.c: the pruned model as a directory, tensors as the source has them, zeros in place. */
#ifndef DGM_RUNTIME_SPARSIFY_WRITE_H
#define DGM_RUNTIME_SPARSIFY_WRITE_H

#include "runtime/model_copy.h"
#include "runtime/sparsify.h"

/* dgm_sparsify_write - everything but what dgm_model_copy_open has done (of 4 tensors a slot): of copy->from, whose matrices are pruned in
 * memory. A weight of the source is written as 0 where the one in memory is. DGM_EMODEL, DGM_ENOMEM, DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_sparsify_write(dgm_sparsify_report *report, dgm_model_copy *copy,
                                      const dgm_sparsify_options *opt);

/* dgm_sparsify_config - config.json of the result: the source's, and what was done to it. *text is malloc'ed. DGM_EMODEL, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_sparsify_config(char **text, size_t *len, const dgm_model *m,
                                       const dgm_sparsify_options *opt,
                                       const dgm_sparsify_report *report);

#endif
