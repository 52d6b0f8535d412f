/* extract_cut.h - private to extract*.c: tasks of a model that `prune -o` cut, and what of the cut its extracted model still has. */
#ifndef DGM_RUNTIME_EXTRACT_CUT_H
#define DGM_RUNTIME_EXTRACT_CUT_H

#include "runtime/cut.h"
#include "runtime/extract.h"

#include <jansson.h>

/* dgm_extract_cut_check - every task has a direction that the model was cut for. DGM_EUSAGE. */
DGM_MUST_CHECK int dgm_extract_cut_check(const dgm_extraction *x);

/* dgm_extract_cut_check_sets - x->keep has sets of their directions, of experts that are all there. DGM_EMODEL, DGM_EUSAGE. */
DGM_MUST_CHECK int dgm_extract_cut_check_sets(const dgm_extraction *x);

/* dgm_extract_cut_kept - kept [experts] of MoE layer `moe` under the set of the cut's direction `i`; NULL: that is not of the task
 * (a row of the source). */
const uint8_t *dgm_extract_cut_kept(const dgm_extraction *x, int moe, int task, int i);

/* dgm_extract_cut_keep - keep.json of the extracted model, malloc'ed: the source's, but that experts of tasks are all kept.
 * keep->text NULL: nothing is missing there any more, or never was. folded as in dgm_extract_finish. DGM_EINPUT, DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_extract_cut_keep(dgm_text *keep, const dgm_extraction *x, int folded);
/* dgm_extract_cut_json - dragoman.cut of its config.json. null: no more cut than dgm_extract_cut_keep says. */
json_t *dgm_extract_cut_json(const dgm_extraction *x, int folded, const dgm_text *keep);

#endif
