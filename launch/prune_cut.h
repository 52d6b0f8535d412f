/* prune_cut.h - `dragoman prune -m MODEL -k KEEP --for SRC-TGT,.. -o DIR`: a smaller model, of what these directions keep. */
#ifndef DGM_LAUNCH_PRUNE_CUT_H
#define DGM_LAUNCH_PRUNE_CUT_H

#include "launch/options.h"

/* dgm_prune_cut - writes o->output, and prints its size. DGM_EUSAGE, DGM_EMODEL, DGM_EINPUT, DGM_EOUTPUT. */
DGM_MUST_CHECK int dgm_prune_cut(const dgm_options *o);

#endif
