/*
 * config_model.h - config.json, generation_config.json and tokenizer_config.json as one dgm_model_config.
 *
 * Whatever would make results differ from what the configuration promises is refused by the name of its
 * key; keys without influence on inference (dropout, layerdrop, losses) are not looked at.
 */
#ifndef DGM_RUNTIME_CONFIG_MODEL_H
#define DGM_RUNTIME_CONFIG_MODEL_H

#include "runtime/model.h"

typedef struct dgm_config_file {
    char *path, *text; /* text NULL: there is no such file */
    size_t len;
} dgm_config_file;

typedef struct dgm_config_files {
    dgm_config_file model, generation, tokenizer;
} dgm_config_files;

/* dgm_config_load - reads the three files of a directory; only config.json must exist. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_config_load(dgm_config_files *out, const char *dir);
void dgm_config_unload(dgm_config_files *f);

/* dgm_config_parse - what they mean. opt NULL: {false, -1}. DGM_EMODEL with one sentence. */
DGM_MUST_CHECK int dgm_config_parse(dgm_model_config *out, const dgm_config_files *f,
                                    const dgm_model_options *opt);

/* dgm_config_read - load and parse: of a directory that may have no weights. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_config_read(dgm_model_config *out, const char *dir,
                                   const dgm_model_options *opt);

/* dgm_config_is_sparse - layer `i` of `stack` is a mixture of experts. */
static inline bool dgm_config_is_sparse(const dgm_model_config *c, int stack, int i)
{
    return c->sparse_step[stack] > 0 && (i + 1) % c->sparse_step[stack] == 0;
}

#endif
