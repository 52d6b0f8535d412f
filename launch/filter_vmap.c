#include "launch/filter_vmap.h"

#include "base/log.h"

/* say - how much of the vocabulary is left; a target that the file does not name may be a mistake of its maker. */
static void say(const dgm_session *s, const dgm_stream_target *t)
{
    const dgm_shortlist *l = dgm_shortlists_find(&s->lists, t->code);
    if (l == NULL)
        dgm_log(DGM_LOG_INFO, "start", "%s does not name %s: chosen from the whole vocabulary",
                s->options->vmap, t->lang);
    else
        dgm_log(DGM_LOG_INFO, "start", "%s: %s is chosen from %d of %d ids", s->options->vmap,
                t->lang, l->n, s->model->cfg.vocab_size);
}

int dgm_filter_vmap_read(dgm_session *s, const dgm_stream_target *targets, int n_targets)
{
    int32_t codes[DGM_STREAM_MAX_TARGETS];
    dgm_vmap *map;
    if (s->options->vmap[0] == '\0')
        return DGM_OK;
    for (int i = 0; i < n_targets; i++)
        codes[i] = targets[i].code;
    DGM_TRY(dgm_vmap_read(&map, s->options->vmap, s->tok, &s->model->cfg, s->comm));
    const int rc = dgm_shortlists_choose(&s->lists, map, codes, n_targets);
    dgm_vmap_close(map);
    for (int i = 0; rc == DGM_OK && i < n_targets; i++)
        say(s, &targets[i]);
    return rc;
}

uint64_t dgm_filter_vmap_hash(uint64_t before, const dgm_shortlists *lists)
{
    for (int i = 0; i < lists->n; i++) {
        const dgm_shortlist *l = &lists->list[i];
        before = dgm_resume_hash(before, (const char *)&l->code, sizeof l->code);
        before = dgm_resume_hash(before, (const char *)l->ids, (size_t)l->n * sizeof *l->ids);
    }
    return before;
}
