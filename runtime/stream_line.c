#include "runtime/stream_line.h"

#include "runtime/retry.h"
#include "runtime/split.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(void)
{
    return dgm_fail(DGM_ENOMEM, "out of memory for a line of text");
}

/* flag - marks a line as not done; `code` matters with strict. */
static int flag(dgm_stream_line *l, enum dgm_line_status status, int code, const char *message)
{
    if (l->message != NULL)
        return DGM_OK; /* the first cause is the one to tell */
    l->message = strdup(message);
    if (l->message == NULL)
        return no_memory();
    l->status = status;
    l->fail_code = code;
    return DGM_OK;
}

/* tell - the sentence at hand with the line's place in front, where lines have one. */
static const char *tell(const char *name, uint64_t number, int code)
{
    if (name != NULL)
        (void)dgm_fail(code, "%s line %llu: %s", name, (unsigned long long)number,
                       dgm_error_text());
    return dgm_error_text();
}

/* flag_text - a line of `lines` (NULL: of no text, which `what` names) that cannot be used at all. */
static int flag_text(dgm_stream_line *l, const dgm_lines *lines, const dgm_line *line,
                     const char *what)
{
    const enum dgm_line_status status =
        line->state == DGM_LINE_TOO_LONG ? DGM_LINE_STATUS_TOO_LONG : DGM_LINE_STATUS_BAD_INPUT;
    if (lines != NULL)
        (void)dgm_lines_fail(lines, line);
    else
        (void)dgm_fail(dgm_line_fail(line), "%s%s", what, dgm_error_text());
    return flag(l, status, DGM_EINPUT, dgm_error_text());
}

/* fill_beside - pieces of the prefix or reference, which must leave room for what stands around them. */
static int fill_beside(dgm_stream_line *l, const dgm_stream_config *cfg, const dgm_line *beside)
{
    if (beside->state != DGM_LINE_OK)
        return flag_text(l, cfg->beside, beside, "prefix: ");
    if (dgm_text_blank(beside->text, beside->len))
        return DGM_OK;
    DGM_TRY(dgm_tok_pieces(cfg->tok, &l->beside, &l->n_beside, beside->text, beside->len));
    /* start and code before; behind, </s> of a reference, or one token of a translation */
    const int limit = cfg->score ? cfg->max_target : cfg->decode.max_length;
    if (l->n_beside + 3 <= limit)
        return DGM_OK;
    (void)dgm_fail(DGM_ETEXT, "%stoo long: want at most %d tokens, found %d",
                   cfg->beside_name == NULL ? "prefix: " : "", limit - 3, l->n_beside);
    return flag(l, DGM_LINE_STATUS_TOO_LONG, DGM_EINPUT,
                tell(cfg->beside_name, beside->number, DGM_ETEXT));
}

static int fill_segments(dgm_stream_line *l, const dgm_stream_config *cfg)
{
    const int rc = dgm_segment_line(&l->segments, &cfg->source, l->text, l->len);
    if (rc == DGM_ETEXT)
        return flag(l, DGM_LINE_STATUS_TOO_LONG, DGM_EINPUT,
                    tell(cfg->input_name, l->number, DGM_ETEXT));
    DGM_TRY(rc);
    l->left = l->segments.n * cfg->n_targets;
    l->parts = calloc((size_t)l->left, sizeof *l->parts);
    if (l->parts == NULL)
        return no_memory();
    if (l->segments.n > 1)
        l->status = DGM_LINE_STATUS_SPLIT;
    for (int i = 0; i < l->segments.n; i++)
        l->bytes += (size_t)l->segments.at[i].n * sizeof(int32_t) + sizeof(dgm_segment);
    return DGM_OK;
}

int dgm_stream_line_fill(dgm_stream_line *l, const dgm_stream_config *cfg, const dgm_line *line,
                         const dgm_line *beside)
{
    *l = (dgm_stream_line){.number = line->number, .len = line->len};
    l->bytes = sizeof *l + l->len;
    if (line->state != DGM_LINE_OK)
        return flag_text(l, cfg->input, line, "");
    l->text = malloc(l->len + 1);
    if (l->text == NULL)
        return no_memory();
    memcpy(l->text, line->text, l->len);
    l->text[l->len] = '\0';
    if (dgm_text_blank(l->text, l->len)) {
        l->status = DGM_LINE_STATUS_EMPTY;
        return DGM_OK;
    }
    if (beside != NULL)
        DGM_TRY(fill_beside(l, cfg, beside));
    if (cfg->score && l->message == NULL && l->n_beside == 0) {
        l->status = DGM_LINE_STATUS_EMPTY;
        return DGM_OK;
    }
    return l->message != NULL ? DGM_OK : fill_segments(l, cfg);
}

