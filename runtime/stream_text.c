/* What a finished line has become: text, score, status; for outputs, reports and answers alike. */
#include "runtime/checks.h"
#include "runtime/stream_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const dgm_stream_hyp *dgm_stream_line_hyp(const dgm_stream_line *l, const dgm_stream_config *cfg,
                                          int s, int t, int i)
{
    const dgm_stream_part *p = &l->parts[s * cfg->n_targets + t];
    return &p->hyps[i < p->n_hyps ? i : p->n_hyps - 1];
}

bool dgm_stream_line_has(const dgm_stream_line *l, const dgm_stream_config *cfg, int t, int i)
{
    if (l->message != NULL)
        return false;
    bool has = false;
    for (int s = 0; s < l->segments.n; s++) {
        const int n = l->parts[s * cfg->n_targets + t].n_hyps;
        if (n == 0) /* was not decoded: the line was given up in the middle */
            return false;
        has = has || i < n;
    }
    return has;
}

double dgm_stream_line_score(const dgm_stream_line *l, const dgm_stream_config *cfg, int t, int i)
{
    double sum = 0, n = 0;
    if (l->segments.n == 1)
        return dgm_stream_line_hyp(l, cfg, 0, t, i)->score;
    for (int s = 0; s < l->segments.n; s++) {
        const dgm_stream_hyp *h = dgm_stream_line_hyp(l, cfg, s, t, i);
        sum += h->score * h->n;
        n += h->n;
    }
    return sum / n;
}

