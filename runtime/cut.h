/*
 * cut.h - a model directory that has some of its experts only (`dragoman prune -o DIR`): what it says of itself.
 *
 * config.json, dragoman.cut (docs/adr/0013):
 *   {"of": hash of the model that keep files name, "keep": XXH3 of keep.json, "for": ["eng_Latn-deu_Latn", ..],
 *    "experts": {"encoder": {"1": [ascending ids], ..}, "decoder": {..}}}
 * Routers are whole and experts keep their numbers. keep.json lies beside; without --keep its sets are used.
 */
#ifndef DGM_RUNTIME_CUT_H
#define DGM_RUNTIME_CUT_H

#include "runtime/keep.h"

#define DGM_CUT_KEEP_NAME "keep.json"

typedef struct dgm_cut {
    uint64_t of;       /* keep files of this model are the directory's too */
    uint64_t keep;     /* XXH3 of keep.json */
    char **directions; /* [n_directions] "eng_Latn-deu_Latn" */
    int n_directions;
    dgm_moe_shape shape;
    uint8_t *there; /* [shape.n_experts] 1: the directory has it */
} dgm_cut;

/* dgm_cut_read - what config.json (f, of configuration c) says; *out NULL: nothing is missing. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_cut_read(dgm_cut **out, const dgm_config_file *f, const dgm_model_config *c);
/* dgm_cut_check_keep - dir has the keep file that it was cut with. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_cut_check_keep(const dgm_cut *cut, const char *dir);
/* dgm_cut_free - NULL is fine. */
void dgm_cut_free(dgm_cut *cut);

/* dgm_cut_list - directions for a sentence, "eng_Latn-deu_Latn, fra_Latn-deu_Latn and 7 more": as many as fit `size`. */
void dgm_cut_list(char *text, size_t size, const dgm_cut *cut);

/* dgm_cut_has - expert of MoE layer `moe` is there; all are with cut NULL. */
bool dgm_cut_has(const dgm_cut *cut, int moe, int expert);
/* dgm_cut_count - how many of a layer are there. */
int dgm_cut_count(const dgm_cut *cut, const dgm_moe_layer *layer);

/*
 * dgm_cut_read_keep - a keep file for m: its own or, when it was cut, of the model that it was cut from. path "": the one
 * in a cut directory. DGM_EINPUT.
 */
DGM_MUST_CHECK int dgm_cut_read_keep(dgm_keep *k, const char *path, const dgm_model *m);

/* dgm_cut_check_set - all that a set keeps is there. set NULL: all experts of the stack. `lang`: whose set it is. `path`: of
 * its keep file, "" the directory's own. DGM_EINPUT, or (the directory's own) DGM_EUSAGE. */
DGM_MUST_CHECK int dgm_cut_check_set(const dgm_model *m, int stack, const dgm_keep_set *set,
                                     const char *lang, const char *path);

#endif
