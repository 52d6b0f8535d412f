/*
 * search.c - greedy, beam search and sampling for one sentence.
 *
 * The three differ only in which candidates a step collects, best first: beam search the 2 x beam
 * best, greedy the arg max, sampling the one that was drawn. What becomes of them (settle) is the
 * same: those that end may be final, the others go on as the next rows.
 *
 * Tokens lie where the cache has their keys, token [position][row]. A hypothesis is a path through
 * the rows, so a new order of the beams copies one byte a position and nothing else.
 */
#include "runtime/search.h"

#include "base/arena.h"
#include "kernels/math.h"
#include "runtime/processors.h"
#include "runtime/sampling.h"

#include <math.h>
#include <string.h>

typedef struct candidate {
    float key;   /* what ranks it: the new running sum; in greedy the processed logit */
    float logp;  /* what it adds to the running sum */
    float logit; /* as the model gave it */
    int row;
    int32_t id;
} candidate;

typedef struct finished {
    float score;
    int n; /* tokens after the start token */
    bool ended;
    int32_t *ids;  /* [n] */
    float *logp;   /* [n], or NULL */
    uint8_t *rows; /* [n + 1] */
} finished;

struct dgm_search {
    dgm_decode_options opt;
    int vocab, n_rows, length; /* length: tokens of a live hypothesis, the start token included */
    int n_given;               /* tokens after the start token that are not counted in scores */
    uint64_t line;
    int32_t *token;            /* [max_length][beam] by position and row */
    float *logp;               /* the same, or NULL */
    float *sum, *next_sum;     /* [beam] running sums of the rows */
    uint8_t *path, *next_path; /* [beam][max_length] */
    candidate *best;           /* [n_wanted] this step's, best first */
    int n_best, n_wanted;
    finished *final; /* [beam] best first */
    int n_final;
    dgm_processors proc;
    int32_t *history; /* [max_length] of the row that processors read */
    int n_touched;    /* most ids that they touch in a row of the next step */
    float *scores;    /* [vocab] for sampling */
};

/* Memory: the parts follow each other from `base`; with base NULL they are only added up. */
typedef struct parts {
    char *base;
    size_t used;
} parts;

static void *take(parts *p, size_t bytes)
{
    void *at = p->base == NULL || bytes == 0 ? NULL : p->base + p->used;
    p->used += dgm_arena_align(bytes);
    return at;
}

static size_t lay_out(dgm_search *s, char *base, void **proc, const dgm_decode_options *opt,
                      int vocab)
{
    const size_t beam = (size_t)opt->beam, length = (size_t)opt->max_length,
                 logp = opt->token_scores ? sizeof(float) : 0;
    parts p = {.base = base, .used = dgm_arena_align(sizeof *s)};
    s->token = take(&p, length * beam * sizeof *s->token);
    s->logp = take(&p, length * beam * logp);
    s->sum = take(&p, beam * sizeof *s->sum);
    s->next_sum = take(&p, beam * sizeof *s->sum);
    s->path = take(&p, beam * length);
    s->next_path = take(&p, beam * length);
    s->best = take(&p, 2 * beam * sizeof *s->best);
    s->history = take(&p, length * sizeof *s->history);
    s->scores = take(&p, opt->sampling ? (size_t)vocab * sizeof *s->scores : 0);
    *proc = take(&p, dgm_processors_bytes(opt));
    s->final = take(&p, beam * sizeof *s->final);
    for (size_t i = 0; i < beam; i++) {
        const finished f = {.ids = take(&p, length * sizeof *f.ids),
                            .logp = take(&p, length * logp),
                            .rows = take(&p, length)};
        if (base != NULL)
            s->final[i] = f;
    }
    return p.used;
}

size_t dgm_search_bytes(const dgm_decode_options *opt, int vocab_size)
{
    dgm_search s;
    void *proc;
    return lay_out(&s, NULL, &proc, opt, vocab_size);
}

