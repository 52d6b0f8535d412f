/*
 * fpenv.h - the floating-point environment that the bit contract needs (docs/numerics.md).
 *
 * Round to nearest, subnormals kept (FTZ and DAZ off). Libraries may change it behind our back
 * (dlopen of code linked with -ffast-math, MPI_Init), so it is set on every thread at start and
 * after each such call, and checked.
 */
#ifndef DGM_BASE_FPENV_H
#define DGM_BASE_FPENV_H

#include "base/status.h"

/* dgm_fpenv_set - sets this thread's environment. */
void dgm_fpenv_set(void);

/* dgm_fpenv_check - DGM_EINTERNAL, naming `where`, if this thread's environment is another. */
DGM_MUST_CHECK int dgm_fpenv_check(const char *where);

#endif
