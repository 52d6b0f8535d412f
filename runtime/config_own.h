/* config_own.h - config.json of a model made from another: the source's, and what was done to it. */
#ifndef DGM_RUNTIME_CONFIG_OWN_H
#define DGM_RUNTIME_CONFIG_OWN_H

#include "runtime/history.h"

/* What changes. Objects are taken over; a key whose value is null goes. */
typedef struct dgm_config_change {
    json_t *own; /* keys under `dragoman` */
    json_t *top; /* keys at the top; NULL: none */
    dgm_step step;
} dgm_config_change;

/* dgm_config_extend - the source's config.json, so changed, with one more entry in its history. *text is malloc'ed.
 * DGM_EMODEL, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_config_extend(char **text, size_t *len, const dgm_model *in,
                                     const dgm_config_change *change);

#endif
