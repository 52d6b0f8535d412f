#include "runtime/calibrate_text.h"

#include "runtime/cut.h"
#include "runtime/lines.h"
#include "runtime/tokenizer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MAX_LINE_BYTES = 1 << 20, MAX_NAME = 64 };

typedef struct reader {
    const char *path;
    const dgm_model *model;
    dgm_tokenizer *tok;
    dgm_lines *lines;
    XXH3_state_t *hash;
    dgm_pairs *out;
    dgm_keep keep; /* of a cut model */
} reader;

/* The language in front of the next tab; *at moves behind it. */
static int read_language(const reader *r, int32_t *code, const dgm_line *line, size_t *at)
{
    char name[MAX_NAME], why[512];
    const char *from = line->text + *at, *tab = memchr(from, '\t', line->len - *at);
    if (tab == NULL || tab == from || (size_t)(tab - from) >= sizeof name)
        return dgm_fail(DGM_EINPUT,
                        "%s line %" PRIu64 ": wanted `source language, tab, target language, tab, "
                        "sentence`, found no %s language",
                        r->path, line->number, *at == 0 ? "source" : "target");
    (void)snprintf(name, sizeof name, "%.*s", (int)(tab - from), from);
    *at += (size_t)(tab - from) + 1;
    if (dgm_tok_lang(r->tok, code, name) == DGM_OK)
        return DGM_OK;
    (void)snprintf(why, sizeof why, "%s", dgm_error_text());
    return dgm_fail(DGM_EINPUT, "%s line %" PRIu64 ": %s", r->path, line->number, why);
}

static int grow(dgm_pairs *p)
{
    if (p->n < p->cap)
        return DGM_OK;
    const size_t cap = p->cap == 0 ? 1024 : 2 * p->cap;
    dgm_pair *more = realloc(p->pairs, cap * sizeof *more);
    if (more == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu lines of calibration text", cap);
    p->pairs = more;
    p->cap = cap;
    return DGM_OK;
}

/* find_sets - a cut model sees each line with the experts that its direction keeps. */
static int find_sets(const reader *r, dgm_pair *p, int32_t source, int32_t target)
{
    const char *lang[DGM_STACKS] = {dgm_tok_piece(r->tok, source), dgm_tok_piece(r->tok, target)};
    for (int s = 0; s < DGM_STACKS && r->model->cut != NULL; s++) {
        const dgm_keep_set *set = dgm_keep_find(&r->keep, s, lang[DGM_ENCODER], lang[DGM_DECODER]);
        DGM_TRY(dgm_cut_check_set(r->model, s, set, lang[s], ""));
        if (set != NULL)
            DGM_TRY(dgm_expert_sets_add(&p->experts[s], &r->out->sets, set));
    }
    return DGM_OK;
}

static int read_pair(const reader *r, const dgm_line *line)
{
    const dgm_model_config *c = &r->model->cfg;
    int32_t source, target;
    int task;
    size_t at = 0;
    if (line->state != DGM_LINE_OK) {
        (void)dgm_lines_fail(r->lines, line);
        char why[512];
        (void)snprintf(why, sizeof why, "%s", dgm_error_text());
        return dgm_fail(DGM_EINPUT, "%s", why);
    }
    DGM_TRY(read_language(r, &source, line, &at));
    DGM_TRY(read_language(r, &target, line, &at));
    if (dgm_tasks_find(&task, &r->model->tasks, dgm_tok_piece(r->tok, source),
                       dgm_tok_piece(r->tok, target)) != DGM_OK)
        return DGM_EINPUT; /* it is the file that names it */
    DGM_TRY(grow(r->out));
    dgm_pair *p = &r->out->pairs[r->out->n];
    *p = (dgm_pair){.task = task};
    r->out->n++; /* from here on freed with the rest */
    DGM_TRY(find_sets(r, p, source, target));
    DGM_TRY(dgm_tok_encode(r->tok, &p->source, &p->n_source, line->text + at, line->len - at,
                           source, c->source_suffix));
    if (p->n_source > c->max_source || p->n_source < 3)
        return dgm_fail(DGM_EINPUT,
                        "%s line %" PRIu64 ": wanted a sentence of 3 to %d tokens, language code "
                        "and </s> counted, found %d",
                        r->path, line->number, c->max_source, p->n_source);
    DGM_TRY(dgm_pair_translated(p, &target, 1));
    p->target[0] = c->decoder_start_id;
    return DGM_OK;
}

static int read_lines(reader *r)
{
    dgm_line line;
    int rc;
    while ((rc = dgm_lines_poll(r->lines, &line, -1)) != DGM_LINES_END) {
        if (rc < 0)
            return rc;
        if (rc == DGM_LINES_AGAIN)
            continue;
        (void)XXH3_64bits_update(r->hash, line.text, line.len);
        (void)XXH3_64bits_update(r->hash, "\n", 1);
        if (line.n_bytes > 0)
            DGM_TRY(read_pair(r, &line));
    }
    r->out->hash = XXH3_64bits_digest(r->hash);
    if (r->out->n == 0)
        return dgm_fail(DGM_EINPUT, "%s: wanted lines of calibration text, found none", r->path);
    return DGM_OK;
}

static int read_file(reader *r, int fd)
{
    DGM_TRY(dgm_lines_open(&r->lines, fd, r->path, MAX_LINE_BYTES));
    DGM_TRY(dgm_tokenizer_open(&r->tok, r->model->dir, r->model->cfg.vocab_size));
    DGM_TRY(dgm_expert_sets_init(&r->out->sets, &r->model->cfg));
    if (r->model->cut != NULL)
        DGM_TRY(dgm_cut_read_keep(&r->keep, "", r->model));
    return read_lines(r);
}

int dgm_pairs_read(dgm_pairs *p, const char *path, const dgm_model *m)
{
    reader r = {.path = path, .model = m, .out = p, .hash = XXH3_createState()};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc;
    *p = (dgm_pairs){0};
    if (fd < 0)
        rc = dgm_fail(DGM_EINPUT, "%s: %s", path, strerror(errno));
    else if (r.hash == NULL)
        rc = dgm_fail(DGM_ENOMEM, "out of memory for calibration text");
    else {
        (void)XXH3_64bits_reset(r.hash);
        rc = read_file(&r, fd);
    }
    dgm_keep_fini(&r.keep);
    dgm_lines_close(r.lines);
    dgm_tokenizer_close(r.tok);
    XXH3_freeState(r.hash);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

void dgm_pairs_free(dgm_pairs *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->pairs[i].source);
        free(p->pairs[i].target);
    }
    free(p->pairs);
    dgm_expert_sets_fini(&p->sets);
    *p = (dgm_pairs){0};
}

int dgm_pair_translated(dgm_pair *p, const int32_t *ids, int n)
{
    int32_t *all = realloc(p->target, ((size_t)n + 1) * sizeof *all);
    if (all == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a translation of %d tokens", n);
    memcpy(all + 1, ids, (size_t)n * sizeof *ids);
    p->target = all;
    p->n_target = n + 1;
    return DGM_OK;
}
