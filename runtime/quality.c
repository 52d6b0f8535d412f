#include "runtime/quality.h"

#include "runtime/loops.h"
#include "runtime/split.h"

#include <stdlib.h>

static const struct {
    const char *name, *signature;
} scores[DGM_SCORES] = {
    [DGM_SCORE_BLEU] = {"BLEU", DGM_BLEU_SIGNATURE},
    [DGM_SCORE_SPBLEU] = {"spBLEU", DGM_SPBLEU_SIGNATURE},
    [DGM_SCORE_CHRF] = {"chrF++", DGM_CHRF_SIGNATURE},
};

const char *dgm_score_name(enum dgm_score score)
{
    return scores[score].name;
}

const char *dgm_score_signature(enum dgm_score score)
{
    return scores[score].signature;
}

static int add_pieces(dgm_quality *q, const dgm_tokenizer *tok, const char *hyp, size_t hyp_len,
                      const char *ref, size_t ref_len)
{
    int32_t *h = NULL, *r = NULL;
    int n_hyp = 0, n_ref = 0;
    int rc = dgm_tok_pieces(tok, &h, &n_hyp, hyp, hyp_len);
    if (rc == DGM_OK)
        rc = dgm_tok_pieces(tok, &r, &n_ref, ref, ref_len);
    if (rc == DGM_OK)
        rc = dgm_bleu_add_ids(&q->pieces, h, (size_t)n_hyp, r, (size_t)n_ref);
    if (rc == DGM_OK)
        q->looping = dgm_loops(h, n_hyp);
    free(h);
    free(r);
    return rc;
}

int dgm_quality_of(dgm_quality *q, const dgm_tokenizer *tok, const char *hyp, size_t hyp_len,
                   const char *ref, size_t ref_len)
{
    *q = (dgm_quality){.lines = 1};
    q->empty = dgm_text_blank(hyp, hyp_len) && !dgm_text_blank(ref, ref_len);
    DGM_TRY(dgm_bleu_add(&q->words, hyp, hyp_len, ref, ref_len));
    DGM_TRY(dgm_chrf_add(&q->chrf, hyp, hyp_len, ref, ref_len));
    return add_pieces(q, tok, hyp, hyp_len, ref, ref_len);
}

void dgm_quality_add(dgm_quality *sum, const dgm_quality *q)
{
    enum { NUMBERS = sizeof *q / sizeof(int64_t) };
    int64_t *a = (int64_t *)(void *)sum;
    const int64_t *b = (const int64_t *)(const void *)q;
    for (int i = 0; i < NUMBERS; i++)
        a[i] += b[i];
}

double dgm_quality_score(const dgm_quality *q, enum dgm_score score)
{
    if (score == DGM_SCORE_CHRF)
        return dgm_chrf_score(&q->chrf);
    return dgm_bleu_score(score == DGM_SCORE_BLEU ? &q->words : &q->pieces);
}

double dgm_quality_length_ratio(const dgm_quality *q)
{
    return q->words.ref > 0 ? (double)q->words.hyp / (double)q->words.ref : 0;
}
