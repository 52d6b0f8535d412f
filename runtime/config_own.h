/* config_own.h - config.json of a model made from another: the source's, and what was done to it under `dragoman`. */
#ifndef DGM_RUNTIME_CONFIG_OWN_H
#define DGM_RUNTIME_CONFIG_OWN_H

#include "runtime/model.h"

#include <jansson.h>

/*
 * dgm_config_extend - the source's config.json with `keys` (an object, taken over) among those under `dragoman`, and one more
 * entry in its history: tool, options (taken over), the source's hash. *text is malloc'ed. DGM_EMODEL, DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_config_extend(char **text, size_t *len, const dgm_model *in, json_t *keys,
                                     const char *tool, json_t *options);

#endif