static const uint8_t *path_of(const dgm_search *s, int row)
{
    return s->path + (size_t)row * (size_t)s->opt.max_length;
}

static size_t cell(const dgm_search *s, int position, int row)
{
    return (size_t)position * (size_t)s->opt.beam + (size_t)row;
}

static const int32_t *history_of(dgm_search *s, int row)
{
    const uint8_t *path = path_of(s, row);
    for (int i = 0; i < s->length; i++)
        s->history[i] = s->token[cell(s, i, path[i])];
    return s->history;
}

/* score = sum / n^length_penalty; greedy and sampling: sum / n. No token of its own, no score. */
static float score_of(const dgm_search *s, float sum, int n_tokens)
{
    const float penalty = s->opt.beam == 1 ? 1.0f : s->opt.length_penalty;
    const int n = n_tokens - s->n_given;
    return n == 0 ? 0.0f : sum / dgm_pow((float)n, penalty);
}

/* A place among the finals for `score`, behind equal ones; NULL when `beam` are better. */
static finished *place_final(dgm_search *s, float score)
{
    int at = s->n_final;
    while (at > 0 && score > s->final[at - 1].score)
        at--;
    if (at == s->opt.beam)
        return NULL;
    const int last = s->n_final < s->opt.beam ? s->n_final++ : s->opt.beam - 1;
    const finished spare = s->final[last];
    memmove(&s->final[at + 1], &s->final[at], (size_t)(last - at) * sizeof *s->final);
    s->final[at] = spare;
    return &s->final[at];
}

/* Row `row` with candidate `c` behind it is final; c NULL: the row as it stands. */
static void finish(dgm_search *s, int row, const candidate *c)
{
    const int n = c != NULL ? s->length : s->length - 1;
    const float score = score_of(s, c != NULL ? s->sum[row] + c->logp : s->sum[row], n);
    finished *f = place_final(s, score);
    if (f == NULL)
        return;
    const uint8_t *path = path_of(s, row);
    f->score = score;
    f->n = n;
    f->ended = c != NULL && c->id == s->opt.eos_id;
    memcpy(f->rows, path, (size_t)s->length);
    for (int i = 1; i < s->length; i++) {
        f->ids[i - 1] = s->token[cell(s, i, path[i])];
        if (f->logp != NULL)
            f->logp[i - 1] = s->logp[cell(s, i, path[i])];
    }
    if (c == NULL)
        return;
    f->ids[n - 1] = c->id;
    if (f->logp != NULL)
        f->logp[n - 1] = c->logp;
    f->rows[n] = 0; /* was never an input */
}

/* What processors will touch decides how many candidates the next step's rows must bring. */
static void count_touched(dgm_search *s)
{
    s->n_touched = 0;
    if (!dgm_processors_on(&s->opt))
        return;
    for (int r = 0; r < s->n_rows; r++) {
        dgm_processors_read(&s->proc, history_of(s, r), s->length);
        s->n_touched = s->proc.n_touched > s->n_touched ? s->proc.n_touched : s->n_touched;
    }
}

static void check_options(const dgm_decode_options *opt)
{
    DGM_ASSERT(opt->beam >= 1 && opt->beam <= DGM_MAX_BEAM);
    DGM_ASSERT(opt->n_best >= 1 && opt->n_best <= opt->beam);
    DGM_ASSERT(opt->repetition_penalty > 0);
    DGM_ASSERT(!opt->sampling || (opt->beam == 1 && opt->temperature > 0));
}

