#include "launch/serve_directions.h"

#include "launch/filter_direction.h"
#include "runtime/cut.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(void)
{
    return dgm_fail(DGM_ENOMEM, "out of memory for the languages");
}

/* fill_pairs - a direction without a set is no error until somebody asks for it. */
static int fill_pairs(dgm_serve_directions *d, dgm_session *s, const dgm_keep *keep)
{
    int known = 0;
    for (int i = 0; i < d->n * d->n; i++) {
        dgm_serve_pair *p = &d->pairs[i];
        const char *src = d->codes[i / d->n], *tgt = d->codes[i % d->n];
        int rc = dgm_filter_set(&p->source_experts, s, keep, DGM_ENCODER, src, tgt);
        if (rc == DGM_OK)
            rc = dgm_filter_set(&p->experts, s, keep, DGM_DECODER, src, tgt);
        if (rc == DGM_ENOMEM)
            return rc;
        p->missing = rc != DGM_OK;
        known += rc == DGM_OK;
    }
    return known > 0 ? DGM_OK : DGM_EINPUT; /* the last one's sentence */
}

static bool served(const dgm_serve_directions *d, int i, int j)
{
    int task;
    return (d->pairs == NULL || !d->pairs[i * d->n + j].missing) &&
           dgm_tasks_find(&task, &d->session->model->tasks, d->codes[i], d->codes[j]) == DGM_OK;
}

/* list_served - who is a source or a target at all. */
static int list_served(dgm_serve_directions *d)
{
    const size_t n = (size_t)d->n + 1;
    d->sources = calloc(n, sizeof *d->sources);
    d->targets = calloc(n, sizeof *d->targets);
    if (d->sources == NULL || d->targets == NULL)
        return no_memory();
    for (int i = 0; i < d->n; i++) {
        bool source = false, target = false;
        for (int j = 0; j < d->n && !(source && target); j++) {
            source = source || served(d, i, j);
            target = target || served(d, j, i);
        }
        if (source)
            d->sources[d->n_sources++] = d->codes[i];
        if (target)
            d->targets[d->n_targets++] = d->codes[i];
    }
    return DGM_OK;
}

/* read_pairs - the sets of all directions, where there are some. */
static int read_pairs(dgm_serve_directions *d, dgm_session *s)
{
    dgm_keep keep;
    if (s->options->keep[0] == '\0' && s->model->cut == NULL)
        return DGM_OK;
    d->pairs = calloc((size_t)d->n * (size_t)d->n + 1, sizeof *d->pairs);
    if (d->pairs == NULL)
        return no_memory();
    DGM_TRY(dgm_cut_read_keep(&keep, s->options->keep, s->model));
    const int rc = fill_pairs(d, s, &keep);
    dgm_keep_fini(&keep);
    return rc;
}

int dgm_serve_directions_open(dgm_serve_directions *d, dgm_session *s)
{
    *d = (dgm_serve_directions){.session = s, .n = dgm_tok_n_langs(s->tok)};
    d->codes = calloc((size_t)d->n + 1, sizeof *d->codes);
    if (d->codes == NULL)
        return no_memory();
    for (int i = 0; i < d->n; i++)
        d->codes[i] = dgm_tok_lang_code(s->tok, i);
    DGM_TRY(read_pairs(d, s));
    return list_served(d);
}

void dgm_serve_directions_close(dgm_serve_directions *d)
{
    free(d->codes);
    free(d->pairs);
    free(d->sources);
    free(d->targets);
    *d = (dgm_serve_directions){0};
}

static int resolve(int32_t *code, const dgm_session *s, const char *name, const char *which)
{
    if (name[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "want a %s language", which);
    return dgm_tok_lang(s->tok, code, name);
}

static int index_of(const dgm_serve_directions *d, const char *code)
{
    int i = 0;
    while (i < d->n && strcmp(d->codes[i], code) != 0)
        i++;
    DGM_ASSERT(i < d->n);
    return i;
}

int dgm_serve_direction(void *ctx, dgm_segment_config *source, dgm_stream_target *target,
                        const char *src, const char *tgt)
{
    const dgm_serve_directions *d = ctx;
    const dgm_session *s = d->session;
    DGM_TRY(resolve(&source->code, s, src, "source"));
    DGM_TRY(resolve(&target->code, s, tgt, "target"));
    source->lang = dgm_tok_piece(s->tok, source->code);
    target->lang = dgm_tok_piece(s->tok, target->code);
    target->experts = target->source_experts = 0;
    DGM_TRY(dgm_tasks_find(&target->task, &s->model->tasks, source->lang, target->lang));
    if (d->pairs == NULL)
        return DGM_OK;
    const dgm_serve_pair *p =
        &d->pairs[index_of(d, source->lang) * d->n + index_of(d, target->lang)];
    if (p->missing)
        return dgm_fail(DGM_EINPUT, "this server keeps no experts for %s into %s", source->lang,
                        target->lang);
    target->experts = p->experts;
    target->source_experts = p->source_experts;
    return DGM_OK;
}
