#include "launch/client_line.h"

#include <stdlib.h>
#include <string.h>

enum dgm_line_status dgm_client_status(uint32_t status)
{
    for (int i = 0; i < DGM_LINE_STATUSES; i++)
        if (strcmp(dgm_line_status_name((enum dgm_line_status)i), dgm_wire_status_name(status)) ==
            0)
            return (enum dgm_line_status)i;
    return DGM_LINE_STATUS_FAILED;
}

static void put_alignment(FILE *f, const dgm_wire_hypothesis *h)
{
    (void)fputs(" |||", f);
    for (size_t i = 0; i < h->n_alignment; i++)
        (void)fprintf(f, " %u-%u", (unsigned)h->alignment[2 * i],
                      (unsigned)h->alignment[2 * i + 1]);
    if (h->n_alignment == 0)
        (void)fputc(' ', f);
}

static void put_tokens(FILE *f, const dgm_wire_hypothesis *h)
{
    (void)fputs(" ||| ", f);
    for (size_t i = 0; i < h->n_tokens; i++)
        (void)fprintf(f, "%s%s:%.6f", i > 0 ? " " : "", h->tokens[i], (double)h->token_scores[i]);
}

/* h is NULL where there are fewer than asked for: a blank line stands for it. */
static void put_hyp(FILE *f, const dgm_options *o, uint64_t number, const dgm_wire_hypothesis *h)
{
    const bool marian = strcmp(o->format, "marian") == 0;
    if (marian)
        (void)fprintf(f, "%llu ||| ", (unsigned long long)number - 1);
    else if (o->with_score && h != NULL)
        (void)fprintf(f, "%.6f ||| ", h->score);
    if (h != NULL)
        (void)fwrite(h->text, 1, h->text_len, f);
    if (marian)
        (void)fprintf(f, " ||| %.6f", h != NULL ? h->score : 0);
    if (o->alignment && h != NULL)
        put_alignment(f, h);
    if (o->token_scores && h != NULL)
        put_tokens(f, h);
    (void)fputc('\n', f);
}

void dgm_client_put_text(FILE *f, const dgm_options *o, uint64_t number, const dgm_wire_answer *a)
{
    for (size_t i = 0; i < (size_t)o->n_best; i++)
        put_hyp(f, o, number, a != NULL && i < a->n_hyps ? &a->hyps[i] : NULL);
}

int dgm_client_put_report(FILE *f, uint64_t number, enum dgm_line_status status,
                          const dgm_wire_answer *a, const char *message)
{
    dgm_line_report r = {.line = number, .status = status, .message = message};
    if (a != NULL) {
        r.src_tokens = (int)a->src_tokens;
        r.tgt_tokens = (int)a->tgt_tokens;
        r.has_score = a->n_hyps > 0;
        r.score = r.has_score ? a->hyps[0].score : 0;
        r.seconds = (double)a->compute_us * 1e-6;
        r.absent_mass = a->absent_mass;
        r.absent_most = a->absent_most;
        r.segments = (int)a->parts;
        r.checks = a->checks;
        r.retried = a->retried;
        r.second = a->second;
        r.first_score = a->first_score;
        r.second_score = a->second_score;
        r.first_checks = a->first_checks;
        r.second_checks = a->second_checks;
        (void)snprintf(r.worst_layer, sizeof r.worst_layer, "%s", a->worst_layer);
    }
    char *json = NULL;
    size_t len = 0;
    DGM_TRY(dgm_report_format(&json, &len, &r));
    (void)fwrite(json, 1, len, f);
    free(json);
    return DGM_OK;
}