dgm_search *dgm_search_init(void *mem, const dgm_decode_options *opt, int vocab_size,
                            const int32_t *prompt, int n_prompt, uint64_t line)
{
    check_options(opt);
    DGM_ASSERT(n_prompt >= 1 && n_prompt <= opt->max_length);
    dgm_search *s = mem;
    void *proc;
    *s = (dgm_search){.opt = *opt,
                      .vocab = vocab_size,
                      .n_rows = 1,
                      .length = n_prompt,
                      .n_given = n_prompt > 2 ? n_prompt - 1 : 0,
                      .line = line,
                      .n_wanted = opt->beam == 1 ? 1 : 2 * opt->beam};
    (void)lay_out(s, mem, &proc, opt, vocab_size);
    dgm_processors_init(&s->proc, proc, opt, prompt, n_prompt);
    for (int i = 0; i < n_prompt; i++) {
        s->token[cell(s, i, 0)] = prompt[i];
        if (s->logp != NULL)
            s->logp[cell(s, i, 0)] = 0;
    }
    memset(s->path, 0, (size_t)n_prompt);
    s->sum[0] = 0;
    if (n_prompt == opt->max_length) {
        finish(s, 0, NULL);
        s->n_rows = 0;
    }
    count_touched(s);
    return s;
}

int dgm_search_rows(const dgm_search *s)
{
    return s->n_rows;
}

int32_t dgm_search_token(const dgm_search *s, int row)
{
    DGM_ASSERT(row >= 0 && row < s->n_rows);
    return s->token[cell(s, s->length - 1, row)];
}

const uint8_t *dgm_search_path(const dgm_search *s, int row)
{
    DGM_ASSERT(row >= 0 && row < s->n_rows);
    return path_of(s, row);
}

int dgm_search_length(const dgm_search *s)
{
    return s->length;
}

/* A penalty below 1 raises ids of the history, which may lie far down: only a full row has their
 * logits. */
static bool raises(const dgm_decode_options *opt)
{
    return opt->repetition_penalty < 1.0f;
}

static int at_most(int n, int limit)
{
    return n < limit ? n : limit;
}

void dgm_search_needs(const dgm_search *s, int *n_best, bool *full)
{
    /* With as many more as are touched, those that are not touched suffice by themselves. */
    *n_best = s->opt.sampling ? 0 : at_most(s->n_wanted + s->n_touched, s->vocab);
    *full = s->opt.sampling || raises(&s->opt);
}

static float log_p(const dgm_row_best *b, float logit)
{
    return (logit - b->max) - b->log_sum;
}

/* Best first: key, then beam, then (keys that differ only before rounding) logit, then id. */
static bool is_better(const candidate *a, const candidate *b)
{
    if (a->key != b->key)
        return a->key > b->key;
    if (a->row != b->row)
        return a->row < b->row;
    if (a->logit != b->logit)
        return a->logit > b->logit;
    return a->id < b->id;
}

/* Processes one candidate and keeps it if it is among the best so far; banned ones never are. */
static bool offer(dgm_search *s, const dgm_row_best *b, int row, int32_t id, float logit)
{
    candidate c = {.logp = log_p(b, logit), .logit = logit, .row = row, .id = id};
    if (s->opt.beam == 1) {
        c.key = dgm_processors_apply(&s->proc, id, logit);
    } else {
        c.logp = dgm_processors_apply(&s->proc, id, c.logp);
        c.key = s->sum[row] + c.logp;
    }
    if (!(c.key > -INFINITY))
        return false;
    int at = s->n_best;
    while (at > 0 && is_better(&c, &s->best[at - 1]))
        at--;
    if (at == s->n_wanted)
        return false;
    const int last = s->n_best < s->n_wanted ? s->n_best++ : s->n_wanted - 1;
    memmove(&s->best[at + 1], &s->best[at], (size_t)(last - at) * sizeof c);
    s->best[at] = c;
    return true;
}

static void collect_row(dgm_search *s, const dgm_row_best *b, int row)
{
    const bool all = raises(&s->opt);
    if (dgm_processors_on(&s->opt))
        dgm_processors_read(&s->proc, history_of(s, row), s->length);
    for (int i = 0; i < b->n; i++) {
        const bool touched = dgm_processors_find(&s->proc, b->ids[i]) != NULL;
        if (touched && all)
            continue;
        if (!offer(s, b, row, b->ids[i], b->logits[i]) && !touched)
            break; /* those that follow are no better, and processors do not raise them */
    }
    for (int i = 0; all && i < s->proc.n_touched; i++)
        offer(s, b, row, s->proc.touched[i].id, b->full[s->proc.touched[i].id]);
}

