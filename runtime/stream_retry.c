/* A line that is decoded twice: what of it, and which of both is given. */
#include "runtime/retry.h"
#include "runtime/stream_line.h"

#include <stdlib.h>

/* checks_of - what strikes the translation as it stands. */
static unsigned checks_of(const dgm_stream_line *l, const dgm_stream_config *cfg, int t)
{
    dgm_line_report r;
    dgm_stream_line_report(&r, l, cfg, t);
    return r.checks;
}

static dgm_stream_decoding decoding_of(const dgm_stream_line *l, const dgm_stream_config *cfg,
                                       int t)
{
    dgm_stream_decoding d = {.score = dgm_stream_line_score(l, cfg, t, 0),
                             .checks = checks_of(l, cfg, t)};
    for (int s = 0; s < l->segments.n; s++) {
        const double seconds = l->parts[s * cfg->n_targets + t].seconds;
        d.seconds = seconds > d.seconds ? seconds : d.seconds;
    }
    return d;
}

/* begin - the second decoding, of the targets that a check strikes. */
static int begin(dgm_stream_line *l, const dgm_stream_config *cfg)
{
    dgm_stream_retry *of = calloc((size_t)cfg->n_targets, sizeof *of);
    const size_t n_parts = (size_t)l->segments.n * (size_t)cfg->n_targets;
    int n = 0;
    for (int t = 0; of != NULL && t < cfg->n_targets; t++) {
        of[t].first = decoding_of(l, cfg, t);
        of[t].on = of[t].first.checks != 0;
        n += of[t].on;
    }
    if (of != NULL && n == 0) {
        free(of);
        return DGM_OK;
    }
    dgm_stream_part *others = of == NULL ? NULL : calloc(n_parts, sizeof *others);
    if (others == NULL) {
        free(of);
        return dgm_fail(DGM_ENOMEM, "out of memory for a second translation");
    }
    l->retries = of;
    l->others = others;
    l->left = n * l->segments.n;
    return DGM_OK;
}

/* change_places - of the two decodings of target t. */
static void change_places(dgm_stream_line *l, const dgm_stream_config *cfg, int t)
{
    for (int s = 0; s < l->segments.n; s++) {
        const int i = s * cfg->n_targets + t;
        const dgm_stream_part first = l->parts[i];
        l->parts[i] = l->others[i];
        l->others[i] = first;
    }
}

/* choose - the second where no check strikes it; else the first, which is what would have been without a retry. */
static void choose(dgm_stream_line *l, const dgm_stream_config *cfg)
{
    for (int t = 0; t < cfg->n_targets; t++) {
        dgm_stream_retry *of = &l->retries[t];
        if (!of->on)
            continue;
        change_places(l, cfg, t);
        of->second = decoding_of(l, cfg, t);
        of->taken = of->second.checks == 0;
        if (!of->taken)
            change_places(l, cfg, t);
    }
}

int dgm_stream_line_retry(dgm_stream_line *l, const dgm_stream_config *cfg, bool *again)
{
    *again = false;
    if (!cfg->retry || cfg->score || l->message != NULL || l->segments.n == 0)
        return DGM_OK;
    if (l->retries != NULL) {
        choose(l, cfg);
        return DGM_OK;
    }
    DGM_TRY(begin(l, cfg));
    *again = l->left > 0;
    return DGM_OK;
}

int dgm_stream_line_targets(int targets[DGM_STREAM_MAX_TARGETS], const dgm_stream_line *l,
                            const dgm_stream_config *cfg)
{
    int n = 0;
    for (int t = 0; t < cfg->n_targets; t++)
        if (l->retries == NULL || l->retries[t].on)
            targets[n++] = t;
    return n;
}
