/*
 * spm_shim.h - SentencePiece behind a C face; no exception leaves it. Private to tokenizer.c.
 *
 * Ids here are SentencePiece's own; tokenizer.c moves them to NLLB's.
 */
#ifndef DGM_RUNTIME_SPM_SHIM_H
#define DGM_RUNTIME_SPM_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/status.h"

typedef struct dgm_spm dgm_spm;

/* dgm_spm_open - DGM_EMODEL unless the file is a model with <unk> 0, <s> 1, </s> 2. */
DGM_MUST_CHECK int dgm_spm_open(dgm_spm **out, const char *path);
void dgm_spm_close(dgm_spm *s);

int dgm_spm_size(const dgm_spm *s);
/* dgm_spm_piece - NUL-terminated, lives as long as s; 0 <= id < size. */
const char *dgm_spm_piece(const dgm_spm *s, int32_t id);

/* dgm_spm_find - the id of a piece [len bytes], 0 (<unk>) when there is none. Any thread. */
int32_t dgm_spm_find(const dgm_spm *s, const char *piece, size_t len);

/* dgm_spm_encode - *ids is malloc'ed with room for two more than *n; unknown characters are 0. Any thread. */
DGM_MUST_CHECK int dgm_spm_encode(const dgm_spm *s, int32_t **ids, int *n, const char *text,
                                  size_t len);

#ifdef __cplusplus
}
#endif

#endif
