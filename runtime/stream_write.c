/* A finished line as the outputs and the report want it. */
#include "runtime/stream_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int put(dgm_writer *w, const char *text)
{
    return dgm_writer_put(w, text, strlen(text));
}

static int put_number(dgm_writer *w, const char *before, double v)
{
    char buf[64];
    (void)snprintf(buf, sizeof buf, "%s%.6f", before, v);
    return put(w, buf);
}

static int put_text(dgm_writer *w, const dgm_stream_line *l, const dgm_stream_config *cfg, int t,
                    int i)
{
    for (int s = 0; s < l->segments.n; s++) {
        const dgm_stream_hyp *h = dgm_stream_line_hyp(l, cfg, s, t, i);
        size_t len;
        const char *gap = dgm_segment_gap(&len, &l->segments, s, l->text, cfg->targets[t].lang);
        DGM_TRY(dgm_writer_put(w, gap, len));
        DGM_TRY(dgm_writer_put(w, h->text, h->len));
    }
    return DGM_OK;
}

static int put_alignment(dgm_writer *w, const dgm_stream_line *l, const dgm_stream_config *cfg,
                         int t, int i)
{
    dgm_word_pair *pairs = NULL;
    int n = 0;
    DGM_TRY(dgm_stream_line_pairs(&pairs, &n, l, cfg, t, i));
    int rc = put(w, " ||| ");
    for (int p = 0; rc == DGM_OK && p < n; p++) {
        char buf[64];
        (void)snprintf(buf, sizeof buf, "%s%d-%d", p > 0 ? " " : "", pairs[p].source,
                       pairs[p].target);
        rc = put(w, buf);
    }
    free(pairs);
    return rc;
}

static int put_tokens(dgm_writer *w, const dgm_stream_line *l, const dgm_stream_config *cfg, int t,
                      int i, const char *before)
{
    for (int s = 0; s < l->segments.n; s++) {
        const dgm_stream_hyp *h = dgm_stream_line_hyp(l, cfg, s, t, i);
        DGM_TRY(put(w, s == 0 ? before : " "));
        for (int k = 0; k < h->n_tokens; k++) {
            DGM_TRY(put(w, k > 0 ? " " : ""));
            DGM_TRY(put(w, dgm_tok_piece(cfg->tok, h->tokens[k])));
            DGM_TRY(put_number(w, ":", (double)h->token_logp[k]));
        }
    }
    return DGM_OK;
}

static int put_score_line(dgm_writer *w, const dgm_stream_line *l, const dgm_stream_config *cfg)
{
    char buf[32];
    if (dgm_stream_line_has(l, cfg, 0, 0)) {
        const dgm_stream_hyp *h = dgm_stream_line_hyp(l, cfg, 0, 0, 0);
        DGM_TRY(put_number(w, "", h->sum));
        DGM_TRY(put_number(w, "\t", h->score));
        (void)snprintf(buf, sizeof buf, "\t%d", h->n);
        DGM_TRY(put(w, buf));
        if (cfg->token_scores)
            DGM_TRY(put_tokens(w, l, cfg, 0, 0, "\t"));
    }
    return put(w, "\n");
}

/* put_hyp - hypothesis i of target t, or the blank line that stands for it. */
static int put_hyp(dgm_writer *w, const dgm_stream_line *l, const dgm_stream_config *cfg, int t,
                   int i)
{
    char id[32];
    const bool there = dgm_stream_line_has(l, cfg, t, i);
    if (cfg->n_targets > 1 && cfg->n_outputs == 1) {
        DGM_TRY(put(w, cfg->targets[t].lang));
        DGM_TRY(put(w, "\t"));
    }
    if (cfg->marian) {
        (void)snprintf(id, sizeof id, "%llu ||| ", (unsigned long long)l->number - 1);
        DGM_TRY(put(w, id));
    } else if (cfg->with_score && there) {
        DGM_TRY(put_number(w, "", dgm_stream_line_score(l, cfg, t, i)));
        DGM_TRY(put(w, " ||| "));
    }
    if (there)
        DGM_TRY(put_text(w, l, cfg, t, i));
    if (cfg->marian)
        DGM_TRY(put_number(w, " ||| ", there ? dgm_stream_line_score(l, cfg, t, i) : 0));
    if (cfg->alignment && there)
        DGM_TRY(put_alignment(w, l, cfg, t, i));
    if (cfg->token_scores && there)
        DGM_TRY(put_tokens(w, l, cfg, t, i, " ||| "));
    return put(w, "\n");
}

static int put_report(const dgm_stream_line *l, const dgm_stream_config *cfg, int t)
{
    dgm_line_report r;
    char *json = NULL;
    size_t len = 0;
    dgm_stream_line_report(&r, l, cfg, t);
    DGM_TRY(dgm_report_format(&json, &len, &r));
    const int rc = dgm_writer_put(cfg->report, json, len);
    free(json);
    return rc;
}

int dgm_stream_line_each(const dgm_stream_config *cfg, int output)
{
    const int n_best = cfg->score ? 1 : cfg->decode.n_best;
    if (output == cfg->n_outputs)
        return cfg->n_targets;
    return cfg->n_outputs == 1 ? n_best * cfg->n_targets : n_best;
}

static int give(const dgm_stream_line *l, const dgm_stream_config *cfg)
{
    dgm_stream_text line = {.number = l->number, .status = l->status, .text = ""};
    char *text = NULL;
    if (dgm_stream_line_has(l, cfg, 0, 0)) {
        DGM_TRY(dgm_stream_line_text(&text, &line.len, l, cfg, 0, 0));
        line.text = text;
    }
    const int rc = cfg->take(cfg->take_ctx, &line);
    free(text);
    return rc;
}

int dgm_stream_line_write(const dgm_stream_line *l, const dgm_stream_config *cfg)
{
    if (cfg->take != NULL)
        return give(l, cfg);
    for (int t = 0; t < cfg->n_targets; t++) {
        dgm_writer *w = cfg->outputs[cfg->n_outputs == 1 ? 0 : t];
        for (int i = 0; !cfg->score && i < cfg->decode.n_best; i++)
            DGM_TRY(put_hyp(w, l, cfg, t, i));
        if (cfg->score)
            DGM_TRY(put_score_line(w, l, cfg));
        if (cfg->report != NULL)
            DGM_TRY(put_report(l, cfg, t));
    }
    return DGM_OK;
}
