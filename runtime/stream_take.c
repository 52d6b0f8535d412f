/* What the engine found for a segment, turned into text. */
#include "runtime/loops.h"
#include "runtime/stream_line.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(void)
{
    return dgm_fail(DGM_ENOMEM, "out of memory for a translation");
}

/* take_tokens - of ids [n] and what each added to the score. */
static int take_tokens(dgm_stream_hyp *h, const int32_t *ids, const float *logp, int n)
{
    h->tokens = malloc(((size_t)n + 1) * sizeof *h->tokens);
    h->token_logp = malloc(((size_t)n + 1) * sizeof *h->token_logp);
    if (h->tokens == NULL || h->token_logp == NULL)
        return no_memory();
    memcpy(h->tokens, ids, (size_t)n * sizeof *ids);
    memcpy(h->token_logp, logp, (size_t)n * sizeof *logp);
    h->n_tokens = n;
    return DGM_OK;
}

/* align - word pairs of one hypothesis; source_words belongs to the segment. */
static int align(dgm_stream_hyp *h, const dgm_tokenizer *tok, const dgm_hypothesis *from,
                 const int16_t *looked, const int32_t *source_words, int n_source)
{
    int32_t *target_words = malloc(((size_t)from->n + 1) * sizeof *target_words);
    h->pairs = malloc(((size_t)from->n + 1) * sizeof *h->pairs);
    if (target_words == NULL || h->pairs == NULL) {
        free(target_words);
        return no_memory();
    }
    h->n_words = dgm_align_target(target_words, tok, from->ids, from->n);
    h->n_pairs = dgm_align_pairs(h->pairs, target_words, looked, from->n, source_words, n_source);
    free(target_words);
    return DGM_OK;
}

/* take_hyp - n_given: code and prefix, which the model did not choose. */
static int take_hyp(dgm_stream_hyp *h, const dgm_stream_config *cfg, const dgm_hypothesis *from,
                    int n_given)
{
    h->ended = from->ended;
    h->looped = dgm_loops(from->ids, from->n);
    h->score = (double)from->score;
    h->n = from->n - (n_given - 1);          /* the code counts, as in Hugging Face */
    h->n_pieces = from->n - 1 - from->ended; /* without code and </s> */
    h->n_unknown = dgm_tok_unknowns(from->ids, from->n);
    if (cfg->score) {
        /* In f32 and step order, as the search adds: the same hypothesis shows the same score. */
        float sum = 0;
        for (int i = n_given; i < from->n; i++)
            sum += from->logp[i];
        h->sum = (double)sum;
        h->score = (double)(sum / (float)h->n);
    } else {
        DGM_TRY(dgm_tok_decode(cfg->tok, &h->text, &h->len, from->ids, from->n));
    }
    if (!cfg->token_scores)
        return DGM_OK;
    return take_tokens(h, from->ids + n_given, from->logp + n_given, from->n - n_given);
}

static int take_hyps(dgm_stream_part *part, const dgm_stream_line *l, const dgm_stream_config *cfg,
                     int segment, const dgm_result *r, uint64_t *pieces)
{
    const dgm_segment *seg = &l->segments.at[segment];
    const int n_given = 1 + (segment == 0 && !cfg->score ? l->n_beside : 0);
    int32_t *source_words = NULL;
    int rc = DGM_OK;
    if (cfg->alignment) {
        source_words = malloc((size_t)seg->n * sizeof *source_words);
        rc = source_words == NULL ? no_memory()
                                  : dgm_align_source(source_words, cfg->tok, seg->ids, seg->n,
                                                     l->text + seg->begin, seg->end - seg->begin);
    }
    for (int i = 0; rc == DGM_OK && i < r->n_hyps; i++) {
        dgm_stream_hyp *h = &part->hyps[part->n_hyps++];
        rc = take_hyp(h, cfg, &r->hyps[i], n_given);
        if (rc == DGM_OK && cfg->alignment && r->align != NULL)
            rc = align(h, cfg->tok, &r->hyps[i], r->align[i], source_words, seg->n);
        *pieces += (uint64_t)h->n_pieces;
    }
    free(source_words);
    return rc;
}

int dgm_stream_line_take(dgm_stream_line *l, const dgm_stream_config *cfg, int segment,
                         const dgm_result *r, uint64_t *pieces)
{
    int targets[DGM_STREAM_MAX_TARGETS];
    (void)dgm_stream_line_targets(targets, l, cfg);
    dgm_stream_part *parts = l->retries == NULL ? l->parts : l->others,
                    *part = &parts[segment * cfg->n_targets + targets[r->target]];
    l->left--;
    part->seconds = r->seconds;
    part->absent = r->absent;
    if (r->status != DGM_OK)
        return dgm_stream_line_failed(l, cfg, r->status);
    if (r->n_hyps < 1)
        return dgm_fail(DGM_EINTERNAL, "line %llu: the engine gave no hypothesis",
                        (unsigned long long)l->number);
    part->hyps = calloc((size_t)r->n_hyps, sizeof *part->hyps);
    if (part->hyps == NULL)
        return no_memory();
    return take_hyps(part, l, cfg, segment, r, pieces);
}
