/*
 * history.h - what was done to a model: config.json, dragoman.history. A list in order; each command that makes a model
 * from another takes over the list of that one and appends one entry (docs/adr/0019):
 *
 *   {"tool": "quantize", "options": {..}, "from": hash of the model that it was given, "version": of dragoman,
 *    "zeros": {"zeros": n, "pruned": n, "parameters": n}}
 *
 * options: an object, the command's own. zeros: of the model that was written, from the step on that zeroed weights: later
 * ones count again, since they leave weights out, or round more of them to zero.
 */
#ifndef DGM_RUNTIME_HISTORY_H
#define DGM_RUNTIME_HISTORY_H

#include "runtime/config_model.h"
#include "runtime/zeros.h"

#include <jansson.h>

/* One step, by the command that makes it. */
typedef struct dgm_step {
    const char *tool; /* the command: "sparsify" */
    json_t *options;  /* an object, taken over; NULL: memory ran out */
    const dgm_zeros
        *zeros; /* of what is written; NULL: neither this step nor one before zeroed weights */
} dgm_step;

/* dgm_history_add - `own`, the object under `dragoman` of the source's config.json `path` (for sentences), gets one more
 * entry: of a source with hash `from`. Takes step->options. DGM_EMODEL when what is there is no list, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_history_add(json_t *own, const char *path, uint64_t from,
                                   const dgm_step *step);

/* dgm_history_parse - *steps: the list of a config.json, checked, empty where there is none; json_decref it. DGM_EMODEL.
 * dgm_history_read: the same of the model in `dir`. */
DGM_MUST_CHECK int dgm_history_parse(json_t **steps, const dgm_config_file *f);
DGM_MUST_CHECK int dgm_history_read(json_t **steps, const char *dir);

/* dgm_history_has - whether one of its steps was made by `tool`. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_history_has(bool *has, const char *dir, const char *tool);

/* dgm_history_zeroed - whether one of its steps tells of zeros. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_history_zeroed(bool *zeroed, const char *dir);

/* dgm_history_text - the same for people, malloc'ed: a line "quantize experts int8, dense int8; of 4c10.., dragoman 0.4.0"
 * for each step. DGM_EMODEL, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_history_text(char **text, const char *dir);

#endif
