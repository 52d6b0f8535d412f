#include "runtime/sparsify_text.h"

#include "runtime/cut.h"
#include "runtime/lines.h"
#include "runtime/sampling.h"
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

enum { MAX_LINE_BYTES = 1 << 20 };

typedef struct reader {
    const dgm_parallel_config *cfg;
    const dgm_model *model;
    dgm_parallel_text *out;
    dgm_tokenizer *tok;
    XXH3_state_t *hash;
    dgm_keep keep; /* of a cut model */
} reader;

/* ---- one file ---- */

static int grow(dgm_language_text *l)
{
    if (l->n < l->cap)
        return DGM_OK;
    const size_t cap = l->cap == 0 ? 1024 : 2 * l->cap;
    dgm_sentence *more = realloc(l->lines, cap * sizeof *more);
    if (more == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu lines of calibration text", cap);
    l->lines = more;
    l->cap = cap;
    return DGM_OK;
}

/* as_target - start, code, pieces, </s>. */
static int as_target(const reader *r, dgm_sentence *s, int32_t code, const dgm_line *line)
{
    int32_t *pieces;
    int n;
    DGM_TRY(dgm_tok_pieces(r->tok, &pieces, &n, line->text, line->len));
    s->target = malloc(((size_t)n + 3) * sizeof *s->target);
    if (s->target != NULL) {
        s->target[0] = r->model->cfg.decoder_start_id;
        s->target[1] = code;
        memcpy(s->target + 2, pieces, (size_t)n * sizeof *pieces);
        s->target[n + 2] = r->model->cfg.eos_id;
        s->n_target = n + 3;
    }
    free(pieces);
    return s->target != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "out of memory for a line");
}

static void free_sentence(dgm_sentence *s)
{
    free(s->source);
    free(s->target);
    *s = (dgm_sentence){0};
}

static int add_line(const reader *r, dgm_language_text *l, const dgm_line *line)
{
    const dgm_model_config *c = &r->model->cfg;
    DGM_TRY(grow(l));
    dgm_sentence *s = &l->lines[l->n++];
    *s = (dgm_sentence){0};
    DGM_TRY(dgm_tok_encode(r->tok, &s->source, &s->n_source, line->text, line->len, l->code,
                           c->source_suffix));
    DGM_TRY(as_target(r, s, l->code, line));
    const int most = c->max_source < c->max_positions ? c->max_source : c->max_positions,
              found = s->n_source > s->n_target ? s->n_source : s->n_target;
    if (found > most)
        return dgm_fail(DGM_EINPUT, "%s line %" PRIu64 ": want at most %d tokens, found %d",
                        l->path, line->number, most, found);
    if (s->n_source < 3)
        free_sentence(s);
    return DGM_OK;
}

static int read_lines(const reader *r, dgm_language_text *l, dgm_lines *lines)
{
    dgm_line line;
    for (int rc; (rc = dgm_lines_poll(lines, &line, -1)) != DGM_LINES_END;) {
        if (rc < 0)
            return rc;
        if (rc == DGM_LINES_AGAIN)
            continue;
        if (line.state != DGM_LINE_OK) {
            char why[512];
            (void)dgm_lines_fail(lines, &line);
            (void)snprintf(why, sizeof why, "%s", dgm_error_text());
            return dgm_fail(DGM_EINPUT, "%s", why);
        }
        (void)XXH3_64bits_update(r->hash, line.text, line.len);
        (void)XXH3_64bits_update(r->hash, "\n", 1);
        DGM_TRY(add_line(r, l, &line));
    }
    l->hash = XXH3_64bits_digest(r->hash);
    return DGM_OK;
}

