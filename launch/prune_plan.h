/* prune_plan.h - what the ways of choosing share: what options mean, and the keep file. Rank 0 alone. */
#ifndef DGM_LAUNCH_PRUNE_PLAN_H
#define DGM_LAUNCH_PRUNE_PLAN_H

#include "launch/options.h"
#include "runtime/keep_choice.h"

/* dgm_prune_whole - DGM_EUSAGE for a model that was cut: experts are chosen of, and measured beside, all that there were. */
DGM_MUST_CHECK int dgm_prune_whole(const dgm_model *m);

/* dgm_prune_stats - of --stats, which must be of model m. DGM_EUSAGE, DGM_EINPUT. */
DGM_MUST_CHECK int dgm_prune_stats(dgm_gate_stats *s, const dgm_options *o, const dgm_model *m);

/* dgm_prune_plan - for a model of configuration c; the runs of s say which languages there are. p->targets is malloc'ed (the
 * caller frees, also after a failure). DGM_EUSAGE. */
DGM_MUST_CHECK int dgm_prune_plan(dgm_keep_plan *p, const dgm_options *o, const dgm_gate_stats *s,
                                  const dgm_model_config *c);

/* dgm_prune_write - the keep file, and the counts on standard output. p NULL: others have chosen. DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_prune_write(const dgm_keep *k, const dgm_options *o, const dgm_gate_stats *s,
                                   const dgm_keep_plan *p);

#endif
