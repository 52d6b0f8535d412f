/* set_loss_text.h - two files side by side, sentences and their translations, as ids. */
#ifndef DGM_RUNTIME_SET_LOSS_TEXT_H
#define DGM_RUNTIME_SET_LOSS_TEXT_H

#include "runtime/calibrate_text.h"
#include "runtime/tokenizer.h"

/* Where a text is, and its languages as ids of their codes. */
typedef struct dgm_pair_files {
    const char *input, *reference;
    int32_t src, tgt;
    int max_source, max_target; /* most ids, codes, </s> and start counted */
} dgm_pair_files;

/*
 * dgm_pairs_read_files - the hash is the corpus of forced statistics of the text; targets are `start code pieces </s>`. Pairs of which one side is blank are passed over. DGM_EINPUT
 * names file and line: not UTF-8, too long, one file longer than the other, nothing in them. Free *p in any case.
 */
DGM_MUST_CHECK int dgm_pairs_read_files(dgm_pairs *p, const dgm_pair_files *f,
                                        const dgm_model_config *c, const dgm_tokenizer *tok);

#endif