static int read_file(const reader *r, dgm_language_text *l)
{
    dgm_lines *lines = NULL;
    const int fd = open(l->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dgm_fail(DGM_EINPUT, "%s: %s", l->path, strerror(errno));
    (void)XXH3_64bits_reset(r->hash);
    int rc = dgm_lines_open(&lines, fd, l->path, MAX_LINE_BYTES);
    if (rc == DGM_OK)
        rc = read_lines(r, l, lines);
    dgm_lines_close(lines);
    (void)close(fd);
    return rc;
}

/* ---- a sample ---- */

typedef struct drawn {
    uint64_t bits;
    size_t line;
} drawn;

static int by_bits(const void *a, const void *b)
{
    const drawn *x = a, *y = b;
    if (x->bits != y->bits)
        return x->bits < y->bits ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int by_line(const void *a, const void *b)
{
    const drawn *x = a, *y = b;
    return x->line < y->line ? -1 : x->line > y->line;
}

/* sample - the lines whose random bits are the smallest; files of as many lines keep the same ones. */
static int sample(dgm_language_text *l, const dgm_parallel_config *cfg)
{
    const size_t n = (size_t)cfg->samples;
    if (n == 0 || l->n <= n)
        return DGM_OK;
    drawn *all = malloc(l->n * sizeof *all);
    if (all == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for a sample of %zu lines", l->n);
    for (size_t i = 0; i < l->n; i++)
        all[i] = (drawn){dgm_sampling_bits(cfg->seed, i, 0), i};
    qsort(all, l->n, sizeof *all, by_bits);
    qsort(all, n, sizeof *all, by_line);
    size_t at = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (at < n && all[at].line == i)
            l->lines[at++] = l->lines[i];
        else
            free_sentence(&l->lines[i]);
    }
    l->n = n;
    free(all);
    return DGM_OK;
}

/* ---- all files ---- */

static int read_language(const reader *r, const char *word)
{
    dgm_parallel_text *t = r->out;
    const char *equals = strchr(word, '=');
    char name[64];
    if (equals == NULL || equals == word || equals[1] == '\0' ||
        (size_t)(equals - word) >= sizeof name)
        return dgm_fail(DGM_EUSAGE, "--calibration: want LANGUAGE=FILE, found '%s'", word);
    (void)snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
    dgm_language_text *l = &t->langs[t->n_langs];
    *l = (dgm_language_text){.path = equals + 1};
    DGM_TRY(dgm_tok_lang(r->tok, &l->code, name));
    (void)snprintf(l->name, sizeof l->name, "%s", dgm_tok_piece(r->tok, l->code));
    for (int i = 0; i < t->n_langs; i++)
        if (t->langs[i].code == l->code)
            return dgm_fail(DGM_EUSAGE, "--calibration: want each language once, found %s twice",
                            l->name);
    t->n_langs++;
    return DGM_OK;
}

/* check_lengths - what stands in line n of one file stands in line n of all. */
static int check_lengths(const reader *r)
{
    const dgm_language_text *l = r->out->langs;
    for (int i = 1; i < r->out->n_langs && !r->cfg->self; i++)
        if (l[i].n != l[0].n)
            return dgm_fail(DGM_EINPUT,
                            "%s: want %zu lines, as many as %s, found %zu (--calibration-target "
                            "self takes files that are not parallel)",
                            l[i].path, l[0].n, l[0].path, l[i].n);
    return DGM_OK;
}

/* ---- directions ---- */

/* find_experts - its task; and a cut model sees each direction with the experts that it keeps. DGM_EUSAGE: it does not
 * translate this one. */
static int find_experts(const reader *r, dgm_text_direction *d)
{
    const char *lang[DGM_STACKS] = {r->out->langs[d->src].name, r->out->langs[d->tgt].name};
    DGM_TRY(dgm_tasks_find(&d->task, &r->model->tasks, lang[DGM_ENCODER], lang[DGM_DECODER]));
    for (int s = 0; s < DGM_STACKS && r->model->cut != NULL; s++) {
        const dgm_keep_set *set = dgm_keep_find(&r->keep, s, lang[DGM_ENCODER], lang[DGM_DECODER]);
        DGM_TRY(dgm_cut_check_set(r->model, s, set, lang[s], ""));
        if (set != NULL)
            DGM_TRY(dgm_expert_sets_add(&d->experts[s], &r->out->sets, set));
    }
    return DGM_OK;
}

/* check_sentences - some line says something on both sides. */
static int check_sentences(const reader *r, const dgm_text_direction *d)
{
    const dgm_language_text *a = &r->out->langs[d->src], *b = &r->out->langs[d->tgt];
    for (size_t i = 0; i < a->n; i++)
        if (a->lines[i].n_source > 0 && b->lines[i].n_target > 0)
            return DGM_OK;
    if (a == b)
        return dgm_fail(DGM_EINPUT, "%s: want sentences, found none", a->path);
    return dgm_fail(DGM_EINPUT, "%s: want sentences beside those of %s, found none", b->path,
                    a->path);
}

static int add_direction(const reader *r, int src, int tgt)
{
    dgm_parallel_text *t = r->out;
    dgm_text_direction *d = &t->directions[t->n_directions];
    *d = (dgm_text_direction){.src = src, .tgt = tgt};
    const int rc = find_experts(r, d);
    if (rc == DGM_EINPUT || rc == DGM_EUSAGE) {
        t->n_left_out++;
        return DGM_OK;
    }
    DGM_TRY(rc);
    DGM_TRY(check_sentences(r, d));
    t->n_directions++;
    return DGM_OK;
}

/* check_used - a language that no direction has was given for nothing: the sentence says why it has none. */
static int check_used(const reader *r, int lang)
{
    const dgm_parallel_text *t = r->out;
    for (int i = 0; i < t->n_directions; i++)
        if (t->directions[i].src == lang || t->directions[i].tgt == lang)
            return DGM_OK;
    dgm_text_direction d = {.src = r->cfg->self ? lang : lang == 0, .tgt = lang};
    return find_experts(r, &d);
}

static int list_directions(const reader *r)
{
    const int n = r->out->n_langs;
    for (int s = 0; s < n; s++)
        for (int to = 0; to < n; to++)
            if ((s == to) == r->cfg->self)
                DGM_TRY(add_direction(r, s, to));
    for (int l = 0; l < n; l++)
        DGM_TRY(check_used(r, l));
    return DGM_OK;
}

static int read_all(reader *r)
{
    dgm_parallel_text *t = r->out;
    const size_t n = (size_t)r->cfg->n_files;
    t->langs = calloc(n, sizeof *t->langs);
    t->directions = calloc(n * n, sizeof *t->directions);
    if (t->langs == NULL || t->directions == NULL || r->hash == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for calibration text");
    DGM_TRY(dgm_tokenizer_open(&r->tok, r->model->dir, r->model->cfg.vocab_size));
    DGM_TRY(dgm_expert_sets_init(&t->sets, &r->model->cfg));
    if (r->model->cut != NULL)
        DGM_TRY(dgm_cut_read_keep(&r->keep, "", r->model));
    for (size_t i = 0; i < n; i++)
        DGM_TRY(read_language(r, r->cfg->files[i]));
    if (t->n_langs == 1 && !r->cfg->self)
        return dgm_fail(DGM_EUSAGE,
                        "--calibration: want two languages or more, found %s alone "
                        "(--calibration-target self takes one)",
                        t->langs[0].name);
    for (int i = 0; i < t->n_langs; i++)
        DGM_TRY(read_file(r, &t->langs[i]));
    DGM_TRY(check_lengths(r));
    for (int i = 0; i < t->n_langs; i++)
        DGM_TRY(sample(&t->langs[i], r->cfg));
    for (int i = 0; i < t->n_langs; i++)
        for (size_t j = 0; j < t->langs[i].n; j++)
            if (t->langs[i].lines[j].n_target > t->longest_target)
                t->longest_target = t->langs[i].lines[j].n_target;
    return list_directions(r);
}

int dgm_parallel_read(dgm_parallel_text *t, const dgm_parallel_config *cfg, const dgm_model *m)
{
    reader r = {.cfg = cfg, .model = m, .out = t, .hash = XXH3_createState()};
    *t = (dgm_parallel_text){0};
    const int rc = cfg->n_files == 0
                       ? dgm_fail(DGM_EUSAGE,
                                  "--calibration: want LANGUAGE=FILE for each language, found none")
                       : read_all(&r);
    dgm_keep_fini(&r.keep);
    dgm_tokenizer_close(r.tok);
    XXH3_freeState(r.hash);
    return rc;
}

void dgm_parallel_free(dgm_parallel_text *t)
{
    for (int i = 0; i < t->n_langs; i++) {
        for (size_t j = 0; j < t->langs[i].n; j++)
            free_sentence(&t->langs[i].lines[j]);
        free(t->langs[i].lines);
    }
    free(t->langs);
    free(t->directions);
    dgm_expert_sets_fini(&t->sets);
    *t = (dgm_parallel_text){0};
}