static void collect_drawn(dgm_search *s, const dgm_row_best *b)
{
    if (dgm_processors_on(&s->opt))
        dgm_processors_read(&s->proc, history_of(s, 0), s->length);
    memcpy(s->scores, b->full, (size_t)s->vocab * sizeof *s->scores);
    for (int i = 0; i < s->proc.n_touched; i++) {
        const int32_t id = s->proc.touched[i].id;
        s->scores[id] = dgm_processors_apply(&s->proc, id, b->full[id]);
    }
    const int32_t id = dgm_sampling_draw(s->scores, s->vocab, &s->opt,
                                         dgm_sampling_bits(s->opt.seed, s->line, s->length));
    if (id >= 0)
        s->best[s->n_best++] = (candidate){.logp = log_p(b, b->full[id]), .id = id};
}

/* Candidate c becomes row `row` of the next step. */
static void go_on(dgm_search *s, const candidate *c, int row)
{
    uint8_t *path = s->next_path + (size_t)row * (size_t)s->opt.max_length;
    memcpy(path, path_of(s, c->row), (size_t)s->length);
    path[s->length] = (uint8_t)row;
    s->token[cell(s, s->length, row)] = c->id;
    if (s->logp != NULL)
        s->logp[cell(s, s->length, row)] = c->logp;
    s->next_sum[row] = s->sum[c->row] + c->logp;
}

/* Candidates that end are final if ranked among the first `beam`; the `beam` best others are the
 * next rows. */
static void settle(dgm_search *s)
{
    const bool last = s->length + 1 >= s->opt.max_length;
    int n_next = 0;
    for (int i = 0; i < s->n_best; i++) {
        const candidate *c = &s->best[i];
        if (!last && c->id != s->opt.eos_id && n_next < s->opt.beam)
            go_on(s, c, n_next++);
        else if ((last || c->id == s->opt.eos_id) && i < s->opt.beam)
            finish(s, c->row, c);
    }
    if (s->n_best == 0 && s->n_final == 0) /* everything is banned: what there is, is the result */
        for (int r = 0; r < s->n_rows; r++)
            finish(s, r, NULL);
    s->n_rows = n_next;
}

/* Can a live row still beat the worst final one? Hugging Face's estimate: as if the best ended now,
 * for free. */
static bool can_improve(const dgm_search *s)
{
    if (s->n_final < s->opt.beam)
        return true;
    if (s->opt.early_stopping)
        return false;
    return score_of(s, s->sum[0], s->length - 1) > s->final[s->n_final - 1].score;
}

void dgm_search_advance(dgm_search *s, const dgm_row_best *best)
{
    DGM_ASSERT(s->n_rows > 0);
    s->n_best = 0;
    if (s->opt.sampling)
        collect_drawn(s, &best[0]);
    for (int r = 0; !s->opt.sampling && r < s->n_rows; r++)
        collect_row(s, &best[r], r);
    settle(s);
    uint8_t *path = s->path;
    s->path = s->next_path;
    s->next_path = path;
    float *sum = s->sum;
    s->sum = s->next_sum;
    s->next_sum = sum;
    s->length++;
    if (s->n_rows > 0 && !can_improve(s))
        s->n_rows = 0;
    count_touched(s);
}

bool dgm_search_result(const dgm_search *s, int i, dgm_hypothesis *out)
{
    DGM_ASSERT(s->n_rows == 0);
    if (i < 0 || i >= s->n_final || i >= s->opt.n_best)
        return false;
    const finished *f = &s->final[i];
    *out = (dgm_hypothesis){.ids = f->ids,
                            .logp = f->logp,
                            .rows = f->rows,
                            .n = f->n,
                            .score = f->score,
                            .ended = f->ended};
    return true;
}
