/* sparse_check.h - whether the index of a matrix whose zeros are not stored (sparse.h) can be meant: n of m. */
#ifndef DGM_KERNELS_SPARSE_CHECK_H
#define DGM_KERNELS_SPARSE_CHECK_H

#include "kernels/pack.h"

#include <stdbool.h>

/*
 * dgm_nm_check - whether the numbers of w, 2:4 or 4:8, have places that ascend, none past the last input: else few rows
 * would be multiplied with other weights than many. False: not so for row *row in the m inputs from *input on, which may all lie
 * past the last one.
 */
bool dgm_nm_check(int *row, int *input, const dgm_packed *w);

#endif