int dgm_stream_line_text(char **text, size_t *n, const dgm_stream_line *l,
                         const dgm_stream_config *cfg, int t, int i)
{
    size_t bytes = 1;
    for (int s = 0; s < l->segments.n; s++) {
        size_t len;
        (void)dgm_segment_gap(&len, &l->segments, s, l->text, cfg->targets[t].lang);
        bytes += len + dgm_stream_line_hyp(l, cfg, s, t, i)->len;
    }
    *n = 0;
    *text = malloc(bytes);
    if (*text == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a translation");
    for (int s = 0; s < l->segments.n; s++) {
        const dgm_stream_hyp *h = dgm_stream_line_hyp(l, cfg, s, t, i);
        size_t len;
        const char *gap = dgm_segment_gap(&len, &l->segments, s, l->text, cfg->targets[t].lang);
        memcpy(*text + *n, gap, len);
        memcpy(*text + *n + len, h->text, h->len);
        *n += len + h->len;
    }
    return DGM_OK;
}

/* inside - a segment begins inside a word (text without white space), and goes on with it. */
static bool inside(const dgm_stream_line *l, int s)
{
    return s > 0 && l->segments.at[s - 1].end == l->segments.at[s].begin;
}

int dgm_stream_line_pairs(dgm_word_pair **pairs, int *n, const dgm_stream_line *l,
                          const dgm_stream_config *cfg, int t, int i)
{
    size_t most = 1;
    size_t counted = 0; /* bytes of the source whose words are in: */
    int words = 0, target_base = 0;
    *n = 0;
    for (int s = 0; s < l->segments.n; s++)
        most += (size_t)dgm_stream_line_hyp(l, cfg, s, t, i)->n_pairs;
    *pairs = malloc(most * sizeof **pairs);
    if (*pairs == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for an alignment");
    for (int s = 0; s < l->segments.n; s++) {
        const dgm_stream_hyp *h = dgm_stream_line_hyp(l, cfg, s, t, i);
        const size_t begin = l->segments.at[s].begin;
        words += dgm_align_count_words(l->text, counted, begin);
        counted = begin;
        const int source_base = inside(l, s) && words > 0 ? words - 1 : words;
        size_t gap;
        (void)dgm_segment_gap(&gap, &l->segments, s, l->text, cfg->targets[t].lang);
        if (s > 0 && gap == 0 && target_base > 0)
            target_base--; /* joined without white space: one word */
        for (int p = 0; p < h->n_pairs; p++) {
            (*pairs)[*n] = h->pairs[p];
            (*pairs)[*n].source += source_base;
            (*pairs)[(*n)++].target += target_base;
        }
        target_base += h->n_words;
    }
    return DGM_OK;
}

static int source_tokens(const dgm_stream_line *l, const dgm_stream_config *cfg)
{
    int n = 0;
    for (int s = 0; s < l->segments.n; s++) {
        for (int i = 0; i < l->segments.at[s].n; i++)
            n += dgm_tok_is_text(cfg->tok, l->segments.at[s].ids[i]) ||
                 dgm_tok_unknowns(&l->segments.at[s].ids[i], 1) == 1;
    }
    return n;
}

/* join_absent - over the segments of a line. */
static dgm_absent join_absent(const dgm_stream_line *l, const dgm_stream_config *cfg, int t)
{
    dgm_absent all = {.worst = -1};
    for (int s = 0; s < l->segments.n; s++)
        dgm_absent_add(&all, &l->parts[s * cfg->n_targets + t].absent);
    return all;
}

static void tell_absent(dgm_line_report *r, const dgm_stream_line *l, const dgm_stream_config *cfg,
                        int t)
{
    const dgm_absent a = join_absent(l, cfg, t);
    if (a.n == 0)
        return;
    r->absent_mass = a.sum / (double)a.n;
    r->absent_most = (double)a.most;
    if (a.worst >= 0) {
        const dgm_moe_layer *worst = &cfg->shape->layers[a.worst];
        (void)snprintf(r->worst_layer, sizeof r->worst_layer, "%s %d",
                       worst->stack == DGM_ENCODER ? "encoder" : "decoder", worst->index);
    }
}

static void tell_retry(dgm_line_report *r, const dgm_stream_line *l, int t)
{
    if (l->retries == NULL || !l->retries[t].on)
        return;
    const dgm_stream_retry *of = &l->retries[t];
    r->retried = true;
    r->second = of->taken;
    r->first_score = of->first.score;
    r->second_score = of->second.score;
    r->first_checks = of->first.checks;
    r->second_checks = of->second.checks;
    r->seconds = of->first.seconds + of->second.seconds;
}

/* check - the joined best translation. */
static unsigned check(const dgm_stream_line *l, const dgm_stream_config *cfg, int t,
                      const dgm_line_report *r, bool cut)
{
    char *text = NULL;
    size_t len = 0;
    bool looped = false;
    if (cfg->score || dgm_stream_line_text(&text, &len, l, cfg, t, 0) != DGM_OK)
        return 0;
    for (int s = 0; s < l->segments.n; s++)
        looped = looped || dgm_stream_line_hyp(l, cfg, s, t, 0)->looped;
    const dgm_check_text c = {.source = l->text,
                              .source_len = l->len,
                              .translation = text,
                              .translation_len = len,
                              .src = cfg->source.lang,
                              .tgt = cfg->targets[t].lang,
                              .src_tokens = r->src_tokens,
                              .tgt_tokens = r->tgt_tokens,
                              .looped = looped,
                              .ended = !cut};
    const unsigned found = dgm_checks(&c);
    free(text);
    return found;
}

/* checked - the status of a line of which nothing worse is to be told. */
static enum dgm_line_status checked(enum dgm_line_status status, unsigned checks)
{
    if (status != DGM_LINE_STATUS_OK && status != DGM_LINE_STATUS_SPLIT)
        return status;
    if (checks & DGM_CHECK_COPIED)
        return DGM_LINE_STATUS_COPIED;
    if (checks & DGM_CHECK_LOOPED)
        return DGM_LINE_STATUS_LOOPED;
    return checks & DGM_CHECK_WRONG_SCRIPT ? DGM_LINE_STATUS_WRONG_SCRIPT : status;
}

void dgm_stream_line_report(dgm_line_report *r, const dgm_stream_line *l,
                            const dgm_stream_config *cfg, int t)
{
    *r = (dgm_line_report){.line = l->number,
                           .target = cfg->n_targets > 1 ? cfg->targets[t].lang : NULL,
                           .status = l->status,
                           .src_tokens = source_tokens(l, cfg),
                           .segments = l->segments.n,
                           .message = l->message != NULL ? l->message : ""};
    if (!dgm_stream_line_has(l, cfg, t, 0))
        return;
    r->has_score = true;
    r->score = dgm_stream_line_score(l, cfg, t, 0);
    bool cut = false;
    for (int s = 0; s < l->segments.n; s++) {
        const dgm_stream_part *p = &l->parts[s * cfg->n_targets + t];
        r->tgt_tokens += p->hyps[0].n_pieces;
        r->seconds = p->seconds > r->seconds ? p->seconds : r->seconds;
        cut = cut || !p->hyps[0].ended;
    }
    tell_absent(r, l, cfg, t);
    tell_retry(r, l, t);
    if (l->status == DGM_LINE_STATUS_TRUNCATED && !cut)
        r->status = l->segments.n > 1 ? DGM_LINE_STATUS_SPLIT : DGM_LINE_STATUS_OK;
    r->checks = check(l, cfg, t, r, cut);
    r->status = checked(r->status, r->checks);
}

void dgm_stream_line_judge(dgm_stream_line *l, const dgm_stream_config *cfg)
{
    if (l->message != NULL || cfg->score)
        return;
    for (int i = 0; i < l->segments.n * cfg->n_targets; i++) {
        if (!l->parts[i].hyps[0].ended)
            l->status = DGM_LINE_STATUS_TRUNCATED;
    }
}
