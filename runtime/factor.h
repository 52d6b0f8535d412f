/*
 * factor.h - a = r r^T with r upper triangular: Cholesky's factor, from the last row up.
 *
 * f64, blocked; the bits do not depend on the threads. Right-looking: r of a block of 64 columns, then what it leaves of
 * the columns in front.
 */
#ifndef DGM_RUNTIME_FACTOR_H
#define DGM_RUNTIME_FACTOR_H

#include "base/pool.h"

#include <stdbool.h>

enum { DGM_FACTOR_BLOCK = 64 };

/* dgm_factor - a [n, n], n a multiple of 64: its upper triangle becomes r, what is below is lost. false: a is not positive
 * definite, or holds what is no number; a is spoilt. work [64, n]. */
DGM_MUST_CHECK bool dgm_factor(double *a, size_t n, double *work, dgm_pool *pool);

#endif