int dgm_stream_line_failed(dgm_stream_line *l, const dgm_stream_config *cfg, int code)
{
    return flag(l, DGM_LINE_STATUS_FAILED, code, tell(cfg->input_name, l->number, code));
}

int dgm_stream_line_refused(dgm_stream_line *l, const dgm_stream_config *cfg, int code)
{
    int targets[DGM_STREAM_MAX_TARGETS];
    l->left -= dgm_stream_line_targets(targets, l, cfg);
    return dgm_stream_line_failed(l, cfg, code);
}

static void free_part(dgm_stream_part *p)
{
    for (int i = 0; i < p->n_hyps; i++) {
        free(p->hyps[i].text);
        free(p->hyps[i].tokens);
        free(p->hyps[i].token_logp);
        free(p->hyps[i].pairs);
    }
    free(p->hyps);
}

static void free_parts(dgm_stream_part *parts, int n)
{
    for (int i = 0; parts != NULL && i < n; i++)
        free_part(&parts[i]);
    free(parts);
}

void dgm_stream_line_free(dgm_stream_line *l, int n_targets)
{
    free_parts(l->parts, l->segments.n * n_targets);
    free_parts(l->others, l->segments.n * n_targets);
    free(l->retries);
    dgm_segments_free(&l->segments);
    free(l->beside);
    free(l->text);
    free(l->message);
    *l = (dgm_stream_line){0};
}

/* fill_prompts - [targets, n] of those being decoded now: start, code, prefix or reference, and behind a reference </s>.
 * How many targets. */
static int fill_prompts(int32_t *prompts, dgm_target *targets, int n, const dgm_stream_line *l,
                        const dgm_stream_config *cfg, int n_beside)
{
    int which[DGM_STREAM_MAX_TARGETS];
    const int n_targets = dgm_stream_line_targets(which, l, cfg);
    for (int i = 0; i < n_targets; i++) {
        const dgm_stream_target *t = &cfg->targets[which[i]];
        int32_t *p = prompts + (size_t)(i * n);
        targets[i] = (dgm_target){.prompt = p,
                                  .n_prompt = n,
                                  .experts = t->experts,
                                  .source_experts = t->source_experts,
                                  .task = t->task};
        p[0] = cfg->start_id;
        p[1] = t->code;
        if (n_beside > 0)
            memcpy(p + 2, l->beside, (size_t)n_beside * sizeof *p);
        if (cfg->score)
            p[n - 1] = cfg->eos_id;
    }
    return n_targets;
}

int dgm_stream_line_submit(dgm_stream_line *l, const dgm_stream_config *cfg, int segment,
                           uint64_t id)
{
    /* A prefix begins the translation of the line, so of its first segment. */
    const int n_beside = segment == 0 ? l->n_beside : 0, n = 2 + n_beside + cfg->score;
    const dgm_segment *seg = &l->segments.at[segment];
    dgm_target targets[DGM_STREAM_MAX_TARGETS];
    int32_t *prompts = malloc((size_t)(n * cfg->n_targets) * sizeof *prompts);
    if (prompts == NULL)
        return no_memory();
    const int n_targets = fill_prompts(prompts, targets, n, l, cfg, n_beside);
    /* Sampling is keyed by line; segments of one line draw apart, as if lines had 2^40 numbers between them. */
    const dgm_job job = {.id = id,
                         .line = l->number + ((uint64_t)segment << 40),
                         .source = seg->ids,
                         .n_source = seg->n,
                         .targets = targets,
                         .n_targets = n_targets,
                         .score = cfg->score,
                         .urgent = cfg->urgent,
                         .options =
                             l->retries == NULL ? cfg->decode : dgm_retry_options(&cfg->decode)};
    const int rc = dgm_engine_submit(cfg->engine, &job);
    free(prompts);
    return rc;
}
