#include "launch/client_line.h"

#include <stdio.h>
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

static int no_memory(void)
{
    return dgm_fail(DGM_ENOMEM, "out of memory for a line of text");
}

/* ---- before it is sent ---- */

int dgm_client_line_take(dgm_client_line *l, const dgm_client_form *form, uint64_t number,
                         const dgm_line *input)
{
    *l = (dgm_client_line){.number = number,
                           .input_end = input->offset,
                           .left = form->n_targets,
                           .status = DGM_LINE_STATUS_OK};
    l->texts = calloc((size_t)form->n_targets, sizeof *l->texts);
    return l->texts == NULL ? no_memory() : DGM_OK;
}

static int copy(char **to, size_t *len, const dgm_line *from)
{
    *to = malloc(from->len + 1);
    if (*to == NULL)
        return no_memory();
    memcpy(*to, from->text, from->len);
    *len = from->len;
    return DGM_OK;
}

int dgm_client_line_keep(dgm_client_line *l, const dgm_line *input, const dgm_line *prefix)
{
    DGM_TRY(copy(&l->text, &l->len, input));
    if (prefix != NULL)
        DGM_TRY(copy(&l->prefix, &l->prefix_len, prefix));
    l->bytes += l->len + l->prefix_len;
    return DGM_OK;
}

void dgm_client_line_sent(dgm_client_line *l)
{
    l->bytes -= l->len + l->prefix_len;
    free(l->text);
    free(l->prefix);
    l->text = l->prefix = NULL;
    l->len = l->prefix_len = 0;
}

void dgm_client_line_free(dgm_client_line *l, const dgm_client_form *form)
{
    for (int t = 0; l->texts != NULL && t < form->n_targets; t++) {
        free(l->texts[t].out);
        free(l->texts[t].report);
    }
    free(l->texts);
    free(l->text);
    free(l->prefix);
    free(l->message);
    *l = (dgm_client_line){0};
}

/* ---- as it is written ---- */

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
static void put_hyp(FILE *f, const dgm_client_form *form, uint64_t number, int target,
                    const dgm_wire_hypothesis *h)
{
    const dgm_options *o = form->o;
    const bool marian = strcmp(o->format, "marian") == 0;
    if (form->together)
        (void)fprintf(f, "%s\t", form->targets[target].lang);
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

static int put_text(dgm_client_text *to, const dgm_client_form *form, uint64_t number, int target,
                    const dgm_wire_answer *a)
{
    FILE *f = open_memstream(&to->out, &to->out_len);
    if (f == NULL)
        return no_memory();
    for (size_t i = 0; i < (size_t)form->o->n_best; i++)
        put_hyp(f, form, number, target, a != NULL && i < a->n_hyps ? &a->hyps[i] : NULL);
    return fclose(f) == 0 ? DGM_OK : no_memory();
}

static int put_report(dgm_client_text *to, dgm_line_report *r, const dgm_wire_answer *a)
{
    if (a != NULL) {
        r->src_tokens = (int)a->src_tokens;
        r->tgt_tokens = (int)a->tgt_tokens;
        r->has_score = a->n_hyps > 0;
        r->score = r->has_score ? a->hyps[0].score : 0;
        r->seconds = (double)a->compute_us * 1e-6;
        r->absent_mass = a->absent_mass;
        r->absent_most = a->absent_most;
        r->segments = (int)a->parts;
        r->checks = a->checks;
        r->retried = a->retried;
        r->second = a->second;
        r->first_score = a->first_score;
        r->second_score = a->second_score;
        r->first_checks = a->first_checks;
        r->second_checks = a->second_checks;
        (void)snprintf(r->worst_layer, sizeof r->worst_layer, "%s", a->worst_layer);
    }
    return dgm_report_format(&to->report, &to->report_len, r);
}

/* ---- when it is done ---- */

static bool hopeless(enum dgm_line_status s)
{
    return s == DGM_LINE_STATUS_BAD_INPUT || s == DGM_LINE_STATUS_TOO_LONG ||
           s == DGM_LINE_STATUS_FAILED || s == DGM_LINE_STATUS_TIMED_OUT ||
           s == DGM_LINE_STATUS_CANCELLED;
}

/* badness - which of the targets' statuses is the line's. */
static int badness(enum dgm_line_status s)
{
    return s == DGM_LINE_STATUS_OK ? 0 : hopeless(s) ? 3 : dgm_line_status_flagged(s) ? 2 : 1;
}

int dgm_client_line_finish(dgm_client_line *l, const dgm_client_form *form, int target,
                           enum dgm_line_status status, const dgm_wire_answer *a,
                           const char *message)
{
    dgm_client_text *to = &l->texts[target];
    dgm_line_report r = {.line = l->number,
                         .target = form->n_targets > 1 ? form->targets[target].lang : NULL,
                         .status = status,
                         .message = message};
    if (badness(status) > badness(l->status)) {
        l->status = status;
        free(l->message);
        l->message = message[0] == '\0' ? NULL : strdup(message);
    }
    DGM_TRY(put_text(to, form, l->number, target, a));
    if (form->report)
        DGM_TRY(put_report(to, &r, a));
    l->bytes += to->out_len + to->report_len;
    l->left--;
    return DGM_OK;
}

bool dgm_client_line_hopeless(const dgm_client_line *l)
{
    return hopeless(l->status);
}

const char *dgm_client_line_why(const dgm_client_line *l)
{
    return l->message != NULL ? l->message : dgm_line_status_name(l->status);
}
