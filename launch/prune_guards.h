/* prune_guards.h - what `dragoman prune` does against translations that do not end: more experts for a target, EOS experts. */
#ifndef DGM_LAUNCH_PRUNE_GUARDS_H
#define DGM_LAUNCH_PRUNE_GUARDS_H

#include "launch/options.h"
#include "runtime/keep_choice.h"

/*
 * dgm_prune_guards - --protect-eos and --decoder-keep into a plan whose granularity is set; p->targets is malloc'ed (the
 * caller frees, also after a failure). DGM_EUSAGE: nonsense, a language that is no target in s, one set for all targets.
 */
DGM_MUST_CHECK int dgm_prune_guards(dgm_keep_plan *p, const dgm_options *o,
                                    const dgm_gate_stats *s);

#endif
