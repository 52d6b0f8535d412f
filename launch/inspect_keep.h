/* inspect_keep.h - `dragoman inspect --keep FILE`: how many experts its sets keep and share, and what ranks would hold. */
#ifndef DGM_LAUNCH_INSPECT_KEEP_H
#define DGM_LAUNCH_INSPECT_KEEP_H

#include "launch/options.h"

/* dgm_inspect_keep - of o->keep for the model in dir, whose weights need not be there. DGM_EMODEL, DGM_EINPUT. */
DGM_MUST_CHECK int dgm_inspect_keep(const dgm_options *o, const char *dir);

#endif
